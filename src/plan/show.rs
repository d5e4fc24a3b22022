//! A step as one line of text, for people and for snapshots. Ring 0.

use super::{At, Attributes, Base, IfAbsent, Node, Step};
use std::fmt;

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.to_string_lossy();
        match self.base {
            Base::Host => write!(f, "{}", path.escape_debug()),
            Base::Tree(slot) | Base::Own(slot) if path.is_empty() => write!(f, "#{}", slot.0),
            Base::Tree(slot) | Base::Own(slot) => write!(f, "#{}/{}", slot.0, path.escape_debug()),
        }
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.read_only, "ro"),
            (self.no_suid, "nosuid"),
            (self.no_dev, "nodev"),
            (self.no_exec, "noexec"),
        ];
        let set: Vec<&str> = names
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| *name)
            .collect();
        f.write_str(if set.is_empty() { "-" } else { "" })?;
        f.write_str(&set.join(","))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = |if_absent: &IfAbsent| match if_absent {
            IfAbsent::Fail => "",
            IfAbsent::Report => " optional",
            IfAbsent::PassOver => " if-present",
        };
        match self {
            Self::NewFs {
                slot,
                fstype,
                options,
                attributes,
                read_only_fallback,
            } => {
                write!(
                    f,
                    "new-fs    #{} {} {attributes}",
                    slot.0,
                    fstype.to_string_lossy()
                )?;
                for (key, value) in options {
                    write!(f, " {}", key.to_string_lossy())?;
                    if let Some(value) = value {
                        write!(f, "={}", value.to_string_lossy())?;
                    }
                }
                f.write_str(if *read_only_fallback { " or-ro" } else { "" })
            }
            Self::Overlay {
                slot,
                lower,
                upper,
                work,
                userxattr,
                volatile,
                keep_read_only,
                if_absent,
            } => {
                write!(f, "overlay   #{} lower=", slot.0)?;
                for (i, lower) in lower.iter().enumerate() {
                    write!(f, "{}{lower}", if i == 0 { "" } else { ":" })?;
                }
                write!(
                    f,
                    " upper={upper} work={work}{}{}{}{}",
                    if *userxattr { " userxattr" } else { "" },
                    if *volatile { " volatile" } else { "" },
                    if *keep_read_only { " keep-ro" } else { "" },
                    rest(if_absent)
                )
            }
            Self::Clone {
                slot,
                from,
                recursive,
                if_absent,
            } => {
                let depth = if *recursive { " rec" } else { "" };
                write!(
                    f,
                    "clone     #{} <- {from}{depth}{}",
                    slot.0,
                    rest(if_absent)
                )
            }
            Self::Open { slot, at } => write!(f, "open      #{} <- {at}", slot.0),
            Self::Restrict { at, attributes } => write!(f, "restrict  {at} {attributes}"),
            Self::Attach { slot, at, keep } => {
                write!(
                    f,
                    "attach    #{} -> {at}{}",
                    slot.0,
                    if *keep { " keep" } else { "" }
                )
            }
            Self::Detach { slot } => write!(f, "detach    #{}", slot.0),
            Self::MakeDir { at, mode } => write!(f, "mkdir     {at} {mode:04o}"),
            Self::MakeNode {
                at,
                node: Node::File,
                mode,
            } => write!(f, "mkfile    {at} {mode:04o}"),
            Self::MakeNode {
                at,
                node: Node::Fifo,
                mode,
            } => write!(f, "mkfifo    {at} {mode:04o}"),
            Self::MakeNode {
                at,
                node: Node::Socket,
                mode,
            } => write!(f, "mksocket  {at} {mode:04o}"),
            Self::Symlink { at, to } => write!(
                f,
                "symlink   {at} -> {}",
                to.to_string_lossy().escape_debug()
            ),
            Self::Write { at, bytes, mode } => {
                write!(f, "write     {at} {mode:04o} {} bytes", bytes.len())
            }
            Self::Copy { from, at, mode, .. } => write!(f, "copy      {from} -> {at} {mode:04o}"),
            Self::EnterRoot { slot, bottom } => {
                write!(
                    f,
                    "{}#{}",
                    if *bottom { "chroot    " } else { "pivot     " },
                    slot.0
                )
            }
        }
    }
}
