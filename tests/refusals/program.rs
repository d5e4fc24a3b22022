//! The binary says what the library says, for one row of each kind, and starts nothing.
#![allow(unsafe_code, reason = "a filter is attached between fork and exec")]

use crate::support::{Run, run_with};
use crate::table::Row;
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use stdbox::job::{Channels, Job};

/// A filter that ends whoever makes another process.
fn no_processes() -> BpfProgram {
    let calls = [libc::SYS_clone, libc::SYS_clone3];
    let calls = calls.map(|call| (call, Vec::new())).into_iter().collect();
    let filter = SeccompFilter::new(
        calls,
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        std::env::consts::ARCH.try_into().unwrap(),
    );
    filter.unwrap().try_into().unwrap()
}

fn alone(job: &str, command: &str) -> Run {
    let filter = no_processes();
    run_with(job.as_bytes(), &[command], |command| {
        // SAFETY: what is attached was made before the fork.
        unsafe {
            command
                .pre_exec(move || seccompiler::apply_filter(&filter).map_err(std::io::Error::other))
        };
    })
}

#[test]
fn wrong_job_of_each_kind_is_reported_with_status_2_and_starts_nothing() {
    let mut kinds: BTreeMap<(&str, &str), &Row> = BTreeMap::new();
    for row in &crate::table().rows {
        kinds.entry((&row.fault, row.code.as_str())).or_insert(row);
    }
    assert!(kinds.len() > 40, "{}", kinds.len());
    let channels = Channels::STANDARD;
    for row in kinds.values() {
        let named = row.job.replacen('{', "{\"id\":\"an id\",", 1);
        let named = if row.site == "/id" { &row.job } else { &named };
        let problem = Job::from_slice(named.as_bytes(), channels).unwrap_err();
        for command in ["run", "check"] {
            let seen = alone(named, command);
            let shown = format!("{command} {}\n{seen}", crate::short(named));
            assert_eq!(
                seen.report["error"],
                serde_json::to_value(&problem).unwrap(),
                "{shown}"
            );
            assert_eq!(
                (
                    &seen.report["outcome"],
                    seen.status,
                    seen.complaint.as_str()
                ),
                (&json!("invalid-job"), Some(2), ""),
                "{shown}"
            );
            let id = if row.site == "/id" {
                Value::Null
            } else {
                json!("an id")
            };
            assert_eq!(seen.report["id"], id, "{shown}");
            for field in ["exit_code", "signal", "stdout", "stderr", "results"] {
                assert_eq!(seen.report[field], Value::Null, "{field}: {shown}");
            }
        }
    }
}

/// The filter of the test above does end whoever starts something.
#[test]
fn right_job_starts_a_process() {
    let seen = alone(r#"{"argv":["/bin/true"],"cwd":"/"}"#, "run");
    assert_eq!(seen.status, None, "{seen}");
    let seen = alone(r#"{"argv":["/bin/true"],"cwd":"/"}"#, "check");
    assert_eq!(
        (&seen.report["outcome"], seen.status),
        (&json!("valid"), Some(0)),
        "{seen}"
    );
}
