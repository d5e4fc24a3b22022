//! What every container gets beside the host's tree: /sys, shared memory, LXCFS, /proc. Ring 0.

use super::config::GENERATED;
use super::tree::{Area, Builder};
use super::{At, Attributes, IfAbsent, NoPlan, Slot, Step};
use crate::host::{Listing, PathFact};
use crate::job::{Directory, Job, Scratch};
use crate::problem::{Code, Notice, Problem, Stage};
use crate::spec::{Dev, Mode, ProcMode, Sys};
use crate::text::AbsPath;

/// Where LXCFS is mounted, and its /proc.
const LXCFS: &str = "/var/lib/lxcfs";
const LXCFS_PROC: &str = "/var/lib/lxcfs/proc";

/// Files of /proc that LXCFS can show for the container instead of the host, and that every procfs has.
const LXCFS_FILES: [&str; 7] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
];

/// Global settings of the kernel, which procfs lets the real root change by its uid alone.
const GLOBAL_SETTINGS: [&str; 8] = [
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/acpi",
    "/proc/scsi",
    "/proc/dynamic_debug",
];

pub(super) const HARMLESS: Attributes = Attributes {
    read_only: false,
    no_suid: true,
    no_dev: false,
    no_exec: true,
};
pub(super) const FORBIDDING: Attributes = Attributes {
    read_only: false,
    no_suid: true,
    no_dev: true,
    no_exec: true,
};

/// Paths that this file asks about.
pub(super) fn first_paths(job: &Job) -> Vec<AbsPath> {
    let mut paths: Vec<AbsPath> = ["/dev", "/proc", "/sys", "/run/shm"]
        .map(AbsPath::fixed)
        .into();
    if job.lxcfs {
        paths.push(AbsPath::fixed(LXCFS_PROC));
    }
    if job.system_config {
        let in_place = matches!(
            job.mode_of(&AbsPath::fixed("/etc")),
            Mode::ReadOnly | Mode::FullAccess
        );
        paths.extend(
            GENERATED
                .iter()
                .filter(|_| in_place)
                .map(|path| AbsPath::fixed(path)),
        );
        paths.extend(job.user.home.clone());
    }
    paths
}

/// What every container has, wherever its tree comes from.
pub(super) fn supplies(b: &Builder<'_>) -> Vec<AbsPath> {
    let paths = ["/dev", "/proc", "/sys"].map(AbsPath::fixed).into_iter();
    paths.filter(|path| supplied(b, path)).collect()
}

/// Whether what is at a path comes from elsewhere than the tree that the modes apply to.
pub(super) fn supplied(b: &Builder<'_>, path: &AbsPath) -> bool {
    let other_tree = b.job.root.is_some();
    match path.bytes() {
        b"/proc" => true,
        b"/dev" => b.job.dev == Dev::Minimal || other_tree && !named(b, path),
        b"/sys" => b.job.sys != Sys::Host || other_tree && !named(b, path),
        _ => false,
    }
}

/// Whether the job itself named a directory.
pub(super) fn named(b: &Builder<'_>, path: &AbsPath) -> bool {
    b.directories
        .get(path)
        .is_some_and(|directory| directory.at.is_some())
}

/// An empty directory over what is at a path, if anything is.
fn emptied(b: &mut Builder<'_>, path: &AbsPath) {
    if b.ensure_dir(path, 0o555) {
        let place = b.nested_dir(b.memory, 0o555);
        let copy = b.copy_of(b.memory, &place);
        b.prepare(Step::Restrict {
            at: At::slot(copy),
            attributes: Attributes {
                read_only: true,
                ..FORBIDDING
            },
        });
        b.mount(copy, path);
        b.set_area(path, Area::Stack { layers: Vec::new() });
    }
}

