//! Answers the planner's questions: the only code that looks at the host before the container exists. Ring 1.

use crate::cgroup_facts;
use crate::child::probe;
use crate::id_facts;
use crate::sys::directory::{self, Names};
use crate::sys::{alloc, clone, fd, process};
use nix::errno::Errno;
use nix::libc;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use stdbox::cpu_list::CpuList;
use stdbox::host::{
    Caller, CpuFacts, Entry, HostFacts, Kind, Listing, MAX_TREE_BYTES, MAX_TREE_ENTRIES, PathFact,
    Question,
};
use stdbox::mountinfo::MountTable;
use stdbox::plan::{At, Slot};
use stdbox::text::AbsPath;

/// The caller, as this process sees it.
pub(crate) fn caller() -> Caller {
    let uid = nix::unistd::geteuid().as_raw();
    Caller {
        uid,
        gid: nix::unistd::getegid().as_raw(),
        // The kernel's settings belong to the initial user namespace's uid 0, by whatever number it is seen here.
        real_root: fs::symlink_metadata("/proc/sys").is_ok_and(|settings| settings.uid() == uid),
        // If it cannot be known, the limit of the job is tried.
        core_limit: process::set_limit(libc::RLIMIT_CORE as u32, None)
            .map_or(u64::MAX, |(_, hard)| hard),
        cwd: cwd(),
        environ: std::env::vars_os()
            .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
            .collect(),
    }
}

/// It may have another name by now.
pub(crate) fn cwd() -> Option<AbsPath> {
    let path = std::env::current_dir().ok()?;
    AbsPath::new(path.as_os_str().as_bytes()).ok()
}

/// Adds the answers to these questions.
pub(crate) fn answer(facts: &mut HostFacts, questions: Vec<Question>) {
    let mut stacked = Vec::new();
    let mut held = None;
    for question in questions {
        match question {
            Question::Mounts => facts.mounts = Some(mounts()),
            Question::Path(path) => {
                let fact = fact(&path, &mut held);
                facts.paths.insert(path, fact);
            }
            Question::Real(path) => {
                let real = real(&path);
                facts.real.insert(path, real);
            }
            Question::List(path) => {
                let listing = list(&path, true);
                facts.lists.insert(path, listing);
            }
            Question::Tree(path) => {
                let listing = tree(&path);
                facts.trees.insert(path, listing);
            }
            Question::Stackable(path) => stacked.push(path),
            Question::TmpfsXattr => facts.tmpfs_xattr = Some(tmpfs_xattr()),
            Question::Devices => facts.devices = Some(devices()),
            Question::Kernel => facts.kernel = Some(release()),
            Question::Cgroup(named) => facts.cgroup = Some(cgroup_facts::gather(named.as_ref())),
            Question::Ids => facts.ids = Some(id_facts::gather(&facts.caller)),
            Question::Cpus => facts.cpus = Some(cpus()),
        }
    }
    if !stacked.is_empty() {
        let answers = stackable(&facts.caller, &stacked);
        facts.stackable.extend(stacked.into_iter().zip(answers));
    }
}

/// All processors, and not only those that this process may run on: the job may change that.
fn cpus() -> CpuFacts {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let allowed = || std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let (soft, hard) =
        process::set_limit(libc::RLIMIT_CPU as u32, None).unwrap_or((u64::MAX, u64::MAX));
    CpuFacts {
        count: CpuList::parse(online.trim_end()).map_or_else(allowed, |list| list.count().into()),
        limit_s: [soft, hard],
    }
}

/// The kernel's release.
pub(crate) fn release() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_| String::new(),
        |names| names.release().to_string_lossy().into_owned(),
    )
}

/// The mount table of this moment.
pub(crate) fn mounts() -> MountTable {
    // The kernel gives no size beforehand, and writes a line anew for each read that it does not fit in.
    let mut text = Vec::with_capacity(16 << 10);
    let read =
        File::open("/proc/self/mountinfo").and_then(|mut table| table.read_to_end(&mut text));
    if read.is_err() {
        text.clear();
    }
    MountTable::parse(&text, fd::mount_id(c"/"))
}

fn os(path: &AbsPath) -> &Path {
    Path::new(OsStr::from_bytes(path.bytes()))
}

/// What is at a path, without following any link.
pub(crate) fn path_fact(path: &AbsPath) -> PathFact {
    fact(path, &mut None)
}

