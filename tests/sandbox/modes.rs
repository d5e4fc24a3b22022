//! Every mode × kind of place × operation.

use crate::common::{MODES, SNAP, among_mounts, job, lines, shell, snap};
use crate::support::{Fresh, Run, run};
use serde_json::json;

/// Makes what the operations work on, in the working directory.
const FIXTURE: &str = r#"
for f in read append truncate replace chmod touch delete file over1 over2 swap link; do echo host > $f; done
for d in tree dir swap2 emptied; do mkdir $d; echo host > $d/inner; done
mkdir -p tree/deep/deeper empty; echo host > tree/deep/deeper/file; chmod 750 tree; chmod 1777 emptied
ln -s read symlink
"#;

/// Tries the operations in the working directory; each works on files of its own.
const OPERATIONS: &str = r#"
t() { if ( eval "$2" ) 2>/dev/null; then echo "$1 yes"; else echo "$1 no"; fi; }
t read '[ "$(cat read)" = host ] && [ "$(cat symlink)" = host ]'
t create 'echo job > created && [ "$(cat created)" = job ]'
t mkdir 'mkdir made && echo job > made/file && [ "$(cat made/file)" = job ]'
t symlink 'ln -s read made-link && [ "$(readlink made-link)" = read ]'
t fifo 'mkfifo made-fifo && [ -p made-fifo ]'
t append 'echo job >> append && [ "$(cat append)" = "host
job" ]'
t truncate '[ -s truncate ] && true > truncate && [ ! -s truncate ]'
t replace '[ -s replace ] && echo job > replace.new && mv replace.new replace && [ "$(cat replace)" = job ]'
t chmod 'chmod 600 chmod && [ "$(stat -c %a chmod)" = 600 ]'
t chmod-dir 'chmod 700 empty && [ "$(stat -c %a empty)" = 700 ]'
t touch 'touch -c -d 2001-01-01T00:00:00Z touch && [ "$(stat -c %Y touch)" = 978307200 ]'
t delete 'rm delete && [ ! -e delete ] && ! ls | grep -qx delete'
t recreate 'rm -r tree && [ ! -e tree ] && mkdir tree && [ -z "$(ls -A tree)" ] && echo job > tree/new && [ "$(ls -A tree)" = new ]'
t empty-out 'rm emptied/inner && [ -z "$(ls -A emptied)" ] && rmdir emptied && [ ! -e emptied ]'
t rename 'mv file file2 && [ "$(cat file2)" = host ] && [ ! -e file ]'
t rename-over 'mv over1 over2 && [ ! -e over1 ] && [ "$(cat over2)" = host ]'
t rename-dir 'mv dir dir2 && [ "$(cat dir2/inner)" = host ] && [ ! -e dir ]'
t file-by-dir 'rm swap && mkdir swap && echo job > swap/file && [ "$(ls swap)" = file ]'
t dir-by-file 'rm -r swap2 && echo job > swap2 && [ "$(cat swap2)" = job ]'
t link 'ln link linked && echo job > linked && [ "$(cat link)" = job ]'
t mmap 'cp read copied && [ "$(cat copied)" = host ]'
find . -printf 'tree %P|%y|%m|%l\n' | LC_ALL=C sort
find . -type f | LC_ALL=C sort | xargs md5sum
"#;

/// What of it works in an empty directory.
const FROM_NOTHING: [&str; 4] = ["create", "mkdir", "symlink", "fifo"];

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// The named directory itself.
    Itself,
    /// A directory far below the named one.
    Nested,
    /// A memory file system mounted below the named directory.
    Submount,
    /// A mount of another directory, two levels below the named one.
    Bind,
    /// A mount below a mount.
    MountOnMount,
    /// The named directory is the mount point itself.
    NamedMount,
}

impl Place {
    /// Where the operations are done, the named directory, and the mounts.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Itself => ("d", "d", ""),
            Self::Nested => ("d/a/b c/e", "d", ""),
            Self::Submount => ("d/m", "d", "mount -t tmpfs -o mode=755 none \"$D/d/m\""),
            Self::Bind => (
                "d/a/m",
                "d",
                "mkdir \"$D/other\"; mount --bind \"$D/other\" \"$D/d/a/m\"",
            ),
            Self::MountOnMount => (
                "d/m/n/o",
                "d",
                "mount -t tmpfs none \"$D/d/m\"; mkdir -p \"$D/d/m/n\"; mount -t tmpfs -o mode=700 none \"$D/d/m/n\"; mkdir \"$D/d/m/n/o\"",
            ),
            Self::NamedMount => ("d/m", "d/m", "mount -t tmpfs none \"$D/d/m\""),
        }
    }
}

/// What the script prints where it runs on the host itself.
fn native(place: Place) -> &'static str {
    static OUTPUT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    OUTPUT.get_or_init(|| run_natively(place))
}

