//! Profiles as engines have them: what each group of rules must mean, on both machines, natively and in the 32-bit ABI, with
//! and without capabilities, on old and new kernels.

use crate::builtin::MACHINES;
use crate::evaluator::evaluate;
use crate::interpreter::{
    ALLOW, AUDIT_ARM, AUDIT_I386, AUDIT_X86_64, Call, ENOSYS, EPERM, KILL, KILL_THREAD, LOG, TRAP,
    errno, numbers, taken, verdict,
};
use serde_json::{Value, json};
use stdbox::job::{Channels, Job, Seccomp};
use stdbox::policy::{Action, Compiled, Machine, Policy, compile};
use stdbox::profile::{Flags, Profile, Setting, Version, version};

/// Written for these tests from the documented format; several hundred names.
pub const ENGINE: &str = include_str!("engine.json");

/// What a job's `seccomp` object is taken for.
pub fn profile(seccomp: &Value) -> Profile {
    let job = json!({"argv": ["a"], "seccomp": seccomp});
    match Job::from_slice(job.to_string().as_bytes(), Channels::default()) {
        Ok(job) => match job.seccomp {
            Seccomp::Own { profile, .. } => profile,
            other => panic!("{other:?}"),
        },
        Err(problem) => panic!("{problem:?}\n{job}"),
    }
}

/// The profile of `engine.json` for a machine, a kernel and capabilities.
pub fn engine(machine: &str, kernel: Option<Version>, capabilities: &[&str]) -> Policy {
    let oci: Value = serde_json::from_str(ENGINE).unwrap();
    policy(
        &profile(&json!({ "oci": oci })),
        machine,
        kernel,
        capabilities,
    )
}

fn policy(
    profile: &Profile,
    machine: &str,
    kernel: Option<Version>,
    capabilities: &[&str],
) -> Policy {
    let capabilities: Vec<String> = capabilities.iter().map(|&name| name.to_owned()).collect();
    profile.policy(&Setting {
        machine,
        kernel,
        capabilities: &capabilities,
        init: false,
    })
}

/// A small profile on this kind of machine.
fn small(oci: &Value) -> Compiled {
    let profile = profile(&json!({ "oci": oci }));
    compile(
        &policy(&profile, "amd64", Some([6, 1, 0]), &[]),
        Machine::X86_64,
    )
}

fn native(compiled: &Compiled, number: u32) -> u32 {
    verdict(&compiled.program, &Call::new(AUDIT_X86_64, number))
}

fn native_with(compiled: &Compiled, number: u32, index: usize, argument: u64) -> u32 {
    let call = Call::new(AUDIT_X86_64, number).with(index, argument);
    verdict(&compiled.program, &call)
}

const NEW: Option<Version> = Some([6, 1, 0]);

#[test]
fn engine_profile_is_large_and_the_kernel_takes_it() {
    let oci: Value = serde_json::from_str(ENGINE).unwrap();
    let rules = oci["syscalls"].as_array().unwrap();
    let names: usize = rules
        .iter()
        .map(|rule| rule["names"].as_array().unwrap().len())
        .sum();
    assert!(names > 400, "{names}");
    for operator in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        assert!(ENGINE.contains(&format!("\"SCMP_CMP_{operator}\"")));
    }
    for (machine, name) in [(Machine::X86_64, "amd64"), (Machine::Aarch64, "arm64")] {
        for capabilities in [&[][..], &["CAP_SYS_ADMIN"]] {
            let compiled = compile(&engine(name, NEW, capabilities), machine);
            taken(&compiled.program);
            assert!(compiled.starts);
            assert_eq!(
                compiled.unknown,
                ["no_such_call", "spu_run", "subpage_prot", "swapcontext"]
            );
        }
    }
}

#[test]
fn engine_profile_says_what_its_rules_say() {
    for (machine, abis) in MACHINES {
        let name = match machine {
            Machine::X86_64 => "amd64",
            Machine::Aarch64 => "arm64",
        };
        for capabilities in [&[][..], &["CAP_SYS_ADMIN"]] {
            let policy = engine(name, NEW, capabilities);
            let program = compile(&policy, machine).program;
            for (architecture, _) in abis {
                for number in numbers() {
                    let call = Call::new(architecture, number);
                    let seen = verdict(&program, &call);
                    assert_eq!(seen, evaluate(&policy, machine, &call), "{call:x?}");
                }
            }
        }
    }
}

