//! `qgemm tune`: by which number the kernel of AMX should choose between tiles and vectors on this CPU.

use crate::arguments::machine::dispatch;
use crate::bench::timing::times;
use crate::errors::invalid_because;
use crate::memory::zeros;
use crate::shape::Shape;
use anyhow::Result;
use qgemm::{Amx, Dispatch, ElementType, Gemm, MatMut, MatRef, PackedB, Threads};
use qgemm_kernels::tiles_are_faster;
use serde_json::json;
use std::io::Write;

/// Measures products by tiles of AMX and by vectors, and prints the number by which the kernel should choose.
///
/// It is the cycles that a call with tiles loses before and after its products, for the environment variable
/// QGEMM_AMX_OVERHEAD. Results do not depend on it.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON [default: a table]
    #[arg(long)]
    json: bool,
    /// Call each product once: whether it runs, not how fast [default: for at least 0.2 s]
    #[arg(long)]
    quick: bool,
}

/// The columns of all products: four panels.
const N: usize = 256;
const ROWS: [usize; 8] = [5, 8, 12, 16, 24, 32, 48, 96];
const DEPTHS: [usize; 8] = [8, 16, 32, 64, 128, 256, 512, 1024];

/// The times of a product in seconds.
#[derive(Clone, Copy)]
struct Measured {
    rows: usize,
    k: usize,
    by_tiles: f64,
    by_vectors: f64,
}

/// A number of cycles, and how much longer all products take by it than each by its faster instructions.
#[derive(Clone, Copy)]
struct Choice {
    overhead: u32,
    loss: f64,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let amx = Dispatch::amx();
    if amx != Amx::Granted {
        return Err(invalid_because("tune", "this CPU", amx, "a CPU with AMX"));
    }
    let dispatch = dispatch("amxint8")?;
    let mut measured = Vec::new();
    for k in DEPTHS {
        for rows in ROWS {
            let seconds = |overhead| measure(&dispatch, rows, k, overhead, args.quick);
            measured.push(Measured { rows, k, by_tiles: seconds(0)?, by_vectors: seconds(u32::MAX)? });
        }
    }
    let best = best(&measured);
    let default =
        dispatch.amx_overhead().map(|overhead| Choice { overhead, loss: loss(&measured, overhead) });
    if args.json {
        let products: Vec<_> = measured
            .iter()
            .map(|one| {
                let (tiles, vectors) = (one.by_tiles * 1e9, one.by_vectors * 1e9);
                json!({"m": one.rows, "k": one.k, "n": N, "tiles_ns": tiles, "vectors_ns": vectors})
            })
            .collect();
        let choice = |one: Choice| json!({"overhead": one.overhead, "loss": one.loss});
        let report = json!({
            "variable": "QGEMM_AMX_OVERHEAD",
            "best": choice(best),
            "now": default.map(choice),
            "products": products,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        return Ok(());
    }
    writeln!(
        out,
        "{:>5} {:>5} {:>5} {:>12} {:>12} {:>8}",
        "M", "K", "N", "tiles, ns", "vectors, ns", "gain"
    )?;
    for Measured { rows, k, by_tiles, by_vectors } in &measured {
        let gain = by_vectors / by_tiles;
        let (tiles, vectors) = (by_tiles * 1e9, by_vectors * 1e9);
        writeln!(out, "{rows:>5} {k:>5} {N:>5} {tiles:>12.0} {vectors:>12.0} {gain:>8.2}")?;
    }
    let percent = |choice: Choice| 100.0 * choice.loss;
    writeln!(
        out,
        "\nQGEMM_AMX_OVERHEAD={} chooses best: {:.1} % longer than each product by the faster of both",
        best.overhead,
        percent(best)
    )?;
    if let Some(now) = default {
        writeln!(out, "now it is {}: {:.1} % longer", now.overhead, percent(now))?;
    }
    Ok(())
}

/// The time of a product on this thread.
fn measure(dispatch: &Dispatch, rows: usize, k: usize, overhead: u32, quick: bool) -> Result<f64> {
    let shape = Shape { m: rows, k, n: N };
    let dispatch = dispatch.clone().with_amx_overhead(overhead);
    let a: Vec<u8> = (0..rows * k).map(|i| (i * 37 % 251) as u8).collect();
    let b: Vec<i8> = (0..k * N).map(|i| (i * 91 % 255) as u8 as i8).collect();
    let packed = PackedB::pack_with(&dispatch, MatRef::row_major(&b, k, N)?, ElementType::U8)?;
    let mut c: Vec<i32> = zeros("tune", shape, rows * N)?;
    let gemm = Gemm::new(MatRef::row_major(&a, rows, k)?, &packed).threads(Threads::at_most(1));
    Ok(times(quick, || gemm.run_i32(MatMut::row_major(&mut c, rows, N)?))?.least)
}

/// How much longer all products take by the choice of a number than each by its faster instructions: the mean of
/// ratios, less one.
fn loss(measured: &[Measured], overhead: u32) -> f64 {
    let ratio = |one: &Measured| {
        let tiles = tiles_are_faster(one.rows, one.k, overhead);
        let chosen = if tiles { one.by_tiles } else { one.by_vectors };
        chosen / one.by_tiles.min(one.by_vectors)
    };
    measured.iter().map(ratio).sum::<f64>() / measured.len().max(1) as f64 - 1.0
}

/// The number with the least loss; of several the one in their middle.
fn best(measured: &[Measured]) -> Choice {
    let mut least = Vec::new();
    for overhead in (1..=100).map(|tens| 16 * tens) {
        let choice = Choice { overhead, loss: loss(measured, overhead) };
        if least.first().is_none_or(|first: &Choice| choice.loss < first.loss) {
            least = vec![choice];
        } else if least[0].loss == choice.loss {
            least.push(choice);
        }
    }
    least[least.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Products of a CPU that loses so many cycles, of a nanosecond.
    fn of_cpu(overhead: f64) -> Vec<Measured> {
        let one = |rows: usize, k: usize| {
            let by_vectors = (rows * k / 2) as f64;
            let by_tiles = (rows.div_ceil(16) * (k.next_multiple_of(64) + 64)) as f64 + overhead;
            Measured { rows, k, by_tiles, by_vectors }
        };
        DEPTHS.iter().flat_map(|&k| ROWS.map(|rows| one(rows, k))).collect()
    }

    #[test]
    fn the_number_of_the_cpu_is_found() {
        for overhead in [100, 300, 800] {
            let measured = of_cpu(f64::from(overhead));
            let found = best(&measured);
            assert!(found.loss < 1e-9, "{overhead}: {} loses {}", found.overhead, found.loss);
            assert!(found.overhead.abs_diff(overhead) < overhead / 4, "{overhead}: {}", found.overhead);
            assert!(loss(&measured, 8 * overhead) > 0.1 && loss(&measured, 1) > 0.005);
        }
    }
}
