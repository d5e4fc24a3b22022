//! How long programs are. The kernel runs one once for every number when it is attached; as a list of names it would be
//! thirty instructions and more for each.

use crate::interpreter::{AUDIT_AARCH64, AUDIT_ARM, AUDIT_I386, AUDIT_X86_64, Call, run};
use crate::oci::engine;
use stdbox::policy::{Compiled, Machine, builtin, compile};

/// Mean in hundredths of an instruction, and the most for any number.
fn cost(compiled: &Compiled, architecture: u32) -> (usize, usize) {
    let steps = |number| run(&compiled.program, &Call::new(architecture, number)).1;
    let (total, longest) = (0..512)
        .map(steps)
        .fold((0, 0), |(sum, most), n| (sum + n, most.max(n)));
    (total * 100 / 512, longest)
}

/// How many comparisons with what was just loaded go on with the same load.
fn loaded_twice(compiled: &Compiled) -> usize {
    const LOAD: u16 = 0x20;
    const COMPARISONS: [u16; 3] = [0x15, 0x25, 0x35];
    let program = &compiled.program;
    let twice = |i: usize, skip: u8| program.get(i + 2 + usize::from(skip)) == program.get(i);
    (0..program.len() - 1)
        .filter(|&i| program[i].code == LOAD && COMPARISONS.contains(&program[i + 1].code))
        .filter(|&i| twice(i, program[i + 1].jt) || twice(i, program[i + 1].jf))
        .count()
}

#[test]
fn programs_take_few_instructions_per_number() {
    for (machine, name, native, compat) in [
        (Machine::X86_64, "amd64", AUDIT_X86_64, AUDIT_I386),
        (Machine::Aarch64, "arm64", AUDIT_AARCH64, AUDIT_ARM),
    ] {
        let default = compile(&builtin::default(true), machine);
        let strict = compile(&builtin::strict(true), machine);
        let engine = compile(&engine(name, Some([6, 1, 0]), &[]), machine);
        for (what, compiled, architecture, mean, most) in [
            ("default", &default, native, 12_00, 40),
            ("default", &default, compat, 12_00, 40),
            ("strict", &strict, native, 14_00, 40),
            ("engine", &engine, native, 14_00, 40),
            ("engine", &engine, compat, 14_00, 40),
        ] {
            let seen = cost(compiled, architecture);
            assert_eq!(loaded_twice(compiled), 0, "{what} on {machine:?}");
            assert!(
                seen.0 < mean && seen.1 < most,
                "{what} on {machine:?}, {architecture:#x}: {seen:?}, {} in all",
                compiled.program.len()
            );
        }
    }
}
