//! The mount API by file descriptors (Linux 5.2, mount_setattr 5.12), which libc and nix do not have.

use super::{as_fd, check};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_uint};
use std::ffi::CStr;
use std::ptr;

const SYS_OPEN_TREE: c_long = 428;
const SYS_MOVE_MOUNT: c_long = 429;
const SYS_FSOPEN: c_long = 430;
const SYS_FSCONFIG: c_long = 431;
const SYS_FSMOUNT: c_long = 432;
const SYS_MOUNT_SETATTR: c_long = 442;

const FSCONFIG_SET_FLAG: c_uint = 0;
const FSCONFIG_SET_STRING: c_uint = 1;
const FSCONFIG_CMD_CREATE: c_uint = 6;

pub(crate) const ATTR_RDONLY: u64 = 0x01;
pub(crate) const ATTR_NOSUID: u64 = 0x02;
pub(crate) const ATTR_NODEV: u64 = 0x04;
pub(crate) const ATTR_NOEXEC: u64 = 0x08;
pub(crate) const ATTR_NOATIME: u64 = 0x10;
pub(crate) const ATTR_STRICTATIME: u64 = 0x20;
pub(crate) const ATTR_NODIRATIME: u64 = 0x80;
pub(crate) const ATTR_NOSYMFOLLOW: u64 = 0x20_0000;

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// A detached copy of the mount at a path, which is not followed if it is a link.
///
/// # References
/// open_tree(2)
pub(crate) fn clone_tree(at: c_int, path: &CStr, recursive: bool) -> Result<c_int, Errno> {
    const OPEN_TREE_CLONE: c_int = 1;
    const AT_RECURSIVE: c_int = 0x8000;
    let empty = if path.is_empty() {
        libc::AT_EMPTY_PATH
    } else {
        0
    };
    // What an automounter would mount there now is no part of the plan.
    let as_it_is = if at == libc::AT_FDCWD {
        0
    } else {
        libc::AT_NO_AUTOMOUNT
    };
    let depth = if recursive { AT_RECURSIVE } else { 0 };
    let flags =
        OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_SYMLINK_NOFOLLOW | empty | as_it_is | depth;
    // SAFETY: `path` ends in NUL and outlives the call.
    as_fd(unsafe { libc::syscall(SYS_OPEN_TREE, at, path.as_ptr(), flags) })
}

/// Adds attributes to a mount and everything below it, and makes it private.
///
/// # References
/// mount_setattr(2)
pub(crate) fn restrict(at: c_int, path: &CStr, set: u64) -> Result<(), Errno> {
    const AT_RECURSIVE: c_int = 0x8000;
    let attr = MountAttr {
        attr_set: set,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let empty = if path.is_empty() {
        libc::AT_EMPTY_PATH
    } else {
        0
    };
    let flags = AT_RECURSIVE | libc::AT_SYMLINK_NOFOLLOW | empty;
    // SAFETY: `path` ends in NUL, `attr` has the size that is passed, and both outlive the call, which writes to neither.
    let result = unsafe {
        libc::syscall(
            SYS_MOUNT_SETATTR,
            at,
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(result).map(drop)
}

/// Mounts a detached mount at a path, which is not followed if it is a link.
///
/// # References
/// move_mount(2)
pub(crate) fn attach(mount: c_int, at: c_int, path: &CStr) -> Result<(), Errno> {
    const F_EMPTY_PATH: c_uint = 0x04;
    const T_EMPTY_PATH: c_uint = 0x40;
    let flags = F_EMPTY_PATH | if path.is_empty() { T_EMPTY_PATH } else { 0 };
    // SAFETY: both strings end in NUL and outlive the call.
    check(unsafe {
        libc::syscall(
            SYS_MOVE_MOUNT,
            mount,
            c"".as_ptr(),
            at,
            path.as_ptr(),
            flags,
        )
    })
    .map(drop)
}

/// # References
/// fsopen(2)
pub(crate) fn fs_open(fstype: &CStr) -> Result<c_int, Errno> {
    const FSOPEN_CLOEXEC: c_uint = 1;
    // SAFETY: the string ends in NUL and outlives the call.
    as_fd(unsafe { libc::syscall(SYS_FSOPEN, fstype.as_ptr(), FSOPEN_CLOEXEC) })
}

/// # References
/// fsconfig(2)
pub(crate) fn fs_config(fs: c_int, key: &CStr, value: Option<&CStr>) -> Result<(), Errno> {
    let command = if value.is_some() {
        FSCONFIG_SET_STRING
    } else {
        FSCONFIG_SET_FLAG
    };
    let value = value.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: `key` and `value` end in NUL (a flag has no value) and outlive the call.
    check(unsafe { libc::syscall(SYS_FSCONFIG, fs, command, key.as_ptr(), value, 0) }).map(drop)
}

/// # References
/// fsconfig(2)
pub(crate) fn fs_create(fs: c_int) -> Result<(), Errno> {
    let none = ptr::null::<libc::c_char>();
    // SAFETY: this command takes neither key nor value.
    check(unsafe { libc::syscall(SYS_FSCONFIG, fs, FSCONFIG_CMD_CREATE, none, none, 0) }).map(drop)
}

/// # References
/// fsmount(2)
pub(crate) fn fs_mount(fs: c_int, attributes: u64) -> Result<c_int, Errno> {
    const FSMOUNT_CLOEXEC: c_uint = 1;
    let attributes = c_uint::try_from(attributes).unwrap_or(0);
    // SAFETY: no memory is passed.
    as_fd(unsafe { libc::syscall(SYS_FSMOUNT, fs, FSMOUNT_CLOEXEC, attributes) })
}

/// Makes the working directory the root, and mounts the old root over it.
///
/// # References
/// pivot_root(2), "pivot_root(".", ".")"
pub(crate) fn pivot_here() -> Result<(), Errno> {
    // SAFETY: both strings are constants that end in NUL.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// Takes the topmost mount at the working directory out of the tree.
///
/// # References
/// umount2(2)
pub(crate) fn detach_here() -> Result<(), Errno> {
    // SAFETY: the string is a constant that ends in NUL.
    check(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }.into()).map(drop)
}

/// # References
/// chroot(2)
pub(crate) fn chroot_here() -> Result<(), Errno> {
    // SAFETY: the string is a constant that ends in NUL.
    check(unsafe { libc::chroot(c".".as_ptr()) }.into()).map(drop)
}
