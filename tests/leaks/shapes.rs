//! Jobs of every shape, each with the end that it must have.

use crate::counted::{nobody_is_left, word};
use crate::support::outside::PATIENCE;
use crate::support::{Fresh, many_ids, probe, root, stdbox};
use crate::world::World;
use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One kind of job.
#[derive(Debug)]
pub struct Shape {
    pub name: &'static str,
    job: String,
    /// Outcome; exit code, limit, signal or error code.
    end: [String; 2],
    /// When stdbox is told to stop.
    stopped: Option<Duration>,
    /// An overlay on disk: its end waits until the whole file system is written.
    slow: bool,
}

impl Shape {
    /// Whether a container is made, so that there is something to kill.
    pub fn starts(&self) -> bool {
        self.end[0] != "invalid-job"
    }

    fn command(&self) -> Command {
        let mut command = Command::new(stdbox());
        command
            .env("STDBOX_LEAKS", word())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn hand_over(&self, child: &mut Child) {
        let mut stdin = child.stdin.take().expect("a pipe");
        // Who refuses a job early does not read all of it.
        let _early = stdin.write_all(self.job.as_bytes());
    }

    /// Starts it, for somebody who kills it.
    pub fn begin(&self) -> Child {
        let mut child = self.command().spawn().expect("stdbox starts");
        self.hand_over(&mut child);
        child
    }

    /// Runs it, and compares its end.
    #[track_caller]
    pub fn run(&self) -> Value {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .spawn()
            .expect("stdbox starts");
        self.hand_over(&mut child);
        let begun = Instant::now();
        if let Some(delay) = self.stopped {
            std::thread::sleep(delay);
            // SAFETY: no memory is passed, and nobody has waited for the child yet.
            unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        }
        let output = child.wait_with_output().expect("stdbox ends");
        assert!(begun.elapsed() < PATIENCE, "{} takes for ever", self.name);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let how = ["exit_code", "limit", "signal"]
            .iter()
            .find_map(|field| Some(report[*field].clone()).filter(|value| !value.is_null()));
        let how = how.or_else(|| Some(report["error"]["code"].clone()));
        let how = how.map_or(String::new(), |how| {
            how.as_str().map_or(how.to_string(), str::to_owned)
        });
        let seen = [report["outcome"].as_str().unwrap_or("").to_owned(), how];
        if self.stopped.is_none() {
            assert_eq!(seen, self.end, "{}: {report}", self.name);
        } else {
            assert_eq!(seen[0], self.end[0], "{}: {report}", self.name);
        }
        nobody_is_left(self.name);
        report
    }
}

/// All of them.
#[derive(Debug)]
pub struct Shapes(Vec<Shape>);

impl Shapes {
    pub fn all(&self) -> &[Shape] {
        &self.0
    }

    /// So many jobs, of all shapes in turn; the slow ones in every eighth round.
    pub fn turns(&self, jobs: usize) -> impl Iterator<Item = &Shape> {
        let turns = (0..).flat_map(|round| self.0.iter().map(move |shape| (round, shape)));
        let turns = turns.filter(|(round, shape)| !shape.slow || round % 8 == 0);
        turns.map(|(_, shape)| shape).take(jobs)
    }

    fn add(
        &mut self,
        name: &'static str,
        script: &str,
        fields: Value,
        outcome: &str,
        how: impl ToString,
    ) {
        let mut job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"});
        for (key, value) in fields.as_object().expect("fields are an object") {
            job[key] = value.clone();
        }
        let end = [outcome.to_owned(), how.to_string()];
        self.0.push(Shape {
            name,
            job: job.to_string(),
            end,
            stopped: None,
            slow: false,
        });
    }

    fn last(&mut self) -> &mut Shape {
        self.0.last_mut().expect("one was added")
    }

    fn mark_slow(&mut self) {
        self.last().slow = true;
    }

    pub fn new(scene: &Fresh, world: World) -> Self {
        let mut all = Self(Vec::new());
        all.trees(scene);
        all.scratches_and_results(scene);
        all.identities(world);
        all.ends();
        all
    }

