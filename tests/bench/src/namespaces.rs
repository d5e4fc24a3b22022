//! Another mount table than the host's, in namespaces of this process's own.

#![allow(unsafe_code, reason = "namespaces and mounts are made by system calls")]

use std::ffi::CString;
use std::fs::{create_dir, write};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Enters a user and a mount namespace, where this process may mount.
///
/// The launchers are not helped by it: they run as the same user as before, without privileges once they are executed.
///
/// # Errors
/// The kernel makes none for this user.
pub fn enter() -> Result<(), String> {
    // SAFETY: takes nothing and cannot fail.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: as above.
    let gid = unsafe { libc::getegid() };
    // SAFETY: takes only integers; this process has one thread, as CLONE_NEWUSER demands.
    let result = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) };
    done(result).map_err(|why| format!("unshare: {why}"))?;
    for (file, content) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{uid} {uid} 1")),
        ("/proc/self/gid_map", format!("{gid} {gid} 1")),
    ] {
        write(file, content).map_err(|why| format!("{file}: {why}"))?;
    }
    Ok(())
}

/// Mounts `count` more file systems below `directory`. First one over the directory itself, so that the mount points need no
/// place on the host.
///
/// # Errors
/// One cannot be mounted; the kernel allows 100,000 in a namespace.
pub fn add_mounts(count: usize, directory: &Path) -> Result<(), String> {
    cover(directory)?;
    for index in 0..count {
        let point = directory.join(format!("m{index}"));
        create_dir(&point).map_err(|why| format!("{}: {why}", point.display()))?;
        cover(&point)?;
    }
    Ok(())
}

/// Mounts an empty file system over a directory.
///
/// # Errors
/// Those of mount(2).
pub fn cover(point: &Path) -> Result<(), String> {
    let path = CString::new(point.as_os_str().as_bytes()).map_err(|why| why.to_string())?;
    let kind = c"tmpfs".as_ptr();
    // SAFETY: both strings are C strings that live until the call returns, and tmpfs takes no data as null.
    let result = unsafe {
        libc::mount(
            kind,
            path.as_ptr(),
            kind,
            libc::MS_NOSUID | libc::MS_NODEV,
            std::ptr::null(),
        )
    };
    done(result).map_err(|why| format!("mount {}: {why}", point.display()))
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
