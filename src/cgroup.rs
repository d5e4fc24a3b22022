//! Control groups of version 2: what there is for a caller, and what the kernel's files say. Text and numbers only. Ring 0.
//!
//! # References
//! Documentation/admin-guide/cgroup-v2.rst; cgroups(7)

use crate::text::AbsPath;
use std::fmt;

/// A set of controllers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Controllers(u8);

impl Controllers {
    /// `memory`
    pub const MEMORY: Self = Self(1);
    /// `pids`
    pub const PIDS: Self = Self(1 << 1);
    /// `cpu`
    pub const CPU: Self = Self(1 << 2);
    /// `cpuset`
    pub const CPUSET: Self = Self(1 << 3);
    /// `io`
    pub const IO: Self = Self(1 << 4);

    const NAMES: [(&'static str, Self); 5] = [
        ("memory", Self::MEMORY),
        ("pids", Self::PIDS),
        ("cpu", Self::CPU),
        ("cpuset", Self::CPUSET),
        ("io", Self::IO),
    ];

    /// Those whose names stand in a file such as `cgroup.controllers`, whatever separates them.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        text.split([' ', '\n', ','])
            .filter_map(|word| Self::NAMES.iter().find(|(name, _)| *name == word))
            .fold(Self::default(), |all, (_, one)| all.with(*one))
    }

    /// Those of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that the other has not.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that both have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each with a sign in front, as `cgroup.subtree_control` takes them.
    #[must_use]
    pub fn signed(self, sign: char) -> String {
        self.names()
            .map(|name| format!("{sign}{name}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(_, one)| !self.and(*one).is_empty())
            .map(|(name, _)| name)
    }
}

impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

/// What there is for a caller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CgroupFacts {
    /// What version 1 has, which version 2 therefore has not.
    pub v1: Controllers,
    /// The groups below which a leaf may be made, best first: the one that the job names; else the caller's own, and the one
    /// above it. Or why there are none.
    pub groups: Vec<Group>,
    /// What was named, or looked for, and is no group.
    pub none: Option<NoGroup>,
    /// Whether the machine swaps.
    pub swap: bool,
}

/// Why there is no group to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoGroup {
    /// No hierarchy of version 2 is mounted where this process can see its own group.
    NotMounted,
    /// The directory that the job names cannot be opened, with this error number.
    Unopened(i32),
    /// It belongs to another file system.
    NotCgroup2,
}

/// A control group, as the caller sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its directory.
    pub path: AbsPath,
    /// What it could give to groups below it.
    pub available: Controllers,
    /// What it gives to them.
    pub enabled: Controllers,
    /// Who is in it.
    pub occupants: Occupants,
    /// What the caller would have to write to make a group below and to put a process of its there, but may not; with the
    /// error number.
    pub refused: Option<(AbsPath, i32)>,
    /// The same for enabling controllers.
    pub uncontrolled: Option<(AbsPath, i32)>,
}

/// Who is in a group. One with processes gives no controllers to those below it, except at the root of the hierarchy
/// (cgroups(7), "No internal processes" rule).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Occupants {
    /// Nobody, or it does not matter.
    Nobody,
    /// The caller, and nobody else.
    OnlyCaller,
    /// Others.
    Others,
}

/// The group of a process, out of `/proc/PID/cgroup`: the controllers that version 1 has, and the path in the hierarchy of
/// version 2, which begins with `/..` where it lies outside of the reader's control group namespace.
#[must_use]
pub fn own_group(text: &[u8]) -> (Controllers, Option<&[u8]>) {
    let (mut v1, mut own) = (Controllers::default(), None);
    for line in text.split(|&b| b == b'\n') {
        let mut fields = line.splitn(3, |&b| b == b':');
        match (fields.next(), fields.next(), fields.next()) {
            (Some(b"0"), Some(b""), Some(path)) => own = Some(path),
            (Some(_), Some(controllers), Some(_)) => {
                // The old name.
                let names = String::from_utf8_lossy(controllers).replace("blkio", "io");
                v1 = v1.with(Controllers::parse(&names));
            }
            _ => {}
        }
    }
    (v1, own)
}

/// The number after this key at the beginning of a line: the flat keyed form.
#[must_use]
pub fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, number) = line.split_once(' ')?;
        number.parse().ok().filter(|_| name == key)
    })
}

/// The sum of what all devices have under this name in `io.stat`.
#[must_use]
pub fn io_sum(text: &str, name: &str) -> u64 {
    let words = text.split_ascii_whitespace();
    words
        .filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        .fold(0, u64::saturating_add)
}

/// What the kernel counted for the whole job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// `user_usec` of `cpu.stat`.
    pub cpu_user_ns: u64,
    /// `system_usec` of `cpu.stat`.
    pub cpu_system_ns: u64,
    /// `throttled_usec` of `cpu.stat`; none without the cpu controller.
    pub throttled_ns: Option<u64>,
    /// `memory.peak`; none without the controller, and before Linux 5.19.
    pub memory_peak_bytes: Option<u64>,
    /// `pids.peak`; none without the controller, and before Linux 6.1.
    pub processes_peak: Option<u64>,
    /// `rbytes` of `io.stat`; none without the controller.
    pub io_read_bytes: Option<u64>,
    /// `wbytes` of `io.stat`.
    pub io_write_bytes: Option<u64>,
    /// What happened for want of memory.
    pub memory: MemoryEvents,
    /// How often the job's own limit kept a process from being made: `max` of `pids.events`.
    pub refused_forks: u64,
}

/// Out of `memory.events`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryEvents {
    /// How often the group's own limit left no other way.
    pub oom: u64,
    /// How many of its processes were killed, for its own limit or another's.
    pub oom_kill: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_group_is_that_of_version_2() {
        assert_eq!(
            own_group(b"0::/user.slice/a b:c\n"),
            (
                Controllers::default(),
                Some(b"/user.slice/a b:c".as_slice())
            )
        );
        let hybrid = b"5:blkio:/\n4:memory:/x\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n";
        let v1 = Controllers::MEMORY
            .with(Controllers::CPU)
            .with(Controllers::IO);
        assert_eq!(own_group(hybrid), (v1, Some(b"/".as_slice())));
        assert_eq!(own_group(b""), (Controllers::default(), None));
    }

    #[test]
    fn controllers_survive_a_round_trip() {
        let some = Controllers::parse("cpuset cpu io memory hugetlb pids rdma misc\n");
        assert_eq!(some.to_string(), "memory, pids, cpu, cpuset, io");
        assert_eq!(
            some.without(Controllers::CPU).signed('+'),
            "+memory +pids +cpuset +io"
        );
        assert!(Controllers::parse("").is_empty());
    }

    #[test]
    fn figures_are_found_by_whole_keys() {
        let events = "low 0\noom_group_kill 7\noom 1\noom_kill 3\n";
        assert_eq!(
            (keyed(events, "oom"), keyed(events, "oom_kill")),
            (Some(1), Some(3))
        );
        assert_eq!(keyed(events, "kill"), None);
        let io = "254:0 rbytes=4096 wbytes=1 rios=1\n8:16 rbytes=5 wbytes=2 dbytes=9\n";
        assert_eq!(
            (
                io_sum(io, "rbytes"),
                io_sum(io, "wbytes"),
                io_sum("", "rbytes")
            ),
            (4101, 3, 0)
        );
    }
}
