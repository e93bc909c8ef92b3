//! kubectl's commands, with what upstream's tests look for in their output.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{DEPLOYMENT, ENDPOINTS, Kind, POD, REPLICATION_CONTROLLER, SERVICE};
use crate::must::must;
use crate::samples::{BUSYBOX, WEB, WEB_2, controller, idle, pod_spec, template};
use crate::wait::eventually;

tests!(cli:
    api_versions, cluster_info, describe, diff, expose, label, patch, replace, run, server_dry_run, version,
    update_demo, update_demo_scaled, logs,
);

/// The object as kubectl wants to be given it.
fn manifest(kind: Kind, mut object: Value) -> Value {
    object["apiVersion"] = json!(kind.api_version);
    object["kind"] = json!(kind.kind);
    object
}

/// The output has to contain every one of these.
fn contains(output: &str, texts: &[&str], what: &str) -> anyhow::Result<()> {
    for text in texts {
        ensure!(output.contains(text), "{what} MUST show {text:?}:\n{output}");
    }
    Ok(())
}

/// A controller of web servers, made with kubectl, and the names of its pods as soon as they run.
async fn web_pods(cluster: &Cluster, name: &str, replicas: u32) -> anyhow::Result<Vec<String>> {
    let labels = cluster.labels();
    let mut object = controller(name, &labels, replicas);
    let server = json!({"name": "web", "image": WEB, "ports": [{"name": "web-server", "containerPort": 8080}]});
    object["spec"]["template"] = template(&labels, server);
    cluster.feed("create -f -", &manifest(REPLICATION_CONTROLLER, object)).await?;
    running(cluster, replicas as usize).await
}

async fn running(cluster: &Cluster, count: usize) -> anyhow::Result<Vec<String>> {
    eventually(async || {
        let template = "{range .items[?(@.status.phase==\"Running\")]}{.metadata.name} {end}";
        let line = format!("get pods -l {} -o 'jsonpath={template}'", cluster.selector());
        let output = cluster.kubectl(&line).await?;
        let names: Vec<String> = output.split_whitespace().map(str::to_owned).collect();
        ensure!(names.len() == count, "{count} pods MUST run: {names:?}");
        Ok(names)
    })
    .await
}

async fn api_versions(cluster: &Cluster) -> anyhow::Result<()> {
    let output = cluster.kubectl("api-versions").await?;
    ensure!(output.lines().any(|line| line == "v1"), "the output MUST contain v1: {output}");
    Ok(())
}

async fn cluster_info(cluster: &Cluster) -> anyhow::Result<()> {
    let output = cluster.kubectl("cluster-info").await?;
    contains(&output, &["Kubernetes control plane", "is running at", "https://"], "cluster-info")
}

async fn version(cluster: &Cluster) -> anyhow::Result<()> {
    let output: Value = serde_json::from_str(&cluster.kubectl("version -o json").await?)?;
    let fields =
        ["major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"];
    for side in ["clientVersion", "serverVersion"] {
        let printed = |field: &&str| output[side][field].as_str().is_some_and(|text| !text.is_empty());
        must(fields.iter().all(printed), &format!("{side} MUST have {fields:?}"), &output)?;
    }
    contains(&cluster.kubectl("version").await?, &["Client Version: v1.", "Server Version: v1."], "version")
}

async fn describe(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = web_pods(cluster, "primary", 1).await?;
    let service = json!({"metadata": {"name": "primary", "labels": cluster.labels()},
        "spec": {"selector": cluster.labels(), "ports": [{"port": 6379, "targetPort": "web-server"}]}});
    cluster.feed("create -f -", &manifest(SERVICE, service)).await?;
    let labels = cluster.selector();

    let output = cluster.kubectl(&format!("describe pod {}", pods[0])).await?;
    let texts = [
        "Name:",
        "Namespace:",
        "Labels:",
        &labels,
        "Annotations:",
        "Node:",
        "Status:",
        "IP:",
        "Image:",
        WEB,
        "Controlled By:",
        "ReplicationController/primary",
        "State:",
        "Running",
        "QoS Class:",
    ];
    contains(&output, &texts, "describe pod")?;
    let output = cluster.kubectl("describe rc primary").await?;
    let texts = [
        "Name:",
        "Namespace:",
        "Selector:",
        "Labels:",
        "Annotations:",
        "Replicas:",
        "1 current",
        "1 desired",
        "Pods Status:",
        "1 Running",
        "Pod Template:",
        "Image:",
        "Events:",
    ];
    contains(&output, &texts, "describe rc")?;
    let output = cluster.kubectl("describe service primary").await?;
    let texts = [
        "Name:",
        "Namespace:",
        "Labels:",
        "Selector:",
        "Type:",
        "ClusterIP",
        "IP:",
        "Port:",
        "<unset>",
        "6379/TCP",
        "TargetPort:",
        "web-server/TCP",
        "Endpoints:",
        "Session Affinity:",
    ];
    contains(&output, &texts, "describe service")?;
    let nodes = cluster.kubectl("get nodes -o 'jsonpath={.items[*].metadata.name}'").await?;
    let node = nodes.split(' ').find(|name| !name.starts_with("nodes-")).context("a node")?;
    let output = cluster.kubectl(&format!("describe node {node}")).await?;
    let texts = [
        "Name:",
        "Labels:",
        "Annotations:",
        "CreationTimestamp:",
        "Conditions:",
        "Type",
        "Status",
        "LastHeartbeatTime",
        "LastTransitionTime",
        "Reason",
        "Message",
        "Addresses:",
        "Capacity:",
        "Kernel Version:",
        "OS Image:",
        "Container Runtime Version:",
        "Kubelet Version:",
    ];
    contains(&output, &texts, "describe node")?;
    let output = cluster.kubectl(&format!("describe namespace {}", cluster.unique)).await?;
    contains(
        &output,
        &["Name:", "Labels:", "Status:", "Active", "No resource quota", "No LimitRange"],
        "describe namespace",
    )
}

