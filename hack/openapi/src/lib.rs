//! Makes what describes the API from one source, the typed kinds and the facts in `api/schema`:
//! the type table `api/schema/types.tsv` and the OpenAPI documents in `api/openapi-spec`.
//!
//! It is a tool: the product links neither it nor the schemas of the typed kinds. Start reading at `table`.
#![cfg(feature = "generate")]

pub mod documents;
pub mod facts;
pub mod kinds;
mod operations;
mod paths;
mod schemas;
pub mod table;
mod zeros;
