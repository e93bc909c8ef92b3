//! PodSecurity: namespaces say by label which of the Pod Security Standards their pods must meet. Start reading at
//! [`PodSecurity`]; the checks are in `baseline` and `restricted`, their table in `checks`.

mod baseline;
mod checks;
mod level;
mod plugin;
mod restricted;
mod visit;

pub use plugin::PodSecurity;
