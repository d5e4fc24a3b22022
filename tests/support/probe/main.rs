//! What the container looks like from inside: the tests run this program in a job and read its JSON.
//!
//! It is static and has its own `main`, so that it sees what it was given: Rust's runtime would ignore SIGPIPE and open
//! closed standard streams. `probe help` lists what it can do.
#![no_main]
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::exit,
    clippy::let_underscore_must_use,
    missing_docs,
    reason = "a test tool: it makes the calls that tests ask for, with any number as any argument"
)]

mod burning;
mod engine;
mod hidden;
mod inspect;
mod lasting;
mod mounting;
mod reaching;

use nix::errno::Errno;
use nix::libc::{self, c_char, c_int, c_long};
use serde_json::{Map, Value, json};
use std::ffi::{CStr, CString};
use std::fs;
use std::io::Write;
use std::ptr;

const HELP: &str = "\
probe COMMAND [ARGUMENTS]; everything is printed as one line of JSON
  status                      what this process is and has
  syscall ABI NR [ARG..]      ABI: native, x32, i386; ARG: a number, buf, s:TEXT, i:N (pointer to an int)
  paths PATH..                mode, type of the file system and mount flags of each
  open PATH FLAG[,FLAG..]     rd wr rdwr path dir creat trunc append
  read PATH | write PATH TEXT one file, through open, read and write
  attack-init                 everything a target may try against pid 1
  ptrace PID | kill PID SIG
  ioctl FD REQUEST            with a zeroed buffer
  socket FAMILY TYPE PROTOCOL
  inet                        listens and connects on the loopback device
  allocate BYTES | spin MS | sleep MS
  exit N | raise SIG
  forge SIG                   sends pid 1 a signal whose sender is forged to look like one from outside
  drown                       limits pid 1 to a second of processor time, and makes it use that up
  storm                       sends pid 1 every signal, as fast as possible, from a forked process; stays
  fork-daemon MARKER          double fork and a session of its own; both stay
  stay MARKER [FILE]          the same, and stays itself, ignoring every signal; writes FILE when it does
  ignore-term [FILE]          ignores every signal that can be; writes FILE when it does; stays
  trap-term N [FILE]          exits with N on SIGTERM
  close-streams MS            closes 0, 1 and 2 and stays
  flood FD BYTES [PIPE_BYTES] writes that many bytes as fast as possible; 0 is for ever
  hold-pipe MS                leaves a child that keeps 1 and 2 open
  zombies N                   N orphans that end at once; then counts zombies
  threads N                   N threads, each counts
";

#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let args: Vec<String> = (1..argc as usize)
        .map(|i| {
            // SAFETY: the kernel gives `argc` pointers.
            let text = unsafe { argv.wrapping_add(i).read() };
            // SAFETY: each of them is a string that ends in NUL.
            unsafe { CStr::from_ptr(text) }
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let answer = act(&words);
    say(&answer);
    0
}

fn say(answer: &Value) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{answer}");
    let _ = out.flush();
}

fn act(words: &[&str]) -> Value {
    match *words {
        ["status"] => status(),
        ["syscall", abi, number, ref args @ ..] => syscall(abi, self::number(number), args),
        ["paths", ref paths @ ..] => paths
            .iter()
            .map(|path| ((*path).to_owned(), place(path)))
            .collect::<Map<_, _>>()
            .into(),
        ["open", path, flags] => open(path, flags),
        ["read", path] => read(path),
        ["write", path, text] => write(path, text),
        ["attack-init"] => attack_init(),
        ["ptrace", pid] => ptrace(number(pid) as i32),
        ["kill", pid, signal] => kill(number(pid) as i32, number(signal) as i32),
        ["ioctl", fd, request] => native(
            libc::SYS_ioctl as u64,
            &[number(fd), number(request), buffer()],
        ),
        ["socket", family, kind, protocol] => native(
            libc::SYS_socket as u64,
            &[number(family), number(kind), number(protocol)],
        ),
        ["inet"] => inet(),
        ["allocate", bytes] => allocate(number(bytes) as usize),
        ["spin", ms] => spin(number(ms)),
        ["sleep", ms] => {
            std::thread::sleep(std::time::Duration::from_millis(number(ms)));
            json!({"slept_ms": number(ms)})
        }
        ["exit", code] => std::process::exit(number(code) as i32),
        ["raise", signal] => raise(number(signal) as i32),
        ["forge", signal] => forged_signal(number(signal) as i32),
        ["storm"] => storm(),
        ["drown"] => drown(),
        ["fork-daemon", marker] => fork_daemon(marker),
        ["stay", marker, ref file @ ..] => {
            fork_daemon(marker);
            ignore_term(file.first().copied())
        }
        ["ignore-term", ref file @ ..] => ignore_term(file.first().copied()),
        ["trap-term", code, ref file @ ..] => trap_term(number(code) as i32, file.first().copied()),
        ["close-streams", ms] => close_streams(number(ms)),
        ["flood", fd, bytes, ref size @ ..] => flood(
            number(fd) as i32,
            number(bytes),
            size.first().map(|size| number(size)),
        ),
        ["hold-pipe", ms] => hold_pipe(number(ms)),
        ["zombies", count] => zombies(number(count)),
        ["threads", count] => threads(number(count)),
        _ => inspect::act(words)
            .or_else(|| burning::act(words))
            .or_else(|| engine::act(words))
            .or_else(|| mounting::act(words))
            .or_else(|| hidden::act(words))
            .or_else(|| lasting::act(words))
            .or_else(|| reaching::act(words))
            .unwrap_or_else(|| {
                let all = [
                    HELP,
                    inspect::HELP,
                    burning::HELP,
                    engine::HELP,
                    mounting::HELP,
                    hidden::HELP,
                    lasting::HELP,
                    reaching::HELP,
                ]
                .concat();
                json!({"help": all})
            }),
    }
}

