//! `stdbox plan`: the plan that `run` would carry out, made in the same way and shown. Nothing is left behind. Ring 1.

use crate::cli::Planning;
use crate::run::{self, Record};
use crate::{channel, facts, scratch};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use stdbox::host::HostFacts;
use stdbox::job::{Channels, Job, Scratch};
use stdbox::json;
use stdbox::outcome::{Outcome, Verdict};
use stdbox::plan::{NoPlan, Plan, plan};
use stdbox::problem::{Code, Problem, Stage};

/// Plans the job that the bytes hold.
pub(crate) fn show(
    planning: &Planning,
    bytes: &[u8],
    channels: Channels,
    record: &mut Record,
) -> Result<Outcome, Problem> {
    let job = run::read(bytes, channels, record)?;
    let plan = match &planning.with_facts {
        Some(file) => replayed(&job, &read_facts(file)?)?,
        None => {
            let mut facts = here(&job)?;
            let plan = run::decide(&job, &mut facts, &mut record.timing);
            // What was looked up is of most use where there is no plan.
            if let Some(file) = &planning.facts {
                write_facts(file, &facts).map_err(refused(file))?;
            }
            plan?
        }
    };
    run::strict_enough(&job, &plan)?;
    let (warnings, degraded) = (plan.warnings.clone(), plan.degraded.clone());
    Ok(Outcome {
        warnings,
        degraded,
        ..Outcome::before(Verdict::Planned(Box::new(plan)))
    })
}

/// What is known before the planner asks: the same as for `run`, but that no scratch directory is made.
fn here(job: &Job) -> Result<HostFacts, Problem> {
    let disk = match &job.scratch {
        Scratch::Disk(place) => Some(scratch::imagined(place)?),
        Scratch::Tmpfs { .. } => None,
    };
    Ok(HostFacts {
        caller: facts::caller(),
        disk_scratch: disk,
        ..HostFacts::default()
    })
}

/// The plan for the host that the facts are about, which cannot be asked anything more.
fn replayed(job: &Job, facts: &HostFacts) -> Result<Plan, Problem> {
    plan(job, facts).map_err(|none| match none {
        NoPlan::Refused(problem) => problem,
        NoPlan::Ask(questions) => {
            let what = questions
                .first()
                .map_or(String::new(), |question| question.to_string());
            let message = format!("The facts do not say {what}.");
            Problem::new(Code::FactsMissing, Stage::Host, message)
                .hint("Write them anew, for this job, with stdbox plan --facts FILE on that host.")
        }
    })
}

fn refused(file: &Path) -> impl Fn(io::Error) -> Problem {
    move |error| {
        let message = format!("The file with the facts cannot be used: {error}.");
        Problem::new(Code::FactsRefused, Stage::Host, message).path(file.as_os_str().as_bytes())
    }
}

fn read_facts(file: &Path) -> Result<HostFacts, Problem> {
    let bytes = File::open(file)
        .and_then(|source| channel::read_to_end(source, json::MAX_BYTES + 1))
        .map_err(refused(file))?;
    HostFacts::from_bytes(&bytes).map_err(|problem| {
        let at = problem.at.as_deref().unwrap_or("");
        let message = match at {
            "" => format!("These are no facts: {}", problem.message),
            at => format!("These are no facts, at {at}: {}", problem.message),
        };
        Problem::new(Code::FactsRefused, Stage::Host, message).path(file.as_os_str().as_bytes())
    })
}

/// For the caller's eyes only: the environment is among them.
fn write_facts(file: &Path, facts: &HostFacts) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut opened = options.open(file)?;
    // One that was there has the bits that it had, and may be another user's.
    if opened.metadata()?.is_file() {
        opened.set_permissions(Permissions::from_mode(0o600))?;
    }
    opened.write_all(&facts.to_bytes())
}
