//! Talks with a caller that measures or places the job's processes itself: events to it, answers from it. Ring 1.

use crate::sys::{fd, handover, process};
use nix::errno::Errno;
use nix::libc::{POLLIN, POLLOUT, pollfd};
use std::os::fd::{AsRawFd, OwnedFd};
use stdbox::problem::Notice;
use stdbox::sync::{Answer, Event, Heard, Sync};
use stdbox::text::Text;
use stdbox::wire::Rusage;

/// A pipe in which there is room takes so much without waiting, and so does a socket: _POSIX_PIPE_BUF, limits.h(0p).
const AT_ONCE: usize = 512;

/// Where the caller is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pause {
    BeforeExec,
    AfterExit,
}

/// The caller does not want the job to go on, or is not there any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cancelled;

/// The talk about one job.
#[derive(Debug)]
pub(crate) struct Dialogue {
    wanted: Sync,
    init: i32,
    /// Where the target, and later init, wait.
    gate: OwnedFd,
    /// The directory on the disk that holds what the job writes.
    scratch: Option<Text>,
    ready: bool,
    ended: bool,
    /// Which it is, and since when.
    pause: Option<(Pause, u64)>,
    heard: Heard,
    unsaid: Vec<u8>,
    unknown: Option<Vec<u8>>,
    /// Why events could not be told.
    untold: Option<Errno>,
    paused_ns: [u64; 2],
}

impl Dialogue {
    pub(crate) fn new(wanted: Sync, gate: OwnedFd, init: i32, scratch: Option<Text>) -> Self {
        Self {
            wanted,
            init,
            gate,
            scratch,
            ready: false,
            ended: false,
            pause: None,
            heard: Heard::default(),
            unsaid: Vec::new(),
            unknown: None,
            untold: None,
            paused_ns: [0; 2],
        }
    }

    /// What is waited for: the target at the gate, room for events, an answer.
    pub(crate) fn waits(&self) -> [pollfd; 3] {
        let wait = |wanted: bool, fd: i32, events| pollfd {
            fd: if wanted { fd } else { -1 },
            events,
            revents: 0,
        };
        // A caller that leaves while the job runs could not answer at the pause that is still to come.
        let owes = self.ready && !self.ended && self.wanted.after_exit && self.heard.is_empty();
        let control = self.wanted.control.unwrap_or(-1);
        [
            wait(!self.ready, self.gate.as_raw_fd(), POLLIN),
            wait(self.has_to_say(), self.wanted.events, POLLOUT),
            wait(self.pause.is_some() || owes, control, POLLIN),
        ]
    }

    /// Acts on those of the three that can be acted on.
    pub(crate) fn turn(&mut self, [gate, events, control]: [bool; 3]) -> Result<(), Cancelled> {
        if gate && let Ok(pid) = handover::sender(self.gate.as_raw_fd()) {
            self.ready = true;
            let event = Event::Ready {
                pid,
                init_pid: self.init,
                scratch: self.scratch.as_ref(),
            };
            self.unsaid.extend(event.to_bytes());
            self.reach(Pause::BeforeExec, self.wanted.before_exec);
        }
        if control {
            self.listen()?;
        }
        self.go_on()?;
        if events {
            self.say()?;
        }
        Ok(())
    }

    /// The target has ended. The container stands until the caller has answered, if it is to be waited for.
    pub(crate) fn exited(
        &mut self,
        wait_status: i32,
        rusage: Rusage,
        wait: bool,
    ) -> Result<(), Cancelled> {
        let event = Event::Exited {
            wait_status,
            rusage,
        };
        self.ended = true;
        self.unsaid.extend(event.to_bytes());
        self.reach(Pause::AfterExit, wait && self.wanted.after_exit);
        self.go_on()
    }

    /// Waits for the caller no more; says whether it was to look at the container.
    pub(crate) fn cancel(&mut self) -> bool {
        match self.end_pause() {
            Some(Pause::AfterExit) => {
                self.open();
                true
            }
            // The target never goes through: it is about to be killed.
            Some(Pause::BeforeExec) | None => false,
        }
    }

    /// Whether the target is there.
    pub(crate) const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether there are events that the caller does not know yet.
    pub(crate) const fn has_to_say(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// Forgets the events that the caller does not take.
    pub(crate) fn fall_silent(&mut self) {
        self.unsaid.clear();
    }

    /// How long the caller took, before the command was executed and after it ended.
    pub(crate) const fn paused_ns(&self) -> [u64; 2] {
        self.paused_ns
    }

    /// The warnings about an answer that is not in the protocol, and about events that could not be told.
    pub(crate) fn notices(&self) -> impl Iterator<Item = Notice> {
        let unknown = self.unknown.as_ref().map(|said| {
            let said = String::from_utf8_lossy(said);
            let message = format!(
                "The job was cancelled by {said:?} on sync.control_fd: \"continue\" is all that can be said there."
            );
            Notice::new("sync-answer-unknown", None, message)
        });
        let untold = self.untold.map(|errno| {
            let text = errno.desc();
            let message = format!("Events could not be written to sync.events_fd: {text}.");
            Notice::new("sync-event-lost", None, message)
        });
        unknown.into_iter().chain(untold)
    }

    fn reach(&mut self, pause: Pause, wait: bool) {
        if wait {
            self.pause = Some((pause, process::now_ns()));
        } else {
            self.open();
        }
    }

    fn end_pause(&mut self) -> Option<Pause> {
        let (pause, since) = self.pause.take()?;
        let [before, after] = &mut self.paused_ns;
        let paused = match pause {
            Pause::BeforeExec => before,
            Pause::AfterExit => after,
        };
        *paused = process::now_ns().saturating_sub(since);
        Some(pause)
    }

    /// Lets whoever waits there go on.
    fn open(&self) {
        // Who does not wait any more has ended, which the pipe of the records will say.
        let _ended = fd::write(self.gate.as_raw_fd(), b"g");
    }

    /// A caller that has answered ahead need not hear of anything; one that is waited for, and cannot be told, would wait too.
    fn say(&mut self) -> Result<(), Cancelled> {
        let length = self.unsaid.len().min(AT_ONCE);
        let part = self.unsaid.get(..length).unwrap_or_default();
        match fd::write(self.wanted.events, part) {
            Ok(count) => drop(self.unsaid.drain(..count)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => {
                self.untold = Some(errno);
                self.fall_silent();
                if self.pause.is_some() {
                    return Err(Cancelled);
                }
            }
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), Cancelled> {
        let mut bytes = [0; AT_ONCE];
        match fd::read(self.wanted.control.unwrap_or(-1), &mut bytes) {
            Ok(0) => Err(Cancelled),
            Ok(count) => {
                self.heard.hear(bytes.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(_) => Err(Cancelled),
        }
    }

    /// Ends the pause, if there is one and the caller has answered.
    fn go_on(&mut self) -> Result<(), Cancelled> {
        if self.pause.is_none() {
            return Ok(());
        }
        match self.heard.next_answer() {
            None => Ok(()),
            Some(Answer::Continue) => {
                self.end_pause();
                self.open();
                Ok(())
            }
            Some(Answer::Unknown(said)) => {
                self.unknown = Some(said);
                Err(Cancelled)
            }
        }
    }
}
