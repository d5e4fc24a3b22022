//! The rules for single fields, in the order of the contract. Ring 0.

use super::{
    Channels, Checked, Directory, Env, Input, Job, Limits, Output, Rlimit, Scratch, Seccomp, User,
    Wanted,
};
use crate::capability::Capabilities;
use crate::json::Place;
use crate::pattern::{MAX_BYTES, Pattern, PatternFault};
use crate::problem::{Code, Problem};
use crate::profile::{Profile, oci};
use crate::spec::filter::{SeccompObject, SeccompWord};
use crate::spec::{self, IdMap, Inherit, Mode, ProcMode, Sys, WordOr};
use crate::sync::Sync;
use crate::text::{AbsPath, PathFault, Text, quote};
use std::collections::BTreeMap;
use std::ffi::CString;

pub(super) const MAX_SIZE: u64 = i64::MAX.unsigned_abs();
const MAX_MS: u64 = MAX_SIZE / 1_000_000;
const MAX_FD: u32 = 1 << 20;
pub(super) const DEFAULT_CAPTURE: u64 = 1 << 20;
const MAX_CAPTURE: u64 = 1 << 30;

pub(super) fn bounded<'a>(length: usize, most: usize, at: impl Into<Place<'a>>) -> Checked<()> {
    if length > most {
        return Err(Problem::at(
            Code::TooLong,
            at.into(),
            format!("{length} bytes are more than the {most} that fit here."),
        ));
    }
    Ok(())
}

pub(super) fn in_range(value: u64, least: u64, most: u64, at: &str) -> Checked<u64> {
    if value < least || value > most {
        return Err(Problem::at(
            Code::OutOfRange,
            at,
            format!("{value} is not between {least} and {most}."),
        ));
    }
    Ok(value)
}

fn with_nul(at: Place<'_>) -> Problem {
    let message = "A string that goes to the kernel cannot hold a NUL byte.";
    Problem::at(Code::NulByte, at, message)
}

fn c_string(bytes: Vec<u8>, at: Place<'_>) -> Checked<CString> {
    CString::new(bytes).map_err(|_| with_nul(at))
}

fn without_nul(bytes: &[u8], at: Place<'_>) -> Checked<()> {
    if bytes.contains(&0) {
        return Err(with_nul(at));
    }
    Ok(())
}

pub(super) fn file_path<'a>(text: &Text, at: impl Into<Place<'a>>) -> Checked<CString> {
    let at = at.into();
    if text.0.is_empty() {
        return Err(Problem::at(Code::Empty, at, "A path cannot be empty."));
    }
    bounded(text.0.len(), 4095, at)?;
    c_string(text.0.clone(), at)
}

pub(super) fn abs_path<'a>(text: &Text, at: impl Into<Place<'a>>) -> Checked<AbsPath> {
    AbsPath::new(&text.0).map_err(|fault| {
        let (code, message) = match fault {
            PathFault::Empty => (Code::Empty, "A path cannot be empty."),
            PathFault::Nul => (Code::NulByte, "A path cannot hold a NUL byte."),
            PathFault::NotAbsolute => (
                Code::NotAbsolute,
                "The path must be absolute: it must begin with a slash.",
            ),
            PathFault::Parent => (
                Code::ParentComponent,
                "A path with a \"..\" component is not taken here.",
            ),
            PathFault::TooLong => (Code::TooLong, "The path is longer than the kernel takes."),
        };
        Problem::at(code, at.into(), message).path(&text.0)
    })
}

pub(super) fn argv(args: Option<Vec<Text>>) -> Checked<Vec<CString>> {
    let Some(args) = args else {
        return Err(Problem::at(
            Code::MissingField,
            "/argv",
            "The field \"argv\" is missing.",
        ));
    };
    match args.first() {
        None => {
            return Err(Problem::at(
                Code::Empty,
                "/argv",
                "The command line is empty.",
            ));
        }
        Some(first) if first.0.is_empty() => {
            return Err(Problem::at(
                Code::Empty,
                "/argv/0",
                "The name of the command is empty.",
            ));
        }
        Some(_) => {}
    }
    // MAX_ARG_STRLEN of execve(2): the kernel refuses a longer single string.
    args.into_iter()
        .enumerate()
        .map(|(i, arg)| {
            let at = Place::Item("/argv", i);
            bounded(arg.0.len(), 131_071, at)?;
            c_string(arg.0, at)
        })
        .collect()
}

