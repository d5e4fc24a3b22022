//! What every container has: mount table, /tmp, shared memory, /dev, /sys, /proc, configuration files, home.

use crate::common::{MODES, among_mounts, job, lines, mount_at, scripted, table};
use crate::support::{Fresh, root, run_in_namespace, shell, skip};
use serde_json::{Value, json};

/// The three modes of `/` that leave a shell usable.
const ROOTS: [&str; 3] = ["overlay", "read-only", "full-access"];

fn below(root: &str, script: &str) -> crate::support::Run {
    shell(script, json!({"directories": {"/": root}}))
}

#[test]
fn table_of_the_default_job_holds_no_host_mount_that_no_mode_asked_for() {
    let run = shell("cat /proc/self/mountinfo", json!({}));
    for mount in table(run.exited(0).stdout()) {
        let fresh = matches!(
            mount.fstype.as_str(),
            "overlay" | "tmpfs" | "proc" | "devpts" | "mqueue"
        );
        let node = mount.fstype == "devtmpfs" && mount.at.starts_with("/dev/") && mount.root != "/";
        let node = node || (mount.at.starts_with("/dev/") && mount.root != "/");
        let below_sys = mount.at == "/sys" || mount.at.starts_with("/sys/");
        assert!(
            fresh || node || below_sys || mount.has("ro"),
            "{mount:?} {run}"
        );
        assert!(
            below_sys || mount.at.starts_with("/dev/") || mount.has("ro") || fresh,
            "{mount:?} {run}"
        );
        assert!(mount.has("nosuid"), "{mount:?} {run}");
        assert!(
            mount.has("nodev") || mount.at.starts_with("/dev"),
            "{mount:?} {run}"
        );
        assert!(
            !below_sys || (mount.has("ro") && mount.has("noexec")),
            "{mount:?} {run}"
        );
    }
}

/// Every mount of the host lies on the file system that it had, so an overlay or copy of one can be told by its device.
#[test]
fn table_of_a_hidden_directory_holds_nothing_of_it() {
    let directory = Fresh::new();
    std::fs::create_dir_all(directory.path().join("secret/m")).unwrap();
    for root in ROOTS {
        let fields =
            json!({"directories": {"/": root, format!("{}/secret", directory.str()): "hidden"}});
        let job = job(
            "cat /proc/self/mountinfo; ls -A \"$1/secret\" >&2",
            &[directory.str().as_bytes()],
            &fields,
        );
        let mounted = among_mounts(
            &directory,
            "mount -t tmpfs secret_source \"$D/secret/m\"; echo x > \"$D/secret/m/f\"",
            &job,
        );
        let run = mounted.unchanged().run.exited(0);
        assert_eq!(run.stderr(), "", "{run}");
        if root == "overlay" {
            assert!(!run.stdout().contains("secret_source"), "{root}: {run}");
        }
    }
}

/// procfs files of the first process belong to its user, whom the real root is to the kernel whatever the namespace.
#[test]
fn proc_does_not_let_the_job_change_settings_of_the_first_process() {
    // timerslack_ns may be opened by everyone, and is checked when it is written.
    let script = "for f in /proc/1/* /proc/1/task/1/*; do case $f in */attr|*/timerslack_ns) continue;; esac; [ -f $f ] && ( : >> $f ) 2>/dev/null && echo $f; done; true";
    for root in ROOTS {
        let run = below(root, script);
        assert_eq!(run.exited(0).stdout(), "", "{root}: {run}");
    }
}

