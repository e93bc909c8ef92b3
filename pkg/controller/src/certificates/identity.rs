//! Who a node is: the key of its first client certificate, kept in the Secret `kube-system/<node>.node-identity.coracle`.
//! A token lets a machine in under a new name or, with the same key, under its old one; it does not let it in under the
//! name of another. The Secret belongs to the Node and goes with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{ObjectKey, Scope, Store, WorkQueue};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use pki::CsrSubject;
use serde_json::json;

use crate::skeleton::{Context, Error, SyncResult, Tasks, delete_uid, enqueue, ignore_not_found, is_already_exists};

const NAME: &str = "node_identity";
const NAMESPACE: &str = "kube-system";
const SUFFIX: &str = ".node-identity.coracle";
/// Marks these Secrets, so that no other ones need be watched.
const TYPE: &str = "coracle.io/node-identity";
/// The SHA-256 of the public key (SubjectPublicKeyInfo), in hex.
const KEY: &str = "public-key-sha256";
/// How long a key is kept for a node that does not come.
const UNUSED: SignedDuration = SignedDuration::from_hours(1);

/// The Secret in `kube-system` that says whose key is the node's.
pub fn secret_name(node: &str) -> String {
    format!("{node}{SUFFIX}")
}

/// How a certificate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// With a token.
    First,
    /// By the node itself, with its certificate; it may have a new key.
    Renew,
}

/// Takes the node's name for the key in `subject`. The text says why another machine has it.
pub(super) async fn claim(context: &Context, subject: &CsrSubject, claim: Claim) -> Result<Result<(), String>, Error> {
    let node = subject.common_name.strip_prefix("system:node:").unwrap_or("");
    let key = pki::fingerprint(subject.public_key());
    let api: Api<Secret> = Api::namespaced(context.client.clone(), NAMESPACE);
    let name = secret_name(node);
    if let Some(secret) = api.get_opt(&name).await? {
        let known = secret.data.as_ref().and_then(|data| data.get(KEY)).map(|value| value.0.as_slice());
        return match claim {
            _ if known == Some(key.as_bytes()) => Ok(Ok(())),
            Claim::First => Ok(Err(taken(node))),
            Claim::Renew => {
                let patch = json!({ "data": { KEY: ByteString(key.into_bytes()) } });
                api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
                Ok(Ok(()))
            }
        };
    }
    let nodes: Api<Node> = Api::all(context.client.clone());
    if claim == Claim::First && nodes.get_opt(node).await?.is_some() {
        // It came without a token: a server's own node, or one that an administrator made.
        return Ok(Err(taken(node)));
    }
    match api.create(&PostParams::default(), &secret(&name, &key)).await {
        // Somebody else was quicker: look at whose key that is.
        Err(error) if is_already_exists(&error) => Err(Error::Wait("another claim to the node's name was made")),
        outcome => outcome.map(|_| Ok(())).map_err(Error::from),
    }
}

fn taken(node: &str) -> String {
    format!(
        "another machine is the node {node:?}: give this one another name (--node-name), or, if it is to replace that \
         one, run `kubectl delete node {node}` first"
    )
}

fn secret(name: &str, key: &str) -> Secret {
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        type_: Some(TYPE.to_owned()),
        data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(key.as_bytes().to_vec()))])),
        ..Secret::default()
    }
}

/// Runs the controller that gives each key to its Node, and removes keys of nodes that never came.
pub async fn run(context: Context) -> Result<(), Error> {
    let secrets = context.informers.get::<Secret>(Scope::namespace(NAMESPACE).fields(&format!("type={TYPE}")));
    let nodes = context.informers.get::<Node>(Scope::all());
    secrets.synced().await;
    nodes.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&secrets, enqueue(&queue));
    tasks.feed(&nodes, {
        let queue = queue.clone();
        move |change| {
            if change.old.is_none() || change.new.is_none() {
                queue.add(ObjectKey::new(NAMESPACE, &secret_name(&change.key.name)));
            }
        }
    });
    let shared = Arc::new((context.clone(), secrets.store(), nodes.store()));
    tasks.work(NAME, &queue, 1, move |key| {
        let shared = shared.clone();
        async move { sync(&shared.0, &shared.1, &shared.2, key).await }
    });
    tasks.run(&context.shutdown).await
}

async fn sync(context: &Context, secrets: &Store<Secret>, nodes: &Store<Node>, key: ObjectKey) -> SyncResult {
    let Some(secret) = secrets.get_key(&key) else { return Ok(None) };
    let Some(name) = key.name.strip_suffix(SUFFIX) else { return Ok(None) };
    let node = nodes.get("", name);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), NAMESPACE);
    match plan(&secret, node.as_deref(), Timestamp::now()) {
        Plan::Nothing => Ok(None),
        Plan::Wait(delay) => Ok(Some(delay)),
        Plan::Own(owner) => {
            let patch = json!({ "metadata": {
                "uid": secret.metadata.uid, "resourceVersion": secret.metadata.resource_version, "ownerReferences": [owner],
            } });
            ignore_not_found(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await)?;
            Ok(None)
        }
        Plan::Remove => {
            let uid = secret.metadata.uid.as_deref().unwrap_or("");
            ignore_not_found(api.delete(&key.name, &delete_uid(uid)).await)?;
            Ok(None)
        }
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    Nothing,
    Wait(Duration),
    Own(OwnerReference),
    Remove,
}

/// What becomes of a key. With an owner the garbage collector sees to the rest.
pub(super) fn plan(secret: &Secret, node: Option<&Node>, now: Timestamp) -> Plan {
    if secret.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty()) {
        return Plan::Nothing;
    }
    if let Some(node) = node {
        return Plan::Own(OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: node.metadata.name.clone().unwrap_or_default(),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            ..OwnerReference::default()
        });
    }
    let created = secret.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let left = UNUSED - now.duration_since(created);
    if left > SignedDuration::ZERO { Plan::Wait(Duration::try_from(left).unwrap_or_default()) } else { Plan::Remove }
}
