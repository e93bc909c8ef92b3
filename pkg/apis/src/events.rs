//! Events, in both their views: `v1` of the core group, which is stored, and `events.k8s.io/v1`, converted on the way.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_subdomain, is_qualified_name};
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Value, json};

use crate::cells::since;
use crate::resource::{Column, Resource, SelectableField, Strategy};
use crate::strategy::set_api_version;
use crate::tree::{Fill, Tree};

pub const CORE: Resource = Resource {
    short_names: &["ev"],
    columns: COLUMNS,
    cells,
    selectable: SELECTABLE,
    strategy: STRATEGY,
    ..Resource::namespaced("", "v1", "events", "event", "Event")
};

pub const ROWS: &[Resource] = &[Resource {
    short_names: &["ev"],
    storage_group: "",
    columns: COLUMNS,
    cells,
    selectable: SELECTABLE,
    selector_aliases: &[
        ("regarding.kind", "involvedObject.kind"),
        ("regarding.namespace", "involvedObject.namespace"),
        ("regarding.name", "involvedObject.name"),
        ("regarding.uid", "involvedObject.uid"),
        ("regarding.apiVersion", "involvedObject.apiVersion"),
        ("regarding.resourceVersion", "involvedObject.resourceVersion"),
        ("regarding.fieldPath", "involvedObject.fieldPath"),
        ("reportingController", "reportingComponent"),
    ],
    strategy: Strategy { validate: validate_new_form, validate_update: update_new_form, ..STRATEGY },
    ..Resource::namespaced("events.k8s.io", "v1", "events", "event", "Event")
}];

const STRATEGY: Strategy = Strategy {
    default: |event| object_mut(event).default_text("type", "Normal"),
    validate,
    validate_update: |new, _| validate(new),
    allow_create_on_update: true,
    convert,
    ..Strategy::PLAIN
};

const SELECTABLE: &[SelectableField] = &[
    ("involvedObject.kind", |o| o.str_at("involvedObject/kind").to_owned()),
    ("involvedObject.namespace", |o| o.str_at("involvedObject/namespace").to_owned()),
    ("involvedObject.name", |o| o.str_at("involvedObject/name").to_owned()),
    ("involvedObject.uid", |o| o.str_at("involvedObject/uid").to_owned()),
    ("involvedObject.apiVersion", |o| o.str_at("involvedObject/apiVersion").to_owned()),
    ("involvedObject.resourceVersion", |o| o.str_at("involvedObject/resourceVersion").to_owned()),
    ("involvedObject.fieldPath", |o| o.str_at("involvedObject/fieldPath").to_owned()),
    ("reason", |o| o.text("reason").to_owned()),
    ("reportingComponent", |o| o.text("reportingComponent").to_owned()),
    ("source", |o| match o.str_at("source/component") {
        "" => o.text("reportingComponent").to_owned(),
        component => component.to_owned(),
    }),
    ("type", |o| o.text("type").to_owned()),
];

const COLUMNS: &[Column] = &[
    Column::text("Last Seen", "When it was last seen."),
    Column::text("Type", "Normal or Warning."),
    Column::text("Reason", "What happened, in a word."),
    Column::text("Object", "What it is about."),
    Column::text("Subobject", "Part of the object that it is about.").wide(),
    Column::text("Source", "Who reports it.").wide(),
    Column::text("Message", "What happened, in a sentence."),
    Column::text("First Seen", "When it was first seen.").wide(),
    Column { type_: "string", ..Column::integer("Count", "How often it was seen.") }.wide(),
    Column { priority: 1, ..Column::NAME },
];

fn cells(event: &Object, now: i64) -> Vec<Value> {
    let first = [event.text("firstTimestamp"), event.text("eventTime")].into_iter().find(|t| !t.is_empty());
    let series = event.field("series");
    let last = [series.text("lastObservedTime"), event.text("lastTimestamp")].into_iter().find(|t| !t.is_empty());
    let (first, last) = (first.unwrap_or(""), last.or(first).unwrap_or(""));
    let count = series.int("count").or_else(|| event.int("count")).filter(|c| *c > 0).unwrap_or(1);
    let involved = event.field("involvedObject");
    let kind = involved.text("kind").to_lowercase();
    let target = match involved.text("name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        since(last, now).into(),
        event.text("type").into(),
        event.text("reason").into(),
        target.into(),
        involved.text("fieldPath").into(),
        source(event).into(),
        event.text("message").trim().into(),
        since(first, now).into(),
        count.into(),
        event.name().into(),
    ]
}

fn source(event: &Object) -> String {
    let source = event.field("source");
    let first = |texts: [&'static str; 2]| match source.text(texts[0]) {
        "" => event.text(texts[1]),
        text => text,
    };
    let (component, instance) = (first(["component", "reportingComponent"]), first(["host", "reportingInstance"]));
    if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") }
}

fn validate(event: &Object) -> ErrorList {
    basics(event, "reportingComponent")
}