#[test]
fn temporary_directory_is_empty_private_and_sticky() {
    let file = format!("/tmp/stdbox-test-{}", std::process::id());
    std::fs::write(&file, "host").unwrap();
    for root in ROOTS {
        let run = below(
            root,
            "stat -c '%a %F' /tmp; ls -A /tmp; echo job > /tmp/f && cat /tmp/f; ls -A /run | grep -v '^shm$'; stat -f -c %T /tmp",
        );
        assert_eq!(
            run.exited(0).stdout(),
            "1777 directory\njob\ntmpfs\n",
            "{root}: {run}"
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "host");
    std::fs::remove_file(&file).unwrap();
    assert!(!std::path::Path::new("/tmp/f").exists());
}

#[test]
fn temporary_directory_when_named_has_its_mode() {
    let scene = Fresh::below("/tmp");
    let at = scene.str();
    scene.file("f", "host");
    for mode in MODES {
        for root in ROOTS {
            let script = format!(
                "r=no; [ -e {at}/f ] && r=yes; w=no; ( echo job > {at}/{root} ) 2>/dev/null && w=yes; echo $r $w"
            );
            let run = shell(&script, json!({"directories": {"/": root, "/tmp": mode}}));
            let reached = std::fs::remove_file(format!("{at}/{root}")).is_ok();
            let expected = match mode {
                "hidden" => ("no no\n", false),
                "read-only" => ("yes no\n", false),
                "overlay" => ("yes yes\n", false),
                _ => ("yes yes\n", true),
            };
            assert_eq!(
                (run.exited(0).stdout(), reached),
                expected,
                "{mode} {root}: {run}"
            );
        }
    }
}

/// One way in which /run/shm can be on a host, and what the job sees.
fn run_shm(setup: &str, script: &str, root: &str, more: Value) -> crate::support::Run {
    let script =
        format!("{script}; stat -f -c %T /dev/shm; echo job > /dev/shm/job && ls /dev/shm");
    let mut job = job(&script, &[], &json!({"directories": {"/": root}}));
    for (key, value) in more.as_object().unwrap() {
        job[key] = value.clone();
    }
    let setup = format!(
        "mount -t tmpfs none /run; {setup}\necho host > /dev/shm/stdbox-test-host 2>/dev/null || true\ns=0; \"$STDBOX\" || s=$?\n[ ! -e /dev/shm/job ] && [ ! -e /run/shm/job ] || echo leaked >&2\nexit $s"
    );
    let run = run_in_namespace(&format!("mount -t tmpfs none /dev/shm; {setup}"), &job);
    assert_eq!(run.complaint, "", "{run}");
    run
}

#[test]
fn run_shm_as_directory_is_private_memory() {
    for root in ROOTS {
        for more in [json!({}), json!({"dev": "host"})] {
            let setup = "mkdir -m 1777 /run/shm; echo host > /run/shm/host";
            let script = "stat -f -c %T /run/shm; stat -c %a /run/shm; ls /run/shm; echo job > /run/shm/job && cat /run/shm/job";
            let run = run_shm(setup, script, root, more.clone());
            assert_eq!(
                run.exited(0).stdout(),
                "tmpfs\n1777\njob\ntmpfs\njob\n",
                "{root} {more}: {run}"
            );
        }
    }
}

#[test]
fn run_shm_as_mount_point_is_private_memory() {
    for root in ROOTS {
        let setup =
            "mkdir /run/shm; mount -t tmpfs -o size=4k none /run/shm; echo host > /run/shm/host";
        let run = run_shm(
            setup,
            "stat -f -c %T /run/shm; ls /run/shm; head -c 9999 /dev/zero > /run/shm/job && echo written",
            root,
            json!({}),
        );
        assert_eq!(
            run.exited(0).stdout(),
            "tmpfs\nwritten\ntmpfs\njob\n",
            "{root}: {run}"
        );
    }
}

#[test]
fn run_shm_as_link_leads_to_dev_shm() {
    for root in ROOTS {
        let script = "readlink /run/shm; echo x > /run/shm/through && cat /dev/shm/through && rm /dev/shm/through";
        let run = run_shm("ln -s /dev/shm /run/shm", script, root, json!({}));
        assert_eq!(
            run.exited(0).stdout(),
            "/dev/shm\nx\ntmpfs\njob\n",
            "{root}: {run}"
        );
    }
}

#[test]
fn run_shm_missing_stays_missing() {
    for root in ROOTS {
        let run = run_shm(":", "ls -A /run", root, json!({}));
        assert_eq!(run.exited(0).stdout(), "tmpfs\njob\n", "{root}: {run}");
    }
}

#[test]
fn run_shm_below_a_visible_run_is_private_all_the_same() {
    for mode in ["overlay", "read-only", "full-access"] {
        let fields = json!({"directories": {"/run": mode}});
        let setup = "mkdir -m 1777 /run/shm; echo host > /run/shm/host; echo host > /run/visible";
        let run = run_shm(
            setup,
            "cat /run/visible; ls -A /run/shm; stat -f -c %T /run/shm; echo job > /run/shm/job && echo ok",
            "overlay",
            fields,
        );
        assert_eq!(
            run.exited(0).stdout(),
            "host\ntmpfs\nok\ntmpfs\njob\n",
            "{mode}: {run}"
        );
    }
}

#[test]
fn run_shm_with_a_disk_scratch_is_memory() {
    let directory = Fresh::new();
    let fields = json!({"scratch": {"directory": directory.str()}});
    let run = run_shm(
        "mkdir -m 1777 /run/shm",
        "stat -f -c %T /run/shm; touch /run/shm/job && echo ok",
        "overlay",
        fields,
    );
    assert_eq!(run.exited(0).stdout(), "tmpfs\nok\ntmpfs\njob\n", "{run}");
}

#[test]
fn dev_shm_when_named_has_its_mode() {
    for mode in MODES {
        let job = job(
            "ls /dev/shm; ( echo job > /dev/shm/job ) 2>/dev/null && echo written; echo",
            &[],
            &json!({"directories": {"/dev/shm": mode}}),
        );
        let run = run_in_namespace(
            "mount -t tmpfs none /dev/shm; echo x > /dev/shm/host; s=0; \"$STDBOX\" || s=$?; [ ! -e /dev/shm/job ] || echo leaked >&2; exit $s",
            &job,
        );
        let expected = match mode {
            "hidden" => "written\n\n",
            // Below /dev an overlay is read-only.
            "read-only" | "overlay" => "host\n\n",
            _ => "host\nwritten\n\n",
        };
        assert_eq!(run.exited(0).stdout(), expected, "{mode}: {run}");
        assert_eq!(
            run.complaint.trim() == "leaked",
            mode == "full-access",
            "{mode}: {run}"
        );
    }
}

#[test]
fn shared_memory_of_posix_works() {
    let Some(python) = python() else { return };
    let script = format!(
        "{python} -c 'from multiprocessing import shared_memory as s, Semaphore; Semaphore(); m = s.SharedMemory(create=True, size=4096); m.buf[0] = 7; print(m.buf[0]); m.unlink()'"
    );
    for root in ROOTS {
        let run = below(root, &script);
        assert_eq!(run.exited(0).stdout(), "7\n", "{root}: {run}");
    }
}

fn python() -> Option<&'static str> {
    let there = std::path::Path::new("/usr/bin/python3").exists();
    if !there {
        skip("python3", "there is no /usr/bin/python3");
    }
    there.then_some("/usr/bin/python3")
}

