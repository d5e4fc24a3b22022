//! Kernels that are too old: a system call that they lack gives ENOSYS, so a filter that does the same stands for them, and
//! personality(2) makes uname(2) name an old one. The answer is `kernel-too-old`, in time, and the target never runs.

use crate::common::with;
use crate::faults::{ran, run_refused, told};
use crate::support::{Fresh, Run, probe, run_with};
use nix::errno::Errno;
use nix::libc::{self, c_long};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

/// Numbers from 424 on are the same everywhere, in the order in which the calls came.
const CLONE3: c_long = 435;
const CLOSE_RANGE: c_long = 436;
const OPENAT2: c_long = 437;
const MOUNT_SETATTR: c_long = 442;

/// PER_UNAME26 of personality(2): 6.1 is 2.6.61.
const UNAME26: libc::c_ulong = 0x002_0000;

/// All that the calls are needed for.
fn jobs(scratch: &Fresh) -> Vec<(&'static str, Value)> {
    let target = json!({"argv": [probe().to_str().unwrap(), "status"], "cwd": "/"});
    let own = probe().parent().unwrap().to_str().unwrap().to_owned();
    let kinds = [
        ("read-only", json!({"directories": {"/": "read-only"}})),
        ("overlay", json!({})),
        ("disk", json!({"scratch": {"directory": scratch.str()}})),
        (
            "hidden",
            json!({"directories": {"/": "hidden", "/usr": "read-only", own: "read-only"}}),
        ),
        (
            "plain",
            json!({"system_config": false, "network": "host", "directories": {"/": "full-access"}}),
        ),
        ("pid 1", json!({"init": false})),
        ("capabilities", json!({"capabilities": ["CAP_SYS_ADMIN"]})),
        (
            "streams",
            json!({"stdin": {"text": "in"}, "stdout": {"capture": {"max_bytes": 1000}}}),
        ),
    ];
    kinds
        .into_iter()
        .map(|(kind, fields)| (kind, with(target.clone(), &fields)))
        .collect()
}

/// A kernel without these calls, which calls itself old.
fn run_on_old(job: &Value, missing: &[c_long]) -> Run {
    let op = |code: u16, k: u32, jt: u8, jf: u8| libc::sock_filter { code, jt, jf, k };
    let enosys = u32::try_from(libc::ENOSYS).unwrap();
    // Numbers of the native ABI: nothing else is run here.
    let mut program = vec![op(0x20, 0, 0, 0)];
    for (i, &call) in missing.iter().enumerate() {
        let rest = u8::try_from(missing.len() - i).unwrap();
        program.push(op(0x15, u32::try_from(call).unwrap(), rest, 0));
    }
    program.push(op(0x06, 0x7fff_0000, 0, 0)); // SECCOMP_RET_ALLOW
    program.push(op(0x06, 0x0005_0000 | enosys, 0, 0)); // SECCOMP_RET_ERRNO
    let length = u16::try_from(program.len()).unwrap();
    run_with(job.to_string().as_bytes(), &[], |command| {
        let install = move || {
            let filter = libc::sock_fprog {
                len: length,
                filter: program.as_ptr().cast_mut(),
            };
            // SAFETY: numbers only.
            let named = unsafe { libc::personality(UNAME26) };
            // SAFETY: numbers only.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            // SAFETY: the program outlives the call and has the length that is told.
            let set = unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const filter) };
            if named < 0 || set < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        };
        // SAFETY: three system calls and no allocation.
        unsafe { command.pre_exec(install) };
    })
}

fn judge(seen: &Run, begun: Instant) -> Result<(), String> {
    let error = &seen.report["error"];
    if ran(seen) {
        return Err(format!("the target ran\n{seen}"));
    }
    if begun.elapsed() > Duration::from_secs(20) {
        return Err(format!("it took {:?}\n{seen}", begun.elapsed()));
    }
    if error["code"] != "kernel-too-old" || !error["hint"].to_string().contains("5.15") {
        return Err(format!("{error}"));
    }
    told(seen)
}

