//! stdbox killed by SIGKILL at random moments of a job: everywhere alike, and more often while the container is built and while
//! it is taken down.

use crate::Size;
use crate::counted::nobody_is_left;
use crate::shapes::{Shape, Shapes};
use nix::libc;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = to.saturating_sub(from).as_nanos().max(1) as u64;
        from + Duration::from_nanos(self.next() % span)
    }
}

/// How often somebody is struck until it was in time.
const TRIES: usize = 5;

/// How long a job takes, and its parts.
#[derive(Clone, Copy)]
struct Times {
    whole: Duration,
    /// Until the target runs.
    set_up: Duration,
    /// From the target's end.
    taken_down: Duration,
}

impl Times {
    /// Anywhere, in the set-up, or while it is taken down.
    fn moment(&self, part: usize, random: &mut Random) -> Duration {
        match part {
            0 => random.between(Duration::ZERO, self.whole),
            1 => random.between(Duration::ZERO, self.set_up),
            _ => random.between(self.taken_down, self.whole),
        }
    }

    fn shorter(self) -> Self {
        let shorter = |time: Duration| time - time / 8;
        Self {
            whole: shorter(self.whole),
            set_up: shorter(self.set_up),
            taken_down: shorter(self.taken_down),
        }
    }
}

fn measure(shape: &Shape, tries: usize) -> Times {
    let measured = || {
        let begun = Instant::now();
        let report = shape.run();
        let whole = begun.elapsed();
        let part = |name: &str| Duration::from_nanos(report["timing"][name].as_u64().unwrap_or(0));
        let last = part("teardown_ns");
        // What no part says is the start and the end of stdbox itself, and the removal of a scratch on disk.
        Times {
            whole,
            set_up: whole.saturating_sub(part("run_ns") + last),
            taken_down: whole.saturating_sub(last + whole / 8),
        }
    };
    let mut all: Vec<_> = (0..tries).map(|_| measured()).collect();
    all.sort_by_key(|times| times.whole);
    all[tries / 2]
}

/// Kills it after a while; says whether it had not ended by itself.
fn strike(shape: &Shape, delay: Duration) -> bool {
    let begun = Instant::now();
    let mut child = shape.begin();
    while begun.elapsed() < delay {
        let left = delay.saturating_sub(begun.elapsed());
        if left > Duration::from_micros(300) {
            std::thread::sleep(left - Duration::from_micros(200));
        }
    }
    child
        .kill()
        .expect("a child can be killed until it is waited for");
    let status = child.wait().expect("it is a child");
    status.signal() == Some(libc::SIGKILL)
}

/// Says where the blows fell.
pub fn run(shapes: &Shapes, size: Size) -> String {
    let mut random = Random::new(size.seed);
    let struck: Vec<_> = shapes
        .turns(2 * size.killed)
        .filter(|shape| shape.starts())
        .take(size.killed)
        .collect();
    let tries = if size.full { 3 } else { 1 };
    let mut times = BTreeMap::new();
    for shape in &struck {
        times
            .entry(shape.name)
            .or_insert_with(|| measure(shape, tries));
    }
    let (mut hit, mut late) = ([0, 0, 0], 0);
    for (n, shape) in struck.iter().enumerate() {
        let part = n % 3;
        for _ in 0..TRIES {
            let delay = times[shape.name].moment(part, &mut random);
            let in_time = strike(shape, delay);
            nobody_is_left(&format!(
                "killed number {n}, {}, after {delay:?}, --seed {}",
                shape.name, size.seed
            ));
            if in_time {
                hit[part] += 1;
                break;
            }
            late += 1;
            // The machine had more to do when it was measured.
            if let Some(times) = times.get_mut(shape.name) {
                *times = times.shorter();
            }
        }
    }
    let count: usize = hit.iter().sum();
    assert!(
        count * 2 >= size.killed && hit.iter().take(size.killed).all(|count| *count > 0),
        "most must be killed in time: {hit:?}, {late} too late"
    );
    let mut again: BTreeSet<_> = times.into_keys().collect();
    // Only a scratch on disk may be left, until the next run in the same place; and what a target itself wrote, with full access,
    // and had no time to remove.
    for shape in struck.iter().filter(|shape| again.remove(shape.name)) {
        shape.run();
    }
    format!(
        "{count} killed left nothing ({} anywhere, {} in set-up, {} in taking down; {late} had ended)",
        hit[0], hit[1], hit[2]
    )
}
