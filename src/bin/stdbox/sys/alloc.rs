//! The heap of a process that lives for one job.
//!
//! Reading, checking and planning a job makes some thousands of small values, most of which live until the end. From the C
//! library's allocator, which maps and unmaps single pages for them, they cost more than all the work done with them; here
//! they are cut off a fixed arena one after the other. What is large, or does not fit any more, comes from the C library and
//! goes back to it, so the waiting process holds no more than before.
//!
//! Debug builds have a tripwire too: after `clone3` the child must not touch the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const ARENA: usize = 256 << 10;

/// What is not small: buffers, listings and inputs that should be given back.
const LARGE: usize = 8 << 10;

/// The allocator of the whole program.
#[derive(Debug)]
pub(crate) struct Heap {
    arena: Place,
    used: AtomicUsize,
    armed: AtomicBool,
}

#[derive(Debug)]
#[repr(align(64))]
struct Place(UnsafeCell<[u8; ARENA]>);

// SAFETY: no reference into the array is ever made; each byte is handed out to one owner at a time, by `used`.
unsafe impl Sync for Place {}

#[global_allocator]
static HEAP: Heap = Heap {
    arena: Place(UnsafeCell::new([0; ARENA])),
    used: AtomicUsize::new(0),
    armed: AtomicBool::new(false),
};

/// From now on, in debug builds, every use of the heap in this process is fatal.
pub(crate) fn arm() {
    HEAP.armed.store(true, Ordering::Relaxed);
}

impl Heap {
    fn tripwire(&self) {
        if cfg!(debug_assertions) && self.armed.load(Ordering::Relaxed) {
            let _closed = super::fd::write(2, b"stdbox: heap used between fork and exec\n");
            super::process::exit(99);
        }
    }

    fn start(&self) -> *mut u8 {
        self.arena.0.get().cast()
    }

    /// Where in the arena a value lies; `None` if it came from the system.
    fn offset(&self, place: *mut u8) -> Option<usize> {
        place
            .addr()
            .checked_sub(self.start().addr())
            .filter(|&offset| offset < ARENA)
    }

    /// Moves the end of what is used, if it still is where it was seen.
    fn moves(&self, from: usize, to: usize) -> bool {
        self.used
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

// SAFETY: a value lies either in the part of the arena between two positions of `used`, which only its owner can move back,
// or in memory of `System`; which of them is told by its address. The arena is aligned to 64 bytes, and what wants more, or
// does not fit, is left to `System`.
unsafe impl GlobalAlloc for Heap {
    // Inlined at every place that allocates, these would be a tenth of the program.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.tripwire();
        if layout.size() < LARGE && layout.align() <= 64 {
            let used = self.used.load(Ordering::Relaxed);
            let from = used.next_multiple_of(layout.align());
            if from + layout.size() <= ARENA && self.moves(used, from + layout.size()) {
                return self.start().wrapping_add(from);
            }
        }
        // SAFETY: the caller keeps the contract of `alloc`, which is passed on.
        unsafe { System.alloc(layout) }
    }

    // What is large is new from the kernel, and zero without being touched.
    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE {
            self.tripwire();
            // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is passed on.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        let place = unsafe { self.alloc(layout) };
        if !place.is_null() {
            // SAFETY: the place has at least as many bytes.
            unsafe { place.write_bytes(0, layout.size()) };
        }
        place
    }

    #[inline(never)]
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        self.tripwire();
        match self.offset(place) {
            // Only the last value can be given back; the others stay until the end.
            Some(offset) => {
                self.moves(offset + layout.size(), offset);
            }
            // SAFETY: the caller keeps the contract of `dealloc`, and `place` came from `System`.
            None => unsafe { System.dealloc(place, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.tripwire();
        let Some(offset) = self.offset(place) else {
            // SAFETY: the caller keeps the contract of `realloc`, and `place` came from `System`.
            return unsafe { System.realloc(place, layout, size) };
        };
        if size < LARGE
            && offset + size <= ARENA
            && self.moves(offset + layout.size(), offset + size)
        {
            return place;
        }
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
            return std::ptr::null_mut();
        };
        // SAFETY: the new layout has the caller's size, which is not zero.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both places hold at least the smaller size, and a fresh one overlaps no other.
            unsafe { std::ptr::copy_nonoverlapping(place, moved, layout.size().min(size)) };
        }
        moved
    }
}
