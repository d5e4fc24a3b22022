//! What to change where a host does not allow something: the hint of an error, and for `stdbox doctor` what to do on each kind of
//! system. Ring 0.
//!
//! Each is named in one place only, so a run and the doctor say the same.

/// What to change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remedy {
    /// In a sentence or two: `hint` of an error.
    pub hint: &'static str,
    /// Where, and what is done there.
    pub steps: &'static [(&'static str, &'static str)],
}

const DEBIAN: &str = "Debian";
const UBUNTU: &str = "Ubuntu";
const FEDORA: &str = "Fedora, RHEL";
const ENGINE: &str = "Docker, Podman";
const KUBERNETES: &str = "Kubernetes";
const WSL: &str = "WSL";
const ANY: &str = "any";

/// user.max_user_namespaces is 0.
pub const USER_NAMESPACES_OFF: Remedy = Remedy {
    hint: "Set user.max_user_namespaces to a number such as 15000 (sysctl -w, as root). In a job of stdbox, give no directory of that job another mode inside a full-access one.",
    steps: &[
        (
            ANY,
            "sysctl -w user.max_user_namespaces=15000, and the same line in a file in /etc/sysctl.d, as root; in stdbox, no directory of the outer job with another mode inside a full-access one",
        ),
        (
            FEDORA,
            "the same; profiles for hardened systems set it to 0, so look in /etc/sysctl.d for where it comes from",
        ),
        (
            ENGINE,
            "the same on the machine that runs the engine; a container cannot raise what is set above it",
        ),
        (
            KUBERNETES,
            "the same on the nodes: user.max_user_namespaces is no sysctl that a pod may set",
        ),
        (
            WSL,
            "the same inside the distribution; /etc/sysctl.d is read at its start only with systemd=true in /etc/wsl.conf",
        ),
    ],
};

/// kernel.unprivileged_userns_clone is 0.
pub const USERNS_CLONE_OFF: Remedy = Remedy {
    hint: "Set kernel.unprivileged_userns_clone to 1 (sysctl -w, as root).",
    steps: &[
        (
            DEBIAN,
            "sysctl -w kernel.unprivileged_userns_clone=1, and the same line in a file in /etc/sysctl.d, as root",
        ),
        (
            ENGINE,
            "the same on the machine that runs the engine, or run as root in the container",
        ),
    ],
};

/// kernel.apparmor_restrict_unprivileged_userns is 1.
pub const APPARMOR: Remedy = Remedy {
    hint: "Load an AppArmor profile with the \"userns\" rule for the stdbox file, or set kernel.apparmor_restrict_unprivileged_userns to 0 (sysctl -w, as root).",
    steps: &[
        (
            UBUNTU,
            "stdbox doctor --apparmor-profile | sudo tee /etc/apparmor.d/stdbox && sudo apparmor_parser -r /etc/apparmor.d/stdbox",
        ),
        (
            ENGINE,
            "on a machine with Ubuntu: --security-opt apparmor=unconfined beside the other options, and the profile on the machine itself",
        ),
        (
            KUBERNETES,
            "securityContext: {appArmorProfile: {type: Unconfined}} beside the other settings, and the profile on the nodes",
        ),
    ],
};

/// stdbox runs in a chroot.
pub const CHROOT: Remedy = Remedy {
    hint: "Enter the tree with pivot_root (as unshare, bwrap or a container engine does) instead of chroot.",
    steps: &[
        (
            ANY,
            "bwrap --bind TREE / --dev /dev --proc /proc stdbox, or unshare -m with pivot_root(8), in place of chroot(8); schroot and debootstrap's shells are chroots too",
        ),
        (WSL, "WSL 2: version 1 has no namespaces"),
    ],
};

/// A container around this one keeps system calls back.
pub const ENGINE_FILTER: Remedy = Remedy {
    hint: "In Docker or Podman allow clone3 and unshare: --security-opt seccomp=unconfined or a profile of your own (and systempaths=unconfined for /proc); Kubernetes: seccompProfile Unconfined, in a pod with hostUsers false.",
    steps: FILTER,
};

