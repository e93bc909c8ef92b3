//! Tables: what `kubectl get` prints.

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult, field};
use apis::resource::Column;
use registry::Found;
use serde_json::{Map, Value, json};

use super::render::partial;
use crate::context::Context;
use crate::http::negotiate::MetaVersion;

/// What stands beside the cells of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    None,
    Metadata,
    Object,
}

/// How a table is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    rows: Rows,
    /// Without column definitions: they were sent before.
    pub no_headers: bool,
    version: MetaVersion,
}

impl Options {
    pub fn from_query(context: &Context<'_>, version: MetaVersion) -> ApiResult<Self> {
        let rows = match context.query.get("includeObject") {
            "" | "Metadata" => Rows::Metadata,
            "None" => Rows::None,
            "Object" => Rows::Object,
            other => {
                let path = field::Path::new("includeObject");
                let known = ["Metadata", "None", "Object", ""];
                let error = field::Error::not_supported(&path, other, &known);
                return Err(ApiError::bad_request(format!("Unable to convert to Table as requested: {error}")));
            }
        };
        Ok(Self { rows, no_headers: false, version })
    }
}

/// A table of `objects`. `list` gives the list metadata (a list, or the one object).
pub fn of(found: Found, options: Options, objects: &[Value], list: &Value) -> Value {
    let now = jiff::Timestamp::now().as_second();
    let lines: Vec<Value> = objects.iter().map(|object| row(found, options, object, now)).collect();
    let mut metadata = Map::new();
    for field in ["resourceVersion", "continue", "remainingItemCount"] {
        if let Some(value) = list.at("metadata").and_then(|m| m.get(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let columns = if options.no_headers { &[][..] } else { found.resource.columns };
    let definitions: Vec<Value> = columns.iter().map(definition).collect();
    json!({
        "kind": "Table", "apiVersion": options.version.api_version(), "metadata": metadata,
        "columnDefinitions": definitions, "rows": lines,
    })
}

fn row(found: Found, options: Options, object: &Value, now: i64) -> Value {
    // Cells are read from the stored form.
    let cells = if found.is_stored_form() {
        (found.resource.cells)(object, now)
    } else {
        let mut stored = object.clone();
        registry::to_storage(found.resource, &mut stored);
        (found.resource.cells)(&stored, now)
    };
    match options.rows {
        Rows::None => json!({ "cells": cells }),
        Rows::Metadata => json!({ "cells": cells, "object": partial(object, options.version) }),
        Rows::Object => json!({ "cells": cells, "object": object }),
    }
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name, "type": column.type_, "format": column.format, "description": column.description,
        "priority": column.priority,
    })
}
