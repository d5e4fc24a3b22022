//! What a plan makes of a host: the plan's steps carried out on paper, and the contract's sections 5 and 6 checked against
//! the tree that the target would see. For `tests/cases.rs` and `tests/properties.rs`.
//!
//! The mounts are kept as the kernel keeps them (a mount lies on a place of the mount that was visible there), so a mount
//! that covers another one by mistake shows as a wrong content.
#![allow(
    dead_code,
    reason = "two test programs share this file, and neither needs all of it"
)]

use std::collections::{BTreeMap, BTreeSet};

use stdbox::host::{HostFacts, Kind, Listing, PathFact};
use stdbox::job::{Job, Scratch};
use stdbox::plan::{At, Attributes, Base, IfAbsent, Node, Plan, Slot, Step};
use stdbox::problem::{Code, Notice};
use stdbox::spec::{Dev, Mode, ProcMode};
use stdbox::text::AbsPath;

use crate::host::{FakeHost, chain, path};

/// What a step made in one of our own file systems.
#[derive(Clone, PartialEq, Debug)]
enum Made {
    Dir(u32),
    File,
    Copy(AbsPath),
    Link(Vec<u8>),
    Node,
}

/// What is behind a descriptor.
#[derive(Clone, PartialEq, Debug)]
enum Source {
    /// The host's tree from here on.
    Host(AbsPath),
    /// A directory or file of our own.
    Own(usize, Vec<u8>),
    /// An overlay of a host directory and an upper layer.
    Overlay(AbsPath, usize, Vec<u8>),
    /// A fresh file system.
    Fs(String),
}

#[derive(Clone, Debug)]
struct Open {
    source: Source,
    attributes: Attributes,
    restricted: bool,
    optional: bool,
    recursive: bool,
    /// Where it is mounted in the container.
    at: Option<AbsPath>,
    gone: bool,
}

struct Placed {
    parent: Option<usize>,
    at: AbsPath,
    source: Source,
    attributes: Attributes,
    restricted: bool,
}

/// What the target sees at a path.
#[derive(Clone, PartialEq, Debug)]
enum Seen {
    Missing,
    /// The host's own object; whether it is read-only.
    Host(AbsPath, bool),
    /// The lower layer's object in an overlay.
    Lower(AbsPath),
    /// A directory, file or link of our own; for an overlay's upper layer with the lower path.
    Own(Made),
    /// Something in a fresh file system.
    Fs(String),
}

struct View<'a> {
    host: &'a FakeHost,
    job: &'a Job,
    plan: &'a Plan,
    slots: BTreeMap<usize, Open>,
    made: BTreeMap<(usize, Vec<u8>), Made>,
    mounts: Vec<Placed>,
    /// Parts of the host's tree in place that got attributes of their own.
    restricted: Vec<(AbsPath, Attributes)>,
    root: Option<usize>,
    /// Everything is taken from the host.
    built: bool,
    /// Where the memory is mounted on the host's tree while that is done.
    memory_at: Option<AbsPath>,
    attached: BTreeSet<AbsPath>,
}

/// What the target sees at a path, in one word.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Sight {
    /// Nothing.
    Missing,
    /// The host's own, with this mode.
    Host(Mode),
    /// The host's through an overlay.
    Overlay,
    /// A copy of the host's.
    Copy,
    /// Something of the container's own that can be written to.
    Fresh,
    /// A fresh file system, or something of the container's own that is read-only.
    Other,
}

/// What the target of a plan sees at a path.
pub(crate) fn sight(job: &Job, host: &FakeHost, plan: &Plan, at: &str) -> Sight {
    let (view, at) = (
        carried_out(job, host, plan).expect("a plan that was checked"),
        path(at),
    );
    match view.seen(&at) {
        Seen::Missing => Sight::Missing,
        Seen::Host(_, read_only) => Sight::Host(if read_only {
            Mode::ReadOnly
        } else {
            Mode::FullAccess
        }),
        Seen::Lower(_) => Sight::Overlay,
        Seen::Own(Made::Copy(_)) => Sight::Copy,
        Seen::Own(_) if !view.is_read_only(&at) => Sight::Fresh,
        Seen::Own(_) | Seen::Fs(_) => Sight::Other,
    }
}

/// Carries the plan out on paper and checks every rule that it must keep.
pub(crate) fn check(job: &Job, host: &FakeHost, facts: &HostFacts, plan: &Plan) -> Checked<()> {
    let in_place = in_place(job);
    counts(job, facts, plan, in_place)?;
    carried_out(job, host, plan)?.contract(in_place)
}

/// What a host may refuse, and only for its reason.
pub(crate) fn refusal_is_right(job: &Job, host: &FakeHost, code: Code) -> bool {
    let facts = || {
        job.directories
            .iter()
            .filter(|(_, d)| d.at.is_some())
            .map(|(at, _)| host.path_fact(at))
    };
    match code {
        Code::NoSuchDirectory => facts().any(|fact| fact == PathFact::Missing),
        Code::DirectoryUnreachable => facts().any(|fact| fact == PathFact::Denied),
        Code::IsSymlink => facts().any(|fact| matches!(fact, PathFact::Symlink { .. })),
        Code::NotADirectory => facts().any(|fact| matches!(fact, PathFact::File | PathFact::Other)),
        Code::CwdMissing => job.cwd.is_none() && host.caller.cwd.is_none(),
        Code::ProcMissing => {
            job.mode_of(&AbsPath::root()) == Mode::FullAccess
                && host.path_fact(&AbsPath::fixed("/proc")) == PathFact::Missing
        }
        Code::OverlayDepth => !host.unstackable.is_empty() && !host.large.is_empty(),
        _ => false,
    }
}

