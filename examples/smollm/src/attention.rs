//! Attention of tokens to those before them, in f32.
//!
//! Each score is a chain of sums over the values of a head, in their order; each output is one over positions, in theirs.
//! Vectors hold neighbouring scores or outputs, so no result depends on their length, nor on the tokens beside.

use crate::cache::{BLOCK, HeadCache};
use crate::config::HEAD;
use crate::exp::exp;
use crate::lanes::{LANES, join};
use multiversion::multiversion;
use rayon::prelude::*;

/// The tokens of a task: as many as read a block of keys, or of values, while it is in the first-level cache.
const TOKENS: usize = 16;

/// Positions times values of queries from which on the heads of one token are shared among threads: some 20 µs of work.
const WORTH_SHARING: usize = 1 << 19;

/// Attention of consecutive tokens in one layer.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// A row for each token, that begins with its queries.
    pub rows: &'a [f32],
    /// The length of a row.
    pub width: usize,
    /// The position of the first token.
    pub first: usize,
    /// Keys and values, those of these tokens among them.
    pub heads: &'a [HeadCache],
    /// The heads of queries that share a head of keys and values.
    pub group: usize,
}

impl Attention<'_> {
    /// Writes the outputs: a row of all heads for each token.
    pub fn run(&self, out: &mut [f32]) {
        let tokens = self.rows.len() / self.width;
        // The outputs of a token for one head of keys.
        let unit = self.group * HEAD;
        let share = tokens == 1 && (self.first + 1) * unit * self.heads.len() >= WORTH_SHARING;
        let units = if share { 1 } else { TOKENS * self.heads.len() };
        out.par_chunks_mut(units * unit).enumerate().for_each_init(Vec::new, |scores, (task, out)| {
            attend(self, task * units, out, scores);
        });
    }
}

/// Computes some units, the outputs of a token for a head of keys, from `first_unit` on.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn attend(work: &Attention<'_>, first_unit: usize, out: &mut [f32], scores: &mut Vec<[f32; BLOCK]>) {
    for head in 0..work.heads.len() {
        let mut from = 0;
        while from < work.group {
            if from + 3 <= work.group {
                attend_head::<3>(work, first_unit, (head, from), out, scores);
                from += 3;
            } else {
                attend_head::<1>(work, first_unit, (head, from), out, scores);
                from += 1;
            }
        }
    }
}

/// Computes those of the units that belong to a head of keys, for `ROWS` of its heads of queries from `from` on.
#[inline(always)]
fn attend_head<const ROWS: usize>(
    work: &Attention<'_>,
    first_unit: usize,
    (head, from): (usize, usize),
    out: &mut [f32],
    scores: &mut Vec<[f32; BLOCK]>,
) {
    let cache = &work.heads[head];
    let unit = work.group * HEAD;
    let skip = (head + work.heads.len() - first_unit % work.heads.len()) % work.heads.len();
    let first_token = (first_unit + skip) / work.heads.len();
    let outs = || (skip..out.len() / unit).step_by(work.heads.len());
    let tokens = outs().len();
    if tokens == 0 {
        return;
    }
    let blocks = (work.first + first_token + tokens).div_ceil(BLOCK);
    scores.clear();
    scores.resize(tokens * blocks * ROWS, [0.0; BLOCK]);
    for (b, keys) in cache.keys[..blocks].iter().enumerate() {
        for t in 0..tokens {
            if work.first + first_token + t < b * BLOCK {
                continue;
            }
            let row = &work.rows[(first_token + t) * work.width..][(head * work.group + from) * HEAD..];
            let queries: [&[f32]; ROWS] = std::array::from_fn(|r| &row[r * HEAD..][..HEAD]);
            let to = &mut scores[(t * blocks + b) * ROWS..][..ROWS];
            add_product(queries, keys, to);
        }
    }
    let mut factors = [[0.0; ROWS]; TOKENS];
    for (t, factors) in factors[..tokens].iter_mut().enumerate() {
        let len = work.first + first_token + t + 1;
        for (r, factor) in factors.iter_mut().enumerate() {
            *factor = 1.0 / softmax(&mut scores[t * blocks * ROWS..][..blocks * ROWS], (ROWS, r), len);
        }
    }
    let mut sums = [[[0.0; HEAD]; ROWS]; TOKENS];
    for (b, values) in cache.values.chunks(BLOCK).take(blocks).enumerate() {
        for (t, sums) in sums[..tokens].iter_mut().enumerate() {
            let len = work.first + first_token + t + 1;
            if len <= b * BLOCK {
                continue;
            }
            let weights = &scores[(t * blocks + b) * ROWS..][..ROWS];
            let weights: [&[f32]; ROWS] = std::array::from_fn(|r| &weights[r][..]);
            add_product(weights, &values[..(len - b * BLOCK).min(BLOCK)], sums);
        }
    }
    for (t, at) in outs().enumerate() {
        let to = &mut out[at * unit + from * HEAD..][..ROWS * HEAD];
        for (r, to) in to.chunks_exact_mut(HEAD).enumerate() {
            for (to, sum) in to.iter_mut().zip(&sums[t][r]) {
                *to = sum * factors[t][r];
            }
        }
    }
}

