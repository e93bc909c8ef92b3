//! Check and charge as one step. Writers of one namespace take turns, and the status is written by compare-and-swap, so that
//! many requests at once cannot exceed a quota together.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiError, ApiResult, GroupResource};
use serde_json::Value;
use tokio::sync::Mutex;

use super::pending::{Charged, Pending};
use super::scopes::matches;
use super::usage::{counts, missing_constraints, resources_of, usage, used_by};
use crate::resources::{Amounts, add, amounts, mask, shown, subtract, to_value};
use crate::{Attributes, Operation, Reader};

/// Namespaces share these locks by hash: bounded, and rarely in each other's way.
const LOCKS: usize = 64;

pub struct ResourceQuota {
    reader: Arc<dyn Reader>,
    quotas: GroupResource,
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
    pending: Pending,
    now: fn() -> i64,
}

/// One quota that means the object, and what the write adds to it.
struct Charge {
    name: String,
    delta: Amounts,
}

impl ResourceQuota {
    pub const NAME: &'static str = "ResourceQuota";

    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self {
            reader,
            quotas: GroupResource::new("", "resourcequotas"),
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
            pending: Pending::default(),
            now: unix_now,
        }
    }

    /// Charges what the write adds to every quota that means the object, or refuses it and charges nothing.
    pub async fn charge(&self, a: &Attributes<'_>, new: Option<&Value>, old: Option<&Value>) -> ApiResult<()> {
        let Some(new) = new.filter(|_| is_counted(a)) else { return Ok(()) };
        if self.reader.list(&self.quotas, a.namespace).is_empty() {
            return Ok(());
        }
        let lock = &self.locks[self.hasher.hash_one(a.namespace) as usize % LOCKS];
        let _turn = lock.lock().await;
        let mut charges = Vec::new();
        for quota in self.reader.list(&self.quotas, a.namespace) {
            let quota = self.observed(a, quota).await?;
            let Some(charge) = self.charge_for(a, &quota, new, old)? else { continue };
            if check(a, new, &quota, &charge).is_err() {
                // The count may be out of date (deletions are counted later): count anew before refusing.
                let fresh = self.recount(a, &quota).await?;
                check(a, new, &fresh, &charge)?;
            }
            charges.push(charge);
        }
        if a.dry_run { Ok(()) } else { self.apply(a, new, &Charged::new(a, old), &charges).await }
    }

    /// `None` if the write adds nothing that this quota counts.
    fn charge_for(
        &self,
        a: &Attributes<'_>,
        quota: &Value,
        new: &Value,
        old: Option<&Value>,
    ) -> ApiResult<Option<Charge>> {
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
        Ok((!delta.is_empty()).then(|| Charge { name: quota.name().to_owned(), delta }))
    }

    /// The quota with a status that fits its spec. A new or changed quota counts from this moment on, before any controller
    /// has seen it.
    async fn observed(&self, a: &Attributes<'_>, quota: Value) -> ApiResult<Value> {
        let (wanted, hard) = (amounts(quota.at("spec/hard")), amounts(quota.at("status/hard")));
        let used = amounts(quota.at("status/used"));
        if wanted == hard && hard.keys().all(|name| used.contains_key(name)) {
            return Ok(quota);
        }
        self.recount(a, &quota).await
    }

    /// Writes the true usage into the status, from the newest state of all objects that the quota means. A dry run only
    /// sees it.
    ///
    /// It counts after it has read the quota, and the write fails if the quota changed since: what others charge meanwhile is
    /// not written over.
    async fn recount(&self, a: &Attributes<'_>, quota: &Value) -> ApiResult<Value> {
        let namespace = quota.namespace();
        let mut change = |quota: &mut Value| -> ApiResult<()> {
            let hard = amounts(quota.at("spec/hard"));
            let names: BTreeSet<String> = hard.keys().cloned().collect();
            // Before the count: what is stored in between is then counted twice rather than not at all.
            let pending = self.pending.of(&*self.reader, namespace, quota.name());
            let mut used = self.count(quota, namespace, &names);
            add(&mut used, &mask(&pending, &names));
            quota["status"]["hard"] = to_value(&hard);
            quota["status"]["used"] = to_value(&used);
            Ok(())
        };
        if a.dry_run {
            let mut seen = quota.clone();
            change(&mut seen)?;
            return Ok(seen);
        }
        self.reader.update_status(&self.quotas, namespace, quota.name(), &mut change).await
    }

    fn count(&self, quota: &Value, namespace: &str, hard: &BTreeSet<String>) -> Amounts {
        // Scopes are matched against observed limits: those of the spec are about to become these.
        let mut observed = quota.clone();
        observed["status"]["hard"] = quota.at("spec/hard").cloned().unwrap_or_default();
        let kinds: BTreeSet<(String, String)> = hard.iter().filter_map(|name| resources_of(name)).collect();
        let mut used: Amounts = hard.iter().map(|name| (name.clone(), Default::default())).collect();
        for (group, resource) in kinds {
            let objects = self.reader.list(&GroupResource::new(&*group, &*resource), namespace);
            let meant = objects.iter().filter(|object| matches(&observed, &group, &resource, object));
            let part = used_by(&group, &resource, meant, hard, (self.now)());
            used.extend(part);
        }
        used
    }

    /// Adds to all quotas, or (should one refuse meanwhile) takes back what was added.
    async fn apply(&self, a: &Attributes<'_>, new: &Value, object: &Charged, charges: &[Charge]) -> ApiResult<()> {
        for (done, charge) in charges.iter().enumerate() {
            self.pending.add(&*self.reader, &charge.name, &charge.delta, object);
            let mut change = |quota: &mut Value| -> ApiResult<()> {
                check(a, new, quota, charge)?;
                let mut used = amounts(quota.at("status/used"));
                add(&mut used, &charge.delta);
                quota["status"]["used"] = to_value(&used);
                Ok(())
            };
            let outcome = self.reader.update_status(&self.quotas, a.namespace, &charge.name, &mut change).await;
            match outcome {
                Ok(_) => {}
                // A quota that is gone limits nothing.
                Err(error) if error.code() == 404 => {}
                Err(error) => {
                    self.pending.remove(object);
                    self.take_back(a.namespace, &charges[..done]).await?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn take_back(&self, namespace: &str, charges: &[Charge]) -> ApiResult<()> {
        for charge in charges {
            let mut change = |quota: &mut Value| -> ApiResult<()> {
                let mut used = amounts(quota.at("status/used"));
                subtract(&mut used, &charge.delta);
                quota["status"]["used"] = to_value(&used);
                Ok(())
            };
            let outcome = self.reader.update_status(&self.quotas, namespace, &charge.name, &mut change).await;
            if let Err(error) = outcome
                && error.code() != 404
            {
                return Err(error);
            }
        }
        Ok(())
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
fn check(a: &Attributes<'_>, new: &Value, quota: &Value, charge: &Charge) -> ApiResult<()> {
    let (hard, used) = (amounts(quota.at("status/hard")), amounts(quota.at("status/used")));
    let exceeded: BTreeSet<String> = charge
        .delta
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
    Err(refuse(a, new, quota, &part(&charge.delta), &part(&used), &part(&hard)))
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
