//! Which functions there are, and what they take and give. The tables are the truth; they are read once.

/// A text with a type that has an order where the parts meet.
macro_rules! with_type {
    ($of:literal, $before:literal, $after:literal) => {
        concat!($before, $of, $after)
    };
    ($of:literal, $before:literal, $between:literal, $after:literal) => {
        concat!($before, $of, $between, $of, $after)
    };
}

/// One overload for each type that has an order, as lists of them can be sorted; the type stands where the parts meet.
macro_rules! of_ordered {
    ($($part:literal),+) => {
        &[
            with_type!("int", $($part),+),
            with_type!("uint", $($part),+),
            with_type!("double", $($part),+),
            with_type!("bool", $($part),+),
            with_type!("duration", $($part),+),
            with_type!("timestamp", $($part),+),
            with_type!("string", $($part),+),
            with_type!("bytes", $($part),+),
        ]
    };
}

mod kubernetes;
mod standard;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::types::Type;

/// A function and the types that it takes: `(string, int) -> bool`, or `string.(int) -> bool` with what stands before the
/// dot. `A`, `B`, `C` are any types.
type Row = (&'static str, &'static [&'static str]);

/// One way to call a function.
#[derive(Debug)]
pub struct Overload {
    pub function: &'static str,
    /// The first of `args` stands before a dot.
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
    /// How many types it has as parameters.
    pub parameters: u32,
}

impl Overload {
    fn read(function: &'static str, text: &str) -> Option<Self> {
        let (takes, gives) = text.split_once(" -> ")?;
        let (target, args) = match takes.strip_prefix('(') {
            Some(args) => (None, args),
            None => takes.split_once(".(").map(|(target, args)| (Some(target), args))?,
        };
        let mut rest = args.strip_suffix(')')?;
        let mut types = Vec::new();
        if let Some(mut target) = target {
            types.push(Type::read(&mut target)?);
        }
        while !rest.is_empty() {
            types.push(Type::read(&mut rest)?);
            rest = rest.strip_prefix(", ").unwrap_or(rest);
        }
        let result = Type::read(&mut { gives })?;
        let parameters = types.iter().chain([&result]).map(Type::parameters).max().unwrap_or(0);
        Some(Self { function, member: target.is_some(), args: types, result, parameters })
    }
}

pub type Functions = HashMap<&'static str, Vec<Overload>>;

fn read(tables: &[&'static [Row]]) -> Functions {
    let mut functions = Functions::new();
    for (name, overloads) in tables.iter().flat_map(|table| table.iter()) {
        let list = functions.entry(name).or_default();
        list.extend(
            overloads
                .iter()
                .map(|text| Overload::read(name, text).unwrap_or_else(|| panic!("{name} {text}: no function"))),
        );
    }
    functions
}

/// What every expression of Kubernetes can call.
pub static COMMON: LazyLock<Functions> =
    LazyLock::new(|| read(&[standard::TABLE, standard::EXTENSIONS, kubernetes::TABLE]));

/// What expressions that make JSON patches can call besides.
pub static PATCHES: LazyLock<Functions> = LazyLock::new(|| read(&[kubernetes::PATCHES]));

/// What selectors of devices can call besides.
pub static DEVICES: LazyLock<Functions> = LazyLock::new(|| read(&[kubernetes::DEVICES]));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tables_are_read() {
        let count = |functions: &Functions| functions.values().map(Vec::len).sum::<usize>();
        assert!(count(&COMMON) > 300, "{}", count(&COMMON));
        assert_eq!((count(&PATCHES), count(&DEVICES)), (1, 1));
    }

    #[test]
    fn parameters_are_counted() {
        let of = |text| Overload::read("f", text).map(|o| (o.member, o.args.len(), o.parameters));
        assert_eq!(of("(map(A, B), A) -> B"), Some((false, 2, 2)));
        assert_eq!(of("Authorizer.(string) -> PathCheck"), Some((true, 2, 0)));
        assert_eq!(of("() -> NamedFormat"), Some((false, 0, 0)));
    }
}
