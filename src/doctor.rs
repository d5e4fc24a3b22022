//! `stdbox doctor`: which jobs are tried on a host, and what their reports mean. Ring 0.
//!
//! A host is not asked what it has; small jobs are run, each for one thing, by the very code that runs any job. What they fail
//! with is what a caller's job would fail with.

use crate::json::convert::Fields;
use crate::json::{self, Value};
use crate::remedy::{self, Remedy};
use crate::text::{AbsPath, Text};
use std::fmt::Write;

/// A job that needs one thing more than those before it.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Its name, and the code of what is found.
    pub name: &'static str,
    /// What is tried.
    tried: &'static str,
    /// What a caller goes without where it fails.
    costs: &'static str,
    /// Fields of the job.
    fields: &'static str,
    /// What else is special about it.
    kind: Special,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Special {
    Nothing,
    /// It has its scratch directory on disk.
    Disk,
    /// It runs stdbox, which runs stdbox.
    Nested,
}

const fn probe(
    name: &'static str,
    tried: &'static str,
    costs: &'static str,
    fields: &'static str,
) -> Probe {
    Probe {
        name,
        tried,
        costs,
        fields,
        kind: Special::Nothing,
    }
}

/// The one that tells whether this host is ready.
const DEFAULT_JOB: &str = "default-job";

/// All of them, simple ones first.
pub const PROBES: [Probe; 11] = [
    probe(
        "namespaces",
        "a container with the host's whole tree, network and /dev, and without a filter",
        "No job can run here.",
        r#"{"directories":{"/":"full-access"},"dev":"host","network":"host","seccomp":"off","system_config":false}"#,
    ),
    probe(
        "read-only",
        "the host's tree read-only, with a /dev of the container's own",
        "No job can have a read-only tree; with full access some may run.",
        r#"{"directories":{"/":"read-only"},"network":"host","seccomp":"off"}"#,
    ),
    probe(
        "network",
        "a network of the container's own",
        "Jobs run only with \"network\":\"host\".",
        r#"{"directories":{"/":"read-only"},"seccomp":"off"}"#,
    ),
    probe(
        "filter",
        "the default system call filter",
        "Jobs run only with \"seccomp\":\"off\".",
        r#"{"directories":{"/":"read-only"},"network":"host"}"#,
    ),
    probe(
        DEFAULT_JOB,
        "the default job: overlays of the host's directories",
        "Jobs run only where \"directories\" gives / another mode than overlay.",
        "{}",
    ),
    Probe {
        kind: Special::Disk,
        ..probe(
            "disk-scratch",
            "an overlay with its writes on disk",
            "\"scratch\":{\"directory\":…} cannot be used there: what jobs write takes memory.",
            r#"{"directories":{"/":"read-only","/usr":"overlay"}}"#,
        )
    },
    Probe {
        kind: Special::Nested,
        ..probe(
            "nesting",
            "stdbox in stdbox in stdbox, with \"proc\":\"nestable\"",
            "Jobs that make containers of their own (stdbox, bubblewrap, browsers) do not work.",
            r#"{"directories":{"/":"read-only"},"proc":"nestable"}"#,
        )
    },
    probe(
        "id-range",
        "many user and group ids in the container",
        "\"user\":{\"map\":\"range\"} cannot be used: apt-get, tar and su as root do not work inside.",
        r#"{"directories":{"/":"read-only"},"user":{"map":"range"}}"#,
    ),
    probe(
        "capabilities",
        "a target that keeps a capability",
        "\"capabilities\" cannot be used.",
        r#"{"directories":{"/":"read-only"},"capabilities":["CAP_NET_BIND_SERVICE"]}"#,
    ),
    probe(
        "limits",
        "limits on memory, processes and processors, in a control group of the job's own",
        "memory_bytes, processes and cpus cannot be limited; wall_time_ms, cpu_time_ms and output_bytes can.",
        r#"{"directories":{"/":"read-only"},"limits":{"memory_bytes":134217728,"processes":64,"cpus":1}}"#,
    ),
    probe(
        "fresh-sys",
        "a fresh /sys",
        "\"sys\":\"fresh\" cannot be used; the host's, read-only, can.",
        r#"{"directories":{"/":"read-only"},"sys":"fresh"}"#,
    ),
];

impl Probe {
    /// The text of its job. `program` is stdbox itself, where it has a path; `disk` a directory for scratch.
    #[must_use]
    pub fn job(&self, program: Option<&AbsPath>, disk: &AbsPath) -> Vec<u8> {
        let mut job = self.plain(program);
        match self.kind {
            Special::Nothing => {}
            Special::Disk => {
                let scratch = Fields::default().put("directory", disk).done();
                job = job.value("scratch", scratch);
            }
            Special::Nested => {
                let inner = around(program, self.plain(program).argv(program, true));
                return bytes(&around(program, inner));
            }
        }
        bytes(&job.argv(program, true))
    }

