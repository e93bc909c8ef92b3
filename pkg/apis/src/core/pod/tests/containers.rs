//! Rules of containers.

use super::simple;
use crate::testing::{check_create, row};

#[test]
fn names_images_and_policies() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            ("", &[]),
            ("spec.containers = []", &["spec.containers: Required value"]),
            ("spec.containers[0].name = \"\"", &["spec.containers[0].name: Required value"]),
            ("spec.containers[0].name = A_b", &["spec.containers[0].name: Invalid value: \"A_b\": {label}"]),
            (
                "spec.containers[1] = {\"name\":\"c\",\"image\":\"i\"}",
                &["spec.containers[1].name: Duplicate value: \"c\""],
            ),
            ("spec.containers[0].image = \"\"", &["spec.containers[0].image: Required value"]),
            (
                "spec.containers[0].image = \" i\"",
                &["spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace"],
            ),
            (
                "spec.containers[0].imagePullPolicy = Sometimes",
                &["spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \
             \"Always\", \"IfNotPresent\", \"Never\""],
            ),
            (
                "spec.containers[0].terminationMessagePolicy = Log",
                &["spec.containers[0].terminationMessagePolicy: Unsupported value: \"Log\": supported values: \
             \"File\", \"FallbackToLogsOnError\""],
            ),
            (
                "spec.containers[0].restartPolicy = Maybe",
                &["spec.containers[0].restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \
             \"Never\", \"OnFailure\""],
            ),
            ("spec.containers[0].restartPolicy = OnFailure", &[]),
            (
                "spec.containers[0].restartPolicyRules = \
         [{\"action\":\"Restart\",\"exitCodes\":{\"operator\":\"In\",\"values\":[1]}}]",
                &["spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules \
             are used"],
            ),
            (
                "spec.containers[0].restartPolicy = Never ; spec.containers[0].restartPolicyRules = \
         [{\"action\":\"Restart\",\"exitCodes\":{\"operator\":\"In\",\"values\":[1]}}]",
                &[],
            ),
            (
                "spec.containers[0].restartPolicy = Never ; spec.containers[0].restartPolicyRules = \
         [{\"action\":\"Stop\"}]",
                &[
                    "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \
             \"Restart\", \"RestartAllContainers\"",
                    "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
                ],
            ),
            (
                "spec.containers[0].restartPolicy = Never ; spec.containers[0].restartPolicyRules = \
         [{\"action\":\"Restart\",\"exitCodes\":{\"operator\":\"Eq\"}}]",
                &["spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Eq\": \
             supported values: \"In\", \"NotIn\""],
            ),
            (
                "spec.initContainers = [{\"name\":\"c\",\"image\":\"i\"}]",
                &["spec.initContainers[0].name: Duplicate value: \"c\""],
            ),
            (
                "spec.initContainers = \
         [{\"name\":\"i\",\"image\":\"i\",\"readinessProbe\":{\"exec\":{\"command\":[\"x\"]}}}]",
                &["spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without \
             restartPolicy=Always"],
            ),
            (
                "spec.initContainers = \
         [{\"name\":\"i\",\"image\":\"i\",\"restartPolicy\":\"Always\",\"readinessProbe\":{\"exec\":{\"command\":[\"x\"]}}}]",
                &[],
            ),
            (
                "spec.initContainers = \
         [{\"name\":\"i\",\"image\":\"i\",\"resizePolicy\":[{\"resourceName\":\"cpu\",\"restartPolicy\":\"RestartContainer\"}]}]",
                &["spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must \
             not be set to 'RestartContainer' for non-sidecar initContainers"],
            ),
            (
                "spec.ephemeralContainers = [{\"name\":\"e\",\"image\":\"i\"}]",
                &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
            ),
            (
                "spec.restartPolicy = Maybe",
                &["spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \
             \"Never\""],
            ),
            (
                "spec.dnsPolicy = Mine",
                &["spec.dnsPolicy: Unsupported value: \"Mine\": supported values: \"ClusterFirstWithHostNet\", \
             \"ClusterFirst\", \"Default\", \"None\""],
            ),
        ],
    );
}

