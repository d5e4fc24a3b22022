//! Walking a tree that somebody hostile has made, with few descriptors and no recursion. Ring 1.

use super::DIRECTORY;
use crate::sys::{fd, transfer};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmod, fchmodat, fstat, fstatat};
use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use stdbox::results::{Kind, State};

/// The longest path that the kernel takes, and the report names.
pub(super) const LONGEST: usize = 4095;

/// So many directories above the current one stay open; the way further up leads over `..`.
const OPEN: usize = 16;

type Identity = (u64, u64);

/// A directory in a tree, and the way back to the top.
#[derive(Debug)]
pub(super) struct Cursor {
    here: OwnedFd,
    recent: VecDeque<OwnedFd>,
    above: Vec<Identity>,
}

impl Cursor {
    /// At the top.
    pub(super) const fn new(top: OwnedFd) -> Self {
        Self {
            here: top,
            recent: VecDeque::new(),
            above: Vec::new(),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }

    /// Goes into a directory that was opened from this one.
    pub(super) fn enter(&mut self, inner: OwnedFd) -> Result<(), Errno> {
        let found = fstat(&self.here)?;
        self.above.push((found.st_dev, found.st_ino));
        self.recent
            .push_back(std::mem::replace(&mut self.here, inner));
        if self.recent.len() > OPEN {
            self.recent.pop_front();
        }
        Ok(())
    }

    /// Goes back up: to the very directory that was left, or not at all.
    pub(super) fn leave(&mut self) -> Result<(), Errno> {
        let Some(wanted) = self.above.pop() else {
            return Err(Errno::ENOENT);
        };
        if let Some(parent) = self.recent.pop_back() {
            self.here = parent;
            return Ok(());
        }
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let parent = fd::owned(transfer::open_at(self.here.as_raw_fd(), c"..", flags, 0)?);
        let found = fstat(&parent)?;
        if (found.st_dev, found.st_ino) != wanted {
            return Err(Errno::ESTALE);
        }
        self.here = parent;
        Ok(())
    }
}

/// `/proc/self/fd/N`
pub(super) fn link_to(fd: BorrowedFd<'_>) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
}

/// Opens one of the job's directories for reading, whatever bits it has; with what it was before. Nothing that is mounted there is
/// entered: usually the container's mounts have gone with it, but a job that passes its mount namespace on to a process outside
/// keeps them, and they show the host.
pub(super) fn open_directory(
    at: BorrowedFd<'_>,
    name: &CStr,
) -> Result<(OwnedFd, FileStat), Errno> {
    let (opened, found) = match fd::open_unmounted(at.as_raw_fd(), name, DIRECTORY) {
        Ok(opened) => {
            let opened = fd::owned(opened);
            let found = fstat(&opened)?;
            // It must be searched too.
            if found.st_mode & 0o500 != 0o500 && !nix::unistd::geteuid().is_root() {
                fchmod(&opened, Mode::S_IRWXU)?;
            }
            (opened, found)
        }
        Err(Errno::EACCES) => reopen(at, name, DIRECTORY, Mode::S_IRWXU)?,
        Err(errno) => return Err(errno),
    };
    Ok((opened, found))
}

/// Opens what the job closed: the very thing that has the name now gets these bits, and is opened by its descriptor.
pub(super) fn reopen(
    at: BorrowedFd<'_>,
    name: &CStr,
    flags: i32,
    bits: Mode,
) -> Result<(OwnedFd, FileStat), Errno> {
    let place = libc::O_PATH | libc::O_NOFOLLOW;
    let place = fd::owned(fd::open_unmounted(at.as_raw_fd(), name, place)?);
    let found = fstat(&place)?;
    let wanted = if flags & libc::O_DIRECTORY != 0 {
        libc::S_IFDIR
    } else {
        libc::S_IFREG
    };
    if found.st_mode & libc::S_IFMT != wanted {
        return Err(Errno::ELOOP);
    }
    let link = link_to(place.as_fd());
    fchmodat(
        nix::fcntl::AT_FDCWD,
        link.as_c_str(),
        bits,
        FchmodatFlags::FollowSymlink,
    )?;
    let opened = transfer::open_at(libc::AT_FDCWD, &link, flags & !libc::O_NOFOLLOW, 0)?;
    Ok((fd::owned(opened), found))
}

/// Opens a place in a file system of our own, component by component.
pub(super) fn open_place(top: BorrowedFd<'_>, path: &[u8]) -> Result<(OwnedFd, FileStat), Errno> {
    let mut at = open_directory(top, c".")?;
    for part in path.split(|&b| b == b'/').filter(|part| !part.is_empty()) {
        let name = CString::new(part).map_err(|_| Errno::EINVAL)?;
        at = open_directory(at.0.as_fd(), &name)?;
    }
    Ok(at)
}

/// The entries of a directory, in order from the last to the first, so that they can be popped.
pub(super) fn entries(directory: BorrowedFd<'_>) -> Result<Vec<(CString, Option<Type>)>, Errno> {
    let again = transfer::open_at(
        directory.as_raw_fd(),
        c".",
        libc::O_RDONLY | libc::O_DIRECTORY,
        0,
    )?;
    let mut entries = Vec::new();
    for entry in Dir::from_fd(fd::owned(again))?.iter() {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    entries.sort_unstable_by(|a, b| b.0.cmp(&a.0));
    Ok(entries)
}

/// What has a name; nothing is followed.
pub(super) fn look(at: BorrowedFd<'_>, name: &CStr) -> Result<FileStat, Errno> {
    fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

pub(super) const fn kind(found: &FileStat) -> Kind {
    match found.st_mode & libc::S_IFMT {
        libc::S_IFREG => Kind::File,
        libc::S_IFDIR => Kind::Directory,
        libc::S_IFLNK => Kind::Symlink,
        libc::S_IFIFO => Kind::Fifo,
        libc::S_IFSOCK => Kind::Socket,
        _ => Kind::Device,
    }
}

/// Whether this is how an overlay's upper layer says that there is nothing. The overlay lets no job make one.
pub(super) const fn is_whiteout(found: &FileStat) -> bool {
    found.st_mode & libc::S_IFMT == libc::S_IFCHR && found.st_rdev == 0
}

/// What is compared of a file; links are read by the caller.
pub(super) fn state(found: &FileStat) -> State {
    let kind = kind(found);
    let file = kind == Kind::File;
    State {
        kind,
        mode: found.st_mode & 0o7777,
        bytes: if file { size(found) } else { 0 },
        time: file.then(|| {
            (
                found.st_mtime,
                u32::try_from(found.st_mtime_nsec).unwrap_or(0),
            )
        }),
        link: None,
    }
}

pub(super) fn size(found: &FileStat) -> u64 {
    u64::try_from(found.st_size).unwrap_or(0)
}
