//! Invariants of every row.

use std::collections::BTreeSet;

use apimachinery::GroupVersionKind;
use serde_json::{Value, json};

use super::all;
use crate::resource::{Resource, Subresource};
use crate::testing::NOW;

fn no_duplicates<'a>(what: &str, names: impl Iterator<Item = &'a str>) {
    let mut seen = BTreeSet::new();
    for name in names {
        assert!(seen.insert(name), "{what}: {name} twice");
    }
}

#[test]
fn names_are_unique() {
    let of = |f: fn(&Resource) -> String| all().iter().map(f).collect::<Vec<_>>();
    no_duplicates("resource", of(|r| format!("{}/{}", r.group, r.plural)).iter().map(String::as_str));
    no_duplicates("kind", of(|r| format!("{}/{}", r.group, r.kind)).iter().map(String::as_str));
    for row in all() {
        assert!(row.plural.bytes().all(|c| c.is_ascii_lowercase()), "{}", row.plural);
        assert_eq!(row.singular, row.kind.to_lowercase(), "{}", row.plural);
        no_duplicates(row.plural, row.subresources.iter().map(|s| s.name));
        no_duplicates(row.plural, row.selectable.iter().map(|(label, _)| *label));
        no_duplicates(row.plural, row.columns.iter().map(|c| c.name));
    }
    // A short name means one resource in each group.
    let short: Vec<String> =
        all().iter().flat_map(|r| r.short_names.iter().map(move |s| format!("{}/{s}", r.group))).collect();
    no_duplicates("short name", short.iter().map(String::as_str));
}

/// A server with default settings serves every stable version of a kind that can be listed, and no alpha or beta.
#[test]
fn stable_kinds_are_served_and_no_others() {
    let is_stable = |version: &str| version.strip_prefix('v').is_some_and(|n| n.bytes().all(|c| c.is_ascii_digit()));
    const DISCOVERY: [&str; 4] = ["APIGroup", "APIGroupDiscovery", "APIResource", "PartialObjectMetadata"];
    let types = include_str!("../../../../api/schema/types.tsv");
    let names = types.lines().filter_map(|line| line.strip_prefix("T\t")).filter_map(|line| line.split('\t').next());
    let mut listed = 0;
    for name in names {
        let mut parts = name.rsplit('.');
        let (Some(kind), Some(version)) = (parts.next().and_then(|kind| kind.strip_suffix("List")), parts.next())
        else {
            continue;
        };
        if is_stable(version) && !kind.is_empty() && !DISCOVERY.contains(&kind) {
            listed += 1;
            assert!(all().iter().any(|r| r.kind == kind && r.versions.contains(&version)), "{name} is served");
        }
    }
    assert!(listed > 60, "{listed} kinds can be listed");
    let versions = all().iter().flat_map(|r| r.versions.iter().map(move |v| (r.plural, *v)));
    assert_eq!(versions.filter(|(_, version)| !is_stable(version)).collect::<Vec<_>>(), []);
}

#[test]
fn storage_is_served() {
    for row in all() {
        let stored = crate::rows::all()
            .iter()
            .find(|r| r.group == row.storage_group && r.plural == row.plural)
            .unwrap_or_else(|| panic!("{} has no store", row.plural));
        assert!(stored.versions.contains(&row.storage_version), "{}", row.plural);
        for (alias, label) in row.selector_aliases {
            assert!(row.selectable.iter().any(|(l, _)| l == label), "{alias} of {} names a field", row.plural);
        }
    }
}

#[test]
fn verbs_are_legal() {
    let legal = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let check = |plural: &str, verbs: &[&str]| {
        assert!(!verbs.is_empty() && verbs.iter().all(|v| legal.contains(v)), "{plural}: {verbs:?}");
        assert!(verbs.is_sorted(), "{plural}: {verbs:?} in the order of discovery");
        no_duplicates(plural, verbs.iter().copied());
    };
    for row in all() {
        check(row.plural, row.verbs.0);
        row.subresources.iter().for_each(|s| check(s.name, s.verbs.0));
        assert!(row.subresources.is_sorted_by_key(|s| s.name), "{}", row.plural);
    }
}

#[test]
fn kinds_are_in_the_schema() {
    let known = |group: &str, version: &str, kind: &str| {
        let gvk = GroupVersionKind::new(group, version, kind);
        assert!(crate::schema::type_of(&gvk).is_some(), "{gvk}");
    };
    for row in all() {
        row.versions.iter().for_each(|version| known(row.group, version, row.kind));
        // Options of connections travel in the query, never as a body.
        let bodies = row.subresources.iter().filter_map(|s| s.kind).filter(|(_, _, kind)| !kind.ends_with("Options"));
        for (group, version, kind) in bodies {
            known(group, version, kind);
        }
    }
}

#[test]
fn parts_of_the_parent_have_update_rules() {
    let writes_parent = |s: &&Subresource| s.kind.is_none() && s.name != "status" && s.verbs.contains("update");
    for row in all() {
        for part in row.subresources.iter().filter(writes_parent) {
            assert!(part.update.is_some(), "{}/{}", row.plural, part.name);
        }
    }
}

