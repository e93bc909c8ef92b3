//! DeviceClasses.

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};

use super::{GROUP, items, opaque, request};
use crate::podspec::resources::is_extended;
use crate::resource::{Resource, Strategy};
use crate::tree::Tree;

pub const ROW: Resource = Resource {
    strategy: Strategy {
        validate: |new| validate(new, None),
        validate_update: |new, old| validate(new, Some(old)),
        generation_changed: Some(crate::strategy::spec_changed),
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "deviceclasses", "deviceclass", "DeviceClass")
};

/// `old` is the class before an update: selectors that it had already are not looked at again.
fn validate(class: &Object, old: Option<&Object>) -> ErrorList {
    const CONFIG_MAX: usize = 32;
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), class.field("spec"));
    if old.is_none_or(|old| old.field("spec").field("selectors") != spec.field("selectors")) {
        request::selectors(&mut errors, &at.child("selectors"), spec.list("selectors"));
    }
    items(&mut errors, &at.child("config"), spec.list("config"), CONFIG_MAX, &opaque);
    if let Some(name) = spec.field("extendedResourceName").as_str().filter(|name| !is_extended(name)) {
        let why = "must be a valid extended resource name";
        errors.push(Error::invalid(&at.child("extendedResourceName"), name, why));
    }
    errors
}
