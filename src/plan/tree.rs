//! The container's tree as a list of steps. Ring 0.
//!
//! The order in time is the same for every job. Device files are taken from the host, and the scratch space is mounted over
//! /dev, which every container gets anew. Where that cannot be, it is mounted over `/`, where it hides nothing, since a path
//! from the root does not look at what lies on the root, and is taken out of the tree when everything is prepared, living on
//! in descriptors, overlays and copies. Everything else that comes from the host is taken while nothing is covered
//! ("prepare"). Then either the host's tree is restricted in place, or a new root is put over it; the prepared mounts are
//! attached, parents first; and a new root is entered.

use super::ids::Ids;
use super::{
    At, Attributes, IfAbsent, NoPlan, Placed, Slot, Step, Written, config, devices, foreign,
    mounts, system,
};
use crate::host::{HostFacts, Listing, PathFact, Question};
use crate::job::{Directory, Job, Scratch, deciding};
use crate::mountinfo::MountTable;
use crate::pattern::Matcher;
use crate::problem::Notice;
use crate::spec::{Dev, Mode};
use crate::text::AbsPath;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

/// The finished tree.
pub(super) struct Tree {
    pub(super) steps: Vec<Placed>,
    pub(super) slots: usize,
    pub(super) scratch: Option<Slot>,
    pub(super) procfs: Option<Slot>,
    pub(super) base: AbsPath,
    pub(super) home: Option<AbsPath>,
    pub(super) names_held: bool,
    pub(super) written: Option<Written>,
    pub(super) warnings: Vec<Notice>,
    pub(super) degraded: Vec<Notice>,
}

/// What a part of the container's tree is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Area {
    /// A directory in one of our own file systems: a hidden directory, or the skeleton of a split overlay.
    Own {
        slot: Slot,
        path: Vec<u8>,
        /// The directory of the host that it stands for, if any.
        like: Option<AbsPath>,
    },
    /// A kernel overlay.
    Overlay {
        /// Its upper layer, relative to the scratch.
        upper: Vec<u8>,
        /// Its lower layer on the host.
        lower: AbsPath,
    },
    /// The host's own, restricted or not.
    Host { mode: Mode, from: AbsPath },
    /// Layers of the host laid over one another, topmost first.
    Stack { layers: Vec<AbsPath> },
}

/// What was made in our own file systems beside directories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Laid {
    File,
    /// A symbolic link, with what it holds.
    Link(Vec<u8>),
}

impl Area {
    /// What the host has there.
    fn host(&self) -> Option<&AbsPath> {
        match self {
            Self::Own { like, .. } => like.as_ref(),
            Self::Overlay { lower, .. } => Some(lower),
            Self::Host { from, .. } => Some(from),
            Self::Stack { layers } => layers.first(),
        }
    }
}

/// So many steps are made room for at once.
const USUAL: usize = 64;
const FEW: usize = 12;

/// The paths in the memory file system and in the scratch.
pub(super) const UPPER: &[u8] = b"upper";

