//! The job as it is meant: every rule about one job alone. Ring 0.
//!
//! `Job::new` consumes the [`Spec`], fills in the defaults of `design.md` section 2, and proves what a system call later
//! relies on: no NUL, absolute paths, numbers in range, fields that do not contradict each other.

mod groups;
mod mounts;
mod normal;
mod rules;
mod sync;

use crate::capability::Capabilities;
use crate::cpu_list::CpuList;
use crate::json;
use crate::pattern::Pattern;
use crate::problem::{Code, Problem};
use crate::profile::Profile;
use crate::spec::filter::SeccompObject;
use crate::spec::{self, Dev, IdMap, Lxcfs, Mode, Network, ProcMode, Spec, Sys, WordOr};
use crate::sync::Sync;
use crate::text::{AbsPath, Contents};
pub(crate) use groups::CPU_PERIOD_US;
pub use mounts::MAX_LOWER;
pub(crate) use mounts::in_proc;
use rules::*;
use std::collections::BTreeMap;
use std::ffi::CString;

/// The protocol version.
pub const VERSION: u64 = 1;

/// A validated job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Job {
    /// Echoed in the report.
    pub id: Option<String>,
    /// The command line; never empty.
    pub argv: Vec<CString>,
    /// The file to execute instead of `argv[0]`.
    pub executable: Option<CString>,
    /// Working directory; `None` is the caller's.
    pub cwd: Option<AbsPath>,
    /// Environment.
    pub env: Env,
    /// Standard input.
    pub stdin: Input,
    /// Standard output.
    pub stdout: Output,
    /// Standard error; `None` is wherever standard output goes.
    pub stderr: Option<Output>,
    /// Modes by path, with the three defaults filled in where they were not named.
    pub directories: BTreeMap<AbsPath, Directory>,
    /// The directory of the host that the modes apply to; `None` is the host's `/`.
    pub root: Option<CString>,
    /// Extra mounts, in order.
    pub mounts: Vec<Mount>,
    /// Where hidden directories and overlay writes live.
    pub scratch: Scratch,
    /// Which /dev.
    pub dev: Dev,
    /// Which /proc.
    pub proc: ProcMode,
    /// Which /sys.
    pub sys: Sys,
    /// Whether LXCFS is used where it runs.
    pub lxcfs: bool,
    /// Whether own system configuration files are supplied.
    pub system_config: bool,
    /// Identity inside.
    pub user: User,
    /// Host name inside; `None` keeps the host's.
    pub hostname: Option<String>,
    /// Whether the host's network is shared.
    pub host_network: bool,
    /// Limits.
    pub limits: Limits,
    /// Limits that need a control group.
    pub group_limits: GroupLimits,
    /// Whether the job gets a control group.
    pub cgroup: Cgroup,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Capabilities that the target keeps, in a user namespace of its own.
    pub capabilities: Capabilities,
    /// Descriptors that the target keeps beside 0, 1 and 2; sorted.
    pub fds: Vec<i32>,
    /// Which files are taken out of the container, and where to.
    pub results: Option<Wanted>,
    /// Whether the report lists what the job changed.
    pub changes: bool,
    /// Whether the target runs below a small pid 1.
    pub init: bool,
    /// Events for the caller, and pauses by it.
    pub sync: Option<Sync>,
    /// Whether anything degraded is an error.
    pub strict: bool,
}

/// A directory mode and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// The mode.
    pub mode: Mode,
    /// JSON pointer of the entry; `None` for a default.
    pub at: Option<String>,
}

/// One of `mounts`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Where in the container.
    pub target: AbsPath,
    /// What.
    pub kind: MountKind,
}

