//! `memory_bytes`, `processes`, `cpus`, `cpuset` and `cgroup`, where there is a hierarchy of version 2 that the caller may divide.

use crate::common::{ended_for, probe_job, with};
use crate::support::outside::{alive, children, eventually, kill, marker, outlive, pid_of, start};
use crate::support::talk::Talk;
use crate::support::{Fresh, Run, root, run, run_with, shell, skip, start as start_job};
use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const MIB: u64 = 1 << 20;

/// The group in which jobs of this program get theirs, if they get one; says why not else.
fn place() -> Option<PathBuf> {
    let seen = shell("true", json!({"cgroup": "required"}));
    if seen.report["outcome"] != "exited" {
        let error = &seen.report["error"];
        assert_eq!(error["stage"], "cgroup", "{seen}");
        skip("cgroup", error["message"].as_str().unwrap_or("?"));
        return None;
    }
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = Path::new("/sys/fs/cgroup").join(own.unwrap());
    // At the root of the hierarchy processes and groups are beside each other.
    let at_root = !own.join("cgroup.type").exists();
    Some(if at_root {
        own
    } else {
        own.parent().unwrap().to_owned()
    })
}

/// A group for one test. Others than the jobs' own are not looked at.
struct Own(PathBuf);

impl Own {
    fn new(place: &Path, word: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("test-{word}-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        // Whatever there is, for the groups that are made below.
        for controller in ["memory", "pids", "cpu", "cpuset", "io"] {
            let _absent = fs::write(
                place.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
        }
        Self(path)
    }

    fn str(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn below(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    }

    /// A job with its leaf here.
    fn job(&self, script: &str, fields: &Value) -> Run {
        let here = with(json!({"cgroup": {"parent": self.str()}}), fields);
        shell(script, here)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file))
            .unwrap()
            .trim()
            .to_owned()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for left in self.below() {
            let _gone = fs::write(left.join("cgroup.kill"), "1");
            for _ in 0..200 {
                if fs::remove_dir(&left).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        let _busy = fs::remove_dir(&self.0);
    }
}

fn usage(seen: &Run, key: &str) -> u64 {
    let value = &seen.report["usage"][key];
    value.as_u64().unwrap_or_else(|| panic!("{key}: {seen}"))
}

/// Reads into one growing buffer, since there is no line end: so much memory is allocated and used.
fn allocate(mib: u64) -> String {
    format!("head -c {} /dev/zero | tail | wc -c", mib * MIB)
}

/// Whether this is nothing but what `allocate` says when its first program is killed: the kernel kills the members of a group one
/// after the other, so who counts may see the end of who allocates before its own.
fn only_cut_off(said: &str, mib: u64) -> bool {
    said.lines()
        .all(|line| line.parse::<u64>().is_ok_and(|bytes| bytes < mib * MIB))
}

fn memory(mib: u64) -> Value {
    json!({"limits": {"memory_bytes": mib * MIB}})
}

#[test]
fn memory_of_one_that_allocates_ends_the_job() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "memory");
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"capabilities": ["CAP_CHOWN"]}),
        json!({"directories": {"/": "read-only"}}),
    ] {
        let seen = own.job(
            &format!("echo begun; {}; echo survived", allocate(80)),
            &with(memory(16), &fields),
        );
        ended_for(&seen, "memory");
        let after = seen.stdout().strip_prefix("begun\n");
        assert!(after.is_some_and(|said| only_cut_off(said, 80)), "{seen}");
        assert_eq!(seen.report["signal"], 9, "{seen}");
        let peak = usage(&seen, "memory_peak_bytes");
        assert!(peak > 12 * MIB && peak <= 16 * MIB, "{peak}: {seen}");
        assert_eq!(own.below(), [] as [PathBuf; 0]);
    }
}

/// What fits is not touched, nor is it said to be.
#[test]
fn memory_of_one_that_fits_is_no_event() {
    let Some(_) = place() else { return };
    let seen = shell(&allocate(12), memory(64));
    assert_eq!(seen.exited(0).stdout().trim(), (12 * MIB).to_string());
    let peak = usage(&seen, "memory_peak_bytes");
    assert!(peak > 12 * MIB && peak < 64 * MIB, "{peak}");
}

