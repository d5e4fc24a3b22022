//! Single jobs on written-down hosts: the whole plan as text, and known traps.
//!
//! Each folder of `tests/cases/` has a `job.json`, a `host.txt` (see `cases/host.rs`) and the `plan.txt` or `error.txt` that
//! comes of them. `BLESS=1 cargo test --test cases` writes these anew; read the difference before it is committed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

#[path = "cases/host.rs"]
mod host;
#[path = "cases/view.rs"]
mod view;

use std::fs;
use std::path::Path;

use host::FakeHost;
use stdbox::job::{Channels, Job};
use stdbox::plan::{IdMaps, MapWriter, Plan};
use stdbox::problem::{Notice, Problem};
use stdbox::spec::Mode;
use view::Sight;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases"))
}

fn notice(kind: &str, notice: &Notice) -> String {
    let path = notice.path.as_ref().map_or("-".into(), |path| path.lossy());
    format!("{kind} {} {}\n", notice.code, path.escape_debug())
}

/// The id maps, if there is more to them than the target's ids.
fn maps(kind: &str, maps: &IdMaps) -> String {
    let joined = |map: &[u8]| String::from_utf8_lossy(map).trim_end().replace('\n', ", ");
    let writer = match &maps.writer {
        MapWriter::Itself => return String::new(),
        MapWriter::Outside => "outside".to_owned(),
        MapWriter::Helpers(both) => format!("{} {}", both[0].lossy(), both[1].lossy()),
    };
    format!(
        "{kind}uids {}\n{kind}gids {}\n{kind}writer {writer}\n",
        joined(&maps.uid),
        joined(&maps.gid)
    )
}

/// What a reviewer wants to see: the steps, and what is not in them.
fn show_plan(plan: &Plan) -> String {
    let mut text = String::new();
    for (i, placed) in plan.steps.iter().enumerate() {
        let at = placed
            .at
            .as_ref()
            .map_or(String::new(), |at| format!("   ({at})"));
        text.push_str(&format!("{i:02} {}{at}\n", placed.step));
    }
    text.push('\n');
    text.push_str(&maps("", &plan.id_maps));
    if let Some(kept) = &plan.kept {
        text.push_str(&maps("kept-", &kept.id_maps));
    }
    if let Some(leaf) = &plan.leaf {
        text.push_str(&format!("leaf in {}\n", leaf.parent.lossy()));
        for one in &leaf.settings {
            let file = one.file.to_string_lossy();
            text.push_str(&format!("leaf {file} = {}   ({})\n", one.value, one.at));
        }
    }
    if let Some(meter) = plan.meter {
        text.push_str(&format!(
            "meter {} ns, {} cpus\n",
            meter.limit_ns, meter.cpus
        ));
    }
    if let Some([soft, hard]) = plan.cpu_backstop {
        text.push_str(&format!("backstop {soft} s, {hard} s\n"));
    }
    text.push_str(&format!("cwd {}\n", plan.cwd.lossy()));
    text.push_str(&match plan.scratch {
        Some(slot) => format!("scratch #{}\n", slot.0),
        None => "scratch none\n".into(),
    });
    let candidates = plan
        .exec
        .candidates
        .iter()
        .map(|file| file.to_string_lossy());
    text.push_str(&format!(
        "exec {}\n",
        candidates.collect::<Vec<_>>().join(" or ")
    ));
    for pair in &plan.exec.envp {
        text.push_str(&format!("env {}\n", pair.to_string_lossy()));
    }
    text.extend(plan.warnings.iter().map(|n| notice("warning", n)));
    text.extend(plan.degraded.iter().map(|n| notice("degraded", n)));
    text
}

fn show_problem(problem: &Problem) -> String {
    let path = problem
        .path
        .as_ref()
        .map_or("-".into(), |path| path.lossy());
    format!(
        "{} in {}\nat {}\npath {}\n{}\n{}\n",
        problem.code.as_str(),
        problem.stage.as_str(),
        problem.at.as_deref().unwrap_or("-"),
        path.escape_debug(),
        problem.message,
        problem.hint.as_deref().unwrap_or("(no hint)")
    )
}

