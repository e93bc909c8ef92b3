use serde_json::{Value, json};

use super::{GROUP, many};
use crate::testing::{Rules, assert_texts, cells, check_create, check_update, create_errors, created, row};

fn slice() -> Value {
    let device = json!({ "name": "gpu-0", "attributes": { "model": { "string": "x" } }, "capacity": { "memory": { "value": "8Gi" } } });
    json!({ "metadata": { "name": "s" }, "spec": {
        "driver": "gpu.example", "nodeName": "n1", "pool": { "name": "n1", "generation": 1, "resourceSliceCount": 1 },
        "devices": [device],
    } })
}

#[test]
fn slice_rules() {
    let rows = row(GROUP, "resourceslices");
    let one_of = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let (none, both) = (
        format!("spec: Required value: {one_of}"),
        format!("spec: Invalid value: \"{{`nodeName`, `allNodes`}}\": {one_of}, but multiple fields are set"),
    );
    let devices = format!("spec.devices = {}", many(129, &json!({})));
    let mut tainted = many(65, &json!({}));
    tainted[0]["taints"] = json!([{ "key": "a", "effect": "NoSchedule" }]);
    let tainted = format!("spec.devices = {tainted}");
    let counters = json!({ "counters": { "memory": { "value": "8Gi" } } });
    let (sets, too_many_sets) = (
        format!("spec.devices = null ; spec.sharedCounters = {}", many(8, &counters)),
        format!("spec.devices = null ; spec.sharedCounters = {}", many(9, &counters)),
    );
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.driver = null", &["spec.driver: Required value"]),
        ("spec.pool.name = null", &["spec.pool.name: Required value"]),
        (
            "spec.pool.resourceSliceCount = 0",
            &["spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero"],
        ),
        (
            "spec.pool.generation = -1",
            &["spec.pool.generation: Invalid value: -1: must be greater than or equal to zero"],
        ),
        ("spec.nodeName = null", &[&none]),
        ("spec.nodeName = null ; spec.allNodes = true", &[]),
        ("spec.allNodes = true", &[&both]),
        ("spec.allNodes = false", &["spec.allNodes: Invalid value: false: must be either unset or set to true"]),
        (
            "spec.nodeName = \"\" ; spec.allNodes = true",
            &["spec.nodeName: Invalid value: \"\": must be either unset or set to a non-empty string"],
        ),
        (
            "spec.nodeName = null ; spec.nodeSelector = {\"nodeSelectorTerms\":[{},{}]}",
            &["spec.nodeSelector.nodeSelectorTerms: Invalid value: [{},{}]: must have exactly one node selector term"],
        ),
        (&devices, &["spec.devices: Too many: 129: must have at most 128 items"]),
        (&tainted, &["spec.devices: Too many: 65: must have at most 64 items"]),
        ("spec.devices[1] = {\"name\":\"gpu-0\"}", &["spec.devices[1]: Duplicate value: \"gpu-0\""]),
        (
            "spec.sharedCounters = []",
            &["spec: Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed"],
        ),
        (&sets, &[]),
        (&too_many_sets, &["spec.sharedCounters: Too many: 9: must have at most 8 items"]),
        (
            "spec.devices = null ; spec.sharedCounters = [{}]",
            &["spec.sharedCounters[0].name: Required value", "spec.sharedCounters[0].counters: Required value"],
        ),
        (
            "spec.skipNodeOperations = [\"NodePrepareResources\"]",
            &[
                "spec.skipNodeOperations: Invalid value: [\"NodePrepareResources\"]: NodePrepareResources cannot be skipped \
               unless NodeUnprepareResources is also skipped",
            ],
        ),
        (
            "spec.partitionTypeAttribute = gpu.example/model",
            &["spec.partitionTypeAttribute: Invalid value: \"gpu.example/model\": may only be set on a slice which \
               declares devices that consume counters"],
        ),
    ];
    check_create(rows, &slice(), rules);
    let updates: Rules<'_> = &[
        ("spec.pool.generation = 2 ; spec.devices = []", &[]),
        ("spec.driver = x.example", &["spec.driver: Invalid value: \"x.example\": field is immutable"]),
        ("spec.pool.name = n2", &["spec.pool.name: Invalid value: \"n2\": field is immutable"]),
        ("spec.nodeName = n2", &["spec.nodeName: Invalid value: \"n2\": field is immutable"]),
    ];
    check_update(rows, &slice(), updates);
    assert_eq!(cells(rows, &slice()), ["s", "n1", "gpu.example", "n1", "<unknown>"]);
    let mut gated = slice();
    gated["spec"]["devices"][0]["attributes"]["model"]["strings"] = json!(["a"]);
    assert_eq!(created(rows, gated), slice(), "fields of gates that are off go");
}

