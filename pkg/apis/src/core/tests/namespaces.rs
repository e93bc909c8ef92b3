//! Rules of Namespaces.

use serde_json::{Value, json};

use crate::testing::{check_create, check_part, check_status, check_update, created, row};

fn namespace() -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "x" } })
}

const UNKNOWN: &str = "name is neither a standard finalizer name nor is it fully qualified";

#[test]
fn finalizers() {
    let namespaces = row("", "namespaces");
    check_create(
        namespaces,
        &namespace(),
        &[
            ("", &[]),
            ("spec.finalizers = [\"a.b/c\"]", &[]),
            ("spec.finalizers = [\"mine\"]", &[&format!("spec.finalizers: Invalid value: \"mine\": {UNKNOWN}")]),
            ("spec.finalizers = [\"a b/c\"]", &["spec.finalizers: Invalid value: \"a b/c\": prefix part {subdomain}"]),
        ],
    );
    check_update(namespaces, &namespace(), &[("spec.finalizers = [\"mine\"] ; spec.other = 1", &[])]);
    check_part(
        namespaces,
        "finalize",
        &created(namespaces, namespace()),
        &[
            ("spec.finalizers = []", &[]),
            ("spec.finalizers = [\"kubernetes\",\"orphan\",\"a.b/c\"]", &[]),
            (
                "spec.finalizers = [\"kubernetes\",\"mine\"]",
                &[&format!("spec.finalizers[1]: Invalid value: \"mine\": {UNKNOWN}")],
            ),
        ],
    );
}

#[test]
fn phases() {
    let namespaces = row("", "namespaces");
    let active = "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty";
    let mut old = created(namespaces, namespace());
    check_status(namespaces, &old, &[("", &[]), ("status.phase = Terminating", &[active])]);
    old["metadata"]["deletionTimestamp"] = json!("2026-11-20T10:00:00Z");
    let terminating =
        "status.Phase: Invalid value: \"Active\": may only be 'Terminating' if `deletionTimestamp` is not empty";
    check_status(namespaces, &old, &[("status.phase = Terminating", &[]), ("status.phase = Active", &[terminating])]);
}

#[test]
fn names_are_labels() {
    let name = row("", "namespaces").strategy.validate_name;
    assert_eq!(name("a-b", false), [""; 0]);
    assert_eq!(name("a.b", false), ["must not contain dots"]);
}