/// Number natively and in the 32-bit ABI of x86, arguments, what it must give.
type Row = (u32, u32, [u64; 3], u32);

#[test]
fn each_group_of_the_engine_profile_means_what_it_says() {
    const HIGH: u64 = 0xdead << 32;
    let program = compile(&engine("amd64", NEW, &[]), Machine::X86_64).program;
    let rows: &[Row] = &[
        // The list: read, openat, execve, getpid.
        (0, 3, [0; 3], ALLOW),
        (257, 295, [0; 3], ALLOW),
        (59, 11, [0; 3], ALLOW),
        (39, 20, [0; 3], ALLOW),
        // Since 4.8: ptrace.
        (101, 26, [0; 3], ALLOW),
        // Wants a capability: kcmp, mount, unshare, chroot, reboot, bpf, settimeofday, mbind.
        (312, 349, [0; 3], EPERM),
        (165, 21, [0; 3], EPERM),
        (272, 310, [0; 3], EPERM),
        (161, 61, [0; 3], EPERM),
        (169, 88, [0; 3], EPERM),
        (321, 357, [0; 3], EPERM),
        (164, 79, [0; 3], EPERM),
        (237, 274, [0; 3], EPERM),
        // EQ: personality.
        (135, 136, [0, 0, 0], ALLOW),
        (135, 136, [8, 0, 0], ALLOW),
        (135, 136, [HIGH | 8, 0, 0], ALLOW),
        (135, 136, [u64::MAX, 0, 0], ALLOW),
        (135, 136, [1, 0, 0], EPERM),
        (135, 136, [0x4_0000, 0, 0], EPERM),
        // NE: socket.
        (41, 359, [1, 0, 0], ALLOW),
        (41, 359, [40, 0, 0], EPERM),
        (41, 359, [HIGH | 40, 0, 0], EPERM),
        // LT and GT: ioctl.
        (16, 54, [0, 0x5411, 0], ALLOW),
        (16, 54, [0, 0x5412, 0], EPERM),
        (16, 54, [0, HIGH | 0x5412, 0], EPERM),
        (16, 54, [0, 0x5413, 0], ALLOW),
        // LE and GE: prctl.
        (157, 172, [0x4f, 0, 0], ALLOW),
        (157, 172, [0x50, 0, 0], EPERM),
        (157, 172, [0x5356_4d40, 0, 0], EPERM),
        (157, 172, [0x5356_4d41, 0, 0], ALLOW),
        // MASKED_EQ: clone for fork, for a thread, with a namespace; clone3.
        (56, 120, [0x0120_0011, 0, 0], ALLOW),
        (56, 120, [0x003d_0f00, 0, 0], ALLOW),
        (56, 120, [0x1000_0011, 0, 0], EPERM),
        (56, 120, [0x0002_0000, 0, 0], EPERM),
        (435, 435, [0; 3], ENOSYS),
        // A bare rule beside a conditional one: mknod of a device, of a file; mknodat.
        (133, 14, [0, 0o060_644, 0], errno(13)),
        (133, 14, [0, 0xffff_0000 | 0o060_644, 0], errno(13)),
        (133, 14, [0, 0o100_644, 0], ALLOW),
        (259, 297, [0, 0, 0o060_000], errno(13)),
        (259, 297, [0, 0, 0o010_000], ALLOW),
        // Two arguments: both. One argument twice: either.
        (292, 330, [7, 8, 0], errno(22)),
        (292, 330, [7, 9, 0], ALLOW),
        (292, 330, [6, 8, 0], ALLOW),
        (8, 19, [0, 0, 3], errno(29)),
        (8, 19, [0, 0, 4], errno(29)),
        (8, 19, [0, 0, 2], ALLOW),
        // Number 0: it seems to work. sched_setattr.
        (314, 351, [0; 3], errno(0)),
        // Both capabilities or no: pidfd_getfd.
        (438, 438, [0; 3], EPERM),
        // This machine: arch_prctl, modify_ldt. Before 5.10, since 5.10: vmsplice, preadv2.
        (158, 384, [0; 3], ALLOW),
        (154, 123, [0; 3], ALLOW),
        (278, 316, [0; 3], EPERM),
        (327, 378, [0; 3], ALLOW),
        // All actions: add_key, userfaultfd, uselib, _sysctl, ustat, sysfs.
        (248, 286, [0; 3], ENOSYS),
        (323, 374, [0; 3], KILL),
        (134, 86, [0; 3], KILL_THREAD),
        (156, 149, [0; 3], KILL_THREAD),
        (136, 62, [0; 3], TRAP),
        (139, 135, [0; 3], LOG),
        // Not named: io_uring_setup, kexec_load; a number that is none.
        (425, 425, [0; 3], EPERM),
        (246, 283, [0; 3], EPERM),
        (461, 461, [0; 3], ALLOW),
        (458, 458, [0; 3], EPERM),
        // Above the highest named one, mseal.
        (462, 462, [0; 3], ALLOW),
        (463, 463, [0; 3], ENOSYS),
        (599, 599, [0; 3], ENOSYS),
        (0x3fff_ffff, 0x3fff_ffff, [0; 3], ENOSYS),
        (0x4000_0000, 0x4000_0000, [0; 3], ENOSYS),
    ];
    for &(number, compat, [a, b, c], expected) in rows {
        for (architecture, number) in [(AUDIT_X86_64, number), (AUDIT_I386, compat)] {
            let mut call = Call::new(architecture, number);
            call.arguments = [a, b, c, 0, 0, 0];
            assert_eq!(verdict(&program, &call), expected, "{call:x?}");
        }
    }
    // Only there: mmap2, chown32, socketcall; and a number that natively is none.
    let compat = |number| verdict(&program, &Call::new(AUDIT_I386, number));
    assert_eq!([192, 212, 102, 422].map(compat), [ALLOW; 4]);
    assert_eq!([22, 113, 31].map(compat), [EPERM; 3]);
    assert_eq!(
        verdict(&program, &Call::new(AUDIT_X86_64, 400)),
        EPERM,
        "a hole below the highest number"
    );
}

