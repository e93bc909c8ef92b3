//! Whether a text is a regular expression of Go's. What is in doubt is one: only faults that Go surely tells are found.

use std::iter::Peekable;
use std::str::Chars;

/// Letters that mean something behind a backslash.
const ESCAPES: &str = "ABCDEPQSWabdfnprstvwxz";
const REPEATS_MAX: u32 = 1000;

pub fn is_regex(pattern: &str) -> bool {
    Reader { rest: pattern.chars().peekable(), open: 0, before: Before::Nothing }.read().is_some()
}

/// What stands before a sign, as far as repetitions ask.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Item,
    /// A repetition, which a `?` can make a lazy one.
    Repetition,
    LazyRepetition,
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    /// Groups that are not closed yet.
    open: usize,
    before: Before,
}

impl Reader<'_> {
    fn read(mut self) -> Option<()> {
        while let Some(sign) = self.rest.next() {
            self.before = match sign {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                ')' => {
                    self.open = self.open.checked_sub(1)?;
                    Before::Item
                }
                '|' => Before::Nothing,
                '*' | '+' | '?' => self.repetition(sign)?,
                '{' => match self.counts() {
                    Some((least, most)) if least <= most && most <= REPEATS_MAX => self.repetition('{')?,
                    Some(_) => return None,
                    None => Before::Item,
                },
                _ => Before::Item,
            };
        }
        (self.open == 0).then_some(())
    }

    fn repetition(&self, sign: char) -> Option<Before> {
        match self.before {
            Before::Item => Some(Before::Repetition),
            Before::Repetition if sign == '?' => Some(Before::LazyRepetition),
            _ => None,
        }
    }

    /// The numbers of `{2}`, `{2,}` or `{2,5}` and the brace, if that is what follows.
    fn counts(&mut self) -> Option<(u32, u32)> {
        let mut ahead = self.rest.clone();
        let inner: String = ahead.by_ref().take_while(|c| *c != '}').collect();
        let (least, most) = inner.split_once(',').unwrap_or((&inner, &inner));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        if !is_number(least) || !(most.is_empty() || is_number(most)) || self.rest.clone().all(|c| c != '}') {
            return None;
        }
        self.rest = ahead;
        let number = |text: &str| text.parse().unwrap_or(u32::MAX);
        let least = number(least);
        Some((least, if most.is_empty() { least } else { number(most) }))
    }

    fn escape(&mut self) -> Option<Before> {
        let sign = self.rest.next()?;
        if sign == 'Q' {
            // Literal text up to `\E`.
            while let Some(sign) = self.rest.next() {
                if sign == '\\' && self.rest.next_if_eq(&'E').is_some() {
                    break;
                }
            }
            return Some(Before::Item);
        }
        let octal = matches!(sign, '1'..='7') && self.rest.peek().is_some_and(|c| matches!(c, '0'..='7'));
        let known = if sign.is_ascii_alphanumeric() { ESCAPES.contains(sign) || sign == '0' || octal } else { true };
        known.then_some(Before::Item)
    }

    /// What stands in brackets, with the bracket that ends it.
    fn class(&mut self) -> Option<Before> {
        self.rest.next_if_eq(&'^');
        self.rest.next_if_eq(&']');
        loop {
            match self.rest.next()? {
                ']' => return Some(Before::Item),
                '\\' => drop(self.rest.next()?),
                '[' if self.rest.peek() == Some(&':') => self.skip_class_name(),
                _ => {}
            }
        }
    }

    /// `:alpha:]`, if that is what follows.
    fn skip_class_name(&mut self) {
        let mut ahead = self.rest.clone();
        ahead.next();
        while ahead.next_if(char::is_ascii_alphabetic).is_some() || ahead.next_if_eq(&'^').is_some() {}
        if ahead.next() == Some(':') && ahead.next() == Some(']') {
            self.rest = ahead;
        }
    }

    /// The start of a group. There is no looking ahead or back.
    fn group(&mut self) -> Option<Before> {
        self.open += 1;
        if self.rest.next_if_eq(&'?').is_none() {
            return Some(Before::Nothing);
        }
        loop {
            match self.rest.next()? {
                ':' => return Some(Before::Nothing),
                // Flags alone are no group.
                ')' => {
                    self.open -= 1;
                    return Some(Before::Item);
                }
                '<' if matches!(self.rest.peek(), Some('=' | '!')) => return None,
                '<' => {
                    let closed = self.rest.by_ref().any(|c| c == '>');
                    return closed.then_some(Before::Nothing);
                }
                'i' | 'm' | 's' | 'U' | '-' | 'P' => {}
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_wrong_is_no_regex() {
        for good in [
            "",
            "^[a-z]+$",
            "a{2,3}?",
            "a{2,}",
            "a{,2}",
            "a{b",
            "{",
            "[]a]",
            "[^]a]",
            "[[a]",
            "[[:alpha:]x]",
            "[\\]]",
            "(?i)a",
            "(?i:a)",
            "(?P<n>a)",
            "(?<n>a)",
            "a|",
            "(|a)",
            "a*?",
            "a??",
            "\\d\\.\\/\\-\\_",
            "\\Q*(\\Ea",
            "\\123",
            "\\pL\\p{Greek}\\x{10FFFF}",
            "^*",
            "()*",
            "]",
            "}",
        ] {
            assert!(is_regex(good), "{good}");
        }
        for wrong in [
            "*", "a**", "a*+", "a???", "(", ")", "(a", "a)", "[a", "[", "\\", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)",
            "(?>a)", "\\1", "\\k", "\\Z", "a|*", "(*a)", "a{3,2}", "a{1001}", "(?P<n", "[\\",
        ] {
            assert!(!is_regex(wrong), "{wrong}");
        }
    }
}
