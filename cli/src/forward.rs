//! `qgemm forward`: a float layer Y = X·W + b in int8 arithmetic, beside the same in float.

use crate::input::{bad_because, library, real_range, zeros};
use crate::npy::{self, Floats};
use crate::outfile::OutFile;
use crate::text;
use anyhow::Result;
use ndarray::{Array2, ArrayView2};
use qgemm::{Gemm, MatMut, MatRef, QuantParams, Requantize, dequantize, fold_bias, quantize};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Computes Y = X·W + b in int8, and how far that is from float. Without files: the worked example.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Inputs, M x K: a .npy file of f32 or f64
    #[arg(long, value_name = "FILE", requires_all = ["w", "bias"])]
    x: Option<PathBuf>,
    /// Weights, K x N
    #[arg(long, value_name = "FILE", requires_all = ["x", "bias"])]
    w: Option<PathBuf>,
    /// Bias, one value per column of W
    #[arg(long, value_name = "FILE", requires_all = ["x", "w"])]
    bias: Option<PathBuf>,
    /// Range of X that is quantized [default: that of the data]
    #[arg(long, value_name = "LO,HI", requires = "x")]
    x_range: Option<String>,
    /// Range of W [default: that of the data]
    #[arg(long, value_name = "LO,HI", requires = "x")]
    w_range: Option<String>,
    /// Range of the bias [default: that of the data]
    #[arg(long, value_name = "LO,HI", requires = "x")]
    bias_range: Option<String>,
    /// Range of Y [default: that of the float product]
    #[arg(long, value_name = "LO,HI", requires = "x")]
    y_range: Option<String>,
    /// Where to write the dequantized Y, as f32
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The quantized integers: all of i8 but -128, so that the range is symmetric.
const Q: (i32, i32) = (-127, 127);

/// A range that was given, as `--x-range` or in the worked example; else the data's own is taken.
type Range = Option<(f64, f64)>;

/// What is computed: the float layer and the ranges to quantize it on.
struct Layer {
    x: Floats,
    w: Floats,
    b: Vec<f32>,
    x_range: Range,
    w_range: Range,
    b_range: Range,
    y_range: Range,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let range = |name, text: &Option<String>| text.as_deref().map(|text| real_range(name, text)).transpose();
    let x_range = range("--x-range", &args.x_range)?;
    let w_range = range("--w-range", &args.w_range)?;
    let b_range = range("--bias-range", &args.bias_range)?;
    let y_range = range("--y-range", &args.y_range)?;
    let layer = match (&args.x, &args.w, &args.bias) {
        (Some(x), Some(w), Some(b)) => {
            let (x, w, b) = read(x, w, b)?;
            Layer { x, w, b, x_range, w_range, b_range, y_range }
        }
        _ => worked_example(),
    };
    let file = args.out.as_deref().map(|path| OutFile::new("--out", path)).transpose()?;
    let result = layer.compute()?;
    result.print(&layer, args.x.is_some(), out)?;
    match file {
        Some(file) => file.write(layer.shape(), &result.y),
        None => Ok(()),
    }
}

fn read(x: &Path, w: &Path, b: &Path) -> Result<(Floats, Floats, Vec<f32>)> {
    let must = "a .npy file of finite f32 or f64, one value per column of --w";
    let (x, w_path, w) = (Floats::read("--x", x)?, w, Floats::read("--w", w)?);
    if w.rows != x.cols {
        let why = format!("{} rows", w.rows);
        let must = format!("a matrix with as many rows as --x has columns ({})", x.cols);
        return Err(bad_because("--w", w_path.display(), why, must));
    }
    let array = npy::read("--bias", b, must)?;
    let b: Vec<f32> = npy::finite(&array)?.into_iter().map(|x| x as f32).collect();
    match array.shape[..] {
        [n] | [1, n] if n == w.cols => Ok((x, w, b)),
        _ => Err(array.refuse(format_args!("shape {:?}, --w has {} columns", array.shape, w.cols))),
    }
}

