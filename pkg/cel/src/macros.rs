//! Macros: calls that are other expressions. They are found by name, style and number of arguments.

use crate::ast::{Comprehension, Element, Expr, Kind, Literal, operator};

/// The accumulator of loops; no identifier of a user's can have this name.
pub const ACCUMULATOR: &str = "@result";
/// The name of what stands in the tree once although it is used twice.
pub const REPEATED: &str = "@target";
/// What loops that run over nothing call their variable.
const UNUSED: &str = "#unused";

/// A macro whose arguments are none that it can take.
#[derive(Debug)]
pub struct Misuse {
    pub at: usize,
    pub text: String,
}

impl Misuse {
    fn new(expr: &Expr, text: impl Into<String>) -> Self {
        Self { at: expr.at, text: text.into() }
    }
}

/// What a macro gets: where it stands, what is before the dot, and the arguments, as many as it has.
struct Use {
    at: usize,
    target: Expr,
    args: Vec<Expr>,
}

type Expanded = Result<Expr, Misuse>;

struct Macro {
    name: &'static str,
    args: usize,
    expand: fn(Use) -> Expanded,
}

const fn of(name: &'static str, args: usize, expand: fn(Use) -> Expanded) -> Macro {
    Macro { name, args, expand }
}

/// Those that follow a dot.
const RECEIVER: &[Macro] = &[
    of("all", 2, all),
    of("all", 3, all),
    of("exists", 2, exists),
    of("exists", 3, exists),
    of("exists_one", 2, exists_one),
    of("exists_one", 3, exists_one),
    of("existsOne", 2, exists_one),
    of("existsOne", 3, exists_one),
    of("map", 2, map),
    of("map", 3, map),
    of("filter", 2, filter),
    of("transformList", 3, transform_list),
    of("transformList", 4, transform_list),
    of("transformMap", 3, transform_map),
    of("transformMap", 4, transform_map),
    of("transformMapEntry", 3, transform_map_entry),
    of("transformMapEntry", 4, transform_map_entry),
    of("optMap", 2, |used| optional_map(used, "optMap")),
    of("optFlatMap", 2, |used| optional_map(used, "optFlatMap")),
    of("sortBy", 2, sort_by),
];

/// A call as it is, or expanded.
pub fn expand(at: usize, name: &str, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    match target {
        None if name == "has" && args.len() == 1 => has(at, args),
        None => Ok(Expr::call(at, name, args)),
        Some(target) if name == "bind" && args.len() == 3 && is_ident(&target, "cel") => bind(Use { at, target, args }),
        Some(target) => match RECEIVER.iter().find(|m| m.name == name && m.args == args.len()) {
            Some(found) => (found.expand)(Use { at, target, args }),
            None => Ok(call_of(at, target, name, args)),
        },
    }
}

fn is_ident(expr: &Expr, name: &str) -> bool {
    matches!(&expr.kind, Kind::Ident(known) if known == name)
}

fn call_of(at: usize, target: Expr, function: &str, args: Vec<Expr>) -> Expr {
    Expr::new(at, Kind::Call { target: Some(Box::new(target)), function: function.to_owned(), args })
}

fn has(at: usize, mut args: Vec<Expr>) -> Expanded {
    let arg = args.swap_remove(0);
    match arg.kind {
        Kind::Select { operand, field, test: false } => Ok(Expr::new(at, Kind::Select { operand, field, test: true })),
        _ => Err(Misuse::new(&arg, "invalid argument to has() macro")),
    }
}

/// The name of a variable.
fn variable(expr: &Expr, otherwise: &str) -> Result<String, Misuse> {
    match &expr.kind {
        Kind::Ident(name) if matches!(name.as_str(), ACCUMULATOR | "__result__") => {
            Err(Misuse::new(expr, "iteration variable overwrites accumulator variable"))
        }
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err(Misuse::new(expr, otherwise)),
    }
}

/// A loop under way: the macro, and what is left of its arguments behind the variables.
struct Loop {
    at: usize,
    range: Expr,
    variables: Vec<String>,
    args: std::vec::IntoIter<Expr>,
}

