//! Nodes as objects.

use serde_json::json;

use crate::Cluster;
use crate::kinds::NODE;
use crate::operations::Operations;

tests!(nodes: lifecycle);

async fn lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    // Kept free of the daemons of other tests.
    let taint = json!({"key": "example.com/fake", "effect": "NoSchedule"});
    Operations::of(NODE, json!({"spec": {"taints": [taint]}}))
        .patch(json!({"metadata": {"labels": {"node": "patched"}}}))
        .run(cluster)
        .await
}
