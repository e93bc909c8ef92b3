//! Addresses of Services over the real store: each is an IPAddress object, whatever happens to the Services.
#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiResult, UserInfo};
use futures::future::join_all;
use registry::{Call, Change, DeleteOptions, NoAdmission, Registry, ServiceOptions};
use serde_json::{Value, json};

struct World {
    _directory: tempfile::TempDir,
    store: storage::Storage,
    registry: Arc<Registry>,
    user: UserInfo,
}

impl World {
    /// A server with room for a few addresses.
    async fn new(prefix_length: u8) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = storage::Storage::open(storage::Config::new(directory.path().join("db"))).await.unwrap();
        let services = ServiceOptions {
            network: Ipv4Addr::new(10, 43, 0, 0),
            prefix_length,
            reserved: vec![Ipv4Addr::new(10, 43, 0, 3)],
            ..ServiceOptions::default()
        };
        let options = registry::Options { storage: store.clone(), resources: apis::all(), services };
        let registry = Registry::new(options).unwrap();
        Self { _directory: directory, store, registry, user: UserInfo::new("test", []) }
    }

    fn call<'c>(&'c self, plural: &str, name: &'c str) -> Call<'c> {
        let group = if matches!(plural, "ipaddresses" | "servicecidrs") { "networking.k8s.io" } else { "" };
        let found = self.registry.rows().newest(group, plural).unwrap();
        Call {
            resource: found.resource,
            version: found.version,
            subresource: "",
            namespace: if found.resource.namespaced { "default" } else { "" },
            name,
            user: &self.user,
            field_manager: "test",
            dry_run: false,
            admission: &NoAdmission,
            warnings: std::sync::Mutex::default(),
        }
    }

    async fn create(&self, plural: &str, object: Value) -> ApiResult<Value> {
        let body = self.registry.create(&self.call(plural, ""), object).await?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    async fn service(&self, name: &str, address: &str) -> ApiResult<String> {
        let made = self.create("services", service(name, address)).await?;
        Ok(made.str_at("spec/clusterIP").to_owned())
    }

    async fn set(&self, plural: &str, name: &str, set: impl Fn(&mut Value) + Send + Sync) -> ApiResult<()> {
        let patch = |mut object: Value| {
            set(&mut object);
            Ok(object)
        };
        self.registry.update(&self.call(plural, name), Change::Patch(&patch)).await.map(drop)
    }

    async fn delete(&self, plural: &str, name: &str) {
        self.registry.delete(&self.call(plural, name), &DeleteOptions::default()).await.unwrap();
    }

    async fn range(&self, name: &str, cidr: &str) {
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": { "name": name },
            "spec": { "cidrs": [cidr] },
        });
        self.create("servicecidrs", object).await.unwrap();
    }

    /// Says that an address is a Service's, as a server of long ago would have.
    async fn claim(&self, address: &str, service: &str, managed: bool) {
        let mut object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": { "name": address },
            "spec": { "parentRef": { "resource": "services", "namespace": "default", "name": service } },
        });
        object["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z".into();
        if managed {
            object["metadata"]["labels"] = labels();
        }
        let object = storage::NewObject::encode(&object, storage::Attributes::default());
        self.store.create(&format!("/registry/networking.k8s.io/ipaddresses/{address}"), object).await.unwrap();
    }

    /// Who has which address.
    fn addresses(&self) -> BTreeMap<String, String> {
        let all = self.registry.read_all("networking.k8s.io", "ipaddresses", "");
        let all = all.iter().map(|stored| stored.decode());
        all.map(|object| (object.name().to_owned(), object.str_at("spec/parentRef/name").to_owned())).collect()
    }

    /// Reason, action and text of the Events about an object.
    fn events(&self) -> Vec<String> {
        let all = self.registry.read_all("", "events", "");
        let all = all.iter().map(|stored| stored.decode());
        let text = |event: Value| {
            let about = format!("{}/{}", event.str_at("involvedObject/kind"), event.str_at("involvedObject/name"));
            format!("{about} {} {}: {}", event.str_at("reason"), event.str_at("action"), event.str_at("message"))
        };
        let mut all: Vec<String> = all.map(text).collect();
        all.sort();
        all
    }

    async fn repaired(&self) -> Vec<String> {
        self.registry.repair_service_addresses().await.unwrap();
        self.events()
    }
}

fn service(name: &str, address: &str) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": { "ports": [{ "port": 80 }] },
    });
    if !address.is_empty() {
        object["spec"]["clusterIP"] = address.into();
    }
    object
}