/// What is mounted. Paths are the host's, as the caller would name them: links are followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Which.
        source: CString,
        /// Whether it cannot be written.
        read_only: bool,
        /// With what is mounted below it.
        recursive: bool,
    },
    /// A memory file system.
    Tmpfs {
        /// Its size; `None` is the kernel's default.
        size_bytes: Option<u64>,
        /// Its number of inodes.
        inodes: Option<u64>,
        /// Permission bits of its root directory.
        mode: u32,
    },
    /// A file of the container's own.
    File {
        /// What it holds.
        bytes: Contents,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link of the container's own.
    Symlink {
        /// What it holds.
        to: CString,
    },
    /// An overlay whose upper layer outlives the job.
    Overlay {
        /// Lower layers, topmost first.
        lower: Vec<CString>,
        /// Upper layer.
        upper: CString,
        /// Work directory.
        work: CString,
    },
    /// POSIX message queues.
    Mqueue,
}

/// How the target's environment is made: inherit, then set, then unset.
#[derive(Clone, Debug)]
pub struct Env {
    /// `None` inherits all; else these names.
    pub inherit: Option<Vec<Vec<u8>>>,
    /// Set afterwards, each once.
    pub set: Vec<(Vec<u8>, Vec<u8>)>,
    /// Removed at the end.
    pub unset: Vec<Vec<u8>>,
}

/// Standard input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// /dev/null
    Null,
    /// These bytes, through a pipe.
    Bytes(Contents),
    /// A file of the host.
    File(CString),
    /// A descriptor of the caller; 0 is its standard input.
    Fd(i32),
}

/// Standard output or error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// /dev/null
    Null,
    /// Into the report, up to so many bytes.
    Capture(u64),
    /// Into a file of the host.
    File {
        /// Which.
        path: CString,
        /// Keep what it holds.
        append: bool,
    },
    /// Into a descriptor of the caller.
    Fd(i32),
}

/// Scratch space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scratch {
    /// One private tmpfs.
    Tmpfs {
        /// Its size; `None` is the kernel's default, half of the memory.
        size_bytes: Option<u64>,
        /// Its number of inodes.
        inodes: Option<u64>,
        /// NUMA nodes its memory is bound to.
        numa_nodes: Vec<u32>,
    },
    /// A fresh subdirectory of a directory of the host.
    Disk(AbsPath),
}

/// Identity inside the container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// User name for the generated passwd.
    pub name: String,
    /// Group name for the generated group file.
    pub group: String,
    /// Home directory; `None` keeps the caller's HOME.
    pub home: Option<AbsPath>,
    /// Which other ids there are.
    pub map: IdMap,
}

/// A system call filter.
#[derive(Clone, Debug)]
pub enum Seccomp {
    /// None.
    Off,
    /// Without the calls that reach outside the container.
    Default,
    /// With the calls that ordinary programs need.
    Strict,
    /// The job's own.
    Own {
        /// What it means.
        profile: Profile,
        /// As the job gives it.
        asked: Box<SeccompObject>,
    },
}

/// Files that are taken out of the container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Where they go on the host.
    pub directory: AbsPath,
    /// Which; never empty.
    pub patterns: Vec<Pattern>,
    /// At most so many.
    pub max_files: Option<u64>,
    /// At most so many bytes.
    pub max_bytes: Option<u64>,
}

/// Limits that need no control group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Wall time of the target.
    pub wall_time_ms: Option<u64>,
    /// Processor time of all processes together.
    pub cpu_time_ms: Option<u64>,
    /// Captured bytes of standard output and error together.
    pub output_bytes: Option<u64>,
    /// Time between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// Resource limits (setrlimit(2)), as resource and value; both soft and hard.
    pub rlimits: Vec<(Rlimit, u64)>,
}

/// Limits that need a control group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupLimits {
    /// Memory of the whole job.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Processor time in each tenth of a second, in microseconds.
    pub cpu_quota_us: Option<u64>,
    /// Which processors.
    pub cpuset: Option<CpuList>,
}

/// Whether a job gets a control group of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Cgroup {
    /// If a limit asks for it.
    #[default]
    Auto,
    /// In any case.
    Required,
    /// In no case.
    Off,
    /// In any case, below this one.
    Parent(AbsPath),
}

