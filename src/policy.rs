//! System call filters as classic BPF programs (seccomp(2), Documentation/userspace-api/seccomp_filter.rst). Ring 0.
//!
//! What a filter costs a job is mostly its attaching: the kernel then evaluates it once for every call number to cache the
//! verdicts that do not depend on arguments. So numbers are found through a tree of comparisons over ranges instead of a
//! list. Every ABI by which a process can call the kernel has its own section: on x86_64 the native one, x32 (numbers with
//! bit 30) and the 32-bit one, whose numbers mean other calls.

/// One instruction: `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the comparison holds.
    pub jt: u8,
    /// Instructions to skip if not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`; the low half of an argument comes first on the little-endian machines built for.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const fn errno(number: u32) -> u32 {
    0x0005_0000 | number
}
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
/// AUDIT_ARCH of the 32-bit ABI that the same kernel serves.
#[cfg(target_arch = "x86_64")]
const COMPAT: u32 = 0x4000_0003;
#[cfg(target_arch = "aarch64")]
const COMPAT: u32 = 0x4000_0028;
/// Numbers of the x32 ABI have this bit; the kernel runs them under the native architecture.
#[cfg(target_arch = "x86_64")]
const X32_BIT: u32 = 0x4000_0000;

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Allow,
    Deny(u32),
    /// Denied where the low half of an argument lies in one of these ranges, both ends included.
    DenyIf {
        argument: u32,
        values: &'static [(u32, u32)],
        verdict: u32,
    },
}

/// Requests that write into a terminal's input queue or its screen memory, TIOCSTI and TIOCLINUX: ioctl_tty(2),
/// ioctl_console(2).
const TERMINAL_INJECTION: Rule = Rule::DenyIf {
    argument: 1,
    values: &[(0x5412, 0x5412), (0x541c, 0x541c)],
    verdict: errno(EPERM),
};

/// Socket families that lead to hardware, the hypervisor or kernel services that no namespace contains:
/// LLC, IRDA, BLUETOOTH, IUCV, RXRPC, ISDN, PHONET, IEEE802154, CAIF, ALG, NFC, VSOCK, QIPCRTR.
const OUTSIDE_FAMILIES: Rule = Rule::DenyIf {
    argument: 0,
    values: &[(23, 23), (26, 26), (31, 40), (42, 42)],
    verdict: errno(EAFNOSUPPORT),
};

/// prlimit(2) on pid 1: it asks for no more than equal ids, which init and the target have.
const LIMITS_OF_INIT: Rule = Rule::DenyIf {
    argument: 0,
    values: &[(1, 1)],
    verdict: errno(EPERM),
};

const ABSENT: Rule = Rule::Deny(errno(ENOSYS));

#[cfg(target_arch = "x86_64")]
const NATIVE_RULES: &[(u32, Rule)] = &[
    (16, TERMINAL_INJECTION), // ioctl
    (41, OUTSIDE_FAMILIES),   // socket
    (53, OUTSIDE_FAMILIES),   // socketpair
    (169, ABSENT),            // reboot
    (174, ABSENT),            // create_module
    (175, ABSENT),            // init_module
    (176, ABSENT),            // delete_module
    (177, ABSENT),            // get_kernel_syms
    (178, ABSENT),            // query_module
    (246, ABSENT),            // kexec_load
    (248, ABSENT),            // add_key
    (249, ABSENT),            // request_key
    (250, ABSENT),            // keyctl
    (298, ABSENT),            // perf_event_open
    (302, LIMITS_OF_INIT),    // prlimit64
    (313, ABSENT),            // finit_module
    (320, ABSENT),            // kexec_file_load
    (321, ABSENT),            // bpf
    (323, ABSENT),            // userfaultfd
    (425, ABSENT),            // io_uring_setup
    (426, ABSENT),            // io_uring_enter
    (427, ABSENT),            // io_uring_register
];

