//! Working directories and kept descriptors that point below what the container covers.

use crate::common::{job, scripted};
use crate::support::{Fresh, Run};
use serde_json::{Value, json};

const ROOTS: [&str; 3] = ["overlay", "read-only", "full-access"];

fn secrets() -> Fresh {
    let directory = Fresh::new();
    directory.file("d/secret", "host");
    directory.file("d/sub/secret", "host");
    directory.file("beside", "host");
    directory
}

/// Runs with the caller in `d` or below it, and no cwd in the job.
fn from_inside(directory: &Fresh, at: &str, script: &str, directories: Value) -> Run {
    let mut job = job(
        script,
        &[directory.str().as_bytes()],
        &json!({"directories": directories}),
    );
    job.as_object_mut().unwrap().remove("cwd");
    scripted(
        &format!("cd '{}/{at}'; exec \"$STDBOX\"", directory.str()),
        &job,
    )
}

#[test]
fn working_directory_of_the_caller_is_the_containers_version() {
    for root in ROOTS {
        let directory = secrets();
        let d = format!("{}/d", directory.str());
        let run = from_inside(
            &directory,
            "d",
            "pwd; ls -A; cat secret 2>/dev/null; ls -A /proc/self/cwd/; echo job > new; ls",
            json!({"/": root, d.as_str(): "hidden"}),
        );
        assert_eq!(
            run.exited(0).stdout(),
            format!("{d}\nnew\n"),
            "{root}: {run}"
        );
        let run = from_inside(
            &directory,
            "d",
            "echo job > secret && cat secret; ls ../d/../d",
            json!({"/": root, d.as_str(): "overlay"}),
        );
        assert_eq!(
            run.exited(0).stdout(),
            "job\nsecret\nsub\n",
            "{root}: {run}"
        );
        let run = from_inside(
            &directory,
            "d/sub",
            "cat secret; ( echo job > secret ) 2>/dev/null || echo refused",
            json!({"/": root, d.as_str(): "read-only"}),
        );
        assert_eq!(run.exited(0).stdout(), "hostrefused\n", "{root}: {run}");
        assert_eq!(
            directory.snapshot(),
            secrets_snapshot(&directory),
            "{root}: {run}"
        );
    }
}

/// What `secrets` made, by content.
fn secrets_snapshot(directory: &Fresh) -> Vec<(std::path::PathBuf, u32, Vec<u8>)> {
    let all = directory.snapshot();
    assert_eq!(all.len(), 6, "{all:?}");
    assert!(
        all.iter()
            .all(|(_, _, content)| content.is_empty() || content == b"host"),
        "{all:?}"
    );
    all
}

#[test]
fn working_directory_of_the_caller_that_is_hidden_is_missing_with_an_explanation() {
    for root in ROOTS {
        let directory = secrets();
        let d = format!("{}/d", directory.str());
        let run = from_inside(
            &directory,
            "d/sub",
            "ls -A",
            json!({"/": root, d.as_str(): "hidden"}),
        );
        run.failed("cwd-missing", "exec");
        let error = &run.report["error"];
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("exists on the host"),
            "{run}"
        );
        assert!(error["hint"].as_str().unwrap().contains(&d), "{run}");
    }
}

/// Opens directories on descriptors 5 (for reading) and 6 (below), and passes them on.
fn with_descriptors(directory: &Fresh, fds: &Value, script: &str, directories: Value) -> Run {
    let job = job(
        script,
        &[directory.str().as_bytes()],
        &json!({"directories": directories, "fds": fds}),
    );
    scripted(
        &format!(
            "D='{}'; exec 5<\"$D/d\" 6<\"$D/d/sub\" 7<\"$D/beside\" 8<>\"$D/d/secret\"; exec \"$STDBOX\"",
            directory.str()
        ),
        &job,
    )
}

