//! `mounts`: every type below every mode, on existing and missing targets, in order, behind links; and the host stays.

use crate::common::{BUSYBOX, MODES, among_mounts, below, busybox, job, mount_at, os, table, text};
use crate::support::{Fresh, Run, root, run, run_in_namespace, shell, skip};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};

fn bind(source: &str, target: &str) -> Value {
    json!({"type": "bind", "source": source, "target": target})
}

fn writable(source: &str, target: &str) -> Value {
    json!({"type": "bind", "source": source, "target": target, "read_only": false})
}

fn tmpfs(target: &str) -> Value {
    json!({"type": "tmpfs", "target": target})
}

fn file(target: &str, text: &str) -> Value {
    json!({"type": "file", "target": target, "text": text})
}

fn link(target: &str, to: &str) -> Value {
    json!({"type": "symlink", "target": target, "to": to})
}

fn overlay(target: &str, lower: &[&str], upper: &str, work: &str) -> Value {
    json!({"type": "overlay", "target": target, "lower": lower, "upper": upper, "work": work})
}

/// A directory with what is mounted (`src`), where it is mounted (`place`), and layers for an overlay.
fn scene() -> Fresh {
    let scene = Fresh::new();
    for (name, text) in [
        ("src/f", "source"),
        ("src/sub/f", "below"),
        ("one", "one file"),
        ("place/dir/old", "covered"),
        ("place/file", "covered"),
        ("low/f", "lower"),
        ("low/gone", "lower"),
    ] {
        scene.file(name, text);
    }
    for name in ["up", "work"] {
        std::fs::create_dir(scene.path().join(name)).unwrap();
    }
    scene
}

/// Names in directories of the host where something would be made if anything were.
fn top() -> Vec<std::path::PathBuf> {
    let list = ["/", "/opt", "/srv", "/mnt", "/etc"].into_iter();
    let all = list.flat_map(|path| std::fs::read_dir(path).into_iter().flatten().flatten());
    let mut all: Vec<_> = all.map(|entry| entry.path()).collect();
    all.sort();
    all
}

/// Runs a script with the scene's directory as `$1`; the host must be what it was.
#[track_caller]
fn kept(scene: &Fresh, script: &str, mounts: Value, directories: &Value) -> Run {
    let before = (scene.snapshot(), top());
    let fields = json!({"mounts": mounts, "directories": directories});
    let run = run(&job(script, &[scene.str().as_bytes()], &fields));
    assert_eq!((scene.snapshot(), top()), before, "{run}");
    run
}

#[track_caller]
fn says(run: &Run, expected: &str) {
    assert_eq!(run.exited(0).stdout(), expected, "{run}");
}

/// What is refused, with the place in the job.
#[track_caller]
fn refuses(run: &Run, code: &str, at: &str) {
    let error = &run.report["error"];
    assert_eq!(
        (error["code"].as_str(), error["at"].as_str()),
        (Some(code), Some(at)),
        "{run}"
    );
    assert!(run.report["exit_code"].is_null(), "{run}");
}

/// What the mount shows, and whether it and what is beside it can be written.
const LOOK: &str = r#"cd "$1/place" || exit 9; t=$2
[ -d "$t" ] && ls -A "$t" | tr '\n' ' '; [ -f "$t" ] && cat "$t"; [ -L "$t" ] && readlink "$t"
if [ -d "$t" ]; then ( echo x > "$t/new" ) 2>/dev/null && echo written; fi
( echo x > beside ) 2>/dev/null && echo beside
exit 0"#;

#[test]
fn every_type_works_below_every_mode_on_existing_and_missing_targets() {
    for root in ["overlay", "read-only"] {
        for mode in MODES {
            for (kind, existing) in [
                ("bind", true),
                ("bind", false),
                ("bind file", true),
                ("bind file", false),
                ("tmpfs", true),
                ("tmpfs", false),
                ("file", true),
                ("file", false),
                ("symlink", false),
                ("overlay", true),
                ("overlay", false),
                ("mqueue", true),
                ("mqueue", false),
            ] {
                let scene = scene();
                let d = scene.str();
                let directory = !matches!(kind, "bind file" | "file" | "symlink");
                let name = match (existing, directory) {
                    (true, true) => "dir",
                    (true, false) => "file",
                    (false, _) => "new/er/name",
                };
                let target = format!("{d}/place/{name}");
                let mount = match kind {
                    "bind" => bind(&format!("{d}/src"), &target),
                    "bind file" => bind(&format!("{d}/one"), &target),
                    "tmpfs" => tmpfs(&target),
                    "file" => file(&target, "given"),
                    "symlink" => link(&target, "anywhere"),
                    "overlay" => overlay(
                        &target,
                        &[&format!("{d}/low")],
                        &format!("{d}/up"),
                        &format!("{d}/work"),
                    ),
                    _ => json!({"type": "mqueue", "target": target}),
                };
                let fields = json!({
                    "directories": {"/": root, d: "read-only", format!("{d}/place"): mode},
                    "mounts": [mount],
                });
                let before = (scene.snapshot(), top());
                let run = run(&job(LOOK, &[d.as_bytes(), name.as_bytes()], &fields));
                let what = format!("{kind}, existing {existing}, {mode} in {root}: {run}");
                let place = format!("{d}/place");
                let outside = |all: Vec<(std::path::PathBuf, u32, Vec<u8>)>| {
                    // The upper layer is for writing, and so is what has full access.
                    let mine = all.into_iter().filter(|(path, ..)| {
                        !path.starts_with(format!("{d}/up"))
                            && !path.starts_with(format!("{d}/work"))
                            && *path != os(format!("{place}/beside").as_bytes())
                    });
                    mine.collect::<Vec<_>>()
                };
                assert_eq!(
                    (outside(scene.snapshot()), top()),
                    (outside(before.0), before.1),
                    "{what}"
                );
                if mode == "full-access" && !existing {
                    refuses(&run, "target-missing", "/mounts/0/target");
                    continue;
                }
                let shown = match kind {
                    "bind" => "f sub ",
                    "bind file" => "one file",
                    "tmpfs" => "written\n",
                    "file" => "given",
                    "symlink" => "anywhere\n",
                    "overlay" => "f gone written\n",
                    _ => "",
                };
                let beside = if mode == "read-only" { "" } else { "beside\n" };
                assert_eq!(run.exited(0).stdout(), format!("{shown}{beside}"), "{what}");
                let reached = scene.path().join("place/beside").exists();
                assert_eq!(reached, mode == "full-access", "{what}");
            }
        }
    }
}

