//! Namespaces: those that some process is in, and how many the kernel counts for this user namespace.

use nix::libc::{self, c_int};
use std::collections::BTreeSet;
use std::fs;

/// Every kind with its name in /proc/sys/user, namespaces(7).
pub const KINDS: [(&str, c_int); 7] = [
    ("user", libc::CLONE_NEWUSER),
    ("pid", libc::CLONE_NEWPID),
    ("mnt", libc::CLONE_NEWNS),
    ("net", libc::CLONE_NEWNET),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("cgroup", libc::CLONE_NEWCGROUP),
];

/// The namespaces of all processes.
pub fn named() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let links = fs::read_dir(process.path().join("ns"))
            .into_iter()
            .flatten()
            .flatten();
        found.extend(
            links.filter_map(|link| Some(fs::read_link(link.path()).ok()?.display().to_string())),
        );
    }
    found
}

/// How many namespaces of each kind there are below this one, held by whatever: as many as the limit must exceed for one more
/// to be made.
pub fn counted() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, flag) in KINDS {
        let path = format!("/proc/sys/user/max_{name}_namespaces");
        let limit = fs::read_to_string(&path).expect("the limit can be read");
        let fits = |most: &u32| {
            fs::write(&path, most.to_string()).expect("the limit can be set");
            can_make(flag)
        };
        let count = (1..2000).find(fits).expect("some limit is enough") - 1;
        fs::write(&path, limit.trim()).expect("the limit can be set");
        found.extend((1..=count).map(|n| format!("{n} of {name}")));
    }
    found
}

fn can_make(flag: c_int) -> bool {
    // SAFETY: this process has one thread, and the copy makes system calls only.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: no memory is passed.
        unsafe { libc::_exit(libc::unshare(flag)) };
    }
    let mut status = 0;
    // SAFETY: the status has a place.
    let ended = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(ended, pid, "a process could be made");
    status == 0
}
