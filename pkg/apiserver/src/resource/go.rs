//! Go's way of saying things, where clients read it in refusals of patches.

use serde_json::Value;

/// A tree as Go prints it: `map[spec:map[replicas:x]]`.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", text(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// What the converter of trees says where the decoder of JSON says `why`. `None` if that is no error of types.
pub fn restore_error(why: &str) -> Option<String> {
    let (given, rest) = why.strip_prefix("json: cannot unmarshal ")?.split_once(" into Go ")?;
    let (_, wanted) = rest.rsplit_once(" of type ")?;
    let given = match given.split(' ').next()? {
        "object" => "map",
        "array" => "slice",
        "number" => "int64",
        other => other,
    };
    Some(match wanted {
        _ if wanted.starts_with("map[") => format!("cannot restore map from {given}"),
        _ if wanted.starts_with("[]") => format!("cannot restore slice from {given}"),
        _ if wanted.contains('.') => format!("cannot restore struct from: {given}"),
        "string" if given == "int64" => "cannot convert int64 to string".to_owned(),
        scalar => format!("unrecognized type: {scalar}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_of_the_converter() {
        let field = |given: &str, wanted: &str| {
            restore_error(&format!("json: cannot unmarshal {given} into Go struct field A.b.c of type {wanted}"))
        };
        for (given, wanted, text) in [
            ("string", "int32", "unrecognized type: int32"),
            ("number", "string", "cannot convert int64 to string"),
            ("bool", "string", "unrecognized type: string"),
            ("string", "[]v1.Container", "cannot restore slice from string"),
            ("array", "map[string]string", "cannot restore map from slice"),
            ("number", "v1.PodSpec", "cannot restore struct from: int64"),
        ] {
            assert_eq!(field(given, wanted).as_deref(), Some(text));
        }
        assert_eq!(restore_error("quantities must match the regular expression"), None);
    }

    #[test]
    fn trees_are_printed_as_maps_and_slices() {
        let tree = serde_json::json!({ "spec": { "x": [1, "a", null], "b": true } });
        assert_eq!(text(&tree), "map[spec:map[b:true x:[1 a <nil>]]]");
    }
}
