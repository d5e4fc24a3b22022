//! What a failed system call means: which error, where in the work, and what a stranger should change. Ring 0.
//!
//! A failed step arrives as an index and an error number. Here it becomes a [`Problem`]: the plan knows the path and the
//! field, and a [`Diagnosis`] of the host, made only after something failed, knows what to change.

use crate::job::Job;
use crate::plan::{At, Base, Lookup, Plan, Step};
use crate::problem::{Code, Notice, Problem, Stage};
use crate::remedy;
use crate::spec::Mode;
use crate::text::AbsPath;
use crate::wire::{Call, Failure, Phase};
use nix::errno::Errno;

/// What the host says when asked why something failed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diagnosis {
    /// `/proc/sys/user/max_user_namespaces`
    pub max_user_namespaces: Option<u64>,
    /// `/proc/sys/kernel/unprivileged_userns_clone`, of Debian's kernels.
    pub unprivileged_userns_clone: Option<u64>,
    /// `/proc/sys/kernel/apparmor_restrict_unprivileged_userns`, of Ubuntu's kernels.
    pub apparmor_restrict: Option<u64>,
    /// Whether this process looks like one in a chroot.
    pub chroot: bool,
    /// `uname -r`
    pub kernel: String,
    /// Where the command or working directory, missing in the container, exists on the host.
    pub on_host: Option<AbsPath>,
    /// What the `#!` line of that command names, if it has one.
    pub interpreter: Option<Vec<u8>>,
    /// Whether the mount table is another than the one that was planned with.
    pub mounts_changed: bool,
}

