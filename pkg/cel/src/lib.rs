//! Common Expression Language: reading expressions and checking their types, with the errors that cel-go tells.
//!
//! Start at [`Environment::compile`]: [`parser`] makes a tree of a text, expanding [`macros`], and [`check`] finds its type
//! with the help of the tables in [`functions`]. [`kubernetes`] has what expressions in Kubernetes' fields can name.

mod ast;
mod check;
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

pub use environment::Environment;
pub use issue::Issues;
pub use parser::{is_identifier, is_reserved};
pub use types::Type;

/// With no more levels than these, a thread's usual stack is enough by far.
const SHALLOW: usize = 30;
/// What the deepest expression that is let through needs, several times.
const DEEP_STACK: usize = 32 * 1024 * 1024;

impl Environment {
    /// The type of an expression, or all that is wrong with it.
    pub fn compile(&self, text: &str) -> Result<Type, Issues> {
        if levels(text) <= SHALLOW {
            return self.compile_here(text);
        }
        let builder = std::thread::Builder::new().name("cel".to_owned()).stack_size(DEEP_STACK);
        std::thread::scope(|scope| {
            let thread =
                builder.spawn_scoped(scope, || self.compile_here(text)).map(std::thread::ScopedJoinHandle::join);
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

    fn compile_here(&self, text: &str) -> Result<Type, Issues> {
        let expr = parser::parse(text)?;
        check::check(&expr, text, self)
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
