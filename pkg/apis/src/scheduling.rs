//! Rows of `scheduling.k8s.io` and `node.k8s.io`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_label;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};

use crate::cells::age;
use crate::check;
use crate::podspec::{affinity, resources};
use crate::quantity::canonical_quantities;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree};

pub const ROWS: &[Resource] = &[Resource {
    short_names: &["pc"],
    columns: &[
        Column::NAME,
        Column::integer("Value", "Priority of its pods; more comes first."),
        Column { type_: "boolean", ..Column::text("Global-Default", "Whether pods that name no class get it.") },
        Column::AGE,
        Column::text("PreemptionPolicy", "Whether its pods push others away."),
    ],
    cells: |o, now| {
        let value = o.int("value").unwrap_or(0);
        let policy = o.text("preemptionPolicy");
        vec![o.name().into(), value.into(), o.flag("globalDefault").into(), age(o, now), policy.into()]
    },
    strategy: Strategy {
        default: |o| object_mut(o).default_text("preemptionPolicy", "PreemptLowerPriority"),
        validate: validate_priority,
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            if new.int("value").unwrap_or(0) != old.int("value").unwrap_or(0) {
                errors.push(Error::forbidden(&Path::new("value"), "may not be changed in an update."));
            }
            check::immutable(&mut errors, &Path::default(), new, old, "preemptionPolicy");
            errors
        },
        generation_changed: Some(|_, _| false),
        ..Strategy::PLAIN
    },
    ..Resource::cluster("scheduling.k8s.io", "v1", "priorityclasses", "priorityclass", "PriorityClass")
}];

/// Above this only the system's own classes are.
const USER_MAX: i64 = 1_000_000_000;

const SYSTEM: &[(&str, i64)] =
    &[("system-node-critical", 2 * USER_MAX + 1000), ("system-cluster-critical", 2 * USER_MAX)];

fn validate_priority(class: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (name, value) = (class.name(), class.int("value").unwrap_or(0));
    if name.starts_with("system-") {
        let why = match SYSTEM.iter().find(|(known, _)| *known == name) {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, wanted)) if *wanted != value => Some(format!("value of {name} PriorityClass must be {wanted}")),
            Some(_) if class.flag("globalDefault") => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(why) = why {
            let text = "priority class names with 'system-' prefix are reserved for system use only. error: ";
            errors.push(Error::forbidden(&Path::new("metadata").child("name"), format!("{text}{why}")));
        }
    } else if value > USER_MAX {
        let why = format!("maximum allowed value of a user defined priority is {USER_MAX}");
        errors.push(Error::forbidden(&Path::new("value"), why));
    }
    check::optional_choice(
        &mut errors,
        &Path::default(),
        class,
        "preemptionPolicy",
        &["PreemptLowerPriority", "Never"],
    );
    errors
}

pub const NODE_ROWS: &[Resource] = &[Resource {
    columns: &[Column::NAME, Column::text("Handler", "What the node's runtime calls it."), Column::AGE],
    cells: |o, now| vec![o.name().into(), o.text("handler").into(), age(o, now)],
    strategy: Strategy {
        default: |o| {
            if let Some(overhead) = object_mut(o).sub("overhead") {
                canonical_quantities(overhead, "podFixed");
            }
        },
        validate: validate_runtime,
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            check::immutable(&mut errors, &Path::default(), new, old, "handler");
            errors
        },
        generation_changed: None,
        allow_unconditional_update: false,
        ..Strategy::PLAIN
    },
    ..Resource::cluster("node.k8s.io", "v1", "runtimeclasses", "runtimeclass", "RuntimeClass")
}];