pub(super) struct Builder<'a> {
    pub(super) job: &'a Job,
    pub(super) facts: &'a HostFacts,
    /// The directory of the host that the container's `/` stands for.
    pub(super) base: AbsPath,
    /// Whether some process of the container can be the real root.
    pub(super) real_root: bool,
    /// Whether the job has a control group that is made here.
    pub(super) has_leaf: bool,
    /// Whether the job has a control group of its own, made here or by the caller.
    pub(super) own_group: bool,
    /// Whether some process of the container can be the owner of init's files in /proc.
    pub(super) owns_init: bool,
    pub(super) directories: BTreeMap<AbsPath, Directory>,
    pub(super) asks: BTreeSet<Question>,
    pub(super) slots: usize,
    /// The private memory file system.
    pub(super) memory: Slot,
    /// Where layers live: the same, or a disk directory.
    pub(super) scratch: Slot,
    pub(super) procfs: Option<Slot>,
    pub(super) root: Option<Slot>,
    pub(super) areas: BTreeMap<AbsPath, Area>,
    /// Directories in our own file systems.
    pub(super) made: BTreeSet<(Slot, Vec<u8>)>,
    /// Everything else there.
    pub(super) files: BTreeMap<(Slot, Vec<u8>), Laid>,
    /// Directories whose entries were made anew, each in its own way.
    pub(super) expanded: BTreeSet<AbsPath>,
    /// Directories that were copied with all that they hold.
    pub(super) copied: BTreeSet<AbsPath>,
    /// The home directory, where it is ours to make.
    pub(super) home: Option<AbsPath>,
    /// Where the private memory file system is mounted while the tree is built.
    pub(super) scratch_place: AbsPath,
    /// What must be taken from the host before that.
    pub(super) early: Vec<Placed>,
    pub(super) prepare: Vec<Placed>,
    pub(super) attach: Vec<Placed>,
    pub(super) layers: usize,
    pub(super) overlays: bool,
    pub(super) pointer: Option<String>,
    /// Whether a protected directory has its name in one that the job can write.
    pub(super) names_held: bool,
    /// Which result files are wanted, and where their paths start.
    pub(super) wanted: Option<(Matcher, AbsPath)>,
    /// Directories on the way from the one to the other.
    pub(super) held: BTreeSet<AbsPath>,
    /// Read-only directories in which mounts need places that the host does not have.
    holes: BTreeSet<AbsPath>,
    /// Links that the job's mounts make.
    pub(super) links: BTreeMap<AbsPath, Vec<u8>>,
    /// Whether what is being mounted is read-only, although it is made of our own file systems.
    pub(super) sealed: bool,
    /// The areas of which that is true.
    pub(super) closed: BTreeSet<AbsPath>,
    /// Mounts that go over the fresh /proc.
    pub(super) over_proc: Vec<(Slot, AbsPath)>,
    pub(super) warnings: Vec<Notice>,
    pub(super) degraded: Vec<Notice>,
}

pub(super) fn build(
    job: &Job,
    facts: &HostFacts,
    ids: &Ids,
    has_leaf: bool,
) -> Result<Tree, NoPlan> {
    let mut b = Builder::new(job, facts, ids);
    b.has_leaf = has_leaf;
    b.own_group = has_leaf || job.sync.is_some();
    b.another_root()?;
    b.settle_directories()?;
    b.list_ahead();
    if !b.asks.is_empty() {
        return Err(b.unanswered());
    }
    let root = AbsPath::root();
    let in_place = matches!(b.mode_of(&root), Mode::ReadOnly | Mode::FullAccess)
        && job.root.is_none()
        && !b.is_hole(&root);
    let result = b.tree(in_place);
    // Missing facts come first: what looks like a refusal may only be an unanswered question.
    if !b.asks.is_empty() {
        return Err(NoPlan::Ask(b.asks.into_iter().collect()));
    }
    let home = result?;
    Ok(b.finish(in_place, home))
}

impl<'a> Builder<'a> {
    fn new(job: &'a Job, facts: &'a HostFacts, ids: &Ids) -> Self {
        let disk = matches!(job.scratch, Scratch::Disk(_));
        Self {
            job,
            facts,
            base: AbsPath::root(),
            real_root: ids.real_root,
            has_leaf: false,
            own_group: false,
            owns_init: ids.owns_init,
            directories: job.directories.clone(),
            asks: BTreeSet::new(),
            slots: 1 + usize::from(disk),
            memory: Slot(0),
            scratch: Slot(usize::from(disk)),
            procfs: None,
            root: None,
            areas: BTreeMap::new(),
            made: BTreeSet::new(),
            files: BTreeMap::new(),
            expanded: BTreeSet::new(),
            copied: BTreeSet::new(),
            home: None,
            scratch_place: AbsPath::root(),
            early: Vec::with_capacity(FEW),
            prepare: Vec::with_capacity(USUAL),
            attach: Vec::with_capacity(USUAL / 2),
            layers: 0,
            overlays: false,
            pointer: None,
            names_held: false,
            wanted: None,
            held: BTreeSet::new(),
            holes: BTreeSet::new(),
            links: BTreeMap::new(),
            sealed: false,
            closed: BTreeSet::new(),
            over_proc: Vec::new(),
            warnings: Vec::new(),
            degraded: Vec::new(),
        }
    }

