//! `coracle store`: the store in figures on a cluster that runs, and read whole, with its snapshots, on a server that does
//! not. And what a server tells of it: to `/metrics` and to whoever asks whether it is ready.

use std::fmt;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::bail;
use auth::bootstrap::joining::STORE_PATH;
use component_base::metrics::register;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use serde_json::{Value, json};
use storage::{Member, StateReport, Storage, Verified};

use crate::options::joining::AdminOptions;
use crate::options::store::{Form, StoreCommand};
use crate::status;

pub async fn run(command: StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Status { admin, output } => show(&admin, output).await,
        StoreCommand::Verify { data_dir, snapshot_dir, output, .. } => {
            verify(&data_dir, snapshot_dir.as_deref(), output)
        }
    }
}

async fn show(admin: &AdminOptions, output: Form) -> anyhow::Result<()> {
    let store = status::ask(admin, STORE_PATH).await?;
    let (table, problems) = report(&store);
    match output {
        Form::Table => print!("{table}"),
        Form::Json => println!("{}", serde_json::to_string_pretty(&store)?),
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}

/// What `GET /v1-coracle/store` answers.
pub async fn value(storage: &Storage) -> Value {
    let mut states = storage.states().await;
    states.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    let known = storage.integrity();
    json!({
        "revision": known.revision,
        "differing": known.differing,
        "unclear": known.unclear,
        "members": states.iter().map(|(member, report)| member_value(member, report.as_ref())).collect::<Vec<_>>(),
    })
}

fn member_value(member: &Member, report: Option<&StateReport>) -> Value {
    let mut value = json!({ "name": member.name, "leader": member.leader, "reachable": report.is_some() });
    if let Some(report) = report {
        let figures = json!({
            "applied": report.applied,
            "revision": report.revision,
            "keys": report.keys,
            "bytes": report.bytes,
            "historyBytes": report.history_bytes,
            "logBytes": report.log_bytes,
            "checkpointBytes": report.checkpoint_bytes,
            "fsyncs": report.fsyncs,
            "checkpoints": report.checkpoints,
            "checkpointFailures": report.checkpoint_failures,
            "quotaBytes": report.quota_bytes,
            "full": report.quota_alarm,
            "digest": report.digest.map(|digest| digest.to_string()),
            "problem": report.problem,
        });
        if let (Value::Object(value), Value::Object(figures)) = (&mut value, figures) {
            value.extend(figures);
        }
    }
    value
}

/// A table of the stores, and what is wrong.
fn report(store: &Value) -> (String, Vec<String>) {
    let mut table = format!(
        "{:<24} {:>12} {:>9} {:>10} {:>10} {:>10} {:>10} {:>9} {:<9} STATE\n",
        "NAME", "REVISION", "KEYS", "SIZE", "HISTORY", "LOG", "ON DISK", "FSYNCS", "DIGEST"
    );
    let mut problems = Vec::new();
    let differing: Vec<_> = names(&store["differing"]);
    for member in store["members"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let name = member["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("(this server)");
        if !member["reachable"].as_bool().unwrap_or(false) {
            let _ = writeln!(table, "{name:<24} does not answer");
            problems.push(format!("{name} does not answer"));
            continue;
        }
        let number = |field: &str| member[field].as_u64().unwrap_or(0);
        let digest: String = member["digest"].as_str().unwrap_or("-").chars().take(8).collect();
        let state = state_of(member, differing.contains(&name));
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "{name:<24} {:>12} {:>9} {:>10} {:>10} {:>10} {:>10} {:>9} {digest:<9} {}",
            number("revision"),
            number("keys"),
            size(number("bytes")),
            size(number("historyBytes")),
            size(number("logBytes")),
            size(number("checkpointBytes")),
            number("fsyncs"),
            state.as_deref().unwrap_or("ok"),
        );
        problems.extend(state.map(|state| format!("{name}: {state}")));
    }
    (table, problems)
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(Value::as_str).collect()
}

/// What is wrong with one member's store.
fn state_of(member: &Value, differs: bool) -> Option<String> {
    let mut wrong = Vec::new();
    match member["problem"].as_str() {
        Some(problem) => wrong.push(problem.to_owned()),
        None if differs => wrong.push("its state differs from that of the others".to_owned()),
        None => {}
    }
    if member["full"].as_bool().unwrap_or(false) {
        let quota = size(member["quotaBytes"].as_u64().unwrap_or(0));
        wrong.push(format!("full: --store-quota is {quota}; delete what is not needed, or give a larger one"));
    }
    if member["checkpointFailures"].as_u64().is_some_and(|failures| failures > 0) {
        wrong.push("checkpoints failed, see its log".to_owned());
    }
    (!wrong.is_empty()).then(|| wrong.join(", "))
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

fn verify(data_dir: &Path, snapshot_dir: Option<&Path>, output: Form) -> anyhow::Result<()> {
    let db = data_dir.join("server/db");
    if !db.exists() {
        bail!("--data-dir {} holds no server's store", data_dir.display());
    }
    let mut files = storage::verify(&db)?;
    files.extend(snapshots(&crate::snapshots::folder_of(data_dir, snapshot_dir))?);
    match output {
        Form::Table => print!("{}", listing(&files)),
        Form::Json => println!("{}", serde_json::to_string_pretty(&files_value(&files))?),
    }
    let damaged: Vec<_> = files.iter().filter(|file| !file.problems.is_empty()).map(|file| &*file.file).collect();
    if !damaged.is_empty() {
        let remedy = match damaged.iter().all(|file| file.starts_with(SNAPSHOTS)) {
            true => "delete it, and save another",
            false => "let this server join again with an empty folder, or restore a snapshot",
        };
        bail!("damaged: {}; {remedy}", damaged.join(", "));
    }
    Ok(())
}

/// What the names of snapshots begin with in the list of files.
const SNAPSHOTS: &str = "snapshots/";

/// Reads the snapshots of a folder whole.
fn snapshots(folder: &Path) -> anyhow::Result<Vec<Verified>> {
    let read = |listed: backup::folder::Listed| {
        let mut file =
            Verified { file: format!("{SNAPSHOTS}{}", listed.name), bytes: listed.size, ..Verified::default() };
        match backup::restore::open(&folder.join(&listed.name)) {
            Ok(archive) => {
                let state = &archive.state;
                file.contents = format!("{} records at revision {}", state.len(), state.revision());
            }
            Err(error) => file.problems.push(storage::Problem { offset: None, detail: error.to_string() }),
        }
        file
    };
    Ok(backup::folder::list(folder)?.into_iter().map(read).collect())
}

/// A line a file, and one for each thing that is wrong with it.
fn listing(files: &[Verified]) -> String {
    let mut text = String::new();
    for file in files {
        let state = if file.problems.is_empty() { "ok" } else { "damaged" };
        let _ = writeln!(text, "{:<8} {:<24} {:>10}  {}", state, file.file, size(file.bytes), file.contents);
        for problem in &file.problems {
            let place = problem.offset.map(|offset| format!("at offset {offset}: ")).unwrap_or_default();
            let _ = writeln!(text, "         {place}{}", problem.detail);
        }
    }
    text
}

fn files_value(files: &[Verified]) -> Value {
    let problem = |problem: &storage::Problem| json!({ "offset": problem.offset, "detail": problem.detail });
    let file = |file: &Verified| {
        json!({
            "file": file.file,
            "bytes": file.bytes,
            "contents": file.contents,
            "problems": file.problems.iter().map(problem).collect::<Vec<_>>(),
        })
    };
    json!({
        "files": files.iter().map(file).collect::<Vec<_>>(),
        "damaged": files.iter().any(|file| !file.problems.is_empty()),
    })
}

/// What else should be known of this server's store by whoever asks whether it is ready.
pub fn warnings(storage: &Storage) -> Vec<String> {
    let known = storage.integrity();
    let mut warnings = Vec::new();
    if storage.is_full() {
        warnings.push("the store is full (--store-quota)".to_owned());
    }
    if known.unclear {
        warnings.extend(known.problem());
    } else if !known.own && !known.differing.is_empty() {
        let names = known.differing.join(", ");
        warnings.push(format!("the state of {names} is not that of the majority at revision {}", known.revision));
    }
    warnings
}

/// The same, with what is wrong with this server's own store.
pub fn problems(storage: &Storage) -> Vec<String> {
    let known = storage.integrity();
    known.problem().filter(|_| !known.unclear).into_iter().chain(warnings(storage)).collect()
}

/// A figure of the store that is looked up when somebody asks.
#[derive(Clone)]
struct Figure {
    storage: Storage,
    counts: bool,
    read: Read,
}

type Read = fn(&Storage) -> u64;
/// Name, help, and how it is read.
type Row = (&'static str, &'static str, Read);

impl fmt::Debug for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figure").finish_non_exhaustive()
    }
}