#[test]
fn kept_directory_descriptor_leads_to_the_containers_version() {
    for root in ROOTS {
        let directory = secrets();
        let d = format!("{}/d", directory.str());
        let look = "cd /proc/self/fd/5/ || exit 1; ls -A; cat secret 2>/dev/null; cat ../d/secret ../d/sub/secret 2>/dev/null; ( echo job > new ) 2>/dev/null && ls -A; ls -A /proc/self/fd/5/";
        for (mode, expected) in [
            ("hidden", "new\nnew\n"),
            (
                "overlay",
                "secret\nsub\nhosthosthostnew\nsecret\nsub\nnew\nsecret\nsub\n",
            ),
            ("read-only", "secret\nsub\nhosthosthostsecret\nsub\n"),
        ] {
            let run = with_descriptors(
                &directory,
                &json!([5]),
                look,
                json!({"/": root, d.as_str(): mode}),
            );
            assert_eq!(run.exited(0).stdout(), expected, "{root} {mode}: {run}");
            secrets_snapshot(&directory);
        }
    }
}

#[test]
fn kept_directory_descriptor_of_a_place_that_is_hidden_is_refused() {
    for root in ROOTS {
        let directory = secrets();
        let d = format!("{}/d", directory.str());
        let run = with_descriptors(
            &directory,
            &json!([5, 6]),
            "ls -A /proc/self/fd/6/",
            json!({"/": root, d.as_str(): "hidden"}),
        );
        run.failed("descriptor-unreachable", "exec");
        assert_eq!(run.report["error"]["at"], "/fds/1", "{run}");
    }
}

#[test]
fn kept_file_descriptor_is_the_file_that_was_passed() {
    let directory = secrets();
    let d = format!("{}/d", directory.str());
    let script = "cat <&7; cat <&8; ls -A /proc/self/fd | tr '\\n' ' '; ( : <&5 ) 2>/dev/null || echo closed; ( : <&6 ) 2>/dev/null || echo closed";
    let run = with_descriptors(
        &directory,
        &json!([7, 8]),
        script,
        json!({"/": "read-only", d.as_str(): "hidden"}),
    );
    assert_eq!(
        run.exited(0).stdout(),
        "hosthost0 1 2 3 7 8 closed\nclosed\n",
        "{run}"
    );
}

/// The root itself as a descriptor, and one that was removed.
#[test]
fn kept_descriptor_of_the_root_is_the_containers_root() {
    for root in ROOTS {
        let directory = secrets();
        let d = format!("{}/d", directory.str());
        let job = job(
            "cat \"/proc/self/fd/5$1/d/secret\" 2>/dev/null; ls -A \"/proc/self/fd/5$1/d\" /proc/self/fd/5/tmp; readlink /proc/self/fd/5",
            &[directory.str().as_bytes()],
            &json!({"fds": [5], "directories": {"/": root, d.as_str(): "hidden"}}),
        );
        let run = scripted("exec 5</; exec \"$STDBOX\"", &job);
        let expected = format!("/proc/self/fd/5/tmp:\n\n/proc/self/fd/5{d}:\n/\n");
        assert_eq!(run.exited(0).stdout(), expected, "{root}: {run}");
    }
}

#[test]
fn kept_descriptor_of_a_removed_directory_is_refused() {
    for root in ROOTS {
        let directory = secrets();
        let job = job(
            "ls /proc/self/fd/5/..",
            &[],
            &json!({"fds": [5], "directories": {"/": root}}),
        );
        let run = scripted(
            &format!(
                "mkdir '{0}/gone'; exec 5<'{0}/gone'; rmdir '{0}/gone'; exec \"$STDBOX\"",
                directory.str()
            ),
            &job,
        );
        run.failed("descriptor-unreachable", "exec");
    }
}

/// A directory of another mount namespace has a path that means something else here, or nothing.
#[test]
fn kept_descriptor_of_a_covered_directory_is_what_covers_it() {
    for root in ROOTS {
        let directory = secrets();
        let job = job(
            "ls -A /proc/self/fd/5/; cat /proc/self/fd/5/secret 2>/dev/null; true",
            &[],
            &json!({"fds": [5], "directories": {"/": root}}),
        );
        let script = format!(
            "D='{0}'; exec 5<\"$D/d\"; mount -t tmpfs none \"$D/d\"; echo new > \"$D/d/new\"; exec \"$STDBOX\"",
            directory.str()
        );
        let run = crate::support::run_in_namespace(&script, &job);
        assert_eq!(run.exited(0).stdout(), "new\n", "{root}: {run}");
    }
}

