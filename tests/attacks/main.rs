//! What a hostile job may try, one test for each attack, named after its class: each is carried out by a program inside the
//! container (`tests/support/probe/`) or by an accomplice beside it, and must fail.
//!
//! Every test says what it shows and where the attack is described. Each was seen to succeed with its defence removed.
//!
//! | class | the attacker wants |
//! |---|---|
//! | `terminal` | to type into the caller's terminal, or to leave it unusable |
//! | `descriptors` | to get at what the caller had open, or a working directory on the other side |
//! | `input` | to change a file that it was given to read |
//! | `program` | to overwrite stdbox itself |
//! | `inspection` | to read, trace, stop, starve or limit the container's init |
//! | `identity` | capabilities, other ids, other groups |
//! | `ids` | power over other ids, where the container has many |
//! | `settings` | to change the machine: kernel settings, devices, control groups |
//! | `mounts` | to remove, change or look below the container's mounts, also with CAP_SYS_ADMIN |
//! | `hidden` | files that are hidden, by any way but their names |
//! | `races` | to be shown or given another place than the one that was named |
//! | `targets` | mounts of the job to be led elsewhere or taken away, and the host from another root |
//! | `propagation` | mounts to go in or out |
//! | `ipc` | other jobs and the host: keys, memory, messages, sockets, processes |
//! | `lifetime` | to outlive its job, its limits, or stdbox |
//! | `faults` | the target to run although a step of set-up failed |
//! | `old_kernel` | the same, on a kernel that lacks what a step needs |
//! | `exhaustion` | that nothing is left for a report, or for the host |
//! | `results` | files of the host as results, or results in other places of the host |
//! | `report` | to forge, spoil or hold up the report |
//!
//! What a filter denies is shown by every ABI in `tests/hardening.rs` and `tests/filter/`.
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
mod ids;
mod input;
mod inspection;
mod ipc;
mod lifetime;
mod mounts;
mod old_kernel;
mod oom;
mod program;
mod propagation;
mod races;
mod report;
mod results;
mod settings;
mod supervisor;
mod targets;
mod terminal;
