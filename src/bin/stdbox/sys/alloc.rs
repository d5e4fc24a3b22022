//! The heap of a process that lives for one job.
//!
//! Reading, checking and planning a job makes some thousands of small values, most of which live until the end. From the C
//! library's allocator, which maps and unmaps single pages for them, they cost more than all the work done with them; here
//! they are cut off a fixed arena one after the other, and so are the buffers of a job that runs: memory that is not touched
//! is none, and an ordinary job never asks the kernel for more. What is larger, or does not fit any more, comes from the C
//! library and goes back to it, so the waiting process holds no more than before.
//!
//! Debug builds have a tripwire too: after `clone3` the child must not touch the heap.

use super::pages::{self, PAGE};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// With what is counted, whole pages.
const ARENA: usize = (512 << 10) - BEFORE;

/// How much of the first page is not the arena's.
const BEFORE: usize = 64;

const _: () = assert!(std::mem::offset_of!(Heap, arena) == BEFORE);

/// What is not small: listings and inputs that should be given back.
const LARGE: usize = 128 << 10;

/// Such a buffer, or stack, is cut off the end of the arena, zeroed: most of it is never touched, and what comes after it lies in
/// the pages that are in use.
const BUFFER: usize = 32 << 10;

/// The allocator of the whole program. What it counts lies before the arena, in the page with which every job begins.
#[derive(Debug)]
#[repr(C, align(4096))]
pub(crate) struct Heap {
    used: AtomicUsize,
    /// The highest that `used` ever was: what lies behind is still zero.
    touched: AtomicUsize,
    /// How much buffers have of the end. It is not used again before it is cleared, so that each is zero.
    buffers: AtomicUsize,
    armed: AtomicBool,
    /// Nothing more is cut off the arena.
    closed: AtomicBool,
    /// Something came from the C library.
    spilled: AtomicBool,
    arena: Place,
}

#[derive(Debug)]
#[repr(align(64))]
struct Place(UnsafeCell<[u8; ARENA]>);

// SAFETY: no reference into the array is ever made; each byte is handed out to one owner at a time, by `used`. stdbox has one
// thread, but for the second one of init (`sys/thread.rs`), and neither of those two comes here; a process that shares its memory
// runs only while it waits.
unsafe impl Sync for Place {}

#[global_allocator]
static HEAP: Heap = Heap {
    used: AtomicUsize::new(0),
    touched: AtomicUsize::new(0),
    buffers: AtomicUsize::new(0),
    armed: AtomicBool::new(false),
    closed: AtomicBool::new(false),
    spilled: AtomicBool::new(false),
    arena: Place(UnsafeCell::new([0; ARENA])),
};

/// So much of the arena a job without overlays uses.
const ORDINARY: usize = 60 << 10;

/// Gets this memory, and as much of the stack as such a job uses, in one call for each, instead of page by page when they are
/// touched.
pub(crate) fn fill() {
    pages::populate((&raw const HEAP).cast_mut().cast(), ORDINARY);
    pages::populate_stack();
}

/// Gives back the part of the arena that nothing has used: each copy of this process would begin with copies of these pages.
pub(crate) fn give_back() {
    let touched = HEAP.touched.load(Ordering::Relaxed);
    // SAFETY: nothing was ever cut off this part, so that no value lies there.
    let _kept = unsafe { HEAP.clear(touched, HEAP.end()) };
}

/// Runs this, and leaves nothing of what it had in memory: neither what it has made in the arena, be it dropped or not, nor what
/// was on the stack. What came from elsewhere stays, as [`spilled`] tells. Says whether the kernel did its part, as it does for
/// memory that is not locked.
///
/// What is made there cannot be used afterwards, since it is given no place in which to leave it.
#[inline(never)]
pub(crate) fn traceless(body: &dyn Fn()) -> bool {
    let (used, end) = (HEAP.used.load(Ordering::Relaxed), HEAP.end());
    HEAP.spilled.store(false, Ordering::Relaxed);
    body();
    // SAFETY: all that lies there was made by `body`, which returns nothing.
    let arena = unsafe { HEAP.clear(used, end) };
    HEAP.used.store(used, Ordering::Relaxed);
    if arena {
        HEAP.touched.store(used, Ordering::Relaxed);
        HEAP.buffers.store(ARENA - end, Ordering::Relaxed);
    }
    arena && pages::clear_stack()
}

/// Whether anything was allocated elsewhere than in the arena. What the C library itself allocates is not known here: directories
/// are read without it, but where what a job leaves is looked at.
pub(crate) fn spilled() -> bool {
    HEAP.spilled.load(Ordering::Relaxed)
}

/// This process lives for many jobs: from now on what is freed is used again.
pub(crate) fn live_long() {
    HEAP.closed.store(true, Ordering::Relaxed);
}

