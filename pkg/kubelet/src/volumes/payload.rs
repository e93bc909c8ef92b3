//! The files of volumes whose content comes from the API.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, ProjectedVolumeSource, Secret, Volume, VolumeProjection};

use super::atomic_writer::File;
use super::{Context, Files, VolumeError, downward};
use crate::pod::PodExt as _;

const MODE_DEFAULT: i32 = 0o644;

/// What a volume is to contain, and until when.
#[derive(Debug, Default)]
pub struct Payload {
    pub files: Files,
    pub renew_at: Option<Timestamp>,
}

pub fn mode(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0) & 0o777
}

/// `None` if the volume is not of this family.
pub async fn collect(context: &Context<'_>, volume: &Volume) -> Result<Option<Payload>, VolumeError> {
    let namespace = context.pod.namespace();
    let mut payload = Payload::default();
    if let Some(source) = &volume.config_map {
        let optional = source.optional.unwrap_or(false);
        let map = context.objects.config_map(namespace, &source.name, optional).await?;
        let entries = map.map(|m| config_map_entries(&m)).unwrap_or_default();
        let default_mode = source.default_mode.unwrap_or(MODE_DEFAULT);
        select(&entries, source.items.as_deref(), optional, default_mode, &mut payload.files)?;
    } else if let Some(source) = &volume.secret {
        let optional = source.optional.unwrap_or(false);
        let name = source.secret_name.as_deref().unwrap_or_default();
        let secret = context.objects.secret(namespace, name, optional).await?;
        let entries = secret.map(|s| secret_entries(&s)).unwrap_or_default();
        let default_mode = source.default_mode.unwrap_or(MODE_DEFAULT);
        select(&entries, source.items.as_deref(), optional, default_mode, &mut payload.files)?;
    } else if let Some(source) = &volume.downward_api {
        let default_mode = source.default_mode.unwrap_or(MODE_DEFAULT);
        downward::collect(context, source.items.as_deref().unwrap_or_default(), default_mode, &mut payload.files)?;
    } else if let Some(source) = &volume.projected {
        projected(context, source, &mut payload).await?;
    } else {
        return Ok(None);
    }
    Ok(Some(payload))
}

async fn projected(
    context: &Context<'_>,
    source: &ProjectedVolumeSource,
    payload: &mut Payload,
) -> Result<(), VolumeError> {
    let default_mode = source.default_mode.unwrap_or(MODE_DEFAULT);
    for part in source.sources.iter().flatten() {
        project(context, part, default_mode, payload).await?;
    }
    Ok(())
}

async fn project(
    context: &Context<'_>,
    part: &VolumeProjection,
    default_mode: i32,
    payload: &mut Payload,
) -> Result<(), VolumeError> {
    let namespace = context.pod.namespace();
    if let Some(source) = &part.config_map {
        let optional = source.optional.unwrap_or(false);
        let map = context.objects.config_map(namespace, &source.name, optional).await?;
        let entries = map.map(|m| config_map_entries(&m)).unwrap_or_default();
        select(&entries, source.items.as_deref(), optional, default_mode, &mut payload.files)?;
    }
    if let Some(source) = &part.secret {
        let optional = source.optional.unwrap_or(false);
        let secret = context.objects.secret(namespace, &source.name, optional).await?;
        let entries = secret.map(|s| secret_entries(&s)).unwrap_or_default();
        select(&entries, source.items.as_deref(), optional, default_mode, &mut payload.files)?;
    }
    if let Some(source) = &part.downward_api {
        downward::collect(context, source.items.as_deref().unwrap_or_default(), default_mode, &mut payload.files)?;
    }
    if let Some(source) = &part.service_account_token {
        let token = context.tokens.get(context.pod, source, context.given).await.map_err(VolumeError::Token)?;
        let security = context.pod.pod_spec().security_context.as_ref();
        let shared = security.is_some_and(|s| s.fs_group.is_some());
        // A container that runs as one other user owns the token; with a group, the group reads it.
        let user = single_user(context.pod).filter(|_| !shared);
        let file_mode = if shared || user.is_some() { 0o600 } else { mode(default_mode) };
        payload.files.insert(source.path.clone(), File { content: token.token.into_bytes(), mode: file_mode, user });
        payload.renew_at = [payload.renew_at, Some(token.renew_at)].into_iter().flatten().min();
    }
    Ok(())
}

/// The user that all containers run as, if it is one and the same and not left to the image.
fn single_user(pod: &k8s_openapi::api::core::v1::Pod) -> Option<u32> {
    let mut users = pod.all_containers().map(|c| crate::runtime::security::run_as_user(pod, c));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}

fn config_map_entries(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
    text.chain(binary).collect()
}

fn secret_entries(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect()
}

/// All entries, or those that `items` names under the paths that it gives.
fn select(
    entries: &BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    default_mode: i32,
    files: &mut Files,
) -> Result<(), VolumeError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let all = entries.iter().map(|(key, content)| {
            (key.clone(), File { content: content.clone(), mode: mode(default_mode), user: None })
        });
        files.extend(all);
        return Ok(());
    };
    for item in items {
        let Some(content) = entries.get(&item.key) else {
            if optional {
                continue;
            }
            return Err(VolumeError::MissingKey(item.key.clone()));
        };
        let user = item.user.and_then(|u| u32::try_from(u).ok());
        let file = File { content: content.clone(), mode: mode(item.mode.unwrap_or(default_mode)), user };
        files.insert(item.path.clone(), file);
    }
    Ok(())
}
