//! What a target may try to reach other containers, or to outlive its own.

use crate::{checked, names, number, outcome, syscall};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_void};
use serde_json::{Map, Value, json};
use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::ptr;

pub(crate) const HELP: &str = "\
  share KIND NAME FILE        makes an object that others may find; writes its address to FILE; stays until FILE is gone
  find-shared KIND ADDRESS    what such an object says. KIND: sysv-shm sysv-sem sysv-msg posix-mq posix-shm abstract loopback
  keys ABI SERIAL             what keyctl can do with the caller's key of that number, called stdbox-test, and with a new one
  keep-key                    puts a key called stdbox-kept where other processes of the same user might find it
  reach-process PID           everything that can be done to a process by its number
  peer FD                     what can be done to the process at the other end of a socket
  netlink                     network devices, and whether process events can be asked for
  write-records               writes what init might say into every descriptor that can be reached
  linger MARKER [FILE]        processes of every kind that may outlive others; exits with 3, or writes FILE and stays
  fork-bomb N MARKER [FILE]   N processes, each of which forks and ends at once, for ever; the same
  siblings N                  N children of pid 1 that exit with 90 to 99 each, and orphans; then exits with 7
";

pub(crate) fn act(words: &[&str]) -> Option<Value> {
    Some(match *words {
        ["share", kind, name, file] => share(kind, name, file),
        ["find-shared", kind, address] => find(kind, address),
        ["keys", abi, serial] => keys(abi, serial),
        ["keep-key"] => keep_key(),
        ["reach-process", pid] => reach(number(pid) as c_int),
        ["peer", fd] => peer(number(fd) as c_int),
        ["netlink"] => netlink(),
        ["write-records"] => write_records(),
        ["linger", marker, ref file @ ..] => linger(marker, file.first().copied()),
        ["fork-bomb", count, marker, ref file @ ..] => {
            fork_bomb(number(count), marker, file.first().copied())
        }
        ["siblings", count] => siblings(number(count)),
        _ => return None,
    })
}

// ---- objects that are named, not inherited

/// Eight bytes that no other object holds.
fn secret(name: &str) -> [u8; 8] {
    let mut hash = u64::from(std::process::id());
    for byte in name.bytes() {
        hash = hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte);
    }
    let text = format!("{:08x}", hash as u32);
    text.as_bytes().try_into().expect("eight digits")
}

/// `struct msgbuf` with room for the secret.
#[repr(C)]
struct Message {
    kind: c_long,
    text: [u8; 8],
}

fn must(result: i64, what: &str) -> c_int {
    assert!(result >= 0, "{what}: {}", Errno::last());
    result as c_int
}

