//! The job as it is meant: every rule about one job alone. Ring 0.
//!
//! `Job::new` consumes the [`Spec`], fills in the defaults of `design.md` section 2, and proves what a system call later
//! relies on: no NUL, absolute paths, numbers in range, fields that do not contradict each other.

use crate::json;
use crate::problem::{Code, Problem};
use crate::spec::{self, Dev, IdMap, Inherit, Lxcfs, Mode, Network, ProcMode, Spec, Sys, WordOr};
use crate::text::{AbsPath, PathFault, Text};
use std::collections::BTreeMap;
use std::ffi::CString;

/// The protocol version.
pub const VERSION: u64 = 1;

const MAX_SIZE: u64 = i64::MAX.unsigned_abs();
const MAX_MS: u64 = MAX_SIZE / 1_000_000;
const MAX_FD: u32 = 1 << 20;
const DEFAULT_CAPTURE: u64 = 1 << 20;
const MAX_CAPTURE: u64 = 1 << 30;

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
    /// Where hidden directories and overlay writes live.
    pub scratch: Scratch,
    /// Which /dev.
    pub dev: Dev,
    /// Which /proc.
    pub proc: ProcMode,
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
    /// Whether the default system call filter is installed.
    pub seccomp: bool,
    /// Descriptors that the target keeps beside 0, 1 and 2; sorted.
    pub fds: Vec<i32>,
    /// Whether the target runs below a small pid 1.
    pub init: bool,
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

/// How the target's environment is made: inherit, then set, then unset.
#[derive(Clone, Debug)]
pub struct Env {
    /// `None` inherits all; else these names.
    pub inherit: Option<Vec<Vec<u8>>>,
    /// Set afterwards.
    pub set: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Removed at the end.
    pub unset: Vec<Vec<u8>>,
}

/// Standard input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// /dev/null
    Null,
    /// These bytes, through a pipe.
    Bytes(Vec<u8>),
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
}

/// Limits that need no control group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Wall time of the target.
    pub wall_time_ms: Option<u64>,
    /// Time between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// Resource limits (setrlimit(2)), as resource and value; both soft and hard.
    pub rlimits: Vec<(Rlimit, u64)>,
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

