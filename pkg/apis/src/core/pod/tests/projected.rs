//! Rules of projected volumes.

use super::simple;
use crate::testing::{check_create, row};

#[test]
fn projected_sources() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                "spec.volumes = \
         [{\"name\":\"v\",\"projected\":{\"sources\":[{\"secret\":{\"name\":\"s\"},\"configMap\":{\"name\":\"c\"}}]}}]",
                &["spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per \
             source"],
            ),
            (
                "spec.volumes = \
         [{\"name\":\"v\",\"projected\":{\"sources\":[{\"secret\":{\"name\":\"s\",\"items\":[{\"key\":\"a\",\"path\":\"x\"}]}},{\"configMap\":{\"name\":\"c\",\"items\":[{\"key\":\"a\",\"path\":\"x\"}]}}]}}]",
                &["spec.volumes[0].projected: Invalid value: \"c\": conflicting duplicate paths"],
            ),
            (
                "spec.volumes = \
         [{\"name\":\"v\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"t\"}}]}}]",
                &["spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when \
             serviceAccountName is not set"],
            ),
            (
                "spec.serviceAccountName = a ; spec.volumes = \
         [{\"name\":\"v\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"t\"}}]}}]",
                &[],
            ),
            (
                "spec.serviceAccountName = a ; spec.volumes = \
         [{\"name\":\"v\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"\",\"expirationSeconds\":10}}]}}]",
                &[
                    "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 10: \
             may not specify a duration less than 10 minutes",
                    "spec.volumes[0].projected.path: Required value",
                ],
            ),
            (
                "spec.serviceAccountName = a ; spec.volumes = \
         [{\"name\":\"v\",\"projected\":{\"sources\":[{\"clusterTrustBundle\":{\"path\":\"t\"}}]}}]",
                &["spec.volumes[0].projected.sources[0].clusterTrustBundle: Required value: either name or \
             signerName must be specified"],
            ),
            (
                "spec.serviceAccountName = a ; spec.volumes = \
         [{\"name\":\"v\",\"projected\":{\"sources\":[{\"podCertificate\":{\"signerName\":\"a.b/c\",\"keyType\":\"RSA3072\"}}]}}]",
                &["spec.volumes[0].projected.sources[0].podCertificate: Required value: specify at least one of \
             credentialBundlePath, keyPath, and certificateChainPath"],
            ),
        ],
    );
}

/// A source of the only projected volume of a pod: JSON of the source, and the errors below the volume.
fn check_projected(sources: &str, errors: &[&str]) {
    let changes = format!(
        r#"spec.serviceAccountName = a ; spec.volumes = [{{"name":"v","projected":{{"sources":[{sources}]}}}}]"#
    );
    let errors: Vec<String> = errors.iter().map(|error| format!("spec.volumes[0].projected{error}")).collect();
    let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
    check_create(row("", "pods"), &simple(), &[(&changes, &errors)]);
}

#[test]
fn projected_bundles_and_certificates() {
    const BUNDLE: &str = ".sources[0].clusterTrustBundle";
    const CERTIFICATE: &str = ".sources[0].podCertificate";
    let bundle = |fields: &str, errors: &[&str]| {
        let errors: Vec<String> = errors.iter().map(|error| format!("{BUNDLE}{error}")).collect();
        let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
        check_projected(&format!(r#"{{"clusterTrustBundle":{{"path":"p",{fields}}}}}"#), &errors);
    };
    bundle(r#""name":"a.b""#, &[]);
    bundle(r#""name":"a.b:c:d""#, &[]);
    bundle(r#""signerName":"a.b/c","labelSelector":{}"#, &[]);
    bundle(
        r#""name":"a","signerName":"a.b/c""#,
        &[": Invalid value: {…}: only one of name and signerName may be used"],
    );
    bundle(
        r#""name":"a","labelSelector":{}"#,
        &[".labelSelector: Invalid value: {}: labelSelector must be unset if name is specified"],
    );
    bundle(
        r#""name":"""#,
        &[
            ".name: Required value: must be a valid object name",
            ".name: Invalid value: \"\": not a valid clustertrustbundlename: {subdomain}",
        ],
    );
    bundle(
        r#""signerName":"""#,
        &[".signerName: Required value: must be a valid signer name", ".signerName: Required value"],
    );
    bundle(
        r#""name":"a:b""#,
        &[".name: Invalid value: \"a:b\": not a valid clustertrustbundlename: ClusterTrustBundle without signer name \
           must not have \":\" in its name"],
    );
    let certificate = |fields: &str, errors: &[&str]| {
        let errors: Vec<String> = errors.iter().map(|error| format!("{CERTIFICATE}{error}")).collect();
        let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
        check_projected(&format!(r#"{{"podCertificate":{{{fields}}}}}"#), &errors);
    };
    certificate(r#""signerName":"a.b/c","keyType":"ED25519","credentialBundlePath":"b""#, &[]);
    certificate(
        r#""signerName":"a.b/c","keyType":"DSA","keyPath":"../k","maxExpirationSeconds":3599"#,
        &[
            ".keyType: Unsupported value: \"DSA\": supported values: \"RSA3072\", \"RSA4096\", \"ECDSAP256\", \
             \"ECDSAP384\", \"ECDSAP521\", \"ED25519\"",
            ".maxExpirationSeconds: Invalid value: 3599: if provided, maxExpirationSeconds must be >= 3600",
            ".keyPath: Invalid value: \"../k\": must not contain '..'",
        ],
    );
    certificate(
        r#""signerName":"a.b/c","keyType":"ED25519","keyPath":"k","maxExpirationSeconds":7862401"#,
        &[".maxExpirationSeconds: Invalid value: 7862401: if provided, maxExpirationSeconds must be <= 7862400"],
    );
    let ed25519 = r#""signerName":"a.b/c","keyType":"ED25519","keyPath":"k""#;
    certificate(&format!(r#"{ed25519},"userAnnotations":{{"a.example/b":"c","a.example/D":""}}"#), &[]);
    certificate(
        &format!(r#"{ed25519},"userAnnotations":{{"plain":"x"}}"#),
        &[".userAnnotations: Invalid value: \"plain\": must be a domain-prefixed key (such as \"acme.io/foo\")"],
    );
    certificate(
        &format!(r#"{ed25519},"userAnnotations":{{"a.example/b":"{}"}}"#, "x".repeat(256 * 1024)),
        &[".userAnnotations: Too long: may not be more than 262144 bytes"],
    );
    certificate(
        r#""signerName":"a.kubernetes.io/c","keyType":"ED25519","keyPath":"k","maxExpirationSeconds":86401"#,
        &[".maxExpirationSeconds: Invalid value: 86401: if provided, maxExpirationSeconds must be <= 86400"],
    );
    check_projected(
        r#"{"podCertificate":{"signerName":"a.b/c","keyType":"ED25519","keyPath":"p"}},{"clusterTrustBundle":{"path":"p","name":"a"}}"#,
        &[": Invalid value: \"p\": conflicting duplicate paths"],
    );
    check_projected(
        r#"{"serviceAccountToken":{"path":"t","expirationSeconds":4294967297}}"#,
        &[".sources[0].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration \
           larger than 2^32 seconds"],
    );
}
