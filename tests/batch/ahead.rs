//! Containers that are made before it is their job's turn: nobody notices but by the time that it saves.

use crate::support::outside::{children, eventually, kill, marker, outlive, pid_of, state};
use crate::support::{Fresh, with};
use crate::{Batch, all, command, lines, nursery_of, shell_job, worker_of};
use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than a container waits.
const LONG: Duration = Duration::from_millis(250);

/// Two jobs run until `end` is there, and a third one is to wait for its turn.
struct Crowd {
    scene: Fresh,
    word: String,
    batch: Batch,
    dispatcher: i32,
}

impl Crowd {
    fn new(third: impl FnOnce(&Fresh) -> Value) -> Self {
        Self::of(&mut command(&["--workers", "2"]), third)
    }

    fn of(command: &mut Command, third: impl FnOnce(&Fresh) -> Value) -> Self {
        let (scene, word) = (Fresh::new(), marker("crowd"));
        let mut batch = Batch::of(command);
        // After a short job, others are expected to be short too.
        batch.give(&shell_job("short", "true"));
        assert_eq!(batch.report()["outcome"], "exited");
        let here = scene.str();
        for id in ["a", "b"] {
            let script = format!(
                ": {word}-{id}; : > {here}/{id}; while [ ! -e {here}/end ]; do sleep 0.01; done"
            );
            batch.give(&with(shell_job(id, &script), &open(&scene)));
        }
        let third = third(&scene);
        batch.give(&third);
        let dispatcher = pid_of(&batch.child);
        let crowd = Self {
            scene,
            word,
            batch,
            dispatcher,
        };
        eventually("both jobs run", || crowd.has("a") && crowd.has("b"));
        crowd
    }

    fn has(&self, name: &str) -> bool {
        self.scene.path().join(name).exists()
    }

    /// How many containers there are.
    fn containers(&self) -> usize {
        let workers = children(self.dispatcher).into_iter();
        workers.filter(|&pid| !children(pid).is_empty()).count()
    }

    /// Whether a third container is there at any moment before one would be too old.
    fn prepares(&self) -> bool {
        self.prepares_more(1)
    }

    /// Whether so many are there that wait for their turn.
    fn prepares_more(&self, count: usize) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < LONG {
            if self.containers() >= 2 + count {
                return true;
            }
        }
        false
    }

    /// Lets the two end; where all were, and the report of the third.
    fn go_on(self) -> (Fresh, Value) {
        fs::write(self.scene.path().join("end"), "").unwrap();
        let (reports, said, status) = self.batch.end();
        assert_eq!(
            (reports.len(), said.as_str(), status),
            (3, "", Some(0)),
            "{reports:?}"
        );
        let third = |report: &Value| report["id"] == "third";
        let report = reports.into_iter().find(third);
        (self.scene, report.expect("it has a report"))
    }

    /// Tells the batch to stop; only the two have reports.
    fn stop(self) -> Fresh {
        kill(self.dispatcher, libc::SIGTERM);
        let (reports, said, status) = self.batch.end();
        assert_eq!((said.as_str(), status), ("", Some(1)));
        let mut ids: Vec<_> = reports.iter().map(|report| &report["id"]).collect();
        ids.sort_by_key(|id| id.to_string());
        assert_eq!(ids, ["a", "b"], "{reports:?}");
        assert!(outlive(&self.word).is_empty());
        self.scene
    }
}

/// A job may write there.
fn open(scene: &Fresh) -> Value {
    json!({"directories": {"/": "read-only", scene.str(): "full-access"}})
}

fn third(scene: &Fresh, script: &str) -> Value {
    with(shell_job("third", script), &open(scene))
}

/// What says that it ran, as often as it did.
fn telling(scene: &Fresh) -> Value {
    third(scene, &format!("echo ran >> {}/third", scene.str()))
}

/// What it said.
fn told(scene: &Fresh) -> String {
    fs::read_to_string(scene.path().join("third")).unwrap()
}

#[test]
fn the_next_container_is_made_while_jobs_run_and_taken_down_when_they_take_long() {
    let mut noticed = false;
    for _ in 0..20 {
        let crowd = Crowd::new(telling);
        noticed = crowd.prepares();
        eventually("it is taken down", || crowd.containers() == 2);
        std::thread::sleep(LONG);
        assert_eq!(crowd.containers(), 2, "and not made again");
        assert!(!crowd.has("third"), "its turn has not come");
        let (scene, _) = crowd.go_on();
        assert_eq!(told(&scene), "ran\n");
        if noticed {
            break;
        }
    }
    assert!(noticed, "in no attempt was there a container ahead");
}