fn number(text: &str) -> u64 {
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    }
    .unwrap_or_else(|_| panic!("not a number: {text}"));
    if negative {
        value.wrapping_neg()
    } else {
        value
    }
}

fn outcome(result: i64) -> Value {
    if (-4095..0).contains(&result) {
        let errno = Errno::from_raw(-result as i32);
        json!({"result": -1, "errno": format!("{errno:?}")})
    } else {
        json!({"result": result, "errno": null})
    }
}

fn checked(result: c_long) -> Value {
    if result == -1 {
        outcome(-i64::from(Errno::last_raw()))
    } else {
        outcome(result)
    }
}

// ---- calls by number

/// Memory below 4 GiB, which a pointer of the 32-bit ABI can name.
fn low_memory(bytes: &[u8]) -> u64 {
    let size = bytes.len().max(4096);
    // SAFETY: a fresh anonymous mapping overlaps nothing.
    let place = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            MAP_FLAGS,
            -1,
            0,
        )
    };
    assert!(place != libc::MAP_FAILED, "memory for an argument");
    // SAFETY: the mapping has at least that many bytes and belongs to nobody else.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place.cast::<u8>(), bytes.len()) };
    place.expose_provenance() as u64
}

#[cfg(target_arch = "x86_64")]
const MAP_FLAGS: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
#[cfg(not(target_arch = "x86_64"))]
const MAP_FLAGS: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

fn buffer() -> u64 {
    low_memory(&[0; 4096])
}

fn argument(text: &str) -> u64 {
    if text == "buf" {
        buffer()
    } else if let Some(text) = text.strip_prefix("s:") {
        low_memory(&[text.as_bytes(), b"\0"].concat())
    } else if let Some(value) = text.strip_prefix("i:") {
        low_memory(&(number(value) as u32).to_ne_bytes())
    } else {
        number(text)
    }
}

fn native(number: u64, args: &[u64]) -> Value {
    let arg = |i: usize| args.get(i).copied().unwrap_or(0);
    // SAFETY: the caller asked for exactly this call; pointers among its arguments are mappings of `low_memory`.
    let result = unsafe {
        libc::syscall(
            number as c_long,
            arg(0),
            arg(1),
            arg(2),
            arg(3),
            arg(4),
            arg(5),
        )
    };
    checked(result)
}

fn syscall(abi: &str, number: u64, args: &[&str]) -> Value {
    let args: Vec<u64> = args.iter().map(|text| argument(text)).collect();
    match abi {
        "native" => native(number, &args),
        "x32" => native(number | 0x4000_0000, &args),
        "i386" => compat(number, &args),
        _ => panic!("no such ABI: {abi}"),
    }
}

/// The 32-bit entry of x86.
#[cfg(target_arch = "x86_64")]
fn compat(number: u64, args: &[u64]) -> Value {
    let arg = |i: usize| args.get(i).copied().unwrap_or(0) & 0xffff_ffff;
    let result: u64;
    // SAFETY: the caller asked for exactly this call. rbx is put back, since the compiler keeps it for itself.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov rbx, r12",
            "int 0x80",
            "pop rbx",
            inlateout("rax") number & 0xffff_ffff => result,
            in("r12") arg(0),
            in("rcx") arg(1),
            in("rdx") arg(2),
            in("rsi") arg(3),
            in("rdi") arg(4),
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    outcome(i64::from(result as u32 as i32))
}

