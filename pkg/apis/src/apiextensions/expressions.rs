//! CEL of schemas: rules compile, with `self` of the type that the schema gives it, before they are stored.

use apimachinery::field::{Error, ErrorList, Path};
use cel::kubernetes::schema;
use cel::{Environment, Type};
use serde_json::Value;

use super::expression_types::declare;
use crate::tree::Tree;

/// The rules of `x-kubernetes-validations`; `is_resource`: the schema is of a whole object, embedded or not.
pub fn rules(errors: &mut ErrorList, at: &Path, owner: &Value, is_resource: bool) {
    let rules = owner.list("x-kubernetes-validations");
    if rules.is_empty() {
        return;
    }
    let mut environment = schema();
    let of = declare(&mut environment, "selfType", owner, is_resource).unwrap_or(Type::Dyn);
    environment.set("self", of.clone());
    environment.set("oldSelf", of.clone());
    let mut optional = environment.clone();
    optional.set("oldSelf", Type::optional(of));
    for (i, rule) in rules.iter().enumerate() {
        let environment = if rule.flag("optionalOldSelf") { &optional } else { &environment };
        compile(errors, &at.index(i), environment, rule);
    }
}

/// A rule and its message.
fn compile(errors: &mut ErrorList, at: &Path, environment: &Environment, rule: &Value) {
    let (expression, message) = (rule.text("rule"), rule.text("messageExpression"));
    if expression.trim().is_empty() {
        return;
    }
    let mut refuse = |field: &str, why: &str| errors.push(Error::invalid(&at.child(field), rule.clone(), why));
    match environment.compile_to(expression, &[]) {
        Ok(Type::Bool | Type::Dyn) => {}
        Ok(_) => return refuse("rule", "cel expression must evaluate to a bool"),
        Err(why) => return refuse("rule", &why),
    }
    if message.trim().is_empty() {
        return;
    }
    match environment.compile_to(message, &[]) {
        Ok(Type::String | Type::Dyn | Type::List(_)) => {}
        Ok(_) => refuse("messageExpression", "messageExpression must evaluate to a string"),
        Err(why) => refuse("messageExpression", &format!("messageExpression {why}")),
    }
}
