//! What the real root may change by its uid alone, and may not from a job: settings of the kernel, devices.
//!
//! Nothing here writes: a file is opened for writing and closed, so that a hole does no harm to the machine.

use crate::common::job;
use crate::support::{Fresh, Run, root, run, stdbox};
use serde_json::{Value, json};

/// Prints what can be opened for writing of the kernel's settings.
const SETTINGS: &str = r#"
    for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug /proc/sys/vm/drop_caches /proc/sys/fs/file-max /proc/sysrq-trigger \
        /proc/irq/default_smp_affinity /proc/self/oom_score_adj_not /sys/kernel/uevent_helper /sys/power/state /sys/kernel/mm/transparent_hugepage/enabled \
        /proc/1/ns/sys/kernel/core_pattern /proc/1/ns/sysrq-trigger /proc/kcore /proc/kmsg /proc/mtrr /proc/acpi/wakeup /proc/timer_list /proc/bus/pci/00/00.0 /proc/fs/nfsd /proc/latency_stats; do
        { true >> $f; } 2>/dev/null && echo "$f"
    done
    find /sys -type f -perm /222 2>/dev/null | head -n 500 | while read -r f; do { true >> "$f"; } 2>/dev/null && echo "$f"; done
    find /proc -path '/proc/[0-9]*' -prune -o -path /proc/self -prune -o -type f -perm /222 -print 2>/dev/null | while read -r f; do { true >> "$f"; } 2>/dev/null && echo "$f"; done
    true"#;

/// The same with every way to get at it that a namespace of one's own gives.
fn ways(inner: &str) -> String {
    format!(
        r#"echo plain; {inner}
        echo namespace; unshare -Urmpf sh -c '{0}'
        echo mounts; unshare -Urmpf sh -c '
            umount /proc/sys; umount -l /proc/sys; umount -R /proc/sys; umount -l /proc; mount -o remount,rw /proc/sys; mount -o remount,rw,bind /proc/sys; mount -o remount,rw,bind /proc/1/ns; mount -o remount,rw /proc
            mount -o remount,rw,bind /sys; mount -o remount,rw /sys
            {0}' 2>/dev/null
        echo fresh; unshare -Urmpf sh -c 'mount -t proc none /proc || mount -t proc -o ro none /proc; mount -o remount,rw,bind /proc; mount -t sysfs none /sys; mount -t sysfs -o ro none /sys; mount -o remount,rw,bind /sys; {0}' 2>/dev/null
        echo net; unshare -Urmnpf sh -c 'mount -t proc none /proc || mount -t proc -o ro none /proc; mount -t sysfs none /sys; mount -o remount,rw,bind /sys; {0}' 2>/dev/null
        echo bound; unshare -Urmpf sh -c 'mkdir /tmp/p; mount --rbind /proc /tmp/p; umount -l /tmp/p/sys; mount --bind /proc /tmp/p; ( : >> /tmp/p/sys/kernel/core_pattern ) && echo bound; ( : >> /tmp/p/sysrq-trigger ) && echo bound' 2>/dev/null
        echo end"#,
        inner.replace('\'', "'\\''")
    )
}

const HEADINGS: [&str; 7] = [
    "plain",
    "namespace",
    "mounts",
    "fresh",
    "net",
    "bound",
    "end",
];

/// What an ordinary user that is root in its own namespaces may set for those.
const OWN: [&str; 8] = [
    "/proc/sys/user/",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/msg",
    "/proc/sys/kernel/sem",
    "/proc/sys/kernel/shm",
    "/proc/sys/kernel/auto_msgmni",
    "/proc/sys/fs/mqueue/",
];

/// Settings that belong to a namespace of the job's own, by the kernel's design.
fn own(line: &str) -> bool {
    HEADINGS.contains(&line)
        || line.starts_with("/sys/devices/virtual/net/")
        || line.starts_with("/sys/class/net/")
}

