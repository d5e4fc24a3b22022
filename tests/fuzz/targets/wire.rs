//! See `bodies/wire.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::wire::run(data));
