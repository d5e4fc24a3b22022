//! The report, and how all JSON is written. Ring 0.

use crate::outcome::{Captured, Outcome, Verdict};
use crate::plan::Plan;
use crate::problem::{Notice, Problem};
use crate::results::{Change, Results};
use crate::spec::Spec;
use crate::text::base64_encode;
use crate::wire::Rusage;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::io;

/// The whole report, in the order of the contract.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    version: u64,
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    outcome: &'static str,
    exit_code: Option<i32>,
    signal: Option<i32>,
    limit: Option<&'static str>,
    error: Option<&'a Problem>,
    usage: Usage,
    timing: Timing,
    stdout: Option<Stream<'a>>,
    stderr: Option<Stream<'a>>,
    results: Option<&'a Results>,
    changes: Option<&'a [Change]>,
    warnings: &'a [Notice],
    degraded: &'a [Notice],
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rusage: Option<Rusage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a Spec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a Plan>,
}

#[derive(Debug, Default, Serialize)]
struct Usage {
    wall_ns: u64,
    cpu_user_ns: u64,
    cpu_system_ns: u64,
    max_rss_bytes: u64,
    minor_faults: u64,
    major_faults: u64,
    voluntary_switches: u64,
    involuntary_switches: u64,
    block_reads: u64,
    block_writes: u64,
    memory_peak_bytes: Option<u64>,
    processes_peak: Option<u64>,
    throttled_ns: Option<u64>,
    io_read_bytes: Option<u64>,
    io_write_bytes: Option<u64>,
    scratch_bytes: u64,
}

/// Where stdbox's own time went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Timing {
    /// Reading and checking the job.
    pub parse_ns: u64,
    /// Looking at the host.
    pub facts_ns: u64,
    /// Planning.
    pub plan_ns: u64,
    /// From the start of the container to just before `execve`.
    pub setup_ns: u64,
    /// The target.
    pub run_ns: u64,
    /// From the end of the target to the end of the container.
    pub teardown_ns: u64,
}

#[derive(Debug)]
struct Stream<'a>(&'a Captured);

impl Serialize for Stream<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(3))?;
        match std::str::from_utf8(&self.0.kept) {
            Ok(text) => map.serialize_entry("text", text)?,
            Err(_) => map.serialize_entry("base64", &base64_encode(&self.0.kept))?,
        }
        map.serialize_entry("bytes", &self.0.bytes)?;
        map.serialize_entry("truncated", &(self.0.bytes > self.0.kept.len() as u64))?;
        map.end()
    }
}

impl<'a> Report<'a> {
    /// The report of a job that was run, or could not be.
    #[must_use]
    pub fn new(id: Option<&'a str>, outcome: &'a Outcome, timing: Timing) -> Self {
        let target = outcome.target.as_ref();
        let rusage = target.map(|target| target.rusage);
        let r = rusage.unwrap_or_default();
        let figures = outcome.figures.as_ref();
        let (word, limit, error) = match &outcome.verdict {
            Verdict::Exited(_) => ("exited", None, None),
            Verdict::Signaled(_) => ("signaled", None, None),
            Verdict::LimitExceeded(limit) => ("limit-exceeded", Some(limit.as_str()), None),
            Verdict::Cancelled => ("cancelled", None, None),
            Verdict::SetupFailed(problem) => ("setup-failed", None, Some(problem)),
            Verdict::InvalidJob(problem) => ("invalid-job", None, Some(problem)),
            Verdict::Valid(_) => ("valid", None, None),
            Verdict::Planned(_) => ("planned", None, None),
        };
        Self {
            version: crate::job::VERSION,
            id,
            line: None,
            outcome: word,
            exit_code: target.and_then(|target| target.exit_code()),
            signal: target.and_then(|target| target.signal()),
            limit,
            error,
            usage: Usage {
                wall_ns: timing.run_ns,
                cpu_user_ns: figures.map_or(r.user_ns, |f| f.cpu_user_ns),
                cpu_system_ns: figures.map_or(r.system_ns, |f| f.cpu_system_ns),
                max_rss_bytes: r.max_rss_bytes,
                minor_faults: r.minor_faults,
                major_faults: r.major_faults,
                voluntary_switches: r.voluntary_switches,
                involuntary_switches: r.involuntary_switches,
                block_reads: r.block_reads,
                block_writes: r.block_writes,
                memory_peak_bytes: figures.and_then(|f| f.memory_peak_bytes),
                processes_peak: figures.and_then(|f| f.processes_peak),
                throttled_ns: figures.and_then(|f| f.throttled_ns),
                io_read_bytes: figures.and_then(|f| f.io_read_bytes),
                io_write_bytes: figures.and_then(|f| f.io_write_bytes),
                scratch_bytes: target.map_or(0, |target| target.scratch_bytes),
            },
            timing,
            stdout: outcome.stdout.as_ref().map(Stream),
            stderr: outcome.stderr.as_ref().map(Stream),
            results: outcome.results.as_ref(),
            changes: outcome.changes.as_deref(),
            warnings: &outcome.warnings,
            degraded: &outcome.degraded,
            wait_status: target.map(|target| target.status),
            rusage,
            job: match &outcome.verdict {
                Verdict::Valid(job) => Some(job),
                _ => None,
            },
            plan: match &outcome.verdict {
                Verdict::Planned(plan) => Some(plan),
                _ => None,
            },
        }
    }

