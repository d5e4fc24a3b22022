//! Starts one container, stands by it, and says how it ended. Ring 1.

use crate::capture::{CHUNK, Capture};
use crate::cgroup::Leaf;
use crate::child::meter::Tables;
use crate::child::{self, Image};
use crate::collect::{self, Left, Places};
use crate::diagnose;
use crate::identity::{self, Unmapped};
use crate::oom;
use crate::run::Known;
use crate::streams::{Feed, Source, Streams};
use crate::sync::{Cancelled, Dialogue};
use crate::sys::{alloc, clone, fd, handover, process};
use crate::userns::UserNamespace;
use nix::errno::Errno;
use nix::libc::{self, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, pollfd};
use std::os::fd::{AsRawFd, OwnedFd};
use stdbox::budget;
use stdbox::host::HostFacts;
use stdbox::job::Job;
use stdbox::outcome::{self, Limit, Outcome, Target, Verdict};
use stdbox::plan::{IdMaps, MapWriter, Meter, Namespace, Plan};
use stdbox::problem::{Code, Problem, Stage};
use stdbox::report::Timing;
use stdbox::text::{Contents, Text};
use stdbox::wire::{self, Failure, Record, Rusage};

/// How long init has for ending the rest and saying what was used, before it is killed itself.
const LAST_WORDS_NS: u64 = 2_000_000_000;

/// So many bytes of a job may still be in memory when the next one starts.
const LITTLE: u64 = 1 << 20;

/// Why the job is being ended by us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    Limit(Limit),
    Cancelled,
}

/// How far the ending has got, and when it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pressure {
    /// None.
    None,
    /// SIGTERM was sent; END_NOW follows.
    Asked(u64),
    /// END_NOW was sent; SIGKILL for init follows.
    Ending(u64),
    /// SIGKILL was sent.
    Killed,
}

/// The running container.
#[derive(Debug)]
struct Running<'a> {
    init: i32,
    leaf: Option<&'a Leaf>,
    /// How the leaf's processor time is looked at, and when next.
    meter: Option<(Meter, u64)>,
    pidfd: OwnedFd,
    records: Option<OwnedFd>,
    /// Whether each is wanted at once. Otherwise they are read when init has said its last, or stdbox is told to stop: to be woken for
    /// nothing takes as long as a dozen system calls, and may move this process to another processor.
    at_once: bool,
    /// Where the file systems that hold the job's writes come from.
    handover: Option<OwnedFd>,
    feed: Option<Feed>,
    stdout: Option<Capture>,
    stderr: Option<Capture>,
    /// Since when a writer of the target's standard input is waited for.
    awaiting_ns: Option<u64>,
    ready_ns: Option<u64>,
    /// How long the target waited for its turn.
    waited_ns: u64,
    exited: Option<(Target, u64)>,
    /// Processor time of all processes, as far as it was added up.
    job_cpu_ns: u64,
    failed: Option<Failure>,
    /// Why the id maps could not be written.
    unmapped: Option<Problem>,
    /// The user namespace, where it has more ids than the caller's.
    namespace: Option<UserNamespace>,
    /// The talk with the caller, if it wants one.
    dialogue: Option<Dialogue>,
    /// The caller left before it let the job's writes be looked at.
    abandoned: bool,
    skipped: Vec<Failure>,
    garbled: bool,
    stop: Option<Stop>,
    pressure: Pressure,
    /// Nothing is left of the container but init, which has nothing more to say.
    deserted: bool,
}

/// An init that is about to end, and takes the container's mounts along: that takes the kernel as long as all that the parent
/// still has to do. It is waited for when this is dropped.
#[derive(Debug)]
pub(crate) struct Leaving(i32);

impl Drop for Leaving {
    fn drop(&mut self) {
        let _ended = ended(self.0);
    }
}

/// Waits for the end of a child; says how it was.
fn ended(child: i32) -> (i32, Rusage) {
    loop {
        match process::wait(child) {
            Ok(Some((_, status, rusage))) => return (status, rusage),
            Err(Errno::EINTR) | Ok(None) => {}
            Err(_) => return (0, Rusage::default()),
        }
    }
}

