//! `src/policy/calls.txt` against the machine's headers, the C library's constants and the running kernel.

use crate::support::{probe, root, skip};
use nix::libc;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use stdbox::policy::Machine;
use stdbox::policy::calls::{Call, Column, Width};

macro_rules! numbers {
    ($($name:ident = $constant:ident,)*) => { &[$((stringify!($name), libc::$constant),)*] };
}

/// Numbers on the machine that the tests were built for.
const NATIVE: &[(&str, libc::c_long)] = numbers! {
    accept4 = SYS_accept4, acct = SYS_acct, add_key = SYS_add_key, bind = SYS_bind, bpf = SYS_bpf, brk = SYS_brk,
    chroot = SYS_chroot, clock_settime = SYS_clock_settime, clone = SYS_clone, clone3 = SYS_clone3, close = SYS_close,
    close_range = SYS_close_range, connect = SYS_connect, delete_module = SYS_delete_module, dup3 = SYS_dup3,
    epoll_pwait2 = SYS_epoll_pwait2, execve = SYS_execve, execveat = SYS_execveat, exit_group = SYS_exit_group,
    faccessat2 = SYS_faccessat2, fanotify_init = SYS_fanotify_init, fanotify_mark = SYS_fanotify_mark,
    fchmodat = SYS_fchmodat, finit_module = SYS_finit_module, fsconfig = SYS_fsconfig, fsmount = SYS_fsmount,
    fsopen = SYS_fsopen, fspick = SYS_fspick, fstat = SYS_fstat, futex = SYS_futex, getpid = SYS_getpid,
    getrandom = SYS_getrandom, init_module = SYS_init_module, io_uring_enter = SYS_io_uring_enter,
    io_uring_register = SYS_io_uring_register, io_uring_setup = SYS_io_uring_setup, ioctl = SYS_ioctl, kcmp = SYS_kcmp,
    kexec_load = SYS_kexec_load, keyctl = SYS_keyctl, kill = SYS_kill,
    landlock_create_ruleset = SYS_landlock_create_ruleset, lookup_dcookie = SYS_lookup_dcookie, lseek = SYS_lseek,
    mbind = SYS_mbind, memfd_create = SYS_memfd_create, migrate_pages = SYS_migrate_pages, mmap = SYS_mmap,
    mount = SYS_mount, mount_setattr = SYS_mount_setattr, move_mount = SYS_move_mount, move_pages = SYS_move_pages,
    mprotect = SYS_mprotect, mseal = SYS_mseal, nfsservctl = SYS_nfsservctl, open_by_handle_at = SYS_open_by_handle_at,
    open_tree = SYS_open_tree, openat = SYS_openat, openat2 = SYS_openat2, perf_event_open = SYS_perf_event_open,
    personality = SYS_personality, pidfd_getfd = SYS_pidfd_getfd, pidfd_open = SYS_pidfd_open,
    pivot_root = SYS_pivot_root, prlimit64 = SYS_prlimit64, process_vm_readv = SYS_process_vm_readv,
    process_vm_writev = SYS_process_vm_writev, ptrace = SYS_ptrace, quotactl = SYS_quotactl,
    quotactl_fd = SYS_quotactl_fd, read = SYS_read, reboot = SYS_reboot, renameat2 = SYS_renameat2,
    request_key = SYS_request_key, rseq = SYS_rseq, seccomp = SYS_seccomp, set_mempolicy = SYS_set_mempolicy,
    setdomainname = SYS_setdomainname, sethostname = SYS_sethostname, setns = SYS_setns,
    settimeofday = SYS_settimeofday, socket = SYS_socket, socketpair = SYS_socketpair, statx = SYS_statx,
    swapoff = SYS_swapoff, swapon = SYS_swapon, syslog = SYS_syslog, umount2 = SYS_umount2, uname = SYS_uname,
    unshare = SYS_unshare, userfaultfd = SYS_userfaultfd, vhangup = SYS_vhangup, waitid = SYS_waitid,
    write = SYS_write,
};

/// Those that only this machine has, or that the C library names only there.
#[cfg(target_arch = "x86_64")]
const OLD: &[(&str, libc::c_long)] = numbers! {
    _sysctl = SYS__sysctl, arch_prctl = SYS_arch_prctl, fork = SYS_fork, get_thread_area = SYS_get_thread_area,
    ioperm = SYS_ioperm, iopl = SYS_iopl, kexec_file_load = SYS_kexec_file_load, modify_ldt = SYS_modify_ldt, open = SYS_open, poll = SYS_poll,
    select = SYS_select, set_thread_area = SYS_set_thread_area, stat = SYS_stat, sysfs = SYS_sysfs, time = SYS_time,
    uselib = SYS_uselib, ustat = SYS_ustat, vfork = SYS_vfork,
};
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[(&str, libc::c_long)] = &[];

