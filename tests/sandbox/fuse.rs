//! LXCFS and other FUSE file systems. Mounting them needs /dev/fuse, which may be the real root's only.

use crate::common::{about, among_mounts, job, mount_at, table};
use crate::support::{Fresh, in_namespace, root, skip, stdbox};
use serde_json::{Value, json};

fn fuse() -> bool {
    let usable = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .is_ok();
    if !usable {
        skip(
            "fuse-mount",
            "/dev/fuse is missing or cannot be opened by this user",
        );
    }
    usable
}

fn lxcfs() -> bool {
    let there = std::path::Path::new("/usr/bin/lxcfs").exists();
    if !there {
        skip("lxcfs", "there is no /usr/bin/lxcfs (Debian package lxcfs)");
    } else if !root() {
        skip("fuse-mount", "only the real root can start LXCFS");
    }
    there && root() && fuse()
}

/// Runs jobs where LXCFS runs; it is ended whatever happens.
fn beside_lxcfs(jobs: &[Value]) -> Vec<crate::support::Run> {
    let out = Fresh::new();
    let mut script = format!(
        r#"mkdir -p /var/lib/lxcfs; lxcfs -f -p '{0}/pid' /var/lib/lxcfs >'{0}/log' 2>&1 & pid=$!
        trap 'umount -l /var/lib/lxcfs 2>/dev/null; kill $pid 2>/dev/null; wait $pid 2>/dev/null' EXIT
        n=0; while ! [ -e /var/lib/lxcfs/proc/uptime ]; do n=$((n+1)); [ $n -lt 300 ] || {{ cat '{0}/log' >&2; exit 1; }}; sleep 0.02; done
"#,
        out.str()
    );
    for (i, job) in jobs.iter().enumerate() {
        out.file(&format!("job{i}"), &job.to_string());
        script.push_str(&format!(
            "\"$STDBOX\" --spec '{0}/job{i}' --report '{0}/report{i}' </dev/null || true\n",
            out.str()
        ));
    }
    script.push_str("echo end");
    let (output, errors, _) = in_namespace(&script, "");
    assert_eq!(output, "end\n", "{errors}");
    let read = |i| std::fs::read(out.path().join(format!("report{i}"))).unwrap_or_default();
    let report = |i| serde_json::from_slice(&read(i)).unwrap_or(Value::Null);
    (0..jobs.len())
        .map(|i| crate::support::Run {
            report: report(i),
            status: None,
            complaint: errors.clone(),
        })
        .collect()
}

#[test]
fn lxcfs_files_are_bound_over_proc_and_nesting_still_works() {
    if !lxcfs() {
        return;
    }
    let script = "cat /proc/self/mountinfo; cut -d. -f1 /proc/uptime >&2; grep -c MemTotal /proc/meminfo >&2; ( : >> /proc/uptime ) 2>/dev/null && echo writable >&2; ls /sys/devices/system/cpu | grep -c '^cpu0$' >&2; ls -A /var/lib/lxcfs/proc 2>/dev/null | grep -c uptime >&2";
    let nest = |inner: Value| json!({"argv": [stdbox()], "cwd": "/", "stdin": {"text": inner.to_string()}, "proc": "nestable"});
    let plain = |fields| job(script, &[], &fields);
    let unshare = |fields: Value| {
        job(
            "unshare -Urpf --mount-proc sh -c 'set -- /proc/[0-9]*; echo $#; cat /proc/uptime /proc/meminfo >/dev/null && echo read'",
            &[],
            &fields,
        )
    };
    let runs = beside_lxcfs(&[
        plain(json!({})),
        plain(json!({"directories": {"/": "read-only"}})),
        plain(json!({"lxcfs": "off"})),
        unshare(json!({"proc": "nestable"})),
        unshare(json!({"proc": "nestable", "directories": {"/": "read-only"}})),
        nest(job(
            "id -un; cat /proc/uptime >/dev/null && cat /proc/self/mountinfo >&2",
            &[],
            &json!({}),
        )),
        plain(json!({"directories": {"/": "full-access"}})),
    ]);
    for i in [0, 1, 6] {
        let run = runs[i].exited(0);
        let table = table(run.stdout());
        for name in [
            "cpuinfo",
            "diskstats",
            "loadavg",
            "meminfo",
            "stat",
            "swaps",
            "uptime",
        ] {
            let mount = mount_at(&table, &format!("/proc/{name}"));
            assert_eq!(
                (mount.fstype.as_str(), mount.root.as_str()),
                ("fuse.lxcfs", format!("/proc/{name}").as_str()),
                "{i} {run}"
            );
            assert!(
                ["ro", "nosuid", "nodev", "noexec"]
                    .iter()
                    .all(|flag| mount.has(flag)),
                "{mount:?} {run}"
            );
        }
        let lines: Vec<&str> = run.stderr().lines().collect();
        // The uptime of the container, not of the machine.
        assert!(lines[0].parse::<u64>().unwrap() < 3600, "{i} {run}");
        assert_eq!(lines[1..3], ["1", "1"], "{i} {run}");
        assert!(
            run.warnings()
                .iter()
                .all(|code| *code != "overlay-read-only"),
            "{i} {run}"
        );
    }
    let run = runs[2].exited(0);
    assert!(
        !table(run.stdout())
            .iter()
            .any(|mount| mount.at.starts_with("/proc/") && mount.fstype == "fuse.lxcfs"),
        "{run}"
    );
    for i in [3, 4] {
        assert_eq!(runs[i].exited(0).stdout(), "1\nread\n", "{i} {}", runs[i]);
    }
    let outer = runs[5].exited(0);
    let inner: Value = serde_json::from_str(outer.stdout()).unwrap_or(Value::Null);
    assert_eq!(inner["stdout"]["text"], "user\n", "{inner} {outer}");
    let inner_table = table(inner["stderr"]["text"].as_str().unwrap());
    assert_eq!(
        mount_at(&inner_table, "/proc/uptime").fstype,
        "fuse.lxcfs",
        "{inner}"
    );
}

