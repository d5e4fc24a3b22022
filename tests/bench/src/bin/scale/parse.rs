//! `stdbox check` on jobs from 1 KiB to 8 MiB: reading, checking, and showing the job with its defaults.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;

use stdbox_bench::json::Json;
use stdbox_bench::process::{Program, null, unnamed_file};
use stdbox_bench::statistics::median;
use stdbox_bench::table::{Table, cell, count};

use crate::{Arguments, Measured};

const SIZES: [usize; 6] = [1 << 10, 1 << 13, 1 << 16, 1 << 19, 1 << 22, 1 << 23];
/// From here on a size is measured fewer times, in seconds.
const LONG: f64 = 0.2;
/// Whatever is larger than a job that takes longer is left out.
const TOO_LONG: f64 = 5.0;

/// What a job has much of: what stands around that, and the n-th piece.
struct Kind {
    name: &'static str,
    around: [&'static str; 2],
    piece: fn(usize) -> String,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "environment",
        around: [r#"{"argv":["/bin/true"],"cwd":"/","env":{"set":{"#, "}}}"],
        piece: |n| format!(r#""VARIABLE_{n:07}":"the value of a variable""#),
    },
    Kind {
        name: "text of one file",
        around: [
            r#"{"argv":["/bin/true"],"cwd":"/","mounts":[{"type":"file","target":"/tmp/a","text":""#,
            r#""}]}"#,
        ],
        piece: |_| "thirty-two characters, a piece; ".to_owned(),
    },
    Kind {
        name: "directories",
        around: [r#"{"argv":["/bin/true"],"cwd":"/","directories":{"#, "}}"],
        piece: |n| format!(r#""/tmp/directory-{n:07}":"hidden""#),
    },
    Kind {
        name: "mounts",
        around: [r#"{"argv":["/bin/true"],"cwd":"/","mounts":["#, "]}"],
        piece: |n| format!(r#"{{"type":"tmpfs","target":"/tmp/mount-{n:07}"}}"#),
    },
];

impl Kind {
    fn job(&self, size: usize) -> String {
        let [head, tail] = self.around;
        let mut job = head.to_owned();
        for number in 0.. {
            let piece = (self.piece)(number);
            if job.len() + piece.len() + tail.len() >= size {
                break;
            }
            // The text of a file is one string, everything else a list.
            if number > 0 && !head.ends_with(r#""text":""#) {
                job.push(',');
            }
            job.push_str(&piece);
        }
        job + tail
    }
}

#[expect(clippy::cast_precision_loss, reason = "jobs are far smaller")]
pub(crate) fn measure(arguments: &Arguments) -> Measured {
    let check = Program::new(&arguments.places.stdbox, &["check"])?;
    let title = format!(
        "stdbox check, medians of {} runs, fewer of long ones",
        arguments.runs
    );
    let headings = ["job", "bytes", "ms", "ns/byte", "peak KiB", "bytes/byte"];
    let mut table = Table::new(title, &headings);
    let mut rows = Vec::new();
    for kind in &KINDS {
        for size in SIZES {
            let job = kind.job(size);
            let bytes = job.len() as f64;
            let input = unnamed_file(job.as_bytes())?;
            drop(job);
            let refused = refusal(&check, &input)?;
            let time = time(&check, &input, arguments.runs)?;
            let peak = memory(&check, &input)?;
            table.row(vec![
                kind.name.to_owned(),
                cell(Some(bytes), 0),
                cell(time.map(|time| time * 1e3), 3),
                cell(time.map(|time| time * 1e9 / bytes), 1),
                count(peak),
                cell(peak.map(|peak| peak as f64 * 1024.0 / bytes), 1),
            ]);
            rows.push(Json::Object(vec![
                ("job", kind.name.into()),
                ("bytes", bytes.into()),
                ("median_s", time.into()),
                ("peak_kib", peak.into()),
                ("refused", refused.as_deref().map_or(Json::Null, Json::from)),
            ]));
            if let Some(report) = refused {
                table.note(&format!(
                    "{} of {bytes} bytes is refused: {report}",
                    kind.name
                ));
            }
            if time.is_some_and(|time| time > TOO_LONG) {
                table.note(&format!(
                    "LEFT OUT {} of more bytes: {bytes} take too long",
                    kind.name
                ));
                break;
            }
        }
    }
    Ok((table, Json::List(rows)))
}

/// The beginning of the report, if the job is not valid.
fn refusal(check: &Program, input: &File) -> std::io::Result<Option<String>> {
    rewound(input)?;
    let null = null()?;
    let mut report = unnamed_file(b"")?;
    let streams = [input.as_fd(), report.as_fd(), null.as_fd()];
    check.spawn(streams)?.wait()?;
    report.rewind()?;
    let mut text = Vec::new();
    report.take(1000).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok((!text.contains(r#""outcome":"valid""#)).then_some(text))
}

fn time(check: &Program, input: &File, runs: usize) -> std::io::Result<Option<f64>> {
    let null = null()?;
    let mut times = Vec::new();
    for run in 0..runs {
        rewound(input)?;
        let streams = [input.as_fd(), null.as_fd(), null.as_fd()];
        let (time, _) = check.time(streams)?;
        times.push(time);
        if time > LONG && run >= 2 {
            break;
        }
    }
    Ok(median(&times))
}

fn memory(check: &Program, input: &File) -> std::io::Result<Option<u64>> {
    rewound(input)?;
    let memory = check.memory_at_report(input.as_fd())?;
    Ok(memory.map(|memory| memory.peak_kib))
}

fn rewound(mut input: &File) -> std::io::Result<()> {
    input.rewind()
}
