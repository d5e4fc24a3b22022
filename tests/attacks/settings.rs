//! Settings and devices of the whole machine, which no namespace contains.
//!
//! Most of it opens a file for writing and closes it, and calls what is refused before anything is done, so that a hole does no
//! harm to the machine.

use crate::common::with;
use crate::support::{Fresh, Run, probe, root, run, run_in_namespace, shell, skip, stdbox};
use nix::libc;
use serde_json::{Value, json};
use std::fs;

fn job(script: &str, fields: &Value) -> Value {
    with(
        json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"}),
        fields,
    )
}

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

/// Settings of the whole kernel in /proc and /sys (core_pattern, modprobe, sysrq-trigger, uevent_helper, kcore, mtrr, irq, acpi
/// and every other file that says it can be written), which the real root may write by its uid alone; also from nested
/// namespaces that unmount, remount, bind or mount anew.
///
/// Shows that none opens for writing: proc_sys_kernel(5), core(5), sysrq.rst and sysfs-uevent in the kernel's
/// documentation.
#[test]
fn settings_of_the_kernel_cannot_be_opened_for_writing() {
    for fields in [
        json!({}),
        json!({"directories": {"/": "read-only"}}),
        json!({"directories": {"/": "full-access"}}),
        json!({"network": "host", "user": {"uid": 0, "gid": 0}}),
        json!({"init": false}),
    ] {
        let run = run(&job(&ways(SETTINGS), &fields));
        nothing_open(&run, &fields.to_string());
    }
}

/// The same by a stdbox in a stdbox, which mounts /proc and /sys in its own way.
///
/// Shows that the second container is not the weaker one: proc(5), mount_namespaces(7), "Restrictions on mount namespaces".
#[test]
fn settings_of_the_kernel_cannot_be_opened_by_a_nested_stdbox() {
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
            let inner_job = job(&ways(SETTINGS), &inner);
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

/// The one form of a job that leaves them open to the real root.
///
/// Shows that it must be asked for, and that the report says so.
#[test]
fn settings_of_the_kernel_are_open_only_where_nestable_is_asked_for_and_said() {
    let run = run(&job(
        "( : >> /proc/sys/kernel/core_pattern ) 2>/dev/null && echo open; true",
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

/// Disks, memory, consoles and other hardware by their device files, under every name that /dev has for them, and by files
/// made with mknod(2) on every file system that can be written.
///
/// Shows that none can be made or opened: mknod(2), mount(2) MS_NODEV.
#[test]
fn devices_of_the_host_cannot_be_opened_or_made() {
    if !root() {
        return skip("root", "only root could open them outside");
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
        let run = run(&job(&script, &fields));
        assert_eq!(run.exited(0).stdout(), "end\n", "{fields}: {run}");
    }
}

/// Control groups of the host: moving a process into another one, or making one.
///
/// Shows that they are read-only, in a cgroup namespace of one's own too: cgroup_namespaces(7).
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
                "{script}; unshare -UrmC sh -c '{}'; true",
                script.replace('\'', "'\\''")
            ),
            &fields,
        ));
        only_ends(&run, &fields);
    }
}

/// The caller's own control group, mounted anew from a namespace in which it is the root: where it is delegated to the caller,
/// its files are the job's user's to write, and cgroup.kill and cgroup.freeze act on the caller itself.
///
/// Shows that no job can make such a namespace: cgroup_namespaces(7), cgroups(7), "Cgroups delegation".
#[test]
fn cgroup_of_the_caller_cannot_be_mounted() {
    let mount = "mount -t cgroup2 none /tmp && ls /tmp; true";
    let script = format!(
        "unshare -Ur true && echo nested; \
        {{ unshare -UrmC sh -c '{mount}'; unshare -Urm unshare -C sh -c '{mount}'; unshare -Urm sh -c '{mount}'; unshare -UrmCpf sh -c '{mount}'; }} 2>/dev/null; echo end"
    );
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"seccomp": "off", "directories": {"/": "read-only"}}),
        json!({"capabilities": ["CAP_SYS_ADMIN"]}),
        json!({"cgroup": "off", "limits": {"cpu_time_ms": 60000}}),
    ] {
        let seen = run(&job(&script, &fields));
        assert_eq!(seen.exited(0).stdout(), "nested\nend\n", "{fields}: {seen}");
    }
}