#[test]
fn ports() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                "spec.containers[0].ports = \
         [{\"containerPort\":80,\"name\":\"web\"},{\"containerPort\":0,\"name\":\"web\"}]",
                &[
                    "spec.containers[0].ports[1].name: Duplicate value: \"web\"",
                    "spec.containers[0].ports[1].containerPort: Required value",
                ],
            ),
            (
                "spec.containers[0].ports = [{\"containerPort\":70000}]",
                &["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, \
             inclusive"],
            ),
            (
                "spec.containers[0].ports = [{\"containerPort\":80,\"hostPort\":-1}]",
                &["spec.containers[0].ports[0].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive"],
            ),
            (
                "spec.containers[0].ports = [{\"containerPort\":80,\"protocol\":\"ICMP\"}]",
                &["spec.containers[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \
             \"TCP\", \"UDP\""],
            ),
            (
                "spec.containers[0].ports = [{\"containerPort\":80,\"name\":\"A--b\"}]",
                &[
                    "spec.containers[0].ports[0].name: Invalid value: \"A--b\": must contain only alpha-numeric \
             characters (a-z, 0-9), and hyphens (-)",
                    "spec.containers[0].ports[0].name: Invalid value: \"A--b\": must not contain consecutive hyphens",
                ],
            ),
            (
                "spec.containers[0].ports = \
         [{\"containerPort\":80,\"hostPort\":8080},{\"containerPort\":81,\"hostPort\":8080}]",
                &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//8080\""],
            ),
            (
                "spec.containers[0].ports = \
         [{\"containerPort\":80,\"hostPort\":8080,\"hostIP\":\"10.0.0.1\"},{\"containerPort\":81,\"hostPort\":8080}]",
                &[],
            ),
            (
                "spec.hostNetwork = true ; spec.containers[0].ports = [{\"containerPort\":80,\"hostPort\":8080}]",
                &["spec.containers[0].ports[0].hostPort: Invalid value: 8080: must match `containerPort` when \
             `hostNetwork` is true"],
            ),
        ],
    );
}