async fn diff(cluster: &Cluster) -> anyhow::Result<()> {
    let deployment = |image: &str| {
        let labels = cluster.labels();
        let container = json!({"name": "web", "image": image});
        let spec = json!({"selector": {"matchLabels": labels}, "template": template(&labels, container)});
        manifest(DEPLOYMENT, json!({"metadata": {"name": "web"}, "spec": spec}))
    };
    cluster.feed("create -f -", &deployment(WEB)).await?;
    let declared = deployment(BUSYBOX).to_string();
    let path = std::env::temp_dir().join(format!("{}.json", cluster.unique));
    std::fs::write(&path, declared)?;
    let output =
        cluster.blocking(&format!("diff -f {}", path.display()), |k, line| Ok(k.command(line).output()?)).await?;
    std::fs::remove_file(&path)?;
    ensure!(output.status.code() == Some(1), "diff MUST find a difference: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    contains(&text, &[&format!("-      - image: {WEB}"), &format!("+      - image: {BUSYBOX}")], "diff")
}

async fn expose(cluster: &Cluster) -> anyhow::Result<()> {
    web_pods(cluster, "primary", 1).await?;
    let services = cluster.of(SERVICE);
    for (line, name, port) in [
        ("expose rc primary --name=rm2 --port=1234 --target-port=8080", "rm2", 1234),
        ("expose service rm2 --name=rm3 --port=2345 --target-port=8080", "rm3", 2345),
    ] {
        cluster.kubectl(line).await?;
        let service = services.get(name).await?;
        let exposed = &service["spec"]["ports"][0];
        must(exposed["port"] == port && exposed["targetPort"] == 8080, "the ports MUST be as asked for", &service)?;
        let listening =
            |e: &Value| e["subsets"][0]["ports"][0]["port"] == 8080 && e["subsets"][0]["addresses"].is_array();
        cluster.of(ENDPOINTS).until(name, "the pod MUST be behind the service", listening).await?;
    }
    Ok(())
}

async fn label(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.kubectl(&format!("run one --image={WEB}")).await?;
    cluster.kubectl("wait --for=condition=Ready pod/one --timeout=60s").await?;
    cluster.kubectl("label pods one testing-label=testing-label-value").await?;
    let output = cluster.kubectl("get pod one -L testing-label").await?;
    contains(&output, &["TESTING-LABEL", "testing-label-value"], "get -L")?;
    cluster.kubectl("label pods one testing-label-").await?;
    let output = cluster.kubectl("get pod -l testing-label -o name").await?;
    ensure!(output.is_empty(), "a removed label MUST NOT be found: {output}");
    Ok(())
}

async fn patch(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = web_pods(cluster, "primary", 2).await?;
    for pod in &pods {
        cluster.kubectl(&format!("patch pod {pod} -p '{{\"metadata\":{{\"annotations\":{{\"x\":\"y\"}}}}}}'")).await?;
    }
    for pod in cluster.of(POD).until_count(&cluster.selector(), pods.len()).await? {
        must(pod["metadata"]["annotations"]["x"] == "y", "the annotation MUST be read from each pod", &pod)?;
    }
    Ok(())
}

async fn replace(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.kubectl(&format!("run one --image={WEB} --labels=run=one")).await?;
    cluster.kubectl("wait --for=condition=Ready pod/one --timeout=60s").await?;
    let mut pod: Value = serde_json::from_str(&cluster.kubectl("get pod one -o json").await?)?;
    let uid = pod["metadata"]["uid"].clone();
    pod["spec"]["containers"][0]["image"] = json!(WEB_2);
    cluster.feed("replace -f -", &pod).await?;
    let read = cluster.of(POD).get("one").await?;
    must(read["spec"]["containers"][0]["image"] == WEB_2, "the image MUST be updated", &read)?;

    let recreated = json!({"metadata": {"name": "one"}, "spec": pod_spec(idle())});
    cluster.feed("replace --force --grace-period=0 -f -", &manifest(POD, recreated)).await?;
    let read = cluster.of(POD).get("one").await?;
    must(read["metadata"]["uid"] != uid, "a forced replacement MUST make the pod anew", &read)?;
    must(read["spec"]["containers"][0]["image"] == BUSYBOX, "the new pod MUST have the new image", &read)
}

async fn run(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.kubectl(&format!("run one --restart=Never --image={WEB}")).await?;
    let pod = cluster.of(POD).get("one").await?;
    let containers = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    must(containers == 1 && pod["spec"]["containers"][0]["image"] == WEB, "one container MUST have the image", &pod)?;
    must(pod["spec"]["restartPolicy"] == "Never", "the restart policy MUST be Never", &pod)
}

async fn server_dry_run(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.kubectl(&format!("run one --image={WEB} --labels=run=one")).await?;
    let patch = format!("{{\"spec\":{{\"containers\":[{{\"name\":\"one\",\"image\":\"{WEB_2}\"}}]}}}}");
    let output = cluster.kubectl(&format!("patch pod one -p '{patch}' --dry-run=server -o yaml")).await?;
    contains(&output, &[WEB_2], "a dry run")?;
    let pod = cluster.of(POD).get("one").await?;
    must(pod["spec"]["containers"][0]["image"] == WEB, "the image MUST NOT change", &pod)
}

async fn update_demo(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = web_pods(cluster, "update-demo", 2).await?;
    for pod in &pods {
        let line = format!("get --raw /api/v1/namespaces/{}/pods/{pod}:8080/proxy/hostname", cluster.unique);
        let answer = cluster.kubectl(&line).await?;
        ensure!(answer.trim() == pod, "the pod MUST serve: {answer:?} instead of {pod:?}");
    }
    cluster.kubectl("delete --grace-period=0 --force rc/update-demo").await?;
    let output = cluster.kubectl("get rc -o name").await?;
    ensure!(output.is_empty(), "the controller MUST be gone: {output}");
    cluster.of(POD).until_count(&cluster.selector(), 0).await.map(drop)
}

async fn update_demo_scaled(cluster: &Cluster) -> anyhow::Result<()> {
    web_pods(cluster, "update-demo", 2).await?;
    for replicas in [1, 2] {
        cluster.kubectl(&format!("scale rc update-demo --replicas={replicas} --timeout=1m")).await?;
        running(cluster, replicas).await?;
    }
    Ok(())
}

async fn logs(cluster: &Cluster) -> anyhow::Result<()> {
    let script = "for i in $(seq 1 10); do echo early $i; done; sleep 3; for i in $(seq 1 60); do echo late $i; sleep 0.1; done; sleep 3600";
    let container = json!({"name": "main", "image": BUSYBOX, "command": ["sh", "-c", script]});
    cluster
        .feed("create -f -", &manifest(POD, json!({"metadata": {"name": "one"}, "spec": pod_spec(container)})))
        .await?;
    eventually(async || contains(&cluster.kubectl("logs one").await?, &["early 10", "late 15"], "logs")).await?;

    let recent = cluster.kubectl("logs one --since=1s").await?;
    let day = cluster.kubectl("logs one --since=24h").await?;
    ensure!(!recent.contains("early") && recent.contains("late"), "--since=1s MUST show the last second: {recent:?}");
    ensure!(day.contains("early 1\n"), "--since=24h MUST show everything: {day:?}");
    ensure!(recent.lines().count() < day.lines().count(), "a second MUST show less than a day");
    // From here on nothing is written between the look for the end and the reading.
    eventually(async || contains(&cluster.kubectl("logs one").await?, &["late 60"], "logs")).await?;
    let one = cluster.kubectl("logs one --tail=1").await?;
    ensure!(one.lines().count() == 1 && one.contains("late"), "--tail=1 MUST show the last line: {one:?}");
    let byte = cluster.kubectl("logs one --limit-bytes=1").await?;
    ensure!(byte.len() == 1, "--limit-bytes=1 MUST show one byte: {byte:?}");
    let stamped = cluster.kubectl("logs one --tail=1 --timestamps").await?;
    let stamp = stamped.split(' ').next().unwrap_or_default();
    ensure!(stamped.lines().count() == 1, "--tail=1 --timestamps MUST show one line: {stamped:?}");
    ensure!(is_rfc3339(stamp), "the timestamp MUST be RFC 3339: {stamp:?}");
    Ok(())
}

/// Whether it looks like `2026-01-02T03:04:05.678901234Z`.
fn is_rfc3339(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let numbers = |text: &str, count: usize, separator: char| {
        text.split(separator).filter(|part| part.parse::<u32>().is_ok()).count() == count
    };
    let clock = time.split(['.', 'Z', '+']).next().unwrap_or_default();
    numbers(date, 3, '-') && numbers(clock, 3, ':') && (time.ends_with('Z') || time.contains('+'))
}