const FILTER: &[(&str, &str)] = &[
    (
        ENGINE,
        "--security-opt seccomp=unconfined --security-opt systempaths=unconfined",
    ),
    (
        UBUNTU,
        "with AppArmor --security-opt apparmor=unconfined too; the profile of Docker lets containers mount nothing",
    ),
    (
        FEDORA,
        "with SELinux --security-opt label=disable too; container-selinux lets confined containers mount nothing",
    ),
    (
        KUBERNETES,
        "securityContext: {seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}, procMount: Unmasked}; procMount needs hostUsers: false",
    ),
    (WSL, "WSL 2: version 1 has no namespaces"),
];

/// It, or a security module, keeps mounts back.
pub const MOUNTS_FORBIDDEN: Remedy = Remedy {
    hint: "A system call filter or a security module of the surrounding container forbids mounts, it seems: Docker and Podman --security-opt seccomp=unconfined, with AppArmor --security-opt apparmor=unconfined, with SELinux --security-opt label=disable; Kubernetes: seccompProfile and appArmorProfile Unconfined.",
    steps: FILTER,
};

/// It keeps sethostname(2) back, as Podman's own filter does.
pub const HOSTNAME_FORBIDDEN: Remedy = Remedy {
    hint: "A system call filter of the surrounding container forbids it, it seems: Docker and Podman --security-opt seccomp=unconfined or --cap-add SYS_ADMIN; with \"strict\":false the job keeps that container's name.",
    steps: FILTER,
};

/// It keeps back what the loopback device takes.
pub const LOOPBACK_FORBIDDEN: Remedy = Remedy {
    hint: "A system call filter of the surrounding container forbids sockets or their ioctl, it seems: allow them, or set \"network\" to \"host\".",
    steps: FILTER,
};

/// The kernel was built without something.
pub const KERNEL_CONFIG: Remedy = Remedy {
    hint: "A kernel with CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_IPC_NS, CONFIG_UTS_NS, CONFIG_NET_NS and CONFIG_CGROUPS is needed.",
    steps: &[
        (ANY, "a kernel of a distribution: all of them are built so"),
        (WSL, "WSL 2 with Microsoft's own kernel: wsl --update"),
    ],
};

/// A limit on namespaces is reached.
pub const TOO_MANY_NAMESPACES: Remedy = Remedy {
    hint: "Raise user.max_*_namespaces (sysctl), end other containers, or nest fewer of them: the kernel allows 32 levels. In bubblewrap, leave out --disable-userns.",
    steps: &[(
        ANY,
        "sysctl user | grep max_ shows the limits; raise the one that is reached, as root; in bubblewrap, no --disable-userns",
    )],
};

/// The hint where this process can have no more descriptors. Each caller raises its own limit, so there is no more to say.
pub const NO_DESCRIPTORS: &str = "Raise the limit on open files of stdbox (ulimit -n).";

/// Memory or processes ran out.
pub const NO_MEMORY: Remedy = Remedy {
    hint: "Free memory, or raise the limit on processes (ulimit -u, pids.max of the control group).",
    steps: &[
        (ANY, "free memory; ulimit -u shows the limit on processes"),
        (ENGINE, "--pids-limit and --memory, if they are set"),
        (
            KUBERNETES,
            "resources.limits.memory, and podPidsLimit of the kubelet",
        ),
    ],
};

/// A system call that every kernel since 5.15 has, however it was built, is missing.
pub const TOO_OLD: Remedy = Remedy {
    hint: "Linux 5.15 or newer is needed; in a container, a seccomp profile that allows the system calls of that version.",
    steps: &[
        (DEBIAN, "12 or newer; on 11 the kernel of its backports"),
        (UBUNTU, "22.04 or newer"),
        (FEDORA, "any Fedora of today; RHEL 10"),
        (
            ENGINE,
            "an engine whose own seccomp profile is not older than the kernel, or --security-opt seccomp=unconfined",
        ),
        (WSL, "wsl --update"),
    ],
};

