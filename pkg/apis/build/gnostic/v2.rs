//! OpenAPI v2: `openapi.v2.Document`.

use serde_json::Value;

use super::{Message, any, wrap};
use crate::Failure;

pub fn encode(swagger: &[u8]) -> Result<Vec<u8>, Failure> {
    let document: Value = serde_json::from_slice(swagger)?;
    let mut message = Message::default();
    message.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.texts_of(&document["info"], &[(1, "title"), (2, "version")]);
    message.message(2, info);
    let mut paths = Message::default();
    paths.named(2, &document["paths"], path_item);
    message.message(8, paths);
    let mut definitions = Message::default();
    definitions.named(1, &document["definitions"], schema);
    message.message(9, definitions);
    let mut required = Message::default();
    required.named(1, &document["security"][0], |_| Message::default());
    message.message(12, required);
    let mut security = Message::default();
    security.named(1, &document["securityDefinitions"], |key| {
        let mut api_key = Message::default();
        api_key.texts_of(key, &[(1, "type"), (2, "name"), (3, "in"), (4, "description")]);
        wrap(2, api_key)
    });
    message.message(13, security);
    Ok(message.0)
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    message.operations(2, item, operation);
    parameters(&mut message, 9, &item["parameters"]);
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.texts(1, &operation["tags"]);
    message.texts_of(operation, &[(3, "description"), (5, "operationId")]);
    message.texts(6, &operation["produces"]);
    message.texts(7, &operation["consumes"]);
    parameters(&mut message, 8, &operation["parameters"]);
    let mut responses = Message::default();
    responses.named(1, &operation["responses"], |response| {
        let mut inner = Message::default();
        inner.text(1, &response["description"]);
        if response["schema"].is_object() {
            inner.message(2, wrap(1, schema(&response["schema"])));
        }
        wrap(1, inner)
    });
    message.message(9, responses);
    message.texts(10, &operation["schemes"]);
    message.extensions(13, operation);
    message
}

fn parameters(message: &mut Message, field: u64, list: &Value) {
    for item in list.as_array().into_iter().flatten() {
        let parameter = match item["in"].as_str() {
            Some("body") => wrap(1, body_parameter(item)),
            Some("path") => wrap(2, wrap(4, simple_parameter(item, 5, 19))),
            _ => wrap(2, wrap(3, simple_parameter(item, 6, 20))),
        };
        message.message(field, wrap(1, parameter));
    }
}

fn body_parameter(item: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &item["description"]);
    message.text(2, &item["name"]);
    message.text(3, &item["in"]);
    message.flag(4, &item["required"]);
    message.message(5, schema(&item["schema"]));
    message
}

fn simple_parameter(item: &Value, type_field: u64, unique_field: u64) -> Message {
    let mut message = Message::default();
    message.flag(1, &item["required"]);
    message.text(2, &item["in"]);
    message.text(3, &item["description"]);
    message.text(4, &item["name"]);
    message.text(type_field, &item["type"]);
    message.flag(unique_field, &item["uniqueItems"]);
    message
}

fn schema(schema_value: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &schema_value["$ref"]);
    message.text(2, &schema_value["format"]);
    message.text(4, &schema_value["description"]);
    if !schema_value["default"].is_null() {
        message.message(5, any(&schema_value["default"]));
    }
    message.texts(19, &schema_value["required"]);
    if schema_value["additionalProperties"].is_object() {
        message.message(21, wrap(1, schema(&schema_value["additionalProperties"])));
    }
    if schema_value["type"].is_string() {
        let mut types = Message::default();
        types.text(1, &schema_value["type"]);
        message.message(22, types);
    }
    if schema_value["items"].is_object() {
        message.message(23, wrap(1, schema(&schema_value["items"])));
    }
    if schema_value["properties"].is_object() {
        let mut properties = Message::default();
        properties.named(1, &schema_value["properties"], schema);
        message.message(25, properties);
    }
    message.extensions(31, schema_value);
    message
}
