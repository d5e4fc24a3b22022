//! A container engine in small: an empty root with nothing but what it is told to put there.
//!
//! The tests start stdbox in what it builds. It is static and stays outside, so that no shell or library must lie in the root.

use crate::mounting::{Done, address, call, mount, terminated};
use crate::names;
use nix::errno::Errno;
use nix::libc::{self, c_int};
use serde_json::{Value, json};
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::ptr;

pub(crate) const HELP: &str = "\
  engine AT ITEM.. -- COMMAND..
                              makes namespaces and an empty root over the directory AT, and executes COMMAND there; prints
                              only what is wrong
      user=UID                a user namespace in which this user is UID; else none
      pid                     a pid namespace in which COMMAND is pid 1
      put=FILE:PATH | dir=PATH | text=PATH:TEXT | link=PATH:TO
      proc | proc=new         the host's procfs, or a fresh one (with pid)
      dev | sys               the host's, with all that is mounted below
      nodes                   a directory /dev with the usual device files and nothing else
      cover=PATH              something over it: the null device over a file, an empty memory file system over a directory
      keep=PATH               read-only
      closed=PATH             mounted with nodev
      engines                 covers and keeps what Docker and Podman do
      read-only               no writing in the root, what is mounted below it apart
      chroot                  enters the root with chroot(2), as an engine does not
      powerless               no capabilities, and none to be had
  around DIR..                who this is, and for each DIR what lies in it and whether a file can be made there
";

/// What runc and crun cover and make read-only: the defaults of Docker and Podman.
const COVERED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/fs/selinux",
];
const KEPT: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

pub(crate) fn act(words: &[&str]) -> Option<Value> {
    if let ["around", directories @ ..] = words {
        return Some(around(directories));
    }
    let ["engine", at, rest @ ..] = words else {
        return None;
    };
    let middle = rest.iter().position(|word| *word == "--")?;
    let (items, command) = (&rest[..middle], &rest[middle + 1..]);
    Some(match enter(at, items, command) {
        Ok(status) => std::process::exit(status),
        Err((what, errno)) => json!({"failed": what, "errno": format!("{errno:?}")}),
    })
}

fn around(directories: &[&str]) -> Value {
    let seen = |directory: &&str| {
        let names = fs::read_dir(directory).ok().map(|_| names(directory));
        let made = fs::write(Path::new(directory).join("made"), "");
        let place = json!({"names": names, "written": made.is_ok()});
        ((*directory).to_owned(), place)
    };
    let null = fs::OpenOptions::new().write(true).open("/dev/null");
    let null = null.and_then(|mut null| {
        std::io::Write::write_all(&mut null, b"x")?;
        null.metadata()
    });
    let usable = null.is_ok_and(|found| found.file_type().is_char_device());
    let system = nix::sys::utsname::uname().map_or_else(
        |_| String::new(),
        |system| system.nodename().to_string_lossy().into_owned(),
    );
    json!({
        "uid": nix::unistd::getuid().as_raw(),
        "pid": nix::unistd::getpid().as_raw(),
        "host": system,
        "home": std::env::var("HOME").ok(),
        "null": usable,
        "in": directories.iter().map(seen).collect::<serde_json::Map<_, _>>(),
    })
}

type Step<T> = Result<T, (String, Errno)>;

fn named(what: impl Into<String>) -> impl FnOnce(Errno) -> (String, Errno) {
    let what = what.into();
    move |errno| (what, errno)
}

fn file<T>(what: &str, result: std::io::Result<T>) -> Step<T> {
    let errno = |error: &std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    result.map_err(|error| (what.to_owned(), errno(&error)))
}

