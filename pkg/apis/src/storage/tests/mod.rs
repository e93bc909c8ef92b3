mod csi;

use serde_json::{Value, json};

use super::GROUP;
use crate::testing::{
    Rules, cells, check_create, check_defaults, check_status, check_update, defaulted, row, warnings,
};

const QUALIFIED: &str = "{name part}";

fn many_parameters(count: usize, size: usize) -> String {
    let parameters: serde_json::Map<String, Value> =
        (0..count).map(|i| (format!("k{i}"), "x".repeat(size).into())).collect();
    format!("parameters = {}", Value::from(parameters))
}

#[test]
fn class_rules() {
    let rows = row(GROUP, "storageclasses");
    let base = json!({ "metadata": { "name": "fast" }, "provisioner": "a.example/B" });
    let (many, large) = (many_parameters(513, 1), many_parameters(2, 128 * 1024));
    let bad_name = format!("provisioner: Invalid value: \"a b\": {QUALIFIED}");
    let bad_key = format!("allowedTopologies[0].matchLabelExpressions[0].key: Invalid value: \"a b\": {QUALIFIED}");
    let rules: Rules<'_> = &[
        ("", &[]),
        ("provisioner = null", &["provisioner: Required value"]),
        ("provisioner = A b", &[&bad_name]),
        (&many, &["parameters: Too long: may not be more than 512 bytes"]),
        (&large, &["parameters: Too long: may not be more than 262144 bytes"]),
        ("parameters[] = x", &["parameters: Invalid value: \"\": field can not be empty."]),
        ("reclaimPolicy = Retain ; volumeBindingMode = WaitForFirstConsumer", &[]),
        (
            "reclaimPolicy = Recycle",
            &["reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\""],
        ),
        (
            "volumeBindingMode = Late",
            &["volumeBindingMode: Unsupported value: \"Late\": supported values: \"Immediate\", \
               \"WaitForFirstConsumer\""],
        ),
        ("allowedTopologies = [{\"matchLabelExpressions\":[{\"key\":\"zone\",\"values\":[\"a\"]}]}]", &[]),
        (
            "allowedTopologies = [{\"matchLabelExpressions\":[{\"key\":\"a b\",\"values\":[]}]}]",
            &["allowedTopologies[0].matchLabelExpressions[0].values: Required value", &bad_key],
        ),
        (
            "allowedTopologies = [{\"matchLabelExpressions\":[{\"key\":\"z\",\"values\":[\"a\",\"a\"]},{\"key\":\"z\",\
             \"values\":[\"b\"]}]}]",
            &[
                "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"",
                "allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"z\"",
            ],
        ),
        (
            "allowedTopologies = [{\"matchLabelExpressions\":[{\"key\":\"z\",\"values\":[\"a\",\"b\"]}]},\
             {\"matchLabelExpressions\":[{\"key\":\"z\",\"values\":[\"b\",\"a\"]}]}]",
            &["allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""],
        ),
    ];
    check_create(rows, &base, rules);
    let updates: Rules<'_> = &[
        ("allowVolumeExpansion = true ; mountOptions = [\"ro\"]", &[]),
        ("parameters.a = b", &["parameters: Forbidden: updates to parameters are forbidden."]),
        ("provisioner = b", &["provisioner: Forbidden: updates to provisioner are forbidden."]),
        ("reclaimPolicy = Retain", &["reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden."]),
        (
            "volumeBindingMode = WaitForFirstConsumer",
            &["volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable"],
        ),
    ];
    check_update(rows, &base, updates);
    check_defaults(rows, &base, &[("", "reclaimPolicy = Delete ; volumeBindingMode = Immediate")]);
    let mut class = defaulted(rows, base);
    class["metadata"]["annotations"] = json!({ "storageclass.kubernetes.io/is-default-class": "true" });
    let want = ["fast (default)", "a.example/B", "Delete", "Immediate", "false", "<unknown>"];
    assert_eq!(cells(rows, &class), want);
    class["allowedTopologies"] =
        json!([{ "matchLabelExpressions": [{ "key": "failure-domain.beta.kubernetes.io/zone", "values": ["a"] }] }]);
    let want = "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17; use \
                \"topology.kubernetes.io/zone\" instead";
    assert_eq!(warnings(rows, &class), [want]);
}

