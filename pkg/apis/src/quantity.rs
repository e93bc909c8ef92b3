//! Quantities inside trees: read for comparison, rewritten in canonical form (`1000m` is kept as `1`).

use apimachinery::quantity::Quantity;
use serde_json::{Map, Value};

/// Reads a quantity given as text or number.
pub fn parse(value: &Value) -> Option<Quantity> {
    Quantity::from_value(value).ok()
}

/// Rewrites the quantities of a resource list such as `limits`.
pub fn canonical_quantities(owner: &mut Map<String, Value>, name: &str) {
    if let Some(Value::Object(list)) = owner.get_mut(name) {
        canonical_list(list);
    }
}

/// Rewrites the quantities of a resource list.
pub fn canonical_list(list: &mut Map<String, Value>) {
    list.values_mut().for_each(canonicalize);
}

/// Rewrites one quantity.
pub fn canonical_quantity(owner: &mut Map<String, Value>, name: &str) {
    if let Some(value) = owner.get_mut(name) {
        canonicalize(value);
    }
}

/// Texts that are no quantity stay: validation reports them.
fn canonicalize(value: &mut Value) {
    let text = match value {
        Value::String(text) if is_short_canonical(text) => return,
        Value::String(_) | Value::Number(_) => parse(value).map(|q| q.to_string()),
        _ => None,
    };
    if let Some(text) = text {
        *value = text.into();
    }
}

/// One to three digits and a unit are canonical already: the usual case, decided without arithmetic.
fn is_short_canonical(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit_fits = matches!(&text[digits..], "" | "m" | "Ki" | "Mi" | "Gi" | "Ti" | "k" | "M" | "G" | "T");
    (1..=3).contains(&digits) && !text.starts_with('0') && unit_fits
}