    fn trees(&mut self, scene: &Fresh) {
        let input = scene
            .file("input", &"line\n".repeat(10_000))
            .display()
            .to_string();
        let shared = scene.path().join("shared");
        let (upper, work) = (scene.path().join("upper"), scene.path().join("work"));
        for directory in [&shared, &upper, &work] {
            fs::create_dir(directory).expect("a directory can be made");
        }
        self.add(
            "read-only",
            "exit 3",
            json!({"directories": {"/": "read-only"}}),
            "exited",
            3,
        );
        self.add(
            "overlay",
            "echo x > /etc/new; rm -rf /usr/share/doc; exit 0",
            json!({}),
            "exited",
            0,
        );
        self.add("hidden root", "echo x > /new", json!({"directories": {
            "/": "hidden", "/usr": "read-only"}, "mounts": [
                {"type": "symlink", "target": "/bin", "to": "usr/bin"}, {"type": "symlink", "target": "/lib", "to": "usr/lib"},
                {"type": "symlink", "target": "/lib64", "to": "usr/lib64"}]}), "exited", 0);
        self.add(
            "full access",
            &format!("echo x > {0}/file; rm {0}/file", shared.display()),
            json!({"directories": {"/": "full-access"}}),
            "exited",
            0,
        );
        self.add(
            "file for stdin",
            "wc -l; exit 4",
            json!({"stdin": {"file": input}, "directories": {"/": "read-only"}}),
            "exited",
            4,
        );
        self.add(
            "network of the host",
            "exit 0",
            json!({"network": "host", "directories": {"/": "read-only"}}),
            "exited",
            0,
        );
        self.add(
            "fresh /sys, no /proc",
            "exit 0",
            json!({"sys": "fresh", "proc": "none"}),
            "exited",
            0,
        );
        self.add("mounts", "echo x > /mnt/t/x; echo x > /mnt/o/x", json!({"mounts": [
            {"type": "tmpfs", "target": "/mnt/t"}, {"type": "file", "target": "/mnt/f", "text": "text"},
            {"type": "bind", "source": scene.str(), "target": "/mnt/b"}, {"type": "mqueue", "target": "/mnt/q"},
            {"type": "overlay", "target": "/mnt/o", "lower": [shared], "upper": upper, "work": work}]}), "exited", 0);
        self.mark_slow();
        self.add(
            "captures",
            "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2",
            json!({"stdout": {"capture": {"max_bytes": 1000}}, "directories": {"/": "read-only"}}),
            "exited",
            0,
        );
        let (out, err) = (scene.path().join("out"), scene.path().join("err"));
        self.add("files for output", "echo out; echo err >&2", json!({"stdout": {"file": out, "append": true}, "stderr": {"file": err, "append": true}, "directories": {"/": "read-only"}}), "exited", 0);
        self.add(
            "IPC",
            "ipcmk -M 4096 && ipcmk -Q && ipcmk -S 2 && echo x > /dev/shm/x",
            json!({"directories": {"/": "read-only"}}),
            "exited",
            0,
        );
    }

    fn scratches_and_results(&mut self, scene: &Fresh) {
        let disk = ["scratch", "scratch for overlays", "scratch with results"]
            .map(|name| scene.path().join(name));
        for directory in &disk {
            fs::create_dir(directory).expect("a directory can be made");
        }
        let (results, more) = (
            scene.path().join("results"),
            scene.path().join("more results"),
        );
        let tree = "for i in 0 1 2 3 4 5 6 7 8 9; do mkdir -p /tmp/$i/b/c/d; echo x > /tmp/$i/b/c/d/e; chmod 000 /tmp/$i; done";
        self.add(
            "scratch on disk",
            tree,
            json!({"scratch": {"directory": disk[0]}, "directories": {"/": "read-only"}}),
            "exited",
            0,
        );
        let scratch = json!({"scratch": {"directory": disk[1]}});
        self.add("overlay on disk", "echo x > /etc/new", scratch, "exited", 0);
        self.mark_slow();
        let write =
            "mkdir -p a/b; for i in 1 2 3 4 5 6 7 8; do head -c 100000 /dev/zero > a/b/$i; done";
        self.add("results and changes", write, json!({"cwd": "/tmp", "changes": true, "results": {"directory": results, "patterns": ["."]}}), "exited", 0);
        self.add("results from a scratch on disk", write, json!({"cwd": "/tmp", "changes": true, "scratch": {"directory": disk[2]}, "directories": {"/": "read-only"}, "results": {"directory": more, "patterns": ["a/**"]}}), "exited", 0);
    }