/// Whether the host's tree is used as it stands.
fn in_place(job: &Job) -> bool {
    matches!(
        job.mode_of(&AbsPath::root()),
        Mode::ReadOnly | Mode::FullAccess
    )
}

fn carried_out<'a>(job: &'a Job, host: &'a FakeHost, plan: &'a Plan) -> Checked<View<'a>> {
    let mut view = View {
        host,
        job,
        plan,
        slots: BTreeMap::new(),
        made: BTreeMap::new(),
        mounts: Vec::new(),
        restricted: Vec::new(),
        root: None,
        built: false,
        memory_at: None,
        attached: BTreeSet::new(),
    };
    for (i, placed) in plan.steps.iter().enumerate() {
        view.step(&placed.step)
            .map_err(|why| format!("step {i:02} {}: {why}", placed.step))?;
    }
    let used = view.slots.keys().next_back().map_or(0, |last| last + 1);
    ensure((view.slots.len(), used) == (plan.slots, plan.slots), || {
        "slots are not numbered without gaps".into()
    })?;
    Ok(view)
}

/// The steps, one per line.
pub(crate) fn listing(plan: &Plan) -> String {
    plan.steps
        .iter()
        .enumerate()
        .map(|(i, placed)| format!("{i:02} {}\n", placed.step))
        .collect()
}

fn counts(job: &Job, facts: &HostFacts, plan: &Plan, in_place: bool) -> Checked<()> {
    let steps = || plan.steps.iter().map(|placed| &placed.step);
    let listed = facts
        .lists
        .values()
        .chain(facts.trees.values())
        .map(|listing| match listing {
            Listing::Entries(entries) => entries.len(),
            _ => 1,
        });
    let bound = 90 + 8 * (listed.sum::<usize>() + job.directories.len());
    ensure(steps().count() <= bound, || {
        format!("{} steps are more than {bound}", steps().count())
    })?;
    let enters = steps()
        .filter(|step| matches!(step, Step::EnterRoot { .. }))
        .count();
    let whole = |step: &&Step| matches!(step, Step::Restrict { at, .. } if at.base == Base::Host && at.path.as_c_str() == c"/");
    let restricts = steps().filter(whole).count();
    let bottom = matches!(
        plan.steps.last().map(|placed| &placed.step),
        Some(Step::EnterRoot { bottom: true, .. })
    );
    let expected = if in_place {
        (0, 1)
    } else {
        (1, usize::from(bottom))
    };
    ensure((enters, restricts) == expected, || {
        format!("{enters} new roots and {restricts} restrictions of the old one")
    })?;
    let last = matches!(steps().next_back(), Some(Step::EnterRoot { .. }));
    ensure(last != in_place, || "entering the root comes last".into())?;
    let memory = matches!(job.scratch, Scratch::Tmpfs { .. }).then_some(Slot(0));
    ensure(plan.scratch == memory, || {
        format!(
            "{:?} is not the scratch whose use is reported",
            plan.scratch
        )
    })?;
    Ok(())
}

/// A path in a slot is relative; the slot itself is an empty path.
fn bytes(at: &At) -> &[u8] {
    at.path.to_bytes()
}

fn join(base: &[u8], rest: &[u8]) -> Vec<u8> {
    if rest.is_empty() || rest == b"." {
        base.to_vec()
    } else if base.is_empty() {
        rest.to_vec()
    } else {
        [base, b"/", rest].concat()
    }
}

type Checked<T> = Result<T, String>;

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Checked<()> {
    if holds { Ok(()) } else { Err(why()) }
}

