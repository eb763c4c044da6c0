use super::*;

fn one(raw: &str) -> Line {
    lines(raw, 1).remove(0)
}

#[test]
fn prefixes_of_engines_and_collectors_are_dropped() {
    for line in [
        "(EngineCore pid=9) ERROR 11-22 01:18:08 [core.py:906] ValueError: x",
        "(VllmWorker rank=1 pid=2445156) ValueError: x",
        "(APIServer pid=1) (EngineCore_DP0 pid=439) ValueError: x",
        "(Worker pid=1360047) (Worker_TP1 pid=1360047) ERROR 03-05 09:56:09 [multiproc_executor.py:880] ValueError: x",
        "(RayWorkerWrapper pid=376, ip=10.130.0.62) ERROR 08-28 04:16:35 worker_base.py:465] ValueError: x",
        "ERROR 06-26 23:10:17 [async_llm.py:420] ValueError: x",
        "[2025-11-02 10:00:00 TP0] ValueError: x",
        "[01:03:58 TP6] ValueError: x",
        "[11/02/2025-10:00:00] [TRT-LLM] [E] ValueError: x",
        "[11/02/2025-10:00:00] [TRT-LLM] [RANK 3] [E] ValueError: x",
        "[TensorRT-LLM][ERROR] ValueError: x",
        "[03/27/2024-11:09:02] [TRT] [E] ValueError: x",
        "[rank0]: ValueError: x",
        "E1114 09:30:00.910920 6946 model_lifecycle.cc:621] ValueError: x",
        "2026-06-09T14:01:54.604Z (APIServer pid=4) ValueError: x",
        "2026-06-09T14:01:54.604123456Z stderr F ValueError: x",
        "2025-02-26 11:14:54,614 ERROR worker.py:1636 -- ValueError: x",
        "2025-06-21 01:30:39,698 - ERROR - flashinfer.jit: ValueError: x"
            .trim_start_matches("2025-06-21 01:30:39,698 - ERROR - flashinfer.jit: "),
        "Nov 22 10:00:00 gpu-1 vllm[2034]: ERROR 11-22 01:18:08 [core.py:906] ValueError: x",
        "[1,3]<stderr>:ValueError: x",
        "\x1b[1;36m(EngineCore pid=9)\x1b[0;0m ERROR 11-22 01:18:08 [core.py:906] ValueError: x",
        r#"{"log":"ValueError: x\n","stream":"stderr","time":"2026-06-09T14:01:54.604Z"}"#,
        "ValueError: x",
    ] {
        assert_eq!(one(line).text, "ValueError: x", "{line}");
        assert!(one(line).is_exception() && one(line).is_error(), "{line}");
    }
}

#[test]
fn the_name_of_a_container_is_dropped_where_most_lines_carry_one() {
    let log = "vllm-1  | INFO:     Started\nvllm-1  | WARNING 04-11 13:14:16 [x.py:21] ImportError('x')\nvllm-1  | ok";
    let all = lines(log, 1);
    assert_eq!(all[1].level, Level::Quiet);
    assert_eq!((all[1].text.as_str(), all[1].number), ("ImportError('x')", 2));
    // A compiler's excerpt is no container.
    assert_eq!(one("   21 | #include <cuda_fp8.h>").text, "21 | #include <cuda_fp8.h>");
}

#[test]
fn a_warning_that_mentions_an_error_is_none() {
    for line in [
        "(APIServer pid=1) WARNING 11-22 01:17:28 [u.py:2] errors like `OSError: [Errno 24] Too many open files`",
        "[2025-11-02 10:00:01] WARNING server_args.py:1104: RuntimeError: not raised",
        "[10/28/2025-14:01:13] [TRT-LLM] [W] CUDA out of memory may follow",
        "[TensorRT-LLM][WARNING] RuntimeError: x",
        "[rank0]:[W1012 09:14:36.204117208 ProcessGroupNCCL.cpp:1538] Warning: RuntimeError: x",
        "I0106 02:11:42.121321 1 model_lifecycle.cc:789] RuntimeError: x",
        "Nov 22 10:00:00 gpu-1 vllm[2034]: WARNING 11-22 01:18:08 [core.py:906] RuntimeError: x",
        "/usr/lib/python3.12/multiprocessing/resource_tracker.py:254: UserWarning: RuntimeError: x",
        "INFO:     127.0.0.1:52711 - \"GET /RuntimeError: HTTP/1.1\" 404 Not Found",
    ] {
        assert!(!one(line).speaks(), "{line}");
    }
}

#[test]
fn a_level_named_inside_a_message_does_not_silence_it() {
    let line = one("RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)");
    assert!(line.is_exception());
}

#[test]
fn code_of_a_traceback_is_not_its_message_even_when_processes_interleave() {
    let log = "\
(A pid=1)   File \"x.py\", line 3, in f
(B pid=2) fine
(A pid=1)     raise ValueError(\"No available memory\"
(A pid=1)                      \"for the cache blocks\")
(A pid=1) ValueError: y";
    let parts: Vec<Part> = lines(log, 1).iter().map(|l| l.part).collect();
    assert_eq!(parts, [Part::Frame, Part::Text, Part::Frame, Part::Frame, Part::Exception]);
}

#[test]
fn an_exception_is_known_by_its_place_whatever_its_name() {
    let log = "\
Traceback (most recent call last):
  File \"x.py\", line 3, in f
    raise err
triton.runtime.errors.OutOfResources: out of resource: shared memory";
    assert!(lines(log, 1)[3].is_exception());
    // Pasted without its indentation.
    let log = "File \"x.py\", line 3, in f\nengine_core = EngineCoreProc(*args)\nzork.Broken: it is";
    let all = lines(log, 1);
    assert_eq!((all[1].part, all[2].part), (Part::Frame, Part::Exception));
}

#[test]
fn lines_keep_the_numbers_of_the_file_and_bounded_lengths() {
    let log = format!("a\rb\n{}\nValueError: x", "é".repeat(50_000));
    let all = lines(&log, 1);
    assert_eq!(all.iter().map(|l| l.number).collect::<Vec<_>>(), [1, 1, 2, 3]);
    assert!(all[2].text.len() < 4000);
}
