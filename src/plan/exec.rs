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
    let (candidates, lookup) =
        candidates(job, variables.get(b"PATH".as_slice()).map(Vec::as_slice));
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
fn environment(job: &Job, caller: &Caller, home: Option<&AbsPath>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let wanted = |name: &[u8]| {
        job.env
            .inherit
            .as_ref()
            .is_none_or(|names| names.iter().any(|wanted| wanted == name))
    };
    let mut variables = BTreeMap::new();
    for pair in &caller.environ {
        let Some(equals) = pair
            .iter()
            .skip(1)
            .position(|&b| b == b'=')
            .map(|at| at + 1)
        else {
            continue;
        };
        let (name, value) = (
            pair.get(..equals).unwrap_or(b""),
            pair.get(equals + 1..).unwrap_or(b""),
        );
        // The first of several definitions is the one that getenv(3) finds.
        if wanted(name) && !variables.contains_key(name) {
            variables.insert(name.to_vec(), value.to_vec());
        }
    }
    if let Some(home) = home.filter(|_| wanted(b"HOME")) {
        variables.insert(b"HOME".to_vec(), home.bytes().to_vec());
    }
    if job.system_config {
        for name in [b"USER".as_slice(), b"LOGNAME"] {
            if let Some(value) = variables.get_mut(name) {
                *value = job.user.name.clone().into_bytes();
            }
        }
    }
    for (name, value) in &job.env.set {
        variables.insert(name.clone(), value.clone());
    }
    for name in &job.env.unset {
        variables.remove(name);
    }
    variables
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
