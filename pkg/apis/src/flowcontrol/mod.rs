//! Rows of `flowcontrol.apiserver.k8s.io`.

mod level;
mod schema;

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};

use crate::resource::{Resource, Subresource};
use crate::tree::Tree;

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        subresources: &[Subresource::STATUS],
        ..Resource::cluster("flowcontrol.apiserver.k8s.io", "v1", plural, singular, kind)
    }
}

pub const ROWS: &[Resource] = &[schema::ROW, level::ROW];

/// The conditions of a status: types of their own.
fn conditions(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = object.field("status").list("conditions");
    for (i, condition) in list.iter().enumerate() {
        let at = Path::new("status").child("conditions").index(i).child("type");
        let kind = condition.text("type");
        if list[..i].iter().any(|c| c.text("type") == kind) {
            errors.push(Error::duplicate(&at, kind));
        }
        if kind.is_empty() {
            errors.push(Error::required(&at, "must not be empty"));
        }
    }
    errors
}

#[cfg(test)]
mod tests;
