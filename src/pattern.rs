//! Patterns of result files: `?`, `*`, `[…]` and `**`, as in a shell. Ring 0.
//!
//! A pattern is matched component by component, so a walk through a tree knows at each directory whether anything below it
//! can match, and leaves out what cannot. One component is matched by the crate `glob`; what it does not know, or takes
//! otherwise than a shell, is translated here.

use crate::text::AbsPath;
use std::borrow::Cow;

/// The longest pattern, as long as the longest path.
pub const MAX_BYTES: usize = 4095;

/// Why bytes are not a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PatternFault {
    /// It has no bytes.
    Empty,
    /// It holds a NUL byte.
    Nul,
    /// It has a `..` that leads out of the tree, or that stands behind a wildcard.
    Parent,
    /// It is longer than [`MAX_BYTES`].
    TooLong,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    /// A name without special characters.
    Name(Vec<u8>),
    /// A name with some.
    Wild(glob::Pattern),
    /// Any number of directories.
    AnyDepth,
}

/// One pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    text: Vec<u8>,
    absolute: bool,
    parts: Vec<Part>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(text: &[u8]) -> Result<Self, PatternFault> {
        if text.is_empty() {
            return Err(PatternFault::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(PatternFault::TooLong);
        }
        if text.contains(&0) {
            return Err(PatternFault::Nul);
        }
        let mut parts = Vec::new();
        for part in text.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b"**" if parts.last() == Some(&Part::AnyDepth) => {}
                b"**" => parts.push(Part::AnyDepth),
                // What it would lead back from must be known, and must be inside.
                b".." => match parts.pop() {
                    Some(Part::Name(_)) => {}
                    _ => return Err(PatternFault::Parent),
                },
                _ => parts.push(component(part)),
            }
        }
        // Behind the last slash it stands for what is there, and that is taken with all that it holds.
        if let Some(last) = parts.last_mut().filter(|last| **last == Part::AnyDepth) {
            *last = component(b"*");
        }
        Ok(Self {
            text: text.to_vec(),
            absolute: text.first() == Some(&b'/'),
            parts,
        })
    }

    /// As the job gives it.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether it starts at the container's root.
    #[must_use]
    pub const fn is_absolute(&self) -> bool {
        self.absolute
    }
}

/// Reads one component.
fn component(bytes: &[u8]) -> Part {
    let translated = translate(&decode(bytes));
    match translated {
        Ok(name) => Part::Name(encode(&name)),
        Err(pattern) => {
            glob::Pattern::new(&pattern).map_or_else(|_| Part::Name(bytes.to_vec()), Part::Wild)
        }
    }
}

/// What a shell understands, as `glob` would have it: a name if nothing in it is special, else a pattern. A backslash takes
/// the special meaning from what follows; a `[` that is never closed has none.
fn translate(text: &str) -> Result<String, String> {
    let text: Vec<char> = text.chars().collect();
    let (mut name, mut pattern, mut wild) = (String::new(), String::new(), false);
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        at += 1;
        let plain = match c {
            '*' => {
                wild = true;
                // Two of them mean what one does.
                while text.get(at) == Some(&'*') {
                    at += 1;
                }
                pattern.push('*');
                continue;
            }
            '?' => {
                wild = true;
                pattern.push('?');
                continue;
            }
            '[' => match set(text.get(at..).unwrap_or_default()) {
                Some((set, length)) => {
                    wild = true;
                    pattern.push_str(&set);
                    at += length;
                    continue;
                }
                None => '[',
            },
            '\\' => match text.get(at) {
                Some(&quoted) => {
                    at += 1;
                    quoted
                }
                None => '\\',
            },
            plain => plain,
        };
        name.push(plain);
        pattern.push_str(&glob::Pattern::escape(plain.encode_utf8(&mut [0; 4])));
    }
    if wild { Err(pattern) } else { Ok(name) }
}

/// Characters from one to another.
type Range = (char, char);

