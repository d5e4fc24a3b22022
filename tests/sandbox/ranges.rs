//! Many ids in the container: `user.map: "range"`, alone and with kept capabilities.

use crate::common::{job, lines};
use crate::support::{self, Fresh, Run, root, run, shell, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a package manager, tar or su need to be root.
fn root_like() -> Value {
    json!({
        "user": {"uid": 0, "gid": 0, "map": "range"},
        "capabilities": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETGID", "CAP_SETUID"],
    })
}

/// The same with more fields, or others.
fn with(mut fields: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        fields[key] = value.clone();
    }
    fields
}

/// An ordinary user who has subordinate ids, and how to run stdbox as that user: with the arguments of a command line in
/// front. Root takes one of /etc/subuid.
struct Ordinary {
    user: String,
    copy: Fresh,
}

impl Ordinary {
    /// None where there is nobody, which is said.
    fn new() -> Option<Self> {
        let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
        let names = fs::read_to_string("/etc/subuid").unwrap_or_default();
        let named =
            |name: &&str| nix::unistd::User::from_name(name).is_ok_and(|user| user.is_some());
        let mut names = names.lines().filter_map(|line| line.split(':').next());
        let user = if root() {
            names.find(named).map(str::to_owned)
        } else {
            own.map(|user| user.name)
                .filter(|own| names.any(|name| name == own))
        };
        if user.is_none() || !Path::new("/usr/bin/newuidmap").exists() {
            skip(
                "subids",
                "no user with subordinate ids (useradd), or no newuidmap (Debian package uidmap)",
            );
            return None;
        }
        let copy = Fresh::new();
        fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::copy(support::stdbox(), copy.path().join("stdbox")).unwrap();
        Some(Self { user: user?, copy })
    }

    fn command(&self, before: &[&str]) -> Command {
        let mut words: Vec<String> = Vec::new();
        if root() {
            words.extend(
                [
                    "setpriv",
                    "--reuid",
                    &self.user,
                    "--regid",
                    &self.user,
                    "--clear-groups",
                ]
                .map(str::to_owned),
            );
        }
        words.extend(before.iter().map(|&word| word.to_owned()));
        words.push(self.copy.path().join("stdbox").to_str().unwrap().to_owned());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, job: &Value) -> Run {
        finish(self.command(&[]), job)
    }

    fn shell(&self, script: &str, fields: Value) -> Run {
        self.run(&job(script, &[], &fields))
    }
}

