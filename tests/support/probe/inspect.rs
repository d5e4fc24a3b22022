//! What a target may try against other processes, their descriptors and its own program.

use super::{buffer, fork, kill, low_memory, native, number, outcome, read, syscall};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_ulong};
use serde_json::{Map, Value, json};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

pub(crate) const HELP: &str = "\
  walk DIR                    which files below DIR of procfs open for reading and hold something, open for writing, or are
                              links that can be read; ns and net are left out
  reach PID                   every call that names a process: its limits, scheduling, memory, namespaces, descriptors
  forge-all SIG               sends pid 1 a signal by every call there is, with every sender that may be claimed
  regain                      everything that may give back a capability or another id
";

pub(crate) fn act(words: &[&str]) -> Option<Value> {
    match *words {
        ["walk", directory] => Some(walk(directory)),
        ["reach", pid] => Some(reach(number(pid))),
        ["forge-all", signal] => Some(forge_all(number(signal) as c_int)),
        ["regain"] => Some(regain()),
        _ => None,
    }
}

fn error(error: &std::io::Error) -> Value {
    outcome(-i64::from(error.raw_os_error().unwrap_or(libc::EIO)))
}

// ---- procfs

fn walk(top: &str) -> Value {
    let mut found = Found::default();
    found.enter(Path::new(top), Path::new(top));
    json!({"read": found.read, "write": found.write, "links": found.links, "files": found.files})
}

#[derive(Default)]
struct Found {
    read: Vec<String>,
    write: Vec<String>,
    links: Vec<String>,
    files: usize,
}

impl Found {
    fn enter(&mut self, top: &Path, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(top).expect("below").display().to_string();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                // A namespace is reached otherwise, and the network's is the target's own.
                if !["ns", "net"].contains(&entry.file_name().to_str().unwrap_or("")) {
                    self.enter(top, &path);
                }
                continue;
            }
            self.files += 1;
            if kind.is_symlink() {
                if fs::read_link(&path).is_ok() {
                    self.links.push(name.clone());
                }
                if opens(&path, libc::O_PATH) {
                    self.links.push(format!("{name} followed"));
                }
                continue;
            }
            if opens(&path, libc::O_WRONLY) {
                self.write.push(name.clone());
            }
            if read(&path.display().to_string())["result"]
                .as_i64()
                .is_some_and(|count| count > 0)
            {
                self.read.push(name);
            }
        }
    }
}

fn opens(path: &Path, flags: c_int) -> bool {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
    // SAFETY: the string ends in NUL.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_NONBLOCK | libc::O_NOCTTY) };
    if fd != -1 {
        super::close(fd);
    }
    fd != -1
}

// ---- calls

