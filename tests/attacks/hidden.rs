//! What is hidden stays hidden, whatever way is taken to it.

use crate::common::{answer, probe_job, probed};
use crate::support::{Fresh, probe, run, run_with, skip};
use serde_json::{Value, json};
use std::path::Path;

const ROOTS: [&str; 4] = ["overlay", "read-only", "hidden", "full-access"];

/// What no job may see, another for every scene: tests run side by side and see each other's directories.
fn token(scene: &Fresh) -> String {
    format!("hidden-content-{}", scene.str())
}

/// `directories` with this mode of `/`, in which the probe can be run.
fn directories(root: &str, more: &[(String, &str)]) -> Value {
    let mut directories = json!({"/": root});
    if root == "hidden" {
        directories[probe().parent().unwrap().to_str().unwrap()] = json!("read-only");
    }
    for (path, mode) in more {
        directories[path.as_str()] = json!(mode);
    }
    directories
}

/// A directory with a hidden one inside, with links into it, and a visible one beside it.
fn scene() -> Fresh {
    let directory = Fresh::new();
    directory.file("secret/f", &token(&directory));
    directory.file("secret/deep/er/f", &token(&directory));
    directory.file("open/f", "seen");
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, directory.path().join(name)).unwrap();
    };
    link("secret", "link");
    link("../secret", "open/link");
    link(&format!("{}/secret/f", directory.str()), "open/absolute");
    link(
        &format!("/proc/self/root{}/secret", directory.str()),
        "open/magic",
    );
    directory
}

/// `..` from every place around, links that were there before or are made by the job, `/proc/PID/{root,cwd,exe,fd,map_files}`
/// of every process, /dev/fd, O_PATH descriptors, every way of openat2(2), hard links, renames of the file, of the directory
/// and in exchange for another one, and the layers that the mount table names; stdbox was started in the hidden directory. A hidden directory is another directory,
/// mounted over the host's, so no name leads to what is below: path_resolution(7), proc(5).
#[test]
fn hidden_files_cannot_be_reached_by_any_other_way() {
    for root in ROOTS {
        for mode in ROOTS {
            let scene = scene();
            let d = scene.str();
            let before = scene.snapshot();
            let more = [(d.to_owned(), mode), (format!("{d}/secret"), "hidden")];
            let files = [
                "secret/f",
                "secret/deep/er/f",
                "link/f",
                "open/link/f",
                "open/absolute",
                "open/magic/f",
            ];
            let files: Vec<String> = files.iter().map(|name| format!("{d}/{name}")).collect();
            let token = token(&scene);
            let mut words = vec!["hunt", token.as_str()];
            words.extend(files.iter().map(String::as_str));
            let job = probe_job(&words, &json!({"directories": directories(root, &more)}));
            // stdbox itself stands in the hidden directory, so its first process inside does, too.
            let run = run_with(job.to_string().as_bytes(), &[], |stdbox| {
                stdbox.current_dir(scene.path().join("secret"));
            });
            let seen = answer(run.exited(0));
            assert_eq!(seen["seen"], json!([]), "{mode} in {root}: {seen:#}");
            assert!(
                seen["tried"].as_u64() >= Some(1000),
                "{mode} in {root}: {seen:#}"
            );
            if mode != "full-access" {
                assert_eq!(scene.snapshot(), before, "{mode} in {root}");
            }
        }
    }
}

/// As above for a directory below which something named is visible: the way back up from there.
#[test]
fn hidden_parents_of_a_visible_directory_cannot_be_reached_from_it() {
    for root in ROOTS {
        for mode in ["overlay", "read-only", "full-access"] {
            let directory = Fresh::new();
            let token = token(&directory);
            directory.file("secret/f", &token);
            directory.file("secret/beside/f", &token);
            directory.file("secret/shown/f", "seen");
            let d = directory.str();
            let more = [
                (format!("{d}/secret"), "hidden"),
                (format!("{d}/secret/shown"), mode),
            ];
            let files = [format!("{d}/secret/f"), format!("{d}/secret/beside/f")];
            let fields = json!({"directories": directories(root, &more), "cwd": format!("{d}/secret/shown")});
            let seen = probed(&["hunt", &token, &files[0], &files[1]], &fields);
            assert_eq!(seen["seen"], json!([]), "{mode} in {root}: {seen:#}");
            let shown = probed(&["read", &format!("{d}/secret/shown/f")], &fields);
            assert_eq!(shown["text"], "seen", "{mode} in {root}: {shown}");
        }
    }
}

