//! Overlays that must be split, and what lies at the skeleton's level.

use crate::common::{about, among_mounts, job, shell};
use crate::support::{Fresh, root, run, run_in_namespace};
use serde_json::json;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// A directory with everything that a skeleton can hold, and mounts to force one.
const MIXED: &str = r#"
cd "$D"; echo host > file; chmod 640 file; printf '#!/bin/sh\necho ran\n' > script; chmod 755 script; : > empty; chmod 444 empty
head -c 3000000 /dev/zero > large; head -c 1048576 /dev/zero > limit; truncate -s 1M sparse
ln -s file link; ln -s nowhere dangling; ln -s sub linkdir; mkfifo -m 620 fifo
mkdir sub other; echo host > sub/f; ln file hard; echo host > other/f
mount -t tmpfs none other; echo mounted > other/f; cd /
"#;

#[test]
fn split_overlay_keeps_files_links_and_pipes_at_its_level() {
    let directory = Fresh::new();
    let script = r#"cd "$1"; cat file link sub/f linkdir/f other/f; ./script; readlink dangling; stat -c '%n %F %a %s' file script empty fifo link limit sparse large
        echo job >> file && tail -n1 file; rm link dangling empty; mv script moved && ./moved
        ( echo x > fifo & ); cat fifo; rm fifo; mkdir file2; rm hard; ls -A; ( echo job >> large ) 2>/dev/null || echo large refused; echo job >> limit && echo limit written; echo job > other/f && cat other/f"#;
    let mounted = among_mounts(
        &directory,
        MIXED,
        &job(script, &[directory.str().as_bytes()], &json!({})),
    );
    let run = mounted.unchanged().run.exited(0);
    let expected = "host\nhost\nhost\nhost\nmounted\nran\nnowhere\nfile regular file 640 5\nscript regular file 755 19\nempty regular empty file 444 0\nfifo fifo 620 0\nlink symbolic link 777 4\nlimit regular file 644 1048576\nsparse regular file 644 1048576\nlarge regular file 644 3000000\n\
        job\nran\nx\nfile\nfile2\nlarge\nlimit\nlinkdir\nmoved\nother\nsparse\nsub\nlarge refused\nlimit written\njob\n";
    assert_eq!(run.stdout(), expected, "{run}");
    assert_eq!(
        about(run, "degraded", &directory),
        ["file-read-only"],
        "{run}"
    );
    assert!(
        run.report["degraded"]
            .to_string()
            .contains(&format!("{}/large\"", directory.str())),
        "{run}"
    );
    assert!(about(run, "warnings", &directory).is_empty(), "{run}");
}

#[test]
fn split_overlay_in_strict_mode_refuses_what_is_degraded() {
    let directory = Fresh::new();
    let mounted = among_mounts(
        &directory,
        MIXED,
        &job("true", &[], &json!({"strict": true})),
    );
    assert_eq!(mounted.unchanged().run.status, Some(1), "{}", mounted.run);
    assert_eq!(
        mounted.run.report["error"]["at"], "/strict",
        "{}",
        mounted.run
    );
}

#[test]
fn split_overlay_keeps_sockets() {
    if !crate::common::busybox() {
        return;
    }
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
    let mounted = among_mounts(
        &directory,
        "mount -t tmpfs none \"$D/m\"",
        &job(
            "stat -c %F \"$1/socket\"; rm \"$1/socket\" && echo removed",
            &[directory.str().as_bytes()],
            &json!({}),
        ),
    );
    assert_eq!(
        mounted.unchanged().run.exited(0).stdout(),
        "socket\nremoved\n",
        "{}",
        mounted.run
    );
    drop(socket);
}

