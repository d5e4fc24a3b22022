//! Calls of the 32-bit ABIs that do the work of others, under other names or from behind a pointer, and so would pass a filter
//! that restricts those. Ring 0.

use super::calls::Column;
use super::{Action, Condition, Names, Policy, Rule, Test};

/// A call of 32-bit x86 that does the work of many others.
struct Multiplexer {
    /// Its name, alone.
    name: [&'static str; 1],
    /// The bits of its first argument that say whose work.
    mask: u64,
    /// The calls by their numbers there.
    calls: &'static [(&'static str, u64)],
}

/// socketcall(2), ipc(2)
static MULTIPLEXERS: [Multiplexer; 2] = [
    Multiplexer {
        name: ["socketcall"],
        mask: 0xffff_ffff,
        calls: &[
            ("socket", 1),
            ("bind", 2),
            ("connect", 3),
            ("listen", 4),
            ("accept", 5),
            ("getsockname", 6),
            ("getpeername", 7),
            ("socketpair", 8),
            ("send", 9),
            ("recv", 10),
            ("sendto", 11),
            ("recvfrom", 12),
            ("sendto", 9),
            ("recvfrom", 10),
            ("shutdown", 13),
            ("setsockopt", 14),
            ("getsockopt", 15),
            ("sendmsg", 16),
            ("recvmsg", 17),
            ("accept4", 18),
            ("recvmmsg", 19),
            ("sendmmsg", 20),
        ],
    },
    Multiplexer {
        name: ["ipc"],
        mask: 0xffff,
        calls: &[
            ("semop", 1),
            ("semget", 2),
            ("semctl", 3),
            ("semtimedop", 4),
            ("msgsnd", 11),
            ("msgrcv", 12),
            ("msgget", 13),
            ("msgctl", 14),
            ("shmat", 21),
            ("shmdt", 22),
            ("shmget", 23),
            ("shmctl", 24),
        ],
    },
];

