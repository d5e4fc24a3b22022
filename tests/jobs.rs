//! Wrong jobs: each is refused with its code, at its field, and by the schema where a schema can say it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::fs;

use jsonschema::Validator;
use serde_json::{Value, json};
use stdbox::job::{Channels, Input, Job, Output, Scratch, Seccomp, id_of};
use stdbox::problem::{Code, Problem, Stage};
use stdbox::spec::Mode;

/// How the schema stands to a wrong job.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Schema {
    /// It refuses it too.
    Refuses,
    /// It cannot say it: lengths in bytes, `..`, base64 of a NUL, two fields together, the command line.
    Cannot,
    /// The job is right by the schema, but a part is not built yet.
    Accepts,
}
use Schema::{Accepts, Cannot, Refuses};

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

/// Fields beside `"argv":["a"]`, the code, the pointer, and what the schema says.
type Row = (Value, Code, &'static str, Schema);

fn check(rows: impl IntoIterator<Item = Row>) {
    let validator = validator();
    let mut wrong = Vec::new();
    for (fields, code, at, schema) in rows {
        let mut job = json!({ "argv": ["a"] });
        for (key, value) in fields.as_object().unwrap() {
            job[key] = value.clone();
        }
        let short: String = job.to_string().chars().take(200).collect();
        let problem = match Job::from_slice(job.to_string().as_bytes(), Channels::default()) {
            Ok(_) => {
                wrong.push(format!("{short}: accepted, not {code:?}"));
                continue;
            }
            Err(problem) => problem,
        };
        if (problem.code, problem.at.as_deref()) != (code, Some(at)) {
            wrong.push(format!(
                "{short}: {:?} at {:?}, not {code:?} at {at:?}",
                problem.code, problem.at
            ));
        }
        if problem.stage != Stage::Validate
            || problem.message.is_empty()
            || !problem.message.ends_with('.')
        {
            wrong.push(format!(
                "{short}: {:?} {:?}",
                problem.stage, problem.message
            ));
        }
        if validator.is_valid(&job) == (schema == Refuses) {
            wrong.push(format!(
                "{short}: the schema does not stand to it as {schema:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Fields by the JSON type that they take.
const STRINGS: [&str; 2] = ["id", "hostname"];
const TEXTS: [&str; 2] = ["executable", "cwd"];
const WORDS: [&str; 5] = ["dev", "proc", "sys", "lxcfs", "network"];
const BOOLEANS: [&str; 4] = ["system_config", "changes", "init", "strict"];
const LISTS: [&str; 4] = ["argv", "mounts", "capabilities", "fds"];
const OBJECTS: [&str; 6] = ["env", "scratch", "user", "limits", "results", "sync"];
const WORDS_OR_OBJECTS: [&str; 5] = ["stdin", "stdout", "stderr", "cgroup", "seccomp"];
const COUNTS: [&str; 11] = [
    "wall_time_ms",
    "cpu_time_ms",
    "memory_bytes",
    "processes",
    "output_bytes",
    "open_files",
    "file_size_bytes",
    "stack_bytes",
    "address_space_bytes",
    "core_bytes",
    "grace_ms",
];

fn pointer(field: &str) -> &'static str {
    format!("/{field}").leak()
}

fn wrong_types(fields: &[&str], values: &[Value]) -> Vec<Row> {
    let rows = |field: &&str| {
        let at = pointer(field);
        let key = (*field).to_owned();
        values
            .iter()
            .map(move |value| (json!({ key.clone(): value }), Code::WrongType, at, Refuses))
            .collect::<Vec<_>>()
    };
    fields.iter().flat_map(rows).collect()
}

#[test]
fn field_of_another_type_is_refused_at_its_pointer() {
    let (number, text, list, object, yes) =
        (json!(1), json!("x"), json!([]), json!({}), json!(true));
    let float = json!(1.5);
    check(wrong_types(
        &["version"],
        &[
            text.clone(),
            list.clone(),
            object.clone(),
            yes.clone(),
            float.clone(),
        ],
    ));
    check(wrong_types(
        &STRINGS,
        &[number.clone(), list.clone(), object.clone(), yes.clone()],
    ));
    check(wrong_types(
        &TEXTS,
        &[number.clone(), list.clone(), yes.clone(), float.clone()],
    ));
    check(wrong_types(
        &WORDS,
        &[number.clone(), list.clone(), object.clone(), yes.clone()],
    ));
    check(wrong_types(
        &BOOLEANS,
        &[number.clone(), text.clone(), list.clone(), object.clone()],
    ));
    check(wrong_types(
        &LISTS,
        &[number.clone(), text.clone(), object.clone(), yes.clone()],
    ));
    check(wrong_types(
        &OBJECTS,
        &[number.clone(), text.clone(), yes.clone()],
    ));
    check(wrong_types(
        &WORDS_OR_OBJECTS,
        &[number.clone(), list.clone(), yes.clone()],
    ));
    check(wrong_types(
        &["directories"],
        &[number.clone(), text.clone(), yes.clone()],
    ));
    check(wrong_types(&["root"], &[number, list, yes]));
}

#[test]
fn list_in_place_of_an_object_is_refused_at_its_pointer() {
    // A derived reader would take the fields in order.
    let rows = OBJECTS.iter().map(|field| {
        (
            json!({ *field: [] }),
            Code::WrongType,
            pointer(field),
            Refuses,
        )
    });
    check(rows);
    check([
        (json!({ "env": [true] }), Code::WrongType, "/env", Refuses),
        (
            json!({ "scratch": [4096] }),
            Code::WrongType,
            "/scratch",
            Refuses,
        ),
        (
            json!({ "limits": [1, 2] }),
            Code::WrongType,
            "/limits",
            Refuses,
        ),
        (
            json!({ "stdout": { "capture": [1] } }),
            Code::WrongType,
            "/stdout/capture",
            Refuses,
        ),
        (
            json!({ "directories": [["/", "overlay"]] }),
            Code::WrongType,
            "/directories/0",
            Refuses,
        ),
        (
            json!({ "mounts": [["bind", "/a"]] }),
            Code::WrongType,
            "/mounts/0",
            Refuses,
        ),
        (
            json!({ "cgroup": ["/a"] }),
            Code::WrongType,
            "/cgroup",
            Refuses,
        ),
        (json!({ "cwd": ["Lw=="] }), Code::WrongType, "/cwd", Refuses),
    ]);
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
fn null_is_refused_everywhere_with_the_hint_to_leave_the_field_out() {
    let top = [
        &STRINGS[..],
        &TEXTS,
        &WORDS,
        &BOOLEANS,
        &LISTS,
        &OBJECTS,
        &WORDS_OR_OBJECTS,
        &["version", "directories", "root"],
    ];
    let rows = top.concat().into_iter().map(|field| {
        (
            json!({ field: null }),
            Code::WrongType,
            pointer(field),
            Refuses,
        )
    });
    check(rows);
    let inner = [
        ("env", "inherit"),
        ("env", "set"),
        ("env", "unset"),
        ("stdin", "text"),
        ("stdin", "base64"),
        ("stdin", "file"),
        ("stdin", "fd"),
        ("stdout", "capture"),
        ("stdout", "file"),
        ("stdout", "fd"),
        ("stderr", "capture"),
        ("scratch", "size_bytes"),
        ("scratch", "inodes"),
        ("scratch", "numa_nodes"),
        ("scratch", "directory"),
        ("user", "uid"),
        ("user", "gid"),
        ("user", "name"),
        ("user", "group"),
        ("user", "home"),
        ("user", "map"),
        ("cgroup", "parent"),
        ("results", "directory"),
        ("sync", "events_fd"),
    ];
    let limits = COUNTS
        .iter()
        .chain(&["cpus"])
        .map(|field| ("limits", *field));
    check(inner.into_iter().chain(limits).map(|(field, key)| {
        (
            json!({ field: { key: null } }),
            Code::WrongType,
            &*format!("/{field}/{key}").leak(),
            Refuses,
        )
    }));
    for text in [
        r#"{"argv":[null]}"#,
        r#"{"argv":["a"],"id":null}"#,
        r#"{"argv":["a"],"env":{"set":{"A":null}}}"#,
    ] {
        let problem = refused(text.as_bytes(), Channels::default());
        assert!(
            problem
                .hint
                .is_some_and(|hint| hint.contains("Leave the field out")),
            "{text}"
        );
    }
}

#[test]
fn number_that_is_no_whole_number_in_range_is_refused() {
    let mut rows = Vec::new();
    for field in COUNTS {
        let at = &*format!("/limits/{field}").leak();
        rows.push((
            json!({ "limits": { field: -1 } }),
            Code::OutOfRange,
            at,
            Refuses,
        ));
        rows.push((
            json!({ "limits": { field: 1.5 } }),
            Code::WrongType,
            at,
            Refuses,
        ));
        rows.push((
            json!({ "limits": { field: "1" } }),
            Code::WrongType,
            at,
            Refuses,
        ));
        rows.push((
            json!({ "limits": { field: 1e30 } }),
            Code::WrongType,
            at,
            Refuses,
        ));
    }
    for field in [
        "open_files",
        "file_size_bytes",
        "stack_bytes",
        "address_space_bytes",
        "core_bytes",
    ] {
        let at = &*format!("/limits/{field}").leak();
        rows.push((
            json!({ "limits": { field: 9_223_372_036_854_775_808u64 } }),
            Code::OutOfRange,
            at,
            Refuses,
        ));
    }
    for (field, value) in [
        ("open_files", 2),
        ("stack_bytes", 0),
        ("address_space_bytes", 0),
        ("wall_time_ms", 0),
    ] {
        rows.push((
            json!({ "limits": { field: value } }),
            Code::OutOfRange,
            &*format!("/limits/{field}").leak(),
            Refuses,
        ));
    }
    for field in ["wall_time_ms", "grace_ms"] {
        let value = 9_223_372_036_855u64;
        rows.push((
            json!({ "limits": { field: value } }),
            Code::OutOfRange,
            &*format!("/limits/{field}").leak(),
            Refuses,
        ));
    }
    check(rows);
    check([
        (
            json!({ "version": -1 }),
            Code::OutOfRange,
            "/version",
            Refuses,
        ),
        (
            json!({ "scratch": { "size_bytes": 4095 } }),
            Code::OutOfRange,
            "/scratch/size_bytes",
            Refuses,
        ),
        (
            json!({ "scratch": { "size_bytes": 1u64 << 63 } }),
            Code::OutOfRange,
            "/scratch/size_bytes",
            Refuses,
        ),
        (
            json!({ "scratch": { "inodes": 63 } }),
            Code::OutOfRange,
            "/scratch/inodes",
            Refuses,
        ),
        (
            json!({ "scratch": { "numa_nodes": [0, 1024] } }),
            Code::OutOfRange,
            "/scratch/numa_nodes/1",
            Refuses,
        ),
        (
            json!({ "scratch": { "numa_nodes": [-1] } }),
            Code::OutOfRange,
            "/scratch/numa_nodes/0",
            Refuses,
        ),
        (
            json!({ "scratch": { "numa_nodes": [4_294_967_296u64] } }),
            Code::OutOfRange,
            "/scratch/numa_nodes/0",
            Refuses,
        ),
        (
            json!({ "user": { "uid": 4_294_967_295u64 } }),
            Code::OutOfRange,
            "/user/uid",
            Refuses,
        ),
        (
            json!({ "user": { "gid": 4_294_967_295u64 } }),
            Code::OutOfRange,
            "/user/gid",
            Refuses,
        ),
        (
            json!({ "user": { "uid": 4_294_967_296u64 } }),
            Code::OutOfRange,
            "/user/uid",
            Refuses,
        ),
        (
            json!({ "user": { "gid": -1 } }),
            Code::OutOfRange,
            "/user/gid",
            Refuses,
        ),
        (
            json!({ "stdin": { "fd": 1_048_576 } }),
            Code::OutOfRange,
            "/stdin/fd",
            Refuses,
        ),
        (
            json!({ "stdout": { "fd": -1 } }),
            Code::OutOfRange,
            "/stdout/fd",
            Refuses,
        ),
        (
            json!({ "stderr": { "fd": 1_048_576 } }),
            Code::OutOfRange,
            "/stderr/fd",
            Refuses,
        ),
        (json!({ "fds": [2] }), Code::OutOfRange, "/fds/0", Refuses),
        (
            json!({ "fds": [3, 1_048_576] }),
            Code::OutOfRange,
            "/fds/1",
            Refuses,
        ),
        (
            json!({ "stdout": { "capture": { "max_bytes": 1_073_741_825 } } }),
            Code::OutOfRange,
            "/stdout/capture/max_bytes",
            Refuses,
        ),
        (
            json!({ "stderr": { "capture": { "max_bytes": -1 } } }),
            Code::OutOfRange,
            "/stderr/capture/max_bytes",
            Refuses,
        ),
    ]);
}

#[test]
fn whole_number_written_as_a_decimal_is_refused() {
    // A schema cannot tell 1.0 from 1; the job's description says it.
    for (text, at) in [
        (r#"{"argv":["a"],"version":1.0}"#, "/version"),
        (
            r#"{"argv":["a"],"limits":{"wall_time_ms":1e3}}"#,
            "/limits/wall_time_ms",
        ),
        (r#"{"argv":["a"],"fds":[3.0]}"#, "/fds/0"),
        (r#"{"argv":["a"],"user":{"uid":1E0}}"#, "/user/uid"),
    ] {
        let problem = refused(text.as_bytes(), Channels::default());
        assert_eq!(
            (problem.code, problem.at.as_deref()),
            (Code::WrongType, Some(at)),
            "{text}"
        );
    }
}

#[test]
fn empty_string_or_list_is_refused() {
    check([
        (json!({ "argv": [] }), Code::Empty, "/argv", Refuses),
        (json!({ "argv": [""] }), Code::Empty, "/argv/0", Refuses),
        (
            json!({ "argv": [{ "base64": "" }] }),
            Code::Empty,
            "/argv/0",
            Refuses,
        ),
        (
            json!({ "executable": "" }),
            Code::Empty,
            "/executable",
            Refuses,
        ),
        (json!({ "cwd": "" }), Code::Empty, "/cwd", Refuses),
        (
            json!({ "cwd": { "base64": "" } }),
            Code::Empty,
            "/cwd",
            Refuses,
        ),
        (
            json!({ "stdin": { "file": "" } }),
            Code::Empty,
            "/stdin/file",
            Refuses,
        ),
        (
            json!({ "stdout": { "file": "" } }),
            Code::Empty,
            "/stdout/file",
            Refuses,
        ),
        (
            json!({ "stderr": { "file": "" } }),
            Code::Empty,
            "/stderr/file",
            Refuses,
        ),
        (
            json!({ "directories": { "": "hidden" } }),
            Code::Empty,
            "/directories/",
            Refuses,
        ),
        (
            json!({ "directories": [{ "path": "", "mode": "hidden" }] }),
            Code::Empty,
            "/directories/0/path",
            Refuses,
        ),
        (
            json!({ "scratch": { "directory": "" } }),
            Code::Empty,
            "/scratch/directory",
            Refuses,
        ),
        (
            json!({ "user": { "name": "" } }),
            Code::Empty,
            "/user/name",
            Refuses,
        ),
        (
            json!({ "user": { "group": "" } }),
            Code::Empty,
            "/user/group",
            Refuses,
        ),
        (
            json!({ "user": { "home": "" } }),
            Code::Empty,
            "/user/home",
            Refuses,
        ),
        (json!({ "hostname": "" }), Code::Empty, "/hostname", Refuses),
        (
            json!({ "env": { "inherit": [""] } }),
            Code::Empty,
            "/env/inherit/0",
            Refuses,
        ),
        (
            json!({ "env": { "unset": ["A", ""] } }),
            Code::Empty,
            "/env/unset/1",
            Refuses,
        ),
        (
            json!({ "env": { "set": { "": "x" } } }),
            Code::Empty,
            "/env/set/",
            Refuses,
        ),
    ]);
}

#[test]
fn nul_in_a_string_for_the_kernel_is_refused() {
    check([
        (
            json!({ "argv": ["a", "b\0"] }),
            Code::NulByte,
            "/argv/1",
            Refuses,
        ),
        (
            json!({ "argv": ["a", { "base64": "AA==" }] }),
            Code::NulByte,
            "/argv/1",
            Cannot,
        ),
        (
            json!({ "executable": "/\0" }),
            Code::NulByte,
            "/executable",
            Refuses,
        ),
        (json!({ "cwd": "/\0" }), Code::NulByte, "/cwd", Refuses),
        (
            json!({ "stdin": { "file": "a\0" } }),
            Code::NulByte,
            "/stdin/file",
            Refuses,
        ),
        (
            json!({ "stdout": { "file": "a\0" } }),
            Code::NulByte,
            "/stdout/file",
            Refuses,
        ),
        (
            json!({ "stderr": { "file": { "base64": "AA==" } } }),
            Code::NulByte,
            "/stderr/file",
            Cannot,
        ),
        (
            json!({ "directories": { "/a\0": "hidden" } }),
            Code::NulByte,
            "/directories/~1a\0",
            Refuses,
        ),
        (
            json!({ "directories": [{ "path": { "base64": "LwA=" }, "mode": "hidden" }] }),
            Code::NulByte,
            "/directories/0/path",
            Cannot,
        ),
        (
            json!({ "scratch": { "directory": "/\0" } }),
            Code::NulByte,
            "/scratch/directory",
            Refuses,
        ),
        (
            json!({ "user": { "home": "/\0" } }),
            Code::NulByte,
            "/user/home",
            Refuses,
        ),
        (
            json!({ "user": { "name": "a\0" } }),
            Code::BadName,
            "/user/name",
            Refuses,
        ),
        (
            json!({ "hostname": "a\0b" }),
            Code::BadName,
            "/hostname",
            Refuses,
        ),
        (
            json!({ "env": { "inherit": ["A\0"] } }),
            Code::NulByte,
            "/env/inherit/0",
            Refuses,
        ),
        (
            json!({ "env": { "set": { "A": "\0" } } }),
            Code::NulByte,
            "/env/set/A",
            Refuses,
        ),
        (
            json!({ "env": { "set": { "A\0": "" } } }),
            Code::NulByte,
            "/env/set/A\0",
            Refuses,
        ),
        (
            json!({ "env": { "unset": ["\0"] } }),
            Code::NulByte,
            "/env/unset/0",
            Refuses,
        ),
    ]);
}

#[test]
fn string_that_is_too_long_is_refused() {
    let long = |n: usize| "x".repeat(n);
    let path = |n: usize| "/x".repeat(n / 2 + 1);
    check([
        (json!({ "id": long(257) }), Code::TooLong, "/id", Refuses),
        (
            json!({ "id": "ä".repeat(129) }),
            Code::TooLong,
            "/id",
            Cannot,
        ),
        (
            json!({ "argv": ["a", long(131_072)] }),
            Code::TooLong,
            "/argv/1",
            Refuses,
        ),
        (
            json!({ "executable": long(4096) }),
            Code::TooLong,
            "/executable",
            Refuses,
        ),
        (json!({ "cwd": path(4095) }), Code::TooLong, "/cwd", Refuses),
        (
            json!({ "cwd": format!("/{}", long(256)) }),
            Code::TooLong,
            "/cwd",
            Cannot,
        ),
        (
            json!({ "stdin": { "file": long(4096) } }),
            Code::TooLong,
            "/stdin/file",
            Refuses,
        ),
        (
            json!({ "stdout": { "file": long(4096) } }),
            Code::TooLong,
            "/stdout/file",
            Refuses,
        ),
        (
            json!({ "directories": [{ "path": path(4095), "mode": "hidden" }] }),
            Code::TooLong,
            "/directories/0/path",
            Refuses,
        ),
        (
            json!({ "scratch": { "directory": path(4095) } }),
            Code::TooLong,
            "/scratch/directory",
            Refuses,
        ),
        (
            json!({ "user": { "name": long(33) } }),
            Code::TooLong,
            "/user/name",
            Refuses,
        ),
        (
            json!({ "user": { "group": long(33) } }),
            Code::TooLong,
            "/user/group",
            Refuses,
        ),
        (
            json!({ "user": { "home": path(4095) } }),
            Code::TooLong,
            "/user/home",
            Refuses,
        ),
        (
            json!({ "hostname": long(65) }),
            Code::TooLong,
            "/hostname",
            Refuses,
        ),
        (
            json!({ "env": { "set": { "A": long(131_070) } } }),
            Code::TooLong,
            "/env/set/A",
            Cannot,
        ),
    ]);
}

#[test]
fn name_with_letters_that_it_may_not_have_is_refused() {
    let mut rows = Vec::new();
    for name in [
        "A", "1a", "-a", "a b", "a:b", "a\nb", "ä", "a.b", "a/b", "a\n",
    ] {
        rows.push((
            json!({ "user": { "name": name } }),
            Code::BadName,
            "/user/name",
            Refuses,
        ));
        rows.push((
            json!({ "user": { "group": name } }),
            Code::BadName,
            "/user/group",
            Refuses,
        ));
    }
    for name in ["-a", "a-", ".a", "a.", "a b", "a_b", "ä", "a/b", "a\n"] {
        rows.push((
            json!({ "hostname": name }),
            Code::BadName,
            "/hostname",
            Refuses,
        ));
    }
    check(rows);
    check([
        (
            json!({ "env": { "inherit": ["A=B"] } }),
            Code::BadName,
            "/env/inherit/0",
            Refuses,
        ),
        (
            json!({ "env": { "unset": ["="] } }),
            Code::BadName,
            "/env/unset/0",
            Refuses,
        ),
        (
            json!({ "env": { "set": { "A/~=B": "" } } }),
            Code::BadName,
            "/env/set/A~1~0=B",
            Refuses,
        ),
        (
            json!({ "user": { "home": "/a:b" } }),
            Code::BadName,
            "/user/home",
            Cannot,
        ),
        (
            json!({ "user": { "home": "/a\nb" } }),
            Code::BadName,
            "/user/home",
            Cannot,
        ),
    ]);
}

#[test]
fn path_that_is_not_absolute_or_goes_up_is_refused() {
    let mut rows = Vec::new();
    for (path, code, schema) in [
        ("a", Code::NotAbsolute, Refuses),
        ("./a", Code::NotAbsolute, Refuses),
        ("../a", Code::NotAbsolute, Refuses),
        ("~", Code::NotAbsolute, Refuses),
        ("/..", Code::ParentComponent, Cannot),
        ("/a/../b", Code::ParentComponent, Cannot),
        ("/a/..", Code::ParentComponent, Cannot),
    ] {
        rows.push((json!({ "cwd": path }), code, "/cwd", schema));
        rows.push((
            json!({ "user": { "home": path } }),
            code,
            "/user/home",
            schema,
        ));
        rows.push((
            json!({ "scratch": { "directory": path } }),
            code,
            "/scratch/directory",
            schema,
        ));
        rows.push((
            json!({ "directories": [{ "path": path, "mode": "overlay" }] }),
            code,
            "/directories/0/path",
            schema,
        ));
    }
    check(rows);
    check([
        (
            json!({ "directories": { "a/b": "hidden" } }),
            Code::NotAbsolute,
            "/directories/a~1b",
            Refuses,
        ),
        (
            json!({ "cwd": { "base64": "YQ==" } }),
            Code::NotAbsolute,
            "/cwd",
            Refuses,
        ),
        (
            json!({ "cwd": { "base64": "Ly4u" } }),
            Code::ParentComponent,
            "/cwd",
            Cannot,
        ),
    ]);
}

#[test]
fn directory_named_twice_or_in_proc_is_refused() {
    check([
        (
            json!({ "directories": { "/proc": "hidden" } }),
            Code::ProcDirectory,
            "/directories/~1proc",
            Cannot,
        ),
        (
            json!({ "directories": { "/proc/./sys/": "hidden" } }),
            Code::ProcDirectory,
            "/directories/~1proc~1.~1sys~1",
            Cannot,
        ),
        (
            json!({ "directories": [{ "path": "//proc", "mode": "overlay" }] }),
            Code::ProcDirectory,
            "/directories/0/path",
            Cannot,
        ),
        (
            json!({ "directories": { "/a/": "hidden", "/a": "hidden" } }),
            Code::DuplicateDirectory,
            "/directories/~1a~1",
            Cannot,
        ),
        (
            json!({ "directories": [{ "path": "/a", "mode": "hidden" }, { "path": { "base64": "Ly9h" }, "mode": "overlay" }] }),
            Code::DuplicateDirectory,
            "/directories/1/path",
            Cannot,
        ),
        (
            json!({ "directories": [{ "path": "/", "mode": "hidden" }, { "path": "/.", "mode": "hidden" }] }),
            Code::DuplicateDirectory,
            "/directories/1/path",
            Cannot,
        ),
    ]);
    // The order of the text decides which of two is the second.
    let text = br#"{"argv":["a"],"directories":{"/a":"hidden","//a":"hidden"}}"#;
    assert_eq!(
        refused(text, Channels::default()).at.as_deref(),
        Some("/directories/~1~1a")
    );
    let other = Job::from_slice(
        br#"{"argv":["a"],"directories":{"/process":"hidden"}}"#,
        Channels::default(),
    )
    .unwrap();
    assert_eq!(other.directories.len(), 4);
}

#[test]
fn word_or_field_that_is_unknown_is_refused_with_a_suggestion() {
    check([
        (
            json!({ "dev": "none" }),
            Code::UnknownValue,
            "/dev",
            Refuses,
        ),
        (
            json!({ "proc": "Fresh" }),
            Code::UnknownValue,
            "/proc",
            Refuses,
        ),
        (json!({ "sys": "" }), Code::UnknownValue, "/sys", Refuses),
        (
            json!({ "lxcfs": "on" }),
            Code::UnknownValue,
            "/lxcfs",
            Refuses,
        ),
        (
            json!({ "network": "bridge" }),
            Code::UnknownValue,
            "/network",
            Refuses,
        ),
        (
            json!({ "stdin": "stdout" }),
            Code::UnknownValue,
            "/stdin",
            Refuses,
        ),
        (
            json!({ "stdout": "stdout" }),
            Code::UnknownValue,
            "/stdout",
            Refuses,
        ),
        (
            json!({ "stderr": "capture" }),
            Code::UnknownValue,
            "/stderr",
            Refuses,
        ),
        (
            json!({ "seccomp": "on" }),
            Code::UnknownValue,
            "/seccomp",
            Refuses,
        ),
        (
            json!({ "capabilities": ["CAP_KILL", "CAP_NOTHING"] }),
            Code::UnknownValue,
            "/capabilities/1",
            Accepts,
        ),
        (
            json!({ "capabilities": ["CAP_KILL", "CAP_KILL"] }),
            Code::Contradiction,
            "/capabilities/1",
            Refuses,
        ),
        (
            json!({ "capabilities": ["CAP_KILL"], "init": false }),
            Code::Contradiction,
            "/capabilities",
            Accepts,
        ),
        (
            json!({ "cgroup": "none" }),
            Code::UnknownValue,
            "/cgroup",
            Refuses,
        ),
        (
            json!({ "user": { "map": "all" } }),
            Code::UnknownValue,
            "/user/map",
            Refuses,
        ),
        (
            json!({ "directories": { "/a": "read_only" } }),
            Code::UnknownValue,
            "/directories/~1a",
            Refuses,
        ),
        (
            json!({ "directories": [{ "path": "/a", "mode": "ro" }] }),
            Code::UnknownValue,
            "/directories/0/mode",
            Refuses,
        ),
        (
            json!({ "mounts": [{ "type": "nfs", "target": "/a" }] }),
            Code::UnknownValue,
            "/mounts/0/type",
            Refuses,
        ),
        (
            json!({ "command": [] }),
            Code::UnknownField,
            "/command",
            Refuses,
        ),
        (json!({ "": 1 }), Code::UnknownField, "/", Refuses),
        (
            json!({ "a/b~c": 1 }),
            Code::UnknownField,
            "/a~1b~0c",
            Refuses,
        ),
        (
            json!({ "env": { "Set": {} } }),
            Code::UnknownField,
            "/env/Set",
            Refuses,
        ),
        (
            json!({ "stdout": { "capture": { "max": 1 } } }),
            Code::UnknownField,
            "/stdout/capture/max",
            Refuses,
        ),
        (
            json!({ "cwd": { "base64": "Lw==", "text": "/" } }),
            Code::UnknownField,
            "/cwd/text",
            Refuses,
        ),
        (
            json!({ "directories": [{ "path": "/a", "mode": "hidden", "x": 1 }] }),
            Code::UnknownField,
            "/directories/0/x",
            Refuses,
        ),
    ]);
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
        let hint = refused(text.as_bytes(), Channels::default()).hint;
        assert_eq!(
            hint,
            Some(format!("Did you mean {suggestion:?}?")),
            "{text}"
        );
    }
}

#[test]
fn field_that_is_missing_is_named() {
    let problem = refused(b"{}", Channels::default());
    assert_eq!(
        (problem.code, problem.at.as_deref()),
        (Code::MissingField, Some("/argv"))
    );
    check([
        (
            json!({ "directories": [{ "path": "/a" }] }),
            Code::MissingField,
            "/directories/0/mode",
            Refuses,
        ),
        (
            json!({ "directories": [{ "mode": "hidden" }] }),
            Code::MissingField,
            "/directories/0/path",
            Refuses,
        ),
        (
            json!({ "cwd": {} }),
            Code::MissingField,
            "/cwd/base64",
            Refuses,
        ),
        (
            json!({ "cgroup": {} }),
            Code::MissingField,
            "/cgroup/parent",
            Refuses,
        ),
        (
            json!({ "stdin": {} }),
            Code::MissingField,
            "/stdin",
            Refuses,
        ),
        (
            json!({ "stdout": {} }),
            Code::MissingField,
            "/stdout",
            Refuses,
        ),
        (
            json!({ "stderr": { "append": true } }),
            Code::MissingField,
            "/stderr",
            Refuses,
        ),
    ]);
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    check([
        (
            json!({ "stdin": { "text": "", "base64": "" } }),
            Code::Contradiction,
            "/stdin",
            Refuses,
        ),
        (
            json!({ "stdin": { "file": "a", "fd": 5 } }),
            Code::Contradiction,
            "/stdin",
            Refuses,
        ),
        (
            json!({ "stdout": { "capture": {}, "file": "a" } }),
            Code::Contradiction,
            "/stdout",
            Refuses,
        ),
        (
            json!({ "stderr": { "fd": 5, "file": "a" } }),
            Code::Contradiction,
            "/stderr",
            Refuses,
        ),
        (
            json!({ "stdout": { "fd": 5, "append": true } }),
            Code::Contradiction,
            "/stdout/append",
            Refuses,
        ),
        (
            json!({ "stderr": { "capture": {}, "append": false } }),
            Code::Contradiction,
            "/stderr/append",
            Refuses,
        ),
        (
            json!({ "scratch": { "directory": "/a", "size_bytes": 4096 } }),
            Code::Contradiction,
            "/scratch",
            Refuses,
        ),
        (
            json!({ "scratch": { "directory": "/a", "inodes": 64 } }),
            Code::Contradiction,
            "/scratch",
            Refuses,
        ),
        (
            json!({ "scratch": { "directory": "/a", "numa_nodes": [0] } }),
            Code::Contradiction,
            "/scratch",
            Refuses,
        ),
        (
            json!({ "dev": "minimal", "directories": { "/dev/": "read-only" } }),
            Code::Contradiction,
            "/dev",
            Cannot,
        ),
        (
            json!({ "fds": [4, 3, 4] }),
            Code::Contradiction,
            "/fds/2",
            Refuses,
        ),
    ]);
}

#[test]
fn stream_that_the_job_or_the_report_needs_is_refused() {
    let both = Channels {
        spec_on_stdin: true,
        report_on_stdout: true,
    };
    for (text, at) in [
        (r#"{"argv":["a"],"stdin":"inherit"}"#, "/stdin"),
        (r#"{"argv":["a"],"stdin":{"fd":0}}"#, "/stdin/fd"),
        (r#"{"argv":["a"],"stdout":"inherit"}"#, "/stdout"),
        (r#"{"argv":["a"],"stdout":{"fd":1}}"#, "/stdout/fd"),
        (r#"{"argv":["a"],"stderr":{"fd":1}}"#, "/stderr/fd"),
    ] {
        let problem = refused(text.as_bytes(), both);
        assert_eq!(
            (problem.code, problem.at.as_deref()),
            (Code::Contradiction, Some(at)),
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
fn feature_that_is_not_built_is_refused_and_never_ignored() {
    check([
        (
            json!({ "user": { "map": "range" } }),
            Code::NotImplemented,
            "/user/map",
            Accepts,
        ),
        (
            json!({ "limits": { "cpu_time_ms": 1 } }),
            Code::NotImplemented,
            "/limits/cpu_time_ms",
            Accepts,
        ),
        (
            json!({ "limits": { "memory_bytes": 1 } }),
            Code::NotImplemented,
            "/limits/memory_bytes",
            Accepts,
        ),
        (
            json!({ "limits": { "processes": 1 } }),
            Code::NotImplemented,
            "/limits/processes",
            Accepts,
        ),
        (
            json!({ "limits": { "cpus": 0.5 } }),
            Code::NotImplemented,
            "/limits/cpus",
            Accepts,
        ),
        (
            json!({ "limits": { "cpus": 2 } }),
            Code::NotImplemented,
            "/limits/cpus",
            Accepts,
        ),
        (
            json!({ "limits": { "output_bytes": 0 } }),
            Code::NotImplemented,
            "/limits/output_bytes",
            Accepts,
        ),
        (
            json!({ "cgroup": "required" }),
            Code::NotImplemented,
            "/cgroup",
            Accepts,
        ),
        (
            json!({ "cgroup": { "parent": "/sys/fs/cgroup" } }),
            Code::NotImplemented,
            "/cgroup",
            Accepts,
        ),
        (
            json!({ "results": { "directory": "/a" } }),
            Code::NotImplemented,
            "/results",
            Accepts,
        ),
        (
            json!({ "changes": true }),
            Code::NotImplemented,
            "/changes",
            Accepts,
        ),
        (
            json!({ "sync": { "events_fd": 3 } }),
            Code::NotImplemented,
            "/sync",
            Accepts,
        ),
    ]);
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
fn base64_that_is_not_canonical_is_refused() {
    for bad in [
        "A", "AA", "AAA", "A===", "====", "Zh==", "Z m8", "Zm9v\n", "Zm9vYg=A", "Zm9v====", "_-8=",
        "Zm9vYg",
    ] {
        check([
            (
                json!({ "argv": ["a", { "base64": bad }] }),
                Code::BadBase64,
                "/argv/1/base64",
                Refuses,
            ),
            (
                json!({ "stdin": { "base64": bad } }),
                Code::BadBase64,
                "/stdin/base64",
                Refuses,
            ),
            (
                json!({ "env": { "set": { "A": { "base64": bad } } } }),
                Code::BadBase64,
                "/env/set/A/base64",
                Refuses,
            ),
        ]);
    }
    check([
        (
            json!({ "cwd": { "base64": 1 } }),
            Code::WrongType,
            "/cwd/base64",
            Refuses,
        ),
        (
            json!({ "stdin": { "base64": ["Lw=="] } }),
            Code::WrongType,
            "/stdin/base64",
            Refuses,
        ),
    ]);
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
    assert!(matches!(largest.stdin, Input::Bytes(bytes) if bytes.len() > 16_000_000));
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
fn job_with_nothing_but_a_command_gets_the_defaults() {
    let job = Job::from_slice(
        br#"{"argv":["a"]}"#,
        Channels {
            spec_on_stdin: true,
            report_on_stdout: true,
        },
    )
    .unwrap();
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
