//! What may change in a service: addresses and families are given up or gained at the end of their lists only.

use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::update::needs_health_port;
use super::validate::{balancer_class, is_headless};
use crate::tree::Tree;

const FIXED: &str = "may not change once set";

pub fn validate(errors: &mut ErrorList, at: &Path, spec: &Value, before: &Value) {
    let both = [spec, before];
    if !both.iter().any(|s| s.text("type") == "ExternalName") {
        if !both.iter().all(|s| is_headless(s)) {
            cluster_ips(errors, at, spec, before);
        }
        if !both.iter().any(|s| is_headless(s)) {
            families(errors, at, spec, before);
        }
    }
    let balances = |s: &Value| s.text("type") == "LoadBalancer";
    if balances(spec) && balances(before) && spec.field("loadBalancerClass") != before.field("loadBalancerClass") {
        errors.push(Error::invalid(&at.child("loadBalancerClass"), spec.field("loadBalancerClass").clone(), FIXED));
    }
    balancer_class(errors, at, spec);
    let port = |s: &Value| s.int("healthCheckNodePort").unwrap_or(0);
    if needs_health_port(before) && needs_health_port(spec) && port(spec) != port(before) {
        errors.push(Error::forbidden(&at.child("healthCheckNodePort"), "field is immutable"));
    }
}

fn cluster_ips(errors: &mut ErrorList, at: &Path, spec: &Value, before: &Value) {
    let (list, old) = (spec.list("clusterIPs"), before.list("clusterIPs"));
    let mut refuse = |i: usize, why: &str| {
        let value = spec.field("clusterIPs").clone();
        errors.push(Error::invalid(&at.child("clusterIPs").index(i), value, why));
    };
    if list.is_empty() && !old.is_empty() {
        refuse(0, "primary clusterIP can not be unset");
    }
    // Where both have the same number of addresses, all stay; else the first.
    let compared = if list.len() == old.len() { old.len() } else { 1 };
    for i in (0..compared).filter(|i| old.get(*i).zip(list.get(*i)).is_some_and(|(old, new)| old != new)) {
        refuse(i, FIXED);
    }
    if list.len() == 1 && old.len() > 1 {
        released(errors, at, spec, "clusterIP");
    }
}

/// Who gives the second address or family up has to say so.
fn released(errors: &mut ErrorList, at: &Path, spec: &Value, what: &str) {
    if spec.text("ipFamilyPolicy") != "SingleStack" {
        let why = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        errors.push(Error::invalid(&at.child("ipFamilyPolicy"), spec.field("ipFamilyPolicy").clone(), why));
    }
}

/// Upstream names the first family whichever one differs, and shows addresses where the numbers of families differ.
fn families(errors: &mut ErrorList, at: &Path, spec: &Value, before: &Value) {
    let (list, old) = (spec.list("ipFamilies"), before.list("ipFamilies"));
    let mut refuse = |field: &str, why: &str| {
        errors.push(Error::invalid(&at.child("ipFamilies").index(0), spec.field(field).clone(), why));
    };
    if list.len() == old.len() {
        list.iter().zip(old).filter(|(new, old)| new != old).for_each(|_| refuse("ipFamilies", FIXED));
        return;
    }
    if list.len() < old.len() && spec.list("clusterIPs").is_empty() {
        refuse("ipFamilies", "primary ipFamily can not be unset");
    }
    if list.first().zip(old.first()).is_some_and(|(new, old)| new != old) {
        refuse("clusterIPs", FIXED);
    }
    if list.len() == 1 && old.len() > 1 {
        released(errors, at, spec, "ipFamily");
    }
}
