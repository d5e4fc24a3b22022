//! One result file, from the scratch space to the results directory. Ring 1.
//!
//! A file gets its name when it is whole: until then it has none, where the file system can do that. So whoever ends stdbox
//! in the middle leaves neither a part of a file nor a temporary name.

use super::output::Writer;
use super::tree::{link_to, size};
use crate::sys::{fd, transfer};
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fchmod};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::cell::Cell;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use stdbox::results::Reason;

const CHUNK: usize = 128 << 10;

/// Why a file is not there.
#[derive(Debug)]
pub(super) enum Failure {
    /// It cannot be read.
    Source,
    /// It cannot be written: what is in the way, or what the kernel says.
    Output(Result<Reason, Errno>),
    /// stdbox was told to stop.
    Stopped,
}

fn output(errno: Errno) -> Failure {
    Failure::Output(Err(errno))
}

/// What works between the two file systems, as far as it was tried.
#[derive(Debug)]
pub(super) struct Copier {
    links: bool,
    shares: bool,
    ranges: bool,
    unnamed: bool,
    buffer: Vec<u8>,
}

impl Copier {
    /// `near` says whether both are the same file system.
    pub(super) fn new(near: bool) -> Self {
        Self {
            links: near,
            shares: true,
            ranges: true,
            unnamed: true,
            buffer: vec![0; CHUNK],
        }
    }

    /// Delivers a file that was opened for reading.
    pub(super) fn deliver(
        &mut self,
        from: File,
        found: &FileStat,
        to: &Writer<'_>,
        name: &CStr,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Failure> {
        let bits = Mode::from_bits_truncate(found.st_mode & 0o777);
        if self.links && is_ours_alone(&from, found) && fchmod(&from, bits).is_ok() {
            let link = link_to(from.as_fd());
            match to.name(name, &|at| transfer::link(&link, at.as_raw_fd(), name)) {
                Ok(()) => return Ok(()),
                // Another mount, or a file system without links.
                Err(Err(Errno::EXDEV | Errno::EPERM | Errno::EOPNOTSUPP)) => self.links = false,
                Err(refusal) => return Err(Failure::Output(refusal)),
            }
        }
        if self.unnamed {
            let flags = libc::O_TMPFILE | libc::O_WRONLY;
            match transfer::open_at(to.fd().as_raw_fd(), c".", flags, 0o600) {
                Ok(file) => {
                    let file = File::from(fd::owned(file));
                    self.fill(&from, &file, found, bits, stop)?;
                    let link = link_to(file.as_fd());
                    return to
                        .name(name, &|at| transfer::link(&link, at.as_raw_fd(), name))
                        .map_err(Failure::Output);
                }
                Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOSYS) => {
                    self.unnamed = false;
                }
                // A directory that was removed says so too; by name it tells better what is wrong.
                Err(Errno::EPERM) => {}
                Err(errno) => return Err(output(errno)),
            }
        }
        let file = Cell::new(None);
        to.name(name, &|at| {
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_NOFOLLOW;
            transfer::open_at(at.as_raw_fd(), name, flags, 0o600)
                .map(|made| file.set(Some(fd::owned(made))))
        })
        .map_err(Failure::Output)?;
        let Some(file) = file.take().map(File::from) else {
            return Err(output(Errno::EIO));
        };
        let filled = self.fill(&from, &file, found, bits, stop);
        if filled.is_err() {
            let _gone = unlinkat(to.fd(), name, UnlinkatFlags::NoRemoveDir);
        }
        filled
    }

    fn fill(
        &mut self,
        from: &File,
        to: &File,
        found: &FileStat,
        bits: Mode,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Failure> {
        self.content(from, to, found, stop)?;
        fchmod(to, bits).map_err(output)?;
        let nanos = u32::try_from(found.st_mtime_nsec).unwrap_or(0);
        transfer::set_modified(to.as_raw_fd(), (found.st_mtime, nanos)).map_err(output)
    }

    /// Never more than the size that was seen at the beginning.
    fn content(
        &mut self,
        from: &File,
        to: &File,
        found: &FileStat,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Failure> {
        let end = size(found);
        if end == 0 {
            return Ok(());
        }
        if self.shares {
            if transfer::share_blocks(to.as_raw_fd(), from.as_raw_fd()).is_ok() {
                return Ok(());
            }
            self.shares = false;
        }
        if found.st_blocks.saturating_mul(512) >= found.st_size {
            return self.segment(from, to, 0, end, stop);
        }
        let mut at = 0;
        while at < found.st_size {
            at = match transfer::seek(from.as_raw_fd(), at, false) {
                Ok(data) => data.min(found.st_size),
                Err(Errno::ENXIO) => break,
                Err(_) => return Err(Failure::Source),
            };
            let hole = transfer::seek(from.as_raw_fd(), at, true).unwrap_or(found.st_size);
            let hole = hole.clamp(at, found.st_size);
            self.segment(from, to, at.unsigned_abs(), hole.unsigned_abs(), stop)?;
            at = hole;
        }
        to.set_len(end).map_err(|error| output(errno_of(&error)))
    }

    fn segment(
        &mut self,
        from: &File,
        to: &File,
        mut at: u64,
        end: u64,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Failure> {
        while at < end {
            let rest = usize::try_from(end - at).unwrap_or(usize::MAX);
            if self.ranges && rest > CHUNK {
                let place = i64::try_from(at).unwrap_or(i64::MAX);
                // In parts, so that stdbox can be stopped.
                match transfer::copy_range(
                    to.as_raw_fd(),
                    from.as_raw_fd(),
                    place,
                    rest.min(64 << 20),
                ) {
                    Ok(0) => return Ok(()),
                    Ok(done) => at += done as u64,
                    Err(errno @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG | Errno::EIO)) => {
                        return Err(output(errno));
                    }
                    Err(_) => self.ranges = false,
                }
            } else {
                let count = rest.min(CHUNK);
                let part = self.buffer.get_mut(..count).unwrap_or_default();
                let count = match from.read_at(part, at) {
                    Ok(0) => return Ok(()),
                    Ok(count) => count,
                    Err(_) => return Err(Failure::Source),
                };
                let part = part.get(..count).unwrap_or_default();
                to.write_all_at(part, at)
                    .map_err(|error| output(errno_of(&error)))?;
                at += count as u64;
            }
            if at < end && stop() {
                return Err(Failure::Stopped);
            }
        }
        Ok(())
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Whether a file can be given away as it is: it has no other name, belongs to the caller, and nobody, not even a process
/// outside that the job passed it to, can still write to it. What the job attached to it is removed.
fn is_ours_alone(file: &File, found: &FileStat) -> bool {
    let (uid, gid) = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    found.st_nlink == 1
        && (found.st_uid, found.st_gid) == (uid, gid)
        && transfer::has_no_writer(file.as_raw_fd())
        && transfer::remove_attributes(file.as_raw_fd()).is_ok()
}
