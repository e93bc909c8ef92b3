//! Who owns whom, by UID, without I/O: watch events go in, work for the collector comes out.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use compact_str::CompactString;

use crate::pod::Owner as WireOwner;

/// `metadata.uid` of an object.
pub(super) type Uid = CompactString;

/// Marks an object whose dependents go first.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Marks an object whose dependents are let go first.
pub(super) const ORPHAN: &str = "orphan";

/// A reference to an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub api_version: CompactString,
    pub kind: CompactString,
    pub name: CompactString,
    pub uid: Uid,
    /// The owner's foreground deletion waits for this dependent.
    pub blocks: bool,
}

/// What an event tells of an object.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub uid: Uid,
    pub namespace: CompactString,
    pub name: CompactString,
    pub owners: Vec<Owner>,
    pub deleting: bool,
    pub foreground: bool,
    pub orphan: bool,
}

/// What an object is: enough to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub api_version: CompactString,
    pub kind: CompactString,
    pub namespace: CompactString,
    pub name: CompactString,
}

#[derive(Debug)]
pub(super) struct Node {
    pub identity: Identity,
    pub owners: Vec<Owner>,
    pub dependents: HashSet<Uid>,
    pub deleting: bool,
    /// Is being deleted in the foreground: waits for its dependents.
    pub waits: bool,
    /// Known from references only; whether it exists has to be asked.
    pub is_virtual: bool,
}

/// What the collector has to look at after an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Objects that may have to be deleted, or to be asked for.
    pub delete: Vec<Uid>,
    /// Objects whose dependents have to be let go.
    pub orphan: Vec<Uid>,
    /// Owners that do not exist any more.
    pub absent: Vec<Uid>,
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Boxed: a table of some hundred thousand of them is moved each time that it grows.
    nodes: HashMap<Uid, Box<Node>>,
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid).map(Box::as_ref)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The objects of a kind that were seen. Looks at all there are.
    pub(super) fn of_kind(&self, api_version: &str, kind: &str) -> Vec<Uid> {
        let is_one =
            |node: &Node| !node.is_virtual && node.identity.kind == kind && node.identity.api_version == api_version;
        self.nodes.iter().filter(|(_, node)| is_one(node)).map(|(uid, _)| uid.clone()).collect()
    }

    /// An object was added or changed.
    pub(super) fn upsert(&mut self, api_version: &str, kind: &str, seen: Seen) -> Work {
        let mut work = Work::default();
        let identity = Identity {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: seen.namespace.clone(),
            name: seen.name.clone(),
        };
        let waits = seen.deleting && seen.foreground;
        let (before, began_to_wait) = match self.nodes.entry(seen.uid.clone()) {
            Entry::Occupied(mut known) => {
                let node = known.get_mut();
                let began = waits && !node.waits;
                node.identity = identity;
                node.deleting = seen.deleting;
                node.waits |= waits;
                node.is_virtual = false;
                (std::mem::replace(&mut node.owners, seen.owners.clone()), began)
            }
            Entry::Vacant(place) => {
                let node = Node {
                    identity,
                    owners: seen.owners.clone(),
                    dependents: HashSet::new(),
                    deleting: seen.deleting,
                    waits,
                    is_virtual: false,
                };
                place.insert(Box::new(node));
                (Vec::new(), waits)
            }
        };
        self.relink(&seen, &before, &mut work);
        if seen.deleting && seen.orphan {
            work.orphan.push(seen.uid.clone());
        }
        if began_to_wait {
            work.delete.extend(self.dependents(&seen.uid));
        }
        // It may have come back from having no owner, or wait for its dependents: look at it where that can matter.
        if began_to_wait || (before != seen.owners && !before.is_empty()) {
            work.delete.push(seen.uid);
        }
        work
    }

    /// Moves the object between its former and present owners.
    fn relink(&mut self, seen: &Seen, before: &[Owner], work: &mut Work) {
        for owner in &seen.owners {
            let entry = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
                // Named but not seen: it may not have been listed yet, or be gone for good.
                work.delete.push(owner.uid.clone());
                Box::new(Node {
                    identity: Identity {
                        api_version: owner.api_version.clone(),
                        kind: owner.kind.clone(),
                        namespace: seen.namespace.clone(),
                        name: owner.name.clone(),
                    },
                    owners: Vec::new(),
                    dependents: HashSet::new(),
                    deleting: false,
                    waits: false,
                    is_virtual: true,
                })
            });
            entry.dependents.insert(seen.uid.clone());
        }
        for old in before {
            let kept = seen.owners.iter().find(|owner| owner.uid == old.uid);
            let Some(owner) = self.nodes.get_mut(&old.uid) else { continue };
            if kept.is_none() {
                owner.dependents.remove(&seen.uid);
            }
            // An owner that waited for this dependent may have to wait no more.
            if owner.waits && old.blocks && kept.is_none_or(|owner| !owner.blocks) {
                work.delete.push(old.uid.clone());
            }
        }
    }

    /// An object is gone: from an event, or because it was asked for and is not there.
    pub(super) fn remove(&mut self, uid: &str) -> Work {
        let mut work = Work::default();
        let Some(node) = self.nodes.remove(uid) else { return work };
        for owner in &node.owners {
            if let Some(parent) = self.nodes.get_mut(&owner.uid) {
                parent.dependents.remove(uid);
                if parent.waits {
                    work.delete.push(owner.uid.clone());
                }
                // One that was only ever named goes with the last that named it.
                if parent.is_virtual && parent.dependents.is_empty() {
                    self.nodes.remove(&owner.uid);
                }
            }
        }
        if !node.dependents.is_empty() {
            work.absent.push(uid.into());
        }
        work.delete.extend(node.dependents);
        work
    }

    /// The objects that name this one as an owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<Uid> {
        self.nodes.get(uid).map(|node| node.dependents.iter().cloned().collect()).unwrap_or_default()
    }

    /// Dependents for which the object's foreground deletion has to wait.
    pub(super) fn blocking(&self, uid: &str) -> Vec<Uid> {
        let blocks = |dependent: &Uid| {
            let owners = self.nodes.get(dependent).map(|node| node.owners.as_slice()).unwrap_or_default();
            owners.iter().any(|owner| owner.uid == uid && owner.blocks)
        };
        self.dependents(uid).into_iter().filter(blocks).collect()
    }
}

