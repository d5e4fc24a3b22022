//! From `clone3` to `execve`: the container is built and the target started, in the order of this file. Ring 2.
//!
//! Rules here: no heap, no lock, no environment, no formatting, no panic. Everything is borrowed from the plan, which the
//! parent made before. Nothing is decided: the kernel's errno ends the work, and one fixed-size record says where. Who gets
//! here never returns.
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "between fork and exec nothing may allocate"
)]

pub(crate) mod init;
pub(crate) mod meter;
mod network;
pub(crate) mod probe;
mod scribe;
mod steps;
mod target;

use meter::Meter;

use crate::streams::Source;
use crate::sys::{clone, fd, handover, mount, process};
use nix::errno::Errno;
use nix::libc;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use stdbox::capability::Capabilities;
use stdbox::plan::{IdMaps, MapWriter, Namespace, Plan, Written};
use stdbox::text::Contents;
use stdbox::wire::{Call, Failure, Phase, Record};

/// What the parent prepared beside the plan.
#[derive(Debug)]
pub(crate) struct Image {
    /// Where records go.
    pub(crate) records: i32,
    /// Where the parent reads them; not for the child.
    pub(crate) parents_end: i32,
    /// Where the parent says that it has written the id maps, and its end of that; -1 where the child writes them.
    pub(crate) maps_written: [i32; 2],
    /// Where the file systems that hold the job's writes are sent, if the parent wants them; else -1.
    pub(crate) handover: i32,
    /// Where the target waits for the caller, and the parent's end of that; -1 where nobody is waited for.
    pub(crate) gate: [i32; 2],
    /// Where the target waits for its turn; -1 where it has come.
    pub(crate) turn: i32,
    /// What becomes 0, 1 and 2; none of them is below 3.
    pub(crate) streams: [i32; 3],
    /// Those of 1 and 2 that are read into the report; else -1. Init keeps them open, so that the parent is not woken for their
    /// ends, and not moved to another processor, just before it is woken for the record that the target has ended.
    pub(crate) captured: [i32; 2],
    /// What is still to be done about standard input.
    pub(crate) stdin: Source,
    /// The signals whose action may be another than their default.
    pub(crate) changed_signals: u64,
    /// Whether the parent was protected from the out-of-memory killer before it lifted that for this process.
    pub(crate) was_protected: bool,
    /// Whether what can be done only in part fails.
    pub(crate) strict: bool,
    /// What may be large, and is of no more use when the target runs.
    #[expect(
        clippy::disallowed_types,
        reason = "made by the parent; init gives back what it refers to"
    )]
    pub(crate) large: Vec<Contents>,
    /// Kept descriptors and streams that are directories: which, the path they had, and how they were open.
    #[expect(
        clippy::disallowed_types,
        reason = "made by the parent, only read here"
    )]
    pub(crate) reopen: Vec<(i32, CString, i32)>,
    /// Arguments.
    pub(crate) argv: process::Pointers,
    /// Environment.
    pub(crate) envp: process::Pointers,
    /// Room for what init remembers of the job's processes.
    pub(crate) tables: meter::Tables,
    /// The directory of the job's own control group, if it has one.
    pub(crate) leaf: Option<i32>,
    /// A stack for the thread that prepares init, and then for the target's process, until it has a memory of its own.
    pub(crate) stack: clone::Stack,
}

/// One descriptor for each slot of the plan; -1 where there is none.
pub(crate) type Slots = [i32];

type Done = Result<(), Failure>;

/// Where a failed call belongs.
fn fault(phase: Phase, index: u32, call: Call) -> impl Fn(Errno) -> Failure {
    move |errno| Failure {
        phase,
        index,
        call,
        errno: errno as i32,
    }
}

fn say(image: &Image, record: Record) -> Result<(), Errno> {
    fd::write_all(image.records, &record.encode())
}

/// The first process of the container. It never returns.
pub(crate) fn run(plan: &Plan, image: &Image, slots: &mut Slots) -> ! {
    let Err(failure) = first_process(plan, image, slots);
    fail(image, failure)
}

fn fail(image: &Image, failure: Failure) -> ! {
    // If the parent is gone, so is who wanted to know.
    let _gone = say(image, Record::Failed(failure));
    process::exit(1)
}