/// Adds `left[r][i] · right[i][j]` to `sums[r][j]`, for i in its order.
#[inline(always)]
fn add_product<const ROWS: usize>(left: [&[f32]; ROWS], right: &[[f32; 64]], sums: &mut [[f32; 64]]) {
    let left: [&[f32]; ROWS] = std::array::from_fn(|r| &left[r][..right.len()]);
    let sums: &mut [[f32; 64]; ROWS] = sums.first_chunk_mut().expect("there is a row for each");
    let mut totals = *sums;
    for (i, right) in right.iter().enumerate() {
        for r in 0..ROWS {
            let factor = left[r][i];
            for j in 0..64 {
                totals[r][j] += factor * right[j];
            }
        }
    }
    *sums = totals;
}

/// Replaces the first `len` scores of a row by `e^((score - greatest) / √HEAD)`, and returns their sum: score i is added to
/// partial sum i mod 16. `scores` has `rows` blocks for each block of positions, of which number `row` is the row's.
#[inline(always)]
fn softmax(scores: &mut [[f32; BLOCK]], (rows, row): (usize, usize), len: usize) -> f32 {
    const SCALE: f32 = 0.125;
    const { assert!(SCALE * SCALE * HEAD as f32 == 1.0) };
    let used = len.div_ceil(BLOCK);
    // The scores of positions that the token does not see.
    if let Some(unseen) = scores[(used - 1) * rows + row].get_mut(len - (used - 1) * BLOCK..) {
        unseen.fill(f32::NEG_INFINITY);
    }
    let mut greatest = [f32::NEG_INFINITY; LANES];
    for block in scores.iter().skip(row).step_by(rows).take(used) {
        for values in block.as_chunks::<LANES>().0 {
            for i in 0..LANES {
                greatest[i] = if values[i] > greatest[i] { values[i] } else { greatest[i] };
            }
        }
    }
    let greatest = greatest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0; LANES];
    for block in scores.iter_mut().skip(row).step_by(rows).take(used) {
        for values in block.as_chunks_mut::<LANES>().0 {
            for i in 0..LANES {
                values[i] = exp((values[i] - greatest) * SCALE);
                sums[i] += values[i];
            }
        }
    }
    join(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::config::Config;

    fn config(heads: usize, kv_heads: usize) -> Config {
        Config {
            layers: 1,
            hidden: heads * HEAD,
            feed_forward: 1,
            heads,
            kv_heads,
            vocabulary: 1,
            context: 1,
            epsilon: 0.0,
            rope_base: 1.0,
        }
    }

    /// Queries, and a cache of keys and values, of so many tokens.
    fn made_up(config: &Config, tokens: usize) -> (Vec<f32>, Cache) {
        let made =
            |len: usize, step: f32| -> Vec<f32> { (0..len).map(|i| (i as f32 * step).sin()).collect() };
        let mut cache = Cache::new(config, tokens);
        for t in 0..tokens {
            let (keys, values) =
                (made(config.kv_width(), 0.3 + t as f32), made(config.kv_width(), 0.7 * t as f32));
            cache.write(0, t, &keys, &values);
        }
        (made(tokens * config.hidden, 0.77), cache)
    }

    #[test]
    fn attention_is_near_that_in_f64() {
        for (heads, kv_heads) in [(9, 3), (2, 2), (8, 2)] {
            let (config, tokens) = (config(heads, kv_heads), 70);
            let (rows, cache) = made_up(&config, tokens);
            let work = Attention {
                rows: &rows,
                width: config.hidden,
                first: 0,
                heads: cache.layer(0),
                group: config.group(),
            };
            let mut out = vec![0.0; rows.len()];
            work.run(&mut out);
            for (t, h) in (0..tokens).flat_map(|t| (0..heads).map(move |h| (t, h))) {
                let head = &cache.layer(0)[h / config.group()];
                let at = t * config.hidden + h * HEAD;
                let key = |p: usize, d: usize| f64::from(head.keys[p / BLOCK][d][p % BLOCK]);
                let score =
                    |p: usize| (0..HEAD).map(|d| f64::from(rows[at + d]) * key(p, d)).sum::<f64>() / 8.0;
                let weights: Vec<f64> = (0..=t).map(|p| libm::exp(score(p))).collect();
                let sum: f64 = weights.iter().sum();
                for d in 0..HEAD {
                    let values = head.values.iter().map(|values| f64::from(values[d]));
                    let want = weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() / sum;
                    assert!((f64::from(out[at + d]) - want).abs() < 1e-5, "token {t}, head {h}, value {d}");
                }
            }
        }
    }

    #[test]
    fn tokens_do_not_depend_on_those_beside() {
        let (config, tokens) = (config(9, 3), 150);
        let (rows, cache) = made_up(&config, tokens);
        let run = |from: usize, to: usize| {
            let rows = &rows[from * config.hidden..to * config.hidden];
            let mut out = vec![0.0; rows.len()];
            let (width, heads) = (config.hidden, cache.layer(0));
            Attention { rows, width, first: from, heads, group: config.group() }.run(&mut out);
            out.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let all = run(0, tokens);
        for pieces in [1, 7, 64] {
            let each = (0..tokens).step_by(pieces).flat_map(|from| run(from, tokens.min(from + pieces)));
            assert!(each.eq(all.iter().copied()), "{pieces} together");
        }
    }
}