#[test]
fn lxcfs_as_ordinary_user_nests_by_default() {
    if !lxcfs() {
        return;
    }
    // stdbox as another user than root, on a host where root runs LXCFS.
    let out = Fresh::new();
    let inner = job(
        "id -un; cat /proc/meminfo >/dev/null && echo read; unshare -Urpf --mount-proc sh -c 'set -- /proc/[0-9]*; echo $#'",
        &[],
        &json!({}),
    );
    let outer = json!({"argv": [stdbox()], "cwd": "/", "stdin": {"text": inner.to_string()}});
    let script = format!(
        r#"lxcfs -f -p '{0}/pid' /var/lib/lxcfs >'{0}/log' 2>&1 3<&- & pid=$!
        trap 'umount -l /var/lib/lxcfs 2>/dev/null; kill $pid 2>/dev/null; wait $pid 2>/dev/null' EXIT
        n=0; while ! [ -e /var/lib/lxcfs/proc/uptime ]; do n=$((n+1)); [ $n -lt 300 ] || {{ cat '{0}/log' >&2; exit 1; }}; sleep 0.02; done
        setpriv --reuid 65534 --regid 65534 --clear-groups "$STDBOX""#,
        out.str()
    );
    let (output, errors, _) = in_namespace(&script, &outer.to_string());
    let report: Value = serde_json::from_str(&output).unwrap_or(Value::Null);
    let inner: Value = serde_json::from_str(report["stdout"]["text"].as_str().unwrap_or(""))
        .unwrap_or(Value::Null);
    assert_eq!(
        inner["stdout"]["text"], "user\nread\n1\n",
        "{inner} {report} {errors}"
    );
}

/// A FUSE server with one file, `f`, that holds "fuse\n".
const SERVER: &str = r#"
import os, struct, sys, ctypes
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other'.encode()
if libc.mount(b'fuse_source', sys.argv[1].encode(), sys.argv[2].encode(), 6, options):
    raise OSError(ctypes.get_errno(), 'mount')
if len(sys.argv) > 3:
    sys.exit(0)
if os.fork():
    os._exit(0)
os.close(0); os.close(1); os.close(2)
TEXT = b'fuse\n'
def attr(node):
    mode, size = (0o40755, 0) if node == 1 else (0o100644, len(TEXT))
    return struct.pack('<6Q10I', node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 512, 0)
while True:
    try:
        request = os.read(fd, 1 << 20)
    except OSError as error:
        if error.errno == 4: continue
        break
    length, op, unique, node = struct.unpack('<IIQQ', request[:24])
    body, error = b'', 0
    if op == 26: body = struct.pack('<IIIIHHIIHHI7I', 7, 31, 65536, 0, 12, 10, 65536, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)[:64]
    elif op == 3: body = struct.pack('<QII', 0, 0, 0) + attr(node)
    elif op == 1:
        if request[40:] == b'f\0': body = struct.pack('<QQQQII', 2, 0, 0, 0, 0, 0) + attr(2)
        else: error = -2
    elif op in (14, 27): body = struct.pack('<QII', 1, 0, 0)
    elif op == 15: body = TEXT[struct.unpack('<Q', request[48:56])[0]:]
    elif op == 28:
        if struct.unpack('<Q', request[48:56])[0] == 0:
            body = struct.pack('<QQII', 2, 1, 1, 8) + b'f' + b'\0' * 7
    elif op == 17: body = struct.pack('<5Q4I6I', 0, 0, 0, 0, 0, 512, 255, 512, 0, *[0] * 6)
    elif op in (18, 25, 29): pass
    elif op in (2, 42, 36): continue
    else: error = -38
    os.write(fd, struct.pack('<IiQ', 16 + len(body), error, unique) + body)