#[test]
fn capabilities_change_what_is_included_and_excluded() {
    let seen = |capabilities: &[&str]| {
        let program = compile(&engine("amd64", NEW, capabilities), Machine::X86_64).program;
        // mount, clone with a new namespace, clone3, chroot, kcmp, pidfd_getfd, open_by_handle_at
        [165, 56, 435, 161, 312, 438, 304].map(|number| {
            let call = Call::new(AUDIT_X86_64, number).with(0, 0x1000_0011);
            verdict(&program, &call) == ALLOW
        })
    };
    let (yes, no) = (true, false);
    assert_eq!(seen(&[]), [no, no, no, no, no, no, no]);
    assert_eq!(
        seen(&["CAP_SYS_ADMIN"]),
        [yes, yes, yes, no, no, no, no],
        "excludes take clone's conditions away"
    );
    assert_eq!(seen(&["CAP_SYS_CHROOT"]), [no, no, no, yes, no, no, no]);
    assert_eq!(seen(&["CAP_SYS_PTRACE"]), [no, no, no, no, yes, no, no]);
    assert_eq!(
        seen(&["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"]),
        [yes, yes, yes, no, yes, yes, no]
    );
    assert_eq!(
        seen(&["CAP_DAC_READ_SEARCH", "CAP_SYS"]),
        [no, no, no, no, no, no, yes]
    );
}

