//! By turns.

/// A new order for each round: the kernel tears a network namespace down in the background, so in a fixed order each one would
/// pay for the one before it, and always for the same one.
#[derive(Debug)]
pub struct Order(u64);

impl Default for Order {
    /// Always the same orders, so that two measurements differ in nothing that could be avoided.
    fn default() -> Order {
        Order(0x9e37_79b9_7f4a_7c15)
    }
}

impl Order {
    /// The order of the next round.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % end
    }
}