fn validate_runtime(class: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    check::text(&mut errors, &Path::default(), "handler", class.text("handler"), is_dns1123_label);
    let at = Path::new("overhead").child("podFixed");
    for (name, value) in class.field("overhead").entries("podFixed") {
        resources::container_name(&mut errors, &at, name);
        resources::amount(&mut errors, || at.key(name), name, value);
    }
    let scheduling = class.field("scheduling");
    if !scheduling.is_null() {
        let at = Path::new("scheduling");
        check::labels(&mut errors, &at.child("nodeSelector"), scheduling.field("nodeSelector"));
        let (at, tolerations) = (at.child("tolerations"), scheduling.list("tolerations"));
        affinity::validate_tolerations(&mut errors, &at, tolerations);
        for (i, toleration) in tolerations.iter().enumerate().filter(|(i, t)| tolerations[..*i].contains(t)) {
            errors.push(Error::duplicate(&at.index(i), toleration.clone()));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{Rules, cells, check_create, check_defaults, check_update, defaulted, row};

    #[test]
    fn priority_rules() {
        let classes = row("scheduling.k8s.io", "priorityclasses");
        let base = json!({ "metadata": { "name": "high" }, "value": 7 });
        let reserved = |why: &str| {
            format!(
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. \
                 error: {why}"
            )
        };
        let rules: Rules<'_> = &[
            ("", &[]),
            ("value = 1000000000", &[]),
            (
                "value = 1000000001",
                &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
            ),
            ("preemptionPolicy = Never", &[]),
            (
                "preemptionPolicy = Later",
                &["preemptionPolicy: Unsupported value: \"Later\": supported values: \"PreemptLowerPriority\", \
                   \"Never\""],
            ),
            ("metadata.name = system-node-critical ; value = 2000001000", &[]),
            ("metadata.name = system-mine", &[&reserved("system-mine is not a known system priority class")]),
            (
                "metadata.name = system-node-critical",
                &[&reserved("value of system-node-critical PriorityClass must be 2000001000")],
            ),
            (
                "metadata.name = system-cluster-critical ; value = 2000000000 ; globalDefault = true",
                &[&reserved("globalDefault of system-cluster-critical PriorityClass must be false")],
            ),
        ];
        check_create(classes, &base, rules);
        let updates: Rules<'_> = &[
            ("globalDefault = true ; description = d", &[]),
            ("value = 8", &["value: Forbidden: may not be changed in an update."]),
            ("preemptionPolicy = Never", &["preemptionPolicy: Invalid value: \"Never\": field is immutable"]),
        ];
        check_update(classes, &base, updates);
        check_defaults(classes, &base, &[("", "preemptionPolicy = PreemptLowerPriority")]);
        let want = ["high", "7", "false", "<unknown>", "PreemptLowerPriority"];
        assert_eq!(cells(classes, &defaulted(classes, base)), want);
    }

    #[test]
    fn runtime_rules() {
        let classes = row("node.k8s.io", "runtimeclasses");
        let toleration = json!({ "key": "a", "operator": "Exists" });
        let base = json!({ "metadata": { "name": "k" }, "handler": "kata", "overhead": { "podFixed": { "cpu": "0.5" } },
            "scheduling": { "nodeSelector": { "a": "b" }, "tolerations": [toleration] } });
        let twice = format!("scheduling.tolerations[1] = {toleration}");
        let duplicate = format!("scheduling.tolerations[1]: Duplicate value: {toleration}");
        let rules: Rules<'_> = &[
            ("", &[]),
            ("overhead = null ; scheduling = null", &[]),
            ("handler = a.b", &["handler: Invalid value: \"a.b\": must not contain dots"]),
            (
                "overhead.podFixed.cpu = -1",
                &["overhead.podFixed[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
            ),
            (
                "scheduling.nodeSelector.a = b c",
                &[
                    "scheduling.nodeSelector: Invalid value: \"b c\": a valid label must be an empty string or consist of \
                   alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
                   'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                   '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                ],
            ),
            (&twice, &[&duplicate]),
        ];
        check_create(classes, &base, rules);
        let updates: Rules<'_> = &[
            ("metadata.labels.a = b", &[]),
            ("handler = runc", &["handler: Invalid value: \"runc\": field is immutable"]),
        ];
        check_update(classes, &base, updates);
        check_defaults(classes, &base, &[("", "overhead.podFixed.cpu = 500m")]);
        assert_eq!(cells(classes, &base), ["k", "kata", "<unknown>"]);
    }
}
