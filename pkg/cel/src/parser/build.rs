//! Nodes of the tree out of what rules read, and the errors of what is grammatical and still wrong.

use super::{DEPTH_MAX, Parser};
use crate::ast::{Element, Entry, Expr, Field, Kind, Literal, operator};
use crate::literal;
use crate::macros;
use crate::token::{Kind as T, Token};

/// Words that are no identifiers, because other languages have them.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

/// Whether a text is a word that has a meaning of its own.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || matches!(name, "true" | "false" | "null" | "in")
}

/// Whether a text can be the name of a variable.
#[must_use]
pub fn is_identifier(name: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(starts) && name.chars().all(|c| starts(c) || c.is_ascii_digit()) && !is_reserved(name)
}

/// An expression, and how many operators, fields and calls are inside each other in it.
pub struct Node {
    pub expr: Expr,
    pub depth: usize,
}

impl Node {
    pub fn leaf(expr: Expr) -> Self {
        Self { expr, depth: 0 }
    }

    pub fn error(at: usize) -> Self {
        Self::leaf(Expr::new(at, Kind::Error))
    }

    /// A node; one that is too deep is dropped at once, since trees are walked and dropped by recursion.
    fn new(expr: Expr, depth: usize) -> Self {
        let expr = if depth > DEPTH_MAX { Expr::new(expr.at, Kind::Error) } else { expr };
        Self { expr, depth }
    }

    /// An operator, which counts as one level.
    pub fn operator(at: usize, name: &str, args: Vec<Self>) -> Self {
        let depth = deepest(&args) + 1;
        let args = args.into_iter().map(|node| node.expr).collect();
        Self::new(Expr::call(at, name, args), depth)
    }

    /// `!x` and `-x`, which are no level of their own.
    pub fn unary(at: usize, name: &str, operand: Self) -> Self {
        Self::new(Expr::call(at, name, vec![operand.expr]), operand.depth)
    }

    /// A chain of the same operator as a tree that is as flat as can be.
    pub fn balanced(name: &str, terms: Vec<Self>, places: &[usize]) -> Self {
        let depth = deepest(&terms);
        let mut terms = terms.into_iter().map(|node| node.expr);
        Self::new(balanced(name, &mut terms, places), depth)
    }

    pub fn list(at: usize, elements: Vec<(Element, usize)>) -> Self {
        let (list, depth) = unzip(elements);
        Self::new(Expr::new(at, Kind::List(list)), depth)
    }

    pub fn map(at: usize, entries: Vec<(Entry, usize)>) -> Self {
        let (list, depth) = unzip(entries);
        Self::new(Expr::new(at, Kind::Map(list)), depth)
    }

    pub fn object(at: usize, name: String, fields: Vec<(Field, usize)>) -> Self {
        let (fields, depth) = unzip(fields);
        Self::new(Expr::new(at, Kind::Object { name, fields }), depth)
    }
}

fn deepest<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> usize {
    nodes.into_iter().map(|node| node.depth).max().unwrap_or(0)
}

fn unzip<T>(items: Vec<(T, usize)>) -> (Vec<T>, usize) {
    let depth = items.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
    (items.into_iter().map(|(item, _)| item).collect(), depth)
}

/// One more term than places; the operator in the middle is the root.
fn balanced(name: &str, terms: &mut impl Iterator<Item = Expr>, places: &[usize]) -> Expr {
    let middle = places.len() / 2;
    let Some(&at) = places.get(middle) else {
        return terms.next().unwrap_or_else(|| Expr::new(0, Kind::Error));
    };
    let left = balanced(name, terms, &places[..middle]);
    let right = balanced(name, terms, &places[middle + 1..]);
    Expr::call(at, name, vec![left, right])
}

pub fn operator_name(sign: T) -> &'static str {
    match sign {
        T::Less => "_<_",
        T::LessEqual => operator::LESS_EQUAL,
        T::GreaterEqual => "_>=_",
        T::Greater => "_>_",
        T::Equal => operator::EQUAL,
        T::NotEqual => "_!=_",
        T::In => operator::IN,
        T::Star => "_*_",
        T::Slash => "_/_",
        T::Percent => "_%_",
        T::Minus => "_-_",
        _ => operator::ADD,
    }
}

impl Parser<'_> {
    /// Whether a name may be used; tells if not.
    pub(super) fn check_reserved(&mut self, at: usize, name: &str) -> bool {
        let legal = !RESERVED.contains(&name);
        if !legal {
            self.later.report(at, format!("reserved identifier: {name}"));
        }
        legal
    }

    /// The text of a name; those in backquotes are not allowed, as in Kubernetes.
    pub(super) fn name_text(&mut self, name: Token) -> String {
        if name.kind == T::EscapedIdent {
            self.later.report(name.start, "unsupported syntax: '`'");
        }
        self.text_of(name).trim_matches('`').to_owned()
    }

    pub(super) fn build_select(&mut self, at: usize, operand: Node, optional: bool, name: Token) -> Node {
        let field = self.name_text(name);
        let depth = operand.depth + 1;
        let expr = if optional {
            let field = Expr::literal(name.start, Literal::String(field));
            Expr::call(at, operator::OPTIONAL_SELECT, vec![operand.expr, field])
        } else {
            Expr::new(at, Kind::Select { operand: Box::new(operand.expr), field, test: false })
        };
        Node::new(expr, depth)
    }

    /// A call, or what the macro of that name makes of it.
    pub(super) fn build_call(&mut self, at: usize, name: &str, target: Option<Node>, args: Vec<Node>) -> Node {
        let depth = deepest(args.iter().chain(&target)) + usize::from(target.is_some());
        let args = args.into_iter().map(|node| node.expr).collect();
        let target = target.map(|node| node.expr);
        let expr = macros::expand(at, name, target, args).unwrap_or_else(|issue| {
            self.later.report(issue.at, issue.text);
            Expr::new(at, Kind::Error)
        });
        Node::new(expr, depth)
    }

    pub(super) fn build_literal(&mut self, at: usize, token: Token, negative: bool) -> Node {
        let text = self.text_of(token);
        let value = match token.kind {
            T::Int => literal::int(text, negative),
            T::Uint => literal::uint(text),
            T::Float => literal::double(text, negative),
            T::String => literal::string(text),
            T::Bytes => literal::bytes(text),
            T::True => Ok(Literal::Bool(true)),
            T::False => Ok(Literal::Bool(false)),
            _ => Ok(Literal::Null),
        };
        match value {
            Ok(value) => Node::leaf(Expr::literal(at, value)),
            Err(why) => {
                self.later.report(at, why);
                Node::error(at)
            }
        }
    }
}