/// Something in /etc that an ordinary caller cannot read, beside a mount point.
#[test]
fn unreadable_file_beside_a_mount_point_is_bound_read_only_and_reported() {
    let directory = Fresh::new();
    let script = "D=\"$(find /etc -mindepth 1 -maxdepth 1 -type d -readable | head -n1)\"; mount -t tmpfs none \"$D\"; exec \"$STDBOX\"";
    let run = run_in_namespace(
        script,
        &job(
            "id -un; ls -l /etc/shadow >/dev/null && echo there; ( cat /etc/shadow >/dev/null ) 2>/dev/null && echo readable; mv /etc/passwd /etc/moved && echo moved",
            &[directory.str().as_bytes()],
            &json!({}),
        ),
    );
    let readable = if root() { "readable\n" } else { "" };
    assert_eq!(
        run.exited(0).stdout(),
        format!("user\nthere\n{readable}moved\n"),
        "{run}"
    );
    let reported = run.report["degraded"]
        .as_array()
        .unwrap()
        .iter()
        .any(|entry| entry["path"] == "/etc/shadow" && entry["code"] == "file-read-only");
    assert_eq!(reported, !root(), "{run}");
}

#[test]
fn file_that_is_a_mount_point_is_read_only_with_a_warning() {
    let directory = Fresh::new();
    directory.file("one", "one");
    directory.file("two", "two");
    directory.file("d/beside", "host");
    for (root, mode) in [
        ("overlay", "overlay"),
        ("read-only", "overlay"),
        ("overlay", "read-only"),
        ("overlay", "full-access"),
    ] {
        let setup = "mount --bind \"$D/one\" \"$D/d/beside\"; mount --bind \"$D/one\" \"$D/two\"";
        let script = "cd \"$1\"; cat d/beside two; ( echo job > two ) 2>/dev/null && echo written; ( echo job > d/new ) 2>/dev/null && echo new; true";
        let job = job(
            script,
            &[directory.str().as_bytes()],
            &json!({"directories": {"/": root, directory.str(): mode}}),
        );
        let mounted = among_mounts(&directory, setup, &job);
        let run = mounted.run.exited(0);
        let expected = match mode {
            "overlay" => "oneonenew\n",
            "read-only" => "oneone",
            _ => "oneonewritten\nnew\n",
        };
        assert_eq!(run.stdout(), expected, "{root} {mode}: {run}");
        let warned = about(run, "warnings", &directory).len();
        assert_eq!(
            warned,
            if mode == "overlay" { 2 } else { 0 },
            "{root} {mode}: {run}"
        );
        if mode != "full-access" {
            mounted.unchanged();
        }
    }
}

#[test]
fn file_mounted_over_a_file_twice_shows_the_topmost() {
    let directory = Fresh::new();
    for name in ["one", "two", "f"] {
        directory.file(name, name);
    }
    let setup = "mount --bind \"$D/one\" \"$D/f\"; mount --bind \"$D/two\" \"$D/f\"";
    let mounted = among_mounts(
        &directory,
        setup,
        &job("cat \"$1/f\"", &[directory.str().as_bytes()], &json!({})),
    );
    assert_eq!(
        mounted.unchanged().run.exited(0).stdout(),
        "two",
        "{}",
        mounted.run
    );
}

#[test]
fn device_bound_over_a_file_does_not_open() {
    let directory = Fresh::new();
    directory.file("f", "host");
    let job = job(
        "( echo x > \"$1/f\" ) 2>/dev/null || echo refused",
        &[directory.str().as_bytes()],
        &json!({}),
    );
    let mounted = among_mounts(&directory, "mount --bind /dev/null \"$D/f\"", &job);
    assert_eq!(
        mounted.run.exited(0).stdout(),
        "refused\n",
        "outside /dev every mount is nodev: {}",
        mounted.run
    );
}

#[test]
fn socket_that_is_a_mount_point_can_be_there() {
    let directory = Fresh::new();
    directory.file("f", "host");
    let socket = std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
    let job = job(
        "stat -c %F \"$1/f\"",
        &[directory.str().as_bytes()],
        &json!({}),
    );
    let mounted = among_mounts(&directory, "mount --bind \"$D/socket\" \"$D/f\"", &job);
    assert_eq!(
        mounted.run.exited(0).stdout(),
        "socket\n",
        "{}",
        mounted.run
    );
    drop(socket);
}