#[test]
fn case_in_every_folder_gives_its_text() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut folders: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("job.json").exists())
        .collect();
    folders.sort();
    assert!(folders.len() >= 15, "the cases are gone");
    let mut wrong = String::new();
    for case in folders {
        let job = Job::from_slice(
            &fs::read(case.join("job.json")).unwrap(),
            Channels::default(),
        );
        let job = job.unwrap_or_else(|problem| panic!("{}: {problem:?}", case.display()));
        let host = FakeHost::read(&case.join("host.txt"));
        let (plan, facts, _) = host.plan(&job);
        let (name, other, text) = match &plan {
            Ok(plan) => ("plan.txt", "error.txt", show_plan(plan)),
            Err(problem) => ("error.txt", "plan.txt", show_problem(problem)),
        };
        if let Ok(plan) = &plan
            && let Err(why) = view::check(&job, &host, &facts, plan)
        {
            wrong.push_str(&format!("{}: {why}\n", case.display()));
        }
        if bless {
            fs::write(case.join(name), &text).unwrap();
            drop(fs::remove_file(case.join(other)));
        } else if fs::read_to_string(case.join(name)).unwrap_or_default() != text {
            wrong.push_str(&format!("{}:\n{text}\n", case.join(name).display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "other text than expected; BLESS=1 writes it anew\n{wrong}"
    );
}

/// What a host is asked takes time for each round, whatever is asked.
#[test]
fn directories_on_the_way_to_mount_points_are_asked_for_at_once() {
    let job = Job::from_slice(br#"{"argv":["true"],"cwd":"/"}"#, Channels::default()).unwrap();
    let mut host = FakeHost::read(&folder().join("debian.txt"));
    let more = "dir /var/a 0755\ndir /var/a/b 0755\ndir /var/a/b/c 0755\ndir /var/a/b/c/d 0755\nmount /var/a/b ext4\nmount /var/a/b/c/d ext4";
    assert_eq!(host.plan(&job).2, 1, "nothing is mounted in an overlay");
    host.add_text(more, &folder().join("trap"));
    let (plan, _, rounds) = host.plan(&job);
    assert_eq!(rounds, 2);
    let shown = |placed: &stdbox::plan::Placed| placed.step.to_string();
    let wanted = "lower=/var/a/b/c/d ";
    let plan = plan.unwrap();
    assert!(
        plan.steps.iter().any(|step| shown(step).contains(wanted)),
        "{}",
        show_plan(&plan)
    );
}

/// A job on the ordinary host with a few things more; the contract is checked for every path of that host.
struct Trap {
    job: Job,
    host: FakeHost,
    plan: Plan,
}

impl Trap {
    fn new(job: &str, more: &str) -> Self {
        let job = Job::from_slice(job.as_bytes(), Channels::default()).unwrap();
        let mut host = FakeHost::read(&folder().join("debian.txt"));
        host.add_text(more, &folder().join("trap"));
        let (plan, facts, _) = host.plan(&job);
        let plan = plan.unwrap();
        if let Err(why) = view::check(&job, &host, &facts, &plan) {
            panic!("{why}\n{}", show_plan(&plan));
        }
        Self { job, host, plan }
    }

    fn sight(&self, path: &str) -> Sight {
        view::sight(&self.job, &self.host, &self.plan, path)
    }
}

#[test]
fn home_with_a_named_directory_below_shows_it() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","user":{"home":"/home/alice"},"directories":{"/home/alice/work":"full-access"}}"#,
        "file /home/alice/secret 0600 10",
    );
    assert_eq!(trap.sight("/home/alice/secret"), Sight::Missing);
    assert_eq!(
        trap.sight("/home/alice/work"),
        Sight::Host(Mode::FullAccess)
    );
}

#[test]
fn home_with_a_named_overlay_below_shows_it() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","user":{"home":"/home/alice"},"directories":{"/home/alice/work":"overlay"}}"#,
        "",
    );
    assert_eq!(trap.sight("/home/alice/work"), Sight::Overlay);
}