/// What the job's meaning depends on beside the job: where its JSON came from and where the report goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Channels {
    /// The job was read from stdin, which therefore cannot belong to the target.
    pub spec_on_stdin: bool,
    /// The report is written to stdout, which therefore cannot belong to the target.
    pub report_on_stdout: bool,
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
        refuse_unbuilt(&spec)?;
        if let Some(id) = &spec.id {
            bounded(id.len(), 256, "/id")?;
        }
        let system_config = spec.system_config.unwrap_or(true);
        let host_network = spec.network == Some(Network::Host);
        let dev_named = named(spec.directories.as_ref(), "/dev");
        let job = Self {
            argv: argv(&spec.argv)?,
            executable: spec
                .executable
                .as_ref()
                .map(|path| file_path(path, "/executable"))
                .transpose()?,
            cwd: spec
                .cwd
                .as_ref()
                .map(|path| abs_path(path, "/cwd"))
                .transpose()?,
            env: env(spec.env.unwrap_or_default())?,
            stdin: input(spec.stdin, channels)?,
            stdout: output(spec.stdout, "/stdout", 1, channels)?,
            stderr: match spec.stderr {
                Some(WordOr::Word(spec::ErrorWord::Stdout)) => None,
                Some(WordOr::Word(spec::ErrorWord::Null)) => Some(Output::Null),
                Some(WordOr::Word(spec::ErrorWord::Inherit)) => Some(Output::Fd(2)),
                Some(WordOr::Object(object)) => Some(output_object(object, "/stderr", channels)?),
                None => Some(Output::Capture(DEFAULT_CAPTURE)),
            },
            directories: directories(spec.directories.unwrap_or_default())?,
            scratch: scratch(spec.scratch.unwrap_or_default())?,
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
            proc: spec.proc.unwrap_or(ProcMode::Fresh),
            lxcfs: spec.lxcfs != Some(Lxcfs::Off),
            system_config,
            user: user(spec.user.unwrap_or_default(), system_config)?,
            hostname: match spec.hostname {
                Some(name) => Some(hostname(name)?),
                None => system_config.then(|| "stdbox".to_owned()),
            },
            host_network,
            limits: limits(&spec.limits.unwrap_or_default())?,
            seccomp: spec.seccomp != Some(WordOr::Word(spec::SeccompWord::Off)),
            fds: fds(spec.fds.unwrap_or_default())?,
            init: spec.init.unwrap_or(true),
            strict: spec.strict.unwrap_or(false),
            id: spec.id,
        };
        Ok(job)
    }

    /// The mode of a path: that of the longest named directory that contains it.
    #[must_use]
    pub fn mode_of(&self, path: &AbsPath) -> Mode {
        let mut above = Some(path.clone());
        while let Some(path) = above {
            if let Some(directory) = self.directories.get(&path) {
                return directory.mode;
            }
            above = path.parent();
        }
        Mode::Overlay
    }

    /// The job with all defaults filled in, as `stdbox check` shows it.
    #[must_use]
    pub fn normalised(&self) -> Spec {
        let limit = |which| {
            self.limits
                .rlimits
                .iter()
                .find(|(name, _)| *name == which)
                .map(|&(_, value)| value)
        };
        let texts = |list: &[Vec<u8>]| list.iter().map(|bytes| Text(bytes.clone())).collect();
        Spec {
            version: Some(VERSION),
            id: self.id.clone(),
            argv: self
                .argv
                .iter()
                .map(|arg| Text::from(arg.as_c_str()))
                .collect(),
            executable: self.executable.as_deref().map(Text::from),
            cwd: self.cwd.as_ref().map(|path| Text::from(path.bytes())),
            env: Some(spec::EnvSpec {
                inherit: Some(match &self.env.inherit {
                    None => Inherit::All(true),
                    Some(names) if names.is_empty() => Inherit::All(false),
                    Some(names) => Inherit::Names(texts(names)),
                }),
                set: Some(
                    self.env
                        .set
                        .iter()
                        .map(|(name, value)| {
                            (
                                String::from_utf8_lossy(name).into_owned(),
                                Text(value.clone()),
                            )
                        })
                        .collect(),
                ),
                unset: Some(texts(&self.env.unset)),
            }),
            stdin: Some(match &self.stdin {
                Input::Null => WordOr::Word(spec::InputWord::Null),
                Input::Fd(0) => WordOr::Word(spec::InputWord::Inherit),
                Input::Bytes(bytes) => WordOr::Object(match String::from_utf8(bytes.clone()) {
                    Ok(text) => spec::InputObject {
                        text: Some(text),
                        ..Default::default()
                    },
                    Err(error) => spec::InputObject {
                        base64: Some(crate::text::Base64(error.into_bytes())),
                        ..Default::default()
                    },
                }),
                Input::File(path) => WordOr::Object(spec::InputObject {
                    file: Some(Text::from(path.as_c_str())),
                    ..Default::default()
                }),
                Input::Fd(fd) => WordOr::Object(spec::InputObject {
                    fd: Some(fd.unsigned_abs()),
                    ..Default::default()
                }),
            }),
            stdout: Some(match normal_output(&self.stdout, 1) {
                Ok(object) => WordOr::Object(object),
                Err(word) => WordOr::Word(word),
            }),
            stderr: Some(
                match self.stderr.as_ref().map(|output| normal_output(output, 2)) {
                    None => WordOr::Word(spec::ErrorWord::Stdout),
                    Some(Err(spec::OutputWord::Null)) => WordOr::Word(spec::ErrorWord::Null),
                    Some(Err(spec::OutputWord::Inherit)) => WordOr::Word(spec::ErrorWord::Inherit),
                    Some(Ok(object)) => WordOr::Object(object),
                },
            ),
            directories: Some(spec::Directories {
                entries: self
                    .directories
                    .iter()
                    .map(|(path, d)| (Text::from(path.bytes()), d.mode))
                    .collect(),
                list: false,
            }),
            scratch: Some(match &self.scratch {
                Scratch::Tmpfs {
                    size_bytes,
                    inodes,
                    numa_nodes,
                } => spec::ScratchSpec {
                    size_bytes: *size_bytes,
                    inodes: *inodes,
                    numa_nodes: (!numa_nodes.is_empty()).then(|| numa_nodes.clone()),
                    directory: None,
                },
                Scratch::Disk(path) => spec::ScratchSpec {
                    directory: Some(Text::from(path.bytes())),
                    ..Default::default()
                },
            }),
            // A mode for /dev implies the host's; written out it would be the same job.
            dev: Some(self.dev),
            proc: Some(self.proc),
            sys: Some(Sys::Host),
            lxcfs: Some(if self.lxcfs { Lxcfs::Auto } else { Lxcfs::Off }),
            system_config: Some(self.system_config),
            user: Some(spec::UserSpec {
                uid: Some(self.user.uid),
                gid: Some(self.user.gid),
                name: Some(self.user.name.clone()),
                group: Some(self.user.group.clone()),
                home: self.user.home.as_ref().map(|path| Text::from(path.bytes())),
                map: Some(IdMap::Single),
            }),
            hostname: self.hostname.clone(),
            network: Some(if self.host_network {
                Network::Host
            } else {
                Network::None
            }),
            limits: Some(spec::LimitsSpec {
                wall_time_ms: self.limits.wall_time_ms,
                open_files: limit(Rlimit::OpenFiles),
                file_size_bytes: limit(Rlimit::FileSize),
                stack_bytes: limit(Rlimit::Stack),
                address_space_bytes: limit(Rlimit::AddressSpace),
                core_bytes: limit(Rlimit::Core),
                grace_ms: Some(self.limits.grace_ms),
                ..Default::default()
            }),
            cgroup: Some(WordOr::Word(spec::CgroupWord::Auto)),
            seccomp: Some(WordOr::Word(if self.seccomp {
                spec::SeccompWord::Default
            } else {
                spec::SeccompWord::Off
            })),
            capabilities: Some(Vec::new()),
            fds: Some(self.fds.iter().map(|fd| fd.unsigned_abs()).collect()),
            changes: Some(false),
            init: Some(self.init),
            strict: Some(self.strict),
            root: None,
            mounts: Some(Vec::new()),
            results: None,
            sync: None,
        }
    }
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