/// The handle of a file as name_to_handle_at(2) gives it: its type and its bytes in hexadecimal. `None` where the file system
/// has none.
fn handle(path: &Path) -> Option<String> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut packed = vec![0u8; 8 + 128];
    packed[..4].copy_from_slice(&128u32.to_ne_bytes());
    let mut mount = 0i32;
    // SAFETY: the path ends in NUL, `packed` has room for the 128 bytes that it says, and `mount` for a number.
    let result = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_name_to_handle_at,
            nix::libc::AT_FDCWD,
            path.as_ptr(),
            packed.as_mut_ptr(),
            &raw mut mount,
            0,
        )
    };
    let number = |at: usize| u32::from_ne_bytes(packed[at..at + 4].try_into().unwrap());
    let bytes = packed.get(8..8 + number(0) as usize)?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (result == 0).then(|| format!("{}:{hex}", number(4)))
}

/// A file opened by its number instead of its name, as `shocker` did out of a container that had CAP_DAC_READ_SEARCH
/// (open_by_handle_at(2)). Newer kernels (6.11) let whoever has CAP_SYS_ADMIN over the mount namespace do it with directories, below
/// one that nothing locked is mounted on, past what covers them; so a nested namespace is tried too.
#[test]
fn hidden_files_cannot_be_opened_by_their_handle() {
    let scene = scene();
    let d = scene.str();
    let handles = ["secret/f", "secret"].map(|name| handle(&scene.path().join(name)));
    let [Some(file), Some(directory)] = handles else {
        return skip(
            "handles",
            "the file system of /var/tmp gives no file handles",
        );
    };
    for root in ROOTS {
        for (mode, way) in ROOTS
            .iter()
            .flat_map(|mode| [(*mode, "plain"), (*mode, "nested")])
        {
            // There is no nested namespace where something protected is named inside a full-access directory.
            if way == "nested" && [root, mode].contains(&"full-access") {
                continue;
            }
            for user in [json!({}), json!({"uid": 0, "gid": 0})] {
                let more = [(d.to_owned(), mode), (format!("{d}/secret"), "hidden")];
                let open = format!("{d}/open");
                let words = [
                    "open-handles",
                    way,
                    &token(&scene),
                    &format!("{file},{directory}"),
                    "/",
                    "/tmp",
                    "/var",
                    "/var/tmp",
                    d,
                    &open,
                ];
                let fields = json!({"directories": directories(root, &more), "user": user});
                let seen = probed(&words, &fields);
                assert_eq!(seen["seen"], json!([]), "{way}, {mode} in {root}: {seen:#}");
                assert!(
                    seen["tried"].as_u64() >= Some(9),
                    "{way}, {mode} in {root}: {seen:#}"
                );
            }
        }
    }
}

/// The disk below the files, through a device file: one that is there, one that the job makes where it may write, a loop
/// device over a file of the job's own; opened, or mounted as each type of file system that needs a device. mknod(2) and
/// mount(2) ask for capabilities over the machine, and every mount of the container is nodev.
#[test]
fn hidden_files_cannot_be_read_from_the_disk_below() {
    use std::os::unix::fs::MetadataExt;
    let scene = scene();
    let device = std::fs::metadata(scene.path()).unwrap().dev();
    let number = [nix::sys::stat::major(device), nix::sys::stat::minor(device)]
        .map(|number| number.to_string());
    for dev in ["minimal", "host"] {
        for way in ["plain", "nested"] {
            for user in [json!({}), json!({"uid": 0, "gid": 0})] {
                let more = [(scene.str().to_owned(), "full-access")];
                let words = [
                    "devices",
                    way,
                    &number[0],
                    &number[1],
                    "/tmp",
                    "/dev/shm",
                    "/dev",
                    "/etc",
                    scene.str(),
                ];
                let fields =
                    json!({"directories": directories("overlay", &more), "dev": dev, "user": user});
                let seen = probed(&words, &fields);
                assert_eq!(seen["worked"], json!([]), "{way}, dev {dev}: {seen:#}");
                assert!(
                    seen["tried"].as_u64() >= Some(20),
                    "{way}, dev {dev}: {seen:#}"
                );
            }
        }
    }
}

