//! `sync`: the descriptors and pauses that a caller asks for. Ring 0.

use super::Checked;
use super::rules::{Taken, descriptor, own};
use crate::problem::{Code, Problem};
use crate::spec::SyncSpec;
use crate::sync::Sync;

const EVENTS: &str = "/sync/events_fd";
const CONTROL: &str = "/sync/control_fd";

pub(super) fn sync(spec: &SyncSpec, taken: Taken) -> Checked<Sync> {
    let missing = |at: &str, message: &str| Problem::at(Code::MissingField, at, message);
    let number = |fd: u32, at: &str| own(descriptor(fd, at)?, at, taken);
    let Some(events) = spec.events_fd else {
        return Err(missing(EVENTS, "The field \"events_fd\" is missing."));
    };
    let sync = Sync {
        events: number(events, EVENTS)?,
        control: spec.control_fd.map(|fd| number(fd, CONTROL)).transpose()?,
        before_exec: spec.pause_before_exec.unwrap_or(false),
        after_exit: spec.pause_after_exit.unwrap_or(false),
    };
    if (sync.before_exec || sync.after_exit) && sync.control.is_none() {
        let message = "A pause ends when \"continue\" is read, and there is no \"control_fd\" to read it from.";
        return Err(missing(CONTROL, message));
    }
    Ok(sync)
}

pub(super) fn normal_sync(sync: Sync) -> SyncSpec {
    SyncSpec {
        events_fd: Some(sync.events.unsigned_abs()),
        control_fd: sync.control.map(i32::unsigned_abs),
        pause_before_exec: Some(sync.before_exec),
        pause_after_exit: Some(sync.after_exit),
    }
}
