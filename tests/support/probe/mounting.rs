//! What a target may try against the mounts that make its container.

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::path::Path;

pub(crate) const HELP: &str = "\
  attack-mounts plain|nested TOKEN FILE..
                              every mount call against every mount; lists what worked and should not have, and where a FILE
                              was seen to hold TOKEN; `nested` first enters a user and mount namespace of its own
";

pub(crate) fn act(words: &[&str]) -> Option<Value> {
    match *words {
        ["attack-mounts", way, token, ref files @ ..] => Some(attack_mounts(way, token, files)),
        _ => None,
    }
}

// ---- calls

pub(crate) const OPEN_TREE: c_long = 428;
const MOVE_MOUNT: c_long = 429;
const FSOPEN: c_long = 430;
const FSCONFIG: c_long = 431;
const FSMOUNT: c_long = 432;
const FSPICK: c_long = 433;
const MOUNT_SETATTR: c_long = 442;

const HERE: u64 = libc::AT_FDCWD as i64 as u64;
const CLONE: u64 = 1;
const AT_RECURSIVE: u64 = 0x8000;
const AT_EMPTY_PATH: u64 = libc::AT_EMPTY_PATH as u64;
const MOVE_FROM_EMPTY: u64 = 0x04;
const MOVE_BENEATH: u64 = 0x200;
const ATTR_IDMAP: u64 = 0x10_0000;
const RECONFIGURE: u64 = 7;
const CREATE: u64 = 6;
const SET_FLAG: u64 = 0;

/// The attributes that a namespace of lesser privilege may not take away: the name in the mount table, the flag of mount(2),
/// and that of mount_setattr(2).
const LOCKED: [(&str, u64, u64); 4] = [
    ("ro", libc::MS_RDONLY, 1),
    ("nosuid", libc::MS_NOSUID, 2),
    ("nodev", libc::MS_NODEV, 4),
    ("noexec", libc::MS_NOEXEC, 8),
];

pub(crate) type Done = Result<u64, Errno>;

pub(crate) fn call(number: c_long, args: &[u64]) -> Done {
    let arg = |i: usize| args.get(i).copied().unwrap_or(0);
    // SAFETY: pointers among the arguments are null or made by `text` and its kin from what the caller still owns.
    let result = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    if result == -1 {
        Err(Errno::last())
    } else {
        Ok(result as u64)
    }
}

pub(crate) fn terminated(text: &str) -> CString {
    CString::new(text).expect("a path has no NUL")
}

pub(crate) fn address(text: &CString) -> u64 {
    text.as_ptr().expose_provenance() as u64
}

fn umount(at: &str, flags: c_int) -> Done {
    let at = terminated(at);
    call(libc::SYS_umount2, &[address(&at), flags as u64])
}

pub(crate) fn mount(source: &str, at: &str, fstype: &str, flags: u64, data: &str) -> Done {
    let [source, at, fstype, data] = [source, at, fstype, data].map(terminated);
    let texts = [&source, &at, &fstype].map(address);
    let [source, at, fstype] = texts;
    call(
        libc::SYS_mount,
        &[source, at, fstype, flags, address(&data)],
    )
}

fn open_tree(at: &str, flags: u64) -> Done {
    let at = terminated(at);
    call(OPEN_TREE, &[HERE, address(&at), flags])
}

fn move_mount(tree: u64, at: &str, flags: u64) -> Done {
    let (at, none) = (terminated(at), terminated(""));
    let flags = flags | MOVE_FROM_EMPTY;
    call(
        MOVE_MOUNT,
        &[tree, address(&none), HERE, address(&at), flags],
    )
}

/// Clears attributes, or maps ids, of what a descriptor or a path stands for.
fn set_attributes(fd: u64, at: &str, flags: u64, [set, clear, userns]: [u64; 3]) -> Done {
    let at = terminated(at);
    let attributes = [set, clear, 0, userns];
    let attributes: *const u64 = attributes.as_ptr();
    let attributes = attributes.expose_provenance() as u64;
    call(MOUNT_SETATTR, &[fd, address(&at), flags, attributes, 32])
}

