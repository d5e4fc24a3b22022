//! Control groups, and the limits that need one. Ring 0.

use super::rules::{MAX_SIZE, abs_path, in_range};
use super::{Cgroup, Checked, GroupLimits};
use crate::cgroup::Controllers;
use crate::cpu_list::CpuList;
use crate::problem::{Code, Problem};
use crate::spec::{self, CgroupObject, CgroupWord, WordOr};

/// The kernel has no more pids: PID_MAX_LIMIT in include/linux/threads.h.
const MAX_PROCESSES: u64 = 1 << 22;

/// The period of `cpu.max` in microseconds, which is also the kernel's default.
pub(crate) const CPU_PERIOD_US: u32 = 100_000;

const MAX_CPUS: f64 = 1024.0;

pub(super) fn limits(spec: &spec::LimitsSpec) -> Checked<GroupLimits> {
    Ok(GroupLimits {
        memory_bytes: spec
            .memory_bytes
            .map(|v| in_range(v, 1, MAX_SIZE, "/limits/memory_bytes"))
            .transpose()?,
        processes: spec
            .processes
            .map(|v| in_range(v, 1, MAX_PROCESSES, "/limits/processes"))
            .transpose()?,
        cpu_quota_us: spec.cpus.map(quota).transpose()?,
        cpuset: spec.cpuset.as_deref().map(cpuset).transpose()?,
    })
}

fn quota(cpus: f64) -> Checked<u64> {
    if !(cpus > 0.0 && cpus <= MAX_CPUS) {
        let message = format!("{cpus} is not above 0 and at most {MAX_CPUS}.");
        return Err(Problem::at(Code::OutOfRange, "/limits/cpus", message));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::as_conversions,
        reason = "it is between 0 and 102,400,000"
    )]
    let quota = (cpus * f64::from(CPU_PERIOD_US)).round() as u64;
    Ok(quota.max(1))
}

fn cpuset(list: &str) -> Checked<CpuList> {
    CpuList::parse(list).ok_or_else(|| {
        let message = "A list of processors has numbers and ranges of them, such as 0-3,8.";
        Problem::at(Code::UnknownValue, "/limits/cpuset", message)
    })
}

pub(super) fn cgroup(
    spec: Option<WordOr<CgroupWord, CgroupObject>>,
    limits: &GroupLimits,
) -> Checked<Cgroup> {
    Ok(match spec {
        None | Some(WordOr::Word(CgroupWord::Auto)) => Cgroup::Auto,
        Some(WordOr::Word(CgroupWord::Required)) => Cgroup::Required,
        Some(WordOr::Word(CgroupWord::Off)) => {
            if let Some((_, field)) = limits.needed().first() {
                let message = format!("{field} needs a control group, and \"off\" allows none.");
                return Err(Problem::at(Code::Contradiction, "/cgroup", message));
            }
            Cgroup::Off
        }
        Some(WordOr::Object(CgroupObject { parent })) => {
            Cgroup::Parent(abs_path(&parent, "/cgroup/parent")?)
        }
    })
}

pub(super) fn normal_cgroup(cgroup: &Cgroup) -> WordOr<CgroupWord, CgroupObject> {
    match cgroup {
        Cgroup::Auto => WordOr::Word(CgroupWord::Auto),
        Cgroup::Required => WordOr::Word(CgroupWord::Required),
        Cgroup::Off => WordOr::Word(CgroupWord::Off),
        Cgroup::Parent(path) => WordOr::Object(CgroupObject {
            parent: path.bytes().into(),
        }),
    }
}

impl GroupLimits {
    /// The controllers that it takes, each with the field that asks for it.
    #[must_use]
    pub fn needed(&self) -> Vec<(Controllers, &'static str)> {
        let asked = [
            (
                self.memory_bytes.is_some(),
                Controllers::MEMORY,
                "/limits/memory_bytes",
            ),
            (
                self.processes.is_some(),
                Controllers::PIDS,
                "/limits/processes",
            ),
            (
                self.cpu_quota_us.is_some(),
                Controllers::CPU,
                "/limits/cpus",
            ),
            (self.cpuset.is_some(), Controllers::CPUSET, "/limits/cpuset"),
        ];
        asked
            .into_iter()
            .filter(|(asked, ..)| *asked)
            .map(|(_, controller, field)| (controller, field))
            .collect()
    }

    /// `limits.cpus` as it is written in the job.
    #[must_use]
    pub fn cpus(&self) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::as_conversions,
            reason = "it is below 2^53"
        )]
        let cpus = |quota: u64| quota as f64 / f64::from(CPU_PERIOD_US);
        self.cpu_quota_us.map(cpus)
    }
}
