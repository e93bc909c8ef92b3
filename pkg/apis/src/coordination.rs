//! Rows of `coordination.k8s.io`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};

use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Tree, spec_mut};

pub const ROWS: &[Resource] = &[Resource {
    columns: &[Column::NAME, Column::text("Holder", "Who holds it."), Column::AGE],
    cells: |o, now| vec![o.name().into(), o.str_at("spec/holderIdentity").into(), age(o, now)],
    strategy: Strategy {
        prepare_for_create: |o| drop_coordination(o, None),
        prepare_for_update: |new, old| drop_coordination(new, Some(old)),
        validate,
        validate_update: |new, _| validate(new),
        allow_create_on_update: true,
        allow_unconditional_update: false,
        ..Strategy::PLAIN
    },
    ..Resource::namespaced("coordination.k8s.io", "v1", "leases", "lease", "Lease")
}];

/// Coordinated leader election is behind a gate that is off; a lease that has its fields keeps them.
fn drop_coordination(lease: &mut Object, old: Option<&Object>) {
    let Some(spec) = spec_mut(lease) else { return };
    for field in ["strategy", "preferredHolder"] {
        if old.is_none_or(|old| !old.field("spec").has(field)) {
            spec.remove(field);
        }
    }
}

fn validate(lease: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), lease.field("spec"));
    if let Some(seconds) = spec.int("leaseDurationSeconds").filter(|s| *s <= 0) {
        errors.push(Error::invalid(&at.child("leaseDurationSeconds"), seconds, "must be greater than 0"));
    }
    check::nonnegative(&mut errors, &at, spec, "leaseTransitions");
    if !spec.text("preferredHolder").is_empty() && spec.text("strategy").is_empty() {
        let why = "may only be specified when `strategy` is defined";
        errors.push(Error::forbidden(&at.child("preferredHolder"), why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{Rules, cells, check_create, check_update, created, row, texts};

    #[test]
    fn lease_rules() {
        let leases = row("coordination.k8s.io", "leases");
        let base =
            json!({ "metadata": { "name": "l" }, "spec": { "holderIdentity": "me", "leaseDurationSeconds": 15 } });
        let rules: Rules<'_> = &[
            ("", &[]),
            ("spec = {}", &[]),
            ("spec.leaseDurationSeconds = 0", &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]),
            (
                "spec.leaseTransitions = -1",
                &["spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"],
            ),
        ];
        check_create(leases, &base, rules);
        check_update(leases, &base, rules);
        assert_eq!(cells(leases, &base), ["l", "me", "<unknown>"]);
        let why = "spec.preferredHolder: Forbidden: may only be specified when `strategy` is defined";
        let mut led = base.clone();
        led["spec"]["strategy"] = json!("OldestEmulationVersion");
        led["spec"]["preferredHolder"] = json!("you");
        assert_eq!(texts(&(leases.strategy.validate)(&led)), [""; 0]);
        led["spec"]["strategy"] = json!(null);
        assert_eq!(texts(&(leases.strategy.validate)(&led)), [why]);
        let mut coordinated = base.clone();
        coordinated["spec"]["strategy"] = json!("OldestEmulationVersion");
        assert_eq!(created(leases, coordinated), base);
    }
}
