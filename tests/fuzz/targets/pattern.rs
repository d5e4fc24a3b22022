//! See `bodies/pattern.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::pattern::run(data));
