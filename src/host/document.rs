//! The facts about a host as JSON: what `stdbox plan --facts` writes and `--with-facts` reads. Ring 0.
//!
//! A word with more to it is `{"is": WORD, "of": MORE}`; bytes that are not UTF-8 are `{"base64": …}`.

use super::{Caller, CpuFacts, Entry, HostFacts, IdFacts, Kind, Listing, PathFact};
use crate::cgroup::{CgroupFacts, Controllers, Group, NoGroup, Occupants};
use crate::json::convert::{Convert, Fields};
use crate::json::{ShapeError, Value};
use crate::mountinfo::{Mount, MountTable};
use crate::problem::{Code, Problem};
use crate::subid::IdRange;
use crate::text::{AbsPath, Text};
use std::ffi::CString;

/// A word, and what belongs to it.
struct Word(&'static str, Option<Value>);

impl Word {
    fn done(self) -> Value {
        let word = Value::String(self.0.to_owned());
        match self.1 {
            None => Fields::default().value("is", word).done(),
            Some(more) => Fields::default().value("is", word).value("of", more).done(),
        }
    }
}

/// A word that was read; what belongs to it is taken by [`Said::of`].
struct Said(String, Fields);

impl Said {
    fn new(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let word = fields.need("is")?;
        Ok(Self(word, fields))
    }

    fn of<T: Convert>(mut self) -> Result<T, ShapeError> {
        let more = self.1.need("of")?;
        self.1.end().map(|()| more)
    }

    /// The same, where it is an object.
    fn with<T>(
        mut self,
        read: impl FnOnce(&mut Fields) -> Result<T, ShapeError>,
    ) -> Result<T, ShapeError> {
        let more = self.1.need("of")?;
        self.1.end()?;
        let read = Fields::of(more).and_then(|mut of| {
            let value = read(&mut of)?;
            of.end().map(|()| value)
        });
        read.map_err(|error| error.inside("of"))
    }

    fn alone<T>(self, value: T) -> Result<T, ShapeError> {
        self.1.end().map(|()| value)
    }

    fn unknown<T>(self) -> Result<T, ShapeError> {
        let message = format!("{:?} is no word for this.", self.0);
        Err(ShapeError::new(Code::UnknownValue, message).inside("is"))
    }
}

fn text(bytes: &[u8]) -> Text {
    Text::from(bytes)
}

impl Convert for IdRange {
    fn to_value(&self) -> Value {
        (self.first, self.count).to_value()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let (first, count) = <(u64, u64)>::from_value(value)?;
        let none = || ShapeError::new(Code::OutOfRange, "There are no such ids.".to_owned());
        Self::new(first, count).ok_or_else(none)
    }
}

impl Convert for PathFact {
    fn to_value(&self) -> Value {
        match self {
            Self::Missing => Word("missing", None),
            Self::Failed(errno) => Word("failed", Some(errno.to_value())),
            Self::Denied => Word("denied", None),
            Self::Symlink { real, link } => {
                let link = link.as_deref().map(text);
                let more = Fields::default().put_some("real", real.as_ref());
                Word("symlink", Some(more.put_some("link", link.as_ref()).done()))
            }
            Self::Directory { mode, mount } => {
                let more = Fields::default().put("mode", mode).put("mount", mount);
                Word("directory", Some(more.done()))
            }
            Self::File => Word("file", None),
            Self::Other => Word("other", None),
        }
        .done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let said = Said::new(value)?;
        match said.0.as_str() {
            "missing" => said.alone(Self::Missing),
            "failed" => said.of().map(Self::Failed),
            "denied" => said.alone(Self::Denied),
            "symlink" => said.with(|of| {
                Ok(Self::Symlink {
                    real: of.take("real")?,
                    link: of.take::<Text>("link")?.map(|text| text.0),
                })
            }),
            "directory" => said.with(|of| {
                Ok(Self::Directory {
                    mode: of.need("mode")?,
                    mount: of.need("mount")?,
                })
            }),
            "file" => said.alone(Self::File),
            "other" => said.alone(Self::Other),
            _ => said.unknown(),
        }
    }
}

impl Convert for Kind {
    fn to_value(&self) -> Value {
        match self {
            Self::Directory => Word("directory", None),
            Self::File { bytes, readable } => {
                let more = Fields::default()
                    .put("bytes", bytes)
                    .put("readable", readable);
                Word("file", Some(more.done()))
            }
            Self::Symlink(link) => Word("symlink", Some(text(link).to_value())),
            Self::Fifo => Word("fifo", None),
            Self::Socket => Word("socket", None),
            Self::Device => Word("device", None),
        }
        .done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let said = Said::new(value)?;
        match said.0.as_str() {
            "directory" => said.alone(Self::Directory),
            "file" => said.with(|of| {
                Ok(Self::File {
                    bytes: of.need("bytes")?,
                    readable: of.need("readable")?,
                })
            }),
            "symlink" => said.of::<Text>().map(|text| Self::Symlink(text.0)),
            "fifo" => said.alone(Self::Fifo),
            "socket" => said.alone(Self::Socket),
            "device" => said.alone(Self::Device),
            _ => said.unknown(),
        }
    }
}

impl Convert for Entry {
    fn to_value(&self) -> Value {
        let fields = Fields::default().put("name", &text(&self.name));
        let fields = fields.put("kind", &self.kind).put("mode", &self.mode);
        let fields = fields.put("modified", &self.modified);
        fields.put("empty", &self.empty).done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let entry = Self {
            name: fields.need::<Text>("name")?.0,
            kind: fields.need("kind")?,
            mode: fields.need("mode")?,
            modified: fields.need("modified")?,
            empty: fields.need("empty")?,
        };
        fields.end().map(|()| entry)
    }
}

impl Convert for Listing {
    fn to_value(&self) -> Value {
        match self {
            Self::Entries(entries) => Word("entries", Some(entries.to_value())),
            Self::Denied => Word("denied", None),
            Self::Missing => Word("missing", None),
            Self::TooLarge => Word("too-large", None),
        }
        .done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let said = Said::new(value)?;
        match said.0.as_str() {
            "entries" => said.of().map(Self::Entries),
            "denied" => said.alone(Self::Denied),
            "missing" => said.alone(Self::Missing),
            "too-large" => said.alone(Self::TooLarge),
            _ => said.unknown(),
        }
    }
}

impl Convert for Caller {
    fn to_value(&self) -> Value {
        let environ: Vec<Text> = self.environ.iter().map(|pair| text(pair)).collect();
        let fields = Fields::default()
            .put("uid", &self.uid)
            .put("gid", &self.gid);
        let fields = fields.put("real_root", &self.real_root);
        let fields = fields.put("core_limit", &self.core_limit);
        let fields = fields.put_some("cwd", self.cwd.as_ref());
        fields.put("environ", &environ).done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let environ: Vec<Text> = fields.need("environ")?;
        let caller = Self {
            uid: fields.need("uid")?,
            gid: fields.need("gid")?,
            real_root: fields.need("real_root")?,
            core_limit: fields.need("core_limit")?,
            cwd: fields.take("cwd")?,
            environ: environ.into_iter().map(|text| text.0).collect(),
        };
        fields.end().map(|()| caller)
    }
}

impl Convert for IdFacts {
    fn to_value(&self) -> Value {
        let [user, group] = &self.helpers;
        let fields = Fields::default().put("privileged", &self.privileged);
        let fields = fields.put("existing", &self.existing);
        let fields = fields.put("subordinate", &self.subordinate);
        let fields = fields.put("name", &self.name);
        let fields = fields.put_some("newuidmap", user.as_ref());
        let fields = fields.put_some("newgidmap", group.as_ref());
        fields.put("settings_owner", &self.settings_owner).done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let ids = Self {
            privileged: fields.need("privileged")?,
            existing: fields.need("existing")?,
            subordinate: fields.need("subordinate")?,
            name: fields.need("name")?,
            helpers: [fields.take("newuidmap")?, fields.take("newgidmap")?],
            settings_owner: fields.need("settings_owner")?,
        };
        fields.end().map(|()| ids)
    }
}

impl Convert for CpuFacts {
    fn to_value(&self) -> Value {
        let fields = Fields::default().put("count", &self.count);
        fields.put("limit_s", &self.limit_s).done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let cpus = Self {
            count: fields.need("count")?,
            limit_s: fields.need("limit_s")?,
        };
        fields.end().map(|()| cpus)
    }
}

impl Convert for Controllers {
    fn to_value(&self) -> Value {
        let names: Vec<String> = self.names().map(str::to_owned).collect();
        names.to_value()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        Vec::<String>::from_value(value).map(|names| Self::parse(&names.join(" ")))
    }
}

impl Convert for NoGroup {
    fn to_value(&self) -> Value {
        match self {
            Self::NotMounted => Word("not-mounted", None),
            Self::Unopened(errno) => Word("unopened", Some(errno.to_value())),
            Self::NotCgroup2 => Word("not-cgroup2", None),
        }
        .done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let said = Said::new(value)?;
        match said.0.as_str() {
            "not-mounted" => said.alone(Self::NotMounted),
            "unopened" => said.of().map(Self::Unopened),
            "not-cgroup2" => said.alone(Self::NotCgroup2),
            _ => said.unknown(),
        }
    }
}

impl Convert for Occupants {
    fn to_value(&self) -> Value {
        match self {
            Self::Nobody => Word("nobody", None),
            Self::OnlyCaller => Word("only-caller", None),
            Self::Others => Word("others", None),
        }
        .done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let said = Said::new(value)?;
        match said.0.as_str() {
            "nobody" => said.alone(Self::Nobody),
            "only-caller" => said.alone(Self::OnlyCaller),
            "others" => said.alone(Self::Others),
            _ => said.unknown(),
        }
    }
}

impl Convert for Group {
    fn to_value(&self) -> Value {
        let fields = Fields::default().put("path", &self.path);
        let fields = fields.put("available", &self.available);
        let fields = fields.put("enabled", &self.enabled);
        let fields = fields.put("occupants", &self.occupants);
        let fields = fields.put_some("refused", self.refused.as_ref());
        let fields = fields.put_some("uncontrolled", self.uncontrolled.as_ref());
        fields.done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let group = Self {
            path: fields.need("path")?,
            available: fields.need("available")?,
            enabled: fields.need("enabled")?,
            occupants: fields.need("occupants")?,
            refused: fields.take("refused")?,
            uncontrolled: fields.take("uncontrolled")?,
        };
        fields.end().map(|()| group)
    }
}

impl Convert for CgroupFacts {
    fn to_value(&self) -> Value {
        let fields = Fields::default().put("v1", &self.v1);
        let fields = fields.put("groups", &self.groups);
        let fields = fields.put_some("none", self.none.as_ref());
        fields.put("swap", &self.swap).done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let cgroup = Self {
            v1: fields.need("v1")?,
            groups: fields.need("groups")?,
            none: fields.take("none")?,
            swap: fields.need("swap")?,
        };
        fields.end().map(|()| cgroup)
    }
}

impl Convert for Mount {
    fn to_value(&self) -> Value {
        let fields = Fields::default().put("id", &self.id);
        let fields = fields.put("parent", &self.parent);
        let fields = fields.put("root", &text(&self.root));
        let fields = fields.put("at", &self.at);
        let fields = fields.put("type", &text(&self.fstype));
        fields.put("narrow", &self.narrow).done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let mount = Self {
            id: fields.need("id")?,
            parent: fields.need("parent")?,
            root: fields.need::<Text>("root")?.0,
            at: fields.need("at")?,
            fstype: fields.need::<Text>("type")?.0,
            narrow: fields.need("narrow")?,
        };
        fields.end().map(|()| mount)
    }
}

impl Convert for MountTable {
    fn to_value(&self) -> Value {
        let mounts = self.all().map(Mount::to_value).collect();
        let fields = Fields::default().put("root", &self.root());
        fields.value("mounts", Value::List(mounts)).done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let (root, mounts) = (fields.need("root")?, fields.need("mounts")?);
        fields.end().map(|()| Self::new(mounts, Some(root)))
    }
}

/// A path of the caller's, and what it stands for.
struct Real(CString, Result<AbsPath, i32>);

impl Convert for Real {
    fn to_value(&self) -> Value {
        let fields = Fields::default().put("path", &text(self.0.to_bytes()));
        let fields = fields.put_some("real", self.1.as_ref().ok());
        fields.put_some("errno", self.1.as_ref().err()).done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let path = CString::new(fields.need::<Text>("path")?.0);
        let nul = |_| ShapeError::new(Code::NulByte, "A path cannot hold a NUL byte.".to_owned());
        let real = match fields.take("real")? {
            Some(real) => Ok(real),
            None => Err(fields.need("errno")?),
        };
        fields.end()?;
        Ok(Self(path.map_err(nul)?, real))
    }
}

impl Convert for HostFacts {
    fn to_value(&self) -> Value {
        let real =
            |(path, real): (&CString, &Result<AbsPath, i32>)| Real(path.clone(), real.clone());
        let real: Vec<Real> = self.real.iter().map(real).collect();
        let fields = Fields::default().put("caller", &self.caller);
        let fields = fields.put_some("busy", self.busy.then_some(&true));
        let fields = fields.put_some("mounts", self.mounts.as_ref());
        let fields = fields.put("paths", &self.paths).put("real", &real);
        let fields = fields.put("lists", &self.lists).put("trees", &self.trees);
        let fields = fields.put("stackable", &self.stackable);
        let fields = fields.put_some("tmpfs_xattr", self.tmpfs_xattr.as_ref());
        let fields = fields.put_some("devices", self.devices.as_ref());
        let fields = fields.put_some("kernel", self.kernel.as_ref());
        let fields = fields.put_some("ids", self.ids.as_ref());
        let fields = fields.put_some("cpus", self.cpus.as_ref());
        let fields = fields.put_some("cgroup", self.cgroup.as_ref());
        let fields = fields.put_some("disk_scratch", self.disk_scratch.as_ref());
        fields.done()
    }
    #[inline(never)]
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let mut fields = Fields::of(value)?;
        let real: Vec<Real> = fields.take("real")?.unwrap_or_default();
        let facts = Self {
            caller: fields.take("caller")?.unwrap_or_default(),
            busy: fields.take("busy")?.unwrap_or_default(),
            mounts: fields.take("mounts")?,
            paths: fields.take("paths")?.unwrap_or_default(),
            real: real
                .into_iter()
                .map(|Real(path, real)| (path, real))
                .collect(),
            lists: fields.take("lists")?.unwrap_or_default(),
            trees: fields.take("trees")?.unwrap_or_default(),
            stackable: fields.take("stackable")?.unwrap_or_default(),
            tmpfs_xattr: fields.take("tmpfs_xattr")?,
            devices: fields.take("devices")?,
            kernel: fields.take("kernel")?,
            ids: fields.take("ids")?,
            cpus: fields.take("cpus")?,
            cgroup: fields.take("cgroup")?,
            disk_scratch: fields.take("disk_scratch")?,
        };
        fields.end().map(|()| facts)
    }
}

impl HostFacts {
    /// One line of JSON with its newline.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing a value into memory cannot fail.
        crate::report::line(&self.to_value()).unwrap_or_default()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// The first place where the form is another.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Problem> {
        Self::from_value(crate::json::parse(bytes)?).map_err(Problem::from)
    }
}
