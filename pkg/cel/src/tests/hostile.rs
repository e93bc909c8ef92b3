//! Whatever a client sends is read in bounded time and on a bounded stack.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::Environment;
use crate::kubernetes::Admission;

/// What no expression takes, however odd it is and however slow the machine. Most take a thousandth.
const LONG: Duration = Duration::from_secs(20);

fn environment() -> Environment {
    Admission { params: true, authorizer: true, variables: true, patches: true }.environment()
}

fn compile(text: &str) {
    let start = Instant::now();
    let result = environment().estimate(text).map(|found| found.of.to_string());
    let (Ok(shown) | Err(shown)) = &result;
    assert!(shown.len() < 256 * 1024, "{} bytes for {} bytes", shown.len(), text.len());
    assert!(start.elapsed() < LONG, "{:?} for {text:.1000}", start.elapsed());
}

#[test]
fn repetitions_end_soon() {
    for part in [
        "(",
        "[",
        "{",
        "!",
        "-",
        "a.",
        "a?",
        "a?b:",
        "1+",
        "1*",
        "a(",
        "a[",
        "a&&",
        "a<",
        "a.b(",
        "[1].map(x,",
        "{1:",
        "a{b:",
        "object.",
        "x.map(x,[x,",
        "'a'+",
        "()",
        "`",
        "'",
        "\"\"\"",
        "\\",
        "//",
        "#",
        "\u{e9}",
        "a{",
        "{a:b,",
        "]",
        ",",
        "?",
        "1 1 ",
        "\n",
        "(-",
    ] {
        for size in [250, 3_000, 90_000] {
            compile(&part.repeat(size / part.len()));
        }
    }
}

#[test]
fn what_is_nested_ends_soon() {
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{1: ", "1", "}"),
        ("[1].map(x, ", "x", ")"),
        ("[1].exists(x, ", "true", ")"),
        ("[1].sortBy(x, ", "x", ")"),
        ("optional.of(1).optMap(x, ", "x", ")"),
        ("cel.bind(x, [[], []], ", "x", ")"),
        ("object.x ? 1 : ", "1", ""),
        ("", "object", ".map(x, x)"),
    ] {
        for depth in [10, 100, 245] {
            compile(&format!("{}{inner}{}", open.repeat(depth), close.repeat(depth)));
        }
    }
}

/// Types in which each part is named twice would have 2^200 parts.
#[test]
fn types_do_not_grow_without_bound() {
    for first in ["[{1: 1}]", "[]", "object", "[[]]"] {
        compile(&format!("{first}{}", ".map(x, {x: x})".repeat(200)));
        compile(&format!("{first}{}", ".map(x, [x, [x]])".repeat(200)));
    }
    let binds = |item: fn(usize) -> String| {
        let binds: String = (0..200).map(|i| format!("cel.bind(a{}, {}, ", i + 1, item(i))).collect();
        format!("cel.bind(a0, [], {binds}a200{})", ")".repeat(200))
    };
    compile(&binds(|i| format!("{{a{i}: a{i}}}")));
    compile(&binds(|i| format!("[a{i}, []]")));
    compile(&binds(|i| format!("[{{a{i}: a{i}}}] + []")));
}

const PARTS: &[&str] = &[
    "a",
    "object",
    "x",
    "1",
    "1u",
    "1.5",
    "'s'",
    "b'b'",
    "true",
    "null",
    "in",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    "?",
    ":",
    "+",
    "-",
    "*",
    "!",
    "==",
    "<",
    "&&",
    "||",
    ".all(x, ",
    ".map(x, ",
    ".filter(i, v, ",
    ".?a",
    "[?0]",
    "has(",
    "optional.of(",
    ".optMap(x, ",
    "cel.bind(x, ",
    ".transformMap(k, v, ",
    "Object{",
    "JSONPatch{op: ",
    ".size()",
    " ",
    "\n",
    "$",
    "\\",
    "\"",
    "`a b`",
    ".format([",
    "variables.",
    "authorizer",
    ".matches('",
    "\u{1f601}",
    "while",
    "0x",
    "1e",
    "//",
];

proptest! {
    #[test]
    fn any_text_is_read(text in ".{0,200}") {
        compile(&text);
    }

    #[test]
    fn any_row_of_parts_is_read(parts in prop::collection::vec(prop::sample::select(PARTS), 0..60)) {
        compile(&parts.concat());
    }
}