/// What both views ask for; `controller_field` is what the view calls the reporting component.
fn basics(event: &Object, controller_field: &str) -> ErrorList {
    let mut errors = ErrorList::new();
    namespace(&mut errors, event);
    if event.has("eventTime") {
        reporter(&mut errors, event, controller_field);
    }
    for reason in is_dns1123_subdomain(event.namespace()) {
        errors.push(Error::invalid(&Path::new("namespace"), event.namespace(), reason));
    }
    errors
}

/// An event stands in the namespace of its object; those of cluster-wide objects stand in `default`, and those of the
/// newer form may stand in `kube-system`, too.
fn namespace(errors: &mut ErrorList, event: &Object) {
    let involved = event.field("involvedObject").text("namespace");
    let fits = match (involved, event.has("eventTime")) {
        ("", false) => matches!(event.namespace(), "" | "default"),
        ("", true) => matches!(event.namespace(), "default" | "kube-system"),
        (namespace, false) => namespace == event.namespace(),
        (_, true) => true,
    };
    if !fits {
        let path = Path::new("involvedObject").child("namespace");
        errors.push(Error::invalid(&path, involved, "does not match event.namespace"));
    }
}

fn reporter(errors: &mut ErrorList, event: &Object, controller_field: &str) {
    let root = Path::default();
    match event.text("reportingComponent") {
        "" => errors.push(Error::required(&root.child(controller_field), "")),
        name => crate::check::text(errors, &root, controller_field, name, is_qualified_name),
    }
    for field in ["reportingInstance", "action", "reason"] {
        match event.text(field) {
            "" => errors.push(Error::required(&root.child(field), "")),
            text if text.len() > 128 => {
                errors.push(Error::invalid(&root.child(field), "", "can have at most 128 characters"));
            }
            _ => {}
        }
    }
    if event.text("message").len() > 1024 {
        errors.push(Error::invalid(&root.child("message"), "", "can have at most 1024 characters"));
    }
}

/// What the newer view asks for on top; paths are those of the newer view.
fn validate_new_form(event: &Object) -> ErrorList {
    let mut errors = basics(event, "reportingController");
    series(&mut errors, event);
    if !event.has("eventTime") {
        errors.push(Error::required(&Path::new("eventTime"), ""));
    }
    let kind = event.text("type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(Error::invalid(&Path::new("type"), "", "has invalid value: ".to_owned() + kind));
    }
    let source = event.field("source");
    let old_fields = [
        (event.has("firstTimestamp"), "deprecatedFirstTimestamp"),
        (event.has("lastTimestamp"), "deprecatedLastTimestamp"),
        (event.int("count").unwrap_or(0) != 0, "deprecatedCount"),
        (!source.text("component").is_empty() || !source.text("host").is_empty(), "deprecatedSource"),
    ];
    for (_, field) in old_fields.into_iter().filter(|(set, _)| *set) {
        errors.push(Error::invalid(&Path::new(field), "", "needs to be unset"));
    }
    errors
}

/// A series is of two at least.
fn series(errors: &mut ErrorList, event: &Object) {
    let (at, series) = (Path::new("series"), event.field("series"));
    if series.is_null() {
        return;
    }
    if series.int("count").unwrap_or(0) < 2 {
        errors.push(Error::invalid(&at.child("count"), "", "should be at least 2"));
    }
    if series.text("lastObservedTime").is_empty() {
        errors.push(Error::required(&at.child("lastObservedTime"), ""));
    }
}

/// An update goes on with a series; all else stays. The series is looked at when it changes.
fn update_new_form(new: &Object, old: &Object) -> ErrorList {
    let mut errors = basics(new, "reportingController");
    if new.field("series") != old.field("series") {
        series(&mut errors, new);
    }
    unchanged(&mut errors, new, old);
    errors
}

