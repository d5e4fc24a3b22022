//! Many jobs: one on each line in, one report on each line out, so many at a time. Ring 1.
//!
//! The dispatcher reads lines, hands each to a worker of its own, and writes what comes back, a report at a time. It keeps
//! what it has read only as long as the line's report is not written: no more is read than there are workers for, and no job is
//! started while the caller does not read reports.
//!
//! Where jobs are short, most of their time is that of making and unmaking containers, and processors idle while one process
//! waits for another. So the containers of the next jobs are made ahead, up to where the target would start; there each waits
//! until it is its turn.

mod nursery;
mod worker;

use crate::cgroup::Aside;
use crate::channel::{self, Own};
use crate::cli::{Options, Place};
use crate::run::Known;
use crate::sys::{alloc, fd, process};
use nix::errno::Errno;
use nix::libc::{self, POLLERR, POLLHUP, POLLIN, POLLOUT, pollfd};
use nursery::{Nursery, Spare, Unborn, reap};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use stdbox::job;
use stdbox::json;
use stdbox::lines::{Line, Lines};
use stdbox::outcome::{Outcome, Verdict};
use stdbox::problem::{Code, Problem, Stage};
use stdbox::remedy;
use stdbox::report::{Report, Timing};
use worker::{Last, Worker};

/// How much is read, and how much of a report is read, at once.
const CHUNK: usize = 64 << 10;

/// As much as a pipe takes without waiting when it takes anything: PIPE_BUF, pipe(7).
const PIECE: usize = 4096;

/// What the dispatcher waits for beside its workers: signals, the input, the output and the nursery.
const OWN: usize = 4;

/// So many workers wait for a job.
const SPARES: usize = 1;

/// So many jobs are prepared before it is their turn: where two end together, the next two begin together. With one worker none is,
/// since there a job finds what the one before it has left.
const AHEAD: usize = 2;

/// A container that was made ahead is not older than this when the target starts, since the host may change; and jobs that take
/// longer gain nothing by it.
const FRESH_NS: u64 = 100_000_000;

/// So many workers that die without a job are no accident.
const DEATHS: u8 = 16;

/// Why a batch ended before its input did.
#[derive(Debug)]
pub(crate) enum Unfinished {
    /// The reports could not be written.
    Undelivered(io::Error),
    /// stdbox was told to stop, or cannot go on; the sentence is for stderr, where there is one.
    Stopped(Option<String>),
}

/// Runs all jobs, at most so many at a time.
pub(crate) fn run(options: &Options, workers: usize) -> Result<(), Unfinished> {
    let cannot = |what: &'static str| {
        move |errno: Errno| Unfinished::Stopped(Some(format!("{what}: {}", errno.desc())))
    };
    // Every process of the batch is where the first one is; in the group that jobs have theirs in there must be none.
    let aside = Aside::of_batch();
    process::block_signals()
        .and_then(|()| process::keep_children())
        .map_err(cannot("signals could not be kept for later"))?;
    let known = Known::new(workers);
    let nursery = Nursery::open(Own::new(options), &known).map_err(|errno| {
        let sentence = format!(
            "the process that starts jobs could not start: {}",
            errno.desc()
        );
        Unfinished::Stopped(Some(match errno {
            // No kernel that can run a job does so, and a plain process needs no privilege.
            Errno::ENOSYS | Errno::EPERM => format!("{sentence}. {}", remedy::ENGINE_FILTER.hint),
            _ => sentence,
        }))
    })?;
    alloc::live_long();
    let done = Dispatcher::new(options, workers, nursery).and_then(Dispatcher::run);
    drop(aside);
    done
}

#[derive(Debug)]
struct Dispatcher<'a> {
    most: usize,
    nursery: Nursery,
    spares: VecDeque<Spare>,
    /// Those that clear up after their last job. Nobody is woken when they are ready.
    resting: VecDeque<Spare>,
    /// A worker could not be made, which may be otherwise when another one has ended.
    refused: Option<Errno>,
    /// In the order in which they got their jobs.
    workers: Vec<Worker>,
    /// Whether the last job that ended was a short one.
    short: bool,
    /// Those that take no other job, the first to be told so first.
    ending: VecDeque<i32>,
    /// Those that were told to end before their turn. How long that takes depends on the host, so none is waited for as long as
    /// there are jobs.
    withdrawn: Vec<i32>,
    spec: &'a Place,
    input: Option<File>,
    lines: Lines,
    /// The line that is next.
    next: Option<Line>,
    /// Lines whose worker could not be made; they come before it.
    returned: VecDeque<Line>,
    output: File,
    /// Reports that are to be written, and how much has been.
    reports: (Vec<u8>, usize),
    /// The caller does not take them now.
    untaken: bool,
    stop_signals: OwnedFd,
    /// Nothing more is started.
    stopped: bool,
    /// The input could not be read to its end.
    unread: bool,
    /// How many spare workers have died one after the other.
    deaths: u8,
    undelivered: Option<io::Error>,
    broken: Option<Errno>,
}

