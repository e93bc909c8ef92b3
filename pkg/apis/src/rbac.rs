//! Rows of `rbac.authorization.k8s.io`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_subdomain;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::Value;

use crate::cells::{NAME_CREATED, age, name_created};
use crate::check;
use crate::resource::{Column, Resource, Strategy};
use crate::strategy::path_segment_name;
use crate::tree::{Fill, Tree};

const GROUP: &str = "rbac.authorization.k8s.io";

const STRATEGY: Strategy =
    Strategy { allow_create_on_update: true, validate_name: path_segment_name, ..Strategy::PLAIN };

const BINDING: Strategy = Strategy {
    default: default_binding,
    validate: validate_binding,
    validate_update: |new, old| {
        let mut errors = validate_binding(new);
        if new.field("roleRef") != old.field("roleRef") {
            let value = new.field("roleRef").clone();
            errors.push(Error::invalid(&Path::new("roleRef"), value, "cannot change roleRef"));
        }
        errors
    },
    ..STRATEGY
};

const BINDING_COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Role", "Role that it gives."),
    Column::AGE,
    Column::text("Users", "Users that get it.").wide(),
    Column::text("Groups", "Groups that get it.").wide(),
    Column::text("ServiceAccounts", "Service accounts that get it.").wide(),
];

const fn row(resource: Resource) -> Resource {
    Resource { columns: NAME_CREATED, cells: name_created, ..resource }
}

pub const ROWS: &[Resource] = &[
    Resource {
        strategy: BINDING,
        columns: BINDING_COLUMNS,
        cells: binding_cells,
        ..Resource::cluster(GROUP, "v1", "clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding")
    },
    Resource {
        strategy: Strategy {
            validate: |o| validate_role(o, false),
            validate_update: |new, _| validate_role(new, false),
            ..STRATEGY
        },
        ..row(Resource::cluster(GROUP, "v1", "clusterroles", "clusterrole", "ClusterRole"))
    },
    Resource {
        strategy: BINDING,
        columns: BINDING_COLUMNS,
        cells: binding_cells,
        ..Resource::namespaced(GROUP, "v1", "rolebindings", "rolebinding", "RoleBinding")
    },
    Resource {
        strategy: Strategy {
            validate: |o| validate_role(o, true),
            validate_update: |new, _| validate_role(new, true),
            ..STRATEGY
        },
        ..row(Resource::namespaced(GROUP, "v1", "roles", "role", "Role"))
    },
];

fn default_binding(binding: &mut Object) {
    let root = object_mut(binding);
    root.sub_or_new("roleRef").default_text("apiGroup", GROUP);
    root.each("subjects", |subject| {
        if matches!(subject.text("kind"), "User" | "Group") {
            subject.default_text("apiGroup", GROUP);
        }
    });
}

fn validate_role(role: &Object, namespaced: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, rule) in role.list("rules").iter().enumerate() {
        validate_rule(&mut errors, &Path::new("rules").index(i), rule, namespaced);
    }
    if role.has("aggregationRule") {
        let at = Path::new("aggregationRule").child("clusterRoleSelectors");
        let selectors = role.field("aggregationRule").list("clusterRoleSelectors");
        if selectors.is_empty() {
            let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(Error::required(&at, why));
        }
        for (i, selector) in selectors.iter().enumerate() {
            check::label_selector(&mut errors, &at.index(i), selector);
        }
    }
    errors
}

fn validate_rule(errors: &mut ErrorList, at: &Path, rule: &Value, namespaced: bool) {
    if rule.list("verbs").is_empty() {
        errors.push(Error::required(&at.child("verbs"), "verbs must contain at least one value"));
    }
    if !rule.list("nonResourceURLs").is_empty() {
        let path = at.child("nonResourceURLs");
        let value = rule.field("nonResourceURLs").clone();
        if namespaced {
            let why = "namespaced rules cannot apply to non-resource URLs";
            errors.push(Error::invalid(&path, value.clone(), why));
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|f| !rule.list(f).is_empty()) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(Error::invalid(&path, value, why));
        }
        return;
    }
    if rule.list("apiGroups").is_empty() {
        errors.push(Error::required(&at.child("apiGroups"), "resource rules must supply at least one api group"));
    }
    if rule.list("resources").is_empty() {
        errors.push(Error::required(&at.child("resources"), "resource rules must supply at least one resource"));
    }
}

