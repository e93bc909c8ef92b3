//! Query parameters.

use std::borrow::Cow;

use apimachinery::{ApiError, ApiResult};

use super::path::percent_decoded;

/// The parameters in order. Most requests have none or two: a list is faster than a map.
#[derive(Debug, Default)]
pub struct Query<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub fn parse(text: &'a str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = !value.contains(['%', '+']);
            (key, if plain { Cow::Borrowed(value) } else { Cow::Owned(percent_decoded(value, true)) })
        });
        Self(pairs.collect())
    }

    /// The first value of `key`; empty if it is not there.
    pub fn get(&self, key: &str) -> &str {
        self.find(key).unwrap_or("")
    }

    pub fn find(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, value)| value.as_ref())
    }

    pub fn all<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s str> {
        self.0.iter().filter(move |(k, _)| *k == key).map(|(_, value)| value.as_ref())
    }

    /// Given, and neither `0` nor `false`.
    pub fn is_true(&self, key: &str) -> bool {
        self.find(key).is_some_and(|value| !matches!(value, "0" | "false" | "False"))
    }

    /// A number; an empty value is none.
    pub fn number(&self, key: &str) -> ApiResult<Option<i64>> {
        match self.find(key) {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
        }
    }

    /// `dryRun=All`. Other values are refused where options are checked.
    pub fn dry_run(&self) -> bool {
        self.all("dryRun").any(|value| value == "All")
    }
}
