//! stdbox: one JSON job in, a container of the host's own tree, one JSON report out.
//!
//! What the command line asks for is done here; `run.rs` has the table of contents. The pure half of the program is the
//! library in `src/`.
#![no_main]

mod batch;
mod capture;
mod cgroup;
mod cgroup_facts;
mod channel;
mod child;
mod cli;
mod collect;
mod diagnose;
mod doctor;
mod facts;
mod id_facts;
mod identity;
mod leftover;
mod oom;
mod planning;
mod run;
mod scratch;
mod streams;
mod supervise;
mod sync;
mod sys;
mod userns;

use batch::Unfinished;
use channel::Own;
use cli::{Command, Options, Planning};
use run::Work;
use std::ffi::OsString;
use std::io::{self, Write};
use stdbox::outcome::{Outcome, planned};
use stdbox::{remedy, usage};

/// A batch ended before its jobs did, or the default job does not run here.
const UNFINISHED: u8 = 1;
/// The report could not be written.
const UNDELIVERED: u8 = 3;
/// The command line is wrong.
const USAGE: u8 = 2;

/// All of it, from the arguments to the exit status.
fn program(arguments: impl Iterator<Item = OsString>) -> u8 {
    match cli::parse(arguments) {
        Ok(Command::Run(options)) => serve(&options, &run::run),
        Ok(Command::Check(options)) => serve(&options, &run::check),
        Ok(Command::Plan(options, planning)) => plan(&options, &planning),
        Ok(Command::Batch(options, workers)) => many(&options, workers),
        Ok(Command::Doctor(options, text)) => examine(&options, text),
        Ok(Command::ApparmorProfile) => profile(),
        Ok(Command::Schema(text)) => show(text),
        Ok(Command::Version) => show(concat!("stdbox ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Help) => show(&usage::help()),
        Err(sentence) => {
            complain(&sentence);
            USAGE
        }
    }
}

/// Reads the job, does the work, and delivers the report: always exactly one.
fn serve(options: &Options, work: Work<'_>) -> u8 {
    deliver(options, work, |_, bytes| bytes)
}

/// Shows what would be done, as a report or as lines for people.
fn plan(options: &Options, planning: &Planning) -> u8 {
    let work: Work<'_> =
        &|bytes, own, _, record| planning::show(planning, &bytes, own.numbers(), record);
    deliver(options, work, |outcome, bytes| match planning.text {
        true => planned(outcome).into_bytes(),
        false => bytes,
    })
}

/// Answers, in a form of the caller's choice.
fn deliver(options: &Options, work: Work<'_>, form: impl Fn(&Outcome, Vec<u8>) -> Vec<u8>) -> u8 {
    let report = match channel::open_report(&options.report) {
        Ok(report) => report,
        Err(error) => return undelivered(&error),
    };
    let own = Own::new(options);
    let (read, mut record) = (channel::read_job(&options.spec), run::Record::default());
    let (outcome, bytes) = run::answer(read, own, None, work, &mut record);
    match channel::deliver_to(&options.report, &report, &form(&outcome, bytes)) {
        Ok(()) => outcome.exit_status(options.propagate),
        Err(error) => undelivered(&error),
    }
}

/// Runs the jobs of a batch. Each report says how its job ended; the exit status says whether there are all of them.
fn many(options: &Options, workers: Option<u16>) -> u8 {
    let processors = || std::thread::available_parallelism().map_or(1, Into::into);
    match batch::run(options, workers.map_or_else(processors, Into::into)) {
        Ok(()) => 0,
        Err(Unfinished::Undelivered(error)) => undelivered(&error),
        Err(Unfinished::Stopped(sentence)) => {
            if let Some(sentence) = sentence {
                complain(&sentence);
            }
            UNFINISHED
        }
    }
}

/// Tells what this host allows.
fn examine(options: &Options, text: bool) -> u8 {
    let report = match channel::open_report(&options.report) {
        Ok(report) => report,
        Err(error) => return undelivered(&error),
    };
    let Some(found) = doctor::examine() else {
        return UNFINISHED;
    };
    let bytes = match text {
        true => found.to_text().into_bytes(),
        false => found.to_bytes(),
    };
    match channel::deliver(&report, &bytes) {
        Ok(()) if found.ready() => 0,
        Ok(()) => UNFINISHED,
        Err(error) => undelivered(&error),
    }
}

/// Prints the profile for this very file.
fn profile() -> u8 {
    let Some(program) = doctor::program() else {
        complain("a profile needs the path of stdbox, which /proc does not tell");
        return UNFINISHED;
    };
    match remedy::apparmor_profile(program.bytes()) {
        Some(profile) => show(&profile),
        None => {
            complain("the path of stdbox has characters that mean something else in a profile");
            UNFINISHED
        }
    }
}

fn show(text: &str) -> u8 {
    match channel::borrow_descriptor(1).and_then(|to| channel::deliver(&to, text.as_bytes())) {
        Ok(()) => 0,
        Err(error) => undelivered(&error),
    }
}

fn undelivered(error: &io::Error) -> u8 {
    complain(&format!("the report could not be written: {error}"));
    UNDELIVERED
}

fn complain(sentence: &str) {
    // Where stderr is closed too, the exit status says it.
    let _closed = writeln!(io::stderr(), "stdbox: {sentence}");
}
