//! Label selectors: the text form of query parameters and the object form of `spec.selector`.

use std::fmt;

use serde_json::Value;

use crate::validation::{is_qualified_name, is_valid_label_value};

/// Why a text is no selector, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without repetition.
    pub values: Vec<String>,
}

/// Conditions that must all hold. Without any it selects everything; [`LabelSelector::nothing`] selects nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Requirement {
    /// Checks key, values and their number.
    pub fn new(
        key: impl Into<String>,
        operator: Operator,
        values: impl IntoIterator<Item = String>,
    ) -> Result<Self, SelectorError> {
        let key = key.into();
        let mut values: Vec<String> = values.into_iter().collect();
        let faults = is_qualified_name(&key);
        if !faults.is_empty() {
            return Err(SelectorError(format!("key: Invalid value: {key:?}: {}", faults.join("; "))));
        }
        check_values(operator, &values)?;
        for (i, value) in values.iter().enumerate() {
            let faults = is_valid_label_value(value);
            if !faults.is_empty() {
                let faults = faults.join("; ");
                return Err(SelectorError(format!("values[{i}][{key}]: Invalid value: {value:?}: {faults}")));
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(Self { key, operator, values })
    }

    pub fn matches_value(&self, value: Option<&str>) -> bool {
        let listed = |v: &str| self.values.iter().any(|x| x == v);
        match self.operator {
            Operator::In | Operator::Equals => value.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let number = |s: &str| s.parse::<i64>().ok();
                match (value.and_then(number), self.values.first().and_then(|v| number(v))) {
                    (Some(have), Some(want)) if self.operator == Operator::GreaterThan => have > want,
                    (Some(have), Some(want)) => have < want,
                    _ => false,
                }
            }
        }
    }
}

fn check_values(operator: Operator, values: &[String]) -> Result<(), SelectorError> {
    let shown = || format!("{values:?}").replace(", ", ",");
    let fault = match operator {
        Operator::In | Operator::NotIn if values.is_empty() => "for 'in', 'notin' operators, values set can't be empty",
        Operator::Equals | Operator::NotEquals if values.len() != 1 => {
            "exact-match compatibility requires one single value"
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            "values set must be empty for exists and does not exist"
        }
        Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
            "for 'Gt', 'Lt' operators, exactly one value is required"
        }
        Operator::GreaterThan | Operator::LessThan if values[0].parse::<i64>().is_err() => {
            let text = "for 'Gt', 'Lt' operators, the value must be an integer";
            return Err(SelectorError(format!("values[0]: Invalid value: {:?}: {text}", values[0])));
        }
        _ => return Ok(()),
    };
    Err(SelectorError(format!("values: Invalid value: {}: {fault}", shown())))
}

impl LabelSelector {
    pub fn everything() -> Self {
        Self::default()
    }

    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// Reads the text form: `a=b,c!=d,e in (f,g),h,!i,j>1`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Ok(Self::new(Parser::new(text).parse()?))
    }

    /// Reads a `meta/v1` `LabelSelector` object. Missing or null selects nothing, `{}` everything.
    pub fn from_value(selector: Option<&Value>) -> Result<Self, SelectorError> {
        let Some(selector) = selector.filter(|s| !s.is_null()) else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement::new(key.as_str(), Operator::Equals, [value])?);
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
            };
            let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned);
            requirements.push(Requirement::new(text("key"), operator, values)?);
        }
        Ok(Self::new(requirements))
    }

    /// A plain map of labels, as Services and ReplicationControllers have it. Missing or empty selects nothing.
    pub fn from_map(labels: Option<&serde_json::Map<String, Value>>) -> Self {
        let Some(labels) = labels.filter(|m| !m.is_empty()) else { return Self::nothing() };
        let one = |(key, value): (&String, &Value)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.as_str().unwrap_or_default().to_owned()],
        };
        Self::new(labels.iter().map(one).collect())
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether every object matches.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// `get` reads a label of the object in question.
    pub fn matches<'a>(&self, get: &impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches_value(get(&r.key)))
    }

    /// Matches a map of labels as it stands in `metadata.labels`.
    pub fn matches_map(&self, labels: Option<&serde_json::Map<String, Value>>) -> bool {
        self.matches(&|key| labels.and_then(|m| m.get(key)).and_then(Value::as_str))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.join(",");
        match self.operator {
            Operator::In => write!(f, "{} in ({values})", self.key),
            Operator::NotIn => write!(f, "{} notin ({values})", self.key),
            Operator::Equals => write!(f, "{}={values}", self.key),
            Operator::NotEquals => write!(f, "{}!={values}", self.key),
            Operator::Exists => f.write_str(&self.key),
            Operator::DoesNotExist => write!(f, "!{}", self.key),
            Operator::GreaterThan => write!(f, "{}>{values}", self.key),
            Operator::LessThan => write!(f, "{}<{values}", self.key),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for LabelSelector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    fn next(&mut self) -> Token<'a> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let special = |c: char| "=!(),><".contains(c);
        let token = match self.rest.chars().next() {
            None => return Token::End,
            Some(c) if special(c) => {
                let long = ["==", "!="].iter().find(|s| self.rest.starts_with(**s));
                Token::Symbol(&self.rest[..long.map_or(1, |s| s.len())])
            }
            Some(_) => {
                let end = self.rest.find(|c: char| special(c) || c.is_ascii_whitespace()).unwrap_or(self.rest.len());
                Token::Word(&self.rest[..end])
            }
        };
        self.rest = &self.rest[token.text().len()..];
        token
    }

    fn peek(&self) -> Token<'a> {
        Parser { rest: self.rest }.next()
    }

    fn parse(mut self) -> Result<Vec<Requirement>, SelectorError> {
        let wrap = |e: SelectorError| SelectorError(format!("unable to parse requirement: {}", e.0));
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::End => return Ok(requirements),
                Token::Word(_) | Token::Symbol("!") => requirements.push(self.requirement().map_err(wrap)?),
                other => return Err(found(other, "!, identifier, or 'end of string'")),
            }
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => match self.peek() {
                    Token::Word(_) | Token::Symbol("!") => {}
                    other => return Err(found(other, "identifier after ','")),
                },
                other => return Err(found(other, "',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek() == Token::Symbol("!");
        if negated {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(found(other, "identifier")),
        };
        let faults = is_qualified_name(key);
        if !faults.is_empty() {
            return Err(SelectorError(format!("<nil>: Invalid value: {key:?}: {}", faults.join("; "))));
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, []);
        }
        let operator = match self.peek() {
            Token::End | Token::Symbol(",") => return Requirement::new(key, Operator::Exists, []),
            Token::Word("in") => Operator::In,
            Token::Word("notin") => Operator::NotIn,
            Token::Symbol("=" | "==") => Operator::Equals,
            Token::Symbol("!=") => Operator::NotEquals,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            other => return Err(found(other, "in, notin, =, ==, !=, gt, lt")),
        };
        self.next();
        let values = if matches!(operator, Operator::In | Operator::NotIn) { self.set()? } else { vec![self.value()?] };
        Requirement::new(key, operator, values)
    }

    /// What stands after `=`: a word, or nothing.
    fn value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(_) => Ok(self.next().text().to_owned()),
            other => Err(found(other, "identifier")),
        }
    }

    /// `(a,b)`; an empty place between commas is the empty value.
    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(SelectorError(format!("found '{}' expected: '('", other.text()))),
        }
        let mut values = Vec::new();
        match self.peek() {
            Token::Word(_) | Token::Symbol("," | ")") => {}
            other => return Err(found(other, "',', ')' or identifier")),
        }
        loop {
            let mut value = String::new();
            let named = match self.peek() {
                Token::Word(word) => {
                    self.next();
                    word.clone_into(&mut value);
                    true
                }
                _ => false,
            };
            values.push(value);
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => return Ok(values),
                other if named => return Err(found(other, "',' or ')'")),
                other => return Err(found(other, "',', or identifier")),
            }
        }
    }
}

