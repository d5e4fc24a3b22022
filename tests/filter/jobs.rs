//! The real binary: a whole engine profile and small filters, in force in a real container.

use crate::oci::ENGINE;
use crate::support::{Run, probe, run, shell, skip};
use serde_json::{Value, json};

fn engine() -> Value {
    json!({ "oci": serde_json::from_str::<Value>(ENGINE).unwrap() })
}

/// The probe's `syscall` for each of these lines, in one job: the errors, null where the call was made.
fn errors(lines: &[&str], seccomp: &Value) -> Vec<Value> {
    let probe = probe();
    let script: String = lines
        .iter()
        .map(|line| format!("{} syscall {line}\n", probe.display()))
        .collect();
    let seen = shell(&script, json!({ "seccomp": seccomp }));
    let answers: Vec<Value> = seen
        .stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["errno"].clone())
        .collect();
    assert_eq!(answers.len(), lines.len(), "{seen}");
    answers
}

/// Runs one call of the probe in a job.
fn one(line: &str, seccomp: &Value) -> Run {
    let probe = probe();
    let argv: Vec<&str> = [probe.to_str().unwrap(), "syscall"]
        .into_iter()
        .chain(line.split(' '))
        .collect();
    run(&json!({"argv": argv, "cwd": "/", "seccomp": seccomp}))
}

#[test]
fn job_runs_under_a_whole_engine_profile() {
    let seen = shell(
        "echo ok; ls / >/dev/null && cat /etc/passwd | wc -l >/dev/null",
        json!({"seccomp": engine()}),
    );
    seen.exited(0);
    assert_eq!(seen.stdout(), "ok\n");
    assert_eq!(seen.warnings(), ["unknown-system-calls"], "{seen}");
    let message = seen.report["warnings"][0]["message"].as_str().unwrap();
    assert!(
        message.ends_with(": no_such_call, spu_run, subpage_prot, swapcontext."),
        "{message}"
    );
}

