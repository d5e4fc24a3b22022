//! Output that goes into the report, read while the target runs. Ring 1.

use crate::sys::fd;
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsRawFd, OwnedFd};
use stdbox::outcome::Captured;

/// How much is read at once.
pub(crate) const CHUNK: usize = 64 << 10;

/// A stream that is captured.
#[derive(Debug)]
pub(crate) struct Capture {
    from: Option<OwnedFd>,
    most: usize,
    captured: Captured,
}

impl Capture {
    /// What comes out of a pipe, and how much of it is kept.
    pub(crate) fn new((from, most): (OwnedFd, u64)) -> Self {
        // Only this end waits never: after the job it is read until it is empty.
        let _blocking = fd::set_flags(from.as_raw_fd(), libc::O_NONBLOCK);
        Self {
            from: Some(from),
            most: usize::try_from(most).unwrap_or(usize::MAX),
            captured: Captured::default(),
        }
    }

    /// What to wait for, until all has been read.
    pub(crate) fn fd(&self) -> Option<&OwnedFd> {
        self.from.as_ref()
    }

    /// How much was read.
    pub(crate) fn bytes(&self) -> u64 {
        self.captured.bytes
    }

    /// Reads a part of what is there; says whether there may be more. What does not fit is read and dropped, so that the
    /// target never waits.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> bool {
        let Some(from) = &self.from else { return false };
        match fd::read(from.as_raw_fd(), buffer) {
            Ok(count) if count > 0 => {
                self.captured.bytes += count as u64;
                let room = self.most - self.captured.kept.len();
                let fits = buffer.get(..count.min(room)).unwrap_or(b"");
                self.captured.kept.extend_from_slice(fits);
                true
            }
            Err(Errno::EINTR) => true,
            Err(Errno::EAGAIN) => false,
            Ok(_) | Err(_) => {
                self.from = None;
                false
            }
        }
    }

    /// Reads what the container left, and no more: a process outside, to which the target passed the pipe on, may go on
    /// writing for ever.
    pub(crate) fn drain(&mut self, buffer: &mut [u8]) {
        let Some(from) = &self.from else { return };
        let left = fd::waiting(from.as_raw_fd()).unwrap_or(usize::MAX) as u64;
        let end = self.captured.bytes.saturating_add(left);
        while self.captured.bytes < end && self.read(buffer) {}
    }

    /// All that was read.
    pub(crate) fn captured(self) -> Captured {
        self.captured
    }
}
