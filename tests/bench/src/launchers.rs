//! What is compared, and how each of them is told to run a program.

use std::env::{split_paths, var_os};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::Duration;

use crate::arguments::{beside, built_stdbox};
use crate::json::Json;
use crate::process::{Child, Program, null, unnamed_file};

mod bundle;

use bundle::Bundle;

/// The smallest program with a sandbox's job, in a tree that is a copy.
pub const FLOOR: &str = "floor";
/// The same, in the tree that is there.
pub const FLOOR_IN_PLACE: &str = "floor-in-place";
/// Everything read-only.
pub const READ_ONLY: &str = "stdbox-read-only";
/// The job without a word about directories.
pub const DEFAULT: &str = "stdbox-default";
/// Everything as the host has it.
pub const FULL_ACCESS: &str = "stdbox-full-access";
/// bubblewrap, told to do the same.
pub const BUBBLEWRAP: &str = "bwrap";
/// nsjail, told to do the same.
pub const NSJAIL: &str = "nsjail";
/// crun, with a bundle that says the same.
pub const CRUN: &str = "crun";
/// BenchExec's containerexec, everything read-only.
pub const CONTAINEREXEC: &str = "containerexec-read-only";
/// BenchExec's containerexec as it is without options.
pub const CONTAINEREXEC_OVERLAY: &str = "containerexec-overlay";

/// All launchers, in the order of a table.
pub const NAMES: [&str; 10] = [
    FLOOR,
    FLOOR_IN_PLACE,
    READ_ONLY,
    DEFAULT,
    FULL_ACCESS,
    BUBBLEWRAP,
    NSJAIL,
    CRUN,
    CONTAINEREXEC,
    CONTAINEREXEC_OVERLAY,
];

const FEW_DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Where the programs are. Looked for once, so that no launcher's time contains a search; what is not found fails in its first
/// run, visibly.
#[derive(Clone, Debug)]
pub struct Places {
    /// stdbox.
    pub stdbox: PathBuf,
    /// nsjail.
    pub nsjail: PathBuf,
    /// BenchExec's containerexec, also in a virtual environment.
    pub containerexec: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            stdbox: built_stdbox(),
            nsjail: found("nsjail"),
            containerexec: found("containerexec"),
        }
    }
}

/// One way to start a sandbox, ready to be started any number of times.
#[derive(Debug)]
pub struct Launcher {
    /// One of [`NAMES`].
    pub name: &'static str,
    reports: bool,
    program: Program,
    input: File,
    null: File,
    /// What the program reads beside its arguments, as long as it is needed.
    _bundle: Option<Bundle>,
}

impl Launcher {
    /// The launcher of this name, told to run this program, which is an absolute path, with these arguments.
    ///
    /// # Errors
    /// What it needs cannot be made.
    pub fn new(name: &'static str, places: &Places, target: &[&str]) -> io::Result<Launcher> {
        let mut bundle = None;
        let (path, arguments) = match name {
            FLOOR => (beside("floor")?, words("--clone")),
            FLOOR_IN_PLACE => (beside("floor")?, words("--in-place")),
            BUBBLEWRAP => {
                let options = "--unshare-all --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp";
                (found("bwrap"), words(options))
            }
            NSJAIL => {
                let options = "-Mo -Q --disable_rlimits --nice_level 0 -R / -m none:/dev:tmpfs:mode=755 -T /tmp";
                let devices = FEW_DEVICES.map(|name| ["-B".to_owned(), format!("/dev/{name}")]);
                let options = words(options)
                    .into_iter()
                    .chain(devices.into_iter().flatten());
                (
                    places.nsjail.clone(),
                    options.chain(["--".to_owned()]).collect(),
                )
            }
            CRUN => {
                let made = Bundle::new(target)?;
                let options = made.options();
                bundle = Some(made);
                (found("crun"), options)
            }
            CONTAINEREXEC => {
                let options = "--read-only-dir / --hidden-dir /tmp --";
                (places.containerexec.clone(), words(options))
            }
            CONTAINEREXEC_OVERLAY => (places.containerexec.clone(), words("--")),
            _ => (places.stdbox.clone(), Vec::new()),
        };
        let job = job(name, target);
        let tail = if job.is_some() || bundle.is_some() {
            &[]
        } else {
            target
        };
        let arguments: Vec<String> = arguments
            .into_iter()
            .chain(tail.iter().map(|&word| word.to_owned()))
            .collect();
        Ok(Launcher {
            name,
            reports: job.is_some(),
            program: Program::new(&path, &arguments)?,
            input: unnamed_file(job.unwrap_or_default().as_bytes())?,
            null: null()?,
            _bundle: bundle,
        })
    }

