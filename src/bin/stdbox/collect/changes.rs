//! What the job changed: what is there now, compared with what was there before. Ring 1.
//!
//! Before is what stdbox put there, else what the host's directory below has. Only the top of a deleted tree is listed.

use super::Sources;
use super::tree::{Cursor, LONGEST, entries, is_whiteout, look, open_directory, open_place, state};
use crate::sys::{fd, transfer};
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::FileStat;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use stdbox::plan::{Below, Layer, Place, Written};
use stdbox::problem::Notice;
use stdbox::results::{Change, Kind, State, compare};
use stdbox::text::Text;

/// More are not listed: their paths alone would take too much memory.
const MOST: usize = 1_000_000;

/// Lists the changes, by path.
pub(super) fn find(
    written: &Written,
    sources: &Sources,
    stop: &dyn Fn() -> bool,
) -> (Vec<Change>, Vec<Notice>) {
    let mut made: BTreeMap<(usize, &[u8]), Vec<&[u8]>> = BTreeMap::new();
    for (slot, path) in written.generated.keys() {
        let slash = path.iter().rposition(|&b| b == b'/');
        let parent = path.get(..slash.unwrap_or(0)).unwrap_or_default();
        let name = path.get(slash.map_or(0, |slash| slash + 1)..);
        made.entry((slot.0, parent))
            .or_default()
            .push(name.unwrap_or_default());
    }
    let places = written.layers.iter().map(|layer| &layer.place).collect();
    let mut finder = Finder {
        written,
        made,
        places,
        stop,
        changes: Vec::new(),
        deep: false,
    };
    let mut degraded = Vec::new();
    for layer in &written.layers {
        let Some(top) = sources.get(&layer.place.0) else {
            continue;
        };
        if let Err(end) = finder.layer(layer, top.as_fd()) {
            let message = match end {
                End::Scratch(errno) => format!(
                    "What the job changed could not be read to the end: {} ({errno:?}).",
                    errno.desc()
                ),
                End::Many => format!("There are more changes than the {MOST} that are listed."),
                End::Stopped => {
                    "stdbox was told to stop while it listed changes; the rest is not listed."
                        .to_owned()
                }
            };
            let code = if matches!(end, End::Many) {
                "changes-limited"
            } else {
                "changes-incomplete"
            };
            degraded.push(Notice::new(code, Some(layer.at.bytes()), message));
            if !matches!(end, End::Scratch(_)) {
                break;
            }
        }
    }
    if finder.deep {
        let message = format!(
            "Some paths are longer than the {LONGEST} bytes that the kernel takes; they are not listed."
        );
        degraded.push(Notice::new("changes-limited", None, message));
    }
    let mut changes = finder.changes;
    changes.sort_unstable();
    (changes, degraded)
}

enum End {
    Scratch(Errno),
    Many,
    Stopped,
}

struct Finder<'a> {
    written: &'a Written,
    /// Names of what stdbox put into a directory of its own.
    made: BTreeMap<(usize, &'a [u8]), Vec<&'a [u8]>>,
    places: BTreeSet<&'a Place>,
    stop: &'a dyn Fn() -> bool,
    changes: Vec<Change>,
    deep: bool,
}

struct Frame {
    entries: Vec<CString>,
    /// Whether a directory of the host is compared with this one, and whether it shows through.
    lower: bool,
    merged: bool,
    path: usize,
    place: usize,
}

/// Where the walk stands.
struct Spot {
    path: Vec<u8>,
    place: Place,
    here: Cursor,
    /// The directory of the host, as deep as there is one.
    lower: Option<Cursor>,
    /// Whether this is an upper layer, whose marks mean something; elsewhere they are just what the job made.
    upper: bool,
    userxattr: bool,
}

