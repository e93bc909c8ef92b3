//! ServiceAccount: every pod runs as a ServiceAccount that exists, and gets a token for it mounted unless it declines.

use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiResult, GroupResource};
use rand::Rng;
use serde_json::{Map, Value, json};

use super::{MIRROR_ANNOTATION, list_mut, map_mut};
use crate::{Attributes, Operation, Plugin, Reader};

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const TOKEN_SECONDS: i64 = 3607;
/// Letters and digits of generated names: no vowels, nothing that looks alike.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// A ServiceAccount with this annotation lets its pods use only the Secrets that it lists.
const ENFORCE_ANNOTATION: &str = "kubernetes.io/enforce-mountable-secrets";

pub struct ServiceAccount {
    reader: Arc<dyn Reader>,
    accounts: GroupResource,
}

impl ServiceAccount {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, accounts: GroupResource::new("", "serviceaccounts") }
    }

    fn account(&self, a: &Attributes<'_>, pod: &Value) -> ApiResult<Arc<Value>> {
        let name = pod.str_at("spec/serviceAccountName");
        let found = self.reader.get(&self.accounts, a.namespace, name);
        found.ok_or_else(|| {
            let namespace = a.namespace;
            let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
            a.forbidden(Some(pod), why)
        })
    }
}

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn mutate(&self, a: &Attributes<'_>, pod: &mut Value, _: Option<&Value>) -> ApiResult<()> {
        if !a.is("", "pods") || a.operation != Operation::Create || is_mirror(pod) {
            return Ok(());
        }
        name_account(map_mut(pod, "spec"));
        let account = self.account(a, pod)?;
        if automounts(&account, pod) {
            mount_token(pod);
        }
        let secrets = account.array_at("imagePullSecrets");
        if !secrets.is_empty() && pod.array_at("spec/imagePullSecrets").is_empty() {
            let secrets: Vec<Value> = secrets.iter().map(|s| json!({ "name": s.str_at("name") })).collect();
            map_mut(pod, "spec").insert("imagePullSecrets".to_owned(), secrets.into());
        }
        Ok(())
    }

    fn validate(&self, a: &Attributes<'_>, pod: Option<&Value>, _: Option<&Value>) -> ApiResult<()> {
        let ephemeral = a.is_sub("", "pods", "ephemeralcontainers") && a.operation == Operation::Update;
        let Some(pod) = pod.filter(|_| ephemeral || a.is("", "pods") && a.operation == Operation::Create) else {
            return Ok(());
        };
        if is_mirror(pod) {
            return check_mirror(a, pod);
        }
        let account = self.account(a, pod)?;
        let enforced = account.annotations().and_then(|x| x.get(ENFORCE_ANNOTATION)).and_then(Value::as_str);
        if enforced == Some("true") { check_mountable(a, pod, &account) } else { Ok(()) }
    }
}

/// Without a name it is the default one. The old name of the same field follows it.
fn name_account(spec: &mut Map<String, Value>) {
    let given = spec.get("serviceAccountName").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = given.unwrap_or("default").to_owned();
    for field in ["serviceAccountName", "serviceAccount"] {
        if spec.get(field).and_then(Value::as_str) != Some(&name) {
            spec.insert(field.to_owned(), name.as_str().into());
        }
    }
}

fn is_mirror(pod: &Value) -> bool {
    pod.annotations().is_some_and(|a| a.contains_key(MIRROR_ANNOTATION))
}

fn automounts(account: &Value, pod: &Value) -> bool {
    let of = |value: Option<&Value>| value.and_then(Value::as_bool);
    of(pod.at("spec/automountServiceAccountToken")).or(of(account.get("automountServiceAccountToken"))).unwrap_or(true)
}

fn mount_token(pod: &mut Value) {
    let existing = pod.array_at("spec/volumes").iter().map(|v| v.str_at("name")).find(|n| n.starts_with(VOLUME_PREFIX));
    let existing = existing.map(str::to_owned);
    let name = existing.clone().unwrap_or_else(|| unused_name(pod));
    let spec = &mut pod["spec"];
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) else { continue };
        for container in containers {
            if container.array_at("volumeMounts").iter().any(|m| m.str_at("mountPath") == MOUNT_PATH) {
                continue;
            }
            let mount = json!({ "name": name, "readOnly": true, "mountPath": MOUNT_PATH });
            list_mut(container, "volumeMounts").push(mount);
            mounted = true;
        }
    }
    if mounted && existing.is_none() {
        list_mut(spec, "volumes").push(json!({ "name": name, "projected": token_volume() }));
    }
}