fn validate_binding(binding: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, role) = (Path::new("roleRef"), binding.field("roleRef"));
    if role.text("apiGroup") != GROUP {
        errors.push(Error::not_supported(&at.child("apiGroup"), role.text("apiGroup"), &[GROUP]));
    }
    let namespaced = binding.kind() == "RoleBinding";
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&role.text("kind")) {
        errors.push(Error::not_supported(&at.child("kind"), role.text("kind"), kinds));
    }
    match role.text("name") {
        "" => errors.push(Error::required(&at.child("name"), "")),
        name => {
            let reasons = path_segment_name(name, false);
            errors.extend(reasons.into_iter().map(|e| Error::invalid(&at.child("name"), name, e)));
        }
    }
    for (i, subject) in binding.list("subjects").iter().enumerate() {
        validate_subject(&mut errors, &Path::new("subjects").index(i), subject, namespaced);
    }
    errors
}

fn validate_subject(errors: &mut ErrorList, at: &Path, subject: &Value, namespaced: bool) {
    let (name, group) = (subject.text("name"), subject.text("apiGroup"));
    if name.is_empty() {
        errors.push(Error::required(&at.child("name"), ""));
    }
    let supported = match subject.text("kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                check::text(errors, at, "name", name, is_dns1123_subdomain);
            }
            ""
        }
        "User" | "Group" => GROUP,
        other => {
            let known = &["ServiceAccount", "User", "Group"];
            errors.push(Error::not_supported(&at.child("kind"), other, known));
            return;
        }
    };
    if group != supported {
        errors.push(Error::not_supported(&at.child("apiGroup"), group, &[supported]));
    }
    if supported.is_empty() && !namespaced && subject.text("namespace").is_empty() {
        errors.push(Error::required(&at.child("namespace"), ""));
    }
}

