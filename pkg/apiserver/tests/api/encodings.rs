//! Protobuf as Go clients speak it, with messages that know nothing of our table; media types; bodies that cannot be read.

use std::collections::HashMap;

use http_body_util::{BodyExt as _, Full};
use prost::Message;
use serde_json::json;

use crate::messages::*;
use crate::support::{Answer, Api, MAPS, PATIENCE, config_map};

pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn named(name: &str) -> Option<ObjectMeta> {
    Some(ObjectMeta { name: some(name), ..ObjectMeta::default() })
}

/// Sends and accepts nothing but protobuf.
pub async fn ask(api: &Api, method: &str, path: &str, body: Vec<u8>) -> Answer {
    let request = api.request(method, path).header("accept", PROTOBUF).header("content-type", PROTOBUF);
    api.ask(request.body(Full::new(body.into())).unwrap()).await
}

/// The message of an answer, if its code and kind are the expected ones.
#[track_caller]
pub fn message<M: Message + Default>(answer: &Answer, code: u16, kind: &str) -> M {
    assert_eq!(answer.code, code, "{}", String::from_utf8_lossy(&answer.bytes));
    assert_eq!(answer.headers["content-type"], PROTOBUF);
    let (named, message) = opened(&answer.bytes);
    assert_eq!(named, kind);
    message
}

/// The events of a watch in frames.
struct Frames {
    body: apiserver::ResponseBody,
    rest: Vec<u8>,
}

impl Frames {
    async fn open(api: &Api, path: &str, accept: &str) -> Self {
        let request = api.request("GET", path).header("accept", accept).body(Full::default()).unwrap();
        let response = api.send(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event: its type, `apiVersion kind`, and the object.
    async fn next<M: Message + Default>(&mut self) -> (String, String, M) {
        loop {
            if let Some((length, rest)) = self.rest.split_first_chunk::<4>()
                && let Some(frame) = rest.get(..u32::from_be_bytes(*length) as usize)
            {
                let event = WatchEvent::decode(frame).unwrap();
                self.rest.drain(..4 + frame.len());
                let (kind, object) = opened(&event.object.unwrap().raw.unwrap());
                return (event.event.unwrap(), kind, object);
            }
            let data = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("an event in time");
            self.rest.extend_from_slice(&data.expect("more events").unwrap().into_data().unwrap());
        }
    }
}

pub fn pod(name: &str) -> Pod {
    let port = ContainerPort { container_port: Some(80), host_port: Some(0), ..ContainerPort::default() };
    let port_of_probe = IntOrString { kind: Some(1), int_val: Some(0), str_val: some("http") };
    let get = HttpGet { path: some("/"), port: Some(port_of_probe), ..HttpGet::default() };
    let container = Container {
        name: some("main"),
        image: some("web"),
        ports: vec![ContainerPort { name: some("http"), ..port }],
        resources: Some(ResourceRequirements {
            limits: [("memory".to_owned(), Quantity { text: some("1024Mi") })].into(),
            requests: HashMap::new(),
        }),
        liveness_probe: Some(Probe { handler: Some(ProbeHandler { http_get: Some(get) }), ..Probe::default() }),
        // Go writes every value, also zero ones.
        stdin: Some(false),
    };
    let empty_dir = EmptyDir { medium: some(""), size_limit: None };
    let source = VolumeSource { host_path: None, empty_dir: Some(empty_dir) };
    let spec = PodSpec {
        volumes: vec![Volume { name: some("cache"), source: Some(source) }],
        containers: vec![container],
        host_network: Some(false),
        restart_policy: some(""),
        termination_grace_period_seconds: Some(0),
        ..PodSpec::default()
    };
    let metadata = ObjectMeta { creation_timestamp: Some(Time::default()), ..named(name).unwrap() };
    Pod { metadata: Some(metadata), spec: Some(spec), status: Some(PodStatus { phase: some(""), qos_class: some("") }) }
}

#[tokio::test]
async fn a_client_that_speaks_only_protobuf_creates_reads_lists_and_deletes() {
    let api = Api::start().await;
    let created: Pod = message(&ask(&api, "POST", PODS, enveloped("v1", "Pod", &pod("a"))).await, 201, "v1 Pod");
    let metadata = created.metadata.unwrap();
    assert!(metadata.uid.is_some() && metadata.creation_timestamp.unwrap().seconds > Some(1_600_000_000));
    let spec = created.spec.unwrap();
    assert_eq!((spec.restart_policy.as_deref(), spec.termination_grace_period_seconds), (Some("Always"), Some(0)));
    assert_eq!(spec.volumes[0].source.as_ref().unwrap().empty_dir, Some(EmptyDir::default()));
    let container = &spec.containers[0];
    assert_eq!(container.resources.as_ref().unwrap().limits["memory"].text.as_deref(), Some("1Gi"));
    let probe = container.liveness_probe.as_ref().unwrap();
    assert_eq!(probe.period_seconds, Some(10), "defaults are set as after JSON");
    let port = probe.handler.as_ref().unwrap().http_get.as_ref().unwrap().port.as_ref().unwrap();
    assert_eq!(port, &IntOrString { kind: Some(1), int_val: Some(0), str_val: some("http") });

    let in_json = api.get(&format!("{PODS}/a")).await.expect(200);
    assert_eq!(
        in_json["spec"]["containers"][0]["ports"],
        json!([{"containerPort": 80, "name": "http", "protocol": "TCP"}])
    );
    assert_eq!(in_json["metadata"]["uid"], metadata.uid.clone().unwrap());
    let got: Pod = message(&ask(&api, "GET", &format!("{PODS}/a"), Vec::new()).await, 200, "v1 Pod");
    assert_eq!(got.metadata.unwrap().resource_version, metadata.resource_version);

    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: some("other"), resource_version: None }),
        ..DeleteOptions::default()
    };
    let path = format!("{PODS}/a");
    let refused = ask(&api, "DELETE", &path, enveloped("v1", "DeleteOptions", &options)).await;
    let status: Status = message(&refused, 409, "v1 Status");
    assert_eq!(status.reason.as_deref(), Some("Conflict"));
    let options = DeleteOptions { preconditions: None, ..options };
    let gone: Pod = message(
        &ask(&api, "DELETE", &path, enveloped("meta.k8s.io/v1", "DeleteOptions", &options)).await,
        200,
        "v1 Pod",
    );
    assert_eq!(gone.metadata.unwrap().name.as_deref(), Some("a"));
}

