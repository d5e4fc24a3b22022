//! The command line as tables: what `--help`, the manual page and the shells' completions are made of. Ring 0.

use std::fmt::Write;

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its word.
    pub name: &'static str,
    /// What follows it.
    pub arguments: &'static str,
    /// What it does.
    pub summary: &'static str,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// With its dashes.
    pub name: &'static str,
    /// What its value is, if it takes one.
    pub value: Option<&'static str>,
    /// The commands that take it.
    pub of: &'static [&'static str],
    /// What it does.
    pub summary: &'static str,
}

const fn command(name: &'static str, arguments: &'static str, summary: &'static str) -> Command {
    Command {
        name,
        arguments,
        summary,
    }
}

const fn flag(
    name: &'static str,
    value: Option<&'static str>,
    of: &'static [&'static str],
    summary: &'static str,
) -> Flag {
    Flag {
        name,
        value,
        of,
        summary,
    }
}

/// All commands; the first one needs no word.
pub const COMMANDS: [Command; 6] = [
    command("run", "[OPTIONS]", "run the job"),
    command("check", "[OPTIONS]", "check the job, run nothing"),
    command(
        "plan",
        "[OPTIONS]",
        "show what run would do on this host, do nothing",
    ),
    command(
        "batch",
        "[OPTIONS]",
        "run many jobs: one a line in, one report a line out",
    ),
    command(
        "doctor",
        "[OPTIONS]",
        "try what this host allows, and say what to change",
    ),
    command("schema", "job|report|event|doctor", "print the JSON Schema"),
];

const READING: &[&str] = &["run", "check", "plan", "batch"];
const WRITING: &[&str] = &["run", "check", "plan", "batch", "doctor"];

/// All options of commands.
pub const FLAGS: [Flag; 10] = [
    flag(
        "--spec",
        Some("FILE"),
        READING,
        "read the job from FILE instead of stdin",
    ),
    flag(
        "--spec-fd",
        Some("N"),
        READING,
        "read the job from descriptor N",
    ),
    flag(
        "--report",
        Some("FILE"),
        WRITING,
        "write the report to FILE instead of stdout",
    ),
    flag(
        "--report-fd",
        Some("N"),
        WRITING,
        "write the report to descriptor N",
    ),
    flag(
        "--propagate",
        None,
        &["run", "check"],
        "exit with the target's exit code, or 128 + its signal",
    ),
    flag(
        "--workers",
        Some("N"),
        &["batch"],
        "run at most N jobs at a time; else as many as there are processors",
    ),
    flag(
        "--text",
        None,
        &["plan", "doctor"],
        "plan, doctor: lines for people instead of JSON",
    ),
    flag(
        "--facts",
        Some("FILE"),
        &["plan"],
        "write what was looked up about this host to FILE",
    ),
    flag(
        "--with-facts",
        Some("FILE"),
        &["plan"],
        "plan for the host that FILE describes instead of this one",
    ),
    flag(
        "--apparmor-profile",
        None,
        &["doctor"],
        "print a profile that lets stdbox make user namespaces, do nothing else",
    ),
];

/// What an exit status means.
pub const STATUS: [(&str, &[(&str, &str)]); 2] = [
    (
        "exit status without --propagate",
        &[
            (
                "0",
                "the target ran, the job is valid, there is a plan, or the default job runs here",
            ),
            (
                "1",
                "the container could not be set up, or the command not be started",
            ),
            ("2", "the job or the command line is wrong"),
            ("3", "the report could not be written"),
        ],
    ),
    (
        "exit status of batch",
        &[
            ("0", "every job has its report"),
            ("1", "stopped, or not all jobs could be read"),
        ],
    ),
];

/// In one line.
pub const SUMMARY: &str = "run a command safely: one JSON job on stdin, one JSON report on stdout";

/// What `--help` shows.
#[must_use]
pub fn help() -> String {
    const WIDTH: usize = 41;
    let mut text = format!("stdbox - {SUMMARY}\n");
    let mut row = |left: &str, right: &str| {
        // Writing into memory cannot fail.
        let _written = match right {
            "" => writeln!(text, "{left}"),
            _ => writeln!(text, "{left:WIDTH$} {right}"),
        };
    };
    row("", "");
    for (i, command) in COMMANDS.iter().enumerate() {
        let (start, word) = match i {
            0 => ("usage:", format!("[{}]", command.name)),
            _ => ("      ", command.name.to_owned()),
        };
        let line = format!("{start} stdbox {word} {}", command.arguments);
        row(&line, command.summary);
    }
    row("       stdbox --version | --help", "");
    row("", "");
    row("options:", "");
    for flag in &FLAGS {
        let value = flag
            .value
            .map_or(String::new(), |value| format!(" {value}"));
        let whose = match flag.of {
            [one] => format!("{one}: "),
            _ => String::new(),
        };
        let line = format!("  {}{value}", flag.name);
        row(&line, &format!("{whose}{}", flag.summary));
    }
    for (title, meanings) in STATUS {
        row("", "");
        row(&format!("{title}:"), "");
        for (status, meaning) in meanings {
            row(&format!("  {status}  {meaning}"), "");
        }
    }
    row("", "");
    row("example, with the fields of stdbox schema job:", "");
    row(
        "  echo '{\"argv\":[\"ls\",\"-l\"],\"cwd\":\"/\"}' | stdbox",
        "",
    );
    text
}
