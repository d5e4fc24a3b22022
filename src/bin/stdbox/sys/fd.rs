//! Descriptors and files.

use super::{as_fd, check};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_uint};
use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicU8, Ordering};

/// `struct open_how` of openat2(2).
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

const SYS_OPENAT2: libc::c_long = 437;
const SYS_CLOSE_RANGE: libc::c_long = 436;
const RESOLVE_NO_XDEV: u64 = 0x01;
const RESOLVE_NO_SYMLINKS: u64 = 0x04;

fn open_how(at: c_int, path: &CStr, flags: c_int, mode: u32, resolve: u64) -> Result<c_int, Errno> {
    let flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
    let how = OpenHow {
        flags,
        mode: mode.into(),
        resolve,
    };
    // SAFETY: `path` ends in NUL, `how` has the size that is passed, and both outlive the call, which writes to neither.
    as_fd(unsafe {
        libc::syscall(
            SYS_OPENAT2,
            at,
            path.as_ptr(),
            &raw const how,
            size_of::<OpenHow>(),
        )
    })
}

/// Opens a path that has no symbolic link in it, close-on-exec.
///
/// # References
/// openat2(2)
pub(crate) fn open_plain(at: c_int, path: &CStr, flags: c_int) -> Result<c_int, Errno> {
    open_how(at, path, flags, 0, RESOLVE_NO_SYMLINKS)
}

/// Opens a name in a directory, close-on-exec: EXDEV, if something is mounted on it.
///
/// # References
/// openat2(2), RESOLVE_NO_XDEV
pub(crate) fn open_unmounted(at: c_int, name: &CStr, flags: c_int) -> Result<c_int, Errno> {
    open_how(at, name, flags, 0, RESOLVE_NO_XDEV)
}

/// Opens a path, close-on-exec.
///
/// # References
/// openat2(2)
pub(crate) fn open(at: c_int, path: &CStr, flags: c_int, mode: u32) -> Result<c_int, Errno> {
    // Unlike open(2), openat2 refuses a mode that it has no use for.
    let makes = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
    open_how(at, path, flags, if makes { mode } else { 0 }, 0)
}

/// # References
/// close(2)
pub(crate) fn close(fd: c_int) {
    // SAFETY: closing a descriptor touches no memory; the callers own what they close.
    let _ = unsafe { libc::close(fd) };
}

/// Closes a range of descriptors.
///
/// # References
/// close_range(2)
pub(crate) fn close_range(first: c_uint, last: c_uint) -> Result<(), Errno> {
    if first > last {
        return Ok(());
    }
    let flags: c_uint = 0;
    // SAFETY: no memory is passed; the child owns every descriptor of its own table.
    check(unsafe { libc::syscall(SYS_CLOSE_RANGE, first, last, flags) }).map(drop)
}

