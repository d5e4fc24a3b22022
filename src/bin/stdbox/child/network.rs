//! The container's network. Ring 2.

use super::{Done, Image, fail, fault};
use crate::sys::{fd, network, thread};
use nix::errno::Errno;
use stdbox::wire::{Call, Failure, Phase};

/// Makes the network namespace, which takes the kernel as long as all the rest, while a second thread does the rest: in this one
/// the namespace is to be, and from this one the target comes. Nothing else is done meanwhile, so that no more descriptors are
/// open at a time than one after the other.
///
/// Until they meet the other thread is in the caller's network, so it must mount nothing that belongs to one.
pub(super) fn beside<T>(
    image: &Image,
    mut rest: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    // What a thread that did not come to its end would have found.
    let mut found = Err(fault(Phase::Fork, 0, Call::Clone)(Errno::ECHILD));
    let mut rest = || found = rest();
    thread::run_beside(image.stack, &mut rest, || {
        let made = network::new_namespace().map_err(fault(Phase::Network, 0, Call::Unshare));
        // The other one may be waiting for somebody. It ends with the process.
        made.unwrap_or_else(|failure| fail(image, failure));
    });
    let found = found?;
    loopback().map(|()| found)
}

/// Brings the loopback device up.
pub(super) fn loopback() -> Done {
    let socket = network::internet_socket().map_err(fault(Phase::Loopback, 0, Call::Socket))?;
    network::loopback_up(socket).map_err(fault(Phase::Loopback, 0, Call::Ioctl))?;
    fd::close(socket);
    Ok(())
}
