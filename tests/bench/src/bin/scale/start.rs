//! The start of the program itself: `stdbox --version` beside a program that only returns, by turns.

use std::os::fd::AsFd;

use stdbox_bench::arguments::beside;
use stdbox_bench::json::Json;
use stdbox_bench::order::Order;
use stdbox_bench::process::{Program, null};
use stdbox_bench::statistics::{difference, median, ratio};
use stdbox_bench::table::{Table, cell};

use crate::{Arguments, Measured};

/// A start is short, so there can be many.
const TIMES: usize = 25;

pub(crate) fn measure(arguments: &Arguments) -> Measured {
    let rounds = arguments.runs * TIMES;
    let null = null()?;
    let null = null.as_fd();
    let mut working = vec![
        (
            "nothing",
            Program::new(&beside("nothing")?, &[""; 0])?,
            Vec::new(),
        ),
        (
            "stdbox --version",
            Program::new(&arguments.places.stdbox, &["--version"])?,
            Vec::new(),
        ),
    ];
    let mut order = Order::default();
    for _ in 0..rounds {
        order.shuffle(&mut working);
        for (name, program, times) in &mut working {
            let (time, status) = program.time([null, null, null])?;
            if !status.success() {
                return Err(format!("{name}: {status}").into());
            }
            times.push(time);
        }
    }
    working.sort_by_key(|(name, _, _)| *name != "nothing");
    let baseline = working
        .first()
        .map(|(_, _, times)| times.clone())
        .unwrap_or_default();
    let title = format!("{rounds} rounds, medians");
    let mut table = Table::new(title, &["program", "us", "x nothing", "us more"]);
    let mut rows = Vec::new();
    for (name, _, times) in &working {
        let ratio = ratio(times, &baseline);
        let more = difference(times, &baseline);
        table.row(vec![
            (*name).to_owned(),
            cell(median(times).map(|time| time * 1e6), 0),
            cell(ratio, 3),
            cell(more.map(|time| time * 1e6), 0),
        ]);
        rows.push(Json::Object(vec![
            ("program", (*name).into()),
            ("median_s", median(times).into()),
            ("x_nothing", ratio.into()),
            ("more_s", more.into()),
        ]));
    }
    Ok((table, Json::List(rows)))
}
