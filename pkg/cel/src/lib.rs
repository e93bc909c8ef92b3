//! Common Expression Language: reading expressions and checking their types, with the errors that cel-go tells.
//!
//! Start at [`Environment::compile`]: [`parser`] makes a tree of a text, expanding [`macros`], and [`check`] finds its type
//! with the help of the tables in [`functions`]. [`cost`] estimates what a checked expression costs. [`kubernetes`] has what
//! expressions in Kubernetes' fields can name.

mod ast;
mod check;
mod cost;
mod environment;
mod functions;
mod issue;
pub mod kubernetes;
mod lexer;
mod literal;
mod macros;
mod parser;
#[cfg(test)]
mod tests;
mod token;
mod types;

pub use cost::{Range, Shape};
pub use environment::Environment;
pub use issue::Issues;
pub use parser::{is_identifier, is_reserved};
pub use types::Type;

use ast::Expr;
use check::Checked;

/// With no more levels than these, a thread's usual stack is enough by far.
const SHALLOW: usize = 30;
/// What the deepest expression that is let through needs, several times.
const DEEP_STACK: usize = 32 * 1024 * 1024;

/// An expression that compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    pub of: Type,
    /// What its evaluation costs, from the best case to the worst.
    pub cost: Range,
}

impl Environment {
    /// The type of an expression, or all that is wrong with it.
    pub fn compile(&self, text: &str) -> Result<Type, Issues> {
        self.with_checked(text, |_, checked| checked.of)
    }

    /// The type and the estimated cost of an expression, or why it does not compile, in the words of the API server.
    pub fn estimate(&self, text: &str) -> Result<Compiled, String> {
        let compiled = self.with_checked(text, |expr, mut checked| {
            let cost = cost::estimate(expr, &mut checked.notes, self);
            Compiled { of: checked.of, cost }
        });
        compiled.map_err(|issues| format!("compilation failed: {issues}"))
    }

    /// What `then` makes of an expression that compiles, on a stack that is deep enough.
    fn with_checked<T: Send>(&self, text: &str, then: impl Fn(&Expr, Checked) -> T + Sync) -> Result<T, Issues> {
        let work = || {
            let mut expr = parser::parse(text)?;
            let count = expr.number_from(0);
            check::check(&expr, count, text, self).map(|checked| then(&expr, checked))
        };
        if levels(text) <= SHALLOW {
            return work();
        }
        let builder = std::thread::Builder::new().name("cel".to_owned()).stack_size(DEEP_STACK);
        std::thread::scope(|scope| {
            let thread = builder.spawn_scoped(scope, work).map(std::thread::ScopedJoinHandle::join);
            match thread {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(error) => {
                    let mut issues = Issues::new(text);
                    issues.whole(format!("cannot start a thread for a deep expression: {error}"));
                    Err(issues)
                }
            }
        })
    }

    /// The type of an expression that has to be one of `wanted` (any, if there is none), or why it is none, in the words of
    /// the API server.
    pub fn compile_to(&self, text: &str, wanted: &[Type]) -> Result<Type, String> {
        let found = self.compile(text).map_err(|issues| format!("compilation failed: {issues}"))?;
        if wanted.is_empty() || wanted.contains(&found) {
            return Ok(found);
        }
        let names: Vec<String> = wanted.iter().map(Type::declared).collect();
        Err(match &names[..] {
            [one] => format!("must evaluate to {one} but got {}", found.declared()),
            _ => format!("must evaluate to one of [{}] but got {}", names.join(" "), found.declared()),
        })
    }
}

/// A bound of how deep an expression can be nested: what opens at once, and every other sign that can begin a level.
fn levels(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'?' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => continue,
        }
        most = most.max(open);
    }
    most
}