/// A number from the C library, if the name is among those above.
pub fn native(name: &str) -> Option<u32> {
    let found = NATIVE.iter().chain(OLD).find(|(own, _)| *own == name);
    found.map(|(_, number)| u32::try_from(*number).unwrap())
}

/// The column of the machine that the tests were built for.
fn own() -> Column {
    match Machine::NATIVE {
        Machine::X86_64 => Column::X86_64,
        Machine::Aarch64 => Column::Aarch64,
    }
}

/// The numbers by name that a header defines, also where it names another definition instead of a number.
fn header(path: &str) -> Option<BTreeMap<String, u32>> {
    let text = fs::read_to_string(path).ok()?;
    let definitions: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("#define __NR")?.split_whitespace();
            Some((words.next()?, words.next()?))
        })
        .collect();
    let resolve = |value: &str| -> Option<u32> {
        let value = match value.strip_prefix("__NR") {
            Some(other) => definitions.get(other)?,
            None => value,
        };
        value.parse().ok()
    };
    let calls = definitions
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix('_')?.to_owned(), resolve(value)?)));
    Some(calls.collect())
}

#[track_caller]
fn same(name: &str, column: Column, number: u32) {
    let call = Call::named(name).unwrap_or_else(|| panic!("{name} is not in the table"));
    assert_eq!(call.number(column), Some(number), "{name} {column:?}");
}

#[test]
fn every_call_of_the_headers_of_x86_is_in_the_table() {
    let place = ["/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm"]
        .into_iter()
        .find(|place| Path::new(place).join("unistd_64.h").exists());
    let Some(place) = place else {
        return skip("headers", "there is no asm/unistd_64.h (linux-libc-dev)");
    };
    for (file, column) in [
        ("unistd_64.h", Column::X86_64),
        ("unistd_32.h", Column::X86),
    ] {
        let numbers = header(&format!("{place}/{file}")).unwrap();
        assert!(numbers.len() > 300, "{file}: {}", numbers.len());
        for (name, &number) in &numbers {
            same(name, column, number);
        }
        // The other way round: where the header has a number, it has it under this name.
        let names: BTreeMap<u32, &str> = numbers
            .iter()
            .map(|(name, number)| (*number, name.as_str()))
            .collect();
        for call in Call::all() {
            if let Some(name) = call.number(column).and_then(|n| names.get(&n)) {
                assert_eq!(*name, call.name());
            }
        }
    }
}

#[test]
fn every_call_of_the_generic_header_is_in_the_table_for_aarch64() {
    let Some(numbers) = header("/usr/include/asm-generic/unistd.h") else {
        return skip(
            "headers",
            "there is no asm-generic/unistd.h (linux-libc-dev)",
        );
    };
    assert!(numbers.len() > 300, "{}", numbers.len());
    // Not calls: where a machine's own begin, and how many there are.
    let no_call = ["arch_specific_syscall", "syscalls"];
    // Kept by the header for machines without 64-bit registers, or with other needs.
    let other = |name: &str| {
        name.ends_with("_time64")
            || [
                "clock_gettime64",
                "clock_settime64",
                "clock_adjtime64",
                "timer_gettime64",
                "timer_settime64",
                "timerfd_gettime64",
                "timerfd_settime64",
                "sync_file_range2",
                "fcntl64",
                "statfs64",
                "fstatfs64",
                "truncate64",
                "ftruncate64",
                "llseek",
                "sendfile64",
                "fstatat64",
                "fstat64",
                "mmap2",
                "fadvise64_64",
                "stat64",
                "lstat64",
            ]
            .contains(&name)
    };
    let mut count = 0;
    for (name, &number) in &numbers {
        if no_call.contains(&name.as_str()) {
            continue;
        }
        if other(name) {
            let call = Call::named(name);
            let seen = call.and_then(|call| call.number(Column::Aarch64));
            assert_eq!(seen, None, "{name}");
            continue;
        }
        same(name, Column::Aarch64, number);
        count += 1;
    }
    assert!(count > 280, "only {count} were compared");
}

#[test]
fn the_c_library_has_the_same_numbers() {
    for (name, number) in NATIVE.iter().chain(OLD) {
        same(name, own(), u32::try_from(*number).unwrap());
    }
    assert!(NATIVE.len() > 90, "{}", NATIVE.len());
}

