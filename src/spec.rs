//! The job as the JSON has it: a `serde` mirror of `schema/job.json`, without any logic. Ring 0.
//!
//! Every field is optional here; what the parts mean together is decided in `job.rs`. Absent fields are not
//! written back, so a normalised job holds exactly what was asked and what was filled in.

use crate::text::{Base64, Text};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// Makes an enumeration whose values are written in kebab-case.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$meta:meta])* $variant:ident,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$meta])* $variant,)* }
    };
}

/// Makes an object whose fields may all be left out.
macro_rules! fields {
    ($(#[$outer:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Clone, PartialEq, Debug, Default, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $(#[$outer])*
        pub struct $name {
            $($(#[$meta])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }
    };
}

pub mod filter;

use filter::{SeccompObject, SeccompWord};

fields! {
    /// A whole job.
    Spec {
        /// Protocol version.
        version: u64,
        /// Echoed in the report.
        id: String,
        /// The command.
        argv: Vec<Text>,
        /// The file to run instead of `argv[0]`.
        executable: Text,
        /// Working directory.
        cwd: Text,
        /// Environment.
        env: EnvSpec,
        /// Standard input.
        stdin: WordOr<InputWord, InputObject>,
        /// Standard output.
        stdout: WordOr<OutputWord, OutputObject>,
        /// Standard error.
        stderr: WordOr<ErrorWord, OutputObject>,
        /// Modes by path.
        directories: Directories,
        /// The tree to work on.
        root: Text,
        /// Extra mounts.
        mounts: Vec<MountSpec>,
        /// Scratch space.
        scratch: ScratchSpec,
        /// Which /dev.
        dev: Dev,
        /// Which /proc.
        proc: ProcMode,
        /// Which /sys.
        sys: Sys,
        /// LXCFS use.
        lxcfs: Lxcfs,
        /// Own system configuration files.
        system_config: bool,
        /// Identity inside.
        user: UserSpec,
        /// Host name inside.
        hostname: String,
        /// Network.
        network: Network,
        /// Limits.
        limits: LimitsSpec,
        /// Control group.
        cgroup: WordOr<CgroupWord, CgroupObject>,
        /// System call filter.
        seccomp: WordOr<SeccompWord, SeccompObject>,
        /// Capabilities to keep.
        capabilities: Vec<String>,
        /// Descriptors to keep.
        fds: Vec<u32>,
        /// Result files.
        results: ResultsSpec,
        /// List of changes.
        changes: bool,
        /// Own pid 1.
        init: bool,
        /// Sync protocol.
        sync: SyncSpec,
        /// Degraded is an error.
        strict: bool,
    }
}

/// Either a word or an object.
#[derive(Clone, PartialEq, Debug)]
pub enum WordOr<W, T> {
    /// The word.
    Word(W),
    /// The object.
    Object(T),
}

impl<W: Serialize, T: Serialize> Serialize for WordOr<W, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(word) => word.serialize(to),
            Self::Object(object) => object.serialize(to),
        }
    }
}

impl<'de, W: Deserialize<'de>, T: Deserialize<'de>> Deserialize<'de> for WordOr<W, T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct V<W, T>(PhantomData<(W, T)>);
        impl<'de, W: Deserialize<'de>, T: Deserialize<'de>> Visitor<'de> for V<W, T> {
            type Value = WordOr<W, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word or an object")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
                W::deserialize(de::value::StrDeserializer::new(v)).map(WordOr::Word)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(WordOr::Object)
            }
        }
        from.deserialize_any(V(PhantomData))
    }
}

fields! {
    /// `env`
    EnvSpec {
        /// All, none, or some of the caller's variables.
        inherit: Inherit,
        /// Variables to set.
        set: Entries<Text>,
        /// Variables to remove.
        unset: Vec<Text>,
    }
}

/// An object with keys of the caller's own, in their order. That none stands twice was seen when the JSON was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Entries<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for Entries<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Entries<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        from.deserialize_map(V(PhantomData))
    }
}

/// `env.inherit`
#[derive(Clone, PartialEq, Debug)]
pub enum Inherit {
    /// All or none.
    All(bool),
    /// These names.
    Names(Vec<Text>),
}