/// When each call of the last years came; 424 and on. A kernel lacks all that are newer than it is.
const CAME: &[(u32, c_long, c_long)] = &[
    (1, 424, 427),
    (2, 428, 433),
    (3, 434, CLONE3),
    (6, OPENAT2, 438),
    (8, 439, 439),
    (9, CLOSE_RANGE, CLOSE_RANGE),
    (10, 440, 440),
    (11, 441, 441),
    (12, MOUNT_SETATTR, MOUNT_SETATTR),
    (13, 444, 446),
    (14, 443, 443),
    (14, 447, 447),
    (15, 448, 448),
    (16, 449, 480),
];

/// What Linux 5.`minor` lacks.
fn lacking(minor: u32) -> Vec<c_long> {
    let newer = CAME.iter().filter(|(came, ..)| *came > minor);
    newer.flat_map(|(_, first, last)| *first..=*last).collect()
}

/// mount_setattr, without which no tree is safe, came with 5.12.
#[test]
fn kernel_before_its_calls_came_is_too_old_for_every_job() {
    let scratch = Fresh::new();
    let mut failures = Vec::new();
    for minor in [0, 1, 2, 4, 7, 8, 9, 10, 11] {
        for (kind, job) in jobs(&scratch) {
            let begun = Instant::now();
            let seen = run_on_old(&job, &lacking(minor));
            failures.extend(
                judge(&seen, begun)
                    .err()
                    .map(|why| format!("Linux 5.{minor}, {kind}: {why}")),
            );
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What a newer kernel has is not needed.
#[test]
fn kernel_of_the_oldest_promised_version_runs_every_job() {
    let scratch = Fresh::new();
    for (kind, job) in jobs(&scratch) {
        let seen = run_on_old(&job, &lacking(15));
        assert!(ran(&seen), "{kind}\n{seen}");
    }
}

/// A single one of them missing: by a kernel that was built so, or a filter around stdbox that answers as Docker's does.
#[test]
fn call_that_is_missing_means_a_kernel_that_is_too_old() {
    let scratch = Fresh::new();
    let mut failures = Vec::new();
    for (name, call) in [
        ("open_tree", 428),
        ("move_mount", 429),
        ("fsopen", 430),
        ("fsconfig", 431),
        ("fsmount", 432),
        ("clone3", CLONE3),
        ("close_range", CLOSE_RANGE),
        ("openat2", OPENAT2),
        ("mount_setattr", MOUNT_SETATTR),
        ("pidfd_open", libc::SYS_pidfd_open),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
        ("faccessat2", 439),
        ("memfd_create", libc::SYS_memfd_create),
        ("statx", libc::SYS_statx),
        ("renameat2", libc::SYS_renameat2),
        ("copy_file_range", libc::SYS_copy_file_range),
        ("epoll_pwait2", libc::SYS_epoll_pwait2),
    ] {
        let mut needed = 0;
        for (kind, job) in jobs(&scratch) {
            let begun = Instant::now();
            let seen = run_on_old(&job, &[call]);
            if !ran(&seen) {
                needed += 1;
                failures.extend(
                    judge(&seen, begun)
                        .err()
                        .map(|why| format!("{name}, {kind}: {why}")),
                );
            }
        }
        // Which of them the jobs need at all; what is left out here has a fallback.
        let survives = [
            "pidfd_open",
            "pidfd_getfd",
            "pidfd_send_signal",
            "faccessat2",
            "memfd_create",
            "statx",
            "renameat2",
            "copy_file_range",
            "epoll_pwait2",
        ];
        if (needed == 0) != survives.contains(&name) {
            failures.push(format!("{name} is needed by {needed} jobs"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// On a new kernel it is no sign of an old one: Docker's filter answers so where it allows no namespaces.
#[test]
fn clone3_hidden_on_a_new_kernel_is_told_as_a_filter() {
    let job = json!({"argv": ["/bin/true"], "cwd": "/"});
    let seen = run_refused(&job, CLONE3, Errno::ENOSYS);
    seen.failed("userns-forbidden", "namespaces");
}

/// A limit is kept without it.
#[test]
fn job_is_ended_without_the_call_that_signals_through_a_descriptor() {
    for fields in [json!({}), json!({"init": false})] {
        let job =
            json!({"argv": ["/bin/sleep", "60"], "cwd": "/", "limits": {"wall_time_ms": 300}});
        let begun = Instant::now();
        let seen = run_on_old(&with(job, &fields), &[libc::SYS_pidfd_send_signal]);
        assert_eq!(seen.report["limit"], "wall-time", "{seen}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{seen}");
    }
}
