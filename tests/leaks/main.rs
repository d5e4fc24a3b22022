//! What thousands of jobs in a row leave behind, and hundreds whose stdbox is killed at random moments: nothing.
//!
//! A program of its own, since it counts what the kernel has, and other tests would be counted too. `cargo test` runs a small
//! version; `cargo test --test leaks -- --full` the one of the contract, 5,000 jobs and 500 killed, in each of its worlds:
//!
//! | world | what it is | what it can count |
//! |---|---|---|
//! | `plain` | where it was started | by name and ancestry, since other programs are about |
//! | `apart` (root only) | the real root with mounts, pids, IPC and network of its own | exactly; the kernel's object caches |
//! | `walled` | below a user namespace of its own | exactly; namespaces too, by limits of that namespace |
//!
//! Every check is seen to fail in each run: `planted.rs` leaves one thing of each kind behind. What is drawn at random
//! follows from a seed, which is printed and can be given: `--seed N`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::let_underscore_must_use,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    unreachable_pub,
    missing_docs,
    reason = "a test may stop at the first surprise"
)]
#![allow(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "processes are reaped, namespaces and objects of the kernel are made to be counted"
)]

#[path = "../support/mod.rs"]
mod support;

mod counted;
mod killing;
mod namespaces;
mod planted;
mod shapes;
mod supervisor;
mod world;

use counted::{Counted, Marks};
use shapes::Shapes;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use support::Fresh;
use world::World;

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub jobs: usize,
    pub killed: usize,
    pub seed: u64,
    pub full: bool,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)?.parse::<u64>().ok()
    };
    // cargo gives every test program the same words: names to choose from, and options that only a harness knows.
    let mut before = "";
    for word in &words {
        let is_value = [
            "--jobs",
            "--killed",
            "--seed",
            "--world",
            "--skip",
            "--test-threads",
            "--color",
            "--format",
        ]
        .contains(&before);
        if !word.starts_with('-') && !is_value && !"leaks".contains(word.as_str()) {
            return;
        }
        before = word;
    }
    if ["--list", "--ignored"]
        .iter()
        .any(|word| words.iter().any(|given| given == word))
    {
        return;
    }
    let full = words.iter().any(|word| word == "--full");
    let number =
        |name, small, large| value(name).map_or(if full { large } else { small }, |n| n as usize);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is right");
    let size = Size {
        jobs: number("--jobs", 50, 5000),
        killed: number("--killed", 20, 500),
        seed: value("--seed").unwrap_or_else(|| now.subsec_nanos().into()),
        full,
    };
    match words
        .iter()
        .position(|word| word == "--world")
        .and_then(|at| words.get(at + 1))
    {
        Some(name) => inside(World::named(name), size),
        None => {
            println!(
                "leaks: {} jobs and {} killed in each world, --seed {}",
                size.jobs, size.killed, size.seed
            );
            let worlds = if support::root() {
                [World::Apart, World::Walled]
            } else {
                [World::Plain, World::Walled]
            };
            for world in worlds {
                world.enter(size);
            }
        }
    }
}

/// Everything, in one world.
fn inside(world: World, size: Size) {
    let begun = Instant::now();
    let step = |what: &str| {
        println!(
            "leaks: {}: {what}, {:.1} s",
            world.name(),
            begun.elapsed().as_secs_f64()
        )
    };
    world.prepare();
    let scene = Fresh::new();
    let marks = Marks::new(&scene, world);
    let shapes = Shapes::new(&scene, world);
    // What is made once and stays, such as the work directory of an overlay, is no leak.
    for shape in shapes.all() {
        shape.run();
    }
    let before = Counted::settled(&marks);
    let caches = counted::caches();
    for shape in shapes.turns(size.jobs) {
        shape.run();
    }
    before.holds(&marks);
    step(&format!(
        "{} jobs of {} shapes left nothing",
        size.jobs,
        shapes.all().len()
    ));
    let report = killing::run(&shapes, size);
    before.holds(&marks);
    step(&report);
    counted::caches_hold(&caches, size.jobs + size.killed);
    supervisor::does_not_grow(&scene, size);
    before.holds(&marks);
    step("the supervisor of a busy job did not grow");
    planted::all(&marks, size);
    step("every check found what was planted");
}