/// Host directories that were deleted and made again must not show what the lower layer has, at any depth.
#[test]
fn deleted_host_directory_made_again_is_empty_at_every_depth() {
    let directory = Fresh::new();
    directory.file("x/a/b/c/f", "host");
    directory.file("m/x", "host");
    let script = r#"cd "$1/x"; rm -r a; mkdir -p a/b/c; find a -type f; echo job > a/b/c/f; rm -r a/b; mkdir a/b; find a -mindepth 2; mv a z; mkdir a; ls -A a z
        for i in 1 2 3; do rm -r z; mkdir z; echo $i > z/f; done; cat z/f"#;
    for setup in [
        "",
        "mount -t tmpfs none \"$D/m\"",
        "mount -t tmpfs none \"$D/x\"; mkdir -p \"$D/x/a/b/c\"; echo host > \"$D/x/a/b/c/f\"",
    ] {
        let fields = json!({"directories": {directory.str(): "overlay"}});
        let mounted = among_mounts(
            &directory,
            setup,
            &job(script, &[directory.str().as_bytes()], &fields),
        );
        assert_eq!(
            mounted.unchanged().run.exited(0).stdout(),
            "a:\n\nz:\nb\n3\n",
            "{}",
            mounted.run
        );
        assert!(
            about(&mounted.run, "degraded", &directory).is_empty(),
            "{}",
            mounted.run
        );
    }
}

#[test]
fn directory_of_an_overlay_moves_across_its_parts() {
    let directory = Fresh::new();
    directory.file("one/d/f", "host");
    directory.file("two/f", "host");
    std::fs::create_dir(directory.path().join("m")).unwrap();
    let script = "cd \"$1\"; mv one/d two/ && cat two/d/f && mv two/d m/ && cat m/d/f && mv m/d . && mv d one && cat one/d/f";
    let mounted = among_mounts(
        &directory,
        "mount -t tmpfs none \"$D/m\"",
        &job(script, &[directory.str().as_bytes()], &json!({})),
    );
    assert_eq!(
        mounted.unchanged().run.exited(0).stdout(),
        "hosthosthost",
        "{}",
        mounted.run
    );
}

/// A directory at a skeleton's level is a mount, so the kernel lets it be emptied and filled, but not removed or renamed. That
/// is the price of an overlay beside a mount point without FUSE.
#[test]
fn directory_beside_a_mount_point_can_be_emptied_but_not_renamed() {
    let directory = Fresh::new();
    directory.file("beside/d/f", "host");
    std::fs::create_dir(directory.path().join("m")).unwrap();
    let script = "cd \"$1\"; mv beside other 2>/dev/null || echo busy; rmdir m 2>/dev/null || echo busy; rm -r beside/d && ls -A beside && echo job > beside/d && cat beside/d";
    let mounted = among_mounts(
        &directory,
        "mount -t tmpfs none \"$D/m\"",
        &job(script, &[directory.str().as_bytes()], &json!({})),
    );
    assert_eq!(
        mounted.unchanged().run.exited(0).stdout(),
        "busy\nbusy\njob\n",
        "{}",
        mounted.run
    );
}

