//! The environments, the jobs, and what is expected of each job in each environment.

use crate::support::{Fresh, Run, probe, root, stdbox};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

/// The jobs that every environment is asked to run: the mode of `/`, and whatever the target needs of the root.
pub const JOBS: [&str; 4] = ["read-only", "overlay", "hidden", "full-access"];

/// A job of one of these kinds: its target tells what it sees in these directories.
pub fn job(kind: &str, directories: &[&str]) -> Value {
    let modes = match kind {
        "overlay" => json!({}),
        "hidden" => json!({"/": "hidden", "/bin": "read-only"}),
        mode => json!({"/": mode}),
    };
    let argv: Vec<&str> = ["/bin/probe", "around"]
        .iter()
        .chain(directories)
        .copied()
        .collect();
    json!({"argv": argv, "cwd": "/", "directories": modes})
}

/// Who stdbox is in an environment: the tests' own user, or somebody in a user namespace. Only root needs none.
pub fn users() -> &'static [&'static str] {
    if root() {
        &["", "user=0", "user=1000"]
    } else {
        &["user=0", "user=1000"]
    }
}

/// A root that holds nothing but stdbox, the target, and these items of `probe help`.
pub struct Bare {
    at: Fresh,
    items: Vec<String>,
}

impl Bare {
    pub fn new(user: &str, items: &[&str]) -> Self {
        let files = [
            format!("put={}:/bin/stdbox", stdbox().display()),
            format!("put={}:/bin/probe", probe().display()),
        ];
        let items = std::iter::once(user).chain(items.iter().copied());
        let items = items.filter(|item| !item.is_empty()).map(str::to_owned);
        Self {
            at: Fresh::new(),
            items: files.into_iter().chain(items).collect(),
        }
    }

    /// stdbox there, with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(probe());
        command
            .args(["engine", self.at.str()])
            .args(&self.items)
            .args(["--", "/bin/stdbox"])
            .args(arguments);
        command
    }

    pub fn run(&self, job: &Value) -> Run {
        run_in(self.command(&[]), job)
    }
}

impl std::fmt::Display for Bare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.items[2..].join(" "))
    }
}

/// Runs a job by a command that ends in stdbox.
pub fn run_in(mut command: Command, job: &Value) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the environment's program starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let _early = stdin.write_all(job.to_string().as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let complaint = if report.is_null() {
        text(&output.stdout) + &text(&output.stderr)
    } else {
        text(&output.stderr)
    };
    Run {
        report,
        status: output.status.code(),
        complaint,
    }
}

/// What the target of [`job`] has told.
#[track_caller]
pub fn seen(run: &Run, what: &str) -> Value {
    let seen = run.exited(0).stdout();
    serde_json::from_str(seen).unwrap_or_else(|_| panic!("{what}: no answer\n{run}"))
}

/// The job must have run, and its target seen these names in the root, or been able to write there, or not.
#[track_caller]
pub fn saw_root(run: &Run, what: &str, names: &[&str], written: bool) -> Value {
    assert_eq!(run.report["outcome"], "exited", "{what}: {run}");
    let seen = seen(run, what);
    let expected = json!({"names": names, "written": written});
    assert_eq!(seen["in"]["/"], expected, "{what}: {run}");
    assert_eq!(seen["uid"], 1000, "{what}: {run}");
    seen
}

/// There must be an error with this code, whose hint names the remedies, and the target must not have run.
#[track_caller]
pub fn refused(run: &Run, what: &str, code: &str, remedies: &[&str]) {
    assert_eq!(run.report["outcome"], "setup-failed", "{what}: {run}");
    assert_eq!(run.report["error"]["code"], code, "{what}: {run}");
    // A batch goes on.
    if let Some(status) = run.status {
        assert_eq!(status, 1, "{what}: {run}");
    }
    let hint = run.report["error"]["hint"].as_str().unwrap_or("");
    for remedy in remedies {
        assert!(
            hint.contains(remedy),
            "{what}: no {remedy} in the hint of {run}"
        );
    }
}
