//! Random policies: the compiled program says what the evaluator says, and is one that the kernel takes.

use crate::builtin::MACHINES;
use crate::evaluator::{evaluate, names};
use crate::interpreter::{AUDIT_I386, AUDIT_X86_64, Call, ENOSYS, fault, numbers, verdict};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use std::collections::BTreeSet;
use std::rc::Rc;
use stdbox::policy::calls::{Call as Line, Column};
use stdbox::policy::{
    Action, Condition, MAX_INSTRUCTIONS, Machine, Names, Policy, Rule, Test, compile,
};

/// Numbers where a comparison could go wrong.
pub const BORDERS: [u64; 24] = [
    0,
    1,
    2,
    7,
    8,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_ff9c,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x7fff_ffff_ffff_ffff,
    1 << 63,
    (1 << 63) + 1,
    0xffff_ffff_7fff_ffff,
    0xffff_ffff_8000_0000,
    0xffff_ffff_ffff_8000,
    0xffff_ffff_ffff_ff9c,
    u64::MAX,
];

pub fn border() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => select(&BORDERS[..]),
        1 => (select(&BORDERS[..]), select(&BORDERS[..])).prop_map(|(high, low)| high << 32 | low & 0xffff_ffff),
        1 => any::<u64>(),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => Just(Action::Allow),
        1 => Just(Action::Log),
        1 => Just(Action::Trap),
        1 => Just(Action::KillThread),
        1 => Just(Action::KillProcess),
        3 => select(&[0u16, 1, 2, 38, 4095][..]).prop_map(Action::Errno),
    ]
}

pub fn test() -> impl Strategy<Value = Test> {
    prop_oneof![
        border().prop_map(Test::Equal),
        border().prop_map(Test::NotEqual),
        border().prop_map(Test::Less),
        border().prop_map(Test::LessOrEqual),
        border().prop_map(Test::Greater),
        border().prop_map(Test::GreaterOrEqual),
        (border(), border()).prop_map(|(mask, value)| Test::MaskedEqual {
            mask,
            value: value & mask
        }),
    ]
}

/// Names that have more in common than a number.
const FRIENDS: [&[&str]; 5] = [
    &["socket", "socketpair", "socketcall", "sendto", "bind"],
    &["ipc", "semctl", "shmget", "msgctl", "semtimedop"],
    &["sync_file_range2", "arm_sync_file_range", "set_tls"],
    &["setuid", "fchown", "chown", "setresgid", "setuid32"],
    &["mknod", "mknodat", "open", "mq_open", "nothing_like_this"],
];

/// Names that meet: neighbours by name or by number, those behind which others hide, and one that no machine has.
fn pool() -> impl Strategy<Value = Vec<&'static str>> {
    let by_number = |column: Column| {
        let mut calls: Vec<_> = Line::all()
            .filter_map(|call| Some((call.number(column)?, call.name())))
            .collect();
        calls.sort_unstable();
        calls.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    let mut orders: Vec<Vec<&str>> = [Column::X86_64, Column::X86, Column::Aarch64, Column::Arm]
        .map(by_number)
        .into();
    orders.push(Line::all().map(Line::name).collect());
    let neighbours = (select(orders), any::<Index>(), 1..6usize).prop_map(|(order, at, count)| {
        let start = at.index(order.len());
        order[start..order.len().min(start + count)].to_vec()
    });
    let known = select(&FRIENDS[..]).prop_map(<[_]>::to_vec);
    prop_oneof![2 => neighbours, 1 => known]
}

