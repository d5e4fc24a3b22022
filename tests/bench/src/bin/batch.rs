//! How many jobs a second: `stdbox batch` beside the floor, bubblewrap and stdbox itself, started for each job by this program, as
//! many at a time; or one long batch, and what its dispatcher holds of main memory meanwhile.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, pipe};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use stdbox_bench::arguments::Words;
use stdbox_bench::json::Json;
use stdbox_bench::launchers::{BUBBLEWRAP, FLOOR, Launcher, Places, READ_ONLY};
use stdbox_bench::order::Order;
use stdbox_bench::process::{Program, null, unnamed_file, wait_any};
use stdbox_bench::statistics::{median, ratio};
use stdbox_bench::table::{Table, cell};

const USAGE: &str = "usage: batch [-n ROUNDS] [--jobs N] [--workers N,..] [--only NAME,..] [--stdbox PATH] [--json FILE]
       batch --long N [--workers N] [--only NAME] [--stdbox PATH] [--json FILE]";

const BATCH_READ_ONLY: &str = "batch-read-only";
const BATCH_DEFAULT: &str = "batch-default";
const NAMES: [&str; 5] = [FLOOR, BUBBLEWRAP, READ_ONLY, BATCH_READ_ONLY, BATCH_DEFAULT];
const PROGRAM: [&str; 1] = ["/bin/true"];
/// How often a long batch is looked at.
const LOOKS: usize = 10;

struct Arguments {
    rounds: usize,
    jobs: usize,
    workers: Vec<usize>,
    only: Vec<String>,
    long: Option<usize>,
    places: Places,
    json: Option<PathBuf>,
}

impl Arguments {
    fn parse() -> Result<Arguments, String> {
        let mut arguments = Arguments {
            rounds: 7,
            jobs: 500,
            workers: vec![1, 2, 4],
            only: Vec::new(),
            long: None,
            places: Places::default(),
            json: None,
        };
        let mut words = Words::default();
        while let Some(option) = words.option() {
            match option.as_str() {
                "-n" => arguments.rounds = words.number()?.max(1),
                "--jobs" => arguments.jobs = words.number()?.max(1),
                "--workers" => arguments.workers = words.numbers()?,
                "--only" => arguments.only = words.names(&NAMES)?,
                "--long" => arguments.long = Some(words.number()?.max(1)),
                "--stdbox" => arguments.places.stdbox = words.path()?,
                "--json" => arguments.json = Some(words.path()?),
                _ => return Err(words.unknown()),
            }
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("batch: {why}\n{USAGE}\nnames: {}", NAMES.join(" "));
            return ExitCode::from(2);
        }
    };
    let done = std::env::set_current_dir("/")
        .map_err(Box::from)
        .and_then(|()| match arguments.long {
            Some(jobs) => long(&arguments, jobs),
            None => compare(&arguments),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("batch: {why}");
            ExitCode::FAILURE
        }
    }
}

/// One way to get many jobs done.
enum Contender {
    /// stdbox is given all of them, a line each.
    Batch { arguments: [String; 3], jobs: File },
    /// This program starts one after the other.
    Each(Box<Launcher>),
}

impl Contender {
    fn new(
        name: &'static str,
        arguments: &Arguments,
        workers: usize,
    ) -> std::io::Result<Contender> {
        if name != BATCH_READ_ONLY && name != BATCH_DEFAULT {
            let launcher = Launcher::new(name, &arguments.places, &PROGRAM)?;
            return Ok(Contender::Each(Box::new(launcher)));
        }
        Ok(Contender::Batch {
            arguments: words(workers),
            jobs: unnamed_file(&lines(name, arguments.jobs))?,
        })
    }