pub(super) fn env(spec: spec::EnvSpec) -> Checked<Env> {
    let is_name = |bytes: &[u8], at: Place<'_>| {
        if bytes.is_empty() {
            return Err(Problem::at(
                Code::Empty,
                at,
                "The name of a variable cannot be empty.",
            ));
        }
        if bytes.contains(&b'=') {
            return Err(Problem::at(
                Code::BadName,
                at,
                "The name of a variable cannot hold \"=\".",
            ));
        }
        // With its equals sign it is one string for execve(2).
        bounded(bytes.len(), 131_070, at)?;
        without_nul(bytes, at)
    };
    let names = |list: Vec<Text>, at: &str| -> Checked<Vec<Vec<u8>>> {
        let numbered = list.into_iter().enumerate();
        numbered
            .map(|(i, text)| is_name(&text.0, Place::Item(at, i)).map(|()| text.0))
            .collect()
    };
    let wanted = spec.set.map_or_else(Vec::new, |entries| entries.0);
    let mut set = Vec::with_capacity(wanted.len());
    for (key, value) in wanted {
        let at = Place::Key("/env/set", &key);
        bounded(key.len() + value.0.len() + 1, 131_071, at)?;
        without_nul(&value.0, at)?;
        is_name(key.as_bytes(), at)?;
        set.push((key.into_bytes(), value.0));
    }
    Ok(Env {
        inherit: match spec.inherit {
            None | Some(Inherit::All(true)) => None,
            Some(Inherit::All(false)) => Some(Vec::new()),
            Some(Inherit::Names(list)) => Some(names(list, "/env/inherit")?),
        },
        set,
        unset: names(spec.unset.unwrap_or_default(), "/env/unset")?,
    })
}

pub(super) fn one_of(at: &str, given: &[bool], words: &str) -> Checked<()> {
    match given.iter().filter(|given| **given).count() {
        1 => Ok(()),
        0 => Err(Problem::at(
            Code::MissingField,
            at,
            format!("One of {words} must be given."),
        )),
        _ => Err(Problem::at(
            Code::Contradiction,
            at,
            format!("Only one of {words} can be given."),
        )),
    }
}

pub(super) fn descriptor(fd: u32, at: &str) -> Checked<i32> {
    let fd = in_range(fd.into(), 0, (MAX_FD - 1).into(), at)?;
    Ok(i32::try_from(fd).unwrap_or(i32::MAX))
}

pub(super) fn input(
    spec: Option<WordOr<spec::InputWord, spec::InputObject>>,
    taken: Taken,
) -> Checked<Input> {
    match spec {
        None | Some(WordOr::Word(spec::InputWord::Null)) => Ok(Input::Null),
        Some(WordOr::Word(spec::InputWord::Inherit)) => own(0, "/stdin", taken).map(Input::Fd),
        Some(WordOr::Object(o)) => {
            let given = [
                o.text.is_some(),
                o.base64.is_some(),
                o.file.is_some(),
                o.fd.is_some(),
            ];
            one_of("/stdin", &given, "\"text\", \"base64\", \"file\", \"fd\"")?;
            if let Some(text) = o.text {
                return Ok(Input::Bytes(text.into_bytes().into()));
            }
            if let Some(bytes) = o.base64 {
                return Ok(Input::Bytes(bytes.0.into()));
            }
            if let Some(path) = o.file {
                return file_path(&path, "/stdin/file").map(Input::File);
            }
            let fd = descriptor(o.fd.unwrap_or(0), "/stdin/fd")?;
            own(fd, "/stdin/fd", taken).map(Input::Fd)
        }
    }
}

/// Descriptors of the caller that stdbox needs itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// For the job and the report.
    pub(super) channels: Channels,
    /// For events and answers.
    pub(super) sync: Option<Sync>,
}

