//! What protobuf bodies are read as.

use apimachinery::GroupVersionKind;
use serde_json::{Value, json};

use super::*;

fn field(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut out =
        vec![u8::try_from(number << 3 | 2).expect("a small number"), u8::try_from(payload.len()).expect("short")];
    out.extend_from_slice(payload);
    out
}

fn number(number: u64, value: u8) -> Vec<u8> {
    vec![u8::try_from(number << 3).expect("a small number"), value]
}

fn envelope(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &meta), field(2, object)].concat()
}

fn read(api_version: &str, kind: &str, object: &[u8]) -> Result<Value> {
    let expected = GroupVersionKind::new("", "v1", "ConfigMap");
    decode(&envelope(api_version, kind, object), &expected).map_err(|(_, error)| error)
}

#[test]
fn maps_and_metadata() {
    let entry = [field(1, b"colour"), field(2, b"blue")].concat();
    let object = [field(1, &field(1, b"settings")), field(2, &entry)].concat();
    let expected =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": "blue"}});
    assert_eq!(read("v1", "ConfigMap", &object), Ok(expected));
}

#[test]
fn inlined_messages_numbers_and_times() {
    // PodSpec.volumes(1): name(1), volumeSource(2) inlined, emptyDir(2) of it, empty.
    let volume = [field(1, b"cache"), field(2, &field(2, b""))].concat();
    // Probe.handler(1) inlined: httpGet(2): port(2) as a number.
    let probe = field(1, &field(2, &field(2, &[number(1, 0), number(2, 80)].concat())));
    let container = [field(1, b"main"), field(10, &probe)].concat();
    let spec = [field(1, &volume), field(2, &container), number(4, 30)].concat();
    let created = field(8, &number(1, 60));
    let pod = read("v1", "Pod", &[field(1, &created), field(2, &spec)].concat()).expect("a pod");
    assert_eq!(pod["metadata"]["creationTimestamp"], "1970-01-01T00:01:00Z");
    assert_eq!(pod["spec"]["volumes"], json!([{"name": "cache", "emptyDir": {}}]));
    assert_eq!(pod["spec"]["containers"][0]["livenessProbe"], json!({"httpGet": {"port": 80}}));
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 30);
}

#[test]
fn quantities() {
    let amount = [field(1, b"cpu"), field(2, &field(1, b"250m"))].concat();
    let container = field(8, &field(2, &amount));
    let pod = read("v1", "Pod", &field(2, &field(2, &container))).expect("a pod");
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"], "250m");
}

