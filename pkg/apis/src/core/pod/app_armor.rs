//! AppArmor: at birth, annotations of old clients become fields of the containers that they name.

use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value};

use crate::podspec::CONTAINER_LISTS;
use crate::podspec::annotations::{APP_ARMOR, annotated_app_armor};
use crate::tree::{Fill, Tree, spec_mut};

/// Gives containers without a profile the one that their annotation names, if that is legal and not the pod's anyway.
pub fn fill_fields(pod: &mut Object) {
    let says_some = |annotations: &&Map<String, Value>| annotations.keys().any(|key| key.starts_with(APP_ARMOR));
    let Some(annotations) = pod.annotations().filter(says_some).cloned() else { return };
    let Some(spec) = spec_mut(pod).filter(|spec| spec.field("os").text("name") != "windows") else { return };
    for list in CONTAINER_LISTS {
        let mut profiles =
            spec.list(list).iter().map(|c| profile(&annotations, c, spec)).collect::<Vec<_>>().into_iter();
        spec.each(list, |container| {
            if let Some(profile) = profiles.next().flatten() {
                container.sub_or_new("securityContext").insert("appArmorProfile".to_owned(), profile);
            }
        });
    }
}

fn profile(annotations: &impl Tree, container: &Value, spec: &impl Tree) -> Option<Value> {
    if container.field("securityContext").has("appArmorProfile") {
        return None;
    }
    let annotation = annotations.field(&format!("{APP_ARMOR}{}", container.text("name"))).as_str()?;
    annotated_app_armor(annotation, spec)
}
