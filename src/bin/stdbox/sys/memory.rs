//! Comparing and copying memory by words.
//!
//! The C library's own memcmp(3) takes a byte at a time, and the planner does hardly anything but compare paths, most of which
//! begin alike: a third of its instructions were in there. Its memcpy(3) for x86_64 begins every copy, however short, with an
//! instruction for long ones (`rep movs`), which takes some 30 ns until it is under way: a quarter of the time outside the kernel
//! went there, since most copies of a job are shorter than eight bytes.

use nix::libc::{c_int, c_void};

/// memcmp(3).
///
/// # Safety
/// That of the C library's: both places hold so many bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const c_void, right: *const c_void, length: usize) -> c_int {
    const WORD: usize = size_of::<u64>();
    let (left, right) = (left.cast::<u8>(), right.cast::<u8>());
    let mut at = 0;
    while length - at >= WORD {
        let (a, b) = (left.wrapping_add(at), right.wrapping_add(at));
        // SAFETY: eight more bytes are there, wherever they lie.
        let a = unsafe { a.cast::<u64>().read_unaligned() };
        // SAFETY: the same on the other side.
        let b = unsafe { b.cast::<u64>().read_unaligned() };
        if a != b {
            // The first byte counts most.
            return if a.to_be() < b.to_be() { -1 } else { 1 };
        }
        at += WORD;
    }
    while at < length {
        // SAFETY: one more byte is there.
        let a = unsafe { left.wrapping_add(at).read() };
        // SAFETY: the same on the other side.
        let b = unsafe { right.wrapping_add(at).read() };
        if a != b {
            return c_int::from(a) - c_int::from(b);
        }
        at += 1;
    }
    0
}

/// memcpy(3).
///
/// # Safety
/// That of the C library's: both places hold so many bytes, and do not overlap.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void {
    let place = Copied::new(to, from, length);
    // SAFETY: the caller's promise.
    unsafe { place.copy_forwards() };
    to
}

/// memmove(3). It stands here because the C library's is a part of its memcpy(3).
///
/// # Safety
/// That of the C library's: both places hold so many bytes.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void {
    let place = Copied::new(to, from, length);
    // Otherwise something would be written to that is still to be read.
    if length <= 2 * Copied::STEP || to.addr().wrapping_sub(from.addr()) >= length {
        // SAFETY: the caller's promise.
        unsafe { place.copy_forwards() };
    } else {
        // SAFETY: the same, and what the condition says.
        unsafe { place.copy_backwards() };
    }
    to
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Copied {
    to: *mut u8,
    from: *const u8,
    length: usize,
}

#[cfg(target_arch = "x86_64")]
impl Copied {
    const fn new(to: *mut c_void, from: *const c_void, length: usize) -> Self {
        Self {
            to: to.cast(),
            from: from.cast(),
            length,
        }
    }

    /// What is copied at once of what is long.
    const STEP: usize = size_of::<u128>();

    /// Where the last step begins.
    const fn last(self) -> usize {
        self.length - Self::STEP
    }

    /// # Safety
    /// Both places hold so many bytes from there on.
    #[inline(always)]
    unsafe fn read<T: Copy>(self, at: usize) -> T {
        // SAFETY: the caller's promise; wherever it lies, and all of it are numbers.
        unsafe { self.from.wrapping_add(at).cast::<T>().read_unaligned() }
    }

    /// # Safety
    /// As of `read`.
    #[inline(always)]
    unsafe fn write<T: Copy>(self, at: usize, value: T) {
        // SAFETY: the caller's promise.
        unsafe { self.to.wrapping_add(at).cast::<T>().write_unaligned(value) };
    }

    /// Copies the beginning and the end, which may have a part in common. All is read before anything is written.
    ///
    /// # Safety
    /// Both places hold the length, which is at least that of the number and at most twice as much.
    #[inline(always)]
    unsafe fn copy_ends<T: Copy>(self) {
        let behind = self.length - size_of::<T>();
        // SAFETY: the caller's promise.
        let first: T = unsafe { self.read(0) };
        // SAFETY: the same.
        let last: T = unsafe { self.read(behind) };
        // SAFETY: the same.
        unsafe { self.write(0, first) };
        // SAFETY: the same.
        unsafe { self.write(behind, last) };
    }

    /// Copies what is no longer than two steps; says whether that was it.
    ///
    /// # Safety
    /// Both places hold the length.
    #[inline(always)]
    unsafe fn copy_short(self) -> bool {
        match self.length {
            0 => {}
            // SAFETY: the caller's promise, and what the arm says; so in those below.
            1 => unsafe { self.copy_ends::<u8>() },
            // SAFETY: as above.
            2..=3 => unsafe { self.copy_ends::<u16>() },
            // SAFETY: as above.
            4..=7 => unsafe { self.copy_ends::<u32>() },
            // SAFETY: as above.
            8..=15 => unsafe { self.copy_ends::<u64>() },
            // SAFETY: as above.
            16..=32 => unsafe { self.copy_ends::<u128>() },
            _ => return false,
        }
        true
    }

    /// # Safety
    /// Both places hold the length, and what is written does not begin within what is read, unless that is copied at once.
    #[inline(always)]
    unsafe fn copy_forwards(self) {
        // SAFETY: the caller's promise.
        if unsafe { self.copy_short() } {
            return;
        }
        // SAFETY: there is more than one step. It may be written to before it is its turn.
        let last: u128 = unsafe { self.read(self.last()) };
        let mut at = 0;
        while at < self.last() {
            // SAFETY: a whole step follows.
            let step: u128 = unsafe { self.read(at) };
            // SAFETY: the same.
            unsafe { self.write(at, step) };
            at += Self::STEP;
        }
        // SAFETY: there is more than one step.
        unsafe { self.write(self.last(), last) };
    }

    /// # Safety
    /// Both places hold the length, which is more than a step, and what is read does not begin within what is written.
    #[inline(always)]
    unsafe fn copy_backwards(self) {
        // SAFETY: there is more than one step. It may be written to before it is its turn.
        let first: u128 = unsafe { self.read(0) };
        let mut behind = self.length;
        while behind > Self::STEP {
            behind -= Self::STEP;
            // SAFETY: a whole step follows.
            let step: u128 = unsafe { self.read(behind) };
            // SAFETY: the same.
            unsafe { self.write(behind, step) };
        }
        // SAFETY: there is more than one step.
        unsafe { self.write(0, first) };
    }
}
