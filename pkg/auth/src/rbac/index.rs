//! The rules of one role, arranged so that a check looks only at rules that can match.

use std::collections::HashMap;

use super::rule::{Rule, resource_matches, url_matches};
use crate::Attributes;

/// A role's rules with an index by resource.
#[derive(Debug, Default)]
pub struct IndexedRules {
    rules: Vec<Rule>,
    /// Resource (without subresource) to the rules that name it.
    by_resource: HashMap<Box<str>, Vec<u32>>,
    /// Rules with `*` or `*/…` as resource.
    wildcards: Vec<u32>,
    /// Rules about paths.
    urls: Vec<u32>,
}

impl IndexedRules {
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut index = Self { rules, ..Self::default() };
        for (i, rule) in (0u32..).zip(&index.rules) {
            for resource in &rule.resources {
                let parent = resource.split_once('/').map_or(resource.as_str(), |(parent, _)| parent);
                let list = match parent {
                    "*" => &mut index.wildcards,
                    _ => index.by_resource.entry(parent.into()).or_default(),
                };
                if list.last() != Some(&i) {
                    list.push(i);
                }
            }
            if !rule.non_resource_urls.is_empty() {
                index.urls.push(i);
            }
        }
        index
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        let rule = |i: &u32| &self.rules[*i as usize];
        if !attributes.resource_request {
            return self.urls.iter().map(rule).any(|rule| {
                rule.allows_verb(attributes.verb)
                    && rule.non_resource_urls.iter().any(|u| url_matches(u, attributes.path))
            });
        }
        let named = self.by_resource.get(attributes.resource).into_iter().flatten();
        named.chain(&self.wildcards).map(rule).any(|rule| {
            rule.allows_verb(attributes.verb)
                && rule.allows_group(attributes.api_group)
                && rule.resources.iter().any(|r| resource_matches(r, attributes.resource, attributes.subresource))
                && rule.allows_name(attributes.name)
        })
    }
}
