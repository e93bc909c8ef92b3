//! Helm 4, which applies on the server: a chart as `helm create` makes it, through its life.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::in_namespace;
use crate::cluster::Cluster;
use crate::host;

/// Helm with its files in a folder of its own, for one cluster.
struct Helm {
    dir: PathBuf,
    kubeconfig: PathBuf,
}

impl Helm {
    fn run(&self, line: &str) -> anyhow::Result<String> {
        let output = Command::new("helm")
            .args(line.split(' '))
            .current_dir(&self.dir)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_NAMESPACE", "helm")
            .envs(["CACHE", "CONFIG", "DATA"].map(|kind| (format!("HELM_{kind}_HOME"), self.dir.join(kind))))
            .output()
            .context("helm")?;
        let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "helm {line}: {} {}", error.trim(), text.trim());
        Ok(text.into_owned())
    }

    fn json(&self, line: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.run(&format!("{line} --output json"))?)?)
    }

    /// `helm create`, with our image and port.
    fn chart(&self) -> anyhow::Result<()> {
        self.run("create web")?;
        // Its test asks the service with an image that is not here.
        let test = self.dir.join("web/templates/tests/test-connection.yaml");
        let text = std::fs::read_to_string(&test)?;
        std::fs::write(&test, text.replace("image: busybox", "image: docker.io/coracle/busybox:test"))?;
        let values = "
replicaCount: 2
image: {repository: docker.io/coracle/web, tag: v1}
service: {port: 8080}
";
        std::fs::write(self.dir.join("ours.yaml"), values)?;
        Ok(())
    }
}

pub fn life(cluster: &mut Cluster) -> anyhow::Result<()> {
    let dir = host::work_dir().join("helm");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let helm = Helm { dir, kubeconfig: cluster.kubeconfig.clone() };
    helm.chart()?;
    in_namespace(cluster, "helm", |cluster| {
        let k = &cluster.kubectl;
        let images = "-n helm get pods -l app.kubernetes.io/name=web --field-selector=status.phase=Running -o 'jsonpath={.items[*].spec.containers[0].image}'";
        let on = |version: &str| format!("docker.io/coracle/web:{version} docker.io/coracle/web:{version}");

        helm.run("install one web --values ours.yaml --wait --timeout 90s")?;
        let ready = k.run("-n helm get deployment one-web -o 'jsonpath={.status.readyReplicas}'")?;
        ensure!(ready == "2", "install --wait came back with {ready:?} of 2 ready");
        let managers = k.run("-n helm get deployment one-web --show-managed-fields -o 'jsonpath={range .metadata.managedFields[*]}{.manager}/{.operation} {end}'")?;
        ensure!(managers.contains("helm/Apply"), "Helm did not apply on the server: {managers:?}");
        reads(&helm)?;

        helm.run("upgrade one web --values ours.yaml --set image.tag=v2 --wait --timeout 90s")?;
        k.until(std::time::Duration::from_secs(30), images, |text| text == on("v2"))?;
        must_be(&helm, &["superseded", "deployed"])?;
        helm.run("rollback one 1 --wait --timeout 90s")?;
        k.until(std::time::Duration::from_secs(30), images, |text| text == on("v1"))?;
        must_be(&helm, &["superseded", "superseded", "deployed"])?;
        let tested = helm.run("test one --timeout 60s")?;
        ensure!(tested.contains("Succeeded"), "{tested}");

        helm.run("uninstall one --wait --timeout 90s")?;
        ensure!(helm.json("list")? == serde_json::json!([]), "the release is still listed");
        let left = k.run("-n helm get deployments,services,serviceaccounts,secrets -o name")?;
        ensure!(left.trim() == "serviceaccount/default", "uninstall left {left:?}");
        Ok(())
    })
}

/// What Helm says of a release that is installed.
fn reads(helm: &Helm) -> anyhow::Result<()> {
    let list = helm.json("list")?;
    ensure!(list[0]["name"] == "one" && list[0]["status"] == "deployed", "{list}");
    let manifest = helm.run("get manifest one")?;
    ensure!(manifest.contains("kind: Deployment") && manifest.contains("docker.io/coracle/web:v1"), "{manifest}");
    let values = helm.json("get values one")?;
    ensure!(values["replicaCount"] == 2, "{values}");
    ensure!(helm.run("get notes one")?.contains("NOTES"), "no notes");
    ensure!(helm.run("get all one")?.contains("LAST DEPLOYED"), "get all");
    ensure!(helm.run("status one")?.contains("STATUS: deployed"), "status");
    Ok(())
}

/// The release's revisions have these states.
fn must_be(helm: &Helm, states: &[&str]) -> anyhow::Result<()> {
    let history = helm.json("history one")?;
    let found: Vec<&str> = history.as_array().into_iter().flatten().filter_map(|r| r["status"].as_str()).collect();
    ensure!(found == states, "the history is {found:?} instead of {states:?}");
    Ok(())
}
