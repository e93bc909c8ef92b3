//! What is wrong with a text that is no JSON, in the words of Go's scanner, which clients and people know.

/// The first fault of `text`; `None` if it is JSON by its grammar.
pub fn fault(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.document().err().map(|fault| match fault {
        Fault::End => "unexpected end of JSON input".to_owned(),
        Fault::Character(byte, place) => format!("invalid character {} {place}", quoted(byte)),
        Fault::Literal(byte, word, expected) => {
            format!("invalid character {} in literal {word} (expecting {})", quoted(byte), quoted(expected))
        }
        Fault::Depth => "exceeded max depth".to_owned(),
    })
}

enum Fault {
    End,
    /// A byte, and where it stands.
    Character(u8, &'static str),
    /// A byte inside `true`, `false` or `null`, and the one that should stand there.
    Literal(u8, &'static str, u8),
    Depth,
}

type Scan = Result<(), Fault>;

/// Go's own bound.
const DEPTH_MAX: usize = 10_000;

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// What is to come in the object or list that is being read.
#[derive(Clone, Copy)]
enum Open {
    Object,
    List,
}

impl Scanner<'_> {
    fn next(&mut self) -> Result<u8, Fault> {
        let byte = *self.text.get(self.at).ok_or(Fault::End)?;
        self.at += 1;
        Ok(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte that is no blank.
    fn token(&mut self) -> Result<u8, Fault> {
        while self.peek().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.at += 1;
        }
        self.next()
    }

    /// One value and nothing after it. A stack of its own: the text decides how deep it is.
    fn document(&mut self) -> Scan {
        let mut open = Vec::new();
        let first = self.token()?;
        self.value(first, &mut open)?;
        while let Some(outer) = open.last().copied() {
            let byte = self.token()?;
            match (outer, byte) {
                (Open::Object, b'}') | (Open::List, b']') => drop(open.pop()),
                (Open::Object, b',') => {
                    let byte = self.token()?;
                    let byte = self.name(byte)?;
                    self.value(byte, &mut open)?;
                }
                (Open::List, b',') => {
                    let byte = self.token()?;
                    self.value(byte, &mut open)?;
                }
                (Open::Object, _) => return Err(Fault::Character(byte, "after object key:value pair")),
                (Open::List, _) => return Err(Fault::Character(byte, "after array element")),
            }
        }
        match self.token() {
            Ok(byte) => Err(Fault::Character(byte, "after top-level value")),
            Err(_) => Ok(()),
        }
    }

    /// A value that begins with `byte`; objects and lists that are not empty stay open, behind their first value.
    fn value(&mut self, mut byte: u8, open: &mut Vec<Open>) -> Scan {
        loop {
            if open.len() > DEPTH_MAX {
                return Err(Fault::Depth);
            }
            byte = match byte {
                b'{' => match self.token()? {
                    b'}' => return Ok(()),
                    first => {
                        open.push(Open::Object);
                        self.name(first)?
                    }
                },
                b'[' => match self.token()? {
                    b']' => return Ok(()),
                    first => {
                        open.push(Open::List);
                        first
                    }
                },
                b'"' => return self.string(),
                b'-' | b'0'..=b'9' => return self.number(byte),
                b't' => return self.literal("true"),
                b'f' => return self.literal("false"),
                b'n' => return self.literal("null"),
                _ => return Err(Fault::Character(byte, "looking for beginning of value")),
            };
        }
    }

    /// A name that begins with `byte`, and the colon. Answers the first byte of the value.
    fn name(&mut self, byte: u8) -> Result<u8, Fault> {
        if byte != b'"' {
            return Err(Fault::Character(byte, "looking for beginning of object key string"));
        }
        self.string()?;
        match self.token()? {
            b':' => self.token(),
            other => Err(Fault::Character(other, "after object key")),
        }
    }

    fn string(&mut self) -> Scan {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                control @ 0..0x20 => return Err(Fault::Character(control, "in string literal")),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Scan {
        match self.next()? {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => Ok(()),
            b'u' => (0..4).try_for_each(|_| match self.next()? {
                byte if byte.is_ascii_hexdigit() => Ok(()),
                byte => Err(Fault::Character(byte, "in \\u hexadecimal character escape")),
            }),
            byte => Err(Fault::Character(byte, "in string escape code")),
        }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn digit(&mut self, place: &'static str) -> Result<u8, Fault> {
        match self.next()? {
            byte if byte.is_ascii_digit() => Ok(byte),
            byte => Err(Fault::Character(byte, place)),
        }
    }

    fn number(&mut self, first: u8) -> Scan {
        let first = if first == b'-' { self.digit("in numeric literal")? } else { first };
        if first != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if self.peek().is_some_and(|byte| b"eE".contains(&byte)) {
            self.at += 1;
            if self.peek().is_some_and(|byte| b"+-".contains(&byte)) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    /// The rest of a word whose first letter was read.
    fn literal(&mut self, word: &'static str) -> Scan {
        for expected in word.bytes().skip(1) {
            let byte = self.next()?;
            if byte != expected {
                return Err(Fault::Literal(byte, word, expected));
            }
        }
        Ok(())
    }
}

/// A byte as Go quotes it.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x20..0x7f => format!("'{}'", char::from(byte)),
        0..0x20 | 0x7f => format!(r"'\x{byte:02x}'"),
        // Bytes are taken for code points.
        0xa1.. if byte != 0xad => format!("'{}'", char::from(byte)),
        _ => format!(r"'\u{byte:04x}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_in_the_words_of_go() {
        for (text, fault_text) in [
            ("", "unexpected end of JSON input"),
            ("{\"a\": [1, 2", "unexpected end of JSON input"),
            ("\"abc", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{]", "invalid character ']' looking for beginning of object key string"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} {}", "invalid character '{' after top-level value"),
            ("nil", "invalid character 'i' in literal null (expecting 'u')"),
            ("trues", "invalid character 's' after top-level value"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("01", "invalid character '1' after top-level value"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1e+'", r"invalid character '\'' in exponent of numeric literal"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            ("\"\\u00g0\"", "invalid character 'g' in \\u hexadecimal character escape"),
            ("\"a\nb\"", r"invalid character '\n' in string literal"),
            ("\u{1}", r"invalid character '\x01' looking for beginning of value"),
        ] {
            assert_eq!(fault(text.as_bytes()).as_deref(), Some(fault_text), "{text}");
        }
        for text in ["{}", " [1, -0.5e-7, \"\\u00e4\", true, {\"a\": {}}] ", "null", "0"] {
            assert_eq!(fault(text.as_bytes()), None, "{text}");
        }
        assert_eq!(fault("[".repeat(20_000).as_bytes()).as_deref(), Some("exceeded max depth"));
    }
}
