//! Verdicts as classic BPF programs (Documentation/userspace-api/seccomp_filter.rst). Ring 0.
//!
//! What a filter costs a job is mostly its attaching: the kernel then evaluates it once for every call number to cache the
//! verdicts that do not depend on arguments. So numbers are found through a tree of comparisons over ranges of neighbours
//! instead of a list.

use super::calls::Width;
use super::{Action, Condition, Test};

/// One instruction: `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the comparison holds.
    pub jt: u8,
    /// Instructions to skip if not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_ABOVE: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`; the low half of an argument comes first on the little-endian machines built for.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn low(argument: u8) -> u32 {
    16 + 8 * argument as u32
}
const fn high(argument: u8) -> u32 {
    low(argument) + 4
}

const fn op(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// What is decided about a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    /// The first of these whose conditions all hold.
    pub(super) cases: Vec<Case>,
    /// Else.
    pub(super) otherwise: Action,
}

/// Conditions and what follows from them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Case {
    /// All of them must hold.
    pub(super) conditions: Vec<(Condition, Width)>,
    /// What happens then.
    pub(super) action: Action,
}

impl Verdict {
    pub(super) fn always_lets_through(&self) -> bool {
        self.otherwise.lets_through() && self.cases.iter().all(|case| case.action.lets_through())
    }
}

impl From<Action> for Verdict {
    fn from(action: Action) -> Self {
        Self {
            cases: Vec::new(),
            otherwise: action,
        }
    }
}

/// What is decided about the calls of one ABI: the verdicts by their first number, from 0 on without gaps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Section {
    /// AUDIT_ARCH of the ABI.
    pub(super) architecture: u32,
    /// Ranges.
    pub(super) ranges: Vec<(u32, Verdict)>,
}

/// The whole program. Calls of an ABI without a section end the process.
pub(super) fn program(sections: &[Section]) -> Vec<Instruction> {
    let mut program = Backwards::default();
    let mut next = program.give(Action::KillProcess);
    // The first section, which is the native one, comes first.
    for section in sections.iter().rev() {
        let start = program.search(&section.ranges, NUMBERS);
        let start = program.load(NUMBER, u32::MAX, start);
        next = program.branch(JUMP_IF_EQUAL, section.architecture, start, next);
    }
    program.load(ARCHITECTURE, u32::MAX, next);
    program.code.reverse();
    program.code
}

/// Beyond the highest number of any system call, for weighing the last range.
const NUMBERS: u32 = 512;

/// More than so many single numbers are found sooner by halving.
const MOST_EXCEPTIONS: usize = 2;

/// A place in a program that is written from its end to its start: how many instructions stand behind it.
type Place = usize;

/// A program in reverse. Since a filter jumps forward only, every place to jump to is known when the jump is written, and code
/// that is the same can stand there once.
#[derive(Default)]
struct Backwards {
    code: Vec<Instruction>,
    /// Where these actions are returned, the nearest place.
    returns: Vec<(Action, Place)>,
    /// Where these verdicts are found, the nearest place.
    verdicts: Vec<(Verdict, Place)>,
}

/// Conditional jumps skip no more.
const REACH: usize = 255;

/// What lies farther away than this gets a nearer place before it is out of reach.
const NEAR: usize = 200;

impl Backwards {
    fn put(&mut self, instruction: Instruction) -> Place {
        self.code.push(instruction);
        self.code.len() - 1
    }

    /// How many instructions a jump at the next place has to skip.
    fn skip(&self, to: Place) -> usize {
        self.code.len() - to - 1
    }

    fn jump(&mut self, to: Place) -> Place {
        let skip = u32::try_from(self.skip(to)).unwrap_or(u32::MAX);
        self.put(op(JUMP, skip))
    }

    /// A comparison; a place out of its reach is reached by a jump right behind it.
    fn branch(&mut self, code: u16, k: u32, mut yes: Place, mut no: Place) -> Place {
        // The jump to the one may put the other out of reach.
        if self.skip(yes) >= REACH {
            yes = self.jump(yes);
        }
        if self.skip(no) > REACH {
            no = self.jump(no);
        }
        let near = |skip: usize| u8::try_from(skip).unwrap_or(u8::MAX);
        let (jt, jf) = (near(self.skip(yes)), near(self.skip(no)));
        self.put(Instruction { code, jt, jf, k })
    }

    /// Loads the bits of a mask of a word of the data, and goes on at a place.
    fn load(&mut self, offset: u32, mask: u32, next: Place) -> Place {
        if self.skip(next) > 0 {
            self.jump(next);
        }
        if mask != u32::MAX {
            self.put(op(AND, mask));
        }
        self.put(op(LOAD, offset))
    }

