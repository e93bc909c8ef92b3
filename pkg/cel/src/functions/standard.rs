//! The functions of CEL itself, and of the extensions of cel-go that Kubernetes has.

use super::Row;

/// Types that have an order, as lists of them can be sorted.
macro_rules! of_ordered {
    ($before:literal, $after:literal) => {
        &[
            concat!($before, "int", $after),
            concat!($before, "uint", $after),
            concat!($before, "double", $after),
            concat!($before, "bool", $after),
            concat!($before, "duration", $after),
            concat!($before, "timestamp", $after),
            concat!($before, "string", $after),
            concat!($before, "bytes", $after),
        ]
    };
}

/// Comparisons are between equal types, and between all numbers.
const ORDER: &[&str] = &[
    "(bool, bool) -> bool",
    "(int, int) -> bool",
    "(int, double) -> bool",
    "(int, uint) -> bool",
    "(uint, uint) -> bool",
    "(uint, double) -> bool",
    "(uint, int) -> bool",
    "(double, double) -> bool",
    "(double, int) -> bool",
    "(double, uint) -> bool",
    "(string, string) -> bool",
    "(bytes, bytes) -> bool",
    "(timestamp, timestamp) -> bool",
    "(duration, duration) -> bool",
];
const EQUALITY: &[&str] = &["(A, A) -> bool"];
const NUMBERS: &[&str] = &["(double, double) -> double", "(int, int) -> int", "(uint, uint) -> uint"];
const OF_TIME: &[&str] = &["timestamp.() -> int", "timestamp.(string) -> int"];
const OF_TIME_OR_DURATION: &[&str] = &["timestamp.() -> int", "timestamp.(string) -> int", "duration.() -> int"];

pub const TABLE: &[Row] = &[
    ("_?_:_", &["(bool, A, A) -> A"]),
    ("_&&_", &["(bool, bool) -> bool"]),
    ("_||_", &["(bool, bool) -> bool"]),
    ("!_", &["(bool) -> bool"]),
    ("@not_strictly_false", &["(bool) -> bool"]),
    ("_==_", EQUALITY),
    ("_!=_", EQUALITY),
    ("_<_", ORDER),
    ("_<=_", ORDER),
    ("_>_", ORDER),
    ("_>=_", ORDER),
    (
        "_+_",
        &[
            "(bytes, bytes) -> bytes",
            "(double, double) -> double",
            "(duration, duration) -> duration",
            "(duration, timestamp) -> timestamp",
            "(timestamp, duration) -> timestamp",
            "(int, int) -> int",
            "(list(A), list(A)) -> list(A)",
            "(string, string) -> string",
            "(uint, uint) -> uint",
        ],
    ),
    (
        "_-_",
        &[
            "(double, double) -> double",
            "(duration, duration) -> duration",
            "(int, int) -> int",
            "(timestamp, duration) -> timestamp",
            "(timestamp, timestamp) -> duration",
            "(uint, uint) -> uint",
        ],
    ),
    ("_*_", NUMBERS),
    ("_/_", NUMBERS),
    ("_%_", &["(int, int) -> int", "(uint, uint) -> uint"]),
    ("-_", &["(double) -> double", "(int) -> int"]),
    (
        "_[_]",
        &[
            "(list(A), int) -> A",
            "(map(A, B), A) -> B",
            "(optional_type(list(A)), int) -> optional_type(A)",
            "(optional_type(map(A, B)), A) -> optional_type(B)",
        ],
    ),
    (
        "_[?_]",
        &[
            "(list(A), int) -> optional_type(A)",
            "(optional_type(list(A)), int) -> optional_type(A)",
            "(map(A, B), A) -> optional_type(B)",
            "(optional_type(map(A, B)), A) -> optional_type(B)",
        ],
    ),
    ("@in", &["(A, list(A)) -> bool", "(A, map(A, B)) -> bool"]),
    (
        "size",
        &[
            "(bytes) -> int",
            "bytes.() -> int",
            "(list(A)) -> int",
            "list(A).() -> int",
            "(map(A, B)) -> int",
            "map(A, B).() -> int",
            "(string) -> int",
            "string.() -> int",
        ],
    ),
    ("type", &["(A) -> type(A)"]),
    ("dyn", &["(A) -> dyn"]),
    ("bool", &["(bool) -> bool", "(string) -> bool"]),
    ("bytes", &["(bytes) -> bytes", "(string) -> bytes"]),
    ("double", &["(double) -> double", "(int) -> double", "(string) -> double", "(uint) -> double"]),
    ("duration", &["(duration) -> duration", "(int) -> duration", "(string) -> duration"]),
    (
        "int",
        &[
            "(int) -> int",
            "(double) -> int",
            "(duration) -> int",
            "(string) -> int",
            "(timestamp) -> int",
            "(uint) -> int",
        ],
    ),
    ("uint", &["(uint) -> uint", "(double) -> uint", "(int) -> uint", "(string) -> uint"]),
    (
        "string",
        &[
            "(string) -> string",
            "(bool) -> string",
            "(bytes) -> string",
            "(double) -> string",
            "(duration) -> string",
            "(int) -> string",
            "(timestamp) -> string",
            "(uint) -> string",
            "(IP) -> string",
            "(CIDR) -> string",
        ],
    ),
    ("timestamp", &["(timestamp) -> timestamp", "(int) -> timestamp", "(string) -> timestamp"]),
    ("contains", &["string.(string) -> bool"]),
    ("endsWith", &["string.(string) -> bool"]),
    ("startsWith", &["string.(string) -> bool"]),
    ("matches", &["(string, string) -> bool", "string.(string) -> bool"]),
    ("getFullYear", OF_TIME),
    ("getMonth", OF_TIME),
    ("getDayOfYear", OF_TIME),
    ("getDayOfMonth", OF_TIME),
    ("getDate", OF_TIME),
    ("getDayOfWeek", OF_TIME),
    ("getHours", OF_TIME_OR_DURATION),
    ("getMinutes", OF_TIME_OR_DURATION),
    ("getSeconds", OF_TIME_OR_DURATION),
    ("getMilliseconds", OF_TIME_OR_DURATION),
];

