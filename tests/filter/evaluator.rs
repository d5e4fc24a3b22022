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
    if column == Column::X86 && policy.default.lets_through() {
        for (name, mask, calls) in HIDDEN {
            if Line::named(name).unwrap().number(column) != Some(call.number) {
                continue;
            }
            let sub = call.arguments[0] & mask;
            let hidden = calls.iter().find(|(_, number)| *number == sub);
            for rule in policy
                .rules
                .iter()
                .filter(|rule| !rule.action.lets_through())
            {
                if hidden.is_some_and(|(name, _)| names(rule).contains(name)) {
                    count(if rule.conditions.is_empty() {
                        rule.action
                    } else {
                        Action::ABSENT
                    });
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
