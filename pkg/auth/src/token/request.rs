//! `serviceaccounts/token`: what the API server does with a TokenRequest.

use apimachinery::field::{Error, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::{ApiError, ApiResult, GroupResource, GroupVersionKind};
use serde_json::{Value, json};

use super::claims::{Binding, ObjectRef};
use super::issuer::{Issuer, TokenSpec};

const DEFAULT_EXPIRATION_SECONDS: i64 = 60 * 60;
const EXPIRATION_SECONDS_MIN: i64 = 10 * 60;
const EXPIRATION_SECONDS_MAX: i64 = 1 << 32;

/// Answers `request` (a TokenRequest) for `account` (a ServiceAccount): the request with defaults, `status.token` and
/// `status.expirationTimestamp`. `get` reads the object that the token is to be bound to: (resource, namespace, name).
pub fn token_request(
    issuer: &Issuer,
    account: &Value,
    mut request: Value,
    get: impl Fn(&GroupResource, &str, &str) -> Option<Value>,
) -> ApiResult<Value> {
    check_metadata(account, &request)?;
    let audiences: Vec<String> =
        request.array_at("spec/audiences").iter().filter_map(|a| a.as_str().map(str::to_owned)).collect();
    let seconds = request.i64_at("spec/expirationSeconds").unwrap_or(DEFAULT_EXPIRATION_SECONDS);
    check_expiration(&request, seconds)?;
    let binding = match request.at("spec/boundObjectRef").filter(|v| !v.is_null()) {
        Some(reference) => Some(binding_of(account, reference, &get)?),
        None => None,
    };
    let spec = TokenSpec {
        namespace: account.namespace().to_owned(),
        service_account: ObjectRef::new(account.name(), account.uid()),
        audiences,
        expiration_seconds: seconds,
        binding,
    };
    let issued = issuer.sign(&spec).map_err(|e| ApiError::internal(format!("failed to generate token: {e}")))?;
    let metadata = request.metadata_mut();
    metadata.insert("name".to_owned(), account.name().into());
    metadata.insert("namespace".to_owned(), account.namespace().into());
    request["spec"]["audiences"] = json!(issued.audiences);
    request["spec"]["expirationSeconds"] = seconds.into();
    let expiration = rfc3339(issued.expiration);
    request["status"] = json!({ "token": issued.token, "expirationTimestamp": expiration });
    Ok(request)
}

fn rfc3339(seconds: i64) -> String {
    apimachinery::time::format(jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX))
}

fn check_metadata(account: &Value, request: &Value) -> ApiResult<()> {
    let named = request.name();
    if !named.is_empty() && named != account.name() {
        return Err(ApiError::bad_request(format!(
            "metadata.name does not match service account name ({named:?} != {:?})",
            account.name()
        )));
    }
    let namespace = request.namespace();
    if !namespace.is_empty() && namespace != account.namespace() {
        return Err(ApiError::bad_request(format!(
            "metadata.namespace does not match service account namespace ({namespace:?} != {:?})",
            account.namespace()
        )));
    }
    Ok(())
}