#[test]
fn a_job_finds_the_host_as_it_is_when_its_turn_comes() {
    let crowd = Crowd::new(|scene| {
        let data = scene.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("file"), "old").unwrap();
        let mount = json!({"mounts": [{"type": "bind", "source": data.to_str().unwrap(), "target": "/tmp/data"}]});
        with(third(scene, "cat /tmp/data/file"), &mount)
    });
    std::thread::sleep(LONG);
    let [data, old] = ["data", "old"].map(|name| crowd.scene.path().join(name));
    fs::rename(&data, old).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "new").unwrap();
    let (_, report) = crowd.go_on();
    assert_eq!(report["stdout"]["text"], "new", "{report}");
}

#[test]
fn with_one_worker_a_job_finds_what_the_one_before_it_has_left() {
    let scene = Fresh::new();
    let place = |i: usize| format!("{}/{i}", scene.str());
    fs::create_dir(place(0)).unwrap();
    let jobs: Vec<Value> = (0..30)
        .map(|i| {
            let job = shell_job(&i.to_string(), &format!("mkdir {}", place(i + 1)));
            with(with(job, &open(&scene)), &json!({"cwd": place(i)}))
        })
        .collect();
    let (reports, _, _) = all(&["--workers", "1"], lines(&jobs));
    for report in &reports {
        assert_eq!(report["exit_code"], 0, "{report}");
    }
    assert_eq!(reports.len(), jobs.len());
}

#[test]
fn no_time_is_counted_in_which_a_job_waits_for_its_turn() {
    let jobs: Vec<Value> = (0..16)
        .map(|i| shell_job(&i.to_string(), "sleep 0.08"))
        .collect();
    let (reports, _, _) = all(&["--workers", "2"], lines(&jobs));
    for (figure, most_ms) in [("setup_ns", 40), ("run_ns", 130)] {
        let mut times: Vec<u64> = reports
            .iter()
            .map(|report| report["timing"][figure].as_u64().unwrap() / 1_000_000)
            .collect();
        times.sort_unstable();
        let median = times[times.len() / 2];
        assert!(median < most_ms, "{figure}: {times:?} ms");
    }
}