fn reach(pid: u64) -> Value {
    let mut answers = Map::new();
    let mut add = |name: &str, answer: Value| answers.insert(name.to_owned(), answer);
    let two = |a: u64, b: u64| low_memory(&[a.to_ne_bytes(), b.to_ne_bytes()].concat());
    let calls: &[(&str, c_long, &[u64])] = &[
        // A limit on processor time; what the limits are.
        (
            "prlimit set",
            libc::SYS_prlimit64,
            &[pid, 0, two(1 << 40, 1 << 40), 0],
        ),
        ("prlimit get", libc::SYS_prlimit64, &[pid, 0, 0, buffer()]),
        (
            "prlimit hidden",
            libc::SYS_prlimit64,
            &[pid | 1 << 32, 0, 0, buffer()],
        ),
        // SCHED_IDLE, SCHED_OTHER with a nice value, SCHED_BATCH.
        (
            "sched_setscheduler",
            libc::SYS_sched_setscheduler,
            &[pid, 5, buffer()],
        ),
        (
            "sched_setscheduler hidden",
            libc::SYS_sched_setscheduler,
            &[pid | 7 << 32, 3, buffer()],
        ),
        ("sched_setparam", libc::SYS_sched_setparam, &[pid, buffer()]),
        // `struct sched_attr`: size 48, SCHED_IDLE.
        (
            "sched_setattr",
            libc::SYS_sched_setattr,
            &[pid, two(5 << 32 | 48, 0), 0],
        ),
        (
            "sched_setaffinity",
            libc::SYS_sched_setaffinity,
            &[pid, 8, two(1, 0)],
        ),
        ("setpriority process", libc::SYS_setpriority, &[0, pid, 19]),
        ("setpriority user", libc::SYS_setpriority, &[2, 0, 19]),
        ("ioprio_set user", libc::SYS_ioprio_set, &[3, 0, 3 << 13]),
        ("setpriority group", libc::SYS_setpriority, &[1, pid, 19]),
        (
            "setpriority hidden",
            libc::SYS_setpriority,
            &[0, pid | 1 << 40, 19],
        ),
        // The idle class, for a process and for a group.
        (
            "ioprio_set process",
            libc::SYS_ioprio_set,
            &[1, pid, 3 << 13],
        ),
        ("ioprio_set group", libc::SYS_ioprio_set, &[2, pid, 3 << 13]),
        ("kcmp file", libc::SYS_kcmp, &[pid, pid, 0, 0, 0]),
        ("kcmp memory", libc::SYS_kcmp, &[pid, pid, 1, 0, 0]),
        (
            "migrate_pages",
            libc::SYS_migrate_pages,
            &[pid, 64, two(1, 0), two(1, 0)],
        ),
        ("move_pages", libc::SYS_move_pages, &[pid, 0, 0, 0, 0, 0]),
        (
            "get_robust_list",
            libc::SYS_get_robust_list,
            &[pid, buffer(), buffer()],
        ),
        ("setpgid", libc::SYS_setpgid, &[pid, 0]),
        // PR_SCHED_CORE: share the cookie to the process, and from it.
        ("sched_core share to", libc::SYS_prctl, &[62, 2, pid, 0, 0]),
        (
            "sched_core share from",
            libc::SYS_prctl,
            &[62, 3, pid, 0, 0],
        ),
        ("sched_core create", libc::SYS_prctl, &[62, 1, pid, 0, 0]),
        (
            "perf_event_open",
            libc::SYS_perf_event_open,
            &[buffer(), pid, u64::MAX, u64::MAX, 0],
        ),
    ];
    for (name, call, arguments) in calls {
        let _ = add(name, native(*call as u64, arguments));
    }
    if cfg!(target_arch = "x86_64") {
        let pid = pid.to_string();
        for (name, number, arguments) in [
            ("i386 prlimit", 340, ["P", "0", "0", "buf"]),
            ("i386 sched_setscheduler", 156, ["P", "5", "buf", "0"]),
            ("i386 sched_setparam", 154, ["P", "buf", "0", "0"]),
            ("i386 sched_setaffinity", 241, ["P", "8", "i:1", "0"]),
            ("i386 setpriority", 97, ["0", "P", "19", "0"]),
            ("i386 ioprio_set", 289, ["1", "P", "24576", "0"]),
            ("i386 ptrace", 26, ["16", "P", "0", "0"]),
        ] {
            let arguments = arguments.map(|word| if word == "P" { &pid } else { word });
            let _ = add(name, syscall("i386", number, &arguments));
        }
    }
    // SAFETY: no memory is passed.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if pidfd != -1 {
        let pidfd = pidfd as u64;
        for (name, flag) in NAMESPACES {
            let joined = native(libc::SYS_setns as u64, &[pidfd, *flag as u64]);
            let _ = add(&format!("setns {name} by pidfd"), joined);
        }
        let all = NAMESPACES.iter().fold(0, |all, (_, flag)| all | flag);
        let joined = native(libc::SYS_setns as u64, &[pidfd, all as u64]);
        let _ = add("setns all by pidfd", joined);
        for fd in 0..4 {
            let stolen = native(libc::SYS_pidfd_getfd as u64, &[pidfd, fd, 0]);
            let _ = add(&format!("pidfd_getfd {fd}"), stolen);
        }
        // Advice about its memory, and taking its memory away as from a dying process.
        let advice = native(440, &[pidfd, two(0x40_0000, 4096), 1, 21, 0]);
        let _ = add("process_madvise", advice);
        let _ = add("process_mrelease", native(448, &[pidfd, 0]));
        // PIDFD_GET_USER_NAMESPACE and its neighbours.
        for request in 0xff01..=0xff0a_u64 {
            let given = native(libc::SYS_ioctl as u64, &[pidfd, request, 0]);
            let _ = add(&format!("pidfd ioctl {request:#x}"), given);
        }
    }
    for (name, _) in NAMESPACES {
        // For the real root a second procfs lies over pid 1's namespaces.
        let own = format!("/proc/{pid}/ns");
        let own = [format!("{own}/{pid}/ns"), own];
        let own = own.iter().find(|path| fs::exists(path).unwrap_or(true));
        let path = format!("{}/{name}", own.map_or("", String::as_str));
        let opened = fs::File::open(path).map_or_else(|e| error(&e), |_| json!({"errno": null}));
        let _ = add(&format!("open ns/{name}"), opened);
    }
    Value::Object(answers)
}

