//! The network of a container.

use super::{as_fd, check, raw};
use nix::errno::Errno;
use nix::libc::{self, c_int};
use std::ffi::c_char;
use std::mem::MaybeUninit;

/// Leaves this thread's network namespace for a new one, in which there is a loopback device that is down.
///
/// # References
/// unshare(2), network_namespaces(7)
pub(crate) fn new_namespace() -> Result<(), Errno> {
    let flags = u64::from(libc::CLONE_NEWNET.cast_unsigned());
    // SAFETY: no memory is passed.
    unsafe { raw::call(libc::SYS_unshare, [flags, 0, 0, 0]) }.map(drop)
}

/// # References
/// socket(2)
pub(crate) fn internet_socket() -> Result<c_int, Errno> {
    // SAFETY: no memory is passed.
    as_fd(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())
}

/// Brings the loopback device up, through any internet socket.
///
/// # References
/// netdevice(7), SIOCSIFFLAGS
pub(crate) fn loopback_up(socket: c_int) -> Result<(), Errno> {
    const SIOCSIFFLAGS: c_int = 0x8914;
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = byte.cast_signed() as c_char;
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: `request` is an `ifreq` with a terminated name, as this request takes it.
    check(unsafe { libc::ioctl(socket, SIOCSIFFLAGS, &raw const request) }.into()).map(drop)
}
