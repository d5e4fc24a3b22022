//! A second thread of a process, for a while.

use super::clone::{CloneArgs, Stack, clone3_into};
use super::raw;
use nix::libc::{self, c_int};
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of the thread in its pid namespace, which the next process is not to find taken; the largest that every namespace
/// allows (pid_namespaces(7), /proc/sys/kernel/pid_max).
static NUMBER: c_int = 300;

/// Runs `beside` in a thread of its own while `own` runs, or after it, where there can be no other thread. Both have the same
/// memory, descriptors, root and working directory. What belongs to a thread stays with the one that has it: namespaces,
/// credentials and filters.
///
/// `own` makes no call through the C library, whose errno is for the other one, and looks at nothing that that one writes; if it
/// does more, it does not return, and the other goes on until the process ends.
///
/// # References
/// clone3(2), CLONE_THREAD and CLONE_CHILD_CLEARTID
pub(crate) fn run_beside<T>(stack: Stack, beside: &mut dyn FnMut(), own: impl FnOnce() -> T) -> T {
    extern "C" fn enter(argument: *mut libc::c_void) -> ! {
        let beside: *mut &mut dyn FnMut() = argument.cast();
        // SAFETY: `argument` is the address of `beside` below, in a frame that is there as long as this thread is; nobody else
        // uses it.
        unsafe { (*beside)() }
        leave()
    }
    const SHARED: c_int = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_CHILD_CLEARTID;
    let mut beside = beside;
    let there = AtomicU32::new(1);
    let args = CloneArgs {
        flags: u64::from(SHARED.cast_unsigned()),
        child_tid: there.as_ptr().expose_provenance() as u64,
        set_tid: (&raw const NUMBER).expose_provenance() as u64,
        set_tid_size: 1,
        ..stack.arguments()
    };
    // SAFETY: `stack` is memory that only the new thread uses until it is gone, and as large as the building of a tree takes.
    // What both threads have in hand is told apart by what the two bodies are told above.
    let started = unsafe { clone3_into(&raw const args, enter, (&raw mut beside).cast()) } > 0;
    let result = own();
    if started {
        gone(&there);
    } else {
        beside();
    }
    result
}

/// Waits until the thread is gone. The kernel sets `there` to zero when the thread has no more use for the memory, and a little
/// later it no longer counts for the limits on processes.
///
/// # References
/// futex(2), tkill(2)
fn gone(there: &AtomicU32) {
    const FUTEX_WAIT: u64 = 0;
    let place = there.as_ptr().expose_provenance() as u64;
    while there.load(Ordering::Acquire) != 0 {
        // SAFETY: the place is a number of 32 bits, and without a time nothing else is read.
        let _woken = unsafe { raw::call(libc::SYS_futex, [place, FUTEX_WAIT, 1, 0]) };
    }
    let number = u64::from(NUMBER.cast_unsigned());
    // SAFETY: no memory is passed, and signal 0 is none.
    while unsafe { raw::call(libc::SYS_tkill, [number, 0, 0, 0]) }.is_ok() {
        // SAFETY: nothing is passed.
        let _yielded = unsafe { raw::call(libc::SYS_sched_yield, [0; 4]) };
    }
}

/// Ends this thread, and not the process.
fn leave() -> ! {
    loop {
        // SAFETY: it takes a number, and does not return.
        let _never = unsafe { raw::call(libc::SYS_exit, [0; 4]) };
    }
}