#[test]
fn memory_filled_through_the_scratch_leaves_report_and_results() {
    let Some(_) = place() else { return };
    let output = Fresh::new();
    let seen = shell(
        "echo kept > /tmp/kept; echo said; cat /dev/zero > /tmp/filled; echo survived",
        with(
            memory(24),
            &json!({
                "scratch": {"size_bytes": 1 << 30},
                "results": {"directory": output.str(), "patterns": ["/tmp/kept"]},
            }),
        ),
    );
    ended_for(&seen, "memory");
    assert_eq!(seen.stdout(), "said\n", "{seen}");
    let kept = fs::read_to_string(output.path().join("tmp/kept")).unwrap();
    assert_eq!(kept, "kept\n", "{seen}");
    assert!(usage(&seen, "scratch_bytes") > 12 * MIB, "{seen}");
    assert!(usage(&seen, "cpu_system_ns") > 0, "{seen}");
    // Before 6.6 that is so of every overlay, and no loss here.
    let mut lost = seen.degraded();
    lost.retain(|code| *code != "overlay-without-xattr");
    assert_eq!(lost, [""; 0], "{seen}");
}

/// The default size of the scratch is the limit: then it is the disk that is full.
#[test]
fn memory_is_the_default_size_of_the_scratch() {
    let Some(_) = place() else { return };
    let seen = shell("df -k /tmp | awk 'END {print $2}'", memory(40));
    assert_eq!(seen.exited(0).stdout().trim(), (40 << 10).to_string());
}

#[test]
fn memory_of_one_that_forks_allocators_ends_the_whole_job() {
    let Some(_) = place() else { return };
    let word = marker("allocators");
    let one = allocate(40);
    let seen = shell(
        &format!(
            "sh -c 'sleep 100; : {word}' & for i in 1 2 3 4 5 6; do ({one}) & done; wait; echo survived"
        ),
        memory(24),
    );
    ended_for(&seen, "memory");
    assert!(only_cut_off(seen.stdout(), 40), "{seen}");
    assert_eq!(outlive(&word), [] as [i32; 0]);
}

/// A child that is killed takes the job with it, although its parent would have gone on; init is not among them.
#[test]
fn memory_kills_all_of_the_job_and_never_init() {
    let Some(_) = place() else { return };
    let seen = shell(
        &format!("({}) ; echo survived; sleep 100", allocate(80)),
        memory(16),
    );
    ended_for(&seen, "memory");
    assert_eq!(seen.stdout(), "", "{seen}");
    // Init lived to tell how the target ended and what it had used.
    assert!(!seen.degraded().contains(&"usage-incomplete"), "{seen}");
    assert!(
        seen.report["rusage"]["max_rss_bytes"].as_u64().unwrap() > 0,
        "{seen}"
    );
}

/// Memory that runs out elsewhere is no limit of the job's.
#[test]
fn memory_of_the_group_above_is_not_the_jobs_limit() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "above");
    fs::write(own.0.join("memory.max"), (16 * MIB).to_string()).unwrap();
    let _no_swap = fs::write(own.0.join("memory.swap.max"), "0");
    let seen = own.job(&format!("exec {}", allocate(80)), &json!({"init": true}));
    assert_ne!(seen.report["outcome"], "limit-exceeded", "{seen}");
    assert!(seen.warnings().contains(&"killed-for-memory"), "{seen}");
}

#[test]
fn processes_beyond_the_limit_end_the_job() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "processes");
    for fields in [json!({}), json!({"init": false})] {
        let limits = with(json!({"limits": {"processes": 6}}), &fields);
        // The shell and five more.
        let script = |count: u32| {
            format!(
                "i=0; while [ $i -lt {count} ]; do sleep 100 & i=$((i+1)); done; sleep 0.1; kill $(jobs -p); echo all"
            )
        };
        let seen = own.job(&script(4), &limits);
        seen.exited(0);
        assert_eq!(usage(&seen, "processes_peak"), 6, "{seen}");
        let seen = own.job(&script(20), &limits);
        ended_for(&seen, "processes");
        assert_eq!(usage(&seen, "processes_peak"), 6, "{seen}");
        assert_eq!(own.below(), [] as [PathBuf; 0]);
    }
}

