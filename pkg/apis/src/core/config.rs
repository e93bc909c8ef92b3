//! ConfigMaps, Secrets and ServiceAccounts.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_config_map_key;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use base64::Engine;
use serde_json::Value;

use crate::cells::age;
use crate::resource::{Column, Resource, Strategy, Subresource, Verbs};
use crate::tree::{Fill, Tree};

/// Total bytes of data in one object.
const DATA_MAX: usize = 1024 * 1024;

pub const CONFIG_MAP: Resource = Resource {
    short_names: &["cm"],
    columns: &[Column::NAME, DATA, Column::AGE],
    cells: |o, now| vec![o.name().into(), (len(o, "data") + len(o, "binaryData")).into(), age(o, now)],
    strategy: Strategy { validate: validate_config_map, validate_update: update_config_map, ..Strategy::PLAIN },
    ..Resource::namespaced("", "v1", "configmaps", "configmap", "ConfigMap")
};

pub const SECRET: Resource = Resource {
    columns: &[Column::NAME, Column::text("Type", "What the data is meant for."), DATA, Column::AGE],
    cells: |o, now| vec![o.name().into(), o.text("type").into(), len(o, "data").into(), age(o, now)],
    selectable: &[("type", |o| o.text("type").to_owned())],
    strategy: Strategy {
        default: default_secret,
        prepare_for_create: fold_string_data,
        prepare_for_update: |new, _| fold_string_data(new),
        validate: validate_secret,
        validate_update: update_secret,
        ..Strategy::PLAIN
    },
    ..Resource::namespaced("", "v1", "secrets", "secret", "Secret")
};

