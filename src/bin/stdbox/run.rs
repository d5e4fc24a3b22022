//! From the bytes of a job to its report. Ring 1.
//!
//! `run` below is the table of contents of the program.

use crate::cgroup::Leaf;
use crate::channel::Own;
use crate::collect::{Output, Places};
use crate::scratch::DiskScratch;
use crate::supervise::Leaving;
use crate::sys::{fd, process};
use crate::userns::UserNamespace;
use crate::{channel, facts, streams, supervise};
use nix::libc;
use std::mem::ManuallyDrop;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use stdbox::host::{Caller, HostFacts};
use stdbox::job::{self, Channels, Job, Scratch};
use stdbox::outcome::{self, Outcome, Verdict};
use stdbox::plan::{NoPlan, Plan, first_questions, plan};
use stdbox::problem::{Code, Notice, Problem, Stage};
use stdbox::report::{Report, Timing};
use stdbox::text::Text;

/// What is done with a job: [`run`], [`check`], or a plan.
pub(crate) type Work<'a> =
    &'a dyn Fn(Vec<u8>, Own<'_>, &OwnedFd, &mut Record) -> Result<Outcome, Problem>;

/// What `run` and `check` leave behind for the report, and for the time after it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) id: Option<String>,
    pub(crate) timing: Timing,
    /// What is still to be waited for when the report is delivered.
    pub(crate) leaving: Option<Leaving>,
    /// Nothing but a container was made for the job.
    pub(crate) alone: bool,
}

/// Does the work on what was read, also where nothing could be: there is always an outcome and a report. The record is kept until
/// the report is delivered.
pub(crate) fn answer(
    read: Result<Vec<u8>, Problem>,
    own: Own<'_>,
    line: Option<u64>,
    work: Work<'_>,
    record: &mut Record,
) -> (Outcome, Vec<u8>) {
    // Also for a job that cannot be read: a limit on the size of files must not end stdbox while it says so.
    let outcome =
        prepare_signals().and_then(|stop_signals| work(read?, own, &stop_signals, record));
    let outcome = outcome.unwrap_or_else(Outcome::refused);
    let report = Report::new(record.id.as_deref(), &outcome, record.timing).at_line(line);
    let report = report.to_bytes();
    // A longer one may have to wait for its reader.
    if report.len() > libc::PIPE_BUF {
        record.leaving = None;
    }
    (outcome, report)
}

/// Until the job is read, a signal to stop just ends stdbox. From here on it waits until the job is running, or over; so
/// there is always a report.
fn prepare_signals() -> Result<OwnedFd, Problem> {
    let prepared = process::block_signals()
        .and_then(|()| process::keep_children())
        .and_then(|()| process::stop_signals());
    prepared.map(fd::owned).map_err(|errno| {
        let message = "Signals could not be kept for later.";
        Problem::new(Code::Internal, Stage::Host, message).errno("signalfd", errno)
    })
}

/// What a batch finds out before it reads a job, and every worker inherits.
#[derive(Debug)]
pub(crate) struct Known {
    caller: Caller,
    /// Whether its jobs take all processors.
    busy: bool,
    /// The signals whose action may be another than their default.
    pub(crate) changed_signals: u64,
}

impl Known {
    /// For so many jobs at a time.
    pub(crate) fn new(jobs: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            caller: facts::caller(),
            busy: jobs >= processors,
            changed_signals: process::changed_signals(),
        }
    }
}

/// Runs the job that the bytes hold.
pub(crate) fn run(
    bytes: Vec<u8>,
    own: Own<'_>,
    stop_signals: &OwnedFd,
    record: &mut Record,
) -> Result<Outcome, Problem> {
    run_knowing(None, bytes, own, stop_signals, record)
}

/// The same for a job of a batch.
pub(crate) fn run_knowing(
    known: Option<&Known>,
    bytes: Vec<u8>,
    own: Own<'_>,
    stop_signals: &OwnedFd,
    record: &mut Record,
) -> Result<Outcome, Problem> {
    let mut clock = Clock::start();
    let job = kept(read(&bytes, own.numbers(), record)?);
    // What was read may be large, and the job may take long.
    drop(bytes);
    streams::check_descriptors(&job)?;
    record.timing.parse_ns = clock.lap();
    let can_wait_prepared = || job.can_wait_prepared() && streams::can_wait_open(&job.stdin);
    let turn = match own.turn() {
        Some(turn) if !can_wait_prepared() => {
            if !channel::await_turn(turn, stop_signals) {
                return Ok(Outcome::before(Verdict::Cancelled));
            }
            clock.lap();
            None
        }
        turn => turn,
    };
    let facts = kept(HostFacts {
        caller: match known {
            Some(known) => Caller {
                cwd: facts::cwd(),
                ..known.caller.clone()
            },
            None => facts::caller(),
        },
        busy: known.is_some_and(|known| known.busy),
        ..HostFacts::default()
    });
    record.timing.facts_ns = clock.lap();
    let asked = Asked {
        job: &job,
        own,
        turn,
        known,
    };
    // Whoever mounts something on the host between the look at the mount table and its copy makes an overlay fail.
    for _ in 1..ATTEMPTS {
        let outcome = attempt(asked, HostFacts::clone(&facts), stop_signals, record);
        match &outcome {
            Ok(outcome) if supervise::may_retry(outcome) => {}
            _ => return outcome,
        }
    }
    attempt(asked, HostFacts::clone(&facts), stop_signals, record)
}

/// A job, and what stdbox itself has for it.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    job: &'a Job,
    own: Own<'a>,
    /// Where the target waits for its turn.
    turn: Option<i32>,
    known: Option<&'a Known>,
}