/// A storm is over at its first refused fork, long before its wall time.
#[test]
fn processes_of_a_storm_end_at_once() {
    let Some(_) = place() else { return };
    let word = marker("storm");
    let limits = json!({"limits": {"processes": 50, "wall_time_ms": 60_000}});
    let seen = shell(
        &format!("f() {{ : {word}; f | f & }}; f; sleep 100"),
        limits,
    );
    ended_for(&seen, "processes");
    assert_eq!(outlive(&word), [] as [i32; 0]);
}

#[test]
fn cpus_slow_the_job_down() {
    let Some(_) = place() else { return };
    let job = with(
        probe_job(&["spin", "300"], &json!({})),
        &json!({"limits": {"cpus": 0.25}}),
    );
    let seen = run(&job);
    seen.exited(0);
    let (wall, cpu) = (
        usage(&seen, "wall_ns"),
        usage(&seen, "cpu_user_ns") + usage(&seen, "cpu_system_ns"),
    );
    assert!(usage(&seen, "throttled_ns") > 0, "{seen}");
    assert!(wall > cpu * 5 / 2, "{seen}");
}

#[test]
fn cpus_too_few_for_the_kernel_are_refused() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "cpus");
    let seen = own.job("true", &json!({"limits": {"cpus": 0.001}}));
    seen.failed("limit-refused", "cgroup");
    assert_eq!(seen.report["error"]["at"], "/limits/cpus", "{seen}");
    assert_eq!(own.below(), [] as [PathBuf; 0]);
}

#[test]
fn cpuset_is_where_the_job_runs() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "cpuset");
    let seen = own.job(
        "sed -n 's/^Cpus_allowed_list:\\t//p' /proc/self/status; taskset -p ff $$ > /dev/null 2>&1; sed -n 's/^Cpus_allowed_list:\\t//p' /proc/self/status",
        &json!({"limits": {"cpuset": "0"}}),
    );
    assert_eq!(seen.exited(0).stdout(), "0\n0\n", "{seen}");
    for absent in ["60000", "0,60000"] {
        let seen = own.job("true", &json!({"limits": {"cpuset": absent}}));
        seen.failed("limit-refused", "cgroup");
        assert_eq!(seen.report["error"]["at"], "/limits/cpuset", "{seen}");
    }
    assert_eq!(own.below(), [] as [PathBuf; 0]);
}

#[test]
fn cpu_time_in_a_group_is_all_of_it() {
    let Some(_) = place() else { return };
    // Children that live for less than a look and that nobody waits for: no sum over processes finds them.
    let job = with(
        probe_job(&["burn", "unwaited", "2"], &json!({})),
        &json!({"limits": {"cpu_time_ms": 400, "wall_time_ms": 60_000}}),
    );
    let seen = run(&job);
    ended_for(&seen, "cpu-time");
    assert!(!seen.warnings().contains(&"cpu-time-sampled"), "{seen}");
    let used = usage(&seen, "cpu_user_ns") + usage(&seen, "cpu_system_ns");
    assert!(used > 400_000_000 && used < 600_000_000, "{used}: {seen}");
}

/// Within two parts in a hundred of what wait4(2) says, and of what the target says of itself but for the start of its program.
#[test]
fn figures_of_a_group_are_those_of_getrusage_inside() {
    let Some(_) = place() else { return };
    let job = with(
        probe_job(&["burn", "figures", "1000"], &json!({})),
        &json!({"cgroup": "required"}),
    );
    let seen = run(&job);
    let inside: Value = serde_json::from_str(seen.exited(0).stdout()).unwrap();
    let own = inside["own_ns"].as_u64().unwrap() + inside["children_ns"].as_u64().unwrap();
    let group = usage(&seen, "cpu_user_ns") + usage(&seen, "cpu_system_ns");
    let most = own / 50;
    let start = 100_000_000;
    assert!(
        group + most >= own && group <= own + most + start,
        "{group} and {own}: {seen}"
    );
    let rusage = &seen.report["rusage"];
    let waited = rusage["user_ns"].as_u64().unwrap() + rusage["system_ns"].as_u64().unwrap();
    assert!(
        group.abs_diff(waited) <= most,
        "{group} and {waited}: {seen}"
    );
}

