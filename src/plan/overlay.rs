//! Overlays, and what stands in for them where the kernel takes none. Ring 0.

use super::resolve::within;
use super::tree::{Area, Builder, apart};
use super::{At, Attributes, IfAbsent, NoPlan, Node, Slot, Step, config, system};
use crate::host::{Entry, Kind, Listing, MAX_TREE_BYTES, Question};
use crate::mountinfo::{Mount, MountId, MountTable};
use crate::problem::{Code, Notice, Problem, Stage};
use crate::spec::Mode;
use crate::text::AbsPath;

/// A plain file at skeleton level is copied up to this size, and bound above it.
const COPY_BYTES: u64 = 1 << 20;

const WORK: &[u8] = b"work-";

/// Whether what lies on such a file system is read-only in place of an overlay: without a word, or with a warning.
fn refused(path: &AbsPath, fstype: &[u8]) -> (bool, bool) {
    let below = |top: &[u8]| match path.bytes().strip_prefix(top) {
        Some(rest) => rest.is_empty() || rest.first() == Some(&b'/'),
        None => false,
    };
    let silently = below(b"/dev")
        || below(b"/sys")
        || matches!(
            fstype,
            b"cgroup" | b"cgroup2" | b"fuse.lxcfs" | b"sysfs" | b"proc"
        );
    let cannot = matches!(
        fstype,
        b"autofs" | b"vfat" | b"msdos" | b"exfat" | b"ntfs" | b"ntfs3" | b"fuseblk" | b"fuse"
    ) || fstype.starts_with(b"fuse.");
    (silently, cannot)
}

