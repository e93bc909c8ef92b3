//! Levels, versions, and the labels that set them.

use std::fmt;

use serde_json::{Map, Value};

const PREFIX: &str = "pod-security.kubernetes.io/";
/// The labels of each mode: its level, and of which version.
const ENFORCE: [&str; 2] = ["pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/enforce-version"];
const AUDIT: [&str; 2] = ["pod-security.kubernetes.io/audit", "pod-security.kubernetes.io/audit-version"];
const WARN: [&str; 2] = ["pod-security.kubernetes.io/warn", "pod-security.kubernetes.io/warn-version"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// The minor version of Kubernetes whose standard counts; `Latest` is today's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Minor(u32),
    Latest,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minor(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

impl Version {
    pub fn at_least(self, minor: u32) -> bool {
        self >= Self::Minor(minor)
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let plain = minor == "0" || !minor.starts_with('0');
        minor.parse().ok().filter(|_| plain && minor.bytes().all(|b| b.is_ascii_digit())).map(Self::Minor)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelVersion {
    pub level: Level,
    pub version: Version,
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What a namespace asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub enforce: LevelVersion,
    pub audit: LevelVersion,
    pub warn: LevelVersion,
}

impl Default for Policy {
    fn default() -> Self {
        let open = LevelVersion { level: Level::Privileged, version: Version::Latest };
        Self { enforce: open, audit: open, warn: open }
    }
}

impl Policy {
    /// Reads the labels. What cannot be read counts as the strictest level, and is told: (label, value, what is wrong).
    pub fn of(labels: Option<&Map<String, Value>>) -> (Self, Vec<(String, String, String)>) {
        let mut policy = Self::default();
        let mut errors = Vec::new();
        let Some(labels) = labels.filter(|labels| labels.keys().any(|key| key.starts_with(PREFIX))) else {
            return (policy, errors);
        };
        let label = |key: &str| labels.get(key).and_then(Value::as_str);
        for ([level, version], target) in
            [(ENFORCE, &mut policy.enforce), (AUDIT, &mut policy.audit), (WARN, &mut policy.warn)]
        {
            if let Some(text) = label(level) {
                target.level = match text {
                    "privileged" => Level::Privileged,
                    "baseline" => Level::Baseline,
                    "restricted" => Level::Restricted,
                    _ => {
                        let what = "must be one of privileged, baseline, restricted";
                        errors.push((level.to_owned(), text.to_owned(), what.to_owned()));
                        // A misspelled warning or audit level must not refuse or shout.
                        if level == ENFORCE[0] { Level::Restricted } else { Level::Privileged }
                    }
                };
            }
            if let Some(text) = label(version) {
                target.version = Version::parse(text).unwrap_or_else(|| {
                    errors.push((version.to_owned(), text.to_owned(), "must be \"latest\" or \"v1.x\"".to_owned()));
                    Version::Latest
                });
            }
        }
        // What is enforced is warned about in templates too, unless the namespace says otherwise.
        if label(WARN[0]).is_none() && policy.enforce.level > policy.warn.level {
            policy.warn = policy.enforce;
        }
        (policy, errors)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_read() {
        let of = |labels: Value| Policy::of(labels.as_object());
        let (policy, errors) = of(json!({}));
        assert_eq!((policy, errors.len()), (Policy::default(), 0));
        let (policy, _) = of(
            json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.24"}),
        );
        assert_eq!(policy.enforce.to_string(), "baseline:v1.24");
        assert_eq!(policy.warn.to_string(), "baseline:v1.24");
        let (policy, errors) =
            of(json!({"pod-security.kubernetes.io/enforce": "bogus", "pod-security.kubernetes.io/warn": "bogus"}));
        assert_eq!((policy.enforce.level, policy.warn.level, errors.len()), (Level::Restricted, Level::Privileged, 2));
        for bad in ["v1.01", "1.2", "v1.x", "v2.0", ""] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }
}