#[test]
fn attributes_class_rules() {
    let rows = row(GROUP, "volumeattributesclasses");
    let base = json!({ "metadata": { "name": "gold" }, "driverName": "d.example", "parameters": { "iops": "1" } });
    let bad_name = format!("driverName: Invalid value: \"a b\": {QUALIFIED}");
    let rules: Rules<'_> = &[
        ("", &[]),
        ("driverName = null", &["driverName: Required value"]),
        ("driverName = a b", &[&bad_name]),
        ("parameters = null", &["parameters: Required value: must contain at least one key/value pair"]),
    ];
    check_create(rows, &base, rules);
    let updates: Rules<'_> = &[
        ("metadata.labels.a = b", &[]),
        ("driverName = e.example", &["driverName: Forbidden: updates to driverName are forbidden."]),
        ("parameters.iops = 2", &["parameters: Forbidden: updates to parameters are forbidden."]),
    ];
    check_update(rows, &base, updates);
    assert_eq!(cells(rows, &base), ["gold", "d.example", "<unknown>"]);
}

#[test]
fn attachment_rules() {
    let rows = row(GROUP, "volumeattachments");
    let source = json!({ "persistentVolumeName": "pv" });
    let base = json!({ "metadata": { "name": "a" },
        "spec": { "attacher": "d.example", "nodeName": "n", "source": source } });
    let subdomain = "{subdomain}";
    let (node, volume) = (
        format!("spec.nodeName: Invalid value: \"N\": {subdomain}"),
        format!("spec.source.persistentVolumeName: Invalid value: \"PV\": {subdomain}"),
    );
    let one_of = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let (both, neither) =
        (format!("spec.source: Forbidden: {one_of}"), format!("spec.source: Required value: {one_of}"));
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.attacher = null", &["spec.attacher: Required value", "spec.attacher: Required value"]),
        ("spec.nodeName = N", &[&node]),
        ("spec.source.persistentVolumeName = PV", &[&volume]),
        ("spec.source = {}", &[&neither]),
        (
            "spec.source.persistentVolumeName = \"\"",
            &[
                "spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName",
                "spec.source.persistentVolumeName: Invalid value: \"\": {subdomain}",
            ],
        ),
        ("spec.source.inlineVolumeSpec = {}", &[&both]),
        (
            "spec.source = {\"inlineVolumeSpec\":{\"accessModes\":[\"ReadWriteOnce\"],\"csi\":{\"driver\":\"d\",\
             \"volumeHandle\":\"h\"}}}",
            &[],
        ),
        (
            "spec.source = {\"inlineVolumeSpec\":{\"capacity\":{\"storage\":\"1Gi\"}}}",
            &[
                "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
                "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes",
                "spec.source.inlineVolumeSpec.accessModes: Required value",
            ],
        ),
    ];
    check_create(rows, &base, rules);
    let mut changed = base["spec"].clone();
    changed["nodeName"] = json!("m");
    let want = format!("spec: Invalid value: {changed}: field is immutable");
    check_update(rows, &base, &[("metadata.labels.a = b", &[]), ("spec.nodeName = m", &[&want])]);
    let large = format!("status.attachmentMetadata.a = {}", "x".repeat(256 * 1024));
    let long = format!("status.attachError.message = {}", "x".repeat(1025));
    let status: Rules<'_> = &[
        ("status = {\"attached\":true,\"attachmentMetadata\":{\"a\":\"b\"}}", &[]),
        (&large, &["status.attachmentMetadata: Too long: may not be more than 262144 bytes"]),
        (&long, &["status.attachError.message: Too long: may not be more than 262144 bytes"]),
        (
            "status.detachError.errorCode = -1",
            &["status.detachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
        ),
    ];
    check_status(rows, &base, status);
    assert_eq!(cells(rows, &base), ["a", "d.example", "pv", "n", "false", "<unknown>"]);
}

