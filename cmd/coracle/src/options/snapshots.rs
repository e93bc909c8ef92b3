//! Flags of snapshots, and of a cluster that begins anew.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use controller::Schedule;
use jiff::tz::TimeZone;

/// What a server does about snapshots by itself.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Snapshots")]
pub struct SnapshotOptions {
    /// Save no snapshots by the schedule
    #[arg(long)]
    pub disable_snapshots: bool,
    /// When snapshots are saved: cron, in the time zone of the system
    #[arg(long, value_name = "CRON", default_value = "0 */12 * * *", value_parser = parse_schedule)]
    pub snapshot_schedule_cron: Schedule,
    /// How many scheduled snapshots are kept; 0 keeps all
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    pub snapshot_retention: usize,
    /// Name that scheduled snapshots begin with
    #[arg(long, value_name = "NAME", default_value = "snapshot", value_parser = parse_name)]
    pub snapshot_name: String,
    /// Folder of snapshots [default: snapshots in --data-dir]
    #[arg(long, value_name = "DIR")]
    pub snapshot_dir: Option<PathBuf>,
}

/// How a server begins anew.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ResetOptions {
    /// Forget all other servers and be the only one, with the data that this one has; then end
    #[arg(long)]
    pub cluster_reset: bool,
    /// With --cluster-reset: take the data of a snapshot, as `coracle snapshot restore` does
    #[arg(long, value_name = "FILE", requires = "cluster_reset")]
    pub cluster_reset_restore_path: Option<PathBuf>,
    /// With --server: if this server's data is of another cluster, or of before a reset, or it was removed, move the data
    /// aside and join anew
    #[arg(long, requires = "server")]
    pub resync: bool,
}

#[derive(Clone, Debug, Args)]
pub struct SnapshotArguments {
    #[command(flatten)]
    pub place: PlaceOptions,
    #[command(subcommand)]
    pub command: SnapshotCommand,
}

/// Where snapshots are, and who keeps them.
#[derive(Clone, Debug, Args)]
pub struct PlaceOptions {
    /// Configuration file of the server, which names its folders [default: /etc/coracle/config.yaml if it exists]
    #[arg(long, short = 'c', global = true, value_name = "FILE", env = "CORACLE_CONFIG_FILE")]
    pub config: Option<PathBuf>,
    /// Folder that holds all state
    #[arg(
        long,
        short = 'd',
        global = true,
        value_name = "DIR",
        env = "CORACLE_DATA_DIR",
        default_value = "/var/lib/coracle"
    )]
    pub data_dir: PathBuf,
    /// Folder of snapshots where no server runs [default: snapshots in --data-dir]
    #[arg(long, alias = "dir", global = true, value_name = "DIR")]
    pub snapshot_dir: Option<PathBuf>,
    /// Name of the node where no server runs [default: the host name]
    #[arg(long, global = true, value_name = "NAME", env = "CORACLE_NODE_NAME")]
    pub node_name: Option<String>,
    /// The administrator's kubeconfig
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CORACLE_KUBECONFIG_OUTPUT",
        default_value = "/etc/coracle/coracle.yaml"
    )]
    pub kubeconfig: PathBuf,
}

#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Save a snapshot on the server in the kubeconfig
    Save {
        /// Name that it begins with; the node's name and the time follow
        #[arg(long, value_name = "NAME", default_value = "on-demand", value_parser = parse_name)]
        name: String,
    },
    /// List the snapshots of a server
    #[command(visible_aliases = ["list", "l"])]
    Ls {
        /// Form of the list
        #[arg(long, short = 'o', value_name = "FORM", default_value = "table")]
        output: Output,
    },
    /// Delete snapshots
    Delete {
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Delete the oldest snapshots of a name
    Prune {
        /// Name that they begin with
        #[arg(long, value_name = "NAME", default_value = "on-demand", value_parser = parse_name)]
        name: String,
        /// How many are kept
        #[arg(long, value_name = "COUNT", default_value_t = 5)]
        snapshot_retention: usize,
    },
    /// Make the cluster of a snapshot that of this machine, where no server may run
    Restore {
        /// The snapshot's file, or its name in the folder of snapshots
        file: PathBuf,
    },
}

/// The form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

fn parse_schedule(text: &str) -> Result<Schedule, String> {
    Schedule::parse(text, TimeZone::system())
}

fn parse_name(text: &str) -> Result<String, String> {
    backup::folder::check_name(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}
