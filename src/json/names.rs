//! What somebody may have meant by a name or a form that is not there. Ring 0.

use crate::problem::Code;

/// What other programs call a field, and what it is here; where it is in another object, that comes before it.
const ELSEWHERE: [(&str, &str); 33] = [
    ("args", "argv"),
    ("arguments", "argv"),
    ("cmd", "argv"),
    ("command", "argv"),
    ("chdir", "cwd"),
    ("workdir", "cwd"),
    ("working_dir", "cwd"),
    ("working_directory", "cwd"),
    ("environ", "env"),
    ("environment", "env"),
    ("net", "network"),
    ("input", "stdin"),
    ("output", "stdout"),
    ("uid", "user.uid"),
    ("gid", "user.gid"),
    ("username", "user.name"),
    ("home", "user.home"),
    ("time", "limits.wall_time_ms"),
    ("timeout", "limits.wall_time_ms"),
    ("timeout_ms", "limits.wall_time_ms"),
    ("wall_time_ms", "limits.wall_time_ms"),
    ("cpu_time", "limits.cpu_time_ms"),
    ("cpu_time_ms", "limits.cpu_time_ms"),
    ("memory", "limits.memory_bytes"),
    ("memory_bytes", "limits.memory_bytes"),
    ("pids", "limits.processes"),
    ("processes", "limits.processes"),
    ("src", "source"),
    ("dest", "target"),
    ("destination", "target"),
    ("dst", "target"),
    ("rw", "read_only"),
    ("defaultaction", "oci"),
];

/// Which of these names was meant.
pub(super) fn suggest(found: &str, expected: &[&str]) -> Option<String> {
    let found = found.to_ascii_lowercase().replace('-', "_");
    let known = ELSEWHERE.iter().filter(|(other, _)| *other == found);
    let mut known = known.filter_map(|(_, here)| place(here, expected));
    if let Some(hint) = known.next() {
        return Some(hint);
    }
    let longer = |word: &&&str| {
        let rest = word.strip_prefix(found.as_str());
        rest.is_some_and(|rest| rest.starts_with(['_', '-']))
    };
    let mut longer = expected.iter().filter(longer);
    if let (Some(word), None) = (longer.next(), longer.next()) {
        return Some(format!("Did you mean {word:?}?"));
    }
    let near = expected
        .iter()
        .map(|word| (distance(&found, &word.replace('-', "_")), word))
        .min()?;
    (near.0 <= 1 + near.1.len() / 4).then(|| format!("Did you mean {:?}?", near.1))
}

/// Where a field is, seen from an object with these fields.
fn place(field: &str, expected: &[&str]) -> Option<String> {
    match field.split_once('.') {
        Some((object, name)) if expected.contains(&object) => {
            Some(format!("Did you mean {name:?} in {object:?}?"))
        }
        Some((_, name)) => place(name, expected),
        None => {
            let there = expected.contains(&field);
            there.then(|| format!("Did you mean {field:?}?"))
        }
    }
}

/// What stands before the names of an object's fields, where none is near to the one that was given.
pub(super) const FIELDS: &str = "The fields here are";

/// What else may stand at a field that takes words or objects, where somebody wrote something of another form.
pub(super) fn other_form(at: &str, code: Code) -> Option<&'static str> {
    Some(match (at, code) {
        ("/argv", Code::WrongType) => {
            "Give each argument a string of its own: [\"ls\", \"-l\"], or [\"sh\", \"-c\", \"…\"] for a line of shell."
        }
        ("/stdin", Code::UnknownValue) => {
            "Text is given as {\"text\": …}, a file as {\"file\": …}, a descriptor as {\"fd\": …}."
        }
        ("/stdout" | "/stderr", Code::UnknownValue) => {
            "A file is given as {\"file\": …}, a descriptor as {\"fd\": …}; {\"capture\": {}} puts the output into the report."
        }
        ("/cgroup", Code::UnknownValue) => "A group to make it in is given as {\"parent\": …}.",
        ("/seccomp", Code::UnknownValue) => {
            "A filter of your own is an object; the profile of an engine is given as {\"oci\": …}."
        }
        ("/scratch", Code::WrongType) => "A directory on disk is given as {\"directory\": …}.",
        ("/env", Code::WrongType) => "Variables are given as {\"set\": {\"NAME\": \"value\"}}.",
        ("/user", Code::WrongType) => "The ids are given as {\"uid\": …, \"gid\": …}.",
        (_, Code::UnknownField) if at.starts_with("/env/") => {
            "The fields here are \"inherit\", \"set\", \"unset\"; variables belong into \"set\"."
        }
        _ => return None,
    })
}

/// The Levenshtein distance, where two neighbours that have changed places count once; long input is not worth a suggestion.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    let at = |rows: &[Vec<usize>], i: usize, j: usize| {
        let row = rows.get(i);
        row.and_then(|row| row.get(j))
            .copied()
            .unwrap_or(usize::MAX / 2)
    };
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let (Some(x), Some(y)) = (i.checked_sub(1), j.checked_sub(1)) else {
                if let Some(slot) = rows.get_mut(i).and_then(|row| row.get_mut(j)) {
                    *slot = i + j;
                }
                continue;
            };
            let changed = usize::from(a.get(x) != b.get(y));
            let mut least = (at(&rows, x, y) + changed)
                .min(at(&rows, x, j) + 1)
                .min(at(&rows, i, y) + 1);
            if let (Some(v), Some(w)) = (x.checked_sub(1), y.checked_sub(1))
                && a.get(x) == b.get(w)
                && a.get(v) == b.get(y)
            {
                least = least.min(at(&rows, v, w) + 1);
            }
            if let Some(slot) = rows.get_mut(i).and_then(|row| row.get_mut(j)) {
                *slot = least;
            }
        }
    }
    at(&rows, a.len(), b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggest_knows_other_names_changed_places_and_beginnings() {
        let job = ["argv", "cwd", "env", "id", "limits", "user"];
        let limits = ["wall_time_ms", "cpu_time_ms", "memory_bytes"];
        for (found, expected, hint) in [
            ("command", job.as_slice(), "Did you mean \"argv\"?"),
            ("cmd", &job, "Did you mean \"argv\"?"),
            ("cdw", &job, "Did you mean \"cwd\"?"),
            ("uid", &job, "Did you mean \"uid\" in \"user\"?"),
            (
                "timeout",
                &job,
                "Did you mean \"wall_time_ms\" in \"limits\"?",
            ),
            ("timeout", &limits, "Did you mean \"wall_time_ms\"?"),
            ("memory", &limits, "Did you mean \"memory_bytes\"?"),
            ("wall-time", &limits, "Did you mean \"wall_time_ms\"?"),
        ] {
            assert_eq!(suggest(found, expected).as_deref(), Some(hint), "{found}");
        }
        assert_eq!(suggest("colour", &job), None);
    }

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
