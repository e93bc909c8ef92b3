//! What may change in a pod, and what its creator is warned of.

use serde_json::{Value, json};

use super::{pod, tolerant};
use crate::testing::{check_defaults, check_update, check_warnings, row};

fn gated() -> Value {
    let terms = json!([{ "matchExpressions": [{ "key": "k", "operator": "Exists" }] }]);
    pod(json!({
        "containers": [{ "name": "c", "image": "i" }], "schedulingGates": [{ "name": "g" }], "nodeSelector": { "a": "b" },
        "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms }
        } }
    }))
}

#[test]
fn few_fields_change() {
    check_update(
        row("", "pods"),
        &tolerant(),
        &[
            ("", &[]),
            ("spec.containers[0].image = j", &[]),
            ("spec.containers[0].image = \"\"", &["spec.containers[0].image: Required value"]),
            (
                "spec.hostname = h",
                &["spec: Forbidden: pod updates may not change fields other than \
             `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
             (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be \
             set to 1 if it was previously negative)\nspec.hostname: - null + \"h\"\n"],
            ),
            (
                "spec.containers[1] = {\"name\":\"d\",\"image\":\"i\"}",
                &["spec.containers: Forbidden: pod updates may not add or remove containers"],
            ),
            ("spec.activeDeadlineSeconds = 5", &[]),
            (
                "spec.activeDeadlineSeconds = -1",
                &[
                    "spec.activeDeadlineSeconds: Invalid value: -1: must be between 1 and 2147483647, inclusive",
                    "spec.activeDeadlineSeconds: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                ],
            ),
            ("spec.tolerations[1] = {\"key\":\"b\",\"operator\":\"Exists\"}", &[]),
            (
                "spec.tolerations[0].tolerationSeconds = 5 ; spec.tolerations[0].effect = NoExecute",
                &["spec.tolerations: Forbidden: existing toleration can not be modified except its \
             tolerationSeconds"],
            ),
            (
                "spec.tolerations = []",
                &["spec.tolerations: Forbidden: existing toleration can not be modified except its \
             tolerationSeconds"],
            ),
            (
                "spec.schedulingGates = [{\"name\":\"g\"}]",
                &["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate \
             'g'"],
            ),
            (
                "spec.nodeSelector = {\"a\":\"b\"}",
                &["spec: Forbidden: pod updates may not change fields other than \
             `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
             (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be \
             set to 1 if it was previously negative)\nspec.nodeSelector: - null + {\"a\":\"b\"}\n"],
            ),
            (
                "spec.containers[0].resources.requests = {\"cpu\":\"1\"}",
                &["spec: Forbidden: pod updates may not change fields other than \
             `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
             (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be \
             set to 1 if it was previously negative)\nspec.containers[0].resources.requests: - null + \
             {\"cpu\":\"1\"}\n"],
            ),
            (
                "metadata.annotations = {\"kubernetes.io/config.mirror\":\"x\"}",
                &[
                    "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName \
             if mirror pod annotation is set",
                    "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation",
                ],
            ),
            (
                "spec.terminationGracePeriodSeconds = 1",
                &["spec: Forbidden: pod updates may not change fields other than \
             `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
             (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be \
             set to 1 if it was previously negative)\nspec.terminationGracePeriodSeconds: - 30 + 1\n"],
            ),
        ],
    );
}

#[test]
fn gated_pods_become_narrower() {
    check_update(
        row("", "pods"),
        &gated(),
        &[
            ("spec.schedulingGates = []", &[]),
            (
                "spec.schedulingGates = [{\"name\":\"h\"}]",
                &["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate \
             'h'"],
            ),
            ("spec.nodeSelector[c] = d", &[]),
            (
                "spec.nodeSelector[a] = c",
                &["spec.nodeSelector: Invalid value: {\"a\":\"c\"}: only additions to spec.nodeSelector are allowed \
             (no mutations or deletions)"],
            ),
            (
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1] \
         = {\"key\":\"l\",\"operator\":\"Exists\"}",
                &[],
            ),
            (
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key \
         = l",
                &["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: \
             Invalid value: {\"matchExpressions\":[{\"key\":\"l\",\"operator\":\"Exists\"}]}: only additions \
             are allowed (no mutations or deletions)"],
            ),
            (
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[1] = \
         {\"matchExpressions\":[{\"key\":\"l\",\"operator\":\"Exists\"}]}",
                &["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: \
             Invalid value: \
             [{\"matchExpressions\":[{\"key\":\"k\",\"operator\":\"Exists\"}]},{\"matchExpressions\":[{\"key\":\"l\",\"operator\":\"Exists\"}]}]: \
             no additions/deletions to non-empty NodeSelectorTerms list are allowed"],
            ),
            (
                "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution = \
         [{\"weight\":1,\"preference\":{\"matchExpressions\":[{\"key\":\"l\",\"operator\":\"Exists\"}]}}]",
                &[],
            ),
        ],
    );
}

#[test]
fn deadlines_only_come_closer() {
    let mut pod = tolerant();
    pod["spec"]["activeDeadlineSeconds"] = json!(5);
    check_update(
        row("", "pods"),
        &pod,
        &[
            ("spec.activeDeadlineSeconds = 4", &[]),
            (
                "spec.activeDeadlineSeconds = 6",
                &["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"],
            ),
            (
                "spec.activeDeadlineSeconds = null",
                &["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil \
                     value"],
            ),
        ],
    );
    let mut pod = tolerant();
    pod["spec"]["terminationGracePeriodSeconds"] = json!(-1);
    check_update(row("", "pods"), &pod, &[("spec.terminationGracePeriodSeconds = 1", &[])]);
}

#[test]
fn what_creators_are_warned_of() {
    check_warnings(
        row("", "pods"),
        &tolerant(),
        &[
            ("", &[]),
            (
                "metadata.name = a.b",
                &["metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a \
             DNS label is recommended: [must not contain dots]"],
            ),
            (
                "spec.nodeSelector = \
         {\"beta.kubernetes.io/os\":\"linux\",\"failure-domain.beta.kubernetes.io/zone\":\"a\"}",
                &[
                    "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" \
             instead",
                    "spec.nodeSelector[failure-domain.beta.kubernetes.io/zone]: deprecated since v1.17; use \
             \"topology.kubernetes.io/zone\" instead",
                ],
            ),
            (
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution = \
         {\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"beta.kubernetes.io/arch\",\"operator\":\"Exists\"}]}]}",
                &[
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: \
             beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead",
                ],
            ),
            (
                "spec.topologySpreadConstraints = \
         [{\"maxSkew\":1,\"topologyKey\":\"failure-domain.beta.kubernetes.io/zone\",\"whenUnsatisfiable\":\"DoNotSchedule\"}]",
                &[
                    "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is \
             deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
                    "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
                ],
            ),
            (
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution = [{\"topologyKey\":\"a\"}]",
                &["spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a \
             null labelSelector results in matching no pod"],
            ),
            (
                "metadata.annotations = \
         {\"scheduler.alpha.kubernetes.io/critical-pod\":\"\",\"seccomp.security.alpha.kubernetes.io/pod\":\"x\",\"container.seccomp.security.alpha.kubernetes.io/c\":\"x\"}",
                &[
                    "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use \
             the \"priorityClassName\" field instead",
                    "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use \
             the \"seccompProfile\" field instead",
                    "metadata.annotations[container.seccomp.security.alpha.kubernetes.io/c]: non-functional in \
             v1.27+; use the \"seccompProfile\" field instead",
                ],
            ),
            (
                "spec.volumes = \
         [{\"photonPersistentDisk\":{}},{\"gitRepo\":{}},{\"scaleIO\":{}},{\"flocker\":{}},{\"storageos\":{}},\
          {\"quobyte\":{}},{\"glusterfs\":{}},{\"cephfs\":{}},{\"rbd\":{}}]",
                &[
                    "spec.volumes[0].photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+",
                    "spec.volumes[1].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
                    "spec.volumes[2].scaleIO: deprecated in v1.16, non-functional in v1.22+",
                    "spec.volumes[3].flocker: deprecated in v1.22, non-functional in v1.25+",
                    "spec.volumes[4].storageOS: deprecated in v1.22, non-functional in v1.25+",
                    "spec.volumes[5].quobyte: deprecated in v1.22, non-functional in v1.25+",
                    "spec.volumes[6].glusterfs: deprecated in v1.25, non-functional in v1.26+",
                    "spec.volumes[7].cephfs: deprecated in v1.28, non-functional in v1.31+",
                    "spec.volumes[8].rbd: deprecated in v1.28, non-functional in v1.31+",
                ],
            ),
            (
                "spec.volumes = \
         [{\"name\":\"v\",\"configMap\":{\"name\":\"x\",\"items\":[{\"key\":\"a\",\"path\":\"p\"},{\"key\":\"b\",\"path\":\"p/q\"}]}}]",
                &["volume \"v\" (ConfigMap \"x\"): overlapping paths: \"p/q\" with \"p\""],
            ),
            (
                "spec.volumes = \
         [{\"name\":\"v\",\"projected\":{\"sources\":[{\"secret\":{\"name\":\"s\",\"items\":[{\"key\":\"a\",\"path\":\"t/\"}]}},{\"serviceAccountToken\":{\"path\":\"t\"}},{}]}}]",
                &[
                    "volume \"v\" (Projected) has no sources provided",
                    "volume \"v\" (Projected): overlapping paths: \"t\" (ServiceAccountToken) with \"t\" (Secret \
             \"s\")",
                ],
            ),
            (
                "spec.hostAliases = [{\"ip\":\"1.2.3.4\"},{\"ip\":\"1.2.3.4\"}] ; spec.imagePullSecrets = \
         [{\"name\":\"a\"},{\"name\":\"a\"},{}]",
                &[
                    "spec.hostAliases[1].ip: duplicate ip \"1.2.3.4\"",
                    "spec.imagePullSecrets[1].name: duplicate name \"a\"",
                    "spec.imagePullSecrets[2].name: invalid empty name \"\"",
                ],
            ),
            (
                "spec.containers[0].resources.limits = {\"memory\":\"1500m\"}",
                &[
                    "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be \
             an integer",
                    "spec.containers[0].resources.requests[memory]: fractional byte value \"1500m\" is invalid, must \
             be an integer",
                ],
            ),
            (
                "spec.containers[0].env = \
         [{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"2\"},{\"name\":\"A\",\"value\":\"$(A)x\"}]",
                &["spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using \
             apply"],
            ),
            (
                "spec.containers[0].ports = \
         [{\"containerPort\":80,\"hostIP\":\"1.2.3.4\"},{\"containerPort\":80},{\"containerPort\":80,\"hostPort\":1}]",
                &[
                    "spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 \
             Protocol:TCP HostIP:1.2.3.4}",
                    "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
                    "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]",
                    "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[1]",
                ],
            ),
            (
                "spec.containers[0].ports = \
         [{\"containerPort\":80,\"hostPort\":1},{\"containerPort\":80,\"hostPort\":1,\"hostIP\":\"1.2.3.4\"},{\"containerPort\":80,\"hostPort\":1}]",
                &[
                    "spec.containers[0].ports[1]: dangerously ambiguous port definition with \
             spec.containers[0].ports[0]",
                    "spec.containers[0].ports[2]: duplicate port definition with spec.containers[0].ports[0]",
                    "spec.containers[0].ports[2]: dangerously ambiguous port definition with \
             spec.containers[0].ports[1]",
                ],
            ),
            (
                "spec.terminationGracePeriodSeconds = -1",
                &["spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be \
             treated as 1"],
            ),
            (
                "spec.hostAliases = [{\"ip\":\"FE80::1\"}]",
                &["spec.hostAliases[0].ip: IPv6 address \"FE80::1\" should be in RFC 5952 canonical format \
             (\"fe80::1\")"],
            ),
        ],
    );
}

#[test]
fn fields_of_alpha_features_go() {
    check_defaults(
        row("", "pods"),
        &tolerant(),
        &[
            ("spec.evictionResponders = [{\"name\":\"a\"}]", "spec.evictionResponders = null"),
            (
                "spec.volumes = [{\"name\":\"v\",\"emptyDir\":{\"mode\":511}}]",
                "spec.volumes[0] = {\"name\":\"v\",\"emptyDir\":{}}",
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"projected\":{\"defaultUser\":5,\"sources\":[{\"secret\":{\"name\":\"s\",\
                 \"items\":[{\"key\":\"a\",\"path\":\"p\",\"user\":5}]}}]}}]",
                "spec.volumes[0].projected = {\"defaultMode\":420,\"sources\":[{\"secret\":{\"name\":\"s\",\"items\":\
                 [{\"key\":\"a\",\"path\":\"p\"}]}}]}",
            ),
            (
                "spec.containers[0].volumeMounts = [{\"name\":\"v\",\"mountPath\":\"/a\",\"bindMountOptions\":[\"noexec\"]}]",
                "spec.containers[0].volumeMounts[0] = {\"name\":\"v\",\"mountPath\":\"/a\"}",
            ),
        ],
    );
}