impl Loop {
    /// Takes the first `count` arguments as variables.
    fn new(used: Use, count: usize, otherwise: &str) -> Result<Self, Misuse> {
        let variables = used.args[..count].iter().map(|arg| variable(arg, otherwise)).collect::<Result<Vec<_>, _>>()?;
        if let [first, second] = &variables[..]
            && first == second
        {
            return Err(Misuse::new(&used.args[1], format!("duplicate variable name: {second}")));
        }
        let mut args = used.args.into_iter();
        args.by_ref().take(count).for_each(drop);
        Ok(Self { at: used.at, range: used.target, variables, args })
    }

    /// A predicate over an item, or over index or key and item.
    fn quantifier(used: Use) -> Result<Self, Misuse> {
        let count = used.args.len() - 1;
        Self::new(used, count, "argument must be a simple name")
    }

    fn arg(&mut self) -> Expr {
        self.args.next().unwrap_or_else(|| Expr::new(self.at, Kind::Error))
    }

    fn accumulator(&self) -> Expr {
        Expr::ident(self.at, ACCUMULATOR)
    }

    fn call(&self, function: &str, args: Vec<Expr>) -> Expr {
        Expr::call(self.at, function, args)
    }

    fn bool(&self, value: bool) -> Expr {
        Expr::literal(self.at, Literal::Bool(value))
    }

    fn int(&self, value: i64) -> Expr {
        Expr::literal(self.at, Literal::Int(value))
    }

    /// `[item]`.
    fn list(&self, item: Option<Expr>) -> Expr {
        let elements = item.into_iter().map(|value| Element { optional: false, value }).collect();
        Expr::new(self.at, Kind::List(elements))
    }

    /// `step`, or the accumulator as it is where `filter` is false.
    fn when(&self, filter: Option<Expr>, step: Expr) -> Expr {
        match filter {
            Some(filter) => self.call(operator::CONDITIONAL, vec![filter, step, self.accumulator()]),
            None => step,
        }
    }

    fn end(self, init: Expr, condition: Expr, step: Expr, result: Expr) -> Expr {
        let comprehension = Comprehension {
            variables: self.variables,
            range: self.range,
            accumulator: ACCUMULATOR.to_owned(),
            init,
            condition,
            step,
            result,
        };
        Expr::new(self.at, Kind::Comprehension(Box::new(comprehension)))
    }

    /// A loop that makes a value out of all items.
    fn gather(self, init: Expr, step: Expr) -> Expr {
        let (condition, result) = (self.bool(true), self.accumulator());
        self.end(init, condition, step, result)
    }
}

fn all(used: Use) -> Expanded {
    let mut loops = Loop::quantifier(used)?;
    let predicate = loops.arg();
    let (init, result) = (loops.bool(true), loops.accumulator());
    let condition = loops.call(operator::NOT_STRICTLY_FALSE, vec![loops.accumulator()]);
    let step = loops.call(operator::AND, vec![loops.accumulator(), predicate]);
    Ok(loops.end(init, condition, step, result))
}

fn exists(used: Use) -> Expanded {
    let mut loops = Loop::quantifier(used)?;
    let predicate = loops.arg();
    let (init, result) = (loops.bool(false), loops.accumulator());
    let not_yet = loops.call(operator::NOT, vec![loops.accumulator()]);
    let condition = loops.call(operator::NOT_STRICTLY_FALSE, vec![not_yet]);
    let step = loops.call(operator::OR, vec![loops.accumulator(), predicate]);
    Ok(loops.end(init, condition, step, result))
}

fn exists_one(used: Use) -> Expanded {
    let mut loops = Loop::quantifier(used)?;
    let predicate = loops.arg();
    let (init, condition) = (loops.int(0), loops.bool(true));
    let more = loops.call(operator::ADD, vec![loops.accumulator(), loops.int(1)]);
    let step = loops.when(Some(predicate), more);
    let result = loops.call(operator::EQUAL, vec![loops.accumulator(), loops.int(1)]);
    Ok(loops.end(init, condition, step, result))
}

/// A list of what `transform` makes of those items that `filter` lets through.
fn collect(mut loops: Loop, has_filter: bool) -> Expr {
    let filter = has_filter.then(|| loops.arg());
    let transform = loops.arg();
    let more = loops.call(operator::ADD, vec![loops.accumulator(), loops.list(Some(transform))]);
    let (init, step) = (loops.list(None), loops.when(filter, more));
    loops.gather(init, step)
}

