//! `coracle snapshot`: over the API where a server runs, in its folder where none does.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Instant;

use anyhow::{Context as _, anyhow, bail};
use apiserver::snapshots::PATH;
use backup::folder::{self, Listed};
use backup::restore;
use clap::Parser as _;
use client::Client;
use futures::{Stream, StreamExt as _};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::options::joining::AdminOptions;
use crate::options::snapshots::{Output, PlaceOptions, SnapshotArguments, SnapshotCommand};
use crate::options::{Cli, Command};
use crate::{anew, door, host, node, snapshots, status};

pub async fn run(arguments: SnapshotArguments) -> anyhow::Result<()> {
    let place = Place(arguments.place);
    match arguments.command {
        SnapshotCommand::Save { name } => place.save(&name).await,
        SnapshotCommand::Ls { output } => place.list(output).await,
        SnapshotCommand::Delete { names } => place.delete(&names).await,
        SnapshotCommand::Prune { name, snapshot_retention } => place.prune(&name, snapshot_retention).await,
        SnapshotCommand::Restore { file } => place.restore(&file),
    }
}

struct Place(PlaceOptions);

impl Place {
    fn folder(&self) -> PathBuf {
        snapshots::folder_of(&self.0.data_dir, self.0.snapshot_dir.as_deref())
    }

    /// None if there is no server to ask.
    async fn client(&self) -> anyhow::Result<Option<Client>> {
        let admin = AdminOptions { config: None, kubeconfig: self.0.kubeconfig.clone() };
        if !admin.kubeconfig.exists() {
            return Ok(None);
        }
        status::connect(&admin).await.map(Some)
    }

    /// Asks the server. None if none answers; an error if it refuses.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Option<Value>> {
        let Some(client) = self.client().await? else { return Ok(None) };
        answered(door::send(&client, method, path, body).await)
    }

    /// The folder of a server that does not run.
    fn quiet_folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder();
        if !folder.exists() {
            let kubeconfig = self.0.kubeconfig.display();
            bail!("no server answers (--kubeconfig {kubeconfig}), and there is no {}", folder.display());
        }
        eprintln!("No server answers; this is what is in {}.", folder.display());
        Ok(folder)
    }

    async fn save(&self, name: &str) -> anyhow::Result<()> {
        let lines = match self.client().await? {
            Some(client) => answered(door::lines(&client, PATH, &json!({ "name": name })).await)?,
            None => None,
        };
        let Some(lines) = lines else {
            bail!(
                "no server answers (--kubeconfig {}): a snapshot is saved by a running one; a copy of {} is as good while it is stopped",
                self.0.kubeconfig.display(),
                self.0.data_dir.join("server").display()
            );
        };
        let (bar, lines) = (bar(), pin!(lines));
        let answer = tokio::select! {
            answer = follow(lines, &bar) => answer?,
            // The server ends it when this process is gone.
            _ = tokio::signal::ctrl_c() => bail!("cancelled: no snapshot is saved"),
        };
        if let Some(warning) = answer["warning"].as_str() {
            eprintln!("warning: {warning}");
        }
        let folder = answer["folder"].as_str().unwrap_or_default();
        for saved in listed(&answer)? {
            let path = Path::new(folder).join(&saved.name);
            println!(
                "{} saved: {} objects at revision {}",
                path.display(),
                saved.header.objects,
                saved.header.revision
            );
        }
        Ok(())
    }

    async fn list(&self, output: Output) -> anyhow::Result<()> {
        let all = match self.ask("GET", PATH, &Value::Null).await? {
            Some(answer) => listed(&answer)?,
            None => folder::list(&self.quiet_folder()?)?,
        };
        match output {
            Output::Table => print!("{}", table(&all)),
            Output::Json => println!("{}", serde_json::to_string_pretty(&all)?),
        }
        Ok(())
    }

    async fn delete(&self, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            folder::check_name(name)?;
            if self.ask("DELETE", &format!("{PATH}/{name}"), &Value::Null).await?.is_none() {
                folder::delete(&self.quiet_folder()?, name)?;
            }
            println!("snapshot {name:?} deleted");
        }
        Ok(())
    }

    async fn prune(&self, name: &str, keep: usize) -> anyhow::Result<()> {
        let request = json!({ "name": name, "retention": keep });
        let deleted: Vec<String> = match self.ask("DELETE", PATH, &request).await? {
            Some(answer) => serde_json::from_value(answer["deleted"].clone())?,
            None => folder::prune(&self.quiet_folder()?, name, &node::name(self.0.node_name.as_deref())?, keep)?,
        };
        deleted.iter().for_each(|name| println!("snapshot {name:?} deleted"));
        Ok(())
    }

    fn restore(&self, file: &Path) -> anyhow::Result<()> {
        let named = self.folder().join(file);
        let path = if !file.exists() && named.exists() { named } else { file.to_owned() };
        restore_file(&path, &self.0.data_dir)
    }
}

/// None if no server answers; an error if it refuses.
fn answered<T>(outcome: Result<T, kube::Error>) -> anyhow::Result<Option<T>> {
    match outcome {
        Ok(answer) => Ok(Some(answer)),
        Err(kube::Error::Api(status)) => Err(anyhow!(status.message.clone())),
        Err(_) => Ok(None),
    }
}

