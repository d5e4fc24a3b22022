//! The directories that the job names, and those that follow from them: which there are, before anything is mounted. Ring 0.

use super::resolve::Seen;
use super::tree::Builder;
use super::{NoPlan, config, mounts, system};
use crate::host::PathFact;
use crate::job::Directory;
use crate::problem::{Code, Notice, Problem, Stage};
use crate::spec::{Dev, Mode};
use crate::text::AbsPath;
use nix::errno::Errno;

impl Builder<'_> {
    /// Checks the named directories against the host (section 5.2), and settles the default ones.
    pub(super) fn settle_directories(&mut self) -> Result<(), NoPlan> {
        let named: Vec<(AbsPath, Directory)> = self
            .directories
            .iter()
            .map(|(p, d)| (p.clone(), d.clone()))
            .collect();
        let facts: Vec<Option<PathFact>> =
            named.iter().map(|(path, _)| self.path_fact(path)).collect();
        if !self.asks.is_empty() {
            return Err(self.unanswered());
        }
        let mut found = Vec::new();
        for ((path, directory), fact) in named.into_iter().zip(facts) {
            let fact = fact.map(|fact| self.link_of_tree(&path, fact));
            found.push((path, directory, fact));
        }
        if !self.asks.is_empty() {
            return Err(self.unanswered());
        }
        for (path, directory, fact) in found {
            let Some(fact) = fact else { continue };
            match (&directory.at, fact) {
                (_, PathFact::Directory { .. }) => {}
                (at, PathFact::Failed(errno)) => {
                    return Err(unknown_directory(&path, errno)
                        .pointer(at.as_deref())
                        .into());
                }
                (Some(at), fact) => return Err(refused_directory(&path, &fact, at).into()),
                (None, fact) => {
                    self.directories.remove(&path);
                    // What the default hides must not stay visible under its real name.
                    if let PathFact::Symlink {
                        real: Some(real), ..
                    } = fact
                        && self
                            .path_fact(&real)
                            .is_some_and(|fact| matches!(fact, PathFact::Directory { .. }))
                    {
                        self.directories.entry(real).or_insert(directory);
                    }
                }
            }
        }
        // What is implied takes its place among the named directories, so that one below it is attached after it.
        let dev = AbsPath::fixed("/dev");
        if self.job.dev == Dev::Host && !system::supplied(self, &dev) && self.is_directory(&dev) {
            self.imply(dev, Mode::ReadOnly);
        }
        let shm = AbsPath::fixed(system::RUN_SHM);
        if self.is_directory(&shm) {
            self.imply(shm, Mode::Hidden);
        }
        system::refuse_own_limits(self)?;
        system::name_resolution(self);
        config::settle_home(self);
        system::settings_elsewhere(self);
        self.hold_names();
        mounts::foresee(self);
        Ok(())
    }

    /// Where a link of another tree leads in that tree: the host followed it to a place of its own.
    fn link_of_tree(&mut self, path: &AbsPath, fact: PathFact) -> PathFact {
        match fact {
            PathFact::Symlink { link, .. } if self.job.root.is_some() => {
                let real = match self.resolve(path, true, Self::untouched) {
                    Ok((real, Seen::Directory | Seen::Other)) => Some(real),
                    Ok(_) | Err(_) => None,
                };
                PathFact::Symlink { real, link }
            }
            fact => fact,
        }
    }

    /// A job that may write a directory may rename what is in it, a protected directory or one on the way to it, and give
    /// the name to something else, which the host then takes for what was protected. A mount point of one's own mount
    /// namespace cannot be renamed, so each directory on the way becomes one; and the job gets no other mount namespace.
    fn hold_names(&mut self) {
        let protected = |(_, directory): &(&AbsPath, &Directory)| {
            directory.at.is_some() && directory.mode != Mode::FullAccess
        };
        let named = self.directories.iter().filter(protected);
        let named: Vec<AbsPath> = named.map(|(path, _)| path.clone()).collect();
        for path in named {
            // The file systems of devices and of the kernel are not the job's to rename in.
            if ["/dev", "/sys"]
                .iter()
                .any(|top| AbsPath::fixed(top).is_above(&path))
            {
                continue;
            }
            let mut above = path
                .parent()
                .filter(|parent| self.mode_of(parent) == Mode::FullAccess);
            if above.is_some() && !self.names_held {
                self.names_held = true;
                let message = "A directory inside a full-access one has another mode; so that it keeps its name, the job can make no user namespaces.";
                self.warnings.push(Notice::new(
                    "no-nested-namespaces",
                    Some(path.bytes()),
                    message,
                ));
            }
            // Up to the directory that decides.
            while let Some(at) = above.filter(|at| !self.directories.contains_key(at)) {
                above = at.parent();
                self.held.insert(at.clone());
                self.imply(at, Mode::FullAccess);
            }
        }
    }
}

fn unknown_directory(path: &AbsPath, errno: i32) -> Problem {
    let errno = Errno::from_raw(errno);
    let (code, hint) = match errno {
        Errno::ENOSYS => (
            Code::KernelTooOld,
            "Linux 5.15 or newer is needed; in a container, a seccomp profile that allows openat2.",
        ),
        _ => (
            Code::DirectoryUnreachable,
            "See the error number; the file system may be out of order.",
        ),
    };
    let message = format!("{} could not be looked at.", path.lossy());
    Problem::new(code, Stage::Host, message)
        .path(path.bytes())
        .errno("openat2", errno)
        .hint(hint)
}

fn refused_directory(path: &AbsPath, fact: &PathFact, at: &str) -> Problem {
    let shown = path.lossy();
    let problem = match fact {
        PathFact::Missing | PathFact::Failed(_) => Problem::at(
            Code::NoSuchDirectory,
            at,
            format!("{shown} does not exist."),
        ),
        PathFact::Denied => Problem::at(
            Code::DirectoryUnreachable,
            at,
            format!("{shown} cannot be reached: a parent cannot be searched."),
        ),
        PathFact::Symlink {
            real: Some(real), ..
        } => Problem::at(
            Code::IsSymlink,
            at,
            format!(
                "{shown} is or lies behind a symbolic link to {}.",
                real.lossy()
            ),
        )
        .hint(format!("Name {} instead.", real.lossy())),
        PathFact::Symlink { real: None, link } => {
            let to = String::from_utf8_lossy(link.as_deref().unwrap_or(b"?")).into_owned();
            Problem::at(
                Code::IsSymlink,
                at,
                format!("{shown} is or lies behind a symbolic link to {to}, which does not exist."),
            )
        }
        PathFact::Directory { .. } | PathFact::File | PathFact::Other => Problem::at(
            Code::NotADirectory,
            at,
            format!("{shown} is not a directory."),
        ),
    };
    problem.path(path.bytes())
}