impl<'a> Dispatcher<'a> {
    fn new(options: &'a Options, most: usize, nursery: Nursery) -> Result<Self, Unfinished> {
        let output = channel::open_report(&options.report).map_err(Unfinished::Undelivered)?;
        let stop_signals = process::stop_signals()
            .map_err(|errno| Unfinished::Stopped(Some(format!("signalfd: {}", errno.desc()))))?;
        let mut dispatcher = Self {
            most,
            nursery,
            spares: VecDeque::new(),
            resting: VecDeque::new(),
            refused: None,
            workers: Vec::new(),
            short: false,
            ending: VecDeque::new(),
            withdrawn: Vec::new(),
            spec: &options.spec,
            input: None,
            lines: Lines::default(),
            next: None,
            returned: VecDeque::new(),
            output,
            reports: (Vec::new(), 0),
            untaken: false,
            stop_signals: fd::owned(stop_signals),
            stopped: false,
            unread: false,
            deaths: 0,
            undelivered: None,
            broken: None,
        };
        match channel::open_spec(&options.spec) {
            Ok(input) => dispatcher.input = Some(input),
            Err(problem) => dispatcher.unread(problem),
        }
        Ok(dispatcher)
    }

    fn run(mut self) -> Result<(), Unfinished> {
        let mut buffer = vec![0; CHUNK];
        loop {
            self.start();
            let unwritten = !self.reports.0.is_empty();
            let more = self.waits() > 0 || self.input.is_some();
            let going_on = more && !self.stopped;
            if !going_on {
                self.dismiss_down_to(0);
                for spare in std::mem::take(&mut self.resting) {
                    self.let_go(spare);
                }
            }
            if !going_on && self.workers.is_empty() && !unwritten {
                break;
            }
            self.turn(&mut buffer);
        }
        for pid in self.ending.drain(..).chain(self.withdrawn.drain(..)) {
            reap(pid);
        }
        self.nursery.close();
        match (self.undelivered, self.broken) {
            (Some(error), _) => Err(Unfinished::Undelivered(error)),
            (None, Some(errno)) => {
                let sentence = format!("no more jobs can be started: {}", errno.desc());
                Err(Unfinished::Stopped(Some(sentence)))
            }
            (None, None) if self.stopped || self.unread => Err(Unfinished::Stopped(None)),
            (None, None) => Ok(()),
        }
    }

    /// Starts what can be started.
    fn start(&mut self) {
        while !self.stopped && self.takes() {
            self.take_turns();
            if !self.has_room() {
                return;
            }
            if self.waits() == 0 {
                self.next = self.lines.next_line();
                // What was refused when nobody needed it may be given now.
                if self.next.is_some() && self.workers.is_empty() {
                    self.refused = None;
                }
            }
            if self.lines.ended() {
                self.input = None;
            }
            self.ask();
            let returned = self.returned.pop_front();
            let Some(line) = returned.or_else(|| self.next.take()) else {
                return;
            };
            if line.bytes.is_none() {
                self.answer(&line, json::too_large());
                continue;
            }
            if let Some(spare) = self.spares.pop_front() {
                let turn = self.turns() < self.most;
                self.workers.push(Worker::new(spare, line, turn));
                self.deaths = 0;
                // The next one is made while this one runs.
                self.refused = None;
                self.ask();
                self.clear();
                continue;
            }
            match self.refused {
                // Whoever ends, or has cleared up, makes room.
                Some(errno) if self.workers.is_empty() => {
                    if self.rouse(None) {
                        self.give_back(line);
                        continue;
                    }
                    self.refused = None;
                    let message = "No process could be started for the job.";
                    let problem = Problem::new(Code::OutOfMemory, Stage::Host, message)
                        .errno("clone3", errno);
                    self.answer(&line, problem);
                }
                _ => return self.give_back(line),
            }
        }
    }

    /// Whether the caller has all reports of the jobs that have ended, or takes the last ones while the next job begins.
    fn takes(&self) -> bool {
        !self.untaken && self.reports.0.len() < PIECE
    }

