//! The grammar of CEL, one function a rule. Errors and what is done about them are in [`recovery`]: cel-go's parser is made
//! by ANTLR, and clients see its texts, so rules sync, skip and go on where ANTLR's do.

mod aggregates;
mod build;
mod recovery;

use crate::ast::{Expr, operator};
use crate::issue::Issues;
use crate::lexer::Lexer;
use crate::token::{Kind as T, Set, Token};

pub use build::{is_identifier, is_reserved};

use build::Node;
use recovery::{Fault, Follow, Site};

/// As many rules may be open inside each other, and as many operators.
const DEPTH_MAX: usize = 250;
const SIZE_MAX: usize = 100_000;

/// What a member can begin with.
const MEMBER: Set = Set::of(&[
    T::LBracket,
    T::LBrace,
    T::LParen,
    T::Dot,
    T::Minus,
    T::True,
    T::False,
    T::Null,
    T::Float,
    T::Int,
    T::Uint,
    T::String,
    T::Bytes,
    T::Ident,
]);
const EXPR: Set = MEMBER.and(Set::of(&[T::Not]));
/// What an item of a list or a key of a map can begin with.
const OPTIONAL_EXPR: Set = EXPR.and(Set::of(&[T::Question]));
const NAME: Set = Set::of(&[T::Ident, T::EscapedIdent]);
const FIELD: Set = NAME.and(Set::of(&[T::Question]));

const RELATIONS: Set = Set::of(&[T::Less, T::LessEqual, T::GreaterEqual, T::Greater, T::Equal, T::NotEqual, T::In]);
const PRODUCTS: Set = Set::of(&[T::Star, T::Slash, T::Percent]);
const SUMS: Set = Set::of(&[T::Plus, T::Minus]);
const TRAILERS: Set = Set::of(&[T::Dot, T::LBracket]);

/// Reads an expression; macros are expanded.
pub fn parse(text: &str) -> Result<Expr, Issues> {
    let mut issues = Issues::new(text);
    let size = text.chars().count();
    if size > SIZE_MAX {
        issues.whole(format!("expression code point size exceeds limit: size: {size}, limit {SIZE_MAX}"));
        return Err(issues);
    }
    Parser::new(text).start()
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// Tokens that were looked at; those before `index` are read.
    tokens: Vec<Token>,
    index: usize,
    /// Errors of the grammar.
    issues: Issues,
    /// Errors of what is grammatical; only told if reading came to its end.
    later: Issues,
    recovery: recovery::State,
    depth: Depth,
}

/// How many rules of a kind are open.
#[derive(Default)]
struct Depth {
    expr: usize,
    relation: usize,
    calc: usize,
}

