//! What the checks look at in a pod spec and in a container.

use crate::tree::view;

view! {
    /// A `PodSpec`.
    pub struct PodSpec {
        active_deadline_seconds: "activeDeadlineSeconds",
        affinity: "affinity",
        containers: "containers",
        dns_config: "dnsConfig",
        dns_policy: "dnsPolicy",
        ephemeral_containers: "ephemeralContainers",
        host_aliases: "hostAliases",
        host_network: "hostNetwork",
        host_users: "hostUsers",
        hostname: "hostname",
        hostname_override: "hostnameOverride",
        image_pull_secrets: "imagePullSecrets",
        init_containers: "initContainers",
        node_name: "nodeName",
        node_selector: "nodeSelector",
        os: "os",
        overhead: "overhead",
        preemption_policy: "preemptionPolicy",
        priority_class_name: "priorityClassName",
        readiness_gates: "readinessGates",
        resource_claims: "resourceClaims",
        resources: "resources",
        restart_policy: "restartPolicy",
        runtime_class_name: "runtimeClassName",
        scheduling_gates: "schedulingGates",
        scheduling_group: "schedulingGroup",
        security_context: "securityContext",
        service_account_name: "serviceAccountName",
        share_process_namespace: "shareProcessNamespace",
        subdomain: "subdomain",
        termination_grace_period_seconds: "terminationGracePeriodSeconds",
        tolerations: "tolerations",
        topology_spread_constraints: "topologySpreadConstraints",
        volumes: "volumes",
    }
}

view! {
    /// A container of any sort.
    pub struct Container {
        env: "env",
        env_from: "envFrom",
        image: "image",
        image_pull_policy: "imagePullPolicy",
        lifecycle: "lifecycle",
        liveness_probe: "livenessProbe",
        name: "name",
        ports: "ports",
        readiness_probe: "readinessProbe",
        resize_policy: "resizePolicy",
        resources: "resources",
        restart_policy: "restartPolicy",
        restart_policy_rules: "restartPolicyRules",
        security_context: "securityContext",
        startup_probe: "startupProbe",
        termination_message_policy: "terminationMessagePolicy",
        volume_devices: "volumeDevices",
        volume_mounts: "volumeMounts",
    }
}

impl<'a> PodSpec<'a> {
    /// The lists of containers with their names, as in [`CONTAINER_LISTS`](super::CONTAINER_LISTS).
    pub fn container_lists(&self) -> [(&'static str, &'a serde_json::Value); 3] {
        [
            ("initContainers", self.init_containers),
            ("containers", self.containers),
            ("ephemeralContainers", self.ephemeral_containers),
        ]
    }
}

impl Container<'_> {
    /// There is a probe or a hook.
    pub fn is_probed(&self) -> bool {
        [self.lifecycle, self.liveness_probe, self.readiness_probe, self.startup_probe].iter().any(|v| !v.is_null())
    }
}
