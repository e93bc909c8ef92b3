//! An application of three tiers: a frontend that writes into a primary store and reads from its replicas.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::Cluster;
use crate::samples::{WEB, pod_spec};
use crate::wait::eventually;

tests!(cli_guestbook: works);

/// What the scripts say first is passed on as it is, so that the lines of the header have to end as HTTP wants it.
const PRIMARY: &str = "#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
case $QUERY_STRING in
set=*) echo ${QUERY_STRING#set=} >> /tmp/entries; echo saved ;;
*) cat /tmp/entries 2>/dev/null ;;
esac
";
/// `web get` prints the status code, then the body.
const REPLICA: &str = "#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
/web get http://primary/cgi-bin/guestbook | tail -n +2
";
const FRONTEND: &str = "#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
case $QUERY_STRING in
set=*) /web get \"http://primary/cgi-bin/guestbook?$QUERY_STRING\" | tail -n +2 ;;
*) /web get http://replica/cgi-bin/guestbook | tail -n +2 ;;
esac
";

/// A tier: its script, the pods that serve it, and the service before them.
fn tier(name: &str, script: &str, replicas: u32) -> Value {
    let labels = json!({"app": "guestbook", "tier": name});
    let mut spec = pod_spec(json!({
        "name": "server", "image": WEB, "command": ["httpd", "-f", "-p", "80", "-h", "/www"],
        "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1},
        "volumeMounts": [{"name": "scripts", "mountPath": "/www/cgi-bin"}],
    }));
    spec["volumes"] = json!([{"name": "scripts", "configMap": {"name": name, "defaultMode": 0o755}}]);
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"guestbook": script}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"selector": labels, "ports": [{"port": 80}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}},
    ])
}

async fn works(cluster: &Cluster) -> anyhow::Result<()> {
    let tiers = [tier("primary", PRIMARY, 1), tier("replica", REPLICA, 2), tier("frontend", FRONTEND, 3)];
    let items: Vec<Value> = tiers.iter().filter_map(Value::as_array).flatten().cloned().collect();
    let all = json!({"apiVersion": "v1", "kind": "List", "items": items});
    cluster.feed("create -f -", &all).await?;
    for name in ["primary", "replica", "frontend"] {
        cluster.kubectl(&format!("rollout status deployment/{name} --timeout=90s")).await?;
    }
    let frontend = format!("get --raw /api/v1/namespaces/{}/services/frontend/proxy/cgi-bin/guestbook", cluster.unique);
    eventually(async || {
        let saved = cluster.kubectl(&format!("{frontend}?set=TestEntry")).await?;
        ensure!(saved.contains("saved"), "the frontend MUST store an entry: {saved:?}");
        Ok(())
    })
    .await?;
    let read = cluster.kubectl(&frontend).await?;
    ensure!(read.contains("TestEntry"), "what was written MUST be available to read: {read:?}");
    cluster.feed("delete --grace-period=0 --force -f -", &all).await?;
    cluster.of(crate::kinds::POD).until_count("app=guestbook", 0).await.map(drop)
}
