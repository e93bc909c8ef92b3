//! Rules of the endpoints that write a part of a pod: `resize` and `ephemeralcontainers`.

use serde_json::{Value, json};

use crate::testing::{change, check_part, created, row};

/// A pod that a node runs, with a sidecar and an init container.
fn running() -> Value {
    let amounts = json!({ "requests": { "cpu": "1", "memory": "1Gi" }, "limits": { "cpu": "2", "memory": "2Gi" } });
    let mut pod = created(
        row("", "pods"),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web", "namespace": "default" },
            "spec": {
                "nodeName": "n1",
                "containers": [{ "name": "c", "image": "i", "resources": amounts }],
                "initContainers": [
                    { "name": "s", "image": "i", "restartPolicy": "Always", "resources": amounts },
                    { "name": "i", "image": "i", "resources": amounts }
                ],
                "ephemeralContainers": [{ "name": "e", "image": "i", "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File", "imagePullPolicy": "Always", "resources": {} }]
            }
        }),
    );
    pod["status"]["containerStatuses"] = json!([{ "name": "c", "state": { "running": {} }, "resources": {} }]);
    pod
}

#[test]
fn only_amounts_of_cpu_and_memory_are_resized() {
    check_part(
        row("", "pods"),
        "resize",
        &running(),
        &[
            ("", &[]),
            ("spec.containers[0].resources.requests.cpu = 1500m", &[]),
            ("spec.initContainers[0].resources.limits.memory = 3Gi", &[]),
            ("spec.containers[0].image = j ; spec.hostname = h ; metadata.labels = {\"a\":\"b\"}", &[]),
            (
                "spec.containers[0].resources.requests.cpu = 3",
                &[
                    "spec.containers[0].resources.requests: Invalid value: \"3\": must be less than or equal to cpu limit of 2",
                ],
            ),
            (
                r#"spec.containers[0].resources = {"requests":{"cpu":"1"},"limits":{"cpu":"2"}}"#,
                &[
                    "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
                    "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
                ],
            ),
            (
                "spec.initContainers[0].resources.limits = {\"cpu\":\"2\"}",
                &["spec.initContainers[0].resources.limits: Forbidden: resource limits cannot be removed"],
            ),
            (
                "spec.containers[0].resources.requests.ephemeral-storage = 1Gi",
                &["spec: Forbidden: only cpu and memory resources are mutable"],
            ),
            (
                "spec.containers[0].resizePolicy = [{\"resourceName\":\"cpu\",\"restartPolicy\":\"RestartContainer\"}]",
                &["spec: Forbidden: only cpu and memory resources are mutable"],
            ),
            (
                "spec.initContainers[1].resources.requests.ephemeral-storage = 1Gi",
                &[
                    "spec.initContainers[1]: Forbidden: only cpu and memory resources for init or sidecar containers are \
                   mutable",
                ],
            ),
            (
                "spec.containers[0].resources.requests = {\"cpu\":\"2\",\"memory\":\"2Gi\"} ; \
                 spec.initContainers[0].resources.requests = {\"cpu\":\"2\",\"memory\":\"2Gi\"} ; \
                 spec.initContainers[1].resources.requests = {\"cpu\":\"2\",\"memory\":\"2Gi\"}",
                &["spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"],
            ),
        ],
    );
}

#[test]
fn some_pods_are_not_resized() {
    let cases: &[(&str, &str)] = &[
        (
            "metadata.annotations = {\"kubernetes.io/config.mirror\":\"x\"}",
            "[]: Forbidden: static pods cannot be resized",
        ),
        ("spec.os = {\"name\":\"windows\"}", "[]: Forbidden: windows pods cannot be resized"),
        (
            "status.containerStatuses[0].resources = null",
            "spec: Forbidden: Pod running on node without support for resize",
        ),
        (
            "status.nodeAllocatableResourceClaimStatuses = [{\"resourceClaimName\":\"a\"}]",
            "spec: Forbidden: pods with node allocatable resource claims cannot be resized",
        ),
    ];
    for (changes, want) in cases {
        let mut pod = running();
        change(&mut pod, changes);
        check_part(row("", "pods"), "resize", &pod, &[("spec.containers[0].resources.requests.cpu = 1500m", &[want])]);
    }
}

