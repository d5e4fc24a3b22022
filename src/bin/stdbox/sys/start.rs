//! The beginning and the end of the program.
//!
//! Rust's own would first ask about and set up what stdbox has no use for: a handler that tells of an overflow of the stack,
//! on a stack of its own. Of all the rest, this does the same.

use super::{alloc, fd, process};
use nix::libc::{c_char, c_int};
use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt;

/// What the C library calls.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    alloc::fill();
    fd::fill_streams();
    process::ignore_broken_pipes();
    let count = usize::try_from(count).unwrap_or(0);
    let words = (1..count).map(|index| {
        // SAFETY: the C library passes an array of as many strings as it says.
        let place = unsafe { arguments.add(index) };
        // SAFETY: as above.
        let word = unsafe { *place };
        // SAFETY: each ends in NUL, and lives as long as the process.
        let word = unsafe { CStr::from_ptr(word) };
        OsString::from_vec(word.to_bytes().to_vec())
    });
    // Nothing is left to be done, and what is in memory goes with the process.
    process::exit(crate::program(words).into())
}
