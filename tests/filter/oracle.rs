//! seccompiler, which others use, makes programs of the same rules: the verdicts must be the same.
//!
//! One of its filters has one action for all rules. So a policy becomes several: one for each action that denies, and one
//! that gives the default where no rule matches. Of several filters the kernel takes the most restrictive verdict, as a policy
//! does of several rules.

use crate::builtin::{MACHINES, arguments};
use crate::evaluator::names;
use crate::interpreter::{AUDIT_X86_64, Call, stronger, verdict};
use crate::oci::engine;
use crate::rules::{config, test, values};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::{BTreeMap, BTreeSet};
use stdbox::policy::calls::{Call as Line, Column, Width};
use stdbox::policy::{
    Action, Condition, Instruction, Machine, Names, Policy, Rule, Test, builtin, compile,
};

fn action(action: Action) -> SeccompAction {
    match action {
        Action::Allow => SeccompAction::Allow,
        Action::Log => SeccompAction::Log,
        Action::Errno(number) => SeccompAction::Errno(number.into()),
        Action::Trap => SeccompAction::Trap,
        Action::KillThread => SeccompAction::KillThread,
        Action::KillProcess => SeccompAction::KillProcess,
    }
}

fn condition(condition: &Condition, width: Width) -> SeccompCondition {
    let (operator, value) = match condition.test {
        Test::Equal(value) => (SeccompCmpOp::Eq, value),
        Test::NotEqual(value) => (SeccompCmpOp::Ne, value),
        Test::Less(value) => (SeccompCmpOp::Lt, value),
        Test::LessOrEqual(value) => (SeccompCmpOp::Le, value),
        Test::Greater(value) => (SeccompCmpOp::Gt, value),
        Test::GreaterOrEqual(value) => (SeccompCmpOp::Ge, value),
        Test::MaskedEqual { mask, value } => (SeccompCmpOp::MaskedEq(mask), value),
    };
    // It knows nothing of 16 bits, but a mask does the same.
    let (length, operator) = match (width, operator) {
        (Width::Long, operator) => (SeccompCmpArgLen::Qword, operator),
        (Width::Word, operator) => (SeccompCmpArgLen::Dword, operator),
        (Width::Half, SeccompCmpOp::MaskedEq(mask)) => (
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(mask & 0xffff),
        ),
        (Width::Half, SeccompCmpOp::Eq) => {
            (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(0xffff))
        }
        (Width::Half, other) => panic!("{other:?} of 16 bits cannot be said"),
    };
    SeccompCondition::new(condition.argument, length, operator, value).unwrap()
}

/// The filter of some rules; a call that a rule has without conditions must have none with.
fn filter<'p>(
    rules: impl Iterator<Item = &'p Rule>,
    machine: Machine,
    otherwise: Action,
    matched: Action,
) -> Vec<Instruction> {
    let (column, arch) = match machine {
        Machine::X86_64 => (Column::X86_64, TargetArch::x86_64),
        Machine::Aarch64 => (Column::Aarch64, TargetArch::aarch64),
    };
    let mut map: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut bare = BTreeSet::new();
    for rule in rules {
        for line in names(rule).into_iter().filter_map(Line::named) {
            let Some(number) = line.number(column).map(i64::from) else {
                continue;
            };
            let conditions: Vec<_> = rule
                .conditions
                .iter()
                .map(|one| condition(one, line.width(one.argument)))
                .collect();
            if conditions.is_empty() {
                bare.insert(number);
            } else {
                let rules = map.entry(number).or_default();
                rules.push(SeccompRule::new(conditions).unwrap());
            }
        }
    }
    map.extend(bare.into_iter().map(|number| (number, Vec::new())));
    let filter = SeccompFilter::new(map, action(otherwise), action(matched), arch).unwrap();
    instructions(filter)
}

