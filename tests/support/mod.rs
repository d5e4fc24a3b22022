//! What the integration tests share: the real binary, run on a job; fresh directories; visible skips.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod outside;
pub mod places;
pub mod talk;

use serde_json::Value;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The binary under test; `STDBOX_BIN` names another than cargo's, such as a copy that an ordinary user can reach.
pub fn stdbox() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = || {
        let given = std::env::var_os("STDBOX_BIN");
        visible(given.map_or_else(|| env!("CARGO_BIN_EXE_stdbox").into(), PathBuf::from))
    };
    PATH.get_or_init(path).clone()
}

/// `tests/support/probe/`, built by cargo as an example; `STDBOX_PROBE` names another.
pub fn probe() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = || match std::env::var_os("STDBOX_PROBE") {
        Some(path) => visible(path.into()),
        None => {
            let binary = Path::new(env!("CARGO_BIN_EXE_stdbox"));
            let directory = binary.parent().expect("the binary lies in a directory");
            visible(directory.join("examples/probe"))
        }
    };
    PATH.get_or_init(path).clone()
}

/// Jobs run these programs too, so they must not lie where every job sees an empty directory. Where the project does, a copy
/// takes their place, the same one for all tests.
fn visible(path: PathBuf) -> PathBuf {
    if !path.starts_with("/tmp") && !path.starts_with("/run") {
        return path;
    }
    let place = path.to_str().expect("the name is UTF-8").replace('/', "-");
    let place = PathBuf::from(format!("/var/tmp/stdbox-copy{place}"));
    let name = path.file_name().expect("it has a name");
    let copy = place.join(name);
    let stamp = |path: &Path| {
        std::fs::metadata(path).and_then(|found| Ok((found.len(), found.modified()?)))
    };
    let fresh = matches!((stamp(&path), stamp(&copy)), (Ok(from), Ok(to)) if from.0 == to.0 && from.1 <= to.1);
    if !fresh {
        // Other test programs may be doing the same: each makes its own, and the last one stays.
        std::fs::create_dir_all(&place).expect("a directory can be made");
        let own = place.join(std::process::id().to_string());
        std::fs::copy(&path, &own).expect("the program can be copied");
        std::fs::rename(&own, &copy).expect("the copy can be named");
    }
    copy
}

/// The project's files; `STDBOX_SOURCE` names a copy that an ordinary user can reach.
pub fn source() -> PathBuf {
    std::env::var_os("STDBOX_SOURCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    /// The report.
    pub report: Value,
    /// stdbox's own exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// What stdbox itself wrote on stderr.
    pub complaint: String,
}

impl Run {
    /// Captured standard output as text; empty if there is none.
    pub fn stdout(&self) -> &str {
        self.report["stdout"]["text"].as_str().unwrap_or("")
    }

    /// Captured standard error as text; empty if there is none.
    pub fn stderr(&self) -> &str {
        self.report["stderr"]["text"].as_str().unwrap_or("")
    }

    /// The target must have exited with this code; shows everything if not.
    #[track_caller]
    pub fn exited(&self, code: i64) -> &Self {
        let seen = (
            self.report["outcome"].as_str(),
            self.report["exit_code"].as_i64(),
        );
        assert_eq!(seen, (Some("exited"), Some(code)), "{self}");
        self
    }

    /// There must be an error with this code, at this stage.
    #[track_caller]
    pub fn failed(&self, code: &str, stage: &str) -> &Self {
        let error = &self.report["error"];
        assert_eq!(
            (error["code"].as_str(), error["stage"].as_str()),
            (Some(code), Some(stage)),
            "{self}"
        );
        self
    }

    /// Codes of the `degraded` entries.
    pub fn degraded(&self) -> Vec<&str> {
        codes(&self.report["degraded"])
    }

    /// Codes of the `warnings` entries.
    pub fn warnings(&self) -> Vec<&str> {
        codes(&self.report["warnings"])
    }
}

fn codes(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["code"].as_str())
        .collect()
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "--- stdout\n{}--- stderr\n{}--- report",
            self.stdout(),
            self.stderr()
        )?;
        let mut report = self.report.clone();
        for stream in ["stdout", "stderr"] {
            report[stream]["text"] = Value::from("(above)");
        }
        write!(
            f,
            "{report}\n--- stdbox: status {:?} {}",
            self.status, self.complaint
        )
    }
}

