//! Jobs as a whole: what is no job at all, what only the whole text can tell, what two places say together, and what a job
//! with nothing said means. Each field with each fault is in `refusals/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::fs;

use jsonschema::Validator;
use serde_json::json;
use stdbox::job::{Channels, Input, Job, Output, Scratch, Seccomp, id_of};
use stdbox::problem::{Code, Problem, Stage};
use stdbox::spec::Mode;

fn validator() -> Validator {
    let text = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/schema/job.json")).unwrap();
    jsonschema::draft202012::new(&serde_json::from_slice(&text).unwrap()).unwrap()
}

fn refused(text: &[u8], channels: Channels) -> Problem {
    match Job::from_slice(text, channels) {
        Ok(job) => panic!("{} is accepted: {job:?}", String::from_utf8_lossy(text)),
        Err(problem) => problem,
    }
}

#[test]
fn job_that_is_no_object_is_refused_as_a_whole() {
    for text in [
        "[]",
        "null",
        "1",
        "\"x\"",
        "true",
        "[[\"a\"]]",
        "[1,\"x\",[\"a\"]]",
    ] {
        let problem = refused(text.as_bytes(), Channels::default());
        assert_eq!(
            (problem.code, problem.at.as_deref()),
            (Code::WrongType, Some("")),
            "{text}"
        );
        assert!(
            !validator().is_valid(&serde_json::from_str(text).unwrap()),
            "{text}"
        );
    }
}

#[test]
fn null_is_refused_with_the_hint_to_leave_the_field_out() {
    for text in [
        r#"{"argv":[null]}"#,
        r#"{"argv":["a"],"id":null}"#,
        r#"{"argv":["a"],"env":{"set":{"A":null}}}"#,
    ] {
        let problem = refused(text.as_bytes(), Channels::default());
        assert!(
            problem
                .hint
                .as_ref()
                .is_some_and(|hint| hint.contains("Leave the field out")),
            "{text}"
        );
    }
}

