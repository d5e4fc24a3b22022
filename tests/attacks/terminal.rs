//! Terminal injection: what is written into the input queue of the caller's terminal is run by the caller's shell.

use crate::common::{probe_job, with};
use crate::support::{Fresh, probe, root, run, skip, stdbox};
use nix::libc::{self, c_int, c_ulong};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Writes a byte into the input queue: ioctl_tty(2).
const TIOCSTI: u64 = 0x5412;
/// Pastes the selection of a virtual console into its input queue: ioctl_console(2).
const TIOCLINUX: u64 = 0x541c;

/// A pseudo-terminal without line editing, so that a typed byte is there at once.
struct Terminal {
    /// Keeps the terminal alive.
    _master: OwnedFd,
    slave: OwnedFd,
}

impl Terminal {
    fn new() -> Self {
        let (mut master, mut slave) = (-1, -1);
        // SAFETY: both places have room for a descriptor; name, settings and size are left out.
        let result = unsafe {
            libc::openpty(
                &raw mut master,
                &raw mut slave,
                std::ptr::null_mut(),
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        assert_eq!(result, 0, "a pseudo-terminal");
        for fd in [master, slave] {
            // Other tests start processes meanwhile, which must not inherit it.
            // SAFETY: F_SETFD takes a number.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        // SAFETY: all-zero bytes are a valid `termios`, which is filled in, changed and given back.
        unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            libc::tcgetattr(slave, &raw mut settings);
            libc::cfmakeraw(&raw mut settings);
            libc::tcsetattr(slave, libc::TCSANOW, &raw const settings);
        }
        // SAFETY: both are open and nobody else's.
        let [master, slave] = [master, slave].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Self {
            _master: master,
            slave,
        }
    }

    fn number(&self, request: c_ulong) -> c_int {
        let mut answer = -1;
        // SAFETY: the requests used here write one number.
        unsafe {
            libc::ioctl(
                self.slave.as_raw_fd(),
                request
                    .try_into()
                    .expect("the C library's type of a request"),
                &raw mut answer,
            )
        };
        answer
    }

    /// Bytes in the input queue.
    fn typed(&self) -> c_int {
        self.number(0x541b /* FIONREAD */)
    }

    fn line_discipline(&self) -> c_int {
        self.number(0x5424 /* TIOCGETD */)
    }

    fn name(&self) -> String {
        let link = format!("/proc/self/fd/{}", self.slave.as_raw_fd());
        fs::read_link(link).unwrap().display().to_string()
    }
}

/// Runs a job whose streams are a terminal, which is also descriptor 7; the report.
fn at(terminal: &OwnedFd, controlling: bool, job: &Value) -> Value {
    let scene = Fresh::new();
    let job = with(
        job.clone(),
        &json!({"stdin": "inherit", "stderr": "inherit", "fds": [7]}),
    );
    let spec = scene.file("job.json", &job.to_string());
    let report = scene.path().join("report.json");
    let mut command = Command::new(stdbox());
    command
        .arg("--spec")
        .arg(&spec)
        .arg("--report")
        .arg(&report);
    command
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal.try_clone().unwrap());
    // SAFETY: three system calls.
    unsafe {
        command.pre_exec(move || {
            if libc::setsid() == -1
                || libc::dup2(0, 7) == -1
                || (controlling && libc::ioctl(0, libc::TIOCSCTTY, 0) == -1)
            {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        })
    };
    assert!(command.status().unwrap().success());
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["exit_code"], 0, "{report}");
    report
}

/// Runs probe commands, one a line, at the caller's controlling terminal or at one that is nobody's; the answers.
#[track_caller]
fn probes(terminal: &Terminal, controlling: bool, lines: &[String], fields: &Value) -> Vec<Value> {
    let script = lines
        .iter()
        .map(|line| line.replace("PROBE", probe().to_str().unwrap()) + "\n")
        .collect::<String>();
    let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"});
    let report = at(&terminal.slave, controlling, &with(job, fields));
    let answers: Vec<Value> = report["stdout"]["text"]
        .as_str()
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), lines.len(), "{report}");
    answers
}

