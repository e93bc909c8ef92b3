//! Rows of `flowcontrol.apiserver.k8s.io`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        subresources: &[Subresource::STATUS],
        ..Resource::cluster("flowcontrol.apiserver.k8s.io", "v1", plural, singular, kind)
    }
}

pub const ROWS: &[Resource] = &[SCHEMA, LEVEL];

const SCHEMA: Resource = Resource {
    columns: &[
        Column::NAME,
        Column::text("PriorityLevel", "Level that its requests run on."),
        Column::text("MatchingPrecedence", "Smaller is tried first."),
        Column::text("DistinguisherMethod", "How its requests are told apart."),
        Column::AGE,
        Column::text("MissingPL", "Whether the level does not exist."),
    ],
    cells: |o, now| {
        let spec = o.field("spec");
        let dangling = o.array_at("status/conditions").iter().find(|c| c.text("type") == "Dangling");
        let dangling = dangling.map_or("?", |c| c.text("status"));
        let method = crate::cells::or_none(spec.field("distinguisherMethod").text("type"));
        vec![
            o.name().into(),
            spec.field("priorityLevelConfiguration").text("name").into(),
            spec.int("matchingPrecedence").unwrap_or(0).into(),
            method,
            age(o, now),
            dangling.into(),
        ]
    },
    strategy: Strategy {
        default: |o| {
            if let Some(spec) = spec_mut(o) {
                spec.default_nonzero("matchingPrecedence", 1000);
            }
        },
        validate: validate_schema,
        validate_update: |new, _| validate_schema(new),
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..row("flowschemas", "flowschema", "FlowSchema")
};

fn validate_schema(schema: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), schema.field("spec"));
    let precedence = spec.int("matchingPrecedence").unwrap_or(0);
    if precedence <= 0 {
        errors.push(Error::invalid(&at.child("matchingPrecedence"), precedence, "must be a positive value"));
    }
    if precedence > 10_000 {
        let why = "must not be greater than 10000";
        errors.push(Error::invalid(&at.child("matchingPrecedence"), precedence, why));
    }
    if precedence == 1 && schema.name() != "exempt" {
        let why = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.push(Error::invalid(&at.child("matchingPrecedence"), precedence, why));
    }
    check::optional_choice(
        &mut errors,
        &at.child("distinguisherMethod"),
        spec.field("distinguisherMethod"),
        "type",
        &["ByNamespace", "ByUser"],
    );
    let level = spec.field("priorityLevelConfiguration");
    if level.text("name").is_empty() {
        let path = at.child("priorityLevelConfiguration").child("name");
        errors.push(Error::required(&path, "must reference a priority level"));
    }
    for (i, rule) in spec.list("rules").iter().enumerate() {
        let at = at.child("rules").index(i);
        if rule.list("subjects").is_empty() {
            errors.push(Error::required(&at.child("subjects"), "subjects must contain at least one value"));
        }
        if rule.list("resourceRules").is_empty() && rule.list("nonResourceRules").is_empty() {
            let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
            errors.push(Error::required(&at, why));
        }
    }
    errors
}