#[test]
fn dev_minimal_holds_exactly_the_harmless_devices() {
    for root in ROOTS {
        let run = below(
            root,
            "ls -A /dev; ls -A /dev/pts /dev/mqueue /dev/shm; for n in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$n; done; for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done",
        );
        let expected = "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\
            /dev/mqueue:\n\n/dev/pts:\nptmx\n\n/dev/shm:\n\
            /dev/null character special file 1:3 666\n/dev/zero character special file 1:5 666\n/dev/full character special file 1:7 666\n\
            /dev/random character special file 1:8 666\n/dev/urandom character special file 1:9 666\n/dev/tty character special file 5:0 666\n\
            /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n";
        assert_eq!(run.exited(0).stdout(), expected, "{root}: {run}");
    }
}

#[test]
fn dev_minimal_devices_do_what_they_should() {
    for root in ROOTS {
        let script = "echo x > /dev/null && head -c 3 /dev/zero | od -An -tx1 && head -c 8 /dev/urandom | wc -c && head -c 1 /dev/random | wc -c; \
            ( echo x > /dev/full ) 2>/dev/null || echo full; echo out > /dev/stdout; echo err > /dev/stderr; echo in | cat /dev/stdin; \
            ( : < /dev/tty ) 2>/dev/null || echo no terminal; 3<<E cat /dev/fd/3\nhere\nE";
        let run = below(root, script);
        assert_eq!(
            run.exited(0).stdout(),
            " 00 00 00\n8\n1\nfull\nout\nin\nno terminal\nhere\n",
            "{root}: {run}"
        );
        assert_eq!(run.stderr(), "err\n", "{root}: {run}");
    }
}

