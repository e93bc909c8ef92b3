//! Walking a pod so that nothing is left out: init, plain and ephemeral containers alike.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

/// The metadata and spec that are judged, of a pod or of a template.
pub struct Pod<'a> {
    pub metadata: &'a Value,
    pub spec: &'a Value,
}

impl<'a> Pod<'a> {
    /// Every container with its name.
    pub fn containers(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| spec.array_at(list))
            .map(|container| (container.str_at("name"), container))
    }

    pub fn volumes(&self) -> &'a [Value] {
        self.spec.array_at("volumes")
    }

    /// A field of the pod's own security context.
    pub fn context(&self, path: &str) -> Option<&'a Value> {
        present(self.spec.at(&format!("securityContext/{path}")))
    }

    pub fn is_windows(&self) -> bool {
        self.spec.str_at("os/name") == "windows"
    }
}

/// A field of a container's security context.
pub fn context<'a>(container: &'a Value, path: &str) -> Option<&'a Value> {
    present(container.at(&format!("securityContext/{path}")))
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|v| !v.is_null())
}

/// `container "a"` or `containers "a", "b"`.
pub fn containers(names: &[&str]) -> String {
    let plural = if names.len() == 1 { "container" } else { "containers" };
    format!("{plural} {}", quoted(names))
}

/// `"a", "b"`
pub fn quoted(texts: &[&str]) -> String {
    texts.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join(", ")
}

/// The singular or the plural form.
pub fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}
