//! Owners of fields and admission: what it adds is nobody's, and a list that it spoils is made anew.
#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiResult, UserInfo};
use async_trait::async_trait;
use registry::{AdmissionHook, Call, Change, Registry, Review, ServiceOptions};
use serde_json::{Value, json};

/// Adds a label, and if asked spoils the list of owners.
struct Meddler {
    spoils: bool,
}

#[async_trait]
impl AdmissionHook for Meddler {
    async fn mutate(&self, _: &Review<'_>, object: Option<&mut Value>, _: Option<&Value>) -> ApiResult<()> {
        if let Some(object) = object {
            object["metadata"]["labels"]["meddled"] = "yes".into();
            if self.spoils {
                object["metadata"]["managedFields"] = json!([{ "manager": "nobody" }]);
            }
        }
        Ok(())
    }

    async fn validate(&self, _: &Review<'_>, _: Option<&Value>, _: Option<&Value>) -> ApiResult<()> {
        Ok(())
    }
}

/// The fields of the one owner, after a creation and a change.
async fn owned(spoils: bool) -> (Value, Value, Vec<String>) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let storage = storage::Storage::open(storage::Config::new(directory.path().join("db"))).await.unwrap();
    let options = registry::Options { storage, resources: apis::all(), services: ServiceOptions::default() };
    let registry = Registry::new(options).unwrap();
    let (user, meddler) = (UserInfo::new("test", []), Meddler { spoils });
    let found = registry.rows().newest("", "configmaps").unwrap();
    let call = Call {
        resource: found.resource,
        version: found.version,
        subresource: "",
        namespace: "default",
        name: "m",
        user: &user,
        field_manager: "test",
        dry_run: false,
        admission: &meddler,
        warnings: std::sync::Mutex::default(),
    };
    let fields = |body: &[u8]| -> Value {
        let object: Value = serde_json::from_slice(body).unwrap();
        let [entry] = object.array_at("metadata/managedFields") else { panic!("{object}") };
        assert_eq!((entry.str_at("manager"), entry.str_at("operation")), ("test", "Update"));
        entry["fieldsV1"].clone()
    };
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m" }, "data": { "a": "1" } });
    let made = fields(&registry.create(&call, object).await.unwrap());
    let change = |mut object: Value| {
        object["data"]["b"] = "2".into();
        Ok(object)
    };
    let changed = fields(&registry.update(&call, Change::Patch(&change)).await.unwrap().body);
    (made, changed, call.take_warnings())
}

#[tokio::test]
async fn what_admission_adds_is_nobodys() {
    let (made, changed, warnings) = owned(false).await;
    assert_eq!(made, json!({ "f:data": { ".": {}, "f:a": {} } }));
    assert_eq!(changed, json!({ "f:data": { ".": {}, "f:a": {}, "f:b": {} } }));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[tokio::test]
async fn a_list_that_admission_spoils_is_made_anew() {
    let (made, changed, warnings) = owned(true).await;
    assert_eq!(made["f:data"], json!({ ".": {}, "f:a": {} }));
    assert_eq!(changed["f:data"], json!({ ".": {}, "f:a": {}, "f:b": {} }));
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].starts_with(".metadata.managedFields was in an invalid state after admission"), "{warnings:?}");
}
