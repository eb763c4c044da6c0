use super::*;

#[test]
fn the_first_specific_error_wins_over_the_last() {
    let log = "\
(EngineCore pid=7) INFO 11-22 01:18:04 [x.py:1] Starting to load model
(EngineCore pid=7) ERROR 11-22 01:18:05 [core.py:1] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-22 01:18:05 [core.py:1] ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
";
    let v = diagnose(log, None).unwrap();
    assert_eq!(v.class, Class::NoKvRoom);
    assert_eq!(v.engine, Some(EngineKind::Vllm));
    assert!(v.root_cause.starts_with("ValueError: No available memory"), "{}", v.root_cause);
    assert_eq!(v.line, Some(3));
}

#[test]
fn unknown_text_stays_unknown_with_its_excerpt() {
    let log = "INFO all well\nTraceback (most recent call last):\n  File \"x\", line 1\nZorkError: the frobnicator is full\n";
    let v = diagnose(log, None).unwrap();
    assert_eq!(v.class, Class::Unknown);
    assert_eq!(v.root_cause, "ZorkError: the frobnicator is full");
    assert_eq!(diagnose("INFO all well\n", None), None);
}

#[test]
fn a_bare_assertion_carries_the_asserted_line() {
    let log = "\
Traceback (most recent call last):
  File \"/x/vllm/y.py\", line 3, in f
    assert config.num_heads % tp_size == 0
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
AssertionError
";
    let v = diagnose(log, None).unwrap();
    assert_eq!(v.root_cause, "AssertionError: assert config.num_heads % tp_size == 0");
    assert_eq!((v.class, v.line), (Class::BadCombination, Some(5)));
}

#[test]
fn a_second_start_that_is_ready_outlives_the_failure_of_the_first() {
    let failed = "\
(APIServer pid=1) INFO 11-02 09:59:12 [api_server.py:1839] vLLM API server version 0.11.0
(EngineCore_DP0 pid=66) ERROR 11-02 10:00:01 [core.py:708] ValueError: No available memory for the cache blocks.
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.
";
    let banner =
        "(APIServer pid=1) INFO 11-02 10:01:12 [api_server.py:1839] vLLM API server version 0.11.0\n";
    let ready = "(APIServer pid=1) INFO:     Application startup complete.\n";
    assert_eq!(diagnose(&format!("{failed}{banner}{ready}"), None), None);
    // The second has only begun: the first one's failure is what there is to know.
    assert_eq!(diagnose(&format!("{failed}{banner}"), None).unwrap().class, Class::NoKvRoom);
    // The second fails otherwise.
    let other = "(APIServer pid=1) OSError: [Errno 98] Address already in use\n";
    assert_eq!(diagnose(&format!("{failed}{banner}{other}"), None).unwrap().class, Class::PortInUse);
}

#[test]
fn silence_before_readiness_is_told_with_its_stage() {
    let log = "\
(APIServer pid=1) INFO 11-02 10:01:12 [api_server.py:1839] vLLM API server version 0.11.0
(EngineCore_DP0 pid=68) INFO 11-02 10:01:30 [gpu_model_runner.py:2602] Starting to load model m...
Loading safetensors checkpoint shards:  12% Completed | 1/8 [00:05<00:38,  5.5s/it]
";
    let v = assess(&Excerpt::whole(log), None).unwrap();
    assert_eq!((v.class, v.phase_id(), v.line), (Class::NotReady, "weights", Some(3)));
    assert_eq!(diagnose(log, None), None, "a log that goes on may still become ready");
    let ready = format!("{log}INFO:     Application startup complete.\n");
    assert_eq!(assess(&Excerpt::whole(&ready), None), None);
}

#[test]
fn logs_of_other_programs_are_no_failures_of_an_engine() {
    for log in [
        "2025-11-02 10:00:00 UTC [1] LOG:  database system is ready\n2025-11-02 10:00:00 UTC [9] ERROR:  relation \"x\" does not exist\n2025-11-02 10:00:01 UTC [9] FATAL:  could not bind: Address already in use\n",
        "Collecting vllm==0.11.0\nERROR: pip's dependency resolver does not currently take into account all the packages that are installed.\nvllm 0.11.0 requires torch==2.8.0, but you have torch 2.9.0 which is incompatible.\nSuccessfully installed torch-2.9.0\n",
    ] {
        assert_eq!(assess(&Excerpt::whole(log), None), None, "{log}");
    }
}

#[test]
fn an_error_between_two_answered_requests_was_one_requests() {
    let ready = "(APIServer pid=1) INFO:     Application startup complete.\n";
    let error = "(APIServer pid=1) ERROR 11-02 10:00:01 [serving_chat.py:263] Traceback (most recent call last):\n(APIServer pid=1) ERROR 11-02 10:00:01 [serving_chat.py:263] ValueError: At most 1 image(s) may be provided in one prompt.\n";
    let refused = "INFO:     10.0.0.5:33111 - \"POST /v1/chat/completions HTTP/1.1\" 400 Bad Request\n";
    let answered = "INFO:     10.0.0.5:33112 - \"POST /v1/chat/completions HTTP/1.1\" 200 OK\n";
    assert_eq!(diagnose(&format!("{ready}{error}{answered}"), None), None);
    assert_eq!(diagnose(&format!("{ready}{error}{refused}"), None), None);
    assert!(diagnose(&format!("{ready}{error}"), None).is_some());
}