/// /sys: another one than the tree has, or the host's in another tree; where the host's tree is used in place, read-only
/// even where the rest is writable.
pub(super) fn sysfs(b: &mut Builder<'_>, in_place: bool) {
    let sys = AbsPath::fixed("/sys");
    if named(b, &sys) {
        return;
    }
    match b.job.sys {
        Sys::None => return emptied(b, &sys),
        Sys::Fresh => {
            if !b.ensure_dir(&sys, 0o555) {
                return;
            }
            // Taken while the host's is still to be seen: the kernel asks for that, fs/sysfs/mount.c.
            let slot = b.slot();
            b.pointer = Some("/sys".to_owned());
            b.attach_step(Step::NewFs {
                slot,
                fstype: c"sysfs",
                options: Vec::new(),
                attributes: Attributes {
                    read_only: true,
                    ..FORBIDDING
                },
                read_only_fallback: false,
            });
            b.mount(slot, &sys);
            b.pointer = None;
            let (mode, from) = (Mode::ReadOnly, sys.clone());
            return b.set_area(&sys, Area::Host { mode, from });
        }
        Sys::Host if b.job.root.is_some() => {
            if b.is_host_directory(&sys) && b.ensure_dir(&sys, 0o555) {
                b.show_from(sys.clone(), &sys, Mode::ReadOnly, b.may_vanish());
            }
            return;
        }
        Sys::Host if !in_place => return,
        Sys::Host => {}
    }
    match b.path_fact(&sys) {
        Some(PathFact::Directory { mount: true, .. }) => {
            let at = b.inside(&sys);
            b.attach_step(Step::Restrict {
                at,
                attributes: Attributes {
                    read_only: true,
                    ..FORBIDDING
                },
            });
            let (mode, from) = (Mode::ReadOnly, sys.clone());
            b.set_area(&sys, Area::Host { mode, from });
        }
        Some(PathFact::Directory { mount: false, .. }) => {
            b.show(&sys, Mode::ReadOnly, b.may_vanish())
        }
        _ => {}
    }
}

/// File systems whose files are settings of the kernel.
const SETTINGS: [&[u8]; 12] = [
    b"proc",
    b"sysfs",
    b"cgroup",
    b"cgroup2",
    b"debugfs",
    b"tracefs",
    b"securityfs",
    b"configfs",
    b"binfmt_misc",
    b"bpf",
    b"efivarfs",
    b"pstore",
];

/// The file systems of control groups: the one of stdbox's own leaves, and the old ones, where a caller may place a job.
const GROUPS: [&[u8]; 2] = [b"cgroup2", b"cgroup"];

/// Whether the caller's uid alone may write the files of such a file system, so that a job must not: the real root's may, and
/// in the hierarchy of control groups that of whoever made the job's own, with the job's limits in it.
fn is_guarded(b: &Builder<'_>, fstype: &[u8]) -> bool {
    b.real_root && SETTINGS.contains(&fstype) || b.own_group && GROUPS.contains(&fstype)
}

/// Where else the host has them, as for a chroot: a tree that the job may write does not mean these. A job that names the very
/// mount gets what it says.
pub(super) fn settings_elsewhere(b: &mut Builder<'_>) {
    let mut modes = b.directories.values().map(|directory| directory.mode);
    if !(b.real_root || b.own_group) || !modes.any(|mode| mode == Mode::FullAccess) {
        return;
    }
    let Some(table) = b.table() else { return };
    let usual = ["/proc", "/sys", "/dev"].map(AbsPath::fixed);
    let base = b.base.clone();
    for mount in table.visible() {
        if !is_guarded(b, &mount.fstype) || !base.contains(&mount.at) {
            continue;
        }
        let at = AbsPath::root().descend(base.rest_of(&mount.at));
        if !usual.iter().any(|top| top.contains(&at))
            && b.mode_of(&at) == Mode::FullAccess
            && b.is_directory(&at)
        {
            b.imply(at, Mode::ReadOnly);
        }
    }
}

/// The same in a directory that the real root shows at another place and may write.
pub(super) fn settings_below(b: &mut Builder<'_>, from: &AbsPath) -> Vec<AbsPath> {
    if !(b.real_root || b.own_group) {
        return Vec::new();
    }
    let Some(table) = b.table() else {
        return Vec::new();
    };
    let settings = table
        .visible()
        .filter(|mount| is_guarded(b, &mount.fstype) && from.is_above(&mount.at));
    settings.map(|mount| mount.at.clone()).collect()
}

