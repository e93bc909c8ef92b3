//! Everything that streams: logs, exec, cp, attach, port-forward.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::in_namespace;
use crate::cluster::Cluster;
use crate::host;
use crate::kubectl::{Kubectl, eventually};

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: counter, namespace: streams}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: docker.io/coracle/busybox:test
    command: [sh, -c, 'i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done']
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: streams}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: web, image: 'docker.io/coracle/web:v1'}
---
apiVersion: v1
kind: Pod
metadata: {name: echo, namespace: streams}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: 'docker.io/coracle/busybox:test', command: [cat], stdin: true, stdinOnce: true}
";

pub fn all(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "streams", |cluster| {
        let k = &cluster.kubectl;
        k.apply(PODS)?;
        k.run("-n streams wait --for=condition=Ready pod/counter pod/web pod/echo --timeout=60s")?;
        logs(k)?;
        exec(k)?;
        copy(k)?;
        port_forward(k)
    })
}

fn logs(k: &Kubectl) -> anyhow::Result<()> {
    k.until(Duration::from_secs(10), "-n streams logs counter", |text| text.starts_with("line 0\nline 1\n"))?;
    ensure!(k.run("-n streams logs counter --tail=2")?.lines().count() == 2, "logs --tail");
    ensure!(k.run("-n streams logs counter --timestamps --limit-bytes=64")?.len() <= 64, "logs --limit-bytes");
    let mut child = k.start("-n streams logs -f counter --since=1s")?;
    let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let followed: Vec<String> = lines.take(12).map_while(Result::ok).collect();
    child.kill()?;
    child.wait()?;
    ensure!(followed.len() == 12, "logs -f ended early: {followed:?}");
    let numbers: Vec<u64> = followed.iter().filter_map(|l| l.strip_prefix("line ")?.parse().ok()).collect();
    ensure!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "lines are missing: {numbers:?}");
    Ok(())
}

fn exec(k: &Kubectl) -> anyhow::Result<()> {
    ensure!(k.run("-n streams exec counter -- echo hello")? == "hello\n", "exec");
    ensure!(k.feed("-n streams exec -i counter -- wc -c", "12345")?.trim() == "5", "exec -i");
    let failed = k.command("-n streams exec counter -- sh -c 'exit 7'").output()?;
    ensure!(failed.status.code() == Some(7), "the exit code is {:?}", failed.status);
    // `script` gives kubectl a terminal.
    let config = k.command("").get_envs().find(|(n, _)| *n == "KUBECONFIG").and_then(|(_, v)| v.map(|v| v.to_owned()));
    let line = "kubectl -n streams exec -it counter -- tty";
    let output = std::process::Command::new("script")
        .args(["-qec", line, "/dev/null"])
        .env("KUBECONFIG", config.context("a kubeconfig")?)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("/dev/pts/"), "exec -it: {text}");
    let attached = k.feed("-n streams attach -i echo", "over and out\n")?;
    ensure!(attached.contains("over and out"), "attach: {attached:?}");
    Ok(())
}

fn copy(k: &Kubectl) -> anyhow::Result<()> {
    let dir = host::work_dir();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(dir.join("up.bin"), &content)?;
    k.run(&format!("-n streams cp {} counter:/tmp/up.bin", dir.join("up.bin").display()))?;
    k.run(&format!("-n streams cp counter:/tmp/up.bin {}", dir.join("down.bin").display()))?;
    ensure!(std::fs::read(dir.join("down.bin"))? == content, "cp changed the file");
    Ok(())
}

fn port_forward(k: &Kubectl) -> anyhow::Result<()> {
    let mut child = k.start("-n streams port-forward pod/web 18080:8080")?;
    let outcome = eventually(Duration::from_secs(15), || host::shell("curl -s -m 3 http://127.0.0.1:18080/hostname"));
    // A second connection through the same session.
    let again = host::shell("curl -s -m 3 http://127.0.0.1:18080/hostname");
    child.kill()?;
    let mut said = String::new();
    child.stderr.take().context("no output")?.read_to_string(&mut said)?;
    child.wait()?;
    ensure!(outcome.with_context(|| said.clone())?.trim() == "web", "port-forward reached something else");
    ensure!(again.with_context(|| said)?.trim() == "web", "the second connection failed");
    Ok(())
}
