//! See `bodies/check.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::check::run(data));
