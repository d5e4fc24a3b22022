//! What was seen of a job → what it means. Ring 0.

mod explain;

use crate::cgroup::{Figures, MemoryEvents};
use crate::plan::Plan;
use crate::problem::{Code, Notice, Problem, Stage};
use crate::remedy;
use crate::results::{Change, Results};
use crate::spec::Spec;
use crate::wire::Rusage;
use nix::errno::Errno;

pub use explain::{Diagnosis, explain, identity, namespaces_refused, skipped};

/// The end of a job.
#[derive(Debug)]
pub struct Outcome {
    /// In one word, with what belongs to it.
    pub verdict: Verdict,
    /// The target, if it ran.
    pub target: Option<Target>,
    /// What the kernel counted for the job's control group, if it had one.
    pub figures: Option<Figures>,
    /// Captured standard output.
    pub stdout: Option<Captured>,
    /// Captured standard error.
    pub stderr: Option<Captured>,
    /// What was taken out of the container, if that was asked for.
    pub results: Option<Results>,
    /// What the job changed, if that was asked for.
    pub changes: Option<Vec<Change>>,
    /// What the caller should know.
    pub warnings: Vec<Notice>,
    /// What was asked for and not fully given.
    pub degraded: Vec<Notice>,
}

/// The word for the end of a job.
#[derive(Debug)]
pub enum Verdict {
    /// The target ended with this code.
    Exited(i32),
    /// The target was ended by this signal.
    Signaled(i32),
    /// A limit ended it.
    LimitExceeded(Limit),
    /// stdbox was told to stop.
    Cancelled,
    /// The container could not be made, or the command not executed.
    SetupFailed(Problem),
    /// The job is wrong.
    InvalidJob(Problem),
    /// The job is right, and nothing was run.
    Valid(Box<Spec>),
    /// This would be done.
    Planned(Box<Plan>),
}

/// Limits that end a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// `limits.wall_time_ms`
    WallTime,
    /// `limits.cpu_time_ms`
    CpuTime,
    /// `limits.output_bytes`
    Output,
    /// `limits.memory_bytes`
    Memory,
    /// `limits.processes`
    Processes,
}

impl Limit {
    /// The word in the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WallTime => "wall-time",
            Self::CpuTime => "cpu-time",
            Self::Output => "output",
            Self::Memory => "memory",
            Self::Processes => "processes",
        }
    }
}

/// What is known of a target that ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// As wait(2) gives it.
    pub status: i32,
    /// Resource use.
    pub rusage: Rusage,
    /// Bytes in the scratch space.
    pub scratch_bytes: u64,
}

impl Target {
    /// Processor time, user and system, of the target and what it waited for.
    #[must_use]
    pub const fn cpu_ns(&self) -> u64 {
        self.rusage.user_ns.saturating_add(self.rusage.system_ns)
    }

    /// WEXITSTATUS
    #[must_use]
    pub const fn exit_code(&self) -> Option<i32> {
        if self.status & 0x7f == 0 {
            Some(self.status >> 8 & 0xff)
        } else {
            None
        }
    }

    /// WTERMSIG
    #[must_use]
    pub const fn signal(&self) -> Option<i32> {
        if self.status & 0x7f == 0 {
            None
        } else {
            Some(self.status & 0x7f)
        }
    }
}

/// A captured stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Captured {
    /// The first bytes.
    pub kept: Vec<u8>,
    /// How many there were.
    pub bytes: u64,
}

impl Outcome {
    /// An end before anything was run.
    #[must_use]
    pub const fn before(verdict: Verdict) -> Self {
        Self {
            verdict,
            target: None,
            figures: None,
            stdout: None,
            stderr: None,
            results: None,
            changes: None,
            warnings: Vec::new(),
            degraded: Vec::new(),
        }
    }

    /// An end for what was found wrong before anything was run. Where stdbox itself may have no more descriptors, neither the job nor
    /// what was to be opened is at fault.
    #[must_use]
    pub fn refused(mut problem: Problem) -> Self {
        if problem.errno == Some(Errno::EMFILE as i32) {
            problem.code = Code::OutOfMemory;
            problem.hint = Some(remedy::NO_DESCRIPTORS.to_owned());
            if matches!(problem.stage, Stage::Parse | Stage::Validate) {
                problem.stage = Stage::Host;
            }
        }
        Self::before(match problem.stage {
            Stage::Parse | Stage::Validate => Verdict::InvalidJob(problem),
            _ => Verdict::SetupFailed(problem),
        })
    }

