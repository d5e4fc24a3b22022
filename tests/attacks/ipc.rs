//! Ways to speak with other processes that need no file: the kernel's key store, System V and POSIX objects, sockets,
//! process numbers.

use crate::common::{answer, probe_job, probed, with};
use crate::support::outside::{
    alive, children, eventually, finish, kill, marker, outlive, pid_of, start,
};
use crate::support::{Fresh, probe, run, run_with, shell, skip};
use nix::libc;
use serde_json::{Value, json};
use std::ffi::CStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

// ---- keyrings

/// keyctl(2) without a memory argument.
fn keyctl(operation: i64, a: i64, b: i64) -> i64 {
    // SAFETY: the operations used here take numbers, or null for a name.
    unsafe { libc::syscall(libc::SYS_keyctl, operation, a, b, 0, 0) }
}

fn add_key(name: &CStr, ring: i64) -> i64 {
    let secret = b"a secret";
    // SAFETY: both strings end in NUL, and the secret is as long as announced.
    unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            secret.as_ptr(),
            secret.len(),
            ring,
        )
    }
}

/// A session with a keyring of its own that holds a key, as pam_keyinit(8) gives one at login. It belongs to a thread, which
/// starts stdbox too. Gives the key's number; `None` if the kernel has no keys.
fn in_a_session_with_a_key<T: Send>(then: impl FnOnce(i64) -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // KEYCTL_JOIN_SESSION_KEYRING without a name: a new one.
            if keyctl(1, 0, 0) == -1 {
                return None;
            }
            let key = add_key(c"stdbox-test", -3);
            assert!(key > 0, "{}", std::io::Error::last_os_error());
            // Who owns a key may see and find it, whatever else: this is the least that the kernel's own checks leave.
            Some(then(key))
        });
        thread.join().unwrap()
    })
}

/// The session keyring is inherited over clone(2) and execve(2), and no namespace changes that; who has it possesses the
/// keys in it. Docker's default profile denies the calls for this reason ("Seccomp security profiles for Docker": "The kernel
/// keyring, which is not namespaced"): session-keyring(7), request_key(2).
#[test]
fn keyrings_of_the_caller_cannot_be_asked_for_by_any_abi() {
    let seen = in_a_session_with_a_key(|key| {
        let mut abis = vec!["native"];
        if cfg!(target_arch = "x86_64") {
            abis.push("i386");
        }
        let ask = |abi: &&str| probed(&["keys", abi, &key.to_string()], &json!({}));
        abis.iter().map(ask).collect::<Vec<_>>()
    });
    let Some(seen) = seen else {
        return skip("keys", "the kernel has no key store");
    };
    for answers in seen {
        for (what, answer) in answers.as_object().unwrap() {
            assert_eq!(answer["errno"], "ENOSYS", "{what}: {answers}");
        }
    }
}

/// Without a filter nothing stands before keyctl(2), so the job needs a session keyring of its own: keyrings(7).
#[test]
fn keyrings_of_the_caller_hold_nothing_for_a_job_without_a_filter() {
    let read = |key| keyctl(11, key, 0);
    let seen = in_a_session_with_a_key(|key| {
        let fields = |init: bool| json!({"seccomp": "off", "init": init});
        let ask = |init| probed(&["keys", "native", &key.to_string()], &fields(init));
        let length = read(key);
        ([ask(true), ask(false)], [length, read(key)])
    });
    let Some((seen, host)) = seen else {
        return skip("keys", "the kernel has no key store");
    };
    let attacks = [
        "read",
        "search session",
        "search user",
        "search user session",
        "request_key",
        "revoke",
        "set permissions",
        "link",
    ];
    for answers in seen {
        for what in attacks {
            assert_eq!(answers[what]["result"], -1, "{what}: {answers}");
        }
    }
    assert_eq!(host, [8, 8], "the caller can read its key, also afterwards");
}

