//! Attention in int8, [seq, heads · d] in and out: two batches, with heads side by side in all four matrices.

use qgemm::{Dequantize, Error, Gemm, MatMut, MatRef, QuantParams, Requantize, Task, run_batch};

pub(crate) fn main() -> Result<(), Error> {
    // Data: queries, keys and values, all heads of a token in one row.
    let (seq, heads, d) = (48, 8, 32);
    let floats = |seed: usize| -> Vec<f32> {
        (0..seq * heads * d).map(|i| ((i * 7919 + seed) % 997) as f32 / 500.0 - 1.0).collect()
    };
    let x = [floats(1), floats(500), floats(900)];
    let params = QuantParams::symmetric(1.0)?;
    let quantized = |x: &Vec<f32>| -> Vec<i8> { x.iter().map(|x| params.quantize(*x)).collect() };
    let qkv: Vec<Vec<i8>> = x.iter().map(quantized).collect();
    let of_heads = |x: usize| MatRef::batch(&qkv[x], heads, d, (seq, d), (heads * d, 1));

    // Scores of each head: q · kᵀ / √d, as f32 for the softmax.
    let mut scores = vec![0f32; heads * seq * seq];
    let to_scores = Dequantize::new(params.scale * params.scale / (d as f32).sqrt())?;
    let outputs = MatMut::batch(&mut scores, heads, seq * seq, (seq, seq), (seq, 1))?;
    let operands = of_heads(0)?.zip(of_heads(1)?).zip(outputs);
    let tasks = operands.map(|((q, k), c)| Task::f32(Gemm::new(q, k.transpose()), c, to_scores));
    run_batch(&mut tasks.collect::<Result<Vec<_>, _>>()?)?;

    // Softmax to u8: probabilities in steps of 1/255.
    let mut probabilities = vec![0u8; scores.len()];
    for (row, p) in scores.chunks_mut(seq).zip(probabilities.chunks_mut(seq)) {
        let greatest = row.iter().copied().fold(f32::MIN, f32::max);
        row.iter_mut().for_each(|x| *x = (*x - greatest).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().zip(p).for_each(|(x, p)| *p = (*x / sum * 255.0).round() as u8);
    }

    // Probabilities times values: each head writes its own columns of one output, in 8 bits.
    let mut y = vec![0i8; seq * heads * d];
    let to_y = Requantize::new(1.0 / 255.0, 0)?;
    let outputs = MatMut::row_major(&mut y, seq, heads * d)?.col_chunks(d)?;
    let weights = MatRef::batch(&probabilities, heads, seq * seq, (seq, seq), (seq, 1))?;
    let operands = weights.zip(of_heads(2)?).zip(outputs);
    let tasks = operands.map(|((p, v), c)| Task::requantized(Gemm::new(p, v), c, to_y));
    run_batch(&mut tasks.collect::<Result<Vec<_>, _>>()?)?;

    let naive = |at: usize| naive(at, &x, (seq, heads, d));
    let error = (0..y.len()).map(|at| (params.dequantize(y[at]) - naive(at)).abs()).fold(0.0, f32::max);
    println!("{heads} heads of {seq}x{d}: off by at most {error:.3} from float");
    assert!(error < 0.03);
    Ok(())
}

/// Element `at` of the output, in floats.
fn naive(at: usize, [q, k, v]: &[Vec<f32>; 3], (seq, heads, d): (usize, usize, usize)) -> f32 {
    let (row, head, column) = (at / (heads * d), at / d % heads, at % d);
    let from = |x: &[f32], token: usize, j: usize| x[(token * heads + head) * d + j];
    let score = |t: usize| (0..d).map(|j| from(q, row, j) * from(k, t, j)).sum::<f32>() / (d as f32).sqrt();
    let weights: Vec<f32> = (0..seq).map(|t| score(t).exp()).collect();
    (0..seq).map(|t| weights[t] * from(v, t, column)).sum::<f32>() / weights.iter().sum::<f32>()
}
