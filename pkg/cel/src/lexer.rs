//! Text into tokens: the longest that begins here, as a lexer that ANTLR made takes it, with the same errors.

use std::ops::Range;

use crate::issue::Issues;
use crate::token::{Kind, Token};

/// Signs that are tokens; longer ones first.
const SIGNS: &[(&str, Kind)] = &[
    ("==", Kind::Equal),
    ("!=", Kind::NotEqual),
    ("<=", Kind::LessEqual),
    (">=", Kind::GreaterEqual),
    ("&&", Kind::And),
    ("||", Kind::Or),
    ("<", Kind::Less),
    (">", Kind::Greater),
    ("[", Kind::LBracket),
    ("]", Kind::RBracket),
    ("{", Kind::LBrace),
    ("}", Kind::RBrace),
    ("(", Kind::LParen),
    (")", Kind::RParen),
    (".", Kind::Dot),
    (",", Kind::Comma),
    ("-", Kind::Minus),
    ("!", Kind::Not),
    ("?", Kind::Question),
    (":", Kind::Colon),
    ("+", Kind::Plus),
    ("*", Kind::Star),
    ("/", Kind::Slash),
    ("%", Kind::Percent),
];

const WORDS: &[(&str, Kind)] = &[("in", Kind::In), ("true", Kind::True), ("false", Kind::False), ("null", Kind::Null)];

/// A text that may be a token: how far it goes as one (0: it is none), and how far it could have gone on.
#[derive(Clone, Copy, Default)]
struct Scan {
    end: usize,
    reach: usize,
}

/// Reads tokens one by one.
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// What was left out because it is no token.
    refused: Vec<Range<usize>>,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, refused: Vec::new() }
    }

    /// The next token; `Eof` at the end, however often it is asked for.
    pub fn next(&mut self, issues: &mut Issues) -> Token {
        loop {
            self.skip_blanks();
            let rest = &self.text[self.at..];
            let start = self.at;
            if rest.is_empty() {
                return Token { kind: Kind::Eof, start, end: start };
            }
            match token(rest) {
                Ok((kind, length)) => {
                    self.at += length;
                    return Token { kind, start, end: self.at };
                }
                Err(reach) => self.refuse(reach, issues),
            }
        }
    }

    /// Spaces and comments.
    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let spaces = rest.bytes().take_while(|c| matches!(c, b'\t' | b' ' | b'\r' | b'\n' | 0x0c)).count();
            let comment = if rest[spaces..].starts_with("//") {
                rest[spaces..].find('\n').unwrap_or(rest.len() - spaces)
            } else {
                0
            };
            if spaces + comment == 0 {
                return;
            }
            self.at += spaces + comment;
        }
    }

    /// Nothing that begins here is a token: what was read of it is told with the sign that did not fit, and left out.
    fn refuse(&mut self, reach: usize, issues: &mut Issues) {
        let start = self.at;
        let fault = start + reach;
        let end = fault + self.text[fault..].chars().next().map_or(0, char::len_utf8);
        issues.report(
            start,
            format!("Syntax error: token recognition error at: '{}'", escape_blanks(&self.text[start..end])),
        );
        self.refused.push(start..end);
        self.at = end;
    }

    /// The text of a range without what is no token.
    pub fn readable(&self, range: Range<usize>) -> String {
        let (mut text, mut at) = (String::new(), range.start);
        for refused in self.refused.iter().filter(|r| range.start <= r.start && r.end <= range.end) {
            text.push_str(&self.text[at..refused.start]);
            at = refused.end;
        }
        text + &self.text[at..range.end]
    }
}

/// Line breaks and tabs as they stand in error texts.
pub fn escape_blanks(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

/// The token at the beginning of `text`, which is not empty, and its length; else how far it could have gone on.
fn token(text: &str) -> Result<(Kind, usize), usize> {
    let bytes = text.as_bytes();
    let word = word_length(bytes);
    let (string, is_bytes) = string(bytes);
    if string.end > word {
        return Ok((if is_bytes { Kind::Bytes } else { Kind::String }, string.end));
    }
    if word > 0 {
        let kind = WORDS.iter().find(|(known, _)| *known == &text[..word]).map_or(Kind::Ident, |(_, kind)| *kind);
        return Ok((kind, word));
    }
    if let Some(found) = number(bytes) {
        return Ok(found);
    }
    if let Some((sign, kind)) = SIGNS.iter().find(|(sign, _)| text.starts_with(sign)) {
        return Ok((*kind, sign.len()));
    }
    let escaped = escaped_identifier(bytes);
    if escaped.end > 0 {
        return Ok((Kind::EscapedIdent, escaped.end));
    }
    let half = usize::from(matches!(bytes[0], b'=' | b'&' | b'|'));
    Err(string.reach.max(escaped.reach).max(half))
}

fn is_word(c: &u8) -> bool {
    c.is_ascii_alphanumeric() || *c == b'_'
}

fn word_length(bytes: &[u8]) -> usize {
    if bytes[0].is_ascii_digit() { 0 } else { bytes.iter().take_while(|c| is_word(c)).count() }
}

/// An identifier in backquotes.
fn escaped_identifier(bytes: &[u8]) -> Scan {
    if bytes[0] != b'`' {
        return Scan::default();
    }
    let inner = bytes[1..].iter().take_while(|c| is_word(c) || matches!(c, b'.' | b'-' | b'/' | b' ')).count();
    let closed = inner > 0 && bytes.get(1 + inner) == Some(&b'`');
    Scan { end: if closed { inner + 2 } else { 0 }, reach: inner + 1 }
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|c| c.is_ascii_digit()).count()
}