    fn give(&mut self, action: Action) -> Place {
        let known = self.returns.iter().position(|(known, _)| *known == action);
        match known.map(|index| self.returns.swap_remove(index)) {
            Some((_, place)) if self.skip(place) < NEAR => {
                self.returns.push((action, place));
                place
            }
            _ => {
                let place = self.put(op(RETURN, action.value()));
                self.returns.push((action, place));
                place
            }
        }
    }

    fn decide(&mut self, verdict: &Verdict) -> Place {
        if verdict.cases.is_empty() {
            return self.give(verdict.otherwise);
        }
        let known = self.verdicts.iter().position(|(known, _)| known == verdict);
        let place = match known.map(|index| self.verdicts.swap_remove(index)) {
            Some((_, place)) if self.skip(place) < NEAR => place,
            Some((_, place)) => self.jump(place),
            None => self.cases(verdict),
        };
        self.verdicts.push((verdict.clone(), place));
        place
    }

    fn cases(&mut self, verdict: &Verdict) -> Place {
        let mut next = self.give(verdict.otherwise);
        for (index, case) in verdict.cases.iter().enumerate().rev() {
            let mut earlier = verdict.cases.iter().take(index);
            if earlier.any(|earlier| earlier.conditions == case.conditions) {
                // It never comes to that.
                continue;
            }
            let mut pass = self.give(case.action);
            // Each condition alone leads to the one behind it, and all of a case to the next case.
            let mut own = (case.conditions.len() == 1).then_some(next);
            for condition in case.conditions.iter().rev() {
                pass = self.test(*condition, pass, next, own);
                // Where a condition never holds there is no code for it.
                own = (pass != next).then_some(pass);
            }
            next = pass;
        }
        next
    }

    /// A search over ranges up to `end`. Each comparison halves the numbers, not the ranges: what counts is the mean over all
    /// numbers.
    fn search(&mut self, ranges: &[(u32, Verdict)], end: u32) -> Place {
        let (first, rest) = match ranges {
            // There is always a range from 0 on.
            [] => return self.give(Action::KillProcess),
            [(_, verdict)] => return self.decide(verdict),
            [(first, _), rest @ ..] => (*first, rest),
        };
        if let Some(place) = self.exceptions(ranges) {
            return place;
        }
        let middle = first + end.saturating_sub(first) / 2;
        // The range that begins nearest to the middle.
        let after = rest.partition_point(|(start, _)| *start < middle);
        let away = |index: usize| rest.get(index).map(|&(start, _)| start.abs_diff(middle));
        let split = match (after.checked_sub(1).and_then(away), away(after)) {
            (Some(before), Some(behind)) if behind < before => after,
            (Some(_), _) => after - 1,
            (None, _) => after,
        };
        let (low, high) = ranges.split_at(split + 1);
        let start = high.first().map_or(end, |&(start, _)| start);
        let high = self.search(high, end);
        let low = self.search(low, start);
        self.branch(JUMP_IF_AT_LEAST, start, high, low)
    }

    /// A range with a single number or two in it that are decided otherwise, each of which takes one comparison instead of two.
    fn exceptions(&mut self, ranges: &[(u32, Verdict)]) -> Option<Place> {
        let (pairs, last) = ranges.as_chunks::<2>();
        let [(_, rule)] = last else { return None };
        let after = ranges.iter().skip(2).step_by(2);
        let single = |([(_, around), (number, _)], (next, _)): (&[_; 2], &(u32, Verdict))| {
            around == rule && number + 1 == *next
        };
        if pairs.len() > MOST_EXCEPTIONS || !pairs.iter().zip(after).all(single) {
            return None;
        }
        let mut next = self.decide(rule);
        for [_, (number, exception)] in pairs.iter().rev() {
            let found = self.decide(exception);
            next = self.branch(JUMP_IF_EQUAL, *number, found, next);
        }
        Some(next)
    }

    /// One condition, and where it goes on if it holds and if not; to which of them nothing else goes.
    fn test(
        &mut self,
        (condition, width): (Condition, Width),
        pass: Place,
        fail: Place,
        own: Option<Place>,
    ) -> Place {
        match width {
            Width::Half => self.short(condition, 0xffff, (pass, fail), own),
            Width::Word => self.short(condition, u32::MAX, (pass, fail), own),
            Width::Long => self.long(condition, pass, fail),
        }
    }