#[test]
fn view_of_the_job_begins_at_its_own_group() {
    let Some(_) = place() else { return };
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"capabilities": ["CAP_SYS_ADMIN"]}),
    ] {
        let seen = shell(
            "cat /proc/self/cgroup",
            with(json!({"cgroup": "required"}), &fields),
        );
        assert_eq!(seen.exited(0).stdout(), "0::/\n", "{fields}: {seen}");
    }
}

#[test]
fn view_of_a_job_with_many_ids_begins_at_its_own_group() {
    let Some(_) = place() else { return };
    if !crate::support::many_ids() {
        return skip("ids", "this user has no subordinate ids");
    }
    for capabilities in [json!([]), json!(["CAP_CHOWN", "CAP_SETUID"])] {
        let seen = shell(
            "cat /proc/self/cgroup",
            json!({"cgroup": "required", "user": {"map": "range"}, "capabilities": capabilities}),
        );
        assert_eq!(seen.exited(0).stdout(), "0::/\n", "{seen}");
    }
}

/// Every way to the files of its own limits, which belong to the user that the job runs as.
/// The caller makes a group, sets its limit, and puts the target there at the first pause.
#[test]
fn job_that_the_caller_places_sees_its_group_as_the_root_and_cannot_lift_its_limit() {
    let Some(place) = place() else { return };
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"capabilities": ["CAP_SYS_ADMIN"]}),
        json!({"directories": {"/": "read-only"}}),
    ] {
        let group = Own::new(&place, "placed");
        fs::write(group.0.join("pids.max"), "20").unwrap();
        let text = "cat /proc/self/cgroup; grep -c . /proc/self/mountinfo > /dev/null; \
            for f in $(find / -xdev -name pids.max 2>/dev/null) /sys/fs/cgroup/pids.max; do echo max 2>/dev/null > $f && echo lifted; done; \
            unshare -UrmC sh -c 'mount -t cgroup2 none /tmp && echo mounted' 2>/dev/null; \
            mount -t cgroup2 none /tmp 2>/dev/null && echo max 2>/dev/null > /tmp/pids.max && echo lifted; exit 0";
        let job = with(
            json!({"argv": ["/bin/sh", "-c", text], "cwd": "/"}),
            &fields,
        );
        let mut talk = Talk::begin(&job, &json!({}));
        let ready = talk.expect("ready");
        fs::write(group.0.join("cgroup.procs"), ready["pid"].to_string()).unwrap();
        talk.say("continue\n");
        talk.expect("exited");
        assert_eq!(group.read("pids.max"), "20", "{fields}");
        talk.say("continue\n");
        let seen = talk.finish();
        assert_eq!(
            seen.exited(0).stdout().lines().last(),
            Some("0::/"),
            "{fields}: {seen}"
        );
    }
}

/// A leaf of stdbox's own goes together with a caller that waits: the target is in it before, and sees it as the root after.
#[test]
fn leaf_and_pauses_go_together() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "paused");
    let fields = json!({"cgroup": {"parent": own.str()}, "limits": {"processes": 20}});
    let job = with(
        json!({"argv": ["/bin/cat", "/proc/self/cgroup"], "cwd": "/"}),
        &fields,
    );
    let mut talk = Talk::begin(&job, &json!({}));
    let ready = talk.expect("ready");
    let [leaf] = &own.below()[..] else {
        panic!("there is one leaf")
    };
    let inside = fs::read_to_string(leaf.join("cgroup.procs")).unwrap();
    assert_eq!(inside.trim(), ready["pid"].to_string());
    talk.say("continue\n");
    talk.expect("exited");
    talk.say("continue\n");
    let seen = talk.finish();
    assert_eq!(
        seen.exited(0).stdout().lines().last(),
        Some("0::/"),
        "{seen}"
    );
    assert_eq!(own.below(), [] as [PathBuf; 0]);
}