#[tokio::test]
async fn lists_are_spliced_of_the_objects_messages() {
    let api = Api::start().await;
    for i in 0..5 {
        api.post(MAPS, &config_map(&format!("m{i}"), &"x".repeat(i * 100))).await.expect(201);
    }
    // Twice: the second list is of messages that were kept.
    for _ in 0..2 {
        let list: ConfigMapList = message(&ask(&api, "GET", MAPS, Vec::new()).await, 200, "v1 ConfigMapList");
        assert_eq!(list.items.iter().filter(|map| map.data.contains_key("key")).count(), 5);
        assert_eq!(list.items.last().unwrap().data["key"].len(), 400);
        assert!(list.metadata.unwrap().resource_version.is_some());
    }
    let page: ConfigMapList =
        message(&ask(&api, "GET", &format!("{MAPS}?limit=2"), Vec::new()).await, 200, "v1 ConfigMapList");
    assert_eq!(page.items.len(), 2);
    assert!(page.metadata.unwrap().continue_.is_some());
    // A change is seen, whatever was kept.
    api.merge(&format!("{MAPS}/m0"), &json!({"data": {"key": "new"}})).await.expect(200);
    let map: ConfigMap = message(&ask(&api, "GET", &format!("{MAPS}/m0"), Vec::new()).await, 200, "v1 ConfigMap");
    assert_eq!(map.data["key"], "new");
}

