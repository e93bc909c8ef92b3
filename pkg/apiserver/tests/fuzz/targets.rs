//! What reads inputs. Each also checks what must hold of the result.

use std::sync::Arc;

use apimachinery::decode::{ContentType, Decoded, decode};
use apimachinery::fields::FieldSelector;
use apimachinery::labels::LabelSelector;
use apimachinery::managed::{FieldSet, Managers};
use apimachinery::patch::{json_patch, merge_patch, strategic};
use apimachinery::quantity::{self, Quantity};
use apimachinery::{GroupVersionKind, time};
use apis::schema::fill::Filler;
use apis::schema::{Schema, conform, protobuf, type_of};
use registry::{ListQuery, Registry, ServiceOptions};
use serde_json::Value;

use crate::corpus::{Seeds, kind, object};

/// Reads an input; the generator is for what the reader needs beside it.
type Run = Box<dyn Fn(&[u8], Filler)>;

pub struct Target {
    pub name: &'static str,
    pub seeds: Seeds,
    pub run: Run,
}

fn target(name: &'static str, seeds: Seeds, run: impl Fn(&[u8], Filler) + 'static) -> Target {
    Target { name, seeds, run: Box::new(run) }
}

pub fn all() -> Vec<Target> {
    let continued = continue_tokens();
    vec![
        target("json", Seeds::Json, |input, random| body(input, ContentType::Json, random)),
        target("yaml", Seeds::Yaml, |input, random| body(input, ContentType::Yaml, random)),
        target("protobuf", Seeds::Protobuf, message),
        target("json patch", Seeds::JsonPatch, |input, mut random| drop(json_patch(&mut object(&mut random), input))),
        target("merge patch", Seeds::Patch, |input, mut random| {
            if let Ok(decoded) = decode(input, ContentType::Json) {
                let _ = merge_patch(&mut object(&mut random), &decoded.object);
            }
        }),
        target("strategic merge patch", Seeds::Patch, strategic_patch),
        target("managed fields", Seeds::Fields, words(managed_fields)),
        target("selectors", Seeds::Words, words(selectors)),
        target("quantities and times", Seeds::Words, words(quantities)),
        target("continue tokens", Seeds::Words, words(continued)),
    ]
}

/// Inputs as texts; those that are none are no business of the reader.
fn words(run: impl Fn(&str)) -> impl Fn(&[u8], Filler) {
    move |input, _| {
        if let Ok(text) = std::str::from_utf8(input) {
            run(text);
        }
    }
}

fn random_gvk(random: &mut Filler) -> GroupVersionKind {
    let (group, version, kind, _) = kind(random);
    GroupVersionKind::new(group, version, kind)
}

/// The kind that the body names, or any other.
fn gvk_of(object: &Value, random: &mut Filler) -> GroupVersionKind {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let named = GroupVersionKind::new(group, version, text("kind"));
    if type_of(&named).is_some() { named } else { random_gvk(random) }
}

fn body(input: &[u8], content_type: ContentType, mut random: Filler) {
    let Ok(Decoded { object, .. }) = decode(input, content_type) else { return };
    let gvk = gvk_of(&object, &mut random);
    settled(&gvk, object);
}

fn message(input: &[u8], mut random: Filler) {
    let expected = random_gvk(&mut random);
    let Ok(object) = protobuf::decode(input, &expected) else { return };
    let gvk = gvk_of(&object, &mut random);
    settled(&gvk, object);
}

/// Canonical form is final, and protobuf can write and read it.
fn settled(gvk: &GroupVersionKind, mut object: Value) {
    if conform(gvk, &mut object).is_err() {
        return;
    }
    let mut again = object.clone();
    assert_eq!(conform(gvk, &mut again), Ok(Vec::new()), "canonical form has nothing unknown");
    assert_eq!(again, object, "canonical form is final");
    if let Some(bytes) = protobuf::encode(&object) {
        assert!(protobuf::decode(&bytes, gvk).is_ok(), "what was written can be read");
    }
}

fn strategic_patch(input: &[u8], mut random: Filler) {
    let Ok(decoded) = decode(input, ContentType::Json) else { return };
    let mut current = object(&mut random);
    let gvk = gvk_of(&current, &mut random);
    if let Some(root) = type_of(&gvk) {
        let _ = strategic::merge(&mut current, decoded.object, &Schema, root);
    }
}

/// Who owns what, as clients send it back: sets that were read are written so that they read the same.
fn managed_fields(text: &str) {
    if let Ok(set) = FieldSet::from_json(text) {
        assert_eq!(FieldSet::from_json(&set.to_json()).as_ref(), Ok(&set), "{text}");
    }
    if let Ok(list) = serde_json::from_str(text) {
        let _ = Managers::decode(Some(&list)).map(Managers::encode);
    }
}

fn selectors(text: &str) {
    if let Ok(selector) = LabelSelector::parse(text) {
        let _ = selector.matches(&|key| (key.len() % 2 == 0).then_some("b"));
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        let _ = selector.matches(|key| (key.len() % 2 == 0).then_some("b"));
    }
}

fn quantities(text: &str) {
    if let Ok(form) = quantity::canonical(text) {
        assert_eq!(quantity::canonical(&form).as_deref(), Ok(&*form), "{text:?}");
    }
    if let Ok(amount) = Quantity::parse(text) {
        let _ = (amount.value(), amount.milli_value(), amount.as_f64());
    }
    if let Ok(form) = time::canonical(text) {
        assert_eq!(time::canonical(&form).as_deref(), Ok(&*form), "{text:?}");
    }
    if let Ok(form) = time::canonical_micro(text) {
        assert_eq!(time::canonical_micro(&form).as_deref(), Ok(&*form), "{text:?}");
    }
}

/// Lists that go on where a token says, in a store of its own.
fn continue_tokens() -> impl Fn(&str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let _guard = runtime.enter();
    let storage = runtime.block_on(storage::Storage::open(storage::Config::new(dir.path()))).unwrap();
    let services = ServiceOptions::default();
    let registry = Registry::new(registry::Options { storage, resources: apis::all(), services }).unwrap();
    let maps = registry.rows().newest("", "configmaps").unwrap().resource;
    let registry: Arc<Registry> = registry;
    move |text| {
        let _kept = (&runtime, &dir);
        let query = ListQuery { continue_token: text.to_owned(), limit: 5, ..ListQuery::default() };
        let _ = registry.list(maps, Some("default"), &query);
    }
}
