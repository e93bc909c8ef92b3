use bytes::{Buf, Bytes};
use compact_str::CompactString;

/// What selectors look at, extracted once and kept beside the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The object's labels.
    pub labels: Box<[(CompactString, CompactString)]>,
    /// The fields that field selectors of its kind may name, `metadata.name` and so on.
    pub fields: Box<[(CompactString, CompactString)]>,
}

impl Attributes {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }

    /// The value of a selectable field.
    pub fn field(&self, path: &str) -> Option<&str> {
        find(&self.fields, path)
    }

    pub(crate) fn encode(&self) -> Bytes {
        if self.labels.is_empty() && self.fields.is_empty() {
            return Bytes::new();
        }
        let lists = [&self.labels, &self.fields];
        let size = |text: &CompactString| size_of::<u32>() + text.len();
        let pairs = lists.into_iter().flatten().map(|(key, value)| size(key) + size(value));
        let mut out = Vec::with_capacity(lists.len() * size_of::<u32>() + pairs.sum::<usize>());
        for pairs in lists {
            out.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
            for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
        Bytes::from(out)
    }

    /// Reads what `encode` wrote. `None` for anything else.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        Some(Self { labels: pairs(&mut bytes)?, fields: pairs(&mut bytes)? })
    }
}

fn find<'a>(pairs: &'a [(CompactString, CompactString)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn pairs(bytes: &mut &[u8]) -> Option<Box<[(CompactString, CompactString)]>> {
    let count = bytes.try_get_u32_le().ok()? as usize;
    // Each pair takes at least its two lengths: no more room is made than there can be pairs.
    let mut pairs = Vec::with_capacity(count.min(bytes.len() / 8));
    for _ in 0..count {
        pairs.push((text(bytes)?, text(bytes)?));
    }
    Some(pairs.into_boxed_slice())
}

fn text(bytes: &mut &[u8]) -> Option<CompactString> {
    let length = bytes.try_get_u32_le().ok()? as usize;
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    CompactString::from_utf8(head).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_round_trip() {
        let attributes = Attributes {
            labels: [("app".into(), "web".into()), ("tier".into(), "".into())].into(),
            fields: [("metadata.name".into(), "x".into())].into(),
        };
        let bytes = attributes.encode();
        assert_eq!(Attributes::decode(&bytes), Some(attributes.clone()));
        for cut in 1..bytes.len() {
            assert_eq!(Attributes::decode(&bytes[..cut]), None);
        }
        assert_eq!(attributes.label("tier"), Some(""));
        assert_eq!(attributes.field("spec.nodeName"), None);
        assert_eq!(Attributes::decode(&Attributes::default().encode()), Some(Attributes::default()));
    }
}
