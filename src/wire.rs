//! What the child says to the parent: fixed-size records on a pipe. Ring 0.
//!
//! A record is one write below PIPE_BUF, so it is atomic (pipe(7)). No path travels: the parent owns the same plan and
//! looks everything up by the index of the step. Decoding is total: unknown bytes are [`Record::Garbled`].

/// Words in a record.
const WORDS: usize = 20;

/// Bytes in a record.
pub const SIZE: usize = WORDS * 8;

const _: () = assert!(SIZE <= 512, "POSIX promises atomic writes up to 512 bytes");

macro_rules! numbered {
    ($(#[$outer:meta])* $name:ident { $($(#[$meta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum $name { $($(#[$meta])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            fn decode(word: u64) -> Option<Self> {
                Self::ALL.get(usize::try_from(word).ok()?).copied()
            }
        }
    };
}

numbered! {
    /// A part of the child's work, in the order in which it is done.
    Phase {
        /// Dying with the parent.
        Bind = "bind",
        /// Writing the id maps.
        IdMaps = "id-maps",
        /// Setting the host name.
        Hostname = "hostname",
        /// Giving up protection from the out-of-memory killer.
        Protection = "protection",
        /// Standard input from a file.
        Stdin = "stdin",
        /// Looking at the processes' use of the processor.
        Meter = "meter",
        /// Making the network namespace beside the rest.
        Network = "network",
        /// Bringing the loopback device up.
        Loopback = "loopback",
        /// A step of the plan.
        Step = "step",
        /// Becoming init.
        Init = "init",
        /// Making the target's process.
        Fork = "fork",
        /// Putting the target's process into the job's control group.
        Cgroup = "cgroup",
        /// A session of its own.
        Session = "session",
        /// The standard streams and kept descriptors.
        Descriptors = "descriptors",
        /// Resource limits.
        Limits = "limits",
        /// The working directory.
        Cwd = "cwd",
        /// Dropping capabilities.
        Capabilities = "capabilities",
        /// The system call filter.
        Filter = "filter",
        /// Waiting for the caller.
        Sync = "sync",
        /// The command.
        Exec = "exec",
    }
}

numbered! {
    /// A system call of the child.
    Call {
        /// openat2(2)
        Open = "openat2",
        /// write(2)
        Write = "write",
        /// read(2)
        Read = "read",
        /// getdents64(2)
        GetDents = "getdents64",
        /// sendfile(2)
        SendFile = "sendfile",
        /// mkdirat(2)
        MkDir = "mkdirat",
        /// mknodat(2)
        MkNod = "mknodat",
        /// symlinkat(2)
        Symlink = "symlinkat",
        /// utimensat(2)
        SetTime = "utimensat",
        /// sendmsg(2)
        SendMsg = "sendmsg",
        /// fstatfs(2)
        StatFs = "fstatfs",
        /// fsopen(2)
        FsOpen = "fsopen",
        /// fsconfig(2)
        FsConfig = "fsconfig",
        /// fsconfig(2) that creates the file system
        FsCreate = "fsconfig-create",
        /// fsmount(2)
        FsMount = "fsmount",
        /// open_tree(2)
        OpenTree = "open_tree",
        /// mount_setattr(2)
        MountSetAttr = "mount_setattr",
        /// move_mount(2)
        MoveMount = "move_mount",
        /// pivot_root(2)
        PivotRoot = "pivot_root",
        /// umount2(2)
        UMount = "umount2",
        /// chroot(2)
        ChRoot = "chroot",
        /// chdir(2), fchdir(2)
        ChDir = "chdir",
        /// sethostname(2)
        SetHostName = "sethostname",
        /// socket(2)
        Socket = "socket",
        /// ioctl(2)
        Ioctl = "ioctl",
        /// pipe2(2)
        Pipe = "pipe2",
        /// clone3(2)
        Clone = "clone3",
        /// unshare(2)
        Unshare = "unshare",
        /// prctl(2)
        PrCtl = "prctl",
        /// capset(2)
        CapSet = "capset",
        /// setpgid(2)
        SetPGid = "setpgid",
        /// setsid(2)
        SetSid = "setsid",
        /// keyctl(2)
        KeyCtl = "keyctl",
        /// dup3(2), fcntl(2)
        Dup = "dup3",
        /// close_range(2)
        CloseRange = "close_range",
        /// prlimit(2)
        PrLimit = "prlimit",
        /// rt_sigaction(2), rt_sigprocmask(2)
        Signals = "rt_sigaction",
        /// seccomp(2)
        Seccomp = "seccomp",
        /// execve(2)
        Exec = "execve",
    }
}

