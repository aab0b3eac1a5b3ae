//! Keys and values of the tokens before.

use crate::config::{Config, HEAD};

/// The positions of a block of keys.
pub const BLOCK: usize = 64;

/// Keys of 64 positions, transposed: a row for each of the head's values, with a column per position. Scores of neighbouring
/// positions are then computed side by side, and none is a sum across the lanes of a vector.
pub type KeyBlock = [[f32; BLOCK]; HEAD];

/// Keys and values of one head of one layer.
pub struct HeadCache {
    /// Blocks of keys; keys of positions that were not written are 0.
    pub keys: Vec<KeyBlock>,
    /// A row of values for each position.
    pub values: Vec<[f32; HEAD]>,
}

/// Keys and values of all layers.
pub struct Cache {
    heads: Vec<HeadCache>,
    kv_heads: usize,
    positions: usize,
}

impl Cache {
    /// A cache for so many positions.
    pub fn new(config: &Config, positions: usize) -> Self {
        let head = || HeadCache {
            keys: vec![[[0.0; BLOCK]; HEAD]; positions.div_ceil(BLOCK)],
            values: vec![[0.0; HEAD]; positions],
        };
        let heads = (0..config.layers * config.kv_heads).map(|_| head()).collect();
        Self { heads, kv_heads: config.kv_heads, positions }
    }

    /// The positions that there is room for.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// The heads of a layer.
    pub fn layer(&self, layer: usize) -> &[HeadCache] {
        &self.heads[layer * self.kv_heads..][..self.kv_heads]
    }

    /// Stores the keys and values of a token: one head after the other.
    pub fn write(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let heads = &mut self.heads[layer * self.kv_heads..][..self.kv_heads];
        let rows = keys.as_chunks::<HEAD>().0.iter().zip(values.as_chunks::<HEAD>().0);
        for (head, (keys, values)) in heads.iter_mut().zip(rows) {
            let block = &mut head.keys[position / BLOCK];
            for (row, key) in block.iter_mut().zip(keys) {
                row[position % BLOCK] = *key;
            }
            head.values[position] = *values;
        }
    }
}
