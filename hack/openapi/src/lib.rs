//! Makes what describes the API from one source, the typed library's kinds (`api/schema/definitions.json`) and the facts in
//! `api/schema`: the type table `api/schema/types.tsv` and the OpenAPI documents in `api/openapi-spec`.
//!
//! It is a tool: the product does not link it. Start reading at `table`. After a change of facts or rows run
//! `cargo run -p openapi`; a new version of the typed library also wants `-F generate`, which reads its kinds anew.

pub mod definitions;
pub mod documents;
pub mod facts;
#[cfg(feature = "generate")]
pub mod kinds;
mod operations;
mod paths;
mod schemas;
pub mod table;
mod zeros;
