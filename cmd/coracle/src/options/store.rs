//! Flags of the store, and of the commands about it.

use std::path::PathBuf;

use apimachinery::quantity::Quantity;
use clap::{Args, Subcommand, ValueEnum};

use super::joining::AdminOptions;

/// How the store is run.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreOptions {
    /// Most that the store may hold, in memory, with its recent past; when it is full only what makes it smaller is
    /// written. 0 sets no limit; more than 8Gi is not advised
    #[arg(long, value_name = "SIZE", default_value = "2Gi", value_parser = parse_size)]
    pub store_quota: u64,
}

#[derive(Clone, Debug, Args)]
pub struct StoreArguments {
    #[command(subcommand)]
    pub command: StoreCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum StoreCommand {
    /// Show the store on every server, and compare their states
    Status {
        #[command(flatten)]
        admin: AdminOptions,
        /// How to print it
        #[arg(long, short = 'o', value_enum, default_value_t, value_name = "FORMAT")]
        output: Form,
    },
    /// Read the whole store of a stopped server and compare it with its checksums; changes nothing
    Verify {
        /// Configuration file of the server, which names its folders [default: /etc/coracle/config.yaml if it exists]
        #[arg(long, short = 'c', value_name = "FILE", env = "CORACLE_CONFIG_FILE")]
        config: Option<PathBuf>,
        /// Folder that holds all state
        #[arg(long, short = 'd', value_name = "DIR", env = "CORACLE_DATA_DIR", default_value = "/var/lib/coracle")]
        data_dir: PathBuf,
        /// Folder of snapshots [default: snapshots in --data-dir]
        #[arg(long, value_name = "DIR")]
        snapshot_dir: Option<PathBuf>,
        /// How to print it
        #[arg(long, short = 'o', value_enum, default_value_t, value_name = "FORMAT")]
        output: Form,
    },
}

/// How something is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// Bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "not a size such as 2Gi".to_owned();
    let bytes = Quantity::parse(text).map_err(|_| wrong())?.value();
    u64::try_from(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_quantities() {
        for (text, expected) in
            [("2Gi", Some(2 << 30)), ("0", Some(0)), ("1500M", Some(1_500_000_000)), ("-1", None), ("much", None)]
        {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
    }
}
