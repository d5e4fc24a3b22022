//! `root`: an unpacked image in place of the host's tree.

use crate::common::{BUSYBOX, MODES, busybox, mount_at, table};
use crate::support::{Fresh, Run, probe, root, run, run_in_namespace, stdbox};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const TOOLS: [&str; 24] = [
    "sh", "ls", "cat", "id", "mkdir", "rm", "mv", "find", "grep", "sort", "stat", "mount",
    "umount", "unshare", "chroot", "readlink", "head", "wc", "tr", "true", "test", "touch",
    "chmod", "env",
];

/// An image that holds busybox, and with `full` the directories that others have.
fn image(full: bool) -> Fresh {
    let image = Fresh::new();
    for name in ["bin", "etc", "data/deep", "home"] {
        std::fs::create_dir_all(image.path().join(name)).unwrap();
    }
    std::fs::copy(BUSYBOX, image.path().join("bin/busybox")).unwrap();
    for tool in TOOLS {
        symlink("busybox", image.path().join("bin").join(tool)).unwrap();
    }
    image.file("etc/mark", "image\n");
    image.file("data/f", "image\n");
    image.file("data/deep/f", "deep\n");
    if full {
        for name in ["dev", "proc", "sys", "tmp", "run"] {
            std::fs::create_dir_all(image.path().join(name)).unwrap();
        }
        std::fs::set_permissions(
            image.path().join("tmp"),
            std::fs::Permissions::from_mode(0o1777),
        )
        .unwrap();
        image.file("tmp/old", "image\n");
        image.file("sys/mark", "image\n");
        image.file("dev/mark", "image\n");
        image.file("proc/mark", "image\n");
    }
    image
}

/// A job whose tree is the image.
fn job(image: &Fresh, script: &str, fields: &Value) -> Value {
    let mut job = json!({"argv": ["/bin/sh", "-c", script], "root": image.str(), "env": {"inherit": false, "set": {"PATH": "/bin"}}});
    for (key, value) in fields.as_object().unwrap() {
        job[key] = value.clone();
    }
    job
}

/// The same, run; the image must be what it was.
#[track_caller]
fn kept(image: &Fresh, script: &str, fields: &Value) -> Run {
    let before = image.snapshot();
    let run = run(&job(image, script, fields));
    assert_eq!(image.snapshot(), before, "{run}");
    run
}

#[track_caller]
fn says(run: &Run, expected: &str) {
    assert_eq!(run.exited(0).stdout(), expected, "{run}");
}

fn directories(mode: &str) -> Value {
    if mode == "hidden" {
        json!({"/": mode, "/bin": "read-only"})
    } else {
        json!({"/": mode})
    }
}

#[test]
fn image_has_what_every_container_has_in_every_mode() {
    if !busybox() {
        return;
    }
    for full in [true, false] {
        for mode in MODES {
            let image = image(full);
            let script = r#"pwd; : > /dev/null && ls /dev/ptmx; ls /sys | grep -c '^class$'; readlink /proc/self; id -u
                [ -e /etc/mark ] && cat /etc/mark; [ -e /sys/mark ] && echo sys; [ -e /dev/mark ] && echo dev; [ -e /proc/mark ] && echo proc; [ -e /tmp/old ] && echo tmp
                unshare -Ur true && echo nested"#;
            let run = kept(&image, script, &json!({"directories": directories(mode)}));
            if mode == "full-access" && !full {
                run.failed("proc-missing", "proc");
                continue;
            }
            let mark = if mode == "hidden" { "" } else { "image\n" };
            let pid = run.exited(0).stdout().lines().nth(3).unwrap_or_default();
            says(
                &run,
                &format!("/\n/dev/ptmx\n1\n{pid}\n1000\n{mark}nested\n"),
            );
            assert!(pid.parse::<u32>().is_ok(), "{run}");
        }
    }
}

