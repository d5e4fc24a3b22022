//! What a target may try to see what is hidden from it, without a mount call.

use crate::mounting::{Done, address, call, enter_namespaces, in_fork, mount, read_fd, terminated};
use nix::libc::{self, c_long};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const OPENAT2: c_long = 437;

pub(crate) const HELP: &str = "\
  hunt TOKEN FILE..           looks for FILEs by every other way that leads to a file; lists where TOKEN was read
  open-handles plain|nested TOKEN TYPE:HEX,.. PLACE..
                              opens files, and files named f in directories, by handles, with PLACEs and every mount as the file system it is on
  devices plain|nested MAJOR MINOR PLACE..
                              opens, makes and mounts block devices; lists what worked
  find NAME PLACE.. in TOP..  makes a file of that name in PLACEs, and lists every path of that name below TOPs, but in procfs
                              and sysfs
  climb TOKEN DIR READY GO NAME..
                              goes to DIR, makes READY, waits for GO; then looks for NAMEs in everything above
  race TOKEN DIR..            reads, writes and creates in DIRs; lists where TOKEN was read, and what could be written
";

pub(crate) fn act(words: &[&str]) -> Option<Value> {
    match *words {
        ["hunt", token, ref files @ ..] => Some(hunt(token, files)),
        ["open-handles", way, token, handles, ref places @ ..] => {
            Some(in_fork(|| open_handles(way, token, handles, places)))
        }
        ["devices", way, major, minor, ref places @ ..] => {
            Some(in_fork(|| devices(way, [major, minor], places)))
        }
        ["find", name, ref places @ ..] => {
            let mut lists = places.split(|word| *word == "in");
            for place in lists.next().unwrap_or(&[]) {
                fs::write(Path::new(place).join(name), "x").expect("the place can be written");
            }
            let mut found = Vec::new();
            let tops = lists.next().unwrap_or(&[]);
            tops.iter()
                .for_each(|top| find(Path::new(top), name, &mut found));
            Some(json!(found))
        }
        ["climb", token, directory, ready, go, ref names @ ..] => {
            Some(climb(token, directory, [ready, go], names))
        }
        ["race", token, ref directories @ ..] => Some(race(token, directories)),
        _ => None,
    }
}

/// Paths at which something was tried, and those at which the token was read.
struct Hunt<'a> {
    token: &'a str,
    tried: u64,
    seen: Vec<String>,
}

impl Hunt<'_> {
    fn look(&mut self, path: impl AsRef<Path>) {
        self.tried += 1;
        let path = path.as_ref();
        // What is no plain file could block.
        let plain = fs::metadata(path).is_ok_and(|found| found.is_file());
        if plain && fs::read(path).is_ok_and(|bytes| self.holds(&bytes)) {
            self.seen.push(path.display().to_string());
        }
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        String::from_utf8_lossy(bytes).contains(self.token)
    }

    fn opened(&mut self, what: String, fd: Done) {
        self.tried += 1;
        if fd.is_ok_and(|fd| read_fd(fd).contains(self.token)) {
            self.seen.push(what);
        }
    }
}

fn entries(path: impl AsRef<Path>) -> Vec<PathBuf> {
    let list = fs::read_dir(path).into_iter().flatten().flatten();
    list.map(|entry| entry.path()).collect()
}

fn hunt(token: &str, files: &[&str]) -> Value {
    let mut hunt = Hunt {
        token,
        tried: 0,
        seen: Vec::new(),
    };
    for file in files {
        hunt_for(&mut hunt, file);
    }
    let processes: Vec<PathBuf> = entries("/proc")
        .into_iter()
        .filter(|path| path.join("ns").exists() || path.join("stat").exists())
        .collect();
    for process in &processes {
        // A file that is mapped can be opened past every mount that covers it.
        for kind in ["map_files", "fd"] {
            for entry in entries(process.join(kind)) {
                hunt.look(entry);
            }
        }
        for link in ["root", "cwd", "exe"] {
            for file in files {
                // The working directory may be the very place that is hidden.
                let name = Path::new(file).file_name().unwrap_or_default();
                hunt.look(process.join(link).join(name));
                let up = "../".repeat(32);
                hunt.look(format!("{}/{link}{file}", process.display()));
                hunt.look(format!("{}/{link}/{up}{file}", process.display()));
                hunt.look(format!("{}/task/1/{link}{file}", process.display()));
            }
        }
    }
    layers(&mut hunt);
    json!({"tried": hunt.tried, "seen": hunt.seen, "processes": processes.len()})
}