/// The resources that a job can limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rlimit {
    /// RLIMIT_NOFILE
    OpenFiles,
    /// RLIMIT_FSIZE
    FileSize,
    /// RLIMIT_STACK
    Stack,
    /// RLIMIT_AS
    AddressSpace,
    /// RLIMIT_CORE
    Core,
}

impl Rlimit {
    /// JSON pointer of the field.
    #[must_use]
    pub const fn pointer(self) -> &'static str {
        match self {
            Self::OpenFiles => "/limits/open_files",
            Self::FileSize => "/limits/file_size_bytes",
            Self::Stack => "/limits/stack_bytes",
            Self::AddressSpace => "/limits/address_space_bytes",
            Self::Core => "/limits/core_bytes",
        }
    }
}

/// What the job's meaning depends on beside the job: the descriptors of the caller that its JSON comes from and the report goes
/// to, which therefore cannot belong to the target. `None` is a file that only stdbox has open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Channels {
    /// Where the job was read from; 0 is stdin.
    pub spec: Option<i32>,
    /// Where the report is written to; 1 is stdout.
    pub report: Option<i32>,
}

impl Channels {
    /// How stdbox is started without options.
    pub const STANDARD: Self = Self {
        spec: Some(0),
        report: Some(1),
    };
}

type Checked<T> = Result<T, Problem>;

impl Job {
    /// Reads, checks and completes a job.
    ///
    /// # Errors
    /// The first rule of sections 1, 2 and 5.2 of the contract that it breaks; `id` is lost then, see [`id_of`].
    pub fn from_slice(bytes: &[u8], channels: Channels) -> Checked<Self> {
        Self::new(
            json::parse(bytes)?.read::<Spec>().map_err(Problem::from)?,
            channels,
        )
    }

    /// Whether its container can be made before its turn has come, and unmade again, without anybody noticing: nothing of the
    /// host is changed for it that stays, and nobody is told.
    #[must_use]
    pub fn can_wait_prepared(&self) -> bool {
        let file = |output: &Output| matches!(output, Output::File { .. });
        let mut outputs = [Some(&self.stdout), self.stderr.as_ref()].into_iter();
        let upper = |mount: &Mount| matches!(mount.kind, MountKind::Overlay { .. });
        let writes = outputs.any(|output| output.is_some_and(file));
        !writes && !self.mounts.iter().any(upper) && self.results.is_none() && self.sync.is_none()
    }

