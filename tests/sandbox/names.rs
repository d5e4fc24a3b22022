//! Names with every byte that some parser on the way could take for something else.

use crate::common::{MODES, about, among_mounts, below, job, list, os, text};
use crate::support::{Fresh, run, run_with};
use serde_json::{Value, json};

const NAMES: [&[u8]; 24] = [
    b"plain",
    b" sp ace ",
    b"tab\there",
    b"new\nline\n",
    b"com,ma",
    b"co:lon",
    b"back\\slash\\",
    b"\\040",
    b"\\",
    b"dou\"ble",
    b"sin'gle",
    b"-dash",
    b"--",
    b"invalid\xff\xfeutf8\xc3",
    b"per%20cent%",
    b"equals=x,upperdir=y",
    b"gl*ob?[a-z]{x,y}$HOME`id`;#&|<>()!~",
    b"x (deleted)",
    b"x",
    b"...",
    b"..x",
    b".hidden",
    b"\x01\x1b\x7f",
    "ünïcödé".as_bytes(),
];

/// A fresh directory with one directory for each name, holding a file.
fn tree() -> Fresh {
    let directory = Fresh::new();
    for name in NAMES {
        let path = os(&below(&directory, name)).to_owned();
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("file"), "host").unwrap();
    }
    directory
}

/// Paths of all, as arguments.
fn paths(directory: &Fresh) -> Vec<Vec<u8>> {
    NAMES.iter().map(|name| below(directory, name)).collect()
}

fn named(paths: &[Vec<u8>], mode: &str) -> Value {
    list(
        &paths
            .iter()
            .map(|path| (path.as_slice(), mode))
            .collect::<Vec<_>>(),
    )
}

/// Says for each argument, by number, whether its file can be read and written, and a new one made.
const LOOK: &str = r#"i=0; for d; do
    r=no; [ "$(cat "$d/file" 2>/dev/null)" = host ] && r=yes
    w=no; ( echo job > "$d/new" ) 2>/dev/null && w=yes
    m=no; ( mv "$d/file" "$d/moved" ) 2>/dev/null && w=$w m=yes
    echo "$i $r $w $m"; i=$((i+1)); done"#;

fn expected(mode: &str) -> String {
    let words = match mode {
        "hidden" => "no yes no",
        "read-only" => "yes no no",
        _ => "yes yes yes",
    };
    (0..NAMES.len()).map(|i| format!("{i} {words}\n")).collect()
}

#[test]
fn names_of_any_bytes_as_named_directories_have_their_mode() {
    for root in ["overlay", "read-only"] {
        for mode in MODES {
            let directory = tree();
            let before = directory.snapshot();
            let paths = paths(&directory);
            let mut directories = named(&paths, mode);
            directories
                .as_array_mut()
                .unwrap()
                .push(json!({"path": "/", "mode": root}));
            let arguments: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
            let run = run(&job(LOOK, &arguments, &json!({"directories": directories})));
            assert_eq!(
                run.exited(0).stdout(),
                expected(mode),
                "{mode} below {root}: {run}"
            );
            assert_eq!(
                directory.snapshot() == before,
                mode != "full-access",
                "{mode}: {run}"
            );
        }
    }
}

#[test]
fn names_of_any_bytes_nested_in_another_mode_have_their_own() {
    for (outer, mode) in [
        ("hidden", "overlay"),
        ("hidden", "read-only"),
        ("overlay", "full-access"),
        ("read-only", "hidden"),
    ] {
        let directory = tree();
        let paths = paths(&directory);
        let mut directories = named(&paths, mode);
        directories
            .as_array_mut()
            .unwrap()
            .push(json!({"path": directory.str(), "mode": outer}));
        let arguments: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        let run = run(&job(LOOK, &arguments, &json!({"directories": directories})));
        assert_eq!(
            run.exited(0).stdout(),
            expected(mode),
            "{mode} in {outer}: {run}"
        );
    }
}

/// A memory file system at every name, with a file.
const MOUNT_ALL: &str = r#"find "$D" -mindepth 1 -maxdepth 1 -exec sh -ec 'for d; do mount -t tmpfs none "$d"; echo host > "$d/file"; done' sh {} +"#;

#[test]
fn names_of_any_bytes_as_mount_points_follow_the_mode_above() {
    for mode in ["read-only", "overlay", "full-access"] {
        let directory = tree();
        let paths = paths(&directory);
        let arguments: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        let fields = json!({"directories": {directory.str(): mode}});
        let mounted = among_mounts(&directory, MOUNT_ALL, &job(LOOK, &arguments, &fields));
        assert_eq!(
            mounted.run.exited(0).stdout(),
            expected(mode),
            "{mode}: {}",
            mounted.run
        );
        assert_eq!(
            mounted.before == mounted.after,
            mode != "full-access",
            "{mode}: {}",
            mounted.run
        );
        assert!(
            about(&mounted.run, "degraded", &directory).is_empty()
                && mounted.run.warnings().is_empty(),
            "{}",
            mounted.run
        );
    }
}