/// Fields of the protocol that this version reads and refuses; each has an issue of its own.
fn refuse_unbuilt(spec: &Spec) -> Checked<()> {
    let limits = spec.limits.clone().unwrap_or_default();
    let asked = [
        (spec.root.is_some(), "/root"),
        (
            spec.mounts.as_ref().is_some_and(|list| !list.is_empty()),
            "/mounts",
        ),
        (spec.proc == Some(ProcMode::None), "/proc"),
        (!matches!(spec.sys, None | Some(Sys::Host)), "/sys"),
        (
            spec.user
                .as_ref()
                .is_some_and(|user| user.map == Some(IdMap::Range)),
            "/user/map",
        ),
        (limits.cpu_time_ms.is_some(), "/limits/cpu_time_ms"),
        (limits.memory_bytes.is_some(), "/limits/memory_bytes"),
        (limits.processes.is_some(), "/limits/processes"),
        (limits.cpus.is_some(), "/limits/cpus"),
        (limits.output_bytes.is_some(), "/limits/output_bytes"),
        (
            !matches!(
                spec.cgroup,
                None | Some(WordOr::Word(spec::CgroupWord::Auto | spec::CgroupWord::Off))
            ),
            "/cgroup",
        ),
        (
            !matches!(
                spec.seccomp,
                None | Some(WordOr::Word(
                    spec::SeccompWord::Default | spec::SeccompWord::Off
                ))
            ),
            "/seccomp",
        ),
        (
            spec.capabilities
                .as_ref()
                .is_some_and(|list| !list.is_empty()),
            "/capabilities",
        ),
        (spec.results.is_some(), "/results"),
        (spec.changes == Some(true), "/changes"),
        (spec.sync.is_some(), "/sync"),
    ];
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, at)) => Err(Problem::at(Code::NotImplemented, *at, "This version of stdbox cannot do this yet.")
            .hint("Leave the field out; nothing was run, since running without it would not be what was asked.")),
        None => Ok(()),
    }
}

