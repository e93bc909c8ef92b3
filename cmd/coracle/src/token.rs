//! `coracle token`: tokens with which machines join.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{anyhow, bail};
use auth::authn::{bootstrap_token, join_token};
use client::Client;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use pki::JoinToken;

use crate::loops;
use crate::options::joining::{AdminOptions, TokenCommand, TokenCreate};

const NAMESPACE: &str = "kube-system";

pub async fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(options) => create(options).await,
        TokenCommand::List(admin) => list(&admin).await,
        TokenCommand::Delete { admin, tokens } => delete(&admin, &tokens).await,
        TokenCommand::Rotate { admin, data_dir } => rotate(&admin, &data_dir).await,
    }
}

async fn secrets(admin: &AdminOptions) -> anyhow::Result<Api<Secret>> {
    Ok(Api::namespaced(crate::status::connect(admin).await?, NAMESPACE))
}

async fn create(options: TokenCreate) -> anyhow::Result<()> {
    let api = secrets(&options.admin).await?;
    let ca_pem = loops::ca_of(&options.admin.kubeconfig)?;
    let (id, secret) = pki::random_bootstrap()?;
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([
        ("token-id".to_owned(), text(&id)),
        ("token-secret".to_owned(), text(&secret)),
        ("usage-bootstrap-authentication".to_owned(), text("true")),
        ("auth-extra-groups".to_owned(), text(auth::bootstrap::joining::NODE_TOKENS)),
    ]);
    if options.ttl > 0 {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(i64::try_from(options.ttl)?);
        data.insert("expiration".to_owned(), text(&apimachinery::time::format(end)));
    }
    if !options.description.is_empty() {
        data.insert("description".to_owned(), text(&options.description));
    }
    let name = format!("{}{id}", bootstrap_token::SECRET_PREFIX);
    let secret_object = Secret {
        metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
        type_: Some(bootstrap_token::SECRET_TYPE.to_owned()),
        data: Some(data),
        ..Secret::default()
    };
    api.create(&PostParams::default(), &secret_object).await?;
    let ca_hash = Some(pki::fingerprint(ca_pem.as_bytes()));
    println!("{}", JoinToken { ca_hash, user: String::new(), secret: format!("{id}.{secret}") });
    Ok(())
}

async fn list(admin: &AdminOptions) -> anyhow::Result<()> {
    let only = ListParams::default().fields(&format!("type={}", bootstrap_token::SECRET_TYPE));
    let found = secrets(admin).await?.list(&only).await?;
    println!("{:<8} {:<10} {:<22} DESCRIPTION", "ID", "TTL", "EXPIRES");
    for secret in found {
        println!("{}", row(&secret, jiff::Timestamp::now()));
    }
    Ok(())
}

fn row(secret: &Secret, now: jiff::Timestamp) -> String {
    let field = |name: &str| {
        let value = secret.data.as_ref().and_then(|data| data.get(name));
        value.map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default()
    };
    let expires = field("expiration");
    let left = apimachinery::time::parse(&expires).map(|end| end.duration_since(now).as_secs());
    let ttl = match left {
        Some(seconds) if seconds > 0 => apimachinery::duration::human_duration(seconds),
        Some(_) => "<expired>".to_owned(),
        None => "<forever>".to_owned(),
    };
    let expires = if expires.is_empty() { "<never>".to_owned() } else { expires };
    format!("{:<8} {ttl:<10} {expires:<22} {}", field("token-id"), field("description"))
}

async fn delete(admin: &AdminOptions, tokens: &[String]) -> anyhow::Result<()> {
    let api = secrets(admin).await?;
    for token in tokens {
        let id = id_of(token).ok_or_else(|| anyhow!("{token:?} is no token's id: these have six characters"))?;
        match api.delete(&format!("{}{id}", bootstrap_token::SECRET_PREFIX), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => bail!("there is no token {id:?}"),
            outcome => drop(outcome?),
        }
        println!("token {id:?} deleted");
    }
    Ok(())
}

/// The id of a token that is given as an id, as `id.secret`, or in full.
fn id_of(text: &str) -> Option<String> {
    let token = JoinToken::parse(text).ok()?.secret;
    let id = token.split('.').next().unwrap_or("").to_owned();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (id.len() == 6 && id.bytes().all(plain)).then_some(id)
}

