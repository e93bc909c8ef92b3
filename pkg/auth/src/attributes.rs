//! What a request wants to do, as authorizers see it.

use apimachinery::{ApiError, GroupResource, UserInfo};

/// One question to an authorizer. Borrowed: a check allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub user: &'a UserInfo,
    /// `get`, `list`, `create`… for resources; the lower-case HTTP method for other paths.
    pub verb: &'a str,
    pub api_group: &'a str,
    pub api_version: &'a str,
    /// Empty at the cluster scope.
    pub namespace: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub name: &'a str,
    /// The URL's path; decides only if this is no resource request.
    pub path: &'a str,
    pub resource_request: bool,
    /// The field selector of a list, watch or deletecollection, as the client wrote it.
    pub field_selector: &'a str,
}

impl<'a> Attributes<'a> {
    /// A question about a path outside the resource APIs.
    pub fn non_resource(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Self {
        Self { path, ..Self::blank(user, verb, false) }
    }

    /// A question about a resource of the core group or a named one; further fields by struct update.
    pub fn resource(user: &'a UserInfo, verb: &'a str, api_group: &'a str, resource: &'a str) -> Self {
        Self { api_group, resource, ..Self::blank(user, verb, true) }
    }

    fn blank(user: &'a UserInfo, verb: &'a str, resource_request: bool) -> Self {
        Self {
            user,
            verb,
            api_group: "",
            api_version: "",
            namespace: "",
            resource: "",
            subresource: "",
            name: "",
            path: "",
            resource_request,
            field_selector: "",
        }
    }

    #[must_use]
    pub fn in_namespace(self, namespace: &'a str) -> Self {
        Self { namespace, ..self }
    }

    #[must_use]
    pub fn named(self, name: &'a str) -> Self {
        Self { name, ..self }
    }

    /// The subresource, as `pods/<sub>`.
    #[must_use]
    #[allow(clippy::should_implement_trait)]
    pub fn sub(self, subresource: &'a str) -> Self {
        Self { subresource, ..self }
    }

    pub fn is_read_only(&self) -> bool {
        matches!(self.verb, "get" | "list" | "watch")
    }

    /// What is refused, in upstream's words: `User "x" cannot list resource "pods" in API group "" in the namespace "y"`.
    pub fn refusal(&self) -> String {
        let user = &self.user.name;
        let verb = self.verb;
        if !self.resource_request {
            return format!("User {user:?} cannot {verb} path {:?}", self.path);
        }
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{}", self.resource, self.subresource);
        let what = format!("User {user:?} cannot {verb} resource {resource:?} in API group {:?}", self.api_group);
        if self.namespace.is_empty() {
            format!("{what} at the cluster scope")
        } else {
            format!("{what} in the namespace {:?}", self.namespace)
        }
    }

    /// The 403 answer; `reason` is what the authorizers said, or empty.
    pub fn forbidden(&self, reason: &str) -> ApiError {
        let refusal = self.refusal();
        let why = if reason.is_empty() { refusal } else { format!("{refusal}: {reason}") };
        if self.resource_request {
            ApiError::forbidden(&GroupResource::new(self.api_group, self.resource), self.name, why)
        } else {
            ApiError::forbidden(&GroupResource::new("", ""), "", why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_upstream_writes_them() {
        let bob = UserInfo::new("bob", []);
        let pods = Attributes::resource(&bob, "list", "", "pods");
        let cases = [
            (
                pods.in_namespace("default").forbidden(""),
                r#"pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default""#,
            ),
            (
                Attributes::resource(&bob, "delete", "", "nodes").named("n1").forbidden("no"),
                r#"nodes "n1" is forbidden: User "bob" cannot delete resource "nodes" in API group "" at the cluster scope: no"#,
            ),
            (
                Attributes { verb: "create", ..pods }.sub("exec").named("p").in_namespace("a").forbidden(""),
                r#"pods "p" is forbidden: User "bob" cannot create resource "pods/exec" in API group "" in the namespace "a""#,
            ),
            (
                Attributes::resource(&bob, "get", "apps", "deployments").named("d").in_namespace("a").forbidden(""),
                r#"deployments.apps "d" is forbidden: User "bob" cannot get resource "deployments" in API group "apps" in the namespace "a""#,
            ),
            (
                Attributes::non_resource(&bob, "get", "/metrics").forbidden(""),
                r#"forbidden: User "bob" cannot get path "/metrics""#,
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.message(), text);
            assert_eq!(error.code(), 403);
        }
    }
}