fn first_process(plan: &Plan, image: &Image, slots: &mut Slots) -> Result<Infallible, Failure> {
    // If the parent died before the second of these calls, the pipe has no reader left: `Ready` cannot be said, and the
    // target does not start.
    fd::close(image.parents_end);
    let [gate, parents_gate] = image.gate;
    if parents_gate >= 0 {
        fd::close(parents_gate);
    }
    process::die_with_parent().map_err(fault(Phase::Bind, 0, Call::PrCtl))?;
    let mut prepare = || prepare(plan, image, slots);
    let Prepared { processes, umask } = match plan.network_beside {
        true => network::beside(image, prepare)?,
        false => prepare()?,
    };
    if plan.own_keyring {
        // No filter of ours stands between the target and the keys of the caller's session, which no namespace contains.
        process::new_session_keyring().map_err(fault(Phase::Session, 0, Call::KeyCtl))?;
    }
    let own = if plan.kept.is_some() {
        // They are the target's in namespaces of its own. Init keeps its capabilities until then, since a map of id 0 takes
        // one of them.
        if plan.own_group() {
            0
        } else {
            target::namespaces(plan)
        }
    } else if plan.init {
        // With a group of its own, the target needs a capability for its view of it.
        if !plan.own_group() {
            target::drop_privileges(Capabilities::default())?;
        }
        0
    } else {
        // The target is pid 1 of a namespace of its own, below an init that ends it with the parent.
        libc::CLONE_NEWPID
    };
    let scratch = plan
        .scratch
        .and_then(|slot| slots.get(slot.0))
        .copied()
        .unwrap_or(-1);
    let scribe = match &plan.kept {
        Some(kept) if !matches!(kept.id_maps.writer, MapWriter::Itself) => {
            Some(scribe::start(&kept.id_maps)?)
        }
        _ => None,
    };
    // The target's process shares this memory until it executes the command. What went wrong is left there, since under its
    // filter it may not be allowed to say it.
    let mut failure = None;
    let mut target = || {
        let privileges = match (&plan.kept, plan.init) {
            (Some(kept), _) => target::keep_privileges(plan, image, kept, scribe),
            (None, true) if !plan.own_group() => Ok(()),
            (None, true) => target::put_aside(),
            (None, false) => build(plan, image, slots).and_then(|()| match plan.own_group() {
                true => target::put_aside(),
                false => target::drop_privileges(Capabilities::default()),
            }),
        };
        let Err(found) = privileges.and_then(|()| target::run(plan, image, umask));
        failure = Some(found);
        process::leave()
    };
    let born = if image.leaf.is_some() {
        Phase::Cgroup
    } else {
        Phase::Fork
    };
    let pid = clone::sharing(own, image.leaf, image.stack, &mut target).map_err(fault(
        born,
        0,
        Call::Clone,
    ))?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let meter = Meter::new(plan.meter, processes, image);
    let hold = plan.sync.is_some_and(|sync| sync.after_exit);
    let kept = init::Kept {
        processes,
        scratch: if plan.init { scratch } else { -1 },
        gate: if hold { gate } else { -1 },
    };
    init::run(image, pid, kept, meter)
}

/// What init found out while it prepared itself.
struct Prepared {
    /// Where the meter looks.
    processes: i32,
    /// The caller's umask.
    umask: u32,
}

/// What is the whole process's, and not that of a thread of it: ids, limits, descriptors, and the tree, unless the target builds it.
fn prepare(plan: &Plan, image: &Image, slots: &mut Slots) -> Result<Prepared, Failure> {
    leave_callers_group()?;
    if matches!(plan.id_maps.writer, MapWriter::Itself) {
        write_id_maps(&plan.id_maps)?;
    } else {
        await_id_maps(image)?;
    }
    if plan.procfs.is_none() {
        limit_namespaces(plan, None)?;
    }
    if image.was_protected {
        unprotected(image)?;
    }
    match &image.stdin {
        Source::Ready => {}
        Source::Fifo => await_writer(image)?,
        Source::File(path) => match protect(image, path) {
            Err(failure) if !image.strict => {
                say(image, Record::Skipped(failure)).map_err(fault(Phase::Stdin, 0, Call::Write))?
            }
            done => done?,
        },
    }
    // The tree may cover the /proc that the kernel wants to see before it allows another.
    let processes = meter::open(plan.meter)?;
    // Only now: the files of the id maps belong to the process as long as it can be dumped.
    let umask = process::umask(0);
    process::set_undumpable().map_err(fault(Phase::Init, 0, Call::PrCtl))?;
    if plan.kept.is_some() || plan.init {
        build(plan, image, slots)?;
    }
    Ok(Prepared { processes, umask })
}

/// A signal to the parent's process group, such as a terminal's Ctrl-C, is the parent's to act on. Where there is a terminal, this
/// process leaves the session too, so that nothing in the container has it as its own.
///
/// Where there is none, the session is only the target's to make: for each the kernel makes a scheduling group, which takes longer
/// than to ask (sched(7), autogroup).
fn leave_callers_group() -> Done {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK;
    match fd::open(libc::AT_FDCWD, c"/dev/tty", flags, 0) {
        Err(Errno::ENXIO) => {
            process::new_process_group().map_err(fault(Phase::Bind, 0, Call::SetPGid))
        }
        opened => {
            let _none = opened.map(fd::close);
            process::new_session().map_err(fault(Phase::Bind, 0, Call::SetSid))
        }
    }
}