    /// An argument of which the kernel looks at these low bits only.
    fn short(
        &mut self,
        condition: Condition,
        bits: u32,
        (pass, fail): (Place, Place),
        own: Option<Place>,
    ) -> Place {
        let (mask, value, jump, yes, no) = match condition.test {
            Test::MaskedEqual { mask, value } => {
                (halves(mask).1 & bits, value, JUMP_IF_EQUAL, pass, fail)
            }
            Test::Equal(value) => (bits, value, JUMP_IF_EQUAL, pass, fail),
            Test::NotEqual(value) => (bits, value, JUMP_IF_EQUAL, fail, pass),
            Test::Less(value) => (bits, value, JUMP_IF_AT_LEAST, fail, pass),
            Test::LessOrEqual(value) => (bits, value, JUMP_IF_ABOVE, fail, pass),
            Test::Greater(value) => (bits, value, JUMP_IF_ABOVE, pass, fail),
            Test::GreaterOrEqual(value) => (bits, value, JUMP_IF_AT_LEAST, pass, fail),
        };
        let Some(value) = cut(value, bits) else {
            // A value that no argument has is above all of them: every comparison with it ends like one that failed.
            return no;
        };
        let mut places = [yes, no];
        if mask == u32::MAX && own.is_some_and(|own| self.needs_no_load(condition.argument, own)) {
            for place in places.iter_mut().filter(|place| Some(**place) == own) {
                *place -= 1;
            }
        }
        let [yes, no] = places;
        let compared = self.branch(jump, value, yes, no);
        self.load(low(condition.argument), mask, compared)
    }

    /// Takes away the load of an argument at this place, with which the program begins so far, if there is one.
    fn needs_no_load(&mut self, argument: u8, place: Place) -> bool {
        let load = op(LOAD, low(argument));
        place + 1 == self.code.len() && self.code.pop_if(|last| *last == load).is_some()
    }

    /// An argument of 64 bits, which a program has to compare by halves.
    fn long(&mut self, condition: Condition, pass: Place, fail: Place) -> Place {
        let argument = condition.argument;
        match condition.test {
            Test::Equal(value) => self.both(argument, u64::MAX, value, (pass, fail)),
            Test::NotEqual(value) => self.both(argument, u64::MAX, value, (fail, pass)),
            Test::MaskedEqual { mask, value } => self.both(argument, mask, value, (pass, fail)),
            Test::Greater(value) => self.order(argument, value, JUMP_IF_ABOVE, (pass, fail)),
            Test::GreaterOrEqual(value) => {
                self.order(argument, value, JUMP_IF_AT_LEAST, (pass, fail))
            }
            // The contrary of at least, and of above.
            Test::Less(value) => self.order(argument, value, JUMP_IF_AT_LEAST, (fail, pass)),
            Test::LessOrEqual(value) => self.order(argument, value, JUMP_IF_ABOVE, (fail, pass)),
        }
    }

    /// The bits of the mask have this value, in both halves.
    fn both(&mut self, argument: u8, mask: u64, value: u64, (yes, no): (Place, Place)) -> Place {
        let ((mask_upper, mask_lower), (upper, lower)) = (halves(mask), halves(value));
        let compared = self.branch(JUMP_IF_EQUAL, lower, yes, no);
        let by_lower = self.load(low(argument), mask_lower, compared);
        let compared = self.branch(JUMP_IF_EQUAL, upper, by_lower, no);
        self.load(high(argument), mask_upper, compared)
    }

    /// The upper halves decide unless they are equal; then the lower ones do by this comparison.
    fn order(&mut self, argument: u8, value: u64, by: u16, (yes, no): (Place, Place)) -> Place {
        let (upper, lower) = halves(value);
        let compared = self.branch(by, lower, yes, no);
        let by_lower = self.load(low(argument), u32::MAX, compared);
        let equal = self.branch(JUMP_IF_EQUAL, upper, by_lower, no);
        let compared = self.branch(JUMP_IF_ABOVE, upper, yes, equal);
        self.load(high(argument), u32::MAX, compared)
    }
}

const fn halves(value: u64) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    ((value >> 32) as u32, value as u32)
}

/// The value as the kernel will take it, if the bits that it does not look at are none or only repeat the sign; `None` where
/// the argument can never have it.
fn cut(value: u64, bits: u32) -> Option<u32> {
    let (_, low) = halves(value);
    let sign = u64::from(bits >> 1) + 1;
    let negative = value & !u64::from(bits) == !u64::from(bits) && value & sign != 0;
    (value <= u64::from(bits) || negative).then_some(low & bits)
}
