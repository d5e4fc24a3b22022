//! A file that the target is to read: whose it is could open it again through /proc/self/fd and write it, or change its mode
//! through the descriptor as it is.

use crate::support::{Fresh, Run, in_namespace, root, run_with, shell, skip};
use nix::libc::{self, c_int};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;

/// Tries everything that changes a file by a descriptor or by the links to it, and says what worked.
const ATTACK: &str = r#"
cat
cat /dev/stdin >/dev/null || echo "not read again"
exec 2>/dev/null
for link in /proc/self/fd/0 /dev/stdin /dev/fd/0; do
    (echo more > $link) && echo "written: $link"
    (echo more >> $link) && echo "appended: $link"
    (exec 5<> $link) && echo "opened for both: $link"
    truncate -s 0 $link && echo "emptied: $link"
    chmod 777 $link && echo "mode changed: $link"
    touch -d 2001-01-01 $link && echo "time changed: $link"
    chgrp "$(id -g)" $link && echo "group changed: $link"
    unshare -Urm sh -c "mount -o remount,bind,rw $link; mount --make-private $link; echo more > $link" && echo "written from a namespace: $link"
done
(echo more >&0) && echo "written as it is"
if command -v python3 >/dev/null; then
    for change in 'fchmod(0, 0o777)' 'utime(0)' 'ftruncate(0, 0)' 'fchown(0, -1, os.getgid())' 'setxattr(0, "user.x", b"y")'; do
        python3 -c "import os; os.$change" && echo "$change worked"
    done
fi
exit 0
"#;

fn state(file: &fs::Metadata) -> (u32, u32, u64, i64, i64) {
    (
        file.mode(),
        file.gid(),
        file.size(),
        file.mtime(),
        file.mtime_nsec(),
    )
}

#[test]
fn file_for_standard_input_cannot_be_changed_by_its_owner() {
    let scene = Fresh::new();
    let path = scene.file("d/input", "as it was\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let link = scene.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let before = state(&fs::metadata(&path).unwrap());
    let hidden = format!("{}/d", scene.str());
    for (given, directories) in [
        (&path, json!({})),
        (&link, json!({})),
        (&path, json!({&hidden: "hidden"})),
        (&path, json!({"/": "read-only"})),
        (&path, json!({"/": "full-access"})),
        (&path, json!({"/": "read-only", &hidden: "full-access"})),
    ] {
        let fields = json!({"stdin": {"file": given}, "directories": directories, "strict": true});
        let seen = shell(ATTACK, fields);
        assert_eq!(
            seen.exited(0).stdout(),
            "as it was\n",
            "{directories}\n{seen}"
        );
        assert_eq!(state(&fs::metadata(&path).unwrap()), before, "{seen}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "as it was\n");
    }
}

/// Runs a job with a file of the caller's as descriptor 9.
fn with_9(file: &File, fields: &Value) -> Run {
    let mut job = json!({"argv": ["/bin/sh", "-c", ATTACK], "cwd": "/"});
    job.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    let own: c_int = file.as_raw_fd();
    run_with(job.to_string().as_bytes(), &[], |command| {
        // SAFETY: dup2 and fcntl may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::dup2(own, 9);
                libc::fcntl(9, libc::F_SETFD, 0);
                Ok(())
            })
        };
    })
}

#[test]
fn file_that_is_named_by_a_descriptor_is_protected_as_long_as_it_has_a_name() {
    let scene = Fresh::new();
    let path = scene.file("input", "as it was\n");
    let file = File::open(&path).unwrap();
    let fields = |strict: bool| json!({"stdin": {"file": "/proc/self/fd/9"}, "strict": strict});
    let seen = with_9(&file, &fields(true));
    assert_eq!(seen.exited(0).stdout(), "as it was\n", "{seen}");
    fs::remove_file(&path).unwrap();
    let seen = with_9(&file, &fields(true));
    seen.failed("file-refused", "exec");
    assert_eq!(seen.report["error"]["at"], "/stdin/file", "{seen}");
    let seen = with_9(&file, &fields(false));
    assert_eq!(seen.degraded(), ["stdin-unprotected"], "{seen}");
    assert!(seen.stdout().starts_with("as it was\n"), "{seen}");
}

/// Between the look at the path and the job something else may get the name. It is not what was opened, so it is not used.
#[test]
fn file_whose_name_is_another_ones_by_now_is_read_all_the_same() {
    let scene = Fresh::new();
    let (path, other) = (
        scene.file("input", "right\n"),
        scene.file("other", "wrong\n"),
    );
    for strict in [false, true] {
        let job = json!({
            "argv": ["cat"], "cwd": "/", "stdin": {"file": "/dev/fd/9"}, "strict": strict, "directories": {"/": "read-only"}
        });
        let script = format!(
            "exec 9<{0}; mount --bind {1} {0}; exec \"$STDBOX\"",
            path.display(),
            other.display()
        );
        let (output, errors, _) = in_namespace(&script, &job.to_string());
        let report: Value = serde_json::from_str(&output).expect(&errors);
        if strict {
            assert_eq!(report["error"]["errno_name"], "ESTALE", "{report}");
        } else {
            assert_eq!(report["stdout"]["text"], "right\n", "{report}");
            let degraded = report["degraded"].to_string();
            assert!(degraded.contains("stdin-unprotected"), "{report}");
        }
    }
}

#[test]
fn file_that_only_the_callers_privileges_can_open_is_read_and_not_written() {
    if !root() {
        return skip("root", "an ordinary user cannot open another user's file");
    }
    let scene = Fresh::new();
    let path = scene.file("input", "as it was\n");
    std::os::unix::fs::chown(&path, Some(1), Some(1)).unwrap();
    for (mode, protected) in [(0o600, true), (0o000, true), (0o602, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let before = state(&fs::metadata(&path).unwrap());
        let seen = shell(
            "cat; echo more > /dev/stdin",
            json!({"stdin": {"file": path}}),
        );
        assert_eq!(seen.stdout(), "as it was\n", "{mode:o}\n{seen}");
        assert_eq!(seen.degraded().is_empty(), protected, "{mode:o}\n{seen}");
        if protected {
            assert_eq!(state(&fs::metadata(&path).unwrap()), before, "{seen}");
        } else {
            let fields = json!({"stdin": {"file": path}, "strict": true});
            shell("true", fields).failed("file-refused", "exec");
        }
    }
}

/// A descriptor is passed on as it is, as the schema says: whoever must not lend it gives the file's name.
#[test]
fn descriptor_for_standard_input_is_the_callers_own() {
    let scene = Fresh::new();
    let path = scene.file("input", "one\ntwo\n");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(&path)
        .unwrap();
    let fields = json!({"argv": ["head", "-n", "1"], "stdin": {"fd": 9}});
    let seen = with_9(&file, &fields);
    assert_eq!(seen.exited(0).stdout(), "one\n", "{seen}");
    assert!(seen.degraded().is_empty(), "{seen}");
}