#[test]
fn rule_for_a_misspelt_call_is_a_warning_and_fails_a_strict_job() {
    let rule = json!({"names": ["conect", "mkdir"], "action": {"errno": 1}});
    let mut fields = json!({"seccomp": {"default_action": "allow", "rules": [rule]}});
    let seen = shell("true", fields.clone());
    assert_eq!(
        seen.exited(0).warnings(),
        ["unknown-system-calls"],
        "{seen}"
    );
    fields["strict"] = json!(true);
    let seen = shell("true", fields);
    let error = &seen.failed("seccomp-refused", "seccomp").report["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.ends_with("no effect: conect."), "{seen}");
    assert_eq!(error["at"], "/seccomp", "{seen}");
    // What an engine's profile names need not be a call of this machine.
    let seen = shell("true", json!({"seccomp": engine(), "strict": true}));
    assert_eq!(
        seen.exited(0).warnings(),
        ["unknown-system-calls"],
        "{seen}"
    );
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_fail_as_the_engine_profile_says() {
    // add_key, bpf, sched_setattr, clone3, kexec_load, a number above all; personality; socket of a family.
    let lines = [
        "native 248",
        "native 321",
        "native 314",
        "native 435",
        "native 246",
        "native 599",
        "native 135 0x40000",
        "native 135 0xffffffff",
        "native 41 40 1 0",
        "native 41 0x100000028 1 0",
        "native 41 1 1 0",
        "native 8 0 0 3",
        "x32 39",
    ];
    let expected = json!([
        "ENOSYS", "EPERM", null, "ENOSYS", "EPERM", "ENOSYS", "EPERM", null, "EPERM", "EPERM",
        null, "ESPIPE", "ENOSYS"
    ]);
    assert_eq!(json!(errors(&lines, &engine())), expected);
    // Each differs from what the kernel says, so that the filter is what is seen.
    let free = errors(&lines, &json!("off"));
    assert_ne!(free[0], "ENOSYS");
    assert_ne!(free[6], "EPERM");
    if errors(&["i386 20"], &json!("off")) == ["ENOSYS"] {
        return skip("i386", "the kernel has no 32-bit calls");
    }
    let lines = [
        "i386 286",
        "i386 20",
        "i386 136 0x40000",
        "i386 354 0 0 0",
        "i386 599",
    ];
    let expected = json!(["ENOSYS", null, "EPERM", "EINVAL", "ENOSYS"]);
    assert_eq!(json!(errors(&lines, &engine())), expected);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn killing_and_trapping_actions_end_the_command() {
    // userfaultfd, uselib, ustat: the process, its only thread, an uncaught SIGSYS.
    for line in ["native 323", "native 134", "native 136"] {
        let seen = one(line, &engine());
        assert_eq!(seen.report["outcome"], "signaled", "{seen}");
        assert_eq!(seen.report["signal"], nix::libc::SIGSYS, "{seen}");
    }
    // A call of an ABI that an allow list does not cover.
    let seen = one("i386 20", &json!("strict"));
    assert_eq!(seen.report["signal"], nix::libc::SIGSYS, "{seen}");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn short_form_is_in_force() {
    let deny = json!({"default_action": "allow", "rules": [
        {"names": ["getcwd", "setuid"], "action": {"errno": 95}},
        {"names": ["lseek"], "action": {"errno": 7}, "args": [{"index": 2, "op": "ge", "value": 0x7fff_0000}]},
    ]});
    let lines = [
        "native 79 buf 4096",
        "native 8 0 0 0x7fff0000",
        "native 8 0 0 0xdead00000000",
    ];
    assert_eq!(
        json!(errors(&lines, &deny)),
        json!(["EOPNOTSUPP", "E2BIG", null])
    );
    let seen = shell("echo ok", json!({"seccomp": deny}));
    seen.exited(0);
    assert_eq!(seen.warnings(), [""; 0], "{seen}");
}

/// Calls that only the 32-bit ABI has do the work of restricted ones: setuid32, mmap2 and the old mmap, whose arguments are
/// behind a pointer, umount, waitpid, stime, and sendto from behind socketcall.
#[test]
#[cfg(target_arch = "x86_64")]
fn deny_list_is_not_passed_by_other_names_of_the_32_bit_abi() {
    // Of a size that no library has.
    let executable = json!([
        {"index": 1, "op": "eq", "value": 0x3000_0000},
        {"index": 2, "op": "masked-eq", "mask": 4, "value": 4},
    ]);
    let deny = json!({"default_action": "allow", "rules": [
        {"names": ["setuid", "umount2", "clock_settime", "sendto"], "action": {"errno": 95}},
        {"names": ["mmap"], "action": {"errno": 7}, "args": executable},
        {"names": ["wait4"], "action": {"errno": 7}, "args": [{"index": 2, "op": "eq", "value": 1}]},
    ]});
    let lines = [
        "i386 213 1000",
        "i386 22 s:/",
        "i386 25 buf",
        "i386 102 9 buf",
        "i386 102 11 buf",
        "i386 192 0 0x30000000 5 0x22 -1",
        "i386 192 0 0x30000000 3 0x22 -1",
        "i386 90 buf",
        "i386 7 -1 0 1",
        "i386 7 -1 0 0",
    ];
    if errors(&["i386 20"], &json!("off")) == ["ENOSYS"] {
        return skip("i386", "the kernel has no 32-bit calls");
    }
    assert_eq!(
        json!(errors(&lines, &deny)),
        json!([
            "EOPNOTSUPP",
            "EOPNOTSUPP",
            "EOPNOTSUPP",
            "EOPNOTSUPP",
            "EOPNOTSUPP",
            "E2BIG",
            null,
            "ENOSYS",
            "E2BIG",
            "ECHILD"
        ])
    );
}

#[test]
fn filter_that_lets_nothing_start_is_refused() {
    for seccomp in [
        json!({"default_action": {"errno": 1}, "rules": [{"names": ["read", "write"], "action": "allow"}]}),
        json!({"default_action": "allow", "rules": [{"names": ["execve"], "action": "kill-process"}]}),
        json!({"oci": {"defaultAction": "SCMP_ACT_KILL"}}),
    ] {
        let seen = shell("echo ok", json!({"seccomp": seccomp}));
        seen.failed("seccomp-refused", "seccomp");
        assert_eq!(seen.report["error"]["at"], "/seccomp", "{seen}");
    }
}

/// Nothing but execve is let through: a command that cannot be started is still told as such, by init, and the process that
/// tried ends although its exit is denied.
#[test]
fn filter_that_denies_everything_else_does_not_hide_what_went_wrong() {
    for action in [
        json!({"errno": 1}),
        json!("trap"),
        json!("kill-thread"),
        json!("kill-process"),
    ] {
        for init in [true, false] {
            let job = |command: &str| {
                json!({
                    "argv": [command], "cwd": "/", "init": init, "limits": {"wall_time_ms": 20_000},
                    "seccomp": {"default_action": action, "rules": [{"names": ["execve"], "action": "allow"}]},
                })
            };
            let seen = run(&job("/no/such/command"));
            seen.failed("command-not-found", "exec");
            let seen = run(&job("/etc/passwd"));
            seen.failed("exec-refused", "exec");
            // The filter is in force: whatever starts comes to nothing.
            let seen = run(&job("/bin/true"));
            assert_ne!(seen.report["outcome"], "setup-failed", "{seen}");
            assert_ne!(seen.report["exit_code"], 0, "{seen}");
        }
    }
}

#[test]
fn filter_that_is_too_long_is_refused() {
    // Thousands of conditions on one call.
    let rules: Vec<Value> = (0..2100)
        .map(|value| {
            json!({"names": ["lseek"], "action": {"errno": 1}, "args": [{"index": 1, "op": "eq", "value": value}]})
        })
        .collect();
    let seen = shell(
        "echo ok",
        json!({"seccomp": {"default_action": "allow", "rules": rules}}),
    );
    seen.failed("seccomp-refused", "seccomp");
    // As many as fit do work: each takes five instructions, and three in the 32-bit ABI.
    let seen = shell(
        "echo ok",
        json!({"seccomp": {"default_action": "allow", "rules": rules[..500]}}),
    );
    seen.exited(0);
}
