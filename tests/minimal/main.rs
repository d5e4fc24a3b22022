//! stdbox where there is little: in an image of two files, inside other containers, and as pid 1. The environments are built
//! here, and the real binary runs in them; what cannot work must say what to change.
//!
//! The rows of README's "Inside containers" are, in their order, the tests `image_*`, `pid_1_*` and `nested_levels_without_*`;
//! `podman_with_an_uncovered_proc_runs_*`; `podman_with_an_uncovered_proc_and_*`; `podman_with_its_default_*`;
//! `podman_with_an_engines_*`; `bubblewrap_with_a_proc_*` and `bubblewrap_that_allows_*`; `bubblewrap_with_the_hosts_*`;
//! `nested_*`; `image_entered_by_chroot_*` and `proc_missing_*`.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what is wrong by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod bubblewrap;
mod common;
mod first;
mod image;
mod nested;
mod podman;
mod proc;
