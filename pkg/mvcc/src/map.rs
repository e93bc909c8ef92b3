//! A persistent B-tree of records ordered by key. A clone costs one reference count and is a snapshot; a change copies
//! only the path to its leaf, and nothing when no snapshot shares it. Subtree sizes make "how many follow" logarithmic.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Digest, Record};

/// Most records in a leaf and children in a branch. Copying a shared leaf touches each record's count, so leaves are
/// kept small.
/// (Tests use narrow nodes for high trees.)
const WIDTH: usize = if cfg!(test) { 4 } else { 32 };

#[derive(Clone, Default)]
pub(crate) struct Map {
    root: Option<Arc<Node>>,
    /// Of all records.
    digest: Digest,
    bytes: u64,
}

#[derive(Clone)]
enum Node {
    Leaf(Vec<Arc<Record>>),
    Branch { length: usize, children: Vec<Child> },
}

/// A child and a key that separates it from the one before: not greater than any of its keys. Of a first child it means
/// nothing, since smaller keys are put there too.
#[derive(Clone)]
struct Child {
    from: Bytes,
    node: Arc<Node>,
}

/// What putting a record did to a node.
struct Replaced {
    record: Arc<Record>,
    previous: Option<Arc<Record>>,
    /// The right half, when the node had to be split.
    split: Option<Child>,
}