#[test]
fn table_is_sorted_and_lookup_finds_every_name_and_nothing_else() {
    let calls: Vec<Call> = Call::all().collect();
    assert!(calls.len() > 450, "{}", calls.len());
    for pair in calls.windows(2) {
        assert!(pair[0].name() < pair[1].name(), "{}", pair[1].name());
    }
    for &call in &calls {
        let name = call.name();
        assert!(
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
            "{name}"
        );
        assert_eq!(Call::named(name), Some(call));
        let columns = [Column::X86_64, Column::X86, Column::Aarch64, Column::Arm];
        assert!(columns.iter().any(|c| call.number(*c).is_some()), "{name}");
        for wrong in [
            format!("{name}_"),
            format!("_{name}"),
            format!("{name} "),
            name.to_uppercase(),
            name[1..].to_owned(),
            name[..name.len() - 1].to_owned(),
        ] {
            let known = calls.iter().copied().find(|call| call.name() == wrong);
            assert_eq!(Call::named(&wrong), known, "{wrong:?}");
        }
        assert_eq!(call.width(6), Width::Long, "{name}");
    }
    for wrong in ["", " ", "-", "\n", "reads", "\u{e9}", "0"] {
        assert_eq!(Call::named(wrong), None, "{wrong:?}");
    }
    assert_eq!(Call::named(&"a".repeat(10_000)), None);
}

#[test]
fn no_number_has_two_names() {
    for column in [Column::X86_64, Column::X86, Column::Aarch64, Column::Arm] {
        let mut seen = BTreeMap::new();
        for call in Call::all() {
            let Some(number) = call.number(column) else {
                continue;
            };
            if let Some(other) = seen.insert(number, call.name()) {
                // One call under its old and its new name.
                assert_eq!(
                    (other, call.name()),
                    ("arm_sync_file_range", "sync_file_range2")
                );
            }
        }
        assert!(seen.len() > 300, "{column:?}");
    }
}

/// The kernel's names where they are not those of the calls.
const FUNCTIONS: [(&str, &str); 6] = [
    ("newfstat", "fstat"),
    ("newlstat", "lstat"),
    ("newstat", "stat"),
    ("newuname", "uname"),
    ("sendfile64", "sendfile"),
    ("umount", "umount2"),
];

/// Arguments that the kernel declares as long and then takes as an `int` or `unsigned int`: the flags of clone(2) go through
/// lower_32_bits(), descriptors through fget() and fdget(), the process through find_get_task_by_vpid(), the policy of
/// mbind(2) into an int. See `declared_long_but_taken_short` below.
const SHORTENED: [(&str, usize); 10] = [
    ("clone", 0),
    ("mbind", 2),
    ("mmap", 4),
    ("preadv", 0),
    ("preadv2", 0),
    ("ptrace", 1),
    ("pwritev", 0),
    ("pwritev2", 0),
    ("readv", 0),
    ("writev", 0),
];

fn width(declared: &str) -> Width {
    let plain = declared.trim().trim_start_matches("const ");
    match plain {
        "umode_t" => Width::Half,
        "int" | "unsigned int" | "unsigned" | "u32" | "__u32" | "__s32" | "pid_t" | "uid_t"
        | "gid_t" | "qid_t" | "key_t" | "key_serial_t" | "clockid_t" | "timer_t" | "mqd_t"
        | "rwf_t" => Width::Word,
        _ if plain.starts_with("enum ") => Width::Word,
        "long" | "unsigned long" | "size_t" | "loff_t" | "off_t" | "u64" | "__u64"
        | "aio_context_t" | "cap_user_header_t" | "cap_user_data_t" => Width::Long,
        _ if plain.contains('*') => Width::Long,
        _ => panic!("what is {declared:?}?"),
    }
}

/// The arguments' types from a `format` file of tracefs.
fn declared(format: &str) -> Vec<&str> {
    let (_, after) = format.split_once("__syscall_nr;").unwrap();
    after
        .lines()
        .filter_map(|line| line.trim().strip_prefix("field:")?.split(';').next())
        .filter_map(|field| {
            let name = field.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
            // Newer kernels add copies of what pointers point to.
            (!field[name + 1..].starts_with("__")).then(|| field[..=name].trim())
        })
        .collect()
}