/// What one run works with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) job: &'a Job,
    pub(crate) plan: &'a Plan,
    pub(crate) facts: &'a HostFacts,
    pub(crate) places: &'a Places<'a>,
    pub(crate) leaf: Option<&'a Leaf>,
    /// Where the target waits for its turn.
    pub(crate) turn: Option<i32>,
    /// What is known of this process before.
    pub(crate) known: Option<&'a Known>,
    /// Gives the signals that tell stdbox to stop.
    pub(crate) stop_signals: &'a OwnedFd,
}

/// Runs the plan. Where the job had many ids, its user namespace is left in `namespace`. Its init may still be `leaving`, where that
/// makes no difference.
pub(crate) fn run(
    given: Given<'_>,
    streams: Streams,
    timing: &mut Timing,
    namespace: &mut Option<UserNamespace>,
    leaving: &mut Option<Leaving>,
) -> Outcome {
    let Given {
        job,
        plan,
        facts,
        places,
        stop_signals,
        ..
    } = given;
    let started = process::now_ns();
    let mut running = match start(&given, streams) {
        Ok(running) => running,
        Err(errno) => {
            let problem =
                outcome::namespaces_refused(wire::Call::Clone, errno, &diagnose::namespaces());
            return Outcome::before(Verdict::SetupFailed(problem));
        }
    };
    *namespace = running.namespace.take();
    let mut buffer = vec![0; CHUNK];
    while running.records.is_some() || running.has_to_say() {
        running.turn(job, stop_signals, &mut buffer);
    }
    // What the container has mounted may be wanted by whoever reads the report, or by this process; and a next job may need the
    // memory.
    let wanted = plan.written.is_some()
        || given.leaf.is_some()
        || places.disk.is_some()
        || !job.mounts.is_empty()
        || running
            .exited
            .is_some_and(|(target, _)| target.scratch_bytes > LITTLE);
    let (status, rusage) = if running.deserted && !wanted {
        *leaving = Some(Leaving(running.init));
        (0, Rusage::default())
    } else {
        // Init is gone or going; with it goes all that is left of the container.
        ended(running.init)
    };
    for capture in [&mut running.stdout, &mut running.stderr]
        .into_iter()
        .flatten()
    {
        capture.drain(&mut buffer);
    }
    let left = running.collect(job, plan, places, stop_signals, namespace.as_ref());
    let ended = process::now_ns();
    let ready = running.ready_ns.unwrap_or(ended);
    let exited = running.exited.map_or(ended, |(_, at)| at);
    let [before_ns, after_ns] = running
        .dialogue
        .as_ref()
        .map_or([0; 2], Dialogue::paused_ns);
    let paused_ns = before_ns.saturating_add(running.waited_ns);
    timing.setup_ns = ready.saturating_sub(started).saturating_sub(paused_ns);
    timing.run_ns = exited.saturating_sub(ready);
    timing.teardown_ns = ended.saturating_sub(exited).saturating_sub(after_ns);
    let mut outcome = running.judge(job, plan, facts, status, rusage);
    if outcome.target.is_none() {
        // It was only about to be executed.
        timing.setup_ns = timing
            .setup_ns
            .saturating_add(std::mem::take(&mut timing.run_ns));
    }
    if let Some(left) = left {
        outcome.results = left.results;
        outcome.changes = left.changes;
        outcome.degraded.extend(left.degraded);
    }
    outcome
}

