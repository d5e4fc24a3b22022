//! `sys`, `proc` and `dev`: what a job sees there, in every kind of tree.

use crate::support::{Run, root, run, run_in_namespace, shell};
use serde_json::{Value, json};

const ROOTS: [&str; 3] = ["overlay", "read-only", "full-access"];

#[track_caller]
fn says(run: &Run, expected: &str) {
    assert_eq!(run.exited(0).stdout(), expected, "{run}");
}

fn fields(root: &str, more: Value) -> Value {
    let mut fields = json!({"directories": {"/": root}});
    for (key, value) in more.as_object().unwrap() {
        fields[key] = value.clone();
    }
    fields
}

/// Says what below /sys opens for writing, and whether anything can be made or changed.
const WRITE_SYS: &str = r#"find /sys -type f -perm /222 2>/dev/null | head -n 500 | while read -r f; do ( : >> "$f" ) 2>/dev/null && echo "$f"; done
mkdir /sys/new 2>/dev/null && echo made; chmod 777 /sys 2>/dev/null && echo changed; ( : > /sys/new ) 2>/dev/null && echo made"#;

#[test]
fn sys_of_the_host_is_seen_and_cannot_be_written() {
    let devices = |text: &str| {
        let mut all: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        all.sort();
        all
    };
    let host: Vec<String> = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for root in ROOTS {
        let run = shell(
            &format!("ls /sys/class/net; {WRITE_SYS}; true"),
            fields(root, json!({"sys": "host"})),
        );
        assert_eq!(
            devices(run.exited(0).stdout()),
            devices(&host.join(" ")),
            "{root}: {run}"
        );
    }
}

#[test]
fn fresh_sys_shows_the_container_s_devices_only_and_cannot_be_written() {
    for root in ROOTS {
        let script = format!(
            "ls /sys/class/net; ls /sys | grep -c '^kernel$'; grep ' /sys ro' /proc/self/mountinfo | cut -d' ' -f4-6; ls -A /sys/fs/cgroup; {WRITE_SYS}; true"
        );
        let run = shell(&script, fields(root, json!({"sys": "fresh"})));
        let lines: Vec<&str> = run.exited(0).stdout().lines().collect();
        assert_eq!(lines[..2], ["lo", "1"], "{root}: {run}");
        // In place the host's lies below.
        let own = lines.last().unwrap();
        for flag in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(
                own.split([' ', ',']).any(|word| word == flag),
                "{flag} in {root}: {run}"
            );
        }
        assert!(
            lines[2..].iter().all(|line| line.starts_with("/ /sys ro,")),
            "{root}: {run}"
        );
    }
}

#[test]
fn fresh_sys_that_the_kernel_refuses_says_what_is_missing() {
    for cover in [
        "mount -t tmpfs none /sys",
        "mount -t tmpfs none /sys/kernel",
    ] {
        let job = json!({"argv": ["/bin/true"], "cwd": "/", "sys": "fresh"});
        // Who made the cover may look below it, so another namespace holds it.
        let run = run_in_namespace(&format!("{cover}; exec unshare -m \"$STDBOX\""), &job);
        run.failed("mount-refused", "mounts");
        let error = &run.report["error"];
        assert_eq!(
            (&error["path"], &error["at"]),
            (&json!("/sys"), &json!("/sys")),
            "{run}"
        );
        assert!(
            error["hint"].as_str().unwrap().contains("uncovered /sys"),
            "{run}"
        );
    }
}

#[test]
fn no_sys_is_empty_and_cannot_be_written() {
    for root in ROOTS {
        let run = shell(
            &format!("ls -A /sys; ls -ld /sys | cut -c1-10; {WRITE_SYS}; true"),
            fields(root, json!({"sys": "none"})),
        );
        says(&run, "dr-xr-xr-x\n");
    }
}

#[test]
fn no_proc_is_empty_and_cannot_be_written() {
    for root in ROOTS {
        let script = "ls -A /proc; ls -ld /proc | cut -c1-10; mkdir /proc/x 2>/dev/null && echo made; ( : > /proc/x ) 2>/dev/null && echo made; ls /dev/fd/ 2>/dev/null; chmod 777 /proc 2>/dev/null && echo changed; echo end";
        let run = shell(script, fields(root, json!({"proc": "none"})));
        says(&run, "dr-xr-xr-x\nend\n");
        let run = shell(
            "ls -A /proc /sys; echo $$ | grep -c .",
            fields(root, json!({"proc": "none", "sys": "none", "init": false})),
        );
        says(&run, "/proc:\n\n/sys:\n1\n");
    }
}