fn nothing_open(run: &Run, what: &str) {
    let open: Vec<&str> = run
        .exited(0)
        .stdout()
        .lines()
        .filter(|line| !own(line))
        .collect();
    // In a network namespace of its own the target may set up its own network only. The pressure files are everybody's, and
    // timer_list cannot be written, though it can be opened for it.
    let open: Vec<&&str> = open
        .iter()
        .filter(|line| {
            ![
                "/proc/sys/net/",
                "/proc/net/",
                "/proc/pressure/",
                "/proc/timer_list",
            ]
            .iter()
            .any(|start| line.starts_with(start))
        })
        .collect();
    // An ordinary user may set bounds for the namespaces of its own.
    let open: Vec<&&&str> = open
        .iter()
        .filter(|line| root() || !OWN.iter().any(|start| line.starts_with(start)))
        .collect();
    assert!(open.is_empty(), "{what}: {open:#?} {run}");
    assert!(run.stdout().ends_with("end\n"), "{what}: {run}");
}

#[test]
fn global_settings_cannot_be_written() {
    for fields in [
        json!({}),
        json!({"directories": {"/": "read-only"}}),
        json!({"directories": {"/": "full-access"}}),
        json!({"network": "host", "user": {"uid": 0, "gid": 0}}),
        json!({"init": false}),
    ] {
        let run = run(&job(&ways(SETTINGS), &[], &fields));
        nothing_open(&run, &fields.to_string());
    }
}

#[test]
fn global_settings_cannot_be_written_by_a_nested_stdbox() {
    for outer in [
        json!({}),
        json!({"directories": {"/": "read-only"}}),
        json!({"dev": "host", "network": "host"}),
    ] {
        for inner in [
            json!({}),
            json!({"proc": "nestable"}),
            json!({"directories": {"/": "full-access"}}),
        ] {
            let inner_job = job(&ways(SETTINGS), &[], &inner);
            let mut outer_job: Value =
                json!({"argv": [stdbox()], "cwd": "/", "stdin": {"text": inner_job.to_string()}});
            for (key, value) in outer.as_object().unwrap() {
                outer_job[key] = value.clone();
            }
            let outer_run = run(&outer_job);
            let report: Value = serde_json::from_str(outer_run.stdout()).unwrap_or(Value::Null);
            assert!(!report.is_null(), "{outer_run}");
            let inner_run = Run {
                report,
                status: None,
                complaint: outer_run.stderr().to_owned(),
            };
            if inner_run.report["outcome"] == "exited" {
                nothing_open(&inner_run, &format!("{inner} in {outer}"));
            } else {
                inner_run.failed("proc-masked", "proc");
            }
        }
    }
}

#[test]
fn global_settings_are_open_only_where_nestable_is_asked_for_and_said() {
    let run = run(&job(
        "( : >> /proc/sys/kernel/core_pattern ) 2>/dev/null && echo open; true",
        &[],
        &json!({"proc": "nestable"}),
    ));
    let expected = if root() {
        ("open\n", true)
    } else {
        ("", false)
    };
    assert_eq!(
        (
            run.exited(0).stdout(),
            run.warnings().contains(&"proc-exposed")
        ),
        expected,
        "{run}"
    );
}

/// Tries to open every device of the host, under every name there may be, also made anew. Only what reads or writes nothing by
/// being opened is tried.
const DEVICES: &str = r#"
    for d in /dev "$1"; do
        for f in $(ls -d $d/loop* $d/vd* $d/sd* $d/nvme* $d/zram* $d/dm-* $d/mem $d/kmem $d/port $d/kmsg $d/kvm $d/fuse $d/hwrng $d/vsock $d/uinput $d/net/tun $d/ttyS0 $d/tty1 $d/vcs $d/mapper/* $d/cpu/*/* $d/userfaultfd 2>/dev/null); do
            [ -d $f ] && continue
            ( : <> $f ) 2>/dev/null && echo "$f"; ( : < $f ) 2>/dev/null && echo "$f"
        done
    done
    for d in /tmp /dev/shm /dev "$1" /; do
        mknod $d/made b 7 0 2>/dev/null && { echo $d made; ( : < $d/made ) 2>/dev/null && echo $d opened; }
        mknod $d/made2 c 1 1 2>/dev/null && { echo $d made; ( : < $d/made2 ) 2>/dev/null && echo $d opened; }
    done
    true"#;

