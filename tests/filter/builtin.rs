//! The `default` filter: every number of every ABI, on both machines, against a table that is written by hand.

use crate::interpreter::{
    ALLOW, AUDIT_AARCH64, AUDIT_ARM, AUDIT_I386, AUDIT_X86_64, AUDITS, Call, EAFNOSUPPORT, ENOSYS,
    EPERM, KILL, numbers, taken, verdict,
};
use crate::table::native;
use stdbox::policy::{Instruction, Machine, builtin, compile};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Rule {
    Gone,
    Ioctl,
    Socket,
    /// Of the process that the first argument names, if it is pid 1, which is init.
    OfInit,
    /// Of what the second argument names: not 1, and not where the first one says that it is a user.
    OfMany(u64),
    /// Of the limit that the first argument names, if it is that of core dumps.
    OfCore,
    /// Of the process that the first argument names, if it is pid 1; and of the limit that the second one names.
    OfInitAndCore,
    /// socket and socketpair of socketcall(2), whose arguments cannot be seen.
    SocketCall,
}
use Rule::{Gone, Ioctl, OfCore, OfInit, OfInitAndCore, OfMany, Socket, SocketCall};

/// Where a call does not exist.
pub const NONE: u32 = u32::MAX;

/// Name; numbers on x86_64, on x86 (asm/unistd_32.h), on aarch64 (asm-generic/unistd.h) and on arm
/// (arch/arm/tools/syscall.tbl).
const RULES: [(&str, [u32; 4], Rule); 31] = [
    ("add_key", [248, 286, 217, 309], Gone),
    ("bpf", [321, 357, 280, 386], Gone),
    ("create_module", [174, 127, NONE, NONE], Gone),
    ("delete_module", [176, 129, 106, 129], Gone),
    ("finit_module", [313, 350, 273, 379], Gone),
    ("get_kernel_syms", [177, 130, NONE, NONE], Gone),
    ("init_module", [175, 128, 105, 128], Gone),
    ("io_uring_enter", [426; 4], Gone),
    ("io_uring_register", [427; 4], Gone),
    ("io_uring_setup", [425; 4], Gone),
    ("ioctl", [16, 54, 29, 54], Ioctl),
    ("kexec_file_load", [320, NONE, 294, 401], Gone),
    ("kexec_load", [246, 283, 104, 347], Gone),
    ("keyctl", [250, 288, 219, 311], Gone),
    ("perf_event_open", [298, 336, 241, 364], Gone),
    ("prlimit64", [302, 340, 261, 369], OfInitAndCore),
    ("ioprio_set", [251, 289, 30, 314], OfMany(3)),
    ("sched_setaffinity", [203, 241, 122, 241], OfInit),
    ("sched_setattr", [314, 351, 274, 380], OfInit),
    ("sched_setparam", [142, 154, 118, 154], OfInit),
    ("sched_setscheduler", [144, 156, 119, 156], OfInit),
    ("setpriority", [141, 97, 140, 97], OfMany(2)),
    ("setrlimit", [160, 75, 164, 75], OfCore),
    ("query_module", [178, 167, NONE, NONE], Gone),
    ("reboot", [169, 88, 142, 88], Gone),
    ("request_key", [249, 287, 218, 310], Gone),
    ("socket", [41, 359, 198, 281], Socket),
    ("socketcall", [NONE, 102, NONE, NONE], SocketCall),
    ("socketpair", [53, 360, 199, 288], Socket),
    ("syslog", [103, 103, 116, 103], Gone),
    ("userfaultfd", [323, 374, 282, 388], Gone),
];

/// RDS, LLC, IRDA, BLUETOOTH, IUCV, RXRPC, ISDN, PHONET, IEEE802154, CAIF, ALG, NFC, VSOCK, QIPCRTR, from linux/socket.h.
const OUTSIDE: [u64; 14] = [21, 26, 23, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 42];

/// The machines with their native and 32-bit ABIs: AUDIT_ARCH and the column of the table.
pub const MACHINES: [(Machine, [(u32, usize); 2]); 2] = [
    (Machine::X86_64, [(AUDIT_X86_64, 0), (AUDIT_I386, 1)]),
    (Machine::Aarch64, [(AUDIT_AARCH64, 2), (AUDIT_ARM, 3)]),
];

