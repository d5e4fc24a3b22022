//! What is executed: arguments, environment, and where the command is looked for. Ring 0.

use crate::host::Caller;
use crate::job::Job;
use crate::problem::{Code, Problem, Stage};
use crate::text::AbsPath;
use std::collections::BTreeMap;
use std::ffi::CString;

/// What execvp(3) of the C library assumes where there is no PATH.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// A command, ready for execve(2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecImage {
    /// Files to try, in order.
    pub candidates: Vec<CString>,
    /// Whether the candidates came from PATH.
    pub lookup: Lookup,
    /// Arguments.
    pub argv: Vec<CString>,
    /// Environment, as `NAME=value`.
    pub envp: Vec<CString>,
}

/// How the command was named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// By a path.
    Path,
    /// By a name, to be found in PATH.
    Name,
}

pub(super) fn no_cwd() -> Problem {
    let mut problem = Problem::new(
        Code::CwdMissing,
        Stage::Exec,
        "stdbox's own working directory has no path, and the job names none.",
    );
    problem.at = Some("/cwd".to_owned());
    problem.hint("Set \"cwd\".")
}

pub(super) fn image(job: &Job, caller: &Caller, home: Option<&AbsPath>) -> ExecImage {
    let variables = environment(job, caller, home);
    let path = variables.get(b"PATH".as_slice()).copied();
    let (candidates, lookup) = candidates(job, path);
    let envp = variables
        .iter()
        .filter_map(|(name, value)| CString::new([name, b"=".as_slice(), value].concat()).ok());
    ExecImage {
        candidates,
        lookup,
        argv: job.argv.clone(),
        envp: envp.collect(),
    }
}

/// Inherit, then set, then unset. HOME, USER and LOGNAME of the caller would name an account that the container does not
/// have, so where they are inherited they are replaced.
fn environment<'a>(
    job: &'a Job,
    caller: &'a Caller,
    home: Option<&'a AbsPath>,
) -> BTreeMap<&'a [u8], &'a [u8]> {
    let wanted = |name: &[u8]| {
        let names = job.env.inherit.as_ref();
        names.is_none_or(|names| names.iter().any(|wanted| wanted == name))
    };
    // Of two with one name, the later one counts; for the caller's own, the first is the one that getenv(3) finds.
    let mut pairs = Vec::with_capacity(caller.environ.len() + job.env.set.len() + 1);
    for pair in caller.environ.iter().rev() {
        let Some((name, value)) = split(pair) else {
            continue;
        };
        let value = match name {
            b"USER" | b"LOGNAME" if job.system_config => job.user.name.as_bytes(),
            _ => value,
        };
        if wanted(name) {
            pairs.push((name, value));
        }
    }
    if let Some(home) = home.filter(|_| wanted(b"HOME")) {
        pairs.push((b"HOME", home.bytes()));
    }
    let set = job.env.set.iter();
    pairs.extend(set.map(|(name, value)| (name.as_slice(), value.as_slice())));
    // Made of all at once, it is sorted once.
    let mut variables = BTreeMap::from_iter(pairs);
    for name in &job.env.unset {
        variables.remove(name.as_slice());
    }
    variables
}

/// The name and the value of a variable; the name is not empty, but may begin with the sign that ends others.
fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = 1 + pair.get(1..)?.iter().position(|&b| b == b'=')?;
    Some((pair.get(..equals)?, pair.get(equals + 1..)?))
}

fn candidates(job: &Job, path: Option<&[u8]>) -> (Vec<CString>, Lookup) {
    if let Some(file) = &job.executable {
        return (vec![file.clone()], Lookup::Path);
    }
    let name = job
        .argv
        .first()
        .map_or(b"".as_slice(), |arg| arg.to_bytes());
    if name.contains(&b'/') {
        return (CString::new(name).into_iter().collect(), Lookup::Path);
    }
    let places = path.unwrap_or(DEFAULT_PATH).split(|&b| b == b':');
    let file = |place: &[u8]| {
        // An empty element is the working directory.
        let place = if place.is_empty() {
            b".".as_slice()
        } else {
            place
        };
        CString::new([place, b"/", name].concat()).ok()
    };
    (places.filter_map(file).collect(), Lookup::Name)
}