impl View<'_> {
    fn open(&self, slot: Slot) -> Checked<&Open> {
        let open = self
            .slots
            .get(&slot.0)
            .ok_or_else(|| format!("#{} is not open yet", slot.0))?;
        ensure(!open.gone, || format!("#{} was given away", slot.0))?;
        Ok(open)
    }

    fn fill(&mut self, slot: Slot, open: Open) -> Checked<()> {
        ensure(self.slots.insert(slot.0, open).is_none(), || {
            format!("#{} is opened twice", slot.0)
        })
    }

    fn host_path(&self, at: &At) -> Checked<AbsPath> {
        AbsPath::new(bytes(at)).map_err(|fault| format!("{fault:?}"))
    }

    /// A path that something is taken from: the memory must not lie over it. On the root it hides nothing.
    fn taken_from(&self, at: &At) -> Checked<AbsPath> {
        ensure(!self.built, || {
            "it is taken when the tree stands already".into()
        })?;
        let at = self.host_path(at)?;
        let covered = self
            .memory_at
            .as_ref()
            .is_some_and(|top| !top.is_root() && top.contains(&at));
        ensure(!covered, || "the scratch lies over it".into())?;
        Ok(at)
    }

    /// What something is taken from, if that is the host's; a directory that was opened is seen even where it is covered.
    fn of_host(&self, from: &At) -> Checked<Option<AbsPath>> {
        match from.base {
            Base::Host => self.taken_from(from).map(Some),
            Base::Tree(slot) => match &self.open(slot)?.source {
                Source::Host(top) => Ok(Some(top.join(bytes(from)))),
                other => Err(format!("it is taken from {other:?}")),
            },
            Base::Own(_) => Ok(None),
        }
    }

    /// A place in one of our own file systems, where things are made.
    fn own_place(&self, at: &At) -> Checked<(usize, Vec<u8>)> {
        let Base::Own(slot) = at.base else {
            return Err("it would be made on the host".into());
        };
        match &self.open(slot)?.source {
            Source::Own(top, base) => Ok((*top, join(base, bytes(at)))),
            other => Err(format!("it would be made in {other:?}")),
        }
    }

    fn make(&mut self, at: &At, made: Made) -> Checked<()> {
        ensure(!self.built, || {
            "it is made after the tree was put together".into()
        })?;
        let (slot, place) = self.own_place(at)?;
        if let Some(slash) = place.iter().rposition(|&b| b == b'/') {
            let parent = self.made.get(&(slot, place[..slash].to_vec()));
            ensure(matches!(parent, Some(Made::Dir(_))), || {
                format!("its parent is {parent:?}")
            })?;
        }
        let before = self.made.insert((slot, place), made);
        ensure(before.is_none(), || format!("there is {before:?} already"))
    }

    /// The path of the container that a step means.
    fn inside(&self, at: &At) -> Checked<AbsPath> {
        match at.base {
            Base::Host => {
                ensure(self.root.is_none(), || {
                    "the host's tree is not the container's".into()
                })?;
                self.host_path(at)
            }
            Base::Tree(slot) | Base::Own(slot) => {
                let open = self.open(slot)?;
                let ours =
                    !matches!(at.base, Base::Own(_)) || matches!(open.source, Source::Own(..));
                ensure(ours, || format!("#{} is not all our own", slot.0))?;
                let top = open
                    .at
                    .as_ref()
                    .ok_or_else(|| format!("#{} is nowhere", slot.0))?;
                let rest = bytes(at);
                let rest = if rest == b"." { b"".as_slice() } else { rest };
                AbsPath::new(&[top.bytes(), b"/", rest].concat())
                    .map_err(|fault| format!("{fault:?}"))
            }
        }
    }

    fn visible(&self, at: &AbsPath) -> usize {
        let mut mount = 0;
        for at in chain(at).iter().skip(1) {
            while let Some(next) = self
                .mounts
                .iter()
                .rposition(|m| m.parent == Some(mount) && &m.at == at)
            {
                mount = next;
            }
        }
        mount
    }

    fn seen(&self, at: &AbsPath) -> Seen {
        let mount = &self.mounts[self.visible(at)];
        let rest = mount.at.rest_of(at);
        let host =
            |top: &AbsPath| AbsPath::new(&[top.bytes(), b"/", rest].concat()).expect("a path");
        match &mount.source {
            Source::Host(top) => match host(top) {
                real if self.host.nodes.contains_key(&real) => {
                    Seen::Host(real, self.is_read_only(at))
                }
                _ => Seen::Missing,
            },
            Source::Fs(name) => Seen::Fs(name.clone()),
            Source::Own(slot, base) => self
                .made
                .get(&(*slot, join(base, rest)))
                .map_or(Seen::Missing, |made| Seen::Own(made.clone())),
            Source::Overlay(lower, slot, upper) => match self.made.get(&(*slot, join(upper, rest)))
            {
                Some(made) if !rest.is_empty() => Seen::Own(made.clone()),
                _ if self.host.nodes.contains_key(&host(lower)) => Seen::Lower(host(lower)),
                _ => Seen::Missing,
            },
        }
    }

    fn kind(&self, seen: &Seen) -> Option<bool> {
        match seen {
            Seen::Missing => None,
            Seen::Fs(_) | Seen::Own(Made::Dir(_)) => Some(true),
            Seen::Own(_) => Some(false),
            Seen::Host(at, _) | Seen::Lower(at) => self
                .host
                .nodes
                .get(at)
                .map(|node| node.kind == Kind::Directory),
        }
    }

    fn step(&mut self, step: &Step) -> Checked<()> {
        match step {
            Step::NewFs {
                slot,
                fstype,
                attributes,
                read_only_fallback,
                ..
            } => {
                let name = fstype.to_string_lossy().into_owned();
                ensure(!read_only_fallback || name == "proc", || {
                    "only procfs may be read-only instead".into()
                })?;
                let source = if name == "tmpfs" {
                    Source::Own(slot.0, Vec::new())
                } else {
                    Source::Fs(name)
                };
                ensure(attributes.no_suid, || "it allows set-user-id".into())?;
                self.fill(
                    *slot,
                    Open {
                        source,
                        attributes: *attributes,
                        restricted: true,
                        optional: false,
                        recursive: false,
                        at: None,
                        gone: false,
                    },
                )
            }
            Step::Open { slot, at } => self.open_directory(*slot, at),
            Step::Overlay {
                slot,
                lower,
                upper,
                work,
                if_absent,
                ..
            } => self.overlay(*slot, &lower[0], upper, work, *if_absent != IfAbsent::Fail),
            Step::Clone {
                slot,
                from,
                recursive,
                if_absent,
            } => self.clone_of(*slot, from, *recursive, *if_absent != IfAbsent::Fail),
            Step::Restrict { at, attributes } => self.restrict(at, *attributes),
            Step::Attach { slot, at, keep } => self.attach(*slot, at, *keep),
            Step::Detach { slot } => {
                ensure(slot.0 == 0 && self.memory_at.take().is_some(), || {
                    "only the memory is taken out".into()
                })?;
                self.slots.get_mut(&slot.0).expect("open").at = None;
                self.built = true;
                Ok(())
            }
            Step::MakeDir { at, mode } => self.make(at, Made::Dir(*mode)),
            Step::MakeNode {
                at,
                node: Node::File,
                ..
            } => self.make(at, Made::File),
            Step::MakeNode { at, .. } => self.make(at, Made::Node),
            Step::Symlink { at, to } => self.make(at, Made::Link(to.to_bytes().to_vec())),
            Step::Write { at, .. } => self.make(at, Made::File),
            Step::Copy { from, at, .. } => {
                ensure(from.base == Base::Host, || "a copy is of the host".into())?;
                let from = self.taken_from(from)?;
                self.make(at, Made::Copy(from))
            }
            Step::EnterRoot { slot, bottom } => {
                ensure(*bottom == self.bottom(), || {
                    "the bottom of all mounts cannot be left by pivot_root".into()
                })?;
                ensure(self.root == Some(slot.0), || {
                    "another root was put over the old one".into()
                })
            }
        }
    }

    /// The disk scratch, a directory that things are taken from, or one of the container's that things are attached in.
    fn open_directory(&mut self, slot: Slot, at: &At) -> Checked<()> {
        let open = Open {
            source: Source::Own(slot.0, Vec::new()),
            attributes: Attributes::default(),
            restricted: false,
            optional: false,
            recursive: false,
            at: None,
            gone: false,
        };
        let open = if self.built {
            let at = self.inside(at)?;
            ensure(self.kind(&self.seen(&at)) == Some(true), || {
                format!("{at:?} is no directory")
            })?;
            Open {
                at: Some(at),
                ..open
            }
        } else {
            let from = self.taken_from(at)?;
            ensure(
                at.base == Base::Host && self.host.is_directory(&from),
                || "it is no directory of the host".into(),
            )?;
            if self
                .host
                .scratch
                .as_ref()
                .is_some_and(|(scratch, _)| scratch == &from)
            {
                open
            } else {
                Open {
                    source: Source::Host(from),
                    ..open
                }
            }
        };
        self.fill(slot, open)
    }

    fn overlay(
        &mut self,
        slot: Slot,
        lower: &At,
        upper: &At,
        work: &At,
        optional: bool,
    ) -> Checked<()> {
        ensure(lower.base == Base::Host, || {
            "the lower layer is a host directory".into()
        })?;
        let lower = self.taken_from(lower)?;
        let known = self.host.path_fact(&lower);
        ensure(
            matches!(known, PathFact::Directory { .. }) || optional && known == PathFact::Missing,
            || format!("lower is {known:?}"),
        )?;
        ensure(!self.host.mounted_below(&lower), || {
            "the kernel refuses a lower layer with mounts below".into()
        })?;
        let fstype = self.host.fstypes(&lower).pop().unwrap_or("").to_owned();
        ensure(!unsuitable(&fstype) && !silent(&fstype), || {
            format!("the kernel refuses {fstype} as a lower layer")
        })?;
        let stacked =
            fstype == "overlay" && self.host.unstackable.iter().any(|top| top.contains(&lower));
        ensure(!stacked, || "the kernel refuses a third overlay".into())?;
        if let Some((scratch, _)) = &self.host.scratch {
            ensure(!lower.contains(scratch), || {
                "upper and lower layer overlap".into()
            })?;
        }
        let (upper_slot, upper) = self.own_place(upper)?;
        let (work_slot, work) = self.own_place(work)?;
        ensure(upper_slot == work_slot && upper != work, || {
            "upper and work are on one file system".into()
        })?;
        for place in [&upper, &work] {
            let made = self.made.get(&(upper_slot, place.clone()));
            ensure(matches!(made, Some(Made::Dir(_))), || {
                format!("a layer is {made:?}")
            })?;
        }
        let open = Open {
            source: Source::Overlay(lower, upper_slot, upper),
            attributes: Attributes::default(),
            restricted: true,
            optional,
            recursive: false,
            at: None,
            gone: false,
        };
        self.fill(slot, open)
    }

    fn clone_of(&mut self, slot: Slot, from: &At, recursive: bool, optional: bool) -> Checked<()> {
        let source = if self.built {
            // Only parts of the fresh /proc and of the own terminals are copied when the tree stands already.
            match self.seen(&self.inside(from)?) {
                Seen::Fs(name) if name == "proc" || name == "devpts" => Source::Fs(name),
                other => return Err(format!("it copies {other:?}")),
            }
        } else if let Some(at) = self.of_host(from)? {
            ensure(optional || self.host.nodes.contains_key(&at), || {
                "it is not there".into()
            })?;
            ensure(self.host.reachable(&at), || "it cannot be reached".into())?;
            let below = self.host.mounted_below(&at);
            ensure(recursive || !below, || {
                "the kernel refuses to uncover what lies below a mount".into()
            })?;
            Source::Host(at)
        } else {
            let (slot, place) = self.own_place(from)?;
            ensure(self.made.contains_key(&(slot, place.clone())), || {
                "it was not made".into()
            })?;
            Source::Own(slot, place)
        };
        // A copy of our own memory has the attributes that it was made with.
        let memory = matches!(source, Source::Own(0, _) | Source::Fs(_));
        let attributes = if memory {
            Attributes {
                no_suid: true,
                no_dev: source != Source::Fs("devpts".into()),
                no_exec: matches!(source, Source::Fs(_)),
                ..Attributes::default()
            }
        } else {
            Attributes::default()
        };
        self.fill(
            slot,
            Open {
                source,
                attributes,
                restricted: memory,
                optional,
                recursive,
                at: None,
                gone: false,
            },
        )
    }

    fn restrict(&mut self, at: &At, attributes: Attributes) -> Checked<()> {
        match at.base {
            Base::Host if self.mounts.is_empty() => {
                ensure(bytes(at) == b"/", || "the whole tree comes first".into())?;
                self.stands()?;
                if !in_place(self.job) {
                    // The new root is put over this one, which stays below.
                    return ensure(attributes.read_only && self.bottom(), || {
                        "the old root is left behind anyway".into()
                    });
                }
                ensure(attributes.no_suid && attributes.no_dev, || {
                    "set-user-id and devices are off".into()
                })?;
                let source = Source::Host(AbsPath::root());
                self.mounts.push(Placed {
                    parent: None,
                    at: AbsPath::root(),
                    source,
                    attributes,
                    restricted: true,
                });
                Ok(())
            }
            Base::Host | Base::Tree(_) => {
                let at = self.inside(at)?;
                let mount = self.host.is_directory(&at)
                    && self.host.mounts[self.host.holding(&at)].at == at;
                ensure(mount && self.visible(&at) == 0, || {
                    "it is no mount of the host's".into()
                })?;
                // The kernel restricts what is mounted below as well.
                for mount in self
                    .mounts
                    .iter_mut()
                    .filter(|mount| at.contains(&mount.at))
                {
                    mount.attributes.read_only |= attributes.read_only;
                }
                self.restricted.push((at, attributes));
                Ok(())
            }
            Base::Own(slot) => {
                ensure(bytes(at).is_empty(), || {
                    "a mount is meant, not a place".into()
                })?;
                if let Some(at) = self.open(slot)?.at.clone() {
                    for mount in self
                        .mounts
                        .iter_mut()
                        .filter(|mount| at.contains(&mount.at))
                    {
                        mount.restricted = true;
                        mount.attributes.no_suid |= attributes.no_suid;
                        mount.attributes.read_only |= attributes.read_only;
                    }
                    return Ok(());
                }
                let open = self.slots.get_mut(&slot.0).expect("open");
                open.attributes = Attributes {
                    read_only: open.attributes.read_only || attributes.read_only,
                    no_suid: open.attributes.no_suid || attributes.no_suid,
                    no_dev: open.attributes.no_dev || attributes.no_dev,
                    no_exec: open.attributes.no_exec || attributes.no_exec,
                };
                open.restricted = true;
                Ok(())
            }
        }
    }

    /// Whether the host's root is the bottom of all mounts, as the initramfs is.
    fn bottom(&self) -> bool {
        self.host.initramfs && self.host.holding(&AbsPath::root()) == 0
    }

    /// Whether the mount that is seen at a path is read-only.
    fn is_read_only(&self, at: &AbsPath) -> bool {
        let mount = self.visible(at);
        let part = |(top, attributes): &(AbsPath, Attributes)| {
            mount == 0 && top.contains(at) && attributes.read_only
        };
        self.mounts[mount].attributes.read_only || self.restricted.iter().any(part)
    }

    fn attach(&mut self, slot: Slot, at: &At, keep: bool) -> Checked<()> {
        let open = self.open(slot)?.clone();
        ensure(open.at.is_none(), || "it is mounted already".into())?;
        let memory =
            slot.0 == 0 && keep && at.base == Base::Host && self.memory_at.is_none() && !self.built;
        let place = if memory {
            let at = self.host_path(at)?;
            ensure(self.host.is_directory(&at), || "it is no directory".into())?;
            self.memory_at = Some(at.clone());
            at
        } else if self.mounts.is_empty() {
            self.stands()?;
            ensure(at.base == Base::Host && bytes(at) == b"/", || {
                "the root comes first".into()
            })?;
            ensure(keep, || "the root is used later".into())?;
            ensure(open.restricted, || {
                "it has more rights than it should".into()
            })?;
            self.mounts.push(Placed {
                parent: None,
                at: AbsPath::root(),
                source: open.source.clone(),
                attributes: open.attributes,
                restricted: true,
            });
            self.root = Some(slot.0);
            AbsPath::root()
        } else {
            self.place(&open, &self.inside(at)?)?
        };
        let open = self.slots.get_mut(&slot.0).expect("open");
        open.at = Some(place);
        open.gone = !keep;
        Ok(())
    }

    /// Everything is taken from the host. Where the memory is still mounted, the container's /dev must lie over it.
    fn stands(&mut self) -> Checked<()> {
        let at_dev = self.memory_at.is_none() || self.memory_at == Some(path("/dev"));
        ensure(at_dev, || "the scratch is in the tree still".into())?;
        self.built = true;
        Ok(())
    }

    fn place(&mut self, open: &Open, at: &AbsPath) -> Checked<AbsPath> {
        if let Source::Host(from) = &open.source {
            let special = |top| path(top).contains(from);
            let a = open.attributes;
            let node = path("/dev").is_above(at) && !open.recursive;
            ensure(a.no_suid || node, || "set-user-id is off everywhere".into())?;
            ensure(a.no_dev || special("/dev"), || {
                "devices are off outside /dev".into()
            })?;
            ensure(
                a.no_dev || !self.host.caller.real_root || !open.recursive,
                || "the real root gets no whole /dev".into(),
            )?;
            ensure(a.no_exec || !special("/sys"), || {
                "programs are off in /sys".into()
            })?;
            if open.optional && !self.host.nodes.contains_key(from) {
                return Ok(at.clone());
            }
        }
        let in_proc = path("/proc").is_above(at);
        let covered = self.attached.iter().find(|other| at.is_above(other));
        ensure(covered.is_none() || in_proc, || {
            format!("it covers {covered:?}")
        })?;
        self.attached.insert(at.clone());
        // What a mount lies on must be there, be of the same kind, and be reached without searching a closed directory.
        if at != &path("/proc") {
            let target = self.seen(at);
            let ours = match &open.source {
                Source::Host(from) => self
                    .host
                    .nodes
                    .get(from)
                    .map(|node| node.kind == Kind::Directory),
                Source::Own(slot, place) => Some(matches!(
                    self.made.get(&(*slot, place.clone())),
                    Some(Made::Dir(_))
                )),
                Source::Overlay(..) => Some(true),
                // A file or a directory, as what it is a copy of.
                Source::Fs(_) => None,
            };
            let there = self.kind(&target);
            ensure(there.is_some(), || format!("nothing is at {at:?}"))?;
            ensure(
                ours.is_none() || ours == there || target == Seen::Fs("proc".into()),
                || format!("{target:?} is of another kind"),
            )?;
            for above in chain(at).iter().filter(|above| *above != at) {
                if let Seen::Host(real, _) | Seen::Lower(real) = self.seen(above) {
                    ensure(!self.host.nodes[&real].closed, || {
                        format!("{above:?} cannot be searched")
                    })?;
                }
            }
        }
        let parent = Some(self.visible(at));
        self.mounts.push(Placed {
            parent,
            at: at.clone(),
            source: open.source.clone(),
            attributes: open.attributes,
            restricted: open.restricted,
        });
        Ok(at.clone())
    }
}