#[test]
fn migration_rules() {
    let rows = row("storagemigration.k8s.io", "storageversionmigrations");
    let base = json!({ "metadata": { "name": "m" }, "spec": { "resource": { "resource": "pods" } } });
    check_create(
        rows,
        &base,
        &[
            ("spec.resource.group = apps", &[]),
            ("spec.resource = {}", &["spec.resource.resource: Required value: resource is required"]),
        ],
    );
    check_update(
        rows,
        &base,
        &[
            ("metadata.labels.a = b", &[]),
            ("spec.resource.group = apps", &["group: Invalid value: \"apps\": field is immutable"]),
            ("spec.resource.resource = nodes", &["resource: Invalid value: \"nodes\": field is immutable"]),
        ],
    );
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "R", "lastTransitionTime": "2026-11-21T00:00:00Z" });
    let conditions = |list: Value| format!("status.conditions = {list}");
    let mut old = base.clone();
    old["status"] = json!({ "resourceVersion": "7", "conditions": [condition("Succeeded", "True")] });
    let broken = json!([condition("Succeeded", "True"), condition("Failed", "True"), condition("Running", "True")]);
    let at = format!("status.conditions: Invalid value: {broken}:");
    let undone = json!([condition("Succeeded", "False")]);
    let (both, ok, failed, lost) = (
        format!("{at} Both success and failed conditions cannot be true at the same time"),
        format!("{at} Running condition cannot be true when success condition is true"),
        format!("{at} Running condition cannot be true when failed condition is true"),
        format!("status.conditions: Invalid value: {undone}: Success condition cannot be set to false once it is true"),
    );
    check_status(
        rows,
        &old,
        &[
            ("metadata.labels.a = b", &[]),
            (
                "status.resourceVersion = x",
                &[
                    "status.resourceVersion: Invalid value: \"x\": failed to parse resource version \"x\": \
                     strconv.ParseInt: parsing \"x\": invalid syntax",
                    "status.resourceVersion: Invalid value: \"x\": cannot be updated",
                ],
            ),
            (&conditions(broken), &[&both, &ok, &failed]),
            (&conditions(undone), &[&lost]),
            (
                "status.conditions[1] = {\"type\":\"Succeeded\",\"status\":\"Maybe\",\"observedGeneration\":-1}",
                &[
                    "status.conditions[1].type: Duplicate value: \"Succeeded\"",
                    "status.conditions[1].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \
                     \"Unknown\"",
                    "status.conditions[1].observedGeneration: Invalid value: -1: must be greater than or equal to zero",
                    "status.conditions[1].lastTransitionTime: Required value: must be set",
                    "status.conditions[1].reason: Required value: must be set",
                ],
            ),
            (
                "status.resourceVersion = \"-1\"",
                &[
                    "status.resourceVersion: Invalid value: -1: must be greater than or equal to 0",
                    "status.resourceVersion: Invalid value: \"-1\": cannot be updated",
                ],
            ),
            (
                "status.conditions[0].reason = a b",
                &[
                    "status.conditions[0].reason: Invalid value: \"a b\": a condition reason must start with alphabetic \
                   character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an \
                   alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  \
                   or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')",
                ],
            ),
        ],
    );
    old["status"]["conditions"] = json!([condition("Failed", "True")]);
    let undone = json!([condition("Failed", "False")]);
    let lost =
        format!("status.conditions: Invalid value: {undone}: Failed condition cannot be set to false once it is true");
    check_status(rows, &old, &[(&conditions(undone), &[&lost])]);
    assert_eq!(cells(rows, &base), ["m", "pods"]);
}
