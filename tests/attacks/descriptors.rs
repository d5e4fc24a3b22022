//! Descriptors that the caller of stdbox forgot to close, or that stdbox itself has open: each may lead to the host's tree.

use crate::common::{answer, probe_job, with};
use crate::support::outside::fields_of;
use crate::support::{Fresh, Run, probe, root, run, run_with, stdbox};
use nix::libc::{self, c_int};
use serde_json::{Value, json};
use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Modes of `/` by which the tree is built in different ways.
const ROOTS: [&str; 3] = ["overlay", "read-only", "full-access"];

const NONE: &str = "0000000000000000";

/// A directory that the job hides, with something in it, and one beside it.
fn secrets() -> Fresh {
    let scene = Fresh::new();
    scene.file("d/secret", "host");
    scene.file("d/sub/secret", "host");
    fs::create_dir(scene.path().join("beside")).unwrap();
    scene
}

fn hiding(scene: &Fresh, root: &str) -> Value {
    json!({"directories": {"/": root, format!("{}/d", scene.str()): "hidden"}})
}

/// Makes a descriptor for a path in a process that is to become stdbox, without close-on-exec.
fn opened(path: &str, flags: c_int, number: c_int) -> impl FnMut() -> io::Result<()> + use<> {
    let path = CString::new(path).unwrap();
    move || {
        // SAFETY: the string ends in NUL.
        let fd = unsafe { libc::open(path.as_ptr(), flags) };
        // SAFETY: no memory is passed; a descriptor onto itself stays as it is.
        if fd == -1 || unsafe { libc::dup2(fd, number) } == -1 {
            return Err(io::Error::last_os_error());
        }
        if fd != number {
            // SAFETY: the descriptor was opened here.
            unsafe { libc::close(fd) };
        }
        Ok(())
    }
}

/// Runs a job by a stdbox that is prepared between fork and exec.
fn prepared(
    job: &Value,
    options: &[&str],
    prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> Run {
    run_with(job.to_string().as_bytes(), options, |command| {
        // SAFETY: what is passed here makes plain system calls and allocates nothing.
        unsafe { command.pre_exec(prepare) };
    })
}

/// Opens something of every kind under every free number up to 63 and some high ones, then lowers the limit of descriptors
/// below those, by which a loop over the allowed numbers would miss them.
fn leak() -> io::Result<()> {
    let make = |kind: usize| -> c_int {
        // SAFETY: every call gets constants.
        unsafe {
            match kind % 10 {
                0 => libc::open(c"/".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY),
                1 => libc::open(c"/etc".as_ptr(), libc::O_PATH),
                2 => libc::epoll_create1(0),
                3 => {
                    let pid = libc::syscall(libc::SYS_getppid);
                    c_int::try_from(libc::syscall(libc::SYS_pidfd_open, pid, 0)).unwrap_or(-1)
                }
                4 => libc::open(c"/proc/self/ns/user".as_ptr(), libc::O_RDONLY),
                5 => libc::open(c"/proc/self/ns/mnt".as_ptr(), libc::O_RDONLY),
                6 => libc::memfd_create(c"leak".as_ptr(), 0),
                7 => libc::eventfd(0, 0),
                8 => libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0),
                _ => libc::open(c"/dev/null".as_ptr(), libc::O_RDWR),
            }
        }
    };
    for (kind, fd) in (3..64).chain([100, 255, 256, 257, 400, 1000]).enumerate() {
        // Those in use are for the process that is being started.
        // SAFETY: F_GETFD takes nothing.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            let made = make(kind);
            if made == -1 {
                return Err(io::Error::last_os_error());
            }
            // pidfds are close-on-exec; a copy is not.
            // SAFETY: no memory is passed.
            unsafe {
                let copy = libc::fcntl(made, libc::F_DUPFD, fd);
                libc::close(made);
                if copy != fd {
                    libc::dup2(copy, fd);
                    libc::close(copy);
                }
            }
        }
    }
    let limit = libc::rlimit {
        rlim_cur: 128,
        rlim_max: 128,
    };
    // SAFETY: the limit outlives the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    Ok(())
}

/// The caller leaks descriptors of every kind (directories, O_PATH, namespaces, processes, sockets, memory) under low and
/// high numbers, beyond its own limit too.
///
/// Shows that the target gets none of them: CVE-2024-21626 (runc), CVE-2016-9962 (runc), close_range(2).
#[test]
fn descriptors_of_the_caller_do_not_reach_the_target() {
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"directories": {"/": "read-only"}}),
        json!({"stdin": {"text": "x"}}),
    ] {
        let seen = prepared(&probe_job(&["status"], &fields), &[], leak);
        let status = answer(seen.exited(0));
        let fds: Vec<_> = status["fds"].as_object().unwrap().keys().collect();
        assert_eq!(fds, ["0", "1", "2"], "{fields}: {}", status["fds"]);
    }
}

