//! The places that the jobs of README's tasks name, /srv, /home and /root, laid out in a fresh directory.

use super::{Fresh, Run, run, source};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

/// What those directories hold.
#[derive(Debug)]
pub struct Places(Fresh);

/// Programs and data of every task. Tests write others over them.
const FILES: [(&str, &str, u32); 12] = [
    (
        "srv/judge/submission/solution.py",
        "print(sum(map(int, open(0))))\n",
        0o644,
    ),
    ("srv/judge/tests/1.in", "20\n22\n", 0o644),
    ("srv/judge/tests/1.out", "42\n", 0o644),
    (
        "srv/project/build.sh",
        "#!/bin/sh\nset -e\nmkdir dist\necho built > build.log\ncat \"$CACHE/library.txt\" > dist/program\nchmod 755 dist/program\n",
        0o755,
    ),
    ("srv/project/greeting.txt", "helo\n", 0o644),
    ("srv/cache/library.txt", "library\n", 0o644),
    (
        "srv/solver/solver",
        "#!/bin/sh\nread -r sizes < \"$1\"\necho \"c $sizes\" >&2\necho s SATISFIABLE\n",
        0o755,
    ),
    ("srv/solver/instances/1.cnf", "p cnf 1 1\n1 0\n", 0o644),
    ("srv/input/data.txt", "one\ntwo\n", 0o644),
    (
        "srv/images/alpine/etc/os-release",
        "NAME=\"An image\"\n",
        0o644,
    ),
    ("home/me/.ssh/id_ed25519", "secret of a user\n", 0o600),
    ("root/.ssh/id_ed25519", "secret of root\n", 0o600),
];

impl Places {
    pub fn new() -> Self {
        let places = Self(Fresh::new());
        for (name, text, mode) in FILES {
            places.write(name, text, mode);
        }
        for name in [
            "srv/agent/upper",
            "srv/agent/work",
            "srv/out",
            "srv/runs",
            "srv/images/alpine/bin",
        ] {
            std::fs::create_dir_all(places.at(name)).expect("a directory can be made");
        }
        let bin = places.at("srv/images/alpine/bin");
        // Who needs the image looks first whether there is a busybox.
        let _missing = std::fs::copy("/usr/bin/busybox", bin.join("busybox"));
        for tool in ["sh", "cat", "ls", "wc", "touch", "test"] {
            symlink("busybox", bin.join(tool)).expect("a link can be made");
        }
        places
    }

    /// Where a place is: `srv/project`.
    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.file(name, text);
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("the mode can be set");
    }

    /// A job with these places: every string that begins with one of them begins with the fresh directory instead.
    pub fn put(&self, job: &str) -> String {
        ["srv", "home", "root"]
            .iter()
            .flat_map(|place| [format!("{place}/"), format!("{place}\"")])
            .fold(job.to_owned(), |text, place| {
                text.replace(
                    &format!("\"/{place}"),
                    &format!("\"{}/{place}", self.0.str()),
                )
            })
    }

    /// The job of a task.
    pub fn job(&self, task: &str) -> Value {
        let path = source().join(format!("schema/examples/{task}.json"));
        let text = std::fs::read_to_string(&path).expect("the task has an example");
        serde_json::from_str(&self.put(&text)).expect("the example is JSON")
    }

    /// The job of a task with a change to it, run.
    pub fn run(&self, task: &str, change: impl FnOnce(&mut Value)) -> Run {
        let mut job = self.job(task);
        change(&mut job);
        run(&job)
    }

    /// Everything below a place, to compare before and after.
    pub fn snapshot(&self, name: &str) -> Vec<(PathBuf, u32, Vec<u8>)> {
        let mut all = self.0.snapshot();
        all.retain(|(path, ..)| path.starts_with(self.at(name)));
        all
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // The kernel closes an overlay's work directory to everybody, and what is closed cannot be emptied.
        let closed = self.at("srv/agent/work/work");
        let _absent = std::fs::set_permissions(closed, Permissions::from_mode(0o700));
    }
}
