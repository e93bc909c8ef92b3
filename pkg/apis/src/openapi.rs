//! The OpenAPI documents of the built-in kinds, packed at build time and sent as they are (`Content-Encoding: gzip`).
//! They are made by `hack/openapi` from the same facts as [`crate::schema`].

include!(concat!(env!("OUT_DIR"), "/openapi_table.rs"));

/// A document in static memory.
pub struct Document {
    /// Below `/openapi/v3`: `api/v1`, `apis/apps/v1`.
    pub path: &'static str,
    /// Changes with the content; part of the URL in the index, so that clients may keep the document for ever.
    pub hash: &'static str,
    /// The JSON text, packed with gzip.
    pub json: &'static [u8],
    /// The same in the protobuf form of gnostic, packed.
    pub protobuf: &'static [u8],
}

impl Document {
    /// Where a document of v3 is for ever.
    pub fn v3_url(&self) -> String {
        format!("/openapi/v3/{}?hash={}", self.path, self.hash)
    }
}

/// `/openapi/v3`: where the document of each group version is.
pub fn v3_index() -> serde_json::Value {
    let entry = |d: &Document| (d.path.to_owned(), serde_json::json!({ "serverRelativeURL": d.v3_url() }));
    serde_json::json!({ "paths": V3.iter().map(entry).collect::<serde_json::Map<_, _>>() })
}

/// All documents of v3, by path.
pub fn v3_documents() -> &'static [Document] {
    &V3
}

/// The document of a group version, by its path below `/openapi/v3` (`apis/apps/v1`).
pub fn v3(path: &str) -> Option<&'static Document> {
    V3.binary_search_by(|d| d.path.cmp(path)).ok().map(|at| &V3[at])
}

/// `/openapi/v2`: everything in one document.
pub fn v2() -> &'static Document {
    &V2
}

/// What clients ask for below `application/` to get v2 in protobuf; the form with `@`, which is no legal media type, is the
/// older one.
pub const V2_PROTOBUF_SUBTYPES: [&str; 2] =
    ["com.github.proto-openapi.spec.v2@v1.0+protobuf", "com.github.proto-openapi.spec.v2.v1.0+protobuf"];
/// What the answer calls itself: client-go refuses the form with `@`, which it asks for.
pub const V2_PROTOBUF_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The same for v3.
pub const V3_PROTOBUF_SUBTYPES: [&str; 2] =
    ["com.github.proto-openapi.spec.v3@v1.0+protobuf", "com.github.proto-openapi.spec.v3.v1.0+protobuf"];
pub const V3_PROTOBUF_TYPE: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_version_has_a_document() {
        for row in crate::all() {
            for version in row.versions {
                let path = if row.group.is_empty() {
                    format!("api/{version}")
                } else {
                    format!("apis/{}/{version}", row.group)
                };
                let document = v3(&path).unwrap_or_else(|| panic!("no document for {path}: run hack/openapi"));
                assert!(v3_index()["paths"][&path]["serverRelativeURL"].as_str().unwrap().contains(document.hash));
            }
        }
        let total: usize = V3.iter().chain([&V2]).map(|d| d.json.len() + d.protobuf.len()).sum();
        assert!(total < 2_000_000, "{total} bytes are embedded");
    }
}
