//! stdbox: one JSON job in, a container of the host's own tree, one JSON report out.
//!
//! `run` below is the table of contents. The pure half of the program is the library in `src/`.

mod cgroup;
mod cgroup_facts;
mod child;
mod cli;
mod collect;
mod diagnose;
mod facts;
mod id_facts;
mod identity;
mod leftover;
mod oom;
mod scratch;
mod streams;
mod supervise;
mod sync;
mod sys;
mod userns;

use cgroup::Leaf;
use cli::{Command, Options, Place};
use collect::{Output, Places};
use nix::errno::Errno;
use nix::libc;
use scratch::DiskScratch;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use stdbox::host::{Caller, HostFacts};
use stdbox::job::{self, Channels, Job, Scratch};
use stdbox::json;
use stdbox::outcome::{self, Outcome, Verdict};
use stdbox::plan::{NoPlan, Plan, first_questions, plan};
use stdbox::problem::{Code, Notice, Problem, Stage};
use stdbox::report::{Report, Timing};
use stdbox::text::Text;
use sys::{fd, process};
use userns::UserNamespace;

/// The report could not be written.
const UNDELIVERED: u8 = 3;
/// The command line is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(options)) => serve(&options, run),
        Ok(Command::Check(options)) => serve(&options, check),
        Ok(Command::Schema(text)) => show(text),
        Ok(Command::Version) => show(concat!("stdbox ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Help) => show(cli::HELP),
        Err(sentence) => {
            complain(&sentence);
            ExitCode::from(USAGE)
        }
    }
}

/// What `run` and `check` leave behind for the report.
#[derive(Default)]
struct Record {
    id: Option<String>,
    timing: Timing,
}

/// Runs the job that the bytes hold.
fn run(
    bytes: &[u8],
    channels: Channels,
    stop_signals: &OwnedFd,
    record: &mut Record,
) -> Result<Outcome, Problem> {
    let mut clock = Clock::start();
    let job = read(bytes, channels, record)?;
    let timing = &mut record.timing;
    streams::check_descriptors(&job)?;
    timing.parse_ns = clock.lap();
    let caller = facts::caller();
    timing.facts_ns = clock.lap();
    // Whoever mounts something on the host between the look at the mount table and its copy makes an overlay fail.
    for _ in 1..ATTEMPTS {
        let outcome = attempt(&job, &caller, stop_signals, timing);
        match &outcome {
            Ok(outcome) if supervise::may_retry(outcome) => {}
            _ => return outcome,
        }
    }
    attempt(&job, &caller, stop_signals, timing)
}

/// How often a job is started whose host changes at the wrong moment.
const ATTEMPTS: usize = 3;