/// The same where a container around stdbox shows a /proc that can be written, and lets another one be mounted read-only only.
///
/// Shows that the number of such namespaces is limited through the one where that cannot be done through the other:
/// namespaces(7), "The /proc/sys/user directory"; mount_namespaces(7), "Restrictions on mount namespaces".
#[test]
fn cgroup_namespace_cannot_be_made_where_the_jobs_proc_is_read_only() {
    if !root() {
        return skip(
            "root",
            "only root can mount procfs for the pids of the host",
        );
    }
    let scene = Fresh::new();
    let setup = format!(
        "mount -t proc -o ro none {}; mount -t tmpfs none /proc/tty; exec \"$STDBOX\"",
        scene.str()
    );
    let script =
        "unshare -U true && echo nested; unshare -UC true 2>/dev/null && echo escaped; echo end";
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"directories": {"/": "read-only"}}),
        json!({"directories": {"/": "full-access"}}),
    ] {
        let seen = run_in_namespace(&setup, &job(script, &fields));
        assert!(seen.degraded().contains(&"proc-read-only"), "{seen}");
        assert_eq!(seen.exited(0).stdout(), "nested\nend\n", "{fields}: {seen}");
    }
}

/// No job gets a control group namespace of its own, so not every part of a script may have run.
#[track_caller]
fn only_ends(seen: &Run, fields: &Value) {
    let lines: Vec<_> = seen.exited(0).stdout().lines().collect();
    assert!(!lines.is_empty(), "{fields}: {seen}");
    assert!(lines.iter().all(|line| *line == "end"), "{fields}: {seen}");
}

/// Every mount of a control group hierarchy, also those that the job mounts itself, for a file whose program the kernel starts
/// as the host's root when the group is empty.
///
/// Shows that no release_agent can be written, and notify_on_release neither: CVE-2022-0492, cgroups(7).
#[test]
fn cgroup_release_agent_cannot_be_set() {
    let attack = r#"
        mkdir /tmp/g /tmp/u 2>/dev/null
        for h in memory rdma cpu pids devices misc none,name=x; do
            mount -t cgroup -o $h none /tmp/g && {
                for f in $(find /tmp/g -name release_agent -o -name notify_on_release); do ( : >> $f ) && echo $f; done
                mkdir /tmp/g/x && echo made $h && rmdir /tmp/g/x
                umount /tmp/g
            }
        done 2>/dev/null
        mount -t cgroup2 none /tmp/u 2>/dev/null && {
            mkdir /tmp/u/x 2>/dev/null && echo made cgroup2 && rmdir /tmp/u/x
        }
        for f in $(find /sys/fs/cgroup -name release_agent -o -name notify_on_release 2>/dev/null); do ( : >> $f ) 2>/dev/null && echo $f; done
        echo end"#;
    let quoted = attack.replace('\'', "'\\''");
    let script = format!(
        "{attack}; unshare -UrmC sh -c '{quoted}'; unshare -Urm unshare -C sh -c '{quoted}'; unshare -UrmCpf sh -c '{quoted}'; true"
    );
    for fields in [
        json!({}),
        json!({"directories": {"/": "full-access"}}),
        json!({"seccomp": "off", "directories": {"/": "read-only"}}),
    ] {
        let seen = run(&job(&script, &fields));
        only_ends(&seen, &fields);
    }
}