/// Every line must be refused with this error, and nothing typed.
#[track_caller]
fn refused(controlling: bool, lines: &[String], errno: &str) {
    let terminal = Terminal::new();
    for (line, answer) in lines
        .iter()
        .zip(probes(&terminal, controlling, lines, &json!({})))
    {
        assert_eq!(answer["errno"], errno, "{line}");
    }
    assert_eq!(terminal.typed(), 0, "bytes were typed");
}

fn ioctl(fd: i32, request: u64) -> String {
    format!("PROBE ioctl {fd} {request:#x}")
}

/// The target types into the terminal that it was started from, so that the caller's shell runs it afterwards.
///
/// Shows that a terminal as any stream or kept descriptor, or opened again, takes no input from the target: CVE-2017-5226
/// (bubblewrap), ioctl_tty(2).
#[test]
fn terminal_injection_by_tiocsti_types_nothing() {
    let mut lines: Vec<String> = [0, 2, 7].map(|fd| ioctl(fd, TIOCSTI)).into();
    lines.push("PROBE ioctl 5 0x5412 5<>/proc/self/fd/0".into());
    lines.push("PROBE ioctl 5 0x5412 5<>/dev/stdin".into());
    lines.push("PROBE ioctl 5 0x5412 5</proc/self/fd/7".into());
    for controlling in [true, false] {
        refused(controlling, &lines, "EPERM");
    }
    // What programs ask of a terminal works: TCGETS.
    let usual = probes(&Terminal::new(), true, &[ioctl(0, 0x5401)], &json!({}));
    assert_eq!(usual[0]["result"], 0);
}

/// The target pastes the selection of a console instead.
///
/// Shows that TIOCLINUX is refused whatever the terminal is: CVE-2023-1523 (snapd), ioctl_console(2).
#[test]
fn terminal_injection_by_tioclinux_is_refused() {
    let lines = [0, 2, 7].map(|fd| ioctl(fd, TIOCLINUX));
    refused(true, &lines, "EPERM");
}

/// The kernel reads 32 bits of a request; a filter that compares 64 lets the rest hide it.
///
/// Shows that the bits above make no difference: CVE-2019-7303 (snapd), CVE-2019-10063 (Flatpak).
#[test]
fn terminal_injection_is_not_hidden_by_high_bits_of_the_request() {
    let lines: Vec<String> = [1 << 32, 0xdead_beef << 32, 0xffff_ffff << 32, 1 << 63]
        .iter()
        .flat_map(|high| [TIOCSTI, TIOCLINUX].map(|request| ioctl(0, high | request)))
        .collect();
    for controlling in [true, false] {
        refused(controlling, &lines, "EPERM");
    }
}

/// The same by the numbers of another ABI, which a filter for the native one does not know.
///
/// Shows that the 32-bit entry has its own rules and that x32 calls are absent: seccomp(2), "CAVEATS".
#[test]
#[cfg(target_arch = "x86_64")]
fn terminal_injection_by_another_abi_is_refused() {
    let compat =
        [TIOCSTI, TIOCLINUX].map(|request| format!("PROBE syscall i386 54 7 {request} buf"));
    let seen = probes(
        &Terminal::new(),
        true,
        &["PROBE syscall i386 20".into()],
        &json!({"seccomp": "off"}),
    );
    if seen[0]["errno"] == "ENOSYS" {
        skip("i386", "the kernel has no 32-bit calls");
    } else {
        for controlling in [true, false] {
            refused(controlling, &compat, "EPERM");
        }
    }
    // ioctl is 514 there, and 16 by the number that it has elsewhere.
    let lines = [16, 514].map(|number| format!("PROBE syscall x32 {number} 7 {TIOCSTI} buf"));
    refused(true, &lines, "ENOSYS");
}

