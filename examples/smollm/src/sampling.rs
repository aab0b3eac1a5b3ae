//! The choice of the next token.

use crate::exp::exp;
use crate::lanes::LANES;
use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::ChaCha8Rng;

/// Chooses tokens by their logits.
pub struct Sampler {
    temperature: f32,
    top_p: f32,
    random: ChaCha8Rng,
}

/// The greatest logit. That of each lane is found first, which vectors do.
fn maximum(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = logits.as_chunks::<LANES>();
    for values in whole {
        for i in 0..LANES {
            lanes[i] = if values[i] > lanes[i] { values[i] } else { lanes[i] };
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The first of the greatest logits.
pub fn greatest(logits: &[f32]) -> u32 {
    let most = maximum(logits);
    (0..).zip(logits).find(|(_, logit)| **logit == most).map_or(0, |(token, _)| token)
}

impl Sampler {
    /// A temperature of 0 takes the likeliest token. Others draw one of the likeliest tokens whose probabilities reach
    /// `top_p` together.
    pub fn new(temperature: f32, top_p: f32, seed: u64) -> Self {
        Self { temperature, top_p, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The next token.
    ///
    /// # Errors
    /// If there are no logits.
    pub fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        if self.temperature <= 0.0 {
            return Ok(greatest(logits));
        }
        let most = maximum(logits);
        let weight = |logit: &f32| exp((logit - most) / self.temperature);
        let mut tokens: Vec<(u32, f32)> = (0..).zip(logits.iter().map(weight)).collect();
        // Equal weights keep the order of tokens.
        tokens.sort_by(|a, b| b.1.total_cmp(&a.1));
        let goal = self.top_p * tokens.iter().map(|(_, weight)| weight).sum::<f32>();
        let mut sum = 0.0;
        let kept = tokens.iter().take_while(|(_, weight)| {
            let before = sum;
            sum += weight;
            before < goal
        });
        let kept = kept.count().max(1).min(tokens.len());
        let weights = WeightedIndex::new(tokens[..kept].iter().map(|(_, weight)| *weight));
        let weights = weights.context("no token can be drawn")?;
        Ok(tokens[weights.sample(&mut self.random)].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_the_greatest() {
        assert_eq!(greatest(&[-1.0, 3.0, 2.0, 3.0]), 1);
        let mut many = vec![0.0; 50];
        (many[17], many[33], many[49]) = (1.0, 1.0, 1.0);
        assert_eq!(greatest(&many), 17);
        assert_eq!(Sampler::new(0.0, 1.0, 0).choose(&[-1.0, 3.0, 2.0]).unwrap(), 1);
    }

    #[test]
    fn drawn_tokens_are_those_of_top_p_and_depend_on_the_seed_alone() {
        let logits = [2.0, 1.9, 1.8, -3.0];
        let draw = |seed| -> Vec<u32> {
            let mut sampler = Sampler::new(1.0, 0.9, seed);
            (0..200).map(|_| sampler.choose(&logits).unwrap()).collect()
        };
        let drawn = draw(1);
        assert_eq!(drawn, draw(1));
        assert!((0..3).all(|token| drawn.contains(&token)) && !drawn.contains(&3));
    }
}
