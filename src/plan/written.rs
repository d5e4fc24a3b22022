//! Where the job's writes are, and what was there before: for `results` and `changes`. Ring 0.
//!
//! Only areas of our own are looked at when the job has ended: fresh directories, and upper layers over directories of the
//! host. What stdbox itself puts there is known from the plan's own steps.

use super::tree::{Area, Builder};
use super::{At, Base, Node, Placed, Slot, Step};
use crate::pattern::Matcher;
use crate::results::{Kind, State, Time};
use crate::text::AbsPath;
use std::collections::{BTreeMap, BTreeSet};

/// When the files that stdbox writes were modified, as they say: a time that no job reaches by accident.
pub const WRITTEN_AT: Time = (946_684_800, 0);

/// A place in a file system of our own.
pub type Place = (Slot, Vec<u8>);

/// What is below a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Below {
    /// Nothing but what stdbox put there.
    Nothing,
    /// A directory of the host, with changes kept in this place.
    Lower {
        /// Which.
        path: AbsPath,
        /// Whether the overlay keeps its marks in `user.overlay.*` attributes.
        userxattr: bool,
    },
}

/// An area of our own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layer {
    /// Its path in the container.
    pub at: AbsPath,
    /// Where its content is.
    pub place: Place,
    /// What shows through.
    pub below: Below,
}

/// Everything that the job can have written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The areas, by path in the container.
    pub layers: Vec<Layer>,
    /// The file systems that they are in.
    pub slots: Vec<Slot>,
    /// What stdbox put there.
    pub generated: BTreeMap<Place, State>,
    /// Which files are wanted, and the directory of the container that their paths start at.
    pub wanted: Option<(Matcher, AbsPath)>,
}

impl Builder<'_> {
    /// Looks back at the finished steps, and sees to it that the file systems in question stay open.
    pub(super) fn written(&mut self, steps: &mut [Placed]) -> Option<Written> {
        if self.job.results.is_none() && !self.job.changes {
            return None;
        }
        let userxattr = !self.overlays || self.xattr().unwrap_or(true);
        let scratch = self.scratch;
        let layer = |(at, area): (&AbsPath, &Area)| {
            let (place, below) = match area {
                Area::Own { slot, path, .. } => ((*slot, path.clone()), Below::Nothing),
                Area::Overlay { upper, lower } => {
                    let path = lower.clone();
                    ((scratch, upper.clone()), Below::Lower { path, userxattr })
                }
                // What is written there is the caller's already.
                Area::Host { .. } | Area::Stack { .. } => return None,
            };
            Some(Layer {
                at: at.clone(),
                place,
                below,
            })
        };
        let layers: Vec<Layer> = self.areas.iter().filter_map(layer).collect();
        let slots: BTreeSet<Slot> = layers.iter().map(|layer| layer.place.0).collect();
        for placed in steps.iter_mut() {
            if let Step::Attach { slot, keep, .. } = &mut placed.step {
                *keep |= slots.contains(slot);
            }
        }
        Some(Written {
            layers,
            slots: slots.into_iter().collect(),
            generated: steps
                .iter()
                .filter_map(|placed| generated(&placed.step))
                .collect(),
            wanted: self.wanted.clone(),
        })
    }

    /// The patterns, from the container's root.
    pub(super) fn wanted(&mut self) -> Option<(Matcher, AbsPath)> {
        let job = self.job;
        let results = job.results.as_ref()?;
        let cwd = job.cwd.as_ref().or(self.facts.caller.cwd.as_ref())?.clone();
        // What is written goes to where the links on the way lead.
        let cwd = match self.resolve(&cwd, true, Self::seen) {
            Ok((real, _)) => real,
            Err(_) => cwd,
        };
        let matcher = Matcher::new(&results.patterns, &cwd);
        let absolute = results.patterns.iter().any(|pattern| pattern.is_absolute());
        Some((matcher, if absolute { AbsPath::root() } else { cwd }))
    }
}

/// What a step leaves in a file system of our own.
fn generated(step: &Step) -> Option<(Place, State)> {
    let file = |mode, bytes, time| State {
        bytes,
        time: Some(time),
        ..State::new(Kind::File, mode)
    };
    let (at, state) = match step {
        // What else the host's directory has, mkdir(2) does not give.
        Step::MakeDir { at, mode } => (at, State::new(Kind::Directory, *mode & 0o1777)),
        Step::MakeNode { at, node, mode } => {
            let kind = match node {
                Node::File => Kind::File,
                Node::Fifo => Kind::Fifo,
                Node::Socket => Kind::Socket,
            };
            (at, State::new(kind, *mode))
        }
        Step::Symlink { at, to } => {
            let link = Some(to.to_bytes().to_vec());
            (
                at,
                State {
                    link,
                    ..State::new(Kind::Symlink, 0o777)
                },
            )
        }
        Step::Write { at, bytes, mode } => (at, file(*mode, bytes.get().len() as u64, WRITTEN_AT)),
        Step::Copy {
            at,
            mode,
            bytes,
            modified,
            ..
        } => (at, file(*mode, *bytes, *modified)),
        _ => return None,
    };
    let At {
        base: Base::Own(slot),
        path,
    } = at
    else {
        return None;
    };
    Some(((*slot, path.to_bytes().to_vec()), state))
}
