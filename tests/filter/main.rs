//! The system call filters, proven: an interpreter of classic BPF runs the programs over every number of every ABI, and the
//! verdicts are compared with tables that are written by hand (`builtin`, `oci`), with an evaluator of the rules that knows
//! nothing of programs (`rules`), and with what seccompiler makes of the same rules (`oracle`). The table of names and numbers
//! is compared with the machine's headers and with its kernel (`table`).
//!
//! Programs for both machines are tested on either. That the kernel takes a program and denies what it should is seen where
//! jobs make the calls (`jobs`, and `tests/hardening.rs`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

#[path = "../support/mod.rs"]
mod support;

mod builtin;
mod cost;
mod evaluator;
mod interpreter;
mod jobs;
mod oci;
mod oracle;
mod refused;
mod rules;
mod strict;
mod table;