    /// Whether one more job may be given to a worker.
    fn has_room(&self) -> bool {
        let turns = self.turns();
        let ahead = self.workers.len() - turns + self.withdrawn.len();
        turns < self.most || self.short && self.most > 1 && ahead < AHEAD
    }

    /// How many jobs have had their turn, and not ended.
    fn turns(&self) -> usize {
        let turn = |worker: &&Worker| worker.turn_ns.is_some();
        self.workers.iter().filter(turn).count()
    }

    /// Lets those begin whose turn has come.
    fn take_turns(&mut self) {
        for _ in self.turns()..self.most {
            let waiting = |worker: &&mut Worker| worker.turn_ns.is_none();
            let waiting = self.workers.iter_mut().filter(waiting);
            let Some(first) = waiting.min_by_key(|worker| worker.line.number) else {
                return;
            };
            first.turn(process::now_ns());
        }
    }

    /// The line was given to a worker that has not begun with its job.
    fn give_back(&mut self, line: Line) {
        let at = self
            .returned
            .partition_point(|other| other.number < line.number);
        self.returned.insert(at, line);
    }

    /// How long the jobs that wait for their turn may still do so.
    fn patience_ns(&self) -> Option<u64> {
        let waiting = |worker: &&Worker| worker.turn_ns.is_none();
        let oldest = self.workers.iter().find(waiting)?;
        let until = oldest.given_ns.saturating_add(FRESH_NS);
        Some(until.saturating_sub(process::now_ns()))
    }

    /// Takes away the jobs that wait for their turn. Their lines are next again.
    fn withdraw(&mut self) {
        self.short = false;
        let waiting = |worker: &mut Worker| worker.turn_ns.is_none();
        let waiting: Vec<Worker> = self.workers.extract_if(.., waiting).collect();
        for mut worker in waiting {
            if let Ok(pid) = worker.pid(&mut self.nursery) {
                process::kill(pid, libc::SIGTERM);
                self.withdrawn.push(pid);
            }
            self.give_back(worker.line);
        }
    }

    /// How many lines have been read and not begun.
    fn waits(&self) -> usize {
        self.returned.len() + usize::from(self.next.is_some())
    }

    /// Asks for workers, as far as not enough are there or on their way.
    fn ask(&mut self) {
        let wanted = match self.input {
            Some(_) => SPARES.min(self.most),
            None => self.waits().min(SPARES),
        };
        if self.spares.len() < wanted {
            let _changed = self.rouse(Some(0));
        }
        while self.spares.len() < wanted && self.refused.is_none() && !self.stopped {
            match self.nursery.ask() {
                Ok(spare) => self.spares.push_back(spare),
                Err(errno @ (Errno::EMFILE | Errno::ENFILE)) => self.refused = Some(errno),
                Err(errno) => self.stop(Some(errno)),
            }
        }
    }

