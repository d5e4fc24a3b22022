//! Files that are taken out of a container: a job that makes them, with and without `results`, by turns.

use std::fs::{DirBuilder, read_dir, remove_dir, remove_dir_all};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use stdbox_bench::json::Json;
use stdbox_bench::process::{Program, null, unnamed_file};
use stdbox_bench::statistics::{difference, median};
use stdbox_bench::table::{Table, cell, count};

use crate::{Arguments, Measured};

const COUNTS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
/// More files than these altogether are not made for one row.
const FILES: usize = 100_000;

/// Of fewer files, what one costs is lost in the start of the container.
const ENOUGH: usize = 1_000;

/// A directory of this program's own, with nothing in it when it ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(remove_dir(&self.0));
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has so many files")]
pub(crate) fn measure(arguments: &Arguments) -> Measured {
    let name = format!("stdbox-bench-results-{}", std::process::id());
    let scratch = Scratch(std::env::temp_dir().join(name));
    DirBuilder::new().mode(0o700).create(&scratch.0)?;
    let stdbox = Program::new(&arguments.places.stdbox, &[""; 0])?;
    let title =
        "a job that makes files of some bytes; medians, and the memory of stdbox when it reports";
    let headings = [
        "files",
        "runs",
        "ms without",
        "ms with results",
        "us/file",
        "peak KiB",
        "KiB/1000 files",
    ];
    let mut table = Table::new(title.to_owned(), &headings);
    let mut rows = Vec::new();
    let mut least = None;
    for files in COUNTS
        .into_iter()
        .filter(|&files| files <= arguments.most_files)
    {
        let runs = (FILES / files).clamp(1, arguments.runs);
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            without.push(run(&stdbox, files, None)?);
            let directory = scratch.0.join("with");
            with.push(run(&stdbox, files, Some(&directory))?);
            let found = read_dir(directory.join("made"))?.count();
            remove_dir_all(&directory)?;
            if found != files {
                return Err(format!("{found} of {files} files were taken out").into());
            }
        }
        let directory = scratch.0.join("memory");
        let input = unnamed_file(job(files, Some(&directory)).as_bytes())?;
        let input = reopened(&input)?;
        let peak = stdbox
            .memory_at_report(input.as_fd())?
            .map(|memory| memory.peak_kib);
        drop(remove_dir_all(&directory));
        least = least.or(peak);
        let more = peak
            .zip(least)
            .map(|(peak, least)| peak.saturating_sub(least) as f64);

        let each = difference(&with, &without).map(|seconds| seconds / files as f64);
        table.row(vec![
            files.to_string(),
            runs.to_string(),
            cell(median(&without).map(|time| time * 1e3), 1),
            cell(median(&with).map(|time| time * 1e3), 1),
            cell(each.filter(|_| files >= ENOUGH).map(|time| time * 1e6), 1),
            count(peak),
            cell(
                more.filter(|_| files >= ENOUGH)
                    .map(|more| more * 1000.0 / files as f64),
                0,
            ),
        ]);
        rows.push(Json::Object(vec![
            ("files", files.into()),
            ("without_s", without.into_iter().collect()),
            ("with_s", with.into_iter().collect()),
            ("s_per_file", each.into()),
            ("peak_kib", peak.into()),
        ]));
    }
    Ok((table, Json::List(rows)))
}

fn run(stdbox: &Program, files: usize, directory: Option<&Path>) -> Result<f64, String> {
    let timed = || -> std::io::Result<f64> {
        let input = reopened(&unnamed_file(job(files, directory).as_bytes())?)?;
        let null = null()?;
        let (time, status) = stdbox.time([input.as_fd(), null.as_fd(), null.as_fd()])?;
        if !status.success() {
            return Err(std::io::Error::other(format!("stdbox: {status}")));
        }
        Ok(time)
    };
    timed().map_err(|why| format!("{files} files: {why}"))
}

fn job(files: usize, directory: Option<&Path>) -> String {
    let script =
        format!("mkdir made; i=0; while [ $i -lt {files} ]; do echo $i >made/$i; i=$((i+1)); done");
    let mut fields = vec![
        (
            "argv",
            ["/bin/sh", "-euc", &script].into_iter().collect::<Json>(),
        ),
        ("cwd", "/tmp".into()),
        (
            "directories",
            Json::Object(vec![("/", "read-only".into()), ("/tmp", "hidden".into())]),
        ),
    ];
    if let Some(directory) = directory {
        let directory = directory.to_string_lossy();
        let results = vec![
            ("directory", Json::from(&*directory)),
            ("patterns", ["made"].into_iter().collect()),
        ];
        fields.push(("results", Json::Object(results)));
    }
    Json::Object(fields).to_string()
}

/// With an offset at its beginning.
fn reopened(file: &std::fs::File) -> std::io::Result<std::fs::File> {
    use std::os::fd::AsRawFd;
    std::fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
