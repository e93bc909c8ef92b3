//! Rules of the rights of pods and containers.

use super::simple;
use crate::testing::{check_create, row};

#[test]
fn rights() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                "spec.securityContext.fsGroup = -1",
                &["spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
            ),
            (
                "spec.securityContext.supplementalGroups = [-1]",
                &["spec.securityContext.supplementalGroups[0]: Invalid value: -1: must be between 0 and 2147483647, \
             inclusive"],
            ),
            (
                "spec.securityContext.fsGroupChangePolicy = Odd",
                &["spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Odd\": supported values: \
             \"Always\", \"OnRootMismatch\""],
            ),
            (
                "spec.securityContext.supplementalGroupsPolicy = Odd",
                &["spec.securityContext.supplementalGroupsPolicy: Unsupported value: \"Odd\": supported values: \
             \"Merge\", \"Strict\""],
            ),
            (
                "spec.securityContext.runAsUser = -1",
                &["spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
            ),
            (
                "spec.hostPID = true ; spec.shareProcessNamespace = true",
                &["spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both \
             be enabled"],
            ),
            (
                "spec.securityContext.sysctls = \
         [{\"name\":\"\"},{\"name\":\"a..b\"},{\"name\":\"net.a\"},{\"name\":\"net.a\"}]",
                &[
                    "spec.securityContext.sysctls[0].name: Required value",
                    "spec.securityContext.sysctls[1].name: Invalid value: \"a..b\": must have at most 253 characters \
             and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
                    "spec.securityContext.sysctls[3].name: Duplicate value: \"net.a\"",
                ],
            ),
            (
                "spec.hostNetwork = true ; spec.securityContext.sysctls = [{\"name\":\"net.a\"}]",
                &["spec.securityContext.sysctls[0].name: Invalid value: \"net.a\": may not be specified when \
             'hostNetwork' is true"],
            ),
            (
                "spec.securityContext.seccompProfile = {}",
                &["spec.securityContext.seccompProfile.type: Required value: type is required when seccompProfile \
             is set"],
            ),
            (
                "spec.securityContext.seccompProfile = {\"type\":\"Localhost\"}",
                &["spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp \
             type is Localhost"],
            ),
            (
                "spec.securityContext.seccompProfile = {\"type\":\"Odd\"}",
                &["spec.securityContext.seccompProfile.type: Unsupported value: \"Odd\": supported values: \
             \"Localhost\", \"RuntimeDefault\", \"Unconfined\""],
            ),
            (
                "spec.securityContext.seccompProfile = {\"type\":\"Unconfined\",\"localhostProfile\":\"x\"}",
                &["spec.securityContext.seccompProfile.localhostProfile: Invalid value: \
             {\"localhostProfile\":\"x\",\"type\":\"Unconfined\"}: can only be set when seccomp type is \
             Localhost"],
            ),
            (
                "spec.containers[0].securityContext.appArmorProfile = {\"type\":\"Localhost\",\"localhostProfile\":\" \
         x\"}",
                &["spec.containers[0].securityContext.appArmorProfile.localhostProfile: Invalid value: \" x\": must \
             not be padded with whitespace"],
            ),
            (
                "spec.containers[0].securityContext.appArmorProfile = \
         {\"type\":\"RuntimeDefault\",\"localhostProfile\":\"x\"}",
                &["spec.containers[0].securityContext.appArmorProfile.localhostProfile: Invalid value: \"x\": can \
             only be set when AppArmor type is Localhost"],
            ),
            (
                "spec.containers[0].securityContext.procMount = Unmasked",
                &["spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be \
             false to use `Unmasked`"],
            ),
            (
                "spec.containers[0].securityContext = {\"privileged\":true,\"allowPrivilegeEscalation\":false}",
                &["spec.containers[0].securityContext: Invalid value: \
             {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` \
             to false and `privileged` to true"],
            ),
            (
                "spec.containers[0].securityContext = \
         {\"allowPrivilegeEscalation\":false,\"capabilities\":{\"add\":[\"CAP_SYS_ADMIN\"]}}",
                &["spec.containers[0].securityContext: Invalid value: \
             {\"allowPrivilegeEscalation\":false,\"capabilities\":{\"add\":[\"CAP_SYS_ADMIN\"]}}: cannot set \
             `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"],
            ),
            (
                "spec.hostUsers = false ; spec.hostNetwork = true",
                &["spec.hostNetwork: Forbidden: when `hostUsers` is false"],
            ),
            ("spec.hostUsers = false ; spec.hostPID = true", &["spec.HostPID: Forbidden: when `hostUsers` is false"]),
            ("spec.os = {}", &["spec.os.name: Required value"]),
            (
                "spec.os = {\"name\":\"dos\"}",
                &["spec.os: Unsupported value: \"dos\": supported values: \"linux\", \"windows\""],
            ),
            (
                "spec.os = {\"name\":\"windows\"} ; spec.securityContext.fsGroup = 1 ; \
         spec.containers[0].securityContext.privileged = false",
                &[
                    "spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod",
                    "spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod",
                ],
            ),
            (
                "spec.os = {\"name\":\"linux\"} ; spec.securityContext.windowsOptions = {}",
                &["spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"],
            ),
            (
                "spec.containers[0].securityContext.windowsOptions = {\"hostProcess\":true}",
                &["spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess \
             containers"],
            ),
            (
                "spec.containers[0].securityContext.windowsOptions = \
         {\"runAsUserName\":\"\",\"gmsaCredentialSpecName\":\"A\"}",
                &[
                    "spec.containers[0].securityContext.windowsOptions.gmsaCredentialSpecName: Invalid value: \"A\": \
             {subdomain}",
                    "spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value: \"\": \
             runAsUserName cannot be an empty string",
                ],
            ),
            ("spec.terminationGracePeriodSeconds = -1", &[]),
        ],
    );
}