/// From now on, in debug builds, every use of the heap in this process is fatal.
pub(crate) fn arm() {
    if cfg!(debug_assertions) {
        HEAP.armed.store(true, Ordering::Relaxed);
    }
}

/// The heap may be used again: there is one thread, and no other process shares its memory.
pub(crate) fn disarm() {
    if cfg!(debug_assertions) {
        HEAP.armed.store(false, Ordering::Relaxed);
    }
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

    /// Moves the end of what is used, if it still is where it was seen. One thread needs no locked instruction for that.
    fn moves(&self, from: usize, to: usize) -> bool {
        let moves = self.used.load(Ordering::Relaxed) == from;
        if moves {
            self.used.store(to, Ordering::Relaxed);
            if to > self.touched.load(Ordering::Relaxed) {
                self.touched.store(to, Ordering::Relaxed);
            }
        }
        moves
    }

    /// Makes this part of the arena zero, and gives back the pages that have nothing else. Says whether the kernel took them.
    ///
    /// # Safety
    /// No value lies there that is used again.
    unsafe fn clear(&self, from: usize, to: usize) -> bool {
        let first = (BEFORE + from).next_multiple_of(PAGE) - BEFORE;
        let last = (BEFORE + to) / PAGE * PAGE - BEFORE;
        let start = self.start();
        if first >= last {
            // SAFETY: both lie in the arena, and the caller's promise.
            unsafe { start.wrapping_add(from).write_bytes(0, to - from) };
            return true;
        }
        // SAFETY: the same; it ends in the same page.
        unsafe { start.wrapping_add(from).write_bytes(0, first - from) };
        // SAFETY: the same; it begins there.
        unsafe { start.wrapping_add(last).write_bytes(0, to - last) };
        // SAFETY: whole pages of the arena, between these two.
        unsafe { pages::discard(start.wrapping_add(first), last - first) }
    }

    /// Cuts a place off the arena, if it is small enough and there is room.
    fn cut(&self, layout: Layout) -> Option<usize> {
        let closed = self.closed.load(Ordering::Relaxed);
        if closed || layout.size() > LARGE || layout.align() > 64 {
            return None;
        }
        let used = self.used.load(Ordering::Relaxed);
        // What it is a multiple of is a power of two, which the compiler cannot see: it would divide.
        let from = (used + layout.align() - 1) & !(layout.align() - 1);
        (from + layout.size() <= self.end() && self.moves(used, from + layout.size()))
            .then_some(from)
    }

    fn end(&self) -> usize {
        ARENA - self.buffers.load(Ordering::Relaxed)
    }

    /// Cuts a buffer off the end, if it is one and there is room.
    fn cut_buffer(&self, layout: Layout) -> Option<usize> {
        let closed = self.closed.load(Ordering::Relaxed);
        if closed || !(BUFFER..=LARGE).contains(&layout.size()) || layout.align() > 64 {
            return None;
        }
        let from = self.end().checked_sub(layout.size())? & !63;
        let fits = from >= self.touched.load(Ordering::Relaxed);
        fits.then(|| {
            self.buffers.store(ARENA - from, Ordering::Relaxed);
            from
        })
    }
}

// SAFETY: a value lies either in the part of the arena between two positions of `used`, which only its owner can move back, or
// behind all of these between two numbers of `buffers`, which only grows, or in memory of `System`; whether in the arena or not is
// told by its address. Beside that, `traceless` moves both back, when no value lies between. The arena is aligned to 64 bytes, and
// what wants more than 64 bytes, or does not fit, is left to `System`.
unsafe impl GlobalAlloc for Heap {
    // Inlined at every place that allocates, these would be a tenth of the program.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.tripwire();
        match self.cut(layout) {
            Some(from) => self.start().wrapping_add(from),
            None => {
                self.spilled.store(true, Ordering::Relaxed);
                // SAFETY: the caller keeps the contract of `alloc`, which is passed on.
                unsafe { System.alloc(layout) }
            }
        }
    }

    // What was never touched is zero already, here as in what is new from the kernel.
    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.tripwire();
        if let Some(from) = self.cut_buffer(layout) {
            return self.start().wrapping_add(from);
        }
        let touched = self.touched.load(Ordering::Relaxed);
        let Some(from) = self.cut(layout) else {
            self.spilled.store(true, Ordering::Relaxed);
            // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is passed on.
            return unsafe { System.alloc_zeroed(layout) };
        };
        let place = self.start().wrapping_add(from);
        let dirty = touched.saturating_sub(from).min(layout.size());
        // SAFETY: the place has at least as many bytes, and is nobody else's.
        unsafe { place.write_bytes(0, dirty) };
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
        if size <= LARGE
            && offset + size <= self.end()
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
