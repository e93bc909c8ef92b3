//! Who may save and delete snapshots.

use apimachinery::UserInfo;
use serde_json::json;

use crate::support::{Api, Events};

const PATH: &str = "/v1-coracle/snapshots";

#[tokio::test]
async fn snapshots_are_for_administrators() {
    let api = Api::start().await;
    let request = json!({ "name": "before-upgrade", "retention": 2 });
    assert_eq!(api.get(PATH).await.expect(200)["kind"], "list");
    assert_eq!(api.send_json("DELETE", PATH, &request).await.expect(200)["retention"], 2);
    assert_eq!(api.delete(&format!("{PATH}/x-n-1")).await.expect(200)["name"], "x-n-1");
    assert_eq!(api.get(&format!("{PATH}/x-n-1")).await.code, 405);
    assert_eq!(api.get(&format!("{PATH}/a/b")).await.code, 404);

    let asked = api.request("POST", PATH).body(request.to_string().into()).unwrap();
    let mut lines = Events::of(api.send(asked).await);
    assert_eq!(lines.next().await.unwrap()["progress"], 1);
    assert_eq!(lines.next().await.unwrap()["name"], "before-upgrade");
    assert!(lines.next().await.is_none());

    let others = [
        UserInfo::anonymous(),
        UserInfo::new("coracle:server", ["system:authenticated"]),
        UserInfo::new("system:node:n", ["system:nodes", "system:authenticated"]),
        UserInfo::new("system:kube-controller-manager", ["system:authenticated"]),
    ];
    for user in others {
        let other = api.as_user(user.clone());
        assert_eq!(other.get(PATH).await.code, 403, "{user:?}");
        assert_eq!(other.post(PATH, &request).await.code, 403, "{user:?}");
        assert_eq!(other.delete(&format!("{PATH}/x-n-1")).await.code, 403, "{user:?}");
    }
}

#[tokio::test]
async fn saving_takes_as_long_as_it_does_and_tells_what_went_wrong_at_the_end() {
    let api = Api::start().await;
    let path = format!("{PATH}?timeout=1ms");
    for (name, expected) in [("nightly", "saved"), ("full-disk", "Status")] {
        let asked = api.request("POST", &path).body(json!({ "name": name }).to_string().into()).unwrap();
        let mut lines = Events::of(api.send(asked).await);
        assert_eq!(lines.next().await.unwrap()["progress"], 1, "{name}");
        assert_eq!(lines.next().await.unwrap()["kind"], expected, "{name}");
    }
    let asked = api.request("POST", PATH).body(json!({ "name": "late" }).to_string().into()).unwrap();
    let mut lines = Events::of(api.send(asked).await);
    api.shutdown.trigger();
    while let Some(line) = lines.next().await {
        assert_ne!(line["kind"], "saved", "a server that ends waits for no snapshot");
    }
}
