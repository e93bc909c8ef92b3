//! `coracle server`: the control plane in one process, and a node beside it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, anyhow, bail};
use apimachinery::UserInfo;
use component_base::Shutdown;
use component_base::clock::SystemClock;
use pki::{Kubeconfig, Pki, UserAuth};
use tokio::net::TcpListener;

use crate::joiner::{self, Joiner};
use crate::options::ServerOptions;
use crate::renewal::Certificates;
use crate::{anew, host, identity, loops, node, peers, removal, service, snapshots, terms, token};

/// Paths that anyone may read.
const ANONYMOUS_PATHS: &[&str] =
    &["/livez", "/readyz", "/healthz", "/version", auth::bootstrap::joining::AUTHORITY_PATH];

/// What the parts of a server share.
pub struct Site {
    pub options: Arc<ServerOptions>,
    pub node_name: String,
    pub node_ip: IpAddr,
    pub pki: Pki,
    pub certificates: Certificates,
    /// With which other servers join.
    pub token: pki::JoinToken,
    /// It was given on the command line.
    pub explicit_token: bool,
}

impl Site {
    /// Where other machines reach this server.
    pub fn advertised(&self) -> IpAddr {
        self.options.api.advertise_address.unwrap_or(self.node_ip)
    }
}

pub async fn run(options: ServerOptions) -> anyhow::Result<()> {
    let started = Instant::now();
    options.network.check().map_err(anyhow::Error::msg)?;
    if options.reset.cluster_reset {
        return anew::reset(&options);
    }
    anew::settle(&options)?;
    let node_name = node::name(options.node.node_name.as_deref())?;
    let node_ip = options.node.node_ip.unwrap_or_else(identity::own_address);
    let machine = node_site(&options, &node_name, node_ip);
    let plan = match options.disable_agent {
        true => None,
        false => Some(node::Plan::check(&machine).await?),
    };
    // What another process may hold is found out before anything is written.
    let listener = listen(&options).await?;
    let peer_listener = peers::listen(&options).await?;
    if !options.reset.resync {
        joiner::Folder::of(&options.common.data_dir).settle_voter().await?;
    }
    anew::compare(&options).await?;
    let joiner = begin_join(&options, &node_name).await?;
    let site = Arc::new(prepare(options, node_name, node_ip)?);
    // The loops end first: they still have Leases to release through the server.
    let (shutdown, loops_shutdown) = (Shutdown::new(), Shutdown::new());
    let listens = peer_listener.is_some();
    let storage = peers::open(&site, peer_listener, joiner).await?;
    crate::store::measure(&storage);
    let members = storage.members().await.len();
    peers::warn_if_even(members);
    let keeper = snapshots::Keeper::new(storage.clone(), site.pki.clone(), site.options.clone(), &site.node_name);
    let server = api_server(&site, storage.clone(), keeper.clone(), listens, members, &shutdown)?;
    let serving = server.clone();
    shutdown.spawn(async move {
        if let Err(error) = serving.serve(listener).await {
            tracing::error!(%error, "the API server ended");
        }
    });
    server.start().await.map_err(|e| peers::explain(&storage, anyhow!("{e}")))?;
    settle_tokens(&site, &server).await.map_err(|e| peers::explain(&storage, e))?;
    write_kubeconfig(&site)?;
    tracing::info!(
        address = %SocketAddr::new(site.options.api.bind_address, site.options.api.https_listen_port),
        kubeconfig = %site.options.api.write_kubeconfig.display(),
        seconds = started.elapsed().as_secs_f32(),
        "the API server is ready"
    );
    site.certificates.keep(&loops_shutdown);
    removal::start(masters(&server), storage.clone(), &loops_shutdown);
    anew::started(&site.options);
    keeper.start(masters(&server), &loops_shutdown);
    start_loops(&site, &server, members > 1, &loops_shutdown)?;
    let going_down = plan.as_ref().and_then(node::Plan::shutdown);
    if let Some(plan) = plan {
        node::start_role_label(&site.node_name, masters(&server), &loops_shutdown);
        plan.start(&machine, node_clients(&site, &server), &node_serving(&site), &loops_shutdown)?;
    }
    service::notify("READY=1");
    let reason = tokio::select! {
        signal = loops::signal() => signal,
        removed = peers::removed(&storage) => Err(removed),
    };
    service::notify("STOPPING=1");
    service::stop_pods_with_the_machine(going_down).await;
    tracing::info!("stopping; containers go on");
    service::stop([loops_shutdown, shutdown]).await;
    storage.shutdown().await;
    reason
}