impl Spot {
    fn push(&mut self, name: &[u8]) {
        if self.path != b"/" {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        if !self.place.1.is_empty() {
            self.place.1.push(b'/');
        }
        self.place.1.extend_from_slice(name);
    }
}

impl Finder<'_> {
    fn layer(&mut self, layer: &Layer, top: BorrowedFd<'_>) -> Result<(), End> {
        let (top, found) = match open_place(top, &layer.place.1) {
            Ok(top) => top,
            // It went with a directory around it, where that is told.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            Err(errno) => return Err(End::Scratch(errno)),
        };
        let (lower, userxattr) = match &layer.below {
            Below::Nothing => (None, false),
            Below::Lower { path, userxattr } => {
                let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
                let lower = fd::open_plain(libc::AT_FDCWD, path.as_cstr(), flags);
                (
                    lower.ok().map(|lower| Cursor::new(fd::owned(lower))),
                    *userxattr,
                )
            }
        };
        let before = self.written.generated.get(&layer.place).cloned();
        self.note(
            layer.at.bytes(),
            before.as_ref(),
            before.as_ref().map(|_| state(&found)).as_ref(),
        )?;
        let mut spot = Spot {
            path: layer.at.bytes().to_vec(),
            place: layer.place.clone(),
            here: Cursor::new(top),
            lower,
            upper: layer.below != Below::Nothing,
            userxattr,
        };
        let merged = spot.lower.is_some() && !spot.is_opaque();
        let lower = spot.lower.is_some();
        let mut frames = vec![self.frame(&mut spot, lower, merged)?];
        while let Some(frame) = frames.last_mut() {
            spot.path.truncate(frame.path);
            spot.place.1.truncate(frame.place);
            let Some(name) = frame.entries.pop() else {
                let lower = frame.lower;
                frames.pop();
                if !frames.is_empty() {
                    spot.here.leave().map_err(End::Scratch)?;
                    if lower && let Some(cursor) = &mut spot.lower {
                        cursor.leave().map_err(End::Scratch)?;
                    }
                }
                continue;
            };
            let (lower, merged) = (frame.lower, frame.merged);
            spot.push(name.to_bytes());
            if let Some((lower, merged)) = self.entry(&mut spot, &name, lower, merged)? {
                if (self.stop)() {
                    return Err(End::Stopped);
                }
                frames.push(self.frame(&mut spot, lower, merged)?);
            }
        }
        Ok(())
    }

    /// Begins with a directory: what is gone is told at once, what is there comes later.
    fn frame(&mut self, spot: &mut Spot, lower: bool, merged: bool) -> Result<Frame, End> {
        let found = entries(spot.here.fd()).map_err(End::Scratch)?;
        let entries: Vec<CString> = found.into_iter().map(|(name, _)| name).collect();
        let there = |name: &[u8]| {
            entries
                .binary_search_by(|entry| name.cmp(entry.to_bytes()))
                .is_ok()
        };
        let mut gone: BTreeSet<Vec<u8>> = BTreeSet::new();
        if let Some(names) = self.made.get(&(spot.place.0.0, spot.place.1.as_slice())) {
            gone.extend(
                names
                    .iter()
                    .filter(|name| !there(name))
                    .map(|name| name.to_vec()),
            );
        }
        if lower && !merged {
            // What cannot be read could not be read by the job either.
            let below = spot
                .lower
                .as_ref()
                .map_or(Ok(Vec::new()), |lower| super::tree::entries(lower.fd()));
            let below = below
                .unwrap_or_default()
                .into_iter()
                .map(|(name, _)| name.into_bytes());
            gone.extend(below.filter(|name| !there(name)));
        }
        let frame = Frame {
            entries,
            lower,
            merged,
            path: spot.path.len(),
            place: spot.place.1.len(),
        };
        for name in gone {
            spot.push(&name);
            let name = CString::new(name).unwrap_or_default();
            let below = if lower { spot.below(&name) } else { None };
            let was = self.written.generated.get(&spot.place).cloned().or(below);
            self.note(&spot.path, was.as_ref(), None)?;
            spot.path.truncate(frame.path);
            spot.place.1.truncate(frame.place);
        }
        Ok(frame)
    }

