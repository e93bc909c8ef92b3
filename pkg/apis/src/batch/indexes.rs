//! Lists of indexes of a job, such as `1,3-5`: growing, without overlap, below the number of completions.

/// How many indexes `text` names.
///
/// # Errors
/// The reason why it is no such list.
pub fn count(text: &str, completions: i64) -> Result<i64, String> {
    let mut total = 0;
    let mut last = None;
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = interval(part, completions)?;
        if let Some(previous) = last.filter(|last| *last >= first) {
            return Err(out_of_order(previous, first));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

fn out_of_order(previous: i64, current: i64) -> String {
    format!("non-increasing order, previous: {previous}, current: {current}")
}

fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let (first, end) = match text.split_once('-') {
        Some((_, end)) if end.contains('-') => {
            return Err(format!(
                "the fragment {text:?} violates the requirement that an index interval can have at most two parts \
                 separated by '-'"
            ));
        }
        Some((first, end)) => (first, Some(end)),
        None => (text, None),
    };
    let first = index(first, completions)?;
    let Some(end) = end else { return Ok((first, first)) };
    let end = index(end, completions)?;
    if first >= end { Err(out_of_order(first, end)) } else { Ok((first, end)) }
}

fn index(text: &str, completions: i64) -> Result<i64, String> {
    let number: i64 = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
    if number >= completions { Err(format!("too large index: {text:?}")) } else { Ok(number) }
}

/// The first index that is in both lists. Parts that are no intervals are passed over.
pub fn overlap(completed: &str, failed: &str, completions: i64) -> Option<i64> {
    let intervals = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|part| interval(part, completions).ok()).collect()
    };
    let (completed, failed) = (intervals(completed), intervals(failed));
    let (mut completed, mut failed) = (completed.iter().peekable(), failed.iter().peekable());
    while let (Some(done), Some(lost)) = (completed.peek(), failed.peek()) {
        if done.0 <= lost.1 && lost.0 <= done.1 {
            return Some(done.0.max(lost.0));
        }
        if done.0 <= lost.0 {
            completed.next()
        } else {
            failed.next()
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{count, overlap};

    #[test]
    fn lists() {
        assert_eq!(count("", 5), Ok(0));
        assert_eq!(count("0,2-4", 5), Ok(4));
        for (text, why) in [
            ("5", "too large index: \"5\""),
            ("1,1", "non-increasing order, previous: 1, current: 1"),
            ("3-1", "non-increasing order, previous: 3, current: 1"),
            ("a", "cannot convert string to integer for index: \"a\""),
            ("0,", "cannot convert string to integer for index: \"\""),
            (
                "1-2-3",
                "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts \
                 separated by '-'",
            ),
        ] {
            assert_eq!(count(text, 5), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn overlaps() {
        for (completed, failed, want) in [
            ("", "", None),
            ("0-2,5", "3,4", None),
            ("0-2,5", "4-6", Some(5)),
            ("1", "x,1", Some(1)),
            ("3", "1-4", Some(3)),
        ] {
            assert_eq!(overlap(completed, failed, 10), want, "{completed} and {failed}");
        }
    }
}