/// /var and /var/tmp belong to root. An ordinary user's job works in a directory of its own below them all the same: the
/// kernel cannot copy their unmapped owner up, so the layers must hold them beforehand.
#[test]
fn overlay_below_directories_of_another_user_takes_writes_where_the_job_works() {
    let directory = Fresh::new();
    directory.file("own/f", "host");
    let before = directory.snapshot();
    let own = format!("{}/own", directory.str());
    let script = "echo job > f && echo job > new && mkdir d && rm f && mv d e && ls";
    let given = run(&job(script, &[], &json!({"cwd": own})));
    assert_eq!(given.exited(0).stdout(), "e\nnew\n", "as cwd: {given}");
    let mut callers = job(script, &[], &json!({}));
    callers.as_object_mut().unwrap().remove("cwd");
    let callers = crate::common::scripted(&format!("cd '{own}'; exec \"$STDBOX\""), &callers);
    assert_eq!(
        callers.exited(0).stdout(),
        "e\nnew\n",
        "as the caller's cwd: {callers}"
    );
    let named = run(&job(
        &format!("cd '{own}'; {script}"),
        &[],
        &json!({"directories": {own.as_str(): "overlay"}}),
    ));
    assert_eq!(named.exited(0).stdout(), "e\nnew\n", "as named: {named}");
    let deep = run(&job(
        &format!("cd '{own}'; {script}"),
        &[],
        &json!({"directories": {"/var": "overlay", own.as_str(): "overlay"}}),
    ));
    assert_eq!(
        deep.exited(0).stdout(),
        "e\nnew\n",
        "as named below another: {deep}"
    );
    assert_eq!(directory.snapshot(), before);
}

#[test]
fn programs_are_mapped_executed_and_replaced_in_an_overlay() {
    let directory = Fresh::new();
    std::fs::copy("/bin/true", directory.path().join("program")).unwrap();
    let before = directory.snapshot();
    let run = run(&job(
        "cd \"$1\"; ./program && cp /bin/false other && mv other program && ! ./program && echo replaced",
        &[directory.str().as_bytes()],
        &json!({"directories": {directory.str(): "overlay"}}),
    ));
    assert_eq!(run.exited(0).stdout(), "replaced\n", "{run}");
    assert_eq!(directory.snapshot(), before, "{run}");
}

#[test]
fn empty_and_deep_directories_are_overlays_too() {
    let directory = Fresh::new();
    let deep = "d/".repeat(200);
    std::fs::create_dir_all(directory.path().join(&deep)).unwrap();
    let named = format!("{}/{deep}", directory.str());
    for mode in crate::common::MODES {
        let run = run(&job(
            "cd \"$1\" && ( : > new ) 2>/dev/null && ls -A; true",
            &[named.as_bytes()],
            &json!({"directories": {named.trim_end_matches('/'): mode}}),
        ));
        assert_eq!(
            run.exited(0).stdout(),
            if mode == "read-only" { "" } else { "new\n" },
            "{mode}: {run}"
        );
        let left = std::fs::remove_file(format!("{named}/new")).is_ok();
        assert_eq!(left, mode == "full-access", "{mode}: {run}");
    }
}

/// Beside a mount point, an empty directory of the host is one of the container's own, and is no less than on the host.
#[test]
fn empty_directory_beside_a_mount_point_is_as_good_as_the_hosts() {
    let directory = Fresh::new();
    directory.file("full/f", "host");
    for (name, bits) in [("e", 0o750), ("s", 0o1777), ("r", 0o555), ("m", 0o755)] {
        let path = directory.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
    }
    let script = r#"cd "$1"; stat -c '%n %a %u %F' e s r; ls -A e s r
        echo a > e/f; echo b >> e/f; chmod 711 e; mkdir e/d; mv e/f e/d/g; ln e/d/g s/hard && cat s/hard
        rmdir r; mkdir r; stat -c '%n %a' r e; mv s moved; ls moved; rm -r e; echo file > e; cat e
        mv full e 2>/dev/null || echo 'a mount point'"#;
    let mounted = among_mounts(
        &directory,
        "mount -t tmpfs none \"$D/m\"",
        &job(script, &[directory.str().as_bytes()], &json!({})),
    );
    assert_eq!(
        mounted.unchanged().run.exited(0).stdout(),
        "e 750 1000 directory\ns 1777 1000 directory\nr 555 1000 directory\ne:\n\nr:\n\ns:\na\nb\nr 755\ne 711\nhard\nfile\na mount point\n",
        "{}",
        mounted.run
    );
    let told = about(&mounted.run, "degraded", &directory);
    assert!(told.is_empty(), "{}", mounted.run);
}

