//! Precision of the weights: which parts it covers and what a parameter costs there.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Precision of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    Fp32,
    Bf16,
    Fp16,
    Fp8,
    Int8,
    Int4,
    /// gpt-oss: MXFP4 experts, bf16 elsewhere.
    Mxfp4,
    Nvfp4,
    Fp4,
}

impl Precision {
    pub const ALL: [Precision; 9] = [
        Precision::Fp32,
        Precision::Bf16,
        Precision::Fp16,
        Precision::Fp8,
        Precision::Int8,
        Precision::Int4,
        Precision::Mxfp4,
        Precision::Nvfp4,
        Precision::Fp4,
    ];

    pub fn id(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Bf16 => "bf16",
            Precision::Fp16 => "fp16",
            Precision::Fp8 => "fp8",
            Precision::Int8 => "int8",
            Precision::Int4 => "int4",
            Precision::Mxfp4 => "mxfp4",
            Precision::Nvfp4 => "nvfp4",
            Precision::Fp4 => "fp4",
        }
    }

    /// Bytes a parameter of the layers it covers, scales and zero points included: int4 has a 16-bit scale
    /// and a 4-bit zero a group of 128, MXFP4 an 8-bit scale a 32, NVFP4 an 8-bit scale a 16.
    pub fn bytes(self) -> f64 {
        match self {
            Precision::Fp32 => 4.0,
            Precision::Bf16 | Precision::Fp16 => 2.0,
            Precision::Fp8 | Precision::Int8 => 1.0,
            Precision::Int4 => (4.0 + 20.0 / 128.0) / 8.0,
            Precision::Mxfp4 => 4.25 / 8.0,
            Precision::Nvfp4 | Precision::Fp4 => 4.5 / 8.0,
        }
    }

    /// Bytes a parameter of what stays in high precision: embeddings, head, router, norms.
    pub fn unquantised_bytes(self) -> f64 {
        if self == Precision::Fp32 { 4.0 } else { 2.0 }
    }

    /// Width of the matrix unit that the covered layers run on, bits, for [`Hardware::tflops`]: weight-only
    /// formats (int4, MXFP4 with 16-bit activations) compute in 16 bits.
    ///
    /// [`Hardware::tflops`]: crate::hardware::Hardware::tflops
    pub fn compute_bits(self) -> u32 {
        match self {
            Precision::Fp8 | Precision::Int8 => 8,
            Precision::Nvfp4 | Precision::Fp4 => 4,
            _ => 16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Precision {
    type Err = String;

    /// The ids, and the names that engines and quantisers use for them; case is ignored.
    fn from_str(s: &str) -> Result<Precision, String> {
        let lower = s.to_lowercase();
        if let Some(p) = Precision::ALL.into_iter().find(|p| p.id() == lower) {
            return Ok(p);
        }
        Ok(match lower.as_str() {
            "bfloat16" | "auto" => Precision::Bf16,
            "float16" | "half" => Precision::Fp16,
            "float32" | "float" => Precision::Fp32,
            "fp8_e4m3" | "float8" | "w8a8-fp8" | "fbgemm_fp8" | "modelopt" => Precision::Fp8,
            "w8a8" | "w8a16" => Precision::Int8,
            "awq" | "gptq" | "w4a16" | "awq_marlin" | "gptq_marlin" | "bitsandbytes" | "4bit" => {
                Precision::Int4
            }
            "mxfp" | "ocp_mxfp4" => Precision::Mxfp4,
            "modelopt_fp4" => Precision::Nvfp4,
            _ => {
                let known: Vec<&str> = Precision::ALL.iter().map(|p| p.id()).collect();
                return Err(format!("unknown precision `{s}`; known: {}", known.join(", ")));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_quantiser_names_parse() {
        for p in Precision::ALL {
            assert_eq!(p.id().parse(), Ok(p));
        }
        assert_eq!("AWQ".parse(), Ok(Precision::Int4));
        assert!("fp7".parse::<Precision>().unwrap_err().contains("mxfp4"));
    }
}
