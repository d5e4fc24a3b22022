//! Checked byte strings. Ring 0.
//!
//! What is checked here once (no NUL, absolute, no `..`) is never checked again: the values keep their terminating NUL, so
//! that the child hands them to the kernel without a copy and without a way to fail.

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::borrow::Borrow;
use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fmt;
use std::rc::Rc;

/// A byte string as the protocol writes it: a JSON string, or `{"base64":"…"}` where it is not UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Text(pub Vec<u8>);

impl Text {
    /// The text as it is shown to people: invalid UTF-8 replaced.
    #[must_use]
    pub fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&CStr> for Text {
    fn from(bytes: &CStr) -> Self {
        Self(bytes.to_bytes().to_vec())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or {\"base64\":\"…\"}")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Text, E> {
                Ok(Text(v.as_bytes().to_vec()))
            }
            fn visit_string<E: de::Error>(self, v: String) -> Result<Text, E> {
                Ok(Text(v.into_bytes()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                let mut bytes = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "base64" {
                        return Err(de::Error::unknown_field(&key, &["base64"]));
                    }
                    bytes = Some(map.next_value::<Base64>()?.0);
                }
                bytes
                    .map(Text)
                    .ok_or_else(|| de::Error::missing_field("base64"))
            }
        }
        from.deserialize_any(V)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return to.serialize_str(text);
        }
        let mut map = to.serialize_map(Some(1))?;
        map.serialize_entry("base64", &base64_encode(&self.0))?;
        map.end()
    }
}

/// What may be large, and is held in one place: the job, the plan and whoever writes it have it together, until one of them
/// forgets it for all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contents(Rc<RefCell<Vec<u8>>>);

impl Contents {
    /// The bytes, as long as they are looked at.
    #[must_use]
    pub fn get(&self) -> Ref<'_, Vec<u8>> {
        RefCell::borrow(&self.0)
    }

    /// Gives the memory back.
    pub fn forget(&self) {
        self.0.take();
    }
}

impl From<Vec<u8>> for Contents {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Rc::new(RefCell::new(bytes)))
    }
}

/// Bytes written in base64 (RFC 4648 section 4, with padding).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Base64(pub Vec<u8>);

/// How the message of a base64 error begins; the JSON reader turns it into the `bad-base64` code.
pub(crate) const BAD_BASE64: &str = "bad base64: ";

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match base64_decode(text.as_bytes()) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(de::Error::custom(format_args!(
                "{BAD_BASE64}expected RFC 4648 base64 with padding and no line breaks"
            ))),
        }
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&base64_encode(&self.0))
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// So many characters of a text from outside are repeated in a message.
const QUOTED: usize = 80;

/// A text from outside in quotes, for a message: its beginning, if it is long.
#[must_use]
pub fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?} …", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// Encodes in base64 with padding.
#[must_use]
pub fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let sextet = usize::try_from(group >> (18 - 6 * i) & 63).unwrap_or(0);
            match ALPHABET.get(sextet) {
                Some(&letter) if i <= chunk.len() => out.push(char::from(letter)),
                _ => out.push('='),
            }
        }
    }
    out
}

/// Decodes base64 with padding; `None` where it is not canonical.
#[must_use]
pub fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let body = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 2);
    let (mut group, mut bits) = (0u32, 0u32);
    for &letter in body {
        let sextet = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        group = group << 6 | u32::from(sextet);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(group >> bits & 0xff).ok()?);
            group &= (1 << bits) - 1;
        }
    }
    // Left-over bits must be zero, else two texts would stand for the same bytes.
    (group == 0).then_some(out)
}

/// An absolute path without `.`, `..`, repeated or trailing slashes, and without NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbsPath(CString);

/// Paths are in the order of their bytes, so that one can be found without being made first.
impl Borrow<[u8]> for AbsPath {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

/// The bytes of the path above one, which ends nowhere else than at a slash; none above `/`.
fn above(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|&b| b == b'/')?;
    if path.len() == 1 {
        return None;
    }
    path.get(..slash.max(1))
}

/// Why bytes are not an [`AbsPath`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathFault {
    /// It has no bytes.
    Empty,
    /// It holds a NUL byte.
    Nul,
    /// It does not begin with a slash.
    NotAbsolute,
    /// It has a `..` component.
    Parent,
    /// It is longer than the kernel takes (4095 bytes, or 255 for one component).
    TooLong,
}

