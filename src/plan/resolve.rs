//! Paths of the container, resolved as its target will see them: links lead to other places of the container, never out of
//! it. Ring 0.

use super::tree::{Area, Builder, Laid};
use crate::host::PathFact;
use crate::job::deciding;
use crate::spec::Mode;
use crate::text::AbsPath;
use nix::errno::Errno;

/// As many links as path_resolution(7) follows.
const MAX_LINKS: usize = 40;

/// What the container has at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    Missing,
    Directory,
    /// A symbolic link, with what it holds.
    Link(Vec<u8>),
    /// A file, or anything else that is not listed here.
    Other,
}

/// Why a path leads nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The host was asked, and has not answered yet.
    Unknown,
    /// The host refuses to say what is there.
    Failed(AbsPath, Errno),
    /// A part of the way is no directory.
    NotADirectory(AbsPath),
}

impl Builder<'_> {
    /// Where a path leads, and what is there. The last component is followed too if `follow` says so.
    pub(super) fn resolve(
        &mut self,
        path: &AbsPath,
        follow: bool,
        look: fn(&mut Self, &AbsPath) -> Result<Seen, Stop>,
    ) -> Result<(AbsPath, Seen), Stop> {
        let parts = |path: &[u8]| -> Vec<Vec<u8>> {
            let parts = path.split(|&b| b == b'/').rev();
            parts
                .filter(|part| !part.is_empty() && *part != b".")
                .map(<[u8]>::to_vec)
                .collect()
        };
        let mut pending = parts(path.bytes());
        let (mut at, mut here, mut links) = (AbsPath::root(), Seen::Directory, 0);
        while let Some(part) = pending.pop() {
            if part == b".." {
                if here == Seen::Missing {
                    return Err(Stop::Failed(at, Errno::ENOENT));
                }
                at = at.parent().unwrap_or(at);
                here = Seen::Directory;
                continue;
            }
            let next = at.join(&part);
            if next.bytes().len() > 4095 {
                return Err(Stop::Failed(path.clone(), Errno::ENAMETOOLONG));
            }
            let found = if here == Seen::Missing {
                Seen::Missing
            } else {
                look(self, &next)?
            };
            match found {
                Seen::Link(to) if follow || !pending.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Stop::Failed(path.clone(), Errno::ELOOP));
                    }
                    if to.first() == Some(&b'/') {
                        at = AbsPath::root();
                    }
                    pending.extend(parts(&to));
                }
                Seen::Other | Seen::Link(_) if !pending.is_empty() => {
                    return Err(Stop::NotADirectory(next));
                }
                found => (at, here) = (next, found),
            }
        }
        Ok((at, here))
    }

    /// What the container has at a path, as far as it is planned.
    pub(super) fn seen(&mut self, path: &AbsPath) -> Result<Seen, Stop> {
        let (top, area) = self.area(path);
        if &top == path && !matches!(area, Area::Host { .. }) {
            return Ok(Seen::Directory);
        }
        let rest = top.rest_of(path);
        let (slot, base, lower) = match area {
            Area::Own { slot, path, .. } => (slot, path, None),
            Area::Overlay { upper, lower } => (self.scratch, upper, Some(lower)),
            Area::Host { from, .. } => return self.on_host(&from.descend(rest)),
            Area::Stack { layers } => {
                for layer in layers {
                    match self.on_host(&layer.descend(rest))? {
                        Seen::Missing => {}
                        found => return Ok(found),
                    }
                }
                return Ok(Seen::Missing);
            }
        };
        let place = (slot, within(&base, rest));
        if self.made.contains(&place) {
            return Ok(Seen::Directory);
        }
        match (self.files.get(&place), lower) {
            (Some(Laid::Link(to)), _) => Ok(Seen::Link(to.clone())),
            (Some(Laid::File), _) => Ok(Seen::Other),
            (None, Some(lower)) => self.on_host(&lower.descend(rest)),
            (None, None) => Ok(Seen::Missing),
        }
    }

    /// What the container will have at a path, before anything is planned: the modes decide, and the links that are to be made.
    pub(super) fn foreseen(&mut self, path: &AbsPath) -> Result<Seen, Stop> {
        if let Some(to) = self.links.get(path) {
            return Ok(Seen::Link(to.clone()));
        }
        let hidden = path
            .parent()
            .and_then(|parent| deciding(&self.directories, &parent).cloned());
        if hidden.is_some_and(|directory| directory.mode == Mode::Hidden)
            && !self.directories.contains_key(path)
        {
            let mut named = self.directories.keys();
            let on_the_way = named.any(|named| path.is_above(named));
            return Ok(if on_the_way {
                Seen::Directory
            } else {
                Seen::Missing
            });
        }
        match self.host_of(path) {
            Some(host) => self.on_host(&host),
            None => Ok(Seen::Missing),
        }
    }

    /// What the tree that the modes apply to has at a path.
    pub(super) fn untouched(&mut self, path: &AbsPath) -> Result<Seen, Stop> {
        self.on_host(&self.base.descend(AbsPath::root().rest_of(path)))
    }

    fn on_host(&mut self, path: &AbsPath) -> Result<Seen, Stop> {
        match self.host_fact(path) {
            None => Err(Stop::Unknown),
            Some(PathFact::Missing) => Ok(Seen::Missing),
            Some(PathFact::Failed(errno)) => {
                Err(Stop::Failed(path.clone(), Errno::from_raw(errno)))
            }
            Some(PathFact::Denied) => Err(Stop::Failed(path.clone(), Errno::EACCES)),
            Some(PathFact::Symlink {
                link: Some(link), ..
            }) => Ok(Seen::Link(link)),
            // What was a directory when it was looked at on the way is a link now.
            Some(PathFact::Symlink { link: None, .. }) => {
                Err(Stop::Failed(path.clone(), Errno::ELOOP))
            }
            Some(PathFact::Directory { .. }) => Ok(Seen::Directory),
            Some(PathFact::File | PathFact::Other) => Ok(Seen::Other),
        }
    }
}

/// A path below a place in one of our own file systems, both of which may be empty.
pub(super) fn within(base: &[u8], rest: &[u8]) -> Vec<u8> {
    match (base.is_empty(), rest.is_empty()) {
        (_, true) => base.to_vec(),
        (true, false) => rest.to_vec(),
        (false, false) => [base, b"/", rest].concat(),
    }
}