/// A descriptor that the job names, unless stdbox needs it itself. With one of the caller's for `sync` a job could let itself be
/// continued, or tell the caller of events that never were.
pub(super) fn own(fd: i32, at: &str, taken: Taken) -> Checked<i32> {
    let refuse = |message| Problem::at(Code::Contradiction, at, message);
    if taken.channels.spec == Some(fd) {
        Err(refuse(format!(
            "The job itself is read from descriptor {fd}, so it cannot be had here."
        ))
        .hint("Give the job with --spec FILE or --spec-fd N."))
    } else if taken.channels.report == Some(fd) {
        Err(refuse(format!(
            "The report is written to descriptor {fd}, so it cannot be had here."
        ))
        .hint("Send the report elsewhere with --report FILE or --report-fd N."))
    } else if taken
        .sync
        .is_some_and(|sync| sync.events == fd || sync.control == Some(fd))
    {
        Err(refuse(format!(
            "Descriptor {fd} belongs to \"sync\", so the target cannot have it."
        )))
    } else {
        Ok(fd)
    }
}

pub(super) fn output(
    spec: Option<WordOr<spec::OutputWord, spec::OutputObject>>,
    at: &str,
    fd: i32,
    taken: Taken,
) -> Checked<Output> {
    match spec {
        None => Ok(Output::Capture(DEFAULT_CAPTURE)),
        Some(WordOr::Word(spec::OutputWord::Null)) => Ok(Output::Null),
        Some(WordOr::Word(spec::OutputWord::Inherit)) => own(fd, at, taken).map(Output::Fd),
        Some(WordOr::Object(object)) => output_object(object, at, taken),
    }
}

pub(super) fn output_object(o: spec::OutputObject, at: &str, taken: Taken) -> Checked<Output> {
    one_of(
        at,
        &[o.capture.is_some(), o.file.is_some(), o.fd.is_some()],
        "\"capture\", \"file\", \"fd\"",
    )?;
    if o.append.is_some() && o.file.is_none() {
        return Err(Problem::at(
            Code::Contradiction,
            format!("{at}/append"),
            "\"append\" goes with \"file\" only.",
        ));
    }
    if let Some(capture) = o.capture {
        let at = format!("{at}/capture/max_bytes");
        return in_range(
            capture.max_bytes.unwrap_or(DEFAULT_CAPTURE),
            0,
            MAX_CAPTURE,
            &at,
        )
        .map(Output::Capture);
    }
    if let Some(path) = o.file {
        let path = file_path(&path, &format!("{at}/file"))?;
        return Ok(Output::File {
            path,
            append: o.append.unwrap_or(false),
        });
    }
    let at = format!("{at}/fd");
    let fd = descriptor(o.fd.unwrap_or(0), &at)?;
    own(fd, &at, taken).map(Output::Fd)
}

pub(super) fn directories(spec: spec::Directories) -> Checked<BTreeMap<AbsPath, Directory>> {
    let proc = AbsPath::fixed("/proc");
    let mut map: BTreeMap<AbsPath, Directory> = BTreeMap::new();
    for (i, (text, mode)) in spec.entries.into_iter().enumerate() {
        let at = match std::str::from_utf8(&text.0) {
            Ok(key) if !spec.list => Place::Key("/directories", key).into(),
            _ => format!("/directories/{i}/path"),
        };
        let path = abs_path(&text, &at)?;
        if proc.contains(&path) {
            return Err(Problem::at(
                Code::ProcDirectory,
                at,
                "/proc is always replaced, so it cannot have a mode.",
            )
            .path(path.bytes())
            .hint("See the field \"proc\"."));
        }
        if let Some(first) = map.get(&path) {
            let message = format!(
                "{} is named twice; first at {}.",
                path.lossy(),
                first.at.as_deref().unwrap_or("?")
            );
            return Err(Problem::at(Code::DuplicateDirectory, at, message).path(path.bytes()));
        }
        map.insert(path, Directory { mode, at: Some(at) });
    }
    for (path, mode) in [
        ("/", Mode::Overlay),
        ("/tmp", Mode::Hidden),
        ("/run", Mode::Hidden),
    ] {
        map.entry(AbsPath::fixed(path))
            .or_insert(Directory { mode, at: None });
    }
    Ok(map)
}

