//! ResourceQuota with several servers: each has an admission of its own, and all share the store.

use std::sync::{Arc, Mutex};

use admission::{Chain, Config};
use apimachinery::{ApiResult, UserInfo};
use apiserver::ChainHook;
use apiserver::reader::{AdmissionReader, Permissions};
use auth::authz::PrivilegedGroups;
use registry::{Call, NoAdmission, Registry, ServiceOptions};
use serde_json::{Value, json};

const LIMIT: usize = 10;

/// A server, as far as writes go.
struct Writer {
    registry: Arc<Registry>,
    admission: ChainHook,
}

impl Writer {
    fn new(storage: storage::Storage) -> Self {
        let options = registry::Options { storage, resources: apis::all(), services: ServiceOptions::default() };
        let registry = Registry::new(options).unwrap();
        let chain = Chain::new(Config {
            reader: Arc::new(AdmissionReader::new(registry.clone())),
            authorizer: Arc::new(Permissions(Arc::new(PrivilegedGroups::default()))),
            disabled: Vec::new(),
        });
        Self { registry, admission: ChainHook::new(Arc::new(chain)) }
    }

    async fn create(&self, plural: &str, namespace: &str, object: Value) -> ApiResult<()> {
        let found = self.registry.rows().newest("", plural).unwrap();
        let unchecked = namespace.is_empty() || plural == "resourcequotas";
        let call = Call {
            resource: found.resource,
            version: found.version,
            subresource: "",
            namespace,
            name: "",
            user: &UserInfo::new("bob", []),
            field_manager: "test",
            dry_run: false,
            admission: if unchecked { &NoAdmission } else { &self.admission },
            warnings: Mutex::default(),
        };
        self.registry.create(&call, object).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_cannot_exceed_a_quota_together() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage::Storage::open(storage::Config::new(dir.path().join("db"))).await.unwrap();
    let servers = [Writer::new(storage.clone()), Writer::new(storage)].map(Arc::new);
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "ns" } });
    servers[0].create("namespaces", "", namespace).await.unwrap();
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "q" },
        "spec": { "hard": { "configmaps": LIMIT.to_string() } },
    });
    servers[0].create("resourcequotas", "ns", quota).await.unwrap();
    let tasks = (0..8 * LIMIT).map(|i| {
        let server = servers[i % 2].clone();
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("c{i}") } });
        tokio::spawn(async move { server.create("configmaps", "ns", map).await })
    });
    for outcome in futures::future::join_all(tasks).await {
        let refused = outcome.unwrap().err();
        assert!(refused.is_none_or(|error| error.message().contains("exceeded quota: q")));
    }
    let registry = &servers[1].registry;
    let quota = registry.read("", "resourcequotas", "ns", "q").unwrap();
    assert_eq!(quota["status"]["used"]["configmaps"], LIMIT.to_string());
    assert_eq!(registry.read_all("", "configmaps", "ns").len(), LIMIT);
}
