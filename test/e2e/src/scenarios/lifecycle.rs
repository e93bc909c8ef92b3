//! What happens to containers over a pod's life.

use std::time::Duration;

use anyhow::ensure;

use super::in_namespace;
use crate::cluster::Cluster;

const LIMIT: Duration = Duration::from_secs(90);

pub fn probes(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "probes", |cluster| {
        let k = &cluster.kubectl;
        k.apply(
            "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: probes, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: docker.io/coracle/web:v1
    startupProbe: {httpGet: {path: /startupz, port: 8080}, periodSeconds: 1, failureThreshold: 30}
    livenessProbe: {httpGet: {path: /livez, port: 8080}, periodSeconds: 1, failureThreshold: 2}
    readinessProbe: {grpc: {port: 8080}, periodSeconds: 1, failureThreshold: 1}
  - name: shell
    image: docker.io/coracle/busybox:test
    command: [sh, -c, 'touch /tmp/ok; exec sleep 3600']
    readinessProbe: {exec: {command: [cat, /tmp/ok]}, periodSeconds: 1}
    livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
",
        )?;
        k.run("-n probes expose pod web --port=80 --target-port=8080")?;
        k.run("-n probes wait --for=condition=Ready pod/web --timeout=60s")?;
        let ready = "-n probes get endpoints web -o 'jsonpath={.subsets[*].addresses[*].ip}'";
        let ip = k.run("-n probes get pod web -o 'jsonpath={.status.podIP}'")?;
        k.until(LIMIT, ready, |text| text == ip)?;

        k.run("-n probes exec web -c web -- /web get http://127.0.0.1:8080/set/ready/false")?;
        k.until(LIMIT, ready, str::is_empty)?;
        k.run("-n probes wait --for=condition=Ready=false pod/web --timeout=30s")?;
        k.run("-n probes exec web -c web -- /web get http://127.0.0.1:8080/set/ready/true")?;
        k.until(LIMIT, ready, |text| text == ip)?;

        let restarts =
            "-n probes get pod web -o 'jsonpath={.status.containerStatuses[?(@.name==\"web\")].restartCount}'";
        ensure!(k.run(restarts)? == "0", "restarted too early");
        k.run("-n probes exec web -c web -- /web get http://127.0.0.1:8080/set/live/false")?;
        k.until(LIMIT, restarts, |text| text == "1")?;
        k.run("-n probes wait --for=condition=Ready pod/web --timeout=60s")?;
        let events = k.run("-n probes get events")?;
        ensure!(events.contains("Liveness probe failed: HTTP probe failed with statuscode: 503"), "{events}");
        ensure!(events.contains("Container web failed liveness probe, will be restarted"), "{events}");
        Ok(())
    })
}

pub fn order(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "order", |cluster| {
        let k = &cluster.kubectl;
        k.apply(
            "
apiVersion: v1
kind: Pod
metadata: {name: ordered, namespace: order}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  volumes: [{name: log, emptyDir: {}}]
  initContainers:
  - name: first
    image: docker.io/coracle/busybox:test
    command: [sh, -c, 'echo first >> /log/order']
    volumeMounts: [{name: log, mountPath: /log}]
  - name: sidecar
    image: docker.io/coracle/busybox:test
    restartPolicy: Always
    command: [sh, -c, 'echo sidecar >> /log/order; trap \"echo sidecar-end >> /log/order; exit 0\" TERM; while true; do sleep 0.1; done']
    startupProbe: {exec: {command: [grep, sidecar, /log/order]}, periodSeconds: 1}
    volumeMounts: [{name: log, mountPath: /log}]
  - name: second
    image: docker.io/coracle/busybox:test
    command: [sh, -c, 'echo second >> /log/order']
    volumeMounts: [{name: log, mountPath: /log}]
  containers:
  - name: main
    image: docker.io/coracle/busybox:test
    command: [sh, -c, 'echo main >> /log/order; cat /log/order']
    volumeMounts: [{name: log, mountPath: /log}]
",
        )?;
        k.until(LIMIT, "-n order get pod ordered -o 'jsonpath={.status.phase}'", |text| text == "Succeeded")?;
        let log = k.run("-n order logs ordered -c main")?;
        ensure!(log == "first\nsidecar\nsecond\nmain\n", "the order was {log:?}");
        Ok(())
    })
}

