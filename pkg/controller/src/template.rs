//! Objects made from templates: pods, their names, and the hash that tells templates apart.

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use rand::Rng as _;
use serde_json::Value;

/// Letters and digits from which no words are made, as upstream's random names have them.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const RANDOM_LEN: usize = 5;
/// A generated name is cut so that it stays a DNS label.
const BASE_MAX: usize = 63 - RANDOM_LEN;

/// `base` and five random characters: what the server makes of `generateName`, made here so that the name is known
/// before the object is created.
pub fn random_name(base: &str) -> String {
    let mut rng = rand::rng();
    let mut name: String = base.chars().take(BASE_MAX).collect();
    name.extend((0..RANDOM_LEN).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])));
    name
}

/// A number in the alphabet of random names, as `pod-template-hash` shows it.
pub fn safe_encode(number: u32) -> String {
    number.to_string().bytes().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])).collect()
}

/// The 32-bit FNV-1a hash.
pub fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The hash of a pod template, for names and labels of what is made from it. Equal templates have equal hashes, however
/// they were written down; a collision is resolved by counting up `collisions`.
pub fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut bytes = canonical(template).to_string().into_bytes();
    if let Some(collisions) = collisions {
        bytes.extend_from_slice(&collisions.to_le_bytes());
    }
    safe_encode(fnv32a(&bytes))
}

/// `object` as a tree with sorted keys and without nulls and empty lists, maps or objects, which mean the same as nothing.
pub fn canonical<T: serde::Serialize>(object: &T) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or(Value::Null);
    prune(&mut value);
    value
}

fn prune(value: &mut Value) {
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            map.retain(|key, v| !is_nothing(v) || (v.is_object() && MEANINGFUL_EMPTY.contains(&key.as_str())));
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}

/// Fields whose empty object means something.
const MEANINGFUL_EMPTY: [&str; 4] = ["emptyDir", "labelSelector", "namespaceSelector", "podSelector"];

/// Equal but for how nothing is written.
pub fn equal<T: serde::Serialize + PartialEq>(a: &T, b: &T) -> bool {
    a == b || canonical(a) == canonical(b)
}

/// A pod of `template`, controlled by `owner`. Its name is random below `<owner's name>-`.
pub fn pod(template: &PodTemplateSpec, namespace: &str, owner: OwnerReference) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    // A name that is too long leaves out the dash, as upstream's does.
    let prefix = format!("{}-", owner.name);
    let prefix = if prefix.len() > 253 { owner.name.clone() } else { prefix };
    let metadata = ObjectMeta {
        name: Some(random_name(&prefix)),
        generate_name: Some(prefix),
        namespace: Some(namespace.to_owned()),
        labels: meta.labels,
        annotations: meta.annotations,
        finalizers: meta.finalizers,
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec.clone(), status: None }
}

/// A reference that makes `owner` the controller, and holds back its foreground deletion.
pub fn controller_ref<K: k8s_openapi::Metadata<Ty = ObjectMeta>>(owner: &K) -> OwnerReference {
    let metadata = owner.metadata();
    OwnerReference {
        api_version: K::API_VERSION.into(),
        kind: K::KIND.into(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The parsed form of a selector; one that is absent selects nothing.
pub fn selector(selector: Option<&LabelSelector>) -> Result<apimachinery::labels::LabelSelector, crate::Error> {
    let Some(selector) = selector else { return Ok(apimachinery::labels::LabelSelector::nothing()) };
    Ok(apimachinery::labels::LabelSelector::from_value(Some(&serde_json::to_value(selector)?))?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn known_values_of_fnv_and_encoding() {
        assert_eq!(fnv32a(b""), 0x811c_9dc5);
        assert_eq!(fnv32a(b"foobar"), 0xbf9c_f968);
        assert_eq!(safe_encode(0), "4");
    }

    #[test]
    fn a_hash_depends_on_what_is_said_not_on_how() {
        let parse = |v: Value| serde_json::from_value::<PodTemplateSpec>(v).unwrap();
        let a = parse(
            json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "env": [] }] } }),
        );
        let b = parse(
            json!({ "metadata": { "labels": { "a": "b" }, "annotations": {} }, "spec": { "containers": [{ "name": "c" }] } }),
        );
        let c = parse(json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "d" }] } }));
        assert!(equal(&a, &b));
        assert_eq!(template_hash(&a, None), template_hash(&b, None));
        assert_ne!(template_hash(&a, None), template_hash(&c, None));
        assert_ne!(template_hash(&a, None), template_hash(&a, Some(1)));
    }

    #[test]
    fn an_empty_volume_source_still_counts() {
        let with = canonical(&json!({ "volumes": [{ "name": "v", "emptyDir": {} }] }));
        let without = canonical(&json!({ "volumes": [{ "name": "v" }] }));
        assert_ne!(with, without);
    }

    #[test]
    fn random_names_are_labels() {
        let name = random_name(&"x".repeat(80));
        assert_eq!(name.len(), 63);
        assert!(random_name("web-").starts_with("web-"));
    }
}