/// The layers of the container's own overlays, and the memory file system that all of them lie on, are mounted nowhere that
/// a name leads to: whoever wrote to an upper or a work directory would change an overlay behind the kernel's back
/// (Documentation/filesystems/overlayfs.rst, "Changes to underlying filesystems"). What the job writes is found where it
/// wrote it and nowhere else.
#[test]
fn hidden_layers_of_overlays_cannot_be_reached() {
    let name = "written-by-the-job";
    for root in ROOTS {
        let scene = scene();
        let d = scene.str();
        let more = [
            (format!("{d}/open"), "overlay"),
            (format!("{d}/secret"), "hidden"),
        ];
        let places = ["open", "secret"].map(|place| format!("{d}/{place}"));
        let tops: &[&str] = if root == "hidden" {
            &["/"]
        } else {
            &["/dev", "/tmp", "/run", "/home", d]
        };
        let words = [&["find", name, &places[0], &places[1], "/tmp", "in"], tops].concat();
        let fields = json!({"directories": directories(root, &more)});
        let run = run(&probe_job(&words, &fields));
        let mut seen: Vec<String> = serde_json::from_value(answer(run.exited(0))).unwrap();
        seen.sort();
        let mut expected: Vec<String> = ["/tmp", &places[0], &places[1]]
            .map(|place| format!("{place}/{name}"))
            .into();
        expected.sort();
        assert_eq!(seen, expected, "{root}: {run}");
    }
}

/// A second name of the same file, made on the host before: the mode of a file is that of the path by which it is opened, so
/// a hard link in a visible directory is seen. Through it nothing is changed either that the mode of *its* directory
/// protects: an overlay copies the file before it is written.
#[test]
fn hidden_hard_link_in_an_overlay_does_not_change_the_file_itself() {
    for root in ["overlay", "read-only"] {
        let scene = scene();
        let d = scene.str();
        std::fs::hard_link(
            scene.path().join("secret/f"),
            scene.path().join("open/second"),
        )
        .unwrap();
        let before = scene.snapshot();
        let more = [
            (format!("{d}/secret"), "hidden"),
            (format!("{d}/open"), "overlay"),
        ];
        let fields = json!({"directories": directories(root, &more)});
        let second = format!("{d}/open/second");
        let written = probed(&["write", &second, "job"], &fields);
        assert_eq!(written["errno"], Value::Null, "{root}: {written}");
        let seen = probed(&["hunt", &token(&scene), &format!("{d}/secret/f")], &fields);
        // The link itself is found by no way that goes through the hidden directory.
        assert_eq!(seen["seen"], json!([]), "{root}: {seen:#}");
        assert_eq!(scene.snapshot(), before, "{root}");
    }
}

/// A directory that the host has a second mount of. The second path has the mode that is named for it; hiding both hides both.
#[test]
fn hidden_directory_that_is_mounted_twice_is_hidden_where_it_is_named() {
    for root in ["overlay", "read-only", "full-access"] {
        let scene = scene();
        let d = scene.str();
        std::fs::create_dir(scene.path().join("second")).unwrap();
        let [first, second] = ["secret", "second"].map(|name| format!("{d}/{name}"));
        for (more, expected) in [
            (
                vec![(first.clone(), "hidden"), (second.clone(), "hidden")],
                json!([]),
            ),
            (
                vec![(second.clone(), "hidden")],
                json!([format!("{first}/f")]),
            ),
            (
                vec![(first.clone(), "hidden")],
                json!([format!("{second}/f")]),
            ),
        ] {
            let job = probe_job(
                &["race", &token(&scene), &first, &second],
                &json!({"directories": directories(root, &more)}),
            );
            let setup = format!(
                "mount --bind '{first}' '{second}'; mount -o remount,bind,ro '{second}'; mount --bind '{first}' '{first}'; mount -o remount,bind,ro '{first}'; \"$STDBOX\""
            );
            let run = crate::support::run_in_namespace(&setup, &job);
            assert_eq!(answer(run.exited(0))["seen"], expected, "{root}: {run}");
        }
    }
}

