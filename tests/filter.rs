//! The default filter, evaluated: an interpreter of classic BPF runs it over every number of every ABI and compares the
//! verdicts with a table that is written by name, and with what seccompiler makes of the same rules.
//!
//! That the kernel takes the program and denies what it should is for the tests that make the calls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use stdbox::policy::{Instruction, default_filter};

/// `struct seccomp_data`, with the instruction pointer left out: no filter has business with it.
#[derive(Clone, Copy, Default, Debug)]
struct Call {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
}

const ENOSYS: u32 = errno(libc::ENOSYS);
const EPERM: u32 = errno(libc::EPERM);
const EAFNOSUPPORT: u32 = errno(libc::EAFNOSUPPORT);

/// AUDIT_ARCH of linux/audit.h: the machine of linux/elf-em.h, and bits for 64 and for little-endian.
const AUDIT_X86_64: u32 = 62 | 0x8000_0000 | 0x4000_0000;
const AUDIT_I386: u32 = 3 | 0x4000_0000;
const AUDIT_AARCH64: u32 = 183 | 0x8000_0000 | 0x4000_0000;
const AUDIT_ARM: u32 = 40 | 0x4000_0000;
const AUDIT_RISCV64: u32 = 243 | 0x8000_0000 | 0x4000_0000;

#[cfg(target_arch = "x86_64")]
const ABIS: [(u32, &[(u32, Rule)]); 2] = [(AUDIT_X86_64, NATIVE), (AUDIT_I386, COMPAT)];
#[cfg(target_arch = "aarch64")]
const ABIS: [(u32, &[(u32, Rule)]); 2] = [(AUDIT_AARCH64, NATIVE), (AUDIT_ARM, COMPAT)];

#[cfg(target_arch = "x86_64")]
const FOREIGN: [u32; 4] = [AUDIT_AARCH64, AUDIT_ARM, AUDIT_RISCV64, 0];
#[cfg(target_arch = "aarch64")]
const FOREIGN: [u32; 4] = [AUDIT_X86_64, AUDIT_I386, AUDIT_RISCV64, 0];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Rule {
    Gone,
    Ioctl,
    Socket,
    /// Limits of pid 1, which is init.
    Limits,
}

/// By the C library's names.
#[cfg(target_arch = "x86_64")]
const NATIVE: &[(u32, Rule)] = &[
    (number(libc::SYS_ioctl), Rule::Ioctl),
    (number(libc::SYS_prlimit64), Rule::Limits),
    (number(libc::SYS_socket), Rule::Socket),
    (number(libc::SYS_socketpair), Rule::Socket),
    (number(libc::SYS_add_key), Rule::Gone),
    (number(libc::SYS_request_key), Rule::Gone),
    (number(libc::SYS_keyctl), Rule::Gone),
    (number(libc::SYS_userfaultfd), Rule::Gone),
    (number(libc::SYS_io_uring_setup), Rule::Gone),
    (number(libc::SYS_io_uring_enter), Rule::Gone),
    (number(libc::SYS_io_uring_register), Rule::Gone),
    (number(libc::SYS_bpf), Rule::Gone),
    (number(libc::SYS_perf_event_open), Rule::Gone),
    (number(libc::SYS_kexec_load), Rule::Gone),
    (number(libc::SYS_kexec_file_load), Rule::Gone),
    (174, Rule::Gone), // create_module
    (number(libc::SYS_init_module), Rule::Gone),
    (number(libc::SYS_finit_module), Rule::Gone),
    (number(libc::SYS_delete_module), Rule::Gone),
    (177, Rule::Gone), // get_kernel_syms
    (178, Rule::Gone), // query_module
    (number(libc::SYS_reboot), Rule::Gone),
];
#[cfg(target_arch = "aarch64")]
const NATIVE: &[(u32, Rule)] = &[
    (number(libc::SYS_ioctl), Rule::Ioctl),
    (number(libc::SYS_prlimit64), Rule::Limits),
    (number(libc::SYS_socket), Rule::Socket),
    (number(libc::SYS_socketpair), Rule::Socket),
    (number(libc::SYS_add_key), Rule::Gone),
    (number(libc::SYS_request_key), Rule::Gone),
    (number(libc::SYS_keyctl), Rule::Gone),
    (number(libc::SYS_userfaultfd), Rule::Gone),
    (number(libc::SYS_io_uring_setup), Rule::Gone),
    (number(libc::SYS_io_uring_enter), Rule::Gone),
    (number(libc::SYS_io_uring_register), Rule::Gone),
    (number(libc::SYS_bpf), Rule::Gone),
    (number(libc::SYS_perf_event_open), Rule::Gone),
    (number(libc::SYS_kexec_load), Rule::Gone),
    (number(libc::SYS_kexec_file_load), Rule::Gone),
    (number(libc::SYS_init_module), Rule::Gone),
    (number(libc::SYS_finit_module), Rule::Gone),
    (number(libc::SYS_delete_module), Rule::Gone),
    (number(libc::SYS_reboot), Rule::Gone),
];

