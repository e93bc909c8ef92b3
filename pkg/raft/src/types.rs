//! What openraft is told about our log.
#![allow(deprecated)] // The macro's default runtime goes by a name that openraft means to move.

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

openraft::declare_raft_types!(
    /// The types of the one Raft group.
    pub(crate) TypeConfig:
        D = Command,
        R = Response,
        NodeId = u64,
        Node = PeerNode,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, PeerNode>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, mvcc::Snapshot>;
pub(crate) type IoFlushed = openraft::storage::IOFlushed<TypeConfig>;

/// A member as the group knows it.
///
/// Serialised as one string, the address and behind a space the name: what the members of single servers from before
/// they had names are read as is an address alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerNode {
    pub(crate) name: String,
    pub(crate) address: String,
}

impl Serialize for PeerNode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name.as_str() {
            "" => serializer.serialize_str(&self.address),
            name => serializer.collect_str(&format_args!("{} {name}", self.address)),
        }
    }
}

impl<'de> Deserialize<'de> for PeerNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (address, name) = text.split_once(' ').unwrap_or((&text, ""));
        Ok(Self { name: name.to_owned(), address: address.to_owned() })
    }
}

/// An encoded transaction.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command(pub(crate) Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|bytes| Self(bytes.into()))
    }
}

/// What applying an entry brought. It goes from the state machine to the proposer in this process.
#[derive(Debug)]
pub(crate) enum Response {
    /// The entry was not a transaction.
    Nothing,
    /// The transaction's outcome.
    Outcome(mvcc::Outcome),
}

// openraft wants both traits of a response for applications that forward it; ours does not leave the process.
impl Serialize for Response {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a response stays in its process"))
    }
}

impl<'de> Deserialize<'de> for Response {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("a response stays in its process"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_from_before_there_were_names_is_read() {
        let old = postcard::to_allocvec(&openraft::impls::BasicNode::new("10.0.0.1:6444")).unwrap();
        let read: PeerNode = postcard::from_bytes(&old).unwrap();
        assert_eq!(read, PeerNode { name: String::new(), address: "10.0.0.1:6444".to_owned() });
        assert_eq!(postcard::to_allocvec(&read).unwrap(), old);
        for (name, address) in [("a", "b:1"), ("a", ""), ("", "")] {
            let node = PeerNode { name: name.to_owned(), address: address.to_owned() };
            let bytes = postcard::to_allocvec(&node).unwrap();
            assert_eq!(postcard::from_bytes::<PeerNode>(&bytes).unwrap(), node);
        }
    }
}
