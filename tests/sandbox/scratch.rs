//! Where the job's writes live.

use crate::common::{among_mounts, job, snap};
use crate::support::{Fresh, root, run, run_in_namespace, shell, skip};
use serde_json::{Value, json};

#[test]
fn scratch_numa_nodes_bind_the_memory() {
    if !std::path::Path::new("/sys/devices/system/node/node0").exists() {
        return skip("numa", "this kernel knows no NUMA nodes");
    }
    let run = shell(
        "echo x > /tmp/x; grep ' /tmp ' /proc/self/mountinfo || cat /proc/self/mountinfo",
        json!({"scratch": {"numa_nodes": [0], "size_bytes": 4 << 20}}),
    );
    assert!(run.exited(0).stdout().contains("mpol=bind:0"), "{run}");
    let run = shell("true", json!({"scratch": {"numa_nodes": [63]}}));
    run.failed("scratch-refused", "mounts");
    assert!(
        run.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("numa_nodes"),
        "{run}"
    );
    let run = shell("true", json!({"scratch": {"numa_nodes": [0, 63]}}));
    run.failed("scratch-refused", "mounts");
}

/// Everything that a job can do to make its scratch hard to remove.
const NASTY: &str = r#"
    mkdir -p shut/inner/more; echo x > shut/inner/more/f; chmod 000 shut/inner/more shut/inner shut
    mkdir -p blind/x; chmod 0311 blind; mkdir readonly; echo x > readonly/f; chmod 0555 readonly
    i=0; while [ $i -lt 500 ]; do mkdir d && cd d || exit 9; i=$((i+1)); done; echo deep > f; cd "$1"
    mkdir many; seq -f many/%g 2000 | xargs touch; ln -s / link; ln many/1 hard; mkfifo fifo
    mkdir "$(printf 'a\nb')" .stdbox-1; echo x > .stdbox-1/f; chmod 000 .stdbox-1; printf x > "$(printf '\377')"
    rm -r deleted; rm -r remade; mkdir remade; rm plain; echo done"#;

fn victim() -> Fresh {
    let directory = Fresh::new();
    directory.file("deleted/f", "host");
    directory.file("remade/f", "host");
    directory.file("plain", "host");
    directory
}

#[test]
fn disk_scratch_is_used_and_removed_whatever_the_job_left() {
    let (place, directory) = (Fresh::new(), victim());
    for fields in [
        json!({}),
        json!({"directories": {"/": "read-only", directory.str(): "overlay"}}),
        json!({"directories": {"/": "full-access", directory.str(): "overlay"}}),
    ] {
        let before = snap(directory.str());
        let mut fields = fields;
        fields["scratch"] = json!({"directory": place.str()});
        let run = run(&job(
            &format!("cd \"$1\"; {NASTY}; [ \"$(stat -f -c %T many)\" = overlayfs ]"),
            &[directory.str().as_bytes()],
            &fields,
        ));
        assert_eq!(run.exited(0).stdout(), "done\n", "{run}");
        assert_eq!(
            place.snapshot().len(),
            1,
            "nothing stays in {:?}: {run}",
            place.snapshot()
        );
        assert_eq!(snap(directory.str()), before, "{run}");
        assert!(
            run.warnings().iter().all(|code| *code != "scratch-left"),
            "{run}"
        );
    }
}

#[test]
fn disk_scratch_holds_hidden_directories_and_home_on_disk() {
    let place = Fresh::new();
    let script = "for d in /tmp /run /home/user /var /; do echo x > $d/x; stat -f -c %T $d; done; stat -f -c %T /dev/shm; stat -c %a /tmp";
    let run = shell(script, json!({"scratch": {"directory": place.str()}}));
    let kinds: Vec<&str> = run.exited(0).stdout().lines().collect();
    let disk = crate::common::shell(&format!("stat -f -c %T '{}'", place.str()), "")
        .0
        .trim()
        .to_owned();
    assert_eq!(kinds[0], disk, "{run}");
    assert_eq!(kinds[1], disk, "{run}");
    assert_eq!(kinds[5..], ["tmpfs", "1777"], "{run}");
    assert!(!run.degraded().contains(&"overlay-without-xattr"), "{run}");
    assert_eq!(place.snapshot().len(), 1, "{run}");
}