fn program(init: bool, machine: Machine) -> Vec<Instruction> {
    let compiled = compile(&builtin::default(init), machine);
    assert!(compiled.starts && compiled.unknown.is_empty());
    taken(&compiled.program);
    compiled.program
}

fn expected(column: usize, init: bool, call: &Call) -> u32 {
    // The kernel takes family, request, process and sub-call as 32 bits.
    let low = |i: usize| call.arguments[i] & 0xffff_ffff;
    let rule = RULES
        .iter()
        .find(|(_, numbers, _)| numbers[column] == call.number && call.number != NONE);
    match rule.map(|rule| rule.2) {
        Some(Gone) => ENOSYS,
        Some(Ioctl) if matches!(low(1), 0x540c | 0x5412 | 0x541c | 0x5423) => EPERM,
        Some(OfInit) if init && low(0) == 1 => EPERM,
        Some(OfCore) if low(0) == 4 => SUCCESS,
        Some(OfInitAndCore) => of_limit(init, call, |i| match column {
            // Pointers of the native ABI.
            0 | 2 => call.arguments[i],
            _ => low(i),
        }),
        Some(OfMany(user)) if init && (low(1) == 1 || low(0) == user) => EPERM,
        Some(Socket) if OUTSIDE.contains(&low(0)) => EAFNOSUPPORT,
        Some(SocketCall) if matches!(low(0), 1 | 8) => ENOSYS,
        _ => ALLOW,
    }
}

/// A call that seems to have been made: error 0.
const SUCCESS: u32 = 0x0005_0000;

/// prlimit64: pid 1, which is init, not at all; of core dumps the limit is asked for, but not set.
pub fn of_limit(init: bool, call: &Call, pointer: impl Fn(usize) -> u64) -> u32 {
    let low = |i: usize| call.arguments[i] & 0xffff_ffff;
    if init && low(0) == 1 {
        EPERM
    } else if low(1) != 4 || pointer(2) == 0 {
        ALLOW
    } else {
        SUCCESS
    }
}

/// Arguments of setrlimit and prlimit64 that belong together.
pub fn limits() -> impl Iterator<Item = [u64; 4]> {
    let all = [0, 1, 3, 4, 5, 1 << 32, 1 << 32 | 4, 0x7fff_0000];
    let three = all.into_iter().flat_map(move |a| all.map(|b| [a, b]));
    three.flat_map(move |[a, b]| {
        let rest = all.into_iter().flat_map(move |c| all.map(|d| [c, d]));
        rest.map(move |[c, d]| [a, b, c, d])
    })
}

#[test]
fn limit_of_core_dumps_can_be_asked_for_and_not_set() {
    for (machine, abis) in MACHINES {
        for init in [false, true] {
            let program = program(init, machine);
            for (architecture, column) in abis {
                for name in ["setrlimit", "prlimit64"] {
                    let rule = RULES.iter().find(|rule| rule.0 == name).unwrap();
                    for [a, b, c, d] in limits() {
                        let mut call = Call::new(architecture, rule.1[column]);
                        call.arguments = [a, b, c, d, 0, 0];
                        assert_eq!(
                            verdict(&program, &call),
                            expected(column, init, &call),
                            "{call:x?}"
                        );
                    }
                }
            }
        }
    }
}