fn enter(at: &str, items: &[&str], command: &[&str]) -> Step<i32> {
    let mut flags = libc::CLONE_NEWNS;
    let user = items.iter().find_map(|item| item.strip_prefix("user="));
    if user.is_some() {
        flags |= libc::CLONE_NEWUSER;
    }
    if items.contains(&"pid") {
        flags |= libc::CLONE_NEWPID;
    }
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    call(libc::SYS_unshare, &[flags as u64]).map_err(named("unshare"))?;
    if let Some(user) = user {
        file("setgroups", fs::write("/proc/self/setgroups", "deny"))?;
        file(
            "uid_map",
            fs::write("/proc/self/uid_map", format!("{user} {uid} 1")),
        )?;
        file(
            "gid_map",
            fs::write("/proc/self/gid_map", format!("{user} {gid} 1")),
        )?;
    }
    let private = libc::MS_REC | libc::MS_PRIVATE;
    mount("none", "/", "", private, "").map_err(named("private"))?;
    if !items.contains(&"pid") {
        return Err(become_command(at, items, command));
    }
    // SAFETY: this program has one thread.
    match unsafe { libc::fork() } {
        0 => Err(become_command(at, items, command)),
        pid => Ok(watch(pid)),
    }
}

/// Passes the signals of an engine's caller on, and gives the status as a shell does.
fn watch(pid: c_int) -> i32 {
    // SAFETY: an all-zero set is a place for the calls below to fill.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD] {
        // SAFETY: the set lives here.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: as above.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    loop {
        let mut status = 0;
        // SAFETY: `status` has room for what is written.
        if unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == pid {
            return if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                128 + libc::WTERMSIG(status)
            };
        }
        let mut signal = 0;
        // SAFETY: both live here.
        unsafe { libc::sigwait(&raw const set, &raw mut signal) };
        if signal != libc::SIGCHLD {
            // SAFETY: the child is not waited for yet, so its number is its own.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

fn become_command(at: &str, items: &[&str], command: &[&str]) -> (String, Errno) {
    match build(at, items) {
        Err(failed) => failed,
        Ok(()) => {
            let words: Vec<CString> = command.iter().map(|word| terminated(word)).collect();
            let environment = [c"PATH=/"];
            match nix::unistd::execve(&words[0], &words, &environment) {
                Err(errno) => ("exec".to_owned(), errno),
                Ok(never) => match never {},
            }
        }
    }
}

fn build(at: &str, items: &[&str]) -> Step<()> {
    // With the caller's umask the directories could be closed.
    // SAFETY: the call cannot fail.
    unsafe { libc::umask(0o022) };
    mount("root", at, "tmpfs", 0, "mode=755").map_err(named("root"))?;
    let inside = |path: &str| format!("{at}{path}");
    for item in items {
        let (word, rest) = item.split_once('=').unwrap_or((item, ""));
        let (first, second) = rest.split_once(':').unwrap_or((rest, ""));
        let done = match word {
            "put" => file(item, put(first, &inside(second))),
            "dir" => file(item, fs::create_dir_all(inside(rest))),
            "text" => file(item, fs::write(inside(first), second)),
            "link" => file(item, symlink(second, inside(first))),
            "proc" if rest == "new" => {
                file(item, fs::create_dir_all(inside("/proc"))).and_then(|()| {
                    mount("proc", &inside("/proc"), "proc", 0, "")
                        .map(drop)
                        .map_err(named(*item))
                })
            }
            "proc" | "dev" | "sys" => lend(at, word),
            "nodes" => nodes(at),
            _ => Ok(()),
        };
        done?;
    }
    for item in items {
        match item.split_once('=') {
            Some(("cover", path)) => cover(&inside(path))?,
            Some(("keep", path)) => keep(&inside(path), libc::MS_RDONLY)?,
            Some(("closed", path)) => keep(&inside(path), libc::MS_NODEV)?,
            _ if *item == "engines" => {
                COVERED.iter().try_for_each(|path| cover(&inside(path)))?;
                let read_only = |path: &&str| keep(&inside(path), libc::MS_RDONLY);
                KEPT.iter().try_for_each(read_only)?;
            }
            _ => {}
        }
    }
    if items.contains(&"read-only") {
        let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY;
        mount("none", at, "", flags, "").map_err(named("read-only"))?;
    }
    enter_root(at, items.contains(&"chroot")).map_err(named("root"))?;
    if items.contains(&"powerless") {
        for capability in 0..64 {
            // The last of them is the kernel's own matter.
            let _ = call(libc::SYS_prctl, &[libc::PR_CAPBSET_DROP as u64, capability]);
        }
        let (header, sets) = ([0x2008_0522_u32, 0], [0u32; 6]);
        let header = header.as_ptr().expose_provenance() as u64;
        let sets = sets.as_ptr().expose_provenance() as u64;
        call(libc::SYS_capset, &[header, sets]).map_err(named("capset"))?;
    }
    Ok(())
}

fn put(from: &str, to: &str) -> std::io::Result<()> {
    fs::create_dir_all(Path::new(to).parent().unwrap_or(Path::new("/")))?;
    fs::copy(from, to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
}

fn lend(at: &str, name: &str) -> Step<()> {
    let to = format!("{at}/{name}");
    file(name, fs::create_dir_all(&to))?;
    let flags = libc::MS_BIND | libc::MS_REC;
    let done = mount(&format!("/{name}"), &to, "", flags, "");
    done.map(drop).map_err(named(name))
}

fn nodes(at: &str) -> Step<()> {
    file("dev", fs::create_dir_all(format!("{at}/dev")))?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let to = format!("{at}/dev/{name}");
        file(name, fs::write(&to, ""))?;
        let done = mount(&format!("/dev/{name}"), &to, "", libc::MS_BIND, "");
        done.map_err(named(name))?;
    }
    Ok(())
}

/// What the kernel does not have is left as it is.
fn cover(path: &str) -> Step<()> {
    let done = match fs::metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => mount("none", path, "tmpfs", libc::MS_RDONLY, "size=0"),
        Ok(_) => mount("/dev/null", path, "", libc::MS_BIND, ""),
    };
    done.map(drop).map_err(named(path))
}