fn new_tmpfs() -> Done {
    let kind = terminated("tmpfs");
    let fs = call(FSOPEN, &[address(&kind), 0])?;
    call(FSCONFIG, &[fs, CREATE])?;
    let made = call(FSMOUNT, &[fs, 0, 0]);
    close(fs);
    made
}

/// Asks the file system itself, not the mount, to become writable.
fn reconfigure(at: &str) -> Done {
    let (at, key) = (terminated(at), terminated("rw"));
    let fs = call(FSPICK, &[HERE, address(&at), 0])?;
    let done = call(FSCONFIG, &[fs, SET_FLAG, address(&key)])
        .and_then(|_| call(FSCONFIG, &[fs, RECONFIGURE]));
    close(fs);
    done
}

fn pivot_root(new: &str, old: &str) -> Done {
    let (new, old) = (terminated(new), terminated(old));
    call(libc::SYS_pivot_root, &[address(&new), address(&old)])
}

fn chroot(at: &str) -> Done {
    let at = terminated(at);
    call(libc::SYS_chroot, &[address(&at)])
}

pub(crate) fn close(fd: u64) {
    let _ = call(libc::SYS_close, &[fd]);
}

/// Enters a user and a mount namespace of its own, where it has every capability, and maps its ids if it may.
pub(crate) fn enter_namespaces() -> Done {
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
    let done = call(libc::SYS_unshare, &[flags as u64]);
    let _ = fs::write("/proc/self/setgroups", "deny");
    // Who is 0 outside may not map anything (user_namespaces(7)), and has the capabilities all the same.
    let _ = fs::write("/proc/self/uid_map", format!("0 {uid} 1"));
    let _ = fs::write("/proc/self/gid_map", format!("0 {gid} 1"));
    done
}

/// What a copy of this process says.
pub(crate) fn in_fork(body: impl FnOnce() -> Value) -> Value {
    let (from, to) = nix::unistd::pipe().expect("a pipe");
    // SAFETY: this program has one thread.
    match unsafe { libc::fork() } {
        0 => {
            drop(from);
            let text = body().to_string();
            let _ = std::io::Write::write_all(&mut fs::File::from(to), text.as_bytes());
            // SAFETY: nothing is left to be done here.
            unsafe { libc::_exit(0) }
        }
        pid => {
            drop(to);
            let mut text = String::new();
            let _ = std::io::Read::read_to_string(&mut fs::File::from(from), &mut text);
            let mut status = 0;
            // SAFETY: `status` has room for what is written.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
            serde_json::from_str(&text).unwrap_or_else(|_| json!({"broken": ["no answer", status]}))
        }
    }
}

fn raw(fd: &impl std::os::fd::AsRawFd) -> c_int {
    fd.as_raw_fd()
}

// ---- the mount table

#[derive(Clone, Debug)]
struct Mount {
    id: String,
    parent: String,
    at: String,
    options: Vec<String>,
}

impl Mount {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|have| have == option)
    }
}

fn unescaped(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn table() -> Vec<Mount> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let parse = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        Mount {
            id: words[0].to_owned(),
            parent: words[1].to_owned(),
            at: unescaped(words[4]),
            options: words[5].split(',').map(str::to_owned).collect(),
        }
    };
    text.lines().map(parse).collect()
}

fn below(path: &str, top: &str) -> bool {
    path != top && Path::new(path).starts_with(top)
}

/// The mount that a path leads to, crossing one mount after the other as the kernel does.
fn holding<'a>(table: &'a [Mount], path: &str) -> Option<&'a Mount> {
    let is_root =
        |mount: &&Mount| mount.at == "/" && table.iter().all(|other| other.id != mount.parent);
    let mut here = table.iter().find(is_root)?;
    loop {
        let next = table
            .iter()
            .filter(|mount| mount.parent == here.id && mount.id != here.id)
            .filter(|mount| Path::new(path).starts_with(&mount.at))
            .min_by_key(|mount| mount.at.len());
        match next {
            Some(next) => here = next,
            None => return Some(here),
        }
    }
}

