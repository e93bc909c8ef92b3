//! Who may do what: RBAC, impersonation, reviews, escalation.

use apimachinery::UserInfo;
use serde_json::{Value, json};

use crate::support::{Api, MAPS, PATIENCE, config_map};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

fn role(name: &str, verbs: &[&str]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": name },
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": verbs }],
    })
}

fn binding(name: &str, role: &str, user: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role },
        "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user }],
    })
}

/// Waits until the authorizer has heard of a new binding.
async fn until_allowed(api: &Api, path: &str) {
    let allowed = async {
        while api.get(path).await.code == 403 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, allowed).await.expect("allowed in time");
}

#[tokio::test]
async fn roles_decide_and_nobody_grants_more_than_he_holds() {
    let api = Api::start().await;
    let bob = api.as_user(UserInfo::new("bob", []));
    let text = r#"configmaps is forbidden: User "bob" cannot list resource "configmaps" in API group "" in the namespace "default""#;
    assert_eq!(bob.get(MAPS).await.refused(403), text);
    api.post(ROLES, &role("reader", &["get", "list"])).await.expect(201);
    let writer = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "granter" },
        "rules": [{ "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"] }],
    });
    api.post(ROLES, &writer).await.expect(201);
    api.post(BINDINGS, &binding("bob", "reader", "bob")).await.expect(201);
    until_allowed(&bob, MAPS).await;
    assert_eq!(bob.post(MAPS, &config_map("a", "1")).await.code, 403);
    api.post(BINDINGS, &binding("bob-grants", "granter", "bob")).await.expect(201);
    until_allowed(&bob, ROLES).await;
    bob.post(ROLES, &role("mine", &["get"])).await;
    let wide = bob.post(ROLES, &role("wide", &["get", "delete"])).await;
    // `escalate` is one of the verbs of `*`, so narrow it first.
    assert_eq!(wide.code, 201);
    let narrow = json!({ "rules": [{
        "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create", "list", "patch", "update"],
    }] });
    api.merge(&format!("{ROLES}/granter"), &narrow).await.expect(200);
    let refused = async {
        loop {
            let answer = bob.post(&format!("{ROLES}?dryRun=All"), &role("x", &["delete"])).await;
            if answer.code == 403 {
                return answer.refused(403);
            }
            tokio::task::yield_now().await;
        }
    };
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(refused.contains("attempting to grant RBAC permissions not currently held"), "{refused}");
    let widened = json!({ "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"] }] });
    assert_eq!(bob.merge(&format!("{ROLES}/mine"), &widened).await.code, 403);
}

