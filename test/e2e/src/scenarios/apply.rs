//! Server-side apply as kubectl does it: owners, conflicts, and objects that were applied by the client before.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::{IDLE, SETTINGS, in_namespace};
use crate::cluster::Cluster;
use crate::kubectl::Kubectl;

const LIMIT: Duration = Duration::from_secs(60);

const APPLY: &str = "-n applied apply --server-side -f -";
const AS_OTHER: &str = "-n applied apply --server-side --field-manager=other -f -";

pub fn on_the_server(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "applied", |cluster| {
        let k = &cluster.kubectl;
        applies(k).context("apply")?;
        conflicts(k).context("conflicts")?;
        tries(k).context("dry runs and diff")?;
        migrates(k, "migrated").context("migration")
    })
}

fn applies(k: &Kubectl) -> anyhow::Result<()> {
    let both = format!("{SETTINGS}{IDLE}");
    let said = k.feed(APPLY, &both)?;
    for text in ["configmap/settings serverside-applied", "deployment.apps/idle serverside-applied"] {
        ensure!(said.contains(text), "{said}");
    }
    k.until(LIMIT, "-n applied get deployment idle -o 'jsonpath={.status.readyReplicas}'", |text| text == "1")?;
    // What is applied again as it is changes nothing, although the controller has written the status.
    let versions =
        "-n applied get configmap/settings deployment/idle -o 'jsonpath={.items[*].metadata.resourceVersion}'";
    let before = k.run(versions)?;
    k.feed(APPLY, &both)?;
    ensure!(k.run(versions)? == before, "an apply without a change made a new version");
    let plain = k.run("-n applied get configmap settings -o yaml")?;
    ensure!(!plain.contains("managedFields") && !plain.contains("last-applied"), "{plain}");
    let shown = k.run("-n applied get configmap settings -o yaml --show-managed-fields")?;
    for text in ["manager: kubectl", "operation: Apply", "f:colour: {}", "f:size: {}", "fieldsType: FieldsV1"] {
        ensure!(shown.contains(text), "--show-managed-fields lacks {text:?}:\n{shown}");
    }
    Ok(())
}

fn colour(k: &Kubectl) -> anyhow::Result<String> {
    k.run("-n applied get configmap settings -o 'jsonpath={.data.colour} {.data.size}'")
}

fn conflicts(k: &Kubectl) -> anyhow::Result<()> {
    let green = SETTINGS.replace("{colour: blue, size: '7'}", "{colour: green}");
    let refusal = k.feed(AS_OTHER, &green).err().context("another manager's field was taken without a word")?;
    let text = format!("{refusal:#}");
    for expected in [
        "Apply failed with 1 conflict: conflict with \"kubectl\": .data.colour",
        "Please review the fields above--they currently have other managers.",
    ] {
        ensure!(text.contains(expected), "the conflict does not say {expected:?}: {text}");
    }
    ensure!(colour(k)? == "blue 7", "a refused apply changed the object");

    k.feed("-n applied apply --server-side --force-conflicts --field-manager=other -f -", &green)?;
    ensure!(colour(k)? == "green 7", "--force-conflicts did not take the field");
    // The first manager gives up both: what another one has stays, what nobody else has goes.
    k.feed(APPLY, &SETTINGS.replace("{colour: blue, size: '7'}", "{}"))?;
    ensure!(colour(k)? == "green ", "fields were not given up as they should: {:?}", colour(k)?);
    // Both may have the same value.
    k.feed(APPLY, &green)?;
    let owners = k.run(
        "-n applied get configmap settings -o 'jsonpath={.metadata.managedFields[*].manager}' --show-managed-fields",
    )?;
    ensure!(owners.contains("kubectl") && owners.contains("other"), "the owners are {owners:?}");
    Ok(())
}

fn tries(k: &Kubectl) -> anyhow::Result<()> {
    let other = SETTINGS.replace("settings", "tried");
    let said = k.feed("-n applied apply --server-side --dry-run=server -f -", &other)?;
    ensure!(said.contains("configmap/tried serverside-applied (server dry run)"), "{said}");
    ensure!(k.refused("-n applied get configmap tried")?.contains("not found"), "a dry run made an object");

    k.feed(APPLY, &other)?;
    let file = crate::host::work_dir().join("diff-server.yaml");
    std::fs::write(&file, other.replace("blue", "red"))?;
    let output = k.command(&format!("-n applied diff --server-side -f {}", file.display())).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "diff --server-side: {:?} {error}", output.status);
    ensure!(text.contains("-  colour: blue") && text.contains("+  colour: red"), "{text}");
    Ok(())
}

/// What the client applied before is kubectl's own on the server: no conflict, and fields go when they are left out.
fn migrates(k: &Kubectl, name: &str) -> anyhow::Result<()> {
    let first = SETTINGS.replace("settings", name);
    k.feed("-n applied apply -f -", &first)?;
    k.feed(APPLY, &first.replace("{colour: blue, size: '7'}", "{colour: red}"))?;
    let data = k.run(&format!("-n applied get configmap {name} -o 'jsonpath={{.data}}'"))?;
    ensure!(data == r#"{"colour":"red"}"#, "after the migration the data are {data}");
    let owners = format!(
        "-n applied get configmap {name} --show-managed-fields -o 'jsonpath={{range .metadata.managedFields[*]}}{{.manager}}/{{.operation}} {{end}}'"
    );
    let owners = k.run(&owners)?;
    let mut owners: Vec<&str> = owners.split_whitespace().collect();
    // In the order of their times, which differ by a second or by nothing.
    owners.sort_unstable();
    // kubectl keeps the annotation, under a manager of its own.
    let expected = ["kubectl-last-applied/Apply", "kubectl/Apply"];
    ensure!(owners == expected, "the owners after the migration are {owners:?}");
    Ok(())
}
