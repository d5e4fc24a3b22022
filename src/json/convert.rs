//! Types ⇄ [`Value`] by hand, for what is rarely written or read: the code that serde's macros make for it would be a tenth of
//! the program. Ring 0.

use super::{ShapeError, Value};
use crate::problem::Code;
use crate::text::{AbsPath, Text, base64_decode, base64_encode, quote};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeMap;

/// A type with a form in JSON.
pub(crate) trait Convert: Sized {
    /// Its form.
    fn to_value(&self) -> Value;

    /// The one of this form; the error says where the form is another.
    fn from_value(value: Value) -> Result<Self, ShapeError>;
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(v) => to.serialize_bool(*v),
            Self::Unsigned(v) => to.serialize_u64(*v),
            Self::Signed(v) => to.serialize_i64(*v),
            Self::Float(v) => to.serialize_f64(*v),
            Self::String(v) => to.serialize_str(v),
            Self::List(items) => to.collect_seq(items),
            Self::Object(entries) => {
                let mut map = to.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// What was expected is not there.
#[inline(never)]
fn wrong(expected: &str) -> ShapeError {
    ShapeError::new(Code::WrongType, format!("Expected {expected}."))
}

#[inline(never)]
fn list(value: Value) -> Result<Vec<Value>, ShapeError> {
    match value {
        Value::List(items) => Ok(items),
        _ => Err(wrong("an array")),
    }
}

#[inline(never)]
fn pair(value: Value) -> Result<[Value; 2], ShapeError> {
    <[Value; 2]>::try_from(list(value)?).map_err(|_| wrong("two of them"))
}

#[inline(never)]
fn inside_item(error: ShapeError, index: usize) -> ShapeError {
    error.inside(&index.to_string())
}

impl Convert for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        Ok(value)
    }
}

impl Convert for bool {
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        match value {
            Value::Bool(v) => Ok(v),
            _ => Err(wrong("true or false")),
        }
    }
}

impl Convert for i64 {
    fn to_value(&self) -> Value {
        u64::try_from(*self).map_or(Value::Signed(*self), Value::Unsigned)
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let number = match value {
            Value::Signed(v) => Some(v),
            Value::Unsigned(v) => Self::try_from(v).ok(),
            _ => None,
        };
        number.ok_or_else(|| wrong("a whole number"))
    }
}

impl Convert for u64 {
    fn to_value(&self) -> Value {
        Value::Unsigned(*self)
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        match value {
            Value::Unsigned(v) => Ok(v),
            _ => Err(wrong("a whole number that is not negative")),
        }
    }
}

impl Convert for u32 {
    fn to_value(&self) -> Value {
        Value::Unsigned((*self).into())
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let number = u64::from_value(value)?;
        Self::try_from(number).map_err(|_| wrong("a number below 2^32"))
    }
}

impl Convert for i32 {
    fn to_value(&self) -> Value {
        i64::from(*self).to_value()
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let number = i64::from_value(value)?;
        Self::try_from(number).map_err(|_| wrong("a number of 32 bits"))
    }
}

impl Convert for String {
    fn to_value(&self) -> Value {
        Value::String(self.clone())
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err(wrong("a string")),
        }
    }
}

impl Convert for Text {
    fn to_value(&self) -> Value {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => {
                let base64 = Value::String(base64_encode(&self.0));
                Value::Object(vec![("base64".to_owned(), base64)])
            }
        }
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        if let Value::String(text) = value {
            return Ok(Self(text.into_bytes()));
        }
        let mut fields = Fields::of(value)?;
        let base64: String = fields.need("base64")?;
        let bytes = base64_decode(base64.as_bytes()).ok_or_else(|| wrong("base64"))?;
        fields.end().map(|()| Self(bytes))
    }
}

impl Convert for AbsPath {
    fn to_value(&self) -> Value {
        Text::from(self.bytes()).to_value()
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let text = Text::from_value(value)?;
        Self::new(&text.0).map_err(|_| wrong("an absolute path without \"..\""))
    }
}

