//! `/` in each of the four modes.

use crate::common::{BUSYBOX, MODES, Mounted, among_mounts, busybox, job, lines};
use crate::support::{Fresh, Run, run, shell};
use serde_json::{Value, json};

/// `/` with a mode, and what a shell needs where that hides it.
fn directories(mode: &str) -> Value {
    let mut directories = json!({"/": mode});
    if mode == "hidden" {
        directories["/usr/bin"] = json!("read-only");
    }
    directories
}

/// A script for busybox's shell, which needs no library.
fn static_job(script: &str, arguments: &[&[u8]], directories: &Value) -> Value {
    let mut job = job(script, arguments, &json!({"directories": directories}));
    job["argv"][0] = json!(BUSYBOX);
    job["argv"].as_array_mut().unwrap().insert(1, json!("sh"));
    job["env"] = json!({"set": {"PATH": "/usr/bin"}});
    job
}

fn static_run(script: &str, mode: &str) -> Run {
    run(&static_job(script, &[], &directories(mode)))
}

#[test]
fn root_hidden_shows_nothing_but_what_is_named_or_supplied() {
    if !busybox() {
        return;
    }
    let run = static_run(
        "busybox ls -A /; echo; busybox ls -A /usr; echo; busybox ls -A /etc /home; busybox touch /new /etc/new && echo written",
        "hidden",
    );
    let parts: Vec<&str> = run.exited(0).stdout().split("\n\n").collect();
    let top = lines(parts[0]);
    let expected = ["dev", "etc", "home", "proc", "run", "tmp", "usr"];
    assert_eq!(top, expected, "{run}");
    assert_eq!(parts[1], "bin", "{run}");
    let etc = "/etc:\ngroup\nhostname\nhosts\nmtab\nnsswitch.conf\npasswd\n";
    assert_eq!(
        format!("{}\n\n{}", parts[2], parts[3]),
        format!("{etc}\n/home:\nuser\nwritten\n"),
        "{run}"
    );
}

#[test]
fn root_read_only_refuses_writes_everywhere_but_in_hidden_directories() {
    let directory = Fresh::new();
    let script = "for d in / /etc /usr /var /home /root /sys /dev/.. \"$1\"; do ( echo job > $d/new ) 2>/dev/null && echo $d; done; echo x > /tmp/x && echo x > /run/x && echo x > /dev/shm/x && cat /tmp/x";
    let run = run(&job(
        script,
        &[directory.str().as_bytes()],
        &json!({"directories": {"/": "read-only"}}),
    ));
    assert_eq!(run.exited(0).stdout(), "x\n", "{run}");
}

#[test]
fn root_read_only_without_hidden_directories_is_read_only_to_the_last() {
    let fields = json!({"directories": {"/": "read-only", "/tmp": "read-only", "/run": "read-only", "/dev": "read-only"}, "env": {"set": {"TMPDIR": "/"}}});
    let run = shell(
        "for d in /tmp /run /var/tmp /; do ( echo job > $d/new ) 2>/dev/null && echo $d; done; ls /tmp >/dev/null && echo end",
        fields,
    );
    assert_eq!(run.exited(0).stdout(), "end\n", "{run}");
}

#[test]
fn root_overlay_takes_writes_everywhere_and_the_host_stays() {
    let before: Vec<_> = list("/");
    let run = shell(
        "echo job > /new && mkdir /dir && echo job > /etc/new && echo job > /usr/new && echo job > /var/new && cat /new /etc/new /usr/new /var/new | wc -l",
        json!({}),
    );
    assert_eq!(run.exited(0).stdout(), "4\n", "{run}");
    assert_eq!(list("/"), before, "{run}");
    for path in ["/new", "/dir", "/etc/new", "/usr/new", "/var/new"] {
        assert!(!std::path::Path::new(path).exists(), "{path}: {run}");
    }
}

#[test]
fn root_full_access_reaches_the_host_where_the_caller_may_write() {
    let directory = Fresh::new();
    let script = "cd \"$1\" && echo job > new && mkdir d && echo x > /tmp/hidden && ( echo job > /sys/new ) 2>/dev/null; ls -A /tmp";
    let run = run(&job(
        script,
        &[directory.str().as_bytes()],
        &json!({"directories": {"/": "full-access"}}),
    ));
    assert_eq!(run.exited(0).stdout(), "hidden\n", "{run}");
    assert_eq!(
        std::fs::read_to_string(directory.path().join("new")).unwrap(),
        "job\n",
        "{run}"
    );
    assert!(!std::path::Path::new("/tmp/hidden").exists(), "{run}");
}