#[test]
fn limits_cannot_be_lifted_from_inside() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "lifted");
    let script = format!(
        "echo max > \"$(echo {}/stdbox-job-*/pids.max)\" && echo lifted-through-the-host
        raise() {{ mkdir -p /tmp/m; mount -t cgroup2 cgroup2 /tmp/m && echo max > /tmp/m/pids.max && echo lifted-in-a-mount-$1; umount /tmp/m; }}
        raise own
        mount -o remount,rw /sys/fs/cgroup && echo max > \"$(echo {}/stdbox-job-*/pids.max)\" && echo lifted-by-remount
        unshare -Urm sh -c 'mkdir -p /tmp/n; mount -t cgroup2 cgroup2 /tmp/n && echo max > /tmp/n/pids.max && echo lifted-nested'
        unshare -UrmC sh -c 'mkdir -p /tmp/o; mount -t cgroup2 cgroup2 /tmp/o && echo max > /tmp/o/pids.max && echo lifted-in-another-view'
        unshare -C true && echo another-view
        cat \"$(echo {}/stdbox-job-*/pids.max)\"; exit 0",
        own.str(),
        own.str(),
        own.str()
    );
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"capabilities": ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]}),
        json!({"directories": {"/": "full-access"}}),
        json!({"directories": {"/": "read-only"}}),
        json!({"seccomp": "off"}),
    ] {
        let limits = json!({"limits": {"processes": 100}});
        let seen = own.job(&script, &with(limits, &fields));
        assert_eq!(seen.exited(0).stdout(), "100\n", "{fields}: {seen}");
    }
}

#[test]
fn limits_are_not_shown_writable_to_the_job() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "shown");
    for (fields, at) in [
        (
            json!({"directories": {"/sys": "full-access"}}),
            "/directories/~1sys",
        ),
        (
            json!({"directories": {"/sys/fs/cgroup": "full-access"}}),
            "/directories/~1sys~1fs~1cgroup",
        ),
        (
            json!({"mounts": [{"type": "bind", "source": own.str(), "target": "/mnt", "read_only": false}]}),
            "/mounts/0/source",
        ),
    ] {
        let seen = own.job("true", &fields);
        seen.failed("contradiction", "validate");
        assert_eq!(seen.report["error"]["at"], at, "{seen}");
        assert_eq!(own.below(), [] as [PathBuf; 0]);
    }
    // A directory that has the hierarchy below it does not mean it.
    let bind = json!({"mounts": [{"type": "bind", "source": "/sys/fs", "target": "/mnt", "read_only": false}]});
    let script = format!(
        "for file in $(find /mnt/cgroup -path '*{}*' -name pids.max); do echo max > $file && echo lifted; done; exit 0",
        own.0.file_name().unwrap().to_str().unwrap()
    );
    let seen = own.job(&script, &with(json!({"limits": {"processes": 100}}), &bind));
    assert!(!seen.stdout().contains("lifted"), "{seen}");
}

/// Who made the group, or may write the one above, can take a limit away. Then it was not kept, and that is said.
#[test]
fn limit_that_is_taken_away_from_outside_is_told() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "taken");
    for (file, value) in [("pids.max", "max"), ("memory.max", "max"), ("", "")] {
        let word = marker("taken");
        let mut child = start_job(&json!({
            "argv": ["/bin/sh", "-c", format!("sleep 1; : {word}")], "cwd": "/", "cgroup": {"parent": own.str()},
            "directories": {"/": "read-only"},
            "limits": {"processes": 50, "memory_bytes": 64 * MIB, "cpus": 1, "cpuset": "0"},
        }));
        eventually("it runs", || !alive(&word).is_empty());
        if !file.is_empty() {
            fs::write(own.below()[0].join(file), value).unwrap();
        }
        let mut text = String::new();
        let mut report = child.stdout.take().unwrap();
        std::io::Read::read_to_string(&mut report, &mut text).unwrap();
        child.wait().unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        let lifted = report["degraded"].as_array().unwrap().iter();
        let lifted = lifted
            .filter(|notice| notice["code"] == "limit-lifted")
            .count();
        assert_eq!(lifted, usize::from(!file.is_empty()), "{file}: {report}");
    }
}

#[test]
fn leaf_is_removed_however_the_job_ends() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "removed");
    for (script, fields) in [
        ("true", json!({})),
        ("exit 3", json!({"init": false})),
        ("sleep 100 & setsid sleep 100 & kill -9 $$", json!({})),
        ("sleep 100", json!({"limits": {"wall_time_ms": 50}})),
        ("true", json!({"cwd": "/not/there"})),
        ("true", json!({"argv": ["/not/there"]})),
        ("true", json!({"results": {"directory": "/proc/not/there"}})),
        ("true", json!({"stdin": {"file": "/not/there"}})),
        (
            "true",
            json!({"user": {"map": "range"}, "limits": {"open_files": 1u64 << 40}}),
        ),
    ] {
        own.job(script, &fields);
        assert_eq!(own.below(), [] as [PathBuf; 0], "{script} {fields}");
    }
}

