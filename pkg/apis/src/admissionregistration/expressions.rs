//! CEL of policies and webhooks: expressions compile, to what their field wants, before they are stored.

use apimachinery::field::{Error, ErrorList, Path};
use cel::kubernetes::Admission;
use cel::{Environment, Type};
use serde_json::Value;

use crate::tree::Tree;

/// Tells why an expression does not compile to one of `wanted`; `shown` is the expression as it stands in the object.
/// Gives the type that it has.
fn compile(
    errors: &mut ErrorList,
    at: &Path,
    environment: &Environment,
    (expression, shown): (&str, &str),
    wanted: &[Type],
) -> Option<Type> {
    match environment.compile_to(expression, wanted) {
        Ok(found) => Some(found),
        Err(why) => {
            errors.push(Error::invalid(at, shown, why));
            None
        }
    }
}

/// A match condition of a webhook, or of a policy whose parameters are there (`params`).
pub fn condition(errors: &mut ErrorList, at: &Path, expression: &str, params: bool) {
    let environment = Admission { params, authorizer: true, ..Admission::default() }.environment();
    let expression = expression.trim();
    compile(errors, at, &environment, (expression, expression), &[Type::Bool]);
}

/// What expressions of a policy can name, as far as its variables are read.
pub struct Policy {
    /// Of all but messages.
    environment: Environment,
    /// Of messages, which ask no authorizer.
    messages: Environment,
}

impl Policy {
    /// `mutating`: there are types of objects and patches.
    pub fn new(spec: &Value, mutating: bool) -> Self {
        let messages = Admission {
            params: spec.has("paramKind"),
            variables: !spec.list("variables").is_empty(),
            patches: mutating,
            authorizer: false,
        };
        let environment = Admission { authorizer: true, ..messages }.environment();
        Self { environment, messages: messages.environment() }
    }

    /// A variable, which the expressions after it can name.
    pub fn variable(&mut self, errors: &mut ErrorList, at: &Path, name: &str, expression: &str) {
        let found = compile(errors, at, &self.environment, (expression, expression), &[]).unwrap_or(Type::Dyn);
        self.environment.add_variable(name, &found);
        self.messages.add_variable(name, &found);
    }

    pub fn validation(&self, errors: &mut ErrorList, at: &Path, expression: &str) {
        compile(errors, at, &self.environment, (expression, expression), &[Type::Bool]);
    }

    pub fn message(&self, errors: &mut ErrorList, at: &Path, expression: &str) {
        compile(errors, at, &self.messages, (expression, expression), &[Type::String]);
    }

    pub fn annotation(&self, errors: &mut ErrorList, at: &Path, expression: &str) {
        let wanted = [Type::String, Type::Null];
        compile(errors, at, &self.environment, (expression.trim(), expression), &wanted);
    }

    /// `patch_type` is one that is known. A list of values whose type is not known may be one of patches.
    pub fn mutation(&self, errors: &mut ErrorList, at: &Path, patch_type: &str, expression: &str) {
        let expression = expression.trim();
        let wanted = match patch_type {
            "JSONPatch" if self.environment.compile(expression) == Ok(Type::list(Type::Dyn)) => return,
            "JSONPatch" => Type::list(Type::object("JSONPatch")),
            _ => Type::object("Object"),
        };
        compile(errors, at, &self.environment, (expression, expression), &[wanted]);
    }
}
