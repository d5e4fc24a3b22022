//! Namespaces: those that some process is in, and how many the kernel counts for this user namespace.

use nix::libc::{self, c_int};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

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

/// How many namespaces of each kind there are below this one, held by whatever. To count takes new ones, which the kernel
/// removes when it gets round to it, so the least of several counts is what lasts.
pub fn counted() -> BTreeSet<String> {
    let mut least = KINDS.map(count);
    for pause in [50, 150, 300] {
        std::thread::sleep(Duration::from_millis(pause));
        for (least, kind) in least.iter_mut().zip(KINDS) {
            *least = count(kind).min(*least);
        }
    }
    let named = KINDS.iter().zip(least);
    named
        .flat_map(|((name, _), count)| (1..=count).map(move |n| format!("{n} of {name}")))
        .collect()
}

/// As many as the limit must exceed for one more to be made.
fn count((name, flag): (&str, c_int)) -> u32 {
    let path = format!("/proc/sys/user/max_{name}_namespaces");
    let limit = fs::read_to_string(&path).expect("the limit can be read");
    let fits = |most: &u32| {
        fs::write(&path, most.to_string()).expect("the limit can be set");
        can_make(flag)
    };
    let count = (1..2000).find(fits).expect("some limit is enough") - 1;
    fs::write(&path, limit.trim()).expect("the limit can be set");
    count
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