#[test]
fn resources() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                "spec.containers[0].resources = {\"limits\":{\"cpu\":\"1\"},\"requests\":{\"cpu\":\"2\"}}",
                &["spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu \
             limit of 1"],
            ),
            (
                "spec.containers[0].resources = {\"limits\":{\"cpu\":\"-1\"}}",
                &[
                    "spec.containers[0].resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal \
             to 0",
                    "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal \
             to 0",
                ],
            ),
            (
                "spec.containers[0].resources = {\"limits\":{\"widgets\":\"1\"}}",
                &[
                    "spec.containers[0].resources.limits[widgets]: Invalid value: \"widgets\": must be a standard \
             resource type or fully qualified",
                    "spec.containers[0].resources.limits[widgets]: Invalid value: \"widgets\": must be a standard \
             resource for containers",
                    "spec.containers[0].resources.requests[widgets]: Invalid value: \"widgets\": must be a standard \
             resource type or fully qualified",
                    "spec.containers[0].resources.requests[widgets]: Invalid value: \"widgets\": must be a standard \
             resource for containers",
                ],
            ),
            (
                "spec.containers[0].resources = {\"limits\":{\"a/b\":\"1500m\"}}",
                &[
                    "spec.containers[0].resources.limits[a/b]: Invalid value: \"1500m\": must be an integer",
                    "spec.containers[0].resources.requests[a/b]: Invalid value: \"1500m\": must be an integer",
                ],
            ),
            (
                "spec.containers[0].resources = {\"requests\":{\"a/b\":\"1\"}}",
                &["spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable \
             resources"],
            ),
            (
                "spec.containers[0].resources = {\"limits\":{\"a/b\":\"2\"},\"requests\":{\"a/b\":\"1\"}}",
                &["spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to a/b limit of 2"],
            ),
            (
                "spec.containers[0].resources = {\"limits\":{\"hugepages-2Mi\":\"2Mi\"}}",
                &["spec.containers[0].resources: Forbidden: HugePages require cpu or memory"],
            ),
            (
                "spec.containers[0].resources = {\"limits\":{\"hugepages-2Mi\":\"3Mi\",\"cpu\":\"1\"}}",
                &[
                    "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive \
             integer multiple of hugepages-2Mi",
                    "spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not \
             positive integer multiple of hugepages-2Mi",
                ],
            ),
            (
                "spec.containers[0].resources = {\"claims\":[{\"name\":\"x\"}]}",
                &["spec.containers[0].resources.claims[0]: Not found: \"x\": must be one of the names in \
             pod.spec.resourceClaims which is empty"],
            ),
            (
                "spec.resourceClaims = [{\"name\":\"x\",\"resourceClaimName\":\"x\"}] ; spec.containers[0].resources \
         = {\"claims\":[{\"name\":\"x\"},{\"name\":\"x\"}]}",
                &["spec.containers[0].resources.claims[1]: Duplicate value: \"x\""],
            ),
            (
                "spec.resourceClaims = [{\"name\":\"x\"}]",
                &["spec.resourceClaims[0]: Invalid value: {\"name\":\"x\"}: must specify one of: \
             `resourceClaimName`, `resourceClaimTemplateName`"],
            ),
            (
                "spec.resourceClaims = \
         [{\"name\":\"x\",\"resourceClaimName\":\"a\",\"resourceClaimTemplateName\":\"b\"}]",
                &["spec.resourceClaims[0]: Invalid value: \
             {\"name\":\"x\",\"resourceClaimName\":\"a\",\"resourceClaimTemplateName\":\"b\"}: at most one of \
             `resourceClaimName` or `resourceClaimTemplateName` may be specified"],
            ),
            (
                "spec.containers[0].resizePolicy = [{\"resourceName\":\"disk\",\"restartPolicy\":\"Maybe\"}]",
                &[
                    "spec.containers[0].resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \
             \"memory\"",
                    "spec.containers[0].resizePolicy: Unsupported value: \"Maybe\": supported values: \
             \"NotRequired\", \"RestartContainer\"",
                ],
            ),
            (
                "spec.containers[0].resizePolicy = \
         [{\"resourceName\":\"cpu\",\"restartPolicy\":\"NotRequired\"},{\"resourceName\":\"cpu\",\"restartPolicy\":\"NotRequired\"}]",
                &["spec.containers[0].resizePolicy[1]: Duplicate value: \"cpu\""],
            ),
            (
                "spec.restartPolicy = Never ; spec.containers[0].resizePolicy = \
         [{\"resourceName\":\"cpu\",\"restartPolicy\":\"RestartContainer\"}]",
                &["spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when \
             pod `restartPolicy` is 'Never'"],
            ),
            (
                "spec.overhead = {\"cpu\":\"-1\"}",
                &["spec.overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
            ),
            (
                "spec.overhead = {\"widgets\":\"1\"}",
                &[
                    "spec.overhead.limits[widgets]: Invalid value: \"widgets\": must be a standard resource type or \
             fully qualified",
                    "spec.overhead.limits[widgets]: Invalid value: \"widgets\": must be a standard resource for \
             containers",
                ],
            ),
            (
                "spec.resources = {\"limits\":{\"ephemeral-storage\":\"1Gi\"}}",
                &["spec.resources.limits[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported \
             values: \"cpu\", \"hugepages-\", \"memory\""],
            ),
            (
                "spec.resources = {\"requests\":{\"cpu\":\"1\"},\"limits\":{\"cpu\":\"500m\"}}",
                &["spec.resources.requests: Invalid value: \"1\": must be less than or equal to cpu limit of 500m"],
            ),
            (
                "spec.resources = {\"requests\":{\"cpu\":\"1\"}} ; spec.containers[0].resources = \
         {\"requests\":{\"cpu\":\"2\"}}",
                &["spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate \
             container requests of 2"],
            ),
            (
                "spec.resources = {\"limits\":{\"memory\":\"1Gi\"}} ; spec.containers[0].resources = \
         {\"limits\":{\"memory\":\"2Gi\"}}",
                &[
                    "spec.resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of \
             1Gi",
                    "spec.resources.containers[0][memory].limits: Invalid value: \"2Gi\": must be less than or equal \
             to pod limits of 1Gi",
                ],
            ),
        ],
    );
}

