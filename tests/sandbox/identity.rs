//! Who the job is.

use crate::common::job;
use crate::support::{Fresh, run, shell};
use serde_json::json;

#[test]
fn user_of_the_job_is_what_was_asked() {
    let fields =
        json!({"user": {"uid": 0, "gid": 0, "name": "root", "group": "root", "home": "/root"}});
    let run = shell(
        "id -un; id -gn; id -u; echo $HOME; stat -L -c %u /proc/self; touch /root/x && echo written; ls -A /root",
        fields,
    );
    assert_eq!(
        run.exited(0).stdout(),
        "root\nroot\n0\n/root\n0\nwritten\nx\n",
        "{run}"
    );
    let fields = json!({"user": {"uid": 4_000_000, "gid": 77, "name": "someone", "group": "some"}});
    let run = shell("id -un; id -gn; id -u; id -g; cd && pwd", fields);
    assert_eq!(
        run.exited(0).stdout(),
        "someone\nsome\n4000000\n77\n/home/someone\n",
        "{run}"
    );
}

#[test]
fn user_root_inside_has_no_capability_even_after_a_setuid_program() {
    let fields = json!({"user": {"uid": 0, "gid": 0}});
    let run = shell(
        "grep -h -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status",
        fields,
    );
    let expected = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    assert_eq!(run.exited(0).stdout(), expected, "{run}");
}

#[test]
fn groups_of_the_caller_other_than_its_own_are_nobodys() {
    let run = run(&job("id -G; cat /proc/self/setgroups", &[], &json!({})));
    let words: Vec<&str> = run.exited(0).stdout().split_whitespace().collect();
    assert_eq!(
        (words.first(), words.last()),
        (Some(&"1000"), Some(&"deny")),
        "{run}"
    );
}

#[test]
fn capabilities_kept_are_these_in_every_set_and_no_others() {
    let script =
        "sed -n 's/^Cap...:\\t//p' /proc/self/status | uniq; cat /proc/self/uid_map | tr -s ' '";
    for uid in [0, 1000] {
        let run = shell(
            script,
            json!({
                "capabilities": ["CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"],
                "user": {"uid": uid, "gid": uid},
            }),
        );
        let expected = format!("0000010000200400\n {uid} {uid} 1\n");
        assert_eq!(run.exited(0).stdout(), expected, "{run}");
    }
}

#[test]
fn capabilities_kept_have_power_over_the_containers_own_things() {
    // A mount, the host name, a network device, a port below 1024: with the capability, and not without it.
    let script = "mount -t tmpfs none /mnt && touch /mnt/x && echo mounted
        hostname other && hostname
        ip link set lo down && echo down && ip link set lo up
        python3 -c 'import socket; socket.socket().bind((\"127.0.0.1\", 80)); print(\"bound\")'
        exit 0";
    let kept = json!({"capabilities": ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"]});
    let run = shell(script, kept);
    assert_eq!(
        run.exited(0).stdout(),
        "mounted\nother\ndown\nbound\n",
        "{run}"
    );
    let run = shell(script, json!({}));
    assert_eq!(run.exited(0).stdout(), "", "{run}");
}

#[test]
fn capabilities_have_no_power_over_the_host() {
    // The clock, the kernel's settings and log, devices, the host's network: whoever the caller is.
    let script = "date -s 2001-01-01 >/dev/null; echo 1 > /proc/sys/kernel/panic
        ip link set lo down; dmesg; mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk; echo done";
    let run = shell(
        script,
        json!({
            "network": "host",
            "capabilities": [
                "CAP_SYS_TIME", "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYSLOG", "CAP_MKNOD", "CAP_SYS_RAWIO",
                "CAP_SYS_MODULE", "CAP_SYS_BOOT"
            ],
        }),
    );
    assert_eq!(run.exited(0).stdout(), "done\n", "{run}");
}

#[test]
fn capabilities_and_a_held_name_exclude_each_other() {
    let scene = Fresh::new();
    scene.file("project/.git/hooks/x", "");
    let project = format!("{}/project", scene.str());
    let run = shell(
        "exit 0",
        json!({
            "capabilities": ["CAP_SYS_ADMIN"],
            "directories": {&project: "full-access", format!("{project}/.git/hooks"): "read-only"},
        }),
    );
    run.failed("contradiction", "validate");
    assert_eq!(run.report["error"]["at"], "/capabilities", "{run}");
}

#[test]
fn capabilities_decide_about_rules_of_an_engines_profile() {
    let profile = json!({"oci": {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "excludes": {"caps": ["CAP_SYS_ADMIN"]}}
        ]
    }});
    for (kept, expected) in [
        (json!([]), "refused\n"),
        (json!(["CAP_SYS_ADMIN"]), "made\n"),
    ] {
        let run = shell(
            "mkdir /tmp/x && echo made || echo refused",
            json!({"seccomp": profile, "capabilities": kept}),
        );
        assert_eq!(run.exited(0).stdout(), expected, "{run}");
    }
}
