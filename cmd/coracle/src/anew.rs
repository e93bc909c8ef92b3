//! A server whose cluster begins anew, or began anew without it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use backup::restore::{self, Aside, RESET_FLAG, SETTINGS};
use raft::offline::{self, Owner};
use serde::{Deserialize, Serialize};

use crate::door::Door;
use crate::host::{self, Agreed};
use crate::joiner::Folder;
use crate::options::ServerOptions;
use crate::snapshot::{Steps, restore_file};

/// How long the server at `--server` may take to say which cluster it belongs to. A start does not depend on it.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// What a server says about its cluster to those who know a token of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    pub cluster: Option<u64>,
    /// What the cluster was before it was restored or reset.
    pub earlier: Vec<u64>,
    /// Its servers; empty when none leads.
    pub members: Vec<u64>,
}

/// Does what `--cluster-reset` asks for.
pub fn reset(options: &ServerOptions) -> anyhow::Result<()> {
    let data_dir = &options.common.data_dir;
    let flag = data_dir.join("server").join(RESET_FLAG);
    if flag.exists() {
        bail!(
            "the cluster was reset already: start the server without --cluster-reset; to reset it once more, remove {} first",
            flag.display()
        );
    }
    if let Some(file) = &options.reset.cluster_reset_restore_path {
        restore_file(file, data_dir)?;
        pki::write_private(&flag, b"")?;
        return Ok(());
    }
    println!("Making this server the only one of its cluster, with the data that it has.");
    let mut steps = Steps::begin();
    // A join that was not finished would be begun anew at the next start, and what is here removed.
    Folder::of(data_dir).settle()?;
    let restored = restore::reset(data_dir, host::unix_now(), &mut |what| steps.done(&what))?;
    steps.done(&format!("put it into place{}", kept(restored.aside.as_ref())));
    steps.end();
    let others = restored.others.join(", ");
    match others.as_str() {
        "" => println!("It was the only one: nothing is lost."),
        others => println!("Lost is what others ({others}) acknowledged and this one had not received."),
    }
    if restored.learner {
        println!("It was new and had not caught up: far more may be lost. Another server, or a snapshot, may have it.");
    }
    println!("Now start it without --cluster-reset. Others that come back end and say so; each joins anew with");
    println!("coracle server --server https://THIS:6443 --token … --resync, which moves its old data aside.");
    Ok(())
}

/// Looks at what an earlier reset or restore has left, at a start that asks for none.
pub fn settle(options: &ServerOptions) -> anyhow::Result<()> {
    let data_dir = &options.common.data_dir;
    if let Some(new) = restore::half_done(data_dir) {
        bail!("a restore was cut short: run it again, or remove {} to begin with an empty cluster", new.display());
    }
    check_settings(&data_dir.join("server").join(SETTINGS), &host::agreed(options))?;
    for folder in restore::left_over(data_dir) {
        let folder = folder.display();
        tracing::info!(%folder, "keys and data of before a restore, a reset or --resync are kept: remove them if nobody needs them");
    }
    remove(&data_dir.join("server").join(RESET_FLAG))
}

/// Where what was there is, in words that follow what was done.
pub fn kept(aside: Option<&Aside>) -> String {
    let Some(aside) = aside else { return String::new() };
    let removed: Vec<_> = aside.removed.iter().map(|removed| removed.display().to_string()).collect();
    let instead = if removed.is_empty() { String::new() } else { format!(" ({} is removed)", removed.join(", ")) };
    format!("; what was there is kept in {}{instead}", aside.path.display())
}

/// The first start after a restore has to have the cluster's settings.
fn check_settings(file: &Path, given: &Agreed) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read(file) else { return Ok(()) };
    let restored: Agreed = serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
    let differing = host::differences(&restored, given);
    if !differing.is_empty() {
        bail!("settings differ from those of the snapshot: {}", differing.join("; "));
    }
    Ok(())
}

/// The restored server has started: from here on its settings are what it is started with.
pub fn started(options: &ServerOptions) {
    if let Err(error) = remove(&options.common.data_dir.join("server").join(SETTINGS)) {
        tracing::warn!(error = format!("{error:#}"), "cannot forget the settings of the snapshot");
    }
}