    /// An entry that is there, or says that something is not. Enters a directory that is to be looked at; says how it
    /// compares with the host's.
    fn entry(
        &mut self,
        spot: &mut Spot,
        name: &CStr,
        lower: bool,
        merged: bool,
    ) -> Result<Option<(bool, bool)>, End> {
        let found = look(spot.here.fd(), name).map_err(End::Scratch)?;
        let directory = super::tree::kind(&found) == Kind::Directory;
        if directory && self.places.contains(&spot.place) {
            return Ok(None);
        }
        let inner = match directory && spot.path.len() + 2 <= LONGEST {
            true => match open_directory(spot.here.fd(), name) {
                Ok((inner, _)) => Some(inner),
                // A mount of the container's is still there, over an empty directory.
                Err(Errno::EXDEV) => return Ok(None),
                Err(errno) => return Err(End::Scratch(errno)),
            },
            false => None,
        };
        let below = if lower { spot.below(name) } else { None };
        let generated = self.written.generated.get(&spot.place);
        // What the host has under a name that stdbox took is not what the job saw.
        let was = generated.cloned().or_else(|| below.clone());
        let now = if spot.upper && is_whiteout(&found) {
            None
        } else {
            Some(spot.now(name, &found))
        };
        self.note(&spot.path, was.as_ref(), now.as_ref())?;
        if !directory {
            return Ok(None);
        }
        let Some(inner) = inner else {
            self.deep = true;
            return Ok(None);
        };
        spot.here.enter(inner).map_err(End::Scratch)?;
        // A directory that was put in the place of something else has nothing of the host's below it.
        let lower =
            below.is_some_and(|below| below.kind == Kind::Directory) && spot.enter_lower(name);
        let merged = lower && merged && !spot.is_opaque();
        Ok(Some((lower, merged)))
    }

    fn note(
        &mut self,
        path: &[u8],
        before: Option<&State>,
        after: Option<&State>,
    ) -> Result<(), End> {
        let Some((change, kind, bytes)) = compare(before, after) else {
            return Ok(());
        };
        if path.len() > LONGEST {
            self.deep = true;
            return Ok(());
        }
        if self.changes.len() >= MOST {
            return Err(End::Many);
        }
        let path = Text::from(path);
        self.changes.push(Change {
            path,
            change,
            kind,
            bytes,
        });
        Ok(())
    }
}

impl Spot {
    /// What the host has.
    fn below(&self, name: &CStr) -> Option<State> {
        let lower = self.lower.as_ref()?;
        let found = look(lower.fd(), name).ok()?;
        Some(with_link(lower.fd(), name, &found))
    }

    fn now(&self, name: &CStr, found: &FileStat) -> State {
        with_link(self.here.fd(), name, found)
    }

    fn enter_lower(&mut self, name: &CStr) -> bool {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let Some(lower) = &mut self.lower else {
            return false;
        };
        let opened = transfer::open_at(lower.fd().as_raw_fd(), name, flags, 0);
        opened.is_ok_and(|inner| lower.enter(fd::owned(inner)).is_ok())
    }

    /// Whether the upper layer says that nothing shows through here.
    fn is_opaque(&self) -> bool {
        let here = self.here.fd().as_raw_fd();
        let name = if self.userxattr {
            c"user.overlay.opaque"
        } else {
            c"trusted.overlay.opaque"
        };
        transfer::has_attribute(here, name, b'y')
    }
}

fn with_link(at: BorrowedFd<'_>, name: &CStr, found: &FileStat) -> State {
    let mut state = state(found);
    if state.kind == Kind::Symlink {
        state.link = nix::fcntl::readlinkat(at, name)
            .ok()
            .map(OsStringExt::into_vec);
    }
    state
}
