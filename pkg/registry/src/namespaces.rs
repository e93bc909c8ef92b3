//! What the namespace of an object does not allow it.

use apimachinery::field::ErrorList;
use serde_json::Value;

use crate::call::Call;
use crate::{Registry, keys};

impl Registry {
    /// The errors of an object that is written (`old` is `None`: created), for kinds that ask their namespace. One that is
    /// gone allows nothing.
    pub(crate) fn refused_by_namespace(&self, call: &Call<'_>, new: &Value, old: Option<&Value>) -> ErrorList {
        let Some(check) = call.resource.strategy.validate_in_namespace else {
            return ErrorList::new();
        };
        let row = self.rows.newest("", "namespaces");
        let stored = row.and_then(|found| self.storage.get(&keys::object(found.resource, "", call.namespace)));
        check(new, old, &stored.map_or(Value::Null, |stored| stored.decode()))
    }
}
