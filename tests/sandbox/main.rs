//! The real binary in real namespaces: what the container's tree is, and that the host's stays what it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what is wrong by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod bare;
mod common;
mod defaults;
mod descriptors;
mod extra;
mod foreign;
mod fuse;
mod global;
mod host;
mod identity;
mod image;
mod modes;
mod mounts;
mod names;
mod nested;
mod overlay;
mod ranges;
mod root;
mod scratch;
mod systems;
