//! Starts programs with posix_spawn(3), and waits for them.

#![allow(
    unsafe_code,
    reason = "the standard library may start a program in other ways too"
)]

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, OpenOptions, read_to_string, remove_file};
use std::io::{self, PipeWriter, Write, pipe};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A program that does not come to its report in this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program, its arguments and this process's environment, ready for the kernel.
#[derive(Debug)]
pub struct Program {
    path: CString,
    words: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    /// The arguments are those after the program's name.
    ///
    /// # Errors
    /// One of the strings has a NUL.
    pub fn new(path: &Path, arguments: &[impl AsRef<OsStr>]) -> io::Result<Program> {
        let first = c_string(path.as_os_str())?;
        let rest = arguments.iter().map(|word| c_string(word.as_ref()));
        let environment = std::env::vars_os().map(|(name, value)| {
            let both = [name.as_bytes(), b"=", value.as_bytes()].concat();
            c_string(&OsString::from_vec(both))
        });
        Ok(Program {
            words: std::iter::once(Ok(first.clone()))
                .chain(rest)
                .collect::<io::Result<_>>()?,
            path: first,
            environment: environment.collect::<io::Result<_>>()?,
        })
    }

    /// The same, started by another program that takes it as its last arguments.
    ///
    /// # Errors
    /// One of the strings has a NUL.
    pub fn below(&self, path: &Path, options: &[impl AsRef<OsStr>]) -> io::Result<Program> {
        let mut outer = Program::new(path, options)?;
        outer.words.extend(self.words.iter().cloned());
        Ok(outer)
    }

    /// Runs it and says how long that took in seconds, from the spawn until it is reaped.
    ///
    /// # Errors
    /// Those of posix_spawn(3) and waitpid(2).
    pub fn time(&self, streams: [BorrowedFd<'_>; 3]) -> io::Result<(f64, ExitStatus)> {
        let start = Instant::now();
        let status = self.spawn(streams)?.wait()?;
        Ok((start.elapsed().as_secs_f64(), status))
    }

    /// What it holds of main memory when it has done everything but write its report, which here nobody reads.
    ///
    /// # Errors
    /// Those of posix_spawn(3) and waitpid(2).
    pub fn memory_at_report(&self, input: BorrowedFd<'_>) -> io::Result<Option<Memory>> {
        let (reader, mut writer) = pipe()?;
        fill(&mut writer)?;
        let null = null()?;
        let child = self.spawn([input, writer.as_fd(), null.as_fd()])?;
        let (mut blocked, mut memory) = (0, None);
        let start = Instant::now();
        // Thrice in a row, because it may sleep for a moment where nobody sees why.
        while blocked < 3 && start.elapsed() < PATIENCE {
            if child.try_wait()?.is_some() {
                return Ok(None);
            }
            blocked = if child.is_blocked() { blocked + 1 } else { 0 };
            memory = child.memory().filter(|_| blocked == 3);
            sleep(Duration::from_millis(2));
        }
        // Its writing fails now.
        drop(reader);
        child.wait()?;
        Ok(memory)
    }

    /// Starts it with these for its standard streams.
    ///
    /// # Errors
    /// Those of posix_spawn(3), which include those of execve(2).
    pub fn spawn(&self, streams: [BorrowedFd<'_>; 3]) -> io::Result<Child> {
        let mut actions = Actions::new()?;
        for (stream, number) in streams.iter().zip(0..) {
            // SAFETY: the actions were initialised, and take only integers here.
            done(unsafe {
                libc::posix_spawn_file_actions_adddup2(
                    &raw mut actions.0,
                    stream.as_raw_fd(),
                    number,
                )
            })?;
        }
        let words = pointers(&self.words);
        let environment = pointers(&self.environment);
        let mut pid = 0;
        // SAFETY: all strings end in NUL, both arrays end in null, and all of them live until the call returns.
        done(unsafe {
            libc::posix_spawn(
                &raw mut pid,
                self.path.as_ptr(),
                &raw const actions.0,
                std::ptr::null(),
                words.as_ptr(),
                environment.as_ptr(),
            )
        })
        .map_err(|why| {
            io::Error::new(
                why.kind(),
                format!("{}: {why}", self.path.to_string_lossy()),
            )
        })?;
        Ok(Child { pid })
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::from)
}

fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr().cast_mut())
        .chain([std::ptr::null_mut()])
        .collect()
}

fn done(number: libc::c_int) -> io::Result<()> {
    match number {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// Writes until nothing more fits.
fn fill(pipe: &mut PipeWriter) -> io::Result<()> {
    set_flags(pipe, libc::O_NONBLOCK)?;
    loop {
        match pipe.write(&[b'\n'; 4096]) {
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
            Err(why) => return Err(why),
        }
    }
    set_flags(pipe, 0)
}

fn set_flags(pipe: &PipeWriter, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes only integers.
    match unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETFL, flags) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Actions> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: there is room for the actions.
        done(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: the call above has initialised them.
        Ok(Actions(unsafe { actions.assume_init() }))
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: they were initialised, and nobody uses them any more.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

/// A program that was started and must be waited for.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
}

/// What a process holds of main memory.
#[derive(Clone, Copy, Default, Debug)]
pub struct Memory {
    /// Now.
    pub resident_kib: u64,
    /// At most so far, since it executed its program.
    pub peak_kib: u64,
    /// Of now, what belongs to it alone and is of no file.
    pub anonymous_kib: u64,
}

impl Child {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn wait(&self) -> io::Result<ExitStatus> {
        Ok(wait(self.pid, 0)?.1)
    }

    /// Looks whether it has ended.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let (pid, status) = wait(self.pid, libc::WNOHANG)?;
        Ok((pid == self.pid).then_some(status))
    }

    /// What it holds of main memory, as long as it runs.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        let status = read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_end_matches("kB").trim().parse().ok()
        };
        Some(Memory {
            resident_kib: field("VmRSS:")?,
            peak_kib: field("VmHWM:")?,
            anonymous_kib: field("RssAnon:")?,
        })
    }

    /// Whether it sleeps and has no child, so that nothing but its reader can make it go on.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        let pid = self.pid;
        let children = read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let status = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = status.rsplit(')').next().unwrap_or_default().trim_start();
        state.starts_with('S') && children.is_ok_and(|children| children.trim().is_empty())
    }
}

/// Waits until any child has ended.
///
/// # Errors
/// Those of waitpid(2).
pub fn wait_any() -> io::Result<(i32, ExitStatus)> {
    wait(-1, 0)
}

fn wait(pid: libc::pid_t, flags: libc::c_int) -> io::Result<(libc::pid_t, ExitStatus)> {
    let mut status = 0;
    loop {
        // SAFETY: there is room for the status.
        let ended = unsafe { libc::waitpid(pid, &raw mut status, flags) };
        if ended >= 0 {
            return Ok((ended, ExitStatus::from_raw(status)));
        }
        let why = io::Error::last_os_error();
        if why.kind() != io::ErrorKind::Interrupted {
            return Err(why);
        }
    }
}

/// A file without a name, so nothing is left behind however this program ends.
///
/// # Errors
/// It cannot be made in the directory for temporary files, or not be written.
pub fn unnamed_file(content: &[u8]) -> io::Result<File> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("stdbox-bench-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    remove_file(&path)?;
    file.write_all(content)?;
    Ok(file)
}

/// Where nothing is read and nothing kept.
///
/// # Errors
/// It is not there.
pub fn null() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null")
}