#[test]
fn kernels_and_machines_change_what_is_included_and_excluded() {
    let seen = |machine: &str, kernel: Option<Version>| {
        let program = compile(&engine(machine, kernel, &[]), Machine::X86_64).program;
        // ptrace, vmsplice, preadv2, modify_ldt
        [101, 278, 327, 154].map(|number| native_allows(&program, number))
    };
    let (yes, no) = (true, false);
    assert_eq!(seen("amd64", Some([4, 7, 99])), [no, yes, no, yes]);
    assert_eq!(seen("amd64", Some([4, 8, 0])), [yes, yes, no, yes]);
    assert_eq!(seen("amd64", Some([5, 9, 255])), [yes, yes, no, yes]);
    assert_eq!(seen("amd64", Some([5, 10, 0])), [yes, no, yes, yes]);
    assert_eq!(seen("arm64", Some([10, 0, 0])), [yes, no, yes, no]);

    let program = compile(&engine("arm64", NEW, &[]), Machine::Aarch64).program;
    let compat = |number| verdict(&program, &Call::new(AUDIT_ARM, number));
    // sync_file_range2, breakpoint, cacheflush, set_tls; usr26 between them, get_tls behind them.
    assert_eq!([341, 0xf_0001, 0xf_0002, 0xf_0005].map(compat), [ALLOW; 4]);
    assert_eq!([0xf_0003, 0xf_0006].map(compat), [ENOSYS; 2]);
    // They do not count as the highest number.
    assert_eq!(
        [461, 462, 463, 599].map(compat),
        [ALLOW, ALLOW, ENOSYS, ENOSYS]
    );
}

fn native_allows(program: &[stdbox::policy::Instruction], number: u32) -> bool {
    verdict(program, &Call::new(AUDIT_X86_64, number)) == ALLOW
}

#[test]
fn versions_of_kernels_are_read_from_releases() {
    for (release, expected) in [
        ("6.1.0-18-amd64", Some([6, 1, 0])),
        ("4.8", Some([4, 8, 0])),
        ("5.10.0+", Some([5, 10, 0])),
        ("6.18.44-fc-v782", Some([6, 18, 44])),
        ("5.15.167.4-microsoft-standard-WSL2", Some([5, 15, 167])),
        ("6.12-rc1", Some([6, 12, 0])),
        ("6", None),
        ("", None),
        ("x.y", None),
        ("-1.2", None),
        ("99999999999.1", None),
    ] {
        assert_eq!(version(release), expected, "{release:?}");
    }
}

#[test]
fn whether_a_profile_needs_the_kernel_is_known() {
    let with = |scope: Value| {
        let rule =
            json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": scope.clone()});
        let other = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "excludes": scope});
        [rule, other].map(|rule| {
            let oci = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]});
            profile(&json!({ "oci": oci })).needs_kernel()
        })
    };
    assert_eq!(with(json!({"minKernel": "4.8"})), [true, true]);
    assert_eq!(with(json!({"minKernel": null, "caps": []})), [false, false]);
}

#[test]
fn dialect_of_podman_is_understood() {
    let oci = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "defaultErrno": "ENOSYS",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
        "syscalls": [
            {"names": ["mount", "umount2"], "action": "SCMP_ACT_ERRNO", "args": [], "comment": "", "includes": {},
             "excludes": {"caps": ["CAP_SYS_ADMIN"]}, "errnoRet": 1, "errno": "EPERM"},
            {"name": "read", "action": "SCMP_ACT_ALLOW", "args": null},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "errno": "EINVAL",
             "args": [{"index": 0, "value": 16, "valueTwo": 0, "op": "SCMP_CMP_EQ"},
                      {"index": 2, "value": 9, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 2, "value": 9, "valueTwo": 0, "op": "SCMP_CMP_NE"}]},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 16, "valueTwo": 0, "op": "SCMP_CMP_NE"}]},
            {"names": ["open"], "action": "SCMP_ACT_ERRNO", "errno": "EACCES"},
            {"names": ["stat"], "action": "SCMP_ACT_ERRNO", "errno": "EWOULDBLOCK"},
            {"names": ["lstat"], "action": "SCMP_ACT_ERRNO", "errno": "ENOTSUP"},
            {"names": ["fstat"], "action": "SCMP_ACT_ERRNO", "errno": ""},
            {"names": ["poll"], "action": "SCMP_ACT_ALLOW", "errno": ""},
            {"names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errno": "EHWPOISON", "errnoRet": 5},
            {"names": ["mmap"], "action": "SCMP_ACT_ERRNO", "errno": "EHWPOISON"},
        ]
    });
    let seen = small(&oci);
    assert_eq!(native(&seen, 165), EPERM);
    assert_eq!(native(&seen, 0), ALLOW);
    assert_eq!(native(&seen, 39), ENOSYS);
    // A netlink socket for audit; others of the kind; others.
    for (family, protocol, expected) in [(16, 9, errno(22)), (16, 0, ALLOW), (2, 9, ALLOW)] {
        let call = Call::new(AUDIT_X86_64, 41)
            .with(0, family)
            .with(2, protocol);
        assert_eq!(verdict(&seen.program, &call), expected);
    }
    assert_eq!(
        [2, 4, 6, 5].map(|number| native(&seen, number)),
        [13, 11, 95, 1].map(errno)
    );
    assert_eq!(native(&seen, 7), ALLOW);
    assert_eq!(
        [8, 9].map(|number| native(&seen, number)),
        [5, 133].map(errno)
    );
}