/// A leaf that a killed stdbox left is removed by the next run there; one that is in use is not, nor is what has another name.
#[test]
fn leaf_of_a_killed_stdbox_is_swept_by_the_next_run() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "swept");
    let word = marker("swept");
    let job = json!({
        "argv": ["/bin/sh", "-c", format!("sleep 1000; : {word}")], "cwd": "/", "cgroup": {"parent": own.str()},
    });
    let foreign = own.0.join("stdbox-job-0-x-1");
    fs::create_dir(&foreign).unwrap();
    let mut killed = start_job(&job);
    eventually("the job runs", || !alive(&word).is_empty());
    let mut running = start_job(&job);
    eventually("both run", || own.below().len() == 3);
    let of = |child: &std::process::Child| {
        let name = format!("-{}-", child.id());
        own.below()
            .into_iter()
            .find(|path| path.to_str().unwrap().contains(&name))
            .unwrap()
    };
    let (dead, used) = (of(&killed), of(&running));
    killed.kill().unwrap();
    killed.wait().unwrap();
    eventually("its processes are gone", || {
        fs::read_to_string(dead.join("cgroup.events"))
            .unwrap_or_default()
            .contains("populated 0")
    });
    own.job("true", &json!({})).exited(0);
    let mut left = own.below();
    left.sort();
    let mut expected = vec![foreign.clone(), used.clone()];
    expected.sort();
    assert_eq!(left, expected);
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(outlive(&word), [] as [i32; 0]);
    own.job("true", &json!({})).exited(0);
    assert_eq!(own.below(), std::slice::from_ref(&foreign));
    fs::remove_dir(foreign).unwrap();
}

#[test]
fn parent_that_cannot_be_used_is_refused() {
    let Some(place) = place() else { return };
    let fresh = Fresh::new();
    let absent = place.join("absent");
    for (parent, errno) in [
        (absent.to_str().unwrap(), json!("ENOENT")),
        (fresh.str(), Value::Null),
    ] {
        let seen = shell("true", json!({"cgroup": {"parent": parent}}));
        seen.failed("cgroup-unavailable", "cgroup");
        let error = &seen.report["error"];
        assert_eq!(
            (&error["at"], &error["path"]),
            (&json!("/cgroup/parent"), &json!(parent)),
            "{seen}"
        );
        assert_eq!(error["errno_name"], errno, "{seen}");
    }
    // A link is not followed: who may change it could name another group.
    let link = fresh.path().join("link");
    std::os::unix::fs::symlink(&place, &link).unwrap();
    let seen = shell("true", json!({"cgroup": {"parent": link}}));
    seen.failed("cgroup-unavailable", "cgroup");
    assert_eq!(seen.report["error"]["errno_name"], "ELOOP", "{seen}");
    if !root() {
        let seen = shell("true", json!({"cgroup": {"parent": "/sys/fs/cgroup"}}));
        seen.failed("cgroup-unavailable", "cgroup");
        let error = &seen.report["error"];
        assert_eq!(error["path"], "/sys/fs/cgroup", "{seen}");
        assert_eq!(error["errno_name"], "EACCES", "{seen}");
        assert!(
            error["hint"].as_str().unwrap().contains("Delegate"),
            "{seen}"
        );
    }
}

#[test]
fn parent_with_processes_of_its_own_gives_no_controllers() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "occupied");
    let mut occupant = in_group(Command::new("sleep").arg("1000"), &own.0)
        .spawn()
        .unwrap();
    let seen = own.job("true", &memory(32));
    seen.failed("cgroup-unavailable", "cgroup");
    assert_eq!(seen.report["error"]["path"], own.str(), "{seen}");
    // A leaf without controllers is no matter.
    let seen = own.job("true", &json!({}));
    assert_eq!(
        seen.exited(0).report["usage"]["memory_peak_bytes"],
        Value::Null,
        "{seen}"
    );
    occupant.kill().unwrap();
    occupant.wait().unwrap();
}

