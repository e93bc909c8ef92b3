//! What the status of a pod may say.

use serde_json::json;

use super::tolerant;
use crate::testing::{check_status, row};

#[test]
fn statuses() {
    check_status(
        row("", "pods"),
        &tolerant(),
        &[
            ("status = {\"phase\":\"Running\"}", &[]),
            ("status.conditions = [{\"type\":\"Mine\",\"status\":\"True\"}]", &[]),
            (
                "status.conditions = [{\"type\":\"Mi ne\",\"status\":\"True\",\"observedGeneration\":-1}]",
                &[
                    "status.conditions[0].observedGeneration: Invalid value: -1: must be a non-negative integer",
                    "status.conditions[0].Type: Invalid value: \"Mi ne\": {name part}",
                ],
            ),
            ("status.nominatedNodeName = A", &["status.nominatedNodeName: Invalid value: \"A\": {subdomain}"]),
            ("status.qosClass = Guaranteed", &["status.qosClass: Invalid value: \"Guaranteed\": field is immutable"]),
            (
                "status.podIPs = [{\"ip\":\"1.2.3\"}]",
                &["status.podIPs[0]: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)"],
            ),
            (
                "status.podIPs = [{\"ip\":\"1.2.3.4\"},{\"ip\":\"1.2.3.5\"},{\"ip\":\"::1\"}]",
                &["status.podIPs: Invalid value: [{\"ip\":\"1.2.3.4\"},{\"ip\":\"1.2.3.5\"},{\"ip\":\"::1\"}]: may \
             specify no more than one IP for each IP family"],
            ),
            (
                "status.podIPs = [{\"ip\":\"1.2.3.4\"},{\"ip\":\"1.2.3.4\"}]",
                &["status.podIPs: Invalid value: [{\"ip\":\"1.2.3.4\"},{\"ip\":\"1.2.3.4\"}]: may specify no more \
             than one IP for each IP family"],
            ),
            (
                "status.hostIP = 1.2.3.4 ; status.hostIPs = [{\"ip\":\"1.2.3.5\"}]",
                &["status.hostIPs[0].ip: Invalid value: \"1.2.3.5\": must be equal to `hostIP`"],
            ),
            (
                "status.resourceClaimStatuses = [{\"name\":\"x\",\"resourceClaimName\":\"A\"}]",
                &[
                    "status.resourceClaimStatuses[0].name: Invalid value: \"x\": must match the name of an entry in \
             `spec.resourceClaims`",
                    "status.resourceClaimStatuses[0].resourceClaimName: Invalid value: \"A\": {subdomain}",
                ],
            ),
            (
                "status.containerStatuses = \
         [{\"name\":\"c\",\"user\":{\"linux\":{\"uid\":-1,\"gid\":1,\"supplementalGroups\":[-1]}}}]",
                &[
                    "status.containerStatuses[0].user.linux.uid: Invalid value: -1: must be between 0 and 2147483647, \
             inclusive",
                    "status.containerStatuses[0].user.linux.supplementalGroups[0]: Invalid value: -1: must be between \
             0 and 2147483647, inclusive",
                ],
            ),
            (
                "status.containerStatuses = \
         [{\"name\":\"c\",\"allocatedResourcesStatus\":[{\"name\":\"a/b\",\"resources\":[{\"resourceID\":\"x\",\"health\":\"Fine\"},{\"resourceID\":\"x\",\"health\":\"Healthy\"}]}]}]",
                &[
                    "status.containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value: \"a/b\": must match \
             one of the container's resource requests",
                    "status.containerStatuses[0].allocatedResourcesStatus[0].resources[0].health: Unsupported value: \
             \"Fine\": supported values: \"Healthy\", \"Unhealthy\", \"Unknown\"",
                    "status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].resourceID: Duplicate \
             value: \"x\"",
                ],
            ),
            (
                "status.ephemeralContainerStatuses = \
         [{\"name\":\"c\",\"allocatedResourcesStatus\":[{\"name\":\"a/b\"}]}]",
                &["status.ephemeralContainerStatuses[0].allocatedResourcesStatus: Forbidden: must not be specified \
             in container status"],
            ),
        ],
    );
}

