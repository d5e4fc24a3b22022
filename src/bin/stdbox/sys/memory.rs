//! Comparing memory eight bytes at a time.
//!
//! The C library's own memcmp(3) takes a byte at a time, and the planner does hardly anything but compare paths, most of which
//! begin alike: a third of its instructions were in there.

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