/// The 32-bit ABI of x86. `socketcall` hides its arguments behind a pointer, so it cannot be judged; C libraries use the
/// direct calls where it is absent.
#[cfg(target_arch = "x86_64")]
const COMPAT_RULES: &[(u32, Rule)] = &[
    (54, TERMINAL_INJECTION), // ioctl
    (88, ABSENT),             // reboot
    (102, ABSENT),            // socketcall
    (127, ABSENT),            // create_module
    (128, ABSENT),            // init_module
    (129, ABSENT),            // delete_module
    (130, ABSENT),            // get_kernel_syms
    (167, ABSENT),            // query_module
    (283, ABSENT),            // kexec_load
    (286, ABSENT),            // add_key
    (287, ABSENT),            // request_key
    (288, ABSENT),            // keyctl
    (336, ABSENT),            // perf_event_open
    (340, LIMITS_OF_INIT),    // prlimit64
    (350, ABSENT),            // finit_module
    (357, ABSENT),            // bpf
    (359, OUTSIDE_FAMILIES),  // socket
    (360, OUTSIDE_FAMILIES),  // socketpair
    (374, ABSENT),            // userfaultfd
    (425, ABSENT),            // io_uring_setup
    (426, ABSENT),            // io_uring_enter
    (427, ABSENT),            // io_uring_register
];

#[cfg(target_arch = "aarch64")]
const NATIVE_RULES: &[(u32, Rule)] = &[
    (29, TERMINAL_INJECTION), // ioctl
    (104, ABSENT),            // kexec_load
    (105, ABSENT),            // init_module
    (106, ABSENT),            // delete_module
    (142, ABSENT),            // reboot
    (198, OUTSIDE_FAMILIES),  // socket
    (199, OUTSIDE_FAMILIES),  // socketpair
    (217, ABSENT),            // add_key
    (218, ABSENT),            // request_key
    (219, ABSENT),            // keyctl
    (241, ABSENT),            // perf_event_open
    (261, LIMITS_OF_INIT),    // prlimit64
    (273, ABSENT),            // finit_module
    (280, ABSENT),            // bpf
    (282, ABSENT),            // userfaultfd
    (294, ABSENT),            // kexec_file_load
    (425, ABSENT),            // io_uring_setup
    (426, ABSENT),            // io_uring_enter
    (427, ABSENT),            // io_uring_register
];

/// The 32-bit ABI of Arm.
#[cfg(target_arch = "aarch64")]
const COMPAT_RULES: &[(u32, Rule)] = &[
    (54, TERMINAL_INJECTION), // ioctl
    (88, ABSENT),             // reboot
    (128, ABSENT),            // init_module
    (129, ABSENT),            // delete_module
    (281, OUTSIDE_FAMILIES),  // socket
    (288, OUTSIDE_FAMILIES),  // socketpair
    (309, ABSENT),            // add_key
    (310, ABSENT),            // request_key
    (311, ABSENT),            // keyctl
    (347, ABSENT),            // kexec_load
    (364, ABSENT),            // perf_event_open
    (369, LIMITS_OF_INIT),    // prlimit64
    (379, ABSENT),            // finit_module
    (386, ABSENT),            // bpf
    (388, ABSENT),            // userfaultfd
    (401, ABSENT),            // kexec_file_load
    (425, ABSENT),            // io_uring_setup
    (426, ABSENT),            // io_uring_enter
    (427, ABSENT),            // io_uring_register
];

/// The `default` filter: everything works but the calls that reach outside the container. `init` tells whether pid 1 is ours
/// and must be protected from them.
#[must_use]
pub fn default_filter(init: bool) -> Vec<Instruction> {
    let native = section(NATIVE_RULES, init);
    let compat = section(COMPAT_RULES, init);
    let mut program = Vec::with_capacity(192);
    program.push(op(LOAD, ARCHITECTURE));
    program.push(branch(JUMP_IF_EQUAL, NATIVE, 1, 0));
    // Only a jump without condition is long enough.
    program.push(op(JUMP, 1 + length(X32_GUARD) + length(&native)));
    program.push(op(LOAD, NUMBER));
    program.extend_from_slice(X32_GUARD);
    program.extend(native);
    program.push(branch(JUMP_IF_EQUAL, COMPAT, 1, 0));
    program.push(op(RETURN, KILL_PROCESS));
    program.push(op(LOAD, NUMBER));
    program.extend(compat);
    program
}

