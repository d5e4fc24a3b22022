//! What the job's own `mounts`, another `root`, and an empty /proc or /sys are for must not be undone or led elsewhere.

use crate::common::{answer, probe_job, with};
use crate::support::{Fresh, in_namespace, probe, root, run, run_in_namespace, skip};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What no job may see, another for every scene: tests run side by side.
fn token(scene: &Fresh) -> String {
    format!("covered-content-{}", scene.str())
}

fn identities() -> [(&'static str, Value, &'static str); 5] {
    let kept = json!({"capabilities": ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"]});
    let uid_0 = json!({"user": {"uid": 0, "gid": 0}});
    [
        ("plain user", json!({}), "plain"),
        ("plain user in a nested namespace", json!({}), "nested"),
        ("CAP_SYS_ADMIN", kept.clone(), "plain"),
        (
            "uid 0 with CAP_SYS_ADMIN in a nested namespace",
            with(kept, &uid_0),
            "nested",
        ),
        ("uid 0 in a nested namespace", uid_0, "nested"),
    ]
}

fn shell(script: &str, arguments: &[&str], fields: &Value) -> Value {
    let words = ["/bin/sh", "-c", script, "sh"];
    let argv: Vec<&str> = words.iter().chain(arguments).copied().collect();
    with(json!({"argv": argv, "cwd": "/"}), fields)
}

/// Every mount call against a bind, a tmpfs, a file, an overlay and a message queue of the job: what they cover is never
/// seen, and no attribute is taken away (mount_namespaces(7), "Restrictions on mount namespaces").
#[test]
fn targets_of_mounts_cannot_be_uncovered_nor_changed() {
    for root in ["overlay", "read-only"] {
        for (name, fields, way) in identities() {
            let scene = Fresh::new();
            let token = token(&scene);
            let covered = [
                "bind/f",
                "tmpfs/f",
                "file",
                "layers/f",
                "queue/f",
                "deep/in/f",
            ];
            for file in covered {
                scene.file(file, &token);
            }
            scene.file("src/f", "seen");
            for name in ["src/in", "up", "work"] {
                std::fs::create_dir(scene.path().join(name)).unwrap();
            }
            let d = scene.str();
            let at = |name: &str| format!("{d}/{name}");
            let mounts = json!([
                {"type": "bind", "source": at("src"), "target": at("bind")},
                {"type": "tmpfs", "target": at("tmpfs")},
                {"type": "file", "target": at("file"), "text": "seen"},
                {"type": "overlay", "target": at("layers"), "lower": [at("src")], "upper": at("up"), "work": at("work")},
                {"type": "mqueue", "target": at("queue")},
                // One on the other.
                {"type": "bind", "source": at("src"), "target": at("deep"), "read_only": false},
                {"type": "tmpfs", "target": at("deep/in")},
            ]);
            let secrets: Vec<String> = covered.iter().map(|name| at(name)).collect();
            let words: Vec<&str> = ["attack-mounts", way, &token]
                .into_iter()
                .chain(secrets.iter().map(String::as_str))
                .collect();
            let fields = with(
                json!({"directories": {"/": root}, "mounts": mounts}),
                &fields,
            );
            let before = scene.snapshot();
            let run = run(&probe_job(&words, &fields));
            let seen = answer(run.exited(0));
            let who = format!("{name} of a {root} root: {seen:#}\n{run}");
            assert_eq!(seen["broken"], json!([]), "{who}");
            assert_eq!(seen["table_unchanged"], true, "{who}");
            assert!(seen["tried"].as_u64() >= Some(200), "{who}");
            let untouched = |all: Vec<(std::path::PathBuf, u32, Vec<u8>)>| {
                all.into_iter()
                    .filter(|(path, ..)| !path.starts_with(at("work")))
                    .collect::<Vec<_>>()
            };
            assert_eq!(untouched(scene.snapshot()), untouched(before), "{who}");
        }
    }
}

/// A read-only bind is read-only by its name, by a descriptor opened again, by a hard link, by a copy, by a remount and by a bind in a
/// nested namespace; and so is what is mounted below its source (CVE-2014-5206, CVE-2022-1227 and kin).
#[test]
fn targets_that_are_read_only_stay_so_by_every_way() {
    const WAYS: &str = r#"d=$1; cd /mnt/b 2>/dev/null || cd "$d/place"
    exec 5<f 6<. 7<m/f
    w() { ( echo "$2" > "$1" ) 2>/dev/null && echo "written by $1"; }
    w f; w m/f; w new; w m/new; w /proc/self/fd/5; w /proc/self/fd/6/new; w /proc/self/fd/7; w /proc/self/cwd/f; w /proc/1/cwd/$PWD/f; w /dev/fd/5
    ln f /tmp/hard 2>/dev/null && w /tmp/hard; mv f g 2>/dev/null && echo moved; rm -f f 2>/dev/null && echo removed; chmod 777 f 2>/dev/null && echo changed; truncate -s 0 f 2>/dev/null && echo cut; touch -c f 2>/dev/null && echo touched
    setfattr -n user.x -v y f 2>/dev/null && echo attribute
    unshare -Urm sh -c 'here=$PWD; mkdir -p /tmp/c /tmp/e; for o in "" r; do mount --${o}bind "$here" /tmp/c 2>/dev/null || continue; mount -o remount,bind,rw /tmp/c 2>/dev/null && echo remounted; for f in f new m/f m/new; do ( echo x > /tmp/c/$f ) 2>/dev/null && echo "written by copy of $f"; done; umount -R /tmp/c; done
        mount -o remount,rw . 2>/dev/null && echo remounted; mount -o remount,bind,rw m 2>/dev/null && echo remounted; umount m 2>/dev/null && echo uncovered
        mount -t overlay none -o "lowerdir=$here,upperdir=/tmp/c,workdir=/tmp/e" /tmp/c 2>/dev/null; ( echo x > f ) 2>/dev/null && echo "written below"; true'
    echo end"#;
    for root in ["overlay", "read-only", "full-access"] {
        for capabilities in [
            json!([]),
            json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]),
        ] {
            let scene = Fresh::new();
            scene.file("src/f", "guarded");
            for name in ["src/m", "place"] {
                std::fs::create_dir(scene.path().join(name)).unwrap();
            }
            let d = scene.str();
            let before = scene.snapshot();
            let mounts = json!([{"type": "bind", "source": format!("{d}/src"), "target": format!("{d}/place")}]);
            let fields =
                json!({"directories": {"/": root}, "mounts": mounts, "capabilities": capabilities});
            let setup = format!(
                "mount -t tmpfs none '{d}/src/m'; echo guarded > '{d}/src/m/f'; \"$STDBOX\"; cat '{d}/src/m/f' >&2; ls '{d}/src/m' >&2"
            );
            let run = run_in_namespace(&setup, &shell(WAYS, &[d], &fields));
            assert_eq!(
                run.exited(0).stdout(),
                "end\n",
                "{root}, {capabilities}: {run}"
            );
            assert_eq!(run.complaint.trim_end(), "guarded\nf", "{root}: {run}");
            assert_eq!(scene.snapshot(), before, "{root}: {run}");
        }
    }
}

