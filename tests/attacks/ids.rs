//! Many ids: what a target that can become any of them, or change owners, may gain by it outside.

use crate::common::{probed, with};
use crate::support::{Fresh, Run, probe, root, run_with, shell, skip, stdbox};
use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Every capability, among all ids that the caller has.
fn mighty() -> Value {
    let status = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
    let names = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    let last: usize = status.trim().parse().unwrap();
    let names: Vec<String> = names
        .iter()
        .take(last + 1)
        .map(|name| format!("CAP_{name}"))
        .collect();
    json!({"user": {"uid": 0, "gid": 0, "map": "range"}, "capabilities": names})
}

/// Whether this user has many ids; says so if not.
fn ranged() -> bool {
    let seen = shell("true", mighty());
    let code = seen.report["error"]["code"].as_str();
    if let Some("no-id-range" | "id-map-helper") = code {
        skip("subids", &format!("no subordinate ids: {seen}"));
        return false;
    }
    seen.exited(0);
    true
}

/// The container's first process, which has capabilities in the namespace around the target's until that runs.
///
/// Shows that a target with every capability in its own namespace, as any id, cannot trace, read, write or enter it, nor end it
/// or change its priority by ids alone: ptrace(2), user_namespaces(7), kill(2).
#[test]
fn init_is_out_of_reach_of_every_capability_as_any_id() {
    if !ranged() {
        return;
    }
    let script = r#"
        try() { "$@" >/dev/null 2>&1 && echo "$id: $*"; }
        for id in 0 1 33 1000; do
            as="setpriv --reuid $id"; [ $id = 0 ] && as=env
            for file in environ mem maps auxv stack syscall io pagemap exe root cwd fd ns/user ns/mnt; do
                try $as sh -c "head -c 1 /proc/1/$file || readlink /proc/1/$file"
            done
            for file in oom_score_adj comm coredump_filter timerslack_ns uid_map gid_map setgroups mem clear_refs autogroup sched; do
                try $as sh -c "echo 0 > /proc/1/$file"
                try $as sh -c "echo 0 > /proc/1/ns/1/$file"
            done
            try $as chown 5 /proc/1/comm
            try $as nsenter -t 1 -U true
            try $as nsenter -t 1 -m true
            try $as prlimit --pid 1 --nofile=1:1
            try $as renice 5 -p 1
            try $as taskset -p 1 1
            try $as strace -p 1 -o /dev/null
        done
        kill -KILL 1; kill -63 1; kill -TERM 1; echo end"#;
    for fields in [json!({}), json!({"seccomp": "strict"})] {
        let seen = shell(script, with(mighty(), &fields));
        assert_eq!(seen.exited(0).stdout(), "end\n", "{fields}: {seen}");
    }
}

/// The process that maps the target's ids.
///
/// Shows that it is gone when the target runs, and that no process of the container has capabilities outside the target's
/// namespace.
#[test]
fn nobody_with_more_capabilities_is_left_when_the_target_runs() {
    if !ranged() {
        return;
    }
    let script = "for p in /proc/[0-9]*; do echo ${p#/proc/} $(sed -n 's/^Cap[IPEA]..:.//p; s/^State:.\\(.\\).*/\\1/p' $p/status); done";
    let none = "0000000000000000";
    let fields = with(mighty(), &json!({"capabilities": ["CAP_CHOWN"]}));
    // Init gives its own up while the target starts.
    let seen = shell(&format!("sleep 0.2; {script}"), fields);
    let lines: Vec<&str> = seen.exited(0).stdout().lines().collect();
    let init = lines.iter().find(|line| line.starts_with("1 ")).unwrap();
    assert!(init.ends_with(&[none; 4].join(" ")), "{seen}");
    // Init, the shell and the process that prints the lines.
    let others = lines.iter().filter(|line| !line.starts_with("1 "));
    for line in others {
        assert!(line.contains(" 0000000000000001 "), "{seen}");
    }
    assert!(lines.len() <= 4, "{seen}");
}

/// Maps of the target's own namespace, once more or to other ids.
///
/// Shows that neither it nor one below it can have an id that the container does not have: user_namespaces(7).
#[test]
fn maps_reach_no_id_outside_the_range() {
    if !ranged() {
        return;
    }
    let script = r#"
        try() { "$@" >/dev/null 2>&1 && echo "$*"; }
        for map in "0 0 1" "0 0 4294967295" "70000 70000 1"; do
            try sh -c "echo $map > /proc/self/uid_map"; try sh -c "echo $map > /proc/1/uid_map"
        done
        unshare -U sleep 5 & p=$!; sleep 0.2
        for map in "0 70000 1" "0 65534 10000" "0 1 4294967294" "0 200000 1"; do
            try sh -c "echo $map > /proc/$p/uid_map"; try sh -c "echo $map > /proc/$p/gid_map"
        done
        try chown 70000 /tmp; try chown 200000 /tmp; try setpriv --reuid 70000 true; try setpriv --regid 200000 true
        try setpriv --groups 70000 --reuid 1 true
        echo end; kill $p"#;
    let seen = shell(script, mighty());
    // Root has every id, so that only what is written twice is refused.
    let others =
        |line: &&str| !root() || line.contains("self/uid_map") || line.contains("/1/uid_map");
    let through: Vec<&str> = seen
        .exited(0)
        .stdout()
        .lines()
        .filter(|line| *line != "end")
        .filter(others)
        .collect();
    assert!(through.is_empty(), "{through:?} {seen}");
}

