//! Errors of syntax, in the texts and places of cel-go.

use super::errors;
use crate::Environment;

/// What an expression can begin with, as errors list it.
const EXPR: &str =
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
const KEY: &str = "{'[', '{', '}', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

#[test]
fn errors_of_syntax_are_told_as_upstream() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["1:1: Syntax error: mismatched input '<EOF>' expecting {expr}"]),
        ("1 +", &["1:4: Syntax error: mismatched input '<EOF>' expecting {expr}"]),
        (
            "1 + +",
            &[
                "1:5: Syntax error: mismatched input '+' expecting {expr}",
                "1:6: Syntax error: mismatched input '<EOF>' expecting {expr}",
            ],
        ),
        ("1 + 2\n3 +", &["2:1: Syntax error: mismatched input '3' expecting <EOF>"]),
        (
            "1 + $",
            &[
                "1:5: Syntax error: token recognition error at: '$'",
                "1:6: Syntax error: mismatched input '<EOF>' expecting {expr}",
            ],
        ),
        (
            "*@a | b",
            &[
                "1:1: Syntax error: extraneous input '*' expecting {expr}",
                "1:2: Syntax error: token recognition error at: '@'",
                "1:5: Syntax error: token recognition error at: '| '",
                "1:7: Syntax error: extraneous input 'b' expecting <EOF>",
            ],
        ),
        (
            "a | b",
            &[
                "1:3: Syntax error: token recognition error at: '| '",
                "1:5: Syntax error: extraneous input 'b' expecting <EOF>",
            ],
        ),
        ("{", &["1:2: Syntax error: mismatched input '<EOF>' expecting {key}"]),
        ("{a}", &["1:3: Syntax error: mismatched input '}' expecting ':'"]),
        (
            "{:a}",
            &[
                "1:2: Syntax error: extraneous input ':' expecting {key}",
                "1:4: Syntax error: mismatched input '}' expecting ':'",
            ],
        ),
        ("ind[a{b}]", &["1:8: Syntax error: mismatched input '}' expecting ':'"]),
        (
            "msg{:a}",
            &[
                "1:5: Syntax error: extraneous input ':' expecting {'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}",
                "1:7: Syntax error: mismatched input '}' expecting ':'",
            ],
        ),
        (
            "func{{a}}",
            &[
                "1:6: Syntax error: extraneous input '{' expecting {'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}",
                "1:8: Syntax error: mismatched input '}' expecting ':'",
                "1:9: Syntax error: extraneous input '}' expecting <EOF>",
            ],
        ),
        ("x{.", &["1:3: Syntax error: mismatched input '.' expecting {'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}"]),
        ("T(){}", &["1:4: Syntax error: mismatched input '{' expecting <EOF>"]),
        ("T{}()", &["1:4: Syntax error: mismatched input '(' expecting <EOF>"]),
        ("{\"a\": 1}.\"a\"", &["1:10: Syntax error: no viable alternative at input '.\"a\"'"]),
        (
            "--",
            &[
                "1:3: Syntax error: no viable alternative at input '-'",
                "1:3: Syntax error: mismatched input '<EOF>' expecting {expr}",
            ],
        ),
        (
            "?",
            &[
                "1:1: Syntax error: mismatched input '?' expecting {expr}",
                "1:2: Syntax error: mismatched input '<EOF>' expecting {expr}",
            ],
        ),
        (
            "in",
            &[
                "1:1: Syntax error: mismatched input 'in' expecting {expr}",
                "1:3: Syntax error: mismatched input '<EOF>' expecting {expr}",
            ],
        ),
        ("self.true == 1", &["1:6: Syntax error: mismatched input 'true' expecting IDENTIFIER"]),
        ("`b-c`", &["1:1: Syntax error: mismatched input '`b-c`' expecting {expr}"]),
        (
            "`b-c`()",
            &[
                "1:1: Syntax error: extraneous input '`b-c`' expecting {expr}",
                "1:7: Syntax error: mismatched input ')' expecting {expr}",
            ],
        ),
        (
            "a.`$b`",
            &[
                "1:3: Syntax error: token recognition error at: '`$'",
                "1:6: Syntax error: token recognition error at: '`'",
            ],
        ),
        (
            "'3# < 10\" '& tru ^^",
            &[
                "1:12: Syntax error: token recognition error at: '& '",
                "1:14: Syntax error: extraneous input 'tru' expecting <EOF>",
                "1:18: Syntax error: token recognition error at: '^'",
                "1:19: Syntax error: token recognition error at: '^'",
            ],
        ),
        (
            "\"\\xFh\"",
            &[
                "1:1: Syntax error: token recognition error at: '\"\\xFh'",
                "1:6: Syntax error: token recognition error at: '\"'",
                "1:7: Syntax error: mismatched input '<EOF>' expecting {expr}",
            ],
        ),
        (
            "true\n && in.\u{1f601}",
            &[
                "2:5: Syntax error: extraneous input 'in' expecting {expr}",
                "2:8: Syntax error: token recognition error at: '\u{1f601}'",
                "2:9: Syntax error: no viable alternative at input '.'",
            ],
        ),
    ];
    check(cases);
}