fn list(path: &str) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}

#[test]
fn root_in_each_mode_lets_a_nested_user_namespace_be_made() {
    if !busybox() {
        return;
    }
    for mode in MODES {
        let run = static_run(
            "busybox unshare -Ur busybox true && busybox unshare -Urmipunf busybox true && echo yes",
            mode,
        );
        assert_eq!(run.exited(0).stdout(), "yes\n", "{mode}: {run}");
    }
}

#[test]
fn root_in_each_mode_lets_nested_mounts_be_made_and_undone() {
    if !busybox() {
        return;
    }
    for mode in MODES {
        let script = "busybox unshare -Urm busybox sh -c 'busybox mount -t tmpfs none /tmp && echo x > /tmp/x && busybox mount -t proc none /proc; busybox umount /tmp && [ ! -e /tmp/x ] && echo yes'";
        let run = static_run(script, mode);
        assert_eq!(run.exited(0).stdout(), "yes\n", "{mode}: {run}");
    }
}

/// Mounts below mounts, over mounts, and of several kinds.
const DEEP: &str = r#"
mkdir "$D/a"; echo host > "$D/a/f"
mount -t tmpfs none "$D/a"; mkdir "$D/a/b"; echo host > "$D/a/f"
mount -t tmpfs none "$D/a/b"; mkdir "$D/a/b/c"; echo host > "$D/a/b/f"
mkdir "$D/a/b/c/d"
mount --bind "$D/a/b" "$D/a/b/c"; mkdir "$D/e"
mount -t tmpfs none "$D/e"; echo host > "$D/e/f"
mount -t tmpfs none "$D/e"; echo host > "$D/e/f"
mount --rbind "$D/a" "$D/e"
"#;

fn deep(mode: &str) -> Mounted {
    let directory = Fresh::new();
    let script = r#"cd "$1"; for d in . a a/b a/b/c e e/b e/b/c; do
        if ( echo job > $d/new ) 2>/dev/null; then echo $d written; else echo $d refused; fi; done
        for f in a/f a/b/f a/b/c/f e/f e/b/f; do [ "$(cat $f)" = host ] || echo $f lost; done"#;
    let job = job(
        script,
        &[directory.str().as_bytes()],
        &json!({"directories": {"/": mode}}),
    );
    among_mounts(&directory, DEEP, &job)
}

#[test]
fn root_read_only_includes_everything_mounted_below() {
    let mounted = deep("read-only");
    let run = mounted.unchanged().run.exited(0);
    assert!(
        !run.stdout().contains("written") && !run.stdout().contains("lost"),
        "{run}"
    );
    assert_eq!(run.stdout().matches("refused").count(), 7, "{run}");
}

#[test]
fn root_overlay_is_split_around_everything_mounted_below() {
    let mounted = deep("overlay");
    let run = mounted.unchanged().run.exited(0);
    assert!(
        !run.stdout().contains("refused") && !run.stdout().contains("lost"),
        "{run}"
    );
    assert_eq!(run.stdout().matches("written").count(), 7, "{run}");
}

#[test]
fn root_full_access_includes_everything_mounted_below() {
    let mounted = deep("full-access");
    let run = mounted.run.exited(0);
    assert!(
        !run.stdout().contains("refused") && !run.stdout().contains("lost"),
        "{run}"
    );
    // `a/b/c` is `a/b` once more, which `find` does not enter.
    for new in ["new|", "a/new|", "a/b/new|", "e/new|", "e/b/new|"] {
        assert!(
            mounted.after.lines().any(|line| line.starts_with(new)),
            "{new} in {}\n{run}",
            mounted.after
        );
    }
}

/// A mount over `/` itself, which nobody sees, since `/` is looked up below it. To the kernel all are in a chroot then.
#[test]
fn root_with_a_mount_stacked_over_it_is_a_clear_error() {
    for mode in ["overlay", "read-only"] {
        let job = job("true", &[], &json!({"directories": {"/": mode}}));
        let run = crate::support::run_in_namespace(
            "mount -t tmpfs -o size=12345k over_root /; exec \"$STDBOX\"",
            &job,
        );
        run.failed("chroot", "namespaces");
    }
}