fn keep(path: &str, from: u64) -> Step<()> {
    if fs::metadata(path).is_err() {
        return Ok(());
    }
    let flags = libc::MS_BIND | libc::MS_REC;
    mount(path, path, "", flags, "").map_err(named(path))?;
    // What the mount may not do already stays so: another remount is not allowed in a user namespace.
    let may_not = locked(path).map_err(named(path))?;
    let flags = libc::MS_REMOUNT | libc::MS_BIND | from | may_not;
    let done = mount("none", path, "", flags, "");
    done.map(drop).map_err(named(path))
}

fn locked(path: &str) -> Result<u64, Errno> {
    // SAFETY: an all-zero value is a place for the call to fill.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    let path = terminated(path);
    // SAFETY: the path ends in NUL, and `found` has room for what is written.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut found) } == -1 {
        return Err(Errno::last());
    }
    let flags = [
        (libc::ST_NOSUID, libc::MS_NOSUID),
        (libc::ST_NODEV, libc::MS_NODEV),
        (libc::ST_NOEXEC, libc::MS_NOEXEC),
    ];
    let set = flags.iter().filter(|(st, _)| found.f_flag & st != 0);
    Ok(set.fold(0, |all, (_, ms)| all | ms))
}

/// The old root is taken out of the tree, as by every engine.
fn enter_root(at: &str, by_chroot: bool) -> Done {
    let (new, here, top) = (terminated(at), terminated("."), terminated("/"));
    call(libc::SYS_chdir, &[address(&new)])?;
    if by_chroot {
        call(libc::SYS_chroot, &[address(&here)])?;
        return call(libc::SYS_chdir, &[address(&top)]);
    }
    let old = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open("/")
        .map_err(|_| Errno::EIO)?;
    call(libc::SYS_pivot_root, &[address(&here), address(&here)])?;
    let old = std::os::fd::AsRawFd::as_raw_fd(&old) as u64;
    call(libc::SYS_fchdir, &[old])?;
    call(
        libc::SYS_umount2,
        &[address(&here), libc::MNT_DETACH as u64],
    )?;
    call(libc::SYS_chdir, &[address(&top)])
}
