//! What can go wrong, as the report says it. Ring 0.

use crate::text::Text;
use serde::Serialize;
use std::ops::{Deref, DerefMut};

macro_rules! kebab {
    ($(#[$outer:meta])* $name:ident { $($(#[$meta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$meta])* $variant,)* }

        impl $name {
            /// Every value, in the order of the schema.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word that stands in the report.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }
    };
}

kebab! {
    /// The closed list of error codes.
    Code {
        /// The input is not JSON.
        Syntax = "syntax",
        /// The input is longer than 16 MiB.
        TooLarge = "too-large",
        /// The input is nested deeper than 64.
        TooDeep = "too-deep",
        /// A key stands twice in one object.
        DuplicateKey = "duplicate-key",
        /// A field that the protocol does not have.
        UnknownField = "unknown-field",
        /// A field that must be there is not.
        MissingField = "missing-field",
        /// A value of another JSON type than the field takes.
        WrongType = "wrong-type",
        /// A word that is not in the field's list.
        UnknownValue = "unknown-value",
        /// A number outside the field's bounds.
        OutOfRange = "out-of-range",
        /// An empty string or list where one must not be empty.
        Empty = "empty",
        /// A NUL byte in a string that goes to the kernel.
        NulByte = "nul-byte",
        /// A string longer than its bound.
        TooLong = "too-long",
        /// A base64 string that is not canonical.
        BadBase64 = "bad-base64",
        /// A name with characters that it may not have.
        BadName = "bad-name",
        /// Two fields that cannot both hold.
        Contradiction = "contradiction",
        /// A path that must be absolute is not.
        NotAbsolute = "not-absolute",
        /// A path with a `..` component.
        ParentComponent = "parent-component",
        /// A directory that does not exist.
        NoSuchDirectory = "no-such-directory",
        /// A path that is no directory.
        NotADirectory = "not-a-directory",
        /// A directory reached through a symbolic link.
        IsSymlink = "is-symlink",
        /// A directory whose parents the caller cannot search.
        DirectoryUnreachable = "directory-unreachable",
        /// A mode for /proc or below.
        ProcDirectory = "proc-directory",
        /// The same directory twice.
        DuplicateDirectory = "duplicate-directory",
        /// A file that does not exist.
        NoSuchFile = "no-such-file",
        /// A file that could not be opened.
        FileRefused = "file-refused",
        /// A descriptor that the caller did not pass on.
        BadDescriptor = "bad-descriptor",
        /// A protocol version other than 1.
        UnsupportedVersion = "unsupported-version",
        /// A feature of the protocol that this version does not have yet.
        NotImplemented = "not-implemented",
        /// The command line is wrong.
        CommandLine = "command-line",
        /// User namespaces are not allowed here.
        UsernsForbidden = "userns-forbidden",
        /// A limit on the number or nesting of namespaces is reached.
        NamespaceLimit = "namespace-limit",
        /// AppArmor takes the capabilities of unprivileged user namespaces away.
        ApparmorRestricted = "apparmor-restricted",
        /// stdbox runs in a chroot.
        Chroot = "chroot",
        /// The kernel lacks a system call that is needed.
        KernelTooOld = "kernel-too-old",
        /// The kernel cannot make this overlay.
        OverlayUnsupported = "overlay-unsupported",
        /// Too many overlays on top of each other.
        OverlayDepth = "overlay-depth",
        /// The kernel refuses a fresh /proc because the outer one is covered.
        ProcMasked = "proc-masked",
        /// There is no /proc to start from.
        ProcMissing = "proc-missing",
        /// The place of a mount does not exist, and cannot be made.
        TargetMissing = "target-missing",
        /// A mount operation failed.
        MountRefused = "mount-refused",
        /// The host's mounts changed while the container was built.
        MountTableChanged = "mount-table-changed",
        /// The user or group id could not be mapped.
        IdentityRefused = "identity-refused",
        /// The caller has no other id than its own.
        NoIdRange = "no-id-range",
        /// newuidmap or newgidmap is missing, or does not do its work.
        IdMapHelper = "id-map-helper",
        /// The network could not be set up.
        NetworkRefused = "network-refused",
        /// The scratch space could not be made.
        ScratchRefused = "scratch-refused",
        /// The seccomp filter was refused.
        SeccompRefused = "seccomp-refused",
        /// A resource limit was refused.
        LimitRefused = "limit-refused",
        /// A limit needs cgroup v2, and this host has version 1.
        CgroupV1 = "cgroup-v1",
        /// No cgroup can be used for a limit that needs one.
        CgroupUnavailable = "cgroup-unavailable",
        /// The command does not exist in the container.
        CommandNotFound = "command-not-found",
        /// The working directory does not exist in the container.
        CwdMissing = "cwd-missing",
        /// The command exists but may not be executed.
        ExecRefused = "exec-refused",
        /// The command is neither a program for this machine nor a script with an interpreter line.
        ExecFormat = "exec-format",
        /// A directory descriptor that leads to a place the container does not have.
        DescriptorUnreachable = "descriptor-unreachable",
        /// Memory or another resource of the host ran out.
        OutOfMemory = "out-of-memory",
        /// Facts of a host that are none.
        FactsRefused = "facts-refused",
        /// Facts of a host that say too little for this job.
        FactsMissing = "facts-missing",
        /// The process that builds the container died.
        SetupDied = "setup-died",
        /// The process that runs a job of a batch died.
        WorkerDied = "worker-died",
        /// A fault of stdbox itself.
        Internal = "internal",
        /// The results directory cannot be used.
        ResultsRefused = "results-refused",
        /// The report could not be written.
        ReportUnwritable = "report-unwritable",
    }
}

kebab! {
    /// The part of the work in which an error happened.
    Stage {
        /// Reading the JSON.
        Parse = "parse",
        /// Checking the job.
        Validate = "validate",
        /// Looking at the host.
        Host = "host",
        /// Making the namespaces.
        Namespaces = "namespaces",
        /// Mapping user and group ids, host name.
        Identity = "identity",
        /// Building the tree.
        Mounts = "mounts",
        /// The fresh /proc.
        Proc = "proc",
        /// The loopback device.
        Network = "network",
        /// Resource limits.
        Limits = "limits",
        /// Control groups.
        Cgroup = "cgroup",
        /// Capabilities, securebits and the seccomp filter.
        Seccomp = "seccomp",
        /// Executing the command.
        Exec = "exec",
        /// Collecting results.
        Results = "results",
        /// Writing the report.
        Report = "report",
    }
}

/// The `error` object of a report. It is one pointer, since everything that can go wrong is handed through every function.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Details>);

impl Deref for Problem {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

/// What a [`Problem`] says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Details {
    /// Which of the known things went wrong.
    pub code: Code,
    /// Where in the work.
    pub stage: Stage,
    /// The system call or step.
    pub operation: Option<&'static str>,
    /// The path that it was about.
    pub path: Option<Text>,
    /// The kernel's error number.
    pub errno: Option<i32>,
    /// Its name, such as `EPERM`.
    pub errno_name: Option<String>,
    /// One plain sentence.
    pub message: String,
    /// What to change.
    pub hint: Option<String>,
    /// JSON pointer (RFC 6901) of the field that caused it.
    pub at: Option<String>,
}

impl Problem {
    /// A problem with nothing but its code, stage and sentence.
    #[must_use]
    pub fn new(code: Code, stage: Stage, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            code,
            stage,
            operation: None,
            path: None,
            errno: None,
            errno_name: None,
            message: message.into(),
            hint: None,
            at: None,
        }))
    }

    /// A problem of the job itself, at a field.
    #[must_use]
    pub fn at(code: Code, at: impl Into<String>, message: impl Into<String>) -> Self {
        let mut problem = Self::new(code, Stage::Validate, message);
        problem.at = Some(at.into());
        problem
    }

    /// Adds what to change.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the path that it is about.
    #[must_use]
    pub fn path(mut self, path: &[u8]) -> Self {
        self.path = Some(Text::from(path));
        self
    }

    /// Adds the JSON pointer, if there is none yet.
    #[must_use]
    pub fn pointer(mut self, at: Option<&str>) -> Self {
        if self.at.is_none() {
            self.at = at.map(str::to_owned);
        }
        self
    }

    /// Adds the failed system call and its error number.
    #[must_use]
    pub fn errno(mut self, operation: &'static str, errno: nix::errno::Errno) -> Self {
        self.operation = Some(operation);
        self.errno = Some(errno as i32);
        self.errno_name = Some(format!("{errno:?}"));
        self
    }
}

/// An entry of `warnings` or `degraded`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Notice {
    /// What kind of thing.
    pub code: &'static str,
    /// The path it is about.
    pub path: Option<Text>,
    /// One plain sentence.
    pub message: String,
}

impl Notice {
    /// A notice about a path.
    #[must_use]
    pub fn new(code: &'static str, path: Option<&[u8]>, message: impl Into<String>) -> Self {
        Self {
            code,
            path: path.map(Text::from),
            message: message.into(),
        }
    }
}
