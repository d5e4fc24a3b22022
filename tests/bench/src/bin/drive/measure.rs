//! Runs the launchers by turns.

use std::io;

use stdbox_bench::launchers::{NAMES, Places};
use stdbox_bench::order::Order;

use crate::Launcher;

const PROGRAM: [&str; 1] = ["/bin/true"];
/// Long enough to look at the launcher, which is waiting then.
const SLOW_PROGRAM: [&str; 2] = ["/bin/sleep", "0.5"];

/// The times of one launcher in seconds; the same index is the same round for all of them.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) times: Vec<f64>,
    pub(crate) peak_kib: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct LeftOut {
    pub(crate) name: &'static str,
    pub(crate) why: String,
}

#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) series: Vec<Series>,
    pub(crate) left_out: Vec<LeftOut>,
}

pub(crate) fn by_turns(
    names: impl Iterator<Item = &'static str>,
    places: &Places,
    runs: usize,
) -> io::Result<Measured> {
    let mut measured = Measured::default();
    let mut working: Vec<(Launcher, Series)> = Vec::new();
    for name in names {
        let launcher = Launcher::new(name, places, &PROGRAM)?;
        if let Err(why) = launcher.try_once() {
            measured.left_out.push(LeftOut { name, why });
            continue;
        }
        let peak_kib = Launcher::new(name, places, &SLOW_PROGRAM)?.peak_kib()?;
        let times = Vec::with_capacity(runs);
        working.push((
            launcher,
            Series {
                name,
                times,
                peak_kib,
            },
        ));
    }

    let mut order = Order::default();
    for round in 0..runs {
        order.shuffle(&mut working);
        let mut broken = Vec::new();
        for (launcher, series) in &mut working {
            let (time, status) = launcher.time_once()?;
            series.times.push(time);
            if !status.success() {
                let name = launcher.name;
                let why = format!(
                    "{status} in round {} of {runs}, after working before",
                    round + 1
                );
                broken.push(LeftOut { name, why });
            }
        }
        // A launcher that fails now and then has no meaningful time, so all of its times go.
        for left_out in broken {
            working.retain(|(launcher, _)| launcher.name != left_out.name);
            measured.left_out.push(left_out);
        }
    }

    measured.series = working.into_iter().map(|(_, series)| series).collect();
    let place = |series: &Series| NAMES.iter().position(|name| *name == series.name);
    measured.series.sort_by_key(place);
    Ok(measured)
}
