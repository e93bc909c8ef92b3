//! Rows of `networking.k8s.io` and `discovery.k8s.io`.

use crate::resource::{Resource, Strategy, Subresource};

const GROUP: &str = "networking.k8s.io";

pub const ROWS: &[Resource] = &[
    Resource::cluster(GROUP, "v1", "ingressclasses", "ingressclass", "IngressClass"),
    Resource {
        short_names: &["ing"],
        strategy: Strategy::SPEC_STATUS,
        subresources: &[Subresource::STATUS],
        ..Resource::namespaced(GROUP, "v1", "ingresses", "ingress", "Ingress")
    },
    Resource { short_names: &["ip"], ..Resource::cluster(GROUP, "v1", "ipaddresses", "ipaddress", "IPAddress") },
    Resource {
        short_names: &["netpol"],
        strategy: Strategy::SPEC_STATUS,
        ..Resource::namespaced(GROUP, "v1", "networkpolicies", "networkpolicy", "NetworkPolicy")
    },
    Resource {
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::STATUS],
        ..Resource::cluster(GROUP, "v1", "servicecidrs", "servicecidr", "ServiceCIDR")
    },
];

pub const DISCOVERY_ROWS: &[Resource] =
    &[Resource::namespaced("discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice")];
