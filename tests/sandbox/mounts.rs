//! Mounts of the host and what the container makes of them: flags, places that cannot be reached.

use crate::common::{MODES, among_mounts, job, mount_at, table};
use crate::support::{Fresh, in_namespace, root, run_in_namespace};
use serde_json::json;

const FLAGS: [&str; 6] = [
    "noexec",
    "nosuid",
    "nodev",
    "noatime",
    "nosymfollow",
    "nodiratime",
];

#[test]
fn flags_of_a_submount_are_kept_in_every_visible_mode() {
    for mode in ["read-only", "overlay", "full-access"] {
        for named in [false, true] {
            for flag in FLAGS {
                let directory = Fresh::new();
                std::fs::create_dir(directory.path().join("m")).unwrap();
                let at = format!("{}/m", directory.str());
                let directories = if named {
                    json!({at.as_str(): mode})
                } else {
                    json!({directory.str(): mode})
                };
                let job = job(
                    "cat /proc/self/mountinfo",
                    &[],
                    &json!({"directories": directories}),
                );
                let setup = format!("mount -t tmpfs -o {flag} none \"$D/m\"");
                let run = among_mounts(&directory, &setup, &job).run;
                let table = table(run.exited(0).stdout());
                let mount = mount_at(&table, &at);
                for kept in [flag, "nosuid", "nodev"] {
                    assert!(
                        mount.has(kept),
                        "{flag} in {mode}, named {named}: {mount:?} {run}"
                    );
                }
                assert_eq!(mount.has("ro"), mode == "read-only", "{mount:?} {run}");
                let others = FLAGS
                    .iter()
                    .filter(|other| ![flag, "nosuid", "nodev"].contains(other));
                // A directory's own access times go with noatime.
                for other in others.filter(|other| flag != "noatime" || **other != "nodiratime") {
                    assert!(
                        !mount.has(other),
                        "{other} came from nowhere in {mode}: {mount:?} {run}"
                    );
                }
                let relatime = !matches!(flag, "noatime");
                assert_eq!(mount.has("relatime"), relatime, "{mount:?} {run}");
            }
        }
    }
}

#[test]
fn flags_do_what_they_say_inside() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    for mode in ["read-only", "overlay", "full-access"] {
        let setup = "mount -t tmpfs -o noexec,nosymfollow none \"$D/m\"; cp /bin/true \"$D/m/\"; ln -s true \"$D/m/link\"";
        let script = "cd \"$1/m\"; ./true 2>/dev/null || echo not executed; cat link >/dev/null 2>&1 || echo not followed";
        let job = job(
            script,
            &[directory.str().as_bytes()],
            &json!({"directories": {directory.str(): mode}}),
        );
        let mounted = among_mounts(&directory, setup, &job);
        assert_eq!(
            mounted.run.exited(0).stdout(),
            "not executed\nnot followed\n",
            "{mode}: {}",
            mounted.run
        );
    }
}

#[test]
fn strict_access_times_are_kept() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    for mode in ["read-only", "overlay", "full-access"] {
        let job = job(
            "cat /proc/self/mountinfo",
            &[],
            &json!({"directories": {directory.str(): mode}}),
        );
        let run = among_mounts(
            &directory,
            "mount -t tmpfs -o strictatime none \"$D/m\"",
            &job,
        )
        .run;
        let table = table(run.exited(0).stdout());
        let mount = mount_at(&table, &format!("{}/m", directory.str()));
        assert!(
            !mount.has("relatime") && !mount.has("noatime"),
            "{mode}: {mount:?} {run}"
        );
    }
}

#[test]
fn read_only_submount_met_on_the_way_stays_read_only() {
    for mode in MODES {
        let directory = Fresh::new();
        std::fs::create_dir(directory.path().join("m")).unwrap();
        // Either the mount is read-only, or its file system.
        for setup in [
            "mount -t tmpfs none \"$D/m\"; echo host > \"$D/m/f\"; mount -o remount,bind,ro \"$D/m\"",
            "mount -t tmpfs -o ro none \"$D/m\"",
        ] {
            let script = "cat \"$1/m/f\" 2>/dev/null; ( echo job > \"$1/m/new\" ) 2>/dev/null && echo written; true";
            let job = job(
                script,
                &[directory.str().as_bytes()],
                &json!({"directories": {directory.str(): mode}}),
            );
            let mounted = among_mounts(&directory, setup, &job);
            let expected = if mode == "hidden" || setup.contains("-o ro ") {
                ""
            } else {
                "host\n"
            };
            assert_eq!(
                mounted.unchanged().run.exited(0).stdout(),
                expected,
                "{mode}: {}",
                mounted.run
            );
        }
    }
}