pub(super) fn scratch(spec: spec::ScratchSpec) -> Checked<Scratch> {
    if let Some(path) = spec.directory {
        if spec.size_bytes.is_some() || spec.inodes.is_some() || spec.numa_nodes.is_some() {
            return Err(Problem::at(
                Code::Contradiction,
                "/scratch",
                "\"size_bytes\", \"inodes\" and \"numa_nodes\" belong to the memory scratch, \"directory\" to a disk one.",
            ));
        }
        return abs_path(&path, "/scratch/directory").map(Scratch::Disk);
    }
    let nodes = spec.numa_nodes.unwrap_or_default();
    for (i, &node) in nodes.iter().enumerate() {
        in_range(node.into(), 0, 1023, &format!("/scratch/numa_nodes/{i}"))?;
    }
    Ok(Scratch::Tmpfs {
        size_bytes: spec
            .size_bytes
            .map(|v| in_range(v, 4096, MAX_SIZE, "/scratch/size_bytes"))
            .transpose()?,
        // The directories that stdbox itself makes need a few.
        inodes: spec
            .inodes
            .map(|v| in_range(v, 64, MAX_SIZE, "/scratch/inodes"))
            .transpose()?,
        numa_nodes: nodes,
    })
}

/// How the names of stdbox's own directories in a disk scratch begin.
const SCRATCH_PREFIX: &[u8] = b".stdbox-";

pub(super) fn results(spec: spec::ResultsSpec, scratch: &Scratch) -> Checked<Wanted> {
    let Some(directory) = spec.directory else {
        let at = "/results/directory";
        return Err(Problem::at(
            Code::MissingField,
            at,
            "The field \"directory\" is missing.",
        ));
    };
    let directory = abs_path(&directory, "/results/directory")?;
    if let Scratch::Disk(place) = scratch {
        let below =
            place.is_above(&directory) && place.rest_of(&directory).starts_with(SCRATCH_PREFIX);
        if directory.contains(place) || below {
            let message = "The results directory may not hold the scratch directory, or lie in a part of it that stdbox uses: a job could put its results among the writes of another.";
            return Err(
                Problem::at(Code::Contradiction, "/results/directory", message)
                    .hint("Name a directory beside or below scratch.directory."),
            );
        }
    }
    let patterns = spec
        .patterns
        .unwrap_or_else(|| vec![Text::from(b".".as_slice())]);
    if patterns.is_empty() {
        let message = "Without a pattern nothing would be taken.";
        return Err(Problem::at(Code::Empty, "/results/patterns", message)
            .hint("Leave the field out to take all that the job wrote in cwd."));
    }
    let patterns = patterns
        .iter()
        .enumerate()
        .map(|(i, text)| pattern(text, i));
    let most = |value: Option<u64>, at: &str| {
        value
            .map(|value| in_range(value, 0, MAX_SIZE, at))
            .transpose()
    };
    Ok(Wanted {
        directory,
        patterns: patterns.collect::<Checked<_>>()?,
        max_files: most(spec.max_files, "/results/max_files")?,
        max_bytes: most(spec.max_bytes, "/results/max_bytes")?,
    })
}

fn pattern(text: &Text, i: usize) -> Checked<Pattern> {
    let at = format!("/results/patterns/{i}");
    Pattern::new(&text.0).map_err(|fault| match fault {
        PatternFault::Empty => Problem::at(Code::Empty, at, "A pattern cannot be empty."),
        PatternFault::Nul => Problem::at(Code::NulByte, at, "A pattern cannot hold a NUL byte."),
        PatternFault::Parent => Problem::at(
            Code::ParentComponent,
            at,
            "A \"..\" that leads out of the tree, or stands behind a wildcard, is not taken here.",
        ),
        PatternFault::TooLong => {
            let message = format!(
                "{} bytes are more than the {MAX_BYTES} of a path.",
                text.0.len()
            );
            Problem::at(Code::TooLong, at, message)
        }
    })
}

fn account(name: Option<String>, default: &str, at: &str) -> Checked<String> {
    let name = name.unwrap_or_else(|| default.to_owned());
    bounded(name.len(), 32, at)?;
    let first = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    if !first
        || !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    {
        let message = format!(
            "{name:?} is not an account name: letters a-z, digits, \"_\" and \"-\" only, a letter or \"_\" first."
        );
        return Err(Problem::at(
            if name.is_empty() {
                Code::Empty
            } else {
                Code::BadName
            },
            at,
            message,
        ));
    }
    Ok(name)
}