/// Arguments at the borders of everything that a rule looks at, with and without high halves.
pub fn arguments() -> Vec<u64> {
    let mut low: Vec<u64> = (0..64).collect();
    low.extend([
        0x540b,
        0x540c,
        0x540d,
        0x5411,
        0x5412,
        0x5413,
        0x541b,
        0x541c,
        0x541d,
        0x5422,
        0x5423,
        0xffff,
        0x1_0001,
        0x1_0008,
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
fn every_number_of_every_abi_gets_the_verdict_of_the_table() {
    for (machine, abis) in MACHINES {
        for init in [false, true] {
            let program = program(init, machine);
            for (architecture, column) in abis {
                for number in numbers() {
                    let call = Call::new(architecture, number);
                    let x32 = machine == Machine::X86_64 && column == 0 && number >= 0x4000_0000;
                    let expected = if x32 {
                        ENOSYS
                    } else {
                        expected(column, init, &call)
                    };
                    assert_eq!(verdict(&program, &call), expected, "{call:x?}");
                }
                let neighbours = |number: u32| number.saturating_sub(1)..number + 2;
                let named = RULES.iter().map(|(_, numbers, _)| numbers[column]);
                for number in named.filter(|number| *number != NONE).flat_map(neighbours) {
                    for argument in arguments() {
                        for place in 0..6 {
                            let call = Call::new(architecture, number).with(place, argument);
                            assert_eq!(
                                verdict(&program, &call),
                                expected(column, init, &call),
                                "{call:x?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn numbers_of_the_table_are_those_of_the_c_library() {
    let column = match Machine::NATIVE {
        Machine::X86_64 => 0,
        Machine::Aarch64 => 2,
    };
    let seen = RULES
        .iter()
        .filter_map(|(name, numbers, _)| Some((name, numbers[column], native(name)?)));
    let mut count = 0;
    for (name, number, right) in seen {
        assert_eq!(number, right, "{name}");
        count += 1;
    }
    assert!(count > 15, "only {count} were compared");
}

#[test]
fn argument_in_the_high_half_neither_hides_nor_makes_a_denial() {
    for (machine, [(architecture, column), _]) in MACHINES {
        let program = program(true, machine);
        let numbers = |name| RULES.iter().find(|rule| rule.0 == name).unwrap().1;
        let seen = |name, place, argument| {
            let call = Call::new(architecture, numbers(name)[column]);
            verdict(&program, &call.with(place, argument))
        };
        // As the kernel reads them: vsock, a Unix socket, TIOCSTI, TIOCGWINSZ, pid 1.
        assert_eq!(seen("socket", 0, 1 << 32 | 40), EAFNOSUPPORT);
        assert_eq!(seen("socket", 0, 40 << 32 | 1), ALLOW);
        assert_eq!(seen("ioctl", 1, 0xdead_beef << 32 | 0x5412), EPERM);
        assert_eq!(seen("ioctl", 1, 0x5412 << 32 | 0x5413), ALLOW);
        assert_eq!(seen("prlimit64", 0, 1 << 32 | 1), EPERM);
    }
}

#[test]
fn socketcall_of_x86_makes_all_calls_but_new_sockets() {
    // net/socket.c refuses sub-calls below 1 and above 20, and takes 32 bits: there is no other number for the same work. But
    // the registers of a 64-bit program that enters by int 0x80 reach the filter with their high halves.
    let program = program(true, Machine::X86_64);
    for sub in 0..64 {
        for high in [0, 1 << 32, 0xffff_ffff << 32] {
            let call = Call::new(AUDIT_I386, 102).with(0, high | sub);
            let expected = if sub == 1 || sub == 8 { ENOSYS } else { ALLOW };
            assert_eq!(verdict(&program, &call), expected, "{call:x?}");
        }
    }
}

#[test]
fn x32_number_is_absent_whatever_it_means() {
    for policy in [builtin::default(true), builtin::strict(true)] {
        let program = compile(&policy, Machine::X86_64).program;
        for low in (0..600).chain([0x3fff_ffff]) {
            for bit in [0x4000_0000u32, 0x8000_0000, 0xc000_0000] {
                let call = Call::new(AUDIT_X86_64, low | bit);
                assert_eq!(verdict(&program, &call), ENOSYS, "{call:x?}");
            }
        }
    }
}

#[test]
fn foreign_architecture_kills() {
    for (machine, abis) in MACHINES {
        for policy in [builtin::default(true), builtin::strict(true)] {
            let program = compile(&policy, machine).program;
            for architecture in AUDITS {
                if abis.iter().any(|(own, _)| *own == architecture) {
                    continue;
                }
                for number in numbers() {
                    let call = Call::new(architecture, number);
                    assert_eq!(verdict(&program, &call), KILL, "{call:x?}");
                }
            }
        }
    }
}
