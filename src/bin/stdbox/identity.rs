//! Writes the id maps of a user namespace whose first process waits for them. Ring 1.
//!
//! A privileged caller writes them itself; for the others newuidmap(1) and newgidmap(1) do it, which look up in /etc/subuid
//! and /etc/subgid what the caller may map.

use crate::sys::{clone, fd, process};
use crate::userns::UserNamespace;
use crate::{diagnose, id_facts};
use nix::errno::Errno;
use nix::libc::{self, POLLERR, POLLHUP, POLLIN, pollfd};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use stdbox::outcome;
use stdbox::plan::{IdMaps, MapWriter};
use stdbox::problem::{Code, Problem, Stage};
use stdbox::subid;
use stdbox::text::AbsPath;

/// How long a helper may take: it may have to ask a directory service.
const PATIENCE_NS: u64 = 30_000_000_000;

/// How much of what a helper says is kept.
const MOST_SAID: usize = 1000;

/// Why there are no maps.
#[derive(Debug)]
pub(crate) enum Unmapped {
    /// stdbox was told to stop.
    Stopped,
    /// They could not be written.
    Refused(Problem),
}

impl From<Problem> for Unmapped {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// What the kernel's refusal means.
pub(crate) fn refused(operation: &'static str) -> impl Fn(Errno) -> Unmapped {
    move |errno| {
        let problem = outcome::identity(errno, &diagnose::namespaces());
        let problem = problem.errno(operation, errno);
        problem.pointer(Some("/user/map")).into()
    }
}

/// Writes the maps of a process that waits for them, and takes hold of its user namespace. As long as it waits, its files
/// in /proc belong to the caller. `stop` can be read when stdbox is told to stop.
pub(crate) fn write(
    maps: &IdMaps,
    pid: i32,
    stop: Option<&OwnedFd>,
) -> Result<UserNamespace, Unmapped> {
    let files = ["uid_map", "gid_map"].map(|name| format!("/proc/{pid}/{name}"));
    let texts = [&maps.uid, &maps.gid];
    match &maps.writer {
        MapWriter::Itself => {}
        MapWriter::Outside => {
            for (file, text) in files.iter().zip(texts) {
                let path = CString::new(file.as_bytes()).unwrap_or_default();
                let opened = fd::open(libc::AT_FDCWD, &path, libc::O_WRONLY, 0).map(fd::owned);
                let opened = opened.map_err(refused("openat2"))?;
                fd::write_all(opened.as_raw_fd(), text).map_err(refused("write"))?;
            }
        }
        MapWriter::Helpers(helpers) => {
            for (helper, text) in helpers.iter().zip(texts) {
                ask(helper, pid, text, stop)?;
            }
        }
    }
    // A helper that was found somewhere may do something else than what it should.
    for (file, text) in files.iter().zip(texts) {
        let seen = std::fs::read(file).unwrap_or_default();
        if subid::lines(&seen) != subid::lines(text) {
            let message = "The id maps are not what they should be after they were written.";
            let problem = Problem::new(Code::IdentityRefused, Stage::Identity, message);
            return Err(problem.pointer(Some("/user/map")).into());
        }
    }
    UserNamespace::of(pid).map_err(refused("openat2"))
}

/// How a helper ended.
enum End {
    Status(i32),
    Late,
    Stopped,
}

/// Has a helper write one map.
fn ask(helper: &AbsPath, pid: i32, map: &[u8], stop: Option<&OwnedFd>) -> Result<(), Unmapped> {
    let argument = |text: &[u8]| CString::new(text).unwrap_or_default();
    let numbers = map
        .split(u8::is_ascii_whitespace)
        .filter(|number| !number.is_empty())
        .map(argument);
    let argv: Vec<CString> = [
        argument(helper.name()),
        argument(pid.to_string().as_bytes()),
    ]
    .into_iter()
    .chain(numbers)
    .collect();
    // Nothing of the caller's environment: what it says is read by a program with privileges.
    let envp = [c"PATH=/usr/bin:/bin".to_owned(), c"LC_ALL=C".to_owned()];
    let (end, said) = started(helper.as_cstr(), &argv, &envp, stop).map_err(|errno| {
        let message = format!("{} could not be started.", helper.lossy());
        let problem = Problem::new(Code::IdMapHelper, Stage::Identity, message);
        Unmapped::from(
            problem
                .path(helper.bytes())
                .errno("clone3", errno)
                .pointer(Some("/user/map")),
        )
    })?;
    let said = String::from_utf8_lossy(&said);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(" It says: {said}")
    };
    let (code, what) = match end {
        End::Status(0) => return Ok(()),
        End::Stopped => return Err(Unmapped::Stopped),
        End::Late => (
            Code::IdMapHelper,
            "did not end within 30 seconds, and was ended.",
        ),
        End::Status(status) if status == NOT_STARTED << 8 => {
            (Code::IdMapHelper, "could not be executed.")
        }
        End::Status(_) => (
            Code::IdentityRefused,
            "did not map the caller's subordinate ids.",
        ),
    };
    let hint = id_facts::powerless(helper).unwrap_or("See newuidmap(1); /etc/subuid and /etc/subgid must give these ids to the user that stdbox runs as, and to nobody else.");
    let message = format!("{} {what}{said}", helper.lossy());
    let problem = Problem::new(code, Stage::Identity, message).path(helper.bytes());
    Err(problem.hint(hint).pointer(Some("/user/map")).into())
}