/// What a slice with this device is told, without the path of the device.
fn errors_of(device: Value) -> Vec<String> {
    let mut slice = slice();
    slice["spec"]["devices"][0] = device;
    slice["spec"]["devices"][0]["name"] = json!("d");
    let strip = |e: String| e.strip_prefix("spec.devices[0]").map(str::to_owned).unwrap_or(e);
    create_errors(row(GROUP, "resourceslices"), slice).into_iter().map(strip).collect()
}

fn check(cases: &[(Value, &[&str])]) {
    for (device, want) in cases {
        assert_texts(errors_of(device.clone()), want, || device.to_string());
    }
}

#[test]
fn attributes_have_one_value() {
    let attributes: serde_json::Map<String, Value> =
        (0..33).map(|i| (format!("a{i}"), json!({ "bool": true }))).collect();
    let long = "x".repeat(65);
    check(&[
        (json!({ "attributes": { "a": { "version": "1.2.3-alpha.1+b" }, "x.example/b": { "int": 1 } } }), &[]),
        (
            json!({ "attributes": attributes }),
            &[": Invalid value: 33: the total number of attributes and capacities must not exceed 32"],
        ),
        (
            json!({ "attributes": { "a": {} } }),
            &[".attributes[a]: Invalid value: \"\": exactly one value must be specified"],
        ),
        (
            json!({ "attributes": { "a": { "bool": true, "int": 1 } } }),
            &[".attributes[a]: Invalid value: {\"bool\":true,\"int\":1}: exactly one value must be specified"],
        ),
        (
            json!({ "attributes": { "a": { "string": long } } }),
            &[".attributes[a].string: Too long: may not be more than 64 bytes"],
        ),
        (
            json!({ "attributes": { "a": { "version": "1.02.3" } } }),
            &[
                ".attributes[a].version: Invalid value: \"1.02.3\": must be a string compatible with semver.org spec 2.0.0",
            ],
        ),
        (
            json!({ "attributes": { "a-b": { "bool": true } } }),
            &[
                ".attributes: Invalid value: \"a-b\": a valid C identifier must start with alphabetic character or '_', \
               followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex \
               used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
            ],
        ),
    ]);
}

#[test]
fn capacities_of_shared_devices_have_policies() {
    let policy = |shared: bool, policy: Value| json!({ "allowMultipleAllocations": shared, "capacity": { "m": { "value": "10", "requestPolicy": policy } } });
    let at = ".capacity[m].requestPolicy";
    let cases: &[(Value, &[&str])] = &[
        (policy(true, json!({ "default": "1", "validValues": ["1", "2"] })), &[]),
        (policy(true, json!({ "default": "2", "validRange": { "min": "2", "max": "8", "step": "2" } })), &[]),
        (
            policy(false, json!({ "default": "1", "validValues": ["1"] })),
            &[": Forbidden: allowMultipleAllocations must be true"],
        ),
        (
            policy(true, json!({ "default": "1", "validValues": ["1"], "validRange": { "min": "1" } })),
            &[
                ": Forbidden: exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the \
               same time",
            ],
        ),
        (
            policy(true, json!({ "validValues": ["1"] })),
            &[".default: Required value: required when validValues is defined"],
        ),
        (
            policy(true, json!({ "default": "3", "validValues": ["2", "1", "11"] })),
            &[
                ".validValues[1]: Invalid value: \"1\": values must be sorted in ascending order",
                ".validValues[2]: Invalid value: \"11\": option is larger than capacity value: 10",
                ".validValues: Invalid value: \"3\": default value is not valid according to the requestPolicy",
            ],
        ),
        (
            policy(true, json!({ "default": "1", "validRange": { "max": "8" } })),
            &[".validRange.min: Required value: required when validRange is defined"],
        ),
        (
            policy(true, json!({ "default": "1", "validRange": { "min": "2", "max": "11", "step": "0" } })),
            &[
                ".validRange.default: Invalid value: \"1\": default is less than min: 2",
                ".validRange.max: Invalid value: \"11\": max is larger than capacity value: 10",
                ".validRange.step: Invalid value: \"0\": must be greater than zero",
            ],
        ),
        (
            policy(true, json!({ "default": "9", "validRange": { "min": "11", "max": "8" } })),
            &[
                ".validRange.min: Invalid value: \"11\": min is larger than capacity value: 10",
                ".validRange.default: Invalid value: \"9\": default is less than min: 11",
                ".validRange.max: Invalid value: \"11\": min is larger than max: 8",
                ".validRange.default: Invalid value: \"9\": default is more than max: 8",
            ],
        ),
        (
            policy(true, json!({ "default": "4", "validRange": { "min": "4", "step": "8" } })),
            &[".validRange.step: Invalid value: \"8\": one step 12 is larger than capacity value: 10"],
        ),
        (
            policy(true, json!({ "default": "3", "validRange": { "min": "2", "step": "2" } })),
            &[".validRange.step: Invalid value: \"3\": value is not a multiple of a given step (2) from (2)"],
        ),
    ];
    for (device, want) in cases {
        let want: Vec<String> = want.iter().map(|w| format!("{at}{w}")).collect();
        assert_eq!(errors_of(device.clone()), want, "{device}");
    }
}

