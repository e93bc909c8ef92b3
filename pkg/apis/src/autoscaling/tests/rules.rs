//! Rules of HorizontalPodAutoscalers.

use serde_json::{Value, json};

use super::scaler;
use crate::testing::{check_create, check_status, check_update, row};

fn from_zero() -> Value {
    let mut scaler = scaler();
    scaler["spec"]["minReplicas"] = json!(0);
    scaler
}

#[test]
fn numbers_and_targets() {
    check_create(
        row("autoscaling", "horizontalpodautoscalers"),
        &scaler(),
        &[
            ("", &[]),
            (
                "spec.minReplicas = 0",
                &[
                    "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                    "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling \
             to zero replicas",
                ],
            ),
            (
                "spec.maxReplicas = 0",
                &[
                    "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                    "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
                ],
            ),
            (
                "spec.minReplicas = 6",
                &["spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`"],
            ),
            (
                "spec.scaleTargetRef = null",
                &[
                    "spec.scaleTargetRef.kind: Required value",
                    "spec.scaleTargetRef.name: Required value",
                    "spec.scaleTargetRef.apiVersion: Invalid value: \"\": apiVersion must specify API group",
                ],
            ),
            (
                "spec.scaleTargetRef.apiVersion = v1",
                &["spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group"],
            ),
            ("spec.scaleTargetRef.apiVersion = v1 ; spec.scaleTargetRef.kind = ReplicationController", &[]),
            (
                "spec.scaleTargetRef.apiVersion = a/b/c",
                &["spec.scaleTargetRef.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c"],
            ),
            (
                "spec.scaleTargetRef.kind = a/b ; spec.scaleTargetRef.name = ..",
                &[
                    "spec.scaleTargetRef.kind: Invalid value: \"a/b\": may not contain '/'",
                    "spec.scaleTargetRef.name: Invalid value: \"..\": may not be '..'",
                ],
            ),
        ],
    );
}

#[test]
fn metrics() {
    check_create(
        row("autoscaling", "horizontalpodautoscalers"),
        &scaler(),
        &[
            (
                "spec.metrics = [{}]",
                &[
                    "spec.metrics[0].type: Required value: must specify a metric source type",
                    "spec.metrics[0].type: Unsupported value: \"\": supported values: \"ContainerResource\", \
             \"External\", \"Object\", \"Pods\", \"Resource\"",
                    "spec.metrics[0].type: Unsupported value: \"\": supported values: \"ContainerResource\", \
             \"External\", \"Object\", \"Pods\", \"Resource\"",
                ],
            ),
            (
                "spec.metrics = [{\"type\":\"Odd\"}]",
                &[
                    "spec.metrics[0].type: Unsupported value: \"Odd\": supported values: \"ContainerResource\", \
             \"External\", \"Object\", \"Pods\", \"Resource\"",
                    "spec.metrics[0].type: Unsupported value: \"Odd\": supported values: \"ContainerResource\", \
             \"External\", \"Object\", \"Pods\", \"Resource\"",
                ],
            ),
            (
                "spec.metrics = [{\"type\":\"Pods\"}]",
                &["spec.metrics[0].pods: Required value: must populate information for the given metric source"],
            ),
            (
                "spec.metrics = \
         [{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":0}}}]",
                &["spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"],
            ),
            (
                "spec.metrics = [{\"type\":\"Resource\",\"resource\":{\"target\":{}}}]",
                &[
                    "spec.metrics[0].resource.name: Required value: must specify a resource name",
                    "spec.metrics[0].resource.target.type: Required value: must specify a metric target type",
                    "spec.metrics[0].resource.target.type: Invalid value: \"\": must be either Utilization, Value, or \
             AverageValue",
                    "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw \
             value or a target utilization",
                ],
            ),
            (
                "spec.metrics = \
         [{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":5,\"averageValue\":\"1\"}}}]",
                &["spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and \
             a target utilization"],
            ),
            (
                "spec.metrics = \
         [{\"type\":\"ContainerResource\",\"containerResource\":{\"name\":\"cpu\",\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"0\"}}}]",
                &[
                    "spec.metrics[0].containerResource.container: Required value: must specify a container",
                    "spec.metrics[0].containerResource.target.averageValue: Invalid value: \"0\": must be positive",
                ],
            ),
            (
                "spec.metrics = \
         [{\"type\":\"Object\",\"object\":{\"describedObject\":{},\"metric\":{},\"target\":{\"type\":\"Odd\"}}}]",
                &[
                    "spec.metrics[0].object.describedObject.kind: Required value",
                    "spec.metrics[0].object.describedObject.name: Required value",
                    "spec.metrics[0].object.metric.name: Required value: must specify a metric name",
                    "spec.metrics[0].object.target.type: Invalid value: \"Odd\": must be either Utilization, Value, \
             or AverageValue",
                    "spec.metrics[0].object.target.averageValue: Required value: must set either a target value or \
             averageValue",
                ],
            ),
            (
                r#"spec.metrics = [{"type":"Object","object":{"describedObject":{"kind":"Service","name":"s","apiVersion":"a/b/c"},"metric":{"name":"m"},"target":{"type":"Value","value":"1"}}},{"type":"Object","object":{"describedObject":{"kind":"Service","name":"s","apiVersion":"v1"},"metric":{"name":"m"},"target":{"type":"Value","value":"1"}}}]"#,
                &[
                    "spec.metrics[0].object.describedObject.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion \
                   string: a/b/c",
                ],
            ),
            (
                r#"spec.metrics = [{"type":"External","external":{"metric":{"name":"a"},"target":{"type":"Value"}}}]"#,
                &["spec.metrics[0].external.target.averageValue: Required value: must set either a target value for \
                   metric or a per-pod target"],
            ),
            (
                "spec.metrics = \
         [{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"a/b\"},\"target\":{\"type\":\"Value\",\"value\":\"1\",\"averageValue\":\"1\"}}}]",
                &[
                    "spec.metrics[0].external.metric.name: Invalid value: \"a/b\": may not contain '/'",
                    "spec.metrics[0].external.target.value: Forbidden: may not set both a target value for metric and \
             a per-pod target",
                ],
            ),
            (
                "spec.metrics = \
         [{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"a\"},\"target\":{\"type\":\"Value\",\"value\":\"-1\"}}}]",
                &[
                    "spec.metrics[0].pods.target.value: Invalid value: \"-1\": must be positive",
                    "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target \
             averageValue",
                ],
            ),
            (
                "spec.metrics = \
         [{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"a\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"1\"}},\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":5}}}]",
                &["spec.metrics[0].resource: Forbidden: must populate the given metric source only"],
            ),
        ],
    );
}

