//! Rows of the table: what, how much, in which unit; printed and written as JSON.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

/// One figure of one server.
pub struct Row {
    pub what: &'static str,
    pub server: String,
    pub value: f64,
    pub unit: &'static str,
    /// Percentiles, sizes and the like.
    pub note: String,
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a row and says it at once: a long run shows how far it is.
    pub fn add(&mut self, what: &'static str, server: &str, value: f64, unit: &'static str, note: impl Into<String>) {
        let note = note.into();
        eprintln!("    {what} [{server}]: {} {unit} {note}", shown(value));
        self.rows.push(Row { what, server: server.to_owned(), value, unit, note });
    }

    /// A Markdown table with a column a server, and the ratio where there are two.
    pub fn print(&self) {
        let mut servers: Vec<&str> = Vec::new();
        let mut whats: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !servers.contains(&&*row.server) {
                servers.push(&row.server);
            }
            if !whats.contains(&row.what) {
                whats.push(row.what);
            }
        }
        println!("| What | {} |{}", servers.join(" | "), if servers.len() == 2 { " ratio |" } else { "" });
        println!("|---|{}", "---|".repeat(servers.len() + usize::from(servers.len() == 2)));
        for what in whats {
            let of = |server: &str| self.rows.iter().find(|r| r.what == what && r.server == server);
            let cell = |server: &&str| match of(server) {
                Some(row) => format!("{} {} {}", shown(row.value), row.unit, row.note).trim_end().to_owned(),
                None => String::new(),
            };
            let cells: Vec<String> = servers.iter().map(cell).collect();
            let ratio = match servers.as_slice() {
                [a, b] => of(a).zip(of(b)).map_or(" |".to_owned(), |(a, b)| format!(" {:.2} |", a.value / b.value)),
                _ => String::new(),
            };
            println!("| {what} | {} |{ratio}", cells.join(" | "));
        }
    }

    /// Writes the rows as JSON. Folders on the way are made.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|r| json!({"what": r.what, "server": r.server, "value": r.value, "unit": r.unit, "note": r.note}))
            .collect();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        std::fs::write(path, serde_json::to_string_pretty(&rows)?).with_context(|| format!("write {}", path.display()))
    }
}

fn shown(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