/// Shows how far saving is, on a terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<9} {bar:32} {pos}/{len} objects, {elapsed}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Reads on until it is known what came of it.
async fn follow(
    mut lines: impl Stream<Item = std::io::Result<Value>> + Unpin,
    bar: &ProgressBar,
) -> anyhow::Result<Value> {
    while let Some(line) = lines.next().await {
        let line = line.context("the server broke off; `coracle snapshot ls` shows whether it was saved")?;
        if line["kind"] == "Status" {
            bar.finish_and_clear();
            bail!("{}", line["message"].as_str().unwrap_or("it failed, and why is not known"));
        }
        let progress = &line["progress"];
        let Some(objects) = progress["objects"].as_u64() else {
            bar.finish_and_clear();
            return Ok(line);
        };
        let at = |field: &str| progress[field].as_u64().unwrap_or(0);
        let (what, done) = match at("written") {
            _ if objects == 0 => ("waiting", 0),
            written if written < objects => ("writing", written),
            _ => ("checking", at("checked")),
        };
        bar.set_length(objects);
        bar.set_position(done);
        bar.set_message(what);
    }
    bail!("the server ended before the snapshot was saved")
}

fn listed(answer: &Value) -> anyhow::Result<Vec<Listed>> {
    Ok(serde_json::from_value(answer["snapshots"].clone())?)
}

fn table(all: &[Listed]) -> String {
    let width = all.iter().map(|listed| listed.name.len()).max().unwrap_or(0).max(24);
    let mut table = format!("{:<width$} {:>12} {:<20} REVISION\n", "NAME", "SIZE", "CREATED");
    for Listed { name, size, header, problem } in all {
        let revision = problem.clone().unwrap_or_else(|| header.revision.to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{name:<width$} {size:>12} {:<20} {revision}", time(header.created));
    }
    table
}

fn time(unix: u64) -> String {
    let at = i64::try_from(unix).ok().and_then(|unix| Timestamp::from_second(unix).ok());
    at.map_or_else(|| "-".to_owned(), apimachinery::time::format)
}

/// Says what was done, and how long it took.
pub struct Steps {
    begun: Instant,
    last: Instant,
}

impl Steps {
    pub fn begin() -> Self {
        Self { begun: Instant::now(), last: Instant::now() }
    }

    pub fn done(&mut self, what: &str) {
        println!("  {what}: {:.2} s", self.last.elapsed().as_secs_f64());
        self.last = Instant::now();
    }

    pub fn end(self) {
        println!("Done in {:.2} s.", self.begun.elapsed().as_secs_f64());
    }
}

/// Makes the cluster of a snapshot that of a data folder.
pub fn restore_file(path: &Path, data_dir: &Path) -> anyhow::Result<()> {
    let mut steps = Steps::begin();
    let archive = restore::open(path)?;
    let header = archive.header.clone();
    println!("Restoring {}, saved {} on {:?}.", path.display(), time(header.created), header.node);
    steps.done(&format!("checked all of it, {} objects at revision {}", header.objects, header.revision));
    let restored = restore::restore((path, archive), data_dir, host::unix_now(), &mut |what| steps.done(&what))?;
    let kept = anew::kept(restored.aside.as_ref());
    steps.done(&format!("put it into {}{kept}", data_dir.join("server").display()));
    steps.end();
    println!("Now start the server as always: coracle server{}", flags(&header.settings));
    println!("Clients list again. Workers find it at the address of before; at another, start them with");
    println!("--server https://THIS:6443. Other servers join anew by that, --token and --resync.");
    println!("Stop servers of before that still run: by themselves they go on as the cluster of before.");
    Ok(())
}

/// The flags without which a server would not have the cluster's settings.
fn flags(settings: &host::Agreed) -> String {
    let Ok(Cli { command: Command::Server(options) }) = Cli::try_parse_from(["coracle", "server"]) else {
        return String::new();
    };
    let usual = host::agreed(&options);
    let differing = settings.iter().filter(|(flag, value)| usual.get(*flag) != Some(value));
    differing.map(|(flag, value)| format!(" {flag}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use backup::Header;

    use super::*;

    #[test]
    fn rows_say_what_a_snapshot_is() {
        let header = Header { created: 1_800_000_000, revision: 42, ..Header::default() };
        let good = Listed { name: "on-demand-n-1800000000".into(), size: 4096, header, problem: None };
        let bad = Listed { problem: Some("it is damaged at byte 20".into()), ..good.clone() };
        let rows: Vec<String> =
            table(&[good, bad]).lines().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(rows[0], "NAME SIZE CREATED REVISION");
        assert_eq!(rows[1], "on-demand-n-1800000000 4096 2027-01-15T08:00:00Z 42");
        assert!(rows[2].ends_with("it is damaged at byte 20"), "{rows:?}");
    }

    #[tokio::test]
    async fn what_came_of_saving_is_in_the_last_line() {
        let progress = json!({ "progress": { "objects": 5, "written": 5, "checked": 2 } });
        let said = async |last: Option<Value>| {
            let lines = [Some(progress.clone()), Some(progress.clone()), last].into_iter().flatten().map(Ok);
            let bar = ProgressBar::hidden();
            let came = follow(futures::stream::iter(lines), &bar).await;
            assert_eq!((bar.length(), bar.message()), (Some(5), "checking".to_owned()));
            came.map_err(|error| error.to_string())
        };
        assert_eq!(said(Some(json!({ "snapshots": [] }))).await, Ok(json!({ "snapshots": [] })));
        let refused = json!({ "kind": "Status", "message": "no space left" });
        assert_eq!(said(Some(refused)).await, Err("no space left".to_owned()));
        assert_eq!(said(None).await, Err("the server ended before the snapshot was saved".to_owned()));
    }

    #[test]
    fn only_unusual_settings_are_named() {
        let settings = |domain: &str| {
            let arguments = ["coracle", "server", "--cluster-domain", domain];
            match Cli::try_parse_from(arguments).expect("the flags parse").command {
                Command::Server(options) => host::agreed(&options),
                _ => panic!("not a server"),
            }
        };
        assert_eq!(flags(&settings("cluster.local")), "");
        assert_eq!(flags(&settings("a.b")), " --cluster-domain=a.b");
    }
}
