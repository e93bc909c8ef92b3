mod costs;
mod defaults;
mod estimates;
mod expressions;
mod schemas;

use serde_json::{Value, json};

use crate::testing::{Rules, cells, check_create, check_defaults, check_status, check_update, created, row};

const LABEL: &str = "{dns-1035}";

fn definition() -> Value {
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": {
        "type": "object", "properties": { "size": { "type": "integer" }, "list": { "type": "array", "items": { "type": "string" } } },
    } } } });
    json!({ "metadata": { "name": "foos.example.com" }, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": { "plural": "foos", "kind": "Foo" },
        "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
    } })
}

fn definitions() -> &'static crate::resource::Resource {
    row("apiextensions.k8s.io", "customresourcedefinitions")
}

#[test]
fn names_and_versions() {
    let joined = |path: &str, value: &str| format!("{path}: Invalid value: {value:?}: {LABEL}");
    let two = |second: &str| {
        let versions = json!([definition()["spec"]["versions"][0], { "name": second, "schema": { "openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }]);
        (format!("spec.versions = {versions}"), versions)
    };
    let ((second, _), (same, versions)) = (two("v2"), two("v1"));
    let twice = format!("spec.versions: Invalid value: {versions}: must contain unique version names");
    let long_warning =
        format!("spec.versions[0].deprecated = true ; spec.versions[0].deprecationWarning = {}", "x".repeat(257));
    let rules: Rules<'_> = &[
        ("", &[]),
        ("metadata.name = foo", &["metadata.name: Invalid value: \"foo\": must be spec.names.plural+\".\"+spec.group"]),
        (
            "spec.group = example ; metadata.name = foos.example",
            &["spec.group: Invalid value: \"example\": should be a domain with at least one dot"],
        ),
        ("spec.group = null ; metadata.name = foos.", &["spec.group: Required value"]),
        ("spec.scope = null", &["spec.scope: Required value"]),
        (
            "spec.scope = Global",
            &["spec.scope: Unsupported value: \"Global\": supported values: \"Cluster\", \"Namespaced\""],
        ),
        ("spec.names.plural = null ; metadata.name = .example.com", &["spec.names.plural: Required value"]),
        (
            "spec.names.kind = null",
            &[
                "spec.names.singular: Required value",
                "spec.names.kind: Required value",
                "spec.names.listKind: Required value",
            ],
        ),
        ("spec.names.singular = A", &[&joined("spec.names.singular", "A")]),
        (
            "spec.names.kind = Foo.Bar",
            &[
                "spec.names.singular: Invalid value: \"foo.bar\": {dns-1035}",
                "spec.names.kind: Invalid value: \"Foo.Bar\": may have mixed case, but should otherwise match: {dns-1035}",
                "spec.names.listKind: Invalid value: \"Foo.BarList\": may have mixed case, but should otherwise match: \
                 {dns-1035}",
            ],
        ),
        ("spec.names.shortNames = [\"1\"]", &[&joined("spec.names.shortNames[0]", "1")]),
        ("spec.names.categories = [\"a.b\"]", &[&joined("spec.names.categories[0]", "a.b")]),
        (
            "spec.names.listKind = Foo",
            &["spec.names.listKind: Invalid value: \"Foo\": kind and listKind may not be the same"],
        ),
        (&second, &[]),
        (&same, &[&twice]),
        ("spec.versions[0].name = V1", &[&joined("spec.versions[0].name", "V1"), &joined("spec.version", "V1")]),
        (
            "spec.versions[0].schema = null",
            &["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
        ),
        ("spec.versions[0].deprecated = true ; spec.versions[0].deprecationWarning = old", &[]),
        (
            "spec.versions[0].deprecationWarning = old",
            &["spec.versions[0].deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions"],
        ),
        (
            "spec.versions[0].deprecated = true ; spec.versions[0].deprecationWarning = \"\"",
            &["spec.versions[0].deprecationWarning: Invalid value: \"\": must not be an empty string"],
        ),
        (&long_warning, &["spec.versions[0].deprecationWarning: Invalid value: {…}: must be <= 256 characters long"]),
        (
            "spec.versions[0].deprecated = true ; spec.versions[0].deprecationWarning = \"a\\tb\"",
            &["spec.versions[0].deprecationWarning: Invalid value: \"a\\tb\": must only contain printable UTF-8 \
               characters; non-printable character found at index 1"],
        ),
        (
            "spec.preserveUnknownFields = true",
            &["spec.preserveUnknownFields: Invalid value: true: cannot set to true, set \
               x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"],
        ),
    ];
    check_create(definitions(), &definition(), rules);
    let no_store = crate::testing::create_errors(definitions(), {
        let mut definition = definition();
        definition["spec"]["versions"][0]["storage"] = json!(false);
        definition
    });
    assert!(no_store[0].ends_with("must have exactly one version marked as storage version"));
    assert_eq!(no_store[1], "status.storedVersions: Invalid value: null: must have at least one stored version");
    let defaults = "spec.names.listKind = FooList ; spec.names.singular = foo ; spec.conversion.strategy = None";
    check_defaults(definitions(), &definition(), &[("", defaults)]);
    assert_eq!(created(definitions(), definition())["status"], json!({ "storedVersions": ["v1"] }));
    assert_eq!(cells(definitions(), &definition()), ["foos.example.com", ""]);
}

#[test]
fn protected_groups_are_approved() {
    let at = "metadata.annotations[api-approved.kubernetes.io]";
    let base = "spec.group = a.k8s.io ; metadata.name = foos.a.k8s.io";
    let need = "protected groups must have approval annotation \"api-approved.kubernetes.io\"";
    let link = "see https://github.com/kubernetes/enhancements/pull/1111";
    let missing = format!("{at}: Required value: {need}, {link}");
    let invalid = format!(
        "{at}: Invalid value: \"yes\": {need} with either a URL or a reason starting with \"unapproved\", {link}"
    );
    let (reviewed, own, odd) = (
        format!("{base} ; {at} = https://a.example/1"),
        format!("{base} ; {at} = unapproved, mine"),
        format!("{base} ; {at} = yes"),
    );
    check_create(
        definitions(),
        &definition(),
        &[(&reviewed, &[]), (&own, &[]), (base, &[&missing]), (&odd, &[&invalid])],
    );
    let mut old = definition();
    crate::testing::change(&mut old, base);
    check_update(definitions(), &old, &[("spec.names.shortNames = [\"f\"]", &[])]);
}

#[test]
fn subresources_columns_and_selectable_fields() {
    let scale = |rest: &str| format!("spec.versions[0].subresources.scale = {rest}");
    let column = |rest: &str| format!("spec.versions[0].additionalPrinterColumns = [{rest}]");
    let select = |paths: &str| format!("spec.versions[0].selectableFields = [{paths}]");
    let cases: &[(String, &[&str])] = &[
        (scale("{\"specReplicasPath\":\".spec.a\",\"statusReplicasPath\":\".status.a\"}"), &[]),
        (
            scale("{\"labelSelectorPath\":\"x\"}"),
            &[
                "spec.subresources.scale.specReplicasPath: Required value",
                "spec.subresources.scale.statusReplicasPath: Required value",
                "spec.subresources.scale.labelSelectorPath: Invalid value: \"x\": must be a simple json path starting with .",
            ],
        ),
        (
            scale("{\"specReplicasPath\":\".a\",\"statusReplicasPath\":\".b\",\"labelSelectorPath\":\".c\"}"),
            &[
                "spec.subresources.scale.specReplicasPath: Invalid value: \".a\": should be a json path under .spec",
                "spec.subresources.scale.statusReplicasPath: Invalid value: \".b\": should be a json path under .status",
                "spec.subresources.scale.labelSelectorPath: Invalid value: \".c\": should be a json path under either \
                 .spec or .status",
            ],
        ),
        (column("{\"name\":\"A\",\"type\":\"string\",\"jsonPath\":\".spec.a\"}"), &[]),
        (
            column("{\"format\":\"x\"}"),
            &[
                "spec.additionalPrinterColumns[0].name: Required value",
                "spec.additionalPrinterColumns[0].type: Required value: must be one of \
                 boolean,date,integer,number,string",
                "spec.additionalPrinterColumns[0].format: Invalid value: \"x\": must be one of \
                 byte,date,date-time,double,float,int32,int64,password",
                "spec.additionalPrinterColumns[0].JSONPath: Required value",
            ],
        ),
        (
            column("{\"name\":\"A\",\"type\":\"text\",\"jsonPath\":\"a\"}"),
            &[
                "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of \
                 boolean,date,integer,number,string",
                "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"a\": must be a simple json path starting \
                 with .",
            ],
        ),
        (select("{\"jsonPath\":\".spec.size\"}"), &[]),
        (
            select("{},{\"jsonPath\":\".spec.other\"},{\"jsonPath\":\".spec.list\"}"),
            &[
                "spec.selectableFields[0].jsonPath: Required value",
                "spec.selectableFields[1].jsonPath: Invalid value: \".spec.other\": is an invalid path: does not refer \
                 to a valid field",
                "spec.selectableFields[2].jsonPath: Invalid value: \".spec.list\": must point to a field of type string, \
                 boolean or integer. Enum string fields and strings with formats are allowed.",
            ],
        ),
        (
            format!("spec.versions[0].schema = null ; {}", select("{\"jsonPath\":\".spec.size\"}")),
            &[
                "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
                "spec.selectableFields: Invalid value: \"\": selectableFields may only be set when validations.schema is \
                 included",
            ],
        ),
        (
            "spec.versions[1] = {\"name\":\"v2\",\"served\":true,\"selectableFields\":[{\"jsonPath\":\".a\"}]}"
                .to_owned(),
            &[
                "spec.versions[1].schema.openAPIV3Schema: Required value: schemas are required",
                "spec.versions[1].selectableFields: Invalid value: \"\": selectableFields may only be set when \
                 version.schema.openAPIV3Schema is not included",
            ],
        ),
        (
            select("{\"jsonPath\":\".spec['size']\"}"),
            &[
                "spec.selectableFields[0].jsonPath: Invalid value: \".spec['size']\": is an invalid path: array notation \
                 is not allowed",
            ],
        ),
        (
            format!(
                "{} ; spec.versions[0].schema.openAPIV3Schema.properties.metadata = \
                 {{\"type\":\"object\",\"properties\":{{\"name\":{{\"type\":\"string\"}}}}}}",
                select("{\"jsonPath\":\".metadata.name\"}")
            ),
            &[
                "spec.selectableFields[0].jsonPath: Invalid value: \".metadata.name\": must not point to fields in metadata",
            ],
        ),
        (
            select("{\"jsonPath\":\".spec.size\"},{\"jsonPath\":\".spec.size\"}"),
            &["spec.selectableFields[1].jsonPath: Duplicate value: \".spec.size\""],
        ),
    ];
    for (change, want) in cases {
        check_create(definitions(), &definition(), &[(change, want)]);
    }
}

#[test]
fn conversion_rules() {
    let at = "spec.conversion";
    let webhook = |rest: &str| format!("{at} = {{\"strategy\":\"Webhook\",\"webhook\":{rest}}}");
    let service = "\"clientConfig\":{\"service\":{\"name\":\"s\",\"namespace\":\"d\"}}";
    let cases: &[(String, &[&str])] = &[
        (
            format!("{at}.strategy = Some"),
            &["spec.conversion.strategy: Unsupported value: \"Some\": supported values: \"None\", \"Webhook\""],
        ),
        (webhook(&format!("{{{service},\"conversionReviewVersions\":[\"v1\"]}}")), &[]),
        (
            webhook("{}"),
            &[
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
                "spec.conversion.conversionReviewVersions: Required value",
            ],
        ),
        (
            webhook("{\"clientConfig\":{},\"conversionReviewVersions\":[\"v1\",\"v1\"]}"),
            &[
                "spec.conversion.webhookClientConfig: Required value: exactly one of url or service is required",
                "spec.conversion.conversionReviewVersions[1]: Invalid value: \"v1\": duplicate version",
            ],
        ),
        (
            webhook(&format!("{{{service},\"conversionReviewVersions\":[\"v2\"]}}")),
            &[
                "spec.conversion.conversionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
            ],
        ),
        (
            format!("{at} = {{\"strategy\":\"None\",\"webhook\":{{{service},\"conversionReviewVersions\":[\"v1\"]}}}}"),
            &[
                "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook",
                "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
            ],
        ),
    ];
    for (change, want) in cases {
        check_create(definitions(), &definition(), &[(change, want)]);
    }
}

#[test]
fn what_is_established_stays() {
    let establish = |mut definition: Value| {
        definition["status"]["conditions"] = json!([{ "type": "Established", "status": "True" }]);
        definition
    };
    let old = establish(created(definitions(), definition()));
    let update = |change: &str| {
        let mut new = old.clone();
        crate::testing::change(&mut new, change);
        (definitions().strategy.prepare_for_update)(&mut new, &old);
        crate::testing::texts(&(definitions().strategy.validate_update)(&new, &old))
    };
    assert_eq!(update("spec.names.shortNames = [\"f\"]"), [""; 0]);
    assert_eq!(update("spec.scope = Cluster"), ["spec.scope: Invalid value: \"Cluster\": field is immutable"]);
    assert_eq!(update("spec.names.kind = Bar"), ["spec.names.kind: Invalid value: \"Bar\": field is immutable"]);
    assert_eq!(update("spec.group = a.example"), ["spec.group: Invalid value: \"a.example\": field is immutable"]);
    assert_eq!(update("spec.names.plural = bars"), ["spec.names.plural: Invalid value: \"bars\": field is immutable"]);
    let want = "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage \
                version, and must remain in spec.versions until a storage migration ensures no data remains persisted in \
                v1 and removes v1 from status.storedVersions";
    assert_eq!(update("spec.versions[0].name = v2"), [want]);
    let names = format!("status.acceptedNames.plural: Invalid value: \"A\": {LABEL}");
    check_status(definitions(), &definition(), &[("status.acceptedNames.plural = A", &[&names])]);
}

#[test]
fn service_rules() {
    let rows = row("apiregistration.k8s.io", "apiservices");
    let base = json!({ "metadata": { "name": "v1.apps" }, "spec": {
        "group": "apps", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
    } });
    let version = format!("spec.version: Invalid value: \"V1\": {LABEL}");
    let rules: Rules<'_> = &[
        ("", &[]),
        (
            "metadata.name = apps.v1",
            &["metadata.name: Invalid value: \"apps.v1\": must be `spec.version+\".\"+spec.group`: \"v1.apps\""],
        ),
        ("spec.version = null ; metadata.name = .apps", &["spec.version: Required value"]),
        ("spec.version = V1 ; metadata.name = V1.apps", &[&version]),
        (
            "spec.groupPriorityMinimum = 20001",
            &["spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000"],
        ),
        ("spec.versionPriority = 0", &["spec.versionPriority: Invalid value: 0: must be positive and less than 1000"]),
        (
            "spec.caBundle = AQID",
            &["spec.caBundle: Invalid value: \"3 bytes\": local APIServices may not have a caBundle"],
        ),
        (
            "spec.insecureSkipTLSVerify = true",
            &["spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify"],
        ),
        ("spec.service = {\"name\":\"s\",\"namespace\":\"d\"}", &[]),
        (
            "spec.service = {\"port\":65536}",
            &[
                "spec.service.namespace: Required value",
                "spec.service.name: Required value",
                "spec.service.port: Invalid value: 65536: port is not valid: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            "spec.service = {\"name\":\"s\",\"namespace\":\"d\"} ; spec.caBundle = AQID ; spec.insecureSkipTLSVerify = true",
            &["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"],
        ),
    ];
    check_create(rows, &base, rules);
    check_status(
        rows,
        &base,
        &[
            ("status.conditions = [{\"type\":\"Available\",\"status\":\"True\"}]", &[]),
            (
                "status.conditions = [{\"status\":\"Maybe\"}]",
                &["status.conditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \
                   \"Unknown\""],
            ),
        ],
    );
    check_defaults(rows, &base, &[("spec.service = {}", "spec.service.port = 443")]);
    assert_eq!(cells(rows, &created(rows, base))[1..3], ["Local", "True"]);
}