/// Two jobs of one user, and the user's own processes, meet in no keyring: user, user session and persistent keyrings belong to
/// a user namespace since Linux 5.3; a session's is inherited: user-keyring(7), persistent-keyring(7), user_namespaces(7).
#[test]
fn keyrings_of_two_jobs_without_a_filter_are_apart() {
    let off = json!({"seccomp": "off"});
    let seen = in_a_session_with_a_key(|_| {
        assert!(add_key(c"stdbox-kept", -3) > 0);
        assert!(add_key(c"stdbox-kept", -4) > 0);
        [
            probed(&["keep-key"], &off),
            probed(&["keep-key"], &off),
            probed(&["keep-key"], &off),
        ]
    });
    let Some(seen) = seen else {
        return skip("keys", "the kernel has no key store");
    };
    for answers in seen {
        for (ring, found) in answers["before"].as_object().unwrap() {
            assert_eq!(found["result"], -1, "{ring}: {answers}");
        }
        // The kernel may have no persistent keyrings.
        for ring in ["session", "user", "user session"] {
            assert_eq!(answers["added"][ring]["errno"], Value::Null, "{answers}");
        }
    }
}

// ---- objects with names

/// Who makes an object and keeps it until it is told to go.
struct Sharing {
    child: Child,
    ready: std::path::PathBuf,
}

impl Sharing {
    /// Where it is, and what it says.
    fn address(&mut self) -> (String, String) {
        eventually("the object is made", || {
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "it could not be made");
            self.ready.exists()
        });
        let text = fs::read_to_string(&self.ready).unwrap();
        let (address, secret) = text.split_once(' ').unwrap();
        (address.to_owned(), secret.to_owned())
    }

    fn end(&mut self) {
        fs::remove_file(&self.ready).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        // Where the test has failed: the object goes when its file is gone.
        let _gone = fs::remove_file(&self.ready);
        let _ended = self.child.wait();
    }
}

/// An object of the host, of one job, and what each of the other sides finds: it must be nothing, but its own maker's side
/// finds it.
fn objects_are_apart(kind: &str) {
    let scene = Fresh::new();
    let shared = json!({"directories": {scene.str(): "full-access"}});
    let ready = |name: &str| scene.path().join(name);
    let on_the_host = |file: &str| Sharing {
        child: Command::new(probe())
            .args(["share", kind, &marker(kind).replace('-', "")])
            .arg(ready(file))
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
        ready: ready(file),
    };
    // The first of a namespace has the number 0, which that of the job has too: on the host it is another one.
    let mut first = on_the_host("first");
    first.address();
    let mut host = on_the_host("host");
    let name = marker(kind).replace('-', "");
    let file = ready("job");
    let job = probe_job(&["share", kind, &name, file.to_str().unwrap()], &shared);
    let mut job = Sharing {
        child: start(&job),
        ready: file,
    };
    let ((host_at, of_host), (job_at, of_job)) = (host.address(), job.address());
    let on_host = |address: &str| {
        let output = Command::new(probe())
            .args(["find-shared", kind, address])
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["found"].clone()
    };
    let in_job =
        |address: &str| probed(&["find-shared", kind, address], &json!({}))["found"].clone();
    let (crossed, between, back) = (in_job(&host_at), in_job(&job_at), on_host(&job_at));
    // A message is gone when it is read, so this comes last.
    let control = on_host(&host_at);
    first.end();
    host.end();
    job.end();
    let has = |found: &Value, secret: &str| found.as_array().unwrap().contains(&json!(secret));
    assert!(!has(&crossed, &of_host), "a job found the host's");
    assert!(!has(&between, &of_job), "a job found another job's");
    assert!(!has(&back, &of_job), "the host found a job's");
    assert!(has(&control, &of_host), "the host must find its own");
}

/// Shared memory by key and by number: sysvipc(7), ipc_namespaces(7).
#[test]
fn ipc_system_v_shared_memory_is_not_shared_with_other_jobs_or_the_host() {
    objects_are_apart("sysv-shm");
}

