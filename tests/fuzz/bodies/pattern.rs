//! A result pattern, the working directory and a path, one a line → whether the path is taken: the same as a plain reading of
//! the rules gives, character by character.

use std::collections::BTreeSet;
use stdbox::pattern::{Matcher, Pattern};
use stdbox::text::AbsPath;

pub fn run(data: &[u8]) {
    let mut fields = data.splitn(3, |&b| b == b'\n');
    let pattern = fields.next().unwrap_or_default();
    let cwd = fields.next().unwrap_or_default();
    let path = fields.next().unwrap_or_default();
    let Ok(pattern) = Pattern::new(pattern) else {
        return;
    };
    let Ok(cwd) = AbsPath::new(cwd) else {
        return;
    };
    let Ok(path) = AbsPath::new(&[b"/", path].concat()) else {
        return;
    };
    assert_eq!(pattern.is_absolute(), pattern.text().first() == Some(&b'/'));
    let matcher = Matcher::new(std::slice::from_ref(&pattern), &cwd);
    let mut reach = matcher.root();
    for name in names(&path) {
        let before = reach;
        reach = matcher.enter(&before, name);
        assert!(!before.is_matched() || reach.is_matched(), "it holds more");
        assert!(
            !before.is_closed() || reach.is_closed(),
            "nothing below was to match"
        );
    }
    let Some(plain) = taken(&pattern, &cwd, &path) else {
        return;
    };
    assert_eq!(reach.is_matched(), plain, "{path:?}");
}

fn names(path: &AbsPath) -> Vec<&[u8]> {
    let names = path.bytes().split(|&b| b == b'/');
    names.filter(|name| !name.is_empty()).collect()
}

/// A plain reading, for ASCII: other bytes are one character or several, which is not what this is about.
fn taken(pattern: &Pattern, cwd: &AbsPath, path: &AbsPath) -> Option<bool> {
    let text = std::str::from_utf8(pattern.text()).ok()?;
    if !text.is_ascii() || !path.bytes().is_ascii() {
        return None;
    }
    // Not even POSIX says what a range is that begins or ends with a class.
    if text.contains("-[:") || text.contains(":]-") {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    // What ends in any number of directories takes what is in there, but not a name with a dot.
    if let Some(last) = parts.last_mut().filter(|last| **last == "**") {
        *last = "*";
    }
    let names: Vec<&str> = names(path)
        .into_iter()
        .map(|name| std::str::from_utf8(name).expect("ASCII"))
        .collect();
    let mut rest = names.as_slice();
    if !pattern.is_absolute() {
        for above in self::names(cwd) {
            let (first, others) = rest.split_first()?;
            if first.as_bytes() != above {
                return Some(false);
            }
            rest = others;
        }
    }
    Some(parts_fit(&parts, rest, &mut Tried::new()))
}

/// Whether the first of the names, or all of them, fit all parts.
fn parts_fit(parts: &[&str], names: &[&str], tried: &mut Tried) -> bool {
    if !tried.insert((parts.len(), names.len())) {
        return false;
    }
    let Some((part, others)) = parts.split_first() else {
        return true;
    };
    if *part == "**" {
        return parts_fit(others, names, tried)
            || names.split_first().is_some_and(|(name, rest)| {
                !name.starts_with('.') && parts_fit(parts, rest, tried)
            });
    }
    let Some((name, rest)) = names.split_first() else {
        return false;
    };
    let hidden = name.starts_with('.') && !part.trim_start_matches('\\').starts_with('.');
    !hidden
        && name_fits(part.as_bytes(), name.as_bytes(), &mut Tried::new())
        && parts_fit(others, rest, tried)
}

/// How much was left of both where it was tried before, and was in vain: else every star would double the work.
type Tried = BTreeSet<(usize, usize)>;

/// fnmatch(3), as POSIX has it for names in the C locale.
fn name_fits(pattern: &[u8], name: &[u8], tried: &mut Tried) -> bool {
    if !tried.insert((pattern.len(), name.len())) {
        return false;
    }
    let Some((&first, rest)) = pattern.split_first() else {
        return name.is_empty();
    };
    let mut one = |fits: &dyn Fn(u8) -> bool, rest: &[u8]| {
        name.split_first()
            .is_some_and(|(&byte, others)| fits(byte) && name_fits(rest, others, tried))
    };
    match first {
        // Shortest first.
        b'*' => (0..=name.len()).any(|at| name_fits(rest, &name[at..], tried)),
        b'?' => one(&|_| true, rest),
        b'\\' => match rest.split_first() {
            Some((&quoted, rest)) => one(&|byte| byte == quoted, rest),
            None => one(&|byte| byte == b'\\', rest),
        },
        b'[' => match bracket(rest) {
            Some((holds, rest)) => one(&|byte| holds[usize::from(byte)], rest),
            None => one(&|byte| byte == b'[', rest),
        },
        byte => one(&|other| other == byte, rest),
    }
}

/// The members of a set, and what follows it; nothing if it is never closed.
fn bracket(text: &[u8]) -> Option<([bool; 128], &[u8])> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let first = at;
    let mut members = [false; 128];
    loop {
        let byte = *text.get(at)?;
        if byte == b']' && at > first {
            break;
        }
        if byte == b'[' && text.get(at + 1) == Some(&b':') {
            let name = &text[at + 2..];
            let end = name.windows(2).position(|pair| pair == b":]");
            let class = end.and_then(|end| Some((class(&name[..end])?, end)));
            if let Some((class, end)) = class {
                for byte in 1..128u8 {
                    members[usize::from(byte)] |= class(&byte);
                }
                at += end + 4;
                continue;
            }
        }
        let (low, next) = member(text, at)?;
        let ranged =
            text.get(next) == Some(&b'-') && text.get(next + 1).is_some_and(|&b| b != b']');
        let high = if ranged {
            let (high, next) = member(text, next + 1)?;
            at = next;
            high
        } else {
            at = next;
            low
        };
        for byte in low..=high {
            members[usize::from(byte)] = true;
        }
    }
    let holds = members.map(|member| member != negated);
    Some((holds, &text[at + 1..]))
}

/// One character of a set, and the place behind it.
fn member(text: &[u8], at: usize) -> Option<(u8, usize)> {
    match (*text.get(at)?, text.get(at + 1)) {
        (b'\\', Some(&next)) if next != b']' => Some((next, at + 2)),
        (byte, _) => Some((byte, at + 1)),
    }
}

fn class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |b| matches!(b, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |b| matches!(b, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |b| matches!(b, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}