impl Diagnosis {
    fn older_than(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self
            .kernel
            .split(['.', '-'])
            .map(|part| part.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (major, minor)
    }
}

/// Why the namespaces could not be made: `clone3` failed in the parent, or `unshare` in init.
#[must_use]
pub fn namespaces_refused(call: Call, errno: Errno, host: &Diagnosis) -> Problem {
    const NAMESPACES: &str = "The kernel refused new namespaces";
    let (code, message, hint) = match errno {
        Errno::ENOSPC | Errno::EUSERS if host.max_user_namespaces == Some(0) => (
            Code::UsernsForbidden,
            "User namespaces are switched off.",
            remedy::USER_NAMESPACES_OFF.hint,
        ),
        Errno::ENOSPC | Errno::EUSERS => (
            Code::NamespaceLimit,
            "The limit on the number or nesting of namespaces is reached.",
            remedy::TOO_MANY_NAMESPACES.hint,
        ),
        Errno::EPERM if host.unprivileged_userns_clone == Some(0) => (
            Code::UsernsForbidden,
            "Unprivileged user namespaces are switched off.",
            remedy::USERNS_CLONE_OFF.hint,
        ),
        Errno::EPERM | Errno::EACCES if host.apparmor_restrict == Some(1) => apparmor(),
        Errno::EPERM if host.chroot => (
            Code::Chroot,
            "stdbox runs in a chroot, it seems, where the kernel allows no user namespaces.",
            remedy::CHROOT.hint,
        ),
        Errno::EMFILE | Errno::ENFILE => (
            Code::OutOfMemory,
            "The limit on open files is reached.",
            remedy::NO_DESCRIPTORS,
        ),
        Errno::ENOSYS if host.older_than(5, 15) => (
            Code::KernelTooOld,
            "The kernel has no clone3 system call.",
            remedy::TOO_OLD.hint,
        ),
        Errno::ENOSYS | Errno::EPERM | Errno::EACCES => (
            Code::UsernsForbidden,
            "User namespaces are not allowed here, probably by the filter of a surrounding container.",
            remedy::ENGINE_FILTER.hint,
        ),
        Errno::EINVAL => (
            Code::UsernsForbidden,
            "The kernel does not know one of the namespaces.",
            remedy::KERNEL_CONFIG.hint,
        ),
        Errno::ENOMEM | Errno::EAGAIN => (
            Code::OutOfMemory,
            "There is not enough memory, or the limit on processes is reached.",
            remedy::NO_MEMORY.hint,
        ),
        _ => (Code::UsernsForbidden, NAMESPACES, "See user_namespaces(7)."),
    };
    Problem::new(code, Stage::Namespaces, message)
        .errno(call.name(), errno)
        .hint(hint)
}

const fn apparmor() -> (Code, &'static str, &'static str) {
    (
        Code::ApparmorRestricted,
        "AppArmor takes the capabilities of unprivileged user namespaces away.",
        remedy::APPARMOR.hint,
    )
}

fn lacking(stage: Stage, call: Call) -> Problem {
    let message = format!(
        "The kernel has no {} system call, or a filter hides it.",
        call.name()
    );
    Problem::new(Code::KernelTooOld, stage, message).hint(remedy::TOO_OLD.hint)
}

/// What a failed call of the child means.
#[must_use]
pub fn explain(failure: Failure, job: &Job, plan: &Plan, host: &Diagnosis) -> Problem {
    let errno = Errno::from_raw(failure.errno);
    let index = usize::try_from(failure.index).unwrap_or(usize::MAX);
    let problem = match failure.phase {
        Phase::Bind | Phase::Init | Phase::Fork | Phase::Sync if errno == Errno::ENOSYS => {
            lacking(Stage::Namespaces, failure.call)
        }
        Phase::Session | Phase::Descriptors if errno == Errno::ENOSYS => {
            lacking(Stage::Exec, failure.call)
        }
        Phase::Bind | Phase::Init | Phase::Fork | Phase::Sync => {
            let code = if matches!(errno, Errno::EAGAIN | Errno::ENOMEM) {
                Code::OutOfMemory
            } else {
                Code::Internal
            };
            Problem::new(
                code,
                Stage::Namespaces,
                "The first process of the container could not do its work.",
            )
        }
        Phase::Cgroup => cgroup(plan, index, errno),
        Phase::IdMaps => identity(errno, host),
        Phase::Hostname => Problem::new(
            Code::IdentityRefused,
            Stage::Identity,
            "The host name could not be set.",
        )
        .hint(remedy::HOSTNAME_FORBIDDEN.hint)
        .pointer(Some("/hostname")),
        Phase::Stdin => Problem::new(Code::FileRefused, Stage::Exec, UNPROTECTED)
            .hint("\"strict\":false lets the job run all the same; give the data as text, or through a pipe.")
            .pointer(Some("/stdin/file")),
        Phase::Meter => metering(failure.call, errno),
        Phase::Protection => Problem::new(Code::LimitRefused, Stage::Limits, PROTECTED)
            .hint("Start stdbox with an oom_score_adj of 0 or more (proc_pid_oom_score_adj(5); OOMScoreAdjust= of systemd), or with CAP_SYS_RESOURCE, or set \"strict\" to false."),
        Phase::Network => return namespaces_refused(failure.call, errno, host),
        Phase::Loopback => Problem::new(
            Code::NetworkRefused,
            Stage::Network,
            "The loopback device could not be brought up.",
        )
        .hint(remedy::LOOPBACK_FORBIDDEN.hint)
        .pointer(Some("/network")),
        Phase::Step => step(plan, index, failure.call, errno, host),
        Phase::Session if failure.call == Call::KeyCtl => Problem::new(
            Code::OutOfMemory,
            Stage::Exec,
            "A session keyring of the job's own could not be made.",
        )
        .hint("Where this user has as many keys as it may (/proc/sys/kernel/keys/maxkeys), revoke some, or give the job a system call filter."),
        Phase::Session => Problem::new(
            Code::Internal,
            Stage::Exec,
            "A new session could not be made.",
        ),
        Phase::Descriptors => descriptor(plan, index, errno),
        Phase::Limits => {
            let limits = plan.rlimits.iter().map(|(limit, _)| limit.pointer());
            let at = limits.chain(["/limits/cpu_time_ms"]).nth(index);
            Problem::new(
                Code::LimitRefused,
                Stage::Limits,
                "The kernel refused the resource limit.",
            )
            .hint("A limit cannot be above the hard limit that stdbox itself has (ulimit -H).")
            .pointer(at)
        }
        Phase::Cwd => cwd(job, plan, errno, host),
        Phase::Capabilities => Problem::new(
            Code::Internal,
            Stage::Seccomp,
            "The capabilities of the target could not be dropped.",
        ),
        Phase::Filter => Problem::new(
            Code::SeccompRefused,
            Stage::Seccomp,
            "The kernel refused the system call filter.",
        )
        .hint("A kernel with CONFIG_SECCOMP_FILTER is needed; \"seccomp\":\"off\" goes without.")
        .pointer(Some("/seccomp")),
        Phase::Exec => exec(job, plan, index, errno, host),
    };
    problem.errno(failure.call.name(), errno)
}

/// Why the processes of the container cannot be looked at.
fn metering(call: Call, errno: Errno) -> Problem {
    let problem = match errno {
        Errno::ENOSYS => Problem::new(
            Code::KernelTooOld,
            Stage::Limits,
            format!("The kernel has no {} system call, or a filter hides it.", call.name()),
        )
        .hint("Linux 5.15 or newer is needed; in a container, a seccomp profile that allows the mount calls."),
        Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ENOSPC => Problem::new(
            Code::OutOfMemory,
            Stage::Limits,
            "A resource ran out while a look at the job's processes was prepared.",
        )
        .hint("Free memory on the host; raise the limit on open files (ulimit -n) or fs.mount-max (sysctl)."),
        _ => Problem::new(
            Code::ProcMasked,
            Stage::Limits,
            "The kernel refuses a /proc to read the job's processor time from, because parts of the present one are covered.",
        )
        .path(b"/proc")
        .hint("Start the surrounding container with an uncovered /proc (Docker and Podman: --security-opt systempaths=unconfined; stdbox: proc nestable), or leave the time to a control group: \"cgroup\":\"required\", on a host with cgroup v2."),
    };
    problem.pointer(Some("/limits/cpu_time_ms"))
}

/// Why the target could not be put into the job's control group.
fn cgroup(plan: &Plan, index: usize, errno: Errno) -> Problem {
    let problem = |code, message| Problem::new(code, Stage::Cgroup, message);
    match (index, errno) {
        (0, Errno::EAGAIN | Errno::ENOMEM) => problem(
            Code::OutOfMemory,
            "The target's process could not be made.",
        ),
        (0, _) => {
            let problem = problem(
                Code::CgroupUnavailable,
                "The kernel lets no process of the caller's into the job's control group.",
            );
            let parent = plan.leaf.as_ref().map(|leaf| &leaf.parent);
            let problem = match parent {
                Some(parent) => problem.path(parent.bytes()),
                None => problem,
            };
            problem.hint("The caller's own uid must own cgroup.procs of the group in which the ways to the caller's group and to the job's meet: cgroups(7), \"Cgroups delegation: delegating a hierarchy to a less privileged user\".")
        }
        (1, _) => problem(
            Code::CgroupUnavailable,
            "The number of control group namespaces could not be limited, so the job could lift its own limits.",
        )
        .path(b"/proc/sys/user/max_cgroup_namespaces")
        .hint("Start the surrounding container with a writable /proc/sys: Docker and Podman --security-opt systempaths=unconfined."),
        _ => problem(
            Code::NamespaceLimit,
            "The target could not be given its own view of the control groups.",
        )
        .hint("Raise user.max_cgroup_namespaces (sysctl); a container around this one may have set it to 0."),
    }
}

/// Why the id maps could not be written.
#[must_use]
pub fn identity(errno: Errno, host: &Diagnosis) -> Problem {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => Problem::new(
            Code::ProcMissing,
            Stage::Identity,
            "There is no /proc to write the id maps through.",
        )
        .path(b"/proc")
        .hint(remedy::PROC_MISSING.hint),
        Errno::EPERM | Errno::EACCES if host.apparmor_restrict == Some(1) => {
            let (code, message, hint) = apparmor();
            Problem::new(code, Stage::Identity, message).hint(hint)
        }
        Errno::EROFS => Problem::new(
            Code::ProcMasked,
            Stage::Identity,
            "/proc is read-only, so the id maps cannot be written.",
        )
        .path(b"/proc")
        .hint(remedy::PROC_READ_ONLY.hint),
        _ => Problem::new(
            Code::IdentityRefused,
            Stage::Identity,
            "The user and group ids could not be mapped.",
        )
        .hint(remedy::IDS_REFUSED.hint),
    }
}

