//! Rules of volumes and mounts.

use super::simple;
use crate::testing::{check_create, row};

#[test]
fn mounts_and_devices() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                "spec.containers[0].volumeMounts = [{\"name\":\"v\",\"mountPath\":\"/v\"}]",
                &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
            ),
            (
                "spec.volumes = [{\"name\":\"v\"}] ; spec.containers[0].volumeMounts = \
         [{\"name\":\"v\",\"mountPath\":\"\"}]",
                &["spec.containers[0].volumeMounts[0].mountPath: Required value"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\"}] ; spec.containers[0].volumeMounts = \
         [{\"name\":\"v\",\"mountPath\":\"/a\"},{\"name\":\"v\",\"mountPath\":\"/a\"}]",
                &["spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\"}] ; spec.containers[0].volumeMounts = \
         [{\"name\":\"v\",\"mountPath\":\"/a\",\"subPath\":\"/x\"}]",
                &["spec.containers[0].volumeMounts.subPath: Invalid value: \"/x\": must be a relative path"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\"}] ; spec.containers[0].volumeMounts = \
         [{\"name\":\"v\",\"mountPath\":\"/a\",\"subPath\":\"x\",\"subPathExpr\":\"y\"}]",
                &["spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: \"y\": subPathExpr and subPath \
             are mutually exclusive"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\"}] ; spec.containers[0].volumeMounts = \
         [{\"name\":\"v\",\"mountPath\":\"/a\",\"mountPropagation\":\"Both\"}]",
                &["spec.containers[0].volumeMounts.mountPropagation: Unsupported value: \"Both\": supported values: \
             \"Bidirectional\", \"HostToContainer\", \"None\""],
            ),
            (
                "spec.volumes = [{\"name\":\"v\"}] ; spec.containers[0].volumeMounts = \
         [{\"name\":\"v\",\"mountPath\":\"/a\",\"mountPropagation\":\"Bidirectional\"}]",
                &["spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is \
             available only to privileged containers"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\"}] ; spec.containers[0].volumeMounts = \
         [{\"name\":\"v\",\"mountPath\":\"/a\",\"recursiveReadOnly\":\"Enabled\"}]",
                &["spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when \
             readOnly is true"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\"}] ; spec.containers[0].volumeMounts = \
         [{\"name\":\"v\",\"mountPath\":\"/a\",\"recursiveReadOnly\":\"Yes\"}]",
                &["spec.containers[0].volumeMounts.recursiveReadOnly: Unsupported value: \"Yes\": supported values: \
             \"Disabled\", \"Enabled\", \"IfPossible\""],
            ),
            (
                "spec.volumes = [{\"name\":\"v\"}] ; spec.containers[0].volumeDevices = \
         [{\"name\":\"v\",\"devicePath\":\"/dev/x\"}]",
                &["spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type \
             of PersistentVolumeClaim or Ephemeral for block mode"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}] ; \
         spec.containers[0].volumeDevices = [{\"name\":\"v\",\"devicePath\":\"/dev/../x\"}]",
                &["spec.containers[0].volumeDevices[0].devicePath: Invalid value: \"/dev/../x\": can not contain \
             backsteps ('..')"],
            ),
            (
                "spec.containers[0].volumeDevices = [{\"name\":\"\",\"devicePath\":\"\"}]",
                &[
                    "spec.containers[0].volumeDevices[0].name: Required value",
                    "spec.containers[0].volumeDevices[0].name: Not found: \"\"",
                    "spec.containers[0].volumeDevices[0].devicePath: Required value",
                ],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"image\":{\"reference\":\"i\"}}] ; spec.containers[0].volumeMounts \
         = [{\"name\":\"v\",\"mountPath\":\"/a\",\"mountPropagation\":\"HostToContainer\"}]",
                &[],
            ),
        ],
    );
}

#[test]
fn sources() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                "spec.volumes = [{\"name\":\"v\",\"emptyDir\":{},\"secret\":{\"secretName\":\"s\"}}]",
                &["spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type"],
            ),
            ("spec.volumes = [{\"name\":\"v\"},{\"name\":\"v\"}]", &["spec.volumes[1].name: Duplicate value: \"v\""]),
            ("spec.volumes = [{\"name\":\"\"}]", &["spec.volumes[0].name: Required value"]),
            (
                "spec.volumes = [{\"name\":\"v\",\"emptyDir\":{\"sizeLimit\":\"-1\"}}]",
                &["spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"hostPath\":{\"path\":\"\"}}]",
                &["spec.volumes[0].hostPath.path: Required value"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"hostPath\":{\"path\":\"/a/../b\",\"type\":\"Odd\"}}]",
                &[
                    "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                    "spec.volumes[0].hostPath.type: Unsupported value: \"Odd\": supported values: \"\", \
             \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \
             \"FileOrCreate\", \"Socket\"",
                ],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"secret\":{\"secretName\":\"\",\"defaultMode\":512}}]",
                &[
                    "spec.volumes[0].secret.secretName: Required value",
                    "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 \
             (octal), both inclusive",
                ],
            ),
            (
                "spec.volumes = \
         [{\"name\":\"v\",\"secret\":{\"secretName\":\"s\",\"items\":[{\"key\":\"\",\"path\":\"../x\",\"mode\":-1}]}}]",
                &[
                    "spec.volumes[0].secret.items[0].key: Required value",
                    "spec.volumes[0].secret.items[0].path: Invalid value: \"../x\": must not contain '..'",
                    "spec.volumes[0].secret.items[0].mode: Invalid value: -1: must be a number between 0 and 0777 \
             (octal), both inclusive",
                ],
            ),
            ("spec.volumes = [{\"name\":\"v\",\"configMap\":{}}]", &["spec.volumes[0].configMap.name: Required value"]),
            (
                "spec.volumes = \
         [{\"name\":\"v\",\"downwardAPI\":{\"items\":[{\"path\":\"/x\",\"fieldRef\":{\"fieldPath\":\"spec.nope\"}}]}}]",
                &[
                    "spec.volumes[0].downwardAPI.path: Invalid value: \"/x\": must be a relative path",
                    "spec.volumes[0].downwardAPI.fieldRef.fieldPath: Invalid value: \"spec.nope\": error converting \
             fieldPath: field label not supported: spec.nope",
                ],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"downwardAPI\":{\"items\":[{\"path\":\"x\"}]}}]",
                &["spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"\"}}]",
                &["spec.volumes[0].persistentVolumeClaim.claimName: Required value"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"nfs\":{\"server\":\"\",\"path\":\"x\"}}]",
                &[
                    "spec.volumes[0].nfs.server: Required value",
                    "spec.volumes[0].nfs.path: Invalid value: \"x\": must be an absolute path",
                ],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"gitRepo\":{\"repository\":\"\",\"directory\":\"/x\"}}]",
                &[
                    "spec.volumes[0].gitRepo.repository: Required value",
                    "spec.volumes[0].gitRepo.directory: Invalid value: \"/x\": must be a relative path",
                ],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"csi\":{\"driver\":\"\"}}]",
                &["spec.volumes[0].csi.driver: Required value"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"csi\":{\"driver\":\"a..b\",\"nodePublishSecretRef\":{}}}]",
                &[
                    "spec.volumes[0].csi.driver: Invalid value: \"a..b\": {subdomain}",
                    "spec.volumes[0].csi.nodePublishSecretRef.name: Required value",
                ],
            ),
            ("spec.volumes = [{\"name\":\"v\",\"image\":{}}]", &["spec.volumes[0].image.reference: Required value"]),
            (
                "spec.volumes = [{\"name\":\"v\",\"iscsi\":{\"targetPortal\":\"\",\"iqn\":\"x\",\"lun\":256}}]",
                &[
                    "spec.volumes[0].iscsi.targetPortal: Required value",
                    "spec.volumes[0].iscsi.iqn: Invalid value: \"x\": must be valid format starting with iqn, eui, or \
             naa",
                    "spec.volumes[0].iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                ],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"ephemeral\":{}}]",
                &["spec.volumes[0].ephemeral.volumeClaimTemplate: Required value"],
            ),
            (
                "spec.volumes = \
         [{\"name\":\"v\",\"ephemeral\":{\"volumeClaimTemplate\":{\"metadata\":{\"name\":\"x\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}}}]",
                &["spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"ephemeral\":{\"volumeClaimTemplate\":{\"spec\":{}}}}]",
                &[
                    "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 \
             access mode is required",
                    "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
                ],
            ),
            (
                "spec.volumes = \
         [{\"name\":\"v\",\"ephemeral\":{\"volumeClaimTemplate\":{\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}}},{\"name\":\"w\",\"persistentVolumeClaim\":{\"claimName\":\"web-v\"}}]",
                &["spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: \"web-v\": must not reference a \
             PVC that gets created for an ephemeral volume"],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"fc\":{}}]",
                &["spec.volumes[0].fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not \
             both"],
            ),
            ("spec.volumes = [{\"name\":\"v\",\"cephfs\":{}}]", &["spec.volumes[0].cephfs.monitors: Required value"]),
            (
                "spec.volumes = \
         [{\"name\":\"v\",\"azureDisk\":{\"diskName\":\"d\",\"diskURI\":\"x\",\"kind\":\"Odd\"}}]",
                &[
                    "spec.volumes[0].azureDisk.kind: Unsupported value: \"Odd\": supported values: \"Dedicated\", \
             \"Managed\", \"Shared\"",
                    "spec.volumes[0].azureDisk.diskURI: Unsupported value: \"x\": supported values: \
             \"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd\"",
                ],
            ),
            (
                "spec.volumes = [{\"name\":\"v\",\"flocker\":{}}]",
                &["spec.volumes[0].flocker: Required value: one of datasetName and datasetUUID is required"],
            ),
        ],
    );
}

#[test]
fn mounts_against_devices() {
    let both = r#"spec.volumes = [{"name":"v","persistentVolumeClaim":{"claimName":"c"}},{"name":"w","persistentVolumeClaim":{"claimName":"d"}}]"#;
    let same = format!(
        r#"{both} ; spec.containers[0].volumeMounts = [{{"name":"v","mountPath":"/a"}}] ; spec.containers[0].volumeDevices = [{{"name":"v","devicePath":"/a"}}]"#
    );
    let twice = format!(
        r#"{both} ; spec.containers[0].volumeDevices = [{{"name":"v","devicePath":"/a"}},{{"name":"v","devicePath":"/a"}}]"#
    );
    let fine = format!(
        r#"{both} ; spec.containers[0].volumeMounts = [{{"name":"v","mountPath":"/a"}}] ; spec.containers[0].volumeDevices = [{{"name":"w","devicePath":"/b"}}]"#
    );
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (&fine, &[]),
            (
                &same,
                &[
                    "spec.containers[0].volumeMounts[0].name: Invalid value: \"v\": must not already exist in \
                     volumeDevices",
                    "spec.containers[0].volumeMounts[0].mountPath: Invalid value: \"/a\": must not already exist as a \
                     path in volumeDevices",
                    "spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": must not already exist in \
                     volumeMounts",
                    "spec.containers[0].volumeDevices[0].devicePath: Invalid value: \"/a\": must not already exist as a \
                     path in volumeMounts",
                ],
            ),
            (
                &twice,
                &[
                    "spec.containers[0].volumeDevices[1].name: Invalid value: \"v\": must be unique",
                    "spec.containers[0].volumeDevices[1].devicePath: Invalid value: \"/a\": must be unique",
                ],
            ),
            (
                r#"spec.volumes = [{"name":"v"}] ; spec.containers[0].volumeMounts = [{"name":"v","mountPath":"/a","readOnly":true,"recursiveReadOnly":"Enabled","mountPropagation":"HostToContainer"}]"#,
                &["spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when \
                   mountPropagation is None or not specified"],
            ),
            (
                r#"spec.volumes = [{"name":"v"}] ; spec.containers[0].volumeMounts = [{"name":"v","mountPath":"/a","subPathExpr":"../x"}]"#,
                &["spec.containers[0].volumeMounts.subPathExpr: Invalid value: \"../x\": must not contain '..'"],
            ),
            (
                r#"spec.volumes = [{"name":"v"}] ; spec.containers[0].securityContext.privileged = true ; spec.containers[0].volumeMounts = [{"name":"v","mountPath":"/a","mountPropagation":"Bidirectional"}]"#,
                &[],
            ),
        ],
    );
}

#[test]
fn local_sources() {
    let long = "b".repeat(60);
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                r#"spec.volumes = [{"name":"v","configMap":{"name":"c","items":[{"key":"a","path":"..x"}]}}]"#,
                &["spec.volumes[0].configMap.items[0].path: Invalid value: \"..x\": must not start with '..'"],
            ),
            (
                r#"spec.volumes = [{"name":"v","downwardAPI":{"items":[{"path":"a","fieldRef":{"fieldPath":"metadata.labels"},"resourceFieldRef":{"containerName":"c","resource":"limits.cpu"}}]}}]"#,
                &[
                    "spec.volumes[0].downwardAPI: Invalid value: \"resource\": fieldRef and resourceFieldRef can not be \
                   specified simultaneously",
                ],
            ),
            (
                r#"spec.volumes = [{"name":"v","downwardAPI":{"items":[{"path":"a","resourceFieldRef":{"resource":"limits.cpu"}}]}}]"#,
                &["spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value"],
            ),
            (r#"spec.volumes = [{"name":"v","image":{"reference":"i","pullPolicy":"Never"}}]"#, &[]),
            (
                r#"spec.volumes = [{"name":"v","image":{"reference":"i","pullPolicy":"Odd"}}]"#,
                &["spec.volumes[0].image.pullPolicy: Unsupported value: \"Odd\": supported values: \"Always\", \
                   \"IfNotPresent\", \"Never\""],
            ),
            (
                &format!(
                    r#"metadata.name = {} ; spec.volumes = [{{"name":"{long}","ephemeral":{{"volumeClaimTemplate":{{"spec":{{"accessModes":["ReadWriteOnce"],"resources":{{"requests":{{"storage":"1Gi"}}}}}}}}}}}}]"#,
                    "a".repeat(200)
                ),
                &[&format!(
                    "spec.volumes[0].name: Invalid value: {long:?}: PVC name \"{}-{long}\": must be no more than 253 bytes",
                    "a".repeat(200)
                )],
            ),
        ],
    );
}
