//! The plan's steps, one arm each. Ring 2.

use super::{Done, Image, Slots, fault, limit_namespaces, say};
use crate::sys::{fd, mount, process, transfer};
use nix::errno::Errno;
use nix::libc;
use std::ffi::CStr;
use stdbox::job::MAX_LOWER;
use stdbox::plan::{At, Attributes, Base, IfAbsent, Node, Plan, Slot, Step, WRITTEN_AT};
use stdbox::results::Time;
use stdbox::wire::{Call, Failure, Phase, Record};

/// Room for `/proc/self/fd/` and a number.
pub(super) const LINK: usize = 32;

/// A failed call; the index of the step is added by [`run`].
type Fault = (Call, Errno);

fn by(call: Call) -> impl Fn(Errno) -> Fault {
    move |errno| (call, errno)
}

/// Walks the plan.
pub(super) fn run(plan: &Plan, image: &Image, slots: &mut Slots) -> Done {
    let limit = more_descriptors(plan.slots)?;
    for (index, placed) in (0..).zip(&plan.steps) {
        let failure = |(call, errno): Fault| Failure {
            phase: Phase::Step,
            index,
            call,
            errno: errno as i32,
        };
        let done = step(&placed.step, slots, plan.written.is_some());
        if let (Ok(_), Step::NewFs { slot, .. }) = (&done, &placed.step)
            && Some(*slot) == plan.procfs
        {
            limit_namespaces(plan, Some(fd_of(slots, *slot)))?;
        }
        match done {
            Ok(None) => {}
            Ok(Some(given_up)) => report(image, failure(given_up))?,
            Err(fault) => match if_absent(&placed.step, fault) {
                IfAbsent::Fail => return Err(failure(fault)),
                IfAbsent::Report => report(image, failure(fault))?,
                IfAbsent::PassOver => {}
            },
        }
    }
    if let Some(limit) = limit {
        let resource = libc::RLIMIT_NOFILE as u32;
        process::set_limit(resource, Some(limit)).map_err(fault(
            Phase::Limits,
            0,
            Call::PrLimit,
        ))?;
    }
    Ok(())
}

fn report(image: &Image, failure: Failure) -> Done {
    say(image, Record::Skipped(failure)).map_err(|errno| Failure {
        call: Call::Write,
        errno: errno as i32,
        ..failure
    })
}

/// A tree of many mounts needs many descriptors for a moment; returns the limit to go back to.
fn more_descriptors(slots: usize) -> Result<Option<(u64, u64)>, Failure> {
    const USUAL: usize = 256;
    if slots < USUAL {
        return Ok(None);
    }
    let resource = libc::RLIMIT_NOFILE as u32;
    let (soft, hard) =
        process::set_limit(resource, None).map_err(fault(Phase::Limits, 0, Call::PrLimit))?;
    process::set_limit(resource, Some((hard, hard))).map_err(fault(
        Phase::Limits,
        0,
        Call::PrLimit,
    ))?;
    Ok(Some((soft, hard)))
}

/// What the plan says about a step whose object has vanished: it cannot be found any more. Anything else that the kernel
/// refuses is a failure.
fn if_absent(step: &Step, (call, errno): Fault) -> IfAbsent {
    match (step, call, errno) {
        (
            Step::Overlay { if_absent, .. } | Step::Clone { if_absent, .. },
            Call::Open | Call::OpenTree,
            Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP,
        ) => *if_absent,
        _ => IfAbsent::Fail,
    }
}

fn fd_of(slots: &Slots, slot: Slot) -> i32 {
    slots.get(slot.0).copied().unwrap_or(-1)
}

fn put(slots: &mut Slots, slot: Slot, fd: i32) {
    if let Some(place) = slots.get_mut(slot.0) {
        *place = fd;
    }
}

fn start(slots: &Slots, at: &At) -> i32 {
    match at.base {
        Base::Host => libc::AT_FDCWD,
        Base::Tree(slot) | Base::Own(slot) => fd_of(slots, slot),
    }
}

