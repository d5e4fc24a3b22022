//! How the processor time of a job is held to its limit. Ring 0.

use super::{Leaf, NoPlan};
use crate::budget;
use crate::host::{HostFacts, Question};
use crate::job::Job;
use crate::problem::Notice;

/// What is needed for looking at the processor time of all processes in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meter {
    /// The most that they may use together.
    pub limit_ns: u64,
    /// How many processors can work for them at once.
    pub cpus: u64,
}

/// The meter, unless the leaf has it, and RLIMIT_CPU of the target, soft and hard, in seconds.
pub(super) type Held = (Option<Meter>, Option<[u64; 2]>);

pub(super) fn meter(
    job: &Job,
    facts: &HostFacts,
    leaf: Option<&mut Leaf>,
    warnings: &mut Vec<Notice>,
) -> Result<Held, NoPlan> {
    let Some(ms) = job.limits.cpu_time_ms else {
        return Ok((None, None));
    };
    let Some(found) = facts.cpus else {
        return Err(NoPlan::Ask(vec![Question::Cpus]));
    };
    let limit_ns = ms.saturating_mul(1_000_000);
    let meter = Meter {
        limit_ns,
        cpus: found.count,
    };
    // What the caller may not use itself stays out of reach.
    let backstop = found
        .limit_s
        .map(|limit| limit.min(budget::backstop_s(limit_ns)));
    if let Some(leaf) = leaf {
        leaf.meter = Some(meter);
        return Ok((None, Some(backstop)));
    }
    let message = "Processor time is added up by looking at the processes from time to time: what lives only between two looks, and is waited for by nobody, is not counted in full. A control group would count it.";
    warnings.push(Notice::new("cpu-time-sampled", None, message));
    Ok((Some(meter), Some(backstop)))
}
