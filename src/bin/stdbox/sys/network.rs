//! The network of a container.

use super::raw;
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
    let [family, kind] = [libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC];
    let [family, kind] = [family, kind].map(|number| u64::from(number.cast_unsigned()));
    // SAFETY: no memory is passed.
    let socket = unsafe { raw::call(libc::SYS_socket, [family, kind, 0, 0]) }?;
    Ok(c_int::try_from(socket).unwrap_or(-1))
}

/// Brings the loopback device up, through any internet socket, which is closed then.
///
/// # References
/// netdevice(7), SIOCSIFFLAGS
pub(crate) fn loopback_up(socket: c_int) -> Result<(), Errno> {
    const SIOCSIFFLAGS: u64 = 0x8914;
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = byte.cast_signed() as c_char;
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    let socket = u64::from(socket.cast_unsigned());
    let request = (&raw const request).expose_provenance() as u64;
    // SAFETY: `request` is an `ifreq` with a terminated name, as this request takes it.
    let up = unsafe { raw::call(libc::SYS_ioctl, [socket, SIOCSIFFLAGS, request, 0]) };
    // SAFETY: the socket is nobody else's.
    let _closed = unsafe { raw::call(libc::SYS_close, [socket, 0, 0, 0]) };
    up.map(drop)
}