fn run_natively(place: Place) -> String {
    let copy = Fresh::new();
    let (work, ..) = place.parts();
    let script = format!(
        "mkdir -p '{0}/{work}'; cd '{0}/{work}'; {FIXTURE} {OPERATIONS}",
        copy.str()
    );
    let (output, errors, status) = shell(&script, "");
    assert_eq!(
        (status, errors.as_str()),
        (Some(0), ""),
        "the operations work on the host itself: {output}"
    );
    assert!(
        !output.contains(" no\n"),
        "every operation works on the host itself: {output}"
    );
    output
}

fn verdicts(output: &str) -> Vec<&str> {
    lines(output)
        .into_iter()
        .filter(|line| line.ends_with(" yes") || line.ends_with(" no"))
        .collect()
}

/// What belongs to the tree itself: the bits of a mount point's root may differ from a plain directory's.
fn tree(output: &str) -> Vec<&str> {
    output
        .lines()
        .filter(|line| {
            (line.starts_with("tree ") && !line.starts_with("tree |")) || line.contains("  ./")
        })
        .collect()
}

fn check(mode: &str, place: Place, root: &str) {
    let directory = Fresh::new();
    let (work, named, mounts) = place.parts();
    std::fs::create_dir_all(directory.path().join("d")).unwrap();
    if place != Place::Itself {
        std::fs::create_dir_all(directory.path().join("d/a/m")).unwrap();
        std::fs::create_dir_all(directory.path().join("d/m")).unwrap();
        directory.file("d/a/beside", "host");
        directory.file("d/beside", "host");
    }
    let setup = format!("{mounts}\nmkdir -p \"$D/{work}\"; cd \"$D/{work}\"; {FIXTURE} cd /");
    let named = format!("{}/{named}", directory.str());
    let script = format!("cd \"$1\" 2>/dev/null || {{ echo unreachable; exit 0; }}\n{OPERATIONS}");
    let work = format!("{}/{work}", directory.str());
    let job = job(
        &script,
        &[work.as_bytes()],
        &json!({"directories": {"/": root, named.as_str(): mode}}),
    );
    let mounted = if mounts.is_empty() {
        let (_, errors, status) = shell(&format!("D='{}'; {setup}", directory.str()), "");
        assert_eq!(status, Some(0), "{errors}");
        let before = snap(directory.str());
        let run = run(&job);
        crate::common::Mounted {
            run,
            before,
            after: snap(directory.str()),
        }
    } else {
        among_mounts(&directory, &setup, &job)
    };
    let run = mounted.run.exited(0);
    if mode != "full-access" {
        mounted.unchanged();
    }
    judge(mode, place, named == work, run);
    if mode == "full-access" {
        assert_ne!(
            mounted.before, mounted.after,
            "the writes reach the host: {run}"
        );
        for reached in [
            "created|f|",
            "made/file|f|",
            "swap/file|f|",
            "dir2/inner|f|",
        ] {
            assert!(
                mounted.after.contains(reached),
                "{reached} reaches the host: {}\n{run}",
                mounted.after
            );
        }
        assert!(
            !mounted.after.contains("/delete|f|"),
            "{}\n{run}",
            mounted.after
        );
    }
}

fn judge(mode: &str, place: Place, itself: bool, run: &Run) {
    let native = native(place);
    let names: Vec<&str> = verdicts(native)
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let expect = |works: &dyn Fn(&str) -> bool| -> Vec<String> {
        names
            .iter()
            .map(|name| format!("{name} {}", if works(name) { "yes" } else { "no" }))
            .collect()
    };
    match mode {
        "hidden" if itself => {
            assert_eq!(
                verdicts(run.stdout()),
                expect(&|name| FROM_NOTHING.contains(&name)),
                "{run}"
            );
        }
        "hidden" => assert_eq!(run.stdout(), "unreachable\n", "{run}"),
        "read-only" => {
            assert_eq!(
                verdicts(run.stdout()),
                expect(&|name| name == "read"),
                "{run}"
            );
        }
        _ => {
            assert_eq!(verdicts(run.stdout()), expect(&|_| true), "{run}");
            assert_eq!(
                tree(run.stdout()),
                tree(native),
                "inside looks as it would outside: {run}"
            );
        }
    }
}

macro_rules! matrix {
    ($($name:ident: $place:ident,)*) => {$(
        mod $name {
            use super::{Place, check};
            #[test]
            fn hidden_every_operation_sees_an_empty_directory() {
                check("hidden", Place::$place, "overlay");
                check("hidden", Place::$place, "read-only");
            }
            #[test]
            fn read_only_every_operation_but_reading_is_refused() {
                check("read-only", Place::$place, "overlay");
                check("read-only", Place::$place, "full-access");
            }
            #[test]
            fn overlay_every_operation_works_and_the_host_stays() {
                check("overlay", Place::$place, "overlay");
                check("overlay", Place::$place, "read-only");
                check("overlay", Place::$place, "full-access");
            }
            #[test]
            fn full_access_every_operation_reaches_the_host() {
                check("full-access", Place::$place, "overlay");
                check("full-access", Place::$place, "read-only");
            }
        }
    )*};
}

