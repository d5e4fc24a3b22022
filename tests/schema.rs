//! `schema/` says what the program does: schema and parser know the same fields, the same words and the same codes, and what
//! the one writes the other accepts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

#[path = "cases/host.rs"]
mod host;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};
use stdbox::doctor::{Examination, Finding, Host, PROBES, State};
use stdbox::job::{Channels, Job};
use stdbox::outcome::{Captured, Limit, Outcome, Target, Verdict};
use stdbox::problem::{Code, Notice, Problem, Stage};
use stdbox::report::{Report, Timing};
use stdbox::results::{Change, Delivered, Kind, Reason, Results, Skipped, Verb};
use stdbox::spec::Mode;
use stdbox::text::{AbsPath, Text};
use stdbox::wire::Rusage;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schema"))
}

fn schema(name: &str) -> Value {
    serde_json::from_slice(&fs::read(folder().join(name)).unwrap()).unwrap()
}

fn validator(name: &str) -> Validator {
    jsonschema::draft202012::new(&schema(name)).unwrap()
}

fn complaints(validator: &Validator, value: &Value) -> Vec<String> {
    validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn examples() -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| (path.display().to_string(), fs::read(&path).unwrap());
    let all: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(read)
        .collect();
    assert!(all.len() > 10, "the examples are gone");
    all
}

/// Calls `see` with every schema in a schema, and its JSON pointer.
fn walk(value: &Value, at: &str, see: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(map) => {
            see(at, value);
            for (key, inner) in map.iter().filter(|(key, _)| *key != "default") {
                walk(inner, &format!("{at}/{key}"), see);
            }
        }
        Value::Array(list) => {
            for (i, inner) in list.iter().enumerate() {
                walk(inner, &format!("{at}/{i}"), see);
            }
        }
        _ => {}
    }
}

#[test]
fn schemas_are_valid_2020_12_and_refer_to_what_is_there() {
    for name in ["job.json", "report.json", "event.json", "doctor.json"] {
        let schema = schema(name);
        assert!(jsonschema::draft202012::meta::is_valid(&schema), "{name}");
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        let mut used = BTreeSet::new();
        walk(&schema, "", &mut |at, part| {
            if let Some(to) = part["$ref"].as_str() {
                assert!(
                    schema.pointer(to.trim_start_matches('#')).is_some(),
                    "{name}{at}: {to}"
                );
                used.insert(to.trim_start_matches("#/$defs/").to_owned());
            }
        });
        let unused: Vec<_> = schema["$defs"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| !used.contains(*key))
            .collect();
        assert!(unused.is_empty(), "{name}: nobody refers to {unused:?}");
    }
}

#[test]
fn every_property_has_a_description_and_every_object_is_closed() {
    for name in ["job.json", "report.json", "event.json", "doctor.json"] {
        let schema = schema(name);
        walk(&schema, "", &mut |at, part| {
            let Some(properties) = part["properties"].as_object() else {
                return;
            };
            // Conditions only repeat properties.
            if at.contains("/allOf/") || at.contains("/syscalls/items/oneOf/") {
                return;
            }
            for (key, property) in properties {
                let words = property["description"].as_str().unwrap_or("");
                assert!(
                    words.len() >= 10,
                    "{name}{at}/properties/{key}: no description"
                );
            }
            let closed = part["additionalProperties"] == json!(false);
            assert!(
                closed || at == "/properties/job",
                "{name}{at}: an unknown field would pass"
            );
            for key in part["required"].as_array().into_iter().flatten() {
                assert!(
                    properties.contains_key(key.as_str().unwrap()),
                    "{name}{at}: {key} is required and unknown"
                );
            }
        });
    }
}

#[test]
fn every_default_is_accepted_by_its_own_schema() {
    let schema = schema("job.json");
    walk(&schema, "", &mut |at, part| {
        if let Some(default) = part.get("default").filter(|_| !at.ends_with("/properties")) {
            let mut own = part.clone();
            own["$defs"] = schema["$defs"].clone();
            let validator = jsonschema::draft202012::new(&own).unwrap();
            assert!(
                complaints(&validator, default).is_empty(),
                "{at}: {default}"
            );
        }
    });
}