/// From asm/unistd_32.h.
#[cfg(target_arch = "x86_64")]
const COMPAT: &[(u32, Rule)] = &[
    (54, Rule::Ioctl),
    (88, Rule::Gone),    // reboot
    (102, Rule::Gone),   // socketcall, whose arguments cannot be seen
    (127, Rule::Gone),   // create_module
    (128, Rule::Gone),   // init_module
    (129, Rule::Gone),   // delete_module
    (130, Rule::Gone),   // get_kernel_syms
    (167, Rule::Gone),   // query_module
    (283, Rule::Gone),   // kexec_load
    (286, Rule::Gone),   // add_key
    (287, Rule::Gone),   // request_key
    (288, Rule::Gone),   // keyctl
    (336, Rule::Gone),   // perf_event_open
    (340, Rule::Limits), // prlimit64
    (350, Rule::Gone),   // finit_module
    (357, Rule::Gone),   // bpf
    (359, Rule::Socket),
    (360, Rule::Socket), // socketpair
    (374, Rule::Gone),   // userfaultfd
    (425, Rule::Gone),   // io_uring_setup
    (426, Rule::Gone),   // io_uring_enter
    (427, Rule::Gone),   // io_uring_register
];
/// From arch/arm/tools/syscall.tbl.
#[cfg(target_arch = "aarch64")]
const COMPAT: &[(u32, Rule)] = &[
    (54, Rule::Ioctl),
    (88, Rule::Gone),  // reboot
    (128, Rule::Gone), // init_module
    (129, Rule::Gone), // delete_module
    (281, Rule::Socket),
    (288, Rule::Socket), // socketpair
    (309, Rule::Gone),   // add_key
    (310, Rule::Gone),   // request_key
    (311, Rule::Gone),   // keyctl
    (347, Rule::Gone),   // kexec_load
    (364, Rule::Gone),   // perf_event_open
    (369, Rule::Limits), // prlimit64
    (379, Rule::Gone),   // finit_module
    (386, Rule::Gone),   // bpf
    (388, Rule::Gone),   // userfaultfd
    (401, Rule::Gone),   // kexec_file_load
    (425, Rule::Gone),   // io_uring_setup
    (426, Rule::Gone),   // io_uring_enter
    (427, Rule::Gone),   // io_uring_register
];

const fn number(number: libc::c_long) -> u32 {
    assert!(number >= 0 && number < 10_000);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range, as asserted"
    )]
    {
        number as u32
    }
}

/// LLC, IRDA, BLUETOOTH, IUCV, RXRPC, ISDN, PHONET, IEEE802154, CAIF, ALG, NFC, VSOCK, QIPCRTR, from linux/socket.h.
const OUTSIDE: [u32; 13] = [26, 23, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 42];

fn expected(rules: &[(u32, Rule)], call: &Call) -> u32 {
    // The kernel takes the family and the request as 32 bits.
    let low = |i: usize| u32::try_from(call.arguments[i] & 0xffff_ffff).unwrap();
    match rules.iter().find(|(number, _)| *number == call.number) {
        None => ALLOW,
        Some((_, Rule::Gone)) => ENOSYS,
        Some((_, Rule::Ioctl)) => match low(1) {
            0x5412 | 0x541c => EPERM,
            _ => ALLOW,
        },
        Some((_, Rule::Limits)) if low(0) == 1 => EPERM,
        Some((_, Rule::Limits)) => ALLOW,
        Some((_, Rule::Socket)) if OUTSIDE.contains(&low(0)) => EAFNOSUPPORT,
        Some((_, Rule::Socket)) => ALLOW,
    }
}

