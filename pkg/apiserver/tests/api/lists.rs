//! Lists: pages at one revision, selectors, revisions.

use apimachinery::meta::ObjectExt as _;
use serde_json::{Value, json};

use crate::support::{Api, MAPS, config_map, parsed, parsed_at_rest};

fn names(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item.name().to_owned()).collect()
}

#[tokio::test]
async fn pages_are_of_one_revision_whatever_is_written_meanwhile() {
    let api = Api::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        api.post(MAPS, &config_map(name, "1")).await.expect(201);
    }
    let first = api.get(&format!("{MAPS}?limit=2")).await.expect(200);
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    assert_eq!((&first["kind"], &first["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    api.post(MAPS, &config_map("bb", "1")).await.expect(201);
    api.delete(&format!("{MAPS}/d")).await.expect(200);
    let next = |page: &Value| format!("{MAPS}?limit=2&continue={}", page["metadata"]["continue"].as_str().unwrap());
    let second = api.get(&next(&first)).await.expect(200);
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let third = api.get(&next(&second)).await.expect(200);
    assert_eq!(names(&third), ["e"]);
    assert_eq!(third["metadata"].get("continue"), None);
    assert_eq!(third["metadata"].get("remainingItemCount"), None);
    assert_eq!(api.get(&format!("{MAPS}?continue=rubbish")).await.code, 400);
    let both = format!("{}&resourceVersion=5", next(&first));
    let text = "specifying resource version is not allowed when using continue";
    assert_eq!(api.get(&both).await.refused(400), text);
}

#[tokio::test]
async fn reading_parses_nothing() {
    let api = Api::start().await;
    for name in ["a", "b", "c"] {
        api.post(MAPS, &config_map(name, "1")).await.expect(201);
    }
    let before = parsed_at_rest().await;
    let protobuf = "application/vnd.kubernetes.protobuf";
    assert_eq!(api.get_as(&format!("{MAPS}/a"), protobuf).await.code, 200);
    let once = parsed();
    assert_eq!(once, before + 1, "the first reader of another encoding has it made");
    for _ in 0..10 {
        api.get(&format!("{MAPS}/a")).await.expect(200);
        assert_eq!(names(&api.get(MAPS).await.expect(200)), ["a", "b", "c"]);
        assert_eq!(names(&api.get(&format!("{MAPS}?limit=2")).await.expect(200)), ["a", "b"]);
        let chosen = format!("{MAPS}?labelSelector=x!%3Dy&fieldSelector=metadata.name!%3Db");
        assert_eq!(names(&api.get(&chosen).await.expect(200)), ["a", "c"]);
        assert_eq!(api.get_as(&format!("{MAPS}/a"), protobuf).await.code, 200);
    }
    assert_eq!(parsed(), once);
}

#[tokio::test]
async fn selectors_choose_by_labels_and_fields() {
    let api = Api::start().await;
    for (name, tier) in [("a", "web"), ("b", "db"), ("c", "web")] {
        let mut object = config_map(name, "1");
        object["metadata"]["labels"] = json!({ "tier": tier });
        api.post(MAPS, &object).await.expect(201);
    }
    for (query, want) in [
        ("labelSelector=tier%3Dweb", vec!["a", "c"]),
        ("labelSelector=tier+notin+(web)", vec!["b"]),
        ("labelSelector=none", vec![]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=metadata.name!%3Db&labelSelector=tier", vec!["a", "c"]),
        ("fieldSelector=metadata.namespace%3Dother", vec![]),
        ("fieldSelector=metadata.name%3Db&labelSelector=tier%3Dweb", vec![]),
    ] {
        let list = api.get(&format!("/api/v1/namespaces/default/configmaps?{query}")).await.expect(200);
        assert_eq!(names(&list), want, "{query}");
    }
    assert_eq!(api.get(&format!("{MAPS}?labelSelector=a%3D%3D%3Db")).await.code, 400);
    let everywhere = api.get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault").await.expect(200);
    assert_eq!(names(&everywhere), ["a", "b", "c"]);
}

#[tokio::test]
async fn revisions_of_lists_are_honoured() {
    let api = Api::start().await;
    let created = api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let version = created.resource_version().to_owned();
    api.post(MAPS, &config_map("b", "1")).await.expect(201);
    let exact = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    let list = api.get(&exact).await.expect(200);
    assert_eq!(
        (names(&list), list["metadata"]["resourceVersion"].as_str().unwrap()),
        (vec!["a".to_owned()], &*version)
    );
    let not_older = api.get(&format!("{MAPS}?resourceVersion={version}")).await.expect(200);
    assert_eq!(names(&not_older), ["a", "b"]);
    let future = api.get(&format!("{MAPS}?resourceVersion=99999999")).await;
    assert_eq!(future.headers["retry-after"], "1");
    let future = future.expect(504);
    assert_eq!(future["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    for query in
        ["resourceVersionMatch=Exact", "resourceVersion=0&resourceVersionMatch=Exact", "resourceVersionMatch=Odd"]
    {
        assert_eq!(api.get(&format!("{MAPS}?{query}")).await.code, 422, "{query}");
    }
    assert_eq!(api.get(&format!("{MAPS}?resourceVersion=x")).await.code, 400);
    assert_eq!(api.get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact")).await.code, 200);
}

#[tokio::test]
async fn large_lists_are_sent_in_pieces_and_compressed() {
    let api = Api::start().await;
    let filler = "x".repeat(20_000);
    for index in 0..30 {
        api.post(MAPS, &config_map(&format!("m{index:02}"), &filler)).await.expect(201);
    }
    let list = api.get(MAPS).await.expect(200);
    assert_eq!(names(&list).len(), 30);
    let request = api.request("GET", MAPS).header("accept-encoding", "gzip").body(Default::default()).unwrap();
    let zipped = api.ask(request).await;
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    assert!(zipped.bytes.len() < 50_000);
    let plain: Value = serde_json::from_reader(flate2::read::GzDecoder::new(&*zipped.bytes)).unwrap();
    assert_eq!(plain["items"], list["items"]);
}

#[tokio::test]
async fn what_is_too_old_is_gone_and_says_how_to_go_on() {
    let api = Api::start_with(|store| store.history_bytes_max = 64 << 10).await;
    for name in ["a", "b", "c"] {
        api.post(MAPS, &config_map(name, "1")).await.expect(201);
    }
    let first = api.get(&format!("{MAPS}?limit=1")).await.expect(200);
    let old = first.resource_version().to_owned();
    let filler = "x".repeat(8_000);
    for round in 0..60 {
        let change = json!({ "data": { "key": format!("{round}{filler}") } });
        api.merge(&format!("{MAPS}/c"), &change).await.expect(200);
    }
    let exact = api.get(&format!("{MAPS}?resourceVersion={old}&resourceVersionMatch=Exact")).await;
    let mut watch = api.watch(&format!("{MAPS}?watch=1&resourceVersion={old}")).await;
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert_eq!(watch.next().await, None);
    // A page may still be served from its snapshot; one that is not says how to go on.
    let token = first["metadata"]["continue"].as_str().unwrap();
    let next = api.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    if next.code == 410 {
        let status = next.expect(410);
        assert!(status["message"].as_str().unwrap().starts_with("The provided continue parameter is too old"));
        let token = status["metadata"]["continue"].as_str().unwrap();
        let rest = api.get(&format!("{MAPS}?continue={token}")).await.expect(200);
        assert_eq!(names(&rest), ["b", "c"]);
        assert_eq!(exact.code, 410);
    } else {
        assert_eq!(names(&next.expect(200)), ["b"]);
    }
}