/// The directory that was looked into last, which is often asked about again, and its path.
type Held = Option<(Vec<u8>, OwnedFd)>;

/// The same. The way to the last component is opened without following any link, and the component looked up there.
fn fact(path: &AbsPath, held: &mut Held) -> PathFact {
    match status(path, held) {
        Ok((mode, mount)) => match mode & libc::S_IFMT {
            libc::S_IFLNK => symlink(path),
            libc::S_IFDIR => PathFact::Directory {
                mode: mode & 0o7777,
                mount,
            },
            libc::S_IFREG => PathFact::File,
            _ => PathFact::Other,
        },
        Err(Errno::ELOOP) => symlink(path),
        // A part of the way is a file.
        Err(Errno::ENOTDIR) => PathFact::Other,
        Err(Errno::ENOENT | Errno::ENAMETOOLONG) => PathFact::Missing,
        Err(_) => unseen(path),
    }
}

/// What cannot be looked at: either the way there is closed, or there is something that says nothing about itself, such as
/// another user's FUSE.
fn unseen(path: &AbsPath) -> PathFact {
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    match fd::open_plain(libc::AT_FDCWD, path.as_cstr(), flags) {
        Ok(opened) => {
            fd::close(opened);
            PathFact::Missing
        }
        Err(Errno::EACCES) => PathFact::Denied,
        Err(errno) => PathFact::Failed(errno as i32),
    }
}

fn status(path: &AbsPath, held: &mut Held) -> Result<(u32, bool), Errno> {
    let last = path.bytes().len() - path.name().len();
    let (way, name) = path.as_cstr().to_bytes_with_nul().split_at(last);
    let name = CStr::from_bytes_with_nul(name).unwrap_or(c"");
    // The root, which every job asks about, is opened: where the kernel has no openat2, that is what is reported.
    let name = if path.is_root() { c"." } else { name };
    if way.len() <= 1 && !path.is_root() {
        return fd::status_of(libc::AT_FDCWD, path.as_cstr());
    }
    match held {
        Some((known, directory)) if known == way => fd::status_of(directory.as_raw_fd(), name),
        _ => {
            let way = CString::new(way).unwrap_or_default();
            let flags = libc::O_PATH | libc::O_DIRECTORY;
            let directory = fd::open_plain(libc::AT_FDCWD, &way, flags).map(fd::owned)?;
            let found = fd::status_of(directory.as_raw_fd(), name);
            *held = Some((way.into_bytes(), directory));
            found
        }
    }
}

/// The path without links, as the kernel resolves it for the caller.
fn real(path: &CStr) -> Result<AbsPath, i32> {
    let found = fd::real_path(path).map_err(|errno| errno as i32)?;
    AbsPath::new(&found).map_err(|_| libc::ENAMETOOLONG)
}

fn symlink(path: &AbsPath) -> PathFact {
    PathFact::Symlink {
        real: real(path.as_cstr()).ok(),
        link: fs::read_link(os(path))
            .ok()
            .map(|link| link.into_os_string().into_vec()),
    }
}

fn kind(path: &Path, found: &Metadata) -> Kind {
    let kind = found.file_type();
    if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Symlink(
            fs::read_link(path)
                .map(|link| link.into_os_string().into_vec())
                .unwrap_or_default(),
        )
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_socket() {
        Kind::Socket
    } else if kind.is_file() {
        let readable = nix::unistd::access(path, nix::unistd::AccessFlags::R_OK).is_ok();
        Kind::File {
            bytes: found.len(),
            readable,
        }
    } else {
        Kind::Device
    }
}