#[test]
fn read_only_mount_that_is_named_overlay_takes_writes_into_the_scratch() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    for below in [
        "",
        "mkdir \"$D/m/d\" \"$D/m/d/n\"; mount -t tmpfs none \"$D/m/d/n\";",
    ] {
        let setup = format!(
            "mount -t tmpfs none \"$D/m\"; echo host > \"$D/m/f\"; {below} mount -o remount,bind,ro \"$D/m\""
        );
        let script = "cd \"$1/m\"; echo job > f && cat f && mkdir new && echo made";
        let at = format!("{}/m", directory.str());
        let job = job(
            script,
            &[directory.str().as_bytes()],
            &json!({"directories": {at: "overlay"}}),
        );
        let mounted = among_mounts(&directory, &setup, &job);
        assert_eq!(
            mounted.unchanged().run.exited(0).stdout(),
            "job\nmade\n",
            "{}",
            mounted.run
        );
    }
}

#[test]
fn read_only_root_mount_takes_writes_into_the_scratch_as_overlay() {
    let directory = Fresh::new();
    let job = job(
        "echo job > /etc/new && echo job > /new && cat /etc/new; ( echo job > \"$1/x\" ) && echo own",
        &[directory.str().as_bytes()],
        &json!({}),
    );
    let run = run_in_namespace(
        &format!(
            "mount --bind '{0}' '{0}'; mount -o remount,bind,ro /; exec \"$STDBOX\"",
            directory.str()
        ),
        &job,
    );
    assert_eq!(run.exited(0).stdout(), "job\nown\n", "{run}");
    assert_eq!(directory.snapshot().len(), 1, "{run}");
}

#[test]
fn read_only_mount_that_is_named_full_access_stays_what_it_is() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    let setup = "mount -t tmpfs none \"$D/m\"; mount -o remount,bind,ro \"$D/m\"";
    let at = format!("{}/m", directory.str());
    let job = job(
        "( echo job > \"$1/m/new\" ) 2>/dev/null || echo refused",
        &[directory.str().as_bytes()],
        &json!({"directories": {at: "full-access"}}),
    );
    let mounted = among_mounts(&directory, setup, &job);
    assert_eq!(
        mounted.unchanged().run.exited(0).stdout(),
        "refused\n",
        "{}",
        mounted.run
    );
}

/// Runs stdbox as a user without privileges over the mounts that the script made.
fn as_nobody(setup: &str, job: &serde_json::Value) -> crate::support::Run {
    let drop = if root() {
        // A user that owns nothing here.
        "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$STDBOX\""
    } else {
        // The same user, without the capabilities over the namespace.
        "exec unshare -U --map-user=1000 --map-group=1000 \"$STDBOX\""
    };
    run_in_namespace(&format!("{setup}\n{drop}"), job)
}