/// A namespace of one's own gives every capability over itself; TIOCSTI asks for one, too.
///
/// Shows that the filter stays and that those capabilities do not count for a terminal of the host: user_namespaces(7).
#[test]
fn terminal_injection_from_a_nested_namespace_is_refused() {
    let lines: Vec<String> = [TIOCSTI, TIOCLINUX]
        .iter()
        .flat_map(|request| {
            ["unshare -Ur", "unshare -Urmpf", "setsid -w"]
                .map(|own| format!("{own} PROBE ioctl 7 {request:#x}"))
        })
        .collect();
    for controlling in [true, false] {
        refused(controlling, &lines, "EPERM");
    }
}

/// Without any filter: the kernel lets a process type into its own controlling terminal, or one with CAP_SYS_ADMIN of the
/// host into any.
///
/// Shows that the caller's terminal is not the target's, cannot be opened by name and cannot be taken over, also from a
/// session of one's own or a nested namespace: setsid(2), ioctl_tty(2).
#[test]
fn terminal_of_the_caller_is_not_the_targets_even_without_the_filter() {
    let take = 0x540e; // TIOCSCTTY
    let lines: Vec<String> = [
        "",
        "setsid -w ",
        "unshare -U --keep-caps ",
        "unshare -Upf --keep-caps setsid -w ",
    ]
    .iter()
    .flat_map(|own| {
        [
            ioctl(0, TIOCSTI),
            ioctl(7, TIOCLINUX),
            ioctl(0, take),
            "PROBE open /dev/tty rdwr".into(),
            "PROBE ioctl 5 0x5412 5<>/proc/self/fd/0".into(),
        ]
        .map(|line| {
            let (command, open) = line.split_once(" 5<").unwrap_or((&line, ""));
            let open = if open.is_empty() {
                open.into()
            } else {
                format!(" 5<{open}")
            };
            format!("{own}{command}{open}")
        })
    })
    .collect();
    for fields in [
        json!({"seccomp": "off"}),
        json!({"seccomp": "off", "init": false}),
        json!({"seccomp": "off", "user": {"uid": 0, "gid": 0}}),
        json!({"seccomp": "off", "dev": "host"}),
    ] {
        let terminal = Terminal::new();
        for (line, answer) in lines.iter().zip(probes(&terminal, true, &lines, &fields)) {
            assert_eq!(answer["result"], -1, "{fields}: {line}: {answer}");
        }
        assert_eq!(terminal.typed(), 0, "{fields}: bytes were typed");
    }
}

/// The target itself, not a child of it: it is the leader of its session, and a leader gets a controlling terminal by
/// opening one.
///
/// Shows that it has none and /dev/tty leads nowhere: setsid(2), tty(4).
#[test]
fn terminal_of_the_caller_is_not_the_targets_controlling_terminal() {
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"dev": "host"}),
        json!({"directories": {"/": "full-access", "/dev": "full-access"}}),
    ] {
        let terminal = Terminal::new();
        let report = at(&terminal.slave, true, &probe_job(&["status"], &fields));
        let status: Value =
            serde_json::from_str(report["stdout"]["text"].as_str().unwrap()).unwrap();
        assert_eq!(
            status["sid"], status["pid"],
            "{fields}: a session of its own"
        );
        assert_eq!(
            (&status["tty_nr"], &status["tty"]["errno"]),
            (&json!("0"), &json!("ENXIO")),
            "{fields}"
        );
        assert_eq!(status["fds"]["0"], json!(terminal.name()), "{fields}");
    }
}

/// Who gets power over init, by a fault of it or of the kernel, opens the terminal that is init's: /dev/tty needs no descriptor.
///
/// Shows that init has none: its session and the number of its terminal, proc_pid_stat(5).
#[test]
fn terminal_of_the_caller_is_not_inits_controlling_terminal() {
    for dev in ["minimal", "host"] {
        let terminal = Terminal::new();
        let script = "read -r stat < /proc/1/stat; set -- ${stat##*)}; echo $4 $5";
        let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/", "dev": dev});
        let report = at(&terminal.slave, true, &job);
        let seen = report["stdout"]["text"].as_str().unwrap();
        assert_eq!(seen, "1 0\n", "{dev}");
    }
}