/// Length of `e+10` and the like at the beginning, 0 if there is none.
fn exponent(bytes: &[u8]) -> usize {
    let sign = usize::from(matches!(bytes.get(1), Some(b'+' | b'-')));
    let count = bytes.get(1 + sign..).map_or(0, digits);
    if matches!(bytes.first(), Some(b'e' | b'E')) && count > 0 { 1 + sign + count } else { 0 }
}

fn number(bytes: &[u8]) -> Option<(Kind, usize)> {
    let whole = digits(bytes);
    let unsigned = |length: usize| match bytes.get(length) {
        Some(b'u' | b'U') => Some((Kind::Uint, length + 1)),
        _ => Some((Kind::Int, length)),
    };
    let hex = bytes.get(2..).map_or(0, |rest| rest.iter().take_while(|c| c.is_ascii_hexdigit()).count());
    if bytes.starts_with(b"0x") && hex > 0 {
        return unsigned(2 + hex);
    }
    let fraction = match bytes.get(whole) {
        Some(b'.') => digits(&bytes[whole + 1..]),
        _ => 0,
    };
    if fraction > 0 {
        let length = whole + 1 + fraction;
        return Some((Kind::Float, length + exponent(&bytes[length..])));
    }
    if whole == 0 {
        return None;
    }
    match exponent(&bytes[whole..]) {
        0 => unsigned(whole),
        length => Some((Kind::Float, whole + length)),
    }
}

/// A string or, with `true`, bytes.
fn string(bytes: &[u8]) -> (Scan, bool) {
    let is_bytes = matches!(bytes[0], b'b' | b'B');
    let is_raw = matches!(bytes.get(usize::from(is_bytes)), Some(b'r' | b'R'));
    let prefix = usize::from(is_bytes) + usize::from(is_raw);
    let Some(quote @ (b'"' | b'\'')) = bytes.get(prefix).copied() else { return (Scan::default(), false) };
    let body = &bytes[prefix..];
    let (short, long) = (short_string(body, quote, is_raw), long_string(body, quote, is_raw));
    let ahead = |length: usize| if length == 0 { 0 } else { prefix + length };
    (Scan { end: ahead(short.end.max(long.end)), reach: ahead(short.reach.max(long.reach)) }, is_bytes)
}

/// `"…"` on one line.
fn short_string(bytes: &[u8], quote: u8, is_raw: bool) -> Scan {
    let mut at = 1;
    while let Some(&c) = bytes.get(at) {
        match c {
            _ if c == quote => return Scan { end: at + 1, reach: at + 1 },
            b'\n' | b'\r' => break,
            b'\\' if !is_raw => match escape(&bytes[at..]) {
                Ok(length) => at += length,
                Err(reach) => return Scan { end: 0, reach: at + reach },
            },
            _ => at += 1,
        }
    }
    Scan { end: 0, reach: at }
}

/// `"""…"""`.
fn long_string(bytes: &[u8], quote: u8, is_raw: bool) -> Scan {
    let marks = bytes.iter().take(3).take_while(|c| **c == quote).count();
    if marks < 3 {
        return Scan { end: 0, reach: marks };
    }
    let mut at = 3;
    while let Some(&c) = bytes.get(at) {
        if bytes[at..].starts_with(&[quote; 3]) {
            return Scan { end: at + 3, reach: at + 3 };
        }
        match c {
            b'\\' if !is_raw => match escape(&bytes[at..]) {
                Ok(length) => at += length,
                Err(reach) => return Scan { end: 0, reach: at + reach },
            },
            _ => at += 1,
        }
    }
    Scan { end: 0, reach: at }
}

/// Length of an escape, or how much of it is one.
fn escape(bytes: &[u8]) -> Result<usize, usize> {
    let fixed = |digit: fn(&u8) -> bool, wanted: usize| {
        let count = bytes[2..].iter().take(wanted).take_while(|c| digit(c)).count();
        if count == wanted { Ok(2 + wanted) } else { Err(2 + count) }
    };
    match bytes.get(1) {
        Some(b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`') => Ok(2),
        Some(b'x' | b'X') => fixed(u8::is_ascii_hexdigit, 2),
        Some(b'u') => fixed(u8::is_ascii_hexdigit, 4),
        Some(b'U') => fixed(u8::is_ascii_hexdigit, 8),
        Some(b'0'..=b'3') => fixed(|c| matches!(c, b'0'..=b'7'), 2),
        _ => Err(1),
    }
}