pub const SERVICE_ACCOUNT: Resource = Resource {
    short_names: &["sa"],
    columns: &[Column::NAME, Column::text("Secrets", "Number of secrets that pods of it may mount."), Column::AGE],
    cells: |o, now| vec![o.name().into(), o.list("secrets").len().into(), age(o, now)],
    subresources: &[Subresource {
        name: "token",
        kind: Some(("authentication.k8s.io", "v1", "TokenRequest")),
        verbs: Verbs::CREATE,
        update: None,
    }],
    strategy: Strategy {
        prepare_for_create: names_of_secrets,
        prepare_for_update: |new, _| names_of_secrets(new),
        warnings: account_warnings,
        ..Strategy::PLAIN
    },
    ..Resource::namespaced("", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount")
};

/// Of the references to secrets only the names count.
fn names_of_secrets(account: &mut Object) {
    object_mut(account).each("secrets", |secret| secret.retain(|field, _| field == "name"));
}

/// Whoever sets the annotation is warned once.
fn account_warnings(new: &Object, old: Option<&Object>) -> Vec<String> {
    const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
    let has = |account: &Object| account.annotations().is_some_and(|a| a.contains_key(ENFORCE));
    if !has(new) || old.is_some_and(has) {
        return Vec::new();
    }
    let why = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
    vec![format!("metadata.annotations[{ENFORCE}]: {why}")]
}

const DATA: Column = Column::text("Data", "Number of entries.");

fn len(object: &Object, field: &str) -> usize {
    object.field(field).as_object().map_or(0, serde_json::Map::len)
}

fn validate_config_map(map: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut size = 0;
    for (field, other) in [("data", "binaryData"), ("binaryData", "data")] {
        for (key, value) in map.entries(field) {
            key_errors(&mut errors, field, key);
            if map.field(other).has(key) {
                let path = Path::new(field).key(key);
                errors.push(Error::invalid(&path, key, format!("duplicate of key present in {other}")));
            }
            let bytes = value.as_str().map_or(0, str::len);
            size += if field == "data" { bytes } else { decoded_len(value) };
        }
    }
    if size > DATA_MAX {
        errors.push(Error::too_long(&crate::check::whole(), DATA_MAX));
    }
    errors
}

fn key_errors(errors: &mut ErrorList, field: &str, key: &str) {
    let reasons = is_config_map_key(key);
    if !reasons.is_empty() {
        let path = Path::new(field).key(key);
        errors.extend(reasons.into_iter().map(|e| Error::invalid(&path, key, e)));
    }
}

/// Bytes that a base64 text stands for.
fn decoded_len(value: &Value) -> usize {
    let text = value.as_str().unwrap_or("");
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

fn update_config_map(new: &Object, old: &Object) -> ErrorList {
    let mut errors = frozen(new, old, &["data", "binaryData"]);
    errors.extend(validate_config_map(new));
    errors
}

/// Once `immutable` is set, it stays, and the data with it.
fn frozen(new: &Object, old: &Object, fields: &[&str]) -> ErrorList {
    const WHY: &str = "field is immutable when `immutable` is set";
    if !old.flag("immutable") {
        return Vec::new();
    }
    let mut errors = ErrorList::new();
    if !new.flag("immutable") {
        errors.push(Error::forbidden(&Path::new("immutable"), WHY));
    }
    let empty = |v: &Value| v.as_object().is_none_or(serde_json::Map::is_empty);
    for field in fields {
        let (after, before) = (new.field(field), old.field(field));
        if after != before && !(empty(after) && empty(before)) {
            errors.push(Error::forbidden(&Path::new(field), WHY));
        }
    }
    errors
}

fn default_secret(secret: &mut Object) {
    object_mut(secret).default_text("type", "Opaque");
    fold_string_data(secret);
}

/// `stringData` is a way to write `data`; it is never shown.
fn fold_string_data(secret: &mut Object) {
    let root = object_mut(secret);
    let Some(Value::Object(texts)) = root.remove("stringData") else { return };
    if texts.is_empty() {
        return;
    }
    let data = root.sub_or_new("data");
    for (key, text) in texts {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or(""));
        data.insert(key, encoded.into());
    }
}

/// Keys that a type asks for.
const REQUIRED: &[(&str, &[&str])] = &[
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
];

fn validate_secret(secret: &Object) -> ErrorList {
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    let mut errors = ErrorList::new();
    let mut size = 0;
    for (key, value) in secret.entries("data") {
        key_errors(&mut errors, "data", key);
        size += decoded_len(value);
    }
    if size > DATA_MAX {
        errors.push(Error::too_long(&Path::new("data"), DATA_MAX));
    }
    let data = secret.field("data");
    let at = |key: &str| Path::new("data").key(key);
    let kind = secret.text("type");
    for key in REQUIRED.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, keys)| keys) {
        match data.get(key) {
            None => errors.push(Error::required(&at(key), "")),
            Some(value) if key.starts_with('.') => docker_config(&mut errors, &at(key), value),
            // Of all keys, this one must not be empty.
            Some(value) if *key == "ssh-privatekey" && value == "" => errors.push(Error::required(&at(key), "")),
            Some(_) => {}
        }
    }
    match kind {
        "kubernetes.io/basic-auth" if !data.has("username") && !data.has("password") => {
            errors.extend(["username", "password"].map(|key| Error::required(&at(key), "")));
        }
        "kubernetes.io/service-account-token" => {
            let account = secret.annotations().and_then(|a| a.get(ACCOUNT)).and_then(Value::as_str);
            if account.unwrap_or("").is_empty() {
                let path = Path::new("metadata").child("annotations").key(ACCOUNT);
                errors.push(Error::required(&path, ""));
            }
        }
        _ => {}
    }
    errors
}

fn docker_config(errors: &mut ErrorList, at: &Path, value: &Value) {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or("")).unwrap_or_default();
    let why = match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(other) => {
            let kind = match other {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
        }
        Err(error) => error.to_string(),
    };
    errors.push(Error::invalid(at, "<secret contents redacted>", why));
}

fn update_secret(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    crate::check::immutable(&mut errors, &Path::default(), new, old, "type");
    errors.extend(frozen(new, old, &["data"]));
    errors.extend(validate_secret(new));
    errors
}