/// Runs a program as the kernel does (bpf(4), Documentation/networking/filter.rst): the verdict and how many instructions
/// it took.
fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let mut data = [0u8; 64];
    data[0..4].copy_from_slice(&call.number.to_le_bytes());
    data[4..8].copy_from_slice(&call.architecture.to_le_bytes());
    for (i, argument) in call.arguments.iter().enumerate() {
        data[16 + 8 * i..24 + 8 * i].copy_from_slice(&argument.to_le_bytes());
    }
    let (mut at, mut accumulator, mut index, mut scratch) = (0usize, 0u32, 0u32, [0u32; 16]);
    for step in 1..=4096 {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let operand = if code & 0x08 == 0 { k } else { index };
        let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code & 0x07 {
            0x00 => {
                assert_eq!(code, 0x20, "seccomp takes no other load of the data");
                assert!(k % 4 == 0 && k < 64, "{k} is no word of the data");
                let k = usize::try_from(k).unwrap();
                accumulator = u32::from_le_bytes(data[k..k + 4].try_into().unwrap());
            }
            0x02 => scratch[usize::try_from(k).unwrap()] = accumulator,
            0x04 => {
                accumulator = match code & 0xf0 {
                    0x40 => accumulator | operand,
                    0x50 => accumulator & operand,
                    other => panic!("no such arithmetic: {other:#x}"),
                }
            }
            0x05 => match code & 0xf0 {
                0x00 => at += usize::try_from(k).unwrap(),
                0x10 => jump(accumulator == operand),
                0x20 => jump(accumulator > operand),
                0x30 => jump(accumulator >= operand),
                0x40 => jump(accumulator & operand != 0),
                other => panic!("no such jump: {other:#x}"),
            },
            0x06 => return (if code & 0x18 == 0 { k } else { accumulator }, step),
            0x07 => index = accumulator,
            other => panic!("no such class: {other:#x}"),
        }
    }
    panic!("the program does not end");
}

fn verdict(program: &[Instruction], call: &Call) -> u32 {
    run(program, call).0
}

/// Arguments at the borders of everything that a rule looks at, with and without high halves.
fn arguments() -> Vec<u64> {
    let mut low: Vec<u64> = (0..64).collect();
    low.extend([
        0x5411,
        0x5412,
        0x5413,
        0x541b,
        0x541c,
        0x541d,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
    ]);
    let high = [0, 1 << 32, 0x5412 << 32, 40 << 32, 0xffff_ffff << 32];
    low.iter()
        .flat_map(|low| high.iter().map(move |high| high | low))
        .collect()
}

#[test]
fn program_is_one_that_the_kernel_takes() {
    let program = default_filter(true);
    assert!(program.len() < 4096, "BPF_MAXINSNS");
    for (at, step) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        let inside =
            |distance: usize| assert!(distance < left, "{at}: {step:?} jumps out of the program");
        match step.code & 0x07 {
            0x05 if step.code & 0xf0 == 0 => inside(usize::try_from(step.k).unwrap()),
            0x05 => {
                inside(usize::from(step.jt));
                inside(usize::from(step.jf));
            }
            0x06 => {}
            _ => assert!(left > 0, "{at}: the program ends without a verdict"),
        }
    }
    assert_eq!(
        program.last().unwrap().code & 0x07,
        0x06,
        "the last instruction is a verdict"
    );
}

#[test]
fn every_number_of_every_abi_gets_the_verdict_of_the_table() {
    let program = default_filter(true);
    for (architecture, rules) in ABIS {
        for number in (0..600).chain([1023, 1024, 4095, 65_535, 0x3fff_ffff]) {
            let call = Call {
                number,
                architecture,
                ..Call::default()
            };
            assert_eq!(
                verdict(&program, &call),
                expected(rules, &call),
                "{call:x?}"
            );
        }
        for &(number, _) in rules {
            for argument in arguments() {
                for place in 0..6 {
                    let mut call = Call {
                        number,
                        architecture,
                        ..Call::default()
                    };
                    call.arguments[place] = argument;
                    assert_eq!(
                        verdict(&program, &call),
                        expected(rules, &call),
                        "{call:x?}"
                    );
                }
            }
        }
    }
}