fn show_path(plan: &Plan, at: &At) -> Option<Vec<u8>> {
    match at.base {
        Base::Host => Some(at.path.to_bytes().to_vec()),
        Base::Tree(slot) => {
            // A directory that a step before opened, or else the new root.
            let opened = plan.steps.iter().find_map(|placed| match &placed.step {
                Step::Open { slot: one, at } if *one == slot => show_path(plan, at),
                _ => None,
            });
            Some(
                [
                    &opened.unwrap_or_default(),
                    b"/".as_slice(),
                    at.path.to_bytes(),
                ]
                .concat(),
            )
        }
        // Only paths of the container mean something outside.
        Base::Own(_) => None,
    }
}

fn step_path(plan: &Plan, step: &Step) -> Option<Vec<u8>> {
    let show_path = |at| show_path(plan, at);
    match step {
        Step::NewFs { .. } | Step::Detach { .. } | Step::EnterRoot { .. } => None,
        Step::Overlay { lower, .. } => lower.first().and_then(show_path),
        Step::Clone { from, .. } | Step::Copy { from, .. } => show_path(from),
        Step::Attach { slot, at, .. } => show_path(at).or_else(|| {
            plan.steps.iter().find_map(|placed| match &placed.step {
                Step::Clone {
                    slot: made, from, ..
                } if made == slot => show_path(from),
                _ => None,
            })
        }),
        Step::Open { at, .. }
        | Step::Restrict { at, .. }
        | Step::MakeDir { at, .. }
        | Step::MakeNode { at, .. }
        | Step::Symlink { at, .. }
        | Step::Write { at, .. } => show_path(at),
    }
}

