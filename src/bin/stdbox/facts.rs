//! Answers the planner's questions: the only code that looks at the host before the container exists. Ring 1.

use crate::cgroup_facts;
use crate::child::probe;
use crate::id_facts;
use crate::sys::{alloc, fd, process};
use nix::errno::Errno;
use nix::libc;
use std::ffi::{CStr, OsStr};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
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
        cwd: std::env::current_dir()
            .ok()
            .and_then(|path| AbsPath::new(path.as_os_str().as_bytes()).ok()),
        environ: std::env::vars_os()
            .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
            .collect(),
    }
}

/// Adds the answers to these questions.
pub(crate) fn answer(facts: &mut HostFacts, questions: Vec<Question>) {
    let mut stacked = Vec::new();
    for question in questions {
        match question {
            Question::Mounts => facts.mounts = Some(mounts()),
            Question::Path(path) => {
                let fact = path_fact(&path);
                facts.paths.insert(path, fact);
            }
            Question::Real(path) => {
                let real = real(&path);
                facts.real.insert(path, real);
            }
            Question::List(path) => {
                let listing = list(&path);
                facts.lists.insert(path, listing);
            }
            Question::Tree(path) => {
                let listing = tree(&path);
                facts.trees.insert(path, listing);
            }
            Question::Stackable(path) => stacked.push(path),
            Question::TmpfsXattr => facts.tmpfs_xattr = Some(tmpfs_xattr()),
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
    MountTable::parse(
        &fs::read("/proc/self/mountinfo").unwrap_or_default(),
        fd::mount_id(c"/"),
    )
}

fn os(path: &AbsPath) -> &Path {
    Path::new(OsStr::from_bytes(path.bytes()))
}

/// What is at a path, without following any link.
pub(crate) fn path_fact(path: &AbsPath) -> PathFact {
    let opened = match fd::open_plain(
        libc::AT_FDCWD,
        path.as_cstr(),
        libc::O_PATH | libc::O_NOFOLLOW,
    ) {
        Ok(opened) => File::from(fd::owned(opened)),
        Err(Errno::ELOOP) => return symlink(path),
        Err(Errno::EACCES) => return PathFact::Denied,
        // A part of the way is a file.
        Err(Errno::ENOTDIR) => return PathFact::Other,
        Err(Errno::ENOENT | Errno::ENAMETOOLONG) => return PathFact::Missing,
        Err(errno) => return PathFact::Failed(errno as i32),
    };
    match fd::status(opened.as_raw_fd()) {
        Some((mode, mount)) => match mode & libc::S_IFMT {
            libc::S_IFLNK => symlink(path),
            libc::S_IFDIR => PathFact::Directory {
                mode: mode & 0o7777,
                mount,
            },
            libc::S_IFREG => PathFact::File,
            _ => PathFact::Other,
        },
        None => PathFact::Missing,
    }
}

/// The path without links, as the kernel resolves it for the caller.
fn real(path: &CStr) -> Result<AbsPath, i32> {
    let found = fs::canonicalize(Path::new(OsStr::from_bytes(path.to_bytes())));
    let errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    found
        .map_err(errno)
        .and_then(|path| AbsPath::new(path.as_os_str().as_bytes()).map_err(|_| libc::ENAMETOOLONG))
}

fn symlink(path: &AbsPath) -> PathFact {
    let real = fs::canonicalize(os(path))
        .ok()
        .and_then(|real| AbsPath::new(real.as_os_str().as_bytes()).ok());
    PathFact::Symlink {
        real,
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

fn refused(error: &io::Error) -> Listing {
    if error.kind() == io::ErrorKind::PermissionDenied {
        Listing::Denied
    } else {
        Listing::Missing
    }
}

fn list(path: &AbsPath) -> Listing {
    let mut entries = Vec::new();
    let found = match fs::read_dir(os(path)) {
        Ok(found) => found,
        Err(error) => return refused(&error),
    };
    for entry in found.flatten() {
        // What vanishes while the directory is read is not in it.
        if let Ok(metadata) = entry.metadata() {
            let kind = kind(&entry.path(), &metadata);
            entries.push(Entry {
                name: entry.file_name().into_vec(),
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

/// A directory with all below it, parents first, as far as it is small enough to be copied.
fn tree(top: &AbsPath) -> Listing {
    let (mut all, mut bytes, mut pending) = (Vec::new(), 0, vec![top.clone()]);
    while let Some(directory) = pending.pop() {
        let entries = match list(&directory) {
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
        if let Ok((pid, pidfd)) = process::clone(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) {
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