/// The exit status of a process whose program could not be executed.
const NOT_STARTED: i32 = 127;

/// Runs a program with nothing of ours: standard streams that lead nowhere but for errors, which are returned, no other
/// descriptors, the default action for every signal, and this environment.
fn started(
    program: &CStr,
    argv: &[CString],
    envp: &[CString],
    stop: Option<&OwnedFd>,
) -> Result<(End, Vec<u8>), Errno> {
    let null = fd::owned(fd::open(libc::AT_FDCWD, c"/dev/null", libc::O_RDWR, 0)?);
    let (reader, writer) = fd::pipe()?;
    let (reader, writer) = (fd::owned(reader), fd::owned(writer));
    let (argv, envp) = (process::Pointers::new(argv), process::Pointers::new(envp));
    let parent = process::own_pid();
    let (pid, pidfd) = clone::copying(0)?;
    if pid == 0 {
        let streams = [null.as_raw_fd(), null.as_raw_fd(), writer.as_raw_fd()];
        let prepared = process::die_with(parent)
            .and_then(|()| {
                (0..)
                    .zip(streams)
                    .try_for_each(|(to, from)| fd::dup_onto(from, to))
            })
            .and_then(|()| fd::close_range(3, u32::MAX))
            .and_then(|()| process::reset_signals(process::SIGNALS));
        if prepared.is_ok() {
            process::execute(program, &argv, &envp);
        }
        process::exit(NOT_STARTED);
    }
    let pidfd = fd::owned(pidfd);
    drop(writer);
    let (mut said, mut reader) = (Vec::new(), Some(reader));
    let deadline = process::now_ns() + PATIENCE_NS;
    let cut = loop {
        let fds = [reader.as_ref(), Some(&pidfd), stop];
        let mut fds = fds.map(|fd| pollfd {
            fd: fd.map_or(-1, AsRawFd::as_raw_fd),
            events: POLLIN,
            revents: 0,
        });
        let left = deadline.saturating_sub(process::now_ns());
        match fd::poll(&mut fds, Some(left)) {
            Ok(()) | Err(Errno::EINTR) => {}
            Err(_) => break Some(End::Late),
        }
        let [errors, ended, stopped] = fds.map(|fd| fd.revents & (POLLIN | POLLHUP | POLLERR) != 0);
        if errors && let Some(from) = &reader {
            let mut chunk = [0; MOST_SAID];
            match fd::read(from.as_raw_fd(), &mut chunk) {
                Ok(0) | Err(_) => reader = None,
                Ok(count) => {
                    let room = MOST_SAID - said.len();
                    said.extend_from_slice(chunk.get(..count.min(room)).unwrap_or_default());
                }
            }
        } else if ended {
            break None;
        }
        if stopped {
            break Some(End::Stopped);
        } else if left == 0 {
            break Some(End::Late);
        }
    };
    if cut.is_some() {
        // The helper's real user is the caller, which is what a signal asks for.
        let _ended = process::signal_child(pid, pidfd.as_raw_fd(), libc::SIGKILL);
    }
    let status = match process::wait(pid)? {
        Some((_, status, _)) => status,
        None => return Err(Errno::ECHILD),
    };
    Ok((cut.unwrap_or(End::Status(status)), said))
}
