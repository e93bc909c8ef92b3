//! Strict decoding, canonical forms and merges on real kinds.

use apimachinery::GroupVersionKind;
use apimachinery::decode::ContentType;
use apimachinery::patch::{ListType, MapType, MergeSchema, strategic};
use serde_json::{Value, json};

use super::*;

fn pod() -> GroupVersionKind {
    GroupVersionKind::new("", "v1", "Pod")
}

fn deployment() -> GroupVersionKind {
    GroupVersionKind::new("apps", "v1", "Deployment")
}

#[test]
fn every_reference_resolves() {
    let mut kinds = 0;
    for (group, version, kind, type_) in roots() {
        kinds += 1;
        assert_eq!(Type::lookup(group, version, kind), Some(type_), "{group}/{version} {kind}");
        assert_eq!(Type::by_name(type_.name()), Some(type_));
        for field in type_.fields() {
            assert_eq!(type_.field(field.name()).map(Field::name), Some(field.name()));
        }
    }
    assert!(kinds > 150, "{kinds}");
    let options = GroupVersionKind::new("apps", "v1", "DeleteOptions");
    assert_eq!(Type::of(&options).map(Type::short_name), Some("DeleteOptions"));
}

#[test]
fn facts_of_fields() {
    let spec = Type::by_name("io.k8s.api.core.v1.PodSpec").unwrap();
    let containers = spec.field("containers").unwrap();
    assert_eq!((containers.wire(), containers.patch_merge_key(), containers.is_required()), (&[2][..], "name", true));
    assert_eq!(containers.list_type(), Some(ListType::Map));
    let ephemeral = Type::by_name("io.k8s.api.core.v1.EphemeralContainer").unwrap();
    assert_eq!(ephemeral.field("ports").unwrap().wire(), [1, 6]);
    assert_eq!(ephemeral.field("ports").unwrap().list_map_keys(), "containerPort,protocol");
    let rules = Type::by_name("io.k8s.api.admissionregistration.v1.NamedRuleWithOperations").unwrap();
    assert_eq!(rules.field("apiGroups").unwrap().wire().len(), 3);
    let volume = Type::by_name("io.k8s.api.core.v1.PersistentVolumeSpec").unwrap();
    let claim = Schema.field(volume.id(), "claimRef").unwrap();
    assert_eq!(claim.map_type, MapType::Granular);
    assert_eq!(Schema.field(spec.id(), "nodeSelector").unwrap().map_type, MapType::Atomic);
}

#[test]
fn unknown_fields_are_named_and_dropped() {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "lables": {}, "labels": {"x.y/z": "1"}}, "huh": 1,
        "spec": {"containers": [{"name": "c", "imagee": "x", "env": [{"name": "A", "valueFrom": {"fieldRef": {"path": "x"}}}]}],
            "volumes": [{"name": "v", "emptyDir": {"foo": 1}}]},
    });
    let mut unknown = conform(&pod(), &mut object).unwrap();
    unknown.sort();
    let expected = [
        "huh",
        "metadata.lables",
        "spec.containers[0].env[0].valueFrom.fieldRef.path",
        "spec.containers[0].imagee",
        "spec.volumes[0].emptyDir.foo",
    ];
    assert_eq!(unknown, expected);
    assert_eq!(object["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    assert_eq!(object["metadata"], json!({"name": "a", "labels": {"x.y/z": "1"}}));
}

#[test]
fn wrong_types_in_the_words_of_go() {
    let cases = [
        (
            json!({"spec": {"replicas": "x"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 5_000_000_000_i64}}),
            "json: cannot unmarshal number 5000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"paused": "true"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
        (
            json!({"spec": []}),
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"metadata": {"labels": []}}),
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": {}}}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [1]}}}}),
            "json: cannot unmarshal number into Go struct field PodSpec.spec.template.spec.containers of type v1.Container",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}}}}),
            "json: cannot unmarshal string into Go struct field ContainerPort.spec.template.spec.containers.ports.containerPort of type int32",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"env": [{"value": 1}]}]}}}}),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}}}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (json!([]), "json: cannot unmarshal array into Go value of type v1.Deployment"),
    ];
    for (object, expected) in cases {
        assert_eq!(type_errors(&deployment(), &object).as_deref(), Some(expected), "{object}");
    }
    let secret = GroupVersionKind::new("", "v1", "Secret");
    let error = type_errors(&secret, &json!({"data": {"a": "abc!"}}));
    assert_eq!(error.as_deref(), Some("illegal base64 data at input byte 3"));
}