    fn plain(&self, program: Option<&AbsPath>) -> Fields {
        let value = json::parse(self.fields.as_bytes()).unwrap_or(Value::Null);
        let job = Fields::of(value).unwrap_or_default();
        let job = job.put("cwd", &AbsPath::root());
        // Where it lies in a directory that is hidden unless it has a mode, it gets one.
        let hidden = ["/tmp", "/run"].map(AbsPath::fixed);
        match program.and_then(AbsPath::parent) {
            Some(place) if hidden.iter().any(|top| top.contains(&place)) => job.shown(&place),
            _ => job,
        }
    }
}

/// A job that runs stdbox with this job.
fn around(program: Option<&AbsPath>, inner: Value) -> Value {
    let Value::Object(entries) = &inner else {
        return inner;
    };
    let others = |(key, _): &&(String, Value)| key != "argv" && key != "stdin";
    let mut job = Fields::default();
    for (key, value) in entries.iter().filter(others) {
        job = job.value(key, value.clone());
    }
    let text = Text(bytes(&inner));
    let stdin = Fields::default().put("text", &text).done();
    job.value("stdin", stdin).argv(program, false)
}

impl Fields {
    /// The same job, which runs stdbox: to say its version, or with its standard input.
    fn argv(self, program: Option<&AbsPath>, version: bool) -> Value {
        let mut argv = vec![match program {
            Some(program) => Text::from(program.bytes()),
            None => Text::from(b"true".as_slice()),
        }];
        if version && program.is_some() {
            argv.push(Text::from(b"--version".as_slice()));
        }
        self.put("argv", &argv).done()
    }

    /// The same job, which sees this directory.
    fn shown(mut self, place: &AbsPath) -> Self {
        let modes = self.take::<Value>("directories").ok().flatten();
        let modes = modes.and_then(|modes| Fields::of(modes).ok());
        let modes = modes.unwrap_or_default();
        let modes = modes.put(&place.lossy(), &"read-only".to_owned());
        self.value("directories", modes.done())
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    crate::report::line(value).unwrap_or_default()
}

/// How a probe ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// As it should.
    Works,
    /// With something left out.
    Degraded,
    /// Not at all.
    Fails,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Degraded => "degraded",
            Self::Fails => "fails",
        }
    }
}

/// What came of a probe.
#[derive(Debug)]
pub struct Finding {
    probe: Probe,
    /// How it ended.
    pub state: State,
    /// `error` of the report.
    error: Option<Value>,
    /// What was left out.
    degraded: Vec<Value>,
}

/// What an object has under this key.
fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let Value::Object(entries) = value else {
        return None;
    };
    entries
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    match field(value, key) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

impl Finding {
    /// Judges a report.
    #[must_use]
    pub fn new(probe: Probe, report: &[u8]) -> Self {
        let mut report = json::parse(report).unwrap_or(Value::Null);
        let mut degraded = Vec::new();
        // One in another tells in its output how it went.
        loop {
            if let Some(Value::List(notices)) = field(&report, "degraded") {
                degraded.extend(notices.iter().cloned());
            }
            let inner = field(&report, "stdout").map(|stdout| text(stdout, "text").to_owned());
            match inner.map(|inner| json::parse(inner.as_bytes())) {
                Some(Ok(inner @ Value::Object(_))) => report = inner,
                _ => break,
            }
        }
        let error = field(&report, "error")
            .filter(|error| **error != Value::Null)
            .cloned();
        // The container was made, and stdbox itself could not be found in it: another program may be.
        let made = |error: &Value| text(error, "stage") == "exec";
        let ended = text(&report, "outcome") == "exited";
        let state = match &error {
            Some(error) if !made(error) => State::Fails,
            None if !ended => State::Fails,
            _ if degraded.is_empty() => State::Works,
            _ => State::Degraded,
        };
        Self {
            probe,
            state,
            error: error.filter(|_| state == State::Fails),
            degraded,
        }
    }

    fn remedy(&self) -> Option<&'static Remedy> {
        remedy::of_hint(text(self.error.as_ref()?, "hint"))
    }

    fn to_value(&self) -> Value {
        let owned = |text: &str| text.to_owned();
        let mut finding = Fields::default()
            .put("code", &owned(self.probe.name))
            .put("state", &owned(self.state.word()))
            .put("tried", &owned(self.probe.tried));
        if self.state == State::Fails {
            finding = finding.put("costs", &owned(self.probe.costs));
        }
        if let Some(error) = &self.error {
            finding = finding.value("error", error.clone());
        }
        let steps = self.remedy().map_or(&[] as &[_], |remedy| remedy.steps);
        let step = |(on, does): &(&str, &str)| {
            Fields::default()
                .put("on", &owned(on))
                .put("do", &owned(does))
                .done()
        };
        finding
            .value("degraded", Value::List(self.degraded.clone()))
            .value("remedies", Value::List(steps.iter().map(step).collect()))
            .done()
    }
}

