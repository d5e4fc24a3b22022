//! One function per system call; each ends the program with the call's name when it fails.

#![allow(
    unsafe_code,
    reason = "the only file of this program that talks to the kernel"
)]

use core::ffi::{CStr, c_char, c_int, c_long, c_short, c_uint};
use core::mem::size_of;
use core::ptr::null;

/// A descriptor. Hardly one is closed: exec does in the target, and pid 1 is gone a moment after the target.
pub(crate) type Fd = c_int;

const FAILURE: c_int = 125;
const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// An array of C strings that ends in null and lives as long as the process.
#[derive(Clone, Copy)]
pub(crate) struct Argv(*const *const c_char);

impl Argv {
    /// # Safety
    /// `strings` ends in null, and it and its strings live and stay unchanged until the process ends.
    pub(crate) unsafe fn new(strings: *const *const c_char) -> Argv {
        Argv(strings)
    }

    pub(crate) fn first(self) -> Option<&'static CStr> {
        // SAFETY: the array has at least its null left: `rest` never steps over that.
        let string = unsafe { self.0.read() };
        if string.is_null() {
            return None;
        }
        // SAFETY: not the null at the end, so a C string, which lives as long as the process by the contract of `new`.
        Some(unsafe { CStr::from_ptr(string) })
    }

    pub(crate) fn rest(self) -> Argv {
        match self.first() {
            // SAFETY: the element here is not the null at the end, so another one follows.
            Some(_) => Argv(unsafe { self.0.add(1) }),
            None => self,
        }
    }
}

// The toolchain brings a static musl, but only the standard library asks for it by itself.
#[link(name = "c", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

/// The compiler asks for this; nothing here panics.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(FAILURE)
}

fn say(text: &CStr) {
    let bytes = text.to_bytes();
    // SAFETY: pointer and length are those of one live slice.
    unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
}

pub(crate) fn exit(status: c_int) -> ! {
    // SAFETY: ends the process at once; no state of this program needs a destructor.
    unsafe { libc::_exit(status) }
}

pub(crate) fn usage(text: &CStr) -> ! {
    say(text);
    exit(FAILURE)
}

fn errno() -> c_int {
    // SAFETY: takes nothing and only computes an address.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: that is this thread's errno, which lives as long as the thread.
    unsafe { place.read() }
}

fn die(call: &CStr, object: &CStr) -> ! {
    // SAFETY: musl returns a pointer to a constant string for every number, known or not.
    let reason = unsafe { libc::strerror(errno()) };
    // SAFETY: that string ends in NUL and is never written.
    let reason = unsafe { CStr::from_ptr(reason) };
    let space = if object.is_empty() { c"" } else { c" " };
    for part in [c"floor: ", call, space, object, c": ", reason, c"\n"] {
        say(part);
    }
    exit(FAILURE)
}

fn check(result: impl TryInto<c_int>, call: &CStr, object: &CStr) -> c_int {
    match result.try_into() {
        Ok(value) if value >= 0 => value,
        _ => die(call, object),
    }
}

pub(crate) fn ids() -> (u32, u32) {
    // SAFETY: takes no pointers and cannot fail.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: as above.
    let gid = unsafe { libc::getegid() };
    (uid, gid)
}

/// Returns twice, like fork. The raw call, because libc's fork runs handlers and takes locks that nothing here needs.
pub(crate) fn clone3(namespaces: c_int) -> c_int {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut arguments: libc::clone_args = unsafe { core::mem::zeroed() };
    arguments.flags = u64::from(namespaces.cast_unsigned());
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: the structure is live and its size is given. Without CLONE_VM the child has its own copy of memory, and
    // this process has no other thread that could have held a lock.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    check(pid, c"clone3", c"")
}

pub(crate) fn wait_any() -> (c_int, c_int) {
    let mut status = 0;
    // SAFETY: `status` is live and writable.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
    (check(pid, c"wait4", c""), status)
}

pub(crate) fn write_file(path: &CStr, content: &[u8]) {
    // SAFETY: the path is a C string.
    let file = check(
        unsafe { libc::open(path.as_ptr(), libc::O_WRONLY) },
        c"open",
        path,
    );
    // SAFETY: pointer and length are those of one live slice.
    let written = unsafe { libc::write(file, content.as_ptr().cast(), content.len()) };
    check(written, c"write", path);
    // These alone must not stay open: a mount with a file open for writing cannot be made read-only in place (EBUSY).
    // SAFETY: the descriptor was opened above and is not used again.
    check(unsafe { libc::close(file) }, c"close", path);
}

pub(crate) fn open_tree(path: &CStr, flags: c_int) -> Fd {
    let flags = flags.cast_unsigned() | libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a C string; the other arguments are integers.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    check(tree, c"open_tree", path)
}

pub(crate) fn restrict(directory: Fd, path: &CStr, flags: c_int, attributes: u64) {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut change: libc::mount_attr = unsafe { core::mem::zeroed() };
    change.attr_set = attributes;
    change.propagation = libc::MS_PRIVATE;
    // SAFETY: path and structure are live and the structure's size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory,
            path.as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result, c"mount_setattr", path);
}

