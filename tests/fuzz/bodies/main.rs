//! What is done with random bytes, and what must hold then, whatever they are. The programs in `targets/` have it done for
//! ever, and `tests/fuzz.rs` once with each file that is kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    reason = "what fuzzes stops at the first surprise, and shares files with tests that use more of them"
)]

#[path = "../../filter/evaluator.rs"]
mod evaluator;
#[path = "../../cases/host.rs"]
mod host;
#[path = "../../filter/interpreter.rs"]
mod interpreter;
#[path = "../../cases/view.rs"]
mod view;

mod all;
pub use all::*;
