//! Which types go together, and what type variables stand for: the rules of cel-go's checker, with bounds.

use std::sync::Arc;

use crate::types::Type;

/// Rules are not followed deeper than this; types that are go together.
const DEPTH_MAX: usize = 100;

/// What type variables stand for.
pub struct Variables {
    bound: Vec<Option<Type>>,
    /// What was bound before, to go back to.
    trail: Vec<(usize, Option<Type>)>,
    depth: usize,
    /// How much may still be done. What is not is taken to be right: who asks looks at this in the end.
    steps: usize,
}

impl Variables {
    pub fn new(steps: usize) -> Self {
        Self { bound: Vec::new(), trail: Vec::new(), depth: 0, steps }
    }

    pub fn is_exhausted(&self) -> bool {
        self.steps == 0
    }

    /// Counts a step; says whether it is to be done.
    fn enter(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        let enter = self.steps > 0 && self.depth < DEPTH_MAX;
        self.depth += usize::from(enter);
        enter
    }

    /// As many new variables; gives the number of the first.
    pub fn add(&mut self, count: u32) -> u32 {
        let first = u32::try_from(self.bound.len()).unwrap_or(u32::MAX);
        self.bound.resize(self.bound.len() + count as usize, None);
        first
    }

    pub fn new_one(&mut self) -> Type {
        Type::Param(self.add(1))
    }

    /// Whether each value can be where its type is wanted. If not, nothing is bound.
    pub fn assign_all<'t>(&mut self, pairs: impl Iterator<Item = (&'t Type, &'t Type)>) -> bool {
        let before = self.trail.len();
        for (wanted, given) in pairs {
            if !self.assignable(wanted, given) {
                self.go_back(before);
                return false;
            }
        }
        self.trail.clear();
        true
    }

    pub fn assign(&mut self, wanted: &Type, given: &Type) -> bool {
        self.assign_all([(wanted, given)].into_iter())
    }

    fn go_back(&mut self, length: usize) {
        for (number, before) in self.trail.drain(length..).rev() {
            self.bound[number] = before;
        }
    }

    fn bind(&mut self, number: u32, to: Type) {
        let slot = &mut self.bound[number as usize];
        self.trail.push((number as usize, slot.replace(to)));
    }

    fn find(&self, number: u32) -> Option<Type> {
        self.bound.get(number as usize).cloned().flatten()
    }

    fn assignable(&mut self, first: &Type, second: &Type) -> bool {
        if !self.enter() {
            return true;
        }
        let fits = self.follow(first, second);
        self.depth -= 1;
        fits
    }

    fn follow(&mut self, first: &Type, second: &Type) -> bool {
        if let Type::Param(number) = second {
            match self.stands_for(*number, first) {
                Ok(()) => return true,
                Err(Bound(true)) => return false,
                Err(Bound(false)) => {}
            }
        }
        if let Type::Param(number) = first {
            return self.stands_for(*number, second).is_ok();
        }
        match (first, second) {
            (Type::Dyn | Type::Any | Type::Error, _) | (_, Type::Dyn | Type::Any | Type::Error) => true,
            (Type::Null, other) | (other, Type::Null) => is_nullable(other),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.assignable(a, b),
            (Type::Map(a), Type::Map(b)) => self.assignable(&a.0, &b.0) && self.assignable(&a.1, &b.1),
            _ => first == second,
        }
    }

    /// Has a variable stand for a type, or for the more general of it and what it stood for.
    fn stands_for(&mut self, number: u32, wanted: &Type) -> Result<(), Bound> {
        if *wanted == Type::Param(number) {
            return Ok(());
        }
        match self.find(number) {
            Some(known) if known == *wanted => Ok(()),
            Some(known) => {
                if !self.assignable(wanted, &known) {
                    return Err(Bound(true));
                }
                let general = if is_as_general(wanted, &known) { wanted.clone() } else { known };
                if !self.mentions(&general, number) {
                    self.bind(number, general);
                }
                Ok(())
            }
            None if self.mentions(wanted, number) => Err(Bound(false)),
            None => {
                self.bind(number, wanted.clone());
                Ok(())
            }
        }
    }

    /// Whether a variable is a part of a type, or of what variables in it stand for.
    fn mentions(&mut self, within: &Type, number: u32) -> bool {
        if !self.enter() {
            return false;
        }
        let found = match within {
            Type::Param(other) if *other == number => true,
            Type::Param(other) => self.find(*other).is_some_and(|bound| self.mentions(&bound, number)),
            Type::List(of) | Type::Optional(of) => self.mentions(of, number),
            Type::Map(entry) => self.mentions(&entry.0, number) || self.mentions(&entry.1, number),
            _ => false,
        };
        self.depth -= 1;
        found
    }

    /// The type with what variables stand for. Those that stand for nothing stay, or are `dyn` in the end.
    pub fn resolve(&mut self, of: &Type, to_dyn: bool) -> Type {
        let resolved = self.resolve_part(of, to_dyn, &mut 0);
        if resolved.is_too_large() { Type::Dyn } else { resolved }
    }

    fn resolve_part(&mut self, of: &Type, to_dyn: bool, parts: &mut usize) -> Type {
        const PARTS_MAX: usize = 512;
        *parts += 1;
        if *parts > PARTS_MAX || !self.enter() {
            return Type::Dyn;
        }
        let mut part = |of: &Type| self.resolve_part(of, to_dyn, parts);
        let resolved = match of {
            Type::List(of) => Type::list(part(of)),
            Type::Optional(of) => Type::optional(part(of)),
            Type::Type(Some(of)) => Type::Type(Some(Arc::new(part(of)))),
            Type::Map(entry) => Type::map(part(&entry.0), part(&entry.1)),
            Type::Param(number) => match self.find(*number) {
                Some(bound) => self.resolve_part(&bound, to_dyn, parts),
                None if to_dyn => Type::Dyn,
                None => of.clone(),
            },
            _ => of.clone(),
        };
        self.depth -= 1;
        resolved
    }
}

/// Whether the variable stood for something already.
struct Bound(bool);

/// `null` can be where these are wanted.
fn is_nullable(of: &Type) -> bool {
    matches!(of, Type::Null | Type::Opaque(_) | Type::Optional(_) | Type::Object(_) | Type::Duration | Type::Timestamp)
}

/// Of two types that go together, whether the first says as little as the second or less.
pub fn is_as_general(first: &Type, second: &Type) -> bool {
    match (first, second) {
        (Type::Dyn | Type::Any | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Any | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => is_as_general(a, b),
        (Type::Map(a), Type::Map(b)) => is_as_general(&a.0, &b.0) && is_as_general(&a.1, &b.1),
        (Type::Type(_), Type::Type(_)) => true,
        _ => first == second,
    }
}
