//! JSON text → [`Value`] → typed structures, with the place of every error. Ring 0.
//!
//! serde_json reads the text; the tree between it and the `serde` mirror in `spec.rs` exists for three things that a direct
//! reading cannot give: duplicate keys are refused in maps too, the depth is bounded, and an error knows its JSON pointer.

pub(crate) mod convert;
mod names;

use crate::problem::{Code, Problem, Stage};
use crate::spec::NULLABLE;
use crate::text::{BAD_BASE64, quote};
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use std::cell::RefCell;
use std::fmt;

/// The deepest nesting of arrays and objects that is read.
pub const MAX_DEPTH: usize = 64;

/// The longest input that is read.
pub const MAX_BYTES: usize = 16 << 20;

/// A JSON value; objects keep the order of their keys.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A whole number ≥ 0
    Unsigned(u64),
    /// A whole number < 0
    Signed(i64),
    /// Any other number
    Float(f64),
    /// A string
    String(String),
    /// An array
    List(Vec<Value>),
    /// An object
    Object(Vec<(String, Value)>),
}

/// Reads one JSON value that fills the input.
///
/// # Errors
/// `syntax`, `too-deep`, `too-large` or `duplicate-key`, with line and column or the JSON pointer.
pub fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(too_large());
    }
    let trouble = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Seed {
        depth: 0,
        trouble: &trouble,
    }
    .deserialize(&mut reader);
    let value = read.and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| match trouble.into_inner() {
        Some(Trouble {
            code,
            mut at,
            message,
        }) => {
            at.reverse();
            let mut problem = Problem::new(code, Stage::Parse, message);
            problem.at = Some(pointer(&at));
            problem
        }
        None => {
            let text = error.to_string();
            let what = text
                .split(" at line ")
                .next()
                .unwrap_or("invalid JSON")
                .to_owned();
            let hint = match what.as_str() {
                "trailing characters" => {
                    Some("Give one job alone; stdbox batch takes many, each on a line of its own.")
                }
                _ if bytes.trim_ascii().is_empty() => {
                    Some("It is empty; the shortest job is {\"argv\":[\"true\"]}.")
                }
                _ => None,
            };
            let (line, column) = (error.line(), error.column());
            let mut problem = Problem::new(
                Code::Syntax,
                Stage::Parse,
                format!("The input is not one JSON value: {what} (line {line}, column {column})."),
            );
            problem.hint = hint.map(str::to_owned);
            problem
        }
    })
}

/// The refusal of an input longer than [`MAX_BYTES`].
#[must_use]
pub fn too_large() -> Problem {
    Problem::new(
        Code::TooLarge,
        Stage::Parse,
        "The job is longer than 16 MiB.",
    )
    .hint("Pass large data to the target through a file or a descriptor (stdin: {\"file\":…}).")
}

struct Trouble {
    code: Code,
    /// Innermost segment first.
    at: Vec<String>,
    message: String,
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: usize,
    trouble: &'a RefCell<Option<Trouble>>,
}

impl Seed<'_> {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            let message = format!("The input is nested deeper than {MAX_DEPTH} levels.");
            *self.trouble.borrow_mut() = Some(Trouble {
                code: Code::TooDeep,
                at: Vec::new(),
                message,
            });
            return Err(E::custom("too deep"));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    fn passed(self, segment: &str) {
        if let Some(trouble) = self.trouble.borrow_mut().as_mut() {
            trouble.at.push(segment.to_owned());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Signed(v))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Float(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        loop {
            match seq.next_element_seed(inner) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Ok(Value::List(items)),
                Err(error) => {
                    self.passed(&items.len().to_string());
                    return Err(error);
                }
            }
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut entries: Vec<(String, Value)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match map.next_value_seed(inner) {
                Ok(value) => entries.push((key, value)),
                Err(error) => {
                    self.passed(&key);
                    return Err(error);
                }
            }
        }
        if let Some(key) = first_duplicate(&entries) {
            let message = format!("The key {} stands twice in one object.", quote(key));
            *self.trouble.borrow_mut() = Some(Trouble {
                code: Code::DuplicateKey,
                at: vec![key.to_owned()],
                message,
            });
            return Err(de::Error::custom("duplicate key"));
        }
        Ok(Value::Object(entries))
    }
}

fn first_duplicate(entries: &[(String, Value)]) -> Option<&str> {
    let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.windows(2)
        .find(|pair| pair.first() == pair.last())
        .and_then(|pair| pair.first().copied())
}

/// A JSON pointer (RFC 6901) out of its segments, outermost first; the empty pointer is the whole document.
#[must_use]
pub fn pointer(segments: &[String]) -> String {
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        text.push_str(&escape(segment));
    }
    text
}

