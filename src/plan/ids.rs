//! Which ids there are in the container, and who may write that down. Ring 0.

use super::{IdMaps, Kept, MapWriter, NoPlan};
use crate::host::{Caller, HostFacts, IdFacts, Question};
use crate::job::{Job, User};
use crate::problem::{Code, Notice, Problem, Stage};
use crate::remedy;
use crate::spec::IdMap;
use crate::subid::IdRange;

/// The kernel takes no more lines (user_namespaces(7)), and no more bytes than fit into a page.
const MAX_LINES: usize = 340;
const MAX_BYTES: usize = 4095;

/// The maps and what follows from them.
pub(super) struct Ids {
    pub(super) maps: IdMaps,
    /// Whether some process of the container can be the real root, to whom the kernel's settings belong.
    pub(super) real_root: bool,
    /// Whether some process of the container can be the owner of init's files in /proc.
    pub(super) owns_init: bool,
    pub(super) degraded: Vec<Notice>,
    /// Every id is itself; for the user namespace of a target that keeps capabilities.
    inner: IdMaps,
}

/// One line of a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Line {
    inside: u32,
    outside: u32,
    count: u32,
}

/// One id map.
#[derive(Debug)]
struct Map {
    lines: Vec<Line>,
    bytes: usize,
    complete: bool,
}

/// Which ids of the job's are the caller's which.
///
/// # Errors
/// [`NoPlan::Ask`] as long as the ids of the caller are not known; else why there can be no range.
pub(super) fn ids(job: &Job, facts: &HostFacts) -> Result<Ids, NoPlan> {
    let caller = &facts.caller;
    if job.user.map == IdMap::Single {
        let line = |inside, outside| {
            vec![Line {
                inside,
                outside,
                count: 1,
            }]
        };
        let (uid, gid) = (
            line(job.user.uid, caller.uid),
            line(job.user.gid, caller.gid),
        );
        return Ok(Ids {
            maps: maps(&uid, &gid, MapWriter::Itself),
            real_root: caller.real_root,
            owns_init: caller.real_root,
            degraded: Vec::new(),
            inner: maps(&itself(&uid), &itself(&gid), MapWriter::Itself),
        });
    }
    let Some(own) = &facts.ids else {
        return Err(NoPlan::Ask(vec![Question::Ids]));
    };
    let ([uid, gid], writer) = range(&job.user, caller, own)?;
    let mapped = |map: &Map, id: u32| map.lines.iter().any(|line| line.outside().contains(id));
    let real_root = caller.real_root
        || mapped(&uid, own.settings_owner.0)
        || mapped(&gid, own.settings_owner.1);
    let mut degraded = Vec::new();
    if !uid.complete || !gid.complete {
        let message = "The caller has more subordinate ids than the kernel takes lines for; some of them do not exist in the container.";
        degraded.push(Notice::new("ids-left-out", None, message));
    }
    Ok(Ids {
        maps: maps(&uid.lines, &gid.lines, writer),
        real_root,
        // Files of a process that cannot be dumped belong to uid 0 of the namespace that its program was started in.
        owns_init: real_root || mapped(&uid, 0) || mapped(&gid, 0),
        degraded,
        inner: maps(&itself(&uid.lines), &itself(&gid.lines), MapWriter::Outside),
    })
}

impl Ids {
    /// What a target keeps, in namespaces of its own.
    pub(super) fn kept(&self, job: &Job, names_held: bool) -> Result<Option<Kept>, NoPlan> {
        if job.capabilities.is_empty() {
            return Ok(None);
        }
        if names_held {
            let message = "A directory inside a full-access one has another mode; so that it keeps its name, the job can make no user namespaces, and capabilities need one.";
            let problem = Problem::at(Code::Contradiction, "/capabilities", message);
            return Err(problem
                .hint("Give the directory around it another mode than full-access, or keep no capabilities.")
                .into());
        }
        Ok(Some(Kept {
            capabilities: job.capabilities,
            id_maps: self.inner.clone(),
        }))
    }
}

/// Maps of all ids that the caller has, for work on what a job of its left. Inside, the caller is uid 0.
///
/// # Errors
/// Why it has no more than one.
pub fn caller_range(caller: &Caller, own: &IdFacts) -> Result<IdMaps, Problem> {
    let root = User {
        uid: 0,
        gid: 0,
        map: IdMap::Range,
        name: String::new(),
        group: String::new(),
        home: None,
    };
    let ([uid, gid], writer) = range(&root, caller, own)?;
    Ok(maps(&uid.lines, &gid.lines, writer))
}