const NAMESPACES: &[(&str, c_int)] = &[
    ("user", libc::CLONE_NEWUSER),
    ("mnt", libc::CLONE_NEWNS),
    ("pid", libc::CLONE_NEWPID),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("net", libc::CLONE_NEWNET),
    ("cgroup", libc::CLONE_NEWCGROUP),
];

// ---- signals

/// Pid 1 takes a signal for its parent's if it seems to come from outside the pid namespace, by kill(2).
fn forge_all(signal: c_int) -> Value {
    let mut answers = Map::new();
    let pidfd = native(libc::SYS_pidfd_open as u64, &[1, 0])["result"].as_i64();
    let pidfd = pidfd.expect("a pidfd of init") as u64;
    let _ = answers.insert("kill".into(), kill(1, signal));
    // Codes: SI_USER, SI_QUEUE, SI_TIMER, SI_MESGQ, SI_ASYNCIO, SI_SIGIO, SI_TKILL, SI_DETHREAD, SI_ASYNCNL, SI_KERNEL, CLD_EXITED.
    for code in [0, -1, -2, -3, -4, -5, -6, -7, -60, 128, 1, i32::MIN] {
        let mut info = [0i32; 32];
        info[0] = signal;
        info[2] = code;
        let info = info.as_ptr().expose_provenance() as u64;
        let signal = signal as u64;
        let mut add = |name: &str, answer| answers.insert(format!("{name} {code}"), answer);
        let call = |number: c_long, arguments: &[u64]| native(number as u64, arguments);
        let _ = add(
            "rt_sigqueueinfo",
            call(libc::SYS_rt_sigqueueinfo, &[1, signal, info]),
        );
        let _ = add(
            "rt_tgsigqueueinfo",
            call(libc::SYS_rt_tgsigqueueinfo, &[1, 1, signal, info]),
        );
        let _ = add(
            "pidfd_send_signal",
            call(libc::SYS_pidfd_send_signal, &[pidfd, signal, info, 0]),
        );
    }
    let tgkill = native(libc::SYS_tgkill as u64, &[1, 1, signal as u64]);
    let _ = answers.insert("tgkill".into(), tgkill);
    let _ = answers.insert("file".into(), by_file(signal));
    let _ = answers.insert("child".into(), by_child(signal));
    Value::Object(answers)
}

/// The kernel itself sends it, when something happens to a file that is said to belong to pid 1.
fn by_file(signal: c_int) -> Value {
    let mut ends = [-1; 2];
    let stream = libc::SOCK_STREAM;
    // SAFETY: there is room for two descriptors.
    unsafe { libc::socketpair(libc::AF_UNIX, stream, 0, ends.as_mut_ptr()) };
    let [owner, other] = ends.map(|fd| fd as u64);
    let set = |what: c_int, value: c_int| {
        native(libc::SYS_fcntl as u64, &[owner, what as u64, value as u64])
    };
    let owned = set(libc::F_SETOWN, 1);
    set(10 /* F_SETSIG */, signal);
    set(libc::F_SETFL, libc::O_ASYNC);
    native(libc::SYS_write as u64, &[other, low_memory(b"x"), 1]);
    owned
}

