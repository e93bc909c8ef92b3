//! Rules of volumes that live outside the node.

use super::simple;
use crate::testing::{check_create, row};

/// Each source by itself in the only volume of a pod: JSON of the volume without its name, and the errors.
fn check(sources: &[(&str, &[&str])]) {
    for (source, errors) in sources {
        let changes = format!("spec.volumes = [{{\"name\":\"v\",{source}}}]");
        let errors: Vec<String> = errors.iter().map(|error| format!("spec.volumes[0].{error}")).collect();
        let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
        check_create(row("", "pods"), &simple(), &[(&changes, &errors)]);
    }
}

#[test]
fn disks_of_clouds() {
    check(&[
        (r#""gcePersistentDisk":{"pdName":"d","partition":1}"#, &[]),
        (
            r#""gcePersistentDisk":{"partition":256}"#,
            &[
                "persistentDisk.pdName: Required value",
                "persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive",
            ],
        ),
        (r#""awsElasticBlockStore":{"volumeID":"d"}"#, &[]),
        (
            r#""awsElasticBlockStore":{"partition":-1}"#,
            &[
                "awsElasticBlockStore.volumeID: Required value",
                "awsElasticBlockStore.partition: Invalid value: -1: must be between 1 and 255, inclusive",
            ],
        ),
        (r#""cinder":{"volumeID":"d"}"#, &[]),
        (r#""cinder":{"secretRef":{}}"#, &["cinder.volumeID: Required value", "cinder.secretRef.name: Required value"]),
        (r#""azureFile":{"secretName":"s","shareName":"s"}"#, &[]),
        (r#""azureFile":{}"#, &["azureFile.secretName: Required value", "azureFile.shareName: Required value"]),
        (
            r#""azureDisk":{"diskName":"d","diskURI":"/subscriptions/x","kind":"Managed","cachingMode":"Odd"}"#,
            &[
                "azureDisk.cachingMode: Unsupported value: \"Odd\": supported values: \"None\", \"ReadOnly\", \"ReadWrite\"",
            ],
        ),
        (
            r#""azureDisk":{"diskName":"d","diskURI":"https://x","kind":"Managed"}"#,
            &["azureDisk.diskURI: Unsupported value: \"https://x\": supported values: \
               \"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}\""],
        ),
        (r#""vsphereVolume":{"volumePath":"p"}"#, &[]),
        (r#""vsphereVolume":{}"#, &["vsphereVolume.volumePath: Required value"]),
        (r#""photonPersistentDisk":{}"#, &["photonPersistentDisk.pdID: Required value"]),
        (r#""portworxVolume":{}"#, &["portworxVolume.volumeID: Required value"]),
    ]);
}

#[test]
fn block_devices() {
    check(&[
        (r#""iscsi":{"targetPortal":"p","iqn":"iqn.2026-01.com.example:a","lun":0}"#, &[]),
        (r#""iscsi":{"targetPortal":"p","iqn":"eui.0123456789abcdef","lun":0}"#, &[]),
        (r#""iscsi":{"targetPortal":"p","iqn":"naa.0123456789abcdef0123456789abcdef","lun":0}"#, &[]),
        (r#""iscsi":{"targetPortal":"p"}"#, &["iscsi.iqn: Required value"]),
        (
            r#""iscsi":{"targetPortal":"p","iqn":"iqn.2026-1.com.example:a"}"#,
            &["iscsi.iqn: Invalid value: \"iqn.2026-1.com.example:a\": must be valid format"],
        ),
        (
            r#""iscsi":{"targetPortal":"p","iqn":"eui.1","chapAuthSession":true}"#,
            &["iscsi.iqn: Invalid value: \"eui.1\": must be valid format", "iscsi.secretRef: Required value"],
        ),
        (
            r#""iscsi":{"targetPortal":"a-portal-with-a-name-of-no-less-than-sixty-two-characters-:3260","iqn":"iqn.2026-01.com.example:a","initiatorName":"iqn.2026-01.com.example:b"}"#,
            &["name: Invalid value: \"v\": Total length of <volume name>:<iscsi.targetPortal> must be under 64 \
               characters if iscsi.initiatorName is specified."],
        ),
        (
            r#""iscsi":{"targetPortal":"p","iqn":"iqn.2026-01.com.example:a","initiatorName":"x"}"#,
            &["iscsi.initiatorname: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa"],
        ),
        (r#""fc":{"targetWWNs":["a"],"lun":255}"#, &[]),
        (r#""fc":{"wwids":["a"]}"#, &[]),
        (r#""fc":{"targetWWNs":["a"]}"#, &["fc.lun: Required value: lun is required if targetWWNs is specified"]),
        (
            r#""fc":{"targetWWNs":["a"],"wwids":["b"],"lun":256}"#,
            &[
                "fc.targetWWNs: Invalid value: [\"a\"]: targetWWNs and wwids can not be specified simultaneously",
                "fc.lun: Invalid value: 256: must be between 0 and 255, inclusive",
            ],
        ),
        (r#""rbd":{"monitors":["m"],"image":"i"}"#, &[]),
        (r#""rbd":{}"#, &["rbd.monitors: Required value", "rbd.image: Required value"]),
        (
            r#""scaleIO":{}"#,
            &[
                "scaleIO.gateway: Required value",
                "scaleIO.system: Required value",
                "scaleIO.volumeName: Required value",
            ],
        ),
    ]);
}

#[test]
fn file_systems() {
    check(&[
        (r#""glusterfs":{"endpoints":"e","path":"p"}"#, &[]),
        (r#""glusterfs":{}"#, &["glusterfs.endpoints: Required value", "glusterfs.path: Required value"]),
        (r#""flocker":{"datasetName":"d"}"#, &[]),
        (
            r#""flocker":{"datasetName":"a/b","datasetUUID":"u"}"#,
            &[
                "flocker: Invalid value: \"resource\": datasetName and datasetUUID can not be specified simultaneously",
                "flocker.datasetName: Invalid value: \"a/b\": must not contain '/'",
            ],
        ),
        (r#""quobyte":{"registry":"a:1,[::1]:2","volume":"v"}"#, &[]),
        (
            r#""quobyte":{}"#,
            &[
                "quobyte.registry: Required value: must be a host:port pair or multiple pairs separated by commas",
                "quobyte.volume: Required value",
            ],
        ),
        (
            r#""quobyte":{"registry":"a","volume":"v"}"#,
            &["quobyte.registry: Invalid value: \"a\": must be a host:port pair or multiple pairs separated by commas"],
        ),
        (
            r#""quobyte":{"registry":"a:1","volume":"v","tenant":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"}"#,
            &["quobyte.tenant: Required value: must be a UUID and may not exceed a length of 64 characters"],
        ),
        (r#""storageos":{"volumeName":"v","volumeNamespace":"n"}"#, &[]),
        (
            r#""storageos":{"volumeName":"V","volumeNamespace":"N","secretRef":{}}"#,
            &[
                "storageos.volumeName: Invalid value: \"V\": {label}",
                "storageos.volumeNamespace: Invalid value: \"N\": {label}",
                "storageos.secretRef.name: Required value",
            ],
        ),
        (r#""flexVolume":{"driver":"d","options":{"a.b/c":"d"}}"#, &[]),
        (
            r#""flexVolume":{"options":{"a.kubernetes.io/b":"c","K8s.io":"d"}}"#,
            &[
                "flexVolume.driver: Required value",
                "flexVolume.options[K8s.io]: Invalid value: \"K8s.io\": kubernetes.io and k8s.io namespaces are reserved",
                "flexVolume.options[a.kubernetes.io/b]: Invalid value: \"a.kubernetes.io/b\": kubernetes.io and k8s.io \
                 namespaces are reserved",
            ],
        ),
        (r#""csi":{"driver":"a.b","nodePublishSecretRef":{"name":"s"}}"#, &[]),
        (
            r#""csi":{"driver":"a.b","nodePublishSecretRef":{"name":"S"}}"#,
            &["csi.name: Invalid value: \"S\": {subdomain}"],
        ),
        (
            r#""csi":{"driver":"a123456789.a123456789.a123456789.a123456789.a123456789.a123456789"}"#,
            &["csi.driver: Too long: may not be more than 63 bytes"],
        ),
    ]);
}