#[test]
fn image_takes_the_modes_as_the_host_does() {
    if !busybox() {
        return;
    }
    let script = r#"for p in / /etc /data /data/deep /tmp /sys /proc; do ( echo x > $p/new ) 2>/dev/null && echo $p; done; cat /data/f /data/deep/f 2>/dev/null; exit 0"#;
    for (directories, expected, reached) in [
        (
            json!({}),
            "/\n/etc\n/data\n/data/deep\n/tmp\nimage\ndeep\n",
            vec![],
        ),
        (json!({"/": "read-only"}), "/tmp\nimage\ndeep\n", vec![]),
        (
            json!({"/": "read-only", "/data": "overlay"}),
            "/data\n/data/deep\n/tmp\nimage\ndeep\n",
            vec![],
        ),
        (
            json!({"/data": "hidden", "/data/deep": "read-only"}),
            "/\n/etc\n/data\n/tmp\ndeep\n",
            vec![],
        ),
        (
            json!({"/": "read-only", "/data": "full-access", "/data/deep": "read-only"}),
            "/data\n/tmp\nimage\ndeep\n",
            vec!["data/new"],
        ),
        (
            json!({"/data": "read-only", "/data/deep": "full-access"}),
            "/\n/etc\n/data/deep\n/tmp\nimage\ndeep\n",
            vec!["data/deep/new"],
        ),
        (
            json!({"/": "hidden", "/bin": "read-only", "/data/deep": "overlay"}),
            "/\n/etc\n/data\n/data/deep\n/tmp\ndeep\n",
            vec![],
        ),
        (
            json!({"/": "full-access"}),
            "/\n/etc\n/data\n/data/deep\n/tmp\nimage\ndeep\n",
            vec!["new", "etc/new", "data/new", "data/deep/new"],
        ),
    ] {
        for scratch in [json!({}), json!({"disk": true})] {
            let image = image(true);
            let disk = Fresh::new();
            let mut fields = json!({"directories": directories});
            if scratch["disk"] == true {
                fields["scratch"] = json!({"directory": disk.str()});
            }
            let before = image.snapshot();
            let run = run(&job(&image, script, &fields));
            assert_eq!(run.exited(0).stdout(), expected, "{directories}: {run}");
            let mut new: Vec<_> = image
                .snapshot()
                .into_iter()
                .filter(|entry| !before.contains(entry))
                .map(|(path, ..)| path)
                .collect();
            let mut reached: Vec<_> = reached.iter().map(|name| image.path().join(name)).collect();
            new.sort();
            reached.sort();
            assert_eq!(new, reached, "{directories}: {run}");
            assert_eq!(disk.snapshot().len(), 1, "{run}");
        }
    }
}

/// Absolute links, links that climb beyond the root, and default directories that are links: all lead to places of the image.
#[test]
fn links_of_an_image_lead_to_places_of_the_image() {
    if !busybox() {
        return;
    }
    let image = image(false);
    for name in ["var/run", "var/tmp", "real"] {
        std::fs::create_dir_all(image.path().join(name)).unwrap();
    }
    // On the host /var/run is another place, and /real does not exist.
    for (to, name) in [
        ("/var/run", "run"),
        ("/real", "tmp"),
        ("../../../../../../etc", "up"),
        ("/etc", "data/etc"),
        ("var/tmp", "relative"),
    ] {
        symlink(to, image.path().join(name)).unwrap();
    }
    image.file("var/run/secret", "secret");
    image.file("real/secret", "secret");
    for mode in ["overlay", "read-only"] {
        let mounts = json!([
            {"type": "file", "target": "/run/in", "text": "1"},
            {"type": "file", "target": "/up/in", "text": "2"},
            {"type": "file", "target": "/data/etc/too", "text": "3"},
            {"type": "tmpfs", "target": "/relative/t"},
        ]);
        let script = "cat /var/run/in /etc/in /etc/too; echo x > /tmp/x && cat /real/x; ls -A /var/run /real; cat /etc/mark /up/mark; stat -f -c %T /var/tmp/t; ls -A /var/tmp";
        let run = kept(
            &image,
            script,
            &json!({"directories": {"/": mode}, "mounts": mounts}),
        );
        says(
            &run,
            "123x\n/real:\nx\n\n/var/run:\nin\nimage\nimage\ntmpfs\nt\n",
        );
    }
    let run = kept(&image, "true", &json!({"directories": {"/up": "hidden"}}));
    run.failed("is-symlink", "validate");
    assert!(
        run.report["error"]["message"]
            .as_str()
            .unwrap()
            .ends_with(" to /etc."),
        "{run}"
    );
    let run = kept(
        &image,
        "true",
        &json!({"directories": {"/run/x": "hidden"}}),
    );
    run.failed("is-symlink", "validate");
    let run = kept(&image, "true", &json!({"directories": {"/run": "hidden"}}));
    run.failed("is-symlink", "validate");
    assert!(
        run.report["error"]["message"]
            .as_str()
            .unwrap()
            .ends_with(" to /var/run."),
        "{run}"
    );
}

