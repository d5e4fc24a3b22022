//! What a launcher holds of main memory while its job runs: stdbox after a small job and after one of 8 MiB, and its peers.

use std::os::fd::{AsFd, AsRawFd};
use std::thread::sleep;
use std::time::Duration;

use stdbox_bench::json::Json;
use stdbox_bench::launchers::{Launcher, NAMES};
use stdbox_bench::process::{Child, Memory, Program, null, unnamed_file};
use stdbox_bench::table::Table;

use crate::{Arguments, Measured};

const SLEEP: [&str; 2] = ["/bin/sleep", "1"];
const LARGE: usize = 8 << 20;

pub(crate) fn measure(arguments: &Arguments) -> Measured {
    let title = "a launcher's own memory in KiB while its job sleeps";
    let headings = ["launcher", "VmRSS", "RssAnon", "VmHWM"];
    let mut table = Table::new(title.to_owned(), &headings);
    let mut rows = Vec::new();
    let mut add = |name: &str, memory: Option<Memory>, table: &mut Table| {
        let memory = memory.unwrap_or_default();
        let numbers = [memory.resident_kib, memory.anonymous_kib, memory.peak_kib];
        table.row(
            [name.to_owned()]
                .into_iter()
                .chain(numbers.map(|kib| kib.to_string()))
                .collect(),
        );
        rows.push(Json::Object(vec![
            ("launcher", name.into()),
            ("resident_kib", memory.resident_kib.into()),
            ("anonymous_kib", memory.anonymous_kib.into()),
            ("peak_kib", memory.peak_kib.into()),
        ]));
    };
    for name in NAMES {
        let launcher = Launcher::new(name, &arguments.places, &SLEEP)?;
        if let Err(why) = launcher.try_once() {
            let first = why.lines().next().unwrap_or_default();
            table.note(&format!("LEFT OUT {name}: {first}"));
            continue;
        }
        add(name, while_waiting(&launcher.start()?)?, &mut table);
    }
    for (name, size) in [
        ("stdbox, file of 8 MiB", LARGE),
        ("stdbox, file of 1 byte", 1),
    ] {
        let job = Json::Object(vec![
            ("argv", SLEEP.into_iter().collect()),
            ("cwd", "/".into()),
            ("directories", Json::Object(vec![("/", "read-only".into())])),
            ("mounts", Json::List(vec![file(size)])),
        ]);
        let input = unnamed_file(job.to_string().as_bytes())?;
        let input = std::fs::File::open(format!("/proc/self/fd/{}", input.as_raw_fd()))?;
        let null = null()?;
        let stdbox = Program::new(&arguments.places.stdbox, &[""; 0])?;
        let child = stdbox.spawn([input.as_fd(), null.as_fd(), null.as_fd()])?;
        add(name, while_waiting(&child)?, &mut table);
    }
    Ok((table, Json::List(rows)))
}

fn file(size: usize) -> Json {
    Json::Object(vec![
        ("type", "file".into()),
        ("target", "/tmp/file".into()),
        ("text", Json::Text("x".repeat(size))),
    ])
}

/// What it holds in the middle of its looks, most of which find it waiting; at most, by the last of them.
fn while_waiting(child: &Child) -> std::io::Result<Option<Memory>> {
    let mut looks = Vec::new();
    while child.try_wait()?.is_none() {
        looks.extend(child.memory());
        sleep(Duration::from_millis(10));
    }
    let last = looks.last().copied();
    let middle = looks.get(looks.len() / 2).copied();
    Ok(middle.zip(last).map(|(middle, last)| Memory {
        peak_kib: last.peak_kib,
        ..middle
    }))
}
