//! Result files: everything that matches and that the job wrote, in the order of names. Ring 1.

use super::copy::{Copier, Failure};
use super::output::{Blocked, Output, Writer, is_final};
use super::tree::{
    Cursor, entries, is_whiteout, look, open_directory, open_place, reopen, size, state,
};
use super::{Sources, tree};
use crate::sys::fd;
use nix::dir::Type;
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use stdbox::job::Wanted;
use stdbox::pattern::{Matcher, Reach};
use stdbox::plan::{Below, Layer, Place, Written};
use stdbox::problem::Notice;
use stdbox::results::{Delivered, Kind, Reason, Results, Skipped};
use stdbox::text::{AbsPath, Text};

/// More are not listed.
const MOST_SKIPPED: usize = 100_000;

/// Takes the files.
pub(super) fn take(
    wanted: &Wanted,
    written: &Written,
    sources: &Sources,
    output: &Output,
    stop: &dyn Fn() -> bool,
) -> (Results, Vec<Notice>) {
    let Some((matcher, base)) = &written.wanted else {
        return (Results::default(), Vec::new());
    };
    let places = written.layers.iter().map(|layer| &layer.place).collect();
    let mut taker = Taker {
        wanted,
        written,
        matcher,
        base: if base.is_root() {
            0
        } else {
            base.bytes().len()
        },
        longest: output.longest(),
        places,
        stop,
        results: Results::default(),
        degraded: Vec::new(),
        bytes: 0,
        unlisted: false,
    };
    let ended = output.writer().map_err(End::Output).and_then(|mut writer| {
        for layer in &written.layers {
            taker.layer(layer, sources, &mut writer)?;
        }
        Ok(())
    });
    if let Err(end) = ended {
        taker.degraded.push(end.notice(base));
    }
    if taker.unlisted {
        let message =
            format!("More than {MOST_SKIPPED} entries were skipped; the rest is not listed.");
        taker
            .degraded
            .push(Notice::new("results-limited", None, message));
    }
    taker.results.files.sort_unstable();
    taker.results.skipped.sort_unstable();
    taker.results.skipped.dedup();
    (taker.results, taker.degraded)
}

/// Why no more files are taken.
enum End {
    Files(u64),
    Bytes(u64),
    Output(Errno),
    Scratch(Errno),
    Stopped,
}

impl End {
    fn notice(&self, base: &AbsPath) -> Notice {
        let (code, message) = match self {
            Self::Files(most) => (
                "results-limited",
                format!(
                    "There are more files than the {most} of results.max_files; the rest was left behind."
                ),
            ),
            Self::Bytes(most) => (
                "results-limited",
                format!(
                    "The files have more bytes than the {most} of results.max_bytes; from the first that did not fit, they were left behind."
                ),
            ),
            Self::Output(errno) => (
                "results-incomplete",
                format!(
                    "The results directory takes no more: {} ({errno:?}); the rest was left behind.",
                    errno.desc()
                ),
            ),
            Self::Scratch(errno) => (
                "results-incomplete",
                format!(
                    "What the job wrote could not be read to the end: {} ({errno:?}).",
                    errno.desc()
                ),
            ),
            Self::Stopped => (
                "results-incomplete",
                "stdbox was told to stop while it took files out; the rest was left behind."
                    .to_owned(),
            ),
        };
        Notice::new(code, Some(base.bytes()), message)
    }
}

struct Taker<'a> {
    wanted: &'a Wanted,
    written: &'a Written,
    matcher: &'a Matcher,
    /// Where a path of the container begins to be a path of the results.
    base: usize,
    longest: usize,
    places: BTreeSet<&'a Place>,
    stop: &'a dyn Fn() -> bool,
    results: Results,
    degraded: Vec<Notice>,
    bytes: u64,
    unlisted: bool,
}

/// A directory on the way, with what is left to do there.
struct Frame {
    entries: Vec<(std::ffi::CString, Option<Type>)>,
    reach: Reach,
    path: usize,
    place: usize,
}

/// Where the walk stands: path in the container, and place in a file system of our own.
struct Spot {
    path: Vec<u8>,
    place: Place,
}

