//! Rules of what runs in containers: environment, probes and hooks.

use super::simple;
use crate::testing::{check_create, row};

#[test]
fn environment() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            ("spec.containers[0].env = [{\"name\":\"\"}]", &["spec.containers[0].env[0].name: Required value"]),
            (
                "spec.containers[0].env = [{\"name\":\"a=b\",\"value\":\"x\"}]",
                &["spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must \
             consist only of printable ASCII characters other than '='"],
            ),
            (
                "spec.containers[0].env = \
         [{\"name\":\"A\",\"value\":\"x\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}}]",
                &["spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is \
             not empty"],
            ),
            (
                "spec.containers[0].env = [{\"name\":\"A\",\"valueFrom\":{}}]",
                &["spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, \
             `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"],
            ),
            (
                "spec.containers[0].env = \
         [{\"name\":\"A\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.nope\"}}}]",
                &["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nope\": error \
             converting fieldPath: field label not supported: spec.nope"],
            ),
            (
                "spec.containers[0].env = \
         [{\"name\":\"A\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.phase\"}}}]",
                &["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": \
             supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \
             \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \
             \"status.podIP\", \"status.podIPs\""],
            ),
            (
                "spec.containers[0].env = \
         [{\"name\":\"A\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['a/b/c']\"}}}]",
                &["spec.containers[0].env[0].valueFrom.fieldRef: Invalid value: \"a/b/c\": a qualified name must \
             consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
             character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. \
             'example.com/MyName')"],
            ),
            (
                "spec.containers[0].env = [{\"name\":\"A\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"\"}}}]",
                &["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Required value"],
            ),
            (
                "spec.containers[0].env = \
         [{\"name\":\"A\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.widgets\"}}}]",
                &["spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \
             \"limits.widgets\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \
             \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\""],
            ),
            (
                "spec.containers[0].env = \
         [{\"name\":\"A\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\",\"divisor\":\"2\"}}}]",
                &["spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": \
             only divisor's values 1m and 1 are supported with the cpu resource"],
            ),
            (
                "spec.containers[0].env = [{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\"}}}]",
                &["spec.containers[0].env[0].valueFrom.secretKeyRef.key: Required value"],
            ),
            (
                "spec.containers[0].env = \
         [{\"name\":\"A\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"s\",\"key\":\"a/b\"}}}]",
                &["spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Invalid value: \"a/b\": {config key}"],
            ),
            (
                "spec.containers[0].env = \
         [{\"name\":\"A\",\"valueFrom\":{\"fileKeyRef\":{\"volumeName\":\"v\",\"path\":\"../x\",\"key\":\"K\"}}}]",
                &[
                    "spec.containers[0].env[0].valueFrom.fileKeyRef.path: Invalid value: \"../x\": must not contain \
             '..'",
                    "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: \"v\"",
                ],
            ),
            (
                "spec.containers[0].envFrom = [{}]",
                &["spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or \
             `secretRef`"],
            ),
            (
                "spec.containers[0].envFrom = [{\"prefix\":\"a=\",\"configMapRef\":{\"name\":\"c\"}}]",
                &["spec.containers[0].envFrom[0].prefix: Invalid value: \"a=\": a valid environment variable name \
             must consist only of printable ASCII characters other than '='"],
            ),
            (
                "spec.containers[0].envFrom = [{\"configMapRef\":{\"name\":\"c\"},\"secretRef\":{\"name\":\"s\"}}]",
                &["spec.containers[0].envFrom: Invalid value: \"\": may not have more than one field specified at a \
             time"],
            ),
            (
                "spec.containers[0].envFrom = [{\"secretRef\":{\"name\":\"S\"}}]",
                &["spec.containers[0].envFrom[0].secretRef.name: Invalid value: \"S\": {subdomain}"],
            ),
        ],
    );
}