fn unused_name(pod: &Value) -> String {
    let taken = |name: &str| pod.array_at("spec/volumes").iter().any(|v| v.str_at("name") == name);
    let mut random = rand::rng();
    loop {
        let suffix = (0..5).map(|_| char::from(SUFFIX_ALPHABET[random.random_range(0..SUFFIX_ALPHABET.len())]));
        let name: String = VOLUME_PREFIX.chars().chain(suffix).collect();
        if !taken(&name) {
            return name;
        }
    }
}

/// Token, CA and namespace, where in-cluster clients look for them.
fn token_volume() -> Value {
    json!({
        "defaultMode": 420,
        "sources": [
            { "serviceAccountToken": { "expirationSeconds": TOKEN_SECONDS, "path": "token" } },
            { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            { "downwardAPI": { "items": [
                { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
            ] } },
        ],
    })
}

/// A mirror pod is written by its node: it must not lend that node rights.
fn check_mirror(a: &Attributes<'_>, pod: &Value) -> ApiResult<()> {
    let refuse = |why: &str| Err(a.forbidden(Some(pod), why));
    if !pod.str_at("spec/serviceAccountName").is_empty() {
        return refuse("a mirror pod may not reference service accounts");
    }
    if !secret_names(pod).is_empty() {
        return refuse("a mirror pod may not reference secrets");
    }
    let mut sources = pod.array_at("spec/volumes").iter().flat_map(|v| v.array_at("projected/sources"));
    if sources.any(|s| s.get("serviceAccountToken").is_some()) {
        return refuse("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

const CONTAINER_LISTS: [(&str, &str); 3] =
    [("initContainers", "init container"), ("containers", "container"), ("ephemeralContainers", "ephemeral container")];

/// Every Secret that a pod names, with the text of where.
fn secret_names(pod: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut add = |name: &str, place: String| {
        if !name.is_empty() {
            out.push((name.to_owned(), place));
        }
    };
    for volume in pod.array_at("spec/volumes") {
        let name = volume.str_at("secret/secretName");
        add(name, format!("volume with secret.secretName={name:?}"));
        for source in volume.array_at("projected/sources") {
            let name = source.str_at("secret/name");
            add(name, format!("volume with secret.secretName={name:?}"));
        }
    }
    for (list, what) in CONTAINER_LISTS {
        for container in pod.array_at(&format!("spec/{list}")) {
            let own = container.str_at("name");
            for env in container.array_at("env") {
                let (name, variable) = (env.str_at("valueFrom/secretKeyRef/name"), env.str_at("name"));
                add(name, format!("{what} {own} with envVar {variable} referencing secret.secretName={name:?}"));
            }
            for from in container.array_at("envFrom") {
                let name = from.str_at("secretRef/name");
                add(name, format!("{what} {own} with envFrom referencing secret.secretName={name:?}"));
            }
        }
    }
    for secret in pod.array_at("spec/imagePullSecrets") {
        let name = secret.str_at("name");
        add(name, format!("imagePullSecrets {name:?}"));
    }
    out
}

fn check_mountable(a: &Attributes<'_>, pod: &Value, account: &Value) -> ApiResult<()> {
    let lists = |field: &str, name: &str| account.array_at(field).iter().any(|s| s.str_at("name") == name);
    for (name, place) in secret_names(pod) {
        let pull = place.starts_with("imagePullSecrets");
        let field = if pull { "imagePullSecrets" } else { "secrets" };
        if !lists(field, &name) {
            let what = if pull { "an image pull secret" } else { "that secret" };
            let what = if pull {
                format!(
                    "{place} is not allowed because service account {} does not reference it as {what}",
                    account.name()
                )
            } else {
                format!("{place} is not allowed because service account {} does not reference {what}", account.name())
            };
            return Err(a.forbidden(Some(pod), what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, ask, fails, passes};

    fn account(name: &str, more: Value) -> Value {
        let mut account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "ns"}});
        for (key, value) in more.as_object().unwrap() {
            account[key] = value.clone();
        }
        account
    }

    fn plugin() -> ServiceAccount {
        ServiceAccount::new(World::new([
            account("default", json!({"imagePullSecrets": [{"name": "registry"}]})),
            account("quiet", json!({"automountServiceAccountToken": false})),
        ]))
    }

    #[test]
    fn pods_get_an_account_and_its_token() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]}],
            "initContainers": [{"name": "i"}],
        }});
        let create = ask(Operation::Create, "", "pods").named("p");
        let out = passes(&plugin(), &create, &pod, None);
        assert_eq!(out["spec"]["serviceAccountName"], "default");
        assert_eq!(out["spec"]["serviceAccount"], "default");
        assert_eq!(out["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
        let volume = &out["spec"]["volumes"][0];
        let name = volume.str_at("name");
        assert!(name.starts_with(VOLUME_PREFIX) && name.len() == VOLUME_PREFIX.len() + 5, "{name}");
        assert_eq!(volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3607);
        let mount = json!([{"name": name, "readOnly": true, "mountPath": MOUNT_PATH}]);
        assert_eq!(out["spec"]["containers"][0]["volumeMounts"], mount);
        assert_eq!(out["spec"]["initContainers"][0]["volumeMounts"], mount);
        assert_eq!(out["spec"]["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
        assert_eq!(passes(&plugin(), &create, &out, None), out, "a second pass changes nothing");
    }

    #[test]
    fn tokens_can_be_declined_and_accounts_must_exist() {
        let create = ask(Operation::Create, "", "pods").named("p");
        let pod = |spec: Value| {
            let mut pod = json!({"metadata": {"name": "p"}, "spec": spec});
            pod["spec"]["containers"] = json!([{"name": "a"}]);
            pod
        };
        let mounts = |spec: Value| passes(&plugin(), &create, &pod(spec), None)["spec"].get("volumes").is_some();
        assert!(!mounts(json!({"automountServiceAccountToken": false})));
        assert!(!mounts(json!({"serviceAccountName": "quiet"})));
        assert!(mounts(json!({"serviceAccountName": "quiet", "automountServiceAccountToken": true})));
        let error = fails(&plugin(), &create, &pod(json!({"serviceAccountName": "x"})), None);
        assert_eq!(
            error.message(),
            r#"pods "p" is forbidden: error looking up service account ns/x: serviceaccount "x" not found"#
        );
    }

    #[test]
    fn mirror_pods_stay_plain() {
        let create = ask(Operation::Create, "", "pods").named("p");
        let mirror =
            |spec: Value| json!({"metadata": {"name": "p", "annotations": {MIRROR_ANNOTATION: "x"}}, "spec": spec});
        let plain = mirror(json!({"containers": [{"name": "a"}]}));
        assert_eq!(passes(&plugin(), &create, &plain, None), plain);
        for spec in [
            json!({"serviceAccountName": "default"}),
            json!({"volumes": [{"secret": {"secretName": "s"}}]}),
            json!({"initContainers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}),
            json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}]}}]}),
        ] {
            assert!(fails(&plugin(), &create, &mirror(spec), None).message().contains("a mirror pod may not"));
        }
    }

    #[test]
    fn an_account_may_limit_the_secrets_of_its_pods() {
        let mut strict = account("strict", json!({"secrets": [{"name": "mine"}]}));
        strict["metadata"]["annotations"] = json!({ENFORCE_ANNOTATION: "true"});
        let plugin = ServiceAccount::new(World::new([strict]));
        let create = ask(Operation::Create, "", "pods").named("p");
        let pod = |name: &str| {
            json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "strict", "containers": [
            {"name": "a", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": name}}}]}]}})
        };
        passes(&plugin, &create, &pod("mine"), None);
        let error = fails(&plugin, &create, &pod("other"), None);
        assert!(error.message().ends_with(
            "container a with envVar E referencing secret.secretName=\"other\" is not allowed because service account strict does not reference that secret"
        ));
    }
}
