//! A worker: the process that runs the jobs of a batch, and what the dispatcher has of it. Ring 1.
//!
//! Down one pipe go the number of the line, the length of the job, the job, and one byte more when its turn comes; up another one
//! comes the report, and one byte more when the worker is ready for another job.
//!
//! To make a process and to end it takes as long as a tenth of a short job, so a worker takes another one, if nothing but a
//! container was made for the last one and all of that is gone: the processes, the descriptors, and each byte of memory that the
//! job was in, the report included. Otherwise it ends.

use super::nursery::{Child, Nursery, Spare, Unborn};
use crate::channel::{self, Own};
use crate::run::{self, Known};
use crate::sys::{alloc, fd, process};
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use stdbox::lines::Line;
use stdbox::outcome::Verdict;

/// What stands before the job in the pipe: the number of its line, and its length.
const HEADER: usize = 2 * size_of::<u64>();

/// Says that the target may start.
const TURN: u8 = b't';

/// Stands for the end of the report's line, if the worker takes another job; in JSON it cannot stand.
const AGAIN: u8 = 0x06;

/// Says that all of the last job is gone.
const CLEAR: u8 = b'c';

/// So much of a job is read at once, which is all of most.
const CHUNK: usize = 4096;

/// What the dispatcher has of a worker with a job.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    pub(super) line: Line,
    to: OwnedFd,
    /// What is to be written there, and how much of that has been.
    message: (Vec<u8>, usize),
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
            child: spare.child,
            line,
            to: spare.job,
            message: (message, 0),
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
        self.message.0.push(TURN);
        self.write();
    }

    /// Who it is.
    pub(super) fn pid(&mut self, nursery: &mut Nursery) -> Result<i32, Unborn> {
        self.child.pid(nursery)
    }

    /// It takes another job.
    pub(super) fn rest(self) -> Spare {
        Spare {
            child: self.child,
            job: self.to,
            report: self.from,
        }
    }

    /// Where there is something to write that the pipe has not taken.
    pub(super) fn unwritten(&self) -> Option<i32> {
        let (message, done) = &self.message;
        (*done < message.len()).then(|| self.to.as_raw_fd())
    }

    /// Writes as much as the pipe takes.
    pub(super) fn write(&mut self) {
        let (message, done) = &mut self.message;
        while let Some(rest) = message.get(*done..).filter(|rest| !rest.is_empty()) {
            match fd::write(self.to.as_raw_fd(), rest) {
                Ok(count) => *done += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // It is dead, which the pipe of its report will say.
                Err(_) => break,
            }
        }
        self.message = (Vec::new(), 0);
    }

    /// Reads a part of the report, and keeps it. The last one is returned, which most reports have but.
    pub(super) fn read<'a>(&mut self, buffer: &'a mut [u8]) -> Option<Last<'a>> {
        let count = match fd::read(self.from.as_raw_fd(), buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => return None,
            Ok(0) | Err(_) => return Some(Last::Nothing),
            Ok(count) => count,
        };
        // It may have cleared up before anybody looked.
        let clear = buffer
            .get(..count)
            .is_some_and(|part| part.ends_with(&[AGAIN, CLEAR]));
        let part = buffer.get_mut(..count - usize::from(clear))?;
        // A report is one line, and most of them come in one part.
        match part.last_mut() {
            Some(end) if *end == AGAIN => {
                *end = b'\n';
                Some(Last::AndAgain(part, clear))
            }
            Some(b'\n') => Some(Last::Of(part)),
            _ => {
                self.report.extend_from_slice(part);
                None
            }
        }
    }
}

/// What a worker says at last of a job.
#[derive(Clone, Copy, Debug)]
pub(super) enum Last<'a> {
    /// The end of a report; the worker takes another job, and is ready for it or not.
    AndAgain(&'a [u8], bool),
    /// The end of a report; the worker ends.
    Of(&'a [u8]),
    /// There is no more, and the line has not ended.
    Nothing,
}

/// Whether a worker that takes another job is ready for it, as it says.
pub(super) fn is_clear(spare: &Spare) -> bool {
    let mut byte = [0];
    fd::read(spare.report.as_raw_fd(), &mut byte) == Ok(1) && byte == [CLEAR]
}

/// What the worker has read.
struct Given {
    line: u64,
    job: Vec<u8>,
    turn: bool,
}

/// Reads the job; nothing if there are no more.
fn receive(mut from: &File) -> io::Result<Option<Given>> {
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

/// Runs jobs as long as nothing of one is left for the next.
pub(super) fn run(
    jobs: OwnedFd,
    reports: OwnedFd,
    dispatcher: i32,
    own: Own<'_>,
    known: &Known,
) -> ! {
    // The job is cancelled, and what it has on disk is removed, when nobody is there for its report.
    if process::told_of_death(dispatcher, libc::SIGTERM).is_err() {
        process::exit(1);
    }
    let [jobs, reports] = [jobs, reports].map(File::from);
    // Where memory cannot be given back, or what one job takes of a process's time is missing for the next, one is all.
    let unlimited = process::set_limit(libc::RLIMIT_CPU as u32, None) == Ok((u64::MAX, u64::MAX));
    let lasts = alloc::traceless(&|| {}) && unlimited;
    let serve = || {
        alloc::fill();
        if !serve(&jobs, &reports, own, known, lasts) {
            process::exit(0);
        }
    };
    // Who is told to stop after a job stops no other one.
    while alloc::traceless(&serve) && !process::told_to_stop() {
        if channel::deliver(&reports, &[CLEAR]).is_err() {
            process::exit(0);
        }
    }
    process::exit(1)
}

/// Reads one job, runs it, and writes its report, in which it says whether another one may follow.
fn serve(jobs: &File, reports: &File, own: Own<'_>, known: &Known, lasts: bool) -> bool {
    let Ok(given) = receive(jobs) else {
        // The dispatcher, which knows the line, says that there was no report.
        process::exit(1);
    };
    let Some(Given { line, job, turn }) = given else {
        return false;
    };
    let own = own.through(jobs.as_raw_fd(), reports.as_raw_fd(), turn);
    let mut record = run::Record::default();
    let work: run::Work<'_> = &|bytes, own, stop_signals, record| {
        run::run_knowing(Some(known), bytes, own, stop_signals, record)
    };
    let (outcome, mut bytes) = run::answer(Ok(job), own, Some(line), work, &mut record);
    let by_itself = matches!(outcome.verdict, Verdict::Exited(_) | Verdict::Signaled(_));
    let again = lasts && by_itself && record.alone && !alloc::spilled();
    if let Some(end) = bytes.last_mut().filter(|_| again) {
        *end = AGAIN;
    }
    if channel::deliver(reports, &bytes).is_err() {
        process::exit(1);
    }
    drop(record);
    again
}
