//! Targets that use processor time in ways that are hard to count, or keep it from being counted.

use crate::mounting::call;
use crate::pause_for_ever;
use nix::libc;
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const HELP: &str = "\
  burn processes N | threads N
                              use the processor for ever, beside each other
  burn daemon                 leaves a process that does, in a session of its own, and waits for nothing
  burn waited MS              children, one after the other, that use so much each and are waited for
  burn renamed MS             the same, with a name that looks like the end of a name
  burn namespace MS           the same, in a pid namespace of their own
  burn unwaited MS            the same, which nobody waits for; a dot on stderr for each
  burn blind MS               the same as waited, and keeps pid 1 from opening files
  burn idle MS                the same as waited, four at a time, and gives pid 1 the least priority
  burn exec MS                uses so much, and executes itself again
  burn stopped N MS           N children that use so much each, and stop for ever
  burn orphans MS             children of children, which are left to pid 1
  burn mixed MS               children that use so much each; half of them are waited for
  burn figures MS             uses so much, as do two children; tells what getrusage says
  burn deep N                 recursion of N times 4096 bytes of stack
";

pub(crate) fn act(words: &[&str]) -> Option<Value> {
    let number = |text: &str| text.parse().expect("a number");
    if words.first() == Some(&"burn") {
        own_counter(thread_ns());
    }
    Some(match *words {
        ["burn", "processes", count] => {
            for _ in 1..number(count) {
                if fork() == 0 {
                    break;
                }
            }
            spin(u64::MAX);
            json!({})
        }
        ["burn", "threads", count] => {
            for _ in 1..number(count) {
                std::thread::spawn(|| {
                    own_counter(0);
                    spin(u64::MAX);
                });
            }
            spin(u64::MAX);
            json!({})
        }
        ["burn", "daemon"] => {
            if fork() == 0 {
                // SAFETY: no memory is passed.
                unsafe { libc::setsid() };
                if fork() == 0 {
                    spin(u64::MAX);
                }
                leave();
            }
            pause_for_ever()
        }
        ["burn", "waited", ms] => loop {
            child(number(ms));
        },
        ["burn", "renamed", ms] => {
            let name = c") 0 0 0";
            call(
                libc::SYS_prctl,
                &[
                    libc::PR_SET_NAME as u64,
                    name.as_ptr().expose_provenance() as u64,
                ],
            )
            .expect("a name");
            loop {
                child(number(ms));
            }
        }
        ["burn", "namespace", ms] => {
            let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWPID;
            call(libc::SYS_unshare, &[flags as u64]).expect("namespaces");
            if fork() == 0 {
                loop {
                    child(number(ms));
                }
            }
            pause_for_ever()
        }
        ["burn", "unwaited", ms] => {
            ignore_children();
            loop {
                child(number(ms));
                let _ = write!(std::io::stderr(), ".");
            }
        }
        ["burn", "blind", ms] => {
            limit_init();
            loop {
                child(number(ms));
            }
        }
        ["burn", "idle", ms] => {
            let parameters = [0u32; 1];
            let at = parameters.as_ptr().expose_provenance() as u64;
            // SCHED_IDLE
            let _ = call(libc::SYS_sched_setscheduler, &[1, 5, at]);
            for _ in 1..4 {
                if fork() == 0 {
                    loop {
                        child(number(ms));
                    }
                }
            }
            loop {
                child(number(ms));
            }
        }
        ["burn", "exec", ms] => {
            // Each program begins with what the ones before it have used.
            spin(thread_ns() / 1_000_000 + number(ms));
            let program = std::env::current_exe().expect("a name");
            panic!("{}", Command::new(program).args(words).exec())
        }
        ["burn", "stopped", count, ms] => {
            for _ in 0..number(count) {
                if fork() == 0 {
                    spin(number(ms));
                    // SAFETY: no memory is passed.
                    unsafe { libc::raise(libc::SIGSTOP) };
                    leave();
                }
            }
            pause_for_ever()
        }
        ["burn", "orphans", ms] => loop {
            let (from, to) = nix::unistd::pipe().expect("a pipe");
            if fork() == 0 {
                if fork() == 0 {
                    spin(number(ms));
                }
                leave();
            }
            drop(to);
            // SAFETY: the status is not asked for.
            unsafe { libc::waitpid(-1, ptr::null_mut(), 0) };
            let _ = File::from(from).read(&mut [0]);
        },
        ["burn", "mixed", ms] => {
            if fork() == 0 {
                ignore_children();
            }
            loop {
                child(number(ms));
            }
        }
        ["burn", "figures", ms] => {
            child(number(ms));
            child(number(ms));
            spin(number(ms));
            figures()
        }
        ["burn", "deep", count] => json!({"deep": deep(number(count))}),
        _ => return None,
    })
}

