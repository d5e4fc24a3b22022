//! What a policy says about a call, straight from what is written about policies: no ranges, no halves, no jumps.

use crate::interpreter::{
    AUDIT_AARCH64, AUDIT_ARM, AUDIT_I386, AUDIT_X86_64, Call, ENOSYS, KILL, stronger,
};
use stdbox::policy::calls::{Call as Line, Column, Width};
use stdbox::policy::{Action, Condition, Machine, Names, Policy, Rule, Test};

/// The names of a rule.
pub fn names(rule: &Rule) -> Vec<&str> {
    match &rule.names {
        Names::Own(names) => names.to_vec(),
        Names::Given(names) => names.iter().map(String::as_str).collect(),
    }
}

/// A multiplexer, the bits of its first argument that count, and its calls.
type Hidden = (&'static str, u64, &'static [(&'static str, u64)]);

/// Calls of 32-bit x86 that socketcall(2) and ipc(2) make, with the numbers of linux/net.h and linux/ipc.h.
const HIDDEN: [Hidden; 2] = [
    (
        "socketcall",
        0xffff_ffff,
        &[
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
    ),
    (
        // The upper half is a version.
        "ipc",
        0xffff,
        &[
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
    ),
];

/// Calls that take ids of 16 bits in the 32-bit ABIs, and the arguments that are ids (linux/syscalls.h: old_uid_t).
const SHORT_IDS: [(&str, &[u8]); 11] = [
    ("chown", &[1, 2]),
    ("fchown", &[1, 2]),
    ("lchown", &[1, 2]),
    ("setfsgid", &[0]),
    ("setfsuid", &[0]),
    ("setgid", &[0]),
    ("setregid", &[0, 1]),
    ("setresgid", &[0, 1, 2]),
    ("setresuid", &[0, 1, 2]),
    ("setreuid", &[0, 1]),
    ("setuid", &[0]),
];

/// 32-bit calls whose names do not say whose work they do: whose, and how many of the first arguments they share.
const ODD: [(&str, &str, u8); 33] = [
    ("_llseek", "lseek", 1),
    ("_newselect", "select", 6),
    ("arm_fadvise64_64", "fadvise64", 1),
    ("arm_sync_file_range", "sync_file_range", 1),
    ("fadvise64_64", "fadvise64", 1),
    ("fstatat64", "newfstatat", 6),
    ("fstatfs64", "fstatfs", 1),
    ("ftruncate64", "ftruncate", 1),
    ("mmap2", "mmap", 5),
    ("oldfstat", "fstat", 2),
    ("oldlstat", "lstat", 2),
    ("oldolduname", "uname", 1),
    ("oldstat", "stat", 2),
    ("olduname", "uname", 1),
    ("readdir", "getdents", 1),
    ("recv", "recvfrom", 4),
    ("send", "sendto", 4),
    ("sgetmask", "rt_sigprocmask", 0),
    ("sigaction", "rt_sigaction", 3),
    ("signal", "rt_sigaction", 1),
    ("sigpending", "rt_sigpending", 1),
    ("sigprocmask", "rt_sigprocmask", 3),
    ("sigreturn", "rt_sigreturn", 0),
    ("sigsuspend", "rt_sigsuspend", 0),
    ("ssetmask", "rt_sigprocmask", 0),
    ("statfs64", "statfs", 1),
    ("stime", "clock_settime", 0),
    ("stime", "settimeofday", 0),
    ("sync_file_range2", "sync_file_range", 1),
    ("truncate64", "truncate", 1),
    ("ugetrlimit", "getrlimit", 2),
    ("umount", "umount2", 1),
    ("waitpid", "wait4", 3),
];

/// Whose work a call of a 32-bit ABI does beside its own: ids of 32 bits, files of 64, times of 64.
fn work_of(line: Line) -> Vec<(String, u8)> {
    let name = line.name();
    let odd = ODD.iter().filter(|(twin, ..)| *twin == name);
    let odd: Vec<(String, u8)> = odd.map(|(_, of, n)| ((*of).to_owned(), *n)).collect();
    let native = |line: Line| {
        [Column::X86_64, Column::Aarch64]
            .iter()
            .any(|column| line.number(*column).is_some())
    };
    if !odd.is_empty() || native(line) {
        return odd;
    }
    ["_time64", "64", "32"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .filter(|base| Line::named(base).is_some_and(native))
        .map(|base| (base.to_owned(), 6))
        .collect()
}

fn bits(line: Line, argument: u8, compat: bool) -> u64 {
    let short = |(name, ids): &(&str, &[u8])| *name == line.name() && ids.contains(&argument);
    if compat && SHORT_IDS.iter().any(short) {
        return 0xffff;
    }
    match line.width(argument) {
        Width::Half => 0xffff,
        Width::Word => 0xffff_ffff,
        Width::Long if compat => 0xffff_ffff,
        Width::Long => u64::MAX,
    }
}

fn holds(condition: &Condition, call: &Call, bits: u64) -> bool {
    let argument = call.arguments[usize::from(condition.argument)] & bits;
    // A negative number stands for its low bits; a value with other bits is more than any argument.
    let cut = |value: u64| {
        let sign = bits ^ (bits >> 1);
        let negative = value >= !bits && value & sign != 0;
        if negative { value & bits } else { value }
    };
    match condition.test {
        Test::Equal(value) => argument == cut(value),
        Test::NotEqual(value) => argument != cut(value),
        Test::Less(value) => argument < cut(value),
        Test::LessOrEqual(value) => argument <= cut(value),
        Test::Greater(value) => argument > cut(value),
        Test::GreaterOrEqual(value) => argument >= cut(value),
        Test::MaskedEqual { mask, value } => argument & mask == cut(value),
    }
}

/// The verdict.
pub fn evaluate(policy: &Policy, machine: Machine, call: &Call) -> u32 {
    let (column, compat) = match (machine, call.architecture) {
        (Machine::X86_64, AUDIT_X86_64) => (Column::X86_64, false),
        (Machine::X86_64, AUDIT_I386) => (Column::X86, true),
        (Machine::Aarch64, AUDIT_AARCH64) => (Column::Aarch64, false),
        (Machine::Aarch64, AUDIT_ARM) => (Column::Arm, true),
        _ => return KILL,
    };
    if compat && !policy.compat {
        return KILL;
    }
    if column == Column::X86_64 && call.number >= 0x4000_0000 {
        return ENOSYS;
    }
    let mut verdict: Option<u32> = None;
    let mut count = |action: Action| {
        // Among equals the first stays.
        verdict = Some(verdict.map_or(action.value(), |seen| stronger(seen, action.value())));
    };
    let (mut last, mut named) = (None, false);
    for rule in &policy.rules {
        for name in names(rule) {
            let Some(line) = Line::named(name) else {
                continue;
            };
            let number = line.number(column);
            // Those of arm that are no rows of its table are no measure.
            last = last.max(number.filter(|number| *number < 0xf_0000));
            named |= number == Some(call.number);
            let all = |condition: &Condition| {
                holds(condition, call, bits(line, condition.argument, compat))
            };
            if number == Some(call.number) && rule.conditions.iter().all(all) {
                count(rule.action);
            }
        }
    }
    // What does the work of a restricted call is restricted too.
    let lines: Vec<Line> = Line::all()
        .filter(|line| line.number(column) == Some(call.number))
        .collect();
    let restrict =
        |rule: &&Rule| compat && policy.default.lets_through() && !rule.action.lets_through();
    for rule in policy.rules.iter().filter(restrict) {
        for name in names(rule) {
            for (line, (_, alike)) in lines.iter().flat_map(|line| {
                let of = work_of(*line).into_iter().filter(|(of, _)| of == name);
                of.map(move |of| (*line, of))
            }) {
                let same = rule
                    .conditions
                    .iter()
                    .all(|condition| condition.argument < alike);
                let met = rule.conditions.iter().all(|condition| {
                    holds(condition, call, bits(line, condition.argument, compat))
                });
                if !same {
                    count(Action::ABSENT);
                } else if met {
                    count(rule.action);
                }
            }
            if column != Column::X86 {
                continue;
            }
            let unseen = if rule.conditions.is_empty() {
                rule.action
            } else {
                Action::ABSENT
            };
            for line in &lines {
                // Old forms, with all arguments behind a pointer.
                if line.name() == name
                    && matches!(name, "mmap" | "select")
                    && !rule.conditions.is_empty()
                {
                    count(Action::ABSENT);
                }
                for (multiplexer, mask, calls) in HIDDEN {
                    let sub = call.arguments[0] & mask;
                    if line.name() == multiplexer && calls.contains(&(name, sub)) {
                        count(unseen);
                    }
                }
            }
        }
    }
    let newer = policy.newer_absent && !named && last.is_some_and(|last| call.number > last);
    let otherwise = if newer {
        ENOSYS
    } else {
        policy.default.value()
    };
    verdict.unwrap_or(otherwise)
}