/// Those that a path leads to: what lies under another mount cannot be named.
fn reachable(table: &[Mount]) -> Vec<Mount> {
    let named =
        |mount: &&Mount| holding(table, &mount.at).is_some_and(|found| found.id == mount.id);
    table.iter().filter(named).cloned().collect()
}

/// Whether something is mounted below a place, on the very mount that the place lies on.
fn has_children(table: &[Mount], place: &str) -> bool {
    holding(table, place).is_some_and(|holding| {
        table
            .iter()
            .any(|mount| mount.parent == holding.id && below(&mount.at, place))
    })
}

// ---- what was tried

struct Judge<'a> {
    token: &'a str,
    files: &'a [&'a str],
    tried: u64,
    errnos: BTreeMap<String, BTreeMap<String, u64>>,
    broken: Vec<Value>,
}

impl Judge<'_> {
    /// Notes an attempt; returns what came of it.
    fn tried(&mut self, what: &str, result: Done) -> Option<u64> {
        self.tried += 1;
        let said = result.map_or_else(|errno| format!("{errno:?}"), |_| "done".to_owned());
        *self
            .errnos
            .entry(what.to_owned())
            .or_default()
            .entry(said)
            .or_default() += 1;
        result.ok()
    }

    /// Notes an attempt that must not succeed.
    fn refused(&mut self, what: &str, at: &str, result: Done) {
        if self.tried(what, result).is_some() {
            self.broken.push(json!([what, at]));
        }
    }

    /// Looks for the secret files in a tree where `place` of the container is now at `at`.
    fn look(&mut self, what: &str, place: &str, at: &str) {
        for file in self.files {
            let Ok(rest) = Path::new(file).strip_prefix(place) else {
                continue;
            };
            let path = format!("{at}/{}", rest.display());
            if fs::read_to_string(&path).is_ok_and(|text| text.contains(self.token)) {
                self.broken.push(json!([what, "shows", path]));
            }
        }
    }

    fn take(&mut self, other: &Value) {
        self.tried += other["tried"].as_u64().unwrap_or(0);
        self.broken
            .extend(other["broken"].as_array().into_iter().flatten().cloned());
        for (what, counts) in other["errnos"].as_object().into_iter().flatten() {
            for (errno, count) in counts.as_object().into_iter().flatten() {
                *self
                    .errnos
                    .entry(what.clone())
                    .or_default()
                    .entry(errno.clone())
                    .or_default() += count.as_u64().unwrap_or(0);
            }
        }
    }

    fn answer(&self) -> Value {
        json!({"tried": self.tried, "broken": self.broken, "errnos": self.errnos})
    }
}

fn attack_mounts(way: &str, token: &str, files: &[&str]) -> Value {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let fresh = || Judge {
        token,
        files,
        tried: 0,
        errnos: BTreeMap::new(),
        broken: Vec::new(),
    };
    let place = ["/tmp", "/dev/shm"]
        .iter()
        .map(|top| format!("{top}/attack"))
        .find(|place| {
            ["", "/rec", "/new", "/new/old"]
                .iter()
                .all(|name| fs::create_dir(format!("{place}{name}")).is_ok())
        })
        .unwrap_or_default();
    let mut judge = fresh();
    let seen = in_fork(|| {
        let mut judge = fresh();
        let back = ["mnt", "user"].map(|kind| fs::File::open(format!("/proc/self/ns/{kind}")));
        if way == "nested" {
            let entered = enter_namespaces();
            if judge.tried("unshare", entered).is_none() {
                judge.broken.push(json!(["no namespace of its own"]));
                return judge.answer();
            }
        }
        // CAP_SYS_ADMIN over the mount namespace, however it was come by.
        let admin = call(libc::SYS_unshare, &[libc::CLONE_NEWNS as u64]).is_ok();
        // Who keeps the capability where it is may come back to there: that namespace is its own.
        let left = back.iter().flatten().filter(|_| way == "nested" || !admin);
        for fd in left {
            let result = call(libc::SYS_setns, &[raw(fd) as u64, 0]);
            judge.refused("setns", "the container's namespaces", result);
        }
        let all = table();
        alike(&mut judge, &all, &place);
        if admin {
            with_privileges(&mut judge, &all, &place);
        } else {
            without_privileges(&mut judge, &all, &place);
        }
        let mut answer = judge.answer();
        answer["admin"] = json!(admin);
        answer["mounts"] = json!(all.len());
        answer
    });
    judge.take(&seen);
    judge.look("afterwards", "/", "");
    let mut answer = judge.answer();
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    answer["table_unchanged"] = json!(before == after);
    for field in ["admin", "mounts"] {
        answer[field] = seen[field].clone();
    }
    answer
}

