//! A root that holds almost nothing, as in a `FROM scratch` image, and a chroot.

use crate::common::{BUSYBOX, busybox};
use crate::support::{Fresh, Run, in_namespace, root};
use serde_json::{Value, json};

/// Enters a memory file system that holds stdbox, /proc, and what `more` makes in it, by pivot_root(2), and runs the job there.
fn in_bare_root(more: &str, job: &Value) -> Run {
    let directory = Fresh::new();
    let script = format!(
        r#"mount -t tmpfs -o mode=755 none '{0}'; cd '{0}'; mkdir proc old; cp "$STDBOX" stdbox; {more}
        mount --rbind /proc proc; pivot_root . old; cd /; exec /old{BUSYBOX} sh -ec '/old{BUSYBOX} umount -l /old; exec /stdbox'"#,
        directory.str()
    );
    // The shell must not need the old root any more once it is gone.
    let (output, errors, status) = in_namespace(&script, &job.to_string());
    Run {
        report: serde_json::from_str(&output).unwrap_or(Value::Null),
        status,
        complaint: format!("{output}{errors}"),
    }
}

#[test]
fn bare_root_with_nothing_but_the_binary_runs_it() {
    if !busybox() {
        return;
    }
    for mode in ["overlay", "read-only", "full-access"] {
        for more in ["", "rmdir old; mkdir old"] {
            for stdin in [json!({"text": ""}), json!("null")] {
                let job = json!({"argv": ["/stdbox", "--version"], "cwd": "/", "directories": {"/": mode}, "stdin": stdin});
                let run = in_bare_root(more, &job);
                assert!(
                    run.exited(0).stdout().starts_with("stdbox "),
                    "{mode}: {run}"
                );
            }
        }
    }
}

#[test]
fn bare_root_without_directories_for_mounts_gets_them_only_where_they_are_the_jobs_own() {
    if !busybox() {
        return;
    }
    let busy = format!("cp {BUSYBOX} busybox");
    let look = "/busybox ls -A /; /busybox ls -A /dev 2>/dev/null; ( echo x > /new ) 2>/dev/null && echo written; /busybox id -u; /busybox unshare -Ur /busybox true && echo nested; exit 0";
    let look = look.replace("exit 0", "/busybox true");
    for (mode, expected, degraded) in [
        (
            "overlay",
            "busybox\ndev\netc\nhome\nold\nproc\nstdbox\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\nwritten\n1000\nnested\n",
            vec!["dev-missing"],
        ),
        (
            "read-only",
            "busybox\nold\nproc\nstdbox\n1000\nnested\n",
            vec!["dev-missing"],
        ),
    ] {
        let job = json!({"argv": ["/busybox", "sh", "-c", look], "cwd": "/", "directories": {"/": mode}, "stdin": {"text": ""}});
        let run = in_bare_root(&busy, &job);
        assert_eq!(run.exited(0).stdout(), expected, "{mode}: {run}");
        // What is copied or bound beside the mount points depends on its size.
        let seen: Vec<&str> = run
            .degraded()
            .into_iter()
            .filter(|code| *code != "file-read-only")
            .collect();
        assert_eq!(seen, degraded, "{mode}: {run}");
    }
}

#[test]
fn bare_root_hides_the_real_directories_of_default_links() {
    if !busybox() {
        return;
    }
    let more = format!(
        "cp {BUSYBOX} busybox; mkdir -p var/run var/tmp real; ln -s var/run run; ln -s /real tmp; echo host > var/run/secret; echo host > real/secret"
    );
    for mode in ["overlay", "read-only", "full-access"] {
        let script = "/busybox cat /real/secret /tmp/secret /var/run/secret /run/secret 2>/dev/null; echo job > /tmp/x && /busybox cat /real/x; echo job > /run/x && /busybox ls -A /var/run";
        let job = json!({"argv": ["/busybox", "sh", "-c", script], "cwd": "/", "directories": {"/": mode}, "stdin": {"text": ""}});
        let run = in_bare_root(&more, &job);
        assert_eq!(run.exited(0).stdout(), "job\nx\n", "{mode}: {run}");
    }
}

#[test]
fn bare_root_with_default_names_that_are_files_still_runs() {
    if !busybox() {
        return;
    }
    for (mode, name) in ["tmp", "run", "dev", "etc", "home", "sys"]
        .iter()
        .flat_map(|name| [("overlay", name), ("read-only", name)])
    {
        let more = &format!("echo host > {name}");
        let job = json!({"argv": ["/stdbox", "--version"], "cwd": "/", "directories": {"/": mode}, "stdin": {"text": ""}});
        let run = in_bare_root(more, &job);
        assert!(
            run.exited(0).stdout().starts_with("stdbox "),
            "{mode} {name}: {run}"
        );
    }
}

