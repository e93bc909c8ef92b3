//! CEL of schemas: rules compile, with `self` of the type that the schema gives it, and do not cost too much, before they are
//! stored.

use apimachinery::field::{Error, ErrorList, Path};
use cel::kubernetes::schema;
use cel::{Environment, Type};
use serde_json::Value;

use super::expression_types::{REQUEST_MAX, declare};
use crate::tree::Tree;

/// The most that one expression may cost, as often as it can be evaluated for one object.
const COST_MAX: u64 = 10_000_000;
/// The most that all expressions of a schema may cost.
const TOTAL_MAX: u64 = 100_000_000;
/// Where the total is too much, as many of the dearest are named, if they cost enough.
const NAMED: usize = 4;
const NAMED_MIN: u64 = TOTAL_MAX / 100;

/// The rules of all parts of a schema, as far as they were looked at.
#[derive(Default)]
pub struct Rules {
    errors: ErrorList,
    total: u64,
    /// The dearest first.
    dearest: Vec<(u64, Path)>,
}

impl Rules {
    /// Checks the rules of `x-kubernetes-validations`. `is_resource`: the schema is of a whole object, embedded or not;
    /// `count`: how often what it describes can be in one object, if the schema tells.
    pub fn check(&mut self, at: &Path, owner: &Value, is_resource: bool, count: Option<u64>) {
        let rules = owner.list("x-kubernetes-validations");
        if rules.is_empty() {
            return;
        }
        let mut environment = schema();
        let (mut of, mut least) = (Type::Dyn, 1);
        if let Some(declared) = declare(&mut environment, "selfType", owner, is_resource) {
            environment.set_shape(declared.shape);
            (of, least) = (declared.of, declared.least);
        }
        // As often as it fits into a request, with a comma each.
        let count = count.unwrap_or(REQUEST_MAX / (least + 1));
        environment.set("self", of.clone());
        environment.set("oldSelf", of.clone());
        let mut optional = environment.clone();
        optional.set("oldSelf", Type::optional(of));
        for (i, rule) in rules.iter().enumerate() {
            let environment = if rule.flag("optionalOldSelf") { &optional } else { &environment };
            self.compile(&at.index(i), environment, rule, count);
        }
    }

    /// A rule and its message.
    fn compile(&mut self, at: &Path, environment: &Environment, rule: &Value, count: u64) {
        let (expression, message) = (rule.text("rule"), rule.text("messageExpression"));
        if expression.trim().is_empty() {
            return;
        }
        let at_rule = at.child("rule");
        let why = match environment.estimate(expression) {
            Ok(found) if found.of == Type::Bool => {
                self.observe(at_rule, "rule", found.cost.max.saturating_mul(count));
                None
            }
            Ok(_) => Some("cel expression must evaluate to a bool".to_owned()),
            Err(why) => Some(why),
        };
        if let Some(why) = why {
            self.errors.push(Error::invalid(&at.child("rule"), rule.clone(), why));
            return;
        }
        if message.trim().is_empty() {
            return;
        }
        let at = at.child("messageExpression");
        let why = match environment.estimate(message) {
            Ok(found) if found.of == Type::String || found.of == Type::list(Type::String) => {
                // A message is told once.
                return self.observe(at, "messageExpression", found.cost.max);
            }
            Ok(_) => "messageExpression must evaluate to a string or a list of strings".to_owned(),
            Err(why) => format!("messageExpression {why}"),
        };
        self.errors.push(Error::invalid(&at, rule.clone(), why));
    }

    /// Counts what an expression costs.
    fn observe(&mut self, at: Path, what: &str, cost: u64) {
        if cost > COST_MAX {
            let why = over_budget(&format!("estimated {what} cost"), cost, COST_MAX);
            self.errors.push(Error::forbidden(&at, why));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= NAMED_MIN {
            let place = self.dearest.partition_point(|(known, _)| *known >= cost);
            self.dearest.insert(place, (cost, at));
            self.dearest.truncate(NAMED);
        }
    }

    /// Tells all that is wrong with the rules; `at` is the path of the schema.
    pub fn finish(self, errors: &mut ErrorList, at: &Path) {
        errors.extend(self.errors);
        if self.total <= TOTAL_MAX {
            return;
        }
        for (_, at) in &self.dearest {
            let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.push(Error::forbidden(at, why));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(Error::forbidden(at, over_budget(what, self.total, TOTAL_MAX)));
    }
}

fn over_budget(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        _ if factor > 100.0 => "more than 100x".to_owned(),
        // That it is more shows in the decimals.
        _ if factor < 1.5 => format!("{factor:.6}x"),
        _ => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearest_are_named() {
        let mut rules = Rules::default();
        for (name, cost) in
            [("a", 999_999), ("b", 2_000_000), ("c", 9_000_000), ("d", 1_000_000), ("e", 9_000_000), ("f", 90_000_000)]
        {
            rules.observe(Path::new(name), "rule", cost);
        }
        let mut errors = ErrorList::new();
        rules.finish(&mut errors, &Path::new("schema"));
        let paths: Vec<String> =
            errors.iter().map(|e| e.to_string().split_once(": ").unwrap_or_default().0.to_owned()).collect();
        assert_eq!(paths, ["f", "f", "c", "e", "b", "schema"]);
    }

    #[test]
    fn factors_are_told_as_upstream() {
        for (cost, want) in [
            (10_000_001, "1.000000x"),
            (14_999_990, "1.499999x"),
            (15_000_000, "1.5x"),
            (999_400_000, "99.9x"),
            (1_000_000_000, "100.0x"),
            (1_000_000_001, "more than 100x"),
            (u64::MAX, "more than 100x"),
        ] {
            let told = over_budget("cost", cost, COST_MAX);
            assert!(told.starts_with(&format!("cost exceeds budget by factor of {want} (")), "{cost}: {told}");
        }
    }
}
