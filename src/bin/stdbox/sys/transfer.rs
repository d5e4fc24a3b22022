//! What moves the content of files, and their attributes.

use super::check;
use nix::errno::Errno;
use nix::libc::{self, c_int};
use std::ffi::CStr;
use std::ptr;

/// Makes one file share the blocks of another.
///
/// # References
/// FICLONE(2const)
pub(crate) fn share_blocks(to: c_int, from: c_int) -> Result<(), Errno> {
    const FICLONE: c_int = 0x4004_9409;
    // SAFETY: FICLONE takes a descriptor.
    check(unsafe { libc::ioctl(to, FICLONE, from) }.into()).map(drop)
}

/// Copies from one file to another inside the kernel, on both sides at the same offset; 0 is the end.
///
/// # References
/// copy_file_range(2)
pub(crate) fn copy_range(to: c_int, from: c_int, at: i64, count: usize) -> Result<usize, Errno> {
    let (mut there, mut here) = (at, at);
    let flags = 0u32;
    // SAFETY: both offsets outlive the call.
    let done = check(unsafe {
        libc::syscall(
            libc::SYS_copy_file_range,
            from,
            &raw mut here,
            to,
            &raw mut there,
            count,
            flags,
        )
    })?;
    Ok(usize::try_from(done).unwrap_or(0))
}

/// The next data at or after an offset, or the next hole; ENXIO if there is no more data.
///
/// # References
/// lseek(2), SEEK_DATA and SEEK_HOLE
pub(crate) fn seek(fd: c_int, at: i64, hole: bool) -> Result<i64, Errno> {
    let whence = if hole {
        libc::SEEK_HOLE
    } else {
        libc::SEEK_DATA
    };
    // SAFETY: no memory is passed.
    let found = unsafe { libc::lseek(fd, at, whence) };
    if found == -1 {
        Err(Errno::last())
    } else {
        Ok(found)
    }
}

/// Sets the modification time, and leaves the access time.
///
/// # References
/// utimensat(2)
pub(crate) fn set_modified(fd: c_int, (seconds, nanos): (i64, u32)) -> Result<(), Errno> {
    let times = [
        libc::timespec {
            tv_sec: 0,
            tv_nsec: libc::UTIME_OMIT,
        },
        libc::timespec {
            tv_sec: seconds,
            tv_nsec: libc::c_long::from(nanos),
        },
    ];
    // SAFETY: there are two times, and both outlive the call.
    check(unsafe { libc::futimens(fd, times.as_ptr()) }.into()).map(drop)
}

/// Whether the attribute has this value, and no more.
///
/// # References
/// fgetxattr(2)
pub(crate) fn has_attribute(fd: c_int, name: &CStr, value: u8) -> bool {
    let mut found = [0u8; 2];
    // SAFETY: the name ends in NUL, and the kernel writes no more than the two bytes that are announced.
    let length = unsafe { libc::fgetxattr(fd, name.as_ptr(), found.as_mut_ptr().cast(), 2) };
    length == 1 && found.first() == Some(&value)
}

/// Removes every extended attribute.
///
/// # References
/// flistxattr(2), fremovexattr(2)
pub(crate) fn remove_attributes(fd: c_int) -> Result<(), Errno> {
    // SAFETY: without a buffer only the length is asked.
    let length = check(unsafe { libc::flistxattr(fd, ptr::null_mut(), 0) } as _);
    let length = match length {
        Ok(length) => usize::try_from(length).unwrap_or(0),
        Err(Errno::EOPNOTSUPP) => 0,
        Err(errno) => return Err(errno),
    };
    if length == 0 {
        return Ok(());
    }
    let mut names = vec![0u8; length];
    // SAFETY: the kernel writes no more than the buffer has.
    let length =
        check(unsafe { libc::flistxattr(fd, names.as_mut_ptr().cast(), names.len()) } as _)?;
    names.truncate(usize::try_from(length).unwrap_or(0));
    for name in names.split_inclusive(|&b| b == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            return Err(Errno::EINVAL);
        };
        // SAFETY: the name ends in NUL.
        check(unsafe { libc::fremovexattr(fd, name.as_ptr()) }.into())?;
    }
    Ok(())
}

/// Whether nobody has this file open for writing. It must be the caller's, and open for reading only.
///
/// # References
/// F_SETLEASE(2const)
pub(crate) fn has_no_writer(fd: c_int) -> bool {
    // SAFETY: F_SETLEASE takes a number.
    let taken = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) } == 0;
    if taken {
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
    }
    taken
}

/// # References
/// linkat(2), with AT_SYMLINK_FOLLOW
pub(crate) fn link(from: &CStr, to: c_int, name: &CStr) -> Result<(), Errno> {
    let flags = libc::AT_SYMLINK_FOLLOW;
    // SAFETY: both strings end in NUL and outlive the call.
    check(unsafe { libc::linkat(libc::AT_FDCWD, from.as_ptr(), to, name.as_ptr(), flags) }.into())
        .map(drop)
}

/// # References
/// openat(2)
pub(crate) fn open_at(at: c_int, name: &CStr, flags: c_int, mode: u32) -> Result<c_int, Errno> {
    // SAFETY: the name ends in NUL and outlives the call; the mode is passed as the variadic argument that it takes.
    super::as_fd(unsafe { libc::openat(at, name.as_ptr(), flags | libc::O_CLOEXEC, mode) }.into())
}
