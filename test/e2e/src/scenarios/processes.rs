//! The loops work over a kubeconfig as they do in process: the in-process client is wiring, nothing else.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use super::in_namespace;
use crate::cluster::{Cluster, binary};
use crate::host;

pub fn loops(cluster: &mut Cluster) -> anyhow::Result<()> {
    cluster.terminate()?;
    cluster.launch(&["--disable-scheduler", "--disable-controller-manager"])?;
    cluster.wait_ready()?;
    let mut scheduler = start(cluster, "scheduler")?;
    let mut controllers = start(cluster, "controller-manager")?;
    let outcome = in_namespace(cluster, "processes", |cluster| {
        let k = &cluster.kubectl;
        k.run("-n processes create deployment web --image=docker.io/coracle/web:v1 --replicas=2")?;
        k.run("-n processes rollout status deployment/web --timeout=60s")?;
        k.run("-n processes expose deployment web --port=80 --target-port=8080")?;
        let slices = "-n processes get endpointslices -l kubernetes.io/service-name=web -o 'jsonpath={.items[*].endpoints[*].addresses[0]}'";
        k.until(std::time::Duration::from_secs(30), slices, |text| text.split(' ').count() == 2)?;
        Ok(())
    });
    for child in [&mut scheduler, &mut controllers] {
        child.kill()?;
        child.wait()?;
    }
    cluster.terminate()?;
    cluster.launch(&[])?;
    outcome.and(cluster.wait_ready())
}

fn start(cluster: &Cluster, name: &str) -> anyhow::Result<Child> {
    let log = File::create(host::work_dir().join(format!("{name}.log")))?;
    let child = Command::new(binary())
        .arg(name)
        .arg(format!("--kubeconfig={}", cluster.kubeconfig.display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(child)
}
