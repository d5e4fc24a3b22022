//! What the host does and sees while a job runs: processes by a word on their command line, signals, descriptors.
#![allow(unsafe_code, reason = "signals are sent by number")]

use super::{Run, stdbox};
use nix::libc;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Generous: the machine may be busy. Nothing waits that long unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A word that no other process has on its command line.
pub fn marker(word: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // No one begins with another one.
    format!("marker-{word}-{}-{number:06}", std::process::id())
}

/// Every process with its command line.
pub fn command_lines() -> Vec<(i32, Vec<u8>)> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .map(|pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, line)
        })
        .collect()
}

/// Whether a command line has the word.
pub fn has(line: &[u8], word: &str) -> bool {
    line.windows(word.len()).any(|part| part == word.as_bytes())
}

/// Processes with the word on their command line.
pub fn alive(word: &str) -> Vec<i32> {
    let all = command_lines().into_iter();
    all.filter(|(_, line)| has(line, word))
        .map(|(pid, _)| pid)
        .collect()
}

/// Waits for the end of all processes with the word, and ends those that stay for ever, which it tells.
pub fn outlive(word: &str) -> Vec<i32> {
    let started = Instant::now();
    while !alive(word).is_empty() && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let left = alive(word);
    for pid in &left {
        // SAFETY: no memory is passed. Who ended with another one of them cannot be signalled any more.
        let _ended = unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
    left
}

/// Waits until it holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "this never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts stdbox on a job without waiting for it.
pub fn start(job: &Value) -> Child {
    start_with(job, |_| {})
}

/// The same, with a command that is prepared.
pub fn start_with(job: &Value, prepare: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(stdbox());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    prepare(&mut command);
    let mut child = command.spawn().expect("stdbox starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(job.to_string().as_bytes())
        .expect("the job is read");
    child
}

/// What has come of it. Who does not end is killed, and has no report.
pub fn finish(child: Child) -> Run {
    let pid = pid_of(&child);
    let (over, wait) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if wait.recv_timeout(PATIENCE).is_err() {
            kill(pid, libc::SIGKILL);
        }
    });
    let output = child.wait_with_output().expect("stdbox ends");
    let _ended = over.send(());
    let _failed = watch.join();
    Run {
        report: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        status: output.status.code(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("a pid")
}

pub fn kill(pid: i32, signal: i32) {
    // SAFETY: no memory is passed.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "kill {pid} {signal}");
}

/// Children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// The letter that proc_pid_stat(5) gives for a process's state; `None` if there is no such process.
pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Fields of /proc/PID/status as text.
pub fn fields_of(text: &str) -> Value {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(key, value)| (key.to_owned(), Value::from(value.trim())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