impl Owner {
    pub(super) fn of_pod(owner: &WireOwner) -> Self {
        Self {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            blocks: owner.blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str, blocks: bool) -> Owner {
        Owner { api_version: "apps/v1".into(), kind: "ReplicaSet".into(), name: uid.into(), uid: uid.into(), blocks }
    }

    fn seen(uid: &str, owners: &[Owner]) -> Seen {
        Seen {
            uid: uid.into(),
            namespace: "ns".into(),
            name: uid.into(),
            owners: owners.to_vec(),
            deleting: false,
            foreground: false,
            orphan: false,
        }
    }

    fn sorted(mut uids: Vec<Uid>) -> Vec<Uid> {
        uids.sort();
        uids
    }

    #[test]
    fn an_owner_that_is_only_named_is_asked_for() {
        let mut graph = Graph::default();
        let work = graph.upsert("v1", "Pod", seen("pod", &[owner("rs", true)]));
        assert_eq!(work.delete, ["rs"]);
        assert!(graph.get("rs").unwrap().is_virtual);
        // It turns up: nothing to do.
        assert_eq!(graph.upsert("apps/v1", "ReplicaSet", seen("rs", &[])), Work::default());
        assert!(!graph.get("rs").unwrap().is_virtual);
        assert_eq!(graph.dependents("rs"), ["pod"]);
    }

    #[test]
    fn what_an_object_leaves_behind_is_looked_at() {
        let mut graph = Graph::default();
        graph.upsert("apps/v1", "ReplicaSet", seen("rs", &[]));
        graph.upsert("v1", "Pod", seen("a", &[owner("rs", true)]));
        graph.upsert("v1", "Pod", seen("b", &[owner("rs", true)]));
        let work = graph.remove("rs");
        assert_eq!(sorted(work.delete), ["a", "b"]);
        assert_eq!(work.absent, ["rs"]);
        graph.remove("a");
        graph.remove("b");
        assert_eq!(graph.len(), 0);
    }

    #[test]
    fn foreground_deletion_waits_for_those_that_block() {
        let mut graph = Graph::default();
        graph.upsert("apps/v1", "ReplicaSet", seen("rs", &[]));
        graph.upsert("v1", "Pod", seen("blocks", &[owner("rs", true)]));
        graph.upsert("v1", "Pod", seen("free", &[owner("rs", false)]));
        let waiting = Seen { deleting: true, foreground: true, ..seen("rs", &[]) };
        let work = graph.upsert("apps/v1", "ReplicaSet", waiting.clone());
        assert_eq!(sorted(work.delete), ["blocks", "free", "rs"]);
        assert_eq!(graph.blocking("rs"), ["blocks"]);
        assert_eq!(graph.upsert("apps/v1", "ReplicaSet", waiting), Work::default(), "once");
        assert_eq!(graph.remove("blocks").delete, ["rs"]);
        assert!(graph.blocking("rs").is_empty());
    }

    #[test]
    fn a_reference_that_is_taken_off_frees_both_sides() {
        let mut graph = Graph::default();
        graph.upsert("apps/v1", "ReplicaSet", Seen { deleting: true, foreground: true, ..seen("rs", &[]) });
        graph.upsert("v1", "Pod", seen("pod", &[owner("rs", true)]));
        let work = graph.upsert("v1", "Pod", seen("pod", &[]));
        assert_eq!(sorted(work.delete), ["pod", "rs"]);
        assert!(graph.dependents("rs").is_empty());
    }

    #[test]
    fn orphaning_is_asked_for() {
        let mut graph = Graph::default();
        graph.upsert("apps/v1", "ReplicaSet", seen("rs", &[]));
        let work = graph.upsert("apps/v1", "ReplicaSet", Seen { deleting: true, orphan: true, ..seen("rs", &[]) });
        assert_eq!((work.orphan.as_slice(), work.delete.len()), (&[Uid::from("rs")][..], 0));
    }
}
