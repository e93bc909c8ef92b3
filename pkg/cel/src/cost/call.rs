//! Calls: what CEL's own functions and operators cost. Those of libraries are asked first.

use super::shape::{Place, Step};
use super::{Entries, Estimator, Known, PER_BYTE, Range, Shapes, library, lists};
use crate::ast::{Expr, Kind, Literal, operator};
use crate::functions::Overload;
use crate::types::Type;

/// A character of a regular expression: four of them are taken for one of its parts.
const PER_PATTERN_CHARACTER: f64 = 0.25;

/// What one overload costs, without its operands, and how large its result is.
pub struct Estimate {
    pub cost: Range,
    pub size: Option<Range>,
}

impl Estimate {
    pub fn new(cost: Range) -> Self {
        Self { cost, size: None }
    }

    pub fn sized(cost: Range, size: Range) -> Self {
        Self { cost, size: Some(size) }
    }
}

/// An argument, or what stands before the dot.
pub struct Operand<'a> {
    pub(super) known: Known<'a>,
    pub of: Type,
    /// Its value if it is a literal whole number.
    pub int: Option<i64>,
}

impl Operand<'_> {
    pub fn size(&self) -> Range {
        self.known.size()
    }
}

/// The operands of a call.
pub struct Call<'a> {
    pub target: Option<Operand<'a>>,
    pub args: Vec<Operand<'a>>,
    pub shapes: &'a Shapes,
}

impl<'a> Estimator<'a> {
    pub(super) fn call(
        &mut self,
        expr: &'a Expr,
        target: Option<&'a Expr>,
        function: &str,
        args: &'a [Expr],
    ) -> Known<'a> {
        let args: Vec<Operand<'a>> = args.iter().map(|arg| self.operand(arg)).collect();
        if let ("dyn", None, [arg]) = (function, target, &args[..]) {
            return Known { place: Place::Nowhere, cost: arg.known.cost.plus(Range::ONE), ..arg.known };
        }
        let overloads = self.notes.overloads(expr);
        let is_member = overloads.iter().any(|overload| overload.member);
        let target = target.filter(|_| is_member).map(|target| self.operand(target));
        let call = Call { target, args, shapes: self.shapes };
        let entries = call.entries(function);
        let mut known = self.of_overloads(expr, &call, &overloads);
        if let Some(target) = &call.target {
            known.cost = known.cost.plus(target.known.cost);
        }
        Known { entries, ..known }
    }

    fn operand(&mut self, expr: &'a Expr) -> Operand<'a> {
        let int = match expr.kind {
            Kind::Literal(Literal::Int(value)) => Some(value),
            _ => None,
        };
        Operand { known: self.visit(expr), of: self.notes.type_of(expr), int }
    }

    /// From the cheapest of the overloads that the call can be to the dearest.
    fn of_overloads(&mut self, expr: &Expr, call: &Call<'a>, overloads: &[&'static Overload]) -> Known<'a> {
        if overloads.is_empty() {
            // A field of an optional value.
            return self.at(expr, call.operands().plus(Range::ONE), Place::Nowhere);
        }
        let (mut cost, mut size, mut place) = (Range::EMPTY, None, Place::Nowhere);
        for overload in overloads {
            let found = call.with_operands(overload);
            cost = cost.union(found.cost);
            size = match (size, found.size) {
                (Some(before), Some(found)) => Some(Range::union(before, found)),
                (before, found) => before.or(found),
            };
            if let (operator::INDEX, Some(Type::List(_) | Type::Map(_)), [data, _]) =
                (overload.function, overload.args.first(), &call.args[..])
            {
                size = data.known.entries.map(|entries| entries.value);
                place = self.shapes.step(data.known.place, Step::Item);
            }
            size = size.or_else(|| self.size_at(expr, place));
        }
        Known { cost, place, size, entries: None }
    }
}

impl Call<'_> {
    fn operands(&self) -> Range {
        self.args.iter().fold(Range::ZERO, |sum, arg| sum.plus(arg.known.cost))
    }

    /// What is in the list or map that the call gives.
    fn entries(&self, function: &str) -> Option<Entries> {
        let (first, second) = match (function, &self.args[..]) {
            (operator::ADD, [first, second]) | (operator::CONDITIONAL, [_, first, second]) => (first, second),
            _ => return None,
        };
        Some(first.known.entries?.union(second.known.entries?))
    }

    fn with_operands(&self, overload: &Overload) -> Estimate {
        match (overload.function, &self.args[..]) {
            (operator::AND | operator::OR, [left, right]) => {
                let (left, right) = (left.known.cost, right.known.cost);
                Estimate::new(Range::new(left.min, left.plus(right).max))
            }
            (operator::CONDITIONAL, [condition, first, second]) => {
                let either = first.known.cost.union(second.known.cost);
                Estimate::sized(condition.known.cost.plus(either), first.size().union(second.size()))
            }
            _ => {
                let library = lists::estimate(self, overload).or_else(|| library::estimate(self, overload));
                let mut found = library.unwrap_or_else(|| self.standard(overload));
                found.cost = found.cost.plus(self.operands());
                found
            }
        }
    }

    fn standard(&self, overload: &Overload) -> Estimate {
        let scan = |size: Range| size.scaled(PER_BYTE);
        match (overload.function, &overload.args[..], &self.target, &self.args[..]) {
            ("format", _, Some(target), _) => Estimate::new(scan(target.size())),
            // Upstream's sizes wrap around here, and so do these.
            ("bytes", [Type::String], _, [arg]) => {
                let size = arg.size();
                Estimate::sized(scan(size), Range::new(size.min, size.max.wrapping_mul(4)))
            }
            ("string", [Type::Bytes], _, [arg]) => {
                let size = arg.size();
                Estimate::sized(scan(size), Range::new(size.min / 4, size.max))
            }
            ("strings.quote", _, _, [arg]) => {
                let size = arg.size();
                let quoted = Range::new(size.min.wrapping_add(2), size.max.wrapping_mul(2).wrapping_add(2));
                Estimate::sized(scan(size), quoted)
            }
            ("startsWith" | "endsWith", _, _, [arg]) => Estimate::new(scan(arg.size())),
            (operator::IN, [_, Type::List(_)], _, [_, list]) => Estimate::new(list.size().scaled(1.0)),
            ("matches", _, Some(target), [pattern]) => Estimate::new(match_cost(target.size(), pattern.size())),
            ("contains", _, Some(target), [part]) => Estimate::new(scan(target.size()).times(scan(part.size()))),
            (operator::ADD, [Type::List(_), _], _, [left, right]) => {
                Estimate::sized(Range::ONE, left.size().plus(right.size()))
            }
            (operator::ADD, [Type::String | Type::Bytes, _], _, [left, right]) => {
                let size = left.size().plus(right.size());
                Estimate::sized(scan(size), size)
            }
            ("_<_" | "_<=_" | "_>_" | "_>=_", [Type::String | Type::Bytes, _], _, [left, right])
            | (operator::EQUAL | "_!=_", _, _, [left, right]) => {
                // The shorter one ends the comparison.
                let most = left.size().max.min(right.size().max);
                Estimate::new(scan(Range::new(most.min(1), most)))
            }
            _ => Estimate::new(Range::ONE),
        }
    }
}

/// The cost of looking for a pattern: even in an empty text it is not for nothing.
pub fn match_cost(text: Range, pattern: Range) -> Range {
    text.plus(Range::ONE).scaled(PER_BYTE).times(pattern.scaled(PER_PATTERN_CHARACTER))
}
