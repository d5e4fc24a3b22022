//! A bundle of the OCI runtime specification, which shows the host's tree as the floor does.

use std::fs::{DirBuilder, File, create_dir, read_dir, read_link, remove_dir, remove_file, write};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::json::Json;

/// A directory with config.json, the root of the container, and what the engine keeps about it.
#[derive(Debug)]
pub(super) struct Bundle {
    path: PathBuf,
}

impl Bundle {
    pub(super) fn new(target: &[&str]) -> io::Result<Bundle> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("stdbox-bench-bundle-{}-{number}", std::process::id());
        let bundle = Bundle {
            path: std::env::temp_dir().join(name),
        };
        DirBuilder::new().mode(0o700).create(&bundle.path)?;
        let root = bundle.path.join("root");
        create_dir(&root)?;
        create_dir(bundle.path.join("state"))?;
        let mounts = mounts(&root)?;
        let owner = File::open(&root)?.metadata()?;
        let config = config(target, mounts, owner.uid(), owner.gid());
        write(bundle.path.join("config.json"), config.to_string())?;
        Ok(bundle)
    }

    /// What stands before nothing more: the target is in the file.
    pub(super) fn options(&self) -> Vec<String> {
        let path = self.path.display();
        let options = [
            "--root",
            &format!("{path}/state"),
            "--cgroup-manager=disabled",
            "run",
            "--bundle",
            &path.to_string(),
            "stdbox-bench",
        ];
        options.map(str::to_owned).to_vec()
    }
}

impl Drop for Bundle {
    /// Only what is empty is removed, so that nothing can be lost that somebody mounted there.
    fn drop(&mut self) {
        let root = self.path.join("root");
        for entry in read_dir(&root).into_iter().flatten().flatten() {
            if remove_dir(entry.path()).is_err() {
                drop(remove_file(entry.path()));
            }
        }
        drop(remove_file(self.path.join("config.json")));
        for directory in [root, self.path.join("state"), self.path.clone()] {
            drop(remove_dir(directory));
        }
    }
}

/// The host's directories one by one: an engine cannot enter a root that is mounted over `/`.
fn mounts(root: &Path) -> io::Result<Vec<Json>> {
    let mut mounts = Vec::new();
    for entry in read_dir("/")? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        let own = ["/dev", "/proc", "/tmp"].map(Path::new);
        if kind.is_symlink() {
            symlink(read_link(&path)?, root.join(entry.file_name()))?;
        } else if kind.is_dir() && !own.contains(&path.as_path()) {
            let path = path.to_string_lossy();
            mounts.push(mount(&path, "bind", &path, "rbind,ro,nosuid,nodev"));
        }
    }
    mounts.push(mount("/proc", "proc", "proc", "nosuid,noexec,nodev"));
    mounts.push(mount("/dev", "tmpfs", "tmpfs", "nosuid,mode=755"));
    let terminals = "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620";
    mounts.push(mount("/dev/pts", "devpts", "devpts", terminals));
    mounts.push(mount("/tmp", "tmpfs", "tmpfs", "nosuid,nodev,mode=1777"));
    Ok(mounts)
}

fn mount(at: &str, kind: &str, source: &str, options: &str) -> Json {
    Json::Object(vec![
        ("destination", at.into()),
        ("type", kind.into()),
        ("source", source.into()),
        ("options", options.split(',').collect()),
    ])
}

fn config(target: &[&str], mounts: Vec<Json>, uid: u32, gid: u32) -> Json {
    let id = |id: u32| Json::Count(id.into());
    let map = |own: u32| {
        let fields = vec![
            ("containerID", id(own)),
            ("hostID", id(own)),
            ("size", id(1)),
        ];
        Json::List(vec![Json::Object(fields)])
    };
    let kinds = ["user", "mount", "pid", "network", "ipc", "uts", "cgroup"];
    let namespaces = kinds.map(|kind| Json::Object(vec![("type", kind.into())]));
    let process = Json::Object(vec![
        (
            "user",
            Json::Object(vec![("uid", id(uid)), ("gid", id(gid))]),
        ),
        ("args", target.iter().copied().collect()),
        ("env", ["PATH=/usr/bin:/bin"].into_iter().collect()),
        ("cwd", "/".into()),
        ("noNewPrivileges", Json::True),
        ("capabilities", Json::Object(Vec::new())),
    ]);
    Json::Object(vec![
        ("ociVersion", "1.0.2".into()),
        ("process", process),
        (
            "root",
            Json::Object(vec![("path", "root".into()), ("readonly", Json::True)]),
        ),
        ("mounts", Json::List(mounts)),
        (
            "linux",
            Json::Object(vec![
                ("namespaces", Json::List(namespaces.to_vec())),
                ("uidMappings", map(uid)),
                ("gidMappings", map(gid)),
            ]),
        ),
    ])
}
