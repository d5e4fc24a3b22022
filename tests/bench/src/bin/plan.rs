//! The way of one job from its text to its plan, once, on a host that a file describes: what `tests/instructions/run` counts.
//!
//! Counted is what the functions `counted_…` do, and nothing else of this program: stdbox's own code, on stdbox's own heap, of
//! which the made-up host takes a fifth.

use std::error::Error;
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use host::FakeHost;
use stdbox::host::{Caller, HostFacts, Question};
use stdbox::job::{Channels, Job};
use stdbox::mountinfo::MountTable;
use stdbox::plan::{NoPlan, Plan, first_questions, plan};
use stdbox::problem::Problem;
use stdbox::text::AbsPath;

#[path = "../../../cases/host.rs"]
// Not an expectation: a build for tests allows these everywhere.
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the made-up host of the tests may stop at the first surprise"
)]
mod host;

/// The heap of the product.
#[path = "../../../../src/bin/stdbox/sys/alloc.rs"]
#[expect(
    unsafe_code,
    dead_code,
    reason = "an allocator; nobody forks here, so nobody arms its tripwire"
)]
mod alloc;

/// Where its pages come from.
#[path = "../../../../src/bin/stdbox/sys/pages.rs"]
#[expect(unsafe_code, reason = "calls of the kernel")]
mod pages;

/// How the product compares.
#[path = "../../../../src/bin/stdbox/sys/memory.rs"]
#[expect(unsafe_code, reason = "a function of the C library")]
mod memory;

/// What the heap's tripwire is made of.
mod fd {
    pub(super) fn write(_fd: i32, bytes: &[u8]) -> usize {
        bytes.len()
    }
}

/// As above.
mod process {
    pub(super) fn exit(_status: i32) -> ! {
        std::process::abort()
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(steps) => {
            println!("{steps} steps");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("plan: {why}\nusage: plan HOST.txt < JOB.json");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<usize, Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let (Some(host), None) = (words.next(), words.next()) else {
        return Err("one file is needed, and a job on stdin".into());
    };
    let mut text = Vec::with_capacity(4096);
    std::io::stdin().read_to_end(&mut text)?;
    let host = FakeHost::read(Path::new(&host));
    let plan = planned(&host, &text).map_err(|problem| format!("{problem:?}"))?;
    Ok(black_box(plan).steps.len())
}

/// What `stdbox run` does before it starts anything, except that the host is asked elsewhere.
fn planned(host: &FakeHost, text: &[u8]) -> Result<Plan, Problem> {
    let job = counted_job(black_box(text))?;
    let mut facts = host.facts();
    let mut questions = counted_questions(&job, &host.caller);
    loop {
        for question in questions {
            if question == Question::Mounts {
                let root = host.holding(&AbsPath::root()) as u64 + 100;
                facts.mounts = Some(counted_mounts(&host.mountinfo(), root));
            } else {
                host.answer(&question, &mut facts);
            }
        }
        match counted_plan(&job, &facts) {
            Ok(plan) => return Ok(plan),
            Err(NoPlan::Refused(problem)) => return Err(problem),
            Err(NoPlan::Ask(more)) => questions = more,
        }
    }
}

#[inline(never)]
fn counted_job(text: &[u8]) -> Result<Job, Problem> {
    Job::from_slice(text, Channels::default())
}

#[inline(never)]
fn counted_questions(job: &Job, caller: &Caller) -> Vec<Question> {
    first_questions(job, caller)
}

#[inline(never)]
fn counted_mounts(text: &[u8], root: u64) -> MountTable {
    MountTable::parse(text, Some(root))
}

#[inline(never)]
fn counted_plan(job: &Job, facts: &HostFacts) -> Result<Plan, NoPlan> {
    plan(job, facts)
}