/// While the container is made, an accomplice swaps a directory on the way to twelve targets for a link to another place with the
/// same names. All lie where the plan found them, on the one side or on the other; or there is no job. The class is that of
/// CVE-2021-30465 (runc), where targets of mounts were exchanged.
#[test]
fn targets_whose_way_is_swapped_lie_where_they_were_planned_or_nowhere() {
    const TARGETS: usize = 12;
    for root in ["overlay", "read-only", "full-access"] {
        let scene = Fresh::new();
        for side in ["way", "other"] {
            for i in 0..TARGETS {
                std::fs::create_dir_all(scene.path().join(format!("{side}/{i}"))).unwrap();
            }
        }
        symlink("other", scene.path().join("way.link")).unwrap();
        let d = scene.str();
        let mounts: Vec<Value> = (0..TARGETS)
            .map(|i| json!({"type": "tmpfs", "target": format!("{d}/way/{i}")}))
            .collect();
        let fields = json!({"directories": {"/": root}, "mounts": mounts, "system_config": false});
        let job = shell(
            "grep -o \"$1/[a-z.]*/[0-9]* \" /proc/self/mountinfo",
            &[d],
            &fields,
        );
        let stop = AtomicBool::new(false);
        let (mut ran, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let [a, b] = ["way", "way.link"]
                    .map(|name| std::ffi::CString::new(format!("{d}/{name}")).unwrap());
                let mut swaps = 0_u64;
                while !stop.load(Ordering::Relaxed) || swaps % 2 == 1 {
                    // SAFETY: both paths end in NUL. RENAME_EXCHANGE is 2.
                    let done = unsafe {
                        nix::libc::syscall(
                            nix::libc::SYS_renameat2,
                            nix::libc::AT_FDCWD,
                            a.as_ptr(),
                            nix::libc::AT_FDCWD,
                            b.as_ptr(),
                            2,
                        )
                    };
                    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
                    swaps += 1;
                    std::thread::sleep(Duration::from_micros(swaps % 7 * 400));
                }
            });
            let seen: Vec<_> = (0..250).map(|_| run(&job)).collect();
            stop.store(true, Ordering::Relaxed);
            for run in seen {
                if run.report["outcome"] != "exited" {
                    refused += 1;
                    continue;
                }
                ran += 1;
                let sides: std::collections::BTreeSet<&str> = run
                    .stdout()
                    .lines()
                    .filter_map(|line| line.rsplit('/').nth(1))
                    // In place the directory still gets the link's name now and then; the other side keeps its own.
                    .map(|side| side.trim_end_matches(".link"))
                    .collect();
                assert_eq!(run.stdout().lines().count(), TARGETS, "{root}: {run}");
                assert_eq!(sides.len(), 1, "{root}: {run}");
            }
        });
        assert!(
            ran > 20 && refused > 5,
            "{root}: {ran} ran, {refused} were refused"
        );
    }
}

