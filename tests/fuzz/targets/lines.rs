//! See `bodies/lines.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::lines::run(data));