/// Makes the object. Its address is what somebody needs to find it; the closure removes it.
fn share(kind: &str, name: &str, file: &str) -> Value {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o666;
    let text = CString::new(format!("/{name}")).expect("a name has no NUL");
    let secret = secret(name);
    let key = c_int::from_ne_bytes([secret[4], secret[5], secret[6], secret[7]]);
    let value = c_int::from(u16::from_ne_bytes([secret[0], secret[1]]) / 2);
    let mut told = String::from_utf8_lossy(&secret).into_owned();
    let (address, remove): (String, Box<dyn FnOnce()>) = match kind {
        "sysv-shm" => {
            // SAFETY: no memory is passed.
            let id = must(unsafe { libc::shmget(key, 4096, flags) }.into(), "shmget");
            // SAFETY: the kernel chooses a free place.
            let place = unsafe { libc::shmat(id, ptr::null(), 0) };
            // SAFETY: the segment is a page long.
            unsafe { ptr::copy_nonoverlapping(secret.as_ptr(), place.cast(), secret.len()) };
            let remove = move || {
                // SAFETY: this request takes nothing.
                let _ = unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) };
            };
            (format!("{key}:{id}"), Box::new(remove))
        }
        "sysv-sem" => {
            // SAFETY: no memory is passed.
            let id = must(unsafe { libc::semget(key, 1, flags) }.into(), "semget");
            // SAFETY: SETVAL takes a number.
            must(unsafe { libc::semctl(id, 0, 16, value) }.into(), "semctl");
            told = value.to_string();
            let remove = move || {
                // SAFETY: this request takes nothing.
                let _ = unsafe { libc::semctl(id, 0, libc::IPC_RMID) };
            };
            (format!("{key}:{id}"), Box::new(remove))
        }
        "sysv-msg" => {
            // SAFETY: no memory is passed.
            let id = must(unsafe { libc::msgget(key, flags) }.into(), "msgget");
            let message = Message {
                kind: 1,
                text: secret,
            };
            // SAFETY: the text is as long as announced.
            let sent = unsafe { libc::msgsnd(id, (&raw const message).cast(), 8, 0) };
            must(sent.into(), "msgsnd");
            let remove = move || {
                // SAFETY: this request takes nothing.
                let _ = unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) };
            };
            (format!("{key}:{id}"), Box::new(remove))
        }
        "posix-mq" => {
            let none = ptr::null::<c_void>();
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
            // SAFETY: the name ends in NUL; without attributes the kernel takes its defaults.
            let queue = unsafe { libc::mq_open(text.as_ptr(), flags, 0o666, none) };
            let queue = must(queue.into(), "mq_open");
            // SAFETY: as many bytes are read as are announced.
            let sent = unsafe { libc::mq_send(queue, secret.as_ptr().cast(), 8, 0) };
            must(sent.into(), "mq_send");
            let remove = move || {
                // SAFETY: the name ends in NUL.
                let _ = unsafe { libc::mq_unlink(text.as_ptr()) };
            };
            (format!("/{name}"), Box::new(remove))
        }
        "posix-shm" => {
            let place = format!("/dev/shm/{name}");
            fs::write(&place, secret).expect("memory can be shared");
            let remove = move || drop(fs::remove_file(place));
            (name.to_owned(), Box::new(remove))
        }
        "abstract" => {
            let address = SocketAddr::from_abstract_name(name).expect("an address");
            let listener = UnixListener::bind_addr(&address).expect("the name is free");
            serve(secret, move || Some(Box::new(listener.accept().ok()?.0)));
            (name.to_owned(), Box::new(|| ()))
        }
        "loopback" => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let port = listener.local_addr().expect("it has one").port();
            serve(secret, move || Some(Box::new(listener.accept().ok()?.0)));
            (port.to_string(), Box::new(|| ()))
        }
        _ => panic!("no such kind: {kind}"),
    };
    // Whole or not there at all.
    let draft = format!("{file}.draft");
    fs::write(&draft, format!("{address} {told}")).expect("the file for the test");
    fs::rename(&draft, file).expect("the file for the test");
    while fs::exists(file).is_ok_and(|there| there) {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    remove();
    json!({"shared": kind})
}

fn serve(secret: [u8; 8], mut accept: impl FnMut() -> Option<Box<dyn Write>> + Send + 'static) {
    std::thread::spawn(move || {
        while let Some(mut stream) = accept() {
            let _ = stream.write_all(&secret);
        }
    });
}

fn find(kind: &str, address: &str) -> Value {
    let found = look(kind, address).into_iter();
    json!({"found": found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect::<Vec<_>>()})
}

