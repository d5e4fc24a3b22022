//! See `bodies/filter.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::filter::run(data));
