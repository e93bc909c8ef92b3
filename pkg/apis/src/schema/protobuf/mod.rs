//! `application/vnd.kubernetes.protobuf`: trees to messages and back, by the type table.
//!
//! The format is proto2 as upstream generates it: the four bytes `k8s\0`, then `runtime.Unknown` with the type and the
//! object's message. What a tree does not have is not written; a reader with Go's types finds the same there as after JSON,
//! for a zero value that is written and one that is missing are told apart by pointers only, and those are kept by JSON,
//! too. Start reading at [`encode`] and [`decode`].

mod envelope;
mod read;
mod wire;
mod write;

pub use envelope::{Envelope, ItemPrefix, ListHead, WatchFrame, decode, encode};
pub use write::message;

/// The media type of bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every enveloped object starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Deeper nesting than any kind has, besides JSON schemas in JSON schemas.
const DEPTH_MAX: usize = 128;

/// Why bytes are no object, in the words of upstream's readers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("empty data")]
    EmptyData,
    #[error("empty body")]
    EmptyBody,
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("unexpected EOF")]
    Truncated,
    #[error("proto: illegal wireType {0}")]
    IllegalWireType(u8),
    #[error("proto: wrong wireType = {wire_type} for field {}", go_name(.field))]
    WrongWireType { wire_type: u8, field: &'static str },
    #[error("proto: {0}: illegal tag {1} (wire type {2})")]
    IllegalTag(&'static str, u64, u8),
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: unexpected end of group")]
    EndOfGroup,
    #[error("proto: invalid UTF-8")]
    Utf8,
    #[error("proto: exceeded the maximum nesting")]
    Depth,
    #[error("embedded JSON cannot be read")]
    Json,
    #[error("no kind {0:?} is registered for protobuf")]
    Kind(String),
}

type Result<T> = std::result::Result<T, ProtobufError>;

/// The name of a field as a struct of Go has it.
fn go_name(field: &str) -> String {
    let mut letters = field.chars();
    letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests;