#[test]
fn dev_takes_no_device_file_and_is_writable_for_others() {
    let run = shell(
        "mknod /dev/x c 1 3 2>/dev/null || echo refused; touch /dev/y && echo made; unshare -Urm mknod /dev/z b 7 0 2>/dev/null || echo refused",
        json!({"user": {"uid": 0, "gid": 0}}),
    );
    assert_eq!(run.exited(0).stdout(), "refused\nmade\nrefused\n", "{run}");
}

#[test]
fn pseudo_terminal_is_of_the_containers_own() {
    for fields in [
        json!({}),
        json!({"directories": {"/": "read-only"}}),
        json!({"dev": "host"}),
    ] {
        let run = shell(
            "script -qec 'tty; stty size >/dev/null && echo stty; echo x > /dev/tty; ls /dev/pts' /dev/null < /dev/null",
            fields.clone(),
        );
        let seen: Vec<&str> = run.exited(0).stdout().split_whitespace().collect();
        assert_eq!(
            seen,
            ["/dev/pts/0", "stty", "x", "0", "ptmx"],
            "{fields}: {run}"
        );
    }
}

#[test]
fn message_queues_are_the_containers_own() {
    let run = shell(
        "touch /dev/mqueue/q && ls /dev/mqueue; stat -f -c %T /dev/mqueue",
        json!({}),
    );
    assert!(run.exited(0).stdout().starts_with("q\n"), "{run}");
    let run = shell("ls -A /dev/mqueue", json!({}));
    assert_eq!(run.exited(0).stdout(), "", "{run}");
}

#[test]
fn dev_host_shows_the_hosts_names_read_only() {
    let host: Vec<String> = std::fs::read_dir("/dev")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for root in ROOTS {
        let run = shell(
            "ls -A /dev; ( : > /dev/new ) 2>/dev/null || echo refused >&2; echo x > /dev/null && head -c 1 /dev/zero | wc -c >&2; echo x > /dev/shm/x && ls -A /dev/shm >&2",
            json!({"directories": {"/": root}, "dev": "host"}),
        );
        let mut seen = lines(run.exited(0).stdout());
        let mut host: Vec<&str> = host
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "mqueue")
            .collect();
        host.sort_unstable();
        seen.retain(|name| *name != "mqueue");
        assert_eq!(seen, host, "{root}: {run}");
        assert_eq!(run.stderr(), "refused\n1\nx\n", "{root}: {run}");
    }
}

#[test]
fn dev_named_in_directories_is_the_hosts() {
    for mode in ["read-only", "overlay", "full-access"] {
        let run = shell(
            "[ -e /dev/kmsg ] || [ -e /dev/console ] && echo host; echo x > /dev/null && echo works; ls -A /dev/shm; ls -A /dev/pts",
            json!({"directories": {"/dev": mode}}),
        );
        assert_eq!(
            run.exited(0).stdout(),
            "host\nworks\nptmx\n",
            "{mode}: {run}"
        );
    }
    let run = shell(
        "ls -A /dev; : > /dev/x && ls -A /dev",
        json!({"directories": {"/dev": "hidden"}}),
    );
    assert_eq!(run.exited(0).stdout(), "x\n", "{run}");
}