/// A call that only 32-bit ABIs have, where it does the work of another.
struct Twin {
    /// Its name, alone.
    name: [&'static str; 1],
    /// Whose work it does.
    of: &'static str,
    /// So many of its first arguments are those of the other.
    alike: u8,
}

const fn twin(name: &'static str, of: &'static str, alike: u8) -> Twin {
    Twin {
        name: [name],
        of,
        alike,
    }
}

static TWINS: [Twin; 77] = [
    twin("_llseek", "lseek", 1),
    twin("_newselect", "select", 6),
    twin("arm_fadvise64_64", "fadvise64", 1),
    twin("arm_sync_file_range", "sync_file_range", 1),
    twin("chown32", "chown", 6),
    twin("clock_adjtime64", "clock_adjtime", 6),
    twin("clock_getres_time64", "clock_getres", 6),
    twin("clock_gettime64", "clock_gettime", 6),
    twin("clock_nanosleep_time64", "clock_nanosleep", 6),
    twin("clock_settime64", "clock_settime", 6),
    twin("fadvise64_64", "fadvise64", 1),
    twin("fchown32", "fchown", 6),
    twin("fcntl64", "fcntl", 6),
    twin("fstat64", "fstat", 6),
    twin("fstatat64", "newfstatat", 6),
    twin("fstatfs64", "fstatfs", 1),
    twin("ftruncate64", "ftruncate", 1),
    twin("futex_time64", "futex", 6),
    twin("getegid32", "getegid", 6),
    twin("geteuid32", "geteuid", 6),
    twin("getgid32", "getgid", 6),
    twin("getgroups32", "getgroups", 6),
    twin("getresgid32", "getresgid", 6),
    twin("getresuid32", "getresuid", 6),
    twin("getuid32", "getuid", 6),
    twin("io_pgetevents_time64", "io_pgetevents", 6),
    twin("lchown32", "lchown", 6),
    twin("lstat64", "lstat", 6),
    twin("mmap2", "mmap", 5),
    twin("mq_timedreceive_time64", "mq_timedreceive", 6),
    twin("mq_timedsend_time64", "mq_timedsend", 6),
    twin("oldfstat", "fstat", 2),
    twin("oldlstat", "lstat", 2),
    twin("oldolduname", "uname", 1),
    twin("oldstat", "stat", 2),
    twin("olduname", "uname", 1),
    twin("ppoll_time64", "ppoll", 6),
    twin("pselect6_time64", "pselect6", 6),
    twin("readdir", "getdents", 1),
    twin("recv", "recvfrom", 4),
    twin("recvmmsg_time64", "recvmmsg", 6),
    twin("rt_sigtimedwait_time64", "rt_sigtimedwait", 6),
    twin("sched_rr_get_interval_time64", "sched_rr_get_interval", 6),
    twin("semtimedop_time64", "semtimedop", 6),
    twin("send", "sendto", 4),
    twin("sendfile64", "sendfile", 6),
    twin("setfsgid32", "setfsgid", 6),
    twin("setfsuid32", "setfsuid", 6),
    twin("setgid32", "setgid", 6),
    twin("setgroups32", "setgroups", 6),
    twin("setregid32", "setregid", 6),
    twin("setresgid32", "setresgid", 6),
    twin("setresuid32", "setresuid", 6),
    twin("setreuid32", "setreuid", 6),
    twin("setuid32", "setuid", 6),
    twin("sgetmask", "rt_sigprocmask", 0),
    twin("sigaction", "rt_sigaction", 3),
    twin("signal", "rt_sigaction", 1),
    twin("sigpending", "rt_sigpending", 1),
    twin("sigprocmask", "rt_sigprocmask", 3),
    twin("sigreturn", "rt_sigreturn", 0),
    twin("sigsuspend", "rt_sigsuspend", 0),
    twin("ssetmask", "rt_sigprocmask", 0),
    twin("stat64", "stat", 6),
    twin("statfs64", "statfs", 1),
    twin("stime", "clock_settime", 0),
    twin("stime", "settimeofday", 0),
    twin("sync_file_range2", "sync_file_range", 1),
    twin("timer_gettime64", "timer_gettime", 6),
    twin("timer_settime64", "timer_settime", 6),
    twin("timerfd_gettime64", "timerfd_gettime", 6),
    twin("timerfd_settime64", "timerfd_settime", 6),
    twin("truncate64", "truncate", 1),
    twin("ugetrlimit", "getrlimit", 2),
    twin("umount", "umount2", 1),
    twin("utimensat_time64", "utimensat", 6),
    twin("waitpid", "wait4", 3),
];

/// Calls of 32-bit x86 that take all their arguments behind one pointer; newer ones with other names do not.
static BEHIND_A_POINTER: [[&str; 1]; 2] = [["mmap"], ["select"]];

/// More rules for the 32-bit ABI. Where calls are let through unless a rule says otherwise, what a rule restricts could still be
/// done through a twin or a multiplexer. Where the arguments that a condition looks at are elsewhere, or behind a pointer and so
/// out of a filter's sight, that way does not exist.
pub(super) fn rules(policy: &Policy, column: Column) -> Vec<Rule> {
    if !policy.compat || !policy.default.lets_through() {
        return Vec::new();
    }
    let mut more = Vec::new();
    let mut add = |name: &'static [&'static str; 1], action, conditions| {
        more.push(Rule {
            names: Names::Own(name),
            action,
            conditions,
        });
    };
    for rule in policy
        .rules
        .iter()
        .filter(|rule| !rule.action.lets_through())
    {
        let bare = rule.conditions.is_empty();
        let unseen = if bare { rule.action } else { Action::ABSENT };
        for name in rule.names.iter() {
            for twin in TWINS.iter().filter(|twin| twin.of == name) {
                let mut arguments = rule.conditions.iter().map(|condition| condition.argument);
                if arguments.all(|argument| argument < twin.alike) {
                    add(&twin.name, rule.action, rule.conditions.clone());
                } else {
                    add(&twin.name, Action::ABSENT, Vec::new());
                }
            }
            if column != Column::X86 {
                continue;
            }
            if let Some(old) = BEHIND_A_POINTER.iter().find(|[old]| *old == name && !bare) {
                add(old, Action::ABSENT, Vec::new());
            }
            for multiplexer in &MULTIPLEXERS {
                for (_, value) in multiplexer.calls.iter().filter(|(call, _)| *call == name) {
                    let whose = Condition {
                        argument: 0,
                        test: Test::MaskedEqual {
                            mask: multiplexer.mask,
                            value: *value,
                        },
                    };
                    add(&multiplexer.name, unseen, vec![whose]);
                }
            }
        }
    }
    more
}
