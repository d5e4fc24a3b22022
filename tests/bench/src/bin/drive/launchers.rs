//! What is compared, and how each of them is told to run `/bin/true`.

use std::env::{current_exe, split_paths, temp_dir, var_os};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, remove_file};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio, id};
use std::time::{Duration, Instant};

pub(crate) const FLOOR: &str = "floor";
pub(crate) const FLOOR_IN_PLACE: &str = "floor-in-place";
pub(crate) const BUBBLEWRAP: &str = "bwrap";
pub(crate) const NAMES: [&str; 6] = [
    FLOOR,
    FLOOR_IN_PLACE,
    "stdbox-read-only",
    "stdbox-default",
    "stdbox-full-access",
    BUBBLEWRAP,
];

const PROGRAM: &str = "/bin/true";
const JOBS: [(&str, &str); 3] = [
    (
        "stdbox-read-only",
        r#"{"argv":["/bin/true"],"cwd":"/","directories":{"/":"read-only"}}"#,
    ),
    ("stdbox-default", r#"{"argv":["/bin/true"],"cwd":"/"}"#),
    (
        "stdbox-full-access",
        r#"{"argv":["/bin/true"],"cwd":"/","directories":{"/":"full-access"}}"#,
    ),
];

/// One way to start a sandbox, ready to be started any number of times.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) name: &'static str,
    reports: bool,
    command: Command,
    input: File,
}

impl Launcher {
    fn new(
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        job: Option<&str>,
    ) -> io::Result<Launcher> {
        let input = unnamed_file(job.unwrap_or_default())?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(input.try_clone()?)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Launcher {
            name,
            reports: job.is_some(),
            command,
            input,
        })
    }

    /// Runs it once with its output in sight, to find out whether it works here at all.
    pub(crate) fn try_once(&mut self) -> Result<(), String> {
        self.input.rewind().map_err(|why| why.to_string())?;
        let output = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .map_err(|why| format!("{}: {why}", self.command.get_program().display()))?;
        self.command.stdout(Stdio::null()).stderr(Stdio::null());

        let report = String::from_utf8_lossy(&output.stdout);
        // stdbox ends with 0 whenever it could report, so only the report says how the target ended.
        let ran = !self.reports
            || (report.contains(r#""outcome":"exited""#) && report.contains(r#""exit_code":0,"#));
        if output.status.success() && ran {
            return Ok(());
        }
        Err(format!(
            "{}\n{report}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .trim()
        .to_owned())
    }

    /// Runs it once and says how long that took, from the spawn until it is reaped.
    pub(crate) fn time_once(&mut self) -> io::Result<(Duration, ExitStatus)> {
        self.input.rewind()?;
        let start = Instant::now();
        let status = self.command.spawn()?.wait()?;
        Ok((start.elapsed(), status))
    }
}

/// All launchers, whether or not they work here. In the order of [`NAMES`].
pub(crate) fn all(stdbox: &Path) -> io::Result<Vec<Launcher>> {
    let floor = current_exe()?.with_file_name("floor");
    let mut launchers = vec![
        Launcher::new(FLOOR, &floor, &["--clone", PROGRAM], None)?,
        Launcher::new(FLOOR_IN_PLACE, &floor, &["--in-place", PROGRAM], None)?,
    ];
    for (name, job) in JOBS {
        launchers.push(Launcher::new(name, stdbox, &[], Some(job))?);
    }
    let arguments = "--unshare-all --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp";
    let arguments: Vec<&str> = arguments.split(' ').chain([PROGRAM]).collect();
    launchers.push(Launcher::new(
        BUBBLEWRAP,
        &found("bwrap"),
        &arguments,
        None,
    )?);
    Ok(launchers)
}

/// Looked up once, so that no launcher's time contains a search. What is not found fails in its first run, visibly.
fn found(program: &str) -> PathBuf {
    let path = var_os("PATH").unwrap_or_default();
    let mut candidates = split_paths(&path).map(|directory| directory.join(program));
    candidates
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| PathBuf::from(program))
}

/// A file that holds the job and has no name any more, so nothing is left behind however this program ends.
fn unnamed_file(content: &str) -> io::Result<File> {
    let path = temp_dir().join(OsStr::new(&format!("stdbox-bench-{}", id())));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    remove_file(&path)?;
    file.write_all(content.as_bytes())?;
    Ok(file)
}
