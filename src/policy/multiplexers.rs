//! Calls behind which others hide from a filter. Ring 0.

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

/// Where calls are let through unless a rule says otherwise, a call that a rule restricts could still be made through a
/// multiplexer. The real arguments are behind a pointer there, out of a filter's sight: so a condition cannot be checked, and the
/// way through the multiplexer does not exist.
pub(super) fn hidden(policy: &Policy, column: Column) -> Vec<Rule> {
    if !policy.compat || !policy.default.lets_through() || column != Column::X86 {
        return Vec::new();
    }
    let mut hidden = Vec::new();
    for rule in policy
        .rules
        .iter()
        .filter(|rule| !rule.action.lets_through())
    {
        for name in rule.names.iter() {
            for multiplexer in &MULTIPLEXERS {
                let Some((_, value)) = multiplexer.calls.iter().find(|(call, _)| *call == name)
                else {
                    continue;
                };
                hidden.push(Rule {
                    names: Names::Own(&multiplexer.name),
                    action: if rule.conditions.is_empty() {
                        rule.action
                    } else {
                        Action::ABSENT
                    },
                    conditions: vec![Condition {
                        argument: 0,
                        test: Test::MaskedEqual {
                            mask: multiplexer.mask,
                            value: *value,
                        },
                    }],
                });
            }
        }
    }
    hidden
}
