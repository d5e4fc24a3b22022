//! The target's process, from its birth to `execve`. Ring 2.
//!
//! It shares init's memory, and init waits, until `execve` gives it a memory of its own; so nothing is copied for it. The
//! capabilities are gone before it is born, but for the one that its view of the control groups takes; and the filter comes
//! last, so that it need not allow what only stdbox does.

use super::network::loopback;
use super::scribe::Scribe;
use super::{Done, Image, fault, say, write_id_maps};
use crate::sys::{fd, handover, process};
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
    process::reset_signals(image.changed_signals).map_err(fault(
        Phase::Session,
        0,
        Call::Signals,
    ))?;
    if plan.own_group() && plan.kept.is_none() {
        await_caller(image)?;
        let failed = |call| fault(Phase::Capabilities, 0, call);
        process::take_up(Capabilities::SYS_ADMIN).map_err(failed(Call::CapSet))?;
        own_view(plan)?;
        process::limit_capabilities(Capabilities::default()).map_err(failed(Call::CapSet))?;
    }
    let waited_ns = await_turn(image)?;
    // Without a parent to read it, the target must not run: it would have nobody to end it.
    let at_ns = process::now_ns();
    say(image, Record::Ready { at_ns, waited_ns }).map_err(fault(Phase::Exec, 0, Call::Write))?;
    // From here on nothing but execve is called: the filter may deny anything else.
    if let Some(filter) = &plan.filter {
        process::install_filter(filter).map_err(fault(Phase::Filter, 0, Call::Seccomp))?;
    }
    Err(execute(plan, image))
}

/// Gives up every capability but these, and every way to get one back. Where none is kept, init does it before there is a
/// target, so that no process of the container has any while the target runs.
pub(super) fn drop_privileges(kept: Capabilities) -> Done {
    drop_others(kept, process::Setuid::Nothing)?;
    process::limit_capabilities(kept).map_err(fault(Phase::Capabilities, 0, Call::CapSet))
}

/// Gives up every capability but the one for a view of the control groups, which no call can use until it is taken up, and every
/// way to get one back.
pub(super) fn put_aside() -> Done {
    drop_others(Capabilities::default(), process::Setuid::Nothing)?;
    process::put_aside(Capabilities::SYS_ADMIN).map_err(fault(Phase::Capabilities, 0, Call::CapSet))
}

/// All of it but the last step, which takes them out of the permitted set.
fn drop_others(kept: Capabilities, setuid: process::Setuid) -> Done {
    let failed = |call| fault(Phase::Capabilities, 0, call);
    process::empty_bounding_set(kept).map_err(failed(Call::PrCtl))?;
    if !kept.is_empty() {
        process::raise_ambient(kept).map_err(failed(Call::CapSet))?;
    }
    process::lock_securebits(setuid).map_err(failed(Call::PrCtl))?;
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

/// Makes the target's own control group the root of what it sees of them.
fn own_view(plan: &Plan) -> Done {
    match process::unshare(libc::CLONE_NEWCGROUP) {
        // A container around this one may have no more of these namespaces; then its own is this one's too.
        Err(Errno::ENOSPC) if plan.leaf.is_none() => Ok(()),
        done => done.map_err(fault(Phase::Cgroup, 2, Call::Unshare)),
    }
}

/// Tells the parent that the target is there, and waits until it may go on.
fn await_caller(image: &Image) -> Done {
    let [gate, _] = image.gate;
    if gate < 0 {
        return Ok(());
    }
    // One place without a descriptor.
    handover::send(gate, &[-1]).map_err(fault(Phase::Sync, 0, Call::SendMsg))?;
    match fd::read(gate, &mut [0]) {
        Ok(1) => Ok(()),
        Ok(_) => Err(fault(Phase::Sync, 0, Call::Read)(Errno::EPIPE)),
        Err(errno) => Err(fault(Phase::Sync, 0, Call::Read)(errno)),
    }
}

/// Waits until the job's turn has come; says how long.
fn await_turn(image: &Image) -> Result<u64, Failure> {
    if image.turn < 0 {
        return Ok(0);
    }
    let since = process::now_ns();
    let failed = fault(Phase::Sync, 1, Call::Read);
    match fd::read(image.turn, &mut [0]) {
        Ok(1) => Ok(process::now_ns().saturating_sub(since)),
        // Nobody is left to say it.
        Ok(_) => Err(failed(Errno::EPIPE)),
        Err(errno) => Err(failed(errno)),
    }
}

/// Keeps capabilities in namespaces for them. Where the target gets a view of the control groups, that comes first: over one
/// that came later they would give power.
pub(super) fn keep_privileges(
    plan: &Plan,
    image: &Image,
    kept: &Kept,
    scribe: Option<Scribe>,
) -> Done {
    if plan.own_group() {
        await_caller(image)?;
        own_view(plan)?;
        process::unshare(namespaces(plan)).map_err(fault(Phase::Fork, 0, Call::Unshare))?;
    }
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
    let setuid = match scribe {
        Some(_) => process::Setuid::DropsCapabilities,
        None => process::Setuid::Nothing,
    };
    drop_others(kept.capabilities, setuid)?;
    process::limit_capabilities(kept.capabilities).map_err(fault(
        Phase::Capabilities,
        0,
        Call::CapSet,
    ))
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
    let [gate, _] = image.gate;
    let mut ours = [image.records, gate, image.turn];
    ours.sort_unstable();
    let close = |mut first: u32, last: u32| {
        // The one that says what fails, and those where the caller or a turn is waited for, are close-on-exec.
        for own in ours.iter().filter_map(|fd| u32::try_from(*fd).ok()) {
            if (first..=last).contains(&own) {
                fd::close_range(first, own.saturating_sub(1)).map_err(fault(
                    Phase::Descriptors,
                    last,
                    Call::CloseRange,
                ))?;
                first = own + 1;
            }
        }
        fd::close_range(first, last).map_err(fault(Phase::Descriptors, last, Call::CloseRange))
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