/// Objects of odd shapes: decoding refuses most of them, but nothing may panic.
fn odd_objects(row: &Resource) -> Vec<Value> {
    let api_version = row.storage_api_version();
    let head = |rest: Value| {
        let mut object = json!({ "apiVersion": api_version, "kind": row.kind, "metadata": { "name": "x" } });
        for (key, value) in rest.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        object
    };
    let odd = json!({ "a": [null, 1, "x", {}, []] });
    vec![
        json!({}),
        Value::Null,
        head(json!({})),
        head(json!({ "spec": {}, "status": {} })),
        head(json!({ "spec": null, "status": null, "data": null, "metadata": null })),
        head(json!({ "spec": "text", "status": 1, "webhooks": "x", "subsets": [1], "rules": [null] })),
        head(json!({ "spec": odd, "status": odd, "data": odd, "rules": odd })),
        head(json!({ "spec": { "containers": [null, {}, 1], "template": { "spec": { "containers": [{}] } },
            "selector": { "matchLabels": {} }, "ports": [{}], "volumes": [{}, null], "rules": [{}] } })),
    ]
}

#[test]
fn nothing_panics_and_defaults_are_idempotent() {
    for row in all() {
        for mut object in odd_objects(row) {
            let strategy = &row.strategy;
            (strategy.default)(&mut object);
            let once = object.clone();
            (strategy.default)(&mut object);
            assert_eq!(once, object, "defaults of {} are idempotent", row.plural);
            (strategy.prepare_for_create)(&mut object);
            (strategy.validate)(&object);
            (strategy.validate_update)(&once, &object);
            (strategy.validate_status_update)(&once, &object);
            (strategy.warnings)(&object, None);
            let mut new = once.clone();
            (strategy.prepare_for_update)(&mut new, &object);
            (strategy.prepare_for_status_update)(&mut new, &object);
            for part in row.subresources.iter().filter_map(|s| s.update) {
                (part.prepare)(&mut new, &object);
                (part.validate)(&new, &object);
            }
            row.selectable.iter().for_each(|(_, read)| drop(read(&object)));
            assert_eq!((row.cells)(&object, NOW).len(), row.columns.len(), "{}", row.plural);
        }
    }
}

#[test]
fn conversion_reaches_every_version() {
    for row in all() {
        let stored = row.storage_api_version();
        for version in row.versions {
            let served = if row.group.is_empty() { (*version).to_owned() } else { format!("{}/{version}", row.group) };
            let mut object = json!({ "apiVersion": stored, "kind": row.kind, "metadata": {} });
            (row.strategy.convert)(&mut object, &served);
            assert_eq!(object["apiVersion"], served, "{}", row.plural);
            (row.strategy.convert)(&mut object, &stored);
            assert_eq!(object["apiVersion"], stored, "{}", row.plural);
        }
    }
}

/// Defaults and initial values are fields of the kind, of the right type.
#[test]
fn defaults_fit_the_schema() {
    let template = json!({
        "metadata": { "labels": { "a": "b" } },
        "spec": {
            "hostNetwork": true, "serviceAccount": "s", "nodeSelector": {},
            "containers": [{
                "name": "c", "image": "i", "ports": [{ "containerPort": 1 }],
                "env": [{ "name": "A", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } }],
                "livenessProbe": { "grpc": { "port": 1 } }, "resources": { "limits": { "cpu": 1 } },
            }],
            "volumes": [{ "name": "v" }, { "name": "w", "projected": { "sources": [{ "podCertificate": {} }] } }],
        },
    });
    let mut specs = vec![
        json!({}),
        json!({ "template": template, "jobTemplate": { "spec": { "template": template } } }),
        json!({ "type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{ "port": 1 }] }),
        json!({ "type": "Limited", "limited": { "limitResponse": { "queuing": {} } } }),
        json!({ "behavior": {}, "scaleTargetRef": {}, "volumeClaimTemplates": [{ "metadata": { "name": "x" } }] }),
        json!({ "matchConstraints": { "resourceRules": [{}] }, "service": {}, "parameters": { "kind": "x" } }),
        json!({ "devices": { "requests": [{ "exactly": { "tolerations": [{}] } }] }, "conversion": {} }),
        json!({ "limits": [{ "type": "Container", "max": { "cpu": 1 } }], "podCIDR": "10.0.0.0/24" }),
    ];
    specs.push(template["spec"].clone());
    for row in all().iter().filter(|r| r.group == r.storage_group) {
        let gvk = row.gvk(row.storage_version);
        let mut tried = 0;
        for spec in &specs {
            let mut object = json!({
                "apiVersion": row.storage_api_version(), "kind": row.kind, "metadata": { "name": "x", "uid": "u" },
                "spec": spec, "template": template, "webhooks": [{ "clientConfig": { "service": {} }, "rules": [{}] }],
                "subsets": [{ "ports": [{}] }], "ports": [{}], "stringData": { "a": "b" },
                "roleRef": {}, "subjects": [{ "kind": "User", "name": "u" }],
            });
            // Only what the kind has is left, as after decoding; the rest of the test is about what defaults add.
            crate::schema::canonicalise(&gvk, &mut object);
            if crate::schema::type_errors(&gvk, &object).is_some() {
                continue;
            }
            tried += 1;
            (row.strategy.default)(&mut object);
            (row.strategy.prepare_for_create)(&mut object);
            assert_eq!(crate::schema::unknown_fields(&gvk, &object), [""; 0], "{gvk}: {object}");
            assert_eq!(crate::schema::type_errors(&gvk, &object), None, "{gvk}: {object}");
        }
        assert!(tried > 1, "{gvk}: {tried} of {} were legal", specs.len());
    }
}