type Parsed = Result<Node, Fault>;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            lexer: Lexer::new(text),
            tokens: Vec::new(),
            index: 0,
            issues: Issues::new(text),
            later: Issues::new(text),
            recovery: recovery::State::default(),
            depth: Depth::default(),
        }
    }

    fn start(mut self) -> Result<Expr, Issues> {
        let node = self.within(Follow::one(T::Eof), Self::expr);
        if let Err(fault) = self.expect(Site::Start, T::Eof, Follow::one(T::Eof)) {
            self.report(&fault);
        }
        if !self.recovery.stopped() {
            if node.depth > DEPTH_MAX {
                self.issues.whole("max recursion depth exceeded");
            }
            self.issues.append(self.later);
        }
        if self.issues.is_empty() { Ok(node.expr) } else { Err(self.issues) }
    }

    fn expr(&mut self) -> Node {
        self.depth.expr += 1;
        if self.depth.expr > DEPTH_MAX {
            self.too_deep();
        }
        let node = self.guarded(Self::conditional);
        self.depth.expr -= 1;
        node
    }

    /// `a ? b : c`.
    fn conditional(&mut self) -> Parsed {
        let condition = self.within(Follow::maybe(Set::of(&[T::Question])), Self::any_of);
        if self.kind(1) != T::Question {
            return Ok(condition);
        }
        let at = self.take().start;
        let yes = self.within(Follow::one(T::Colon), Self::any_of);
        self.expect(Site::Colon, T::Colon, Follow::must(EXPR))?;
        let no = self.within(Follow::END, Self::expr);
        Ok(Node::operator(at, operator::CONDITIONAL, vec![condition, yes, no]))
    }

    /// `a || b`.
    fn any_of(&mut self) -> Node {
        self.chain(T::Or, operator::OR, Self::all_of)
    }

    /// `a && b`.
    fn all_of(&mut self) -> Node {
        self.chain(T::And, operator::AND, |parser| parser.relation(0))
    }

    fn chain(&mut self, sign: T, name: &str, term: fn(&mut Self) -> Node) -> Node {
        let follow = Follow::maybe(Set::of(&[sign]));
        let (mut terms, mut places) = (vec![self.within(follow, term)], Vec::new());
        while self.kind(1) == sign {
            places.push(self.take().start);
            terms.push(self.within(follow, term));
        }
        Node::balanced(name, terms, &places)
    }

    /// `a == b`; `least`: operators of lower precedence belong to who asks.
    fn relation(&mut self, least: u8) -> Node {
        self.depth.relation += 1;
        if self.depth.relation > DEPTH_MAX {
            self.too_deep();
        }
        let mut node = self.within(Follow::maybe(RELATIONS), |parser| parser.calc(0));
        while RELATIONS.has(self.kind(1)) && least <= 1 {
            let sign = self.take();
            let right = self.within(Follow::maybe(RELATIONS), |parser| parser.relation(2));
            node = Node::operator(sign.start, build::operator_name(sign.kind), vec![node, right]);
        }
        self.depth.relation -= 1;
        node
    }

    /// `a + b * c`.
    fn calc(&mut self, least: u8) -> Node {
        self.depth.calc += 1;
        if self.depth.calc > DEPTH_MAX {
            self.too_deep();
        }
        let follow = Follow::maybe(PRODUCTS.and(SUMS));
        let mut node = self.within(follow, |parser| parser.guarded(Self::unary));
        loop {
            let next = match self.kind(1) {
                kind if PRODUCTS.has(kind) && least <= 2 => 3,
                kind if SUMS.has(kind) && least <= 1 => 2,
                _ => break,
            };
            let sign = self.take();
            let right = self.within(follow, |parser| parser.calc(next));
            node = Node::operator(sign.start, build::operator_name(sign.kind), vec![node, right]);
        }
        self.depth.calc -= 1;
        node
    }

    fn unary(&mut self) -> Parsed {
        self.sync(Site::Unary, EXPR)?;
        let member = |parser: &mut Self| parser.within(Follow::END, |parser| parser.guarded(Self::member));
        let (first, sign, name) = match (self.kind(1), self.kind(2)) {
            (T::Minus, T::Int | T::Float) => return Ok(member(self)),
            (T::Minus, next) if !MEMBER.has(next) => return Err(self.no_viable(Site::Unary, 2)),
            (T::Minus, _) => (MEMBER, T::Minus, operator::NEGATE),
            (T::Not, _) => (EXPR, T::Not, operator::NOT),
            (kind, _) if MEMBER.has(kind) => return Ok(member(self)),
            _ => return Err(self.no_viable(Site::Unary, 1)),
        };
        let at = self.take().start;
        let mut count = 1;
        loop {
            self.sync_loop(first);
            if self.kind(1) != sign {
                break;
            }
            if sign == T::Minus && !MEMBER.has(self.kind(2)) {
                return Err(self.no_viable(Site::Signs, 2));
            }
            self.take();
            count += 1;
        }
        let operand = member(self);
        Ok(if count % 2 == 0 { operand } else { Node::unary(at, name, operand) })
    }

    /// A value with what follows it: `.field`, `.call()`, `[index]`.
    fn member(&mut self) -> Parsed {
        let mut node = self.within(Follow::maybe(TRAILERS), |parser| parser.guarded(Self::primary));
        loop {
            node = match self.kind(1) {
                T::LBracket => self.index(node)?,
                T::Dot if self.kind(2) == T::Ident && self.kind(3) == T::LParen => self.member_call(node)?,
                T::Dot if FIELD.has(self.kind(2)) => self.select(node),
                T::Dot => return Err(self.no_viable(Site::Member, 2)),
                _ => return Ok(node),
            };
        }
    }

    fn select(&mut self, operand: Node) -> Node {
        let at = self.take().start;
        let optional = self.take_if(T::Question).is_some();
        let name = self.within(Follow::maybe(TRAILERS), Self::name);
        match name {
            Some(name) => self.build_select(at, operand, optional, name),
            None => Node::error(at),
        }
    }

    fn member_call(&mut self, target: Node) -> Parsed {
        self.take();
        let (name, open) = (self.take(), self.take());
        let args = self.arguments()?;
        self.expect(Site::MemberCallEnd, T::RParen, Follow::maybe(TRAILERS))?;
        let name = self.text_of(name).to_owned();
        Ok(self.build_call(open.start, &name, Some(target), args))
    }

    /// What stands in the parentheses of a call.
    fn arguments(&mut self) -> Result<Vec<Node>, Fault> {
        self.sync(Site::Arguments, EXPR.and(Set::of(&[T::RParen])))?;
        let mut args = Vec::new();
        if EXPR.has(self.kind(1)) {
            self.within(Follow::one(T::RParen), |parser| {
                args.push(parser.within(Follow::maybe(Set::of(&[T::Comma])), Self::expr));
                while parser.take_if(T::Comma).is_some() {
                    args.push(parser.within(Follow::maybe(Set::of(&[T::Comma])), Self::expr));
                }
            });
        }
        Ok(args)
    }

    fn index(&mut self, target: Node) -> Parsed {
        let at = self.take().start;
        self.sync(Site::Index, OPTIONAL_EXPR)?;
        let optional = self.take_if(T::Question).is_some();
        let index = self.within(Follow::one(T::RBracket), Self::expr);
        self.expect(Site::IndexEnd, T::RBracket, Follow::maybe(TRAILERS))?;
        let name = if optional { operator::OPTIONAL_INDEX } else { operator::INDEX };
        Ok(Node::operator(at, name, vec![target, index]))
    }

    fn primary(&mut self) -> Parsed {
        self.sync(Site::Primary, MEMBER)?;
        match self.kind(1) {
            T::LParen => {
                self.take();
                let node = self.within(Follow::one(T::RParen), Self::expr);
                self.expect(Site::NestedEnd, T::RParen, Follow::END)?;
                Ok(node)
            }
            T::LBracket => self.list(),
            T::LBrace => self.map(),
            T::Dot if self.kind(2) != T::Ident => Err(self.no_viable(Site::Primary, 2)),
            T::Ident | T::Dot => self.named(),
            kind if MEMBER.has(kind) => Ok(self.within(Follow::END, |parser| parser.guarded(Self::literal))),
            _ => Err(self.no_viable(Site::Primary, 1)),
        }
    }

    /// An identifier, a call of a function or an object of a named type.
    fn named(&mut self) -> Parsed {
        let after_name = if self.kind(1) == T::Dot { 3 } else { 2 };
        let mut end = after_name;
        while self.kind(end) == T::Dot && self.kind(end + 1) == T::Ident {
            end += 2;
        }
        if self.kind(end) == T::LBrace {
            return self.object(end - 1);
        }
        let start = self.token(1).start;
        let dot = if self.take_if(T::Dot).is_some() { "." } else { "" };
        let name = self.take();
        let text = self.text_of(name);
        let full = format!("{dot}{text}");
        let legal = self.check_reserved(start, text);
        if self.kind(1) != T::LParen {
            return Ok(if legal { Node::leaf(Expr::ident(name.start, full)) } else { Node::error(start) });
        }
        let open = self.take();
        let args = self.arguments()?;
        self.expect(Site::CallEnd, T::RParen, Follow::END)?;
        Ok(if legal { self.build_call(open.start, &full, None, args) } else { Node::error(start) })
    }

    /// `expr` or `?expr`.
    fn optional_expr(&mut self) -> (bool, Node) {
        if let Err(fault) = self.sync(Site::OptionalExpr, OPTIONAL_EXPR) {
            let at = self.token(1).start;
            self.give_up(&fault);
            return (false, Node::error(at));
        }
        let optional = self.take_if(T::Question).is_some();
        (optional, self.within(Follow::END, Self::expr))
    }

    fn literal(&mut self) -> Parsed {
        let start = self.token(1).start;
        let negative = self.kind(1) == T::Minus;
        if negative && !matches!(self.kind(2), T::Int | T::Float) {
            return Err(self.no_viable(Site::Literal, 2));
        }
        if negative {
            self.take();
        }
        let token = self.take();
        Ok(self.build_literal(start, token, negative))
    }
}
