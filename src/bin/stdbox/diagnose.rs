//! Looks at the host after something failed, for the hint. Ring 1.

use crate::facts;
use nix::unistd::{AccessFlags, access};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
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
                let absolute = AbsPath::new(path.to_bytes()).ok()?;
                let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
                let runs = fs::metadata(path)
                    .is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
                (runs && access(path, AccessFlags::X_OK).is_ok()).then_some(absolute)
            };
            diagnosis.on_host = plan.exec.candidates.iter().find_map(on_host);
        }
        _ => {}
    }
    diagnosis
}
