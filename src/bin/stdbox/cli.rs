//! The command line. Ring 1.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use stdbox::usage::FLAGS;

/// Where something is read from or written to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// stdin or stdout.
    Standard,
    /// A file.
    File(PathBuf),
    /// A descriptor of the caller.
    Fd(i32),
}

impl Place {
    /// The descriptor of the caller that it is.
    pub(crate) const fn number(&self, standard: i32) -> Option<i32> {
        match self {
            Self::Standard => Some(standard),
            Self::File(_) => None,
            Self::Fd(number) => Some(*number),
        }
    }
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Run(Options),
    Check(Options),
    Plan(Options, Planning),
    /// With the number of jobs that run at a time, if that was said.
    Batch(Options, Option<u16>),
    /// As lines for people, or as JSON.
    Doctor(Options, bool),
    ApparmorProfile,
    Schema(&'static str),
    Version,
    Help,
}

/// At most so many jobs at a time: each takes some descriptors and processes.
const MAX_WORKERS: u16 = 4096;

/// Options of all commands that read jobs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    pub(crate) spec: Place,
    pub(crate) report: Place,
    pub(crate) propagate: bool,
}

/// Options of `plan`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Planning {
    /// Lines for people.
    pub(crate) text: bool,
    /// Where the facts go.
    pub(crate) facts: Option<PathBuf>,
    /// Where the facts come from, instead of the host.
    pub(crate) with_facts: Option<PathBuf>,
}

const JOB_SCHEMA: &str = include_str!("../../../schema/job.json");
const REPORT_SCHEMA: &str = include_str!("../../../schema/report.json");
const EVENT_SCHEMA: &str = include_str!("../../../schema/event.json");
const DOCTOR_SCHEMA: &str = include_str!("../../../schema/doctor.json");

/// Reads the arguments after the program's name; the error is a sentence for stderr.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.peekable();
    let mut word = String::from("run");
    if let Some(first) = arguments.next_if(|argument| !argument.as_bytes().starts_with(b"-")) {
        word = first.to_string_lossy().into_owned();
    }
    match word.as_str() {
        "run" | "check" | "plan" | "batch" | "doctor" => {}
        "schema" => return schema(arguments),
        "help" => return Ok(Command::Help),
        other => {
            return Err(format!(
                "there is no command {other:?}; what to run is said by the job, such as {{\"argv\":[\"ls\"]}}; see stdbox --help"
            ));
        }
    }
    let mut given = match given(&word, arguments)? {
        Ok(given) => given,
        Err(command) => return Ok(command),
    };
    let options = Options {
        spec: given.place("--spec", "--spec-fd")?,
        report: given.place("--report", "--report-fd")?,
        propagate: given.take("--propagate").is_some(),
    };
    Ok(match word.as_str() {
        "check" => Command::Check(options),
        "batch" => Command::Batch(options, given.workers()?),
        "doctor" if given.take("--apparmor-profile").is_some() => Command::ApparmorProfile,
        "doctor" => Command::Doctor(options, given.take("--text").is_some()),
        "plan" => {
            let planning = Planning {
                text: given.take("--text").is_some(),
                facts: given.take("--facts").map(PathBuf::from),
                with_facts: given.take("--with-facts").map(PathBuf::from),
            };
            if planning.facts.is_some() && planning.with_facts.is_some() {
                return Err("--facts is for this host, --with-facts for another one".into());
            }
            Command::Plan(options, planning)
        }
        _ => Command::Run(options),
    })
}

fn schema(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let which = arguments.next().unwrap_or_default();
    match (which.as_bytes(), arguments.next()) {
        (b"job", None) => Ok(Command::Schema(JOB_SCHEMA)),
        (b"report", None) => Ok(Command::Schema(REPORT_SCHEMA)),
        (b"event", None) => Ok(Command::Schema(EVENT_SCHEMA)),
        (b"doctor", None) => Ok(Command::Schema(DOCTOR_SCHEMA)),
        _ => Err("stdbox schema takes one word: job, report, event or doctor".into()),
    }
}

/// Options as they were given, each once, with their values.
struct Given(Vec<(&'static str, OsString)>);

/// The options of a command, or the other command that one of them stands for.
fn given(
    word: &str,
    mut arguments: impl Iterator<Item = OsString>,
) -> Result<Result<Given, Command>, String> {
    let mut all = Given(Vec::new());
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let name = text.split('=').next().unwrap_or(&text);
        // Not out of the lossy text: a file name may hold any bytes.
        let inline = text.contains('=').then(|| {
            let value = argument.as_bytes().get(name.len() + 1..).unwrap_or(b"");
            OsStr::from_bytes(value).to_owned()
        });
        let command = match name {
            "--version" | "-V" => Some(Command::Version),
            "--help" | "-h" => Some(Command::Help),
            _ => None,
        };
        let flag = FLAGS.iter().find(|flag| flag.name == name);
        if command.is_none() && flag.is_none() {
            return Err(format!("there is no option {name:?}; see stdbox --help"));
        }
        let takes_none = flag.is_none_or(|flag| flag.value.is_none());
        if takes_none && inline.is_some() {
            return Err(format!("{name} takes no value"));
        }
        if let Some(command) = command {
            return Ok(Err(command));
        }
        let Some(flag) = flag else { continue };
        if !flag.of.contains(&word) {
            return Err(match flag.of {
                [one] => format!("{name} is for {one} only"),
                _ => format!("{name} is not for {word}"),
            });
        }
        let value = match inline {
            None if takes_none => OsString::new(),
            None => arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?,
            Some(value) => value,
        };
        if !takes_none && all.0.iter().any(|(other, _)| *other == flag.name) {
            return Err(format!("{name} comes twice"));
        }
        all.0.push((flag.name, value));
    }
    Ok(Ok(all))
}

impl Given {
    fn take(&mut self, name: &str) -> Option<OsString> {
        let at = self.0.iter().position(|(other, _)| *other == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// A file or a descriptor, but not both.
    fn place(&mut self, file: &str, descriptor: &str) -> Result<Place, String> {
        match (self.take(file), self.take(descriptor)) {
            (None, None) => Ok(Place::Standard),
            (Some(path), None) => Ok(Place::File(path.into())),
            (None, Some(number)) => {
                let number = number.to_str().and_then(|text| text.parse::<i32>().ok());
                let number = number.filter(|&number| number >= 0).map(Place::Fd);
                number.ok_or_else(|| format!("{descriptor} takes a descriptor number"))
            }
            (Some(_), Some(_)) => Err(format!("{file} and {descriptor} are for the same thing")),
        }
    }

    fn workers(&mut self) -> Result<Option<u16>, String> {
        let Some(value) = self.take("--workers") else {
            return Ok(None);
        };
        let number = value.to_str().and_then(|text| text.parse().ok());
        let number = number.filter(|number| (1..=MAX_WORKERS).contains(number));
        let wrong = || format!("--workers takes a number from 1 to {MAX_WORKERS}");
        number.ok_or_else(wrong).map(Some)
    }
}
