//! Looks at the host after something failed, for the hint. Ring 1.

use crate::facts;
use nix::libc::O_NONBLOCK;
use nix::unistd::{AccessFlags, access};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use stdbox::host::{HostFacts, PathFact};
use stdbox::outcome::Diagnosis;
use stdbox::plan::Plan;
use stdbox::text::AbsPath;
use stdbox::wire::{Failure, Phase};

/// What the settings of this host say about namespaces.
pub(crate) fn namespaces() -> Diagnosis {
    let number = |path: &str| {
        fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse().ok())
    };
    Diagnosis {
        max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
        unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_restrict: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        chroot: chrooted(),
        kernel: facts::release(),
        ..Diagnosis::default()
    }
}

/// Whether the kernel will take this process for one in a chroot: its root is not the topmost mount at the bottom of the
/// namespace. From inside that shows where `/` is no mount, or has a mount over it. Otherwise nothing but a filter or a
/// security module could have refused the namespaces, and without a filter a chroot is by far the likelier reason.
fn chrooted() -> bool {
    let table = facts::mounts();
    let root = AbsPath::root();
    let at_root = table
        .get(table.root())
        .is_some_and(|mount| mount.at.is_root());
    let covered = table.mounted_at(table.root(), &root).is_some();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let unfiltered = status.lines().any(|line| line == "Seccomp:\t0");
    !at_root || covered || unfiltered
}

/// What is to be known about this failure.
pub(crate) fn failure(failure: Failure, plan: &Plan, facts: &HostFacts) -> Diagnosis {
    let mut diagnosis = namespaces();
    match failure.phase {
        Phase::Step => {
            diagnosis.mounts_changed = facts
                .mounts
                .as_ref()
                .is_some_and(|planned| *planned != facts::mounts());
        }
        Phase::Cwd => {
            let found = facts::path_fact(&plan.cwd.below(&plan.base));
            diagnosis.on_host =
                matches!(found, PathFact::Directory { .. }).then(|| plan.cwd.clone());
        }
        Phase::Exec if plan.base.is_root() => {
            let on_host = |path: &std::ffi::CString| {
                let absolute = match path.to_bytes() {
                    path if path.starts_with(b"/") => AbsPath::new(path),
                    path => AbsPath::new(&[plan.cwd.bytes(), b"/", path].concat()),
                };
                let absolute = absolute.ok()?;
                let path = Path::new(OsStr::from_bytes(absolute.bytes()));
                let runs = fs::metadata(path)
                    .is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
                (runs && access(path, AccessFlags::X_OK).is_ok()).then_some(absolute)
            };
            diagnosis.on_host = plan.exec.candidates.iter().find_map(on_host);
            diagnosis.interpreter = diagnosis.on_host.as_ref().and_then(interpreter);
        }
        _ => {}
    }
    diagnosis
}

/// What the `#!` line of a script names.
fn interpreter(script: &AbsPath) -> Option<Vec<u8>> {
    // It may be a pipe by now.
    let open = fs::OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(OsStr::from_bytes(script.bytes()));
    let file = open.ok()?;
    let mut start = Vec::new();
    // The kernel looks at no more.
    file.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    let mut words = line.split(|&b| b == b' ' || b == b'\t');
    words.find(|word| !word.is_empty()).map(<[u8]>::to_vec)
}
