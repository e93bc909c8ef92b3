//! What can be cached, and where the server serves it.

use std::fmt;

use compact_str::CompactString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;

/// Namespace (empty for cluster-scoped objects) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub namespace: CompactString,
    pub name: CompactString,
}

impl ObjectKey {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub fn of<T: Cached>(object: &T) -> Self {
        Self::new(object.namespace(), object.name())
    }
}

/// `namespace/name`, or `name` alone where there is no namespace.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object that an informer can hold.
///
/// Every k8s-openapi kind is one already. For kinds that come by the 100,000 write a slim struct with just the fields
/// that the loop reads (unknown fields are skipped while parsing) and implement this by [`cached!`](crate::cached!); it
/// must keep the resourceVersion, by which a relist finds out what changed.
pub trait Cached: DeserializeOwned + Send + Sync + 'static {
    /// API group, empty for the core group.
    const GROUP: &'static str;
    const VERSION: &'static str;
    /// The resource name in URLs, e.g. `pods`.
    const PLURAL: &'static str;
    /// The media type to ask for. `application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1` lists metadata alone
    /// (see [`METADATA_ONLY`](Source::METADATA_ONLY)).
    const ACCEPT: &'static str = "application/json";

    /// Empty for cluster-scoped objects.
    fn namespace(&self) -> &str;
    fn name(&self) -> &str;
    fn resource_version(&self) -> &str;
    /// Drops `metadata.managedFields`, which take more room than the rest of many objects. The server takes an object that
    /// comes back without them as one whose owners did not change.
    fn forget_owners(&mut self) {}
}

/// Implements [`Cached`] for a slim struct that has text fields `namespace`, `name` and `resource_version`, itself or
/// (after `at`) in a field: `cached!(Service, "", "v1", "services", at metadata)`.
#[macro_export]
macro_rules! cached {
    ($type:ty, $group:literal, $version:literal, $plural:literal $(, at $metadata:ident)?) => {
        impl $crate::Cached for $type {
            const GROUP: &'static str = $group;
            const VERSION: &'static str = $version;
            const PLURAL: &'static str = $plural;

            fn namespace(&self) -> &str {
                &self$(.$metadata)?.namespace
            }
            fn name(&self) -> &str {
                &self$(.$metadata)?.name
            }
            fn resource_version(&self) -> &str {
                &self$(.$metadata)?.resource_version
            }
        }
    };
}

impl<K> Cached for K
where
    K: k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
{
    const GROUP: &'static str = <K as k8s_openapi::Resource>::GROUP;
    const VERSION: &'static str = <K as k8s_openapi::Resource>::VERSION;
    const PLURAL: &'static str = <K as k8s_openapi::Resource>::URL_PATH_SEGMENT;

    fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or("")
    }
    fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or("")
    }
    fn resource_version(&self) -> &str {
        self.metadata().resource_version.as_deref().unwrap_or("")
    }
    fn forget_owners(&mut self) {
        self.metadata_mut().managed_fields = None;
    }
}

/// Which objects of a kind: all, those of one namespace, or those that selectors match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    pub namespace: Option<String>,
    pub field_selector: Option<String>,
    pub label_selector: Option<String>,
}

impl Scope {
    /// Every object of the kind in the cluster.
    pub fn all() -> Self {
        Self::default()
    }

    pub fn namespace(namespace: &str) -> Self {
        Self { namespace: Some(namespace.into()), ..Self::default() }
    }

    /// One object by name; an empty namespace stands for a cluster-scoped kind.
    pub fn object(namespace: &str, name: &str) -> Self {
        let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
        Self { namespace, field_selector: Some(format!("metadata.name={name}")), label_selector: None }
    }

    #[must_use]
    pub fn fields(mut self, selector: &str) -> Self {
        self.field_selector = Some(selector.into());
        self
    }

    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        self.label_selector = Some(selector.into());
        self
    }
}

/// What a reflector lists and watches: a collection's path, selectors and the media type to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The collection's path, e.g. `/apis/apps/v1/namespaces/default/deployments`.
    pub path: String,
    pub field_selector: Option<String>,
    pub label_selector: Option<String>,
    pub accept: String,
}

impl Source {
    /// Asks for `metadata` of each object and nothing else.
    pub const METADATA_ONLY: &'static str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    /// The list form of [`Self::METADATA_ONLY`] comes first, then the plain one for servers that know neither.
    const METADATA_LIST: &'static str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                                         application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

    pub fn of<T: Cached>(scope: &Scope) -> Self {
        let mut source = Self::at(T::GROUP, T::VERSION, T::PLURAL, scope.namespace.as_deref());
        source.field_selector.clone_from(&scope.field_selector);
        source.label_selector.clone_from(&scope.label_selector);
        source.accept = T::ACCEPT.into();
        source
    }

    /// The collection of a resource that is known only at run time (discovery).
    pub fn at(group: &str, version: &str, plural: &str, namespace: Option<&str>) -> Self {
        let mut path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        if let Some(namespace) = namespace {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(plural);
        Self { path, field_selector: None, label_selector: None, accept: "application/json".into() }
    }

    #[must_use]
    pub fn metadata_only(mut self) -> Self {
        self.accept = Self::METADATA_ONLY.into();
        self
    }

    pub(crate) fn list_accept(&self) -> &str {
        if self.accept == Self::METADATA_ONLY { Self::METADATA_LIST } else { &self.accept }
    }

    /// The path with its query; `extra` are more parameters, whose values are encoded here.
    pub(crate) fn uri(&self, extra: &[(&str, &str)]) -> String {
        let mut uri = self.path.clone();
        let mut separator = '?';
        let selectors = [("fieldSelector", &self.field_selector), ("labelSelector", &self.label_selector)];
        let selectors = selectors.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        for (name, value) in selectors.chain(extra.iter().copied()) {
            uri.push(separator);
            uri.push_str(name);
            uri.push('=');
            percent_encode(value, &mut uri);
            separator = '&';
        }
        uri
    }
}

/// Appends `text`, with every byte that is not unreserved in RFC 3986 written as `%XX`.
fn percent_encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
            continue;
        }
        out.push('%');
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    #[test]
    fn paths_and_queries() {
        let all = Source::of::<Pod>(&Scope::all());
        assert_eq!(all.uri(&[]), "/api/v1/pods");
        let scope = Scope::namespace("default").fields("spec.nodeName=a b").labels("a in (b,c)");
        assert_eq!(
            Source::of::<Deployment>(&scope).uri(&[("limit", "500")]),
            "/apis/apps/v1/namespaces/default/deployments?fieldSelector=spec.nodeName%3Da%20b\
             &labelSelector=a%20in%20%28b%2Cc%29&limit=500"
        );
    }

    #[test]
    fn typed_objects_forget_their_owners() {
        let text = r#"{"metadata":{"name":"m","resourceVersion":"3","managedFields":[{"manager":"a","fieldsV1":{"f:data":{}}}]},
            "data":{"k":"v"}}"#;
        let mut map: k8s_openapi::api::core::v1::ConfigMap = serde_json::from_str(text).unwrap();
        assert!(map.metadata.managed_fields.is_some());
        map.forget_owners();
        assert_eq!((&map.metadata.managed_fields, map.resource_version()), (&None, "3"));
        assert!(map.data.is_some());
    }
}
