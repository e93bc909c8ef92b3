//! Single operations of a path: parameters, bodies, answers.

use serde_json::{Map, Value, json};

use crate::schemas::{gvk_value, schema_ref};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What an operation is about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub tag: &'a str,
    /// Group, version and kind of the body.
    pub gvk: (&'a str, &'a str, &'a str),
    /// The body's definition.
    pub definition: &'a str,
    /// The kind in words of descriptions.
    pub kind: &'a str,
}

fn parameter(name: &str, place: &str, type_: &str, description: &str) -> Value {
    let mut parameter = json!({
        "name": name, "in": place, "description": description, "schema": {"type": type_, "uniqueItems": true},
    });
    if place == "path" {
        parameter["required"] = true.into();
    }
    parameter
}

fn query(name: &str, type_: &str, description: &str) -> Value {
    parameter(name, "query", type_, description)
}

/// Parameters of writes.
pub fn write_parameters() -> Vec<Value> {
    vec![
        query("dryRun", "string", "`All` runs every stage of the request, but keeps nothing."),
        query(
            "fieldManager",
            "string",
            "The name of the actor or program that makes the changes: at most 128 printable characters.",
        ),
        query(
            "fieldValidation",
            "string",
            "How unknown and duplicate fields are treated: Ignore, Warn (the default) or Strict.",
        ),
    ]
}

/// Parameters of lists; of collection deletions without the two of watches.
pub fn list_parameters(watch: bool) -> Vec<Value> {
    let mut parameters = vec![
        query("continue", "string", "Continues a list where the page before ended: the `continue` of its metadata."),
        query("fieldSelector", "string", "Only objects whose fields match."),
        query("labelSelector", "string", "Only objects whose labels match."),
        query("limit", "integer", "At most this many objects; the rest can be asked for with `continue`."),
        query("resourceVersion", "string", "What the answer must reflect; see resourceVersionMatch."),
        query("resourceVersionMatch", "string", "How resourceVersion is meant: NotOlderThan or Exact."),
        query(
            "sendInitialEvents",
            "boolean",
            "A watch starts with an event for each object that is there, then a bookmark.",
        ),
        query("timeoutSeconds", "integer", "Ends the call after this time, whatever happens."),
    ];
    if watch {
        parameters.insert(0, query("allowWatchBookmarks", "boolean", "Lets a watch send BOOKMARK events."));
        parameters.push(query("watch", "boolean", "Sends changes as they happen instead of a list."));
    }
    parameters
}