    /// Adds a directory that the job did not name.
    pub(super) fn imply(&mut self, path: AbsPath, mode: Mode) {
        let implied = Directory { mode, at: None };
        self.directories.entry(path).or_insert(implied);
    }

    /// Notes that a read-only directory needs places that the host does not have.
    pub(super) fn hole(&mut self, path: AbsPath) {
        self.imply(path.clone(), Mode::ReadOnly);
        self.holes.insert(path);
    }

    pub(super) fn is_hole(&self, path: &AbsPath) -> bool {
        self.holes.contains(path)
    }

    pub(super) fn is_directory(&mut self, path: &AbsPath) -> bool {
        matches!(self.path_fact(path), Some(PathFact::Directory { .. }))
    }

    pub(super) fn is_host_directory(&mut self, path: &AbsPath) -> bool {
        matches!(self.host_fact(path), Some(PathFact::Directory { .. }))
    }

    fn tree(&mut self, in_place: bool) -> Result<Option<AbsPath>, NoPlan> {
        let dev = AbsPath::fixed("/dev");
        if self.job.dev == Dev::Minimal && self.is_host_directory(&dev) {
            self.scratch_place = dev;
        }
        self.make_scratch();
        if in_place {
            let mode = self.mode_of(&AbsPath::root());
            let from = AbsPath::root();
            self.areas.insert(from.clone(), Area::Host { mode, from });
        } else {
            self.new_root()?;
        }
        self.pointer = None;
        if self.job.dev == Dev::Minimal {
            devices::minimal_dev(self);
        }
        devices::lend_dev(self);
        system::sysfs(self, in_place);
        let directories: Vec<(AbsPath, Directory)> = self
            .directories
            .iter()
            .filter(|(path, _)| !path.is_root())
            .map(|(p, d)| (p.clone(), d.clone()))
            .collect();
        for (path, directory) in directories {
            self.pointer.clone_from(&directory.at);
            match (&directory.at, &self.home) {
                (None, Some(home)) if *home == path => config::make_home(self, &path),
                (None, _) if path.bytes() == system::RUN_SHM.as_bytes() => {
                    self.hide(&path, self.memory, 0o1777);
                }
                _ => self.directory(&path, &directory)?,
            }
            if self.job.dev == Dev::Host
                && path.bytes() == b"/dev"
                && !system::supplied(self, &path)
            {
                devices::host_dev(self);
            }
        }
        self.pointer = None;
        if let Some(cwd) = self.job.cwd.as_ref().or(self.facts.caller.cwd.as_ref()) {
            self.way_to(cwd);
        }
        foreign::temporary(self);
        system::lxcfs(self);
        system::run_shm(self);
        let home = config::configuration(self);
        system::proc_place(self)?;
        mounts::extra(self)?;
        system::cover_disk_scratch(self);
        self.wanted = self.wanted();
        if let (Scratch::Disk(_), Some((_, false))) = (&self.job.scratch, &self.facts.disk_scratch)
        {
            self.without_xattr();
        } else if matches!(self.job.scratch, Scratch::Tmpfs { .. })
            && self.overlays
            && self.xattr() == Some(false)
        {
            self.without_xattr();
        }
        Ok(home)
    }

    fn without_xattr(&mut self) {
        if self.overlays {
            self.degraded.push(Notice::new(
                "overlay-without-xattr",
                None,
                "The scratch space cannot hold user.* extended attributes, so a host directory cannot be deleted or renamed inside an overlay.",
            ));
        }
    }

