//! The target's standard streams and kept descriptors, opened on the host before the container exists. Ring 1.

use crate::channel::Own;
use crate::sys::fd;
use nix::errno::Errno;
use nix::libc;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use stdbox::job::{Input, Job, Output};
use stdbox::problem::{Code, Problem};
use stdbox::text::Contents;

/// The parent's and the child's ends.
#[derive(Debug)]
pub(crate) struct Streams {
    /// What becomes 0, 1 and 2 of the target.
    pub(crate) child: [OwnedFd; 3],
    /// What is written to the target's standard input, and where.
    pub(crate) feed: Option<Feed>,
    /// Where captured standard output is read, and how much is kept.
    pub(crate) stdout: Option<(OwnedFd, u64)>,
    /// The same for standard error.
    pub(crate) stderr: Option<(OwnedFd, u64)>,
    /// What the file for standard input is, where it needs more care than a descriptor.
    pub(crate) stdin: Source,
    /// Descriptors among `child` and the kept ones that are directories: number in the target, path, flags.
    pub(crate) reopen: Vec<(i32, CString, i32)>,
}

/// What standard input comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Nothing that is still to be opened.
    Ready,
    /// A named pipe that was opened without waiting for a writer.
    Fifo,
    /// A file of this path, which the target must not be able to write.
    File(CString),
}

/// Checks that the caller passed on every descriptor that the job names.
pub(crate) fn check_descriptors(job: &Job) -> Result<(), Problem> {
    let mut wanted: Vec<(i32, String)> = Vec::new();
    if let Input::Fd(number) = job.stdin {
        wanted.push((number, "/stdin".into()));
    }
    for (output, at) in [
        (Some(&job.stdout), "/stdout"),
        (job.stderr.as_ref(), "/stderr"),
    ] {
        if let Some(Output::Fd(number)) = output {
            wanted.push((*number, at.into()));
        }
    }
    wanted.extend(
        job.fds
            .iter()
            .enumerate()
            .map(|(i, number)| (*number, format!("/fds/{i}"))),
    );
    for (number, at) in wanted {
        inherited(number, at)?;
    }
    let Some(sync) = &job.sync else { return Ok(()) };
    let directed = [
        (
            Some(sync.events),
            "/sync/events_fd",
            libc::O_WRONLY,
            "write to",
        ),
        (
            sync.control,
            "/sync/control_fd",
            libc::O_RDONLY,
            "read from",
        ),
    ];
    for (number, at, access, verb) in directed {
        let Some(number) = number else { continue };
        let flags = inherited(number, at.into())? & (libc::O_ACCMODE | libc::O_PATH);
        if flags != access && flags != libc::O_RDWR {
            let message = format!("Descriptor {number} is not open to {verb}.");
            return Err(Problem::at(Code::BadDescriptor, at, message));
        }
    }
    Ok(())
}

/// The flags of a descriptor that the caller passed on.
fn inherited(number: i32, at: String) -> Result<i32, Problem> {
    fd::inherited_flags(number).map_err(|errno| {
        let message = format!("Descriptor {number} is not open in stdbox.");
        Problem::at(Code::BadDescriptor, at, message)
            .errno("fcntl", errno)
            .hint("The program that starts stdbox must pass it on, without close-on-exec.")
    })
}

/// Whether nobody notices that this was opened some time before the target reads it: the writer of a named pipe would.
pub(crate) fn can_wait_open(input: &Input) -> bool {
    match input {
        Input::File(path) => {
            fd::mode_of(path).is_some_and(|mode| mode & libc::S_IFMT == libc::S_IFREG)
        }
        _ => true,
    }
}