impl Serialize for Inherit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All(all) => to.serialize_bool(*all),
            Self::Names(names) => names.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Inherit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Inherit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a list of names")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Inherit, E> {
                Ok(Inherit::All(v))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Inherit, A::Error> {
                Deserialize::deserialize(de::value::SeqAccessDeserializer::new(seq))
                    .map(Inherit::Names)
            }
        }
        from.deserialize_any(V)
    }
}

words! {
    /// Words for `stdin`.
    InputWord {
        /// /dev/null
        Null,
        /// stdbox's own
        Inherit,
    }
}

fields! {
    /// Objects for `stdin`; exactly one field.
    InputObject {
        /// This text.
        text: String,
        /// These bytes.
        base64: Base64,
        /// This file of the host.
        file: Text,
        /// This descriptor.
        fd: u32,
    }
}

words! {
    /// Words for `stdout`.
    OutputWord {
        /// /dev/null
        Null,
        /// stdbox's own
        Inherit,
    }
}

words! {
    /// Words for `stderr`.
    ErrorWord {
        /// /dev/null
        Null,
        /// stdbox's own
        Inherit,
        /// Where stdout goes.
        Stdout,
    }
}

fields! {
    /// Objects for `stdout` and `stderr`; exactly one of `capture`, `file`, `fd`.
    OutputObject {
        /// Into the report.
        capture: CaptureSpec,
        /// Into this file of the host.
        file: Text,
        /// Add to the file instead of replacing its content.
        append: bool,
        /// Into this descriptor.
        fd: u32,
    }
}

fields! {
    /// `capture`
    CaptureSpec {
        /// Bytes that are kept.
        max_bytes: u64,
    }
}

words! {
    /// A directory mode.
    Mode {
        /// A fresh empty directory.
        Hidden,
        /// Visible, not writable.
        ReadOnly,
        /// Visible, writes go to the scratch space.
        Overlay,
        /// Visible and writable.
        FullAccess,
    }
}

/// `directories`: an object, or a list where a path is not UTF-8. The order is kept.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Directories {
    /// Path and mode.
    pub entries: Vec<(Text, Mode)>,
    /// Whether it was written as a list.
    pub list: bool,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct DirectoryEntry {
    path: Text,
    mode: Mode,
}

impl Serialize for Directories {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let utf8: Option<Vec<&str>> = self
            .entries
            .iter()
            .map(|(path, _)| std::str::from_utf8(&path.0).ok())
            .collect();
        if let Some(paths) = utf8 {
            let mut map = to.serialize_map(Some(paths.len()))?;
            for (path, (_, mode)) in paths.iter().zip(&self.entries) {
                map.serialize_entry(path, mode)?;
            }
            return map.end();
        }
        to.collect_seq(self.entries.iter().map(|(path, mode)| DirectoryEntry {
            path: path.clone(),
            mode: *mode,
        }))
    }
}

impl<'de> Deserialize<'de> for Directories {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Directories;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of modes by path, or a list of {\"path\",\"mode\"}")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Directories, A::Error> {
                let mut entries = Vec::new();
                while let Some((path, mode)) = map.next_entry::<String, Mode>()? {
                    entries.push((Text(path.into_bytes()), mode));
                }
                Ok(Directories {
                    entries,
                    list: false,
                })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Directories, A::Error> {
                let mut entries = Vec::new();
                while let Some(DirectoryEntry { path, mode }) = seq.next_element()? {
                    entries.push((path, mode));
                }
                Ok(Directories {
                    entries,
                    list: true,
                })
            }
        }
        from.deserialize_any(V)
    }
}

words! {
    /// `mounts[].type`
    MountType {
        /// A file or directory of the host.
        Bind,
        /// An own memory file system.
        Tmpfs,
        /// A generated file.
        File,
        /// A symbolic link.
        Symlink,
        /// An overlay with a persistent upper layer.
        Overlay,
        /// POSIX message queues.
        Mqueue,
    }
}