/// By its name or key, and by its number.
fn look(kind: &str, address: &str) -> Vec<Vec<u8>> {
    let ids = |by_key: &dyn Fn(c_int) -> c_int| -> Vec<c_int> {
        let (key, id) = address.split_once(':').expect("KEY:NUMBER");
        let found = by_key(key.parse().expect("a key"));
        [found, id.parse().expect("a number")]
            .into_iter()
            .filter(|id| *id >= 0)
            .collect()
    };
    let mut bytes = [0u8; 8192];
    match kind {
        "sysv-shm" => {
            // SAFETY: no memory is passed.
            let ids = ids(&|key| unsafe { libc::shmget(key, 0, 0) }).into_iter();
            // SAFETY: the kernel chooses a free place.
            let places = ids.map(|id| unsafe { libc::shmat(id, ptr::null(), libc::SHM_RDONLY) });
            let places = places.filter(|place| place.addr() != usize::MAX);
            // SAFETY: a segment is at least a page long.
            let found = places.map(|place| unsafe { place.cast::<[u8; 8]>().read() }.to_vec());
            found.collect()
        }
        "sysv-sem" => {
            // SAFETY: no memory is passed.
            let ids = ids(&|key| unsafe { libc::semget(key, 0, 0) }).into_iter();
            // SAFETY: GETVAL takes nothing.
            let values = ids.map(|id| unsafe { libc::semctl(id, 0, 12) });
            let found = values.filter(|value| *value >= 0);
            found.map(|value| value.to_string().into_bytes()).collect()
        }
        "sysv-msg" => {
            // SAFETY: no memory is passed.
            let ids = ids(&|key| unsafe { libc::msgget(key, 0) }).into_iter();
            let take = |id| {
                let mut message = Message {
                    kind: 0,
                    text: [0; 8],
                };
                let place = (&raw mut message).cast();
                // SAFETY: the text has the room that is announced.
                let count = unsafe { libc::msgrcv(id, place, 8, 0, libc::IPC_NOWAIT) };
                (count == 8).then(|| message.text.to_vec())
            };
            ids.filter_map(take).collect()
        }
        "posix-mq" => {
            let name = CString::new(address).expect("a name has no NUL");
            // SAFETY: the name ends in NUL.
            let queue = unsafe { libc::mq_open(name.as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK) };
            let place = bytes.as_mut_ptr().cast();
            // SAFETY: `bytes` has the room that is announced.
            let count = unsafe { libc::mq_receive(queue, place, bytes.len(), ptr::null_mut()) };
            let received = usize::try_from(count)
                .ok()
                .map(|count| bytes[..count].to_vec());
            let listed = fs::read(format!("/dev/mqueue{address}")).ok();
            received.into_iter().chain(listed).collect()
        }
        "posix-shm" => ["/dev/shm", "/run/shm"]
            .iter()
            .filter_map(|place| fs::read(format!("{place}/{address}")).ok())
            .collect(),
        "abstract" => {
            let address = SocketAddr::from_abstract_name(address).expect("an address");
            said(UnixStream::connect_addr(&address))
        }
        "loopback" => said(std::net::TcpStream::connect(format!("127.0.0.1:{address}"))),
        _ => panic!("no such kind: {kind}"),
    }
}

fn said(connected: std::io::Result<impl Read>) -> Vec<Vec<u8>> {
    let mut bytes = [0; 8];
    let read = connected.and_then(|mut stream| stream.read_exact(&mut bytes));
    read.into_iter().map(|()| bytes.to_vec()).collect()
}

// ---- keyrings

/// keyctl(2) by either ABI. KEY_SPEC_SESSION_KEYRING is -3, KEY_SPEC_USER_KEYRING -4, KEY_SPEC_USER_SESSION_KEYRING -5.
fn keys(abi: &str, serial: &str) -> Value {
    let (add_key, request_key, keyctl) = match abi {
        "native" => (
            libc::SYS_add_key as u64,
            libc::SYS_request_key as u64,
            libc::SYS_keyctl as u64,
        ),
        _ => (286, 287, 288),
    };
    let mut answers = Map::new();
    let mut call = |what: &str, number: u64, args: &[&str]| {
        answers.insert(what.to_owned(), syscall(abi, number, args));
    };
    let (kind, name) = ("s:user", "s:stdbox-test");
    call("describe", keyctl, &["6", serial, "buf", "100"]);
    call("read", keyctl, &["11", serial, "buf", "100"]);
    call("search session", keyctl, &["10", "-3", kind, name, "0"]);
    call("search user", keyctl, &["10", "-4", kind, name, "0"]);
    call(
        "search user session",
        keyctl,
        &["10", "-5", kind, name, "0"],
    );
    call("request_key", request_key, &[kind, name, "0", "0"]);
    call("revoke", keyctl, &["3", serial]);
    call("set permissions", keyctl, &["5", serial, "0x3f3f3f3f"]);
    call("link", keyctl, &["8", serial, "-2"]);
    call("session id", keyctl, &["0", "-3", "0"]);
    call("add", add_key, &[kind, "s:stdbox-own", "s:x", "1", "-3"]);
    call("join a session", keyctl, &["1", "0"]);
    call(
        "join a named session",
        keyctl,
        &["1", "s:stdbox-test-session"],
    );
    Value::Object(answers)
}