fn range(user: &User, caller: &Caller, own: &IdFacts) -> Result<([Map; 2], MapWriter), Problem> {
    let targets = [(user.uid, caller.uid), (user.gid, caller.gid)];
    if own.privileged {
        let [uids, gids] = &own.existing;
        let made = [(targets[0], uids), (targets[1], gids)]
            .map(|((inside, outside), ids)| swapped(inside, outside, ids));
        let alone = |map: &Map| map.lines.iter().all(|line| line.count == 1) && map.lines.len() < 2;
        if made.iter().any(alone) {
            let message = "The user namespace that stdbox runs in has one id only, so there is no range of ids to map.";
            return Err(no_range(message).hint("Give the container around stdbox more ids (stdbox: \"map\":\"range\"; Podman: --uidmap), or use \"map\":\"single\"."));
        }
        return Ok((made, MapWriter::Outside));
    }
    let files = [("/etc/subuid", "newuidmap"), ("/etc/subgid", "newgidmap")];
    for ((file, _), ranges) in files.iter().zip(&own.subordinate) {
        if ranges.is_empty() {
            let name = &own.name;
            let message =
                format!("{file} gives the user {name} no ids, so there is no range to map.");
            let hint = format!(
                "Add a line such as {name}:100000:65536 to {file}, with numbers that no one else has there (usermod --add-sub{}s, as root), or use \"map\":\"single\".",
                if file.ends_with("uid") { "uid" } else { "gid" }
            );
            return Err(no_range(message).path(file.as_bytes()).hint(hint));
        }
    }
    let [Some(newuidmap), Some(newgidmap)] = &own.helpers else {
        let missing = files
            .iter()
            .zip(&own.helpers)
            .find(|(_, found)| found.is_none());
        let name = missing.map_or("newuidmap", |((_, name), _)| name);
        let message = format!("The program {name}, which maps subordinate ids, is not installed.");
        return Err(Problem::new(Code::IdMapHelper, Stage::Identity, message)
            .pointer(Some("/user/map"))
            .hint(remedy::NO_HELPERS.hint));
    };
    let [uids, gids] = &own.subordinate;
    let made = [(targets[0], uids), (targets[1], gids)]
        .map(|((inside, outside), ids)| filled(inside, outside, ids));
    Ok((
        made,
        MapWriter::Helpers([newuidmap.clone(), newgidmap.clone()]),
    ))
}

fn no_range(message: impl Into<String>) -> Problem {
    Problem::new(Code::NoIdRange, Stage::Identity, message).pointer(Some("/user/map"))
}

impl Line {
    fn outside(self) -> IdRange {
        IdRange {
            first: self.outside,
            count: self.count,
        }
    }
}

/// The parts of a range that are in none of these.
fn without(range: IdRange, taken: &[IdRange]) -> Vec<IdRange> {
    let mut left = vec![range];
    for other in taken {
        left = left
            .into_iter()
            .flat_map(|part| {
                let below = (part.first, part.end().min(other.first));
                let above = (part.first.max(other.end()), part.end());
                [below, above]
            })
            .filter(|(first, end)| first < end)
            .map(|(first, end)| IdRange {
                first,
                count: end - first,
            })
            .collect();
    }
    left
}

/// The target's id is the caller's; the ids from 0 on, but for the target's, are these. An id that stands twice counts once.
fn filled(target: u32, caller: u32, ids: &[IdRange]) -> Map {
    let mut map = Map::of(Line {
        inside: target,
        outside: caller,
        count: 1,
    });
    let mut taken = vec![IdRange {
        first: caller,
        count: 1,
    }];
    let mut next = 0;
    for &range in ids {
        for part in without(range, &taken) {
            let (mut outside, mut left) = (part.first, part.count);
            while left > 0 {
                if next == target {
                    next += 1;
                }
                let until = if next < target { target } else { u32::MAX };
                let count = left.min(until - next);
                if count == 0 {
                    map.complete = false;
                    break;
                }
                map.add(Line {
                    inside: next,
                    outside,
                    count,
                });
                (next, outside, left) = (next + count, outside + count, left - count);
            }
        }
        taken.push(range);
    }
    map
}

/// Every id is itself, but that the target's and the caller's have changed places.
fn swapped(target: u32, caller: u32, ids: &[IdRange]) -> Map {
    let mut map = Map::of(Line {
        inside: target,
        outside: caller,
        count: 1,
    });
    if target != caller && ids.iter().any(|range| range.contains(target)) {
        map.add(Line {
            inside: caller,
            outside: target,
            count: 1,
        });
    }
    let both = [target, caller].map(|first| IdRange { first, count: 1 });
    for &range in ids {
        for part in without(range, &both) {
            map.add(Line {
                inside: part.first,
                outside: part.first,
                count: part.count,
            });
        }
    }
    map
}

impl Map {
    fn of(line: Line) -> Self {
        let mut map = Self {
            lines: Vec::new(),
            bytes: 0,
            complete: true,
        };
        map.add(line);
        map
    }

    /// Adds a line, if there is room: the target's comes first, and is never the one that is left out. Lines are not joined:
    /// each must lie in one line of the map around (map_write() in kernel/user_namespace.c).
    fn add(&mut self, line: Line) {
        if !self.complete {
            return;
        }
        // The longer of the two texts that the lines become.
        let bytes = self.bytes + text(&[line]).len().max(text(&itself(&[line])).len());
        if self.lines.len() == MAX_LINES || bytes > MAX_BYTES {
            self.complete = false;
        } else {
            self.bytes = bytes;
            self.lines.push(line);
        }
    }
}

