//! StorageVersionMigrations.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};

use crate::conditions::{self, is_true};
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::Tree;

pub const ROW: Resource = Resource {
    columns: &[
        Column { format: "", ..Column::NAME },
        Column::text("Resource", "Resource whose objects are rewritten."),
    ],
    cells: |o, _| {
        let resource = o.field("spec").field("resource");
        let parts = ["resource", "version", "group"].map(|f| resource.text(f));
        let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        vec![o.name().into(), parts.join(".").into()]
    },
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        validate,
        validate_update,
        validate_status_update,
        generation_changed: None,
        allow_unconditional_update: false,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster(
        "storagemigration.k8s.io",
        "v1",
        "storageversionmigrations",
        "storageversionmigration",
        "StorageVersionMigration",
    )
};

fn validate(migration: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    if migration.str_at("spec/resource/resource").is_empty() {
        let at = Path::new("spec").child("resource").child("resource");
        errors.push(Error::required(&at, "resource is required"));
    }
    errors
}

fn validate_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = validate(new);
    let (now, before) = (new.field("spec").field("resource"), old.field("spec").field("resource"));
    for field in ["group", "resource"] {
        if now.text(field) != before.text(field) {
            errors.push(Error::invalid(&Path::new(field), now.text(field), "field is immutable"));
        }
    }
    errors
}

fn validate_status_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("status");
    let (status, before) = (new.field("status"), old.field("status"));
    let version = status.text("resourceVersion");
    let path = at.child("resourceVersion");
    match version.parse::<i64>() {
        Err(_) if !version.is_empty() => {
            let why = format!(
                "failed to parse resource version {version:?}: strconv.ParseInt: parsing {version:?}: invalid syntax"
            );
            errors.push(Error::invalid(&path, version, why));
        }
        Ok(number) if number < 0 => {
            errors.push(Error::invalid(&path, number, "must be greater than or equal to 0"));
        }
        _ => {}
    }
    let path_of_conditions = at.child("conditions");
    let (list, then) = (status.list("conditions"), before.list("conditions"));
    conditions::validate(&mut errors, &path_of_conditions, list);
    if !before.text("resourceVersion").is_empty() && before.text("resourceVersion") != version {
        errors.push(Error::invalid(&path, version, "cannot be updated"));
    }
    let (succeeded, failed, running) = (is_true(list, "Succeeded"), is_true(list, "Failed"), is_true(list, "Running"));
    let rules = [
        (succeeded && failed, "Both success and failed conditions cannot be true at the same time"),
        (succeeded && running, "Running condition cannot be true when success condition is true"),
        (failed && running, "Running condition cannot be true when failed condition is true"),
        (is_true(then, "Succeeded") && !succeeded, "Success condition cannot be set to false once it is true"),
        (is_true(then, "Failed") && !failed, "Failed condition cannot be set to false once it is true"),
    ];
    for (_, why) in rules.into_iter().filter(|(broken, _)| *broken) {
        errors.push(Error::invalid(&path_of_conditions, status.field("conditions").clone(), why));
    }
    errors
}