/// Calls with a directory descriptor and a path below it. A path of several components is opened first without following
/// any symbolic link: whoever can write to the host's tree could have put one there since the plan was made.
fn resolved<T>(
    slots: &Slots,
    at: &At,
    call: Call,
    then: impl Fn(i32, &CStr) -> Result<T, Errno>,
) -> Result<T, Fault> {
    let start = start(slots, at);
    let slashes = at
        .path
        .to_bytes()
        .iter()
        .filter(|&&byte| byte == b'/')
        .count();
    let deep = match at.base {
        Base::Host => slashes > 1,
        Base::Tree(_) => slashes > 0,
        Base::Own(_) => false,
    };
    if !deep {
        return then(start, &at.path).map_err(by(call));
    }
    let place =
        fd::open_plain(start, &at.path, libc::O_PATH | libc::O_NOFOLLOW).map_err(by(Call::Open))?;
    let result = then(place, c"").map_err(by(call));
    fd::close(place);
    result
}

fn bits(attributes: Attributes) -> u64 {
    let bit = |set: bool, bit: u64| if set { bit } else { 0 };
    bit(attributes.read_only, mount::ATTR_RDONLY)
        | bit(attributes.no_suid, mount::ATTR_NOSUID)
        | bit(attributes.no_dev, mount::ATTR_NODEV)
        | bit(attributes.no_exec, mount::ATTR_NOEXEC)
}

/// Carries one step out; returns what had to be given up for it to succeed. `dated` files get the modification time that
/// tells later whether the job has written them.
fn step(step: &Step, slots: &mut Slots, dated: bool) -> Result<Option<Fault>, Fault> {
    let mut given_up = None;
    match step {
        Step::NewFs {
            slot,
            fstype,
            options,
            attributes,
            read_only_fallback,
        } => {
            let fs = mount::fs_open(fstype).map_err(by(Call::FsOpen))?;
            for (key, value) in options {
                mount::fs_config(fs, key, value.as_deref()).map_err(by(Call::FsConfig))?;
            }
            mount::fs_create(fs).map_err(by(Call::FsCreate))?;
            let made = match mount::fs_mount(fs, bits(*attributes)) {
                Err(Errno::EPERM) if *read_only_fallback => {
                    given_up = Some((Call::FsMount, Errno::EPERM));
                    mount::fs_mount(fs, bits(*attributes) | mount::ATTR_RDONLY)
                }
                made => made,
            };
            put(slots, *slot, made.map_err(by(Call::FsMount))?);
            fd::close(fs);
        }
        Step::Overlay {
            slot,
            lower,
            upper,
            work,
            userxattr,
            volatile,
            keep_read_only,
            if_absent: _,
        } => {
            let made = overlay(
                slots,
                lower,
                [upper, work],
                [*userxattr, *volatile],
                *keep_read_only,
            )?;
            put(slots, *slot, made);
        }
        Step::Clone {
            slot,
            from,
            recursive,
            if_absent: _,
        } => {
            let made = resolved(slots, from, Call::OpenTree, |place, path| {
                mount::clone_tree(place, path, *recursive)
            })?;
            put(slots, *slot, made);
        }
        Step::Open { slot, at } => {
            let flags = libc::O_PATH | libc::O_DIRECTORY;
            let opened =
                fd::open_plain(start(slots, at), &at.path, flags).map_err(by(Call::Open))?;
            put(slots, *slot, opened);
        }
        Step::Restrict { at, attributes } => {
            // A slot without a descriptor belongs to an optional step that was left out.
            if start(slots, at) != -1 {
                mount::restrict(start(slots, at), &at.path, bits(*attributes))
                    .map_err(by(Call::MountSetAttr))?;
            }
        }
        Step::Attach { slot, at, keep } => {
            let mount = fd_of(slots, *slot);
            if mount != -1 && start(slots, at) != -1 {
                resolved(slots, at, Call::MoveMount, |place, path| {
                    mount::attach(mount, place, path)
                })?;
                if !keep {
                    fd::close(mount);
                    put(slots, *slot, -1);
                }
            }
        }
        Step::Detach { slot } => {
            process::fchdir(fd_of(slots, *slot)).map_err(by(Call::ChDir))?;
            mount::detach_here().map_err(by(Call::UMount))?;
            process::chdir(c"/").map_err(by(Call::ChDir))?;
        }
        Step::MakeDir { at, mode } => {
            fd::mkdir(start(slots, at), &at.path, *mode).map_err(by(Call::MkDir))?;
        }
        Step::MakeNode { at, node, mode } => {
            let kind = match node {
                Node::File => libc::S_IFREG,
                Node::Fifo => libc::S_IFIFO,
                Node::Socket => libc::S_IFSOCK,
            };
            fd::mknod(start(slots, at), &at.path, kind | *mode).map_err(by(Call::MkNod))?;
        }
        Step::Symlink { at, to } => {
            fd::symlink(to, start(slots, at), &at.path).map_err(by(Call::Symlink))?
        }
        Step::Write { at, bytes, mode } => {
            let file = create(slots, at, *mode)?;
            fd::write_all(file, &bytes.get()).map_err(by(Call::Write))?;
            date(file, dated.then_some(WRITTEN_AT))?;
            fd::close(file);
        }
        Step::Copy {
            from,
            at,
            mode,
            modified,
            bytes,
        } => copy(slots, from, at, *bytes, *mode, dated.then_some(*modified))?,
        Step::EnterRoot { slot, bottom } => enter_root(fd_of(slots, *slot), *bottom)?,
    }
    Ok(given_up)
}

