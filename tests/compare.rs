//! The same look from inside through bubblewrap and through stdbox. What differs is listed here with its reason; a listed
//! difference that has vanished fails like a new one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use support::{probe, root, run, skip};

/// What is seen → (bubblewrap, stdbox).
type Sight = BTreeMap<String, String>;

const PATHS: &[&str] = &[
    "/",
    "/usr",
    "/etc",
    "/var",
    "/tmp",
    "/run",
    "/proc",
    "/sys",
    "/dev",
    "/dev/pts",
    "/dev/shm",
    "/dev/null",
];

/// What is known to differ: what is seen, through bubblewrap, through stdbox, and why.
const KNOWN: &[(&str, &str, &str, &str)] = &[
    (
        "Seccomp",
        "0",
        "2",
        "bubblewrap installs a filter only if it is given one",
    ),
    (
        "securebits",
        "0",
        "239",
        "bubblewrap relies on no_new_privs; stdbox locks the way back twice",
    ),
    (
        "session of pid 1",
        "true",
        "false",
        "with bubblewrap its own init leads the session, with stdbox the target does",
    ),
    (
        "core limit",
        "as the caller",
        "0",
        "a job that crashes leaves no core file",
    ),
    (
        "other descriptors",
        "1",
        "0",
        "bubblewrap passes on whatever is not close-on-exec",
    ),
    (
        "dev: core",
        "yes",
        "no",
        "a link to /proc/kcore, which no container can read",
    ),
    (
        "dev: mqueue",
        "no",
        "yes",
        "POSIX message queues of the container's own",
    ),
    (
        "/sys: flags",
        "ro,nosuid,nodev",
        "ro,nosuid,nodev,noexec",
        "sysfs mounts are noexec here",
    ),
    (
        "/dev/shm: mode",
        "755",
        "1777",
        "bubblewrap makes a plain directory, stdbox what shm_overview(7) describes",
    ),
    (
        "/tmp: mode",
        "755",
        "1777",
        "hidden directories take the mode of what they stand for",
    ),
    (
        "/etc/passwd",
        "the host's",
        "its own",
        "nothing asks a remote directory service",
    ),
    (
        "HOME",
        "the caller's",
        "/tmp",
        "an account of the container's own, whose home cannot be made in a read-only tree",
    ),
];

/// Known differences that are only there for one kind of caller.
const KNOWN_FOR_ROOT: &[(&str, &str, &str, &str)] = &[(
    "/proc/sys writable",
    "true",
    "false",
    "of the real root, the kernel asks only for the uid there",
)];

fn sight(status: &Value, places: &Value, extra: &str) -> Sight {
    let own = |name: &str| {
        fs::read_link(format!("/proc/self/ns/{name}"))
            .unwrap()
            .display()
            .to_string()
    };
    let mut seen = Sight::new();
    let mut add = |what: &str, value: String| seen.insert(what.to_owned(), value);
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    for key in [
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Uid",
        "Gid",
        "Umask",
    ] {
        add(key, text(&status["status"][key]));
    }
    add("securebits", status["securebits"].to_string());
    add("dumpable", status["dumpable"].to_string());
    add("session of pid 1", (status["sid"] == 1).to_string());
    add("terminal", text(&status["tty"]["errno"]));
    add("parent is pid 1", (status["ppid"] == 1).to_string());
    let core = &status["limits"]["core"];
    add(
        "core limit",
        // 1 is less than 0: core(5).
        if *core == json!([0, 0]) || *core == json!([1, 1]) {
            "0".into()
        } else {
            "as the caller".into()
        },
    );
    let others = status["fds"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|fd| fd.as_str() == "77")
        .count();
    add("other descriptors", others.to_string());
    for name in ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"] {
        add(
            &format!("own {name} namespace"),
            (status["namespaces"][name] != own(name)).to_string(),
        );
    }
    for name in status["dev"].as_array().unwrap() {
        add(&format!("dev: {}", name.as_str().unwrap()), "yes".into());
    }
    for path in PATHS {
        add(&format!("{path}: flags"), text(&places[path]["flags"]));
        add(&format!("{path}: mode"), text(&places[path]["mode"]));
    }
    for line in extra.lines() {
        let (what, value) = line.split_once('\t').expect("a name and a value");
        add(what, value.to_owned());
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap().len().to_string();
    for (what, host) in [("/etc/passwd", passwd), ("HOME", "/caller".into())] {
        if let Some(value) = seen.get_mut(what) {
            if *value == host {
                *value = if what == "HOME" {
                    "the caller's".into()
                } else {
                    "the host's".into()
                };
            } else if what == "/etc/passwd" {
                *value = "its own".into();
            }
        }
    }
    seen
}

