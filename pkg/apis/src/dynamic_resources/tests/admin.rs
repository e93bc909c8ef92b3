//! Devices for administrators.

use serde_json::{Value, json};

use super::{GROUP, claim};
use crate::testing::{assert_texts, change, row, texts};

const ASK: &str = "spec.devices.requests[0].exactly.adminAccess = true";
const GIVE: &str = "status.allocation.devices.results = [{},{\"adminAccess\":true}]";
const WHY: &str = "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on \
                   the containing namespace";

fn with(changes: &str) -> Value {
    let mut object = claim();
    change(&mut object, changes);
    object
}

#[test]
fn a_namespace_is_marked_for_them() {
    let rows = row(GROUP, "resourceclaims");
    let check = rows.strategy.validate_in_namespace.unwrap();
    let marked = json!({ "metadata": { "labels": { "resource.kubernetes.io/admin-access": "true" } } });
    let plain = json!({ "metadata": {} });
    let (asked, given) = (
        format!("spec.devices.requests[0].adminAccess: {WHY}"),
        format!("status.allocation.devices.results[1].adminAccess: {WHY}"),
    );
    for (old, new, namespace, want) in [
        (None, "", &plain, None),
        (None, ASK, &marked, None),
        (None, ASK, &plain, Some(&*asked)),
        (None, ASK, &Value::Null, Some(&*asked)),
        // The spec does not change, so that nobody asks again.
        (Some(ASK), ASK, &plain, None),
        (Some(""), GIVE, &marked, None),
        (Some(""), GIVE, &plain, Some(&*given)),
        (Some(GIVE), GIVE, &plain, None),
    ] {
        let old = old.map(with);
        let want: Vec<&str> = want.into_iter().collect();
        assert_texts(texts(&check(&with(new), old.as_ref(), namespace)), &want, || {
            format!("{old:?} to {new} in {namespace}")
        });
    }
}

#[test]
fn templates_ask_for_their_claims() {
    let check = row(GROUP, "resourceclaimtemplates").strategy.validate_in_namespace.unwrap();
    let template = json!({ "spec": { "spec": with(ASK)["spec"] } });
    // Upstream gives the path within the claim.
    let want = format!("spec.devices.requests[0].adminAccess: {WHY}");
    assert_texts(texts(&check(&template, None, &Value::Null)), &[&want], || "create".to_owned());
    assert_texts(texts(&check(&template, Some(&template), &Value::Null)), &[], || "update".to_owned());
}
