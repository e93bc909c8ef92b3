//! Rows of `coordination.k8s.io`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};

use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::Tree;

pub const ROWS: &[Resource] = &[Resource {
    columns: &[Column::NAME, Column::text("Holder", "Who holds it."), Column::AGE],
    cells: |o, now| vec![o.name().into(), o.str_at("spec/holderIdentity").into(), age(o, now)],
    strategy: Strategy {
        validate,
        validate_update: |new, _| validate(new),
        allow_create_on_update: true,
        allow_unconditional_update: false,
        ..Strategy::PLAIN
    },
    ..Resource::namespaced("coordination.k8s.io", "v1", "leases", "lease", "Lease")
}];

fn validate(lease: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), lease.field("spec"));
    if let Some(seconds) = spec.int("leaseDurationSeconds").filter(|s| *s <= 0) {
        errors.push(Error::invalid(&at.child("leaseDurationSeconds"), seconds, "must be greater than 0"));
    }
    check::nonnegative(&mut errors, &at, spec, "leaseTransitions");
    if spec.has("preferredHolder") && spec.text("strategy").is_empty() {
        let why = "must be specified when `preferredHolder` is specified";
        errors.push(Error::forbidden(&at.child("preferredHolder"), why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{cells, create_errors, row};

    #[test]
    fn leases() {
        let leases = row("coordination.k8s.io", "leases");
        let object =
            json!({ "metadata": { "name": "l" }, "spec": { "holderIdentity": "me", "leaseDurationSeconds": 0 } });
        assert_eq!(cells(leases, &object), ["l", "me", "<unknown>"]);
        let want = "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0";
        assert_eq!(create_errors(leases, object), [want]);
    }
}