/// What nobody may do to a mount of the container, whatever capabilities it got in a namespace of its own.
fn alike(judge: &mut Judge<'_>, all: &[Mount], place: &str) {
    let detach = libc::MNT_DETACH;
    let kinds = [
        ("umount", 0),
        ("umount MNT_FORCE", libc::MNT_FORCE),
        ("umount MNT_DETACH", detach),
        ("umount MNT_EXPIRE", libc::MNT_EXPIRE),
        ("umount UMOUNT_NOFOLLOW", libc::UMOUNT_NOFOLLOW),
        (
            "umount MNT_DETACH|UMOUNT_NOFOLLOW",
            detach | libc::UMOUNT_NOFOLLOW,
        ),
    ];
    for entry in reachable(all) {
        let at = entry.at.as_str();
        for (name, flags) in kinds {
            // Twice, since MNT_EXPIRE only marks a mount at first.
            for _ in 0..2 {
                judge.refused(name, at, umount(at, flags));
            }
        }
        let set = LOCKED.iter().filter(|(name, ..)| entry.has(name));
        let (flags, attributes) = set.clone().fold((0, 0), |(a, b), (_, flag, attribute)| {
            (a | flag, b | attribute)
        });
        let bind = libc::MS_REMOUNT | libc::MS_BIND;
        for (name, flag, attribute) in set {
            let what = format!("remount without {name}");
            judge.refused(&what, at, mount("", at, "", bind | (flags & !flag), ""));
            let what = format!("mount_setattr clears {name}");
            let result = set_attributes(HERE, at, 0, [0, *attribute, 0]);
            judge.refused(&what, at, result);
        }
        if flags != 0 {
            judge.refused("remount without flags", at, mount("", at, "", bind, ""));
            let result = set_attributes(HERE, at, AT_RECURSIVE, [0, attributes, 0]);
            judge.refused("mount_setattr clears all below", at, result);
        }
        judge.refused(
            "remount of the file system",
            at,
            mount("", at, "", libc::MS_REMOUNT, ""),
        );
        judge.refused("fspick and reconfigure", at, reconfigure(at));
        judge.refused("move", at, mount(at, place, "", libc::MS_MOVE, ""));
        if let Ok(tree) = open_tree(at, 0) {
            judge.refused("move_mount", at, move_mount(tree, place, 0));
            close(tree);
        }
    }
    judge.look("in place", "/", "");
}

/// Without CAP_SYS_ADMIN over the mount namespace nothing at all works.
fn without_privileges(judge: &mut Judge<'_>, all: &[Mount], place: &str) {
    for entry in reachable(all) {
        let at = entry.at.as_str();
        judge.refused("bind", at, mount(at, place, "", libc::MS_BIND, ""));
        judge.refused("bind over", at, mount(place, at, "", libc::MS_BIND, ""));
        judge.refused("tmpfs over", at, mount("none", at, "tmpfs", 0, ""));
        judge.refused("shared", at, mount("", at, "", libc::MS_SHARED, ""));
        judge.refused("private", at, mount("", at, "", libc::MS_PRIVATE, ""));
        for flags in [CLONE, CLONE | AT_RECURSIVE] {
            judge.refused("open_tree", at, open_tree(at, flags));
        }
        judge.refused("pivot_root", at, pivot_root(at, at));
        judge.refused("chroot", at, chroot(at));
        judge.refused("mount_setattr", at, set_attributes(HERE, at, 0, [1, 0, 0]));
    }
    judge.refused("new file system", "tmpfs", new_tmpfs());
    for kind in [
        "proc", "sysfs", "tmpfs", "overlay", "devpts", "mqueue", "cgroup2",
    ] {
        let kind_text = terminated(kind);
        judge.refused("fsopen", kind, call(FSOPEN, &[address(&kind_text), 0]));
    }
}

