//! Where the jobs run.

use crate::Size;
use crate::support;
use nix::libc;
use std::fs;
use std::process::Command;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum World {
    Plain,
    Apart,
    Walled,
}

impl World {
    pub fn named(name: &str) -> Self {
        *[Self::Plain, Self::Apart, Self::Walled]
            .iter()
            .find(|world| world.name() == name)
            .expect("plain, apart or walled")
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Apart => "apart",
            Self::Walled => "walled",
        }
    }

    /// Whether nobody else is there.
    pub fn is_exact(self) -> bool {
        self != Self::Plain
    }

    /// Runs this program again, there.
    pub fn enter(self, size: Size) {
        let own = std::env::current_exe().expect("this program has a path");
        let mut command = match self {
            Self::Plain => Command::new(&own),
            Self::Apart | Self::Walled => {
                let mut command = Command::new("unshare");
                if self == Self::Walled {
                    command.args(["--user", "--map-root-user", "--uts"]);
                }
                // Its mounts propagate as those of most hosts do, so that a job that lets one out would show.
                command
                    .args([
                        "--mount",
                        "--pid",
                        "--ipc",
                        "--net",
                        "--fork",
                        "--kill-child",
                        "--mount-proc",
                    ])
                    .args([
                        "/bin/sh",
                        "-ec",
                        "mount --make-rshared /; exec \"$0\" \"$@\"",
                    ])
                    .arg(&own);
                command
            }
        };
        // Where they lie in a directory that is covered there, copies take their place.
        command
            .env("STDBOX_BIN", support::stdbox())
            .env("STDBOX_PROBE", support::probe())
            .args(["--world", self.name()]);
        for (name, value) in [
            ("--jobs", size.jobs as u64),
            ("--killed", size.killed as u64),
            ("--seed", size.seed),
        ] {
            command.arg(name).arg(value.to_string());
        }
        if size.full {
            command.arg("--full");
        }
        let status = command.status().expect("the program starts again");
        assert!(status.success(), "{}: {status}", self.name());
    }

    /// Takes in who loses its parent, and covers what others write.
    pub fn prepare(self) {
        if !self.is_exact() {
            // SAFETY: no memory is passed.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }, 0);
            return;
        }
        assert_eq!(std::process::id(), 1, "pid 1 takes in who loses its parent");
        for place in ["/tmp", "/run", "/dev/shm"] {
            if fs::symlink_metadata(place).is_ok_and(|found| found.is_dir()) {
                let mounted = Command::new("mount")
                    .args(["-t", "tmpfs", "-o", "mode=1777", "leaks", place])
                    .status();
                assert!(
                    mounted.is_ok_and(|status| status.success()),
                    "a tmpfs on {place}"
                );
            }
        }
    }
}
