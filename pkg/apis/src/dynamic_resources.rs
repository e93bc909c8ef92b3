//! Rows of `resource.k8s.io`: devices and claims to them.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value};

use crate::cells::age;
use crate::check;
use crate::podspec::volume_sources::driver_name;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

const GROUP: &str = "resource.k8s.io";

pub const ROWS: &[Resource] = &[
    Resource {
        strategy: Strategy { generation_changed: Some(crate::strategy::spec_changed), ..Strategy::PLAIN },
        ..Resource::cluster(GROUP, "v1", "deviceclasses", "deviceclass", "DeviceClass")
    },
    Resource {
        strategy: Strategy { prepare_for_status_update: crate::strategy::keep_metadata_too, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::STATUS],
        ..Resource::cluster(GROUP, "v1", "devicetaintrules", "devicetaintrule", "DeviceTaintRule")
    },
    CLAIM,
    Resource {
        strategy: Strategy {
            default: |o| {
                if let Some(spec) = spec_mut(o).and_then(|s| s.sub("spec")) {
                    default_claim(spec);
                }
            },
            validate: |o| claim_errors(&Path::new("spec").child("spec"), o.field("spec").field("spec")),
            validate_update: |new, old| {
                let mut errors = ErrorList::new();
                check::immutable(&mut errors, &Path::default(), new, old, "spec");
                errors
            },
            ..Strategy::PLAIN
        },
        ..Resource::namespaced(GROUP, "v1", "resourceclaimtemplates", "resourceclaimtemplate", "ResourceClaimTemplate")
    },
    SLICE,
];

const CLAIM: Resource = Resource {
    columns: &[Column::NAME, Column::text("State", "Whether it has its devices, and who uses them."), Column::AGE],
    cells: |o, now| vec![o.name().into(), state(o).into(), age(o, now)],
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default: |o| {
            if let Some(spec) = spec_mut(o) {
                default_claim(spec);
            }
        },
        validate: |o| claim_errors(&Path::new("spec"), o.field("spec")),
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            check::immutable(&mut errors, &Path::default(), new, old, "spec");
            errors
        },
        generation_changed: None,
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced(GROUP, "v1", "resourceclaims", "resourceclaim", "ResourceClaim")
};

fn default_claim(spec: &mut Map<String, Value>) {
    let Some(devices) = spec.sub("devices") else { return };
    devices.each("requests", |request| {
        if let Some(exactly) = request.sub("exactly") {
            default_request(exactly);
        }
        request.each("firstAvailable", default_request);
    });
}

fn default_request(request: &mut Map<String, Value>) {
    request.default_text("allocationMode", "ExactCount");
    if request.text("allocationMode") == "ExactCount" {
        request.default_nonzero("count", 1);
    }
    request.each("tolerations", |toleration| toleration.default_text("operator", "Equal"));
}

fn claim_errors(at: &Path, spec: &Value) -> ErrorList {
    const REQUESTS_MAX: usize = 32;
    let mut errors = ErrorList::new();
    let at = at.child("devices").child("requests");
    let requests = spec.field("devices").list("requests");
    if requests.len() > REQUESTS_MAX {
        errors.push(Error::too_many(&at, requests.len(), REQUESTS_MAX));
    }
    for (i, request) in requests.iter().enumerate() {
        let at = at.index(i);
        check::required_text(&mut errors, &at, request, "name", apimachinery::validation::is_dns1123_label);
        if requests[..i].iter().any(|r| r.text("name") == request.text("name")) {
            errors.push(Error::duplicate(&at.child("name"), request.text("name")));
        }
        match (request.has("exactly"), !request.list("firstAvailable").is_empty()) {
            (true, true) => {
                let why = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
                errors.push(Error::invalid(&at, Value::Null, why));
            }
            (false, false) => {
                errors.push(Error::required(&at, "exactly one of `exactly` or `firstAvailable` is required"));
            }
            (true, false) => {
                let (at, exactly) = (at.child("exactly"), request.field("exactly"));
                check::required(&mut errors, &at, exactly, "deviceClassName");
                check::optional_choice(&mut errors, &at, exactly, "allocationMode", &["All", "ExactCount"]);
            }
            (false, true) => {}
        }
    }
    errors
}

fn state(claim: &Object) -> String {
    let status = claim.field("status");
    let mut states = Vec::new();
    if claim.is_deleting() {
        states.push("deleted");
    }
    if !status.has("allocation") {
        if !claim.is_deleting() {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        if !status.list("reservedFor").is_empty() {
            states.push("reserved");
        }
    }
    states.join(",")
}

const SLICE: Resource = Resource {
    columns: &[
        Column::NAME,
        Column::text("Node", "Node that the devices are on."),
        Column::text("Driver", "Driver of the devices."),
        Column::text("Pool", "Pool that the devices are in."),
        Column::AGE,
    ],
    cells: |o, now| {
        let spec = o.field("spec");
        vec![
            o.name().into(),
            spec.text("nodeName").into(),
            spec.text("driver").into(),
            spec.field("pool").text("name").into(),
            age(o, now),
        ]
    },
    selectable: &[
        ("spec.nodeName", |o| o.str_at("spec/nodeName").to_owned()),
        ("spec.driver", |o| o.str_at("spec/driver").to_owned()),
    ],
    strategy: Strategy {
        validate: validate_slice,
        validate_update: |new, old| {
            let mut errors = validate_slice(new);
            for field in ["driver", "nodeName"] {
                check::immutable(&mut errors, &Path::new("spec"), new.field("spec"), old.field("spec"), field);
            }
            errors
        },
        generation_changed: Some(crate::strategy::spec_changed),
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "resourceslices", "resourceslice", "ResourceSlice")
};

fn validate_slice(slice: &Object) -> ErrorList {
    const DEVICES_MAX: usize = 128;
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), slice.field("spec"));
    match spec.text("driver") {
        "" => errors.push(Error::required(&at.child("driver"), "")),
        name => driver_name(&mut errors, &at.child("driver"), name),
    }
    if spec.field("pool").text("name").is_empty() {
        errors.push(Error::required(&at.child("pool").child("name"), ""));
    }
    let devices = spec.list("devices").len();
    if devices > DEVICES_MAX {
        errors.push(Error::too_many(&at.child("devices"), devices, DEVICES_MAX));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::GROUP;
    use crate::testing::{cells, create_errors, defaulted, row};

    #[test]
    fn claims() {
        let claims = row(GROUP, "resourceclaims");
        let request = json!({ "name": "gpu", "exactly": { "deviceClassName": "gpu.example" } });
        let object = json!({ "metadata": { "name": "c" }, "spec": { "devices": { "requests": [request] } } });
        let mut got = defaulted(claims, object.clone());
        let exactly = json!({ "deviceClassName": "gpu.example", "allocationMode": "ExactCount", "count": 1 });
        assert_eq!(got["spec"]["devices"]["requests"][0]["exactly"], exactly);
        assert_eq!(create_errors(claims, object), [""; 0]);
        assert_eq!(cells(claims, &got)[1], "pending");
        got["status"] = json!({ "allocation": {}, "reservedFor": [{}] });
        assert_eq!(cells(claims, &got)[1], "allocated,reserved");
    }
}