/// # References
/// read(2)
pub(crate) fn read(fd: c_int, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`.
    let result = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(result).map_err(|_| Errno::last())
}

/// How many bytes a pipe holds.
///
/// # References
/// pipe(7), FIONREAD
pub(crate) fn waiting(fd: c_int) -> Result<usize, Errno> {
    let mut count: c_int = 0;
    // SAFETY: `count` has room for the number that is written.
    check(unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut count) }.into())?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// # References
/// write(2)
pub(crate) fn write(fd: c_int, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads at most `bytes.len()` bytes of `bytes`.
    let result = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(result).map_err(|_| Errno::last())
}

/// Writes all of it, unless an error comes first.
pub(crate) fn write_all(fd: c_int, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => bytes = bytes.get(written..).unwrap_or(b""),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Copies from one file to another inside the kernel; 0 is the end.
///
/// # References
/// sendfile(2)
pub(crate) fn send_file(to: c_int, from: c_int, most: usize) -> Result<usize, Errno> {
    // SAFETY: the offset is null, so no memory is passed.
    let result = unsafe { libc::sendfile(to, from, std::ptr::null_mut(), most) };
    usize::try_from(result).map_err(|_| Errno::last())
}

/// # References
/// dup3(2); unlike it, a descriptor onto itself only loses its close-on-exec flag.
pub(crate) fn dup_onto(from: c_int, to: c_int) -> Result<(), Errno> {
    if from == to {
        // SAFETY: F_SETFD takes a number.
        return check(unsafe { libc::fcntl(from, libc::F_SETFD, 0) }.into()).map(drop);
    }
    // SAFETY: no memory is passed; the callers own the descriptor that is replaced.
    check(unsafe { libc::syscall(libc::SYS_dup3, from, to, 0) }).map(drop)
}

/// # References
/// mkdirat(2)
pub(crate) fn mkdir(at: c_int, path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: `path` ends in NUL and outlives the call.
    check(unsafe { libc::mkdirat(at, path.as_ptr(), mode) }.into()).map(drop)
}

/// # References
/// mknodat(2)
pub(crate) fn mknod(at: c_int, path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: `path` ends in NUL and outlives the call.
    check(unsafe { libc::mknodat(at, path.as_ptr(), mode, 0) }.into()).map(drop)
}

/// # References
/// symlinkat(2)
pub(crate) fn symlink(to: &CStr, at: c_int, path: &CStr) -> Result<(), Errno> {
    // SAFETY: both strings end in NUL and outlive the call.
    check(unsafe { libc::symlinkat(to.as_ptr(), at, path.as_ptr()) }.into()).map(drop)
}

/// Mount flags (`ST_RDONLY` and so on) and used bytes of the file system that a descriptor lies on.
///
/// # References
/// fstatfs(2)
pub(crate) fn statfs(fd: c_int) -> Result<(u64, u64), Errno> {
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `answer` has room for the structure that the kernel writes.
    check(unsafe { libc::fstatfs(fd, answer.as_mut_ptr()) }.into())?;
    // SAFETY: all-zero bytes are a valid `statfs`, and the kernel has filled it in.
    let answer = unsafe { answer.assume_init() };
    let used = answer.f_blocks.saturating_sub(answer.f_bfree);
    Ok((answer.f_flags, used.saturating_mul(answer.f_bsize)))
}

/// Whether an extended attribute of the `user` class can be set.
///
/// # References
/// fsetxattr(2)
pub(crate) fn takes_user_xattr(fd: c_int) -> bool {
    // SAFETY: the name ends in NUL, the value is one byte long, and both are constants.
    let result =
        unsafe { libc::fsetxattr(fd, c"user.stdbox".as_ptr(), c"y".as_ptr().cast(), 1, 0) };
    result == 0
}

/// Whether a file gives capabilities to who executes it.
///
/// # References
/// getxattr(2), capabilities(7), "File capabilities"
pub(crate) fn has_file_capabilities(path: &CStr) -> bool {
    // SAFETY: both strings end in NUL and outlive the call, which is asked for the length only.
    let result = unsafe {
        libc::getxattr(
            path.as_ptr(),
            c"security.capability".as_ptr(),
            std::ptr::null_mut(),
            0,
        )
    };
    result > 0
}

/// An anonymous memory file; it lies on the same kind of file system as a tmpfs.
///
/// # References
/// memfd_create(2)
pub(crate) fn memfd() -> Result<c_int, Errno> {
    // SAFETY: the name ends in NUL.
    as_fd(unsafe { libc::memfd_create(c"stdbox".as_ptr(), libc::MFD_CLOEXEC) }.into())
}

/// Identity of the mount that a path lies on.
///
/// # References
/// statx(2), STATX_MNT_ID (Linux 5.8)
pub(crate) fn mount_id(path: &CStr) -> Option<u64> {
    const STATX_MNT_ID: c_uint = 0x1000;
    let answer = statx(libc::AT_FDCWD, path, 0, STATX_MNT_ID)?;
    (answer.stx_mask & STATX_MNT_ID != 0).then_some(answer.stx_mnt_id)
}

/// Type and permission bits of what a descriptor stands for.
///
/// # References
/// statx(2)
pub(crate) fn mode(fd: c_int) -> Option<u32> {
    let found = statx(
        fd,
        c"",
        libc::AT_EMPTY_PATH,
        libc::STATX_TYPE | libc::STATX_MODE,
    )?;
    Some(found.stx_mode.into())
}

/// The same of what is at a path, behind links.
pub(crate) fn mode_of(path: &CStr) -> Option<u32> {
    let found = statx(libc::AT_FDCWD, path, 0, libc::STATX_TYPE | libc::STATX_MODE)?;
    Some(found.stx_mode.into())
}

/// Type and permission bits of what is at a path, which is not followed if it is a link, and whether it is the root of a
/// mount.
///
/// # References
/// statx(2), STATX_ATTR_MOUNT_ROOT (Linux 5.8)
pub(crate) fn status_of(at: c_int, path: &CStr) -> Result<(u32, bool), Errno> {
    const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    let found = statx(at, path, flags, libc::STATX_TYPE | libc::STATX_MODE);
    let found = found.ok_or_else(Errno::last)?;
    let mount = found.stx_attributes & STATX_ATTR_MOUNT_ROOT != 0;
    Ok((found.stx_mode.into(), mount))
}

/// The path without links.
///
/// # References
/// realpath(3)
pub(crate) fn real_path(path: &CStr) -> Result<Vec<u8>, Errno> {
    let mut room = std::mem::MaybeUninit::<[c_char; libc::PATH_MAX as usize]>::uninit();
    // SAFETY: `path` ends in NUL, and there is room for the longest path, so that nothing is allocated.
    let found = unsafe { libc::realpath(path.as_ptr(), room.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(Errno::last());
    }
    // SAFETY: it is `room`, which is alive, and holds a string that ends in NUL.
    Ok(unsafe { CStr::from_ptr(found) }.to_bytes().to_vec())
}

/// Which file it is, through whatever mounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity(u32, u32, u64);

impl Identity {
    /// Of what a descriptor stands for.
    pub(crate) fn of(fd: c_int) -> Option<Self> {
        Self::at(fd, c"", libc::AT_EMPTY_PATH)
    }

    /// Of what is at a path, behind links.
    pub(crate) fn of_path(path: &CStr) -> Option<Self> {
        Self::at(libc::AT_FDCWD, path, 0)
    }

    fn at(at: c_int, path: &CStr, flags: c_int) -> Option<Self> {
        let found = statx(at, path, flags, libc::STATX_INO)?;
        Some(Self(
            found.stx_dev_major,
            found.stx_dev_minor,
            found.stx_ino,
        ))
    }
}

/// Whether two descriptors stand for one file.
pub(crate) fn same_file(one: c_int, other: c_int) -> bool {
    Identity::of(one).is_some_and(|found| Identity::of(other) == Some(found))
}

fn statx(at: c_int, path: &CStr, flags: c_int, mask: c_uint) -> Option<libc::statx> {
    let mut answer = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `path` ends in NUL, and `answer` has room for the structure that the kernel writes.
    let result = unsafe { libc::statx(at, path.as_ptr(), flags, mask, answer.as_mut_ptr()) };
    // SAFETY: all-zero bytes are a valid `statx`, whatever the kernel has filled in.
    let answer = unsafe { answer.assume_init() };
    (result == 0).then_some(answer)
}

/// Takes over a descriptor that one of these functions has just opened.
pub(crate) fn owned(fd: c_int) -> std::os::fd::OwnedFd {
    // SAFETY: the descriptor is open, and only the caller knows its number.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }
}

/// A copy of a descriptor with a number of at least `least`, close-on-exec.
///
/// # References
/// F_DUPFD_CLOEXEC(2const)
pub(crate) fn duplicate(fd: c_int, least: c_int) -> Result<c_int, Errno> {
    // Not by the C library, which sets the flag once more.
    // SAFETY: F_DUPFD_CLOEXEC takes a number.
    as_fd(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, least) })
}

/// The standard streams that were closed when this process began.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Sees which standard streams the caller has closed, and opens /dev/null in their place, so that nothing else gets their
/// numbers.
pub(super) fn fill_streams() {
    for (bit, fd) in [(1, 0), (2, 1), (4, 2)] {
        // SAFETY: F_GETFD takes nothing.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            CLOSED.fetch_or(bit, Ordering::Relaxed);
            // SAFETY: the path ends in NUL. The number that is free and lowest is this one.
            if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } != fd {
                super::process::exit(1);
            }
        }
    }
}

fn was_closed(fd: c_int) -> bool {
    u32::try_from(fd).is_ok_and(|fd| fd < 3 && CLOSED.load(Ordering::Relaxed) & 1 << fd != 0)
}

/// A copy of a descriptor of the caller's, which stays open under its own number too.
pub(crate) fn borrow(fd: c_int) -> Result<c_int, Errno> {
    if was_closed(fd) {
        return Err(Errno::EBADF);
    }
    duplicate(fd, 3)
}

/// File status flags of a descriptor that the caller of stdbox passed on: one that is open and not close-on-exec, as all
/// of our own are.
///
/// # References
/// F_GETFD(2const), F_GETFL(2const)
pub(crate) fn inherited_flags(fd: c_int) -> Result<c_int, Errno> {
    if was_closed(fd) {
        return Err(Errno::EBADF);
    }
    // SAFETY: F_GETFD takes nothing.
    let own = check(unsafe { libc::fcntl(fd, libc::F_GETFD) }.into())?;
    if own & libc::c_long::from(libc::FD_CLOEXEC) != 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: F_GETFL takes nothing.
    as_fd(unsafe { libc::fcntl(fd, libc::F_GETFL) }.into())
}

/// # References
/// F_SETFL(2const)
pub(crate) fn set_flags(fd: c_int, flags: c_int) -> Result<(), Errno> {
    // SAFETY: F_SETFL takes a number.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) }.into()).map(drop)
}

/// A pipe: its end for reading and its end for writing, close-on-exec.
///
/// # References
/// pipe2(2)
pub(crate) fn pipe() -> Result<(c_int, c_int), Errno> {
    let mut ends = [-1; 2];
    // SAFETY: there is room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    let [reader, writer] = ends;
    Ok((reader, writer))
}

pub(super) fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: libc::c_long::try_from(ns % 1_000_000_000).unwrap_or(0),
    }
}

/// Waits until one of the descriptors can be used, or the time is over; negative descriptors are passed over.
///
/// # References
/// ppoll(2)
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout_ns: Option<u64>) -> Result<(), Errno> {
    let time = timeout_ns.map(timespec);
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let count = libc::nfds_t::try_from(fds.len()).unwrap_or(0);
    // SAFETY: the array has as many elements as are announced; `time` is null or a `timespec`; no mask is given.
    check(unsafe { libc::ppoll(fds.as_mut_ptr(), count, time, std::ptr::null()) }.into()).map(drop)
}

/// Locks an open file or directory for this open file description alone, if nobody else has it.
///
/// # References
/// flock(2)
pub(crate) fn lock(fd: c_int) -> Result<(), Errno> {
    let flags = libc::LOCK_EX | libc::LOCK_NB;
    // SAFETY: no memory is passed.
    check(unsafe { libc::flock(fd, flags) }.into()).map(drop)
}

/// File status flags.
///
/// # References
/// F_GETFL(2const)
pub(crate) fn flags(fd: c_int) -> Result<c_int, Errno> {
    // SAFETY: F_GETFL takes nothing.
    as_fd(unsafe { libc::fcntl(fd, libc::F_GETFL) }.into())
}