fn create(slots: &Slots, at: &At, mode: u32) -> Result<i32, Fault> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    fd::open(start(slots, at), &at.path, flags, mode).map_err(by(Call::Open))
}

fn date(file: i32, time: Option<Time>) -> Result<(), Fault> {
    time.map_or(Ok(()), |time| transfer::set_modified(file, time))
        .map_err(by(Call::SetTime))
}

/// As large as it was when it was looked at: it may grow, or be another one by now.
fn copy(
    slots: &Slots,
    from: &At,
    at: &At,
    bytes: u64,
    mode: u32,
    time: Option<Time>,
) -> Result<(), Fault> {
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let source = match fd::open_plain(start(slots, from), &from.path, flags) {
        Ok(source) => source,
        // It vanished since the plan was made: then the container does not have it either.
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err((Call::Open, errno)),
    };
    let file = create(slots, at, mode)?;
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        match fd::send_file(file, source, left).map_err(by(Call::SendFile))? {
            0 => break,
            sent => left = left.saturating_sub(sent),
        }
    }
    date(file, time)?;
    fd::close(file);
    fd::close(source);
    Ok(())
}

/// Layers are named by descriptor, or by a path of which no byte means anything to the option parser.
pub(super) fn overlay(
    slots: &Slots,
    lower: &[At],
    [upper, work]: [&At; 2],
    [userxattr, volatile]: [bool; 2],
    keep_read_only: bool,
) -> Result<i32, Fault> {
    let open = |at: &At| {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        fd::open_plain(start(slots, at), &at.path, flags).map_err(by(Call::Open))
    };
    let mut layers = [-1; MAX_LOWER];
    let mut names = [0; 256];
    let mut room = names.as_mut_slice();
    for (layer, at) in layers.iter_mut().zip(lower) {
        *layer = open(at)?;
        if room.len() < 256 {
            room = put_bytes(room, b":");
        }
        room = put_number(room, *layer);
    }
    let [first, second, ..] = layers;
    // What nobody else can reach is named by its path, so that the kernel need not be led to it over two descriptors.
    let together = upper.base == work.base && !volatile;
    let named = second == -1 && together && is_plain(upper) && is_plain(work);
    let above = if named {
        process::fchdir(start(slots, upper)).map_err(by(Call::ChDir))?;
        [-1; 2]
    } else {
        [open(upper)?, open(work)?]
    };
    let fs = mount::fs_open(c"overlay").map_err(by(Call::FsOpen))?;
    let configure = |key: &CStr, value: &CStr| {
        mount::fs_config(fs, key, Some(value)).map_err(by(Call::FsConfig))
    };
    let mut link = [0; LINK];
    if second == -1 {
        configure(c"lowerdir", link_to(first, &mut link))?;
    } else {
        // One string holds all of them, and it is short: so they are named from the directory where their names are.
        process::chdir(c"/proc/self/fd").map_err(by(Call::ChDir))?;
        configure(
            c"lowerdir",
            CStr::from_bytes_until_nul(&names).unwrap_or(c""),
        )?;
    }
    for ((key, at), opened) in [(c"upperdir", upper), (c"workdir", work)]
        .into_iter()
        .zip(above)
    {
        let path = if named {
            &at.path
        } else {
            link_to(opened, &mut link)
        };
        configure(key, path)?;
    }
    for (flag, set) in [(c"userxattr", userxattr), (c"volatile", volatile)] {
        if set {
            mount::fs_config(fs, flag, None).map_err(by(Call::FsConfig))?;
        }
    }
    mount::fs_create(fs).map_err(by(Call::FsCreate))?;
    // The mount's attributes are asked of the kernel now, not taken from a table read before.
    let (flags, _) = fd::statfs(first).map_err(by(Call::StatFs))?;
    let made = mount::fs_mount(fs, inherited(flags, keep_read_only)).map_err(by(Call::FsMount))?;
    if second != -1 || named {
        process::chdir(c"/").map_err(by(Call::ChDir))?;
    }
    fd::close(fs);
    for used in layers.iter().take(lower.len()).chain(&above) {
        if *used != -1 {
            fd::close(*used);
        }
    }
    Ok(made)
}

