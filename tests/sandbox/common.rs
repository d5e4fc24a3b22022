//! What the modules share: paths of any bytes in JSON, pictures of a tree, scripts around stdbox.

use crate::support::{self, Fresh, Run};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

pub const MODES: [&str; 4] = ["hidden", "read-only", "overlay", "full-access"];

/// A static program that is a shell and its tools.
pub const BUSYBOX: &str = "/usr/bin/busybox";

/// Whether busybox (Debian package busybox-static) is there; says so if not.
pub fn busybox() -> bool {
    let there = Path::new(BUSYBOX).exists();
    if !there {
        support::skip(
            "busybox",
            "there is no /usr/bin/busybox (Debian package busybox-static)",
        );
    }
    there
}

/// A string of the protocol: text where it is UTF-8, base64 elsewhere.
pub fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({"base64": base64(bytes)}),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0, |word, &byte| word << 8 | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}

/// `directories` in its list form.
pub fn list(entries: &[(&[u8], &str)]) -> Value {
    entries
        .iter()
        .map(|(path, mode)| json!({"path": text(path), "mode": mode}))
        .collect()
}

/// A path below a directory, as bytes.
pub fn below(directory: &Fresh, name: &[u8]) -> Vec<u8> {
    [directory.str().as_bytes(), b"/", name].concat()
}

pub fn os(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Shell function `snap DIR`: everything below a directory with type, bits, size, times, link and content.
pub const SNAP: &str = r#"snap() {
    find "$1" -printf '%P|%y|%m|%s|%T@|%l|\n' | LC_ALL=C sort
    find "$1" -type f -print0 | LC_ALL=C sort -z | xargs -0 -r md5sum 2>/dev/null || true
}
"#;

/// The same for a directory as the test sees it.
pub fn snap(directory: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", &format!("{SNAP} snap \"$1\""), "sh", directory])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a shell script that ends in `exec "$STDBOX"`, in the machine's own namespaces.
pub fn scripted(script: &str, job: &Value) -> Run {
    let (output, errors, status) = shell(script, &job.to_string());
    let report = serde_json::from_str(&output).unwrap_or(Value::Null);
    Run {
        report,
        status,
        complaint: if report_missing(&output) {
            format!("{output}{errors}")
        } else {
            errors
        },
    }
}

fn report_missing(output: &str) -> bool {
    !output.starts_with('{')
}

/// Runs a shell script in the machine's own namespaces, with `$STDBOX`; returns output, errors and status.
pub fn shell(script: &str, stdin: &str) -> (String, String, Option<i32>) {
    use std::io::Write;
    use std::process::Stdio;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-ec", script])
        .env("STDBOX", support::stdbox())
        .env("PROBE", support::probe());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let _early = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code(),
    )
}

/// A run among mounts that a script made, with pictures of a directory as it was outside, before and after.
pub struct Mounted {
    pub run: Run,
    pub before: String,
    pub after: String,
}

impl Mounted {
    /// What lies below the directory must be what it was.
    #[track_caller]
    pub fn unchanged(&self) -> &Self {
        assert_eq!(self.before, self.after, "{}", self.run);
        self
    }
}

/// Makes mounts in a new namespace by a script, where `$D` is the directory, and runs the job there.
pub fn among_mounts(directory: &Fresh, setup: &str, job: &Value) -> Mounted {
    let out = Fresh::new();
    let script = format!(
        "{SNAP}\ncd /; D='{0}'; {setup}\nsnap \"$D\" > {1}/before; status=0\n\"$STDBOX\" || status=$?\nsnap \"$D\" > {1}/after; exit $status",
        directory.str(),
        out.str()
    );
    let run = support::run_in_namespace(&script, job);
    let read = |name| {
        let bytes = std::fs::read(out.path().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}: {run}"));
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (before, after) = (read("before"), read("after"));
    assert!(!before.is_empty(), "{run}");
    Mounted { run, before, after }
}

/// The codes of `degraded` or `warnings` that are about a directory or something below it: what else there is on this
/// machine may give others.
pub fn about<'a>(run: &'a Run, field: &str, directory: &Fresh) -> Vec<&'a str> {
    let list = run.report[field].as_array().into_iter().flatten();
    let about = list.filter(|entry| {
        entry["path"]
            .as_str()
            .is_some_and(|path| path.starts_with(directory.str()))
    });
    about.filter_map(|entry| entry["code"].as_str()).collect()
}

/// A job that is a shell script, with arguments.
pub fn job(script: &str, arguments: &[&[u8]], fields: &Value) -> Value {
    let mut argv = vec![json!("/bin/sh"), json!("-c"), json!(script), json!("sh")];
    argv.extend(arguments.iter().map(|argument| text(argument)));
    let mut job = json!({"argv": argv, "cwd": "/"});
    for (key, value) in fields.as_object().unwrap() {
        job[key] = value.clone();
    }
    job
}

/// The lines of an output, as a set in order.
pub fn lines(output: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    lines
}

/// The mount table that a job printed: place, options, file system type, optional fields, root within the file system.
pub fn table(mountinfo: &str) -> Vec<Entry> {
    mountinfo.lines().map(Entry::new).collect()
}

#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub root: String,
    pub at: String,
    pub options: Vec<String>,
    pub optional: Vec<String>,
    pub fstype: String,
    pub source: String,
}

impl Entry {
    fn new(line: &str) -> Self {
        let (mount, fs) = line
            .split_once(" - ")
            .unwrap_or_else(|| panic!("no line of a mount table: {line:?}"));
        let mount: Vec<&str> = mount.split(' ').collect();
        let fs: Vec<&str> = fs.split(' ').collect();
        Self {
            root: mount[3].into(),
            at: mount[4].into(),
            options: mount[5].split(',').map(str::to_owned).collect(),
            optional: mount[6..].iter().map(|&field| field.to_owned()).collect(),
            fstype: fs[0].into(),
            source: fs[1].into(),
        }
    }

    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|have| have == option)
    }
}

/// The topmost mount at a place.
#[track_caller]
pub fn mount_at<'a>(table: &'a [Entry], at: &str) -> &'a Entry {
    table
        .iter()
        .rev()
        .find(|entry| entry.at == at)
        .unwrap_or_else(|| panic!("nothing is mounted at {at}: {table:#?}"))
}