/// The flags of the mount that an empty directory lies on hold in it too.
#[test]
fn empty_directory_of_a_mount_keeps_its_flags() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("x")).unwrap();
    let script = r#"cd "$1/x/e"; ( printf '#!/bin/sh\necho ran\n' > run; chmod 755 run; ./run ) 2>/dev/null || echo refused"#;
    for (more, expected) in [
        ("", "ran\n"),
        ("mount -o remount,bind,noexec \"$D/x\"", "refused\n"),
        ("mount -o remount,bind,ro \"$D/x\"", "refused\n"),
    ] {
        let setup = format!(
            "mount -t tmpfs none \"$D/x\"; mkdir \"$D/x/e\" \"$D/x/m\"; mount -t tmpfs none \"$D/x/m\"; {more}"
        );
        let mounted = among_mounts(
            &directory,
            &setup,
            &job(script, &[directory.str().as_bytes()], &json!({})),
        );
        assert_eq!(
            mounted.unchanged().run.exited(0).stdout(),
            expected,
            "{more}: {}",
            mounted.run
        );
    }
}

#[test]
fn named_directory_below_a_mount_point_below_an_overlay_has_its_mode() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    for mode in crate::common::MODES {
        let setup = "mount -t tmpfs none \"$D/m\"; mkdir -p \"$D/m/a/b\"; echo host > \"$D/m/a/b/f\"; echo host > \"$D/m/a/f\"";
        let named = format!("{}/m/a/b", directory.str());
        let script = "cd \"$1/m/a\"; echo job > f; cat f; cat b/f 2>/dev/null; ( echo job > b/new ) 2>/dev/null; ls -A b";
        let job = job(
            script,
            &[directory.str().as_bytes()],
            &json!({"directories": {named: mode}}),
        );
        let mounted = among_mounts(&directory, setup, &job);
        let expected = match mode {
            "hidden" => "job\nnew\n",
            "read-only" => "job\nhost\nf\n",
            _ => "job\nhost\nf\nnew\n",
        };
        assert_eq!(
            mounted.run.exited(0).stdout(),
            expected,
            "{mode}: {}",
            mounted.run
        );
        assert_eq!(
            mounted.before == mounted.after,
            mode != "full-access",
            "{mode}: {}",
            mounted.run
        );
    }
}

/// A named directory on the host whose parent is a mount in a hidden directory.
#[test]
fn named_directory_in_a_hidden_one_brings_only_itself_back() {
    let directory = Fresh::new();
    std::fs::create_dir_all(directory.path().join("h/m")).unwrap();
    for mode in ["read-only", "overlay", "full-access"] {
        let setup = "mount -t tmpfs none \"$D/h/m\"; mkdir -p \"$D/h/m/d/n\" \"$D/h/m/e\"; echo host > \"$D/h/m/d/f\"; echo host > \"$D/h/m/f\"; mount -t tmpfs none \"$D/h/m/d/n\"; echo host > \"$D/h/m/d/n/f\"";
        let (hidden, named) = (
            format!("{}/h", directory.str()),
            format!("{}/h/m/d", directory.str()),
        );
        let job = job(
            "cd \"$1/h\"; find . -type f | sort; ls -A m",
            &[directory.str().as_bytes()],
            &json!({"directories": {hidden: "hidden", named: mode}}),
        );
        let mounted = among_mounts(&directory, setup, &job);
        assert_eq!(
            mounted.unchanged().run.exited(0).stdout(),
            "./m/d/f\n./m/d/n/f\nd\n",
            "{mode}: {}",
            mounted.run
        );
    }
}

#[test]
fn directories_of_an_overlay_look_as_on_the_host() {
    let list = "for d in / /usr /etc /var /home /opt /srv /mnt; do stat -c '%n %a %F' \"$d\"; done 2>/dev/null; ls -A /usr /var /opt; readlink /bin";
    let (host, _, _) = shell(list, "");
    let run = run(&job(list, &[], &json!({"system_config": false})));
    assert_eq!(run.exited(0).stdout(), host, "{run}");
}
