//! The entries of directories, without anything that the C library allocates for them.

use super::check;
use nix::errno::Errno;
use nix::libc::{self, c_int};
use std::ffi::CStr;

/// The next entries of a directory, as `struct linux_dirent64`; 0 bytes is the end.
///
/// # References
/// getdents64(2)
pub(crate) fn entries(directory: c_int, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes no more than the buffer has.
    let length = check(unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            directory,
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    })?;
    Ok(usize::try_from(length).unwrap_or(0))
}

/// Goes back to the first entry.
///
/// # References
/// lseek(2)
pub(crate) fn rewind(directory: c_int) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    let at = unsafe { libc::lseek(directory, 0, libc::SEEK_SET) };
    if at == 0 { Ok(()) } else { Err(Errno::last()) }
}

/// The names among what [`entries`] has read, with those of the directory itself and of the one above it.
pub(crate) struct Names<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Names<'a> {
    type Item = &'a CStr;

    fn next(&mut self) -> Option<&'a CStr> {
        // `struct linux_dirent64`: 64-bit inode and offset, 16-bit length, type, name.
        let &[low, high] = self.0.get(16..18)? else {
            return None;
        };
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let name = CStr::from_bytes_until_nul(self.0.get(19..length)?).ok()?;
        self.0 = self.0.get(length..)?;
        Some(name)
    }
}
