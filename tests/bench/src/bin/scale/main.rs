//! How stdbox grows with its job: time and memory to read large jobs and to take many files out, system calls of a start, memory
//! while it waits, and the start of the program itself.

mod calls;
mod parse;
mod results;
mod start;
mod waiting;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use stdbox_bench::arguments::Words;
use stdbox_bench::json::Json;
use stdbox_bench::launchers::Places;
use stdbox_bench::table::Table;

const USAGE: &str = "usage: scale [-n RUNS] [--only NAME,..] [--most-files N] [--stdbox PATH] [--nsjail PATH] [--containerexec PATH] [--json FILE]";

type Measured = Result<(Table, Json), Box<dyn Error>>;

const NAMES: [&str; 5] = ["parse", "results", "calls", "waiting", "start"];
const MEASURES: [fn(&Arguments) -> Measured; 5] = [
    parse::measure,
    results::measure,
    calls::measure,
    waiting::measure,
    start::measure,
];

struct Arguments {
    runs: usize,
    only: Vec<String>,
    most_files: usize,
    places: Places,
    json: Option<PathBuf>,
}

impl Arguments {
    fn parse() -> Result<Arguments, String> {
        let mut arguments = Arguments {
            runs: 20,
            only: Vec::new(),
            most_files: 100_000,
            places: Places::default(),
            json: None,
        };
        let mut words = Words::default();
        while let Some(option) = words.option() {
            match option.as_str() {
                "-n" => arguments.runs = words.number()?.max(1),
                "--only" => arguments.only = words.names(&NAMES)?,
                "--most-files" => arguments.most_files = words.number()?,
                "--stdbox" => arguments.places.stdbox = words.path()?,
                "--nsjail" => arguments.places.nsjail = words.path()?,
                "--containerexec" => arguments.places.containerexec = words.path()?,
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
            eprintln!("scale: {why}\n{USAGE}\nnames: {}", NAMES.join(" "));
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("scale: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    std::env::set_current_dir("/")?;
    let mut measured = Vec::new();
    for (name, measure) in NAMES.into_iter().zip(MEASURES) {
        if arguments.only.is_empty() || arguments.only.iter().any(|wanted| wanted == name) {
            let (table, json) = measure(arguments).map_err(|why| format!("{name}: {why}"))?;
            println!("{table}");
            measured.push((name, json));
        }
    }
    Ok(Json::Object(measured).save(arguments.json.as_deref())?)
}