#[test]
fn bare_root_without_proc_is_a_clear_error() {
    if !busybox() {
        return;
    }
    let directory = Fresh::new();
    let script = format!(
        r#"mount -t tmpfs -o mode=755 none '{0}'; cd '{0}'; mkdir old; cp "$STDBOX" stdbox
        pivot_root . old; cd /; exec /old{BUSYBOX} sh -ec '/old{BUSYBOX} umount -l /old; exec /stdbox'"#,
        directory.str()
    );
    let (output, errors, status) = in_namespace(
        &script,
        "{\"argv\":[\"/stdbox\"],\"cwd\":\"/\",\"stdin\":{\"text\":\"\"}}",
    );
    let run = Run {
        report: serde_json::from_str(&output).unwrap_or(Value::Null),
        status,
        complaint: errors,
    };
    run.failed("proc-missing", "identity");
    assert!(
        run.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("/proc"),
        "{run}"
    );
    assert_eq!(run.status, Some(1), "{run}");
}

#[test]
fn chroot_is_a_clear_error() {
    let directory = Fresh::new();
    let script = format!(
        r#"mount -t tmpfs -o mode=755 none '{0}'; mkdir '{0}/d' '{0}/d/proc'; cp "$STDBOX" '{0}/d/'; mount --rbind /proc '{0}/d/proc'; exec chroot '{0}/d' /stdbox"#,
        directory.str()
    );
    let (output, errors, status) = in_namespace(
        &script,
        "{\"argv\":[\"/stdbox\"],\"cwd\":\"/\",\"stdin\":{\"text\":\"\"}}",
    );
    let run = Run {
        report: serde_json::from_str(&output).unwrap_or(Value::Null),
        status,
        complaint: errors,
    };
    run.failed("chroot", "namespaces");
    assert!(
        run.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("pivot_root"),
        "{run}"
    );
    assert_eq!(run.status, Some(1), "{run}");
}

/// Where the directory is itself the root of a mount, as most root file systems are.
#[test]
fn chroot_into_a_mount_is_a_clear_error_too() {
    let directory = Fresh::new();
    let script = format!(
        r#"mount -t tmpfs -o mode=755 none '{0}'; mkdir '{0}/proc'; cp "$STDBOX" '{0}/'; mount --rbind /proc '{0}/proc'; exec chroot '{0}' /stdbox"#,
        directory.str()
    );
    let (output, errors, status) = in_namespace(
        &script,
        "{\"argv\":[\"/stdbox\"],\"cwd\":\"/\",\"stdin\":{\"text\":\"\"}}",
    );
    let run = Run {
        report: serde_json::from_str(&output).unwrap_or(Value::Null),
        status,
        complaint: errors,
    };
    run.failed("chroot", "namespaces");
}

#[test]
fn namespaces_switched_off_are_a_clear_error() {
    // Only in a user namespace may the bound be lowered without changing the machine.
    let script = if root() {
        "exec unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec \"$STDBOX\"'"
    } else {
        "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$STDBOX\""
    };
    let (output, errors, status) = in_namespace(script, "{\"argv\":[\"true\"],\"cwd\":\"/\"}");
    let run = Run {
        report: serde_json::from_str(&output).unwrap_or(Value::Null),
        status,
        complaint: errors,
    };
    run.failed("userns-forbidden", "namespaces");
    assert!(
        run.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("max_user_namespaces"),
        "{run}"
    );
}

#[test]
fn masked_proc_is_a_clear_error() {
    let script = "mount -t tmpfs none /proc/fs 2>/dev/null || mount -t tmpfs none /proc/sys; exec \"$STDBOX\"";
    let script = if root() {
        format!("exec unshare -Urm --propagation=private sh -ec '{script}'")
    } else {
        script.to_owned()
    };
    let (output, errors, status) = in_namespace(&script, "{\"argv\":[\"true\"],\"cwd\":\"/\"}");
    let run = Run {
        report: serde_json::from_str(&output).unwrap_or(Value::Null),
        status,
        complaint: errors,
    };
    run.failed("proc-masked", "proc");
    assert!(
        run.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("systempaths=unconfined"),
        "{run}"
    );
}