fn build(plan: &Plan, image: &Image, slots: &mut Slots) -> Done {
    if let Some(name) = &plan.hostname {
        set_hostname(image, name)?;
    }
    if plan.namespaces.contains(&Namespace::Network) && !plan.network_beside {
        network::loopback()?;
    }
    steps::run(plan, image, slots)?;
    if let Some(written) = &plan.written {
        hand_over(written, image, slots)?;
    }
    // Where the tree is used in place this is still the caller's directory, below whatever is mounted over it, and
    // /proc/self/cwd in a path of the job would lead there.
    process::chdir(c"/").map_err(fault(Phase::Cwd, 0, Call::ChDir))
}

/// In a namespace of one's own only a filter around stdbox refuses it. Podman's does, and has nothing against the rest.
fn set_hostname(image: &Image, name: &CStr) -> Done {
    let failed = |call| fault(Phase::Hostname, 0, call);
    match process::set_hostname(name) {
        Err(errno @ (Errno::EPERM | Errno::ENOSYS)) if !image.strict => {
            let failure = failed(Call::SetHostName)(errno);
            say(image, Record::Skipped(failure)).map_err(failed(Call::Write))
        }
        done => done.map_err(failed(Call::SetHostName)),
    }
}

/// Sends the parent what it needs to look at the job's writes when the container is gone.
fn hand_over(written: &Written, image: &Image, slots: &Slots) -> Done {
    for part in written.slots.chunks(handover::MOST) {
        let mut places = [-1; handover::MOST];
        for (place, slot) in places.iter_mut().zip(part) {
            *place = slots.get(slot.0).copied().unwrap_or(-1);
        }
        let places = places.get(..part.len()).unwrap_or(&places);
        handover::send(image.handover, places).map_err(fault(Phase::Init, 0, Call::SendMsg))?;
    }
    Ok(())
}

/// Sees whether the protection from the out-of-memory killer is gone for good. If not, the job could have it back.
fn unprotected(image: &Image) -> Done {
    let failed = |call| fault(Phase::Protection, 0, call);
    let path = c"/proc/self/oom_score_adj";
    let file = fd::open(libc::AT_FDCWD, path, libc::O_WRONLY, 0).map_err(failed(Call::Open))?;
    let back = fd::write_all(file, b"-1");
    let lifted = fd::write_all(file, b"0").map_err(failed(Call::Write));
    fd::close(file);
    lifted?;
    match back {
        // Lower than is allowed.
        Err(Errno::EACCES) => Ok(()),
        _ if image.strict => Err(failed(Call::Write)(Errno::EPERM)),
        _ => {
            let failure = failed(Call::Write)(Errno::EPERM);
            say(image, Record::Skipped(failure)).map_err(failed(Call::Write))
        }
    }
}

/// Opens the named pipe again, this time waiting for a writer as every program would. It is done here, since this process
/// can be ended at any moment, which the parent cannot.
fn await_writer(image: &Image) -> Done {
    let [stdin, ..] = image.streams;
    let mut link = [0; steps::LINK];
    let path = steps::link_to(stdin, &mut link);
    let opened = match fd::open(libc::AT_FDCWD, path, libc::O_RDONLY, 0) {
        Ok(opened) => opened,
        // Another user's pipe, which only the parent's privileges can open: what it has opened is used as it is.
        Err(Errno::EACCES) => return Ok(()),
        Err(errno) => return Err(fault(Phase::Descriptors, 0, Call::Open)(errno)),
    };
    fd::dup_onto(opened, stdin).map_err(fault(Phase::Descriptors, 0, Call::Dup))?;
    fd::close(opened);
    Ok(())
}

