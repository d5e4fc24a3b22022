//! The control group of one job: made, limited, read and removed. Ring 1.

use crate::cgroup_facts;
use crate::leftover;
use crate::sys::{fd, process};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use stdbox::cgroup::{Controllers, Figures, MemoryEvents, io_sum, keyed};
use stdbox::plan::{self, IfMissing, Setting};
use stdbox::problem::{Code, Problem, Stage};
use stdbox::text::AbsPath;

/// How the names of groups begin: those of jobs, and those that stdbox itself steps aside into.
const PREFIXES: [&str; 2] = ["stdbox-job-", "stdbox-self-"];

/// How often a group that a sweep took away at once is made anew.
const ATTEMPTS: usize = 16;

/// How long the processes of a group have for being gone when they are dead.
const PATIENCE_NS: u64 = 2_000_000_000;
const STEP_NS: u64 = 500_000;

const SUBTREE_CONTROL: &CStr = c"cgroup.subtree_control";
const PROCS: &CStr = c"cgroup.procs";

/// A group that this run made. It is removed when this is dropped.
#[derive(Debug)]
struct Group {
    parent: OwnedFd,
    name: CString,
    own: OwnedFd,
    removed: bool,
}

/// The group of a job, and what had to be done for it.
#[derive(Debug)]
pub(crate) struct Leaf {
    // In this order they are dropped.
    group: Group,
    aside: Option<Aside>,
    /// What was written, and what the kernel made of it.
    limits: Vec<(Setting, String)>,
    /// `pids.events` and `cpu.stat`, which are read again and again.
    forks: Option<File>,
    time: File,
}

/// Where stdbox went so that there are no processes in the parent.
#[derive(Debug)]
pub(crate) struct Aside {
    parent: OwnedFd,
    enabled: Controllers,
    /// Removed when nobody is in it any more.
    _group: Group,
}

impl Group {
    fn new(parent: &OwnedFd, prefix: &str) -> Result<Self, (&'static str, Errno)> {
        let mut last = Errno::EAGAIN;
        let own_parent = parent.try_clone().map_err(|_| ("fcntl", Errno::EMFILE))?;
        for _ in 0..ATTEMPTS {
            let name = leftover::fresh_name(prefix);
            fd::mkdir(parent.as_raw_fd(), &name, 0o755).map_err(|errno| ("mkdirat", errno))?;
            // Between these two, the sweep of another run may take it for one that was left over.
            let locked = leftover::open_directory(parent.as_fd(), &name)
                .and_then(|own| fd::lock(own.as_raw_fd()).map(|()| own))
                .and_then(|own| open(own.as_fd(), PROCS, libc::O_PATH).map(|_| own));
            match locked {
                Ok(own) => {
                    return Ok(Self {
                        parent: own_parent,
                        name,
                        own,
                        removed: false,
                    });
                }
                Err(errno) => {
                    let _swept = unlinkat(parent, name.as_c_str(), UnlinkatFlags::RemoveDir);
                    last = errno;
                }
            }
        }
        Err(("flock", last))
    }