/// Semaphores by key and by number: sysvipc(7), ipc_namespaces(7).
#[test]
fn ipc_system_v_semaphores_are_not_shared_with_other_jobs_or_the_host() {
    objects_are_apart("sysv-sem");
}

/// Message queues by key and by number: sysvipc(7), ipc_namespaces(7).
#[test]
fn ipc_system_v_messages_do_not_reach_other_jobs_or_the_host() {
    objects_are_apart("sysv-msg");
}

/// By name, and through the file system of the queues: mq_overview(7), ipc_namespaces(7).
#[test]
fn ipc_posix_messages_do_not_reach_other_jobs_or_the_host() {
    objects_are_apart("posix-mq");
}

/// Files in /dev/shm: shm_overview(7).
#[test]
fn ipc_posix_shared_memory_is_not_shared_with_other_jobs_or_the_host() {
    objects_are_apart("posix-shm");
}

/// Abstract names need no file, only the same network namespace: unix(7), network_namespaces(7); CVE-2020-15257 is a
/// container that reached containerd's.
#[test]
fn ipc_abstract_sockets_are_not_reached_from_other_jobs_or_the_host() {
    objects_are_apart("abstract");
}

/// Services on the loopback device trust whoever can reach it: network_namespaces(7).
#[test]
fn ipc_loopback_ports_are_not_reached_from_other_jobs_or_the_host() {
    objects_are_apart("loopback");
}

/// netlink(7) shows the devices of a network namespace; the connector tells of every process that starts and ends anywhere
/// (Documentation/driver-api/connector.rst), to anybody since Linux 6.6.
#[test]
fn ipc_netlink_tells_nothing_of_the_host() {
    let seen = probed(&["netlink"], &json!({}));
    assert_eq!(seen["devices"], json!(["lo"]), "{seen}");
    // Nobody is there to hear the request.
    assert_eq!(seen["process events"]["errno"], "ECONNREFUSED", "{seen}");
}

