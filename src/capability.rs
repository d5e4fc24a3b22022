//! Capabilities by name (capabilities(7)). Ring 0.

/// In the order of linux/capability.h, whose numbers begin with 0.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A set of capabilities, one bit for each number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    /// CAP_SYS_ADMIN
    pub const SYS_ADMIN: Self = Self(1 << 21);

    /// CAP_SETPCAP
    pub const SETPCAP: Self = Self(1 << 8);

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let number = NAMES.iter().position(|known| *known == name)?;
        Some(Self(1 << number))
    }

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether they have any in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As capset(2) takes them.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let numbered = NAMES.iter().enumerate();
        numbered
            .filter(move |(number, _)| self.0 >> number & 1 == 1)
            .map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        let bit = |name| Capabilities::named(name).unwrap().bits();
        // linux/capability.h
        assert_eq!(bit("CAP_CHOWN"), 1);
        assert_eq!(bit("CAP_SYS_ADMIN"), 1 << 21);
        assert_eq!(bit("CAP_SETFCAP"), 1 << 31);
        assert_eq!(bit("CAP_CHECKPOINT_RESTORE"), 1 << 40);
        assert_eq!(Capabilities::named("CAP_"), None);
        let two = Capabilities(1 << 10 | 1);
        let names: Vec<_> = two.names().collect();
        assert_eq!(names, ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]);
    }
}
