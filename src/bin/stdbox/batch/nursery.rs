//! Where the workers of a batch come from: a process that has never seen a job. Ring 1.
//!
//! It is made before anything is read, and makes a worker whenever it is asked to, with `CLONE_PARENT`, so that the worker is
//! the dispatcher's child. So no worker, and no container, begins with a copy of anything that belongs to another job: not its
//! line, its environment or its output. A worker that takes another job has nothing left of the last one (`worker.rs`).

use super::worker;
use crate::channel::Own;
use crate::run::Known;
use crate::sys::{alloc, clone, fd, handover, process};
use nix::errno::Errno;
use nix::libc::{self, POLLIN, pollfd};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};

/// The dispatcher's side.
#[derive(Debug)]
pub(super) struct Nursery {
    socket: OwnedFd,
    pid: i32,
    /// How many workers it was asked for.
    asked: u64,
    /// How many of them it has told of.
    told: u64,
    /// What it told of those that nobody has asked about yet: a pid, or a negative error number.
    births: VecDeque<(Birth, i32)>,
}

/// The number of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Birth(u64);

/// Who a worker is.
#[derive(Debug)]
pub(super) struct Child {
    birth: Birth,
    /// What the nursery told of it, if that was asked for.
    born: Option<Result<i32, Unborn>>,
}

impl Child {
    /// Its pid. If it is not known who it is, it has ended, or ends as soon as nobody reads its report.
    pub(super) fn pid(&mut self, nursery: &mut Nursery) -> Result<i32, Unborn> {
        *self.born.get_or_insert_with(|| nursery.pid(self.birth))
    }
}

/// A worker without a job: what is written for it waits in the pipe until it is made.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) child: Child,
    /// Where the job is written.
    pub(super) job: OwnedFd,
    /// Where the report is read.
    pub(super) report: OwnedFd,
}

impl Spare {
    /// It is waited for that it says something, or ends.
    pub(super) fn wait(&self) -> pollfd {
        pollfd {
            fd: self.report.as_raw_fd(),
            events: POLLIN,
            revents: 0,
        }
    }
}

impl Nursery {
    /// Starts it. Every descriptor that is open now and is not close-on-exec is the caller's.
    pub(super) fn open(own: Own<'_>, known: &Known) -> Result<Self, Errno> {
        let (socket, other) = handover::pair()?;
        let (socket, other) = (fd::owned(socket), fd::owned(other));
        let dispatcher = process::own_pid();
        let (pid, pidfd) = clone::copying(0)?;
        if pid == 0 {
            drop(socket);
            serve(other, dispatcher, own, known);
        }
        drop(fd::owned(pidfd));
        Ok(Self {
            socket,
            pid,
            asked: 0,
            told: 0,
            births: VecDeque::new(),
        })
    }

    /// One more worker.
    pub(super) fn ask(&mut self) -> Result<Spare, Errno> {
        // What it has told must not fill the socket, or it would make no more.
        while fd::waiting(self.socket.as_raw_fd()).is_ok_and(|bytes| bytes > 0) {
            if self.hear().is_err() {
                break;
            }
        }
        let pipe = || fd::pipe().map(|(reader, writer)| (fd::owned(reader), fd::owned(writer)));
        let (job, feed) = pipe()?;
        let (reports, report) = pipe()?;
        for own in [&feed, &reports] {
            fd::set_flags(own.as_raw_fd(), libc::O_NONBLOCK)?;
        }
        handover::send(
            self.socket.as_raw_fd(),
            &[job.as_raw_fd(), report.as_raw_fd()],
        )?;
        self.asked += 1;
        Ok(Spare {
            child: Child {
                birth: Birth(self.asked),
                born: None,
            },
            job: feed,
            report: reports,
        })
    }

    /// What is closed when the nursery is gone.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The pid of a worker, which can be asked for once. Nobody is woken to learn it, since only its end makes it interesting.
    fn pid(&mut self, birth: Birth) -> Result<i32, Unborn> {
        while self.told < birth.0 {
            self.hear()?;
        }
        let index = self.births.iter().position(|(born, _)| *born == birth);
        match index.and_then(|index| self.births.remove(index)) {
            Some((_, pid)) if pid > 0 => Ok(pid),
            Some((_, errno)) => Err(Unborn::Refused(Errno::from_raw(-errno))),
            None => Err(Unborn::Gone(Errno::ESRCH)),
        }
    }

    /// Waits until it tells of one more worker.
    fn hear(&mut self) -> Result<(), Unborn> {
        let mut number = [0; 4];
        // Each number is a message.
        match fd::read(self.socket.as_raw_fd(), &mut number) {
            Ok(4) => {}
            Err(Errno::EINTR) => return Ok(()),
            Ok(_) => return Err(Unborn::Gone(Errno::EPIPE)),
            Err(errno) => return Err(Unborn::Gone(errno)),
        }
        self.told += 1;
        let told = (Birth(self.told), i32::from_ne_bytes(number));
        self.births.push_back(told);
        Ok(())
    }

    /// Ends it. Workers that nobody has heard of yet find no job, and end too.
    pub(super) fn close(self) {
        process::kill(self.pid, libc::SIGKILL);
        reap(self.pid);
    }
}

/// Why there is no worker.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unborn {
    /// The kernel made no process.
    Refused(Errno),
    /// Nobody can tell.
    Gone(Errno),
}

/// Waits until a child has ended; says how.
pub(super) fn reap(pid: i32) -> i32 {
    loop {
        match process::wait(pid) {
            Ok(Some((_, status, _))) => return status,
            Ok(None) | Err(Errno::EINTR) => {}
            Err(_) => return 0,
        }
    }
}

/// The nursery itself: two descriptors come in, a pid or a negative error number goes out.
fn serve(socket: OwnedFd, dispatcher: i32, own: Own<'_>, known: &Known) -> ! {
    if process::die_with(dispatcher).is_err() {
        process::exit(1);
    }
    alloc::give_back();
    loop {
        let mut wait = [pollfd {
            fd: socket.as_raw_fd(),
            events: POLLIN,
            revents: 0,
        }];
        let _interrupted = fd::poll(&mut wait, None);
        let ends = match handover::receive(socket.as_raw_fd(), 2) {
            Ok(ends) => ends,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            // The dispatcher has closed its end.
            Err(_) => process::exit(0),
        };
        let &[job, report] = ends.as_slice() else {
            process::exit(1);
        };
        let (job, report) = (fd::owned(job), fd::owned(report));
        let told = match clone::sibling() {
            Ok(0) => {
                drop(socket);
                worker::run(job, report, dispatcher, own, known)
            }
            Ok(pid) => pid,
            Err(errno) => -(errno as i32),
        };
        if fd::write_all(socket.as_raw_fd(), &told.to_ne_bytes()).is_err() {
            process::exit(0);
        }
    }
}
