//! Processes, their privileges and their signals.

use super::{as_fd, check};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_uint, c_ulong};
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::ptr;
use stdbox::capability::Capabilities;
use stdbox::plan::Filter;
use stdbox::policy::Instruction;
use stdbox::wire::Rusage;

/// Enters a user namespace, in which this process then has every capability.
///
/// # References
/// setns(2)
pub(crate) fn enter_user_namespace(namespace: c_int) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::setns(namespace, libc::CLONE_NEWUSER) }.into()).map(drop)
}

/// The pid of this process in its own pid namespace.
///
/// # References
/// getpid(2)
pub(crate) fn own_pid() -> c_int {
    // SAFETY: no memory is passed, and the call cannot fail.
    unsafe { libc::getpid() }
}

/// Leaves these namespaces for new ones.
///
/// # References
/// unshare(2)
pub(crate) fn unshare(namespaces: c_int) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::unshare(namespaces) }.into()).map(drop)
}

/// Leaves without running anything.
///
/// # References
/// _exit(2)
pub(crate) fn exit(status: c_int) -> ! {
    // SAFETY: nothing is run and nothing is returned to.
    unsafe { libc::_exit(status) }
}

/// Leaves with status 1, whatever filter this process is under: where both calls are denied, by a fault.
///
/// # References
/// _exit(2), exit_group(2)
pub(crate) fn leave() -> ! {
    // SAFETY: it takes a number, and does not return unless it is denied.
    unsafe { libc::syscall(libc::SYS_exit_group, 1) };
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_exit, 1) };
    std::process::abort()
}