impl Map {
    pub(crate) fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.len())
    }

    /// The sum of the records' digests.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Memory that the records hold, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<Record>> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Leaf(records) => {
                    return records.binary_search_by(|record| record.key().cmp(key)).ok().map(|at| &records[at]);
                }
                Node::Branch { children, .. } => node = &children[child_for(children, key)].node,
            }
        }
    }

    /// Puts `record` under its key and returns what was there.
    pub(crate) fn insert(&mut self, record: Arc<Record>) -> Option<Arc<Record>> {
        let written = record.clone();
        self.replace(written.key(), |_| record).1
    }

    /// Puts the record of `key` that `make` makes of what is there. Returns it, and what was there.
    pub(crate) fn replace(
        &mut self,
        key: &[u8],
        make: impl FnOnce(Option<&Record>) -> Arc<Record>,
    ) -> (Arc<Record>, Option<Arc<Record>>) {
        let (record, previous) = self.replace_node(key, make);
        self.digest += record.digest();
        self.bytes += record.weight() as u64;
        self.forget(previous.as_deref());
        (record, previous)
    }

    fn forget(&mut self, record: Option<&Record>) {
        if let Some(record) = record {
            self.digest -= record.digest();
            self.bytes -= record.weight() as u64;
        }
    }

    fn replace_node(
        &mut self,
        key: &[u8],
        make: impl FnOnce(Option<&Record>) -> Arc<Record>,
    ) -> (Arc<Record>, Option<Arc<Record>>) {
        let Some(root) = &mut self.root else {
            let record = make(None);
            self.root = Some(Arc::new(Node::Leaf(vec![record.clone()])));
            return (record, None);
        };
        let Replaced { record, previous, split } = Arc::make_mut(root).replace(key, make);
        if let Some(right) = split {
            let length = root.len() + right.node.len();
            let left = Child { from: Bytes::new(), node: root.clone() };
            *root = Arc::new(Node::Branch { length, children: vec![left, right] });
        }
        (record, previous)
    }

    /// Takes the key's record out.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Arc<Record>> {
        // A miss must not copy the path.
        self.get(key)?;
        let root = self.root.as_mut()?;
        let removed = Arc::make_mut(root).remove(key);
        if root.len() == 0 {
            self.root = None;
        } else if let Node::Branch { children, .. } = &**root
            && children.len() == 1
        {
            let only = children[0].node.clone();
            *root = only;
        }
        self.forget(removed.as_deref());
        removed
    }

    /// How many keys are smaller than `key`.
    pub(crate) fn rank(&self, key: &[u8]) -> usize {
        let Some(mut node) = self.root.as_deref() else { return 0 };
        let mut before = 0;
        loop {
            match node {
                Node::Leaf(records) => return before + records.partition_point(|record| record.key() < key),
                Node::Branch { children, .. } => {
                    let at = child_for(children, key);
                    before += children[..at].iter().map(|child| child.node.len()).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// All records from the first key that is not smaller than `start`, in order.
    pub(crate) fn iter_from(&self, start: &[u8]) -> Iter {
        let mut iter = Iter { stack: Vec::new(), leaf: None };
        let Some(mut node) = self.root.as_ref() else { return iter };
        loop {
            match &**node {
                Node::Leaf(records) => {
                    let at = records.partition_point(|record| record.key() < start);
                    iter.leaf = Some((node.clone(), at));
                    return iter;
                }
                Node::Branch { children, .. } => {
                    let at = child_for(children, start);
                    iter.stack.push((node.clone(), at + 1));
                    node = &children[at].node;
                }
            }
        }
    }
}

/// The child whose range holds `key`: the last that starts at or before it.
fn child_for(children: &[Child], key: &[u8]) -> usize {
    children.partition_point(|child| &*child.from <= key).saturating_sub(1)
}

impl Child {
    fn leaf(records: Vec<Arc<Record>>) -> Self {
        // The record's key is copied: the separator may outlive it.
        Self { from: Bytes::copy_from_slice(records[0].key()), node: Arc::new(Node::Leaf(records)) }
    }
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(records) => records.len(),
            Self::Branch { length, .. } => *length,
        }
    }

    fn replace(&mut self, key: &[u8], make: impl FnOnce(Option<&Record>) -> Arc<Record>) -> Replaced {
        match self {
            Self::Leaf(records) => match records.binary_search_by(|probe| probe.key().cmp(key)) {
                Ok(at) => {
                    let record = make(Some(&records[at]));
                    let previous = std::mem::replace(&mut records[at], record.clone());
                    Replaced { record, previous: Some(previous), split: None }
                }
                Err(at) => {
                    let record = make(None);
                    records.insert(at, record.clone());
                    Replaced { record, previous: None, split: split(records, at).map(Child::leaf) }
                }
            },
            Self::Branch { length, children } => {
                let at = child_for(children, key);
                let mut replaced = Arc::make_mut(&mut children[at].node).replace(key, make);
                *length += usize::from(replaced.previous.is_none());
                let Some(new_child) = replaced.split.take() else { return replaced };
                children.insert(at + 1, new_child);
                replaced.split = split(children, at + 1).map(|right| {
                    let moved = right.iter().map(|child| child.node.len()).sum();
                    *length -= moved;
                    Child {
                        from: right[0].from.clone(),
                        node: Arc::new(Self::Branch { length: moved, children: right }),
                    }
                });
                replaced
            }
        }
    }

    /// Removes a key that is known to be there. May leave the node empty.
    fn remove(&mut self, key: &[u8]) -> Option<Arc<Record>> {
        match self {
            Self::Leaf(records) => {
                let at = records.binary_search_by(|record| record.key().cmp(key)).ok()?;
                Some(records.remove(at))
            }
            Self::Branch { length, children } => {
                let at = child_for(children, key);
                let removed = Arc::make_mut(&mut children[at].node).remove(key)?;
                *length -= 1;
                if children[at].node.len() == 0 {
                    children.remove(at);
                } else {
                    merge_around(children, at);
                }
                Some(removed)
            }
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Leaf(records) => records.len(),
            Self::Branch { children, .. } => children.len(),
        }
    }
}

/// Splits an overfull node. Keys that come in ascending order fill nodes to the brim instead of to the half.
fn split<T>(items: &mut Vec<T>, inserted_at: usize) -> Option<Vec<T>> {
    if items.len() <= WIDTH {
        return None;
    }
    let at = if inserted_at + 1 == items.len() { items.len() - 1 } else { items.len() / 2 };
    let mut right = Vec::with_capacity(WIDTH + 1);
    right.extend(items.drain(at..));
    Some(right)
}

/// Joins a thin child with a neighbour when both fit into one node with room to spare.
fn merge_around(children: &mut Vec<Child>, at: usize) {
    if children[at].node.width() > WIDTH / 4 || children.len() < 2 {
        return;
    }
    let left = if at + 1 < children.len() { at } else { at - 1 };
    if children[left].node.width() + children[left + 1].node.width() > WIDTH * 3 / 4 {
        return;
    }
    let Child { from, node } = children.remove(left + 1);
    match (Arc::make_mut(&mut children[left].node), &*node) {
        (Node::Leaf(records), Node::Leaf(more)) => records.extend(more.iter().cloned()),
        (Node::Branch { length, children }, Node::Branch { length: more_length, children: more }) => {
            *length += more_length;
            let joint = children.len();
            children.extend(more.iter().cloned());
            // It is no first child any more, so its separator has to be right from here on.
            children[joint].from = from;
        }
        // Siblings are of one height.
        _ => unreachable!("a leaf beside a branch"),
    }
}

/// What is left of maps that nobody needs any more. To free a large one at once would hold up whoever does it.
#[derive(Default)]
pub(crate) struct Garbage(Vec<Arc<Node>>);

impl Garbage {
    pub(crate) fn add(&mut self, map: Map) {
        self.0.extend(map.root);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Frees at most so many nodes, and the records of which each leaf has at most [`WIDTH`]. Says how many it freed.
    pub(crate) fn free(&mut self, nodes_max: usize) -> usize {
        for freed in 0..nodes_max {
            let Some(node) = self.0.pop() else { return freed };
            // What another map still has is left to it.
            if let Some(Node::Branch { children, .. }) = Arc::into_inner(node) {
                self.0.extend(children.into_iter().map(|child| child.node));
            }
        }
        nodes_max
    }
}

/// Owns what it walks over, so that it outlives the map.
pub(crate) struct Iter {
    /// Branches above the leaf with the next child to visit.
    stack: Vec<(Arc<Node>, usize)>,
    leaf: Option<(Arc<Node>, usize)>,
}

impl Iter {
    fn descend(&mut self, mut node: Arc<Node>) {
        loop {
            let next = match &*node {
                Node::Leaf(_) => {
                    self.leaf = Some((node, 0));
                    return;
                }
                Node::Branch { children, .. } => children[0].node.clone(),
            };
            self.stack.push((node, 1));
            node = next;
        }
    }
}

impl Iterator for Iter {
    type Item = Arc<Record>;

    fn next(&mut self) -> Option<Arc<Record>> {
        loop {
            if let Some((leaf, at)) = &mut self.leaf
                && let Node::Leaf(records) = &**leaf
                && let Some(record) = records.get(*at)
            {
                *at += 1;
                return Some(record.clone());
            }
            self.leaf = None;
            let (branch, at) = self.stack.last_mut()?;
            let Node::Branch { children, .. } = &**branch else { return None };
            match children.get(*at).cloned() {
                Some(child) => {
                    *at += 1;
                    self.descend(child.node);
                }
                None => {
                    self.stack.pop();
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
