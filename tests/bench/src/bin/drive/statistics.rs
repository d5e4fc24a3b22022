//! Order statistics, which a few disturbed runs cannot move.

use std::time::Duration;

/// The smallest value that `percent` of all values do not exceed.
pub(crate) fn percentile<T: PartialOrd + Copy>(values: &[T], percent: usize) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The median of the ratios of each round. Both halves of a pair ran within milliseconds of each other, so a slow
/// phase of the machine slows both and leaves their ratio alone.
pub(crate) fn ratio(times: &[Duration], baseline: &[Duration]) -> Option<f64> {
    let pairs = times.iter().zip(baseline);
    let ratios: Vec<f64> = pairs
        .map(|(time, base)| time.as_secs_f64() / base.as_secs_f64())
        .collect();
    percentile(&ratios, 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_of_ten_values_is_the_nearest_rank() {
        let values = [9, 3, 1, 7, 5, 10, 2, 8, 4, 6];
        let found = [10, 50, 90, 100].map(|percent| percentile(&values, percent));
        assert_eq!(found, [Some(1), Some(5), Some(9), Some(10)]);
    }

    #[test]
    fn percentile_of_nothing_is_none() {
        assert_eq!(percentile::<u8>(&[], 50), None);
    }

    #[test]
    fn ratio_ignores_a_phase_that_slows_both() {
        let slow_at_the_end = [1, 1, 8, 8, 8].map(Duration::from_millis);
        let twice_that = slow_at_the_end.map(|time| time * 2);
        assert_eq!(ratio(&twice_that, &slow_at_the_end), Some(2.0));
    }
}