impl AbsPath {
    /// Checks and normalises a path.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(bytes: &[u8]) -> Result<Self, PathFault> {
        if bytes.is_empty() {
            return Err(PathFault::Empty);
        }
        if bytes.contains(&0) {
            return Err(PathFault::Nul);
        }
        if bytes.first() != Some(&b'/') {
            return Err(PathFault::NotAbsolute);
        }
        let mut normal = Vec::with_capacity(bytes.len() + 1);
        for part in bytes.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(PathFault::Parent),
                _ if part.len() > 255 => return Err(PathFault::TooLong),
                _ => {
                    normal.push(b'/');
                    normal.extend_from_slice(part);
                }
            }
        }
        if normal.is_empty() {
            normal.push(b'/');
        }
        if normal.len() > 4095 {
            return Err(PathFault::TooLong);
        }
        CString::new(normal).map(Self).map_err(|_| PathFault::Nul)
    }

    /// A path known at compile time, which must be normal.
    #[must_use]
    pub fn fixed(path: &'static str) -> Self {
        let fixed = Self::of(&[path.as_bytes()]).unwrap_or_else(Self::root);
        debug_assert_eq!(Self::new(path.as_bytes()).as_ref(), Ok(&fixed));
        fixed
    }

    /// The parts of a path that is known to be a normal one when they stand together. Planning makes hundreds of them, in
    /// memory that is as large as it has to be.
    fn of(parts: &[&[u8]]) -> Option<Self> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(length + 1);
        for part in parts {
            bytes.extend_from_slice(part);
        }
        CString::new(bytes).ok().map(Self)
    }

    /// `/`.
    #[must_use]
    pub fn root() -> Self {
        Self(c"/".to_owned())
    }

    /// The bytes, without the terminator.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.to_bytes()
    }

    /// The terminated string that goes to the kernel.
    #[must_use]
    pub fn as_cstr(&self) -> &CStr {
        &self.0
    }

    /// The path relative to `/`, as system calls with a directory descriptor take it: `.` for the root itself.
    #[must_use]
    pub fn relative(&self) -> CString {
        let bytes = self.bytes().strip_prefix(b"/").unwrap_or(b"");
        let bytes = if bytes.is_empty() {
            b".".as_slice()
        } else {
            bytes
        };
        CString::new(bytes).unwrap_or_default()
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.bytes() == b"/"
    }

    /// Whether `self` is `other` or one of its ancestors, by component.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        match other.bytes().strip_prefix(self.bytes()) {
            Some(rest) => self.is_root() || rest.is_empty() || rest.first() == Some(&b'/'),
            None => false,
        }
    }

    /// Whether `self` is a proper ancestor of `other`.
    #[must_use]
    pub fn is_above(&self, other: &Self) -> bool {
        self != other && self.contains(other)
    }

    /// The parent, unless this is `/`.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        Self::of(&[above(self.bytes())?])
    }

    /// The entry of this path, or else that of the closest one above it.
    #[must_use]
    pub fn closest<'a, T>(&self, entries: &'a BTreeMap<Self, T>) -> Option<(&'a Self, &'a T)> {
        let mut at = self.bytes();
        loop {
            let found = entries.get_key_value(at);
            if found.is_some() {
                return found;
            }
            at = above(at)?;
        }
    }

    /// The last component; empty for `/`.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.bytes().rsplit(|&b| b == b'/').next().unwrap_or(b"")
    }

    /// This path with one component added. The name must be one component, as directory listings give it.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let above = if self.is_root() { b"" } else { self.bytes() };
        Self::of(&[above, b"/", name]).unwrap_or_else(|| self.clone())
    }

    /// This path with bytes added to its last component.
    #[must_use]
    pub fn with_suffix(&self, suffix: &[u8]) -> Self {
        Self::of(&[self.bytes(), suffix]).unwrap_or_else(|| self.clone())
    }

    /// What follows `self` in a path that it contains, without a leading slash; empty for the path itself.
    #[must_use]
    pub fn rest_of<'a>(&self, path: &'a Self) -> &'a [u8] {
        let rest = path.bytes().get(self.bytes().len()..).unwrap_or(b"");
        if self.is_root() {
            path.bytes().get(1..).unwrap_or(b"")
        } else {
            rest.strip_prefix(b"/").unwrap_or(rest)
        }
    }

    /// This path below another root: `/a` below `/img` is `/img/a`.
    #[must_use]
    pub fn below(&self, root: &Self) -> Self {
        if self.is_root() {
            return root.clone();
        }
        if root.is_root() {
            return self.clone();
        }
        Self::of(&[root.bytes(), self.bytes()]).unwrap_or_else(|| self.clone())
    }

    /// This path followed by what [`AbsPath::rest_of`] gives.
    #[must_use]
    pub fn descend(&self, rest: &[u8]) -> Self {
        if rest.is_empty() {
            self.clone()
        } else {
            self.join(rest)
        }
    }

    /// For messages: invalid UTF-8 replaced.
    #[must_use]
    pub fn lossy(&self) -> std::borrow::Cow<'_, str> {
        self.0.to_string_lossy()
    }
}

