//! An accomplice on the host, of the same user, who swaps what the job names while stdbox makes its mounts.
//!
//! A directory or file for a symbolic link, since the one thing that stdbox must not do is follow it. Whoever renames the
//! secret directory itself to a visible name has published it; no container is needed for that.

use crate::common::{answer, probe_job};
use crate::supervisor::Watched;
use crate::support::outside::PATIENCE;
use crate::support::{Fresh, Run, in_namespace, probe};
use nix::libc;
use serde_json::{Value, json};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const TOKEN: &str = "hidden-content";
const SWAPS: u64 = 25_000;

/// What a killed run left in the scratch place is removed by the next one, and opened up for that. The accomplice, another job to
/// which the place was opened, puts a link there when it is just to be opened up.
///
/// Shows that the bits of what the link leads to stay: AT_SYMLINK_NOFOLLOW in fchmodat(2).
#[test]
fn race_of_a_link_with_the_removal_of_a_scratch_directory_opens_nothing_up() {
    const FCHMODAT2: libc::c_long = 452;
    let scene = Fresh::new();
    let place = scene.path().join("place");
    let left = place.join(format!(".stdbox-{}-1-1", nix::unistd::geteuid()));
    fs::create_dir_all(left.join("one/inner")).unwrap();
    let own = scene.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o550)).unwrap();
    let job = json!({"argv": ["true"], "cwd": "/", "scratch": {"directory": place}});
    let spec = scene.file("job", &job.to_string());
    let calls = [libc::SYS_fchmodat, FCHMODAT2];
    let watched = Watched::asking(spec.to_str().unwrap(), &calls);
    let mut swapped = false;
    while let Some(notice) = watched.next(PATIENCE) {
        if !std::mem::replace(&mut swapped, true) {
            fs::rename(left.join("one"), left.join("other")).unwrap();
            symlink(&own, left.join("one")).unwrap();
        }
        watched.answer(&notice, None);
    }
    watched.finish(PATIENCE).exited(0);
    assert!(swapped, "nothing was opened up");
    let mode = fs::metadata(&own).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o550);
}

/// Swaps every pair of paths, again and again, until told to stop; at the end everything has its own name again.
struct Racer {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Racer {
    fn new(directory: &Path, names: &[&str]) -> Self {
        let path = |name: &str| CString::new(directory.join(name).as_os_str().as_bytes()).unwrap();
        let pairs: Vec<[CString; 2]> = names
            .iter()
            .map(|name| [path(name), path(&format!("{name}.link"))])
            .collect();
        let (stop, swaps) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, count) = (stop.clone(), swaps.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) || count.load(Ordering::Relaxed) % 2 == 1 {
                for [a, b] in &pairs {
                    // SAFETY: both paths end in NUL. RENAME_EXCHANGE is 2.
                    let result = unsafe {
                        nix::libc::syscall(
                            nix::libc::SYS_renameat2,
                            nix::libc::AT_FDCWD,
                            a.as_ptr(),
                            nix::libc::AT_FDCWD,
                            b.as_ptr(),
                            2,
                        )
                    };
                    assert_eq!(result, 0, "{a:?}: {}", std::io::Error::last_os_error());
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            stop,
            swaps,
            thread,
        }
    }