    /// The same for a job of a batch: the number of its line.
    #[must_use]
    pub fn at_line(self, line: Option<u64>) -> Self {
        Self { line, ..self }
    }

    /// One line of JSON with its newline.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        line(self).unwrap_or_else(|| {
            // Writing these types into memory cannot fail; should it, the caller still gets a report.
            let words = br#"{"version":1,"id":null,"outcome":"setup-failed","error":{"code":"internal","stage":"report","message":"The report could not be built."}}"#;
            [words, b"\n".as_slice()].concat()
        })
    }
}

/// A value as one line of JSON with its newline.
pub(crate) fn line<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1024);
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, Harmless);
    value.serialize(&mut writer).ok()?;
    bytes.push(b'\n');
    Some(bytes)
}

/// Where one of the bytes lies that begin what terminals or readers act on, but for those that JSON escapes anyway.
fn first_of_acted_on(bytes: &[u8]) -> Option<usize> {
    // To ask the processor what it can do takes longer than a look at what is short: in a virtual machine it is the host that
    // answers.
    if bytes.len() < 1024 {
        return bytes
            .iter()
            .position(|byte| matches!(byte, 0x7f | 0xc2 | 0xe2));
    }
    memchr::memchr3(0x7f, 0xc2, 0xe2, bytes)
}

/// JSON that may be shown in a terminal as it is: it asks for escapes below U+0020 only, but terminals obey the control
/// characters from U+0080 on as well, and some readers take U+2028 and U+2029 for the end of a line.
struct Harmless;

impl serde_json::ser::Formatter for Harmless {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let acted_on = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let bytes = fragment.as_bytes();
        let (mut done, mut from) = (0, 0);
        while let Some(at) = first_of_acted_on(bytes.get(from..).unwrap_or_default()) {
            let at = from + at;
            from = at + 1;
            let found = fragment.get(at..).and_then(|rest| rest.chars().next());
            let Some(c) = found.filter(|c| acted_on(*c)) else {
                continue;
            };
            let plain = fragment.get(done..at).unwrap_or_default();
            writer.write_all(plain.as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(c))?;
            done = at + c.len_utf8();
        }
        let rest = fragment.get(done..).unwrap_or_default();
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::line;

    #[test]
    fn text_that_terminals_act_on_is_escaped_at_any_length() {
        for length in [0, 10, 1000, 1024, 5000] {
            let x = "x".repeat(length);
            let text = format!("{x}\u{7f}\u{9b}\u{e9}{x}\u{2028}\u{20ac}\u{c2}");
            let written = String::from_utf8(line(&text).unwrap()).unwrap();
            let wanted = format!("\"{x}\\u007f\\u009b\u{e9}{x}\\u2028\u{20ac}\u{c2}\"\n");
            assert_eq!(written, wanted);
        }
    }
}
