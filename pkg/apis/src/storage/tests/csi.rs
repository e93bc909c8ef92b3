use serde_json::json;

use super::{GROUP, QUALIFIED};
use crate::testing::{Rules, cells, check_create, check_defaults, check_update, created, defaulted, row};

#[test]
fn driver_rules() {
    let rows = row(GROUP, "csidrivers");
    let base = json!({ "metadata": { "name": "d.example" }, "spec": {} });
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.fsGroupPolicy = None", &[]),
        (
            "spec.fsGroupPolicy = All",
            &["spec.fsGroupPolicy: Unsupported value: \"All\": supported values: \"File\", \"None\", \
               \"ReadWriteOnceWithFSType\""],
        ),
        ("spec.tokenRequests = [{\"audience\":\"a\",\"expirationSeconds\":600},{\"audience\":\"\"}]", &[]),
        (
            "spec.tokenRequests = [{\"audience\":\"a\"},{\"audience\":\"a\",\"expirationSeconds\":1}]",
            &["spec.tokenRequests[1].audience: Duplicate value: \"a\""],
        ),
        (
            "spec.tokenRequests = [{\"audience\":\"a\",\"expirationSeconds\":599}]",
            &["spec.tokenRequests[0].expirationSeconds: Invalid value: 599: may not specify a duration less than 10 \
               minutes"],
        ),
        (
            "spec.tokenRequests = [{\"audience\":\"a\",\"expirationSeconds\":4294967297}]",
            &[
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than \
               2^32 seconds",
            ],
        ),
        ("spec.volumeLifecycleModes = [\"Persistent\",\"Ephemeral\"]", &[]),
        (
            "spec.volumeLifecycleModes = [\"Both\"]",
            &[
                "spec.volumeLifecycleModes: Unsupported value: \"Both\": supported values: \"Persistent\", \"Ephemeral\"",
            ],
        ),
        ("spec.nodeAllocatableUpdatePeriodSeconds = 10", &[]),
        (
            "spec.nodeAllocatableUpdatePeriodSeconds = 9",
            &["spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds"],
        ),
        ("spec.tokenRequests = [{\"audience\":\"a\"}] ; spec.serviceAccountTokenInSecrets = true", &[]),
        (
            "spec.serviceAccountTokenInSecrets = true",
            &["spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no \
               tokenRequests are specified"],
        ),
    ];
    check_create(rows, &base, rules);
    let updates: Rules<'_> = &[
        ("spec.podInfoOnMount = true ; spec.fsGroupPolicy = File ; spec.storageCapacity = true", &[]),
        ("spec.attachRequired = false", &["spec.attachedRequired: Invalid value: false: field is immutable"]),
        (
            "spec.volumeLifecycleModes = [\"Ephemeral\"]",
            &["spec.volumeLifecycleModes: Invalid value: [\"Ephemeral\"]: field is immutable"],
        ),
    ];
    check_update(rows, &base, updates);
    let defaults = "spec = {\"attachRequired\":true,\"podInfoOnMount\":false,\"storageCapacity\":false,\
                    \"requiresRepublish\":false,\"seLinuxMount\":false,\"fsGroupPolicy\":\"ReadWriteOnceWithFSType\",\
                    \"volumeLifecycleModes\":[\"Persistent\"]}";
    check_defaults(rows, &base, &[("", defaults)]);
    let want = ["d.example", "true", "false", "false", "<unset>", "false", "Persistent", "<unknown>"];
    assert_eq!(cells(rows, &defaulted(rows, base)), want);
}

#[test]
fn node_rules() {
    let rows = row(GROUP, "csinodes");
    let driver = json!({ "name": "d.example", "nodeID": "i", "topologyKeys": ["zone"], "allocatable": { "count": 1 } });
    let base = json!({ "metadata": { "name": "n" }, "spec": { "drivers": [driver] } });
    let id = "x".repeat(257);
    let (long, too_long) = (
        format!("spec.drivers[0].nodeID = {id}"),
        format!("spec.drivers[0].nodeID: Invalid value: \"{id}\": must be 256 characters or less"),
    );
    let bad_key = format!("spec.drivers[0]: Invalid value: \"a b\": {QUALIFIED}");
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.drivers = []", &[]),
        ("spec.drivers[0].name = null", &["spec.drivers[0].name: Required value"]),
        ("spec.drivers[0].nodeID = null", &["spec.drivers[0].nodeID: Required value"]),
        (&long, &[&too_long]),
        (
            "spec.drivers[0].allocatable.count = -1",
            &["spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "spec.drivers[1] = {\"name\":\"d.example\",\"nodeID\":\"i\"}",
            &["spec.drivers[1].name: Duplicate value: \"d.example\""],
        ),
        ("spec.drivers[0].topologyKeys[1] = zone", &["spec.drivers[0]: Duplicate value: \"zone\""]),
        ("spec.drivers[0].topologyKeys[1] = a b", &[&bad_key]),
    ];
    check_create(rows, &base, rules);
    let shown = json!({ "name": "d.example", "nodeID": "j", "topologyKeys": ["zone"] });
    let moved = format!("spec.drivers: Invalid value: {shown}: field is immutable");
    let updates: Rules<'_> = &[
        ("spec.drivers[0].allocatable.count = 2", &[]),
        ("spec.drivers = []", &[]),
        ("spec.drivers[0].nodeID = j", &[&moved]),
    ];
    check_update(rows, &base, updates);
    let mut with_status = base.clone();
    with_status["status"] = json!({ "storageHealth": [] });
    assert_eq!(created(rows, with_status), base);
    assert_eq!(cells(rows, &base), ["n", "1", "<unknown>"]);
}

#[test]
fn capacity_rules() {
    let rows = row(GROUP, "csistoragecapacities");
    let base = json!({ "metadata": { "name": "c" }, "storageClassName": "fast", "capacity": "1Gi",
        "nodeTopology": { "matchLabels": { "zone": "a" } } });
    let rules: Rules<'_> = &[
        ("", &[]),
        ("nodeTopology = null ; capacity = null", &[]),
        ("storageClassName = a.b", &[]),
        ("storageClassName = A", &["storageClassName: Invalid value: \"A\": {subdomain}"]),
        ("capacity = -1", &["capacity: Invalid value: \"-1\": must be greater than or equal to 0"]),
        (
            "nodeTopology = {\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}",
            &["nodeTopology.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or \
               'NotIn'"],
        ),
    ];
    check_create(rows, &base, rules);
    let updates: Rules<'_> = &[
        ("capacity = 2Gi", &[]),
        ("storageClassName = slow", &["storageClassName: Invalid value: \"slow\": field is immutable"]),
        ("nodeTopology = null", &["nodeTopology: Invalid value: null: field is immutable"]),
    ];
    check_update(rows, &base, updates);
    check_defaults(rows, &base, &[("maximumVolumeSize = 1024Mi", "maximumVolumeSize = 1Gi")]);
    assert_eq!(cells(rows, &base), ["c", "fast", "1Gi"]);
}
