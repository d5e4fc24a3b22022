//! What the command lines have in common.

use std::ffi::OsString;
use std::path::{Path, PathBuf, absolute};

/// The words after the program's name, one after the other.
#[derive(Debug)]
pub struct Words {
    rest: std::iter::Skip<std::env::ArgsOs>,
    option: String,
}

impl Default for Words {
    fn default() -> Words {
        Words {
            rest: std::env::args_os().skip(1),
            option: String::new(),
        }
    }
}

impl Words {
    /// The next option.
    pub fn option(&mut self) -> Option<String> {
        let option = self.rest.next()?.to_string_lossy().into_owned();
        self.option.clone_from(&option);
        Some(option)
    }

    fn value(&mut self) -> Result<OsString, String> {
        let value = self.rest.next();
        value.ok_or_else(|| format!("{} needs a value", self.option))
    }

    /// The option's value, as text.
    ///
    /// # Errors
    /// There is none.
    pub fn text(&mut self) -> Result<String, String> {
        Ok(self.value()?.to_string_lossy().into_owned())
    }

    /// The option's value, as a number.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&mut self) -> Result<usize, String> {
        let text = self.text()?;
        text.parse()
            .map_err(|_| format!("{} {text}: not a number", self.option))
    }

    /// The option's value, as numbers between commas.
    ///
    /// # Errors
    /// One is none.
    pub fn numbers(&mut self) -> Result<Vec<usize>, String> {
        let text = self.text()?;
        let numbers: Result<_, _> = text.split(',').map(str::parse).collect();
        numbers.map_err(|_| format!("{} {text}: not numbers", self.option))
    }

    /// The option's value, as a path. Made absolute at once, because the working directory changes before it is used.
    ///
    /// # Errors
    /// It is empty, or the working directory is gone.
    pub fn path(&mut self) -> Result<PathBuf, String> {
        let value = self.value()?;
        absolute(&value).map_err(|why| format!("{}: {why}", value.display()))
    }

    /// The option's value, as some of these names.
    ///
    /// # Errors
    /// One is of none of them.
    pub fn names(&mut self, known: &[&str]) -> Result<Vec<String>, String> {
        let names: Vec<String> = self.text()?.split(',').map(str::to_owned).collect();
        match names.iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(format!(
                "{} {name}: it is {}",
                self.option,
                known.join(", ")
            )),
            None => Ok(names),
        }
    }

    /// The option is of no use here.
    #[must_use]
    pub fn unknown(&self) -> String {
        format!("{} is not an option", self.option)
    }
}

/// The release build of this repository.
#[must_use]
pub fn built_stdbox() -> PathBuf {
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

/// A program of this workspace, which lies beside the one that runs.
///
/// # Errors
/// It is not known where that is.
pub fn beside(name: &str) -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}