#[test]
fn later_mounts_lie_on_and_below_earlier_ones_and_cover_them() {
    for root in ["overlay", "read-only"] {
        let scene = scene();
        let d = scene.str();
        let directories = json!({"/": root});
        let place = format!("{d}/place/dir");
        let (src, one) = (format!("{d}/src"), format!("{d}/one"));
        let at = |name: &str| format!("{place}/{name}");
        for (mounts, script, expected) in [
            // In a tmpfs, made there.
            (
                json!([tmpfs(&place), bind(&src, &at("a/b")), file(&at("a/c"), "c")]),
                "cat a/b/f a/c; ls -A a; ( echo > a/x ) && ls a",
                "sourcecb\nc\nb\nc\nx\n",
            ),
            // On what a bind shows.
            (
                json!([bind(&src, &place), tmpfs(&at("sub"))]),
                "ls -A . sub",
                ".:\nf\nsub\n\nsub:\n",
            ),
            (
                json!([bind(&src, &place), file(&at("f"), "over")]),
                "cat f sub/f",
                "overbelow",
            ),
            (
                json!([bind(&src, &place), bind(&one, &at("sub/f"))]),
                "cat f sub/f",
                "sourceone file",
            ),
            // Covered with what lies below.
            (
                json!([
                    tmpfs(&place),
                    bind(&src, &at("a")),
                    tmpfs(&place),
                    file(&at("z"), "z")
                ]),
                "ls -A",
                "z\n",
            ),
            (
                json!([bind(&src, &place), tmpfs(&at("sub")), bind(&src, &place)]),
                "cat sub/f",
                "below",
            ),
            (
                json!([
                    file(&at("old"), "1"),
                    file(&at("old"), "2"),
                    bind(&one, &at("old"))
                ]),
                "cat old",
                "one file",
            ),
            (
                json!([file(&at("old"), "1"), file(&at("old"), "2")]),
                "cat old",
                "2",
            ),
            // Through a link of the list, which may be seen only when the time comes.
            (
                json!([link(&at("l"), &src), tmpfs(&at("l/sub"))]),
                "readlink l; ls -A l/sub",
                &format!("{src}\n"),
            ),
            (
                json!([link(&at("l"), &src), file(&at("l/new"), "n")]),
                "cat l/new l/f",
                "nsource",
            ),
            (
                json!([link(&at("l"), "/tmp"), file(&at("l/new/er"), "n")]),
                "cat /tmp/new/er",
                "n",
            ),
            (
                json!([
                    link(&at("l"), "m"),
                    link(&at("m"), "../dir/n"),
                    file(&at("l"), "n")
                ]),
                "cat n",
                "n",
            ),
            (
                json!([
                    tmpfs("/tmp/t"),
                    link("/tmp/t/l", &src),
                    tmpfs("/tmp/t/l/sub")
                ]),
                "ls -A /tmp/t/l/sub; cat /tmp/t/l/f",
                "source",
            ),
        ] {
            let shown = mounts.to_string();
            let script = format!("cd \"$1/place/dir\" && {script}");
            let run = kept(&scene, &script, mounts, &directories);
            assert_eq!(run.exited(0).stdout(), expected, "{shown} in {root}: {run}");
        }
        // What is missing in a bind would have to be made on the host.
        for first in [bind(&src, &place), writable(&src, &place)] {
            let run = kept(&scene, "", json!([first, tmpfs(&at("none"))]), &directories);
            refuses(&run, "target-missing", "/mounts/1/target");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_place_in_the_job() {
    let scene = scene();
    let d = scene.str();
    symlink("loop", scene.path().join("loop")).unwrap();
    let path = |name: &str| format!("{d}/{name}");
    for (mount, code, at) in [
        (tmpfs(&path("one")), "not-a-directory", "target"),
        (
            bind(&path("src"), &path("one")),
            "not-a-directory",
            "target",
        ),
        (bind(&path("one"), &path("src")), "mount-refused", ""),
        (file(&path("src"), "x"), "mount-refused", ""),
        (link(&path("one"), "x"), "mount-refused", ""),
        (link(&path("src"), "x"), "mount-refused", ""),
        (tmpfs(&path("one/x")), "not-a-directory", "target"),
        (file(&path("one/x/y"), "x"), "not-a-directory", "target"),
        (tmpfs(&path("loop")), "is-symlink", "target"),
        (tmpfs(&path("loop/x")), "is-symlink", "target"),
        (tmpfs("/"), "contradiction", "target"),
        (tmpfs("/proc/x"), "proc-directory", "target"),
        (tmpfs(&path("../x")), "parent-component", "target"),
        (tmpfs("/sys/none"), "target-missing", "target"),
        (bind(&path("none"), "/tmp/x"), "no-such-file", "source"),
        (
            bind(&path("one/none"), "/tmp/x"),
            "not-a-directory",
            "source",
        ),
        (bind(&path("loop"), "/tmp/x"), "file-refused", "source"),
        (
            overlay("/tmp/x", &[&path("one")], &path("up"), &path("work")),
            "not-a-directory",
            "lower/0",
        ),
        (
            overlay(
                "/tmp/x",
                &[&path("src"), &path("none")],
                &path("up"),
                &path("work"),
            ),
            "no-such-file",
            "lower/1",
        ),
        (
            overlay("/tmp/x", &[&path("src")], &path("none"), &path("work")),
            "no-such-file",
            "upper",
        ),
        (
            overlay("/tmp/x", &[&path("src")], &path("up"), &path("one")),
            "not-a-directory",
            "work",
        ),
    ] {
        let shown = mount.to_string();
        let run = kept(&scene, "true", json!([mount]), &json!({}));
        let error = &run.report["error"];
        let given = error["at"].as_str().unwrap_or_default();
        assert_eq!(error["code"], code, "{shown}: {run}");
        assert!(
            if at.is_empty() {
                given.starts_with("/mounts/0")
            } else {
                given == format!("/mounts/0/{at}")
            },
            "{shown}: {run}"
        );
    }
    // A link that leads to /proc or / is found out when links are followed.
    for (to, code) in [
        ("/proc", "proc-directory"),
        ("/proc/sys", "proc-directory"),
        ("/", "contradiction"),
        ("../../../../../..", "contradiction"),
    ] {
        let mounts = json!([link("/tmp/l", to), tmpfs("/tmp/l")]);
        refuses(
            &kept(&scene, "true", mounts, &json!({})),
            code,
            "/mounts/1/target",
        );
    }
}

#[test]
fn link_that_is_there_already_is_the_same_link() {
    let scene = scene();
    symlink("one", scene.path().join("l")).unwrap();
    let l = format!("{}/l", scene.str());
    for mode in ["overlay", "read-only", "full-access"] {
        let directories = json!({scene.str(): mode});
        let run = kept(
            &scene,
            "readlink \"$1/l\"",
            json!([link(&l, "one")]),
            &directories,
        );
        says(&run, "one\n");
        let run = kept(&scene, "true", json!([link(&l, "src")]), &directories);
        run.failed("mount-refused", "mounts");
    }
}

/// Links of the host on the way to a target lead to places of the container.
#[test]
fn targets_behind_links_of_the_host_stay_inside() {
    let scene = scene();
    let d = scene.str();
    let up = "../".repeat(30);
    for (name, to) in [
        ("absolute", format!("{d}/place")),
        ("beyond", format!("{up}{}/place", d.trim_start_matches('/'))),
        ("chain", "chain2".to_owned()),
        ("chain2", "./absolute/../place".to_owned()),
        ("dangling", format!("{d}/place/fresh")),
        ("hidden/in", "../place".to_owned()),
        ("shown", "hidden/sub".to_owned()),
        ("tmp", "/tmp".to_owned()),
    ] {
        std::fs::create_dir_all(scene.path().join("hidden/sub")).unwrap();
        symlink(to, scene.path().join(name)).unwrap();
    }
    scene.file("hidden/sub/secret", "secret");
    for root in ["overlay", "read-only"] {
        let directories = json!({"/": root, format!("{d}/hidden"): "hidden"});
        for (target, seen_at) in [
            ("absolute/n", "$1/place/n"),
            ("beyond/n", "$1/place/n"),
            ("chain/n", "$1/place/n"),
            ("dangling", "$1/place/fresh"),
            ("dangling/n/m", "$1/place/fresh/n/m"),
            // The link inside the hidden directory is not there.
            ("hidden/in/n", "$1/hidden/in/n"),
            // What the hidden directory holds on the host is not there either.
            ("shown/n", "$1/hidden/sub/n"),
            ("tmp/n", "/tmp/n"),
        ] {
            let script =
                format!("cat \"{seen_at}\"; [ -e \"$1/hidden/sub/secret\" ] && echo shown; exit 0");
            let mounts = json!([file(&format!("{d}/{target}"), "given")]);
            let run = kept(&scene, &script, mounts, &directories);
            assert_eq!(run.exited(0).stdout(), "given", "{target} in {root}: {run}");
        }
    }
}

#[test]
fn bind_is_read_only_with_what_is_mounted_below_or_reaches_the_host() {
    for mode in ["overlay", "read-only", "full-access"] {
        for read_only in [true, false] {
            let scene = scene();
            let d = scene.str();
            std::fs::create_dir(scene.path().join("src/m")).unwrap();
            let setup = "mount -t tmpfs none \"$D/src/m\"; echo host > \"$D/src/m/f\"";
            let script = "cd /tmp/b; cat f m/f; for x in new m/new; do ( echo x > $x ) 2>/dev/null && echo $x; done; exit 0";
            let mounts = json!([{"type": "bind", "source": format!("{d}/src"), "target": "/tmp/b", "read_only": read_only}]);
            let fields = json!({"directories": {"/": mode, d: "hidden"}, "mounts": mounts});
            let fields = if mode == "full-access" {
                json!({"directories": {"/": mode}, "mounts": fields["mounts"]})
            } else {
                fields
            };
            let mounted = among_mounts(&scene, setup, &job(script, &[], &fields));
            let run = &mounted.run;
            let written = if read_only { "" } else { "new\nm/new\n" };
            says(run, &format!("sourcehost\n{written}"));
            assert_eq!(mounted.before == mounted.after, read_only, "{mode}: {run}");
        }
    }
}

#[test]
fn bind_without_what_is_mounted_below_is_refused_rather_than_uncovered() {
    let scene = scene();
    let d = scene.str();
    scene.file("src/m/beneath", "beneath");
    let mounts = json!([{"type": "bind", "source": format!("{d}/src"), "target": "/tmp/b", "recursive": false}]);
    let script = "ls -A /tmp/b /tmp/b/m";
    let fields = json!({"mounts": mounts});
    says(
        &run(&job(script, &[], &fields)),
        "/tmp/b:\nf\nm\nsub\n\n/tmp/b/m:\nbeneath\n",
    );
    let setup = "mount -t tmpfs none \"$D/src/m\"";
    let mounted = among_mounts(&scene, setup, &job(script, &[], &fields));
    mounted.unchanged();
    refuses(&mounted.run, "mount-refused", "/mounts/0");
}

#[test]
fn flags_of_a_source_are_never_weakened_and_devices_and_setuid_never_given() {
    for (flag, read_only) in [
        ("noexec", false),
        ("ro", false),
        ("nosymfollow", true),
        ("noatime", false),
        ("rw", false),
    ] {
        let scene = scene();
        let d = scene.str();
        let setup = format!("mount -t tmpfs -o {flag} none \"$D/src\"");
        let mounts = json!([{"type": "bind", "source": format!("{d}/src"), "target": "/tmp/b", "read_only": read_only}]);
        let run = among_mounts(
            &scene,
            &setup,
            &job("cat /proc/self/mountinfo", &[], &json!({"mounts": mounts})),
        )
        .run;
        let table = table(run.exited(0).stdout());
        let mount = mount_at(&table, "/tmp/b");
        for kept in [flag, "nosuid", "nodev"] {
            assert!(mount.has(kept), "{flag}: {mount:?} {run}");
        }
        assert_eq!(
            mount.has("ro"),
            read_only || flag == "ro",
            "{mount:?} {run}"
        );
        assert_eq!(mount.optional, Vec::<String>::new(), "{mount:?} {run}");
    }
}

#[test]
fn sources_are_followed_on_the_host_and_may_be_of_any_kind() {
    let scene = scene();
    let d = scene.str();
    symlink("src", scene.path().join("l")).unwrap();
    symlink(format!("{d}/l/f"), scene.path().join("l2")).unwrap();
    // Behind a link, through a link, and a link to a file.
    let mounts = json!([
        bind(&format!("{d}/l"), "/tmp/a"),
        bind(&format!("{d}/l/sub"), "/tmp/b"),
        bind(&format!("{d}/l2"), "/tmp/c")
    ]);
    says(
        &kept(&scene, "cat /tmp/a/f /tmp/b/f /tmp/c", mounts, &json!({})),
        "sourcebelowsource",
    );
    // What is hidden from the job may be shown elsewhere.
    let mounts = json!([bind(&format!("{d}/src"), "/tmp/a")]);
    says(
        &kept(
            &scene,
            "cat /tmp/a/f; ls -A \"$1\"",
            mounts,
            &json!({d: "hidden"}),
        ),
        "source",
    );
    // Relative to the caller's working directory.
    let relative = job(
        "cat /tmp/a/f",
        &[],
        &json!({"mounts": [bind("src", "/tmp/a")]}),
    );
    let run = crate::support::run_with(relative.to_string().as_bytes(), &[], |command| {
        command.current_dir(scene.path());
    });
    says(&run, "source");
    // Sockets and pipes.
    let _socket = std::os::unix::net::UnixListener::bind(scene.path().join("socket")).unwrap();
    nix::unistd::mkfifo(&scene.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mounts = json!([
        bind(&format!("{d}/socket"), "/tmp/s"),
        bind(&format!("{d}/fifo"), "/tmp/p")
    ]);
    says(
        &kept(
            &scene,
            "[ -S /tmp/s ] && [ -p /tmp/p ] && echo both",
            mounts,
            &json!({}),
        ),
        "both\n",
    );
}

/// A device is one where it was asked for in /dev by its own name, and nowhere else.
#[test]
fn bind_of_a_device_opens_in_dev_only() {
    let scene = scene();
    let mounts = json!([
        bind("/dev/full", "/dev/x"),
        bind("/dev/full", "/tmp/x"),
        bind("/dev", "/tmp/dev"),
        bind("/dev", "/dev/all")
    ]);
    let script = "for f in /dev/x /tmp/x /tmp/dev/full /dev/all/full; do [ -c $f ] || echo no device $f; ( : < $f ) 2>/dev/null && echo $f; done; exit 0";
    for root in ["overlay", "read-only"] {
        let run = kept(&scene, script, mounts.clone(), &json!({"/": root}));
        says(&run, "/dev/x\n");
    }
}

#[test]
fn source_that_cannot_be_reached_is_refused() {
    if root() {
        skip("user", "root can search every directory");
        return;
    }
    let scene = scene();
    let d = scene.str();
    let closed = scene.path().join("src/sub");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let fields = |mount| json!({"mounts": [mount]});
    let run_source = run(&job(
        "true",
        &[],
        &fields(bind(&format!("{d}/src/sub/f"), "/tmp/x")),
    ));
    let run_target = run(&job("true", &[], &fields(tmpfs(&format!("{d}/src/sub/x")))));
    let shown = run(&job(
        "ls /tmp/x 2>/dev/null || echo closed",
        &[],
        &fields(bind(&format!("{d}/src/sub"), "/tmp/x")),
    ));
    let upper = overlay(
        "/tmp/x",
        &[&format!("{d}/low")],
        &format!("{d}/src/sub"),
        &format!("{d}/work"),
    );
    let upper = run(&job(
        "ls /tmp/x 2>/dev/null || echo closed",
        &[],
        &fields(upper),
    ));
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    refuses(&run_source, "directory-unreachable", "/mounts/0/source");
    refuses(&run_target, "directory-unreachable", "/mounts/0/target");
    says(&shown, "closed\n");
    says(&upper, "closed\n");
}

/// The host's whole tree at another place: neither the scratch space that the container is made of, nor the one on disk, is
/// seen through it, whatever mode `/` has.
#[test]
fn bind_of_the_whole_host_does_not_show_the_scratch_space() {
    for root in ["overlay", "read-only", "full-access", "hidden"] {
        for (disk, dev) in [
            (false, "minimal"),
            (true, "minimal"),
            (false, "host"),
            (true, "host"),
        ] {
            let scene = Fresh::new();
            scene.file("f", "host");
            let target = if root == "full-access" {
                "/tmp/host"
            } else {
                "/mnt/host"
            };
            let script = format!(
                r#"cat "{target}$1/f"; ls -A "{target}$1/.stdbox"* 2>/dev/null; find "{target}/dev" "{target}$1" -name upper -o -name nested -o -name work 2>/dev/null
                [ "$(stat -c %d {target})" = "$(stat -c %d "{target}/var/..")" ] || echo covered; [ -e {target}/dev/pts/ptmx ] || echo no pts; echo secret > /tmp/mine; [ -e "{target}/tmp/mine" ] && echo shared; exit 0"#
            );
            let mut directories = json!({"/": root});
            if root == "hidden" {
                for shown in ["/usr", "/lib", "/lib64", "/bin"] {
                    if std::fs::symlink_metadata(shown).is_ok_and(|found| found.is_dir()) {
                        directories[shown] = json!("read-only");
                    }
                }
            }
            let mut fields = json!({"directories": directories, "mounts": [bind("/", target)], "dev": dev, "system_config": false});
            if disk {
                fields["scratch"] = json!({"directory": scene.str()});
            }
            if root == "hidden" {
                let links = ["/bin", "/lib", "/lib64"].into_iter().filter_map(|path| {
                    let to = std::fs::read_link(path).ok()?;
                    Some(link(path, to.to_str()?))
                });
                let mounts: Vec<Value> = links.chain([bind("/", target)]).collect();
                fields["mounts"] = json!(mounts);
            }
            let run = run(&job(&script, &[scene.str().as_bytes()], &fields));
            assert_eq!(
                run.exited(0).stdout(),
                "host",
                "{root}, disk {disk}, dev {dev}: {run}"
            );
        }
    }
}

#[test]
fn tmpfs_has_the_size_the_inodes_and_the_mode_that_were_asked_for() {
    let mounts = json!([
        {"type": "tmpfs", "target": "/tmp/a", "size_bytes": 8192, "mode": "0700"},
        {"type": "tmpfs", "target": "/tmp/b", "inodes": 3, "mode": "1777"},
        {"type": "tmpfs", "target": "/tmp/c"},
    ]);
    let script = r#"stat -c %a /tmp/a /tmp/b /tmp/c; stat -f -c %T /tmp/a
    cd /tmp/a; head -c 9000 /dev/zero > f 2>/dev/null || stat -c %s f
    cd /tmp/b; for n in 1 2 3; do ( : > $n ) 2>/dev/null && echo $n; done
    head -c 9000 /dev/zero > f 2>/dev/null || echo full; head -c 9000 /dev/zero > /tmp/c/f && echo room"#;
    let run = shell(script, json!({"mounts": mounts}));
    says(&run, "700\n1777\n755\ntmpfs\n8192\n1\n2\nfull\nroom\n");
    // Apart from the scratch space.
    let run = shell(
        "head -c 200000 /dev/zero > /tmp/a/f && echo room; head -c 200000 /dev/zero > /tmp/f 2>/dev/null || echo full",
        json!({"directories": {"/": "read-only"}, "scratch": {"size_bytes": 131_072}, "mounts": [tmpfs("/tmp/a")]}),
    );
    says(&run, "room\nfull\n");
}

#[test]
fn file_has_its_bytes_and_bits_wherever_it_lies() {
    let scene = scene();
    let d = scene.str();
    for root in ["overlay", "read-only", "full-access"] {
        let mounts = json!([
            {"type": "file", "target": "/tmp/a", "base64": "AP8KAA==", "mode": "0400"},
            {"type": "file", "target": "/tmp/new/b", "text": "a\u{0}b\n", "mode": "0755"},
            {"type": "file", "target": "/etc/passwd", "text": "mine\n"},
            {"type": "file", "target": format!("{d}/one"), "text": "other", "mode": "0640"},
        ]);
        let script = r#"stat -c '%a %s' /tmp/a /tmp/new/b "$1/one"; od -An -tx1 /tmp/a; cat /etc/passwd "$1/one"; ( echo x > "$1/one" ) 2>/dev/null && echo written; exit 0"#;
        let run = kept(&scene, script, mounts, &json!({"/": root}));
        let written = if root == "read-only" { "" } else { "written\n" };
        says(
            &run,
            &format!("400 4\n755 4\n640 5\n 00 ff 0a 00\nmine\nother{written}"),
        );
    }
}

/// A target that exists nowhere, under a root that cannot be written: the tree is remade, and as closed as before.
#[test]
fn target_missing_at_the_top_of_a_read_only_root_leaves_it_read_only() {
    let scene = scene();
    let d = scene.str();
    let mounts = json!([
        bind(&format!("{d}/src"), "/new-at-the-top/src"),
        tmpfs("/srv/x/y"),
        file("/etc/new-file", "n")
    ]);
    let script = r#"cat /new-at-the-top/src/f /etc/new-file; echo x > /srv/x/y/f && cat /srv/x/y/f
    for p in / /new-at-the-top /new-at-the-top/src /srv /srv/x /etc /usr /usr/bin /var "$1" /sys; do ( echo x > $p/new ) 2>/dev/null && echo $p; mkdir $p/newdir 2>/dev/null && echo $p; done
    ( echo x > /etc/new-file ) 2>/dev/null && echo file; rm -rf /new-at-the-top 2>/dev/null; chmod 700 /etc 2>/dev/null && echo chmod; touch /etc 2>/dev/null && echo touch; ls -d /new-at-the-top; unshare -Ur true && echo nested"#;
    for scratch in [json!({}), json!({"directory": d})] {
        let fields =
            json!({"directories": {"/": "read-only"}, "mounts": mounts, "scratch": scratch});
        let before = (scene.snapshot(), top());
        let run = run(&job(script, &[d.as_bytes()], &fields));
        assert_eq!((scene.snapshot(), top()), before, "{run}");
        says(&run, "sourcenx\n/new-at-the-top\nnested\n");
    }
}

#[test]
fn overlay_keeps_what_was_written_for_the_next_job() {
    for root_mode in ["overlay", "read-only"] {
        let scene = scene();
        let d = scene.str();
        scene.file("low2/f", "lowest");
        scene.file("low2/deep/f", "lowest");
        let place = format!("{d}/place/dir");
        let mounts = json!([overlay(
            &place,
            &[&format!("{d}/low"), &format!("{d}/low2")],
            &format!("{d}/up"),
            &format!("{d}/work")
        )]);
        let fields = json!({"mounts": mounts, "directories": {"/": root_mode}});
        let lower = |scene: &Fresh| {
            let all = scene.snapshot().into_iter();
            all.filter(|(path, ..)| {
                !path.starts_with(scene.path().join("up"))
                    && !path.starts_with(scene.path().join("work"))
            })
            .collect::<Vec<_>>()
        };
        let before = (lower(&scene), top());
        let first = "cd \"$1/place/dir\"; cat f deep/f; echo more >> f; rm gone; rm -r deep; mkdir deep; echo new > deep/new; ls -A . deep";
        let run1 = run(&job(first, &[d.as_bytes()], &fields));
        says(&run1, "lowerlowest.:\ndeep\nf\n\ndeep:\nnew\n");
        let second = "cd \"$1/place/dir\"; cat f deep/new; ls -A . deep";
        let run2 = run(&job(second, &[d.as_bytes()], &fields));
        says(&run2, "lowermore\nnew\n.:\ndeep\nf\n\ndeep:\nnew\n");
        assert_eq!((lower(&scene), top()), before, "{run2}");
        // Kept on the host, by the caller.
        assert_eq!(
            std::fs::read(scene.path().join("up/f")).unwrap(),
            b"lowermore\n",
            "{run2}"
        );
        // A later mount may lie on what it shows, but not on what it does not have.
        for (target, code) in [
            ("f", None),
            ("gone", Some("mount-refused")),
            ("none", Some("target-missing")),
        ] {
            let mut fields = fields.clone();
            fields["mounts"]
                .as_array_mut()
                .unwrap()
                .push(file(&format!("{place}/{target}"), "over"));
            let run = run(&job("cat \"$1/place/dir/f\"", &[d.as_bytes()], &fields));
            match code {
                None => says(&run, "over"),
                Some(code) => {
                    run.failed(code, "mounts");
                }
            }
        }
        // Its own work directory is closed to everybody, and is made anew.
        let _left = std::process::Command::new("chmod")
            .args(["-R", "u+rwx"])
            .arg(scene.path().join("work"))
            .status();
    }
}

#[test]
fn overlay_takes_many_lower_directories_with_any_names() {
    let scene = Fresh::new();
    let strange: [&[u8]; 8] = [
        b"a,b",
        b"a:b",
        b"a\\b",
        b"a b",
        b"a\nb",
        b"\\:,",
        b"\xff\xfe",
        b"lowerdir+=x",
    ];
    let mut lower = Vec::new();
    for (i, name) in (0..50).map(|i| {
        (
            i,
            strange
                .get(i)
                .map_or_else(|| format!("d{i}").into_bytes(), |name| name.to_vec()),
        )
    }) {
        let path = below(&scene, &name);
        std::fs::create_dir(os(&path)).unwrap();
        std::fs::write(os(&path).join(format!("f{i}")), "x").unwrap();
        std::fs::write(os(&path).join("all"), i.to_string()).unwrap();
        lower.push(text(&path));
    }
    let (upper, work) = (
        below(&scene, b"u,:\\ \n\xff"),
        below(&scene, b"w,:\\ \n\xff"),
    );
    for path in [&upper, &work] {
        std::fs::create_dir(os(path)).unwrap();
    }
    for count in [1, 2, 50] {
        let mount = json!({"type": "overlay", "target": "/tmp/o", "lower": lower[..count], "upper": text(&upper), "work": text(&work)});
        let run = run(&job(
            "cd /tmp/o; ls | grep -c '^f'; cat all; echo x > new",
            &[],
            &json!({"mounts": [mount]}),
        ));
        says(&run, &format!("{count}\n0"));
        assert!(os(&upper).join("new").exists(), "{run}");
    }
    lower.push(lower[0].clone());
    let mount = json!({"type": "overlay", "target": "/tmp/o", "lower": lower, "upper": text(&upper), "work": text(&work)});
    refuses(
        &run(&job("true", &[], &json!({"mounts": [mount]}))),
        "too-long",
        "/mounts/0/lower",
    );
}

#[test]
fn overlay_that_the_kernel_refuses_says_what_it_needs() {
    let scene = scene();
    let d = scene.str();
    let path = |name: &str| format!("{d}/{name}");
    std::fs::create_dir(scene.path().join("up/in")).unwrap();
    for (upper, work) in [
        (path("up"), path("up")),
        (path("up"), path("up/in")),
        (path("up"), "/dev/shm".to_owned()),
        ("/sys/kernel".to_owned(), "/sys/kernel".to_owned()),
    ] {
        let mounts = json!([overlay("/tmp/o", &[&path("low")], &upper, &work)]);
        let run = run(&job("true", &[], &json!({"mounts": mounts})));
        refuses(&run, "mount-refused", "/mounts/0");
        let hint = run.report["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("upper") && hint.contains("work"), "{run}");
    }
    // Something mounted below a lower directory would be uncovered.
    std::fs::create_dir(scene.path().join("low/m")).unwrap();
    let mounts = json!([overlay(
        "/tmp/o",
        &[&path("low")],
        &path("up"),
        &path("work")
    )]);
    let run = among_mounts(
        &scene,
        "mount -t tmpfs none \"$D/low/m\"",
        &job("true", &[], &json!({"mounts": mounts})),
    )
    .run;
    refuses(&run, "mount-refused", "/mounts/0");
}

/// The job's own layers must not be seen, nor changed, through a lower directory above them.
#[test]
fn overlay_over_the_scratch_of_its_own_job_is_refused() {
    let scene = scene();
    let d = scene.str();
    std::fs::create_dir(scene.path().join("low/scratch")).unwrap();
    let path = |name: &str| format!("{d}/{name}");
    let mounts = json!([overlay(
        "/tmp/o",
        &[&path("src"), &path("low")],
        &path("up"),
        &path("work")
    )]);
    let run = run(&job(
        "find /tmp/o",
        &[],
        &json!({"mounts": mounts, "scratch": {"directory": path("low/scratch")}}),
    ));
    refuses(&run, "mount-refused", "/mounts/0/lower/1");
}

#[test]
fn mqueue_is_the_one_of_the_container() {
    let mounts = json!([{"type": "mqueue", "target": "/tmp/q"}]);
    for root in ["overlay", "read-only"] {
        let run = shell(
            "stat -f -c %T /tmp/q; : > /tmp/q/one; ls /dev/mqueue",
            json!({"mounts": mounts, "directories": {"/": root}}),
        );
        says(&run, "mqueue\none\n");
    }
}

/// One that the host covers after it is planned with is another matter; here all is as it was.
#[test]
fn mounts_over_what_is_supplied_take_its_place() {
    for root in ["overlay", "read-only"] {
        let directories = json!({"/": root});
        let mounts = json!([
            tmpfs("/dev"),
            tmpfs("/sys/kernel"),
            tmpfs("/etc"),
            tmpfs("/tmp"),
            file("/dev/null", "x")
        ]);
        let run = shell(
            "ls -A /dev /sys/kernel /etc /tmp",
            json!({"mounts": mounts, "directories": directories}),
        );
        says(&run, "/dev:\nnull\n\n/etc:\n\n/sys/kernel:\n\n/tmp:\n");
    }
}

#[test]
fn bind_in_a_hidden_root_is_all_that_is_seen() {
    if !busybox() {
        return;
    }
    let scene = scene();
    let d = scene.str();
    let mounts = json!([
        bind(BUSYBOX, "/bin/sh"),
        bind(&format!("{d}/src"), "/a/b/c")
    ]);
    let job = json!({"argv": ["/bin/sh", "-c", "cd /a/b/c && echo *; cd /; echo *"], "cwd": "/", "directories": {"/": "hidden"}, "mounts": mounts, "system_config": false});
    let before = (scene.snapshot(), top());
    let run = run(&job);
    assert_eq!((scene.snapshot(), top()), before, "{run}");
    let tops: Vec<&str> = run.exited(0).stdout().split(' ').collect();
    assert_eq!(tops[..2], ["f", "sub\na"], "{run}");
    assert!(!tops.contains(&"usr") && !tops.contains(&"etc"), "{run}");
}

/// A target inside a mount of the host that lies below the mode's directory.
#[test]
fn target_on_a_submount_of_the_host_is_found_and_made_there() {
    for mode in ["overlay", "read-only"] {
        let scene = scene();
        let d = scene.str();
        let setup = "mount -t tmpfs none \"$D/place\"; mkdir \"$D/place/in\"; echo host > \"$D/place/in/f\"";
        let mounts = json!([
            tmpfs(&format!("{d}/place/in")),
            file(&format!("{d}/place/new/f"), "made")
        ]);
        let script = "cd \"$1/place\"; ls -A in; cat new/f; ( echo x > beside ) 2>/dev/null && echo beside; exit 0";
        let mounted = among_mounts(
            &scene,
            setup,
            &job(
                script,
                &[d.as_bytes()],
                &json!({"directories": {"/": mode}, "mounts": mounts}),
            ),
        );
        let beside = if mode == "overlay" { "beside\n" } else { "" };
        says(&mounted.unchanged().run, &format!("made{beside}"));
    }
}

/// The table has changed since the mounts were made; nothing is left in the host's.
#[test]
fn nothing_is_left_in_the_mount_table_of_the_host() {
    let scene = scene();
    let d = scene.str();
    let mounts = json!([
        bind(&format!("{d}/src"), "/opt/x"),
        writable(&format!("{d}/src"), "/srv/x"),
        tmpfs("/mnt/x"),
        overlay(
            "/tmp/o",
            &[&format!("{d}/low")],
            &format!("{d}/up"),
            &format!("{d}/work")
        )
    ]);
    let run = run_in_namespace(
        "mount --make-rshared /; cat /proc/self/mountinfo > /dev/shm/x-$$; \"$STDBOX\"; cmp /proc/self/mountinfo /dev/shm/x-$$ >&2; rm /dev/shm/x-$$",
        &job(
            "mount | grep -c ' /opt/x '",
            &[],
            &json!({"mounts": mounts}),
        ),
    );
    says(&run, "1\n");
    assert_eq!(run.complaint, "", "{run}");
}

#[test]
fn what_is_writable_in_a_read_only_tree_stays_so_where_a_target_is_made_in_it() {
    let fresh = Fresh::new();
    fresh.file("over/host", "host\n");
    fresh.file("over/below/f", "");
    let over = fresh.path().join("over");
    let over = over.to_str().unwrap();
    let job = json!({
        "argv": ["/bin/sh", "-c", format!("touch /tmp/a /home/b $HOME/c /dev/shm/d {over}/new {over}/host /made-here/e && ! touch /f && ! touch {over}/../g")],
        "cwd": "/", "directories": { "/": "read-only", "/tmp": "hidden", "/home": "hidden", over: "overlay" },
        "mounts": [{ "type": "tmpfs", "target": "/made-here" }]
    });
    run(&job).exited(0);
    // An overlay with a mount below it is a skeleton in the skeleton of the root.
    let script = format!("mount -t tmpfs below {over}/below; exec \"$STDBOX\"");
    run_in_namespace(&script, &job).exited(0);
    assert!(!std::path::Path::new("/made-here").exists());
}
