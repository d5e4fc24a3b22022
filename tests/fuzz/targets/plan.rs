//! See `bodies/plan.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::plan::run(data));