/// `looking` says whether it matters which of the directories are empty.
fn list(path: &AbsPath, looking: bool) -> Listing {
    let mut entries = Vec::new();
    // What is mounted there is left alone: to look into it could mount something more.
    let device = fs::symlink_metadata(os(path)).map(|found| found.dev());
    let here = |found: &Metadata| looking && device.as_ref().is_ok_and(|here| *here == found.dev());
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let opened = match fd::open(libc::AT_FDCWD, path.as_cstr(), flags, 0) {
        Ok(opened) => fd::owned(opened),
        Err(Errno::EACCES | Errno::EPERM) => return Listing::Denied,
        Err(_) => return Listing::Missing,
    };
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = directory::entries(opened.as_raw_fd(), &mut buffer) {
        let names = Names(buffer.get(..length).unwrap_or_default()).map(CStr::to_bytes);
        for name in names.filter(|name| !matches!(*name, b"." | b"..")) {
            let entry = os(path).join(OsStr::from_bytes(name));
            // What vanishes while the directory is read is not in it.
            let Ok(metadata) = fs::symlink_metadata(&entry) else {
                continue;
            };
            let kind = kind(&entry, &metadata);
            entries.push(Entry {
                name: name.to_vec(),
                empty: kind == Kind::Directory && here(&metadata) && empty(&entry, &metadata),
                kind,
                mode: metadata.mode() & 0o7777,
                modified: (
                    metadata.mtime(),
                    u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
                ),
            });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Listing::Entries(entries)
}

/// Whether there is nothing in a directory. Its second link is its own `.`; a third is that of a directory in it.
fn empty(path: &Path, found: &Metadata) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    if found.nlink() > 2 {
        return false;
    }
    let Ok(opened) = fd::open_plain(libc::AT_FDCWD, &path, flags) else {
        return false;
    };
    // A name has 255 bytes at most, so that three entries need more bytes than two whose names are `.` and `..`.
    const TWO: usize = 2 * 24;
    let (mut buffer, mut bytes) = ([0; 512], 0);
    let empty = loop {
        match directory::entries(opened, &mut buffer) {
            Ok(0) => break true,
            Ok(more) if bytes + more <= TWO => bytes += more,
            _ => break false,
        }
    };
    fd::close(opened);
    empty
}

/// A directory with all below it, parents first, as far as it is small enough to be copied.
fn tree(top: &AbsPath) -> Listing {
    let (mut all, mut bytes, mut pending) = (Vec::new(), 0, vec![top.clone()]);
    while let Some(directory) = pending.pop() {
        let entries = match list(&directory, false) {
            Listing::Entries(entries) => entries,
            // Below the top, a directory that cannot be read is an empty one.
            _ if &directory != top => continue,
            refusal => return refusal,
        };
        for mut entry in entries {
            let path = directory.join(&entry.name);
            match entry.kind {
                Kind::Directory => pending.push(path.clone()),
                Kind::File { bytes: size, .. } => bytes += size,
                _ => {}
            }
            entry.name = top.rest_of(&path).to_vec();
            all.push(entry);
        }
        if all.len() > MAX_TREE_ENTRIES || bytes > MAX_TREE_BYTES {
            return Listing::TooLarge;
        }
    }
    Listing::Entries(all)
}

/// A memory file lies on the kernel's own tmpfs, which knows the same attributes as every other.
fn tmpfs_xattr() -> bool {
    fd::memfd().is_ok_and(|file| {
        let takes = fd::takes_user_xattr(file);
        fd::close(file);
        takes
    })
}

/// One stands for all. A missing one is no matter here.
fn devices() -> bool {
    match fd::open_plain(libc::AT_FDCWD, c"/dev/null", libc::O_WRONLY) {
        Ok(opened) => {
            fd::close(opened);
            true
        }
        Err(errno) => !matches!(errno, Errno::EACCES | Errno::EPERM),
    }
}

/// Tries an overlay on each of these directories, in namespaces of its own. Where nothing can be tried, the answer is yes, and
/// the container's own attempt says what is wrong.
fn stackable(caller: &Caller, paths: &[AbsPath]) -> Vec<bool> {
    let mut answers = Vec::with_capacity(paths.len());
    let (uid, gid) = (
        format!("{0} {0} 1\n", caller.uid),
        format!("{0} {0} 1\n", caller.gid),
    );
    let maps = [
        (c"/proc/self/setgroups", "deny"),
        (c"/proc/self/uid_map", &uid),
        (c"/proc/self/gid_map", &gid),
    ];
    let scratch = |name: char, i: usize| At::below(Slot(0), format!("{name}{i}").as_bytes());
    let places: Vec<[At; 3]> = paths
        .iter()
        .enumerate()
        .map(|(i, path)| [At::host(path), scratch('u', i), scratch('w', i)])
        .collect();
    if let Ok((reader, writer)) = fd::pipe() {
        if let Ok((pid, pidfd)) = clone::copying(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) {
            if pid == 0 {
                alloc::arm();
                probe::run(&maps, &places, writer);
            }
            fd::close(writer);
            let mut byte = [0];
            while fd::read(reader, &mut byte) == Ok(1) {
                answers.push(byte == [1]);
            }
            let _reaped = process::wait(pid);
            fd::close(pidfd);
        }
        fd::close(reader);
    }
    answers.resize(paths.len(), true);
    answers
}
