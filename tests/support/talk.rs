//! A caller's part in the talk that `sync` asks for.
#![allow(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "pipes, and preparing the process that becomes stdbox"
)]

use super::outside::{finish, start_with};
use super::{Run, with};
use nix::libc;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// A pipe: its end for reading and its end for writing, close-on-exec.
pub fn pipe(flags: i32) -> (File, File) {
    let mut ends = [-1; 2];
    // SAFETY: there is room for two descriptors, which nobody else owns.
    unsafe {
        assert_eq!(
            libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | flags),
            0,
            "pipe2"
        );
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    }
}

/// Lets stdbox have these too.
pub fn pass(command: &mut Command, fds: Vec<i32>) {
    let keep = move || {
        for &fd in &fds {
            // SAFETY: F_SETFD takes a number, and may be called between fork and exec.
            if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } == -1 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: it makes one call that may be made there, and allocates nothing.
    unsafe { command.pre_exec(keep) };
}

/// A job that was started, and the caller's ends.
#[derive(Debug)]
pub struct Talk {
    pub child: Child,
    pub events: BufReader<File>,
    control: Option<File>,
}

impl Talk {
    /// With both pauses, and these fields of `sync` beside.
    pub fn begin(job: &Value, sync: &Value) -> Self {
        Self::with_pipes(job, sync, pipe(0), pipe(0))
    }

    pub fn with_pipes(
        job: &Value,
        sync: &Value,
        events: (File, File),
        control: (File, File),
    ) -> Self {
        let ((events, told), (asked, control)) = (events, control);
        let (told, asked) = (OwnedFd::from(told), OwnedFd::from(asked));
        let mut fields = json!({
            "events_fd": told.as_raw_fd(), "control_fd": asked.as_raw_fd(),
            "pause_before_exec": true, "pause_after_exit": true,
        });
        for (key, value) in sync.as_object().unwrap() {
            fields[key] = value.clone();
        }
        let job = with(job.clone(), &json!({ "sync": fields }));
        let fds = vec![told.as_raw_fd(), asked.as_raw_fd()];
        let child = start_with(&job, |command| pass(command, fds));
        Self {
            child,
            events: BufReader::new(events),
            control: Some(control),
        }
    }

    /// The next event; null when there will be none.
    pub fn event(&mut self) -> Value {
        let mut line = String::new();
        self.events.read_line(&mut line).unwrap();
        if line.is_empty() {
            return Value::Null;
        }
        assert!(line.ends_with('\n'), "{line:?}");
        serde_json::from_str(&line).unwrap()
    }

    /// The next event must be this one.
    #[track_caller]
    pub fn expect(&mut self, name: &str) -> Value {
        let event = self.event();
        assert_eq!(event["event"], name, "{event}");
        event
    }

    pub fn say(&mut self, words: &str) {
        let mut control = self.control.as_ref().unwrap();
        control.write_all(words.as_bytes()).unwrap();
    }

    pub fn leave(&mut self) {
        self.control = None;
    }

    /// There is no other event; what has come of the job.
    pub fn finish(mut self) -> Run {
        let last = self.event();
        let seen = finish(self.child);
        assert_eq!(last, Value::Null, "{seen}");
        seen
    }

    /// The caller's whole part.
    pub fn play(mut self) -> (Value, Value, Run) {
        let ready = self.expect("ready");
        self.say("continue\n");
        let exited = self.expect("exited");
        self.say("continue\n");
        (ready, exited, self.finish())
    }
}