#[tokio::test]
async fn every_resource_is_listed_in_protobuf() {
    let api = Api::start().await;
    let mut count = 0;
    for row in apis::all().iter().filter(|row| row.verbs.contains("list")) {
        for version in row.versions {
            let path =
                if row.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{}/{version}", row.group) };
            let answer = ask(&api, "GET", &format!("{path}/{}", row.plural), Vec::new()).await;
            assert_eq!(answer.code, 200, "{path} {}: {}", row.plural, String::from_utf8_lossy(&answer.bytes));
            let (kind, list) = opened::<PartialObjectMetadataList>(&answer.bytes);
            assert!(kind.ends_with(&format!(" {}List", row.kind)), "{kind}");
            let in_json = api.get(&format!("{path}/{}", row.plural)).await.expect(200);
            assert_eq!(list.items.len(), in_json["items"].as_array().unwrap().len(), "{kind}");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

#[tokio::test]
async fn watches_are_streams_of_frames() {
    let api = Api::start().await;
    let path = format!(
        "{MAPS}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&labelSelector=a%3Db"
    );
    let accept = "application/vnd.kubernetes.protobuf;stream=watch";
    let mut frames = Frames::open(&api, &path, accept).await;
    let (event, kind, bookmark) = frames.next::<ConfigMap>().await;
    assert_eq!((&*event, &*kind), ("BOOKMARK", "v1 ConfigMap"));
    assert_eq!(bookmark.metadata.unwrap().annotations["k8s.io/initial-events-end"], "true");
    let mut map = config_map("a", "1");
    map["metadata"]["labels"] = json!({"a": "b"});
    api.post(MAPS, &map).await.expect(201);
    api.merge(&format!("{MAPS}/a"), &json!({"data": {"key": "2"}})).await.expect(200);
    let left = api.merge(&format!("{MAPS}/a"), &json!({"metadata": {"labels": null}})).await.expect(200);
    for (want, value) in [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")] {
        let (event, kind, object) = frames.next::<ConfigMap>().await;
        assert_eq!((&*event, &*kind, &*object.data["key"]), (want, "v1 ConfigMap", value));
        if want == "DELETED" {
            let version = object.metadata.unwrap().resource_version.unwrap();
            assert_eq!(left["metadata"]["resourceVersion"], version, "it left by the change of that revision");
        }
    }
    let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let mut frames = Frames::open(&api, &format!("{MAPS}?watch=1"), partial).await;
    let (event, kind, object) = frames.next::<PartialObjectMetadata>().await;
    assert_eq!((&*event, &*kind), ("ADDED", "meta.k8s.io/v1 PartialObjectMetadata"));
    assert!(object.metadata.unwrap().name.is_some());
}

#[tokio::test]
async fn a_watch_from_a_lost_revision_ends_with_a_status_in_a_frame() {
    let api = Api::start_with(|store| store.history_bytes_max = 64 << 10).await;
    for i in 0..200 {
        api.post(MAPS, &config_map(&format!("m{i}"), "x")).await.expect(201);
    }
    let mut frames = Frames::open(&api, &format!("{MAPS}?watch=1&resourceVersion=1"), PROTOBUF).await;
    let (event, kind, status) = frames.next::<Status>().await;
    assert_eq!((&*event, &*kind, status.code), ("ERROR", "v1 Status", Some(410)));
    assert_eq!(status.reason.as_deref(), Some("Expired"));
}

#[tokio::test]
async fn refusals_are_in_the_clients_encoding() {
    let api = Api::start().await;
    let status: Status = message(&ask(&api, "GET", &format!("{MAPS}/none"), Vec::new()).await, 404, "v1 Status");
    assert_eq!(status.message.as_deref(), Some("configmaps \"none\" not found"));
    let details = status.details.unwrap();
    assert_eq!((details.name.as_deref(), details.kind.as_deref()), (Some("none"), Some("configmaps")));
    let bad = ConfigMap { metadata: named("Not_A_Name"), ..ConfigMap::default() };
    let refused = ask(&api, "POST", MAPS, enveloped("v1", "ConfigMap", &bad)).await;
    let status: Status = message(&refused, 422, "v1 Status");
    assert_eq!(status.details.unwrap().causes[0].field.as_deref(), Some("metadata.name"));
    assert_eq!(
        api.as_user(apimachinery::UserInfo::new("bob", [])).get_as(MAPS, PROTOBUF).await.headers["content-type"],
        PROTOBUF
    );
    // In YAML, too; and what cannot be agreed on is refused in JSON.
    let yaml = api.get_as(&format!("{MAPS}/none"), "application/yaml").await;
    assert_eq!((yaml.code, &yaml.headers["content-type"]), (404, &"application/yaml".parse().unwrap()));
    for accept in ["application/cbor", "image/png"] {
        let text = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        assert_eq!(api.get_as(MAPS, accept).await.refused(406), text);
    }
    let text = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    assert_eq!(api.get_as(&format!("{MAPS}?watch=1"), "application/cbor-seq").await.refused(406), text);
    assert_eq!(api.get_as(&format!("{MAPS}?watch=1"), "application/yaml").await.code, 406);
}

#[tokio::test]
async fn partial_objects_have_messages_and_tables_have_none() {
    let api = Api::start().await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let one = format!("{MAPS}/a");
    let accept = |kind: &str| format!("application/vnd.kubernetes.protobuf;as={kind};g=meta.k8s.io;v=v1");
    let answer = api.get_as(&one, &accept("PartialObjectMetadata")).await;
    let partial: PartialObjectMetadata = message(&answer, 200, "meta.k8s.io/v1 PartialObjectMetadata");
    assert_eq!(partial.metadata.unwrap().name.as_deref(), Some("a"));
    let answer = api.get_as(MAPS, &accept("PartialObjectMetadataList")).await;
    let list: PartialObjectMetadataList = message(&answer, 200, "meta.k8s.io/v1 PartialObjectMetadataList");
    assert!(list.items.iter().any(|item| item.metadata.as_ref().unwrap().name.as_deref() == Some("a")));
    assert_eq!(api.get_as(&one, &accept("Table")).await.code, 406);
    let fallback = format!("{},application/json;as=Table;g=meta.k8s.io;v=v1beta1", accept("Table"));
    let table = api.get_as(MAPS, &fallback).await.expect(200);
    assert_eq!(table["apiVersion"], "meta.k8s.io/v1beta1");
    let text = "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)";
    assert_eq!(
        api.get_as(MAPS, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").await.refused(406),
        text
    );
    let text = "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)";
    assert_eq!(
        api.get_as(&one, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await.refused(406),
        text
    );
}

#[tokio::test]
async fn subresources_and_reviews_answer_in_protobuf() {
    let api = Api::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let labels: HashMap<String, String> = [("app".to_owned(), "web".to_owned())].into();
    let template = PodTemplate {
        metadata: Some(ObjectMeta { labels: labels.clone(), ..ObjectMeta::default() }),
        spec: pod("x").spec.map(|spec| PodSpec { termination_grace_period_seconds: None, ..spec }),
    };
    let spec = DeploymentSpec {
        replicas: Some(0),
        selector: Some(LabelSelector { match_labels: labels }),
        template: Some(template),
        strategy: Some(Strategy { kind: some(""), rolling_update: None }),
    };
    let deployment = Deployment { metadata: named("web"), spec: Some(spec) };
    let created = ask(&api, "POST", path, enveloped("apps/v1", "Deployment", &deployment)).await;
    let created: Deployment = message(&created, 201, "apps/v1 Deployment");
    let spec = created.spec.unwrap();
    assert_eq!(spec.replicas, Some(0), "a zero that is given is kept");
    let surge = spec.strategy.unwrap().rolling_update.unwrap().max_surge.unwrap();
    assert_eq!((surge.kind, surge.str_val.as_deref()), (Some(1), Some("25%")));
    let scale: Scale =
        message(&ask(&api, "GET", &format!("{path}/web/scale"), Vec::new()).await, 200, "autoscaling/v1 Scale");
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("app=web"));
    let review = Scale { metadata: None, spec: None, status: None };
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = ask(&api, "POST", reviews, enveloped("authentication.k8s.io/v1", "SelfSubjectReview", &review)).await;
    message::<PartialObjectMetadata>(&answer, 201, "authentication.k8s.io/v1 SelfSubjectReview");
    // A kind whose numbers come from another module.
    let services = ask(&api, "GET", "/apis/apiregistration.k8s.io/v1/apiservices", Vec::new()).await;
    message::<PartialObjectMetadataList>(&services, 200, "apiregistration.k8s.io/v1 APIServiceList");
}

#[tokio::test]
async fn large_answers_are_compressed_in_both_encodings() {
    let api = Api::start().await;
    let small = api.request("GET", MAPS).header("accept-encoding", "gzip").body(Full::default()).unwrap();
    assert!(!api.ask(small).await.headers.contains_key("content-encoding"));
    for i in 0..3 {
        api.post(MAPS, &config_map(&format!("big{i}"), &"x".repeat(60_000))).await.expect(201);
    }
    for accept in ["application/json", PROTOBUF] {
        let request = api.request("GET", MAPS).header("accept", accept).header("accept-encoding", "gzip");
        let answer = api.ask(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.headers["content-encoding"], "gzip", "{accept}");
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*answer.bytes), &mut plain).unwrap();
        assert_eq!(plain, api.get_as(MAPS, accept).await.bytes, "{accept}");
        assert!(plain.len() > 180_000);
    }
}
