//! Looks at what the job wrote, when all its processes are dead: takes result files out, and lists changes. Ring 1.
//!
//! The job may have laid traps, so every name is one component below an open directory, and no link is ever followed, on
//! either side. Nothing recurses: a tree may be deeper than any stack. The scratch space is thrown away afterwards, so a
//! directory or file that the job closed is simply opened up.

mod changes;
mod copy;
mod output;
mod results;
mod tree;

use crate::sys::fd;
use nix::libc;
use nix::sys::stat::fstat;
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use stdbox::job::Job;
use stdbox::plan::{Slot, Written};
use stdbox::problem::Notice;
use stdbox::results::{Change, Results};

pub(crate) use output::Output;

/// What the parent opened before the job began.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    /// The disk scratch. Unlike the container's own descriptor of it, it lies on a mount that is still there, from which
    /// files can be linked elsewhere.
    pub(crate) disk: Option<BorrowedFd<'a>>,
    /// The results directory.
    pub(crate) output: Option<Output>,
}

/// The file systems that hold the job's writes.
pub(crate) type Sources = BTreeMap<Slot, OwnedFd>;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) results: Option<Results>,
    pub(crate) changes: Option<Vec<Change>>,
    pub(crate) degraded: Vec<Notice>,
}

/// Pairs the slots with the descriptors that the container sent.
pub(crate) fn sources(written: &Written, sent: Vec<i32>, disk: Option<BorrowedFd<'_>>) -> Sources {
    let mut sources = Sources::new();
    for (slot, sent) in written.slots.iter().zip(sent) {
        if sent < 0 {
            continue;
        }
        let sent = fd::owned(sent);
        let own = disk.filter(|disk| {
            let ids = (fstat(disk), fstat(&sent));
            matches!(ids, (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
        });
        let own = own.and_then(|disk| fd::duplicate(disk.as_raw_fd(), 3).ok());
        sources.insert(*slot, own.map_or(sent, fd::owned));
    }
    sources
}

/// Lists changes and takes result files out, in this order: the second opens up what the job closed. `stop` says whether to
/// give up.
pub(crate) fn collect(
    job: &Job,
    written: &Written,
    sources: &Sources,
    output: Option<&Output>,
    stop: &dyn Fn() -> bool,
) -> Left {
    let mut left = Left::default();
    if job.changes {
        let (changes, degraded) = changes::find(written, sources, stop);
        left.changes = Some(changes);
        left.degraded.extend(degraded);
    }
    if let (Some(wanted), Some(output)) = (&job.results, output) {
        let (results, degraded) = results::take(wanted, written, sources, output, stop);
        left.results = Some(results);
        left.degraded.extend(degraded);
    }
    left
}

/// What is reported where nothing could be looked at.
pub(crate) fn lost(job: &Job, why: &str) -> Left {
    let message = format!("What the job wrote is lost: {why}.");
    Left {
        results: job.results.as_ref().map(|_| Results::default()),
        changes: job.changes.then(Vec::new),
        degraded: vec![Notice::new("results-incomplete", None, message)],
    }
}

/// Flags with which a directory of the job's is opened.
const DIRECTORY: i32 = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
