//! What a write is charged to. The status is raised in the same step in which the object is stored, and only if the quota is
//! still what was judged: neither many requests at once nor many servers can exceed a quota together, and who counts anew
//! sees of each write all or nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiError, ApiResult, GroupResource};
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::scopes::matches;
use super::usage::{counts, missing_constraints, resources_of, usage, used_by};
use crate::resources::{Amounts, add, amounts, mask, shown, subtract, to_value};
use crate::{Attributes, Operation, Reader};

/// Namespaces share these locks by hash: bounded, and rarely in each other's way.
const LOCKS: usize = 64;

pub struct ResourceQuota {
    reader: Arc<dyn Reader>,
    quotas: GroupResource,
    locks: Vec<Arc<Mutex<()>>>,
    hasher: RandomState,
    now: fn() -> i64,
}

/// What a write is charged to.
#[derive(Debug, Default)]
pub struct Charge {
    /// Quotas as they were read, but for the status that they come to have.
    pub quotas: Vec<Value>,
    /// Writers of a namespace take turns, for as long as they hold this: of many only one could write.
    pub turn: Option<OwnedMutexGuard<()>>,
}

impl ResourceQuota {
    pub const NAME: &'static str = "ResourceQuota";

    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self {
            reader,
            quotas: GroupResource::new("", "resourcequotas"),
            locks: (0..LOCKS).map(|_| Arc::default()).collect(),
            hasher: RandomState::new(),
            now: unix_now,
        }
    }

    /// Adds what the write adds to every quota that means the object, or refuses it. Nothing is written.
    pub async fn charge(&self, a: &Attributes<'_>, new: &Value, old: Option<&Value>) -> ApiResult<Charge> {
        if !is_counted(a) || self.reader.list(&self.quotas, a.namespace).is_empty() {
            return Ok(Charge::default());
        }
        let lock = &self.locks[self.hasher.hash_one(a.namespace) as usize % LOCKS];
        let turn = lock.clone().lock_owned().await;
        let quotas = match self.charged(a, new, old) {
            // It may rest on an old state.
            Err(_) if self.reader.catch_up().await? => self.charged(a, new, old)?,
            outcome => outcome?,
        };
        let is_written = !quotas.is_empty() && !a.dry_run;
        Ok(if is_written { Charge { quotas, turn: Some(turn) } } else { Charge::default() })
    }

    /// The quotas that count more of something by the write.
    fn charged(&self, a: &Attributes<'_>, new: &Value, old: Option<&Value>) -> ApiResult<Vec<Value>> {
        let mut charged = Vec::new();
        for quota in self.reader.list(&self.quotas, a.namespace) {
            let mut quota = self.observed(&quota);
            let Some(delta) = self.delta(a, &quota, new, old)? else { continue };
            if check(a, new, &quota, &delta).is_err() {
                // The count may be out of date (deletions are counted later): count anew before refusing.
                quota = Cow::Owned(self.counted(&quota));
                check(a, new, &quota, &delta)?;
            }
            let mut quota = quota.into_owned();
            let mut used = amounts(quota.at("status/used"));
            add(&mut used, &delta);
            quota["status"]["used"] = to_value(&used);
            charged.push(quota);
        }
        Ok(charged)
    }

    /// What the write adds to what the quota counts; `None` if nothing.
    fn delta(&self, a: &Attributes<'_>, quota: &Value, new: &Value, old: Option<&Value>) -> ApiResult<Option<Amounts>> {
        if !matches(quota, a.group, a.resource, new) {
            return Ok(None);
        }
        let hard: BTreeSet<String> = amounts(quota.at("status/hard")).into_keys().collect();
        if a.group.is_empty()
            && a.resource == "pods"
            && let Some(missing) = missing_constraints(new, &hard)
        {
            return Err(a.forbidden(Some(new), format!("failed quota: {}: {missing}", quota.name())));
        }
        let now = (self.now)();
        let mut delta = usage(a.group, a.resource, new, now);
        if let Some(old) = old.filter(|_| a.operation == Operation::Update) {
            // What the object used already is charged only if this quota counted the old object, too.
            if matches(quota, a.group, a.resource, old) {
                subtract(&mut delta, &usage(a.group, a.resource, old, now));
            }
        }
        delta = mask(&delta, &hard);
        delta.retain(|_, amount| !amount.is_zero());
        Ok((!delta.is_empty()).then_some(delta))
    }

    /// The quota with a status that fits its spec. A new or changed quota counts from this moment on, before any controller
    /// has seen it.
    fn observed<'q>(&self, quota: &'q Value) -> Cow<'q, Value> {
        let (wanted, hard) = (amounts(quota.at("spec/hard")), amounts(quota.at("status/hard")));
        let used = amounts(quota.at("status/used"));
        let fits = wanted == hard && hard.keys().all(|name| used.contains_key(name));
        if fits { Cow::Borrowed(quota) } else { Cow::Owned(self.counted(quota)) }
    }

    /// The quota with the true usage, from the newest state of all objects that it means. These are read after the quota: of
    /// what is charged meanwhile the quota's next version tells.
    fn counted(&self, quota: &Value) -> Value {
        let mut counted = quota.clone();
        // Scopes are matched against observed limits: those of the spec become these.
        counted["status"]["hard"] = quota.at("spec/hard").cloned().unwrap_or_default();
        let hard = amounts(counted.at("status/hard"));
        let used = self.count(&counted, &hard.keys().cloned().collect());
        counted["status"]["hard"] = to_value(&hard);
        counted["status"]["used"] = to_value(&used);
        counted
    }

    fn count(&self, quota: &Value, hard: &BTreeSet<String>) -> Amounts {
        let kinds: BTreeSet<(String, String)> = hard.iter().filter_map(|name| resources_of(name)).collect();
        let mut used: Amounts = hard.iter().map(|name| (name.clone(), Default::default())).collect();
        for (group, resource) in kinds {
            let objects = self.reader.list(&GroupResource::new(&*group, &*resource), quota.namespace());
            let meant =
                objects.iter().map(|object| &**object).filter(|object| matches(quota, &group, &resource, object));
            used.extend(used_by(&group, &resource, meant, hard, (self.now)()));
        }
        used
    }
}

