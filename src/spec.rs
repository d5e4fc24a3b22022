//! The job as the JSON has it: a `serde` mirror of `schema/job.json`, without any logic. Ring 0.
//!
//! Every field is optional here but `argv`; what the parts mean together is decided in `job.rs`. Absent fields are not
//! written back, so a normalised job holds exactly what was asked and what was filled in.

use crate::text::{Base64, Text};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_derive_words::words;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Makes an enumeration whose values are written in kebab-case.
mod serde_derive_words {
    macro_rules! words {
        ($(#[$outer:meta])* $name:ident { $($(#[$meta:meta])* $variant:ident,)* }) => {
            $(#[$outer])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
            #[serde(rename_all = "kebab-case")]
            pub enum $name { $($(#[$meta])* $variant,)* }
        };
    }
    pub(super) use words;
}

/// Makes an object whose fields may all be left out.
macro_rules! fields {
    ($(#[$outer:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$outer])*
        #[derive(Clone, PartialEq, Debug, Default, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$meta])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }
    };
}

/// A whole job.
#[derive(Clone, PartialEq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Protocol version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Echoed in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The command.
    pub argv: Vec<Text>,
    /// The file to run instead of `argv[0]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<Text>,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Text>,
    /// Environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<EnvSpec>,
    /// Standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<WordOr<InputWord, InputObject>>,
    /// Standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<WordOr<OutputWord, OutputObject>>,
    /// Standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<WordOr<ErrorWord, OutputObject>>,
    /// Modes by path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directories: Option<Directories>,
    /// The tree to work on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Text>,
    /// Extra mounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<MountSpec>>,
    /// Scratch space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<ScratchSpec>,
    /// Which /dev.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<Dev>,
    /// Which /proc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proc: Option<ProcMode>,
    /// Which /sys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sys: Option<Sys>,
    /// LXCFS use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lxcfs: Option<Lxcfs>,
    /// Own system configuration files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_config: Option<bool>,
    /// Identity inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserSpec>,
    /// Host name inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
    /// Control group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<WordOr<CgroupWord, CgroupObject>>,
    /// System call filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<WordOr<SeccompWord, SeccompObject>>,
    /// Capabilities to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// Descriptors to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fds: Option<Vec<u32>>,
    /// Result files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<ResultsSpec>,
    /// List of changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<bool>,
    /// Own pid 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Sync protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncSpec>,
    /// Degraded is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
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
        set: BTreeMap<String, Text>,
        /// Variables to remove.
        unset: Vec<Text>,
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

/// One of `mounts`; which fields it may have depends on its type.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountSpec {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: MountType,
    /// Where in the container.
    pub target: Text,
    /// bind: where on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Text>,
    /// bind: not writable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// bind: with the mounts below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    /// tmpfs: size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// tmpfs: number of inodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
    /// tmpfs, file: permission bits, octal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// file: content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// file: content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<Base64>,
    /// symlink: what it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Text>,
    /// overlay: lower layers, topmost first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<Vec<Text>>,
    /// overlay: upper layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<Text>,
    /// overlay: work directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Text>,
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

words! {
    /// Words for `seccomp`.
    SeccompWord {
        /// The default deny list.
        Default,
        /// The allow list.
        Strict,
        /// No filter.
        Off,
    }
}

fields! {
    /// Objects for `seccomp`: an OCI object, or the short form.
    SeccompObject {
        /// The `seccomp` object of the OCI runtime specification.
        oci: Json,
        /// Action for calls without a rule.
        default_action: String,
        /// Rules.
        rules: Vec<Json>,
    }
}

/// A JSON value that is only carried.
#[derive(Clone, PartialEq, Debug)]
pub struct Json(pub serde_json::Value);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(from).map(Json)
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
