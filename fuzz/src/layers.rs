//! Target `layers`: what is around products. Linear layers here; quantization and the moving of rows in modules of their own.

use crate::compare::{Element, compare};
use crate::float_lhs::{FloatMatrix, OwnedFloatLhs};
use crate::input::Input;
use crate::operands::{Matrix8, OwnedLhs, element_type, length};
use crate::place::{Elements, Place};
use crate::shape::Shape;
use crate::values::{Integers, Random, Reals};
use crate::{moving, quantizing};
use qgemm::{
    Activation, Dequantize, DynamicGemm, ElementType, Error, Gemm, Int8Element, Linear, LinearBuilder,
    MatMut, OneOrEach, QuantParams, Requantize, Table, product_scales, quantize_bias, reference,
    requantize_scales,
};

/// Runs a case.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.byte() % 12 {
        0..=4 => {
            linear(&mut input);
        }
        5 | 6 => quantizing::slices(&mut input),
        7 => quantizing::ranges(&mut input),
        8 => quantizing::observers(&mut input),
        9 => quantizing::matrices(&mut input),
        10 => moving::convolution(&mut input),
        _ => moving::scattering(&mut input),
    };
}

/// Parameters, mostly right.
pub fn params(input: &mut Input<'_>) -> QuantParams {
    let scale = match input.byte() % 16 {
        0..=11 => (1.0 + f32::from(input.byte()) / 256.0) * 0.5f32.powi((input.byte() % 16).into()),
        12 | 13 => 2f64.powi(input.number(0..=276) as i32 - 149) as f32,
        _ => Reals::read(input).real(),
    };
    let zero_point = match input.byte() % 4 {
        0 => 0,
        1 | 2 => i32::from(input.byte()) - if input.flag() { 128 } else { 0 },
        _ => Integers::read(input).integer(),
    };
    QuantParams { scale, zero_point }
}

/// What a layer is described by, besides its weights.
#[derive(Debug)]
struct Description {
    bias: Option<Vec<f32>>,
    relu: bool,
    relu6: bool,
    activation: Option<Activation>,
    input: Option<(ElementType, QuantParams)>,
    output: Option<(ElementType, QuantParams)>,
    before_activation: Option<QuantParams>,
    asymmetric: bool,
    per_tensor: bool,
    threads: usize,
}

impl Description {
    fn read(input: &mut Input<'_>, n: usize) -> Self {
        let typed = |input: &mut Input<'_>| (element_type(input), params(input));
        Self {
            bias: input.rarely(2, |input| {
                let len = length(input, n);
                Reals::read(input).reals(len)
            }),
            relu: input.one_in(4),
            relu6: input.one_in(4),
            activation: input.rarely(3, |input| input.one_of(&Activation::ALL)),
            input: input.rarely(2, typed),
            output: input.rarely(2, typed),
            before_activation: input.rarely(2, params),
            asymmetric: input.flag(),
            per_tensor: input.one_in(4),
            threads: usize::from(input.byte() % 3),
        }
    }

    fn build<'a>(&'a self, weights: LinearBuilder<'a>) -> Result<Linear, Error> {
        let mut builder = weights.threads(self.threads);
        if let Some(bias) = &self.bias {
            builder = builder.bias(bias);
        }
        if self.relu {
            builder = builder.relu();
        }
        if self.relu6 {
            builder = builder.relu6();
        }
        if let Some(activation) = self.activation {
            builder = builder.activation(activation);
        }
        builder = match self.input {
            Some((ElementType::I8, params)) => builder.input::<i8>(params),
            Some((ElementType::U8, params)) => builder.input::<u8>(params),
            None => builder,
        };
        builder = match self.output {
            Some((ElementType::I8, params)) => builder.output::<i8>(params),
            Some((ElementType::U8, params)) => builder.output::<u8>(params),
            None => builder,
        };
        if let Some(params) = self.before_activation {
            builder = builder.before_activation(params);
        }
        if self.asymmetric {
            builder = builder.asymmetric();
        }
        if self.per_tensor {
            builder = builder.per_tensor();
        }
        builder.build()
    }

    /// The stage to f32, from scales of sums.
    fn float_stage<'s>(&'s self, mut stage: Dequantize<'s>) -> Dequantize<'s> {
        if let Some(bias) = &self.bias {
            stage = stage.bias(bias);
        }
        if self.relu6 {
            stage = stage.relu6();
        } else if self.relu {
            stage = stage.relu();
        }
        self.activation.map_or(stage, |activation| stage.activation(activation))
    }
}

