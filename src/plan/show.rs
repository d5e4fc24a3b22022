//! A plan as lines of text, and a step as one, for people and for snapshots. Ring 0.

use super::{At, Attributes, Base, IdMaps, IfAbsent, Namespace, Node, Plan, Step};
use crate::cgroup::Controllers;
use std::ffi::CString;
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

impl Attributes {
    /// The names by which mount(8) knows those that are set.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        let names = [
            (self.read_only, "ro"),
            (self.no_suid, "nosuid"),
            (self.no_dev, "nodev"),
            (self.no_exec, "noexec"),
        ];
        names
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<&str> = self.names().collect();
        f.write_str(if set.is_empty() { "-" } else { "" })?;
        f.write_str(&set.join(","))
    }
}

impl Step {
    /// What it does, in one word.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::NewFs { .. } => "new-fs",
            Self::Overlay { .. } => "overlay",
            Self::Clone { .. } => "clone",
            Self::Open { .. } => "open",
            Self::Restrict { .. } => "restrict",
            Self::Attach { .. } => "attach",
            Self::Detach { .. } => "detach",
            Self::MakeDir { .. } => "mkdir",
            Self::MakeNode { node, .. } => match node {
                Node::File => "mkfile",
                Node::Fifo => "mkfifo",
                Node::Socket => "mksocket",
            },
            Self::Symlink { .. } => "symlink",
            Self::Write { .. } => "write",
            Self::Copy { .. } => "copy",
            Self::EnterRoot { bottom, .. } => {
                if *bottom {
                    "chroot"
                } else {
                    "pivot"
                }
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = |if_absent: &IfAbsent| match if_absent {
            IfAbsent::Fail => "",
            IfAbsent::Report => " optional",
            IfAbsent::PassOver => " if-present",
        };
        write!(f, "{:<10}", self.word())?;
        match self {
            Self::NewFs {
                slot,
                fstype,
                options,
                attributes,
                read_only_fallback,
            } => {
                write!(f, "#{} {} {attributes}", slot.0, fstype.to_string_lossy())?;
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
                write!(f, "#{} lower=", slot.0)?;
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
                write!(f, "#{} <- {from}{depth}{}", slot.0, rest(if_absent))
            }
            Self::Open { slot, at } => write!(f, "#{} <- {at}", slot.0),
            Self::Restrict { at, attributes } => write!(f, "{at} {attributes}"),
            Self::Attach { slot, at, keep } => {
                write!(f, "#{} -> {at}{}", slot.0, if *keep { " keep" } else { "" })
            }
            Self::Detach { slot } => write!(f, "#{}", slot.0),
            Self::MakeDir { at, mode } | Self::MakeNode { at, mode, .. } => {
                write!(f, "{at} {mode:04o}")
            }
            Self::Symlink { at, to } => {
                write!(f, "{at} -> {}", to.to_string_lossy().escape_debug())
            }
            Self::Write { at, bytes, mode } => {
                write!(f, "{at} {mode:04o} {} bytes", bytes.get().len())
            }
            Self::Copy { from, at, mode, .. } => write!(f, "{from} -> {at} {mode:04o}"),
            Self::EnterRoot { slot, .. } => write!(f, "#{}", slot.0),
        }
    }
}

impl Namespace {
    const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Network => "network",
            Self::Cgroup => "cgroup",
        }
    }
}

fn shown(text: &CString) -> String {
    text.to_string_lossy().escape_debug().to_string()
}

fn id_maps(f: &mut fmt::Formatter<'_>, maps: &IdMaps) -> fmt::Result {
    for (word, map) in [("uid-map", &maps.uid), ("gid-map", &maps.gid)] {
        for line in String::from_utf8_lossy(map).lines() {
            writeln!(f, "{word:<10}{line}")?;
        }
    }
    Ok(())
}

/// In the order in which the kernel hears of it. The environment is left out: it is long, and the caller's.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(leaf) = &self.leaf {
            let enable: Vec<_> = Controllers::names(leaf.enable).collect();
            writeln!(f, "cgroup    {} {}", leaf.parent.lossy(), enable.join(","))?;
            for setting in &leaf.settings {
                let file = setting.file.to_string_lossy();
                writeln!(f, "cgroup    {file} = {}", setting.value)?;
            }
        }
        let names: Vec<_> = self.cloned().map(Namespace::name).collect();
        writeln!(f, "clone3    {}", names.join(" "))?;
        if self.network_beside {
            writeln!(f, "unshare   {}", Namespace::Network.name())?;
        }
        id_maps(f, &self.id_maps)?;
        if let Some(name) = &self.hostname {
            writeln!(f, "hostname  {}", shown(name))?;
        }
        for placed in &self.steps {
            writeln!(f, "{}", placed.step)?;
        }
        if self.init {
            writeln!(f, "init")?;
        }
        if let Some(kept) = &self.kept {
            let names: Vec<_> = kept.capabilities.names().collect();
            writeln!(f, "unshare   user mount, keeping {}", names.join(" "))?;
            id_maps(f, &kept.id_maps)?;
        }
        for fd in &self.fds {
            writeln!(f, "keep      descriptor {fd}")?;
        }
        for (limit, value) in &self.rlimits {
            writeln!(
                f,
                "limit     {} = {value}",
                limit.pointer().trim_start_matches("/limits/")
            )?;
        }
        if let Some([soft, hard]) = self.cpu_backstop {
            writeln!(f, "limit     processor seconds = {soft}, {hard}")?;
        }
        writeln!(f, "cwd       {}", self.cwd.lossy())?;
        if let Some(filter) = &self.filter {
            writeln!(f, "filter    {} instructions", filter.program.len())?;
        }
        for file in &self.exec.candidates {
            writeln!(f, "exec      {}", shown(file))?;
        }
        let arguments: Vec<_> = self.exec.argv.iter().map(shown).collect();
        writeln!(f, "arguments {arguments:?}")
    }
}
