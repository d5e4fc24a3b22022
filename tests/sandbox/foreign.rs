//! Files and directories of others in an overlay, where one id is mapped: what cannot be copied up (EOVERFLOW), and what works.

use crate::support::{Fresh, Run, root, run_with, shell, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Somebody else's id.
const OTHER: u32 = 1;

/// A job whose caller has these variables.
fn with_environment(script: &str, environment: &[(&str, &Path)], fields: &Value) -> Run {
    let mut job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"});
    job.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    run_with(job.to_string().as_bytes(), &[], |command| {
        command.env_remove("HOME").env_remove("TMPDIR");
        command.envs(environment.iter().copied());
    })
}

fn make(path: PathBuf, owner: Option<u32>, mode: u32) -> PathBuf {
    fs::create_dir(&path).unwrap();
    chown(&path, owner, owner).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// What a program does with its temporary files.
const USE: &str = "stat -c %a . && echo one > new && mkdir dir && echo two > dir/file && mv new dir/moved && cat dir/moved dir/file && rm -r dir && echo done";

/// /var/tmp is root's everywhere: for an ordinary caller it is somebody else's.
#[test]
fn temporary_directory_of_the_system_takes_new_files() {
    let mode = fs::metadata("/var/tmp").unwrap().mode() & 0o7777;
    let name = format!("/var/tmp/stdbox-foreign-{}", std::process::id());
    let script = format!("cd /var/tmp; {USE}; echo x > {name}; mkdir {name}-d");
    let seen = shell(&script, json!({}));
    let expected = format!("{mode:o}\none\ntwo\ndone\n");
    assert_eq!(
        (seen.exited(0).stdout(), seen.stderr()),
        (expected.as_str(), ""),
        "{seen}"
    );
    assert!(!Path::new(&name).exists() && !Path::new(&format!("{name}-d")).exists());
}

/// A directory of somebody else's, writable for all, with a file of theirs.
fn of_others(scene: &Fresh) -> PathBuf {
    let path = make(scene.path().join("theirs"), Some(OTHER), 0o1777);
    let file = path.join("file");
    fs::write(&file, "theirs\n").unwrap();
    chown(&file, Some(OTHER), Some(OTHER)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    path
}

#[test]
fn temporary_directory_of_the_environment_takes_new_files() {
    if !root() {
        return skip(
            "root",
            "an ordinary user cannot make another user's directory",
        );
    }
    let scene = Fresh::new();
    let theirs = of_others(&scene);
    let link = scene.path().join("link");
    std::os::unix::fs::symlink(&theirs, &link).unwrap();
    let before = scene.snapshot();
    let script = format!(
        "cd {}; cat file && {USE} && rm file && ls",
        theirs.display()
    );
    let set = json!({"env": {"set": {"TMPDIR": theirs}}});
    let elsewhere = Path::new("/tmp");
    for (variable, fields) in [
        (theirs.as_path(), &json!({})),
        (&link, &json!({})),
        (elsewhere, &set),
        // The way out for any other directory is its name.
        (
            elsewhere,
            &json!({"directories": {theirs.to_str().unwrap(): "overlay"}}),
        ),
    ] {
        let seen = with_environment(&script, &[("TMPDIR", variable)], fields);
        assert_eq!(
            (seen.exited(0).stdout(), seen.stderr()),
            ("theirs\n1777\none\ntwo\ndone\n", ""),
            "{variable:?} {fields}\n{seen}"
        );
        assert_eq!(scene.snapshot(), before, "the host is as it was");
    }
}

#[test]
fn directory_of_others_on_the_way_home_takes_changes_of_what_is_below() {
    if !root() {
        return skip(
            "root",
            "an ordinary user cannot make another user's directory",
        );
    }
    let scene = Fresh::new();
    let homes = make(scene.path().join("homes"), Some(OTHER), 0o755);
    let own = make(homes.join("own"), None, 0o700);
    fs::write(own.join("file"), "mine\n").unwrap();
    let before = scene.snapshot();
    let script = format!(
        "cd {}; echo more >> file && cat file && {USE}",
        own.display()
    );
    let seen = with_environment(&script, &[("HOME", &own)], &json!({}));
    assert_eq!(
        (seen.exited(0).stdout(), seen.stderr()),
        ("mine\nmore\n700\none\ntwo\ndone\n", ""),
        "{seen}"
    );
    assert_eq!(scene.snapshot(), before, "the host is as it was");
    // Hidden, read-only or not there: nothing is made then.
    for home in [
        own.as_path(),
        Path::new("/no/such/home"),
        Path::new("relative"),
        Path::new("/"),
    ] {
        for mode in ["hidden", "read-only"] {
            let fields = json!({"directories": {homes.to_str().unwrap(): mode}});
            with_environment("true", &[("HOME", home), ("TMPDIR", home)], &fields).exited(0);
        }
    }
    assert_eq!(scene.snapshot(), before, "the host is as it was");
}

/// What is left: the README says it, and what to do. A kernel that can do it one day will fail this test.
#[test]
fn file_of_others_cannot_be_copied_up_with_one_id() {
    if !root() {
        return skip("root", "an ordinary user cannot make another user's file");
    }
    let scene = Fresh::new();
    let theirs = of_others(&scene);
    let path = theirs.display();
    let script = format!(
        "cd {path}; for try in 'echo more >> file' 'touch new' 'mkdir new'; do (eval \"$try\") 2>&1 && echo \"worked: $try\"; done; cat file"
    );
    let seen = with_environment(&script, &[], &json!({}));
    let text = seen.exited(0).stdout();
    assert_eq!(text.matches("Value too large").count(), 3, "{seen}");
    assert!(
        text.ends_with("theirs\n") && !text.contains("worked"),
        "{seen}"
    );
    // Where new files can be made, a copy takes its place.
    let script = format!(
        "cd {path}; cp file copy && rm file && mv copy file && echo more >> file && cat file"
    );
    let seen = with_environment(&script, &[("TMPDIR", &theirs)], &json!({}));
    assert_eq!(seen.exited(0).stdout(), "theirs\nmore\n", "{seen}");
}
