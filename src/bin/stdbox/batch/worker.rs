//! The process that runs one job of a batch, and ends. Ring 1.

use crate::channel::{self, Own};
use crate::run;
use crate::sys::{alloc, process};
use nix::libc;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use stdbox::json::MAX_BYTES;
use stdbox::lines::Line;

/// What stands before the job in the pipe: the number of its line.
const HEADER: usize = size_of::<u64>();

/// What is written into the pipe.
pub(super) fn message(line: &Line) -> Vec<u8> {
    let job = line.bytes.as_deref().unwrap_or_default();
    [line.number.to_ne_bytes().as_slice(), job].concat()
}

/// Reads one job, runs it, and writes its report.
pub(super) fn run(job: OwnedFd, report: OwnedFd, dispatcher: i32, own: Own<'_>) -> ! {
    // The job is cancelled, and what it has on disk is removed, when nobody is there for its report.
    if process::told_of_death(dispatcher, libc::SIGTERM).is_err() {
        process::exit(1);
    }
    alloc::fill();
    let Ok(mut bytes) = channel::read_to_end(File::from(job), HEADER + MAX_BYTES) else {
        // The dispatcher, which knows the line, says that there was no report.
        process::exit(1);
    };
    let Some(&header) = bytes.first_chunk() else {
        // There are no more jobs.
        process::exit(0);
    };
    bytes.drain(..HEADER);
    let own = own.through(report.as_raw_fd());
    let line = Some(u64::from_ne_bytes(header));
    let mut record = run::Record::default();
    let (_, bytes) = run::answer(Ok(bytes), own, line, &run::run, &mut record);
    let delivered = channel::deliver(&mut File::from(report), &bytes);
    drop(record);
    process::exit(i32::from(delivered.is_err()))
}