#[test]
fn mount_point_that_cannot_be_reached_is_hidden_with_its_parent() {
    for named in [false, true] {
        let directory = Fresh::new();
        let setup = format!(
            "D='{}'; mkdir -p \"$D/open/closed/deep/m\"; echo host > \"$D/open/f\"; echo host > \"$D/open/closed/secret\"; mount -t tmpfs none \"$D/open/closed/deep/m\"; echo host > \"$D/open/closed/deep/m/secret\"; chmod 000 \"$D/open/closed\"",
            directory.str()
        );
        let script = "cd \"$1\"; cat open/f; chmod 755 open/closed 2>/dev/null; ls -A open; ls -A open/closed 2>/dev/null; find / -name secret -path \"$1/*\" 2>/dev/null; echo end";
        let mut fields = json!({});
        if named {
            fields = json!({"directories": {"/": "read-only", directory.str(): "overlay"}});
        }
        let run = as_nobody(&setup, &job(script, &[directory.str().as_bytes()], &fields));
        // Made accessible again, so that it can be removed.
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(
            directory.path().join("open/closed"),
            std::fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        assert_eq!(run.exited(0).stdout(), "host\nclosed\nf\nend\n", "{run}");
        assert!(run.warnings().contains(&"directory-hidden"), "{run}");
    }
}

#[test]
fn directory_that_cannot_be_reached_is_refused_as_named() {
    let directory = Fresh::new();
    let setup = format!(
        "D='{}'; mkdir -p \"$D/closed/d\"; chmod 000 \"$D/closed\"",
        directory.str()
    );
    for mode in MODES {
        let setup = if mode == "hidden" {
            setup.clone()
        } else {
            "true".to_owned()
        };
        let run = as_nobody(
            &setup,
            &job(
                "true",
                &[],
                &json!({"directories": {format!("{}/closed/d", directory.str()): mode}}),
            ),
        );
        run.failed("directory-unreachable", "validate");
        assert_eq!(run.status, Some(2), "{run}");
    }
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(
        directory.path().join("closed"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
}

#[test]
fn unprivileged_caller_with_a_mount_under_an_unreadable_directory_still_runs() {
    // Searchable but not readable: the mount point can be reached, the directory not listed.
    let directory = Fresh::new();
    let setup = format!(
        "D='{}'; mkdir -p \"$D/blind/m\"; echo host > \"$D/blind/f\"; mount -t tmpfs none \"$D/blind/m\"; echo host > \"$D/blind/m/f\"; chmod 711 \"$D/blind\"; {}",
        directory.str(),
        if root() { "" } else { "chmod 111 \"$D/blind\"" }
    );
    let run = as_nobody(
        &setup,
        &job(
            "ls -A \"$1\"; echo end",
            &[directory.str().as_bytes()],
            &json!({}),
        ),
    );
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(
        directory.path().join("blind"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    assert_eq!(run.exited(0).stdout(), "blind\nend\n", "{run}");
}

#[test]
fn stacked_mounts_show_the_topmost_only() {
    for mode in MODES {
        let directory = Fresh::new();
        std::fs::create_dir_all(directory.path().join("m")).unwrap();
        let setup = r#"
            mount -t tmpfs one "$D/m"; echo one > "$D/m/f"; mkdir "$D/m/sub"; mount -t tmpfs sub "$D/m/sub"; echo sub > "$D/m/sub/f"
            mount -t tmpfs two "$D/m"; echo two > "$D/m/f"; mkdir "$D/m/sub"
            mount -t tmpfs three "$D/m"; echo three > "$D/m/f"; mkdir "$D/m/sub"; echo plain > "$D/m/sub/f""#;
        let script = "cd \"$1/m\" 2>/dev/null || exit 0; cat f sub/f; ( echo job > f; echo job > sub/f ) 2>/dev/null && cat f sub/f; true";
        let job = job(
            script,
            &[directory.str().as_bytes()],
            &json!({"directories": {directory.str(): mode}}),
        );
        let mounted = among_mounts(&directory, setup, &job);
        let expected = match mode {
            "hidden" => "",
            "read-only" => "three\nplain\n",
            _ => "three\nplain\njob\njob\n",
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

/// A mount that a later one on its parent covers is still in the table, though nobody can see it.
#[test]
fn covered_mounts_do_not_split_an_overlay() {
    let directory = Fresh::new();
    std::fs::create_dir_all(directory.path().join("a/b")).unwrap();
    let setup = r#"mount -t tmpfs none "$D/a/b"; echo lost > "$D/a/b/f"; mount -t tmpfs none "$D/a"; mkdir -p "$D/a/b"; echo seen > "$D/a/b/f""#;
    let job = job(
        "cat \"$1/a/b/f\"; cat /proc/self/mountinfo >&2; mv \"$1/a/b\" \"$1/a/c\" && rm -r \"$1/a/c\"",
        &[directory.str().as_bytes()],
        &json!({}),
    );
    let mounted = among_mounts(&directory, setup, &job);
    assert_eq!(
        mounted.unchanged().run.exited(0).stdout(),
        "seen\n",
        "{}",
        mounted.run
    );
    assert!(
        !table(mounted.run.stderr())
            .iter()
            .any(|mount| mount.at.ends_with("/a/b")),
        "{}",
        mounted.run
    );
}

#[test]
fn many_mounts_are_no_problem() {
    let directory = Fresh::new();
    let setup = r#"mount -t tmpfs none "$D"; for i in $(seq 300); do mkdir "$D/$i"; done; seq 300 | xargs -I{} mount -t tmpfs none "$D/{}"; for i in $(seq 300); do echo host > "$D/$i/f"; done"#;
    for (mode, written) in [("overlay", 300), ("read-only", 0), ("full-access", 300)] {
        let script = "cd \"$1\"; cat */f | wc -l; n=0; for d in *; do ( echo job > $d/new ) 2>/dev/null && n=$((n+1)); done; echo $n; ulimit -n";
        let job = job(
            script,
            &[directory.str().as_bytes()],
            &json!({"directories": {directory.str(): mode}}),
        );
        let mounted = among_mounts(&directory, setup, &job);
        let limit = nix_limit();
        assert_eq!(
            mounted.run.exited(0).stdout(),
            format!("300\n{written}\n{limit}\n"),
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

fn nix_limit() -> String {
    let (output, _, _) = in_namespace("ulimit -n", "");
    output.trim().to_owned()
}

/// Wherever they run out, it is no fault of the job's.
#[test]
fn too_few_descriptors_are_a_clear_error_wherever_they_run_out() {
    let mut ran = 0;
    for most in (4..24).chain([256]) {
        let script = format!("ulimit -n {most}; exec \"$STDBOX\"");
        let run = run_in_namespace(&script, &job("true", &[], &json!({})));
        let error = &run.report["error"];
        if error.is_null() {
            run.exited(0);
            ran += 1;
            continue;
        }
        assert_eq!(run.report["outcome"], "setup-failed", "{most}: {run}");
        let hint = error["hint"].as_str().unwrap_or_default();
        assert!(hint.contains("ulimit"), "{most}: {run}");
        assert_eq!(ran, 0, "{most}: it ran with fewer: {run}");
    }
    assert!(ran > 0, "it never ran");
}

#[test]
fn many_mounts_with_too_few_descriptors_are_a_clear_error() {
    let directory = Fresh::new();
    let setup = format!(
        r#"D='{}'; mount -t tmpfs none "$D"; for i in $(seq 300); do mkdir "$D/$i"; done; seq 300 | xargs -I{{}} mount -t tmpfs none "$D/{{}}"; ulimit -n 128; exec "$STDBOX""#,
        directory.str()
    );
    let run = run_in_namespace(&setup, &job("true", &[], &json!({})));
    run.failed("out-of-memory", "mounts");
    assert_eq!(run.report["error"]["errno_name"], "EMFILE", "{run}");
    assert!(
        run.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("ulimit"),
        "{run}"
    );
    // With few steps it is enough.
    let fields = json!({"directories": {"/": "read-only"}});
    run_in_namespace(&setup, &job("true", &[], &fields)).exited(0);
}

#[test]
fn mount_that_vanishes_is_skipped_and_reported() {
    // The planner sees a mount that is gone when the container is built: a loop makes and unmakes one meanwhile. One that was
    // only there while an overlay was made cannot be told from a kernel that refuses the overlay.
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    let script = format!(
        r#"D='{}'; cat > /tmp/job 2>/dev/null || true; ( while [ -e "$D" ]; do mount -t tmpfs none "$D/m"; umount "$D/m"; done ) & pid=$!
        bad=0; for i in $(seq 40); do echo '{{"argv":["true"],"cwd":"/"}}' | "$STDBOX" > "$D.report" || true; grep -q -e '"outcome":"exited"' -e mount-table-changed -e overlay-unsupported "$D.report" || {{ cat "$D.report"; break; }}; done
        kill $pid; wait $pid 2>/dev/null || true; rm -f "$D.report"; echo end"#,
        directory.str()
    );
    let (output, errors, _) = in_namespace(&script, "");
    assert_eq!(output, "end\n", "{errors}");
}

#[test]
fn bind_of_a_directory_into_itself_ends() {
    let directory = Fresh::new();
    directory.file("a/b/f", "host");
    for mode in ["read-only", "overlay", "full-access"] {
        let setup = "mount --bind \"$D\" \"$D/a/b\"; mount --rbind \"$D/a\" \"$D/a\"";
        let job = job(
            "cat \"$1/a/b/a/b/f\"; cd \"$1/a/b/a\"; ( echo job > new ) 2>/dev/null && echo written; true",
            &[directory.str().as_bytes()],
            &json!({"directories": {"/": "overlay", directory.str(): mode}}),
        );
        let mounted = among_mounts(&directory, setup, &job);
        let written = if mode == "read-only" { "" } else { "written\n" };
        assert_eq!(
            mounted.run.exited(0).stdout(),
            format!("host{written}"),
            "{mode}: {}",
            mounted.run
        );
        drop(std::fs::remove_file(directory.path().join("a/new")));
    }
}