/// A layer is what its parts, put together by hand, are by the reference.
fn linear(input: &mut Input<'_>) -> Option<()> {
    let Shape { m, n, k } = Shape::read(input);
    let kind = input.byte() % 4;
    let description = Description::read(input, n);
    let layer = match kind {
        0 => {
            let weights = FloatMatrix::read(input, (n, k));
            description.build(Linear::out_in(weights.view().ok()?))
        }
        1 => {
            let weights = FloatMatrix::read(input, (k, n));
            description.build(Linear::in_out(weights.view().ok()?))
        }
        _ => {
            let weights = Matrix8::read(input, if kind == 2 { (n, k) } else { (k, n) });
            let mut random = Random::new(input.byte().into());
            let mut scales: Vec<f32> =
                (0..length(input, n)).map(|_| 1.0 / (1 + random.below(999)) as f32).collect();
            if let (Some(scale), true) = (scales.first_mut(), input.one_in(16)) {
                *scale = Reals::read(input).real();
            }
            let one = input.flag();
            let scales = match scales.first() {
                Some(&scale) if one => OneOrEach::PerTensor(scale),
                _ => OneOrEach::PerAxis(&scales),
            };
            let operand = weights.operand().ok()?;
            description.build(if kind == 2 {
                Linear::out_in_quantized(operand, scales)
            } else {
                Linear::in_out_quantized(operand, scales)
            })
        }
    };
    let layer = layer.ok()?;
    assert_eq!((layer.in_features(), layer.out_features(), layer.weight_scales().len()), (k, n, n));
    assert!(layer.weight_scales().iter().all(|scale| scale.is_finite() && *scale > 0.0));
    run_dynamic(input, &layer, &description, m);
    match (element_type(input), description.output.map(|(element, _)| element)) {
        (_, Some(ElementType::I8)) | (ElementType::I8, None) => {
            run_quantized::<i8>(input, &layer, &description, m)
        }
        _ => run_quantized::<u8>(input, &layer, &description, m),
    }
}

fn run_dynamic(input: &mut Input<'_>, layer: &Linear, description: &Description, m: usize) -> Option<()> {
    let (x, k) = OwnedFloatLhs::read(input, m, layer.in_features());
    let place = Place::read(input, (m, layer.out_features()), Elements::Written);
    let before = vec![7.0; place.len];
    let (x, in_f32) = (x.lhs().ok()?, x.in_f32().ok()?);
    let gemm = DynamicGemm::new(in_f32, layer.weights());
    let gemm = if description.asymmetric { gemm.asymmetric() } else { gemm };
    let gemm = if description.per_tensor { gemm.per_tensor() } else { gemm };
    let stage = Dequantize::dynamic(layer.weight_scales()).expect("the layer has them");
    let stage = description.float_stage(stage);
    let run = |y: MatMut<'_, f32>| layer.run_dynamic(x, y);
    compare(&format!("dynamic layer, K {k}"), &place, &before, run, |y| {
        reference::run_dynamic_f32(&gemm, y, stage)
    })?;
    Some(())
}

fn run_quantized<T: Int8Element + Element>(
    input: &mut Input<'_>,
    layer: &Linear,
    description: &Description,
    m: usize,
) -> Option<()> {
    let n = layer.out_features();
    let (x, _) = OwnedLhs::read(input, m, layer.in_features());
    let is_of_type = description.input.map(|(element, _)| element == x.element());
    let x = x.lhs().ok()?;
    let (mut y, mut bytes) = (vec![0f32; m * n], vec![T::from_bits(1); m * n]);
    let place = Place::row_major(m, n);
    let Some((_, params)) = description.input.filter(|_| is_of_type == Some(true)) else {
        // Without an input of this type there are no stages for it.
        let refused = layer.run_f32(x, place.view_mut(&mut y).ok()?);
        assert!(matches!(refused, Err(Error::Missing { .. } | Error::Element { .. })), "{refused:?}");
        return None;
    };
    let gemm = Gemm::new(x, layer.weights()).a_zero(params.zero_point);
    let mut scales = vec![0.0; n];
    product_scales(params.scale, layer.weight_scales(), &mut scales).expect("the layer has checked them");
    let stage = description.float_stage(Dequantize::new(&scales).expect("they are scales"));
    compare("layer", &place, &y, |y| layer.run_f32(x, y), |y| reference::run_f32(&gemm, y, stage));
    let Some((_, output)) = description.output.filter(|(element, _)| *element == T::TYPE) else {
        let refused = layer.run_requantized(x, place.view_mut(&mut bytes).ok()?);
        assert!(matches!(refused, Err(Error::Missing { .. } | Error::Element { .. })), "{refused:?}");
        return None;
    };
    let table = description.activation.map(|activation| {
        let before = description.before_activation.expect("the layer was built");
        Table::<T>::activation(activation, before, output).expect("the layer was built")
    });
    let stored = if table.is_some() { description.before_activation? } else { output };
    requantize_scales(params.scale, layer.weight_scales(), stored.scale, &mut scales)
        .expect("the layer was built");
    let mut stage = Requantize::new(&scales, stored.zero_point).expect("the layer was built");
    if description.relu6 {
        stage = stage.relu6(stored.scale).expect("the layer was built");
    } else if description.relu {
        stage = stage.relu();
    }
    if let Some(table) = &table {
        stage = stage.table(table);
    }
    let mut sums = vec![0; n];
    let gemm = match &description.bias {
        Some(bias) => {
            quantize_bias(bias, params.scale, layer.weight_scales(), &mut sums).expect("the layer was built");
            gemm.bias(&sums)
        }
        None => gemm,
    };
    let run = |y: MatMut<'_, T>| layer.run_requantized(x, y);
    compare("layer to 8 bits", &place, &bytes, run, |y| reference::run_requantized(&gemm, y, stage))?;
    Some(())
}
