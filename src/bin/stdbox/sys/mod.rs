//! The kernel: every `unsafe` block of stdbox is in this folder.
//!
//! One safe function per system call, with typed arguments and the errno as the error. nix covers what the parent needs;
//! what is here is the mount API, which it lacks, and what runs between `clone3` and `execve`, where nothing may allocate
//! and libc's own state is stale.
#![allow(unsafe_code, reason = "this folder is where it is allowed")]

pub(crate) mod alloc;
pub(crate) mod clone;
pub(crate) mod directory;
pub(crate) mod fd;
pub(crate) mod handover;
mod memory;
pub(crate) mod mount;
pub(crate) mod network;
mod pages;
pub(crate) mod process;
mod raw;
mod start;
pub(crate) mod thread;
pub(crate) mod times;
pub(crate) mod transfer;

use nix::errno::Errno;
use nix::libc::{c_int, c_long};

/// The result of a call that returns -1 and sets errno on failure.
fn check(result: c_long) -> Result<c_long, Errno> {
    if result == -1 {
        Err(Errno::last())
    } else {
        Ok(result)
    }
}

/// A descriptor out of a call's result.
fn as_fd(result: c_long) -> Result<c_int, Errno> {
    check(result).map(|fd| c_int::try_from(fd).unwrap_or(-1))
}
