//! One line of a CRI log.

use jiff::Timestamp;

/// A parsed line. The text is without its newline.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub time: &'a str,
    pub stderr: bool,
    /// The runtime cut a long line here; the next one goes on.
    pub partial: bool,
    pub text: &'a [u8],
}

impl Line<'_> {
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

/// `2016-10-06T00:17:09.669794202Z stdout F text`
pub fn line(raw: &[u8]) -> Option<Line<'_>> {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    let mut parts = raw.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stderr = match parts.next()? {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let tag = parts.next()?;
    let text = parts.next().unwrap_or_default();
    // Tags after the first are for later versions.
    let partial = tag.split(|b| *b == b':').next() == Some(b"P");
    Some(Line { time, stderr, partial, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let full = line(b"2016-10-06T00:17:09.669794202Z stdout F a b  c\n").expect("a line");
        assert_eq!((full.text, full.partial, full.stderr), (&b"a b  c"[..], false, false));
        assert!(full.timestamp().is_some());
        let partial = line(b"2016-10-06T00:17:09.669794202Z stderr P:x y").expect("a line");
        assert_eq!((partial.text, partial.partial, partial.stderr), (&b"y"[..], true, true));
        assert_eq!(line(b"2016-10-06T00:17:09Z stdout F ").expect("empty").text, b"");
        assert!(line(b"nonsense").is_none() && line(b"t stdin F x").is_none());
    }
}
