//! Filters that make no sense: each is refused with its code, at the exact field, and by the schema where a schema can say it.

use serde_json::{Value, json};
use std::fs;
use stdbox::job::{Channels, Job};
use stdbox::problem::{Code, Problem, Stage};

fn refused(seccomp: &Value) -> Problem {
    let job = json!({"argv": ["a"], "seccomp": seccomp});
    match Job::from_slice(job.to_string().as_bytes(), Channels::default()) {
        Ok(_) => panic!("accepted: {seccomp}"),
        Err(problem) => problem,
    }
}

/// The object, what it is refused with, where, and whether the schema refuses it too.
type Row = (Value, Code, String, bool);

fn check(rows: Vec<Row>) {
    let text = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/schema/job.json")).unwrap();
    let validator = jsonschema::draft202012::new(&serde_json::from_slice(&text).unwrap()).unwrap();
    for (seccomp, code, at, schema) in rows {
        let problem = refused(&seccomp);
        assert_eq!(
            (problem.code, problem.at.as_deref(), problem.stage),
            (code, Some(at.as_str()), Stage::Validate),
            "{seccomp}"
        );
        let message = &problem.message;
        assert!(message.ends_with('.'), "{message}");
        let valid = validator.is_valid(&json!({"argv": ["a"], "seccomp": seccomp}));
        assert_eq!(valid, !schema, "the schema about {seccomp}");
    }
}

/// A profile with these fields beside a default action.
fn oci(fields: Value, code: Code, at: &str, schema: bool) -> Row {
    let mut profile = json!({"defaultAction": "SCMP_ACT_ERRNO"});
    for (key, value) in fields.as_object().unwrap() {
        profile[key] = value.clone();
    }
    (
        json!({ "oci": profile }),
        code,
        format!("/seccomp/oci{at}"),
        schema,
    )
}

/// A profile with a second rule of these fields.
fn rule(fields: Value, code: Code, at: &str, schema: bool) -> Row {
    let mut rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
    for (key, value) in fields.as_object().unwrap() {
        rule[key] = value.clone();
    }
    bare_rule(rule, code, at, schema)
}

fn bare_rule(rule: Value, code: Code, at: &str, schema: bool) -> Row {
    let first = json!({"names": ["write"], "action": "SCMP_ACT_ALLOW"});
    oci(
        json!({"syscalls": [first, rule]}),
        code,
        &format!("/syscalls/1{at}"),
        schema,
    )
}

/// A profile with a rule whose second condition has these fields.
fn arg(fields: Value, code: Code, at: &str, schema: bool) -> Row {
    let first = json!({"index": 0, "value": 0, "op": "SCMP_CMP_EQ"});
    rule(
        json!({"args": [first, fields]}),
        code,
        &format!("/args/1{at}"),
        schema,
    )
}

