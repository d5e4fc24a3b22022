//! The rings are folders: what `src/*.rs` may not touch, and where `unsafe` may stand.
//!
//! Ring 0 (`src/*.rs`, `src/plan/`, `src/job/`) is pure: values in, values out. Ring 2 (`child/`) has no unsafe code either;
//! it borrows all of it from `sys/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Parts of the standard library that look at the machine, or change it.
const IMPURE: [&str; 13] = [
    "std::fs",
    "std::env",
    "std::net",
    "std::os::fd",
    "std::os::unix",
    "std::process",
    "std::thread",
    "std::time",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "nix::unistd",
    "nix::sys",
];

/// Every source file below a folder, with its path from `src`.
fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root).unwrap().to_owned(), code(&text)));
        }
    }
}

fn all() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
        &mut found,
    );
    assert!(found.len() > 15, "the sources are gone");
    found
}

/// The text without comments and without what stands in double quotes.
fn code(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut quoted = false;
        let mut previous = ' ';
        for (at, letter) in line.char_indices() {
            match letter {
                '"' if previous != '\\' && previous != '\'' => quoted = !quoted,
                '/' if !quoted && line[at..].starts_with("//") => break,
                _ if quoted => {}
                _ => out.push(letter),
            }
            previous = if previous == '\\' { ' ' } else { letter };
        }
        out.push('\n');
    }
    out
}

/// The paths of all imports, with nested ones written out: `use a::{b, c::{d, e}}` is a::b, a::c::d and a::c::e.
fn imports(code: &str) -> Vec<String> {
    fn spread(before: &str, tree: &str, out: &mut Vec<String>) {
        let tree = tree.trim();
        let Some((head, rest)) = tree.split_once('{') else {
            return out.push(format!(
                "{before}{}",
                tree.split(" as ").next().unwrap_or("").trim()
            ));
        };
        let before = format!("{before}{}", head.trim());
        let inner = rest.strip_suffix('}').unwrap_or(rest);
        let (mut depth, mut start) = (0, 0);
        for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !inner[start..at].trim().is_empty() {
                        spread(&before, &inner[start..at], out);
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    for statement in code.split(';') {
        let words = statement.trim_start();
        let start = words
            .rfind("\nuse ")
            .map(|at| at + 1)
            .or_else(|| words.starts_with("use ").then_some(0));
        let visible = words
            .rfind(" use ")
            .map(|at| at + 1)
            .filter(|_| start.is_none());
        if let Some(at) = start.or(visible) {
            spread("", &words[at + 4..], &mut found);
        }
    }
    found
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let letter = |c: char| c.is_alphanumeric() || c == '_';
        !code[..at].ends_with(letter) && !code[at + word.len()..].starts_with(letter)
    })
}

#[test]
fn ring_0_is_pure() {
    for (path, code) in all().iter().filter(|(path, _)| !path.starts_with("bin")) {
        let used = imports(code);
        for forbidden in IMPURE {
            let import = used
                .iter()
                .find(|used| *used == forbidden || used.starts_with(&format!("{forbidden}::")));
            assert!(
                import.is_none(),
                "{}: use {}",
                path.display(),
                import.unwrap()
            );
            // Written out in place, without an import.
            let spaceless: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                !has_word(&spaceless, forbidden),
                "{}: {forbidden}",
                path.display()
            );
        }
        for effect in [
            "print!",
            "println!",
            "eprint!",
            "eprintln!",
            "dbg!",
            "static mut",
        ] {
            assert!(!has_word(code, effect), "{}: {effect}", path.display());
        }
    }
}

#[test]
fn ring_0_knows_nothing_of_the_binary() {
    for (path, code) in all().iter().filter(|(path, _)| !path.starts_with("bin")) {
        let outside = imports(code).into_iter().find(|used| {
            let known = [
                "std",
                "core",
                "crate",
                "super",
                "self",
                "serde",
                "serde_json",
                "glob",
                "memchr",
                "nix",
                "seccompiler",
            ];
            let first = used.split("::").next().unwrap_or("");
            // A module of the file itself, such as `exec::…` in plan.rs.
            let module = code.contains(&format!("mod {first}"));
            !known.contains(&first) && !module
        });
        assert!(
            outside.is_none(),
            "{}: use {}",
            path.display(),
            outside.unwrap()
        );
    }
}

#[test]
fn unsafe_stands_in_sys_only() {
    let mut blocks = 0;
    for (path, code) in all() {
        let sys = path.starts_with("bin/stdbox/sys") || path == Path::new("bin/stdbox/sys.rs");
        if sys {
            blocks += usize::from(has_word(&code, "unsafe"));
        } else {
            assert!(!has_word(&code, "unsafe"), "{}: unsafe", path.display());
            let allowed = code.contains("allow(unsafe_code") || code.contains("expect(unsafe_code");
            assert!(!allowed, "{}: unsafe code is allowed", path.display());
        }
    }
    assert!(
        blocks > 0,
        "no unsafe in sys/: this test looks at the wrong files"
    );
    let library = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    assert!(
        library.contains("#![forbid(unsafe_code)]"),
        "the library forbids it to itself"
    );
}

#[test]
fn reader_of_imports_finds_nested_ones() {
    let text = "//! use std::fs;\nuse std::{env, io::{self, stdin as s}};\npub(crate) use a::b;\nfn f() { let x = \"use std::net;\"; }\n    use c::d;\n";
    let found = imports(&code(text));
    assert_eq!(
        found,
        [
            "std::env",
            "std::io::self",
            "std::io::stdin",
            "a::b",
            "c::d"
        ]
    );
    assert!(has_word("let a = std::fs::read(b)", "std::fs"));
    assert!(!has_word("unsafe_code", "unsafe"));
}