#[test]
fn behaviour() {
    check_create(
        row("autoscaling", "horizontalpodautoscalers"),
        &scaler(),
        &[
            ("spec.behavior.scaleUp = {}", &[]),
            (
                "spec.behavior.scaleUp = {\"policies\":[]}",
                &["spec.behavior.scaleUp.policies: Required value: must specify at least one Policy"],
            ),
            (
                "spec.behavior.scaleUp.stabilizationWindowSeconds = -1 ; \
         spec.behavior.scaleDown.stabilizationWindowSeconds = 3601",
                &[
                    "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: -1: must be greater than or \
             equal to zero",
                    "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or \
             equal to 3600",
                ],
            ),
            (
                "spec.behavior.scaleUp.selectPolicy = Odd",
                &["spec.behavior.scaleUp.selectPolicy: Unsupported value: \"Odd\": supported values: \"Disabled\", \
             \"Max\", \"Min\""],
            ),
            (
                "spec.behavior.scaleUp.policies = [{\"type\":\"Odd\",\"value\":0,\"periodSeconds\":1801}]",
                &[
                    "spec.behavior.scaleUp.policies[0].type: Unsupported value: \"Odd\": supported values: \
             \"Percent\", \"Pods\"",
                    "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
                    "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal \
             to 1800",
                ],
            ),
            (
                "spec.behavior.scaleDown.tolerance = \"-1\"",
                &["spec.behavior.scaleDown.tolerance: Invalid value: \"-1\": must be greater than or equal to 0"],
            ),
        ],
    );
}

#[test]
fn updates() {
    check_update(
        row("autoscaling", "horizontalpodautoscalers"),
        &scaler(),
        &[
            ("spec.maxReplicas = 9", &[]),
            (
                "spec.minReplicas = 0",
                &[
                    "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                    "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling \
             to zero replicas",
                ],
            ),
        ],
    );
}

#[test]
fn references_that_were_there_may_stay() {
    let mut old = scaler();
    old["spec"]["scaleTargetRef"] = json!({ "kind": "Deployment", "name": "web" });
    let object = json!({ "describedObject": { "kind": "Service", "name": "s", "apiVersion": "a/b/c" },
        "metric": { "name": "m" }, "target": { "type": "Value", "value": "1" } });
    old["spec"]["metrics"] = json!([{ "type": "Object", "object": object }]);
    let why = "spec.scaleTargetRef.apiVersion: Invalid value: \"\": apiVersion must specify API group";
    check_update(
        row("autoscaling", "horizontalpodautoscalers"),
        &old,
        &[("spec.scaleTargetRef.name = other", &[]), ("spec.scaleTargetRef.kind = ReplicaSet", &[why])],
    );
}

#[test]
fn updates_of_those_that_scale_to_zero() {
    check_update(
        row("autoscaling", "horizontalpodautoscalers"),
        &from_zero(),
        &[
            (
                "",
                &["spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling \
             to zero replicas"],
            ),
            ("spec.minReplicas = -1", &["spec.minReplicas: Invalid value: -1: must be greater than or equal to 0"]),
            (
                "spec.metrics = \
         [{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"a\"},\"target\":{\"type\":\"Value\",\"value\":\"1\"}}}]",
                &[],
            ),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("autoscaling", "horizontalpodautoscalers"),
        &scaler(),
        &[(
            "status = {\"currentReplicas\":-1,\"desiredReplicas\":-1}",
            &[
                "status.currentReplicas: Invalid value: -1: must be greater than or equal to 0",
                "status.desiredReplicas: Invalid value: -1: must be greater than or equal to 0",
            ],
        )],
    );
}
