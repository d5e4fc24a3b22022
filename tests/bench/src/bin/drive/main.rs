//! Times whole starts: the floor, stdbox and bubblewrap, by turns, each from its spawn until it is reaped.
//!
//! It measures and prints, and judges nothing: how slow is too slow depends on the machine and on the day.

mod arguments;
mod launchers;
mod measure;
mod mounts;
mod statistics;
mod table;

use std::error::Error;
use std::process::ExitCode;

use arguments::Arguments;

const USAGE: &str = "usage: drive [-n RUNS] [--only NAME,..] [--stdbox PATH] [--mounts N] [--mounts-at DIRECTORY] [--json FILE]";

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!(
                "drive: {why}\n{USAGE}\nnames: {}",
                launchers::NAMES.join(" ")
            );
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
    if arguments.mounts > 0 {
        mounts::add(arguments.mounts, &arguments.mounts_at)?;
    }
    // Every launcher passes its working directory on somehow; the root costs all of them the same.
    std::env::set_current_dir("/")?;

    let launchers = launchers::all(&arguments.stdbox)?;
    let chosen = launchers
        .into_iter()
        .filter(|launcher| arguments.wants(launcher.name));
    let measured = measure::by_turns(chosen.collect(), arguments.runs)?;
    let table = table::Table::new(arguments, &measured);

    print!("{table}");
    if let Some(path) = &arguments.json {
        std::fs::write(path, table.json()).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    Ok(!measured.series.is_empty())
}