/// What the kernel says of its calls, by the names of their functions. Where nobody has mounted it, root can, for itself alone.
fn formats() -> BTreeMap<String, String> {
    const SCRIPT: &str = "cd /sys/kernel/tracing/events/syscalls 2>/dev/null || \
        { mount -t tracefs none /sys/kernel/tracing && cd /sys/kernel/tracing/events/syscalls; }; \
        exec grep -H '' sys_enter_*/format";
    let mut command = Command::new("unshare");
    if root() {
        command.args(["-m", "--propagation=private"]);
    }
    let output = command.args(["/bin/sh", "-ec", SCRIPT]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut all = BTreeMap::<String, String>::new();
    for line in text.lines() {
        let (file, line) = line.split_once("/format:").unwrap();
        let function = file.strip_prefix("sys_enter_").unwrap().to_owned();
        *all.entry(function).or_default() += &format!("{line}\n");
    }
    all
}

#[test]
fn widths_of_arguments_are_those_of_the_running_kernel() {
    let formats = formats();
    if formats.is_empty() {
        return skip("tracefs", "/sys/kernel/tracing cannot be read");
    }
    let mut count = 0;
    for (function, format) in &formats {
        let function = function.as_str();
        let renamed = FUNCTIONS.iter().find(|(from, _)| *from == function);
        let name = renamed.map_or(function, |(_, to)| to);
        // The kernel may be newer than the table.
        let Some(call) = Call::named(name) else {
            continue;
        };
        let declared = declared(format);
        assert!(declared.len() <= 6, "{name}: {declared:?}");
        for (place, declared) in declared.iter().enumerate() {
            let expected = if SHORTENED.contains(&(name, place)) {
                assert_eq!(width(declared), Width::Long, "{name} {place}");
                Width::Word
            } else {
                width(declared)
            };
            let seen = call.width(u8::try_from(place).unwrap());
            assert_eq!(seen, expected, "{name}: argument {place} is {declared}");
        }
        count += 1;
    }
    assert!(count > 250, "only {count} were compared");
}

/// What a call of this process's own ABI answers.
fn call(name: &str, arguments: &[&str]) -> Value {
    let number = Call::named(name)
        .and_then(|call| call.number(own()))
        .unwrap();
    let output = Command::new(probe())
        .args(["syscall", "native", &number.to_string()])
        .args(arguments)
        .stdin(fs::File::open("/proc/self/exe").unwrap())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn declared_long_but_taken_short() {
    // Each with a high half that the kernel forgets, and as a proof that it looks at the low one with a wrong low half.
    let high = |low: u64| format!("{:#x}", 0x5a5a << 32 | low);
    let zero = high(0);
    for name in ["readv", "preadv", "preadv2"] {
        assert_eq!(call(name, &[&zero, "0", "0"])["result"], 0, "{name}");
        let wrong = call(name, &[&high(999), "0", "0"]);
        assert_eq!(wrong["errno"], "EBADF", "{name}");
    }
    for name in ["writev", "pwritev", "pwritev2"] {
        // The probe writes its answer there after the call.
        assert!(
            ["null", "\"ESPIPE\""].contains(
                &call(name, &[&high(1), "0", "0"])["errno"]
                    .to_string()
                    .as_str()
            ),
            "{name}"
        );
        let wrong = call(name, &[&high(999), "0", "0"]);
        assert_eq!(wrong["errno"], "EBADF", "{name}");
    }
    let mapped = call("mmap", &["0", "4096", "1", "2", &zero, "0"]);
    assert_eq!(mapped["errno"], Value::Null);
    let wrong = call("mmap", &["0", "4096", "1", "2", &high(999), "0"]);
    assert_eq!(wrong["errno"], "EBADF");
    // PTRACE_SEIZE of the process itself is refused, of one that there is not is none.
    let parent = u64::from(std::process::id());
    let seen = call("ptrace", &["0x4206", &high(parent), "0", "0xffffffff"]);
    assert_ne!(seen["errno"], "ESRCH");
    let wrong = call("ptrace", &["0x4206", &high(0x3fff_ffff), "0", "0"]);
    assert_eq!(wrong["errno"], "ESRCH");
    if call("mbind", &["0", "0", "0", "0", "0", "0"])["errno"] == "ENOSYS" {
        return skip("numa", "the kernel has no memory policies");
    }
    assert_eq!(
        call("mbind", &["0", "0", &zero, "0", "0", "0"])["errno"],
        Value::Null
    );
    let wrong = call("mbind", &["0", "0", &high(99), "0", "0", "0"]);
    assert_eq!(wrong["errno"], "EINVAL");
}
