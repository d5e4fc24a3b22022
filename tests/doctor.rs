//! `stdbox doctor`, on this machine and where something was taken away: what it finds is what a job meets there, with what to
//! change.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use support::{in_namespace, root, run, run_with, stdbox, with};

/// A whole examination, and its exit status.
struct Seen {
    report: Value,
    status: Option<i32>,
}

impl Seen {
    fn new(output: &str, errors: &str, status: Option<i32>) -> Self {
        let report = serde_json::from_str(output).unwrap_or_else(|_| panic!("{output}\n{errors}"));
        let seen = Self { report, status };
        assert_eq!(seen.report["version"], 1);
        let ready = seen.report["ready"].as_bool().unwrap();
        assert_eq!(seen.state("default-job") != "fails", ready, "{seen}");
        assert_eq!(status, Some(i32::from(!ready)), "{seen}");
        for (code, finding) in seen.findings() {
            let fails = finding["state"] == "fails";
            assert_eq!(fails, finding["error"].is_object(), "{code}: {seen}");
            assert_eq!(fails, finding["costs"].is_string(), "{code}: {seen}");
        }
        seen
    }

    fn findings(&self) -> BTreeMap<&str, &Value> {
        let all = self.report["findings"].as_array().unwrap();
        all.iter()
            .map(|finding| (finding["code"].as_str().unwrap(), finding))
            .collect()
    }

    fn state(&self, code: &str) -> &str {
        self.findings()[code]["state"].as_str().unwrap()
    }

    /// It fails for this reason, and something is said about systems of this kind.
    #[track_caller]
    fn fails(&self, code: &str, error: &str, on: &str) {
        let findings = self.findings();
        let finding = findings[code];
        assert_eq!(finding["state"], "fails", "{code}: {self}");
        assert_eq!(finding["error"]["code"], error, "{code}: {self}");
        assert!(finding["error"]["hint"].is_string(), "{code}: {self}");
        let remedies = finding["remedies"].as_array().unwrap();
        let found = remedies.iter().find(|remedy| remedy["on"] == on);
        let does = found.unwrap_or_else(|| panic!("{code}: nothing on {on}: {self}"));
        assert!(does["do"].as_str().unwrap().len() > 10, "{code}: {self}");
    }

    #[track_caller]
    fn work(&self, codes: &[&str]) {
        for code in codes {
            assert_ne!(self.state(code), "fails", "{code}: {self}");
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.report)
    }
}

