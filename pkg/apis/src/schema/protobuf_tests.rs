//! What protobuf bodies are read as.

use serde_json::json;

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
    decode(&envelope(api_version, kind, object), &GroupVersionKind::new("", "v1", "ConfigMap"))
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
fn what_is_no_message_is_refused() {
    let expected = GroupVersionKind::new("", "v1", "ConfigMap");
    assert_eq!(decode(b"{}", &expected), Err(ProtobufError::Magic));
    assert_eq!(decode(b"k8s\0\x12\x7f", &expected), Err(ProtobufError::Truncated));
    assert_eq!(decode(b"k8s\0\x13", &expected), Err(ProtobufError::WireType(3)));
    assert_eq!(read("v1", "ConfigMap", &field(1, &field(1, b"\xff"))), Err(ProtobufError::Utf8));
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