fn leave() -> ! {
    // SAFETY: nothing is left to be done here.
    unsafe { libc::_exit(0) }
}

/// How many processes can tell what they have used.
const SLOTS: usize = 8192;

thread_local! {
    /// Where this thread tells what it has used, in a file that the test reads, and what it had used when the program began.
    static OWN: Cell<Option<(&'static AtomicU64, u64)>> = const { Cell::new(None) };
}

/// Shares a file of counters with the test, if there is one: `BURN_FILE` in the environment. The first is their number.
fn counters() -> Option<&'static [AtomicU64]> {
    static AT: OnceLock<Option<usize>> = OnceLock::new();
    let size = SLOTS * size_of::<AtomicU64>();
    let open = || {
        let path = std::env::var_os("BURN_FILE")?;
        let file = File::options().read(true).write(true).open(path);
        let file = file.expect("the file of the test");
        // SAFETY: a fresh shared mapping overlaps nothing.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED, "the file can be shared");
        Some(at.expose_provenance())
    };
    let at = (*AT.get_or_init(open))?;
    // SAFETY: the mapping is as long, and stays.
    Some(unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance(at), SLOTS) })
}

/// Takes a counter for this thread.
fn own_counter(base: u64) {
    if let Some(counters) = counters() {
        let number = counters[0].fetch_add(1, Ordering::Relaxed) as usize;
        OWN.set(Some((&counters[number + 1], base)));
    }
}

/// What this thread has used. With a limit on it, the clock of a process is only as new as the last tick.
fn thread_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` has room for what is written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn fork() -> i32 {
    let pid = crate::fork();
    if pid == 0 {
        own_counter(0);
    }
    pid
}

/// Uses processor time until this thread has used so much.
fn spin(ms: u64) {
    let mut x = 1u64;
    while thread_ns() < ms.saturating_mul(1_000_000) {
        for _ in 0..10_000 {
            x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        if let Some((counter, base)) = OWN.get() {
            counter.store(thread_ns() - base, Ordering::Relaxed);
        }
    }
}

/// A child that uses so much, until it is gone, whether it is waited for or not.
fn child(ms: u64) {
    if fork() == 0 {
        spin(ms);
        leave();
    }
    // SAFETY: the status is not asked for.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
}

fn ignore_children() {
    // SAFETY: no handler runs, the signal is only ignored.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

fn limit_init() {
    let none = [0u64; 2];
    let at = none.as_ptr().expose_provenance() as u64;
    let resource = u64::from(libc::RLIMIT_NOFILE as u32);
    call(libc::SYS_prlimit64, &[1, resource, at, 0]).expect("the limit of pid 1");
}

fn figures() -> Value {
    let ns = |who| {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: there is room for what is written.
        unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
        // SAFETY: all-zero bytes are a valid `rusage`.
        let usage = unsafe { usage.assume_init() };
        let time = |time: libc::timeval| time.tv_sec * 1_000_000_000 + time.tv_usec * 1000;
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    json!({"own_ns": ns(libc::RUSAGE_SELF), "children_ns": ns(libc::RUSAGE_CHILDREN)})
}

#[inline(never)]
fn deep(count: u64) -> u64 {
    let place = std::hint::black_box([count as u8; 4096]);
    if count == 0 {
        return 0;
    }
    deep(count - 1) + u64::from(std::hint::black_box(place)[7] != 255 || count > 0)
}
