//! Inputs: good ones of every form, and what becomes of them.

use apis::schema::fill::Filler;
use apis::schema::{Type, protobuf, roots};
use serde_json::{Value, json};

use crate::INPUT_MAX;

/// The form of good inputs that a target is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeds {
    Json,
    Yaml,
    Protobuf,
    JsonPatch,
    /// Merge and strategic merge patches.
    Patch,
    /// `fieldsV1`, or a whole list of managed fields.
    Fields,
    Words,
}

/// Makes inputs; keeps some of the mutated ones as seeds of their own.
#[derive(Default)]
pub struct Corpus {
    kept: Vec<(Seeds, Vec<u8>)>,
}

const KEPT_MAX: usize = 500;

/// Pieces that mean something to one of the readers.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-0",
    "1e999",
    "9223372036854775808",
    "0.1e-7",
    "&a",
    "*a",
    "<<: *a",
    "- ",
    "---\n",
    "? ",
    "!!binary ",
    "|\n",
    "0o17",
    ".inf",
    "$patch",
    "replace",
    "delete",
    "$retainKeys",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "/metadata/labels/a~1b",
    "/spec/-",
    "test",
    "copy",
    "move",
    "in (",
    "notin (",
    "!",
    "!=",
    "==",
    ">",
    "metadata.name=",
    "Ki",
    "m",
    "E",
    "e3",
    "i",
    "+",
    "-",
    "2026-01-01T00:00:00Z",
    "\u{1f600}",
    "\0",
    "k8s\0",
];

/// Selectors, quantities, times, tokens.
const WORDS: &[&str] = &[
    "a=b,c!=d,e in (f,g),!h,i notin (j),k>5",
    "metadata.name=x,spec.nodeName!=",
    "1.5Gi",
    "100m",
    "12E",
    "0.000000001",
    "1e-9",
    "2026-01-02T03:04:05.678901+02:00",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
    "25%",
    "http",
];

const FIELDS: &[&str] = &[
    r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{}}}}}"#,
    r#"{"f:spec":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{}},"f:finalizers":{"v:\"x\"":{},"i:3":{}}}}"#,
    r#"[{"manager":"kubectl","operation":"Apply","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1",
        "fieldsV1":{"f:data":{}},"subresource":"status"}]"#,
];

impl Corpus {
    /// An input near a good one.
    pub fn input(&mut self, seeds: Seeds, random: &mut Filler) -> Vec<u8> {
        let mut input = self.seed(seeds, random);
        for _ in 0..random.below(6) {
            mutate(&mut input, random);
        }
        input.truncate(INPUT_MAX);
        if random.below(20) == 0 {
            let at = random.below(KEPT_MAX as u64) as usize;
            match self.kept.get_mut(at) {
                Some(old) => *old = (seeds, input.clone()),
                None => self.kept.push((seeds, input.clone())),
            }
        }
        input
    }

    fn seed(&self, seeds: Seeds, random: &mut Filler) -> Vec<u8> {
        let old: Vec<&Vec<u8>> = self.kept.iter().filter(|(s, _)| *s == seeds).map(|(_, input)| input).collect();
        if !old.is_empty() && random.below(3) == 0 {
            return old[random.below(old.len() as u64) as usize].clone();
        }
        match seeds {
            Seeds::Json | Seeds::Patch => object(random).to_string().into_bytes(),
            Seeds::Yaml => serde_saphyr::to_string(&object(random)).unwrap_or_default().into_bytes(),
            Seeds::Protobuf => protobuf::encode(&object(random)).unwrap_or_default(),
            Seeds::JsonPatch => json_patch(random).to_string().into_bytes(),
            Seeds::Fields => FIELDS[random.below(FIELDS.len() as u64) as usize].as_bytes().to_vec(),
            Seeds::Words => WORDS[random.below(WORDS.len() as u64) as usize].as_bytes().to_vec(),
        }
    }
}

/// A random root kind.
pub fn kind(random: &mut Filler) -> (&'static str, &'static str, &'static str, Type) {
    let count = roots().count() as u64;
    roots().nth(random.below(count) as usize).unwrap()
}

/// A random object of a random kind, not canonical.
pub fn object(random: &mut Filler) -> Value {
    let (group, version, kind, type_) = kind(random);
    random.object(group, version, kind, type_)
}

fn json_patch(random: &mut Filler) -> Value {
    const PATHS: [&str; 5] = ["/metadata", "/metadata/labels/a", "/spec/containers/0", "/spec/-", ""];
    const OPERATIONS: [&str; 6] = ["add", "remove", "replace", "move", "copy", "test"];
    let any = |list: &[&'static str], random: &mut Filler| list[random.below(list.len() as u64) as usize];
    (0..1 + random.below(4))
        .map(|_| {
            let (op, path, from) = (any(&OPERATIONS, random), any(&PATHS, random), any(&PATHS, random));
            json!({ "op": op, "path": path, "from": from, "value": object(random)["metadata"] })
        })
        .collect()
}

fn mutate(input: &mut Vec<u8>, random: &mut Filler) {
    let at = random.below(input.len() as u64 + 1) as usize;
    let length = random.below(input.len() as u64 + 1 - at as u64).min(1 << random.below(12)) as usize;
    match random.below(7) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 => input.truncate(at),
        2 => drop(input.drain(at..at + length)),
        3 => {
            let piece = input[at..at + length].to_vec();
            let to = random.below(input.len() as u64 + 1) as usize;
            // The same piece again and again: depth, aliases, long runs.
            let times = 1 << random.below(7);
            let room = INPUT_MAX.saturating_sub(input.len()) / piece.len().max(1);
            input.splice(to..to, piece.repeat(times.min(room)));
        }
        4 => {
            let bytes: Vec<u8> = (0..random.below(16)).map(|_| random.below(256) as u8).collect();
            input.splice(at..at, bytes);
        }
        _ => {
            let token = TOKENS[random.below(TOKENS.len() as u64) as usize];
            input.splice(at..at, token.bytes());
        }
    }
}
