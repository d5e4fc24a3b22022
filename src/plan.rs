//! Job + facts → [`Plan`]: every decision, in the order in which the kernel will hear of it. Ring 0.
//!
//! The plan is data. Ring 2 walks it with one arm per [`Step`] and decides nothing; a failure comes back as the index of a
//! step, and everything an error says (which path, which field) is looked up here.

mod area;
mod cgroup;
mod config;
mod devices;
mod document;
mod exec;
mod filter;
mod foreign;
mod ids;
mod meter;
mod mounts;
mod named;
mod overlay;
mod resolve;
mod show;
mod system;
mod tree;
mod written;

use crate::capability::Capabilities;
use crate::host::{Caller, HostFacts, Question};
use crate::job::{Job, Rlimit, Seccomp};
use crate::problem::{Notice, Problem};
use crate::results::Time;
use crate::spec::{Dev, IdMap, Mode, Sys};
use crate::sync::Sync;
use crate::text::{AbsPath, Contents};
use std::ffi::CString;

pub use cgroup::{IfMissing, Leaf, Setting, group_to_leave};
pub use exec::{ExecImage, Lookup};
pub use filter::Filter;
pub use ids::caller_range;
pub use meter::Meter;
pub use written::{Below, Layer, Place, WRITTEN_AT, Written};

/// A descriptor that one step opens and later ones use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot(pub usize);

/// Where a path starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// At the root of the process that builds the container: the host's tree, until the new root is entered.
    Host,
    /// At the new root, or at a directory that was opened: parts are the host's, where others may change what is there.
    Tree(Slot),
    /// At a file system of our own, which nobody else can reach yet.
    Own(Slot),
}

/// A place in a tree. An empty path is the base itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct At {
    /// Where the path starts.
    pub base: Base,
    /// Absolute for [`Base::Host`], relative else.
    pub path: CString,
}

impl At {
    /// A path of the host.
    #[must_use]
    pub fn host(path: &AbsPath) -> Self {
        Self {
            base: Base::Host,
            path: path.as_cstr().to_owned(),
        }
    }

    /// What is in a slot.
    #[must_use]
    pub fn slot(slot: Slot) -> Self {
        Self {
            base: Base::Own(slot),
            path: CString::default(),
        }
    }

    /// A path in a file system of our own.
    #[must_use]
    pub fn below(slot: Slot, path: &[u8]) -> Self {
        Self {
            base: Base::Own(slot),
            path: CString::new(path).unwrap_or_default(),
        }
    }
}

/// Mount attributes, by their names in mount_setattr(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    /// MOUNT_ATTR_RDONLY
    pub read_only: bool,
    /// MOUNT_ATTR_NOSUID
    pub no_suid: bool,
    /// MOUNT_ATTR_NODEV
    pub no_dev: bool,
    /// MOUNT_ATTR_NOEXEC
    pub no_exec: bool,
}

/// What happens to a step whose object has vanished since the plan was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IfAbsent {
    /// Set-up fails.
    Fail,
    /// It is left out, and the report says so.
    Report,
    /// It is left out: what is not there needs no protection.
    PassOver,
}

/// A file without content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    /// A regular file, to mount another over.
    File,
    /// A named pipe.
    Fifo,
    /// A socket that nobody listens on.
    Socket,
}