#[test]
fn sys_is_read_only_with_all_flags_whatever_the_root() {
    for root in ROOTS {
        let run = below(
            root,
            "cat /proc/self/mountinfo; ls /sys/kernel >/dev/null && echo visible >&2; mkdir /sys/fs/cgroup/x 2>/dev/null && echo made >&2; true",
        );
        let table = table(run.exited(0).stdout());
        for mount in table
            .iter()
            .filter(|mount| mount.at == "/sys" || mount.at.starts_with("/sys/"))
        {
            for flag in ["ro", "nosuid", "nodev", "noexec"] {
                assert!(mount.has(flag), "{root}: {mount:?} {run}");
            }
        }
        assert_eq!(mount_at(&table, "/sys").fstype, "sysfs", "{root}: {run}");
        assert_eq!(run.stderr(), "visible\n", "{root}: {run}");
    }
}

#[test]
fn sys_when_named_has_its_mode_but_no_overlay() {
    for (mode, names) in [("hidden", 0), ("read-only", 1), ("overlay", 1)] {
        let run = shell(
            "ls /sys | grep -c '^kernel$'; cat /proc/self/mountinfo >&2",
            json!({"directories": {"/sys": mode}}),
        );
        assert_eq!(
            run.report["stdout"]["text"],
            format!("{names}\n"),
            "{mode}: {run}"
        );
        for mount in table(run.stderr())
            .iter()
            .filter(|mount| mount.fstype == "sysfs")
        {
            assert!(
                mount.has("ro") && mount.has("noexec"),
                "{mode}: {mount:?} {run}"
            );
        }
    }
}

/// Some file systems of the kernel may be mounted outside /sys too.
#[test]
fn sysfs_mounted_elsewhere_has_its_flags_too() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("s")).unwrap();
    // In place the table is not read; there the kernel itself keeps programs and devices of a sysfs from being used.
    for root in ["overlay"] {
        let job = job(
            "cat /proc/self/mountinfo",
            &[],
            &json!({"directories": {"/": root}}),
        );
        let mounted = among_mounts(
            &Fresh::new(),
            &format!("mount --rbind /sys '{}/s'", directory.str()),
            &job,
        );
        let run = mounted.run.exited(0);
        for mount in table(run.stdout())
            .iter()
            .filter(|mount| mount.fstype == "sysfs")
        {
            for flag in ["nosuid", "nodev", "noexec"] {
                assert!(mount.has(flag), "{root}: {mount:?} {run}");
            }
        }
    }
}

#[test]
fn proc_shows_only_the_containers_processes() {
    for root in ROOTS {
        let run = below(
            root,
            "echo /proc/[0-9]*; cat /proc/self/mountinfo >&2; readlink /proc/self/root",
        );
        assert_eq!(
            run.exited(0).stdout(),
            "/proc/1 /proc/2\n/\n",
            "{root}: {run}"
        );
        let table = table(run.stderr());
        let proc = mount_at(&table, "/proc");
        assert_eq!(
            (proc.fstype.as_str(), proc.root.as_str()),
            ("proc", "/"),
            "{root}: {run}"
        );
        assert!(
            proc.has("nosuid") && proc.has("nodev") && proc.has("noexec"),
            "{root}: {run}"
        );
        if !globally_root() {
            let procs = table
                .iter()
                .filter(|mount| mount.at.starts_with("/proc/"))
                .count();
            assert_eq!(procs, 0, "{root}: {run}");
        }
    }
}

fn globally_root() -> bool {
    root()
}

