//! Bytes → mount table: whatever they hold, its questions have answers, and the same as the table read line by line has.

use std::collections::BTreeSet;
use stdbox::mountinfo::{Mount, MountId, MountTable};
use stdbox::text::AbsPath;

/// More mounts than this are read, but not compared with each other.
const MOST: usize = 48;

pub fn run(data: &[u8]) {
    let table = MountTable::parse(data, None);
    let mounts: Vec<&Mount> = table.all().collect();
    let lines = data.split(|&b| b == b'\n').count();
    assert!(mounts.len() <= lines, "a line is one mount");
    assert!(
        mounts.windows(2).all(|pair| pair[0].id < pair[1].id),
        "each id is there once"
    );
    let written: Vec<u8> = mounts.iter().flat_map(|mount| line(mount)).collect();
    assert_eq!(MountTable::parse(&written, None), table);
    if mounts.len() > MOST {
        return;
    }
    // A root of the caller's choice counts where it is there.
    for root in mounts.iter().map(|mount| mount.id).chain([u64::MAX]) {
        let chosen = MountTable::parse(data, Some(root));
        let known = table.get(root).is_some();
        assert_eq!(chosen.root(), if known { root } else { table.root() });
        assert_eq!(
            chosen.root_is_bottom(),
            chosen.get(chosen.root()).is_some_and(|m| m.parent == m.id)
        );
    }
    let top = AbsPath::root();
    let places = || mounts.iter().map(|mount| &mount.at);
    for at in places() {
        let held = table.holding(at);
        assert_eq!(held, holding(&mounts, table.root(), at), "{at:?}");
    }
    let visible: BTreeSet<MountId> = table.visible().map(|mount| mount.id).collect();
    for mount in &mounts {
        let seen = table.holding(&mount.at) == mount.id;
        assert_eq!(visible.contains(&mount.id), seen);
        for path in places().chain([&top]) {
            let below: BTreeSet<&[u8]> = mounts
                .iter()
                .filter(|other| other.parent == mount.id && path.is_above(&other.at))
                .map(|other| path.rest_of(&other.at).split(|&b| b == b'/').next())
                .map(|name| name.expect("there is always one"))
                .collect();
            assert_eq!(table.any_below(mount.id, path), !below.is_empty());
            assert_eq!(table.ways_below(mount.id, path), below);
        }
    }
}

/// The mount that is seen at each component in turn: the last of those that lie on each other there.
fn holding(mounts: &[&Mount], root: MountId, path: &AbsPath) -> MountId {
    let mut mount = root;
    for at in crate::host::chain(path).iter().skip(1) {
        let mut seen = BTreeSet::from([mount]);
        // Several on one place of one mount are none that a kernel has: the last one counts.
        while let Some(next) = mounts
            .iter()
            .rfind(|next| next.parent == mount && next.at == *at)
        {
            if next.id == mount || !seen.insert(next.id) {
                break;
            }
            mount = next.id;
        }
    }
    mount
}

/// A mount as the kernel writes it.
fn line(mount: &Mount) -> Vec<u8> {
    let mut text = format!("{} {} 0:1 ", mount.id, mount.parent).into_bytes();
    for field in [mount.root.as_slice(), mount.at.bytes()] {
        for &byte in field {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' => {
                    text.extend_from_slice(format!("\\{byte:03o}").as_bytes())
                }
                _ => text.push(byte),
            }
        }
        text.push(b' ');
    }
    text.extend_from_slice(if mount.narrow { b"ro" } else { b"rw" });
    text.extend_from_slice(b" shared:1 - ");
    text.extend_from_slice(&mount.fstype);
    text.extend_from_slice(b" source rw\n");
    text
}
