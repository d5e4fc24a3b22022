//! A made-up host that answers the planner's questions, for `tests/cases.rs` and `tests/properties.rs`.
//!
//! It is a tree as a process sees it, a mount table, and a caller. A case writes it as text, one fact per line; blank lines
//! and lines that begin with `#` mean nothing, and a backslash with three octal digits stands for a byte:
//!
//! ```text
//! use debian.txt                       # all lines of another file
//! caller uid=1000 gid=1000 cwd=/ real-root
//! env NAME=value
//! dir /home 0755 [closed|unlisted]     # neither listed nor searched | searched only
//! file /etc/passwd 0644 1200 [unreadable]
//! link /bin usr/bin
//! gone /srv                            # takes away what lines before it made
//! fifo /run/initctl 0600               # also: socket, device
//! mount /home ext4                     # in this order; a second one at the same place lies on the first
//! initramfs                            # the first mount is the bottom of all
//! no-xattr                             # a tmpfs holds no user.* attributes
//! unstackable /usr                     # an overlay takes no directory from here on as its lower layer
//! large /usr                           # too many entries to be copied
//! ids alice uids=100000:65536,5:1 gids=7:9 [no-helpers] # subordinate ids
//! cgroup /sys/fs/cgroup/a memory,pids enabled=memory   # a control group, best first; what it has and gives
//! privileged uids=0:4294967295 gids=0:1 [root=65534]    # the ids of the caller's user namespace; the real root's
//! scratch /var/tmp/stdbox-1 [no-xattr] # the disk scratch that ring 1 made
//! ```
#![allow(
    dead_code,
    reason = "two test programs share this file, and neither needs all of it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fmt;
use std::path::Path;

use nix::errno::Errno;
use stdbox::cgroup::{CgroupFacts, Controllers, Group, Occupants};
use stdbox::host::{
    Caller, CpuFacts, Entry, HostFacts, IdFacts, Kind, Listing, PathFact, Question,
};
use stdbox::job::Job;
use stdbox::mountinfo::MountTable;
use stdbox::plan::{NoPlan, Plan, first_questions, plan};
use stdbox::problem::Problem;
use stdbox::subid::IdRange;
use stdbox::text::AbsPath;

/// What is at a path.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// A directory that cannot be listed.
    pub(crate) unlisted: bool,
    /// A directory that cannot be searched.
    pub(crate) closed: bool,
}

/// One mount; its id is its place in [`FakeHost::mounts`] plus 100.
#[derive(Clone, Debug)]
pub(crate) struct Mounted {
    /// The mount below, as an index; `None` for the first.
    pub(crate) parent: Option<usize>,
    /// Where.
    pub(crate) at: AbsPath,
    /// Which type.
    pub(crate) fstype: String,
}

/// A whole host.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeHost {
    /// The tree.
    pub(crate) nodes: BTreeMap<AbsPath, Node>,
    /// The mount table, oldest first.
    pub(crate) mounts: Vec<Mounted>,
    /// Who asks.
    pub(crate) caller: Caller,
    /// Which ids the caller has.
    pub(crate) ids: IdFacts,
    /// Which control groups there are for it.
    pub(crate) cgroup: CgroupFacts,
    /// A tmpfs holds no `user.*` attributes.
    pub(crate) no_xattr: bool,
    /// Where an overlay cannot be stacked on.
    pub(crate) unstackable: BTreeSet<AbsPath>,
    /// What is too large to be copied.
    pub(crate) large: BTreeSet<AbsPath>,
    /// The root is the bottom of all mounts.
    pub(crate) initramfs: bool,
    /// The disk scratch and whether it holds `user.*` attributes.
    pub(crate) scratch: Option<(AbsPath, bool)>,
}

/// A path that the test knows to be one.
pub(crate) fn path(text: &str) -> AbsPath {
    AbsPath::new(text.as_bytes()).expect("an absolute path")
}

/// All ancestors of a path and itself, the root first.
pub(crate) fn chain(path: &AbsPath) -> Vec<AbsPath> {
    let mut all = vec![path.clone()];
    while let Some(parent) = all.last().and_then(AbsPath::parent) {
        all.push(parent);
    }
    all.reverse();
    all
}

impl FakeHost {
    /// Reads the text form.
    pub(crate) fn read(file: &Path) -> Self {
        let mut host = Self {
            caller: Caller {
                uid: 1000,
                gid: 1000,
                cwd: Some(AbsPath::root()),
                ..Caller::default()
            },
            ..Self::default()
        };
        host.add_file(file);
        host
    }