#[test]
fn proc_does_not_let_the_job_reach_the_first_process() {
    let script = "cat /proc/1/environ /proc/1/maps /proc/1/mem 2>/dev/null; ls /proc/1/root/ /proc/1/cwd/ 2>/dev/null; readlink /proc/1/exe /proc/1/root /proc/1/fd/*; kill -STOP 1; kill -KILL 1; echo alive";
    for root in ROOTS {
        let run = below(root, script);
        assert_eq!(run.exited(0).stdout(), "alive\n", "{root}: {run}");
    }
}

const CONFIG: &str = "id -un; id -gn; getent passwd user; getent group user; getent passwd root nobody >/dev/null && echo both; getent passwd someone-else || echo none; \
    cat /etc/hostname; hostname; getent hosts stdbox localhost >/dev/null && echo hosts; cd && pwd; grep -c ' / ' /etc/mtab; grep -c files /etc/nsswitch.conf";

#[test]
fn configuration_whatever_the_mode_of_etc_is_the_containers() {
    for (root, etc) in [
        ("overlay", "overlay"),
        ("overlay", "read-only"),
        ("read-only", "read-only"),
        ("read-only", "overlay"),
        ("full-access", "full-access"),
        ("overlay", "full-access"),
    ] {
        let before = (
            std::fs::read("/etc/passwd").unwrap(),
            std::fs::read("/etc/hosts").unwrap(),
        );
        let run = shell(CONFIG, json!({"directories": {"/": root, "/etc": etc}}));
        let home = if root == "overlay" {
            "/home/user"
        } else {
            "/tmp"
        };
        let expected = format!(
            "user\nuser\nuser:x:1000:1000:user:/home/user:/bin/sh\nuser:x:1000:\nboth\nnone\nstdbox\nstdbox\nhosts\n{home}\n1\n11\n"
        );
        assert_eq!(run.exited(0).stdout(), expected, "{root} {etc}: {run}");
        assert_eq!(
            (
                std::fs::read("/etc/passwd").unwrap(),
                std::fs::read("/etc/hosts").unwrap()
            ),
            before,
            "{run}"
        );
        assert_eq!(
            run.warnings().contains(&"home-replaced"),
            root != "overlay",
            "{root} {etc}: {run}"
        );
    }
}

#[test]
fn configuration_where_etc_is_hidden_is_all_there_is() {
    for root in ["overlay", "read-only"] {
        let run = shell(
            "ls -A /etc; id -un; cat /etc/hostname; readlink /etc/mtab",
            json!({"directories": {"/": root, "/etc": "hidden"}}),
        );
        assert_eq!(
            run.exited(0).stdout(),
            "group\nhostname\nhosts\nmtab\nnsswitch.conf\npasswd\nuser\nstdbox\n/proc/self/mounts\n",
            "{root}: {run}"
        );
    }
}

#[test]
fn configuration_in_an_overlay_can_be_changed_and_elsewhere_not() {
    for (etc, expected) in [
        ("overlay", "changed\nchanged\n"),
        ("hidden", "changed\nchanged\n"),
    ] {
        let run = shell(
            "echo 127.0.0.1 me >> /etc/hosts && echo changed; rm /etc/passwd && echo changed; true",
            json!({"directories": {"/etc": etc}}),
        );
        assert_eq!(run.exited(0).stdout(), expected, "{etc}: {run}");
    }
    let run = shell(
        "( echo x >> /etc/hosts ) 2>/dev/null || echo refused",
        json!({"directories": {"/etc": "read-only"}}),
    );
    assert_eq!(
        run.exited(0).stdout(),
        "refused\n",
        "a read-only directory holds nothing that can be written: {run}"
    );
}