/// /proc is covered, so the kernel allows no fresh one.
pub const PROC_MASKED: Remedy = Remedy {
    hint: "Start the surrounding container with an uncovered and writable /proc: Docker and Podman --security-opt systempaths=unconfined; Kubernetes procMount: Unmasked; bubblewrap --proc /proc by an ordinary user, --bind /proc /proc by root; stdbox \"proc\":\"nestable\". A job with \"proc\":\"none\" does without.",
    steps: PROC,
};

const PROC: &[(&str, &str)] = &[
    (
        ENGINE,
        "--security-opt systempaths=unconfined, which is unmask=ALL in Podman's own words",
    ),
    (
        KUBERNETES,
        "securityContext: {procMount: Unmasked}, which needs hostUsers: false",
    ),
    (
        ANY,
        "in stdbox around stdbox: \"proc\":\"nestable\" for the outer job; in bubblewrap: --proc /proc by an ordinary user, and by root, for whom it covers parts of it, --bind /proc /proc",
    ),
];

/// The same for /sys.
pub const SYS_MASKED: Remedy = Remedy {
    hint: "Start the surrounding container with an uncovered /sys (Docker and Podman: --security-opt systempaths=unconfined), or set \"sys\" to \"host\" or \"none\".",
    steps: PROC,
};

/// /proc is read-only.
pub const PROC_READ_ONLY: Remedy = Remedy {
    hint: "Start the surrounding container with a writable /proc: Docker and Podman --security-opt systempaths=unconfined; bubblewrap --proc /proc by an ordinary user, --bind /proc /proc by root.",
    steps: PROC,
};

/// There is no /proc.
pub const PROC_MISSING: Remedy = Remedy {
    hint: "Mount procfs on /proc before stdbox is started.",
    steps: &[(
        ANY,
        "mount -t proc proc /proc in the container or chroot around stdbox, as its root; bubblewrap: --proc /proc",
    )],
};

/// The kernel has no overlay file system.
pub const NO_OVERLAY: Remedy = Remedy {
    hint: "Load it as root (modprobe overlay), or give the directory the mode read-only.",
    steps: &[
        (
            ANY,
            "modprobe overlay, and a line \"overlay\" in a file in /etc/modules-load.d, as root; until then \"directories\":{\"/\":\"read-only\"}",
        ),
        (ENGINE, "the same on the machine that runs the engine"),
    ],
};

/// The machine has control groups of version 1.
pub const CGROUP_V1: Remedy = Remedy {
    hint: "Boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line, or mount cgroup2 alone; without, only wall_time_ms, cpu_time_ms, output_bytes and the limits of single processes can be kept.",
    steps: &[
        (
            DEBIAN,
            "systemd.unified_cgroup_hierarchy=1 in GRUB_CMDLINE_LINUX of /etc/default/grub, update-grub, and a restart; 11 and newer have it so",
        ),
        (UBUNTU, "the same; 22.04 and newer have it so"),
        (
            FEDORA,
            "grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1 on RHEL 8; newer ones have it so",
        ),
        (WSL, "kernelCommandLine=cgroup_no_v1=all in .wslconfig"),
    ],
};

/// No control group belongs to the caller.
pub const CGROUP_DELEGATE: Remedy = Remedy {
    hint: "Delegate a control group to the caller (cgroups(7), \"Cgroups delegation: delegating a hierarchy to a less privileged user\"): with systemd, `systemd-run --user --scope -p Delegate=yes stdbox`, or Delegate=yes in the unit of a service whose main process keeps to a group below its own; without, give the caller a directory of the hierarchy together with its cgroup.procs, cgroup.threads and cgroup.subtree_control, start it below there, and name it in \"cgroup\":{\"parent\":…}.",
    steps: &[
        (
            ANY,
            "systemd-run --user --scope -p Delegate=yes stdbox, or Delegate=yes in the unit of a service",
        ),
        (
            ENGINE,
            "--cgroupns=private and a writable /sys/fs/cgroup (Docker: -v /sys/fs/cgroup:/sys/fs/cgroup:rw, rootless Podman with systemd has it)",
        ),
        (
            KUBERNETES,
            "a pod cannot divide its own group; give each job a pod with resources.limits",
        ),
    ],
};