fn start<'a>(given: &Given<'a>, streams: Streams) -> Result<Running<'a>, Errno> {
    let &Given {
        job,
        plan,
        facts,
        leaf,
        turn,
        known,
        stop_signals,
        ..
    } = given;
    let (reader, writer) = fd::pipe()?;
    let (reader, writer) = (fd::owned(reader), fd::owned(writer));
    let handover = match &plan.written {
        Some(_) => Some(handover::pair().map(|(own, other)| (fd::owned(own), fd::owned(other)))?),
        None => None,
    };
    let gate = match plan.sync {
        Some(_) => Some(handover::pair().map(|(own, other)| (fd::owned(own), fd::owned(other)))?),
        None => None,
    };
    if let Some((own, _)) = &gate {
        handover::tell_senders(own.as_raw_fd())?;
    }
    let Streams {
        child: ends,
        feed,
        stdout,
        stderr,
        stdin: source,
        reopen,
    } = streams;
    let fifo = matches!(source, Source::Fifo);
    let maps_written = match plan.id_maps.writer {
        MapWriter::Itself => None,
        MapWriter::Outside | MapWriter::Helpers(_) => {
            let (reader, writer) = fd::pipe()?;
            Some([fd::owned(reader), fd::owned(writer)])
        }
    };
    let [stdin, out, err] = &ends;
    // The deepest thing that runs on it is the building of a tree for an init-less job.
    let mut stack = vec![0u128; 4096];
    let lifted = oom::lift();
    let changed_signals = known.map_or(process::SIGNALS, |known| known.changed_signals);
    let image = Image {
        changed_signals,
        was_protected: lifted.was_protected(),
        leaf: leaf.map(|leaf| leaf.fd().as_raw_fd()),
        stack: clone::Stack::of(&mut stack),
        records: writer.as_raw_fd(),
        parents_end: reader.as_raw_fd(),
        maps_written: maps_written
            .as_ref()
            .map_or([-1; 2], |ends| ends.each_ref().map(AsRawFd::as_raw_fd)),
        gate: gate
            .as_ref()
            .map_or([-1; 2], |(own, other)| [other.as_raw_fd(), own.as_raw_fd()]),
        turn: turn.unwrap_or(-1),
        handover: handover.as_ref().map_or(-1, |(_, other)| other.as_raw_fd()),
        streams: [stdin.as_raw_fd(), out.as_raw_fd(), err.as_raw_fd()],
        captured: [(&stdout, out), (&stderr, err)]
            .map(|(capture, end)| capture.as_ref().map_or(-1, |_| end.as_raw_fd())),
        stdin: source,
        strict: job.strict,
        large: job.contents().cloned().collect(),
        reopen,
        tables: match plan.meter {
            Some(_) => Tables::new(),
            None => Tables::default(),
        },
        argv: process::Pointers::new(&plan.exec.argv),
        envp: process::Pointers::new(&plan.exec.envp),
    };
    let mut slots = vec![-1; plan.slots];
    let namespaces = clone::flags(plan.cloned());
    let (init, pidfd) = match clone::copying(namespaces) {
        // A container around this one may have no more control group namespaces; then its own is this one's too.
        Err(Errno::ENOSPC) if plan.namespaces.contains(&Namespace::Cgroup) => {
            clone::copying(namespaces & !libc::CLONE_NEWCGROUP)?
        }
        made => made?,
    };
    if init == 0 {
        alloc::arm();
        child::run(plan, &image, &mut slots);
    }
    drop(lifted);
    if let Some((feed, ..)) = &feed {
        let _blocking = fd::flags(feed.as_raw_fd())
            .and_then(|flags| fd::set_flags(feed.as_raw_fd(), flags | libc::O_NONBLOCK));
    }
    let mut running = Running {
        init,
        leaf,
        meter: leaf
            .and(plan.leaf.as_ref())
            .and_then(|leaf| leaf.meter)
            .map(|meter| (meter, 0)),
        pidfd: fd::owned(pidfd),
        records: Some(reader),
        at_once: job.limits.wall_time_ms.is_some()
            || job.limits.output_bytes.is_some()
            || job.contents().next().is_some()
            || plan.meter.is_some()
            || plan.sync.is_some()
            || leaf.is_some()
            || fifo,
        handover: handover.map(|(own, _)| own),
        feed,
        stdout: stdout.map(Capture::new),
        stderr: stderr.map(Capture::new),
        awaiting_ns: fifo.then(process::now_ns),
        ready_ns: None,
        waited_ns: 0,
        exited: None,
        job_cpu_ns: 0,
        failed: None,
        unmapped: None,
        namespace: None,
        dialogue: plan.sync.zip(gate).map(|(sync, (own, _))| {
            let scratch = facts.disk_scratch.as_ref();
            let scratch = scratch.map(|(path, _)| Text::from(path.bytes()));
            Dialogue::new(sync, own, init, scratch)
        }),
        abandoned: false,
        skipped: Vec::new(),
        garbled: false,
        stop: None,
        pressure: Pressure::None,
        deserted: false,
    };
    if let Some([_, writer]) = maps_written {
        running.map_ids(&plan.id_maps, &writer, stop_signals);
    }
    Ok(running)
}

