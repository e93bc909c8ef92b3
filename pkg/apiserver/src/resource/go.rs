//! Go's way of saying things, where clients read it in refusals of patches.

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
}