#[test]
fn taints_counters_and_conditions() {
    let taints = many(17, &json!({ "key": "a", "effect": "NoSchedule" }));
    check(&[
        (json!({ "taints": [{ "key": "a", "effect": "NoSchedule" }] }), &[]),
        (json!({ "taints": taints }), &[".taints: Too many: 17: must have at most 16 items"]),
        (json!({ "taints": [{ "key": "a" }] }), &[".taints[0].effect: Required value"]),
        (json!({ "consumesCounters": [{ "counterSet": "s", "counters": { "m": { "value": "1" } } }] }), &[]),
        (
            json!({ "consumesCounters": [{}] }),
            &[".consumesCounters[0].counterSet: Required value", ".consumesCounters[0].counters: Required value"],
        ),
        (
            json!({ "consumesCounters": [{ "counterSet": "s", "counters": { "A.b": { "value": "1" } } }] }),
            &[&format!(".consumesCounters[0].counters: Invalid value: \"A.b\": {}", super::LABEL)],
        ),
        (json!({ "bindingConditions": ["a"], "bindingFailureConditions": ["b"] }), &[]),
        (
            json!({ "bindingConditions": ["a", "a"], "bindingFailureConditions": ["a"] }),
            &[
                ".bindingConditions[1]: Duplicate value: \"a\"",
                ".bindingFailureConditions[0]: Invalid value: \"a\": bindingFailureConditions must not overlap with \
                 bindingConditions",
            ],
        ),
        (
            json!({ "bindingFailureConditions": ["a"] }),
            &[
                ".bindingConditions: Invalid value: null: bindingConditions are required to use bindingFailureConditions",
            ],
        ),
    ]);
}

#[test]
fn devices_are_somewhere() {
    check(&[(
        json!({ "allNodes": true }),
        &[
            ": Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is \
           set to true in the ResourceSlice spec",
        ],
    )]);
    let rows = row(GROUP, "resourceslices");
    let mut each = slice();
    crate::testing::change(&mut each, "spec.nodeName = null ; spec.perDeviceNodeSelection = true");
    let one_of = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set \
                  to true in the ResourceSlice spec";
    let (none, both) = (
        format!("spec.devices[0]: Required value: {one_of}"),
        format!("spec.devices[0]: Invalid value: \"{{`nodeName`, `allNodes`}}\": {one_of}"),
    );
    let rules: Rules<'_> = &[
        ("spec.devices[0].nodeName = n1", &[]),
        ("", &[&none]),
        ("spec.devices[0].nodeName = n1 ; spec.devices[0].allNodes = true", &[&both]),
        (
            "spec.devices[0].nodeName = n1 ; spec.devices[0].allNodes = false",
            &["spec.devices[0].allNodes: Invalid value: false: must be either unset or set to true"],
        ),
    ];
    check_create(rows, &each, rules);
}

