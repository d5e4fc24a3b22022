//! What a target may try against other processes, their descriptors and its own program.

use serde_json::Value;

pub(crate) const HELP: &str = "";

pub(crate) fn act(words: &[&str]) -> Option<Value> {
    match *words {
        _ => None,
    }
}