/// A child that asks for this signal at its end, and whose parent is, or becomes, pid 1.
fn by_child(signal: c_int) -> Value {
    for flags in [0, libc::CLONE_PARENT] {
        if fork() == 0 {
            let flags = (flags | signal) as c_ulong;
            // SAFETY: the stack is shared with nobody, since the memory is copied; no other memory is passed.
            let child =
                unsafe { libc::syscall(libc::SYS_clone, flags, ptr::null::<u8>(), 0, 0, 0) };
            if child == 0 {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            std::process::exit(0);
        }
    }
    json!({"errno": null})
}

// ---- identity

/// Set-ids, groups, capabilities and what else may give a power back; what is refused and what is the outcome.
fn regain() -> Value {
    let mut answers = Map::new();
    let mut add = |name: &str, answer: Value| answers.insert(name.to_owned(), answer);
    let all = u64::MAX;
    let call = |number: c_long, arguments: &[u64]| native(number as u64, arguments);
    // The header of version 3 for this thread, and three full sets.
    let header = low_memory(&[0x2008_0522u32.to_ne_bytes(), [0; 4]].concat());
    let full = low_memory(&[0xff; 24]);
    let _ = add("capset full", call(libc::SYS_capset, &[header, full]));
    for capability in [0, 1, 6, 7, 21] {
        let bit = 1u64 << capability;
        let one = [bit as u32, bit as u32, 0, 0, 0, 0]
            .map(u32::to_ne_bytes)
            .concat();
        let one = call(libc::SYS_capset, &[header, low_memory(&one)]);
        let _ = add(&format!("capset {capability}"), one);
        // PR_CAP_AMBIENT_RAISE
        let raised = call(libc::SYS_prctl, &[47, 2, capability, 0, 0]);
        let _ = add(&format!("ambient {capability}"), raised);
    }
    // PR_SET_SECUREBITS, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS
    let _ = add("securebits 0", call(libc::SYS_prctl, &[28, 0, 0, 0, 0]));
    let _ = add("keepcaps", call(libc::SYS_prctl, &[8, 1, 0, 0, 0]));
    let _ = add("no_new_privs 0", call(libc::SYS_prctl, &[38, 0, 0, 0, 0]));
    for (name, number) in [("setuid", libc::SYS_setuid), ("setgid", libc::SYS_setgid)] {
        for id in [0, 1, 65534, 4_000_000_000] {
            let _ = add(&format!("{name} {id}"), call(number, &[id]));
        }
    }
    for (name, number) in [
        ("setresuid", libc::SYS_setresuid),
        ("setresgid", libc::SYS_setresgid),
    ] {
        for ids in [[0, 0, 0], [all, 0, all], [all, all, 0]] {
            let _ = add(&format!("{name} {ids:?}"), call(number, &ids));
        }
    }
    for groups in [&[][..], &[0u32], &[65534]] {
        let list: Vec<u8> = groups
            .iter()
            .flat_map(|group| group.to_ne_bytes())
            .collect();
        let set = call(
            libc::SYS_setgroups,
            &[groups.len() as u64, low_memory(&list)],
        );
        let _ = add(&format!("setgroups {groups:?}"), set);
    }
    for (file, text) in [
        ("uid_map", "0 0 1"),
        ("gid_map", "0 0 1"),
        ("uid_map", "0 1000 1"),
        ("setgroups", "allow"),
    ] {
        let path = format!("/proc/self/{file}");
        let _ = add(&format!("write {file} {text}"), super::write(&path, text));
    }
    // They give the old id back, whatever happens: what counts is whether it has changed.
    for (name, number) in [
        ("setfsuid", libc::SYS_setfsuid),
        ("setfsgid", libc::SYS_setfsgid),
    ] {
        let before = call(number, &[all])["result"].clone();
        let _ = call(number, &[0]);
        let changed = call(number, &[all])["result"] != before;
        let refused = if changed || before == 0 {
            0
        } else {
            Errno::EPERM as i64
        };
        let _ = add(name, outcome(-refused));
    }
    Value::Object(answers)
}
