//! A tripwire for debug builds: after `clone3` the child must not touch the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

static ARMED: AtomicBool = AtomicBool::new(false);

/// The system's allocator, which ends the process once it is armed.
#[derive(Debug)]
pub(crate) struct Tripwire;

/// From now on, every use of the heap in this process is fatal. In release builds nothing looks at it.
pub(crate) fn arm() {
    ARMED.store(true, Ordering::Relaxed);
}

fn tripped() {
    if ARMED.load(Ordering::Relaxed) {
        let _ = super::fd::write(2, b"stdbox: heap used between fork and exec\n");
        super::process::exit(99);
    }
}

// SAFETY: every call goes on to `System` unchanged, or the process ends.
unsafe impl GlobalAlloc for Tripwire {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        tripped();
        // SAFETY: the caller keeps the contract of `alloc`, which is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        tripped();
        // SAFETY: the caller keeps the contract of `dealloc`, and `place` came from `System`.
        unsafe { System.dealloc(place, layout) }
    }
}