/// One operation on the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Makes a file system and its first mount, detached (fsopen(2), fsconfig(2), fsmount(2)).
    NewFs {
        /// Where the mount goes.
        slot: Slot,
        /// Type, such as `tmpfs`.
        fstype: &'static std::ffi::CStr,
        /// Options; a flag has no value.
        options: Vec<(&'static std::ffi::CStr, Option<CString>)>,
        /// Attributes of the mount.
        attributes: Attributes,
        /// Whether a read-only mount will do where the kernel allows no other; it is reported then.
        read_only_fallback: bool,
    },
    /// Makes an overlay, detached. It gets the attributes that its lower layer's mount has.
    Overlay {
        /// Where the mount goes.
        slot: Slot,
        /// The lower layers, topmost first.
        lower: Vec<At>,
        /// The upper layer.
        upper: At,
        /// The work directory.
        work: At,
        /// Keep the overlay's own marks in `user.overlay.*` attributes.
        userxattr: bool,
        /// Never write the upper layer back for safety's sake: it is thrown away after the job, and on a disk that would
        /// take its time.
        volatile: bool,
        /// Whether a read-only lower mount makes the overlay read-only.
        keep_read_only: bool,
        /// What happens if the lower layer has vanished.
        if_absent: IfAbsent,
    },
    /// Copies a mount, detached (open_tree(2)).
    Clone {
        /// Where the mount goes.
        slot: Slot,
        /// What is copied.
        from: At,
        /// With everything mounted below it.
        recursive: bool,
        /// What happens if it has vanished.
        if_absent: IfAbsent,
    },
    /// Opens a directory without mounting anything.
    Open {
        /// Where the descriptor goes.
        slot: Slot,
        /// Which directory.
        at: At,
    },
    /// Adds attributes to a mount and all below it, and makes them private (mount_setattr(2)).
    Restrict {
        /// Which mount.
        at: At,
        /// What is added.
        attributes: Attributes,
    },
    /// Mounts what is in a slot (move_mount(2)).
    Attach {
        /// What.
        slot: Slot,
        /// Where.
        at: At,
        /// Whether the slot is needed later.
        keep: bool,
    },
    /// Takes the mount in a slot out of the tree, which keeps the descriptor usable (umount2(2) with MNT_DETACH).
    Detach {
        /// Which.
        slot: Slot,
    },
    /// Makes a directory in the container's own layers.
    MakeDir {
        /// Where.
        at: At,
        /// Permission bits.
        mode: u32,
    },
    /// Makes a file without content in the container's own layers.
    MakeNode {
        /// Where.
        at: At,
        /// Which.
        node: Node,
        /// Permission bits.
        mode: u32,
    },
    /// Makes a symbolic link in the container's own layers.
    Symlink {
        /// Where.
        at: At,
        /// What it holds.
        to: CString,
    },
    /// Makes a file in the container's own layers.
    Write {
        /// Where.
        at: At,
        /// What it holds.
        bytes: Contents,
        /// Permission bits.
        mode: u32,
    },
    /// Copies a file of the host into the container's own layers.
    Copy {
        /// Which.
        from: At,
        /// Where to.
        at: At,
        /// Permission bits.
        mode: u32,
        /// Its size, and its modification time, which the copy gets where the job's changes are looked for.
        bytes: u64,
        /// See `bytes`.
        modified: Time,
    },
    /// Makes what is in a slot the root, and takes the old root out of the tree (pivot_root(2)).
    EnterRoot {
        /// The new root, mounted over the old one.
        slot: Slot,
        /// Whether the old root is the bottom of all mounts: then it stays below, and chroot(2) takes the place of
        /// pivot_root(2).
        bottom: bool,
    },
}

/// A step and the field of the job that asked for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// What is done.
    pub step: Step,
    /// JSON pointer.
    pub at: Option<String>,
}

/// What is written into the files of the id maps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdMaps {
    /// `/proc/PID/uid_map`
    pub uid: Vec<u8>,
    /// `/proc/PID/gid_map`
    pub gid: Vec<u8>,
    /// Who may do it.
    pub writer: MapWriter,
}

/// Who writes the id maps of a user namespace (user_namespaces(7), "Defining user and group ID mappings").
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MapWriter {
    /// The first process of the namespace, for its own ids; it gives up setgroups(2) first.
    Itself,
    /// A process of the namespace around, which has the capabilities for it.
    Outside,
    /// newuidmap(1) and newgidmap(1), started by the namespace around.
    Helpers([AbsPath; 2]),
}

/// Capabilities, in user and mount namespaces of the target's own, where the container's mounts are locked
/// (mount_namespaces(7)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Which.
    pub capabilities: Capabilities,
    /// Every id is itself.
    pub id_maps: IdMaps,
}

/// A kind of namespace (namespaces(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Namespace {
    /// CLONE_NEWUSER
    User,
    /// CLONE_NEWNS
    Mount,
    /// CLONE_NEWPID
    Pid,
    /// CLONE_NEWIPC
    Ipc,
    /// CLONE_NEWUTS
    Uts,
    /// CLONE_NEWNET
    Network,
    /// CLONE_NEWCGROUP
    Cgroup,
}