#[test]
fn devices_stand_for_resources_of_the_node() {
    let of = |name: &str, resource: Value| json!({ "capacity": { "m": { "value": "1" } }, "nodeAllocatableResources": { name: resource } });
    check(&[
        (of("cpu", json!({ "mapping": { "capacityKey": "m", "capacityMultiplier": "1" } })), &[]),
        (
            of("cpu", json!({})),
            &[".nodeAllocatableResources[cpu]: Required value: at least one of mapping or overhead must be set"],
        ),
        (
            of("example.com/x", json!({ "mapping": { "deviceMultiplier": "1" } })),
            &[
                ".nodeAllocatableResources[example.com/x]: Invalid value: \"example.com/x\": must be a node allocatable \
               resource name",
            ],
        ),
        (
            of("cpu", json!({ "mapping": { "capacityKey": "x" } })),
            &[
                ".nodeAllocatableResources[cpu].mapping.capacityKey: Not found: \"x\"",
                ".nodeAllocatableResources[cpu].mapping.capacityMultiplier: Required value: capacityMultiplier is required \
                 when capacityKey is set",
            ],
        ),
        (
            of("cpu", json!({ "mapping": { "capacityMultiplier": "1", "deviceMultiplier": "0" } })),
            &[
                ".nodeAllocatableResources[cpu].mapping.capacityKey: Required value: capacityKey is required when \
                 capacityMultiplier is set",
                ".nodeAllocatableResources[cpu].mapping.deviceMultiplier: Invalid value: \"0\": must be positive",
            ],
        ),
        (
            of("cpu", json!({ "mapping": { "capacityKey": "", "capacityMultiplier": "1" } })),
            &[
                ".nodeAllocatableResources[cpu].mapping.capacityKey: Invalid value: \"\": capacityKey must not be an empty \
               string",
            ],
        ),
        (
            of("cpu", json!({ "overhead": {} })),
            &[
                ".nodeAllocatableResources[cpu].overhead: Invalid value: \"\": at least one of perPod or perContainer must \
               be set",
            ],
        ),
        (
            of("cpu", json!({ "overhead": { "perPod": "-1" } })),
            &[".nodeAllocatableResources[cpu].overhead.perPod: Invalid value: \"-1\": must be non-negative"],
        ),
    ]);
}

#[test]
fn partitions_have_a_type() {
    let rows = row(GROUP, "resourceslices");
    let mut partitioned = slice();
    partitioned["spec"]["partitionTypeAttribute"] = json!("gpu.example/model");
    partitioned["spec"]["devices"][0]["consumesCounters"] =
        json!([{ "counterSet": "s", "counters": { "m": { "value": "1" } } }]);
    let at = "spec.devices[0].attributes[gpu.example/model]";
    let missing = format!(
        "{at}: Required value: device consumes counters and `partitionTypeAttribute` names this attribute, so it must be set"
    );
    let number = format!(
        "{at}: Invalid value: {{\"int\":1}}: must be a string value because `partitionTypeAttribute` names this attribute"
    );
    check_create(
        rows,
        &partitioned,
        &[
            ("", &[]),
            ("spec.devices[0].attributes = {\"gpu.example/model\":{\"string\":\"x\"}}", &[]),
            ("spec.devices[0].attributes = null", &[&missing]),
            ("spec.devices[0].attributes.model = {\"int\":1}", &[&number]),
            (
                "spec.partitionTypeAttribute = model",
                &[
                    "spec.partitionTypeAttribute: Invalid value: \"model\": a fully qualified name must be a domain and a \
                   name separated by a slash",
                ],
            ),
        ],
    );
}

#[test]
fn lists_as_values_stay_where_they_are() {
    let rows = row(GROUP, "resourceslices");
    let mut old = slice();
    old["spec"]["devices"][0]["attributes"]["model"] = json!({ "strings": ["x"] });
    let update = |changes: &str| {
        let mut new = old.clone();
        crate::testing::change(&mut new, changes);
        (rows.strategy.prepare_for_update)(&mut new, &old);
        crate::testing::texts(&(rows.strategy.validate_update)(&new, &old))
    };
    assert_eq!(update("spec.pool.generation = 2"), [""; 0]);
    let empty = "spec.devices[0].attributes[model].strings: Invalid value: []: must not be empty if specified";
    assert_eq!(update("spec.devices[0].attributes.model.strings = []"), [empty]);
    let values = (0..49).map(|i| format!("\"v{i}\"")).collect::<Vec<_>>().join(",");
    let many = update(&format!("spec.devices[0].attributes.model.strings = [{values}]"));
    assert!(many[0].contains("the total number of attribute values must not exceed 48"), "{many:?}");
}
