//! The results directory: made before the job is started, written when it is dead. Ring 1.
//!
//! The job may have seen it and have planted links there, so no link below it is followed, and none in its own path either.

use super::tree::{Cursor, LONGEST, look};
use crate::sys::{fd, transfer};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use stdbox::problem::{Code, Problem};
use stdbox::results::Reason;
use stdbox::text::AbsPath;

const PLACE: i32 = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;

/// The results directory.
#[derive(Debug)]
pub(crate) struct Output {
    top: OwnedFd,
    path: AbsPath,
    /// What had to be made: parent and name.
    made: Vec<(OwnedFd, CString)>,
}

impl Output {
    /// Opens it; makes it, with its parents, where it does not exist.
    pub(crate) fn open(path: &AbsPath) -> Result<Self, Problem> {
        let mut output = Self {
            top: fd::owned(
                transfer::open_at(libc::AT_FDCWD, c"/", libc::O_PATH | libc::O_DIRECTORY, 0)
                    .map_err(|errno| refused(path, "openat", errno))?,
            ),
            path: path.clone(),
            made: Vec::new(),
        };
        match output.descend() {
            Ok(()) => Ok(output),
            Err(problem) => {
                output.undo();
                Err(problem)
            }
        }
    }

    fn descend(&mut self) -> Result<(), Problem> {
        let path = self.path.clone();
        let mut shown = AbsPath::root();
        for part in path
            .bytes()
            .split(|&b| b == b'/')
            .filter(|part| !part.is_empty())
        {
            shown = shown.join(part);
            let name = CString::new(part).unwrap_or_default();
            let next = match transfer::open_at(self.top.as_raw_fd(), &name, PLACE, 0) {
                Err(Errno::ENOENT) => {
                    fd::mkdir(self.top.as_raw_fd(), &name, 0o777)
                        .map_err(|errno| refused(&shown, "mkdirat", errno))?;
                    let made = transfer::open_at(self.top.as_raw_fd(), &name, PLACE, 0)
                        .map_err(|errno| refused(&shown, "openat", errno))?;
                    let parent = std::mem::replace(&mut self.top, fd::owned(made));
                    self.made.push((parent, name));
                    continue;
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) => return Err(self.no_directory(&shown, &name)),
                other => other.map_err(|errno| refused(&shown, "openat", errno))?,
            };
            self.top = fd::owned(next);
        }
        let needed = AccessFlags::W_OK | AccessFlags::X_OK;
        faccessat(&self.top, c".", needed, AtFlags::AT_EACCESS)
            .map_err(|errno| refused(&path, "faccessat", errno))
    }

    fn no_directory(&self, shown: &AbsPath, name: &CStr) -> Problem {
        use std::os::unix::ffi::OsStrExt;
        let at = "/results/directory";
        let problem = match nix::fcntl::readlinkat(&self.top, name) {
            Ok(to) => {
                let to = String::from_utf8_lossy(to.as_bytes()).into_owned();
                let message = format!("{} is a symbolic link to {to}.", shown.lossy());
                let hint = "Name the directory without links: a job that could write there may have planted one.";
                Problem::at(Code::IsSymlink, at, message).hint(hint)
            }
            Err(_) => {
                let message = format!("{} is not a directory.", shown.lossy());
                Problem::at(Code::NotADirectory, at, message)
            }
        };
        problem.path(shown.bytes())
    }

    /// Removes what was made, as far as it is still empty: nothing was run.
    pub(crate) fn undo(self) {
        for (parent, name) in self.made.iter().rev() {
            let _filled = unlinkat(parent, name.as_c_str(), UnlinkatFlags::RemoveDir);
        }
    }

    /// How long a path below it may be, so that the whole can still be named.
    pub(super) fn longest(&self) -> usize {
        LONGEST.saturating_sub(self.path.bytes().len() + 1)
    }

    /// Begins to write.
    pub(super) fn writer(&self) -> Result<Writer<'_>, Errno> {
        Ok(Writer {
            top: &self.top,
            cursor: Cursor::new(fd::owned(fd::duplicate(self.top.as_raw_fd(), 3)?)),
            names: Vec::new(),
        })
    }
}

