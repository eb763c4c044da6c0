//! Formats of quantised weights by the names that modelopt and compressed-tensors have for them.

use crate::model::Precision;
use crate::model::quantisation::{Format, Scheme};
use serde_json::Value;

/// The format of one of modelopt's algorithms.
pub(super) fn modelopt(algo: &str, group: Option<u32>) -> Option<(Precision, Format)> {
    let whole = |p: Precision, s: Scheme| Some((p, Format::quantised(p, s)));
    match algo.to_lowercase().as_str() {
        "fp8" => whole(Precision::Fp8, Scheme::Tensor),
        "fp8_pb_wo" | "fp8_block_scales" => whole(Precision::Fp8, Scheme::Block(128, 128)),
        "fp8_per_channel_per_token" => whole(Precision::Fp8, Scheme::Channel),
        "nvfp4" | "w4a16_nvfp4" | "nvfp4_awq" => whole(Precision::Nvfp4, Scheme::Group(group.unwrap_or(16))),
        "mxfp4" | "w4a8_mxfp4_fp8" | "w4a8_mxfp4_mxfp8" => whole(Precision::Mxfp4, Scheme::Group(32)),
        "mxfp8" => whole(Precision::Fp8, Scheme::Group(32)),
        "int8_sq" | "w8a8_sq_per_channel" | "w8a16" => whole(Precision::Int8, Scheme::Channel),
        "int4_awq" | "w4a16_awq" | "w4a8_awq" | "w4a16" => {
            whole(Precision::Int4, Scheme::Group(group.unwrap_or(128)))
        }
        _ => None,
    }
}

/// The format of the weights of a group of `config_groups`.
pub(super) fn of_group(w: &Value) -> Option<(Precision, Format)> {
    let number = |k: &str| w.get(k).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let group = number("group_size").filter(|n| *n > 0 && *n < 100_000);
    let scheme = match w.get("strategy").and_then(Value::as_str) {
        Some("tensor") => Scheme::Tensor,
        Some("block") => {
            let side = |i: usize| {
                w.get("block_structure")?.get(i)?.as_u64().map(|n| n as u32).filter(|n| *n > 0 && *n < 65_536)
            };
            Scheme::Block(side(0).unwrap_or(128), side(1).unwrap_or(128))
        }
        Some("group" | "tensor_group") => Scheme::Group(group.unwrap_or(128)),
        _ => group.map_or(Scheme::Channel, Scheme::Group),
    };
    let p = match (w.get("type").and_then(Value::as_str), number("num_bits")?) {
        (Some("float"), 8) => Precision::Fp8,
        (Some("float"), 4) if group == Some(32) => Precision::Mxfp4,
        (Some("float"), 4) => Precision::Nvfp4,
        (_, 8) => Precision::Int8,
        (_, 4) => Precision::Int4,
        _ => return None,
    };
    Some((p, Format::quantised(p, scheme)))
}
