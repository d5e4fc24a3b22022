//! A job's `seccomp` object → programs for both machines: the kernel would take them, and they say what the rules say.

use crate::evaluator::{evaluate, names};
use crate::interpreter::{
    AUDIT_AARCH64, AUDIT_ARM, AUDIT_I386, AUDIT_RISCV64, AUDIT_X86_64, Call, taken, verdict,
};
use std::collections::BTreeSet;
use stdbox::job::{Channels, Job, Seccomp};
use stdbox::policy::calls::{Call as Line, Column};
use stdbox::policy::{Instruction, MAX_INSTRUCTIONS, Machine, Policy, Test, compile};
use stdbox::profile::{Setting, Version};

/// The machine and its name in Go; each ABI's AUDIT_ARCH and column.
type Target = (Machine, &'static str, [(u32, Column); 2]);

const TARGETS: [Target; 2] = [
    (
        Machine::X86_64,
        "amd64",
        [(AUDIT_X86_64, Column::X86_64), (AUDIT_I386, Column::X86)],
    ),
    (
        Machine::Aarch64,
        "arm64",
        [(AUDIT_AARCH64, Column::Aarch64), (AUDIT_ARM, Column::Arm)],
    ),
];

/// So many calls are compared for each ABI.
const MOST_CALLS: usize = 100;

pub fn run(data: &[u8]) {
    // What is not one JSON value would be another job.
    if serde_json::from_slice::<serde_json::Value>(data).is_err() {
        return;
    }
    let job = [br#"{"argv":["a"],"seccomp":"#, data, b"}"].concat();
    let Ok(job) = Job::from_slice(&job, Channels::STANDARD) else {
        return;
    };
    let Seccomp::Own { profile, .. } = &job.seccomp else {
        return;
    };
    let all = [
        "CAP_SYS_ADMIN".to_owned(),
        "CAP_SYS_PTRACE".to_owned(),
        "CAP_BPF".to_owned(),
    ];
    let settings: [(Option<Version>, &[String], bool); 3] = [
        (None, &[], false),
        (Some([6, 1, 0]), &[], true),
        (Some([4, 8, 1]), &all, false),
    ];
    for (machine, name, abis) in TARGETS {
        // One for each input, so that there can be more inputs.
        let (kernel, capabilities, init) = settings[data.len() % settings.len()];
        let policy = profile.policy(&Setting {
            machine: name,
            kernel,
            capabilities,
            init,
        });
        let compiled = compile(&policy, machine);
        if compiled.program.len() <= MAX_INSTRUCTIONS {
            taken(&compiled.program);
            compare(&policy, &compiled.program, machine, abis);
        }
        if compiled.starts {
            let number = Line::named("execve").and_then(|line| line.number(abis[0].1));
            let call = Call::new(abis[0].0, number.expect("every machine has it"));
            for argument in [0, 7, u64::MAX] {
                let call = Call {
                    arguments: [argument; 6],
                    ..call
                };
                let let_through = verdict(&compiled.program, &call) >= 0x7ffc_0000;
                assert!(let_through, "a command cannot be started");
            }
        }
    }
}

fn compare(policy: &Policy, program: &[Instruction], machine: Machine, abis: [(u32, Column); 2]) {
    let same = |call: &Call| {
        let (seen, meant) = (verdict(program, call), evaluate(policy, machine, call));
        assert_eq!(seen, meant, "{call:x?}\n{policy:?}");
    };
    same(&Call::new(AUDIT_RISCV64, 0));
    let values = values(policy);
    for (architecture, column) in abis {
        let named: BTreeSet<u32> = policy
            .rules
            .iter()
            .flat_map(names)
            .filter_map(|name| Line::named(name)?.number(column))
            .collect();
        let near = named
            .iter()
            .flat_map(|&number| [number, number.saturating_sub(1), number + 1])
            .chain([0, 102, 117, 599, 0x3fff_ffff, 0x4000_0000, u32::MAX]);
        let mut calls = 0;
        for number in near {
            same(&Call::new(architecture, number));
            for (i, &value) in values.iter().enumerate() {
                if calls == MOST_CALLS {
                    break;
                }
                calls += 2;
                same(&Call::new(architecture, number).with((calls / 2) % 6, value));
                // All together, in another order each time.
                let at = |k: usize| values[(i + k * (calls + 1)) % values.len()];
                let arguments = [at(0), at(1), at(2), at(3), at(4), at(5)];
                same(&Call {
                    arguments,
                    ..Call::new(architecture, number)
                });
            }
        }
    }
}

/// Arguments at the borders of what the rules look at.
fn values(policy: &Policy) -> Vec<u64> {
    let mut values = BTreeSet::from([0, 1, 0xffff_ffff, 1 << 32, u64::MAX]);
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
            value,
            value | mask,
            value.wrapping_sub(1),
            value.wrapping_add(1),
        ] {
            values.extend([near, near ^ 1 << 32, near ^ 1 << 16, near & 0xffff_ffff]);
        }
        if values.len() > MOST_CALLS {
            break;
        }
    }
    values.into_iter().collect()
}
