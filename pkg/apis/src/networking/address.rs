//! IPAddresses and ServiceCIDRs.

use std::net::IpAddr;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::GROUP;
use crate::cells::age;
use crate::check;
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
        validate_name: |name, _| match name.parse::<IpAddr>() {
            Ok(ip) if ip.to_string() == name => Vec::new(),
            Ok(_) => vec!["must be a canonical IP address".to_owned()],
            Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
        },
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
    for field in ["resource", "name"] {
        check::required(&mut errors, &at, spec.field("parentRef"), field);
    }
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
        validate: validate_cidrs,
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            check::immutable(&mut errors, &Path::new("spec"), new.field("spec"), old.field("spec"), "cidrs");
            errors
        },
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster(GROUP, "v1", "servicecidrs", "servicecidr", "ServiceCIDR")
};

fn validate_cidrs(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec").child("cidrs"), object.field("spec"));
    let cidrs: Vec<&str> = spec.texts("cidrs").collect();
    if cidrs.is_empty() {
        errors.push(Error::required(&at, "at least one CIDR required"));
    }
    if cidrs.len() > 2 {
        let why = "may only hold up to 2 values";
        errors.push(Error::invalid(&at, Value::clone(spec.field("cidrs")), why));
    }
    for (i, cidr) in cidrs.iter().enumerate() {
        check::cidr(&mut errors, &at.index(i), cidr);
    }
    if let [first, second] = cidrs[..]
        && first.contains(':') == second.contains(':')
    {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(Error::invalid(&at, spec.field("cidrs").clone(), why));
    }
    errors
}
