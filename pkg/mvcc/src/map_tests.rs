use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Revision;
use crate::record::Parts;

fn record(key: &str, revision: u64) -> Arc<Record> {
    let parts = Parts { key: key.as_bytes(), attributes: b"", head: b"", tail: b"" };
    Arc::new(Record::stamped(parts, Revision::new(revision), Revision::new(revision)))
}

fn check(map: &Map, model: &BTreeMap<String, u64>) {
    assert_eq!(map.len(), model.len());
    let walked: Vec<_> = map
        .iter_from(b"")
        .map(|record| (String::from_utf8(record.key().to_vec()).unwrap(), record.mod_revision().get()))
        .collect();
    assert_eq!(walked, model.iter().map(|(key, value)| (key.clone(), *value)).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is done, the tree equals an ordered map, and snapshots taken on the way do not change.
    #[test]
    fn equals_an_ordered_map(steps in proptest::collection::vec((0..400_u32, 0..4_u8), 1..1500)) {
        let (mut map, mut model) = (Map::default(), BTreeMap::new());
        let mut snapshots = Vec::new();
        for (revision, (number, action)) in steps.into_iter().enumerate() {
            let key = format!("/k/{number:03}");
            let revision = revision as u64;
            if action == 0 {
                let removed = map.remove(key.as_bytes()).map(|record| record.mod_revision().get());
                prop_assert_eq!(removed, model.remove(&key));
            } else {
                let previous = map.insert(record(&key, revision)).map(|record| record.mod_revision().get());
                prop_assert_eq!(previous, model.insert(key.clone(), revision));
            }
            prop_assert_eq!(map.rank(key.as_bytes()), model.range(..key.clone()).count());
            let from: Vec<_> = map.iter_from(key.as_bytes()).take(3).map(|r| r.mod_revision().get()).collect();
            prop_assert_eq!(from, model.range(key..).take(3).map(|(_, v)| *v).collect::<Vec<_>>());
            if revision % 200 == 7 {
                snapshots.push((map.clone(), model.clone()));
            }
        }
        check(&map, &model);
        for (map, model) in &snapshots {
            check(map, model);
        }
    }
}

#[test]
fn ascending_keys_fill_leaves_and_emptying_frees_all() {
    let mut map = Map::default();
    for number in 0..10_000 {
        map.insert(record(&format!("{number:06}"), number + 1));
    }
    assert_eq!(map.len(), 10_000);
    for number in 0..10_000 {
        assert!(map.remove(format!("{number:06}").as_bytes()).is_some());
    }
    assert_eq!(map.len(), 0);
    assert!(map.root.is_none());
}
