//! See `bodies/mountinfo.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::mountinfo::run(data));