fn map(used: Use) -> Expanded {
    let has_filter = used.args.len() == 3;
    Ok(collect(Loop::new(used, 1, "argument is not an identifier")?, has_filter))
}

fn filter(used: Use) -> Expanded {
    let item = used.args[0].clone();
    let mut loops = Loop::new(used, 1, "argument is not an identifier")?;
    let predicate = loops.arg();
    let more = loops.call(operator::ADD, vec![loops.accumulator(), loops.list(Some(item))]);
    let (init, step) = (loops.list(None), loops.when(Some(predicate), more));
    Ok(loops.gather(init, step))
}

fn transform_list(used: Use) -> Expanded {
    let has_filter = used.args.len() == 4;
    Ok(collect(Loop::new(used, 2, "argument must be a simple name")?, has_filter))
}

fn transform_map(used: Use) -> Expanded {
    let key = used.args[0].clone();
    insert_all(used, Some(key))
}

fn transform_map_entry(used: Use) -> Expanded {
    insert_all(used, None)
}

/// A map of all entries: under `key`, or maps of entries themselves.
fn insert_all(used: Use, key: Option<Expr>) -> Expanded {
    let has_filter = used.args.len() == 4;
    let mut loops = Loop::new(used, 2, "argument must be a simple name")?;
    let filter = has_filter.then(|| loops.arg());
    let transform = loops.arg();
    let args = [loops.accumulator()].into_iter().chain(key).chain([transform]).collect();
    let step = loops.when(filter, loops.call("cel.@mapInsert", args));
    let init = Expr::new(loops.at, Kind::Map(Vec::new()));
    Ok(loops.gather(init, step))
}

/// `result` with `name` as another name of `value`: a loop over nothing, whose accumulator it is.
fn with_name(at: usize, name: &str, value: Expr, result: Expr) -> Expr {
    let comprehension = Comprehension {
        variables: vec![UNUSED.to_owned()],
        range: Expr::new(at, Kind::List(Vec::new())),
        accumulator: name.to_owned(),
        init: value,
        condition: Expr::literal(at, Literal::Bool(false)),
        step: Expr::ident(at, name),
        result,
    };
    Expr::new(at, Kind::Comprehension(Box::new(comprehension)))
}

fn bind(used: Use) -> Expanded {
    let mut args = used.args.into_iter();
    match (args.next(), args.next(), args.next()) {
        (Some(Expr { kind: Kind::Ident(name), .. }), Some(value), Some(result)) => {
            Ok(with_name(used.at, &name, value, result))
        }
        (Some(other), ..) => Err(Misuse::new(&other, "cel.bind() variable names must be simple identifiers")),
        _ => Ok(Expr::new(used.at, Kind::Error)),
    }
}

/// `optMap` and `optFlatMap`. The target has a name of its own, so that it stands in the tree once.
fn optional_map(used: Use, name: &str) -> Expanded {
    let at = used.at;
    let mut args = used.args.into_iter();
    let (Some(item), Some(transform)) = (args.next(), args.next()) else { return Ok(Expr::new(at, Kind::Error)) };
    let Kind::Ident(variable) = &item.kind else {
        return Err(Misuse::new(&item, format!("{name}() variable name must be a simple identifier")));
    };
    let target = || Expr::ident(at, REPEATED);
    let value = call_of(at, target(), "value", Vec::new());
    let mapped = with_name(at, variable, value, transform);
    let some = if name == "optMap" { Expr::call(at, "optional.of", vec![mapped]) } else { mapped };
    let none = Expr::call(at, "optional.none", Vec::new());
    let has_value = call_of(at, target(), "hasValue", Vec::new());
    let result = Expr::call(at, operator::CONDITIONAL, vec![has_value, some, none]);
    Ok(with_name(at, REPEATED, used.target, result))
}

fn sort_by(used: Use) -> Expanded {
    const INPUT: &str = "@__sortBy_input__";
    let (at, target) = (used.at, used.target);
    if matches!(target.kind, Kind::Literal(_) | Kind::Map(_) | Kind::Object { .. }) {
        let text = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
        return Err(Misuse::new(&target, text));
    }
    let input = || Expr::ident(at, INPUT);
    let keys = map(Use { at, target: input(), args: used.args })?;
    let sorted = call_of(at, input(), "@sortByAssociatedKeys", vec![keys]);
    Ok(with_name(at, INPUT, target, sorted))
}