fn instructions(filter: SeccompFilter) -> Vec<Instruction> {
    let program: BpfProgram = filter.try_into().unwrap();
    let step = |s: &seccompiler::sock_filter| Instruction {
        code: s.code,
        jt: s.jt,
        jf: s.jf,
        k: s.k,
    };
    program.iter().map(step).collect()
}

/// The stack of filters.
struct Oracle(Vec<Vec<Instruction>>);

impl Oracle {
    fn new(policy: &Policy, machine: Machine) -> Self {
        let mut filters = Vec::new();
        if policy.default != Action::Allow {
            let all = policy.rules.iter();
            filters.push(filter(all, machine, policy.default, Action::Allow));
        }
        let mut done: Vec<Action> = vec![Action::Allow];
        for rule in &policy.rules {
            if !done.contains(&rule.action) {
                done.push(rule.action);
                let same = policy.rules.iter().filter(|one| one.action == rule.action);
                filters.push(filter(same, machine, Action::Allow, rule.action));
            }
        }
        Self(filters)
    }

    fn verdict(&self, call: &Call) -> u32 {
        let verdicts = self.0.iter().map(|filter| verdict(filter, call));
        verdicts.fold(Action::Allow.value(), stronger)
    }
}

/// Every number that seccompiler has an opinion about, and every argument of the calls that have conditions.
fn compare(policy: &Policy, machine: Machine, values: &[u64]) {
    let oracle = Oracle::new(policy, machine);
    let program = compile(policy, machine).program;
    let (_, [(architecture, column), _]) = MACHINES.into_iter().find(|m| m.0 == machine).unwrap();
    let column = [Column::X86_64, Column::X86, Column::Aarch64, Column::Arm][column];
    let same = |call: &Call| {
        assert_eq!(verdict(&program, call), oracle.verdict(call), "{call:x?}");
    };
    for number in (0..600).chain([0x3fff_ffff]) {
        same(&Call::new(architecture, number));
    }
    let with = policy
        .rules
        .iter()
        .filter(|rule| !rule.conditions.is_empty());
    let conditional: BTreeSet<u32> = with
        .flat_map(names)
        .filter_map(|name| Line::named(name)?.number(column))
        .collect();
    for number in conditional {
        for &value in values {
            for place in 0..6 {
                same(&Call::new(architecture, number).with(place, value));
            }
            for &other in values.iter().step_by(7) {
                let mut call = Call::new(architecture, number);
                call.arguments = [value, other, value, other, value, other];
                same(&call);
            }
        }
    }
}

#[test]
fn built_in_filters_are_what_seccompiler_makes_of_their_rules() {
    for (machine, _) in MACHINES {
        for init in [false, true] {
            for policy in [builtin::default(init), builtin::strict(init)] {
                let mut values = values(&policy);
                values.extend(arguments());
                compare(&policy, machine, &values);
            }
        }
    }
}

#[test]
fn engine_profile_is_what_seccompiler_makes_of_its_rules() {
    for (machine, name) in [(Machine::X86_64, "amd64"), (Machine::Aarch64, "arm64")] {
        for capabilities in [&[][..], &["CAP_SYS_ADMIN"], &["CAP_SYS_CHROOT", "CAP_BPF"]] {
            let policy = Policy {
                // seccompiler has no such thing.
                newer_absent: false,
                ..engine(name, Some([6, 1, 0]), capabilities)
            };
            compare(&policy, machine, &values(&policy));
        }
    }
}

/// Policies that seccompiler can express: values fit the argument, and errors have one number, as it is not said which of two
/// filters' counts.
fn policy() -> impl Strategy<Value = Policy> {
    let action = || {
        select(
            &[
                Action::Allow,
                Action::Log,
                Action::Errno(7),
                Action::Trap,
                Action::KillThread,
                Action::KillProcess,
            ][..],
        )
    };
    // Words, halves and longs as arguments.
    let names = [
        "read", "write", "close", "fcntl", "ioctl", "mmap", "unshare", "prctl", "clone", "fchmod",
        "execve", "futex",
    ];
    let condition = (0..6u8, test()).prop_map(|(argument, test)| Condition { argument, test });
    let rule = (
        any::<[Index; 3]>(),
        action(),
        proptest::collection::vec(condition, 0..4),
    )
        .prop_map(move |(picks, action, conditions)| Rule {
            names: Names::Given(std::rc::Rc::new(
                picks.map(|pick| (*pick.get(&names)).to_owned()).into(),
            )),
            action,
            conditions,
        });
    (action(), proptest::collection::vec(rule, 1..8)).prop_map(|(default, rules)| Policy {
        default,
        rules: rules.into_iter().map(fitting).collect(),
        compat: false,
        newer_absent: false,
    })
}

