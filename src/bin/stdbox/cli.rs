//! The command line. Ring 1.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What is shown for `--help`.
pub(crate) const HELP: &str = "\
stdbox - run a command safely: one JSON job on stdin, one JSON report on stdout

usage: stdbox [run] [OPTIONS]            run the job
       stdbox check [OPTIONS]            check the job, run nothing
       stdbox schema job|report|event    print the JSON Schema
       stdbox --version | --help

options:
  --spec FILE      read the job from FILE instead of stdin
  --spec-fd N      read the job from descriptor N
  --report FILE    write the report to FILE instead of stdout
  --report-fd N    write the report to descriptor N
  --propagate      exit with the target's exit code, or 128 + its signal

exit status without --propagate:
  0  the target ran, or the job is valid     1  the container could not be set up
  2  the job or the command line is wrong    3  the report could not be written
";

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
    Schema(&'static str),
    Version,
    Help,
}

/// Options of `run` and `check`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    pub(crate) spec: Place,
    pub(crate) report: Place,
    pub(crate) propagate: bool,
}

const JOB_SCHEMA: &str = include_str!("../../../schema/job.json");
const REPORT_SCHEMA: &str = include_str!("../../../schema/report.json");
const EVENT_SCHEMA: &str = include_str!("../../../schema/event.json");

/// Reads the arguments after the program's name; the error is a sentence for stderr.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.peekable();
    let mut word = String::from("run");
    if let Some(first) = arguments.next_if(|argument| !argument.as_bytes().starts_with(b"-")) {
        word = first.to_string_lossy().into_owned();
    }
    let options = match word.as_str() {
        "run" | "check" => options(&mut arguments)?,
        "schema" => return schema(arguments),
        "plan" | "doctor" | "batch" => {
            return Err(format!("{word:?} is not in this version of stdbox yet"));
        }
        other => return Err(format!("there is no command {other:?}; see stdbox --help")),
    };
    Ok(match options {
        Ok(options) if word == "run" => Command::Run(options),
        Ok(options) => Command::Check(options),
        Err(command) => command,
    })
}

fn schema(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let which = arguments.next().unwrap_or_default();
    match (which.as_bytes(), arguments.next()) {
        (b"job", None) => Ok(Command::Schema(JOB_SCHEMA)),
        (b"report", None) => Ok(Command::Schema(REPORT_SCHEMA)),
        (b"event", None) => Ok(Command::Schema(EVENT_SCHEMA)),
        _ => Err("stdbox schema takes one word: job, report or event".into()),
    }
}

/// The options, or the command that one of them stands for.
fn options(
    arguments: &mut impl Iterator<Item = OsString>,
) -> Result<Result<Options, Command>, String> {
    let (mut spec, mut report, mut propagate) = (None, None, false);
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let (name, inline) = match text.split_once('=') {
            // Not out of the lossy text: a file name may hold any bytes.
            Some((name, _)) => {
                let value = argument.as_bytes().get(name.len() + 1..).unwrap_or(b"");
                (
                    name.to_owned(),
                    Some(OsString::from(std::ffi::OsStr::from_bytes(value))),
                )
            }
            None => (text, None),
        };
        let flag = matches!(
            name.as_str(),
            "--propagate" | "--version" | "--help" | "-h" | "-V"
        );
        if flag && inline.is_some() {
            return Err(format!("{name} takes no value"));
        }
        match name.as_str() {
            "--propagate" => propagate = true,
            "--version" | "-V" => return Ok(Err(Command::Version)),
            "--help" | "-h" => return Ok(Err(Command::Help)),
            "--spec" | "--spec-fd" | "--report" | "--report-fd" => {
                let value = inline
                    .or_else(|| arguments.next())
                    .ok_or_else(|| format!("{name} needs a value"))?;
                let place = if name.ends_with("-fd") {
                    descriptor(&name, &value)?
                } else {
                    Place::File(value.into())
                };
                let target = if name.starts_with("--spec") {
                    &mut spec
                } else {
                    &mut report
                };
                if target.replace(place).is_some() {
                    return Err(format!(
                        "{name} comes after another place for the same thing"
                    ));
                }
            }
            _ => return Err(format!("there is no option {name:?}; see stdbox --help")),
        }
    }
    let standard = |place: Option<Place>| place.unwrap_or(Place::Standard);
    Ok(Ok(Options {
        spec: standard(spec),
        report: standard(report),
        propagate,
    }))
}

fn descriptor(name: &str, value: &OsString) -> Result<Place, String> {
    let number = value
        .to_str()
        .and_then(|text| text.parse::<i32>().ok())
        .filter(|&number| number >= 0);
    number
        .map(Place::Fd)
        .ok_or_else(|| format!("{name} takes a descriptor number"))
}