/// Opens the file again through a read-only mount of its own, which exists only here. What it was opened through is a mount of
/// the host, and whose file it is could open it again through /proc/self/fd and write it, or change its mode as it is.
fn protect(image: &Image, path: &CStr) -> Done {
    let failed = |call| fault(Phase::Stdin, 0, call);
    let [stdin, ..] = image.streams;
    let mount = mount::clone_tree(libc::AT_FDCWD, path, false).map_err(failed(Call::OpenTree))?;
    if !fd::same_file(mount, stdin) {
        // Another one has the name by now.
        return Err(failed(Call::OpenTree)(Errno::ESTALE));
    }
    let attributes = mount::ATTR_RDONLY | mount::ATTR_NOSUID | mount::ATTR_NODEV;
    mount::restrict(mount, c"", attributes).map_err(failed(Call::MountSetAttr))?;
    let mut link = [0; steps::LINK];
    match fd::open(
        libc::AT_FDCWD,
        steps::link_to(mount, &mut link),
        libc::O_RDONLY,
        0,
    ) {
        Ok(opened) => {
            fd::dup_onto(opened, stdin).map_err(failed(Call::Dup))?;
            fd::close(opened);
        }
        // A file that only the parent's privileges can open: so the target cannot either, if not for writing.
        Err(Errno::EACCES) => {
            let mut link = [0; steps::LINK];
            let path = steps::link_to(stdin, &mut link);
            if let Ok(writable) = fd::open(libc::AT_FDCWD, path, libc::O_WRONLY, 0) {
                fd::close(writable);
                return Err(failed(Call::Open)(Errno::EACCES));
            }
        }
        Err(errno) => return Err(failed(Call::Open)(errno)),
    }
    fd::close(mount);
    Ok(())
}

/// Limits how many more namespaces there may be below this user namespace: namespaces(7), "The /proc/sys/user directory". The
/// numbers belong to it, and to raise them takes a capability there, which the job does not have.
///
/// They are the same in every procfs. In the container's own the kernel finds them at once; in the host's it looks through
/// those of all user namespaces that it has not yet forgotten, which are hundreds where jobs follow one another.
fn limit_namespaces(plan: &Plan, procfs: Option<i32>) -> Done {
    if !plan.nested_namespaces {
        let failed = |call| fault(Phase::IdMaps, 0, call);
        let file = open_limit(procfs, c"/proc/sys/user/max_user_namespaces");
        write_once(file.map_err(failed(Call::Open))?, b"0").map_err(failed(Call::Write))?;
    }
    // In a namespace of its own the job could mount the hierarchy anew, where its user may write the files of its limits, and
    // those of the caller's own group if that is delegated: cgroup.kill and cgroup.freeze reach all processes there. The one is
    // that in which the target sees its own group as the root.
    let number = if plan.own_group() { b"1" } else { b"0" };
    let failed = |call| fault(Phase::Cgroup, 1, call);
    match open_limit(procfs, c"/proc/sys/user/max_cgroup_namespaces") {
        Ok(file) => write_once(file, number).map_err(failed(Call::Write)),
        // An outer container has allowed none.
        Err(Errno::EROFS | Errno::ENOENT) if plan.leaf.is_none() => Ok(()),
        Err(errno) => Err(failed(Call::Open)(errno)),
    }
}

/// In the host's procfs where the other one had to be mounted read-only.
fn open_limit(procfs: Option<i32>, path: &CStr) -> Result<i32, Errno> {
    let below = path.to_bytes_with_nul().strip_prefix(b"/proc/");
    let below = below.and_then(|below| CStr::from_bytes_with_nul(below).ok());
    match procfs.zip(below) {
        Some((procfs, below)) => match fd::open(procfs, below, libc::O_WRONLY, 0) {
            Err(Errno::EROFS) => open_limit(None, path),
            opened => opened,
        },
        None => fd::open(libc::AT_FDCWD, path, libc::O_WRONLY, 0),
    }
}

/// Closed at once: a file open for writing keeps its mount from becoming read-only.
fn write_once(file: i32, text: &[u8]) -> Result<(), Errno> {
    let written = fd::write_all(file, text);
    fd::close(file);
    written
}

/// Waits until the parent has written the id maps. If it is gone, or could not do it, that is all there was to do.
fn await_id_maps(image: &Image) -> Done {
    let [reader, parents_end] = image.maps_written;
    fd::close(parents_end);
    match fd::read(reader, &mut [0]) {
        Ok(1) => fd::close(reader),
        Ok(_) => process::exit(1),
        Err(errno) => return Err(fault(Phase::IdMaps, 0, Call::Read)(errno)),
    }
    Ok(())
}

/// An unprivileged process may map its own ids only, and must give up setgroups(2) first: user_namespaces(7).
fn write_id_maps(maps: &IdMaps) -> Done {
    write_file(c"/proc/self/setgroups", b"deny")?;
    write_file(c"/proc/self/uid_map", &maps.uid)?;
    write_file(c"/proc/self/gid_map", &maps.gid)
}

fn write_file(path: &CStr, text: &[u8]) -> Done {
    let failed = |call| fault(Phase::IdMaps, 0, call);
    let file = fd::open(libc::AT_FDCWD, path, libc::O_WRONLY, 0).map_err(failed(Call::Open))?;
    write_once(file, text).map_err(failed(Call::Write))
}
