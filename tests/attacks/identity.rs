//! Ids, groups and capabilities: everything by which a process may become more than it was started as.

use crate::common::{probe_job, probed, with};
use crate::support::{Fresh, Run, probe, root, run, run_with, shell, skip, stdbox};
use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const NONE: &str = "0000000000000000";

/// Forms of a job that differ in who the target is and what stands around it.
fn forms() -> [Value; 4] {
    [
        json!({}),
        json!({"init": false}),
        json!({"seccomp": "off"}),
        json!({"user": {"uid": 0, "gid": 0}}),
    ]
}

#[track_caller]
fn no_capability(status: &Value, what: &str) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status["status"][set], NONE, "{what}: {set}");
    }
}

/// What the target begins with.
///
/// Shows that there is no capability in any set, whoever it is inside: capabilities(7), CVE-2022-24769 (Moby, inheritable
/// capabilities left in a container).
#[test]
fn target_has_no_capability_in_any_set() {
    for fields in forms() {
        no_capability(&probed(&["status"], &fields), &fields.to_string());
    }
}

/// The switches that keep a process from getting capabilities by executing something.
///
/// Shows that NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE are on, KEEP_CAPS off, all four locked, and no_new_privs set:
/// capabilities(7), "The securebits flags", PR_SET_NO_NEW_PRIVS(2const).
#[test]
fn target_has_locked_securebits_and_no_new_privs() {
    for fields in forms() {
        let status = probed(&["status"], &fields);
        assert_eq!(status["securebits"], 0b1110_1111, "{fields}");
        assert_eq!(
            (&status["no_new_privs"], &status["status"]["NoNewPrivs"]),
            (&json!(1), &json!("1")),
            "{fields}"
        );
    }
}

/// Every call that sets ids, groups, capabilities or the switches around them, and the files of the id maps, which were
/// writable once.
///
/// Shows that all are refused, also after another exec by uid 0 inside: setresuid(2), capset(2), user_namespaces(7).
#[test]
fn target_cannot_regain_an_id_or_a_capability() {
    for fields in forms() {
        let inside_root = fields.get("user").is_some();
        let script = format!("{} regain", probe().display());
        let seen = shell(&script, fields.clone());
        let answers: Value = serde_json::from_str(seen.exited(0).stdout()).expect("JSON");
        let through: Vec<_> = answers
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, answer)| answer["errno"].is_null())
            .map(|(name, _)| name.as_str())
            // Who is 0 may be 0.
            .filter(|name| {
                let own = name.ends_with(" 0")
                    && (name.starts_with("setuid") || name.starts_with("setgid"));
                let own = own || name.starts_with("setres") || name.starts_with("setfs");
                !(inside_root && own)
            })
            .collect();
        assert!(answers.as_object().unwrap().len() > 30, "{answers}");
        assert!(through.is_empty(), "{fields}: {through:?}");
    }
}

/// Executing anything as uid 0 gives every capability of the bounding set, in the classic rules.
///
/// Shows that uid 0 inside gets none, by exec, by a script, or by a set-user-ID copy of its own: capabilities(7),
/// "Capabilities and execution of programs by root".
#[test]
fn target_that_is_root_inside_gains_nothing_by_exec() {
    let path = probe();
    let path = path.display();
    for script in [
        format!("exec {path} status"),
        format!("printf '#!{path} status\\n' > /tmp/s; chmod 755 /tmp/s; exec /tmp/s"),
        format!("cp {path} /tmp/c; chmod 6755 /tmp/c; exec /tmp/c status"),
        format!("cp {path} /dev/shm/c; chmod 6755 /dev/shm/c; exec /dev/shm/c status"),
    ] {
        let seen = shell(&script, json!({"user": {"uid": 0, "gid": 0}}));
        if seen.stdout().contains("\"help\"") {
            // A script's interpreter gets the script's name as well.
            continue;
        }
        let status: Value = serde_json::from_str(seen.exited(0).stdout()).expect("JSON");
        assert_eq!(status["status"]["Uid"], "0 0 0 0", "{script}");
        no_capability(&status, &script);
    }
}

