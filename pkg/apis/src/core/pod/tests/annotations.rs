//! Annotations that once were fields or still mean something.

use serde_json::json;

use super::{pod, simple};
use crate::testing::{check_create, check_update, created, row, warnings};

#[test]
fn what_they_may_say() {
    check_create(
        row("", "pods"),
        &simple(),
        &[
            ("metadata.annotations[controller.kubernetes.io/pod-deletion-cost] = \"-5\"", &[]),
            (
                "metadata.annotations[controller.kubernetes.io/pod-deletion-cost] = \"+5\"",
                &[
                    "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+5\": must be a \
                   32bit integer",
                ],
            ),
            (
                "metadata.annotations[controller.kubernetes.io/pod-deletion-cost] = \"2147483648\"",
                &[
                    "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"2147483648\": must \
                   be a 32bit integer",
                ],
            ),
            ("metadata.annotations[seccomp.security.alpha.kubernetes.io/pod] = runtime/default", &[]),
            (
                "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod] = odd",
                &["metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"odd\": must be a \
                   valid seccomp profile"],
            ),
            (
                "metadata.annotations[container.seccomp.security.alpha.kubernetes.io/c] = localhost//x",
                &[
                    "metadata.annotations.container.seccomp.security.alpha.kubernetes.io/c: Invalid value: \"/x\": must be \
                   a relative path",
                ],
            ),
            ("metadata.annotations[container.apparmor.security.beta.kubernetes.io/c] = unconfined", &[]),
            (
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c] = odd",
                &["metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Invalid value: \"odd\": \
                   invalid AppArmor profile name: \"odd\""],
            ),
            (
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/d] = unconfined",
                &["metadata.annotations[container.apparmor.security.beta.kubernetes.io/d]: Invalid value: \"d\": \
                   container not found"],
            ),
            (
                r#"metadata.annotations = {"scheduler.alpha.kubernetes.io/tolerations":"[{\"operator\":\"Is\",\"key\":\"a\"}]"}"#,
                &["metadata.annotations.scheduler.alpha.kubernetes.io/tolerations[0].operator: Unsupported value: \
                   \"Is\": supported values: \"Equal\", \"Exists\""],
            ),
        ],
    );
}

#[test]
fn they_agree_with_fields() {
    let field = "spec.containers[0].securityContext.appArmorProfile";
    let annotation = "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]";
    let rows = [
        (format!("{annotation} = localhost/a ; {field} = {{\"type\":\"Localhost\",\"localhostProfile\":\"a\"}}"), None),
        (
            format!("{annotation} = localhost/b ; {field} = {{\"type\":\"Localhost\",\"localhostProfile\":\"a\"}}"),
            Some(format!("{field}.localhostProfile: Forbidden: apparmor profile in annotation and field must match")),
        ),
        (
            format!("{annotation} = unconfined ; {field} = {{\"type\":\"RuntimeDefault\"}}"),
            Some(format!("{field}.type: Forbidden: apparmor type in annotation and field must match")),
        ),
    ];
    for (changes, want) in &rows {
        let want: Vec<&str> = want.as_deref().into_iter().collect();
        check_create(row("", "pods"), &simple(), &[(changes, &want)]);
    }
    check_create(
        row("", "pods"),
        &simple(),
        &[
            (
                r#"metadata.annotations[seccomp.security.alpha.kubernetes.io/pod] = docker/default ; spec.securityContext.seccompProfile = {"type":"RuntimeDefault"}"#,
                &[],
            ),
            (
                r#"metadata.annotations[seccomp.security.alpha.kubernetes.io/pod] = localhost/a ; spec.securityContext.seccompProfile = {"type":"Localhost","localhostProfile":"b"}"#,
                &[
                    "spec.securityContext.seccompProfile.localhostProfile: Forbidden: seccomp profile in annotation and \
                   field must match",
                ],
            ),
        ],
    );
}

#[test]
fn some_stay_as_they_are() {
    let mut old = simple();
    old["metadata"]["annotations"] = json!({
        "container.apparmor.security.beta.kubernetes.io/c": "unconfined", "kubernetes.io/config.mirror": "x",
    });
    old["spec"]["nodeName"] = json!("n");
    check_update(
        row("", "pods"),
        &old,
        &[
            ("metadata.annotations.a = b", &[]),
            (
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c] = runtime/default",
                &[
                    "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Forbidden: may not remove or \
                   update AppArmor annotations",
                ],
            ),
            (
                "metadata.annotations[kubernetes.io/config.mirror] = null",
                &["metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not remove or update mirror pod \
                   annotation"],
            ),
        ],
    );
    check_update(
        row("", "pods"),
        &simple(),
        &[(
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c] = unconfined",
            &[
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Forbidden: may not add AppArmor \
               annotations",
            ],
        )],
    );
}

#[test]
fn app_armor_becomes_a_field() {
    const KEY: &str = "container.apparmor.security.beta.kubernetes.io/c";
    let warned =
        format!("metadata.annotations[{KEY}]: deprecated since v1.30; use the \"appArmorProfile\" field instead");
    let default = json!({ "type": "RuntimeDefault" });
    let local = json!({ "type": "Localhost", "localhostProfile": "a" });
    // Annotation, profile of the pod, of the container, what the container gets, and whether its creator is warned.
    let cases = [
        ("unconfined", json!(null), json!(null), json!({ "type": "Unconfined" }), true),
        ("runtime/default", json!(null), json!(null), default.clone(), true),
        ("localhost/a", json!(null), json!(null), local.clone(), true),
        ("localhost/a", default.clone(), json!(null), local.clone(), true),
        ("runtime/default", default.clone(), json!(null), json!(null), false),
        ("localhost/a", json!(null), local.clone(), local.clone(), false),
        ("localhost/", json!(null), json!(null), json!(null), true),
        ("localhost/ a", json!(null), json!(null), json!(null), true),
        ("odd", json!(null), json!(null), json!(null), true),
    ];
    for (annotation, of_pod, own, want, warns) in cases {
        let mut object = pod(json!({ "containers": [{ "name": "c", "image": "i" }] }));
        object["metadata"]["annotations"] = json!({ KEY: annotation });
        object["spec"]["securityContext"] = json!({ "appArmorProfile": of_pod });
        object["spec"]["containers"][0]["securityContext"] = json!({ "appArmorProfile": own });
        let got = created(row("", "pods"), object.clone());
        assert_eq!(got["spec"]["containers"][0]["securityContext"]["appArmorProfile"], want, "{annotation}");
        let texts = if warns { vec![warned.clone()] } else { vec![] };
        assert_eq!(warnings(row("", "pods"), &object), texts, "{annotation} beside {of_pod} and {own}");
    }
    let mut windows = simple();
    windows["metadata"]["annotations"] = json!({ KEY: "unconfined" });
    windows["spec"]["os"] = json!({ "name": "windows" });
    assert_eq!(created(row("", "pods"), windows)["spec"]["containers"][0].get("securityContext"), None);
}
