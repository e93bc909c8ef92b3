//! ServiceAccounts, their tokens, and who may do what.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{ACCESS_REVIEW, CONFIG_MAP, Kind, LOCAL_ACCESS_REVIEW, SERVICE_ACCOUNT, TOKEN_REVIEW};
use crate::must::{must, must_cover};
use crate::operations::Operations;

tests!(identity: account_lifecycle, account_updated, token_and_review, root_authority, subject_reviews);

async fn account_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    Operations::of(SERVICE_ACCOUNT, json!({})).patch(json!({"automountServiceAccountToken": false})).run(cluster).await
}

async fn account_updated(cluster: &Cluster) -> anyhow::Result<()> {
    let accounts = cluster.of(SERVICE_ACCOUNT);
    accounts.create(&json!({"metadata": {"name": "e2e"}})).await?;
    accounts.change("e2e", |a| a["automountServiceAccountToken"] = json!(true)).await?;
    let read = accounts.get("e2e").await?;
    must_cover(&read, &json!({"automountServiceAccountToken": true}), "the field MUST equal the new value")
}

async fn token_and_review(cluster: &Cluster) -> anyhow::Result<()> {
    let accounts = cluster.of(SERVICE_ACCOUNT);
    let account = accounts.create(&json!({"metadata": {"name": "e2e"}})).await?;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = accounts.sub("token").create_for("e2e", &request).await?;
    let token = answer["status"]["token"].as_str().unwrap_or_default();
    ensure!(!token.is_empty(), "the token MUST NOT be empty");
    let review = cluster.of(TOKEN_REVIEW).create(&json!({"spec": {"token": token}})).await?;
    let status = &review["status"];
    must(status["authenticated"] == true && status.get("error").is_none(), "the token MUST be authenticated", status)?;
    let user = json!({
        "username": format!("system:serviceaccount:{}:e2e", cluster.unique), "uid": account["metadata"]["uid"],
    });
    must_cover(&status["user"], &user, "the token MUST be the account's")
}

async fn root_authority(cluster: &Cluster) -> anyhow::Result<()> {
    const NAME: &str = "kube-root-ca.crt";
    let maps = cluster.of(CONFIG_MAP);
    let first = maps.until(NAME, "it MUST be created automatically", |_| true).await?;
    maps.delete(NAME).await?;
    let same = |map: &Value| map["data"] == first["data"];
    maps.until(NAME, "it MUST be recreated if deleted", same).await?;
    maps.change(NAME, |map| map["data"] = json!({"ca.crt": ""})).await?;
    maps.until(NAME, "it MUST be reconciled if modified", same).await.map(drop)
}

/// Asks whether the account may list ConfigMaps in its namespace, and compares with what happens when it does.
async fn compare(cluster: &Cluster, kind: Kind, user: &str, expected: bool) -> anyhow::Result<()> {
    let attributes = json!({"namespace": cluster.unique, "verb": "list", "resource": "configmaps", "version": "v1"});
    let review =
        json!({"metadata": {"namespace": cluster.unique}, "spec": {"resourceAttributes": attributes, "user": user}});
    let review = if kind.namespaced { review } else { json!({"spec": review["spec"]}) };
    let answer = cluster.of(kind).create(&review).await?;
    must(answer["status"]["allowed"] == expected, &format!("allowed MUST be {expected}"), &answer)?;
    let maps = cluster.of(CONFIG_MAP);
    let done = cluster.request("GET", maps.path(), &[("impersonate-user", user)], Vec::new()).await;
    match done {
        Ok(list) => must(expected, "what is not allowed MUST be refused", &list),
        Err(error) if crate::must::is_refusal(&error, 403) && !expected => Ok(()),
        Err(error) => Err(error).context("what is allowed MUST succeed"),
    }
}

async fn subject_reviews(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.of(SERVICE_ACCOUNT).create(&json!({"metadata": {"name": "e2e"}})).await?;
    let user = format!("system:serviceaccount:{}:e2e", cluster.unique);
    for kind in [ACCESS_REVIEW, LOCAL_ACCESS_REVIEW] {
        compare(cluster, kind, &user, false).await?;
    }
    cluster.kubectl("create role lister --verb=list --resource=configmaps").await?;
    let subject = format!("--serviceaccount={}:e2e", cluster.unique);
    cluster.kubectl(&format!("create rolebinding lister --role=lister {subject}")).await?;
    for kind in [ACCESS_REVIEW, LOCAL_ACCESS_REVIEW] {
        crate::wait::eventually(async || compare(cluster, kind, &user, true).await).await?;
    }
    Ok(())
}
