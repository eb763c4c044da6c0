//! Which parts of a model are quantised, to what, and what a parameter of each part takes in memory.

use super::Precision;
use serde::Serialize;

/// How scales lie over a quantised matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Not quantised.
    None,
    /// One scale a matrix (static FP8 of modelopt).
    Tensor,
    /// One scale an output channel.
    Channel,
    /// One scale a block of rows x columns (DeepSeek's FP8: 128 x 128).
    Block(u32, u32),
    /// One scale a group of this many inputs.
    Group(u32),
}

/// A format of weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Format {
    pub precision: Precision,
    pub scheme: Scheme,
    /// Bits a parameter with scales and zero points.
    pub bits: f64,
}

impl Format {
    /// Weights as they are, without scales.
    pub fn plain(precision: Precision) -> Format {
        let bits = match precision {
            Precision::Fp32 => 32.0,
            Precision::Bf16 | Precision::Fp16 => 16.0,
            p => p.bytes() * 8.0,
        };
        Format { precision, scheme: Scheme::None, bits }
    }

    /// A quantised format; scales are 16 bits for integer groups, 32 for blocks, 8 for MX formats.
    pub fn quantised(precision: Precision, scheme: Scheme) -> Format {
        let element = match precision {
            Precision::Fp32 => 32.0,
            Precision::Bf16 | Precision::Fp16 => 16.0,
            Precision::Fp8 | Precision::Int8 => 8.0,
            _ => 4.0,
        };
        let scale = match (precision, scheme) {
            (_, Scheme::None | Scheme::Tensor | Scheme::Channel) => 0.0,
            (_, Scheme::Block(r, c)) => 32.0 / f64::from((r * c).max(1)),
            (Precision::Mxfp4 | Precision::Nvfp4 | Precision::Fp4, Scheme::Group(n)) => {
                8.0 / f64::from(n.max(1))
            }
            (_, Scheme::Group(n)) => 16.0 / f64::from(n.max(1)),
        };
        Format { precision, scheme, bits: element + scale }
    }

    pub fn bytes(&self) -> f64 {
        self.bits / 8.0
    }
}

/// One figure for each part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Parts<T> {
    pub embedding: T,
    pub lm_head: T,
    pub attention: T,
    pub state: T,
    pub dense_ffn: T,
    pub shared_experts: T,
    pub experts: T,
    pub router: T,
    pub towers: T,
    /// Norms, biases, projections between parts.
    pub other: T,
}

/// A part of the layers whose matrices may be quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Attention,
    State,
    DenseFfn,
    SharedExperts,
    Experts,
}

impl<T> Parts<T> {
    /// The figure of a part.
    pub fn of(&mut self, part: Part) -> &mut T {
        match part {
            Part::Attention => &mut self.attention,
            Part::State => &mut self.state,
            Part::DenseFfn => &mut self.dense_ffn,
            Part::SharedExperts => &mut self.shared_experts,
            Part::Experts => &mut self.experts,
        }
    }
}

impl<T: Copy> Parts<T> {
    pub fn all(value: T) -> Parts<T> {
        Parts {
            embedding: value,
            lm_head: value,
            attention: value,
            state: value,
            dense_ffn: value,
            shared_experts: value,
            experts: value,
            router: value,
            towers: value,
            other: value,
        }
    }
}

/// The quantisation of a model: a base type, a format, and the share of each part that the format covers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quantisation {
    /// Type of what is not covered.
    pub base: Precision,
    pub format: Format,
    /// Formats of parts that differ from it (DeepSeek-V4: experts in FP4 in an FP8 model; checkpoints of several groups).
    pub own: Parts<Option<Format>>,
    /// Share of each part's parameters that is covered, 0 to 1.
    pub covered: Parts<f64>,
    /// Type of the KV cache that the checkpoint asks for, where it does.
    pub kv_cache: Option<Precision>,
    /// What of the description could not be used.
    pub notes: Vec<String>,
}

impl Quantisation {
    /// What a precision means where nothing more is said: every matrix of the layers, but embeddings, head and
    /// router; MXFP4 covers the experts alone.
    pub fn of(precision: Precision) -> Quantisation {
        let base = match precision {
            Precision::Fp32 | Precision::Bf16 | Precision::Fp16 => precision,
            _ => Precision::Bf16,
        };
        let format = match precision {
            Precision::Fp32 | Precision::Bf16 | Precision::Fp16 => Format::plain(precision),
            Precision::Fp8 | Precision::Int8 => Format::quantised(precision, Scheme::Channel),
            // A 4-bit zero point beside each 16-bit scale.
            Precision::Int4 => {
                Format { bits: 4.0 + 20.0 / 128.0, ..Format::quantised(precision, Scheme::Group(128)) }
            }
            Precision::Mxfp4 => Format::quantised(precision, Scheme::Group(32)),
            Precision::Nvfp4 | Precision::Fp4 => Format::quantised(precision, Scheme::Group(16)),
        };
        let layers = if precision == Precision::Mxfp4 { 0.0 } else { 1.0 };
        Quantisation {
            base,
            format,
            own: Parts::default(),
            covered: Parts {
                attention: layers,
                state: layers,
                dense_ffn: layers,
                shared_experts: layers,
                experts: 1.0,
                ..Parts::default()
            },
            kv_cache: None,
            notes: Vec::new(),
        }
    }

    /// Bytes a parameter, by part.
    pub fn bytes(&self) -> Parts<f64> {
        let base = Format::plain(self.base).bytes();
        let of = |share: f64, own: Option<Format>| {
            share * own.unwrap_or(self.format).bytes() + (1.0 - share) * base
        };
        let (c, own) = (&self.covered, &self.own);
        Parts {
            embedding: of(c.embedding, own.embedding),
            lm_head: of(c.lm_head, own.lm_head),
            attention: of(c.attention, own.attention),
            state: of(c.state, own.state),
            dense_ffn: of(c.dense_ffn, own.dense_ffn),
            shared_experts: of(c.shared_experts, own.shared_experts),
            experts: of(c.experts, own.experts),
            router: of(c.router, own.router),
            towers: of(c.towers, own.towers),
            other: of(c.other, own.other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_count_their_scales() {
        assert_eq!(Format::quantised(Precision::Mxfp4, Scheme::Group(32)).bits, 4.25);
        assert_eq!(Format::quantised(Precision::Nvfp4, Scheme::Group(16)).bits, 4.5);
        assert_eq!(Format::quantised(Precision::Int4, Scheme::Group(32)).bits, 4.5);
        assert_eq!(Format::quantised(Precision::Fp8, Scheme::Block(128, 128)).bits, 8.0 + 32.0 / 16384.0);
        let q = Quantisation::of(Precision::Mxfp4).bytes();
        assert_eq!((q.attention, q.experts, q.lm_head), (2.0, 4.25 / 8.0, 2.0));
    }
}