/// X in [10, 50], W in [0, 1], b in [10, 30], Y in [0, 110].
fn worked_example() -> Layer {
    let x = [[26.68088, 38.81298, 10.004575, 22.093304], [15.870235, 13.693543, 17.450409, 23.82243f32]];
    let w = [
        [0.39676747, 0.53881675, 0.41919452, 0.6852195],
        [0.20445225, 0.87811744, 0.02738759, 0.6704675],
        [0.4173048, 0.55868983, 0.14038694, 0.19810149],
        [0.8007446, 0.9682616, 0.31342417, 0.6923226f32],
    ];
    let floats = |rows: &[[f32; 4]]| Floats {
        rows: rows.len(),
        cols: 4,
        data: rows.as_flattened().iter().copied().map(f64::from).collect(),
    };
    Layer {
        x: floats(&x),
        w: floats(&w),
        b: vec![27.527782, 27.892134, 11.700884, 10.7810955],
        x_range: Some((10.0, 50.0)),
        w_range: Some((0.0, 1.0)),
        b_range: Some((10.0, 30.0)),
        y_range: Some((0.0, 110.0)),
    }
}

/// A tensor's parameters and integers.
struct Int8Element {
    params: QuantParams,
    q: Vec<i8>,
}

/// Quantizes `data` on `range`, or on its own; `names` are the arguments to name if that fails.
fn quantized(data: &[f32], range: Range, names: (&str, &str)) -> Result<Int8Element> {
    let params = params(data, range, names)?;
    let mut q: Vec<i8> = zeros(names.0, "too large", data.len())?;
    quantize(data, params, &mut q)?;
    // Values beyond a range that was given saturate at the ends of Q, not of i8.
    q.iter_mut().for_each(|q| *q = (*q).max(Q.0 as i8));
    Ok(Int8Element { params, q })
}

fn params(data: &[f32], range: Range, (of_data, of_range): (&str, &str)) -> Result<QuantParams> {
    match range {
        Some((lo, hi)) => {
            let refuse =
                |e| bad_because(of_range, format_args!("{lo},{hi}"), e, "a range that int8 can be scaled to");
            QuantParams::from_range(lo, hi, Q.0, Q.1).map_err(refuse)
        }
        None => {
            let must = format!("of a range that int8 can be scaled to (it can be given as {of_range})");
            QuantParams::from_data(data, Q.0, Q.1)
                .map_err(|e| bad_because(of_data, "the data's own", e, must))
        }
    }
}

struct Outcome {
    x: Int8Element,
    w: Int8Element,
    b: Int8Element,
    y: Vec<f32>,
    yq: Int8Element,
    float: Vec<f32>,
    /// Largest and mean distance of `y` from `float`.
    error: (f64, f64),
    /// Seconds: to quantize X, for the int8 product, for the float one.
    seconds: [f64; 3],
}

impl Layer {
    fn shape(&self) -> (usize, usize) {
        (self.x.rows, self.w.cols)
    }

    /// The product in f64, and the seconds that it takes in f32.
    fn float_product(&self) -> Result<(Vec<f64>, f64)> {
        let view =
            |m: &'_ Floats| ArrayView2::from_shape((m.rows, m.cols), &m.data).map(|view| view.to_owned());
        let (x, w) = (view(&self.x)?, view(&self.w)?);
        let (x32, w32) = (x.mapv(|x| x as f32), w.mapv(|w| w as f32));
        let start = Instant::now();
        let _y32: Array2<f32> = std::hint::black_box(x32.dot(&w32));
        let seconds = start.elapsed().as_secs_f64();
        let mut y = x.dot(&w);
        for mut row in y.rows_mut() {
            row.iter_mut().zip(&self.b).for_each(|(y, &b)| *y += f64::from(b));
        }
        // Every element, row by row: `dot` may return either order.
        Ok((y.iter().copied().collect(), seconds))
    }

