//! Paths of the registry's rows.

use std::collections::BTreeMap;

use apis::resource::{Resource, Subresource};
use serde_json::{Map, Value, json};

use crate::definitions::Definitions;
use crate::operations::{
    Subject, connect_parameter, list_parameters, name, namespace, path_parameter, pretty, resources_operation,
};

/// Options of each connection.
const CONNECT: &[(&str, &[&str])] = &[
    ("attach", &["container", "stderr", "stdin", "stdout", "tty"]),
    ("exec", &["command", "container", "stderr", "stdin", "stdout", "tty"]),
    ("portforward", &["ports"]),
    ("proxy", &["path"]),
];
const LOG: &[&str] = &[
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "stream",
    "tailLines",
    "timestamps",
];

/// `apps/v1` → `AppsV1`, `rbac.authorization.k8s.io/v1` → `RbacAuthorizationV1`, as operation ids have it.
fn id_prefix(group: &str, version: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.trim_end_matches(".k8s.io") };
    format!("{}{}", group.split('.').map(capital).collect::<String>(), capital(version))
}

/// `core_v1`, `rbacAuthorization_v1`.
fn tag(group: &str, version: &str) -> String {
    let prefix = id_prefix(group, "");
    let mut letters = prefix.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase()).into_iter();
    format!("{}_{version}", first.chain(letters).collect::<String>())
}

/// The word with its first letter in upper case.
pub fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn root_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// Served group versions in discovery's order.
pub fn group_versions() -> Vec<(String, String)> {
    let mut seen = Vec::new();
    for row in apis::all() {
        for version in row.versions {
            let gv = (row.group.to_owned(), (*version).to_owned());
            if !seen.contains(&gv) {
                seen.push(gv);
            }
        }
    }
    seen
}

/// All paths of one group version.
pub fn of_group_version(definitions: &Definitions, group: &str, version: &str) -> Map<String, Value> {
    let kinds: BTreeMap<(&str, &str, &str), &str> =
        definitions.roots.iter().map(|r| ((&*r.group, &*r.version, &*r.kind), &*r.definition)).collect();
    let maker = Maker { kinds, prefix: id_prefix(group, version), tag: tag(group, version), group, version };
    let mut paths = Map::new();
    let id = format!("get{}APIResources", maker.prefix);
    paths.insert(format!("{}/", root_path(group, version)), json!({"get": resources_operation(&maker.tag, &id)}));
    for row in apis::all().iter().filter(|r| r.group == group && r.versions.contains(&version)) {
        maker.resource(row, &mut paths);
    }
    paths
}

struct Maker<'a> {
    kinds: BTreeMap<(&'a str, &'a str, &'a str), &'a str>,
    prefix: String,
    tag: String,
    group: &'a str,
    version: &'a str,
}

