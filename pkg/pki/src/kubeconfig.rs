//! Kubeconfig files with everything embedded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::authority::Leaf;

/// How the user of a kubeconfig proves who it is.
pub enum UserAuth<'a> {
    Certificate(&'a Leaf),
    Token(&'a str),
}

/// One cluster, one user, one context.
pub struct Kubeconfig<'a> {
    /// `https://127.0.0.1:6443`
    pub server: &'a str,
    pub ca_pem: &'a str,
    /// Name of the cluster, the context and (with certificates of the administrator) the user.
    pub cluster: &'a str,
    pub user: &'a str,
    pub auth: UserAuth<'a>,
}

impl std::fmt::Display for Kubeconfig<'_> {
    /// The file's text: YAML, all strings quoted.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (cluster, user) = (quoted(self.cluster), quoted(self.user));
        let credentials = match &self.auth {
            UserAuth::Certificate(leaf) => format!(
                "    client-certificate-data: {}\n    client-key-data: {}\n",
                STANDARD.encode(leaf.cert_pem()),
                STANDARD.encode(leaf.key_pem())
            ),
            UserAuth::Token(token) => format!("    token: {}\n", quoted(token)),
        };
        write!(
            f,
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {cluster}\n  cluster:\n    \
             certificate-authority-data: {ca}\n    server: {server}\ncontexts:\n- name: {cluster}\n  context:\n    \
             cluster: {cluster}\n    user: {user}\ncurrent-context: {cluster}\npreferences: {{}}\nusers:\n- name: {user}\n  user:\n{credentials}",
            ca = STANDARD.encode(self.ca_pem),
            server = quoted(self.server),
        )
    }
}

/// A YAML double-quoted scalar.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}