#[test]
fn configuration_files_that_are_mount_points_are_the_containers_all_the_same() {
    for (root, etc) in [
        ("overlay", "overlay"),
        ("overlay", "read-only"),
        ("read-only", "read-only"),
        ("read-only", "overlay"),
        ("overlay", "hidden"),
    ] {
        let directory = Fresh::new();
        directory.file("f", "1.2.3.4 somewhere\n");
        let setup = "for f in hosts hostname passwd; do mount --bind \"$D/f\" /etc/$f; done";
        let script = "id -un; cat /etc/hostname; grep -c stdbox /etc/hosts; test -e /etc/debian_version && echo visible";
        let job = job(
            &format!("{script}; true"),
            &[],
            &json!({"directories": {"/": root, "/etc": etc}}),
        );
        let mounted = among_mounts(&directory, setup, &job);
        let run = mounted.unchanged().run.exited(0);
        let visible = if etc == "hidden" { "" } else { "visible\n" };
        assert_eq!(
            run.stdout(),
            format!("user\nstdbox\n1\n{visible}"),
            "{root} {etc}: {run}"
        );
    }
}

#[test]
fn configuration_switched_off_leaves_the_hosts() {
    let fields = json!({"system_config": false});
    let run = scripted(
        "HOME=/somewhere exec \"$STDBOX\"",
        &job(
            "echo $HOME; hostname; cmp /etc/passwd /etc/passwd && cat /etc/passwd >&2",
            &[],
            &fields,
        ),
    );
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(
        run.exited(0).stdout(),
        format!("/somewhere\n{host}"),
        "{run}"
    );
    assert_eq!(
        run.stderr(),
        std::fs::read_to_string("/etc/passwd").unwrap(),
        "{run}"
    );
}

#[test]
fn home_that_exists_on_the_host_is_empty_and_private() {
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
    let home = if std::path::Path::new(&home).is_dir() && !home.starts_with("/tmp") {
        home
    } else {
        "/home".into()
    };
    for fields in [
        json!({}),
        json!({"directories": {home.as_str(): "overlay"}}),
        json!({"directories": {"/home": "hidden", "/root": "hidden"}}),
    ] {
        let mut fields = fields;
        fields["user"] = json!({"home": home});
        let run = shell("echo $HOME; touch ~/x && echo written", fields.clone());
        assert_eq!(
            run.exited(0).stdout(),
            format!("{home}\nwritten\n"),
            "{fields}: {run}"
        );
    }
    assert!(!std::path::Path::new(&home).join("x").exists());
}

#[test]
fn home_where_it_cannot_be_made_is_tmp_with_a_warning() {
    for fields in [
        json!({"directories": {"/": "read-only"}}),
        json!({"user": {"home": "/proc/x"}}),
        json!({"user": {"home": "/dev/x"}}),
        json!({"directories": {"/home": "full-access"}}),
    ] {
        let run = shell("echo $HOME; touch ~/x && echo written", fields.clone());
        assert_eq!(run.exited(0).stdout(), "/tmp\nwritten\n", "{fields}: {run}");
        assert!(run.warnings().contains(&"home-replaced"), "{fields}: {run}");
    }
    assert!(
        !std::path::Path::new("/home/user").exists(),
        "nothing is made on the host"
    );
}

#[test]
fn home_of_the_environment_wins_where_it_is_set() {
    let run = shell(
        "echo $HOME",
        json!({"env": {"set": {"HOME": "/elsewhere"}}}),
    );
    assert_eq!(run.exited(0).stdout(), "/elsewhere\n", "{run}");
}

#[test]
fn name_resolution_of_the_hosts_network_stays_visible() {
    let setup = "mount -t tmpfs none /run; mkdir -p /run/systemd/resolve /run/resolvconf /run/other; echo ns > /run/systemd/resolve/stub; echo x > /run/resolvconf/y";
    let job = job(
        "cat /run/systemd/resolve/stub; ls -A /run/resolvconf /run; ( echo x > /run/systemd/resolve/z ) 2>/dev/null || echo refused",
        &[],
        &json!({"system_config": false, "network": "host"}),
    );
    let run = run_in_namespace(&format!("{setup}; exec \"$STDBOX\""), &job);
    assert_eq!(
        run.exited(0).stdout(),
        "ns\n/run:\nresolvconf\nsystemd\n\n/run/resolvconf:\ny\nrefused\n",
        "{run}"
    );
}