fn unchanged(errors: &mut ErrorList, new: &Object, old: &Object) {
    let fields = [
        ("involvedObject", "regarding"),
        ("reason", "reason"),
        ("message", "note"),
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
        ("count", "deprecatedCount"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
        ("source", "deprecatedSource"),
    ];
    for (field, shown) in fields {
        if new.field(field) != old.field(field) {
            errors.push(Error::invalid(&Path::new(shown), new.field(field).clone(), "field is immutable"));
        }
    }
}

/// Fields whose names differ: core, `events.k8s.io`.
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn convert(event: &mut Object, api_version: &str) {
    let (from_new, to_new) = (event.api_version().contains('/'), api_version.contains('/'));
    if from_new != to_new {
        let root = object_mut(event);
        for (core, new) in RENAMED {
            let (from, to) = if to_new { (core, new) } else { (new, core) };
            if let Some(value) = root.remove(*from) {
                root.insert((*to).to_owned(), value);
            }
        }
        if !to_new {
            root.default_value("involvedObject", || json!({}));
        }
    }
    set_api_version(event, api_version);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, check_create, check_defaults, check_update, row};

    fn event() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "web.1", "namespace": "d" },
            "involvedObject": { "kind": "Pod", "name": "web", "namespace": "d", "fieldPath": "spec.containers{c}" },
            "reason": "Started", "message": "Started container c\n", "type": "Normal", "count": 2,
            "source": { "component": "kubelet", "host": "n1" },
            "firstTimestamp": "2026-11-20T23:50:00Z", "lastTimestamp": "2026-11-20T23:59:00Z",
        })
    }

    #[test]
    fn columns() {
        let want = [
            "60s",
            "Normal",
            "Started",
            "pod/web",
            "spec.containers{c}",
            "kubelet, n1",
            "Started container c",
            "10m",
            "2",
            "web.1",
        ];
        assert_eq!(cells(row("", "events"), &event()), want);
    }

    #[test]
    fn goes_between_the_views() {
        let convert = row("events.k8s.io", "events").strategy.convert;
        let mut object = event();
        convert(&mut object, "events.k8s.io/v1");
        assert_eq!(object["regarding"]["name"], "web");
        assert_eq!(object["note"], "Started container c\n");
        assert_eq!(object["deprecatedCount"], 2);
        assert_eq!(object.get("involvedObject"), None);
        convert(&mut object, "v1");
        assert_eq!(object, event());
    }

    #[test]
    fn stands_with_its_object() {
        let rules: Rules<'_> = &[
            ("", &[]),
            (
                "involvedObject.namespace = other",
                &["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"],
            ),
            (
                "involvedObject.namespace = null",
                &["involvedObject.namespace: Invalid value: \"\": does not match event.namespace"],
            ),
            ("involvedObject.namespace = null ; metadata.namespace = default", &[]),
        ];
        check_create(row("", "events"), &event(), rules);
    }

    #[test]
    fn the_stored_view_is_lenient() {
        let rules: Rules<'_> = &[
            ("type = Odd ; reason = null", &[]),
            (
                "metadata.namespace = D ; involvedObject.namespace = D",
                &["namespace: Invalid value: \"D\": {subdomain}"],
            ),
            (
                "eventTime = 2026-11-20T23:50:00.000000Z",
                &["reportingComponent: Required value", "reportingInstance: Required value", "action: Required value"],
            ),
        ];
        check_create(row("", "events"), &event(), rules);
        check_update(row("", "events"), &event(), &[("message = other ; count = 3", &[])]);
    }

    fn new_event() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "web.1", "namespace": "d" },
            "involvedObject": { "kind": "Pod", "name": "web", "namespace": "d" }, "reason": "Started", "action": "Start",
            "message": "m", "type": "Normal", "eventTime": "2026-11-20T23:50:00.000000Z",
            "reportingComponent": "a.example/b", "reportingInstance": "b-1",
        })
    }

    #[test]
    fn the_newer_view_asks_for_more() {
        let rows = row("events.k8s.io", "events");
        let long = |field: &str, length: usize| format!("{field} = {}", "x".repeat(length));
        let (instance, action, reason, note) =
            (long("reportingInstance", 129), long("action", 129), long("reason", 129), long("message", 1025));
        let rules: Rules<'_> = &[
            ("", &[]),
            ("eventTime = null", &["eventTime: Required value"]),
            ("reportingComponent = null", &["reportingController: Required value"]),
            ("reportingComponent = /b", &["reportingController: Invalid value: \"/b\": prefix part must be non-empty"]),
            ("reportingInstance = null", &["reportingInstance: Required value"]),
            ("action = null", &["action: Required value"]),
            ("reason = null", &["reason: Required value"]),
            (&instance, &["reportingInstance: Invalid value: \"\": can have at most 128 characters"]),
            (&action, &["action: Invalid value: \"\": can have at most 128 characters"]),
            (&reason, &["reason: Invalid value: \"\": can have at most 128 characters"]),
            (&note, &["message: Invalid value: \"\": can have at most 1024 characters"]),
            ("type = Odd", &["type: Invalid value: \"\": has invalid value: Odd"]),
            (
                "count = 1 ; source.host = n ; firstTimestamp = 2026-11-20T23:50:00Z",
                &[
                    "deprecatedFirstTimestamp: Invalid value: \"\": needs to be unset",
                    "deprecatedCount: Invalid value: \"\": needs to be unset",
                    "deprecatedSource: Invalid value: \"\": needs to be unset",
                ],
            ),
            ("series = {\"count\":2,\"lastObservedTime\":\"2026-11-20T23:50:00.000000Z\"}", &[]),
            (
                "series = {\"count\":1}",
                &["series.count: Invalid value: \"\": should be at least 2", "series.lastObservedTime: Required value"],
            ),
        ];
        check_create(rows, &new_event(), rules);
        let updates: Rules<'_> = &[
            ("series = {\"count\":2,\"lastObservedTime\":\"2026-11-20T23:50:00.000000Z\"}", &[]),
            ("series = {\"count\":2}", &["series.lastObservedTime: Required value"]),
            ("message = other", &["note: Invalid value: \"other\": field is immutable"]),
            ("count = 2", &["deprecatedCount: Invalid value: 2: field is immutable"]),
        ];
        check_update(rows, &new_event(), updates);
        check_defaults(rows, &new_event(), &[("type = null", "type = Normal")]);
    }
}