/// The same in init, which lives as long as the target and could be made to give them away.
///
/// Shows that it keeps what it reports through and nothing of the caller's, and no capability: CVE-2016-9962 (runc).
#[test]
fn descriptors_of_the_caller_do_not_stay_in_init() {
    // Init cannot be looked into from inside; from outside it can, by who started it.
    let scene = Fresh::new();
    let ready = scene.path().join("ready");
    let job = probe_job(
        &["ignore-term", ready.to_str().unwrap()],
        &json!({"directories": {scene.str(): "full-access"}}),
    );
    for init in [true, false] {
        let mut command = Command::new(stdbox());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: `leak` makes plain system calls and allocates nothing.
        unsafe { command.pre_exec(leak) };
        let mut child = command.spawn().unwrap();
        let job = with(job.clone(), &json!({"init": init})).to_string();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(job.as_bytes())
            .unwrap();
        let pid = child.id();
        while !ready.exists() {
            assert!(child.try_wait().unwrap().is_none(), "stdbox ended");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let own: u32 = children
            .split_whitespace()
            .next()
            .expect("init")
            .parse()
            .unwrap();
        // It is not dumpable, so only root can list its descriptors.
        let look = || -> (Value, Option<Vec<String>>) {
            let status = fields_of(&fs::read_to_string(format!("/proc/{own}/status")).unwrap());
            let list = fs::read_dir(format!("/proc/{own}/fd")).ok().map(|list| {
                let targets = list
                    .flatten()
                    .filter_map(|entry| fs::read_link(entry.path()).ok());
                targets.map(|target| target.display().to_string()).collect()
            });
            (status, list)
        };
        // The pipes for the records and for both outputs, and the scratch space that it measures.
        const KEPT: usize = 4;
        // It gives up the last of them when the target has started, which cannot see it before that either.
        let started = std::time::Instant::now();
        let (mut status, mut fds) = look();
        while (status["CapPrm"] != NONE || fds.as_ref().is_some_and(|fds| fds.len() > KEPT))
            && started.elapsed().as_secs() < 10
        {
            std::thread::sleep(std::time::Duration::from_millis(2));
            (status, fds) = look();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(&ready).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status[set], NONE, "init: {init}");
        }
        match fds {
            Some(fds) => {
                assert!(fds.len() <= KEPT, "init: {init}: {fds:?}");
                let own = |name: &String| name == "/" || name.starts_with("pipe:");
                assert!(fds.iter().all(own), "init: {init}: {fds:?}");
            }
            None => assert!(!root(), "root can list them"),
        }
    }
}

/// A working directory of /proc/self/fd/N: it is entered while the descriptors of the caller and of the set-up are open.
///
/// Shows that no number leads anywhere, by any name of it, nor through a link that lies in the tree: CVE-2024-21626 (runc).
#[test]
fn working_directory_through_a_descriptor_leads_nowhere() {
    let scene = secrets();
    let link = scene.path().join("link");
    std::os::unix::fs::symlink("/proc/self/fd/7", &link).unwrap();
    let d = format!("{}/d", scene.str());
    let mut names: Vec<String> = [
        "/proc/self/fd/7",
        "/proc/self/fd/7/sub",
        "/proc/thread-self/fd/7",
        "/dev/fd/7",
        "/proc/self/root/proc/self/fd/7",
    ]
    .map(str::to_owned)
    .into();
    names.push(link.to_str().unwrap().to_owned());
    // Those of stdbox itself.
    names.extend(
        (3..24)
            .filter(|fd| *fd != 7)
            .map(|fd| format!("/proc/self/fd/{fd}")),
    );
    for root in ROOTS {
        for name in &names {
            let mut job = json!({"argv": ["/bin/ls", "-a"], "cwd": name});
            job = with(job, &hiding(&scene, root));
            let prepare = opened(&d, libc::O_RDONLY | libc::O_DIRECTORY, 7);
            let seen = prepared(&job, &[], prepare);
            seen.failed("cwd-missing", "exec");
        }
        // Where the target is pid 1, this is its own descriptor too.
        let job = json!({"argv": ["/bin/ls", "-a"], "cwd": "/proc/1/fd/7", "init": false});
        let prepare = opened(&d, libc::O_PATH, 7);
        prepared(&with(job, &hiding(&scene, root)), &[], prepare).failed("cwd-missing", "exec");
    }
}