/// Everything that is needed to run the job, ready for the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The namespaces that the container begins with.
    pub namespaces: Vec<Namespace>,
    /// Whether the network namespace is the container's own.
    pub own_network: bool,
    /// Whether init makes it while the tree is built, which takes the kernel as long: nothing of the tree may belong to it.
    pub network_beside: bool,
    /// The control group that the target starts in, if it is the job's own.
    pub leaf: Option<Leaf>,
    /// Events for the caller, and pauses by it.
    pub sync: Option<Sync>,
    /// Id maps.
    pub id_maps: IdMaps,
    /// Whether the job may make user namespaces.
    pub nested_namespaces: bool,
    /// What the target keeps, if it keeps capabilities.
    pub kept: Option<Kept>,
    /// Host name.
    pub hostname: Option<CString>,
    /// The tree.
    pub steps: Vec<Placed>,
    /// How many slots the steps use.
    pub slots: usize,
    /// The slot of the memory or disk scratch, whose use is reported; none where the job can write none.
    pub scratch: Option<Slot>,
    /// The slot of the container's own procfs, if it has one.
    pub procfs: Option<Slot>,
    /// The directory of the host that the container's `/` stands for.
    pub base: AbsPath,
    /// Working directory.
    pub cwd: AbsPath,
    /// Resource limits.
    pub rlimits: Vec<(Rlimit, u64)>,
    /// RLIMIT_CPU of the target, soft and hard, in seconds: what ends a process if init cannot look at it.
    pub cpu_backstop: Option<[u64; 2]>,
    /// How init adds up the processor time of the job, if it does.
    pub meter: Option<Meter>,
    /// The system call filter, if there is one.
    pub filter: Option<Filter>,
    /// Whether the target gets a session keyring of its own, as its filter may let it use keys.
    pub own_keyring: bool,
    /// The command.
    pub exec: ExecImage,
    /// Descriptors that the target keeps beside the standard streams; sorted.
    pub fds: Vec<i32>,
    /// Whether the target runs below a pid 1 of ours.
    pub init: bool,
    /// Where the job's writes are, if they are looked at when it has ended.
    pub written: Option<Written>,
    /// What the caller should know.
    pub warnings: Vec<Notice>,
    /// What was asked for and is not fully given.
    pub degraded: Vec<Notice>,
}

impl Plan {
    /// Whether the target has a control group of its own, made here or by the caller, which becomes the root of what it sees
    /// once it is in there.
    #[must_use]
    pub const fn own_group(&self) -> bool {
        self.leaf.is_some() || self.sync.is_some()
    }

    /// Whether nothing has to be done for the job outside its container: no ids are mapped by others, no group is made, nobody is
    /// told of its events, and what it leaves is not looked at.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.id_maps.writer == MapWriter::Itself && !self.own_group() && self.written.is_none()
    }

    /// The namespaces that init is born into.
    pub fn cloned(&self) -> impl Iterator<Item = Namespace> {
        let later = |namespace: &Namespace| self.network_beside && *namespace == Namespace::Network;
        self.namespaces
            .iter()
            .copied()
            .filter(move |namespace| !later(namespace))
    }
}

/// Why there is no plan.
#[derive(Clone, PartialEq, Debug)]
pub enum NoPlan {
    /// These must be answered first.
    Ask(Vec<Question>),
    /// The job cannot be run here.
    Refused(Problem),
}

