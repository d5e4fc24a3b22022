//! Adds up the processor time of all processes of the container, where no control group does. Ring 2.
//!
//! There is no call for it: what the kernel counts for a process is passed on only to one that waits for it. So init looks at
//! every process from time to time, through a procfs of its own that nobody else can reach, and takes the larger of two sums,
//! neither of which is more than was used:
//!
//! - the tree: what every process has used, and what it has been passed by those that it waited for;
//! - what was seen: the last time that was read of every process that there ever was, whether anybody waited for it or not.

use super::steps::{put_bytes, put_number};
use super::{Done, Image, fault, say};
use crate::sys::directory::{self, Names};
use crate::sys::{fd, mount, process, times};
use nix::errno::Errno;
use nix::libc;
use std::cell::Cell;
use std::ffi::CStr;
use stdbox::budget;
use stdbox::plan;
use stdbox::wire::{Call, Failure, Phase, Record};

/// A process and what it had used when it was last looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pid: i32,
    used_ns: u64,
}

/// How many processes are remembered; those beyond count as long as they are there.
const REMEMBERED: usize = 4096;

/// Room for what is remembered, made by the parent: one part for the present look and one for the one before.
#[derive(Debug, Default)]
#[expect(
    clippy::disallowed_types,
    reason = "made by the parent, only written here"
)]
pub(crate) struct Tables([Vec<Cell<Entry>>; 2]);

impl Tables {
    #[expect(clippy::disallowed_macros, reason = "called by the parent")]
    pub(crate) fn new() -> Self {
        Self([(); 2].map(|()| vec![Cell::default(); REMEMBERED]))
    }
}

/// The hundredths of a second in which procfs shows times (USER_HZ).
const TICK_NS: u64 = 10_000_000;

/// Looks that a sum above the limit must stand, since a process that is waited for in the middle of one may count twice.
const LOOKS: u32 = 3;

/// Opens a procfs of the pid namespace that this process is the first of, or -1 where nothing is to be added up. It is
/// read-only, since that is all that a surrounding container may allow.
pub(super) fn open(wanted: Option<plan::Meter>) -> Result<i32, Failure> {
    if wanted.is_none() {
        return Ok(-1);
    }
    let failed = |call| fault(Phase::Meter, 0, call);
    let fs = mount::fs_open(c"proc").map_err(failed(Call::FsOpen))?;
    // Only the processes are of interest, and the less there is of it, the sooner it is allowed.
    mount::fs_config(fs, c"subset", Some(c"pid")).map_err(failed(Call::FsConfig))?;
    mount::fs_create(fs).map_err(failed(Call::FsCreate))?;
    let attributes =
        mount::ATTR_RDONLY | mount::ATTR_NOSUID | mount::ATTR_NODEV | mount::ATTR_NOEXEC;
    let mounted = mount::fs_mount(fs, attributes).map_err(failed(Call::FsMount))?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let directory = fd::open(mounted, c".", flags, 0).map_err(failed(Call::Open))?;
    fd::close(mounted);
    fd::close(fs);
    Ok(directory)
}

