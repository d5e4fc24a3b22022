//! Pid 1 of the container: reaps, passes signals of the outside on, and says how the target ended. Ring 2.

use super::{Image, say};
use crate::sys::{fd, process};
use nix::errno::Errno;
use nix::libc;
use stdbox::capability::Capabilities;
use stdbox::wire::Record;

/// The signal by which the parent asks for the end of everything but init, so that it still learns what was used.
pub(crate) const END_NOW: i32 = 63;

/// Waits for the target. It never returns; when it ends, the kernel kills all that is left in the pid namespace.
pub(super) fn run(image: &Image, target: i32, scratch: i32) -> ! {
    let kept = [image.records.min(scratch), image.records.max(scratch)];
    let mut first = 0;
    for keep in kept.into_iter().filter_map(|fd| u32::try_from(fd).ok()) {
        // What cannot be closed would only be open for longer.
        let _unsupported = fd::close_range(first, keep.saturating_sub(1));
        first = keep + 1;
    }
    let _unsupported = fd::close_range(first, u32::MAX);
    // It has none already, but for an init that stands outside the target's own pid namespace.
    if process::limit_capabilities(Capabilities::default()).is_err() {
        process::exit(1);
    }
    loop {
        match process::wait_signal() {
            Ok((libc::SIGCHLD, _)) | Err(Errno::EINTR) => reap(image, target, scratch),
            Ok((_, false)) => {}
            Ok((END_NOW, true)) => process::kill(-1, libc::SIGKILL),
            Ok((signal, true)) => process::kill(target, signal),
            Err(_) => process::exit(1),
        }
    }
}

fn reap(image: &Image, target: i32, scratch: i32) {
    loop {
        match process::wait(-1) {
            Ok(Some((pid, status, rusage))) if pid == target => {
                let at_ns = process::now_ns();
                let scratch_bytes = fd::statfs(scratch).map_or(0, |(_, used)| used);
                let record = Record::Exited {
                    status,
                    at_ns,
                    rusage,
                    scratch_bytes,
                };
                let _parent_gone = say(image, record);
                process::exit(0);
            }
            Ok(Some(_)) | Err(Errno::EINTR) => {}
            Ok(None) | Err(Errno::ECHILD) => return,
            Err(_) => process::exit(1),
        }
    }
}