#[test]
fn plain_form_of_the_specification_is_understood() {
    let with = |fields: Value| {
        let mut oci = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["getcwd", "chmod"], "action": "SCMP_ACT_ERRNO"}]
        });
        for (key, value) in fields.as_object().unwrap() {
            oci[key] = value.clone();
        }
        profile(&json!({ "oci": oci }))
    };
    let compat = |profile: &Profile| {
        let program = compile(&policy(profile, "amd64", NEW, &[]), Machine::X86_64).program;
        [183, 20].map(|number| verdict(&program, &Call::new(AUDIT_I386, number)))
    };
    let (own, other, _) = stdbox::profile::oci::machine();
    // Only the machine's own ABI, unless the other is named; x32 does not count.
    for fields in [
        json!({}),
        json!({"architectures": null}),
        json!({"architectures": []}),
        json!({"architectures": [own]}),
        json!({"architectures": [own, "SCMP_ARCH_X32", "SCMP_ARCH_MIPS64N32"]}),
        json!({"archMap": []}),
        json!({"archMap": [{"architecture": own}]}),
        json!({"archMap": [{"architecture": own, "subArchitectures": null}]}),
        json!({"archMap": [{"architecture": "SCMP_ARCH_S390X", "subArchitectures": [other]}]}),
    ] {
        assert_eq!(compat(&with(fields.clone())), [KILL; 2], "{fields}");
    }
    for fields in [
        json!({"architectures": [other]}),
        json!({"architectures": [own, other, "SCMP_ARCH_X32"], "archMap": null}),
        json!({"archMap": [{"architecture": own, "subArchitectures": [other]}], "architectures": []}),
    ] {
        assert_eq!(compat(&with(fields.clone())), [EPERM, ALLOW], "{fields}");
    }

    let flags = |flags: Value| with(json!({ "flags": flags })).flags;
    let all = |log, spec_allow| Flags { log, spec_allow };
    assert_eq!(with(json!({})).flags, Flags::default());
    assert_eq!(flags(Value::Null), all(false, true));
    assert_eq!(flags(json!([])), all(false, false));
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_LOG"])), all(true, false));
    assert_eq!(
        flags(json!([
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            "SECCOMP_FILTER_FLAG_TSYNC",
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
        ])),
        all(false, true)
    );
}