/// Starts a command in a group.
fn in_group<'a>(command: &'a mut Command, group: &Path) -> &'a mut Command {
    let procs = group.join("cgroup.procs");
    // SAFETY: the closure opens a file and writes to it.
    unsafe { command.pre_exec(move || fs::write(&procs, "0")) }
}

#[test]
fn caller_alone_in_its_group_steps_aside_and_comes_back() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "alone");
    let job = json!({
        "argv": ["/bin/sh", "-c", "cat /proc/self/cgroup"], "cwd": "/",
        "limits": {"memory_bytes": 64 * MIB, "processes": 20},
    });
    for _ in 0..3 {
        let seen = run_with(job.to_string().as_bytes(), &[], |command| {
            in_group(command, &own.0);
        });
        assert_eq!(seen.exited(0).stdout(), "0::/\n", "{seen}");
        assert!(usage(&seen, "memory_peak_bytes") > 0, "{seen}");
        assert_eq!(own.below(), [] as [PathBuf; 0]);
        assert_eq!(own.read("cgroup.subtree_control"), "");
    }
    // While it runs, nobody is in the group itself.
    let word = marker("alone");
    let long = with(
        job,
        &json!({"argv": ["/bin/sh", "-c", format!("sleep 1000; : {word}")]}),
    );
    let mut command = Command::new(crate::support::stdbox());
    let mut child = in_group(&mut command, &own.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(
        &mut child.stdin.take().unwrap(),
        long.to_string().as_bytes(),
    )
    .unwrap();
    eventually("it runs", || !alive(&word).is_empty());
    assert_eq!(own.read("cgroup.procs"), "");
    assert_eq!(own.below().len(), 2);
    kill(child.id().cast_signed(), libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "cancelled", "{report}");
    assert_eq!(own.below(), [] as [PathBuf; 0]);
    assert_eq!(outlive(&word), [] as [i32; 0]);
}

