//! Does one set of rules include another? Asked before somebody may grant permissions.

use std::collections::{BTreeMap, BTreeSet};

use super::rule::Rule;

/// The parts of `wanted` that `held` does not include; empty means that all is included.
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    wanted.iter().flat_map(atoms).filter(|atom| !held.iter().any(|rule| includes(rule, atom))).collect()
}

/// A rule taken apart: one verb on one resource of one group (and one name), or one verb on one path.
fn atoms(rule: &Rule) -> Vec<Rule> {
    let one = |text: &String| vec![text.clone()];
    let mut out = Vec::new();
    for verb in &rule.verbs {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let bare =
                    Rule { verbs: one(verb), api_groups: one(group), resources: one(resource), ..Rule::default() };
                if rule.resource_names.is_empty() {
                    out.push(bare.clone());
                }
                let named = rule.resource_names.iter().map(|n| Rule { resource_names: one(n), ..bare.clone() });
                out.extend(named);
            }
        }
        let urls = rule.non_resource_urls.iter();
        out.extend(urls.map(|u| Rule { verbs: one(verb), non_resource_urls: one(u), ..Rule::default() }));
    }
    out
}

fn includes(held: &Rule, atom: &Rule) -> bool {
    let has =
        |list: &[String], wanted: &[String]| list.iter().any(|h| h == "*") || wanted.iter().all(|w| list.contains(w));
    if !has(&held.verbs, &atom.verbs) {
        return false;
    }
    if let Some(url) = atom.non_resource_urls.first() {
        return held.non_resource_urls.iter().any(|h| url_includes(h, url));
    }
    has(&held.api_groups, &atom.api_groups)
        && atom.resources.iter().all(|wanted| held.resources.iter().any(|h| resource_includes(h, wanted)))
        && (held.resource_names.is_empty()
            || (!atom.resource_names.is_empty() && atom.resource_names.iter().all(|n| held.resource_names.contains(n))))
}

fn resource_includes(held: &str, wanted: &str) -> bool {
    held == "*"
        || held == wanted
        || matches!((held.split_once('/'), wanted.split_once('/')), (Some(("*", h)), Some((_, w))) if h == w)
}

fn url_includes(held: &str, wanted: &str) -> bool {
    held == wanted || held.strip_suffix('*').is_some_and(|prefix| wanted.trim_end_matches('*').starts_with(prefix))
}

/// Atoms joined again for a readable text: the verbs of one resource (and name) together.
pub fn compact(atoms: Vec<Rule>) -> BTreeSet<String> {
    let mut joined: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    let mut texts = BTreeSet::new();
    for mut atom in atoms {
        if atom.non_resource_urls.is_empty() {
            let verbs = std::mem::take(&mut atom.verbs);
            joined.entry(atom).or_default().extend(verbs);
        } else {
            texts.insert(atom.compact());
        }
    }
    texts.extend(joined.into_iter().map(|(rule, verbs)| Rule { verbs, ..rule }.compact()));
    texts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_held_is_not_missing() {
        let rule = |v| Rule::from_value(&v);
        let pods = |verbs: &[&str]| rule(json!({"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}));
        let cases = [
            (vec![pods(&["get", "list"])], pods(&["get"]), 0),
            (vec![pods(&["get"]), pods(&["list"])], pods(&["get", "list"]), 0),
            (vec![pods(&["get"])], pods(&["get", "list"]), 1),
            (vec![pods(&["get"])], pods(&["*"]), 1),
            (vec![rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}))], pods(&["*"]), 0),
            (
                vec![rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["*/scale"]}))],
                rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/scale"]})),
                0,
            ),
            (
                vec![rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}))],
                pods(&["get"]),
                1,
            ),
            (
                vec![pods(&["get"])],
                rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]})),
                0,
            ),
            (
                vec![rule(json!({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}))],
                rule(json!({"verbs": ["get"], "nonResourceURLs": ["/api/v1", "/healthz"]})),
                1,
            ),
            (
                vec![rule(json!({"verbs": ["get"], "nonResourceURLs": ["*"]}))],
                rule(json!({"verbs": ["get"], "nonResourceURLs": ["/api/*"]})),
                0,
            ),
        ];
        for (held, wanted, count) in cases {
            assert_eq!(missing(&held, std::slice::from_ref(&wanted)).len(), count, "{held:?} {wanted:?}");
        }
    }
}