fn step(plan: &Plan, index: usize, call: Call, errno: Errno, host: &Diagnosis) -> Problem {
    let Some(placed) = plan.steps.get(index) else {
        return Problem::new(
            Code::Internal,
            Stage::Mounts,
            "The child named a step that the plan does not have.",
        );
    };
    let path = step_path(plan, &placed.step);
    let shown = path.as_deref().map_or_else(String::new, |path| {
        String::from_utf8_lossy(path).into_owned()
    });
    let is_proc = matches!(&placed.step, Step::NewFs { fstype, .. } if *fstype == c"proc");
    let stage = if is_proc { Stage::Proc } else { Stage::Mounts };
    let problem = |code, message: String| Problem::new(code, stage, message);
    // One that the job asked for, not one that a mode needs.
    let asked = placed
        .at
        .as_deref()
        .is_some_and(|at| at.starts_with("/mounts/"));
    let mut problem = match (&placed.step, errno) {
        (_, Errno::ENOSYS) => lacking(stage, call),
        (Step::NewFs { .. }, Errno::EPERM | Errno::EACCES) if is_proc => {
            problem(Code::ProcMasked, "The kernel refuses a fresh /proc, because parts of the present one are covered or read-only.".into())
                .path(b"/proc")
                .hint(remedy::PROC_MASKED.hint)
        }
        (Step::NewFs { fstype, .. }, Errno::EPERM | Errno::EACCES) if *fstype == c"sysfs" => {
            problem(Code::MountRefused, "The kernel refuses a fresh /sys, because the present one is missing, or parts of it are covered.".into())
                .path(b"/sys")
                .hint(remedy::SYS_MASKED.hint)
        }
        (Step::NewFs { .. }, Errno::EPERM | Errno::EACCES) if host.apparmor_restrict == Some(1) => {
            let (code, message, hint) = apparmor();
            problem(code, message.into()).hint(hint)
        }
        // In a user namespace since 5.11, with all that this project needs since 5.15.
        (Step::Overlay { .. }, Errno::EPERM | Errno::EINVAL) if host.older_than(5, 15) => {
            problem(Code::KernelTooOld, "The kernel has no overlays in user namespaces yet.".into()).hint(remedy::TOO_OLD.hint)
        }
        (Step::Overlay { .. }, Errno::ENODEV) => {
            problem(Code::OverlayUnsupported, "The kernel has no overlay file system.".into())
                .hint(remedy::NO_OVERLAY.hint)
        }
        (Step::Overlay { .. }, _) if host.mounts_changed => {
            problem(Code::MountTableChanged, format!("Something was mounted at or below {shown} while the container was planned."))
                .hint("Run the job again.")
        }
        (Step::Overlay { .. }, Errno::EINVAL | Errno::EPERM | Errno::ELOOP | Errno::ESTALE | Errno::EROFS | Errno::EXDEV) if asked => {
            problem(Code::MountRefused, "The kernel refuses an overlay of these directories.".into())
                .hint("\"upper\" and \"work\" must be two directories of one writable file system with extended attributes, neither inside the other nor used by another job; nothing may be mounted below a lower directory. dmesg may say more.")
        }
        (Step::Overlay { .. }, Errno::EINVAL | Errno::EPERM | Errno::ELOOP | Errno::ESTALE) => {
            problem(Code::OverlayUnsupported, format!("The kernel cannot use {shown} as the lower layer of an overlay."))
                .hint("Give the directory the mode read-only, hidden or full-access; dmesg may say more.")
        }
        (Step::NewFs { fstype, .. }, Errno::EINVAL) if *fstype == c"tmpfs" => {
            problem(Code::ScratchRefused, "The kernel refused the options of the scratch space.".into())
                .hint("Check size_bytes, inodes and numa_nodes; the nodes must exist (numactl --hardware).")
        }
        (Step::NewFs { fstype, .. }, Errno::ENODEV) => {
            problem(Code::MountRefused, format!("The kernel has no {} file system.", fstype.to_string_lossy()))
        }
        (_, Errno::ENOSPC | Errno::EDQUOT | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => {
            let (code, hint) = match errno {
                Errno::EMFILE => (Code::OutOfMemory, "Raise the hard limit on open files (ulimit -Hn): the tree has many mounts."),
                Errno::ENFILE | Errno::ENOMEM => (Code::OutOfMemory, "Free memory on the host."),
                _ => (Code::ScratchRefused, "Raise scratch.size_bytes and scratch.inodes, fs.mount-max (sysctl), or free space in scratch.directory."),
            };
            problem(code, "A resource ran out while the tree was built.".into()).hint(hint)
        }
        (Step::Open { .. }, _) if placed.at.as_deref() == Some("/scratch") => problem(Code::ScratchRefused, "The scratch directory could not be opened.".into()),
        (Step::Attach { .. }, Errno::EINVAL | Errno::ENOTDIR) if !shown.is_empty() => {
            problem(Code::MountRefused, format!("{shown} is a directory where the container has a file, or a file where it has a directory."))
                .hint("If it was replaced while the container was built, run the job again. What in /dev is no device file any more must be made again (mknod(1)).")
        }
        (_, Errno::ELOOP) => problem(Code::MountRefused, format!("{shown} became a symbolic link while the container was built."))
            .hint("Run the job again; if it persists, name the directory without symbolic links."),
        _ if shown.is_empty() => problem(Code::MountRefused, "A mount operation failed while the tree was built.".into()),
        _ => problem(Code::MountRefused, format!("{shown} could not be put into the container's tree.")),
    };
    if problem.hint.is_none() && forbidden(call, errno) {
        problem = problem.hint(remedy::MOUNTS_FORBIDDEN.hint);
    }
    if problem.path.is_none() {
        problem.path = path.map(crate::text::Text);
    }
    // Whatever step meets the end of the scratch space, its field is what can be changed.
    let scratch = problem.code == Code::ScratchRefused;
    problem.at = if scratch {
        Some("/scratch".to_owned())
    } else {
        placed.at.clone()
    };
    problem
}

/// Whether nothing but a filter or a security module gives this error: the container's first process has every capability that
/// mounts take. What is opened on the way to a mount may be closed to the caller as well.
const fn forbidden(call: Call, errno: Errno) -> bool {
    let mounts = matches!(
        call,
        Call::FsOpen
            | Call::FsConfig
            | Call::FsCreate
            | Call::FsMount
            | Call::MountSetAttr
            | Call::MoveMount
            | Call::PivotRoot
            | Call::UMount
    );
    match errno {
        Errno::EPERM => mounts || matches!(call, Call::OpenTree),
        Errno::EACCES => mounts,
        _ => false,
    }
}

fn descriptor(plan: &Plan, index: usize, errno: Errno) -> Problem {
    let place = plan
        .fds
        .iter()
        .position(|fd| usize::try_from(*fd) == Ok(index));
    let at = match index {
        0 => Some("/stdin".to_owned()),
        1 => Some("/stdout".to_owned()),
        2 => Some("/stderr".to_owned()),
        _ => place.map(|place| format!("/fds/{place}")),
    };
    if matches!(
        errno,
        Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP
    ) {
        return Problem::new(
            Code::DescriptorUnreachable,
            Stage::Exec,
            "A descriptor is a directory that the container does not have, so passing it on would lead back to the host.",
        )
        .hint("Pass no directory descriptors, or make the directory visible with a mode.")
        .pointer(at.as_deref());
    }
    Problem::new(
        Code::Internal,
        Stage::Exec,
        "The descriptors of the target could not be arranged.",
    )
    .pointer(at.as_deref())
}

fn cwd(job: &Job, plan: &Plan, errno: Errno, host: &Diagnosis) -> Problem {
    let shown = plan.cwd.lossy();
    let given = if job.cwd.is_some() {
        ""
    } else {
        " (the caller's, since the job names none)"
    };
    let problem = match errno {
        Errno::EACCES => Problem::new(
            Code::CwdMissing,
            Stage::Exec,
            format!("The working directory {shown}{given} cannot be entered."),
        ),
        _ if host.on_host.is_some() => {
            let message = format!(
                "The working directory {shown}{given} exists on the host, but is hidden in the container."
            );
            Problem::new(Code::CwdMissing, Stage::Exec, message).hint(reveal(
                job,
                &plan.cwd,
                "set \"cwd\" to another",
            ))
        }
        Errno::ENOTDIR => Problem::new(
            Code::CwdMissing,
            Stage::Exec,
            format!("The working directory {shown}{given} is a file, or lies below one."),
        )
        .hint("Set \"cwd\" to a directory that exists in the container."),
        _ => Problem::new(
            Code::CwdMissing,
            Stage::Exec,
            format!("The working directory {shown}{given} does not exist."),
        )
        .hint("Set \"cwd\" to a directory that exists in the container."),
    };
    problem.path(plan.cwd.bytes()).pointer(Some("/cwd"))
}

/// How to make a path of the host visible.
fn reveal(job: &Job, path: &AbsPath, or: &str) -> String {
    let mut above = Some(path.clone());
    while let Some(at) = above {
        if job
            .directories
            .get(&at)
            .is_some_and(|directory| directory.mode == Mode::Hidden)
        {
            let parent = path
                .parent()
                .filter(|parent| at.contains(parent))
                .unwrap_or(at.clone());
            return format!(
                "{} has the mode hidden. Give {} the mode read-only or overlay in \"directories\", or {or}.",
                at.lossy(),
                parent.lossy()
            );
        }
        above = at.parent();
    }
    format!("Give the directory a mode in \"directories\", or {or}.")
}

fn exec(job: &Job, plan: &Plan, index: usize, errno: Errno, host: &Diagnosis) -> Problem {
    let candidate = plan
        .exec
        .candidates
        .get(index)
        .or(plan.exec.candidates.last());
    let path = candidate.map_or(b"".as_slice(), |path| path.to_bytes());
    let name = match plan.exec.lookup {
        Lookup::Path => String::from_utf8_lossy(path).into_owned(),
        Lookup::Name => plan
            .exec
            .argv
            .first()
            .map(|arg| arg.to_string_lossy().into_owned())
            .unwrap_or_default(),
    };
    let at = match job.executable {
        Some(_) => "/executable",
        None => "/argv/0",
    };
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => {
            if let Some(found) = &host.on_host {
                let needs = match &host.interpreter {
                    Some(file) => format!("its interpreter {:?}", String::from_utf8_lossy(file)),
                    None => "the interpreter that it needs".to_owned(),
                };
                let message = format!(
                    "{} exists on the host, but it, or {needs}, does not exist in the container.",
                    found.lossy()
                );
                let hint = match &host.interpreter {
                    Some(file) if file.ends_with(b"\r") => {
                        "Its #! line ends with a carriage return: let its lines end with a newline alone."
                    }
                    _ => {
                        "Give its directory the mode read-only or overlay; the interpreter of a script (#! line) and the loader of a dynamic program must be visible too, with the links that lead to them (/lib64, say), which \"mounts\" can make."
                    }
                };
                return Problem::new(Code::CommandNotFound, Stage::Exec, message)
                    .path(found.bytes())
                    .hint(hint)
                    .pointer(Some(at));
            }
            let looked = match plan.exec.lookup {
                Lookup::Path => format!("{name} does not exist, or its interpreter does not."),
                Lookup::Name => format!("{name} is in no directory of PATH."),
            };
            Problem::new(Code::CommandNotFound, Stage::Exec, looked)
                .path(path)
                .hint(match plan.exec.lookup {
                    _ if name.contains([' ', '\n']) => {
                        "Give each argument a string of its own; a line of shell is [\"sh\", \"-c\", \"…\"]."
                    }
                    Lookup::Path => "Check the path and the directory modes.",
                    Lookup::Name => {
                        "Check argv[0], the PATH of \"env\" and the directory modes; a file of the working directory needs \"./\" before its name."
                    }
                })
                .pointer(Some(at))
        }
        Errno::ENOEXEC => Problem::new(Code::ExecFormat, Stage::Exec, format!("{name} is no program for this machine, and has no #! line."))
            .path(path)
            .hint("Start a script without #! through its interpreter: argv [\"/bin/sh\", \"script\"].")
            .pointer(Some(at)),
        Errno::E2BIG => Problem::new(Code::ExecRefused, Stage::Exec, "Arguments and environment together are too long.")
            .path(path)
            .hint("Shorten argv or env; the bound is a quarter of limits.stack_bytes (execve(2)).")
            .pointer(Some("/argv")),
        _ => Problem::new(Code::ExecRefused, Stage::Exec, format!("{name} may not be executed."))
            .path(path)
            .hint("Check that it is a file with the execute bit, on a mount without noexec, and that limits leave room for it.")
            .pointer(Some(at)),
    }
}