/// Resource use of the target and everything it waited for, from wait4(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Rusage {
    /// CPU time in user mode.
    pub user_ns: u64,
    /// CPU time in the kernel.
    pub system_ns: u64,
    /// Largest resident set.
    pub max_rss_bytes: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Blocks read.
    pub block_reads: u64,
    /// Blocks written.
    pub block_writes: u64,
    /// Voluntary context switches.
    pub voluntary_switches: u64,
    /// Involuntary context switches.
    pub involuntary_switches: u64,
}

/// A failed system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// In which part of the work.
    pub phase: Phase,
    /// Which one of several: the step of the plan, the descriptor, the limit, the candidate for the command.
    pub index: u32,
    /// The call.
    pub call: Call,
    /// Its error number.
    pub errno: i32,
}

/// One message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// Set-up ended; the target has not run, or its `execve` failed after [`Record::Ready`].
    Failed(Failure),
    /// An optional step was left out.
    Skipped(Failure),
    /// Only `execve` is left.
    Ready {
        /// CLOCK_MONOTONIC.
        at_ns: u64,
        /// How long it was ready and not allowed to run.
        waited_ns: u64,
    },
    /// The job has used more processor time than it may.
    CpuTime {
        /// How much.
        used_ns: u64,
    },
    /// The target ended.
    Exited {
        /// As wait(2) gives it.
        status: i32,
        /// CLOCK_MONOTONIC.
        at_ns: u64,
        /// Its resource use.
        rusage: Rusage,
        /// Bytes in the scratch space.
        scratch_bytes: u64,
        /// Processor time of the whole job, where it is added up; else 0.
        job_cpu_ns: u64,
        /// Whether it was the last process of the container but for init, which ends now.
        last: bool,
    },
    /// Not a record.
    Garbled,
}

const FAILED: u64 = 0x5d_01;
const SKIPPED: u64 = 0x5d_02;
const READY: u64 = 0x5d_03;
const EXITED: u64 = 0x5d_04;
const CPU_TIME: u64 = 0x5d_05;

/// Words that a record uses.
const USED: usize = 15;

/// A record of a few words.
fn spread(few: [u64; 5]) -> [u64; USED] {
    let mut all = [0; USED];
    for (word, value) in all.iter_mut().zip(few) {
        *word = value;
    }
    all
}

