//! What it costs to look at the processes of a job.

use crate::common::{measured, probe_job};
use serde_json::json;

/// An idle job is looked at ten times a second, and that takes next to nothing.
#[test]
fn sampling_of_an_idle_job_costs_little() {
    let job = |limits: serde_json::Value| probe_job(&["sleep", "2000"], &json!({"limits": limits}));
    let used = |limits: serde_json::Value| {
        (0..3)
            .map(|_| {
                let (seen, used_ns) = measured(&job(limits.clone()));
                seen.exited(0);
                used_ns
            })
            .min()
            .unwrap()
    };
    let (without, with) = (used(json!({})), used(json!({"cpu_time_ms": 1000})));
    assert!(with < without + 10_000_000, "{with} and {without}");
}