#[test]
fn home_with_mounts_below_leaves_none_behind() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","user":{"home":"/home/alice"}}"#,
        "dir /home/alice/nfs 0755\nmount /home/alice/nfs nfs4",
    );
    let lower = |step: &str| step.contains("lower=/home/alice/nfs");
    assert!(
        !trap
            .plan
            .steps
            .iter()
            .any(|placed| lower(&placed.step.to_string()))
    );
}

#[test]
fn home_on_a_file_system_without_overlays_is_replaced() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","user":{"home":"/home/alice"},"directories":{"/home/alice":"overlay"}}"#,
        "mount /home/alice fuse.sshfs",
    );
    assert!(
        trap.plan
            .warnings
            .iter()
            .any(|notice| notice.code == "home-replaced")
    );
}

#[test]
fn hidden_directory_in_sys_of_a_read_only_root_stays_hidden_and_writable() {
    let job = r#"{"argv":["true"],"cwd":"/","directories":{"/":"read-only","/sys/fs":"hidden"}}"#;
    let trap = Trap::new(job, "");
    assert_eq!(trap.sight("/sys/fs"), Sight::Fresh);
    assert_eq!(trap.sight("/sys/fs/cgroup"), Sight::Missing);
    assert_eq!(trap.sight("/sys"), Sight::Host(Mode::ReadOnly));
}

#[test]
fn full_access_in_sys_of_a_read_only_root_stays_writable() {
    let job = r#"{"argv":["true"],"cwd":"/","directories":{"/":"read-only","/sys/fs/cgroup":"full-access"}}"#;
    let trap = Trap::new(job, "");
    assert_eq!(trap.sight("/sys/fs/cgroup"), Sight::Host(Mode::FullAccess));
}

#[test]
fn hidden_directory_in_a_copied_overlay_has_nothing_of_the_host() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","directories":{"/srv/secret":"hidden"}}"#,
        "dir /srv 0755\ndir /srv/secret 0700\nfile /srv/secret/key 0600 10\nfile /srv/open 0644 10\nmount /srv overlay\nunstackable /srv",
    );
    assert_eq!(trap.sight("/srv/secret"), Sight::Fresh);
    assert_eq!(trap.sight("/srv/secret/key"), Sight::Missing);
    assert_eq!(trap.sight("/srv/open"), Sight::Copy);
}

#[test]
fn home_in_a_copied_overlay_is_empty() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","user":{"home":"/home/alice"}}"#,
        "file /home/alice/key 0600 10\nmount /home overlay\nunstackable /home",
    );
    assert_eq!(trap.sight("/home/alice"), Sight::Fresh);
    assert_eq!(trap.sight("/home/alice/key"), Sight::Missing);
}

#[test]
fn configuration_in_a_copied_etc_is_written_once() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/"}"#,
        "mount /etc overlay\nunstackable /etc",
    );
    assert_eq!(trap.sight("/etc/passwd"), Sight::Fresh);
    assert_eq!(trap.sight("/etc/resolv.conf"), Sight::Copy);
}

#[test]
fn overlay_inside_read_only_inside_overlay_keeps_the_mode_bits_above() {
    // The upper layer of the inner overlay must not change what the outer one shows on the way to it.
    Trap::new(
        r#"{"argv":["true"],"cwd":"/","directories":{"/srv/a/b":"read-only","/srv/a/b/c":"overlay"}}"#,
        "dir /srv 0755\ndir /srv/a 2770\ndir /srv/a/b 0750\ndir /srv/a/b/c 0755",
    );
}

#[test]
fn overlay_named_below_an_unlisted_directory_is_shown() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","directories":{"/srv/a":"overlay"}}"#,
        "dir /srv 0711 unlisted\ndir /srv/a 0755\nmount /srv/a nfs4",
    );
    assert_eq!(trap.sight("/srv/a"), Sight::Overlay);
}

