//! A mixture of experts on f32 tokens: each expert gathers its tokens, and outputs are added up with their weights.

use qgemm::{
    Dequantize, DynamicGemm, Error, GatherF32, Linear, MatMut, MatRef, Task, run_batch, scatter_add_f32,
};

pub(crate) fn main() -> Result<(), Error> {
    // Data: tokens, experts' weights of [out, in], and for each expert the tokens that are routed to it, each token to two.
    let (tokens, experts, k, n) = (40, 4, 64, 48);
    let x: Vec<f32> = (0..tokens * k).map(|i| (i * 7919 % 1009) as f32 / 504.0 - 1.0).collect();
    let weights: Vec<Vec<f32>> = (0..experts)
        .map(|e| (0..n * k).map(|i| ((i + e) * 6101 % 997) as f32 / 4000.0 - 0.125).collect())
        .collect();
    let routed = |e: usize| (0..tokens as u32).filter(move |t| (t % 4) as usize == e || t % 3 == e as u32);
    let routes: Vec<Vec<u32>> = (0..experts).map(|e| routed(e).collect()).collect();
    let gates: Vec<Vec<f32>> =
        routes.iter().map(|r| r.iter().map(|t| 0.3 + (t % 5) as f32 / 10.0).collect()).collect();

    // Once: the experts' layers.
    let layers = weights.iter().map(|w| Linear::out_in(MatRef::row_major(w, n, k)?).build());
    let layers = layers.collect::<Result<Vec<_>, Error>>()?;

    // For each batch: all experts together, then the weighted sums in the order of experts.
    let source = MatRef::row_major(&x, tokens, k)?;
    let mut outputs: Vec<Vec<f32>> = routes.iter().map(|route| vec![0.0; route.len() * n]).collect();
    let mut tasks = Vec::new();
    for ((layer, route), y) in layers.iter().zip(&routes).zip(&mut outputs) {
        let gemm = DynamicGemm::new(GatherF32::rows(source, route)?, layer.weights());
        let output = Dequantize::dynamic(layer.weight_scales())?;
        tasks.push(Task::dynamic_f32(gemm, MatMut::row_major(y, route.len(), n)?, output)?);
    }
    run_batch(&mut tasks)?;
    drop(tasks);
    let mut y = vec![0f32; tokens * n];
    for ((route, gates), output) in routes.iter().zip(&gates).zip(&outputs) {
        let rows = MatRef::row_major(output, route.len(), n)?;
        scatter_add_f32(rows, route, Some(gates), MatMut::row_major(&mut y, tokens, n)?)?;
    }

    let mut naive = vec![0f32; tokens * n];
    for ((w, route), gates) in weights.iter().zip(&routes).zip(&gates) {
        for (t, gate) in route.iter().map(|t| *t as usize).zip(gates) {
            for j in 0..n {
                let dot: f32 = (0..k).map(|l| x[t * k + l] * w[j * k + l]).sum();
                naive[t * n + j] += gate * dot;
            }
        }
    }
    let error = y.iter().zip(&naive).map(|(y, f)| (y - f).abs()).fold(0.0, f32::max);
    let greatest = naive.iter().fold(0f32, |most, y| most.max(y.abs()));
    println!(
        "{tokens} tokens, {experts} experts: off by at most {error:.4} from float, of outputs up to {greatest:.2}"
    );
    assert!(error < 0.02 * greatest);
    Ok(())
}
