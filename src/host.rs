//! What the planner may know of the host: questions and their answers, data only. Ring 0.
//!
//! The planner asks for what it misses; ring 1 answers; the planner runs again. So the planner stays an ordinary function,
//! and a test writes a host as a literal.

mod document;

use crate::cgroup::CgroupFacts;
use crate::mountinfo::MountTable;
use crate::results::Time;
use crate::subid::IdRange;
use crate::text::AbsPath;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;

/// Something that the planner must know.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Question {
    /// The mount table.
    Mounts,
    /// What is at a path.
    Path(AbsPath),
    /// Which path without links a path that the caller gave stands for.
    Real(CString),
    /// The entries of a directory.
    List(AbsPath),
    /// The entries of a directory and of all below it, up to the bounds of [`MAX_TREE_ENTRIES`] and [`MAX_TREE_BYTES`].
    Tree(AbsPath),
    /// Whether an overlay can have this directory, which lies on an overlay already, as its lower layer.
    Stackable(AbsPath),
    /// Whether a memory file system can hold `user.*` extended attributes (since Linux 6.6).
    TmpfsXattr,
    /// Whether the device files of /dev can be opened.
    Devices,
    /// The kernel's release.
    Kernel,
    /// Which ids the caller has beside its own.
    Ids,
    /// How much processor time there is.
    Cpus,
    /// Below which control group the job can have its own: this one, or one that the caller has.
    Cgroup(Option<AbsPath>),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounts => f.write_str("what is mounted"),
            Self::Path(path) => write!(f, "what is at {}", path.lossy()),
            Self::Real(path) => write!(f, "what {} stands for", path.to_string_lossy()),
            Self::List(path) | Self::Tree(path) => write!(f, "what is in {}", path.lossy()),
            Self::Stackable(path) => write!(f, "whether an overlay fits on {}", path.lossy()),
            Self::TmpfsXattr => f.write_str("whether a tmpfs holds user attributes"),
            Self::Devices => f.write_str("whether device files can be opened"),
            Self::Kernel => f.write_str("which kernel there is"),
            Self::Ids => f.write_str("which ids the caller has"),
            Self::Cpus => f.write_str("how many processors there are"),
            Self::Cgroup(_) => f.write_str("which control groups there are"),
        }
    }
}

/// A directory with more entries is not copied in place of an overlay.
pub const MAX_TREE_ENTRIES: usize = 10_000;

/// A directory with more bytes is not copied in place of an overlay.
pub const MAX_TREE_BYTES: u64 = 64 << 20;

/// What is at a path, without following any symbolic link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathFact {
    /// Nothing.
    Missing,
    /// It could not be looked at, with this error number.
    Failed(i32),
    /// A parent cannot be searched.
    Denied,
    /// The path or a part of it is a symbolic link; with the path that it stands for, if that exists.
    Symlink {
        /// The path without links.
        real: Option<AbsPath>,
        /// What the link itself holds, where the last component is the link.
        link: Option<Vec<u8>>,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
        /// Whether something is mounted right there.
        mount: bool,
    },
    /// A regular file.
    File,
    /// Anything else, such as a device file.
    Other,
}

/// The kind of a directory entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its size.
        bytes: u64,
        /// Whether the caller can read it.
        readable: bool,
    },
    /// A symbolic link and what it holds.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character or block device.
    Device,
}

/// One entry of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name; in a [`Question::Tree`], its path relative to the top, parents first.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// When it was modified.
    pub modified: Time,
    /// Whether it is a directory in which there is nothing; not looked for in a [`Question::Tree`].
    pub empty: bool,
}

/// The answer to a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listing {
    /// Its entries.
    Entries(Vec<Entry>),
    /// It cannot be read.
    Denied,
    /// It is not there any more.
    Missing,
    /// It has more than the bounds of a copied tree.
    TooLarge,
}

/// The process that asked for the job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Whether `uid` is the real root's, uid 0 of the initial user namespace, to whom the kernel's global settings belong.
    pub real_root: bool,
    /// The most that it may set as the limit of core dumps.
    pub core_limit: u64,
    /// Working directory, where it is known.
    pub cwd: Option<AbsPath>,
    /// Environment, as `NAME=value`.
    pub environ: Vec<Vec<u8>>,
}

/// The ids that the caller has. Of each pair the first is about users, the second about groups.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IdFacts {
    /// Whether it has CAP_SETUID, CAP_SETGID and CAP_SETFCAP, so that all ids of its user namespace are its to map.
    pub privileged: bool,
    /// The ids that there are in its user namespace.
    pub existing: [Vec<IdRange>; 2],
    /// What /etc/subuid and /etc/subgid give it.
    pub subordinate: [Vec<IdRange>; 2],
    /// The name by which they know it; its number where it has none.
    pub name: String,
    /// newuidmap(1) and newgidmap(1), where they are installed.
    pub helpers: [Option<AbsPath>; 2],
    /// Whom the kernel's global settings belong to, user and group, as they are seen here. Where the real root has no id
    /// here, this is the number that stands for all such ids; an id of the same number is then taken for it.
    pub settings_owner: (u32, u32),
}

/// How much processor time the job could use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuFacts {
    /// Processors that are online.
    pub count: u64,
    /// The caller's RLIMIT_CPU, soft and hard, in seconds.
    pub limit_s: [u64; 2],
}

/// All answers so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostFacts {
    /// Who asks.
    pub caller: Caller,
    /// Whether other jobs of the same batch take all processors.
    pub busy: bool,
    /// The mount table.
    pub mounts: Option<MountTable>,
    /// What is at a path.
    pub paths: BTreeMap<AbsPath, PathFact>,
    /// What paths stand for, or the error number.
    pub real: BTreeMap<CString, Result<AbsPath, i32>>,
    /// Entries of directories.
    pub lists: BTreeMap<AbsPath, Listing>,
    /// Entries of whole trees.
    pub trees: BTreeMap<AbsPath, Listing>,
    /// Whether an overlay fits on a directory.
    pub stackable: BTreeMap<AbsPath, bool>,
    /// Whether a memory file system holds `user.*` attributes.
    pub tmpfs_xattr: Option<bool>,
    /// Whether device files can be opened: not where they lie on a mount with `nodev`.
    pub devices: Option<bool>,
    /// The kernel's release, as uname(2) names it.
    pub kernel: Option<String>,
    /// Which ids the caller has.
    pub ids: Option<IdFacts>,
    /// How much processor time there is.
    pub cpus: Option<CpuFacts>,
    /// Below which control groups the job can have its own.
    pub cgroup: Option<CgroupFacts>,
    /// The disk scratch that was made for the job: where, and whether it holds `user.*` attributes.
    pub disk_scratch: Option<(AbsPath, bool)>,
}

impl HostFacts {
    /// Whether the question has its answer.
    #[must_use]
    pub fn knows(&self, question: &Question) -> bool {
        match question {
            Question::Mounts => self.mounts.is_some(),
            Question::Path(path) => self.paths.contains_key(path),
            Question::Real(path) => self.real.contains_key(path),
            Question::List(path) => self.lists.contains_key(path),
            Question::Tree(path) => self.trees.contains_key(path),
            Question::Stackable(path) => self.stackable.contains_key(path),
            Question::TmpfsXattr => self.tmpfs_xattr.is_some(),
            Question::Devices => self.devices.is_some(),
            Question::Kernel => self.kernel.is_some(),
            Question::Ids => self.ids.is_some(),
            Question::Cpus => self.cpus.is_some(),
            Question::Cgroup(_) => self.cgroup.is_some(),
        }
    }
}
