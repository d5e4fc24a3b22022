//! Job × host → plan. The first line is a job; what follows is either a host in the form of `tests/cases/host.rs`, or facts as
//! JSON, which need not be those of any host that there is. The planner ends, asks nothing twice, and says the same each time.
//! On a host that could be, which is one of the cases', the plan of an ordinary job is carried out on paper, as
//! `tests/properties.rs` does.

use crate::host::{FakeHost, Node, chain, path};
use crate::view;
use std::collections::BTreeSet;
use stdbox::cgroup::CgroupFacts;
use stdbox::host::{CpuFacts, HostFacts, IdFacts, Kind, Listing, PathFact, Question};
use stdbox::job::{Channels, Job, Scratch};
use stdbox::outcome::{Outcome, Verdict, planned};
use stdbox::plan::{NoPlan, Plan, first_questions, plan};
use stdbox::problem::{Code, Problem, Stage};
use stdbox::report::{Report, Timing};
use stdbox::spec::{IdMap, ProcMode, Sys};
use stdbox::text::AbsPath;

/// A larger host only takes longer.
const MOST_NODES: usize = 160;

/// Questions are asked level by level, and paths have few.
const MOST_ROUNDS: usize = 128;

pub fn run(data: &[u8]) {
    let end = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let (job, rest) = data.split_at(end);
    let Ok(job) = Job::from_slice(job, Channels::STANDARD) else {
        return;
    };
    let rest = rest.get(1..).unwrap_or_default();
    if rest.first() == Some(&b'{') {
        if let Ok(facts) = HostFacts::from_bytes(rest) {
            on_facts(&job, facts);
        }
    } else if let Some(host) = host(&job, rest) {
        on_host(&job, &host, false);
    }
    let text = CASES[data.len() % CASES.len()].replace("use ../debian.txt", DEBIAN);
    if let Some(host) = host(&job, text.as_bytes()) {
        on_host(&job, &host, on_paper(&job));
    }
}

const DEBIAN: &str = include_str!("../../cases/debian.txt");

/// Hosts that could be.
const CASES: [&str; 6] = [
    DEBIAN,
    include_str!("../../cases/lxcfs/host.txt"),
    include_str!("../../cases/mount-vfat-and-fuse/host.txt"),
    include_str!("../../cases/nested-modes/host.txt"),
    include_str!("../../cases/real-root/host.txt"),
    include_str!("../../cases/stacked-overlay/host.txt"),
];

/// Facts that contradict each other, as far as they go; what they lack is made up.
fn on_facts(job: &Job, mut facts: HostFacts) {
    for round in 0.. {
        assert!(round < MOST_ROUNDS, "the questions do not end");
        match plan(job, &facts) {
            Ok(plan) => return sound(job, &facts, &plan),
            Err(NoPlan::Refused(problem)) => return refused(&problem),
            Err(NoPlan::Ask(questions)) => {
                assert!(!questions.is_empty(), "neither asked nor planned");
                for question in questions {
                    assert!(!facts.knows(&question), "asked again: {question:?}");
                    answer(&question, &mut facts);
                }
            }
        }
    }
}

/// An answer that any host could give.
fn answer(question: &Question, facts: &mut HostFacts) {
    match question {
        Question::Mounts => facts.mounts = Some(Default::default()),
        Question::Path(at) => {
            let fact = if at.bytes().len() % 7 == 6 {
                PathFact::Missing
            } else {
                PathFact::Directory {
                    mode: 0o755,
                    mount: false,
                }
            };
            facts.paths.insert(at.clone(), fact);
        }
        Question::Real(given) => {
            let real = AbsPath::new(given.to_bytes()).map_err(|_| 2);
            facts.real.insert(given.clone(), real);
        }
        Question::List(at) => {
            let entries = Listing::Entries(Vec::new());
            facts.lists.insert(at.clone(), entries);
        }
        Question::Tree(at) => drop(facts.trees.insert(at.clone(), Listing::TooLarge)),
        Question::Stackable(at) => drop(facts.stackable.insert(at.clone(), true)),
        Question::TmpfsXattr => facts.tmpfs_xattr = Some(true),
        Question::Devices => facts.devices = Some(true),
        Question::Kernel => facts.kernel = Some("6.1.0".to_owned()),
        Question::Ids => facts.ids = Some(IdFacts::default()),
        Question::Cpus => {
            let limit_s = [1, u64::MAX];
            facts.cpus = Some(CpuFacts { count: 3, limit_s });
        }
        Question::Cgroup(_) => facts.cgroup = Some(CgroupFacts::default()),
    }
}

/// What holds for every plan.
fn sound(job: &Job, facts: &HostFacts, made: &Plan) {
    assert_eq!(
        plan(job, facts).as_ref(),
        Ok(made),
        "another plan of the same"
    );
    assert!(made.steps.len() < 100_000, "{} steps", made.steps.len());
    for placed in &made.steps {
        let at = placed.at.as_deref().unwrap_or("/");
        assert!(at.starts_with('/'), "{at}");
    }
    let (warnings, degraded) = (made.warnings.clone(), made.degraded.clone());
    let outcome = Outcome {
        warnings,
        degraded,
        ..Outcome::before(Verdict::Planned(Box::new(made.clone())))
    };
    let report = Report::new(None, &outcome, Timing::default()).to_bytes();
    let read: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    assert!(read["plan"].is_object(), "{read}");
    // The form for people has a line for each step at least.
    let text = planned(&outcome);
    assert!(text.lines().count() >= made.steps.len(), "{text}");
    if let Some(filter) = &made.filter {
        crate::interpreter::taken(&filter.program);
    }
}