fn binding_cells(binding: &Object, now: i64) -> Vec<Value> {
    let role = binding.field("roleRef");
    let of_kind = |kind: &str| {
        let subjects = binding.list("subjects").iter().filter(|s| s.text("kind") == kind);
        let names = subjects.map(|s| match kind {
            "ServiceAccount" => format!("{}/{}", s.text("namespace"), s.text("name")),
            _ => s.text("name").to_owned(),
        });
        names.collect::<Vec<_>>().join(", ").into()
    };
    vec![
        binding.name().into(),
        format!("{}/{}", role.text("kind"), role.text("name")).into(),
        age(binding, now),
        of_kind("User"),
        of_kind("Group"),
        of_kind("ServiceAccount"),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::GROUP;
    use crate::testing::{Rules, cells, check_create, check_defaults, check_update, row};

    #[test]
    fn role_rules() {
        let rule = json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] });
        let base = json!({ "kind": "Role", "metadata": { "name": "r:x" }, "rules": [rule] });
        let both = "rules cannot apply to both regular resources and non-resource URLs";
        let mixed = format!("rules[0].nonResourceURLs: Invalid value: [\"/x\"]: {both}");
        let url = "rules[0] = {\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/x\"]}";
        let rules: Rules<'_> = &[
            ("", &[]),
            ("rules = null", &[]),
            ("rules[0].verbs = []", &["rules[0].verbs: Required value: verbs must contain at least one value"]),
            (
                "rules[0].apiGroups = []",
                &["rules[0].apiGroups: Required value: resource rules must supply at least one api group"],
            ),
            (
                "rules[0].resources = []",
                &["rules[0].resources: Required value: resource rules must supply at least one resource"],
            ),
        ];
        check_create(row(GROUP, "roles"), &base, rules);
        check_create(row(GROUP, "clusterroles"), &base, rules);
        check_update(row(GROUP, "roles"), &base, rules);
        let why =
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs";
        check_create(row(GROUP, "roles"), &base, &[(url, &[why])]);
        let aggregation: Rules<'_> = &[
            (url, &[]),
            ("rules[0].nonResourceURLs = [\"/x\"]", &[&mixed]),
            ("aggregationRule.clusterRoleSelectors = [{\"matchLabels\":{\"a\":\"b\"}}]", &[]),
            (
                "aggregationRule = {}",
                &[
                    "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if \
                   aggregationRule is non-nil",
                ],
            ),
            (
                "aggregationRule.clusterRoleSelectors = [{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Is\"}]}]",
                &[
                    "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: \"Is\": not a \
                   valid selector operator",
                ],
            ),
        ];
        check_create(row(GROUP, "clusterroles"), &base, aggregation);
        let name = row(GROUP, "roles").strategy.validate_name;
        assert_eq!(name("system:Some", false), [""; 0]);
        assert_eq!(name("a/b", false), ["may not contain '/'"]);
        assert_eq!(cells(row(GROUP, "roles"), &base), ["r:x", ""]);
    }

    #[test]
    fn binding_rules() {
        let base = json!({
            "kind": "RoleBinding", "metadata": { "name": "b" }, "roleRef": { "kind": "ClusterRole", "name": "view" },
            "subjects": [{ "kind": "User", "name": "ann" },
                { "kind": "ServiceAccount", "name": "sa", "namespace": "d" }],
        });
        let rows = row(GROUP, "rolebindings");
        let supported = |path: &str, value: &str, known: &str| {
            format!("{path}: Unsupported value: \"{value}\": supported values: {known}")
        };
        let group = supported("roleRef.apiGroup", "x", &format!("\"{GROUP}\""));
        let kind = supported("roleRef.kind", "Rule", "\"Role\", \"ClusterRole\"");
        let user_group = supported("subjects[0].apiGroup", "x", &format!("\"{GROUP}\""));
        let account_group = supported("subjects[1].apiGroup", "x", "\"\"");
        let subject = supported("subjects[0].kind", "Pod", "\"ServiceAccount\", \"User\", \"Group\"");
        let rules: Rules<'_> = &[
            ("", &[]),
            ("subjects = null", &[]),
            ("roleRef.apiGroup = x", &[&group]),
            ("roleRef.kind = Role", &[]),
            ("roleRef.kind = Rule", &[&kind]),
            ("roleRef.name = null", &["roleRef.name: Required value"]),
            ("roleRef.name = a%", &["roleRef.name: Invalid value: \"a%\": may not contain '%'"]),
            ("subjects[0].name = null", &["subjects[0].name: Required value"]),
            ("subjects[0].apiGroup = x", &[&user_group]),
            ("subjects[1].apiGroup = x", &[&account_group]),
            ("subjects[1].namespace = null", &[]),
            ("subjects[0].kind = Pod", &[&subject]),
        ];
        check_create(rows, &base, rules);
        let mut cluster = base.clone();
        cluster["kind"] = json!("ClusterRoleBinding");
        let role = supported("roleRef.kind", "Role", "\"ClusterRole\"");
        let rules: Rules<'_> = &[
            ("", &[]),
            ("roleRef.kind = Role", &[&role]),
            ("subjects[1].namespace = null", &["subjects[1].namespace: Required value"]),
        ];
        check_create(row(GROUP, "clusterrolebindings"), &cluster, rules);
        let reference = json!({ "apiGroup": GROUP, "kind": "ClusterRole", "name": "edit" });
        let changed = format!("roleRef: Invalid value: {reference}: cannot change roleRef");
        check_update(rows, &base, &[("subjects = []", &[]), ("roleRef.name = edit", &[&changed])]);
        let defaults =
            format!("roleRef.apiGroup = {GROUP} ; subjects[0].apiGroup = {GROUP} ; subjects[1].apiGroup = null");
        check_defaults(rows, &base, &[("", &defaults)]);
        assert_eq!(cells(rows, &base), ["b", "ClusterRole/view", "<unknown>", "ann", "", "d/sa"]);
    }
}
