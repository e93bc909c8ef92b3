//! The types of expressions, as cel-go's checker finds them, with its errors.

mod call;
mod literals;
mod notes;
mod regex;
mod unify;

use crate::ast::{Comprehension, Element, Entry, Expr, Kind, Literal};
use crate::environment::{Environment, Field};
use crate::issue::Issues;
use crate::types::Type;
use unify::{Variables, is_as_general};

pub use notes::Notes;

/// Work for each byte of an expression; real ones need a hundredth of it.
const STEPS_PER_BYTE: usize = 2_000;
const STEPS_MIN: usize = 100_000;

/// An expression whose types are right.
pub struct Checked {
    pub of: Type,
    pub notes: Notes,
}

/// The types of an expression of `count` parts, or what is wrong with it.
pub fn check(expr: &Expr, count: usize, text: &str, environment: &Environment) -> Result<Checked, Issues> {
    let steps = STEPS_MIN + text.len() * STEPS_PER_BYTE;
    let mut checker = Checker {
        environment,
        issues: Issues::new(text),
        notes: Notes::new(count, steps),
        scopes: Vec::new(),
        mixed: false,
    };
    let found = checker.check(expr);
    let of = checker.types().resolve(&found, true);
    if checker.types().is_exhausted() {
        checker.issues.whole("expression is too complex to be checked");
    }
    if checker.issues.is_empty() {
        literals::check(expr, &mut checker.issues);
    }
    if checker.issues.is_empty() { Ok(Checked { of, notes: checker.notes }) } else { Err(checker.issues) }
}

struct Checker<'a> {
    environment: &'a Environment,
    issues: Issues,
    notes: Notes,
    /// Variables of loops, innermost last.
    scopes: Vec<(&'a str, Type)>,
    /// Inside of the arguments of `format`, where lists and maps are of mixed types.
    mixed: bool,
}

impl<'a> Checker<'a> {
    fn types(&mut self) -> &mut Variables {
        self.notes.types()
    }

    fn check(&mut self, expr: &'a Expr) -> Type {
        if self.types().is_exhausted() {
            return Type::Dyn;
        }
        let found = match &expr.kind {
            Kind::Literal(literal) => literal_type(literal),
            Kind::Ident(name) => self.identifier(expr.at, name),
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { target, function, args } => self.call(expr, target.as_deref(), function, args),
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Object { name, fields } => self.object(expr.at, name, fields),
            Kind::Comprehension(comprehension) => self.comprehension(comprehension),
            Kind::Error => Type::Error,
        };
        let found = if found.is_too_large() { Type::Dyn } else { found };
        self.notes.set_type(expr, &found);
        found
    }