#[test]
fn devices_of_the_host_cannot_be_opened() {
    if !root() {
        return;
    }
    let directory = Fresh::new();
    for fields in [
        json!({}),
        json!({"dev": "host"}),
        json!({"directories": {"/dev": "full-access"}}),
        json!({"directories": {"/dev": "overlay"}}),
        json!({"directories": {"/": "read-only"}}),
        json!({"directories": {"/": "read-only"}, "dev": "host"}),
        json!({"directories": {"/": "full-access"}}),
        json!({"directories": {"/": "full-access"}, "dev": "host"}),
        json!({"user": {"uid": 0, "gid": 0}, "dev": "host"}),
    ] {
        let mut fields = fields;
        fields["directories"][directory.str()] = json!("full-access");
        let inner = DEVICES.replace("$1", directory.str());
        let script = format!(
            "{inner}\nunshare -Urm sh -c '{0}'; unshare -Urm sh -c 'mount -o remount,bind,dev /dev; mount -o remount,bind,dev /; mount -t devtmpfs none /tmp; {0}' 2>/dev/null; echo end",
            inner.replace('\'', "'\\''")
        );
        let run = run(&job(&script, &[], &fields));
        assert_eq!(run.exited(0).stdout(), "end\n", "{fields}: {run}");
    }
}

/// A device file outside /dev, which the real root can make beforehand.
#[test]
fn device_files_elsewhere_cannot_be_opened() {
    if !root() {
        return;
    }
    let directory = Fresh::new();
    let made = std::process::Command::new("mknod")
        .arg(directory.path().join("zero"))
        .args(["c", "1", "5"])
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::create_dir(directory.path().join("m")).unwrap();
    for mode in ["read-only", "overlay", "full-access"] {
        for setup in [
            "",
            "mount -t tmpfs none \"$D/m\"; mknod \"$D/m/zero\" c 1 5",
        ] {
            let job = job(
                "head -c 1 \"$1/zero\" 2>/dev/null | wc -c; head -c 1 \"$1/m/zero\" 2>/dev/null | wc -c",
                &[directory.str().as_bytes()],
                &json!({"directories": {directory.str(): mode}}),
            );
            let mounted = crate::common::among_mounts(&directory, setup, &job);
            assert_eq!(
                mounted.run.exited(0).stdout(),
                "0\n0\n",
                "{mode}: {}",
                mounted.run
            );
        }
    }
}

/// The usual ones work all the same, also from the host's /dev.
#[test]
fn harmless_devices_work_for_the_real_root_too() {
    for fields in [
        json!({"dev": "host"}),
        json!({"directories": {"/dev": "full-access"}}),
        json!({"directories": {"/": "read-only"}, "dev": "host"}),
    ] {
        let run = run(&job(
            "for d in null zero full random urandom; do ( : < /dev/$d ) && echo $d; done; echo x > /dev/null && echo written",
            &[],
            &fields,
        ));
        assert_eq!(
            run.exited(0).stdout(),
            "null\nzero\nfull\nrandom\nurandom\nwritten\n",
            "{fields}: {run}"
        );
    }
}

#[test]
fn cgroups_of_the_host_cannot_be_changed() {
    let script = "find /sys/fs/cgroup -name 'cgroup.procs' 2>/dev/null | head -n 50 | while read -r f; do ( : >> \"$f\" ) 2>/dev/null && echo \"$f\"; done; find /sys/fs/cgroup -maxdepth 2 -type d 2>/dev/null | while read -r d; do mkdir \"$d/stdbox-test\" 2>/dev/null && { echo \"$d\"; rmdir \"$d/stdbox-test\"; }; done; echo end";
    for fields in [
        json!({}),
        json!({"directories": {"/": "read-only"}}),
        json!({"directories": {"/": "full-access"}}),
    ] {
        let run = run(&job(
            &format!(
                "{script}; unshare -UrmC sh -c '{}'",
                script.replace('\'', "'\\''")
            ),
            &[],
            &fields,
        ));
        assert_eq!(run.exited(0).stdout(), "end\nend\n", "{fields}: {run}");
    }
}
