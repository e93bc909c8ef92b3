//! Fields of alpha features, which are off: they are dropped as upstream drops them.

use serde_json::{Map, Value};

use crate::tree::Fill;

type Fields = Map<String, Value>;

/// Drops what a pod spec itself says about features that are off.
pub fn drop_of_spec(spec: &mut Fields) {
    spec.remove("evictionResponders");
}

/// The same for the mount of a volume.
pub fn drop_of_mount(mount: &mut Fields) {
    mount.remove("bindMountOptions");
}

/// The same for one source of a volume, or of a projected volume. Files can have a user of their own: one for all, and one
/// for each item.
pub fn drop_of_source(source: &str, fields: &mut Fields) {
    match source {
        "emptyDir" => drop(fields.remove("mode")),
        "serviceAccountToken" | "clusterTrustBundle" | "podCertificate" => drop(fields.remove("user")),
        "secret" | "configMap" | "downwardAPI" | "projected" => {
            fields.remove("defaultUser");
            fields.each("items", |item| drop(item.remove("user")));
            fields.each("sources", |part| part.each_object(drop_of_source));
        }
        _ => {}
    }
}
