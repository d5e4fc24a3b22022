//! The rules for `mounts`. Ring 0.

use super::rules::{MAX_SIZE, abs_path, file_path, in_range, one_of};
use super::{Checked, Mount, MountKind};
use crate::problem::{Code, Problem};
use crate::spec::{MountSpec, MountType};
use crate::text::{AbsPath, Text, quote};

/// An overlay has at most so many lower layers: their names must fit into one string of 255 bytes (fsconfig(2)).
pub const MAX_LOWER: usize = 50;

pub(super) fn mounts(list: Vec<MountSpec>) -> Checked<Vec<Mount>> {
    let numbered = list.into_iter().enumerate();
    numbered
        .map(|(i, spec)| mount(spec, &format!("/mounts/{i}")))
        .collect()
}

fn mount(spec: MountSpec, at: &str) -> Checked<Mount> {
    let pointer = |field: &str| format!("{at}/{field}");
    let Some(kind) = spec.kind else {
        return Err(missing(at, "type"));
    };
    for (field, given, owners) in [
        ("source", spec.source.is_some(), "bind"),
        ("read_only", spec.read_only.is_some(), "bind"),
        ("recursive", spec.recursive.is_some(), "bind"),
        ("size_bytes", spec.size_bytes.is_some(), "tmpfs"),
        ("inodes", spec.inodes.is_some(), "tmpfs"),
        ("mode", spec.mode.is_some(), "tmpfs and file"),
        ("text", spec.text.is_some(), "file"),
        ("base64", spec.base64.is_some(), "file"),
        ("to", spec.to.is_some(), "symlink"),
        ("lower", spec.lower.is_some(), "overlay"),
        ("upper", spec.upper.is_some(), "overlay"),
        ("work", spec.work.is_some(), "overlay"),
    ] {
        if given && !owners.split(" and ").any(|owner| owner == word(kind)) {
            return Err(Problem::at(
                Code::Contradiction,
                pointer(field),
                format!(
                    "\"{field}\" belongs to mounts of type {owners}, this one is of type {}.",
                    word(kind)
                ),
            ));
        }
    }
    let target = target(spec.target.as_ref(), at)?;
    let path = |field: &str, text: Option<&Text>| {
        text.ok_or_else(|| missing(at, field))
            .and_then(|text| file_path(text, &pointer(field)))
    };
    let kind = match kind {
        MountType::Bind => MountKind::Bind {
            source: path("source", spec.source.as_ref())?,
            read_only: spec.read_only.unwrap_or(true),
            recursive: spec.recursive.unwrap_or(true),
        },
        MountType::Tmpfs => {
            let number = |field, value: Option<u64>| {
                value
                    .map(|value| in_range(value, 1, MAX_SIZE, &pointer(field)))
                    .transpose()
            };
            MountKind::Tmpfs {
                size_bytes: number("size_bytes", spec.size_bytes)?,
                inodes: number("inodes", spec.inodes)?,
                mode: permissions(spec.mode, 0o755, &pointer("mode"))?,
            }
        }
        MountType::File => {
            let given = [spec.text.is_some(), spec.base64.is_some()];
            one_of(at, &given, "\"text\", \"base64\"")?;
            let text = spec.text.map(String::into_bytes);
            let bytes = text.or(spec.base64.map(|bytes| bytes.0));
            MountKind::File {
                bytes: bytes.unwrap_or_default().into(),
                mode: permissions(spec.mode, 0o644, &pointer("mode"))?,
            }
        }
        MountType::Symlink => MountKind::Symlink {
            to: path("to", spec.to.as_ref())?,
        },
        MountType::Overlay => {
            let list = spec.lower.ok_or_else(|| missing(at, "lower"))?;
            let many = list.len() > MAX_LOWER;
            if list.is_empty() || many {
                return Err(Problem::at(
                    if many { Code::TooLong } else { Code::Empty },
                    pointer("lower"),
                    format!("An overlay has 1 to {MAX_LOWER} lower layers here."),
                ));
            }
            let lower = list
                .iter()
                .enumerate()
                .map(|(i, text)| file_path(text, &format!("{at}/lower/{i}")));
            MountKind::Overlay {
                lower: lower.collect::<Checked<_>>()?,
                upper: path("upper", spec.upper.as_ref())?,
                work: path("work", spec.work.as_ref())?,
            }
        }
        MountType::Mqueue => MountKind::Mqueue,
    };
    Ok(Mount { target, kind })
}

fn word(kind: MountType) -> &'static str {
    match kind {
        MountType::Bind => "bind",
        MountType::Tmpfs => "tmpfs",
        MountType::File => "file",
        MountType::Symlink => "symlink",
        MountType::Overlay => "overlay",
        MountType::Mqueue => "mqueue",
    }
}

fn missing(at: &str, field: &str) -> Problem {
    Problem::at(
        Code::MissingField,
        format!("{at}/{field}"),
        format!("The field \"{field}\" of this mount is missing."),
    )
}

fn target(text: Option<&Text>, at: &str) -> Checked<AbsPath> {
    let text = text.ok_or_else(|| missing(at, "target"))?;
    let at = format!("{at}/target");
    let path = abs_path(text, &at)?;
    if path.is_root() {
        return Err(
            Problem::at(Code::Contradiction, at, "Nothing can be mounted over /.")
                .hint("\"root\" makes another directory the tree; \"directories\" gives / a mode."),
        );
    }
    if AbsPath::fixed("/proc").contains(&path) {
        return Err(in_proc(&path, at));
    }
    Ok(path)
}

/// The refusal of a target in /proc, which may also be found out when links are resolved.
pub(crate) fn in_proc(path: &AbsPath, at: String) -> Problem {
    let message = "/proc is always replaced, so nothing can be mounted in it.";
    Problem::at(Code::ProcDirectory, at, message)
        .path(path.bytes())
        .hint("See the field \"proc\".")
}

/// Octal permission bits, as chmod(1) takes them.
fn permissions(text: Option<String>, default: u32, at: &str) -> Checked<u32> {
    let Some(text) = text else {
        return Ok(default);
    };
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if digits => Ok(mode),
        _ => Err(Problem::at(
            if text.is_empty() {
                Code::Empty
            } else {
                Code::OutOfRange
            },
            at,
            format!(
                "{} is not a string of three or four octal digits, such as \"0755\".",
                quote(&text)
            ),
        )),
    }
}