impl<T: Convert> Convert for Vec<T> {
    fn to_value(&self) -> Value {
        Value::List(self.iter().map(T::to_value).collect())
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let items = list(value)?;
        let mut all = Self::with_capacity(items.len());
        for (i, item) in items.into_iter().enumerate() {
            match T::from_value(item) {
                Ok(item) => all.push(item),
                Err(error) => return Err(inside_item(error, i)),
            }
        }
        Ok(all)
    }
}

impl<A: Convert, B: Convert> Convert for (A, B) {
    fn to_value(&self) -> Value {
        Value::List(vec![self.0.to_value(), self.1.to_value()])
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        let [first, second] = pair(value)?;
        let first = A::from_value(first).map_err(|error| inside_item(error, 0))?;
        let second = B::from_value(second).map_err(|error| inside_item(error, 1))?;
        Ok((first, second))
    }
}

impl<T: Convert + Clone> Convert for [T; 2] {
    fn to_value(&self) -> Value {
        self.to_vec().to_value()
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        Self::try_from(Vec::from_value(value)?).map_err(|_| wrong("two of them"))
    }
}

/// Keys are more than JSON's, so it is a list of pairs.
impl<K: Convert + Ord, V: Convert> Convert for BTreeMap<K, V> {
    fn to_value(&self) -> Value {
        let pair = |(key, value): (&K, &V)| Value::List(vec![key.to_value(), value.to_value()]);
        Value::List(self.iter().map(pair).collect())
    }
    fn from_value(value: Value) -> Result<Self, ShapeError> {
        Vec::<(K, V)>::from_value(value).map(Self::from_iter)
    }
}

/// An object that is being written or read. What is absent is not written.
#[derive(Default)]
pub(crate) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// The fields of an object.
    #[inline(never)]
    pub(crate) fn of(value: Value) -> Result<Self, ShapeError> {
        match value {
            Value::Object(entries) => Ok(Self(entries)),
            _ => Err(wrong("an object")),
        }
    }

    /// Adds a field.
    #[inline(never)]
    pub(crate) fn put(self, key: &str, field: &impl Convert) -> Self {
        self.value(key, field.to_value())
    }

    /// Adds a field, if there is one.
    pub(crate) fn put_some(self, key: &str, field: Option<&impl Convert>) -> Self {
        match field {
            Some(field) => self.put(key, field),
            None => self,
        }
    }

    /// Adds a field that is a value already.
    #[inline(never)]
    pub(crate) fn value(mut self, key: &str, value: Value) -> Self {
        self.0.push((key.to_owned(), value));
        self
    }

    /// The object.
    pub(crate) fn done(self) -> Value {
        Value::Object(self.0)
    }

    /// Takes a field, if it is there.
    #[inline(never)]
    pub(crate) fn take<T: Convert>(&mut self, key: &str) -> Result<Option<T>, ShapeError> {
        match self.pull(key) {
            None => Ok(None),
            Some(value) => match T::from_value(value) {
                Ok(field) => Ok(Some(field)),
                Err(error) => Err(error.inside(key)),
            },
        }
    }

    /// Takes a field that must be there.
    pub(crate) fn need<T: Convert>(&mut self, key: &str) -> Result<T, ShapeError> {
        match self.take(key) {
            Ok(Some(field)) => Ok(field),
            Ok(None) => Err(missing(key)),
            Err(error) => Err(error),
        }
    }

    #[inline(never)]
    fn pull(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Nothing may be left.
    #[inline(never)]
    pub(crate) fn end(self) -> Result<(), ShapeError> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => {
                let message = format!("There is no field {} here.", quote(key));
                Err(ShapeError::new(Code::UnknownField, message).inside(key))
            }
        }
    }
}

#[inline(never)]
fn missing(key: &str) -> ShapeError {
    ShapeError::new(Code::MissingField, format!("{key:?} is missing.")).inside(key)
}
