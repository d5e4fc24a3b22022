//! Rows of wrong jobs, and how they are made for a place by what kind of value it takes.

use crate::sites::TYPES;
use serde_json::Value;
use stdbox::problem::Code;
use stdbox::text::base64_encode;

/// How the schema stands to a wrong job.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Schema {
    /// It refuses it too.
    Refuses,
    /// It cannot say it: lengths in bytes, `..`, base64 of a NUL, two fields together, how a number is written.
    Cannot,
}
pub(crate) use Schema::{Cannot, Refuses};

/// One wrong job.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) site: String,
    pub(crate) fault: String,
    pub(crate) job: String,
    pub(crate) code: Code,
    pub(crate) at: String,
    pub(crate) schema: Schema,
}

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    /// Jobs with a right value at each place: what is wrong with the others is the value.
    pub(crate) right: Vec<(String, String)>,
}

/// A place for values in a job.
pub(crate) struct Place<'a> {
    table: &'a mut Table,
    site: String,
    fields: &'a str,
}

const HERE: &str = "here it is";

/// The whole text of a job; `§` in the fields is the value.
pub(crate) fn job(fields: &str, value: &str) -> String {
    let fields = fields.replace('§', value);
    if fields.starts_with("\"argv\"") {
        format!("{{{fields}}}")
    } else {
        format!("{{\"argv\":[\"a\"],{fields}}}")
    }
}

fn find(value: &Value, at: &str) -> Option<String> {
    let inside = |key: &str, value: &Value| {
        let at = format!("{at}/{}", stdbox::json::escape(key));
        if key == HERE {
            return Some(at);
        }
        find(value, &at)
    };
    match value {
        Value::String(text) if text == HERE => Some(at.to_owned()),
        Value::Object(map) => map.iter().find_map(|(key, value)| inside(key, value)),
        Value::Array(list) => {
            let mut all = list.iter().enumerate();
            all.find_map(|(i, value)| inside(&i.to_string(), value))
        }
        _ => None,
    }
}

/// The JSON text of a string.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    format!("{{\"base64\":\"{}\"}}", base64_encode(bytes.as_ref()))
}

impl Table {
    pub(crate) fn place<'a>(
        &'a mut self,
        site: &str,
        fields: &'a str,
        right: &[&str],
    ) -> Place<'a> {
        for right in right {
            self.right.push((site.to_owned(), job(fields, right)));
        }
        Place {
            table: self,
            site: site.to_owned(),
            fields,
        }
    }
}

