//! Output stages as C makes them, and those of Rust from the same arguments.

use crate::c_abi::calls::{
    Passed, Stage, dequantize, multiplier_of, requantize, zeroed_dequantize, zeroed_requantize,
};
use crate::c_abi::expect::Expect;
use crate::c_abi::memory::Memory;
use crate::c_abi::promise::Array;
use crate::input::Input;
use crate::values::{Integers, Random, Reals};
use qgemm::{
    Activation, Dequantize, Error, F64Factors, Int8Element, Multiplier, Multipliers, OwnedDequantize,
    OwnedRequantize, Requantize, Rounding, Scale, Table,
};
use qgemm_c::matrix::{QGEMM_I8, qgemm_type};
use qgemm_c::stage::{
    QGEMM_CLAMP_NONE, QGEMM_CLAMP_RELU, QGEMM_CLAMP_TO, QGEMM_SCALE_F32, QGEMM_SCALE_F64,
    qgemm_requantize_options, qgemm_scales,
};
use qgemm_c::status::{QGEMM_OK, QGEMM_OPTIONS, QGEMM_TYPE};
use std::rc::Rc;

/// The handle of a stage, if there is one, and the same of Rust.
pub type Both<T> = (Option<Rc<Stage>>, Result<T, Error>);

/// A number that is mostly `right`.
fn about(input: &mut Input<'_>, right: usize) -> usize {
    if input.one_in(60) { right + 1 } else { right }
}

struct Scales {
    rows: Option<Vec<f32>>,
    columns: Option<Vec<f32>>,
    one: f32,
}

impl Scales {
    fn read(input: &mut Input<'_>, (m, n): (usize, usize)) -> Self {
        let (kind, wrong) = (input.byte(), input.one_in(40));
        let mut random = Random::new(input.byte().into());
        let exponent = i32::from(input.byte() % 24);
        let mut next = || match random.bits() {
            bits if wrong && bits % 4 == 0 => [f32::NAN, -1.0, f32::INFINITY][bits as usize / 4 % 3],
            bits => (bits as u32) as f32 * 2f32.powi(-31 - exponent),
        };
        let mut some = |len: usize| (0..len).map(|_| next()).collect::<Vec<f32>>();
        let rows = (kind & 1 == 1).then(|| some(about(input, m)));
        let columns = (kind & 2 == 2).then(|| some(about(input, n)));
        Self { rows, columns, one: some(1)[0] }
    }

    fn raw(&self, input: &mut Input<'_>, memory: &Memory, expect: &mut Expect) -> qgemm_scales {
        let mut place = |scales: &Option<Vec<f32>>| {
            let mut array = scales.as_ref().map_or(Array::NONE, |scales| Array::of(memory, scales));
            expect.address(input, &mut array);
            array
        };
        let (rows, columns) = (place(&self.rows), place(&self.columns));
        qgemm_scales {
            rows: rows.first,
            rows_len: rows.len,
            columns: columns.first,
            columns_len: columns.len,
            one: self.one,
        }
    }

    fn scale(&self) -> Scale<'_> {
        match (&self.rows, &self.columns) {
            (None, None) => Scale::PerTensor(self.one),
            (Some(rows), None) => Scale::PerRow(rows),
            (None, Some(columns)) => Scale::PerColumn(columns),
            (Some(rows), Some(columns)) => Scale::RowsByColumns { rows, columns },
        }
    }
}

fn multiplier(real: f64) -> Multiplier {
    let rust = Multiplier::from_real(real).expect("it is a factor");
    let (status, made) = multiplier_of(real, Passed::Right);
    assert_eq!((status, made.map(|made| (made.m, made.shift))), (QGEMM_OK, Some((rust.m(), rust.shift()))));
    rust
}

/// A stage to 8 bits, for an M×N output of a type.
pub fn to_bytes(
    input: &mut Input<'_>,
    memory: &Memory,
    (shape, element): ((usize, usize), qgemm_type),
    dynamic: bool,
) -> Both<OwnedRequantize> {
    let (mut expect, scales) = (Expect::default(), Scales::read(input, shape));
    let mut raw = zeroed_requantize();
    raw.dynamic = dynamic.into();
    raw.scaling = if dynamic { QGEMM_SCALE_F32 } else { u32::from(input.byte() % 6) };
    raw.zero_point = if input.one_in(16) { Integers::read(input).integer() } else { input.byte().into() };
    raw.clamp = u32::from(input.byte() % 8).saturating_sub(4);
    (raw.lo, raw.hi) = (i32::from(input.byte()) - 128, i32::from(input.byte()));
    raw.output_scale = Reals::usual(input.byte()).real();
    raw.residual_in_place = input.one_in(5).into();
    raw.residual_scale = Reals::usual(input.byte()).real().abs();
    raw.residual_zero_point = i32::from(input.byte()) - 128;
    raw.table_type = element;
    let len = if input.flag() { 1 } else { about(input, shape.1) };
    let mut reals = Reals::usual(input.byte());
    let factors: Vec<f64> = (0..len).map(|_| f64::from(reals.real().abs()) / 64.0).collect();
    let multipliers: Vec<Multiplier> = factors.iter().map(|&real| multiplier(real)).collect();
    let table = input.rarely(4, |input| Integers::read(input).bytes(256));
    let rust = requantize_of(&raw, &scales, &multipliers, &factors, table.as_deref());

    // What is not used is left out, or anything.
    match raw.scaling {
        QGEMM_SCALE_F32 => raw.scale = scales.raw(input, memory, &mut expect),
        QGEMM_SCALE_F64 => {
            let mut array = Array::of(memory, &factors);
            expect.address(input, &mut array);
            (raw.factors, raw.factors_len) = (array.first, array.len);
        }
        _ => {
            let pairs: Vec<i32> = multipliers.iter().flat_map(|one| [one.m(), one.shift()]).collect();
            let mut array = Array { first: memory.put(&pairs).cast(), len };
            expect.address(input, &mut array);
            (raw.multipliers, raw.multipliers_len) = (array.first, array.len);
        }
    }
    if let Some(table) = &table {
        raw.table = memory.put(table);
        if input.one_in(40) {
            raw.table_type = input.one_of(&[0, 3, 9]);
            expect.wrong(&[QGEMM_TYPE]);
        }
    }
    raw.scaling = expect.choice(input, raw.scaling);
    if dynamic && raw.scaling != QGEMM_SCALE_F32 {
        expect.wrong(&[QGEMM_OPTIONS]);
    }
    raw.clamp = expect.choice(input, raw.clamp);
    raw.residual_in_place = expect.choice(input, raw.residual_in_place);
    let (options, to) = (expect.sized(input, raw, |raw| &mut raw.struct_size), expect.passed(input));
    let (status, handle) = requantize(memory, options, to);
    expect.check_either("requantize", status, &rust);
    (handle.map(Rc::new), rust)
}

