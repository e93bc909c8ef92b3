//! containerd's content store and image names: what importing an image needs and CRI does not have.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::containerd_proto::{content, images, leases};
use crate::service::Result;
use crate::{Error, v1};

/// CRI's images live in this containerd namespace.
const NAMESPACE: &str = "k8s.io";
/// One message of blob data; gRPC's own limit is 4 MiB.
const CHUNK_BYTES: usize = 1 << 20;

/// What a name points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: i64,
}

/// A handle to containerd's services; cheap to clone.
#[derive(Clone, Debug)]
pub struct Containerd {
    channel: Channel,
}

/// Keeps blobs alive until [`Containerd::end_lease`] or, if we die, for an hour.
#[derive(Clone, Debug)]
pub struct Lease(String);

impl Containerd {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel }
    }

    pub async fn begin_lease(&self, id: &str, expires_at: &str) -> Result<Lease> {
        let labels = BTreeMap::from([("containerd.io/gc.expire".to_owned(), expires_at.to_owned())]);
        let request = leases::CreateRequest { id: id.to_owned(), labels };
        let mut client = leases::leases_client::LeasesClient::new(self.channel.clone());
        match client.create(in_namespace(request, None)?).await {
            Ok(_) => Ok(Lease(id.to_owned())),
            Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(Lease(id.to_owned())),
            Err(status) => Err(status.into()),
        }
    }

    pub async fn end_lease(&self, lease: Lease) -> Result<()> {
        let mut client = leases::leases_client::LeasesClient::new(self.channel.clone());
        let request = leases::DeleteRequest { id: lease.0, sync: false };
        client.delete(in_namespace(request, None)?).await?;
        Ok(())
    }

    pub async fn has_blob(&self, digest: &str) -> Result<bool> {
        let mut client = content::content_client::ContentClient::new(self.channel.clone());
        let request = content::InfoRequest { digest: digest.to_owned() };
        match client.info(in_namespace(request, None)?).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    /// Writes one blob; `labels` tell containerd's collector what it refers to. A blob that is there gets its labels only.
    pub async fn write_blob(
        &self,
        lease: &Lease,
        digest: &str,
        data: bytes_source::Source,
        labels: BTreeMap<String, String>,
    ) -> Result<()> {
        if self.has_blob(digest).await? {
            return self.label_blob(lease, digest, labels).await;
        }
        let reference = format!("coracle-{digest}");
        let requests = bytes_source::requests(reference.clone(), digest.to_owned(), data, labels);
        let mut client = content::content_client::ContentClient::new(self.channel.clone());
        let answers = client.write(in_namespace(requests, Some(lease))?).await;
        let outcome = async {
            let mut answers = answers?.into_inner();
            while answers.message().await?.is_some() {}
            Ok::<_, tonic::Status>(())
        };
        match outcome.await {
            Ok(()) => Ok(()),
            Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(()),
            Err(status) => {
                // A half-written blob of that name would refuse the next try.
                let abort = content::AbortRequest { r#ref: reference };
                let _ = client.abort(in_namespace(abort, Some(lease))?).await;
                Err(status.into())
            }
        }
    }

    async fn label_blob(&self, lease: &Lease, digest: &str, labels: BTreeMap<String, String>) -> Result<()> {
        if labels.is_empty() {
            return Ok(());
        }
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let info = content::Info { digest: digest.to_owned(), size: 0, labels };
        let request = content::UpdateRequest { info: Some(info), update_mask: Some(content::FieldMask { paths }) };
        let mut client = content::content_client::ContentClient::new(self.channel.clone());
        client.update(in_namespace(request, Some(lease))?).await?;
        Ok(())
    }

    /// What `name` points at now.
    pub async fn image(&self, name: &str) -> Result<Option<Descriptor>> {
        let mut client = images::images_client::ImagesClient::new(self.channel.clone());
        match client.get(in_namespace(images::GetImageRequest { name: name.to_owned() }, None)?).await {
            Ok(answer) => Ok(answer.into_inner().image.and_then(|image| image.target).map(|target| Descriptor {
                media_type: target.media_type,
                digest: target.digest,
                size: target.size,
            })),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// Points `name` at `target`, making it or moving it. CRI sees the change by containerd's own event.
    pub async fn put_image(&self, name: &str, target: &Descriptor, labels: BTreeMap<String, String>) -> Result<()> {
        let target = images::Descriptor {
            media_type: target.media_type.clone(),
            digest: target.digest.clone(),
            size: target.size,
            annotations: BTreeMap::new(),
        };
        let image = images::Image { name: name.to_owned(), labels, target: Some(target) };
        let mut client = images::images_client::ImagesClient::new(self.channel.clone());
        let create = images::CreateImageRequest { image: Some(image.clone()) };
        match client.create(in_namespace(create, None)?).await {
            Ok(_) => return Ok(()),
            Err(status) if status.code() == tonic::Code::AlreadyExists => {}
            Err(status) => return Err(status.into()),
        }
        let update = images::UpdateImageRequest { image: Some(image), update_mask: None };
        client.update(in_namespace(update, None)?).await?;
        Ok(())
    }
}

/// containerd reads the namespace and the lease from the call's headers.
fn in_namespace<T>(message: T, lease: Option<&Lease>) -> Result<Request<T>> {
    let mut request = Request::new(message);
    let headers = request.metadata_mut();
    headers.insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    if let Some(Lease(id)) = lease {
        let id = MetadataValue::try_from(id.as_str())
            .map_err(|_| Error::Endpoint { endpoint: id.clone(), reason: "not a lease name".into() })?;
        headers.insert("containerd-lease", id);
    }
    Ok(request)
}

/// Turning a blob into the messages of one write.
pub mod bytes_source {
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::io::{Read as _, Seek as _, SeekFrom};

    use futures::Stream;

    use super::CHUNK_BYTES;
    use crate::containerd_proto::content::{WriteAction, WriteContentRequest};

    /// Where a blob's bytes come from: memory, or a range of a file (a tar archive's entry).
    #[derive(Debug)]
    pub enum Source {
        Memory(Vec<u8>),
        File { file: File, offset: u64, size: u64 },
    }

    impl Source {
        fn size(&self) -> u64 {
            match self {
                Self::Memory(data) => data.len() as u64,
                Self::File { size, .. } => *size,
            }
        }

        fn read(&mut self, at: u64, length: usize) -> std::io::Result<Vec<u8>> {
            match self {
                Self::Memory(data) => {
                    let start = usize::try_from(at).unwrap_or(usize::MAX).min(data.len());
                    let end = start.saturating_add(length).min(data.len());
                    Ok(data.get(start..end).unwrap_or_default().to_vec())
                }
                Self::File { file, offset, .. } => {
                    file.seek(SeekFrom::Start(*offset + at))?;
                    let mut chunk = vec![0; length];
                    file.read_exact(&mut chunk)?;
                    Ok(chunk)
                }
            }
        }
    }

    /// Data messages, then the commit. A read error ends the stream early, which containerd answers with an error.
    pub(super) fn requests(
        reference: String,
        digest: String,
        source: Source,
        labels: BTreeMap<String, String>,
    ) -> impl Stream<Item = WriteContentRequest> + Send + 'static {
        let total = source.size();
        let message = move |action: WriteAction, offset: u64, data: Vec<u8>| WriteContentRequest {
            action: action as i32,
            r#ref: reference.clone(),
            total: i64::try_from(total).unwrap_or(i64::MAX),
            expected: digest.clone(),
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            data,
            labels: if action == WriteAction::Commit { labels.clone() } else { BTreeMap::new() },
        };
        futures::stream::unfold(Some((source, 0u64)), move |state| {
            let step = state.and_then(|(mut source, offset)| {
                if offset >= total {
                    return Some((message(WriteAction::Commit, offset, Vec::new()), None));
                }
                let length = usize::try_from(total - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
                let chunk = source.read(offset, length).ok()?;
                let next = offset + chunk.len() as u64;
                Some((message(WriteAction::Write, offset, chunk), Some((source, next))))
            });
            std::future::ready(step)
        })
    }
}

/// The label by which CRI knows an image as its own, and the one that keeps it from image collection.
pub fn cri_image_labels(pinned: bool) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([("io.cri-containerd.image".to_owned(), "managed".to_owned())]);
    if pinned {
        labels.insert("io.cri-containerd.pinned".to_owned(), "pinned".to_owned());
    }
    labels
}

/// How long a lease of an import may outlive us.
pub const LEASE_LIFETIME: Duration = Duration::from_secs(3600);

/// True where the runtime says that it is containerd.
pub fn is_containerd(version: &v1::VersionResponse) -> bool {
    version.runtime_name == "containerd"
}
