mod rules;

use serde_json::{Value, json};

use crate::testing::{cells, defaulted, row};

fn scaler() -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "metadata": { "name": "web" },
        "spec": { "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" }, "maxReplicas": 5 },
    })
}

#[test]
fn defaults_and_columns() {
    let hpas = row("autoscaling", "horizontalpodautoscalers");
    let got = defaulted(hpas, scaler());
    assert_eq!(got["spec"]["minReplicas"], 1);
    let want = ["web", "Deployment/web", "cpu: <unknown>/80%", "1", "5", "0", "<unknown>"];
    assert_eq!(cells(hpas, &got), want);
}
