//! Processor time of processes.

use super::check;
use nix::errno::Errno;
use nix::libc::{self, c_int};
use std::mem::MaybeUninit;

/// What all threads of a process have used, those that have ended included.
///
/// # References
/// clock_getcpuclockid(3), clock_gettime(2)
pub(crate) fn of_process(pid: c_int) -> Result<u64, Errno> {
    // The lowest bits stand for the scheduler's clock of a whole process, as in <linux/posix-timers.h>.
    let clock = (!pid << 3) | 2;
    let mut time = [0i64; 2];
    // SAFETY: `time` has the layout of the 64-bit `timespec` that is written.
    check(unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time.as_mut_ptr()) })?;
    let [seconds, nanos] = time.map(|part| u64::try_from(part).unwrap_or(0));
    Ok(seconds * 1_000_000_000 + nanos)
}

/// What the children that this process has waited for have used, with all that they waited for.
///
/// # References
/// getrusage(2), RUSAGE_CHILDREN
pub(crate) fn of_children() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: there is room for what is written.
    let _ = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    // SAFETY: all-zero bytes are a valid `rusage`, whatever the kernel has filled in.
    let usage = unsafe { usage.assume_init() };
    super::process::nanoseconds(usage.ru_utime) + super::process::nanoseconds(usage.ru_stime)
}
