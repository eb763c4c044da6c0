use super::*;
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
