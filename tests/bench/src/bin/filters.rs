//! What a system call filter costs: to make from the job, to attach, and for each call afterwards, by turns without a filter,
//! with `default`, with `strict`, and with the job of a file that holds a profile.
#![allow(
    unsafe_code,
    reason = "a filter is attached in a child, between fork and exit"
)]

use std::error::Error;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::Instant;
use stdbox::host::{Caller, HostFacts};
use stdbox::job::{Channels, Job};
use stdbox::plan::{Filter, NoPlan, plan};
use stdbox::text::AbsPath;

const USAGE: &str = "usage: filters [-n ROUNDS] [PROFILE.json]\n\
    PROFILE.json holds the seccomp object of the OCI runtime specification.";

const GETPPIDS: u32 = 100_000;
const IOCTLS: u32 = 20_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("filters: {why}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

struct Subject {
    name: &'static str,
    job: String,
    filter: Option<Filter>,
    /// Nanoseconds: to make it, to attach it, for a getppid(2), for an ioctl(2), whose request is looked at.
    series: [Vec<f64>; 4],
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut rounds, mut profile) = (300, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-n" => rounds = words.next().ok_or("-n needs a number")?.parse()?,
            _ => profile = Some(std::fs::read_to_string(word)?),
        }
    }
    let own = profile.map(|text| ("profile", format!(r#"{{"oci":{text}}}"#)));
    let named = ["off", "default", "strict"].map(|name| (name, format!("{name:?}")));
    let mut subjects = named
        .into_iter()
        .chain(own)
        .map(|(name, seccomp)| {
            let job = format!(
                r#"{{"argv":["a"],"cwd":"/","directories":{{"/":"full-access"}},"system_config":false,"lxcfs":"off","seccomp":{seccomp}}}"#
            );
            let filter = make(&job)?;
            Ok(Subject { name, job, filter, series: Default::default() })
        })
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    for round in 0..rounds {
        let turn = round % subjects.len();
        subjects.rotate_left(turn);
        for subject in &mut subjects {
            let start = Instant::now();
            make(&subject.job)?;
            let making = start.elapsed().as_secs_f64() * 1e9;
            let [attaching, getppids, ioctls] = in_child(subject.filter.as_ref())?;
            let per = |total: f64, count: u32| total / f64::from(count);
            let times = [
                making,
                attaching,
                per(getppids, GETPPIDS),
                per(ioctls, IOCTLS),
            ];
            subject
                .series
                .iter_mut()
                .zip(times)
                .for_each(|(series, time)| series.push(time));
        }
    }
    subjects.sort_by_key(|subject| {
        ["off", "default", "strict", "profile"]
            .iter()
            .position(|name| *name == subject.name)
    });
    println!(
        "{rounds} rounds, tenth percentiles; job: from JSON to the plan of one that does nothing else"
    );
    println!(
        "{:<10}{:>14}{:>12}{:>12}{:>14}{:>14}",
        "filter", "instructions", "job us", "attach us", "getppid ns", "ioctl ns"
    );
    for subject in &subjects {
        let length = subject
            .filter
            .as_ref()
            .map_or(0, |filter| filter.program.len());
        let [making, attaching, getppid, ioctl] = subject.series.clone().map(tenth);
        println!(
            "{:<10}{length:>14}{:>12.1}{:>12.1}{getppid:>14.1}{ioctl:>14.1}",
            subject.name,
            making / 1e3,
            attaching / 1e3,
        );
    }
    Ok(())
}

/// What a tenth of the rounds did not exceed: a busy machine slows most of them.
fn tenth(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 10).copied().unwrap_or(f64::NAN)
}

/// The way of a job to its plan, without a look at the host.
fn make(job: &str) -> Result<Option<Filter>, Box<dyn Error>> {
    let job = Job::from_slice(job.as_bytes(), Channels::default())
        .map_err(|problem| problem.message.clone())?;
    let mut facts = HostFacts {
        caller: Caller {
            cwd: Some(AbsPath::root()),
            ..Caller::default()
        },
        kernel: Some("6.18.0".to_owned()),
        devices: Some(true),
        ..HostFacts::default()
    };
    loop {
        match plan(&job, &facts) {
            Ok(plan) => return Ok(plan.filter),
            Err(NoPlan::Refused(problem)) => return Err(problem.message.clone().into()),
            Err(NoPlan::Ask(questions)) => {
                for question in questions {
                    if let stdbox::host::Question::Path(path) = question {
                        let directory = stdbox::host::PathFact::Directory {
                            mode: 0o755,
                            mount: false,
                        };
                        facts.paths.insert(path, directory);
                    } else {
                        return Err(format!("{question:?} is not answered here").into());
                    }
                }
            }
        }
    }
}

/// Attaches the filter in a child, and makes calls there.
fn in_child(filter: Option<&Filter>) -> Result<[f64; 3], Box<dyn Error>> {
    let mut ends = [0; 2];
    // SAFETY: there is room for two descriptors.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let [reader, writer] = ends;
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let times = measure(filter);
        let bytes: Vec<u8> = times.iter().flat_map(|time| time.to_ne_bytes()).collect();
        // SAFETY: the bytes are there; the parent misses what is not written.
        unsafe { libc::write(writer, bytes.as_ptr().cast(), bytes.len()) };
        // SAFETY: nothing is left to be done.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: fresh, and nobody else's.
    let (reader, writer) = (unsafe { OwnedFd::from_raw_fd(reader) }, writer);
    // SAFETY: as above.
    drop(unsafe { OwnedFd::from_raw_fd(writer) });
    let mut bytes = [0; 24];
    let read = std::fs::File::from(reader).read_exact(&mut bytes);
    // SAFETY: no status is asked for.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    read?;
    let mut times = [0.0; 3];
    for (time, bytes) in times.iter_mut().zip(bytes.chunks_exact(8)) {
        *time = f64::from_ne_bytes(bytes.try_into()?);
    }
    Ok(times)
}

fn measure(filter: Option<&Filter>) -> [f64; 3] {
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let attaching = Instant::now();
    if let Some(filter) = filter {
        let program = libc::sock_fprog {
            len: filter.program.len().try_into().unwrap_or(0),
            filter: filter.program.as_ptr().cast_mut().cast(),
        };
        // SAFETY: the program lives until the call returns; `Instruction` has the layout of `sock_filter`.
        unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                &raw const program,
            )
        };
    }
    let attached = Instant::now();
    for _ in 0..GETPPIDS {
        // SAFETY: takes nothing.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    let asked = Instant::now();
    for _ in 0..IOCTLS {
        // SAFETY: there is no such descriptor, so the buffer is never looked at.
        unsafe { libc::syscall(libc::SYS_ioctl, -1, 0x5401, 0) };
    }
    let done = Instant::now();
    [attached - attaching, asked - attached, done - asked].map(|time| time.as_secs_f64() * 1e9)
}
