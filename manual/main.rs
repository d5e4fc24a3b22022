//! Makes the manual pages and the shells' completions, beside this file: `cargo run --example manual [-- --check]`.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a tool for who works on stdbox; what a JSON value lacks is null"
)]

mod completions;
mod fields;
mod pages;
mod roff;

use std::path::Path;
use std::process::ExitCode;

/// All files by name.
fn files(root: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("stdbox.1", pages::command()),
        ("stdbox-job.5", pages::format(root, "job")),
        ("stdbox-report.5", pages::format(root, "report")),
        ("stdbox.bash", completions::bash()),
        ("_stdbox", completions::zsh()),
        ("stdbox.fish", completions::fish()),
    ]
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let check = std::env::args().any(|argument| argument == "--check");
    let mut old = false;
    for (name, text) in files(root) {
        let path = root.join("manual").join(name);
        if !check {
            std::fs::write(&path, text).expect("the file can be written");
        } else if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            eprintln!(
                "{} is not what the tables give; run cargo run --example manual",
                path.display()
            );
            old = true;
        }
    }
    ExitCode::from(u8::from(old))
}