pub(super) fn user(spec: spec::UserSpec, system_config: bool) -> Checked<User> {
    const DEFAULT_ID: u32 = 1000;
    // 2^32-1 is "no change" for the kernel's id calls.
    let id = |value: Option<u32>, at: &str| {
        let value = value.unwrap_or(DEFAULT_ID);
        in_range(value.into(), 0, u64::from(u32::MAX) - 1, at).map(|_| value)
    };
    let uid = id(spec.uid, "/user/uid")?;
    let default = if uid == 0 { "root" } else { "user" };
    let name = account(spec.name, default, "/user/name")?;
    Ok(User {
        uid,
        gid: id(spec.gid, "/user/gid")?,
        group: account(spec.group, &name, "/user/group")?,
        home: match spec.home {
            Some(path) => {
                let path = abs_path(&path, "/user/home")?;
                if path.bytes().iter().any(|&b| b == b':' || b == b'\n') {
                    let message = "A home directory cannot hold a colon or a newline: passwd(5) could not name it.";
                    return Err(
                        Problem::at(Code::BadName, "/user/home", message).path(path.bytes())
                    );
                }
                Some(path)
            }
            None => system_config.then(|| AbsPath::fixed("/home").join(name.as_bytes())),
        },
        name,
        map: spec.map.unwrap_or(IdMap::Single),
    })
}

pub(super) fn hostname(name: String) -> Checked<String> {
    // 64 is the kernel's bound: uname(2).
    bounded(name.len(), 64, "/hostname")?;
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let fine = edge(name.bytes().next()) && edge(name.bytes().last());
    if !fine
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    {
        let code = if name.is_empty() {
            Code::Empty
        } else {
            Code::BadName
        };
        return Err(Problem::at(
            code,
            "/hostname",
            "A host name has letters, digits, \"-\" and \".\", and begins and ends with a letter or digit.",
        ));
    }
    Ok(name)
}

pub(super) fn limits(spec: &spec::LimitsSpec) -> Checked<Limits> {
    let mut rlimits = Vec::new();
    for (which, value, least) in [
        (Rlimit::OpenFiles, spec.open_files, 3),
        (Rlimit::FileSize, spec.file_size_bytes, 0),
        (Rlimit::Stack, spec.stack_bytes, 1),
        (Rlimit::AddressSpace, spec.address_space_bytes, 1),
        (Rlimit::Core, Some(spec.core_bytes.unwrap_or(0)), 0),
    ] {
        if let Some(value) = value {
            rlimits.push((which, in_range(value, least, MAX_SIZE, which.pointer())?));
        }
    }
    Ok(Limits {
        wall_time_ms: spec
            .wall_time_ms
            .map(|v| in_range(v, 1, MAX_MS, "/limits/wall_time_ms"))
            .transpose()?,
        cpu_time_ms: spec
            .cpu_time_ms
            .map(|v| in_range(v, 1, MAX_MS, "/limits/cpu_time_ms"))
            .transpose()?,
        output_bytes: spec
            .output_bytes
            .map(|v| in_range(v, 0, MAX_SIZE, "/limits/output_bytes"))
            .transpose()?,
        grace_ms: in_range(spec.grace_ms.unwrap_or(0), 0, MAX_MS, "/limits/grace_ms")?,
        rlimits,
    })
}

/// A limit on output counts what stdbox reads, so it must read all that can be written.
pub(super) fn bounded_output(job: &Job) -> Checked<()> {
    if job.limits.output_bytes.is_none() {
        return Ok(());
    }
    let refuse = |message: String| {
        Problem::at(Code::Contradiction, "/limits/output_bytes", message)
            .hint("Capture the stream, or set it to \"null\"; limits.file_size_bytes bounds files.")
    };
    let streams = [
        (Some(&job.stdout), "output"),
        (job.stderr.as_ref(), "error"),
    ];
    for (stream, name) in streams {
        if let Some(Output::File { .. } | Output::Fd(_)) = stream {
            return Err(refuse(format!(
                "Standard {name} goes past stdbox, which cannot count it."
            )));
        }
    }
    let captured = |(stream, _): &(Option<&Output>, _)| matches!(stream, Some(Output::Capture(_)));
    if streams.iter().any(captured) {
        Ok(())
    } else {
        Err(refuse(
            "There is no captured output to be counted.".to_owned(),
        ))
    }
}

