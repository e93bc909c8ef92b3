//! What a test is given: clients of the running cluster and a namespace of its own.

use kube::Client;
use serde_json::{Value, json};

use crate::kinds::{Kind, NAMESPACE, SERVICE_ACCOUNT};
use crate::kubectl::Kubectl;
use crate::resource::Resource;

/// How long a name may be, so that what is put behind it still fits into a label of 63.
const UNIQUE_MAX: usize = 50;

/// What the objects of a test are called after: its name as a label, cut to what fits.
pub fn unique(test: &str) -> String {
    let mut unique = test.replace("::", "-").replace('_', "-");
    unique.truncate(UNIQUE_MAX);
    unique.trim_end_matches('-').to_owned()
}

/// The cluster as one test sees it.
pub struct Cluster {
    pub client: Client,
    kubectl: Kubectl,
    /// The test's own namespace. Also the value of the label `conformance` on what it makes, and the beginning of the names
    /// of what it makes outside of a namespace.
    pub unique: String,
}

impl Cluster {
    /// Makes the namespace of a test that is called `module::function`.
    pub async fn prepare(client: Client, kubectl: Kubectl, test: &str) -> anyhow::Result<Self> {
        let cluster = Self { client, kubectl, unique: unique(test) };
        cluster.namespace(&cluster.unique).await?;
        Ok(cluster)
    }

    /// Makes another namespace that ends with the test, and waits for the account that pods need.
    pub async fn namespace(&self, name: &str) -> anyhow::Result<Value> {
        let object = json!({"metadata": {"name": name, "labels": self.labels()}});
        let created = self.of(NAMESPACE).create(&object).await?;
        self.within(SERVICE_ACCOUNT, name).until("default", "every namespace MUST have an account", |_| true).await?;
        Ok(created)
    }

    /// Removes every namespace that the test has made.
    pub async fn clean(&self) -> anyhow::Result<()> {
        let namespaces = self.of(NAMESPACE);
        for namespace in namespaces.items(&self.selector()).await? {
            if namespace["metadata"].get("deletionTimestamp").is_none() {
                namespaces.delete(namespace["metadata"]["name"].as_str().unwrap_or_default()).await?;
            }
        }
        Ok(())
    }

    /// The objects of a kind in the test's namespace, or in the cluster.
    pub fn of(&self, kind: Kind) -> Resource {
        self.within(kind, &self.unique)
    }

    /// The objects of a kind in another namespace.
    pub fn within(&self, kind: Kind, namespace: &str) -> Resource {
        Resource::new(&self.client, kind, kind.namespaced.then_some(namespace))
    }

    /// The objects of a kind in all namespaces.
    pub fn everywhere(&self, kind: Kind) -> Resource {
        Resource::new(&self.client, kind, None)
    }

    /// The label of what this test makes.
    pub fn labels(&self) -> Value {
        json!({"conformance": self.unique})
    }

    /// Chooses what this test has made.
    pub fn selector(&self) -> String {
        format!("conformance={}", self.unique)
    }

    /// GETs a path as JSON.
    pub async fn raw(&self, path: &str) -> anyhow::Result<Value> {
        self.request("GET", path, &[], Vec::new()).await
    }

    /// Sends any request and answers its body as JSON.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Value> {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let outcome = self.client.request(request.body(body)?).await;
        anyhow::Context::with_context(outcome, || format!("{method} {path}"))
    }

    /// Runs kubectl in the test's namespace and answers its standard output.
    pub async fn kubectl(&self, line: &str) -> anyhow::Result<String> {
        self.blocking(line, |kubectl, line| kubectl.run(line)).await
    }

    /// Runs kubectl with `input` on standard input.
    pub async fn feed(&self, line: &str, input: &Value) -> anyhow::Result<String> {
        let input = input.to_string();
        self.blocking(line, move |kubectl, line| kubectl.feed(line, &input)).await
    }

    /// Runs anything that blocks with kubectl and a line for it.
    pub async fn blocking<T: Send + 'static>(
        &self,
        line: &str,
        work: impl FnOnce(&Kubectl, &str) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let (kubectl, line) = (self.kubectl.clone(), format!("-n {} {line}", self.unique));
        tokio::task::spawn_blocking(move || work(&kubectl, &line)).await?
    }
}