fn bounded(length: usize, most: usize, at: &str) -> Checked<()> {
    if length > most {
        return Err(Problem::at(
            Code::TooLong,
            at,
            format!("{length} bytes are more than the {most} that fit here."),
        ));
    }
    Ok(())
}

fn in_range(value: u64, least: u64, most: u64, at: &str) -> Checked<u64> {
    if value < least || value > most {
        return Err(Problem::at(
            Code::OutOfRange,
            at,
            format!("{value} is not between {least} and {most}."),
        ));
    }
    Ok(value)
}

fn c_string(text: &Text, at: &str) -> Checked<CString> {
    CString::new(text.0.clone()).map_err(|_| {
        Problem::at(
            Code::NulByte,
            at,
            "A string that goes to the kernel cannot hold a NUL byte.",
        )
    })
}

fn file_path(text: &Text, at: &str) -> Checked<CString> {
    if text.0.is_empty() {
        return Err(Problem::at(Code::Empty, at, "A path cannot be empty."));
    }
    bounded(text.0.len(), 4095, at)?;
    c_string(text, at)
}

fn abs_path(text: &Text, at: &str) -> Checked<AbsPath> {
    AbsPath::new(&text.0).map_err(|fault| {
        let (code, message) = match fault {
            PathFault::Empty => (Code::Empty, "A path cannot be empty."),
            PathFault::Nul => (Code::NulByte, "A path cannot hold a NUL byte."),
            PathFault::NotAbsolute => (
                Code::NotAbsolute,
                "The path must be absolute: it must begin with a slash.",
            ),
            PathFault::Parent => (
                Code::ParentComponent,
                "A path with a \"..\" component is not taken here.",
            ),
            PathFault::TooLong => (Code::TooLong, "The path is longer than the kernel takes."),
        };
        Problem::at(code, at, message).path(&text.0)
    })
}

fn argv(args: &[Text]) -> Checked<Vec<CString>> {
    match args.first() {
        None => {
            return Err(Problem::at(
                Code::Empty,
                "/argv",
                "The command line is empty.",
            ));
        }
        Some(first) if first.0.is_empty() => {
            return Err(Problem::at(
                Code::Empty,
                "/argv/0",
                "The name of the command is empty.",
            ));
        }
        Some(_) => {}
    }
    // MAX_ARG_STRLEN of execve(2): the kernel refuses a longer single string.
    args.iter()
        .enumerate()
        .map(|(i, arg)| {
            let at = format!("/argv/{i}");
            bounded(arg.0.len(), 131_071, &at)?;
            c_string(arg, &at)
        })
        .collect()
}

fn env(spec: spec::EnvSpec) -> Checked<Env> {
    let name = |bytes: &[u8], at: String| {
        if bytes.is_empty() {
            return Err(Problem::at(
                Code::Empty,
                at,
                "The name of a variable cannot be empty.",
            ));
        }
        if bytes.contains(&b'=') {
            return Err(Problem::at(
                Code::BadName,
                at,
                "The name of a variable cannot hold \"=\".",
            ));
        }
        c_string(&Text::from(bytes), &at).map(|_| bytes.to_vec())
    };
    let names = |list: Vec<Text>, at: &str| -> Checked<Vec<Vec<u8>>> {
        list.iter()
            .enumerate()
            .map(|(i, text)| name(&text.0, format!("{at}/{i}")))
            .collect()
    };
    let mut set = BTreeMap::new();
    for (key, value) in spec.set.unwrap_or_default() {
        let at = format!("/env/set/{}", json::escape(&key));
        bounded(key.len() + value.0.len() + 1, 131_071, &at)?;
        c_string(&value, &at)?;
        set.insert(name(key.as_bytes(), at)?, value.0);
    }
    Ok(Env {
        inherit: match spec.inherit {
            None | Some(Inherit::All(true)) => None,
            Some(Inherit::All(false)) => Some(Vec::new()),
            Some(Inherit::Names(list)) => Some(names(list, "/env/inherit")?),
        },
        set,
        unset: names(spec.unset.unwrap_or_default(), "/env/unset")?,
    })
}