/// The host's core dump handler, which the kernel starts outside and as root for what a crashed process left, unless the limit of
/// core dumps is 1: the target sets it to another, by itself or as programs with secrets do.
///
/// Shows that the limit stays, and that those programs go on: core(5), CVE-2025-4598 (systemd-coredump), CVE-2025-5054 (apport).
#[test]
fn core_dump_handler_of_the_host_cannot_be_started_by_lowering_a_limit() {
    let script = "ulimit -c 0 && echo set; ulimit -S -c 0 && ulimit -H -c 0 && echo set; prlimit --core=0 --pid $$ 2>/dev/null; prlimit --core --pid $$ > /dev/null && echo asked; grep core /proc/self/limits; unshare -Ur prlimit --core=0 grep core /proc/self/limits 2>/dev/null";
    for fields in [
        json!({}),
        json!({"seccomp": "strict"}),
        json!({"init": false}),
    ] {
        let seen = run(&job(script, &fields));
        let text = &seen.stdout();
        let mut lines = text.lines();
        assert_eq!(
            lines.by_ref().take(3).collect::<Vec<_>>(),
            ["set", "set", "asked"],
            "{seen}"
        );
        for line in lines {
            let words: Vec<_> = line.split_whitespace().collect();
            assert_eq!(words[4..6], ["1", "1"], "{fields}: {seen}");
        }
        assert!(text.contains("Max core file size"), "{seen}");
    }
}

/// Calls on what there is once for the whole machine: its clock, host name, swap, accounting, quota, log, ports, consoles,
/// modules, root directory. Arguments are such that nothing happens if they are allowed.
///
/// Shows that all are refused, with the filter and without, also for the root of a nested namespace: capabilities(7).
#[test]
fn machine_wide_calls_are_refused() {
    let mut calls: Vec<String> = [
        (libc::SYS_settimeofday, "0 0"),
        // ADJ_SETOFFSET by nothing.
        (libc::SYS_adjtimex, "i:256"),
        (libc::SYS_clock_adjtime, "0 i:256"),
        (libc::SYS_sethostname, "s:x 1"),
        (libc::SYS_setdomainname, "s:x 1"),
        (libc::SYS_swapon, "s:/tmp/none 0"),
        (libc::SYS_swapoff, "s:/tmp/none"),
        (libc::SYS_acct, "s:/tmp/none"),
        // Q_QUOTAOFF, Q_SYNC is anybody's.
        (libc::SYS_quotactl, "0x80000300 s:/dev/null 0 0"),
        (443, "0 0x80000300 0 0"),
        // Clear the log; turn the console's messages on.
        (libc::SYS_syslog, "5 0 0"),
        (libc::SYS_syslog, "7 0 0"),
        (libc::SYS_vhangup, ""),
        (libc::SYS_mknodat, "-100 s:/tmp/mem 0x2180 0x101"),
        (libc::SYS_mknodat, "-100 s:/dev/shm/loop 0x6180 0x700"),
        (libc::SYS_pivot_root, "s:/tmp s:/tmp"),
        (libc::SYS_reboot, "0 0 0 0"),
        (libc::SYS_init_module, "0 0 0"),
        (libc::SYS_finit_module, "0 0 0"),
        (libc::SYS_delete_module, "s:none 0"),
        (libc::SYS_kexec_load, "0 0 0 0"),
        (libc::SYS_bpf, "0 0 0"),
        (libc::SYS_perf_event_open, "0 0 0 0 0"),
        // FAN_CLASS_PRE_CONTENT
        (libc::SYS_fanotify_init, "8 0"),
        // PR_SET_MM
        (libc::SYS_prctl, "35 1 0 0 0"),
    ]
    .iter()
    .map(|(number, arguments)| format!("native {number} {arguments}"))
    .collect();
    if cfg!(target_arch = "x86_64") {
        calls.push(format!("native {} 3", 172 /* iopl */));
        calls.push(format!("native {} 0 1 1", 173 /* ioperm */));
        // The same by the 32-bit ABI.
        for line in [
            "110 3",
            "101 0 1 1",
            "79 0 0",
            "74 s:x 1",
            "51 s:/tmp/none",
            "87 s:/tmp/none 0",
        ] {
            calls.push(format!("i386 {line}"));
        }
    }
    let lines: String = calls
        .iter()
        .map(|call| format!("$own {} syscall {call}; ", probe().display()))
        .collect();
    let script = format!(
        "for own in '' 'unshare -U --keep-caps' 'unshare -Um --keep-caps' 'unshare -Ur'; do {lines} done"
    );
    for fields in [json!({}), json!({"seccomp": "off"}), json!({"init": false})] {
        let seen = shell(&script, fields.clone());
        let answers: Vec<Value> = seen
            .exited(0)
            .stdout()
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(answers.len(), 4 * calls.len(), "{seen}");
        for (call, answer) in calls.iter().cycle().zip(&answers) {
            assert_eq!(answer["result"], -1, "{fields}: {call}: {answer}");
        }
    }
}