/// In the user keyring, the session's and the persistent one.
fn keep_key() -> Value {
    let add = |ring: &str| {
        syscall(
            "native",
            libc::SYS_add_key as u64,
            &["s:user", "s:stdbox-kept", "s:x", "1", ring],
        )
    };
    let persistent = syscall("native", libc::SYS_keyctl as u64, &["22", "-1", "-3"]);
    let ring = persistent["result"].to_string();
    let find = |ring: &str| {
        let args = ["10", ring, "s:user", "s:stdbox-kept", "0"];
        syscall("native", libc::SYS_keyctl as u64, &args)
    };
    let rings = [
        ("session", "-3"),
        ("user", "-4"),
        ("user session", "-5"),
        ("persistent", ring.as_str()),
    ];
    let before: Map<_, _> = rings
        .iter()
        .map(|(name, ring)| ((*name).to_owned(), find(ring)))
        .collect();
    let added: Map<_, _> = rings
        .iter()
        .map(|(name, ring)| ((*name).to_owned(), add(ring)))
        .collect();
    json!({"before": before, "added": added})
}

// ---- other processes

fn reach(pid: c_int) -> Value {
    let mut answers = Map::new();
    let mut add = |name: &str, result: c_long| answers.insert(name.to_owned(), checked(result));
    let mut info = [0i32; 32];
    info[2] = -1;
    let none = ptr::null_mut::<c_void>();
    // SAFETY: no memory is passed.
    add("kill", unsafe { libc::kill(pid, libc::SIGKILL) }.into());
    // SAFETY: no memory is passed.
    add(
        "kill group",
        unsafe { libc::kill(-pid, libc::SIGKILL) }.into(),
    );
    // SAFETY: no memory is passed.
    add("tgkill", unsafe {
        libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGKILL)
    });
    // SAFETY: `info` is as long as the kernel's `siginfo_t`.
    add("sigqueue", unsafe {
        libc::syscall(libc::SYS_rt_sigqueueinfo, pid, libc::SIGKILL, info.as_ptr())
    });
    // SAFETY: no memory is passed.
    add("pidfd_open", unsafe {
        libc::syscall(libc::SYS_pidfd_open, pid, 0)
    });
    // SAFETY: PTRACE_SEIZE takes no memory.
    add("ptrace", unsafe {
        libc::ptrace(libc::PTRACE_SEIZE, pid, none, none)
    });
    // SAFETY: nothing is asked for.
    add("prlimit", unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, libc::RLIMIT_CPU, none, none)
    });
    // SAFETY: no memory is passed.
    add(
        "setpriority",
        unsafe { libc::setpriority(libc::PRIO_PROCESS, pid as _, 19) }.into(),
    );
    // SAFETY: no memory is passed.
    add(
        "F_SETOWN",
        unsafe { libc::fcntl(1, libc::F_SETOWN, pid) }.into(),
    );
    // SAFETY: no memory is passed.
    add("getsid", unsafe { libc::getsid(pid) }.into());
    answers.insert("/proc".into(), json!({"errno": (!fs::exists(format!("/proc/{pid}")).unwrap_or(false)).then_some("ENOENT")}));
    Value::Object(answers)
}

/// A descriptor for a process does not need its number: SO_PEERPIDFD (Linux 6.5).
fn peer(fd: c_int) -> Value {
    const SO_PEERPIDFD: c_int = 77;
    let mut pidfd: c_int = -1;
    let mut size = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: there is room for a descriptor.
    let got = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut pidfd).cast(),
            &raw mut size,
        )
    };
    if got == -1 {
        return json!({"pidfd": checked(-1)});
    }
    let mut answers = Map::new();
    let mut add = |name: &str, result: c_long| answers.insert(name.to_owned(), checked(result));
    let none = ptr::null::<c_void>();
    // SAFETY: without information the kernel fills in its own.
    add("signal", unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd, libc::SIGKILL, none, 0)
    });
    for fd in 0..3 {
        // SAFETY: no memory is passed.
        add(&format!("descriptor {fd}"), unsafe {
            libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0)
        });
    }
    for (name, flag) in [
        ("mount", libc::CLONE_NEWNS),
        ("user", libc::CLONE_NEWUSER),
        ("pid", libc::CLONE_NEWPID),
    ] {
        // SAFETY: no memory is passed.
        add(name, unsafe { libc::setns(pidfd, flag) }.into());
    }
    Value::Object(answers)
}