    /// What was given in the job itself, for its standard input and for files in the container.
    pub fn contents(&self) -> impl Iterator<Item = &Contents> {
        let input = match &self.stdin {
            Input::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        let files = self.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::File { bytes, .. } => Some(bytes),
            _ => None,
        });
        input.into_iter().chain(files)
    }

    /// Checks and completes a job.
    ///
    /// # Errors
    /// The first rule that it breaks, with the JSON pointer of the field.
    pub fn new(spec: Spec, channels: Channels) -> Checked<Self> {
        if let Some(version) = spec.version.filter(|&v| v != VERSION) {
            return Err(Problem::at(
                Code::UnsupportedVersion,
                "/version",
                format!("Protocol version {version} is not spoken here; version {VERSION} is."),
            ));
        }
        if let Some(id) = &spec.id {
            bounded(id.len(), 256, "/id")?;
        }
        let system_config = spec.system_config.unwrap_or(true);
        let host_network = spec.network == Some(Network::Host);
        let directories = directories(spec.directories.unwrap_or_default())?;
        let dev_named = directories.contains_key(b"/dev".as_slice());
        let proc = spec.proc.unwrap_or(ProcMode::Fresh);
        let kept = capabilities(&spec.capabilities.unwrap_or_default(), spec.init, proc)?;
        let sys = sys(spec.sys, &directories, host_network, kept.is_empty())?;
        let root = spec.root.as_ref().map(|path| file_path(path, "/root"));
        let root = root.transpose()?;
        let scratch = scratch(spec.scratch.unwrap_or_default())?;
        let group_limits = groups::limits(&spec.limits.clone().unwrap_or_default())?;
        let taken = Taken {
            channels,
            sync: None,
        };
        let sync = spec.sync.map(|spec| sync::sync(&spec, taken)).transpose()?;
        let taken = Taken { sync, ..taken };
        let job = Self {
            argv: argv(spec.argv)?,
            executable: spec
                .executable
                .as_ref()
                .map(|path| file_path(path, "/executable"))
                .transpose()?,
            cwd: match &spec.cwd {
                Some(path) => Some(abs_path(path, "/cwd")?),
                // The caller's directory is a place in another tree.
                None => root.is_some().then(AbsPath::root),
            },
            env: env(spec.env.unwrap_or_default())?,
            stdin: input(spec.stdin, taken)?,
            stdout: output(spec.stdout, "/stdout", 1, taken)?,
            stderr: match spec.stderr {
                Some(WordOr::Word(spec::ErrorWord::Stdout)) => None,
                Some(WordOr::Word(spec::ErrorWord::Null)) => Some(Output::Null),
                Some(WordOr::Word(spec::ErrorWord::Inherit)) => {
                    Some(Output::Fd(own(2, "/stderr", taken)?))
                }
                Some(WordOr::Object(object)) => Some(output_object(object, "/stderr", taken)?),
                None => Some(Output::Capture(DEFAULT_CAPTURE)),
            },
            directories,
            root,
            mounts: mounts::mounts(spec.mounts.unwrap_or_default())?,
            scratch: scratch.clone(),
            dev: match spec.dev {
                Some(Dev::Minimal) if dev_named => {
                    return Err(Problem::at(
                        Code::Contradiction,
                        "/dev",
                        "A mode for /dev in \"directories\" asks for the host's /dev, \"dev\":\"minimal\" for an own one.",
                    ));
                }
                None if dev_named => Dev::Host,
                other => other.unwrap_or(Dev::Minimal),
            },
            proc,
            sys,
            lxcfs: spec.lxcfs != Some(Lxcfs::Off),
            system_config,
            user: user(spec.user.unwrap_or_default(), system_config)?,
            hostname: match spec.hostname {
                Some(name) => Some(hostname(name)?),
                None => system_config.then(|| "stdbox".to_owned()),
            },
            host_network,
            limits: limits(&spec.limits.unwrap_or_default())?,
            cgroup: groups::cgroup(spec.cgroup, &group_limits)?,
            group_limits,
            seccomp: seccomp(spec.seccomp)?,
            capabilities: kept,
            fds: fds(spec.fds.unwrap_or_default(), taken)?,
            results: spec
                .results
                .map(|spec| results(spec, &scratch))
                .transpose()?,
            changes: spec.changes.unwrap_or(false),
            init: spec.init.unwrap_or(true),
            sync,
            strict: spec.strict.unwrap_or(false),
            id: spec.id,
        };
        bounded_output(&job)?;
        Ok(job)
    }

    /// The mode of a path: that of the longest named directory that contains it.
    #[must_use]
    pub fn mode_of(&self, path: &AbsPath) -> Mode {
        deciding(&self.directories, path).map_or(Mode::Overlay, |directory| directory.mode)
    }
}

/// The entry that decides about a path: the longest one that contains it.
#[must_use]
pub fn deciding<'a>(
    directories: &'a BTreeMap<AbsPath, Directory>,
    path: &AbsPath,
) -> Option<&'a Directory> {
    path.closest(directories).map(|(_, directory)| directory)
}

/// The `id` of a job that may be wrong otherwise, so that its refusal can still be matched.
#[must_use]
pub fn id_of(bytes: &[u8]) -> Option<String> {
    let json::Value::Object(entries) = json::parse(bytes).ok()? else {
        return None;
    };
    entries.into_iter().find_map(|(key, value)| match value {
        json::Value::String(id) if key == "id" && id.len() <= 256 => Some(id),
        _ => None,
    })
}
