//! A mount table as long as that of a busy host, in namespaces of this process's own.

#![allow(
    unsafe_code,
    reason = "the only file of this program that talks to the kernel directly"
)]

use std::ffi::CString;
use std::fs::{create_dir, write};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Enters a user and a mount namespace and mounts `count` more file systems below `directory` there.
///
/// The launchers are not helped by it: they run as the same user as before, without privileges once they are executed.
pub(crate) fn add(count: usize, directory: &Path) -> Result<(), String> {
    // SAFETY: take nothing and cannot fail.
    let (uid, gid) = (unsafe { libc::geteuid() }, unsafe { libc::getegid() });

    // SAFETY: takes only integers; this process has one thread, as CLONE_NEWUSER demands.
    let result = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) };
    done(result).map_err(|why| format!("--mounts: unshare: {why}"))?;
    for (file, content) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{uid} {uid} 1")),
        ("/proc/self/gid_map", format!("{gid} {gid} 1")),
    ] {
        write(file, content).map_err(|why| format!("--mounts: {file}: {why}"))?;
    }

    // First one over the directory itself, so that the mount points need no place on the host.
    mount_tmpfs(directory)?;
    for index in 0..count {
        let point = directory.join(format!("m{index}"));
        create_dir(&point).map_err(|why| format!("--mounts: {}: {why}", point.display()))?;
        mount_tmpfs(&point)?;
    }
    Ok(())
}

fn mount_tmpfs(point: &Path) -> Result<(), String> {
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
    done(result).map_err(|why| format!("--mounts: mount {}: {why}", point.display()))
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