#[test]
fn wrong_profiles() {
    use Code::{
        BadName, Contradiction, MissingField, NotImplemented, OutOfRange, TooLong, UnknownField,
        UnknownValue, WrongType,
    };
    let long = format!("SCMP_ARCH_{}", "A".repeat(60));
    let bare = |seccomp: Value, code, at: &str| (seccomp, code, at.to_owned(), true);
    check(vec![
        bare(json!({}), MissingField, "/seccomp"),
        bare(json!(7), WrongType, "/seccomp"),
        bare(json!([]), WrongType, "/seccomp"),
        bare(json!("SCMP_ACT_ALLOW"), UnknownValue, "/seccomp"),
        bare(
            json!({"oci": {}}),
            MissingField,
            "/seccomp/oci/defaultAction",
        ),
        bare(
            json!({"oci": {"defaultAction": "SCMP_ACT_ALLOW"}, "default_action": "allow", "rules": []}),
            Contradiction,
            "/seccomp",
        ),
        bare(json!({"oci": []}), WrongType, "/seccomp/oci"),
        bare(json!({"oci": "profile.json"}), WrongType, "/seccomp/oci"),
        bare(
            json!({"oci": {"defaultAction": null}}),
            MissingField,
            "/seccomp/oci/defaultAction",
        ),
        bare(
            json!({"oci": {"defaultAction": 7}}),
            WrongType,
            "/seccomp/oci/defaultAction",
        ),
        bare(
            json!({"oci": {"defaultAction": "allow"}}),
            UnknownValue,
            "/seccomp/oci/defaultAction",
        ),
        bare(
            json!({"oci": {"defaultAction": "SCMP_ACT_errno"}}),
            UnknownValue,
            "/seccomp/oci/defaultAction",
        ),
        (
            json!({"oci": {"defaultAction": "SCMP_ACT_TRACE"}}),
            NotImplemented,
            "/seccomp/oci/defaultAction".into(),
            false,
        ),
        (
            json!({"oci": {"defaultAction": "SCMP_ACT_NOTIFY"}}),
            NotImplemented,
            "/seccomp/oci/defaultAction".into(),
            false,
        ),
        (
            json!({"oci": {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}}),
            Contradiction,
            "/seccomp/oci/defaultErrnoRet".into(),
            false,
        ),
        (
            json!({"oci": {"defaultAction": "SCMP_ACT_KILL", "defaultErrno": "EPERM"}}),
            Contradiction,
            "/seccomp/oci/defaultErrno".into(),
            false,
        ),
        oci(
            json!({"default_action": "SCMP_ACT_ALLOW"}),
            UnknownField,
            "/default_action",
            true,
        ),
        oci(json!({"seccomp": {}}), UnknownField, "/seccomp", true),
        oci(
            json!({"defaultErrnoRet": 4096}),
            OutOfRange,
            "/defaultErrnoRet",
            true,
        ),
        oci(
            json!({"defaultErrnoRet": 65537}),
            OutOfRange,
            "/defaultErrnoRet",
            true,
        ),
        oci(
            json!({"defaultErrnoRet": u64::MAX}),
            OutOfRange,
            "/defaultErrnoRet",
            true,
        ),
        oci(
            json!({"defaultErrnoRet": -1}),
            OutOfRange,
            "/defaultErrnoRet",
            true,
        ),
        oci(
            json!({"defaultErrnoRet": "1"}),
            WrongType,
            "/defaultErrnoRet",
            true,
        ),
        oci(
            json!({"defaultErrnoRet": 1.5}),
            WrongType,
            "/defaultErrnoRet",
            true,
        ),
        oci(
            json!({"defaultErrno": "ENOTHING"}),
            UnknownValue,
            "/defaultErrno",
            false,
        ),
        oci(
            json!({"defaultErrno": "UnknownErrno"}),
            UnknownValue,
            "/defaultErrno",
            true,
        ),
        oci(json!({"defaultErrno": 1}), WrongType, "/defaultErrno", true),
        oci(
            json!({"architectures": ["SCMP_ARCH_X86_64", "amd64"]}),
            BadName,
            "/architectures/1",
            true,
        ),
        oci(
            json!({"architectures": ["SCMP_ARCH_"]}),
            BadName,
            "/architectures/0",
            true,
        ),
        oci(
            json!({"architectures": ["SCMP_ARCH_x86"]}),
            BadName,
            "/architectures/0",
            true,
        ),
        oci(
            json!({"architectures": [long]}),
            TooLong,
            "/architectures/0",
            true,
        ),
        oci(
            json!({"architectures": "SCMP_ARCH_X86"}),
            WrongType,
            "/architectures",
            true,
        ),
        oci(
            json!({"architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}),
            Contradiction,
            "/archMap",
            false,
        ),
        oci(
            json!({"archMap": [{"architecture": "SCMP_ARCH_X86_64"}, {}]}),
            MissingField,
            "/archMap/1/architecture",
            true,
        ),
        oci(
            json!({"archMap": [{"architecture": "x86"}]}),
            BadName,
            "/archMap/0/architecture",
            true,
        ),
        oci(
            json!({"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", ""]}]}),
            BadName,
            "/archMap/0/subArchitectures/1",
            true,
        ),
        oci(
            json!({"archMap": {"architecture": "SCMP_ARCH_X86_64"}}),
            WrongType,
            "/archMap",
            true,
        ),
        oci(
            json!({"flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}),
            UnknownValue,
            "/flags/0",
            true,
        ),
        oci(
            json!({"flags": "SECCOMP_FILTER_FLAG_LOG"}),
            WrongType,
            "/flags",
            true,
        ),
        oci(
            json!({"listenerPath": "/run/agent"}),
            NotImplemented,
            "/listenerPath",
            false,
        ),
        oci(
            json!({"listenerMetadata": "x"}),
            NotImplemented,
            "/listenerMetadata",
            false,
        ),
        oci(json!({"syscalls": {}}), WrongType, "/syscalls", true),
        oci(
            json!({"syscalls": ["read"]}),
            WrongType,
            "/syscalls/0",
            true,
        ),
    ]);
}

#[test]
fn wrong_rules() {
    use Code::{
        BadName, Contradiction, Empty, MissingField, NotImplemented, OutOfRange, TooLong,
        UnknownField, UnknownValue, WrongType,
    };
    let many = vec![json!({"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}); 33];
    check(vec![
        bare_rule(json!({}), MissingField, "/names", true),
        bare_rule(
            json!({"names": null, "name": null, "action": "SCMP_ACT_ALLOW"}),
            MissingField,
            "/names",
            true,
        ),
        bare_rule(json!({"names": ["read"]}), MissingField, "/action", true),
        bare_rule(
            json!({"names": ["read"], "action": null}),
            MissingField,
            "/action",
            true,
        ),
        bare_rule(
            json!({"name": "", "action": "SCMP_ACT_ALLOW"}),
            Empty,
            "/name",
            true,
        ),
        bare_rule(
            json!({"name": "a b", "action": "SCMP_ACT_ALLOW"}),
            BadName,
            "/name",
            true,
        ),
        bare_rule(
            json!({"name": "a".repeat(65), "action": "SCMP_ACT_ALLOW"}),
            TooLong,
            "/name",
            true,
        ),
        bare_rule(
            json!({"name": ["read"], "action": "SCMP_ACT_ALLOW"}),
            WrongType,
            "/name",
            true,
        ),
        rule(json!({"name": "read"}), Contradiction, "/name", true),
        rule(json!({"names": []}), Empty, "/names", true),
        rule(json!({"names": "read"}), WrongType, "/names", true),
        rule(json!({"names": ["read", ""]}), Empty, "/names/1", true),
        rule(
            json!({"names": ["read", "write "]}),
            BadName,
            "/names/1",
            true,
        ),
        rule(json!({"names": ["re\u{e4}d"]}), BadName, "/names/0", true),
        rule(json!({"names": ["read\u{0}"]}), BadName, "/names/0", true),
        rule(
            json!({"names": ["a".repeat(65)]}),
            TooLong,
            "/names/0",
            true,
        ),
        rule(json!({"names": ["read", 0]}), WrongType, "/names/1", true),
        rule(
            json!({"action": "SCMP_ACT_TRACE"}),
            NotImplemented,
            "/action",
            false,
        ),
        rule(
            json!({"action": "SCMP_ACT_NOTIFY"}),
            NotImplemented,
            "/action",
            false,
        ),
        rule(
            json!({"action": "SCMP_ACT_DENY"}),
            UnknownValue,
            "/action",
            true,
        ),
        rule(
            json!({"action": ["SCMP_ACT_ALLOW"]}),
            WrongType,
            "/action",
            true,
        ),
        rule(json!({"errnoRet": 1}), Contradiction, "/errnoRet", false),
        rule(json!({"errnoRet": 0}), Contradiction, "/errnoRet", false),
        rule(json!({"errno": "EPERM"}), Contradiction, "/errno", false),
        rule(
            json!({"action": "SCMP_ACT_TRAP", "errnoRet": 7}),
            Contradiction,
            "/errnoRet",
            false,
        ),
        rule(
            json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 4096}),
            OutOfRange,
            "/errnoRet",
            true,
        ),
        rule(
            json!({"action": "SCMP_ACT_ERRNO", "errno": "EDOOFUS"}),
            UnknownValue,
            "/errno",
            false,
        ),
        rule(json!({"comment": 1}), WrongType, "/comment", true),
        rule(json!({"priority": 1}), UnknownField, "/priority", true),
        rule(json!({"args": {}}), WrongType, "/args", true),
        rule(json!({"args": many}), TooLong, "/args", true),
        arg(json!({}), MissingField, "/index", true),
        arg(
            json!({"index": 0, "op": "SCMP_CMP_EQ"}),
            MissingField,
            "/value",
            true,
        ),
        arg(json!({"index": 0, "value": 0}), MissingField, "/op", true),
        arg(
            json!({"index": 0, "value": 0, "op": null}),
            MissingField,
            "/op",
            true,
        ),
        arg(
            json!({"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}),
            OutOfRange,
            "/index",
            true,
        ),
        arg(
            json!({"index": 256, "value": 0, "op": "SCMP_CMP_EQ"}),
            OutOfRange,
            "/index",
            true,
        ),
        arg(
            json!({"index": -1, "value": 0, "op": "SCMP_CMP_EQ"}),
            OutOfRange,
            "/index",
            true,
        ),
        arg(
            json!({"index": "0", "value": 0, "op": "SCMP_CMP_EQ"}),
            WrongType,
            "/index",
            true,
        ),
        arg(
            json!({"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}),
            OutOfRange,
            "/value",
            true,
        ),
        arg(
            json!({"index": 0, "value": 18_446_744_073_709_551_616.0, "op": "SCMP_CMP_EQ"}),
            OutOfRange,
            "/value",
            true,
        ),
        arg(
            json!({"index": 0, "value": 0, "op": "eq"}),
            UnknownValue,
            "/op",
            true,
        ),
        arg(
            json!({"index": 0, "value": 0, "mask": 0, "op": "SCMP_CMP_EQ"}),
            UnknownField,
            "/mask",
            true,
        ),
        arg(
            json!({"index": 0, "value": 12, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}),
            Contradiction,
            "/valueTwo",
            false,
        ),
        arg(
            json!({"index": 0, "value": 0, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}),
            Contradiction,
            "/valueTwo",
            false,
        ),
        rule(json!({"includes": []}), WrongType, "/includes", true),
        rule(
            json!({"includes": {"capabilities": []}}),
            UnknownField,
            "/includes/capabilities",
            true,
        ),
        rule(
            json!({"includes": {"caps": ["CAP_SYS_ADMIN", "SYS_ADMIN"]}}),
            BadName,
            "/includes/caps/1",
            true,
        ),
        rule(
            json!({"excludes": {"caps": ["CAP_"]}}),
            BadName,
            "/excludes/caps/0",
            true,
        ),
        rule(
            json!({"excludes": {"caps": ["CAP_sys_admin"]}}),
            BadName,
            "/excludes/caps/0",
            true,
        ),
        rule(
            json!({"excludes": {"caps": "CAP_SYS_ADMIN"}}),
            WrongType,
            "/excludes/caps",
            true,
        ),
        rule(
            json!({"includes": {"arches": ["amd64", "a".repeat(65)]}}),
            TooLong,
            "/includes/arches/1",
            true,
        ),
        rule(
            json!({"includes": {"minKernel": "4"}}),
            BadName,
            "/includes/minKernel",
            true,
        ),
        rule(
            json!({"includes": {"minKernel": "4.8.1"}}),
            BadName,
            "/includes/minKernel",
            true,
        ),
        rule(
            json!({"includes": {"minKernel": "4.8-rc1"}}),
            BadName,
            "/includes/minKernel",
            true,
        ),
        rule(
            json!({"includes": {"minKernel": ""}}),
            BadName,
            "/includes/minKernel",
            true,
        ),
        rule(
            json!({"excludes": {"minKernel": "99999999999.0"}}),
            BadName,
            "/excludes/minKernel",
            false,
        ),
        rule(
            json!({"excludes": {"minKernel": 4.8}}),
            WrongType,
            "/excludes/minKernel",
            true,
        ),
    ]);
}

#[test]
fn wrong_short_forms() {
    use Code::{
        BadName, Contradiction, Empty, MissingField, OutOfRange, TooLong, UnknownField,
        UnknownValue, WrongType,
    };
    let short = |fields: Value, code, at: &str, schema| {
        let mut short = json!({"default_action": "allow", "rules": []});
        for (key, value) in fields.as_object().unwrap() {
            short[key] = value.clone();
        }
        (short, code, format!("/seccomp{at}"), schema)
    };
    let rule = |fields: Value, code, at: &str, schema| {
        let mut rule = json!({"names": ["read"], "action": "allow"});
        for (key, value) in fields.as_object().unwrap() {
            rule[key] = value.clone();
        }
        let first = json!({"names": ["write"], "action": "log"});
        let at = format!("/rules/1{at}");
        short(json!({"rules": [first, rule]}), code, &at, schema)
    };
    let bare_rule = |rule: Value, code, at: &str| {
        let at = format!("/rules/0{at}");
        short(json!({"rules": [rule]}), code, &at, true)
    };
    let arg = |fields: Value, code, at: &str, schema| {
        let at = format!("/args/0{at}");
        rule(json!({"args": [fields]}), code, &at, schema)
    };
    let many = vec![json!({"index": 0, "value": 0, "op": "eq"}); 33];
    check(vec![
        (
            json!({"rules": []}),
            MissingField,
            "/seccomp/default_action".into(),
            true,
        ),
        (
            json!({"default_action": "allow"}),
            MissingField,
            "/seccomp/rules".into(),
            true,
        ),
        short(
            json!({"default_action": "deny"}),
            UnknownValue,
            "/default_action",
            true,
        ),
        short(
            json!({"default_action": 1}),
            WrongType,
            "/default_action",
            true,
        ),
        short(
            json!({"default_action": {"errno": 0}}),
            OutOfRange,
            "/default_action/errno",
            true,
        ),
        short(
            json!({"default_action": {"errno": 4096}}),
            OutOfRange,
            "/default_action/errno",
            true,
        ),
        short(
            json!({"default_action": {"errno": -1}}),
            OutOfRange,
            "/default_action/errno",
            true,
        ),
        short(
            json!({"default_action": {"errno": "EPERM"}}),
            WrongType,
            "/default_action/errno",
            true,
        ),
        short(
            json!({"default_action": {"errno": 1, "x": 1}}),
            UnknownField,
            "/default_action/x",
            true,
        ),
        short(
            json!({"default_action": {}}),
            MissingField,
            "/default_action/errno",
            true,
        ),
        short(json!({"rules": {}}), WrongType, "/rules", true),
        short(
            json!({"defaultAction": "SCMP_ACT_ALLOW"}),
            UnknownField,
            "/defaultAction",
            true,
        ),
        bare_rule(json!({}), MissingField, "/names"),
        bare_rule(json!({"names": ["read"]}), MissingField, "/action"),
        bare_rule(
            json!({"name": "read", "action": "allow"}),
            UnknownField,
            "/name",
        ),
        rule(json!({"names": []}), Empty, "/names", true),
        rule(json!({"names": [""]}), Empty, "/names/0", true),
        rule(json!({"names": ["read", "a-b"]}), BadName, "/names/1", true),
        rule(
            json!({"names": ["a".repeat(65)]}),
            TooLong,
            "/names/0",
            true,
        ),
        rule(json!({"action": "kill"}), UnknownValue, "/action", true),
        rule(
            json!({"action": {"errno": 4096}}),
            OutOfRange,
            "/action/errno",
            true,
        ),
        rule(json!({"args": many}), TooLong, "/args", true),
        arg(
            json!({"op": "eq", "value": 0}),
            MissingField,
            "/index",
            true,
        ),
        arg(json!({"index": 0, "value": 0}), MissingField, "/op", true),
        arg(
            json!({"index": 0, "op": "eq"}),
            MissingField,
            "/value",
            true,
        ),
        arg(
            json!({"index": 6, "op": "eq", "value": 0}),
            OutOfRange,
            "/index",
            true,
        ),
        arg(
            json!({"index": 0, "op": "SCMP_CMP_EQ", "value": 0}),
            UnknownValue,
            "/op",
            true,
        ),
        arg(
            json!({"index": 0, "op": "eq", "value": -1}),
            OutOfRange,
            "/value",
            true,
        ),
        arg(
            json!({"index": 0, "op": "masked-eq", "value": 0}),
            MissingField,
            "/mask",
            false,
        ),
        arg(
            json!({"index": 0, "op": "eq", "value": 0, "mask": 1}),
            Contradiction,
            "/mask",
            false,
        ),
        arg(
            json!({"index": 0, "op": "masked-eq", "value": 3, "mask": 1}),
            Contradiction,
            "/value",
            false,
        ),
        arg(
            json!({"index": 0, "op": "eq", "value": 0, "valueTwo": 1}),
            UnknownField,
            "/valueTwo",
            true,
        ),
    ]);
}