/// The rule with values cut to the narrowest argument that any of its calls has.
fn fitting(mut rule: Rule) -> Rule {
    let lines: Vec<_> = names(&rule).into_iter().filter_map(Line::named).collect();
    for condition in &mut rule.conditions {
        let widths = lines.iter().map(|line| line.width(condition.argument));
        let narrowest = widths.min().unwrap();
        let bits = match narrowest {
            Width::Half => 0xffff,
            Width::Word => 0xffff_ffff,
            Width::Long => u64::MAX,
        };
        condition.test = match condition.test {
            Test::MaskedEqual { mask, value } => Test::MaskedEqual {
                mask,
                value: value & bits,
            },
            Test::Equal(value) => Test::Equal(value & bits),
            other if narrowest == Width::Half => Test::MaskedEqual {
                mask: bits,
                value: match other {
                    Test::NotEqual(value) | Test::Less(value) | Test::Greater(value) => {
                        value & bits
                    }
                    _ => 0,
                },
            },
            Test::NotEqual(value) => Test::NotEqual(value & bits),
            Test::Less(value) => Test::Less(value & bits),
            Test::LessOrEqual(value) => Test::LessOrEqual(value & bits),
            Test::Greater(value) => Test::Greater(value & bits),
            Test::GreaterOrEqual(value) => Test::GreaterOrEqual(value & bits),
        };
    }
    rule
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn random_filters_are_what_seccompiler_makes_of_their_rules(policy in policy()) {
        for (machine, _) in MACHINES {
            compare(&policy, machine, &values(&policy));
        }
    }
}

/// What a caller of seccompiler must know: the rules of a call are a list, in which a rule without conditions is no rule. Who
/// adds one with a condition takes away the one without.
#[test]
fn rule_without_conditions_is_lost_by_seccompiler_and_kept_here() {
    let denied = Action::Errno(1);
    let one = |conditions: Vec<Condition>| Rule {
        names: Names::Own(&["mount"]),
        action: denied,
        conditions,
    };
    let conditional = Condition {
        argument: 3,
        test: Test::Equal(4096),
    };
    let rules = vec![one(Vec::new()), one(vec![conditional])];

    let mut map: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for rule in &rules {
        let conditions = rule.conditions.iter();
        let conditions: Vec<_> = conditions.map(|c| condition(c, Width::Long)).collect();
        map.entry(165)
            .or_default()
            .extend((!conditions.is_empty()).then(|| SeccompRule::new(conditions).unwrap()));
    }
    let theirs = SeccompFilter::new(
        map,
        SeccompAction::Allow,
        action(denied),
        TargetArch::x86_64,
    );
    let theirs = instructions(theirs.unwrap());
    let call = Call::new(AUDIT_X86_64, 165);
    assert_eq!(verdict(&theirs, &call), Action::Allow.value());
    assert_eq!(verdict(&theirs, &call.with(3, 4096)), denied.value());

    for rules in [rules.clone(), rules.into_iter().rev().collect()] {
        let policy = Policy {
            default: Action::Allow,
            rules,
            compat: false,
            newer_absent: false,
        };
        let ours = compile(&policy, Machine::X86_64).program;
        assert_eq!(verdict(&ours, &call), denied.value());
        assert_eq!(verdict(&ours, &call.with(3, 4096)), denied.value());
    }
}