pub fn restarts_and_hooks(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "restarts", |cluster| {
        let k = &cluster.kubectl;
        k.apply(
            "
apiVersion: v1
kind: Pod
metadata: {name: crash, namespace: restarts}
spec:
  containers:
  - {name: main, image: 'docker.io/coracle/busybox:test', command: [sh, -c, 'echo going down > /dev/termination-log; exit 3']}
---
apiVersion: v1
kind: Pod
metadata: {name: onfailure, namespace: restarts}
spec:
  restartPolicy: OnFailure
  volumes: [{name: state, emptyDir: {}}]
  containers:
  - name: main
    image: docker.io/coracle/busybox:test
    command: [sh, -c, 'test -e /state/second || { touch /state/second; exit 1; }']
    volumeMounts: [{name: state, mountPath: /state}]
---
apiVersion: v1
kind: Pod
metadata: {name: hooks, namespace: restarts}
spec:
  terminationGracePeriodSeconds: 10
  volumes: [{name: state, hostPath: {path: /run/e2e-hooks, type: DirectoryOrCreate}}]
  containers:
  - name: main
    image: docker.io/coracle/busybox:test
    command: [sleep, '3600']
    volumeMounts: [{name: state, mountPath: /state}]
    lifecycle:
      postStart: {exec: {command: [touch, /state/started]}}
      preStop: {exec: {command: [touch, /state/stopped]}}
",
        )?;
        let reason = "-n restarts get pod crash -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}'";
        k.until(LIMIT, reason, |text| text == "CrashLoopBackOff")?;
        let last = "{.status.containerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].lastState.terminated.message}";
        let last = k.run(&format!("-n restarts get pod crash -o 'jsonpath={last}'"))?;
        ensure!(last.trim() == "3 going down", "last state {last:?}");
        k.until(LIMIT, "-n restarts get pod onfailure -o 'jsonpath={.status.phase}'", |text| text == "Succeeded")?;
        k.run("-n restarts wait --for=condition=Ready pod/hooks --timeout=60s")?;
        ensure!(std::path::Path::new("/run/e2e-hooks/started").exists(), "postStart did not run");
        k.run("-n restarts delete pod hooks --timeout=60s")?;
        ensure!(std::path::Path::new("/run/e2e-hooks/stopped").exists(), "preStop did not run");
        Ok(())
    })
}

pub fn jobs(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "jobs", |cluster| {
        let k = &cluster.kubectl;
        k.apply(
            "
apiVersion: batch/v1
kind: Job
metadata: {name: good, namespace: jobs}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: 'docker.io/coracle/busybox:test', command: [sh, -c, 'echo index $JOB_COMPLETION_INDEX']}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad, namespace: jobs}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: 'docker.io/coracle/busybox:test', command: ['false']}]
",
        )?;
        k.run("-n jobs wait --for=condition=Complete job/good --timeout=60s")?;
        k.run("-n jobs wait --for=condition=Failed job/bad --timeout=60s")?;
        let reason = k.run("-n jobs get job bad -o 'jsonpath={.status.conditions[?(@.type==\"Failed\")].reason}'")?;
        ensure!(reason == "BackoffLimitExceeded", "the reason is {reason:?}");
        let status = k.run("-n jobs get job good -o 'jsonpath={.status.succeeded} {.status.completedIndexes}'")?;
        ensure!(status == "3 0-2", "the status is {status:?}");
        k.run("-n jobs delete job good")?;
        k.until(LIMIT, "-n jobs get pods -l job-name=good -o name", str::is_empty)?;
        Ok(())
    })
}
