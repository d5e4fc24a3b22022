//! Bytes → job, as `stdbox check` does. A refusal says what is wrong and where; an accepted job is one for the schema too, and
//! its normal form is the same job.

use jsonschema::Validator;
use serde_json::Value;
use std::cell::RefCell;
use stdbox::job::{Channels, Job, id_of};
use stdbox::outcome::{Outcome, Verdict};
use stdbox::problem::{Code, Problem, Stage};
use stdbox::report::{Report, Timing};

struct Schemas {
    job: Validator,
    report: Validator,
}

thread_local! {
    static SCHEMAS: Schemas = Schemas {
        job: validator(include_str!("../../../schema/job.json")),
        report: validator(include_str!("../../../schema/report.json")),
    };
    /// How many refusals were reported.
    static REFUSED: RefCell<u64> = const { RefCell::new(0) };
}

fn validator(schema: &str) -> Validator {
    let schema = serde_json::from_str(schema).expect("JSON");
    jsonschema::draft202012::new(&schema).expect("a schema")
}

fn accepted(validator: &Validator, value: &Value) {
    // Naming what is wrong takes longer than finding that something is.
    if !validator.is_valid(value) {
        let complaints: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        panic!("{complaints:?}\n{value}");
    }
}

pub fn run(data: &[u8]) {
    let id = id_of(data);
    let verdict = match Job::from_slice(data, Channels::STANDARD) {
        Err(problem) => {
            refused(data, &problem);
            // Refusals are alike, and the schema of reports is large.
            let count = REFUSED.with_borrow_mut(|count| {
                *count += 1;
                *count
            });
            if count % 16 != 1 {
                return;
            }
            Verdict::InvalidJob(problem)
        }
        Ok(job) => {
            assert_eq!(job.id, id);
            normal(data, &job);
            Verdict::Valid(Box::new(job.normalised()))
        }
    };
    let bytes = Report::new(id.as_deref(), &Outcome::before(verdict), Timing::default()).to_bytes();
    let (end, line) = bytes.split_last().expect("a line");
    assert!(*end == b'\n' && !line.contains(&b'\n'), "one line");
    let report = serde_json::from_slice(line).expect("JSON");
    SCHEMAS.with(|schemas| accepted(&schemas.report, &report));
}

/// What a refusal must say.
fn refused(data: &[u8], problem: &Problem) {
    assert_ne!(problem.code, Code::Internal, "{problem:?}");
    assert!(
        matches!(problem.stage, Stage::Parse | Stage::Validate),
        "{problem:?}"
    );
    assert!(problem.message.ends_with('.'), "{problem:?}");
    let Some(at) = &problem.at else {
        let whole = matches!(problem.code, Code::Syntax | Code::TooLarge);
        return assert!(whole, "it belongs to a field: {problem:?}");
    };
    // A number that is too large for JSON's reader is one that the other cannot read either.
    let Ok(mut value) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    if problem.code == Code::DuplicateKey {
        // The other reader keeps the last one.
        return assert!(at.starts_with('/'), "{problem:?}");
    }
    // What the schema says itself, the parser has no other opinion of. Of numbers and words it says less: which of them belong
    // together, and which words the kernel knows.
    let of_form = matches!(
        problem.code,
        Code::UnknownField | Code::MissingField | Code::WrongType | Code::Empty
    );
    let fits = of_form && SCHEMAS.with(|schemas| schemas.job.is_valid(&value));
    assert!(at.is_empty() || at.starts_with('/'), "{problem:?}");
    // It names what is there, or what is missing in what is there.
    let mut segments = at.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        let inner = match &mut value {
            Value::Object(map) => map.remove(&segment),
            Value::Array(list) => segment
                .parse()
                .ok()
                .filter(|&i: &usize| i < list.len())
                .map(|i| list.swap_remove(i)),
            _ => None,
        };
        match inner {
            Some(inner) => value = inner,
            None => {
                let missing = segments.peek().is_none() && problem.code == Code::MissingField;
                assert!(missing, "there is no {segment:?}: {problem:?}");
                return assert!(!fits, "the schema accepts it: {problem:?}");
            }
        }
    }
    // 1.0 is an integer for a schema.
    assert!(
        !fits || value.is_f64(),
        "the schema accepts it: {problem:?}"
    );
}

/// A job, and what is written of it.
fn normal(data: &[u8], job: &Job) {
    let given = serde_json::from_slice(data).expect("JSON, as it was read");
    SCHEMAS.with(|schemas| accepted(&schemas.job, &given));
    let normal = job.normalised();
    let text = serde_json::to_vec(&normal).expect("JSON");
    let written = serde_json::from_slice(&text).expect("JSON");
    SCHEMAS.with(|schemas| accepted(&schemas.job, &written));
    let again = match Job::from_slice(&text, Channels::STANDARD) {
        Ok(again) => again,
        Err(problem) => panic!("{problem:?}\n{written}"),
    };
    assert_eq!(again.normalised(), normal, "{written}");
    let same = without_origin(job) == without_origin(&again);
    assert!(same, "{job:?}\n{again:?}");
}

/// All of a job but where in its text the directories were named.
fn without_origin(job: &Job) -> String {
    let mut job = job.clone();
    job.directories
        .values_mut()
        .for_each(|directory| directory.at = None);
    format!("{job:?}")
}
