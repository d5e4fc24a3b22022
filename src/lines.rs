//! A stream of bytes → the lines of a batch, one job each. Ring 0.

use crate::json::MAX_BYTES;

/// How much room is kept for what is read next.
const ROOM: usize = 128 << 10;

/// What has been read and is not a line yet, or was not asked for yet. It holds one line at most, and what was read with its
/// end.
#[derive(Debug, Default)]
pub struct Lines {
    read: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// From where on no end of it was looked for.
    unseen: usize,
    /// How many lines there were before it.
    before: u64,
    /// The next line is longer than a job may be; what it began with is gone.
    too_long: bool,
    ended: bool,
}

/// A line with more than white space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Counted from 1; white lines count.
    pub number: u64,
    /// Without its end; `None` if it is longer than a job may be.
    pub bytes: Option<Vec<u8>>,
}

impl Lines {
    /// Adds what was read; nothing is the end of the stream, and of a last line that lacks its own.
    pub fn add(&mut self, bytes: &[u8]) {
        // The lines that were taken make room.
        self.read.drain(..self.start);
        self.unseen -= self.start;
        self.start = 0;
        // A large job is not remembered by its room.
        if self.read.is_empty() {
            self.read.shrink_to(ROOM);
        }
        if bytes.is_empty() {
            self.ended = true;
        }
        self.read.extend_from_slice(bytes);
    }

    /// Whether the stream has ended. There may be lines left.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The next line, if it is there as a whole.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            let rest = self.read.get(self.unseen..).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', rest) else {
                break;
            };
            let line = self.take(self.unseen + at, 1);
            if line.is_some() {
                return line;
            }
        }
        self.unseen = self.read.len();
        if self.unseen - self.start > MAX_BYTES {
            self.too_long = true;
        }
        if self.too_long {
            self.read = Vec::new();
            (self.start, self.unseen) = (0, 0);
        }
        let last = self.ended && (self.too_long || self.start < self.read.len());
        last.then(|| self.take(self.read.len(), 0)).flatten()
    }

    /// Takes the bytes up to this place as a line, and passes over its end; nothing if they are white.
    fn take(&mut self, to: usize, end: usize) -> Option<Line> {
        let bytes = self.read.get(self.start..to).unwrap_or_default();
        let too_long = std::mem::take(&mut self.too_long) || bytes.len() > MAX_BYTES;
        let white = !too_long && bytes.iter().all(u8::is_ascii_whitespace);
        let bytes = (!too_long && !white).then(|| bytes.to_vec());
        self.start = to + end;
        self.unseen = self.start;
        self.before += 1;
        (!white).then_some(Line {
            number: self.before,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test may stop at the first surprise"
    )]

    use super::*;

    type Found = (u64, Option<Vec<u8>>);

    /// All lines of a stream that arrives in parts of this size, and the most that was held.
    fn lines(stream: &[u8], part: usize) -> (Vec<Found>, usize) {
        let (mut lines, mut found, mut most) = (Lines::default(), Vec::new(), 0);
        for bytes in stream.chunks(part).chain([b"".as_slice()]) {
            lines.add(bytes);
            most = most.max(lines.read.len());
            while let Some(line) = lines.next_line() {
                found.push((line.number, line.bytes));
            }
        }
        lines.add(b"");
        assert!(lines.read.capacity() <= ROOM);
        assert!(lines.ended());
        assert_eq!(lines.next_line(), None);
        (found, most)
    }

    fn some(number: u64, text: &str) -> Found {
        (number, Some(text.as_bytes().to_vec()))
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let stream = b"{\"a\":1}\n\n  \t\r\n{}\r\nlast";
        let expected = vec![some(1, "{\"a\":1}"), some(4, "{}\r"), some(5, "last")];
        for part in 1..=stream.len() {
            assert_eq!(lines(stream, part).0, expected, "in parts of {part}");
        }
    }

    #[test]
    fn an_empty_stream_has_no_line() {
        assert_eq!(lines(b"", 1).0, []);
        assert_eq!(lines(b"\n\n", 1).0, []);
        assert_eq!(lines(b"x\n", 1).0, [some(1, "x")]);
    }

    #[test]
    fn a_line_of_the_greatest_length_is_one_and_a_longer_one_is_not_kept() {
        let longest = vec![b'x'; MAX_BYTES];
        let stream = [b"a\n", longest.as_slice(), b"\nb\n"].concat();
        let (found, _) = lines(&stream, 1 << 16);
        assert_eq!(found.len(), 3);
        assert_eq!(found[1], (2, Some(longest)));
        for extra in [1, 2, 1 << 16, MAX_BYTES * 2] {
            let long = vec![b'x'; MAX_BYTES + extra];
            for end in [b"\nb\n".as_slice(), b"\nb"] {
                let stream = [b"a\n", long.as_slice(), end].concat();
                let (found, most) = lines(&stream, 1 << 16);
                let expected = [some(1, "a"), (2, None), some(3, "b")];
                assert_eq!(found, expected, "{extra} more");
                assert!(most <= MAX_BYTES + (2 << 16), "{most} held");
            }
            let (found, _) = lines(&long, 1 << 16);
            assert_eq!(found, [(1, None)], "{extra} more and no end");
        }
    }
}
