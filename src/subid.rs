//! Ranges of ids: what /etc/subuid, /etc/subgid and the id maps in /proc say. Ring 0.

/// Consecutive ids. The last one is never 2^32-1, which is no id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct IdRange {
    /// The first one.
    pub first: u32,
    /// How many; at least one.
    pub count: u32,
}

impl IdRange {
    /// As much of it as there are ids for; `None` if that is nothing.
    #[must_use]
    pub fn new(first: u64, count: u64) -> Option<Self> {
        let first = u32::try_from(first).ok()?;
        let count = count.min(u64::from(u32::MAX - first));
        let count = u32::try_from(count).ok().filter(|&count| count > 0)?;
        Some(Self { first, count })
    }

    /// The id after the last one.
    #[must_use]
    pub const fn end(self) -> u32 {
        self.first + self.count
    }

    /// Whether an id is one of them.
    #[must_use]
    pub const fn contains(self, id: u32) -> bool {
        self.first <= id && id < self.end()
    }
}

fn decimal(field: &[u8]) -> Option<u64> {
    let digits = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(field)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

/// The ranges that a file in the form of subuid(5) gives to a user, by name or by number, in the file's order. As for
/// newuidmap(1), a line of another form means nothing.
#[must_use]
pub fn subordinate(file: &[u8], name: Option<&[u8]>, uid: u32) -> Vec<IdRange> {
    let uid = uid.to_string();
    let range = |line: &[u8]| {
        let mut fields = line.split(|&b| b == b':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let theirs = Some(owner) != name && owner != uid.as_bytes();
        if theirs || owner.is_empty() || fields.next().is_some() {
            return None;
        }
        IdRange::new(decimal(first)?, decimal(count)?)
    };
    file.split(|&b| b == b'\n').filter_map(range).collect()
}

/// The ids that exist in a user namespace, out of its /proc/self/uid_map or gid_map.
#[must_use]
pub fn mapped(file: &[u8]) -> Vec<IdRange> {
    lines(file)
        .into_iter()
        .filter_map(|[inside, _, count]| IdRange::new(inside, count))
        .collect()
}

/// The lines of an id map, in order of the ids inside: inside, outside, count.
#[must_use]
pub fn lines(file: &[u8]) -> Vec<[u64; 3]> {
    let line = |line: &[u8]| {
        let mut numbers = line
            .split(|b| b.is_ascii_whitespace())
            .filter(|field| !field.is_empty())
            .map(decimal);
        Some([numbers.next()??, numbers.next()??, numbers.next()??])
    };
    let mut lines: Vec<_> = file.split(|&b| b == b'\n').filter_map(line).collect();
    lines.sort_unstable();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(file: &str) -> Vec<(u32, u32)> {
        let ranges = subordinate(file.as_bytes(), Some(b"alice"), 1000);
        ranges.iter().map(|r| (r.first, r.count)).collect()
    }

    #[test]
    fn subordinate_takes_lines_by_name_and_by_number() {
        let file = "bob:1:1\nalice:100000:65536\n1000:300000:10\n10000:5:5\nalicex:7:7\n";
        assert_eq!(pairs(file), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(subordinate(file.as_bytes(), None, 1000).len(), 1);
        assert_eq!(subordinate(b":1:1\n", Some(b""), 1000), []);
    }

    #[test]
    fn subordinate_passes_over_what_is_no_line() {
        for file in [
            "",
            "\n\n",
            "# alice:1:1",
            "alice",
            "alice:",
            "alice:1",
            "alice:1:",
            "alice::1",
            "alice:1:1:1",
            "alice:-1:5",
            "alice:+1:5",
            "alice: 1:5",
            "alice:0x10:5",
            "alice:1:0",
            "alice:1:1x",
            "alice:\u{661}:5",
            " alice:1:1",
            "alice:4294967295:1",
            "alice:99999999999:1",
            "alice:99999999999999999999999:1",
            "alice:1:99999999999999999999999",
        ] {
            assert_eq!(pairs(file), [], "{file:?}");
        }
        assert_eq!(pairs("alice:7:1"), [(7, 1)]);
        assert_eq!(pairs("\0\nalice:7:1\n\u{fffd}:"), [(7, 1)]);
        assert_eq!(
            subordinate(b"\xff\xfe\nalice:7:1\n", Some(b"alice"), 0).len(),
            1
        );
    }

    #[test]
    fn subordinate_ends_where_ids_end() {
        assert_eq!(pairs("alice:4294967290:100"), [(4_294_967_290, 5)]);
        assert_eq!(pairs("alice:0:4294967296"), [(0, u32::MAX)]);
    }

    #[test]
    fn mapped_reads_the_kernels_table() {
        assert_eq!(
            mapped(b"         0          0 4294967295\n"),
            [IdRange {
                first: 0,
                count: u32::MAX
            }]
        );
        let two = mapped(b"      1000       1001          1\n         0     100000       1000\n");
        assert_eq!(
            two,
            [
                IdRange {
                    first: 0,
                    count: 1000
                },
                IdRange {
                    first: 1000,
                    count: 1
                }
            ]
        );
        assert_eq!(mapped(b""), []);
    }
}
