#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

use std::time::Instant;

use bytes::Bytes;
use mvcc::{Limits, Operation, Store, Transaction};

use super::*;

pub(crate) fn state(keys: usize, body: usize) -> mvcc::Snapshot {
    let store = Store::new(Limits::default());
    for number in 0..keys {
        let text = format!("{{\"revision\":\"\",\"number\":{number},\"padding\":\"{}\"}}", "x".repeat(body));
        let (key, attributes) = (Bytes::from(format!("/registry/a/{number:05}")), Bytes::from_static(b"labels"));
        let put = Operation::Put { key, body: text.into(), stamp_at: 13, attributes };
        store.apply(&Transaction { preconditions: Vec::new(), operations: vec![put] }, Instant::now());
    }
    store.snapshot()
}

fn contents(keys: usize, body: usize) -> Contents {
    let settings = BTreeMap::from([("--cluster-cidr".to_owned(), "10.42.0.0/16".to_owned())]);
    let header =
        Header { node: "n".into(), created: 1_800_000_000, cluster: Some(u64::MAX), settings, ..Header::default() };
    Contents { header, files: vec![("ca.key".to_owned(), "secret".to_owned())], state: state(keys, body) }
}

fn written(contents: &Contents) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, contents, |_| Ok(())).unwrap();
    bytes
}

fn check(input: impl io::Read) -> Result<Header, ArchiveError> {
    super::check(input, |_| Ok(()))
}

fn records(state: &mvcc::Snapshot) -> Vec<(Vec<u8>, Vec<u8>, Bytes, u64)> {
    let row = |r: std::sync::Arc<mvcc::Record>| {
        (r.key().to_vec(), r.attributes().to_vec(), r.body().clone(), r.create_revision().get())
    };
    state.range(b"", None).map(row).collect()
}

#[test]
fn what_is_saved_is_read() {
    for (keys, body) in [(0, 0), (1, 10), (2000, 300), (3, 1 << 20)] {
        let contents = contents(keys, body);
        let bytes = written(&contents);
        let archive = read(&*bytes).unwrap();
        assert_eq!(records(&archive.state), records(&contents.state), "{keys} of {body}");
        assert_eq!(archive.state.revision(), contents.state.revision());
        assert_eq!(archive.files, contents.files);
        assert_eq!(archive.header.objects, keys as u64);
        assert_eq!(check(&*bytes).unwrap(), archive.header);
        assert_eq!(read_header(&*bytes).unwrap(), archive.header);
        assert_eq!(archive.header.settings, contents.header.settings);
    }
}

#[test]
fn writing_and_checking_tell_how_far_they_are_and_end_when_told_to() {
    let contents = contents(3, 300 << 10);
    let mut seen = Vec::new();
    let mut bytes = Vec::new();
    let mut step = |records: u64| {
        seen.push(records);
        if seen.len() < 6 { Ok(()) } else { Err(io::Error::other("enough")) }
    };
    write(&mut bytes, &contents, &mut step).unwrap();
    assert!(matches!(super::check(&*bytes, &mut step), Err(ArchiveError::Io(_))));
    assert_eq!(seen, [1, 2, 3, 3, 1, 2]);
    assert!(write(Vec::new(), &contents, |_| Err(io::Error::other("no"))).is_err());
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = written(&contents(3, 20));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(check(&*damaged).is_err(), "bit {bit} of byte {at} of {}", bytes.len());
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_found() {
    let bytes = written(&contents(3, 20));
    for length in 0..bytes.len() {
        let error = check(&bytes[..length]).unwrap_err();
        assert!(matches!(error, ArchiveError::Foreign | ArchiveError::Damaged { .. }), "{length}: {error}");
    }
    let longer = [&*bytes, b"x"].concat();
    assert!(check(&*longer).unwrap_err().to_string().contains("goes on behind its end"));
}

#[test]
fn frames_that_are_left_out_or_come_twice_are_found() {
    let bytes = written(&contents(4000, 300));
    let mut starts = vec![20];
    while let Some(&at) = starts.last().filter(|at| **at < bytes.len()) {
        let stored = u32::from_le_bytes(bytes[at + 5..at + 9].try_into().unwrap()) as usize;
        starts.push(at + 13 + stored);
    }
    assert!(starts.len() > 6, "several frames of records");
    for pair in starts.windows(2) {
        let without = [&bytes[..pair[0]], &bytes[pair[1]..]].concat();
        let twice = [&bytes[..pair[1]], &bytes[pair[0]..]].concat();
        assert!(check(&*without).is_err() && check(&*twice).is_err(), "{pair:?}");
    }
}

#[test]
fn other_files_and_other_formats_are_named() {
    let mut bytes = written(&contents(1, 1));
    for other in [&b""[..], b"coracle", b"#!/bin/sh\nexit 0\n# a long enough line\n"] {
        assert!(matches!(check(other), Err(ArchiveError::Foreign)));
    }
    bytes[16] = 2;
    assert!(check(&*bytes).unwrap_err().to_string().contains("format 2"));
    // A frame that claims to be huge takes no memory.
    let mut huge = written(&contents(1, 1))[..20].to_vec();
    huge.extend([1, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0]);
    assert!(matches!(check(&*huge), Err(ArchiveError::Damaged { offset: 20, .. })));
}
