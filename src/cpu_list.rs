//! Lists of processors as the kernel writes them: `0-3,8`. Ring 0.
//!
//! # References
//! cpuset(7), "List format"

use std::fmt;

/// No machine has a processor with this number: CONFIG_NR_CPUS has a smaller bound on every architecture.
const MOST: u32 = 1 << 16;

/// Ranges of processor numbers, in order, with a gap between each and the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuList(Vec<(u32, u32)>);

impl CpuList {
    /// Reads numbers and ranges in any order, as long as there is at least one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            digits
                .parse::<u32>()
                .ok()
                .filter(|&number| plain && number < MOST)
        };
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            ranges.push((first, last));
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= *end + 1 => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Some(Self(merged))
    }

    /// How many processors there are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn cpu_list_is_written_as_the_kernel_does() {
        for (given, written, count) in [
            ("0", "0", 1),
            ("3,1,2", "1-3", 3),
            ("0-3,8,10-11", "0-3,8,10-11", 7),
            ("8-9,0-9", "0-9", 10),
            ("0007", "7", 1),
        ] {
            let list = CpuList::parse(given).unwrap();
            assert_eq!((list.to_string().as_str(), list.count()), (written, count));
        }
    }

    #[test]
    fn cpu_list_of_another_form_is_none() {
        for given in [
            "",
            ",",
            "1,",
            "-1",
            "1-",
            "3-1",
            "+1",
            "a",
            "1 2",
            "0-65536",
            "99999999999",
        ] {
            assert_eq!(CpuList::parse(given), None, "{given}");
        }
    }
}
