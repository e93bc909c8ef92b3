//! The configuration file: YAML whose keys are flag names. `config.yaml` and then the files of `config.yaml.d/` in
//! order of name; a later file replaces a key, `key+` appends to a list. Flags on the command line win over all.
//!
//! Servers and agents take all that they have a flag for. Commands for administrators take where things are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::{Arg, Command, CommandFactory as _};
use serde_json::Value;

use crate::options::Cli;

const DEFAULT_PATH: &str = "/etc/coracle/config.yaml";
/// The commands whose flags are its keys.
const COMMANDS: [&str; 3] = ["server", "agent", "snapshot"];
/// The commands for administrators that read it, and what they take: a key, and the flag that means the same there.
const ADMIN_COMMANDS: [&str; 5] = ["snapshot", "status", "store", "token", "check-config"];
const PLACES: [(&str, &str); 5] = [
    ("data-dir", "data-dir"),
    ("snapshot-dir", "snapshot-dir"),
    ("node-name", "node-name"),
    ("kubeconfig", "kubeconfig"),
    ("write-kubeconfig", "kubeconfig"),
];
/// A configuration is small; more than this is a mistaken file name.
const SIZE_MAX: u64 = 1 << 20;

/// The command line with the keys of the configuration file inserted as flags right after the command that it names.
pub fn expand(arguments: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let mut cli = Cli::command();
    // Flags that hold for all subcommands become theirs.
    cli.build();
    let (at, command) = named(&cli, &arguments);
    let Some(first) = arguments.get(1).and_then(|first| first.to_str()).filter(|_| at > 0) else {
        return Ok(arguments);
    };
    let runs = at == 1 && matches!(first, "server" | "agent");
    if !runs && first != "server" && !ADMIN_COMMANDS.contains(&first) {
        return Ok(arguments);
    }
    let (path, explicit) = config_path(&arguments);
    let files = files(&path, explicit)?;
    // Whoever has a kubeconfig of their own need not be allowed to read it: it may hold a token.
    if !runs && !explicit && files.iter().any(|file| is_private(file)) {
        return Ok(arguments);
    }
    let settings = merged(&files)?;
    let own: Vec<&str> = command.get_arguments().filter_map(|flag| flag.get_long()).collect();
    // What a server and an agent share is a key for both: one file may describe every machine of a cluster.
    let mut pairs: Vec<(&str, &str)> = match runs {
        true => own.iter().filter(|flag| **flag != "config").map(|flag| (*flag, *flag)).collect(),
        false => PLACES.into_iter().filter(|(_, flag)| own.contains(flag)).collect(),
    };
    pairs.sort_unstable();
    let mut taken = given_flags(&arguments);
    let mut expanded: Vec<OsString> = arguments[..=at].to_vec();
    for (key, flag) in pairs {
        let Some((value, file)) = settings.get(key).filter(|_| !taken.iter().any(|taken| taken == flag)) else {
            continue;
        };
        expanded.extend(flags(flag, value).with_context(|| file.display().to_string())?);
        taken.push(flag.to_owned());
    }
    expanded.extend_from_slice(&arguments[at + 1..]);
    Ok(expanded)
}

/// What the configuration file of this machine has for a key, for programs that are only passed through to.
pub fn value_of(key: &str) -> Option<String> {
    let (path, explicit) = config_path(&[]);
    let settings = merged(&files(&path, explicit).ok()?).ok()?;
    settings.get(key)?.0.as_str().map(str::to_owned)
}

fn is_private(file: &Path) -> bool {
    std::fs::File::open(file).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// The command that a line names, the innermost, and where in the line it does so.
fn named<'a>(cli: &'a Command, arguments: &[OsString]) -> (usize, &'a Command) {
    let (mut at, mut command, mut is_value) = (0, cli, false);
    for (index, argument) in arguments.iter().enumerate().skip(1) {
        let text = argument.to_str().unwrap_or("");
        if std::mem::take(&mut is_value) {
            continue;
        }
        if text == "--" {
            break;
        }
        if text.starts_with('-') {
            is_value = takes_next(command, text);
        } else if let Some(inner) = command.find_subcommand(text) {
            (at, command) = (index, inner);
        }
    }
    (at, command)
}

/// Whether what follows this flag is its value.
fn takes_next(command: &Command, flag: &str) -> bool {
    let is_meant = |known: &&Arg| match flag.strip_prefix("--") {
        Some(long) => {
            known.get_long() == Some(long) || known.get_all_aliases().is_some_and(|aliases| aliases.contains(&long))
        }
        None => flag.len() == 2 && known.get_short() == flag.chars().nth(1),
    };
    command.get_arguments().find(is_meant).is_some_and(|known| known.get_action().takes_values())
}