#[test]
fn names_of_resources_and_claims() {
    let domain = format!("{}/x", vec!["a".repeat(61); 4].join("."));
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (r#"spec.containers[0].resources = {"limits":{"a.kubernetes.io/x":"1"}}"#, &[]),
            (
                &format!(r#"spec.containers[0].resources.limits = {{"{domain}":"1"}}"#),
                &[
                    &format!(
                        "spec.containers[0].resources.limits[{domain}]: Invalid value: {domain:?}: doesn't follow extended \
                         resource name standard"
                    ),
                    &format!(
                        "spec.containers[0].resources.requests[{domain}]: Invalid value: {domain:?}: doesn't follow \
                         extended resource name standard"
                    ),
                ],
            ),
            (
                r#"spec.containers[0].resources = {"limits":{"a b":"1"},"requests":{}}"#,
                &[
                    "spec.containers[0].resources.limits[a b]: Invalid value: \"a b\": {name part}",
                    "spec.containers[0].resources.limits[a b]: Invalid value: \"a b\": must be a standard resource for \
                     containers",
                    "spec.containers[0].resources.requests[a b]: Invalid value: \"a b\": {name part}",
                    "spec.containers[0].resources.requests[a b]: Invalid value: \"a b\": must be a standard resource for \
                     containers",
                ],
            ),
            (
                r#"spec.resources = {"claims":[]}"#,
                &["spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level"],
            ),
            (
                r#"spec.resourceClaims = [{"name":"x","resourceClaimName":"x"}] ; spec.containers[0].resources = {"claims":[{"name":"x","request":"a"},{"name":"x","request":"b"}]}"#,
                &[],
            ),
            (
                r#"spec.resourceClaims = [{"name":"x","resourceClaimName":"x"}] ; spec.containers[0].resources = {"claims":[{"name":""},{"name":"x","request":"A"},{"name":"x","request":"A"},{"name":"y"}]}"#,
                &[
                    "spec.containers[0].resources.claims[0]: Required value",
                    "spec.containers[0].resources.claims[1].request: Invalid value: \"A\": {label}",
                    "spec.containers[0].resources.claims[2].request: Invalid value: \"A\": {label}",
                    "spec.containers[0].resources.claims[2]: Duplicate value: \"x/A\"",
                    "spec.containers[0].resources.claims[3]: Not found: \"y\": must be one of the names in \
                     pod.spec.resourceClaims: x",
                ],
            ),
            (
                r#"spec.resourceClaims = [{"name":"","resourceClaimName":"a"},{"name":"x","resourceClaimName":"A"},{"name":"x","resourceClaimTemplateName":"A"},{"name":"X","resourceClaimName":"a"}]"#,
                &[
                    "spec.resourceClaims[0].name: Required value",
                    "spec.resourceClaims[1].resourceClaimName: Invalid value: \"A\": {subdomain}",
                    "spec.resourceClaims[2].name: Duplicate value: \"x\"",
                    "spec.resourceClaims[2].resourceClaimTemplateName: Invalid value: \"A\": {subdomain}",
                    "spec.resourceClaims[3].name: Invalid value: \"X\": {label}",
                ],
            ),
            (
                r#"spec.containers[0].resizePolicy = [{"resourceName":"","restartPolicy":""}]"#,
                &["spec.containers[0].resizePolicy: Required value", "spec.containers[0].resizePolicy: Required value"],
            ),
        ],
    );
}

#[test]
fn restart_rules_are_few() {
    let rules = vec![r#"{"action":"Restart","exitCodes":{"operator":"In","values":[1]}}"#; 21].join(",");
    let codes = (0..256).map(|code| code.to_string()).collect::<Vec<_>>().join(",");
    let many = format!("spec.containers[0].restartPolicy = Never ; spec.containers[0].restartPolicyRules = [{rules}]");
    let codes = format!(
        r#"spec.containers[0].restartPolicy = Never ; spec.containers[0].restartPolicyRules = [{{"action":"Restart","exitCodes":{{"operator":"In","values":[{codes}]}}}}]"#
    );
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (&many, &["spec.containers[0].restartPolicyRules: Too many: 21: must have at most 20 items"]),
            (
                &codes,
                &["spec.containers[0].restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 \
                   items"],
            ),
        ],
    );
}