/// Makes a file system of its own and a detached mount of it.
pub(crate) fn new_mount(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Fd {
    // SAFETY: the name is a C string.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) };
    let context = check(context, c"fsopen", kind);
    for (key, value) in options {
        configure(
            context,
            libc::FSCONFIG_SET_STRING,
            key.as_ptr(),
            value.as_ptr(),
            key,
        );
    }
    configure(context, libc::FSCONFIG_CMD_CREATE, null(), null(), kind);
    // SAFETY: takes only integers.
    let mount = unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context,
            libc::FSMOUNT_CLOEXEC,
            attributes,
        )
    };
    check(mount, c"fsmount", kind)
}

fn configure(
    context: Fd,
    command: c_uint,
    key: *const c_char,
    value: *const c_char,
    object: &CStr,
) {
    const AUX: c_int = 0;
    // SAFETY: both callers pass C strings, or the null pointers that FSCONFIG_CMD_CREATE asks for.
    let result = unsafe { libc::syscall(libc::SYS_fsconfig, context, command, key, value, AUX) };
    check(result, c"fsconfig", object);
}

pub(crate) fn move_mount(mount: Fd, directory: Fd, path: &CStr) {
    // SAFETY: both paths are C strings.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount,
            c"".as_ptr(),
            directory,
            path.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    check(result, c"move_mount", path);
}

pub(crate) fn pivot_root(new: &CStr, old: &CStr) {
    // SAFETY: both paths are C strings.
    let result = unsafe { libc::syscall(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) };
    check(result, c"pivot_root", new);
}

pub(crate) fn detach(path: &CStr) {
    // SAFETY: the path is a C string.
    check(
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) },
        c"umount2",
        path,
    );
}

pub(crate) fn fchdir(directory: Fd) {
    // SAFETY: takes only an integer.
    check(unsafe { libc::fchdir(directory) }, c"fchdir", c"");
}

pub(crate) fn chdir(path: &CStr) {
    // SAFETY: the path is a C string.
    check(unsafe { libc::chdir(path.as_ptr()) }, c"chdir", path);
}

pub(crate) fn make_directory(directory: Fd, name: &CStr) {
    // SAFETY: the name is a C string.
    check(
        unsafe { libc::mkdirat(directory, name.as_ptr(), 0o755) },
        c"mkdirat",
        name,
    );
}

pub(crate) fn set_mode(directory: Fd, name: &CStr, mode: libc::mode_t) {
    // SAFETY: the name is a C string.
    check(
        unsafe { libc::fchmodat(directory, name.as_ptr(), mode, 0) },
        c"fchmodat",
        name,
    );
}

pub(crate) fn make_symlink(to: &CStr, directory: Fd, name: &CStr) {
    // SAFETY: target and name are C strings.
    check(
        unsafe { libc::symlinkat(to.as_ptr(), directory, name.as_ptr()) },
        c"symlinkat",
        name,
    );
}

pub(crate) fn make_file(directory: Fd, name: &CStr) {
    // SAFETY: the name is a C string.
    let result = unsafe { libc::mknodat(directory, name.as_ptr(), libc::S_IFREG | 0o666, 0) };
    check(result, c"mknodat", name);
}

pub(crate) fn loopback_up() {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the flag is the lowest bit"
    )]
    const UP: c_short = libc::IFF_UP as c_short;
    // SAFETY: takes only integers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    let socket = check(socket, c"socket", c"");
    // SAFETY: all fields are integers or unions and arrays of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = c_char::from_ne_bytes([*from]);
    }
    // The kernel keeps the flags that describe the device, so they need not be read first.
    request.ifr_ifru.ifru_flags = UP;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, and this one is live and filled in.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            socket,
            libc::SIOCSIFFLAGS,
            &raw const request,
        )
    };
    check(result, c"ioctl", c"SIOCSIFFLAGS lo");
}

pub(crate) fn new_session() {
    // SAFETY: takes nothing.
    check(unsafe { libc::setsid() }, c"setsid", c"");
}

pub(crate) fn drop_bounding_set() {
    let mut capability: c_long = 0;
    // SAFETY: takes only integers.
    while unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability) } == 0 {
        capability += 1;
    }
    // EINVAL is how the kernel says that the last one has been dropped.
    if errno() != libc::EINVAL {
        die(c"prctl", c"PR_CAPBSET_DROP");
    }
}

pub(crate) fn clear_ambient_set() {
    const NONE: c_long = 0;
    const CLEAR_ALL: c_long = libc::PR_CAP_AMBIENT_CLEAR_ALL as c_long;
    // SAFETY: takes only integers.
    let result = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, CLEAR_ALL, NONE, NONE, NONE) };
    check(result, c"prctl", c"PR_CAP_AMBIENT");
}

pub(crate) fn drop_capabilities() {
    let header: [u32; 2] = [LINUX_CAPABILITY_VERSION_3, 0];
    let none: [u32; 6] = [0; 6];
    // SAFETY: version 3 reads a header of a version and a pid, then two sets of three words; both arrays are that long.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    check(result, c"capset", c"");
}

pub(crate) fn no_new_privileges() {
    const YES: c_long = 1;
    const NONE: c_long = 0;
    // SAFETY: takes only integers.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, YES, NONE, NONE, NONE) };
    check(result, c"prctl", c"PR_SET_NO_NEW_PRIVS");
}

pub(crate) fn execute(program: &CStr, arguments: Argv, environment: Argv) -> ! {
    // SAFETY: the path is a C string, and both arrays end in null by the contract of `Argv::new`.
    unsafe { libc::execve(program.as_ptr(), arguments.0, environment.0) };
    die(c"execve", program)
}