fn attempt(
    job: &Job,
    caller: &Caller,
    stop_signals: &OwnedFd,
    timing: &mut Timing,
) -> Result<Outcome, Problem> {
    let mut facts = HostFacts {
        caller: caller.clone(),
        ..HostFacts::default()
    };
    let disk = match &job.scratch {
        Scratch::Disk(place) => Some(scratch::DiskScratch::new(place)?),
        Scratch::Tmpfs { .. } => None,
    };
    facts.disk_scratch = disk
        .as_ref()
        .map(|disk| (disk.path().clone(), disk.takes_xattr()));
    let mut namespace = None;
    let mut outcome = decide(job, &mut facts, timing).and_then(|plan| {
        carry_out(
            job,
            &plan,
            &facts,
            disk.as_ref(),
            stop_signals,
            timing,
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
fn decide(job: &Job, facts: &mut HostFacts, timing: &mut Timing) -> Result<Plan, Problem> {
    let mut clock = Clock::start();
    let first = first_questions(job, &facts.caller);
    facts::answer(facts, first);
    timing.facts_ns += clock.lap();
    loop {
        let planned = plan(job, facts);
        timing.plan_ns += clock.lap();
        match planned {
            Ok(plan) => return Ok(plan),
            Err(NoPlan::Refused(problem)) => return Err(*problem),
            Err(NoPlan::Ask(questions)) => facts::answer(facts, questions),
        }
        timing.facts_ns += clock.lap();
    }
}

fn carry_out(
    job: &Job,
    plan: &Plan,
    facts: &HostFacts,
    disk: Option<&DiskScratch>,
    stop_signals: &OwnedFd,
    timing: &mut Timing,
    namespace: &mut Option<UserNamespace>,
) -> Result<Outcome, Problem> {
    if let (true, Some(notice)) = (job.strict, plan.degraded.first()) {
        return Ok(Outcome::before(Verdict::SetupFailed(Box::new(
            outcome::too_strict(notice),
        ))));
    }
    let wanted = job.results.as_ref();
    let mut places = Places {
        disk: disk.map(DiskScratch::fd),
        output: wanted
            .map(|wanted| Output::open(&wanted.directory))
            .transpose()?,
    };
    let leaf = plan.leaf.as_ref().map(Leaf::new).transpose();
    let outcome = leaf.and_then(|leaf| {
        let streams = streams::open(job)?;
        let given = supervise::Given {
            job,
            plan,
            facts,
            places: &places,
            leaf: leaf.as_ref(),
            stop_signals,
        };
        let mut outcome = supervise::run(given, streams, timing, namespace);
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

/// Checks the job, and shows it with its defaults.
fn check(
    bytes: &[u8],
    channels: Channels,
    _: &OwnedFd,
    record: &mut Record,
) -> Result<Outcome, Problem> {
    let job = read(bytes, channels, record)?;
    let mut normalised = job.normalised();
    if normalised.cwd.is_none() {
        normalised.cwd = facts::caller().cwd.map(|path| Text::from(path.bytes()));
    }
    Ok(Outcome::before(Verdict::Valid(Box::new(normalised))))
}

/// Reads the job; what is wrong with it can still be matched to its caller by its id.
fn read(bytes: &[u8], channels: Channels, record: &mut Record) -> Result<Job, Problem> {
    let job = Job::from_slice(bytes, channels);
    record.id = match &job {
        Ok(job) => job.id.clone(),
        Err(_) => job::id_of(bytes),
    };
    job
}

type Work = fn(&[u8], Channels, &OwnedFd, &mut Record) -> Result<Outcome, Problem>;

/// Reads the job, does the work, and delivers the report: always exactly one.
fn serve(options: &Options, work: Work) -> ExitCode {
    let mut report = match open_report(&options.report) {
        Ok(report) => report,
        Err(error) => return undelivered(&error),
    };
    let channels = Channels {
        spec: options.spec.number(0),
        report: options.report.number(1),
    };
    let mut record = Record::default();
    let bytes = read_job(&options.spec);
    // Also for a job that cannot be read: a limit on the size of files must not end stdbox while it says so.
    let outcome = prepare_signals().and_then(|stop_signals| {
        let bytes = bytes?;
        work(&bytes, channels, &stop_signals, &mut record)
    });
    let outcome = outcome.unwrap_or_else(|problem| {
        Outcome::before(match problem.stage {
            Stage::Parse | Stage::Validate => Verdict::InvalidJob(Box::new(problem)),
            _ => Verdict::SetupFailed(Box::new(problem)),
        })
    });
    let bytes = Report::new(record.id.as_deref(), &outcome, record.timing).to_bytes();
    match deliver(&mut report, &bytes) {
        Ok(()) => ExitCode::from(outcome.exit_status(options.propagate)),
        Err(error) => undelivered(&error),
    }
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

/// Duplicates a descriptor that the caller named, so that it stays open under its own number too.
fn borrow_descriptor(number: i32) -> io::Result<File> {
    Ok(File::from(fd::owned(fd::borrow(number)?)))
}

/// Opened before anything is run: a job whose report nobody can get is not started.
fn open_report(place: &Place) -> io::Result<File> {
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

fn read_job(place: &Place) -> Result<Vec<u8>, Problem> {
    let refuse = |error: io::Error| {
        let code = if error.kind() == io::ErrorKind::NotFound {
            Code::NoSuchFile
        } else {
            Code::FileRefused
        };
        let message = format!("The job could not be read: {error}.");
        let problem = Problem::new(code, Stage::Parse, message);
        match place {
            Place::File(path) => problem.path(path.as_os_str().as_bytes()),
            Place::Standard | Place::Fd(_) => problem,
        }
    };
    let source = match place {
        Place::Standard => borrow_descriptor(0),
        Place::Fd(number) => borrow_descriptor(*number),
        Place::File(path) => File::open(path),
    };
    let mut bytes = Vec::with_capacity(4096);
    let most = json::MAX_BYTES as u64 + 1;
    source
        .and_then(|source| read_all(&mut source.take(most), &mut bytes))
        .map_err(refuse)?;
    if bytes.len() > json::MAX_BYTES {
        Err(json::too_large())
    } else {
        Ok(bytes)
    }
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

/// Writes all of it, and waits for the reader also where the caller's end of a pipe was made not to wait.
fn deliver(to: &mut File, mut bytes: &[u8]) -> io::Result<()> {
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

fn show(text: &str) -> ExitCode {
    match borrow_descriptor(1).and_then(|mut to| deliver(&mut to, text.as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => undelivered(&error),
    }
}

fn undelivered(error: &io::Error) -> ExitCode {
    complain(&format!("the report could not be written: {error}"));
    ExitCode::from(UNDELIVERED)
}

fn complain(sentence: &str) {
    // Where stderr is closed too, the exit status says it.
    let _closed = writeln!(io::stderr(), "stdbox: {sentence}");
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
