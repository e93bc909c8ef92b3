//! Sets of fields, as trees of path elements.

use super::element::{Path, PathElement};

/// A set of fields of an object. A field can be a member without what lies below it, and the other way round.
///
/// Nodes are in the order of their elements, and each is a member or has some below: equal sets are equal trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    nodes: Vec<Node>,
}

/// What a set says about one field: whether it is a member, and which of the fields below it are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    pub member: bool,
    pub below: FieldSet,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub element: PathElement,
    pub spot: Spot,
}

impl Spot {
    pub const MEMBER: Self = Self { member: true, below: FieldSet { nodes: Vec::new() } };

    pub fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    fn union(self, other: Self) -> Self {
        Self { member: self.member || other.member, below: self.below.union(other.below) }
    }
}

impl FieldSet {
    pub fn of(paths: impl IntoIterator<Item = Path>) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.spot.member) + node.spot.below.len()).sum()
    }

    pub fn get(&self, element: &PathElement) -> Option<&Spot> {
        let at = self.nodes.binary_search_by(|node| node.element.cmp(element)).ok()?;
        Some(&self.nodes[at].spot)
    }

    /// The spot of a field by name, without making an element of it.
    pub fn get_field(&self, name: &str) -> Option<&Spot> {
        let order = |node: &Node| match &node.element {
            PathElement::Field(field) => field.as_str().cmp(name),
            // Fields come first.
            _ => std::cmp::Ordering::Greater,
        };
        let at = self.nodes.binary_search_by(order).ok()?;
        Some(&self.nodes[at].spot)
    }

    pub fn contains(&self, path: &Path) -> bool {
        let mut set = self;
        let mut elements = path.0.iter().peekable();
        while let Some(element) = elements.next() {
            let Some(spot) = set.get(element) else { return false };
            if elements.peek().is_none() {
                return spot.member;
            }
            set = &spot.below;
        }
        false
    }

    /// Adds one field; the fields above it are not added with it.
    pub fn insert(&mut self, path: Path) {
        let mut set = self;
        let mut elements = path.0.into_iter().peekable();
        while let Some(element) = elements.next() {
            let spot = set.spot(element);
            if elements.peek().is_none() {
                spot.member = true;
                return;
            }
            set = &mut spot.below;
        }
    }

    /// Adds what `spot` says about `element` to what is said already.
    pub fn add(&mut self, element: PathElement, spot: Spot) {
        if spot.is_empty() {
            return;
        }
        // Walks are in order nearly always.
        if self.nodes.last().is_none_or(|last| last.element < element) {
            self.nodes.push(Node { element, spot });
            return;
        }
        let slot = self.spot(element);
        *slot = std::mem::take(slot).union(spot);
    }

    fn spot(&mut self, element: PathElement) -> &mut Spot {
        let at = match self.nodes.binary_search_by(|node| node.element.cmp(&element)) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, Node { element, spot: Spot::default() });
                at
            }
        };
        &mut self.nodes[at].spot
    }

    /// Members of either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let mut nodes = Vec::with_capacity(self.nodes.len().max(other.nodes.len()));
        let (mut left, mut right) = (self.nodes.into_iter().peekable(), other.nodes.into_iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            match a.element.cmp(&b.element) {
                std::cmp::Ordering::Less => nodes.extend(left.next()),
                std::cmp::Ordering::Greater => nodes.extend(right.next()),
                std::cmp::Ordering::Equal => {
                    if let (Some(a), Some(b)) = (left.next(), right.next()) {
                        nodes.push(Node { element: a.element, spot: a.spot.union(b.spot) });
                    }
                }
            }
        }
        nodes.extend(left);
        nodes.extend(right);
        Self { nodes }
    }

    /// Members of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.matched(other, &|a, b| Spot {
            member: a.member && b.is_some_and(|b| b.member),
            below: b.map_or_else(Self::default, |b| a.below.intersection(&b.below)),
        })
    }

    /// Members that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        self.matched(other, &|a, b| match b {
            None => a.clone(),
            Some(b) => Spot { member: a.member && !b.member, below: a.below.difference(&b.below) },
        })
    }

    /// Members that are neither in `other` nor below a member of it.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        self.matched(other, &|a, b| match b {
            None => a.clone(),
            Some(b) if b.member => Spot::default(),
            Some(b) => Spot { member: a.member, below: a.below.recursive_difference(&b.below) },
        })
    }

    /// Members with no member below them.
    #[must_use]
    pub fn leaves(&self) -> Self {
        let keep = |node: &Node| {
            let member = node.spot.member && node.spot.below.is_empty();
            let spot = Spot { member, below: node.spot.below.leaves() };
            (!spot.is_empty()).then(|| Node { element: node.element.clone(), spot })
        };
        Self { nodes: self.nodes.iter().filter_map(keep).collect() }
    }

    /// What lies below `element`, as a set of its own.
    #[must_use]
    pub fn with_prefix(&self, element: &PathElement) -> Self {
        self.get(element).map(|spot| spot.below.clone()).unwrap_or_default()
    }

    /// All members, each before those below it.
    pub fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::with_capacity(self.len());
        self.collect(&mut Path::default(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Path, paths: &mut Vec<Path>) {
        // As upstream: first the members of a level, then what is below.
        for node in self.nodes.iter().filter(|node| node.spot.member) {
            let mut path = prefix.clone();
            path.0.push(node.element.clone());
            paths.push(path);
        }
        for node in self.nodes.iter().filter(|node| !node.spot.below.is_empty()) {
            prefix.0.push(node.element.clone());
            node.spot.below.collect(prefix, paths);
            prefix.0.pop();
        }
    }

    /// Each node beside the one that `other` has for the same element; empty results are left out.
    fn matched(&self, other: &Self, combine: &dyn Fn(&Spot, Option<&Spot>) -> Spot) -> Self {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        let mut rest = other.nodes.as_slice();
        for node in &self.nodes {
            while rest.first().is_some_and(|first| first.element < node.element) {
                rest = &rest[1..];
            }
            let twin = rest.first().filter(|first| first.element == node.element);
            let spot = combine(&node.spot, twin.map(|twin| &twin.spot));
            if !spot.is_empty() {
                nodes.push(Node { element: node.element.clone(), spot });
            }
        }
        Self { nodes }
    }

    /// `nodes` are in order, and none is empty.
    pub(super) fn from_nodes(nodes: Vec<Node>) -> Self {
        Self { nodes }
    }
}