/// A link that an earlier job left in an upper layer which is kept leads the next job's mounts to places of the container.
#[test]
fn targets_behind_links_that_a_job_left_in_a_kept_layer_stay_inside() {
    for root in ["overlay", "read-only"] {
        let scene = Fresh::new();
        scene.file("victim/f", "host");
        for name in ["low", "up", "work", "place"] {
            std::fs::create_dir(scene.path().join(name)).unwrap();
        }
        let d = scene.str();
        let layers = json!({"type": "overlay", "target": format!("{d}/place"), "lower": [format!("{d}/low")], "upper": format!("{d}/up"), "work": format!("{d}/work")});
        let trap = "cd \"$1/place\"; ln -s \"$1/victim\" a; ln -s ../../../../../../../../../proc b; ln -s / c; ln -s a/../work d; mkdir e; ln -s / e/f";
        let fields = json!({"directories": {"/": root}, "mounts": [layers]});
        run(&shell(trap, &[d], &fields)).exited(0);
        let victim =
            |name: &str| std::fs::read_to_string(scene.path().join("victim").join(name)).ok();
        for (target, expected) in [
            ("a/f", Ok("over")),
            ("a/new", Ok("over")),
            ("b/sys", Err("proc-directory")),
            ("c", Err("contradiction")),
            ("e/f", Err("contradiction")),
            ("c/tmp/x", Ok("over")),
        ] {
            let mut mounts = vec![layers.clone()];
            mounts.push(match expected {
                Ok(text) => {
                    json!({"type": "file", "target": format!("{d}/place/{target}"), "text": text})
                }
                Err(_) => json!({"type": "tmpfs", "target": format!("{d}/place/{target}")}),
            });
            let fields = json!({"directories": {"/": root}, "mounts": mounts});
            let run = run(&shell(
                "cat \"$1\"",
                &[&format!("{d}/place/{target}")],
                &fields,
            ));
            match expected {
                // Under a read-only root what is missing behind such a link has no room.
                Ok(_) if target == "a/new" && root == "read-only" => {
                    run.failed("target-missing", "mounts");
                }
                Ok(text) => assert_eq!(run.exited(0).stdout(), text, "{target}: {run}"),
                Err(code) => assert_eq!(run.report["error"]["code"], code, "{target}: {run}"),
            }
            assert_eq!(
                (victim("f"), victim("new")),
                (Some("host".into()), None),
                "{target}: {run}"
            );
        }
    }
}