fn rule(pool: Vec<&'static str>) -> impl Strategy<Value = Rule> {
    let names = proptest::collection::vec(select(pool), 1..4);
    let condition = (0..6u8, test()).prop_map(|(argument, test)| Condition { argument, test });
    // Few arguments, so that several conditions are about one.
    let near = (0..2u8, test()).prop_map(|(argument, test)| Condition { argument, test });
    let conditions = prop_oneof![
        1 => Just(Vec::new()),
        3 => proptest::collection::vec(near, 1..4),
        1 => proptest::collection::vec(condition, 1..33),
    ];
    (names, action(), conditions).prop_map(|(names, action, conditions)| Rule {
        names: Names::Given(Rc::new(names.into_iter().map(str::to_owned).collect())),
        action,
        conditions,
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let rules = pool().prop_flat_map(|pool| proptest::collection::vec(rule(pool), 0..9));
    (action(), rules, any::<bool>(), any::<bool>()).prop_map(|(default, rules, compat, newer)| {
        Policy {
            default,
            rules,
            compat,
            // No filter that lets new calls through has it.
            newer_absent: newer && !default.lets_through(),
        }
    })
}

/// Arguments at the borders of what the rules look at.
pub fn values(policy: &Policy) -> Vec<u64> {
    let mut values = BTreeSet::from(BORDERS);
    for condition in policy.rules.iter().flat_map(|rule| &rule.conditions) {
        let (value, mask) = match condition.test {
            Test::Equal(value)
            | Test::NotEqual(value)
            | Test::Less(value)
            | Test::LessOrEqual(value)
            | Test::Greater(value)
            | Test::GreaterOrEqual(value) => (value, 0),
            Test::MaskedEqual { mask, value } => (value, !mask),
        };
        for near in [
            value.wrapping_sub(1),
            value,
            value.wrapping_add(1),
            value | mask,
        ] {
            values.extend([near, near ^ 1 << 32, near ^ 1 << 16, near & 0xffff_ffff]);
        }
    }
    values.into_iter().collect()
}

/// The numbers of all names, natively and in the 32-bit ABI.
fn named(policy: &Policy, columns: &[Column]) -> BTreeSet<u32> {
    policy
        .rules
        .iter()
        .flat_map(names)
        .filter_map(Line::named)
        .flat_map(|line| {
            columns
                .iter()
                .filter_map(move |column| line.number(*column))
        })
        .chain([102, 117])
        .collect()
}

/// The same policies every time, or as many others as `CASES` says.
pub fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(cases),
        rng_seed: if asked.is_some() {
            RngSeed::Random
        } else {
            RngSeed::Fixed(8)
        },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A random walk from a seed (splitmix64): a failure shows one number instead of hundreds.
struct Random(u64);

impl Random {
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let place = (z >> 32) % u64::try_from(from.len()).unwrap();
        &from[usize::try_from(place).unwrap()]
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn program_says_what_the_rules_say(
        policy in policy(),
        seed in any::<u64>(),
    ) {
        let values = values(&policy);
        let mut random = Random(seed);
        for (machine, abis) in MACHINES {
            let compiled = compile(&policy, machine);
            let program = &compiled.program;
            if program.len() <= MAX_INSTRUCTIONS {
                prop_assert_eq!(fault(program), None);
            }
            for (architecture, column) in abis {
                for number in numbers() {
                    let call = Call::new(architecture, number);
                    prop_assert_eq!(verdict(program, &call), evaluate(&policy, machine, &call), "{:x?}", call);
                }
                let column = [Column::X86_64, Column::X86, Column::Aarch64, Column::Arm][column];
                for number in named(&policy, &[column]) {
                    for near in [number.saturating_sub(1), number, number + 1] {
                        for _ in 0..48 {
                            let mut call = Call::new(architecture, near);
                            call.arguments = [(); 6].map(|()| *random.pick(&values));
                            prop_assert_eq!(verdict(program, &call), evaluate(&policy, machine, &call), "{:x?}", call);
                        }
                    }
                    for argument in 0..6 {
                        for &value in &values {
                            let call = Call::new(architecture, number).with(argument, value);
                            prop_assert_eq!(verdict(program, &call), evaluate(&policy, machine, &call), "{:x?}", call);
                        }
                    }
                }
            }
            let starts = compiled.starts;
            let number = Line::named("execve").unwrap().number(match machine {
                Machine::X86_64 => Column::X86_64,
                Machine::Aarch64 => Column::Aarch64,
            });
            // Whoever promises that a command can be started must keep it.
            for &value in values.iter().filter(|_| starts) {
                let mut call = Call::new(abis[0].0, number.unwrap());
                call.arguments = [value; 6];
                prop_assert!(verdict(program, &call) >= 0x7ffc_0000, "{:x?}", call);
            }
        }
    }
}

/// One rule for one call.
fn one(name: &str, action: Action, conditions: &[(u8, Test)]) -> Rule {
    Rule {
        names: Names::Given(Rc::new(vec![name.to_owned()])),
        action,
        conditions: conditions
            .iter()
            .map(|&(argument, test)| Condition { argument, test })
            .collect(),
    }
}

fn deny_list(rules: Vec<Rule>) -> Policy {
    Policy {
        default: Action::Allow,
        rules,
        compat: true,
        newer_absent: false,
    }
}

#[test]
fn of_several_rules_the_most_restrictive_counts_and_the_first_among_equals() {
    use Action::{Allow, Errno, KillProcess, KillThread, Log, Trap};
    let order = [KillProcess, KillThread, Trap, Errno(13), Log, Allow];
    let seen = |one_: Action, other: Action| {
        let rules = vec![
            one("mount", one_, &[]),
            one("mount", other, &[(0, Test::Equal(0))]),
        ];
        let program = compile(&deny_list(rules), Machine::X86_64).program;
        verdict(&program, &Call::new(AUDIT_X86_64, 165))
    };
    for (i, stronger) in order.iter().enumerate() {
        for weaker in &order[i..] {
            assert_eq!(seen(*stronger, *weaker), stronger.value());
            assert_eq!(seen(*weaker, *stronger), stronger.value());
        }
    }
    assert_eq!(seen(Errno(1), Errno(2)), Errno(1).value());
    assert_eq!(seen(Errno(2), Errno(1)), Errno(2).value());
}

#[test]
fn a_policy_without_rules_is_its_default() {
    for (machine, abis) in MACHINES {
        for (default, newer_absent) in [(Action::Allow, false), (Action::KillThread, true)] {
            let policy = Policy {
                default,
                newer_absent,
                ..deny_list(Vec::new())
            };
            let compiled = compile(&policy, machine);
            assert_eq!(compiled.starts, default.lets_through());
            for (architecture, _) in abis {
                let seen = verdict(&compiled.program, &Call::new(architecture, 599));
                assert_eq!(seen, default.value());
            }
        }
    }
}

#[test]
fn names_that_no_machine_has_are_told_once_in_their_order() {
    let rules = ["zzz", "read", "aaa", "zzz", "aaa", "mmap2", "set_tls"];
    let rules = rules.map(|name| one(name, Action::Errno(1), &[])).into();
    let compiled = compile(&deny_list(rules), Machine::X86_64);
    assert_eq!(compiled.unknown, ["zzz", "aaa"]);
    // As many as a job has room for do not take minutes.
    let names: Vec<String> = (0..200_000).map(|n| format!("n{n}")).collect();
    let many = Rule {
        names: Names::Given(Rc::new(names.clone())),
        ..one("read", Action::Errno(1), &[])
    };
    let compiled = compile(&deny_list(vec![many]), Machine::X86_64);
    assert_eq!(compiled.unknown, names);
}

#[test]
fn execve_must_be_let_through_without_conditions() {
    let (allow, deny) = (Action::Allow, Action::Errno(1));
    let absent = Policy {
        default: deny,
        ..deny_list(Vec::new())
    };
    let starts = |default: &Policy, rules: Vec<Rule>| {
        let policy = Policy {
            rules,
            ..default.clone()
        };
        compile(&policy, Machine::NATIVE).starts
    };
    let never = [(0, Test::Equal(7))];
    let open = deny_list(Vec::new());
    assert!(starts(&open, vec![]));
    assert!(starts(&open, vec![one("execve", Action::Log, &never)]));
    assert!(!starts(&open, vec![one("execve", deny, &[])]));
    assert!(!starts(&open, vec![one("execve", deny, &never)]));
    assert!(!starts(&absent, vec![]));
    assert!(!starts(&absent, vec![one("execve", allow, &never)]));
    assert!(starts(&absent, vec![one("execve", allow, &[])]));
    assert!(!starts(
        &absent,
        vec![one("execve", allow, &[]), one("execve", deny, &never)]
    ));
    let both = vec![one("execve", allow, &[]), one("execveat", deny, &[])];
    assert!(starts(&absent, both));
}

#[test]
fn what_is_restricted_cannot_be_reached_through_a_multiplexer() {
    // A condition on what lies behind a pointer cannot be checked: the way is absent. Without one the action stays.
    let rules = vec![
        one("socket", Action::Errno(1), &[(0, Test::Equal(40))]),
        one("connect", Action::Trap, &[]),
        one("shmget", Action::KillProcess, &[]),
        one("msgget", Action::Log, &[]),
        one("bind", Action::Allow, &[(0, Test::Equal(40))]),
    ];
    let program = compile(&deny_list(rules), Machine::X86_64).program;
    let allow = Action::Allow.value();
    for (number, sub, expected) in [
        (102, 1, ENOSYS),
        (102, 2, allow),
        (102, 3, Action::Trap.value()),
        (102, 4, allow),
        (102, 0xdead_0000_0000_0001, ENOSYS),
        // No bits are cut from it: the kernel refuses it itself.
        (102, 0x1_0001, allow),
        (117, 23, Action::KillProcess.value()),
        // A version stands in the upper half.
        (117, 0x1_0017, Action::KillProcess.value()),
        (117, 0xffff_ffff_ffff_0017, Action::KillProcess.value()),
        (117, 13, allow),
        (117, 22, allow),
    ] {
        let call = Call::new(AUDIT_I386, number).with(0, sub);
        assert_eq!(verdict(&program, &call), expected, "{call:x?}");
    }
}

#[test]
fn ids_have_16_bits_in_the_32_bit_abi() {
    // setuid(2) there takes `old_uid_t`: 65536 is root.
    let rules = vec![one("setuid", Action::Errno(1), &[(0, Test::Equal(0))])];
    let program = compile(&deny_list(rules), Machine::X86_64).program;
    let seen =
        |architecture, number, id| verdict(&program, &Call::new(architecture, number).with(0, id));
    let (allow, denied) = (Action::Allow.value(), Action::Errno(1).value());
    assert_eq!(seen(AUDIT_I386, 23, 0), denied);
    assert_eq!(seen(AUDIT_I386, 23, 0x1_0000), denied);
    assert_eq!(seen(AUDIT_I386, 23, 1), allow);
    assert_eq!(seen(AUDIT_X86_64, 105, 0x1_0000), allow);
    assert_eq!(seen(AUDIT_X86_64, 105, 1 << 32), denied);
}
