//! What a target is, has and can do: section 7 (processes and hardening) and the `default` filter of section 8 of the
//! contract, each seen from inside by `tests/support/probe/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]
#![allow(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "terminals, descriptors and signals are prepared between fork and exec"
)]

mod support;

use nix::libc::{self, c_int};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use support::outside::fields_of;
use support::{Fresh, Run, probe, run, run_with, shell, skip};

const NONE: &str = "0000000000000000";

fn probe_job(arguments: &[&str], fields: Value) -> Value {
    let probe = probe();
    let argv: Vec<&str> = std::iter::once(probe.to_str().unwrap())
        .chain(arguments.iter().copied())
        .collect();
    let mut job = json!({"argv": argv, "cwd": "/"});
    for (key, value) in fields.as_object().expect("fields are an object") {
        job[key] = value.clone();
    }
    job
}

/// What the probe prints.
#[track_caller]
fn answer(seen: &Run) -> Value {
    serde_json::from_str(seen.stdout()).unwrap_or_else(|_| panic!("no JSON from the probe\n{seen}"))
}

#[track_caller]
fn probed(arguments: &[&str], fields: Value) -> Value {
    let seen = run(&probe_job(arguments, fields));
    answer(seen.exited(0))
}

/// The target's status, of a stdbox that is prepared between fork and exec.
#[track_caller]
fn status_after(
    fields: Value,
    prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> Value {
    let job = probe_job(&["status"], fields);
    let seen = run_with(job.to_string().as_bytes(), &[], |command| {
        // SAFETY: the closures used here make plain system calls and allocate nothing.
        unsafe { command.pre_exec(prepare) };
    });
    answer(seen.exited(0))
}

// ---- privileges

#[test]
fn target_has_the_ids_of_the_job_and_no_groups() {
    let status = probed(&["status"], json!({"user": {"uid": 4242, "gid": 4343}}));
    assert_eq!(status["status"]["Uid"], "4242 4242 4242 4242");
    assert_eq!(status["status"]["Gid"], "4343 4343 4343 4343");
    // Groups that are not mapped are seen as the overflow group: they come from the caller and give nothing inside.
    let groups = status["status"]["Groups"].as_str().unwrap();
    assert!(
        groups
            .split_whitespace()
            .all(|group| group == "65534" || group == "4343"),
        "{groups}"
    );
}

#[test]
fn target_can_be_debugged_but_only_by_itself() {
    assert_eq!(probed(&["status"], json!({}))["dumpable"], 1);
}

#[test]
fn target_is_not_slowed_by_speculation_mitigations() {
    let host = fields_of(&fs::read_to_string("/proc/self/status").unwrap());
    let status = probed(&["status"], json!({}));
    for key in ["Speculation_Store_Bypass", "SpeculationIndirectBranch"] {
        assert_eq!(status["status"].get(key), host.get(key), "{key}");
    }
}

// ---- descriptors

/// Opens /dev/null under many numbers.
fn leak() -> io::Result<()> {
    for fd in (3..64).chain([100, 255, 256, 257, 400, 1000]) {
        // Those in use are for the process that is being started.
        // SAFETY: F_GETFD takes nothing.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            // SAFETY: the string ends in NUL.
            let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            if null != fd {
                // SAFETY: no memory is passed.
                unsafe { libc::dup2(null, fd) };
                // SAFETY: no memory is passed.
                unsafe { libc::close(null) };
            }
        }
    }
    Ok(())
}