/// The state between two looks.
pub(super) struct Meter<'a> {
    wanted: plan::Meter,
    directory: i32,
    own_pid: i32,
    now: &'a [Cell<Entry>],
    before: &'a [Cell<Entry>],
    /// Entries in `before`.
    known: usize,
    /// What processes had used that are gone.
    gone_ns: u64,
    /// When to look next; never, once the parent was told.
    due_ns: Option<u64>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(
        wanted: Option<plan::Meter>,
        directory: i32,
        image: &'a Image,
    ) -> Option<Self> {
        let wanted = wanted?;
        let Tables([now, before]) = &image.tables;
        let first = budget::next_look_ns(wanted.limit_ns, 0, wanted.cpus);
        Some(Self {
            wanted,
            directory,
            own_pid: process::own_pid(),
            now,
            before,
            known: 0,
            gone_ns: 0,
            due_ns: Some(process::now_ns().saturating_add(first)),
        })
    }

    /// How long there is nothing to do.
    pub(super) fn idle_ns(&self) -> Option<u64> {
        self.due_ns.map(|due| due.saturating_sub(process::now_ns()))
    }

    /// Looks if it is time to, and tells the parent if the limit is exceeded.
    pub(super) fn check(&mut self, image: &Image) -> Done {
        let start = process::now_ns();
        if self.due_ns.is_none_or(|due| start < due) {
            return Ok(());
        }
        let used_ns = self.used_ns()?;
        if used_ns > self.wanted.limit_ns {
            self.due_ns = None;
            return say(image, Record::CpuTime { used_ns }).map_err(fault(
                Phase::Meter,
                0,
                Call::Write,
            ));
        }
        let end = process::now_ns();
        let pause = budget::next_look_ns(self.wanted.limit_ns, used_ns, self.wanted.cpus);
        // A look at many processes takes its time, of which the job shall have at least as much.
        self.due_ns = Some(end.saturating_add(pause.max(end - start)));
        Ok(())
    }

    /// What all processes have used so far.
    pub(super) fn used_ns(&mut self) -> Result<u64, Failure> {
        let (mut tree, mut seen) = (u64::MAX, 0);
        for _ in 0..LOOKS {
            let (tree_now, seen_now) = self.look()?;
            tree = tree.min(tree_now);
            seen = seen_now;
            if tree <= self.wanted.limit_ns || seen > self.wanted.limit_ns {
                break;
            }
        }
        Ok(tree.max(seen))
    }

    /// Both sums, of one look.
    fn look(&mut self) -> Result<(u64, u64), Failure> {
        let failed = |call| fault(Phase::Meter, 0, call);
        // Before the look: who is waited for during it was looked at, or is too late.
        let mut tree = times::of_children();
        let mut alive = 0u64;
        let (mut kept, mut passed) = (0, 0);
        directory::rewind(self.directory).map_err(failed(Call::GetDents))?;
        let mut buffer = [0; 4096];
        loop {
            let length =
                directory::entries(self.directory, &mut buffer).map_err(failed(Call::GetDents))?;
            if length == 0 {
                break;
            }
            for name in Names(buffer.get(..length).unwrap_or_default()) {
                let pid = i32::try_from(number(name.to_bytes())).unwrap_or(0);
                if pid <= 0 || pid == self.own_pid {
                    continue;
                }
                // It has ended, and was waited for.
                let Ok(used_ns) = times::of_process(pid) else {
                    continue;
                };
                tree = tree
                    .saturating_add(used_ns)
                    .saturating_add(self.passed_on(pid)?);
                alive = alive.saturating_add(used_ns);
                // The directory is in the order of the numbers.
                passed = self.pass(passed, pid, used_ns);
                if let Some(place) = self.now.get(kept) {
                    place.set(Entry { pid, used_ns });
                    kept += 1;
                }
            }
        }
        self.pass(passed, i32::MAX, 0);
        std::mem::swap(&mut self.now, &mut self.before);
        self.known = kept;
        Ok((tree, self.gone_ns.saturating_add(alive)))
    }

    /// Goes on, in what is remembered, past this process; who is passed over is gone.
    fn pass(&mut self, mut at: usize, pid: i32, used_ns: u64) -> usize {
        let known = self.before.iter().take(self.known);
        for old in known.skip(at).map(Cell::get) {
            if old.pid > pid {
                break;
            }
            at += 1;
            // Its number may be another's by now, who begins anew.
            if old.pid < pid || used_ns < old.used_ns {
                self.gone_ns = self.gone_ns.saturating_add(old.used_ns);
            }
        }
        at
    }

    /// What a process was passed by those that it waited for.
    fn passed_on(&self, pid: i32) -> Result<u64, Failure> {
        let failed = |call| fault(Phase::Meter, 0, call);
        let mut path = [0; 24];
        put_bytes(put_number(&mut path, pid), b"/stat");
        let path = CStr::from_bytes_until_nul(&path).unwrap_or(c"");
        let mut text = [0; 1024];
        let opened = fd::open(self.directory, path, libc::O_RDONLY, 0);
        let read = opened.and_then(|file| {
            let read = fd::read(file, &mut text);
            fd::close(file);
            read
        });
        match read {
            Ok(length) => Ok(children_ns(text.get(..length).unwrap_or_default())),
            // It has ended, or the machine is short of something for the moment.
            Err(Errno::ENOENT | Errno::ESRCH | Errno::ENOMEM | Errno::ENFILE) => Ok(0),
            // Who keeps init from looking is not let off.
            Err(errno) => Err(failed(Call::Open)(errno)),
        }
    }
}

/// `cutime` and `cstime` of proc_pid_stat(5). The name before them is the job's to choose, parentheses and spaces included.
fn children_ns(stat: &[u8]) -> u64 {
    let after_name = stat
        .iter()
        .rposition(|&byte| byte == b')')
        .and_then(|at| stat.get(at + 2..))
        .unwrap_or_default();
    // Fields 16 and 17; the first of these is field 3.
    let ticks = after_name
        .split(|&byte| byte == b' ')
        .skip(13)
        .take(2)
        .map(number)
        .fold(0, u64::saturating_add);
    ticks.saturating_mul(TICK_NS)
}

/// The value of decimal digits; 0 for anything else.
fn number(text: &[u8]) -> u64 {
    text.iter()
        .try_fold(0u64, |value, &byte| {
            let digit = byte.wrapping_sub(b'0');
            (digit < 10).then(|| value.saturating_mul(10).saturating_add(digit.into()))
        })
        .unwrap_or(0)
}