/// Where a job with a control group of its own asks to write that hierarchy: there it could lift its own limits.
///
/// # Errors
/// The refusal, at the field that asks.
pub(super) fn refuse_own_limits(b: &mut Builder<'_>) -> Result<(), NoPlan> {
    let full = |directory: &&Directory| directory.mode == Mode::FullAccess;
    if !b.has_leaf || !b.directories.values().any(|directory| full(&directory)) {
        return Ok(());
    }
    let sys = AbsPath::fixed("/sys");
    let asked = b
        .directories
        .iter()
        .filter(|(_, directory)| full(directory));
    let asked: Vec<_> = asked
        .filter_map(|(path, directory)| Some((path.clone(), directory.at.clone()?)))
        .collect();
    for (path, at) in asked {
        // Above /sys a mode does not mean the kernel's own file systems.
        let on_host = path.below(&b.base);
        if in_own_hierarchy(b, &on_host, sys.contains(&path)) {
            return Err(own_limits(&on_host, &at).into());
        }
    }
    Ok(())
}

/// Whether a host path lies in a hierarchy of control groups, or with `above`, has it mounted below.
pub(super) fn in_own_hierarchy(b: &mut Builder<'_>, path: &AbsPath, above: bool) -> bool {
    let Some(table) = b.table() else { return false };
    let mut groups = table
        .visible()
        .filter(|mount| GROUPS.contains(&mount.fstype.as_slice()));
    groups.any(|mount| mount.at.contains(path) || above && path.contains(&mount.at))
}

pub(super) fn own_limits(path: &AbsPath, at: &str) -> Problem {
    let message = format!(
        "A job that may write the control groups in {} could lift its own limits.",
        path.lossy()
    );
    Problem::at(Code::Contradiction, at, message)
        .path(path.bytes())
        .hint("Show them read-only, or leave out what needs a control group: limits.memory_bytes, processes, cpus, cpuset, and \"cgroup\".")
}

/// Writable memory where the host has it.
pub(super) const RUN_SHM: &str = "/run/shm";

/// A /run/shm that is a link on the host is one in an own /run too.
pub(super) fn run_shm(b: &mut Builder<'_>) {
    let path = AbsPath::fixed(RUN_SHM);
    if let Some(PathFact::Symlink {
        link: Some(link), ..
    }) = b.path_fact(&path)
        && let (_, Area::Own { .. }) = b.area(&path)
    {
        b.link(&path, &link);
    }
}

/// Where the host's network and configuration are used, so is its name resolution, parts of which live in /run.
pub(super) fn name_resolution(b: &mut Builder<'_>) {
    if b.job.system_config || !b.job.host_network {
        return;
    }
    for path in ["/run/systemd/resolve", "/run/resolvconf"].map(AbsPath::fixed) {
        if b.mode_of(&path) == Mode::Hidden && b.is_directory(&path) {
            b.imply(path, Mode::ReadOnly);
        }
    }
}

/// The disk scratch of this very job must not be seen through the tree that it is a part of.
pub(super) fn cover_disk_scratch(b: &mut Builder<'_>) {
    let (Scratch::Disk(_), Some((scratch, _))) = (&b.job.scratch, &b.facts.disk_scratch) else {
        return;
    };
    let shown = b.areas.iter().filter_map(|(top, area)| match area {
        Area::Host { from, .. } if from.contains(scratch) => {
            Some(top.descend(from.rest_of(scratch)))
        }
        _ => None,
    });
    for path in shown.collect::<Vec<_>>() {
        if let (_, Area::Host { .. }) = b.area(&path) {
            b.hide(&path, b.memory, 0);
        }
    }
}

/// Container-aware files of LXCFS, taken from the host while nothing is covered.
pub(super) fn lxcfs(b: &mut Builder<'_>) {
    let from = AbsPath::fixed(LXCFS_PROC);
    if !b.job.lxcfs || b.job.proc == ProcMode::None || !b.is_host_directory(&from) {
        return;
    }
    let Some(Listing::Entries(entries)) = b.list(&from) else {
        return;
    };
    for name in LXCFS_FILES {
        if entries.iter().any(|entry| entry.name == name.as_bytes()) {
            let slot = lxcfs_part(b, &from.join(name.as_bytes()));
            b.over_proc
                .push((slot, AbsPath::fixed("/proc").join(name.as_bytes())));
        }
    }
    let cpu = AbsPath::fixed("/sys/devices/system/cpu");
    let from = cpu.below(&AbsPath::fixed(LXCFS));
    // What the job says of it, or of a part of it, goes first.
    let said = b.directories.keys().any(|path| cpu.contains(path));
    let shown =
        !said && matches!(b.area(&cpu), (at, Area::Host { .. }) if at == AbsPath::fixed("/sys"));
    if shown && b.is_directory(&cpu) && b.is_host_directory(&from) {
        let slot = lxcfs_part(b, &from);
        b.mount(slot, &cpu);
    }
}