/// The caller's own working directory lies below a hidden directory, and the job asks for "the same" by a link of procfs,
/// not by name.
///
/// Shows that it is the container's: CVE-2024-21626 (runc), proc_pid_cwd(5).
#[test]
fn working_directory_of_the_caller_is_not_reached_through_proc() {
    let scene = secrets();
    for root in ROOTS {
        for init in [true, false] {
            for name in [
                "/proc/self/cwd",
                "/proc/thread-self/cwd",
                "/proc/self/cwd/sub",
                "/proc/1/cwd",
                "/proc/self/root/proc/self/cwd",
            ] {
                let job = json!({"argv": ["/bin/sh", "-c", "cat secret sub/secret ../d/secret; true"], "cwd": name, "init": init});
                let job = with(job, &hiding(&scene, root)).to_string();
                let seen = run_with(job.as_bytes(), &[], |command| {
                    command.current_dir(scene.path().join("d"));
                });
                assert_eq!(seen.stdout(), "", "{root} {name}: {seen}");
                // /proc/1/cwd is init's where there is one: refused.
                let error = &seen.report["error"]["code"];
                assert!(error.is_null() || error == "cwd-missing", "{name}: {seen}");
            }
        }
    }
}

/// The shell's idea of the working directory is a variable, which the caller's environment may set to anything.
///
/// Shows that the default working directory is the real one: getcwd(3), environ(7).
#[test]
fn working_directory_is_not_taken_from_the_environment() {
    let scene = secrets();
    for root in ROOTS {
        let mut job = with(json!({"argv": ["/bin/ls"]}), &hiding(&scene, root));
        // In the hidden directory, claiming to be elsewhere, and the other way round.
        for (real, claimed, expected) in [
            ("d/sub", "beside", None),
            ("beside", "d/sub", Some(format!("{}/beside\n", scene.str()))),
        ] {
            job["argv"] = json!(["/bin/pwd", "-P"]);
            let seen = run_with(job.to_string().as_bytes(), &[], |command| {
                command.current_dir(scene.path().join(real));
                command.env("PWD", scene.path().join(claimed));
            });
            match expected {
                Some(expected) => assert_eq!(seen.exited(0).stdout(), expected, "{root}: {seen}"),
                None => {
                    seen.failed("cwd-missing", "exec");
                }
            }
        }
    }
}

/// The program itself is looked up through a descriptor of the caller's: by its path, as a script, or through PATH.
///
/// Shows that none of them is found, so nothing that the job hides is run or read that way: execveat(2), CVE-2024-21626.
#[test]
fn program_is_not_found_through_a_descriptor_of_the_caller() {
    let scene = secrets();
    let tool = scene.file("d/tool", "#!/bin/cat\nhost\n");
    fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::copy(probe(), scene.path().join("d/probe")).unwrap();
    let d = format!("{}/d", scene.str());
    for root in ROOTS {
        for init in [true, false] {
            for job in [
                json!({"argv": ["/proc/self/fd/7/tool"]}),
                json!({"argv": ["/proc/self/fd/7/probe", "status"]}),
                json!({"argv": ["x"], "executable": "/dev/fd/7/probe"}),
                json!({"argv": ["probe", "status"], "env": {"set": {"PATH": "/proc/self/fd/7"}}}),
                json!({"argv": ["./probe", "status"], "cwd": "/proc/self/fd"}),
                json!({"argv": ["7/probe", "status"], "cwd": "/proc/self/fd"}),
            ] {
                let job = with(
                    with(json!({"cwd": "/", "init": init}), &job),
                    &hiding(&scene, root),
                );
                let prepare = opened(&d, libc::O_RDONLY | libc::O_DIRECTORY, 7);
                prepared(&job, &[], prepare).failed("command-not-found", "exec");
            }
        }
    }
}

