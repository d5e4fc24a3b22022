//! One thing of each kind is left behind on purpose: the check that does not notice is none.

use crate::Size;
use crate::counted::{self, Counted, Marks, group_mounts, word};
use crate::namespaces::KINDS;
use crate::supervisor::{grew, held};
use crate::support::skip;
use crate::world::World;
use nix::libc::{self, c_int, c_long};
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

/// Leaves something, which must be seen as of this kind; takes it away, and that must be seen too.
fn noticed<T>(marks: &Marks, kind: &str, plant: impl Fn() -> T, remove: impl Fn(T)) {
    const TRIES: usize = 5;
    for last in (0..TRIES).map(|n| n + 1 == TRIES) {
        let before = Counted::now(marks);
        let planted = plant();
        let changes = before.changes(marks);
        let is_seen = changes.iter().any(|(seen, _)| *seen == kind);
        // What is about to go when it is counted hides what comes instead.
        assert!(
            is_seen || !last,
            "nobody noticed the planted {kind}: {changes:?}"
        );
        remove(planted);
        before.holds(marks);
        if is_seen {
            return;
        }
    }
}

pub fn all(marks: &Marks, size: Size) {
    processes(marks);
    for place in [
        marks.scene.join("scratch"),
        "/dev/shm".into(),
        "/tmp".into(),
        "/var/tmp".into(),
    ] {
        let file = place.join(format!(".stdbox-0-{}-planted", std::process::id()));
        let plant = || fs::write(&file, "").expect("a file can be made");
        noticed(marks, "files", plant, |()| {
            fs::remove_file(&file).expect("it is there")
        });
    }
    ipc(marks);
    keys(marks);
    groups(marks);
    growth();
    if marks.world.is_exact() {
        let place = marks.scene.join("planted");
        fs::create_dir(&place).expect("a directory can be made");
        let path = place.to_str().expect("ASCII");
        noticed(
            marks,
            "mounts",
            || must("mount", &["-t", "tmpfs", "planted", path]),
            |()| must("umount", &[path]),
        );
        fs::remove_dir(&place).expect("it is empty");
        devices(marks);
        noticed(
            marks,
            "namespaces in /proc",
            || {
                let child = Command::new("unshare")
                    .args(["--uts", "sleep", "1000"])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("unshare starts");
                while !fs::read_to_string(format!("/proc/{}/comm", child.id()))
                    .is_ok_and(|name| name == "sleep\n")
                {}
                child
            },
            end,
        );
    }
    if marks.world == World::Walled {
        for (_, flag) in KINDS {
            noticed(
                marks,
                "namespaces in the kernel's count",
                || hold(flag, 1),
                drop,
            );
        }
    }
    if marks.world == World::Apart && size.full {
        let before = counted::caches();
        let held = hold(libc::CLONE_NEWNS, 1500);
        let grown = counted::grown(&before, 2000);
        assert!(
            grown.iter().any(|line| line.starts_with("mnt_cache")),
            "nobody noticed 1,500 mount namespaces: {grown:?}"
        );
        drop(held);
    }
}

fn must(program: &str, words: &[&str]) {
    let status = Command::new(program).args(words).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{program} {words:?}"
    );
}

fn end(mut child: Child) {
    child.kill().expect("it is a child");
    child.wait().expect("it is a child");
}

fn processes(marks: &Marks) {
    let sleeper = || {
        Command::new("sleep")
            .arg("1000")
            .env("STDBOX_LEAKS", word())
            .spawn()
            .expect("sleep starts")
    };
    noticed(marks, "processes", sleeper, end);
    // One that has got rid of its parents.
    let orphan = || {
        let script = "sleep 1000 > /dev/null 2>&1 & echo $!";
        let output = Command::new("setsid")
            .args(["sh", "-c", script])
            .output()
            .expect("setsid starts");
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .expect("a pid")
    };
    noticed(marks, "processes", orphan, |pid| {
        // SAFETY: no memory is passed, and it is a child by now that nobody has waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    });
}

fn ipc(marks: &Marks) {
    // SAFETY: no memory is passed.
    let plant = || unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600) };
    noticed(marks, "IPC objects", plant, |id| {
        // SAFETY: nothing is written for this command.
        let removed = unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
        assert_eq!(removed, 0);
    });
}