fields! {
    /// One of `mounts`; which fields it has depends on its type.
    MountSpec {
        /// Which kind.
        #[serde(rename = "type")]
        kind: MountType,
        /// Where in the container.
        target: Text,
        /// bind: where on the host.
        source: Text,
        /// bind: not writable.
        read_only: bool,
        /// bind: with the mounts below.
        recursive: bool,
        /// tmpfs: size.
        size_bytes: u64,
        /// tmpfs: number of inodes.
        inodes: u64,
        /// tmpfs, file: permission bits, octal.
        mode: String,
        /// file: content.
        text: String,
        /// file: content.
        base64: Base64,
        /// symlink: what it points to.
        to: Text,
        /// overlay: lower layers, topmost first.
        lower: Vec<Text>,
        /// overlay: upper layer.
        upper: Text,
        /// overlay: work directory.
        work: Text,
    }
}

fields! {
    /// `scratch`
    ScratchSpec {
        /// Size of the tmpfs.
        size_bytes: u64,
        /// Its number of inodes.
        inodes: u64,
        /// NUMA nodes that its memory comes from.
        numa_nodes: Vec<u32>,
        /// A disk directory instead.
        directory: Text,
    }
}

words! {
    /// `dev`
    Dev {
        /// Own small /dev.
        Minimal,
        /// The host's, read-only.
        Host,
    }
}

words! {
    /// `proc`
    ProcMode {
        /// Fresh and hardened.
        Fresh,
        /// Fresh, and a nested container can mount its own.
        Nestable,
        /// None.
        None,
    }
}

words! {
    /// `sys`
    Sys {
        /// The host's, by the directory modes.
        Host,
        /// Of the container's own network namespace.
        Fresh,
        /// None.
        None,
    }
}

words! {
    /// `lxcfs`
    Lxcfs {
        /// When it runs on the host.
        Auto,
        /// Never.
        Off,
    }
}

words! {
    /// `network`
    Network {
        /// Own namespace, loopback only.
        None,
        /// The host's.
        Host,
    }
}

words! {
    /// `user.map`
    IdMap {
        /// One id.
        Single,
        /// The caller's subordinate ids.
        Range,
    }
}

fields! {
    /// `user`
    UserSpec {
        /// User id inside.
        uid: u32,
        /// Group id inside.
        gid: u32,
        /// User name.
        name: String,
        /// Group name.
        group: String,
        /// Home directory.
        home: Text,
        /// Which ids are mapped.
        map: IdMap,
    }
}

fields! {
    /// `limits`
    LimitsSpec {
        /// Wall time.
        wall_time_ms: u64,
        /// CPU time.
        cpu_time_ms: u64,
        /// Memory.
        memory_bytes: u64,
        /// Number of processes.
        processes: u64,
        /// CPU bandwidth.
        cpus: f64,
        /// Which CPUs.
        cpuset: String,
        /// Captured output.
        output_bytes: u64,
        /// RLIMIT_NOFILE
        open_files: u64,
        /// RLIMIT_FSIZE
        file_size_bytes: u64,
        /// RLIMIT_STACK
        stack_bytes: u64,
        /// RLIMIT_AS
        address_space_bytes: u64,
        /// RLIMIT_CORE
        core_bytes: u64,
        /// Time between SIGTERM and SIGKILL.
        grace_ms: u64,
    }
}

words! {
    /// Words for `cgroup`.
    CgroupWord {
        /// If a limit asks for it.
        Auto,
        /// Always.
        Required,
        /// Never.
        Off,
    }
}

/// Objects for `cgroup`.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CgroupObject {
    /// The control group below which the job gets its own.
    pub parent: Text,
}

/// A value of another project's format, in which `null` stands for what is left out.
#[derive(Clone, PartialEq, Debug)]
pub struct Nullable<T>(pub T);

/// The name by which the reader knows it.
pub(crate) const NULLABLE: &str = "Nullable";

impl<T: Serialize> Serialize for Nullable<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Nullable<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
                T::deserialize(from)
            }
        }
        from.deserialize_newtype_struct(NULLABLE, V(PhantomData))
            .map(Self)
    }
}

fields! {
    /// `results`
    ResultsSpec {
        /// Where they go.
        directory: Text,
        /// Which files.
        patterns: Vec<Text>,
        /// At most so many.
        max_files: u64,
        /// At most so many bytes.
        max_bytes: u64,
    }
}

fields! {
    /// `sync`
    SyncSpec {
        /// Where events are written.
        events_fd: u32,
        /// Where `continue` is read.
        control_fd: u32,
        /// Wait before the command is executed.
        pause_before_exec: bool,
        /// Wait after it ended.
        pause_after_exit: bool,
    }
}
