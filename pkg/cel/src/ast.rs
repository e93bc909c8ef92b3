//! Expressions as trees. Macros are expanded: they are comprehensions and presence tests. Names with dots are chains of
//! fields here; the check finds out which of them are one name (`authorizer.requestResource`, `net.IP`).

/// An expression and where it stands: the byte offset that errors about it name.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Its place among all expressions of a tree, under which the check notes what it finds.
    pub number: usize,
    pub at: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Literal(Literal),
    Ident(String),
    /// `operand.field`; `test`: only whether it is there, from `has()`.
    Select {
        operand: Box<Expr>,
        field: String,
        test: bool,
    },
    /// A call of a function, or of an operator under its name in CEL (`_+_`). `target` is what stands before the dot.
    Call {
        target: Option<Box<Expr>>,
        function: String,
        args: Vec<Expr>,
    },
    List(Vec<Element>),
    Map(Vec<Entry>),
    /// An object of a named type.
    Object {
        name: String,
        fields: Vec<Field>,
    },
    Comprehension(Box<Comprehension>),
    /// What could not be read; an error was told.
    Error,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

/// An item of a list; an optional one (`?x`) is left out if it has no value.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    pub optional: bool,
    pub value: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub optional: bool,
    pub key: Expr,
    pub value: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub at: usize,
    pub optional: bool,
    pub name: String,
    pub value: Expr,
}

/// A loop over `range`: `accumulator` begins as `init` and becomes `step` for each item while `condition` holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Comprehension {
    /// Names of the item, or of index and item, or of key and value.
    pub variables: Vec<String>,
    pub range: Expr,
    pub accumulator: String,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

impl Expr {
    pub fn new(at: usize, kind: Kind) -> Self {
        Self { number: 0, at, kind }
    }

    pub fn literal(at: usize, literal: Literal) -> Self {
        Self::new(at, Kind::Literal(literal))
    }

    pub fn ident(at: usize, name: impl Into<String>) -> Self {
        Self::new(at, Kind::Ident(name.into()))
    }

    /// A call without a target.
    pub fn call(at: usize, function: &str, args: Vec<Expr>) -> Self {
        Self::new(at, Kind::Call { target: None, function: function.to_owned(), args })
    }

    /// Visits what the expression is directly made of.
    pub fn each_part<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) | Kind::Error => {}
            Kind::Select { operand, .. } => visit(operand),
            Kind::Call { target, args, .. } => target.iter().map(AsRef::as_ref).chain(args).for_each(visit),
            Kind::List(elements) => elements.iter().for_each(|element| visit(&element.value)),
            Kind::Map(entries) => entries.iter().for_each(|entry| {
                visit(&entry.key);
                visit(&entry.value);
            }),
            Kind::Object { fields, .. } => fields.iter().for_each(|field| visit(&field.value)),
            Kind::Comprehension(inner) => {
                [&inner.range, &inner.init, &inner.condition, &inner.step, &inner.result].into_iter().for_each(visit);
            }
        }
    }

    /// Numbers the expression and all inside it; gives how many there are, with those `before` it.
    pub fn number_from(&mut self, before: usize) -> usize {
        self.number = before;
        let mut next = before + 1;
        let mut part = |expr: &mut Self| next = expr.number_from(next);
        match &mut self.kind {
            Kind::Literal(_) | Kind::Ident(_) | Kind::Error => {}
            Kind::Select { operand, .. } => part(operand),
            Kind::Call { target, args, .. } => target.iter_mut().map(AsMut::as_mut).chain(args).for_each(part),
            Kind::List(elements) => elements.iter_mut().for_each(|element| part(&mut element.value)),
            Kind::Map(entries) => entries.iter_mut().for_each(|entry| {
                part(&mut entry.key);
                part(&mut entry.value);
            }),
            Kind::Object { fields, .. } => fields.iter_mut().for_each(|field| part(&mut field.value)),
            Kind::Comprehension(inner) => {
                let Comprehension { range, init, condition, step, result, .. } = inner.as_mut();
                [range, init, condition, step, result].into_iter().for_each(part);
            }
        }
        next
    }

    /// `a.b.c` of a chain of fields.
    pub fn qualified_name(&self) -> Option<String> {
        let (mut fields, mut expr) = (Vec::new(), self);
        loop {
            match &expr.kind {
                Kind::Select { operand, field, test: false } => {
                    fields.push(field.as_str());
                    expr = operand;
                }
                Kind::Ident(name) => {
                    fields.push(name);
                    fields.reverse();
                    return Some(fields.join("."));
                }
                _ => return None,
            }
        }
    }
}

/// Names of operators as functions.
pub mod operator {
    pub const CONDITIONAL: &str = "_?_:_";
    pub const AND: &str = "_&&_";
    pub const OR: &str = "_||_";
    pub const NOT: &str = "!_";
    pub const NEGATE: &str = "-_";
    pub const IN: &str = "@in";
    pub const EQUAL: &str = "_==_";
    pub const ADD: &str = "_+_";
    pub const LESS_EQUAL: &str = "_<=_";
    pub const INDEX: &str = "_[_]";
    pub const OPTIONAL_INDEX: &str = "_[?_]";
    pub const OPTIONAL_SELECT: &str = "_?._";
    pub const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
}
