//! What a URL and a method ask for, split by hand: one pass over the path, no route table.

use std::borrow::Cow;

use http::Method;

use super::query::Query;

/// A request, understood.
#[derive(Debug, Default)]
pub struct RequestInfo<'a> {
    /// False for `/healthz`, discovery and the like.
    pub is_resource: bool,
    /// `get`, `list`, `watch`, `create`…; for other paths the lower-case method.
    pub verb: &'static str,
    pub path: &'a str,
    pub group: &'a str,
    pub version: &'a str,
    pub namespace: Cow<'a, str>,
    pub resource: &'a str,
    pub name: Cow<'a, str>,
    pub subresource: &'a str,
    /// What follows the subresource: the path that `proxy` passes on. Without leading slash.
    pub rest: &'a str,
}

/// Endpoints below a namespace that are not resources in it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl<'a> RequestInfo<'a> {
    pub fn parse(method: &Method, path: &'a str, query: &Query<'_>) -> Self {
        let mut info = Self { path, verb: lower_case(method), ..Self::default() };
        let mut rest = path.strip_prefix('/').unwrap_or(path);
        match next(&mut rest) {
            "api" => {}
            "apis" => info.group = next(&mut rest),
            _ => return info,
        }
        info.version = next(&mut rest);
        let mut resource = next(&mut rest);
        if info.version.is_empty() || resource.is_empty() {
            return info;
        }
        info.is_resource = true;
        info.verb = verb_of(method);
        let watch_path = resource == "watch";
        if watch_path {
            resource = next(&mut rest);
        }
        if resource == "namespaces" {
            resource = info.enter_namespace(&mut rest);
        }
        info.resource = resource;
        if info.name.is_empty() {
            info.name = decoded(next(&mut rest));
        }
        info.subresource = next(&mut rest);
        info.rest = rest;
        if watch_path {
            info.verb = "watch";
        }
        info.settle_verb(query);
        info
    }

    /// `namespaces/x` names a namespace, `namespaces/x/pods` the pods in it.
    fn enter_namespace(&mut self, rest: &mut &'a str) -> &'a str {
        let namespace = next(rest);
        if namespace.is_empty() {
            return "namespaces";
        }
        self.namespace = decoded(namespace);
        let mut ahead = *rest;
        let inner = next(&mut ahead);
        if inner.is_empty() || NAMESPACE_SUBRESOURCES.contains(&inner) {
            self.name = self.namespace.clone();
            return "namespaces";
        }
        *rest = ahead;
        inner
    }

    /// A read or deletion without a name is one of many.
    fn settle_verb(&mut self, query: &Query<'_>) {
        if !self.name.is_empty() {
            return;
        }
        match self.verb {
            "get" | "watch" => {
                let watch = self.verb == "watch" || query.is_true("watch");
                self.verb = if watch { "watch" } else { "list" };
            }
            "delete" => self.verb = "deletecollection",
            _ => {}
        }
    }

    /// Requests that may take as long as they like.
    pub fn is_long_running(&self) -> bool {
        self.verb == "watch"
            || (self.verb == "post" && self.path == crate::snapshots::PATH)
            || (self.is_resource && matches!(self.subresource, "exec" | "attach" | "portforward" | "log" | "proxy"))
    }
}

fn next<'a>(rest: &mut &'a str) -> &'a str {
    // Byte by byte: segments are shorter than what searches for a character are made for.
    let end = rest.bytes().position(|byte| byte == b'/');
    let (segment, after) = end.map_or((*rest, ""), |end| (&rest[..end], &rest[end + 1..]));
    *rest = after;
    segment
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

fn lower_case(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "",
    }
}

/// A path segment without its percent escapes.
pub fn decoded(segment: &str) -> Cow<'_, str> {
    if !segment.as_bytes().contains(&b'%') {
        return Cow::Borrowed(segment);
    }
    Cow::Owned(percent_decoded(segment, false))
}

/// Percent escapes resolved; what is no escape stays. `form`: a plus is a space.
pub fn percent_decoded(text: &str, form: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = text.get(i + 1..i + 3).filter(|_| bytes[i] == b'%').and_then(|h| u8::from_str_radix(h, 16).ok());
        match (hex, bytes[i]) {
            (Some(byte), _) => {
                out.push(byte);
                i += 2;
            }
            (None, b'+') if form => out.push(b' '),
            (None, byte) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood_as_upstream_does() {
        // method, path, query: resource?, verb, group/version, namespace, resource, name, subresource, rest
        type Case = (Method, &'static str, &'static str, [&'static str; 9]);
        let cases: [Case; 13] = [
            (Method::GET, "/api/v1/pods", "", ["r", "list", "", "v1", "", "pods", "", "", ""]),
            (Method::GET, "/api/v1/pods", "watch=1", ["r", "watch", "", "v1", "", "pods", "", "", ""]),
            (Method::GET, "/api/v1/namespaces/a/pods/b", "", ["r", "get", "", "v1", "a", "pods", "b", "", ""]),
            (
                Method::PUT,
                "/api/v1/namespaces/a/pods/b/status",
                "",
                ["r", "update", "", "v1", "a", "pods", "b", "status", ""],
            ),
            (Method::GET, "/api/v1/namespaces", "", ["r", "list", "", "v1", "", "namespaces", "", "", ""]),
            (Method::GET, "/api/v1/namespaces/a", "", ["r", "get", "", "v1", "a", "namespaces", "a", "", ""]),
            (
                Method::PUT,
                "/api/v1/namespaces/a/finalize",
                "",
                ["r", "update", "", "v1", "a", "namespaces", "a", "finalize", ""],
            ),
            (
                Method::DELETE,
                "/apis/apps/v1/namespaces/a/deployments",
                "",
                ["r", "deletecollection", "apps", "v1", "a", "deployments", "", "", ""],
            ),
            (Method::GET, "/api/v1/watch/namespaces/a/pods", "", ["r", "watch", "", "v1", "a", "pods", "", "", ""]),
            (
                Method::GET,
                "/api/v1/namespaces/a/pods/b:80/proxy/x/y",
                "",
                ["r", "get", "", "v1", "a", "pods", "b:80", "proxy", "x/y"],
            ),
            (
                Method::GET,
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                "",
                ["r", "get", "rbac.authorization.k8s.io", "v1", "", "clusterroles", "system:node", "", ""],
            ),
            (Method::GET, "/apis/apps/v1", "", ["n", "get", "apps", "v1", "", "", "", "", ""]),
            (Method::POST, "/healthz", "", ["n", "post", "", "", "", "", "", "", ""]),
        ];
        for (method, path, query, want) in cases {
            let info = RequestInfo::parse(&method, path, &Query::parse(query));
            let kind = if info.is_resource { "r" } else { "n" };
            let got = [
                kind,
                info.verb,
                info.group,
                info.version,
                &info.namespace,
                info.resource,
                &info.name,
                info.subresource,
                info.rest,
            ];
            assert_eq!(got, want, "{path}");
        }
    }
}
