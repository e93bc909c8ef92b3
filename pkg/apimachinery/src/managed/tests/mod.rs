//! Server-side apply by tables: `*.yaml` here holds the cases, `table` says how they are read.

mod properties;
mod schema;
mod sets;
mod table;

/// Documents of a table of cases.
const TABLES: [(&str, &str); 6] = [
    ("ownership", include_str!("ownership.yaml")),
    ("conflicts", include_str!("conflicts.yaml")),
    ("removal", include_str!("removal.yaml")),
    ("lists", include_str!("lists.yaml")),
    ("updates", include_str!("updates.yaml")),
    ("migration", include_str!("migration.yaml")),
];