#[test]
fn what_others_would_notice_is_not_done_before_its_turn() {
    let quiet = |crowd: &Crowd, what: &str, unnoticed: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while begun.elapsed() < LONG {
            assert!(unnoticed(), "{what}");
        }
        assert!(!crowd.has("third"));
    };
    let beside = |scene: &Fresh, fields: &Value| with(telling(scene), fields);

    // A file that gets the output keeps what it has.
    let kept = |scene: &Fresh| scene.path().join("kept");
    for stream in ["stdout", "stderr"] {
        let crowd = Crowd::new(|scene| {
            fs::write(kept(scene), "kept").unwrap();
            beside(scene, &json!({stream: {"file": kept(scene)}}))
        });
        let place = kept(&crowd.scene);
        quiet(&crowd, stream, &|| fs::read(&place).unwrap() == b"kept");
        let scene = crowd.stop();
        assert_eq!(fs::read(kept(&scene)).unwrap(), b"kept");
    }

    // Nobody reads a named pipe.
    let pipe = |scene: &Fresh| scene.path().join("pipe");
    let crowd = Crowd::new(|scene| {
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        nix::unistd::mkfifo(&pipe(scene), mode).unwrap();
        beside(scene, &json!({"stdin": {"file": pipe(scene)}}))
    });
    let place = pipe(&crowd.scene);
    let flags = nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_NONBLOCK;
    let unread = || nix::fcntl::open(&place, flags, nix::sys::stat::Mode::empty());
    quiet(&crowd, "a named pipe", &|| {
        matches!(unread(), Err(nix::errno::Errno::ENXIO))
    });
    drop(crowd.stop());

    // There is no place for results.
    let results = |scene: &Fresh| scene.path().join("results");
    let crowd = Crowd::new(|scene| {
        let wanted = json!({"results": {"directory": results(scene), "patterns": ["/none"]}});
        beside(scene, &wanted)
    });
    let place = results(&crowd.scene);
    quiet(&crowd, "results", &|| !place.exists());
    assert!(!results(&crowd.stop()).exists());

    // Nothing is made in a work directory, and its upper layer is not in use.
    let layer = |scene: &Fresh, name: &str| scene.path().join(name);
    let crowd = Crowd::new(|scene| {
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| layer(scene, name));
        for place in [&lower, &upper, &work] {
            fs::create_dir(place).unwrap();
        }
        let mount = json!({"type": "overlay", "target": "/tmp/work", "lower": [lower], "upper": upper, "work": work});
        beside(scene, &json!({"mounts": [mount]}))
    });
    let place = layer(&crowd.scene, "work");
    let made = || fs::read_dir(&place).unwrap().count();
    quiet(&crowd, "a work directory", &|| made() == 0);
    drop(crowd.stop());

    // The caller hears of no event.
    let events = Fresh::new();
    let file = fs::File::create(events.path().join("events")).unwrap();
    let number = file.as_raw_fd();
    let mut command = command(&["--workers", "2"]);
    // SAFETY: dup2 is async-signal-safe.
    unsafe {
        command.pre_exec(move || match libc::dup2(number, 9) {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let crowd = Crowd::of(&mut command, |scene| {
        beside(scene, &json!({"sync": {"events_fd": 9}}))
    });
    quiet(&crowd, "an event", &|| file.metadata().unwrap().len() == 0);
    drop(crowd.stop());
}

#[test]
fn a_batch_that_ends_leaves_nothing_of_a_job_that_waits_for_its_turn() {
    let on_disk = |scene: &Fresh| {
        let disk = json!({"scratch": {"directory": scene.str()}});
        with(telling(scene), &disk)
    };
    let left = |scene: &Fresh| {
        let mut names: Vec<_> = fs::read_dir(scene.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    };
    let mut noticed = [false; 2];
    for turn in 0..20 {
        let crowd = Crowd::new(on_disk);
        let noticed = &mut noticed[turn % 2];
        *noticed |= crowd.prepares();
        let scene = if turn % 2 == 0 {
            crowd.stop()
        } else {
            let workers = children(crowd.dispatcher);
            kill(crowd.dispatcher, libc::SIGKILL);
            eventually("all of its processes have ended", || {
                workers
                    .iter()
                    .all(|&pid| matches!(state(pid), None | Some('Z')))
            });
            assert!(outlive(&crowd.word).is_empty());
            crowd.scene
        };
        assert_eq!(left(&scene), ["a", "b"]);
    }
    assert_eq!(noticed, [true; 2], "in no attempt was there one");
}

#[test]
fn what_is_in_the_way_of_a_job_before_its_turn_is_not_told() {
    let crowd = Crowd::new(|scene| {
        let late = json!({"cwd": scene.path().join("late")});
        with(telling(scene), &late)
    });
    // Time enough to find that it is not there.
    std::thread::sleep(LONG / 4);
    fs::create_dir(crowd.scene.path().join("late")).unwrap();
    let (scene, report) = crowd.go_on();
    assert_eq!(report["exit_code"], 0, "{report}");
    assert_eq!(told(&scene), "ran\n");
}

#[test]
fn a_worker_that_does_not_end_when_its_job_is_withdrawn_holds_up_no_other() {
    let mut stopped = Vec::new();
    for _ in 0..20 {
        let mut crowd = Crowd::new(telling);
        crowd.batch.give(&shell_job("fourth", "true"));
        let [a, b] = ["a", "b"].map(|id| worker_of(&format!("{}-{id}", crowd.word)).0);
        if crowd.prepares_more(2) {
            stopped = children(crowd.dispatcher);
            stopped.retain(|&pid| ![a, b].contains(&pid) && !children(pid).is_empty());
        }
        for &pid in &stopped {
            // SAFETY: no memory is passed. Who has ended cannot be signalled any more.
            let _ended = unsafe { libc::kill(pid, libc::SIGSTOP) };
        }
        std::thread::sleep(LONG);
        stopped.retain(|&pid| state(pid) == Some('T'));
        fs::write(crowd.scene.path().join("end"), "").unwrap();
        for i in 0..20 {
            crowd.batch.give(&shell_job(&i.to_string(), "true"));
        }
        for _ in 0..24 {
            assert_eq!(crowd.batch.report()["outcome"], "exited");
        }
        for &pid in &stopped {
            assert_eq!(state(pid), Some('T'), "it was there all the time");
            kill(pid, libc::SIGCONT);
        }
        let (rest, _, status) = crowd.batch.end();
        assert_eq!((rest.len(), status), (0, Some(0)));
        assert_eq!(told(&crowd.scene), "ran\n");
        if !stopped.is_empty() {
            break;
        }
    }
    assert!(!stopped.is_empty(), "in no attempt was there one");
}

#[test]
fn a_worker_that_is_killed_before_its_turn_costs_no_job() {
    let mut noticed = false;
    for _ in 0..20 {
        let crowd = Crowd::new(telling);
        let nursery = nursery_of(crowd.dispatcher);
        let [a, b] = ["a", "b"].map(|id| worker_of(&format!("{}-{id}", crowd.word)).0);
        let others = || {
            let mut all = children(crowd.dispatcher);
            all.retain(|pid| ![nursery, a, b].contains(pid));
            all
        };
        noticed = crowd.prepares();
        for pid in others() {
            // SAFETY: no memory is passed. Who has ended cannot be signalled any more.
            let _ended = unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        // Until the batch has seen it. If the job is what ends its worker, that is for its report to say.
        std::thread::sleep(LONG / 10);
        let begun = Instant::now();
        while begun.elapsed() < LONG {
            assert_eq!(crowd.containers(), 2, "it is not prepared again");
        }
        let (scene, report) = crowd.go_on();
        assert_eq!(report["outcome"], "exited", "{report}");
        assert_eq!(told(&scene), "ran\n");
        if noticed {
            break;
        }
    }
    assert!(noticed, "in no attempt was there one");
}