    /// Removes it. What is still in it has been killed, or is killed now.
    fn remove(&mut self) -> Result<(), Errno> {
        if self.removed {
            return Ok(());
        }
        let until = process::now_ns() + PATIENCE_NS;
        let mut tried = false;
        loop {
            match unlinkat(&self.parent, self.name.as_c_str(), UnlinkatFlags::RemoveDir) {
                Err(Errno::EBUSY) if process::now_ns() < until => {
                    if tried {
                        let _gone = write(self.own.as_fd(), c"cgroup.kill", "1");
                    }
                    tried = true;
                    let _early = fd::poll(&mut [], Some(STEP_NS));
                }
                Ok(()) | Err(Errno::ENOENT) => {
                    self.removed = true;
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        let _next_time = self.remove();
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // The way back is open only when the parent gives nothing to the groups below it any more.
        let off = self.enabled.signed('-');
        let _other_groups = write(self.parent.as_fd(), SUBTREE_CONTROL, &off);
        let _stays = write(self.parent.as_fd(), PROCS, "0");
    }
}

impl Leaf {
    /// Makes the group, with its limits. Groups that dead runs left beside it are removed.
    pub(crate) fn new(plan: &plan::Leaf) -> Result<Self, Problem> {
        let parent = leftover::open_directory(at_root().as_fd(), plan.parent.as_cstr())
            .map_err(refused(&plan.parent, "openat2"))?;
        sweep(parent.as_fd());
        let aside = match plan.step_aside {
            true => Some(Aside::new(&parent, plan)?),
            false => {
                enable(&parent, plan)?;
                None
            }
        };
        let group = Group::new(&parent, PREFIXES[0])
            .map_err(|(call, errno)| refused(&plan.parent, call)(errno))?;
        let path = plan.parent.join(group.name.to_bytes());
        let mut limits = Vec::with_capacity(plan.settings.len());
        for setting in &plan.settings {
            let shown = set(&group, &path, setting)?;
            limits.extend(shown.map(|shown| (setting.clone(), shown)));
        }
        // A limit that cannot be watched is not kept.
        let watched = |file: &CStr| {
            let path = path.join(file.to_bytes());
            open(group.own.as_fd(), file, libc::O_RDONLY).map_err(refused(&path, "openat2"))
        };
        let limited = |file: &CStr| plan.settings.iter().any(|setting| setting.file == file);
        let forks = limited(c"pids.max").then(|| watched(c"pids.events"));
        let leaf = Self {
            forks: forks.transpose()?,
            time: watched(c"cpu.stat")?,
            limits,
            group,
            aside,
        };
        // An event is one since the last look.
        leaf.refused_forks();
        Ok(leaf)
    }

    /// Its directory, into which clone3(2) puts a process.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.group.own.as_fd()
    }

    /// What has an event (POLLPRI) when a process could not be made.
    pub(crate) fn forks(&self) -> Option<&File> {
        self.forks.as_ref()
    }

    /// How often a process could not be made for the job's own limit.
    pub(crate) fn refused_forks(&self) -> u64 {
        let events = self.forks.as_ref().and_then(again).unwrap_or_default();
        keyed(&events, "max").unwrap_or(0)
    }

    /// The processor time of the job so far.
    pub(crate) fn cpu_ns(&self) -> Option<u64> {
        let stat = again(&self.time)?;
        keyed(&stat, "usage_usec").map(|us| us.saturating_mul(1000))
    }

    /// The field of a limit that is not there any more: who may write the group, or the one above, can take it away.
    pub(crate) fn lifted(&self) -> Option<&'static str> {
        let holds =
            |(setting, shown): &&(Setting, String)| self.text(setting.file).as_ref() == Some(shown);
        let lifted = self.limits.iter().find(|limit| !holds(limit));
        lifted.map(|(setting, _)| setting.at)
    }

    fn text(&self, file: &CStr) -> Option<String> {
        text(self.group.own.as_fd(), file).ok()
    }

    /// What the kernel counted.
    pub(crate) fn figures(&self) -> Figures {
        let number = |file| self.text(file)?.trim().parse().ok();
        let stat = self.text(c"cpu.stat").unwrap_or_default();
        let ns = |key| keyed(&stat, key).map(|us| us.saturating_mul(1000));
        let io = self.text(c"io.stat");
        let events = self.text(c"memory.events").unwrap_or_default();
        Figures {
            cpu_user_ns: ns("user_usec").unwrap_or(0),
            cpu_system_ns: ns("system_usec").unwrap_or(0),
            throttled_ns: ns("throttled_usec"),
            memory_peak_bytes: number(c"memory.peak"),
            processes_peak: number(c"pids.peak"),
            io_read_bytes: io.as_deref().map(|io| io_sum(io, "rbytes")),
            io_write_bytes: io.as_deref().map(|io| io_sum(io, "wbytes")),
            memory: MemoryEvents {
                oom: keyed(&events, "oom").unwrap_or(0),
                oom_kill: keyed(&events, "oom_kill").unwrap_or(0),
            },
            refused_forks: self.refused_forks(),
        }
    }

    /// Removes the group when the job is over, and puts things back as they were.
    pub(crate) fn remove(mut self) -> Result<(), Errno> {
        let removed = self.group.remove();
        drop(self.aside.take());
        removed
    }
}

impl Aside {
    fn new(parent: &OwnedFd, plan: &plan::Leaf) -> Result<Self, Problem> {
        let aside = Self::beside(parent, &plan.parent, plan.enable.with(plan.wish))?;
        enable(parent, plan)?;
        Ok(aside)
    }

    /// For all processes of a batch, before there is another one: jobs could not step aside together. Where it cannot be done,
    /// a job that needs it says why.
    pub(crate) fn of_batch() -> Option<Self> {
        let facts = cgroup_facts::gather(None);
        let (path, enabled) = plan::group_to_leave(&facts)?;
        let parent = leftover::open_directory(at_root().as_fd(), path.as_cstr()).ok()?;
        sweep(parent.as_fd());
        Self::beside(&parent, path, enabled).ok()
    }