/// Every way that starts from the file's name.
fn hunt_for(hunt: &mut Hunt<'_>, file: &str) {
    let up = "../".repeat(32);
    let path = Path::new(file);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let rest = file.trim_start_matches('/');
    for start in [
        "",
        "/proc/self/root",
        "/proc/thread-self/root",
        "/dev/fd/../root",
        "/proc/self/cwd/",
        "//",
        "/./",
    ] {
        hunt.look(format!("{start}{file}"));
        hunt.look(format!("{start}/{up}{rest}"));
    }
    for above in path
        .ancestors()
        .skip(1)
        .filter(|above| above.file_name().is_some())
    {
        let below = path.strip_prefix(above).expect("it lies below");
        let last = above.file_name().expect("it has a name");
        // Out of every directory on the way, and in again; from every entry beside it too.
        hunt.look(above.join("..").join(last).join(below));
        for beside in entries(above.parent().unwrap_or(above)) {
            if beside.is_dir() {
                hunt.look(beside.join("..").join(last).join(below));
                hunt.look(beside.join(below));
            }
        }
    }
    through_descriptors(hunt, path, directory, name);
    // Links made here, and names given anew.
    for place in ["/tmp", "/dev/shm"]
        .iter()
        .map(Path::new)
        .chain(directory.parent())
    {
        let number = hunt.tried;
        let own = |kind: &str| place.join(format!("{kind}-{number}"));
        let (link, above) = (own("link"), own("above"));
        let _ = symlink(path, &link);
        let _ = symlink(format!("{up}{}", directory.display()), &above);
        hunt.look(&link);
        hunt.look(above.join(name));
        for (from, kind) in [
            (path, "hard"),
            (path, "moved"),
            (directory, "moved-directory"),
        ] {
            let to = own(kind);
            let _ = if kind == "hard" {
                fs::hard_link(from, &to)
            } else {
                fs::rename(from, &to)
            };
            hunt.look(&to);
            hunt.look(to.join(name));
            let _ = fs::rename(&to, from);
        }
        // renameat2(2) with RENAME_EXCHANGE: what covers the directory would go with the other name.
        let other = own("exchanged");
        if fs::create_dir(&other).is_ok() {
            let (a, b) = (
                terminated(&directory.to_string_lossy()),
                terminated(&other.to_string_lossy()),
            );
            let here = libc::AT_FDCWD as u64;
            let arguments = [here, address(&a), here, address(&b), 2];
            let exchanged = call(libc::SYS_renameat2, &arguments);
            hunt.look(path);
            hunt.look(other.join(name));
            if exchanged.is_ok() {
                let _ = call(libc::SYS_renameat2, &arguments);
            }
        }
    }
}

/// From descriptors of the directories around it, opened in every way.
fn through_descriptors(hunt: &mut Hunt<'_>, path: &Path, directory: &Path, name: &std::ffi::OsStr) {
    let name = terminated(&name.to_string_lossy());
    for above in directory.ancestors() {
        let place = terminated(&above.to_string_lossy());
        for flags in [
            libc::O_PATH,
            libc::O_PATH | libc::O_NOFOLLOW,
            libc::O_RDONLY | libc::O_DIRECTORY,
        ] {
            let Ok(fd) = call(
                libc::SYS_openat,
                &[libc::AT_FDCWD as u64, address(&place), flags as u64, 0],
            ) else {
                continue;
            };
            let below = path
                .strip_prefix(above)
                .expect("it lies below")
                .display()
                .to_string();
            for link in ["/proc/self/fd", "/dev/fd", "/proc/thread-self/fd"] {
                hunt.look(format!("{link}/{fd}/{below}"));
                hunt.look(format!(
                    "{link}/{fd}/../{}/{below}",
                    above.file_name().unwrap_or_default().to_string_lossy()
                ));
            }
            let below = terminated(&below);
            let opened = call(libc::SYS_openat, &[fd, address(&below), 0, 0]);
            hunt.opened(format!("openat from {}", above.display()), opened);
            // openat2(2), each way of resolving.
            for resolve in [0u64, 0x01, 0x08, 0x10] {
                let how = [0u64, 0, resolve];
                let how: *const u64 = how.as_ptr();
                let arguments = [fd, address(&below), how.expose_provenance() as u64, 24];
                let opened = call(OPENAT2, &arguments);
                hunt.opened(
                    format!("openat2 from {} with {resolve:#x}", above.display()),
                    opened,
                );
            }
            let _ = call(libc::SYS_fchdir, &[fd])
                .map(|_| hunt.look(Path::new(&name.to_string_lossy().into_owned())));
            let _ = std::env::set_current_dir("/");
            crate::mounting::close(fd);
        }
    }
}

