//! The system calls by name: their numbers in each ABI, and which arguments the kernel cuts short. Ring 0.
//!
//! `calls.txt` has one line for each name, sorted: the name; its numbers on x86_64, on x86, on aarch64 and on arm, `-` where it
//! does not exist there; and one letter for each argument of the 64-bit call up to the last short one: `w` where the kernel
//! looks at 32 bits only, `h` where it looks at 16, `l` where at all. Numbers are those of the kernel's
//! arch/*/syscall*.tbl up to Linux 6.18, argument types those of its SYSCALL_DEFINE lines, as tracefs shows them in
//! events/syscalls/*/format, but that some are declared long and then taken as an `int`: descriptors of readv(2) and its kin
//! and of mmap(2), the process of ptrace(2), the flags of clone(2), the policy of mbind(2). `tests/filter/table.rs` compares
//! all of it with the machine's own headers and kernel.

/// How much of an argument the kernel looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Width {
    /// 16 bits: the kernel's `umode_t`.
    Half,
    /// 32 bits: `int`, `unsigned int` and what is defined as such.
    Word,
    /// All 64.
    Long,
}

/// A column of numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    /// x86_64, without x32.
    X86_64,
    /// The 32-bit ABI of x86.
    X86,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm (EABI).
    Arm,
}

impl Column {
    const fn index(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X86 => 1,
            Self::Aarch64 => 2,
            Self::Arm => 3,
        }
    }
}

/// A system call of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Call(u16);

/// One line of the table.
#[derive(Clone, Copy)]
struct Line {
    /// Where its name stands in the text: there are no pointers, which would have to be relocated at every start.
    name: (u16, u16),
    /// [`NONE`] where there is none.
    numbers: [u32; 4],
    widths: [Width; 6],
}

const NONE: u32 = u32::MAX;

impl Call {
    /// The call of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut slot = hash(name.as_bytes()) % SLOTS;
        loop {
            let call = Self(*INDEX.get(slot)?);
            call.line()?;
            if call.name() == name {
                return Some(call);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// All calls, sorted by name.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..u16::MAX).take(COUNT).map(Self)
    }

    fn line(self) -> Option<&'static Line> {
        LINES.get(usize::from(self.0))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let (start, end) = self.line().map_or((0, 0), |line| line.name);
        TEXT.get(usize::from(start)..usize::from(end))
            .unwrap_or_default()
    }

    /// Its number in an ABI.
    #[must_use]
    pub fn number(self, column: Column) -> Option<u32> {
        let number = self.line()?.numbers.get(column.index()).copied();
        number.filter(|number| *number != NONE)
    }

    /// How much of an argument the 64-bit call looks at.
    #[must_use]
    pub fn width(self, argument: u8) -> Width {
        let line = self.line();
        let width = line.and_then(|line| line.widths.get(usize::from(argument)));
        width.copied().unwrap_or(Width::Long)
    }

    /// How much the call of the 32-bit ABI looks at: registers have no more than 32 bits there, and ids have 16, but in the
    /// calls whose names end with "32".
    #[must_use]
    pub fn compat_width(self, argument: u8) -> Width {
        let id = OLD_IDS.contains(&self.name()) && (self.name(), argument) != DESCRIPTOR;
        match self.width(argument) {
            Width::Word if id => Width::Half,
            width => width.min(Width::Word),
        }
    }
}

/// Calls that take the kernel's `old_uid_t` and `old_gid_t` in the 32-bit ABIs of x86 and arm, in every short argument but one.
const OLD_IDS: [&str; 11] = [
    "chown",
    "fchown",
    "lchown",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setuid",
];

const DESCRIPTOR: (&str, u8) = ("fchown", 0);

// What follows is evaluated by the compiler, so that no job pays for it.

const TEXT: &str = include_str!("calls.txt");

const COUNT: usize = count(TEXT.as_bytes());

static LINES: [Line; COUNT] = read(TEXT.as_bytes());

/// Open addressing with room to spare: an unused slot, which ends a search, holds [`COUNT`].
const SLOTS: usize = 2048;

static INDEX: [u16; SLOTS] = index(TEXT.as_bytes(), &read(TEXT.as_bytes()));

/// FNV-1a, which is plenty for some hundred names that are known.
const fn hash(name: &[u8]) -> usize {
    let (mut hash, mut rest) = (0x811c_9dc5_u32, name);
    while let [first, after @ ..] = rest {
        hash = (hash ^ *first as u32).wrapping_mul(0x0100_0193);
        rest = after;
    }
    hash as usize
}

const fn count(text: &[u8]) -> usize {
    let (mut lines, mut rest) = (0, text);
    while let [first, after @ ..] = rest {
        if *first == b'\n' {
            lines += 1;
        }
        rest = after;
    }
    lines
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "a wrong text does not compile"
)]
const fn read(text: &[u8]) -> [Line; COUNT] {
    assert!(text.len() <= u16::MAX as usize);
    let mut lines = [Line {
        name: (0, 0),
        numbers: [NONE; 4],
        widths: [Width::Long; 6],
    }; COUNT];
    let (mut at, mut line) = (0, 0);
    while line < COUNT {
        let start = at;
        while text[at] != b' ' {
            at += 1;
        }
        lines[line].name = (start as u16, at as u16);
        let mut column = 0;
        while column < 4 {
            at += 1;
            if text[at] == b'-' {
                at += 1;
            } else {
                let mut number = 0;
                while text[at] != b' ' {
                    assert!(text[at].is_ascii_digit());
                    number = number * 10 + (text[at] - b'0') as u32;
                    at += 1;
                }
                lines[line].numbers[column] = number;
            }
            assert!(text[at] == b' ');
            column += 1;
        }
        at += 1;
        let mut argument = 0;
        while text[at] != b'\n' {
            lines[line].widths[argument] = match text[at] {
                b'h' => Width::Half,
                b'w' => Width::Word,
                b'l' | b'-' => Width::Long,
                _ => panic!("a width is h, w or l"),
            };
            argument += 1;
            at += 1;
        }
        at += 1;
        line += 1;
    }
    assert!(at == text.len());
    lines
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a wrong text does not compile"
)]
const fn index(text: &[u8], lines: &[Line; COUNT]) -> [u16; SLOTS] {
    let mut index = [COUNT as u16; SLOTS];
    let mut line = 0;
    while line < COUNT {
        let (start, end) = lines[line].name;
        let (before, _) = text.split_at(end as usize);
        let (_, name) = before.split_at(start as usize);
        let mut slot = hash(name) % SLOTS;
        while index[slot] != COUNT as u16 {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = line as u16;
        line += 1;
    }
    index
}
