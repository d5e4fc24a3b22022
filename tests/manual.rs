//! The manual pages and completions are what the tables give, and programs that read them take them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

mod support;

#[path = "../manual/completions.rs"]
mod completions;
#[path = "../manual/fields.rs"]
mod fields;
#[path = "../manual/pages.rs"]
mod pages;
#[path = "../manual/roff.rs"]
mod roff;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use stdbox::usage::{COMMANDS, FLAGS};
use support::{skip, stdbox};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("manual")
        .join(name)
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn files_are_what_the_tables_give() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in [
        ("stdbox.1", pages::command()),
        ("stdbox-job.5", pages::format(root, "job")),
        ("stdbox-report.5", pages::format(root, "report")),
        ("stdbox.bash", completions::bash()),
        ("_stdbox", completions::zsh()),
        ("stdbox.fish", completions::fish()),
    ] {
        let old = fs::read_to_string(file(name)).unwrap();
        assert!(old == text, "{name} is old: cargo run --example manual");
    }
}

#[test]
fn pages_name_every_field_and_have_no_fault() {
    for (name, schema) in [("stdbox-job.5", "job"), ("stdbox-report.5", "report")] {
        let page = fs::read_to_string(file(name)).unwrap();
        let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schema/{schema}.json"));
        let schema: serde_json::Value = serde_json::from_slice(&fs::read(schema).unwrap()).unwrap();
        for field in schema["properties"].as_object().unwrap().keys() {
            let heading = format!("\n\\fB{field}\\fR (");
            assert!(page.contains(&heading), "{name}: {field}");
        }
    }
    let all = ["stdbox.1", "stdbox-job.5", "stdbox-report.5"];
    for name in all {
        let Ok(lint) = Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .arg(file(name))
            .output()
        else {
            return skip("mandoc", "there is no mandoc (Debian package mandoc)");
        };
        let said = String::from_utf8(lint.stdout).unwrap();
        // A page that is made anew at any time has no date.
        let faults: Vec<_> = said
            .lines()
            .filter(|line| !line.contains("missing date"))
            .collect();
        assert_eq!(faults, Vec::<&str>::new(), "{name}");
    }
    // A field whose choices share a name has all that may stand there.
    let page = fs::read_to_string(file("stdbox-job.5")).unwrap();
    let kinds = page
        .lines()
        .find(|line| line.starts_with("\\fBmounts[].type\\fR"))
        .unwrap();
    for kind in ["bind", "tmpfs", "file", "symlink", "overlay", "mqueue"] {
        assert!(kinds.contains(&format!("\"{kind}\"")), "{kinds}");
    }
}

#[test]
fn help_has_every_command_and_option() {
    let help = output(Command::new(stdbox()).arg("--help")).unwrap();
    for command in COMMANDS {
        assert!(
            help.contains(command.name) && help.contains(command.summary),
            "{help}"
        );
    }
    for flag in FLAGS {
        assert!(
            help.contains(&format!("\n  {}", flag.name)) && help.contains(flag.summary),
            "{help}"
        );
    }
    assert!(help.lines().all(|line| line.len() <= 132), "{help}");
}

/// What bash offers for these words.
fn bash(words: &[&str]) -> Vec<String> {
    let script = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _stdbox; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let text = output(
        Command::new("bash")
            .args(["-c", script])
            .arg(file("stdbox.bash"))
            .args(words),
    )
    .unwrap();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_offers_what_comes_next() {
    assert_eq!(bash(&["stdbox", "pl"]), ["plan"]);
    assert_eq!(bash(&["stdbox", "plan", "--f"]), ["--facts"]);
    assert_eq!(bash(&["stdbox", "batch", "--w"]), ["--workers"]);
    assert_eq!(bash(&["stdbox", "batch", "--workers", ""]), [""; 0]);
    assert_eq!(bash(&["stdbox", "schema", "re"]), ["report"]);
    assert_eq!(bash(&["stdbox", "--pr"]), ["--propagate"]);
    assert_eq!(bash(&["stdbox", "--spec", "/dev/nul"]), ["/dev/null"]);
    assert_eq!(bash(&["stdbox", "--propagate", "--spec-"]), ["--spec-fd"]);
    assert_eq!(bash(&["stdbox", "nonsense", ""]), [""; 0]);
}

#[test]
fn fish_offers_what_comes_next() {
    let offers = |line: &str| {
        let script = format!(
            "source {}; complete -C '{line}'",
            file("stdbox.fish").display()
        );
        output(Command::new("fish").args(["--no-config", "-c", &script]))
    };
    let Some(plan) = offers("stdbox pl") else {
        return skip("fish", "there is no fish (Debian package fish)");
    };
    assert!(plan.starts_with("plan\t"), "{plan}");
    assert!(offers("stdbox plan --fa").unwrap().starts_with("--facts\t"));
    assert!(
        offers("stdbox --prop")
            .unwrap()
            .starts_with("--propagate\t")
    );
    assert_eq!(offers("stdbox doctor --prop").unwrap(), "");
}

#[test]
fn zsh_reads_its_completions() {
    let file = file("_stdbox");
    if output(Command::new("zsh").arg("-n").arg(&file)).is_none() {
        return skip("zsh", "there is no zsh (Debian package zsh)");
    }
    // -D: its cache would take the place of whatever file it is told to write.
    // Loaded as compinit does it, and asked for its body.
    let script = format!(
        "autoload -U compinit; compinit -u -D; fpath=({} $fpath); autoload -U +X _stdbox && functions _stdbox",
        file.parent().unwrap().display()
    );
    let body = output(Command::new("zsh").args(["-f", "-c", &script])).unwrap();
    for flag in FLAGS {
        assert!(body.contains(&format!("'{}", flag.name)), "{body}");
    }
}