/// No hierarchy of version 2 can be seen.
pub const CGROUP_MOUNT: Remedy = Remedy {
    hint: "Mount one (mount -t cgroup2 cgroup2 /sys/fs/cgroup), or start the surrounding container with one: Docker and Podman --cgroupns=private and a writable /sys/fs/cgroup.",
    steps: CGROUP_DELEGATE.steps,
};

/// newuidmap(1) or newgidmap(1) is missing.
pub const NO_HELPERS: Remedy = Remedy {
    hint: "Install newuidmap and newgidmap (Debian, Ubuntu: package uidmap; elsewhere shadow or shadow-utils), or use \"map\":\"single\".",
    steps: &[
        (DEBIAN, "apt install uidmap"),
        (UBUNTU, "apt install uidmap"),
        (FEDORA, "dnf install shadow-utils"),
    ],
};

/// Ids inside another container.
pub const IDS_REFUSED: Remedy = Remedy {
    hint: "Inside another container: a process with uid 0 and without CAP_SETFCAP may map no ids, so give the outer one another uid (Docker and Podman --user, Kubernetes runAsUser, bubblewrap --uid, stdbox user.uid) or this capability; and the outer one must have mapped the caller's own id. See user_namespaces(7).",
    steps: &[
        (
            ENGINE,
            "--user with another id than 0, or --cap-add SETFCAP",
        ),
        (
            KUBERNETES,
            "securityContext: {runAsUser: 1000}, or capabilities: {add: [SETFCAP]} there",
        ),
        (
            ANY,
            "in bubblewrap --uid with another id than 0, or --cap-add CAP_SETFCAP; in stdbox user.uid",
        ),
    ],
};

/// All of them.
pub const ALL: [&Remedy; 22] = [
    &USER_NAMESPACES_OFF,
    &USERNS_CLONE_OFF,
    &APPARMOR,
    &CHROOT,
    &ENGINE_FILTER,
    &MOUNTS_FORBIDDEN,
    &HOSTNAME_FORBIDDEN,
    &LOOPBACK_FORBIDDEN,
    &KERNEL_CONFIG,
    &TOO_MANY_NAMESPACES,
    &NO_MEMORY,
    &TOO_OLD,
    &PROC_MASKED,
    &SYS_MASKED,
    &PROC_READ_ONLY,
    &PROC_MISSING,
    &NO_OVERLAY,
    &CGROUP_V1,
    &CGROUP_DELEGATE,
    &CGROUP_MOUNT,
    &NO_HELPERS,
    &IDS_REFUSED,
];

/// The one that gave an error its hint.
#[must_use]
pub fn of_hint(hint: &str) -> Option<&'static Remedy> {
    ALL.into_iter().find(|remedy| remedy.hint == hint)
}

/// A profile that lets the program at this path make user namespaces, and confines it no further: what it runs, it confines
/// itself (apparmor.d(5), "userns"). None for a path that a profile would not take literally.
#[must_use]
pub fn apparmor_profile(program: &[u8]) -> Option<String> {
    let special = |c: char| c.is_control() || "\"\\*?[]{}^".contains(c);
    let program = str::from_utf8(program).ok()?;
    if program.contains(special) {
        return None;
    }
    Some(format!(
        "# Lets stdbox make user namespaces where kernel.apparmor_restrict_unprivileged_userns is 1.\n\
         abi <abi/4.0>,\n\
         include <tunables/global>\n\n\
         profile stdbox \"{program}\" flags=(unconfined) {{\n  userns,\n}}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_remedy_is_found_by_its_hint_and_says_what_to_do() {
        for remedy in ALL {
            assert_eq!(of_hint(remedy.hint), Some(remedy));
            assert!(!remedy.steps.is_empty());
        }
        assert_eq!(of_hint("no such hint"), None);
    }
}