#[test]
fn probes_and_hooks() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                "spec.containers[0].livenessProbe = {}",
                &["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
            ),
            (
                "spec.containers[0].livenessProbe = {\"exec\":{}}",
                &["spec.containers[0].livenessProbe.exec.command: Required value"],
            ),
            (
                "spec.containers[0].livenessProbe = {\"exec\":{\"command\":[\"x\"]},\"tcpSocket\":{\"port\":80}}",
                &["spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
            ),
            (
                "spec.containers[0].livenessProbe = {\"httpGet\":{\"port\":0}}",
                &["spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, \
             inclusive"],
            ),
            (
                "spec.containers[0].livenessProbe = {\"httpGet\":{\"port\":80,\"scheme\":\"FTP\"}}",
                &["spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \
             \"HTTP\", \"HTTPS\""],
            ),
            (
                "spec.containers[0].livenessProbe = {\"httpGet\":{\"port\":80,\"httpHeaders\":[{\"name\":\"a b\"}]}}",
                &["spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP \
             header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for \
             validation is '[-A-Za-z0-9]+')"],
            ),
            (
                "spec.containers[0].livenessProbe = {\"tcpSocket\":{\"port\":\"UPPER_\"}}",
                &[
                    "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: \"UPPER_\": must contain only \
             alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                    "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: \"UPPER_\": must contain at \
             least one letter (a-z)",
                ],
            ),
            (
                "spec.containers[0].livenessProbe = {\"grpc\":{\"port\":0}}",
                &["spec.containers[0].livenessProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, \
             inclusive"],
            ),
            (
                "spec.containers[0].livenessProbe = {\"exec\":{\"command\":[\"x\"]},\"successThreshold\":2}",
                &["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
            ),
            (
                "spec.containers[0].livenessProbe = \
         {\"exec\":{\"command\":[\"x\"]},\"periodSeconds\":-1,\"timeoutSeconds\":-1,\"failureThreshold\":-1,\"initialDelaySeconds\":-1}",
                &[
                    "spec.containers[0].livenessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or \
             equal to 0",
                    "spec.containers[0].livenessProbe.timeoutSeconds: Invalid value: -1: must be greater than or \
             equal to 0",
                    "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal \
             to 0",
                    "spec.containers[0].livenessProbe.failureThreshold: Invalid value: -1: must be greater than or \
             equal to 0",
                ],
            ),
            (
                "spec.containers[0].livenessProbe = \
         {\"exec\":{\"command\":[\"x\"]},\"terminationGracePeriodSeconds\":0}",
                &["spec.containers[0].livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be \
             greater than 0"],
            ),
            (
                "spec.containers[0].readinessProbe = \
         {\"exec\":{\"command\":[\"x\"]},\"terminationGracePeriodSeconds\":5}",
                &["spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be \
             set for readinessProbes"],
            ),
            ("spec.containers[0].readinessProbe = {\"exec\":{\"command\":[\"x\"]},\"successThreshold\":2}", &[]),
            (
                "spec.containers[0].startupProbe = {\"exec\":{\"command\":[\"x\"]},\"successThreshold\":2}",
                &["spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1"],
            ),
            (
                "spec.containers[0].lifecycle = {\"preStop\":{}}",
                &["spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"],
            ),
            (
                "spec.containers[0].lifecycle = {\"preStop\":{\"sleep\":{\"seconds\":31}}}",
                &["spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less \
             than terminationGracePeriodSeconds (30)"],
            ),
            ("spec.containers[0].lifecycle = {\"postStart\":{\"sleep\":{\"seconds\":5}}}", &[]),
            (
                "spec.containers[0].lifecycle = {\"stopSignal\":\"SIGTERM\"}",
                &["spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty \
             `spec.os.name`"],
            ),
            ("spec.os = {\"name\":\"linux\"} ; spec.containers[0].lifecycle = {\"stopSignal\":\"SIGTERM\"}", &[]),
            (
                "spec.os = {\"name\":\"linux\"} ; spec.containers[0].lifecycle = {\"stopSignal\":\"SIGNOPE\"}",
                &["spec.containers[0].lifecycle.stopSignal: Unsupported value: \"SIGNOPE\": supported values: \
             \"SIGABRT\", \"SIGALRM\", \"SIGBUS\", \"SIGCHLD\", \"SIGCLD\", \"SIGCONT\", \"SIGFPE\", \
             \"SIGHUP\", \"SIGILL\", \"SIGINT\", \"SIGIO\", \"SIGIOT\", \"SIGKILL\", \"SIGPIPE\", \
             \"SIGPOLL\", \"SIGPROF\", \"SIGPWR\", \"SIGQUIT\", \"SIGRTMAX\", \"SIGRTMAX-1\", \
             \"SIGRTMAX-10\", \"SIGRTMAX-11\", \"SIGRTMAX-12\", \"SIGRTMAX-13\", \"SIGRTMAX-14\", \
             \"SIGRTMAX-2\", \"SIGRTMAX-3\", \"SIGRTMAX-4\", \"SIGRTMAX-5\", \"SIGRTMAX-6\", \"SIGRTMAX-7\", \
             \"SIGRTMAX-8\", \"SIGRTMAX-9\", \"SIGRTMIN\", \"SIGRTMIN+1\", \"SIGRTMIN+10\", \"SIGRTMIN+11\", \
             \"SIGRTMIN+12\", \"SIGRTMIN+13\", \"SIGRTMIN+14\", \"SIGRTMIN+15\", \"SIGRTMIN+2\", \
             \"SIGRTMIN+3\", \"SIGRTMIN+4\", \"SIGRTMIN+5\", \"SIGRTMIN+6\", \"SIGRTMIN+7\", \"SIGRTMIN+8\", \
             \"SIGRTMIN+9\", \"SIGSEGV\", \"SIGSTKFLT\", \"SIGSTOP\", \"SIGSYS\", \"SIGTERM\", \"SIGTRAP\", \
             \"SIGTSTP\", \"SIGTTIN\", \"SIGTTOU\", \"SIGURG\", \"SIGUSR1\", \"SIGUSR2\", \"SIGVTALRM\", \
             \"SIGWINCH\", \"SIGXCPU\", \"SIGXFSZ\""],
            ),
        ],
    );
}