#[cfg(target_arch = "x86_64")]
const X32_GUARD: &[Instruction] = &[
    branch(JUMP_IF_AT_LEAST, X32_BIT, 0, 1),
    op(RETURN, errno(ENOSYS)),
];
#[cfg(target_arch = "aarch64")]
const X32_GUARD: &[Instruction] = &[];

const fn op(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn length(program: &[Instruction]) -> u32 {
    u32::try_from(program.len()).unwrap_or(u32::MAX)
}

/// The program for one ABI, whose number is loaded: it returns a verdict.
fn section(rules: &[(u32, Rule)], init: bool) -> Vec<Instruction> {
    // Ranges of neighbouring numbers with one rule, from 0 on without gaps.
    let mut ranges: Vec<(u32, Rule)> = vec![(0, Rule::Allow)];
    for &(number, rule) in rules
        .iter()
        .filter(|(_, rule)| init || *rule != LIMITS_OF_INIT)
    {
        match ranges.last() {
            Some(&(start, _)) if start == number => {
                ranges.pop();
            }
            _ => {}
        }
        if ranges.last().is_none_or(|&(_, last)| last != rule) {
            ranges.push((number, rule));
        }
        ranges.push((number + 1, Rule::Allow));
    }
    search(&ranges, NUMBERS)
}

/// Beyond the highest number of any system call, for weighing the last range.
const NUMBERS: u32 = 512;

/// A search over ranges up to `end`. Each comparison halves the numbers, not the ranges: the kernel evaluates the program once
/// for every number when it is attached, so what counts is the mean over all numbers.
fn search(ranges: &[(u32, Rule)], end: u32) -> Vec<Instruction> {
    let (first, rest) = match ranges {
        [] => return vec![op(RETURN, ALLOW)],
        [(_, rule)] => return verdict(*rule),
        [(first, _), rest @ ..] => (*first, rest),
    };
    let imbalance = |start: u32| (start - first).abs_diff(end.saturating_sub(start));
    let Some((middle, start)) = (1..)
        .zip(rest)
        .map(|(i, &(start, _))| (i, start))
        .min_by_key(|&(_, start)| imbalance(start))
    else {
        return vec![op(RETURN, ALLOW)];
    };
    let (low, high) = ranges.split_at(middle);
    let (low, high) = (search(low, start), search(high, end));
    let mut program = Vec::with_capacity(low.len() + high.len() + 2);
    if let Ok(distance) = u8::try_from(low.len()) {
        program.push(branch(JUMP_IF_AT_LEAST, start, distance, 0));
    } else {
        program.push(branch(JUMP_IF_AT_LEAST, start, 0, 1));
        program.push(op(JUMP, length(&low)));
    }
    program.extend(low);
    program.extend(high);
    program
}

fn verdict(rule: Rule) -> Vec<Instruction> {
    match rule {
        Rule::Allow => vec![op(RETURN, ALLOW)],
        Rule::Deny(verdict) => vec![op(RETURN, verdict)],
        Rule::DenyIf {
            argument: index,
            values,
            verdict,
        } => {
            let mut program = vec![op(LOAD, argument(index))];
            // From the last comparison on, so that each knows how far it is to the end.
            let mut tests: Vec<Instruction> = Vec::new();
            for &(first, last) in values.iter().rev() {
                // Past the later comparisons and the "allow" behind them.
                let skip = u8::try_from(tests.len() + 1).unwrap_or(u8::MAX);
                if first == last {
                    tests.insert(0, branch(JUMP_IF_EQUAL, first, skip, 0));
                } else {
                    tests.insert(0, branch(JUMP_IF_AT_LEAST, first, skip, 0));
                    tests.insert(0, branch(JUMP_IF_AT_LEAST, last + 1, 1, 0));
                }
            }
            program.append(&mut tests);
            program.push(op(RETURN, ALLOW));
            program.push(op(RETURN, verdict));
            program
        }
    }
}
