//! A plan as JSON, for `stdbox plan`; `schema/report.json` describes it. Ring 0.

use super::{At, Attributes, Base, IdMaps, IfAbsent, Kept, Leaf, MapWriter, Placed, Plan, Step};
use crate::cgroup::Controllers;
use crate::job::Rlimit;
use crate::text::Text;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::ffi::{CStr, CString};

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let texts = |list: &[CString]| list.iter().map(CString::as_c_str).map(Text::from).collect();
        let limits = self.rlimits.iter();
        let filter = self.filter.as_ref();
        Document {
            namespaces: &self.namespaces,
            id_maps: (&self.id_maps).into(),
            hostname: self.hostname.as_deref().map(Text::from),
            control_group: self.leaf.as_ref().map(ControlGroup::from),
            steps: &self.steps,
            capabilities: self.kept.as_ref().map(Held::from),
            nested_namespaces: self.nested_namespaces,
            init: self.init,
            fds: &self.fds,
            rlimits: limits
                .map(|&(limit, value)| Limit { limit, value })
                .collect(),
            cpu_seconds: self.cpu_backstop,
            cwd: Text::from(self.cwd.bytes()),
            filter_instructions: filter.map(|filter| filter.program.len()),
            executables: texts(&self.exec.candidates),
            argv: texts(&self.exec.argv),
            environment: texts(&self.exec.envp),
        }
        .serialize(to)
    }
}

/// In the order in which the kernel hears of it.
#[derive(Serialize)]
struct Document<'a> {
    namespaces: &'a [super::Namespace],
    #[serde(skip_serializing_if = "Option::is_none")]
    control_group: Option<ControlGroup<'a>>,
    id_maps: Maps,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<Text>,
    steps: &'a [Placed],
    init: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Held>,
    nested_namespaces: bool,
    fds: &'a [i32],
    rlimits: Vec<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_seconds: Option<[u64; 2]>,
    cwd: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_instructions: Option<usize>,
    executables: Vec<Text>,
    argv: Vec<Text>,
    environment: Vec<Text>,
}

#[derive(Serialize)]
struct Maps {
    uid: Text,
    gid: Text,
    writer: &'static str,
}

impl From<&IdMaps> for Maps {
    fn from(maps: &IdMaps) -> Self {
        Self {
            uid: Text(maps.uid.clone()),
            gid: Text(maps.gid.clone()),
            writer: match maps.writer {
                MapWriter::Itself => "itself",
                MapWriter::Outside => "outside",
                MapWriter::Helpers(_) => "helpers",
            },
        }
    }
}

#[derive(Serialize)]
struct ControlGroup<'a> {
    parent: Text,
    step_aside: bool,
    enable: Vec<&'static str>,
    settings: Vec<Write<'a>>,
}

#[derive(Serialize)]
struct Write<'a> {
    file: Text,
    value: &'a str,
    asked_at: &'a str,
}

impl<'a> From<&'a Leaf> for ControlGroup<'a> {
    fn from(leaf: &'a Leaf) -> Self {
        let settings = leaf.settings.iter().map(|setting| Write {
            file: setting.file.into(),
            value: &setting.value,
            asked_at: setting.at,
        });
        Self {
            parent: Text::from(leaf.parent.bytes()),
            step_aside: leaf.step_aside,
            enable: Controllers::names(leaf.enable).collect(),
            settings: settings.collect(),
        }
    }
}

#[derive(Serialize)]
struct Held {
    kept: Vec<&'static str>,
    id_maps: Maps,
}

impl From<&Kept> for Held {
    fn from(kept: &Kept) -> Self {
        Self {
            kept: kept.capabilities.names().collect(),
            id_maps: (&kept.id_maps).into(),
        }
    }
}

#[derive(Serialize)]
struct Limit {
    #[serde(serialize_with = "resource")]
    limit: Rlimit,
    value: u64,
}

