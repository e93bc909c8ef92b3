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

    /// An empty set with room for so many elements at its root.
    pub(super) fn with_capacity(elements: usize) -> Self {
        Self { nodes: Vec::with_capacity(elements) }
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
        let mut rest = other.nodes.as_slice();
        let both = self.nodes.iter().filter_map(|node| {
            let twin = twin(&mut rest, &node.element)?;
            let below = node.spot.below.intersection(&twin.below);
            let spot = Spot { member: node.spot.member && twin.member, below };
            (!spot.is_empty()).then(|| Node { element: node.element.clone(), spot })
        });
        Self { nodes: both.collect() }
    }

    /// Members that are not in `other`.
    #[must_use]
    pub fn difference(self, other: &Self) -> Self {
        self.reduced(other, &|spot, gone| {
            spot.member &= !gone.member;
            spot.below = std::mem::take(&mut spot.below).difference(&gone.below);
        })
    }

    /// Members that are neither in `other` nor below a member of it.
    #[must_use]
    pub fn recursive_difference(self, other: &Self) -> Self {
        self.reduced(other, &|spot, gone| {
            let below = std::mem::take(&mut spot.below);
            if gone.member {
                spot.member = false;
            } else {
                spot.below = below.recursive_difference(&gone.below);
            }
        })
    }

    /// Lets `reduce` see each node that `other` has, too; what is then empty goes.
    fn reduced(mut self, other: &Self, reduce: &dyn Fn(&mut Spot, &Spot)) -> Self {
        let mut rest = other.nodes.as_slice();
        if rest.is_empty() {
            return self;
        }
        self.nodes.retain_mut(|node| {
            if let Some(twin) = twin(&mut rest, &node.element) {
                reduce(&mut node.spot, twin);
            }
            !node.spot.is_empty()
        });
        self
    }

    /// The same with each node as `change` leaves it; what is then empty goes.
    #[must_use]
    pub(super) fn changed(mut self, mut change: impl FnMut(&PathElement, &mut Spot)) -> Self {
        self.nodes.retain_mut(|node| {
            change(&node.element, &mut node.spot);
            !node.spot.is_empty()
        });
        self
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

    /// `nodes` are in order, and none is empty.
    pub(super) fn from_nodes(nodes: Vec<Node>) -> Self {
        Self { nodes }
    }
}

/// What a set says about `element`; `rest` are its nodes from there on. Elements are asked for in their order.
fn twin<'s>(rest: &mut &'s [Node], element: &PathElement) -> Option<&'s Spot> {
    while rest.first().is_some_and(|first| first.element < *element) {
        *rest = &rest[1..];
    }
    rest.first().filter(|first| first.element == *element).map(|first| &first.spot)
}