/// Types that cannot be a lower layer, which a job is warned of.
fn unsuitable(fstype: &str) -> bool {
    [
        "autofs", "vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk", "fuse",
    ]
    .contains(&fstype)
        || fstype.starts_with("fuse.") && fstype != "fuse.lxcfs"
}

/// Types that are read-only without a word.
fn silent(fstype: &str) -> bool {
    ["cgroup", "cgroup2", "fuse.lxcfs", "sysfs", "proc"].contains(&fstype)
}

/// Whether a notice speaks of a path or of something above it.
fn about(notice: &Notice, at: &AbsPath) -> bool {
    notice
        .path
        .as_ref()
        .is_some_and(|text| AbsPath::new(&text.0).is_ok_and(|above| above.contains(at)))
}

/// What the contract wants to see below a path, until a longer path says otherwise.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Expect {
    /// As the mode says.
    Mode(Mode),
    /// A fresh directory of the container's own: nothing of the host.
    Fresh,
    /// LXCFS's directory, or by the mode.
    Lxcfs(Mode),
    /// Checked apart.
    Free,
}

impl View<'_> {
    fn real(&self, at: &str) -> Option<AbsPath> {
        match self.host.path_fact(&path(at)) {
            PathFact::Directory { .. } => Some(path(at)),
            PathFact::Symlink {
                real: Some(real), ..
            } if self.host.is_directory(&real) => Some(real),
            _ => None,
        }
    }

    /// The modes of section 5, and what sections 2 and 5.3 to 5.6 put in their place.
    fn expectations(&self, in_place: bool) -> BTreeMap<AbsPath, Expect> {
        let mut named = BTreeMap::new();
        for (at, directory) in self
            .job
            .directories
            .iter()
            .filter(|(_, directory)| directory.at.is_some())
        {
            named.insert(at.clone(), directory.mode);
        }
        for (at, directory) in self
            .job
            .directories
            .iter()
            .filter(|(_, directory)| directory.at.is_none())
        {
            let real = std::str::from_utf8(at.bytes())
                .ok()
                .and_then(|at| self.real(at));
            if let Some(real) = real {
                named.entry(real).or_insert(directory.mode);
            }
        }
        let dev = path("/dev");
        if self.job.dev == Dev::Host && self.host.is_directory(&dev) {
            named.entry(dev.clone()).or_insert(Mode::ReadOnly);
        }
        let mode_of = |at: &AbsPath| {
            chain(at)
                .iter()
                .rev()
                .find_map(|at| named.get(at))
                .copied()
                .unwrap_or(Mode::Overlay)
        };
        let mut expect: BTreeMap<AbsPath, Expect> = BTreeMap::new();
        let mut also = |at: AbsPath, what: Expect| {
            if !named.contains_key(&at) {
                expect.insert(at, what);
            }
        };
        if self.job.dev == Dev::Minimal {
            also(dev.clone(), Expect::Free);
        } else if mode_of(&dev) != Mode::Hidden {
            for at in ["/dev/pts", "/dev/mqueue", "/dev/shm"]
                .map(path)
                .into_iter()
                .filter(|at| self.host.is_directory(at))
            {
                also(at, Expect::Fresh);
            }
            if self.host.caller.real_root {
                for name in ["null", "zero", "full", "random", "urandom", "tty", "ptmx"] {
                    also(dev.join(name.as_bytes()), Expect::Free);
                }
            }
        }
        if in_place {
            also(path("/sys"), Expect::Mode(Mode::ReadOnly));
        }
        if self.host.is_directory(&path("/run/shm")) {
            also(path("/run/shm"), Expect::Fresh);
        }
        for at in ["/run/systemd/resolve", "/run/resolvconf"].map(path) {
            if !self.job.system_config
                && self.job.host_network
                && mode_of(&at) == Mode::Hidden
                && self.host.is_directory(&at)
            {
                also(at, Expect::Mode(Mode::ReadOnly));
            }
        }
        if self.job.lxcfs
            && self
                .host
                .is_directory(&path("/var/lib/lxcfs/sys/devices/system/cpu"))
        {
            let cpu = path("/sys/devices/system/cpu");
            if mode_of(&cpu) != Mode::Hidden {
                let mode = mode_of(&cpu);
                also(cpu, Expect::Lxcfs(mode));
            }
        }
        if let (true, Some(home)) = (self.job.system_config, &self.job.user.home) {
            let writable = matches!(mode_of(home), Mode::Overlay | Mode::Hidden);
            let special = ["/dev", "/proc", "/sys"]
                .iter()
                .any(|top| path(top).contains(home));
            if writable && !special && !home.is_root() && self.home().as_ref() == Some(home) {
                also(home.clone(), Expect::Fresh);
            }
        }
        // Settings of the kernel, in a tree that the real root may write; and the job's own limits in any.
        for (i, mount) in self.host.mounts.iter().enumerate() {
            // Shared memory is the job's own, whatever the host has there.
            let usual = ["/proc", "/sys", "/dev", "/run/shm"]
                .iter()
                .any(|top| path(top).contains(&mount.at));
            let limits = self.plan.leaf.is_some() && mount.fstype == "cgroup2";
            if (limits
                || self.host.caller.real_root
                    && ["cgroup", "cgroup2", "sysfs", "proc"].contains(&mount.fstype.as_str()))
                && !usual
                && self.host.holding(&mount.at) == i
                && self.host.is_directory(&mount.at)
                && mode_of(&mount.at) == Mode::FullAccess
            {
                also(mount.at.clone(), Expect::Mode(Mode::ReadOnly));
            }
        }
        expect.extend(named.into_iter().map(|(at, mode)| (at, Expect::Mode(mode))));
        expect.insert(path("/proc"), Expect::Free);
        if let Some((scratch, _)) = &self.host.scratch {
            expect.insert(scratch.clone(), Expect::Fresh);
        }
        expect
    }

    /// HOME, as the target gets it.
    fn home(&self) -> Option<AbsPath> {
        let value = self
            .plan
            .exec
            .envp
            .iter()
            .find_map(|pair| pair.to_bytes().strip_prefix(b"HOME="));
        value.and_then(|home| AbsPath::new(home).ok())
    }

    /// Whether a notice speaks of a path or of something above it.
    fn noticed(&self, at: &AbsPath, codes: &[&str]) -> bool {
        self.notices()
            .any(|notice| codes.contains(&notice.code) && about(notice, at))
    }

    fn notices(&self) -> impl Iterator<Item = &Notice> {
        self.plan.warnings.iter().chain(&self.plan.degraded)
    }

    fn contract(&self, in_place: bool) -> Checked<()> {
        let expect = self.expectations(in_place);
        for at in self.host.nodes.keys() {
            let named = chain(at)
                .into_iter()
                .rev()
                .find_map(|at| expect.get(&at).map(|what| (at, *what)));
            let (top, mut what) = named.unwrap_or((AbsPath::root(), Expect::Mode(Mode::Overlay)));
            // Where a part of an overlay had to be hidden, a mode that is named below it counts still.
            let hidden = |notice: &Notice| {
                notice.code == "directory-hidden"
                    && about(notice, at)
                    && !about(notice, &top.parent().unwrap_or(AbsPath::root()))
            };
            if what == Expect::Mode(Mode::Overlay) && self.notices().any(hidden) {
                what = Expect::Fresh;
            }
            let seen = self.seen(at);
            let fine = self.fits(at, what, &seen);
            let notices: String = self
                .notices()
                .map(|notice| format!("\n{notice:?}"))
                .collect();
            fine.map_err(|why| format!("{at:?} ({what:?}) shows {seen:?}: {why}{notices}"))?;
        }
        let loose = self.mounts.iter().find(|mount| {
            !mount.restricted
                || !mount.attributes.no_suid && !matches!(mount.source, Source::Overlay(..))
        });
        ensure(loose.is_none(), || {
            format!(
                "{:?} has more rights than it should",
                loose.map(|mount| &mount.at)
            )
        })?;
        if let (Some(at), true) = (&self.memory_at, in_place) {
            let over = self.mounts.iter().any(|mount| &mount.at == at);
            ensure(over, || "the scratch can be seen".into())?;
        }
        self.proc()?;
        if self.job.dev == Dev::Minimal {
            self.minimal_dev()?;
        }
        match (self.job.system_config, self.home()) {
            (true, Some(home)) => self.home_is_writable(&home),
            _ => Ok(()),
        }
    }

    fn fits(&self, at: &AbsPath, what: Expect, seen: &Seen) -> Checked<()> {
        match what {
            Expect::Free => Ok(()),
            _ if self.generated(at) && matches!(seen, Seen::Own(Made::File | Made::Link(_))) => {
                Ok(())
            }
            Expect::Fresh | Expect::Mode(Mode::Hidden) => self.hidden(at, seen),
            Expect::Lxcfs(mode) => self
                .lxcfs(at, seen)
                .or_else(|_| self.fits(at, Expect::Mode(mode), seen)),
            Expect::Mode(Mode::ReadOnly) => ensure(seen == &Seen::Host(at.clone(), true), || {
                "it is the host's own, read-only".into()
            }),
            Expect::Mode(Mode::FullAccess) => {
                ensure(seen == &Seen::Host(at.clone(), false), || {
                    "it is the host's own, writable".into()
                })
            }
            Expect::Mode(Mode::Overlay) => self.overlaid(at, seen),
        }
    }

    /// Nothing of the host: no object, no copy of one.
    fn hidden(&self, at: &AbsPath, seen: &Seen) -> Checked<()> {
        match seen {
            Seen::Missing | Seen::Fs(_) => Ok(()),
            Seen::Own(Made::Dir(_)) => {
                ensure(!self.is_read_only(at), || "it can be written to".into())
            }
            Seen::Own(Made::Link(_)) if at == &path("/run/shm") => Ok(()),
            _ => Err("nothing of the host".into()),
        }
    }

    fn generated(&self, at: &AbsPath) -> bool {
        let files = [
            "/etc/passwd",
            "/etc/group",
            "/etc/hosts",
            "/etc/hostname",
            "/etc/nsswitch.conf",
            "/etc/mtab",
        ];
        self.job.system_config && files.iter().any(|file| &path(file) == at)
    }

    fn lxcfs(&self, at: &AbsPath, seen: &Seen) -> Checked<()> {
        let other = at.below(&path("/var/lib/lxcfs"));
        match seen {
            Seen::Host(real, true) if real == &other => Ok(()),
            Seen::Missing if !self.host.nodes.contains_key(&other) => Ok(()),
            _ => Err("LXCFS's, read-only".into()),
        }
    }

    /// The host's content with writes that go elsewhere, or one of the exceptions of sections 5.3 and 6.
    fn overlaid(&self, at: &AbsPath, seen: &Seen) -> Checked<()> {
        let node = &self.host.nodes[at];
        if path("/dev").contains(at) || path("/sys").contains(at) {
            return self.fits(at, Expect::Mode(Mode::ReadOnly), seen);
        }
        let holds = match (seen, &node.kind) {
            (Seen::Lower(real), _) => real == at,
            // The mode bits of what it stands for; in a directory of its own or an upper layer.
            (Seen::Own(Made::Dir(mode)), Kind::Directory) => *mode == node.mode,
            (Seen::Own(Made::Link(to)), Kind::Symlink(link)) => to == link,
            (Seen::Own(Made::Copy(real)), Kind::File { readable, .. }) => real == at && *readable,
            (Seen::Own(Made::Node), Kind::Fifo | Kind::Socket) => true,
            (Seen::Host(real, true), kind) => {
                let allowed = match kind {
                    Kind::File { .. } => self.noticed(at, &["overlay-read-only", "file-read-only"]),
                    _ => self.noticed(at, &["overlay-read-only"]),
                };
                real == at && (allowed || self.host.fstypes(at).iter().any(|fstype| silent(fstype)))
            }
            (Seen::Missing, Kind::Device) => self.noticed(at, &["device-left-out"]),
            _ => false,
        };
        ensure(holds, || {
            format!("an overlay of {:?} {:04o}", node.kind, node.mode)
        })
    }

    fn proc(&self) -> Checked<()> {
        let proc = path("/proc");
        ensure(self.seen(&proc) == Seen::Fs("proc".into()), || {
            format!("/proc is {:?}", self.seen(&proc))
        })?;
        let procs = || {
            self.mounts
                .iter()
                .filter(|m| m.source == Source::Fs("proc".into()))
        };
        let fresh = procs().filter(|m| m.at == proc).count();
        ensure(fresh == 1, || format!("{fresh} fresh instances at /proc"))?;
        for mount in procs() {
            let a = mount.attributes;
            ensure(a.no_suid && a.no_dev && a.no_exec, || {
                format!("{:?} allows too much", mount.at)
            })?;
        }
        for part in [
            "/proc/sys",
            "/proc/sysrq-trigger",
            "/proc/irq",
            "/proc/bus",
            "/proc/fs",
            "/proc/acpi",
            "/proc/scsi",
            "/proc/dynamic_debug",
        ]
        .map(path)
        {
            let mount = &self.mounts[self.visible(&part)];
            let closed = mount.at == part && mount.attributes.read_only;
            ensure(
                closed || !self.host.caller.real_root || self.job.proc == ProcMode::Nestable,
                || format!("{part:?} is writable for the real root"),
            )?;
        }
        Ok(())
    }

    fn minimal_dev(&self) -> Checked<()> {
        let dev = path("/dev");
        if self.kind(&self.seen(&dev)).is_none() {
            return ensure(self.noticed(&dev, &["dev-missing"]), || {
                "no /dev, and not a word".into()
            });
        }
        let nodes = ["null", "zero", "full", "random", "urandom", "tty"]
            .map(|name| dev.join(name.as_bytes()));
        let named = |at: &AbsPath| {
            self.job
                .directories
                .keys()
                .any(|named| named.contains(at) && dev.is_above(named))
        };
        for at in &nodes {
            let there = self.host.nodes.contains_key(at);
            let expected = if there {
                Seen::Host(at.clone(), false)
            } else {
                Seen::Own(Made::File)
            };
            ensure(self.seen(at) == expected, || {
                format!("{at:?} is {:?}", self.seen(at))
            })?;
        }
        for at in ["/dev/pts", "/dev/mqueue"].map(path) {
            ensure(named(&at) || matches!(self.seen(&at), Seen::Fs(_)), || {
                format!("{at:?} is {:?}", self.seen(&at))
            })?;
        }
        for at in self
            .host
            .nodes
            .keys()
            .filter(|at| dev.is_above(at) && !nodes.contains(at))
        {
            let host = matches!(self.seen(at), Seen::Host(..) | Seen::Lower(_));
            ensure(named(at) || !host, || format!("{at:?} is the host's"))?;
        }
        Ok(())
    }

    fn home_is_writable(&self, home: &AbsPath) -> Checked<()> {
        let replaced = self
            .plan
            .warnings
            .iter()
            .any(|notice| notice.code == "home-replaced");
        let seen = self.seen(home);
        let writable = matches!(
            seen,
            Seen::Own(Made::Dir(_)) | Seen::Lower(_) | Seen::Host(_, false)
        );
        ensure(
            writable || replaced || self.noticed(home, &["directory-hidden"]),
            || format!("HOME {home:?} is {seen:?}"),
        )
    }
}
