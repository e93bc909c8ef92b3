//! Files with the pod's own facts.

use k8s_openapi::api::core::v1::DownwardAPIVolumeFile;

use super::atomic_writer::File;
use super::{Context, Files, VolumeError};
use crate::fields;

pub fn collect(
    context: &Context<'_>,
    items: &[DownwardAPIVolumeFile],
    default_mode: i32,
    files: &mut Files,
) -> Result<(), VolumeError> {
    for item in items {
        let content = if let Some(field) = &item.field_ref {
            fields::pod_field(context.pod, &field.field_path, context.pod_ips, context.host_ips)?
        } else if let Some(resource) = &item.resource_field_ref {
            fields::resource_field(context.pod, None, resource, context.node)?
        } else {
            String::new()
        };
        let mode = super::payload::mode(item.mode.unwrap_or(default_mode));
        let user = item.user.and_then(|u| u32::try_from(u).ok());
        files.insert(item.path.clone(), File { content: content.into_bytes(), mode, user });
    }
    Ok(())
}