#[test]
fn generations_that_old_clients_leave_out_stay() {
    let pods = row("", "pods");
    let mut old = tolerant();
    let condition = |kind: &str, generation: u64| json!({ "type": kind, "observedGeneration": generation });
    old["status"] = json!({ "observedGeneration": 3, "conditions": [
        condition("A", 1), condition("B", 2), condition("A", 3), { "type": "C" },
    ] });
    let mut new = old.clone();
    new["status"] = json!({ "observedGeneration": 0, "conditions": [
        { "type": "A" }, condition("B", 4), { "type": "A" }, { "type": "A" }, { "type": "C" }, { "type": "D" },
    ] });
    (pods.strategy.prepare_for_status_update)(&mut new, &old);
    let want = json!({ "observedGeneration": 3, "conditions": [
        condition("A", 1), condition("B", 4), condition("A", 3), { "type": "A" }, { "type": "C" }, { "type": "D" },
    ] });
    assert_eq!(new["status"], want);
}

#[test]
fn claims_in_statuses() {
    let mut pod = tolerant();
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "a/b": "1" }, "limits": { "a/b": "1" } });
    pod["spec"]["nodeName"] = json!("n");
    pod["spec"]["resourceClaims"] = json!([{ "name": "x", "resourceClaimName": "y" }]);
    check_status(
        row("", "pods"),
        &pod,
        &[
            (
                "status.nominatedNodeName = m",
                &["status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node"],
            ),
            (
                r#"status.extendedResourceClaimStatus = {"resourceClaimName":"a","requestMappings":[{"containerName":"c","resourceName":"a/b","requestName":"r"}]}"#,
                &[],
            ),
            (
                "status.extendedResourceClaimStatus = {}",
                &[
                    "status.extendedResourceClaimStatus.requestMappings: Required value: at least one request mapping is \
                     required",
                    "status.extendedResourceClaimStatus.resourceClaimName: Required value",
                ],
            ),
            (
                r#"status.extendedResourceClaimStatus = {"resourceClaimName":"a","requestMappings":[{"containerName":"c","resourceName":"x/y","requestName":"r"},{"containerName":"d","resourceName":"a/b","requestName":"s"}]}"#,
                &[
                    "status.extendedResourceClaimStatus.requestMappings[0].resourceName: Invalid value: \"x/y\": must \
                     match the extended resource name of an entry in spec.initContainers.resources.requests or \
                     spec.containers.resources.requests",
                    "status.extendedResourceClaimStatus.requestMappings[1].containerName: Invalid value: \"d\": must \
                     match the name of an entry in spec.initContainers.name or spec.containers.name",
                ],
            ),
            (
                r#"status.nodeAllocatableResourceClaimStatuses = [{"resourceClaimName":"y","containers":["c"],"resources":{"cpu":"1"}}]"#,
                &[],
            ),
            (
                r#"status.nodeAllocatableResourceClaimStatuses = [{"resourceClaimName":"z","resources":{"a/b":"-1"}}]"#,
                &[
                    "status.nodeAllocatableResourceClaimStatuses[0].resourceClaimName: Invalid value: \"z\": no mapping \
                     found in pod reference",
                    "status.nodeAllocatableResourceClaimStatuses[0].containers: Required value: must not be empty",
                    "status.nodeAllocatableResourceClaimStatuses[0].resources[a/b]: Invalid value: \"a/b\": must be a \
                     node allocatable resource name",
                    "status.nodeAllocatableResourceClaimStatuses[0].resources[a/b]: Invalid value: \"-1\": must be \
                     non-negative",
                ],
            ),
            (
                r#"status.containerStatuses = [{"name":"c","allocatedResourcesStatus":[{"name":"a/b","resources":[{"resourceID":"x","health":"Healthy","message":""}]},{"name":"claim:x"}]}]"#,
                &[
                    "status.containerStatuses[0].allocatedResourcesStatus[0].resources[0].message: Required value: must \
                     be non-empty if specified",
                    "status.containerStatuses[0].allocatedResourcesStatus[1].name: Invalid value: \"claim:x\": must match \
                     one of the container's resource claims in a format 'claim:<claimName>/<request>' or \
                     'claim:<claimName>' if request is empty",
                ],
            ),
        ],
    );
}
