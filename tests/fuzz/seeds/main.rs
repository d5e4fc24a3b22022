//! Writes what fuzzing begins with below a folder: `cargo run --example seeds -- FOLDER`. Each target has `seeds/TARGET/` there,
//! and `TARGET.dict` where its inputs have words, in the form that libFuzzer and AFL++ read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a tool for who works on stdbox; what a JSON value lacks is null"
)]

#[path = "../../cases/host.rs"]
mod host;
mod made;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A longer word is refused by one of them.
const LONGEST: usize = 60;

fn main() {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.expect("usage: seeds FOLDER");
    for seeds in made::all(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        let place = folder.join("seeds").join(seeds.target);
        // One of an earlier day would stay.
        let _none = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).expect("the folder can be made");
        for (name, bytes) in seeds.inputs {
            fs::write(place.join(name), bytes).expect("the file can be written");
        }
        let words = seeds.words.iter().filter(|word| word.len() <= LONGEST);
        let text: String = words.map(|word| entry(word)).collect();
        if !text.is_empty() {
            let file = folder.join(format!("{}.dict", seeds.target));
            fs::write(file, text).expect("the file can be written");
        }
    }
}

/// A word as a line of the dictionary.
fn entry(word: &str) -> String {
    let mut text = String::from("\"");
    for byte in word.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("memory"),
        }
    }
    text + "\"\n"
}