impl Spot {
    fn push(&mut self, name: &CStr) {
        for path in [&mut self.path, &mut self.place.1] {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
        }
    }

    fn cut(&mut self, frame: &Frame) {
        self.path.truncate(frame.path);
        self.place.1.truncate(frame.place);
    }
}

impl<'a> Taker<'a> {
    fn layer(
        &mut self,
        layer: &Layer,
        sources: &Sources,
        writer: &mut Writer<'a>,
    ) -> Result<(), End> {
        let parts = layer
            .at
            .bytes()
            .split(|&b| b == b'/')
            .filter(|part| !part.is_empty());
        let reach = parts.fold(self.matcher.root(), |reach, part| {
            self.matcher.enter(&reach, part)
        });
        let (false, Some(top)) = (reach.is_closed(), sources.get(&layer.place.0)) else {
            return Ok(());
        };
        let top = match open_place(top.as_fd(), &layer.place.1) {
            Ok((top, _)) => top,
            // It went with a directory around it.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            Err(errno) => return Err(End::Scratch(errno)),
        };
        let same = |other: &FileStat| fstat(&top).is_ok_and(|own| own.st_dev == other.st_dev);
        let mut copier = Copier::new(fstat(writer.fd()).is_ok_and(|other| same(&other)));
        let mut spot = Spot {
            // Without the leading slash, which no path of the results has.
            path: layer.at.bytes().get(1..).unwrap_or_default().to_vec(),
            place: layer.place.clone(),
        };
        let mut cursor = Cursor::new(top);
        let mut frames = vec![self.frame(&cursor, reach, &spot)?];
        while let Some(frame) = frames.last_mut() {
            spot.cut(frame);
            let Some((name, hint)) = frame.entries.pop() else {
                frames.pop();
                if !frames.is_empty() {
                    cursor.leave().map_err(End::Scratch)?;
                }
                continue;
            };
            let reach = self.matcher.enter(&frame.reach, name.to_bytes());
            if reach.is_closed() {
                continue;
            }
            spot.push(&name);
            let directory = match hint {
                Some(hint) => hint == Type::Directory,
                None => look(cursor.fd(), &name)
                    .is_ok_and(|found| tree::kind(&found) == Kind::Directory),
            };
            if !directory {
                if reach.is_matched() {
                    let whiteouts = layer.below != Below::Nothing;
                    let open = hint.is_none_or(|hint| hint == Type::File);
                    let opened = if open {
                        open_file(&cursor, &name)
                    } else {
                        None
                    };
                    self.file(
                        &cursor,
                        &name,
                        &spot,
                        opened,
                        whiteouts,
                        writer,
                        &mut copier,
                    )?;
                }
                continue;
            }
            if self.places.contains(&spot.place) {
                continue;
            }
            // There must be room for a name of one byte.
            if spot.path.len().saturating_sub(self.base) + 2 > self.longest {
                self.skip(&spot.path, Reason::TooDeep);
                continue;
            }
            if (self.stop)() {
                return Err(End::Stopped);
            }
            match open_directory(cursor.fd(), &name) {
                Ok((inner, _)) => {
                    cursor.enter(inner).map_err(End::Scratch)?;
                    frames.push(self.frame(&cursor, reach, &spot)?);
                }
                // A mount of the container's is still there, over an empty directory.
                Err(Errno::EXDEV) => {}
                Err(errno) if is_final(errno) && errno != Errno::ENOENT => {
                    return Err(End::Scratch(errno));
                }
                Err(_) => self.skip(&spot.path, Reason::Unreadable),
            }
        }
        Ok(())
    }

    fn frame(&self, cursor: &Cursor, reach: Reach, spot: &Spot) -> Result<Frame, End> {
        Ok(Frame {
            entries: entries(cursor.fd()).map_err(End::Scratch)?,
            reach,
            path: spot.path.len(),
            place: spot.place.1.len(),
        })
    }