/// Its processes could not step aside each for itself.
#[test]
fn batch_alone_in_its_group_leaves_it_for_the_groups_of_its_jobs() {
    let Some(place) = place() else { return };
    let own = Own::new(&place, "batch");
    let job = |id: &str, script: &str| {
        json!({
            "id": id, "argv": ["/bin/sh", "-c", script], "cwd": "/",
            "limits": {"memory_bytes": 16 * MIB, "processes": 20},
        })
    };
    let word = marker("batch");
    let start = || {
        let mut command = Command::new(crate::support::stdbox());
        in_group(command.args(["batch", "--workers", "2"]), &own.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let give = |to: &mut std::process::ChildStdin, job: Value| {
        std::io::Write::write_all(to, format!("{job}\n").as_bytes()).unwrap();
    };
    let mut batch = start();
    let mut jobs = batch.stdin.take().unwrap();
    give(&mut jobs, job("hungry", &allocate(80)));
    for id in ["a", "b", "c"] {
        give(&mut jobs, job(id, "cat /proc/self/cgroup"));
    }
    // One without a limit has no group of its own.
    give(
        &mut jobs,
        json!({"id": "free", "argv": ["/bin/true"], "cwd": "/"}),
    );
    drop(jobs);
    let output = batch.wait_with_output().unwrap();
    let mut reports: Vec<Value> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    reports.sort_by_key(|report| report["line"].as_u64());
    assert_eq!((reports.len(), output.status.code()), (5, Some(0)));
    assert_eq!(reports[0]["limit"], "memory", "{}", reports[0]);
    for report in &reports[1..4] {
        assert_eq!(report["stdout"]["text"], "0::/\n", "{report}");
        assert!(
            report["usage"]["memory_peak_bytes"].as_u64() > Some(0),
            "{report}"
        );
    }
    assert_eq!(reports[4]["outcome"], "exited", "{}", reports[4]);
    assert_eq!(own.below(), [] as [PathBuf; 0]);
    assert_eq!(own.read("cgroup.subtree_control"), "");

    // What one leaves that is killed, the next one removes.
    let mut killed = start();
    let mut jobs = killed.stdin.take().unwrap();
    give(&mut jobs, job("long", &format!("sleep 1000; : {word}")));
    eventually("it runs", || !alive(&word).is_empty());
    assert_eq!(own.read("cgroup.procs"), "");
    kill(pid_of(&killed), libc::SIGKILL);
    killed.wait().unwrap();
    assert_eq!(outlive(&word), [] as [i32; 0]);
    // What it gave to the groups below stays given, so the next one is beside it.
    own.job("true", &memory(16)).exited(0);
    eventually("nothing is left", || own.below().is_empty());
}

#[test]
fn group_is_made_only_where_it_is_wanted() {
    let Some(place) = place() else { return };
    let peak =
        |fields: Value| shell("true", fields).exited(0).report["usage"]["processes_peak"].clone();
    assert_eq!(peak(json!({})), Value::Null);
    assert_eq!(
        peak(json!({"cgroup": "off", "limits": {"cpu_time_ms": 10_000}})),
        Value::Null
    );
    assert_eq!(
        peak(json!({"limits": {"wall_time_ms": 10_000}})),
        Value::Null
    );
    assert_ne!(peak(json!({"cgroup": "required"})), Value::Null);
    assert_ne!(peak(json!({"cgroup": {"parent": place}})), Value::Null);
}

/// A job in a job: there is no hierarchy that it may divide, and it says so.
#[test]
fn group_inside_of_a_job_is_refused() {
    let Some(_) = place() else { return };
    let inner = json!({"argv": ["true"], "cwd": "/", "limits": {"memory_bytes": 64 * MIB}});
    let outer = with(
        json!({"argv": [crate::support::stdbox()], "cwd": "/", "cgroup": "required"}),
        &json!({"stdin": {"text": inner.to_string()}}),
    );
    let seen = run(&outer);
    let report: Value = serde_json::from_str(seen.stdout()).unwrap_or(Value::Null);
    assert_eq!(report["error"]["code"], "cgroup-unavailable", "{seen}");
    let plain = with(
        outer,
        &json!({"stdin": {"text": json!({"argv": ["true"], "cwd": "/"}).to_string()}}),
    );
    let seen = run(&plain);
    let report: Value = serde_json::from_str(seen.stdout()).unwrap_or(Value::Null);
    assert_eq!(report["outcome"], "exited", "{seen}");
}

/// The parent group may have a limit of its own, which is not the job's.
#[test]
fn descriptors_of_the_group_are_not_the_targets() {
    let Some(_) = place() else { return };
    let seen = shell(
        "for fd in /proc/self/fd/*; do readlink $fd; done | grep -c cgroup; exit 0",
        json!({"cgroup": "required", "limits": {"processes": 50}}),
    );
    assert_eq!(seen.exited(0).stdout(), "0\n", "{seen}");
    let word = marker("descriptors");
    let mut child = start(
        &json!({"argv": ["/bin/sh", "-c", format!("sleep 1000; : {word}")], "cwd": "/", "cgroup": "required"}),
    );
    eventually("it runs", || !alive(&word).is_empty());
    let init = children(pid_of(&child))[0];
    let entries = fs::read_dir(format!("/proc/{init}/fd"));
    // Only root can look at an init that cannot be dumped.
    if root() {
        let of_groups = entries.unwrap().flatten().filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.starts_with("/sys/fs/cgroup"))
        });
        assert_eq!(of_groups.count(), 0);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(outlive(&word), [] as [i32; 0]);
}

#[test]
fn version_1_is_refused_by_name() {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    if !text.lines().any(|line| {
        line.split(':')
            .nth(1)
            .is_some_and(|names| names.split(',').any(|name| name == "memory"))
    }) {
        return skip("cgroup1", "there are no control groups of version 1");
    }
    for (fields, at) in [
        (memory(64), "/limits/memory_bytes"),
        (json!({"limits": {"processes": 5}}), "/limits/processes"),
        (json!({"limits": {"cpus": 1}}), "/limits/cpus"),
        (json!({"limits": {"cpuset": "0"}}), "/limits/cpuset"),
        (json!({"cgroup": "required"}), "/cgroup"),
        (
            json!({"cgroup": {"parent": "/sys/fs/cgroup"}}),
            "/cgroup/parent",
        ),
    ] {
        let seen = shell("true", fields);
        seen.failed("cgroup-v1", "cgroup");
        assert_eq!(seen.report["error"]["at"], at, "{seen}");
        assert!(seen.report["error"]["hint"].is_string(), "{seen}");
    }
    // What needs none works.
    shell("true", json!({"limits": {"cpu_time_ms": 60_000}})).exited(0);
}