fn one_of(at: &str, given: &[bool], words: &str) -> Checked<()> {
    match given.iter().filter(|given| **given).count() {
        1 => Ok(()),
        0 => Err(Problem::at(
            Code::MissingField,
            at,
            format!("One of {words} must be given."),
        )),
        _ => Err(Problem::at(
            Code::Contradiction,
            at,
            format!("Only one of {words} can be given."),
        )),
    }
}

fn descriptor(fd: u32, at: &str) -> Checked<i32> {
    let fd = in_range(fd.into(), 0, (MAX_FD - 1).into(), at)?;
    Ok(i32::try_from(fd).unwrap_or(i32::MAX))
}

fn input(
    spec: Option<WordOr<spec::InputWord, spec::InputObject>>,
    channels: Channels,
) -> Checked<Input> {
    let taken = |at: &str| {
        Problem::at(
            Code::Contradiction,
            at,
            "The job itself is read from stdin, so the target cannot have it.",
        )
        .hint("Give the job with --spec FILE or --spec-fd N.")
    };
    match spec {
        None | Some(WordOr::Word(spec::InputWord::Null)) => Ok(Input::Null),
        Some(WordOr::Word(spec::InputWord::Inherit)) if channels.spec_on_stdin => {
            Err(taken("/stdin"))
        }
        Some(WordOr::Word(spec::InputWord::Inherit)) => Ok(Input::Fd(0)),
        Some(WordOr::Object(o)) => {
            let given = [
                o.text.is_some(),
                o.base64.is_some(),
                o.file.is_some(),
                o.fd.is_some(),
            ];
            one_of("/stdin", &given, "\"text\", \"base64\", \"file\", \"fd\"")?;
            if let Some(text) = o.text {
                return Ok(Input::Bytes(text.into_bytes()));
            }
            if let Some(bytes) = o.base64 {
                return Ok(Input::Bytes(bytes.0));
            }
            if let Some(path) = o.file {
                return file_path(&path, "/stdin/file").map(Input::File);
            }
            let fd = descriptor(o.fd.unwrap_or(0), "/stdin/fd")?;
            if fd == 0 && channels.spec_on_stdin {
                return Err(taken("/stdin/fd"));
            }
            Ok(Input::Fd(fd))
        }
    }
}

fn stdout_taken(at: &str) -> Problem {
    Problem::at(
        Code::Contradiction,
        at,
        "The report is written to stdout, so the target cannot have it.",
    )
    .hint("Send the report elsewhere with --report FILE or --report-fd N.")
}

fn output(
    spec: Option<WordOr<spec::OutputWord, spec::OutputObject>>,
    at: &str,
    fd: i32,
    channels: Channels,
) -> Checked<Output> {
    match spec {
        None => Ok(Output::Capture(DEFAULT_CAPTURE)),
        Some(WordOr::Word(spec::OutputWord::Null)) => Ok(Output::Null),
        Some(WordOr::Word(spec::OutputWord::Inherit)) if channels.report_on_stdout => {
            Err(stdout_taken(at))
        }
        Some(WordOr::Word(spec::OutputWord::Inherit)) => Ok(Output::Fd(fd)),
        Some(WordOr::Object(object)) => output_object(object, at, channels),
    }
}

fn output_object(o: spec::OutputObject, at: &str, channels: Channels) -> Checked<Output> {
    one_of(
        at,
        &[o.capture.is_some(), o.file.is_some(), o.fd.is_some()],
        "\"capture\", \"file\", \"fd\"",
    )?;
    if o.append.is_some() && o.file.is_none() {
        return Err(Problem::at(
            Code::Contradiction,
            format!("{at}/append"),
            "\"append\" goes with \"file\" only.",
        ));
    }
    if let Some(capture) = o.capture {
        let at = format!("{at}/capture/max_bytes");
        return in_range(
            capture.max_bytes.unwrap_or(DEFAULT_CAPTURE),
            0,
            MAX_CAPTURE,
            &at,
        )
        .map(Output::Capture);
    }
    if let Some(path) = o.file {
        let path = file_path(&path, &format!("{at}/file"))?;
        return Ok(Output::File {
            path,
            append: o.append.unwrap_or(false),
        });
    }
    let at = format!("{at}/fd");
    let fd = descriptor(o.fd.unwrap_or(0), &at)?;
    if fd == 1 && channels.report_on_stdout {
        return Err(stdout_taken(&at));
    }
    Ok(Output::Fd(fd))
}