/// Creations of everything in a namespace; updates only of kinds whose use can change.
fn is_counted(a: &Attributes<'_>) -> bool {
    if a.namespace.is_empty() || (a.group.is_empty() && a.resource == "namespaces") {
        return false;
    }
    let core = |resource: &str| a.group.is_empty() && a.resource == resource;
    match (a.operation, a.subresource) {
        (Operation::Create, "") => true,
        (Operation::Update, "") => core("services") || core("persistentvolumeclaims"),
        (Operation::Update, "resize") => core("pods"),
        _ => false,
    }
}

/// Errs with upstream's text if the charge would exceed the quota.
fn check(a: &Attributes<'_>, new: &Value, quota: &Value, delta: &Amounts) -> ApiResult<()> {
    let (hard, used) = (amounts(quota.at("status/hard")), amounts(quota.at("status/used")));
    let exceeded: BTreeSet<String> = delta
        .iter()
        .filter(|(name, delta)| {
            let Some(limit) = hard.get(*name) else { return false };
            counts(name, a.group, a.resource)
                && !delta.is_negative()
                && used.get(*name).copied().unwrap_or_default() + **delta > *limit
        })
        .map(|(name, _)| name.clone())
        .collect();
    if exceeded.is_empty() {
        return Ok(());
    }
    let part = |amounts: &Amounts| shown(&mask(amounts, &exceeded));
    Err(refuse(a, new, quota, &part(delta), &part(&used), &part(&hard)))
}

fn refuse(a: &Attributes<'_>, new: &Value, quota: &Value, requested: &str, used: &str, limited: &str) -> ApiError {
    let name = quota.name();
    let why = format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}");
    a.forbidden(Some(new), why)
}

fn unix_now() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    elapsed.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "charge_tests.rs"]
mod tests;
