//! A stopped server's folder, looked at.

use std::collections::BTreeMap;
use std::path::Path;

use super::sim_disk::Random;
use super::{change, create, small_config};
use crate::{Config, Node, OpenError, Problem, Verified, verify};

async fn filled(path: &Path) -> Node {
    let node = Node::open(Config { data_dir: path.to_owned(), ..small_config() }).await.unwrap();
    for number in 0..40 {
        change(&node, &create(&format!("/k/{number}"), 700)).await.unwrap();
    }
    node
}

fn problems(found: &[Verified]) -> Vec<(&str, &Problem)> {
    found.iter().flat_map(|file| file.problems.iter().map(|problem| (&*file.file, problem))).collect()
}

/// All files with their contents.
fn contents(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_read_whole_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let node = filled(&path).await;
    let locked = verify(&path).unwrap_err();
    assert!(matches!(locked, OpenError::Locked { .. }), "{locked}");
    node.shutdown().await;
    let before = contents(&path);
    let found = verify(&path).unwrap();
    assert_eq!(problems(&found), []);
    assert!(before == contents(&path), "nothing was changed");
    let of = |name: &str| found.iter().filter(|file| file.file.ends_with(name)).collect::<Vec<_>>();
    assert_eq!(of("state.redb")[0].contents, "40 records at revision 41, applied to entry 41");
    assert!(of(".log").len() > 1 && of(".log")[0].contents.contains("frames"), "{found:?}");
    assert!(of("FORMAT")[0].contents.starts_with("member "));
    let missing = verify(folder.path()).unwrap_err();
    assert!(matches!(missing, OpenError::Foreign { .. }), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    filled(&path).await.shutdown().await;
    let before = contents(&path);
    let mut random = Random(0x5ca1e);
    eprintln!("seed {:#x}", random.0);
    let names: Vec<_> =
        before.keys().filter(|name| name.ends_with(".log") || name.starts_with("state") || *name == "FORMAT").collect();
    for round in 0..60 {
        let name = names[round % names.len()];
        let content = &before[name];
        let used: Vec<_> = (0..content.len()).filter(|at| content[*at] != 0).collect();
        let at = used[random.below(used.len() as u64) as usize];
        let mut damaged = content.clone();
        damaged[at] ^= 1 << random.below(8);
        std::fs::write(path.join(name), &damaged).unwrap();
        let found = verify(&path).unwrap();
        let found = problems(&found);
        // redb has pages that are not in use any more, and recycled log files have old frames.
        if let Some((file, problem)) = found.first() {
            assert_eq!(file, name, "byte {at}: {problem:?}");
            let place = problem.offset.unwrap_or(at as u64);
            assert!(place <= at as u64, "byte {at}: {problem:?}");
        }
        if name == "FORMAT" {
            assert!(!found.is_empty(), "byte {at} of {name}");
        }
        std::fs::write(path.join(name), content).unwrap();
    }
    // A record by its key, and a frame by its offset.
    let damage = |name: &str, needle: &[u8]| {
        let mut content = before[name].clone();
        let at = content.windows(needle.len()).position(|bytes| bytes == needle).unwrap();
        content[at + 10] ^= 1;
        std::fs::write(path.join(name), &content).unwrap();
        let found = verify(&path).unwrap();
        std::fs::write(path.join(name), &before[name]).unwrap();
        (at as u64, problems(&found).iter().map(|(_, problem)| (*problem).clone()).collect::<Vec<_>>())
    };
    let (_, found) = damage("state.redb", &[b'x'; 600]);
    assert!(found[0].detail.contains("/k/") && found[0].detail.contains("checksum"), "{found:?}");
    let oldest = names.iter().find(|name| name.ends_with(".log")).unwrap();
    let (at, found) = damage(oldest, &[b'x'; 600]);
    let offset = found[0].offset.unwrap();
    assert!(offset <= at && at - offset < 200 && found[0].detail.contains("checksum"), "{at}: {found:?}");

    // Each file is well, and one is missing.
    std::fs::remove_file(path.join("state.redb")).unwrap();
    let found = verify(&path).unwrap();
    let found = problems(&found);
    assert!(found[0].0 == "." && found[0].1.detail.contains("state.redb is missing"), "{found:?}");
}
