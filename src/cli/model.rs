//! `dyno model NAME…`: a model as it is read: layers by kind, parameters and bytes by part, cache and state.

use super::out;
use crate::error::Result;
use crate::model::{self, Division, Model, Params};
use crate::units::Bytes;
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Show what a model is made of: kinds of layers, parameters, weights, KV cache and state.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    /// Hub names, or directories with config.json
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    /// Ranks of tensor parallelism for the figures by rank
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    tp: u32,
    /// Print JSON: an array, one item a model, with `error` where it cannot be read
    #[arg(long)]
    json: bool,
    /// Directory with hardware/, models/, search-spaces/ that add to or replace the embedded ones
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

pub(super) fn run(args: &ModelArgs) -> Result<()> {
    let catalog = model::Catalog::load(args.data_dir.as_deref())?;
    if args.json {
        let all = args.models.iter().map(|name| match catalog.find(name) {
            Ok(m) => to_json(name, &m, args.tp),
            Err(e) => json!({"model": name, "error": e.to_string()}),
        });
        out::line(serde_json::to_string_pretty(&all.collect::<Vec<Value>>()).unwrap_or_default());
        return Ok(());
    }
    for name in &args.models {
        out::line(text(&catalog.find(name)?, args.tp));
    }
    Ok(())
}

fn parts(p: &Params) -> Vec<(&'static str, u64)> {
    vec![
        ("embedding", p.embedding),
        ("embeddings by layer", p.per_layer_embedding),
        ("attention", p.attention),
        ("state mixers", p.state),
        ("dense FFN", p.dense_ffn),
        ("routed experts", p.experts),
        ("shared experts", p.shared_experts),
        ("router", p.router),
        ("output head", p.lm_head),
        ("other", p.other),
        ("towers", p.towers),
    ]
}

fn to_json(name: &str, m: &Model, tp: u32) -> Value {
    let (p, kv) = (m.params(), m.kv_per_token(2.0));
    let rank = m.rank_share(&Division::tensor(tp), 2.0, 2.0);
    json!({
        "model": name,
        "architecture": m.architecture,
        "params": p.total(),
        "params_active": m.params_active(),
        "params_towers": p.towers,
        "params_mtp": m.mtp_params(),
        "params_by_part": parts(&p).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "weight_bytes": m.weight_bytes(),
        "precision": m.precision,
        "quantisation": m.quantisation,
        "kv_bytes_per_token": kv.full + kv.sliding,
        "kv_bytes_per_token_full": kv.full,
        "kv_bytes_per_token_window": kv.sliding,
        "window": kv.window,
        "state_bytes_per_sequence": m.state_bytes(2.0),
        "layers": m.runs().map(|(n, l)| json!({"count": n, "kind": l.kind()})).collect::<Vec<_>>(),
        "max_position": m.max_position,
        "rank": {"tensor": tp, "weight_bytes": rank.weight_bytes, "kv_bytes_per_token": rank.kv.full + rank.kv.sliding,
            "problems": m.division_problems(&Division::tensor(tp))},
        "caveats": m.caveats,
        "note": m.note,
        "source": m.source,
    })
}

fn text(m: &Model, tp: u32) -> String {
    let (p, w) = (m.params(), m.weight_parts());
    let giga = |n: u64| format!("{:.3}", n as f64 / 1e9);
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["part", "G parameters", "bytes"]);
    for ((name, n), (_, bytes)) in parts(&p).into_iter().zip(parts(&w)).filter(|((_, n), _)| *n > 0) {
        table.add_row([name.to_owned(), giga(n), Bytes(bytes).to_string()]);
    }
    let mut kinds: Vec<(String, u32)> = Vec::new();
    for (n, l) in m.runs() {
        match kinds.iter_mut().find(|(k, _)| *k == l.kind()) {
            Some((_, all)) => *all += n,
            None => kinds.push((l.kind(), n)),
        }
    }
    let kinds = kinds.into_iter().map(|(k, n)| format!("{n} x {k}")).collect::<Vec<_>>().join(", ");
    let (kv, rank) = (m.kv_per_token(2.0), m.rank_share(&Division::tensor(tp), 2.0, 2.0));
    let mut lines = vec![
        format!("{}: {}", m.id, m.architecture),
        format!("layers: {kinds}"),
        format!(
            "{} G parameters{}, {} G active a token",
            giga(p.total()),
            if p.towers > 0 { format!(" and {} G of towers", giga(p.towers)) } else { String::new() },
            giga(m.params_active())
        ),
        table.to_string(),
        format!("weights in {}: {}", m.precision, Bytes(m.weight_bytes())),
        format!(
            "KV cache (16 bits): {} bytes a token, {} of them in windows of {}; state {} bytes a sequence",
            kv.full + kv.sliding,
            kv.sliding,
            kv.window.unwrap_or(0),
            m.state_bytes(2.0)
        ),
        format!(
            "one rank of {tp}: weights {}, KV {} bytes a token",
            Bytes(rank.weight_bytes as u64),
            rank.kv.full + rank.kv.sliding
        ),
    ];
    lines.extend(
        m.division_problems(&Division::tensor(tp)).into_iter().map(|p| format!("cannot be divided so: {p}")),
    );
    lines.extend(m.quantisation.notes.iter().chain(&m.caveats).map(|c| format!("note: {c}")));
    lines.extend((m.mtp_params() > 0).then(|| {
        format!(
            "multi-token prediction: {} G parameters more, loaded only for speculative decoding",
            giga(m.mtp_params())
        )
    }));
    lines.extend(Some(&m.note).filter(|n| !n.is_empty()).map(|n| format!("note: {n}")));
    lines.extend(
        Some(&m.source).filter(|s| Path::new(s).file_name().is_some()).map(|s| format!("source: {s}")),
    );
    lines.join("\n")
}
