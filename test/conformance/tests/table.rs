//! The table, the tests and upstream's list of names agree: nothing is left over on any side.

use std::collections::{BTreeMap, BTreeSet};

use conformance::tests;

const TABLE: &str = include_str!("../table.tsv");
const CODENAMES: &str = include_str!("../codenames.txt");

fn codenames() -> BTreeSet<&'static str> {
    CODENAMES.lines().collect()
}

/// Upstream's name → ours.
fn rows() -> Vec<(&'static str, &'static str)> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once('\t').unwrap_or_else(|| panic!("no tab in {line:?}"))).collect()
}

/// Beginnings of names that are out of scope, each with the reason.
fn out_of_scope() -> Vec<(&'static str, &'static str)> {
    let lines = TABLE.lines().filter_map(|line| line.strip_prefix("#out\t"));
    lines.map(|line| line.split_once('\t').unwrap_or_else(|| panic!("no reason in {line:?}"))).collect()
}

/// What comes more than once.
fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut count = BTreeMap::new();
    names.for_each(|name| *count.entry(name).or_insert(0) += 1);
    count.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect()
}

#[test]
fn no_name_comes_twice() {
    assert_eq!(twice(CODENAMES.lines()), [""; 0], "in codenames.txt");
    assert_eq!(twice(rows().iter().map(|row| row.0)), [""; 0], "upstream's names");
    assert_eq!(twice(rows().iter().map(|row| row.1)), [""; 0], "our names in the table");
    assert_eq!(twice(tests::all().map(|test| test.name)), [""; 0], "our tests");
}

#[test]
fn every_row_has_a_test_and_every_test_a_row() {
    let in_table: BTreeSet<&str> = rows().iter().map(|row| row.1).collect();
    let in_crate: BTreeSet<&str> = tests::all().map(|test| test.name).collect();
    assert_eq!(in_table.difference(&in_crate).collect::<Vec<_>>(), [&""; 0], "rows without a test");
    assert_eq!(in_crate.difference(&in_table).collect::<Vec<_>>(), [&""; 0], "tests without a row");
}

#[test]
fn every_upstream_name_has_a_row_or_a_reason() {
    let (rows, out) = (rows(), out_of_scope());
    let known = codenames();
    let unknown: Vec<&str> = rows.iter().map(|row| row.0).filter(|name| !known.contains(name)).collect();
    assert_eq!(unknown, [""; 0], "rows that upstream does not have");
    let in_scope: BTreeSet<&str> = rows.iter().map(|row| row.0).collect();
    let rest: Vec<&str> = known.difference(&in_scope).copied().collect();
    let excused = |name: &&str| out.iter().any(|(beginning, _)| name.starts_with(beginning));
    let forgotten: Vec<&str> = rest.iter().copied().filter(|name| !excused(name)).collect();
    assert_eq!(forgotten, [""; 0], "neither in the table nor out of scope");
    for (beginning, reason) in out {
        assert!(
            !reason.is_empty() && rest.iter().any(|name| name.starts_with(beginning)),
            "{beginning:?} excuses nothing"
        );
    }
}

/// A broad reason must not hide a test of what is in scope as a whole.
#[test]
fn whole_groups_are_in_scope() {
    for (beginning, reason) in out_of_scope() {
        let whole = ["[sig-api-machinery]", "[sig-cli]"];
        assert!(!whole.iter().any(|group| group.starts_with(beginning)), "{beginning:?} ({reason}) hides a group");
    }
    let elsewhere = codenames().into_iter().filter(|name| !name.starts_with("[sig-api-machinery]"));
    for name in elsewhere.filter(|name| {
        name.contains("API operations") || name.contains("the lifecycle of a ") && !name.contains("container")
    }) {
        assert!(rows().iter().any(|row| row.0 == name), "{name} has to be in the table");
    }
}

/// Labels, namespaces and names begin with a test's name, cut to what fits.
#[test]
fn names_differ_in_what_objects_are_called_after() {
    let names: Vec<String> = tests::all().map(|test| conformance::cluster::unique(test.name)).collect();
    assert_eq!(twice(names.iter().map(String::as_str)), [""; 0]);
}