fn requantize_of(
    raw: &qgemm_requantize_options,
    scales: &Scales,
    multipliers: &[Multiplier],
    factors: &[f64],
    table: Option<&[u8]>,
) -> Result<OwnedRequantize, Error> {
    let roundings = [Rounding::Gemmlowp, Rounding::Ruy, Rounding::Single, Rounding::Reference];
    let mut stage = match raw.scaling {
        QGEMM_SCALE_F32 if raw.dynamic == 1 => Requantize::dynamic(scales.scale(), raw.zero_point)?,
        QGEMM_SCALE_F32 => Requantize::new(scales.scale(), raw.zero_point)?,
        QGEMM_SCALE_F64 => {
            let factors = if let [one] = factors { F64Factors::from(*one) } else { factors.into() };
            Requantize::in_f64(factors, raw.zero_point)?
        }
        fixed => {
            let multipliers =
                if let [one] = multipliers { Multipliers::from(*one) } else { multipliers.into() };
            Requantize::fixed_point(multipliers, roundings[fixed as usize - 1], raw.zero_point)?
        }
    };
    stage = match raw.clamp {
        QGEMM_CLAMP_NONE => stage,
        QGEMM_CLAMP_TO => stage.clamp_to(raw.lo, raw.hi),
        QGEMM_CLAMP_RELU => stage.relu(),
        _ => stage.relu6(raw.output_scale)?,
    };
    if raw.residual_in_place == 1 {
        stage = stage.residual_in_place(raw.residual_scale, raw.residual_zero_point);
    }
    fn table_of<T: Int8Element>(table: &[u8]) -> Table<T> {
        Table::from_fn(|x: T| T::from_bits(table[usize::from(x.to_bits())]))
    }
    match table {
        None => stage.into_owned(),
        Some(table) if raw.table_type == QGEMM_I8 => stage.table(&table_of::<i8>(table)).into_owned(),
        Some(table) => stage.table(&table_of::<u8>(table)).into_owned(),
    }
}

/// A stage to f32, for an M×N output.
pub fn to_floats(
    input: &mut Input<'_>,
    memory: &Memory,
    shape: (usize, usize),
    dynamic: bool,
) -> Both<OwnedDequantize> {
    let (mut expect, scales) = (Expect::default(), Scales::read(input, shape));
    let mut raw = zeroed_dequantize();
    raw.dynamic = dynamic.into();
    raw.clamp = u32::from(input.byte() % 8).saturating_sub(4);
    (raw.lo, raw.hi) = (Reals::read(input).real(), Reals::read(input).real());
    raw.activation = u32::from(input.byte() % 14).saturating_sub(7);
    raw.residual_in_place = input.one_in(5).into();
    let bias = input.rarely(3, |input| {
        let len = about(input, shape.1);
        Reals::read(input).reals(len)
    });
    let rust = (|| {
        let make = if dynamic { Dequantize::dynamic } else { Dequantize::new };
        let mut stage = make(scales.scale())?;
        stage = match raw.clamp {
            QGEMM_CLAMP_NONE => stage,
            QGEMM_CLAMP_TO => stage.clamp_to(raw.lo, raw.hi),
            QGEMM_CLAMP_RELU => stage.relu(),
            _ => stage.relu6(),
        };
        stage = bias.as_ref().map_or(stage, |bias| stage.bias(bias));
        stage = if raw.residual_in_place == 1 { stage.residual_in_place() } else { stage };
        // Their constants are in the same order, from 1 on.
        if let Some(at) = (raw.activation as usize).checked_sub(1) {
            stage = stage.activation(Activation::ALL[at]);
        }
        stage.into_owned()
    })();

    raw.scale = scales.raw(input, memory, &mut expect);
    let mut array = bias.as_ref().map_or(Array::NONE, |bias| Array::of(memory, bias));
    expect.address(input, &mut array);
    (raw.bias, raw.bias_len) = (array.first, array.len);
    raw.dynamic = expect.choice(input, raw.dynamic);
    raw.clamp = expect.choice(input, raw.clamp);
    raw.activation = expect.choice(input, raw.activation);
    raw.residual_in_place = expect.choice(input, raw.residual_in_place);
    let (options, to) = (expect.sized(input, raw, |raw| &mut raw.struct_size), expect.passed(input));
    let (status, handle) = dequantize(memory, options, to);
    expect.check_either("dequantize", status, &rust);
    (handle.map(Rc::new), rust)
}
