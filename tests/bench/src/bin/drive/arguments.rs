//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf, absolute};

use crate::launchers::NAMES;

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) runs: usize,
    pub(crate) only: Vec<String>,
    pub(crate) stdbox: PathBuf,
    pub(crate) mounts: usize,
    pub(crate) mounts_at: PathBuf,
    pub(crate) json: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Arguments, String> {
        let mut arguments = Arguments {
            runs: 300,
            only: Vec::new(),
            stdbox: built_stdbox(),
            mounts: 0,
            mounts_at: PathBuf::from("/mnt"),
            json: None,
        };
        while let Some(option) = words.next() {
            let option = option.to_string_lossy().into_owned();
            let mut value = || {
                words
                    .next()
                    .ok_or_else(|| format!("{option} needs a value"))
            };
            match option.as_str() {
                "-n" => arguments.runs = number(&option, &value()?)?.max(1),
                "--only" => arguments.only = names(&value()?)?,
                "--stdbox" => arguments.stdbox = resolved(&value()?)?,
                "--mounts" => arguments.mounts = number(&option, &value()?)?,
                "--mounts-at" => arguments.mounts_at = resolved(&value()?)?,
                "--json" => arguments.json = Some(resolved(&value()?)?),
                _ => return Err(format!("{option} is not an option")),
            }
        }
        Ok(arguments)
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }
}

fn built_stdbox() -> PathBuf {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("/"));
    repository
        .join("target")
        .join(target)
        .join("release/stdbox")
}

fn number(option: &str, value: &OsString) -> Result<usize, String> {
    let value = value.to_string_lossy();
    value
        .parse()
        .map_err(|_| format!("{option} {value}: not a number"))
}

fn names(value: &OsString) -> Result<Vec<String>, String> {
    let names: Vec<String> = value
        .to_string_lossy()
        .split(',')
        .map(str::to_owned)
        .collect();
    match names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        Some(name) => Err(format!("--only {name}: no launcher of that name")),
        None => Ok(names),
    }
}

/// Made absolute at once, because the working directory changes before the path is used.
fn resolved(value: &OsString) -> Result<PathBuf, String> {
    absolute(value).map_err(|why| format!("{}: {why}", value.display()))
}