#[test]
fn disk_scratch_is_not_seen_inside() {
    let place = Fresh::new();
    place.file("mine", "host");
    for (top, mode) in [
        ("overlay", "overlay"),
        ("overlay", "read-only"),
        ("overlay", "full-access"),
        ("read-only", "read-only"),
        ("read-only", "overlay"),
        ("full-access", "full-access"),
        ("full-access", "hidden"),
        ("overlay", "hidden"),
    ] {
        let fields = json!({"scratch": {"directory": place.str()}, "directories": {"/": top, place.str(): mode}});
        let script = "echo $$ > /tmp/trace; ls -A \"$1\" | grep -v '^[.]stdbox'; ls -A \"$1\"/.stdbox-*/ 2>/dev/null; find \"$1\" /tmp /run /home -name trace 2>/dev/null; cat \"$1\"/.stdbox*/*/*/trace 2>/dev/null; echo end";
        let run = run(&job(script, &[place.str().as_bytes()], &fields));
        let lines: Vec<&str> = run
            .exited(0)
            .stdout()
            .lines()
            .filter(|line| *line != "/tmp/trace")
            .collect();
        let expected: &[&str] = if mode == "hidden" {
            &["end"]
        } else {
            &["mine", "end"]
        };
        assert_eq!(lines, expected, "{top} {mode}: {run}");
        assert_eq!(place.snapshot().len(), 2, "{top} {mode}: {run}");
    }
}

#[test]
fn disk_scratch_in_an_overlay_of_its_own_parent_works() {
    let place = victim();
    std::fs::create_dir_all(place.path().join("a/s")).unwrap();
    place.file("a/f", "host");
    let before = snap(&format!("{}/a", place.str()));
    for directories in [
        json!({}),
        json!({place.str(): "overlay"}),
        json!({"/": "read-only", place.str(): "overlay"}),
        json!({"/": "read-only", format!("{}/a/s", place.str()): "overlay"}),
    ] {
        let fields = json!({"scratch": {"directory": format!("{}/a/s", place.str())}, "directories": directories});
        let script = "cd \"$1/a/s\" && echo job > new && ls -A | grep -v '^[.]stdbox'; cd ..; cat f; ( echo job > f && rm f ) 2>/dev/null; ls -A";
        let run = run(&job(script, &[place.str().as_bytes()], &fields));
        let whole = directories
            .as_object()
            .unwrap()
            .keys()
            .all(|key| !key.ends_with("/a/s"));
        let expected = if whole {
            "new\nhosts\n"
        } else {
            "new\nhostf\ns\n"
        };
        assert_eq!(run.exited(0).stdout(), expected, "{directories}: {run}");
        assert_eq!(
            without_times(&snap(&format!("{}/a", place.str()))),
            without_times(&before),
            "{directories}: {run}"
        );
    }
}

/// The scratch itself may change the time of the directory that holds it.
fn without_times(picture: &str) -> Vec<String> {
    picture
        .lines()
        .map(|line| {
            line.split('|')
                .enumerate()
                .filter(|(i, _)| *i != 4)
                .map(|(_, part)| part)
                .collect()
        })
        .collect()
}

