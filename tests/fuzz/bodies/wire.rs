//! Bytes → the child's messages: decoding is total, what was decoded survives being encoded, and each can be explained, even
//! where it speaks of steps that the plan does not have.

use crate::host::FakeHost;
use stdbox::job::{Channels, Job};
use stdbox::outcome::{Diagnosis, explain, skipped};
use stdbox::plan::Plan;
use stdbox::problem::Code;
use stdbox::wire::{Phase, Record, SIZE};

/// A job with something of each kind.
const JOB: &[u8] = br#"{"argv":["true"],"cwd":"/","directories":{"/home":"hidden"},"limits":{"open_files":9},"fds":[7],
    "mounts":[{"type":"tmpfs","target":"/mnt/a"}],"stdin":{"file":"/etc/passwd"}}"#;

const HOST: &str = include_str!("../../cases/debian.txt");

thread_local! {
    static PLANNED: (Job, Plan) = {
        let job = Job::from_slice(JOB, Channels::STANDARD).expect("a job");
        let mut host = FakeHost::default();
        for line in HOST.lines().filter(|line| !line.starts_with('#')) {
            host.take_line(line).expect("a line");
        }
        let plan = host.plan(&job).0.expect("a plan");
        (job, plan)
    };
}

pub fn run(data: &[u8]) {
    for part in data.chunks(SIZE) {
        // The rest of a short one is zeros, as in most records.
        let mut bytes = [0; SIZE];
        bytes[..part.len()].copy_from_slice(part);
        let record = Record::decode(&bytes);
        assert_eq!(Record::decode(&record.encode()), record);
        let (Record::Failed(failure) | Record::Skipped(failure)) = record else {
            continue;
        };
        PLANNED.with(|(job, plan)| {
            let problem = explain(failure, job, plan, &Diagnosis::default());
            assert!(!problem.message.is_empty());
            let known = usize::try_from(failure.index).is_ok_and(|i| i < plan.steps.len());
            if matches!(record, Record::Skipped(_)) {
                let notice = skipped(failure, plan);
                // These are no steps.
                let other = matches!(
                    failure.phase,
                    Phase::Protection | Phase::Stdin | Phase::Hostname
                );
                assert!(known || other || notice.is_none(), "{notice:?}");
            }
            // What has a step in the plan belongs to its field.
            if known && failure.phase == Phase::Step && problem.code != Code::Internal {
                let at = &plan.steps[usize::try_from(failure.index).expect("small")].at;
                assert!(at.is_none() || problem.at.is_some(), "{problem:?}");
            }
        });
    }
}