fn normal_output(output: &Output, own: i32) -> Result<spec::OutputObject, spec::OutputWord> {
    match output {
        Output::Null => Err(spec::OutputWord::Null),
        Output::Fd(fd) if *fd == own => Err(spec::OutputWord::Inherit),
        Output::Fd(fd) => Ok(spec::OutputObject {
            fd: Some(fd.unsigned_abs()),
            ..Default::default()
        }),
        Output::Capture(most) => Ok(spec::OutputObject {
            capture: Some(spec::CaptureSpec {
                max_bytes: Some(*most),
            }),
            ..Default::default()
        }),
        Output::File { path, append } => Ok(spec::OutputObject {
            file: Some(Text::from(path.as_c_str())),
            append: Some(*append),
            ..Default::default()
        }),
    }
}

fn named(directories: Option<&spec::Directories>, path: &str) -> bool {
    directories.is_some_and(|d| {
        d.entries.iter().any(|(text, _)| {
            AbsPath::new(&text.0)
                == Ok(AbsPath::new(path.as_bytes()).unwrap_or_else(|_| AbsPath::root()))
        })
    })
}

fn directories(spec: spec::Directories) -> Checked<BTreeMap<AbsPath, Directory>> {
    let proc = AbsPath::fixed("/proc");
    let mut map: BTreeMap<AbsPath, Directory> = BTreeMap::new();
    for (i, (text, mode)) in spec.entries.into_iter().enumerate() {
        let at = match std::str::from_utf8(&text.0) {
            Ok(key) if !spec.list => format!("/directories/{}", json::escape(key)),
            _ => format!("/directories/{i}/path"),
        };
        let path = abs_path(&text, &at)?;
        if proc.contains(&path) {
            return Err(Problem::at(
                Code::ProcDirectory,
                at,
                "/proc is always replaced, so it cannot have a mode.",
            )
            .path(path.bytes())
            .hint("See the field \"proc\"."));
        }
        if let Some(first) = map.get(&path) {
            let message = format!(
                "{} is named twice; first at {}.",
                path.lossy(),
                first.at.as_deref().unwrap_or("?")
            );
            return Err(Problem::at(Code::DuplicateDirectory, at, message).path(path.bytes()));
        }
        map.insert(path, Directory { mode, at: Some(at) });
    }
    for (path, mode) in [
        ("/", Mode::Overlay),
        ("/tmp", Mode::Hidden),
        ("/run", Mode::Hidden),
    ] {
        map.entry(AbsPath::fixed(path))
            .or_insert(Directory { mode, at: None });
    }
    Ok(map)
}

fn scratch(spec: spec::ScratchSpec) -> Checked<Scratch> {
    let nodes = spec.numa_nodes.unwrap_or_default();
    if let Some(path) = spec.directory {
        if spec.size_bytes.is_some() || spec.inodes.is_some() || !nodes.is_empty() {
            return Err(Problem::at(
                Code::Contradiction,
                "/scratch",
                "\"size_bytes\", \"inodes\" and \"numa_nodes\" belong to the memory scratch, \"directory\" to a disk one.",
            ));
        }
        return abs_path(&path, "/scratch/directory").map(Scratch::Disk);
    }
    for (i, &node) in nodes.iter().enumerate() {
        in_range(node.into(), 0, 1023, &format!("/scratch/numa_nodes/{i}"))?;
    }
    Ok(Scratch::Tmpfs {
        size_bytes: spec
            .size_bytes
            .map(|v| in_range(v, 4096, MAX_SIZE, "/scratch/size_bytes"))
            .transpose()?,
        // The directories that stdbox itself makes need a few.
        inodes: spec
            .inodes
            .map(|v| in_range(v, 64, MAX_SIZE, "/scratch/inodes"))
            .transpose()?,
        numa_nodes: nodes,
    })
}

