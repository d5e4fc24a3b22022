//! The job's extra mounts, after the modes have been applied, in the order of the job. Ring 0.
//!
//! A target that does not exist is made in the container's own layers. Where a read-only directory would have to hold it, that
//! directory becomes an overlay that nobody can write ([`foresee`]); a full-access one cannot have it, since what is made
//! there is made on the host.

use super::resolve::{Seen, Stop};
use super::system::{self, FORBIDDING};
use super::tree::{Area, Builder};
use super::{At, Attributes, IfAbsent, NoPlan, Node, Placed, Slot, Step};
use crate::host::{PathFact, Question};
use crate::job::{Job, Mount, MountKind, in_proc};
use crate::problem::{Code, Problem, Stage};
use crate::spec::{Dev, Mode};
use crate::text::{AbsPath, Contents};
use nix::errno::Errno;
use std::ffi::{CStr, CString};

/// What is going to be asked about the mounts.
pub(super) fn first_questions(job: &Job) -> Vec<Question> {
    let mut questions = Vec::new();
    for mount in &job.mounts {
        let mut way = Some(mount.target.clone());
        while let Some(path) = way.filter(|path| !path.is_root()) {
            way = path.parent();
            questions.push(Question::Path(path));
        }
        match &mount.kind {
            MountKind::Bind { source, .. } => questions.push(Question::Real(source.clone())),
            MountKind::Overlay { lower, upper, work } => {
                let all = lower.iter().chain([upper, work]);
                questions.extend(all.cloned().map(Question::Real));
            }
            MountKind::Tmpfs { .. }
            | MountKind::File { .. }
            | MountKind::Symlink { .. }
            | MountKind::Mqueue => {}
        }
    }
    questions
}

/// Finds the read-only directories that need to hold what the host does not have.
pub(super) fn foresee(b: &mut Builder<'_>) {
    // The host itself has these, or stdbox could not run.
    let mut wanted = if b.job.root.is_some() {
        system::supplies(b)
    } else {
        Vec::new()
    };
    let mut covered: Vec<AbsPath> = Vec::new();
    let job: &Job = b.job;
    for mount in &job.mounts {
        let follow = !matches!(mount.kind, MountKind::Symlink { .. });
        // What lies on an earlier mount is found there, when the time comes.
        let Ok((path, seen)) = b.resolve(&mount.target, follow, Builder::foreseen) else {
            continue;
        };
        if !covered.iter().any(|top| top.contains(&path)) {
            wanted.push(path.clone());
        }
        match &mount.kind {
            // Nothing lies on it, but later targets may be behind it.
            MountKind::Symlink { to } if seen == Seen::Missing => {
                b.links.insert(path, to.to_bytes().to_vec());
            }
            MountKind::Symlink { .. } => {}
            _ => covered.push(path),
        }
    }
    for path in wanted {
        let mut missing = false;
        let mut above = Some(path);
        while let Some(at) = above {
            match b.foreseen(&at) {
                Ok(Seen::Missing) => missing = true,
                Ok(Seen::Link(_)) if b.links.contains_key(&at) => missing = true,
                Ok(Seen::Directory) if missing => {
                    let devices = b.job.dev == Dev::Minimal && at.bytes() == b"/dev";
                    if !devices && b.mode_of(&at) == Mode::ReadOnly {
                        b.hole(at);
                    }
                    break;
                }
                _ => break,
            }
            above = at.parent();
        }
    }
}

/// Makes the mounts.
pub(super) fn extra(b: &mut Builder<'_>) -> Result<(), NoPlan> {
    let job: &Job = b.job;
    for (i, mount) in job.mounts.iter().enumerate() {
        let at = format!("/mounts/{i}");
        b.pointer = Some(at.clone());
        one(b, mount, &at)?;
    }
    b.pointer = None;
    Ok(())
}

