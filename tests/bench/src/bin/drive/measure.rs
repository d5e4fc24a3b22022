//! Runs the launchers by turns.

use std::io;
use std::time::Duration;

use crate::launchers::Launcher;

/// The times of one launcher; the same index is the same round for all of them.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) times: Vec<Duration>,
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

pub(crate) fn by_turns(launchers: Vec<Launcher>, runs: usize) -> io::Result<Measured> {
    let mut measured = Measured::default();
    let mut working: Vec<(Launcher, Series)> = Vec::new();
    for mut launcher in launchers {
        let name = launcher.name;
        match launcher.try_once() {
            Ok(()) => working.push((
                launcher,
                Series {
                    name,
                    times: Vec::with_capacity(runs),
                },
            )),
            Err(why) => measured.left_out.push(LeftOut { name, why }),
        }
    }

    let mut order = Order::new();
    for round in 0..runs {
        order.shuffle(&mut working);
        let mut broken = None;
        for (launcher, series) in &mut working {
            let (time, status) = launcher.time_once()?;
            series.times.push(time);
            if !status.success() {
                let why = format!(
                    "{status} in round {} of {runs}, after working before",
                    round + 1
                );
                broken = Some(LeftOut {
                    name: launcher.name,
                    why,
                });
            }
        }
        // A launcher that fails now and then has no meaningful time, so all of its times go.
        if let Some(left_out) = broken {
            working.retain(|(launcher, _)| launcher.name != left_out.name);
            measured.left_out.push(left_out);
        }
    }

    measured.series = working.into_iter().map(|(_, series)| series).collect();
    Ok(measured)
}

/// A new order for each round: the kernel tears a network namespace down in the background, so in a fixed order
/// each launcher would pay for the one before it, and always for the same one.
#[derive(Debug)]
struct Order(u64);

impl Order {
    /// Always the same orders, so that two measurements differ in nothing that could be avoided.
    fn new() -> Order {
        Order(0x9e37_79b9_7f4a_7c15)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % end
    }
}
