//! Results for programs.

use std::fmt::{self, Display, Formatter, Write};
use std::path::Path;

/// A value.
#[derive(Clone, Debug)]
pub enum Json {
    /// Not measured.
    Null,
    /// Yes.
    True,
    /// A number; one that is not finite becomes null.
    Number(f64),
    /// A count.
    Count(u64),
    /// Text.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    /// Writes it where `--json` says, if anywhere.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: Option<&Path>) -> Result<(), String> {
        let Some(path) = path else {
            return Ok(());
        };
        std::fs::write(path, format!("{self}\n"))
            .map_err(|why| format!("{}: {why}", path.display()))
    }
}

impl From<f64> for Json {
    fn from(number: f64) -> Json {
        Json::Number(number)
    }
}

impl From<Option<f64>> for Json {
    fn from(number: Option<f64>) -> Json {
        number.map_or(Json::Null, Json::Number)
    }
}

impl From<u64> for Json {
    fn from(count: u64) -> Json {
        Json::Count(count)
    }
}

impl From<Option<u64>> for Json {
    fn from(count: Option<u64>) -> Json {
        count.map_or(Json::Null, Json::Count)
    }
}

impl From<usize> for Json {
    fn from(count: usize) -> Json {
        Json::Count(count as u64)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl<T: Into<Json>> FromIterator<T> for Json {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Json {
        Json::List(items.into_iter().map(Into::into).collect())
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Json::Number(number) if number.is_finite() => write!(f, "{number}"),
            Json::Null | Json::Number(_) => f.write_str("null"),
            Json::True => f.write_str("true"),
            Json::Count(count) => write!(f, "{count}"),
            Json::Text(text) => quoted(f, text),
            Json::List(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { "," })?;
                }
                f.write_char(']')
            }
            Json::Object(fields) => {
                f.write_char('{')?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    quoted(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            _ if character.is_control() => write!(f, "\\u{:04x}", u32::from(character))?,
            _ => f.write_char(character)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_is_written_with_all_kinds_of_values() {
        let list: Json = [1.5, f64::NAN].into_iter().collect();
        let object = Json::Object(vec![
            ("text", "a \"b\"\n\\".into()),
            ("list", list),
            ("count", 7_usize.into()),
            ("none", None::<f64>.into()),
            ("yes", Json::True),
        ]);
        let expected =
            r#"{"text":"a \"b\"\u000a\\","list":[1.5,null],"count":7,"none":null,"yes":true}"#;
        assert_eq!(object.to_string(), expected);
    }
}
