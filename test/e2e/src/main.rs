//! See the library beside this.

fn main() -> std::process::ExitCode {
    e2e::main()
}