/// The host's processes and devices behind an empty /proc or /sys: whoever mounts, unmounts or copies in a namespace of its own sees
/// none of them. In place the host's lie below.
#[test]
fn targets_for_nothing_in_proc_and_sys_cannot_be_undone() {
    const WAYS: &str = r#"pid=$1; look() { [ -e "$1/$pid/task" ] && echo "host process by $2"; [ -e "$1/devices/system" ] && echo "sys by $2"; [ -e "$1/self" ] && echo "proc by $2"; }
    export pid; both() { look "$1/proc" "$2"; look "$1/sys" "$2"; }
    both "" start; mkdir -p /tmp/a /tmp/b /tmp/c; both /dev/.. dots; look /proc/../proc again
    for flags in -Um -Umpf -Umnpf; do unshare $flags sh -c '
        look() { [ -e "$1/$pid/task" ] && echo "host process by $2"; [ -e "$1/devices/system" ] && echo "sys by $2"; }
        both() { look "$1/proc" "$2"; look "$1/sys" "$2"; }
        for p in /proc /sys; do umount $p; umount -l $p; umount -f $p; umount -l -R $p; done; both "" umount
        mount --bind / /tmp/a && both /tmp/a bind; mount --rbind / /tmp/b && both /tmp/b rbind
        for p in proc sys; do umount -l /tmp/b/$p; done; both /tmp/b "umount in a copy"
        mount --bind /proc /tmp/c && look /tmp/c "bind of proc"; mount --move /proc /tmp/c && both "" move
        mount -t proc none /tmp/c && look /tmp/c "proc"; mount -t sysfs none /tmp/a && [ -e /tmp/a/class/net/eth0 ] && look /tmp/a "sysfs"
        chroot /tmp/b /bin/sh -c "cd ../../..; ls proc sys" 2>/dev/null | grep -q . && both /tmp/b chroot
        true' 2>/dev/null; done; echo end"#;
    let pid = std::process::id().to_string();
    for root in ["overlay", "read-only", "full-access"] {
        for capabilities in [json!([]), json!(["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"])] {
            if capabilities != json!([]) {
                let fields = json!({"directories": {"/": root}, "sys": "none", "capabilities": capabilities});
                let seen = run(&shell(
                    "umount /sys 2>/dev/null; umount -l /sys 2>/dev/null; mkdir /tmp/a; mount --bind / /tmp/a 2>/dev/null; ls -A /sys /tmp/a/sys 2>/dev/null | grep -v :; echo end",
                    &[],
                    &fields,
                ));
                assert!(
                    !seen.exited(0).stdout().contains("devices"),
                    "{root}: {seen}"
                );
                continue;
            }
            let fields = json!({"directories": {"/": root}, "sys": "none", "proc": "none"});
            let seen = run(&shell(WAYS, &[&pid], &fields));
            assert_eq!(seen.exited(0).stdout(), "end\n", "{root}: {seen}");
        }
    }
}

/// Out of another root: `..`, chroot with a working directory outside, /proc/PID/root and cwd, an old root, a copy of the tree, in
/// every kind of it. The host's files are in no mount of the container, so there is nothing to get out to (chroot(2), pivot_root(2)).
#[test]
fn targets_in_another_root_do_not_reach_the_host() {
    for mode in ["overlay", "read-only", "full-access", "hidden"] {
        for (name, fields, way) in identities() {
            let outside = Fresh::new();
            let token = token(&outside);
            outside.file("f", &token);
            let image = Fresh::new();
            for name in ["bin", "dev", "proc", "sys", "etc", "tmp"] {
                std::fs::create_dir(image.path().join(name)).unwrap();
            }
            std::fs::copy(probe(), image.path().join("bin/probe")).unwrap();
            // On the host these lead to the secret.
            symlink(outside.path().join("f"), image.path().join("etc/absolute")).unwrap();
            symlink(
                format!(
                    "{}{}/f",
                    "../".repeat(20),
                    outside.str().trim_start_matches('/')
                ),
                image.path().join("etc/up"),
            )
            .unwrap();
            let mut directories = json!({"/": mode});
            if mode == "hidden" {
                directories["/bin"] = json!("read-only");
            }
            let secret = format!("{}/f", outside.str());
            let up = format!("{}{secret}", "/..".repeat(20));
            let files = [
                secret.as_str(),
                &up,
                "/etc/absolute",
                "/etc/up",
                &format!("/proc/1/root{secret}"),
                &format!("/proc/self/root{up}"),
                &format!("/proc/1/cwd{secret}"),
            ]
            .map(str::to_owned);
            let words: Vec<&str> = ["attack-mounts", way, &token]
                .into_iter()
                .chain(files.iter().map(String::as_str))
                .collect();
            let fields = with(
                json!({"directories": directories, "root": image.str()}),
                &fields,
            );
            let mut job = probe_job(&words, &fields);
            job["argv"][0] = json!("/bin/probe");
            let run = run(&job);
            let seen = answer(run.exited(0));
            let who = format!("{name}, {mode}: {seen:#}\n{run}");
            assert_eq!(seen["broken"], json!([]), "{who}");
            assert_eq!(seen["table_unchanged"], true, "{who}");
        }
    }
}

