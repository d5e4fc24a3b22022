//! Makes the programs of the built-in system call filters, so that no job waits for it, and says how the binary is linked.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a build that cannot go on stops"
)]

use library::policy::{Machine, Policy, builtin, compile};
use std::fmt::Write;

/// The pure part of the library that knows filters.
#[path = "src"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the library uses what is not used here"
)]
mod library {
    pub mod policy;
}

fn main() {
    println!("cargo::rerun-if-changed=src/policy.rs");
    println!("cargo::rerun-if-changed=src/policy");
    let machine = match std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("aarch64") => Machine::Aarch64,
        _ => Machine::X86_64,
    };
    let mut text = String::new();
    for (name, make) in [
        ("DEFAULT", builtin::default as fn(bool) -> Policy),
        ("STRICT", builtin::strict),
    ] {
        for init in [false, true] {
            let compiled = compile(&make(init), machine);
            assert!(
                compiled.starts && compiled.unknown.is_empty(),
                "{name} is not sound"
            );
            let suffix = if init { "_BELOW_INIT" } else { "" };
            let length = compiled.program.len();
            writeln!(
                text,
                "pub(super) static {name}{suffix}: [Instruction; {length}] = {:?};",
                compiled.program
            )
            .expect("a string takes everything");
        }
    }
    let directory = std::env::var("OUT_DIR").expect("cargo names it");
    std::fs::write(format!("{directory}/filters.rs"), text).expect("it can be written");
    link(&directory);
}

/// What ends at a panic has no use for the tables by which others unwind their stack: they were a fifteenth of the program.
fn link(directory: &str) {
    let set = |name: &str, end: &str| std::env::var(name).is_ok_and(|value| value.ends_with(end));
    if set("PROFILE", "release") && set("RUSTC_LINKER", "rust-lld") {
        let script = format!("{directory}/sections.ld");
        let text = "SECTIONS { /DISCARD/ : { *(.eh_frame) } } INSERT AFTER .text;\n";
        std::fs::write(&script, text).expect("it can be written");
        println!("cargo::rustc-link-arg-bins=--no-eh-frame-hdr");
        println!("cargo::rustc-link-arg-bins=-T{script}");
        // The start code of musl reads packed relocations, which are a hundredth of the others.
        println!("cargo::rustc-link-arg-bins=-zpack-relative-relocs");
        // What a job runs lies side by side, in half as many pages; `tests/order/run` finds it out. The names are those of one
        // compiler: where it is another one, the order is any, as without the file.
        let order = std::path::absolute("src/bin/stdbox/order.txt").expect("there is a directory");
        println!("cargo::rerun-if-changed={}", order.display());
        println!(
            "cargo::rustc-link-arg-bin=stdbox=--symbol-ordering-file={}",
            order.display()
        );
        println!("cargo::rustc-link-arg-bin=stdbox=--no-warn-symbol-ordering");
    }
}
