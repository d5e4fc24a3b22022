//! A stream → the lines of a batch: the same however it arrives, and those that splitting the whole would give. The first
//! bytes say in which parts it arrives.

use stdbox::lines::{Line, Lines};

pub fn run(data: &[u8]) {
    let (parts, stream) = data
        .split_first_chunk::<4>()
        .unwrap_or((&[0, 1, 2, 3], data));
    let mut expected = Vec::new();
    for (i, line) in stream.split(|&b| b == b'\n').enumerate() {
        if !line.iter().all(u8::is_ascii_whitespace) {
            expected.push(Line {
                number: u64::try_from(i).expect("small") + 1,
                bytes: Some(line.to_vec()),
            });
        }
    }
    let mut rest = stream;
    let mut lines = Lines::default();
    let mut found = Vec::new();
    let mut turn = 0;
    loop {
        let size = usize::from(parts[turn % 4] % 64) + 1;
        turn += 1;
        let (part, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        lines.add(part);
        // Who is busy takes them later.
        while turn % 3 != 0 || part.is_empty() {
            match lines.next_line() {
                Some(line) => found.push(line),
                None => break,
            }
        }
        assert_eq!(lines.ended(), part.is_empty());
        if part.is_empty() {
            break;
        }
    }
    assert_eq!(found, expected);
    assert_eq!(lines.next_line(), None);
}
