//! A job with all its defaults, written back as JSON would have it. Ring 0.

use super::{
    Input, Job, Mount, MountKind, Output, Rlimit, Scratch, Seccomp, VERSION, groups, sync,
};
use crate::spec::filter::SeccompWord;
use crate::spec::{self, Inherit, Lxcfs, MountType, Network, Spec, WordOr};
use crate::text::Text;

impl Job {
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
            argv: Some(
                self.argv
                    .iter()
                    .map(|arg| Text::from(arg.as_c_str()))
                    .collect(),
            ),
            executable: self.executable.as_deref().map(Text::from),
            cwd: self.cwd.as_ref().map(|path| Text::from(path.bytes())),
            env: Some(spec::EnvSpec {
                inherit: Some(match &self.env.inherit {
                    None => Inherit::All(true),
                    Some(names) if names.is_empty() => Inherit::All(false),
                    Some(names) => Inherit::Names(texts(names)),
                }),
                set: Some(spec::Entries(
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
                )),
                unset: Some(texts(&self.env.unset)),
            }),
            stdin: Some(match &self.stdin {
                Input::Null => WordOr::Word(spec::InputWord::Null),
                Input::Fd(0) => WordOr::Word(spec::InputWord::Inherit),
                Input::Bytes(bytes) => {
                    WordOr::Object(match String::from_utf8(bytes.get().to_vec()) {
                        Ok(text) => spec::InputObject {
                            text: Some(text),
                            ..Default::default()
                        },
                        Err(error) => spec::InputObject {
                            base64: Some(crate::text::Base64(error.into_bytes())),
                            ..Default::default()
                        },
                    })
                }
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
            sys: Some(self.sys),
            lxcfs: Some(if self.lxcfs { Lxcfs::Auto } else { Lxcfs::Off }),
            system_config: Some(self.system_config),
            user: Some(spec::UserSpec {
                uid: Some(self.user.uid),
                gid: Some(self.user.gid),
                name: Some(self.user.name.clone()),
                group: Some(self.user.group.clone()),
                home: self.user.home.as_ref().map(|path| Text::from(path.bytes())),
                map: Some(self.user.map),
            }),
            hostname: self.hostname.clone(),
            network: Some(if self.host_network {
                Network::Host
            } else {
                Network::None
            }),
            limits: Some(spec::LimitsSpec {
                wall_time_ms: self.limits.wall_time_ms,
                cpu_time_ms: self.limits.cpu_time_ms,
                output_bytes: self.limits.output_bytes,
                memory_bytes: self.group_limits.memory_bytes,
                processes: self.group_limits.processes,
                cpus: self.group_limits.cpus(),
                cpuset: self.group_limits.cpuset.as_ref().map(ToString::to_string),
                open_files: limit(Rlimit::OpenFiles),
                file_size_bytes: limit(Rlimit::FileSize),
                stack_bytes: limit(Rlimit::Stack),
                address_space_bytes: limit(Rlimit::AddressSpace),
                core_bytes: limit(Rlimit::Core),
                grace_ms: Some(self.limits.grace_ms),
            }),
            cgroup: Some(groups::normal_cgroup(&self.cgroup)),
            seccomp: Some(match &self.seccomp {
                Seccomp::Off => WordOr::Word(SeccompWord::Off),
                Seccomp::Default => WordOr::Word(SeccompWord::Default),
                Seccomp::Strict => WordOr::Word(SeccompWord::Strict),
                Seccomp::Own { asked, .. } => WordOr::Object(asked.as_ref().clone()),
            }),
            capabilities: Some(self.capabilities.names().map(str::to_owned).collect()),
            fds: Some(self.fds.iter().map(|fd| fd.unsigned_abs()).collect()),
            changes: Some(self.changes),
            init: Some(self.init),
            strict: Some(self.strict),
            root: self.root.as_deref().map(Text::from),
            mounts: Some(self.mounts.iter().map(normal_mount).collect()),
            results: self.results.as_ref().map(|wanted| spec::ResultsSpec {
                directory: Some(Text::from(wanted.directory.bytes())),
                patterns: Some(
                    wanted
                        .patterns
                        .iter()
                        .map(|p| Text::from(p.text()))
                        .collect(),
                ),
                max_files: wanted.max_files,
                max_bytes: wanted.max_bytes,
            }),
            sync: self.sync.map(sync::normal_sync),
        }
    }
}

fn normal_mount(mount: &Mount) -> spec::MountSpec {
    let text = |path: &std::ffi::CString| Some(Text::from(path.as_c_str()));
    let octal = |mode: u32| Some(format!("{mode:04o}"));
    let of = |kind| spec::MountSpec {
        kind: Some(kind),
        target: Some(Text::from(mount.target.bytes())),
        ..Default::default()
    };
    match &mount.kind {
        MountKind::Bind {
            source,
            read_only,
            recursive,
        } => spec::MountSpec {
            source: text(source),
            read_only: Some(*read_only),
            recursive: Some(*recursive),
            ..of(MountType::Bind)
        },
        MountKind::Tmpfs {
            size_bytes,
            inodes,
            mode,
        } => spec::MountSpec {
            size_bytes: *size_bytes,
            inodes: *inodes,
            mode: octal(*mode),
            ..of(MountType::Tmpfs)
        },
        MountKind::File { bytes, mode } => {
            let spec = spec::MountSpec {
                mode: octal(*mode),
                ..of(MountType::File)
            };
            match String::from_utf8(bytes.get().to_vec()) {
                Ok(text) => spec::MountSpec {
                    text: Some(text),
                    ..spec
                },
                Err(error) => spec::MountSpec {
                    base64: Some(crate::text::Base64(error.into_bytes())),
                    ..spec
                },
            }
        }
        MountKind::Symlink { to } => spec::MountSpec {
            to: text(to),
            ..of(MountType::Symlink)
        },
        MountKind::Overlay { lower, upper, work } => spec::MountSpec {
            lower: Some(
                lower
                    .iter()
                    .map(|path| Text::from(path.as_c_str()))
                    .collect(),
            ),
            upper: text(upper),
            work: text(work),
            ..of(MountType::Overlay)
        },
        MountKind::Mqueue => of(MountType::Mqueue),
    }
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
