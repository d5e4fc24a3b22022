//! Any job on any host: what every plan must hold, whatever was asked and whatever was found.
//!
//! Host and job are made at random out of few names, so that they meet; the plan is carried out on paper by
//! `cases/view.rs`, which checks each step where it happens and the tree that comes out against the contract.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

#[path = "cases/host.rs"]
mod host;
/// With it, this program compares and copies as the product does.
#[path = "../src/bin/stdbox/sys/memory.rs"]
#[expect(unsafe_code, reason = "functions of the C library")]
mod memory;
#[path = "cases/view.rs"]
mod view;

use std::collections::BTreeSet;
use std::fmt;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

use host::{FakeHost, Node, path};
use stdbox::host::{Caller, HostFacts, Kind, Question};
use stdbox::job::{Channels, Job};
use stdbox::text::{AbsPath, base64_encode};

/// Few names, so that paths of the job meet paths of the host; some that are awkward for mount options and mount tables.
const NAMES: [&[u8]; 9] = [
    b"a", b"b", b"etc", b"home", b"shm", b"c d", b"x,y:z\\", b"\xff\n", b"a-b",
];

/// Places that mean something to the planner.
const PLACES: [&str; 20] = [
    "/bin",
    "/dev",
    "/dev/pts",
    "/dev/shm",
    "/etc",
    "/home",
    "/home/user",
    "/home/user/work",
    "/root",
    "/run",
    "/run/shm",
    "/run/systemd",
    "/run/systemd/resolve",
    "/sys",
    "/sys/devices",
    "/sys/devices/system/cpu",
    "/tmp",
    "/usr",
    "/var",
    "/var/tmp",
];

const FSTYPES: [&str; 14] = [
    "ext4",
    "ext4",
    "xfs",
    "tmpfs",
    "overlay",
    "overlay",
    "vfat",
    "autofs",
    "fuse.sshfs",
    "fuse.lxcfs",
    "cgroup2",
    "nfs4",
    "sysfs",
    "ntfs3",
];

