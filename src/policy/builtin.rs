//! The filters that stdbox brings: `default` and `strict`. Ring 0.

use super::{Action, Condition, Names, Policy, Rule, Test};
const EPERM: Action = Action::Errno(1);
const EAFNOSUPPORT: Action = Action::Errno(97);

fn rule(names: &'static [&'static str], action: Action) -> Rule {
    Rule {
        names: Names::Own(names),
        action,
        conditions: Vec::new(),
    }
}

fn rule_if<const N: usize>(
    names: &'static [&'static str],
    action: Action,
    conditions: [(u8, Test); N],
) -> Rule {
    let conditions = conditions
        .into_iter()
        .map(|(argument, test)| Condition { argument, test })
        .collect();
    Rule {
        conditions,
        ..rule(names, action)
    }
}

/// Requests that write into a terminal's input queue or its screen memory, TIOCSTI and TIOCLINUX; the one that puts another driver
/// between it and its readers, TIOCSETD, after which nobody can read from it; and the one after which nobody but the real root can
/// open it, TIOCEXCL, which outlasts who made it: ioctl_tty(2), ioctl_console(2).
fn terminal_injection() -> impl Iterator<Item = Rule> {
    [0x5412, 0x541c, 0x5423, 0x540c]
        .into_iter()
        .map(|request| rule_if(&["ioctl"], EPERM, [(1, Test::Equal(request))]))
}

/// The limit of core dumps stays what the job says: 1, where there shall be none, keeps the kernel from running the host's core dump
/// handler, which it does with 0 too (core(5)). To set another seems to succeed, since programs with secrets, and containers inside,
/// do not go on where it fails.
fn core_limit() -> impl Iterator<Item = Rule> {
    const CORE: Test = Test::Equal(4);
    // A limit is set where there is a pointer to one; else it is only asked for.
    const GIVEN: Test = Test::NotEqual(0);
    [
        rule_if(&["setrlimit"], Action::Errno(0), [(0, CORE)]),
        rule_if(&["prlimit64"], Action::Errno(0), [(1, CORE), (2, GIVEN)]),
    ]
    .into_iter()
}

/// Calls on pid 1, where that is ours, which ask for no more than equal ids, which init and the target have: prlimit(2), which
/// could end it, and those that set how it is scheduled. An init that gets no time from the processors cannot end its
/// container.
pub fn on_init() -> impl Iterator<Item = Rule> {
    let first: [&[&str]; 5] = [
        &["prlimit64"],
        &["sched_setaffinity"],
        &["sched_setattr"],
        &["sched_setparam"],
        &["sched_setscheduler"],
    ];
    let first = first.map(|name| rule_if(name, EPERM, [(0, Test::Equal(1))]));
    // The first argument says what the second one names: not pid 1, nor the group that it leads, nor all processes of a user
    // (PRIO_USER of setpriority(2), IOPRIO_WHO_USER of ioprio_set(2)), of which it is one.
    let second = [(&["setpriority"], 2), (&["ioprio_set"], 3)].map(|(name, user)| {
        [
            rule_if(name, EPERM, [(1, Test::Equal(1))]),
            rule_if(name, EPERM, [(0, Test::Equal(user))]),
        ]
    });
    first.into_iter().chain(second.into_iter().flatten())
}

/// Everything works but what reaches outside the container. `init` tells whether pid 1 is ours and must be protected.
#[must_use]
pub fn default(init: bool) -> Policy {
    const SOCKETS: &[&str] = &["socket", "socketpair"];
    let outside = |family| rule_if(SOCKETS, EAFNOSUPPORT, [(0, Test::Equal(family))]);
    let mut rules = vec![
        rule(OUTSIDE, Action::ABSENT),
        // Families that lead to hardware, the hypervisor or kernel services that no namespace contains: RDS, which has one
        // table of addresses for all network namespaces, IRDA, LLC, QIPCRTR, and BLUETOOTH, IUCV, RXRPC, ISDN, PHONET,
        // IEEE802154, CAIF, ALG, NFC, VSOCK.
        outside(21),
        outside(23),
        outside(26),
        outside(42),
        rule_if(
            SOCKETS,
            EAFNOSUPPORT,
            [(0, Test::GreaterOrEqual(31)), (0, Test::LessOrEqual(40))],
        ),
    ];
    rules.extend(terminal_injection());
    rules.extend(init.then(on_init).into_iter().flatten());
    // Behind those, which are nobody's to set: of two errors the first counts.
    rules.extend(core_limit());
    Policy {
        default: Action::Allow,
        rules,
        compat: true,
        newer_absent: false,
    }
}

