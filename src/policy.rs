//! System call filters: rules by name → [`Policy`] → BPF program (seccomp(2)). Ring 0.
//!
//! Every ABI by which a process can call the kernel has its own section in the program: on x86_64 the native one, x32 (numbers
//! with bit 30, which do not exist here) and the 32-bit one, whose numbers mean other calls. Of several rules that match one
//! call the most restrictive counts, as it does in the kernel among several filters: so a rule without conditions beside one
//! with conditions is never lost, whatever their order.
//!
//! `build.rs` uses these modules too, to make the programs of the built-in filters: they depend on nothing else.

pub mod builtin;
pub mod calls;

mod aliases;
mod bpf;

pub use bpf::Instruction;

use bpf::{Case, Section, Verdict};
use calls::{Call, Column, Width};
use std::collections::BTreeSet;
use std::rc::Rc;

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It is made.
    Allow,
    /// It is made, and noted in the audit log.
    Log,
    /// It fails with this number; with 0 it seems to succeed.
    Errno(u16),
    /// The caller gets SIGSYS, which it can catch.
    Trap,
    /// The calling thread ends.
    KillThread,
    /// The process ends by SIGSYS.
    KillProcess,
}

impl Action {
    /// As if the kernel did not have the call (ENOSYS), so that libraries fall back.
    pub const ABSENT: Self = Self::Errno(38);

    /// The value that a filter returns: SECCOMP_RET_* of linux/seccomp.h.
    #[must_use]
    pub const fn value(self) -> u32 {
        match self {
            Self::Allow => 0x7fff_0000,
            Self::Log => 0x7ffc_0000,
            Self::Errno(number) => 0x0005_0000 | number as u32,
            Self::Trap => 0x0003_0000,
            Self::KillThread => 0,
            Self::KillProcess => 0x8000_0000,
        }
    }

    /// The kernel's order: a higher one wins.
    const fn severity(self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Log => 1,
            Self::Errno(_) => 2,
            Self::Trap => 3,
            Self::KillThread => 4,
            Self::KillProcess => 5,
        }
    }

    /// Whether the call is made.
    #[must_use]
    pub const fn lets_through(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }
}

/// A comparison with an argument, as unsigned numbers of the width that the kernel looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Test {
    /// It equals the value.
    Equal(u64),
    /// It does not.
    NotEqual(u64),
    /// It is below.
    Less(u64),
    /// It is not above.
    LessOrEqual(u64),
    /// It is above.
    Greater(u64),
    /// It is not below.
    GreaterOrEqual(u64),
    /// The bits of the mask have this value, which has no others.
    MaskedEqual {
        /// Which bits.
        mask: u64,
        /// Their value.
        value: u64,
    },
}

/// A condition on one argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Which argument, from 0 to 5.
    pub argument: u8,
    /// What must hold.
    pub test: Test,
}

/// No rule can have more conditions.
pub const MAX_CONDITIONS: usize = 32;

/// The kernel takes no longer program: BPF_MAXINSNS.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Names of system calls: of a filter of stdbox's own, or of the job's.
#[derive(Clone, PartialEq, Debug)]
pub enum Names {
    /// Known when stdbox was built.
    Own(&'static [&'static str]),
    /// Given by the job.
    Given(Rc<Vec<String>>),
}

impl Names {
    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (own, given): (&[&str], &[String]) = match self {
            Self::Own(names) => (names, &[]),
            Self::Given(names) => (&[], names),
        };
        own.iter().copied().chain(given.iter().map(String::as_str))
    }
}

/// What happens to calls of these names where all conditions hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Which calls.
    pub names: Names,
    /// What happens.
    pub action: Action,
    /// When.
    pub conditions: Vec<Condition>,
}

/// A filter, for one machine and kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    /// What happens to a call that no rule matches.
    pub default: Action,
    /// The rules.
    pub rules: Vec<Rule>,
    /// Whether the 32-bit ABI has rules too; else its calls end the process.
    pub compat: bool,
    /// Whether calls with a higher number than any that a rule names do not exist: they came after the filter was written, and
    /// libraries fall back to older ones.
    pub newer_absent: bool,
}

/// The machine that a filter is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Machine {
    /// x86_64
    X86_64,
    /// 64-bit Arm
    Aarch64,
}

impl Machine {
    /// The one that stdbox was built for.
    pub const NATIVE: Self = if cfg!(target_arch = "aarch64") {
        Self::Aarch64
    } else {
        Self::X86_64
    };

    /// AUDIT_ARCH (linux/audit.h) and the column of numbers, natively and in the 32-bit ABI that the same kernel serves.
    const fn abis(self) -> [(u32, Column); 2] {
        match self {
            Self::X86_64 => [(0xc000_003e, Column::X86_64), (0x4000_0003, Column::X86)],
            Self::Aarch64 => [(0xc000_00b7, Column::Aarch64), (0x4000_0028, Column::Arm)],
        }
    }

    /// Numbers of the x32 ABI have this bit; the kernel runs them under the native architecture.
    const fn foreign_bit(self) -> Option<u32> {
        match self {
            Self::X86_64 => Some(0x4000_0000),
            Self::Aarch64 => None,
        }
    }
}