    fn undeclared(&mut self, at: usize, name: &str) -> Type {
        self.issues.report(at, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    fn mismatch(&mut self, at: usize, wanted: &Type, found: &Type) {
        self.issues.report(at, format!("expected type '{wanted}' but found '{found}'"));
    }

    fn lookup(&self, name: &str) -> Option<Type> {
        let name = name.strip_prefix('.').unwrap_or(name);
        let local = self.scopes.iter().rev().find(|(known, _)| *known == name).map(|(_, of)| of.clone());
        local.or_else(|| self.environment.identifier(name))
    }

    fn identifier(&mut self, at: usize, name: &str) -> Type {
        self.lookup(name).unwrap_or_else(|| self.undeclared(at, name))
    }

    fn select(&mut self, expr: &'a Expr, operand: &'a Expr, field: &str, test: bool) -> Type {
        let qualified = expr.qualified_name().and_then(|name| self.lookup(&name).map(|found| (name, found)));
        if let Some((name, found)) = qualified {
            self.notes.set_name(expr, name);
            return found;
        }
        let found = self.field(expr.at, operand, field, false);
        if test { Type::Bool } else { self.types().resolve(&found, false) }
    }

    /// The type of a field; optional if what it is selected from is.
    fn field(&mut self, at: usize, operand: &'a Expr, field: &str, optional: bool) -> Type {
        let operand = self.check(operand);
        let operand = self.types().resolve(&operand, false);
        let (target, inside) = match &operand {
            Type::Optional(value) => (value.as_ref(), true),
            other => (other, false),
        };
        let found = match target {
            Type::Map(entry) => entry.1.clone(),
            Type::Object(name) => self.field_of(at, name, field),
            Type::Param(_) => {
                self.types().assign(&Type::Dyn, target);
                Type::Dyn
            }
            Type::Dyn | Type::Any | Type::Error => Type::Dyn,
            other => {
                self.issues.report(at, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        if optional || inside { Type::optional(found) } else { found }
    }

    fn field_of(&mut self, at: usize, object: &str, field: &str) -> Type {
        match self.environment.field(object, field) {
            Field::Of(found) => return found,
            Field::Unknown => self.issues.report(at, format!("undefined field '{field}'")),
            Field::NoFields => self.issues.report(at, format!("unexpected failed resolution of '{object}'")),
        }
        Type::Error
    }

    /// The type of an item, or of what is in it if it is optional.
    fn item(&mut self, value: &'a Expr, optional: bool) -> Type {
        let found = self.check(value);
        if !optional {
            return found;
        }
        match found {
            Type::Optional(value) => value.as_ref().clone(),
            Type::Dyn | Type::Any | Type::Error | Type::Param(_) => found,
            other => {
                self.mismatch(value.at, &Type::optional(other.clone()), &other);
                other
            }
        }
    }

    /// The common type of what came before and an item.
    fn join(&mut self, at: usize, before: Option<Type>, item: Type) -> Type {
        match before {
            None => item,
            Some(before) if self.types().assign(&before, &item) => {
                if is_as_general(&before, &item) {
                    before
                } else {
                    item
                }
            }
            Some(_) if self.mixed => Type::Dyn,
            Some(before) => {
                self.mismatch(at, &before, &item);
                Type::Error
            }
        }
    }

    fn list(&mut self, elements: &'a [Element]) -> Type {
        let mut joined = None;
        for Element { optional, value } in elements {
            let item = self.item(value, *optional);
            joined = Some(self.join(value.at, joined, item));
        }
        Type::list(joined.unwrap_or_else(|| self.types().new_one()))
    }

    fn map(&mut self, entries: &'a [Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for Entry { optional, key, value } in entries {
            let found = self.check(key);
            keys = Some(self.join(key.at, keys, found));
            let found = self.item(value, *optional);
            values = Some(self.join(value.at, values, found));
        }
        let keys = keys.unwrap_or_else(|| self.types().new_one());
        let values = values.unwrap_or_else(|| self.types().new_one());
        Type::map(keys, values)
    }

    fn object(&mut self, at: usize, name: &str, fields: &'a [crate::ast::Field]) -> Type {
        let name = name.strip_prefix('.').unwrap_or(name);
        let result = match self.environment.identifier(name) {
            None => return self.undeclared(at, name),
            Some(Type::Type(Some(of))) => match of.as_ref() {
                // A type of protocol buffers: its fields are not known here.
                Type::Dyn | Type::Timestamp | Type::Duration => Type::Dyn,
                Type::Object(_) => of.as_ref().clone(),
                other => {
                    self.issues.report(at, format!("'{}' is not a message type", other.declared()));
                    Type::Error
                }
            },
            Some(other) => {
                self.issues.report(at, format!("'{}' is not a type", other.declared()));
                Type::Error
            }
        };
        for field in fields {
            let value = self.item(&field.value, field.optional);
            if result == Type::Dyn {
                continue;
            }
            let wanted = self.field_of(field.at, name, &field.name);
            if !self.types().assign(&wanted, &value) {
                let text =
                    format!("expected type of field '{}' is '{wanted}' but provided type is '{value}'", field.name);
                self.issues.report(field.at, text);
            }
        }
        result
    }

    fn comprehension(&mut self, comprehension: &'a Comprehension) -> Type {
        let range = self.check(&comprehension.range);
        let accumulated = self.check(&comprehension.init);
        let range = self.types().resolve(&range, false);
        let items = self.items(comprehension.range.at, &range, comprehension.variables.len() == 2);
        let outside = self.scopes.len();
        self.scopes.push((&comprehension.accumulator, accumulated.clone()));
        self.scopes.extend(comprehension.variables.iter().map(String::as_str).zip(items));
        self.expect(&comprehension.condition, &Type::Bool);
        self.expect(&comprehension.step, &accumulated);
        self.scopes.truncate(outside + 1);
        let result = self.check(&comprehension.result);
        self.scopes.truncate(outside);
        self.types().resolve(&result, false)
    }

    /// The types of a loop's variables.
    fn items(&mut self, at: usize, range: &Type, two: bool) -> [Type; 2] {
        match range {
            Type::List(item) if two => [Type::Int, item.as_ref().clone()],
            Type::List(item) => [item.as_ref().clone(), Type::Dyn],
            Type::Map(entry) => [entry.0.clone(), entry.1.clone()],
            Type::Dyn | Type::Any | Type::Error | Type::Param(_) => {
                self.types().assign(&Type::Dyn, range);
                [Type::Dyn, Type::Dyn]
            }
            other => {
                let must = "cannot be range of a comprehension (must be list, map, or dynamic)";
                self.issues.report(at, format!("expression of type '{other}' {must}"));
                [Type::Error, Type::Error]
            }
        }
    }

    fn expect(&mut self, expr: &'a Expr, wanted: &Type) {
        let found = self.check(expr);
        if !self.types().assign(wanted, &found) {
            self.mismatch(expr.at, wanted, &found);
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