/// Gets the keys of the cluster that is to be joined, unless this server belongs to one already.
async fn begin_join(options: &ServerOptions, name: &str) -> anyhow::Result<Option<Joiner>> {
    let folder = joiner::Folder::of(&options.common.data_dir);
    let Some(url) = options.member.server.as_deref().filter(|_| !folder.is_settled()) else {
        if folder.is_marked() {
            bail!(
                "this server was on its way into a cluster: give --server and --token to go on, or remove {}",
                options.common.data_dir.join("server").display()
            );
        }
        return Ok(None);
    };
    let token = options.member.token.read()?.ok_or_else(|| {
        anyhow!("the server token is needed to join: give --token, --token-file or CORACLE_TOKEN; it is in server/token in the data folder of a server")
    })?;
    if options.reset.resync {
        folder.forget_attempt()?;
    }
    crate::check::room_to_join(&options.common.data_dir)?;
    let agent_token = options.member.agent_token.as_deref();
    Joiner::begin(folder, (url, &token), name, host::agreed(options), agent_token).await.map(Some)
}

/// Checks and makes what everything else stands on. Nothing is written before the flags are known to be good.
fn prepare(options: ServerOptions, node_name: String, node_ip: IpAddr) -> anyhow::Result<Site> {
    let data_dir = &options.common.data_dir;
    std::fs::create_dir_all(data_dir.join("server"))
        .with_context(|| format!("--data-dir {}: cannot be made", data_dir.display()))?;
    std::fs::set_permissions(data_dir, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("--data-dir {}", data_dir.display()))?;
    let serving = names(&options, &node_name, node_ip);
    let pki = Pki::load_or_create(&data_dir.join("server/tls"), &serving)?;
    let kubelet = pki::Sans {
        hostnames: vec![node_name.clone(), "localhost".into()],
        ips: vec![node_ip, IpAddr::from([127, 0, 0, 1])],
    };
    let certificates = Certificates::new(&pki, serving, &node_name, kubelet)?;
    let given = options.member.token.read()?.filter(|_| options.member.server.is_none());
    let token =
        pki::join_token(&data_dir.join("server/token"), "server", &pki.server_ca().cert_pem(), given.as_deref())?;
    let explicit_token = given.is_some();
    Ok(Site { options: Arc::new(options), node_name, node_ip, pki, certificates, token, explicit_token })
}

/// A client for what is the server's own to do.
fn masters(server: &apiserver::Server) -> client::Client {
    let user = UserInfo::new("system:coracle-server", ["system:masters"]);
    identity::in_process(server, "coracle", user)
}

/// Makes the tokens known to the cluster.
async fn settle_tokens(site: &Site, server: &apiserver::Server) -> anyhow::Result<()> {
    token::settle(masters(server), &site.token, site.explicit_token, site.options.member.agent_token.as_deref()).await
}

/// The node beside this server.
fn node_site(options: &ServerOptions, node_name: &str, node_ip: IpAddr) -> node::Site {
    node::Site {
        options: node::Settings {
            common: options.common.clone(),
            network: options.network.clone(),
            node: options.node.clone(),
            bind_address: options.api.bind_address,
            disable: options.disable.clone(),
        },
        node_name: node_name.to_owned(),
        node_ip,
    }
}

/// The parts of the node beside this server, each under its own name.
fn node_clients(site: &Site, server: &apiserver::Server) -> node::Clients {
    let kubelet = UserInfo::new(format!("system:node:{}", site.node_name), ["system:nodes"]);
    let account = "system:serviceaccount:kube-system:coredns";
    let dns = UserInfo::new(account, ["system:serviceaccounts", "system:serviceaccounts:kube-system"]);
    node::Clients {
        kubelet: identity::in_process(server, "kubelet", kubelet),
        proxy: identity::in_process(server, "kube-proxy", UserInfo::new("system:kube-proxy", [])),
        dns: identity::in_process(server, "coredns", dns),
    }
}

