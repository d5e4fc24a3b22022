//! Work on files that belong to ids of a job's user namespace, in a process that has joined it. Ring 1.
//!
//! What a job with many ids leaves behind belongs to ids that its caller has no power over outside. Inside the job's user
//! namespace the caller has every capability, for as long as somebody holds a descriptor of the namespace.

use crate::identity::{self, Unmapped};
use crate::sys::{clone, fd, process};
use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use stdbox::plan::IdMaps;

/// The stack of a process that shares this one's memory, in bytes.
const VISIT_STACK: usize = 1 << 20;

/// A user namespace; it lives as long as this.
#[derive(Debug)]
pub(crate) struct UserNamespace(OwnedFd);

impl UserNamespace {
    /// That of a process which waits for its id maps: later its files belong to nobody here.
    pub(crate) fn of(pid: i32) -> Result<Self, Errno> {
        let path = CString::new(format!("/proc/{pid}/ns/user")).unwrap_or_default();
        let flags = libc::O_RDONLY;
        fd::open(libc::AT_FDCWD, &path, flags, 0).map(|opened| Self(fd::owned(opened)))
    }

    /// A new one with these maps. `stop` ends the waiting for the helpers.
    pub(crate) fn new(maps: &IdMaps, stop: Option<&OwnedFd>) -> Result<Self, Unmapped> {
        let (waits, goes) = fd::pipe().map_err(identity::refused("pipe2"))?;
        let (waits, goes) = (fd::owned(waits), fd::owned(goes));
        let (pid, pidfd) =
            clone::copying(libc::CLONE_NEWUSER).map_err(identity::refused("clone3"))?;
        if pid == 0 {
            // It lives until it is told that its namespace is held, or the other end is gone.
            fd::close(goes.as_raw_fd());
            let _ended = fd::read(waits.as_raw_fd(), &mut [0]);
            process::exit(0);
        }
        let _pidfd = fd::owned(pidfd);
        let made = identity::write(maps, pid, stop);
        drop(goes);
        let _reaped = process::wait(pid);
        made
    }

    /// Runs this in a process that has every capability in the namespace, and returns the bytes that it gives. It is a copy
    /// of this process: what it changes in memory is lost.
    ///
    /// # Errors
    /// What kept the process from starting, or the work's own error; EIO where the process was ended.
    pub(crate) fn run(
        &self,
        work: impl FnOnce() -> Result<Vec<u8>, Errno>,
    ) -> Result<Vec<u8>, Errno> {
        let (reader, writer) = fd::pipe()?;
        let (reader, writer) = (fd::owned(reader), fd::owned(writer));
        let parent = process::own_pid();
        let (pid, pidfd) = clone::copying(0)?;
        if pid == 0 {
            fd::close(reader.as_raw_fd());
            let status = match self.enter(parent).and_then(|()| work()) {
                Ok(bytes) => (0, bytes),
                Err(errno) => (1, (errno as i32).to_ne_bytes().to_vec()),
            };
            let written = fd::write_all(writer.as_raw_fd(), &status.1);
            process::exit(if written.is_ok() { status.0 } else { 2 });
        }
        let _pidfd = fd::owned(pidfd);
        drop(writer);
        let answer = read_all(&reader);
        let status = loop {
            match process::wait(pid) {
                Ok(Some((_, status, _))) => break status,
                Ok(None) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        };
        let answer = answer?;
        match status {
            0 => Ok(answer),
            0x100 => {
                let number = answer.as_slice().try_into().map(i32::from_ne_bytes);
                Err(number.map_or(Errno::EIO, Errno::from_raw))
            }
            _ => Err(Errno::EIO),
        }
    }

    /// Runs this in a process that has every capability in the namespace and shares the memory of this one, which waits. What
    /// it opens is its own.
    ///
    /// # Errors
    /// What kept the process from starting; EIO where it was ended.
    pub(crate) fn visit<T>(&self, mut work: impl FnMut() -> T) -> Result<T, Errno> {
        let parent = process::own_pid();
        let mut stack = vec![0u128; VISIT_STACK / size_of::<u128>()];
        let mut done = Err(Errno::EIO);
        let mut body = || {
            done = self.enter(parent).map(|()| work());
            process::leave()
        };
        let pid = clone::sharing(0, None, clone::Stack::of(&mut stack), &mut body)?;
        while matches!(process::wait(pid), Ok(None) | Err(Errno::EINTR)) {}
        // The change of credentials has closed the files of this process in /proc too.
        process::set_dumpable()?;
        done
    }

    /// Joins the namespace. The change of credentials takes the death signal away, so that comes after it.
    fn enter(&self, parent: i32) -> Result<(), Errno> {
        process::enter_user_namespace(self.0.as_raw_fd())?;
        process::die_with(parent)
    }
}

fn read_all(from: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match fd::read(from.as_raw_fd(), &mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
