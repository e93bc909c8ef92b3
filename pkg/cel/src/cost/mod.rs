//! What evaluating an expression costs, estimated from the checked tree and the largest data there can be: the figures of
//! cel-go and of Kubernetes, whose limits rest on them. One walk over the tree; each part tells what it costs, and how large
//! its value can be.

mod call;
mod library;
mod lists;
mod range;
mod shape;

use crate::ast::{Comprehension, Element, Entry, Expr, Kind, Literal};
use crate::check::Notes;
use crate::environment::Environment;
use crate::macros;
use crate::types::Type;

pub use range::Range;
pub use shape::{Shape, Shapes};

use shape::{Place, Step};

/// What it costs to make one; what is in it comes on top.
const LIST: Range = Range::fixed(10);
const MAP: Range = Range::fixed(30);
const OBJECT: Range = Range::fixed(40);
/// To look at a character or a byte.
const PER_BYTE: f64 = 0.1;

pub fn estimate(expr: &Expr, notes: &mut Notes, environment: &Environment) -> Range {
    Estimator { notes, shapes: environment.shapes(), locals: Vec::new() }.visit(expr).cost
}

/// What is known of the value of an expression.
#[derive(Clone, Copy, Debug)]
struct Known<'a> {
    cost: Range,
    place: Place<'a>,
    size: Option<Range>,
    entries: Option<Entries>,
}

/// Sizes of what is in a list or a map that an expression makes.
#[derive(Clone, Copy, Debug)]
struct Entries {
    in_list: bool,
    key: Range,
    value: Range,
}

impl Entries {
    fn union(self, other: Self) -> Self {
        Self { in_list: self.in_list, key: self.key.union(other.key), value: self.value.union(other.value) }
    }
}

impl Known<'_> {
    /// A value that the expression makes.
    fn made(cost: Range, size: Option<Range>) -> Self {
        Self { cost, place: Place::Nowhere, size, entries: None }
    }

    fn size(&self) -> Range {
        self.size.unwrap_or(Range::UNKNOWN)
    }
}

/// A variable of a loop, or another name of a value.
struct Local<'a> {
    name: &'a str,
    /// What naming it costs.
    cost: Range,
    place: Place<'a>,
    size: Option<Range>,
    entries: Option<Entries>,
}

struct Estimator<'a> {
    notes: &'a mut Notes,
    shapes: &'a Shapes,
    /// Innermost last.
    locals: Vec<Local<'a>>,
}