/// The names of characters in brackets, for ASCII.
const CLASSES: [(&str, &[Range]); 12] = [
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("blank", &[(' ', ' '), ('\t', '\t')]),
    ("cntrl", &[('\u{1}', '\u{1f}'), ('\u{7f}', '\u{7f}')]),
    ("digit", &[('0', '9')]),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", &[('\t', '\r'), (' ', ' ')]),
    ("upper", &[('A', 'Z')]),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

/// What follows a `[`, as `glob` would have it with both brackets, and its length; `None` if it is never closed.
fn set(text: &[char]) -> Option<(String, usize)> {
    let negated = matches!(text.first(), Some('!' | '^'));
    let first = usize::from(negated);
    let mut at = first;
    let mut ranges: Vec<Range> = Vec::new();
    loop {
        let rest = text.get(at..)?;
        if *rest.first()? == ']' && at > first {
            break;
        }
        if let Some((class, length)) = class(rest) {
            ranges.extend(class);
            at += length;
            continue;
        }
        let (low, next) = member(text, at)?;
        at = next;
        // Before the last bracket a hyphen stands for itself.
        let ranged = text.get(at) == Some(&'-') && text.get(at + 1).is_some_and(|&c| c != ']');
        let high = if ranged {
            let (high, next) = member(text, at + 1)?;
            at = next;
            high
        } else {
            low
        };
        ranges.push((low, high));
    }
    Some((brackets(negated, &ranges), at + 1))
}

/// The class that a text begins with, and its length.
fn class(text: &[char]) -> Option<(&'static [Range], usize)> {
    let name: String = text.strip_prefix(&['[', ':'])?.iter().collect();
    CLASSES.iter().find_map(|(class, ranges)| {
        let closed = name.strip_prefix(class)?.starts_with(":]");
        closed.then_some((*ranges, class.len() + 4))
    })
}

/// One character of a set, and the place behind it. A backslash before the last bracket stands for itself.
fn member(text: &[char], at: usize) -> Option<(char, usize)> {
    match (*text.get(at)?, text.get(at + 1)) {
        ('\\', Some(&quoted)) if quoted != ']' => Some((quoted, at + 2)),
        (c, _) => Some((c, at + 1)),
    }
}

/// A set as `glob` reads it: three characters are a range wherever the second is a hyphen, a bracket is a member at the beginning
/// only, and an exclamation mark there is a negation. So all is written as ranges, but for these three.
fn brackets(negated: bool, ranges: &[Range]) -> String {
    let mut found = [(']', false), ('!', false), ('-', false)];
    let mut members = String::new();
    for &(mut low, mut high) in ranges {
        // Each may be at an end when another one has been taken from there; none is next to another.
        for (special, there) in &mut found {
            if low <= high && low == *special {
                *there = true;
                low = next(low);
            } else if low <= high && high == *special {
                *there = true;
                high = before(high);
            }
        }
        if low <= high {
            members.extend([low, '-', high]);
        }
    }
    let [bracket, mark, hyphen] = found.map(|(special, there)| there.then_some(special));
    let text = |c: Option<char>| c.map(String::from).unwrap_or_default();
    let (bracket, mark, hyphen) = (text(bracket), text(mark), text(hyphen));
    let all = format!("{bracket}{members}{mark}{hyphen}");
    match all.as_str() {
        // No character is in this range.
        "" if negated => "?".to_owned(),
        "" => "[\"-!]".to_owned(),
        "!" if !negated => all,
        "!-" if !negated => "[-!]".to_owned(),
        _ => format!("[{}{all}]", if negated { "!" } else { "" }),
    }
}

fn next(c: char) -> char {
    char::from_u32(u32::from(c) + 1).unwrap_or(c)
}

fn before(c: char) -> char {
    char::from_u32(u32::from(c) - 1).unwrap_or(c)
}

/// Where bytes that are not UTF-8 go: characters that nobody uses. Those characters themselves are taken apart into bytes, so
/// that two different names never look the same.
const STRAY: u32 = 0x10_ff00;

const fn is_stray(c: char) -> bool {
    c as u32 >= STRAY
}

fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(is_stray) => return Cow::Borrowed(text),
        _ => {}
    }
    let stray =
        |b: &u8| char::from_u32(STRAY + u32::from(*b)).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_stray(c) {
                text.extend(c.encode_utf8(&mut [0; 4]).as_bytes().iter().map(stray));
            } else {
                text.push(c);
            }
        }
        text.extend(chunk.invalid().iter().map(stray));
    }
    Cow::Owned(text)
}

fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(u32::from(c).wrapping_sub(STRAY)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// All patterns of a job, from the container's root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matcher(Vec<Vec<Part>>);

/// What is known of a path on the way from the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It matches, or lies in a directory that does.
    Matched,
    /// Something below it may match: pattern and part that come next.
    Open(Vec<(usize, usize)>),
}

impl Reach {
    /// Whether the path is to be taken.
    #[must_use]
    pub fn is_matched(&self) -> bool {
        *self == Self::Matched
    }

    /// Whether neither the path nor anything below it can match.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Open(next) if next.is_empty())
    }
}

impl Matcher {
    /// Joins patterns, the relative ones below this directory, in which no character is special.
    #[must_use]
    pub fn new(patterns: &[Pattern], cwd: &AbsPath) -> Self {
        let whole = |pattern: &Pattern| {
            let above = cwd
                .bytes()
                .split(|&b| b == b'/')
                .filter(|part| !part.is_empty());
            let above = above.map(|part| Part::Name(part.to_vec()));
            let above = above.filter(|_| !pattern.absolute);
            above.chain(pattern.parts.iter().cloned()).collect()
        };
        Self(patterns.iter().map(whole).collect())
    }