#[test]
fn what_is_no_message_is_refused_in_upstreams_words() {
    let expected = GroupVersionKind::new("", "v1", "ConfigMap");
    let error = |body: &[u8]| decode(body, &expected).map_err(|(_, error)| error.to_string());
    for (body, text) in [
        (&b""[..], "empty data"),
        (b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (b"k8s\0", "empty body"),
        (b"k8s\0\x12\x7f", "unexpected EOF"),
        (b"k8s\0\x16", "proto: illegal wireType 6"),
        (b"k8s\0\x14", "proto: unexpected end of group"),
        (b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "proto: integer overflow"),
    ] {
        assert_eq!(error(body), Err(text.to_owned()), "{body:?}");
    }
    assert_eq!(read("v1", "ConfigMap", &field(1, &field(1, b"\xff"))), Err(ProtobufError::Utf8));
    let wrong = read("v1", "Pod", &field(2, &field(4, b"x"))).map_err(|error| error.to_string());
    assert_eq!(wrong, Err("proto: wrong wireType = 2 for field TerminationGracePeriodSeconds".to_owned()));
    let (named, _) = decode(&envelope("v1", "Pod", b"\x0a\x7f"), &expected).unwrap_err();
    assert_eq!(named, Some(GroupVersionKind::new("", "v1", "Pod")), "the kind was read before the failure");
}

#[test]
fn unknown_fields_and_groups_are_passed_over() {
    // Field 1000 (varint), field 1001 (group with a field and a group in it), field 99 (fixed64).
    let unknown = b"\xc0\x3e\x05\xcb\x3e\x08\x01\x13\x14\xcc\x3e\x99\x06\0\0\0\0\0\0\0\0";
    let object = [&unknown[..], &field(1, &field(1, b"a"))].concat();
    assert_eq!(read("v1", "ConfigMap", &object).unwrap()["metadata"], json!({"name": "a"}));
}

#[test]
fn messages_that_hold_messages_without_end_are_refused() {
    let mut schema = Vec::new();
    for _ in 0..400 {
        let mut outer = Vec::new();
        wire::put_bytes(&mut outer, 28, &schema);
        schema = outer;
    }
    let mut body = Vec::new();
    // spec.versions[0].schema.openAPIV3Schema, and `not` of `not` of …
    for number in [1, 4, 7, 2] {
        body.clear();
        wire::put_bytes(&mut body, number, &schema);
        schema = body.clone();
    }
    let deep = envelope_of("apiextensions.k8s.io/v1", "CustomResourceDefinition", &schema);
    let expected = GroupVersionKind::new("", "v1", "ConfigMap");
    assert_eq!(decode(&deep, &expected).unwrap_err().1, ProtobufError::Depth);
}

fn envelope_of(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    Envelope { api_version, kind }.around(message)
}

/// Bytes that upstream's generated code writes for the same object (field by field, in the order of numbers).
#[test]
fn messages_are_written_as_upstream_writes_them() {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "creationTimestamp": "1970-01-01T00:01:00Z"},
        "spec": {
            "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}],
            "containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": 80}}, "stdin": true}],
            "terminationGracePeriodSeconds": -1,
        },
    });
    let created = field(8, &[number(1, 60), number(2, 0)].concat());
    let metadata = field(1, &[field(1, b"p"), created].concat());
    let volume = [field(1, b"cache"), field(2, &field(2, &field(2, &field(1, b"1Gi"))))].concat();
    let port = [number(1, 0), number(2, 80), field(3, b"")].concat();
    let probe = field(10, &field(1, &field(2, &field(2, &port))));
    let container = [field(1, b"c"), probe, vec![0x80, 0x01, 1]].concat();
    let minus_one = b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec();
    let spec = field(2, &[field(1, &volume), field(2, &container), minus_one].concat());
    let type_ = super::super::Type::lookup("", "v1", "Pod").unwrap();
    assert_eq!(message(type_, &object), [metadata, spec].concat());
    let meta = field(1, &[field(1, b"v1"), field(2, b"Pod")].concat());
    let head = [MAGIC, &meta, &field(3, b""), &field(4, b"")].concat();
    assert!(encode(&object).unwrap().starts_with(&head));
}

#[test]
fn lists_and_frames_have_the_lengths_that_they_say() {
    let type_ = super::super::Type::lookup("", "v1", "ConfigMap").unwrap();
    let items: Vec<Value> =
        (0..3).map(|i| json!({"metadata": {"name": format!("m{i}")}, "data": {"k": "v".repeat(100 * i)}})).collect();
    let messages: Vec<Vec<u8>> = items.iter().map(|item| message(type_, item)).collect();
    let mut list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7"}});
    let (mut body, prefix) = ListHead::new(&list, messages.iter().map(Vec::len)).unwrap().into_bytes();
    for message in &messages {
        prefix.put(&mut body, message.len());
        body.extend_from_slice(message);
    }
    list["items"] = items.into();
    list["items"][0].as_object_mut().unwrap()["data"] = json!({"k": ""});
    assert_eq!(decode(&body, &GroupVersionKind::new("", "v1", "Pod")).unwrap(), list);

    let mut frames = Vec::new();
    for message in &messages {
        let frame = WatchFrame { event: "ADDED", envelope: Envelope { api_version: "v1", kind: "ConfigMap" } };
        frame.put(message, &mut frames);
    }
    for message in &messages {
        let (length, rest) = frames.split_at(4);
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let raw = field_bytes(2, &rest[..length]);
        assert_eq!(field_bytes(1, &rest[..length]), b"ADDED");
        assert_eq!(field_bytes(1, raw), envelope_of("v1", "ConfigMap", message));
        frames = rest[length..].to_vec();
    }
    assert!(frames.is_empty());
}

fn field_bytes(number: u64, message: &[u8]) -> &[u8] {
    let found = wire::Parts(message).find_map(|part| match part.unwrap() {
        (n, wire::Wire::Bytes(bytes)) if n == number => Some(bytes),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn any_bytes_end_in_an_object_or_an_error() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..20_000 {
        let mut body = MAGIC.to_vec();
        for _ in 0..40 {
            // xorshift64: the same sequence in every run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            body.push((state >> 32) as u8);
        }
        let _ = decode(&body, &GroupVersionKind::new("", "v1", "Pod"));
    }
}