fn lxcfs_part(b: &mut Builder<'_>, from: &AbsPath) -> Slot {
    let slot = b.slot();
    b.prepare(Step::Clone {
        slot,
        from: At::host(from),
        recursive: true,
        if_absent: b.may_vanish(),
    });
    let attributes = Attributes {
        read_only: true,
        ..FORBIDDING
    };
    b.prepare(Step::Restrict {
        at: At::slot(slot),
        attributes,
    });
    slot
}

/// A procfs of the container's own.
fn procfs(slot: Slot, read_only: bool, strict: bool) -> Step {
    Step::NewFs {
        slot,
        fstype: c"proc",
        options: Vec::new(),
        attributes: Attributes {
            read_only,
            ..FORBIDDING
        },
        read_only_fallback: !read_only && !strict,
    }
}

/// Makes the fresh /proc, as long as the host's can be written: if this one cannot, the namespaces are limited through that.
pub(super) fn new_proc(b: &mut Builder<'_>) {
    if b.job.proc != ProcMode::None {
        let slot = b.slot();
        b.prepare(procfs(slot, false, b.job.strict));
        b.procfs = Some(slot);
    }
}

/// Mounts it.
pub(super) fn proc(b: &mut Builder<'_>) {
    let Some(slot) = b.procfs else {
        return;
    };
    let strict = b.job.strict;
    b.mount(slot, &AbsPath::fixed("/proc"));
    // To the real root procfs gives the kernel's global settings by its uid alone.
    let (real_root, owns_init) = (b.real_root, b.owns_init);
    let hardened = owns_init && b.job.proc == ProcMode::Fresh;
    // The files of an init that cannot be dumped belong to a root too.
    let init = (owns_init && b.job.init).then_some("/proc/1");
    let global = GLOBAL_SETTINGS
        .into_iter()
        .filter(|_| hardened && real_root);
    for path in global.chain(init).map(AbsPath::fixed) {
        let slot = b.slot();
        let from = b.inside(&path);
        b.attach_step(Step::Clone {
            slot,
            from,
            recursive: false,
            if_absent: IfAbsent::PassOver,
        });
        b.attach_step(Step::Restrict {
            at: At::slot(slot),
            attributes: Attributes {
                read_only: true,
                ..FORBIDDING
            },
        });
        b.mount(slot, &path);
    }
    let over = std::mem::take(&mut b.over_proc);
    let covered = !over.is_empty();
    for (slot, path) in over {
        b.mount(slot, &path);
    }
    if covered || owns_init {
        // The kernel lets a nested container mount procfs only where an instance without anything over it exists, and
        // read-only if that is.
        let slot = b.slot();
        b.attach_step(procfs(slot, hardened, strict));
        b.mount(slot, &AbsPath::fixed("/proc/1/ns"));
    }
    if owns_init && !real_root && b.job.proc == ProcMode::Nestable {
        let message = "A process of the container can have the id that owns init's files, so with \"proc\":\"nestable\" it can write those in /proc/1.";
        b.warnings
            .push(Notice::new("proc-exposed", Some(b"/proc"), message));
    }
    if real_root && b.job.proc == ProcMode::Nestable {
        let message = "The target can have the real root's id outside, so with \"proc\":\"nestable\" the target can write the kernel's global settings in /proc/sys, and init's in /proc/1.";
        b.warnings
            .push(Notice::new("proc-exposed", Some(b"/proc"), message));
    }
}

/// The place of /proc, and the empty directory that stands there if the job wants none.
pub(super) fn proc_place(b: &mut Builder<'_>) -> Result<(), NoPlan> {
    let proc = AbsPath::fixed("/proc");
    if !b.ensure_dir(&proc, 0o555) {
        let message = "There is no /proc directory, and the root directory cannot get one.";
        // Without one of its own tree, stdbox cannot run any job.
        let hint = match b.job.root {
            Some(_) => "Make the directory, or give / the mode overlay or hidden.",
            None => "Mount procfs on /proc before stdbox is started.",
        };
        let problem = Problem::new(Code::ProcMissing, Stage::Proc, message)
            .path(proc.bytes())
            .hint(hint);
        return Err(problem.into());
    }
    if b.job.proc == ProcMode::None {
        emptied(b, &proc);
    }
    Ok(())
}