/// A variable with this source: JSON of `valueFrom`, and the errors below it.
fn check_source(volumes: &str, source: &str, errors: &[&str]) {
    let changes =
        format!(r#"spec.volumes = {volumes} ; spec.containers[0].env = [{{"name":"A","valueFrom":{source}}}]"#);
    let errors: Vec<String> =
        errors.iter().map(|error| format!("spec.containers[0].env[0].valueFrom.{error}")).collect();
    let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
    check_create(row("", "pods"), &simple(), &[(&changes, &errors)]);
}

#[test]
fn sources_of_variables() {
    const BYTES: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let bytes = |resource: &str, what: &str| {
        let why = format!("only divisor's values {BYTES} are supported with the {what}");
        format!("resourceFieldRef.divisor: Invalid value: {resource:?}: {why}")
    };
    let cases: &[(&str, &[&str])] = &[
        (r#"{"fieldRef":{"fieldPath":"metadata.labels['a.b/c']"}}"#, &[]),
        (
            r#"{"fieldRef":{"fieldPath":"metadata.name['a']"}}"#,
            &[
                "fieldRef.fieldPath: Invalid value: \"metadata.name['a']\": error converting fieldPath: field label does \
               not support subscript: metadata.name['a']",
            ],
        ),
        (
            r#"{"fieldRef":{"fieldPath":"metadata.name","apiVersion":"v2"}}"#,
            &["fieldRef.fieldPath: Invalid value: \"metadata.name\": error converting fieldPath: unsupported pod \
               version: v2"],
        ),
        (r#"{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}"#, &[]),
        (r#"{"resourceFieldRef":{"resource":""}}"#, &["resourceFieldRef.resource: Required value"]),
        (
            r#"{"resourceFieldRef":{"resource":"limits.memory","divisor":"2"}}"#,
            &[&bytes("limits.memory", "memory resource")],
        ),
        (
            r#"{"resourceFieldRef":{"resource":"requests.ephemeral-storage","divisor":"2"}}"#,
            &[&bytes("requests.ephemeral-storage", "local ephemeral storage resource")],
        ),
        (
            r#"{"resourceFieldRef":{"resource":"requests.hugepages-2Mi","divisor":"2"}}"#,
            &[&bytes("requests.hugepages-2Mi", "hugepages resource")],
        ),
        (r#"{"secretKeyRef":{"name":"S","key":"k"}}"#, &["secretKeyRef.name: Invalid value: \"S\": {subdomain}"]),
    ];
    for (source, errors) in cases {
        check_source("[]", source, errors);
    }
    let volumes = r#"[{"name":"v"},{"name":"w","secret":{"secretName":"s"}}]"#;
    check_source(volumes, r#"{"fileKeyRef":{"volumeName":"v","path":"p","key":"K"}}"#, &[]);
    check_source(
        volumes,
        r#"{"fileKeyRef":{"volumeName":"w","path":"p","key":"K"}}"#,
        &["fileKeyRef.volumeName: Invalid value: \"w\": referenced volume must be of type emptyDir"],
    );
    check_source(
        volumes,
        r#"{"fileKeyRef":{}}"#,
        &[
            "fileKeyRef.key: Required value",
            "fileKeyRef.volumeName: Required value",
            "fileKeyRef.path: Required value",
            "fileKeyRef.volumeName: Not found: \"\"",
        ],
    );
}

#[test]
fn two_sources_are_one_too_many() {
    check_create(
        row("", "pods"),
        &simple(),
        &[(
            r#"spec.containers[0].env = [{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"},"secretKeyRef":{"name":"s","key":"k"}}}]"#,
            &[
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a \
               time",
            ],
        )],
    );
}
