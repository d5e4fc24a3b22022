//! What is counted before and after, by looking at the kernel from outside.

use crate::namespaces;
use crate::support::outside::{has, marker};
use crate::support::{Fresh, probe, stdbox};
use crate::world::World;
use nix::libc;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Some things the kernel removes when it gets round to it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The word in the environment of every process of this run.
pub fn word() -> &'static str {
    static WORD: OnceLock<String> = OnceLock::new();
    WORD.get_or_init(|| marker("leaks"))
}

/// Where to look, and what for.
#[derive(Debug)]
pub struct Marks {
    pub scene: PathBuf,
    pub world: World,
    programs: Vec<(u64, u64)>,
}

impl Marks {
    pub fn new(scene: &Fresh, world: World) -> Self {
        let identity = |path: PathBuf| {
            let found = fs::metadata(path).expect("the program is there");
            (found.dev(), found.ino())
        };
        Self {
            scene: scene.path().to_owned(),
            world,
            programs: vec![identity(stdbox()), identity(probe())],
        }
    }
}

/// Names of what is there, by kind.
#[derive(Debug)]
pub struct Counted(BTreeMap<&'static str, BTreeSet<String>>);

impl Counted {
    pub fn now(marks: &Marks) -> Self {
        reap();
        let mut all = BTreeMap::from([
            ("processes", processes(marks)),
            ("mounts", lines("/proc/self/mountinfo")),
            ("files", files(marks)),
            ("IPC objects", ipc()),
            ("network devices", devices()),
            ("control groups", groups()),
            ("keys", keys()),
        ]);
        if marks.world.is_exact() {
            all.insert("namespaces in /proc", namespaces::named());
        }
        if marks.world == World::Walled {
            all.insert("namespaces in the kernel's count", namespaces::counted());
        }
        Self(all)
    }

    /// What is there when nothing changes any more, or what stays however much comes and goes: to count namespaces takes new
    /// ones, which the kernel takes its time to remove.
    pub fn settled(marks: &Marks) -> Self {
        let mut lasting = Self::now(marks);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(300));
            let now = Self::now(marks);
            if now.0 == lasting.0 {
                break;
            }
            for (kind, known) in &mut lasting.0 {
                known.retain(|name| now.0[kind].contains(name));
            }
        }
        lasting
    }

    /// What has come; of what stdbox can take away, also what has gone.
    pub fn changes(&self, marks: &Marks) -> Vec<(&'static str, String)> {
        let now = Self::now(marks);
        let kinds = self.0.iter().zip(now.0.values());
        kinds
            .flat_map(|((kind, before), after)| {
                let come = after.difference(before).map(|name| format!("+ {name}"));
                let lasting = ["mounts", "files", "network devices"].contains(kind);
                let before = before
                    .iter()
                    .filter(|_| lasting)
                    .cloned()
                    .collect::<BTreeSet<_>>();
                let gone = before.difference(after).map(|name| format!("- {name}"));
                come.chain(gone)
                    .map(|change| (*kind, change))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// The same as before, at the latest in a while.
    #[track_caller]
    pub fn holds(&self, marks: &Marks) {
        let begun = Instant::now();
        // To count namespaces makes some, which the kernel must have the time to remove before they are counted again.
        let mut pause = Duration::from_millis(20);
        loop {
            let changes = self.changes(marks);
            if changes.is_empty() {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "left behind, in the world {}: {changes:#?}",
                marks.world.name()
            );
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(3));
        }
    }
}

/// Takes in who has ended; says whether anybody is left.
pub fn reap() -> bool {
    loop {
        let mut status = 0;
        // SAFETY: the status has a place, and nobody else waits for a child now.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) } {
            0 => return true,
            -1 => return false,
            _ => {}
        }
    }
}

/// Waits until nobody is left.
#[track_caller]
pub fn nobody_is_left(what: &str) {
    let begun = Instant::now();
    while reap() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: somebody is still there: {:?}",
            processes_below(std::process::id())
        );
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn lines(path: &str) -> BTreeSet<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn numbers(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn named(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{pid} {}", name.trim())
}

fn processes_below(top: u32) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut pending = vec![top];
    while let Some(pid) = pending.pop() {
        let text =
            fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in text.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            found.insert(named(child));
            pending.push(child);
        }
    }
    found
}

/// Descendants of this process, which takes in orphans; who runs one of our programs, or has our word in its environment or on
/// its command line; where nobody else should be, everybody.
fn processes(marks: &Marks) -> BTreeSet<String> {
    let own = std::process::id();
    let mut found = processes_below(own);
    for pid in numbers("/proc").into_iter().filter(|&pid| pid != own) {
        let place = format!("/proc/{pid}");
        let program = fs::metadata(format!("{place}/exe"))
            .is_ok_and(|found| marks.programs.contains(&(found.dev(), found.ino())));
        let word = ["environ", "cmdline"].iter().any(|file| {
            has(
                &fs::read(format!("{place}/{file}")).unwrap_or_default(),
                word(),
            )
        });
        if marks.world.is_exact() || program || word {
            found.insert(named(pid));
        }
    }
    found
}

