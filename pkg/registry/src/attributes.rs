//! Labels and selectable fields: taken out of an object when it is written, looked at when it is selected.

use apimachinery::fields::FieldSelector;
use apimachinery::labels::LabelSelector;
use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult};
use apis::resource::Resource;
use serde_json::Value;
use storage::{Attributes, StoredObject};

use crate::keys;

/// What is kept beside the body of `object`.
pub fn of(resource: &Resource, object: &Value) -> Attributes {
    let labels = object.labels().map(|labels| {
        labels.iter().filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect()
    });
    // Empty values are not kept: an absent field reads as empty.
    let fields = resource.selectable.iter().filter_map(|(field, read)| {
        let text = read(object);
        (!text.is_empty()).then(|| ((*field).into(), text.into()))
    });
    Attributes { labels: labels.unwrap_or_default(), fields: fields.collect() }
}

/// The label and field selectors of a list, watch or deletion of many.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
}

impl Selection {
    /// Reads both selectors; fields that the resource cannot be selected by are refused.
    pub fn parse(resource: &Resource, labels: &str, fields: &str) -> ApiResult<Self> {
        let labels = (!labels.is_empty()).then(|| LabelSelector::parse(labels)).transpose();
        let labels = labels.map_err(|e| ApiError::bad_request(e.to_string()))?;
        let fields = (!fields.is_empty()).then(|| FieldSelector::parse(fields)).transpose();
        let fields = fields.map_err(|e| ApiError::bad_request(e.to_string()))?;
        for requirement in fields.iter().flat_map(FieldSelector::requirements) {
            check_field(resource, &requirement.field)?;
        }
        Ok(Self { labels, fields })
    }

    pub fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    /// The one name that `metadata.name=<name>` asks for.
    pub fn single_name(&self) -> Option<&str> {
        self.exact("metadata.name")
    }

    /// The one namespace that `metadata.namespace=<namespace>` asks for.
    pub fn single_namespace(&self) -> Option<&str> {
        self.exact("metadata.namespace")
    }

    fn exact(&self, field: &str) -> Option<&str> {
        self.fields.as_ref()?.exact(field)
    }

    pub fn matches(&self, resource: &Resource, object: &StoredObject) -> bool {
        let attributes = object.attributes();
        let labels = self.labels.as_ref().is_none_or(|selector| {
            selector.matches(&|key: &str| attributes.labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()))
        });
        if !labels {
            return false;
        }
        let Some(fields) = &self.fields else { return true };
        let (namespace, name) = keys::split(resource, object.key());
        fields.matches(|field: &str| {
            Some(match field {
                "metadata.name" => name,
                "metadata.namespace" => namespace,
                other => {
                    let stored = stored_field(resource, other);
                    attributes.fields.iter().find(|(k, _)| k == stored).map_or("", |(_, v)| v.as_str())
                }
            })
        })
    }
}

/// The label that a selectable field is kept under.
fn stored_field<'a>(resource: &Resource, field: &'a str) -> &'a str {
    resource.selector_aliases.iter().find(|(alias, _)| *alias == field).map_or(field, |(_, label)| label)
}

fn check_field(resource: &Resource, field: &str) -> ApiResult<()> {
    // A group with names of its own does not know the stored ones, save those that it lists as they are.
    let aliases = resource.selector_aliases;
    let renamed = aliases.iter().any(|(_, label)| *label == field) && !aliases.iter().any(|(alias, _)| *alias == field);
    let known = match stored_field(resource, field) {
        "metadata.name" => true,
        // Kinds without fields of their own have both, whatever they are.
        "metadata.namespace" => resource.namespaced || resource.selectable.is_empty(),
        stored => resource.selectable.iter().any(|(label, _)| *label == stored) && !renamed,
    };
    if known { Ok(()) } else { Err(ApiError::bad_request(unsupported_field(resource, field))) }
}

/// Upstream says it in different words for different kinds.
fn unsupported_field(resource: &Resource, field: &str) -> String {
    match resource.kind {
        _ if resource.selectable.is_empty() => {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        "Job" => format!("field label {field:?} not supported for Job"),
        "ResourceSlice" => {
            let kind = format!("{}/{}, Kind=ResourceSlice", resource.group, resource.storage_version);
            format!("field label not supported for {kind}: {field}")
        }
        _ => format!("field label not supported: {field}"),
    }
}