pub(super) fn fds(list: Vec<u32>, taken: Taken) -> Checked<Vec<i32>> {
    let mut fds = Vec::with_capacity(list.len());
    for (i, fd) in list.into_iter().enumerate() {
        let at = format!("/fds/{i}");
        let fd = descriptor(fd, &at)?;
        if fd < 3 {
            return Err(Problem::at(
                Code::OutOfRange,
                at,
                "0, 1 and 2 have fields of their own: stdin, stdout, stderr.",
            ));
        }
        own(fd, &at, taken).map_err(|mut problem| {
            problem.code = Code::BadDescriptor;
            problem
        })?;
        if fds.contains(&fd) {
            return Err(Problem::at(
                Code::Contradiction,
                at,
                format!("Descriptor {fd} is listed twice."),
            ));
        }
        fds.push(fd);
    }
    fds.sort_unstable();
    Ok(fds)
}

/// A /sys of its own belongs to the network namespace of the process that mounts it, sysfs(5).
pub(super) fn sys(
    asked: Option<Sys>,
    directories: &BTreeMap<AbsPath, Directory>,
    host_network: bool,
    no_capabilities: bool,
) -> Checked<Sys> {
    let asked = asked.unwrap_or(Sys::Host);
    let contradiction = |message: &str| Err(Problem::at(Code::Contradiction, "/sys", message));
    let top = AbsPath::fixed("/sys");
    let named = directories.keys().any(|path| top.contains(path));
    match asked {
        Sys::Host => Ok(asked),
        Sys::Fresh | Sys::None if named => contradiction(
            "A mode for /sys or below asks for the host's /sys, \"sys\" for another one.",
        ),
        Sys::Fresh if host_network => contradiction(
            "A fresh /sys shows the devices of the container's own network, and the job asks for the host's.",
        ),
        Sys::Fresh if !no_capabilities => contradiction(
            "A target that keeps capabilities gets a network of its own, whose devices a fresh /sys would not show.",
        ),
        Sys::Fresh | Sys::None => Ok(asked),
    }
}

pub(super) fn capabilities(
    names: &[String],
    init: Option<bool>,
    proc: ProcMode,
) -> Checked<Capabilities> {
    let mut kept = Capabilities::default();
    for (i, name) in names.iter().enumerate() {
        let at = || format!("/capabilities/{i}");
        let Some(one) = Capabilities::named(name) else {
            let message = format!(
                "{} is not a capability, such as \"CAP_NET_BIND_SERVICE\".",
                quote(name)
            );
            let full = name.to_ascii_uppercase();
            let full = format!("CAP_{}", full.strip_prefix("CAP_").unwrap_or(&full));
            let hint = Capabilities::named(&full).map(|_| format!("Did you mean {full:?}?"));
            let mut problem = Problem::at(Code::UnknownValue, at(), message);
            problem.hint = hint;
            return Err(problem);
        };
        if kept.meets(one) {
            return Err(Problem::at(
                Code::Contradiction,
                at(),
                format!("{name} is named twice."),
            ));
        }
        kept = kept.with(one);
    }
    if !kept.is_empty() && init == Some(false) {
        return Err(Problem::at(
            Code::Contradiction,
            "/capabilities",
            "A target that keeps capabilities gets namespaces of its own, below an init: it cannot be pid 1.",
        ));
    }
    if !kept.is_empty() && proc == ProcMode::None {
        return Err(Problem::at(
            Code::Contradiction,
            "/proc",
            "A target that keeps capabilities gets a user namespace of its own, whose ids are mapped through /proc.",
        ));
    }
    Ok(kept)
}

pub(super) fn seccomp(spec: Option<WordOr<SeccompWord, SeccompObject>>) -> Checked<Seccomp> {
    let asked = match spec {
        None | Some(WordOr::Word(SeccompWord::Default)) => return Ok(Seccomp::Default),
        Some(WordOr::Word(SeccompWord::Strict)) => return Ok(Seccomp::Strict),
        Some(WordOr::Word(SeccompWord::Off)) => return Ok(Seccomp::Off),
        Some(WordOr::Object(asked)) => asked,
    };
    let short = asked.default_action.is_some() || asked.rules.is_some();
    one_of(
        "/seccomp",
        &[asked.oci.is_some(), short],
        "\"oci\", \"default_action\" with \"rules\"",
    )?;
    let profile = match &asked.oci {
        Some(profile) => oci::profile(&profile.0)?,
        None => Profile::short(asked.default_action, asked.rules.as_deref())?,
    };
    Ok(Seccomp::Own {
        profile,
        asked: Box::new(asked),
    })
}