fn refused(problem: &Problem) {
    assert_ne!(problem.code, Code::Internal, "{problem:?}");
    assert!(
        !matches!(problem.stage, Stage::Parse | Stage::Report),
        "{problem:?}"
    );
    assert!(problem.message.ends_with('.'), "{problem:?}");
}

fn on_host(job: &Job, host: &FakeHost, paper: bool) {
    let (made, facts, rounds) = host.plan(job);
    let deepest = host.nodes.keys().map(|at| chain(at).len()).max();
    let bound = 8 + 2 * deepest.unwrap_or(0) + 2 * job.mounts.len();
    assert!(rounds <= bound, "{rounds} rounds of questions");
    let read = HostFacts::from_bytes(&facts.to_bytes());
    assert_eq!(read.as_ref(), Ok(&facts), "facts that are read again");
    match made {
        Err(problem) => {
            refused(&problem);
            if paper {
                let right = view::refusal_is_right(job, host, problem.code);
                assert!(right, "{problem:?}\n{host}");
            }
        }
        Ok(plan) => {
            sound(job, &facts, &plan);
            if paper && let Err(why) = view::check(job, host, &facts, &plan) {
                panic!("{why}\n{host}\n{}", view::listing(&plan));
            }
            // The more is known, the less is asked, and nothing else changes.
            let known = first_questions(job, &host.caller);
            assert!(known.iter().all(|question| facts.knows(question)));
        }
    }
}

/// Whether the paper knows all that the job asks for.
fn on_paper(job: &Job) -> bool {
    let limited = job.group_limits != Default::default();
    job.mounts.is_empty()
        && job.root.is_none()
        && job.sys == Sys::Host
        && job.proc != ProcMode::None
        && job.results.is_none()
        && !job.changes
        && !limited
        && job.user.map == IdMap::Single
        && job.cgroup == stdbox::job::Cgroup::Auto
        && job.capabilities.is_empty()
        && matches!(
            job.seccomp,
            stdbox::job::Seccomp::Default | stdbox::job::Seccomp::Off
        )
}

/// The host that the lines describe, made into one that could be; lines that are none count for nothing.
fn host(job: &Job, text: &[u8]) -> Option<FakeHost> {
    let text = std::str::from_utf8(text).ok()?;
    let mut host = FakeHost::default();
    host.caller.cwd = Some(AbsPath::root());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if host.nodes.len() < MOST_NODES && host.mounts.len() < 24 {
            let _none = host.take_line(line.split(" #").next().unwrap_or_default());
        }
    }
    settle(&mut host);
    host.scratch = None;
    if let Scratch::Disk(place) = &job.scratch {
        // Ring 1 has made it by then, or has refused the job.
        let special = ["/proc", "/sys"]
            .iter()
            .any(|top| path(top).contains(place));
        let open = host.is_directory(place) && !host.nodes[place].closed && !special;
        let own = place.join(b"stdbox-1");
        if !open || host.nodes.contains_key(&own) {
            return None;
        }
        host.nodes.insert(own.clone(), directory(0o700));
        host.scratch = Some((own, !host.no_xattr));
    }
    Some(host)
}

fn directory(mode: u32) -> Node {
    Node {
        kind: Kind::Directory,
        mode,
        unlisted: false,
        closed: false,
    }
}

/// A tree has a root and parents, its mounts have places, and the kernel's own file systems are where they are everywhere.
fn settle(host: &mut FakeHost) {
    let root = host.nodes.remove(&AbsPath::root());
    let mode = root.map_or(0o755, |root| root.mode);
    host.nodes.insert(AbsPath::root(), directory(mode));
    let proc = path("/proc");
    host.nodes.retain(|at, _| !proc.contains(at));
    host.nodes.insert(proc.clone(), directory(0o555));
    let mut directories = BTreeSet::from([AbsPath::root()]);
    host.nodes.retain(|at, node| {
        node.mode &= 0o7777;
        let fine = at.is_root() || at.parent().is_some_and(|up| directories.contains(&up));
        if fine && node.kind == Kind::Directory {
            directories.insert(at.clone());
        }
        if let Kind::Symlink(to) = &node.kind {
            return fine && !to.is_empty() && !to.contains(&0);
        }
        fine
    });
    let mounts = std::mem::take(&mut host.mounts);
    host.mount(&AbsPath::root(), "ext4");
    host.mount(&proc, "proc");
    for mounted in mounts {
        let at = mounted.at;
        let possible = match host.nodes.get(&at) {
            Some(node) => !matches!(node.kind, Kind::Symlink(_)),
            // It has vanished since.
            None => at.parent().is_some_and(|up| directories.contains(&up)),
        };
        if possible && !proc.contains(&at) && !at.is_root() {
            host.mount(&at, &mounted.fstype);
        }
    }
    let at_directory = |at: &AbsPath| directories.contains(at);
    host.unstackable.retain(at_directory);
    host.large.retain(at_directory);
    if host.caller.cwd.as_ref().is_some_and(|at| !at_directory(at)) {
        host.caller.cwd = Some(AbsPath::root());
    }
    host.caller
        .environ
        .retain(|pair| !pair.contains(&0) && pair.contains(&b'='));
    host.caller.core_limit = u64::MAX;
}