async fn rotate(admin: &AdminOptions, data_dir: &Path) -> anyhow::Result<()> {
    let file = data_dir.join("server/token");
    if !file.exists() {
        bail!("{} is not there: run this on a server, as root, and give its --data-dir", file.display());
    }
    let (api, ca_pem) = (secrets(admin).await?, loops::ca_of(&admin.kubeconfig)?);
    let secret = pki::random_secret()?;
    let mut known = api.get(join_token::SECRET).await?;
    let data = known.data.get_or_insert_default();
    // Agents had the server's token where they were given none of their own.
    let shared = data.get(join_token::AGENT).is_none();
    data.insert(join_token::SERVER.to_owned(), ByteString(join_token::hash(&secret).into_bytes()));
    // The file comes second: a token that nobody knows is worse than an old one in a file.
    api.replace(join_token::SECRET, &PostParams::default(), &known).await?;
    let token = pki::join_token(&file, "server", &ca_pem, Some(&secret))?;
    println!("{token}");
    eprintln!(
        "The old token lets nobody in any more{}; servers and nodes that have joined go on.",
        if shared { ", neither servers nor agents" } else { "" }
    );
    Ok(())
}

/// Makes the cluster know this server's tokens, at its start.
///
/// # Errors
///
/// `--token` was given, and is not the cluster's.
pub async fn settle(client: Client, server: &JoinToken, explicit: bool, agent: Option<&str>) -> anyhow::Result<()> {
    let api: Api<Secret> = Api::namespaced(client, NAMESPACE);
    let bytes = |token: &str| ByteString(join_token::hash(token).into_bytes());
    let Some(mut known) = api.get_opt(join_token::SECRET).await? else {
        let mut data = BTreeMap::from([(join_token::SERVER.to_owned(), bytes(&server.secret))]);
        data.extend(agent.map(|agent| (join_token::AGENT.to_owned(), bytes(agent))));
        let metadata = ObjectMeta { name: Some(join_token::SECRET.to_owned()), ..ObjectMeta::default() };
        let secret = Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() };
        api.create(&PostParams::default(), &secret).await?;
        return Ok(());
    };
    let data = known.data.get_or_insert_default();
    if data.get(join_token::SERVER) != Some(&bytes(&server.secret)) {
        if explicit {
            bail!("--token is not this cluster's: leave it out, or replace the cluster's with `coracle token rotate`");
        }
        tracing::warn!("the token in server/token lets nobody in: it was replaced by `coracle token rotate` elsewhere");
    }
    if let Some(agent) = agent.filter(|agent| data.get(join_token::AGENT) != Some(&bytes(agent))) {
        data.insert(join_token::AGENT.to_owned(), bytes(agent));
        api.replace(join_token::SECRET, &PostParams::default(), &known).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_may_be_named_in_any_form() {
        let full = format!("K10{}::abcdef.0123456789abcdef", "a".repeat(64));
        for text in ["abcdef", "abcdef.0123456789abcdef", &full] {
            assert_eq!(id_of(text).as_deref(), Some("abcdef"), "{text}");
        }
        for text in ["", "abcde", "ABCDEF", "abcdefg"] {
            assert_eq!(id_of(text), None, "{text}");
        }
    }

    #[test]
    fn rows_say_how_long_a_token_lives() {
        let row = |expiration: &str| {
            let text = |text: &str| json!(ByteString(text.as_bytes().to_vec()));
            let data =
                json!({ "token-id": text("abcdef"), "expiration": text(expiration), "description": text("lab") });
            let secret: Secret = serde_json::from_value(json!({ "metadata": {}, "data": data })).expect("a Secret");
            let row = row(&secret, "2026-01-01T00:00:00Z".parse().expect("a time"));
            row.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(row("2026-01-01T03:00:00Z"), "abcdef 3h 2026-01-01T03:00:00Z lab");
        assert_eq!(row("2025-12-31T00:00:00Z"), "abcdef <expired> 2025-12-31T00:00:00Z lab");
        assert_eq!(row(""), "abcdef <forever> <never> lab");
    }
}