    fn finish(mut self, in_place: bool, home: Option<AbsPath>) -> Tree {
        let bottom = self
            .facts
            .mounts
            .as_ref()
            .is_some_and(MountTable::root_is_bottom);
        system::new_proc(&mut self);
        let mut steps = std::mem::take(&mut self.early);
        // Those that are still to come are few.
        steps.reserve_exact(self.prepare.len() + self.attach.len() + FEW);
        steps.append(&mut self.prepare);
        if self.scratch_place.is_root() {
            steps.push(plain(Step::Detach { slot: self.memory }));
        }
        if in_place {
            let read_only = self.mode_of(&AbsPath::root()) == Mode::ReadOnly;
            let attributes = Attributes {
                read_only,
                no_suid: true,
                no_dev: true,
                no_exec: false,
            };
            steps.push(plain(Step::Restrict {
                at: At::host(&AbsPath::root()),
                attributes,
            }));
        } else if let Some(slot) = self.root {
            if bottom {
                // The host's tree stays in the mount table then. A nested container could mount a writable procfs because
                // there is a writable one, so there must be none.
                steps.push(plain(Step::Restrict {
                    at: At::host(&AbsPath::root()),
                    attributes: Attributes {
                        read_only: true,
                        ..Attributes::default()
                    },
                }));
            }
            steps.push(plain(Step::Attach {
                slot,
                at: At::host(&AbsPath::root()),
                keep: true,
            }));
        }
        steps.append(&mut self.attach);
        self.attach = steps;
        system::proc(&mut self);
        let mut steps = std::mem::take(&mut self.attach);
        if let Some(slot) = self.root {
            steps.push(plain(Step::EnterRoot { slot, bottom }));
        }
        let written = self.written(&mut steps);
        // What a disk scratch holds is only known when it is removed; its file system holds other things too.
        let memory = self.scratch == self.memory;
        Tree {
            steps,
            slots: self.slots,
            scratch: memory.then_some(self.memory),
            procfs: self.procfs,
            base: self.base,
            home,
            names_held: self.names_held,
            written,
            warnings: self.warnings,
            degraded: self.degraded,
        }
    }

    pub(super) fn ask(&mut self, question: Question) {
        self.asks.insert(question);
    }

    /// The path of the host whose content is seen at a path of the container, or would be if nothing of ours were there.
    pub(super) fn host_of(&self, path: &AbsPath) -> Option<AbsPath> {
        match self.area_of(path) {
            Some((top, area)) => area.host().map(|host| host.descend(top.rest_of(path))),
            None => Some(self.base.descend(AbsPath::root().rest_of(path))),
        }
    }

    /// What the host has at a path of the container.
    pub(super) fn path_fact(&mut self, path: &AbsPath) -> Option<PathFact> {
        match self.host_of(path) {
            Some(host) => self.host_fact(&host),
            None => Some(PathFact::Missing),
        }
    }

    /// What is at a path of the host.
    pub(super) fn host_fact(&mut self, path: &AbsPath) -> Option<PathFact> {
        let fact = self.facts.paths.get(path).cloned();
        if fact.is_none() {
            self.ask(Question::Path(path.clone()));
        }
        fact
    }

