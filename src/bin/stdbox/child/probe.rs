//! Whether overlays can be stacked on directories, found by trying. Ring 2.

use super::steps;
use crate::sys::{fd, mount, process};
use nix::libc;
use std::ffi::CStr;
use stdbox::plan::At;

/// Tries an overlay for each triple of lower, upper and work directory, the last two of which are names in the scratch space
/// in slot 0, and writes a byte for each: 1 if it fits. It never returns.
pub(crate) fn run(maps: &[(&CStr, &str); 3], places: &[[At; 3]], answers: i32) -> ! {
    for (path, text) in maps {
        let written = fd::open(libc::AT_FDCWD, path, libc::O_WRONLY, 0)
            .and_then(|file| fd::write_all(file, text.as_bytes()).map(|()| fd::close(file)));
        // Without the maps nothing below would tell anything of overlays.
        if written.is_err() {
            process::exit(1);
        }
    }
    let made = mount::fs_open(c"tmpfs").and_then(|fs| {
        mount::fs_create(fs)?;
        let scratch = mount::fs_mount(fs, 0)?;
        mount::attach(scratch, libc::AT_FDCWD, c"/")?;
        Ok(scratch)
    });
    let Ok(scratch) = made else { process::exit(1) };
    let slots = [scratch];
    for [lower, upper, work] in places {
        for at in [upper, work] {
            let _tried = fd::mkdir(scratch, &at.path, 0o700);
        }
        let fits = steps::overlay(
            &slots,
            std::slice::from_ref(lower),
            [upper, work],
            [false, false],
            false,
        )
        .map(fd::close)
        .is_ok();
        if fd::write_all(answers, &[u8::from(fits)]).is_err() {
            process::exit(1);
        }
    }
    process::exit(0)
}