fn remove(file: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| file.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Compares this server's data with the cluster of `--server`, if it has any. With `--resync` what does not belong there is
/// moved aside, so that the server joins anew; without, it is refused. Where that cluster does not answer, the start goes on:
/// this server may be needed for it to do so.
pub async fn compare(options: &ServerOptions) -> anyhow::Result<()> {
    let data_dir = &options.common.data_dir;
    let Some(url) = options.member.server.as_deref().filter(|_| Folder::of(data_dir).is_settled()) else {
        return Ok(());
    };
    let Some(own) = offline::owner(&data_dir.join("server/db"))? else { return Ok(()) };
    let Some(token) = options.member.token.read()? else { return Ok(()) };
    let asked = tokio::time::timeout(ASK_LIMIT, lineage(url, &token)).await;
    let there = match asked.unwrap_or_else(|_| Err(anyhow!("no answer in time"))) {
        Ok(there) => there,
        Err(error) => {
            let why = format!("{error:#}");
            tracing::info!(url, why, "cannot compare this server's data with the cluster's; going on with it");
            return Ok(());
        }
    };
    let Some(why) = stranger(&own, &there) else { return Ok(()) };
    if !options.reset.resync {
        bail!("{why}; start it once with --resync to move the data aside and join anew");
    }
    let aside = restore::set_aside(data_dir, host::unix_now())?;
    tracing::warn!(why, "joining anew{}", kept(Some(&aside)));
    Ok(())
}

async fn lineage(url: &str, token: &str) -> anyhow::Result<Lineage> {
    let door = Door::find(url, token, None).await?;
    let config = door.config().await?;
    Ok(serde_json::from_value(config["lineage"].clone())?)
}

/// Why a server with this data does not belong to that cluster as it is.
fn stranger(own: &Owner, there: &Lineage) -> Option<&'static str> {
    let (ours, theirs) = (own.cluster?, there.cluster?);
    if there.earlier.contains(&ours) {
        return Some("this server's data is of its cluster as it was before that was reset or restored");
    }
    if ours != theirs {
        return Some("this server's data is of another cluster than that of --server");
    }
    let removed = !there.members.is_empty() && !there.members.contains(&own.member);
    removed.then_some("this server was removed from its cluster")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_belong_is_told_why() {
        let own = Owner { member: 1, cluster: Some(7), earlier: Vec::new() };
        let lineage = |cluster, earlier: &[u64], members: &[u64]| Lineage {
            cluster,
            earlier: earlier.to_vec(),
            members: members.to_vec(),
        };
        let cases = [
            (lineage(Some(7), &[6], &[1, 2]), None),
            (lineage(Some(7), &[], &[]), None),
            (lineage(None, &[], &[]), None),
            (lineage(Some(9), &[8, 7], &[2]), Some("reset or restored")),
            (lineage(Some(9), &[8], &[2]), Some("another cluster")),
            (lineage(Some(7), &[], &[2, 3]), Some("removed")),
        ];
        for (there, expected) in cases {
            let why = stranger(&own, &there);
            assert!(why.is_some() == expected.is_some(), "{there:?}: {why:?}");
            assert!(why.unwrap_or_default().contains(expected.unwrap_or_default()), "{there:?}: {why:?}");
        }
        let joiner = Owner { cluster: None, ..own };
        assert_eq!(stranger(&joiner, &lineage(Some(9), &[], &[2])), None);
    }

    #[test]
    fn what_is_kept_and_what_is_removed_is_named() {
        let aside = |removed: &[&str]| Aside {
            path: "/d/server-old-9".into(),
            removed: removed.iter().map(Into::into).collect(),
        };
        assert_eq!(kept(None), "");
        assert_eq!(kept(Some(&aside(&[]))), "; what was there is kept in /d/server-old-9");
        let said = kept(Some(&aside(&["/d/server-old-8"])));
        assert_eq!(said, "; what was there is kept in /d/server-old-9 (/d/server-old-8 is removed)");
    }

    #[test]
    fn a_restored_server_wants_the_settings_of_its_cluster_once() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join(SETTINGS);
        let settings = |domain: &str| Agreed::from([("--cluster-domain".to_owned(), domain.to_owned())]);
        check_settings(&file, &settings("x.y")).expect("there are none");
        std::fs::write(&file, r#"{"--cluster-domain":"a.b"}"#).expect("written");
        check_settings(&file, &settings("a.b")).expect("they are the same");
        let error = check_settings(&file, &settings("x.y")).expect_err("they differ").to_string();
        assert!(error.contains("--cluster-domain is x.y, the cluster has a.b"), "{error}");
        remove(&file).expect("removed");
        remove(&file).expect("nothing to remove is fine");
    }
}
