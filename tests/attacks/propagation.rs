//! Mounts made after the start, on either side: nothing goes in, nothing comes out, and nothing is uncovered.

use crate::common::{answer, probe_job};
use crate::support::{Fresh, probe, run_in_namespace};
use serde_json::{Value, json};

const ROOTS: [&str; 4] = ["overlay", "read-only", "hidden", "full-access"];

fn directories(root: &str, more: &[(&str, &str)]) -> Value {
    let mut directories = json!({"/": root});
    if root == "hidden" {
        directories[probe().parent().unwrap().to_str().unwrap()] = json!("read-only");
    }
    for (path, mode) in more {
        directories[*path] = json!(mode);
    }
    directories
}

/// While the job runs, the host mounts something on a directory that the job sees, and something on a directory in a mount that
/// it sees, as an automounter would, and unmounts what lay over other files. The job, in a nested namespace, makes all mounts
/// shared again, mounts something itself, and has a further namespace to propagate to. The host's mounts are shared, as
/// systemd makes them, or slaves of another namespace. Neither side sees anything of the other, and what the host unmounts
/// stays where it is in the container: what was below would else come to light.
///
/// mount_namespaces(7), "Shared subtrees"; Documentation/filesystems/sharedsubtree.rst.
fn propagate(root: &str) {
    for mode in ["overlay", "read-only", "full-access"] {
        for start in ["\"$STDBOX\"", "unshare -m --propagation=slave \"$STDBOX\""] {
            let (directory, control) = (Fresh::new(), Fresh::new());
            for name in ["out", "m", "in", "over"] {
                std::fs::create_dir(directory.path().join(name)).unwrap();
            }
            directory.file("over/f", "below");
            let (d, c) = (directory.str(), control.str());
            let [ready, go, within] = [format!("{c}/ready"), format!("{c}/go"), format!("{d}/in")];
            let files = ["out/f", "m/out/f", "m/f", "over/f"].map(|name| format!("{d}/{name}"));
            let mut words = vec!["among-mounts", &ready, &go, &within];
            words.extend(files.iter().map(String::as_str));
            let more = [(d, mode), (c, "full-access")];
            let job = probe_job(&words, &json!({"directories": directories(root, &more)}));
            let setup = format!(
                r#"D='{d}'; C='{c}'; mount -t tmpfs none "$D/m"; mkdir "$D/m/out"; echo seen > "$D/m/f"
                mount -t tmpfs none "$D/over"; echo over > "$D/over/f"; mount --make-rshared /; exec 3<&0
                cp /proc/self/mountinfo "$C/before"
                {start} <&3 & pid=$!
                n=0; while ! [ -e "$C/ready" ] && [ $n -lt 2000 ]; do sleep 0.01; n=$((n+1)); done
                for d in out m/out; do mount -t tmpfs outer "$D/$d"; echo outer > "$D/$d/f"; done
                grep -v -e ' tmpfs outer ' /proc/self/mountinfo | diff "$C/before" - >&2 || true
                umount "$D/over"
                ls -A "$D/in" >&2; grep -c inner /proc/self/mountinfo >&2 || true
                touch "$C/go"; wait $pid"#
            );
            let run = run_in_namespace(&setup, &job);
            let seen = answer(run.exited(0));
            let what = format!("{mode} in {root}, {start}: {seen:#}\n{run}");
            assert_eq!(run.complaint.trim(), "0", "nothing came out: {what}");
            let expected = [None, None, Some("seen\n"), Some("over\n")];
            for place in [&seen, &seen["nested"]] {
                for (file, text) in files.iter().zip(expected) {
                    assert_eq!(place["files"][file].as_str(), text, "{file}: {what}");
                }
                assert_eq!(place["table_unchanged"], true, "{what}");
            }
            assert_eq!(seen["in"], 0, "{what}");
            // The nested namespace did what it could; there is none where a protected directory is in a full-access one.
            let nested = &seen["nested"];
            if root == "full-access" && mode != "full-access" {
                assert_eq!(nested["done"][0], "ENOSPC", "{what}");
            } else {
                assert_eq!(nested["done"], json!(["", "", "", ""]), "{what}");
                assert_eq!(nested["inner"], 1, "{what}");
            }
            assert_eq!(nested["came"], true, "{what}");
        }
    }
}

/// See [`propagate`].
#[test]
fn propagation_into_and_out_of_an_overlay_root_does_not_happen() {
    propagate("overlay");
}

/// See [`propagate`].
#[test]
fn propagation_into_and_out_of_a_read_only_root_does_not_happen() {
    propagate("read-only");
}

/// See [`propagate`].
#[test]
fn propagation_into_and_out_of_a_hidden_root_does_not_happen() {
    propagate("hidden");
}

/// See [`propagate`].
#[test]
fn propagation_into_and_out_of_a_full_access_root_does_not_happen() {
    propagate("full-access");
}

/// No mount of the container has a peer or a master outside, whatever the host's have: mountinfo shows neither `shared` nor
/// `master` nor `propagate_from` (proc_pid_mountinfo(5)).
#[test]
fn propagation_has_no_way_since_every_mount_is_private() {
    for root in ROOTS {
        for dev in ["minimal", "host"] {
            let directory = Fresh::new();
            std::fs::create_dir(directory.path().join("m")).unwrap();
            for mode in ["hidden", "overlay", "read-only", "full-access"] {
                let more = [(directory.str(), mode)];
                let fields = json!({"directories": directories(root, &more), "dev": dev});
                let setup = format!(
                    "mount -t tmpfs none '{0}/m'; mount --make-rshared /; exec \"$STDBOX\"",
                    directory.str()
                );
                let run = run_in_namespace(&setup, &probe_job(&["status"], &fields));
                let seen = answer(run.exited(0));
                let mounts = seen["mounts"].as_array().unwrap();
                assert!(mounts.len() > 3, "{run}");
                for mount in mounts {
                    let optional = mount.as_str().unwrap().split(' ').nth(6);
                    assert_eq!(
                        optional,
                        Some("-"),
                        "{mount}, {mode} in {root}, dev {dev}: {run}"
                    );
                }
            }
        }
    }
}