"#;

fn server(kind: &str, dead: bool) -> Option<String> {
    if !fuse() {
        return None;
    }
    if !std::path::Path::new("/usr/bin/python3").exists() {
        skip("python3", "there is no /usr/bin/python3");
        return None;
    }
    let dead = if dead { "dead" } else { "" };
    Some(format!(
        "/usr/bin/python3 -c '{}' \"$D/m\" {kind} {dead}",
        SERVER.replace('\'', "'\\''")
    ))
}

#[test]
fn fuse_below_an_overlay_is_read_only_with_a_warning() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    for kind in ["fuse", "fuse.other"] {
        let Some(server) = server("fuse", false) else {
            return;
        };
        let script = "cat \"$1/m/f\"; ls \"$1/m\"; ( echo job > \"$1/m/f\" ) 2>/dev/null || echo refused; echo job > \"$1/new\" && echo made; cat /proc/self/mountinfo >&2";
        let job = job(script, &[directory.str().as_bytes()], &json!({}));
        let mounted = among_mounts(&directory, &server, &job);
        let run = mounted.run.exited(0);
        assert_eq!(run.stdout(), "fuse\nf\nrefused\nmade\n", "{kind}: {run}");
        assert_eq!(
            about(run, "warnings", &directory),
            ["overlay-read-only"],
            "{kind}: {run}"
        );
        assert_eq!(
            run.report["warnings"][0]["path"],
            format!("{}/m", directory.str()),
            "{kind}: {run}"
        );
        assert!(
            mount_at(&table(run.stderr()), &format!("{}/m", directory.str())).has("ro"),
            "{kind}: {run}"
        );
    }
}

#[test]
fn fuse_named_as_overlay_is_read_only_and_as_full_access_is_itself() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    for (mode, warnings) in [
        ("overlay", 1),
        ("read-only", 0),
        ("full-access", 0),
        ("hidden", 0),
    ] {
        let Some(server) = server("fuse", false) else {
            return;
        };
        let named = format!("{}/m", directory.str());
        let job = job(
            "cat \"$1/m/f\" 2>/dev/null; true",
            &[directory.str().as_bytes()],
            &json!({"directories": {named: mode}}),
        );
        let mounted = among_mounts(&directory, &server, &job);
        let run = mounted.run.exited(0);
        assert_eq!(
            run.stdout(),
            if mode == "hidden" { "" } else { "fuse\n" },
            "{mode}: {run}"
        );
        assert_eq!(run.warnings().len(), warnings, "{mode}: {run}");
    }
}

/// The server of a FUSE mount has died: every access gives ENOTCONN.
#[test]
fn fuse_whose_server_is_dead_does_not_keep_a_job_from_running() {
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    for fields in [
        json!({}),
        json!({"directories": {"/": "read-only"}}),
        json!({"directories": {directory.str(): "read-only"}}),
        json!({"directories": {directory.str(): "hidden"}}),
    ] {
        let Some(server) = server("fuse", true) else {
            return;
        };
        let job = job(
            "echo ran; cat \"$1/m/f\" 2>/dev/null; cat \"$1/beside\" 2>/dev/null; true",
            &[directory.str().as_bytes()],
            &fields,
        );
        let mounted = among_mounts(&directory, &server, &job);
        assert_eq!(
            mounted.run.exited(0).stdout(),
            "ran\n",
            "{fields}: {}",
            mounted.run
        );
    }
}

#[test]
fn vfat_below_an_overlay_is_read_only_with_a_warning() {
    let kernel = std::fs::read_to_string("/proc/filesystems").unwrap();
    let tool = ["/usr/sbin/mkfs.vfat", "/sbin/mkfs.vfat"]
        .iter()
        .find(|path| std::path::Path::new(path).exists());
    let (true, true, Some(tool)) = (root(), kernel.contains("\tvfat\n"), tool) else {
        return skip(
            "vfat",
            "vfat needs the real root, a kernel that has it and mkfs.vfat (Debian package dosfstools)",
        );
    };
    let directory = Fresh::new();
    std::fs::create_dir(directory.path().join("m")).unwrap();
    let setup = format!(
        "truncate -s 4M \"$D/image\"; {tool} \"$D/image\" >/dev/null; mount -o loop \"$D/image\" \"$D/m\"; echo host > \"$D/m/f\"; sync"
    );
    let script = "cat \"$1/m/f\"; ( echo job > \"$1/m/f\" ) 2>/dev/null || echo refused; echo job > \"$1/new\" && echo made";
    let mounted = among_mounts(
        &directory,
        &setup,
        &job(script, &[directory.str().as_bytes()], &json!({})),
    );
    let run = mounted.unchanged().run.exited(0);
    assert_eq!(run.stdout(), "host\nrefused\nmade\n", "{run}");
    assert!(
        about(run, "warnings", &directory).contains(&"overlay-read-only"),
        "{run}"
    );
}