#[test]
fn every_proc_shows_the_container_s_processes_only() {
    for root_mode in ROOTS {
        for proc in ["fresh", "nestable"] {
            // The shell, and init before it.
            let script = "set -- /proc/[0-9]*; echo $# $*; cat /proc/$$/comm; ( : >> /proc/sysrq-trigger ) 2>/dev/null && echo open; unshare -Urpf --mount-proc sh -c 'set -- /proc/[0-9]*; echo $#' 2>/dev/null || echo refused";
            let run = shell(script, fields(root_mode, json!({"proc": proc})));
            let nested = match (root(), proc) {
                (true, "fresh") => "refused\n",
                _ => "1\n",
            };
            let seen = run.exited(0).stdout();
            assert!(
                seen.starts_with("2 /proc/1 /proc/2\nsh\n"),
                "{root_mode}, {proc}: {run}"
            );
            assert!(seen.ends_with(nested), "{root_mode}, {proc}: {run}");
            let exposed = root() && proc == "nestable";
            assert_eq!(run.warnings().contains(&"proc-exposed"), exposed, "{run}");
            if !exposed {
                assert!(!seen.contains("open"), "{root_mode}, {proc}: {run}");
            }
        }
    }
}

#[test]
fn minimal_dev_has_the_usual_files_and_no_others() {
    for root in ROOTS {
        let script = "ls -A /dev | tr '\\n' ' '; for f in null zero full random urandom; do [ -c /dev/$f ] && ( : < /dev/$f ) && echo $f; done; ls -A /dev/pts /dev/shm /dev/mqueue; echo x > /dev/shm/x && cat /dev/shm/x";
        let run = shell(script, fields(root, json!({"dev": "minimal"})));
        says(
            &run,
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero null\nzero\nfull\nrandom\nurandom\n/dev/mqueue:\n\n/dev/pts:\nptmx\n\n/dev/shm:\nx\n",
        );
    }
}

#[test]
fn minimal_dev_of_a_broken_dev_is_a_clear_error() {
    let script = "mount -t tmpfs none /dev; mkdir /dev/null /dev/shm; exec \"$STDBOX\"";
    let seen = run_in_namespace(script, &json!({"argv": ["true"], "cwd": "/"}));
    let error = &seen.failed("mount-refused", "mounts").report["error"];
    assert_eq!(error["path"], "/dev/null", "{seen}");
    let hint = error["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("mknod(1)"), "{seen}");
}

#[test]
fn host_dev_shows_the_host_s_and_cannot_be_written() {
    let count = std::fs::read_dir("/dev").unwrap().count();
    for root_mode in ROOTS {
        let script = "ls -A /dev | wc -l; ( : > /dev/new ) 2>/dev/null && echo made; rm -f /dev/null 2>/dev/null; : > /dev/null && echo null; ls -A /dev/pts /dev/shm; echo x > /dev/shm/x && cat /dev/shm/x; for f in /dev/vda /dev/sda /dev/mem /dev/kmsg; do ( : < $f ) 2>/dev/null && echo $f; done; exit 0";
        let run = shell(script, fields(root_mode, json!({"dev": "host"})));
        let expected = format!("{count}\nnull\n/dev/pts:\nptmx\n\n/dev/shm:\nx\n");
        if root() {
            says(&run, &expected);
            assert!(run.degraded().contains(&"devices-closed"), "{run}");
        } else {
            // Device files are what their bits say.
            assert!(run.exited(0).stdout().starts_with(&expected), "{run}");
        }
        assert!(!std::path::Path::new("/dev/shm/x").exists(), "{run}");
    }
}

#[test]
fn all_of_them_together_leave_a_tree_without_the_kernel_s_own() {
    for root in ROOTS {
        let job = json!({
            "argv": ["/bin/sh", "-c", "ls -A /proc /sys; ls /dev | wc -l; ls -A /tmp"], "cwd": "/",
            "directories": {"/": root}, "proc": "none", "sys": "none", "mounts": [{"type": "tmpfs", "target": "/dev"}],
        });
        says(&run(&job), "/proc:\n\n/sys:\n0\n");
    }
}
