//! Directories of others in overlays, where files are expected to be made. Ring 0.

use super::resolve::Seen;
use super::tree::{Area, Builder};
use crate::host::{Caller, PathFact};
use crate::job::Job;
use crate::text::AbsPath;

/// A directory that everybody may write on every distribution, where it is not hidden.
const VAR_TMP: &str = "/var/tmp";

/// Directories of others in which a job expects to make files: those for temporary ones, and what lies above the caller's home.
pub(super) fn places_of_others(job: &Job, caller: &Caller) -> Vec<AbsPath> {
    let variable = |name: &[u8]| {
        let of_caller = caller.environ.iter().find_map(|pair| {
            let value = pair.strip_prefix(name)?.strip_prefix(b"=")?;
            AbsPath::new(value).ok()
        });
        let set = job.env.set.iter().find(|(set, _)| set == name);
        set.map_or(of_caller, |(_, value)| AbsPath::new(value).ok())
    };
    // The home directory itself is the caller's own, and is copied up with all that belongs to it.
    let above_home = variable(b"HOME").and_then(|home| home.parent());
    [
        Some(AbsPath::fixed(VAR_TMP)),
        variable(b"TMPDIR"),
        above_home,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A directory of another owner cannot be copied up where one id is mapped, so nothing could be made in it. These are made in
/// the upper layer with the bits that they have; there they are the target's own, in its own layer.
pub(super) fn temporary(b: &mut Builder<'_>) {
    for path in places_of_others(b.job, &b.facts.caller) {
        if !matches!(b.area(&path), (top, Area::Overlay { .. }) if top != path) {
            continue;
        }
        match b.path_fact(&path) {
            Some(PathFact::Directory { .. }) => b.way_to(&path),
            Some(PathFact::Symlink { .. }) => {
                if let Ok((real, Seen::Directory)) = b.resolve(&path, true, Builder::seen) {
                    b.way_to(&real);
                }
            }
            _ => {}
        }
    }
}