impl<'a> Maker<'a> {
    fn subject(&'a self, gvk: (&'a str, &'a str, &'a str)) -> Option<Subject<'a>> {
        let definition = self.kinds.get(&gvk).copied()?;
        Some(Subject { tag: &self.tag, gvk, definition, kind: gvk.2 })
    }

    fn resource(&self, row: &Resource, paths: &mut Map<String, Value>) {
        let root = root_path(self.group, self.version);
        let Some(subject) = self.subject((self.group, self.version, row.kind)) else { return };
        let (scope, scoped) = if row.namespaced { ("Namespaced", "/namespaces/{namespace}") } else { ("", "") };
        let collection = format!("{root}{scoped}/{}", row.plural);
        let id = |verb: &str, between: &str| format!("{verb}{}{between}{scope}{}", self.prefix, row.kind);
        let has = |verb: &str| row.verbs.contains(verb);
        let mut shared = vec![pretty()];
        if row.namespaced {
            shared.insert(0, namespace());
        }
        if row.namespaced && has("list") {
            let everywhere = format!("list{}{}ForAllNamespaces", self.prefix, row.kind);
            let mut parameters = list_parameters(true);
            parameters.push(pretty());
            let item = json!({"get": subject.list(&everywhere, Vec::new()), "parameters": parameters});
            paths.insert(format!("{root}/{}", row.plural), item);
        }
        let mut item = Map::new();
        put(&mut item, "get", has("list").then(|| subject.list(&id("list", ""), list_parameters(true))));
        put(&mut item, "post", has("create").then(|| subject.create(&id("create", ""))));
        let collected = || subject.delete_collection(&id("delete", "Collection"));
        put(&mut item, "delete", has("deletecollection").then(collected));
        insert(paths, &collection, item, &shared);

        let mut item = Map::new();
        put(&mut item, "get", has("get").then(|| subject.get(&id("read", ""))));
        put(&mut item, "put", has("update").then(|| subject.put(&id("replace", ""))));
        put(&mut item, "patch", has("patch").then(|| subject.patch(&id("patch", ""))));
        put(&mut item, "delete", has("delete").then(|| subject.delete(&id("delete", ""))));
        shared.insert(0, name(row.kind));
        insert(paths, &format!("{collection}/{{name}}"), item, &shared);
        for sub in row.subresources {
            let path = format!("{collection}/{{name}}/{}", sub.name);
            self.subresource(row, sub, subject, &path, &shared, paths);
        }
    }

    fn subresource(
        &self,
        row: &Resource,
        sub: &Subresource,
        parent: Subject<'_>,
        path: &str,
        shared: &[Value],
        paths: &mut Map<String, Value>,
    ) {
        let scope = if row.namespaced { "Namespaced" } else { "" };
        let suffix = format!("{scope}{}{}", row.kind, capital(sub.name));
        let id = |verb: &str| format!("{verb}{}{suffix}", self.prefix);
        let mut item = Map::new();
        if sub.name == "log" {
            let parameters = LOG.iter().map(|p| connect_parameter(p)).collect();
            put(&mut item, "get", Some(parent.log(&id("read"), parameters)));
            return insert(paths, path, item, shared);
        }
        if let Some((_, options)) = CONNECT.iter().find(|(name, _)| *name == sub.name) {
            return self.connections(row, sub, parent, (path, &suffix), options, shared, paths);
        }
        let own = sub.kind.and_then(|gvk| self.subject(gvk));
        let subject = own.unwrap_or(parent);
        let has = |verb: &str| sub.verbs.contains(verb);
        put(&mut item, "get", has("get").then(|| subject.get(&id("read"))));
        put(&mut item, "put", has("update").then(|| subject.put(&id("replace"))));
        put(&mut item, "patch", has("patch").then(|| subject.patch(&id("patch"))));
        put(&mut item, "post", has("create").then(|| subject.create(&id("create"))));
        put(&mut item, "delete", has("delete").then(|| subject.delete(&id("delete"))));
        insert(paths, path, item, shared);
    }

    fn connections(
        &self,
        row: &Resource,
        sub: &Subresource,
        parent: Subject<'_>,
        (path, suffix): (&str, &str),
        options: &[&str],
        shared: &[Value],
        paths: &mut Map<String, Value>,
    ) {
        // The body is a stream: the kind only names the options.
        let kind = sub.kind.map_or_else(|| format!("{}{}Options", row.kind, capital(sub.name)), |k| k.2.to_owned());
        let subject = Subject { gvk: ("", "v1", &kind), kind: suffix, ..parent };
        let mut parameters = shared.to_vec();
        parameters.retain(|p| p["name"] != "pretty");
        parameters.extend(options.iter().map(|p| connect_parameter(p)));
        let methods: &[&str] = if sub.name == "proxy" {
            &["delete", "get", "head", "options", "patch", "post", "put"]
        } else {
            &["get", "post"]
        };
        let all = |ending: &str| -> Map<String, Value> {
            let one = |m: &&str| {
                let id = format!("connect{}{}{suffix}{ending}", self.prefix, capital(m));
                ((*m).to_owned(), subject.connect(&id, m))
            };
            methods.iter().map(one).collect()
        };
        insert(paths, path, all(""), &parameters);
        if sub.name == "proxy" {
            parameters.push(path_parameter());
            insert(paths, &format!("{path}/{{path}}"), all("WithPath"), &parameters);
        }
    }
}

fn put(item: &mut Map<String, Value>, method: &str, operation: Option<Value>) {
    if let Some(operation) = operation {
        item.insert(method.to_owned(), operation);
    }
}

fn insert(paths: &mut Map<String, Value>, path: &str, mut item: Map<String, Value>, parameters: &[Value]) {
    if !item.is_empty() {
        item.insert("parameters".to_owned(), parameters.to_vec().into());
        paths.insert(path.to_owned(), item.into());
    }
}
