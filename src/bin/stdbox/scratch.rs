//! A scratch directory on disk: made for one job, locked while it runs, removed afterwards, or by the next run in the same
//! place. Ring 1.

use crate::leftover::{self, names, open_directory};
use crate::sys::fd;
use crate::sys::process::now_ns;
use crate::userns::UserNamespace;
use crate::{facts, id_facts};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, renameat};
use nix::libc;
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use stdbox::plan::caller_range;
use stdbox::problem::{Code, Problem};
use stdbox::remedy;
use stdbox::text::AbsPath;

const PREFIX: &str = ".stdbox-";

fn open(place: &AbsPath) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    fd::open_plain(libc::AT_FDCWD, place.as_cstr(), flags).map(fd::owned)
}

/// Why nothing can be made in a place.
fn refused(place: &AbsPath, operation: &'static str) -> impl Fn(Errno) -> Problem {
    move |errno| {
        let (code, message) = match errno {
            Errno::ENOENT => (
                Code::NoSuchDirectory,
                "The scratch directory does not exist.",
            ),
            Errno::ENOTDIR => (Code::NotADirectory, "The scratch path is no directory."),
            Errno::ELOOP => (
                Code::IsSymlink,
                "The scratch path is or lies behind a symbolic link.",
            ),
            Errno::ENOSYS => (
                Code::KernelTooOld,
                "The kernel lacks a system call that the scratch directory needs, or a filter hides it.",
            ),
            _ => (
                Code::ScratchRefused,
                "The scratch directory cannot be used.",
            ),
        };
        let problem = Problem::at(code, "/scratch/directory", message)
            .path(place.bytes())
            .errno(operation, errno);
        if errno == Errno::ENOSYS {
            problem.hint(remedy::TOO_OLD.hint)
        } else {
            problem
        }
    }
}

/// The directory of one job. It stays locked until this is dropped.
#[derive(Debug)]
pub(crate) struct DiskScratch {
    parent: OwnedFd,
    name: CString,
    own: OwnedFd,
    path: AbsPath,
}

impl DiskScratch {
    /// Removes what dead runs left in `place`, and makes a fresh directory there.
    pub(crate) fn new(place: &AbsPath) -> Result<Self, Problem> {
        let refuse = |operation| refused(place, operation);
        let parent = open(place).map_err(refuse("openat2"))?;
        // While it is held, no other run can take a directory that is made but not locked yet for a left-over.
        let gate = open(place).map_err(refuse("openat2"))?;
        lock_soon(gate.as_fd()).map_err(refuse("flock"))?;
        sweep(parent.as_fd());
        let name = leftover::fresh_name(PREFIX);
        let path = place.join(name.to_bytes());
        fd::mkdir(parent.as_raw_fd(), &name, 0o700).map_err(refuse("mkdirat"))?;
        let own = open_directory(parent.as_fd(), &name).map_err(refuse("openat2"))?;
        fd::lock(own.as_raw_fd()).map_err(refuse("flock"))?;
        Ok(Self {
            parent,
            name,
            own,
            path,
        })
    }

    /// Where it is on the host.
    pub(crate) fn path(&self) -> &AbsPath {
        &self.path
    }

    /// The directory itself.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.own.as_fd()
    }

    /// Whether its file system holds `user.*` attributes.
    pub(crate) fn takes_xattr(&self) -> bool {
        fd::takes_user_xattr(self.own.as_raw_fd())
    }

    /// Removes it with everything that the job left there; says how many bytes of disk that took. A job with many ids has
    /// left files that only its user namespace gives power over.
    pub(crate) fn remove(self, namespace: Option<&UserNamespace>) -> Result<u64, Errno> {
        match namespace {
            Some(namespace) => remove_inside(namespace, self.parent.as_fd(), &self.name, &self.own),
            None => remove_tree(self.parent.as_fd(), &self.name, &self.own),
        }
    }
}

/// A directory that might be made in `place`, and whether its file system holds `user.*` attributes, which a file without a name
/// tells that goes away at once.
pub(crate) fn imagined(place: &AbsPath) -> Result<(AbsPath, bool), Problem> {
    let parent = open(place).map_err(refused(place, "openat2"))?;
    let flags = libc::O_TMPFILE | libc::O_RDWR;
    let file = fd::open(parent.as_raw_fd(), c".", flags, 0o600).map(fd::owned);
    let takes_xattr = file.is_ok_and(|file| fd::takes_user_xattr(file.as_raw_fd()));
    let name = leftover::fresh_name(PREFIX);
    Ok((place.join(name.to_bytes()), takes_xattr))
}

