//! Rows of `certificates.k8s.io`.

use crate::resource::{Resource, Strategy, Subresource, Verbs};

const GROUP: &str = "certificates.k8s.io";

pub const ROWS: &[Resource] = &[
    Resource {
        short_names: &["csr"],
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[
            Subresource { name: "approval", kind: None, verbs: Verbs::STATUS, update: None },
            Subresource::STATUS,
        ],
        ..Resource::cluster(
            GROUP,
            "v1",
            "certificatesigningrequests",
            "certificatesigningrequest",
            "CertificateSigningRequest",
        )
    },
    Resource::cluster(GROUP, "v1", "clustertrustbundles", "clustertrustbundle", "ClusterTrustBundle"),
    Resource {
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::STATUS],
        ..Resource::namespaced(GROUP, "v1", "podcertificaterequests", "podcertificaterequest", "PodCertificateRequest")
    },
];
