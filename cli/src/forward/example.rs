//! The worked example of quantized inference.

use crate::files::matrices::FloatMatrix;
use crate::forward::layer::{Layer, Ranges};

/// A layer with X in [10, 50], W in [0, 1], b in [10, 30] and Y in [0, 110].
pub fn worked_example() -> Layer {
    let x = [[26.68088, 38.81298, 10.004575, 22.093304], [15.870235, 13.693543, 17.450409, 23.82243f32]];
    let w = [
        [0.39676747, 0.53881675, 0.41919452, 0.6852195],
        [0.20445225, 0.87811744, 0.02738759, 0.6704675],
        [0.4173048, 0.55868983, 0.14038694, 0.19810149],
        [0.8007446, 0.9682616, 0.31342417, 0.6923226f32],
    ];
    Layer {
        x: matrix(&x),
        w: matrix(&w),
        bias: Some(vec![27.527782, 27.892134, 11.700884, 10.7810955]),
        ranges: Ranges {
            x: Some((10.0, 50.0)),
            w: Some((0.0, 1.0)),
            bias: Some((10.0, 30.0)),
            y: Some((0.0, 110.0)),
        },
    }
}

fn matrix(rows: &[[f32; 4]]) -> FloatMatrix {
    let data = rows.as_flattened().iter().copied().map(f64::from).collect();
    FloatMatrix { rows: rows.len(), cols: 4, data }
}