fn check_expiration(request: &Value, seconds: i64) -> ApiResult<()> {
    let path = Path::new("spec").child("expirationSeconds");
    let mut errors = Vec::new();
    if seconds < EXPIRATION_SECONDS_MIN {
        errors.push(Error::invalid(&path, seconds, "may not specify a duration less than 10 minutes"));
    }
    if seconds > EXPIRATION_SECONDS_MAX {
        errors.push(Error::invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds"));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let gvk = GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest");
    Err(ApiError::invalid(&gvk, request.name(), &errors))
}

fn binding_of(
    account: &Value,
    reference: &Value,
    get: &impl Fn(&GroupResource, &str, &str) -> Option<Value>,
) -> ApiResult<Binding> {
    let namespace = account.namespace();
    let (name, uid) = (reference.str_at("name"), reference.str_at("uid"));
    let read = |resource: &str, namespace: &str| {
        let resource = GroupResource::new("", resource);
        get(&resource, namespace, name).ok_or_else(|| ApiError::not_found(&resource, name))
    };
    let core = ["", "v1"].contains(&reference.str_at("apiVersion"));
    let binding = match reference.str_at("kind") {
        "Pod" if core => {
            let pod = read("pods", namespace)?;
            let owner = pod.str_at("spec/serviceAccountName");
            if owner != account.name() {
                let text = format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    account.name()
                );
                return Err(ApiError::bad_request(text));
            }
            let node = pod.str_at("spec/nodeName");
            let node = (!node.is_empty()).then(|| {
                let found = get(&GroupResource::new("", "nodes"), "", node);
                ObjectRef::new(node, found.map(|n| n.uid().to_owned()).unwrap_or_default())
            });
            (pod.uid().to_owned(), Binding::Pod(ObjectRef::new(name, pod.uid()), node))
        }
        "Secret" if core => {
            let secret = read("secrets", namespace)?;
            (secret.uid().to_owned(), Binding::Secret(ObjectRef::new(name, secret.uid())))
        }
        "Node" if core => {
            let node = read("nodes", "")?;
            (node.uid().to_owned(), Binding::Node(ObjectRef::new(name, node.uid())))
        }
        _ => {
            let group_kind = reference.str_at("kind");
            return Err(ApiError::bad_request(format!(
                "cannot bind token to object of type {}, Kind={group_kind}",
                reference.str_at("apiVersion")
            )));
        }
    };
    let (found, binding) = binding;
    if !uid.is_empty() && uid != found {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        );
        return Err(ApiError::conflict(&GroupResource::new("", reference.str_at("kind")), name, why));
    }
    Ok(binding)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use component_base::clock::SystemClock;

    use super::*;

    fn run(spec: Value) -> ApiResult<Value> {
        let key = pki::KeyPair::generate().unwrap();
        let issuer = Issuer::new(key, super::super::DEFAULT_ISSUER, &[], Arc::new(SystemClock));
        let account = json!({"metadata": {"name": "sa", "namespace": "ns", "uid": "u"}});
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        token_request(&issuer, &account, request, |resource, _, name| match (resource.resource.as_str(), name) {
            ("pods", "p") => Some(json!({
                "metadata": {"name": "p", "uid": "pu"}, "spec": {"serviceAccountName": "sa", "nodeName": "n"}
            })),
            ("pods", "other") => Some(json!({"metadata": {"uid": "x"}, "spec": {"serviceAccountName": "b"}})),
            _ => None,
        })
    }

    #[test]
    fn requests_are_checked_defaulted_and_answered() {
        let done = run(json!({})).unwrap();
        assert_eq!(done["spec"]["expirationSeconds"], 3600);
        assert_eq!(done["spec"]["audiences"], json!([super::super::DEFAULT_ISSUER]));
        assert_eq!(done["metadata"]["name"], "sa");
        assert!(done.str_at("status/token").split('.').count() == 3);
        assert!(done.str_at("status/expirationTimestamp").ends_with('Z'));
        let pod = |name: &str, uid: &str| json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid}});
        assert!(run(pod("p", "")).is_ok());
        let cases = [
            (json!({"expirationSeconds": 599}), 422, "may not specify a duration less than 10 minutes"),
            (json!({"expirationSeconds": 1i64 << 33}), 422, "larger than 2^32"),
            (pod("gone", ""), 404, "pods \"gone\" not found"),
            (pod("p", "stale"), 409, "does not match the UID in record"),
            (pod("other", ""), 400, "different serviceaccount name"),
            (
                json!({"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "x"}}),
                400,
                "cannot bind token",
            ),
        ];
        for (spec, code, text) in cases {
            let error = run(spec).unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.message().contains(text), "{error}");
        }
    }
}