/// A link of the image to a name that only the host has, or that is another thing there.
#[test]
fn default_directory_that_is_a_link_to_nowhere_in_the_image_is_left() {
    if !busybox() {
        return;
    }
    let image = image(false);
    symlink("/usr", image.path().join("tmp")).unwrap();
    symlink("loop", image.path().join("loop")).unwrap();
    symlink("/loop", image.path().join("run")).unwrap();
    for mode in ["overlay", "read-only"] {
        says(
            &kept(
                &image,
                "readlink /tmp; readlink /run; ls -A / | tr '\\n' ' '",
                &json!({"directories": {"/": mode}, "system_config": false}),
            ),
            "/usr\n/loop\nbin data dev etc home loop proc run sys tmp ",
        );
    }
}

#[test]
fn configuration_and_home_are_the_container_s_own_in_an_image() {
    if !busybox() {
        return;
    }
    let image = image(true);
    let script = "grep -c user /etc/passwd; echo $HOME; ls -ld $HOME | head -c 10; echo; cat /etc/mark; ls -A /etc | tr '\\n' ' '";
    says(
        &kept(&image, script, &json!({"env": {"set": {"PATH": "/bin"}}})),
        "1\n/home/user\ndrwx------\nimage\ngroup hostname hosts mark mtab nsswitch.conf passwd ",
    );
    let run = kept(&image, script, &json!({"directories": {"/": "read-only"}}));
    assert!(run.warnings().contains(&"home-replaced"), "{run}");
    says(
        &kept(&image, "ls -A /etc /home", &json!({"system_config": false})),
        "/etc:\nmark\n\n/home:\n",
    );
}

#[test]
fn working_directory_and_command_are_looked_up_in_the_image() {
    if !busybox() {
        return;
    }
    let image = image(true);
    says(
        &kept(&image, "pwd", &json!({"cwd": "/data/deep"})),
        "/data/deep\n",
    );
    says(&kept(&image, "", &json!({"argv": ["id", "-un"]})), "user\n");
    let run = kept(&image, "", &json!({"cwd": image.str()}));
    run.failed("cwd-missing", "exec");
    assert_eq!(run.report["error"]["path"], image.str(), "{run}");
    let run = kept(&image, "", &json!({"argv": ["/usr/bin/env"]}));
    run.failed("command-not-found", "exec");
    let run = kept(&image, "", &json!({"directories": {"/usr": "read-only"}}));
    run.failed("no-such-directory", "validate");
    let error = &run.report["error"];
    assert_eq!(
        (&error["path"], &error["at"]),
        (&json!("/usr"), &json!("/directories/~1usr")),
        "{run}"
    );
    assert!(
        !error["message"].as_str().unwrap().contains(image.str()),
        "{run}"
    );
    let mounts = json!([{"type": "tmpfs", "target": "/data/f"}]);
    let run = kept(&image, "", &json!({"mounts": mounts}));
    run.failed("not-a-directory", "validate");
    assert_eq!(run.report["error"]["path"], "/data/f", "{run}");
}

