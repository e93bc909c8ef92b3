//! A container's environment: variables from all sources, `$(VAR)` expansion, service variables.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod, Service};

use crate::fields::{self, NodeResources};
use crate::objects::{ObjectError, Objects};

/// Why a container cannot be configured. The texts are upstream's: they are what `kubectl describe` shows.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    MissingKey { key: String, kind: &'static str, namespace: String, name: String },
    #[error(transparent)]
    Field(#[from] fields::FieldError),
}

/// Facts of the pod that variables may refer to.
pub struct Facts<'a> {
    pub pod: &'a Pod,
    pub pod_ips: &'a [String],
    pub host_ips: &'a [String],
    pub node: &'a NodeResources,
    /// Variables of the services that the pod sees.
    pub services: BTreeMap<String, String>,
}

/// The environment in order: `envFrom`, then `env`, then those service variables that nothing else has set.
pub async fn environment(
    container: &Container,
    facts: &Facts<'_>,
    objects: &Objects,
) -> Result<Vec<(String, String)>, EnvError> {
    let mut result = Environment::default();
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let mut values = BTreeMap::new();
        if let Some(reference) = &source.config_map_ref {
            let optional = reference.optional.unwrap_or(false);
            if let Some(map) = objects.config_map(namespace, &reference.name, optional).await? {
                values.extend(map.data.clone().unwrap_or_default());
            }
        }
        if let Some(reference) = &source.secret_ref {
            let optional = reference.optional.unwrap_or(false);
            if let Some(secret) = objects.secret(namespace, &reference.name, optional).await? {
                let data = secret.data.clone().unwrap_or_default();
                values.extend(data.into_iter().map(|(k, v)| (k, String::from_utf8_lossy(&v.0).into_owned())));
            }
        }
        for (key, value) in values {
            result.set(format!("{prefix}{key}"), value);
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(variable, container, facts, objects, &result).await? {
            result.set(variable.name.clone(), value);
        }
    }
    for (name, value) in &facts.services {
        if !result.index.contains_key(name) {
            result.set(name.clone(), value.clone());
        }
    }
    Ok(result.list)
}

#[derive(Default)]
struct Environment {
    list: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Environment {
    fn set(&mut self, name: String, value: String) {
        match self.index.get(&name).and_then(|at| self.list.get_mut(*at)) {
            Some(slot) => slot.1 = value,
            None => {
                self.index.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.index.get(name).and_then(|at| self.list.get(*at)).map(|(_, value)| value.as_str())
    }
}

/// `None` for a reference to an optional thing that is not there.
async fn value_of(
    variable: &EnvVar,
    container: &Container,
    facts: &Facts<'_>,
    objects: &Objects,
    so_far: &Environment,
) -> Result<Option<String>, EnvError> {
    if let Some(source) = &variable.value_from {
        return from_source(source, container, facts, objects).await;
    }
    let lookup = |name: &str| so_far.get(name).or(facts.services.get(name).map(String::as_str)).map(str::to_owned);
    Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), lookup)))
}

async fn from_source(
    source: &EnvVarSource,
    container: &Container,
    facts: &Facts<'_>,
    objects: &Objects,
) -> Result<Option<String>, EnvError> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return Ok(Some(fields::pod_field(facts.pod, &field.field_path, facts.pod_ips, facts.host_ips)?));
    }
    if let Some(resource) = &source.resource_field_ref {
        return Ok(Some(fields::resource_field(facts.pod, Some(container), resource, facts.node)?));
    }
    if let Some(reference) = &source.config_map_key_ref {
        let optional = reference.optional.unwrap_or(false);
        let map = objects.config_map(namespace, &reference.name, optional).await?;
        let value = map.as_ref().and_then(|m| m.data.as_ref()).and_then(|d| d.get(&reference.key)).cloned();
        return found_or(value, optional, &reference.key, "ConfigMap", namespace, &reference.name);
    }
    if let Some(reference) = &source.secret_key_ref {
        let optional = reference.optional.unwrap_or(false);
        let secret = objects.secret(namespace, &reference.name, optional).await?;
        let value = secret.as_ref().and_then(|s| s.data.as_ref()).and_then(|d| d.get(&reference.key));
        let value = value.map(|v| String::from_utf8_lossy(&v.0).into_owned());
        return found_or(value, optional, &reference.key, "Secret", namespace, &reference.name);
    }
    Ok(Some(String::new()))
}

