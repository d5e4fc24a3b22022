//! Where the workers of a batch come from: a process that has never seen a job. Ring 1.
//!
//! It is made before anything is read, and makes a worker whenever it is asked to, with `CLONE_PARENT`, so that the worker is
//! the dispatcher's child. So no worker, and no container, begins with a copy of anything that belongs to another job: not its
//! line, its environment or its output.

use super::worker;
use crate::channel::Own;
use crate::sys::{alloc, fd, handover, process};
use nix::errno::Errno;
use nix::libc::{self, POLLIN, pollfd};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};

/// The dispatcher's side.
#[derive(Debug)]
pub(super) struct Nursery {
    socket: OwnedFd,
    pid: i32,
    /// The pipes of workers whose pids have not been told yet, in the order in which they were asked for.
    expected: VecDeque<[OwnedFd; 2]>,
}

/// A worker that waits for its job.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) pid: i32,
    /// Where the job is written.
    pub(super) job: OwnedFd,
    /// Where the report is read.
    pub(super) report: OwnedFd,
}

impl Nursery {
    /// Starts it. Every descriptor that is open now and is not close-on-exec is the caller's.
    pub(super) fn open(own: Own<'_>) -> Result<Self, Errno> {
        let (socket, other) = handover::pair()?;
        let (socket, other) = (fd::owned(socket), fd::owned(other));
        let dispatcher = process::own_pid();
        let (pid, pidfd) = process::clone(0)?;
        if pid == 0 {
            drop(socket);
            serve(other, dispatcher, own);
        }
        drop(fd::owned(pidfd));
        Ok(Self {
            socket,
            pid,
            expected: VecDeque::new(),
        })
    }

    /// Asks for one more worker.
    pub(super) fn ask(&mut self) -> Result<(), Errno> {
        let pipe = || fd::pipe().map(|(reader, writer)| (fd::owned(reader), fd::owned(writer)));
        let (job, feed) = pipe()?;
        let (reports, report) = pipe()?;
        for own in [&feed, &reports] {
            let flags = fd::flags(own.as_raw_fd())?;
            fd::set_flags(own.as_raw_fd(), flags | libc::O_NONBLOCK)?;
        }
        handover::send(
            self.socket.as_raw_fd(),
            &[job.as_raw_fd(), report.as_raw_fd()],
        )?;
        self.expected.push_back([feed, reports]);
        Ok(())
    }

    /// How many workers have been asked for and are not there yet.
    pub(super) fn expected(&self) -> usize {
        self.expected.len()
    }

    /// What can be read when a worker is there.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The next worker, or why there is none.
    pub(super) fn born(&mut self) -> Result<Spare, Errno> {
        let mut number = [0; 4];
        // Each number is a message.
        let told = match fd::read(self.socket.as_raw_fd(), &mut number) {
            Ok(4) => i32::from_ne_bytes(number),
            Ok(_) => return Err(Errno::EPIPE),
            Err(errno) => return Err(errno),
        };
        let Some([job, report]) = self.expected.pop_front() else {
            return Err(Errno::EPIPE);
        };
        match told {
            pid if pid > 0 => Ok(Spare { pid, job, report }),
            errno => Err(Errno::from_raw(-errno)),
        }
    }

    /// Ends it. Workers that nobody has heard of yet find no job, and end too.
    pub(super) fn close(self) {
        process::kill(self.pid, libc::SIGKILL);
        reap(self.pid);
    }
}

impl Spare {
    /// It is not wanted any more.
    pub(super) fn dismiss(self) {
        process::kill(self.pid, libc::SIGKILL);
        reap(self.pid);
    }
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
fn serve(socket: OwnedFd, dispatcher: i32, own: Own<'_>) -> ! {
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
        let told = match process::clone_sibling() {
            Ok(0) => {
                drop(socket);
                worker::run(job, report, dispatcher, own)
            }
            Ok(pid) => pid,
            Err(errno) => -(errno as i32),
        };
        if fd::write_all(socket.as_raw_fd(), &told.to_ne_bytes()).is_err() {
            process::exit(0);
        }
    }
}
