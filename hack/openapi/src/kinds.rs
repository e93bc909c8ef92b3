//! The typed library's kinds as JSON schemas: names, descriptions, types, required fields.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value};

use crate::definitions::{Definitions, Root};

macro_rules! collect {
    ($generator:ident, $roots:ident: $($($module:ident)::+ { $($kind:ident)* })*) => {
        $({
            use k8s_openapi::$($module)::+ as module;
            collect!(@kinds $generator, $roots: $($kind)*);
        })*
    };
    (@kinds $generator:ident, $roots:ident: $($kind:ident)*) => {
        $(
            $generator.subschema_for::<module::$kind>();
            $roots.push(root::<module::$kind>());
        )*
    };
}

fn root<K: k8s_openapi::Resource + schemars::JsonSchema>() -> Root {
    Root {
        group: K::GROUP.to_owned(),
        version: K::VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        definition: K::schema_name().into_owned(),
    }
}

/// Reads every kind out of the typed library.
pub fn definitions() -> Definitions {
    let mut settings = SchemaSettings::openapi3();
    settings.meta_schema = None;
    let mut generator = SchemaGenerator::new(settings);
    let mut roots = Vec::new();
    collect!(generator, roots:
        api::admissionregistration::v1 {
            MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration
            ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
        }
        api::admissionregistration::v1alpha1 { MutatingAdmissionPolicy MutatingAdmissionPolicyBinding }
        api::admissionregistration::v1beta1 { MutatingAdmissionPolicy MutatingAdmissionPolicyBinding }
        api::apiserverinternal::v1alpha1 { StorageVersion }
        api::apps::v1 { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
        api::authentication::v1 { SelfSubjectReview TokenRequest TokenReview }
        api::authorization::v1 {
            LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
        }
        api::autoscaling::v1 { HorizontalPodAutoscaler Scale }
        api::autoscaling::v2 { HorizontalPodAutoscaler }
        api::batch::v1 { CronJob Job }
        api::certificates::v1 { CertificateSigningRequest ClusterTrustBundle PodCertificateRequest }
        api::certificates::v1beta1 { ClusterTrustBundle PodCertificateRequest }
        api::coordination::v1 { Lease }
        api::coordination::v1alpha2 { LeaseCandidate }
        api::coordination::v1beta1 { LeaseCandidate }
        api::core::v1 {
            Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume
            PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount
        }
        api::discovery::v1 { EndpointSlice }
        api::events::v1 { Event }
        api::flowcontrol::v1 { FlowSchema PriorityLevelConfiguration }
        api::lifecycle::v1alpha1 { Eviction EvictionRequest }
        api::networking::v1 { Ingress IngressClass IPAddress NetworkPolicy ServiceCIDR }
        api::node::v1 { RuntimeClass }
        api::policy::v1 { Eviction PodDisruptionBudget }
        api::rbac::v1 { ClusterRole ClusterRoleBinding Role RoleBinding }
        api::resource::v1 { DeviceClass DeviceTaintRule ResourceClaim ResourceClaimTemplate ResourceSlice }
        api::resource::v1alpha3 { DeviceTaintRule ResourcePoolStatusRequest }
        api::resource::v1beta1 { DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice }
        api::resource::v1beta2 { DeviceClass DeviceTaintRule ResourceClaim ResourceClaimTemplate ResourceSlice }
        api::scheduling::v1 { PriorityClass }
        api::scheduling::v1alpha3 { CompositePodGroup PodGroup Workload }
        api::scheduling::v1beta1 { PodGroup Workload }
        api::storage::v1 {
            CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass
        }
        api::storagemigration::v1 { StorageVersionMigration }
        api::storagemigration::v1beta1 { StorageVersionMigration }
        apiextensions_apiserver::pkg::apis::apiextensions::v1 { CustomResourceDefinition }
        apimachinery::pkg::apis::meta::v1 { APIGroup APIVersions Status }
        kube_aggregator::pkg::apis::apiregistration::v1 { APIService }
    );
    extra(&mut generator);
    let schemas = generator.take_definitions(true);
    let object = |value: Value| match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let schemas = schemas.into_iter().map(|(name, schema)| (name, object(schema))).collect();
    Definitions { schemas, roots }
}

/// What bodies and answers have besides kinds of their own.
fn extra(generator: &mut SchemaGenerator) {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
    generator.subschema_for::<meta::APIGroupList>();
    generator.subschema_for::<meta::APIResourceList>();
    generator.subschema_for::<meta::DeleteOptions>();
    generator.subschema_for::<meta::Patch>();
    generator.subschema_for::<meta::ListMeta>();
    generator.subschema_for::<meta::WatchEvent<k8s_openapi::apimachinery::pkg::runtime::RawExtension>>();
    generator.subschema_for::<k8s_openapi::apimachinery::pkg::version::Info>();
}