fn account(name: Option<String>, default: &str, at: &str) -> Checked<String> {
    let name = name.unwrap_or_else(|| default.to_owned());
    bounded(name.len(), 32, at)?;
    let first = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    if !first
        || !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    {
        let message = format!(
            "{name:?} is not an account name: letters a-z, digits, \"_\" and \"-\" only, a letter or \"_\" first."
        );
        return Err(Problem::at(
            if name.is_empty() {
                Code::Empty
            } else {
                Code::BadName
            },
            at,
            message,
        ));
    }
    Ok(name)
}

fn user(spec: spec::UserSpec, system_config: bool) -> Checked<User> {
    const DEFAULT_ID: u32 = 1000;
    // 2^32-1 is "no change" for the kernel's id calls.
    let id = |value: Option<u32>, at: &str| {
        let value = value.unwrap_or(DEFAULT_ID);
        in_range(value.into(), 0, u64::from(u32::MAX) - 1, at).map(|_| value)
    };
    let uid = id(spec.uid, "/user/uid")?;
    let default = if uid == 0 { "root" } else { "user" };
    let name = account(spec.name, default, "/user/name")?;
    Ok(User {
        uid,
        gid: id(spec.gid, "/user/gid")?,
        group: account(spec.group, &name, "/user/group")?,
        home: match spec.home {
            Some(path) => {
                let path = abs_path(&path, "/user/home")?;
                if path.bytes().iter().any(|&b| b == b':' || b == b'\n') {
                    let message = "A home directory cannot hold a colon or a newline: passwd(5) could not name it.";
                    return Err(
                        Problem::at(Code::BadName, "/user/home", message).path(path.bytes())
                    );
                }
                Some(path)
            }
            None => system_config.then(|| AbsPath::fixed("/home").join(name.as_bytes())),
        },
        name,
    })
}

fn hostname(name: String) -> Checked<String> {
    // 64 is the kernel's bound: uname(2).
    bounded(name.len(), 64, "/hostname")?;
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let fine = edge(name.bytes().next()) && edge(name.bytes().last());
    if !fine
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    {
        let code = if name.is_empty() {
            Code::Empty
        } else {
            Code::BadName
        };
        return Err(Problem::at(
            code,
            "/hostname",
            "A host name has letters, digits, \"-\" and \".\", and begins and ends with a letter or digit.",
        ));
    }
    Ok(name)
}

fn limits(spec: &spec::LimitsSpec) -> Checked<Limits> {
    let mut rlimits = Vec::new();
    for (which, value, least) in [
        (Rlimit::OpenFiles, spec.open_files, 3),
        (Rlimit::FileSize, spec.file_size_bytes, 0),
        (Rlimit::Stack, spec.stack_bytes, 1),
        (Rlimit::AddressSpace, spec.address_space_bytes, 1),
        (Rlimit::Core, Some(spec.core_bytes.unwrap_or(0)), 0),
    ] {
        if let Some(value) = value {
            rlimits.push((which, in_range(value, least, MAX_SIZE, which.pointer())?));
        }
    }
    Ok(Limits {
        wall_time_ms: spec
            .wall_time_ms
            .map(|v| in_range(v, 1, MAX_MS, "/limits/wall_time_ms"))
            .transpose()?,
        grace_ms: in_range(spec.grace_ms.unwrap_or(0), 0, MAX_MS, "/limits/grace_ms")?,
        rlimits,
    })
}

fn fds(list: Vec<u32>) -> Checked<Vec<i32>> {
    let mut fds = Vec::with_capacity(list.len());
    for (i, fd) in list.into_iter().enumerate() {
        let at = format!("/fds/{i}");
        let fd = descriptor(fd, &at)?;
        if fd < 3 {
            return Err(Problem::at(
                Code::OutOfRange,
                at,
                "0, 1 and 2 have fields of their own: stdin, stdout, stderr.",
            ));
        }
        if fds.contains(&fd) {
            return Err(Problem::at(
                Code::Contradiction,
                at,
                format!("Descriptor {fd} is listed twice."),
            ));
        }
        fds.push(fd);
    }
    fds.sort_unstable();
    Ok(fds)
}
