//! What may change in services, and what their creators are warned of.

use serde_json::{Value, json};

use crate::testing::{check_status, check_update, check_warnings, row};

fn service() -> Value {
    json!({ "metadata": { "name": "web", "namespace": "d" }, "spec": { "ports": [{ "port": 80 }] } })
}

fn dual() -> Value {
    json!({
        "metadata": { "name": "web", "namespace": "d" },
        "spec": {
            "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30001 }],
            "clusterIP": "10.43.0.7", "clusterIPs": ["10.43.0.7", "fd00::7"],
            "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"
        }
    })
}

fn balancer() -> Value {
    json!({
        "metadata": { "name": "web", "namespace": "d" },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }], "loadBalancerClass": "a.b/c" }
    })
}

#[test]
fn addresses_and_families_that_change() {
    check_update(
        row("", "services"),
        &dual(),
        &[
            ("", &[]),
            (
                "spec.clusterIP = 10.43.0.8",
                &["spec.clusterIPs[0]: Invalid value: [\"10.43.0.8\",\"fd00::7\"]: may not change once set"],
            ),
            (
                "spec.clusterIPs = [\"10.43.0.7\",\"fd00::8\"]",
                &["spec.clusterIPs[1]: Invalid value: [\"10.43.0.7\",\"fd00::8\"]: may not change once set"],
            ),
            (
                "spec.clusterIPs = [\"10.43.0.7\"] ; spec.ipFamilies = [\"IPv4\"]",
                &[
                    "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when \
             releasing the secondary clusterIP",
                    "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when \
             releasing the secondary ipFamily",
                ],
            ),
            (
                "spec.clusterIPs = [\"10.43.0.7\"] ; spec.ipFamilies = [\"IPv4\"] ; spec.ipFamilyPolicy = SingleStack",
                &[],
            ),
            (
                "spec.ipFamilies = [\"IPv6\",\"IPv4\"]",
                &[
                    "spec.ipFamilies[0]: Invalid value: [\"IPv6\",\"IPv4\"]: may not change once set",
                    "spec.ipFamilies[0]: Invalid value: [\"IPv6\",\"IPv4\"]: may not change once set",
                    "spec.clusterIPs[0]: Invalid value: \"10.43.0.7\": expected an IPv6 value as indicated by \
             `ipFamilies[0]`",
                    "spec.clusterIPs[1]: Invalid value: \"fd00::7\": expected an IPv4 value as indicated by \
             `ipFamilies[1]`",
                ],
            ),
            ("spec.clusterIP = \"\" ; spec.clusterIPs = []", &[]),
            ("spec.type = ExternalName ; spec.externalName = a.b", &[]),
        ],
    );
}

#[test]
fn balancers_that_change() {
    check_update(
        row("", "services"),
        &balancer(),
        &[
            (
                "spec.loadBalancerClass = a.b/d",
                &["spec.loadBalancerClass: Invalid value: \"a.b/d\": may not change once set"],
            ),
            (
                "spec.loadBalancerClass = null",
                &["spec.loadBalancerClass: Invalid value: null: may not change once set"],
            ),
            ("spec.type = ClusterIP", &[]),
            ("spec.externalTrafficPolicy = Local", &[]),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("", "services"),
        &balancer(),
        &[
            ("status.loadBalancer.ingress = [{\"ip\":\"1.2.3.4\",\"ipMode\":\"VIP\"}]", &[]),
            (
                "status.loadBalancer.ingress = [{\"ip\":\"1.2.3\"}]",
                &[
                    "status.loadBalancer.ingress[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. \
             10.9.8.7 or 2001:db8::ffff)",
                    "status.loadBalancer.ingress[0].ipMode: Required value: must be specified when `ip` is set",
                ],
            ),
            (
                "status.loadBalancer.ingress = \
         [{\"ip\":\"1.2.3.4\",\"ipMode\":\"Odd\"},{\"hostname\":\"1.2.3.4\",\"ipMode\":\"VIP\"},{\"hostname\":\"A\"}]",
                &[
                    "status.loadBalancer.ingress[0].ipMode: Unsupported value: \"Odd\": supported values: \"Proxy\", \
             \"VIP\"",
                    "status.loadBalancer.ingress[1].ipMode: Forbidden: may not be specified when `ip` is not set",
                    "status.loadBalancer.ingress[1].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an \
             IP address",
                    "status.loadBalancer.ingress[2].hostname: Invalid value: \"A\": {subdomain}",
                ],
            ),
        ],
    );
}

#[test]
fn statuses_of_others() {
    check_status(
        row("", "services"),
        &service(),
        &[(
            "status.loadBalancer.ingress = [{\"ip\":\"1.2.3\"}]",
            &["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"],
        )],
    );
}

#[test]
fn warnings() {
    check_warnings(
        row("", "services"),
        &service(),
        &[
            ("", &[]),
            (
                "metadata.annotations = {\"service.kubernetes.io/topology-aware-hints\":\"Auto\"}",
                &["annotation service.kubernetes.io/topology-aware-hints is deprecated, please use \
             service.kubernetes.io/topology-mode instead"],
            ),
            (
                "spec.clusterIP = None ; spec.loadBalancerIP = 1.2.3.4 ; spec.externalIPs = [\"1.2.3.4\"] ; \
         spec.sessionAffinity = ClientIP",
                &[
                    "spec.loadBalancerIP is ignored for headless services",
                    "spec.externalIPs is ignored for headless services",
                    "spec.SessionAffinity is ignored for headless services",
                ],
            ),
            (
                "spec.type = ExternalName ; spec.externalName = a ; spec.externalIPs = [\"FE80::1\"]",
                &[
                    "spec.externalIPs[0]: IPv6 address \"FE80::1\" should be in RFC 5952 canonical format \
             (\"fe80::1\")",
                    "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
                ],
            ),
            ("spec.externalName = a", &["spec.externalName is ignored when spec.type is not \"ExternalName\""]),
            (
                "spec.loadBalancerSourceRanges = [\"FD00::/64\"]",
                &["spec.loadBalancerSourceRanges[0]: IPv6 CIDR value \"FD00::/64\" should be in RFC 5952 canonical \
             format (\"fd00::/64\")"],
            ),
        ],
    );
}