    /// At the root.
    #[must_use]
    pub fn root(&self) -> Reach {
        let mut next = Vec::new();
        for pattern in 0..self.0.len() {
            if self.add(&mut next, pattern, 0) {
                return Reach::Matched;
            }
        }
        Reach::Open(next)
    }

    /// At an entry of a directory.
    #[must_use]
    pub fn enter(&self, directory: &Reach, name: &[u8]) -> Reach {
        let Reach::Open(open) = directory else {
            return Reach::Matched;
        };
        let text = decode(name);
        let mut next = Vec::new();
        for &(pattern, at) in open {
            let to = match self.0.get(pattern).and_then(|parts| parts.get(at)) {
                Some(Part::AnyDepth) if !name.starts_with(b".") => at,
                Some(Part::Name(wanted)) if wanted == name => at + 1,
                Some(Part::Wild(wild)) if fits(wild, &text) => at + 1,
                _ => continue,
            };
            if self.add(&mut next, pattern, to) {
                return Reach::Matched;
            }
        }
        Reach::Open(next)
    }

    /// Notes a part that may come next; says whether the pattern has ended.
    fn add(&self, next: &mut Vec<(usize, usize)>, pattern: usize, at: usize) -> bool {
        let part = self.0.get(pattern).and_then(|parts| parts.get(at));
        if part.is_none() {
            return true;
        }
        if !next.contains(&(pattern, at)) {
            next.push((pattern, at));
        }
        // It may also stand for no directory at all.
        part == Some(&Part::AnyDepth) && self.add(next, pattern, at + 1)
    }
}