    /// Runs it once with its output in sight, to find out whether it works here at all.
    ///
    /// # Errors
    /// It does not; with what it said.
    pub fn try_once(&self) -> Result<(), String> {
        self.tried().unwrap_or_else(|why| Err(why.to_string()))
    }

    fn tried(&self) -> io::Result<Result<(), String>> {
        let input = self.fresh_input()?;
        let mut outputs = [unnamed_file(b"")?, unnamed_file(b"")?];
        let [report, complaints] = &outputs;
        let streams = [input.as_fd(), report.as_fd(), complaints.as_fd()];
        let status = self.program.spawn(streams)?.wait()?;
        let mut texts = [String::new(), String::new()];
        for (output, text) in outputs.iter_mut().zip(&mut texts) {
            output.rewind()?;
            let mut bytes = Vec::new();
            output.read_to_end(&mut bytes)?;
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        let [report, complaints] = texts;
        // stdbox ends with 0 whenever it could report, so only the report says how the target ended.
        let ran = !self.reports
            || (report.contains(r#""outcome":"exited""#) && report.contains(r#""exit_code":0,"#));
        if status.success() && ran {
            return Ok(Ok(()));
        }
        let why = format!("{status}\n{report}\n{complaints}");
        Ok(Err(why.trim().to_owned()))
    }

    /// Starts it, with nothing of its output kept.
    ///
    /// # Errors
    /// Those of posix_spawn(3).
    pub fn start(&self) -> io::Result<Child> {
        let (input, null) = (self.fresh_input()?, self.null.as_fd());
        self.program.spawn([input.as_fd(), null, null])
    }

    /// Runs it below another program that takes it as its last arguments.
    ///
    /// # Errors
    /// Those of posix_spawn(3) and waitpid(2).
    pub fn run_below(&self, path: &Path, options: &[String]) -> io::Result<ExitStatus> {
        let (input, null) = (self.fresh_input()?, self.null.as_fd());
        let outer = self.program.below(path, options)?;
        outer.spawn([input.as_fd(), null, null])?.wait()
    }

    /// What it reads, from its beginning: each that runs at the same time has an offset of its own.
    fn fresh_input(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.input.as_raw_fd()))
    }

    /// Runs it once and says how long that took in seconds, from the spawn until it is reaped.
    ///
    /// # Errors
    /// Those of posix_spawn(3) and waitpid(2).
    pub fn time_once(&self) -> io::Result<(f64, ExitStatus)> {
        let (input, null) = (self.fresh_input()?, self.null.as_fd());
        self.program.time([input.as_fd(), null, null])
    }

    /// Runs it once and says what it held of main memory at most, itself and alone.
    ///
    /// # Errors
    /// Those of posix_spawn(3) and waitpid(2).
    pub fn peak_kib(&self) -> io::Result<Option<u64>> {
        let child = self.start()?;
        let mut peak = None;
        loop {
            // The rusage of wait4(2) would not do: it counts the container too, and this program, whose memory a child of
            // posix_spawn(3) shares until it executes another.
            peak = child.memory().map(|memory| memory.peak_kib).max(peak);
            if child.try_wait()?.is_some() {
                return Ok(peak);
            }
            sleep(Duration::from_millis(5));
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// The job that says to stdbox what the others' arguments say.
fn job(name: &str, target: &[&str]) -> Option<String> {
    let mode = match name {
        READ_ONLY => Some("read-only"),
        FULL_ACCESS => Some("full-access"),
        DEFAULT => None,
        _ => return None,
    };
    let mut job = vec![
        ("argv", target.iter().copied().collect::<Json>()),
        ("cwd", "/".into()),
    ];
    if let Some(mode) = mode {
        job.push(("directories", Json::Object(vec![("/", mode.into())])));
    }
    Some(Json::Object(job).to_string())
}

/// The path of a program that is installed, or its bare name.
#[must_use]
pub fn found(program: &str) -> PathBuf {
    let path = var_os("PATH").unwrap_or_default();
    let mut candidates = split_paths(&path).map(|directory| directory.join(program));
    candidates
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| PathBuf::from(program))
}