/// Runs a command that is stdbox in the end.
fn finish(mut command: Command, job: &Value) -> Run {
    use std::io::Write;
    let mut child = command.spawn().unwrap();
    let _early = child
        .stdin
        .take()
        .unwrap()
        .write_all(job.to_string().as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        report: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        status: output.status.code(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Whether this user has a range; says so if not.
fn ranged() -> bool {
    root() || Ordinary::new().is_some()
}

const MAP: &str =
    "tr -s ' ' < /proc/self/uid_map; tr -s ' ' < /proc/self/gid_map; cat /proc/self/setgroups; id";

#[test]
fn range_of_an_ordinary_user_begins_at_0_and_leaves_the_target_its_own_id() {
    let Some(ordinary) = Ordinary::new() else {
        return;
    };
    let own = nix::unistd::User::from_name(&ordinary.user)
        .unwrap()
        .unwrap();
    let line = fs::read_to_string("/etc/subuid").unwrap();
    let line = line
        .lines()
        .find(|line| line.starts_with(&format!("{}:", ordinary.user)))
        .unwrap();
    let fields: Vec<u32> = line
        .split(':')
        .skip(1)
        .map(|field| field.parse().unwrap())
        .collect();
    let (first, count) = (fields[0], fields[1]);
    // Made outside by the caller, and inside by the target: the same owner.
    let place = Fresh::new();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    for (uid, others) in [
        (0, format!(" 1 {first} {count}\n")),
        (
            1000,
            format!(" 0 {first} 1000\n 1001 {} {}\n", first + 1000, count - 1000),
        ),
    ] {
        let mut expected: Vec<String> = others.lines().map(str::to_owned).collect();
        expected.push(format!(" {uid} {} 1", own.uid));
        expected.sort();
        let fields = json!({
            "user": {"uid": uid, "gid": uid, "map": "range"},
            "directories": {place.str(): "full-access"},
        });
        let script = format!("{MAP}; rm -f {0}/x; touch {0}/x", place.str());
        let run = ordinary.shell(&script, fields);
        let seen = run.exited(0).stdout();
        let uids: Vec<&str> = seen.lines().take(expected.len()).collect();
        let mut sorted = uids.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{run}");
        assert!(
            seen.contains("\nallow\n") && seen.contains(&format!("uid={uid}(")),
            "{run}"
        );
        let made = fs::metadata(place.path().join("x")).unwrap();
        assert_eq!(
            (made.uid(), made.gid()),
            (own.uid.as_raw(), own.gid.as_raw())
        );
    }
}

#[test]
fn range_of_root_is_every_id_and_two_change_places() {
    if !root() {
        return skip("root", "only root has all ids");
    }
    let all = fs::read_to_string("/proc/self/uid_map").unwrap();
    if all.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"] {
        return skip("root", "this root is not the machine's");
    }
    let mapped = |uid: u32| {
        let run = shell(MAP, json!({"user": {"uid": uid, "gid": 0, "map": "range"}}));
        let seen = run.exited(0).stdout().to_owned();
        seen.lines()
            .filter(|line| line.starts_with(' '))
            .map(|line| line[1..].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        mapped(0),
        ["0 0 1", "1 1 4294967294", "0 0 1", "1 1 4294967294"]
    );
    let lines = mapped(1000);
    assert_eq!(lines.len(), 6, "{lines:?}");
    for line in ["1000 0 1", "0 1000 1", "1 1 999", "1001 1001 4294966294"] {
        assert!(lines.iter().any(|seen| seen == line), "{lines:?}");
    }
}

#[test]
fn range_without_capabilities_gives_no_other_id() {
    if !ranged() {
        return;
    }
    let script = "touch /tmp/x; chown 33 /tmp/x; setpriv --reuid 33 id; setpriv --clear-groups id; setpriv --regid 33 id; su -c id nobody </dev/null
        grep -h ^Cap /proc/self/status | uniq -f 1; ls -n /tmp/x | cut -d' ' -f 3,4";
    let run = shell(
        script,
        json!({"user": {"uid": 0, "gid": 0, "map": "range"}}),
    );
    assert_eq!(
        run.exited(0).stdout(),
        "CapInh:\t0000000000000000\n0 0\n",
        "{run}"
    );
}

#[test]
fn range_with_capabilities_changes_owners_ids_and_groups() {
    if !ranged() {
        return;
    }
    let script = "cd /tmp; touch a b; chown 33:34 a; chgrp 7 b; stat -c '%n %u %g' a b
        chmod 600 a; setpriv --reuid 33 --regid 34 --groups 5,6 sh -c 'id; echo x > a; : > b' 2>/dev/null
        setpriv --reuid 33 --regid 34 --clear-groups sh -c 'sed -n s/^CapEff:.//p /proc/self/status; setpriv --reuid 0 true || echo no way back' 2>/dev/null
        mkdir d; chown 99:98 d; chmod 700 d; touch d/x; rm -r d; python3 -c '
import os
os.seteuid(33); print(os.geteuid(), open(\"/proc/thread-self/status\").read().split(\"CapEff:\\t\")[1][:16])
os.seteuid(0); os.setgroups([1, 2]); os.chown(\"b\", 55, 56); print(os.getgroups())'
        cat a; stat -c '%n %u %g' b";
    let expected = "a 33 34\nb 0 7\nuid=33 gid=34 groups=34,5,6\n0000000000000000\nno way back\n33 0000000000000000\n[1, 2]\nx\nb 55 56\n";
    for seccomp in ["default", "strict", "off"] {
        let run = shell(script, with(root_like(), &json!({"seccomp": seccomp})));
        assert_eq!(run.exited(0).stdout(), expected, "{seccomp}: {run}");
    }
}

#[test]
fn range_with_capabilities_of_another_id_than_0_keeps_them() {
    if !ranged() {
        return;
    }
    let fields =
        json!({"user": {"uid": 1000, "gid": 1000, "map": "range"}, "capabilities": ["CAP_CHOWN"]});
    let run = shell(
        "touch /tmp/x; chown 0:33 /tmp/x; stat -c '%u %g' /tmp/x; id -u",
        fields,
    );
    assert_eq!(run.exited(0).stdout(), "0 33\n1000\n", "{run}");
}

#[test]
fn range_lets_tar_restore_owners() {
    if !ranged() {
        return;
    }
    let script = "cd /tmp; mkdir -p t/d; echo x > t/d/f; ln t/d/f t/hard; ln -s f t/d/l; chown -h 1:2 t/d/l; chown 12:13 t/d/f; chown 65:66 t/d; chmod 2750 t/d; chmod 4711 t/d/f
        tar -cf t.tar t; rm -r t; tar -xpf t.tar; stat -c '%n %u:%g %a' t/d t/d/f t/d/l";
    let run = shell(script, root_like());
    assert_eq!(
        run.exited(0).stdout(),
        "t/d 65:66 2750\nt/d/f 12:13 4711\nt/d/l 1:2 777\n",
        "{run}"
    );
}

/// A package with files of several owners, and a script that changes more.
const PACKAGE: &str = "mkdir -p /tmp/p/DEBIAN /tmp/p/opt/thing/data; cd /tmp
    printf 'Package: thing\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n' > p/DEBIAN/control
    printf '#!/bin/sh\\nset -e\\nchown 33:34 /opt/thing/data\\n' > p/DEBIAN/postinst; chmod 755 p/DEBIAN/postinst
    echo hello > p/opt/thing/file; chown 12:13 p/opt/thing/file
    dpkg-deb -b p thing.deb >/dev/null";

#[test]
fn range_lets_dpkg_install_a_package() {
    if !ranged() {
        return;
    }
    if !Path::new("/usr/bin/dpkg-deb").exists() {
        return skip("dpkg", "no dpkg");
    }
    // What belongs to the machine's root is no file of an ordinary user's range, so its database is a new one.
    let script = format!("{PACKAGE}; mkdir -p /tmp/db/info /tmp/db/updates; : > /tmp/db/status; : > /tmp/db/available
        dpkg --admindir=/tmp/db -i thing.deb >/dev/null 2>/tmp/errors || cat /tmp/errors
        stat -c '%n %u:%g' /opt/thing /opt/thing/file /opt/thing/data; dpkg --admindir=/tmp/db -s thing | grep ^Status
        dpkg --admindir=/tmp/db -P thing >/dev/null; ls -d /opt/thing 2>/dev/null; true");
    let run = shell(
        &script,
        with(root_like(), &json!({"directories": {"/opt": "hidden"}})),
    );
    let expected = "/opt/thing 0:0\n/opt/thing/file 12:13\n/opt/thing/data 33:34\nStatus: install ok installed\n";
    assert_eq!(run.exited(0).stdout(), expected, "{run}");
}

#[test]
fn range_lets_apt_give_up_its_privileges() {
    if !ranged() {
        return;
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        return skip("apt", "no apt-get");
    }
    // apt reads its lists as _apt, and checks that it cannot get its privileges back.
    let script = format!("{PACKAGE}; mkdir -p repo state/lists/partial cache/archives/partial etc log; mv thing.deb repo/
        (echo Package: thing; echo Version: 1; echo Architecture: all; echo Filename: ./thing.deb; echo Size: $(stat -c %s repo/thing.deb)
         echo SHA256: $(sha256sum repo/thing.deb | cut -d' ' -f1); echo 'Maintainer: x <x@example.org>'; echo Description: x) > repo/Packages
        echo 'deb [trusted=yes] copy:/tmp/repo ./' > etc/sources.list; : > state/status; chown -R 42 repo state/lists/partial cache/archives/partial
        echo '_apt:x:42:65534::/nonexistent:/bin/false' >> /etc/passwd
        apt=\"apt-get -o Dir::State=/tmp/state -o Dir::State::status=/tmp/state/status -o Dir::Cache=/tmp/cache -o Dir::Etc::sourcelist=/tmp/etc/sources.list
            -o Dir::Etc::sourceparts=- -o Dir::Log=/tmp/log -o APT::Sandbox::User=_apt -o APT::Sandbox::Verify=true\"
        $apt update >out 2>&1 || {{ cat out; exit 1; }}
        ! grep -i -e '^W:' -e '^E:' out
        cd repo && $apt download thing >out 2>&1 || {{ cat out; exit 1; }}; cd ..
        chown 0 repo/Packages; chmod 600 repo/Packages; rm -rf state/lists; $apt update 2>&1 | grep -o -m 1 'Permission denied'
        chmod 644 repo/Packages; $apt update >/dev/null 2>&1; $apt -s install thing | grep ^Inst");
    let fields = with(root_like(), &json!({"directories": {"/etc": "overlay"}}));
    let run = shell(&script, fields);
    assert_eq!(
        run.exited(0).stdout(),
        "Permission denied\nInst thing (1 localhost [all])\n",
        "{run}"
    );
}

/// Makes files of several ids in a directory of the host, by a job; the last one removes them.
struct Owned {
    place: Fresh,
}

impl Owned {
    fn new() -> Self {
        let place = Fresh::new();
        let owned = Self { place };
        let script = "cd $1; mkdir -m 700 d; echo a > d/a; echo b > b; mkdir -p -m 755 e/f; echo g > e/f/g; chown -R 33:34 d; chown 7:8 b; chown -R 1:1 e; chmod 600 b";
        owned.job(script, "full-access").exited(0);
        owned
    }

    fn job(&self, script: &str, mode: &str) -> Run {
        let fields = with(
            root_like(),
            &json!({"directories": {self.place.str(): mode}}),
        );
        run(&job(script, &[self.place.str().as_bytes()], &fields))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _left = self.job("cd $1 && rm -rf d b e", "full-access");
    }
}

#[test]
fn range_lets_files_of_many_owners_change_in_an_overlay() {
    if !ranged() {
        return;
    }
    let owned = Owned::new();
    let look = "cd $1 && find . ! -name . -printf '%p %U:%G %m\\n' | sort; cat b d/a e/f/g";
    let before = owned.job(look, "read-only");
    let expected = "./b 7:8 600\n./d 33:34 700\n./d/a 33:34 644\n./e 1:1 755\n./e/f 1:1 755\n./e/f/g 1:1 644\nb\na\ng\n";
    assert_eq!(before.exited(0).stdout(), expected, "{before}");
    // Append, new file, chmod, chown, rename, removal, replacement: all of it copies something up.
    let change = format!("cd $1; echo more >> b; setpriv --reuid 33 --regid 34 --clear-groups sh -c 'echo mine >> d/a; echo new > d/n; chmod 640 d/a; mv d/n d/m'
        chown 44:45 e/f/g; echo x > e/new; rm -r e/f; mkdir e/f; {}", look.replace("e/f/g", "d/m"));
    let changed = owned.job(&change, "overlay");
    let expected = "./b 7:8 600\n./d 33:34 700\n./d/a 33:34 640\n./d/m 33:34 644\n./e 1:1 755\n./e/f 0:0 755\n./e/new 0:0 644\nb\nmore\na\nmine\nnew\n";
    assert_eq!(changed.exited(0).stdout(), expected, "{changed}");
    assert_eq!(changed.stderr(), "", "{changed}");
    let after = owned.job(look, "read-only");
    assert_eq!(after.stdout(), before.stdout(), "the host has changed");
}

#[test]
fn range_of_one_id_cannot_copy_files_of_others() {
    if !ranged() {
        return;
    }
    // What the test above shows is the range's doing.
    let owned = Owned::new();
    let fields = json!({"directories": {owned.place.str(): "overlay"}});
    let run = shell(
        &format!("echo x > {}/e/new; echo $?", owned.place.str()),
        fields,
    );
    assert_ne!(run.exited(0).stdout(), "0\n", "{run}");
}

/// Leaves directories of others behind, which nobody outside may enter or read.
const MESS: &str = "cd /srv; mkdir -p a/b/c z; echo x > a/b/c/x; mkfifo a/b/p; ln -s / a/l; chown -hR 33:34 a; chown 7 a/b/c; chmod 000 a/b/c a/b a
    i=0; p=z; while [ $i -lt 40 ]; do p=$p/d; mkdir $p; chown 5:6 $p; i=$((i+1)); done; chmod 0 z/d; touch /home/f; chown 99 /home/f; echo made";

fn messy() -> Value {
    with(
        root_like(),
        &json!({"directories": {"/": "read-only", "/srv": "hidden", "/home": "hidden"}}),
    )
}

#[test]
fn range_leaves_nothing_in_a_disk_scratch() {
    if !ranged() {
        return;
    }
    let place = Fresh::new();
    let fields = with(messy(), &json!({"scratch": {"directory": place.str()}}));
    let run = shell(MESS, fields);
    assert_eq!(run.exited(0).stdout(), "made\n", "{run}");
    assert_eq!(run.warnings(), Vec::<&str>::new(), "{run}");
    assert!(
        run.report["usage"]["scratch_bytes"].as_u64().unwrap() > 4096,
        "{run}"
    );
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{run}");
}

#[test]
fn range_that_was_killed_leaves_a_disk_scratch_for_the_next_job_to_remove() {
    if !ranged() {
        return;
    }
    let place = Fresh::new();
    let scratch = json!({"scratch": {"directory": place.str()}});
    let ready = Fresh::new();
    let script = format!("{MESS} > {}/made; sleep 1000", ready.str());
    let mut fields = with(messy(), &scratch);
    fields["directories"][ready.str()] = json!("full-access");
    let spec = ready.file("job.json", &job(&script, &[], &fields).to_string());
    let mut child = Command::new(support::stdbox())
        .arg("--spec")
        .arg(spec)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let made = ready.path().join("made");
    let started = Instant::now();
    while fs::read(&made).unwrap_or_default().is_empty() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the job does not start"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    // The lock goes with the last process of the job, which the kernel ends in its own time.
    let started = Instant::now();
    while fs::read_dir(place.path()).unwrap().count() > 0 {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "it is not removed"
        );
        shell("true", scratch.clone()).exited(0);
    }
}

#[test]
fn range_in_a_range_maps_the_ids_of_the_outer_one() {
    if !ranged() {
        return;
    }
    let inner = job(
        "touch /tmp/x; chown 33:44 /tmp/x; stat -c '%u %g' /tmp/x; setpriv --reuid 55 id -u; tr -s ' ' < /proc/self/uid_map | wc -l",
        &[],
        &root_like(),
    );
    let mut capabilities = root_like()["capabilities"].clone();
    capabilities
        .as_array_mut()
        .unwrap()
        .push(json!("CAP_SETFCAP"));
    let fields = with(root_like(), &json!({"capabilities": capabilities}));
    let mut outer = with(
        json!({"argv": [support::stdbox()], "cwd": "/", "stdin": {"text": inner.to_string()}}),
        &fields,
    );
    if root() {
        outer["proc"] = json!("nestable");
    }
    let outer = run(&outer);
    let report: Value = serde_json::from_str(outer.exited(0).stdout()).unwrap();
    assert_eq!(report["stdout"]["text"], "33 44\n55\n2\n", "{report:#}");
    // Without CAP_SETFCAP nothing can be mapped onto its uid 0.
    let mut without = with(
        json!({"argv": [support::stdbox()], "cwd": "/", "stdin": {"text": inner.to_string()}}),
        &root_like(),
    );
    if root() {
        without["proc"] = json!("nestable");
    }
    let report: Value = serde_json::from_str(run(&without).stdout()).unwrap();
    assert_eq!(report["outcome"], "setup-failed", "{report:#}");
}

#[test]
fn range_where_there_is_one_id_is_an_error() {
    let job = job("true", &[], &json!({"user": {"map": "range"}}));
    let mut command = Command::new("unshare");
    command
        .args(["-Ur"])
        .arg(support::stdbox())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = finish(command, &job);
    run.failed("no-id-range", "identity");
    assert_eq!(run.report["error"]["at"], "/user/map", "{run}");
}

/// Runs stdbox as an ordinary user where these files stand over others of the system; only root can do that.
fn with_files(job: &Value, files: &[(&str, &str)]) -> Option<Run> {
    if !root() {
        skip(
            "root",
            "only root can put other files in the system's place",
        );
        return None;
    }
    let ordinary = Ordinary::new()?;
    let mut script = String::from("set -e\n");
    for (i, (path, text)) in files.iter().enumerate() {
        let file = ordinary
            .copy
            .file(&i.to_string(), &text.replace("USER", &ordinary.user));
        script.push_str(&format!("mount --bind {} {path}\n", file.display()));
    }
    script.push_str(&format!(
        "exec setpriv --reuid {0} --regid {0} --clear-groups {1}/stdbox\n",
        ordinary.user,
        ordinary.copy.str()
    ));
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Some(finish(command, job))
}

fn look() -> Value {
    job(
        "/usr/bin/tr -s ' ' < /proc/self/uid_map",
        &[],
        &json!({"user": {"uid": 0, "gid": 0, "map": "range"}, "directories": {"/": "read-only"}}),
    )
}

#[test]
fn range_of_a_user_whom_subuid_does_not_name_is_an_error_that_says_what_to_add() {
    for (files, path) in [
        (
            [
                ("/etc/subuid", "# USER:1:1\nnobody-else:100000:65536\n"),
                ("/etc/subgid", "USER:1:1\n"),
            ],
            "/etc/subuid",
        ),
        (
            [("/etc/subuid", "USER:100000:5\n"), ("/etc/subgid", "")],
            "/etc/subgid",
        ),
    ] {
        let Some(run) = with_files(&look(), &files) else {
            return;
        };
        run.failed("no-id-range", "identity");
        let error = &run.report["error"];
        assert_eq!(
            (&error["at"], &error["path"]),
            (&json!("/user/map"), &json!(path)),
            "{run}"
        );
        assert!(
            error["hint"].as_str().unwrap().contains(":100000:65536"),
            "{run}"
        );
    }
}

#[test]
fn range_of_several_lines_good_and_bad_is_joined() {
    let lines = "# comment\n\nUSER\nUSER:x:y\nUSER:300000:10\nUSER:-5:5\nUSER:300005:10\nUSER:99999999999:1\nUSER:400000:0\nUSER:500000:10\n";
    let Some(run) = with_files(
        &look(),
        &[
            ("/etc/subuid", lines),
            ("/etc/subgid", "USER:100000:65536\n"),
        ],
    ) else {
        return;
    };
    let seen: Vec<&str> = run.exited(0).stdout().lines().skip(1).collect();
    assert_eq!(
        seen,
        [" 1 300000 10", " 11 300010 5", " 16 500000 10"],
        "{run}"
    );
    assert!(run.degraded().is_empty(), "{run}");
}

#[test]
fn range_of_more_lines_than_the_kernel_takes_is_degraded() {
    let many = |start: u32| {
        (0..1000)
            .map(|i| format!("USER:{}:1\n", start + i * 2))
            .collect::<String>()
    };
    for (start, lines) in [(2_000, 340), (1_000_000, 200), (2_000_000_000, 150)] {
        let Some(run) = with_files(
            &look(),
            &[
                ("/etc/subuid", &many(start)),
                ("/etc/subgid", "USER:100000:65536\n"),
            ],
        ) else {
            return;
        };
        assert_eq!(run.exited(0).degraded(), ["ids-left-out"], "{run}");
        let seen = run.stdout().lines().count();
        assert!((lines..=340).contains(&seen), "{seen}: {run}");
    }
}

#[test]
fn range_without_a_helper_is_an_error_that_names_the_package() {
    for missing in ["/usr/bin/newuidmap", "/usr/bin/newgidmap"] {
        // What cannot be executed is not there.
        let Some(run) = with_files(&look(), &[(missing, "")]) else {
            return;
        };
        run.failed("id-map-helper", "identity");
        let error = &run.report["error"];
        assert!(
            error["message"].as_str().unwrap().contains(&missing[9..]),
            "{run}"
        );
        assert!(error["hint"].as_str().unwrap().contains("uidmap"), "{run}");
    }
}

/// Runs stdbox with this in place of both helpers, as PATH gives it.
fn with_helper(ordinary: &Ordinary, helper: &str) -> Run {
    for name in ["newuidmap", "newgidmap"] {
        let file = ordinary.copy.file(&format!("bin/{name}"), helper);
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("PATH={}/bin:/usr/bin:/bin", ordinary.copy.str());
    // The caller has a descriptor open that it passes on.
    let open = "exec 9</dev/null; exec \"$@\"";
    finish(
        ordinary.command(&["sh", "-c", open, "sh", "env", &path]),
        &look(),
    )
}

#[test]
fn range_helper_that_fails_is_told_with_what_it_says() {
    let Some(ordinary) = Ordinary::new() else {
        return;
    };
    let scene = ordinary.copy.str();
    // It gets nothing that the target or the caller has, and a flood of errors is cut.
    let helper = format!(
        "#!/bin/sh\nenv > {scene}/env; ls /proc/self/fd > {scene}/fds; grep -E '^Sig(Blk|Ign)' /proc/self/status > {scene}/signals; chmod a+r {scene}/*; echo It is a  trap. >&2; yes | head -c 100000 >&2; exit 3\n"
    );
    let run = with_helper(&ordinary, &helper);
    run.failed("identity-refused", "identity");
    let error = &run.report["error"];
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("newuidmap did not map") && message.contains("It is a trap. y y"),
        "{run}"
    );
    assert!(
        message.len() < 2000
            && error["hint"]
                .as_str()
                .unwrap()
                .contains("neither setuid root nor"),
        "{run}"
    );
    let read = |name| fs::read_to_string(ordinary.copy.path().join(name)).unwrap();
    let env = read("env");
    assert_eq!(
        lines(&env)
            .iter()
            .filter(|line| !line.starts_with("PWD=") && !line.starts_with("_="))
            .collect::<Vec<_>>(),
        [&"LC_ALL=C", &"PATH=/usr/bin:/bin"]
    );
    // The directory that is listed is one, the script itself may be another.
    assert!(
        read("fds")
            .lines()
            .all(|fd| fd.parse::<u32>().unwrap() <= 3 || fd == "255" || fd == "10"),
        "{}",
        read("fds")
    );
    assert_eq!(
        read("signals"),
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
}

#[test]
fn range_helper_that_does_nothing_or_cannot_run_is_told() {
    let Some(ordinary) = Ordinary::new() else {
        return;
    };
    let run = with_helper(&ordinary, "#!/bin/sh\nexit 0\n");
    run.failed("identity-refused", "identity");
    let run = with_helper(&ordinary, "#!/no/such/interpreter\n");
    run.failed("id-map-helper", "identity");
    // A helper that nobody may use is not the one.
    let file = ordinary.copy.path().join("bin/newuidmap");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(
        ordinary.copy.path().join("bin/newgidmap"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let path = format!("PATH={}/bin", ordinary.copy.str());
    finish(ordinary.command(&["/usr/bin/env", &path]), &look()).exited(0);
}

#[test]
fn range_under_no_new_privs_is_an_error_that_says_so() {
    let Some(ordinary) = Ordinary::new() else {
        return;
    };
    let run = finish(ordinary.command(&["setpriv", "--no-new-privs"]), &look());
    run.failed("identity-refused", "identity");
    assert!(
        run.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("no_new_privs"),
        "{run}"
    );
}

#[test]
fn range_helper_that_hangs_ends_with_stdbox() {
    let Some(ordinary) = Ordinary::new() else {
        return;
    };
    let word = format!("helper-{}", std::process::id());
    let helper = format!(
        "#!/bin/sh\n: > {0}/{word}\n: > {0}/started\nexec tail -f {0}/{word}\n",
        ordinary.copy.str()
    );
    let started = ordinary.copy.path().join("started");
    for (signal, outcome) in [("-TERM", Some("cancelled")), ("-KILL", None)] {
        let _old = fs::remove_file(&started);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| with_helper(&ordinary, &helper));
            let begun = Instant::now();
            while !started.exists() {
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "the helper does not start"
                );
                std::thread::sleep(Duration::from_millis(5));
            }
            // By its file, which no one else runs.
            let file = ordinary.copy.path().join("stdbox");
            let find = || {
                let helpers = support::outside::alive(&word).into_iter();
                helpers.filter_map(parent).find(|pid| {
                    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == file)
                })
            };
            let outer = loop {
                if let Some(outer) = find() {
                    break outer;
                }
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "stdbox is the helper's parent"
                );
                std::thread::sleep(Duration::from_millis(5));
            };
            assert!(
                Command::new("kill")
                    .args([signal, &outer.to_string()])
                    .status()
                    .unwrap()
                    .success()
            );
            let run = running.join().unwrap();
            assert_eq!(run.report["outcome"].as_str(), outcome, "{run}");
        });
        let ended = Instant::now();
        let of_ours = || {
            let all = fs::read_dir("/proc").unwrap().flatten();
            let file = ordinary.copy.path().join("stdbox");
            all.filter(|entry| fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == file))
                .count()
        };
        while !support::outside::alive(&word).is_empty() || of_ours() > 0 {
            assert!(
                ended.elapsed() < Duration::from_secs(10),
                "{signal}: something goes on"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}