/// Device files by mknod(2): of memory, a disk, and one that is harmless, on every file system that the job can write.
///
/// Shows that none can be made, also in a nested namespace: mknod(2).
#[test]
fn device_files_cannot_be_made() {
    let scene = Fresh::new();
    let attack = format!(
        "for d in /tmp /dev/shm /dev /run /home/user {0}; do
            mknod $d/a c 1 1; mknod $d/b b 7 0; mknod $d/c c 1 5
            for f in a b c; do [ -e $d/$f ] && echo $d/$f; done
        done 2>/dev/null; true",
        scene.str()
    );
    let script = format!(
        "{attack}; unshare -Ur sh -c '{attack}'; unshare -Urm sh -c 'mount -t tmpfs none /tmp; mount -t devtmpfs none /mnt && echo devtmpfs; {attack}' 2>/dev/null; echo end"
    );
    for fields in [
        json!({}),
        json!({"directories": {scene.str(): "full-access"}}),
        json!({"directories": {"/": "full-access"}, "seccomp": "off"}),
        json!({"user": {"uid": 0, "gid": 0}}),
    ] {
        let seen = run(&job(&script, &fields));
        assert_eq!(seen.exited(0).stdout(), "end\n", "{fields}: {seen}");
    }
}

/// The memory of the kernel, its log and its addresses, by every file that shows them.
///
/// Shows that none is readable beyond what any user of the host may read: proc_kcore(5), proc_kmsg(5), syslog(2), mem(4).
#[test]
fn memory_and_log_of_the_kernel_cannot_be_read() {
    let script = "
        for f in /proc/kcore /proc/kmsg /proc/vmallocinfo /proc/pagetypeinfo /proc/kpageflags /proc/kpagecount /proc/kpagecgroup \
            /dev/mem /dev/kmem /dev/port /dev/kmsg /sys/kernel/debug/x86/boot_params /sys/kernel/tracing/trace_pipe /sys/kernel/security/lockdown; do
            ( timeout 1 head -c 1 < $f ) >/dev/null 2>&1 && echo $f
        done
        grep -v '^0* ' /proc/kallsyms 2>/dev/null | head -n 1
        grep -q '[1-9a-f].*: System RAM' /proc/iomem && echo addresses
        ls /sys/kernel/debug/* /sys/kernel/tracing/* 2>/dev/null | head -n 1
        true";
    for fields in [
        json!({}),
        json!({"directories": {"/": "read-only"}}),
        json!({"dev": "host"}),
    ] {
        for own in ["", "unshare -Urmpf "] {
            let quoted = format!("{own}sh -c '{}'", script.replace('\'', "'\\''"));
            let seen = run(&job(&quoted, &fields));
            let lines: Vec<_> = seen.exited(0).stdout().lines().collect();
            // What the real root may read by its uid alone.
            let by_uid = |line: &str| {
                root() && ["/proc/vmallocinfo", "/proc/pagetypeinfo"].contains(&line)
                    || root() && line.starts_with("/sys/kernel/")
            };
            let open: Vec<_> = lines.iter().filter(|line| !by_uid(line)).collect();
            assert!(open.is_empty(), "{fields} {own}: {open:?}");
        }
    }
}

/// The out-of-memory killer takes the process with the highest score: one that lowers its own sends another to death.
///
/// Shows that the target cannot lower its score below the one it was started with, nor change init's: proc_pid_oom_score_adj(5).
#[test]
fn oom_score_cannot_be_lowered() {
    let script = "
        was=$(cat /proc/self/oom_score_adj)
        for n in -1000 -1 $((was - 1)); do
            for f in /proc/self /proc/$$ /proc/self/task/self /proc/1 /proc/1/ns/1; do
                ( echo $n > $f/oom_score_adj ) 2>/dev/null && echo $f $n; ( echo -17 > $f/oom_adj ) 2>/dev/null && echo $f old
            done
        done
        for f in /proc/1 /proc/1/ns/1; do ( echo 1000 > $f/oom_score_adj ) 2>/dev/null && echo $f raised; done
        [ $was = $(cat /proc/self/oom_score_adj) ] || echo changed
        true";
    for fields in [
        json!({}),
        json!({"directories": {"/": "read-only"}}),
        json!({"user": {"uid": 0, "gid": 0}}),
    ] {
        for own in ["", "unshare -U --keep-caps "] {
            let quoted = format!("{own}sh -c '{script}'");
            let seen = run(&job(&quoted, &fields));
            assert_eq!(seen.exited(0).stdout(), "", "{fields} {own}: {seen}");
        }
    }
}

/// The host has further mounts of /proc, /sys and control groups, as those of a chroot for building packages, below a
/// directory that the job sees or may even write.
///
/// Shows that no setting of the kernel can be opened through them, whoever started stdbox: proc(5), proc_sys_kernel(5).
#[test]
fn settings_of_the_kernel_cannot_be_opened_through_another_mount() {
    let scene = Fresh::new();
    for name in ["p", "s", "c"] {
        fs::create_dir(scene.path().join(name)).unwrap();
    }
    scene.file("mine", "");
    let script = format!(
        "cd {0}; for f in p/sys/kernel/core_pattern p/sys/kernel/modprobe p/sysrq-trigger s/kernel/uevent_helper s/power/state c/release_agent c/cgroup.procs; do
            [ -f $f ] && ( : >> $f ) 2>/dev/null && echo $f
        done
        find p/sys p/irq s/kernel s/module s/power c -maxdepth 3 -type f -perm /222 2>/dev/null | head -n 400 | while read -r f; do ( : >> $f ) 2>/dev/null && echo $f; done
        ls p >/dev/null; [ -w mine ] && echo mine; true",
        scene.str()
    );
    // An ordinary user gets no more of these than the mounts of its own namespaces.
    let setup = format!(
        "mount -t proc none {0}/p || mount --rbind /proc {0}/p; mount -t sysfs none {0}/s || mount --rbind /sys {0}/s; mount -t cgroup -o memory none {0}/c || mount --rbind /sys/fs/cgroup {0}/c || true; exec \"$STDBOX\"",
        scene.str()
    );
    for fields in [
        json!({}),
        json!({"directories": {scene.str(): "read-only"}}),
        json!({"directories": {scene.str(): "overlay"}}),
        json!({"directories": {scene.str(): "full-access"}}),
        json!({"directories": {"/": "read-only", scene.str(): "full-access"}}),
        json!({"directories": {"/": "full-access"}}),
        json!({"directories": {"/": "full-access", scene.str(): "overlay"}}),
    ] {
        let seen = run_in_namespace(&setup, &job(&script, &fields));
        let open: Vec<_> = seen
            .exited(0)
            .stdout()
            .lines()
            .filter(|line| *line != "mine" && !settable_by_anybody(line))
            .collect();
        assert!(
            open.is_empty(),
            "{fields}: {} {:?}",
            open.len(),
            &open[..open.len().min(5)]
        );
    }
}

/// What any process may write in a procfs that shows its own namespaces, and what is open and refuses.
fn settable_by_anybody(path: &str) -> bool {
    let path = path.trim_start_matches("p/");
    let start = |starts: &[&str]| starts.iter().any(|start| path.starts_with(start));
    start(&["net/", "pressure/", "timer_list", "sys/net/"])
        || (!root() && start(&["sys/user/", "sys/kernel/ns_last_pid", "sys/kernel/pid_max"]))
        || (!root()
            && start(&[
                "sys/kernel/msg",
                "sys/kernel/sem",
                "sys/kernel/shm",
                "sys/kernel/auto_msgmni",
                "sys/fs/mqueue/",
            ]))
}