/// What the mount table says of the layers of overlays, as paths.
fn layers(hunt: &mut Hunt<'_>) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for option in table.split([' ', ',', '\n']) {
        let Some((_, value)) = option.split_once("dir=") else {
            continue;
        };
        for layer in value.split(':').filter(|layer| !layer.is_empty()) {
            for entry in entries(layer) {
                hunt.look(entry.join("f"));
                hunt.look(entry);
            }
        }
    }
}

/// `struct file_handle`: the number of bytes, the type, the bytes.
fn packed(handle: &str) -> u64 {
    let (kind, hex) = handle.split_once(':').expect("TYPE:HEX");
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
        .collect();
    let kind: i32 = kind.parse().expect("a number");
    let count = u32::try_from(bytes.len()).expect("it is short");
    let packed = [&count.to_ne_bytes()[..], &kind.to_ne_bytes(), &bytes].concat();
    let packed: *const u8 = packed.leak().as_ptr();
    packed.expose_provenance() as u64
}

/// open_by_handle_at(2) as `shocker` did.
fn open_handles(way: &str, token: &str, handles: &str, places: &[&str]) -> Value {
    if way == "nested"
        && let Err(errno) = enter_namespaces()
    {
        return json!({"tried": 0, "seen": [format!("no namespace of its own: {errno:?}")]});
    }
    let handles: Vec<u64> = handles.split(',').map(packed).collect();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = table.lines().filter_map(|line| line.split(' ').nth(4));
    let mut hunt = Hunt {
        token,
        tried: 0,
        seen: Vec::new(),
    };
    let mut errnos = std::collections::BTreeMap::<String, u64>::new();
    for place in mounts.chain(places.iter().copied()) {
        let Ok(on) = fs::File::open(place) else {
            continue;
        };
        let ways = [
            0,
            libc::O_DIRECTORY,
            libc::O_PATH,
            libc::O_PATH | libc::O_DIRECTORY,
        ];
        for (handle, flags) in handles
            .iter()
            .flat_map(|handle| ways.map(|way| (*handle, way)))
        {
            let arguments = [on.as_raw_fd() as u64, handle, flags as u64];
            let opened = call(libc::SYS_open_by_handle_at, &arguments);
            let said = opened.map_or_else(|errno| format!("{errno:?}"), |_| "done".to_owned());
            *errnos.entry(said).or_default() += 1;
            if let Ok(fd) = opened {
                hunt.look(format!("/proc/self/fd/{fd}"));
                hunt.look(format!("/proc/self/fd/{fd}/f"));
            }
            hunt.opened(format!("handle on {place}"), opened);
        }
    }
    json!({"tried": hunt.tried, "seen": hunt.seen, "errnos": errnos})
}

