//! One row a rule: what baseline and restricted say of a pod that breaks just that rule.

use serde_json::json;

use super::*;

fn judge(pod: &Value, level: Level, version: Version) -> Option<String> {
    let metadata = pod.get("metadata").unwrap_or(&Value::Null);
    let parts = Pod { metadata, spec: &pod["spec"] };
    violations(&parts, LevelVersion { level, version })
}

/// Meets `restricted`.
fn good() -> Value {
    let container = |name: &str| json!({"name": name, "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
    json!({"metadata": {}, "spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container("c")], "initContainers": [container("i")], "ephemeralContainers": [container("e")],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }})
}

/// `good` with one more field: a path of names and indexes.
fn with(path: &str, value: Value) -> Value {
    let mut pod = good();
    let (parent, field) = path.rsplit_once('/').unwrap();
    let mut at = &mut pod["spec"];
    for step in parent.split('/').filter(|s| !s.is_empty()) {
        at = match step.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[step],
        };
    }
    at[field] = value;
    pod
}

#[test]
fn a_good_pod_meets_everything() {
    assert_eq!(judge(&good(), Level::Restricted, Version::Latest), None);
}

#[test]
fn each_rule_says_what_it_forbids() {
    use Level::{Baseline, Restricted};
    let cases = [
        (Baseline, with("/hostNetwork", json!(true)), "host namespaces (hostNetwork=true)"),
        (Baseline, with("/hostPID", json!(true)), "host namespaces (hostPID=true)"),
        (
            Baseline,
            with("containers/0/securityContext/privileged", json!(true)),
            r#"privileged (container "c" must not set securityContext.privileged=true)"#,
        ),
        (
            Baseline,
            with("initContainers/0/securityContext/privileged", json!(true)),
            r#"privileged (container "i" must not set securityContext.privileged=true)"#,
        ),
        (
            Baseline,
            with("ephemeralContainers/0/securityContext/privileged", json!(true)),
            r#"privileged (container "e" must not set securityContext.privileged=true)"#,
        ),
        (
            Baseline,
            with("containers/0/securityContext/capabilities", json!({"add": ["SYS_ADMIN", "CHOWN"]})),
            r#"non-default capabilities (container "c" must not include "SYS_ADMIN" in securityContext.capabilities.add)"#,
        ),
        (
            Baseline,
            with("/volumes", json!([{"name": "h", "hostPath": {"path": "/"}}])),
            r#"hostPath volumes (volume "h")"#,
        ),
        (
            Baseline,
            with("containers/0/ports", json!([{"hostPort": 80}])),
            r#"hostPort (container "c" uses hostPort 80)"#,
        ),
        (
            Baseline,
            with("containers/0/livenessProbe", json!({"httpGet": {"host": "1.2.3.4"}})),
            r#"probe or lifecycle host (container "c" uses probe or lifecycle host "1.2.3.4")"#,
        ),
        (
            Baseline,
            with("containers/0/securityContext/procMount", json!("Unmasked")),
            r#"procMount (container "c" must not set securityContext.procMount to "Unmasked")"#,
        ),
        (
            Baseline,
            with("securityContext/seccompProfile", json!({"type": "Unconfined"})),
            r#"seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")"#,
        ),
        (
            Baseline,
            with("securityContext/seLinuxOptions", json!({"type": "spc_t"})),
            r#"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t")"#,
        ),
        (
            Baseline,
            with("securityContext/seLinuxOptions", json!({"user": "u", "role": "r"})),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: user may not be set; role may not be set)",
        ),
        (
            Baseline,
            with("securityContext/sysctls", json!([{"name": "kernel.msgmax"}])),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            Baseline,
            with("securityContext/windowsOptions", json!({"hostProcess": true})),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            Baseline,
            with("securityContext/appArmorProfile", json!({"type": "Unconfined"})),
            r#"forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")"#,
        ),
        (
            Restricted,
            with("containers/0/securityContext/allowPrivilegeEscalation", json!(true)),
            r#"allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)"#,
        ),
        (
            Restricted,
            with("initContainers/0/securityContext/capabilities", json!({})),
            r#"unrestricted capabilities (container "i" must set securityContext.capabilities.drop=["ALL"])"#,
        ),
        (
            Restricted,
            with("ephemeralContainers/0/securityContext/capabilities", json!({"drop": ["ALL"], "add": ["CHOWN"]})),
            r#"unrestricted capabilities (container "e" must not include "CHOWN" in securityContext.capabilities.add)"#,
        ),
        (
            Restricted,
            with("/volumes", json!([{"name": "n", "nfs": {}}])),
            r#"restricted volume types (volume "n" uses restricted volume type "nfs")"#,
        ),
        (
            Restricted,
            with("securityContext/runAsNonRoot", json!(false)),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
        (
            Restricted,
            with("securityContext/runAsNonRoot", Value::Null),
            r#"runAsNonRoot != true (pod or containers "i", "c", "e" must set securityContext.runAsNonRoot=true)"#,
        ),
        (
            Restricted,
            with("containers/0/securityContext/runAsUser", json!(0)),
            r#"runAsUser=0 (container "c" must not set runAsUser=0)"#,
        ),
        (
            Restricted,
            with("securityContext/seccompProfile", Value::Null),
            r#"seccompProfile (pod or containers "i", "c", "e" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#,
        ),
    ];
    for (level, pod, want) in cases {
        assert_eq!(judge(&pod, level, Version::Latest).as_deref(), Some(want));
        assert_eq!(judge(&pod, Level::Privileged, Version::Latest), None);
        if level == Baseline {
            assert!(
                judge(&pod, Restricted, Version::Latest).is_some_and(|t| t.contains(want.split(" (").next().unwrap()))
            );
        } else {
            assert_eq!(judge(&pod, Baseline, Version::Latest), None);
        }
    }
}

#[test]
fn older_versions_ask_less() {
    let keepalive = with("securityContext/sysctls", json!([{"name": "net.ipv4.tcp_keepalive_time"}]));
    assert!(judge(&keepalive, Level::Baseline, Version::Minor(28)).is_some());
    assert!(judge(&keepalive, Level::Baseline, Version::Minor(29)).is_none());
    let root = with("securityContext/runAsUser", json!(0));
    assert!(judge(&root, Level::Restricted, Version::Minor(22)).is_none());
    let mut windows = with("/os", json!({"name": "windows"}));
    windows["spec"]["containers"][0]["securityContext"] = json!({});
    assert!(judge(&windows, Level::Restricted, Version::Minor(24)).is_some());
    assert!(judge(&windows, Level::Restricted, Version::Minor(25)).is_none());
}