/// The real root may write the kernel's settings by its uid alone; a tree that it shows at another place, to be written, has them
/// read-only where the host mounted them below (proc_sys(5)).
#[test]
fn targets_with_settings_of_the_kernel_below_do_not_open_them() {
    let scene = Fresh::new();
    for name in ["src/proc", "src/sys"] {
        std::fs::create_dir_all(scene.path().join(name)).unwrap();
    }
    let d = scene.str();
    let setup = if root() {
        format!(
            "mount -t proc none '{d}/src/proc'; mount -t sysfs none '{d}/src/sys'; exec \"$STDBOX\""
        )
    } else {
        // A procfs of its own pid namespace nobody but the real root can mount; the machine's is shown.
        format!(
            "mount --rbind /proc '{d}/src/proc'; mount --rbind /sys '{d}/src/sys'; exec \"$STDBOX\""
        )
    };
    for mode in ["overlay", "read-only"] {
        for nested in [false, true] {
            let look = r#"cd /tmp/b; [ -e proc/sys/kernel ] && [ -e sys/kernel ] && echo there; for f in proc/sys/kernel/core_pattern proc/sys/kernel/modprobe proc/sysrq-trigger proc/sys/vm/drop_caches sys/kernel/uevent_helper sys/kernel/mm/ksm/run sys/power/state; do ( : >> $f ) 2>/dev/null && echo $f; done; ( echo x > new ) && echo written; exit 0"#;
            let script = if nested {
                format!(
                    "unshare -Urm sh -c 'mount -o remount,bind,rw /tmp/b/proc; mount -o remount,bind,rw /tmp/b/sys; sh -c \"$1\"' sh '{look}' 2>/dev/null"
                )
            } else {
                look.to_owned()
            };
            let mounts = json!([{"type": "bind", "source": format!("{d}/src"), "target": "/tmp/b", "read_only": false}]);
            let seen = run_in_namespace(
                &setup,
                &shell(
                    &script,
                    &[],
                    &json!({"directories": {"/": mode}, "mounts": mounts}),
                ),
            );
            assert_eq!(
                seen.exited(0).stdout(),
                "there\nwritten\n",
                "{mode}, nested {nested}: {seen}"
            );
        }
    }
}

/// Device files that the real root made in a directory are none where the directory is shown (mount(8), nodev), and a setuid program
/// gives nothing.
#[test]
fn targets_with_device_files_do_not_open_them() {
    if !root() {
        return skip("root", "only root can make device files");
    }
    let scene = Fresh::new();
    let (output, errors, status) = in_namespace(
        &format!(
            "mkdir '{0}/src'; mknod -m 666 '{0}/src/zero' c 1 5; mknod -m 666 '{0}/src/full' c 1 7; cp /bin/true '{0}/src/'; chmod 4755 '{0}/src/true'",
            scene.str()
        ),
        "",
    );
    assert_eq!(
        (output.as_str(), errors.as_str(), status),
        ("", "", Some(0))
    );
    let src = format!("{}/src", scene.str());
    for target in ["/tmp/b", "/dev/b", "/mnt/b"] {
        for read_only in [true, false] {
            let mounts =
                json!([{"type": "bind", "source": src, "target": target, "read_only": read_only}]);
            let script = "cd \"$1\"; for f in zero full; do [ -c $f ] && echo there; ( : < $f ) 2>/dev/null && echo $f; done; unshare -Urm sh -c 'mount -o remount,bind,dev . 2>/dev/null; ( : < zero ) 2>/dev/null && echo nested'; grep \" $1 \" /proc/self/mountinfo | grep -c nosuid,nodev; exit 0";
            let seen = run(&shell(script, &[target], &json!({"mounts": mounts})));
            assert_eq!(
                seen.exited(0).stdout(),
                "there\nthere\n1\n",
                "{target}: {seen}"
            );
        }
    }
}