/// What the end of the process, or of the job in a worker, frees sooner than this process could, value by value: in memory that it
/// shared with the container, each first write is a copy of a page.
fn kept<T>(value: T) -> ManuallyDrop<T> {
    ManuallyDrop::new(value)
}

/// How often a job is started whose host changes at the wrong moment.
const ATTEMPTS: usize = 3;

fn attempt(
    asked: Asked<'_>,
    facts: HostFacts,
    stop_signals: &OwnedFd,
    record: &mut Record,
) -> Result<Outcome, Problem> {
    let job = asked.job;
    let mut facts = kept(facts);
    let disk = match &job.scratch {
        Scratch::Disk(place) => Some(DiskScratch::new(place)?),
        Scratch::Tmpfs { .. } => None,
    };
    facts.disk_scratch = disk
        .as_ref()
        .map(|disk| (disk.path().clone(), disk.takes_xattr()));
    let mut namespace = None;
    let mut outcome = decide(job, &mut facts, &mut record.timing).and_then(|plan| {
        carry_out(
            asked,
            &kept(plan),
            &facts,
            disk.as_ref(),
            stop_signals,
            record,
            &mut namespace,
        )
    });
    if let Some(disk) = disk {
        let left = disk.path().clone();
        match (disk.remove(namespace.as_ref()), &mut outcome) {
            (
                Ok(bytes),
                Ok(Outcome {
                    target: Some(target),
                    ..
                }),
            ) => target.scratch_bytes = bytes,
            (Err(errno), Ok(outcome)) => {
                let text = errno.desc();
                let message = format!("The scratch directory could not be removed: {text}.");
                let notice = Notice::new("scratch-left", Some(left.bytes()), message);
                outcome.warnings.push(notice);
            }
            _ => {}
        }
    }
    outcome
}

/// Plans, and asks the host what the planner wants to know, until nothing is missing.
pub(crate) fn decide(
    job: &Job,
    facts: &mut HostFacts,
    timing: &mut Timing,
) -> Result<Plan, Problem> {
    let mut clock = Clock::start();
    let first = first_questions(job, &facts.caller);
    facts::answer(facts, first);
    timing.facts_ns += clock.lap();
    loop {
        let planned = plan(job, facts);
        timing.plan_ns += clock.lap();
        match planned {
            Ok(plan) => return Ok(plan),
            Err(NoPlan::Refused(problem)) => return Err(problem),
            Err(NoPlan::Ask(questions)) => facts::answer(facts, questions),
        }
        timing.facts_ns += clock.lap();
    }
}

fn carry_out(
    asked: Asked<'_>,
    plan: &Plan,
    facts: &HostFacts,
    disk: Option<&DiskScratch>,
    stop_signals: &OwnedFd,
    record: &mut Record,
    namespace: &mut Option<UserNamespace>,
) -> Result<Outcome, Problem> {
    let Asked {
        job,
        own,
        turn,
        known,
    } = asked;
    strict_enough(job, plan)?;
    record.alone = disk.is_none() && plan.is_alone();
    let wanted = job.results.as_ref();
    let mut places = Places {
        disk: disk.map(DiskScratch::fd),
        output: wanted
            .map(|wanted| Output::open(&wanted.directory))
            .transpose()?,
    };
    let leaf = plan.leaf.as_ref().map(Leaf::new).transpose();
    let outcome = leaf.and_then(|leaf| {
        let streams = streams::open(job, own)?;
        let given = supervise::Given {
            job,
            plan,
            facts,
            places: &places,
            leaf: leaf.as_ref(),
            turn,
            known,
            stop_signals,
        };
        let Record {
            timing, leaving, ..
        } = record;
        let mut outcome = supervise::run(given, streams, timing, namespace, leaving);
        if let Some(Err(errno)) = leaf.map(Leaf::remove) {
            let text = errno.desc();
            let message = format!("The job's control group could not be removed: {text}.");
            let notice = Notice::new("cgroup-left", None, message);
            outcome.warnings.push(notice);
        }
        Ok(outcome)
    });
    let ran = |outcome: &Outcome| !matches!(outcome.verdict, Verdict::SetupFailed(_));
    if let Some(output) = places.output.take_if(|_| !outcome.as_ref().is_ok_and(ran)) {
        output.undo();
    }
    outcome
}

/// Whether the job takes what is not fully given.
pub(crate) fn strict_enough(job: &Job, plan: &Plan) -> Result<(), Problem> {
    match plan.degraded.first() {
        Some(notice) if job.strict => Err(outcome::too_strict(notice)),
        _ => Ok(()),
    }
}

/// Checks the job, and shows it with its defaults.
pub(crate) fn check(
    bytes: Vec<u8>,
    own: Own<'_>,
    _: &OwnedFd,
    record: &mut Record,
) -> Result<Outcome, Problem> {
    let job = read(&bytes, own.numbers(), record)?;
    let mut normalised = job.normalised();
    if normalised.cwd.is_none() {
        normalised.cwd = facts::caller().cwd.map(|path| Text::from(path.bytes()));
    }
    Ok(Outcome::before(Verdict::Valid(Box::new(normalised))))
}

/// Reads the job; what is wrong with it can still be matched to its caller by its id.
pub(crate) fn read(bytes: &[u8], channels: Channels, record: &mut Record) -> Result<Job, Problem> {
    let job = Job::from_slice(bytes, channels);
    record.id = match &job {
        Ok(job) => job.id.clone(),
        Err(_) => job::id_of(bytes),
    };
    job
}

/// Measures one phase after the other.
struct Clock(u64);

impl Clock {
    fn start() -> Self {
        Self(process::now_ns())
    }

    fn lap(&mut self) -> u64 {
        let now = process::now_ns();
        now - std::mem::replace(&mut self.0, now)
    }
}