#[test]
fn argument_in_the_high_half_neither_hides_nor_makes_a_denial() {
    let program = default_filter(true);
    let call = |number, place: usize, argument| {
        let mut call = Call {
            number,
            architecture: ABIS[0].0,
            ..Call::default()
        };
        call.arguments[place] = argument;
        verdict(&program, &call)
    };
    let (socket, ioctl) = (number(libc::SYS_socket), number(libc::SYS_ioctl));
    assert_eq!(
        call(socket, 0, 1 << 32 | 40),
        EAFNOSUPPORT,
        "vsock, as the kernel reads it"
    );
    assert_eq!(
        call(socket, 0, 40 << 32 | 1),
        ALLOW,
        "a Unix socket, as the kernel reads it"
    );
    assert_eq!(
        call(ioctl, 1, 0xdead_beef << 32 | 0x5412),
        EPERM,
        "TIOCSTI, as the kernel reads it"
    );
    assert_eq!(
        call(ioctl, 1, 0x5412 << 32 | 0x5413),
        ALLOW,
        "TIOCGWINSZ, as the kernel reads it"
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn x32_number_is_absent_whatever_it_means() {
    let program = default_filter(true);
    for low in (0..600).chain([0x3fff_ffff]) {
        for bit in [0x4000_0000u32, 0x8000_0000, 0xc000_0000] {
            let call = Call {
                number: low | bit,
                architecture: AUDIT_X86_64,
                ..Call::default()
            };
            assert_eq!(verdict(&program, &call), ENOSYS, "{call:x?}");
        }
    }
}

#[test]
fn foreign_architecture_kills() {
    let program = default_filter(true);
    for architecture in FOREIGN {
        for number in 0..600 {
            let call = Call {
                number,
                architecture,
                ..Call::default()
            };
            assert_eq!(verdict(&program, &call), KILL, "{call:x?}");
        }
    }
}

#[test]
fn program_takes_few_instructions_per_number() {
    // The kernel runs it once for every number when it is attached; as a list it would be about thirty.
    let program = default_filter(true);
    for (architecture, _) in ABIS {
        let steps = |number| {
            run(
                &program,
                &Call {
                    number,
                    architecture,
                    ..Call::default()
                },
            )
            .1
        };
        let (total, longest) = (0..600)
            .map(steps)
            .fold((0, 0), |(sum, most), n| (sum + n, most.max(n)));
        assert!(
            total < 12 * 600,
            "{} hundredths of an instruction per number",
            total / 6
        );
        assert!(longest < 40, "{longest} instructions for one number");
    }
}

/// The same rules, compiled by seccompiler, which is also what the contract names for filters of the caller's own.
#[test]
fn native_numbers_get_the_verdict_that_seccompiler_gives() {
    let dword = |index, value| {
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap()
    };
    let one_of = |index, values: &[u32]| {
        let rule = |&value: &u32| SeccompRule::new(vec![dword(index, value.into())]).unwrap();
        values.iter().map(rule).collect::<Vec<_>>()
    };
    let compile = |wanted: Rule, errno: i32, rule: &dyn Fn() -> Vec<SeccompRule>| {
        let numbers = NATIVE.iter().filter(|(_, rule)| *rule == wanted);
        let rules: BTreeMap<i64, Vec<SeccompRule>> = numbers
            .map(|&(number, _)| (number.into(), rule()))
            .collect();
        let action = SeccompAction::Errno(errno.unsigned_abs());
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).unwrap();
        let program: BpfProgram = filter.try_into().unwrap();
        let step = |s: &seccompiler::sock_filter| Instruction {
            code: s.code,
            jt: s.jt,
            jf: s.jf,
            k: s.k,
        };
        program.iter().map(step).collect::<Vec<_>>()
    };
    let oracle = [
        compile(Rule::Gone, libc::ENOSYS, &Vec::new),
        compile(Rule::Ioctl, libc::EPERM, &|| one_of(1, &[0x5412, 0x541c])),
        compile(Rule::Socket, libc::EAFNOSUPPORT, &|| one_of(0, &OUTSIDE)),
        compile(Rule::Limits, libc::EPERM, &|| one_of(0, &[1])),
    ];
    let program = default_filter(true);
    for number in 0..600 {
        for argument in arguments() {
            let mut call = Call {
                number,
                architecture: ABIS[0].0,
                ..Call::default()
            };
            call.arguments[0] = argument;
            call.arguments[1] = argument;
            // Of several filters the most restrictive verdict counts; here at most one is not "allow".
            let verdicts = oracle.iter().map(|filter| verdict(filter, &call));
            assert_eq!(
                verdict(&program, &call),
                verdicts.min().unwrap(),
                "{call:x?}"
            );
        }
    }
}