/// /proc/[pid]/net shows the network of that process to everybody who sees the process: proc(5). Init makes its network while
/// a thread of it, which is still in the caller's, builds the tree; of that nothing may be left.
#[test]
fn ipc_network_of_the_host_is_not_seen_through_init() {
    let name = format!("stdbox-seen-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _bound = UnixListener::bind_addr(&address).unwrap();
    let script = "cat /proc/1/net/unix /proc/1/task/*/net/unix; echo /proc/1/task/* $$";
    let of = |fields: Value| shell(script, fields).exited(0).stdout().to_owned();
    assert!(of(json!({"network": "host"})).contains(&name));
    for fields in [
        json!({}),
        json!({"directories": {"/": "read-only"}}),
        json!({"sys": "fresh"}),
        json!({"user": {"uid": 0, "gid": 0}}),
    ] {
        let seen = of(fields.clone());
        assert!(!seen.contains(&name), "{fields}: {seen}");
        let processes = seen.lines().last().unwrap();
        assert_eq!(processes, "/proc/1/task/1 2", "{fields}");
    }
}

// ---- processes by number and by descriptor

/// A process of the caller's, which has the same uid as the job: kill(2), pidfd_open(2), ptrace(2), pid_namespaces(7).
#[test]
fn ipc_processes_of_the_host_cannot_be_signalled_or_looked_at() {
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"seccomp": "off", "directories": {"/": "full-access"}}),
    ] {
        let mut victim = Command::new(probe())
            .args(["sleep", "600000"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let seen = probed(&["reach-process", &victim.id().to_string()], &fields);
        // After what is tried against one process, against all at once.
        shell("trap '' TERM; kill -TERM -1; exit 0", fields.clone()).exited(0);
        shell("kill -KILL -1", fields.clone());
        assert_eq!(victim.try_wait().unwrap(), None, "{seen}");
        victim.kill().unwrap();
        victim.wait().unwrap();
        for (what, answer) in seen.as_object().unwrap() {
            let refused = matches!(answer["errno"].as_str(), Some("ESRCH" | "ENOENT" | "EPERM"));
            assert!(refused, "{what} by {fields}: {seen}");
        }
    }
}

/// The same between two jobs of one caller: pid_namespaces(7).
#[test]
fn ipc_processes_of_another_job_cannot_be_signalled_or_looked_at() {
    let scene = Fresh::new();
    let ready = scene.path().join("ready");
    let word = marker("other-job");
    let other = start(&probe_job(
        &["stay", &word, ready.to_str().unwrap()],
        &json!({"directories": {scene.str(): "full-access"}}),
    ));
    eventually("the other job runs", || ready.exists());
    // The command line of stdbox itself has no such word: all of them are the other job's.
    eventually("all of it runs", || alive(&word).len() == 3);
    let pids = alive(&word);
    let listed = shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", json!({}));
    assert!(!listed.exited(0).stdout().contains(&word), "{listed}");
    for pid in &pids {
        let seen = probed(&["reach-process", &pid.to_string()], &json!({}));
        for (what, answer) in seen.as_object().unwrap() {
            assert_ne!(answer["errno"], Value::Null, "{what}: {seen}");
        }
    }
    shell("kill -KILL -1", json!({}));
    assert_eq!(
        alive(&word).len(),
        3,
        "some of the other job's processes died"
    );
    kill(pid_of(&other), libc::SIGTERM);
    assert_eq!(finish(other).report["outcome"], "cancelled");
    assert!(alive(&word).is_empty());
}

/// A socket whose other end the caller holds gives a descriptor for the caller's process, without a number: SO_PEERPIDFD
/// (Linux 6.5), pidfd_send_signal(2), pidfd_getfd(2), setns(2).
#[test]
fn ipc_descriptor_of_the_callers_process_gives_no_power_over_it() {
    for fields in [json!({}), json!({"seccomp": "off"})] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let job = probe_job(&["peer", "9"], &with(fields, &json!({"fds": [9]})));
        let fd = theirs.as_raw_fd();
        let seen = run_with(job.to_string().as_bytes(), &[], |command| {
            // SAFETY: dup2 may be called between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    libc::dup2(fd, 9);
                    libc::fcntl(9, libc::F_SETFD, 0);
                    Ok(())
                })
            };
        });
        drop(ours);
        let answers = answer(seen.exited(0));
        if answers["pidfd"]["errno"] == "ENOPROTOOPT" {
            return skip("peer-pidfd", "the kernel has no SO_PEERPIDFD");
        }
        for (what, answer) in answers.as_object().unwrap() {
            assert_ne!(answer["errno"], Value::Null, "{what}: {answers}");
        }
    }
}

/// stdbox and init are this job's own, but not the target's to reach: init holds no capability, stdbox is in no namespace of
/// the container, and neither shows where it comes from.
#[test]
fn ipc_parent_of_the_container_is_not_reached_from_inside() {
    let scene = Fresh::new();
    let ready = scene.path().join("ready");
    let word = marker("parent");
    let job = probe_job(
        &["stay", &word, ready.to_str().unwrap()],
        &json!({"directories": {scene.str(): "full-access"}}),
    );
    let child = start(&job);
    eventually("the target runs", || ready.exists());
    let (stdbox, init) = (pid_of(&child), children(pid_of(&child))[0]);
    let seen = [stdbox, init].map(|pid| probed(&["reach-process", &pid.to_string()], &json!({})));
    kill(stdbox, libc::SIGTERM);
    assert_eq!(finish(child).report["outcome"], "cancelled");
    assert!(outlive(&word).is_empty());
    for answers in seen {
        for (what, answer) in answers.as_object().unwrap() {
            assert_ne!(answer["errno"], Value::Null, "{what}: {answers}");
        }
    }
    // From inside, the parent of init is nobody.
    let seen = run(&probe_job(&["read", "/proc/1/stat"], &json!({})));
    let stat = answer(seen.exited(0))["text"].as_str().unwrap().to_owned();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(fields[1], "0", "{stat}");
}
