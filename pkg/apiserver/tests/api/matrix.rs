//! The options of lists, watches and deletions, one against the other.

use apimachinery::meta::ObjectExt as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Api, MAPS, config_map};

fn names(list: &Value) -> String {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item.name().to_owned()).collect::<Vec<_>>().join(" ")
}

fn invalid(kind: &str, why: &str) -> String {
    format!("{kind}.meta.k8s.io \"\" is invalid: {why}")
}

/// a at the first answer, then b, then c; a is changed last.
async fn prepared() -> (Api, Vec<String>) {
    let api = Api::start().await;
    let mut versions = Vec::new();
    for name in ["a", "b", "c"] {
        let mut object = config_map(name, "1");
        object["metadata"]["labels"] = json!({ "odd": (name != "b").to_string() });
        versions.push(api.post(MAPS, &object).await.expect(201).resource_version().to_owned());
    }
    let changed = api.merge(&format!("{MAPS}/a"), &json!({ "data": { "key": "2" } })).await.expect(200);
    versions.push(changed.resource_version().to_owned());
    (api, versions)
}

#[tokio::test]
async fn lists_show_the_state_that_version_match_and_limit_ask_for() {
    let (api, versions) = prepared().await;
    let [_, b, _, last] = &versions[..] else { panic!("four writes") };
    let zero = "0".to_owned();
    // Version, match, limit: names, and whether the list is of exactly that version.
    for (version, how, limit, want, exact) in [
        ("", "", "", "a b c", false),
        ("", "", "2", "a b", false),
        (&zero, "", "", "a b c", false),
        (&zero, "", "2", "a b", false),
        (&zero, "NotOlderThan", "", "a b c", false),
        (&zero, "NotOlderThan", "2", "a b", false),
        (b, "", "", "a b c", false),
        (b, "", "1", "a", true),
        (b, "", "5", "a b", true),
        (b, "NotOlderThan", "", "a b c", false),
        (b, "NotOlderThan", "1", "a", false),
        (b, "Exact", "", "a b", true),
        (b, "Exact", "1", "a", true),
        (last, "Exact", "0", "a b c", true),
    ] {
        let path = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch={how}&limit={limit}");
        let list = api.get(&path).await.expect(200);
        assert_eq!(names(&list), want, "{path}");
        assert_eq!(list.resource_version() == version, exact, "{path}");
    }
    // The object as it was then, not as it is now.
    let old = api.get(&format!("{MAPS}?resourceVersion={b}&resourceVersionMatch=Exact")).await.expect(200);
    assert_eq!(old["items"][0]["data"]["key"], "1");
    let one = format!("{MAPS}?fieldSelector=metadata.name%3Da&resourceVersion={b}&resourceVersionMatch=Exact");
    let old = api.get(&one).await.expect(200);
    assert_eq!((&old["items"][0]["data"]["key"], old.resource_version()), (&json!("1"), &**b));
}

#[tokio::test]
async fn pages_with_selectors_count_nothing_and_miss_nothing() {
    let (api, _) = prepared().await;
    let mut query = "labelSelector=odd%3Dtrue&limit=1".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = api.get(&format!("{MAPS}?{query}")).await.expect(200);
        assert_eq!(page["metadata"].get("remainingItemCount"), None);
        seen.push(names(&page));
        match page["metadata"]["continue"].as_str() {
            Some(token) => query = format!("labelSelector=odd%3Dtrue&limit=1&continue={token}"),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "c"]);
    let page = api.get(&format!("{MAPS}?limit=1")).await.expect(200);
    assert_eq!(page["metadata"]["remainingItemCount"], 2);
    let rest = format!("{MAPS}?continue={}", page["metadata"]["continue"].as_str().unwrap());
    let rest = api.get(&format!("{rest}&resourceVersion=0")).await.expect(200);
    assert_eq!((names(&rest), rest.resource_version()), ("b c".to_owned(), page.resource_version()));
}

