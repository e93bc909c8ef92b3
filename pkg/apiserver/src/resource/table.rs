//! Tables: what `kubectl get` prints.

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult};
use apis::resource::Column;
use registry::Found;
use serde_json::{Map, Value, json};

use super::render::partial;
use crate::context::Context;

/// What stands beside the cells of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    None,
    Metadata,
    Object,
}

impl Rows {
    pub fn from_query(context: &Context<'_>) -> ApiResult<Self> {
        match context.query.get("includeObject") {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(ApiError::bad_request(format!(
                "unrecognized includeObject value {other:?}: must be 'Object', 'Metadata', or 'None'"
            ))),
        }
    }
}

/// A table of `objects`. `list` gives the list metadata (a list, or the one object).
pub fn of(found: Found, rows: Rows, objects: &[Value], columns: bool, list: &Value) -> Value {
    let now = jiff::Timestamp::now().as_second();
    let lines: Vec<Value> = objects.iter().map(|object| row(found, rows, object, now)).collect();
    let mut metadata = Map::new();
    for field in ["resourceVersion", "continue", "remainingItemCount"] {
        if let Some(value) = list.at("metadata").and_then(|m| m.get(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let definitions: Vec<Value> =
        if columns { found.resource.columns.iter().map(definition).collect() } else { Vec::new() };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions,
        "rows": lines,
    })
}

fn row(found: Found, rows: Rows, object: &Value, now: i64) -> Value {
    // Cells are read from the stored form.
    let cells = if found.is_stored_form() {
        (found.resource.cells)(object, now)
    } else {
        let mut stored = object.clone();
        registry::to_storage(found.resource, &mut stored);
        (found.resource.cells)(&stored, now)
    };
    match rows {
        Rows::None => json!({ "cells": cells }),
        Rows::Metadata => json!({ "cells": cells, "object": partial(object) }),
        Rows::Object => json!({ "cells": cells, "object": object }),
    }
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name, "type": column.type_, "format": column.format, "description": column.description,
        "priority": column.priority,
    })
}
