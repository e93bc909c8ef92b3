//! Rules that hold for every kind, tried on one object of each.

use apimachinery::meta::ObjectExt as _;
use serde_json::{Value, json};

use crate::samples::{collection, kinds, sample};
use crate::support::{Answer, Api};

/// Warnings about fields, without those that a kind has about itself.
fn warnings(answer: &Answer) -> Vec<String> {
    let all = answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned());
    all.filter(|text| text.contains("field") || text.contains("already set")).collect()
}

#[tokio::test]
async fn unknown_and_duplicate_fields_of_every_kind_are_told_as_asked() {
    let api = Api::start().await;
    let mut faults = Vec::new();
    for row in kinds() {
        let mut object = sample(&api, row);
        object["aaa"] = json!(1);
        object["metadata"]["bbb"] = json!({ "c": 1 });
        let text = object.to_string();
        let text = format!("{},\"kind\":\"{}\"}}", text.trim_end_matches('}').to_owned() + &closing(&text), row.kind);
        let told = [r#"unknown field "aaa""#, r#"unknown field "metadata.bbb""#, r#"duplicate field "kind""#];
        let yaml_told =
            [r#"line 1: key "kind" already set in map"#, r#"unknown field "aaa""#, r#"unknown field "metadata.bbb""#];
        for (media, told) in [("application/json", told), ("application/yaml", yaml_told)] {
            let post = async |mode: &str| {
                let path = format!("{}?dryRun=All&fieldValidation={mode}", collection(row));
                api.send_bytes("POST", &path, media, text.clone()).await
            };
            let (version, kind) = (row.versions[0], row.kind);
            let errors = match media {
                "application/yaml" => format!("yaml: unmarshal errors:\n  {}, {}, {}", told[0], told[1], told[2]),
                _ => told.join(", "),
            };
            let want =
                format!("{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {errors}");
            let strict = post("Strict").await;
            if strict.code != 400 || strict.json()["message"] != want {
                faults.push(format!("{media} {kind}: {strict:?}"));
            }
            let warned: Vec<String> = told.iter().map(|text| format!("299 - {:?}", text)).collect();
            for (mode, want) in [("Warn", &*warned), ("", &*warned), ("Ignore", &[])] {
                let answer = post(mode).await;
                if answer.code != 201 || warnings(&answer) != want {
                    faults.push(format!("{media} {kind} {mode}: {answer:?}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The closing braces of a JSON object's text, without the last.
fn closing(text: &str) -> String {
    "}".repeat(text.len() - text.trim_end_matches('}').len() - 1)
}

#[tokio::test]
async fn the_generation_of_every_kind_counts_changes_of_what_is_wanted() {
    let api = Api::start().await;
    let mut faults = Vec::new();
    for row in kinds() {
        let path = collection(row);
        let mut object = sample(&api, row);
        object["metadata"]["finalizers"] = json!(["example.com/wait"]);
        let made = api.post(&path, &object).await.expect(201);
        let one = format!("{path}/{}", made.name());
        let counts = row.strategy.generation_changed.is_some();
        let generation = |object: &Value| object.i64_at("metadata/generation");
        let mut check = |what: &str, object: &Value, want: i64| {
            if generation(object) != counts.then_some(want) {
                faults.push(format!("{} {what}: {:?} instead of {want} ({counts})", row.kind, generation(object)));
            }
        };
        check("created", &made, 1);
        let mut labelled = json!({ "metadata": { "annotations": { "a": "b" }, "generation": 7 } });
        if row.plural != "endpointslices" {
            // Whose labels say what they are for.
            labelled["metadata"]["labels"] = json!({ "a": "b" });
        }
        check("labelled", &api.merge(&one, &labelled).await.expect(200), 1);
        let mut wished = made.clone();
        wished.metadata_mut().remove("resourceVersion");
        wished["metadata"]["generation"] = json!(9);
        wished["metadata"]["resourceVersion"] = api.get(&one).await.expect(200).resource_version().into();
        check("put", &api.put(&one, &wished).await.expect(200), 1);
        if row.subresources.iter().any(|sub| sub.name == "status") {
            let status =
                api.merge(&format!("{one}/status"), &json!({ "metadata": { "annotations": { "c": "d" } } })).await;
            check("status", &status.expect(200), 1);
        }
        let dying = api.send_json("DELETE", &one, &json!({ "gracePeriodSeconds": 0 })).await.json();
        if counts && generation(&dying) != Some(2) {
            faults.push(format!("{} deleted: {:?}", row.kind, generation(&dying)));
        }
        let released = json!({ "metadata": { "finalizers": null } });
        api.merge(&one, &released).await;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn bodies_of_endpoints_below_objects_are_warned_of_as_well() {
    let api = Api::start().await;
    for row in kinds().filter(|row| ["nodes", "pods", "deployments"].contains(&row.plural)) {
        api.post(&collection(row), &sample(&api, row)).await.expect(201);
    }
    let pod = "/api/v1/namespaces/default/pods/sample";
    let deployment = "/apis/apps/v1/namespaces/default/deployments/sample";
    for (method, path, mut body) in [
        (
            "POST",
            format!("{pod}/binding"),
            json!({ "apiVersion": "v1", "kind": "Binding", "target": { "kind": "Node", "name": "sample" } }),
        ),
        ("POST", format!("{pod}/eviction"), json!({ "apiVersion": "policy/v1", "kind": "Eviction" })),
        ("PUT", format!("{deployment}/scale"), json!({ "apiVersion": "autoscaling/v1", "kind": "Scale" })),
    ] {
        body["metadata"] = json!({ "name": "sample" });
        body["odd"] = json!(1);
        let strict = api.send_json(method, &format!("{path}?dryRun=All&fieldValidation=Strict"), &body).await;
        assert!(strict.refused(400).ends_with(r#"strict decoding error: unknown field "odd""#), "{path}");
        let warned = api.send_json(method, &format!("{path}?dryRun=All"), &body).await;
        assert!(warned.code < 300, "{path}: {warned:?}");
        assert_eq!(warnings(&warned), [r#"299 - "unknown field \"odd\"""#], "{path}");
    }
}
