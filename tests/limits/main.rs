//! The limits that end a job, each by itself: that it holds, that nothing gets round it, and what the report says then.
//!
//! The attacks are carried out by `tests/support/probe/burning.rs` and its kin.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    unreachable_pub,
    unsafe_code,
    reason = "a test says what is wrong by panicking, and waits for stdbox by wait4"
)]

#[path = "../support/mod.rs"]
mod support;

mod cgroup;
mod common;
mod cpu;
mod figures;
mod output;
mod rlimits;
mod sampling;
mod wall;