fn netlink() -> Value {
    let mut first = ptr::null_mut();
    // SAFETY: the list is freed by the end of the process.
    unsafe { libc::getifaddrs(&raw mut first) };
    let mut devices: Vec<String> = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: the list's elements live as long as the list.
        let element = unsafe { &*next };
        // SAFETY: each has a name that ends in NUL.
        let name = unsafe { std::ffi::CStr::from_ptr(element.ifa_name) };
        devices.push(name.to_string_lossy().into_owned());
        next = element.ifa_next;
    }
    devices.sort();
    devices.dedup();
    json!({"devices": devices, "process events": process_events()})
}

/// NETLINK_CONNECTOR carries the process events of the whole machine: `struct nlmsghdr`, `struct cn_msg` for CN_IDX_PROC and
/// PROC_CN_MCAST_LISTEN.
fn process_events() -> Value {
    // SAFETY: no memory is passed.
    let socket = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_DGRAM, 11) };
    if socket == -1 {
        return checked(-1);
    }
    let message: [u32; 10] = [40, 3, 0, 0, 1, 1, 0, 0, 4, 1];
    // SAFETY: as many bytes are read as are announced.
    checked(unsafe { libc::send(socket, message.as_ptr().cast(), 40, 0) } as c_long)
}

// ---- what init says

/// Every descriptor of this process but 0, 1 and 2, and of init, by all ways to get one.
fn write_records() -> Value {
    let alone = std::process::id() == 1;
    // SAFETY: no memory is passed.
    let init = unsafe { libc::syscall(libc::SYS_pidfd_open, 1, 0) } as c_int;
    let init = if alone { -1 } else { init };
    let stolen = (0..1024).filter_map(|fd| {
        // SAFETY: no memory is passed.
        let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, init, fd, 0) };
        (copy >= 0).then_some(copy as c_int)
    });
    let opened = ["/proc/1/fd", "/proc/1/task/1/fd", "/proc/self/fd"]
        .iter()
        .flat_map(|directory| {
            names(directory)
                .into_iter()
                .map(move |name| format!("{directory}/{name}"))
        })
        .filter(|path| {
            let own = alone || path.contains("self");
            !(own && (0..3).any(|fd| path.ends_with(&format!("/fd/{fd}"))))
        })
        .filter_map(|path| {
            let path = CString::new(path).ok()?;
            // SAFETY: the path ends in NUL.
            let fd = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_NONBLOCK) };
            (fd >= 0).then_some(fd)
        });
    let all: Vec<c_int> = stolen.chain(opened).chain(3..1024).collect();
    let mut written = 0;
    for fd in all {
        for _ in 0..1000 {
            // SAFETY: as many bytes are read as the array has.
            let count = unsafe { libc::write(fd, [0xffu8; 160].as_ptr().cast(), 160) };
            if count != 160 {
                break;
            }
            written += 1;
        }
    }
    json!({"written": written})
}

/// CLONE_PARENT makes the new process a child of this one's parent.
fn siblings(count: u64) -> Value {
    for i in 0..count {
        let flags = libc::CLONE_PARENT | libc::SIGCHLD;
        // SAFETY: memory and stack are copied, and this process has one thread.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        if pid == 0 {
            std::process::exit(90 + (i % 10) as i32);
        }
        if pid == -1 {
            return outcome(-i64::from(Errno::last_raw()));
        }
        if crate::fork() == 0 {
            if crate::fork() == 0 {
                std::process::exit(80);
            }
            std::process::exit(81);
        }
    }
    // Those that are pid 1's are gone when it has reaped them.
    let own = std::process::id();
    while names("/proc").iter().any(|name| {
        name.parse().is_ok_and(|pid: u32| pid > 1 && pid != own)
            && fs::read_to_string(format!("/proc/{name}/stat")).is_ok_and(|stat| {
                stat.rsplit_once(") ")
                    .is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some("1"))
            })
    }) {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    std::process::exit(7)
}

