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

/// The next entries of a directory, as `struct linux_dirent64`; 0 bytes is the end.
///
/// # References
/// getdents64(2)
pub(crate) fn entries(directory: c_int, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes no more than the buffer has.
    let length = check(unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            directory,
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    })?;
    Ok(usize::try_from(length).unwrap_or(0))
}

/// Goes back to the first entry.
///
/// # References
/// lseek(2)
pub(crate) fn rewind(directory: c_int) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    let at = unsafe { libc::lseek(directory, 0, libc::SEEK_SET) };
    if at == 0 { Ok(()) } else { Err(Errno::last()) }
}
