//! Pid 1 of the container: reaps, passes signals of the outside on, looks at the use of processor time,
//! and says how the target ended. Ring 2.

use super::meter::Meter;
use super::{Image, fail, say};
use crate::sys::{alloc, fd, process};
use nix::errno::Errno;
use nix::libc;
use stdbox::capability::Capabilities;
use stdbox::wire::Record;

/// The signal by which the parent asks for the end of everything but init, so that it still learns what was used.
pub(crate) const END_NOW: i32 = 63;

/// What init keeps beside the records; -1 stands for no descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Where the meter looks.
    pub(super) processes: i32,
    /// The scratch space.
    pub(super) scratch: i32,
    /// Where the parent says that the container may go, if it wants to.
    pub(super) gate: i32,
}

/// Waits for the target. It never returns; when it ends, the kernel kills all that is left in the pid namespace.
pub(super) fn run(image: &Image, target: i32, kept: Kept, mut meter: Option<Meter<'_>>) -> ! {
    let [out, err] = image.captured;
    let mut open = [
        image.records,
        kept.processes,
        kept.scratch,
        kept.gate,
        out,
        err,
    ];
    open.sort_unstable();
    let mut first = 0;
    for keep in open.into_iter().filter_map(|fd| u32::try_from(fd).ok()) {
        // What cannot be closed would only be open for longer.
        let _unsupported = fd::close_range(first, keep.saturating_sub(1));
        first = keep + 1;
    }
    let _unsupported = fd::close_range(first, u32::MAX);
    // The target has a memory of its own now, so this one is nobody else's.
    alloc::disarm();
    for contents in &image.large {
        contents.forget();
    }
    // Where there is but one id, and no view of the control groups for the target, it has none already.
    if process::limit_capabilities(Capabilities::default()).is_err() {
        process::exit(1);
    }
    loop {
        let idle_ns = meter.as_ref().and_then(Meter::idle_ns);
        match process::wait_signal(idle_ns) {
            Ok((libc::SIGCHLD, _)) | Err(Errno::EINTR) => reap(image, target, kept, &mut meter),
            Ok((_, false)) | Err(Errno::EAGAIN) => {}
            Ok((END_NOW, true)) => process::kill(-1, libc::SIGKILL),
            Ok((signal, true)) => process::kill(target, signal),
            Err(_) => process::exit(1),
        }
        check(image, &mut meter);
    }
}

/// Not only when there is nothing else to do: a job could see to it that there always is.
fn check(image: &Image, meter: &mut Option<Meter<'_>>) {
    if let Some(Err(failure)) = meter.as_mut().map(|meter| meter.check(image)) {
        fail(image, failure);
    }
}

fn reap(image: &Image, target: i32, kept: Kept, meter: &mut Option<Meter<'_>>) {
    loop {
        match process::wait(-1) {
            Ok(Some((pid, status, rusage))) if pid == target => {
                let at_ns = process::now_ns();
                let scratch_bytes = fd::statfs(kept.scratch).map_or(0, |(_, used)| used);
                let job_cpu_ns = match meter.as_mut().map(Meter::used_ns) {
                    None => 0,
                    Some(Ok(used_ns)) => used_ns,
                    Some(Err(failure)) => fail(image, failure),
                };
                let record = Record::Exited {
                    status,
                    at_ns,
                    rusage,
                    scratch_bytes,
                    job_cpu_ns,
                    last: kept.gate < 0 && childless(),
                };
                if kept.gate >= 0 && leave_alone().is_err() {
                    process::exit(1);
                }
                let _parent_gone = say(image, record);
                if kept.gate >= 0 {
                    // However this ends, there is nothing left to wait for.
                    let _go = fd::read(kept.gate, &mut [0]);
                } else {
                    // The parent need not wait until this process is taken down.
                    fd::close(image.records);
                }
                process::exit(0);
            }
            Ok(Some(_)) | Err(Errno::EINTR) => check(image, meter),
            Ok(None) | Err(Errno::ECHILD) => return,
            Err(_) => process::exit(1),
        }
    }
}

/// Whether nothing of the job is left: whoever loses its parent becomes a child of this process, or of one that is below it. Who is
/// dead and not reaped yet counts too: it is asked but once, since the job may see to it that there always is one more.
fn childless() -> bool {
    process::wait(-1) == Err(Errno::ECHILD)
}

/// Ends all that is left of the job, also what has taken other ids: whoever made a user namespace has power over the processes in
/// it (user_namespaces(7)). Then opens the container to the caller's eyes: what can be dumped can be looked into, by
/// proc(5), "/proc/[pid]/root", and no process of the job may ever do that.
fn leave_alone() -> Result<(), Errno> {
    process::kill(-1, libc::SIGKILL);
    loop {
        match process::wait_for_any() {
            Ok(()) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return process::set_dumpable(),
            Err(errno) => return Err(errno),
        }
    }
}
