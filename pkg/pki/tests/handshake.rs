//! A server and a client made of one directory shake hands; strangers do not.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use pki::{Authority, Leaf, Options, Pki};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, Stream};

/// One connection over loopback: what the server saw of the client, or the first error.
fn connect(server: ServerConfig, client: ClientConfig) -> Result<Vec<CertificateDer<'static>>, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(Arc::new(server)).unwrap();
        let mut byte = [0];
        Stream::new(&mut tls, &mut socket).read_exact(&mut byte).map_err(|e| e.to_string())?;
        Ok(tls.peer_certificates().map(<[_]>::to_vec).unwrap_or_default())
    });
    let mut socket = TcpStream::connect(address).unwrap();
    let mut tls = ClientConnection::new(Arc::new(client), ServerName::try_from("localhost").unwrap()).unwrap();
    let sent = Stream::new(&mut tls, &mut socket).write_all(b"x").map_err(|e| e.to_string());
    drop(socket);
    let seen = serve.join().unwrap();
    sent.and(seen)
}

#[test]
fn trust_is_mutual_and_optional_for_clients() {
    let root = tempfile::tempdir().unwrap();
    let options = Options { hostnames: vec!["localhost".into()], ips: Vec::new() };
    let pki = Pki::load_or_create(root.path(), &options).unwrap();
    let server = || pki.server_config().unwrap();

    let admin = pki.client_ca().issue_client("admin", &["system:masters"]).unwrap();
    let seen = connect(server(), pki.client_config(&admin).unwrap()).unwrap();
    assert_eq!(seen, std::slice::from_ref(&admin.cert));

    let roots = || pki::tls::roots([pki.server_ca().cert()]).unwrap();
    assert!(connect(server(), pki::tls::client_config(roots(), None).unwrap()).unwrap().is_empty());

    let stranger: Leaf = Authority::generate("elsewhere").unwrap().issue_client("admin", &["system:masters"]).unwrap();
    assert!(connect(server(), pki.client_config(&stranger).unwrap()).is_err());

    let elsewhere = Authority::generate("elsewhere").unwrap();
    let suspicious = pki::tls::client_config(pki::tls::roots([elsewhere.cert()]).unwrap(), None).unwrap();
    assert!(connect(server(), suspicious).is_err());
}

#[test]
fn a_replaced_certificate_serves_the_next_handshake() {
    let root = tempfile::tempdir().unwrap();
    let options = Options { hostnames: vec!["elsewhere".into()], ips: Vec::new() };
    let pki = Pki::load_or_create(root.path(), &options).unwrap();
    let server = pki.server_config().unwrap();
    let client = || pki::tls::client_config(pki::tls::roots([pki.server_ca().cert()]).unwrap(), None).unwrap();
    assert!(connect(server.clone(), client()).is_err(), "the name does not fit yet");
    pki.refresh_serving(&Options { hostnames: vec!["localhost".into()], ips: Vec::new() }).unwrap();
    connect(server, client()).unwrap();
}
