//! The API half of Kubernetes' conformance tests, told again against a running cluster.
//!
//! `table.tsv` names, for each upstream test in scope, the test here that does what its description says; `tests/table.rs`
//! checks that nothing of `codenames.txt` is left over. A test is an `async fn(&Cluster)`: it gets a namespace of its own,
//! says what it does in sentences, and fails with the rule that did not hold and the server's answer. Start reading at
//! [`operations`], the one path for "API operations" of every kind, then at any file of [`tests`].
//!
//! The end-to-end program runs them all, several at a time, as its scenario `conformance`.

/// Lists a module's tests, so that a name is written once.
macro_rules! tests {
    ($module:ident: $($name:ident),* $(,)?) => {
        pub const TESTS: &[$crate::Test] = &[$($crate::Test {
            name: concat!(stringify!($module), "::", stringify!($name)),
            run: |cluster| Box::pin($name(cluster)),
        }),*];
    };
}

pub mod cluster;
pub mod kinds;
pub mod kubectl;
pub mod must;
pub mod operations;
pub mod resource;
pub mod run;
pub mod samples;
pub mod tests;
pub mod wait;
pub mod watch;

use futures::future::LocalBoxFuture;

pub use crate::cluster::Cluster;

/// One test and the name under which the table knows it: `module::function`.
#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub run: fn(&Cluster) -> LocalBoxFuture<'_, anyhow::Result<()>>,
}
