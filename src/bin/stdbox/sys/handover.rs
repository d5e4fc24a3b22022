//! Descriptors that go from the container to the supervisor, through a pair of sockets.

use super::check;
use nix::errno::Errno;
use nix::libc::{self, c_int};
use std::mem::{MaybeUninit, size_of};
use std::ptr;

/// At most so many descriptors in one message; the kernel takes 253.
pub(crate) const MOST: usize = 16;

/// Room for a header and the descriptors, aligned as a header must be.
const ROOM: u16 = 16;

const _: () = assert!(ROOM as usize * 8 >= size_of::<libc::cmsghdr>() + MOST * size_of::<c_int>());

/// Two sockets, each of which gets what is sent to the other, message by message, close-on-exec.
///
/// # References
/// socketpair(2), SOCK_SEQPACKET
pub(crate) fn pair() -> Result<(c_int, c_int), Errno> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: there is room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) }.into())?;
    let [one, other] = ends;
    Ok((one, other))
}

/// Sends a byte for each place, and the descriptors of those that have one.
///
/// # References
/// unix(7), SCM_RIGHTS
pub(crate) fn send(socket: c_int, places: &[c_int]) -> Result<(), Errno> {
    for places in places.chunks(MOST) {
        let mut present = [0u8; MOST];
        let mut passed = [0 as c_int; MOST];
        let mut count = 0;
        for (mark, &fd) in present.iter_mut().zip(places).filter(|(_, fd)| **fd >= 0) {
            *mark = 1;
            if let Some(place) = passed.get_mut(count) {
                *place = fd;
                count += 1;
            }
        }
        let mut part = libc::iovec {
            iov_base: present.as_mut_ptr().cast(),
            iov_len: places.len(),
        };
        let mut control = [0u64; ROOM as usize];
        let mut message = empty(&mut part);
        let bytes = u32::try_from(count * size_of::<c_int>()).unwrap_or(0);
        if count > 0 {
            message.msg_control = control.as_mut_ptr().cast();
            // SAFETY: it computes with a number.
            message.msg_controllen = unsafe { libc::CMSG_SPACE(bytes) } as _;
            // SAFETY: `control` is large enough for a header, as asserted above, so there is one.
            let first = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
            // SAFETY: it points into `control`, which is aligned for a header, and nothing else refers to it.
            let header = unsafe { &mut *first };
            header.cmsg_level = libc::SOL_SOCKET;
            header.cmsg_type = libc::SCM_RIGHTS;
            // SAFETY: it computes with a number.
            header.cmsg_len = unsafe { libc::CMSG_LEN(bytes) } as _;
            // SAFETY: the data lies right behind the header, inside `control`.
            let data = unsafe { libc::CMSG_DATA(header) };
            // SAFETY: both places have `count` descriptors' room, and do not overlap; bytes need no alignment.
            unsafe { ptr::copy_nonoverlapping(passed.as_ptr().cast::<u8>(), data, bytes as usize) };
        }
        // SAFETY: `message` points to `part`, `present` and `control`, which outlive the call.
        let sent = unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) };
        check(sent as _)?;
    }
    Ok(())
}

/// Lets a socket tell who sent what it gets.
///
/// # References
/// unix(7), SO_PASSCRED
pub(crate) fn tell_senders(socket: c_int) -> Result<(), Errno> {
    let on: c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or(0);
    // SAFETY: the option is a number of the size that is passed.
    let set = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_PASSCRED,
            (&raw const on).cast(),
            size,
        )
    };
    check(set.into()).map(drop)
}

/// Takes a message, and says which process sent it, by its number in the reader's own pid namespace.
///
/// # References
/// unix(7), SCM_CREDENTIALS
pub(crate) fn sender(socket: c_int) -> Result<c_int, Errno> {
    let mut control = [0u64; ROOM as usize];
    let (_, attached) = take(socket, &mut [0], &mut control)?;
    match attached {
        Some((header, data)) if header.cmsg_type == libc::SCM_CREDENTIALS => {
            // SAFETY: for this type the kernel wrote a `ucred` there, inside `control`; it may be read at any alignment.
            let who: libc::ucred = unsafe { ptr::read_unaligned(data.cast()) };
            Ok(who.pid)
        }
        _ => Err(Errno::ENODATA),
    }
}

/// Takes so many places out of a socket in which they must lie already; a place is -1 where the other side had nothing.
///
/// # References
/// unix(7), SCM_RIGHTS
pub(crate) fn receive(socket: c_int, wanted: usize) -> Result<Vec<c_int>, Errno> {
    let mut places = Vec::with_capacity(wanted);
    while places.len() < wanted {
        let mut present = [0u8; MOST];
        let mut control = [0u64; ROOM as usize];
        let (count, attached) = take(socket, &mut present, &mut control)?;
        let mut passed = [-1 as c_int; MOST];
        if let Some((header, data)) = attached {
            let bytes = (header.cmsg_len as usize)
                .saturating_sub(size_of::<libc::cmsghdr>())
                .min(size_of_val(&passed));
            // SAFETY: the kernel wrote that many bytes of descriptors there, and `passed` has room for them.
            unsafe { ptr::copy_nonoverlapping(data, passed.as_mut_ptr().cast::<u8>(), bytes) };
        }
        let mut passed = passed.into_iter();
        for mark in present.iter().take(count) {
            places.push(if *mark == 1 {
                passed.next().unwrap_or(-1)
            } else {
                -1
            });
        }
    }
    Ok(places)
}

/// What is attached to a message: the header, and where its data is.
type Attached = Option<(libc::cmsghdr, *const u8)>;

/// Takes a message that must lie there already: how many bytes it has, and what is attached to it, in `control`.
fn take(
    socket: c_int,
    bytes: &mut [u8],
    control: &mut [u64; ROOM as usize],
) -> Result<(usize, Attached), Errno> {
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut message = empty(&mut part);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = u32::from(ROOM) * 8;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: `message` points to `part`, `bytes` and `control`, which have the room that is announced.
    let got = check(unsafe { libc::recvmsg(socket, &raw mut message, flags) } as _)?;
    let count = usize::try_from(got).unwrap_or(0);
    if count == 0 {
        return Err(Errno::ENODATA);
    }
    // SAFETY: the kernel has set the length of what it wrote into `control`.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if header.is_null() {
        return Ok((count, None));
    }
    // SAFETY: the data lies right behind the header, inside `control`.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: it points to a header inside `control`, which is aligned for it; all of its bits are numbers.
    Ok((count, Some((unsafe { ptr::read(header) }, data))))
}

fn empty(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all-zero bytes are a valid `msghdr`: no name, no parts, no control data.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}
