//! How often the processor time of a job is looked at, so that it ends in time. Ring 0.
//!
//! All processors together can use no more than `cpus` seconds in a second. So a look is due when the limit could have been
//! reached, and near the limit as often as the tolerance allows.

/// A job may be ended this much above its limit.
const TOLERANCE_NS: u64 = 50_000_000;

/// Or by this part of the limit, if that is more: 5 %.
const TOLERANCE_PART: u64 = 20;

/// Looking more often would cost more than it tells.
const SHORTEST_NS: u64 = 1_000_000;

/// Looking less often would miss processes that nobody waits for.
const LONGEST_NS: u64 = 100_000_000;

/// How far above its limit a job may come.
#[must_use]
pub const fn tolerance_ns(limit_ns: u64) -> u64 {
    let part = limit_ns / TOLERANCE_PART;
    if part > TOLERANCE_NS {
        part
    } else {
        TOLERANCE_NS
    }
}

/// How long to wait before the next look at a job that has used so much on a machine with so many processors.
#[must_use]
pub fn next_look_ns(limit_ns: u64, used_ns: u64, cpus: u64) -> u64 {
    let remaining = limit_ns.saturating_sub(used_ns);
    // Half of the tolerance is left for the look itself, and for being late.
    let least = tolerance_ns(limit_ns) / 2;
    (remaining.max(least) / cpus.max(1)).clamp(SHORTEST_NS, LONGEST_NS)
}

/// RLIMIT_CPU in seconds: above everything that a look finds in time, so it ends a process only if nobody could look.
#[must_use]
pub const fn backstop_s(limit_ns: u64) -> u64 {
    let most = limit_ns.saturating_add(limit_ns / TOLERANCE_PART);
    most.div_ceil(1_000_000_000) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn tolerance_is_the_larger_of_both() {
        assert_eq!(tolerance_ns(0), 50 * MS);
        assert_eq!(tolerance_ns(1000 * MS), 50 * MS);
        assert_eq!(tolerance_ns(10_000 * MS), 500 * MS);
    }

    #[test]
    fn next_look_is_when_the_limit_could_have_been_reached() {
        assert_eq!(next_look_ns(1000 * MS, 840 * MS, 2), 80 * MS);
        assert_eq!(next_look_ns(1000 * MS, 940 * MS, 1), 60 * MS);
    }

    #[test]
    fn next_look_is_never_far_off_nor_at_once() {
        assert_eq!(next_look_ns(u64::MAX, 0, 1), 100 * MS);
        assert_eq!(next_look_ns(1000 * MS, 1000 * MS, 1), 25 * MS);
        assert_eq!(next_look_ns(1000 * MS, 5000 * MS, 2), 12_500_000);
        assert_eq!(next_look_ns(1000 * MS, 0, 4096), MS);
        assert_eq!(next_look_ns(MS, 0, 0), 25 * MS);
    }

    /// However many processors work for the job, it is ended within its tolerance if each look is in time.
    #[test]
    fn looks_in_time_find_the_job_within_its_tolerance() {
        for limit_ms in [1, 10, 49, 50, 51, 100, 999, 1000, 3333, 60_000] {
            for cpus in [1, 2, 3, 8] {
                let limit = limit_ms * MS;
                let mut used = 0;
                while used <= limit {
                    used += next_look_ns(limit, used, cpus) * cpus;
                }
                let late = used - limit;
                assert!(late <= tolerance_ns(limit), "{limit_ms} ms, {cpus}: {late}");
            }
        }
    }

    #[test]
    fn backstop_lies_above_the_tolerance() {
        assert_eq!(backstop_s(MS), 2);
        assert_eq!(backstop_s(1000 * MS), 3);
        assert_eq!(backstop_s(100_000 * MS), 106);
        assert!(backstop_s(u64::MAX) > 10_000_000_000);
    }
}