/// A program, and what its maker should know.
#[derive(Clone, PartialEq, Debug)]
pub struct Compiled {
    /// For seccomp(2).
    pub program: Vec<Instruction>,
    /// Names that are no system call of any machine known here; their rules have no effect.
    pub unknown: Vec<String>,
    /// Whether `execve` is always let through, without which no command can be started under the filter.
    pub starts: bool,
}

/// Makes the program.
#[must_use]
pub fn compile(policy: &Policy, machine: Machine) -> Compiled {
    let [(native, column), (compat, compat_column)] = machine.abis();
    let rules: Vec<&Rule> = policy.rules.iter().collect();
    let unknown = unknown(&rules);
    let mut ranges = Ranges::new(policy, &rules, column, Call::width);
    let starts = Call::named("execve")
        .and_then(|call| call.number(column))
        .is_some_and(|number| ranges.verdict(number).always_lets_through());
    if let Some(bit) = machine.foreign_bit() {
        ranges.add(bit, Verdict::from(Action::ABSENT));
    }
    let mut sections = vec![Section {
        architecture: native,
        ranges: ranges.0,
    }];
    if policy.compat {
        let aliases = aliases::rules(policy, compat_column);
        let rules: Vec<&Rule> = rules.into_iter().chain(&aliases).collect();
        let ranges = Ranges::new(policy, &rules, compat_column, Call::compat_width);
        sections.push(Section {
            architecture: compat,
            ranges: ranges.0,
        });
    }
    Compiled {
        program: bpf::program(&sections),
        unknown,
        starts,
    }
}

fn unknown(rules: &[&Rule]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names = rules.iter().flat_map(|rule| rule.names.iter());
    names
        .filter(|name| Call::named(name).is_none() && seen.insert(*name))
        .map(str::to_owned)
        .collect()
}

/// A rule for one number: the number, the rule's place in the policy, and the call.
type Numbered = (u32, usize, Call);

/// From here on arm has calls of its own, which are as old as it is: they say nothing about a filter's age.
const PRIVATE: u32 = 0x000f_0000;

/// Neighbouring numbers with one verdict, by the first of them, from 0 on without gaps.
struct Ranges(Vec<(u32, Verdict)>);

impl Ranges {
    fn new(
        policy: &Policy,
        rules: &[&Rule],
        column: Column,
        width: impl Fn(Call, u8) -> Width,
    ) -> Self {
        let mut calls: Vec<Numbered> = Vec::with_capacity(400);
        for (index, rule) in rules.iter().enumerate() {
            let known = rule.names.iter().filter_map(Call::named);
            calls.extend(known.filter_map(|call| Some((call.number(column)?, index, call))));
        }
        calls.sort_unstable();
        let numbers = calls.iter().map(|(number, ..)| *number);
        let newest = numbers
            .rev()
            .find(|number| policy.newer_absent && *number < PRIVATE);
        let mut ranges = Self(vec![(0, Verdict::from(policy.default))]);
        for numbered in calls.chunk_by(|(a, ..), (b, ..)| a == b) {
            if let Some(&(number, ..)) = numbered.first() {
                ranges.add(number, verdict(policy.default, rules, numbered, &width));
                let newer = newest.is_some_and(|newest| number >= newest);
                let gap = if newer {
                    Action::ABSENT
                } else {
                    policy.default
                };
                ranges.add(number + 1, Verdict::from(gap));
            }
        }
        ranges
    }

    /// From this number on, which is not below the last one.
    fn add(&mut self, start: u32, verdict: Verdict) {
        if self.0.last().is_some_and(|(first, _)| *first == start) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|(_, last)| *last != verdict) {
            self.0.push((start, verdict));
        }
    }

    fn verdict(&self, number: u32) -> Verdict {
        let after = self.0.partition_point(|(start, _)| *start <= number);
        let range = after.checked_sub(1).and_then(|index| self.0.get(index));
        range.map_or(Verdict::from(Action::KillProcess), |(_, verdict)| {
            verdict.clone()
        })
    }
}

/// The most restrictive rule first; what follows one without conditions is never reached.
fn verdict(
    default: Action,
    rules: &[&Rule],
    numbered: &[Numbered],
    width: impl Fn(Call, u8) -> Width,
) -> Verdict {
    let mut rules: Vec<(Call, &Rule)> = numbered
        .iter()
        .filter_map(|(_, index, call)| Some((*call, *rules.get(*index)?)))
        .collect();
    rules.sort_by_key(|(_, rule)| std::cmp::Reverse(rule.action.severity()));
    let mut verdict = Verdict::from(default);
    for (call, rule) in rules {
        if rule.conditions.is_empty() {
            verdict.otherwise = rule.action;
            break;
        }
        let conditions = rule.conditions.iter();
        verdict.cases.push(Case {
            conditions: conditions
                .map(|condition| (*condition, width(call, condition.argument)))
                .collect(),
            action: rule.action,
        });
    }
    // A case that ends like everything after it is no case.
    while verdict
        .cases
        .pop_if(|case| case.action == verdict.otherwise)
        .is_some()
    {}
    verdict
}