#[tokio::test]
async fn list_options_that_do_not_go_together_are_refused() {
    let (api, _) = prepared().await;
    let forbidden = |why: &str| invalid("ListOptions", &format!("resourceVersionMatch: Forbidden: {why}"));
    let alone = "resourceVersionMatch is forbidden unless resourceVersion is provided";
    let with_continue = "resourceVersionMatch is forbidden when continue is provided";
    for (query, want) in [
        ("resourceVersionMatch=Exact", forbidden(alone)),
        ("resourceVersionMatch=NotOlderThan", forbidden(alone)),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            forbidden(r#"resourceVersionMatch "exact" is forbidden for resourceVersion "0""#),
        ),
        (
            "resourceVersion=5&resourceVersionMatch=Odd",
            invalid(
                "ListOptions",
                r#"resourceVersionMatch: Unsupported value: "Odd": supported values: "Exact", "NotOlderThan", """#,
            ),
        ),
        ("resourceVersion=5&resourceVersionMatch=Exact&continue=x", forbidden(with_continue)),
        (
            "sendInitialEvents=true",
            invalid("ListOptions", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
        ),
        (
            "resourceVersionMatch=Exact&continue=x",
            invalid(
                "ListOptions",
                &format!(
                    "[resourceVersionMatch: Forbidden: {alone}, resourceVersionMatch: Forbidden: {with_continue}]"
                ),
            ),
        ),
    ] {
        assert_eq!(api.get(&format!("{MAPS}?{query}")).await.refused(422), want, "{query}");
        assert_eq!(api.delete(&format!("{MAPS}?{query}")).await.refused(422), want, "DELETE {query}");
    }
    let number = r#"strconv.ParseInt: parsing "x": invalid syntax"#;
    assert_eq!(api.get(&format!("{MAPS}?limit=x")).await.refused(400), number);
    let version = r#"invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax"#;
    assert_eq!(api.get(&format!("{MAPS}?resourceVersion=x")).await.refused(400), version);
    let future = api.get(&format!("{MAPS}?resourceVersion=1000000&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(future.headers["retry-after"], "1");
    let future = future.expect(504);
    assert_eq!(future["reason"], "Timeout");
    assert!(
        future.str_at("message").starts_with("Timeout: Too large resource version: 1000000, current: "),
        "{future}"
    );
    let cause = json!([{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }]);
    assert_eq!((&future["details"]["causes"], &future["details"]["retryAfterSeconds"]), (&cause, &json!(1)));
    assert_eq!(names(&api.get(MAPS).await.expect(200)), "a b c", "nothing was deleted by a query that was refused");
}

#[tokio::test]
async fn continue_tokens_are_read_with_care() {
    let (api, _) = prepared().await;
    let token = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let not = |why: &str| format!("invalid continue token: continue key is not valid{why}");
    for (token, want) in [
        ("a*b".to_owned(), not(": illegal base64 data at input byte 1")),
        (
            token(r#"{"v":"meta.k8s.io/v2","rv":5,"start":"a"}"#),
            not(": server does not recognize this encoded version meta.k8s.io/v2"),
        ),
        (
            token(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#),
            not(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
        ),
        (
            token(r#"{"v":"meta.k8s.io/v1","rv":5,"start":""}"#),
            not(": encoded start key empty (version meta.k8s.io/v1)"),
        ),
        (token(r#"{"v":"meta.k8s.io/v1","rv":5,"start":"../secrets/a"}"#), not(": ../secrets/a")),
        (token(r#"{"v":"meta.k8s.io/v1","rv":5,"start":"a//b"}"#), not(": a//b")),
    ] {
        assert_eq!(api.get(&format!("{MAPS}?continue={token}")).await.refused(400), want);
    }
    assert!(api.get(&format!("{MAPS}?continue={}", token("rubbish"))).await.refused(400).starts_with(&not(": ")));
    // Going on at the newest state, as after a token that expired.
    let newest = token(r#"{"v":"meta.k8s.io/v1","rv":-1,"start":"a"}"#);
    assert_eq!(names(&api.get(&format!("{MAPS}?continue={newest}")).await.expect(200)), "b c");
    let of_one = format!("{MAPS}?continue={newest}&fieldSelector=metadata.name%3Da");
    assert_eq!(names(&api.get(&of_one).await.expect(200)), "", "what lies before the token was shown already");
}

#[tokio::test]
async fn watch_options_that_do_not_go_together_are_refused() {
    let api = Api::start().await;
    let forbidden = |why: &str| format!("resourceVersionMatch: Forbidden: {why}");
    let requires = forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    let unless = forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    let exact = r#"resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan""#;
    for (query, want) in [
        ("resourceVersionMatch=NotOlderThan", unless.clone()),
        ("sendInitialEvents=true", requires.clone()),
        ("sendInitialEvents=false&resourceVersion=0", requires.clone()),
        ("sendInitialEvents=true&resourceVersionMatch=Exact", format!("[{requires}, {exact}]")),
        ("resourceVersionMatch=Exact", format!("[{unless}, {exact}]")),
        (
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x",
            forbidden("resourceVersionMatch is forbidden when continue is provided"),
        ),
    ] {
        let refused = api.get(&format!("{MAPS}?watch=1&{query}")).await.refused(422);
        assert_eq!(refused, invalid("ListOptions", &want), "{query}");
    }
    let text = api.get("/api/v1/watch/namespaces/default/configmaps/a?fieldSelector=metadata.name%3Db").await;
    assert_eq!(text.refused(400), "fieldSelector metadata.name doesn't match requested name");
}

#[tokio::test]
async fn watches_begin_where_they_are_asked_to() {
    let (api, versions) = prepared().await;
    let path = |query: &str| format!("{MAPS}?watch=1&timeoutSeconds=1&{query}");
    let (b, last) = (&versions[1], &versions[3]);
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let added = "ADDED a, ADDED b, ADDED c";
    for (query, want) in [
        (String::new(), added.to_owned()),
        ("resourceVersion=0".to_owned(), added.to_owned()),
        ("allowWatchBookmarks=true".to_owned(), format!("{added}, BOOKMARK end")),
        ("resourceVersion=0&allowWatchBookmarks=true".to_owned(), format!("{added}, BOOKMARK end")),
        (initial.to_owned(), added.to_owned()),
        (format!("{initial}&allowWatchBookmarks=true"), format!("{added}, BOOKMARK end")),
        (format!("{initial}&allowWatchBookmarks=true&resourceVersion={b}"), format!("{added}, BOOKMARK end")),
        ("sendInitialEvents=false&resourceVersionMatch=NotOlderThan".to_owned(), String::new()),
        (format!("resourceVersion={b}"), "ADDED c, MODIFIED a".to_owned()),
        (format!("resourceVersion={b}&labelSelector=odd%3Dfalse"), String::new()),
        (format!("resourceVersion={last}"), String::new()),
        ("resourceVersion=1000000".to_owned(), String::new()),
    ] {
        let mut events = api.watch(&path(&query)).await;
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            let end = event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true";
            let what = if end { "end" } else { event["object"].name() };
            seen.push(format!("{} {what}", event["type"].as_str().unwrap()));
        }
        assert_eq!(seen.join(", "), want, "{query}");
    }
}

#[tokio::test]
async fn a_watch_that_ends_in_time_says_how_far_it_is() {
    let (api, _) = prepared().await;
    let from = api.get(MAPS).await.expect(200).resource_version().to_owned();
    let path = format!("{MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={from}");
    let mut events = api.watch(&path).await;
    let other = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" } });
    let elsewhere = api.post("/api/v1/namespaces/default/secrets", &other).await.expect(201);
    let bookmark = events.next().await.expect("a bookmark at the end");
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    let told: u64 = bookmark["object"].resource_version().parse().unwrap();
    assert!(told >= elsewhere.resource_version().parse().unwrap(), "{bookmark}");
    assert!(events.next().await.is_none());
    let mut quiet = api.watch(&path.replace("&allowWatchBookmarks=true", "")).await;
    assert!(quiet.next().await.is_none(), "who does not want bookmarks gets none");
}

#[tokio::test]
async fn old_watch_paths_and_single_objects_are_watched() {
    let (api, _) = prepared().await;
    for path in [
        "/api/v1/watch/namespaces/default/configmaps/b?",
        "/api/v1/namespaces/default/configmaps?watch=1&fieldSelector=metadata.name%3Db&",
        "/api/v1/watch/configmaps?fieldSelector=metadata.name%3Db,metadata.namespace%3Ddefault&",
    ] {
        let mut events = api.watch(&format!("{path}timeoutSeconds=5")).await;
        assert_eq!(events.brief().await, "ADDED b", "{path}");
        api.merge(&format!("{MAPS}/c"), &json!({ "data": { "key": path } })).await.expect(200);
        let changed = api.merge(&format!("{MAPS}/b"), &json!({ "data": { "key": path } })).await.expect(200);
        let event = events.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]), (&json!("MODIFIED"), &changed), "{path}");
    }
    let labelled = "/api/v1/watch/namespaces/default/configmaps/b?labelSelector=odd%3Dtrue&timeoutSeconds=1";
    assert!(api.watch(labelled).await.next().await.is_none(), "labels count beside the name");
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection_under_the_revision_of_the_change() {
    let (api, _) = prepared().await;
    let from = api.get(MAPS).await.expect(200).resource_version().to_owned();
    let path = format!("{MAPS}?watch=1&timeoutSeconds=5&resourceVersion={from}&labelSelector=odd%3Dtrue");
    let mut events = api.watch(&path).await;
    let label = |odd: bool| json!({ "metadata": { "labels": { "odd": odd.to_string() } } });
    let left = api.merge(&format!("{MAPS}/a"), &label(false)).await.expect(200);
    let entered = api.merge(&format!("{MAPS}/b"), &label(true)).await.expect(200);
    let gone = events.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(gone["object"].resource_version(), left.resource_version());
    assert_eq!(gone["object"]["metadata"]["labels"]["odd"], "true", "the last object that was selected");
    let new = events.next().await.unwrap();
    assert_eq!((&new["type"], &new["object"]), (&json!("ADDED"), &entered));
    api.delete(&format!("{MAPS}/b")).await.expect(200);
    let deleted = events.next().await.unwrap();
    assert_eq!((&deleted["type"], deleted["object"].name()), (&json!("DELETED"), "b"));
    let version = |object: &Value| object.resource_version().parse::<u64>().unwrap();
    assert!(version(&deleted["object"]) > version(&entered), "a deletion has a revision of its own");
}

#[tokio::test]
async fn deletion_options_that_do_not_go_together_are_refused() {
    let (api, _) = prepared().await;
    let path = format!("{MAPS}/a");
    let policy = r#"propagationPolicy: Unsupported value: "Sideways": supported values: "Foreground", "Background", "Orphan", "nil""#;
    let both =
        r#"propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set"#;
    let dry = r#"dryRun: Unsupported value: ["Some"]: supported values: "All""#;
    let alone = |other: &str| {
        format!(
            "ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: cannot be set together with .{other}"
        )
    };
    for (query, body, want) in [
        ("propagationPolicy=Sideways", json!({ "propagationPolicy": "Sideways" }), policy.to_owned()),
        (
            "propagationPolicy=Orphan&orphanDependents=true",
            json!({ "propagationPolicy": "Orphan", "orphanDependents": true }),
            both.to_owned(),
        ),
        ("dryRun=Some", json!({ "dryRun": ["Some"] }), dry.to_owned()),
        (
            "ignoreStoreReadErrorWithClusterBreakingPotential=true&gracePeriodSeconds=0",
            json!({ "ignoreStoreReadErrorWithClusterBreakingPotential": true, "gracePeriodSeconds": 0 }),
            alone("gracePeriodSeconds"),
        ),
        (
            "ignoreStoreReadErrorWithClusterBreakingPotential=true&dryRun=All&orphanDependents=false",
            json!({
                "ignoreStoreReadErrorWithClusterBreakingPotential": true, "dryRun": ["All"], "orphanDependents": false,
            }),
            format!("[{}, {}]", alone("dryRun"), alone("orphanDependents")),
        ),
    ] {
        let want = invalid("DeleteOptions", &want);
        assert_eq!(api.delete(&format!("{path}?{query}")).await.refused(422), want, "{query}");
        assert_eq!(api.send_json("DELETE", &path, &body).await.refused(422), want, "{body}");
        assert_eq!(api.send_json("DELETE", MAPS, &body).await.refused(422), want, "{body}");
    }
    assert_eq!(api.get(&path).await.code, 200);
    assert_eq!(api.delete(&format!("{path}?ignoreStoreReadErrorWithClusterBreakingPotential=true")).await.code, 200);
}

#[tokio::test]
async fn options_of_writes_are_refused_all_at_once() {
    let (api, _) = prepared().await;
    let long = "x".repeat(129);
    let dry = r#"dryRun: Unsupported value: ["Some"]: supported values: "All""#;
    let mode = r#"fieldValidation: Unsupported value: "Odd": supported values: "", "Ignore", "Strict", "Warn""#;
    let length = "fieldManager: Too long: may not be more than 128 bytes";
    for (query, want) in [
        ("dryRun=Some".to_owned(), dry.to_owned()),
        ("dryRun=".to_owned(), dry.replace("Some", "")),
        ("dryRun=All&dryRun=Some".to_owned(), dry.replace("\"Some\"", "\"All\",\"Some\"")),
        ("fieldValidation=Odd".to_owned(), mode.to_owned()),
        (format!("fieldManager={long}"), length.to_owned()),
        (
            "fieldManager=a%07b".to_owned(),
            r#"fieldManager: Invalid value: "a\u0007b": invalid character U+0007 (at position 1)"#.to_owned(),
        ),
        (format!("fieldManager={long}&dryRun=Some&fieldValidation=Odd"), format!("[{length}, {dry}, {mode}]")),
    ] {
        let one = format!("{MAPS}/a?{query}");
        let object = config_map("a", "1");
        for (kind, answer) in [
            ("CreateOptions", api.post(&format!("{MAPS}?{query}"), &object).await),
            ("UpdateOptions", api.put(&one, &object).await),
            ("PatchOptions", api.merge(&one, &json!({})).await),
        ] {
            assert_eq!(answer.refused(422), invalid(kind, &want), "{query}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_deletes_nothing_however_it_is_asked_for() {
    let (api, _) = prepared().await;
    let before = api.get(MAPS).await.expect(200);
    let path = format!("{MAPS}/a");
    assert_eq!(api.delete(&format!("{path}?dryRun=All")).await.expect(200)["status"], "Success");
    assert_eq!(api.send_json("DELETE", &path, &json!({ "dryRun": ["All"] })).await.code, 200);
    assert_eq!(api.send_json("DELETE", &format!("{path}?dryRun=All"), &json!({})).await.code, 200);
    let listed = api.delete(&format!("{MAPS}?dryRun=All")).await.expect(200);
    assert_eq!(names(&listed), "a b c");
    let orphan = json!({ "dryRun": ["All"], "propagationPolicy": "Orphan" });
    let marked = api.send_json("DELETE", &path, &orphan).await.expect(200);
    assert_eq!(marked.finalizers(), ["orphan"], "the answer is as if");
    let after = api.get(MAPS).await.expect(200);
    assert_eq!(after, before, "nothing changed, not even the revision");
}

#[tokio::test]
async fn only_who_says_by_the_old_option_that_dependents_go_hears_that_it_waits() {
    let api = Api::start().await;
    for (name, query, code) in
        [("a", "orphanDependents=false", 202), ("b", "propagationPolicy=Background", 200), ("c", "", 200)]
    {
        let mut object = config_map(name, "1");
        object["metadata"]["finalizers"] = json!(["example.com/wait"]);
        api.post(MAPS, &object).await.expect(201);
        let marked = api.delete(&format!("{MAPS}/{name}?{query}")).await.expect(code);
        assert!(marked.is_deleting(), "{query}");
    }
}

#[tokio::test]
async fn collections_are_deleted_by_selector_and_page() {
    let (api, _) = prepared().await;
    let page = api.delete(&format!("{MAPS}?limit=2")).await.expect(200);
    assert_eq!((names(&page), &page["metadata"]["remainingItemCount"]), ("a b".to_owned(), &json!(1)));
    assert_eq!((&page["kind"], page["metadata"]["continue"].is_string()), (&json!("ConfigMapList"), true));
    assert_eq!(names(&api.get(MAPS).await.expect(200)), "c");
    api.post(MAPS, &config_map("d", "1")).await.expect(201);
    let selected = api.delete(&format!("{MAPS}?fieldSelector=metadata.name!%3Dc")).await.expect(200);
    assert_eq!(names(&selected), "d");
    let wrong = json!({ "preconditions": { "uid": "other" } });
    assert_eq!(api.send_json("DELETE", MAPS, &wrong).await.code, 409);
    assert_eq!(names(&api.delete(MAPS).await.expect(200)), "c");
    assert_eq!(names(&api.get(MAPS).await.expect(200)), "");
    assert_eq!(api.delete("/api/v1/configmaps").await.code, 405, "not in all namespaces at once");
}

#[tokio::test]
async fn pods_die_gracefully_and_a_second_deletion_can_only_be_faster() {
    let api = Api::start().await;
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" } });
    api.post("/api/v1/nodes", &node).await.expect(201);
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, node: Option<&str>| {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": { "containers": [{ "name": "c", "image": "x" }] },
        });
        if let Some(node) = node {
            pod["spec"]["nodeName"] = node.into();
        }
        pod
    };
    api.post(pods, &pod("a", Some("n1"))).await.expect(201);
    let grace = |object: &Value| object.i64_at("metadata/deletionGracePeriodSeconds");
    let time = |object: &Value| object.meta_str("deletionTimestamp").parse::<jiff::Timestamp>().unwrap();
    let first = api.delete(&format!("{pods}/a")).await.expect(200);
    assert_eq!(grace(&first), Some(30), "as the pod says");
    let longer = api.delete(&format!("{pods}/a?gracePeriodSeconds=60")).await.expect(200);
    assert_eq!((grace(&longer), time(&longer)), (Some(30), time(&first)));
    let shorter = api.delete(&format!("{pods}/a?gracePeriodSeconds=10")).await.expect(200);
    assert_eq!((grace(&shorter), time(&first).duration_since(time(&shorter)).as_secs()), (Some(10), 20));
    let again = api.delete(&format!("{pods}/a")).await.expect(200);
    assert_eq!(grace(&again), Some(10), "without a word the wait stays");
    let past = api.delete(&format!("{pods}/a?gracePeriodSeconds=-5")).await.expect(200);
    assert_eq!(grace(&past), Some(1), "the past is a second away");
    api.delete(&format!("{pods}/a?gracePeriodSeconds=0")).await.expect(200);
    assert_eq!(api.get(&format!("{pods}/a")).await.code, 404);
    // A pod that no node has seen goes at once.
    api.post(pods, &pod("b", None)).await.expect(201);
    api.delete(&format!("{pods}/b")).await.expect(200);
    assert_eq!(api.get(&format!("{pods}/b")).await.code, 404);
}

#[tokio::test]
async fn fields_that_a_kind_cannot_be_selected_by_are_refused_in_its_words() {
    let api = Api::start().await;
    for (path, field, want) in [
        ("/api/v1/pods", "spec.hostNetwork", None),
        ("/api/v1/pods", "status.phase", None),
        ("/api/v1/pods", "spec.nodeName", None),
        ("/api/v1/pods", "spec.host", None),
        ("/api/v1/pods", "spec.color", Some("field label not supported: spec.color")),
        ("/api/v1/nodes", "spec.unschedulable", None),
        ("/api/v1/nodes", "metadata.namespace", Some("field label not supported: metadata.namespace")),
        ("/api/v1/events", "involvedObject.uid", None),
        ("/api/v1/events", "reportingComponent", None),
        ("/api/v1/secrets", "type", None),
        ("/api/v1/namespaces", "status.phase", None),
        ("/api/v1/services", "spec.clusterIP", None),
        ("/apis/batch/v1/jobs", "status.successful", None),
        ("/apis/batch/v1/jobs", "status.failed", Some(r#"field label "status.failed" not supported for Job"#)),
        ("/apis/apps/v1/replicasets", "status.replicas", None),
        ("/api/v1/replicationcontrollers", "status.replicas", None),
        ("/apis/certificates.k8s.io/v1/certificatesigningrequests", "spec.signerName", None),
        ("/apis/resource.k8s.io/v1/resourceslices", "spec.driver", None),
        ("/apis/resource.k8s.io/v1/resourceslices", "spec.nodeName", None),
        (
            "/apis/resource.k8s.io/v1/resourceslices",
            "spec.pool",
            Some("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: spec.pool"),
        ),
        (
            "/api/v1/configmaps",
            "data.key",
            Some(r#""data.key" is not a known field selector: only "metadata.name", "metadata.namespace""#),
        ),
        ("/apis/storage.k8s.io/v1/storageclasses", "metadata.namespace", None),
    ] {
        let answer = api.get(&format!("{path}?fieldSelector={field}%3Dx")).await;
        match want {
            None => assert_eq!(answer.code, 200, "{path} {field}"),
            Some(text) => assert_eq!(answer.refused(400), text, "{path} {field}"),
        }
    }
    let text = api.get("/api/v1/pods?fieldSelector=rubbish").await.refused(400);
    assert_eq!(text, "invalid selector: 'rubbish'; can't understand 'rubbish'");
    let text = api.get("/api/v1/pods?labelSelector=a%3Db%3Dc").await.refused(400);
    assert_eq!(text, "found '=', expected: ',' or 'end of string'");
}

/// A revision that the next `writes` changes reach, as a client knows it that read from another server.
async fn soon(api: &Api, writes: u64) -> u64 {
    api.get(MAPS).await.expect(200).resource_version().parse::<u64>().unwrap() + writes
}

#[tokio::test]
async fn reads_at_a_revision_to_come_wait_for_it() {
    let (api, _) = prepared().await;
    let watch = "watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    for (path, query) in [
        (format!("{MAPS}/a"), ""),
        (MAPS.to_owned(), ""),
        (MAPS.to_owned(), "limit=2"),
        (MAPS.to_owned(), "resourceVersionMatch=Exact"),
        (MAPS.to_owned(), "resourceVersionMatch=NotOlderThan"),
        (MAPS.to_owned(), watch),
    ] {
        let wanted = soon(&api, 2).await;
        let path = format!("{path}?resourceVersion={wanted}&{query}");
        let writes = async {
            for value in ["x", "y"] {
                let value = format!("{value}{wanted}");
                api.merge(&format!("{MAPS}/a"), &json!({ "data": { "key": value } })).await.expect(200);
            }
        };
        let (answer, ()) = futures::join!(api.get(&path), writes);
        assert_eq!(answer.code, 200, "{path}: {answer:?}");
        let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
        // The server may have written something of its own in between.
        let seen = ["x", "y"].iter().any(|value| text.contains(&format!("{value}{wanted}")));
        assert!(seen, "{path}: {text}");
        assert!(!text.contains("ERROR"), "{path}: {text}");
    }
}

#[tokio::test]
async fn a_revision_that_does_not_come_is_waited_for_three_seconds_or_as_long_as_the_request_may_take() {
    let (api, _) = prepared().await;
    let far = soon(&api, 1000).await;
    let took = |started: std::time::Instant| started.elapsed().as_secs_f64();
    let too_large = |status: &Value| {
        let text = format!("Timeout: Too large resource version: {far}, current: ");
        assert!(status.str_at("message").starts_with(&text), "{status}");
        let cause = json!([{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }]);
        assert_eq!((&status["code"], &status["reason"]), (&json!(504), &json!("Timeout")));
        assert_eq!((&status["details"]["causes"], &status["details"]["retryAfterSeconds"]), (&cause, &json!(1)));
    };
    let one = format!("{MAPS}/a?resourceVersion={far}");
    let many = format!("{MAPS}?resourceVersion={far}");
    let initial = format!("{many}&watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
    let started = std::time::Instant::now();
    let (read, list, deletion, watch) =
        futures::join!(api.get(&one), api.get(&many), api.delete(&many), api.get(&initial));
    assert!((2.9..6.0).contains(&took(started)), "{}", took(started));
    for answer in [read, list, deletion] {
        assert_eq!(answer.headers["retry-after"], "1");
        too_large(&answer.expect(504));
    }
    let event = watch.expect(200);
    assert_eq!(event["type"], "ERROR");
    too_large(&event["object"]);
    let started = std::time::Instant::now();
    let text = api.get(&format!("{many}&timeout=100ms")).await.refused(504);
    assert_eq!(text, "Timeout: request did not complete within the allotted timeout");
    assert!(took(started) < 2.9);
    let mut plain = api.watch(&format!("{many}&watch=1&timeoutSeconds=1")).await;
    assert!(plain.next().await.is_none(), "who wants no initial events only hears of what comes after");
}
