//! A target that is there while mounts are made on the outside, and makes some itself.

use crate::hidden::await_file;
use crate::mounting::{enter_namespaces, in_fork, mount};
use nix::libc;
use serde_json::{Map, Value, json};
use std::fs;

pub(crate) const HELP: &str = "\
  among-mounts READY GO DIR FILE..
                              mounts something shared on DIR in a nested namespace, makes READY and waits for GO; then tells
                              what FILEs hold, here and there, what lies in DIR, and what became of the mount table
";

pub(crate) fn act(words: &[&str]) -> Option<Value> {
    match *words {
        ["among-mounts", ready, go, directory, ref files @ ..] => {
            Some(among_mounts([ready, go], directory, files))
        }
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
        let unshared = crate::mounting::call(libc::SYS_unshare, &[libc::CLONE_NEWNS as u64]);
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