impl Place<'_> {
    /// A value that is wrong, and where the error says so below this place.
    fn row(&mut self, fault: &str, value: &str, code: Code, below: &str, schema: Schema) {
        let whole = job(self.fields, &quoted(HERE));
        let marked = find(&serde_json::from_str(&whole).unwrap(), "").unwrap();
        // Where the place is a key, the value is the last part of the pointer.
        let at = match (marked.strip_suffix(HERE), serde_json::from_str(value)) {
            (Some(map), Ok(Value::String(key))) => format!("{map}{}", stdbox::json::escape(&key)),
            _ => marked,
        };
        self.table.rows.push(Row {
            site: self.site.clone(),
            fault: fault.to_owned(),
            job: job(self.fields, value),
            code,
            at: format!("{at}{below}"),
            schema,
        });
    }

    /// A value that breaks a rule.
    pub(crate) fn bad(
        &mut self,
        fault: &str,
        value: &str,
        code: Code,
        schema: Schema,
    ) -> &mut Self {
        self.row(fault, value, code, "", schema);
        self
    }

    /// A value that breaks a rule, with the error at a part of it.
    pub(crate) fn bad_below(
        &mut self,
        fault: &str,
        value: &str,
        code: Code,
        below: &str,
        schema: Schema,
    ) -> &mut Self {
        self.row(fault, value, code, below, schema);
        self
    }

    /// A value that cannot be read.
    pub(crate) fn unread(
        &mut self,
        fault: &str,
        value: &str,
        code: Code,
        below: &str,
    ) -> &mut Self {
        self.row(fault, value, code, below, Refuses);
        self
    }

    /// Values of every type but these.
    pub(crate) fn types(&mut self, taken: &[&str]) -> &mut Self {
        for kind in TYPES.iter().filter(|kind| !taken.contains(kind)) {
            let samples: &[&str] = match *kind {
                "null" => &["null"],
                "boolean" => &["true", "false"],
                "number" => &["7", "1.5"],
                "string" => &["\"qqqqqqqq\"", "\"\""],
                "array" => &["[]", "[\"/a\"]"],
                _ => &["{}", "{\"qqqqqqqq\":1}"],
            };
            for sample in samples {
                self.unread(&format!("type {kind}"), sample, Code::WrongType, "");
            }
        }
        self
    }

    pub(crate) fn flag(&mut self) {
        self.types(&["boolean"]);
    }

    /// A word of a list; objects where `taken` says so.
    pub(crate) fn word(&mut self, taken: &[&str]) -> &mut Self {
        self.types(taken);
        for word in ["\"qqqqqqqq\"", "\"\"", "\"null \""] {
            self.unread("word", word, Code::UnknownValue, "");
        }
        self
    }

    /// An object's fields: one that it does not have, and each that it must have, by the object without it.
    pub(crate) fn object(&mut self, whole: &str, needed: &[&str]) -> &mut Self {
        let mut more: Value = serde_json::from_str(whole).unwrap();
        more["qqqqqqqq"] = 1.into();
        self.unread("key", &more.to_string(), Code::UnknownField, "/qqqqqqqq");
        for key in needed {
            let mut less: Value = serde_json::from_str(whole).unwrap();
            less.as_object_mut().unwrap().remove(*key);
            self.row(
                &format!("without {key}"),
                &less.to_string(),
                Code::MissingField,
                &format!("/{key}"),
                Refuses,
            );
        }
        self
    }

    /// A whole number of 64 bits without other bounds.
    pub(crate) fn whole(&mut self) -> &mut Self {
        self.types(&["number"]).digits()
    }

    pub(crate) fn whole_or_null(&mut self) -> &mut Self {
        self.types(&["number", "null"]).digits()
    }

    fn digits(&mut self) -> &mut Self {
        self.unread("fraction", "1.5", Code::WrongType, "");
        for written in ["1.0", "1e3", "1E0", "-0.0"] {
            self.row("exponent", written, Code::WrongType, "", Cannot);
        }
        for number in ["-1", "-9223372036854775808"] {
            self.unread("negative", number, Code::OutOfRange, "");
        }
        for number in [
            "18446744073709551616",
            "-9223372036854775809",
            "1e30",
            "-1e30",
        ] {
            self.unread("huge", number, Code::OutOfRange, "");
        }
        self
    }

    /// A whole number between bounds.
    pub(crate) fn number(&mut self, least: u64, most: u64) -> &mut Self {
        self.whole().bounds(least, most)
    }

    pub(crate) fn number_or_null(&mut self, least: u64, most: u64) -> &mut Self {
        self.whole_or_null().bounds(least, most)
    }

    fn bounds(&mut self, least: u64, most: u64) -> &mut Self {
        if least > 0 {
            self.bad("below", &(least - 1).to_string(), Code::OutOfRange, Refuses);
        }
        self.bad("above", &(most + 1).to_string(), Code::OutOfRange, Refuses);
        let largest = u64::MAX.to_string();
        self.row("above", &largest, Code::OutOfRange, "", Refuses);
        self
    }

    /// The same where nothing above 32 bits is read.
    pub(crate) fn short(&mut self, least: u64, most: u64) -> &mut Self {
        self.unread("above", "4294967296", Code::OutOfRange, "");
        self.whole().bounds(least, most)
    }

    /// Base64 that is none.
    fn bad_base64(&mut self, below: &str, wrap: impl Fn(&str) -> String) {
        for bad in [
            "A", "AA", "AAA", "A===", "====", "Zh==", "Z m8", "Zm9v\n", "Zm9vYg=A", "Zm9v====",
            "_-8=", "Zm9vYg", "Zm9vYh==", "é",
        ] {
            self.unread("base64", &wrap(&quoted(bad)), Code::BadBase64, below);
        }
    }

    pub(crate) fn base64(&mut self) {
        self.types(&["string"]);
        self.bad_base64("", str::to_owned);
    }

    /// What both a string and `{"base64":…}` can be. What the bytes break is an error of the place, not of its base64.
    fn text(&mut self, faults: &[(&str, Vec<u8>, Code, Schema, Schema)]) {
        self.types(&["string", "object"]);
        self.object("{\"base64\":\"YQ==\"}", &["base64"]);
        for (fault, bytes, code, schema, _) in faults {
            let text = quoted(std::str::from_utf8(bytes).unwrap());
            self.bad(fault, &text, *code, *schema);
        }
        let site = std::mem::take(&mut self.site);
        self.site = format!("{site}/base64");
        for (fault, bytes, code, _, schema) in faults {
            self.bad(fault, &encoded(bytes), *code, *schema);
        }
        let wrap = |value: &str| format!("{{\"base64\":{value}}}");
        self.bad_base64("/base64", wrap);
        for (kind, sample) in [
            ("null", "null"),
            ("boolean", "true"),
            ("number", "1"),
            ("array", "[\"YQ==\"]"),
            ("object", "{\"base64\":\"YQ==\"}"),
        ] {
            self.unread(
                &format!("type {kind}"),
                &wrap(sample),
                Code::WrongType,
                "/base64",
            );
        }
        self.site = site;
    }

    /// A path of the host.
    pub(crate) fn path(&mut self) -> &mut Self {
        self.text(&[
            ("empty", vec![], Code::Empty, Refuses, Refuses),
            ("nul", b"/a\0".to_vec(), Code::NulByte, Refuses, Cannot),
            ("nul", b"\0".to_vec(), Code::NulByte, Refuses, Cannot),
            ("long", vec![b'x'; 4096], Code::TooLong, Refuses, Refuses),
        ]);
        self
    }

    /// A path that must be absolute and without `..`.
    pub(crate) fn absolute(&mut self) -> &mut Self {
        let part = [b"/".to_vec(), vec![b'x'; 256]].concat();
        self.text(&[
            ("empty", vec![], Code::Empty, Refuses, Refuses),
            ("nul", b"/a\0".to_vec(), Code::NulByte, Refuses, Cannot),
            ("long", b"/x".repeat(2048), Code::TooLong, Refuses, Refuses),
            ("long", part, Code::TooLong, Cannot, Cannot),
            (
                "relative",
                b"a".to_vec(),
                Code::NotAbsolute,
                Refuses,
                Refuses,
            ),
            (
                "relative",
                b"./a".to_vec(),
                Code::NotAbsolute,
                Refuses,
                Refuses,
            ),
            (
                "relative",
                b"../a".to_vec(),
                Code::NotAbsolute,
                Refuses,
                Refuses,
            ),
            (
                "relative",
                b"~".to_vec(),
                Code::NotAbsolute,
                Refuses,
                Refuses,
            ),
            (
                "parent",
                b"/..".to_vec(),
                Code::ParentComponent,
                Cannot,
                Cannot,
            ),
            (
                "parent",
                b"/a/../b".to_vec(),
                Code::ParentComponent,
                Cannot,
                Cannot,
            ),
        ]);
        self
    }

    /// An argument or a value; `most` is what the kernel leaves of MAX_ARG_STRLEN.
    pub(crate) fn argument(&mut self, most: usize, long: Schema) -> &mut Self {
        self.text(&[
            ("nul", b"a\0".to_vec(), Code::NulByte, Refuses, Cannot),
            ("long", vec![b'x'; most + 1], Code::TooLong, long, Cannot),
        ]);
        self
    }

    /// The name of a variable.
    pub(crate) fn variable(&mut self) {
        self.text(&[
            ("empty", vec![], Code::Empty, Refuses, Refuses),
            ("nul", b"A\0".to_vec(), Code::NulByte, Refuses, Cannot),
            ("equals", b"A=B".to_vec(), Code::BadName, Refuses, Cannot),
            ("equals", b"=".to_vec(), Code::BadName, Refuses, Cannot),
            ("long", vec![b'x'; 131_071], Code::TooLong, Refuses, Cannot),
        ]);
    }

    /// `null` where it stands for what is left out, and nothing may be.
    pub(crate) fn needed(&mut self) -> &mut Self {
        self.bad("type null", "null", Code::MissingField, Refuses)
    }

    /// A name of its own alphabet.
    pub(crate) fn name(&mut self, most: usize, wrong: &[&str], shortest: Code) {
        self.types(&["string"]).letters(most, wrong, shortest);
    }

    pub(crate) fn name_or_null(&mut self, most: usize, wrong: &[&str], shortest: Code) {
        self.types(&["string", "null"])
            .letters(most, wrong, shortest);
    }

    fn letters(&mut self, most: usize, wrong: &[&str], shortest: Code) {
        self.bad("empty", "\"\"", shortest, Refuses);
        for text in wrong.iter().chain(&["a\0", "A_\0"]) {
            let fault = if text.contains('\0') {
                "nul"
            } else {
                "letters"
            };
            self.bad(fault, &quoted(text), Code::BadName, Refuses);
        }
        if most > 0 {
            let long = quoted(&"x".repeat(most + 1));
            self.bad("long", &long, Code::TooLong, Refuses);
        }
    }
}