fn key_call(call: c_long, words: [c_long; 4]) -> c_long {
    // SAFETY: the numbers are none, or addresses of strings that outlive the call.
    unsafe {
        libc::syscall(
            call, words[0], words[1], words[2], words[3], -2, /* the process's keyring */
        )
    }
}

fn keys(marks: &Marks) {
    let address = |text: &std::ffi::CStr| text.as_ptr().expose_provenance() as c_long;
    let plant = || {
        (0..64)
            .map(|n| {
                let name = std::ffi::CString::new(format!("planted-{n}")).expect("no NUL");
                key_call(
                    libc::SYS_add_key,
                    [address(c"user"), address(&name), address(c"x"), 1],
                )
            })
            .collect::<Vec<_>>()
    };
    let probe = plant();
    for key in &probe {
        key_call(libc::SYS_keyctl, [21 /* KEYCTL_INVALIDATE */, *key, 0, 0]);
    }
    if probe.iter().any(|key| *key < 0) {
        return skip("keys", "this kernel or a filter around allows no keys");
    }
    // The first ones are gone when the kernel gets round to it.
    std::thread::sleep(std::time::Duration::from_millis(500));
    noticed(marks, "keys", plant, |keys| {
        for key in keys {
            key_call(libc::SYS_keyctl, [21, key, 0, 0]);
        }
    });
}

fn groups(marks: &Marks) {
    let name = format!("stdbox-planted-{}", std::process::id());
    let Some(group) = group_mounts()
        .into_iter()
        .map(|place| place.join(&name))
        .find(|group| fs::create_dir(group).is_ok())
    else {
        return if marks.world == World::Apart {
            skip("cgroup", "no control group can be made")
        };
    };
    fs::remove_dir(&group).expect("it is empty");
    noticed(
        marks,
        "control groups",
        || fs::create_dir(&group).expect("as before"),
        |()| fs::remove_dir(&group).expect("it is empty"),
    );
}

fn devices(marks: &Marks) {
    let make = |name| {
        Command::new("ip")
            .args(["link", "add", name, "type", "dummy"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let other = |name| {
        Command::new("ip")
            .args(["tuntap", "add", name, "mode", "tun"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !make("probed") && !other("probed") {
        return skip("dummy", "no network device can be made");
    }
    must("ip", &["link", "del", "probed"]);
    noticed(
        marks,
        "network devices",
        || assert!(make("planted") || other("planted")),
        |()| must("ip", &["link", "del", "planted"]),
    );
}

fn growth() {
    let own = std::process::id() as i32;
    let before = held(own);
    let memory = vec![1u8; 1 << 20];
    assert!(
        grew(before, held(own)),
        "nobody noticed {} bytes",
        memory.len()
    );
    let before = held(own);
    let file = File::open("/dev/null").expect("it is there");
    assert!(grew(before, held(own)), "nobody noticed {file:?}");
}

/// Namespaces that no process is in.
fn hold(flag: c_int, count: usize) -> Vec<File> {
    let name = KINDS
        .iter()
        .find(|kind| kind.1 == flag)
        .expect("a known kind")
        .0;
    (0..count)
        .map(|_| {
            let mut pipe = [0; 2];
            // SAFETY: there is room for two descriptors.
            let piped = unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) };
            assert_eq!(piped, 0);
            // SAFETY: this process has one thread, and the copy makes system calls only.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: no memory is passed but one byte, which is there.
                unsafe {
                    let made = libc::unshare(flag) == 0
                        && (flag != libc::CLONE_NEWPID || libc::fork() >= 0);
                    libc::write(pipe[1], [u8::from(made)].as_ptr().cast(), 1);
                    libc::pause();
                    libc::_exit(0)
                }
            }
            let mut made = [0u8];
            // SAFETY: there is room for the byte; both descriptors are this process's.
            unsafe {
                libc::read(pipe[0], made.as_mut_ptr().cast(), 1);
                libc::close(pipe[0]);
                libc::close(pipe[1]);
            }
            assert_eq!(made, [1], "a namespace can be made");
            let suffix = if flag == libc::CLONE_NEWPID {
                "_for_children"
            } else {
                ""
            };
            let held =
                File::open(format!("/proc/{pid}/ns/{name}{suffix}")).expect("it can be held");
            let children =
                fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            for pid in children
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .chain([pid])
            {
                // SAFETY: no memory is passed; nobody has waited for it.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            // SAFETY: no status is wanted.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            held
        })
        .collect()
}