#[test]
fn disk_scratch_left_by_a_killed_stdbox_is_removed_by_the_next_run_in_the_same_place() {
    let (place, directory) = (Fresh::new(), victim());
    let nasty = job(
        &format!("cd \"$1\"; {NASTY}; touch \"$2/ready\"; sleep 100"),
        &[directory.str().as_bytes(), place.str().as_bytes()],
        &json!({
            "scratch": {"directory": place.str()},
            "directories": {place.str(): "full-access"}
        }),
    );
    let mut child = crate::support::start(&nasty);
    let ready = place.path().join("ready");
    wait_for(|| ready.exists());
    let others = left(&place);
    assert_eq!(others.len(), 1, "{others:?}");
    // A second job in the same place leaves the first one's directory alone while it runs.
    let quick = json!({"argv": ["true"], "cwd": "/", "scratch": {"directory": place.str()}});
    run(&quick).exited(0);
    assert_eq!(left(&place), others);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        left(&place)[0].contains(&format!(
            ".stdbox-{}-{}-",
            nix::unistd::geteuid(),
            child.id()
        )),
        "{others:?}"
    );
    // The container dies with stdbox; then its lock is gone.
    let mut last = Value::Null;
    wait_for(|| {
        last = run(&quick).exited(0).report.clone();
        left(&place).is_empty()
    });
    assert_eq!(last["outcome"], "exited");
}

#[test]
fn disk_scratch_removes_only_what_stdbox_left() {
    let place = Fresh::new();
    let uid = nix::unistd::geteuid();
    // The user's own, with names that only look alike; and a link where a left-over could be.
    for name in [
        ".stdbox-notes/f".to_owned(),
        ".stdbox-1/f".to_owned(),
        format!(".stdbox-{uid}-x-1/f"),
        format!(".stdbox-{uid}-1/f"),
        ".stdbox-/f".to_owned(),
        "precious/f".to_owned(),
    ] {
        place.file(&name, "host");
    }
    place.file(&format!(".stdbox-{uid}-1-2"), "host");
    std::os::unix::fs::symlink("precious", place.path().join(format!(".stdbox-{uid}-1-1")))
        .unwrap();
    let before = place.snapshot();
    let run = run(&json!({"argv": ["true"], "cwd": "/", "scratch": {"directory": place.str()}}));
    run.exited(0);
    assert_eq!(place.snapshot(), before, "{run}");
}

/// Another user could change its directory while the real root removes it, and so lead it elsewhere.
#[test]
fn disk_scratch_leaves_what_another_user_left() {
    if !root() {
        return;
    }
    let place = Fresh::new();
    place.file(".stdbox-65534-1-1/upper/f", "host");
    place.file(".stdbox-0-1-1/upper/f", "host");
    for name in [".stdbox-65534-1-1", ".stdbox-0-1-1"] {
        std::os::unix::fs::chown(place.path().join(name), Some(65534), Some(65534)).unwrap();
    }
    let run = run(&json!({"argv": ["true"], "cwd": "/", "scratch": {"directory": place.str()}}));
    run.exited(0);
    assert_eq!(left(&place).len(), 2, "{run}");
}

#[test]
fn disk_scratches_of_many_jobs_at_once_are_apart_and_all_removed() {
    let place = Fresh::new();
    let fields = json!({"scratch": {"directory": place.str()}});
    let job = job(
        "ls -A /tmp; echo $$ > /tmp/x; mkdir -p /var/a; cd /var/a; seq 50 | xargs touch; sleep 0.05; ls -A /tmp",
        &[],
        &fields,
    );
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..3).map(|_| run(&job)).collect::<Vec<_>>()))
            .collect();
        for run in all.into_iter().flat_map(|thread| thread.join().unwrap()) {
            assert_eq!(run.exited(0).stdout(), "x\n", "{run}");
        }
    });
    assert_eq!(left(&place), Vec::<String>::new());
}

fn left(place: &Fresh) -> Vec<String> {
    let names = std::fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".stdbox-")).collect()
}

#[track_caller]
fn wait_for(mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("waited in vain");
}

