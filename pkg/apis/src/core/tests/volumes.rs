//! Rules of PersistentVolumes.

use serde_json::{Value, json};

use crate::testing::{check_create, check_update, check_warnings, row};

fn volume() -> Value {
    json!({
        "metadata": { "name": "disk" },
        "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/d" } }
    })
}

fn csi() -> Value {
    json!({
        "metadata": { "name": "disk" },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"],
            "csi": { "driver": "a.b", "volumeHandle": "h" }, "volumeAttributesClassName": "gold",
            "nodeAffinity": { "required": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": "beta.kubernetes.io/os", "operator": "In", "values": ["linux"] }] }
            ] } }
        }
    })
}

#[test]
fn new_volumes() {
    check_create(
        row("", "persistentvolumes"),
        &volume(),
        &[
            ("", &[]),
            ("spec.accessModes = []", &["spec.accessModes: Required value"]),
            (
                "spec.accessModes = [\"Odd\",\"ReadWriteOncePod\"]",
                &["spec.accessModes: Unsupported value: \"Odd\": supported values: \"ReadOnlyMany\", \
             \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\""],
            ),
            (
                "spec.accessModes = [\"ReadWriteOnce\",\"ReadWriteOncePod\"]",
                &["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
            ),
            (
                "spec.capacity = null",
                &[
                    "spec.capacity: Required value",
                    "spec.capacity: Unsupported value: null: supported values: \"storage\"",
                ],
            ),
            (
                "spec.capacity.cpu = 1",
                &["spec.capacity: Unsupported value: {\"cpu\":\"1\",\"storage\":\"1Gi\"}: supported values: \
             \"storage\""],
            ),
            (
                "spec.capacity.storage = \"-1\"",
                &[
                    "spec.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
                    "spec.capacity[storage]: Invalid value: \"-1\": must be greater than zero",
                ],
            ),
            ("spec.capacity.storage = 0", &["spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"]),
            (
                "spec.persistentVolumeReclaimPolicy = Odd",
                &["spec.persistentVolumeReclaimPolicy: Unsupported value: \"Odd\": supported values: \"Delete\", \
             \"Recycle\", \"Retain\""],
            ),
            (
                "spec.persistentVolumeReclaimPolicy = Recycle ; spec.hostPath.path = \"//.\"",
                &["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
            ),
            (
                "spec.nodeAffinity = {}",
                &["spec.nodeAffinity.required: Required value: must specify required node constraints"],
            ),
            ("spec.hostPath = null", &["spec: Required value: must specify a volume type"]),
            (
                "spec.nfs = {\"server\":\"s\",\"path\":\"/x\"}",
                &["spec.nfs: Forbidden: may not specify more than 1 volume type"],
            ),
            ("spec.flexVolume = {\"driver\":\"a/b\"}", &[]),
            (
                r#"spec.hostPath = null ; spec.azureFile = {"secretName":"s","shareName":"s","secretNamespace":""}"#,
                &["spec.azureFile.secretNamespace: Required value"],
            ),
            (
                r#"spec.hostPath = null ; spec.glusterfs = {"endpoints":"e","path":"p","endpointsNamespace":""}"#,
                &[
                    "spec.glusterfs.endpointsNamespace: Invalid value: \"\": if the endpointnamespace is set, it must be a \
                   valid namespace name",
                ],
            ),
            (
                r#"spec.hostPath = null ; spec.glusterfs = {"endpoints":"e","path":"p","endpointsNamespace":"N"}"#,
                &["spec.glusterfs.endpointsNamespace: Invalid value: \"N\": {label}"],
            ),
            (
                r#"spec.hostPath = null ; spec.csi = {"driver":"a.b","nodeStageSecretRef":{},"controllerExpandSecretRef":{"name":"A","namespace":"B"}}"#,
                &[
                    "spec.csi.volumeHandle: Required value",
                    "spec.csi.controllerExpandSecretRef.name: Invalid value: \"A\": {subdomain}",
                    "spec.csi.controllerExpandSecretRef.namespace: Invalid value: \"B\": {label}",
                ],
            ),
            (
                "spec.hostPath = null ; spec.local = {\"path\":\"/x\"}",
                &["spec.nodeAffinity: Required value: Local volume requires node affinity"],
            ),
            (
                "spec.hostPath = null ; spec.local = {\"path\":\"\"} ; spec.nodeAffinity.required.nodeSelectorTerms = \
         [{}]",
                &["spec.local.path: Required value"],
            ),
            ("spec.storageClassName = A", &["spec.storageClassName: Invalid value: \"A\": {subdomain}"]),
            (
                "spec.volumeMode = Odd",
                &["spec.volumeMode: Unsupported value: \"Odd\": supported values: \"Block\", \"Filesystem\""],
            ),
            (
                "spec.volumeAttributesClassName = \"\"",
                &[
                    "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
                    "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
                ],
            ),
            (
                "spec.volumeAttributesClassName = A",
                &[
                    "spec.volumeAttributesClassName: Invalid value: \"A\": {subdomain}",
                    "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
                ],
            ),
            (
                "spec.hostPath = null ; spec.csi = {\"driver\":\"\",\"volumeHandle\":\"\"}",
                &["spec.csi.driver: Required value", "spec.csi.volumeHandle: Required value"],
            ),
            (
                "spec.hostPath = null ; spec.csi = \
         {\"driver\":\"a\",\"volumeHandle\":\"h\",\"nodePublishSecretRef\":{\"name\":\"A\"}}",
                &[
                    "spec.csi.nodePublishSecretRef.name: Invalid value: \"A\": {subdomain}",
                    "spec.csi.nodePublishSecretRef.namespace: Required value",
                ],
            ),
        ],
    );
}

#[test]
fn changed_volumes() {
    check_update(
        row("", "persistentvolumes"),
        &csi(),
        &[
            ("", &[]),
            ("spec.capacity.storage = 2Gi", &[]),
            (
                "spec.csi.volumeHandle = i",
                &["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after \
             creation\nspec.csi.volumeHandle: - \"h\" + \"i\"\n"],
            ),
            ("spec.csi.controllerExpandSecretRef = {\"name\":\"s\",\"namespace\":\"d\"}", &[]),
            ("spec.volumeMode = Block", &["volumeMode: Invalid value: \"Block\": field is immutable"]),
            ("spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key = kubernetes.io/os", &[]),
            (
                "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key = other",
                &["nodeAffinity: Invalid value: \
             {\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"other\",\"operator\":\"In\",\"values\":[\"linux\"]}]}]}}: \
             field is immutable, except for updating from beta label to GA"],
            ),
            (
                "spec.nodeAffinity = null",
                &["nodeAffinity: Invalid value: null: field is immutable, except for updating from beta label to GA"],
            ),
            ("spec.volumeAttributesClassName = silver", &[]),
            (
                "spec.volumeAttributesClassName = null",
                &["spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden"],
            ),
        ],
    );
}

#[test]
fn warnings() {
    check_warnings(
        row("", "persistentvolumes"),
        &volume(),
        &[
            ("", &[]),
            (
                "metadata.annotations = \
         {\"volume.beta.kubernetes.io/storage-class\":\"a\",\"volume.beta.kubernetes.io/mount-options\":\"b\"}",
                &[
                    "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \
             \"storageClassName\" attribute instead",
                    "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use \
             \"mountOptions\" attribute instead",
                ],
            ),
            (
                "spec.persistentVolumeReclaimPolicy = Recycle",
                &["spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the \
             recommended approach is to use dynamic provisioning."],
            ),
            (
                "spec.hostPath = null ; spec.glusterfs = {\"endpoints\":\"e\",\"path\":\"p\"}",
                &["spec.glusterfs: deprecated in v1.25, non-functional in v1.26+"],
            ),
            (
                "spec.nodeAffinity.required.nodeSelectorTerms = \
         [{\"matchExpressions\":[{\"key\":\"beta.kubernetes.io/os\",\"operator\":\"Exists\"}]}]",
                &["spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os \
             is deprecated since v1.14; use \"kubernetes.io/os\" instead"],
            ),
        ],
    );
}