    /// Something that matches and is no directory; opened, if it is a file.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of it is where the walk stands"
    )]
    fn file(
        &mut self,
        cursor: &Cursor,
        name: &CStr,
        spot: &Spot,
        opened: Option<(File, FileStat)>,
        whiteouts: bool,
        writer: &mut Writer<'a>,
        copier: &mut Copier,
    ) -> Result<(), End> {
        let generated = self.written.generated.get(&spot.place);
        let Some((file, found)) = opened else {
            let found = look(cursor.fd(), name);
            match found {
                Ok(found) if whiteouts && is_whiteout(&found) => {}
                Ok(found) if generated.is_some_and(|was| was.kind == tree::kind(&found)) => {}
                Ok(found) if tree::kind(&found) != Kind::File => {
                    self.skip(&spot.path, Reason::NotAFile)
                }
                _ => self.skip(&spot.path, Reason::Unreadable),
            }
            return Ok(());
        };
        if generated.is_some_and(|was| was.is_still(&state(&found))) {
            return Ok(());
        }
        let path = spot.path.get(self.base..).unwrap_or_default();
        if path.is_empty() {
            return Ok(());
        }
        if path.len() > self.longest {
            self.skip(&spot.path, Reason::TooDeep);
            return Ok(());
        }
        let (files, bytes) = (self.results.files.len() as u64, size(&found));
        if let Some(most) = self.wanted.max_files.filter(|&most| files >= most) {
            return Err(End::Files(most));
        }
        let total = self.bytes.saturating_add(bytes);
        if let Some(most) = self.wanted.max_bytes.filter(|&most| total > most) {
            return Err(End::Bytes(most));
        }
        if files % 64 == 0 && (self.stop)() {
            return Err(End::Stopped);
        }
        let parent = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
        let gone = writer.go_to(path.get(..parent).unwrap_or_default());
        match gone {
            Ok(()) => {}
            Err(Blocked::Failed(errno)) => return Err(End::Output(errno)),
            Err(Blocked::Part(depth, reason)) => {
                let end = path
                    .iter()
                    .enumerate()
                    .filter(|(_, b)| **b == b'/')
                    .nth(depth - 1);
                let blocked = end.map_or(path, |(end, _)| path.get(..end).unwrap_or(path));
                let blocked = [spot.path.get(..self.base).unwrap_or_default(), blocked].concat();
                self.skip(&blocked, reason);
                return Ok(());
            }
        }
        match copier.deliver(file, &found, writer, name, self.stop) {
            Ok(()) => {
                self.bytes = total;
                let path = Text::from(path);
                self.results.files.push(Delivered { path, bytes });
            }
            Err(Failure::Source) => self.skip(&spot.path, Reason::Unreadable),
            Err(Failure::Output(Ok(reason))) => self.skip(&spot.path, reason),
            Err(Failure::Output(Err(errno))) if is_final(errno) => return Err(End::Output(errno)),
            Err(Failure::Output(Err(_))) => self.skip(&spot.path, Reason::Refused),
            Err(Failure::Stopped) => return Err(End::Stopped),
        }
        Ok(())
    }

    /// Notes what is not taken; each path once, and none that is too long to be named.
    fn skip(&mut self, path: &[u8], reason: Reason) {
        let path = Text::from(path.get(self.base..).unwrap_or_default());
        let skipped = Skipped { path, reason };
        if self.results.skipped.last() == Some(&skipped) {
            return;
        }
        if self.results.skipped.len() < MOST_SKIPPED {
            self.results.skipped.push(skipped);
        } else {
            self.unlisted = true;
        }
    }
}

/// Opens a regular file of the job's for reading, whatever bits it has; with what it was before.
fn open_file(cursor: &Cursor, name: &CStr) -> Option<(File, FileStat)> {
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let (opened, found) = match fd::open_unmounted(cursor.fd().as_raw_fd(), name, flags) {
        Ok(opened) => {
            let opened = fd::owned(opened);
            let found = fstat(&opened).ok()?;
            (opened, found)
        }
        Err(Errno::EACCES) => reopen(cursor.fd(), name, flags, Mode::S_IRUSR).ok()?,
        Err(_) => return None,
    };
    (tree::kind(&found) == Kind::File).then(|| (File::from(opened), found))
}
