//! CEL of schemas: rules compile before they are stored. The types that the schema gives to `self` are not looked at, so
//! what depends on them shows at evaluation only.

use apimachinery::field::{Error, ErrorList, Path};
use cel::Type;
use cel::kubernetes::schema;
use serde_json::Value;

use crate::tree::Tree;

/// A rule of `x-kubernetes-validations` and its message.
pub fn rule(errors: &mut ErrorList, at: &Path, rule: &Value) {
    let (expression, message) = (rule.text("rule"), rule.text("messageExpression"));
    if expression.trim().is_empty() {
        return;
    }
    let mut refuse = |field: &str, why: &str| errors.push(Error::invalid(&at.child(field), rule.clone(), why));
    match schema().compile_to(expression, &[]) {
        Ok(Type::Bool | Type::Dyn) => {}
        Ok(_) => return refuse("rule", "cel expression must evaluate to a bool"),
        Err(why) => return refuse("rule", &why),
    }
    if message.trim().is_empty() {
        return;
    }
    match schema().compile_to(message, &[]) {
        Ok(Type::String | Type::Dyn | Type::List(_)) => {}
        Ok(_) => refuse("messageExpression", "messageExpression must evaluate to a string"),
        Err(why) => refuse("messageExpression", &format!("messageExpression {why}")),
    }
}