impl EncodeMetric for Figure {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let value = (self.read)(&self.storage);
        match self.counts {
            true => encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None),
            false => encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX)),
        }
    }

    fn metric_type(&self) -> MetricType {
        if self.counts { MetricType::Counter } else { MetricType::Gauge }
    }
}

/// Shows the store at `/metrics`: under etcd's names what etcd has too.
pub fn measure(storage: &Storage) {
    let figures: [Row; 10] = [
        ("etcd_mvcc_db_total_size_in_bytes", "Bytes of the checkpoint's file.", |s| s.statistics().checkpoint_size),
        ("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes that count against the quota.", |s| {
            let store = s.statistics().store;
            store.bytes + store.ring_bytes as u64
        }),
        ("etcd_server_quota_backend_bytes", "The quota; 0 for none.", |s| s.statistics().quota_bytes),
        ("etcd_debugging_mvcc_keys_total", "Keys.", |s| s.statistics().store.keys as u64),
        ("etcd_debugging_mvcc_current_revision", "The newest revision.", |s| s.revision().get()),
        ("etcd_debugging_mvcc_watcher_total", "Open watches.", |s| s.statistics().store.watchers as u64),
        ("etcd_server_has_leader", "Whether a leader is known.", |s| s.leader().is_some().into()),
        ("coracle_store_log_bytes", "Bytes of the log's files.", |s| s.statistics().log_size),
        ("coracle_store_full", "Whether the quota was reached.", |s| s.is_full().into()),
        ("coracle_store_differs", "Whether the state is not that of the other servers, or damaged.", |s| {
            (!s.integrity().is_trusted()).into()
        }),
    ];
    for (name, help, read) in figures {
        register(name, help, Figure { storage: storage.clone(), counts: false, read });
    }
    let counters: [Row; 3] = [
        ("coracle_store_log_syncs", "Syncs of the log.", |s| s.statistics().fsyncs),
        ("coracle_store_checkpoints", "Checkpoints written.", |s| s.statistics().checkpoints),
        ("coracle_store_checkpoint_failures", "Checkpoints that failed.", |s| s.statistics().checkpoint_failures),
    ];
    for (name, help, read) in counters {
        register(name, help, Figure { storage: storage.clone(), counts: true, read });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> Value {
        json!({ "name": name, "reachable": true, "revision": 7, "keys": 3, "bytes": 2048, "digest": "0123456789abcdef",
            "quotaBytes": 2_u64 << 30, "full": false, "problem": null })
    }

    #[test]
    fn what_is_wrong_is_said_by_name() {
        let well = json!({ "revision": 7, "differing": [], "members": [member("a"), member("b")] });
        let (table, problems) = report(&well);
        assert!(table.contains("2.0 KiB") && table.contains("01234567 ") && table.contains(" ok"), "{table}");
        assert_eq!(problems, Vec::<String>::new());

        let (mut full, mut wrong) = (member("a"), member("b"));
        full["full"] = json!(true);
        wrong["problem"] = json!("the state of this server is not that of the others at revision 7");
        let gone = json!({ "name": "c", "reachable": false });
        let (_, problems) = report(&json!({ "differing": ["b", "d"], "members": [full, wrong, gone, member("d")] }));
        assert_eq!(
            problems,
            [
                "a: full: --store-quota is 2.0 GiB; delete what is not needed, or give a larger one",
                "b: the state of this server is not that of the others at revision 7",
                "c does not answer",
                "d: its state differs from that of the others",
            ]
        );
    }

    #[test]
    fn damaged_files_are_listed_with_their_places() {
        let well = Verified { file: "a.log".into(), bytes: 100, contents: "3 frames".into(), ..Verified::default() };
        let problem = storage::Problem { offset: Some(40), detail: "a frame".into() };
        let damaged = Verified { file: "state.redb".into(), problems: vec![problem], ..Verified::default() };
        let text = listing(&[well, damaged]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("ok       a.log") && lines[0].ends_with("100 B  3 frames"), "{text}");
        assert!(lines[1].starts_with("damaged  state.redb"), "{text}");
        assert_eq!(lines[2].trim(), "at offset 40: a frame");
    }
}