#[test]
fn names_of_any_bytes_as_named_mount_points_have_their_mode() {
    for mode in MODES {
        let directory = tree();
        let paths = paths(&directory);
        let arguments: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        let fields = json!({"directories": named(&paths, mode)});
        let mounted = among_mounts(&directory, MOUNT_ALL, &job(LOOK, &arguments, &fields));
        assert_eq!(
            mounted.run.exited(0).stdout(),
            expected(mode),
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

#[test]
fn names_of_any_bytes_above_a_mount_point_are_split() {
    let directory = tree();
    let paths = paths(&directory);
    let arguments: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    let setup = r#"find "$D" -mindepth 1 -maxdepth 1 -exec sh -ec 'for d; do mkdir "$d/m"; mount -t tmpfs none "$d/m"; ln -s "$d/file" "$d/link"; mkfifo "$d/fifo"; done' sh {} +"#;
    let mounted = among_mounts(&directory, setup, &job(LOOK, &arguments, &json!({})));
    assert_eq!(
        mounted.unchanged().run.exited(0).stdout(),
        expected("overlay"),
        "{}",
        mounted.run
    );
}

#[test]
fn names_of_any_bytes_as_plain_entries_beside_a_mount_point_are_copied() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    for name in NAMES {
        std::fs::write(os(&below(&directory, name)), "host").unwrap();
        std::os::unix::fs::symlink(
            os(name),
            os(&below(&directory, &[b"l".as_slice(), name].concat())),
        )
        .unwrap();
    }
    let links: Vec<Vec<u8>> = NAMES
        .iter()
        .map(|name| below(&directory, &[b"l".as_slice(), name].concat()))
        .collect();
    let arguments: Vec<&[u8]> = links.iter().map(Vec::as_slice).collect();
    let script = r#"for f; do [ -L "$f" ] && [ "$(cat "$f")" = host ] && echo job >> "$f" && echo yes; done"#;
    let mounted = among_mounts(
        &directory,
        "mount -t tmpfs none \"$D/m\"",
        &job(script, &arguments, &json!({})),
    );
    assert_eq!(
        mounted.unchanged().run.exited(0).stdout(),
        "yes\n".repeat(NAMES.len()),
        "{}",
        mounted.run
    );
}

#[test]
fn names_of_any_bytes_as_working_directory_are_entered() {
    let directory = tree();
    for (i, name) in NAMES.iter().enumerate() {
        let path = below(&directory, name);
        for root in if i % 2 == 0 {
            ["overlay", "read-only"]
        } else {
            ["full-access", "overlay"]
        } {
            let mut job = job(
                "[ \"$(pwd -P; echo x)\" = \"$1\nx\" ] && cat file",
                &[&path],
                &json!({"directories": {"/": root}}),
            );
            job["cwd"] = text(&path);
            let given = run(&job);
            assert_eq!(
                given.exited(0).stdout(),
                "host",
                "{name:?} as cwd, {root}: {given}"
            );
            job.as_object_mut().unwrap().remove("cwd");
            let callers = run_with(job.to_string().as_bytes(), &[], |command| {
                command.current_dir(os(&path));
            });
            assert_eq!(
                callers.exited(0).stdout(),
                "host",
                "{name:?} as the caller's cwd, {root}: {callers}"
            );
        }
    }
}

#[test]
fn names_of_any_bytes_in_commands_and_streams_are_taken_literally() {
    let directory = tree();
    for name in NAMES {
        let path = below(&directory, name);
        std::fs::copy("/bin/cat", os(&path).join("cat")).unwrap();
        let file = |end: &[u8]| text(&[path.as_slice(), end].concat());
        let run = run(&json!({
            "argv": [file(b"/cat")], "cwd": "/", "stdin": {"file": file(b"/file")}, "stdout": {"file": file(b"/out")}
        }));
        run.exited(0);
        assert_eq!(
            std::fs::read(os(&path).join("out")).unwrap(),
            b"host",
            "{name:?}: {run}"
        );
    }
}

#[test]
fn names_of_any_bytes_of_disk_scratches_work_and_nothing_stays() {
    let directory = tree();
    let before = directory.snapshot();
    for name in NAMES {
        let path = below(&directory, name);
        let fields = json!({"scratch": {"directory": text(&path)}});
        let run = run(&job(
            "cd \"$1\" && ls -A && cat file && echo job > file && cat file",
            &[&path],
            &fields,
        ));
        assert_eq!(run.exited(0).stdout(), "file\nhostjob\n", "{name:?}: {run}");
    }
    assert_eq!(directory.snapshot(), before);
}
