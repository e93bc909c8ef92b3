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
            let mut errors = validate_priority(new);
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
        affinity::validate_tolerations(&mut errors, &at.child("tolerations"), scheduling.list("tolerations"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{cells, create_errors, defaulted, row, update_errors};

    #[test]
    fn priorities() {
        let classes = row("scheduling.k8s.io", "priorityclasses");
        let object = |name: &str, value: i64| json!({ "metadata": { "name": name }, "value": value });
        let got = defaulted(classes, object("high", 7));
        assert_eq!(cells(classes, &got), ["high", "7", "false", "<unknown>", "PreemptLowerPriority"]);
        assert_eq!(create_errors(classes, object("system-node-critical", 2_000_001_000)), [""; 0]);
        let refused = [
            (
                object("huge", 2_000_000_000),
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
            ),
            (
                object("system-mine", 1),
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. \
                 error: system-mine is not a known system priority class",
            ),
        ];
        for (object, want) in refused {
            assert_eq!(create_errors(classes, object), [want]);
        }
        let errors = update_errors(classes, got, |o| o["value"] = json!(8));
        assert_eq!(errors, ["value: Forbidden: may not be changed in an update."]);
    }
}
