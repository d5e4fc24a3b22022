//! /dev: a small one of the container's own, or the host's. Ring 0.

use super::system::{FORBIDDING, HARMLESS, named, supplied};
use super::tree::{Area, Builder};
use super::{At, Attributes, Base, IfAbsent, Node, Slot, Step};
use crate::host::PathFact;
use crate::problem::Notice;
use crate::spec::{Dev, Mode};
use crate::text::AbsPath;
use std::ffi::CStr;

/// Device files that lead nowhere outside the container.
const NODES: [&CStr; 6] = [c"null", c"zero", c"full", c"random", c"urandom", c"tty"];

/// What udev(7) links in every /dev.
const DEV_LINKS: [(&CStr, &CStr); 5] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];

const DEV: &[u8] = b"dev";

/// The own /dev.
pub(super) fn minimal_dev(b: &mut Builder<'_>) {
    let dev = AbsPath::fixed("/dev");
    if !b.ensure_dir(&dev, 0o755) {
        let message = "There is no /dev directory, and the root directory cannot get one, so there are no device files.";
        return b
            .degraded
            .push(Notice::new("dev-missing", Some(b"/dev"), message));
    }
    b.make_dir(b.memory, DEV, 0o755);
    for (name, to) in DEV_LINKS {
        b.prepare(Step::Symlink {
            at: in_dev(b.memory, name),
            to: to.to_owned(),
        });
    }
    b.make_dir(b.memory, b"dev/shm", 0o1777);
    b.make_dir(b.memory, b"dev/pts", 0o755);
    b.make_dir(b.memory, b"dev/mqueue", 0o1777);
    let copy = b.copy_of(b.memory, DEV);
    let at = b.inside(&dev);
    b.attach_step(Step::Attach {
        slot: copy,
        at,
        keep: true,
    });
    let there = b.is_host_directory(&dev);
    if !there {
        let message = "The host has no /dev directory, so plain files stand for the device files.";
        b.degraded
            .push(Notice::new("dev-missing", Some(b"/dev"), message));
    } else if b.devices() == Some(false) {
        let message = "The host's device files cannot be opened, because /dev is mounted with nodev, it seems.";
        b.degraded
            .push(Notice::new("dev-missing", Some(b"/dev"), message));
    }
    // Where it is a directory, one descriptor leads to all of them.
    let opened = (b.scratch_place == dev).then(|| b.slot());
    if let Some(slot) = opened {
        b.early(Step::Open {
            slot,
            at: At::host(&dev),
        });
    }
    for name in NODES {
        b.prepare(Step::MakeNode {
            at: in_dev(b.memory, name),
            node: Node::File,
            mode: 0o666,
        });
        if !there {
            continue;
        }
        let node = b.slot();
        b.early(device_node(b, node, opened, name));
        b.attach_step(Step::Attach {
            slot: node,
            at: At::below(copy, name.to_bytes()),
            keep: false,
        });
    }
    for (make, name) in [(devpts as fn(Slot) -> Step, c"pts"), (mqueue, c"mqueue")] {
        let slot = b.slot();
        b.prepare(make(slot));
        b.attach_step(Step::Attach {
            slot,
            at: At::below(copy, name.to_bytes()),
            keep: false,
        });
    }
    // One call makes all of it private.
    let attributes = Attributes {
        no_suid: true,
        ..Attributes::default()
    };
    let at = At::slot(copy);
    b.attach_step(Step::Restrict { at, attributes });
    b.own(&dev, b.memory, DEV.to_vec());
}

fn in_dev(memory: Slot, name: &CStr) -> At {
    At::below(memory, &[b"dev/".as_slice(), name.to_bytes()].concat())
}

fn device_node(b: &Builder<'_>, slot: Slot, dev: Option<Slot>, name: &CStr) -> Step {
    let from = match dev {
        Some(slot) => At {
            base: Base::Tree(slot),
            path: name.to_owned(),
        },
        None => At::host(&AbsPath::fixed("/dev").join(name.to_bytes())),
    };
    Step::Clone {
        slot,
        from,
        recursive: false,
        if_absent: b.may_vanish(),
    }
}

/// Pseudo terminals of the container's own: those of the host can be reached through no other instance.
fn devpts(slot: Slot) -> Step {
    let value = |text: &CStr| Some(text.to_owned());
    let options = vec![(c"ptmxmode", value(c"0666")), (c"mode", value(c"0620"))];
    Step::NewFs {
        slot,
        fstype: c"devpts",
        options,
        attributes: HARMLESS,
        read_only_fallback: false,
    }
}

fn mqueue(slot: Slot) -> Step {
    Step::NewFs {
        slot,
        fstype: c"mqueue",
        options: Vec::new(),
        attributes: FORBIDDING,
        read_only_fallback: false,
    }
}

/// The host's /dev in another tree.
pub(super) fn lend_dev(b: &mut Builder<'_>) {
    let dev = AbsPath::fixed("/dev");
    if b.job.dev == Dev::Host && supplied(b, &dev) && b.ensure_dir(&dev, 0o755) {
        b.show_from(dev.clone(), &dev, Mode::ReadOnly, b.may_vanish());
        host_dev(b);
    }
}

/// The host's /dev, without what belongs to the host's sessions.
pub(super) fn host_dev(b: &mut Builder<'_>) {
    let dev = AbsPath::fixed("/dev");
    let (top, Area::Host { .. }) = b.area(&dev) else {
        return;
    };
    if top != dev {
        return;
    }
    for (make, name) in [(devpts as fn(Slot) -> Step, c"pts"), (mqueue, c"mqueue")] {
        let path = dev.join(name.to_bytes());
        if !named(b, &path) && b.is_directory(&path) {
            let slot = b.slot();
            b.prepare(make(slot));
            b.mount(slot, &path);
        }
    }
    let shm = dev.join(b"shm");
    if !named(b, &shm) && b.is_directory(&shm) {
        b.hide(&shm, b.memory, 0o1777);
    }
    if b.real_root {
        // The real root may open every device file that it can see, so it sees the harmless ones only.
        for name in NODES {
            let path = dev.join(name.to_bytes());
            if matches!(b.path_fact(&path), Some(PathFact::Other)) {
                let node = b.slot();
                b.prepare(device_node(b, node, None, name));
                b.prepare(Step::Restrict {
                    at: At::slot(node),
                    attributes: HARMLESS,
                });
                b.mount(node, &path);
            }
        }
        // The file of the own instance: a copy of the host's would look for its terminals beside the original.
        let (from, ptmx) = (dev.join(b"pts").join(b"ptmx"), dev.join(b"ptmx"));
        if matches!(b.path_fact(&ptmx), Some(PathFact::Other)) {
            let slot = b.slot();
            let from = b.inside(&from);
            b.attach_step(Step::Clone {
                slot,
                from,
                recursive: false,
                if_absent: IfAbsent::PassOver,
            });
            b.mount(slot, &ptmx);
        }
        let message = "The target can have the real root's id outside, so the host's device files other than the usual harmless ones cannot be opened.";
        b.degraded
            .push(Notice::new("devices-closed", Some(b"/dev"), message));
    }
}