/// What is known of the host beside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Its kernel's release.
    pub kernel: String,
    /// stdbox itself, where it has a path.
    pub program: Option<AbsPath>,
    /// Whether LXCFS runs, which shows a container its own share of the machine.
    pub lxcfs: bool,
    /// Whether a memory file system holds `user.*` attributes (since Linux 6.6).
    pub tmpfs_xattr: bool,
}

/// Everything that was found.
#[derive(Debug)]
pub struct Examination {
    /// About the host.
    pub host: Host,
    /// Of all probes.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// Whether the default job would run.
    #[must_use]
    pub fn ready(&self) -> bool {
        let default = |finding: &&Finding| finding.probe.name == DEFAULT_JOB;
        let found = self.findings.iter().find(default);
        found.is_some_and(|finding| finding.state != State::Fails)
    }

    /// One line of JSON, as `schema/doctor.json` describes it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let findings = self.findings.iter().map(Finding::to_value).collect();
        let host = Fields::default()
            .put("kernel", &self.host.kernel)
            .put_some("program", self.host.program.as_ref())
            .put("lxcfs", &self.host.lxcfs)
            .put("tmpfs_xattr", &self.host.tmpfs_xattr);
        let all = Fields::default()
            .put("version", &crate::job::VERSION)
            .put("ready", &self.ready())
            .value("host", host.done())
            .value("findings", Value::List(findings));
        bytes(&all.done())
    }

    /// The same for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text_ = String::new();
        let mut line = |line: &str| {
            // Writing into memory cannot fail.
            let _written = writeln!(text_, "{line}");
        };
        line(&format!("Linux {}", self.host.kernel));
        let mut told = Vec::new();
        for finding in &self.findings {
            let Probe {
                name, tried, costs, ..
            } = finding.probe;
            line(&format!("{:<9} {name}: {tried}", finding.state.word()));
            for notice in &finding.degraded {
                let (message, path) = (text(notice, "message"), text(notice, "path"));
                line(&format!("          {message} {path}"));
            }
            let Some(error) = &finding.error else {
                continue;
            };
            let (code, message) = (text(error, "code"), text(error, "message"));
            let (operation, errno) = (text(error, "operation"), text(error, "errno_name"));
            let said = match errno {
                "" => String::new(),
                _ => format!(" ({operation}: {errno})"),
            };
            line(&format!("          {code}: {message}{said}"));
            line(&format!("          {costs}"));
            let hint = text(error, "hint");
            // Once is enough.
            if hint.is_empty() || told.contains(&hint) {
                continue;
            }
            told.push(hint);
            line(&format!("          {hint}"));
            for (on, does) in finding.remedy().map_or(&[] as &[_], |remedy| remedy.steps) {
                line(&format!("          - {on}: {does}"));
            }
        }
        line(match self.ready() {
            true => "The default job runs here.",
            false => "The default job does not run here.",
        });
        text_
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;
    use crate::job::{Channels, Job};

    #[test]
    fn every_probe_is_a_job() {
        let disk = AbsPath::fixed("/var/tmp");
        for place in ["/usr/bin/stdbox", "/tmp/x/stdbox"] {
            let program = AbsPath::fixed(place);
            for probe in PROBES {
                let job = probe.job(Some(&program), &disk);
                let job = Job::from_slice(&job, Channels::default()).unwrap();
                let first = job.argv.first().map(|argument| argument.to_bytes());
                assert_eq!(first, Some(program.bytes()), "{}", probe.name);
                let shown = job.mode_of(&program) != crate::spec::Mode::Hidden;
                assert!(shown, "{}", probe.name);
            }
        }
        for probe in PROBES {
            Job::from_slice(&probe.job(None, &disk), Channels::default()).unwrap();
        }
    }

    #[test]
    fn a_report_is_judged_by_its_innermost_one() {
        let probe = PROBES[0];
        let state = |report: &str| Finding::new(probe, report.as_bytes()).state;
        let error = r#"{"stage":"mounts","code":"mount-refused","message":"m","hint":null}"#;
        let inner = format!(r#"{{"outcome":"setup-failed","error":{error},"degraded":[]}}"#);
        let outer = |inner: &str| {
            let text = inner.replace('\\', "\\\\").replace('"', "\\\"");
            format!(
                r#"{{"outcome":"exited","error":null,"degraded":[],"stdout":{{"text":"{text}"}}}}"#
            )
        };
        assert_eq!(state(&outer("stdbox 0.1.0")), State::Works);
        assert_eq!(state(&outer(&outer("stdbox 0.1.0"))), State::Works);
        assert_eq!(state(&outer(&outer(&inner))), State::Fails);
        assert_eq!(state(&inner), State::Fails);
        assert_eq!(
            state(&inner.replace("\"mounts\"", "\"exec\"")),
            State::Works
        );
        assert_eq!(
            state(r#"{"outcome":"cancelled","error":null}"#),
            State::Fails
        );
        assert_eq!(state(""), State::Fails);
        let some = r#"{"outcome":"exited","error":null,"degraded":[{"message":"m"}]}"#;
        assert_eq!(state(some), State::Degraded);
    }
}