#[test]
fn default_actions_and_numbers_above_the_highest_named_one() {
    for (action, fields, expected, above) in [
        ("SCMP_ACT_ALLOW", json!({}), ALLOW, ALLOW),
        ("SCMP_ACT_LOG", json!({}), LOG, LOG),
        ("SCMP_ACT_ERRNO", json!({}), EPERM, ENOSYS),
        (
            "SCMP_ACT_ERRNO",
            json!({"defaultErrnoRet": null}),
            EPERM,
            ENOSYS,
        ),
        (
            "SCMP_ACT_ERRNO",
            json!({"defaultErrnoRet": 0}),
            errno(0),
            ENOSYS,
        ),
        (
            "SCMP_ACT_ERRNO",
            json!({"defaultErrnoRet": 4095}),
            errno(4095),
            ENOSYS,
        ),
        (
            "SCMP_ACT_ERRNO",
            json!({"defaultErrno": "EIO"}),
            errno(5),
            ENOSYS,
        ),
        ("SCMP_ACT_TRAP", json!({}), TRAP, ENOSYS),
        ("SCMP_ACT_KILL", json!({}), KILL_THREAD, ENOSYS),
        ("SCMP_ACT_KILL_THREAD", json!({}), KILL_THREAD, ENOSYS),
        ("SCMP_ACT_KILL_PROCESS", json!({}), KILL, ENOSYS),
    ] {
        let mut oci = json!({
            "defaultAction": action,
            "syscalls": [
                {"names": ["getcwd"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["getrandom", "mmap2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4,
                 "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}
            ]
        });
        for (key, value) in fields.as_object().unwrap() {
            oci[key] = value.clone();
        }
        let seen = small(&oci);
        // Below, and the highest itself where its conditions do not hold.
        assert_eq!(
            [0, 317, 318].map(|n| native(&seen, n)),
            [expected; 3],
            "{oci}"
        );
        assert_eq!([319, 500].map(|n| native(&seen, n)), [above; 2], "{oci}");
        assert_eq!(native_with(&seen, 318, 0, 1), errno(4));
        assert_eq!(native(&seen, 79), ALLOW);
    }
}

#[test]
fn order_and_repetition_of_rules_do_not_matter() {
    let allow = json!({"names": ["read", "read", "write"], "action": "SCMP_ACT_ALLOW"});
    let deny = json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
                      "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]});
    let kill = json!({"names": ["write", "nothing", "nothing"], "action": "SCMP_ACT_KILL_PROCESS"});
    for rules in [
        json!([allow, deny, kill]),
        json!([kill, deny, allow]),
        json!([deny, kill, allow, deny, kill, allow]),
    ] {
        let seen = small(&json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
        assert_eq!(native_with(&seen, 0, 0, 0), errno(5));
        assert_eq!(native_with(&seen, 0, 0, 1), ALLOW);
        assert_eq!(native(&seen, 1), KILL);
        assert_eq!(seen.unknown, ["nothing"]);
    }
}

#[test]
fn nothing_but_a_default_action_is_a_profile() {
    for oci in [
        json!({"defaultAction": "SCMP_ACT_ALLOW"}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": null, "architectures": null, "archMap": null,
               "flags": null, "listenerPath": null, "listenerMetadata": null, "defaultErrnoRet": null,
               "defaultErrno": null}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}),
    ] {
        let seen = small(&oci);
        assert!(seen.starts);
        assert_eq!([0, 59, 599].map(|n| native(&seen, n)), [ALLOW; 3]);
    }
}

/// pid 1 is ours: rules about calls on it come with it, and change nothing else.
#[test]
fn init_is_protected_and_nothing_else_changes() {
    let with = |oci: &Value, init| {
        let setting = Setting {
            machine: "amd64",
            kernel: NEW,
            capabilities: &[],
            init,
        };
        compile(
            &profile(&json!({ "oci": oci })).policy(&setting),
            Machine::X86_64,
        )
    };
    let limits = |compiled: &Compiled, pid| native_with(compiled, 302, 0, pid);
    // Let through by the default, and by a rule.
    for oci in [
        json!({"defaultAction": "SCMP_ACT_ALLOW"}),
        json!({"defaultAction": "SCMP_ACT_KILL_PROCESS",
               "syscalls": [{"names": ["prlimit64"], "action": "SCMP_ACT_ALLOW"}]}),
    ] {
        assert_eq!(limits(&with(&oci, true), 1), EPERM, "{oci}");
        assert_eq!(limits(&with(&oci, true), 2), ALLOW, "{oci}");
        assert_eq!(limits(&with(&oci, false), 1), ALLOW, "{oci}");
    }
    // Where it is denied anyway, init makes no difference: it stays as it was, and is not the highest named number.
    for oci in [
        json!({"defaultAction": "SCMP_ACT_KILL_PROCESS",
               "syscalls": [{"names": ["read", "execve"], "action": "SCMP_ACT_ALLOW"}]}),
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
               "syscalls": [{"names": ["mseal"], "action": "SCMP_ACT_ALLOW"}]}),
    ] {
        for number in numbers() {
            let call = Call::new(AUDIT_X86_64, number).with(0, 1);
            let seen = [true, false].map(|init| verdict(&with(&oci, init).program, &call));
            assert_eq!(seen[0], seen[1], "{oci} {number}");
        }
    }
    // What the profile says itself is more restrictive.
    let oci = json!({"defaultAction": "SCMP_ACT_ALLOW",
                     "syscalls": [{"names": ["prlimit64"], "action": "SCMP_ACT_KILL"}]});
    assert_eq!(limits(&with(&oci, true), 1), KILL_THREAD);
}

