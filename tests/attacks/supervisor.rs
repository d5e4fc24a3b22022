//! A supervisor over stdbox's system calls (seccomp_unotify(2)): each of them waits until it is answered, and may be refused.

use crate::faults::NAMES;
use crate::support::{Run, stdbox};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};
use serde_json::Value;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `struct seccomp_notif` of seccomp_unotify(2).
#[repr(C)]
#[derive(Default, Debug, Clone, Copy)]
pub struct Notice {
    id: u64,
    pub pid: u32,
    flags: u32,
    pub call: c_int,
    arch: u32,
    instruction_pointer: u64,
    pub args: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const NOTIF_RECV: libc::Ioctl = 0xc050_2100_u32.cast_signed();
const NOTIF_SEND: libc::Ioctl = 0xc018_2101_u32.cast_signed();
const USER_NOTIF_FLAG_CONTINUE: u32 = 1;
const LISTENER: c_int = 200;

/// Calls that are put to the supervisor: all that set-up makes, but what cannot fail (close, umask, wait4, exit).
/// execve is not among them, since the filter is installed before stdbox itself is executed.
pub fn asked() -> Vec<c_long> {
    NAMES
        .iter()
        .map(|(_, call)| *call)
        .chain([libc::SYS_write])
        .collect()
}

/// stdbox with a supervisor.
#[derive(Debug)]
pub struct Watched {
    pub child: Child,
    listener: OwnedFd,
}

impl Watched {
    /// Supervises all that set-up calls.
    pub fn start(spec: &str) -> Self {
        Self::asking(spec, &asked())
    }

    /// Supervises these calls.
    pub fn asking(spec: &str, calls: &[c_long]) -> Self {
        let op = |code: u16, k: u32, jt: u8, jf: u8| libc::sock_filter { code, jt, jf, k };
        let mut program = vec![op(0x20, 0, 0, 0)];
        for (i, &call) in calls.iter().enumerate() {
            let rest = u8::try_from(calls.len() - i).unwrap();
            program.push(op(0x15, u32::try_from(call).unwrap(), rest, 0));
        }
        program.push(op(0x06, 0x7fff_0000, 0, 0)); // SECCOMP_RET_ALLOW
        program.push(op(0x06, 0x7fc0_0000, 0, 0)); // SECCOMP_RET_USER_NOTIF
        let mut command = Command::new(stdbox());
        command
            .args(["--spec", spec])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let length = u16::try_from(program.len()).unwrap();
        let install = move || {
            let filter = libc::sock_fprog {
                len: length,
                filter: program.as_ptr().cast_mut(),
            };
            // SAFETY: this option takes numbers.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            // SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_NEW_LISTENER.
            // SAFETY: the program outlives the call and has the length that is told.
            let listener = unsafe { libc::syscall(libc::SYS_seccomp, 1, 8, &raw const filter) };
            if listener < 0 {
                return Err(std::io::Error::last_os_error());
            }
            // Under a number that the parent knows, and open over execve. fcntl is not among the supervised calls.
            // SAFETY: no memory is passed.
            let copy = unsafe {
                libc::fcntl(
                    c_int::try_from(listener).unwrap_or(-1),
                    libc::F_DUPFD,
                    LISTENER,
                )
            };
            if copy == LISTENER {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        };
        // SAFETY: three system calls and no allocation.
        unsafe { command.pre_exec(install) };
        let child = command.spawn().expect("stdbox starts");
        // SAFETY: no memory is passed.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
        // SAFETY: no memory is passed.
        let listener = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, LISTENER, 0) };
        assert!(
            pidfd >= 0 && listener >= 0,
            "the listener: {}",
            std::io::Error::last_os_error()
        );
        // SAFETY: both are open and nobody else's.
        let [_, listener] = [pidfd, listener]
            .map(|fd| unsafe { OwnedFd::from_raw_fd(c_int::try_from(fd).unwrap()) });
        Self { child, listener }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next call that somebody waits with; `None` if nobody is left, or nobody asks for a while.
    pub fn next(&self, patience: Duration) -> Option<Notice> {
        loop {
            let mut fd = libc::pollfd {
                fd: self.listener.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one element, as announced.
            let ready = unsafe {
                libc::poll(
                    &raw mut fd,
                    1,
                    c_int::try_from(patience.as_millis()).unwrap(),
                )
            };
            if ready == -1 && Errno::last() == Errno::EINTR {
                continue;
            }
            if ready != 1 || fd.revents & libc::POLLIN == 0 {
                return None;
            }
            let mut notice = Notice::default();
            // SAFETY: `notice` is zeroed and as large as the request wants.
            let result =
                unsafe { libc::ioctl(self.listener.as_raw_fd(), NOTIF_RECV, &raw mut notice) };
            if result == 0 {
                return Some(notice);
            }
            // Who asked has died meanwhile.
        }
    }

    pub fn answer(&self, notice: &Notice, refusal: Option<Errno>) {
        let (error, flags) =
            refusal.map_or((0, USER_NOTIF_FLAG_CONTINUE), |errno| (-(errno as i32), 0));
        let answer = Answer {
            id: notice.id,
            value: 0,
            error,
            flags,
        };
        // SAFETY: `answer` is as large as the request wants. Who asked may have died meanwhile.
        let _gone =
            unsafe { libc::ioctl(self.listener.as_raw_fd(), NOTIF_SEND, &raw const answer) };
    }

    pub fn finish(self, patience: Duration) -> Run {
        let mut child = self.child;
        drop(self.listener);
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > patience {
                child.kill().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let output = child.wait_with_output().unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Run {
            report,
            status: output.status.code(),
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