    /// Does all jobs and says how many seconds that took.
    fn run(&mut self, arguments: &Arguments, workers: usize) -> Result<f64, Box<dyn Error>> {
        let jobs = arguments.jobs;
        match self {
            Contender::Batch {
                arguments: words,
                jobs: input,
            } => {
                let stdbox = Program::new(&arguments.places.stdbox, words)?;
                input.rewind()?;
                let mut reports = unnamed_file(b"")?;
                let null = null()?;
                let start = Instant::now();
                let child = stdbox.spawn([input.as_fd(), reports.as_fd(), null.as_fd()])?;
                let status = child.wait()?;
                let time = start.elapsed().as_secs_f64();
                reports.rewind()?;
                let mut text = String::new();
                reports.read_to_string(&mut text)?;
                let good = text.lines().filter(|line| succeeded(line)).count();
                if good != jobs || text.lines().count() != jobs || !status.success() {
                    let odd = text
                        .lines()
                        .find(|line| !succeeded(line))
                        .unwrap_or("no other report");
                    return Err(format!("{status}, {good} of {jobs} jobs ended well: {odd}").into());
                }
                Ok(time)
            }
            Contender::Each(launcher) => {
                let start = Instant::now();
                let (mut started, mut ended) = (0, 0);
                while ended < jobs {
                    if started < jobs && started - ended < workers {
                        launcher.start()?;
                        started += 1;
                        continue;
                    }
                    let (_, status) = wait_any()?;
                    ended += 1;
                    if !status.success() {
                        return Err(format!("{status} after {ended} jobs").into());
                    }
                }
                Ok(start.elapsed().as_secs_f64())
            }
        }
    }
}

fn words(workers: usize) -> [String; 3] {
    [
        "batch".to_owned(),
        "--workers".to_owned(),
        workers.to_string(),
    ]
}