fn text(lines: &[Line]) -> Vec<u8> {
    let line = |line: &Line| format!("{} {} {}\n", line.inside, line.outside, line.count);
    lines.iter().map(line).collect::<String>().into_bytes()
}

fn maps(uid: &[Line], gid: &[Line], writer: MapWriter) -> IdMaps {
    IdMaps {
        uid: text(uid),
        gid: text(gid),
        writer,
    }
}

/// Every id that there is inside, as itself.
fn itself(lines: &[Line]) -> Vec<Line> {
    let line = |line: &Line| Line {
        outside: line.inside,
        ..*line
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ranges: &[(u32, u32)]) -> Vec<IdRange> {
        let range = |&(first, count): &(u32, u32)| IdRange { first, count };
        ranges.iter().map(range).collect()
    }

    fn shown(map: &Map) -> String {
        let complete = if map.complete { "" } else { "…" };
        String::from_utf8_lossy(&text(&map.lines)).replace('\n', ";") + complete
    }

    fn fill(target: u32, caller: u32, ids: &[(u32, u32)]) -> String {
        shown(&filled(target, caller, &ranges(ids)))
    }

    fn swap(target: u32, caller: u32, ids: &[(u32, u32)]) -> String {
        shown(&swapped(target, caller, &ranges(ids)))
    }

    #[test]
    fn filled_begins_at_0_and_goes_round_the_target() {
        assert_eq!(fill(0, 7, &[(100, 10)]), "0 7 1;1 100 10;");
        assert_eq!(fill(3, 7, &[(100, 10)]), "3 7 1;0 100 3;4 103 7;");
        assert_eq!(fill(10, 7, &[(100, 10)]), "10 7 1;0 100 10;");
        assert_eq!(fill(1000, 7, &[(100, 10)]), "1000 7 1;0 100 10;");
        assert_eq!(fill(1000, 7, &[]), "1000 7 1;");
    }

    #[test]
    fn filled_joins_ranges_in_their_order() {
        let ids = [(500, 2), (100, 3)];
        assert_eq!(fill(1000, 7, &ids), "1000 7 1;0 500 2;2 100 3;");
        assert_eq!(fill(2, 7, &ids), "2 7 1;0 500 2;3 100 3;");
        assert_eq!(fill(3, 7, &ids), "3 7 1;0 500 2;2 100 1;4 101 2;");
    }

    #[test]
    fn filled_takes_no_id_twice() {
        assert_eq!(
            fill(0, 7, &[(100, 10), (105, 10)]),
            "0 7 1;1 100 10;11 110 5;"
        );
        assert_eq!(
            fill(0, 7, &[(100, 10), (90, 100)]),
            "0 7 1;1 100 10;11 90 10;21 110 80;"
        );
        assert_eq!(fill(0, 7, &[(100, 10), (100, 10)]), "0 7 1;1 100 10;");
        assert_eq!(fill(0, 105, &[(100, 10)]), "0 105 1;1 100 5;6 106 4;");
    }

    #[test]
    fn filled_ends_where_ids_end() {
        assert_eq!(fill(0, 7, &[(8, u32::MAX - 8)]), "0 7 1;1 8 4294967287;");
        let ids = [(0, u32::MAX)];
        assert_eq!(
            fill(u32::MAX - 1, 7, &ids),
            "4294967294 7 1;0 0 7;7 8 4294967287;"
        );
    }

    #[test]
    fn maps_keep_to_the_kernels_bounds() {
        let one_each: Vec<(u32, u32)> = (0..1000).map(|i| (i * 2 + 10, 1)).collect();
        let map = filled(0, 7, &ranges(&one_each));
        assert_eq!((map.lines.len(), map.complete), (MAX_LINES, false));
        let far: Vec<(u32, u32)> = (0..1000).map(|i| (i * 2 + 4_000_000_000, 1)).collect();
        let map = filled(0, 7, &ranges(&far));
        let bytes = text(&map.lines).len();
        assert!(bytes <= MAX_BYTES && bytes > MAX_BYTES - 40, "{bytes}");
        assert!(!map.complete);
        assert_eq!(map.lines.first().map(|line| line.outside), Some(7));
    }

    #[test]
    fn swapped_is_the_identity_but_for_two_ids() {
        let all = [(0, u32::MAX)];
        assert_eq!(swap(0, 0, &all), "0 0 1;1 1 4294967294;");
        assert_eq!(
            swap(1000, 0, &all),
            "1000 0 1;0 1000 1;1 1 999;1001 1001 4294966294;"
        );
        assert_eq!(swap(7, 3, &[(0, 5)]), "7 3 1;0 0 3;4 4 1;");
        assert_eq!(swap(7, 3, &[(3, 1)]), "7 3 1;");
    }
}
