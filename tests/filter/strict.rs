//! The `strict` filter. Its list is written once more from the other side: what is not let through, by name and number.
//! Every other call that exists must be.

use crate::builtin::{MACHINES, NONE, arguments, limits, of_limit};
use crate::interpreter::{ALLOW, Call, EAFNOSUPPORT, ENOSYS, EPERM, KILL, numbers, taken, verdict};
use crate::table::native;
use nix::libc;
use stdbox::policy::{Instruction, Machine, builtin, compile};

/// Name, number on x86_64 and on aarch64.
type Row = (&'static str, u32, u32);

/// What programs ask for in good faith: EPERM.
const REFUSED: [Row; 33] = [
    ("acct", 163, 89),
    ("chroot", 161, 51),
    ("clock_settime", 227, 112),
    ("fsconfig", 431, 431),
    ("fsmount", 432, 432),
    ("fsopen", 430, 430),
    ("fspick", 433, 433),
    ("ioperm", 173, NONE),
    ("iopl", 172, NONE),
    ("kcmp", 312, 272),
    ("mount", 165, 40),
    ("mount_setattr", 442, 442),
    ("move_mount", 429, 429),
    ("open_by_handle_at", 304, 265),
    ("open_tree", 428, 428),
    ("open_tree_attr", 467, 467),
    ("pidfd_getfd", 438, 438),
    ("pivot_root", 155, 41),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("ptrace", 101, 117),
    ("quotactl", 179, 60),
    ("quotactl_fd", 443, 443),
    ("setdomainname", 171, 162),
    ("sethostname", 170, 161),
    ("setns", 308, 268),
    ("settimeofday", 164, 170),
    ("swapoff", 168, 225),
    ("swapon", 167, 224),
    ("syslog", 103, 116),
    ("umount2", 166, 39),
    ("unshare", 272, 97),
    ("vhangup", 153, 58),
];

/// What need not exist: ENOSYS.
const GONE: [Row; 50] = [
    ("_sysctl", 156, NONE),
    ("add_key", 248, 217),
    ("afs_syscall", 183, NONE),
    ("bpf", 321, 280),
    ("clone3", 435, 435),
    ("create_module", 174, NONE),
    ("delete_module", 176, 106),
    ("epoll_ctl_old", 214, NONE),
    ("epoll_wait_old", 215, NONE),
    ("fanotify_init", 300, 262),
    ("fanotify_mark", 301, 263),
    ("finit_module", 313, 273),
    ("get_kernel_syms", 177, NONE),
    ("get_thread_area", 211, NONE),
    ("getpmsg", 181, NONE),
    ("init_module", 175, 105),
    ("io_uring_enter", 426, 426),
    ("io_uring_register", 427, 427),
    ("io_uring_setup", 425, 425),
    ("kexec_file_load", 320, 294),
    ("kexec_load", 246, 104),
    ("keyctl", 250, 219),
    ("listmount", 458, 458),
    ("lookup_dcookie", 212, 18),
    ("lsm_set_self_attr", 460, 460),
    ("mbind", 237, 235),
    ("migrate_pages", 256, 238),
    ("modify_ldt", 154, NONE),
    ("move_pages", 279, 239),
    ("nfsservctl", 180, 42),
    ("perf_event_open", 298, 241),
    ("putpmsg", 182, NONE),
    ("query_module", 178, NONE),
    ("reboot", 169, 142),
    ("request_key", 249, 218),
    ("security", 185, NONE),
    ("set_mempolicy", 238, 237),
    ("set_mempolicy_home_node", 450, 450),
    ("set_thread_area", 205, NONE),
    ("statmount", 457, 457),
    ("sysfs", 139, NONE),
    ("tuxcall", 184, NONE),
    ("uprobe", 336, NONE),
    ("uretprobe", 335, NONE),
    ("uselib", 134, NONE),
    ("userfaultfd", 323, 282),
    ("ustat", 136, NONE),
    ("vserver", 236, NONE),
    ("rseq_slice_yield", 471, 471),
    ("listns", 470, 470),
];

/// What depends on arguments.
#[derive(Clone, Copy)]
enum Rule {
    Clone,
    Ioctl,
    OfCore,
    OfInit,
    OfInitAndCore,
    OfMany(u64),
    Personality,
    Socket,
}

const CONDITIONAL: [(Row, Rule); 13] = [
    (("clone", 56, 220), Rule::Clone),
    (("ioctl", 16, 29), Rule::Ioctl),
    (("personality", 135, 92), Rule::Personality),
    (("ioprio_set", 251, 30), Rule::OfMany(3)),
    (("prlimit64", 302, 261), Rule::OfInitAndCore),
    (("setrlimit", 160, 164), Rule::OfCore),
    (("sched_setaffinity", 203, 122), Rule::OfInit),
    (("sched_setattr", 314, 274), Rule::OfInit),
    (("sched_setparam", 142, 118), Rule::OfInit),
    (("sched_setscheduler", 144, 119), Rule::OfInit),
    (("setpriority", 141, 140), Rule::OfMany(2)),
    (("socket", 41, 198), Rule::Socket),
    (("socketpair", 53, 199), Rule::Socket),
];

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET of linux/sched.h.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Numbers that are calls, from the kernel's tables: x86_64 up to rseq; aarch64 without the hole for the machine's own; from
/// pidfd_send_signal on all machines have the same.
fn exists(machine: Machine, number: u32) -> bool {
    let old = match machine {
        Machine::X86_64 => 0..=334,
        Machine::Aarch64 => 0..=293,
    };
    let hole = machine == Machine::Aarch64 && (244..=259).contains(&number);
    (old.contains(&number) && !hole) || (424..=469).contains(&number)
}

fn at(machine: Machine, row: &Row) -> u32 {
    match machine {
        Machine::X86_64 => row.1,
        Machine::Aarch64 => row.2,
    }
}

fn expected(machine: Machine, init: bool, call: &Call) -> u32 {
    let low = |i: usize| call.arguments[i] & 0xffff_ffff;
    let is = |row: &Row| at(machine, row) == call.number && call.number != NONE;
    if GONE.iter().any(is) {
        return ENOSYS;
    }
    if REFUSED.iter().any(is) {
        return EPERM;
    }
    let (wrong, error) = match CONDITIONAL.iter().find(|(row, _)| is(row)) {
        None if exists(machine, call.number) => return ALLOW,
        None => return ENOSYS,
        Some((_, Rule::Clone)) => {
            let flags = NAMESPACES.iter().fold(0, |all, flag| all | flag);
            (low(0) & u64::from(flags.cast_unsigned()) != 0, EPERM)
        }
        Some((_, Rule::Ioctl)) => (matches!(low(1), 0x540c | 0x5412 | 0x541c | 0x5423), EPERM),
        // With error 0 it seems to have been made.
        Some((_, Rule::OfCore)) => (low(0) == 4, 0x0005_0000),
        Some((_, Rule::OfInitAndCore)) => return of_limit(init, call, |i| call.arguments[i]),
        Some((_, Rule::OfInit)) => (init && low(0) == 1, EPERM),
        Some((_, Rule::OfMany(user))) => (init && (low(1) == 1 || low(0) == *user), EPERM),
        // Also the question which one it is.
        Some((_, Rule::Personality)) => (
            ![0, 8, 0x0002_0000, 0x0002_0008, 0xffff_ffff].contains(&low(0)),
            ENOSYS,
        ),
        Some((_, Rule::Socket)) => (![1, 2, 10, 16].contains(&low(0)), EAFNOSUPPORT),
    };
    if wrong { error } else { ALLOW }
}

fn program(init: bool, machine: Machine) -> Vec<Instruction> {
    let compiled = compile(&builtin::strict(init), machine);
    assert!(compiled.starts && compiled.unknown.is_empty());
    taken(&compiled.program);
    compiled.program
}

/// Every bit of a flag word alone, all namespaces at once, what C libraries use for threads and for fork, personalities.
fn words() -> Vec<u64> {
    let threads = 0x003d_0f00;
    let fork = 0x0120_0011;
    let vfork = 0x4111;
    let mut words = arguments();
    words.extend((0..64).map(|bit| 1 << bit));
    for high in [0, 1 << 32, 0xffff_ffff << 32] {
        words.extend([threads, fork, vfork, 0x7e02_0000].map(|flags| high | flags));
        words.extend([8, 9, 0x0002_0000, 0x0002_0008, 0x0004_0000].map(|p| high | p));
        words.extend(NAMESPACES.map(|flag| high | fork | u64::from(flag.cast_unsigned())));
    }
    words
}

#[test]
fn every_number_gets_the_verdict_of_the_table() {
    for (machine, [(architecture, _), (compat, _)]) in MACHINES {
        for init in [false, true] {
            let program = program(init, machine);
            for number in numbers() {
                let call = Call::new(architecture, number);
                let seen = verdict(&program, &call);
                assert_eq!(
                    seen,
                    expected(machine, init, &call),
                    "{machine:?} {number:#x}"
                );
                let call = Call::new(compat, number);
                assert_eq!(verdict(&program, &call), KILL, "{call:x?}");
            }
            let words = words();
            for (row, _) in &CONDITIONAL {
                for &word in &words {
                    for place in 0..6 {
                        let call = Call::new(architecture, at(machine, row)).with(place, word);
                        assert_eq!(
                            verdict(&program, &call),
                            expected(machine, init, &call),
                            "{} {call:x?}",
                            row.0
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn limit_of_core_dumps_can_be_asked_for_and_not_set() {
    for (machine, [(architecture, _), _]) in MACHINES {
        for init in [false, true] {
            let program = program(init, machine);
            for (row, _) in CONDITIONAL
                .iter()
                .filter(|(row, _)| row.0.contains("rlimit"))
            {
                for [a, b, c, d] in limits() {
                    let mut call = Call::new(architecture, at(machine, row));
                    call.arguments = [a, b, c, d, 0, 0];
                    let expected = expected(machine, init, &call);
                    assert_eq!(verdict(&program, &call), expected, "{call:x?}");
                }
            }
        }
    }
}

#[test]
fn what_is_denied_is_denied_whatever_its_arguments() {
    for (machine, [(architecture, _), _]) in MACHINES {
        let program = program(true, machine);
        let denied = GONE.iter().chain(&REFUSED).map(|row| at(machine, row));
        for number in denied.filter(|number| *number != NONE) {
            for argument in arguments() {
                let mut call = Call::new(architecture, number);
                call.arguments = [argument; 6];
                assert_ne!(verdict(&program, &call), ALLOW, "{call:x?}");
            }
        }
    }
}

#[test]
fn numbers_of_the_table_are_those_of_the_c_library() {
    let rows = GONE
        .iter()
        .chain(&REFUSED)
        .chain(CONDITIONAL.iter().map(|(row, _)| row));
    let mut count = 0;
    for row in rows {
        if let Some(number) = native(row.0) {
            assert_eq!(at(Machine::NATIVE, row), number, "{}", row.0);
            count += 1;
        }
    }
    assert!(count > 45, "only {count} were compared");
}