#[test]
fn descriptors_that_the_job_keeps_are_kept() {
    let kept = |status: &Value| {
        status["fds"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    for (fds, expected) in [
        (json!([60]), vec!["0", "1", "2", "60"]),
        (
            json!([1000, 255, 61, 60]),
            vec!["0", "1", "1000", "2", "255", "60", "61"],
        ),
        (json!([50]), vec!["0", "1", "2", "50"]),
    ] {
        for init in [true, false] {
            let status = status_after(json!({"fds": fds, "init": init}), leak);
            let mut seen = kept(&status);
            seen.sort();
            assert_eq!(seen, expected, "{fds}");
            assert_eq!(
                status["fds"]["60"].as_str().unwrap_or("/dev/null"),
                "/dev/null"
            );
        }
    }
}

#[test]
fn descriptors_kept_are_the_very_ones_of_the_caller() {
    let (reader, writer) = io::pipe().unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&writer);
    let job = json!({"argv": ["/bin/sh", "-c", "echo through >&9"], "cwd": "/", "fds": [9]});
    let seen = run_with(job.to_string().as_bytes(), &[], |command| {
        // SAFETY: dup2 may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::dup2(number, 9);
                // If it had this number already, it is still close-on-exec.
                libc::fcntl(9, libc::F_SETFD, 0);
                Ok(())
            })
        };
    });
    seen.exited(0);
    drop(writer);
    assert_eq!(io::read_to_string(reader).unwrap(), "through\n");
}

#[test]
fn descriptor_that_the_caller_did_not_pass_on_is_refused() {
    for (field, value, at) in [
        ("fds", json!([77]), "/fds/0"),
        ("stdin", json!({"fd": 77}), "/stdin"),
        ("stdout", json!({"fd": 77}), "/stdout"),
        ("stderr", json!({"fd": 77}), "/stderr"),
    ] {
        let seen = run(&json!({"argv": ["true"], "cwd": "/", field: value}));
        seen.failed("bad-descriptor", "validate");
        assert_eq!(
            (&seen.report["error"]["at"], seen.status),
            (&json!(at), Some(2)),
            "{seen}"
        );
    }
    // Descriptors of stdbox itself are none of the caller's: whatever number they have, they cannot be named.
    for number in 3..20 {
        let job = json!({"argv": ["true"], "cwd": "/", "fds": [number]}).to_string();
        let seen = run_with(job.as_bytes(), &[], |command| {
            // SAFETY: close_range may be called between fork and exec.
            unsafe {
                command.pre_exec(|| {
                    libc::syscall(libc::SYS_close_range, 3, u32::MAX, 4);
                    Ok(())
                })
            };
        });
        seen.failed("bad-descriptor", "validate");
    }
}

// ---- signals, umask, limits

#[test]
fn signal_mask_and_dispositions_are_the_defaults() {
    for init in [true, false] {
        let status = status_after(json!({"init": init}), || {
            for signal in [
                libc::SIGINT,
                libc::SIGQUIT,
                libc::SIGPIPE,
                libc::SIGUSR2,
                40,
            ] {
                // SAFETY: the signals are only ignored.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            let all = [u64::MAX; 16];
            // SAFETY: the set has the 128 bytes that the C library's type has.
            unsafe {
                libc::sigprocmask(libc::SIG_BLOCK, all.as_ptr().cast(), std::ptr::null_mut())
            };
            Ok(())
        });
        for set in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
            assert_eq!(status["status"][set], NONE, "init: {init}, {set}");
        }
    }
}

#[test]
fn umask_is_the_callers() {
    for mask in [0o000, 0o022, 0o027, 0o077, 0o777] {
        for init in [true, false] {
            let status = status_after(json!({"init": init}), move || {
                // SAFETY: no memory is passed.
                unsafe { libc::umask(mask) };
                Ok(())
            });
            assert_eq!(status["umask"], mask, "init: {init}");
        }
    }
}

