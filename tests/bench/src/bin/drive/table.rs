//! The result, for people and for programs.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::arguments::Arguments;
use crate::launchers::{BUBBLEWRAP, FLOOR, FLOOR_IN_PLACE, NAMES};
use crate::measure::{LeftOut, Measured, Series};
use crate::statistics::{percentile, ratio};

const BASELINES: [&str; 3] = [FLOOR, FLOOR_IN_PLACE, BUBBLEWRAP];

#[derive(Debug)]
pub(crate) struct Table<'a> {
    runs: usize,
    mounts: usize,
    rows: Vec<Row<'a>>,
    left_out: &'a [LeftOut],
}

#[derive(Debug)]
struct Row<'a> {
    series: &'a Series,
    median: Duration,
    p10: Duration,
    p90: Duration,
    ratios: [Option<f64>; 3],
}

impl<'a> Table<'a> {
    pub(crate) fn new(arguments: &Arguments, measured: &'a Measured) -> Table<'a> {
        let series = |name: &str| measured.series.iter().find(|series| series.name == name);
        let row = |own: &'a Series| {
            let at = |percent| percentile(&own.times, percent).unwrap_or_default();
            let ratios =
                BASELINES.map(|base| series(base).and_then(|base| ratio(&own.times, &base.times)));
            Row {
                series: own,
                median: at(50),
                p10: at(10),
                p90: at(90),
                ratios,
            }
        };
        Table {
            runs: arguments.runs,
            mounts: arguments.mounts,
            rows: NAMES
                .iter()
                .filter_map(|name| series(name))
                .map(row)
                .collect(),
            left_out: &measured.left_out,
        }
    }

    pub(crate) fn json(&self) -> String {
        let launchers: Vec<String> = self.rows.iter().map(Row::json).collect();
        let left_out = self.left_out.iter();
        let left_out = left_out.map(|it| {
            format!(
                r#"{{"name":{},"why":{}}}"#,
                quoted(it.name),
                quoted(&it.why)
            )
        });
        format!(
            "{{\"runs\":{},\"mounts\":{},\"launchers\":[\n{}\n],\"left_out\":[{}]}}\n",
            self.runs,
            self.mounts,
            launchers.join(",\n"),
            left_out.collect::<Vec<_>>().join(","),
        )
    }
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rounds, {} extra mounts; milliseconds, then ratios to each baseline",
            self.runs, self.mounts
        )?;
        write!(
            f,
            "{:<20}{:>9}{:>9}{:>9}",
            "launcher", "median", "p10", "p90"
        )?;
        for baseline in BASELINES {
            write!(f, "{:>17}", format!("x {baseline}"))?;
        }
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "{:<20}", row.series.name)?;
            for time in [row.median, row.p10, row.p90] {
                write!(f, "{:>9.3}", time.as_secs_f64() * 1000.0)?;
            }
            for ratio in row.ratios {
                write!(
                    f,
                    "{:>17}",
                    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"))
                )?;
            }
            writeln!(f)?;
        }
        for left_out in self.left_out {
            writeln!(
                f,
                "LEFT OUT {}: {}",
                left_out.name,
                left_out.why.replace('\n', "\n    ")
            )?;
        }
        Ok(())
    }
}

impl Row<'_> {
    fn json(&self) -> String {
        let [floor, in_place, bubblewrap] = self
            .ratios
            .map(|ratio| ratio.map_or("null".to_owned(), |it| format!("{it:.4}")));
        let times: Vec<String> = self
            .series
            .times
            .iter()
            .map(|time| time.as_nanos().to_string())
            .collect();
        format!(
            r#"{{"name":{},"median_ns":{},"p10_ns":{},"p90_ns":{},"x_floor":{floor},"x_floor_in_place":{in_place},"x_bwrap":{bubblewrap},"times_ns":[{}]}}"#,
            quoted(self.series.name),
            self.median.as_nanos(),
            self.p10.as_nanos(),
            self.p90.as_nanos(),
            times.join(","),
        )
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)))
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
