//! What candle gets from the layers.

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Module, Result, Tensor};
use qgemm::{DynamicGemm, MatMut, MatRef, PackedB, quantize_columns};
use qgemm_candle::QgemmLinear;

const K: usize = 96;
const N: usize = 40;

/// Values that repeat nowhere near, between -1 and 1.
fn tensor(dims: &[usize], step: f32) -> Result<Tensor> {
    let count = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i as f32 * step).sin()).collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

fn weights() -> Result<Tensor> {
    tensor(&[N, K], 0.737)
}

fn greatest(t: &Tensor) -> Result<f32> {
    t.abs()?.flatten_all()?.max(0)?.to_scalar()
}

fn values(t: &Tensor) -> Result<Vec<f32>> {
    t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

/// Every kind of layer, and the weights that it multiplies by.
fn layers(bias: Option<&Tensor>) -> Result<Vec<(QgemmLinear, Tensor)>> {
    let w = weights()?;
    let mut layers = vec![(QgemmLinear::int8(&w, bias)?, w.clone())];
    for kind in [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q8_0] {
        let w = QTensor::quantize(&w, kind)?;
        layers.push((QgemmLinear::gguf(&w, bias)?, w.dequantize(&Device::Cpu)?));
    }
    Ok(layers)
}

#[test]
fn outputs_are_near_those_of_the_weights_in_f32() -> Result<()> {
    let (x, bias) = (tensor(&[7, K], 0.311)?, tensor(&[N], 2.3)?);
    for bias in [None, Some(&bias)] {
        for (layer, w) in layers(bias)? {
            let mut expected = x.matmul(&w.t()?)?;
            if let Some(bias) = bias {
                expected = expected.broadcast_add(bias)?;
            }
            let y = layer.forward(&x)?;
            assert_eq!(y.dims(), [7, N]);
            let distance = greatest(&(&y - &expected)?)? / greatest(&expected)?;
            // Steps of 1/127 of the greatest value in x, and for int8 in w too; terms cancel each other.
            assert!(distance < 0.04, "{distance}");
        }
    }
    Ok(())
}

/// An int8 layer is `quantize_columns` and `DynamicGemm`, to the bit.
#[test]
fn an_int8_layer_is_the_library_s_product() -> Result<()> {
    let (x, w) = (tensor(&[7, K], 0.311)?, weights()?);
    let (w_values, x_values) = (values(&w)?, values(&x)?);
    let (mut codes, mut scales, mut c) = ([0i8; K * N], [0f32; N], [0f32; 7 * N]);
    let w_view = MatRef::row_major(&w_values, N, K).unwrap().transpose();
    quantize_columns(w_view, MatMut::row_major(&mut codes, K, N).unwrap(), &mut scales).unwrap();
    let b = PackedB::pack(MatRef::row_major(&codes, K, N).unwrap()).unwrap();
    DynamicGemm::new(MatRef::row_major(&x_values, 7, K).unwrap(), &b)
        .run_f32(MatMut::row_major(&mut c, 7, N).unwrap(), qgemm::Dequantize::dynamic(&scales).unwrap())
        .unwrap();
    assert_eq!(values(&QgemmLinear::int8(&w, None)?.forward(&x)?)?, c);
    Ok(())
}

/// It quantizes x as candle's does not, but to the same number of bits.
#[test]
fn a_gguf_layer_is_near_candle_s() -> Result<()> {
    let x = tensor(&[7, K], 0.311)?;
    for kind in [GgmlDType::Q4_0, GgmlDType::Q8_0] {
        let w = QTensor::quantize(&weights()?, kind)?;
        let y = QgemmLinear::gguf(&w, None)?.forward(&x)?;
        let expected = QMatMul::from_qtensor(w)?.forward(&x)?;
        let distance = greatest(&(&y - &expected)?)? / greatest(&expected)?;
        assert!(distance < 0.02, "{distance}");
    }
    Ok(())
}

#[test]
fn x_may_have_any_leading_dimensions_and_strides() -> Result<()> {
    for (layer, _) in layers(None)? {
        let x = tensor(&[2, 3, 5, K], 0.311)?;
        let y = layer.forward(&x)?;
        assert_eq!(y.dims(), [2, 3, 5, N]);
        // Each row is the same alone.
        for (i, j, l) in [(0, 0, 0), (1, 2, 4), (1, 0, 3)] {
            let row = layer.forward(&x.get(i)?.get(j)?.get(l)?)?;
            assert_eq!(row.dims(), [N]);
            assert_eq!(values(&row)?, values(&y.get(i)?.get(j)?.get(l)?)?);
        }
        // Dimensions exchanged; a matrix that is transposed, a part of one, one row for all.
        let exchanged = layer.forward(&x.transpose(0, 2)?)?;
        assert_eq!(values(&exchanged)?, values(&y.transpose(0, 2)?.contiguous()?)?);
        let matrix = tensor(&[K + 4, 9], 0.311)?;
        for strided in [matrix.narrow(0, 3, K)?.t()?, matrix.narrow(0, 2, K)?.narrow(1, 2, 5)?.t()?] {
            assert!(!strided.is_contiguous());
            assert_eq!(values(&layer.forward(&strided)?)?, values(&layer.forward(&strided.contiguous()?)?)?);
        }
        let row = tensor(&[1, K], 0.311)?;
        let same = layer.forward(&row.broadcast_as((4, K))?)?;
        assert_eq!(values(&same)?, values(&layer.forward(&row)?)?.repeat(4));
        let none = layer.forward(&x.narrow(0, 0, 0)?)?;
        assert_eq!(none.dims(), [0, 3, 5, N]);
    }
    Ok(())
}

#[test]
fn x_may_be_of_16_bits() -> Result<()> {
    for (layer, _) in layers(None)? {
        for dtype in [DType::F16, DType::BF16] {
            let x = tensor(&[6, K], 0.311)?.to_dtype(dtype)?;
            let y = layer.forward(&x)?;
            assert_eq!(y.dtype(), dtype);
            let expected = layer.forward(&x.to_dtype(DType::F32)?)?.to_dtype(dtype)?;
            assert_eq!(values(&y)?, values(&expected)?);
        }
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() -> Result<()> {
    let message = |result: Result<_>| result.map(|_: Tensor| ()).unwrap_err().to_string();
    for (layer, _) in layers(None)? {
        let error = message(layer.forward(&tensor(&[2, K + 1], 0.3)?));
        assert!(error.contains("x: is of shape [2, 97], must end with 96"), "{error}");
        let error = message(layer.forward(&Tensor::zeros((2, K), DType::F64, &Device::Cpu)?));
        assert!(error.contains("x: must be of f32, f16 or bf16"), "{error}");
        let error = message(layer.forward(&Tensor::full(f32::NAN, (2, K), &Device::Cpu)?));
        assert!(error.contains("a: element (0, 0) was NaN, must be finite"), "{error}");
    }
    let built = |result: Result<QgemmLinear>| result.map(|_| ()).unwrap_err().to_string();
    let long = tensor(&[N + 1], 0.3)?;
    let error = built(QgemmLinear::int8(&weights()?, Some(&long)));
    assert!(error.contains("bias: has 41 values, must have 40"), "{error}");
    let w = QTensor::quantize(&weights()?, GgmlDType::Q8_0)?;
    let error = built(QgemmLinear::gguf(&w, Some(&long)));
    assert!(error.contains("bias: has 41 values, must have 40"), "{error}");
    let w = QTensor::quantize(&weights()?, GgmlDType::Q5_0)?;
    let error = built(QgemmLinear::gguf(&w, None));
    assert!(error.contains("w: is of Q5_0, must be of Q4_0, Q4_1 or Q8_0"), "{error}");
    let error = built(QgemmLinear::int8(&tensor(&[N, K, 1], 0.3)?, None));
    assert!(error.contains("unexpected rank"), "{error}");
    Ok(())
}
