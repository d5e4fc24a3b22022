//! Own configuration files and home directory, so that nothing asks a directory service of the host. Ring 0.

use super::system::named;
use super::tree::{Area, Builder};
use super::{At, Attributes, Base, Slot, Step};
use crate::host::PathFact;
use crate::job::Job;
use crate::problem::Notice;
use crate::spec::Mode;
use crate::text::{AbsPath, Contents};
use std::ffi::CString;

/// The generated files: path and content.
fn generated(job: &Job) -> Vec<(&'static str, String)> {
    let user = &job.user;
    let home = user
        .home
        .as_ref()
        .map_or_else(|| "/".into(), AbsPath::lossy);
    let (uid, gid) = (user.uid, user.gid);
    let mut passwd = format!("{}:x:{uid}:{gid}:{}:{home}:/bin/sh\n", user.name, user.name);
    let mut group = format!("{}:x:{gid}:\n", user.group);
    for (name, id, place) in [("root", 0, "/root"), ("nobody", 65534, "/")] {
        if uid != id && user.name != name {
            passwd.push_str(&format!("{name}:x:{id}:{id}:{name}:{place}:/bin/false\n"));
        }
        let name = if id == 65534 { "nogroup" } else { name };
        if gid != id && user.group != name {
            group.push_str(&format!("{name}:x:{id}:\n"));
        }
    }
    let host = job.hostname.as_deref().unwrap_or("localhost");
    let hosts = format!("127.0.0.1\tlocalhost {host}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let dns = if job.host_network { " dns" } else { "" };
    let nsswitch = format!(
        "passwd: files\ngroup: files\nshadow: files\ngshadow: files\nhosts: files{dns}\nnetworks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\nnetgroup: files\n"
    );
    GENERATED
        .into_iter()
        .zip([passwd, group, hosts, format!("{host}\n"), nsswitch])
        .collect()
}

pub(super) const GENERATED: [&str; 5] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/nsswitch.conf",
];
const MTAB: &str = "/etc/mtab";

/// Whether a file of the container is generated, so that the host's need not be copied.
pub(super) fn generates(job: &Job, path: &AbsPath) -> bool {
    job.system_config
        && GENERATED
            .iter()
            .chain([&MTAB])
            .any(|generated| generated.as_bytes() == path.bytes())
}

/// Configuration files and home directory; returns where HOME points, if it is ours to say.
pub(super) fn configuration(b: &mut Builder<'_>) -> Option<AbsPath> {
    if !b.job.system_config {
        return b.job.user.home.clone();
    }
    let mut etc = None;
    for (path, text) in generated(b.job) {
        let path = AbsPath::fixed(path);
        let bytes = Contents::from(text.into_bytes());
        if let Some(at) = b.writable(&path) {
            b.prepare(Step::Write {
                at,
                bytes,
                mode: 0o644,
            });
            continue;
        }
        match b.path_fact(&path) {
            Some(PathFact::File) => {
                let place = [b"config-".as_slice(), path.name()].concat();
                b.prepare(Step::Write {
                    at: At::below(b.memory, &place),
                    bytes,
                    mode: 0o644,
                });
                let copy = b.copy_of(b.memory, &place);
                // The directory around it cannot be written either, or writes to it are not the container's.
                b.prepare(Step::Restrict {
                    at: At::slot(copy),
                    attributes: Attributes {
                        read_only: true,
                        ..Attributes::default()
                    },
                });
                let directory = *etc.get_or_insert_with(|| opened_etc(b));
                b.attach_step(Step::Attach {
                    slot: copy,
                    at: At {
                        base: Base::Tree(directory),
                        path: CString::new(path.name()).unwrap_or_default(),
                    },
                    keep: false,
                });
            }
            Some(_) => {
                let message = "The host has no such plain file, and the directory is not the container's own, so it is not supplied.";
                b.warnings
                    .push(Notice::new("config-skipped", Some(path.bytes()), message));
            }
            None => {}
        }
    }
    b.link(&AbsPath::fixed(MTAB), b"/proc/self/mounts");
    home(b)
}

/// One descriptor leads to all files of the directory.
fn opened_etc(b: &mut Builder<'_>) -> Slot {
    let slot = b.slot();
    let at = b.inside(&AbsPath::fixed("/etc"));
    b.attach_step(Step::Open { slot, at });
    slot
}

/// Decides whether the home directory is ours to make: where the job did not name it, and what is around it is the
/// container's own.
pub(super) fn settle_home(b: &mut Builder<'_>) {
    let Some(home) = b.job.user.home.clone().filter(|_| b.job.system_config) else {
        return;
    };
    let special = ["/", "/dev", "/proc", "/sys"].map(AbsPath::fixed);
    let special = special
        .iter()
        .any(|top| top == &home || (!top.is_root() && top.contains(&home)));
    if special || b.directories.contains_key(&home) {
        return;
    }
    let ours = matches!(
        (b.mode_of(&home), b.path_fact(&home)),
        (Mode::Hidden, _)
            | (
                Mode::Overlay,
                Some(PathFact::Directory { .. } | PathFact::Missing)
            )
    );
    if ours {
        b.imply(home.clone(), Mode::Hidden);
        b.home = Some(home);
    }
}

/// Makes the home directory: empty, writable and private.
pub(super) fn make_home(b: &mut Builder<'_>, home: &AbsPath) {
    let (_, area) = b.area(home);
    let exists = b.is_directory(home);
    let made = match area {
        // Nothing of the host is there that would have to be covered.
        Area::Overlay { .. } if !exists => b.ensure_dir(home, 0o700),
        Area::Host { .. } if !exists => false,
        _ => b.hide(home, b.scratch, 0o700),
    };
    if !made {
        b.home = None;
    }
}

/// Where HOME points.
fn home(b: &mut Builder<'_>) -> Option<AbsPath> {
    let home = b.job.user.home.clone()?;
    let special = ["/dev", "/proc", "/sys"].map(AbsPath::fixed);
    let special = special.iter().any(|top| top.contains(&home)) && !named(b, &home);
    let writable = match (b.area(&home).1, b.mode_of(&home)) {
        _ if special => false,
        (
            Area::Host {
                mode: Mode::FullAccess,
                ..
            },
            _,
        ) => b.is_directory(&home),
        (Area::Host { .. } | Area::Stack { .. }, _) => false,
        (_, Mode::Hidden | Mode::Overlay) => home.is_root() || named(b, &home) || b.home.is_some(),
        (_, Mode::ReadOnly | Mode::FullAccess) => false,
    };
    if writable {
        return Some(home);
    }
    let tmp = AbsPath::fixed("/tmp");
    let own = matches!(b.area(&tmp), (top, Area::Own { .. }) if top == tmp);
    let there = own
        || matches!(
            b.path_fact(&tmp),
            Some(PathFact::Directory { .. } | PathFact::Symlink { real: Some(_), .. })
        );
    let instead = if there { tmp } else { AbsPath::root() };
    let message = format!(
        "The home directory {} cannot be made here, so HOME is {}; below a directory with the mode hidden it could be.",
        home.lossy(),
        instead.lossy()
    );
    b.warnings
        .push(Notice::new("home-replaced", Some(home.bytes()), message));
    Some(instead)
}
