//! How large the data can be that expressions are about.

use std::collections::HashMap;
use std::sync::Arc;

/// What is known of a value's size: the most characters, bytes, items or entries, and the same of what it is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    most: u64,
    parts: Parts,
}

#[derive(Clone, Debug)]
enum Parts {
    None,
    List(Arc<Shape>),
    Map {
        key: Arc<Shape>,
        value: Arc<Shape>,
        /// Values that are selected like fields are known, too.
        named: bool,
    },
    Object(HashMap<String, Arc<Shape>>),
}

impl Shape {
    /// Something without parts.
    #[must_use]
    pub const fn simple(most: u64) -> Self {
        Self { most, parts: Parts::None }
    }

    #[must_use]
    pub fn list(item: Self, most: u64) -> Self {
        Self { most, parts: Parts::List(Arc::new(item)) }
    }

    #[must_use]
    pub fn map(key: Self, value: Self, most: u64) -> Self {
        Self { most, parts: Parts::Map { key: Arc::new(key), value: Arc::new(value), named: false } }
    }

    /// A map whose values are as well known when they are selected by a name as by an index.
    #[must_use]
    pub(crate) fn named_map(key: Self, value: Self, most: u64) -> Self {
        Self { most, parts: Parts::Map { key: Arc::new(key), value: Arc::new(value), named: true } }
    }

    /// An object has no size of its own, as upstream counts.
    #[must_use]
    pub fn object(fields: impl IntoIterator<Item = (String, Self)>) -> Self {
        let fields = fields.into_iter().map(|(name, shape)| (name, Arc::new(shape))).collect();
        Self { most: 0, parts: Parts::Object(fields) }
    }

    fn part(&self, step: Step<'_>) -> Option<&Self> {
        match (&self.parts, step) {
            (Parts::List(item), Step::Item) => Some(item),
            (Parts::Map { value, .. }, Step::Item) => Some(value),
            (Parts::Map { key, .. }, Step::Key) => Some(key),
            (Parts::Map { value, named: true, .. }, Step::Field(_)) => Some(value),
            (Parts::Object(fields), Step::Field(name)) => fields.get(name).map(AsRef::as_ref),
            _ => None,
        }
    }
}

/// A way from a value into it.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// To the items of a list or the values of a map.
    Item,
    Key,
    /// To the position in a list, of which no shape tells.
    Position,
    Field(&'a str),
}

/// The shapes of an environment's variables.
#[derive(Clone, Debug, Default)]
pub enum Shapes {
    #[default]
    Unknown,
    /// Of variables by name; nothing is known of others.
    Named(Vec<(&'static str, Arc<Shape>)>),
    /// All that begins somewhere begins here: as upstream has it for schemas, even what is no variable.
    Anywhere(Arc<Shape>),
}

/// Where in the data a value is.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// It is made by the expression.
    Nowhere,
    /// In data of which no shape tells.
    Lost,
    At(&'a Shape),
}

impl Shapes {
    pub fn variable(&self, name: &str) -> Place<'_> {
        match self {
            Self::Unknown => Place::Lost,
            Self::Named(known) => match known.iter().find(|(known, _)| *known == name) {
                Some((_, shape)) => Place::At(shape),
                None => Place::Lost,
            },
            Self::Anywhere(shape) => Place::At(shape),
        }
    }

    /// Upstream takes the first step from a value that is nowhere for a variable; that is only seen with
    /// [`Shapes::Anywhere`].
    pub fn step<'a>(&'a self, from: Place<'a>, step: Step<'_>) -> Place<'a> {
        match from {
            Place::Nowhere => match self {
                Self::Anywhere(shape) => Place::At(shape),
                Self::Unknown | Self::Named(_) => Place::Lost,
            },
            Place::Lost => Place::Lost,
            Place::At(shape) => shape.part(step).map_or(Place::Lost, Place::At),
        }
    }
}

impl Place<'_> {
    /// The most that can be there.
    pub fn most(&self) -> Option<u64> {
        match self {
            Self::At(shape) => Some(shape.most),
            Self::Nowhere | Self::Lost => None,
        }
    }
}