#[test]
fn number_that_is_written_as_a_decimal_is_refused_with_a_hint() {
    for (text, at) in [
        (r#"{"argv":["a"],"version":1.0}"#, "/version"),
        (r#"{"argv":["a"],"fds":[3e0]}"#, "/fds/0"),
    ] {
        let problem = refused(text.as_bytes(), Channels::default());
        assert_eq!(
            (problem.code, problem.at.as_deref()),
            (Code::WrongType, Some(at)),
            "{text}"
        );
        assert!(problem.message.contains("a whole number"), "{problem:?}");
        assert!(
            problem
                .hint
                .as_ref()
                .is_some_and(|hint| hint.contains("exponent")),
            "{text}"
        );
    }
}

#[test]
fn field_of_the_job_itself_that_is_unknown_or_missing_is_named() {
    for (text, code, at) in [
        ("{}", Code::MissingField, "/argv"),
        (r#"{"command":[]}"#, Code::UnknownField, "/command"),
        (r#"{"":1}"#, Code::UnknownField, "/"),
        (r#"{"a/b~c":1}"#, Code::UnknownField, "/a~1b~0c"),
    ] {
        let problem = refused(text.as_bytes(), Channels::default());
        assert_eq!(
            (problem.code, problem.at.as_deref()),
            (code, Some(at)),
            "{text}"
        );
    }
}

#[test]
fn word_or_field_that_is_unknown_is_refused_with_a_suggestion() {
    for (text, suggestion) in [
        (r#"{"arg":["a"]}"#, "argv"),
        (r#"{"argv":["a"],"Limits":{}}"#, "limits"),
        (
            r#"{"argv":["a"],"limits":{"wall-time-ms":1}}"#,
            "wall_time_ms",
        ),
        (
            r#"{"argv":["a"],"directories":{"/":"readonly"}}"#,
            "read-only",
        ),
        (
            r#"{"argv":["a"],"directories":{"/":"full_access"}}"#,
            "full-access",
        ),
    ] {
        let hint = refused(text.as_bytes(), Channels::default()).hint.clone();
        assert_eq!(
            hint,
            Some(format!("Did you mean {suggestion:?}?")),
            "{text}"
        );
    }
}

#[test]
fn descriptor_that_the_job_or_the_report_needs_is_refused() {
    let elsewhere = Channels {
        spec: Some(8),
        report: Some(9),
    };
    let on_stderr = Channels {
        spec: None,
        report: Some(2),
    };
    let (both, twice) = (Channels::STANDARD, Code::Contradiction);
    for (channels, fields, code, at) in [
        (both, r#""stdin":"inherit""#, twice, "/stdin"),
        (both, r#""stdin":{"fd":0}"#, twice, "/stdin/fd"),
        (both, r#""stdin":{"fd":1}"#, twice, "/stdin/fd"),
        (both, r#""stdout":"inherit""#, twice, "/stdout"),
        (both, r#""stdout":{"fd":1}"#, twice, "/stdout/fd"),
        (both, r#""stdout":{"fd":0}"#, twice, "/stdout/fd"),
        (both, r#""stderr":{"fd":1}"#, twice, "/stderr/fd"),
        (on_stderr, r#""stderr":"inherit""#, twice, "/stderr"),
        (on_stderr, r#""stderr":{"fd":2}"#, twice, "/stderr/fd"),
        (on_stderr, r#""stdout":{"fd":2}"#, twice, "/stdout/fd"),
        (elsewhere, r#""stdin":{"fd":8}"#, twice, "/stdin/fd"),
        (elsewhere, r#""stdout":{"fd":9}"#, twice, "/stdout/fd"),
        (elsewhere, r#""stderr":{"fd":9}"#, twice, "/stderr/fd"),
        (elsewhere, r#""fds":[7,9]"#, Code::BadDescriptor, "/fds/1"),
        (elsewhere, r#""fds":[8]"#, Code::BadDescriptor, "/fds/0"),
    ] {
        let text = format!(r#"{{"argv":["a"],{fields}}}"#);
        let problem = refused(text.as_bytes(), channels);
        assert_eq!(
            (problem.code, problem.at.as_deref()),
            (code, Some(at)),
            "{text}"
        );
        assert!(problem.hint.is_some(), "{text}");
        assert!(
            Job::from_slice(text.as_bytes(), Channels::default()).is_ok(),
            "{text} with --spec and --report"
        );
    }
    let inherited = br#"{"argv":["a"],"stderr":"inherit"}"#;
    assert_eq!(
        Job::from_slice(inherited, both).unwrap().stderr,
        Some(Output::Fd(2))
    );
}

#[test]
fn feature_that_is_asked_for_by_its_default_is_not_asked_for() {
    let asked_for_nothing = json!({
        "argv": ["a"], "mounts": [], "proc": "fresh", "sys": "host", "user": { "map": "single" }, "cgroup": "auto",
        "seccomp": "default", "capabilities": [], "changes": false
    });
    assert!(
        Job::from_slice(
            asked_for_nothing.to_string().as_bytes(),
            Channels::default()
        )
        .is_ok()
    );
}

#[test]
fn results_that_cannot_be_taken_are_refused() {
    let results = |fields: serde_json::Value| {
        let mut results = json!({ "directory": "/out" });
        for (key, value) in fields.as_object().unwrap() {
            results[key] = value.clone();
        }
        json!({ "results": results })
    };
    let long = "a".repeat(4096);
    let name = "a".repeat(256);
    let place = |scratch: &str, directory: &str| json!({ "scratch": { "directory": scratch }, "results": { "directory": directory } });
    let table = [
        (
            json!({ "results": {} }),
            Code::MissingField,
            "/results/directory",
        ),
        (
            results(json!({ "directory": "" })),
            Code::Empty,
            "/results/directory",
        ),
        (
            results(json!({ "directory": "out" })),
            Code::NotAbsolute,
            "/results/directory",
        ),
        (
            results(json!({ "directory": "/a/../b" })),
            Code::ParentComponent,
            "/results/directory",
        ),
        (
            results(json!({ "directory": "/a\u{0}" })),
            Code::NulByte,
            "/results/directory",
        ),
        (
            results(json!({ "directory": { "base64": "AA==" } })),
            Code::NulByte,
            "/results/directory",
        ),
        (
            results(json!({ "directory": format!("/{name}") })),
            Code::TooLong,
            "/results/directory",
        ),
        (
            results(json!({ "directory": 1 })),
            Code::WrongType,
            "/results/directory",
        ),
        (
            results(json!({ "directory": [] })),
            Code::WrongType,
            "/results/directory",
        ),
        (
            results(json!({ "patterns": [] })),
            Code::Empty,
            "/results/patterns",
        ),
        (
            results(json!({ "patterns": "." })),
            Code::WrongType,
            "/results/patterns",
        ),
        (
            results(json!({ "patterns": { } })),
            Code::WrongType,
            "/results/patterns",
        ),
        (
            results(json!({ "patterns": [1] })),
            Code::WrongType,
            "/results/patterns/0",
        ),
        (
            results(json!({ "patterns": ["a", ""] })),
            Code::Empty,
            "/results/patterns/1",
        ),
        (
            results(json!({ "patterns": ["a\u{0}"] })),
            Code::NulByte,
            "/results/patterns/0",
        ),
        (
            results(json!({ "patterns": ["a", "b", "../c"] })),
            Code::ParentComponent,
            "/results/patterns/2",
        ),
        (
            results(json!({ "patterns": ["/.."] })),
            Code::ParentComponent,
            "/results/patterns/0",
        ),
        (
            results(json!({ "patterns": ["*/../c"] })),
            Code::ParentComponent,
            "/results/patterns/0",
        ),
        (
            results(json!({ "patterns": [long] })),
            Code::TooLong,
            "/results/patterns/0",
        ),
        (
            results(json!({ "max_files": -1 })),
            Code::OutOfRange,
            "/results/max_files",
        ),
        (
            results(json!({ "max_files": 1.5 })),
            Code::WrongType,
            "/results/max_files",
        ),
        (
            results(json!({ "max_files": u64::MAX })),
            Code::OutOfRange,
            "/results/max_files",
        ),
        (
            results(json!({ "max_bytes": "1" })),
            Code::WrongType,
            "/results/max_bytes",
        ),
        (
            results(json!({ "max_bytes": u64::MAX })),
            Code::OutOfRange,
            "/results/max_bytes",
        ),
        (
            results(json!({ "into": "/a" })),
            Code::UnknownField,
            "/results/into",
        ),
        (json!({ "changes": "yes" }), Code::WrongType, "/changes"),
        (json!({ "changes": 1 }), Code::WrongType, "/changes"),
        (place("/s", "/s"), Code::Contradiction, "/results/directory"),
        (
            place("/s/t", "/s"),
            Code::Contradiction,
            "/results/directory",
        ),
        (place("/s", "/"), Code::Contradiction, "/results/directory"),
        (
            place("/s", "/s/.stdbox-1000-1-1/upper"),
            Code::Contradiction,
            "/results/directory",
        ),
    ];
    for (fields, code, at) in table {
        let mut job = fields;
        job["argv"] = json!(["a"]);
        let problem = refused(job.to_string().as_bytes(), Channels::default());
        assert_eq!(
            (problem.code, problem.at.as_deref()),
            (code, Some(at)),
            "{job}"
        );
    }
    for fine in [
        place("/s", "/s/out"),
        place("/s", "/sout"),
        results(json!({ "patterns": ["a/../b"], "max_files": 0, "max_bytes": 0 })),
    ] {
        let mut job = fine;
        job["argv"] = json!(["a"]);
        let text = job.to_string();
        assert!(
            Job::from_slice(text.as_bytes(), Channels::default()).is_ok(),
            "{text}"
        );
    }
}

#[test]
fn version_that_is_not_spoken_is_refused_first() {
    for version in [0u64, 2, u64::MAX] {
        let text = json!({ "version": version, "argv": [], "root": "" }).to_string();
        let problem = refused(text.as_bytes(), Channels::default());
        assert_eq!(
            (problem.code, problem.at.as_deref()),
            (Code::UnsupportedVersion, Some("/version"))
        );
    }
}

#[test]
fn key_that_stands_twice_is_refused_at_any_depth() {
    for (text, at) in [
        (r#"{"argv":["a"],"argv":["b"]}"#, "/argv"),
        (
            r#"{"argv":["a"],"env":{"set":{"A":"1","B":"2","A":"1"}}}"#,
            "/env/set/A",
        ),
        (
            r#"{"argv":["a"],"directories":{"/a":"hidden","/a":"hidden"}}"#,
            "/directories/~1a",
        ),
        (
            r#"{"argv":["a"],"mounts":[{"type":"bind","type":"bind"}]}"#,
            "/mounts/0/type",
        ),
        (
            r#"{"argv":["a"],"seccomp":{"oci":{"x":[{"y":1,"y":1}]}}}"#,
            "/seccomp/oci/x/0/y",
        ),
        (
            r#"{"argv":["a"],"cwd":{"base64":"Lw==","base64":"Lw=="}}"#,
            "/cwd/base64",
        ),
        (
            "{\"argv\":[\"a\"],\"env\":{\"set\":{\"A\":\"1\",\"\\u0041\":\"2\"}}}",
            "/env/set/A",
        ),
    ] {
        let problem = refused(text.as_bytes(), Channels::default());
        assert_eq!(
            (problem.code, problem.stage, problem.at.as_deref()),
            (Code::DuplicateKey, Stage::Parse, Some(at)),
            "{text}"
        );
    }
}

#[test]
fn text_that_is_not_one_json_value_is_refused_with_its_line() {
    let bad: [&[u8]; 14] = [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"{} x",
        b"{\"argv\":[\"a\"]} ,",
        b"{\"argv\":[\"a\",]}",
        b"{'argv':[]}",
        b"{\"argv\":[\"\xff\"]}",
        b"{\"argv\":[\"\\ud800\"]}",
        b"{\"argv\":[\"a\n\"]}",
        b"{\"argv\":[01]}",
        b"\xef\xbb\xbf{\"argv\":[\"a\"]}",
        b"{\"argv\":[\"a\"]}\0",
    ];
    for text in bad {
        let problem = refused(text, Channels::default());
        assert_eq!(
            (problem.code, problem.stage),
            (Code::Syntax, Stage::Parse),
            "{}",
            String::from_utf8_lossy(text)
        );
        assert!(
            problem.message.contains("line ") && problem.message.contains("column "),
            "{}",
            problem.message
        );
    }
    assert!(Job::from_slice(b" \t\r\n{\"argv\":[\"a\"]}\r\n\t ", Channels::default()).is_ok());
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |depth: usize| {
        let inner = depth - 3;
        format!(
            r#"{{"argv":["a"],"seccomp":{{"oci":{{"x":{}{}}}}}}}"#,
            "[".repeat(inner),
            "]".repeat(inner)
        )
    };
    assert_eq!(
        refused(nested(64).as_bytes(), Channels::default()).code,
        Code::UnknownField
    );
    assert_eq!(
        refused(nested(65).as_bytes(), Channels::default()).code,
        Code::TooDeep
    );
    let deep = "[".repeat(5_000_000);
    assert_eq!(
        refused(deep.as_bytes(), Channels::default()).code,
        Code::TooDeep
    );

    let sized = |bytes: usize| {
        let mut text = br#"{"argv":["a"],"stdin":{"text":""#.to_vec();
        text.resize(bytes - 3, b'x');
        text.extend_from_slice(b"\"}}");
        text
    };
    let largest = Job::from_slice(&sized(16 << 20), Channels::default()).unwrap();
    assert!(matches!(largest.stdin, Input::Bytes(bytes) if bytes.get().len() > 16_000_000));
    assert_eq!(
        refused(&sized((16 << 20) + 1), Channels::default()).code,
        Code::TooLarge
    );
}

#[test]
fn id_is_found_in_a_job_that_is_wrong_otherwise() {
    assert_eq!(id_of(br#"{"id":"x","argv":[]}"#), Some("x".into()));
    assert_eq!(id_of(br#"{"nonsense":1,"id":"x"}"#), Some("x".into()));
    for text in [
        "{",
        "[]",
        r#"{"id":1}"#,
        r#"{"argv":["a"]}"#,
        &format!(r#"{{"id":"{}"}}"#, "x".repeat(257)),
    ] {
        assert_eq!(id_of(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn job_at_the_borders_of_every_range_is_accepted() {
    let validator = validator();
    for fields in [
        json!({ "version": 1, "id": "x".repeat(256) }),
        json!({ "argv": ["a", "", "x".repeat(131_071)] }),
        json!({ "executable": "x".repeat(4095), "cwd": format!("/{}", "x".repeat(255)) }),
        json!({ "cwd": format!("{}/xx", "/x".repeat(2046)) }),
        json!({ "env": { "set": { "A": "x".repeat(131_069), " ": "=", "ä": "\n" } } }),
        json!({ "stdout": { "capture": { "max_bytes": 0 } }, "stderr": { "capture": { "max_bytes": 1_073_741_824 } } }),
        json!({ "scratch": { "size_bytes": i64::MAX, "inodes": i64::MAX, "numa_nodes": [] } }),
        json!({ "user": { "uid": 0, "gid": 4_294_967_294u64, "name": "x".repeat(32), "home": "/" } }),
        json!({ "hostname": "x".repeat(64) }),
        json!({ "hostname": "X" }),
        json!({ "limits": { "wall_time_ms": 9_223_372_036_854u64, "grace_ms": 0, "open_files": 3, "core_bytes": i64::MAX } }),
        json!({ "fds": [1_048_575, 3], "stdin": { "fd": 1_048_575 } }),
        json!({ "stdin": { "text": "\0" } }),
        json!({ "directories": {} }),
        json!({ "directories": [] }),
    ] {
        let mut job = json!({ "argv": ["a"] });
        job.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let short: String = job.to_string().chars().take(200).collect();
        if let Err(problem) = Job::from_slice(job.to_string().as_bytes(), Channels::default()) {
            panic!("{short}: {problem:?}");
        }
        assert!(validator.is_valid(&job), "{short}: the schema refuses it");
    }
}

#[test]
fn job_with_a_range_of_ids_says_so_when_it_is_written_back() {
    for map in ["single", "range"] {
        let text = json!({"argv": ["a"], "user": {"map": map}}).to_string();
        let job = Job::from_slice(text.as_bytes(), Channels::default()).unwrap();
        let normal = serde_json::to_value(job.normalised()).unwrap();
        assert_eq!(normal["user"]["map"], map);
    }
}

#[test]
fn job_with_nothing_but_a_command_gets_the_defaults() {
    let job = Job::from_slice(br#"{"argv":["a"]}"#, Channels::STANDARD).unwrap();
    let modes: Vec<_> = job
        .directories
        .iter()
        .map(|(at, d)| (at.bytes(), d.mode, d.at.is_none()))
        .collect();
    let expected: [(&[u8], Mode, bool); 3] = [
        (b"/", Mode::Overlay, true),
        (b"/run", Mode::Hidden, true),
        (b"/tmp", Mode::Hidden, true),
    ];
    assert_eq!(modes, expected);
    assert_eq!(
        (job.stdin, job.stdout),
        (Input::Null, Output::Capture(1 << 20))
    );
    assert_eq!(job.stderr, Some(Output::Capture(1 << 20)));
    assert_eq!(
        (job.user.uid, job.user.gid, job.user.name.as_str()),
        (1000, 1000, "user")
    );
    assert_eq!(job.user.home.unwrap().bytes(), b"/home/user");
    assert_eq!(job.hostname.as_deref(), Some("stdbox"));
    assert_eq!(
        job.scratch,
        Scratch::Tmpfs {
            size_bytes: None,
            inodes: None,
            numa_nodes: vec![]
        }
    );
    assert!(
        job.system_config
            && matches!(job.seccomp, Seccomp::Default)
            && job.init
            && job.lxcfs
            && !job.host_network
            && !job.strict
    );
}