    fn beside(parent: &OwnedFd, path: &AbsPath, enabled: Controllers) -> Result<Self, Problem> {
        let refuse = |(call, errno)| refused(path, call)(errno);
        let group = Group::new(parent, PREFIXES[1]).map_err(refuse)?;
        let again = parent
            .try_clone()
            .map_err(|_| refuse(("fcntl", Errno::EMFILE)))?;
        let entered = path.join(group.name.to_bytes()).join(PROCS.to_bytes());
        write(group.own.as_fd(), PROCS, "0").map_err(refused(&entered, "write"))?;
        Ok(Self {
            parent: again,
            enabled,
            _group: group,
        })
    }
}

/// What the parent gives to groups below it.
fn enable(parent: &OwnedFd, plan: &plan::Leaf) -> Result<(), Problem> {
    if !plan.enable.is_empty() {
        let on = plan.enable.signed('+');
        let path = plan.parent.join(SUBTREE_CONTROL.to_bytes());
        write(parent.as_fd(), SUBTREE_CONTROL, &on).map_err(refused(&path, "write"))?;
    }
    if !plan.wish.is_empty() {
        let _without = write(parent.as_fd(), SUBTREE_CONTROL, &plan.wish.signed('+'));
    }
    Ok(())
}

/// Writes a limit, and says what the kernel made of it; nothing where there is nothing to limit.
fn set(group: &Group, path: &AbsPath, setting: &Setting) -> Result<Option<String>, Problem> {
    let refuse = |operation, errno| {
        let message = format!(
            "The kernel does not take {} for {}.",
            setting.value,
            setting.file.to_string_lossy()
        );
        Problem::new(Code::LimitRefused, Stage::Cgroup, message)
            .path(path.join(setting.file.to_bytes()).bytes())
            .errno(operation, errno)
            .pointer(Some(setting.at))
    };
    match write(group.own.as_fd(), setting.file, &setting.value) {
        Err(Errno::ENOENT) if setting.if_missing == IfMissing::PassOver => return Ok(None),
        written => written.map_err(|errno| refuse("write", errno))?,
    }
    let read = |file| text(group.own.as_fd(), file).map_err(|errno| refuse("read", errno));
    if let Some(shown_by) = setting.shown_by {
        let shown = read(shown_by)?;
        if shown.trim() != setting.value {
            let hint = format!("The group above it has {}.", shown.trim());
            return Err(refuse("read", Errno::ERANGE).hint(hint));
        }
    }
    read(setting.file).map(Some)
}

/// Removes the groups of this user's own dead runs; one that still has processes comes again next time.
fn sweep(parent: BorrowedFd<'_>) {
    for prefix in PREFIXES {
        for (name, _locked) in leftover::unused(parent, prefix) {
            let _next_time = unlinkat(parent, name.as_c_str(), UnlinkatFlags::RemoveDir);
        }
    }
}

fn at_root() -> BorrowedFd<'static> {
    nix::fcntl::AT_FDCWD
}

fn refused(path: &AbsPath, operation: &'static str) -> impl Fn(Errno) -> Problem {
    move |errno| {
        let message = format!("{} cannot be used for the job.", path.lossy());
        let hint = match errno {
            Errno::EBUSY => {
                "There are processes in the group itself; move them to one below it (cgroups(7), \"no internal processes\")."
            }
            _ => {
                "See cgroups(7), \"Cgroups delegation: delegating a hierarchy to a less privileged user\"."
            }
        };
        Problem::new(Code::CgroupUnavailable, Stage::Cgroup, message)
            .path(path.bytes())
            .errno(operation, errno)
            .hint(hint)
    }
}

fn open(at: BorrowedFd<'_>, file: &CStr, flags: i32) -> Result<File, Errno> {
    fd::open(at.as_raw_fd(), file, flags, 0).map(|opened| File::from(fd::owned(opened)))
}

fn write(at: BorrowedFd<'_>, file: &CStr, value: &str) -> Result<(), Errno> {
    let opened = open(at, file, libc::O_WRONLY)?;
    fd::write_all(opened.as_raw_fd(), value.as_bytes())
}

fn text(at: BorrowedFd<'_>, file: &CStr) -> Result<String, Errno> {
    let mut text = String::new();
    let read = open(at, file, libc::O_RDONLY)?.read_to_string(&mut text);
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    read.map_err(errno).map(|_| text)
}

/// Reads a file of the kernel from its beginning.
fn again(file: &File) -> Option<String> {
    let mut bytes = [0; 1024];
    let count = file.read_at(&mut bytes, 0).ok()?;
    String::from_utf8(bytes.get(..count)?.to_vec()).ok()
}
