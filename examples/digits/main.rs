//! Quantized inference with a small trained network: `cargo run --release --example digits`.

mod four_bit;
mod network;
mod report;

fn main() -> anyhow::Result<()> {
    let (_, error) = report::report(&mut std::io::stdout())?;
    error.map_or(Ok(()), |error| Err(anyhow::anyhow!(error)))
}
