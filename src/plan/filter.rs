//! Which system call filter the target gets. Ring 0.

use super::NoPlan;
use crate::host::{HostFacts, Question};
use crate::job::{Job, Seccomp};
use crate::policy::{Instruction, MAX_INSTRUCTIONS, Machine, Policy, compile};
use crate::problem::{Code, Notice, Problem, Stage};
use crate::profile::{Flags, Setting, oci, version};
use std::borrow::Cow;

/// The programs of the built-in filters, made by `build.rs`.
mod built {
    use crate::policy::Instruction;

    include!(concat!(env!("OUT_DIR"), "/filters.rs"));
}

/// A filter, ready for seccomp(2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// The program.
    pub program: Cow<'static, [Instruction]>,
    /// Flags.
    pub flags: Flags,
}

/// Whether the filter depends on the kernel's version.
pub(super) fn needs_kernel(job: &Job) -> bool {
    matches!(&job.seccomp, Seccomp::Own { profile, .. } if profile.needs_kernel())
}

pub(super) fn filter(
    job: &Job,
    facts: &HostFacts,
    warnings: &mut Vec<Notice>,
) -> Result<Option<Filter>, NoPlan> {
    let (profile, asked) = match &job.seccomp {
        Seccomp::Off => return Ok(None),
        Seccomp::Default if job.init => return Ok(built_in(&built::DEFAULT_BELOW_INIT)),
        Seccomp::Default => return Ok(built_in(&built::DEFAULT)),
        Seccomp::Strict if job.init => return Ok(built_in(&built::STRICT_BELOW_INIT)),
        Seccomp::Strict => return Ok(built_in(&built::STRICT)),
        Seccomp::Own { profile, asked } => (profile, asked),
    };
    if profile.needs_kernel() && facts.kernel.is_none() {
        return Err(NoPlan::Ask(vec![Question::Kernel]));
    }
    let (_, _, machine) = oci::machine();
    let capabilities: Vec<String> = job.capabilities.names().map(str::to_owned).collect();
    let policy = profile.policy(&Setting {
        machine,
        kernel: facts.kernel.as_deref().and_then(version),
        capabilities: &capabilities,
        init: job.init,
    });
    let (program, unknown) = program(&policy)?;
    // A profile of an engine names the calls of all machines.
    if job.strict && asked.oci.is_none() && !unknown.is_empty() {
        return Err(refused(no_effect(&unknown))
            .hint("Correct the names, or take them out; without \"strict\" it is a warning.")
            .into());
    }
    if !unknown.is_empty() {
        let message = no_effect(&unknown);
        warnings.push(Notice::new("unknown-system-calls", None, message));
    }
    Ok(Some(Filter {
        program: program.into(),
        flags: profile.flags,
    }))
}

fn built_in(program: &'static [Instruction]) -> Option<Filter> {
    Some(Filter {
        program: program.into(),
        flags: Flags::default(),
    })
}

fn refused(message: String) -> Problem {
    let mut problem = Problem::new(Code::SeccompRefused, Stage::Seccomp, message);
    problem.at = Some("/seccomp".to_owned());
    problem
}

/// The program, and the names of calls that are none.
fn program(policy: &Policy) -> Result<(Vec<Instruction>, Vec<String>), Problem> {
    let compiled = compile(policy, Machine::NATIVE);
    if !compiled.starts {
        let message = "The filter denies execve, or does so for some arguments, and no command can be started without it.";
        return Err(refused(message.to_owned()).hint(
            "Let execve through without conditions; the filter is in force from the command's own start on.",
        ));
    }
    let length = compiled.program.len();
    if length > MAX_INSTRUCTIONS {
        let message = format!(
            "The filter becomes a program of {length} instructions, and the kernel takes at most {MAX_INSTRUCTIONS}."
        );
        return Err(refused(message).hint("Give fewer rules with conditions."));
    }
    Ok((compiled.program, compiled.unknown))
}

fn no_effect(names: &[String]) -> String {
    const SHOWN: usize = 100;
    let rest = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let list: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    format!(
        "No system calls of these names are known, so that their rules have no effect: {}{rest}.",
        list.join(", ")
    )
}