fn lines(name: &str, count: usize) -> Vec<u8> {
    let mut lines = Vec::new();
    for number in 0..count {
        let directories = if name == BATCH_READ_ONLY {
            r#","directories":{"/":"read-only"}"#
        } else {
            ""
        };
        let line = format!(r#"{{"id":"{number}","argv":["/bin/true"],"cwd":"/"{directories}}}"#);
        lines.extend_from_slice(line.as_bytes());
        lines.push(b'\n');
    }
    lines
}

fn succeeded(report: &str) -> bool {
    report.contains(r#""outcome":"exited","exit_code":0,"#)
}

struct Series {
    name: &'static str,
    workers: usize,
    /// Seconds for all jobs, round by round.
    times: Vec<f64>,
}

fn compare(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let wanted =
        |name: &&str| arguments.only.is_empty() || arguments.only.iter().any(|it| it == name);
    let (mut all, mut left_out) = (Vec::new(), Vec::new());
    for &workers in &arguments.workers {
        let mut working = Vec::new();
        for name in NAMES.into_iter().filter(wanted) {
            let contender = Contender::new(name, arguments, workers)?;
            let contender = match contender {
                Contender::Each(launcher) => match launcher.try_once() {
                    Ok(()) => Contender::Each(launcher),
                    Err(why) => {
                        left_out.push((name, why));
                        continue;
                    }
                },
                batch => batch,
            };
            let times = Vec::new();
            working.push((
                contender,
                Series {
                    name,
                    workers,
                    times,
                },
            ));
        }
        let mut order = Order::default();
        for _ in 0..arguments.rounds {
            order.shuffle(&mut working);
            for (contender, series) in &mut working {
                let time = contender.run(arguments, workers);
                series
                    .times
                    .push(time.map_err(|why| format!("{}: {why}", series.name))?);
            }
        }
        let mut series: Vec<Series> = working.into_iter().map(|(_, series)| series).collect();
        series.sort_by_key(|series| NAMES.iter().position(|name| *name == series.name));
        all.append(&mut series);
    }
    let table = table(arguments, &all, &left_out);
    print!("{table}");
    Ok(json(arguments, &all).save(arguments.json.as_deref())?)
}

/// Of the times, as everywhere: below 1 is faster.
fn ratios(series: &Series, all: &[Series]) -> [Option<f64>; 2] {
    [FLOOR, BUBBLEWRAP].map(|name| {
        let same = |other: &&Series| other.name == name && other.workers == series.workers;
        ratio(&series.times, &all.iter().find(same)?.times)
    })
}

fn rate(series: &Series, jobs: f64) -> Option<f64> {
    median(&series.times).map(|time| jobs / time)
}

#[expect(clippy::cast_precision_loss, reason = "nobody waits for so many jobs")]
fn table(arguments: &Arguments, all: &[Series], left_out: &[(&str, String)]) -> Table {
    let title = format!(
        "{} rounds of {} jobs; medians, and ratios of the times",
        arguments.rounds, arguments.jobs
    );
    let jobs = arguments.jobs as f64;
    let headings = ["jobs", "workers", "jobs/s", "ms/job", "x floor", "x bwrap"];
    let mut table = Table::new(title, &headings);
    for series in all {
        let rate = rate(series, jobs);
        let [floor, bubblewrap] = ratios(series, all).map(|ratio| cell(ratio, 3));
        table.row(vec![
            series.name.to_owned(),
            series.workers.to_string(),
            cell(rate, 1),
            cell(rate.map(|rate| 1000.0 / rate), 3),
            floor,
            bubblewrap,
        ]);
    }
    for (name, why) in left_out {
        table.note(&format!("LEFT OUT {name}: {why}"));
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "nobody waits for so many jobs")]
fn json(arguments: &Arguments, all: &[Series]) -> Json {
    let rows = all.iter().map(|series| {
        let [floor, bubblewrap] = ratios(series, all);
        Json::Object(vec![
            ("name", series.name.into()),
            ("workers", series.workers.into()),
            ("jobs_per_s", rate(series, arguments.jobs as f64).into()),
            ("x_floor", floor.into()),
            ("x_bwrap", bubblewrap.into()),
            ("times_s", series.times.iter().copied().collect()),
        ])
    });
    Json::Object(vec![
        ("rounds", arguments.rounds.into()),
        ("jobs", arguments.jobs.into()),
        ("series", rows.collect()),
    ])
}

/// Runs one batch and looks at its dispatcher now and then; the reports are read as they come.
fn long(arguments: &Arguments, jobs: usize) -> Result<(), Box<dyn Error>> {
    let workers = arguments.workers.last().copied().unwrap_or(2);
    let name = arguments
        .only
        .first()
        .map_or(BATCH_READ_ONLY, String::as_str);
    let mut input = unnamed_file(&lines(name, jobs))?;
    input.rewind()?;
    let (reader, writer) = pipe()?;
    let null = null()?;
    let stdbox = Program::new(&arguments.places.stdbox, &words(workers))?;
    let start = Instant::now();
    let child = stdbox.spawn([input.as_fd(), writer.as_fd(), null.as_fd()])?;
    drop(writer);

    let title = format!("{name}, {jobs} jobs, {workers} workers; the dispatcher's memory in KiB");
    let headings = ["jobs done", "seconds", "VmRSS", "RssAnon", "VmHWM"];
    let mut table = Table::new(title, &headings);
    let mut looks = Vec::new();
    let mut done = 0;
    for line in BufReader::new(reader).lines() {
        let line = line?;
        if !succeeded(&line) {
            return Err(format!("after {done} jobs: {line}").into());
        }
        done += 1;
        if done == 1 || done % jobs.div_ceil(LOOKS) == 0 {
            let seconds = start.elapsed().as_secs_f64();
            // A dispatcher that has nothing more to do may be gone.
            let Some(memory) = child.memory() else {
                continue;
            };
            table.row(vec![
                done.to_string(),
                cell(Some(seconds), 1),
                memory.resident_kib.to_string(),
                memory.anonymous_kib.to_string(),
                memory.peak_kib.to_string(),
            ]);
            looks.push(Json::Object(vec![
                ("done", done.into()),
                ("seconds", seconds.into()),
                ("resident_kib", memory.resident_kib.into()),
                ("anonymous_kib", memory.anonymous_kib.into()),
                ("peak_kib", memory.peak_kib.into()),
            ]));
        }
    }
    let status = child.wait()?;
    print!("{table}");
    if done != jobs || !status.success() {
        return Err(format!("{status}, {done} of {jobs} jobs ended well").into());
    }
    let json = Json::Object(vec![
        ("name", name.into()),
        ("workers", workers.into()),
        ("jobs", jobs.into()),
        ("looks", Json::List(looks)),
    ]);
    Ok(json.save(arguments.json.as_deref())?)
}
