//! Only returns: what a start costs that does no work at all.

#![cfg_attr(not(test), no_std)]
#![no_main]

// The toolchain brings a static musl, but only the standard library asks for it by itself.
#[expect(unsafe_code, reason = "linked, and nothing of it called")]
#[link(name = "c", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

#[expect(
    unsafe_code,
    reason = "the C runtime calls this name; Rust's own entry would be part of what is measured"
)]
#[unsafe(no_mangle)]
extern "C" fn main() -> core::ffi::c_int {
    0
}

/// The compiler asks for this; nothing here panics.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