#[test]
fn root_that_is_no_directory_is_refused_and_one_behind_a_link_is_followed() {
    if !busybox() {
        return;
    }
    let image = image(true);
    let place = Fresh::new();
    symlink(image.str(), place.path().join("l")).unwrap();
    place.file("f", "");
    let with = |root: String| {
        let mut job = job(&image, "cat /etc/mark", &json!({}));
        job["root"] = json!(root);
        run(&job)
    };
    says(&with(format!("{}/l", place.str())), "image\n");
    says(
        &with(format!(
            "{}/./l/../{}",
            place.str(),
            image.path().file_name().unwrap().to_str().unwrap()
        )),
        "image\n",
    );
    for (name, code) in [
        ("none", "no-such-file"),
        ("f", "not-a-directory"),
        ("f/x", "not-a-directory"),
    ] {
        let run = with(format!("{}/{name}", place.str()));
        run.failed(code, "validate");
        assert_eq!(run.report["error"]["at"], "/root", "{run}");
    }
}

/// The host's `/` named as `root` is the host's `/`.
#[test]
fn root_that_is_the_host_s_is_no_other_tree() {
    let place = Fresh::new();
    place.file("f", "host");
    for mode in ["overlay", "read-only", "full-access"] {
        for root in ["/", "/usr/.."] {
            let script = format!(
                "pwd; cat {0}/f; ls -A /tmp; ( echo x > {0}/new ) 2>/dev/null && echo written; : > /dev/null; unshare -Ur true && echo nested",
                place.str()
            );
            let run = run(
                &json!({"argv": ["/bin/sh", "-c", script], "root": root, "directories": {"/": mode}}),
            );
            // Whether an ordinary user can change what lies in root's directories is another matter.
            let wrote = run.stdout().contains("written");
            let open =
                mode == "full-access" || mode == "overlay" && (wrote || crate::support::root());
            let written = if open { "written\n" } else { "" };
            says(&run, &format!("/\nhost{written}nested\n"));
            assert_eq!(
                place.path().join("new").exists(),
                mode == "full-access",
                "{run}"
            );
            let _left = std::fs::remove_file(place.path().join("new"));
        }
    }
}

/// Of the host nothing is mounted but the image, /sys and the device files.
#[test]
fn nothing_of_the_host_is_left_in_the_mount_table_of_an_image() {
    if !busybox() {
        return;
    }
    for mode in MODES {
        for dev in ["minimal", "host"] {
            let image = image(true);
            let run = kept(
                &image,
                "cat /proc/self/mountinfo",
                &json!({"directories": directories(mode), "dev": dev}),
            );
            let table = table(run.exited(0).stdout());
            let host = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            for mount in &table {
                let own = ["tmpfs", "overlay", "proc", "devpts", "mqueue"]
                    .contains(&mount.fstype.as_str());
                let top =
                    |path: &str| mount.at == path || mount.at.starts_with(&format!("{path}/"));
                let shown = mount
                    .root
                    .contains(image.path().file_name().unwrap().to_str().unwrap());
                assert!(
                    own || shown || top("/sys") || top("/dev"),
                    "{mount:?} in {mode}: {run}"
                );
            }
            mount_at(&table, "/proc");
            assert!(table.len() < 60 + host.lines().count(), "{run}");
        }
    }
}

#[test]
fn mounts_of_the_host_inside_an_image_are_part_of_it() {
    if !busybox() {
        return;
    }
    for (mode, written) in [
        ("overlay", "/data\n/data/deep\n/\n"),
        ("read-only", ""),
        ("full-access", "/data\n/data/deep\n/\n"),
    ] {
        let image = image(true);
        let setup = format!(
            "mount -t tmpfs -o noexec none '{0}/data/deep'; echo mounted > '{0}/data/deep/f'; exec \"$STDBOX\"",
            image.str()
        );
        let script = "cat /data/deep/f /data/f; for p in /data /data/deep /; do ( echo x > $p/new ) 2>/dev/null && echo $p; done; grep -c ' /data/deep .*noexec' /proc/self/mountinfo";
        let run = run_in_namespace(
            &setup,
            &job(&image, script, &json!({"directories": {"/": mode}})),
        );
        says(&run, &format!("mounted\nimage\n{written}1\n"));
        assert_eq!(
            image.path().join("new").exists(),
            mode == "full-access",
            "{run}"
        );
    }
    // The image is itself a mount, with flags that stay.
    let image = image(true);
    for mode in ["overlay", "read-only", "full-access"] {
        let setup = format!(
            "mount --bind '{0}' '{0}'; mount -o remount,bind,ro,nosymfollow '{0}'; exec \"$STDBOX\"",
            image.str()
        );
        let mut job = job(&image, "", &json!({"directories": {"/": mode}}));
        // Links are not followed there, so busybox is called by its name.
        let script = "/bin/busybox grep -c ' / [^ ]*nosymfollow' /proc/self/mountinfo; ( echo x > /new ) 2>/dev/null && echo written; exit 0";
        job["argv"] = json!(["/bin/busybox", "sh", "-c", script]);
        let run = run_in_namespace(&setup, &job);
        let written = if mode == "overlay" { "written\n" } else { "" };
        says(&run, &format!("1\n{written}"));
    }
}