fn labels() -> Value {
    json!({
        "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    })
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(address, name)| ((*address).to_owned(), (*name).to_owned())).collect()
}

#[tokio::test]
async fn an_address_is_an_object_for_as_long_as_a_service_has_it() {
    let world = World::new(24).await;
    world.service("a", "10.43.0.7").await.unwrap();
    let object = world.registry.read("networking.k8s.io", "ipaddresses", "", "10.43.0.7").unwrap();
    assert_eq!(object["metadata"]["labels"], labels());
    assert_eq!(object["spec"]["parentRef"], json!({ "resource": "services", "namespace": "default", "name": "a" }));
    assert!(!object.uid().is_empty() && !object.meta_str("creationTimestamp").is_empty(), "{object}");

    world.set("services", "a", |a| a["metadata"]["labels"] = json!({ "x": "y" })).await.unwrap();
    assert_eq!(world.addresses(), map(&[("10.43.0.7", "a")]));
    let external = |a: &mut Value| {
        a["spec"] = json!({ "type": "ExternalName", "externalName": "example.com" });
    };
    world.set("services", "a", external).await.unwrap();
    assert_eq!(world.addresses(), map(&[]));
    let again = |a: &mut Value| a["spec"] = json!({ "clusterIP": "10.43.0.8", "ports": [{ "port": 80 }] });
    world.set("services", "a", again).await.unwrap();
    assert_eq!(world.addresses(), map(&[("10.43.0.8", "a")]));
    world.delete("services", "a").await;
    assert_eq!(world.addresses(), map(&[]));
}

#[tokio::test]
async fn a_write_that_fails_or_only_tries_takes_no_address() {
    let world = World::new(24).await;
    world.service("a", "").await.unwrap();
    let before = world.addresses();
    let refused = world.service("a", "").await.unwrap_err();
    assert_eq!(refused.reason(), "AlreadyExists");
    let ports = json!([{ "port": 80, "nodePort": 80 }]);
    let mut bad = service("b", "");
    bad["spec"]["type"] = "NodePort".into();
    bad["spec"]["ports"] = ports;
    assert_eq!(world.create("services", bad).await.unwrap_err().reason(), "Invalid");
    let dry = Call { dry_run: true, ..world.call("services", "") };
    world.registry.create(&dry, service("c", "")).await.unwrap();
    world.registry.create(&dry, service("c", "10.43.0.9")).await.unwrap();
    let (taken, _) = before.first_key_value().unwrap();
    assert_eq!(world.registry.create(&dry, service("c", taken)).await.unwrap_err().reason(), "Invalid");
    assert_eq!(world.addresses(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_share_a_range_and_then_it_is_full() {
    let world = World::new(28).await;
    // 14 hosts, of which one is only for those who ask for it.
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    let made = join_all(names.iter().map(|name| world.service(name, ""))).await;
    let (given, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((given.len(), refused.len(), world.addresses().len()), (13, 7, 13));
    for error in refused {
        let message = error.unwrap_err().message().to_owned();
        assert!(message.ends_with("spec.clusterIPs: Internal error: failed to allocate a serviceIP: range is full"));
    }
    assert_eq!(world.service("dns", "10.43.0.3").await.unwrap(), "10.43.0.3");

    world.range("more", "10.44.0.0/30").await;
    let mut more = vec![world.service("m1", "").await.unwrap(), world.service("m2", "").await.unwrap()];
    more.sort();
    assert_eq!(more, ["10.44.0.1", "10.44.0.2"]);
}

#[tokio::test]
async fn addresses_come_out_of_ready_ranges_alone() {
    let world = World::new(24).await;
    world.range("kubernetes", "10.43.0.0/24").await;
    world.range("six", "fd00:43::/112").await;
    world.range("later", "10.45.0.0/24").await;
    let status = |status: &'static str| {
        move |cidr: &mut Value| {
            cidr["status"]["conditions"] = json!([{
                "type": "Ready", "status": status, "reason": "x", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]);
        }
    };
    let set_ready = async |value: &'static str| {
        let set = status(value);
        let patch = |mut object: Value| {
            set(&mut object);
            Ok(object)
        };
        let call = Call { subresource: "status", ..world.call("servicecidrs", "later") };
        world.registry.update(&call, Change::Patch(&patch)).await.unwrap();
    };
    set_ready("False").await;
    let why = |address: &str, why: &str| {
        format!("spec.clusterIPs: Invalid value: [\"{address}\"]: failed to allocate IP {address}: {why}")
    };
    let mismatch = "the provided network does not match the current range";
    for (address, text) in [
        ("10.43.0.0", mismatch),
        ("10.43.0.255", mismatch),
        ("10.44.0.1", mismatch),
        ("10.45.0.1", mismatch),
        ("fd00:43::1", "no IPv6 addresses are served"),
    ] {
        let error = world.service("a", address).await.unwrap_err();
        assert!(error.message().ends_with(&why(address, text)), "{}", error.message());
    }
    set_ready("True").await;
    world.service("a", "10.45.0.1").await.unwrap();
    let error = world.service("b", "10.45.0.1").await.unwrap_err();
    assert!(error.message().ends_with(&why("10.45.0.1", "provided IP is already allocated")), "{}", error.message());
    // What somebody made by hand is taken, too.
    world.claim("10.45.0.2", "gateway", false).await;
    assert!(world.service("b", "10.45.0.2").await.is_err());
}

#[tokio::test]
async fn missing_wrong_and_leaked_addresses_are_repaired_and_told() {
    let world = World::new(24).await;
    for (name, address) in [("a", "10.43.0.7"), ("b", "10.43.0.8"), ("c", "10.43.0.9")] {
        world.service(name, address).await.unwrap();
    }
    let good = world.addresses();
    assert_eq!(world.repaired().await, [] as [&str; 0]);

    world.delete("ipaddresses", "10.43.0.7").await;
    world.delete("ipaddresses", "10.43.0.8").await;
    world.delete("ipaddresses", "10.43.0.9").await;
    world.claim("10.43.0.8", "gone", true).await;
    world.claim("10.43.0.9", "c", false).await;
    world.claim("10.43.0.20", "gone", true).await;
    world.claim("10.43.0.21", "a", true).await;
    world.claim("10.43.0.22", "gateway", false).await;
    let told = world.repaired().await;
    let mut good_and_foreign = good.clone();
    good_and_foreign.insert("10.43.0.22".to_owned(), "gateway".to_owned());
    assert_eq!(world.addresses(), good_and_foreign);
    for address in good.keys() {
        let object = world.registry.read("networking.k8s.io", "ipaddresses", "", address).unwrap();
        assert_eq!(object["metadata"]["labels"], labels(), "{address}");
    }
    assert_eq!(
        told,
        [
            "IPAddress/10.43.0.20 IPAddressNotAllocated IPAddressAllocation: IPAddress: 10.43.0.20 for Service \
             default/gone appears to have leaked: cleaning up",
            "IPAddress/10.43.0.21 IPAddressWrongReference IPAddressAllocation: IPAddress: 10.43.0.21 for Service \
             default/a has a wrong reference; cleaning up",
            "Service/a ClusterIPNotAllocated ClusterIPAllocation: Cluster IP [IPv4]: 10.43.0.7 is not allocated; repairing",
            "Service/b ClusterIPNotAllocated ClusterIPAllocation: the ClusterIP [IPv4]: 10.43.0.8 for Service default/b \
             has a wrong reference; repairing",
        ]
    );
    assert_eq!(world.repaired().await, told, "there is nothing left to repair");
}

#[tokio::test]
async fn conflicts_are_told_and_left_to_people() {
    let world = World::new(24).await;
    world.service("a", "10.43.0.7").await.unwrap();
    for (name, address) in [("twin", "10.43.0.7"), ("stray", "192.0.2.1")] {
        let mut object = service(name, address);
        object["metadata"]["namespace"] = "default".into();
        object["spec"]["clusterIPs"] = json!([address]);
        let object = storage::NewObject::encode(&object, storage::Attributes::default());
        world.store.create(&format!("/registry/core/services/default/{name}"), object).await.unwrap();
    }
    assert_eq!(
        world.repaired().await,
        [
            "Service/stray ClusterIPOutOfRange ClusterIPAllocation: Cluster IP [IPv4]: 192.0.2.1 is not within any \
             configured Service CIDR; please recreate service",
            "Service/twin ClusterIPAlreadyAllocated ClusterIPAllocation: Cluster IP [IPv4]:10.43.0.7 was assigned to \
             multiple services; please recreate service",
        ]
    );
    assert_eq!(world.addresses(), map(&[("10.43.0.7", "a")]));
    // The one that goes does not take the other's address with it.
    world.delete("services", "twin").await;
    assert_eq!(world.addresses(), map(&[("10.43.0.7", "a")]));
}

#[tokio::test]
async fn an_address_just_written_is_given_time_to_find_its_service() {
    let world = World::new(24).await;
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": { "name": "10.43.0.20", "labels": labels() },
        "spec": { "parentRef": { "resource": "services", "namespace": "default", "name": "soon" } },
    });
    world.create("ipaddresses", object).await.unwrap();
    assert_eq!(world.repaired().await, [] as [&str; 0]);
    assert_eq!(world.addresses(), map(&[("10.43.0.20", "soon")]));
}

#[tokio::test]
async fn an_address_is_owned_by_the_server_that_made_it() {
    let world = World::new(24).await;
    let address = world.service("a", "").await.unwrap();
    let made = world.registry.read("networking.k8s.io", "ipaddresses", "", &address).unwrap();
    let mut owners = made["metadata"]["managedFields"].clone();
    let time = owners[0].as_object_mut().unwrap().remove("time").unwrap();
    assert_eq!(time, made["metadata"]["creationTimestamp"]);
    let want = json!([{
        "manager": "kube-apiserver", "operation": "Update", "apiVersion": "networking.k8s.io/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": { "f:labels": {
                ".": {}, "f:ipaddress.kubernetes.io/ip-family": {}, "f:ipaddress.kubernetes.io/managed-by": {},
            } },
            "f:spec": { "f:parentRef": { ".": {}, "f:name": {}, "f:namespace": {}, "f:resource": {} } },
        },
    }]);
    assert_eq!(owners, want);
}
