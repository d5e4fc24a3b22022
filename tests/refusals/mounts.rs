//! The places of `mounts`, by type.

use crate::table::{Cannot, Refuses, Table, quoted};
use stdbox::problem::Code;

const MOST: u64 = i64::MAX.unsigned_abs();

/// Each type with its other fields that must be there.
const TYPES: [(&str, &[(&str, &str)]); 6] = [
    ("bind", &[("source", "\"/s\"")]),
    ("tmpfs", &[]),
    ("file", &[("text", "\"\"")]),
    ("symlink", &[("to", "\"../x\"")]),
    (
        "overlay",
        &[
            ("lower", "[\"/l\"]"),
            ("upper", "\"/u\""),
            ("work", "\"/w\""),
        ],
    ),
    ("mqueue", &[]),
];

/// A mount with all that it needs but one field.
fn but(kind: &str, field: &str) -> String {
    let (_, more) = TYPES.iter().find(|(name, _)| *name == kind).unwrap();
    let kind = format!("\"{kind}\"");
    let mut fields = vec![("type", kind.as_str()), ("target", "\"/t\"")];
    fields.extend_from_slice(more);
    let all: Vec<String> = fields
        .iter()
        .filter(|(name, _)| *name != field)
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    all.join(",")
}

fn fields(kind: &str, field: &str) -> String {
    let rest = but(kind, field);
    let comma = if rest.is_empty() { "" } else { "," };
    format!("\"mounts\":[{{{rest}{comma}\"{field}\":§}}]")
}

pub(crate) fn rows(t: &mut Table) {
    t.place("/mounts", "\"mounts\":§", &[]).types(&["array"]);
    t.place("/mounts/*", "\"mounts\":[§]", &[])
        .types(&["object"]);
    for (kind, more) in TYPES {
        let site = format!("/mounts/*:{kind}");
        let whole = format!("{{{}}}", but(kind, ""));
        let mut needed = vec!["type", "target"];
        if kind != "file" {
            needed.extend(more.iter().map(|(name, _)| *name));
        }
        let mut place = t.place(&site, "\"mounts\":[§]", &[&whole]);
        place.object(&whole, &needed);
        // Fields of another type.
        for (other, value) in [
            ("source", "\"/s\""),
            ("read_only", "true"),
            ("recursive", "true"),
            ("size_bytes", "4096"),
            ("inodes", "64"),
            ("mode", "\"755\""),
            ("text", "\"\""),
            ("base64", "\"\""),
            ("to", "\"x\""),
            ("lower", "[\"/l\"]"),
            ("upper", "\"/u\""),
            ("work", "\"/w\""),
        ] {
            let own = match kind {
                "bind" => &["source", "read_only", "recursive"][..],
                "tmpfs" => &["size_bytes", "inodes", "mode"],
                "file" => &["text", "base64", "mode"],
                "symlink" => &["to"],
                "overlay" => &["lower", "upper", "work"],
                _ => &[],
            };
            if !own.contains(&other) {
                let with = format!("{{{},\"{other}\":{value}}}", but(kind, ""));
                place.bad_below(
                    "field of another type",
                    &with,
                    Code::Contradiction,
                    &format!("/{other}"),
                    Refuses,
                );
            }
        }
        t.place(
            &format!("{site}/type"),
            &fields(kind, "type"),
            &[&format!("\"{kind}\"")],
        )
        .word(&["string"]);
        let right = ["\"/t\"", "{\"base64\":\"L/8=\"}"];
        t.place(&format!("{site}/target"), &fields(kind, "target"), &right)
            .absolute()
            .bad("proc", "\"/proc/x\"", Code::ProcDirectory, Cannot);
    }
    t.place("/mounts", &fields("tmpfs", "target"), &[]).bad(
        "proc",
        "\"/proc\"",
        Code::ProcDirectory,
        Cannot,
    );
    for (kind, field) in [
        ("bind", "source"),
        ("symlink", "to"),
        ("overlay", "upper"),
        ("overlay", "work"),
    ] {
        let site = format!("/mounts/*:{kind}/{field}");
        t.place(&site, &fields(kind, field), &["\"../a\""]).path();
    }
    for field in ["read_only", "recursive"] {
        let site = format!("/mounts/*:bind/{field}");
        t.place(&site, &fields("bind", field), &["true", "false"])
            .flag();
    }
    for field in ["size_bytes", "inodes"] {
        let site = format!("/mounts/*:tmpfs/{field}");
        t.place(&site, &fields("tmpfs", field), &["1"])
            .number(1, MOST);
    }
    for kind in ["tmpfs", "file"] {
        let site = format!("/mounts/*:{kind}/mode");
        t.place(
            &site,
            &fields(kind, "mode"),
            &["\"0755\"", "\"1777\"", "\"755\""],
        )
        .types(&["string"])
        .bad("empty", "\"\"", Code::Empty, Refuses);
        for mode in [
            "8", "75", "00755", "0o755", "-755", "u=rwx", "12345", "755\0",
        ] {
            let fault = if mode.contains('\0') { "nul" } else { "digits" };
            t.place(&site, &fields(kind, "mode"), &[]).bad(
                fault,
                &quoted(mode),
                Code::OutOfRange,
                Refuses,
            );
        }
    }
    let (text, base64) = (
        fields("file", "text"),
        fields("file", "text").replace("text", "base64"),
    );
    t.place("/mounts/*:file/text", &text, &["\"\\u0000\""])
        .types(&["string"]);
    t.place("/mounts/*:file/base64", &base64, &["\"\"", "\"AA==\""])
        .base64();
    let without = format!("{{{}}}", but("file", "text"));
    let both = format!("{{{},\"base64\":\"\"}}", but("file", ""));
    t.place("/mounts/*:file", "\"mounts\":[§]", &[])
        .bad(
            "without text or base64",
            &without,
            Code::MissingField,
            Refuses,
        )
        .bad("two forms", &both, Code::Contradiction, Refuses);
    t.place(
        "/mounts/*:overlay/lower",
        &fields("overlay", "lower"),
        &["[\"a\",\"/b\"]"],
    )
    .types(&["array"])
    .bad("empty", "[]", Code::Empty, Refuses);
    let list = fields("overlay", "lower").replace('§', "[\"/l\",§]");
    t.place("/mounts/*:overlay/lower/*", &list, &["\"a\""])
        .path();
}
