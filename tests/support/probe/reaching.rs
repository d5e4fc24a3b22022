//! What a target may try to reach other containers, or to outlive its own.

use serde_json::Value;

pub(crate) const HELP: &str = "";

pub(crate) fn act(words: &[&str]) -> Option<Value> {
    match *words {
        _ => None,
    }
}