/// Opens everything. Files that are to be replaced are emptied only once all of them are open.
pub(crate) fn open(job: &Job, own: Own<'_>) -> Result<Streams, Problem> {
    let mut truncate = Vec::new();
    let (stdin, feed) = input(&job.stdin)?;
    let (out, stdout) = output(&job.stdout, "/stdout", &mut truncate)?;
    let (err, stderr) = match &job.stderr {
        None => (copy(out.as_raw_fd(), "/stderr")?, None),
        Some(stderr) => output(stderr, "/stderr", &mut truncate)?,
    };
    // As with one descriptor for both: neither writes over what the other has written.
    if let (Output::File { .. }, Some(Output::File { .. })) = (&job.stdout, &job.stderr)
        && fd::same_file(out.as_raw_fd(), err.as_raw_fd())
    {
        for (file, at) in [(&out, "/stdout/file"), (&err, "/stderr/file")] {
            fd::flags(file.as_raw_fd())
                .and_then(|flags| fd::set_flags(file.as_raw_fd(), flags | libc::O_APPEND))
                .map_err(|errno| {
                    let message =
                        "Both streams go to this file, and it could not be made to append.";
                    Problem::at(Code::FileRefused, at, message).errno("fcntl", errno)
                })?;
        }
    }
    let files = [
        (matches!(job.stdin, Input::File(_)), &stdin, "/stdin/file"),
        (
            matches!(job.stdout, Output::File { .. }),
            &out,
            "/stdout/file",
        ),
        (
            matches!(job.stderr, Some(Output::File { .. })),
            &err,
            "/stderr/file",
        ),
    ];
    for (_, file, at) in files.iter().filter(|(named, ..)| *named) {
        let reads = *at == "/stdin/file";
        if let Some(purpose) = own.purpose(file.as_raw_fd(), reads, job) {
            let message = format!("stdbox has this file {purpose}, so it cannot be had here.");
            return Err(Problem::at(Code::Contradiction, *at, message).hint(
                "Name another file, or give the job with --spec FILE and send the report elsewhere with --report FILE.",
            ));
        }
    }
    for (file, at) in truncate {
        nix::unistd::ftruncate(&file, 0).map_err(|errno| {
            Problem::at(Code::FileRefused, at, "The file could not be emptied.")
                .errno("ftruncate", errno)
        })?;
    }
    let source = match job.stdin {
        Input::File(_) => source(stdin.as_raw_fd()),
        _ => Source::Ready,
    };
    let child = [stdin, out, err];
    // What is opened here is none.
    let given = [
        matches!(job.stdin, Input::Fd(_)),
        matches!(job.stdout, Output::Fd(_)),
        matches!(job.stderr.as_ref().unwrap_or(&job.stdout), Output::Fd(_)),
    ];
    let streams = (0..).zip(child.iter().map(AsRawFd::as_raw_fd));
    let streams = streams
        .zip(given)
        .filter_map(|(stream, given)| given.then_some(stream));
    let kept = job.fds.iter().map(|&kept| (kept, kept));
    let reopen = streams
        .chain(kept)
        .filter_map(|(number, source)| directory(number, source))
        .collect();
    Ok(Streams {
        child,
        feed,
        stdout,
        stderr,
        stdin: source,
        reopen,
    })
}

fn source(file: i32) -> Source {
    let kind = fd::mode(file).map(|mode| mode & libc::S_IFMT);
    match kind {
        Some(libc::S_IFIFO) => Source::Fifo,
        Some(libc::S_IFREG) => {
            // Without the links of the path in the job, which may be those of /proc. A file that has no name any more has a
            // path that does not exist.
            let path = fs::read_link(format!("/proc/self/fd/{file}")).unwrap_or_default();
            Source::File(CString::new(path.into_os_string().into_vec()).unwrap_or_default())
        }
        _ => Source::Ready,
    }
}

/// How to open again a descriptor that is a directory.
fn directory(number: i32, source: i32) -> Option<(i32, CString, i32)> {
    if fd::mode(source)? & libc::S_IFMT != libc::S_IFDIR {
        return None;
    }
    let link = format!("/proc/self/fd/{source}");
    let path = CString::new(fs::read_link(&link).ok()?.into_os_string().into_vec()).ok()?;
    let flags = fd::flags(source).ok()? & (libc::O_PATH | libc::O_ACCMODE);
    Some((number, path, flags | libc::O_DIRECTORY))
}

/// A copy with a number that is none of the standard ones, so that putting it in place overwrites no other.
fn copy(source: i32, at: &str) -> Result<OwnedFd, Problem> {
    fd::duplicate(source, 3)
        .map(fd::owned)
        .map_err(|errno| no_descriptor(errno, at))
}

fn no_descriptor(errno: Errno, at: &str) -> Problem {
    let message = "A descriptor for this stream could not be made.";
    Problem::at(Code::OutOfMemory, at, message).errno("pipe2", errno)
}

