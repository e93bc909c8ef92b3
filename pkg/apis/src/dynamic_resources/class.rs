//! DeviceClasses.

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};

use super::{GROUP, items, opaque, request};
use crate::podspec::resources::is_extended;
use crate::resource::{Resource, Strategy};
use crate::tree::Tree;

pub const ROW: Resource = Resource {
    strategy: Strategy {
        validate,
        validate_update: |new, _| validate(new),
        generation_changed: Some(crate::strategy::spec_changed),
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "deviceclasses", "deviceclass", "DeviceClass")
};

fn validate(class: &Object) -> ErrorList {
    const CONFIG_MAX: usize = 32;
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), class.field("spec"));
    request::selectors(&mut errors, &at.child("selectors"), spec.list("selectors"));
    items(&mut errors, &at.child("config"), spec.list("config"), CONFIG_MAX, &opaque);
    if let Some(name) = spec.field("extendedResourceName").as_str().filter(|name| !is_extended(name)) {
        let why = "must be a valid extended resource name";
        errors.push(Error::invalid(&at.child("extendedResourceName"), name, why));
    }
    errors
}
