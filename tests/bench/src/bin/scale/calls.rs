//! System calls of a whole start, until the target is executed and after it has ended: what strace(1) sees, less the target's own.

use std::collections::BTreeMap;
use std::fs::{read, remove_file};

use stdbox_bench::json::Json;
use stdbox_bench::launchers::{Launcher, NAMES, found};
use stdbox_bench::table::Table;

use crate::{Arguments, Measured};

const PROGRAM: &str = "/bin/true";

pub(crate) fn measure(arguments: &Arguments) -> Measured {
    let strace = found("strace");
    let title = "system calls of one start, without those of /bin/true itself";
    let headings = ["launcher", "calls", "first process", "others", "processes"];
    let mut table = Table::new(title.to_owned(), &headings);
    let mut rows = Vec::new();
    if !strace.is_absolute() {
        table.note("LEFT OUT all of it: strace is not installed");
        return Ok((table, Json::Null));
    }
    let output = std::env::temp_dir().join(format!("stdbox-bench-calls-{}", std::process::id()));
    let path = output.to_string_lossy().into_owned();
    let options = ["-f", "-qq", "-o", &path].map(str::to_owned);
    for name in NAMES {
        let launcher = Launcher::new(name, &arguments.places, &[PROGRAM])?;
        if let Err(why) = launcher.try_once() {
            let first = why.lines().next().unwrap_or_default();
            table.note(&format!("LEFT OUT {name}: {first}"));
            continue;
        }
        let status = launcher.run_below(&strace, &options)?;
        let trace = read(&output)?;
        remove_file(&output)?;
        if !status.success() {
            table.note(&format!("LEFT OUT {name}: {status} below strace"));
            continue;
        }
        let (first, others, processes) = count(&String::from_utf8_lossy(&trace));
        let numbers = [first + others, first, others, processes].map(|number| number.to_string());
        table.row([name.to_owned()].into_iter().chain(numbers).collect());
        rows.push(Json::Object(vec![
            ("launcher", name.into()),
            ("first_process", first.into()),
            ("others", others.into()),
            ("processes", processes.into()),
        ]));
    }
    Ok((table, Json::List(rows)))
}

/// Calls of the first process and of all others, and how many processes made any.
fn count(trace: &str) -> (usize, usize, usize) {
    let mut first = None;
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    let mut target = None;
    let executes = format!("execve(\"{PROGRAM}\"");
    for line in trace.lines() {
        let Some((process, event)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let event = event.trim_start();
        first = first.or(Some(process));
        // The second half of a call that another process's call came between, a signal, or an end.
        let other = ["<...", "---", "+++"]
            .iter()
            .any(|mark| event.starts_with(mark));
        if other || target == Some(process) {
            continue;
        }
        *calls.entry(process).or_default() += 1;
        if event.starts_with(&executes) {
            target = Some(process);
        }
    }
    let own = first
        .and_then(|first| calls.get(first))
        .copied()
        .unwrap_or(0);
    (own, calls.values().sum::<usize>() - own, calls.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_takes_each_call_once_and_none_of_the_target() {
        let trace = "10 execve(\"/x\", [\"x\"]) = 0\n\
            10 clone3({flags=0}, 88 <unfinished ...>\n\
            11    getpid() = 1\n\
            10 <... clone3 resumed>) = 11\n\
            11    execve(\"/bin/true\", [\"/bin/true\"]) = 0\n\
            11    brk(NULL) = 0x1\n\
            11    +++ exited with 0 +++\n\
            10 --- SIGCHLD {} ---\n\
            10 wait4(-1, NULL, 0, NULL) = 11\n";
        assert_eq!(count(trace), (3, 2, 2));
    }
}