fn null(flags: i32, at: &str) -> Result<OwnedFd, Problem> {
    open_file(c"/dev/null", flags, at).map_err(|problem| {
        problem.hint("Give the container around stdbox a /dev whose files can be used (bwrap: --dev /dev), or set this stream to {\"capture\":{\"max_bytes\":0}}.")
    })
}

/// Opens without waiting for the other end of a named pipe, and lets the target wait then.
fn open_file(path: &CStr, flags: i32, at: &str) -> Result<OwnedFd, Problem> {
    let refuse = |errno: Errno| {
        let (code, message) = match errno {
            Errno::ENOENT => (
                Code::NoSuchFile,
                "The file does not exist, or its directory does not.",
            ),
            Errno::EISDIR => (Code::FileRefused, "This is a directory."),
            Errno::ENXIO => (
                Code::FileRefused,
                "This is a named pipe that nobody reads, or a socket.",
            ),
            _ => (Code::FileRefused, "The file could not be opened."),
        };
        Problem::at(code, at, message)
            .path(path.to_bytes())
            .errno("openat2", errno)
    };
    let opened = fd::open(
        libc::AT_FDCWD,
        path,
        flags | libc::O_NONBLOCK | libc::O_NOCTTY,
        0o666,
    )
    .map_err(refuse)?;
    let file = fs::File::from(fd::owned(opened));
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(refuse(Errno::EISDIR));
    }
    let waiting =
        fd::flags(opened).and_then(|flags| fd::set_flags(opened, flags & !libc::O_NONBLOCK));
    waiting.map_err(refuse)?;
    // stdbox may have been started without standard streams.
    if opened < 3 {
        copy(opened, at)
    } else {
        Ok(file.into())
    }
}

/// Where bytes are written that the target reads, which, and how many of them have been.
pub(crate) type Feed = (OwnedFd, Contents, usize);

fn input(input: &Input) -> Result<(OwnedFd, Option<Feed>), Problem> {
    match input {
        // Where the host has no such device, or one that cannot be used, a pipe that nobody writes into reads the same.
        Input::Null => match null(libc::O_RDONLY, "/stdin") {
            Err(_) => Ok((pipe("/stdin")?.0, None)),
            opened => Ok((opened?, None)),
        },
        Input::File(path) => Ok((open_file(path, libc::O_RDONLY, "/stdin/file")?, None)),
        Input::Fd(number) => Ok((copy(*number, "/stdin")?, None)),
        Input::Bytes(bytes) => {
            let (reader, writer) = pipe("/stdin")?;
            Ok((reader, Some((writer, bytes.clone(), 0))))
        }
    }
}

fn pipe(at: &str) -> Result<(OwnedFd, OwnedFd), Problem> {
    let (reader, writer) = fd::pipe().map_err(|errno| no_descriptor(errno, at))?;
    let (reader, writer) = (fd::owned(reader), fd::owned(writer));
    Ok((copy_if_low(reader, at)?, copy_if_low(writer, at)?))
}

fn copy_if_low(end: OwnedFd, at: &str) -> Result<OwnedFd, Problem> {
    if end.as_raw_fd() < 3 {
        copy(end.as_raw_fd(), at)
    } else {
        Ok(end)
    }
}

type Opened = (OwnedFd, Option<(OwnedFd, u64)>);

fn output(
    output: &Output,
    at: &str,
    truncate: &mut Vec<(OwnedFd, String)>,
) -> Result<Opened, Problem> {
    match output {
        Output::Null => Ok((null(libc::O_WRONLY, at)?, None)),
        Output::Fd(number) => Ok((copy(*number, at)?, None)),
        Output::Capture(most) => {
            let (reader, writer) = pipe(at)?;
            Ok((writer, Some((reader, *most))))
        }
        Output::File { path, append } => {
            let add = if *append { libc::O_APPEND } else { 0 };
            let flags = libc::O_WRONLY | libc::O_CREAT | add;
            let file = open_file(path, flags, &format!("{at}/file"))?;
            let regular = fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd()))
                .is_ok_and(|found| found.is_file());
            if !append && regular {
                truncate.push((copy(file.as_raw_fd(), at)?, format!("{at}/file")));
            }
            Ok((file, None))
        }
    }
}