#[test]
fn every_example_is_accepted_by_schema_and_parser() {
    let validator = validator("job.json");
    for (name, bytes) in examples() {
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            complaints(&validator, &value),
            Vec::<String>::new(),
            "{name}"
        );
        if let Err(problem) = Job::from_slice(&bytes, Channels::STANDARD) {
            panic!("{name}: {problem:?}");
        }
    }
}

/// Where an object of the job's schema can stand in a job: pointers to the schema, and a job with `@` for the object. Several
/// pointers are variants that the parser reads as one object.
const OBJECTS: [(&[&str], &str); 24] = [
    (&[""], "@"),
    (&["/properties/env"], r#"{"env":@}"#),
    (
        &[
            "/properties/stdin/anyOf/1",
            "/properties/stdin/anyOf/2",
            "/properties/stdin/anyOf/3",
            "/properties/stdin/anyOf/4",
        ],
        r#"{"stdin":@}"#,
    ),
    (
        &[
            "/$defs/capture",
            "/$defs/output_file",
            "/$defs/output_descriptor",
        ],
        r#"{"stdout":@}"#,
    ),
    (
        &[
            "/$defs/capture",
            "/$defs/output_file",
            "/$defs/output_descriptor",
        ],
        r#"{"stderr":@}"#,
    ),
    (
        &["/$defs/capture/properties/capture"],
        r#"{"stdout":{"capture":@}}"#,
    ),
    (
        &["/properties/directories/anyOf/1/items"],
        r#"{"directories":[@]}"#,
    ),
    (
        &["/properties/scratch/oneOf/0", "/properties/scratch/oneOf/1"],
        r#"{"scratch":@}"#,
    ),
    (&["/properties/user"], r#"{"user":@}"#),
    (&["/properties/limits"], r#"{"limits":@}"#),
    (&["/properties/cgroup/anyOf/1"], r#"{"cgroup":@}"#),
    (
        &["/properties/seccomp/anyOf/1", "/properties/seccomp/anyOf/2"],
        r#"{"seccomp":@}"#,
    ),
    (
        &["/$defs/seccomp_action/anyOf/1"],
        r#"{"seccomp":{"default_action":@}}"#,
    ),
    (
        &["/properties/seccomp/anyOf/2/properties/rules/items"],
        r#"{"seccomp":{"rules":[@]}}"#,
    ),
    (
        &["/properties/seccomp/anyOf/2/properties/rules/items/properties/args/items"],
        r#"{"seccomp":{"rules":[{"args":[@]}]}}"#,
    ),
    (&["/$defs/oci_seccomp"], r#"{"seccomp":{"oci":@}}"#),
    (
        &["/$defs/oci_seccomp/properties/archMap/items"],
        r#"{"seccomp":{"oci":{"archMap":[@]}}}"#,
    ),
    (
        &["/$defs/oci_seccomp/properties/syscalls/items"],
        r#"{"seccomp":{"oci":{"syscalls":[@]}}}"#,
    ),
    (
        &["/$defs/oci_seccomp/properties/syscalls/items/properties/args/items"],
        r#"{"seccomp":{"oci":{"syscalls":[{"args":[@]}]}}}"#,
    ),
    (
        &["/$defs/oci_condition"],
        r#"{"seccomp":{"oci":{"syscalls":[{"includes":@}]}}}"#,
    ),
    (&["/properties/results"], r#"{"results":@}"#),
    (&["/properties/sync"], r#"{"sync":@}"#),
    (
        &[
            "/$defs/mount/oneOf/0",
            "/$defs/mount/oneOf/1",
            "/$defs/mount/oneOf/2",
            "/$defs/mount/oneOf/3",
            "/$defs/mount/oneOf/4",
            "/$defs/mount/oneOf/5",
        ],
        r#"{"mounts":[@]}"#,
    ),
    (
        &[
            "/$defs/path/anyOf/1",
            "/$defs/absolute_path/anyOf/1",
            "/$defs/argument/anyOf/1",
            "/$defs/command/anyOf/1",
            "/$defs/variable/anyOf/1",
        ],
        r#"{"cwd":@}"#,
    ),
];

#[test]
fn every_object_of_the_schema_has_the_parsers_fields() {
    let schema = schema("job.json");
    for (pointers, job) in OBJECTS {
        let mut fields = BTreeSet::new();
        for pointer in pointers {
            let object = schema
                .pointer(pointer)
                .unwrap_or_else(|| panic!("{pointer} is gone"));
            fields.extend(object["properties"].as_object().unwrap().keys().cloned());
        }
        // The parser names what it knows when it meets what it does not know.
        let text = job.replace('@', r#"{"qqqqqqqqqqqqqqqqqqqqqqqq":1}"#);
        let problem = Job::from_slice(text.as_bytes(), Channels::default()).unwrap_err();
        assert_eq!(problem.code, Code::UnknownField, "{text}: {problem:?}");
        let hint = problem.hint.as_deref().unwrap_or_default();
        let known: BTreeSet<String> = hint
            .split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        assert_eq!(known, fields, "{text}");
    }
}

#[test]
fn every_object_of_the_schema_is_compared_with_the_parser() {
    let compared: BTreeSet<&str> = OBJECTS
        .iter()
        .flat_map(|(pointers, _)| *pointers)
        .copied()
        .collect();
    walk(&schema("job.json"), "", &mut |at, part| {
        let condition = at.contains("/syscalls/items/oneOf/");
        if part["properties"].is_object() && !condition && !at.ends_with("/properties") {
            assert!(
                compared.contains(at),
                "{at} is missing in the table of this file"
            );
        }
    });
}

/// The words of an enumeration, and a job with `@` for the word.
const WORDS: [(&str, &str); 16] = [
    ("/properties/stdin/anyOf/0", r#"{"stdin":@}"#),
    ("/properties/stdout/anyOf/0", r#"{"stdout":@}"#),
    ("/properties/stderr/anyOf/0", r#"{"stderr":@}"#),
    ("/properties/dev", r#"{"dev":@}"#),
    ("/properties/proc", r#"{"proc":@}"#),
    ("/properties/sys", r#"{"sys":@}"#),
    ("/properties/lxcfs", r#"{"lxcfs":@}"#),
    ("/properties/network", r#"{"network":@}"#),
    ("/properties/cgroup/anyOf/0", r#"{"cgroup":@}"#),
    ("/properties/seccomp/anyOf/0", r#"{"seccomp":@}"#),
    (
        "/$defs/seccomp_action/anyOf/0",
        r#"{"seccomp":{"default_action":@}}"#,
    ),
    (
        "/properties/seccomp/anyOf/2/properties/rules/items/properties/args/items/properties/op",
        r#"{"seccomp":{"rules":[{"args":[{"op":@}]}]}}"#,
    ),
    (
        "/$defs/oci_action",
        r#"{"seccomp":{"oci":{"defaultAction":@}}}"#,
    ),
    (
        "/$defs/oci_seccomp/properties/flags/items",
        r#"{"seccomp":{"oci":{"flags":[@]}}}"#,
    ),
    (
        "/$defs/oci_seccomp/properties/syscalls/items/properties/args/items/properties/op",
        r#"{"seccomp":{"oci":{"syscalls":[{"args":[{"op":@}]}]}}}"#,
    ),
    ("/$defs/mode", r#"{"directories":{"/":@}}"#),
];

#[test]
fn every_enumeration_of_the_schema_has_the_parsers_words() {
    let schema = schema("job.json");
    for (pointer, job) in WORDS {
        let words = schema.pointer(pointer).unwrap()["enum"].as_array().unwrap();
        let words: BTreeSet<&str> = words.iter().map(|word| word.as_str().unwrap()).collect();
        let text = job.replace('@', r#""qqqqqqqqqqqqqqqqqqqqqqqq""#);
        let problem = Job::from_slice(text.as_bytes(), Channels::default()).unwrap_err();
        assert_eq!(problem.code, Code::UnknownValue, "{text}: {problem:?}");
        let known: BTreeSet<&str> = problem.message.split('"').skip(3).step_by(2).collect();
        assert_eq!(known, words, "{text}: {}", problem.message);
    }
}

fn consts(schema: &Value, pointer: &str) -> Vec<String> {
    let list = schema
        .pointer(pointer)
        .and_then(|part| part["oneOf"].as_array())
        .unwrap();
    list.iter()
        .filter_map(|one| one["const"].as_str())
        .map(str::to_owned)
        .collect()
}

#[test]
fn codes_and_stages_of_the_report_are_those_of_the_program() {
    let schema = schema("report.json");
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(consts(&schema, "/$defs/error_code"), codes);
    let stages: Vec<&str> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
    let mut found = None;
    walk(&schema, "", &mut |_, part| {
        if let Some(stage) = part.pointer("/properties/stage") {
            found = Some(stage.clone());
        }
    });
    let found = found.expect("an error has a stage");
    let named: Vec<String> = match found["enum"].as_array() {
        Some(words) => words
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect(),
        None => consts(&found, ""),
    };
    assert_eq!(named, stages);
}

/// Jobs that use every field of the normal form.
fn full_jobs() -> Vec<Value> {
    let all = json!({
        "version": 1,
        "id": "a job",
        "argv": ["a", { "base64": "/w==" }, ""],
        "executable": { "base64": "L/8=" },
        "cwd": "//a/./b/",
        "env": { "inherit": ["A", { "base64": "/w==" }], "set": { "B": { "base64": "/w==" }, "C": "" }, "unset": ["D"] },
        "stdin": { "base64": "AP8=" },
        "stdout": { "file": "out", "append": true },
        "stderr": "stdout",
        "directories": [
            { "path": "/", "mode": "hidden" },
            { "path": "/a/", "mode": "read-only" },
            { "path": { "base64": "L2Ev/w==" }, "mode": "overlay" },
            { "path": "/a/c", "mode": "full-access" }
        ],
        "root": "/img",
        "scratch": { "size_bytes": 4096, "inodes": 64, "numa_nodes": [0, 1023] },
        "dev": "host",
        "proc": "nestable",
        "lxcfs": "off",
        "system_config": false,
        "user": { "uid": 0, "gid": 4294967294u64, "name": "_x", "group": "g-1", "home": "/h/" },
        "hostname": "a.b-c",
        "network": "host",
        "limits": {
            "wall_time_ms": 1, "cpu_time_ms": 1, "open_files": 3, "file_size_bytes": 0, "stack_bytes": 1, "address_space_bytes": 1,
            "core_bytes": 0, "grace_ms": 9_223_372_036_854u64, "memory_bytes": 1, "processes": 4194304, "cpus": 0.5, "cpuset": "0-1,3"
        },
        "cgroup": { "parent": "/g" },
        "seccomp": "off",
        "capabilities": [],
        "fds": [5, 3],
        "mounts": [],
        "results": { "directory": "//out/", "patterns": ["a/../*", "/b", { "base64": "/w==" }], "max_files": 0, "max_bytes": 1 },
        "changes": true,
        "init": false,
        "strict": true
    });
    let mut jobs = vec![all];
    jobs[0].as_object_mut().unwrap().remove("root");
    for change in [
        json!({ "stdin": "inherit", "stdout": "inherit", "stderr": "inherit" }),
        json!({ "stdin": { "fd": 0 }, "stdout": { "fd": 1 }, "stderr": { "fd": 2 } }),
        json!({ "stdin": { "fd": 7 }, "stdout": { "fd": 7 }, "stderr": { "fd": 1 } }),
        json!({ "stdin": { "text": "\u{0}ä" }, "stdout": "null", "stderr": "null" }),
        json!({ "stdin": { "file": "/x" }, "stdout": { "capture": {} }, "stderr": { "capture": { "max_bytes": 0 } }, "limits": { "output_bytes": 0 } }),
        json!({ "stdin": { "text": "" }, "env": { "inherit": false }, "scratch": { "directory": "/var//tmp" } }),
        json!({ "env": { "inherit": [] }, "scratch": {}, "directories": { "/dev": "hidden" }, "dev": null }),
        json!({ "results": { "directory": { "base64": "L/8=" } }, "changes": null }),
        json!({ "limits": {}, "cgroup": "off" }),
        json!({ "limits": { "cpus": 1024, "cpuset": "5,4,4-6" }, "cgroup": "required" }),
        json!({ "env": {}, "user": {}, "limits": {}, "hostname": null, "directories": {}, "system_config": true }),
    ] {
        let mut job = jobs[0].clone();
        for (key, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(job.as_object_mut().unwrap().remove(key)),
                value => job[key] = value.clone(),
            }
        }
        jobs.push(job);
    }
    jobs.push(json!({ "argv": ["a"] }));
    jobs
}

#[test]
fn normalised_job_is_a_job_and_its_own_normal_form() {
    let validator = validator("job.json");
    let examples = examples()
        .into_iter()
        .map(|(_, bytes)| serde_json::from_slice(&bytes).unwrap());
    for job in full_jobs().into_iter().chain(examples) {
        assert_eq!(complaints(&validator, &job), Vec::<String>::new(), "{job}");
        let parse = |job: &Value| {
            Job::from_slice(job.to_string().as_bytes(), Channels::default())
                .unwrap_or_else(|p| panic!("{job}: {p:?}"))
        };
        let first = parse(&job);
        let normal = serde_json::to_value(first.normalised()).unwrap();
        assert_eq!(
            complaints(&validator, &normal),
            Vec::<String>::new(),
            "{normal}"
        );
        let second = parse(&normal);
        assert_eq!(
            serde_json::to_value(second.normalised()).unwrap(),
            normal,
            "{job}"
        );
        // Not only the same text, but the same job.
        let modes = |job: &Job| -> BTreeMap<Vec<u8>, Mode> {
            job.directories
                .iter()
                .map(|(at, d)| (at.bytes().to_vec(), d.mode))
                .collect()
        };
        assert_eq!(modes(&first), modes(&second));
        assert_eq!(
            (
                &first.argv,
                &first.stdin,
                &first.stdout,
                &first.stderr,
                &first.user,
                &first.scratch,
                &first.limits,
                &first.fds
            ),
            (
                &second.argv,
                &second.stdin,
                &second.stdout,
                &second.stderr,
                &second.user,
                &second.scratch,
                &second.limits,
                &second.fds
            )
        );
        assert_eq!(
            (&first.hostname, first.dev, &first.results, first.changes),
            (
                &second.hostname,
                second.dev,
                &second.results,
                second.changes
            ),
            "{job}"
        );
    }
}

#[test]
fn normalised_job_names_every_field_that_has_a_default() {
    let schema = schema("job.json");
    let job = Job::from_slice(br#"{"argv":["a"]}"#, Channels::default()).unwrap();
    let normal = serde_json::to_value(job.normalised()).unwrap();
    for (key, property) in schema["properties"].as_object().unwrap() {
        if let Some(default) = property.get("default") {
            assert!(normal.get(key).is_some(), "{key} is not filled in");
            if !default.is_object() {
                assert_eq!(&normal[key], default, "{key}");
            }
        }
    }
}

fn reports() -> Vec<Outcome> {
    let target = |status| {
        Some(Target {
            status,
            rusage: Rusage::default(),
            scratch_bytes: 4096,
        })
    };
    let captured = |kept: &[u8], bytes| {
        Some(Captured {
            kept: kept.to_vec(),
            bytes,
        })
    };
    let mut problem = Problem::at(Code::OutOfRange, "/a~1b/0", "A sentence.")
        .hint("Another.")
        .path(b"/\xff");
    problem = problem.errno("mount", nix::errno::Errno::EPERM);
    let ran = |verdict, status| Outcome {
        target: target(status),
        stdout: captured(b"ok", 2),
        stderr: captured(b"\xff", 10),
        warnings: vec![Notice::new("a-code", Some(b"/\xff"), "A sentence.")],
        degraded: vec![Notice::new("b-code", None, "A sentence.")],
        ..Outcome::before(verdict)
    };
    let job = Job::from_slice(br#"{"argv":["a"]}"#, Channels::default()).unwrap();
    let left = Outcome {
        results: Some(Results {
            files: vec![Delivered {
                path: Text(b"a/\xff".to_vec()),
                bytes: 1,
            }],
            skipped: Reason::ALL
                .iter()
                .map(|&reason| Skipped {
                    path: Text(b"b".to_vec()),
                    reason,
                })
                .collect(),
        }),
        changes: Some(
            Verb::ALL
                .iter()
                .flat_map(|&change| {
                    Kind::ALL.iter().map(move |&kind| Change {
                        path: Text(b"/\xff".to_vec()),
                        change,
                        kind,
                        bytes: 0,
                    })
                })
                .collect(),
        ),
        ..ran(Verdict::Exited(0), 0)
    };
    let mut all = vec![
        ran(Verdict::Exited(3), 3 << 8),
        left,
        ran(Verdict::Signaled(11), 11 | 0x80),
        ran(Verdict::LimitExceeded(Limit::WallTime), 9),
        ran(Verdict::Cancelled, 9),
        Outcome::before(Verdict::Cancelled),
        Outcome::before(Verdict::InvalidJob(problem)),
        Outcome::before(Verdict::Valid(Box::new(job.normalised()))),
    ];
    for &stage in Stage::ALL {
        all.push(Outcome::before(Verdict::SetupFailed(Problem::new(
            Code::Internal,
            stage,
            "A sentence.",
        ))));
    }
    for &code in Code::ALL {
        all.push(Outcome::before(Verdict::SetupFailed(Problem::new(
            code,
            Stage::Mounts,
            "A sentence.",
        ))));
    }
    all
}

#[test]
fn report_of_every_verdict_is_accepted() {
    let validator = validator("report.json");
    for outcome in reports() {
        for id in [None, Some("an id")] {
            let bytes = Report::new(id, &outcome, Timing::default()).to_bytes();
            assert_eq!(bytes.iter().filter(|&&b| b == b'\n').count(), 1, "one line");
            assert_eq!(bytes.last(), Some(&b'\n'));
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(
                complaints(&validator, &value),
                Vec::<String>::new(),
                "{value}"
            );
        }
    }
}

#[test]
fn examination_of_every_outcome_is_accepted() {
    let validator = validator("doctor.json");
    let outcomes = reports();
    for program in [None, Some(AbsPath::fixed("/usr/bin/stdbox"))] {
        let findings = PROBES.into_iter().flat_map(|probe| {
            outcomes.iter().map(move |outcome| {
                let report = Report::new(None, outcome, Timing::default()).to_bytes();
                Finding::new(probe, &report)
            })
        });
        let host = Host {
            kernel: "6.1".to_owned(),
            program,
            lxcfs: false,
            tmpfs_xattr: true,
        };
        let findings: Vec<Finding> = findings.collect();
        let states = findings.iter().map(|finding| finding.state);
        assert!(states.clone().any(|state| state == State::Fails));
        assert!(states.clone().any(|state| state == State::Works));
        let bytes = Examination { host, findings }.to_bytes();
        let value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(complaints(&validator, &value), Vec::<String>::new());
    }
    // All systems that a remedy is for, and all names.
    let schema = schema("doctor.json");
    let words = |at: &str| -> BTreeSet<String> {
        let list = schema.pointer(at).unwrap().as_array().unwrap();
        list.iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    };
    let steps = stdbox::remedy::ALL
        .into_iter()
        .flat_map(|remedy| remedy.steps);
    let systems: BTreeSet<String> = steps.map(|(on, _)| (*on).to_owned()).collect();
    assert_eq!(words("/$defs/remedy/properties/on/enum"), systems);
    let names: BTreeSet<String> = PROBES.map(|probe| probe.name.to_owned()).into();
    assert_eq!(words("/$defs/finding/properties/code/enum"), names);
}

#[test]
fn plan_of_every_example_is_accepted() {
    let validator = validator("report.json");
    let host = host::FakeHost::read(&folder().join("../tests/instructions/host.txt"));
    let mut planned = 0;
    for (name, bytes) in examples() {
        let job = Job::from_slice(&bytes, Channels::STANDARD).unwrap();
        // Some name directories that this host does not have.
        let (Ok(plan), ..) = host.plan(&job) else {
            continue;
        };
        let outcome = Outcome::before(Verdict::Planned(Box::new(plan)));
        let bytes = Report::new(None, &outcome, Timing::default()).to_bytes();
        let value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            complaints(&validator, &value),
            Vec::<String>::new(),
            "{name}"
        );
        planned += 1;
    }
    assert!(planned > 20, "{planned} plans");
}

#[test]
fn report_with_something_wrong_is_not_accepted() {
    // The schema would not be worth much if it took everything.
    let validator = validator("report.json");
    let outcome = &reports()[0];
    let report: Value =
        serde_json::from_slice(&Report::new(None, outcome, Timing::default()).to_bytes()).unwrap();
    let changes: [(&str, Value); 6] = [
        ("/version", json!(2)),
        ("/outcome", json!("done")),
        ("/exit_code", json!(256)),
        ("/signal", json!(9)),
        ("/usage/wall_ns", json!(-1)),
        ("/stdout", json!({ "bytes": 0, "truncated": false })),
    ];
    for (at, value) in changes {
        let mut wrong = report.clone();
        *wrong.pointer_mut(at).unwrap() = value;
        assert!(!validator.is_valid(&wrong), "{at}");
    }
    for key in report.as_object().unwrap().keys() {
        let mut wrong = report.clone();
        wrong.as_object_mut().unwrap().remove(key);
        assert!(!validator.is_valid(&wrong), "without {key}");
    }
}