/// What a target with every capability leaves in a directory of the host.
///
/// Shows that an ordinary caller's job can make neither device files nor files of ids that are not the caller's, nor change
/// what belongs to others, and that a setuid file is the caller's or a subordinate id's: capabilities(7), CAP_MKNOD.
#[test]
fn files_left_on_the_host_belong_to_the_callers_ids() {
    if !ranged() {
        return;
    }
    let scene = Fresh::new();
    let script = format!(
        r#"cd {0}; mknod null c 1 3 2>/dev/null && echo char; mknod disk b 7 0 2>/dev/null && echo block
        cp /bin/true own; chmod 4755 own; cp /bin/true other; chown 33:34 other; chmod 6755 other
        chown 70000 own 2>/dev/null && echo chown; cp {1} id; chmod 4755 id; chown 0 id; chmod 4755 id
        setpriv --reuid 33 --clear-groups ./id status | grep -o '"Uid":"[^"]*"'"#,
        scene.str(),
        probe().display()
    );
    let fields = with(
        mighty(),
        &json!({"directories": {scene.str(): "full-access"}}),
    );
    let seen = shell(&script, fields.clone());
    // A setuid program gains nothing inside.
    let lines: Vec<&str> = seen
        .stdout()
        .lines()
        .filter(|line| !root() || *line != "chown")
        .collect();
    assert_eq!(lines, ["\"Uid\":\"33 33 33 33\""], "{seen}");
    let own = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    let of = |name: &str| fs::metadata(scene.path().join(name)).unwrap();
    let (mine, other) = (of("own"), of("other"));
    if !root() {
        assert_eq!((mine.uid(), mine.gid()), own);
    }
    assert!(
        other.uid() != own.0 && other.gid() != own.1 && other.uid() != 0
            || root() && other.uid() == 33
    );
    assert_eq!(other.permissions().mode() & 0o7777, 0o6755);
    // Whoever made them removes them: outside, they are somebody else's.
    shell(&format!("rm -f {}/*", scene.str()), fields).exited(0);
}

/// Files of the machine's root, and of others, in directories that the target may write.
///
/// Shows that CAP_DAC_OVERRIDE, CAP_CHOWN and CAP_FOWNER count for mapped owners only: user_namespaces(7), "Interaction of
/// user namespaces with other types of namespaces", capable_wrt_inode_uidgid().
#[test]
fn files_of_owners_without_an_id_inside_are_out_of_reach() {
    if root() {
        // All owners have an id inside; the tests run as an ordinary user too.
        return;
    }
    if !ranged() {
        return;
    }
    let script = "try() { \"$@\" >/dev/null 2>&1 && echo \"$*\"; }
        try cat /etc/shadow; try chown 0 /etc/passwd; try chmod 666 /etc/passwd; try sh -c 'echo x >> /etc/passwd'
        try touch /usr/x; try rm /etc/hostname; try setfattr -n trusted.x -v y /var/tmp; try setcap cap_chown+ep /bin/true; echo end";
    let fields = with(
        mighty(),
        &json!({"directories": {"/": "full-access"}, "system_config": false}),
    );
    let seen = shell(script, fields);
    assert_eq!(seen.exited(0).stdout(), "end\n", "{seen}");
}

/// Settings of the machine, devices and control groups, which belong to the real root.
const SETTINGS: &str = r#"
    try() { "$@" >/dev/null 2>&1 && echo "$id: $*"; }
    for id in $IDS; do
        as="setpriv --reuid $id --regid $id --clear-groups"
        for file in kernel/panic kernel/core_pattern kernel/modprobe vm/drop_caches fs/suid_dumpable kernel/hostname; do
            old=$(cat /proc/sys/$file 2>/dev/null)
            try $as sh -c "printf '%s' '$old' > /proc/sys/$file"
            try sh -c "printf '%s' '$old' > /proc/sys/$file"
            try $as sh -c "printf '%s' '$old' > /proc/1/ns/sys/$file"
        done
        try $as sh -c 'echo h > /proc/sysrq-trigger'
        try $as sh -c 'echo 0 > /proc/1/oom_score_adj'
        try $as sh -c 'echo 0 > /proc/1/ns/1/oom_score_adj'
        try $as sh -c 'echo 0 > /sys/kernel/mm/ksm/run'
        try $as mkdir /sys/fs/cgroup/x
        for disk in /dev/vda /dev/sda /dev/nvme0n1 /dev/mem /dev/kmsg; do
            [ -e $disk ] && try $as head -c 1 $disk
        done
        try unshare -C mount -t cgroup2 none /mnt
        try mount -t proc none /mnt
        try mount -o remount,rw,bind /proc/sys
        try umount /proc/sys
    done
    echo end"#;