/// Kernel keyrings, other processes' page faults, asynchronous calls that no filter sees, programs and counters inside the
/// kernel, its log, and the kernel itself.
const OUTSIDE: &[&str] = &[
    "add_key",
    "bpf",
    "create_module",
    "delete_module",
    "finit_module",
    "get_kernel_syms",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "perf_event_open",
    "query_module",
    "reboot",
    "request_key",
    "syslog",
    "userfaultfd",
];

/// Only what ordinary programs need: no new namespaces, no mounts, no look into other processes. Calls of the 32-bit ABI end
/// the process.
#[must_use]
pub fn strict(init: bool) -> Policy {
    let mut rules = vec![rule(ORDINARY, Action::Allow), rule(REFUSED, EPERM)];
    rules.extend(terminal_injection());
    // CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET of clone(2). `clone3` hides its flags behind a pointer:
    // it is absent, and C libraries fall back.
    for flag in [
        0x0002_0000,
        0x0200_0000,
        0x0400_0000,
        0x0800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000,
    ] {
        let test = Test::MaskedEqual {
            mask: flag,
            value: flag,
        };
        rules.push(rule_if(&["clone"], EPERM, [(0, test)]));
    }
    // UNIX, INET, INET6, and NETLINK, which lists the container's own network devices.
    rules.push(rule_if(
        &["socket", "socketpair"],
        EAFNOSUPPORT,
        [1, 2, 10, 16].map(|family| (0, Test::NotEqual(family))),
    ));
    // PER_LINUX and PER_LINUX32, without or with UNAME26, and the question which one it is: personality(2).
    for persona in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        rules.push(rule_if(
            &["personality"],
            Action::Allow,
            [(0, Test::Equal(persona))],
        ));
    }
    rules.extend(init.then(on_init).into_iter().flatten());
    // Behind those, which are nobody's to set: of two errors the first counts.
    rules.extend(core_limit());
    Policy {
        default: Action::ABSENT,
        rules,
        compat: false,
        newer_absent: false,
    }
}

/// What programs ask for in good faith and can do without; they are told so, instead of that the kernel is too old.
const REFUSED: &[&str] = &[
    "acct",
    "chroot",
    "clock_settime",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "ioperm",
    "iopl",
    "kcmp",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_by_handle_at",
    "open_tree",
    "open_tree_attr",
    "pidfd_getfd",
    "pivot_root",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "quotactl_fd",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "vhangup",
];

const ORDINARY: &[&str] = &[
    "accept",
    "accept4",
    "access",
    "adjtimex",
    "alarm",
    "arch_prctl",
    "bind",
    "brk",
    "cachestat",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "chown",
    "clock_adjtime",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "close",
    "close_range",
    "connect",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "file_getattr",
    "file_setattr",
    "flistxattr",
    "flock",
    "fork",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futex",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "futimesat",
    "get_mempolicy",
    "get_robust_list",
    "getcpu",
    "getcwd",
    "getdents",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getitimer",
    "getpeername",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "getsockname",
    "getsockopt",
    "gettid",
    "gettimeofday",
    "getuid",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_setup",
    "io_submit",
    "ioctl",
    "ioprio_get",
    "ioprio_set",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listen",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lstat",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "mremap",
    "mseal",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "name_to_handle_at",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "pipe",
    "pipe2",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "preadv",
    "preadv2",
    "prlimit64",
    "process_madvise",
    "process_mrelease",
    "pselect6",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "remap_file_pages",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "restart_syscall",
    "rmdir",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "select",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_tid_address",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setitimer",
    "setpgid",
    "setpriority",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "setsid",
    "setsockopt",
    "setuid",
    "setxattr",
    "setxattrat",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "socket",
    "socketpair",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "sysinfo",
    "tee",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "times",
    "tkill",
    "truncate",
    "umask",
    "uname",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "vfork",
    "vmsplice",
    "wait4",
    "waitid",
    "write",
    "writev",
];
