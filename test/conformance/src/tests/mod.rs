//! The tests, by what they are about.

pub mod api_operations;
pub mod chunking;
pub mod cli;
pub mod cli_guestbook;
pub mod cli_proxy;
pub mod configuration;
pub mod controllers;
pub mod discovery;
pub mod disruption;
pub mod events;
pub mod field_validation;
pub mod garbage;
pub mod identity;
pub mod namespaces;
pub mod networking;
pub mod nodes;
pub mod pods;
pub mod quota;
pub mod quota_scopes;
pub mod revisions;
pub mod scale;
pub mod statuses;
pub mod storage;
pub mod storage_operations;
pub mod watchers;

use crate::Test;

/// Every test.
pub fn all() -> impl Iterator<Item = Test> {
    [
        api_operations::TESTS,
        chunking::TESTS,
        cli::TESTS,
        cli_guestbook::TESTS,
        cli_proxy::TESTS,
        configuration::TESTS,
        controllers::TESTS,
        discovery::TESTS,
        disruption::TESTS,
        events::TESTS,
        field_validation::TESTS,
        garbage::TESTS,
        identity::TESTS,
        namespaces::TESTS,
        networking::TESTS,
        nodes::TESTS,
        pods::TESTS,
        quota::TESTS,
        quota_scopes::TESTS,
        revisions::TESTS,
        scale::TESTS,
        statuses::TESTS,
        storage::TESTS,
        storage_operations::TESTS,
        watchers::TESTS,
    ]
    .into_iter()
    .flatten()
    .copied()
}
