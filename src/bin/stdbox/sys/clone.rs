//! New processes.

use super::check;
use super::process::leave;
use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};
use stdbox::plan::Namespace;

/// `struct clone_args` of clone3(2), as of Linux 5.7.
#[repr(C, align(8))]
#[derive(Default)]
pub(super) struct CloneArgs {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

const SYS_CLONE3: c_long = 435;

/// The flags that make such namespaces.
pub(crate) fn flags(namespaces: impl Iterator<Item = Namespace>) -> c_int {
    let flag = |namespace| match namespace {
        Namespace::User => libc::CLONE_NEWUSER,
        Namespace::Mount => libc::CLONE_NEWNS,
        Namespace::Pid => libc::CLONE_NEWPID,
        Namespace::Ipc => libc::CLONE_NEWIPC,
        Namespace::Uts => libc::CLONE_NEWUTS,
        Namespace::Network => libc::CLONE_NEWNET,
        Namespace::Cgroup => libc::CLONE_NEWCGROUP,
    };
    namespaces.map(flag).fold(0, |all, one| all | one)
}

/// Makes a process with a copy of this one's memory. Returns 0 in the child, its pid and pidfd in the parent.
///
/// # References
/// clone3(2)
pub(crate) fn copying(namespaces: c_int) -> Result<(c_int, c_int), Errno> {
    let mut pidfd: c_int = -1;
    let mut args = CloneArgs {
        flags: u64::from((namespaces | libc::CLONE_PIDFD).cast_unsigned()),
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        ..CloneArgs::default()
    };
    // SAFETY: `args` has the size that is passed and `pidfd` has room for a descriptor. Memory and stack are copied, not
    // shared, and this process has one thread, so no lock can be held in the copy.
    let pid = check(unsafe { libc::syscall(SYS_CLONE3, &raw mut args, size_of::<CloneArgs>()) })?;
    Ok((c_int::try_from(pid).unwrap_or(-1), pidfd))
}

/// Makes a process with a copy of this one's memory that is a child of this one's parent. Returns 0 in the new one, else its
/// pid.
///
/// # References
/// clone3(2), CLONE_PARENT
pub(crate) fn sibling() -> Result<c_int, Errno> {
    let args = CloneArgs {
        flags: u64::from(libc::CLONE_PARENT.cast_unsigned()),
        // The signal at its end is that at the end of this process.
        exit_signal: 0,
        ..CloneArgs::default()
    };
    // SAFETY: `args` has the size that is passed. Memory and stack are copied, not shared, and this process has one thread,
    // so no lock can be held in the copy.
    let pid = check(unsafe { libc::syscall(SYS_CLONE3, &raw const args, size_of::<CloneArgs>()) })?;
    Ok(c_int::try_from(pid).unwrap_or(-1))
}

/// Memory that becomes a process's stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    start: *mut u128,
    bytes: usize,
}

impl Stack {
    /// Sixteen-byte alignment is what every supported ABI asks of a stack.
    pub(crate) fn of(memory: &mut [u128]) -> Self {
        Self {
            start: memory.as_mut_ptr(),
            bytes: size_of_val(memory),
        }
    }

    /// What a new process or thread is told of it.
    pub(super) fn arguments(self) -> CloneArgs {
        CloneArgs {
            stack: self.start.expose_provenance() as u64,
            stack_size: self.bytes as u64,
            ..CloneArgs::default()
        }
    }
}

/// Makes a process that runs `body` in this process's memory, and waits until it has replaced its program or has ended;
/// that happens in `body`. It starts in the control group with this directory, if one is given.
/// Returns its pid.
///
/// # References
/// clone3(2), CLONE_VM, CLONE_VFORK and CLONE_INTO_CGROUP
pub(crate) fn sharing(
    namespaces: c_int,
    cgroup: Option<c_int>,
    stack: Stack,
    body: &mut dyn FnMut(),
) -> Result<c_int, Errno> {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    extern "C" fn enter(argument: *mut libc::c_void) -> ! {
        let body: *mut &mut dyn FnMut() = argument.cast();
        // SAFETY: `argument` is the address of `body` below, which waits in its caller's frame; nobody else uses it.
        unsafe { (*body)() }
        leave()
    }
    let mut body = body;
    let sharing = namespaces | libc::CLONE_VM | libc::CLONE_VFORK;
    let into = cgroup.and_then(|fd| u64::try_from(fd).ok());
    let args = CloneArgs {
        flags: u64::from(sharing.cast_unsigned()) | into.map_or(0, |_| CLONE_INTO_CGROUP),
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        cgroup: into.unwrap_or(0),
        ..stack.arguments()
    };
    // SAFETY: `stack` is memory that only the new process uses, and large enough for the straight line of calls in
    // `child/target.rs`, or for the walks in `collect/`, which do not recurse. This process does not run until the other one
    // has left the shared memory, so neither sees the other change anything.
    let result = unsafe { clone3_into(&raw const args, enter, (&raw mut body).cast()) };
    match c_int::try_from(result) {
        Ok(pid) if pid > 0 => Ok(pid),
        Ok(negative) => Err(Errno::from_raw(-negative)),
        Err(_) => Err(Errno::EINVAL),
    }
}

/// clone3(2) for a process on a stack of its own, which goes on in `enter`; no function of the C library makes this call.
/// Returns the pid, or the negative error number.
///
/// # Safety
/// `args` names a stack that is free, with an end that is aligned to sixteen bytes; what `enter` does with the memory that it
/// may share with this process is the caller's to answer for.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone3_into(
    args: *const CloneArgs,
    enter: extern "C" fn(*mut libc::c_void) -> !,
    argument: *mut libc::c_void,
) -> c_long {
    let result;
    // SAFETY: as the caller promises. In this process only rax, rcx and r11 change (syscall(2)); the new one, whose registers
    // are otherwise the same, never comes to the end of the block.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") SYS_CLONE3 => result,
            in("rdi") args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") enter,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// The same.
///
/// # Safety
/// The same.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn clone3_into(
    args: *const CloneArgs,
    enter: extern "C" fn(*mut libc::c_void) -> !,
    argument: *mut libc::c_void,
) -> c_long {
    let result;
    // SAFETY: as the caller promises. In this process only x0 changes (syscall(2)); the new one, whose registers are otherwise
    // the same, never comes to the end of the block.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            inlateout("x0") args => result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") SYS_CLONE3,
            in("x20") argument,
            in("x21") enter,
        );
    }
    result
}