const PROTECTED: &str = "The caller is protected from the out-of-memory killer, and the job can be so too: the least oom_score_adj that it inherits is negative, so a limit on memory may not end it.";

const HOSTNAME_KEPT: &str = "A system call filter around stdbox lets no host name be set, so the job has that of the surrounding container.";

const UNPROTECTED: &str = "The file for standard input could not be made read-only for the target, which can open it again with the caller's permissions.";

/// The report's entry for a step that was left out or only done in part.
#[must_use]
pub fn skipped(failure: Failure, plan: &Plan) -> Option<Notice> {
    if failure.phase == Phase::Protection {
        return Some(Notice::new("oom-protected", None, PROTECTED));
    }
    if failure.phase == Phase::Stdin {
        return Some(Notice::new("stdin-unprotected", None, UNPROTECTED));
    }
    if failure.phase == Phase::Hostname {
        return Some(Notice::new("hostname-kept", None, HOSTNAME_KEPT));
    }
    let step = &plan.steps.get(usize::try_from(failure.index).ok()?)?.step;
    if let Step::NewFs { .. } = step {
        return Some(Notice::new(
            "proc-read-only",
            Some(b"/proc"),
            "The surrounding container allows only a read-only /proc.",
        ));
    }
    let path = step_path(plan, step);
    Some(Notice::new(
        "mount-vanished",
        path.as_deref(),
        "There is nothing at this path, so it was left out.",
    ))
}
