fn main() -> anyhow::Result<()> {
    let definitions = openapi::kinds::definitions();
    println!("{}", serde_json::to_string_pretty(&definitions.schemas)?);
    Ok(())
}
