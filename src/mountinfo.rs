//! The mount table as `/proc/self/mountinfo` has it (proc_pid_mountinfo(5)). Ring 0.
//!
//! It is read to decide where an overlay must be split and where it cannot be one. It may be out of date when the container
//! is built, so what a mode promises does not follow from it. One thing more than that does: where the real root asks for full
//! access to a tree, the kernel's own file systems in it are read-only.

use crate::text::AbsPath;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A mount's id in this table.
pub type MountId = u64;

/// One line of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Its id.
    pub id: MountId,
    /// The mount that it is mounted on.
    pub parent: MountId,
    /// What of the file system is mounted: a path in it.
    pub root: Vec<u8>,
    /// Where, as the process sees it.
    pub at: AbsPath,
    /// File system type, such as `ext4` or `fuse.sshfs`.
    pub fstype: Vec<u8>,
    /// Whether it is read-only, or takes no programs or no links.
    pub narrow: bool,
}

/// The whole table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MountTable {
    /// By id, each once.
    mounts: Vec<Mount>,
    /// Places in `mounts`, by parent and then by path: what is mounted on a mount. A place can hold only one: the next one is
    /// mounted on the first.
    children: Vec<usize>,
    root: MountId,
}

impl MountTable {
    /// Reads the table. Lines that do not have the documented form are left out: the kernel writes none.
    /// `root` is the id of the mount that holds the process's `/`, from statx(2); without it, the first one at `/`.
    #[must_use]
    pub fn parse(text: &[u8], root: Option<MountId>) -> Self {
        let mut mounts = Vec::with_capacity(memchr::memchr_iter(b'\n', text).count());
        let mut rest = text;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
            rest = after.get(1..).unwrap_or(b"");
            mounts.extend(parse_line(line));
        }
        Self::new(mounts, root)
    }

    /// A table of these mounts.
    #[must_use]
    pub fn new(mut mounts: Vec<Mount>, root: Option<MountId>) -> Self {
        mounts.sort_by_key(|mount| mount.id);
        mounts.dedup_by_key(|mount| mount.id);
        let mut table = Self {
            children: (0..mounts.len()).collect(),
            mounts,
            root: 0,
        };
        let mounts = &table.mounts;
        table.children.sort_by(|&a, &b| {
            let place = |index| mounts.get(index).map(Mount::place);
            place(a).cmp(&place(b))
        });
        table.root = root
            .filter(|&id| table.get(id).is_some())
            .unwrap_or_else(|| {
                let at_root = |mount: &&Mount| {
                    let other = mount.parent != mount.id;
                    mount.at.is_root() && !(other && table.get(mount.parent).is_some())
                };
                let first = table.mounts.iter().find(at_root);
                first.map_or(0, |mount| mount.id)
            });
        table
    }

    /// All mounts.
    pub fn all(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }

    /// The mount that holds `/`.
    #[must_use]
    pub fn root(&self) -> MountId {
        self.root
    }

    /// Whether `/` is the bottom of all mounts, as the initramfs is: then nothing can be put in its place.
    #[must_use]
    pub fn root_is_bottom(&self) -> bool {
        self.get(self.root)
            .is_some_and(|mount| mount.parent == mount.id)
    }

    /// A mount by its id.
    #[must_use]
    pub fn get(&self, id: MountId) -> Option<&Mount> {
        let found = self.mounts.binary_search_by_key(&id, |mount| mount.id);
        self.mounts.get(found.ok()?)
    }

    /// The mounts that are visible at the very place where they were mounted.
    pub fn visible(&self) -> impl Iterator<Item = &Mount> {
        self.mounts
            .iter()
            .filter(|mount| self.holding(&mount.at) == mount.id)
    }

    /// The mount that is visible at exactly this place on `mount`: the topmost of those stacked there.
    #[must_use]
    pub fn mounted_at(&self, mount: MountId, at: &AbsPath) -> Option<MountId> {
        let mut top = None;
        let mut on = mount;
        // Bounded by the table: an id cannot come twice in a chain of parents, but the text is only text.
        for _ in 0..=self.mounts.len() {
            let here = self.children_from(on, at).take_while(|next| next.at == *at);
            match here.last() {
                Some(next) if next.id != on => {
                    top = Some(next.id);
                    on = next.id;
                }
                _ => break,
            }
        }
        top
    }

    /// The visible mount that holds a path.
    #[must_use]
    pub fn holding(&self, path: &AbsPath) -> MountId {
        let mut mount = self.root;
        let mut at = AbsPath::root();
        for part in path
            .bytes()
            .split(|&b| b == b'/')
            .filter(|part| !part.is_empty())
        {
            at = at.join(part);
            mount = self.mounted_at(mount, &at).unwrap_or(mount);
        }
        mount
    }

    /// Whether anything is mounted on `mount` strictly below `path`: then it cannot be an overlay's lower layer as a whole.
    #[must_use]
    pub fn any_below(&self, mount: MountId, path: &AbsPath) -> bool {
        self.places_below(mount, path).next().is_some()
    }

    /// The names of the entries of `path` that mounts on `mount` lie on or below.
    #[must_use]
    pub fn ways_below<'a>(&'a self, mount: MountId, path: &'a AbsPath) -> BTreeSet<&'a [u8]> {
        let first = |at: &'a AbsPath| {
            let rest = path.rest_of(at);
            rest.split(|&b| b == b'/').next().unwrap_or(rest)
        };
        self.places_below(mount, path).map(first).collect()
    }

    fn places_below<'a>(
        &'a self,
        mount: MountId,
        path: &'a AbsPath,
    ) -> impl Iterator<Item = &'a AbsPath> {
        // All that begins with the bytes of the path comes together: those below it, and few others ("/a-b").
        self.children_from(mount, path)
            .map(|mount| &mount.at)
            .take_while(|at| at.bytes().starts_with(path.bytes()))
            .filter(|at| path.is_above(at))
    }

    /// The mounts on a mount, by path, from a path on.
    fn children_from<'a>(
        &'a self,
        mount: MountId,
        path: &AbsPath,
    ) -> impl Iterator<Item = &'a Mount> {
        let first = self.children.partition_point(|&index| {
            let place = self.mounts.get(index).map(Mount::place);
            place < Some((mount, path.bytes()))
        });
        let places = self.children.get(first..).unwrap_or_default();
        places
            .iter()
            .filter_map(|&index| self.mounts.get(index))
            .take_while(move |child| child.parent == mount)
    }
}