#[test]
fn canonical_forms() {
    let mut object = json!({
        "metadata": {"name": "a", "namespace": "", "creationTimestamp": null, "labels": {}, "annotations": {"a": null, "b": ""},
            "deletionTimestamp": "2026-01-02T03:04:05.5+01:00"},
        "spec": {"hostNetwork": false, "nodeName": "", "priority": 0, "terminationGracePeriodSeconds": 0, "tolerations": [],
            "securityContext": {}, "automountServiceAccountToken": false, "volumes": [{"name": "v", "emptyDir": {}, "hostPath": null}],
            "containers": [{"name": "c", "command": [], "env": [{"name": "A", "value": ""}], "tty": false,
                "resources": {"limits": {"cpu": 0.5, "memory": "1024Ki"}, "requests": {}},
                "ports": [{"containerPort": 80, "hostPort": 0, "protocol": ""}],
                "readinessProbe": {"httpGet": {"port": "http"}, "initialDelaySeconds": 0}}]},
        "status": {},
    });
    assert_eq!(conform(&pod(), &mut object), Ok(vec![]));
    assert_eq!(
        object,
        json!({
            "metadata": {"name": "a", "annotations": {"a": "", "b": ""}, "deletionTimestamp": "2026-01-02T02:04:05Z"},
            "spec": {"priority": 0, "terminationGracePeriodSeconds": 0, "securityContext": {}, "automountServiceAccountToken": false,
                "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "c", "env": [{"name": "A"}], "resources": {"limits": {"cpu": "500m", "memory": "1Mi"}},
                    "ports": [{"containerPort": 80}], "readinessProbe": {"httpGet": {"port": "http"}}}]},
            "status": {},
        })
    );
    let again = object.clone();
    canonicalise(&pod(), &mut object);
    assert_eq!(object, again, "idempotent");

    let claim = GroupVersionKind::new("", "v1", "PersistentVolumeClaim");
    let mut object = json!({"spec": {"storageClassName": "", "volumeName": ""}});
    canonicalise(&claim, &mut object);
    assert_eq!(
        object,
        json!({"metadata": {}, "spec": {"storageClassName": "", "resources": {}}, "status": {}}),
        "an empty class is a choice, and structs held by value are always there"
    );
    let node = GroupVersionKind::new("", "v1", "Node");
    let mut object = json!({"status": {"daemonEndpoints": {"kubeletEndpoint": {}}}});
    canonicalise(&node, &mut object);
    assert_eq!(object["status"]["daemonEndpoints"], json!({"kubeletEndpoint": {"Port": 0}}));
    assert_eq!(object["status"]["nodeInfo"]["kubeletVersion"], "", "an empty struct is written with its zero values");
    let role = GroupVersionKind::new("rbac.authorization.k8s.io", "v1", "Role");
    let mut object = json!({"rules": []});
    canonicalise(&role, &mut object);
    assert_eq!(object, json!({"metadata": {}, "rules": []}));
    let mut custom = json!({"spec": {"a": null}});
    assert_eq!(conform(&GroupVersionKind::new("x.io", "v1", "Foo"), &mut custom), Ok(vec![]));
    assert_eq!(custom, json!({"spec": {"a": null}}), "custom resources stay as they are");
}

#[test]
fn strict_texts() {
    let body = br#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"foo":1,"replicas":1,"replicas":2}}"#;
    let (_, messages) = decode(&deployment(), body, ContentType::Json).unwrap();
    let error = strict_error(&deployment(), &messages);
    assert_eq!(
        error.message(),
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: \
         unknown field \"spec.foo\", duplicate field \"spec.replicas\""
    );
    let error = decode(&deployment(), br#"{"spec":{"replicas":"x"}}"#, ContentType::Json).unwrap_err();
    assert!(
        error.message().starts_with("Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot")
    );
}

#[test]
fn declared_defaults() {
    assert_eq!(default_value(&deployment(), "spec.template.spec.containers.ports.protocol"), Some(json!("TCP")));
    assert_eq!(default_value(&deployment(), "spec.replicas"), None);
    let mut object = json!({"spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}});
    let service = GroupVersionKind::new("", "v1", "Service");
    apply_defaults(&service, &mut object);
    assert_eq!(object["spec"]["ports"], json!([{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]));
    let mut places = Vec::new();
    let map = object.as_object().unwrap();
    walk(Type::of(&service).unwrap(), map, "", &mut |t, _, path| places.push(format!("{path}:{}", t.short_name())));
    assert_eq!(places, [":Service", "spec:ServiceSpec", "spec.ports[0]:ServicePort", "spec.ports[1]:ServicePort"]);
}

#[test]
fn merges_by_the_table() {
    let mut object = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}}});
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "z"}]}}}});
    let root = type_of(&deployment()).unwrap();
    strategic::merge(&mut object, patch, &Schema, root).unwrap();
    let expected = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "z"}]);
    assert_eq!(object["spec"]["template"]["spec"]["containers"], expected);
    let error =
        strategic::merge(&mut json!({"spec": {"foo": {}}}), json!({"spec": {"foo": {}}}), &Schema, root).unwrap_err();
    assert_eq!(error.message(), "unable to find api field in struct DeploymentSpec for the json field \"foo\"");
}

#[test]
fn typed_library_reads_what_we_write() {
    // A canonical object must still be a legal object for typed readers.
    let mut object: Value = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": ""}]}});
    canonicalise(&pod(), &mut object);
    let typed: k8s_openapi::api::core::v1::Pod = serde_json::from_value(object).unwrap();
    assert_eq!(typed.spec.unwrap().containers[0].name, "c");
}

#[test]
fn every_name_is_found_and_no_other() {
    for type_ in Type::all() {
        for field in type_.fields() {
            let name = field.name();
            assert_eq!(type_.field(name).map(Field::name), Some(name), "{type_:?}");
            for other in [&name[..name.len() - 1], &format!("{name}\0"), &format!("{name}x")] {
                let there = type_.fields().any(|field| field.name() == other);
                assert_eq!(type_.field(other).is_some(), there, "{type_:?}.{other:?}");
            }
        }
        assert!(type_.field("").is_none());
    }
}