fn refused(path: &AbsPath, call: &'static str, errno: Errno) -> Problem {
    let shown = path.lossy();
    let (code, message) = match errno {
        Errno::EACCES | Errno::EPERM if call != "openat" => (
            Code::ResultsRefused,
            format!("{shown} cannot be made or written."),
        ),
        Errno::EACCES => (
            Code::DirectoryUnreachable,
            format!("{shown} cannot be reached."),
        ),
        _ => (
            Code::ResultsRefused,
            format!("{shown} cannot be used for results."),
        ),
    };
    Problem::at(code, "/results/directory", message)
        .path(path.bytes())
        .errno(call, errno)
        .hint("Name a directory that the caller can write, or one that it can make.")
}

/// Why a directory is not there: how many components of the path are blocked by what, or the error that ends all.
#[derive(Debug)]
pub(super) enum Blocked {
    Part(usize, Reason),
    Failed(Errno),
}

/// Whether nothing more can be written anywhere.
pub(super) const fn is_final(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EIO | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM
            // The directory itself is gone.
            | Errno::ENOENT | Errno::ESTALE
    )
}

/// Stands in one directory of the output after the other.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    top: &'a OwnedFd,
    cursor: Cursor,
    names: Vec<Vec<u8>>,
}

impl Writer<'_> {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.cursor.fd()
    }

    /// Goes to a directory below the top, and makes it where it is missing.
    pub(super) fn go_to(&mut self, path: &[u8]) -> Result<(), Blocked> {
        let parts = || path.split(|&b| b == b'/').filter(|part| !part.is_empty());
        let common = parts().zip(&self.names).take_while(|(a, b)| a == b).count();
        while self.names.len() > common {
            self.names.pop();
            if self.cursor.leave().is_err() {
                // Somebody moves directories about: from the top again.
                let top = fd::duplicate(self.top.as_raw_fd(), 3).map_err(Blocked::Failed)?;
                self.cursor = Cursor::new(fd::owned(top));
                self.names.clear();
            }
        }
        for (depth, part) in parts().enumerate().skip(self.names.len()) {
            let name = CString::new(part).map_err(|_| Blocked::Failed(Errno::EINVAL))?;
            let inner = self.inner(&name).map_err(|refusal| match refusal {
                Ok(reason) => Blocked::Part(depth + 1, reason),
                Err(errno) if is_final(errno) => Blocked::Failed(errno),
                Err(_) => Blocked::Part(depth + 1, Reason::Refused),
            })?;
            self.cursor.enter(inner).map_err(Blocked::Failed)?;
            self.names.push(part.to_vec());
        }
        Ok(())
    }

    fn inner(&self, name: &CStr) -> Result<OwnedFd, Result<Reason, Errno>> {
        let at = self.cursor.fd().as_raw_fd();
        let open = || transfer::open_at(at, name, PLACE, 0).map(fd::owned);
        match open() {
            Ok(found) => return Ok(found),
            Err(Errno::ENOENT) => {}
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let found = look(self.fd(), name).map_err(Err)?;
                if found.st_mode & libc::S_IFMT != libc::S_IFLNK {
                    return Err(Ok(Reason::FileInTheWay));
                }
                unlinkat(self.fd(), name, UnlinkatFlags::NoRemoveDir).map_err(Err)?;
            }
            Err(errno) => return Err(Err(errno)),
        }
        fd::mkdir(at, name, 0o777).map_err(Err)?;
        open().map_err(Err)
    }

    /// Gives a file its name, by a call that fails where the name is taken. What has it makes way, unless it is a directory.
    pub(super) fn name(
        &self,
        name: &CStr,
        give: &dyn Fn(BorrowedFd<'_>) -> Result<(), Errno>,
    ) -> Result<(), Result<Reason, Errno>> {
        match give(self.fd()) {
            Err(Errno::EEXIST) => {}
            other => return other.map_err(Err),
        }
        let found = look(self.fd(), name).map_err(Err)?;
        if found.st_mode & libc::S_IFMT == libc::S_IFDIR {
            return Err(Ok(Reason::DirectoryInTheWay));
        }
        unlinkat(self.fd(), name, UnlinkatFlags::NoRemoveDir).map_err(Err)?;
        give(self.fd()).map_err(Err)
    }
}