/// The directory for the job's layers lies in the image: then it is not seen there.
#[test]
fn scratch_inside_the_image_is_not_seen() {
    if !busybox() {
        return;
    }
    for mode in ["overlay", "read-only", "full-access"] {
        let image = image(true);
        std::fs::create_dir(image.path().join("data/scratch")).unwrap();
        let fields = json!({"directories": {"/": mode}, "scratch": {"directory": format!("{}/data/scratch", image.str())}, "system_config": false});
        let run = kept(
            &image,
            "echo x > /tmp/x; find /data -name upper -o -name work -o -name nested -o -name x 2>/dev/null; cat /data/deep/f",
            &fields,
        );
        says(&run, "deep\n");
    }
}

#[test]
fn image_without_all_rights_is_used_as_the_caller_may() {
    if !busybox() || root() {
        return;
    }
    let image = image(true);
    let closed = image.path().join("data/deep");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let results: Vec<Run> = ["overlay", "read-only", "full-access"]
        .into_iter()
        .map(|mode| {
            run(&job(
                &image,
                "cat /data/deep/f 2>/dev/null || cat /data/f",
                &json!({"directories": {"/": mode}}),
            ))
        })
        .collect();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    for run in results {
        says(&run, "image\n");
    }
}

#[test]
fn stdbox_works_inside_an_image() {
    if !busybox() {
        return;
    }
    for outer in ["overlay", "read-only"] {
        let image = image(true);
        let inner_image = "/data/inner";
        std::fs::copy(stdbox(), image.path().join("bin/stdbox")).unwrap();
        std::fs::create_dir_all(image.path().join("data/inner/bin")).unwrap();
        std::fs::copy(BUSYBOX, image.path().join("data/inner/bin/busybox")).unwrap();
        let inner = json!({"argv": ["/bin/busybox", "sh", "-c", "busybox id -un; busybox ls -A / | busybox tr '\\n' ' '; echo x > /new && echo written"], "root": inner_image, "env": {"set": {"PATH": "/bin"}}});
        let mut fields = json!({"directories": {"/": outer}, "stdin": {"text": inner.to_string()}, "argv": ["/bin/stdbox"]});
        if root() {
            fields["proc"] = json!("nestable");
        }
        let run = kept(&image, "", &fields);
        let inside: Value = serde_json::from_str(run.exited(0).stdout()).unwrap();
        let text = inside["stdout"]["text"].as_str().unwrap_or_default();
        assert!(
            text.ends_with("bin dev etc home proc sys written\n"),
            "{inside} in {run}"
        );
    }
}

/// A tree with libraries is the host's own, in part.
#[test]
fn probe_runs_in_an_image_that_is_only_itself() {
    let image = Fresh::new();
    std::fs::copy(probe(), image.path().join("probe")).unwrap();
    assert!(Path::new(&image.path().join("probe")).exists());
    let run = run(&json!({"argv": ["/probe", "status"], "root": image.str()}));
    let seen: Value = serde_json::from_str(run.exited(0).stdout()).unwrap();
    assert_eq!(
        (&seen["cwd"], &seen["root"], &seen["exe"]),
        (&json!("/"), &json!("/"), &json!("/probe")),
        "{run}"
    );
    assert_eq!(image.snapshot().len(), 2, "{run}");
}
