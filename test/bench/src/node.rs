//! What a whole node costs and how fast it is: run in namespaces of its own, with real containers.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cri::{RuntimeService as _, v1};
use e2e::cluster::{Cluster, binary};
use e2e::{host, kubectl::eventually};

use crate::report::Report;

const SERVER: &str = "coracle";
const IDLE: Duration = Duration::from_secs(30);
const PODS_ONE_BY_ONE: usize = 10;
const LIMIT: Duration = Duration::from_secs(60);

pub fn all(report: &mut Report) -> anyhow::Result<()> {
    host::prepare()?;
    let size = std::fs::metadata(binary())?.len();
    report.add("binary size", SERVER, size as f64 / 1e6, "MB", "");
    let mut cluster = Cluster::prepared()?;
    start(&mut cluster, report)?;
    pod_start(&cluster, report)?;
    idle(&cluster, report)?;
    cluster.stop();
    Ok(())
}

/// An empty data folder, images on disk: until the API answers, and until a pod that was asked for at once runs.
fn start(cluster: &mut Cluster, report: &mut Report) -> anyhow::Result<()> {
    let started = Instant::now();
    cluster.launch(&[])?;
    eventually_fast(|| host::shell("curl -skf https://127.0.0.1:6443/readyz").map(drop))?;
    report.add("start to /readyz", SERVER, started.elapsed().as_secs_f64(), "s", "(empty data folder)");
    eventually_fast(|| {
        cluster.kubectl.run("run first --image=docker.io/coracle/busybox:test --command -- sleep 3600").map(drop)
    })?;
    cluster.kubectl.run("wait --for=jsonpath={.status.phase}=Running pod/first --timeout=60s")?;
    report.add(
        "start to first pod Running",
        SERVER,
        started.elapsed().as_secs_f64(),
        "s",
        "(images on disk, not yet imported)",
    );
    Ok(())
}

/// Pod created → Running seen by a watch, against the bare CRI calls in the same run.
fn pod_start(cluster: &Cluster, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let bare = runtime.block_on(bare_cri())?;
    let whole = runtime.block_on(through_the_api(&cluster.kubeconfig))?;
    let note = format!("(bare CRI p50 {:.3} s; {:.2}×)", bare, whole / bare);
    report.add("pod created → Running, one at a time, p50", SERVER, whole, "s", note);
    Ok(())
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

async fn bare_cri() -> anyhow::Result<f64> {
    let client = cri::Remote::new("unix:///run/coracle/containerd/containerd.sock")?;
    let mut samples = Vec::new();
    for index in 0..PODS_ONE_BY_ONE {
        let sandbox = v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                name: format!("bare-{index}"),
                uid: format!("bare-{index}"),
                namespace: "bench".into(),
                attempt: 0,
            }),
            linux: Some(v1::LinuxPodSandboxConfig::default()),
            ..v1::PodSandboxConfig::default()
        };
        let config = v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata { name: "main".into(), attempt: 0 }),
            image: Some(v1::ImageSpec { image: "docker.io/coracle/busybox:test".into(), ..v1::ImageSpec::default() }),
            command: vec!["sleep".into(), "3600".into()],
            linux: Some(v1::LinuxContainerConfig::default()),
            ..v1::ContainerConfig::default()
        };
        let started = Instant::now();
        let id = client.run_pod_sandbox(sandbox.clone(), "").await?;
        let container = client.create_container(&id, config, sandbox).await?;
        client.start_container(&container).await?;
        samples.push(started.elapsed().as_secs_f64());
        client.stop_pod_sandbox(&id).await?;
        client.remove_pod_sandbox(&id).await?;
    }
    Ok(median(samples))
}

async fn through_the_api(kubeconfig: &Path) -> anyhow::Result<f64> {
    use futures::TryStreamExt as _;
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
    let client = e2e::kube_client(kubeconfig).await?;
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let mut samples = Vec::new();
    for index in 0..PODS_ONE_BY_ONE {
        let name = format!("timed-{index}");
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                {"name": "main", "image": "docker.io/coracle/busybox:test", "command": ["sleep", "3600"]}]},
        }))?;
        let fields = WatchParams::default().fields(&format!("metadata.name={name}"));
        let mut events = std::pin::pin!(pods.watch(&fields, "0").await?);
        let started = Instant::now();
        pods.create(&PostParams::default(), &pod).await?;
        loop {
            if let WatchEvent::Modified(pod) = events.try_next().await?.context("the watch ended")?
                && pod.status.is_some_and(|s| s.phase.as_deref() == Some("Running"))
            {
                break;
            }
        }
        samples.push(started.elapsed().as_secs_f64());
        pods.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(median(samples))
}

/// Nothing happens for a while: what does that cost?
fn idle(cluster: &Cluster, report: &mut Report) -> anyhow::Result<()> {
    cluster.kubectl.run("delete pod --all --now --wait=true")?;
    // What the pods' end set off has died down.
    std::thread::sleep(Duration::from_secs(5));
    let pid = cluster.pid();
    let (cpu, written) = (cpu_ticks(pid)?, written_bytes(pid)?);
    std::thread::sleep(IDLE);
    let seconds = IDLE.as_secs_f64();
    // Linux counts in hundredths of a second on every architecture that we build for.
    let cpu = (cpu_ticks(pid)? - cpu) / 100.0 / seconds * 100.0;
    let written = (written_bytes(pid)? - written) / 1024.0 / seconds;
    report.add("idle memory (RSS), everything in one process", SERVER, rss_mb(pid)?, "MB", "");
    report.add("idle CPU", SERVER, cpu, "% of a core", "");
    report.add("idle disk writes", SERVER, written, "KiB/s", "");
    Ok(())
}

fn proc_field(pid: u32, file: &str, key: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line =
        text.lines().find_map(|l| l.strip_prefix(key)).with_context(|| format!("/proc/{pid}/{file} lacks {key}"))?;
    Ok(line.split_whitespace().next().context("an empty field")?.parse()?)
}

/// Resident memory of a process.
pub fn rss_mb(pid: u32) -> anyhow::Result<f64> {
    Ok(proc_field(pid, "status", "VmRSS:")? / 1000.0)
}

/// What a process has sent to the disk so far.
pub fn written_bytes(pid: u32) -> anyhow::Result<f64> {
    proc_field(pid, "io", "write_bytes:")
}

/// User and system time of a process so far.
pub fn cpu_ticks(pid: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in parentheses and may hold spaces; user and system time are the 14th and 15th.
    let rest: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    Ok(rest.get(11).context("no user time")?.parse::<f64>()?
        + rest.get(12).context("no system time")?.parse::<f64>()?)
}

/// Like `eventually`, with looks so close that they do not blur what is timed.
fn eventually_fast(mut attempt: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    while let Err(error) = attempt() {
        if Instant::now() > deadline {
            return eventually(Duration::ZERO, || Err(anyhow::anyhow!("{error:#}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
