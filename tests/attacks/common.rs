//! What the attacks share.

use crate::support::{Run, run};
pub use crate::support::{probe_job, with};
use serde_json::Value;

/// What the probe printed.
#[track_caller]
pub fn answer(seen: &Run) -> Value {
    serde_json::from_str(seen.stdout()).unwrap_or_else(|_| panic!("no JSON from the probe\n{seen}"))
}

/// What the probe says in a job with these fields.
#[track_caller]
pub fn probed(arguments: &[&str], fields: &Value) -> Value {
    answer(run(&probe_job(arguments, fields)).exited(0))
}