/// A copy of the probe in a fresh directory.
fn copy_of_probe(scene: &Fresh) -> PathBuf {
    let file = scene.path().join("program");
    fs::copy(probe(), &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

/// Set-user-ID files: one of the host's that belongs to the caller, one that belongs to another user, copies that the job
/// makes on every file system that it can write, and those that the system comes with.
///
/// Shows that none of them changes an id or gives a capability, in any mode: execve(2), mount(2) MS_NOSUID,
/// CVE-2014-4014 (set-ids and user namespaces).
#[test]
fn target_gains_nothing_from_a_setuid_program() {
    let scene = Fresh::new();
    let file = copy_of_probe(&scene);
    if root() {
        chown(&file, Some(4242), Some(4343)).unwrap();
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o6755)).unwrap();
    let path = file.to_str().unwrap();
    let copies = ["/tmp", "/dev/shm", scene.str()].map(|place| {
        // Not every form of the job can write everywhere.
        format!("C={place}/copy; cp {path} $C && chmod 6755 $C || C={path}; exec $C status")
    });
    for fields in [
        json!({}),
        json!({"directories": {"/": "full-access"}}),
        json!({"directories": {"/": "read-only", scene.str(): "full-access"}}),
        json!({"user": {"uid": 0, "gid": 0}}),
        // The owner's number inside, though not the same user.
        json!({"user": {"uid": 4242, "gid": 4343}}),
    ] {
        let id = fields["user"]["uid"].as_u64().unwrap_or(1000);
        let uid = format!("{id} {id} {id} {id}");
        for script in copies.iter().chain([&format!("exec {path} status")]) {
            let seen = shell(script, fields.clone());
            let status: Value = serde_json::from_str(seen.exited(0).stdout()).expect("JSON");
            assert_eq!(status["status"]["Uid"], uid, "{fields} {script}");
            no_capability(&status, script);
        }
    }
    // Every setuid program of the host: none of them can get what it wants.
    let script = "sudo -n true || su -c true </dev/null || mount -t tmpfs x /tmp || newgidmap $$ 0 0 1; echo $?";
    let seen = shell(script, json!({}));
    assert_ne!(seen.exited(0).stdout(), "0\n", "{seen}");
}

/// Capabilities of a file, which every user namespace below the one that they were written in honours; an ordinary user
/// writes them in a namespace of its own.
///
/// Shows that they give none, on any file system, to any uid inside: capabilities(7), "Namespaced file capabilities",
/// CVE-2021-3493 (overlayfs and file capabilities).
#[test]
fn target_gains_nothing_from_file_capabilities() {
    let scene = Fresh::new();
    let file = copy_of_probe(&scene);
    let mut command = Command::new(if root() { "setcap" } else { "unshare" });
    if !root() {
        command.args(["-Ur", "setcap"]);
    }
    let done = command
        .arg("cap_sys_admin,cap_setuid+p")
        .arg(&file)
        .output();
    let done = done.expect("setcap (libcap2-bin)");
    assert!(done.status.success(), "{done:?}");
    let path = file.to_str().unwrap();
    for fields in [
        json!({"user": {"uid": 0, "gid": 0}}),
        json!({"user": {"uid": 0, "gid": 0}, "directories": {"/": "full-access"}}),
        json!({"user": {"uid": 0, "gid": 0}, "directories": {"/": "read-only"}, "seccomp": "off"}),
        json!({}),
    ] {
        for own in [
            "",
            "cp --preserve=xattr $P /tmp/p 2>/dev/null && P=/tmp/p; ",
        ] {
            let script = format!("P={path}; {own}exec $P status");
            let seen = shell(&script, fields.clone());
            let status: Value = serde_json::from_str(seen.exited(0).stdout()).expect("JSON");
            no_capability(&status, &format!("{fields} {own}"));
        }
    }
}

/// The root of a nested user namespace has every capability there.
///
/// Shows that none of them counts for what belongs to the container or to the host: host name, network, mounts, clock, other
/// processes, files of others, device files: user_namespaces(7), "Capabilities"; CVE-2018-18955 (nested id maps).
#[test]
fn root_of_a_nested_namespace_rules_only_that() {
    let scene = Fresh::new();
    let other = scene.file("of-another", "secret");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
    if root() {
        chown(&other, Some(4242), Some(4242)).unwrap();
    }
    let other = if root() { other } else { "/etc/shadow".into() };
    let attacks = format!(
        r#"
        try() {{ "$@" >/dev/null 2>&1 && echo "$@"; }}
        [ "$(sed -n 's/^CapEff:.//p' /proc/self/status)" = 0000000000000000 ] && echo no capability here
        try sh -c 'echo x > /proc/sys/kernel/hostname'
        try hostname x
        try ip link add d type dummy
        try mount --bind /tmp /mnt
        try mount -t tmpfs none /mnt
        try umount -l /proc
        try date -s 2001-01-01
        try kill -0 $OUTSIDE
        try cat /proc/$OUTSIDE/environ
        try ls -d /proc/$OUTSIDE/root/
        try cat {0}
        try chown 0 {0}
        try mknod /tmp/m c 1 1
        try mknod /tmp/b b 7 0
        try nsenter -t $OUTSIDE -m true
        try nsenter -t $OUTSIDE -U true
        try chroot /proc/1/root true
        try dmesg
        try swapon /tmp/x
        try sh -c 'echo 0 0 1 > /proc/self/uid_map'
        echo end"#,
        other.display()
    );
    // A process beside the nested namespace, which has the same ids as the namespace's owner.
    let script = format!(
        "exec 2>/dev/null; echo x > /tmp/x; sleep 1000 & export OUTSIDE=$!
        A='{}'; unshare -U --keep-caps sh -c \"$A\"; unshare -Ur sh -c \"$A\"; kill $OUTSIDE; true",
        attacks.replace('\'', "'\\''")
    );
    // Signals need equal ids only, and the process is the job's own.
    for fields in [
        json!({}),
        json!({"seccomp": "off"}),
        json!({"user": {"uid": 0, "gid": 0}}),
    ] {
        let seen = shell(&script, fields.clone());
        let lines: Vec<_> = seen.exited(0).stdout().lines().collect();
        let through: Vec<_> = lines
            .iter()
            .filter(|line| **line != "end" && !line.starts_with("kill -0"))
            .collect();
        assert!(through.is_empty(), "{fields}: {through:?}");
        // uid 0 cannot map itself again without a capability.
        let ends = lines.iter().filter(|line| **line == "end").count();
        assert!(ends >= 1, "{fields}: {seen}");
    }
}

/// Id maps of a namespace of the job's own that name ids of the host, and the helpers that may write such maps.
///
/// Shows that only the job's own id can be mapped, once, and setgroups(2) never comes back: user_namespaces(7),
/// newuidmap(1).
#[test]
fn maps_of_a_nested_namespace_name_no_other_id() {
    let source = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static int put(const char *file, const char *text) {
    int fd = open(file, O_WRONLY);
    int done = fd != -1 && write(fd, text, strlen(text)) != -1;
    if (fd != -1) close(fd);
    return done;
}
int main(void) {
    static const char *const maps[] = {"0 0 1", "0 1 1", "0 0 4294967295", "0 65534 1", "0 4242 1", "1000 0 1", "0 999 2", "0 100000 1"};
    if (unshare(CLONE_NEWUSER)) return 1;
    if (put("/proc/self/setgroups", "allow")) puts("setgroups allowed");
    for (unsigned i = 0; i < sizeof maps / sizeof *maps; i++) {
        if (put("/proc/self/uid_map", maps[i])) printf("uid %s\n", maps[i]);
        if (put("/proc/self/gid_map", maps[i])) printf("gid %s\n", maps[i]);
    }
    if (!put("/proc/self/uid_map", "0 1000 1")) puts("not even the own id");
    if (put("/proc/self/uid_map", "1 1000 1")) puts("mapped twice");
    if (put("/proc/self/setgroups", "allow")) puts("setgroups allowed");
    return 0;
}"#;
    let script = "printf '%s' \"$S\" | gcc -w -x c -o /tmp/maps - || exit 9
        /tmp/maps; unshare -U sleep 5 & sleep 0; p=$!
        newuidmap $p 0 0 1 2>/dev/null && echo newuidmap; newgidmap $p 0 0 1 2>/dev/null && echo newgidmap; kill $p; echo end";
    for fields in [json!({}), json!({"seccomp": "off"})] {
        let job = json!({"env": {"set": {"S": source}}});
        let seen = shell(script, with(fields, &job));
        assert_eq!(seen.exited(0).stdout(), "end\n", "{seen}");
    }
}

/// Runs a job as a user with these groups; only root can start such a stdbox.
fn as_user(job: &Value, gid: u32, groups: &'static [u32]) -> Run {
    run_with(job.to_string().as_bytes(), &[], |command| {
        // SAFETY: three system calls; the list outlives them.
        unsafe {
            command.pre_exec(move || {
                if libc::setgroups(groups.len(), groups.as_ptr()) == -1
                    || libc::setresgid(gid, gid, gid) == -1
                    || libc::setresuid(4242, 4242, 4242) == -1
                {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            })
        };
    })
}

/// A file with fewer permissions for a group than for the rest: whoever drops the group can read it.
///
/// Shows that the job cannot drop its groups, neither the first nor the others, by any call nor in a nested namespace:
/// CVE-2014-8989, user_namespaces(7), "The /proc/PID/setgroups file".
#[test]
fn groups_that_deny_cannot_be_dropped() {
    if !root() {
        return skip(
            "root",
            "only root can start stdbox with groups of its choice",
        );
    }
    let scene = Fresh::new();
    let file = scene.file("denied", "secret\n");
    let read = |path: &Path| {
        format!(
            "cat {0}; setpriv --clear-groups cat {0}; setpriv --groups 0 cat {0}; unshare -Ur cat {0}; unshare -Ur setpriv --clear-groups cat {0};
            unshare -U setpriv --clear-groups cat {0}; unshare -Ur sg root 'cat {0}'; newgrp </dev/null; echo end",
            path.display()
        )
    };
    for group in [4343, 4444] {
        chown(&file, Some(0), Some(group)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
        for fields in [
            json!({}),
            json!({"init": false, "seccomp": "off"}),
            json!({"user": {"uid": 0, "gid": 0}}),
            json!({"directories": {"/": "read-only"}}),
        ] {
            let job = json!({"argv": ["/bin/sh", "-c", read(&file)], "cwd": "/"});
            let job = with(job, &fields);
            let seen = as_user(&job, 4343, &[4444]);
            assert_eq!(
                seen.exited(0).stdout(),
                "end\n",
                "{group}: {fields}: {seen}"
            );
        }
    }
    // Others may read it: the group is what denies.
    let job = json!({"argv": ["/bin/cat", file], "cwd": "/"});
    assert_eq!(as_user(&job, 4545, &[]).exited(0).stdout(), "secret\n");
}

/// The same calls for whoever the caller is.
///
/// Shows that setgroups(2) is denied for good, in the container's namespace and below: user_namespaces(7).
#[test]
fn groups_cannot_be_set_in_any_namespace() {
    let probe = probe();
    let number = libc::SYS_setgroups;
    let script = format!(
        "for own in '' 'unshare -U --keep-caps' 'unshare -Ur' 'unshare -Ur unshare -Ur'; do
            $own {0} syscall native {number} 0 0
            $own {0} syscall i386 206 0 0
            $own {0} write /proc/self/setgroups allow
            $own cat /proc/self/setgroups
        done",
        probe.display()
    );
    for fields in [json!({}), json!({"seccomp": "off"})] {
        let seen = shell(&script, fields);
        for line in seen.exited(0).stdout().lines() {
            let refused = line.contains("\"result\":-1") || line == "deny";
            assert!(refused, "{line}: {seen}");
        }
        assert_eq!(seen.stdout().lines().count(), 16, "{seen}");
    }
}

/// A job that runs stdbox itself, with ids of its choice: the container in the container.
///
/// Shows that the inner target has no more than the outer: user_namespaces(7).
#[test]
fn target_of_a_nested_stdbox_gains_nothing() {
    for (outer, inner) in [
        (json!({}), json!({"user": {"uid": 0, "gid": 0}})),
        (json!({"seccomp": "off"}), json!({"seccomp": "off"})),
    ] {
        let inner = probe_job(&["status"], &inner);
        let job = json!({"argv": [stdbox()], "cwd": "/", "stdin": {"text": inner.to_string()}});
        let seen = run(&with(job, &outer));
        let report: Value = serde_json::from_str(seen.exited(0).stdout()).expect("JSON");
        assert_eq!(report["outcome"], "exited", "{report}");
        let status: Value =
            serde_json::from_str(report["stdout"]["text"].as_str().unwrap()).unwrap();
        no_capability(&status, "nested");
        assert_eq!(status["securebits"], 0b1110_1111);
    }
}
