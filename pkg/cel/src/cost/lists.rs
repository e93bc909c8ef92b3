//! Costs of the extensions for lists, of version 3, and for sets.

use super::call::{Call, Estimate};
use super::{LIST, PER_BYTE, Range};
use crate::functions::Overload;
use crate::types::Type;

pub fn estimate(call: &Call<'_>, overload: &Overload) -> Option<Estimate> {
    let (target, args) = (call.target.as_ref(), &call.args[..]);
    let sets = |factor| match args {
        [first, second] => Some(Estimate::new(first.size().times(second.size()).scaled(factor).plus(Range::ONE))),
        _ => None,
    };
    let found = match (overload.function, overload.args.first()?) {
        ("sets.contains" | "sets.intersects", _) => return sets(1.0),
        ("sets.equivalent", _) => return sets(2.0),
        ("lists.range", _) => copy(Range::fixed(whole(args.first()?.int, u64::MAX)), 1.0),
        ("slice", _) => {
            let start = whole(args.first()?.int, 0);
            let end = whole(args.get(1)?.int, target?.size().max);
            // As upstream's: one that ends before it starts is huge.
            copy(Range::fixed(end.wrapping_sub(start)), 1.0)
        }
        ("reverse", Type::List(_)) => copy(target?.size(), 1.0),
        ("flatten", _) => {
            let depth = args.first().map_or(1, |depth| whole(depth.int, u64::MAX));
            copy(target?.size(), depth as f64)
        }
        ("distinct", _) => copy(squared(target?.size()), 2.0),
        ("sort", Type::List(item)) => copy(squared(target?.size()), comparison(item)),
        ("@sortByAssociatedKeys", _) => match overload.args.get(1) {
            Some(Type::List(key)) => copy(squared(args.first()?.size()), comparison(key)),
            _ => return None,
        },
        _ => return None,
    };
    Some(found)
}

/// A literal number that is not negative; `otherwise` if it is no literal.
fn whole(literal: Option<i64>, otherwise: u64) -> u64 {
    literal.map_or(otherwise, |value| u64::try_from(value).unwrap_or(0))
}

/// A new list of as many items.
fn copy(size: Range, factor: f64) -> Estimate {
    Estimate::sized(size.scaled(factor).plus(Range::ONE).plus(LIST), size)
}

fn squared(size: Range) -> Range {
    size.times(size)
}

/// What it costs to compare two items.
fn comparison(item: &Type) -> f64 {
    match item {
        Type::String | Type::Bytes => 2.0 + PER_BYTE,
        _ => 2.0,
    }
}
