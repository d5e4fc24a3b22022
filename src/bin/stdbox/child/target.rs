//! The target's process, from its birth to `execve`. Ring 2.
//!
//! It shares init's memory, and init waits, until `execve` gives it a memory of its own; so nothing is copied for it. The
//! capabilities are gone before it is born, and the filter comes last, so that it need not allow what only stdbox does.

use super::scribe::Scribe;
use super::{Done, Image, fault, loopback, say, write_id_maps};
use crate::sys::{fd, process};
use nix::errno::Errno;
use nix::libc;
use std::convert::Infallible;
use stdbox::capability::Capabilities;
use stdbox::job::Rlimit;
use stdbox::plan::{Kept, Plan};
use stdbox::wire::{Call, Failure, Phase, Record};

pub(super) fn run(plan: &Plan, image: &Image, umask: u32) -> Result<Infallible, Failure> {
    // No controlling terminal, so none of its input queue.
    process::new_session().map_err(fault(Phase::Session, 0, Call::SetSid))?;
    descriptors(plan, image)?;
    for (index, (limit, value)) in (0..).zip(&plan.rlimits) {
        process::set_limit(resource(*limit), Some((*value, *value))).map_err(fault(
            Phase::Limits,
            index,
            Call::PrLimit,
        ))?;
    }
    if let Some([soft, hard]) = plan.cpu_backstop {
        let resource = libc::RLIMIT_CPU as u32;
        let index = u32::try_from(plan.rlimits.len()).unwrap_or(u32::MAX);
        process::set_limit(resource, Some((soft, hard))).map_err(fault(
            Phase::Limits,
            index,
            Call::PrLimit,
        ))?;
    }
    process::chdir(plan.cwd.as_cstr()).map_err(fault(Phase::Cwd, 0, Call::ChDir))?;
    process::umask(umask);
    process::reset_signals().map_err(fault(Phase::Session, 0, Call::Signals))?;
    // Without a parent to read it, the target must not run: it would have nobody to end it.
    say(
        image,
        Record::Ready {
            at_ns: process::now_ns(),
        },
    )
    .map_err(fault(Phase::Exec, 0, Call::Write))?;
    // From here on nothing but execve is called: the filter may deny anything else.
    if let Some(filter) = &plan.filter {
        process::install_filter(filter).map_err(fault(Phase::Filter, 0, Call::Seccomp))?;
    }
    Err(execute(plan, image))
}

/// Gives up every capability but these, and every way to get one back. Where none is kept, init does it before there is a
/// target, so that no process of the container has any while the target runs.
pub(super) fn drop_privileges(kept: Capabilities) -> Done {
    drop_others(kept, process::Setuid::Nothing)
}

fn drop_others(kept: Capabilities, setuid: process::Setuid) -> Done {
    let failed = |call| fault(Phase::Capabilities, 0, call);
    process::empty_bounding_set(kept).map_err(failed(Call::PrCtl))?;
    if !kept.is_empty() {
        process::raise_ambient(kept).map_err(failed(Call::CapSet))?;
    }
    process::lock_securebits(setuid).map_err(failed(Call::PrCtl))?;
    process::limit_capabilities(kept).map_err(failed(Call::CapSet))?;
    process::set_no_new_privileges().map_err(failed(Call::PrCtl))
}

/// The namespaces of a target that keeps capabilities: these they have power over, and the container's mounts are locked there.
pub(super) fn namespaces(plan: &Plan) -> i32 {
    let network = if plan.own_network {
        libc::CLONE_NEWNET
    } else {
        0
    };
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | network
}

/// Makes the target's own control group the root of what it sees of them; where it keeps capabilities, then also the
/// namespaces for them, in which it has no power over that view.
pub(super) fn own_view(plan: &Plan) -> Done {
    process::unshare(libc::CLONE_NEWCGROUP).map_err(fault(Phase::Cgroup, 2, Call::Unshare))?;
    if plan.kept.is_some() {
        process::unshare(namespaces(plan)).map_err(fault(Phase::Fork, 0, Call::Unshare))?;
    }
    Ok(())
}

/// Keeps capabilities in these namespaces.
pub(super) fn keep_privileges(plan: &Plan, kept: &Kept, scribe: Option<Scribe>) -> Done {
    // The memory is shared with init, whose files are its owner's too until the maps are written; nobody else is there yet.
    process::set_dumpable().map_err(fault(Phase::Init, 0, Call::PrCtl))?;
    let written = match scribe {
        Some(scribe) => scribe.map_this_process(),
        None => write_id_maps(&kept.id_maps),
    };
    process::set_undumpable().map_err(fault(Phase::Init, 0, Call::PrCtl))?;
    written?;
    if plan.own_network {
        loopback()?;
    }
    drop_others(
        kept.capabilities,
        match scribe {
            Some(_) => process::Setuid::DropsCapabilities,
            None => process::Setuid::Nothing,
        },
    )
}

const fn resource(limit: Rlimit) -> u32 {
    match limit {
        Rlimit::OpenFiles => libc::RLIMIT_NOFILE as u32,
        Rlimit::FileSize => libc::RLIMIT_FSIZE as u32,
        Rlimit::Stack => libc::RLIMIT_STACK as u32,
        Rlimit::AddressSpace => libc::RLIMIT_AS as u32,
        Rlimit::Core => libc::RLIMIT_CORE as u32,
    }
}

/// The standard streams and the kept descriptors stay; everything else goes.
fn descriptors(plan: &Plan, image: &Image) -> Done {
    for (number, &stream) in (0..).zip(&image.streams) {
        fd::dup_onto(stream, number).map_err(fault(
            Phase::Descriptors,
            number.unsigned_abs(),
            Call::Dup,
        ))?;
    }
    // A directory descriptor would lead to the host's tree, whatever is mounted over it: the container's own takes its place.
    for (number, path, flags) in &image.reopen {
        let index = number.unsigned_abs();
        let own = fd::open_plain(libc::AT_FDCWD, path, *flags).map_err(fault(
            Phase::Descriptors,
            index,
            Call::Open,
        ))?;
        fd::dup_onto(own, *number).map_err(fault(Phase::Descriptors, index, Call::Dup))?;
    }
    // Closed now, not only by `execve`: the working directory and the program are looked up before that, and their paths
    // may lead through /proc/self/fd to any descriptor that is still open.
    let records = image.records.unsigned_abs();
    let close = |first: u32, last: u32| {
        let failed = fault(Phase::Descriptors, last, Call::CloseRange);
        if (first..=last).contains(&records) {
            // The one that says what fails is close-on-exec.
            fd::close_range(first, records - 1)
                .and_then(|()| fd::close_range(records + 1, last))
                .map_err(failed)
        } else {
            fd::close_range(first, last).map_err(failed)
        }
    };
    let mut first = 3;
    for &kept in &plan.fds {
        let kept = kept.unsigned_abs();
        close(first, kept.saturating_sub(1))?;
        first = kept + 1;
    }
    close(first, u32::MAX)
}

/// Tries the candidates as execvp(3) does: what is missing is passed over, what is refused is remembered.
fn execute(plan: &Plan, image: &Image) -> Failure {
    let mut worst = (0, Errno::ENOENT);
    for (index, path) in (0..).zip(&plan.exec.candidates) {
        match process::execute(path, &image.argv, &image.envp) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => worst = (index, Errno::EACCES),
            errno => return fault(Phase::Exec, index, Call::Exec)(errno),
        }
    }
    fault(Phase::Exec, worst.0, Call::Exec)(worst.1)
}
