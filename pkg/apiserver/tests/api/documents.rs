//! Discovery and OpenAPI in all their encodings.

use http_body_util::Full;

use crate::encodings::{PROTOBUF, ask, message};
use crate::messages::*;
use crate::support::Api;

#[tokio::test]
async fn discovery_answers_in_protobuf() {
    let api = Api::start().await;
    let versions: ApiVersions = message(&ask(&api, "GET", "/api", Vec::new()).await, 200, " APIVersions");
    assert_eq!(versions.versions, ["v1"]);
    let groups: ApiGroupList = message(&ask(&api, "GET", "/apis", Vec::new()).await, 200, "v1 APIGroupList");
    let apps = groups.groups.iter().find(|group| group.name.as_deref() == Some("apps")).unwrap();
    assert_eq!(apps.preferred.as_ref().unwrap().group_version.as_deref(), Some("apps/v1"));
    let list: ApiResourceList = message(&ask(&api, "GET", "/api/v1", Vec::new()).await, 200, "v1 APIResourceList");
    let pods = list.resources.iter().find(|resource| resource.name.as_deref() == Some("pods")).unwrap();
    assert_eq!((pods.namespaced, pods.kind.as_deref()), (Some(true), Some("Pod")));
    assert!(pods.verbs.as_ref().unwrap().items.contains(&"watch".to_owned()));
    let form = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let answer = api.get_as("/apis", &format!("{PROTOBUF};{form}")).await;
    assert_eq!(answer.headers["content-type"], format!("{PROTOBUF};{form}"));
    let (kind, aggregated) = opened::<ApiGroupDiscoveryList>(&answer.bytes);
    assert_eq!(kind, "apidiscovery.k8s.io/v2 APIGroupDiscoveryList");
    let is_apps = |group: &&ApiGroupDiscovery| group.metadata.as_ref().unwrap().name.as_deref() == Some("apps");
    let apps = aggregated.items.iter().find(is_apps).unwrap();
    assert!(apps.versions[0].resources.iter().any(|resource| resource.resource.as_deref() == Some("deployments")));
    let in_json = api.get_as("/apis", &format!("application/json;{form}")).await;
    assert_eq!(in_json.headers["etag"], answer.headers["etag"]);
    // The first entry that can be served decides; the beta form is gone.
    let plain = api.get_as("/apis", &format!("application/json,application/json;{form}")).await.expect(200);
    assert_eq!(plain["kind"], "APIGroupList");
    let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
    assert_eq!(api.get_as("/apis", beta).await.expect(200)["kind"], "APIGroupList");
}

#[tokio::test]
async fn documents_can_be_kept_by_their_hash() {
    let api = Api::start().await;
    let index = api.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let protobuf = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";
    for (accept, kind) in [("application/json", "application/json"), (protobuf, protobuf), ("*/*", "application/json")]
    {
        let document = api.get_as(&url, accept).await;
        assert_eq!((document.code, document.headers["content-type"].to_str().unwrap()), (200, kind));
        assert_eq!(document.headers["cache-control"], "public, immutable");
        assert!(document.headers["expires"].to_str().unwrap().ends_with(" GMT"));
        assert_eq!(document.headers["vary"], "Accept");
        let again =
            api.request("GET", &url).header("accept", accept).header("if-none-match", &document.headers["etag"]);
        assert_eq!(api.ask(again.body(Full::default()).unwrap()).await.code, 304);
    }
    // Field 1 of the document, a string: the version of OpenAPI.
    assert_eq!(&api.get_as(&url, protobuf).await.bytes[..7], b"\x0a\x053.0.0");
    let stale = api.get("/openapi/v3/apis/apps/v1?hash=0").await;
    assert_eq!((stale.code, stale.headers["location"].to_str().unwrap()), (301, &*url));
    let bare = api.get("/openapi/v3/apis/apps/v1").await;
    assert_ne!(bare.headers["cache-control"], "public, immutable");
    assert_eq!(api.get_as("/openapi/v3/apis/apps/v1", "image/png").await.code, 406);
    assert_eq!(api.get("/openapi/v3/apis/none/v1").await.code, 404);
}
