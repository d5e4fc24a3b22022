//! A target that is there while mounts are made on the outside, and makes some itself; and one that takes names from mounts.

use crate::hidden::await_file;
use crate::mounting::{address, call, enter_namespaces, in_fork, mount, terminated};
use nix::libc;
use serde_json::{Map, Value, json};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

pub(crate) const HELP: &str = "\
  among-mounts READY GO DIR FILE..
                              mounts something shared on DIR in a nested namespace, makes READY and waits for GO; then tells
                              what FILEs hold, here and there, what lies in DIR, and what became of the mount table
  take-names DIR NAME..       tries to give the NAMEs in DIR to directories of its own: as it is, in a nested namespace, and in
                              one that has got rid of every mount; lists what worked
";

pub(crate) fn act(words: &[&str]) -> Option<Value> {
    match *words {
        ["among-mounts", ready, go, directory, ref files @ ..] => {
            Some(among_mounts([ready, go], directory, files))
        }
        ["take-names", directory, ref names @ ..] => Some(take_names(directory, names)),
        _ => None,
    }
}

fn contents(files: &[&str]) -> Value {
    let read = |path: &&str| ((*path).to_owned(), fs::read_to_string(path).ok().into());
    files.iter().map(read).collect::<Map<_, _>>().into()
}

fn table() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

fn among_mounts([ready, go]: [&str; 2], directory: &str, files: &[&str]) -> Value {
    let before = table();
    let nested = in_fork(|| {
        let entered = enter_namespaces();
        let shared = mount("", "/", "", libc::MS_SHARED | libc::MS_REC, "");
        let mounted = mount("inner", directory, "tmpfs", 0, "");
        // A further namespace, so that there is a peer to propagate to.
        let unshared = call(libc::SYS_unshare, &[libc::CLONE_NEWNS as u64]);
        let done = [entered, shared, mounted, unshared]
            .map(|result| result.map_or_else(|errno| format!("{errno:?}"), |_| String::new()));
        let before = table();
        // Who waits for this file, waits for both.
        let _ = fs::write(ready, "");
        let came = await_file(go);
        json!({"done": done, "came": came, "files": contents(files), "table_unchanged": table() == before, "inner": before.matches(" - tmpfs inner ").count()})
    });
    let names = fs::read_dir(directory).map_or(0, Iterator::count);
    json!({"files": contents(files), "in": names, "table_unchanged": table() == before, "nested": nested})
}

fn take_names(directory: &str, names: &[&str]) -> Value {
    let plain = in_fork(|| take(directory, names));
    let nested = in_fork(|| {
        let entered = enter_namespaces().is_ok();
        json!({"entered": entered, "worked": take(directory, names)})
    });
    let without = in_fork(|| {
        let entered = enter_namespaces().is_ok();
        // A directory that is a mount point of this very namespace cannot be renamed, so the mounts have to go.
        let held = fs::File::open(directory).expect("the directory can be opened");
        let (new, old) = ("/tmp/names", "/tmp/names/old");
        let made = fs::create_dir_all(old).is_ok();
        let bound = mount(new, new, "", libc::MS_BIND, "").is_ok();
        let [new, old] = [new, old].map(terminated);
        let pivoted = call(libc::SYS_pivot_root, &[address(&new), address(&old)]).is_ok();
        let away = terminated("/old");
        let gone = call(
            libc::SYS_umount2,
            &[address(&away), libc::MNT_DETACH as u64],
        )
        .is_ok();
        let there = call(libc::SYS_fchdir, &[held.as_raw_fd() as u64]).is_ok();
        json!({"entered": entered, "rid": made && bound && pivoted && gone && there, "worked": take(".", names)})
    });
    json!({"plain": plain, "nested": nested, "without": without})
}

/// Renames, removes and exchanges each name and everything above it, and makes the name anew.
fn take(directory: &str, names: &[&str]) -> Value {
    let mut worked = Vec::new();
    for name in names {
        for part in Path::new(name)
            .ancestors()
            .filter(|part| *part != Path::new(""))
        {
            let from = Path::new(directory).join(part);
            let to = Path::new(directory).join(format!(
                "taken-{}",
                part.display().to_string().replace('/', "-")
            ));
            if fs::create_dir(&to).is_ok() {
                let paths = [&from, &to].map(|path| terminated(&path.to_string_lossy()));
                let here = libc::AT_FDCWD as u64;
                let [a, b] = [&paths[0], &paths[1]].map(address);
                if call(libc::SYS_renameat2, &[here, a, here, b, 2]).is_ok() {
                    worked.push(format!("exchange of {}", part.display()));
                }
                if fs::rename(&to, &from).is_ok() {
                    worked.push(format!("rename onto {}", part.display()));
                }
                let _ = fs::remove_dir(&to);
            }
            for (what, result) in [
                ("rename", fs::rename(&from, &to)),
                ("rmdir", fs::remove_dir(&from)),
                ("unlink", fs::remove_file(&from)),
            ] {
                if result.is_ok() {
                    worked.push(format!("{what} of {}", part.display()));
                }
            }
        }
        let place = Path::new(directory).join(name);
        if !worked.is_empty()
            && fs::create_dir_all(&place).is_ok()
            && fs::write(place.join("f"), "job").is_ok()
        {
            worked.push(format!("{name} is the job's"));
        }
    }
    json!(worked)
}