impl Record {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SIZE] {
        let mut words = [0; WORDS];
        let values: [u64; USED] = match *self {
            Self::Failed(failure) => failure.words(FAILED),
            Self::Skipped(failure) => failure.words(SKIPPED),
            Self::Ready { at_ns, waited_ns } => spread([READY, at_ns, waited_ns, 0, 0]),
            Self::CpuTime { used_ns } => spread([CPU_TIME, used_ns, 0, 0, 0]),
            Self::Exited {
                status,
                at_ns,
                rusage: r,
                scratch_bytes,
                job_cpu_ns,
                last,
            } => [
                EXITED,
                at_ns,
                u64::from(status.cast_unsigned()),
                scratch_bytes,
                r.user_ns,
                r.system_ns,
                r.max_rss_bytes,
                r.minor_faults,
                r.major_faults,
                r.block_reads,
                r.block_writes,
                r.voluntary_switches,
                r.involuntary_switches,
                job_cpu_ns,
                last.into(),
            ],
            Self::Garbled => [0; USED],
        };
        for (word, value) in words.iter_mut().zip(values) {
            *word = value;
        }
        let mut bytes = [0; SIZE];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// The record that the bytes stand for.
    #[must_use]
    pub fn decode(bytes: &[u8; SIZE]) -> Self {
        let mut words = [0; WORDS];
        for (word, place) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(place.try_into().unwrap_or_default());
        }
        Self::from_words(&words).unwrap_or(Self::Garbled)
    }

    fn from_words(words: &[u64; WORDS]) -> Option<Self> {
        let [kind, a, b, c, d, e, f, g, h, i, j, k, l, m, n, ..] = *words;
        match kind {
            FAILED => Failure::from_words(a, b, c, d).map(Self::Failed),
            SKIPPED => Failure::from_words(a, b, c, d).map(Self::Skipped),
            READY => Some(Self::Ready {
                at_ns: a,
                waited_ns: b,
            }),
            CPU_TIME => Some(Self::CpuTime { used_ns: a }),
            EXITED => Some(Self::Exited {
                status: u32::try_from(b).ok()?.cast_signed(),
                at_ns: a,
                scratch_bytes: c,
                job_cpu_ns: m,
                last: n == 1,
                rusage: Rusage {
                    user_ns: d,
                    system_ns: e,
                    max_rss_bytes: f,
                    minor_faults: g,
                    major_faults: h,
                    block_reads: i,
                    block_writes: j,
                    voluntary_switches: k,
                    involuntary_switches: l,
                },
            }),
            _ => None,
        }
    }
}

impl Failure {
    fn words(self, kind: u64) -> [u64; USED] {
        let errno = u64::from(self.errno.cast_unsigned());
        spread([
            kind,
            self.phase as u64,
            self.index.into(),
            self.call as u64,
            errno,
        ])
    }

    fn from_words(phase: u64, index: u64, call: u64, errno: u64) -> Option<Self> {
        Some(Self {
            phase: Phase::decode(phase)?,
            index: u32::try_from(index).ok()?,
            call: Call::decode(call)?,
            errno: u32::try_from(errno).ok()?.cast_signed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_every_phase_and_call_survives_a_round_trip() {
        for &phase in Phase::ALL {
            for &call in Call::ALL {
                let failure = Failure {
                    phase,
                    index: u32::MAX,
                    call,
                    errno: -1,
                };
                for record in [Record::Failed(failure), Record::Skipped(failure)] {
                    assert_eq!(Record::decode(&record.encode()), record);
                }
            }
        }
    }

    #[test]
    fn record_exit_survives_a_round_trip() {
        let rusage = Rusage {
            user_ns: 1,
            system_ns: 2,
            max_rss_bytes: 3,
            involuntary_switches: u64::MAX,
            ..Rusage::default()
        };
        let record = Record::Exited {
            status: 0x8b,
            at_ns: 7,
            rusage,
            scratch_bytes: 9,
            job_cpu_ns: 11,
            last: true,
        };
        for record in [
            record,
            Record::Ready {
                at_ns: 5,
                waited_ns: 8,
            },
            Record::CpuTime { used_ns: 6 },
        ] {
            assert_eq!(Record::decode(&record.encode()), record);
        }
    }

    #[test]
    fn record_unknown_bytes_are_garbled() {
        assert_eq!(Record::decode(&[0; SIZE]), Record::Garbled);
        assert_eq!(Record::decode(&[0xff; SIZE]), Record::Garbled);
        let mut bytes = Record::Failed(Failure {
            phase: Phase::Exec,
            index: 0,
            call: Call::Exec,
            errno: 2,
        })
        .encode();
        bytes[8] = 200;
        assert_eq!(Record::decode(&bytes), Record::Garbled);
    }
}
