//! Devices for administrators, which may be in use by others: only claims of namespaces that are marked for it have them.

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use crate::tree::Tree;

/// Marks a namespace whose claims may ask for such devices.
const LABEL: &str = "resource.kubernetes.io/admin-access";

/// At creation: what `spec` asks for, of a claim or inside a template. Specs do not change afterwards.
pub fn check_requests(spec: &Value, namespace: &Object) -> ErrorList {
    let requests = spec.field("devices").list("requests");
    // Alternatives of a request cannot ask for it.
    let asked = requests.iter().position(|request| request.field("exactly").flag("adminAccess"));
    // Upstream gives this path for templates, too.
    let at = |i| Path::new("spec").child("devices").child("requests").index(i);
    refuse(asked.map(at), namespace)
}

/// What a claim is given, unless it had such devices before: an allocation does not change.
pub fn check_results(new: &Object, old: &Object, namespace: &Object) -> ErrorList {
    let granted = |claim: &Object| {
        let allocation = claim.field("status").field("allocation");
        allocation.field("devices").list("results").iter().position(|result| result.flag("adminAccess"))
    };
    let at = |i| Path::new("status").child("allocation").child("devices").child("results").index(i);
    refuse(granted(new).filter(|_| granted(old).is_none()).map(at), namespace)
}

fn refuse(at: Option<Path>, namespace: &Object) -> ErrorList {
    let error = at.filter(|_| namespace.field("metadata").field("labels").text(LABEL) != "true").map(|at| {
        let why = format!("admin access to devices requires the `{LABEL}: true` label on the containing namespace");
        Error::forbidden(&at.child("adminAccess"), why)
    });
    error.into_iter().collect()
}
