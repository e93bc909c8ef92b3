//! What the server serves: the preferred version of each resource, asked for when it is needed.

use std::collections::HashMap;

use client::Client;
use http::Request;
use serde::Deserialize;

use crate::skeleton::{Error, is_not_found};

/// One resource in its group's preferred version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

impl Resource {
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// The path of the collection, in a namespace if the resource has them and one is given.
    pub fn path(&self, namespace: &str) -> String {
        let namespace = (self.namespaced && !namespace.is_empty()).then_some(namespace);
        client::Source::at(&self.group, &self.version, &self.plural, namespace).path
    }
}

/// Resources, and groups that could not be asked.
#[derive(Debug, Default)]
pub struct Discovered {
    pub resources: Vec<Resource>,
    /// Group versions and what went wrong with each.
    pub failed: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct GroupList {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    #[serde(default)]
    versions: Vec<Version>,
    preferred_version: Option<Version>,
}

#[derive(Clone, Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

/// Asks for everything that is served. Fails only if not even the list of groups is to be had.
pub async fn discover(client: &Client) -> Result<Discovered, Error> {
    let mut found = Discovered::default();
    // Where a resource is in several versions of its group, the first seen is the preferred one.
    let mut seen: HashMap<(String, String), ()> = HashMap::new();
    let groups: GroupList = get(client, "/apis").await?;
    let core = Group { name: String::new(), versions: vec![Version { version: "v1".into() }], preferred_version: None };
    for group in std::iter::once(core).chain(groups.groups) {
        let mut versions: Vec<String> = group.preferred_version.iter().map(|v| v.version.clone()).collect();
        for version in group.versions {
            if !versions.contains(&version.version) {
                versions.push(version.version);
            }
        }
        for version in versions {
            let path = if group.name.is_empty() {
                format!("/api/{version}")
            } else {
                format!("/apis/{}/{version}", group.name)
            };
            let list: ResourceList = match get(client, &path).await {
                Ok(list) => list,
                // Went away between the two questions.
                Err(Error::Client(error)) if is_not_found(&error) => continue,
                Err(error) => {
                    found.failed.push((format!("{}/{version}", group.name), error.to_string()));
                    continue;
                }
            };
            for entry in list.resources.into_iter().filter(|entry| !entry.name.contains('/')) {
                if seen.insert((group.name.clone(), entry.name.clone()), ()).is_none() {
                    found.resources.push(Resource {
                        group: group.name.clone(),
                        version: version.clone(),
                        plural: entry.name,
                        kind: entry.kind,
                        namespaced: entry.namespaced,
                        verbs: entry.verbs,
                    });
                }
            }
        }
    }
    Ok(found)
}

async fn get<T: serde::de::DeserializeOwned>(client: &Client, path: &str) -> Result<T, Error> {
    let request = Request::get(path).header("accept", "application/json").body(Vec::new());
    Ok(client.request(request.map_err(kube::Error::HttpError)?).await?)
}
