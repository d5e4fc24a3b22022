//! Keeps a caller's protection from the out-of-memory killer from its jobs. Ring 1.
//!
//! A daemon that must live has a negative `oom_score_adj`, and what it starts inherits that: the kernel would rather kill
//! others for a job's memory, and with -1000 a control group's limit could not end it.

use crate::sys::fd;
use nix::libc;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;

const PATH: &CStr = c"/proc/self/oom_score_adj";

/// The protection of this process, lifted until this is dropped.
#[derive(Debug)]
pub(crate) struct Lifted {
    file: Option<File>,
    former: i32,
}

/// Lifts it, if there is any. It is looked at for each job: whoever started a batch may protect its processes at any time. What a capable process writes is also the least that it, and who inherits from it, may have
/// without the capability: proc_pid_oom_score_adj(5), `oom_score_adj_min` in fs/proc/base.c.
pub(crate) fn lift() -> Lifted {
    let former = read(PATH).filter(|former| *former < 0);
    let file = former
        .and_then(|_| fd::open(libc::AT_FDCWD, PATH, libc::O_WRONLY, 0).ok())
        .map(|opened| File::from(fd::owned(opened)));
    let lifted = Lifted {
        file,
        former: former.unwrap_or(0),
    };
    lifted.write(0);
    lifted
}

fn read(path: &CStr) -> Option<i32> {
    // A sign, four digits and the end of the line.
    let mut text = [0; 16];
    let opened = fd::open(libc::AT_FDCWD, path, libc::O_RDONLY, 0).ok()?;
    let length = fd::read(opened, &mut text);
    fd::close(opened);
    let text = std::str::from_utf8(text.get(..length.ok()?)?).ok()?;
    text.trim().parse().ok()
}

impl Lifted {
    /// Whether there was any, so that the container must see whether it can have it back.
    pub(crate) fn was_protected(&self) -> bool {
        self.former < 0
    }

    fn write(&self, value: i32) {
        if let Some(file) = &self.file {
            // The container finds out whether it did what it is for.
            let _refused = fd::write_all(file.as_raw_fd(), value.to_string().as_bytes());
        }
    }
}

impl Drop for Lifted {
    fn drop(&mut self) {
        self.write(self.former);
    }
}
