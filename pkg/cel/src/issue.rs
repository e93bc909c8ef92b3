//! What is wrong with an expression, told as cel-go tells it: `ERROR: <input>:1:3: text`, the line and a mark below it.

use std::fmt::{self, Write as _};

/// No expression has more errors told than these.
const TOLD_MAX: usize = 100;
/// A line that is longer is not shown.
const SNIPPET_MAX: usize = 16 * 1024;
/// All errors of an expression take no more text than this: each repeats the line that it is in. Upstream has no such bound.
const TEXT_MAX: usize = 64 * 1024;

/// One thing that is wrong, at a byte offset; `None` is an error of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub at: Option<usize>,
    pub text: String,
}

/// All that is wrong with one expression; shown in the order of the places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issues {
    source: String,
    list: Vec<Issue>,
    /// How many there were, those counted that are not kept.
    count: usize,
}

impl Issues {
    pub(crate) fn new(source: &str) -> Self {
        Self { source: source.to_owned(), list: Vec::new(), count: 0 }
    }

    pub(crate) fn report(&mut self, at: usize, text: impl Into<String>) {
        self.add(Issue { at: Some(at), text: text.into() });
    }

    /// An error of the whole expression.
    pub(crate) fn whole(&mut self, text: impl Into<String>) {
        self.add(Issue { at: None, text: text.into() });
    }

    fn add(&mut self, issue: Issue) {
        self.count += 1;
        if self.list.len() < TOLD_MAX {
            self.list.push(issue);
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.count += other.count - other.list.len();
        other.list.into_iter().for_each(|issue| self.add(issue));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// Line and column of a byte offset, both counted as cel-go does: lines from 1, columns in characters from 0.
struct Place<'a> {
    line: usize,
    column: usize,
    snippet: &'a str,
}

impl<'a> Place<'a> {
    fn of(source: &'a str, at: usize) -> Self {
        let before = source.get(..at).unwrap_or(source);
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        let end = source[start..].find('\n').map_or(source.len(), |i| start + i);
        Self {
            line: before.bytes().filter(|c| *c == b'\n').count() + 1,
            column: before[start..].chars().count(),
            snippet: &source[start..end],
        }
    }

    /// The line of the place and a mark below it. Signs of more than one byte have a wide mark.
    fn write_snippet(&self, text: &mut String) {
        if self.snippet.len() > SNIPPET_MAX {
            return;
        }
        let _ = write!(text, "\n | {}\n | ", self.snippet.replace('\t', " "));
        let mut signs = self.snippet.chars();
        for sign in signs.by_ref().take(self.column) {
            text.push(if sign.len_utf8() > 1 { '．' } else { '.' });
        }
        text.push(if signs.next().is_some_and(|sign| sign.len_utf8() > 1) { '＾' } else { '^' });
    }
}

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<&Issue> = self.list.iter().collect();
        sorted.sort_by_key(|issue| issue.at.map_or(0, |at| at + 1));
        let (mut text, mut told) = (String::new(), 0);
        for issue in sorted {
            if text.len() > TEXT_MAX {
                break;
            }
            if told > 0 {
                text.push('\n');
            }
            match issue.at {
                None => drop(write!(text, "ERROR: <input>:-1:0: {}", issue.text)),
                Some(at) => {
                    let place = Place::of(&self.source, at);
                    let _ = write!(text, "ERROR: <input>:{}:{}: {}", place.line, place.column + 1, issue.text);
                    place.write_snippet(&mut text);
                }
            }
            told += 1;
        }
        if told < self.count {
            let _ = write!(text, "\n{} more errors were truncated", self.count - told);
        }
        f.write_str(&text)
    }
}

impl std::error::Error for Issues {}
