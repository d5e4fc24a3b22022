//! What may outlive a SIGKILL: directories whose names say whose they are, until the next run removes them. Ring 1.
//!
//! Each is locked by the run that uses it. The lock belongs to the open file description, so it goes with the last process
//! that holds it, however that dies: a directory without a lock is left over.

use crate::sys::fd;
use crate::sys::process::now_ns;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::Uid;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A name that no other run of this user has: prefix, uid, pid and time.
pub(crate) fn fresh_name(prefix: &str) -> CString {
    let (uid, pid) = (nix::unistd::geteuid(), std::process::id());
    CString::new(format!("{prefix}{uid}-{pid}-{}", now_ns())).unwrap_or_default()
}

/// Those of this user's own directories here that nobody uses, open and locked.
pub(crate) fn unused(parent: BorrowedFd<'_>, prefix: &str) -> Vec<(CString, OwnedFd)> {
    let own = nix::unistd::geteuid();
    let open = |name: CString| {
        let left = open_directory(parent, &name).ok()?;
        // Nobody else can have changed anything below a directory that is this user's alone.
        let owned = fstat(&left).is_ok_and(|found| found.st_uid == own.as_raw());
        (owned && fd::lock(left.as_raw_fd()).is_ok()).then_some((name, left))
    };
    let names = names(parent).unwrap_or_default().into_iter();
    names
        .filter(|name| is_ours(prefix, name.to_bytes(), own))
        .filter_map(open)
        .collect()
}

/// Opens a directory itself, not what a link leads to.
pub(crate) fn open_directory(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    fd::open_plain(at.as_raw_fd(), name, flags).map(fd::owned)
}

/// Whether a name is one that [`fresh_name`] gives for this user.
fn is_ours(prefix: &str, name: &[u8], uid: Uid) -> bool {
    let Some(rest) = name.strip_prefix(prefix.as_bytes()) else {
        return false;
    };
    let mut parts = rest.split(|&b| b == b'-');
    let decimal = |part: Option<&[u8]>| {
        part.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
    };
    parts.next() == Some(uid.to_string().as_bytes())
        && decimal(parts.next())
        && decimal(parts.next())
        && parts.next().is_none()
}

/// The names in a directory.
pub(crate) fn names(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::openat(
        directory,
        c".",
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?
    .iter()
    {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}