#[test]
fn what_is_grammatical_can_still_be_wrong() {
    check(&[
        ("0xFFFFFFFFFFFFFFFFF", &["1:1: invalid int literal"]),
        ("0xFFFFFFFFFFFFFFFFFu", &["1:1: invalid uint literal"]),
        ("1.99e90000009", &["1:1: invalid double literal"]),
        ("'\\udead' == '\\ufffd'", &["1:1: invalid unicode code point"]),
        ("while", &["1:1: reserved identifier: while"]),
        ("has(m)", &["1:5: invalid argument to has() macro"]),
        ("1.all(2, 3)", &["1:7: argument must be a simple name"]),
        ("m.map(__result__, __result__)", &["1:7: iteration variable overwrites accumulator variable"]),
        ("m.filter(a.b, false)", &["1:11: argument is not an identifier"]),
        ("m.all(x, x, true)", &["1:10: duplicate variable name: x"]),
        ("a.`b-c`", &["1:3: unsupported syntax: '`'"]),
        ("a.`b.c`()", &["1:3: unsupported syntax: '`'", "1:8: Syntax error: mismatched input '(' expecting <EOF>"]),
        ("Message{`in`: true}", &["1:9: unsupported syntax: '`'"]),
        (
            "[1, 2, 3].map(var, var * var)",
            &[
                "1:15: reserved identifier: var",
                "1:15: argument is not an identifier",
                "1:20: reserved identifier: var",
                "1:26: reserved identifier: var",
            ],
        ),
    ]);
}

#[test]
fn depth_and_size_are_bounded() {
    let repeated = |open: &str, inner: &str, close: &str, count| open.repeat(count) + inner + &close.repeat(count);
    for fine in [
        repeated("(", "1", ")", 240),
        repeated("[", "1", "]", 240),
        repeated("true ? 1 : ", "1", "", 240),
        repeated("!", "true", "", 10_000),
        repeated("true || ", "true", "", 2_000),
        repeated("1 + ", "1", "", 240),
        repeated("[1].exists(x, ", "true", ")", 100),
    ] {
        assert_eq!(errors(&Environment::default(), &fine), [""; 0], "{fine}");
    }
    for (deep, why) in [
        (repeated("(", "1", ")", 251), "-1:0: expression recursion limit exceeded: 250"),
        (repeated("[", "1", "]", 40_000), "-1:0: expression recursion limit exceeded: 250"),
        (repeated("1 + ", "1", "", 251), "-1:0: max recursion depth exceeded"),
        ("a".to_owned() + &".a".repeat(40_000), "-1:0: max recursion depth exceeded"),
        ("a".to_owned() + &"[1]".repeat(30_000), "-1:0: max recursion depth exceeded"),
        (" ".repeat(100_001), "-1:0: expression code point size exceeds limit: size: 100001, limit 100000"),
    ] {
        assert_eq!(errors(&Environment::default(), &deep).first().map(String::as_str), Some(why));
    }
}

#[test]
fn errors_show_the_line_and_a_mark() {
    let errors = Environment::default().compile("true &&\n\t\u{1f601}x").expect_err("no token");
    let want = "ERROR: <input>:2:2: Syntax error: token recognition error at: '\u{1f601}'\n |  \u{1f601}x\n | .\u{ff3e}\n\
                ERROR: <input>:2:3: undeclared reference to 'x' (in container '')";
    let want = want.split("\nERROR: <input>:2:3").next().unwrap_or(want);
    assert_eq!(errors.to_string(), want);
}

fn check(cases: &[(&str, &[&str])]) {
    for (text, want) in cases {
        let mut want: Vec<String> = want.iter().map(|e| e.replace("{expr}", EXPR).replace("{key}", KEY)).collect();
        let mut got = errors(&Environment::default(), text);
        want.sort();
        got.sort();
        assert_eq!(got, want, "{text}");
    }
}