// ---- who stays

fn ready_or_gone(file: Option<&str>) -> ! {
    match file {
        Some(file) => {
            fs::write(file, "ready").expect("the file for the test");
            crate::pause_for_ever()
        }
        None => std::process::exit(3),
    }
}

/// Forks with more flags of clone(2).
fn fork_with(flags: c_int) -> c_long {
    // SAFETY: memory and stack are copied, and this process has one thread.
    unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) }
}

/// The marker is on the command line of every copy.
fn linger(marker: &str, file: Option<&str>) -> Value {
    assert!(!marker.is_empty(), "a marker");
    let (mut ready, tell) = std::io::pipe().expect("a pipe");
    let none = ptr::null_mut::<c_void>();
    let here = || {
        let _ = (&tell).write_all(b"x");
    };
    let kinds: [&dyn Fn(); 8] = [
        // A daemon of daemon(7), with nothing to tell that somebody is gone.
        &|| {
            // SAFETY: no memory is passed.
            unsafe { libc::setsid() };
            if crate::fork() != 0 {
                std::process::exit(0);
            }
            // SAFETY: this option takes numbers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) };
            // SAFETY: no memory is passed.
            unsafe { libc::setpgid(0, 0) };
            here();
        },
        &|| {
            (1..=64).for_each(crate::ignore);
            here();
        },
        &|| {
            here();
            crate::raise(libc::SIGSTOP);
        },
        // Its parent waits for it as after vfork(2).
        &|| {
            if fork_with(libc::CLONE_VFORK) == 0 {
                here();
            }
        },
        // Pid 1 of a namespace below, and a child of it.
        &|| {
            if fork_with(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) == 0 {
                crate::fork();
                here();
            } else {
                std::process::exit(0);
            }
        },
        // One stopped by the other, which traces it.
        &|| {
            let other = crate::fork();
            if other != 0 {
                // SAFETY: PTRACE_ATTACH takes no memory.
                unsafe { libc::ptrace(libc::PTRACE_ATTACH, other, none, none) };
                here();
            }
        },
        // All orphans below it become its children.
        &|| {
            // SAFETY: this option takes numbers.
            unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
            if crate::fork() == 0 && crate::fork() == 0 {
                here();
            }
        },
        &|| {
            std::thread::spawn(|| crate::pause_for_ever());
            here();
            // SAFETY: only this thread ends: the process goes on with the other one.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        },
    ];
    for kind in kinds {
        if crate::fork() == 0 {
            (0..3).for_each(crate::close);
            kind();
            crate::pause_for_ever();
        }
    }
    // The one with a child in a namespace below says it twice.
    ready
        .read_exact(&mut [0; 9])
        .expect("all of them are there");
    ready_or_gone(file)
}

fn fork_bomb(count: u64, marker: &str, file: Option<&str>) -> Value {
    assert!(!marker.is_empty(), "a marker");
    let (mut ready, tell) = std::io::pipe().expect("a pipe");
    for _ in 0..count {
        if crate::fork() == 0 {
            (0..3).for_each(crate::close);
            let _ = (&tell).write_all(b"x");
            // Nobody can signal it by a number that was its own a moment ago.
            loop {
                let own = std::process::id() as c_int;
                match crate::fork() {
                    // Not before its parent is reaped: the dead must not fill the machine.
                    0 => {
                        while crate::kill(own, 0)["errno"].is_null() {
                            std::thread::yield_now();
                        }
                    }
                    -1 => {}
                    // SAFETY: leaves without running anything.
                    _ => unsafe { libc::_exit(0) },
                }
            }
        }
    }
    ready
        .read_exact(&mut vec![0; count as usize])
        .expect("all of them are there");
    ready_or_gone(file)
}
