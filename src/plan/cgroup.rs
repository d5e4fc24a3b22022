//! The control group of a job: whether it has one, below which, and what is written there. Ring 0.

use super::{Meter, NoPlan};
use crate::cgroup::{CgroupFacts, Controllers, Group, NoGroup, Occupants};
use crate::host::{HostFacts, Question};
use crate::job::{self, CPU_PERIOD_US, Job};
use crate::problem::{Code, Problem, Stage};
use crate::remedy;
use crate::text::AbsPath;
use nix::errno::Errno;
use std::ffi::CStr;

/// A group to be made for the job, without groups below it: a leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The group that it is made in.
    pub parent: AbsPath,
    /// Whether stdbox leaves that group for another one beside the leaf, so that there are no processes in it.
    pub step_aside: bool,
    /// Controllers that the parent is to give, because a limit needs them.
    pub enable: Controllers,
    /// Controllers for figures only; where it cannot give them, the job goes without.
    pub wish: Controllers,
    /// What is written, in this order.
    pub settings: Vec<Setting>,
    /// How its processor time is looked at, if that is limited.
    pub meter: Option<Meter>,
}

/// A value for a file of the group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its name.
    pub file: &'static CStr,
    /// What is written.
    pub value: String,
    /// The field of the job that asks for it.
    pub at: &'static str,
    /// Where the kernel takes every value: the file that shows what it made of it, which must be the same.
    pub shown_by: Option<&'static CStr>,
    /// What a kernel without the file means.
    pub if_missing: IfMissing,
}

/// What a kernel without a file of a group means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IfMissing {
    /// The limit cannot be kept.
    Fail,
    /// There is nothing to limit.
    PassOver,
}

/// Controllers whose files have figures for the report.
const FIGURES: Controllers = Controllers::MEMORY
    .with(Controllers::PIDS)
    .with(Controllers::IO);

/// Whether there is a leaf, and which.
///
/// # Errors
/// [`NoPlan::Ask`] as long as the groups are not known; else why a job that needs one cannot have it.
pub(super) fn leaf(job: &Job, facts: &HostFacts) -> Result<Option<Leaf>, NoPlan> {
    let Some(question) = question(job) else {
        return Ok(None);
    };
    let Some(known) = &facts.cgroup else {
        return Err(NoPlan::Ask(vec![question]));
    };
    let needed = job.group_limits.needed();
    let settled = settle(job, known, &needed);
    match settled {
        Ok(leaf) => Ok(Some(leaf)),
        // Processor time alone can be looked at without a group.
        Err(_) if needed.is_empty() && job.cgroup == job::Cgroup::Auto => Ok(None),
        Err(problem) => {
            let at = match (needed.first(), &job.cgroup) {
                (_, job::Cgroup::Parent(_)) => "/cgroup/parent",
                (Some((_, field)), _) => field,
                (None, _) => "/cgroup",
            };
            Err(problem.pointer(Some(at)).into())
        }
    }
}

/// What must be known about groups for this job, if anything.
pub(super) fn question(job: &Job) -> Option<Question> {
    match &job.cgroup {
        job::Cgroup::Off => None,
        job::Cgroup::Parent(path) => Some(Question::Cgroup(Some(path.clone()))),
        job::Cgroup::Required => Some(Question::Cgroup(None)),
        job::Cgroup::Auto => {
            let limited = job.limits.cpu_time_ms.is_some() || !job.group_limits.needed().is_empty();
            limited.then_some(Question::Cgroup(None))
        }
    }
}

/// The group that many processes of stdbox leave before they are started, and what it can give to groups below it then: the
/// caller's own, where nobody else is in it. Later it could not be left by all of them at once.
#[must_use]
pub fn group_to_leave(known: &CgroupFacts) -> Option<(&AbsPath, Controllers)> {
    let own = known.groups.first()?;
    let more = own.available.without(own.enabled);
    let leaves = own.occupants == Occupants::OnlyCaller
        && own.refused.is_none()
        && own.uncontrolled.is_none()
        && !more.is_empty();
    leaves.then_some((&own.path, more))
}