/// One thing of the host, before it is known where it can be.
#[derive(Clone, Debug)]
enum Thing {
    Directory(u32),
    Closed,
    Unlisted,
    File(u64, bool),
    Link(Index, &'static str),
    Fifo,
    Device,
}

#[derive(Clone, Debug)]
struct HostPlan {
    places: Vec<&'static str>,
    things: Vec<(Index, usize, Thing)>,
    mounts: Vec<(Index, &'static str)>,
    vanished: Option<Index>,
    unstackable: Vec<Index>,
    large: Vec<Index>,
    lxcfs: bool,
    no_xattr: bool,
    real_root: bool,
    no_cwd: bool,
    initramfs: bool,
}

#[derive(Clone, Debug)]
struct JobPlan {
    root: Option<&'static str>,
    directories: Vec<(Index, &'static str)>,
    dev: Option<&'static str>,
    system_config: bool,
    host_network: bool,
    uid: u32,
    home: Option<Index>,
    disk: Option<(Index, bool)>,
    cwd: bool,
    nestable: bool,
}

fn things() -> impl Strategy<Value = Thing> {
    prop_oneof![
        6 => select(vec![0o751, 0o700, 0o1777, 0o2775, 0o555]).prop_map(Thing::Directory),
        1 => Just(Thing::Closed),
        1 => Just(Thing::Unlisted),
        2 => (select(vec![0, 10, 1 << 20, (1 << 20) + 1]), any::<bool>()).prop_map(|(bytes, readable)| Thing::File(bytes, readable)),
        1 => (any::<Index>(), select(vec!["", "missing", "../a"])).prop_map(|(to, text)| Thing::Link(to, text)),
        1 => Just(Thing::Fifo),
        1 => Just(Thing::Device),
    ]
}

fn hosts() -> impl Strategy<Value = HostPlan> {
    (
        proptest::sample::subsequence(PLACES.to_vec(), 0..=PLACES.len()),
        prop::collection::vec((any::<Index>(), 0..NAMES.len(), things()), 0..14),
        prop::collection::vec((any::<Index>(), select(FSTYPES.to_vec())), 0..6),
        prop::option::weighted(0.2, any::<Index>()),
        prop::collection::vec(any::<Index>(), 0..3),
        prop::collection::vec(any::<Index>(), 0..2),
        (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.1),
        ),
    )
        .prop_map(
            |(
                places,
                things,
                mounts,
                vanished,
                unstackable,
                large,
                (lxcfs, no_xattr, real_root, no_cwd, initramfs),
            )| HostPlan {
                places,
                things,
                mounts,
                vanished,
                unstackable,
                large,
                lxcfs,
                no_xattr,
                real_root,
                no_cwd,
                initramfs,
            },
        )
}

fn jobs() -> impl Strategy<Value = JobPlan> {
    let modes = || select(vec!["hidden", "read-only", "overlay", "full-access"]);
    (
        prop::option::of(modes()),
        prop::collection::vec((any::<Index>(), modes()), 0..6),
        select(vec![None, Some("minimal"), Some("host")]),
        any::<bool>(),
        any::<bool>(),
        select(vec![0, 1000]),
        prop::option::of(any::<Index>()),
        prop::option::of((any::<Index>(), any::<bool>())),
        (any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |(
                root,
                directories,
                dev,
                system_config,
                host_network,
                uid,
                home,
                disk,
                (cwd, nestable),
            )| JobPlan {
                root,
                directories,
                dev,
                system_config,
                host_network,
                uid,
                home,
                disk,
                cwd,
                nestable,
            },
        )
}

fn directory(mode: u32) -> Node {
    Node {
        kind: Kind::Directory,
        mode,
        unlisted: false,
        closed: false,
    }
}

fn pick<'a, T>(from: &'a [T], index: &Index) -> &'a T {
    &from[index.index(from.len())]
}

impl HostPlan {
    fn build(&self) -> FakeHost {
        let caller = Caller {
            uid: 1000,
            gid: 1000,
            real_root: self.real_root,
            core_limit: u64::MAX,
            cwd: (!self.no_cwd).then(AbsPath::root),
            environ: vec![b"PATH=/bin".to_vec()],
        };
        let mut host = FakeHost {
            caller,
            no_xattr: self.no_xattr,
            initramfs: self.initramfs,
            ..FakeHost::default()
        };
        let mut directories = vec![AbsPath::root()];
        let mut places = self.places.clone();
        places.extend(["/proc"]);
        if self.lxcfs {
            if places.contains(&"/sys") {
                places.push("/sys/devices/system/cpu");
            }
            places.extend([
                "/var/lib/lxcfs/proc",
                "/var/lib/lxcfs/sys/devices/system/cpu",
            ]);
        }
        host.nodes.insert(AbsPath::root(), directory(0o751));
        for place in places {
            for at in host::chain(&path(place)) {
                // Not 0755, which the planner takes where it knows nothing.
                let mode = if at == path("/tmp") || at == path("/dev/shm") {
                    0o1777
                } else {
                    0o751
                };
                if host.nodes.insert(at.clone(), directory(mode)).is_none() {
                    directories.push(at);
                }
            }
        }
        let file = |bytes| Node {
            kind: Kind::File {
                bytes,
                readable: true,
            },
            ..directory(0o644)
        };
        for (parent, name) in [
            ("/var/lib/lxcfs/proc", "cpuinfo"),
            ("/var/lib/lxcfs/sys/devices/system/cpu", "online"),
            ("/etc", "passwd"),
            ("/etc", "hosts"),
            ("/etc", "shadow"),
        ] {
            if host.nodes.contains_key(&path(parent)) {
                host.nodes
                    .insert(path(parent).join(name.as_bytes()), file(10));
            }
        }
        if host.nodes.contains_key(&path("/dev")) {
            for name in ["null", "tty", "sda"] {
                host.nodes.insert(
                    path("/dev").join(name.as_bytes()),
                    Node {
                        kind: Kind::Device,
                        ..directory(0o666)
                    },
                );
            }
        }
        for (parent, name, thing) in &self.things {
            let parent = pick(&directories, parent).clone();
            let at = parent.join(NAMES[*name]);
            if host.nodes.contains_key(&at)
                || host::chain(&at).len() > 5
                || ["/proc", "/dev/pts"]
                    .iter()
                    .any(|top| path(top).contains(&at))
            {
                continue;
            }
            let node = match thing {
                Thing::Directory(mode) => directory(*mode),
                Thing::Closed => Node {
                    closed: true,
                    unlisted: true,
                    ..directory(0o700)
                },
                Thing::Unlisted => Node {
                    unlisted: true,
                    ..directory(0o711)
                },
                Thing::File(bytes, readable) => Node {
                    kind: Kind::File {
                        bytes: *bytes,
                        readable: *readable,
                    },
                    ..directory(0o640)
                },
                Thing::Link(to, text) => {
                    let to = if text.is_empty() {
                        pick(&directories, to).bytes()
                    } else {
                        text.as_bytes()
                    };
                    Node {
                        kind: Kind::Symlink(to.to_vec()),
                        ..directory(0o777)
                    }
                }
                Thing::Fifo => Node {
                    kind: Kind::Fifo,
                    ..directory(0o600)
                },
                Thing::Device => Node {
                    kind: Kind::Device,
                    ..directory(0o600)
                },
            };
            // A host whose /etc is a device teaches nothing.
            if !matches!(node.kind, Kind::Directory | Kind::Symlink(_))
                && ["/etc", "/home"].iter().any(|top| path(top) == at)
            {
                continue;
            }
            if node.kind == Kind::Directory {
                directories.push(at.clone());
            }
            host.nodes.insert(at, node);
        }
        host.mount(&AbsPath::root(), "ext4");
        host.mount(&path("/proc"), "proc");
        let points: Vec<AbsPath> = host
            .nodes
            .iter()
            .filter(|(at, node)| {
                !at.is_root()
                    && !path("/proc").contains(at)
                    && !matches!(node.kind, Kind::Symlink(_))
            })
            .map(|(at, _)| at.clone())
            .collect();
        for (at, fstype) in self.mounts.iter().filter(|_| !points.is_empty()) {
            host.mount(pick(&points, at), fstype);
        }
        if let Some(at) = &self.vanished {
            let gone = pick(&directories, at).join(b"gone");
            host.mount(&gone, "tmpfs");
        }
        host.unstackable = self
            .unstackable
            .iter()
            .map(|at| pick(&directories, at).clone())
            .collect();
        host.large = self
            .large
            .iter()
            .map(|at| pick(&directories, at).clone())
            .collect();
        host
    }
}

fn text(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(
        |_| json!({ "base64": base64_encode(bytes) }),
        |text| json!(text),
    )
}

impl JobPlan {
    /// The job as JSON; a disk scratch is put on the host.
    fn build(&self, host: &mut FakeHost) -> Value {
        let all: Vec<AbsPath> = host
            .nodes
            .iter()
            .filter(|(_, node)| node.kind == Kind::Directory)
            .map(|(at, _)| at.clone())
            .collect();
        let mut named = BTreeSet::new();
        let mut directories = Vec::new();
        let root = self.root.map(|mode| (AbsPath::root(), mode));
        let others = self
            .directories
            .iter()
            .map(|(at, mode)| (pick(&all, at).clone(), *mode));
        for (at, mode) in root
            .into_iter()
            .chain(others.filter(|(at, _)| !at.is_root()))
        {
            if !path("/proc").contains(&at) && named.insert(at.clone()) {
                directories.push(json!({ "path": text(at.bytes()), "mode": mode }));
            }
        }
        let mut job = json!({
            "argv": ["true"],
            "directories": directories,
            "system_config": self.system_config,
            "network": if self.host_network { "host" } else { "none" },
            "user": { "uid": self.uid, "gid": self.uid },
        });
        if let Some(dev) = self.dev.filter(|_| !named.contains(&path("/dev"))) {
            job["dev"] = json!(dev);
        }
        if self.nestable {
            job["proc"] = json!("nestable");
        }
        if self.cwd {
            job["cwd"] = json!("/");
        }
        if let Some(home) = self
            .home
            .as_ref()
            .map(|at| pick(&all, at))
            .filter(|home| !home.bytes().iter().any(|&b| b == b':' || b == b'\n'))
        {
            job["user"]["home"] = text(home.bytes());
        }
        if let Some((at, xattr)) = &self.disk {
            let special = |at: &AbsPath| ["/proc", "/sys"].iter().any(|top| path(top).contains(at));
            let fine =
                |at: &&AbsPath| host.is_directory(at) && !host.nodes[*at].closed && !special(at);
            let at = pick(&all.iter().filter(fine).cloned().collect::<Vec<_>>(), at).clone();
            job["scratch"] = json!({ "directory": text(at.bytes()) });
            let own = at.join(b"stdbox-1");
            host.nodes.insert(own.clone(), directory(0o700));
            host.scratch = Some((own, *xattr));
        }
        job
    }
}

/// A host and a job, shown as a case of `tests/cases/` would have them.
#[derive(Clone)]
struct Case(HostPlan, JobPlan);

impl Case {
    fn build(&self) -> (FakeHost, Job) {
        let mut host = self.0.build();
        let job = self.1.build(&mut host);
        let parsed = Job::from_slice(job.to_string().as_bytes(), Channels::default());
        (
            host,
            parsed.unwrap_or_else(|problem| panic!("{job}: {problem:?}")),
        )
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut host = self.0.build();
        let job = self.1.build(&mut host);
        write!(f, "\n{job}\n{host}")
    }
}

fn cases() -> impl Strategy<Value = Case> {
    (hosts(), jobs()).prop_map(|(host, job)| Case(host, job))
}

/// The same cases every time; with `CASES=n` other ones, and as many.
fn config() -> ProptestConfig {
    let asked = std::env::var("CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(1500),
        rng_seed: if asked.is_some() {
            RngSeed::Random
        } else {
            RngSeed::Fixed(1)
        },
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #[test]
    fn memory_is_compared_byte_by_byte(
        left in prop::collection::vec(any::<u8>(), 0..40),
        right in prop::collection::vec(any::<u8>(), 0..40),
        alike in 0..=40_usize,
        skipped in 0..8_usize,
    ) {
        // Random bytes differ at once.
        let mut right = right;
        let alike = alike.min(left.len()).min(right.len());
        right[..alike].copy_from_slice(&left[..alike]);
        let (left, right) = (&left[skipped.min(left.len())..], &right[skipped.min(right.len())..]);
        let by_bytes = left.iter().cmp(right);
        prop_assert_eq!(left.cmp(right), by_bytes);
        prop_assert_eq!(left == right, by_bytes.is_eq());
    }
}

/// Every length up to several steps, from every place to every other, also where they overlap.
#[test]
fn memory_is_copied_byte_by_byte_and_nothing_beside_it() {
    const ROOM: usize = 24;
    for length in 0..=100 {
        let before: Vec<u8> = (1..=u8::MAX).cycle().take(length + ROOM).collect();
        for (from, to) in (0..=ROOM).flat_map(|from| (0..=ROOM).map(move |to| (from, to))) {
            let moved = |at: usize| {
                let is_copied = (to..to + length).contains(&at);
                before[if is_copied { at - to + from } else { at }]
            };
            let mut within = before.clone();
            within.copy_within(from..from + length, to);
            let mut beside = before.clone();
            beside[to..to + length].copy_from_slice(&before[from..from + length]);
            for at in 0..before.len() {
                let bytes = (within[at], beside[at]);
                assert_eq!(
                    bytes,
                    (moved(at), moved(at)),
                    "byte {at}: {length} bytes from {from} to {to}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn plan_any_job_on_any_host_keeps_the_contract(case in cases()) {
        let (host, job) = case.build();
        let (plan, facts, rounds) = host.plan(&job);
        // A level of the tree is asked for when the one above is known.
        let deepest = host.nodes.keys().map(|at| host::chain(at).len()).max().unwrap_or(0);
        let read = HostFacts::from_bytes(&facts.to_bytes());
        prop_assert_eq!(read.as_ref(), Ok(&facts), "what is written of a host is read as the same");
        prop_assert!(rounds <= 4 + 2 * deepest, "{rounds} rounds of questions");
        match plan {
            Err(problem) => prop_assert!(view::refusal_is_right(&job, &host, problem.code), "{problem:?}"),
            Ok(plan) => {
                view::check(&job, &host, &facts, &plan).map_err(|why| TestCaseError::fail(format!("{why}\n{}", view::listing(&plan))))?;
                let again = stdbox::plan::plan(&job, &facts);
                prop_assert_eq!(Ok(plan), again, "the same facts give the same plan");
            }
        }
    }

    #[test]
    fn plan_more_facts_than_needed_changes_nothing(case in cases()) {
        let (host, job) = case.build();
        let (first, _, _) = host.plan(&job);
        let mut facts = host.facts();
        let paths = host.nodes.keys().flat_map(|at| [Question::Path(at.clone()), Question::List(at.clone()), Question::Tree(at.clone()), Question::Stackable(at.clone())]);
        for question in paths.chain([Question::TmpfsXattr, Question::Devices]) {
            host.answer(&question, &mut facts);
        }
        let second = loop {
            match stdbox::plan::plan(&job, &facts) {
                Ok(plan) => break Ok(plan),
                Err(stdbox::plan::NoPlan::Refused(problem)) => break Err(problem),
                Err(stdbox::plan::NoPlan::Ask(questions)) => questions.iter().for_each(|question| host.answer(question, &mut facts)),
            }
        };
        prop_assert_eq!(first, second);
    }
}
