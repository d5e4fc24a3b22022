//! Maps the ids of a target that keeps capabilities among many ids. Ring 2.
//!
//! A process in a new user namespace may map its own id only; more than that takes capabilities in the namespace around. Init
//! has them until the target runs, but waits for it in the kernel. So a process that is started for it writes the maps: it
//! has init's capabilities, and has ended before the target goes on.

use super::steps::{LINK, put_bytes, put_number};
use super::{Done, fault};
use crate::sys::{clone, fd, process};
use nix::errno::Errno;
use nix::libc;
use std::ffi::CStr;
use stdbox::plan::IdMaps;
use stdbox::wire::{Call, Failure, Phase, Record, SIZE};

/// The way to it, for the target's process alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scribe {
    requests: i32,
    answers: i32,
}

/// Starts it, as a child of init.
pub(super) fn start(maps: &IdMaps) -> Result<Scribe, Failure> {
    let pipe = || fd::pipe().map_err(fault(Phase::IdMaps, 0, Call::Pipe));
    let (asked, requests) = pipe()?;
    let (answers, answer) = pipe()?;
    let (pid, pidfd) = clone::copying(0).map_err(fault(Phase::Fork, 0, Call::Clone))?;
    if pid == 0 {
        fd::close(requests);
        fd::close(answers);
        serve(maps, asked, answer);
    }
    // With init's copies gone, the end of it is an end of the pipe.
    fd::close(pidfd);
    fd::close(asked);
    fd::close(answer);
    Ok(Scribe { requests, answers })
}

fn serve(maps: &IdMaps, asked: i32, answer: i32) -> ! {
    let mut pid = [0; 4];
    if fd::read(asked, &mut pid) == Ok(pid.len()) {
        let pid = i32::from_ne_bytes(pid);
        let written =
            write(pid, b"/uid_map", &maps.uid).and_then(|()| write(pid, b"/gid_map", &maps.gid));
        let record = match written {
            Ok(()) => Record::Ready {
                at_ns: 0,
                waited_ns: 0,
            },
            Err(failure) => Record::Failed(failure),
        };
        // Whoever asked is gone if it cannot be told.
        let _gone = fd::write_all(answer, &record.encode());
    }
    process::exit(0)
}

fn write(pid: i32, name: &[u8], map: &[u8]) -> Done {
    let mut path = [0; LINK];
    put_bytes(put_number(put_bytes(&mut path, b"/proc/"), pid), name);
    let path = CStr::from_bytes_until_nul(&path).unwrap_or(c"");
    let file = fd::open(libc::AT_FDCWD, path, libc::O_WRONLY, 0).map_err(fault(
        Phase::IdMaps,
        0,
        Call::Open,
    ))?;
    let written = fd::write_all(file, map).map_err(fault(Phase::IdMaps, 0, Call::Write));
    fd::close(file);
    written
}

impl Scribe {
    /// Has the maps of this process written. When this returns, the other process is past doing anything else.
    pub(super) fn map_this_process(self) -> Done {
        let failed = |call| fault(Phase::IdMaps, 0, call);
        let pid = process::own_pid().to_ne_bytes();
        fd::write_all(self.requests, &pid).map_err(failed(Call::Write))?;
        let mut bytes = [0; SIZE];
        let count = fd::read(self.answers, &mut bytes).map_err(failed(Call::Read))?;
        match (count, Record::decode(&bytes)) {
            (SIZE, Record::Ready { .. }) => {}
            (SIZE, Record::Failed(failure)) => return Err(failure),
            _ => return Err(failed(Call::Read)(Errno::EIO)),
        }
        match fd::read(self.answers, &mut bytes) {
            Ok(0) => Ok(()),
            Ok(_) => Err(failed(Call::Read)(Errno::EIO)),
            Err(errno) => Err(failed(Call::Read)(errno)),
        }
    }
}
