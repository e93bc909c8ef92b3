//! Texts of literals into values.

use crate::ast::Literal;

/// A number without its sign before it, in decimal or hexadecimal digits.
fn radix(text: &str) -> (u32, &str) {
    text.strip_prefix("0x").map_or((10, text), |digits| (16, digits))
}

pub fn int(text: &str, negative: bool) -> Result<Literal, String> {
    let (radix, digits) = radix(text);
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    i64::from_str_radix(&signed, radix).map(Literal::Int).map_err(|_| "invalid int literal".to_owned())
}

/// `text` ends with `u`.
pub fn uint(text: &str) -> Result<Literal, String> {
    let (radix, digits) = radix(&text[..text.len() - 1]);
    u64::from_str_radix(digits, radix).map(Literal::Uint).map_err(|_| "invalid uint literal".to_owned())
}

pub fn double(text: &str, negative: bool) -> Result<Literal, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Literal::Double(if negative { -value } else { value })),
        _ => Err("invalid double literal".to_owned()),
    }
}

/// A string with its quotes and prefix.
pub fn string(text: &str) -> Result<Literal, String> {
    unquote(text, false).map(|bytes| Literal::String(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Bytes with quotes and prefix; escapes of two hexadecimal or three octal digits are bytes, not characters.
pub fn bytes(text: &str) -> Result<Literal, String> {
    unquote(&text[1..], true).map(Literal::Bytes)
}

fn unquote(text: &str, is_bytes: bool) -> Result<Vec<u8>, String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let is_raw = text.starts_with(['r', 'R']);
    let quoted = &text[usize::from(is_raw)..];
    let marks = if quoted.len() >= 6 && (quoted.starts_with("\"\"\"") || quoted.starts_with("'''")) { 3 } else { 1 };
    let body = &quoted[marks..quoted.len() - marks];
    if is_raw || !body.contains('\\') {
        return Ok(body.as_bytes().to_vec());
    }
    let (mut value, mut rest) = (Vec::with_capacity(body.len()), body);
    while let Some(at) = rest.find('\\') {
        value.extend_from_slice(&rest.as_bytes()[..at]);
        rest = escape(&mut value, &rest[at + 1..], is_bytes)?;
    }
    value.extend_from_slice(rest.as_bytes());
    Ok(value)
}

/// Adds the value of an escape; `text` begins behind the backslash. Gives what follows it.
fn escape<'a>(value: &mut Vec<u8>, text: &'a str, is_bytes: bool) -> Result<&'a str, String> {
    let unable = || "unable to unescape string".to_owned();
    let sign = text.chars().next().ok_or_else(unable)?;
    let rest = &text[sign.len_utf8()..];
    let (start, digits, radix, is_byte) = match sign {
        'x' | 'X' => (rest, 2, 16, is_bytes),
        'u' if !is_bytes => (rest, 4, 16, false),
        'U' if !is_bytes => (rest, 8, 16, false),
        '0'..='3' => (text, 3, 8, is_bytes),
        _ => {
            value.push(plain_escape(sign).ok_or_else(unable)?);
            return Ok(rest);
        }
    };
    let code = start.get(..digits).and_then(|digits| u32::from_str_radix(digits, radix).ok()).ok_or_else(unable)?;
    if is_byte {
        value.push(u8::try_from(code).map_err(|_| unable())?);
    } else {
        let sign = char::from_u32(code).ok_or("invalid unicode code point")?;
        value.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(&start[digits..])
}

fn plain_escape(sign: char) -> Option<u8> {
    Some(match sign {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '"' | '\'' | '\\' | '?' | '`' => sign as u8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read() {
        let cases: &[(&str, Result<&str, &str>)] = &[
            (r#""a""#, Ok("a")),
            (r#""\n\t\\\"\?""#, Ok("\n\t\\\"?")),
            (r#""\u263A \U0001F600""#, Ok("\u{263a} \u{1f600}")),
            (r#""\303""#, Ok("\u{c3}")),
            (r#"r"\n""#, Ok("\\n")),
            (r#"'''a'b'''"#, Ok("a'b")),
            (r#""""""""#, Ok("")),
            (r#""""#, Ok("")),
            (r#""\udead""#, Err("invalid unicode code point")),
        ];
        for (text, want) in cases {
            let want = want.map(|text| Literal::String(text.to_owned())).map_err(str::to_owned);
            assert_eq!(string(text), want, "{text}");
        }
        assert_eq!(bytes(r#"b"\303\xffe""#), Ok(Literal::Bytes(vec![0xc3, 0xff, b'e'])));
        assert_eq!(bytes(r#"b"\u00e9""#), Err("unable to unescape string".to_owned()));
    }

    #[test]
    fn numbers_are_read() {
        assert_eq!(int("0xff", true), Ok(Literal::Int(-255)));
        assert_eq!(int("9223372036854775808", true), Ok(Literal::Int(i64::MIN)));
        assert_eq!(int("9223372036854775808", false), Err("invalid int literal".to_owned()));
        assert_eq!(uint("18446744073709551615u"), Ok(Literal::Uint(u64::MAX)));
        assert_eq!(uint("18446744073709551616u"), Err("invalid uint literal".to_owned()));
        assert_eq!(double("1e400", false), Err("invalid double literal".to_owned()));
    }
}