pub const EXTENSIONS: &[Row] = &[
    // Optional values.
    ("optional.of", &["(A) -> optional_type(A)"]),
    ("optional.ofNonZeroValue", &["(A) -> optional_type(A)"]),
    ("optional.none", &["() -> optional_type(A)"]),
    ("optional.unwrap", &["(list(optional_type(A))) -> list(A)"]),
    ("unwrapOpt", &["list(optional_type(A)).() -> list(A)"]),
    ("hasValue", &["optional_type(A).() -> bool"]),
    ("value", &["optional_type(A).() -> A"]),
    ("or", &["optional_type(A).(optional_type(A)) -> optional_type(A)"]),
    ("orValue", &["optional_type(A).(A) -> A"]),
    // Strings, version 2.
    ("charAt", &["string.(int) -> string"]),
    ("format", &["string.(list(dyn)) -> string"]),
    ("indexOf", &["string.(string) -> int", "string.(string, int) -> int"]),
    ("lastIndexOf", &["string.(string) -> int", "string.(string, int) -> int"]),
    ("join", &["list(string).() -> string", "list(string).(string) -> string"]),
    ("lowerAscii", &["string.() -> string"]),
    ("upperAscii", &["string.() -> string"]),
    ("replace", &["string.(string, string) -> string", "string.(string, string, int) -> string"]),
    ("split", &["string.(string) -> list(string)", "string.(string, int) -> list(string)"]),
    ("substring", &["string.(int) -> string", "string.(int, int) -> string"]),
    ("trim", &["string.() -> string"]),
    ("strings.quote", &["(string) -> string"]),
    // Lists, version 3.
    ("lists.range", &["(int) -> list(int)"]),
    ("slice", &["list(A).(int, int) -> list(A)"]),
    ("flatten", &["list(list(A)).() -> list(A)", "list(dyn).(int) -> list(dyn)"]),
    ("distinct", &["list(A).() -> list(A)"]),
    ("reverse", &["list(A).() -> list(A)", "string.() -> string"]),
    ("first", &["list(A).() -> optional_type(A)"]),
    ("last", &["list(A).() -> optional_type(A)"]),
    (
        "sort",
        &[
            "list(int).() -> list(int)",
            "list(uint).() -> list(uint)",
            "list(double).() -> list(double)",
            "list(bool).() -> list(bool)",
            "list(duration).() -> list(duration)",
            "list(timestamp).() -> list(timestamp)",
            "list(string).() -> list(string)",
            "list(bytes).() -> list(bytes)",
        ],
    ),
    ("@sortByAssociatedKeys", of_ordered!("list(A).(list(", ")) -> list(A)")),
    ("isSorted", of_ordered!("list(", ").() -> bool")),
    // Sets.
    ("sets.contains", &["(list(A), list(A)) -> bool"]),
    ("sets.equivalent", &["(list(A), list(A)) -> bool"]),
    ("sets.intersects", &["(list(A), list(A)) -> bool"]),
    // Comprehensions of two variables.
    ("cel.@mapInsert", &["(map(A, B), A, B) -> map(A, B)", "(map(A, B), map(A, B)) -> map(A, B)"]),
];
