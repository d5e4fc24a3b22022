//! A worker: the process that runs one job of a batch and ends, and what the dispatcher has of it. Ring 1.
//!
//! Down one pipe go the number of the line, the length of the job, the job, and one byte more when its turn comes; up another one
//! comes the report.

use super::nursery::{Birth, Nursery, Spare, Unborn};
use crate::channel::{self, Own};
use crate::run::{self, Known};
use crate::sys::{alloc, fd, process};
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use stdbox::lines::Line;

/// What stands before the job in the pipe: the number of its line, and its length.
const HEADER: usize = 2 * size_of::<u64>();

/// Says that the target may start.
const TURN: u8 = b't';

/// So much of a job is read at once, which is all of most.
const CHUNK: usize = 4096;

/// What the dispatcher has of a worker with a job.
#[derive(Debug)]
pub(super) struct Worker {
    birth: Birth,
    /// What the nursery told of it, if that was asked for.
    born: Option<Result<i32, Unborn>>,
    pub(super) line: Line,
    /// Where the job is written until its turn has come, what, and how much of that has been.
    feed: Option<(OwnedFd, Vec<u8>, usize)>,
    pub(super) from: OwnedFd,
    pub(super) report: Vec<u8>,
    /// When it got its job.
    pub(super) given_ns: u64,
    /// When its turn came.
    pub(super) turn_ns: Option<u64>,
}

impl Worker {
    /// Gives a job to a worker, whose turn it is or not.
    pub(super) fn new(spare: Spare, line: Line, turn: bool) -> Self {
        let job = line.bytes.as_deref().unwrap_or_default();
        let length = job.len() as u64;
        let header = [line.number, length].map(u64::to_ne_bytes);
        let message = [header.as_flattened(), job].concat();
        let mut worker = Self {
            birth: spare.birth,
            born: None,
            feed: Some((spare.job, message, 0)),
            line,
            from: spare.report,
            report: Vec::new(),
            given_ns: process::now_ns(),
            turn_ns: None,
        };
        if turn {
            worker.turn(worker.given_ns);
        } else {
            worker.write();
        }
        worker
    }

    /// Its turn has come.
    pub(super) fn turn(&mut self, now: u64) {
        self.turn_ns = Some(now);
        if let Some((_, message, _)) = &mut self.feed {
            message.push(TURN);
        }
        self.write();
    }

    /// Who it is. If it is no longer known who, it has ended, or ends as soon as nobody reads its report.
    pub(super) fn pid(&mut self, nursery: &mut Nursery) -> Result<i32, Unborn> {
        *self.born.get_or_insert_with(|| nursery.pid(self.birth))
    }

    /// Where there is something to write that the pipe has not taken.
    pub(super) fn unwritten(&self) -> Option<i32> {
        let (to, message, done) = self.feed.as_ref()?;
        (*done < message.len()).then(|| to.as_raw_fd())
    }

    /// Writes as much as the pipe takes.
    pub(super) fn write(&mut self) {
        let Some((to, message, done)) = &mut self.feed else {
            return;
        };
        while let Some(rest) = message.get(*done..).filter(|rest| !rest.is_empty()) {
            match fd::write(to.as_raw_fd(), rest) {
                Ok(count) => *done += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // It is dead, which the pipe of its report will say.
                Err(_) => return self.feed = None,
            }
        }
        if self.turn_ns.is_some() {
            self.feed = None;
        } else {
            (*message, *done) = (Vec::new(), 0);
        }
    }

    /// Reads a part of the report, and keeps it. The last one is returned, which most reports have but; nothing is in it if there
    /// is no more and the line has not ended.
    pub(super) fn read<'a>(&mut self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        match fd::read(self.from.as_raw_fd(), buffer) {
            Ok(count) if count > 0 => {
                let part = buffer.get(..count).unwrap_or_default();
                // A report is one line.
                if part.ends_with(b"\n") {
                    return Some(part);
                }
                self.report.extend_from_slice(part);
                None
            }
            Err(Errno::EINTR | Errno::EAGAIN) => None,
            Ok(_) | Err(_) => Some(b""),
        }
    }
}

/// What the worker has read.
struct Given {
    line: u64,
    job: Vec<u8>,
    turn: bool,
}

/// Reads the job; nothing if there are no more.
fn receive(from: &mut File) -> io::Result<Option<Given>> {
    let mut buffer = [0; CHUNK];
    let count = from.read(&mut buffer)?;
    let read = buffer.get(..count).unwrap_or_default();
    // What is in the pipe at all begins with all of it: pipe(7), PIPE_BUF.
    let Some((header, read)) = read.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let (words, _) = header.as_chunks();
    let &[line, length] = words else {
        return Ok(None);
    };
    let [line, length] = [line, length].map(u64::from_ne_bytes);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (first, rest) = read.split_at(read.len().min(length));
    let mut job = Vec::with_capacity(length);
    job.extend_from_slice(first);
    from.take((length - first.len()) as u64)
        .read_to_end(&mut job)?;
    let whole = job.len() == length;
    Ok(whole.then_some(Given {
        line,
        job,
        turn: !rest.is_empty(),
    }))
}

/// Reads one job, runs it, and writes its report.
pub(super) fn run(
    job: OwnedFd,
    report: OwnedFd,
    dispatcher: i32,
    own: Own<'_>,
    known: &Known,
) -> ! {
    // The job is cancelled, and what it has on disk is removed, when nobody is there for its report.
    if process::told_of_death(dispatcher, libc::SIGTERM).is_err() {
        process::exit(1);
    }
    alloc::fill();
    let mut from = File::from(job);
    let Ok(given) = receive(&mut from) else {
        // The dispatcher, which knows the line, says that there was no report.
        process::exit(1);
    };
    let Some(Given { line, job, turn }) = given else {
        process::exit(0);
    };
    let from = (!turn).then_some(from);
    let own = own.through(report.as_raw_fd(), from.as_ref().map(AsRawFd::as_raw_fd));
    let mut record = run::Record::default();
    let work: run::Work<'_> = &|bytes, own, stop_signals, record| {
        run::run_knowing(Some(known), bytes, own, stop_signals, record)
    };
    let (_, bytes) = run::answer(Ok(job), own, Some(line), work, &mut record);
    let delivered = channel::deliver(&mut File::from(report), &bytes);
    drop(record);
    process::exit(i32::from(delivered.is_err()))
}
