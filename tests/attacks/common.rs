//! What the attacks share.

use crate::support::{Run, probe, run};
use serde_json::{Value, json};

/// A job that runs the probe with these arguments.
pub fn probe_job(arguments: &[&str], fields: &Value) -> Value {
    let probe = probe();
    let argv: Vec<&str> = std::iter::once(probe.to_str().unwrap())
        .chain(arguments.iter().copied())
        .collect();
    with(json!({"argv": argv, "cwd": "/"}), fields)
}

/// A job with more fields.
pub fn with(mut job: Value, fields: &Value) -> Value {
    for (key, value) in fields.as_object().expect("fields are an object") {
        job[key] = value.clone();
    }
    job
}

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