/// CLOCK_MONOTONIC
///
/// # References
/// clock_gettime(2)
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` has room for what is written.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn prctl(option: c_int, a: c_ulong, b: c_ulong) -> Result<c_int, Errno> {
    // SAFETY: none of the options used here takes a pointer.
    let result = unsafe { libc::prctl(option, a, b, 0 as c_ulong, 0 as c_ulong) };
    check(result.into()).map(|_| result)
}

fn at_parents_death(signal: c_int) -> Result<(), Errno> {
    prctl(
        libc::PR_SET_PDEATHSIG,
        c_ulong::from(signal.cast_unsigned()),
        0,
    )
    .map(drop)
}

/// Dies when the parent does.
///
/// # References
/// PR_SET_PDEATHSIG(2const)
pub(crate) fn die_with_parent() -> Result<(), Errno> {
    at_parents_death(libc::SIGKILL)
}

/// Dies when this parent does, also if it has done so already.
pub(crate) fn die_with(parent: c_int) -> Result<(), Errno> {
    told_of_death(parent, libc::SIGKILL)
}

/// Gets a signal when this parent dies; an error if it has died already.
///
/// # References
/// PR_SET_PDEATHSIG(2const), getppid(2)
pub(crate) fn told_of_death(parent: c_int, signal: c_int) -> Result<(), Errno> {
    at_parents_death(signal)?;
    // SAFETY: no memory is passed, and the call cannot fail.
    if unsafe { libc::getppid() } == parent {
        Ok(())
    } else {
        Err(Errno::ESRCH)
    }
}

/// Keeps other processes of the same user from reading, writing or tracing this one.
///
/// # References
/// PR_SET_DUMPABLE(2const)
pub(crate) fn set_undumpable() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

/// Gives the files of the process in /proc to its owner, for a moment.
///
/// # References
/// PR_SET_DUMPABLE(2const)
pub(crate) fn set_dumpable() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, 1, 0).map(drop)
}

/// # References
/// PR_SET_NO_NEW_PRIVS(2const)
pub(crate) fn set_no_new_privileges() -> Result<(), Errno> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// What a change of user ids does to capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Setuid {
    /// Nothing: there is but one id.
    Nothing,
    /// Who is no longer uid 0 has none any more, unless it asked to keep them: capabilities(7), "Effect of user ID changes on
    /// capabilities". Programs that give up privileges rely on it.
    DropsCapabilities,
}

/// No uid gives capabilities any more, and none of this can be undone: SECBIT_NOROOT and SECBIT_NO_CAP_AMBIENT_RAISE, each
/// with its lock; SECBIT_NO_SETUID_FIXUP, where a change of ids has no effect, with its lock in any case, and the lock of
/// SECBIT_KEEP_CAPS.
///
/// # References
/// capabilities(7), "The securebits flags"
pub(crate) fn lock_securebits(setuid: Setuid) -> Result<(), Errno> {
    let locked: c_ulong = match setuid {
        Setuid::Nothing => 0b1110_1111,
        Setuid::DropsCapabilities => 0b1100_1011,
    };
    prctl(libc::PR_SET_SECUREBITS, locked, 0).map(drop)
}

/// Empties the bounding set but for these, and the ambient set.
///
/// # References
/// PR_CAPBSET_DROP(2const), PR_CAP_AMBIENT_CLEAR_ALL(2const)
pub(crate) fn empty_bounding_set(kept: Capabilities) -> Result<(), Errno> {
    for capability in (0..64).filter(|number| kept.bits() >> number & 1 == 0) {
        match prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            Ok(_) => {}
            // The first number that the kernel does not know.
            Err(Errno::EINVAL) if capability > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    prctl(
        libc::PR_CAP_AMBIENT,
        4, /* PR_CAP_AMBIENT_CLEAR_ALL */
        0,
    )
    .map(drop)
}

/// Makes these all that the permitted, effective and inheritable set have.
///
/// # References
/// capset(2)
pub(crate) fn limit_capabilities(kept: Capabilities) -> Result<(), Errno> {
    set_capabilities(kept, kept, kept)
}

/// Puts these aside, all others are gone: no call can use them until they are taken up.
///
/// # References
/// capset(2), capabilities(7), "Thread capability sets"
pub(crate) fn put_aside(kept: Capabilities) -> Result<(), Errno> {
    let none = Capabilities::default();
    set_capabilities(none, kept, none)
}

/// Takes up capabilities that were put aside.
///
/// # References
/// capset(2)
pub(crate) fn take_up(kept: Capabilities) -> Result<(), Errno> {
    set_capabilities(kept, kept, Capabilities::default())
}

/// Lets `execve` pass these on to a program that has none of its own.
///
/// # References
/// capabilities(7), PR_CAP_AMBIENT_RAISE(2const)
pub(crate) fn raise_ambient(kept: Capabilities) -> Result<(), Errno> {
    // CAP_SETPCAP is still needed, for the securebits.
    const SETPCAP: Capabilities = Capabilities::SETPCAP;
    let permitted = kept.with(SETPCAP);
    set_capabilities(permitted, permitted, kept)?;
    for capability in (0..64).filter(|number| kept.bits() >> number & 1 == 1) {
        prctl(
            libc::PR_CAP_AMBIENT,
            2, /* PR_CAP_AMBIENT_RAISE */
            capability,
        )?;
    }
    Ok(())
}

fn set_capabilities(
    effective: Capabilities,
    permitted: Capabilities,
    inheritable: Capabilities,
) -> Result<(), Errno> {
    // _LINUX_CAPABILITY_VERSION_3 and pid 0, this thread; then the effective, permitted and inheritable set, first their low
    // 32 bits.
    let header: [u32; 2] = [0x2008_0522, 0];
    let halves = |set: Capabilities| [set.bits() & 0xffff_ffff, set.bits() >> 32];
    let [[e, high_e], [p, high_p], [i, high_i]] = [effective, permitted, inheritable].map(halves);
    let data = [e, p, i, high_e, high_p, high_i];
    let data = data.map(|half| u32::try_from(half).unwrap_or(0));
    // SAFETY: both arrays have the layout and size that version 3 asks for.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// # References
/// setpgid(2)
pub(crate) fn new_process_group() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::setpgid(0, 0) }.into()).map(drop)
}

/// # References
/// setsid(2)
pub(crate) fn new_session() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::setsid() }.into()).map(drop)
}

/// Leaves the keyring of the caller's session, whose keys this process could use, for a new and empty one. There is nothing
/// to leave where the kernel has no keys, or a filter around stdbox denies the call, to the target as well.
///
/// # References
/// KEYCTL_JOIN_SESSION_KEYRING(2const), session-keyring(7)
pub(crate) fn new_session_keyring() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: c_long = 1;
    const PAUSE_NS: u64 = 10_000_000;
    let anonymous = ptr::null::<c_char>();
    let mut tries = 0;
    loop {
        // SAFETY: without a name nothing is read.
        let joined =
            check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) });
        match joined {
            Ok(_) | Err(Errno::ENOSYS | Errno::EPERM) => return Ok(()),
            // Keyrings of jobs that have just ended count until the kernel gets round to them.
            Err(Errno::EDQUOT) if tries < 100 => {
                super::fd::poll(&mut [], Some(PAUSE_NS))?;
                tries += 1;
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// # References
/// umask(2)
pub(crate) fn umask(mask: u32) -> u32 {
    // SAFETY: no memory is passed, and the call cannot fail.
    unsafe { libc::umask(mask) }
}

/// # References
/// chdir(2)
pub(crate) fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL and outlives the call.
    check(unsafe { libc::chdir(path.as_ptr()) }.into()).map(drop)
}

/// # References
/// fchdir(2)
pub(crate) fn fchdir(fd: c_int) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::fchdir(fd) }.into()).map(drop)
}

/// # References
/// sethostname(2)
pub(crate) fn set_hostname(name: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes as the string has.
    check(unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) }.into()).map(drop)
}

/// Sets a limit, soft and hard; returns what it was.
///
/// # References
/// prlimit(2)
pub(crate) fn set_limit(resource: c_uint, limits: Option<(u64, u64)>) -> Result<(u64, u64), Errno> {
    let new = limits.map(|(soft, hard)| [soft, hard]);
    let mut old = [0u64; 2];
    let new = new.as_ref().map_or(ptr::null(), |limits| limits.as_ptr());
    // SAFETY: `new` is null or two 64-bit limits, and `old` has room for two, which is the layout of `struct rlimit64`.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, new, old.as_mut_ptr()) })?;
    let [soft, hard] = old;
    Ok((soft, hard))
}

/// All signals whose action can be changed, each as the bit below its number.
pub(crate) const SIGNALS: u64 = !(1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1));

/// Those that tell stdbox to stop.
const STOP_SIGNALS: u64 =
    1 << (libc::SIGTERM - 1) | 1 << (libc::SIGINT - 1) | 1 << (libc::SIGHUP - 1);

fn numbers(signals: u64) -> impl Iterator<Item = c_int> {
    (1..=64).filter(move |number| signals >> (number - 1) & 1 == 1)
}

/// Those that have another action than their default, or may have.
///
/// # References
/// sigaction(2)
pub(crate) fn changed_signals() -> u64 {
    let changed = |number: &c_int| {
        let new = ptr::null::<usize>();
        let mut old = [usize::MAX; 8];
        // SAFETY: `old` is longer than the kernel's structure, whose mask has eight bytes; nothing is changed.
        let _unknown =
            unsafe { libc::syscall(libc::SYS_rt_sigaction, *number, new, old.as_mut_ptr(), 8) };
        old.first() != Some(&libc::SIG_DFL)
    };
    let bits = numbers(SIGNALS)
        .filter(changed)
        .map(|number| 1 << (number - 1));
    bits.fold(0, |all: u64, bit| all | bit)
}

/// Gives these signals their default action and lets all through.
///
/// # References
/// sigaction(2), sigprocmask(2)
pub(crate) fn reset_signals(changed: u64) -> Result<(), Errno> {
    // `struct sigaction` of the kernel: handler, flags, restorer, mask. All-zero is SIG_DFL without flags.
    let default = [0usize; 8];
    for signal in numbers(changed & SIGNALS) {
        let old = ptr::null::<usize>();
        // SAFETY: `default` is longer than the kernel's structure, whose mask has eight bytes; nothing is written back.
        check(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, 8) })?;
    }
    let none = 0u64;
    let old = ptr::null::<u64>();
    // SAFETY: the set has the eight bytes that are announced; nothing is written back.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            old,
            8,
        )
    })
    .map(drop)
}

/// Keeps every signal waiting, for [`wait_signal`] or a signalfd.
///
/// # References
/// sigprocmask(2)
pub(crate) fn block_signals() -> Result<(), Errno> {
    let all = u64::MAX;
    let old = ptr::null::<u64>();
    // SAFETY: the set has the eight bytes that are announced; nothing is written back.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const all,
            old,
            8,
        )
    })
    .map(drop)
}

/// Waits for the next blocked signal, with a time-out until EAGAIN; says which, and whether it surely came from outside this
/// pid namespace.
///
/// # References
/// sigtimedwait(2)
pub(crate) fn wait_signal(timeout_ns: Option<u64>) -> Result<(c_int, bool), Errno> {
    let all = u64::MAX;
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let time = timeout_ns.map(super::fd::timespec);
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the set has the eight bytes that are announced, `info` has room for the structure that is written, and `time`
    // is null or a `timespec`.
    let signal = check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const all,
            info.as_mut_ptr(),
            time,
            8,
        )
    })?;
    // SAFETY: all-zero bytes are a valid `siginfo_t`, and the kernel has filled it in.
    let info = unsafe { info.assume_init() };
    // SAFETY: every kind of signal information has its first numbers at the same place, and any number is a valid pid.
    let sender = unsafe { info.si_pid() };
    // A sender outside the namespace has no pid in it. rt_sigqueueinfo(2) lets the sender fill the information in, but not
    // with this code, which stands for kill(2) and its kin.
    let outside = info.si_code == libc::SI_USER && sender == 0;
    Ok((c_int::try_from(signal).unwrap_or(0), outside))
}

/// Children are not reaped behind this process's back, whatever it inherited.
///
/// # References
/// sigaction(2), "SIGCHLD"
pub(crate) fn keep_children() -> Result<(), Errno> {
    let default = [0usize; 8];
    let old = ptr::null::<usize>();
    // SAFETY: `default` is longer than the kernel's structure, whose mask has eight bytes; nothing is written back.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            libc::SIGCHLD,
            default.as_ptr(),
            old,
            8,
        )
    })
    .map(drop)
}

/// Lets a write to a pipe that nobody reads fail, instead of ending this process.
///
/// # References
/// sigaction(2), "SIGPIPE"
pub(super) fn ignore_broken_pipes() {
    // SAFETY: no function is called by this action.
    let _former = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// A descriptor that gives the blocked signals among SIGTERM, SIGINT and SIGHUP.
///
/// # References
/// signalfd(2)
pub(crate) fn stop_signals() -> Result<c_int, Errno> {
    let set = STOP_SIGNALS;
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set has the eight bytes that are announced.
    as_fd(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set, 8, flags) })
}

/// Whether one of those waits.
///
/// # References
/// sigpending(2)
pub(crate) fn told_to_stop() -> bool {
    let mut pending = 0u64;
    // SAFETY: the set has room for the eight bytes that are announced.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, 8) };
    done == 0 && pending & STOP_SIGNALS != 0
}

/// # References
/// kill(2)
pub(crate) fn kill(pid: c_int, signal: c_int) {
    // SAFETY: no memory is passed; who cannot be signalled is gone already.
    let _ = unsafe { libc::kill(pid, signal) };
}

/// Signals a child that was not waited for yet. So its pid is nobody else's, and will do where a filter hides the call
/// for descriptors: a job that cannot be ended would be worse.
///
/// # References
/// pidfd_send_signal(2), kill(2)
pub(crate) fn signal_child(pid: c_int, pidfd: c_int, signal: c_int) -> Result<(), Errno> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: without information the kernel fills in its own.
    match check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, none, 0) }) {
        Err(Errno::ENOSYS) => {
            kill(pid, signal);
            Ok(())
        }
        sent => sent.map(drop),
    }
}

pub(super) fn nanoseconds(time: libc::timeval) -> u64 {
    let count = |value: c_long| u64::try_from(value).unwrap_or(0);
    count(time.tv_sec) * 1_000_000_000 + count(time.tv_usec) * 1000
}

/// Waits for a child, or with pid -1 for any that has ended already; says which and how.
///
/// # References
/// wait4(2)
pub(crate) fn wait(pid: c_int) -> Result<Option<(c_int, c_int, Rusage)>, Errno> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let options = if pid == -1 {
        libc::WNOHANG | libc::__WALL
    } else {
        libc::__WALL
    };
    // SAFETY: both places have room for what is written.
    let ended =
        check(unsafe { libc::wait4(pid, &raw mut status, options, usage.as_mut_ptr()) }.into())?;
    if ended == 0 {
        return Ok(None);
    }
    // SAFETY: all-zero bytes are a valid `rusage`, and the kernel has filled it in.
    let usage = unsafe { usage.assume_init() };
    let count = |value: c_long| u64::try_from(value).unwrap_or(0);
    let rusage = Rusage {
        user_ns: nanoseconds(usage.ru_utime),
        system_ns: nanoseconds(usage.ru_stime),
        max_rss_bytes: count(usage.ru_maxrss) * 1024,
        minor_faults: count(usage.ru_minflt),
        major_faults: count(usage.ru_majflt),
        block_reads: count(usage.ru_inblock),
        block_writes: count(usage.ru_oublock),
        voluntary_switches: count(usage.ru_nvcsw),
        involuntary_switches: count(usage.ru_nivcsw),
    };
    Ok(Some((c_int::try_from(ended).unwrap_or(-1), status, rusage)))
}

/// Takes a child away if it has ended already; says whether it is gone.
///
/// # References
/// waitpid(2)
pub(crate) fn reap_ended(pid: c_int) -> bool {
    // SAFETY: the status is not asked for.
    let ended = unsafe { libc::waitpid(pid, ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
    ended != 0
}

/// Waits until some child has ended.
///
/// # References
/// waitpid(2)
pub(crate) fn wait_for_any() -> Result<(), Errno> {
    // SAFETY: the status is not asked for.
    check(unsafe { libc::waitpid(-1, ptr::null_mut(), libc::__WALL) }.into()).map(drop)
}

/// Installs a filter. With SECCOMP_FILTER_FLAG_SPEC_ALLOW the target is not slowed by speculation barriers.
///
/// # References
/// seccomp(2)
pub(crate) fn install_filter(filter: &Filter) -> Result<(), Errno> {
    const SET_MODE_FILTER: c_uint = 1;
    const LOG: c_uint = 1 << 1;
    const SPEC_ALLOW: c_uint = 1 << 2;
    let flags = [
        (filter.flags.log, LOG),
        (filter.flags.spec_allow, SPEC_ALLOW),
    ];
    let flags = flags
        .iter()
        .filter(|(wanted, _)| *wanted)
        .fold(0, |all, (_, flag)| all | flag);
    let program = &filter.program;
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const Instruction,
    }
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = Program {
        length,
        filter: program.as_ptr(),
    };
    // SAFETY: `Program` and `Instruction` have the layout of `sock_fprog` and `sock_filter`, and outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })
    .map(drop)
}

/// Null-terminated arrays of pointers, made before the fork.
#[derive(Debug)]
pub(crate) struct Pointers(Vec<*const c_char>);

impl Pointers {
    pub(crate) fn new(strings: &[CString]) -> Self {
        Self(
            strings
                .iter()
                .map(|string| string.as_ptr())
                .chain([ptr::null()])
                .collect(),
        )
    }
}

/// Replaces the program; returns only the error.
///
/// # References
/// execve(2)
pub(crate) fn execute(path: &CStr, argv: &Pointers, envp: &Pointers) -> Errno {
    // SAFETY: the arrays end in null and point into strings of the plan, which is alive until the program is replaced.
    unsafe { libc::execve(path.as_ptr(), argv.0.as_ptr(), envp.0.as_ptr()) };
    Errno::last()
}