#[tokio::test]
async fn credentials_decide_who_it_is() {
    let api = Api::start().await;
    let nobody = api.as_user(UserInfo::anonymous());
    assert_eq!(nobody.get(MAPS).await.code, 403);
    let request = api.request("GET", MAPS).header("impersonate-user", "carol").body(Default::default()).unwrap();
    let text = api.ask(request).await.refused(403);
    assert!(text.contains(r#"User "carol" cannot list"#), "{text}");
    let bob = api.as_user(UserInfo::new("bob", []));
    let request = bob.request("GET", MAPS).header("impersonate-user", "carol").body(Default::default()).unwrap();
    let text = bob.ask(request).await.refused(403);
    assert_eq!(
        text,
        r#"users "carol" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope"#
    );
}

#[tokio::test]
async fn reviews_answer_questions() {
    let api = Api::start().await;
    let bob = api.as_user(UserInfo::new("bob", []));
    let asked =
        json!({ "spec": { "resourceAttributes": { "verb": "get", "resource": "pods", "namespace": "default" } } });
    let answer = bob.post(&format!("{REVIEWS}/selfsubjectaccessreviews"), &asked).await.expect(201);
    assert_eq!(answer["status"]["allowed"], false);
    let answer = api.post(&format!("{REVIEWS}/selfsubjectaccessreviews"), &asked).await.expect(201);
    assert_eq!(answer["status"]["allowed"], true);
    let me = bob.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &json!({})).await.expect(201);
    assert_eq!(me["status"]["userInfo"]["username"], "bob");
    let review = json!({ "spec": { "token": "bob-token" } });
    let review = api.post("/apis/authentication.k8s.io/v1/tokenreviews", &review).await.expect(201);
    assert_eq!(review["status"]["user"]["username"], "bob");
    let bad = api.post("/apis/authentication.k8s.io/v1/tokenreviews", &json!({ "spec": { "token": "x" } })).await;
    assert_ne!(bad.expect(201)["status"]["authenticated"], true);
    let rules = json!({ "spec": { "namespace": "default" } });
    let rules = bob.post(&format!("{REVIEWS}/selfsubjectrulesreviews"), &rules).await.expect(201);
    assert!(rules["status"]["resourceRules"].is_array());
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let request = api
        .request("POST", &format!("{REVIEWS}/selfsubjectaccessreviews"))
        .header("accept", table)
        .header("content-type", "application/json");
    assert_eq!(api.ask(request.body(asked.to_string().into()).unwrap()).await.code, 406);
}

#[tokio::test]
async fn service_accounts_get_tokens() {
    let api = Api::start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "robot" } });
    api.post(accounts, &account).await.expect(201);
    let answer = api.post(&format!("{accounts}/robot/token"), &json!({ "spec": { "expirationSeconds": 600 } })).await;
    let answer = answer.expect(201);
    assert_eq!(answer["status"]["token"].as_str().unwrap().split('.').count(), 3);
    assert_eq!(api.post(&format!("{accounts}/none/token"), &json!({ "spec": {} })).await.code, 404);
}

#[tokio::test]
async fn other_servers_learn_whose_clients_to_believe() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let data = |map: Value| map["data"].clone();
    let first = data(api.get(path).await.expect(200));
    assert_eq!(first["client-ca-file"], api.pki.client_ca().cert_pem());
    assert_eq!(first["requestheader-client-ca-file"], api.pki.request_header_ca().cert_pem());
    assert_eq!(first["requestheader-username-headers"], r#"["X-Remote-User"]"#);
    assert_eq!(first["requestheader-extra-headers-prefix"], r#"["X-Remote-Extra-"]"#);
    api.delete(path).await.expect(200);
    let back = async {
        loop {
            let answer = api.get(path).await;
            if answer.code == 200 {
                return data(answer.json());
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, back).await.expect("it comes back"), first);
}

#[tokio::test]
async fn questions_follow_the_rules_of_their_kinds() {
    let api = Api::start().await;
    let review =
        |kind: &str, spec: Value| json!({ "apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec });
    let pods = |namespace: &str| json!({ "verb": "list", "resource": "pods", "namespace": namespace });
    let local = format!("{REVIEWS}/namespaces/default/localsubjectaccessreviews");
    let asked = |namespace: &str| {
        review("LocalSubjectAccessReview", json!({ "user": "ann", "resourceAttributes": pods(namespace) }))
    };
    assert_eq!(api.post(&local, &asked("default")).await.expect(201)["status"]["allowed"], false);
    let refused = api.post(&local, &asked("other")).await.refused(422);
    assert!(
        refused.contains(r#"spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace"#),
        "{refused}"
    );
    let mut elsewhere = asked("default");
    elsewhere["metadata"] = json!({ "namespace": "other" });
    api.post(&local, &elsewhere).await.refused(400);
    let mut selected = pods("default");
    selected["labelSelector"] = json!({});
    let own = review("SelfSubjectAccessReview", json!({ "resourceAttributes": selected }));
    let refused = api.post(&format!("{REVIEWS}/selfsubjectaccessreviews"), &own).await.refused(422);
    assert!(refused.contains("spec.resourceAttributes.labelSelector.requirements: Required value"), "{refused}");
    let nobody = review("SubjectAccessReview", json!({ "resourceAttributes": pods("default") }));
    let refused = api.post(&format!("{REVIEWS}/subjectaccessreviews"), &nobody).await.refused(422);
    assert!(refused.contains("at least one of user or group must be specified"), "{refused}");
}
