//! Which ids the caller has beside its own. Ring 1.

use nix::unistd::{AccessFlags, Uid, User, access};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use stdbox::capability::Capabilities;
use stdbox::host::{Caller, IdFacts};
use stdbox::subid;
use stdbox::text::AbsPath;

/// Where the helpers are when PATH does not say so.
const USUAL: &str = "/usr/bin:/bin";

/// Looks it all up.
pub(crate) fn gather(caller: &Caller) -> IdFacts {
    let name = account_name(caller.uid);
    let file = |path: &str| fs::read(path).unwrap_or_default();
    let subordinate = |path| {
        let name = name.as_ref().map(|name| name.as_bytes());
        subid::subordinate(&file(path), name, caller.uid)
    };
    let settings = fs::symlink_metadata("/proc/sys");
    IdFacts {
        privileged: may_map_all(),
        existing: ["/proc/self/uid_map", "/proc/self/gid_map"]
            .map(|path| subid::mapped(&file(path))),
        subordinate: ["/etc/subuid", "/etc/subgid"].map(subordinate),
        helpers: ["newuidmap", "newgidmap"].map(helper),
        // Where they cannot be seen, they are taken for the usual root's.
        settings_owner: settings.map_or((0, 0), |found| (found.uid(), found.gid())),
        name: name.map_or_else(
            || caller.uid.to_string(),
            |name| name.to_string_lossy().into_owned(),
        ),
    }
}

/// The name of the user; one that only a directory service knows is what the environment says. A wrong one does no harm: the
/// helpers look it up themselves.
fn account_name(uid: u32) -> Option<OsString> {
    let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    known
        .map(|user| OsString::from(user.name))
        .or_else(|| std::env::var_os("USER"))
        .filter(|name| !name.is_empty())
}

/// Whether this process has the capabilities that a map of any ids takes: user_namespaces(7).
fn may_map_all() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0);
    ["CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP"]
        .iter()
        .filter_map(|name| Capabilities::named(name))
        .all(|needed| effective & needed.bits() != 0)
}

/// Where a program of this name is, as execvp(3) would find it, or in the usual places.
fn helper(name: &str) -> Option<AbsPath> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(std::env::split_paths(USUAL));
    let runs = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|found| found.is_file())
            && access(file.as_path(), AccessFlags::X_OK).is_ok()
    };
    places
        .filter(|place| place.is_absolute())
        .map(|place| place.join(name))
        .find(runs)
        .and_then(|file| AbsPath::new(file.as_os_str().as_bytes()).ok())
}

/// What keeps a helper from having the privileges that its work takes.
pub(crate) fn powerless(helper: &AbsPath) -> Option<&'static str> {
    let path = Path::new(OsStr::from_bytes(helper.bytes()));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let setuid =
        fs::metadata(path).is_ok_and(|found| found.mode() & 0o4000 != 0 && found.uid() == 0);
    let flags = nix::sys::statvfs::statvfs(path).map(|found| found.flags());
    if status.lines().any(|line| line == "NoNewPrivs:\t1") {
        Some(
            "stdbox was started with no_new_privs, under which a setuid program has no privileges (systemd: NoNewPrivileges=, Docker, Podman: --security-opt no-new-privileges, or a container like stdbox's own).",
        )
    } else if flags.is_ok_and(|flags| flags.contains(nix::sys::statvfs::FsFlags::ST_NOSUID)) {
        Some("It lies on a file system that is mounted with nosuid.")
    } else if !setuid && !crate::sys::fd::has_file_capabilities(helper.as_cstr()) {
        Some(
            "It is neither setuid root nor has it file capabilities, as the package installs it; a copied or unpacked system may have lost them.",
        )
    } else {
        None
    }
}
