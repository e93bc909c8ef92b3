//! Rules of services.

use serde_json::{Value, json};

use crate::testing::{check_create, row};

fn service() -> Value {
    json!({ "metadata": { "name": "web", "namespace": "d" }, "spec": { "ports": [{ "port": 80 }] } })
}

#[test]
fn ports() {
    check_create(
        row("", "services"),
        &service(),
        &[
            ("", &[]),
            ("spec.ports = []", &["spec.ports: Required value"]),
            ("spec.clusterIP = None ; spec.ports = []", &[]),
            (
                "spec.ports[1] = {\"port\":81}",
                &["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
            ),
            (
                "spec.ports = [{\"port\":80,\"name\":\"a\"},{\"port\":80,\"name\":\"a\"}]",
                &[
                    "spec.ports[1].name: Duplicate value: \"a\"",
                    "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
                ],
            ),
            (
                "spec.ports[0].port = 0",
                &[
                    "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
                ],
            ),
            (
                "spec.ports[0].protocol = ICMP",
                &["spec.ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \
             \"UDP\""],
            ),
            (
                "spec.ports[0].targetPort = A",
                &[
                    "spec.ports[0].targetPort: Invalid value: \"A\": must contain only alpha-numeric characters (a-z, \
             0-9), and hyphens (-)",
                    "spec.ports[0].targetPort: Invalid value: \"A\": must contain at least one letter (a-z)",
                ],
            ),
            ("spec.ports[0].name = A", &["spec.ports[0].name: Invalid value: \"A\": {label}"]),
            ("spec.ports[0].appProtocol = a b", &["spec.ports[0].appProtocol: Invalid value: \"a b\": {name part}"]),
            (
                "spec.ports[0].nodePort = 30000",
                &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            ),
            (
                "spec.type = NodePort ; spec.ports = \
         [{\"port\":80,\"name\":\"a\",\"nodePort\":30000},{\"port\":81,\"name\":\"b\",\"nodePort\":30000}]",
                &["spec.ports[1].nodePort: Duplicate value: 30000"],
            ),
            (
                "spec.type = LoadBalancer ; spec.ports[0].port = 10250",
                &["spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by \
             kubelet"],
            ),
        ],
    );
}

#[test]
fn types_and_addresses() {
    check_create(
        row("", "services"),
        &service(),
        &[
            (
                "spec.type = Odd",
                &["spec.type: Unsupported value: \"Odd\": supported values: \"ClusterIP\", \"ExternalName\", \
             \"LoadBalancer\", \"NodePort\""],
            ),
            ("spec.type = ExternalName", &["spec.externalName: Required value"]),
            ("spec.type = ExternalName ; spec.externalName = a.b.", &[]),
            (
                "spec.type = ExternalName ; spec.externalName = a ; spec.clusterIP = 10.0.0.1 ; spec.ipFamilies = \
         [\"IPv4\"] ; spec.ipFamilyPolicy = SingleStack",
                &[
                    "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
                    "spec.ipFamilies: Forbidden: may not be set for ExternalName services",
                    "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
                ],
            ),
            (
                "spec.type = NodePort ; spec.clusterIP = None",
                &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
            ),
            (
                "spec.type = LoadBalancer ; spec.clusterIP = None",
                &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services"],
            ),
            (
                "spec.clusterIPs = [\"10.0.0.1\"]",
                &["spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified"],
            ),
            (
                "spec.clusterIP = 10.0.0.1 ; spec.clusterIPs = [\"10.0.0.2\"]",
                &["spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`"],
            ),
            (
                "spec.clusterIP = None ; spec.clusterIPs = [\"None\",\"10.0.0.1\"]",
                &["spec.clusterIPs: Invalid value: [\"None\",\"10.0.0.1\"]: 'None' must be the first and only value"],
            ),
            (
                "spec.clusterIP = 10.0.0.1 ; spec.clusterIPs = [\"10.0.0.1\",\"10.0.0.2\"]",
                &["spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for \
             each IP family"],
            ),
            (
                "spec.clusterIP = 10.0.0.1 ; spec.clusterIPs = [\"10.0.0.1\",\"::1\",\"::2\"]",
                &["spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"::1\",\"::2\"]: may only hold up to 2 values"],
            ),
            (
                "spec.clusterIP = x",
                &["spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)"],
            ),
            (
                "spec.clusterIP = fd00::1 ; spec.ipFamilies = [\"IPv4\"]",
                &["spec.clusterIPs[0]: Invalid value: \"fd00::1\": expected an IPv4 value as indicated by \
             `ipFamilies[0]`"],
            ),
            ("spec.ipFamilies = [\"IPv4\",\"IPv4\"]", &["spec.ipFamilies[1]: Duplicate value: \"IPv4\""]),
            (
                "spec.ipFamilies = [\"IPv5\"]",
                &["spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\""],
            ),
            (
                "spec.ipFamilyPolicy = Odd",
                &["spec.ipFamilyPolicy: Unsupported value: \"Odd\": supported values: \"PreferDualStack\", \
             \"RequireDualStack\", \"SingleStack\""],
            ),
            (
                "spec.externalIPs = [\"x\",\"127.0.0.1\",\"0.0.0.0\",\"169.254.0.1\",\"1.2.3.4\"]",
                &[
                    "spec.externalIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)",
                    "spec.externalIPs[1]: Invalid value: \"127.0.0.1\": may not be in the loopback range \
             (127.0.0.0/8, ::1/128)",
                    "spec.externalIPs[2]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
                    "spec.externalIPs[3]: Invalid value: \"169.254.0.1\": may not be in the link-local range \
             (169.254.0.0/16, fe80::/10)",
                ],
            ),
        ],
    );
}

#[test]
fn balancers_and_traffic() {
    check_create(
        row("", "services"),
        &service(),
        &[
            ("spec.type = LoadBalancer", &[]),
            (
                "spec.loadBalancerSourceRanges = [\"10.0.0.0/8\"]",
                &["spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"],
            ),
            (
                "spec.type = LoadBalancer ; spec.loadBalancerSourceRanges = [\" 10.0.0.0/8\",\"10.0.0.1/8\",\"x\"]",
                &[
                    "spec.LoadBalancerSourceRanges[1]: Invalid value: \"10.0.0.1/8\": must not have bits set beyond \
             the prefix length",
                    "spec.LoadBalancerSourceRanges[2]: Invalid value: \"x\": must be a valid CIDR value, (e.g. \
             10.9.8.0/24 or 2001:db8::/64)",
                ],
            ),
            (
                "metadata.annotations = {\"service.beta.kubernetes.io/load-balancer-source-ranges\":\"10.0.0.0/8, \
         x\"}",
                &[
                    "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Forbidden: may \
             only be used when `type` is 'LoadBalancer'",
                    "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Invalid value: \
             \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                ],
            ),
            (
                "spec.type = LoadBalancer ; metadata.annotations = \
         {\"service.beta.kubernetes.io/load-balancer-source-ranges\":\"10.0.0.0/8, x\"}",
                &["metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Invalid value: \
             \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"],
            ),
            (
                "spec.allocateLoadBalancerNodePorts = true",
                &["spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'"],
            ),
            (
                "spec.loadBalancerClass = a/b",
                &["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
            ),
            (
                "spec.type = LoadBalancer ; spec.loadBalancerClass = a b",
                &["spec.loadBalancerClass: Invalid value: \"a b\": {name part}"],
            ),
            (
                "spec.externalTrafficPolicy = Local",
                &["spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible \
             services"],
            ),
            (
                "spec.type = NodePort ; spec.externalTrafficPolicy = Odd",
                &["spec.externalTrafficPolicy: Unsupported value: \"Odd\": supported values: \"Cluster\", \"Local\""],
            ),
            (
                "spec.healthCheckNodePort = 30000",
                &["spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' \
             and `externalTrafficPolicy` is 'Local'"],
            ),
            (
                "spec.type = LoadBalancer ; spec.externalTrafficPolicy = Local ; spec.healthCheckNodePort = 70000",
                &["spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
            ),
            (
                "spec.internalTrafficPolicy = Odd",
                &["spec.internalTrafficPolicy: Unsupported value: \"Odd\": supported values: \"Cluster\", \"Local\""],
            ),
            (
                "spec.trafficDistribution = Odd",
                &["spec.trafficDistribution: Unsupported value: \"Odd\": supported values: \"PreferClose\", \
             \"PreferSameZone\", \"PreferSameNode\""],
            ),
            ("spec.trafficDistribution = PreferSameNode", &[]),
            (
                "spec.sessionAffinity = Odd",
                &["spec.sessionAffinity: Unsupported value: \"Odd\": supported values: \"ClientIP\", \"None\""],
            ),
            ("spec.sessionAffinity = ClientIP", &[]),
            (
                "spec.sessionAffinity = ClientIP ; spec.sessionAffinityConfig = {\"clientIP\":{\"timeoutSeconds\":0}}",
                &["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and \
             less than 86400"],
            ),
            // Without affinity its configuration goes.
            ("spec.sessionAffinityConfig = {\"clientIP\":{\"timeoutSeconds\":0}}", &[]),
            ("spec.selector = {\"a b\":\"c\"}", &["spec.selector: Invalid value: \"a b\": {name part}"]),
            (
                "metadata.annotations = \
         {\"service.kubernetes.io/topology-aware-hints\":\"Auto\",\"service.kubernetes.io/topology-mode\":\"Off\"}",
                &["metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: \"Off\": must match \
             annotations[service.kubernetes.io/topology-aware-hints] when both are specified"],
            ),
        ],
    );
}