#[test]
fn directory_descriptor_that_is_not_named_is_closed() {
    let directory = secrets();
    let run = with_descriptors(
        &directory,
        &json!([]),
        "ls /proc/self/fd | tr '\\n' ' '",
        json!({}),
    );
    assert_eq!(run.exited(0).stdout(), "0 1 2 3 ", "{run}");
}

#[test]
fn working_directory_of_the_jobs_own_exists_where_its_mode_makes_it() {
    for root in ROOTS {
        for cwd in [
            "/",
            "/tmp",
            "/run",
            "/dev",
            "/dev/shm",
            "/proc",
            "/proc/self",
            "/sys",
            "/etc",
            "/usr/bin",
            "/bin",
            "/var/tmp",
        ] {
            let mut job = job("pwd -P", &[], &json!({"directories": {"/": root}}));
            job["cwd"] = json!(cwd);
            let run = crate::support::run(&job);
            let real = std::fs::canonicalize(cwd).unwrap();
            let seen = run.exited(0).stdout().trim();
            assert!(
                seen == real.to_str().unwrap() || cwd.starts_with("/proc/") || cwd == "/run",
                "{root} {cwd}: {run}"
            );
        }
    }
    let mut job = job("pwd; echo x > x && cat x", &[], &json!({}));
    job["cwd"] = json!("/home/user");
    assert_eq!(
        crate::support::run(&job).exited(0).stdout(),
        "/home/user\nx\n"
    );
}

#[test]
fn working_directory_that_does_not_exist_is_missing_and_not_made() {
    let directory = secrets();
    std::os::unix::fs::symlink("nowhere", directory.path().join("dangling")).unwrap();
    for root in ROOTS {
        for missing in [
            "missing",
            "missing/deeper",
            "d/missing",
            "beside",
            "beside/x",
            "dangling",
            "dangling/x",
        ] {
            let mut job = job("pwd", &[], &json!({"directories": {"/": root}}));
            job["cwd"] = json!(format!("{}/{missing}", directory.str()));
            crate::support::run(&job).failed("cwd-missing", "exec");
        }
    }
}

#[test]
fn working_directory_behind_a_link_is_entered_and_can_be_written() {
    let directory = secrets();
    std::os::unix::fs::symlink("d", directory.path().join("link")).unwrap();
    std::os::unix::fs::symlink(
        directory.path().join("link/sub"),
        directory.path().join("far"),
    )
    .unwrap();
    let before = directory.snapshot();
    for (cwd, real) in [("link", "d"), ("link/sub", "d/sub"), ("far", "d/sub")] {
        let mut job = job(
            "pwd -P; cat secret; echo job > new && echo job > secret && cat secret",
            &[],
            &json!({}),
        );
        job["cwd"] = json!(format!("{}/{cwd}", directory.str()));
        let run = crate::support::run(&job);
        assert_eq!(
            run.exited(0).stdout(),
            format!("{}/{real}\nhostjob\n", directory.str()),
            "{cwd}: {run}"
        );
        assert_eq!(directory.snapshot(), before, "{cwd}: {run}");
    }
}

/// What the caller may not enter, the job does not enter either.
#[test]
fn working_directory_without_permission_is_missing() {
    let directory = secrets();
    let mut inner = job("pwd", &[], &json!({}));
    inner["cwd"] = json!(format!("{}/d/sub", directory.str()));
    use std::os::unix::fs::PermissionsExt;
    let mode = |mode| {
        std::fs::set_permissions(
            directory.path().join("d"),
            std::fs::Permissions::from_mode(mode),
        )
        .unwrap()
    };
    mode(0);
    let run = crate::support::run(&inner);
    mode(0o755);
    // The owner can always change the bits, so a set-up with capabilities may be let in; then it is the container's version.
    assert!(
        run.report["error"]["code"] == "cwd-missing" || run.report["outcome"] == "exited",
        "{run}"
    );
}