    fn add_file(&mut self, file: &Path) {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add_text(&text, file);
    }

    /// Adds lines of the text form.
    pub(crate) fn add_text(&mut self, text: &str, file: &Path) {
        for line in text
            .lines()
            .map(|line| line.split(" #").next().unwrap_or("").trim())
        {
            if !line.is_empty() && !line.starts_with('#') {
                self.add_line(line, file);
            }
        }
    }

    fn add_line(&mut self, line: &str, file: &Path) {
        match line.strip_prefix("use ") {
            Some(other) => self.add_file(&file.with_file_name(other)),
            None => self
                .take_line(line)
                .unwrap_or_else(|| panic!("{}: {line}", file.display())),
        }
    }

    /// Adds what one line says, if it has the form of one.
    pub(crate) fn take_line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = |i: usize| AbsPath::new(&unescape(words.get(i)?)).ok();
        let mode = |i: usize| u32::from_str_radix(words.get(i)?, 8).ok();
        let has = |word: &str| words.contains(&word);
        let mut node = |kind, mode| {
            let node = Node {
                kind,
                mode,
                unlisted: has("unlisted") || has("closed"),
                closed: has("closed"),
            };
            self.nodes.insert(at(1)?, node);
            Some(())
        };
        match *words.first()? {
            "caller" => self.add_caller(words.get(1..)?)?,
            "env" => {
                let pair = line.as_bytes().get("env ".len()..)?;
                self.caller.environ.push(pair.to_vec());
            }
            "dir" => node(Kind::Directory, mode(2)?)?,
            "file" => {
                let bytes = words.get(3)?.parse().ok()?;
                let readable = !has("unreadable");
                node(Kind::File { bytes, readable }, mode(2)?)?;
            }
            "link" => node(Kind::Symlink(unescape(words.get(2)?)), 0o777)?,
            "gone" => {
                let top = at(1)?;
                self.nodes.retain(|path, _| !top.contains(path));
            }
            "fifo" => node(Kind::Fifo, mode(2)?)?,
            "socket" => node(Kind::Socket, mode(2)?)?,
            "device" => node(Kind::Device, mode(2)?)?,
            "mount" => self.mount(&at(1)?, words.get(2)?),
            "ids" | "privileged" => self.add_ids(&words)?,
            "cgroup" => self.add_cgroup(&words)?,
            "initramfs" => self.initramfs = true,
            "no-xattr" => self.no_xattr = true,
            "unstackable" => drop(self.unstackable.insert(at(1)?)),
            "large" => drop(self.large.insert(at(1)?)),
            "scratch" => self.scratch = Some((at(1)?, !has("no-xattr"))),
            _ => return None,
        }
        Some(())
    }

    fn add_caller(&mut self, words: &[&str]) -> Option<()> {
        for word in words {
            match word.split_once('=') {
                Some(("uid", id)) => self.caller.uid = id.parse().ok()?,
                Some(("gid", id)) => self.caller.gid = id.parse().ok()?,
                Some(("cwd", "unknown")) => self.caller.cwd = None,
                Some(("cwd", at)) => self.caller.cwd = Some(AbsPath::new(at.as_bytes()).ok()?),
                _ if *word == "real-root" => self.caller.real_root = true,
                _ => return None,
            }
        }
        Some(())
    }

    fn add_cgroup(&mut self, words: &[&str]) -> Option<()> {
        let enabled = words.get(3).and_then(|word| word.strip_prefix("enabled="));
        self.cgroup.groups.push(Group {
            path: AbsPath::new(words.get(1)?.as_bytes()).ok()?,
            available: Controllers::parse(words.get(2)?),
            enabled: Controllers::parse(enabled.unwrap_or_default()),
            occupants: Occupants::Nobody,
            refused: None,
            uncontrolled: None,
        });
        Some(())
    }

    fn add_ids(&mut self, words: &[&str]) -> Option<()> {
        let ranges = |text: &str| -> Option<Vec<IdRange>> {
            let range = |pair: &str| {
                let (first, count) = pair.split_once(':')?;
                IdRange::new(first.parse().ok()?, count.parse().ok()?)
            };
            text.split(',')
                .filter(|pair| !pair.is_empty())
                .map(range)
                .collect()
        };
        self.ids.privileged = words.first() == Some(&"privileged");
        self.ids.helpers =
            ["newuidmap", "newgidmap"].map(|name| Some(path("/usr/bin").join(name.as_bytes())));
        for word in words.get(1..)? {
            let own = if self.ids.privileged {
                &mut self.ids.existing
            } else {
                &mut self.ids.subordinate
            };
            match word.split_once('=') {
                Some(("uids", list)) => own[0] = ranges(list)?,
                Some(("gids", list)) => own[1] = ranges(list)?,
                Some(("root", id)) => {
                    self.ids.settings_owner = (id.parse().ok()?, id.parse().ok()?)
                }
                _ if *word == "no-helpers" => self.ids.helpers = [None, None],
                _ => self.ids.name = (*word).to_owned(),
            }
        }
        Some(())
    }

    /// Mounts something on what is visible at a path.
    pub(crate) fn mount(&mut self, at: &AbsPath, fstype: &str) {
        let parent = (!self.mounts.is_empty()).then(|| self.holding(at));
        self.mounts.push(Mounted {
            parent,
            at: at.clone(),
            fstype: fstype.to_owned(),
        });
    }

    /// The visible mount that holds a path, as an index. Written independently of `stdbox::mountinfo`.
    pub(crate) fn holding(&self, path: &AbsPath) -> usize {
        let mut mount = 0;
        for at in chain(path) {
            while let Some(next) = self
                .mounts
                .iter()
                .rposition(|m| m.parent == Some(mount) && m.at == at)
            {
                mount = next;
            }
        }
        mount
    }

    /// Whether something is mounted strictly below a path on the mount that holds it, visible or not.
    pub(crate) fn mounted_below(&self, path: &AbsPath) -> bool {
        let mount = self.holding(path);
        self.mounts
            .iter()
            .any(|m| m.parent == Some(mount) && path.is_above(&m.at))
    }

    /// The types of all visible mounts that a path lies on, from the root to the one that holds it.
    pub(crate) fn fstypes(&self, path: &AbsPath) -> Vec<&str> {
        chain(path)
            .iter()
            .map(|at| self.mounts[self.holding(at)].fstype.as_str())
            .collect()
    }

    /// The mount table as the kernel writes it.
    pub(crate) fn mountinfo(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (i, mount) in self.mounts.iter().enumerate() {
            let bottom = if self.initramfs { 100 } else { 1 };
            let parent = mount.parent.map_or(bottom, |parent| parent + 100);
            text.extend_from_slice(format!("{} {parent} 0:{i} / ", i + 100).as_bytes());
            for &byte in mount.at.bytes() {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => {
                        text.extend_from_slice(format!("\\{byte:03o}").as_bytes())
                    }
                    _ => text.push(byte),
                }
            }
            text.extend_from_slice(
                format!(" rw shared:{i} - {} source rw\n", mount.fstype).as_bytes(),
            );
        }
        text
    }

    /// Whether a path can be reached: every directory above it can be searched.
    pub(crate) fn reachable(&self, path: &AbsPath) -> bool {
        chain(path)
            .iter()
            .all(|at| at == path || self.nodes.get(at).is_none_or(|node| !node.closed))
    }

    /// Whether a path is a directory without links in it.
    pub(crate) fn is_directory(&self, path: &AbsPath) -> bool {
        matches!(self.path_fact(path), PathFact::Directory { .. })
    }

    /// The path without links, if it exists; no more links than the kernel follows.
    fn resolve(&self, path: &AbsPath, follow_last: bool, depth: usize) -> Option<AbsPath> {
        let mut real = AbsPath::root();
        let steps = chain(path);
        for at in steps.iter().skip(1) {
            let next = real.join(at.name());
            if self.nodes.get(&real).is_some_and(|node| node.closed) {
                return None;
            }
            real = match &self.nodes.get(&next)?.kind {
                Kind::Symlink(to) if at != path || follow_last => {
                    let target = if to.starts_with(b"/") {
                        to.clone()
                    } else {
                        [real.bytes(), b"/", to].concat()
                    };
                    self.resolve(&without_dots(&target)?, true, depth.checked_sub(1)?)?
                }
                _ => next,
            };
        }
        Some(real)
    }

    /// What ring 1 would say of a path.
    pub(crate) fn path_fact(&self, path: &AbsPath) -> PathFact {
        let steps = chain(path);
        for at in &steps {
            let Some(node) = self.nodes.get(at) else {
                return PathFact::Missing;
            };
            match &node.kind {
                Kind::Symlink(_) => {
                    let parent = path
                        .parent()
                        .and_then(|parent| self.resolve(&parent, true, 40));
                    let last = parent.and_then(|parent| self.nodes.get(&parent.join(path.name())));
                    let link = match last.map(|node| &node.kind) {
                        Some(Kind::Symlink(to)) => Some(to.clone()),
                        _ => None,
                    };
                    return PathFact::Symlink {
                        real: self.resolve(path, true, 40),
                        link,
                    };
                }
                Kind::Directory if at == path => {
                    let mount = !at.is_root() && self.mounts[self.holding(at)].at == *at;
                    return PathFact::Directory {
                        mode: node.mode,
                        mount,
                    };
                }
                Kind::Directory if node.closed => return PathFact::Denied,
                Kind::Directory => {}
                Kind::File { .. } if at == path => return PathFact::File,
                _ if at == path => return PathFact::Other,
                _ => return PathFact::Missing,
            }
        }
        PathFact::Missing
    }

    fn entries(&self, top: &AbsPath, deep: bool) -> Listing {
        if !self.is_directory(top) {
            return Listing::Missing;
        }
        let below = || self.nodes.iter().filter(|(at, _)| top.is_above(at));
        let mut listed = std::iter::once((top, &self.nodes[top])).chain(below().filter(|_| deep));
        if listed.any(|(_, node)| node.kind == Kind::Directory && (node.unlisted || node.closed)) {
            return Listing::Denied;
        }
        let wanted = below().filter(|(at, _)| deep || at.parent().as_ref() == Some(top));
        Listing::Entries(
            wanted
                .map(|(at, node)| Entry {
                    name: top.rest_of(at).to_vec(),
                    kind: node.kind.clone(),
                    mode: node.mode,
                    modified: (0, 0),
                    empty: !deep
                        && node.kind == Kind::Directory
                        && !node.unlisted
                        && !self.nodes.keys().any(|other| at.is_above(other)),
                })
                .collect(),
        )
    }

    /// The path without links of what the caller names, relative to its directory.
    fn real(&self, given: &CStr) -> Result<AbsPath, i32> {
        let base = self.caller.cwd.clone().unwrap_or_else(AbsPath::root);
        let bytes = given.to_bytes();
        let asked = if bytes.starts_with(b"/") {
            AbsPath::new(bytes)
        } else {
            AbsPath::new(&[base.bytes(), b"/", bytes].concat())
        };
        let asked = asked.map_err(|_| Errno::EINVAL as i32)?;
        match self.path_fact(&asked) {
            PathFact::Symlink {
                real: Some(real), ..
            } => Ok(real),
            PathFact::Symlink { real: None, .. } | PathFact::Missing => Err(Errno::ENOENT as i32),
            PathFact::Denied => Err(Errno::EACCES as i32),
            PathFact::Failed(errno) => Err(errno),
            PathFact::Directory { .. } | PathFact::File | PathFact::Other => Ok(asked),
        }
    }

    /// Answers one question.
    pub(crate) fn answer(&self, question: &Question, facts: &mut HostFacts) {
        match question {
            Question::Mounts => {
                let root = self.holding(&AbsPath::root()) as u64 + 100;
                facts.mounts = Some(MountTable::parse(&self.mountinfo(), Some(root)));
            }
            Question::Path(path) => drop(facts.paths.insert(path.clone(), self.path_fact(path))),
            Question::Real(given) => drop(facts.real.insert(given.clone(), self.real(given))),
            Question::List(path) => {
                drop(facts.lists.insert(path.clone(), self.entries(path, false)))
            }
            Question::Tree(path) => {
                let large = self.large.iter().any(|top| top.contains(path));
                let listing = if large {
                    Listing::TooLarge
                } else {
                    self.entries(path, true)
                };
                facts.trees.insert(path.clone(), listing);
            }
            Question::Stackable(path) => {
                let no = self.unstackable.iter().any(|top| top.contains(path));
                facts.stackable.insert(path.clone(), !no);
            }
            Question::Devices => facts.devices = Some(true),
            Question::TmpfsXattr => facts.tmpfs_xattr = Some(!self.no_xattr),
            Question::Kernel => facts.kernel = Some("6.18.0".to_owned()),
            Question::Ids => facts.ids = Some(self.ids.clone()),
            Question::Cpus => {
                let limit_s = [u64::MAX; 2];
                facts.cpus = Some(CpuFacts { count: 2, limit_s });
            }
            Question::Cgroup(_) => facts.cgroup = Some(self.cgroup.clone()),
        }
    }

    /// What is known before the first question.
    pub(crate) fn facts(&self) -> HostFacts {
        HostFacts {
            caller: self.caller.clone(),
            disk_scratch: self.scratch.clone(),
            ..HostFacts::default()
        }
    }

    /// Asks and answers until there is a plan or a refusal; says how many rounds it took.
    pub(crate) fn plan(&self, job: &Job) -> (Result<Plan, Problem>, HostFacts, usize) {
        let mut facts = self.facts();
        for question in first_questions(job, &self.caller) {
            self.answer(&question, &mut facts);
        }
        for round in 1.. {
            match plan(job, &facts) {
                Ok(plan) => return (Ok(plan), facts, round),
                Err(NoPlan::Refused(problem)) => return (Err(problem), facts, round),
                Err(NoPlan::Ask(questions)) => {
                    assert!(
                        !questions.is_empty(),
                        "nothing is asked, and nothing is planned"
                    );
                    for question in questions {
                        assert!(!facts.knows(&question), "{question:?} was answered before");
                        self.answer(&question, &mut facts);
                    }
                }
            }
            assert!(round < 64, "the questions do not end");
        }
        unreachable!("the rounds are bounded")
    }
}