fn found_or(
    value: Option<String>,
    optional: bool,
    key: &str,
    kind: &'static str,
    namespace: &str,
    name: &str,
) -> Result<Option<String>, EnvError> {
    if value.is_none() && !optional {
        let (key, namespace, name) = (key.to_owned(), namespace.to_owned(), name.to_owned());
        return Err(EnvError::MissingKey { key, kind, namespace, name });
    }
    Ok(value)
}

/// Replaces `$(NAME)` by the variable's value and `$$` by `$`; what names no variable stays as it is.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(stripped) = after.strip_prefix('$') {
            out.push('$');
            rest = stripped;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|a| a.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Variables for services as old links had them: `<NAME>_SERVICE_HOST`, `<NAME>_SERVICE_PORT`, `<NAME>_PORT_…`.
pub fn service_variables<'a>(services: impl Iterator<Item = &'a Service>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let ip = spec.cluster_ip.as_deref().unwrap_or_default();
        if ip.is_empty() || ip == "None" {
            continue;
        }
        let name = service.metadata.name.as_deref().unwrap_or_default().to_uppercase().replace('-', "_");
        let ports = spec.ports.as_deref().unwrap_or_default();
        all.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        for (at, port) in ports.iter().enumerate() {
            let number = port.port;
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let url = format!("{}://{host}:{number}", protocol.to_lowercase());
            if at == 0 {
                all.insert(format!("{name}_SERVICE_PORT"), number.to_string());
                all.insert(format!("{name}_PORT"), url.clone());
            }
            if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
                let port_name = port_name.to_uppercase().replace('-', "_");
                all.insert(format!("{name}_SERVICE_PORT_{port_name}"), number.to_string());
            }
            let prefix = format!("{name}_PORT_{number}_{}", protocol.to_uppercase());
            all.insert(prefix.clone(), url);
            all.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
            all.insert(format!("{prefix}_PORT"), number.to_string());
            all.insert(format!("{prefix}_ADDR"), ip.to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expansion_follows_upstreams_table() {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "B" => Some("$(A)".to_owned()),
            _ => None,
        };
        let cases = [
            ("$(A)", "1"),
            ("x$(A)y", "x1y"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(C)", "$(C)"),
            ("$(B)", "$(A)"),
            ("$", "$"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$$$$", "$$"),
            ("a$(A)$(A)", "a11"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }

    #[test]
    fn services_become_variables() {
        let service = json!({"metadata": {"name": "my-db"}, "spec": {"clusterIP": "10.43.0.5",
            "ports": [{"name": "pg", "port": 5432, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}});
        let headless = json!({"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}});
        let services: Vec<Service> =
            [service, headless].into_iter().map(|s| serde_json::from_value(s).expect("a service")).collect();
        let all = service_variables(services.iter());
        assert_eq!(all.get("MY_DB_SERVICE_HOST").map(String::as_str), Some("10.43.0.5"));
        assert_eq!(all.get("MY_DB_SERVICE_PORT_PG").map(String::as_str), Some("5432"));
        assert_eq!(all.get("MY_DB_PORT").map(String::as_str), Some("tcp://10.43.0.5:5432"));
        assert_eq!(all.get("MY_DB_PORT_53_UDP").map(String::as_str), Some("udp://10.43.0.5:53"));
        assert!(!all.keys().any(|k| k.starts_with("H_")));
    }
}