/// With it, in a namespace whose mounts came from one of more privilege: copies can be made, but only with all that covers
/// something, and nothing below is ever seen.
fn with_privileges(judge: &mut Judge<'_>, all: &[Mount], place: &str) {
    let mut places: Vec<String> = reachable(all).into_iter().map(|mount| mount.at).collect();
    for file in judge.files {
        places.extend(
            Path::new(file)
                .ancestors()
                .skip(1)
                .map(|path| path.display().to_string()),
        );
    }
    places.sort();
    places.dedup();
    let (copy, other) = (format!("{place}/rec"), format!("{place}/new"));
    for from in places.iter().filter(|from| Path::new(from).is_dir()) {
        let covering = has_children(all, from);
        let bound = mount(from, &copy, "", libc::MS_BIND, "");
        if covering {
            judge.refused("bind without what is below", from, bound);
            judge.refused(
                "open_tree without what is below",
                from,
                open_tree(from, CLONE),
            );
        } else if judge.tried("bind", bound).is_some() {
            judge.look("bind", from, &copy);
            judge.tried("umount of an own bind", umount(&copy, libc::MNT_DETACH));
        }
        let layers = format!("lowerdir={from}:{other},userxattr");
        let made = mount("none", &copy, "overlay", 0, &layers);
        if covering {
            judge.refused("overlay without what is below", from, made);
        } else if judge.tried("overlay", made).is_some() {
            judge.look("overlay", from, &copy);
            judge.tried("umount of an own overlay", umount(&copy, libc::MNT_DETACH));
        }
        copied(judge, all, from, &copy);
        detached(judge, all, from);
    }
    for entry in reachable(all) {
        if let Ok(tree) = new_tmpfs() {
            judge.tried("mount beneath", move_mount(tree, &entry.at, MOVE_BENEATH));
            close(tree);
        }
        judge.refused(
            "umount after that",
            &entry.at,
            umount(&entry.at, libc::MNT_DETACH),
        );
    }
    judge.look("mount beneath", "/", "");
    let seen = in_fork(|| climbed(judge, place));
    judge.take(&seen);
    // Last, since the root changes for the whole namespace.
    let seen = in_fork(|| pivoted(judge, all, place));
    judge.take(&seen);
}

/// A recursive bind: its submounts stay locked, and stay where they are when the whole is detached.
fn copied(judge: &mut Judge<'_>, all: &[Mount], from: &str, copy: &str) {
    let bound = mount(from, copy, "", libc::MS_BIND | libc::MS_REC, "");
    if judge.tried("recursive bind", bound).is_none() {
        return;
    }
    judge.look("recursive bind", from, copy);
    for entry in all.iter().filter(|entry| below(&entry.at, from)) {
        let rest = Path::new(&entry.at)
            .strip_prefix(from)
            .expect("it lies below");
        let at = format!("{copy}/{}", rest.display());
        let entered = Path::new(&at).exists() && is_mounted(&at);
        if entered {
            let result = umount(&at, libc::MNT_DETACH);
            judge.refused("umount in a copy", &at, result);
        }
    }
    judge.look("umount in a copy", from, copy);
    let held = terminated(copy);
    let flags = (libc::O_PATH | libc::O_DIRECTORY) as u64;
    let held = call(libc::SYS_openat, &[HERE, address(&held), flags, 0]);
    judge.tried("detach of a copy", umount(copy, libc::MNT_DETACH));
    if let Ok(held) = held {
        judge.look("detached copy", from, &format!("/proc/self/fd/{held}"));
        close(held);
    }
}

/// Whether a path is the root of a mount now.
fn is_mounted(at: &str) -> bool {
    table().iter().any(|mount| mount.at == at)
}