#[test]
fn overlay_named_below_an_automounter_is_shown() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","directories":{"/net/a":"overlay"}}"#,
        "dir /net 0755\ndir /net/a 0755\nmount /net autofs\nmount /net/a nfs4",
    );
    assert_eq!(trap.sight("/net/a"), Sight::Overlay);
}

#[test]
fn run_as_an_overlay_has_one_link_to_shared_memory() {
    Trap::new(
        r#"{"argv":["true"],"cwd":"/","directories":{"/run":"overlay"}}"#,
        "",
    );
}

#[test]
fn directory_named_in_shared_memory_of_the_host_dev_is_shown() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","dev":"host","directories":{"/dev/shm/data":"read-only"}}"#,
        "dir /dev/shm/data 0755",
    );
    assert_eq!(trap.sight("/dev/shm"), Sight::Fresh);
    assert_eq!(trap.sight("/dev/shm/data"), Sight::Host(Mode::ReadOnly));
}

#[test]
fn directory_named_below_name_resolution_keeps_its_mode() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","network":"host","system_config":false,"directories":{"/run/systemd/resolve/keys":"hidden"}}"#,
        "dir /run/systemd 0755\ndir /run/systemd/resolve 0755\ndir /run/systemd/resolve/keys 0700",
    );
    assert_eq!(
        trap.sight("/run/systemd/resolve"),
        Sight::Host(Mode::ReadOnly)
    );
    assert_eq!(trap.sight("/run/systemd/resolve/keys"), Sight::Fresh);
}

#[test]
fn etc_that_is_a_link_gets_no_configuration() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/"}"#,
        "gone /etc\nlink /etc usr/etc\ndir /usr/etc 0755\nfile /usr/etc/passwd 0644 10",
    );
    assert!(
        trap.plan
            .warnings
            .iter()
            .any(|notice| notice.code == "config-skipped")
    );
}

#[test]
fn device_directory_named_beside_the_minimal_dev_is_shown() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","directories":{"/":"read-only","/dev/dri":"full-access"}}"#,
        "dir /dev/dri 0755\ndevice /dev/dri/card0 0666",
    );
    assert_eq!(trap.sight("/dev/dri/card0"), Sight::Host(Mode::FullAccess));
}

#[test]
fn disk_scratch_in_shared_memory_is_opened_before_it_is_covered() {
    Trap::new(
        r#"{"argv":["true"],"cwd":"/","scratch":{"directory":"/dev/shm"}}"#,
        "dir /dev/shm/stdbox-1 0700\nscratch /dev/shm/stdbox-1",
    );
}

#[test]
fn copied_overlay_takes_files_of_any_size_within_its_bounds() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/"}"#,
        "dir /srv 0755\nfile /srv/large 0644 20000000\nmount /srv overlay\nunstackable /srv",
    );
    assert_eq!(trap.sight("/srv/large"), Sight::Copy);
}

#[test]
fn overlay_that_is_too_deep_is_refused_at_the_field_that_names_it() {
    let job = r#"{"argv":["true"],"cwd":"/","directories":{"/usr":"overlay"}}"#;
    let job = Job::from_slice(job.as_bytes(), Channels::default()).unwrap();
    let mut host = FakeHost::read(&folder().join("debian.txt"));
    let more = "mount /usr overlay\nunstackable /usr\nlarge /usr";
    host.add_text(more, &folder().join("trap"));
    let problem = host.plan(&job).0.unwrap_err();
    assert_eq!(problem.at.as_deref(), Some("/directories/~1usr"));
}

#[test]
fn step_for_the_own_dev_is_not_blamed_on_the_mode_of_the_root() {
    let trap = Trap::new(
        r#"{"argv":["true"],"cwd":"/","directories":{"/":"hidden"}}"#,
        "",
    );
    let null = |placed: &&stdbox::plan::Placed| placed.step.to_string().contains("dev/null");
    let steps: Vec<_> = trap.plan.steps.iter().filter(null).collect();
    assert!(!steps.is_empty());
    for placed in steps {
        assert_eq!(placed.at, None, "{}", placed.step);
    }
}
