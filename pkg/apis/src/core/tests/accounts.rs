//! Rules of ServiceAccounts.

use serde_json::json;

use crate::testing::{check_update, check_warnings, created, row};

#[test]
fn only_the_names_of_secrets_count() {
    let accounts = row("", "serviceaccounts");
    let account = json!({
        "metadata": { "name": "robot", "namespace": "d" },
        "secrets": [{ "name": "a", "namespace": "x", "kind": "Secret", "uid": "u" }, { "name": "b" }],
        "imagePullSecrets": [{ "name": "c" }], "automountServiceAccountToken": false,
    });
    let got = created(accounts, account.clone());
    assert_eq!(got["secrets"], json!([{ "name": "a" }, { "name": "b" }]));
    let mut new = account;
    (accounts.strategy.prepare_for_update)(&mut new, &got);
    assert_eq!(new, got);
    check_update(accounts, &got, &[("secrets = []", &[]), ("automountServiceAccountToken = true", &[])]);
}

#[test]
fn names_are_subdomains() {
    let name = row("", "serviceaccounts").strategy.validate_name;
    assert_eq!(name("a.b", false), [""; 0]);
    assert_eq!(name("a-", true), [""; 0]);
    assert_eq!(name("A", false).len(), 1);
}

#[test]
fn who_sets_the_old_annotation_is_warned() {
    const KEY: &str = "kubernetes.io/enforce-mountable-secrets";
    let accounts = row("", "serviceaccounts");
    let account = json!({ "metadata": { "name": "robot", "namespace": "d" } });
    let set = format!("metadata.annotations[{KEY}] = \"true\"");
    let text = format!(
        "metadata.annotations[{KEY}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    );
    check_warnings(accounts, &account, &[("", &[]), (&set, &[&text])]);
    let mut marked = account.clone();
    marked["metadata"]["annotations"] = json!({ KEY: "true" });
    let again = (accounts.strategy.warnings)(&marked, Some(&marked));
    assert_eq!(again, [""; 0]);
    assert_eq!((accounts.strategy.warnings)(&marked, Some(&account)), [text]);
}