#[cfg(not(target_arch = "x86_64"))]
fn compat(_number: u64, _args: &[u64]) -> Value {
    json!({"result": -1, "errno": "ENOTSUP"})
}

// ---- what this process is

fn link(path: &str) -> Value {
    fs::read_link(path).map_or(Value::Null, |target| json!(target.to_string_lossy()))
}

fn strings(path: &str) -> Value {
    let bytes = fs::read(path).unwrap_or_default();
    let parts = bytes.split(|&b| b == 0).filter(|part| !part.is_empty());
    parts
        .map(|part| json!(String::from_utf8_lossy(part)))
        .collect()
}

fn prctl(option: c_int) -> i64 {
    // SAFETY: the options used here take and give numbers only.
    unsafe { libc::prctl(option, 0, 0, 0, 0) }.into()
}

fn status() -> Value {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let fields: Map<String, Value> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| {
            (
                key.to_owned(),
                json!(value.split_whitespace().collect::<Vec<_>>().join(" ")),
            )
        })
        .collect();
    let mut fds = Map::new();
    // Found by asking for each number, not by listing /proc/self/fd, which would open one more.
    for fd in 0..4096 {
        // SAFETY: F_GETFD takes nothing.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1 {
            fds.insert(fd.to_string(), link(&format!("/proc/self/fd/{fd}")));
        }
    }
    let mut limits = Map::new();
    for (name, resource) in [
        ("as", libc::RLIMIT_AS),
        ("core", libc::RLIMIT_CORE),
        ("fsize", libc::RLIMIT_FSIZE),
        ("nofile", libc::RLIMIT_NOFILE),
        ("nproc", libc::RLIMIT_NPROC),
        ("stack", libc::RLIMIT_STACK),
    ] {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` has room for what is written.
        unsafe { libc::getrlimit(resource, &raw mut limit) };
        limits.insert(name.into(), json!([limit.rlim_cur, limit.rlim_max]));
    }
    let namespaces: Map<String, Value> =
        ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net", "time"]
            .iter()
            .map(|name| ((*name).to_owned(), link(&format!("/proc/self/ns/{name}"))))
            .collect();
    // SAFETY: the call cannot fail; the old mask is put back.
    let umask = unsafe { libc::umask(0) };
    // SAFETY: as above.
    unsafe { libc::umask(umask) };
    use nix::unistd::{getpgrp, getpid, getppid, getsid};
    let (pid, ppid, group) = (getpid().as_raw(), getppid().as_raw(), getpgrp().as_raw());
    let sid = getsid(None).map_or(-1, nix::unistd::Pid::as_raw);
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let tty_number = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(4))
        .unwrap_or("?");
    json!({
        "status": fields,
        "pid": pid, "ppid": ppid, "sid": sid, "pgid": group,
        "tty": open("/dev/tty", "rdwr"), "tty_nr": tty_number,
        "umask": umask,
        "limits": limits,
        "fds": fds,
        "securebits": prctl(libc::PR_GET_SECUREBITS),
        "dumpable": prctl(libc::PR_GET_DUMPABLE),
        "no_new_privs": prctl(libc::PR_GET_NO_NEW_PRIVS),
        "namespaces": namespaces,
        "cwd": link("/proc/self/cwd"), "root": link("/proc/self/root"), "exe": link("/proc/self/exe"),
        "argv": strings("/proc/self/cmdline"), "environ": strings("/proc/self/environ"),
        "oom_score_adj": fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default().trim(),
        "dev": names("/dev"),
        "mounts": fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().collect::<Vec<_>>(),
    })
}

fn names(path: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Mount flags by the names of mountinfo, with the file system's type and the permission bits.
fn place(path: &str) -> Value {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = fs::symlink_metadata(path) else {
        return Value::Null;
    };
    let name = CString::new(path).expect("an argument has no NUL");
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path ends in NUL, and `answer` has room for what is written.
    unsafe { libc::statfs(name.as_ptr(), answer.as_mut_ptr()) };
    // SAFETY: all-zero bytes are a valid `statfs`, whatever the kernel has filled in.
    let answer = unsafe { answer.assume_init() };
    let bits = [
        (1, "ro"),
        (2, "nosuid"),
        (4, "nodev"),
        (8, "noexec"),
        (0x400, "noatime"),
        (0x2000, "nosymfollow"),
    ];
    let flags: Vec<&str> = bits
        .iter()
        .filter(|(bit, _)| answer.f_flags & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    json!({"mode": format!("{:o}", found.mode() & 0o7777), "type": format!("{:#x}", answer.f_type), "flags": flags.join(",")})
}

// ---- files

fn open_raw(path: &str, flags: &str) -> Result<c_int, Value> {
    let flags = flags
        .split(',')
        .fold(libc::O_NOCTTY | libc::O_NONBLOCK, |all, word| {
            all | match word {
                "rd" => libc::O_RDONLY,
                "wr" => libc::O_WRONLY,
                "rdwr" => libc::O_RDWR,
                "path" => libc::O_PATH,
                "dir" => libc::O_DIRECTORY,
                "creat" => libc::O_CREAT,
                "trunc" => libc::O_TRUNC,
                "append" => libc::O_APPEND,
                _ => panic!("no such flag: {word}"),
            }
        });
    let path = CString::new(path).expect("an argument has no NUL");
    // SAFETY: `path` ends in NUL.
    let fd = unsafe { libc::open(path.as_ptr(), flags, 0o666) };
    if fd == -1 { Err(checked(-1)) } else { Ok(fd) }
}

fn close(fd: c_int) {
    // SAFETY: the descriptor is our own.
    unsafe { libc::close(fd) };
}

fn open(path: &str, flags: &str) -> Value {
    match open_raw(path, flags) {
        Ok(fd) => {
            close(fd);
            json!({"result": 0, "errno": null})
        }
        Err(refusal) => refusal,
    }
}

fn read(path: &str) -> Value {
    let fd = match open_raw(path, "rd") {
        Ok(fd) => fd,
        Err(refusal) => return refusal,
    };
    let mut bytes = [0u8; 4096];
    // SAFETY: the array has room for what is read.
    let count = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
    let mut answer = checked(count as c_long);
    close(fd);
    if let Ok(count) = usize::try_from(count) {
        answer["text"] = json!(String::from_utf8_lossy(&bytes[..count]));
    }
    answer
}

fn write(path: &str, text: &str) -> Value {
    let fd = match open_raw(path, "wr") {
        Ok(fd) => fd,
        Err(refusal) => return refusal,
    };
    // SAFETY: as many bytes are read as the text has.
    let count = unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) };
    let answer = checked(count as c_long);
    close(fd);
    answer
}

// ---- attacks

fn ptrace(pid: c_int) -> Value {
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE takes no memory.
    let seize = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) };
    let seize = checked(seize as c_long);
    // SAFETY: PTRACE_ATTACH takes no memory.
    let attach = unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, none, none) };
    json!({"seize": seize, "attach": checked(attach as c_long)})
}

fn kill(pid: c_int, signal: c_int) -> Value {
    // SAFETY: no memory is passed.
    checked(unsafe { libc::kill(pid, signal) }.into())
}

fn process_memory(write: bool) -> Value {
    let mut bytes = [0u8; 8];
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: 8,
    };
    // The binary's own text would do as an address too; permission is checked before the address.
    let remote = libc::iovec {
        iov_base: ptr::without_provenance_mut(0x40_0000),
        iov_len: 8,
    };
    let call = if write {
        libc::SYS_process_vm_writev
    } else {
        libc::SYS_process_vm_readv
    };
    // SAFETY: both vectors have one element; `bytes` has room for eight bytes.
    checked(unsafe { libc::syscall(call, 1, &raw const local, 1, &raw const remote, 1, 0) })
}

fn steal_descriptor() -> Value {
    // SAFETY: no memory is passed.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, 1, 0) };
    if pidfd == -1 {
        return checked(-1);
    }
    let all: Vec<Value> = (0..16)
        // SAFETY: no memory is passed.
        .map(|fd| checked(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) }))
        .collect();
    let stolen = all.iter().find(|answer| answer["errno"].is_null());
    stolen.or(all.first()).cloned().unwrap_or(Value::Null)
}

/// Signals that init obeys when its parent sends them, with a forged sender.
fn forged_signal(signal: c_int) -> Value {
    let mut info = [0i32; 32];
    info[0] = signal;
    // SI_QUEUE; pid and uid stay 0, as they are for a sender outside the namespace.
    info[2] = -1;
    // SAFETY: `info` is as long as the kernel's `siginfo_t`, 128 bytes.
    checked(unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, 1, signal, info.as_ptr()) })
}

fn attack_init() -> Value {
    let mut answers = Map::new();
    let mut add = |name: &str, answer: Value| answers.insert(name.to_owned(), answer);
    for file in [
        "environ",
        "maps",
        "smaps",
        "auxv",
        "stack",
        "syscall",
        "io",
        "pagemap",
        "personality",
        "mem",
    ] {
        let _ = add(&format!("read {file}"), read(&format!("/proc/1/{file}")));
    }
    for file in [
        "mem",
        "oom_score_adj",
        "clear_refs",
        "coredump_filter",
        "comm",
        "setgroups",
        "uid_map",
        "attr/current",
    ] {
        let _ = add(
            &format!("write {file}"),
            write(&format!("/proc/1/{file}"), "0"),
        );
    }
    for file in ["root", "cwd", "exe", "ns/mnt", "ns/user", "ns/pid"] {
        let path = format!("/proc/1/{file}");
        let _ = add(&format!("readlink {file}"), fs::read_link(&path).map_or_else(
            |error| json!({"result": -1, "errno": format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0)))}),
            |target| json!({"result": 0, "errno": null, "text": target.to_string_lossy()}),
        ));
        let _ = add(&format!("open {file}"), open(&path, "rd"));
    }
    // Numbers alone tell nothing; what they lead to must stay unknown.
    for directory in ["fd", "map_files", "task/1/fd"] {
        let path = format!("/proc/1/{directory}");
        let link = names(&path)
            .iter()
            .find_map(|name| fs::read_link(format!("{path}/{name}")).ok());
        let _ = add(
            &format!("look into {directory}"),
            link.map_or_else(
                || json!({"result": -1, "errno": "EACCES"}),
                |target| json!({"result": 0, "errno": null, "text": target.to_string_lossy()}),
            ),
        );
    }
    let info = names("/proc/1/fdinfo")
        .first()
        .map(|name| read(&format!("/proc/1/fdinfo/{name}")));
    let _ = add(
        "read fdinfo",
        info.unwrap_or_else(|| json!({"result": -1, "errno": "EACCES"})),
    );
    let traced = ptrace(1);
    let _ = add("ptrace seize", traced["seize"].clone());
    let _ = add("ptrace attach", traced["attach"].clone());
    let _ = add("process_vm_readv", process_memory(false));
    let _ = add("process_vm_writev", process_memory(true));
    let _ = add("pidfd_getfd", steal_descriptor());
    let _ = add(
        "move_pages",
        native(libc::SYS_migrate_pages as u64, &[1, 0, 0, 0]),
    );
    let _ = add("kcmp", native(libc::SYS_kcmp as u64, &[1, 1, 0, 0, 0]));
    Value::Object(answers)
}

/// A limit on the processor time of init, and work for it until the kernel ends it.
fn drown() -> Value {
    let none = ptr::null_mut::<u64>();
    // SAFETY: the new limit is two numbers, the old one is not asked for.
    let limited = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            1,
            libc::RLIMIT_CPU,
            [0u64, 0u64].as_ptr(),
            none,
        )
    };
    let limited = checked(limited);
    for _ in 0..2 {
        if fork() == 0 {
            loop {
                kill(1, libc::SIGUSR1);
            }
        }
    }
    std::thread::sleep(std::time::Duration::from_secs(6));
    json!({"prlimit": limited})
}

/// Keeps init busy, so that it may miss what its parent says.
fn storm() -> Value {
    for _ in 0..2 {
        if fork() == 0 {
            loop {
                for signal in 1..=64 {
                    kill(1, signal);
                    forged_signal(signal);
                }
            }
        }
    }
    ignore_term(None)
}

// ---- resources

fn allocate(bytes: usize) -> Value {
    let mut memory = vec![0u8; bytes];
    for place in (0..bytes).step_by(4096) {
        memory[place] = 1;
    }
    json!({"allocated": std::hint::black_box(memory).len()})
}

fn cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` has room for what is written.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Uses so much processor time, however long that takes.
fn spin(ms: u64) -> Value {
    let mut x = 1u64;
    while cpu_ns() < ms * 1_000_000 {
        for _ in 0..10_000 {
            x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    json!({"cpu_ns": cpu_ns()})
}

fn threads(count: u64) -> Value {
    let all: Vec<_> = (0..count).map(|i| std::thread::spawn(move || i)).collect();
    json!({"sum": all.into_iter().map(|thread| thread.join().expect("the thread ends")).sum::<u64>()})
}

// ---- processes and signals

fn fork() -> c_int {
    // SAFETY: this process has one thread here.
    unsafe { libc::fork() }
}

fn pause_for_ever() -> ! {
    loop {
        // SAFETY: no memory is passed.
        unsafe { libc::pause() };
    }
}

fn raise(signal: c_int) -> Value {
    kill(nix::unistd::getpid().as_raw(), signal)
}

/// A daemon as textbooks have it, and a plain child in the background.
fn fork_daemon(marker: &str) -> Value {
    // The marker is in the command line of every copy.
    assert!(!marker.is_empty(), "a marker");
    if fork() == 0 {
        // SAFETY: no memory is passed.
        unsafe { libc::setsid() };
        if fork() != 0 {
            std::process::exit(0);
        }
        (0..3).for_each(close);
        pause_for_ever();
    }
    if fork() == 0 {
        (0..3).for_each(close);
        pause_for_ever();
    }
    json!({"left": 2})
}

fn ignore(signal: c_int) {
    // SAFETY: no handler runs, the signal is only ignored.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

fn report_ready(file: Option<&str>) {
    say(&json!({"ready": true}));
    if let Some(file) = file {
        fs::write(file, "ready").expect("the file for the test");
    }
}

fn ignore_term(file: Option<&str>) -> Value {
    (1..=64)
        .filter(|&signal| signal != libc::SIGKILL && signal != libc::SIGSTOP)
        .for_each(ignore);
    report_ready(file);
    pause_for_ever()
}

fn trap_term(code: i32, file: Option<&str>) -> Value {
    use std::sync::atomic::{AtomicI32, Ordering};
    static CODE: AtomicI32 = AtomicI32::new(0);
    extern "C" fn leave(_: c_int) {
        // SAFETY: _exit may be called in a handler.
        unsafe { libc::_exit(CODE.load(Ordering::Relaxed)) };
    }
    CODE.store(code, Ordering::Relaxed);
    // SAFETY: the handler calls nothing but _exit.
    unsafe { libc::signal(libc::SIGTERM, leave as *const () as usize) };
    report_ready(file);
    pause_for_ever()
}

fn close_streams(ms: u64) -> Value {
    (0..3).for_each(close);
    std::thread::sleep(std::time::Duration::from_millis(ms));
    std::process::exit(5)
}

fn flood(fd: c_int, bytes: u64, pipe_size: Option<u64>) -> Value {
    if let Some(size) = pipe_size {
        // SAFETY: F_SETPIPE_SZ takes a number.
        unsafe { libc::fcntl(fd, libc::F_SETPIPE_SZ, size as c_int) };
    }
    let chunk = vec![b'x'; 1 << 20];
    let mut left = if bytes == 0 { u64::MAX } else { bytes };
    while left > 0 {
        let most = left.min(chunk.len() as u64) as usize;
        // SAFETY: at most as many bytes are read as the chunk has.
        let count = unsafe { libc::write(fd, chunk.as_ptr().cast(), most) };
        if count <= 0 {
            break;
        }
        left -= count as u64;
    }
    if fd == 1 {
        std::process::exit(0)
    }
    json!({"left": left})
}

fn hold_pipe(ms: u64) -> Value {
    if fork() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(ms));
        std::process::exit(0);
    }
    json!({"parent": "gone"})
}

fn zombies(count: u64) -> Value {
    for _ in 0..count {
        let child = fork();
        if child == 0 {
            // The grandchild becomes an orphan, and then a zombie that only init can reap.
            if fork() == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            std::process::exit(0);
        }
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
    }
    let dead = || {
        names("/proc")
            .iter()
            .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
            .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok())
            .filter(|stat| {
                stat.rsplit_once(')')
                    .is_some_and(|(_, rest)| rest.starts_with(" Z"))
            })
            .count()
    };
    // The last of them are still on their way.
    let mut left = usize::MAX;
    for _ in 0..100 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        left = dead();
        if left == 0 {
            break;
        }
    }
    json!({"zombies": left})
}

// ---- network

fn inet() -> Value {
    let through = || -> std::io::Result<String> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let mut stream = std::net::TcpStream::connect(listener.local_addr()?)?;
        stream.write_all(b"x")?;
        let _accepted = listener.accept()?;
        Ok("connected".into())
    };
    through().map_or_else(
        |error| json!({"error": error.to_string()}),
        |text| json!({"result": text}),
    )
}