/// A standard stream that is a directory: each of the three, open for reading or as a mere place, of a directory that is
/// hidden or of one beside it, from where `..` leads up.
///
/// Shows that it is the container's version of that directory: openat2(2), CVE-2024-21626 (runc).
#[test]
fn standard_stream_that_is_a_directory_leads_to_the_containers_version() {
    let scene = secrets();
    let report = scene.path().join("report");
    let before = fs::read(scene.path().join("d/secret")).unwrap();
    for root in ROOTS {
        for stream in 0..3 {
            for flags in [libc::O_RDONLY | libc::O_DIRECTORY, libc::O_PATH] {
                for place in ["d", "beside"] {
                    let script = format!(
                        "cd /proc/self/fd/{stream}/ || exit 3
                        exec 9>/tmp/seen 2>/tmp/errors
                        cat secret sub/secret ../d/secret {0}/d/secret /proc/self/cwd/../d/secret >&9
                        ls -d sub ../d/sub >&9
                        {{ echo job > ../d/secret; }}
                        {{ echo job > new; }}
                        [ ! -s /tmp/seen ]",
                        scene.str()
                    );
                    let names = ["stdin", "stdout", "stderr"];
                    let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/", names[stream]: {"fd": 7}});
                    let job = with(job, &hiding(&scene, root));
                    let path = format!("{}/{place}", scene.str());
                    let prepare = opened(&path, flags, 7);
                    let options = ["--report", report.to_str().unwrap()];
                    prepared(&job, &options, prepare);
                    let report: Value =
                        serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
                    assert_eq!(
                        report["exit_code"], 0,
                        "{root} {stream} {flags:#x} {place}: {report}"
                    );
                }
            }
        }
    }
    assert_eq!(fs::read(scene.path().join("d/secret")).unwrap(), before);
}

/// The descriptors of init and of the set-up, by their names in procfs.
///
/// Shows that none of them can be opened or passed through, whatever the number: proc_pid_fd(5), CVE-2016-9962 (runc).
#[test]
fn descriptors_of_init_cannot_be_passed_through() {
    let script = "
        for p in /proc/1 /proc/1/task/1 /proc/self/root/proc/1; do
            for n in $(seq 0 40); do ( cd $p/fd/$n/ ) && echo entered $p $n; ( : < $p/fd/$n ) && echo opened $p $n; done
            for l in cwd root; do ls -d $p/$l/ && echo $p $l; done
        done 2>/dev/null
        echo end";
    for root in ROOTS {
        for own in ["", "unshare -Urm "] {
            let script = format!("{own}sh -c '{script}'");
            let job =
                json!({"argv": ["/bin/sh", "-c", script], "cwd": "/", "directories": {"/": root}});
            let seen = run(&job);
            assert_eq!(seen.exited(0).stdout(), "end\n", "{root} {own}: {seen}");
        }
    }
}

/// A file's handle names its inode, without any path; a handle of a hidden file is easily guessed.
///
/// Shows that no handle can be opened from inside, also by the root of a nested namespace: the "shocker" escape from Docker
/// (2014), open_by_handle_at(2).
#[test]
fn hidden_file_cannot_be_opened_by_its_handle() {
    let source = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct file_handle *handle = calloc(1, sizeof *handle + 128);
    unsigned bytes = strlen(argv[2]) / 2;
    handle->handle_type = atoi(argv[1]);
    handle->handle_bytes = bytes;
    for (unsigned i = 0; i < bytes; i++) sscanf(argv[2] + 2 * i, "%2hhx", &handle->f_handle[i]);
    for (int i = 3; i < argc; i++) {
        int place = open(argv[i], O_RDONLY);
        int fd = open_by_handle_at(place, handle, O_RDONLY);
        if (fd != -1) printf("opened through %s\n", argv[i]);
    }
    return 0;
}"#;
    let scene = secrets();
    scene.file("open/x", "");
    let secret = CString::new(format!("{}/d/secret", scene.str())).unwrap();
    // `struct file_handle`: the size of what follows, its type, and room for 128 bytes.
    let mut handle = [0u32; 2 + 32];
    handle[0] = 128;
    let mut mount = 0;
    // SAFETY: `handle` and `mount` have room for what is written.
    let made = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            secret.as_ptr(),
            handle.as_mut_ptr(),
            &raw mut mount,
            0,
        )
    };
    assert_eq!(made, 0, "the file system has handles");
    let size = usize::try_from(handle[0]).unwrap();
    let bytes: Vec<u8> = handle[2..]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let hex: String = bytes[..size]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let call = format!(
        "/tmp/open {} {hex} / . /etc /usr {}/open",
        handle[1],
        scene.str()
    );
    let script = format!(
        "printf '%s' \"$S\" | gcc -w -x c -o /tmp/open - || exit 9
        {call}; unshare -Ur {call}; unshare -Urm {call}; unshare -Urm sh -c 'mount --bind {0}/open {0}/open; {call}'; echo end",
        scene.str()
    );
    for root in ROOTS {
        let mut job =
            json!({"argv": ["/bin/sh", "-c", script], "cwd": "/", "env": {"set": {"S": source}}});
        job = with(job, &hiding(&scene, root));
        job["directories"][format!("{}/open", scene.str())] = json!("full-access");
        let seen = run(&job);
        assert_eq!(seen.exited(0).stdout(), "end\n", "{root}: {seen}");
    }
}
