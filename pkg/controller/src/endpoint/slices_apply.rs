//! Writing planned slices, with names chosen here so that a late cache does not lead to second ones.

use client::{Cached as _, ObjectKey};
use futures::future::try_join_all;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::PostParams;

use super::slice_plan::Plan;
use crate::expectations::Expectations;
use crate::skeleton::{Context, Error, delete_uid, ignore_not_found, is_not_found, is_terminating};
use crate::template;

/// Writes what `plan` says for the object at `owner`, whose slices' names begin with `prefix`.
pub(super) async fn apply(
    context: &Context,
    expectations: &Expectations<ObjectKey>,
    owner: &ObjectKey,
    prefix: &str,
    plan: Plan,
) -> Result<(), Error> {
    let api: Api<EndpointSlice> = Api::namespaced(context.client.clone(), &owner.namespace);
    let creations = plan.create.into_iter().map(|mut slice| {
        let api = &api;
        slice.metadata.name = Some(template::random_name(prefix));
        slice.metadata.generate_name = Some(prefix.to_owned());
        async move {
            let key = ObjectKey::of(&slice);
            let key = ObjectKey::new(&owner.namespace, &key.name);
            expectations.expect_creation(owner, key.clone());
            let outcome = api.create(&PostParams::default(), &slice).await;
            if outcome.is_err() {
                expectations.created(&key);
            }
            match outcome {
                Err(error) if is_terminating(&error) => Ok(()),
                outcome => outcome.map(|_| ()),
            }
        }
    });
    try_join_all(creations).await?;
    let updates = plan.update.iter().map(|slice| {
        let api = &api;
        async move {
            match api.replace(slice.name(), &PostParams::default(), slice).await {
                Err(error) if is_not_found(&error) => Ok(()),
                outcome => outcome.map(|_| ()),
            }
        }
    });
    try_join_all(updates).await?;
    let deletions = plan.delete.iter().map(|slice| {
        let api = &api;
        async move {
            let uid = slice.metadata.uid.as_deref().unwrap_or("");
            ignore_not_found(api.delete(slice.name(), &delete_uid(uid)).await)
        }
    });
    try_join_all(deletions).await?;
    Ok(())
}