fn here(arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = Command::new(stdbox()).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

fn examine() -> Seen {
    let (output, errors, status) = here(&["doctor"]);
    Seen::new(&output, &errors, status)
}

/// Where the script, which ends with `"$STDBOX" doctor`, has taken something away.
fn without(script: &str) -> Seen {
    let (output, errors, status) = in_namespace(script, "");
    Seen::new(&output, &errors, status)
}

const CONTAINERS: [&str; 4] = ["namespaces", "read-only", "network", "default-job"];

#[test]
fn what_works_here_is_said_to_work() {
    let seen = examine();
    seen.work(&CONTAINERS);
    seen.work(&[
        "filter",
        "disk-scratch",
        "nesting",
        "capabilities",
        "fresh-sys",
    ]);
    assert_eq!(seen.status, Some(0));
    // As a job of a caller's own finds it.
    let limited = run(&json!({"argv": ["/bin/true"], "cwd": "/", "limits": {"processes": 64}}));
    let limits = seen.state("limits") != "fails";
    assert_eq!(limits, limited.report["error"].is_null(), "{limited}{seen}");
    let many = run(&json!({"argv": ["/bin/true"], "cwd": "/", "user": {"map": "range"}}));
    let range = seen.state("id-range") != "fails";
    assert_eq!(range, many.report["error"].is_null(), "{many}{seen}");
    assert_eq!(seen.report["host"]["program"], stdbox().to_str().unwrap());
}

#[test]
fn lines_for_people_say_the_same() {
    let seen = examine();
    let (text, _, status) = here(&["doctor", "--text"]);
    assert_eq!(status, seen.status);
    for (code, finding) in seen.findings() {
        let state = finding["state"].as_str().unwrap();
        let line = format!("{state:<9} {code}: {}", finding["tried"].as_str().unwrap());
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        if state == "fails" {
            let message = finding["error"]["message"].as_str().unwrap();
            assert!(text.contains(message), "{text}");
            assert!(text.contains(finding["costs"].as_str().unwrap()), "{text}");
        }
    }
    assert!(text.ends_with("The default job runs here.\n"), "{text}");
}

#[test]
fn user_namespaces_switched_off() {
    let script = r#"echo 0 > /proc/sys/user/max_user_namespaces; "$STDBOX" doctor"#;
    // In a user namespace of its own, whose limit it may set.
    let output = Command::new("unshare")
        .args(["-Urm", "/bin/sh", "-ec", script])
        .env("STDBOX", stdbox())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let seen = Seen::new(&out, &err, output.status.code());
    for code in CONTAINERS {
        seen.fails(code, "userns-forbidden", "Kubernetes");
    }
    let error = &seen.findings()["namespaces"]["error"];
    assert_eq!(
        (&error["operation"], &error["errno_name"]),
        (&json!("clone3"), &json!("ENOSPC"))
    );
}

#[test]
fn a_covered_proc() {
    let seen = without(
        r#"mount -t tmpfs cover /proc/fs; mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; "$STDBOX" doctor"#,
    );
    let state = seen.state("default-job");
    if state == "fails" {
        seen.fails("default-job", "proc-masked", "Docker, Podman");
    } else {
        assert_eq!(state, "degraded", "{seen}");
    }
    seen.fails("nesting", "proc-masked", "Kubernetes");
}

#[test]
fn no_proc_at_all() {
    let (output, errors, status) = in_namespace(
        r#"umount -l /proc || mount -t tmpfs none /proc; "$STDBOX" doctor"#,
        "",
    );
    let seen = Seen::new(&output, &errors, status);
    seen.fails("namespaces", "proc-missing", "any");
    // Then stdbox does not know where it lies itself.
    assert!(seen.report["host"]["program"].is_null(), "{seen}");
}

#[test]
fn a_chroot_with_nothing_in_it() {
    let script = r#"mount -t tmpfs none /mnt; mkdir /mnt/proc; cp "$STDBOX" /mnt/stdbox; mount --rbind /proc /mnt/proc; chroot /mnt /stdbox doctor"#;
    let seen = without(script);
    for code in CONTAINERS {
        seen.fails(code, "chroot", "any");
    }
}

#[test]
fn a_tree_with_nothing_but_stdbox() {
    let seen = inside(&json!({"directories": {"/": "hidden"}}));
    seen.work(&[
        "namespaces",
        "read-only",
        "network",
        "filter",
        "default-job",
        "nesting",
    ]);
    // There is no such directory.
    let error = &seen.findings()["disk-scratch"]["error"];
    assert_eq!(error["code"], "no-such-directory", "{seen}");
}

#[test]
fn no_fuse_device_is_nothing_to_miss() {
    let seen = without(
        r#"if [ -e /dev/fuse ]; then mount --bind /dev/null /dev/fuse; fi; "$STDBOX" doctor"#,
    );
    seen.work(&CONTAINERS);
    seen.work(&["filter", "nesting"]);
}

/// In a container of stdbox's own, with these fields.
fn inside(fields: &Value) -> Seen {
    let stdbox = stdbox();
    let place = stdbox.parent().unwrap().to_str().unwrap();
    let job = json!({"argv": [stdbox, "doctor"], "cwd": "/", "proc": "nestable",
        "env": {"inherit": false}});
    let mut job = with(job, fields);
    job["directories"][place] = json!("read-only");
    let outer = run(&job);
    let status = outer.report["exit_code"].as_i64();
    let status = status.and_then(|code| i32::try_from(code).ok());
    Seen::new(outer.stdout(), &outer.to_string(), status)
}

/// In one whose filter denies these calls with this error.
fn denied(calls: &[&str], errno: i32) -> Seen {
    let rules = json!([{"names": calls, "action": {"errno": errno}}]);
    inside(&json!({"directories": {"/": "read-only"},
        "seccomp": {"default_action": "allow", "rules": rules}}))
}

#[test]
fn a_filter_around_it_that_denies_calls() {
    let (eperm, enosys) = (1, 38);
    let seen = denied(&["clone3"], eperm);
    seen.fails("namespaces", "userns-forbidden", "Docker, Podman");
    for (call, code) in [
        ("fsopen", "read-only"),
        ("open_tree", "read-only"),
        ("move_mount", "read-only"),
        ("mount_setattr", "read-only"),
    ] {
        let seen = denied(&[call], enosys);
        seen.fails(code, "kernel-too-old", "Docker, Podman");
        let error = &seen.findings()[code]["error"];
        assert_eq!(error["operation"], call, "{seen}");
        assert_eq!(error["errno_name"], "ENOSYS", "{seen}");
    }
    // So does a filter of Docker's for mounts, and AppArmor or SELinux around a container.
    let seen = denied(&["mount_setattr"], eperm);
    seen.fails("read-only", "mount-refused", "Docker, Podman");
    seen.fails("read-only", "mount-refused", "Fedora, RHEL");
    let seen = denied(&["socket"], eperm);
    seen.work(&["namespaces", "read-only"]);
    seen.fails("network", "network-refused", "Docker, Podman");
    // Podman's: the job has the outer name.
    let seen = denied(&["sethostname"], eperm);
    seen.work(&CONTAINERS);
    assert_eq!(seen.state("default-job"), "degraded", "{seen}");
    let seen = denied(&["seccomp"], enosys);
    seen.work(&["namespaces", "read-only", "network"]);
    assert_eq!(seen.state("filter"), "fails", "{seen}");
    assert_eq!(
        seen.findings()["filter"]["error"]["code"],
        "seccomp-refused",
        "{seen}"
    );
}

#[test]
fn ids_that_nobody_gave() {
    if root() {
        // All ids are root's to map.
        return examine().work(&["id-range"]);
    }
    let seen = without(
        r#": > /tmp/none-$$; mount --bind /tmp/none-$$ /etc/subuid; rm /tmp/none-$$; "$STDBOX" doctor"#,
    );
    assert_eq!(
        seen.findings()["id-range"]["error"]["code"],
        "no-id-range",
        "{seen}"
    );
}

#[test]
fn profile_is_for_this_file() {
    let (text, _, status) = here(&["doctor", "--apparmor-profile"]);
    assert_eq!(status, Some(0));
    let name = format!(
        "profile stdbox \"{}\" flags=(unconfined) {{",
        stdbox().display()
    );
    assert!(text.lines().any(|line| line == name), "{text}");
    assert!(text.lines().any(|line| line.trim() == "userns,"), "{text}");
    // Where Ubuntu's parser is, it takes it.
    let Ok(parser) = Command::new("apparmor_parser").arg("--version").output() else {
        return;
    };
    assert!(parser.status.success());
}

/// In a profile these would be patterns, or end the name and begin something else.
#[test]
fn profile_for_a_path_that_it_would_not_take_literally_is_refused() {
    let fresh = support::Fresh::new();
    for (name, taken) in [
        ("plain, with a space", true),
        ("a*", false),
        ("{a,b}", false),
        ("a\"", false),
        ("a\nprofile other flags=(unconfined) {\n}\n#", false),
    ] {
        let place = fresh.path().join(name);
        std::fs::create_dir(&place).unwrap();
        let program = place.join("stdbox");
        std::fs::copy(stdbox(), &program).unwrap();
        let mut command = Command::new(&program);
        let seen = command.args(["doctor", "--apparmor-profile"]).output();
        let seen = seen.unwrap();
        assert_eq!(seen.status.success(), taken, "{name:?}: {seen:?}");
        assert_eq!(seen.stdout.is_empty(), !taken, "{name:?}: {seen:?}");
        assert_eq!(seen.stderr.is_empty(), taken, "{name:?}: {seen:?}");
    }
}

#[test]
fn report_goes_where_it_is_asked_for() {
    let fresh = support::Fresh::new();
    let file = fresh.path().join("report");
    let (output, _, status) = here(&["doctor", "--report", file.to_str().unwrap()]);
    assert_eq!((output.as_str(), status), ("", Some(0)));
    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(report["ready"], true);
    let unwritable = here(&["doctor", "--report", "/no/such/place/report"]);
    assert_eq!(unwritable.2, Some(3));
    for (options, said) in [
        (
            &["doctor", "--spec", "x"] as &[&str],
            "--spec is not for doctor",
        ),
        (&["doctor", "--propagate"], "not for doctor"),
        (&["run", "--apparmor-profile"], "for doctor only"),
    ] {
        let seen = run_with(b"", options, |_| {});
        assert_eq!(seen.status, Some(2), "{options:?}: {seen}");
        assert!(seen.complaint.contains(said), "{options:?}: {seen}");
    }
}