/// A leading dot is matched by a dot only, which `glob` asks of single characters, but not behind a `*` for nothing.
fn fits(wild: &glob::Pattern, name: &str) -> bool {
    (!name.starts_with('.') || wild.as_str().starts_with('.')) && wild.matches(name)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        reason = "a test may stop at the first surprise"
    )]
    use super::*;

    fn takes(pattern: &[u8], cwd: &'static str, path: &[u8]) -> bool {
        let matcher = Matcher::new(&[Pattern::new(pattern).unwrap()], &AbsPath::fixed(cwd));
        let mut reach = matcher.root();
        for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            reach = matcher.enter(&reach, name);
        }
        reach.is_matched()
    }

    #[test]
    fn pattern_special_characters_are_a_shells() {
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "*.c",
                &["a.c", "*.c", "ab.c"],
                &[".c", ".a.c", "a.cc", "d/a.c"],
            ),
            ("a*", &["a", "ab", "a.b"], &["ba", ".a"]),
            (".*", &[".a", ".ab"], &["a"]),
            ("?", &["a", "é"], &["ab", "."]),
            ("[ab]?", &["ax", "bx"], &["a", "cx"]),
            ("[!a]", &["b", "]", "!"], &["a", ".", "bb"]),
            ("[^a]", &["b"], &["a"]),
            ("[]a]", &["]", "a"], &["b"]),
            ("[!]a]", &["b"], &["]", "a"]),
            ("[a-c]", &["a", "b", "c"], &["d", "-"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[-a]", &["a", "-"], &["b"]),
            ("[--2]", &["-", "1", "2"], &["3", "m"]),
            ("[!--2]", &["3"], &["-", "1"]),
            ("[---]", &["-"], &["a"]),
            ("[b!]", &["b", "!"], &["a"]),
            ("[[:digit:]]x", &["1x"], &["ax", "[x"]),
            ("[[:graph:]]", &["!", "a", "~", "-"], &["\u{1}"]),
            (r"[\!-0]", &["!", "+", "0"], &["1"]),
            (r"[\!-!a]", &["!", "a"], &["-"]),
            (r"[\!]x", &["!x"], &["x"]),
            (r"[\!-]", &["!", "-"], &["a"]),
            (r"[\!ab-]", &["!", "-", "b"], &["c", "+"]),
            (r"[a\-z]", &["a", "-", "z"], &["b"]),
            (r"[+-\-]", &["+", ",", "-"], &["1"]),
            (r"[\--1]", &["-", "1"], &["+", "2"]),
            ("[]-a]", &["]", "_", "a"], &["[", "b"]),
            ("[Z-]]", &["Z]", "-]"], &["Z", "["]),
            ("x[z-a]", &[], &["xz", "xa", "xm", "x[z-a]"]),
            ("x[!z-a]", &["xz", "xm"], &["x"]),
            ("[[:punct:]]", &["]", "[", "-", "!", "~", "\\"], &["a", "1"]),
            ("[![:alpha:]_]", &["1"], &["a", "_"]),
            ("[a", &["[a"], &["a"]),
            ("x[a*", &["x[a", "x[ab"], &["xa"]),
            ("[a/b]", &["[a/b]"], &["a", "b"]),
            ("\\*", &["*"], &["a", "\\*"]),
            ("a\\?*", &["a?", "a?b"], &["ab"]),
            ("{a,b}", &["{a,b}"], &["a", "b"]),
            ("~", &["~"], &[]),
            ("$HOME", &["$HOME"], &[]),
            ("d", &["d", "d/e/f", "d/.x"], &["e", "dd"]),
            ("d/*", &["d/e", "d/e/.x"], &["d/.e", "e"]),
            (
                "**/f",
                &["f", "a/f", "a/b/f", "a/f/.x"],
                &["g", ".a/f", "a/.b/f"],
            ),
            ("a/**/f", &["a/f", "a/b/c/f"], &["f", "b/f", "a/.b/f"]),
            ("**", &["a", "a/b", "a/.b"], &[".a"]),
            ("a/**", &["a/b", "a/b/c", "a/b/.c"], &["a/.b", "b"]),
            ("a**b", &["ab", "axxb"], &["a/b"]),
            ("**/*", &["a", "a/b"], &[".a"]),
            ("**/**/x", &["x", "a/x"], &[]),
            (".", &["a", ".a", "a/b"], &[]),
            ("./a//b/", &["a/b", "a/b/c"], &["a"]),
            ("a/../b", &["b"], &["a"]),
        ];
        for (pattern, taken, left) in table {
            for name in *taken {
                assert!(
                    takes(pattern.as_bytes(), "/", name.as_bytes()),
                    "{pattern} takes {name}"
                );
            }
            for name in *left {
                assert!(
                    !takes(pattern.as_bytes(), "/", name.as_bytes()),
                    "{pattern} leaves {name}"
                );
            }
        }
    }

    #[test]
    fn pattern_faults_are_told_apart() {
        for (text, fault) in [
            (&b""[..], PatternFault::Empty),
            (b"a\0b", PatternFault::Nul),
            (b"..", PatternFault::Parent),
            (b"/..", PatternFault::Parent),
            (b"a/../../b", PatternFault::Parent),
            (b"*/../b", PatternFault::Parent),
            (b"a/**/..", PatternFault::Parent),
            (&[b'a'; MAX_BYTES + 1], PatternFault::TooLong),
        ] {
            assert_eq!(Pattern::new(text), Err(fault), "{text:?}");
        }
        assert!(Pattern::new(&[b'a'; MAX_BYTES]).is_ok());
    }

    #[test]
    fn pattern_in_the_working_directory_takes_its_name_as_it_is() {
        assert!(takes(b"*.o", "/a*[b]", b"/a*[b]/x.o"));
        assert!(!takes(b"*.o", "/a*[b]", b"/ab/x.o"));
        assert!(!takes(b"*.o", "/a", b"/x.o"));
        assert!(takes(b"/x.o", "/a", b"/x.o"));
        assert!(takes(b".", "/a/b", b"/a/b/c"));
        assert!(!takes(b".", "/a/b", b"/a/c"));
    }

    #[test]
    fn pattern_names_that_are_not_utf_8_are_told_apart() {
        assert!(takes(b"\xff*", "/", b"\xffa"));
        assert!(takes(b"?", "/", b"\xff"));
        assert!(!takes(b"\xff", "/", b"\xfe"));
        // The character that stands for the byte 0xff is not that byte.
        let stray = "\u{10ffff}".as_bytes();
        assert!(takes(stray, "/", stray));
        assert!(!takes(b"[\xff]", "/", stray) && !takes(stray, "/", b"\xff"));
        assert!(takes(b"\xff\xc3\xa4[x]", "/", b"\xff\xc3\xa4x"));
    }

    #[test]
    fn pattern_closes_directories_that_cannot_match() {
        let cwd = AbsPath::fixed("/w");
        let patterns = ["a/*.c", "/etc/b"].map(|text| Pattern::new(text.as_bytes()).unwrap());
        let matcher = Matcher::new(&patterns, &cwd);
        let enter = |path: &[&str]| {
            path.iter().fold(matcher.root(), |reach, name| {
                matcher.enter(&reach, name.as_bytes())
            })
        };
        assert!(!enter(&["w"]).is_closed() && !enter(&["w", "a"]).is_closed());
        assert!(enter(&["usr"]).is_closed() && enter(&["w", "b"]).is_closed());
        assert!(enter(&["etc", "b", "c"]).is_matched() && enter(&["w", "a", "x.c"]).is_matched());
        assert!(enter(&["w", "a", "x.d"]).is_closed());
    }

    #[test]
    fn pattern_with_many_stars_is_not_slow() {
        let pattern = b"*a".repeat(100);
        let name = [b'a'].repeat(255);
        assert!(takes(&pattern, "/", &name));
        assert!(!takes(&[pattern.as_slice(), b"b"].concat(), "/", &name));
    }
}
