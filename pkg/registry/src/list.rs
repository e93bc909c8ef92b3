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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResourceVersionMatch {
    #[default]
    Unset,
    NotOlderThan,
    Exact,
    /// Not one of them: refused when the query is checked.
    Other(String),
}

impl From<&str> for ResourceVersionMatch {
    fn from(text: &str) -> Self {
        match text {
            "" => Self::Unset,
            "NotOlderThan" => Self::NotOlderThan,
            "Exact" => Self::Exact,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl ResourceVersionMatch {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Unset => "",
            Self::NotOlderThan => "NotOlderThan",
            Self::Exact => "Exact",
            Self::Other(text) => text,
        }
    }
}

/// The rules for the options of lists and watches, refused as upstream refuses them.
pub(crate) struct OptionErrors(field::ErrorList);

impl OptionErrors {
    pub(crate) fn new() -> Self {
        Self(field::ErrorList::new())
    }

    pub(crate) fn forbid(&mut self, when: bool, field: &str, why: &str) {
        if when {
            self.0.push(field::Error::forbidden(&field::Path::new(field), why));
        }
    }

    pub(crate) fn unsupported(&mut self, version_match: &ResourceVersionMatch, supported: &[&str]) {
        if !supported.contains(&version_match.as_str()) {
            let path = field::Path::new(MATCH);
            self.0.push(field::Error::not_supported(&path, version_match.as_str(), supported));
        }
    }

    pub(crate) fn finish(self) -> ApiResult<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(&GroupVersionKind::new("meta.k8s.io", "v1", "ListOptions"), "", &self.0))
    }
}

pub(crate) const MATCH: &str = "resourceVersionMatch";
pub(crate) const MATCH_WITH_CONTINUE: &str = "resourceVersionMatch is forbidden when continue is provided";

#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub selection: Selection,
    /// 0 is all.
    pub limit: usize,
    pub continue_token: String,
    pub resource_version: String,
    pub version_match: ResourceVersionMatch,
    /// Whether `sendInitialEvents` was given, which is for watches.
    pub initial_events: bool,
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
        let invalid =
            |why: &str| ApiError::bad_request(format!("invalid continue token: continue key is not valid{why}"));
        let bytes = decode_base64(text).map_err(|at| invalid(&format!(": illegal base64 data at input byte {at}")))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| invalid(&format!(": {error}")))?;
        let Self { v, rv, start } = &token;
        if v != TOKEN_VERSION {
            return Err(invalid(&format!(": server does not recognize this encoded version {v}")));
        }
        if *rv == 0 {
            return Err(invalid(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        if start.is_empty() {
            return Err(invalid(": encoded start key empty (version meta.k8s.io/v1)"));
        }
        // A key goes on below its prefix: nothing in it may lead out.
        let relative = start.strip_prefix('/').unwrap_or(start);
        if relative.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid(&format!(": {start}")));
        }
        Ok(Self { start: relative.to_owned(), ..token })
    }
}

/// Unpadded URL-safe base64; the error is the place of the first byte that does not belong there.
fn decode_base64(text: &str) -> Result<Vec<u8>, usize> {
    URL_SAFE_NO_PAD.decode(text).map_err(|error| match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
        _ => text.len(),
    })
}

impl ListQuery {
    fn check(&self) -> ApiResult<()> {
        let mut errors = OptionErrors::new();
        if self.version_match != ResourceVersionMatch::Unset {
            let alone = self.resource_version.is_empty();
            errors.forbid(alone, MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            errors.forbid(!self.continue_token.is_empty(), MATCH, MATCH_WITH_CONTINUE);
            errors.unsupported(&self.version_match, &["Exact", "NotOlderThan", ""]);
            let exactly_any = self.version_match == ResourceVersionMatch::Exact && self.resource_version == "0";
            errors.forbid(exactly_any, MATCH, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        errors.forbid(self.initial_events, "sendInitialEvents", "sendInitialEvents is forbidden for list");
        errors.finish()
    }

    /// At which revision to read, and after which key.
    pub(crate) fn position(&self, prefix: &str) -> ApiResult<(At, Option<String>)> {
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
        let at = match (revision, &self.version_match) {
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
        if let Some(page) = self.list_one(resource, namespace, query, at, after.as_deref()) {
            return page.map_err(|error| from_storage(error).into());
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

    /// How many objects there are now in one namespace, or with `None` in all. Looks at none of them.
    pub fn count(&self, resource: &'static Resource, namespace: Option<&str>) -> usize {
        self.storage.count(&keys::prefix(resource, namespace))
    }

    /// `metadata.name=<name>` needs no scan.
    fn list_one(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        query: &ListQuery,
        at: At,
        after: Option<&str>,
    ) -> Option<Result<ListPage, StorageError>> {
        let name = query.selection.single_name()?;
        if resource.namespaced && namespace.is_none() {
            return None;
        }
        let key = keys::object(resource, namespace.unwrap_or(""), name);
        let wanted = |object: &StoredObject| {
            query.selection.matches(resource, object) && after.is_none_or(|after| object.key() > after)
        };
        let page = |(object, revision): (Option<StoredObject>, storage::Revision)| ListPage {
            items: object.into_iter().filter(wanted).collect(),
            revision: revision.get(),
            continue_token: String::new(),
            remaining: None,
        };
        // What is compacted is told as for any other list.
        match self.storage.get_at(&key, at) {
            Err(StorageError::Compacted { .. }) => None,
            found => Some(found.map(page)),
        }
    }
}

fn to_page(page: Page, prefix: &str, count: bool) -> ListPage {
    let revision = page.revision.get();
    let start = page.next.as_deref().map(|key| key.strip_prefix(prefix).unwrap_or(key).to_owned());
    let continue_token = start.map(|start| Token::encode(i64::try_from(revision).unwrap_or(0), &start));
    let remaining = page.remaining.filter(|_| count && continue_token.is_some());
    ListPage { items: page.items, revision, continue_token: continue_token.unwrap_or_default(), remaining }
}