/// Runs a job with the options of a command line.
pub fn run_with(job: &[u8], options: &[&str], prepare: impl FnOnce(&mut Command)) -> Run {
    let mut command = Command::new(stdbox());
    command
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    prepare(&mut command);
    let mut child = command.spawn().expect("stdbox starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // Who refuses a job early does not read all of it.
    let _early = stdin.write_all(job);
    drop(stdin);
    let output = child.wait_with_output().expect("stdbox ends");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Run {
        report,
        status: output.status.code(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Starts a job, whose end is for the caller to wait for.
pub fn start(job: &Value) -> std::process::Child {
    let mut child = Command::new(stdbox())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("stdbox starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin
        .write_all(job.to_string().as_bytes())
        .expect("the job is read");
    child
}

/// A job that runs the probe with these arguments.
pub fn probe_job(arguments: &[&str], fields: &Value) -> Value {
    let probe = probe();
    let argv: Vec<&str> = std::iter::once(probe.to_str().unwrap())
        .chain(arguments.iter().copied())
        .collect();
    with(serde_json::json!({"argv": argv, "cwd": "/"}), fields)
}

/// A job with more fields.
pub fn with(mut job: Value, fields: &Value) -> Value {
    for (key, value) in fields.as_object().expect("fields are an object") {
        job[key] = value.clone();
    }
    job
}

/// Runs a job.
pub fn run(job: &Value) -> Run {
    run_with(job.to_string().as_bytes(), &[], |_| {})
}

/// Runs a shell script in a job with these fields; the working directory is `/` unless given.
pub fn shell(script: &str, fields: Value) -> Run {
    let mut job = serde_json::json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"});
    for (key, value) in fields.as_object().expect("fields are an object") {
        job[key] = value.clone();
    }
    run(&job)
}

/// A fresh directory outside the ones that are hidden by default; removed when dropped.
#[derive(Debug)]
pub struct Fresh(PathBuf);

impl Fresh {
    pub fn new() -> Self {
        Self::below("/var/tmp")
    }

    /// The name is nobody's yet, whoever else has this pid in another pid namespace, or was killed before it could clear up.
    pub fn below(place: &str) -> Self {
        let path = nix::unistd::mkdtemp(&Path::new(place).join("stdbox-test-XXXXXX"))
            .expect("a fresh directory can be made");
        // Other users look into it as well.
        std::fs::set_permissions(&path, Permissions::from_mode(0o755))
            .expect("its mode can be changed");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn str(&self) -> &str {
        self.0.to_str().expect("the name is ASCII")
    }

    /// Writes a file below it, with its parents.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("it has a parent"))
            .expect("parents can be made");
        std::fs::write(&path, text).expect("the file can be written");
        path
    }

    /// Every path below it with the content of files, to compare before and after.
    pub fn snapshot(&self) -> Vec<(PathBuf, u32, Vec<u8>)> {
        fn walk(path: &Path, all: &mut Vec<(PathBuf, u32, Vec<u8>)>) {
            use std::os::unix::fs::MetadataExt;
            let found = std::fs::symlink_metadata(path).expect("what is listed exists");
            let content = if found.is_file() {
                std::fs::read(path).unwrap_or_default()
            } else {
                Vec::new()
            };
            all.push((path.to_owned(), found.mode(), content));
            if found.is_dir() {
                let mut names: Vec<_> = std::fs::read_dir(path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .collect();
                names.sort_by_key(std::fs::DirEntry::file_name);
                names.iter().for_each(|entry| walk(&entry.path(), all));
            }
        }
        let mut all = Vec::new();
        walk(&self.0, &mut all);
        all
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if std::fs::remove_dir_all(&self.0).is_err() {
            // The kernel lets nobody into the work directory of an overlay.
            open_up(&self.0);
            let _left = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn open_up(directory: &Path) {
    let _others = std::fs::set_permissions(directory, Permissions::from_mode(0o700));
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Whether jobs of this user can have many ids.
pub fn many_ids() -> bool {
    let uid = nix::unistd::geteuid();
    let own = nix::unistd::User::from_uid(uid).ok().flatten();
    let name = own.map_or_else(|| uid.to_string(), |own| own.name);
    let ranges = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    root()
        || ranges
            .lines()
            .any(|line| line.starts_with(&format!("{name}:")))
}

/// Whether the tests run as root.
pub fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says that a test cannot run here, and why. With `MUST_WORK=1` that is a failure, unless the reason is one that
/// `MAY_SKIP` (a list of words, separated by commas) names.
pub fn skip(word: &str, reason: &str) {
    let allowed = std::env::var("MAY_SKIP").unwrap_or_default();
    let forbidden = std::env::var_os("MUST_WORK").is_some()
        && !allowed.split(',').any(|allowed| allowed == word);
    assert!(!forbidden, "skipped where it must work: {word}: {reason}");
    // Straight to the descriptor: the test harness would swallow it.
    let _closed = writeln!(std::io::stderr(), "SKIP {word}: {reason}");
}

/// Runs a shell script in a new user and mount namespace, where it may mount what the test needs; `$STDBOX` is the binary.
/// The job goes to the script's stdin. Returns the script's output and status.
pub fn in_namespace(script: &str, stdin: &str) -> (String, String, Option<i32>) {
    let mut command = Command::new("unshare");
    let own = if root() {
        ["-m", "--propagation=private"]
    } else {
        ["-Urm", "--propagation=private"]
    };
    command
        .args(own)
        .args(["/bin/sh", "-ec", script])
        .env("STDBOX", stdbox())
        .env("PROBE", probe());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("unshare (util-linux) starts");
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    let _early = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("the script ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code(),
    )
}

/// The same for a script that only mounts and then runs `"$STDBOX"`: its output is the report.
pub fn run_in_namespace(script: &str, job: &Value) -> Run {
    let (output, errors, status) = in_namespace(script, &job.to_string());
    let report = serde_json::from_str(&output).unwrap_or(Value::Null);
    Run {
        report,
        status,
        complaint: if output.is_empty() {
            errors
        } else {
            format!("{errors}{}", if errors.is_empty() { "" } else { "\n" })
        },
    }
}