#[test]
fn more_rights() {
    let long = format!(
        r#"spec.securityContext.appArmorProfile = {{"type":"Localhost","localhostProfile":"{}"}}"#,
        "a".repeat(4096)
    );
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                r#"spec.hostIPC = true ; spec.securityContext.sysctls = [{"name":"kernel/shm_rmid_forced"}]"#,
                &[
                    "spec.securityContext.sysctls[0].name: Invalid value: \"kernel/shm_rmid_forced\": may not be specified \
                   when 'hostIPC' is true",
                ],
            ),
            (r#"spec.securityContext.appArmorProfile = {"type":"Localhost","localhostProfile":"a"}"#, &[]),
            (
                r#"spec.securityContext.appArmorProfile = {"type":"Localhost"}"#,
                &[
                    "spec.securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type \
                   is Localhost",
                ],
            ),
            (
                &long,
                &["spec.securityContext.appArmorProfile.localhostProfile: Too long: may not be more than 4095 bytes"],
            ),
            (
                "spec.securityContext.appArmorProfile = {}",
                &[
                    "spec.securityContext.appArmorProfile.type: Required value: type is required when appArmorProfile is \
                   set",
                ],
            ),
            (
                r#"spec.securityContext.appArmorProfile = {"type":"Odd"}"#,
                &["spec.securityContext.appArmorProfile.type: Unsupported value: \"Odd\": supported values: \
                   \"Localhost\", \"RuntimeDefault\", \"Unconfined\""],
            ),
            (
                "spec.securityContext.seLinuxChangePolicy = Odd",
                &["spec.securityContext.seLinuxChangePolicy: Unsupported value: \"Odd\": supported values: \
                   \"MountOption\", \"Recursive\""],
            ),
            (
                "spec.containers[0].securityContext = {\"runAsUser\":-1,\"runAsGroup\":-1,\"procMount\":\"Odd\"}",
                &[
                    "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, \
                     inclusive",
                    "spec.containers[0].securityContext.runAsGroup: Invalid value: -1: must be between 0 and 2147483647, \
                     inclusive",
                    "spec.containers[0].securityContext.procMount: Unsupported value: \"Odd\": supported values: \
                     \"Default\", \"Unmasked\"",
                ],
            ),
            (
                r#"spec.hostUsers = false ; spec.hostIPC = true ; spec.containers[0].volumeDevices = [{"name":"v","devicePath":"/d"}] ; spec.volumes = [{"name":"v","persistentVolumeClaim":{"claimName":"c"}}]"#,
                &[
                    "spec.HostIPC: Forbidden: when `hostUsers` is false",
                    "spec.containers[0].volumeDevices: Forbidden: when `hostUsers` is false",
                ],
            ),
            ("spec.hostUsers = false ; spec.containers[0].securityContext.procMount = Unmasked", &[]),
        ],
    );
}
