use super::*;
use crate::launch::EngineKind;
use crate::scenario::parse_records;

fn one(text: &str) -> Record {
    let mut records = parse_records("f.json", text).unwrap();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

#[test]
fn that_tools_results_read_and_write() {
    let text = r#"{"date":"x","backend":"vllm","model_id":"m","tokenizer_id":"m","num_prompts":2,
        "request_rate":"inf","burstiness":1.0,"max_concurrency":null,"duration":2.0,"completed":2,"failed":0,
        "total_input_tokens":20,"total_output_tokens":6,"request_throughput":1.0,"output_throughput":3.0,
        "mean_ttft_ms":110.0,"input_lens":[10,10],"output_lens":[3,3],"ttfts":[0.1,0.12],
        "itls":[[0.01,0.02],[0.01,0.01]],"start_times":[5.0,5.5],"generated_texts":["a","b"],"errors":["",""]}"#;
    let record = one(text);
    let w = record.workload.clone().unwrap();
    assert_eq!((w.dataset, w.input_len, w.output_len), (Dataset::Random, Some(10), Some(3)));
    let rows = record.requests.clone().unwrap();
    assert_eq!((rows[1].arrival_s, rows[1].ttft_s), (0.5, Some(0.12)));
    assert!((rows[0].e2e_s.unwrap() - 0.13).abs() < 1e-12);
    assert_eq!(record.result.as_ref().unwrap().get(Key::MeanTtftMs), Some(110.0));
    let again = one(&to_vllm_json(&record).to_string());
    assert_eq!(again.result, record.result);
    assert_eq!(again.requests, record.requests);
    assert!(parse_records("f", r#"{"completed":"x","request_throughput":1,"duration":1}"#).is_err());
}

#[test]
fn aiperf_and_guidellm_results_read() {
    let record = one(
        r#"{"request_throughput":{"unit":"requests/sec","avg":4.0},"request_count":{"unit":"requests","avg":40},
            "request_latency":{"unit":"ms","avg":900.0,"p99":1200.0,"std":5.0},
            "time_to_first_token":{"unit":"ms","avg":100.0,"p50":99.0},
            "inter_token_latency":{"unit":"ms","avg":10.0},"output_sequence_length":{"unit":"tokens","avg":64.0}}"#,
    );
    let m = record.result.unwrap();
    assert_eq!((m.get(Key::MeanTpotMs), m.get(Key::MeanItlMs)), (Some(10.0), None));
    assert_eq!((m.get(Key::Duration), m.get(Key::TotalOutputTokens)), (Some(10.0), Some(2560.0)));
    assert_eq!((m.get(Key::P99E2elMs), m.get(Key::MedianTtftMs)), (Some(1200.0), Some(99.0)));
    let record = one(r#"{"benchmarks":[{"duration":30.0,"metrics":{
            "request_totals":{"successful":90,"errored":10,"incomplete":0,"total":100},
            "requests_per_second":{"successful":{"mean":3.0}},
            "request_latency":{"successful":{"mean":1.5,"percentiles":{"p99":2.5}}},
            "time_per_output_token_ms":{"successful":{"mean":99.0}},
            "inter_token_latency_ms":{"successful":{"mean":12.0}},
            "output_token_count":{"successful":{"mean":10.0}}}}]}"#);
    let m = record.result.unwrap();
    assert_eq!((m.get(Key::MeanTpotMs), m.get(Key::P99E2elMs)), (Some(12.0), Some(2500.0)));
    assert_eq!((m.get(Key::RequestLossRate), m.get(Key::TotalOutputTokens)), (Some(0.1), Some(900.0)));
    assert!(parse_records("f", r#"{"benchmarks":[{}]}"#).is_err());
}

fn of(file: &str, text: &str) -> Result<Vec<Record>, String> {
    crate::scenario::load_text(file, text).map(|l| l.records).map_err(|e| e.to_string())
}

#[test]
fn requests_of_aiperf_one_a_line() {
    let line = |phase: &str, start: u64, end: u64, error: &str| {
        format!(
            r#"{{"metadata":{{"request_start_ns":{start},"request_end_ns":{end},"benchmark_phase":"{phase}","was_cancelled":false}},"metrics":{{"input_sequence_length":{{"value":100,"unit":"tokens"}},"output_sequence_length":{{"value":3,"unit":"tokens"}},"time_to_first_token":{{"value":31.5,"unit":"ms"}},"request_latency":{{"value":71.5,"unit":"ms"}},"inter_chunk_latency":{{"value":[18,22],"unit":"ms"}}}},"error":{error}}}"#
        )
    };
    let text = [
        line("warmup", 1, 2, "null"),
        line("profiling", 1_000_000_000, 1_071_500_000, "null"),
        line("profiling", 1_500_000_000, 3_000_000_000, r#"{"error_type":"Timeout"}"#),
    ]
    .join("\n");
    let records = of("profile_export.jsonl", &text).unwrap();
    let r = &records[0];
    let m = r.result.as_ref().unwrap();
    assert_eq!((records.len(), m.get(Key::Completed), m.get(Key::Failed)), (1, Some(1.0), Some(1.0)));
    assert!((m.get(Key::MeanTpotMs).unwrap() - 20.0).abs() < 1e-9);
    assert!((m.get(Key::Duration).unwrap() - 2.0).abs() < 1e-9);
    let rows = r.requests.as_ref().unwrap();
    assert_eq!((rows[1].arrival_s, rows[1].error.as_deref()), (0.5, Some("Timeout")));
    assert!(r.note.as_deref().unwrap().contains("1 requests of the warm-up"));
}

#[test]
fn a_report_of_llmd_says_launch_and_units() {
    let text = "version: '0.2'\nrun: {time: {duration: PT1M40S}}\nscenario:\n  stack:\n  - metadata: {kind: inference_engine}\n    \
                standardized:\n      tool: vllm\n      model: {name: Qwen/Qwen3-8B}\n      accelerator: {model: NVIDIA-H100-80GB-HBM3, count: 2, \
                parallelism: {dp: 1, ep: 1, pp: 1, tp: 2}}\n    native:\n      args: {--tensor-parallel-size: 2, --max-num-seqs: 64, --enforce-eager: null}\n  \
                load:\n    standardized: {tool: inference-perf, rate_qps: 10, concurrency: .inf}\nresults:\n  request_performance:\n    \
                aggregate:\n      requests: {total: 500, failures: 100, input_length: {mean: 1000.0}, output_length: {mean: 50.0}}\n      \
                latency:\n        time_to_first_token: {units: s, mean: 0.25, p50: 0.2, p99: 0.9}\n        time_per_output_token: {units: ms/token, mean: 30}\n      \
                throughput: {request_rate: {mean: 4.0}, output_token_rate: {mean: 200.0}}\n";
    let r = &of("br.yaml", text).unwrap()[0];
    assert_eq!(
        r.serve_command.as_deref(),
        Some("vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2 --max-num-seqs 64 --enforce-eager")
    );
    assert_eq!((r.hardware.as_deref(), r.num_gpus), (Some("NVIDIA-H100-80GB-HBM3"), Some(2)));
    let m = r.result.as_ref().unwrap();
    assert_eq!(
        (m.get(Key::MeanTtftMs), m.get(Key::MedianTtftMs), m.get(Key::MeanTpotMs)),
        (Some(250.0), Some(200.0), Some(30.0))
    );
    assert_eq!((m.get(Key::Completed), m.get(Key::Duration)), (Some(400.0), Some(100.0)));
    let w = r.workload.as_ref().unwrap();
    assert_eq!((w.input_len, w.output_len, w.max_concurrency), (Some(1000), Some(50), None));
    let split = text.replace("tool: vllm\n", "tool: vllm\n      role: prefill\n").replace(
        "  load:\n",
        "  - metadata: {kind: inference_engine}\n    standardized: {tool: vllm, role: decode}\n  load:\n",
    );
    assert!(of("br.yaml", &split).unwrap_err().contains("disaggregated"));
}

#[test]
fn requests_of_inference_perf_give_a_run() {
    let text = r#"[{"start_time":10.0,"end_time":12.0,"request":"x","response":"y","info":{"input_tokens":7,"output_tokens":3,"output_token_times":[10.5,11.0,12.0]},"error":null},
                   {"start_time":10.25,"end_time":11.0,"info":{"input_tokens":9,"output_tokens":0},"error":{"error_type":"Timeout"}}]"#;
    let r = &of("per_request_lifecycle_metrics.json", text).unwrap()[0];
    let rows = r.requests.as_ref().unwrap();
    assert_eq!((rows[0].ttft_s, rows[0].e2e_s, rows[1].arrival_s), (Some(0.5), Some(2.0), 0.25));
    assert_eq!(r.result.as_ref().unwrap().get(Key::MeanTpotMs), Some(750.0));
}

#[test]
fn a_table_with_a_clear_mapping_reads_and_another_says_why_not() {
    let text = "Model,GPU,Engine,TP,ISL,OSL,Concurrency,Output tok/s,TTFT p50 (ms),mean_tpot_s,comment\n\
                Qwen/Qwen3-8B,h100,vLLM,2,1000,100,32,1500.5,80,0.02,hello\n";
    let r = &of("runs.csv", text).unwrap()[0];
    assert_eq!(r.serve_command.as_deref(), Some("vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2"));
    let m = r.result.as_ref().unwrap();
    assert_eq!(
        (m.get(Key::OutputThroughput), m.get(Key::MedianTtftMs), m.get(Key::MeanTpotMs)),
        (Some(1500.5), Some(80.0), Some(20.0))
    );
    assert_eq!(r.workload.as_ref().unwrap().max_concurrency, Some(32));
    assert!(r.note.as_deref().unwrap().contains("comment"));
    assert!(of("x.csv", "model,ttft\na,3\n").unwrap_err().contains("no unit is known of ttft"));
    assert!(of("x.csv", "a,b\n1,2\n").unwrap_err().contains("no column is a result of serving"));
    // vllm bench sweep's summary: the tool's own keys.
    let swept = ",completed,duration,request_throughput,mean_ttft_ms,total_input_tokens,total_output_tokens,max_num_seqs\n\
                 0,10,2.0,5.0,30.5,1000,100,64\n";
    let r = &of("summary.csv", swept).unwrap()[0];
    assert_eq!(r.source.as_deref(), Some("vllm bench serve"));
    assert_eq!(r.result.as_ref().unwrap().extra["max_num_seqs"], 64.0);
    let aiperf = "Metric,avg,min,p50\nRequest Latency (ms),900,1,2\nTime to First Token (ms),\"1,100.5\",1,99\n\n\
                  Metric,Value\nRequest Throughput (requests/sec),4\nRequest Count,40\n";
    let r = &of("profile_export_aiperf.csv", aiperf).unwrap()[0];
    assert_eq!(r.result.as_ref().unwrap().get(Key::MeanTtftMs), Some(1100.5));
}

#[test]
fn a_printed_table_and_other_peoples_files() {
    let printed = "============ Serving Benchmark Result ============\nBackend:  sglang\nTraffic request rate: 4.0\n\
                   Successful requests: 100\nBenchmark duration (s): 25.0\nTotal input tokens: 1000\nTotal generated tokens: 500\n\
                   Total generated tokens (retokenized): 499\nMean E2E Latency (ms): 900.5\nMean TTFT (ms): 70.25\n==================================================\n";
    let r = &of("run.log", printed).unwrap()[0];
    assert_eq!((r.source.as_deref(), r.engine), (Some("sglang.bench_serving"), Some(EngineKind::Sglang)));
    assert_eq!(r.result.as_ref().unwrap().get(Key::MeanE2elMs), Some(900.5));
    // A table without the number of requests is a table, and one without any figure is told as such.
    let of_model = "vllm serve org/m -tp 2\nvllm bench serve --model m\n============ Serving Benchmark Result ============\n\
                    Output token throughput (tok/s): 40.5\nMean TTFT (ms): 70.25\n";
    let r = &of("run.txt", of_model).unwrap()[0];
    let figures = r.result.as_ref().unwrap();
    assert_eq!((figures.get(Key::Completed), figures.get(Key::OutputThroughput)), (None, Some(40.5)));
    assert_eq!((r.model.as_deref(), r.launch().integer(&["tp"])), (Some("org/m"), Some(2)));
    assert!(of("x.log", "= Serving Benchmark Result =\nnothing").unwrap_err().contains("holds no figure"));
    assert!(of("x.log", "no such table").unwrap_err().contains("Serving Benchmark Result"));
    assert!(of("x.json", r#"{"avg_latency":1,"latencies":[1]}"#).unwrap_err().contains("vllm bench latency"));
    assert!(of("x.yaml", "a: [1").unwrap_err().contains("not YAML"));
    let mixed = r#"[{"completed":1,"duration":1,"request_throughput":1},{"x":1}]"#;
    assert!(of("x.json", mixed).unwrap_err().contains("[1]: is no run of vllm bench serve"));
}

#[test]
fn what_a_tool_did_not_see_is_missing_and_not_zero() {
    let line = r#"{"backend":"sglang","dataset_name":"random","duration":10.0,"completed":20,"total_input_tokens":2000,"total_output_tokens":1000,
        "mean_e2e_latency_ms":900.0,"mean_ttft_ms":0.0,"median_ttft_ms":0.0,"mean_itl_ms":0.0,"mean_tpot_ms":9.0}"#;
    let r = &of("x.jsonl", &line.replace('\n', "")).unwrap()[0];
    let m = r.result.as_ref().unwrap();
    let seen = [Key::MeanTtftMs, Key::MedianTtftMs, Key::MeanItlMs, Key::MeanTpotMs].map(|k| m.get(k));
    assert_eq!((seen, m.get(Key::MeanE2elMs)), ([None; 4], Some(900.0)));
    assert!(r.note.as_deref().is_some_and(|n| n.contains("without a stream")), "{:?}", r.note);
    let streamed = line.replace('\n', "").replace("\"mean_ttft_ms\":0.0", "\"mean_ttft_ms\":70.0");
    let m = of("x.jsonl", &streamed).unwrap()[0].result.clone().unwrap();
    assert_eq!((m.get(Key::MeanTtftMs), m.get(Key::MeanTpotMs)), (Some(70.0), Some(9.0)));
    // One over the throughput of 900 tokens a second is no time of a request's token.
    let summary = |tpot: &str| {
        format!(
            "Benchmarking summary:\n Time taken for tests: 20 seconds\n Number of concurrency: 128\n Succeed requests: 100\n\
             Average output tokens per request: 180\n Average time to first token: 2.701\n Average time per output token: {tpot}\n"
        )
    };
    let tpot = |text: &str| of("x.txt", text).unwrap()[0].result.as_ref().unwrap().get(Key::MeanTpotMs);
    assert_eq!((tpot(&summary("0.00111")), tpot(&summary("0.0625"))), (None, Some(62.5)));
}

#[test]
fn tables_as_pages_and_logs_leave_them() {
    let quoted = "> ============ Serving   Benchmark Result ============\n> Backend:     sglang\n> Successful requests:   32\n> Benchmark duration (s):   89.02\n\
                  > Total generated tokens   (retokenized):    28932\n> Output token throughput (tok/s):   324.99\n> Peak output token throughput   (tok/s):    372.00\n\
                  > ---------------Time to First   Token----------------\n> Mean TTFT (ms):    385.19\n";
    let m = of("x.txt", quoted).unwrap()[0].result.clone().unwrap();
    assert_eq!((m.get(Key::OutputThroughput), m.get(Key::MeanTtftMs)), (Some(324.99), Some(385.19)));
    let run = |requests: u32, rest: &str| {
        format!(
            "trtllm-bench --model org/m throughput\n= REQUEST DETAILS\nNumber of requests:  {requests}\nAverage Input Length (tokens): 1024.0\n\
             Average Output Length (tokens): 1000.0\n= PERFORMANCE OVERVIEW\nRequest Throughput (req/sec):  5.0\n\
             Total Output Throughput (tokens/sec):  5000.0\n{rest}"
        )
    };
    let duration = |text: &str| -> Vec<Option<f64>> {
        of("x.log", text).unwrap().iter().map(|r| r.result.as_ref().unwrap().get(Key::Duration)).collect()
    };
    // The first is cut behind its rates.
    assert_eq!(duration(&run(100, "")), [Some(20.0)]);
    let both = run(100, "Total Latency (ms):  21000.0\n") + &run(10, "Total Latency (ms):  2100.0\n");
    assert_eq!(duration(&both), [Some(21.0), Some(2.1)]);
}