    /// Waits for the next thing to happen, and acts on it.
    fn turn(&mut self, buffer: &mut [u8]) {
        let wait = |fd: Option<i32>, events| pollfd {
            fd: fd.unwrap_or(-1),
            events,
            revents: 0,
        };
        let reads = !self.stopped && self.waits() == 0 && self.takes() && self.has_room();
        let input = self.input.as_ref().filter(|_| reads);
        // That nobody reads any more is said without being asked for.
        let writes = if self.reports.0.is_empty() {
            0
        } else {
            POLLOUT
        };
        let output = self.undelivered.is_none().then(|| self.output.as_raw_fd());
        let nursery = self.nursery.socket().as_raw_fd();
        let mut fds = Vec::with_capacity(OWN + self.spares.len() + 2 * self.workers.len());
        fds.extend([
            wait(Some(self.stop_signals.as_raw_fd()), POLLIN),
            wait(input.map(AsRawFd::as_raw_fd), POLLIN),
            wait(output, writes),
            // That it is gone is told without being asked for.
            wait(Some(nursery).filter(|_| self.broken.is_none()), 0),
        ]);
        fds.extend(self.spares.iter().map(Spare::wait));
        for worker in &self.workers {
            fds.push(wait(Some(worker.from.as_raw_fd()), POLLIN));
            fds.push(wait(worker.unwritten(), POLLOUT));
        }
        // Where no other can be made, those that clear up are waited for.
        if self.refused.is_some() {
            fds.extend(self.resting.iter().map(Spare::wait));
        }
        let patience = self.patience_ns();
        if fd::poll(&mut fds, patience).is_err() {
            return;
        }
        let happened =
            |fd: &pollfd| fd.revents & (POLLIN | POLLOUT | POLLHUP | POLLERR | libc::POLLNVAL) != 0;
        let (own, others) = fds.split_at(OWN);
        let (spares, others) = others.split_at(self.spares.len());
        let (others, resting) = others.split_at(2 * self.workers.len());
        let rouses = resting.iter().any(happened);
        // From the last one on, and before others come, so that each is where it was.
        for (index, _) in spares
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, fd)| happened(fd))
        {
            self.bury(index);
        }
        if let [signals, input, output, nursery] = own {
            if happened(signals) {
                let _taken = fd::read(self.stop_signals.as_raw_fd(), buffer);
                self.stop(None);
            }
            self.untaken = writes != 0 && !happened(output);
            if happened(output) {
                self.write(output.revents & POLLOUT == 0);
            }
            if happened(nursery) {
                self.stop(Some(Errno::EPIPE));
            }
            if happened(input) {
                self.read(buffer);
            }
        }
        let mut running = Vec::with_capacity(self.workers.len());
        for (mut worker, ready) in std::mem::take(&mut self.workers)
            .into_iter()
            .zip(others.chunks(2))
        {
            if ready.last().is_some_and(happened) {
                worker.write();
            }
            let said = ready.first().is_some_and(happened);
            match said.then(|| worker.read(buffer)).flatten() {
                Some(last) => self.finish(worker, last),
                None => running.push(worker),
            }
        }
        self.workers = running;
        if rouses {
            let _changed = self.rouse(Some(0));
        }
        if self.patience_ns() == Some(0) {
            self.withdraw();
        }
        if self.broken.is_some() {
            self.stop(None);
        }
    }

    /// Takes away a spare worker that could not be made, or that somebody has killed before it had a job.
    fn bury(&mut self, index: usize) {
        let Some(dead) = self.spares.remove(index) else {
            return;
        };
        match self.dismiss(dead) {
            Ok(()) => {
                self.deaths = self.deaths.saturating_add(1);
                if self.deaths == DEATHS {
                    self.stop(Some(Errno::ECHILD));
                }
            }
            Err(unborn) => self.refuse(unborn),
        }
    }

    /// Nobody has a job for these workers any more.
    fn dismiss_down_to(&mut self, count: usize) {
        while self.spares.len() > count
            && let Some(spare) = self.spares.pop_back()
        {
            // Who was never made need not go.
            let _unborn = self.dismiss(spare);
        }
    }

    /// A worker is not wanted any more.
    fn dismiss(&mut self, mut spare: Spare) -> Result<(), Unborn> {
        let pid = spare.child.pid(&mut self.nursery)?;
        process::kill(pid, libc::SIGKILL);
        reap(pid);
        Ok(())
    }

    /// The same for one that still clears up: it ends when it finds that there is no other job.
    fn let_go(&mut self, mut spare: Spare) {
        let born = spare.child.pid(&mut self.nursery);
        self.ending.extend(born.ok());
    }

    /// Sees who is ready for another job, after so long; says whether anybody is, or has ended.
    fn rouse(&mut self, timeout_ns: Option<u64>) -> bool {
        let mut fds: Vec<pollfd> = self.resting.iter().map(Spare::wait).collect();
        if fds.is_empty() || fd::poll(&mut fds, timeout_ns).is_err() {
            return false;
        }
        let before = self.resting.len();
        for (spare, fd) in std::mem::take(&mut self.resting).into_iter().zip(fds) {
            if fd.revents == 0 {
                self.resting.push_back(spare);
            } else if fd.revents == POLLIN && worker::is_clear(&spare) {
                self.spares.push_back(spare);
            } else {
                self.let_go(spare);
            }
        }
        let changed = self.resting.len() < before;
        if changed {
            self.refused = None;
        }
        changed
    }

    /// There is no worker.
    fn refuse(&mut self, unborn: Unborn) {
        match unborn {
            Unborn::Refused(errno @ (Errno::EAGAIN | Errno::ENOMEM)) => self.refused = Some(errno),
            // Who has to be told is told when all that has happened is known.
            Unborn::Refused(errno) | Unborn::Gone(errno) => self.broken = Some(errno),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) {
        let Some(input) = &self.input else { return };
        match fd::read(input.as_raw_fd(), buffer) {
            Ok(count) => self.lines.add(buffer.get(..count).unwrap_or_default()),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => {
                let problem = channel::unreadable(self.spec, "read")(errno.into());
                self.input = None;
                self.unread(problem);
            }
        }
    }

    /// The input, or the rest of it, cannot be read.
    fn unread(&mut self, problem: Problem) {
        let outcome = Outcome::before(Verdict::InvalidJob(problem));
        let report = Report::new(None, &outcome, Timing::default()).to_bytes();
        self.deliver(&report);
        self.unread = true;
    }

    /// Answers a line for which no worker does.
    fn answer(&mut self, line: &Line, problem: Problem) {
        let id = line.bytes.as_deref().and_then(job::id_of);
        let verdict = match problem.stage {
            Stage::Parse => Verdict::InvalidJob(problem),
            _ => Verdict::SetupFailed(problem),
        };
        let outcome = Outcome::before(verdict);
        let report = Report::new(id.as_deref(), &outcome, Timing::default());
        self.deliver(&report.at_line(Some(line.number)).to_bytes());
    }

    fn deliver(&mut self, report: &[u8]) {
        if self.undelivered.is_none() {
            self.reports.0.extend_from_slice(report);
        }
    }

    /// A worker has said all that it had to say of its job.
    fn finish(&mut self, mut worker: Worker, last: Last<'_>) {
        self.refused = None;
        if let (Some(since), Last::AndAgain(last, clear)) = (worker.turn_ns, last) {
            self.ended(since);
            self.deliver(&worker.report);
            self.deliver(last);
            let rest = if clear {
                &mut self.spares
            } else {
                &mut self.resting
            };
            rest.push_back(worker.rest());
            return;
        }
        let born = worker.pid(&mut self.nursery);
        let Some(since) = worker.turn_ns else {
            // Whatever it was, refused or killed: it is told when the same comes of it in its turn. The jobs that run now may be in
            // its way.
            self.short = false;
            self.give_back(worker.line);
            match born {
                Ok(pid) => self.ending.push_back(pid),
                Err(unborn) => self.refuse(unborn),
            }
            return;
        };
        self.ended(since);
        if let Last::Of(last) = last {
            // All that it still has to do is to end, with what the kernel takes down of its container, and the next job need
            // not wait for that.
            self.ending.extend(born.ok());
            self.deliver(&worker.report);
            self.deliver(last);
        } else if let Err(unborn @ Unborn::Refused(_)) = born {
            self.give_back(worker.line);
            self.refuse(unborn);
        } else {
            let status = born.map_or(0, reap);
            let signal = status & 0x7f;
            let how = match signal {
                0 => format!("exit status {}", status >> 8 & 0xff),
                _ => format!("signal {signal}"),
            };
            let message = format!("The process that ran the job ended with {how}.");
            let problem = Problem::new(Code::WorkerDied, Stage::Report, message)
                .hint("It may have been killed, or the machine may be out of memory (see dmesg).");
            self.answer(&worker.line, problem);
        }
    }

    /// A job has ended that had its turn then.
    fn ended(&mut self, since: u64) {
        self.short = process::now_ns().saturating_sub(since) < FRESH_NS;
        if !self.short {
            self.dismiss_down_to(SPARES);
        }
    }

    /// Takes away the workers that have ended since they said all, and waits where too many of them, or of those that clear up, are
    /// left.
    fn clear(&mut self) {
        while self.resting.len() > self.most && self.rouse(None) {}
        self.ending.retain(|&pid| !process::reap_ended(pid));
        self.withdrawn.retain(|&pid| !process::reap_ended(pid));
        while self.ending.len() > self.most
            && let Some(pid) = self.ending.pop_front()
        {
            reap(pid);
        }
    }

    /// Writes a part of the reports, no more than goes without waiting.
    fn write(&mut self, gone: bool) {
        let (bytes, done) = &mut self.reports;
        let rest = bytes.get(*done..).unwrap_or_default();
        let piece = rest.get(..PIECE).unwrap_or(rest);
        let written = match gone {
            true => Err(io::Error::from(Errno::EPIPE)),
            false => self.output.write(piece),
        };
        match written {
            Ok(count) => *done += count,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => {
                self.undelivered = Some(error);
                self.stop(None);
            }
        }
        if self.undelivered.is_some() || self.reports.1 == self.reports.0.len() {
            // The room for an ordinary report is kept: else the C library would map and unmap a page for each.
            let (bytes, done) = &mut self.reports;
            bytes.clear();
            bytes.shrink_to(PIECE);
            *done = 0;
            self.untaken = false;
        }
    }

    /// Starts no more jobs, and cancels those that run; what was prepared has no report.
    fn stop(&mut self, broken: Option<Errno>) {
        self.broken = self.broken.or(broken);
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.clear();
        self.withdraw();
        for worker in &mut self.workers {
            if let Ok(pid) = worker.pid(&mut self.nursery) {
                process::kill(pid, libc::SIGTERM);
            }
        }
    }
}