/// What the kubelet beside this server presents: issued here, for it is the server that would sign it.
fn node_serving(site: &Site) -> node::Serving {
    node::Serving {
        identity: site.certificates.kubelet_serving().clone(),
        client_ca: site.pki.client_ca().cert().clone(),
    }
}

/// Under which names and addresses clients may reach the server.
fn names(options: &ServerOptions, node_name: &str, node_ip: IpAddr) -> pki::Options {
    let domain = &options.network.cluster_domain;
    let mut hostnames: Vec<String> =
        ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned).to_vec();
    hostnames.push(format!("kubernetes.default.svc.{domain}"));
    hostnames.push(node_name.to_owned());
    let mut ips = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), "::1".parse().unwrap_or(node_ip), node_ip];
    ips.push(service_address(options));
    ips.extend(options.api.advertise_address);
    for name in &options.api.tls_san {
        match name.parse() {
            Ok(ip) => ips.push(ip),
            Err(_) => hostnames.push(name.clone()),
        }
    }
    pki::Options { hostnames, ips }
}

/// The address of the `kubernetes` Service: the first of the service CIDR.
fn service_address(options: &ServerOptions) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(u32::from(options.network.service_cidr.network()) + 1))
}

async fn listen(options: &ServerOptions) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(options.api.bind_address, options.api.https_listen_port);
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("port {} is in use by another process; stop it or give another --https-listen-port", address.port())
        }
        Err(error) => {
            Err(error).with_context(|| format!("listening on {address} (--bind-address, --https-listen-port)"))
        }
    }
}

fn api_server(
    site: &Site,
    storage: storage::Storage,
    keeper: snapshots::Keeper,
    listens: bool,
    members: usize,
    shutdown: &Shutdown,
) -> anyhow::Result<apiserver::Server> {
    let network = &site.options.network;
    let (node_port_first, node_port_last) = network.service_node_port_range;
    let registry = registry::Registry::new(registry::Options {
        storage: storage.clone(),
        resources: apis::all(),
        services: registry::ServiceOptions {
            network: network.service_cidr.network(),
            prefix_length: network.service_cidr.prefix_len(),
            reserved: vec![network.dns_address()],
            node_port_first,
            node_port_last,
        },
    })
    .map_err(|e| anyhow!("{e}"))?;

    let clock = Arc::new(SystemClock);
    let audience = format!("https://kubernetes.default.svc.{}", network.cluster_domain);
    let issuer = Arc::new(auth::token::Issuer::new(
        site.pki.service_account_key().clone(),
        &audience,
        &[&audience],
        clock.clone(),
    ));
    let lister = Arc::new(apiserver::reader::TokenLister(registry.clone()));
    let verifier = Arc::new(auth::token::Verifier::new(&issuer, Vec::new(), lister.clone(), clock.clone()));
    let bootstrap = Arc::new(auth::authn::BootstrapTokens::new(lister.clone(), clock));
    let join = Arc::new(auth::authn::JoinTokens(lister));
    let tokens = Arc::new(auth::authn::BearerToken(vec![verifier, bootstrap, join]));
    let host = host::Host {
        pki: site.pki.clone(),
        options: site.options.clone(),
        listens,
        storage,
        registry: registry.clone(),
    };
    let certificates =
        auth::authn::X509::new(pki::ClientVerifier::new(pki::tls::roots([site.pki.client_ca().cert()])?)?);
    let known = auth::authn::Union(vec![Arc::new(certificates), tokens.clone()]);
    let authenticator = Arc::new(auth::authn::Anonymous::only_on(known, ANONYMOUS_PATHS));

    let policy = Arc::new(auth::rbac::Policy::default());
    let node_graph = Arc::new(auth::node::NodeGraph::default());
    let authorizer = Arc::new(auth::authz::Union(vec![
        Arc::new(auth::authz::PrivilegedGroups::default()),
        Arc::new(auth::node::NodeAuthorizer::new(node_graph.clone())),
        policy.clone(),
    ]));
    let chain = admission::Chain::new(admission::Config {
        reader: Arc::new(apiserver::reader::AdmissionReader::new(registry.clone())),
        authorizer: Arc::new(apiserver::reader::Permissions(authorizer.clone())),
        disabled: Vec::new(),
    });
    let admission = Arc::new(apiserver::ChainHook::new(Arc::new(chain)));

    let server_ca = pki::tls::roots([site.pki.server_ca().cert()])?;
    let kubelet_tls = pki::tls::client_config(server_ca, Some(site.certificates.kubelet_client()))?;
    let config = apiserver::Config {
        registry,
        authenticator,
        authorizer,
        policy,
        node_graph,
        tokens,
        issuer,
        admission,
        tls: Arc::new(site.pki.server_config()?),
        kubelet_tls: Arc::new(kubelet_tls),
        on_pod_network: !site.options.disable_agent,
        client_authorities: apiserver::ClientAuthorities {
            client_ca: site.pki.client_ca().cert_pem(),
            request_header_ca: site.pki.request_header_ca().cert_pem(),
        },
        advertise_address: site.advertised(),
        name: site.node_name.clone(),
        one_of_several: members > 1,
        secure_port: site.options.api.https_listen_port,
        service_address: service_address(&site.options),
        joining: Some(Arc::new(host)),
        snapshots: Some(Arc::new(keeper)),
    };
    Ok(apiserver::Server::new(config, shutdown.clone()))
}