fn one(b: &mut Builder<'_>, mount: &Mount, at: &str) -> Result<(), NoPlan> {
    let pointer = format!("{at}/target");
    let follow = !matches!(mount.kind, MountKind::Symlink { .. });
    let (path, seen) = match b.resolve(&mount.target, follow, Builder::seen) {
        Ok(found) => found,
        Err(Stop::Unknown) => return Ok(()),
        Err(stop) => return Err(astray(&mount.target, stop, pointer).into()),
    };
    if AbsPath::fixed("/proc").contains(&path) {
        return Err(in_proc(&path, pointer).into());
    }
    if path.is_root() {
        let message = format!(
            "{} is a link to /, over which nothing can be mounted.",
            mount.target.lossy()
        );
        return Err(Problem::at(Code::Contradiction, pointer, message).into());
    }
    let place = Place {
        path,
        seen,
        pointer,
    };
    match &mount.kind {
        MountKind::Bind {
            source,
            read_only,
            recursive,
        } => bind(
            b,
            &place,
            source,
            &format!("{at}/source"),
            *read_only,
            *recursive,
        ),
        MountKind::Tmpfs {
            size_bytes,
            inodes,
            mode,
        } => {
            place.directory(b)?;
            let number = |value: u64| CString::new(value.to_string()).ok();
            let mut options = vec![(c"mode", CString::new(format!("{mode:o}")).ok())];
            options.extend(size_bytes.map(|size| (c"size", number(size))));
            options.extend(inodes.map(|inodes| (c"nr_inodes", number(inodes))));
            let attributes = Attributes {
                no_suid: true,
                no_dev: true,
                ..Attributes::default()
            };
            let slot = fresh(b, c"tmpfs", options, attributes);
            cover(b, &place.path, slot);
            let area = Area::Own {
                slot,
                path: Vec::new(),
                like: None,
            };
            b.set_area(&place.path, area);
            Ok(())
        }
        MountKind::File { bytes, mode } => file(b, &place, bytes, *mode),
        MountKind::Symlink { to } => match &place.seen {
            Seen::Link(held) if held == to.to_bytes() => Ok(()),
            Seen::Missing if b.link(&place.path, to.to_bytes()) => Ok(()),
            Seen::Missing => Err(place.no_room(b)),
            _ => Err(place.taken("There is something else already at the place of the link.")),
        },
        MountKind::Overlay { lower, upper, work } => overlay(b, &place, (lower, upper, work), at),
        MountKind::Mqueue => {
            place.directory(b)?;
            let slot = fresh(b, c"mqueue", Vec::new(), FORBIDDING);
            cover(b, &place.path, slot);
            b.set_area(&place.path, Area::Stack { layers: Vec::new() });
            Ok(())
        }
    }
}

/// Where a mount goes.
struct Place {
    /// Without links.
    path: AbsPath,
    /// What is there.
    seen: Seen,
    /// The field that says so.
    pointer: String,
}

impl Place {
    /// Sees to it that there is a directory.
    fn directory(&self, b: &mut Builder<'_>) -> Result<(), NoPlan> {
        match self.seen {
            Seen::Directory => Ok(()),
            Seen::Missing if b.ensure_dir(&self.path, 0o755) => Ok(()),
            Seen::Missing => Err(self.no_room(b)),
            Seen::Link(_) | Seen::Other => {
                let message = format!(
                    "{} is no directory, and what is mounted there is one.",
                    self.path.lossy()
                );
                let problem = Problem::at(Code::NotADirectory, self.pointer.clone(), message);
                Err(problem.path(self.path.bytes()).into())
            }
        }
    }

    /// Sees to it that there is a file.
    fn file(&self, b: &mut Builder<'_>) -> Result<(), NoPlan> {
        match self.seen {
            Seen::Other => Ok(()),
            Seen::Missing => match b.writable(&self.path) {
                Some(at) => {
                    b.prepare(Step::MakeNode {
                        at,
                        node: Node::File,
                        mode: 0o644,
                    });
                    Ok(())
                }
                None => Err(self.no_room(b)),
            },
            Seen::Directory | Seen::Link(_) => {
                Err(self.taken("There is a directory, and what is mounted there is none."))
            }
        }
    }

    fn taken(&self, message: &str) -> NoPlan {
        let problem = Problem::new(Code::MountRefused, Stage::Mounts, message);
        problem
            .path(self.path.bytes())
            .pointer(Some(&self.pointer))
            .into()
    }

    /// The refusal of a target that does not exist and cannot be made.
    fn no_room(&self, b: &Builder<'_>) -> NoPlan {
        let (top, area) = b.area(&self.path);
        let around = match area {
            Area::Host {
                mode: Mode::FullAccess,
                ..
            } => "can be written, so it would be made on the host",
            Area::Host { .. } => "is the host's and read-only",
            Area::Stack { .. } => "holds what it holds",
            Area::Own { .. } | Area::Overlay { .. } => "has a file on the way to it",
        };
        let message = format!(
            "{} does not exist, and cannot be made: {} {around}.",
            self.path.lossy(),
            top.lossy()
        );
        let problem = Problem::new(Code::TargetMissing, Stage::Mounts, message);
        problem
            .path(self.path.bytes())
            .pointer(Some(&self.pointer))
            .hint("Make it on the host, or name a target in a directory with the mode overlay, read-only or hidden.")
            .into()
    }
}