fn found(token: Token<'_>, expected: &str) -> SelectorError {
    SelectorError(format!("found '{}', expected: {expected}", token.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parses_and_shows() {
        for (text, shown) in [
            ("", ""),
            ("a=b", "a=b"),
            ("a==b", "a=b"),
            ("b!=c,a", "a,b!=c"),
            ("!a", "!a"),
            ("x in (c,b,b)", "x in (b,c)"),
            ("x notin (a, )", "x notin (,a)"),
            ("x>1", "x>1"),
            ("x < 7", "x<7"),
            ("a=", "a="),
            ("a=,b=c", "a=,b=c"),
            (" a = b , in in (in)", "a=b,in in (in)"),
            ("x.io/y=z", "x.io/y=z"),
        ] {
            assert_eq!(LabelSelector::parse(text).map(|s| s.to_string()).as_deref(), Ok(shown), "{text:?}");
        }
        for text in
            ["a b", "a in", "a in (", "a in (b", "=b", ",", "a,", "!", "a=b c", "-a", "a=b/c", "x>y", "a in b", "a=="]
        {
            let parsed = LabelSelector::parse(text);
            assert!(parsed.is_err() || text == "a==", "{text:?}: {parsed:?}");
        }
    }

    #[test]
    fn errors_are_told_as_upstream_tells_them() {
        for (text, error) in [
            ("a,", "found '', expected: identifier after ','"),
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
            ("=b", "found '=', expected: !, identifier, or 'end of string'"),
            ("a===b", "unable to parse requirement: found '=', expected: identifier"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a in (b,=", "unable to parse requirement: found '=', expected: ',', or identifier"),
            (
                "x>y",
                "unable to parse requirement: values[0]: Invalid value: \"y\": for 'Gt', 'Lt' operators, the value must be \
                 an integer",
            ),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap_err().0, error, "{text:?}");
        }
        let bad = LabelSelector::parse("-a=b").unwrap_err().0;
        assert!(bad.starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": name part must"), "{bad}");
        let bad = LabelSelector::parse("a in (b/c)").unwrap_err().0;
        assert!(bad.starts_with("unable to parse requirement: values[0][a]: Invalid value: \"b/c\": "), "{bad}");
    }

    #[test]
    fn matches() {
        let labels = json!({"a": "1", "b": "x"});
        for (text, expected) in [
            ("", true),
            ("a", true),
            ("c", false),
            ("!c", true),
            ("a=1,b=x", true),
            ("a=2", false),
            ("c!=1", true),
            ("a!=1", false),
            ("a in (1,2)", true),
            ("c in (1)", false),
            ("c notin (1)", true),
            ("a>0", true),
            ("a>1", false),
            ("a<2", true),
            ("b>0", false),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches_map(labels.as_object()), expected, "{text:?}");
        }
        assert!(!LabelSelector::from_value(None).unwrap().matches_map(labels.as_object()));
        assert!(LabelSelector::from_value(Some(&json!({}))).unwrap().matches_map(labels.as_object()));
    }

    #[test]
    fn object_form() {
        let selector = json!({"matchLabels": {"b": "x"}, "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["1"]}, {"key": "z", "operator": "DoesNotExist"}]});
        let selector = LabelSelector::from_value(Some(&selector)).unwrap();
        assert_eq!(selector.to_string(), "a in (1),b=x,!z");
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Huh"}]});
        assert_eq!(
            LabelSelector::from_value(Some(&bad)).unwrap_err().0,
            "\"Huh\" is not a valid label selector operator"
        );
    }
}