matrix! {
    itself: Itself,
    nested: Nested,
    submount: Submount,
    bind: Bind,
    mount_on_mount: MountOnMount,
    named_mount: NamedMount,
}

/// Makes `f` in the three directories that a job names by their modes, in all 64 ways.
fn combinations() -> Vec<[&'static str; 3]> {
    let mut all = Vec::new();
    for a in MODES {
        for b in MODES {
            all.extend(MODES.map(|c| [a, b, c]));
        }
    }
    all
}

/// All 64 nestings of modes in one job, with and without mounts at the middle level.
fn three_deep(root: &str, mounted: bool) {
    let directory = Fresh::new();
    let all = combinations();
    let mut directories = json!({"/": root});
    for (i, modes) in all.iter().enumerate() {
        for (place, mode) in ["", "/b", "/b/c"].iter().zip(modes) {
            directories[format!("{}/{i}{place}", directory.str())] = json!(mode);
        }
        std::fs::create_dir_all(directory.path().join(format!("{i}/b"))).unwrap();
    }
    let mount = if mounted {
        "mount -t tmpfs none \"$d/b\";"
    } else {
        ""
    };
    let setup = format!(
        "for d in \"$D\"/*; do {mount} mkdir -p \"$d/b/c\"; for f in \"$d\" \"$d/b\" \"$d/b/c\"; do echo host > \"$f/f\"; done; done"
    );
    let script = r#"cd "$1" && for d in *; do for p in $d $d/b $d/b/c; do
        r=no; [ "$(cat $p/f 2>/dev/null)" = host ] && r=yes
        w=no; ( echo job > $p/new ) 2>/dev/null && [ "$(cat $p/new)" = job ] && w=yes
        echo $p $r $w; done; done"#;
    let job = job(
        script,
        &[directory.str().as_bytes()],
        &json!({"directories": directories}),
    );
    let result = among_mounts(&directory, &setup, &job);
    let run = result.run.exited(0);
    for (i, modes) in all.iter().enumerate() {
        for (place, mode) in ["", "/b", "/b/c"].iter().zip(modes) {
            let yes = |is| if is { "yes" } else { "no" };
            let line = format!(
                "{i}{place} {} {}",
                yes(*mode != "hidden"),
                yes(*mode != "read-only")
            );
            assert!(
                run.stdout().lines().any(|seen| seen == line),
                "{modes:?} {line:?} in {run}"
            );
            let reached = result
                .after
                .lines()
                .any(|line| line.starts_with(&format!("{i}{place}/new|f")));
            assert_eq!(reached, *mode == "full-access", "{modes:?} {place:?} {run}");
        }
    }
}

#[test]
fn modes_three_deep_below_each_root_are_what_was_named() {
    for root in ["overlay", "read-only", "full-access"] {
        three_deep(root, false);
    }
}

#[test]
fn modes_three_deep_with_mounts_below_each_root_are_what_was_named() {
    for root in ["overlay", "read-only", "full-access"] {
        three_deep(root, true);
    }
}

#[test]
fn mode_of_prefix_name_does_not_reach_its_neighbour() {
    let directory = Fresh::new();
    for name in ["foo", "foobar", "foo-x", "foo.d"] {
        directory.file(&format!("{name}/f"), "host");
    }
    let foo = format!("{}/foo/./", directory.str());
    let run = run(&job(
        "cd \"$1\"; ls -A foo; cat foobar/f foo-x/f foo.d/f",
        &[directory.str().as_bytes()],
        &json!({"directories": {foo: "hidden"}}),
    ));
    assert_eq!(run.exited(0).stdout(), "hosthosthost", "{run}");
}

#[test]
fn overlay_of_special_bits_keeps_them() {
    let directory = Fresh::new();
    let script = format!(
        "{SNAP} cd '{}'; mkdir sticky private open; chmod 1777 sticky; chmod 700 private; chmod 757 open",
        directory.str()
    );
    assert_eq!(shell(&script, "").2, Some(0));
    for setup in [
        "",
        "mount -t tmpfs -o mode=1777 none \"$D/open\"; mkdir \"$D/sticky/m\"; mount -t tmpfs -o mode=711 none \"$D/sticky/m\"",
    ] {
        let fields = json!({"directories": {directory.str(): "overlay"}});
        let script = "cd \"$1\"; stat -c '%n %a' sticky private open sticky/m 2>/dev/null; touch sticky/x private/x open/x; stat -c '%n %a' sticky private open; true";
        let mounted = among_mounts(
            &directory,
            setup,
            &job(script, &[directory.str().as_bytes()], &fields),
        );
        let open = if setup.is_empty() { "757" } else { "1777" };
        let expected = format!("sticky 1777\nprivate 700\nopen {open}\n");
        let below = if setup.is_empty() {
            ""
        } else {
            "sticky/m 711\n"
        };
        assert_eq!(
            mounted.unchanged().run.exited(0).stdout(),
            format!("{expected}{below}{expected}"),
            "{}",
            mounted.run
        );
    }
}