/// The real root's job, by whatever numbers.
///
/// Shows that with many ids the machine's settings, devices and control groups stay what they are, also where the target is
/// another id inside than the real root's first: proc(5), CVE-2019-5736 (runc) for what can be done with them.
#[test]
fn real_root_with_many_ids_changes_no_setting() {
    if !root() {
        return skip("root", "only root is the real root");
    }
    for (uid, ids) in [(0, "0 1000"), (1000, "0 1000")] {
        for dev in ["minimal", "host"] {
            let fields = json!({
                "user": {"uid": uid, "gid": uid, "map": "range"}, "dev": dev, "env": {"set": {"IDS": ids}},
                "directories": {"/": "full-access"}, "system_config": false,
            });
            let seen = shell(SETTINGS, with(mighty(), &fields));
            assert_eq!(seen.exited(0).stdout(), "end\n", "{uid} {dev}: {seen}");
        }
    }
}

/// A caller who is not root, but may map every id: the real root is among them.
///
/// Shows that the target, which can become the real root inside, finds everything as protected as for the real root's own job.
#[test]
fn target_that_becomes_the_real_root_changes_no_setting() {
    if !root() {
        return skip("root", "only root can give capabilities away");
    }
    let place = Fresh::new();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(stdbox(), place.path().join("stdbox")).unwrap();
    for (uid, real_root) in [(0, 4242), (1000, 0)] {
        let fields = json!({
            "user": {"uid": uid, "gid": uid, "map": "range"}, "dev": "host", "env": {"set": {"IDS": real_root.to_string()}},
            "directories": {"/": "read-only", "/tmp": "hidden"}, "system_config": false,
        });
        let job = with(
            json!({"argv": ["/bin/sh", "-c", SETTINGS], "cwd": "/"}),
            &with(mighty(), &fields),
        );
        let seen = privileged(place.path(), &job);
        assert_eq!(seen.exited(0).stdout(), "end\n", "{uid}: {seen}");
        // It really is: files of the real root are its own.
        let script = format!(
            "setpriv --reuid {real_root} --regid {real_root} --clear-groups sh -c 'stat -c %u:%a /etc/shadow; id -u'"
        );
        let job = with(
            json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"}),
            &with(mighty(), &fields),
        );
        let seen = privileged(place.path(), &job);
        assert_eq!(
            seen.exited(0).stdout(),
            format!("{real_root}:640\n{real_root}\n"),
            "{seen}"
        );
    }
}

/// stdbox as uid 4242 with CAP_SETUID, CAP_SETGID and CAP_SETFCAP.
fn privileged(place: &Path, job: &Value) -> Run {
    let file = place.join("job.json");
    fs::write(&file, job.to_string()).unwrap();
    chown(&file, Some(4242), Some(4242)).unwrap();
    let caps = "+setuid,+setgid,+setfcap";
    let output = std::process::Command::new("setpriv")
        .args([
            "--reuid",
            "4242",
            "--regid",
            "4242",
            "--clear-groups",
            "--inh-caps",
            caps,
            "--ambient-caps",
            caps,
        ])
        .arg(place.join("stdbox"))
        .arg("--spec")
        .arg(&file)
        .output()
        .unwrap();
    Run {
        report: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        status: output.status.code(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Groups that only take away, where setgroups(2) is allowed.
///
/// Shows that without CAP_SETGID the caller's groups stay: CVE-2014-8989, user_namespaces(7).
#[test]
fn groups_of_the_caller_stay_without_the_capability() {
    if !root() {
        return skip(
            "root",
            "only root can start stdbox with groups of its choice",
        );
    }
    let scene = Fresh::new();
    let file = scene.file("denied", "secret\n");
    chown(&file, Some(4243), Some(4444)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    let script = format!(
        "cat {0}; setpriv --clear-groups cat {0}; setpriv --groups 0 cat {0}; unshare -Ur cat {0}; echo end",
        file.display()
    );
    for capabilities in [json!([]), json!(["CAP_CHOWN", "CAP_SETUID"])] {
        let job = json!({
            "argv": ["/bin/sh", "-c", script], "cwd": "/", "capabilities": capabilities,
            "user": {"uid": 0, "gid": 0, "map": "range"},
        });
        let seen = run_with(job.to_string().as_bytes(), &[], |command| {
            // SAFETY: one system call with one group.
            unsafe {
                command.pre_exec(|| match libc::setgroups(1, [4444].as_ptr()) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                })
            };
        });
        assert_eq!(seen.exited(0).stdout(), "end\n", "{capabilities}: {seen}");
    }
}

/// What the target begins with.
///
/// Shows that many ids alone give no capability, and that no_new_privs holds in any case.
#[test]
fn many_ids_give_no_capability() {
    if !ranged() {
        return;
    }
    let range = json!({"user": {"uid": 0, "gid": 0, "map": "range"}});
    let status = probed(&["status"], &range);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status["status"][set], "0000000000000000", "{set}");
    }
    assert_eq!(status["securebits"], 0b1110_1111);
    let status = probed(&["status"], &mighty());
    assert_eq!(status["securebits"], 0b1100_1011);
    assert_eq!(status["status"]["NoNewPrivs"], "1");
}
