//! `IntOrString`: a number, or a text such as `http` or `25%`. Its JSON type is kept as it came.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntOrString {
    Int(i32),
    String(String),
}

impl IntOrString {
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Number(n) => n.as_i64().and_then(|n| i32::try_from(n).ok()).map(Self::Int),
            Value::String(s) => Some(Self::String(s.clone())),
            _ => None,
        }
    }

    pub fn to_value(&self) -> Value {
        match self {
            Self::Int(n) => (*n).into(),
            Self::String(s) => s.as_str().into(),
        }
    }

    /// The number itself, or the percentage of `total`, rounded up or down. A text that is no percentage is an error
    /// with upstream's words.
    pub fn scaled(&self, total: i64, round_up: bool) -> Result<i64, String> {
        let text = match self {
            Self::Int(n) => return Ok(i64::from(*n)),
            Self::String(text) => text,
        };
        let invalid = || "invalid value for IntOrString: invalid type: string is not a percentage".to_owned();
        let percent: i64 = text.strip_suffix('%').and_then(|p| p.parse().ok()).ok_or_else(invalid)?;
        let product = percent.saturating_mul(total);
        let quotient = product.div_euclid(100);
        Ok(if round_up && product.rem_euclid(100) != 0 { quotient + 1 } else { quotient })
    }

    pub fn is_percent(&self) -> bool {
        matches!(self, Self::String(s) if crate::validation::is_valid_percent(s).is_empty())
    }
}

impl std::fmt::Display for IntOrString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(n) => n.fmt(f),
            Self::String(s) => s.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales() {
        let percent = IntOrString::String("25%".to_owned());
        assert_eq!(percent.scaled(10, true), Ok(3));
        assert_eq!(percent.scaled(10, false), Ok(2));
        assert_eq!(IntOrString::Int(4).scaled(10, false), Ok(4));
        assert!(IntOrString::String("http".to_owned()).scaled(10, false).is_err());
    }
}
