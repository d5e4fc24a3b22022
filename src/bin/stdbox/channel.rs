//! What stdbox itself reads and writes: jobs come in here, and reports go out. Ring 1.

use crate::cli::{Options, Place};
use crate::sys::fd::{self, Identity};
use nix::errno::Errno;
use nix::libc::{self, pollfd};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use stdbox::job::{Channels, Job};
use stdbox::json;
use stdbox::problem::{Code, Problem, Stage};

/// What stdbox itself reads and writes for a job. None of it may belong to the target, by whatever name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own<'a> {
    spec: &'a Place,
    report: &'a Place,
    /// Where a worker of a batch reads its jobs, and where it writes their reports first.
    pipes: Option<[i32; 2]>,
    /// Whether it is still to be waited for that the job's turn comes.
    waits: bool,
}

impl<'a> Own<'a> {
    pub(crate) const fn new(options: &'a Options) -> Self {
        Self {
            spec: &options.spec,
            report: &options.report,
            pipes: None,
            waits: false,
        }
    }

    /// The same for a worker, whose job has had its turn or not.
    pub(crate) const fn through(self, jobs: i32, reports: i32, turn: bool) -> Self {
        Self {
            pipes: Some([jobs, reports]),
            waits: !turn,
            ..self
        }
    }

    /// Where it is told that the job's turn has come, if that is still to be waited for.
    pub(crate) fn turn(&self) -> Option<i32> {
        let [jobs, _] = self.pipes.filter(|_| self.waits)?;
        Some(jobs)
    }

    /// Those that are descriptors of the caller.
    pub(crate) const fn numbers(&self) -> Channels {
        Channels {
            spec: self.spec.number(0),
            report: self.report.number(1),
        }
    }

    /// What a file is of these that was opened by a name, such as /dev/stdout or one in /proc/self/fd, to be read or written. A
    /// file can be read by many, and a terminal is everybody's.
    pub(crate) fn purpose(&self, file: i32, reads: bool, job: &Job) -> Option<&'static str> {
        match fd::mode(file)? & libc::S_IFMT {
            libc::S_IFIFO => {}
            libc::S_IFREG if !reads => {}
            _ => return None,
        }
        let place = |place: &Place, standard| match place {
            Place::File(path) => {
                let path = CString::new(path.as_os_str().as_bytes()).ok()?;
                Identity::of_path(&path)
            }
            Place::Standard | Place::Fd(_) => Identity::of(place.number(standard)?),
        };
        let number = |number: Option<i32>| Identity::of(number?);
        let [jobs, reports] = self.pipes.map_or([None; 2], |pipes| pipes.map(Some));
        let sync = job.sync.as_ref();
        let taken = [
            (place(self.spec, 0), "for the job itself"),
            (place(self.report, 1), "for the report"),
            (number(jobs), "for the job itself"),
            (number(reports), "for the report"),
            (number(sync.map(|sync| sync.events)), "for \"sync\""),
            (number(sync.and_then(|sync| sync.control)), "for \"sync\""),
        ];
        let this = Identity::of(file)?;
        let found = taken.into_iter().find(|(other, _)| *other == Some(this));
        found.map(|(_, purpose)| purpose)
    }
}

/// Duplicates a descriptor that the caller named, so that it stays open under its own number too.
pub(crate) fn borrow_descriptor(number: i32) -> io::Result<File> {
    Ok(File::from(fd::owned(fd::borrow(number)?)))
}

/// Opened before anything is run: a job whose report nobody can get is not started.
pub(crate) fn open_report(place: &Place) -> io::Result<File> {
    match place {
        Place::Standard => borrow_descriptor(1),
        Place::Fd(number) => borrow_descriptor(*number),
        Place::File(path) => OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path),
    }
}

/// Opens where a job, or a batch of them, is read.
pub(crate) fn open_spec(place: &Place) -> Result<File, Problem> {
    let source = match place {
        Place::Standard => borrow_descriptor(0),
        Place::Fd(number) => borrow_descriptor(*number),
        Place::File(path) => File::open(path),
    };
    source.map_err(unreadable(place, "open"))
}

/// Why there is no job.
pub(crate) fn unreadable(place: &Place, operation: &'static str) -> impl Fn(io::Error) -> Problem {
    move |error| {
        let code = if error.kind() == io::ErrorKind::NotFound {
            Code::NoSuchFile
        } else {
            Code::FileRefused
        };
        let message = format!("The job could not be read: {error}.");
        let mut problem = Problem::new(code, Stage::Parse, message);
        if let Some(number) = error.raw_os_error() {
            problem = problem.errno(operation, Errno::from_raw(number));
        }
        match place {
            Place::File(path) => problem.path(path.as_os_str().as_bytes()),
            Place::Standard => problem.hint("Give the job on standard input, or with --spec FILE."),
            Place::Fd(_) => problem,
        }
    }
}

pub(crate) fn read_job(place: &Place) -> Result<Vec<u8>, Problem> {
    let bytes =
        read_to_end(open_spec(place)?, json::MAX_BYTES + 1).map_err(unreadable(place, "read"))?;
    if bytes.len() > json::MAX_BYTES {
        Err(json::too_large())
    } else {
        Ok(bytes)
    }
}

/// Reads all that there is, but no more than so many bytes.
pub(crate) fn read_to_end(source: File, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    read_all(&mut source.take(most as u64), &mut bytes)?;
    Ok(bytes)
}

/// Reads all of it, and waits for the writer also where the caller's end of a pipe was made not to wait.
fn read_all(source: &mut io::Take<File>, bytes: &mut Vec<u8>) -> io::Result<()> {
    loop {
        match source.read_to_end(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                await_end(source.get_ref(), libc::POLLIN)?;
            }
            read => return read.map(drop),
        }
    }
}

/// Waits until there is something to do at this end of a pipe.
fn await_end(end: &File, events: i16) -> io::Result<()> {
    let mut ends = [libc::pollfd {
        fd: end.as_raw_fd(),
        events,
        revents: 0,
    }];
    match fd::poll(&mut ends, None) {
        Ok(()) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits until a job's turn has come; it does not, if stdbox is told to stop before.
pub(crate) fn await_turn(turn: i32, stop_signals: &OwnedFd) -> bool {
    let wait = |fd| pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    loop {
        let mut fds = [wait(turn), wait(stop_signals.as_raw_fd())];
        let waited = fd::poll(&mut fds, None);
        let [turn_ready, stop] = fds.map(|fd| fd.revents != 0);
        match waited {
            Ok(()) if stop => return false,
            Ok(()) if turn_ready => return fd::read(turn, &mut [0]) == Ok(1),
            Ok(()) | Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

/// Writes the report. The file with the name that the caller gave is its alone, also where the job could write there: what the job
/// has put into it is gone, and another one in its place is an error.
pub(crate) fn deliver_to(place: &Place, to: &File, bytes: &[u8]) -> io::Result<()> {
    let Place::File(path) = place else {
        return deliver(to, bytes);
    };
    if to.metadata()?.is_file() {
        to.set_len(0)?;
    }
    deliver(to, bytes)?;
    let named = CString::new(path.as_os_str().as_bytes())?;
    match Identity::of_path(&named) == Identity::of(to.as_raw_fd()) {
        true => Ok(()),
        false => Err(io::Error::other("its name is another file's by now")),
    }
}

/// Writes all of it, and waits for the reader also where the caller's end of a pipe was made not to wait.
pub(crate) fn deliver(mut to: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                await_end(to, libc::POLLOUT)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