/// Whether a path in a file system of our own can be an option as it is: no byte of it means anything to the parser, old or new,
/// and it has no more of them than fsconfig(2) takes.
fn is_plain(at: &At) -> bool {
    let special = |byte: &u8| matches!(byte, b',' | b':' | b'\\');
    let path = at.path.to_bytes();
    matches!(at.base, Base::Own(_)) && path.len() < 256 && !path.iter().any(special)
}

/// The attributes of a mount over a file system with these flags (statfs(2)).
fn inherited(flags: u64, keep_read_only: bool) -> u64 {
    // <linux/statfs.h>; libc lacks them for musl.
    const RELATIME: u64 = 0x1000;
    const NOSYMFOLLOW: u64 = 0x2000;
    let bit = |flag: u64, attribute: u64| if flags & flag != 0 { attribute } else { 0 };
    let atime = if flags & libc::ST_NOATIME != 0 {
        mount::ATTR_NOATIME
    } else if flags & RELATIME != 0 {
        0
    } else {
        mount::ATTR_STRICTATIME
    };
    mount::ATTR_NOSUID
        | mount::ATTR_NODEV
        | bit(libc::ST_NOEXEC, mount::ATTR_NOEXEC)
        | bit(libc::ST_NODIRATIME, mount::ATTR_NODIRATIME)
        | bit(NOSYMFOLLOW, mount::ATTR_NOSYMFOLLOW)
        | if keep_read_only {
            bit(libc::ST_RDONLY, mount::ATTR_RDONLY)
        } else {
            0
        }
        | atime
}

/// `/proc/self/fd/N`, terminated.
pub(super) fn link_to(fd: i32, buffer: &mut [u8; LINK]) -> &CStr {
    buffer.fill(0);
    put_number(put_bytes(buffer, b"/proc/self/fd/"), fd);
    CStr::from_bytes_until_nul(buffer).unwrap_or(c"")
}

/// Writes bytes at the beginning of the room, and returns the rest of it.
pub(super) fn put_bytes<'a>(room: &'a mut [u8], bytes: &[u8]) -> &'a mut [u8] {
    for (place, byte) in room.iter_mut().zip(bytes) {
        *place = *byte;
    }
    room.get_mut(bytes.len()..).unwrap_or_default()
}

/// The same for the decimal digits of a descriptor.
pub(super) fn put_number(room: &mut [u8], fd: i32) -> &mut [u8] {
    let mut digits = [0; 10];
    let mut rest = fd.unsigned_abs();
    let mut first = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        first = index;
        if rest == 0 {
            break;
        }
    }
    put_bytes(room, digits.get(first..).unwrap_or_default())
}

/// The new root lies over the old one. Pivoting puts the old one over the new, from where it is taken out of the tree; so
/// nothing of the host is left below, and the process is not counted as chrooted.
fn enter_root(root: i32, bottom: bool) -> Result<(), Fault> {
    process::fchdir(root).map_err(by(Call::ChDir))?;
    if bottom {
        // What has no parent mount cannot be pivoted away from. As the last mount over it the new root is what the kernel
        // takes for the root of the namespace, so this is not counted as a chroot either.
        mount::chroot_here().map_err(by(Call::ChRoot))?;
    } else {
        mount::pivot_here().map_err(by(Call::PivotRoot))?;
        mount::detach_here().map_err(by(Call::UMount))?;
    }
    process::chdir(c"/").map_err(by(Call::ChDir))?;
    fd::close(root);
    Ok(())
}
