//! Set-up fails closed: whichever system call the kernel refuses, the target never runs, and the report says which.
//!
//! Two instruments. A filter (seccompiler) refuses one system call throughout. And a supervisor (seccomp_unotify(2)) stops
//! stdbox at each single call in turn, to refuse just this one, or to kill stdbox at just this moment.

use crate::common::with;
use crate::supervisor::{Notice, Watched, asked};
use crate::support::outside::alive;
use crate::support::{Fresh, Run, probe, root, run_with, skip, stdbox};
use nix::errno::Errno;
use nix::libc::{self, c_long};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

// ---- the target, which must not run, or must be as confined as ever

fn target() -> Value {
    json!({"argv": [probe().to_str().unwrap(), "status"], "cwd": "/"})
}

/// Whether the target ran to its end.
pub fn ran(seen: &Run) -> bool {
    matches!(seen.report["outcome"].as_str(), Some("exited" | "signaled"))
}

/// The least limit of core dumps that the caller may give: 1 is less than 0, see core(5).
fn least_core() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` has room for what is written.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
    limit.rlim_max.min(1)
}

/// The target sees itself confined in every way of section 7 of the contract.
fn confined(seen: &Run, fields: &Value) -> Result<(), String> {
    let status: Value =
        serde_json::from_str(seen.stdout()).map_err(|_| format!("no status\n{seen}"))?;
    let of = |key: &str| status["status"][key].clone();
    // CAP_SYS_ADMIN, or none.
    let kept = json!(if fields["capabilities"].is_array() {
        "0000000000200000"
    } else {
        "0000000000000000"
    });
    let expected = [
        ("CapInh", of("CapInh"), kept.clone()),
        ("CapPrm", of("CapPrm"), kept.clone()),
        ("CapEff", of("CapEff"), kept.clone()),
        ("CapBnd", of("CapBnd"), kept.clone()),
        ("CapAmb", of("CapAmb"), kept.clone()),
        ("blocked signals", of("SigBlk"), json!("0000000000000000")),
        ("ignored signals", of("SigIgn"), json!("0000000000000000")),
        ("no_new_privs", of("NoNewPrivs"), json!("1")),
        ("seccomp", of("Seccomp"), json!("2")),
        (
            "securebits",
            status["securebits"].clone(),
            // With many ids, a process that is no longer uid 0 loses its capabilities: SECBIT_NO_SETUID_FIXUP is off, for good.
            json!(
                if fields["user"]["map"] == "range" && fields["capabilities"].is_array() {
                    0b1100_1011
                } else {
                    0b1110_1111
                }
            ),
        ),
        ("session", status["sid"].clone(), status["pid"].clone()),
        (
            "descriptors",
            json!(status["fds"].as_object().map(serde_json::Map::len)),
            json!(3),
        ),
        (
            "core limit",
            status["limits"]["core"].clone(),
            json!([least_core(), least_core()]),
        ),
    ];
    let differ: Vec<String> = expected
        .iter()
        .filter(|(_, seen, wanted)| seen != wanted)
        .map(|(what, seen, wanted)| format!("{what}: {seen}, not {wanted}"))
        .collect();
    if differ.is_empty() {
        Ok(())
    } else {
        Err(format!("the target ran with {}", differ.join("; ")))
    }
}

/// A report that says what a stranger needs.
pub fn told(seen: &Run) -> Result<(), String> {
    let error = &seen.report["error"];
    let outcome = seen.report["outcome"].as_str();
    let fine = matches!(outcome, Some("setup-failed" | "invalid-job"))
        && ["code", "stage", "message"]
            .iter()
            .all(|field| error[field].is_string())
        && matches!(seen.status, Some(1 | 2))
        && seen.complaint.is_empty();
    if fine {
        Ok(())
    } else {
        Err(format!(
            "no proper report: status {:?} {} {}",
            seen.status, seen.report, seen.complaint
        ))
    }
}

/// The report names the call and its error, unless init died of it or an optional step was left out before.
fn named(seen: &Run, errno: Errno) -> Result<(), String> {
    let error = &seen.report["error"];
    let fine = error["operation"].is_string() && error["errno_name"] == format!("{errno:?}");
    // The process that maps many ids cannot say what went wrong when it cannot write; that is what is said then.
    let mute = error["operation"] == "read" && error["errno_name"] == "EIO";
    if fine || mute || error["code"] == "setup-died" || !seen.degraded().is_empty() {
        Ok(())
    } else {
        Err(format!(
            "the report does not name the call and {errno:?}: {error}"
        ))
    }
}

#[track_caller]
fn assert_none(failures: &[String]) {
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

// ---- one system call refused throughout

/// Numbers above 424 are the same everywhere.
pub const NAMES: &[(&str, c_long)] = &[
    ("open_tree", 428),
    ("move_mount", 429),
    ("fsopen", 430),
    ("fsconfig", 431),
    ("fsmount", 432),
    ("clone3", 435),
    ("unshare", libc::SYS_unshare),
    ("close_range", 436),
    ("openat2", 437),
    ("mount_setattr", 442),
    ("pivot_root", libc::SYS_pivot_root),
    ("umount2", libc::SYS_umount2),
    ("chroot", libc::SYS_chroot),
    ("chdir", libc::SYS_chdir),
    ("fchdir", libc::SYS_fchdir),
    ("sethostname", libc::SYS_sethostname),
    ("socket", libc::SYS_socket),
    ("ioctl", libc::SYS_ioctl),
    ("mkdirat", libc::SYS_mkdirat),
    ("mknodat", libc::SYS_mknodat),
    ("symlinkat", libc::SYS_symlinkat),
    ("sendfile", libc::SYS_sendfile),
    ("prctl", libc::SYS_prctl),
    ("capset", libc::SYS_capset),
    ("setpgid", libc::SYS_setpgid),
    ("setsid", libc::SYS_setsid),
    ("seccomp", libc::SYS_seccomp),
    ("dup3", libc::SYS_dup3),
    ("prlimit64", libc::SYS_prlimit64),
    ("rt_sigaction", libc::SYS_rt_sigaction),
    ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    ("rt_sigtimedwait", libc::SYS_rt_sigtimedwait),
    ("signalfd4", libc::SYS_signalfd4),
    ("pipe2", libc::SYS_pipe2),
    ("memfd_create", libc::SYS_memfd_create),
    ("fsetxattr", libc::SYS_fsetxattr),
    ("fstatfs", libc::SYS_fstatfs),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("flock", libc::SYS_flock),
];

fn name(call: c_long) -> String {
    let known = NAMES.iter().find(|(_, number)| *number == call);
    known.map_or_else(|| format!("call {call}"), |(name, _)| (*name).to_owned())
}

/// A filter that refuses one call.
fn refusing(call: c_long, errno: Errno) -> BpfProgram {
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let rules = BTreeMap::from([(call, Vec::new())]);
    let refuse = SeccompAction::Errno(errno as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)
        .unwrap()
        .try_into()
        .unwrap()
}

pub fn run_refused(job: &Value, call: c_long, errno: Errno) -> Run {
    let program = refusing(call, errno);
    run_with(job.to_string().as_bytes(), &[], |command| {
        // SAFETY: apply_filter makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                seccompiler::apply_filter(&program).map_err(std::io::Error::other)
            })
        };
    })
}

/// Calls that stdbox can go without in the jobs used here, and why.
const SURVIVED: &[(&str, &str)] = &[
    ("chroot", "only where pivot_root is impossible"),
    (
        "fsetxattr",
        "asks whether a tmpfs holds user attributes; if not, overlays do without and it is reported",
    ),
    ("memfd_create", "for the same question"),
    (
        "fstatfs",
        "init's count of the scratch space, which is 0 then; refused for an overlay it is an error",
    ),
    ("flock", "only for a disk scratch"),
    (
        "sethostname",
        "the name of the surrounding container stays, and the report says so; an error where that is asked for",
    ),
    ("pidfd_send_signal", "only to end a job early"),
    ("setpgid", "only where the caller has no terminal"),
    (
        "rt_sigtimedwait",
        "init cannot wait, ends, and everything ends with it",
    ),
];

#[test]
fn call_refused_throughout_keeps_the_target_from_running() {
    let jobs = [
        ("read-only", json!({"directories": {"/": "read-only"}})),
        ("overlay", json!({})),
        (
            "hidden",
            json!({"directories": {"/": "hidden", "/usr": "read-only", probe().parent().unwrap().to_str().unwrap(): "read-only"}}),
        ),
        ("pid 1", json!({"init": false})),
        (
            "plain",
            json!({"system_config": false, "network": "host", "directories": {"/": "full-access"}}),
        ),
    ];
    let mut used = BTreeMap::new();
    let mut failures = Vec::new();
    for (kind, fields) in &jobs {
        let job = with(target(), fields);
        for &(name, call) in NAMES {
            for errno in [Errno::EPERM, Errno::ENOSYS] {
                let seen = run_refused(&job, call, errno);
                let verdict = if ran(&seen) {
                    confined(&seen, fields)
                } else {
                    used.insert(name, ());
                    // What the runtime of the language needs before `main`.
                    if seen.complaint.contains("fatal runtime error") {
                        Ok(())
                    } else {
                        told(&seen).and_then(|()| named(&seen, errno))
                    }
                };
                failures.extend(
                    verdict
                        .err()
                        .map(|why| format!("{kind}, {name} gives {errno:?}: {why}")),
                );
            }
        }
    }
    // Each call is either needed by one of the jobs or known not to be.
    let known: Vec<&str> = SURVIVED.iter().map(|(name, _)| *name).collect();
    let unknown = NAMES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !used.contains_key(name) && !known.contains(name));
    failures.extend(unknown.map(|name| format!("no job noticed that {name} was refused")));
    assert_none(&failures);
}

#[test]
fn call_refused_is_named_by_the_report() {
    // At one, init too has a session of its own.
    let at_terminal = fs::File::open("/dev/tty").is_ok();
    for (name, call, stage) in [
        ("clone3", 435, "namespaces"),
        ("unshare", libc::SYS_unshare, "namespaces"),
        ("sethostname", libc::SYS_sethostname, "identity"),
        ("socket", libc::SYS_socket, "network"),
        ("fsopen", 430, "mounts"),
        ("fsmount", 432, "mounts"),
        ("move_mount", 429, "mounts"),
        ("mount_setattr", 442, "mounts"),
        ("pivot_root", libc::SYS_pivot_root, "mounts"),
        ("umount2", libc::SYS_umount2, "mounts"),
        ("capset", libc::SYS_capset, "seccomp"),
        ("seccomp", libc::SYS_seccomp, "seccomp"),
        if at_terminal {
            ("setsid", libc::SYS_setsid, "namespaces")
        } else {
            ("setpgid", libc::SYS_setpgid, "namespaces")
        },
        ("close_range", 436, "exec"),
        ("prlimit", libc::SYS_prlimit64, "limits"),
    ] {
        let job = with(target(), &json!({"strict": true}));
        let seen = run_refused(&job, call, Errno::EPERM);
        let error = &seen.report["error"];
        assert_eq!(
            (&error["operation"], &error["stage"]),
            (&json!(name), &json!(stage)),
            "{seen}"
        );
        assert_eq!(error["errno"], libc::EPERM, "{seen}");
    }
}

#[test]
fn clone3_refused_names_the_surrounding_container() {
    for errno in [Errno::EPERM, Errno::ENOSYS] {
        let seen = run_refused(&target(), 435, errno);
        seen.failed("userns-forbidden", "namespaces");
        assert!(
            seen.report["error"]["hint"]
                .as_str()
                .unwrap()
                .contains("seccomp"),
            "{seen}"
        );
    }
    run_refused(&target(), 435, Errno::EAGAIN).failed("out-of-memory", "namespaces");
    run_refused(&target(), 435, Errno::ENOSPC).failed("namespace-limit", "namespaces");
}

/// What a filter or a security module of a surrounding container refuses, and what to change there.
#[test]
fn calls_refused_by_what_surrounds_stdbox_name_what_to_change() {
    for (name, call, remedies) in [
        (
            "sethostname",
            libc::SYS_sethostname,
            &[
                "seccomp=unconfined",
                "--cap-add SYS_ADMIN",
                "\"strict\":false",
            ][..],
        ),
        ("socket", libc::SYS_socket, &["\"network\" to \"host\""]),
        ("fsopen", 430, MOUNTS),
        ("fsconfig", 431, MOUNTS),
        ("fsmount", 432, MOUNTS),
        ("move_mount", 429, MOUNTS),
        ("mount_setattr", 442, MOUNTS),
        ("open_tree", 428, MOUNTS),
        ("pivot_root", libc::SYS_pivot_root, MOUNTS),
        ("umount2", libc::SYS_umount2, MOUNTS),
    ] {
        let job = with(target(), &json!({"strict": true}));
        let seen = run_refused(&job, call, Errno::EPERM);
        let hint = seen.report["error"]["hint"].as_str().unwrap_or("");
        for remedy in remedies {
            assert!(hint.contains(remedy), "{name}: {remedy}\n{seen}");
        }
    }
}

const MOUNTS: &[&str] = &[
    "seccomp=unconfined",
    "apparmor=unconfined",
    "label=disable",
    "Kubernetes",
];

#[test]
fn hostname_that_may_not_be_set_is_the_surrounding_ones() {
    let own = nix::sys::utsname::uname().unwrap();
    for errno in [Errno::EPERM, Errno::ENOSYS] {
        let job = with(target(), &json!({"argv": ["/bin/uname", "-n"]}));
        let seen = run_refused(&job, libc::SYS_sethostname, errno);
        assert_eq!(seen.degraded(), ["hostname-kept"], "{seen}");
        let name = seen.exited(0).stdout().trim_end();
        assert_eq!(name, own.nodename().to_str().unwrap(), "{seen}");
    }
}

#[test]
fn mount_calls_missing_name_the_kernel() {
    for (name, call) in NAMES
        .iter()
        .filter(|(_, call)| [429, 430, 431, 432, 442].contains(call))
    {
        let seen = run_refused(&target(), *call, Errno::ENOSYS);
        assert_eq!(
            seen.report["error"]["code"], "kernel-too-old",
            "{name}\n{seen}"
        );
        assert!(
            seen.report["error"]["hint"]
                .as_str()
                .unwrap()
                .contains("5.15"),
            "{name}\n{seen}"
        );
    }
}

/// Where there is no filter, the caller's keys are out of reach only once its session keyring is left: session-keyring(7).
#[test]
fn call_refused_that_leaves_the_session_keyring_keeps_the_target_from_running() {
    let job = with(target(), &json!({"seccomp": "off"}));
    for errno in [Errno::EDQUOT, Errno::ENOMEM, Errno::EINTR] {
        let seen = run_refused(&job, libc::SYS_keyctl, errno);
        assert!(!ran(&seen), "{seen}");
        told(&seen).and_then(|()| named(&seen, errno)).unwrap();
        seen.failed("out-of-memory", "exec");
        assert_eq!(seen.report["error"]["operation"], "keyctl", "{seen}");
    }
    // Where the call itself is denied, the target has no use of keys either.
    for errno in [Errno::EPERM, Errno::ENOSYS] {
        assert!(ran(&run_refused(&job, libc::SYS_keyctl, errno)));
    }
}

#[test]
fn memory_running_out_is_said() {
    for (call, errno) in [
        (430, Errno::ENOMEM),
        (libc::SYS_mkdirat, Errno::ENOSPC),
        (431, Errno::EMFILE),
    ] {
        let seen = run_refused(&target(), call, errno);
        told(&seen).unwrap();
        let code = seen.report["error"]["code"].as_str().unwrap();
        assert!(
            ["out-of-memory", "scratch-refused"].contains(&code),
            "{seen}"
        );
    }
}

// ---- one single call refused

/// Whether this process is stdbox still, and not the target.
fn is_stdbox(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "stdbox")
}

/// The process of a thread.
fn process_of(thread: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    process.map_or(thread, |number| number.trim().parse().unwrap())
}

/// Refuses the call number `index` of those that `counts` counts. Returns the call and what came of it; `None` if there
/// were not that many.
fn refuse_one(
    spec: &str,
    index: usize,
    errno: Errno,
    of_stdbox_itself: bool,
) -> Option<(Notice, Run)> {
    let watched = Watched::start(spec);
    let (mut count, mut refused) = (0, None);
    while let Some(notice) = watched.next(Duration::from_secs(20)) {
        let counts = if of_stdbox_itself {
            notice.pid == watched.pid()
        } else {
            notice.pid != watched.pid() && is_stdbox(notice.pid)
        };
        if counts && count == index {
            refused = Some(notice);
            watched.answer(&notice, Some(errno));
        } else {
            watched.answer(&notice, None);
        }
        count += usize::from(counts);
    }
    let seen = watched.finish(Duration::from_secs(20));
    refused.map(|notice| (notice, seen))
}

/// Refuses every call of the container's own processes in turn.
fn sweep(fields: &Value, errno: Errno) {
    let scene = Fresh::new();
    let spec = scene.file("job.json", &with(target(), fields).to_string());
    let (mut index, mut survived, mut failed, mut failures) = (0, Vec::new(), 0, Vec::new());
    // Where the network is made beside the tree, init's first clone3 is for a thread, without which the tree is built afterwards.
    let (mut thread, mut without) = (fields["capabilities"].is_null(), 0);
    while let Some((notice, seen)) = refuse_one(spec.to_str().unwrap(), index, errno, false) {
        let call = c_long::from(notice.call);
        let of_thread = name(call) == "clone3" && std::mem::take(&mut thread);
        let verdict = if ran(&seen) && of_thread {
            without += 1;
            confined(&seen, fields)
        } else if ran(&seen) {
            survived.push((
                name(call),
                format!(
                    "number {index} {:x?}, outcome {}",
                    notice.args, seen.report["outcome"]
                ),
            ));
            confined(&seen, fields)
        } else {
            failed += 1;
            told(&seen).and_then(|()| named(&seen, errno))
        };
        let what = format!(
            "call number {index}, {} {:x?}, gives {errno:?}",
            name(call),
            notice.args
        );
        failures.extend(verdict.err().map(|why| format!("{what}: {why}")));
        index += 1;
    }
    assert!(
        failed > 50,
        "only {failed} of {index} calls were refused before the target ran"
    );
    // close_range: what init cannot close is only open for longer; the target's own is needed. fstatfs: a figure of the
    // report. open_tree, openat2: what an optional step is about may have vanished, which the report then says; and the
    // kernel may allow a read-only /proc only (fsmount). An overlay that the kernel refuses has not vanished (fsopen,
    // fsconfig), and restrictions are never optional.
    let harmless = ["close_range", "fstatfs", "fsmount", "open_tree", "openat2"];
    assert_eq!(without, i32::from(fields["capabilities"].is_null()));
    // What a signal interrupts is done again.
    let repeated = ["call 1", "rt_sigtimedwait"];
    // What filters of other containers refuse is reported, and no error.
    let filtered =
        |call: &str| call == "sethostname" && matches!(errno, Errno::EPERM | Errno::ENOSYS);
    survived.retain(|(call, _)| {
        !(harmless.contains(&call.as_str())
            || filtered(call)
            || errno == Errno::EINTR && repeated.contains(&call.as_str()))
    });
    let first = survived.first().map(|(call, how)| {
        format!(
            "{} failed without consequence, such as {call}, {how}",
            survived.len()
        )
    });
    failures.extend(first);
    assert_none(&failures);
}

#[test]
fn each_call_refused_for_a_read_only_tree_keeps_the_target_from_running() {
    sweep(&json!({"directories": {"/": "read-only"}}), Errno::EPERM);
}

#[test]
fn each_call_missing_for_a_read_only_tree_keeps_the_target_from_running() {
    sweep(&json!({"directories": {"/": "read-only"}}), Errno::ENOSYS);
}

#[test]
fn each_call_without_memory_for_a_read_only_tree_keeps_the_target_from_running() {
    sweep(&json!({"directories": {"/": "read-only"}}), Errno::ENOMEM);
}

#[test]
fn each_call_interrupted_for_a_read_only_tree_keeps_the_target_from_running() {
    sweep(&json!({"directories": {"/": "read-only"}}), Errno::EINTR);
}

#[test]
fn each_call_refused_for_the_default_job_keeps_the_target_from_running() {
    sweep(&json!({}), Errno::EACCES);
}

#[test]
fn each_call_refused_for_a_target_that_is_pid_1_keeps_the_target_from_running() {
    sweep(
        &json!({"init": false, "directories": {"/": "read-only"}}),
        Errno::EPERM,
    );
}

#[test]
fn each_call_refused_for_kept_capabilities_keeps_the_target_from_running() {
    sweep(
        &json!({"capabilities": ["CAP_SYS_ADMIN"], "directories": {"/": "read-only"}}),
        Errno::EPERM,
    );
}

/// Only root: the supervisor's filter takes no_new_privs, under which newuidmap has no privileges.
fn many_ids(fields: &Value) -> Option<Value> {
    if !root() {
        skip("root", "only root maps many ids under no_new_privs");
        return None;
    }
    let many =
        json!({"user": {"uid": 0, "gid": 0, "map": "range"}, "directories": {"/": "read-only"}});
    Some(with(many, fields))
}

#[test]
fn each_call_refused_for_many_ids_keeps_the_target_from_running() {
    if let Some(fields) = many_ids(&json!({})) {
        sweep(&fields, Errno::EPERM);
    }
}

#[test]
fn each_call_refused_for_capabilities_among_many_ids_keeps_the_target_from_running() {
    if let Some(fields) = many_ids(&json!({"capabilities": ["CAP_SYS_ADMIN"]})) {
        sweep(&fields, Errno::EPERM);
    }
}

/// The sweeps above refuse what is put to the supervisor. This shows that nothing else is left that set-up could fail at.
#[test]
fn each_call_of_set_up_is_put_to_the_supervisor() {
    if !["/usr/bin/strace", "/bin/strace"]
        .iter()
        .any(|path| fs::exists(path).unwrap())
    {
        return skip("strace", "no strace");
    }
    let known: BTreeSet<String> = asked().into_iter().map(name).collect();
    // They cannot fail, or what they say is of no consequence.
    let fine = [
        "call 1",
        "close",
        "umask",
        "wait4",
        "exit_group",
        "write",
        "futex",
        "tkill",
        "sched_yield",
        "exit",
    ];
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"directories": {"/": "read-only"}}),
        json!({"directories": {"/": "hidden", "/usr": "read-only"}}),
        json!({"scratch": {"directory": "/var/tmp"}}),
    ] {
        let scene = Fresh::new();
        let spec = scene.file(
            "job.json",
            &with(
                json!({"argv": ["/usr/bin/env", "true"], "cwd": "/"}),
                &fields,
            )
            .to_string(),
        );
        let trace = scene.path().join("trace");
        // Whether the command is found in the end does not matter here.
        let _either = Command::new("strace")
            .args(["-f", "-qq", "-o"])
            .arg(&trace)
            .arg(stdbox())
            .arg("--spec")
            .arg(spec)
            .output()
            .unwrap();
        let text = fs::read_to_string(trace).unwrap();
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let outer = lines.next().expect("a first call").0;
        let (mut replaced, mut unknown, mut seen) = (BTreeSet::new(), BTreeSet::new(), 0);
        for (pid, call) in lines.filter(|(pid, _)| *pid != outer) {
            let call = call.trim_start().trim_start_matches("<... ");
            let call = call.split(['(', ' ']).next().unwrap();
            let word = call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if call == "execve" {
                replaced.insert(pid);
            } else if word && !replaced.contains(pid) {
                seen += 1;
                if !known.contains(call) && !fine.contains(&call) {
                    unknown.insert(call.to_owned());
                }
            }
        }
        assert!(seen > 100, "{fields}: only {seen} calls of set-up: {text}");
        assert!(unknown.is_empty(), "{fields}: {unknown:?}");
    }
}

/// stdbox's own calls: whatever fails, it neither panics nor hangs, and nothing runs less confined.
#[test]
fn each_call_of_stdbox_itself_refused_is_told() {
    let scene = Fresh::new();
    let spec = scene.file("job.json", &target().to_string());
    let (mut index, mut failures) = (0, Vec::new());
    while let Some((notice, seen)) = refuse_one(spec.to_str().unwrap(), index, Errno::EPERM, true) {
        let verdict = match seen.status {
            Some(1 | 2) => told(&seen),
            Some(0) => confined(&seen, &json!({})),
            // What the runtime of the language needs before `main`.
            _ if seen.complaint.contains("fatal runtime error") => Ok(()),
            // The report itself.
            Some(3) if c_long::from(notice.call) == libc::SYS_write => Ok(()),
            _ => Err(format!(
                "it hung, died of a signal, or gave up a report that could be written\n{seen}"
            )),
        };
        failures.extend(
            verdict
                .err()
                .map(|why| format!("call number {index}, {}: {why}", name(notice.call.into()))),
        );
        index += 1;
    }
    assert!(index > 10, "only {index} calls were seen");
    assert_none(&failures);
}

// ---- killed at a chosen moment

/// Whether a process is dead, reaped or not.
fn ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| {
        rest.trim_start().is_empty() || rest.trim_start().starts_with(['Z', 'X'])
    })
}

/// Kills stdbox at every call of the container's own processes in turn; what comes after it must come to nothing.
fn kill_at_each_call(fields: &Value, word: &str) {
    let scene = Fresh::new();
    let mut index = 0;
    let mut survivors = Vec::new();
    loop {
        let word = format!("marker-{word}-{}-{index}", std::process::id());
        let ran = scene.path().join(format!("ran-{index}"));
        let job = json!({"argv": [probe().to_str().unwrap(), "stay", word, ran.to_str().unwrap()], "cwd": "/",
            "directories": {"/": "read-only", scene.str(): "full-access"}});
        let spec = scene.file(&format!("{word}.json"), &with(job, fields).to_string());
        let mut watched = Watched::start(spec.to_str().unwrap());
        let (mut count, mut at) = (0, None);
        // Init is the first to be heard of. What it asks for after the target's process was heard of comes after execve.
        let (mut init, mut target, mut running) = (None, None, false);
        while let Some(notice) =
            watched.next(Duration::from_millis(if at.is_some() || !ran.exists() {
                5000
            } else {
                300
            }))
        {
            if notice.pid != watched.pid() && is_stdbox(notice.pid) {
                let process = process_of(notice.pid);
                let init = *init.get_or_insert(process);
                if process != init {
                    target = Some(process);
                }
                if count == index && at.is_none() {
                    running = process == init && target.is_some();
                    watched.child.kill().unwrap();
                    watched.child.wait().unwrap();
                    // On a busy machine it takes init a moment to die, in which what is let go on would still run.
                    let killed = Instant::now();
                    while !ended(init) && killed.elapsed() < Duration::from_secs(2) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    at = Some(notice);
                }
                count += 1;
            }
            watched.answer(&notice, None);
            if at.is_some() && ran.exists() {
                break;
            }
        }
        watched.child.kill().unwrap();
        watched.child.wait().unwrap();
        drop(watched);
        let started = Instant::now();
        while !alive(&word).is_empty() && started.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let left = alive(&word);
        for pid in &left {
            // SAFETY: no memory is passed. Who ended with another one of them cannot be signalled any more.
            let _ended = unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        let Some(notice) = at else { break };
        if !left.is_empty() || (ran.exists() && !running) {
            survivors.push((
                index,
                name(notice.call.into()),
                notice.args,
                left,
                ran.exists(),
            ));
        }
        index += 1;
    }
    assert!(index > 50, "only {index} calls were seen");
    assert!(
        survivors.is_empty(),
        "{} moments of {index} let something go on: {survivors:x?}",
        survivors.len()
    );
}

#[test]
fn stdbox_killed_at_each_call_leaves_no_survivor() {
    kill_at_each_call(&json!({}), "moment");
}

#[test]
fn stdbox_killed_at_each_call_of_a_target_that_is_pid_1_leaves_no_survivor() {
    kill_at_each_call(&json!({"init": false}), "moment-1");
}

#[test]
fn stdbox_killed_at_each_call_of_kept_capabilities_leaves_no_survivor() {
    kill_at_each_call(
        &json!({"capabilities": ["CAP_SYS_ADMIN", "CAP_KILL"]}),
        "moment-kept",
    );
}

#[test]
fn stdbox_killed_at_each_call_for_capabilities_among_many_ids_leaves_no_survivor() {
    let kept = json!({"capabilities": ["CAP_SYS_ADMIN", "CAP_KILL", "CAP_SETUID"]});
    let Some(mut fields) = many_ids(&kept) else {
        return;
    };
    if let Some(fields) = fields.as_object_mut() {
        // The directory that the marker is left in is among the job's own.
        fields.remove("directories");
    }
    kill_at_each_call(&fields, "moment-many");
}
