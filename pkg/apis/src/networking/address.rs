//! IPAddresses and ServiceCIDRs.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_subdomain, is_path_segment_name};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::GROUP;
use crate::addresses::{canonical_cidr_fault, canonical_ip_fault, sloppy_cidr};
use crate::cells::age;
use crate::check;
use crate::names;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::Tree;

pub const IP: Resource = Resource {
    short_names: &["ip"],
    columns: &[Column::NAME, Column::text("ParentRef", "Object that uses the address.")],
    cells: |o, _| {
        let parent = o.field("spec").field("parentRef");
        let resource = match parent.text("group") {
            "" => parent.text("resource").to_owned(),
            group => format!("{}.{group}", parent.text("resource")),
        };
        let parts = [resource.as_str(), parent.text("namespace"), parent.text("name")];
        let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        vec![o.name().into(), crate::cells::or_none(&parts.join("/"))]
    },
    strategy: Strategy {
        validate: validate_ip,
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            check::immutable(&mut errors, &Path::new("spec"), new.field("spec"), old.field("spec"), "parentRef");
            errors
        },
        validate_name: |name, _| canonical_ip_fault(name).into_iter().collect(),
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "ipaddresses", "ipaddress", "IPAddress")
};

fn validate_ip(address: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec").child("parentRef"), address.field("spec"));
    if !spec.has("parentRef") {
        errors.push(Error::required(&at, ""));
        return errors;
    }
    let parent = spec.field("parentRef");
    check::optional_text(&mut errors, &at, parent, "group", is_dns1123_subdomain);
    names::required_segment(&mut errors, &at, parent, "resource");
    names::required_segment(&mut errors, &at, parent, "name");
    check::optional_text(&mut errors, &at, parent, "namespace", is_path_segment_name);
    errors
}

pub const SERVICE_CIDR: Resource = Resource {
    columns: &[Column::NAME, Column::text("CIDRs", "Ranges that service addresses come from."), Column::AGE],
    cells: |o, now| {
        let cidrs: Vec<&str> = o.field("spec").texts("cidrs").collect();
        vec![o.name().into(), cidrs.join(",").into(), age(o, now)]
    },
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        validate: |o| validate_cidrs(o.field("spec")),
        validate_update: |new, old| update_cidrs(new.field("spec"), old.field("spec")),
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster(GROUP, "v1", "servicecidrs", "servicecidr", "ServiceCIDR")
};

fn validate_cidrs(spec: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("spec").child("cidrs");
    let cidrs: Vec<&str> = spec.texts("cidrs").collect();
    if cidrs.is_empty() {
        errors.push(Error::required(&at, "at least one CIDR required"));
        return errors;
    }
    if cidrs.len() > 2 {
        errors.push(Error::invalid(&at, spec.clone(), "may only hold up to 2 values"));
        return errors;
    }
    for (i, cidr) in cidrs.iter().enumerate() {
        errors.extend(canonical_cidr_fault(cidr).map(|why| Error::invalid(&at.index(i), *cidr, why)));
    }
    let families: Vec<bool> = cidrs.iter().filter_map(|c| Some(sloppy_cidr(c)?.addr().is_ipv4())).collect();
    if let [first, second] = families[..]
        && first == second
    {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(Error::invalid(&at, spec.field("cidrs").clone(), why));
    }
    errors
}

/// Ranges stay; a range of the other family may be added to a single one.
fn update_cidrs(new: &Value, old: &Value) -> ErrorList {
    const WHY: &str = "field is immutable";
    let mut errors = ErrorList::new();
    let at = Path::new("spec").child("cidrs");
    let (now, before) = (new.list("cidrs"), old.list("cidrs"));
    let grows = before.len() == 1 && now.len() == 2;
    if now.len() != before.len() && !grows {
        errors.push(Error::invalid(&at, new.field("cidrs").clone(), WHY));
        return errors;
    }
    for (i, (now, before)) in now.iter().zip(before).enumerate() {
        if now != before {
            errors.push(Error::invalid(&at.index(i), now.clone(), WHY));
        }
    }
    if grows {
        errors.extend(validate_cidrs(new));
    }
    errors
}
