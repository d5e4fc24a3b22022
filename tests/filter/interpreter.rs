//! A small interpreter of classic BPF, and what the kernel asks of a program before it takes it (bpf(4), seccomp(2),
//! Documentation/networking/filter.rst).

use nix::libc;
use stdbox::policy::Instruction;

/// `struct seccomp_data`, with the instruction pointer left out: no filter has business with it.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Call {
    pub number: u32,
    pub architecture: u32,
    pub arguments: [u64; 6],
}

impl Call {
    pub fn new(architecture: u32, number: u32) -> Self {
        Self {
            number,
            architecture,
            ..Self::default()
        }
    }

    /// The same with one argument.
    pub fn with(mut self, index: usize, argument: u64) -> Self {
        self.arguments[index] = argument;
        self
    }
}

/// AUDIT_ARCH of linux/audit.h: the machine of linux/elf-em.h, and bits for 64 and for little-endian.
pub const AUDIT_X86_64: u32 = 62 | 0x8000_0000 | 0x4000_0000;
pub const AUDIT_I386: u32 = 3 | 0x4000_0000;
pub const AUDIT_AARCH64: u32 = 183 | 0x8000_0000 | 0x4000_0000;
pub const AUDIT_ARM: u32 = 40 | 0x4000_0000;
pub const AUDIT_RISCV64: u32 = 243 | 0x8000_0000 | 0x4000_0000;
pub const AUDIT_S390X: u32 = 22 | 0x8000_0000;
pub const AUDITS: [u32; 7] = [
    AUDIT_X86_64,
    AUDIT_I386,
    AUDIT_AARCH64,
    AUDIT_ARM,
    AUDIT_RISCV64,
    AUDIT_S390X,
    0,
];

pub const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
pub const LOG: u32 = libc::SECCOMP_RET_LOG;
pub const TRAP: u32 = libc::SECCOMP_RET_TRAP;
pub const KILL_THREAD: u32 = libc::SECCOMP_RET_KILL_THREAD;
pub const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
pub const ENOSYS: u32 = errno(libc::ENOSYS);
pub const EPERM: u32 = errno(libc::EPERM);
pub const EAFNOSUPPORT: u32 = errno(libc::EAFNOSUPPORT);

pub const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
}

/// Numbers beyond all calls: at borders, and such that are negative as an `int`.
pub const ODD: [u32; 10] = [
    1023,
    1024,
    4095,
    65_535,
    0x000f_0000,
    0x3fff_ffff,
    0x4000_0000,
    0x7fff_ffff,
    0x8000_0000,
    u32::MAX,
];

/// Every number of the calls that there are, and odd ones.
pub fn numbers() -> impl Iterator<Item = u32> {
    (0..600).chain(ODD)
}

/// Runs a program as the kernel does: the verdict, and how many instructions it took.
pub fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
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

pub fn verdict(program: &[Instruction], call: &Call) -> u32 {
    run(program, call).0
}

/// Which of two verdicts about one call counts: the kernel compares the actions as signed numbers.
pub fn stronger(one: u32, other: u32) -> u32 {
    let order = |verdict: u32| (verdict & 0xffff_0000).cast_signed();
    if order(other) < order(one) {
        other
    } else {
        one
    }
}

/// What the kernel would say against a program. Of the operations only those that stdbox uses are known here.
pub fn fault(program: &[Instruction]) -> Option<String> {
    if program.is_empty() || program.len() > 4096 {
        return Some(format!("{} instructions", program.len()));
    }
    for (at, step) in program.iter().enumerate() {
        // Distances are unsigned, so that every jump goes forward; it must end inside.
        let left = program.len() - at - 1;
        let inside = |distance: usize| distance < left;
        let right = match step.code {
            // BPF_LD|BPF_W|BPF_ABS: a word of the data.
            0x20 => step.k % 4 == 0 && step.k < 64,
            // BPF_ALU|BPF_AND|BPF_K
            0x54 => true,
            // BPF_JMP|BPF_JA
            0x05 => inside(usize::try_from(step.k).unwrap()),
            // BPF_JMP with BPF_JEQ, BPF_JGT, BPF_JGE and BPF_K
            0x15 | 0x25 | 0x35 => inside(step.jt.into()) && inside(step.jf.into()),
            // BPF_RET|BPF_K
            0x06 => true,
            _ => false,
        };
        if !right {
            return Some(format!("{at}: {step:?} of {}", program.len()));
        }
    }
    match program.last() {
        Some(Instruction { code: 0x06, .. }) => None,
        _ => Some("it does not end with a verdict".to_owned()),
    }
}

/// The program must be one that the kernel takes.
#[track_caller]
pub fn taken(program: &[Instruction]) {
    assert_eq!(fault(program), None);
}

#[test]
fn programs_that_the_kernel_does_not_take_are_found() {
    let step = |code, k| Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let end = step(0x06, ALLOW);
    let branch = |jt, jf| Instruction {
        jt,
        jf,
        ..step(0x15, 0)
    };
    assert_eq!(fault(&[end]), None);
    assert_eq!(fault(&[step(0x20, 60), branch(1, 0), end, end]), None);
    assert_eq!(fault(&vec![end; 4096]), None);
    for wrong in [
        vec![],
        vec![end; 4097],
        vec![step(0x20, 0)],
        vec![step(0x20, 2), end],
        vec![step(0x20, 64), end],
        vec![step(0x28, 0), end],
        vec![step(0x05, 1), end],
        vec![step(0x05, u32::MAX), end],
        vec![branch(1, 0), end],
        vec![branch(0, 1), end],
        vec![end, branch(0, 0)],
    ] {
        assert!(fault(&wrong).is_some(), "{wrong:?}");
    }
}