/// Runs in either container; prints two lines of JSON and some of text.
fn script() -> String {
    format!(
        "{0} status; {0} paths {1}
printf 'HOME\\t%s\\n' \"$HOME\"
printf '/etc/passwd\\t%s\\n' \"$(wc -c < /etc/passwd)\"
printf 'hostname\\t%s\\n' \"$(cat /proc/sys/kernel/hostname)\"
printf 'other processes\\t%s\\n' \"$(set -- /proc/[0-9]*; echo $#)\"
printf 'network devices\\t%s\\n' \"$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' \\n')\"
printf 'loopback\\t%s\\n' \"$({0} inet)\"
printf '/proc/sys writable\\t%s\\n' \"$(test -w /proc/sys/kernel/core_pattern && echo true || echo false)\"
printf 'CapBnd of a nested root\\t%s\\n' \"$(unshare -Ur grep CapBnd /proc/self/status | cut -f2)\"
for place in / /usr /etc /var /tmp /run /sys /dev; do
printf 'writable: %s\\t%s\\n' $place \"$(if touch $place/probe-of-a-test 2>/dev/null; then echo yes; else echo no; fi)\"; done",
        probe().display(),
        PATHS.join(" ")
    )
}

fn parse(text: &str) -> Sight {
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (status, places, extra) = (next(), next(), next());
    let json =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {text}"));
    sight(&json(status), &json(places), extra)
}

/// A descriptor that a careless caller leaves open.
const LEAK: &str = "exec 77</dev/null; exec \"$@\"";

fn through_bubblewrap() -> Option<Sight> {
    let options = "--unshare-all --cap-drop ALL --uid 1000 --gid 1000 --hostname stdbox --ro-bind / / --dev /dev --proc /proc \
                   --tmpfs /tmp --tmpfs /run --die-with-parent --new-session --chdir /";
    let mut command = Command::new("bash");
    command
        .args(["-c", LEAK, "bash", "bwrap"])
        .args(options.split_whitespace())
        .args(["/bin/sh", "-c", &script()]);
    let output = command
        .env("HOME", "/caller")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.is_empty() {
        return None;
    }
    Some(parse(&text))
}

fn through_stdbox() -> Sight {
    let job =
        json!({"argv": ["/bin/sh", "-c", script()], "cwd": "/", "directories": {"/": "read-only"}});
    let mut command = Command::new("bash");
    command
        .args(["-c", LEAK, "bash"])
        .arg(support::stdbox())
        .env("HOME", "/caller");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("bash starts");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), job.to_string().as_bytes())
        .unwrap();
    let report: Value =
        serde_json::from_slice(&child.wait_with_output().unwrap().stdout).expect("a report");
    parse(
        report["stdout"]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{report}")),
    )
}

#[test]
fn view_through_stdbox_differs_from_bubblewraps_as_listed() {
    let Some(theirs) = through_bubblewrap() else {
        return skip("bwrap", "bubblewrap is not there, or cannot run");
    };
    let ours = through_stdbox();
    let known = KNOWN.iter().chain(KNOWN_FOR_ROOT.iter().filter(|_| root()));
    let known: BTreeMap<&str, (&str, &str)> = known
        .map(|(what, theirs, ours, _)| (*what, (*theirs, *ours)))
        .collect();
    let mut surprises = Vec::new();
    for what in theirs.keys().chain(ours.keys()).chain(
        known
            .keys()
            .map(|what| (*what).to_owned())
            .collect::<Vec<_>>()
            .iter(),
    ) {
        let of = |sight: &Sight| sight.get(what).map_or("no", String::as_str).to_owned();
        let (theirs, ours) = (of(&theirs), of(&ours));
        let fine = known
            .get(what.as_str())
            .map_or(theirs == ours, |(a, b)| theirs == *a && ours == *b);
        if !fine {
            surprises.push(format!(
                "{what}: {theirs} through bubblewrap, {ours} through stdbox"
            ));
        }
    }
    surprises.sort();
    surprises.dedup();
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// What both must agree on, said once more in plain words, so that a list above cannot wave it through.
#[test]
fn view_through_stdbox_is_confined() {
    let ours = through_stdbox();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(ours[set], "0000000000000000", "{set}");
    }
    for name in ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"] {
        assert_eq!(ours[&format!("own {name} namespace")], "true", "{name}");
    }
    for place in ["/", "/usr", "/etc", "/var", "/sys"] {
        assert_eq!(ours[&format!("writable: {place}")], "no", "{place}");
    }
    assert_eq!(
        (
            ours["writable: /tmp"].as_str(),
            ours["network devices"].as_str()
        ),
        ("yes", "lo")
    );
    run(&json!({"argv": ["test", "!", "-e", "/tmp/probe-of-a-test"], "cwd": "/"})).exited(0);
}
