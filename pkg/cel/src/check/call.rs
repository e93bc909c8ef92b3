//! Calls: which overloads fit, and what they give.

use super::Checker;
use crate::ast::{Expr, Kind, Literal, operator};
use crate::functions::Overload;
use crate::types::Type;

/// A call whose function was found.
struct Call<'t> {
    expr: &'t Expr,
    function: &'t str,
    /// The first argument stands before a dot.
    member: bool,
    args: Vec<Type>,
}

impl<'a> Checker<'a> {
    pub(super) fn call(&mut self, expr: &Expr, target: Option<&'a Expr>, name: &str, args: &'a [Expr]) -> Type {
        let at = expr.at;
        if let (operator::OPTIONAL_SELECT, [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }]) =
            (name, args)
        {
            let found = self.field(at, operand, field, true);
            return self.types().resolve(&found, false);
        }
        let outside = self.mixed;
        self.mixed |= name == "format";
        let mut found: Vec<Type> = args.iter().map(|arg| self.check(arg)).collect();
        self.mixed = outside;
        let Some(target) = target else {
            let name = name.strip_prefix('.').unwrap_or(name);
            return match self.environment.function(name) {
                None => self.undeclared(at, name),
                Some(overloads) if matches!(name, operator::AND | operator::OR) => {
                    self.notes.set_overloads(expr, overloads.iter().collect());
                    self.logical(args, &found)
                }
                Some(overloads) => self.resolve(&Call { expr, function: name, member: false, args: found }, overloads),
            };
        };
        // `net.IP(x)` and the like are no members: the name has dots.
        let qualified = target.qualified_name().map(|prefix| format!("{prefix}.{name}"));
        let qualified = qualified.as_deref().map(|name| name.strip_prefix('.').unwrap_or(name));
        if let Some((function, overloads)) =
            qualified.and_then(|name| self.environment.function(name).map(|overloads| (name, overloads)))
        {
            return self.resolve(&Call { expr, function, member: false, args: found }, overloads);
        }
        let target = self.check(target);
        match self.environment.function(name) {
            None => self.undeclared(at, name),
            Some(overloads) => {
                found.insert(0, target);
                self.resolve(&Call { expr, function: name, member: true, args: found }, overloads)
            }
        }
    }

    /// `&&` and `||`, which tell of each operand that is no bool.
    fn logical(&mut self, args: &[Expr], found: &[Type]) -> Type {
        let mut result = Type::Bool;
        for (arg, found) in args.iter().zip(found) {
            if !self.types().assign(found, &Type::Bool) {
                self.mismatch(arg.at, &Type::Bool, found);
                result = Type::Error;
            }
        }
        result
    }

    /// The result of the overloads that fit; `dyn` where they differ.
    fn resolve(&mut self, call: &Call<'_>, overloads: &'static [Overload]) -> Type {
        let mut result: Option<Type> = None;
        let mut fitting = Vec::new();
        for overload in overloads {
            if overload.member != call.member || overload.args.len() != call.args.len() {
                continue;
            }
            let first = self.types().add(overload.parameters);
            let wanted: Vec<Type> = overload.args.iter().map(|arg| arg.renumbered(first)).collect();
            if !self.types().assign_all(call.args.iter().zip(&wanted)) {
                continue;
            }
            let given = self.types().resolve(&overload.result.renumbered(first), false);
            fitting.push(overload);
            result = Some(match result {
                None => given,
                Some(before) if before.is_dyn() || before == given => before,
                Some(_) => Type::Dyn,
            });
        }
        self.notes.set_overloads(call.expr, fitting);
        result.unwrap_or_else(|| self.no_overload(call))
    }

    fn no_overload(&mut self, call: &Call<'_>) -> Type {
        let shown: Vec<String> = call.args.iter().map(|arg| self.types().resolve(arg, true).to_string()).collect();
        let signature = match shown.split_first() {
            Some((target, args)) if call.member => format!("{target}.({})", args.join(", ")),
            _ => format!("({})", shown.join(", ")),
        };
        let text = format!("found no matching overload for '{}' applied to '{signature}'", call.function);
        self.issues.report(call.expr.at, text);
        Type::Error
    }
}
