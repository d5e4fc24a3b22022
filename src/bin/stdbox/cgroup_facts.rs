//! What control groups there are for this process. Ring 1.

use crate::facts;
use crate::sys::fd;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::{AccessFlags, faccessat};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use stdbox::cgroup::{CgroupFacts, Controllers, Group, NoGroup, Occupants, own_group};
use stdbox::text::AbsPath;

/// Looks at the group that the job names, or at the caller's own and the one above it.
pub(crate) fn gather(named: Option<&AbsPath>) -> CgroupFacts {
    let text = fs::read("/proc/self/cgroup").unwrap_or_default();
    let (v1, path) = own_group(&text);
    let mut found = CgroupFacts {
        v1,
        swap: fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1),
        ..CgroupFacts::default()
    };
    if !v1.is_empty() {
        return found;
    }
    let own = path.and_then(place);
    let groups = match (named, &own) {
        (Some(named), _) => vec![named.clone()],
        (None, Some((own, top))) => {
            let above = own.parent().filter(|above| top.contains(above));
            [Some(own.clone()), above].into_iter().flatten().collect()
        }
        (None, None) => Vec::new(),
    };
    for path in groups {
        match group(&path, own.as_ref().map(|(own, _)| own)) {
            Ok(group) => found.groups.push(group),
            Err(none) => found.none = Some(none),
        }
    }
    if found.groups.is_empty() {
        found.none.get_or_insert(NoGroup::NotMounted);
    }
    found
}

/// Where this process's own group is seen, and where the mount begins through which it is.
fn place(own: &[u8]) -> Option<(AbsPath, AbsPath)> {
    let own = AbsPath::new(own).ok()?;
    let table = facts::mounts();
    table.visible().find_map(|mount| {
        let root = AbsPath::new(&mount.root).ok()?;
        let seen = mount.fstype == b"cgroup2" && root.contains(&own);
        seen.then(|| (mount.at.descend(root.rest_of(&own)), mount.at.clone()))
    })
}

fn group(path: &AbsPath, own: Option<&AbsPath>) -> Result<Group, NoGroup> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let directory = fd::open_plain(libc::AT_FDCWD, path.as_cstr(), flags)
        .map(fd::owned)
        .map_err(|errno| NoGroup::Unopened(errno as i32))?;
    if !fstatfs(&directory).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC) {
        return Err(NoGroup::NotCgroup2);
    }
    let controllers = |name: &str| Controllers::parse(&read(&directory, name).unwrap_or_default());
    // The group in which the paths from the caller's own and from this one meet: the kernel asks for its cgroup.procs too.
    let meeting = own.and_then(|own| {
        let mut above = Some(path.clone());
        while let Some(at) = above {
            if at.contains(own) {
                return Some(at);
            }
            above = at.parent();
        }
        None
    });
    let meeting = meeting.filter(|meeting| meeting != path);
    let refused = [
        refusal(directory.as_fd(), path, None),
        refusal(directory.as_fd(), path, Some("cgroup.procs")),
        meeting.and_then(|at| {
            let flags = libc::O_PATH | libc::O_DIRECTORY;
            let opened = fd::open_plain(libc::AT_FDCWD, at.as_cstr(), flags).map(fd::owned);
            refusal(opened.ok()?.as_fd(), &at, Some("cgroup.procs"))
        }),
    ];
    Ok(Group {
        path: path.clone(),
        available: controllers("cgroup.controllers"),
        enabled: controllers("cgroup.subtree_control"),
        occupants: occupants(&directory, own == Some(path)),
        refused: refused.into_iter().flatten().next(),
        uncontrolled: refusal(directory.as_fd(), path, Some("cgroup.subtree_control")),
    })
}

fn read(directory: &OwnedFd, name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd())).ok()
}

fn occupants(directory: &OwnedFd, own: bool) -> Occupants {
    // The root of the hierarchy has no type, and may have processes beside groups.
    if read(directory, "cgroup.type").is_none() {
        return Occupants::Nobody;
    }
    let processes = read(directory, "cgroup.procs").unwrap_or_default();
    // A process that this one cannot see, in a pid namespace around, is a 0.
    let mut others = processes
        .lines()
        .filter(|pid| pid.parse() != Ok(std::process::id()));
    match (own, others.next()) {
        (true, None) => Occupants::OnlyCaller,
        (false, None) => Occupants::Nobody,
        (_, Some(_)) => Occupants::Others,
    }
}

/// Why this cannot be written, if it cannot.
fn refusal(
    directory: BorrowedFd<'_>,
    path: &AbsPath,
    file: Option<&str>,
) -> Option<(AbsPath, i32)> {
    let access = faccessat(
        directory,
        file.unwrap_or("."),
        AccessFlags::W_OK,
        AtFlags::AT_EACCESS,
    );
    let at = file.map_or_else(|| path.clone(), |file| path.join(file.as_bytes()));
    match access {
        Ok(()) => None,
        Err(errno) => Some((at, errno as i32)),
    }
}
