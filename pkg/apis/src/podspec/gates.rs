//! Fields of alpha features, which are off: they are dropped as upstream drops them.

use serde_json::{Map, Value};

use super::CONTAINER_LISTS;
use crate::tree::Fill;

type Fields = Map<String, Value>;

/// Volume sources whose files can have a user of their own: a user for all files, and one for each item.
const WITH_USER: [&str; 4] = ["secret", "configMap", "downwardAPI", "projected"];

/// Drops what a pod spec says about features that are off.
pub fn drop_disabled(spec: &mut Fields) {
    spec.remove("evictionResponders");
    for list in CONTAINER_LISTS {
        spec.each(list, |container| container.each("volumeMounts", |mount| drop(mount.remove("bindMountOptions"))));
    }
    spec.each("volumes", |volume| {
        if let Some(dir) = volume.sub("emptyDir") {
            dir.remove("mode");
        }
        drop_users(volume);
        if let Some(projected) = volume.sub("projected") {
            projected.each("sources", drop_users);
        }
    });
}

/// `owner` is a volume, or one source of a projected volume.
fn drop_users(owner: &mut Fields) {
    for source in WITH_USER {
        if let Some(source) = owner.sub(source) {
            source.remove("defaultUser");
            source.each("items", |item| drop(item.remove("user")));
        }
    }
    for source in ["serviceAccountToken", "clusterTrustBundle", "podCertificate"] {
        if let Some(source) = owner.sub(source) {
            source.remove("user");
        }
    }
}
