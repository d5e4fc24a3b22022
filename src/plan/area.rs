//! Steps and areas: what can be done to a part of the container's tree. Ring 0.

use super::resolve::within;
use super::tree::{Area, Builder, Laid, plain};
use super::{At, Attributes, Base, IfAbsent, Placed, Slot, Step};
use crate::host::PathFact;
use crate::spec::Mode;
use crate::text::AbsPath;
use std::ffi::CString;

const NESTED: &[u8] = b"nested-";

impl Builder<'_> {
    pub(super) fn slot(&mut self) -> Slot {
        self.slots += 1;
        Slot(self.slots - 1)
    }

    pub(super) fn prepare(&mut self, step: Step) {
        self.prepare.push(Placed {
            step,
            at: self.pointer.clone(),
        });
    }

    /// A step that takes something from below the place of the scratch.
    pub(super) fn early(&mut self, step: Step) {
        self.early.push(plain(step));
    }

    pub(super) fn attach_step(&mut self, step: Step) {
        self.attach.push(Placed {
            step,
            at: self.pointer.clone(),
        });
    }

    /// A path of the container, for a step after the new root, if any, has been put over the old one.
    pub(super) fn inside(&self, path: &AbsPath) -> At {
        match self.root {
            Some(slot) => At {
                base: Base::Tree(slot),
                path: path.relative(),
            },
            None => At::host(path),
        }
    }

    /// Mounts a slot at a path of the container.
    pub(super) fn mount(&mut self, slot: Slot, path: &AbsPath) {
        let at = self.inside(path);
        self.attach_step(Step::Attach {
            slot,
            at,
            keep: false,
        });
    }

    /// A directory in one of our own file systems, with its parents.
    pub(super) fn make_dir(&mut self, slot: Slot, path: &[u8], mode: u32) {
        let place = (slot, path.to_vec());
        if path.is_empty() || self.made.contains(&place) {
            return;
        }
        if let Some(slash) = path.iter().rposition(|&b| b == b'/') {
            self.make_dir(slot, path.get(..slash).unwrap_or_default(), 0o755);
        }
        self.made.insert(place);
        self.prepare(Step::MakeDir {
            at: At::below(slot, path),
            mode,
        });
    }

    /// The area that a path of the container lies in, with the place where it starts.
    pub(super) fn area(&self, path: &AbsPath) -> (AbsPath, Area) {
        match self.area_of(path) {
            Some((top, area)) => (top.clone(), area.clone()),
            None => {
                let (mode, from) = (Mode::Overlay, self.base.clone());
                (AbsPath::root(), Area::Host { mode, from })
            }
        }
    }

    /// The same, where there is one already.
    pub(super) fn area_of(&self, path: &AbsPath) -> Option<(&AbsPath, &Area)> {
        path.closest(&self.areas)
    }

    pub(super) fn set_area(&mut self, path: &AbsPath, area: Area) {
        if self.sealed {
            self.closed.insert(path.clone());
        } else {
            self.closed.remove(path);
        }
        self.areas.insert(path.clone(), area);
    }

    /// Sees to it that a directory of the container exists, as far as that is ours to do: in our own file systems and in
    /// upper layers, never on the host. Says whether it will exist.
    pub(super) fn ensure_dir(&mut self, path: &AbsPath, mode: u32) -> bool {
        let own = match self.area_of(path) {
            Some((top, _)) if top == path => return true,
            None if path.is_root() => return true,
            area => matches!(area, Some((_, Area::Own { .. }))),
        };
        if !own && matches!(self.path_fact(path), Some(PathFact::Directory { .. })) {
            return true;
        }
        match self.own_place(path) {
            Some((slot, place)) => {
                self.make_dir(slot, &place, mode);
                true
            }
            None => false,
        }
    }

    /// Where a file of the container is written before the container exists; `None` where it lies on the host, or where
    /// there cannot be one.
    pub(super) fn writable(&mut self, path: &AbsPath) -> Option<At> {
        let (slot, place) = self.own_place(path)?;
        let at = At::below(slot, &place);
        self.files.insert((slot, place), Laid::File);
        Some(at)
    }

    /// Makes a symbolic link in our own file systems and upper layers; says whether there is room for one.
    pub(super) fn link(&mut self, path: &AbsPath, to: &[u8]) -> bool {
        let Ok(held) = CString::new(to) else {
            return false;
        };
        let Some((slot, place)) = self.own_place(path) else {
            return false;
        };
        let at = At::below(slot, &place);
        self.files.insert((slot, place), Laid::Link(to.to_vec()));
        self.prepare(Step::Symlink { at, to: held });
        true
    }

    /// The place of a path in our own file systems, below directories that are made with the bits that the host's have.
    fn own_place(&mut self, path: &AbsPath) -> Option<(Slot, Vec<u8>)> {
        let (top, area) = self.area(path);
        let (slot, base, lower) = match area {
            Area::Own { slot, path, .. } => (slot, path, false),
            Area::Overlay { upper, .. } => (self.scratch, upper, true),
            Area::Host { .. } | Area::Stack { .. } => return None,
        };
        let place_of = |at: &AbsPath| (slot, within(&base, top.rest_of(at)));
        let parent = path.parent()?;
        let mut at = top.clone();
        for part in top
            .rest_of(&parent)
            .split(|&b| b == b'/')
            .filter(|part| !part.is_empty())
        {
            at = at.join(part);
            let place = place_of(&at);
            if self.made.contains(&place) {
                continue;
            }
            let bits = match self.path_fact(&at) {
                Some(PathFact::Directory { mode, .. }) => mode,
                // What is no directory in the lower layer would be one in the upper: another thing than the host has.
                Some(PathFact::File | PathFact::Other | PathFact::Symlink { .. }) if lower => {
                    return None;
                }
                _ => 0o755,
            };
            if self.files.contains_key(&place) {
                return None;
            }
            self.make_dir(slot, &place.1, bits);
        }
        let place = place_of(path);
        let taken = self.files.contains_key(&place) && !lower;
        (!taken).then_some(place)
    }

    /// A fresh directory of its own file system's, for a mount that lies on something else than our own file systems.
    pub(super) fn nested_dir(&mut self, slot: Slot, mode: u32) -> Vec<u8> {
        let name = [NESTED, self.layers.to_string().as_bytes()].concat();
        self.layers += 1;
        self.make_dir(slot, &name, mode);
        name
    }

    /// Makes an empty writable directory appear at a path of the container.
    pub(super) fn hide(&mut self, path: &AbsPath, slot: Slot, mode: u32) -> bool {
        if let (
            top,
            Area::Own {
                slot: own,
                path: base,
                ..
            },
        ) = self.area(path)
            && &top != path
            && own == slot
            && !self.closed.contains(&top)
        {
            let made = self.ensure_dir(path, mode);
            let place = within(&base, top.rest_of(path));
            self.own(path, slot, place);
            return made;
        }
        if !self.ensure_dir(path, mode) {
            return false;
        }
        let place = self.nested_dir(slot, mode);
        let copy = self.copy_of(slot, &place);
        self.mount(copy, path);
        self.own(path, slot, place);
        true
    }

    /// From here on a path of the container is a directory in one of our own file systems.
    pub(super) fn own(&mut self, path: &AbsPath, slot: Slot, place: Vec<u8>) {
        let like = self.host_of(path);
        let area = Area::Own {
            slot,
            path: place,
            like,
        };
        self.set_area(path, area);
    }

    /// A mount of a directory or file of one of our own file systems.
    pub(super) fn copy_of(&mut self, slot: Slot, path: &[u8]) -> Slot {
        let copy = self.slot();
        self.prepare(Step::Clone {
            slot: copy,
            from: At::below(slot, path),
            recursive: false,
            if_absent: IfAbsent::Fail,
        });
        if slot != self.memory || self.sealed {
            // A copy of a mount of the host has only the attributes that the host gave it.
            let attributes = Attributes {
                read_only: self.sealed,
                no_suid: true,
                no_dev: true,
                no_exec: false,
            };
            self.prepare(Step::Restrict {
                at: At::slot(copy),
                attributes,
            });
        }
        copy
    }

    /// What happens to a part of the tree that was only met on the way, if it vanishes.
    pub(super) fn may_vanish(&self) -> IfAbsent {
        if self.job.strict {
            IfAbsent::Fail
        } else {
            IfAbsent::Report
        }
    }

    /// Shows a part of the host with everything mounted below it.
    pub(super) fn show(&mut self, path: &AbsPath, mode: Mode, if_absent: IfAbsent) {
        if let Some(from) = self.host_of(path) {
            self.show_from(from, path, mode, if_absent);
        }
    }

    /// Shows a directory of the host, with everything mounted below it, at a path of the container.
    pub(super) fn show_from(
        &mut self,
        from: AbsPath,
        path: &AbsPath,
        mode: Mode,
        if_absent: IfAbsent,
    ) {
        let slot = self.slot();
        let clone = Step::Clone {
            slot,
            from: At::host(&from),
            recursive: true,
            if_absent,
        };
        let below = |top| AbsPath::fixed(top).contains(path);
        let attributes = Attributes {
            read_only: mode != Mode::FullAccess,
            no_suid: true,
            no_dev: !below("/dev") || self.real_root,
            no_exec: below("/sys") || self.is_sysfs(&from),
        };
        let restrict = Step::Restrict {
            at: At::slot(slot),
            attributes,
        };
        let covered = !self.scratch_place.is_root() && self.scratch_place.contains(&from);
        for step in [clone, restrict] {
            let at = self.pointer.clone();
            let list = if covered {
                &mut self.early
            } else {
                &mut self.prepare
            };
            list.push(Placed { step, at });
        }
        self.ensure_dir(path, 0o755);
        self.mount(slot, path);
        self.set_area(path, Area::Host { mode, from });
    }

    /// As far as the mount table is known.
    pub(super) fn is_sysfs(&self, path: &AbsPath) -> bool {
        let table = self.facts.mounts.as_ref();
        table
            .and_then(|table| table.get(table.holding(path)))
            .is_some_and(|mount| mount.fstype == b"sysfs")
    }

    /// Makes the directories on the way to a place in an overlay in its upper layer, with the bits that they have. A
    /// directory of another owner cannot be copied up where only one id is mapped (EOVERFLOW), and with it nothing below it
    /// could be changed, not even what belongs to the caller.
    pub(super) fn way_to(&mut self, path: &AbsPath) {
        let (top, Area::Overlay { upper, .. }) = self.area(path) else {
            return;
        };
        let mut at = top.clone();
        let rest = top.rest_of(path).to_vec();
        for part in rest.split(|&b| b == b'/').filter(|part| !part.is_empty()) {
            at = at.join(part);
            let Some(PathFact::Directory { mode, .. }) = self.path_fact(&at) else {
                return;
            };
            let place = within(&upper, top.rest_of(&at));
            self.make_dir(self.scratch, &place, mode);
        }
    }
}