fn limit(resource: c_int) -> [u64; 2] {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` has room for what is written.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    [limit.rlim_cur, limit.rlim_max]
}

#[test]
fn limits_are_the_callers_but_for_core_files() {
    let status = probed(&["status"], json!({}));
    // 1 is less than 0: core(5). Who may not set it gets 0.
    let least = limit(libc::RLIMIT_CORE)[1].min(1);
    assert_eq!(status["limits"]["core"], json!([least, least]));
    let limited = status_after(json!({}), || {
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the limit is there to be read.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
        Ok(())
    });
    assert_eq!(limited["limits"]["core"], json!([0, 0]));
    for (name, resource) in [
        ("as", libc::RLIMIT_AS),
        ("fsize", libc::RLIMIT_FSIZE),
        ("nofile", libc::RLIMIT_NOFILE),
        ("stack", libc::RLIMIT_STACK),
    ] {
        assert_eq!(status["limits"][name], json!(limit(resource)), "{name}");
    }
}

#[test]
fn limits_of_the_job_hold() {
    let limits = json!({"open_files": 33, "file_size_bytes": 12345, "stack_bytes": 4 << 20, "address_space_bytes": 1u64 << 40});
    let status = probed(&["status"], json!({"limits": limits}));
    assert_eq!(status["limits"]["nofile"], json!([33, 33]));
    assert_eq!(status["limits"]["fsize"], json!([12345, 12345]));
    assert_eq!(status["limits"]["stack"], json!([4 << 20, 4 << 20]));
    assert_eq!(status["limits"]["as"], json!([1u64 << 40, 1u64 << 40]));
    if limit(libc::RLIMIT_CORE)[1] >= 1000 {
        assert_eq!(
            probed(&["status"], json!({"limits": {"core_bytes": 1000}}))["limits"]["core"],
            json!([1000, 1000])
        );
    }
}

#[test]
fn limit_above_the_hard_limit_is_an_error() {
    let job = json!({"argv": ["true"], "cwd": "/", "limits": {"open_files": 300}}).to_string();
    let seen = run_with(job.as_bytes(), &[], |command| {
        // SAFETY: setrlimit may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let limit = libc::rlimit {
                    rlim_cur: 100,
                    rlim_max: 200,
                };
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
                Ok(())
            })
        };
    });
    // The kernel looks for the capability in the initial user namespace, so root is refused too.
    seen.failed("limit-refused", "limits");
    assert_eq!(seen.report["error"]["at"], "/limits/open_files", "{seen}");
}

#[test]
fn core_dump_leaves_no_file_by_default() {
    let seen = shell("ulimit -c; kill -SEGV $$", json!({}));
    assert_eq!(
        (seen.stdout(), &seen.report["signal"]),
        ("0\n", &json!(libc::SIGSEGV)),
        "{seen}"
    );
    assert_eq!(
        seen.report["wait_status"],
        libc::SIGSEGV,
        "the bit for a core dump is not set\n{seen}"
    );
}

// ---- init

#[test]
fn init_is_not_there_for_a_target_that_is_pid_1() {
    let seen = shell(
        "ls /proc | grep -c '^[0-9]*$'; test $$ = 1",
        json!({"init": false}),
    );
    seen.exited(0);
}

#[test]
fn processes_of_the_host_are_not_seen() {
    let seen = shell("ls -d /proc/[0-9]* | wc -l", json!({}));
    assert!(
        seen.exited(0).stdout().trim().parse::<u32>().unwrap() <= 4,
        "{seen}"
    );
}

#[test]
fn namespaces_are_the_containers_own() {
    let own = |name: &str| {
        fs::read_link(format!("/proc/self/ns/{name}"))
            .unwrap()
            .display()
            .to_string()
    };
    let status = probed(&["status"], json!({}));
    for name in ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"] {
        assert_ne!(status["namespaces"][name], own(name), "{name}");
    }
    let status = probed(&["status"], json!({"network": "host"}));
    assert_eq!(status["namespaces"]["net"], own("net"));
}

// ---- the default filter

/// Name, number on x86_64, number on i386.
#[cfg(target_arch = "x86_64")]
const DENIED: &[(&str, Option<u32>, Option<u32>)] = &[
    ("add_key", Some(248), Some(286)),
    ("request_key", Some(249), Some(287)),
    ("keyctl", Some(250), Some(288)),
    ("userfaultfd", Some(323), Some(374)),
    ("io_uring_setup", Some(425), Some(425)),
    ("io_uring_enter", Some(426), Some(426)),
    ("io_uring_register", Some(427), Some(427)),
    ("bpf", Some(321), Some(357)),
    ("perf_event_open", Some(298), Some(336)),
    ("kexec_load", Some(246), Some(283)),
    ("kexec_file_load", Some(320), None),
    ("init_module", Some(175), Some(128)),
    ("finit_module", Some(313), Some(350)),
    ("delete_module", Some(176), Some(129)),
    ("create_module", Some(174), Some(127)),
    ("query_module", Some(178), Some(167)),
    ("get_kernel_syms", Some(177), Some(130)),
    ("reboot", Some(169), Some(88)),
];

/// Makes each call in one job; the answers' errors, `null` where a call went through.
#[cfg(target_arch = "x86_64")]
fn errors(calls: &[String], fields: Value) -> Vec<Value> {
    let probe = probe();
    let script: String = calls
        .iter()
        .map(|call| format!("{} {call}\n", probe.display()))
        .collect();
    let seen = shell(&script, fields);
    let answers: Vec<Value> = seen
        .stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["errno"].clone())
        .collect();
    assert_eq!(answers.len(), calls.len(), "{seen}");
    answers
}

/// Every denied call by one ABI: with the filter ENOSYS; without it, what the kernel says.
#[cfg(target_arch = "x86_64")]
fn denied_by(
    abi: &str,
    number: impl Fn(&(&str, Option<u32>, Option<u32>)) -> Option<u32>,
) -> usize {
    let calls: Vec<(&str, u32)> = DENIED
        .iter()
        .filter_map(|call| Some((call.0, number(call)?)))
        .collect();
    let lines: Vec<String> = calls
        .iter()
        .map(|(_, number)| format!("syscall {abi} {number}"))
        .collect();
    let filtered = errors(&lines, json!({}));
    for ((name, _), error) in calls.iter().zip(&filtered) {
        assert_eq!(error, "ENOSYS", "{name} by {abi}");
    }
    let free = errors(&lines, json!({"seccomp": "off"}));
    free.iter().filter(|error| *error != "ENOSYS").count()
}

#[test]
#[cfg(target_arch = "x86_64")]
fn denied_calls_are_absent_natively() {
    // Some of them this kernel may not have; where it has one, the filter is what makes the difference.
    let proven = denied_by("native", |call| call.1);
    assert!(proven >= 10, "only {proven} of the denied calls exist here");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn denied_calls_are_absent_for_32_bit_programs() {
    if errors(&["syscall i386 20".into()], json!({"seccomp": "off"})) == ["ENOSYS"] {
        return skip("i386", "the kernel has no 32-bit calls");
    }
    let proven = denied_by("i386", |call| call.2);
    assert!(proven >= 10, "only {proven} of the denied calls exist here");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_with_the_x32_bit_are_absent() {
    // getpid, and the denied ones: all numbers with that bit.
    let lines: Vec<String> = DENIED
        .iter()
        .filter_map(|call| call.1)
        .chain([39, 0, 511])
        .map(|number| format!("syscall x32 {number}"))
        .collect();
    assert!(
        errors(&lines, json!({}))
            .iter()
            .all(|error| error == "ENOSYS")
    );
    // Numbers that are negative as a signed number have the bit too.
    let strange = [
        "syscall native -1".to_owned(),
        "syscall native 0x80000000".into(),
        "syscall native 0xffffffff".into(),
    ];
    assert!(
        errors(&strange, json!({}))
            .iter()
            .all(|error| error == "ENOSYS")
    );
    if errors(&["syscall x32 39".into()], json!({"seccomp": "off"})) == ["ENOSYS"] {
        skip(
            "x32",
            "the kernel has no x32 calls, so that the filter denies them cannot be seen",
        );
    }
}

/// RDS, LLC, IRDA, BLUETOOTH, IUCV, RXRPC, ISDN, PHONET, IEEE802154, CAIF, ALG, NFC, VSOCK, QIPCRTR.
#[cfg(target_arch = "x86_64")]
const FAMILIES: &[u64] = &[21, 23, 26, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 42];

#[test]
#[cfg(target_arch = "x86_64")]
fn socket_families_that_lead_outside_are_not_supported() {
    let lines: Vec<String> = FAMILIES
        .iter()
        .flat_map(|family| {
            // The kernel takes the family as an int: high bits are dropped, so they must not hide it.
            let hidden = family | 0xdead_beef_0000_0000;
            [
                format!("socket {family} 1 0"),
                format!("socket {hidden:#x} 1 0"),
                format!("syscall native 53 {family} 1 0 buf"),
                format!("syscall i386 359 {family} 1 0"),
                format!("syscall i386 360 {family} 1 0 buf"),
            ]
        })
        // Through socketcall(2), where the family cannot be seen, there are no sockets at all: its first argument says
        // which call is meant, socket or socketpair.
        .chain(["1", "8", "0x100000001"].map(|call| format!("syscall i386 102 {call} buf")))
        .collect();
    for (line, error) in lines.iter().zip(errors(&lines, json!({}))) {
        assert!(
            error == "EAFNOSUPPORT" || (line.contains("i386") && error == "ENOSYS"),
            "{line}: {error}"
        );
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn socket_families_of_the_container_work() {
    // UNIX, INET, INET6, NETLINK; a raw packet socket wants a capability.
    let lines = [
        "socket 1 1 0",
        "socket 2 1 0",
        "socket 10 1 0",
        "socket 16 3 0",
        "syscall native 53 1 1 0 buf",
    ]
    .map(str::to_owned);
    assert!(
        errors(&lines, json!({})).iter().all(Value::is_null),
        "{lines:?}"
    );
    assert_eq!(errors(&["socket 17 3 0".into()], json!({})), ["EPERM"]);
    let free = errors(&["socket 40 1 0".into()], json!({"seccomp": "off"}));
    if free == ["EAFNOSUPPORT"] {
        skip(
            "vsock",
            "the kernel has no AF_VSOCK, so that the filter denies it cannot be seen",
        );
    }
    assert_eq!(probed(&["inet"], json!({}))["result"], "connected");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn ioctls_that_inject_input_are_refused_on_any_descriptor() {
    // Standard input is /dev/null: without the filter the kernel says that it is no terminal.
    let lines: Vec<String> = ["0x5412", "0x541c", "0xffffffff00005412", "0x10000541c"]
        .iter()
        .map(|request| format!("ioctl 0 {request}"))
        .chain([
            "syscall i386 54 0 0x5412 buf".into(),
            "syscall i386 54 0 0x541c buf".into(),
        ])
        .collect();
    assert!(
        errors(&lines, json!({}))
            .iter()
            .all(|error| error == "EPERM")
    );
    assert!(
        errors(&lines[..4], json!({"seccomp": "off"}))
            .iter()
            .all(|error| error == "ENOTTY")
    );
    assert_eq!(errors(&["ioctl 0 0x5401".into()], json!({})), ["ENOTTY"]);
}

#[test]
fn seccomp_off_installs_no_filter() {
    let host = fields_of(&fs::read_to_string("/proc/self/status").unwrap());
    let filters = |status: &Value| {
        status["Seccomp_filters"]
            .as_str()
            .unwrap_or("0")
            .parse::<u32>()
            .unwrap()
    };
    let off = probed(&["status"], json!({"seccomp": "off"}));
    assert_eq!(
        (&off["status"]["Seccomp"], filters(&off["status"])),
        (&host["Seccomp"], filters(&host))
    );
    let on = probed(&["status"], json!({}));
    assert_eq!(
        (&on["status"]["Seccomp"], filters(&on["status"])),
        (&json!("2"), filters(&host) + 1)
    );
}

/// A static program of 32 bits that consists of this code: the smallest ELF file that the kernel starts.
#[cfg(target_arch = "x86_64")]
fn program_of_32_bits(code: &[u8]) -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    let size = u32::try_from(84 + code.len()).unwrap();
    let halves =
        |values: &[u16]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let words =
        |values: &[u32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    [
        b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        // Type, machine; version, entry, program headers, section headers, flags; sizes.
        halves(&[2, 3]),
        words(&[1, BASE + 84, 52, 0, 0]),
        halves(&[52, 32, 1, 0, 0, 0]),
        // One segment: the whole file, readable and executable.
        words(&[1, 0, BASE, BASE, size, size, 5, 4096]),
        code.to_vec(),
    ]
    .concat()
}

/// Writes a program by a process of its own: a descriptor that a concurrent fork inherits would make execve say ETXTBSY.
#[cfg(target_arch = "x86_64")]
fn install(scene: &Fresh, name: &str, bytes: &[u8]) -> String {
    let path = scene.path().join(name);
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "cat > \"$0\"; chmod 755 \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(bytes).unwrap();
    writer.wait().unwrap();
    path.to_str().unwrap().to_owned()
}

/// Makes a call without arguments, and exits with its error.
#[cfg(target_arch = "x86_64")]
fn call_of_32_bits(number: u32) -> Vec<u8> {
    let set_eax = |value: u32| [vec![0xb8], value.to_le_bytes().to_vec()].concat();
    const INT_0X80: [u8; 2] = [0xcd, 0x80];
    // The arguments are 0: xor ebx, ebx; xor ecx, ecx; xor edx, edx. Then ebx becomes -eax.
    let code = [
        vec![0x31, 0xdb, 0x31, 0xc9, 0x31, 0xd2],
        set_eax(number),
        INT_0X80.to_vec(),
        vec![0x89, 0xc3, 0xf7, 0xdb],
        set_eax(1),
        INT_0X80.to_vec(),
    ];
    program_of_32_bits(&code.concat())
}

#[test]
#[cfg(target_arch = "x86_64")]
fn denied_calls_are_absent_for_a_static_program_of_32_bits() {
    let scene = Fresh::new();
    // alarm(0), and add_key with wrong arguments.
    let harmless = install(&scene, "alarm", &call_of_32_bits(27));
    let denied = install(&scene, "add_key", &call_of_32_bits(286));
    match Command::new(&harmless).output() {
        Ok(output) if output.status.code() == Some(0) => {}
        other => {
            let reason = format!("the kernel runs no 32-bit programs: {other:?}");
            return skip("i386", &reason);
        }
    }
    let run =
        |path: &str, seccomp: &str| run(&json!({"argv": [path], "cwd": "/", "seccomp": seccomp}));
    run(&harmless, "default").exited(0);
    run(&denied, "default").exited(libc::ENOSYS.into());
    run(&denied, "off").exited(libc::EFAULT.into());
    // An allow list has no calls of this ABI at all.
    let seen = run(&harmless, "strict");
    assert_eq!(seen.report["signal"], libc::SIGSYS, "{seen}");
}

// ---- what must work

#[test]
fn threads_work() {
    assert_eq!(probed(&["threads", "16"], json!({}))["sum"], 120);
    assert_eq!(
        probed(&["threads", "16"], json!({"init": false}))["sum"],
        120
    );
}

fn find(names: &[&str]) -> Option<String> {
    names
        .iter()
        .find(|path| Path::new(path).exists())
        .map(|path| (*path).to_owned())
}

#[test]
fn node_works() {
    let Some(node) = find(&["/usr/bin/node", "/usr/local/bin/node"]) else {
        return skip("node", "no node");
    };
    let program = "\
const { Worker } = require('worker_threads'), { execFileSync } = require('child_process'), fs = require('fs');
fs.writeFileSync('/tmp/x', 'y');
if (execFileSync('/bin/echo', ['x']).toString() !== 'x\\n') throw 1;
if (require('os').networkInterfaces().lo === undefined) throw 2;
const worker = new Worker(\"require('worker_threads').parentPort.postMessage('fine')\", { eval: true });
worker.on('message', (text) => console.log(text));";
    for seccomp in ["default", "strict"] {
        let seen = run(&json!({"argv": [node, "-e", program], "cwd": "/tmp", "seccomp": seccomp}));
        assert_eq!(seen.exited(0).stdout(), "fine\n", "{seen}");
    }
}

#[test]
fn java_works() {
    let Some(java) = find(&["/usr/bin/java"]) else {
        return skip("java", "no java");
    };
    let program = "\
import java.util.concurrent.*;
class Program {
    public static void main(String[] words) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        String text = pool.submit(() -> \"fine\").get();
        if (new ProcessBuilder(\"/bin/true\").start().waitFor() != 0) throw new Exception();
        java.nio.file.Files.writeString(java.nio.file.Path.of(\"/tmp/x\"), \"y\");
        System.out.println(text);
        pool.shutdown();
    }
}";
    for seccomp in ["default", "strict"] {
        // The launcher compiles it first.
        let script = format!("cat > Program.java; exec {java} Program.java");
        let fields = json!({"cwd": "/tmp", "seccomp": seccomp, "stdin": {"text": program}});
        let seen = shell(&script, fields);
        assert_eq!(seen.exited(0).stdout(), "fine\n", "{seen}");
    }
}

#[test]
fn python_works() {
    let Some(python) = find(&["/usr/bin/python3", "/usr/local/bin/python3"]) else {
        return skip("python3", "no python3");
    };
    let program = "\
import os, subprocess, multiprocessing, threading, tempfile, socket, asyncio, concurrent.futures as f
assert subprocess.run(['/bin/echo', 'x'], capture_output=True).stdout == b'x\\n'
with f.ThreadPoolExecutor(4) as pool: assert sum(pool.map(abs, range(10))) == 45
with multiprocessing.Pool(2) as pool: assert sum(pool.map(abs, range(10))) == 45
async def wait(): await asyncio.sleep(0.01)
asyncio.run(wait())
with tempfile.TemporaryDirectory() as d: open(d + '/x', 'w').write('y')
a, b = socket.socketpair(); a.send(b'z'); assert b.recv(1) == b'z'
import pty; master, slave = pty.openpty(); os.write(slave, b'x'); assert os.read(master, 1) == b'x'
print('fine')";
    for seccomp in ["default", "strict"] {
        let seen =
            run(&json!({"argv": [python, "-c", program], "cwd": "/tmp", "seccomp": seccomp}));
        assert_eq!(seen.exited(0).stdout(), "fine\n", "{seen}");
    }
}

#[test]
fn compiler_works() {
    let Some(compiler) = find(&["/usr/bin/cc", "/usr/bin/gcc"]) else {
        return skip("cc", "no compiler");
    };
    let source = "#include <stdio.h>\nint main(void) { return puts(\"compiled\") < 0; }\n";
    let script = format!("{compiler} -O2 -x c -o /tmp/program - && /tmp/program");
    for seccomp in ["default", "strict"] {
        let seen = shell(
            &script,
            json!({"stdin": {"text": source}, "seccomp": seccomp}),
        );
        assert_eq!(seen.exited(0).stdout(), "compiled\n", "{seen}");
    }
}

#[test]
fn target_may_trace_its_own_children() {
    let Some(strace) = find(&["/usr/bin/strace"]) else {
        return skip("strace", "no strace");
    };
    shell(
        &format!("{strace} -f -o /tmp/trace true && grep -q execve /tmp/trace"),
        json!({}),
    )
    .exited(0);
}
