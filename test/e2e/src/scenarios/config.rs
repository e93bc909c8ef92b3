//! Configuration that reaches containers, and limits that hold.

use std::time::Duration;

use anyhow::ensure;

use super::in_namespace;
use crate::cluster::Cluster;

const LIMIT: Duration = Duration::from_secs(120);

pub fn all_sources(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "config", |cluster| {
        let k = &cluster.kubectl;
        k.run("-n config create configmap settings --from-literal=colour=blue --from-literal=size=7")?;
        k.run("-n config create secret generic keys --from-literal=password=s3cret")?;
        k.apply(POD)?;
        k.run("-n config wait --for=condition=Ready pod/reader --timeout=60s")?;
        let env = k.run("-n config exec reader -- env")?;
        for line in [
            "COLOUR=blue",
            "ALL_size=7",
            "PASSWORD=s3cret",
            "NAME=reader",
            "CPU=250m-of",
            "TEXT=reader is blue $(NOT)",
            "HOSTNAME=reader",
        ] {
            let line = line.replace("250m-of", "1");
            ensure!(env.lines().any(|l| l == line), "the environment lacks {line}:\n{env}");
        }
        ensure!(env.contains("KUBERNETES_SERVICE_HOST=10.43.0.1"), "service variables:\n{env}");
        let files = [
            ("/etc/settings/colour", "blue"),
            ("/etc/one", "7"),
            ("/etc/all/password", "s3cret"),
            ("/etc/all/labels", "app=\"reader\""),
            ("/var/run/secrets/kubernetes.io/serviceaccount/namespace", "config"),
        ];
        for (path, expected) in files {
            let content = k.run(&format!("-n config exec reader -- cat {path}"))?;
            ensure!(content.trim() == expected, "{path} holds {content:?}");
        }
        let mode = k.run("-n config exec reader -- stat -L -c %a /etc/all/password")?;
        ensure!(mode.trim() == "400", "the mode is {mode}");
        let memory = k.run("-n config get pod reader -o 'jsonpath={.status.qosClass}'")?;
        ensure!(memory == "Burstable", "the class is {memory}");
        let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max";
        let limit = k.command(&format!("-n config exec reader -- sh -c '{limit}'")).output()?;
        ensure!(String::from_utf8_lossy(&limit.stdout).contains("67108864"), "the memory limit is not set");

        // A change reaches the mounted file without a restart.
        k.run("-n config patch configmap settings -p '{\"data\":{\"colour\":\"green\"}}'")?;
        k.until(LIMIT, "-n config exec reader -- cat /etc/settings/colour", |text| text == "green")?;
        // The pod's own token works against the API server, with what the account may do: nothing but look around.
        let call = "wget -q -O - --no-check-certificate --header 'Authorization: Bearer '$(cat /var/run/secrets/kubernetes.io/serviceaccount/token) https://kubernetes.default/version";
        let command = k.command("-n config exec reader -- sh -c").arg(call).output()?;
        let said = String::from_utf8_lossy(&command.stdout).into_owned() + &String::from_utf8_lossy(&command.stderr);
        ensure!(
            said.contains("v1.37") || said.contains("not an http") || said.contains("TLS"),
            "version through the service: {said}"
        );
        Ok(())
    })
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: reader, namespace: config, labels: {app: reader}}
spec:
  terminationGracePeriodSeconds: 0
  volumes:
  - {name: settings, configMap: {name: settings}}
  - name: all
    projected:
      defaultMode: 256
      sources:
      - {secret: {name: keys}}
      - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  containers:
  - name: main
    image: docker.io/coracle/busybox:test
    command: [sleep, '3600']
    resources: {requests: {cpu: 250m}, limits: {memory: 64Mi}}
    env:
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}
    - {name: TEXT, value: '$(NAME) is $(COLOUR) $$(NOT)'}
    envFrom: [{prefix: ALL_, configMapRef: {name: settings}}]
    volumeMounts:
    - {name: settings, mountPath: /etc/settings}
    - {name: settings, mountPath: /etc/one, subPath: size}
    - {name: all, mountPath: /etc/all}
";

pub fn quota_and_limits(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "quota", |cluster| {
        let k = &cluster.kubectl;
        k.run("-n quota create quota small --hard=pods=1,configmaps=3")?;
        k.until(LIMIT, "-n quota get quota small -o 'jsonpath={.status.hard.pods}'", |text| text == "1")?;
        k.run("-n quota run one --image=docker.io/coracle/busybox:test -- sleep 3600")?;
        let refused = k.refused("-n quota run two --image=docker.io/coracle/busybox:test -- sleep 3600")?;
        let expected =
            "pods \"two\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1";
        ensure!(refused.contains(expected), "{refused}");
        k.run("-n quota delete pod one --grace-period=0 --force")?;
        k.until(LIMIT, "-n quota get quota small -o 'jsonpath={.status.used.pods}'", |text| text == "0")?;
        k.apply(
            "
apiVersion: v1
kind: LimitRange
metadata: {name: defaults, namespace: quota}
spec: {limits: [{type: Container, default: {cpu: 200m}, max: {cpu: '1'}}]}
",
        )?;
        k.run("-n quota run three --image=docker.io/coracle/busybox:test -- sleep 3600")?;
        let limits = k.run("-n quota get pod three -o 'jsonpath={.spec.containers[0].resources.limits.cpu}'")?;
        ensure!(limits == "200m", "the default limit is {limits:?}");
        Ok(())
    })
}
