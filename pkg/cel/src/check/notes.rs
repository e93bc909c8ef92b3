//! What the check finds out about each expression of a tree, for those who work with the tree afterwards.

use super::unify::Variables;
use crate::ast::Expr;
use crate::functions::Overload;
use crate::types::Type;

/// Of one expression.
#[derive(Clone, Debug)]
struct Note {
    of: Type,
    /// What a call can be.
    overloads: Vec<&'static Overload>,
    /// The name that a chain of fields is.
    name: Option<String>,
}

/// Of all expressions, by their numbers.
pub struct Notes {
    notes: Vec<Note>,
    types: Variables,
}

impl Notes {
    /// `count`: how many expressions there are; `steps`: see [`Variables::new`].
    pub fn new(count: usize, steps: usize) -> Self {
        let note = Note { of: Type::Dyn, overloads: Vec::new(), name: None };
        Self { notes: vec![note; count], types: Variables::new(steps) }
    }

    pub fn types(&mut self) -> &mut Variables {
        &mut self.types
    }

    pub fn set_type(&mut self, expr: &Expr, of: &Type) {
        self.notes[expr.number].of.clone_from(of);
    }

    pub fn set_overloads(&mut self, expr: &Expr, overloads: Vec<&'static Overload>) {
        self.notes[expr.number].overloads = overloads;
    }

    pub fn set_name(&mut self, expr: &Expr, name: String) {
        self.notes[expr.number].name = Some(name);
    }

    /// The type, with all that was found out until the end of the check.
    pub fn type_of(&mut self, expr: &Expr) -> Type {
        self.types.resolve(&self.notes[expr.number].of, true)
    }

    /// The overloads that a call can be; none if it is an operator that has none.
    pub fn overloads(&self, expr: &Expr) -> Vec<&'static Overload> {
        self.notes[expr.number].overloads.clone()
    }

    pub fn name(&self, expr: &Expr) -> Option<&str> {
        self.notes[expr.number].name.as_deref()
    }
}