    fn identities(&mut self, world: World) {
        self.add(
            "capabilities",
            "mount -t tmpfs none /mnt",
            json!({"capabilities": ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]}),
            "exited",
            0,
        );
        if world != World::Walled && many_ids() {
            self.add("many ids", "touch /tmp/x; chown 7:7 /tmp/x", json!({"user": {"uid": 0, "gid": 0, "map": "range"}, "changes": true, "capabilities": ["CAP_CHOWN"]}), "exited", 0);
        }
        self.add(
            "pid 1",
            "sleep 100 & exit 5",
            json!({"init": false}),
            "exited",
            5,
        );
        self.add(
            "no filter",
            "exit 0",
            json!({"seccomp": "off", "directories": {"/": "read-only"}}),
            "exited",
            0,
        );
        self.add(
            "strict filter",
            "exit 0",
            json!({"seccomp": "strict", "directories": {"/": "read-only"}}),
            "exited",
            0,
        );
        let nest = if root() && world == World::Apart {
            "nestable"
        } else {
            "fresh"
        };
        self.add(
            "nested namespaces",
            "unshare -Urmpinf sh -c 'mount -t tmpfs none /mnt; sleep 100 & exit 6'",
            json!({"proc": nest}),
            "exited",
            6,
        );
    }

    fn ends(&mut self) {
        let probe = probe().display().to_string();
        let background = format!(
            "sleep 100 & setsid sleep 100 & (setsid sh -c 'trap \"\" TERM HUP; sleep 100' &); {probe} linger {}",
            word()
        );
        self.add("background", &background, json!({}), "exited", 3);
        self.add(
            "signal",
            "kill -SEGV $$",
            json!({"directories": {"/": "read-only"}}),
            "signaled",
            libc::SIGSEGV,
        );
        self.add(
            "wall time",
            "trap '' TERM; sleep 100 & sleep 100",
            json!({"limits": {"wall_time_ms": 30, "grace_ms": 10}}),
            "limit-exceeded",
            "wall-time",
        );
        self.add(
            "file size",
            "exec head -c 100000 /dev/zero > /tmp/x",
            json!({"limits": {"file_size_bytes": 1000}}),
            "signaled",
            libc::SIGXFSZ,
        );
        self.add(
            "cancelled",
            "sleep 100 & sleep 100",
            json!({}),
            "cancelled",
            "",
        );
        self.last().stopped = Some(Duration::from_millis(20));
        self.add(
            "no command",
            "",
            json!({"argv": ["/no/such/command"]}),
            "setup-failed",
            "command-not-found",
        );
        self.add(
            "no working directory",
            "",
            json!({"cwd": "/no/such/directory"}),
            "setup-failed",
            "cwd-missing",
        );
        self.add("no target", "", json!({"directories": {"/": "full-access"}, "mounts": [{"type": "tmpfs", "target": "/no/such/place"}]}), "setup-failed", "target-missing");
        self.add(
            "unknown field",
            "",
            json!({"unknown": 1}),
            "invalid-job",
            "unknown-field",
        );
        let end = ["invalid-job", "syntax"].map(str::to_owned);
        self.0.push(Shape {
            name: "no JSON",
            job: "{".to_owned(),
            end,
            stopped: None,
            slow: false,
        });
    }
}