    fn compute(&self) -> Result<Outcome> {
        let (m, n) = self.shape();
        let (k, len) = (self.x.cols, m.saturating_mul(n));
        let mut yq: Vec<i8> = zeros("--x and --w", format_args!("{m}x{k} and {k}x{n}"), len)?;
        let mut y = zeros::<f32>("--x and --w", format_args!("{m}x{k} and {k}x{n}"), len)?;
        let (float64, float_seconds) = self.float_product()?;
        let float: Vec<f32> = float64.iter().map(|&y| y as f32).collect();

        let single = |m: &Floats| m.data.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let (x32, w32) = (single(&self.x), single(&self.w));
        let w = quantized(&w32, self.w_range, ("--w", "--w-range"))?;
        let b = quantized(&self.b, self.b_range, ("--bias", "--bias-range"))?;
        let start = Instant::now();
        let x = quantized(&x32, self.x_range, ("--x", "--x-range"))?;
        let quantize_seconds = start.elapsed().as_secs_f64();
        let params_y = params(&float, self.y_range, ("--x and --w", "--y-range"))?;

        // The bias in the scale of the sums, sx·sw.
        let mut bias = vec![0; n];
        let (sx, sw) = (x.params.scale, w.params.scale);
        fold_bias(&b.q, b.params, sx, sw, &mut bias).map_err(|e| library(e, &[("bias", "--bias")]))?;

        let names = [
            ("scale", "--y-range"),
            ("output zero point", "--y-range"),
            ("a_zero", "--x-range"),
            ("b_zero", "--w-range"),
        ];
        let rename = |e| library(e, &names);
        let output = Requantize::new(sx * sw / params_y.scale, params_y.zero_point).map_err(rename)?;
        let output = output.clamp_to(Q.0, Q.1)?;
        let (xv, wv) = (MatRef::row_major(&x.q, m, k)?, MatRef::row_major(&w.q, k, n)?);
        let product = Gemm::new(xv, wv).a_zero(x.params.zero_point).b_zero(w.params.zero_point).bias(&bias);
        let start = Instant::now();
        product.run_requantized(MatMut::row_major(&mut yq, m, n)?, &output).map_err(rename)?;
        let int8_seconds = start.elapsed().as_secs_f64();

        dequantize(&yq, params_y, &mut y)?;
        let errors = y.iter().zip(&float64).map(|(&y, &float)| (f64::from(y) - float).abs());
        let (max, sum) = errors.fold((0.0f64, 0.0), |(max, sum), e| (max.max(e), sum + e));
        let error = (max, sum / (len.max(1) as f64));
        let seconds = [quantize_seconds, int8_seconds, float_seconds];
        Ok(Outcome { x, w, b, y, yq: Int8Element { params: params_y, q: yq }, float, error, seconds })
    }
}

impl Outcome {
    fn print(&self, layer: &Layer, timed: bool, out: &mut dyn Write) -> Result<()> {
        let ((m, n), k) = (layer.shape(), layer.x.cols);
        writeln!(out, "Y = X·W + b in int8, M = {m}, K = {k}, N = {n}")?;
        writeln!(out, "\nParameters: real = scale * (q - zero point), q in [{}, {}]", Q.0, Q.1)?;
        for (name, t) in [("x", &self.x), ("w", &self.w), ("b", &self.b), ("y", &self.yq)] {
            writeln!(out, "  s{name} {:<12} z{name} {}", t.params.scale, t.params.zero_point)?;
        }
        writeln!(out)?;
        text::matrix(out, "Xq", (m, k), &self.x.q)?;
        text::matrix(out, "Wq", (k, n), &self.w.q)?;
        text::matrix(out, "bq", (1, n), &self.b.q)?;
        text::matrix(out, "Yq, integer Y", (m, n), &self.yq.q)?;
        text::matrix(out, "Y, dequantized", (m, n), &self.y)?;
        text::matrix(out, "Y, float", (m, n), &self.float)?;
        let (max, mean) = self.error;
        let step = f64::from(self.yq.params.scale);
        writeln!(out, "\nlargest error {max:.4} ({:.2} of a step)", max / step)?;
        writeln!(out, "mean error    {mean:.4}")?;
        if timed {
            let [quantize, int8, float] = self.seconds.map(text::duration);
            writeln!(
                out,
                "time          {int8} for the int8 product (which packs W), {quantize} to quantize X, {float} for the f32 product"
            )?;
        }
        Ok(())
    }
}