/// A place in a job: its JSON pointer is written out only where something is wrong with it.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// One with this pointer.
    Whole(&'a str),
    /// An item of the array there.
    Item(&'a str, usize),
    /// What an object there has under this key.
    Key(&'a str, &'a str),
}

impl<'a> From<&'a str> for Place<'a> {
    fn from(pointer: &'a str) -> Self {
        Self::Whole(pointer)
    }
}

impl<'a> From<&'a String> for Place<'a> {
    fn from(pointer: &'a String) -> Self {
        Self::Whole(pointer)
    }
}

impl From<Place<'_>> for String {
    fn from(place: Place<'_>) -> Self {
        match place {
            Place::Whole(pointer) => pointer.to_owned(),
            Place::Item(pointer, index) => format!("{pointer}/{index}"),
            Place::Key(pointer, key) => format!("{pointer}/{}", escape(key)),
        }
    }
}

/// One segment of a JSON pointer, escaped.
#[must_use]
pub fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// Why a value does not have the shape of a type, and where. It is one pointer: most of the program hands it on.
#[derive(Debug)]
pub struct ShapeError(Box<Fault>);

#[derive(Debug)]
struct Fault {
    /// Innermost segment first.
    at: Vec<String>,
    code: Code,
    message: String,
    hint: Option<String>,
}

impl ShapeError {
    pub(crate) fn new(code: Code, message: String) -> Self {
        Self(Box::new(Fault {
            at: Vec::new(),
            code,
            message,
            hint: None,
        }))
    }

    fn hint(mut self, hint: Option<String>) -> Self {
        self.0.hint = hint;
        self
    }

    pub(crate) fn inside(mut self, segment: &str) -> Self {
        self.0.at.push(segment.to_owned());
        self
    }
}

impl From<ShapeError> for Problem {
    fn from(ShapeError(mut fault): ShapeError) -> Self {
        fault.at.reverse();
        let at = pointer(&fault.at);
        // Without a command there is no default.
        let weak = |hint: &String| hint.starts_with(names::FIELDS) || at == "/argv";
        let hint = match fault.hint {
            Some(hint) if !weak(&hint) => Some(hint),
            hint => names::other_form(&at, fault.code).map_or(hint, |other| Some(other.to_owned())),
        };
        let mut problem = Self::at(fault.code, at, fault.message);
        problem.hint = hint;
        problem
    }
}

const WHOLE: &str = "a whole number that is not negative and not too large";

/// The least whole number without a sign that 64 bits do not hold; one with a sign is refused long before it.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// What a type expects, in the terms of JSON.
fn wanted(expected: &dyn de::Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u64" | "u32" => WHOLE.to_owned(),
        "f64" => "a number".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "an object".to_owned(),
        "a boolean" => "true or false".to_owned(),
        _ => text,
    }
}

/// What stands there, in the terms of JSON.
fn seen(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Unit => "null".to_owned(),
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => format!("{number:?}"),
        Unexpected::Seq => "an array".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        Unexpected::Str(text) => format!("the string {}", quote(text)),
        other => other.to_string(),
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ShapeError {}

impl de::Error for ShapeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        match text.strip_prefix(BAD_BASE64) {
            Some(rest) => Self::new(Code::BadBase64, format!("This is not base64: {rest}.")),
            None => Self::new(Code::WrongType, text),
        }
    }
    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = wanted(expected);
        let (code, hint) = match found {
            Unexpected::Unit => (
                Code::WrongType,
                Some("Leave the field out to get its default."),
            ),
            // What has more digits than 64 bits hold is read as a decimal.
            Unexpected::Float(number) if expected == WHOLE && number.abs() >= BEYOND => {
                (Code::OutOfRange, None)
            }
            Unexpected::Float(_) if expected == WHOLE => (
                Code::WrongType,
                Some("Write it without a fraction and without an exponent."),
            ),
            Unexpected::Str(_) if expected == WHOLE => (
                Code::WrongType,
                Some("Write the number alone, without quotes and without a unit."),
            ),
            _ => (Code::WrongType, None),
        };
        let message = format!("Expected {expected}, found {}.", seen(found));
        Self::new(code, message).hint(hint.map(str::to_owned))
    }
    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = wanted(expected);
        Self::new(
            Code::OutOfRange,
            format!("Expected {expected}, found {}.", seen(found)),
        )
    }
    fn invalid_length(found: usize, expected: &dyn de::Expected) -> Self {
        Self::new(
            Code::WrongType,
            format!("Expected {expected}, found {found} elements."),
        )
    }
    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let message = format!("{} is not one of {}.", quote(found), list(expected));
        Self::new(Code::UnknownValue, message).hint(names::suggest(found, expected))
    }
    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Self {
        let hint = names::suggest(found, expected)
            .or_else(|| Some(format!("{} {}.", names::FIELDS, list(expected))));
        let message = format!("There is no field {} here.", quote(found));
        let error = Self::new(Code::UnknownField, message).hint(hint);
        error.inside(found)
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(
            Code::MissingField,
            format!("The field {field:?} is missing."),
        )
        .inside(field)
    }
}

