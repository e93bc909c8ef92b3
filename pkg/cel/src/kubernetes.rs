//! What expressions in the fields of Kubernetes' kinds can name.

use std::sync::{Arc, LazyLock};

use crate::cost::{Shape, Shapes};
use crate::environment::{Environment, Fields};
use crate::functions;

/// Types of what admission tells of a request.
const ADMISSION: &[(&str, Fields)] = &[
    (
        "kubernetes.AdmissionRequest",
        &[
            ("kind", "GroupVersionKind"),
            ("resource", "GroupVersionResource"),
            ("subResource", "string"),
            ("requestKind", "GroupVersionKind"),
            ("requestResource", "GroupVersionResource"),
            ("requestSubResource", "string"),
            ("name", "string"),
            ("namespace", "string"),
            ("operation", "string"),
            ("userInfo", "UserInfo"),
            ("dryRun", "bool"),
            ("options", "dyn"),
        ],
    ),
    ("kubernetes.GroupVersionKind", &[("group", "string"), ("version", "string"), ("kind", "string")]),
    ("kubernetes.GroupVersionResource", &[("group", "string"), ("version", "string"), ("resource", "string")]),
    (
        "kubernetes.UserInfo",
        &[
            ("username", "string"),
            ("uid", "string"),
            ("groups", "list(string)"),
            ("extra", "map(string, list(string))"),
        ],
    ),
    (
        "kubernetes.Namespace",
        &[("metadata", "NamespaceMetadata"), ("spec", "NamespaceSpec"), ("status", "NamespaceStatus")],
    ),
    (
        "kubernetes.NamespaceMetadata",
        &[
            ("name", "string"),
            ("generateName", "string"),
            ("namespace", "string"),
            ("labels", "map(string, string)"),
            ("annotations", "map(string, string)"),
            ("UID", "string"),
            ("creationTimestamp", "timestamp"),
            ("deletionGracePeriodSeconds", "int"),
            ("deletionTimestamp", "timestamp"),
            ("generation", "int"),
            ("resourceVersion", "string"),
            ("finalizers", "list(string)"),
        ],
    ),
    ("kubernetes.NamespaceSpec", &[("finalizers", "list(string)")]),
    ("kubernetes.NamespaceStatus", &[("conditions", "list(NamespaceCondition)"), ("phase", "string")]),
    (
        "kubernetes.NamespaceCondition",
        &[
            ("status", "string"),
            ("type", "string"),
            ("lastTransitionTime", "timestamp"),
            ("message", "string"),
            ("reason", "string"),
        ],
    ),
];

const ADMISSION_VARIABLES: &[(&str, &str)] =
    &[("object", "dyn"), ("oldObject", "dyn"), ("namespaceObject", "Namespace"), ("request", "AdmissionRequest")];

/// Types of what is told of a device.
const DEVICE: &[(&str, Fields)] = &[(
    "kubernetes.DRADevice",
    &[
        ("driver", "string"),
        ("attributes", "map(string, map(string, any))"),
        ("capacity", "map(string, map(string, Quantity))"),
        ("allowMultipleAllocations", "bool"),
    ],
)];

/// The limits of `resource.k8s.io` for devices, all in all and of each text.
const ATTRIBUTES_AND_CAPACITIES_MAX: u64 = 32;
const DOMAIN_MAX: u64 = 63;
const IDENTIFIER_MAX: u64 = 32;
const DRIVER_MAX: u64 = 63;
const ATTRIBUTE_MAX: u64 = 64;

static DEVICE_SHAPE: LazyLock<Arc<Shape>> = LazyLock::new(|| {
    let (domain, identifier) = (Shape::simple(DOMAIN_MAX), Shape::simple(IDENTIFIER_MAX));
    let most = ATTRIBUTES_AND_CAPACITIES_MAX;
    let attributes = Shape::named_map(identifier.clone(), Shape::simple(ATTRIBUTE_MAX), most);
    let capacities = Shape::map(identifier, Shape::simple(0), most);
    let fields = [
        ("driver", Shape::simple(DRIVER_MAX)),
        ("allowMultipleAllocations", Shape::simple(1)),
        ("attributes", Shape::map(domain.clone(), attributes, most)),
        ("capacity", Shape::map(domain, capacities, most)),
    ];
    Arc::new(Shape::object(fields.map(|(name, shape)| (name.to_owned(), shape))))
});

/// What admission offers besides the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Admission {
    /// `params`.
    pub params: bool,
    /// `authorizer`.
    pub authorizer: bool,
    /// `variables`, those that [`Environment::add_variable`] adds.
    pub variables: bool,
    /// Types of objects and of JSON patches.
    pub patches: bool,
}

impl Admission {
    /// What expressions of policies and of webhooks' match conditions can name.
    #[must_use]
    pub fn environment(self) -> Environment {
        let mut environment = Environment::new(ADMISSION_VARIABLES, &[ADMISSION]);
        if self.params {
            environment = environment.with("params", "dyn");
        }
        if self.authorizer {
            environment =
                environment.with("authorizer", "Authorizer").with("authorizer.requestResource", "ResourceCheck");
        }
        if self.variables {
            environment = environment.with("variables", "Variables");
        }
        if self.patches { environment.with_patches() } else { environment }
    }
}

/// What selectors of devices can name.
#[must_use]
pub fn device() -> Environment {
    Environment::new(&[("device", "Device")], &[DEVICE])
        .with_functions(&functions::DEVICES)
        .with_data(Shapes::Named(vec![("device", Arc::clone(&DEVICE_SHAPE))]))
}

/// What rules in schemas of custom resources can name; which types `self` and `oldSelf` have is up to the schema.
#[must_use]
pub fn schema() -> Environment {
    Environment::new(&[("self", "dyn"), ("oldSelf", "dyn")], &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Type;

    #[test]
    fn all_tables_name_types() {
        for (object, fields) in ADMISSION.iter().chain(DEVICE) {
            for (field, of) in *fields {
                let mut rest = *of;
                let read = Type::read(&mut rest);
                assert!(read.is_some() && rest.is_empty(), "{object}.{field}: {of}");
            }
        }
    }
}
