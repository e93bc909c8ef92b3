//! OpenAPI v3: `openapi.v3.Document`.

use serde_json::Value;

use super::{Message, any, wrap};
use crate::Failure;

pub fn encode(json: &[u8]) -> Result<Vec<u8>, Failure> {
    let document: Value = serde_json::from_slice(json)?;
    let mut message = Message::default();
    message.text(1, &document["openapi"]);
    let mut info = Message::default();
    info.texts_of(&document["info"], &[(1, "title"), (6, "version")]);
    message.message(2, info);
    let mut paths = Message::default();
    paths.named(1, &document["paths"], path_item);
    message.message(4, paths);
    let mut schemas = Message::default();
    schemas.named(1, &document["components"]["schemas"], schema_or_reference);
    let mut components = wrap(1, schemas);
    let mut security = Message::default();
    security.named(1, &document["components"]["securitySchemes"], |scheme| {
        let mut inner = Message::default();
        inner.texts_of(scheme, &[(1, "type"), (2, "description"), (3, "name"), (4, "in")]);
        wrap(1, inner)
    });
    components.message(7, security);
    message.message(5, components);
    Ok(message.0)
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    message.operations(4, item, operation);
    parameters(&mut message, 13, &item["parameters"]);
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.texts(1, &operation["tags"]);
    message.texts_of(operation, &[(3, "description"), (5, "operationId")]);
    parameters(&mut message, 6, &operation["parameters"]);
    if operation["requestBody"].is_object() {
        let mut body = Message::default();
        body.message(2, media_types(&operation["requestBody"]["content"]));
        body.flag(3, &operation["requestBody"]["required"]);
        message.message(7, wrap(1, body));
    }
    let mut responses = Message::default();
    responses.named(2, &operation["responses"], |response| {
        let mut inner = Message::default();
        inner.text(1, &response["description"]);
        if response["content"].is_object() {
            inner.message(3, media_types(&response["content"]));
        }
        wrap(1, inner)
    });
    message.message(8, responses);
    message.flag(10, &operation["deprecated"]);
    message.extensions(13, operation);
    message
}

fn media_types(content: &Value) -> Message {
    let mut message = Message::default();
    message.named(1, content, |media| wrap(1, schema_or_reference(&media["schema"])));
    message
}

fn parameters(message: &mut Message, field: u64, list: &Value) {
    for item in list.as_array().into_iter().flatten() {
        let mut parameter = Message::default();
        parameter.texts_of(item, &[(1, "name"), (2, "in"), (3, "description")]);
        parameter.flag(4, &item["required"]);
        parameter.message(10, schema_or_reference(&item["schema"]));
        message.message(field, wrap(1, parameter));
    }
}

fn schema_or_reference(schema_value: &Value) -> Message {
    if schema_value["$ref"].is_string() {
        let mut reference = Message::default();
        reference.text(1, &schema_value["$ref"]);
        return wrap(2, reference);
    }
    wrap(1, schema(schema_value))
}

fn schema(schema_value: &Value) -> Message {
    let mut message = Message::default();
    message.flag(1, &schema_value["nullable"]);
    message.flag(20, &schema_value["uniqueItems"]);
    message.texts(23, &schema_value["required"]);
    let list = |name: &str| schema_value[name].as_array().cloned().unwrap_or_default();
    list("enum").iter().for_each(|value| message.message(24, any(value)));
    message.text(25, &schema_value["type"]);
    for (field, name) in [(26, "allOf"), (27, "oneOf"), (28, "anyOf")] {
        list(name).iter().for_each(|schema| message.message(field, schema_or_reference(schema)));
    }
    if schema_value["items"].is_object() {
        message.message(30, wrap(1, schema_or_reference(&schema_value["items"])));
    }
    if schema_value["properties"].is_object() {
        let mut properties = Message::default();
        properties.named(1, &schema_value["properties"], schema_or_reference);
        message.message(31, properties);
    }
    if schema_value["additionalProperties"].is_object() {
        message.message(32, wrap(1, schema_or_reference(&schema_value["additionalProperties"])));
    }
    if let Some(default) = default(&schema_value["default"]) {
        message.message(33, default);
    }
    message.text(34, &schema_value["description"]);
    message.text(35, &schema_value["format"]);
    message.extensions(36, schema_value);
    message
}

/// A default that is a number, a truth value or a text; the format knows no others.
fn default(value: &Value) -> Option<Message> {
    let mut message = Message::default();
    match value {
        Value::Number(number) => message.double(1, number.as_f64()?),
        Value::Bool(truth) => message.truth(2, *truth),
        Value::String(_) => message.text(3, value),
        _ => return None,
    }
    Some(message)
}