#[test]
fn short_form_is_understood() {
    let seen = |short: Value| {
        let policy = policy(&profile(&short), "amd64", None, &[]);
        compile(&policy, Machine::X86_64)
    };
    let deny = seen(json!({"default_action": "allow", "rules": [
        {"names": ["mount", "nothing"], "action": {"errno": 1}},
        {"names": ["unshare"], "action": "kill-process"},
        {"names": ["setns"], "action": "kill-thread"},
        {"names": ["chroot"], "action": "trap", "args": []},
        {"names": ["uname"], "action": "log"},
        // All conditions must hold, also where two are about one argument.
        {"names": ["lseek"], "action": {"errno": 4095},
         "args": [{"index": 2, "op": "ge", "value": 3}, {"index": 2, "op": "le", "value": 4}]},
        {"names": ["dup3"], "action": {"errno": 9},
         "args": [{"index": 0, "op": "ne", "value": 7}, {"index": 1, "op": "gt", "value": 8},
                  {"index": 2, "op": "lt", "value": 9}]},
        {"names": ["openat"], "action": {"errno": 30},
         "args": [{"index": 2, "op": "masked-eq", "mask": 3, "value": 1}]},
        {"names": ["kill"], "action": {"errno": 3}, "args": [{"index": 0, "op": "eq", "value": 18_446_744_073_709_551_615u64}]},
    ]}));
    assert_eq!(deny.unknown, ["nothing"]);
    assert_eq!(
        [165, 272, 308, 161, 63, 39, 599].map(|n| native(&deny, n)),
        [EPERM, KILL, KILL_THREAD, TRAP, LOG, ALLOW, ALLOW]
    );
    assert_eq!(
        [2, 3, 4, 5].map(|whence| native_with(&deny, 8, 2, whence)),
        [ALLOW, errno(4095), errno(4095), ALLOW]
    );
    let dup3 = |a, b, c| {
        let call = Call::new(AUDIT_X86_64, 292)
            .with(0, a)
            .with(1, b)
            .with(2, c);
        verdict(&deny.program, &call)
    };
    assert_eq!(dup3(6, 9, 8), errno(9));
    assert_eq!([dup3(7, 9, 8), dup3(6, 8, 8), dup3(6, 9, 9)], [ALLOW; 3]);
    assert_eq!(native_with(&deny, 257, 2, 0x241), errno(30));
    assert_eq!(native_with(&deny, 257, 2, 0x242), ALLOW);
    // -1 as C passes it.
    assert_eq!(native_with(&deny, 62, 0, 0xffff_ffff), errno(3));
    // A deny list holds in the 32-bit ABI, an allow list ends it.
    let compat =
        |compiled: &Compiled, number| verdict(&compiled.program, &Call::new(AUDIT_I386, number));
    assert_eq!(
        [21, 310, 122, 20].map(|n| compat(&deny, n)),
        [EPERM, KILL, LOG, ALLOW]
    );
    let allow = seen(json!({"default_action": {"errno": 38}, "rules": [
        {"names": ["read", "execve"], "action": "allow"},
    ]}));
    assert!(allow.starts);
    assert_eq!(
        [0, 59, 1, 599].map(|n| native(&allow, n)),
        [ALLOW, ALLOW, ENOSYS, ENOSYS]
    );
    assert_eq!([3, 11, 599].map(|n| compat(&allow, n)), [KILL; 3]);
    // Numbers above the highest named one are like all others.
    let kill = seen(json!({"default_action": "kill-process", "rules": []}));
    assert_eq!(native(&kill, 599), KILL);
    let log = seen(json!({"default_action": "log", "rules": []}));
    assert_eq!([native(&log, 0), compat(&log, 0)], [LOG; 2]);
    assert_eq!(Action::Log.value(), LOG);
}