    /// The entries of a directory of the host.
    pub(super) fn list(&mut self, path: &AbsPath) -> Option<&'a Listing> {
        let list = self.facts.lists.get(path);
        if list.is_none() {
            self.ask(Question::List(path.clone()));
        }
        list
    }

    pub(super) fn table(&mut self) -> Option<&'a MountTable> {
        let table = self.facts.mounts.as_ref();
        if table.is_none() {
            self.ask(Question::Mounts);
        }
        table
    }

    pub(super) fn devices(&mut self) -> Option<bool> {
        if self.facts.devices.is_none() {
            self.ask(Question::Devices);
        }
        self.facts.devices
    }

    pub(super) fn xattr(&mut self) -> Option<bool> {
        if let Scratch::Disk(_) = self.job.scratch {
            return self.facts.disk_scratch.as_ref().map(|(_, xattr)| *xattr);
        }
        if self.facts.tmpfs_xattr.is_none() {
            self.ask(Question::TmpfsXattr);
        }
        self.facts.tmpfs_xattr
    }

    pub(super) fn mode_of(&self, path: &AbsPath) -> Mode {
        deciding(&self.directories, path).map_or(Mode::Overlay, |directory| directory.mode)
    }

    /// The permission bits of a directory of the host; 0755 where it has none.
    pub(super) fn bits(&mut self, path: &AbsPath) -> u32 {
        match self.path_fact(path) {
            Some(PathFact::Directory { mode, .. }) => mode,
            _ => 0o755,
        }
    }

    fn make_scratch(&mut self) {
        let number = |value: u64| CString::new(value.to_string()).ok();
        let mut options = vec![(c"mode", CString::new("0755").ok())];
        if let Scratch::Tmpfs {
            size_bytes,
            inodes,
            numa_nodes,
        } = &self.job.scratch
        {
            // More than the job may have of memory is no use to it.
            let most = size_bytes.or(self.job.group_limits.memory_bytes);
            options.extend(most.map(|size| (c"size", number(size.max(4096)))));
            options.extend(inodes.map(|inodes| (c"nr_inodes", number(inodes))));
            if !numa_nodes.is_empty() {
                let nodes: Vec<String> = numa_nodes.iter().map(u32::to_string).collect();
                // mpol=bind:0,2 (tmpfs(5)).
                options.push((
                    c"mpol",
                    CString::new(format!("bind:{}", nodes.join(","))).ok(),
                ));
            }
        }
        let attributes = Attributes {
            no_suid: true,
            no_dev: true,
            ..Attributes::default()
        };
        let pointer = Some("/scratch".to_owned());
        let make = Step::NewFs {
            slot: self.memory,
            fstype: c"tmpfs",
            options,
            attributes,
            read_only_fallback: false,
        };
        self.prepare.push(Placed {
            step: make,
            at: pointer.clone(),
        });
        self.prepare(Step::Attach {
            slot: self.memory,
            at: At::host(&self.scratch_place),
            keep: true,
        });
        if let Some((path, _)) = &self.facts.disk_scratch {
            // Before the memory file system can cover it.
            self.early.push(Placed {
                step: Step::Open {
                    slot: self.scratch,
                    at: At::host(path),
                },
                at: pointer,
            });
        }
    }

    /// The directory of the host that the modes apply to.
    fn another_root(&mut self) -> Result<(), NoPlan> {
        self.base = match &self.job.root {
            None => return Ok(()),
            Some(path) => match mounts::directory_of(self, path, "/root")? {
                Some(real) => real,
                None => return Err(self.unanswered()),
            },
        };
        Ok(())
    }

    pub(super) fn unanswered(&mut self) -> NoPlan {
        NoPlan::Ask(std::mem::take(&mut self.asks).into_iter().collect())
    }

    fn new_root(&mut self) -> Result<(), NoPlan> {
        let root = AbsPath::root();
        self.pointer = self
            .directories
            .get(&root)
            .and_then(|directory| directory.at.clone());
        // Whether this root can be left behind is to be known in any case, see `finish`.
        let _asked = self.table();
        let mode = self.mode_of(&root);
        self.sealed = self.is_hole(&root);
        if !self.sealed && matches!(mode, Mode::ReadOnly | Mode::FullAccess) {
            self.whole_tree(mode);
            return Ok(());
        }
        let made = self.own_root(mode == Mode::Hidden);
        self.sealed = false;
        made
    }

    /// The root is another directory of the host.
    fn whole_tree(&mut self, mode: Mode) {
        let (slot, from) = (self.slot(), self.base.clone());
        self.root = Some(slot);
        let clone = Step::Clone {
            slot,
            from: At::host(&from),
            recursive: true,
            if_absent: IfAbsent::Fail,
        };
        let attributes = Attributes {
            read_only: mode == Mode::ReadOnly,
            no_suid: true,
            no_dev: true,
            no_exec: false,
        };
        let at = At::slot(slot);
        self.early(clone);
        self.early(Step::Restrict { at, attributes });
        self.set_area(&AbsPath::root(), Area::Host { mode, from });
    }

    /// The root is made of our own layers.
    fn own_root(&mut self, hidden: bool) -> Result<(), NoPlan> {
        let (root, base) = (AbsPath::root(), self.base.clone());
        let bits = self.bits(&root);
        self.make_dir(self.scratch, UPPER, bits);
        let whole = !hidden
            && !self.holds_scratch(&base)
            && self
                .table()
                .is_some_and(|table| !table.any_below(table.holding(&base), &base));
        if whole {
            let slot = self.slot();
            self.root = Some(slot);
            self.set_area(
                &root,
                Area::Overlay {
                    upper: UPPER.to_vec(),
                    lower: base.clone(),
                },
            );
            self.kernel_overlay(slot, &base, UPPER, false, IfAbsent::Fail);
            return Ok(());
        }
        self.set_area(
            &root,
            Area::Own {
                slot: self.scratch,
                path: UPPER.to_vec(),
                like: Some(base.clone()),
            },
        );
        let slot = self.copy_of(self.scratch, UPPER);
        self.root = Some(slot);
        if !hidden && let Some(table) = self.table() {
            self.split(&root, table.holding(&base), true)?;
        }
        Ok(())
    }

    /// A named or implied directory.
    fn directory(&mut self, path: &AbsPath, directory: &Directory) -> Result<(), NoPlan> {
        let (top, area) = self.area(path);
        let held = self.held.contains(path);
        let if_absent = if directory.at.is_some() || held {
            IfAbsent::Fail
        } else {
            self.may_vanish()
        };
        match (directory.mode, area) {
            (Mode::ReadOnly, _) if self.is_hole(path) => {
                if let (Some(table), Some(host)) = (self.table(), self.host_of(path)) {
                    let bits = self.bits(path);
                    self.sealed = true;
                    let made = self.overlay(path, bits, table.holding(&host), true);
                    self.sealed = false;
                    made?;
                }
            }
            (Mode::Hidden, _) => {
                let bits = self.bits(path);
                self.hide(path, self.scratch, bits);
            }
            (wanted @ (Mode::ReadOnly | Mode::FullAccess), Area::Host { mode, .. })
                if wanted == mode =>
            {
                if held || apart(&top, path) {
                    self.show(path, directory.mode, if_absent);
                }
            }
            (Mode::ReadOnly | Mode::FullAccess, _) => self.show(path, directory.mode, if_absent),
            (Mode::Overlay, area) => {
                // An overlay above has taken this directory in already, unless it stopped before it.
                let taken = match area {
                    Area::Overlay { .. } => true,
                    Area::Own { .. } => self.expanded.contains(path) || self.copied.contains(&top),
                    Area::Host { .. } | Area::Stack { .. } => false,
                };
                if taken && self.under_overlay(path) {
                    self.way_to(path);
                } else if let (Some(table), Some(host)) = (self.table(), self.host_of(path)) {
                    let bits = self.bits(path);
                    self.overlay(path, bits, table.holding(&host), true)?;
                }
            }
        }
        Ok(())
    }

    fn under_overlay(&self, path: &AbsPath) -> bool {
        let parent = path.parent();
        parent.is_some_and(|parent| self.mode_of(&parent) == Mode::Overlay)
    }

    /// The field that decides about a path.
    pub(super) fn pointer_of(&self, path: &AbsPath) -> Option<String> {
        deciding(&self.directories, path).and_then(|directory| directory.at.clone())
    }
}

/// Whether a path of the host needs attributes that the area around it does not have: those of /dev and /sys are their own.
pub(super) fn apart(area: &AbsPath, path: &AbsPath) -> bool {
    let special = ["/dev", "/sys"].map(AbsPath::fixed);
    special
        .iter()
        .any(|top| top.contains(path) && !top.contains(area))
}

pub(super) fn plain(step: Step) -> Placed {
    Placed { step, at: None }
}