impl Running<'_> {
    /// Writes the id maps, and lets the first process go on. It ends when the writer is closed without a word.
    fn map_ids(&mut self, maps: &IdMaps, writer: &OwnedFd, stop_signals: &OwnedFd) {
        match identity::write(maps, self.init, Some(stop_signals)) {
            Ok(namespace) => {
                self.namespace = Some(namespace);
                // If it has ended, that is what is reported.
                let _ended = fd::write_all(writer.as_raw_fd(), b"m");
            }
            // The signal itself is still waiting.
            Err(Unmapped::Stopped) => {}
            Err(Unmapped::Refused(problem)) => self.unmapped = Some(problem),
        }
    }

    /// Waits for the next thing to happen, and acts on it.
    fn turn(&mut self, job: &Job, stop_signals: &OwnedFd, buffer: &mut [u8]) {
        let wait = |fd: Option<&OwnedFd>, events| pollfd {
            fd: fd.map_or(-1, AsRawFd::as_raw_fd),
            events,
            revents: 0,
        };
        let forks = self.leaf.and_then(Leaf::forks);
        let dialogue = self.dialogue.as_ref();
        let [gate, events, control] = dialogue.map_or([wait(None, 0); 3], Dialogue::waits);
        let mut fds = [
            gate,
            events,
            control,
            // That all writers are gone is always told.
            wait(self.records.as_ref(), if self.at_once { POLLIN } else { 0 }),
            wait(Some(stop_signals), POLLIN),
            wait(self.feed.as_ref().map(|(to, ..)| to), POLLOUT),
            pollfd {
                fd: forks.map_or(-1, AsRawFd::as_raw_fd),
                events: POLLPRI,
                revents: 0,
            },
            wait(self.stdout.as_ref().and_then(Capture::fd), POLLIN),
            wait(self.stderr.as_ref().and_then(Capture::fd), POLLIN),
        ];
        let now = process::now_ns();
        let timeout = [self.deadline(job), self.look_due()]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.saturating_sub(now));
        if fd::poll(&mut fds, timeout).is_err() {
            return;
        }
        let [
            gate,
            events,
            control,
            records,
            signals,
            feed,
            forks,
            out,
            err,
        ] = fds.map(|fd| fd.revents & (POLLIN | POLLOUT | POLLPRI | POLLHUP | POLLERR) != 0);
        if out || err {
            for (capture, ready) in [(&mut self.stdout, out), (&mut self.stderr, err)] {
                if let (Some(capture), true) = (capture, ready) {
                    capture.read(buffer);
                }
            }
        }
        if feed {
            self.write_feed(job);
        }
        if let Some(dialogue) = &mut self.dialogue {
            let turned = dialogue.turn([gate, events, control]);
            if dialogue.is_ready() {
                // Who wrote to its standard input is there; what is waited for now is the caller.
                self.awaiting_ns = None;
            }
            if let Err(Cancelled) = turned {
                self.cancel(job);
            }
        }
        if records {
            self.read_records(job);
        }
        if signals {
            // Its content is of no interest, but it must be taken out.
            let _taken = fd::read(stop_signals.as_raw_fd(), buffer);
            self.catch_up(job);
            self.cancel(job);
        }
        // Output may be read before the record that the target runs.
        if self.ready_ns.is_some() && self.output_exceeded(job) {
            self.end(Stop::Limit(Limit::Output), job);
        }
        if forks && self.leaf.is_some_and(|leaf| leaf.refused_forks() > 0) {
            self.end(Stop::Limit(Limit::Processes), job);
        }
        self.check_cpu(job);
        self.check_time(job);
    }

    /// Whether more was read of both streams than the job may write.
    fn output_exceeded(&self, job: &Job) -> bool {
        let read = |capture: &Option<Capture>| capture.as_ref().map_or(0, Capture::bytes);
        let all = read(&self.stdout).saturating_add(read(&self.stderr));
        job.limits.output_bytes.is_some_and(|most| all > most)
    }

    /// The limit above which a job has ended by itself, before anybody noticed.
    fn exceeded(&self, job: &Job) -> Option<Limit> {
        let (target, exited_ns) = self.exited?;
        let above = |ms: Option<u64>, ns: u64| ms.is_some_and(|ms| ns > ms * 1_000_000);
        let ran_ns = exited_ns.saturating_sub(self.ready_ns.unwrap_or(exited_ns));
        if above(job.limits.wall_time_ms, ran_ns) {
            Some(Limit::WallTime)
        } else if above(job.limits.cpu_time_ms, self.job_cpu_ns.max(target.cpu_ns())) {
            Some(Limit::CpuTime)
        } else if self.output_exceeded(job) {
            Some(Limit::Output)
        } else {
            None
        }
    }

    /// When the processor time is to be looked at next.
    fn look_due(&self) -> Option<u64> {
        let (_, due) = self.meter?;
        let running = self.ready_ns.is_some() && self.exited.is_none() && self.stop.is_none();
        running.then_some(due)
    }

    /// Looks at the processor time if it is time to.
    fn check_cpu(&mut self, job: &Job) {
        let (Some(due), Some((meter, _)), Some(leaf)) = (self.look_due(), self.meter, self.leaf)
        else {
            return;
        };
        let now = process::now_ns();
        if now < due {
            return;
        }
        self.job_cpu_ns = leaf.cpu_ns().unwrap_or(self.job_cpu_ns);
        if self.job_cpu_ns > meter.limit_ns {
            self.end(Stop::Limit(Limit::CpuTime), job);
        }
        let pause = budget::next_look_ns(meter.limit_ns, self.job_cpu_ns, meter.cpus);
        self.meter = Some((meter, now.saturating_add(pause)));
    }

    fn deadline(&self, job: &Job) -> Option<u64> {
        if self.exited.is_some() {
            return None;
        }
        match self.pressure {
            Pressure::None => {
                let since = self.ready_ns.or(self.awaiting_ns);
                let limit = since.zip(job.limits.wall_time_ms);
                limit.map(|(since, ms)| since + ms * 1_000_000)
            }
            Pressure::Asked(at) | Pressure::Ending(at) => Some(at),
            Pressure::Killed => None,
        }
    }

    fn check_time(&mut self, job: &Job) {
        let now = process::now_ns();
        if self.deadline(job).is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.pressure {
            Pressure::None => self.end(Stop::Limit(Limit::WallTime), job),
            Pressure::Asked(_) => {
                self.press(child::init::END_NOW, Pressure::Ending(now + LAST_WORDS_NS))
            }
            Pressure::Ending(_) | Pressure::Killed => self.press(libc::SIGKILL, Pressure::Killed),
        }
    }

    /// Whether the caller does not know all events yet. A caller that leaves, or does not read while stdbox is told to stop, is
    /// not waited for.
    fn has_to_say(&self) -> bool {
        self.stop != Some(Stop::Cancelled)
            && self.dialogue.as_ref().is_some_and(Dialogue::has_to_say)
    }

    /// Ends the job, or the caller's look at what is left of it, because stdbox was told to stop.
    fn cancel(&mut self, job: &Job) {
        if self.dialogue.as_mut().is_some_and(Dialogue::cancel) {
            self.stop.get_or_insert(Stop::Cancelled);
            self.abandoned = true;
        } else {
            self.end(Stop::Cancelled, job);
        }
        if let (None, Some(dialogue)) = (&self.records, &mut self.dialogue) {
            dialogue.fall_silent();
        }
    }

    /// Begins to end the job. The first reason counts.
    fn end(&mut self, why: Stop, job: &Job) {
        if self.exited.is_some() || self.stop.is_some() {
            return;
        }
        self.stop = Some(why);
        let now = process::now_ns();
        if self.ready_ns.is_none() {
            // There is no target yet that could be asked, and no use that could be reported.
            self.press(libc::SIGKILL, Pressure::Killed);
        } else if job.limits.grace_ms > 0 {
            self.press(
                libc::SIGTERM,
                Pressure::Asked(now + job.limits.grace_ms * 1_000_000),
            );
        } else {
            self.press(child::init::END_NOW, Pressure::Ending(now + LAST_WORDS_NS));
        }
    }

    fn press(&mut self, signal: i32, next: Pressure) {
        self.pressure = next;
        // Who cannot be signalled has ended, which the pipe of the records will say.
        let _ended = process::signal_child(self.init, self.pidfd.as_raw_fd(), signal);
    }

    fn write_feed(&mut self, job: &Job) {
        let Some((to, bytes, done)) = &mut self.feed else {
            return;
        };
        let bytes = bytes.get();
        let rest = bytes.get(*done..).unwrap_or(b"");
        match fd::write(to.as_raw_fd(), rest) {
            Ok(count) => *done += count,
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            // The target does not want to read it.
            Err(_) => *done = bytes.len(),
        }
        if *done == bytes.len() {
            drop(bytes);
            self.feed = None;
            self.forget_contents(job);
        }
    }

    /// Gives back what may be large, when there will be no other attempt.
    fn forget_contents(&self, job: &Job) {
        if self.ready_ns.is_some() && self.feed.is_none() {
            job.contents().for_each(Contents::forget);
        }
    }

    /// Reads the records that are there already.
    fn catch_up(&mut self, job: &Job) {
        let waiting = |records: &OwnedFd| fd::waiting(records.as_raw_fd()).is_ok_and(|n| n > 0);
        while self.records.as_ref().is_some_and(waiting) {
            self.read_records(job);
        }
    }

    fn read_records(&mut self, job: &Job) {
        let Some(records) = &self.records else { return };
        // As many as there are of most jobs.
        let mut bytes = [0; 2 * wire::SIZE];
        let read = match fd::read(records.as_raw_fd(), &mut bytes) {
            Ok(0) => return self.records = None,
            Ok(count) => bytes.get(..count).unwrap_or(&bytes),
            Err(Errno::EINTR | Errno::EAGAIN) => return,
            Err(_) => b"?",
        };
        let (records, rest) = read.as_chunks::<{ wire::SIZE }>();
        for record in records {
            self.take_record(record, job);
        }
        if !rest.is_empty() {
            self.garbled = true;
            self.records = None;
        }
    }

    fn take_record(&mut self, bytes: &[u8; wire::SIZE], job: &Job) {
        match Record::decode(bytes) {
            Record::Ready { at_ns, waited_ns } => {
                self.ready_ns = Some(at_ns);
                self.waited_ns = waited_ns;
                self.forget_contents(job);
            }
            Record::Failed(failure) => self.failed = Some(failure),
            Record::Skipped(failure) => self.skipped.push(failure),
            Record::CpuTime { used_ns } => {
                self.job_cpu_ns = used_ns;
                self.end(Stop::Limit(Limit::CpuTime), job);
            }
            Record::Exited {
                status,
                at_ns,
                rusage,
                scratch_bytes,
                job_cpu_ns,
                last,
            } => {
                self.job_cpu_ns = self.job_cpu_ns.max(job_cpu_ns);
                self.exited = Some((
                    Target {
                        status,
                        rusage,
                        scratch_bytes,
                    },
                    at_ns,
                ));
                let stay = self.stop != Some(Stop::Cancelled);
                let told = self
                    .dialogue
                    .as_mut()
                    .map(|d| d.exited(status, rusage, stay));
                if let Some(Err(Cancelled)) = told {
                    self.cancel(job);
                }
                if last {
                    self.deserted = true;
                    self.records = None;
                }
            }
            Record::Garbled => self.garbled = true,
        }
    }

    /// Looks at what the target left, if it ran and anybody asked.
    fn collect(
        &mut self,
        job: &Job,
        plan: &Plan,
        places: &Places<'_>,
        stop_signals: &OwnedFd,
        namespace: Option<&UserNamespace>,
    ) -> Option<Left> {
        let (written, handover) = (plan.written.as_ref()?, self.handover.take()?);
        if self.ready_ns.is_none() || self.failed.is_some() {
            return None;
        }
        if self.abandoned {
            let why = "the job was cancelled before it could be looked at";
            return Some(collect::lost(job, why));
        }
        let Ok(sent) = handover::receive(handover.as_raw_fd(), written.slots.len()) else {
            let why = "the container ended before it could be looked at";
            return Some(collect::lost(job, why));
        };
        let sources = collect::sources(written, sent, places.disk);
        // A signal that ended the job was taken out of its descriptor then.
        let stop = || {
            let mut signals = [pollfd {
                fd: stop_signals.as_raw_fd(),
                events: POLLIN,
                revents: 0,
            }];
            fd::poll(&mut signals, Some(0)).is_ok() && signals.iter().any(|wait| wait.revents != 0)
        };
        let output = places.output.as_ref();
        let collect = || collect::collect(job, written, &sources, output, &stop);
        // Files of other ids than the caller's can be read there only.
        Some(match namespace {
            Some(namespace) => namespace.visit(collect).unwrap_or_else(|errno| {
                let why = format!(
                    "its user namespace could not be entered, or who did was ended ({errno:?})"
                );
                collect::lost(job, &why)
            }),
            None => collect(),
        })
    }

    fn judge(
        mut self,
        job: &Job,
        plan: &Plan,
        facts: &HostFacts,
        init_status: i32,
        init_rusage: Rusage,
    ) -> Outcome {
        let mut outcome = Outcome::before(Verdict::Cancelled);
        outcome.warnings.clone_from(&plan.warnings);
        outcome.degraded.clone_from(&plan.degraded);
        outcome.degraded.extend(
            self.skipped
                .iter()
                .filter_map(|&skipped| outcome::skipped(skipped, plan)),
        );
        if let Some(problem) = self.unmapped {
            outcome.verdict = Verdict::SetupFailed(problem);
            return outcome;
        }
        if let Some(failure) = self.failed {
            let problem =
                outcome::explain(failure, job, plan, &diagnose::failure(failure, plan, facts));
            outcome.verdict = Verdict::SetupFailed(problem);
            return outcome;
        }
        outcome.figures = self.leaf.map(Leaf::figures);
        if let Some(figures) = &outcome.figures {
            let (limit, notice) = outcome::met(figures);
            outcome.warnings.extend(notice);
            let lifted = self.leaf.and_then(Leaf::lifted);
            outcome.degraded.extend(lifted.map(outcome::lifted));
            self.stop = self.stop.or(limit.map(Stop::Limit));
            self.job_cpu_ns = figures.cpu_user_ns.saturating_add(figures.cpu_system_ns);
        }
        if self.stop.is_none() {
            self.stop = self.exceeded(job).map(Stop::Limit);
        }
        let notices = self.dialogue.as_ref().map(Dialogue::notices);
        outcome.warnings.extend(notices.into_iter().flatten());
        outcome.stdout = self.stdout.map(Capture::captured);
        outcome.stderr = self.stderr.map(Capture::captured);
        if self.ready_ns.is_some() && self.exited.is_none() && init_status == libc::SIGKILL {
            // The target ran, and was killed by the same signal.
            let target = Target {
                status: init_status,
                rusage: init_rusage,
                scratch_bytes: 0,
            };
            self.exited = Some((target, 0));
            if self.stop.is_none() {
                outcome.degraded.push(outcome::init_killed());
            }
        }
        outcome.target = self.exited.map(|(target, _)| target);
        outcome.verdict = match (self.stop, self.exited) {
            (Some(Stop::Limit(limit)), _) => Verdict::LimitExceeded(limit),
            (Some(Stop::Cancelled), _) => Verdict::Cancelled,
            (None, Some((target, _))) if !self.garbled => {
                match (target.exit_code(), target.signal()) {
                    (Some(code), _) => Verdict::Exited(code),
                    (None, signal) => Verdict::Signaled(signal.unwrap_or(0)),
                }
            }
            (None, _) if self.garbled => Verdict::SetupFailed(Problem::new(
                Code::Internal,
                Stage::Namespaces,
                "The container said something that stdbox does not understand.",
            )),
            (None, _) => {
                let ran = self.ready_ns.is_some();
                Verdict::SetupFailed(outcome::died(init_status, ran))
            }
        };
        outcome
    }
}

/// Whether a failure is one that a new look at the host may cure.
pub(crate) fn may_retry(outcome: &Outcome) -> bool {
    matches!(&outcome.verdict, Verdict::SetupFailed(problem) if problem.code == Code::MountTableChanged)
}