/// The bind mount escape: while a process of the container stands deep in a directory that it was given, somebody on the host
/// moves the place where it stands out of that directory, and `..` leads above what was given (CVE-2015-2925). The kernel has
/// known since that such a place is not connected to its mount, as long as what is given is a mount of its own, of just that
/// directory.
#[test]
fn hidden_place_that_the_working_directory_is_moved_to_is_not_seen() {
    for (root, mode) in ROOTS
        .iter()
        .flat_map(|root| ["overlay", "read-only", "full-access"].map(|mode| (*root, mode)))
    {
        let scene = Fresh::new();
        let token = token(&scene);
        scene.file("outer/secret/f", &token);
        scene.file("outer/secret/inner/f", &token);
        scene.file("outer/shown/a/b/f", "seen");
        scene.file("control/f", "");
        let d = scene.str();
        let more = [
            (format!("{d}/outer"), "hidden"),
            (format!("{d}/outer/shown"), mode),
            (format!("{d}/control"), "full-access"),
        ];
        let [ready, go] = ["ready", "go"].map(|name| format!("{d}/control/{name}"));
        let words = [
            "climb",
            &token,
            &format!("{d}/outer/shown/a/b"),
            &ready,
            &go,
            "f",
            "secret/f",
            "inner/f",
            "outer/secret/f",
        ];
        let job = probe_job(&words, &json!({"directories": directories(root, &more)}));
        let seen = while_running(&job, &ready, || {
            let to = scene.path().join("outer/secret/inner/a");
            std::fs::rename(scene.path().join("outer/shown/a"), to).unwrap();
            std::fs::write(&go, "").unwrap();
        });
        assert_eq!(seen["seen"], json!([]), "{mode} in {root}: {seen:#}");
        assert!(
            seen["tried"].as_u64() > Some(0),
            "{mode} in {root}: {seen:#}"
        );
    }
}

/// On the host somebody gives the name of the hidden directory to another one while the job runs, as a program does that writes
/// a new version beside the old one. In an overlay and in a hidden root what is seen there is not the host's directory with
/// something mounted over, so it stays what it is. (Where the host's tree is used in place, the new one is seen: README, "What
/// it does not protect from". Every sandbox that mounts over a path has that.)
#[test]
fn hidden_name_that_the_host_gives_to_another_directory_stays_hidden() {
    for root in ["overlay", "hidden"] {
        for mode in ["overlay", "hidden"] {
            let scene = scene();
            let d = scene.str();
            std::fs::create_dir(scene.path().join("control")).unwrap();
            let control = format!("{d}/control");
            let more = [
                (d.to_owned(), mode),
                (format!("{d}/secret"), "hidden"),
                (control.clone(), "full-access"),
            ];
            let [ready, go] = ["ready", "go"].map(|name| format!("{control}/{name}"));
            let token = token(&scene);
            let words = ["climb", &token, &control, &ready, &go, "secret/f", "old/f"];
            let job = probe_job(&words, &json!({"directories": directories(root, &more)}));
            let seen = while_running(&job, &ready, || {
                let [secret, new] = ["secret", "new"].map(|name| scene.path().join(name));
                scene.file("new/f", &token);
                std::fs::rename(&secret, scene.path().join("away")).unwrap();
                std::fs::rename(new, secret).unwrap();
                std::fs::write(&go, "").unwrap();
            });
            assert_eq!(seen["seen"], json!([]), "{mode} in {root}: {seen:#}");
            assert!(
                seen["tried"].as_u64() > Some(0),
                "{mode} in {root}: {seen:#}"
            );
        }
    }
}

/// Runs a job, does something once the file exists, and gives the job's answer.
fn while_running(job: &Value, ready: &str, act: impl FnOnce()) -> Value {
    let mut child = crate::support::start(job);
    while !Path::new(ready).exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    act();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = report["stdout"]["text"].as_str().unwrap_or("");
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no answer: {report:#}"))
}