fn resource<S: Serializer>(limit: &Rlimit, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(limit.pointer().trim_start_matches("/limits/"))
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (tree, slot) = match self.base {
            Base::Host => ("host", None),
            Base::Tree(slot) => ("held", Some(slot.0)),
            Base::Own(slot) => ("own", Some(slot.0)),
        };
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("tree", tree)?;
        if let Some(slot) = slot {
            map.serialize_entry("slot", &slot)?;
        }
        map.serialize_entry("path", &Text::from(self.path.as_c_str()))?;
        map.end()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.names())
    }
}

impl Serialize for IfAbsent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match self {
            Self::Fail => "fail",
            Self::Report => "report",
            Self::PassOver => "pass-over",
        })
    }
}

/// An option of a file system: a flag is its name alone.
struct FsOption<'a>(&'a CStr, Option<&'a CStr>);

impl Serialize for FsOption<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (name, value) = (Text::from(self.0), self.1.map(Text::from));
        to.collect_seq([name].into_iter().chain(value))
    }
}

impl Serialize for Placed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("do", self.step.word())?;
        match &self.step {
            Step::NewFs {
                slot,
                fstype,
                options,
                attributes,
                read_only_fallback,
            } => {
                let options = options.iter();
                let options = options.map(|(name, value)| FsOption(name, value.as_deref()));
                map.serialize_entry("slot", &slot.0)?;
                map.serialize_entry("type", &Text::from(*fstype))?;
                map.serialize_entry("options", &options.collect::<Vec<_>>())?;
                map.serialize_entry("attributes", attributes)?;
                map.serialize_entry("or_read_only", read_only_fallback)?;
            }
            Step::Overlay {
                slot,
                lower,
                upper,
                work,
                userxattr,
                volatile,
                keep_read_only,
                if_absent,
            } => {
                map.serialize_entry("slot", &slot.0)?;
                map.serialize_entry("lower", lower)?;
                map.serialize_entry("upper", upper)?;
                map.serialize_entry("work", work)?;
                map.serialize_entry("userxattr", userxattr)?;
                map.serialize_entry("volatile", volatile)?;
                map.serialize_entry("keep_read_only", keep_read_only)?;
                map.serialize_entry("if_absent", if_absent)?;
            }
            Step::Clone {
                slot,
                from,
                recursive,
                if_absent,
            } => {
                map.serialize_entry("slot", &slot.0)?;
                map.serialize_entry("source", from)?;
                map.serialize_entry("recursive", recursive)?;
                map.serialize_entry("if_absent", if_absent)?;
            }
            Step::Open { slot, at } => {
                map.serialize_entry("slot", &slot.0)?;
                map.serialize_entry("at", at)?;
            }
            Step::Restrict { at, attributes } => {
                map.serialize_entry("at", at)?;
                map.serialize_entry("attributes", attributes)?;
            }
            Step::Attach { slot, at, keep } => {
                map.serialize_entry("slot", &slot.0)?;
                map.serialize_entry("at", at)?;
                map.serialize_entry("keep", keep)?;
            }
            Step::Detach { slot } | Step::EnterRoot { slot, .. } => {
                map.serialize_entry("slot", &slot.0)?;
            }
            Step::MakeDir { at, mode } | Step::MakeNode { at, mode, .. } => {
                map.serialize_entry("at", at)?;
                map.serialize_entry("mode", &octal(*mode))?;
            }
            Step::Symlink { at, to } => {
                map.serialize_entry("at", at)?;
                map.serialize_entry("to", &Text::from(to.as_c_str()))?;
            }
            Step::Write { at, bytes, mode } => {
                map.serialize_entry("at", at)?;
                map.serialize_entry("mode", &octal(*mode))?;
                map.serialize_entry("holds", &Text(bytes.get().to_vec()))?;
            }
            Step::Copy { from, at, mode, .. } => {
                map.serialize_entry("source", from)?;
                map.serialize_entry("at", at)?;
                map.serialize_entry("mode", &octal(*mode))?;
            }
        }
        if let Some(field) = &self.at {
            map.serialize_entry("asked_at", field)?;
        }
        map.end()
    }
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}
