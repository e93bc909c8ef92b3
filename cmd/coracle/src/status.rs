//! `coracle status` and `coracle server remove`: the servers of the cluster.

use std::fmt::Write as _;

use anyhow::{Context as _, anyhow, bail};
use auth::bootstrap::joining::SERVERS_PATH;
use client::Client;
use serde_json::Value;

use crate::door;
use crate::options::joining::AdminOptions;

/// A client that acts for the administrator.
pub async fn connect(admin: &AdminOptions) -> anyhow::Result<Client> {
    let client = client::from_kubeconfig_with_agent(&admin.kubeconfig, "coracle").await;
    client.context("--kubeconfig: run this on a server, or give the administrator's")
}

/// Prints the servers, who leads, and what is wrong; fails if anything is.
pub async fn run(admin: &AdminOptions) -> anyhow::Result<()> {
    let servers = ask(admin, SERVERS_PATH).await?;
    let (report, problems) = report(&servers);
    print!("{report}");
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}

/// What the server in the administrator's kubeconfig says at `path`.
pub async fn ask(admin: &AdminOptions, path: &str) -> anyhow::Result<Value> {
    let client = connect(admin).await?;
    let text = door::get(&client, path).await.map_err(|error| match error {
        kube::Error::Api(status) => {
            anyhow!("the server of --kubeconfig {}: {}", admin.kubeconfig.display(), status.message)
        }
        error => anyhow!(
            "the server of --kubeconfig {} does not answer; is it running? ({})",
            admin.kubeconfig.display(),
            door::cause(&error)
        ),
    })?;
    serde_json::from_str(&text).with_context(|| format!("the answer of {path}"))
}

/// A table of the servers, and what is wrong.
fn report(servers: &Value) -> (String, Vec<String>) {
    let members = servers["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut table = format!("{:<24} {:<24} {:<10} STATE\n", "NAME", "ADDRESS", "ROLE");
    let (mut missing, mut voters) = (Vec::new(), 0);
    let alone = members.len() == 1;
    for member in members {
        let is = |field: &str| member[field].as_bool().unwrap_or(false);
        let name = member["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("(this server)");
        let role = match () {
            () if is("leader") => "leader",
            () if is("voter") => "voter",
            () => "learner",
        };
        voters += usize::from(is("voter"));
        let reachable = alone || is("reachable") || member["id"] == servers["answeredBy"];
        if !reachable {
            missing.push(name.to_owned());
        }
        let state = match (reachable, member["silentMillis"].as_u64()) {
            (true, _) => "ready".to_owned(),
            (false, Some(silent)) => format!("silent for {} s", silent / 1000),
            (false, None) => "silent".to_owned(),
        };
        let address = member["address"].as_str().filter(|address| !address.is_empty()).unwrap_or("-");
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{name:<24} {address:<24} {role:<10} {state}");
    }
    let warnings = servers["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut problems: Vec<_> = warnings.iter().filter_map(|warning| warning.as_str().map(str::to_owned)).collect();
    if servers["leader"].is_null() {
        problems.push("no server leads: nothing can be written".to_owned());
    }
    if !missing.is_empty() {
        problems.push(format!("missing: {}", missing.join(", ")));
    }
    if voters > 0 && voters % 2 == 0 {
        let _ = writeln!(
            table,
            "{voters} servers vote: no more of them may fail than of {}. An odd number is better.",
            voters - 1
        );
    }
    (table, problems)
}

/// Removes a server from the cluster.
pub async fn remove(admin: &AdminOptions, name: &str) -> anyhow::Result<()> {
    let client = connect(admin).await?;
    match door::send(&client, "DELETE", &format!("{SERVERS_PATH}/{name}"), &Value::Null).await {
        Ok(_) => {
            println!("server {name:?} removed; run `coracle kubectl delete node {name}` if its node is gone, too");
            Ok(())
        }
        Err(kube::Error::Api(status)) => Err(anyhow!(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(id: u64, name: &str, leader: bool, reachable: bool) -> Value {
        json!({ "id": id, "name": name, "address": "10.0.0.1:2380", "voter": true, "leader": leader,
            "reachable": reachable, "silentMillis": if reachable { 0 } else { 7000 } })
    }

    #[test]
    fn who_is_missing_is_named() {
        let servers =
            |members: Vec<Value>, leader: Value| json!({ "members": members, "leader": leader, "answeredBy": 1 });
        let (table, problems) =
            report(&servers(vec![member(1, "a", true, true), member(2, "b", false, false)], json!(1)));
        assert!(table.contains("silent for 7 s") && table.contains("An odd number is better"), "{table}");
        assert_eq!(problems, ["missing: b"]);
        let lost = vec![member(1, "a", false, false), member(2, "b", false, false), member(3, "c", false, false)];
        let (_, problems) = report(&servers(lost, Value::Null));
        assert_eq!(problems, ["no server leads: nothing can be written", "missing: b, c"]);
        let mut full = servers(vec![member(1, "a", true, true)], json!(1));
        full["warnings"] = json!(["the store is full (--store-quota)"]);
        assert_eq!(report(&full).1, ["the store is full (--store-quota)"]);
        let (table, problems) = report(&servers(vec![member(1, "", true, true)], json!(1)));
        assert!(problems.is_empty() && !table.contains("odd"), "{table}");
    }
}