fn config_path(arguments: &[OsString]) -> (PathBuf, bool) {
    let texts: Vec<String> = arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    for (index, text) in texts.iter().enumerate() {
        if let Some(path) = text.strip_prefix("--config=") {
            return (path.into(), true);
        }
        if (text == "--config" || text == "-c") && index + 1 < texts.len() {
            return (texts[index + 1].clone().into(), true);
        }
    }
    match std::env::var_os("CORACLE_CONFIG_FILE") {
        Some(path) => (path.into(), true),
        None => (DEFAULT_PATH.into(), false),
    }
}

/// The file itself and its drop-ins, in the order in which they apply.
fn files(path: &Path, explicit: bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if path.exists() {
        found.push(path.to_owned());
    } else if explicit {
        bail!("--config {}: no such file", path.display());
    }
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    if let Ok(entries) = std::fs::read_dir(&folder) {
        let mut drop_ins: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        drop_ins.retain(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml"));
        drop_ins.sort();
        found.extend(drop_ins);
    }
    Ok(found)
}

type Settings = BTreeMap<String, (Value, PathBuf)>;

fn merged(files: &[PathBuf]) -> anyhow::Result<Settings> {
    let mut settings = Settings::new();
    for file in files {
        let content = read(file).with_context(|| file.display().to_string())?;
        for (key, value) in content {
            let (name, append) = match key.strip_suffix('+') {
                Some(name) => (name.to_owned(), true),
                None => (key, false),
            };
            known(&name).with_context(|| file.display().to_string())?;
            let value = match (append, settings.remove(&name)) {
                (true, Some((earlier, _))) => Value::Array([list(earlier), list(value)].concat()),
                _ => value,
            };
            settings.insert(name, (value, file.clone()));
        }
    }
    Ok(settings)
}

fn read(file: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    if std::fs::metadata(file)?.len() > SIZE_MAX {
        bail!("larger than {SIZE_MAX} bytes; is this the right file?");
    }
    let text = std::fs::read_to_string(file)?;
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    serde_saphyr::from_str(&text).map_err(|e| anyhow!("not a YAML map of flag names: {e}"))
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        one => vec![one],
    }
}

