//! Costs of what Kubernetes adds, and of functions that it gives costs of its own. They decide what is refused: they stay as
//! they are.

use super::call::{Call, Estimate, Operand, match_cost};
use super::shape::{Place, Step};
use super::{LIST, OBJECT, PER_BYTE, Range};
use crate::ast::operator;
use crate::functions::Overload;
use crate::types::Type;

/// A question to the authorizer; an expression can ask two.
const CHECK: Range = Range::fixed(350_000);
/// Bytes of an address, of version 4 or 6.
const ADDRESS: Range = Range::new(4, 16);
/// The longest pattern of a named format, in what it costs for each byte of a text.
const NAMED_FORMAT: f64 = 128.0 * 0.25;
/// The longest name of a format.
const FORMAT_NAME_MAX: u64 = 64;
/// The most values that an attribute of a device has.
const ATTRIBUTE_VALUES_MAX: u64 = 48;

pub fn estimate(call: &Call<'_>, overload: &Overload) -> Option<Estimate> {
    let (target, args) = (call.target.as_ref(), &call.args[..]);
    let scan = |operand: &Operand<'_>| operand.size().scaled(PER_BYTE);
    let found = match overload.function {
        "check" => Estimate::new(CHECK),
        "fieldSelector" | "labelSelector" => Estimate::new(selector(args.first()?.size())),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => Estimate::new(each(call, target?)),
        "cidr" | "isCIDR" | "isIP" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            Estimate::new(scan(args.first()?))
        }
        // That of a network is there already.
        "ip" => Estimate::new(args.first().map_or(Range::ONE, scan)),
        "ip.isCanonical" => Estimate::new(args.first()?.size().scaled(2.0 * PER_BYTE)),
        "url" | "jsonpatch.escapeKey" => Estimate::sized(scan(args.first()?), args.first()?.size()),
        "lowerAscii" | "upperAscii" | "substring" | "trim" => Estimate::sized(scan(target?), target?.size()),
        "replace" => replace(target?.size(), args.first()?.size(), args.get(1)?.size()),
        "split" => {
            let text = target?.size();
            // Each character is a part of its own, if no limit says otherwise.
            let most = args.get(1).and_then(|limit| limit.int).map_or(text.max, i64::cast_unsigned);
            Estimate::sized(text.scaled(2.0 * PER_BYTE), Range::new(0, most))
        }
        "join" => {
            let size = joined(call, target?);
            Estimate::sized(size.scaled(PER_BYTE), size)
        }
        "find" | "findAll" => {
            let text = target?.size();
            Estimate::sized(match_cost(text, args.first()?.size()), Range::new(0, text.max))
        }
        "containsIP" | "containsCIDR" => Estimate::new(contains(overload, args.first()?)),
        "validate" => Estimate::new(scan(args.first()?).scaled(NAMED_FORMAT)),
        "includes" => Estimate::new(Range::new(0, ATTRIBUTE_VALUES_MAX)),
        operator::EQUAL => return equal(args),
        _ => return None,
    };
    Some(found)
}

/// Parsing a selector into requirements, of which the shortest has two characters.
fn selector(text: Range) -> Range {
    let requirements = text.scaled(0.5).scaled((LIST.max + OBJECT.max) as f64);
    LIST.plus(text.scaled(PER_BYTE)).plus(requirements)
}

/// Looking at each item of a list, or at each character of a text.
fn each(call: &Call<'_>, target: &Operand<'_>) -> Range {
    let Type::List(item) = &target.of else { return target.size().scaled(PER_BYTE) };
    let item = match item.as_ref() {
        Type::String | Type::Bytes => Range::ONE.plus(item_size(call, target).scaled(PER_BYTE)),
        _ => Range::ONE,
    };
    target.size().times(item)
}

/// The size of a list's items, as far as data tells.
fn item_size(call: &Call<'_>, list: &Operand<'_>) -> Range {
    match list.known.place {
        Place::Nowhere => Range::UNKNOWN,
        place => call.shapes.step(place, Step::Item).most().map_or(Range::UNKNOWN, |most| Range::new(0, most)),
    }
}

fn joined(call: &Call<'_>, list: &Operand<'_>) -> Range {
    let count = list.size();
    let items = match list.of {
        Type::List(_) => count.times(item_size(call, list)),
        _ => Range::ZERO,
    };
    let between = Range::new(count.min.saturating_sub(1), count.max.saturating_sub(1));
    call.args.first().map_or(items, |separator| items.plus(separator.size().times(between)))
}

/// `from` in a text is replaced by `to`.
fn replace(text: Range, from: Range, to: Range) -> Estimate {
    // Around each character, if what is replaced is empty; else as often as its like fit into the text.
    let often = |text: u64, from: u64| (text as f64 / from as f64).ceil() as u64;
    let (most, kept_most) = match () {
        () if from.min == 0 => (text.max.saturating_add(1), text.max),
        () if to.max <= from.min => (0, text.max),
        () => (often(text.max, from.min), 0),
    };
    let (least, kept_least) = match () {
        () if from.max == 0 => (text.min.saturating_add(1), text.min),
        () if from.max <= to.min => (0, text.min),
        () => (often(text.min, from.max), 0),
    };
    let size = Range::new(least, most).times(to).plus(Range::new(kept_least, kept_most));
    Estimate::sized(text.scaled(2.0 * PER_BYTE), size)
}

/// Whether a network has an address, or another network in it; those that are texts are parsed first.
fn contains(overload: &Overload, arg: &Operand<'_>) -> Range {
    let mut cost = ADDRESS.plus(ADDRESS).scaled(PER_BYTE);
    if overload.function == "containsCIDR" {
        cost = cost.plus(ADDRESS.scaled(PER_BYTE)).plus(Range::ONE);
    }
    match overload.args.get(1) {
        Some(Type::String) => cost.plus(arg.size().scaled(PER_BYTE)),
        _ => cost,
    }
}

/// Equality of Kubernetes' own types.
fn equal(args: &[Operand<'_>]) -> Option<Estimate> {
    let [left, right] = args else { return None };
    if left.of != right.of {
        return None;
    }
    let cost = match &left.of {
        Type::Opaque("net.IP" | "net.CIDR") => Range::ONE,
        Type::Object(name) => match name.as_ref() {
            "kubernetes.NamedFormat" => Range::new(1, FORMAT_NAME_MAX).scaled(PER_BYTE),
            "kubernetes.URL" => Range::new(1, right.known.size.map_or(1, |size| size.max)).scaled(PER_BYTE),
            "kubernetes.Quantity" | "kubernetes.Semver" => Range::ONE,
            name if name.starts_with("kubernetes.authorization.") => Range::ONE,
            _ => return None,
        },
        _ => return None,
    };
    Some(Estimate::new(cost))
}