    /// Swaps until now, of all pairs together.
    fn rounds(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// What is swapped: each has `f`, and each link leads to the secret or to what must not be written.
const RACED: [&str; 8] = [
    "named", "parent", "split", "file", "large", "guarded", "way", "stand",
];

fn scene() -> Fresh {
    let scene = Fresh::new();
    for place in ["secret", "guard"] {
        let text = if place == "secret" { TOKEN } else { "guarded" };
        for name in ["f", "sub/f", "inner/f", "inner/sub/f", "m/f"] {
            scene.file(&format!("{place}/{name}"), text);
        }
    }
    scene.file("guard/large", &"guarded".repeat(200_000));
    scene.file("secret/large", &TOKEN.repeat(100_000));
    for name in [
        "named/f",
        "named/sub/f",
        "parent/inner/f",
        "split/m/f",
        "guarded/f",
        "guarded/sub/f",
        "way/inner/f",
        "stand/f",
        "split/beside/f",
    ] {
        scene.file(name, "own");
    }
    scene.file("file", "own");
    // Above the size up to which a file beside a mount point is copied.
    scene.file("large", &"own".repeat(500_000));
    for name in RACED {
        let to = match name {
            "file" => "secret/f",
            "large" => "secret/large",
            "guarded" | "way" => "guard",
            _ => "secret",
        };
        std::os::unix::fs::symlink(to, scene.path().join(format!("{name}.link"))).unwrap();
    }
    scene
}

/// The jobs for one mode of `/`: each names one of the swapped places in one mode.
fn jobs(scene: &Fresh, root: &str) -> Vec<Value> {
    let d = scene.str();
    let mut jobs = Vec::new();
    let modes = ["hidden", "read-only", "overlay", "full-access"];
    for (name, looked) in [
        ("named", "named"),
        ("parent/inner", "parent"),
        ("guarded", "guarded"),
        ("way/inner", "way"),
        ("split", "split"),
        ("stand", "stand"),
        ("", ""),
    ] {
        for mode in modes {
            let mut directories = json!({"/": root, d: "overlay"});
            if root == "hidden" {
                directories[probe().parent().unwrap().to_str().unwrap()] = json!("read-only");
            }
            for (path, mode) in [("secret", "hidden"), ("guard", "read-only")] {
                directories[format!("{d}/{path}")] = json!(mode);
            }
            if name.is_empty() {
                // What is met on the way: in an overlay, split because of the mount, or where the tree is used in place.
                directories[d] = json!(mode);
            } else {
                directories[format!("{d}/{name}")] = json!(mode);
            }
            if mode == "full-access" && name.is_empty() {
                // What may be written there may be written.
                continue;
            }
            let mut places: Vec<String> = RACED
                .iter()
                .flat_map(|raced| [format!("{d}/{raced}"), format!("{d}/{raced}.link")])
                .collect();
            places.extend(["secret", "guard"].map(|place| format!("{d}/{place}")));
            let words: Vec<&str> = ["race", TOKEN]
                .into_iter()
                .chain(places.iter().map(String::as_str))
                .collect();
            let mut fields = json!({"directories": directories});
            if looked == "stand" {
                fields["cwd"] = json!(format!("{d}/stand"));
            }
            jobs.push(probe_job(&words, &fields));
        }
    }
    jobs
}

/// Runs the jobs again and again among the swaps, in a namespace where something is mounted on one of the places.
fn race(root: &str) {
    let (scene, control) = (scene(), Fresh::new());
    let protected = |scene: &Fresh| {
        let all = scene.snapshot().into_iter();
        let mine = all.filter(|(path, ..)| {
            ["secret", "guard"]
                .iter()
                .any(|name| path.starts_with(scene.path().join(name)))
        });
        mine.collect::<Vec<_>>()
    };
    let before = protected(&scene);
    let jobs = jobs(&scene, root);
    for (i, job) in jobs.iter().enumerate() {
        control.file(&format!("jobs/{i}"), &job.to_string());
    }
    let script = format!(
        r#"D='{}'; cd '{}'; mkdir reports; mount -t tmpfs none "$D/split/m"; touch mounted
        i=0; while ! [ -e stop ]; do for job in jobs/*; do i=$((i+1)); "$STDBOX" < $job > reports/$i || true; done; done"#,
        scene.str(),
        control.str()
    );
    let loops = std::thread::spawn(move || in_namespace(&script, ""));
    while !control.path().join("mounted").exists() && !loops.is_finished() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let racer = Racer::new(scene.path(), &RACED);
    let started = || std::fs::read_dir(control.path().join("reports")).map_or(0, Iterator::count);
    while (started() < 4 * jobs.len() || racer.rounds() < SWAPS) && !loops.is_finished() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::fs::write(control.path().join("stop"), "").unwrap();
    let (output, errors, status) = loops.join().unwrap();
    let rounds = racer.rounds();
    racer.end();
    assert_eq!(
        (output.as_str(), errors.as_str(), status),
        ("", "", Some(0))
    );
    assert!(rounds >= SWAPS, "{rounds} swaps");
    let mut ran = 0;
    let mut refused = 0;
    for entry in std::fs::read_dir(control.path().join("reports")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let report: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{root}: {text}"));
        let run = Run {
            report,
            status: None,
            complaint: String::new(),
        };
        if run.report["outcome"] != "exited" {
            refused += 1;
            continue;
        }
        ran += 1;
        let seen = answer(&run);
        assert_eq!(seen["seen"], json!([]), "{root}: {run}");
    }
    assert!(ran >= jobs.len() / 2, "{ran} ran, {refused} were refused");
    assert!(refused > 0, "nothing was swapped in time: {ran} ran");
    assert_eq!(protected(&scene), before, "{root}");
}

/// While stdbox makes its mounts, an accomplice swaps 200,000 times and more: a named directory and a symbolic link to the secret
/// one, the parent of a named directory, the parent of a mount point, files beside a mount point (copied or bound by stdbox
/// itself), the working directory. Whatever stdbox makes of it, it follows no link: no job sees the secret, and none writes to
/// what is read-only. The class is that of CVE-2021-30465 and CVE-2019-19921 (runc) and CVE-2018-15664 (docker cp);
/// openat2(2), RESOLVE_NO_SYMLINKS.
#[test]
fn races_of_links_with_an_overlay_root_show_and_change_nothing() {
    race("overlay");
}

/// See the first.
#[test]
fn races_of_links_with_a_read_only_root_show_and_change_nothing() {
    race("read-only");
}

/// See the first.
#[test]
fn races_of_links_with_a_hidden_root_show_and_change_nothing() {
    race("hidden");
}

/// See the first.
#[test]
fn races_of_links_with_a_full_access_root_show_and_change_nothing() {
    race("full-access");
}