/// A terminal that is no session's can be taken by a leader without one: then it is the target's own controlling terminal,
/// and the kernel would let it type. Whoever reads it later runs that.
///
/// Shows that the filter is what stands there: ioctl_tty(2), "TIOCSCTTY", "TIOCSTI".
#[test]
fn terminal_that_the_target_takes_over_still_takes_no_input_from_it() {
    let source = "\
#include <sys/ioctl.h>
#include <errno.h>
int main(void) {
    if (ioctl(0, TIOCSCTTY, 0)) return 3;
    if (!ioctl(0, TIOCSTI, \"x\")) return 4;
    return errno == 1 ? 0 : 5;
}";
    let terminal = Terminal::new();
    let script = "printf '%s' \"$S\" | gcc -x c -o /tmp/take - 2>/tmp/errors && exec /tmp/take";
    let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/", "env": {"set": {"S": source}}});
    at(&terminal.slave, false, &job);
    assert_eq!(terminal.typed(), 0, "bytes were typed");
}

/// A line discipline stands between a terminal and its readers: with N_NULL nobody reads from it any more, the caller's shell
/// included; others are drivers that the kernel loads on request.
///
/// Shows that the target cannot change it: ioctl_tty(2), "TIOCSETD"; CVE-2017-2636 (n_hdlc), CVE-2023-6546 (n_gsm).
#[test]
fn terminal_keeps_its_line_discipline() {
    let mut lines: Vec<String> = [0, 2, 7]
        .iter()
        .flat_map(|fd| {
            // N_NULL, N_HDLC, N_GSM0710
            [27, 13, 21].iter().map(move |number| {
                format!(
                    "PROBE syscall native {} {fd} 0x5423 i:{number}",
                    libc::SYS_ioctl
                )
            })
        })
        .collect();
    if cfg!(target_arch = "x86_64") {
        lines.push("PROBE syscall native 16 0 0x100005423 i:27".into());
        lines.push("unshare -Ur PROBE syscall native 16 0 0x5423 i:27".into());
    }
    for controlling in [true, false] {
        let terminal = Terminal::new();
        for (line, answer) in lines
            .iter()
            .zip(probes(&terminal, controlling, &lines, &json!({})))
        {
            assert_eq!(answer["errno"], "EPERM", "{line}");
        }
        assert_eq!(terminal.line_discipline(), 0, "N_TTY");
    }
}

/// A terminal in exclusive mode can be opened by nobody but the real root any more, under none of its names, until somebody who still
/// has it open ends that: programs of the caller's that ask at /dev/tty fail.
///
/// Shows that the target cannot set it: ioctl_tty(2), "TIOCEXCL".
#[test]
fn terminal_can_still_be_opened_after_the_job() {
    let mut lines: Vec<String> = [0, 2, 7]
        .iter()
        .map(|fd| format!("PROBE syscall native {} {fd} 0x540c 0", libc::SYS_ioctl))
        .collect();
    if cfg!(target_arch = "x86_64") {
        lines.push("PROBE syscall native 16 0 0x10000540c 0".into());
        lines.push("PROBE syscall i386 54 0 0x540c 0".into());
        lines.push("unshare -Ur PROBE syscall native 16 0 0x540c 0".into());
    }
    let is_exclusive = |terminal: &Terminal| {
        let (mut answer, request) = (-1, 0x8004_5440u32.cast_signed() /* TIOCGEXCL */);
        // SAFETY: this request writes one number.
        unsafe { libc::ioctl(terminal.slave.as_raw_fd(), request as _, &raw mut answer) };
        answer != 0
    };
    for controlling in [true, false] {
        for fields in [json!({}), json!({"seccomp": "strict"})] {
            let terminal = Terminal::new();
            let strict = fields["seccomp"] == "strict";
            // A strict job has neither the 32-bit ABI nor namespaces.
            let lines = if strict { &lines[..3] } else { &lines };
            for (line, answer) in lines
                .iter()
                .zip(probes(&terminal, controlling, lines, &fields))
            {
                assert_eq!(answer["errno"], "EPERM", "{line}");
            }
            assert!(!is_exclusive(&terminal));
        }
    }
}

/// A virtual console is a terminal with more ways to get at its input: the paste of TIOCLINUX, and strings and meanings of
/// its keys, which the caller then types himself.
///
/// Shows that none of them works, nor the switch to another console, even without the filter: CVE-2023-1523 (snapd),
/// ioctl_console(2).
#[test]
fn terminal_that_is_a_console_takes_no_input_and_keeps_its_keys() {
    if !root() {
        return skip("root", "only root can open a virtual console");
    }
    // When the session that it controls ends, a descriptor of it is of no use any more.
    let open = || {
        let console = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty60");
        console.map(OwnedFd::from)
    };
    if open().is_err() {
        return skip("console", "there is no /dev/tty60");
    }
    // Paste, KDSKBSENT, KDSKBENT, KDSKBMODE, KDSETMODE, VT_ACTIVATE, TIOCCONS
    let requests = [TIOCLINUX, 0x4b49, 0x4b47, 0x4b45, 0x4b3a, 0x5606, 0x541d];
    let lines: Vec<String> = requests
        .iter()
        .flat_map(|request| {
            ["", "unshare -Ur "].map(|own| {
                // The first byte is the subcode TIOCL_PASTESEL.
                let number = libc::SYS_ioctl;
                format!("{own}PROBE syscall native {number} 7 {request:#x} i:3")
            })
        })
        .collect();
    for fields in [json!({}), json!({"seccomp": "off"})] {
        let script: String = lines
            .iter()
            .map(|line| line.replace("PROBE", probe().to_str().unwrap()) + "\n")
            .collect();
        let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"});
        let report = at(&open().unwrap(), true, &with(job, &fields));
        let answers: Vec<Value> = report["stdout"]["text"]
            .as_str()
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(answers.len(), lines.len(), "{report}");
        for (line, answer) in lines.iter().zip(&answers) {
            assert_eq!(answer["errno"], "EPERM", "{fields}: {line}");
        }
    }
}

/// Terminals of the same user's other sessions, by name: what is written there appears on another screen, as escape
/// sequences that some terminals answer by typing.
///
/// Shows that names below /dev/pts are those of the container's own terminals in every form of /dev, and that mounting
/// devpts again gives no others: pts(4), Documentation/filesystems/devpts.rst.
#[test]
fn terminals_of_the_host_cannot_be_opened_by_name() {
    let terminal = Terminal::new();
    let name = terminal.name();
    let script = format!(
        "look() {{ [ -e {name} ] && echo there; ( : <> {name} ) 2>/dev/null && echo opened; true; }}
        look
        unshare -Urm sh -c 'mount -t devpts none /dev/pts; [ -e {name} ] && echo there; mount -t devpts -o newinstance none /tmp; [ -e /tmp/{} ] && echo there; umount -l /dev/pts; umount -l /dev; [ -e {name} ] && echo there; ( : <> {name} ) && echo opened' 2>/dev/null
        echo end",
        name.rsplit('/').next().unwrap()
    );
    for fields in [
        json!({}),
        json!({"dev": "host"}),
        json!({"directories": {"/": "read-only"}}),
        json!({"directories": {"/": "full-access"}}),
        json!({"directories": {"/": "full-access", "/dev": "full-access"}}),
        json!({"directories": {"/dev": "overlay"}}),
    ] {
        let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"});
        let seen = run(&with(job, &fields));
        assert_eq!(seen.exited(0).stdout(), "end\n", "{fields}: {seen}");
    }
}