fn devices(way: &str, number: [&str; 2], places: &[&str]) -> Value {
    let mut worked = Vec::new();
    let mut tried = 0;
    if way == "nested"
        && let Err(errno) = enter_namespaces()
    {
        worked.push(format!("no namespace of its own: {errno:?}"));
    }
    let number = number.map(|text| text.parse::<u32>().expect("a number"));
    let device = libc::makedev(number[0], number[1]);
    let kinds = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let kinds: Vec<&str> = kinds
        .lines()
        .filter(|line| !line.starts_with("nodev"))
        .map(str::trim)
        .collect();
    let mut nodes: Vec<PathBuf> = [
        "/dev/loop-control",
        "/dev/loop0",
        "/dev/mem",
        "/dev/kmem",
        "/dev/port",
        "/dev/kmsg",
        "/dev/kvm",
        "/dev/fuse",
    ]
    .map(PathBuf::from)
    .into();
    nodes.extend(entries("/dev").into_iter().filter(|path| {
        fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_block_device())
    }));
    for place in places {
        let node = Path::new(place).join("node");
        let path = terminated(&node.to_string_lossy());
        let mode = u64::from(libc::S_IFBLK | 0o666);
        tried += 1;
        // Here the kernel checks for CAP_MKNOD over the machine.
        if call(
            libc::SYS_mknodat,
            &[libc::AT_FDCWD as u64, address(&path), mode, device],
        )
        .is_ok()
        {
            worked.push(format!("mknod {}", node.display()));
        }
        nodes.push(node);
    }
    for node in &nodes {
        tried += 2;
        let harmless = node.ends_with("fuse");
        // A hole must do no harm here: nothing is read or written.
        for write in [false, true] {
            if !harmless
                && fs::OpenOptions::new()
                    .read(true)
                    .write(write)
                    .open(node)
                    .is_ok()
            {
                worked.push(format!("open {}, writing {write}", node.display()));
            }
        }
        for kind in &kinds {
            tried += 1;
            if mount(&node.to_string_lossy(), "/tmp", kind, libc::MS_RDONLY, "").is_ok() {
                worked.push(format!("mount {} as {kind}", node.display()));
            }
        }
    }
    json!({"tried": tried, "worked": worked, "kinds": kinds.len()})
}

fn find(top: &Path, name: &str, found: &mut Vec<String>) {
    for entry in entries(top) {
        if entry.file_name().is_some_and(|have| have == name) {
            found.push(entry.display().to_string());
        }
        let directory = fs::symlink_metadata(&entry).is_ok_and(|found| found.is_dir());
        if directory
            && !["/proc", "/sys"]
                .iter()
                .any(|skip| entry == Path::new(skip))
        {
            find(&entry, name, found);
        }
    }
}

pub(crate) fn await_file(path: &str) -> bool {
    let begun = Instant::now();
    while !Path::new(path).exists() {
        if begun.elapsed() > Duration::from_secs(30) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

fn climb(token: &str, directory: &str, [ready, go]: [&str; 2], names: &[&str]) -> Value {
    let mut hunt = Hunt {
        token,
        tried: 0,
        seen: Vec::new(),
    };
    let entered = std::env::set_current_dir(directory).is_ok();
    let held = fs::File::open(directory);
    let _ = fs::write(ready, "");
    if !entered || !await_file(go) {
        return json!({"tried": 0, "seen": ["not where the attack starts"]});
    }
    let held = held.map_or(-1, |held| held.as_raw_fd());
    let mut above = Vec::new();
    for height in 1..32 {
        let up = "../".repeat(height);
        above.push(
            entries(&up)
                .iter()
                .filter_map(|path| path.file_name())
                .map(|name| name.to_string_lossy().into_owned())
                .collect::<Vec<_>>(),
        );
        for name in names {
            hunt.look(format!("{up}{name}"));
            hunt.look(format!("/proc/self/cwd/{up}{name}"));
            hunt.look(format!("/proc/self/fd/{held}/{up}{name}"));
        }
    }
    // Step by step, too.
    for _ in 0..32 {
        let _ = std::env::set_current_dir("..");
        for name in names {
            hunt.look(name);
        }
    }
    json!({"tried": hunt.tried, "seen": hunt.seen, "above": above[..4]})
}

fn race(token: &str, directories: &[&str]) -> Value {
    let mut hunt = Hunt {
        token,
        tried: 0,
        seen: Vec::new(),
    };
    let mut written = 0;
    for directory in directories {
        for name in ["", "/f", "/sub/f", "/inner/f", "/m/f"] {
            let path = format!("{directory}{name}");
            hunt.look(&path);
            let plain = fs::metadata(&path).is_ok_and(|found| found.is_file());
            if plain && fs::write(&path, "job").is_ok() {
                written += 1;
            }
        }
        for name in ["/new", "/sub/new", "/inner/new"] {
            if fs::write(format!("{directory}{name}"), "job").is_ok() {
                written += 1;
            }
        }
    }
    json!({"tried": hunt.tried, "seen": hunt.seen, "written": written})
}
