//! The order of plugins, which is upstream's, and the two passes over it.

use std::sync::Arc;

use apimachinery::ApiResult;
use async_trait::async_trait;
use serde_json::Value;

use crate::attributes::Attributes;
use crate::plugins;
use crate::quota::{Charge, ResourceQuota};
use crate::reader::{Authorizer, Reader};

/// A built-in plugin. It reads in memory and so is synchronous.
pub trait Plugin: Send + Sync {
    /// As in `--enable-admission-plugins`.
    fn name(&self) -> &'static str;

    /// May change the object. `old` is what an update or delete replaces.
    fn mutate(&self, _: &Attributes<'_>, _: &mut Value, _old: Option<&Value>) -> ApiResult<()> {
        Ok(())
    }

    /// Judges the final object; `object` is `None` on delete and connect.
    fn validate(&self, _: &Attributes<'_>, _object: Option<&Value>, _old: Option<&Value>) -> ApiResult<()> {
        Ok(())
    }
}

/// What users add at run time: webhooks and policies. They come after the built-in plugins and before quota.
#[async_trait]
pub trait Extension: Send + Sync {
    /// May change the object; true if it did, so that built-in plugins look at it again.
    async fn mutate(&self, a: &Attributes<'_>, object: Option<&mut Value>, old: Option<&Value>) -> ApiResult<bool>;
    async fn validate(&self, a: &Attributes<'_>, object: Option<&Value>, old: Option<&Value>) -> ApiResult<()>;
}

/// What the plugins need.
#[derive(Clone)]
pub struct Config {
    pub reader: Arc<dyn Reader>,
    pub authorizer: Arc<dyn Authorizer>,
    /// Names of plugins that are left out.
    pub disabled: Vec<String>,
}

/// The admission of a server. A refusal by any part ends it: an error cannot be overlooked, `?` carries it out.
pub struct Chain {
    reader: Arc<dyn Reader>,
    plugins: Vec<Box<dyn Plugin>>,
    /// In order: mutating policies, mutating webhooks, validating policies, validating webhooks.
    extensions: Vec<Arc<dyn Extension>>,
    quota: Option<ResourceQuota>,
}

impl Chain {
    pub fn new(config: Config) -> Self {
        let Config { reader, authorizer, disabled } = config;
        let r = || reader.clone();
        let all: Vec<Box<dyn Plugin>> = vec![
            Box::new(plugins::NamespaceLifecycle::new(r())),
            Box::new(plugins::LimitRanger::new(r())),
            Box::new(plugins::ServiceAccount::new(r())),
            Box::new(plugins::NodeRestriction::new(r(), authorizer.clone())),
            Box::new(plugins::TaintNodesByCondition),
            Box::new(plugins::PodSecurity::new(r())),
            Box::new(plugins::Priority::new(r())),
            Box::new(plugins::DefaultTolerationSeconds::default()),
            Box::new(plugins::DefaultStorageClass::new(r())),
            Box::new(plugins::StorageObjectInUseProtection),
            Box::new(plugins::PersistentVolumeClaimResize::new(r())),
            Box::new(plugins::RuntimeClass::new(r())),
            Box::new(plugins::CertificateApproval::new(authorizer.clone())),
            Box::new(plugins::CertificateSigning::new(authorizer.clone())),
            Box::new(plugins::ClusterTrustBundleAttest::new(authorizer)),
            Box::new(plugins::CertificateSubjectRestriction),
            Box::new(plugins::DefaultIngressClass::new(r())),
        ];
        let enabled = |name: &str| !disabled.iter().any(|d| d == name);
        let quota = enabled(ResourceQuota::NAME).then(|| ResourceQuota::new(r()));
        let plugins = all.into_iter().filter(|p| enabled(p.name())).collect();
        Self { reader, plugins, extensions: Vec::new(), quota }
    }

    /// Adds a webhook or policy engine, after those that are there.
    #[must_use]
    pub fn with_extension(mut self, extension: Arc<dyn Extension>) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Names of the built-in plugins in their order.
    pub fn names(&self) -> Vec<&'static str> {
        let quota = self.quota.iter().map(|_| ResourceQuota::NAME);
        self.plugins.iter().map(|p| p.name()).chain(quota).collect()
    }

    /// The first pass: plugins and webhooks change the object.
    pub async fn mutate(&self, a: &Attributes<'_>, object: Option<&mut Value>, old: Option<&Value>) -> ApiResult<()> {
        let Some(object) = object else {
            for extension in &self.extensions {
                extension.mutate(a, None, old).await?;
            }
            return Ok(());
        };
        self.sure(|| self.mutate_built_in(a, object, old)).await?;
        let mut changed = false;
        for extension in &self.extensions {
            changed |= extension.mutate(a, Some(&mut *object), old).await?;
        }
        // What webhooks added must be completed as well (a container without default limits, say).
        if changed { self.sure(|| self.mutate_built_in(a, object, old)).await } else { Ok(()) }
    }

    fn mutate_built_in(&self, a: &Attributes<'_>, object: &mut Value, old: Option<&Value>) -> ApiResult<()> {
        self.plugins.iter().try_for_each(|plugin| plugin.mutate(a, object, old))
    }

    /// A refusal may rest on an old state: what it misses was written through another server a moment ago. So it is made
    /// again in the newest, or, if that cannot be known, nothing is said at all.
    async fn sure(&self, mut judge: impl FnMut() -> ApiResult<()> + Send) -> ApiResult<()> {
        match judge() {
            Err(_) if self.reader.catch_up().await? => judge(),
            outcome => outcome,
        }
    }

    /// The second pass: everything judges the object as it will be stored.
    pub async fn validate(&self, a: &Attributes<'_>, object: Option<&Value>, old: Option<&Value>) -> ApiResult<()> {
        self.sure(|| self.plugins.iter().try_for_each(|plugin| plugin.validate(a, object, old))).await?;
        for extension in &self.extensions {
            extension.validate(a, object, old).await?;
        }
        Ok(())
    }

    /// What the write of an object that passed is charged to. It is to be written with the object, in one step; should a quota
    /// have changed before that, this is asked again.
    pub async fn charge(&self, a: &Attributes<'_>, object: &Value, old: Option<&Value>) -> ApiResult<Charge> {
        match &self.quota {
            Some(quota) => quota.charge(a, object, old).await,
            None => Ok(Charge::default()),
        }
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
