//! Parameters survive serialization, and what is no multiplier is refused.

use qgemm::{Activation, ElementType, Multiplier, QuantParams, Rounding};
use serde_json::{from_str, to_string};

#[test]
fn parameters_are_what_they_were() {
    for params in [
        QuantParams { scale: 0.1, zero_point: -3 },
        QuantParams { scale: f32::MIN_POSITIVE, zero_point: i32::MAX },
    ] {
        assert_eq!(from_str::<QuantParams>(&to_string(&params).unwrap()).unwrap(), params);
    }
    assert_eq!(
        to_string(&QuantParams { scale: 0.5, zero_point: 7 }).unwrap(),
        r#"{"scale":0.5,"zero_point":7}"#
    );
    for real in [0.0, 1e-9, 0.3, 1e6] {
        let multiplier = Multiplier::from_real(real).unwrap();
        assert_eq!(from_str::<Multiplier>(&to_string(&multiplier).unwrap()).unwrap(), multiplier);
    }
    for activation in Activation::ALL {
        assert_eq!(from_str::<Activation>(&to_string(&activation).unwrap()).unwrap(), activation);
    }
    assert_eq!(
        to_string(&(Activation::GeluTanh, ElementType::I8, Rounding::Ruy)).unwrap(),
        r#"["gelu_tanh","i8","ruy"]"#
    );
    assert_eq!(from_str::<ElementType>("\"u8\"").unwrap(), ElementType::U8);
    assert_eq!(from_str::<Rounding>("\"gemmlowp\"").unwrap(), Rounding::Gemmlowp);
}

#[test]
fn what_is_no_multiplier_is_refused() {
    let error = from_str::<Multiplier>(r#"{"m":5,"shift":0}"#).unwrap_err().to_string();
    assert!(error.starts_with("multiplier: was 5, must be in 1073741824..=2147483647"), "{error}");
    let error = from_str::<Multiplier>(r#"{"m":1073741824,"shift":31}"#).unwrap_err().to_string();
    assert!(error.starts_with("shift: was 31, must be in -31..=30"), "{error}");
}