impl Mount {
    fn place(&self) -> (MountId, &[u8]) {
        (self.parent, self.at.bytes())
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let root = unescape(fields.nth(1)?).into_owned();
    let at = fields.next()?;
    let options = fields.next()?;
    // Optional fields end with a lone hyphen.
    fields.by_ref().find(|field| *field == b"-")?;
    let fstype = fields.next()?.to_vec();
    // After the source come the options of the file system.
    let of_all = fields.nth(1).unwrap_or(b"");
    let narrow = |option: &[u8]| matches!(option, b"ro" | b"noexec" | b"nosymfollow");
    let at = unescape(at);
    let at = at.strip_suffix(b"//deleted").unwrap_or(&at);
    Some(Mount {
        id,
        parent,
        root,
        at: AbsPath::new(at).ok()?,
        fstype,
        narrow: options.split(|&b| b == b',').any(narrow) || of_all.starts_with(b"ro"),
    })
}

fn number(digits: &[u8]) -> Option<MountId> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', field).is_none() {
        return Cow::Borrowed(field);
    }
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or(b""));
        let digits = rest.get(at + 1..at + 4).unwrap_or(b"");
        let octal = digits.iter().try_fold(0u32, |value, digit| match digit {
            b'0'..=b'7' => Some(value * 8 + u32::from(digit - b'0')),
            _ => None,
        });
        match octal.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) if digits.len() == 3 => {
                out.push(byte);
                rest = rest.get(at + 4..).unwrap_or(b"");
            }
            _ => {
                out.push(b'\\');
                rest = rest.get(at + 1..).unwrap_or(b"");
            }
        }
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
        22 27 0:21 / /proc rw - proc proc rw\n\
        24 27 0:6 / /dev rw - devtmpfs devtmpfs rw\n\
        25 24 0:23 / /dev/shm rw shared:3 - tmpfs tmpfs rw\n\
        30 25 0:27 / /dev/shm rw shared:4 master:2 - tmpfs tmpfs2 rw\n\
        31 27 0:30 / /a\\040b\\134c\\012d rw - fuse.sshfs me@x: rw\n\
        32 27 0:31 / /mnt/x/y//deleted rw - tmpfs t rw\n";

    #[test]
    fn table_escapes_optional_fields_and_deleted_places_are_read() {
        let table = MountTable::parse(TABLE, None);
        assert_eq!(table.root(), 27);
        assert_eq!(
            table.get(31).map(|m| m.at.bytes()),
            Some(b"/a b\\c\nd".as_slice())
        );
        assert_eq!(
            table.get(31).map(|m| m.fstype.as_slice()),
            Some(b"fuse.sshfs".as_slice())
        );
        assert_eq!(
            table.get(32).map(|m| m.at.bytes()),
            Some(b"/mnt/x/y".as_slice())
        );
    }

    #[test]
    fn table_stacked_mounts_show_the_topmost() {
        let table = MountTable::parse(TABLE, None);
        assert_eq!(table.holding(&AbsPath::fixed("/dev/shm/x")), 30);
        assert_eq!(table.holding(&AbsPath::fixed("/dev")), 24);
        assert_eq!(table.mounted_at(24, &AbsPath::fixed("/dev/shm")), Some(30));
    }

    #[test]
    fn table_below_is_strict_and_by_component() {
        let table = MountTable::parse(
            b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /a-b rw - tmpfs b rw\n3 1 0:3 / /a/c rw - tmpfs c rw\n4 1 0:4 / /d rw - tmpfs d rw\n",
            None,
        );
        assert!(table.any_below(1, &AbsPath::fixed("/a")));
        assert!(!table.any_below(1, &AbsPath::fixed("/a/c")));
        assert!(!table.any_below(1, &AbsPath::fixed("/d")));
        assert!(!table.any_below(1, &AbsPath::fixed("/e")));
        assert!(table.any_below(1, &AbsPath::root()));
        assert!(!table.any_below(3, &AbsPath::root()));
    }

    #[test]
    fn table_ways_are_the_next_names_on_the_same_mount() {
        let table = MountTable::parse(
            b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /a/b/c rw - tmpfs b rw\n3 1 0:3 / /a-b rw - tmpfs c rw\n4 1 0:4 / /a/d rw - tmpfs d rw\n5 4 0:5 / /a/d/e rw - tmpfs e rw\n",
            None,
        );
        let ways = |mount, path| {
            let path = AbsPath::fixed(path);
            let ways = table.ways_below(mount, &path).into_iter();
            ways.map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(ways(1, "/"), [b"a".to_vec(), b"a-b".to_vec()]);
        assert_eq!(ways(1, "/a"), [b"b".to_vec(), b"d".to_vec()]);
        assert_eq!(ways(1, "/a/b"), [b"c".to_vec()]);
        assert!(ways(1, "/a/d").is_empty());
        assert_eq!(ways(4, "/a/d"), [b"e".to_vec()]);
    }

    #[test]
    fn table_garbage_is_left_out() {
        for bad in [
            "",
            "\n\n",
            "1",
            "x y z",
            "1 2 3:4 / relative rw - ext4 d rw",
            "1 2 3:4 / /a rw ext4",
        ] {
            assert_eq!(
                MountTable::parse(bad.as_bytes(), Some(7)),
                MountTable::default(),
                "{bad:?}"
            );
        }
        assert_eq!(*unescape(b"a\\04\\999\\"), *b"a\\04\\999\\");
    }
}