/// A copy that is mounted nowhere: its attributes and submounts stay what they are.
fn detached(judge: &mut Judge<'_>, all: &[Mount], from: &str) {
    let Some(tree) = judge.tried("open_tree", open_tree(from, CLONE | AT_RECURSIVE)) else {
        return;
    };
    let top = format!("/proc/self/fd/{tree}");
    judge.look("open_tree", from, &top);
    let root = reachable(all).into_iter().find(|mount| mount.at == from);
    let set = |mount: &Mount| {
        LOCKED
            .iter()
            .filter(|(name, ..)| mount.has(name))
            .fold(0, |all, (_, _, attribute)| all | attribute)
    };
    let attributes = root.as_ref().map_or(0, set);
    if attributes != 0 {
        let result = set_attributes(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, [0, attributes, 0]);
        judge.refused("mount_setattr of a detached copy", from, result);
    }
    if let Ok(own) = fs::File::open("/proc/self/ns/user") {
        let result = set_attributes(
            tree,
            "",
            AT_EMPTY_PATH | AT_RECURSIVE,
            [ATTR_IDMAP, 0, raw(&own) as u64],
        );
        judge.refused("mount_setattr with mapped ids", from, result);
    }
    for entry in all.iter().filter(|entry| below(&entry.at, from)) {
        let rest = Path::new(&entry.at)
            .strip_prefix(from)
            .expect("it lies below");
        let at = format!("{top}/{}", rest.display());
        judge.refused(
            "umount in a detached copy",
            &entry.at,
            umount(&at, libc::MNT_DETACH),
        );
    }
    judge.look("umount in a detached copy", from, &top);
    close(tree);
}

/// A root of its own, with the container's tree below it, then without.
fn pivoted(judge: &mut Judge<'_>, all: &[Mount], place: &str) -> Value {
    let mut judge = Judge {
        tried: 0,
        errnos: BTreeMap::new(),
        broken: Vec::new(),
        ..*judge
    };
    let new = format!("{place}/new");
    let old = format!("{new}/old");
    // No file system of its own: where no id is mapped, nothing could be made in it.
    let ready = mount(&new, &new, "", libc::MS_BIND, "").and_then(|_| pivot_root(&new, &old));
    if judge.tried("pivot_root", ready).is_none() {
        return judge.answer();
    }
    judge.look("pivot_root", "/", "/old");
    for entry in reachable(all).iter().filter(|entry| entry.at != "/") {
        let at = format!("/old{}", entry.at);
        for flags in [0, libc::MNT_DETACH] {
            judge.refused("umount below the old root", &at, umount(&at, flags));
        }
    }
    judge.look("umount below the old root", "/", "/old");
    let held = terminated("/old");
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY) as u64;
    let held = call(libc::SYS_openat, &[HERE, address(&held), flags, 0]);
    judge.tried("detach of the old root", umount("/old", libc::MNT_DETACH));
    if let Ok(held) = held {
        for file in judge.files {
            // Without a procfs the way goes from the descriptor.
            let rest = terminated(file.trim_start_matches('/'));
            let Ok(fd) = call(libc::SYS_openat, &[held, address(&rest), 0, 0]) else {
                continue;
            };
            if read_fd(fd).contains(judge.token) {
                judge
                    .broken
                    .push(json!(["detach of the old root", "shows", file]));
            }
        }
    }
    judge.refused("umount of the new root", "/", umount("/", libc::MNT_DETACH));
    judge.answer()
}

pub(crate) fn read_fd(fd: u64) -> String {
    let mut bytes = [0u8; 4096];
    let place: *mut u8 = bytes.as_mut_ptr();
    let count = call(
        libc::SYS_read,
        &[fd, place.expose_provenance() as u64, 4096],
    );
    close(fd);
    String::from_utf8_lossy(&bytes[..count.unwrap_or(0) as usize]).into_owned()
}

/// The old way out of a chroot: a working directory outside, then up. What is above is the container's root.
fn climbed(judge: &mut Judge<'_>, place: &str) -> Value {
    let mut judge = Judge {
        tried: 0,
        errnos: BTreeMap::new(),
        broken: Vec::new(),
        ..*judge
    };
    let out = std::env::set_current_dir("/").map(|()| chroot(place));
    judge.tried("chroot", out.unwrap_or(Err(Errno::EIO)));
    let up = "../".repeat(64);
    let _ = std::env::set_current_dir(&up);
    let _ = chroot(".");
    judge.look("chroot and up", "/", "");
    judge.answer()
}
