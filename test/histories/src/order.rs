//! Whether revisions follow time: what began when something else had ended is newer than that.
//!
//! This looks across objects, where [`register`](crate::register) looks at one.

/// Something that was answered with a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    pub begun: u64,
    pub ended: u64,
    pub revision: u64,
    /// It made the revision; else it only shows the state at it.
    pub write: bool,
}

/// Says what is older than it may be, one line each.
pub fn violations(history: &[Dated]) -> Vec<String> {
    let (mut by_begin, mut by_end) = (history.to_vec(), history.to_vec());
    by_begin.sort_by_key(|dated| dated.begun);
    by_end.sort_by_key(|dated| dated.ended);
    let mut ended = by_end.into_iter().peekable();
    let mut newest: Option<Dated> = None;
    let mut found = Vec::new();
    for dated in by_begin {
        while let Some(before) = ended.next_if(|before| before.ended < dated.begun) {
            if newest.is_none_or(|newest| newest.revision < before.revision) {
                newest = Some(before);
            }
        }
        let Some(newest) = newest else { continue };
        let too_old = if dated.write { dated.revision <= newest.revision } else { dated.revision < newest.revision };
        if too_old {
            found.push(format!("{dated:?} began after {newest:?} had ended"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dated(begun: u64, ended: u64, revision: u64, write: bool) -> Dated {
        Dated { begun, ended, revision, write }
    }

    #[test]
    fn revisions_that_follow_time_pass() {
        let history = [
            dated(1, 2, 5, true),
            // At the same time, either order.
            dated(3, 9, 7, true),
            dated(4, 8, 6, true),
            dated(10, 11, 7, false),
            dated(12, 13, 7, false),
            dated(14, 15, 8, true),
        ];
        assert_eq!(violations(&history), Vec::<String>::new());
    }

    #[test]
    fn planted_faults_are_found() {
        let cases = [
            ("a write that is older", [dated(1, 2, 7, true), dated(3, 4, 6, true)]),
            ("a revision that was given twice", [dated(1, 2, 7, true), dated(3, 4, 7, true)]),
            ("a list from the past", [dated(1, 2, 7, true), dated(3, 4, 6, false)]),
            ("a list that goes back", [dated(1, 2, 7, false), dated(3, 4, 6, false)]),
            ("a write below what was shown", [dated(1, 2, 7, false), dated(3, 4, 7, true)]),
        ];
        for (what, history) in cases {
            assert_eq!(violations(&history).len(), 1, "{what}");
        }
    }
}