/// Parameters of deletions; the body may say the same.
pub fn delete_parameters() -> Vec<Value> {
    vec![
        query("dryRun", "string", "`All` runs every stage of the request, but keeps nothing."),
        query("gracePeriodSeconds", "integer", "Time that the object is given to end; 0 is at once."),
        query(
            "ignoreStoreReadErrorWithClusterBreakingPotential",
            "boolean",
            "Deletes even what cannot be read from the store.",
        ),
        query("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
        query("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
    ]
}

pub fn pretty() -> Value {
    query("pretty", "string", "`true` indents the answer.")
}

pub fn namespace() -> Value {
    parameter("namespace", "path", "string", "object name and auth scope, such as for teams and projects")
}

pub fn name(kind: &str) -> Value {
    parameter("name", "path", "string", &format!("name of the {kind}"))
}

pub fn path_parameter() -> Value {
    parameter("path", "path", "string", "path below the resource")
}

/// A query parameter of a connection, such as `command` of exec.
pub fn connect_parameter(name: &str) -> Value {
    let type_ = match name {
        "follow"
        | "insecureSkipTLSVerifyBackend"
        | "previous"
        | "stderr"
        | "stdin"
        | "stdout"
        | "timestamps"
        | "tty" => "boolean",
        "limitBytes" | "ports" | "sinceSeconds" | "tailLines" => "integer",
        _ => "string",
    };
    query(name, type_, &format!("Option {name} of the connection."))
}

fn content(media: &[&str], schema: &Value) -> Value {
    let entries = media.iter().map(|m| ((*m).to_owned(), json!({ "schema": schema })));
    Value::Object(entries.collect())
}

fn responses(codes: &[(&str, &str)], media: &[&str], definition: &str) -> Value {
    let schema =
        if definition == "string" { json!({"type": "string"}) } else { json!({"$ref": schema_ref(definition)}) };
    let mut all = Map::new();
    for (code, text) in codes {
        all.insert((*code).to_owned(), json!({"description": text, "content": content(media, &schema)}));
    }
    all.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    all.into()
}

const MEDIA: &[&str] = &["application/json", PROTOBUF, "application/yaml"];
const STREAMS: &[&str] = &[
    "application/json",
    "application/json;stream=watch",
    PROTOBUF,
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/yaml",
];
const OK: (&str, &str) = ("200", "OK");
const CREATED: (&str, &str) = ("201", "Created");
const ACCEPTED: (&str, &str) = ("202", "Accepted");

impl Subject<'_> {
    fn operation(&self, id: &str, action: &str, description: &str, parameters: Vec<Value>, answers: Value) -> Value {
        let (group, version, kind) = self.gvk;
        let mut operation = json!({
            "tags": [self.tag], "operationId": id, "description": description, "responses": answers,
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk_value(group, version, kind),
        });
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        operation
    }

    fn body(&self, mut operation: Value) -> Value {
        let schema = json!({"$ref": schema_ref(self.definition)});
        operation["requestBody"] = json!({"required": true, "content": {"*/*": {"schema": schema}}});
        operation
    }

    pub fn list(&self, id: &str, parameters: Vec<Value>) -> Value {
        let answers = responses(&[OK], STREAMS, &format!("{}List", self.definition));
        self.operation(id, "list", &format!("list or watch objects of kind {}", self.kind), parameters, answers)
    }

    pub fn create(&self, id: &str) -> Value {
        let answers = responses(&[OK, CREATED, ACCEPTED], MEDIA, self.definition);
        let description = format!("create {}", article(self.kind));
        self.body(self.operation(id, "post", &description, write_parameters(), answers))
    }

    pub fn get(&self, id: &str) -> Value {
        let answers = responses(&[OK], MEDIA, self.definition);
        self.operation(id, "get", &format!("read the specified {}", self.kind), Vec::new(), answers)
    }

    pub fn put(&self, id: &str) -> Value {
        let answers = responses(&[OK, CREATED], MEDIA, self.definition);
        let description = format!("replace the specified {}", self.kind);
        self.body(self.operation(id, "put", &description, write_parameters(), answers))
    }

    pub fn patch(&self, id: &str) -> Value {
        let answers = responses(&[OK, CREATED], MEDIA, self.definition);
        let mut parameters = write_parameters();
        parameters.push(query("force", "boolean", "Apply patches take over fields of other managers."));
        let description = format!("partially update the specified {}", self.kind);
        let mut operation = self.operation(id, "patch", &description, parameters, answers);
        let media = [
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ];
        let schema = json!({"$ref": schema_ref(&format!("{META}.Patch"))});
        operation["requestBody"] = json!({"required": true, "content": content(&media, &schema)});
        operation
    }

    pub fn delete(&self, id: &str) -> Value {
        let answer = if matches!(
            self.kind,
            "Pod" | "PersistentVolumeClaim" | "ServiceAccount" | "Service" | "PodTemplate" | "ResourceQuota"
        ) {
            self.definition.to_owned()
        } else {
            format!("{META}.Status")
        };
        let answers = responses(&[OK, ACCEPTED], MEDIA, &answer);
        let description = format!("delete {}", article(self.kind));
        deletion(self.operation(id, "delete", &description, delete_parameters(), answers))
    }

    pub fn delete_collection(&self, id: &str) -> Value {
        let mut parameters = list_parameters(false);
        parameters.extend(delete_parameters());
        let answers = responses(&[OK], MEDIA, &format!("{META}.Status"));
        let description = format!("delete collection of {}", self.kind);
        deletion(self.operation(id, "deletecollection", &description, parameters, answers))
    }

    /// A stream or a pass-through: any bytes.
    pub fn connect(&self, id: &str, method: &str) -> Value {
        let description = format!("connect {} requests to {}", method.to_uppercase(), self.kind);
        self.operation(id, "connect", &description, Vec::new(), responses(&[OK], &["*/*"], "string"))
    }

    pub fn log(&self, id: &str, parameters: Vec<Value>) -> Value {
        let answers = responses(&[OK], &["text/plain"], "string");
        self.operation(id, "get", "read log of the specified Pod", parameters, answers)
    }
}

fn deletion(mut operation: Value) -> Value {
    let schema = json!({"$ref": schema_ref(&format!("{META}.DeleteOptions"))});
    operation["requestBody"] = json!({"content": {"*/*": {"schema": schema}}});
    operation
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['A', 'E', 'I', 'O', 'U']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

/// `GET /apis/<group>/<version>/`.
pub fn resources_operation(tag: &str, id: &str) -> Value {
    json!({
        "tags": [tag], "operationId": id, "description": "get available resources",
        "responses": responses(&[OK], MEDIA, &format!("{META}.APIResourceList")),
    })
}