#[test]
fn init_containers_with_a_restart_policy_are_not_resized() {
    let mut pod = running();
    pod["spec"]["initContainers"][1]["resizePolicy"] =
        json!([{ "resourceName": "cpu", "restartPolicy": "RestartContainer" }]);
    let policy = "spec.initContainers[1].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be \
                  set to 'RestartContainer' for non-sidecar initContainers";
    let refused = "spec.initContainers[1]: Forbidden: non-sidecar init containers with a resize policy of \
                   RestartContainer cannot be resized";
    check_part(
        row("", "pods"),
        "resize",
        &pod,
        &[
            ("spec.initContainers[0].resources.requests.cpu = 1500m", &[policy]),
            ("spec.initContainers[1].resources.requests.cpu = 1500m", &[policy, refused]),
        ],
    );
}

#[test]
fn pods_as_a_whole_are_resized() {
    let mut pod = running();
    pod["spec"]["resources"] = json!({ "requests": { "cpu": "4", "memory": "4Gi" }, "limits": { "cpu": "8" } });
    check_part(
        row("", "pods"),
        "resize",
        &pod,
        &[
            ("spec.resources.requests.cpu = 5", &[]),
            ("spec.resources = null", &["spec.resources: Forbidden: pod-level resources cannot be removed"]),
            (
                "spec.resources.limits = null",
                &["spec.resources.limits: Forbidden: pod-level resource limits cannot be removed"],
            ),
            (
                "spec.resources.requests.hugepages-2Mi = 2Mi ; spec.resources.limits.hugepages-2Mi = 2Mi",
                &["spec: Forbidden: only cpu and memory resources are mutable at pod-level"],
            ),
        ],
    );
}

#[test]
fn ephemeral_containers_are_only_added() {
    let pods = row("", "pods");
    check_part(
        pods,
        "ephemeralcontainers",
        &running(),
        &[
            ("", &[]),
            ("spec.ephemeralContainers[1] = {\"name\":\"f\",\"image\":\"i\"} ; spec.hostname = h", &[]),
            (
                "spec.ephemeralContainers[1] = {\"name\":\"c\",\"image\":\"i\"}",
                &["spec.ephemeralContainers[1].name: Duplicate value: \"c\""],
            ),
            (
                "spec.ephemeralContainers[1] = {\"name\":\"f\",\"image\":\"i\",\"targetContainerName\":\"x\"}",
                &["spec.ephemeralContainers[1].targetContainerName: Not found: \"x\""],
            ),
            (
                "spec.ephemeralContainers = null",
                &["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed\n"],
            ),
            (
                "spec.ephemeralContainers[0].image = j",
                &["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be \
                   changed\ne.image: - \"i\" + \"j\"\n"],
            ),
        ],
    );
    let fields = [
        ("ports", "[{\"containerPort\":1}]"),
        ("resources", "{\"limits\":{\"cpu\":\"1\"}}"),
        ("resizePolicy", "[{\"resourceName\":\"cpu\",\"restartPolicy\":\"NotRequired\"}]"),
        ("restartPolicy", "Always"),
        ("livenessProbe", "{}"),
        ("readinessProbe", "{\"exec\":{}}"),
        ("startupProbe", "{\"exec\":{}}"),
        ("lifecycle", "{\"stopSignal\":\"SIGTERM\"}"),
    ];
    let added = r#"spec.ephemeralContainers[1] = {"name":"f","image":"i"}"#;
    for (field, value) in fields {
        let changes = format!("{added} ; spec.ephemeralContainers[1].{field} = {value}");
        let want = format!("spec.ephemeralContainers[1].{field}: Forbidden: cannot be set for an Ephemeral Container");
        check_part(pods, "ephemeralcontainers", &running(), &[(&changes, &[&want])]);
    }
    let mut mirror = running();
    mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "x" });
    let refused = "[]: Forbidden: static pods do not support ephemeral containers";
    check_part(pods, "ephemeralcontainers", &mirror, &[("", &[refused])]);
}
