//! What a hostile job may try, one test for each attack, named after its class: each is carried out by a program inside the
//! container (`tests/support/probe/`) or by an accomplice beside it, and must fail.
//!
//! Every test says what it shows and where the attack is described. Each was seen to succeed with its defence removed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    unreachable_pub,
    reason = "a test says what is wrong by panicking"
)]
#![allow(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "terminals, descriptors and signals are prepared between fork and exec"
)]

#[path = "../support/mod.rs"]
mod support;

mod common;
mod descriptors;
mod exhaustion;
mod faults;
mod hidden;
mod identity;
mod inspection;
mod ipc;
mod lifetime;
mod mounts;
mod outside;
mod program;
mod propagation;
mod races;
mod report;
mod settings;
mod supervisor;
mod terminal;
