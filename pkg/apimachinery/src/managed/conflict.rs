//! Fields that an applier wants to change and somebody else owns.

use super::element::Path;
use super::entry::Entry;
use super::set::FieldSet;
use crate::status::{ApiError, Cause, Details};

/// One manager, and the fields of it that are in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The manager as messages name it.
    pub manager: String,
    pub fields: FieldSet,
    order: (String, super::Operation, String, String),
}

/// All conflicts of one apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl Conflicts {
    pub(super) fn push(&mut self, entry: &Entry, fields: FieldSet) {
        let order = (entry.manager.clone(), entry.operation, entry.api_version.clone(), entry.subresource.clone());
        self.0.push(Conflict { manager: entry.shown(), fields, order });
    }

    /// Without the fields of `allowed`.
    #[must_use]
    pub(super) fn except(self, allowed: &FieldSet) -> Self {
        let rest = self.0.into_iter().map(|one| Conflict { fields: one.fields.difference(allowed), ..one });
        Self(rest.filter(|one| !one.fields.is_empty()).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The refusal, 409, with a cause for each field.
    pub fn into_error(mut self) -> ApiError {
        self.0.sort_by(|a, b| a.order.cmp(&b.order));
        let all: Vec<(String, Vec<Path>)> = self.0.into_iter().map(|one| (one.manager, one.fields.paths())).collect();
        let causes: Vec<Cause> = all
            .iter()
            .flat_map(|(manager, paths)| paths.iter().map(move |path| (manager, path)))
            .map(|(manager, path)| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {manager}"),
                field: path.to_string(),
            })
            .collect();
        let message = match causes.as_slice() {
            [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
            _ => {
                let groups = all.iter().map(|(manager, paths)| {
                    let lines: String = paths.iter().map(|path| format!("\n- {path}")).collect();
                    format!("conflicts with {manager}:{lines}")
                });
                let text: Vec<String> = groups.collect();
                format!("Apply failed with {} conflicts: {}", causes.len(), text.join("\n"))
            }
        };
        ApiError::new(409, "Conflict", message).with_details(Details { causes, ..Details::default() })
    }
}