const LEVEL: Resource = Resource {
    columns: &[
        Column::NAME,
        Column::text("Type", "Limited, or exempt from limits."),
        Column::text("NominalConcurrencyShares", "Its share of the server."),
        Column::text("Queues", "Queues for requests that wait."),
        Column::text("HandSize", "Queues that one flow may use."),
        Column::text("QueueLengthLimit", "Requests that one queue holds."),
        Column::AGE,
    ],
    cells: |o, now| {
        let spec = o.field("spec");
        let limits = spec.field("limited");
        let queuing = limits.field("limitResponse").field("queuing");
        let number = |owner: &Value, field: &str| match owner.int(field) {
            Some(number) => Value::from(number),
            None => "<none>".into(),
        };
        vec![
            o.name().into(),
            spec.text("type").into(),
            number(limits, "nominalConcurrencyShares"),
            number(queuing, "queues"),
            number(queuing, "handSize"),
            number(queuing, "queueLengthLimit"),
            age(o, now),
        ]
    },
    strategy: Strategy {
        default: default_level,
        validate: validate_level,
        validate_update: |new, _| validate_level(new),
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..row("prioritylevelconfigurations", "prioritylevelconfiguration", "PriorityLevelConfiguration")
};

fn default_level(level: &mut Object) {
    let Some(spec) = spec_mut(level) else { return };
    match spec.text("type") {
        "Exempt" => {
            let exempt = spec.sub_or_new("exempt");
            exempt.default_value("nominalConcurrencyShares", || 0.into());
            exempt.default_value("lendablePercent", || 0.into());
        }
        "Limited" => {
            let Some(limited) = spec.sub("limited") else { return };
            limited.default_value("nominalConcurrencyShares", || 30.into());
            limited.default_value("lendablePercent", || 0.into());
            if let Some(queuing) = limited.sub("limitResponse").and_then(|r| r.sub("queuing")) {
                queuing.default_nonzero("queues", 64);
                queuing.default_nonzero("handSize", 8);
                queuing.default_nonzero("queueLengthLimit", 50);
            }
        }
        _ => {}
    }
}

fn validate_level(level: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), level.field("spec"));
    check::choice(&mut errors, &at, spec, "type", &["Exempt", "Limited"]);
    match spec.text("type") {
        "Limited" if !spec.has("limited") => {
            let why = "must not be empty when type is Limited";
            errors.push(Error::required(&at.child("limited"), why));
        }
        "Exempt" if spec.has("limited") => {
            let why = "must be nil if the type is not Limited";
            errors.push(Error::forbidden(&at.child("limited"), why));
        }
        _ => {}
    }
    let (at, limited) = (at.child("limited"), spec.field("limited"));
    if limited.is_null() {
        return errors;
    }
    check::nonnegative(&mut errors, &at, limited, "nominalConcurrencyShares");
    if let Some(percent) = limited.int("lendablePercent").filter(|p| !(0..=100).contains(p)) {
        errors.push(Error::invalid(&at.child("lendablePercent"), percent, "must be between 0 and 100, inclusive"));
    }
    let response = limited.field("limitResponse");
    let at = at.child("limitResponse");
    match (response.text("type"), response.has("queuing")) {
        ("Reject", true) => {
            let why = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(Error::forbidden(&at.child("queuing"), why));
        }
        ("Queue", false) => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(Error::required(&at.child("queuing"), why));
        }
        _ => check::choice(&mut errors, &at, response, "type", &["Queue", "Reject"]),
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{cells, create_errors, defaulted, row};

    const GROUP: &str = "flowcontrol.apiserver.k8s.io";

    #[test]
    fn levels() {
        let levels = row(GROUP, "prioritylevelconfigurations");
        let response = json!({ "type": "Queue", "queuing": {} });
        let object = json!({ "metadata": { "name": "l" }, "spec": { "type": "Limited", "limited": { "limitResponse": response } } });
        let got = defaulted(levels, object.clone());
        assert_eq!(cells(levels, &got), ["l", "Limited", "30", "64", "8", "50", "<unknown>"]);
        assert_eq!(create_errors(levels, object), [""; 0]);
    }

    #[test]
    fn schemas() {
        let schemas = row(GROUP, "flowschemas");
        let object = json!({ "metadata": { "name": "s" }, "spec": { "priorityLevelConfiguration": { "name": "l" } } });
        let got = defaulted(schemas, object);
        assert_eq!(cells(schemas, &got), ["s", "l", "1000", "<none>", "<unknown>", "?"]);
        let want = "spec.priorityLevelConfiguration.name: Required value: must reference a priority level";
        assert_eq!(create_errors(schemas, json!({ "metadata": { "name": "s" }, "spec": {} })), [want]);
    }
}
