//! Order statistics, which a few disturbed runs cannot move.

/// The smallest value that `percent` of all values do not exceed.
#[must_use]
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The median.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 50)
}

/// The median of the ratios of each round. Both halves of a pair ran within milliseconds of each other, so a slow
/// phase of the machine slows both and leaves their ratio alone.
#[must_use]
pub fn ratio(values: &[f64], baseline: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = values
        .iter()
        .zip(baseline)
        .map(|(it, base)| it / base)
        .collect();
    median(&ratios)
}

/// The median of the differences of each round.
#[must_use]
pub fn difference(values: &[f64], baseline: &[f64]) -> Option<f64> {
    let differences: Vec<f64> = values
        .iter()
        .zip(baseline)
        .map(|(it, base)| it - base)
        .collect();
    median(&differences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_of_ten_values_is_the_nearest_rank() {
        let values = [9.0, 3.0, 1.0, 7.0, 5.0, 10.0, 2.0, 8.0, 4.0, 6.0];
        let found = [10, 50, 90, 100].map(|percent| percentile(&values, percent));
        assert_eq!(found, [Some(1.0), Some(5.0), Some(9.0), Some(10.0)]);
    }

    #[test]
    fn percentile_of_nothing_is_none() {
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn ratio_ignores_a_phase_that_slows_both() {
        let slow_at_the_end = [1.0, 1.0, 8.0, 8.0, 8.0];
        let twice_that = slow_at_the_end.map(|time| time * 2.0);
        assert_eq!(ratio(&twice_that, &slow_at_the_end), Some(2.0));
    }

    #[test]
    fn difference_ignores_one_disturbed_round() {
        let with = [3.0, 90.0, 5.0];
        assert_eq!(difference(&with, &[1.0, 2.0, 3.0]), Some(2.0));
    }
}
