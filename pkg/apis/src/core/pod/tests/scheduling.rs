//! Rules of where a pod may run, and with which rights.

use super::simple;
use crate::testing::{check_create, row};

#[test]
fn affinity() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                "spec.nodeSelector = {\"a b\":\"c d\"}",
                &[
                    "spec.nodeSelector: Invalid value: \"a b\": {name part}",
                    "spec.nodeSelector: Invalid value: \"c d\": {label value}",
                ],
            ),
            (
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution = \
         {\"nodeSelectorTerms\":[]}",
                &["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: \
             Required value: must have at least one node selector term"],
            ),
            (
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution = \
         {\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"},{\"key\":\"b\",\"operator\":\"Gt\",\"values\":[\"1\",\"2\"]},{\"key\":\"\",\"operator\":\"Is\"}]}]}",
                &[
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: \
             Required value: must be specified when `operator` is 'In' or 'NotIn'",
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].values: \
             Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[2].operator: \
             Invalid value: \"Is\": not a valid selector operator",
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[2].key: \
             Invalid value: \"\": name part must be non-empty",
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[2].key: \
             Invalid value: \"\": {name part}",
                ],
            ),
            (
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution = \
         {\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"spec.x\",\"operator\":\"Exists\"}]}]}",
                &[
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].operator: \
             Invalid value: \"Exists\": not a valid selector operator",
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key: \
             Invalid value: \"spec.x\": not a valid field selector key",
                ],
            ),
            (
                "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution = \
         [{\"weight\":0,\"preference\":{}}]",
                &["spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid \
             value: 0: must be in the range 1-100"],
            ),
            (
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution = [{\"topologyKey\":\"\"}]",
                &[
                    "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: \
             Required value: can not be empty",
                    "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid \
             value: \"\": name part must be non-empty",
                    "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid \
             value: \"\": {name part}",
                ],
            ),
            (
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution = \
         [{\"weight\":101,\"podAffinityTerm\":{\"topologyKey\":\"a\",\"namespaces\":[\"A\"]}}]",
                &[
                    "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid \
             value: 101: must be in the range 1-100",
                    "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.namespace: \
             Invalid value: \"A\": {label}",
                ],
            ),
            (
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution = \
         [{\"topologyKey\":\"a\",\"matchLabelKeys\":[\"x\"]}]",
                &["spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: \
             Forbidden: must not be specified when labelSelector is not set"],
            ),
            (
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution = \
         [{\"topologyKey\":\"a\",\"labelSelector\":{\"matchLabels\":{\"x\":\"y\"}},\"matchLabelKeys\":[\"x\"],\"mismatchLabelKeys\":[\"x\"]}]",
                &["spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys[0]: \
             Invalid value: \"x\": exists in both matchLabelKeys and mismatchLabelKeys"],
            ),
            (
                "spec.topologySpreadConstraints = \
         [{\"maxSkew\":0,\"topologyKey\":\"\",\"whenUnsatisfiable\":\"Maybe\"}]",
                &[
                    "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                    "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                    "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Maybe\": supported \
             values: \"DoNotSchedule\", \"ScheduleAnyway\"",
                ],
            ),
            (
                "spec.topologySpreadConstraints = \
         [{\"maxSkew\":1,\"topologyKey\":\"z\",\"whenUnsatisfiable\":\"DoNotSchedule\"},{\"maxSkew\":2,\"topologyKey\":\"z\",\"whenUnsatisfiable\":\"DoNotSchedule\"}]",
                &["spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, \
             DoNotSchedule}\""],
            ),
            (
                "spec.topologySpreadConstraints = \
         [{\"maxSkew\":1,\"topologyKey\":\"z\",\"whenUnsatisfiable\":\"ScheduleAnyway\",\"minDomains\":0,\"nodeTaintsPolicy\":\"Odd\"}]",
                &[
                    "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero",
                    "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only use minDomains if \
             whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
                    "spec.topologySpreadConstraints[0].nodeTaintsPolicy: Unsupported value: \"Odd\": supported \
             values: \"Honor\", \"Ignore\"",
                ],
            ),
            (
                "spec.tolerations = [{\"operator\":\"Equal\"}]",
                &["spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is \
             empty, which means \"match all values and all keys\""],
            ),
            (
                "spec.tolerations = [{\"key\":\"a\",\"operator\":\"Exists\",\"value\":\"x\"}]",
                &["spec.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is \
             'Exists'"],
            ),
            (
                "spec.tolerations = \
         [{\"key\":\"a\",\"operator\":\"Exists\",\"effect\":\"NoSchedule\",\"tolerationSeconds\":1}]",
                &["spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when \
             `tolerationSeconds` is set"],
            ),
            (
                "spec.tolerations = [{\"key\":\"a\",\"operator\":\"Is\",\"effect\":\"Odd\"}]",
                &[
                    "spec.tolerations[0].operator: Unsupported value: \"Is\": supported values: \"Equal\", \"Exists\"",
                    "spec.tolerations[0].effect: Unsupported value: \"Odd\": supported values: \"NoSchedule\", \
             \"PreferNoSchedule\", \"NoExecute\"",
                ],
            ),
            (
                "spec.tolerations = [{\"key\":\"a\",\"operator\":\"Lt\",\"value\":\"1\"}]",
                &["spec.tolerations[0].operator: Unsupported value: \"Lt\": supported values: \"Equal\", \
             \"Exists\", \"Lt\", \"Gt\""],
            ),
            (
                "spec.schedulingGates = [{\"name\":\"\"},{\"name\":\"a\"},{\"name\":\"a\"}]",
                &[
                    "spec.schedulingGates[0]: Invalid value: \"\": name part must be non-empty",
                    "spec.schedulingGates[0]: Invalid value: \"\": {name part}",
                    "spec.schedulingGates[2]: Duplicate value: \"a\"",
                ],
            ),
            (
                "spec.nodeName = n ; spec.schedulingGates = [{\"name\":\"a\"}]",
                &["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
            ),
            (
                "spec.schedulingGroup = {}",
                &["spec.schedulingGroup.podGroupName: Invalid value: null: must specify one of: `podGroupName`"],
            ),
            (
                "spec.readinessGates = [{\"conditionType\":\"a b\"}]",
                &["spec.readinessGates[0].conditionType: Invalid value: \"a b\": {name part}"],
            ),
        ],
    );
}

#[test]
fn names_and_the_net() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            ("spec.hostname = a.b", &["spec.hostname: Invalid value: \"a.b\": must not contain dots"]),
            ("spec.subdomain = A", &["spec.subdomain: Invalid value: \"A\": {label}"]),
            ("spec.serviceAccountName = A", &["spec.serviceAccountName: Invalid value: \"A\": {subdomain}"]),
            ("spec.nodeName = A", &["spec.nodeName: Invalid value: \"A\": {subdomain}"]),
            ("spec.runtimeClassName = A", &["spec.runtimeClassName: Invalid value: \"A\": {subdomain}"]),
            ("spec.priorityClassName = A", &["spec.priorityClassName: Invalid value: \"A\": {subdomain}"]),
            (
                "spec.hostnameOverride = a ; spec.hostNetwork = true",
                &["spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true"],
            ),
            (
                "spec.activeDeadlineSeconds = 0",
                &["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
            ),
            (
                "spec.preemptionPolicy = Odd",
                &["spec.preemptionPolicy: Unsupported value: \"Odd\": supported values: \"PreemptLowerPriority\", \
             \"Never\""],
            ),
            (
                "spec.dnsPolicy = None",
                &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
            ),
            (
                "spec.dnsPolicy = None ; spec.dnsConfig = {}",
                &["spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when \
             `dnsPolicy` is None"],
            ),
            (
                "spec.dnsConfig = {\"nameservers\":[\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"x\"]}",
                &[
                    "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"x\"]: must not \
             have more than 3 nameservers",
                    "spec.dnsConfig.nameservers[3]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 \
             or 2001:db8::ffff)",
                ],
            ),
            (
                "spec.dnsConfig = {\"searches\":[\"a_b\",\"_A\"],\"options\":[{\"value\":\"x\"}]}",
                &[
                    "spec.dnsConfig.searches[1]: Invalid value: \"_A\": a lowercase RFC 1123 subdomain must consist \
             of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an \
             alphanumeric character (e.g. 'example.com', regex used for validation is \
             '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')",
                    "spec.dnsConfig.options[0]: Required value: must not be empty",
                ],
            ),
            (
                "spec.hostAliases = [{\"ip\":\"1.2.3\",\"hostnames\":[\"A\"]}]",
                &[
                    "spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)",
                    "spec.hostAliases[0].hostnames[0]: Invalid value: \"A\": {subdomain}",
                ],
            ),
            (
                "spec.hostAliases = [{\"ip\":\"01.2.3.4\"}]",
                &["spec.hostAliases[0].ip: Invalid value: \"01.2.3.4\": must not have leading 0s"],
            ),
            ("metadata.name = A", &[]),
            ("metadata.annotations = {\"a b\":\"c\"}", &[]),
        ],
    );
}

#[test]
fn keys_and_fields_of_affinity() {
    let pods = "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution";
    let nodes = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";
    let twice = format!(
        r#"{pods} = [{{"topologyKey":"a","labelSelector":{{"matchLabels":{{"x":"y"}},"matchExpressions":[{{"key":"x","operator":"Exists"}}]}},"matchLabelKeys":["x"]}}]"#
    );
    let legal = format!(
        r#"{pods} = [{{"topologyKey":"a","labelSelector":{{"matchLabels":{{"z":"y"}}}},"matchLabelKeys":["x"],"mismatchLabelKeys":["w"]}}]"#
    );
    let illegal = format!(
        r#"{pods} = [{{"topologyKey":"a","labelSelector":{{"matchLabels":{{"z":"y"}}}},"mismatchLabelKeys":["a b"]}}]"#
    );
    let field = format!(
        r#"{nodes} = {{"nodeSelectorTerms":[{{"matchFields":[{{"key":"metadata.name","operator":"In","values":["a","B"]}}]}}]}}"#
    );
    let value = format!(
        r#"{nodes} = {{"nodeSelectorTerms":[{{"matchExpressions":[{{"key":"a","operator":"In","values":["a b"]}},{{"key":"a","operator":"Exists","values":["a"]}}]}}]}}"#
    );
    let at = format!("{nodes}.nodeSelectorTerms[0]");
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (&legal, &[]),
            (
                &twice,
                &[&format!("{pods}[0][0]: Invalid value: \"x\": exists in both matchLabelKeys and labelSelector")],
            ),
            (&illegal, &[&format!("{pods}[0].mismatchLabelKeys[0]: Invalid value: \"a b\": {{name part}}")]),
            (
                &field,
                &[
                    &format!(
                        "{at}.matchFields[0].values: Required value: must be only one value when `operator` is 'In' or \
                         'NotIn' for node field selector"
                    ),
                    &format!("{at}.matchFields[0].values[1]: Invalid value: \"B\": {{subdomain}}"),
                ],
            ),
            (
                &value,
                &[
                    &format!("{at}.matchExpressions[0].values[0]: Invalid value: \"a b\": {{label value}}"),
                    &format!(
                        "{at}.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or \
                         'DoesNotExist'"
                    ),
                ],
            ),
        ],
    );
}

#[test]
fn search_lists_and_host_names() {
    let searches = |count: usize, length: usize| {
        let list = vec![format!("{:?}", "a".repeat(length)); count].join(",");
        format!("spec.dnsConfig = {{\"searches\":[{list}]}}")
    };
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (&searches(32, 63), &[]),
            (
                &searches(33, 1),
                &["spec.dnsConfig.searches: Invalid value: {…}: must not have more than 32 search paths"],
            ),
            (
                &searches(10, 240),
                &["spec.dnsConfig.searches: Invalid value: {…}: must not have more than 2048 characters (including \
                   spaces) in the search list"],
            ),
            (r#"spec.dnsConfig = {"searches":[".","a."]}"#, &[]),
            (
                "spec.hostnameOverride = a ; spec.setHostnameAsFQDN = true",
                &["spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true"],
            ),
            (
                &format!("spec.hostnameOverride = {}", "a".repeat(65)),
                &["spec.hostnameOverride: Too long: may not be more than 64 bytes"],
            ),
            ("spec.hostnameOverride = A", &["spec.hostnameOverride: Invalid value: \"A\": {subdomain}"]),
            (
                r#"metadata.annotations = {"kubernetes.io/config.mirror":"x"} ; spec.nodeName = n ; spec.resourceClaims = [{"name":"a","resourceClaimName":"b"}]"#,
                &["[]: Forbidden: static pods do not support resource claims"],
            ),
        ],
    );
}
