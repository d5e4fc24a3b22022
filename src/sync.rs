//! What is said to, and heard from, a caller that measures or places the job's processes itself. Ring 0.

use crate::report::line;
use crate::text::Text;
use crate::wire::Rusage;
use serde::Serialize;

/// What `sync` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sync {
    /// Where events are written.
    pub events: i32,
    /// Where answers are read; there for every pause.
    pub control: Option<i32>,
    /// Whether the caller lets the command be executed.
    pub before_exec: bool,
    /// Whether the caller lets the container be taken down.
    pub after_exit: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// Only `execve` is left.
    Ready {
        /// The target, as the caller sees it.
        pid: i32,
        /// The container's first process, as the caller sees it.
        init_pid: i32,
        /// The directory on the disk that holds what the job writes.
        #[serde(skip_serializing_if = "Option::is_none")]
        scratch: Option<&'a Text>,
    },
    /// The target has ended, and the container stands for as long as the caller was asked.
    Exited {
        /// As wait(2) gives it.
        wait_status: i32,
        /// Resource use of the target and everything it waited for.
        rusage: Rusage,
    },
}

impl Event<'_> {
    /// One line of JSON with its newline.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        line(self).unwrap_or_default()
    }
}

/// What the caller says at a pause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// `continue`
    Continue,
    /// Nothing that is in the protocol; this is how it begins.
    Unknown(Vec<u8>),
}

const CONTINUE: &[u8] = b"continue";

/// Longer than everything that can be said.
const LONGEST: usize = 64;

/// What was heard and not acted on yet: a caller may answer before it is asked.
#[derive(Clone, Debug, Default)]
pub struct Heard(Vec<u8>);

impl Heard {
    /// Adds what was read.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Whether nothing was heard since.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next answer, if all of it is there.
    pub fn next_answer(&mut self) -> Option<Answer> {
        let end = memchr::memchr(b'\n', &self.0);
        let length = match end {
            Some(end) => end,
            None if self.0.len() > LONGEST => self.0.len(),
            None => return None,
        };
        let mut line: Vec<u8> = self.0.drain(..length).collect();
        if end.is_some() {
            self.0.drain(..1);
        }
        if line == CONTINUE {
            return Some(Answer::Continue);
        }
        line.truncate(LONGEST);
        Some(Answer::Unknown(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_line_by_line_however_they_arrive() {
        let mut heard = Heard::default();
        for byte in b"continue\ncont" {
            assert_eq!(heard.next_answer(), None);
            heard.hear(&[*byte]);
            if *byte == b'\n' {
                assert_eq!(heard.next_answer(), Some(Answer::Continue));
            }
        }
        heard.hear(b"inue\ncontinue\n");
        assert_eq!(heard.next_answer(), Some(Answer::Continue));
        assert_eq!(heard.next_answer(), Some(Answer::Continue));
        assert_eq!(heard.next_answer(), None);
    }

    #[test]
    fn what_is_not_in_the_protocol_is_unknown() {
        for said in [
            "",
            "Continue",
            "continue ",
            " continue",
            "continue\r",
            "continue\0",
            "cont",
        ] {
            let mut heard = Heard::default();
            heard.hear(said.as_bytes());
            assert_eq!(heard.next_answer(), None, "{said:?}");
            heard.hear(b"\n");
            let unknown = Answer::Unknown(said.as_bytes().to_vec());
            assert_eq!(heard.next_answer(), Some(unknown), "{said:?}");
        }
    }

    #[test]
    fn what_never_ends_is_unknown_and_not_kept() {
        let mut heard = Heard::default();
        heard.hear(&[b'c'; LONGEST]);
        assert_eq!(heard.next_answer(), None);
        heard.hear(&[b'c'; 5000]);
        assert_eq!(
            heard.next_answer(),
            Some(Answer::Unknown(vec![b'c'; LONGEST]))
        );
        assert_eq!(heard.0, b"");
    }
}
