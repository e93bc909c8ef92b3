//! Bodies that cannot be read, in every encoding.

use bytes::Bytes;
use serde_json::json;

use crate::encodings::{PROTOBUF, pod};
use crate::messages::{RawExtension, enveloped};
use crate::support::{Api, MAPS};

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused_in_upstreams_words() {
    let api = Api::start().await;
    let deep = enveloped("v1", "ConfigMap", &RawExtension { raw: Some(vec![0xff; 3]) });
    for (kind, body, code, text) in [
        (
            "application/json",
            &b"{]"[..],
            400,
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error:",
        ),
        (
            "application/json",
            b"not json, and longer than thirty bytes",
            400,
            "invalid character 'o' in literal null (expecting 'u') (6e6f74206a736f6e2c20616e64206c6f6e676572207468616e2074686972 ...)",
        ),
        (
            "application/json",
            b"[]",
            400,
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: \
             json: cannot unmarshal array into Go value of type struct { APIVersion string \
             \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" } (5b5d)",
        ),
        (
            "application/json",
            b"{\"kind\":1}",
            400,
            "json: cannot unmarshal number into Go struct field .kind of type string ({\"kind\":1})",
        ),
        (
            "application/json",
            br#"{"apiVersion":"v2","kind":"ConfigMap"}"#,
            400,
            "ConfigMap in version \"v2\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \
             \"v2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
        (
            "application/yaml",
            b"data:\n  a: b: c",
            400,
            "error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context",
        ),
        (
            "application/yaml",
            b"a: *x",
            400,
            "error converting YAML to JSON: yaml: unknown anchor 'x' referenced (613a202a78)",
        ),
        (
            PROTOBUF,
            b"{}",
            400,
            "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a protobuf \
             message, expected prefix [107 56 115 0] ({})",
        ),
        (
            PROTOBUF,
            b"k8s\0",
            400,
            "the object provided is unrecognized (must be of type ConfigMap): empty body (6b387300)",
        ),
        (PROTOBUF, &deep, 400, "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: unexpected EOF"),
        (
            "application/cbor",
            b"\xa0",
            415,
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf",
        ),
        ("text/yaml", b"a: 1", 415, "the body of the request was in an unknown format"),
    ] {
        let message = api.send_bytes("POST", MAPS, kind, Bytes::copy_from_slice(body)).await.refused(code);
        assert!(message.contains(text), "{kind}: {message}");
    }
    let pod = enveloped("v1", "Pod", &pod("a"));
    let message = api.send_bytes("POST", MAPS, PROTOBUF, pod).await.refused(400);
    let text = "Pod in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion";
    assert_eq!(message, text);
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}});
    let message = api.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).await.refused(400);
    let text = "the API version in the data (v1) does not match the expected API version (events.k8s.io/v1)";
    assert_eq!(message, text);
}