/// The administrator's kubeconfig, which reaches the server on this machine.
fn write_kubeconfig(site: &Site) -> anyhow::Result<()> {
    let api = &site.options.api;
    let leaf = site.pki.client_leaf("client-admin", "system:admin", &["system:masters"])?;
    let host = if api.bind_address.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { api.bind_address };
    let text = Kubeconfig {
        server: &format!("https://{}", SocketAddr::new(host, api.https_listen_port)),
        ca_pem: &site.pki.server_ca().cert_pem(),
        cluster: "coracle",
        user: "coracle-admin",
        auth: UserAuth::Certificate(&leaf),
    }
    .to_string();
    let path = &api.write_kubeconfig;
    let context = || format!("--write-kubeconfig {}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(context)?;
    }
    pki::write_private(path, text.as_bytes()).with_context(context)?;
    if api.write_kubeconfig_mode != 0o600 {
        let mode = std::fs::Permissions::from_mode(api.write_kubeconfig_mode);
        std::fs::set_permissions(path, mode).with_context(context)?;
    }
    Ok(())
}

/// Starts the loops that one server of the cluster runs at a time. `several`: there are other servers.
fn start_loops(site: &Site, server: &apiserver::Server, several: bool, shutdown: &Shutdown) -> anyhow::Result<()> {
    let options = &site.options;
    let identity = identity::kept(&options.common.data_dir.join("server/identity"))?;
    let watcher = masters(server);
    if !options.disable_scheduler {
        let client = identity::in_process(server, "kube-scheduler", UserInfo::new("system:kube-scheduler", []));
        let identity = identity.clone();
        terms::run(watcher.clone(), several, shutdown, move |timings, term| {
            vec![loops::start_scheduler(client.clone(), identity.clone(), timings, term)]
        });
    }
    if !options.disable_controller_manager {
        let client =
            identity::in_process(server, loops::CONTROLLERS, UserInfo::new("system:kube-controller-manager", []));
        let options = loops::Controllers {
            client,
            client_for: Some(loops::clients_in_process(server)),
            cluster_cidr: options.network.cluster_cidr.to_string(),
            root_ca_pem: site.pki.server_ca().cert_pem(),
            identity,
            signers: Some(signers(site)),
        };
        terms::run(watcher, several, shutdown, move |timings, term| {
            vec![loops::start_controllers(options.clone(), timings, term)]
        });
    }
    Ok(())
}

/// What the controllers sign with, and the names that they give to no node.
fn signers(site: &Site) -> controller::Signers {
    let names = names(&site.options, &site.node_name, site.node_ip);
    controller::Signers {
        client_ca: site.pki.client_ca().clone(),
        server_ca: site.pki.server_ca().clone(),
        reserved: pki::Sans { hostnames: names.hostnames, ips: names.ips },
    }
}
