//! `stdbox doctor`: runs the probes. Ring 1.

use crate::channel::Own;
use crate::cli::{Options, Place};
use crate::{facts, run};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use stdbox::doctor::{Examination, Finding, Host, PROBES};
use stdbox::host::{HostFacts, PathFact, Question};
use stdbox::outcome::Verdict;
use stdbox::text::AbsPath;

/// Runs all of them. A signal to stop ends it: then there is nothing to tell.
pub(crate) fn examine() -> Option<Examination> {
    let host = host();
    let disk = std::env::var_os("TMPDIR").and_then(|place| AbsPath::new(place.as_bytes()).ok());
    let disk = disk.unwrap_or_else(|| AbsPath::fixed("/var/tmp"));
    // The jobs are stdbox's own, and their reports go nowhere else.
    let options = Options {
        spec: Place::Standard,
        report: Place::Standard,
        propagate: false,
    };
    let own = Own::new(&options);
    let mut findings = Vec::with_capacity(PROBES.len());
    for probe in PROBES {
        let job = probe.job(host.program.as_ref(), &disk);
        let mut record = run::Record::default();
        let (outcome, report) = run::answer(Ok(job), own, None, &run::run, &mut record);
        if let Verdict::Cancelled = outcome.verdict {
            return None;
        }
        findings.push(Finding::new(probe, &report));
    }
    Some(Examination { host, findings })
}

fn host() -> Host {
    let mut facts = HostFacts::default();
    facts::answer(&mut facts, vec![Question::TmpfsXattr]);
    let lxcfs = facts::path_fact(&AbsPath::fixed("/var/lib/lxcfs/proc"));
    Host {
        kernel: facts::release(),
        program: program(),
        lxcfs: matches!(lxcfs, PathFact::Directory { .. }),
        tmpfs_xattr: facts.tmpfs_xattr == Some(true),
    }
}

/// stdbox itself, if a container can find it: a file that was replaced or removed has no path any more.
pub(crate) fn program() -> Option<AbsPath> {
    let path = fs::read_link("/proc/self/exe").ok()?;
    let path = AbsPath::new(path.as_os_str().as_bytes()).ok()?;
    fs::metadata(OsStr::from_bytes(path.bytes())).ok()?;
    Some(path)
}
