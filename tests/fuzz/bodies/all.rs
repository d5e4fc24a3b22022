//! One module for each target; its `run` takes any bytes and panics where something does not hold.

#[path = "check.rs"]
pub mod check;
#[path = "facts.rs"]
pub mod facts;
#[path = "filter.rs"]
pub mod filter;
#[path = "lines.rs"]
pub mod lines;
#[path = "mountinfo.rs"]
pub mod mountinfo;
#[path = "pattern.rs"]
pub mod pattern;
#[path = "plan.rs"]
pub mod plan;
#[path = "wire.rs"]
pub mod wire;

/// What a target does.
pub type Body = fn(&[u8]);

/// All of them by name.
pub const BODIES: [(&str, Body); 8] = [
    ("check", check::run),
    ("facts", facts::run),
    ("filter", filter::run),
    ("lines", lines::run),
    ("mountinfo", mountinfo::run),
    ("pattern", pattern::run),
    ("plan", plan::run),
    ("wire", wire::run),
];