impl fmt::Debug for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.lossy())
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

    #[test]
    fn quote_is_short() {
        assert_eq!(quote("a\"b"), r#""a\"b""#);
        assert_eq!(quote(&"é".repeat(80)), format!("\"{}\"", "é".repeat(80)));
        let long = quote(&"é".repeat(1_000_000));
        assert_eq!(long, format!("\"{}\" …", "é".repeat(80)));
    }

    #[test]
    fn base64_every_length_survives_a_round_trip() {
        for length in 0..70u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37)).collect();
            assert_eq!(base64_decode(base64_encode(&bytes).as_bytes()), Some(bytes));
        }
        assert_eq!(base64_encode(b"foob"), "Zm9vYg==");
    }

    #[test]
    fn base64_non_canonical_text_is_refused() {
        for bad in [
            "A", "AA", "AAA", "A===", "====", "Zh==", "Z m8", "Zm9v\n", "Zm9vYg=A",
        ] {
            assert_eq!(base64_decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn path_is_normalised_by_component() {
        let path = AbsPath::new(b"//a/./b///c/").unwrap();
        assert_eq!(path.bytes(), b"/a/b/c");
        assert_eq!(path.parent().unwrap().bytes(), b"/a/b");
        assert_eq!(AbsPath::new(b"/a").unwrap().parent(), Some(AbsPath::root()));
        assert_eq!(AbsPath::new(b"/./").unwrap(), AbsPath::root());
        assert_eq!(AbsPath::root().relative().as_bytes(), b".");
    }

    #[test]
    fn path_containment_respects_component_borders() {
        let foo = AbsPath::fixed("/foo");
        assert!(foo.contains(&AbsPath::fixed("/foo/bar")));
        assert!(!foo.contains(&AbsPath::fixed("/foobar")));
        assert!(AbsPath::root().is_above(&foo));
        assert!(!foo.is_above(&foo));
    }

    #[test]
    fn path_closest_entry_is_its_own_or_the_next_above() {
        let entries: BTreeMap<AbsPath, u8> = [("/", 0), ("/a", 1), ("/a-b", 2), ("/a/b/c", 3)]
            .map(|(path, value)| (AbsPath::fixed(path), value))
            .into();
        for (path, value) in [
            ("/", 0),
            ("/a", 1),
            ("/a/b", 1),
            ("/a-b/c", 2),
            ("/a/b/c", 3),
            ("/a/b/cd", 1),
            ("/ab", 0),
        ] {
            let found = AbsPath::fixed(path).closest(&entries);
            assert_eq!(found.map(|(_, value)| *value), Some(value), "{path}");
        }
        let below: BTreeMap<AbsPath, u8> = [(AbsPath::fixed("/a/b"), 1)].into();
        assert_eq!(AbsPath::fixed("/a").closest(&below), None);
        assert_eq!(AbsPath::root().parent(), None);
        assert_eq!(AbsPath::fixed("/a").parent(), Some(AbsPath::root()));
        assert_eq!(AbsPath::fixed("/a/b").parent(), Some(AbsPath::fixed("/a")));
    }

    #[test]
    fn path_faults_are_told_apart() {
        assert_eq!(AbsPath::new(b""), Err(PathFault::Empty));
        assert_eq!(AbsPath::new(b"a"), Err(PathFault::NotAbsolute));
        assert_eq!(AbsPath::new(b"/a/../b"), Err(PathFault::Parent));
        assert_eq!(AbsPath::new(b"/a\0"), Err(PathFault::Nul));
        assert_eq!(
            AbsPath::new(&[b"/".as_slice(), &[b'x'; 256]].concat()),
            Err(PathFault::TooLong)
        );
    }
}
