//! What fuzzing begins with: inputs made of the examples, the cases and the schemas that are there for other reasons, so that
//! none of it is old; and the words that such inputs are made of.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use stdbox::job::{Channels, Job};
use stdbox::wire::{Call, Failure, Phase, Record, Rusage};

use crate::host::FakeHost;

/// Inputs for one target.
pub(crate) struct Seeds {
    /// Its name.
    pub(crate) target: &'static str,
    /// Each with a name.
    pub(crate) inputs: Vec<(String, Vec<u8>)>,
    /// What its inputs are made of.
    pub(crate) words: BTreeSet<String>,
}

/// The inputs of every target; `root` is stdbox's own folder.
pub(crate) fn all(root: &Path) -> Vec<Seeds> {
    let examples = files(&root.join("schema/examples"), "json");
    let cases = cases(&root.join("tests/cases"));
    let engine = read(&root.join("tests/filter/engine.json"));
    let schema = json(&read(&root.join("schema/job.json")));
    let of_jobs = schema_words(&schema);

    let jobs: Vec<_> = examples
        .iter()
        .map(|file| (name(file), read(file)))
        .chain(
            cases
                .iter()
                .map(|case| (case.name.clone(), case.job.clone())),
        )
        .collect();
    let facts: Vec<_> = cases
        .iter()
        .map(|case| (case.name.clone(), case.facts.clone()))
        .collect();
    let of_facts = document_words(facts.iter().map(|(_, text)| text.as_slice()));

    let filters = jobs.iter().filter_map(|(name, text)| {
        let filter = json(text)
            .get("seccomp")
            .filter(|filter| filter.is_object())?
            .to_string();
        Some((name.clone(), filter.into_bytes()))
    });
    let own = [br#"{"oci":"#, engine.as_slice(), b"}"].concat();
    let mut of_filters = of_jobs.clone();
    of_filters.extend(document_words([engine.as_slice()]));

    let planned = cases.iter().flat_map(|case| {
        let job = json(&case.job).to_string();
        let with = |rest: &[u8]| [job.as_bytes(), b"\n", rest].concat();
        [
            (format!("{}-host", case.name), with(&case.host)),
            (format!("{}-facts", case.name), with(&case.facts)),
        ]
    });
    let mut of_plans: BTreeSet<String> = of_jobs.union(&of_facts).cloned().collect();
    let lines = cases
        .iter()
        .flat_map(|case| case.host.split(|&b| b == b'\n'));
    of_plans.extend(lines.filter_map(|line| {
        let line = String::from_utf8_lossy(line);
        Some(format!("\n{} ", line.split_once(' ')?.0))
    }));

    let batch: Vec<u8> = jobs
        .iter()
        .flat_map(|(_, text)| format!("{}\n", json(text)).into_bytes())
        .collect();
    let patterns = jobs
        .iter()
        .flat_map(|(name, text)| patterns(name, &json(text)));
    let seeds = |target, inputs, words| Seeds {
        target,
        inputs,
        words,
    };
    let none = BTreeSet::new;
    vec![
        seeds("check", jobs.clone(), of_jobs),
        seeds("facts", facts, of_facts),
        seeds(
            "filter",
            filters.chain([("engine".to_owned(), own)]).collect(),
            of_filters,
        ),
        seeds(
            "lines",
            vec![(
                "batch".to_owned(),
                [b"\x07\x00\x3f\x01", batch.as_slice()].concat(),
            )],
            none(),
        ),
        seeds(
            "mountinfo",
            cases
                .iter()
                .map(|case| (case.name.clone(), case.mounts.clone()))
                .collect(),
            none(),
        ),
        seeds("pattern", patterns.collect(), none()),
        seeds("plan", planned.collect(), of_plans),
        seeds("wire", records(), none()),
    ]
}

/// A folder of `tests/cases/`.
struct Case {
    name: String,
    job: Vec<u8>,
    host: Vec<u8>,
    mounts: Vec<u8>,
    facts: Vec<u8>,
}

fn cases(folder: &Path) -> Vec<Case> {
    let folders = fs::read_dir(folder).expect("the cases");
    let mut folders: Vec<_> = folders
        .map(|entry| entry.expect("an entry").path())
        .collect();
    folders.retain(|path| path.join("job.json").exists());
    folders.sort();
    let case = |path: &PathBuf| {
        let job = read(&path.join("job.json"));
        let lines = path.join("host.txt");
        let host = FakeHost::read(&lines);
        let parsed = Job::from_slice(&job, Channels::default()).expect("a job");
        let (_, facts, _) = host.plan(&parsed);
        Case {
            name: format!("case-{}", name(path)),
            job,
            host: lines_of_host(&lines).into_bytes(),
            mounts: host.mountinfo(),
            facts: facts.to_bytes(),
        }
    };
    folders.iter().map(case).collect()
}

/// The text of a host with that of the others that it uses.
fn lines_of_host(file: &Path) -> String {
    let text = String::from_utf8(read(file)).expect("UTF-8");
    let line = |line: &str| match line.strip_prefix("use ") {
        Some(other) => lines_of_host(&file.with_file_name(other)),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// A job's result patterns, each with its working directory and a path that it may take.
fn patterns(name: &str, job: &Value) -> Vec<(String, Vec<u8>)> {
    let cwd = job["cwd"].as_str().unwrap_or("/");
    let patterns = job["results"]["patterns"].as_array();
    let patterns = patterns.into_iter().flatten().filter_map(Value::as_str);
    let input = |(i, pattern): (usize, &str)| {
        let path = pattern.replace("**", "a/b").replace('*', "c");
        let path = if path.starts_with('/') {
            path
        } else {
            format!("{cwd}/{path}")
        };
        (
            format!("{name}-{i}"),
            format!("{pattern}\n{cwd}\n{path}").into_bytes(),
        )
    };
    patterns.enumerate().map(input).collect()
}

/// Records of each kind, with each part of the work and each call.
fn records() -> Vec<(String, Vec<u8>)> {
    let failures = Phase::ALL.iter().zip(Call::ALL.iter().cycle());
    // Of steps that there are, and of one that there is not.
    let failures = failures.flat_map(|pair| [(0, pair), (7, pair), (u32::MAX, pair)]);
    let failures = failures.flat_map(|(index, (&phase, &call))| {
        let failure = Failure {
            phase,
            index,
            call,
            errno: 13,
        };
        [Record::Failed(failure), Record::Skipped(failure)]
    });
    let calls = Call::ALL.iter().map(|&call| {
        Record::Failed(Failure {
            phase: Phase::Step,
            index: 2,
            call,
            errno: 1,
        })
    });
    let end = Record::Exited {
        status: 256,
        at_ns: 3,
        rusage: Rusage::default(),
        scratch_bytes: 4096,
        job_cpu_ns: 5,
        last: true,
    };
    let others = [
        Record::Ready {
            at_ns: 1,
            waited_ns: 2,
        },
        Record::CpuTime { used_ns: 2 },
        end,
        Record::Garbled,
    ];
    let bytes = |records: Vec<Record>| records.iter().flat_map(Record::encode).collect();
    vec![
        ("phases".to_owned(), bytes(failures.collect())),
        ("calls".to_owned(), bytes(calls.collect())),
        ("others".to_owned(), bytes(others.into())),
    ]
}

/// Words of a schema: the keys and values that a document may have.
fn schema_words(schema: &Value) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    each(schema, &mut |key, value| match (key, value) {
        ("properties", Value::Object(map)) => words.extend(map.keys().map(|key| quoted(key))),
        ("enum", Value::Array(list)) => words.extend(list.iter().map(Value::to_string)),
        ("const" | "default" | "minimum" | "maximum", Value::String(_) | Value::Number(_)) => {
            words.extend([value.to_string()]);
        }
        _ => {}
    });
    words
}

/// Words of documents: their keys and short texts.
fn document_words<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for text in texts {
        each(&json(text), &mut |key, value| {
            words.insert(quoted(key));
            if let Value::String(_) = value {
                words.insert(value.to_string());
            }
        });
    }
    words
}

fn quoted(key: &str) -> String {
    Value::from(key).to_string()
}

/// Visits every pair of every object; what is in a list has its list's key.
fn each(value: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    fn below(key: &str, value: &Value, visit: &mut dyn FnMut(&str, &Value)) {
        match value {
            Value::Array(list) => list.iter().for_each(|value| {
                visit(key, value);
                below(key, value, visit);
            }),
            value => each(value, visit),
        }
    }
    if let Value::Array(_) = value {
        below("", value, visit);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        visit(key, value);
        below(key, value, visit);
    }
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("JSON")
}

/// The files of a folder that have this extension, or all for "".
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| extension.is_empty() || path.extension().is_some_and(|of| of == extension));
    files.sort();
    files
}

pub(crate) fn name(path: &Path) -> String {
    path.file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

pub(crate) fn read(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