fn fresh(
    b: &mut Builder<'_>,
    fstype: &'static CStr,
    options: Vec<(&'static CStr, Option<CString>)>,
    attributes: Attributes,
) -> Slot {
    let slot = b.slot();
    b.prepare(Step::NewFs {
        slot,
        fstype,
        options,
        attributes,
        read_only_fallback: false,
    });
    slot
}

/// Mounts over whatever was planned there and below.
fn cover(b: &mut Builder<'_>, path: &AbsPath, slot: Slot) {
    b.areas.retain(|at, _| !path.contains(at));
    b.mount(slot, path);
}

/// A step that takes something from the host, before anything of ours is mounted over it.
fn take(b: &mut Builder<'_>, step: Step) {
    let at = b.pointer.clone();
    b.early.push(Placed { step, at });
}

fn bind(
    b: &mut Builder<'_>,
    place: &Place,
    source: &CStr,
    pointer: &str,
    read_only: bool,
    recursive: bool,
) -> Result<(), NoPlan> {
    let Some((from, fact)) = on_host(b, source, pointer)? else {
        return Ok(());
    };
    if matches!(fact, PathFact::Directory { .. }) {
        place.directory(b)?;
    } else {
        place.file(b)?;
    }
    if !read_only && b.has_leaf && system::in_own_hierarchy(b, &from, false) {
        return Err(system::own_limits(&from, pointer).into());
    }
    let slot = b.slot();
    take(
        b,
        Step::Clone {
            slot,
            from: At::host(&from),
            recursive,
            if_absent: IfAbsent::Fail,
        },
    );
    // A single device file in /dev was asked for by its name; a directory of them is what it is anywhere else.
    let device = fact == PathFact::Other && AbsPath::fixed("/dev").contains(&place.path);
    let attributes = Attributes {
        read_only,
        no_suid: true,
        no_dev: !device,
        no_exec: b.is_sysfs(&from),
    };
    let at = At::slot(slot);
    take(b, Step::Restrict { at, attributes });
    cover(b, &place.path, slot);
    let mode = if read_only {
        Mode::ReadOnly
    } else {
        Mode::FullAccess
    };
    let below = if recursive && !read_only {
        system::settings_below(b, &from)
    } else {
        Vec::new()
    };
    for setting in below {
        let at = b.inside(&place.path.descend(from.rest_of(&setting)));
        let attributes = Attributes {
            read_only: true,
            ..Attributes::default()
        };
        b.attach_step(Step::Restrict { at, attributes });
    }
    b.set_area(&place.path, Area::Host { mode, from });
    Ok(())
}

fn file(b: &mut Builder<'_>, place: &Place, bytes: &Contents, mode: u32) -> Result<(), NoPlan> {
    let (top, area) = b.area(&place.path);
    let write = |at| Step::Write {
        at,
        bytes: bytes.clone(),
        mode,
    };
    match place.seen {
        Seen::Missing => match b.writable(&place.path) {
            Some(at) => b.prepare(write(at)),
            None => return Err(place.no_room(b)),
        },
        Seen::Other => {
            // What is there cannot be taken away, so this lies over it.
            let own = b.nested_dir(b.memory, 0o755);
            let own = [own.as_slice(), b"/file"].concat();
            b.prepare(write(At::below(b.memory, &own)));
            let slot = b.copy_of(b.memory, &own);
            let closed = matches!(
                area,
                Area::Host {
                    mode: Mode::ReadOnly,
                    ..
                }
            ) || b.closed.contains(&top);
            if closed {
                let attributes = Attributes {
                    read_only: true,
                    ..Attributes::default()
                };
                let at = At::slot(slot);
                b.prepare(Step::Restrict { at, attributes });
            }
            b.mount(slot, &place.path);
        }
        Seen::Directory | Seen::Link(_) => {
            return Err(place.taken("There is a directory at the place of the file."));
        }
    }
    Ok(())
}

fn overlay(
    b: &mut Builder<'_>,
    place: &Place,
    (lower, upper, work): (&[CString], &CStr, &CStr),
    at: &str,
) -> Result<(), NoPlan> {
    let mut layers = Vec::new();
    let mut unknown = false;
    let numbered = (0..)
        .zip(lower)
        .map(|(i, path)| (path.as_c_str(), format!("{at}/lower/{i}")));
    let above = [(upper, format!("{at}/upper")), (work, format!("{at}/work"))];
    for (path, pointer) in above.into_iter().chain(numbered) {
        match directory_of(b, path, &pointer)? {
            Some(real) if b.holds_scratch(&real) => {
                let message = format!("The scratch space of this job lies in {}.", real.lossy());
                let problem = Problem::new(Code::MountRefused, Stage::Mounts, message);
                let problem = problem.path(real.bytes()).pointer(Some(&pointer));
                return Err(problem
                    .hint("Take a scratch.directory that is not below a layer of the overlay.")
                    .into());
            }
            Some(real) => layers.push(real),
            None => unknown = true,
        }
    }
    let ([upper, work, lower @ ..], false) = (layers.as_slice(), unknown) else {
        return Ok(());
    };
    place.directory(b)?;
    let slot = b.slot();
    take(
        b,
        Step::Overlay {
            slot,
            lower: lower.iter().map(At::host).collect(),
            upper: At::host(upper),
            work: At::host(work),
            userxattr: true,
            volatile: false,
            keep_read_only: false,
            if_absent: IfAbsent::Fail,
        },
    );
    cover(b, &place.path, slot);
    let mut stack = vec![upper.clone()];
    stack.extend_from_slice(lower);
    b.set_area(&place.path, Area::Stack { layers: stack });
    Ok(())
}

/// The path without links of something that must exist on the host, and what is there; nothing as long as that is not known.
fn on_host(
    b: &mut Builder<'_>,
    path: &CStr,
    pointer: &str,
) -> Result<Option<(AbsPath, PathFact)>, NoPlan> {
    let refuse = |errno: Errno| {
        let shown = path.to_string_lossy();
        let (code, message) = match errno {
            Errno::ENOENT => (Code::NoSuchFile, format!("{shown} does not exist.")),
            Errno::ENOTDIR => (
                Code::NotADirectory,
                format!("A part of {shown} is no directory."),
            ),
            Errno::EACCES => (
                Code::DirectoryUnreachable,
                format!("{shown} cannot be reached: a parent cannot be searched."),
            ),
            _ => (
                Code::FileRefused,
                format!("{shown} could not be looked at."),
            ),
        };
        Problem::at(code, pointer, message)
            .path(path.to_bytes())
            .errno("readlink", errno)
    };
    let real = match b.facts.real.get(path) {
        None => {
            b.ask(Question::Real(path.to_owned()));
            return Ok(None);
        }
        Some(Err(errno)) => return Err(refuse(Errno::from_raw(*errno)).into()),
        Some(Ok(real)) => real.clone(),
    };
    let errno = match b.host_fact(&real) {
        None => return Ok(None),
        Some(PathFact::Missing) => Errno::ENOENT,
        Some(PathFact::Denied) => Errno::EACCES,
        Some(PathFact::Failed(errno)) => Errno::from_raw(errno),
        Some(PathFact::Symlink { .. }) => Errno::ELOOP,
        Some(fact) => return Ok(Some((real, fact))),
    };
    Err(refuse(errno).into())
}

/// The path without links of a directory of the host.
pub(super) fn directory_of(
    b: &mut Builder<'_>,
    path: &CStr,
    pointer: &str,
) -> Result<Option<AbsPath>, NoPlan> {
    match on_host(b, path, pointer)? {
        None => Ok(None),
        Some((real, PathFact::Directory { .. })) => Ok(Some(real)),
        Some((real, _)) => {
            let message = format!("{} is not a directory.", real.lossy());
            let problem = Problem::at(Code::NotADirectory, pointer, message);
            Err(problem.path(real.bytes()).into())
        }
    }
}

/// The refusal of a target whose way leads nowhere.
fn astray(target: &AbsPath, stop: Stop, pointer: String) -> Problem {
    let shown = target.lossy();
    match stop {
        Stop::NotADirectory(at) => Problem::at(
            Code::NotADirectory,
            pointer,
            format!("{} on the way to {shown} is no directory.", at.lossy()),
        )
        .path(at.bytes()),
        Stop::Failed(at, Errno::ELOOP) => Problem::at(
            Code::IsSymlink,
            pointer,
            format!("{shown} leads through too many symbolic links."),
        )
        .path(at.bytes()),
        Stop::Failed(at, errno) => Problem::at(
            Code::DirectoryUnreachable,
            pointer,
            format!(
                "{} on the way to {shown} could not be looked at.",
                at.lossy()
            ),
        )
        .path(at.bytes())
        .errno("openat2", errno),
        Stop::Unknown => Problem::at(Code::Internal, pointer, "The host was not asked."),
    }
}
