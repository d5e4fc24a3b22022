//! System calls that leave nothing behind in this process's memory but what they are asked for.
//!
//! The C library notes the error of a call in memory of the calling thread. A thread of [`super::thread`] has none of its own,
//! so of two that run at a time only one may make calls through the library.

use nix::errno::Errno;
use nix::libc::c_long;

/// Makes a call; a pointer among the arguments is given as its exposed address.
///
/// # Safety
/// The arguments are what the call asks for, and what they point to is valid for it.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn call(number: c_long, [a, b, c, d]: [u64; 4]) -> Result<u64, Errno> {
    let result: i64;
    // SAFETY: as the caller promises; besides the result only rcx and r11 change (syscall(2)).
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    outcome(result)
}

/// The same.
///
/// # Safety
/// The same.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn call(number: c_long, [a, b, c, d]: [u64; 4]) -> Result<u64, Errno> {
    let result: i64;
    // SAFETY: as the caller promises; besides the result nothing changes (syscall(2)).
    unsafe {
        std::arch::asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") a.cast_signed() => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            options(nostack),
        );
    }
    outcome(result)
}

/// The kernel gives the negative error number, syscall(2).
fn outcome(result: i64) -> Result<u64, Errno> {
    match i32::try_from(result) {
        Ok(negative @ -4095..=-1) => Err(Errno::from_raw(-negative)),
        _ => Ok(result.cast_unsigned()),
    }
}
