//! Who may save and delete snapshots.

use apimachinery::UserInfo;
use serde_json::json;

use crate::support::Api;

const PATH: &str = "/v1-coracle/snapshots";

#[tokio::test]
async fn snapshots_are_for_administrators() {
    let api = Api::start().await;
    let request = json!({ "name": "before-upgrade", "retention": 2 });
    assert_eq!(api.get(PATH).await.expect(200)["kind"], "list");
    assert_eq!(api.post(PATH, &request).await.expect(200)["name"], "before-upgrade");
    assert_eq!(api.send_json("DELETE", PATH, &request).await.expect(200)["retention"], 2);
    assert_eq!(api.delete(&format!("{PATH}/x-n-1")).await.expect(200)["name"], "x-n-1");
    assert_eq!(api.get(&format!("{PATH}/x-n-1")).await.code, 405);
    assert_eq!(api.get(&format!("{PATH}/a/b")).await.code, 404);

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