/// Takes the lock as soon as it is free. Whoever can open the directory can hold it, so nobody waits for ever.
fn lock_soon(gate: BorrowedFd<'_>) -> Result<(), Errno> {
    const STEP: Duration = Duration::from_millis(5);
    for _ in 0..2000 {
        match fd::lock(gate.as_raw_fd()) {
            Err(Errno::EAGAIN) => std::thread::sleep(STEP),
            locked => return locked,
        }
    }
    Err(Errno::EAGAIN)
}

/// Removes what is left of this user's own dead runs; what cannot be removed now comes again next time.
fn sweep(parent: BorrowedFd<'_>) {
    let mut ids = None;
    for (name, left) in leftover::unused(parent, PREFIX) {
        let removed = remove_tree(parent, &name, &left);
        if let Err(Errno::EACCES | Errno::EPERM) = removed
            && let Some(namespace) = ids.get_or_insert_with(own_ids)
        {
            let _next_time = remove_inside(namespace, parent, &name, &left);
        }
    }
}

/// A user namespace with all ids that this user has now, which a job of its may have used.
fn own_ids() -> Option<UserNamespace> {
    let caller = facts::caller();
    let maps = caller_range(&caller, &id_facts::gather(&caller)).ok()?;
    UserNamespace::new(&maps, None).ok()
}

fn remove_inside(
    namespace: &UserNamespace,
    parent: BorrowedFd<'_>,
    name: &CStr,
    top: &OwnedFd,
) -> Result<u64, Errno> {
    let bytes = namespace
        .run(|| remove_tree(parent, name, top).map(|bytes| bytes.to_ne_bytes().to_vec()))?;
    bytes
        .try_into()
        .map(u64::from_ne_bytes)
        .map_err(|_| Errno::EIO)
}

/// Removes a directory and says how many bytes it took. The job may have made it as deep as it liked, and without any
/// permission: so nothing recurses, and every directory is opened up first. What lies deeper than one level is moved up to
/// the top before it is emptied.
fn remove_tree(parent: BorrowedFd<'_>, name: &CStr, top: &OwnedFd) -> Result<u64, Errno> {
    let (mut moved, mut bytes) = (0u64, 0u64);
    // An attempt before this one may have moved something up and got no further.
    let attempt = now_ns();
    loop {
        let found = names(top.as_fd())?;
        if found.is_empty() {
            break;
        }
        for name in found {
            if unlink(top.as_fd(), &name, &mut bytes)? {
                continue;
            }
            let inner = open_directory(top.as_fd(), &name)?;
            for name in names(inner.as_fd())? {
                if !unlink(inner.as_fd(), &name, &mut bytes)? {
                    moved += 1;
                    // No job can have chosen this name at the top: only stdbox's own directories are there.
                    let up = CString::new(format!("{PREFIX}{attempt}-{moved}")).unwrap_or_default();
                    renameat(&inner, name.as_c_str(), top, up.as_c_str())?;
                }
            }
            unlinkat(top, name.as_c_str(), UnlinkatFlags::RemoveDir)?;
        }
    }
    unlinkat(parent, name, UnlinkatFlags::RemoveDir)?;
    Ok(bytes)
}

/// Removes a file or an empty directory, and counts its bytes; a directory that is not empty is opened up, and the answer is
/// false.
fn unlink(at: BorrowedFd<'_>, name: &CStr, bytes: &mut u64) -> Result<bool, Errno> {
    let found = fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let size = u64::try_from(found.st_blocks).unwrap_or(0) * 512;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR {
        unlinkat(at, name, UnlinkatFlags::NoRemoveDir)?;
        *bytes += size;
        return Ok(true);
    }
    match unlinkat(at, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => {
            *bytes += size;
            Ok(true)
        }
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => {
            // Another job, to which this place was opened, may put a link there at this moment.
            fchmodat(at, name, Mode::S_IRWXU, FchmodatFlags::NoFollowSymlink)?;
            Ok(false)
        }
        Err(errno) => Err(errno),
    }
}
