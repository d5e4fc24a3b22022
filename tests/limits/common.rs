//! What the tests of limits share.

use crate::support::{Fresh, Run, outside};
pub use crate::support::{probe_job, with};
use nix::libc;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;

/// Runs a job, and says what the kernel counted for stdbox with all that was waited for below it. That is not what the kernel
/// kills with the container's first process.
#[allow(clippy::zombie_processes, reason = "wait4 reaps it")]
pub fn measured(job: &Value) -> (Run, u64) {
    let mut child = outside::start(job);
    let read = |from: Option<&mut dyn Read>| {
        let mut text = Vec::new();
        from.expect("a pipe")
            .read_to_end(&mut text)
            .expect("it can be read");
        text
    };
    let report = read(child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
    let complaint = read(child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
    let pid = outside::pid_of(&child);
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let mut status = 0;
    // SAFETY: both places have room for what is written.
    let ended = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    assert_eq!(ended, pid, "stdbox ends");
    // SAFETY: all-zero bytes are a valid `rusage`.
    let usage = unsafe { usage.assume_init() };
    let ns =
        |time: libc::timeval| (time.tv_sec * 1_000_000_000 + time.tv_usec * 1000).cast_unsigned();
    let seen = Run {
        report: serde_json::from_slice(&report).unwrap_or(Value::Null),
        status: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        complaint: String::from_utf8_lossy(&complaint).into_owned(),
    };
    (seen, ns(usage.ru_utime) + ns(usage.ru_stime))
}

/// The job must have been ended for this limit.
#[track_caller]
pub fn ended_for(seen: &Run, limit: &str) {
    let words = (
        seen.report["outcome"].as_str(),
        seen.report["limit"].as_str(),
    );
    assert_eq!(words, (Some("limit-exceeded"), Some(limit)), "{seen}");
}

/// Processor time that the report names.
pub fn reported_ns(seen: &Run) -> u64 {
    let usage = |key: &str| seen.report["usage"][key].as_u64().expect("a number");
    usage("cpu_user_ns") + usage("cpu_system_ns")
}

/// The same for a job whose processes count for themselves, in a file that they share with the test; each begins with its
/// program, so little is lost. Says what they have used, or the other measure if that is more.
pub fn counted(job: &Value) -> (Run, u64) {
    let scene = Fresh::new();
    let file = scene.file("counters", "");
    File::options()
        .write(true)
        .open(&file)
        .and_then(|file| file.set_len(65_536))
        .unwrap();
    let job = with(job.clone(), &json!({"env": {"set": {"BURN_FILE": file}}}));
    let mut modes = job["directories"].clone();
    if modes.is_null() {
        modes = json!({});
    }
    modes[scene.str()] = json!("full-access");
    let (seen, waited) = measured(&with(job, &json!({"directories": modes})));
    let bytes = std::fs::read(&file).unwrap();
    let counters = bytes.chunks_exact(8).skip(1);
    let own: u64 = counters
        .map(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap()))
        .sum();
    (seen, own.max(waited))
}
