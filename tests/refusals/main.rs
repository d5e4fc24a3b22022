//! Bad input: each field of the job with each fault that it can have is refused with its code and JSON pointer, before
//! anything is run. The schema says which fields and faults there are, so none can be forgotten.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

mod mounts;
mod program;
mod rows;
mod seccomp;
mod sites;
#[path = "../support/mod.rs"]
mod support;
mod table;

use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::OnceLock;
use stdbox::job::{Channels, Job};
use stdbox::problem::{Problem, Stage};
use table::{Row, Schema, Table};

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Table::default();
        rows::rows(&mut table);
        table
    })
}

fn schema() -> Value {
    let text = std::fs::read(support::source().join("schema/job.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn read(job: &str) -> Result<Job, Problem> {
    Job::from_slice(job.as_bytes(), Channels::default())
}

/// The start of a job, for messages.
fn short(text: &str) -> String {
    text.chars().take(160).collect()
}

fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn wrong_value_is_refused_with_its_code_at_its_field() {
    let check = |row: &Row| {
        let problem = match read(&row.job) {
            Ok(_) => return Some("accepted".to_owned()),
            Err(problem) => problem,
        };
        if (problem.code, problem.at.as_deref()) != (row.code, Some(row.at.as_str())) {
            return Some(format!("{:?} at {:?}", problem.code, problem.at));
        }
        let sentence = problem.message.len() > 10 && problem.message.ends_with('.');
        (problem.stage != Stage::Validate || !sentence)
            .then(|| format!("{:?} {:?}", problem.stage, problem.message))
    };
    let wrong = table().rows.iter().filter_map(|row| {
        let why = check(row)?;
        let (site, fault, job) = (&row.site, &row.fault, short(&row.job));
        Some(format!(
            "{site} {fault}: {job}: {why}, not {:?} at {:?}",
            row.code, row.at
        ))
    });
    none(wrong.collect());
}

#[test]
fn wrong_value_is_refused_by_the_schema_where_a_schema_can_say_it() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let wrong = table().rows.iter().filter_map(|row| {
        let job: Value = serde_json::from_str(&row.job).unwrap();
        let as_it_says = validator.is_valid(&job) == (row.schema == Schema::Cannot)
            // Whether 1.0 is in the range is all that it looks at.
            || row.fault == "exponent";
        (!as_it_says).then(|| {
            format!(
                "{} {}: {}: not {:?}",
                row.site,
                row.fault,
                short(&row.job),
                row.schema
            )
        })
    });
    none(wrong.collect());
}

/// The same job with another value at the place is right, so it is the value that is refused.
#[test]
fn right_value_in_the_same_place_is_accepted() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let wrong = table().right.iter().filter_map(|(site, job)| {
        let why = match read(job) {
            Err(problem) => format!("{problem:?}"),
            Ok(_) if !validator.is_valid(&serde_json::from_str(job).unwrap()) => {
                "the schema refuses it".into()
            }
            Ok(_) => return None,
        };
        Some(format!("{site}: {}: {why}", short(job)))
    });
    none(wrong.collect());
}

#[test]
fn every_field_has_every_fault_that_it_can_have() {
    let sites = sites::sites(&schema());
    let rows = &table().rows;
    let mut missing = Vec::new();
    for (site, faults) in &sites.0 {
        let own: BTreeSet<&str> = rows
            .iter()
            .filter(|row| row.site == *site)
            .map(|row| row.fault.as_str())
            .collect();
        for fault in faults {
            // A description speaks of the field with all that is in it.
            let there = match fault.strip_prefix("code ") {
                Some(code) => rows
                    .iter()
                    .any(|row| row.site.starts_with(site) && row.code.as_str() == code),
                None => own.contains(fault.as_str()),
            };
            if !there {
                missing.push(format!("{site}: {fault}"));
            }
        }
        if faults.is_empty() && own.is_empty() {
            missing.push(format!("{site}: nothing"));
        }
    }
    for site in rows.iter().map(|row| &row.site) {
        // Forms of an object have no faults that are all theirs.
        if !sites.0.contains_key(site) {
            missing.push(format!("{site} is in no schema"));
        }
    }
    none(missing);
}

#[test]
fn every_field_has_a_right_value_somewhere() {
    let sites = sites::sites(&schema());
    let missing = sites.0.keys().filter(|site| {
        let below = |(other, _): &(String, String)| other.starts_with(site.as_str());
        let covered = site.strip_suffix("/base64").unwrap_or(site);
        !table().right.iter().any(below) && !table().right.iter().any(|(other, _)| other == covered)
    });
    none(missing.cloned().collect());
}
