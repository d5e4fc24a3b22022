//! Pages of this process's own memory: got and given back many at a time.

use nix::errno::Errno;
use nix::libc;
use std::hint;

pub(super) const PAGE: usize = 4096;

/// As much of the stack as a job without overlays uses.
const ORDINARY: usize = 28 << 10;

/// Many times what any job uses, and less than the 128 MiB below its top in which the kernel maps nothing but the stack.
const WHOLE: usize = 1 << 20;

/// Asks for pages to write to. Where the kernel does not know how, before Linux 5.14, they come when they are touched.
///
/// # References
/// madvise(2), MADV_POPULATE_WRITE
pub(super) fn populate(start: *mut u8, bytes: usize) {
    const POPULATE_WRITE: libc::c_int = 23;
    // SAFETY: what lies there does not change.
    let _unknown = unsafe { libc::madvise(start.cast(), bytes, POPULATE_WRITE) };
}

/// Gives pages back, which are zero from then on. Those that are not there need not be. Says whether it could be done; not where
/// pages are larger.
///
/// # Safety
/// No value lies there that is used again.
///
/// # References
/// madvise(2), MADV_DONTNEED
pub(super) unsafe fn discard(start: *mut u8, bytes: usize) -> bool {
    // SAFETY: it looks up a number.
    if unsafe { libc::getauxval(libc::AT_PAGESZ) } != PAGE as u64 {
        return false;
    }
    // SAFETY: the caller's promise.
    let done = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) };
    done == 0 || Errno::last() == Errno::ENOMEM
}

/// The page of the stack that is in use where this is called.
#[inline(always)]
fn stack_page() -> *mut u8 {
    let here = 0u8;
    let page = (&raw const here).map_addr(|here| here / PAGE * PAGE);
    page.cast_mut()
}

/// Asks for the stack of an ordinary job.
pub(super) fn populate_stack() {
    populate(stack_page().wrapping_sub(ORDINARY), ORDINARY);
}

/// Makes the stack zero below the caller's frame. Says whether that could be done.
#[inline(never)]
pub(super) fn clear_stack() -> bool {
    clear_pages();
    // The page below the one that is in use may have the frames of those who are about to ask for this.
    let end = stack_page().wrapping_sub(PAGE);
    // SAFETY: what lies so far down belongs to functions that have returned.
    unsafe { discard(end.wrapping_sub(WHOLE), WHOLE) }
}

/// Makes the rest of the page that is in use zero, and the one below it.
#[inline(never)]
fn clear_pages() {
    let mut rest = [0u8; 2 * PAGE];
    hint::black_box(&mut rest);
}
