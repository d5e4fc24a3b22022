//! As pid 1 of a container that has no other program.

use crate::common::{Bare, job, run_in, users};
use nix::libc;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

fn start(bare: &Bare, arguments: &[&str]) -> Child {
    bare.command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: the process is a child that is not waited for yet.
    assert_eq!(unsafe { libc::kill(pid.cast_signed(), signal) }, 0);
}

/// The processes whose parent this is: number, state.
fn children(parent: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut fields = rest.split_whitespace();
        let state = fields.next().unwrap_or("").to_owned();
        if fields.next() == Some(&parent.to_string()) {
            found.push((pid, state));
        }
    }
    found
}

#[test]
fn pid_1_gives_the_status_that_it_is_asked_for() {
    for user in users() {
        let bare = Bare::new(user, &["pid", "proc=new", "nodes"]);
        let mut job = job("overlay", &[]);
        for (argv, option, status) in [
            (json!(["/bin/probe", "exit", "7"]), None, 0),
            (json!(["/bin/probe", "exit", "7"]), Some("--propagate"), 7),
            (
                json!(["/bin/probe", "raise", "9"]),
                Some("--propagate"),
                137,
            ),
            (json!(["/bin/none"]), None, 1),
        ] {
            job["argv"] = argv;
            let options: Vec<&str> = option.into_iter().collect();
            let run = run_in(bare.command(&options), &job);
            assert_eq!(run.status, Some(status), "{bare}: {run}");
        }
    }
}

/// To pid 1 the kernel delivers no signal that has no handler.
#[test]
fn pid_1_ends_the_job_at_a_signal() {
    for user in users() {
        let bare = Bare::new(user, &["pid", "proc=new", "nodes"]);
        for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            let mut job = job("overlay", &[]);
            job["argv"] = json!(["/bin/probe", "ignore-term"]);
            let mut child = start(&bare, &[]);
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(job.to_string().as_bytes()).unwrap();
            drop(stdin);
            // The target is the child of an init that is the child of pid 1.
            let mut line = vec![child.id()];
            while line.len() < 4 {
                match children(line[line.len() - 1]).first() {
                    Some((pid, _)) => line.push(*pid),
                    None => std::thread::sleep(std::time::Duration::from_millis(5)),
                }
            }
            signal(child.id(), number);
            let output = child.wait_with_output().unwrap();
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(report["outcome"], "cancelled", "{bare}: {number}: {report}");
            assert!(!std::path::Path::new(&format!("/proc/{}", line[3])).exists());
        }
    }
}

#[test]
fn pid_1_leaves_no_process_unreaped() {
    for user in users() {
        let bare = Bare::new(user, &["pid", "proc=new", "nodes"]);
        let mut child = start(&bare, &["batch", "--workers", "2"]);
        let mut stdin = child.stdin.take().unwrap();
        let mut reports = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut job = job("overlay", &[]);
        job["argv"] = json!(["/bin/probe", "zombies", "20"]);
        for line in 1..=6 {
            writeln!(stdin, "{job}").unwrap();
            let report: Value = serde_json::from_str(&reports.next().unwrap().unwrap()).unwrap();
            assert_eq!(
                (&report["line"], &report["exit_code"]),
                (&json!(line), &json!(0)),
                "{report}"
            );
        }
        let [(first, _)] = children(child.id())[..] else {
            panic!("the engine has one child");
        };
        // Those that ended last are taken away when the next line is given out, and are never more than there are workers.
        let left = children(first);
        let dead = left.iter().filter(|(_, state)| state == "Z").count();
        assert!(dead <= 2, "{bare}: {left:?}");
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
}