impl Builder<'_> {
    /// An overlay over a directory of the host, whatever is mounted below it. `named` tells whether the job named the mount
    /// that it lies on: then a read-only mount is written over, as was asked; elsewhere it stays read-only.
    pub(super) fn overlay(
        &mut self,
        path: &AbsPath,
        bits: u32,
        mount: MountId,
        named: bool,
    ) -> Result<(), NoPlan> {
        self.pointer = self.pointer_of(path);
        let (Some(table), Some(host)) = (self.table(), self.host_of(path)) else {
            return Ok(());
        };
        let Some(fstype) = table.get(mount).map(|mount| mount.fstype.as_slice()) else {
            // The mount table has no root: nothing can be said, so nothing is written over.
            self.show(path, Mode::ReadOnly, self.may_vanish());
            return Ok(());
        };
        let (silently, cannot) = refused(path, fstype);
        if silently || cannot {
            if matches!(self.area(path), (top, Area::Host { .. }) if &top == path) {
                // Met on the way already.
                return Ok(());
            }
            if !silently {
                let name = String::from_utf8_lossy(fstype);
                let message = format!(
                    "A {name} file system cannot be the lower layer of an overlay, so it is read-only."
                );
                self.warnings.push(Notice::new(
                    "overlay-read-only",
                    Some(path.bytes()),
                    message,
                ));
            }
            // Where it is read-only already, there is nothing to be done.
            let shown = matches!(self.area(path), (top, Area::Host { mode: Mode::ReadOnly, .. }) if !apart(&top, path));
            if !shown {
                self.show(path, Mode::ReadOnly, self.may_vanish());
            }
            return Ok(());
        }
        if table.any_below(mount, &host) || self.holds_scratch(&host) {
            if let Some((place, true)) = self.layer(path, bits) {
                let copy = self.copy_of(self.scratch, &place);
                self.mount(copy, path);
                self.own(path, self.scratch, place);
            }
            return self.split(path, mount, named);
        }
        if fstype == b"overlay" {
            match self.facts.stackable.get(&host) {
                None => self.ask(Question::Stackable(host.clone())),
                Some(true) => {}
                Some(false) => return self.copied(path),
            }
        }
        if let Some((upper, _)) = self.layer(path, bits) {
            let slot = self.slot();
            self.kernel_overlay(slot, &host, &upper, !named, self.may_vanish());
            self.mount(slot, path);
            self.set_area(path, Area::Overlay { upper, lower: host });
        }
        Ok(())
    }

    /// Whether the disk scratch of this very job lies below a directory of the host.
    pub(super) fn holds_scratch(&self, host: &AbsPath) -> bool {
        let scratch = self.facts.disk_scratch.as_ref();
        scratch.is_some_and(|(scratch, _)| host.is_above(scratch))
    }

    /// A directory of the scratch space for what is written at a path, and whether it is another than the one that is seen
    /// there. Inside a skeleton it is the same; inside another overlay that one's upper layer must not know of it.
    fn layer(&mut self, path: &AbsPath, bits: u32) -> Option<(Vec<u8>, bool)> {
        let (top, area) = self.area(path);
        if !self.ensure_dir(path, bits) {
            return None;
        }
        match area {
            Area::Own {
                slot, path: base, ..
            } if slot == self.scratch
                && &top != path
                && (self.sealed || !self.closed.contains(&top)) =>
            {
                Some((within(&base, top.rest_of(path)), false))
            }
            _ => Some((self.nested_dir(self.scratch, bits), true)),
        }
    }

    /// An overlay over a directory of the host.
    pub(super) fn kernel_overlay(
        &mut self,
        slot: Slot,
        lower: &AbsPath,
        upper: &[u8],
        keep_read_only: bool,
        if_absent: IfAbsent,
    ) {
        let volatile = self.scratch != self.memory;
        let work = [WORK, self.layers.to_string().as_bytes()].concat();
        self.layers += 1;
        self.make_dir(self.scratch, &work, 0o700);
        self.overlays = true;
        let userxattr = self.xattr().unwrap_or(true);
        self.prepare(Step::Overlay {
            slot,
            lower: vec![At::host(lower)],
            upper: At::below(self.scratch, upper),
            work: At::below(self.scratch, &work),
            userxattr,
            volatile,
            keep_read_only,
            if_absent,
        });
        if self.sealed {
            let attributes = Attributes {
                read_only: true,
                ..Attributes::default()
            };
            let at = At::slot(slot);
            self.prepare(Step::Restrict { at, attributes });
        }
    }

    /// Asks for the entries of all directories that are going to be split. Those on the way to a mount point are known from the
    /// mount table, before the directory above them is read: so the host is asked once, not once for each level.
    pub(super) fn list_ahead(&mut self) {
        let Some(table) = self.facts.mounts.as_ref() else {
            return;
        };
        let overlays = self.directories.iter();
        let overlays = overlays.filter(|(_, directory)| directory.mode == Mode::Overlay);
        for path in overlays.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            if let Some(host) = self.host_of(&path) {
                self.list_ways(table, &path, table.holding(&host));
            }
        }
    }

    fn list_ways(&mut self, table: &MountTable, path: &AbsPath, mount: MountId) {
        let Some(host) = self.host_of(path) else {
            return;
        };
        let kind = table.get(mount).map(|mount| refused(path, &mount.fstype));
        if kind != Some((false, false)) || !table.any_below(mount, &host) {
            return;
        }
        if matches!(self.list(&host), Some(listing) if !matches!(listing, Listing::Entries(_))) {
            return;
        }
        for name in table.ways_below(mount, &host) {
            let (child, host) = (path.join(name), host.join(name));
            if !self.is_other(&child) && !system::supplied(self, &child) {
                self.list_ways(
                    table,
                    &child,
                    table.mounted_at(mount, &host).unwrap_or(mount),
                );
            }
        }
    }

    /// Whether a directory in an overlay gets a mode or content of its own.
    fn is_other(&self, path: &AbsPath) -> bool {
        let own = self.directories.get(path);
        own.is_some_and(|directory| directory.mode != Mode::Overlay || self.sealed)
    }

    /// A skeleton directory in place of an overlay that the kernel refuses because something is mounted below it: what has
    /// no mounts below becomes an overlay each, the rest is made anew.
    pub(super) fn split(
        &mut self,
        path: &AbsPath,
        mount: MountId,
        named: bool,
    ) -> Result<(), NoPlan> {
        let Some(host) = self.host_of(path) else {
            return Ok(());
        };
        let entries = match self.list(&host) {
            None => return Ok(()),
            Some(Listing::Entries(entries)) => entries,
            Some(Listing::Missing) => {
                self.degraded.push(Notice::new(
                    "mount-vanished",
                    Some(path.bytes()),
                    "The directory vanished while the container was planned.",
                ));
                return Ok(());
            }
            Some(Listing::Denied | Listing::TooLarge) => {
                let message = "Something is mounted below this directory, which cannot be read, so it is hidden as a whole.";
                self.warnings
                    .push(Notice::new("directory-hidden", Some(path.bytes()), message));
                let bits = self.bits(path);
                self.hide(path, self.scratch, bits);
                return Ok(());
            }
        };
        let Some(table) = self.table() else {
            return Ok(());
        };
        self.expanded.insert(path.clone());
        for entry in entries {
            let child = path.join(&entry.name);
            self.child(&child, entry, table, mount, named)?;
        }
        Ok(())
    }

    /// One entry of a skeleton.
    fn child(
        &mut self,
        child: &AbsPath,
        entry: &Entry,
        table: &MountTable,
        on: MountId,
        named: bool,
    ) -> Result<(), NoPlan> {
        let Some(host) = self.host_of(child) else {
            return Ok(());
        };
        if entry.kind != Kind::Directory {
            if config::generates(self.job, child) {
                return Ok(());
            }
            if table.mounted_at(on, &host).is_some() {
                let message =
                    "A file that is a mount point cannot be in an overlay, so it is read-only.";
                self.warnings.push(Notice::new(
                    "overlay-read-only",
                    Some(child.bytes()),
                    message,
                ));
                self.bind_file(child);
                return Ok(());
            }
            self.copied_entry(child, entry, COPY_BYTES);
            return Ok(());
        }
        if self
            .facts
            .disk_scratch
            .as_ref()
            .is_some_and(|(scratch, _)| *scratch == host)
        {
            return Ok(());
        }
        // Own directories stand in for what gets a mount or content of its own later.
        let elsewhere = self.is_other(child);
        let home = self.home.as_ref() == Some(child);
        self.ensure_dir(child, if home { 0o700 } else { entry.mode });
        if elsewhere || system::supplied(self, child) {
            return Ok(());
        }
        let mounted = table.mounted_at(on, &host);
        // A directory of our own is all that an empty one needs: of an overlay's own directory, too, the owner is the target and
        // the mode is the host's. What the host gets there later is not seen.
        let wide = |mount: &Mount| !mount.narrow && refused(child, &mount.fstype) == (false, false);
        let wide = table.get(on).is_some_and(wide);
        if entry.empty && wide && mounted.is_none() && !table.any_below(on, &host) {
            self.expanded.insert(child.clone());
            return Ok(());
        }
        // A named mode is for the mount of its directory; what is mounted deeper is only met on the way.
        let named = mounted.is_none() && named || self.directories.contains_key(child);
        self.overlay(child, entry.mode, mounted.unwrap_or(on), named)
    }

    /// A file of the host, read-only.
    fn bind_file(&mut self, path: &AbsPath) {
        let (Some(host), Some(target)) = (self.host_of(path), self.writable(path)) else {
            return;
        };
        self.prepare(Step::MakeNode {
            at: target,
            node: Node::File,
            mode: 0o644,
        });
        let slot = self.slot();
        self.prepare(Step::Clone {
            slot,
            from: At::host(&host),
            recursive: false,
            if_absent: self.may_vanish(),
        });
        let attributes = Attributes {
            read_only: true,
            no_suid: true,
            no_dev: true,
            no_exec: false,
        };
        self.prepare(Step::Restrict {
            at: At::slot(slot),
            attributes,
        });
        self.mount(slot, path);
    }

    /// An entry that is no directory, made anew in our own file system.
    fn copied_entry(&mut self, path: &AbsPath, entry: &Entry, most: u64) {
        let mode = entry.mode & 0o777;
        match &entry.kind {
            Kind::Directory => {}
            Kind::File {
                bytes,
                readable: true,
            } if *bytes <= most => {
                if let (Some(host), Some(at)) = (self.host_of(path), self.writable(path)) {
                    self.prepare(Step::Copy {
                        from: At::host(&host),
                        at,
                        mode,
                        bytes: *bytes,
                        modified: entry.modified,
                    });
                }
            }
            Kind::File { .. } => {
                let message = "This file lies beside a mount point and is too large or not readable, so it is bound read-only.";
                self.degraded
                    .push(Notice::new("file-read-only", Some(path.bytes()), message));
                self.bind_file(path);
            }
            Kind::Symlink(to) => {
                self.link(path, to);
            }
            Kind::Fifo | Kind::Socket => {
                let node = if entry.kind == Kind::Fifo {
                    Node::Fifo
                } else {
                    Node::Socket
                };
                if let Some(at) = self.writable(path) {
                    self.prepare(Step::MakeNode { at, node, mode });
                }
            }
            Kind::Device => {
                let message = "This device file lies beside a mount point, where it cannot be made anew, so it is left out.";
                self.degraded
                    .push(Notice::new("device-left-out", Some(path.bytes()), message));
            }
        }
    }

    /// A copy of a small directory, where the kernel takes no further overlay.
    fn copied(&mut self, path: &AbsPath) -> Result<(), NoPlan> {
        let Some(host) = self.host_of(path) else {
            return Ok(());
        };
        let entries = match self.facts.trees.get(&host) {
            None => {
                self.ask(Question::Tree(host));
                return Ok(());
            }
            Some(Listing::Entries(entries)) => entries,
            Some(Listing::Denied | Listing::Missing) => {
                let bits = self.bits(path);
                self.hide(path, self.scratch, bits);
                let message = "The directory cannot be read, and the kernel takes no further overlay on it, so it is hidden.";
                self.degraded
                    .push(Notice::new("directory-hidden", Some(path.bytes()), message));
                return Ok(());
            }
            Some(Listing::TooLarge) => {
                let mut problem = Problem::new(
                    Code::OverlayDepth,
                    Stage::Mounts,
                    format!("{} lies on two overlays already, and the kernel takes no third.", path.lossy()),
                )
                .path(path.bytes())
                .hint("Give the directory (or /) the mode read-only in the inner job; only small directories are copied instead.");
                problem.at.clone_from(&self.pointer);
                return Err(problem.into());
            }
        };
        let message = "The kernel takes no third overlay, so the directory was copied into the scratch space.";
        self.degraded
            .push(Notice::new("overlay-copied", Some(path.bytes()), message));
        let bits = self.bits(path);
        self.hide(path, self.scratch, bits);
        self.copied.insert(path.clone());
        for entry in entries {
            let child = AbsPath::new(&[path.bytes(), b"/", entry.name.as_slice()].concat());
            let Ok(child) = child else { continue };
            // What another mode is for is not copied; a directory is only made as the place of what it gets.
            let other = self.mode_of(&child) != Mode::Overlay;
            let directory = entry.kind == Kind::Directory;
            if directory && (!other || self.directories.contains_key(&child)) {
                let home = self.home.as_ref() == Some(&child);
                self.ensure_dir(&child, if home { 0o700 } else { entry.mode });
            } else if !directory && !other && !config::generates(self.job, &child) {
                self.copied_entry(&child, entry, MAX_TREE_BYTES);
            }
        }
        Ok(())
    }
}
