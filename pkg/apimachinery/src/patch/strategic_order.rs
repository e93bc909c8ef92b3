//! The order of merged lists: as the patch says for its items, as the server had it for the others.

use serde_json::Value;

use super::strategic::failed;
use crate::managed::go_text;
use crate::status::ApiResult;

/// What tells items apart: the value under the merge key, or the item itself.
fn identity<'a>(item: &'a Value, merge_key: &str) -> Option<&'a Value> {
    if merge_key.is_empty() { Some(item) } else { item.get(merge_key) }
}

fn position(list: &[Value], item: &Value, merge_key: &str) -> Option<usize> {
    let wanted = identity(item, merge_key)?;
    list.iter().position(|other| identity(other, merge_key) == Some(wanted))
}

/// Items that stand in `order`, and the others.
pub(super) fn partition(items: Vec<Value>, order: &[Value], merge_key: &str) -> (Vec<Value>, Vec<Value>) {
    items.into_iter().partition(|item| position(order, item, merge_key).is_some())
}

/// Items of the patch in the patch's order, the server's own in the server's, and both merged by the server's order.
pub(super) fn normalize_order(
    mut patched: Vec<Value>,
    mut server_only: Vec<Value>,
    order: &[Value],
    server_order: &[Value],
    merge_key: &str,
) -> Vec<Value> {
    patched.sort_by_cached_key(|item| position(order, item, merge_key).unwrap_or(usize::MAX));
    server_only.sort_by_cached_key(|item| position(server_order, item, merge_key).unwrap_or(usize::MAX));
    let mut merged = Vec::with_capacity(patched.len() + server_only.len());
    let (mut ours, mut theirs) = (server_only.into_iter().peekable(), patched.into_iter().peekable());
    while let (Some(left), Some(right)) = (ours.peek(), theirs.peek()) {
        let left = position(server_order, left, merge_key);
        let right = position(server_order, right, merge_key);
        let server_first = matches!((left, right), (Some(left), Some(right)) if left < right);
        merged.extend(if server_first { ours.next() } else { theirs.next() });
    }
    merged.extend(ours);
    merged.extend(theirs);
    merged
}

/// Refuses a patch whose list and `$setElementOrder` contradict each other.
pub(super) fn check_order(list: &[Value], order: &[Value], merge_key: &str) -> ApiResult<()> {
    if list.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut next = 0;
    for item in list.iter().filter(|item| item.get("$patch").is_none()) {
        if !merge_key.is_empty() && item.get(merge_key).is_none() {
            return Err(failed(format!("map: {} does not contain declared merge key: {merge_key}", go_text(item))));
        }
        match position(&order[next..], item, merge_key) {
            Some(found) => next += found + 1,
            None => {
                let (order, list) = (go_text(&Value::Array(order.to_vec())), go_text(&Value::Array(list.to_vec())));
                return Err(failed(format!(
                    "The order in patch list:\n{list}\n doesn't match $setElementOrder list:\n{order}\n"
                )));
            }
        }
    }
    Ok(())
}