impl From<Problem> for NoPlan {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// What the planner is going to ask for almost every job, so that most plans are made at the first attempt.
#[must_use]
pub fn first_questions(job: &Job, caller: &Caller) -> Vec<Question> {
    if let Some(root) = &job.root {
        // Every other question is about what is below it.
        return vec![Question::Real(root.clone())];
    }
    let overlay = job
        .directories
        .values()
        .any(|directory| directory.mode == Mode::Overlay);
    let mut questions: Vec<Question> = job
        .directories
        .keys()
        .cloned()
        .map(Question::Path)
        .collect();
    questions.extend(system::first_paths(job).into_iter().map(Question::Path));
    let root = job.mode_of(&AbsPath::root());
    let mut way = job
        .cwd
        .clone()
        .or_else(|| caller.cwd.clone())
        .filter(|_| overlay);
    while let Some(path) = way {
        way = path.parent();
        questions.push(Question::Path(path));
    }
    if overlay {
        // An overlay begins at the directories of the root, if not below them; what is asked in vain costs three calls.
        let below = |path: &AbsPath| path.parent().is_some_and(|parent| !parent.is_root());
        for place in foreign::places_of_others(job, caller) {
            let mut at = Some(place).filter(below);
            while let Some(path) = at {
                at = path.parent().filter(below);
                let question = Question::Path(path);
                if !questions.contains(&question) {
                    questions.push(question);
                }
            }
        }
    }
    if overlay || root == Mode::Hidden {
        questions.push(Question::Mounts);
    }
    if overlay {
        questions.push(Question::TmpfsXattr);
    }
    if job.dev == Dev::Minimal {
        questions.push(Question::Devices);
    }
    if root == Mode::Overlay {
        questions.push(Question::List(AbsPath::root()));
    }
    questions.extend(mounts::first_questions(job));
    if job.results.is_some() {
        let cwd = job.cwd.clone().or_else(|| caller.cwd.clone());
        questions.extend(cwd.map(Question::Path));
    }
    if filter::needs_kernel(job) {
        questions.push(Question::Kernel);
    }
    if job.user.map == IdMap::Range {
        questions.push(Question::Ids);
    }
    if job.limits.cpu_time_ms.is_some() {
        questions.push(Question::Cpus);
    }
    questions.extend(cgroup::question(job));
    questions
}

/// Decides everything.
///
/// # Errors
/// [`NoPlan::Ask`] as long as facts are missing; else the reason why this host cannot run the job.
pub fn plan(job: &Job, facts: &HostFacts) -> Result<Plan, NoPlan> {
    let ids = ids::ids(job, facts)?;
    let mut leaf = cgroup::leaf(job, facts)?;
    let mut tree = tree::build(job, facts, &ids, leaf.is_some())?;
    let caller = &facts.caller;
    let kept = ids.kept(job, tree.names_held)?;
    let mut degraded = ids.degraded;
    degraded.append(&mut tree.degraded);
    let (meter, cpu_backstop) = meter::meter(job, facts, leaf.as_mut(), &mut tree.warnings)?;
    let namespaces = namespaces(job, kept.is_some(), leaf.is_some());
    // A sysfs shows the network of whoever mounts it. And a second thread only saves time where a processor has nothing to do.
    let network_beside =
        namespaces.contains(&Namespace::Network) && job.sys != Sys::Fresh && !facts.busy;
    Ok(Plan {
        namespaces,
        own_network: !job.host_network,
        network_beside,
        leaf,
        sync: job.sync,
        id_maps: ids.maps,
        nested_namespaces: !tree.names_held,
        kept,
        hostname: job
            .hostname
            .as_ref()
            .and_then(|name| CString::new(name.as_bytes()).ok()),
        steps: tree.steps,
        slots: tree.slots,
        scratch: tree.scratch,
        procfs: tree.procfs,
        base: tree.base,
        cwd: match job.cwd.as_ref().or(caller.cwd.as_ref()) {
            Some(path) => path.clone(),
            None => return Err(NoPlan::from(exec::no_cwd())),
        },
        rlimits: rlimits(job, caller),
        cpu_backstop,
        meter,
        own_keyring: !matches!(job.seccomp, Seccomp::Default | Seccomp::Strict),
        filter: filter::filter(job, facts, &mut tree.warnings)?,
        exec: exec::image(job, caller, tree.home.as_ref()),
        fds: job.fds.clone(),
        init: job.init,
        written: tree.written,
        warnings: tree.warnings,
        degraded,
    })
}

fn namespaces(job: &Job, keeps_capabilities: bool, leaf: bool) -> Vec<Namespace> {
    let mut all = vec![
        Namespace::User,
        Namespace::Mount,
        Namespace::Pid,
        Namespace::Ipc,
        Namespace::Uts,
    ];
    // Capabilities over a network need one that belongs to their user namespace.
    if !job.host_network && !keeps_capabilities {
        all.push(Namespace::Network);
    }
    // A view of the control groups that begins at the job's own is for whoever is in it.
    if !leaf && job.sync.is_none() {
        all.push(Namespace::Cgroup);
    }
    all
}

/// With a limit of 0 the kernel still runs the program that core_pattern may name, outside the container; 1 stands for no dump
/// at all: core(5), do_coredump() in fs/coredump.c. A caller that is limited to 0 itself cannot have it.
fn rlimits(job: &Job, caller: &Caller) -> Vec<(Rlimit, u64)> {
    let set = |&(limit, value): &(Rlimit, u64)| match limit {
        Rlimit::Core if value == 0 => (limit, caller.core_limit.min(1)),
        _ => (limit, value),
    };
    job.limits.rlimits.iter().map(set).collect()
}