    /// stdbox's own exit status (section 1 of the contract).
    #[must_use]
    pub fn exit_status(&self, propagate: bool) -> u8 {
        match (&self.verdict, &self.target) {
            (Verdict::InvalidJob(_), _) => 2,
            (Verdict::SetupFailed(_), _) => 1,
            (Verdict::Valid(_) | Verdict::Planned(_), _) => 0,
            (_, Some(target)) if propagate => {
                let code = target
                    .exit_code()
                    .unwrap_or_else(|| 128 + target.signal().unwrap_or(0));
                u8::try_from(code).unwrap_or(1)
            }
            // Without an end of the target's own there was the signal that stdbox itself sent.
            (_, None) if propagate => 128 + 9,
            _ => 0,
        }
    }
}

/// What came of planning, for people.
#[must_use]
pub fn planned(outcome: &Outcome) -> String {
    let mut text = match &outcome.verdict {
        Verdict::Planned(plan) => plan.to_string(),
        Verdict::SetupFailed(problem) | Verdict::InvalidJob(problem) => {
            let mut lines = vec![format!("{}: {}", problem.code.as_str(), problem.message)];
            lines.extend(problem.at.as_ref().map(|at| format!("at: {at}")));
            lines.extend(problem.hint.clone());
            lines.join("\n") + "\n"
        }
        _ => String::new(),
    };
    let notices = [
        ("degraded", &outcome.degraded),
        ("warning", &outcome.warnings),
    ];
    for (word, list) in notices {
        for notice in list {
            text += &format!("{word}: {}: {}\n", notice.code, notice.message);
        }
    }
    text
}

/// Init ended without a word on the target's end; `ran` tells whether there was a target by then.
#[must_use]
pub fn died(status: i32, ran: bool) -> Problem {
    let signal = status & 0x7f;
    let how = if signal == 0 {
        format!("exit status {}", status >> 8 & 0xff)
    } else {
        format!("signal {signal}")
    };
    let (stage, what) = if ran {
        (
            Stage::Exec,
            "The first process of the container was ended from outside, and the target with it,",
        )
    } else {
        (
            Stage::Namespaces,
            "The process that builds the container ended",
        )
    };
    Problem::new(Code::SetupDied, stage, format!("{what} with {how}."))
        .hint("It may have been killed, or the machine may be out of memory (see dmesg).")
}

/// The limit of its control group that a job met, if it met one, and what else is to be said.
#[must_use]
pub fn met(figures: &Figures) -> (Option<Limit>, Option<Notice>) {
    let MemoryEvents { oom, oom_kill } = figures.memory;
    match (oom, oom_kill) {
        (0, 1..) => {
            let message = "Processes of the job were killed because memory ran out outside of it, not for a limit of its own.";
            (None, Some(Notice::new("killed-for-memory", None, message)))
        }
        (1.., 1..) => (Some(Limit::Memory), None),
        _ if figures.refused_forks > 0 => (Some(Limit::Processes), None),
        _ => (None, None),
    }
}

/// The entry for a limit of the job's control group that somebody outside took away while it ran.
#[must_use]
pub fn lifted(at: &'static str) -> Notice {
    let field = at.trim_start_matches('/').replace('/', ".");
    let message = format!(
        "{field} was not kept to the end: somebody changed the job's control group, or took the controller away from it."
    );
    Notice::new("limit-lifted", None, message)
}

/// The entry for a container whose init was killed: by somebody outside, or for lack of memory.
#[must_use]
pub fn init_killed() -> Notice {
    let message =
        "The container was killed as a whole, so what the target used before is not known in full.";
    Notice::new("usage-incomplete", None, message)
}

/// The refusal of a degraded container under `"strict": true`.
#[must_use]
pub fn too_strict(notice: &Notice) -> Problem {
    let mut problem = Problem::new(
        Code::Contradiction,
        Stage::Mounts,
        format!(
            "\"strict\" is set, and this cannot be given fully: {}",
            notice.message
        ),
    );
    problem.path.clone_from(&notice.path);
    problem
        .pointer(Some("/strict"))
        .hint("Set \"strict\" to false to run all the same, or change what cannot be given.")
}
