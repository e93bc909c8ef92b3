//! Lists: at the newest state, at a revision, or going on where the last page ended.

use std::sync::Arc;

use apimachinery::{ApiError, ApiResult, GroupVersionKind, field};
use apis::resource::Resource;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use storage::{At, ListOptions, Page, Predicate, StorageError, StoredObject};

use crate::errors::{from_storage, parse_revision};
use crate::{Registry, Selection, keys};

/// How `resourceVersion` of a list is to be understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResourceVersionMatch {
    #[default]
    Unset,
    NotOlderThan,
    Exact,
}

impl ResourceVersionMatch {
    /// Reads the parameter; other texts are refused, as upstream refuses them.
    pub fn parse(text: &str) -> ApiResult<Self> {
        match text {
            "" => Ok(Self::Unset),
            "NotOlderThan" => Ok(Self::NotOlderThan),
            "Exact" => Ok(Self::Exact),
            other => Err(invalid_options(field::Error::not_supported(
                &field::Path::new("resourceVersionMatch"),
                other,
                &["Exact", "NotOlderThan", ""],
            ))),
        }
    }
}

/// `ListOptions has one wrong field`.
pub(crate) fn invalid_options(error: field::Error) -> ApiError {
    ApiError::invalid(&GroupVersionKind::new("meta.k8s.io", "v1", "ListOptions"), "", &vec![error])
}

#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub selection: Selection,
    /// 0 is all.
    pub limit: usize,
    pub continue_token: String,
    pub resource_version: String,
    pub version_match: ResourceVersionMatch,
}

pub struct ListPage {
    pub items: Vec<StoredObject>,
    pub revision: u64,
    pub continue_token: String,
    /// How many follow; said only where no selector makes it a guess.
    pub remaining: Option<u64>,
}

/// A list that failed.
#[derive(Debug)]
pub enum ListError {
    Api(ApiError),
    /// The continue token's revision is gone. The second text continues at the newest state instead.
    ExpiredToken(ApiError, String),
}

impl From<ApiError> for ListError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// What a continue token says, in upstream's shape.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    /// 0: go on at the newest revision.
    rv: i64,
    /// The key after which to go on, below the prefix.
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";
const EXPIRED_TOKEN: &str = "The provided continue parameter is too old to display a consistent list result. \
     You can start a new list without the continue parameter, or use the continue token in this response to retrieve \
     the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that \
     were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

impl Token {
    fn encode(rv: i64, start: &str) -> String {
        let token = Self { v: TOKEN_VERSION.to_owned(), rv, start: start.to_owned() };
        // A struct of two strings and a number always has a JSON form.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    fn decode(text: &str) -> ApiResult<Self> {
        let invalid = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|e| invalid(&e.to_string()))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|e| invalid(&e.to_string()))?;
        if token.v != TOKEN_VERSION {
            return Err(invalid(&format!("server does not recognize this encoded version {:?}", token.v)));
        }
        if token.start.is_empty() || token.start.contains("..") {
            return Err(invalid("encoded start key is not valid"));
        }
        Ok(token)
    }
}

impl ListQuery {
    fn check(&self) -> ApiResult<()> {
        let path = field::Path::new("resourceVersionMatch");
        let forbid = |why: &str| Err(invalid_options(field::Error::forbidden(&path, why)));
        if self.version_match == ResourceVersionMatch::Unset {
            return Ok(());
        }
        if !self.continue_token.is_empty() {
            return forbid("resourceVersionMatch is forbidden when continue is provided");
        }
        if self.resource_version.is_empty() {
            return forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if self.version_match == ResourceVersionMatch::Exact && self.resource_version == "0" {
            return forbid("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"");
        }
        Ok(())
    }

    /// At which revision to read, and after which key.
    fn position(&self, prefix: &str) -> ApiResult<(At, Option<String>)> {
        self.check()?;
        if !self.continue_token.is_empty() {
            if !self.resource_version.is_empty() && self.resource_version != "0" {
                return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
            }
            let token = Token::decode(&self.continue_token)?;
            let at = u64::try_from(token.rv).ok().filter(|rv| *rv > 0).map_or(At::Newest, At::Exact);
            return Ok((at, Some(format!("{prefix}{}", token.start))));
        }
        let revision = parse_revision(&self.resource_version)?;
        let at = match (revision, self.version_match) {
            (None | Some(0), _) => At::Newest,
            (Some(rv), ResourceVersionMatch::Exact) => At::Exact(rv),
            // Without a match rule, a limit asks for exactly this revision.
            (Some(rv), ResourceVersionMatch::Unset) if self.limit > 0 => At::Exact(rv),
            (Some(rv), _) => At::NotOlderThan(rv),
        };
        Ok((at, None))
    }
}

impl Registry {
    /// Lists one namespace, or with `None` all of them.
    pub fn list(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        query: &ListQuery,
    ) -> Result<ListPage, ListError> {
        let namespace = namespace.or_else(|| query.selection.single_namespace().filter(|_| resource.namespaced));
        let prefix = keys::prefix(resource, namespace);
        let (at, after) = query.position(&prefix)?;
        if let Some(page) = self.list_one(resource, namespace, query, at) {
            return Ok(page);
        }
        let selection = query.selection.clone();
        let predicate: Option<Predicate> = if selection.is_everything() {
            None
        } else {
            Some(Arc::new(move |object: &StoredObject| selection.matches(resource, object)))
        };
        let exact = matches!(at, At::Exact(_));
        let options = ListOptions { at, after: after.clone(), limit: query.limit, predicate };
        let page = match self.storage.list(&prefix, &options) {
            Ok(page) => page,
            Err(StorageError::Compacted { .. }) if after.is_some() => {
                let start = after.as_deref().and_then(|key| key.strip_prefix(&prefix)).unwrap_or("");
                return Err(ListError::ExpiredToken(ApiError::expired(EXPIRED_TOKEN), Token::encode(-1, start)));
            }
            Err(StorageError::Compacted { .. }) if exact => {
                return Err(ApiError::expired("The resourceVersion for the provided list is too old.").into());
            }
            Err(other) => return Err(from_storage(other).into()),
        };
        Ok(to_page(page, &prefix, query.selection.is_everything()))
    }

    /// `metadata.name=<name>` needs no scan.
    fn list_one(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        query: &ListQuery,
        at: At,
    ) -> Option<ListPage> {
        let name = query.selection.single_name()?;
        if !matches!(at, At::Newest) || (resource.namespaced && namespace.is_none()) {
            return None;
        }
        let revision = self.revision();
        let object = self.storage.get(&keys::object(resource, namespace.unwrap_or(""), name));
        let items = object.into_iter().filter(|o| query.selection.matches(resource, o)).collect();
        Some(ListPage { items, revision, continue_token: String::new(), remaining: None })
    }
}

fn to_page(page: Page, prefix: &str, count: bool) -> ListPage {
    let revision = page.revision.get();
    let start = page.next.as_deref().map(|key| key.strip_prefix(prefix).unwrap_or(key).to_owned());
    let continue_token = start.map(|start| Token::encode(i64::try_from(revision).unwrap_or(0), &start));
    let remaining = page.remaining.filter(|_| count && continue_token.is_some());
    ListPage { items: page.items, revision, continue_token: continue_token.unwrap_or_default(), remaining }
}
