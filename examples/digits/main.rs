//! Int8Element inference with a small trained network: `cargo run --release --example digits`.

mod network;
mod report;

fn main() -> anyhow::Result<()> {
    let (_, wrong) = report::report(&mut std::io::stdout())?;
    wrong.map_or(Ok(()), |wrong| Err(anyhow::anyhow!(wrong)))
}
