mod costs;
mod hostile;
mod syntax;
mod types;

use crate::Environment;

/// What is wrong with an expression: line, column and text of each error.
fn errors(environment: &Environment, text: &str) -> Vec<String> {
    let Err(issues) = environment.compile(text) else { return Vec::new() };
    let text = issues.to_string();
    text.lines().filter_map(|line| line.strip_prefix("ERROR: <input>:")).map(str::to_owned).collect()
}
