//! Where revisions go on in a store that begins anew from an older state.
//!
//! What the old store gave out after that state is not known here, and must not be given out again: a client that goes on
//! with a revision of then would take the new history for the old. The clock decides, 100,000 revisions for each second
//! since 1970. No store writes that many for long, so whatever was given out anywhere before now is less, also when the
//! same snapshot is restored again and again; and the numbers stay exact in clients that keep them as floating point until
//! the year 4,800. If the clock is behind that, 10^9 are added, which is 19 hours of writing as fast as possible.

/// Revisions for each second.
const PER_SECOND: u64 = 100_000;
/// What is added if the clock cannot be right.
const JUMP: u64 = 1_000_000_000;

/// The revision at which a store begins that had `revision`, at the Unix time `now` in seconds.
pub fn after(revision: u64, now: u64) -> u64 {
    let by_clock = now.saturating_mul(PER_SECOND);
    if by_clock > revision { by_clock } else { revision.saturating_add(JUMP) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_000_000;

    #[test]
    fn revisions_go_on_beyond_all_that_were_given_out() {
        let cases = [
            ("a first restore", 5_000, NOW, NOW * PER_SECOND),
            ("of what was restored an hour ago", (NOW - 3600) * PER_SECOND + 77, NOW, NOW * PER_SECOND),
            ("the clock was reset", 5_000, 0, 5_000 + JUMP),
            ("the clock was ahead at an earlier restore", NOW * PER_SECOND + 1, NOW, NOW * PER_SECOND + 1 + JUMP),
        ];
        for (what, revision, now, expected) in cases {
            assert_eq!(after(revision, now), expected, "{what}");
        }
    }

    #[test]
    fn the_same_snapshot_twice_gives_no_revision_twice() {
        let first = after(5_000, NOW);
        // Ten seconds at twice the highest rate that was ever measured.
        let given_out = first + 10 * 30_000;
        assert!(after(5_000, NOW + 10) > given_out);
    }
}