fn list(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("{word:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Value {
    /// Reads the value as a type of `spec.rs`.
    ///
    /// # Errors
    /// The first place where the shape is another.
    pub fn read<'de, T: de::Deserialize<'de>>(self) -> Result<T, ShapeError> {
        T::deserialize(self)
    }

    /// Takes out the fields that are null; the depth is bounded by [`parse`].
    fn drop_nulls(&mut self) {
        match self {
            Self::Object(entries) => {
                entries.retain(|(_, value)| *value != Self::Null);
                entries.iter_mut().for_each(|(_, value)| value.drop_nulls());
            }
            Self::List(items) => items.iter_mut().for_each(Self::drop_nulls),
            _ => {}
        }
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Self::Null => Unexpected::Unit,
            Self::Bool(v) => Unexpected::Bool(*v),
            Self::Unsigned(v) => Unexpected::Unsigned(*v),
            Self::Signed(v) => Unexpected::Signed(*v),
            Self::Float(v) => Unexpected::Float(*v),
            Self::String(v) => Unexpected::Str(v),
            Self::List(_) => Unexpected::Seq,
            Self::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> IntoDeserializer<'de, ShapeError> for Value {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = ShapeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match self {
            // No field takes null: whoever wants the default leaves the field out.
            Self::Null => Err(de::Error::invalid_type(Unexpected::Unit, &visitor)),
            Self::Bool(v) => visitor.visit_bool(v),
            Self::Unsigned(v) => visitor.visit_u64(v),
            Self::Signed(v) => visitor.visit_i64(v),
            Self::Float(v) => visitor.visit_f64(v),
            Self::String(v) => visitor.visit_string(v),
            Self::List(items) => visitor.visit_seq(Items {
                items: items.into_iter(),
                index: 0,
            }),
            Self::Object(entries) => visitor.visit_map(Entries {
                entries: entries.into_iter(),
                current: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        if name == NULLABLE {
            self.drop_nulls();
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        match self {
            Self::String(word) => visitor.visit_enum(word.into_deserializer()),
            other => {
                let one = format!("one of {}", list(words));
                Err(de::Error::invalid_type(other.unexpected(), &one.as_str()))
            }
        }
    }

    /// Not in any order of its fields either: an array is no object.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        match self {
            Self::Object(_) => self.deserialize_any(visitor),
            other => Err(de::Error::invalid_type(other.unexpected(), &"an object")),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items {
    items: std::vec::IntoIter<Value>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = ShapeError;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ShapeError> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        seed.deserialize(item)
            .map(Some)
            .map_err(|error| error.inside(&index.to_string()))
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries {
    entries: std::vec::IntoIter<(String, Value)>,
    current: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = ShapeError;
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ShapeError> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(key.as_str().into_deserializer()).map(Some);
        self.current = Some((key, value));
        read
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, ShapeError> {
        let (key, value) = self.current.take().unwrap_or((String::new(), Value::Null));
        seed.deserialize(value).map_err(|error| error.inside(&key))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        reason = "a test may stop at the first surprise"
    )]
    use super::*;

    fn refused(text: &str) -> Problem {
        parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn parse_trailing_bytes_are_refused_with_line_and_column() {
        let problem = refused("{}\n x");
        assert_eq!(problem.code, Code::Syntax);
        assert!(
            problem.message.contains("line 2, column 2"),
            "{}",
            problem.message
        );
        assert!(parse(b" {} \n\t").is_ok());
    }

    #[test]
    fn parse_duplicate_key_anywhere_is_refused_with_its_pointer() {
        let problem = refused(r#"{"a":[{"x/y":1,"b":2,"x/y":3}]}"#);
        assert_eq!(
            (problem.code, problem.at.as_deref()),
            (Code::DuplicateKey, Some("/a/0/x~1y"))
        );
    }

    #[test]
    fn parse_depth_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(refused(&nested(MAX_DEPTH + 1)).code, Code::TooDeep);
        assert_eq!(refused(&"[".repeat(1 << 20)).code, Code::TooDeep);
    }
}
