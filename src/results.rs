//! What a job left behind: the files that were taken out, and what it changed. Ring 0.

use crate::text::Text;
use serde::Serialize;

/// A modification time: seconds since the epoch, and nanoseconds.
pub type Time = (i64, u32);

/// `results` in the report.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Results {
    /// Files that are in the directory now, by path.
    pub files: Vec<Delivered>,
    /// What matched and is not there, by path.
    pub skipped: Vec<Skipped>,
}

/// A file that was taken out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Delivered {
    /// Path below the results directory.
    pub path: Text,
    /// Its size.
    pub bytes: u64,
}

/// Something that a pattern matched and that was not taken out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Skipped {
    /// Path below the results directory.
    pub path: Text,
    /// Why not.
    pub reason: Reason,
}

macro_rules! kebab {
    ($(#[$outer:meta])* $name:ident { $($(#[$meta:meta])* $variant:ident,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$meta])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }
    };
}

kebab! {
    /// Why something was not taken.
    Reason {
        /// It is a symbolic link, a device, a pipe or a socket.
        NotAFile,
        /// It could not be read.
        Unreadable,
        /// A directory of that name was in the results directory before.
        DirectoryInTheWay,
        /// Something else than a directory was in the results directory where one is needed.
        FileInTheWay,
        /// The path below the results directory would be longer than the kernel takes.
        TooDeep,
        /// The results directory did not take it.
        Refused,
    }
}

kebab! {
    /// The kinds of file that the report knows.
    Kind {
        /// A regular file.
        File,
        /// A directory.
        Directory,
        /// A symbolic link.
        Symlink,
        /// A named pipe.
        Fifo,
        /// A socket.
        Socket,
        /// A character or block device.
        Device,
    }
}

kebab! {
    /// What happened to a path.
    Verb {
        /// There was nothing before.
        Created,
        /// It is of the same kind, but not the same.
        Modified,
        /// There is nothing now.
        Deleted,
        /// It is of another kind, or a link to something else.
        Replaced,
    }
}

/// An entry of `changes` in the report.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Change {
    /// Path in the container.
    pub path: Text,
    /// What happened.
    pub change: Verb,
    /// What it is now, or was if it is gone.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Size of the file that it is now.
    pub bytes: u64,
}

/// What is at a path at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Its kind.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Size; of regular files only.
    pub bytes: u64,
    /// Modification time, where it matters and is known; of regular files only.
    pub time: Option<Time>,
    /// What a symbolic link holds.
    pub link: Option<Vec<u8>>,
}

impl State {
    /// Something of which nothing but its bits matters.
    #[must_use]
    pub const fn new(kind: Kind, mode: u32) -> Self {
        Self {
            kind,
            mode,
            bytes: 0,
            time: None,
            link: None,
        }
    }

    /// Whether nothing has happened to it. A file of the same size and time is taken for the same; some file systems keep
    /// no more than seconds.
    #[must_use]
    pub fn is_still(&self, now: &Self) -> bool {
        let bits = self.kind == Kind::Symlink || self.mode == now.mode;
        let times = match (self.time, now.time) {
            (Some((seconds, nanos)), Some((now, now_nanos))) => {
                seconds == now && (nanos == now_nanos || now_nanos == 0)
            }
            _ => true,
        };
        self.kind == now.kind && bits && times && self.bytes == now.bytes && self.link == now.link
    }
}

/// What happened between two moments: the verb, and the kind and size that go with it.
#[must_use]
pub fn compare(before: Option<&State>, after: Option<&State>) -> Option<(Verb, Kind, u64)> {
    match (before, after) {
        (None, None) => None,
        (None, Some(now)) => Some((Verb::Created, now.kind, now.bytes)),
        (Some(was), None) => Some((Verb::Deleted, was.kind, 0)),
        (Some(was), Some(now)) if was.is_still(now) => None,
        (Some(was), Some(now)) => {
            let same = was.kind == now.kind && was.link == now.link;
            let verb = if same { Verb::Modified } else { Verb::Replaced };
            Some((verb, now.kind, now.bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, bytes: u64, time: Time) -> State {
        State {
            bytes,
            time: Some(time),
            ..State::new(Kind::File, mode)
        }
    }

    fn link(to: &[u8]) -> State {
        State {
            link: Some(to.to_vec()),
            ..State::new(Kind::Symlink, 0o777)
        }
    }

    #[test]
    fn change_of_every_kind_has_its_verb() {
        let was = file(0o644, 5, (7, 8));
        let directory = State::new(Kind::Directory, 0o755);
        fn verb(before: Option<&State>, after: Option<&State>) -> Option<Verb> {
            compare(before, after).map(|(verb, ..)| verb)
        }
        assert_eq!(verb(None, None), None);
        assert_eq!(
            compare(None, Some(&was)),
            Some((Verb::Created, Kind::File, 5))
        );
        assert_eq!(
            compare(Some(&was), None),
            Some((Verb::Deleted, Kind::File, 0))
        );
        assert_eq!(verb(Some(&was), Some(&was)), None);
        for changed in [
            file(0o600, 5, (7, 8)),
            file(0o644, 6, (7, 8)),
            file(0o644, 5, (8, 8)),
            file(0o644, 5, (7, 9)),
        ] {
            assert_eq!(
                verb(Some(&was), Some(&changed)),
                Some(Verb::Modified),
                "{changed:?}"
            );
        }
        assert_eq!(verb(Some(&was), Some(&file(0o644, 5, (7, 0)))), None);
        assert_eq!(
            compare(Some(&was), Some(&directory)),
            Some((Verb::Replaced, Kind::Directory, 0))
        );
        assert_eq!(
            verb(Some(&link(b"a")), Some(&link(b"b"))),
            Some(Verb::Replaced)
        );
        assert_eq!(verb(Some(&link(b"a")), Some(&link(b"a"))), None);
        let closed = State::new(Kind::Directory, 0o700);
        assert_eq!(verb(Some(&directory), Some(&closed)), Some(Verb::Modified));
    }
}