fn settle(
    job: &Job,
    known: &CgroupFacts,
    needed: &[(Controllers, &'static str)],
) -> Result<Leaf, Problem> {
    let enable = needed
        .iter()
        .fold(Controllers::default(), |all, (one, _)| all.with(*one));
    if !known.v1.is_empty() {
        let message = format!(
            "The machine has control groups of version 1, which hold its controllers ({}).",
            known.v1
        );
        return Err(Problem::new(Code::CgroupV1, Stage::Cgroup, message)
            .path(b"/sys/fs/cgroup")
            .hint(remedy::CGROUP_V1.hint));
    }
    let (mut refusal, mut best) = (None, None);
    for group in &known.groups {
        match fits(job, group, enable) {
            // The first one that can keep the limits; where figures were asked for, the one that gives most of them.
            Ok(leaf) if job.cgroup == job::Cgroup::Auto => return Ok(leaf),
            Ok(leaf) => {
                let given = group.enabled.with(leaf.enable).with(leaf.wish).and(FIGURES);
                if best.as_ref().is_none_or(|(most, _)| given.count() > *most) {
                    best = Some((given.count(), leaf));
                }
            }
            Err(problem) => refusal = Some(add(refusal, problem)),
        }
    }
    if let Some((_, leaf)) = best {
        return Ok(leaf);
    }
    Err(refusal.unwrap_or_else(|| no_group(known.none.as_ref(), &job.cgroup)))
}

/// Several reasons as one: each group has its own.
fn add(first: Option<Problem>, next: Problem) -> Problem {
    match first {
        None => next,
        Some(mut first) => {
            first.message = format!("{} {}", first.message, next.message);
            first
        }
    }
}

fn unavailable(message: String) -> Problem {
    Problem::new(Code::CgroupUnavailable, Stage::Cgroup, message).hint(remedy::CGROUP_DELEGATE.hint)
}

fn no_group(none: Option<&NoGroup>, asked: &job::Cgroup) -> Problem {
    let named = match asked {
        job::Cgroup::Parent(path) => Some(path),
        _ => None,
    };
    let shown = named.map_or_else(String::new, |path| path.lossy().into_owned());
    let problem = match none {
        Some(NoGroup::Unopened(errno)) => {
            unavailable(format!("The control group {shown} cannot be opened."))
                .errno("openat2", Errno::from_raw(*errno))
        }
        Some(NoGroup::NotCgroup2) => {
            unavailable(format!("{shown} is no directory of a cgroup v2 hierarchy."))
        }
        Some(NoGroup::NotMounted) | None => unavailable(
            "No cgroup v2 hierarchy is mounted where the caller's own group can be seen.".into(),
        )
        .hint(remedy::CGROUP_MOUNT.hint),
    };
    match named {
        Some(path) => problem.path(path.bytes()),
        None => problem,
    }
}

/// A leaf below this group, if that can be.
fn fits(job: &Job, group: &Group, enable: Controllers) -> Result<Leaf, Problem> {
    let shown = group.path.lossy();
    let refused = |(path, errno): &(AbsPath, i32), what: &str| {
        let message = format!("{} is not writable, so {what}.", path.lossy());
        let errno = Errno::from_raw(*errno);
        unavailable(message)
            .path(path.bytes())
            .errno("faccessat2", errno)
    };
    if let Some(refusal) = &group.refused {
        let what = format!("no group can be made in {shown} and entered");
        return Err(refused(refusal, &what));
    }
    let lacking = enable.without(group.available);
    if !lacking.is_empty() {
        let path = group.path.join(b"cgroup.controllers");
        let message = format!("{} does not name {lacking}.", path.lossy());
        return Err(unavailable(message).path(path.bytes()).hint(
            "The group above it must give the controller: its name must stand in cgroup.subtree_control there (systemd: MemoryAccounting=, TasksAccounting=, CPUAccounting= or AllowedCPUs= of the unit, and Delegate=yes).",
        ));
    }
    let wish = FIGURES
        .and(group.available)
        .without(group.enabled)
        .without(enable);
    let missing = enable.without(group.enabled);
    let asked = job.cgroup != job::Cgroup::Auto;
    // The caller's place is not changed for a figure that nobody asked for.
    let step_aside = group.occupants == Occupants::OnlyCaller
        && group.uncontrolled.is_none()
        && (!missing.is_empty() || asked && !wish.is_empty());
    if !missing.is_empty() {
        if let Some(refusal) = &group.uncontrolled {
            let what = format!("{shown} cannot give {missing} to a group below it");
            return Err(refused(refusal, &what));
        }
        if group.occupants == Occupants::Others {
            let message = format!(
                "{shown} has processes of its own, so it cannot give {missing} to a group below it."
            );
            return Err(unavailable(message).path(group.path.bytes()));
        }
    }
    let can_wish = step_aside || group.occupants == Occupants::Nobody;
    Ok(Leaf {
        parent: group.path.clone(),
        step_aside,
        enable: missing,
        wish: if can_wish && group.uncontrolled.is_none() {
            wish
        } else {
            Controllers::default()
        },
        settings: settings(&job.group_limits),
        meter: None,
    })
}

fn settings(limits: &job::GroupLimits) -> Vec<Setting> {
    let set = |file, value: String, at| Setting {
        file,
        value,
        at,
        shown_by: None,
        if_missing: IfMissing::Fail,
    };
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        let at = "/limits/memory_bytes";
        // A kernel that does not swap has no such file.
        all.push(Setting {
            if_missing: IfMissing::PassOver,
            ..set(c"memory.swap.max", "0".into(), at)
        });
        all.push(set(c"memory.oom.group", "1".into(), at));
        all.push(set(c"memory.max", bytes.to_string(), at));
    }
    if let Some(most) = limits.processes {
        all.push(set(c"pids.max", most.to_string(), "/limits/processes"));
    }
    if let Some(quota) = limits.cpu_quota_us {
        let value = format!("{quota} {CPU_PERIOD_US}");
        all.push(set(c"cpu.max", value, "/limits/cpus"));
    }
    if let Some(list) = &limits.cpuset {
        all.push(Setting {
            shown_by: Some(c"cpuset.cpus.effective"),
            ..set(c"cpuset.cpus", list.to_string(), "/limits/cpuset")
        });
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test may stop at the first surprise"
    )]

    use super::*;
    use crate::job::Channels;

    fn job(fields: &str) -> Job {
        let text = format!("{{\"argv\":[\"true\"]{fields}}}");
        Job::from_slice(text.as_bytes(), Channels::default()).unwrap()
    }

    fn group(path: &'static str, occupants: Occupants) -> Group {
        let all = Controllers::parse("memory pids cpu cpuset io");
        Group {
            path: AbsPath::fixed(path),
            available: all,
            enabled: Controllers::default(),
            occupants,
            refused: None,
            uncontrolled: None,
        }
    }

    fn facts(groups: Vec<Group>) -> HostFacts {
        HostFacts {
            cgroup: Some(CgroupFacts {
                groups,
                ..CgroupFacts::default()
            }),
            ..HostFacts::default()
        }
    }

    fn refusal(job: &Job, facts: &HostFacts) -> Problem {
        match leaf(job, facts) {
            Err(NoPlan::Refused(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    const LIMITED: &str = ",\"limits\":{\"memory_bytes\":4096}";

    #[test]
    fn leaf_is_asked_for_only_where_one_is_wanted() {
        let none = HostFacts::default();
        assert_eq!(leaf(&job(""), &none), Ok(None));
        assert_eq!(leaf(&job(",\"cgroup\":\"off\""), &none), Ok(None));
        for fields in [
            LIMITED,
            ",\"cgroup\":\"required\"",
            ",\"limits\":{\"cpu_time_ms\":1}",
        ] {
            assert_eq!(
                leaf(&job(fields), &none),
                Err(NoPlan::Ask(vec![Question::Cgroup(None)])),
                "{fields}"
            );
        }
    }

    #[test]
    fn leaf_goes_beside_a_caller_that_is_not_alone() {
        let own = group("/g/own", Occupants::Others);
        let mut above = group("/g", Occupants::Nobody);
        let made = leaf(&job(LIMITED), &facts(vec![own.clone(), above.clone()]))
            .unwrap()
            .unwrap();
        assert_eq!(
            (made.parent, made.step_aside),
            (AbsPath::fixed("/g"), false)
        );
        assert_eq!(made.enable, Controllers::MEMORY);
        assert_eq!(made.wish, Controllers::PIDS.with(Controllers::IO));
        // Processes there do not matter once the controllers are given.
        above.occupants = Occupants::Others;
        above.enabled = Controllers::MEMORY;
        let made = leaf(&job(LIMITED), &facts(vec![own, above]))
            .unwrap()
            .unwrap();
        assert_eq!((made.enable, made.wish), Default::default());
    }

    #[test]
    fn leaf_of_a_caller_alone_makes_it_step_aside() {
        let own = group("/g", Occupants::OnlyCaller);
        let made = leaf(&job(LIMITED), &facts(vec![own.clone()]))
            .unwrap()
            .unwrap();
        assert!(made.step_aside);
        let made = leaf(&job(",\"limits\":{\"cpu_time_ms\":1}"), &facts(vec![own]))
            .unwrap()
            .unwrap();
        assert_eq!(
            (made.step_aside, made.wish),
            (false, Controllers::default())
        );
    }

    #[test]
    fn leaf_for_figures_goes_where_there_are_some() {
        let mut own = group("/g/own", Occupants::Others);
        own.available = Controllers::default();
        let groups = facts(vec![own, group("/g", Occupants::Nobody)]);
        let parent = |fields: &str| leaf(&job(fields), &groups).unwrap().unwrap().parent;
        assert_eq!(parent(",\"cgroup\":\"required\""), AbsPath::fixed("/g"));
        assert_eq!(
            parent(",\"limits\":{\"cpu_time_ms\":1}"),
            AbsPath::fixed("/g/own")
        );
    }

    #[test]
    fn leaf_that_cannot_be_says_which_file_is_in_the_way() {
        let mut own = group("/g/own", Occupants::Others);
        own.refused = Some((AbsPath::fixed("/g/own"), 13));
        let problem = refusal(&job(LIMITED), &facts(vec![own.clone()]));
        assert_eq!(problem.code, Code::CgroupUnavailable);
        assert_eq!(problem.at.as_deref(), Some("/limits/memory_bytes"));
        assert_eq!(problem.path.as_ref().unwrap().0, b"/g/own");
        assert_eq!(problem.errno_name.as_deref(), Some("EACCES"));
        // Without a need for it, time is looked at in another way.
        let timed = job(",\"limits\":{\"cpu_time_ms\":1}");
        assert_eq!(leaf(&timed, &facts(vec![own])), Ok(None));
        let mut v1 = facts(vec![group("/", Occupants::Nobody)]);
        v1.cgroup.as_mut().unwrap().v1 = Controllers::MEMORY;
        assert_eq!(refusal(&job(LIMITED), &v1).code, Code::CgroupV1);
        assert_eq!(leaf(&timed, &v1), Ok(None));
        let mut poor = group("/g", Occupants::Nobody);
        poor.available = Controllers::PIDS;
        let problem = refusal(&job(LIMITED), &facts(vec![poor]));
        assert_eq!(problem.path.as_ref().unwrap().0, b"/g/cgroup.controllers");
    }

    #[test]
    fn settings_close_swap_before_memory_is_limited() {
        let all =
            job(",\"limits\":{\"memory_bytes\":1,\"processes\":2,\"cpus\":0.5,\"cpuset\":\"1,0\"}");
        let written: Vec<_> = settings(&all.group_limits)
            .into_iter()
            .map(|setting| (setting.file.to_str().unwrap(), setting.value))
            .collect();
        let expected = [
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("memory.max", "1"),
            ("pids.max", "2"),
            ("cpu.max", "50000 100000"),
            ("cpuset.cpus", "0-1"),
        ];
        assert_eq!(
            written,
            expected.map(|(file, value)| (file, value.to_owned()))
        );
    }

    #[test]
    fn a_batch_leaves_its_group_only_if_that_gives_its_jobs_something() {
        let left = |own: Group| {
            let known = CgroupFacts {
                groups: vec![own, group("/", Occupants::Nobody)],
                ..CgroupFacts::default()
            };
            group_to_leave(&known).map(|(path, more)| (path.clone(), more))
        };
        let all = Controllers::parse("memory pids cpu cpuset io");
        let own = || group("/g", Occupants::OnlyCaller);
        assert_eq!(left(own()), Some((AbsPath::fixed("/g"), all)));
        let mut given = own();
        given.enabled = Controllers::parse("memory");
        let rest = Controllers::parse("pids cpu cpuset io");
        assert_eq!(left(given), Some((AbsPath::fixed("/g"), rest)));
        let mut all_given = own();
        all_given.enabled = all;
        let mut foreign = own();
        foreign.refused = Some((AbsPath::fixed("/g/cgroup.procs"), 13));
        let mut fixed = own();
        fixed.uncontrolled = Some((AbsPath::fixed("/g/cgroup.subtree_control"), 13));
        for own in [
            all_given,
            foreign,
            fixed,
            group("/g", Occupants::Others),
            group("/g", Occupants::Nobody),
        ] {
            assert_eq!(left(own), None);
        }
    }
}