/// Everything below the directories of the jobs, and in those that every program may write.
fn files(marks: &Marks) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(&marks.scene, &mut found, &|_| true);
    for place in ["/tmp", "/run", "/dev/shm"] {
        walk(Path::new(place), &mut found, &|path| {
            marks.world.is_exact() || is_ours(path)
        });
    }
    walk(Path::new("/var/tmp"), &mut found, &is_ours);
    found
}

/// Where others are about, by what stdbox would call it; test programs have names of their own.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains("stdbox")
        && !["stdbox-test-", "stdbox-copy", "stdbox-ci-"]
            .iter()
            .any(|other| name.starts_with(other))
}

fn walk(top: &Path, found: &mut BTreeSet<String>, wanted: &dyn Fn(&Path) -> bool) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        let path = entry.path();
        if wanted(&path) {
            found.insert(path.display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&path, found, &|_| true);
            }
        }
    }
}

/// SysV objects by kind, key and id; POSIX queues where they are mounted.
fn ipc() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for kind in ["shm", "sem", "msg"] {
        for line in lines(&format!("/proc/sysvipc/{kind}"))
            .iter()
            .filter(|line| !line.contains("key"))
        {
            let words: Vec<&str> = line.split_whitespace().take(2).collect();
            found.insert(format!("{kind} {}", words.join(" ")));
        }
    }
    for entry in fs::read_dir("/dev/mqueue").into_iter().flatten().flatten() {
        found.insert(format!("mqueue {}", entry.path().display()));
    }
    found
}

fn devices() -> BTreeSet<String> {
    let all = lines("/proc/self/net/dev").into_iter();
    all.filter_map(|line| line.split_once(':').map(|(name, _)| name.trim().to_owned()))
        .collect()
}

/// Directories below every mount of control groups.
fn groups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for place in group_mounts() {
        walk_groups(&place, &mut found);
    }
    found
}

/// Where control groups of either version are mounted.
pub fn group_mounts() -> Vec<PathBuf> {
    let table = lines("/proc/self/mountinfo").into_iter();
    let is_one = |line: &String| line.contains(" - cgroup2 ") || line.contains(" - cgroup ");
    table
        .filter(is_one)
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .collect()
}

fn walk_groups(top: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.insert(entry.path().display().to_string());
            walk_groups(&entry.path(), found);
        }
    }
}

/// How many keys each of our users has, in steps: other programs of the same user have some too, and theirs come and go.
fn keys() -> BTreeSet<String> {
    const STEP: u64 = 32;
    let own = format!("{}:", nix::unistd::geteuid());
    let mut found = BTreeSet::new();
    for line in lines("/proc/key-users") {
        let mut words = line.split_whitespace();
        if words.next() == Some(&own) {
            let count = words
                .nth(1)
                .and_then(|word| word.split('/').next()?.parse::<u64>().ok());
            // From one step on each, so that a few more or less do not matter.
            let level = count.unwrap_or(0) / STEP;
            found.extend((1..=level).map(|n| format!("{} keys", n * STEP)));
        }
    }
    found
}

/// How many objects of a few kinds the kernel has; only root may see it, and outside of user namespaces.
pub fn caches() -> BTreeMap<String, u64> {
    const NAMES: [&str; 9] = [
        "mnt_cache",
        "net_namespace",
        "pid_namespace",
        "user_namespace",
        "uts_namespace",
        "nsproxy",
        "task_struct",
        "key_jar",
        "pid",
    ];
    let mut found = BTreeMap::new();
    for line in lines("/proc/slabinfo") {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(Ok(count))) = (words.next(), words.next().map(str::parse))
            && NAMES.contains(&name)
        {
            found.insert(name.to_owned(), count);
        }
    }
    found
}

/// Which of them have grown by one for every other job.
pub fn grown(before: &BTreeMap<String, u64>, jobs: usize) -> Vec<String> {
    let now = caches();
    let most = jobs as u64 / 2;
    let pairs = before
        .iter()
        .filter_map(|(name, count)| Some((name, *count, *now.get(name)?)));
    pairs
        .filter(|(_, before, after)| after.saturating_sub(*before) > most)
        .map(|(name, before, after)| format!("{name}: {before} -> {after}"))
        .collect()
}

/// None has. The kernel counts in pages, so a few jobs say nothing.
#[track_caller]
pub fn caches_hold(before: &BTreeMap<String, u64>, jobs: usize) {
    if jobs < 1000 {
        return;
    }
    let begun = Instant::now();
    loop {
        let grown = grown(before, jobs);
        if grown.is_empty() {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the kernel keeps objects of {jobs} jobs: {grown:?}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}
