//! Messages as a client has them that was generated from upstream's `.proto` files: written down by hand here, by numbers
//! that are facts, so that our encoder and decoder do not only agree with each other.

use std::collections::HashMap;

use prost::Message;

/// Defines messages: `name: type = number`.
macro_rules! messages {
    ($($name:ident { $($field:ident: $kind:ident $(<$inner:ty>)? = $tag:literal),* $(,)? })*) => {
        $(messages!(@struct $name [] $($field: $kind $(<$inner>)? = $tag,)*);)*
    };
    (@struct $name:ident [$($done:tt)*]) => {
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct $name { $($done)* }
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: text = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(string, optional, tag = $tag)] pub $field: Option<String>,] $($rest)*);
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: texts = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(string, repeated, tag = $tag)] pub $field: Vec<String>,] $($rest)*);
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: bytes = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(bytes = "vec", optional, tag = $tag)] pub $field: Option<Vec<u8>>,] $($rest)*);
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: truth = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(bool, optional, tag = $tag)] pub $field: Option<bool>,] $($rest)*);
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: int32 = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(int32, optional, tag = $tag)] pub $field: Option<i32>,] $($rest)*);
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: int64 = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(int64, optional, tag = $tag)] pub $field: Option<i64>,] $($rest)*);
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: one<$inner:ty> = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(message, optional, tag = $tag)] pub $field: Option<$inner>,] $($rest)*);
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: many<$inner:ty> = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(message, repeated, tag = $tag)] pub $field: Vec<$inner>,] $($rest)*);
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: text_map = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(map = "string, string", tag = $tag)] pub $field: HashMap<String, String>,] $($rest)*);
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: bytes_map = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(map = "string, bytes", tag = $tag)] pub $field: HashMap<String, Vec<u8>>,] $($rest)*);
    };
    (@struct $name:ident [$($done:tt)*] $field:ident: quantities = $tag:literal, $($rest:tt)*) => {
        messages!(@struct $name [$($done)* #[prost(map = "string, message", tag = $tag)] pub $field: HashMap<String, Quantity>,] $($rest)*);
    };
}

messages! {
    Unknown { type_meta: one<TypeMeta> = 1, raw: bytes = 2, content_encoding: text = 3, content_type: text = 4 }
    TypeMeta { api_version: text = 1, kind: text = 2 }
    RawExtension { raw: bytes = 1 }
    WatchEvent { event: text = 1, object: one<RawExtension> = 2 }
    Time { seconds: int64 = 1, nanos: int32 = 2 }
    Quantity { text: text = 1 }
    IntOrString { kind: int64 = 1, int_val: int32 = 2, str_val: text = 3 }
    ListMeta { self_link: text = 1, resource_version: text = 2, continue_: text = 3, remaining: int64 = 4 }
    ObjectMeta {
        name: text = 1, generate_name: text = 2, namespace: text = 3, uid: text = 5, resource_version: text = 6,
        generation: int64 = 7, creation_timestamp: one<Time> = 8, deletion_timestamp: one<Time> = 9,
        labels: text_map = 11, annotations: text_map = 12, finalizers: texts = 14,
    }
    Status {
        metadata: one<ListMeta> = 1, status: text = 2, message: text = 3, reason: text = 4, details: one<StatusDetails> = 5,
        code: int32 = 6,
    }
    StatusDetails { name: text = 1, group: text = 2, kind: text = 3, causes: many<StatusCause> = 4, retry: int32 = 5, uid: text = 6 }
    StatusCause { reason: text = 1, message: text = 2, field: text = 3 }
    DeleteOptions {
        grace_period_seconds: int64 = 1, preconditions: one<Preconditions> = 2, orphan: truth = 3, propagation: text = 4,
        dry_run: texts = 5,
    }
    Preconditions { uid: text = 1, resource_version: text = 2 }
    PartialObjectMetadata { metadata: one<ObjectMeta> = 1 }
    PartialObjectMetadataList { metadata: one<ListMeta> = 1, items: many<PartialObjectMetadata> = 2 }
    ConfigMap { metadata: one<ObjectMeta> = 1, data: text_map = 2, binary_data: bytes_map = 3, immutable: truth = 4 }
    ConfigMapList { metadata: one<ListMeta> = 1, items: many<ConfigMap> = 2 }
    Pod { metadata: one<ObjectMeta> = 1, spec: one<PodSpec> = 2, status: one<PodStatus> = 3 }
    PodSpec {
        volumes: many<Volume> = 1, containers: many<Container> = 2, restart_policy: text = 3,
        termination_grace_period_seconds: int64 = 4, node_selector: text_map = 7, service_account_name: text = 8,
        host_network: truth = 11, priority: int32 = 25,
    }
    PodStatus { phase: text = 1, qos_class: text = 9 }
    Volume { name: text = 1, source: one<VolumeSource> = 2 }
    VolumeSource { host_path: one<HostPath> = 1, empty_dir: one<EmptyDir> = 2 }
    HostPath { path: text = 1 }
    EmptyDir { medium: text = 1, size_limit: one<Quantity> = 2 }
    Container {
        name: text = 1, image: text = 2, ports: many<ContainerPort> = 6, resources: one<ResourceRequirements> = 8,
        liveness_probe: one<Probe> = 10, stdin: truth = 16,
    }
    ContainerPort { name: text = 1, host_port: int32 = 2, container_port: int32 = 3, protocol: text = 4 }
    ResourceRequirements { limits: quantities = 1, requests: quantities = 2 }
    Probe { handler: one<ProbeHandler> = 1, initial_delay_seconds: int32 = 2, period_seconds: int32 = 4 }
    ProbeHandler { http_get: one<HttpGet> = 2 }
    HttpGet { path: text = 1, port: one<IntOrString> = 2, scheme: text = 4 }
    Deployment { metadata: one<ObjectMeta> = 1, spec: one<DeploymentSpec> = 2 }
    DeploymentSpec {
        replicas: int32 = 1, selector: one<LabelSelector> = 2, template: one<PodTemplate> = 3, strategy: one<Strategy> = 4,
    }
    LabelSelector { match_labels: text_map = 1 }
    PodTemplate { metadata: one<ObjectMeta> = 1, spec: one<PodSpec> = 2 }
    Strategy { kind: text = 1, rolling_update: one<RollingUpdate> = 2 }
    RollingUpdate { max_unavailable: one<IntOrString> = 1, max_surge: one<IntOrString> = 2 }
    Scale { metadata: one<ObjectMeta> = 1, spec: one<ScaleSpec> = 2, status: one<ScaleStatus> = 3 }
    ScaleSpec { replicas: int32 = 1 }
    ScaleStatus { replicas: int32 = 1, selector: text = 2 }
    ApiVersions { versions: texts = 1 }
    ApiGroupList { groups: many<ApiGroup> = 1 }
    ApiGroup { name: text = 1, versions: many<GroupVersion> = 2, preferred: one<GroupVersion> = 3 }
    GroupVersion { group_version: text = 1, version: text = 2 }
    ApiResourceList { group_version: text = 1, resources: many<ApiResource> = 2 }
    ApiResource {
        name: text = 1, namespaced: truth = 2, kind: text = 3, verbs: one<Verbs> = 4, short_names: texts = 5,
        singular_name: text = 6,
    }
    Verbs { items: texts = 1 }
    ApiGroupDiscoveryList { metadata: one<ListMeta> = 1, items: many<ApiGroupDiscovery> = 2 }
    ApiGroupDiscovery { metadata: one<ObjectMeta> = 1, versions: many<ApiVersionDiscovery> = 2 }
    ApiVersionDiscovery { version: text = 1, resources: many<ApiResourceDiscovery> = 2, freshness: text = 3 }
    ApiResourceDiscovery { resource: text = 1, scope: text = 3, singular: text = 4, verbs: texts = 5 }
}

/// A body as a Go client writes it.
pub fn enveloped(api_version: &str, kind: &str, message: &impl Message) -> Vec<u8> {
    let type_meta = TypeMeta { api_version: Some(api_version.to_owned()), kind: Some(kind.to_owned()) };
    let unknown = Unknown {
        type_meta: Some(type_meta),
        raw: Some(message.encode_to_vec()),
        content_encoding: Some(String::new()),
        content_type: Some(String::new()),
    };
    [b"k8s\0".to_vec(), unknown.encode_to_vec()].concat()
}

/// `apiVersion kind` of a body, and its message.
pub fn opened<M: Message + Default>(body: &[u8]) -> (String, M) {
    let unknown = Unknown::decode(body.strip_prefix(b"k8s\0").expect("the magic")).expect("an envelope");
    let meta = unknown.type_meta.expect("a type");
    let message = M::decode(&*unknown.raw.unwrap_or_default()).expect("a message");
    (format!("{} {}", meta.api_version.unwrap_or_default(), meta.kind.unwrap_or_default()), message)
}
