//! Times whole starts: the floor, stdbox and what else is installed, by turns, each from its spawn until it is reaped.
//!
//! It measures and prints, and judges nothing: how slow is too slow depends on the machine and on the day.

mod measure;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use measure::{Measured, Series};
use stdbox_bench::arguments::Words;
use stdbox_bench::json::Json;
use stdbox_bench::launchers::{BUBBLEWRAP, FLOOR, FLOOR_IN_PLACE, Launcher, NAMES, Places};
use stdbox_bench::namespaces;
use stdbox_bench::statistics::{percentile, ratio};
use stdbox_bench::table::{Table, cell, count};

const USAGE: &str =
    "usage: drive [-n RUNS] [--only NAME,..] [--stdbox PATH] [--nsjail PATH] [--containerexec PATH]
             [--mounts N] [--mounts-at DIRECTORY] [--hide-cgroups] [--json FILE]";

const BASELINES: [&str; 3] = [FLOOR, FLOOR_IN_PLACE, BUBBLEWRAP];

struct Arguments {
    runs: usize,
    only: Vec<String>,
    places: Places,
    mounts: usize,
    mounts_at: PathBuf,
    hide_cgroups: bool,
    json: Option<PathBuf>,
}

impl Arguments {
    fn parse() -> Result<Arguments, String> {
        let mut arguments = Arguments {
            runs: 300,
            only: Vec::new(),
            places: Places::default(),
            mounts: 0,
            mounts_at: PathBuf::from("/mnt"),
            hide_cgroups: false,
            json: None,
        };
        let mut words = Words::default();
        while let Some(option) = words.option() {
            match option.as_str() {
                "-n" => arguments.runs = words.number()?.max(1),
                "--only" => arguments.only = words.names(&NAMES)?,
                "--stdbox" => arguments.places.stdbox = words.path()?,
                "--nsjail" => arguments.places.nsjail = words.path()?,
                "--containerexec" => arguments.places.containerexec = words.path()?,
                "--mounts" => arguments.mounts = words.number()?,
                "--mounts-at" => arguments.mounts_at = words.path()?,
                "--hide-cgroups" => arguments.hide_cgroups = true,
                "--json" => arguments.json = Some(words.path()?),
                _ => return Err(words.unknown()),
            }
        }
        Ok(arguments)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("drive: {why}\n{USAGE}\nnames: {}", NAMES.join(" "));
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("drive: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether anything could be measured.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    if arguments.mounts > 0 || arguments.hide_cgroups {
        namespaces::enter()?;
    }
    if arguments.mounts > 0 {
        namespaces::add_mounts(arguments.mounts, &arguments.mounts_at)?;
    }
    if arguments.hide_cgroups {
        namespaces::cover(Path::new("/sys/fs/cgroup"))?;
    }
    // Every launcher passes its working directory on somehow; the root costs all of them the same.
    std::env::set_current_dir("/")?;

    let chosen = NAMES.into_iter().filter(|name| arguments.wants(name));
    let measured = measure::by_turns(chosen, &arguments.places, arguments.runs)?;
    print!("{}", table(arguments, &measured));
    json(arguments, &measured).save(arguments.json.as_deref())?;
    Ok(!measured.series.is_empty())
}

fn ratios(series: &Series, measured: &Measured) -> [Option<f64>; 3] {
    BASELINES.map(|name| {
        let baseline = measured.series.iter().find(|series| series.name == name)?;
        ratio(&series.times, &baseline.times)
    })
}

fn table(arguments: &Arguments, measured: &Measured) -> Table {
    let title = format!(
        "{} rounds, {} extra mounts; milliseconds, the launcher's own memory, then ratios to each baseline",
        arguments.runs, arguments.mounts
    );
    let baselines = BASELINES.map(|name| format!("x {name}"));
    let [floor, in_place, bubblewrap] = baselines.each_ref().map(String::as_str);
    let mut table = Table::new(
        title,
        &[
            "launcher", "median", "p10", "p90", "peak KiB", floor, in_place, bubblewrap,
        ],
    );
    for series in &measured.series {
        let times = [50, 10, 90].map(|percent| percentile(&series.times, percent));
        let times = times.map(|time| cell(time.map(|seconds| seconds * 1000.0), 3));
        let ratios = ratios(series, measured).map(|ratio| cell(ratio, 3));
        let row = [series.name.to_owned()].into_iter().chain(times);
        table.row(row.chain([count(series.peak_kib)]).chain(ratios).collect());
    }
    for left_out in &measured.left_out {
        table.note(&format!("LEFT OUT {}: {}", left_out.name, left_out.why));
    }
    table
}

fn json(arguments: &Arguments, measured: &Measured) -> Json {
    let launcher = |series: &Series| {
        let [floor, in_place, bubblewrap] = ratios(series, measured);
        let at = |percent| Json::from(percentile(&series.times, percent));
        Json::Object(vec![
            ("name", series.name.into()),
            ("median_s", at(50)),
            ("p10_s", at(10)),
            ("p90_s", at(90)),
            ("peak_kib", series.peak_kib.into()),
            ("x_floor", floor.into()),
            ("x_floor_in_place", in_place.into()),
            ("x_bwrap", bubblewrap.into()),
            ("times_s", series.times.iter().copied().collect()),
        ])
    };
    let left_out = measured.left_out.iter().map(|it| {
        Json::Object(vec![
            ("name", it.name.into()),
            ("why", it.why.as_str().into()),
        ])
    });
    Json::Object(vec![
        ("runs", arguments.runs.into()),
        ("mounts", arguments.mounts.into()),
        ("launchers", measured.series.iter().map(launcher).collect()),
        ("left_out", left_out.collect()),
    ])
}
