//! Rules of pods for Windows.

use super::simple;
use crate::testing::{check_create, row};

/// The errors that a name of a user is refused with.
fn user_name(name: &str, reasons: &[&str]) {
    let at = "spec.securityContext.windowsOptions.runAsUserName";
    let errors: Vec<String> =
        reasons.iter().map(|reason| format!("{at}: Invalid value: {name:?}: runAsUserName{reason}")).collect();
    let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
    let mut pod = simple();
    pod["spec"]["securityContext"] = serde_json::json!({ "windowsOptions": { "runAsUserName": name } });
    check_create(row("", "pods"), &pod, &[("", &errors)]);
}

#[test]
fn names_of_users() {
    user_name("Administrator", &[]);
    user_name(r"DOMAIN\user", &[]);
    user_name(r"a.b.example\user", &[]);
    user_name("", &[" cannot be an empty string"]);
    user_name("a\tb", &[" cannot contain control characters"]);
    user_name(r"a\b\c", &[" cannot contain more than one backslash"]);
    user_name(r"a*b\c", &["'s Domain doesn't match the NetBios nor the DNS format"]);
    let labels = vec!["a".repeat(63); 4].join(".");
    user_name(&format!(r"{labels}.a\c"), &["'s Domain length must be under 256 characters"]);
    user_name(r"a\", &["'s User cannot be empty"]);
    user_name(&"a".repeat(105), &["'s User length must not be longer than 104 characters"]);
    user_name(". .", &["'s User cannot contain only periods or spaces"]);
    user_name("a|b", &["'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"]);
}

#[test]
fn credential_specs() {
    let large = format!("spec.securityContext.windowsOptions.gmsaCredentialSpec = {}", "a".repeat(64 * 1024 + 1));
    check_create(
        row("", "pods"),
        &simple(),
        &[
            ("spec.securityContext.windowsOptions.gmsaCredentialSpec = a", &[]),
            (
                "spec.securityContext.windowsOptions.gmsaCredentialSpec = \"\"",
                &[
                    "spec.securityContext.windowsOptions.gmsaCredentialSpec: Invalid value: \"\": gmsaCredentialSpec cannot \
                   be an empty string",
                ],
            ),
            (
                &large,
                &[
                    "spec.securityContext.windowsOptions.gmsaCredentialSpec: Invalid value: {…}: gmsaCredentialSpec size \
                   must be under 64 KiB",
                ],
            ),
        ],
    );
}

#[test]
fn processes_of_the_host() {
    let all = r#"spec.hostNetwork = true ; spec.securityContext.windowsOptions = {"hostProcess":true}"#;
    let both = format!(r#"{all} ; spec.containers[0].securityContext.windowsOptions = {{"hostProcess":false}}"#);
    let some = r#"spec.hostNetwork = true ; spec.containers[0].securityContext.windowsOptions = {"hostProcess":true} ; spec.containers[1] = {"name":"d","image":"i"}"#;
    let mixed = "spec: Invalid value: \"\": If pod contains any hostProcess containers then all containers must be \
                 HostProcess containers";
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (all, &[]),
            (
                &both,
                &[
                    "spec.containers[0].securityContext.windowsOptions.hostProcess: Invalid value: false: pod hostProcess \
                   value must be identical if both are specified, was true",
                ],
            ),
            (some, &[mixed]),
        ],
    );
}

#[test]
fn fields_of_linux() {
    let pod = [
        ("appArmorProfile", r#"{"type":"RuntimeDefault"}"#),
        ("seLinuxOptions", "{}"),
        ("seccompProfile", r#"{"type":"RuntimeDefault"}"#),
        ("fsGroup", "1"),
        ("fsGroupChangePolicy", "Always"),
        ("sysctls", "[]"),
        ("runAsUser", "1"),
        ("runAsGroup", "1"),
        ("supplementalGroups", "[1]"),
        ("supplementalGroupsPolicy", "Merge"),
    ];
    let container = [
        ("appArmorProfile", r#"{"type":"RuntimeDefault"}"#),
        ("seLinuxOptions", "{}"),
        ("seccompProfile", r#"{"type":"RuntimeDefault"}"#),
        ("capabilities", "{}"),
        ("readOnlyRootFilesystem", "false"),
        ("privileged", "false"),
        ("allowPrivilegeEscalation", "true"),
        ("procMount", "Default"),
        ("runAsUser", "1"),
        ("runAsGroup", "1"),
    ];
    let pod = pod.map(|(field, value)| ("spec.securityContext", field, value));
    let container = container.map(|(field, value)| ("spec.containers[0].securityContext", field, value));
    for (owner, field, value) in pod.into_iter().chain(container) {
        let changes = format!(r#"spec.os = {{"name":"windows"}} ; {owner}.{field} = {value}"#);
        let want = format!("{owner}.{field}: Forbidden: cannot be set for a windows pod");
        check_create(row("", "pods"), &simple(), &[(&changes, &[&want])]);
    }
    for field in ["hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"] {
        let changes = format!(r#"spec.os = {{"name":"windows"}} ; spec.{field} = true"#);
        let want = format!("spec.{field}: Forbidden: cannot be set for a windows pod");
        check_create(row("", "pods"), &simple(), &[(&changes, &[&want])]);
    }
    check_create(
        row("", "pods"),
        &simple(),
        &[(
            r#"spec.os = {"name":"windows"} ; spec.resources = {"limits":{"cpu":"1"}}"#,
            &["spec.resources: Forbidden: may not be set for a windows pod"],
        )],
    );
}
