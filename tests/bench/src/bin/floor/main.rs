//! The least a sandbox can do: the same container as stdbox and bubblewrap make, without a job, a report or a choice.
//!
//! `floor [--clone|--in-place] [--no-net] PROGRAM [ARGUMENT..]`, where PROGRAM is an absolute path.
//!
//! It exists to be compared with. So it skips everything that takes time and is not part of the job: Rust's own
//! start-up, formatting, the heap, closing of descriptors that exec or the end of the process closes anyway.
//! It is no sandbox to use: it has no system call filter, leaves the caller's descriptors open, keeps its capabilities
//! in pid 1 and does not die with its caller.

#![cfg_attr(not(test), no_std)]
#![no_main]

mod sys;

use core::ffi::{CStr, c_char, c_int};
use libc::{AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE};
use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use sys::{Argv, Fd};

const DEVICES: [(&CStr, &CStr); 6] = [
    (c"/dev/null", c"null"),
    (c"/dev/zero", c"zero"),
    (c"/dev/full", c"full"),
    (c"/dev/random", c"random"),
    (c"/dev/urandom", c"urandom"),
    (c"/dev/tty", c"tty"),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];

#[derive(Clone, Copy)]
enum Root {
    Cloned,
    InPlace,
}

#[expect(
    unsafe_code,
    reason = "the C runtime calls this name; Rust's own entry would be part of what is measured"
)]
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, argv: *const *const c_char, envp: *const *const c_char) -> c_int {
    // SAFETY: the C runtime passes an array that ends in null and lives as long as the process.
    let words = unsafe { Argv::new(argv) };
    // SAFETY: as above.
    let environment = unsafe { Argv::new(envp) };
    run(words.rest(), environment)
}

fn run(mut arguments: Argv, environment: Argv) -> c_int {
    let mut root = Root::Cloned;
    let mut network = true;
    let program = loop {
        match arguments.first() {
            Some(word) if word == c"--clone" => root = Root::Cloned,
            Some(word) if word == c"--in-place" => root = Root::InPlace,
            Some(word) if word == c"--no-net" => network = false,
            Some(word) if word.to_bytes().starts_with(b"/") => break word,
            _ => sys::usage(
                c"floor: usage: floor [--clone|--in-place] [--no-net] /PROGRAM [ARGUMENT..]\n",
            ),
        }
        arguments = arguments.rest();
    };

    // Asked for here because inside, before the maps are written, every id reads as the overflow id.
    let (uid, gid) = sys::ids();

    let pid = sys::clone3(namespaces(network));
    if pid == 0 {
        write_id_maps(uid, gid);
        build_tree(root);
        if network {
            sys::loopback_up();
        }
        let target = sys::clone3(0);
        if target == 0 {
            become_target(program, arguments, environment);
        }
        reap_until(target);
    }
    reap_until(pid)
}

fn namespaces(network: bool) -> c_int {
    let always = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    if network {
        always | libc::CLONE_NEWNET
    } else {
        always
    }
}

fn write_id_maps(uid: u32, gid: u32) {
    // The kernel takes a gid map from a process without privileges only after setgroups is given up.
    sys::write_file(c"/proc/self/setgroups", b"deny");
    sys::write_file(c"/proc/self/uid_map", &id_map(uid));
    sys::write_file(c"/proc/self/gid_map", &id_map(gid));
}

/// Maps one id to itself. The fields keep their leading zeros, so the line needs no buffer of variable length.
fn id_map(id: u32) -> [u8; 23] {
    let mut line = *b"0000000000 0000000000 1";
    for field in line.chunks_mut(11).take(2) {
        let mut left = id;
        for digit in field.iter_mut().rev().skip(1) {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
    }
    line
}

fn build_tree(root: Root) {
    // Before the tree is restricted: a clone keeps the flags of its source, and a device with nodev is of no use.
    let devices = DEVICES.map(|(host, _)| sys::open_tree(host, 0));

    match root {
        Root::Cloned => enter_clone(),
        Root::InPlace => restrict(AT_FDCWD, c"/", AT_RECURSIVE),
    }

    let tmp = sys::new_mount(
        c"tmpfs",
        &[(c"mode", c"1777")],
        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
    );
    sys::move_mount(tmp, AT_FDCWD, c"/tmp");
    let proc = sys::new_mount(
        c"proc",
        &[],
        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
    );
    sys::move_mount(proc, AT_FDCWD, c"/proc");
    build_dev(&devices);
}

fn enter_clone() {
    let tree = sys::open_tree(c"/", AT_RECURSIVE);
    restrict(tree, c"", AT_EMPTY_PATH | AT_RECURSIVE);
    sys::move_mount(tree, AT_FDCWD, c"/");
    sys::fchdir(tree);
    // With "." for both, the old root lands on top of the new one: no directory is needed to put it, and the
    // detach of "." finds it there.
    sys::pivot_root(c".", c".");
    sys::detach(c".");
}

fn restrict(directory: Fd, path: &CStr, flags: c_int) {
    sys::restrict(
        directory,
        path,
        flags,
        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
    );
}

fn build_dev(devices: &[Fd; 6]) {
    let dev = sys::new_mount(
        c"tmpfs",
        &[(c"mode", c"755")],
        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
    );
    sys::make_directory(dev, c"pts");
    sys::make_directory(dev, c"shm");
    sys::set_mode(dev, c"shm", 0o1777);
    for (to, link) in LINKS {
        sys::make_symlink(to, dev, link);
    }
    for (_, name) in DEVICES {
        sys::make_file(dev, name);
    }

    // First the directory, then what goes into it: before Linux 6.15 nothing can be mounted on a detached mount.
    sys::move_mount(dev, AT_FDCWD, c"/dev");
    for (device, (_, name)) in devices.iter().zip(DEVICES) {
        sys::move_mount(*device, dev, name);
    }
    let pts = sys::new_mount(
        c"devpts",
        &[(c"mode", c"620"), (c"ptmxmode", c"666")],
        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
    );
    sys::move_mount(pts, dev, c"pts");
}

fn become_target(program: &CStr, arguments: Argv, environment: Argv) -> ! {
    // Also resolves the working directory again: in place, the caller's may lie below what was mounted since.
    sys::chdir(c"/");
    sys::new_session();
    // The bounding set goes first, because dropping from it needs a capability.
    sys::drop_bounding_set();
    sys::clear_ambient_set();
    sys::drop_capabilities();
    sys::no_new_privileges();
    sys::execute(program, arguments, environment)
}

/// Reaps whatever ends, and ends like `pid` when its turn comes; in pid 1 that takes the rest of the container along.
fn reap_until(pid: c_int) -> ! {
    loop {
        let (ended, status) = sys::wait_any();
        if ended == pid {
            sys::exit(if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                128 + libc::WTERMSIG(status)
            });
        }
    }
}
