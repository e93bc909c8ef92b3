//! Methods where they do not belong, and options that cannot be read.

use serde_json::json;

use crate::support::{Api, MAPS, config_map};

#[tokio::test]
async fn methods_are_refused_where_they_do_not_belong() {
    let api = Api::start().await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let one = format!("{MAPS}/a");
    for (method, path, code) in [
        ("POST", one.clone(), 405),
        ("PUT", MAPS.to_owned(), 405),
        ("PATCH", MAPS.to_owned(), 405),
        ("POST", format!("{MAPS}?dryRun=Some"), 422),
        ("POST", format!("{one}?dryRun=Some"), 405),
        ("DELETE", "/api/v1/componentstatuses/etcd-0".to_owned(), 405),
        ("GET", "/apis/authorization.k8s.io/v1/subjectaccessreviews".to_owned(), 405),
        ("GET", "/api/v1/namespaces/default/pods/a/eviction".to_owned(), 405),
        ("GET", "/api/v1/namespaces/default/pods/a/status/more".to_owned(), 404),
        ("PUT", "/api/v1/namespaces/default/pods/a/nonsense".to_owned(), 404),
        ("POST", "/api/v1/namespaces/default".to_owned(), 405),
    ] {
        let answer = api.send_json(method, &path, &config_map("a", "1")).await;
        assert_eq!(answer.code, code, "{method} {path}: {answer:?}");
        assert_eq!(answer.json()["kind"], "Status", "{method} {path}");
    }
}

#[tokio::test]
async fn options_of_a_deletion_that_cannot_be_read_keep_the_object() {
    let api = Api::start().await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let number = "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64";
    let truth = "json: cannot unmarshal string into Go struct field DeleteOptions.orphanDependents of type bool";
    for path in [format!("{MAPS}/a"), MAPS.to_owned()] {
        for (body, want) in [
            ("{", "couldn't get version/kind; json parse error: unexpected end of JSON input"),
            (r#"{"gracePeriodSeconds":"5"}"#, number),
            (r#"{"orphanDependents":"true"}"#, truth),
        ] {
            let text = api.send_bytes("DELETE", &path, "application/json", body).await.refused(400);
            assert_eq!(text, want, "{path} {body}");
        }
        let text = api.send_bytes("DELETE", &path, "text/plain", "{}").await.refused(415);
        assert!(text.starts_with("the body of the request was in an unknown format"), "{text}");
    }
    assert_eq!(api.get(&format!("{MAPS}/a")).await.code, 200);
    let longer = json!({ "gracePeriodSeconds": -1, "unknown": 1 });
    assert_eq!(api.send_json("DELETE", &format!("{MAPS}/a"), &longer).await.code, 200);
}