/// Refuses a key that is a flag of no command, and names the nearest one.
fn known(key: &str) -> anyhow::Result<()> {
    let cli = Cli::command();
    let flags = COMMANDS.iter().filter_map(|command| cli.find_subcommand(command)).flat_map(Command::get_arguments);
    let names: Vec<&str> = flags.filter_map(Arg::get_long).filter(|name| *name != "config").collect();
    if names.contains(&key) {
        return Ok(());
    }
    let nearest = names.iter().min_by_key(|name| distance(name, key)).filter(|name| distance(name, key) <= 4);
    match nearest {
        Some(name) => bail!("unknown key {key:?}; did you mean {name:?}?"),
        None => bail!("unknown key {key:?}; `coracle server --help` and `coracle agent --help` list all"),
    }
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn given_flags(arguments: &[OsString]) -> Vec<String> {
    let long = |text: &str| Some(text.strip_prefix("--")?.split('=').next()?.to_owned());
    arguments
        .iter()
        .filter_map(|a| match a.to_str()? {
            "-d" => Some("data-dir".to_owned()),
            "-o" => Some("write-kubeconfig".to_owned()),
            "-s" => Some("server".to_owned()),
            "-t" => Some("token".to_owned()),
            "--dir" => Some("snapshot-dir".to_owned()),
            text => long(text),
        })
        .collect()
}

fn flags(key: &str, value: &Value) -> anyhow::Result<Vec<OsString>> {
    let flag = |text: &str| OsString::from(format!("--{key}={text}"));
    Ok(match value {
        Value::Bool(true) => vec![format!("--{key}").into()],
        Value::Bool(false) | Value::Null => Vec::new(),
        Value::String(text) => vec![flag(text)],
        Value::Number(number) => vec![flag(&number.to_string())],
        Value::Array(items) => items.iter().map(|item| flags(key, item)).collect::<anyhow::Result<Vec<_>>>()?.concat(),
        Value::Object(_) => bail!("key {key:?}: expected a text, number, true/false or a list, not a map"),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn expand_with(files: &[(&str, &str)], extra: &[&str]) -> anyhow::Result<Vec<String>> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(dir.path().join("config.yaml.d")).expect("the drop-in folder");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("the file is written");
        }
        let config = format!("--config={}", dir.path().join("config.yaml").display());
        let (command, extra) = match extra.split_first() {
            Some((command, rest)) if COMMANDS.contains(command) || ADMIN_COMMANDS.contains(command) => (*command, rest),
            _ => ("server", extra),
        };
        let mut arguments = vec!["coracle", command, config.as_str()];
        arguments.extend(extra);
        let expanded = expand(arguments.into_iter().map(OsString::from).collect())?;
        Ok(expanded
            .into_iter()
            .map(|a| a.to_string_lossy().into_owned())
            .filter(|a| !a.starts_with("--config"))
            .skip(2)
            .collect())
    }

    #[test]
    fn keys_become_flags_and_drop_ins_apply_in_order() {
        let files = [
            ("config.yaml", "https-listen-port: 7443\ntls-san: [a.example]\ndisable-agent: true\n"),
            ("config.yaml.d/10.yaml", "tls-san+: b.example\nhttps-listen-port: 8443\n"),
        ];
        let flags = expand_with(&files, &[]).expect("the files are good");
        assert_eq!(
            flags,
            ["--disable-agent", "--https-listen-port=8443", "--tls-san=a.example", "--tls-san=b.example"]
        );
    }

    #[test]
    fn an_agent_takes_what_is_a_flag_of_agents() {
        let files = [("config.yaml", "https-listen-port: 7443\nnode-label: [a=b]\nserver: https://s:6443\n")];
        let flags = expand_with(&files, &["agent"]).expect("the file is good");
        assert_eq!(flags, ["--node-label=a=b", "--server=https://s:6443"]);
    }

    #[test]
    fn the_command_line_wins() {
        let flags =
            expand_with(&[("config.yaml", "https-listen-port: 7443")], &["--https-listen-port=1"]).expect("good");
        assert_eq!(flags, ["--https-listen-port=1"]);
    }

    #[test]
    fn a_misspelt_key_names_the_file_and_the_nearest_key() {
        let error = expand_with(&[("config.yaml", "cluster-cdir: 10.0.0.0/8")], &[]).expect_err("refused");
        let text = format!("{error:#}");
        assert!(text.contains("config.yaml") && text.contains("did you mean \"cluster-cidr\"?"), "{text}");
    }

    #[test]
    fn a_missing_file_is_an_error_only_if_it_was_named() {
        assert!(files(Path::new("/nonexistent/config.yaml"), false).expect("fine").is_empty());
        assert!(files(Path::new("/nonexistent/config.yaml"), true).is_err());
    }

    #[test]
    fn snapshots_are_looked_for_where_the_server_keeps_them() {
        let file = "data-dir: /x\nsnapshot-dir: /y\ncluster-cidr: 10.9.0.0/16\nsnapshot-retention: 3\n";
        let expanded = expand_with(&[("config.yaml", file)], &["snapshot", "prune"]).expect("it is good");
        assert_eq!(expanded, ["prune", "--data-dir=/x", "--snapshot-dir=/y"]);
        let expanded = expand_with(&[("config.yaml", file)], &["snapshot", "--dir", "/z", "ls"]).expect("it is good");
        assert_eq!(expanded, ["--dir", "/z", "ls", "--data-dir=/x"]);
    }

    #[test]
    fn commands_for_administrators_know_where_things_are() {
        let file = "data-dir: /x\nsnapshot-dir: /y\nwrite-kubeconfig: /k\ncluster-cidr: 10.9.0.0/16\ntoken: t\n";
        let cases: &[(&[&str], &[&str])] = &[
            (&["status"], &["--kubeconfig=/k"]),
            (&["status", "--kubeconfig", "/own"], &["--kubeconfig", "/own"]),
            (&["store", "status", "-o", "json"], &["status", "--kubeconfig=/k", "-o", "json"]),
            (&["store", "verify"], &["verify", "--data-dir=/x", "--snapshot-dir=/y"]),
            (&["store", "verify", "-d", "/z"], &["verify", "--snapshot-dir=/y", "-d", "/z"]),
            (&["token", "create"], &["create", "--kubeconfig=/k"]),
            (&["token", "rotate"], &["rotate", "--data-dir=/x", "--kubeconfig=/k"]),
            (&["server", "remove", "s2"], &["remove", "--kubeconfig=/k", "s2"]),
            (&["check-config"], &["--data-dir=/x"]),
            (&["server", "--node-name", "remove"], &["--cluster-cidr=10.9.0.0/16", "--data-dir=/x"]),
        ];
        for (given, expected) in cases {
            let expanded = expand_with(&[("config.yaml", file)], given).expect("the file is good");
            match given.get(2) {
                Some(&"remove") => {
                    assert!(expected.iter().all(|flag| expanded.iter().any(|it| it == flag)), "{expanded:?}")
                }
                _ => assert_eq!(expanded, *expected, "{given:?}"),
            }
            let mut line = vec!["coracle".to_owned(), given[0].to_owned()];
            line.extend(expanded);
            Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{given:?}: {error}"));
        }
    }
}