impl fmt::Display for FakeHost {
    /// The text form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caller {
            uid,
            gid,
            real_root,
            cwd,
            ..
        } = &self.caller;
        let cwd = cwd.as_ref().map_or("unknown".into(), escape);
        writeln!(
            f,
            "caller uid={uid} gid={gid} cwd={cwd}{}",
            if *real_root { " real-root" } else { "" }
        )?;
        for (at, node) in &self.nodes {
            let (at, mode) = (escape(at), node.mode);
            match &node.kind {
                Kind::Directory if node.closed => writeln!(f, "dir {at} {mode:04o} closed")?,
                Kind::Directory if node.unlisted => writeln!(f, "dir {at} {mode:04o} unlisted")?,
                Kind::Directory => writeln!(f, "dir {at} {mode:04o}")?,
                Kind::File { bytes, readable } => {
                    writeln!(
                        f,
                        "file {at} {mode:04o} {bytes}{}",
                        if *readable { "" } else { " unreadable" }
                    )?;
                }
                Kind::Symlink(to) => writeln!(f, "link {at} {}", String::from_utf8_lossy(to))?,
                kind => writeln!(f, "{} {at} {mode:04o}", format!("{kind:?}").to_lowercase())?,
            }
        }
        for mount in &self.mounts {
            writeln!(f, "mount {} {}", escape(&mount.at), mount.fstype)?;
        }
        for at in &self.unstackable {
            writeln!(f, "unstackable {}", escape(at))?;
        }
        for at in &self.large {
            writeln!(f, "large {}", escape(at))?;
        }
        if let Some((at, xattr)) = &self.scratch {
            writeln!(
                f,
                "scratch {}{}",
                escape(at),
                if *xattr { "" } else { " no-xattr" }
            )?;
        }
        f.write_str(if self.initramfs { "initramfs\n" } else { "" })?;
        f.write_str(if self.no_xattr { "no-xattr\n" } else { "" })
    }
}

fn escape(path: &AbsPath) -> String {
    let byte = |&b: &u8| {
        if b.is_ascii_graphic() && b != b'\\' {
            char::from(b).to_string()
        } else {
            format!("\\{b:03o}")
        }
    };
    path.bytes().iter().map(byte).collect()
}

/// Resolves `.` and `..` in text, as if no component were a link.
fn without_dots(path: &[u8]) -> Option<AbsPath> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    AbsPath::new(&[b"/".as_slice(), &parts.join(&b'/')].concat()).ok()
}

fn unescape(word: &str) -> Vec<u8> {
    let (bytes, mut out, mut i) = (word.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(i) {
        let octal = bytes
            .get(i + 1..i + 4)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match octal
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
            .filter(|_| byte == b'\\')
        {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(byte);
                i += 1;
            }
        }
    }
    out
}