impl<'a> Estimator<'a> {
    fn visit(&mut self, expr: &'a Expr) -> Known<'a> {
        match &expr.kind {
            Kind::Literal(literal) => Known::made(Range::ZERO, Some(Range::fixed(literal_size(literal)))),
            Kind::Ident(name) => self.named(expr, name),
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { target, function, args } => self.call(expr, target.as_deref(), function, args),
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Object { fields, .. } => {
                let parts = fields.iter().map(|field| self.visit(&field.value).cost);
                Known::made(parts.fold(OBJECT, Range::plus), None)
            }
            Kind::Comprehension(inner) if is_bind(inner) => self.bind(inner),
            Kind::Comprehension(inner) => self.comprehension(inner),
            Kind::Error => Known::made(Range::ZERO, None),
        }
    }

    /// The size of a value at a place, or of a type whose values are all of one size.
    fn size_at(&mut self, expr: &Expr, place: Place<'_>) -> Option<Range> {
        let most = place.most().map(|most| Range::new(0, most));
        most.or_else(|| is_scalar(&self.notes.type_of(expr)).then_some(Range::ONE))
    }

    fn at(&mut self, expr: &Expr, cost: Range, place: Place<'a>) -> Known<'a> {
        Known { cost, place, size: self.size_at(expr, place), entries: None }
    }

    fn named(&mut self, expr: &Expr, name: &str) -> Known<'a> {
        let name = name.strip_prefix('.').unwrap_or(name);
        let Some(local) = self.locals.iter().rposition(|local| local.name == name) else {
            let place = self.shapes.variable(name);
            return self.at(expr, Range::ONE, place);
        };
        let Local { cost, place, size, entries, .. } = self.locals[local];
        let size = self.size_at(expr, place).or(size);
        Known { cost, place, size, entries }
    }

    fn select(&mut self, expr: &Expr, operand: &'a Expr, field: &str, test: bool) -> Known<'a> {
        if let Some(name) = self.notes.name(expr).map(str::to_owned) {
            return self.named(expr, &name);
        }
        let known = self.visit(operand);
        if test {
            // Kubernetes has the test itself for nothing.
            return self.at(expr, known.cost, Place::Nowhere);
        }
        let step = match self.notes.type_of(operand) {
            Type::Map(_) | Type::Object(_) => Range::ONE,
            _ => Range::ZERO,
        };
        let place = self.shapes.step(known.place, Step::Field(field));
        self.at(expr, known.cost.plus(step), place)
    }

    fn list(&mut self, elements: &'a [Element]) -> Known<'a> {
        let (mut cost, mut value) = (LIST, Range::EMPTY);
        for element in elements {
            let known = self.visit(&element.value);
            cost = cost.plus(known.cost);
            value = value.union(known.size());
        }
        if elements.is_empty() {
            value = Range::ZERO;
        }
        let entries = Entries { in_list: true, key: Range::ONE, value };
        Known { entries: Some(entries), ..Known::made(cost, Some(Range::fixed(elements.len() as u64))) }
    }

    fn map(&mut self, entries: &'a [Entry]) -> Known<'a> {
        let (mut cost, mut key, mut value) = (MAP, Range::EMPTY, Range::EMPTY);
        for entry in entries {
            let (known_key, known_value) = (self.visit(&entry.key), self.visit(&entry.value));
            cost = cost.plus(known_key.cost).plus(known_value.cost);
            (key, value) = (key.union(known_key.size()), value.union(known_value.size()));
        }
        if entries.is_empty() {
            (key, value) = (Range::ZERO, Range::ZERO);
        }
        let of_all = Entries { in_list: false, key, value };
        Known { entries: Some(of_all), ..Known::made(cost, Some(Range::fixed(entries.len() as u64))) }
    }

    /// A value under another name. That it is a loop over an empty list shows in the cost.
    fn bind(&mut self, bind: &'a Comprehension) -> Known<'a> {
        let Known { cost, place, size, entries } = self.visit(&bind.init);
        // What stands twice in upstream's tree has a name in ours: it costs what it is made of wherever it is named.
        let is_repeated = bind.accumulator == macros::REPEATED;
        let (own, named) = if is_repeated { (Range::ZERO, cost) } else { (LIST.plus(cost), Range::ONE) };
        self.locals.push(Local { name: &bind.accumulator, cost: named, place, size, entries });
        let result = self.visit(&bind.result);
        self.locals.pop();
        Known { entries: result.entries, ..Known::made(own.plus(result.cost), result.size) }
    }

    fn comprehension(&mut self, inner: &'a Comprehension) -> Known<'a> {
        let range = self.visit(&inner.range);
        let init = self.visit(&inner.init);
        let outside = self.locals.len();
        let Known { place, size, entries, .. } = init;
        self.locals.push(Local { name: &inner.accumulator, cost: Range::ONE, place, size, entries });
        self.push_variables(inner, &range);
        let condition = self.visit(&inner.condition);
        let step = self.visit(&inner.step);
        self.locals.truncate(outside + 1);
        let result = self.visit(&inner.result);
        self.locals.truncate(outside);
        let count = range.size();
        let loops = count.times(step.cost.plus(condition.cost));
        let cost = range.cost.plus(init.cost).plus(result.cost).plus(loops);
        match inner.init.kind {
            Kind::Literal(_) => Known::made(cost, init.size),
            Kind::List(_) | Kind::Map(_) => Known { entries: step.entries, ..Known::made(cost, Some(count)) },
            _ => Known::made(cost, None),
        }
    }

    /// The variables of a loop: key or position and value, or the one that the range is made of.
    fn push_variables(&mut self, inner: &'a Comprehension, range: &Known<'a>) {
        let in_list = match range.entries {
            Some(entries) => entries.in_list,
            None => matches!(self.notes.type_of(&inner.range), Type::List(_)),
        };
        let key = (if in_list { Step::Position } else { Step::Key }, range.entries.map(|entries| entries.key));
        let value = (Step::Item, range.entries.map(|entries| entries.value));
        let steps = match (inner.variables.len(), in_list) {
            (1, true) => [value, value],
            _ => [key, value],
        };
        for (name, (step, size)) in inner.variables.iter().zip(steps) {
            let place = self.shapes.step(range.place, step);
            self.locals.push(Local { name, cost: Range::ONE, place, size, entries: None });
        }
    }
}

fn is_bind(inner: &Comprehension) -> bool {
    matches!(&inner.range.kind, Kind::List(elements) if elements.is_empty())
        && matches!(inner.condition.kind, Kind::Literal(Literal::Bool(false)))
        && inner.accumulator != macros::ACCUMULATOR
}

fn literal_size(literal: &Literal) -> u64 {
    let size = match literal {
        Literal::String(text) => text.chars().count(),
        Literal::Bytes(bytes) => bytes.len(),
        _ => 1,
    };
    size as u64
}

/// Values of the type are all of the same size.
fn is_scalar(of: &Type) -> bool {
    match of {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(value) => is_scalar(value),
        _ => false,
    }
}