#[test]
fn disk_scratch_that_cannot_be_used_is_refused() {
    let place = Fresh::new();
    place.file("f", "host");
    std::os::unix::fs::symlink(place.path(), place.path().join("link")).unwrap();
    for (name, code) in [
        ("/missing", "no-such-directory"),
        ("/f", "not-a-directory"),
        ("/link", "is-symlink"),
    ] {
        let run = shell(
            "true",
            json!({"scratch": {"directory": format!("{}{name}", place.str())}}),
        );
        run.failed(code, "validate");
        assert_eq!(run.report["error"]["at"], "/scratch/directory", "{run}");
    }
    let run = shell("true", json!({"scratch": {"directory": "/proc/self"}}));
    assert_ne!(run.report["outcome"], "exited", "{run}");
}

#[test]
fn disk_scratch_on_a_read_only_place_is_refused() {
    let directory = Fresh::new();
    let setup = format!(
        "mount -t tmpfs -o ro none '{0}'; exec \"$STDBOX\"",
        directory.str()
    );
    let run = run_in_namespace(
        &setup,
        &job(
            "true",
            &[],
            &json!({"scratch": {"directory": directory.str()}}),
        ),
    );
    run.failed("scratch-refused", "validate");
}

#[test]
fn disk_scratch_where_directories_are_named_below_it_works() {
    let place = Fresh::new();
    place.file("d/f", "host");
    for mode in crate::common::MODES {
        let fields = json!({"scratch": {"directory": place.str()}, "directories": {format!("{}/d", place.str()): mode}});
        let run = run(&job(
            "cat \"$1/d/f\" 2>/dev/null; ( echo job > \"$1/d/new\" ) 2>/dev/null; ls -A \"$1/d\"",
            &[place.str().as_bytes()],
            &fields,
        ));
        let expected = match mode {
            "hidden" => "new\n",
            "read-only" => "hostf\n",
            _ => "hostf\nnew\n",
        };
        assert_eq!(run.exited(0).stdout(), expected, "{mode}: {run}");
        let reached = std::fs::remove_file(place.path().join("d/new")).is_ok();
        assert_eq!(reached, mode == "full-access", "{mode}: {run}");
    }
}

#[test]
fn disk_scratch_on_a_mount_with_flags_is_not_bound_by_its_noexec() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("s")).unwrap();
    let at = format!("{}/s", directory.str());
    let job = job(
        "cp /bin/true /tmp/t && /tmp/t && echo ran; cat /proc/self/mountinfo >&2",
        &[],
        &json!({"scratch": {"directory": at}}),
    );
    let mounted = among_mounts(&directory, "mount -t tmpfs -o noexec none \"$D/s\"", &job);
    // The mount's noexec is never weakened: what lies on it cannot be executed.
    assert_eq!(mounted.run.report["outcome"], "exited", "{}", mounted.run);
    assert_eq!(mounted.run.stdout(), "", "{}", mounted.run);
}

#[test]
fn scratch_use_is_reported() {
    let run = shell("head -c 5000000 /dev/zero > /tmp/x", json!({}));
    let used = run.exited(0).report["usage"]["scratch_bytes"]
        .as_u64()
        .unwrap();
    assert!((5_000_000..6_000_000).contains(&used), "{run}");
}

/// What the job wrote, not what the whole disk holds.
#[test]
fn disk_scratch_use_is_reported() {
    let place = Fresh::new();
    let run = shell(
        "head -c 5000000 /dev/zero > /tmp/x",
        json!({"scratch": {"directory": place.str()}}),
    );
    let used = run.exited(0).report["usage"]["scratch_bytes"]
        .as_u64()
        .unwrap();
    assert!((5_000_000..6_000_000).contains(&used), "{run}");
}

#[test]
fn scratch_of_two_jobs_is_not_shared() {
    for _ in 0..2 {
        let run = shell(
            "ls -A /tmp /dev/shm /home/user; echo x > /tmp/x; echo x > /dev/shm/x; echo x > ~/x",
            json!({}),
        );
        assert_eq!(
            run.exited(0).stdout(),
            "/dev/shm:\n\n/home/user:\n\n/tmp:\n",
            "{run}"
        );
    }
}
