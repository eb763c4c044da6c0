"""The load clients that `compare-clients` holds against the known-timing server: how each is called, and where its figures
stand in what it writes. CPU time and memory are those of all processes of a client, seen from outside."""
import glob
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

TOKENS = 128
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Tree:
    """CPU time and memory of a process and all that it starts."""

    def __init__(self, pid):
        self.pid, self.cpu, self.peak, self.over = pid, {}, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.over.wait(0.3):
            memory = 0
            for path in glob.glob("/proc/[0-9]*/stat"):
                try:
                    fields = open(path).read().rpartition(")")[2].split()
                except OSError:
                    continue
                # Its own session: state, parent, group, session, ...
                if int(fields[3]) == self.pid:
                    self.cpu[path] = (int(fields[11]) + int(fields[12])) / TICK
                    memory += int(fields[21]) * PAGE
            self.peak = max(self.peak, memory, self.own_peak())

    def own_peak(self):
        """The first process's own peak since it became the client; wait4 counts this script's memory before that too."""
        try:
            lines = open(f"/proc/{self.pid}/status").read().splitlines()
        except OSError:
            return 0
        return max((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), default=0)

    def stop(self):
        self.over.set()
        self.thread.join()


def measured(command, timeout, env=None):
    """Runs a client; its output, CPU seconds, peak memory in MB, and the wall time."""
    began = time.time()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, env=dict(os.environ, **(env or {})))
        tree = Tree(child.pid)
        killer = threading.Timer(timeout, lambda: os.killpg(child.pid, signal.SIGKILL))
        killer.start()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        killer.cancel()
        tree.stop()
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out.seek(0)
        text = out.read().decode(errors="replace")
    cpu = max(usage.ru_utime + usage.ru_stime, sum(tree.cpu.values()))
    return text, {
        "exit": child.returncode, "cpu_s": round(cpu, 3), "wall_s": round(time.time() - began, 2),
        "peak_mb": round(tree.peak / 2**20, 1),
    }


def bare(a, url, n, c, chat, scratch):
    if chat:
        return None
    text, cost = measured([a.bare, "--bare", url, str(c), str(n)], a.timeout)
    r = json.loads(text)
    figures = {"completed": r["completed"], "mean_ttft_ms": r["ttft_ms"]["mean"], "p99_ttft_ms": r["ttft_ms"]["p99"],
               "mean_itl_ms": r["itl_ms"]["mean"], "p99_itl_ms": r["itl_ms"]["p99"]}
    return figures, cost


def dyno(a, url, n, c, chat, scratch):
    text, cost = measured(
        [a.dyno, "bench", "--base-url", url, "--workload", f"random:128/{TOKENS},n={n},concurrency={c},seed=1",
         "--warmups", "0", "--endpoint", "chat" if chat else "completions"], a.timeout)
    figures = block(text)
    for name, pattern in {"mean_send_late_ms": r"sent after the intended time: mean ([\d.]+)",
                          "mean_token_gap_ms": r"gap between chunks, ([\d.]+) ms a token"}.items():
        if found := re.search(pattern, text):
            figures[name] = float(found[1])
    figures["marked"] = re.findall(r"^(?:DOUBTFUL|INVALID): .*", text, re.M)
    return figures, cost


BLOCK = {"Successful requests": "completed", "Failed requests": "failed", "Total generated tokens": "output_tokens",
         "Output token throughput (tok/s)": "output_throughput", "Mean TTFT (ms)": "mean_ttft_ms",
         "P99 TTFT (ms)": "p99_ttft_ms", "Mean ITL (ms)": "mean_itl_ms", "P99 ITL (ms)": "p99_itl_ms",
         "Mean TPOT (ms)": "mean_tpot_ms"}


def block(text):
    lines = (line.rpartition(":") for line in text.splitlines())
    return {BLOCK[k.strip()]: float(v) for k, _, v in lines if k.strip() in BLOCK}


def vllm(a, url, n, c, chat, scratch):
    out = os.path.join(scratch, "vllm.json")
    kind = ["openai-chat", "--endpoint", "/v1/chat/completions"] if chat else ["openai"]
    text, cost = measured(
        [a.vllm, "bench", "serve", "--backend", *kind, "--base-url", url, "--model", "paced", "--tokenizer", a.tokenizer,
         "--dataset-name", "random", "--random-input-len", "128", "--random-output-len", str(TOKENS), "--num-prompts", str(n),
         "--max-concurrency", str(c), "--ignore-eos", "--percentile-metrics", "ttft,tpot,itl", "--disable-tqdm",
         "--save-result", "--result-filename", out], a.timeout, {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"})
    r = loaded(out, text)
    figures = {k: r.get(k) for k in ("completed", "failed", "mean_ttft_ms", "p99_ttft_ms", "mean_itl_ms", "p99_itl_ms",
                                     "mean_tpot_ms", "output_throughput")}
    return dict(figures, output_tokens=r.get("total_output_tokens")), cost


def guidellm(a, url, n, c, chat, scratch):
    out = os.path.join(scratch, "guidellm.json")
    route = "/v1/chat/completions" if chat else "/v1/completions"
    text, cost = measured(
        [os.path.join(a.venvs, "guidellm/bin/guidellm"), "run",
         "--backend", f"kind=openai_http,target={url},model=paced,request_format={route}",
         "--profile", f"kind=concurrent,streams={c}", "--constraint", f"kind=max_requests,count={n}",
         "--tokenizer", f"kind=hf_auto,model={a.tokenizer}",
         "--data", f"kind=synthetic_text,prompt_tokens=128,output_tokens={TOKENS}",
         "--output", f"kind=json,path={out}", "--disable-console"], a.timeout, {"HF_HUB_OFFLINE": "1"})
    m = loaded(out, text)["benchmarks"][0]["metrics"]
    good = lambda key: m[key]["successful"]
    # Its gaps are means of whole requests: there is no percentile of single gaps.
    return {"completed": m["request_totals"]["successful"], "failed": m["request_totals"]["errored"],
            "mean_ttft_ms": good("time_to_first_token_ms")["mean"],
            "p99_ttft_ms": good("time_to_first_token_ms")["percentiles"]["p99"],
            "mean_itl_ms": good("inter_token_latency_ms")["mean"],
            "output_tokens": good("output_token_count")["total_sum"],
            "output_throughput": good("output_tokens_per_second")["mean"]}, cost


def aiperf(a, url, n, c, chat, scratch):
    text, cost = measured(
        [os.path.join(a.venvs, "aiperf/bin/aiperf"), "profile", "--model", "paced", "--url", url,
         "--endpoint-type", "chat" if chat else "completions", "--streaming", "--concurrency", str(c),
         "--request-count", str(n), "--isl", "128", "--osl", str(TOKENS), "--tokenizer", a.tokenizer,
         "--extra-inputs", "ignore_eos:true", "--use-server-token-count", "--artifact-dir", scratch, "--ui", "none",
         "--no-gpu-telemetry", "--no-server-metrics", "--export-level", "summary"], a.timeout)
    r = loaded(os.path.join(scratch, "profile_export_aiperf.json"), text)
    get = lambda key, stat: (r.get(key) or {}).get(stat)
    # Its `inter_token_latency` is a mean of each request; the single gaps are `inter_chunk_latency`.
    return {"completed": get("request_count", "avg"), "failed": get("error_request_count", "avg") or 0,
            "mean_ttft_ms": get("time_to_first_token", "avg"), "p99_ttft_ms": get("time_to_first_token", "p99"),
            "mean_itl_ms": get("inter_token_latency", "avg"), "p99_itl_ms": get("inter_chunk_latency", "p99"),
            "output_tokens": get("total_output_tokens", "avg"),
            "output_throughput": get("output_token_throughput", "avg")}, cost


def sglang(a, url, n, c, chat, scratch):
    """SGLang's Rust client, the extension module of its wheel, called by `sglang_bench` below: no other part of SGLang is loaded."""
    out = os.path.join(scratch, "sglang.jsonl")
    text, cost = measured(
        [sys.executable, os.path.abspath(__file__), os.path.join(a.venvs, "sglang"),
         "--backend", "vllm-chat" if chat else "vllm", "--base-url", url, "--model", "paced", "--tokenizer", a.tokenizer,
         "--dataset-name", "random-ids", "--random-input-len", "128", "--random-output-len", str(TOKENS),
         "--random-range-ratio", "1", "--num-prompts", str(n), "--max-concurrency", str(c), "--warmup-requests", "0",
         "--disable-tqdm", "--disable-retokenize", "--output-file", out], a.timeout)
    r = loaded(out, text)
    figures = {k: r.get(k) for k in ("completed", "mean_ttft_ms", "p99_ttft_ms", "mean_itl_ms", "p99_itl_ms", "mean_tpot_ms",
                                     "output_throughput")}
    return dict(figures, failed=n - r["completed"], output_tokens=r.get("total_output_tokens")), cost


def sglang_bench(place, arguments):
    """Calls the extension module in `place` as a command line."""
    found = glob.glob(os.path.join(place, "_bench.*.so"))
    if not found:
        sys.exit(f"no SGLang client in {place}: run `scripts/compare-clients install`")
    spec = importlib.util.spec_from_file_location("_bench", found[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.run_argv(["sglang-bench", *arguments])


def inference_perf(a, url, n, c, chat, scratch):
    if chat:
        return None  # its random prompts are for completions only
    fixed = lambda v: {"min": v, "max": v, "mean": v, "std_dev": 0, "total_count": n}
    config = {
        "load": {"type": "concurrent", "stages": [{"num_requests": n, "concurrency_level": c}], "worker_max_concurrency": c},
        "api": {"type": "completion", "streaming": True},
        "server": {"type": "vllm", "model_name": "paced", "base_url": url, "ignore_eos": True},
        "tokenizer": {"pretrained_model_name_or_path": a.tokenizer},
        "data": {"type": "random", "input_distribution": fixed(128), "output_distribution": fixed(TOKENS)},
        "storage": {"local_storage": {"path": scratch}},
    }
    path = os.path.join(scratch, "config.yaml")
    json.dump(config, open(path, "w"))  # JSON is YAML
    text, cost = measured([os.path.join(a.venvs, "inference-perf/bin/inference-perf"), "-c", path], a.timeout,
                          {"HF_HUB_OFFLINE": "1"})
    r = loaded(os.path.join(scratch, "summary_lifecycle_metrics.json"), text)
    good, lost = r["successes"], r["failures"]["count"]
    ms = lambda key, stat: ((good["latency"].get(key) or {}).get(stat) or float("nan")) * 1e3
    return {"completed": good["count"], "failed": lost, "mean_ttft_ms": ms("time_to_first_token", "mean"),
            "p99_ttft_ms": ms("time_to_first_token", "p99"), "mean_itl_ms": ms("inter_token_latency", "mean"),
            "p99_itl_ms": ms("inter_token_latency", "p99"), "mean_tpot_ms": ms("time_per_output_token", "mean"),
            "output_tokens": good["output_tokens"]["total"],
            "output_throughput": good["throughput"]["output_tokens_per_sec"]}, cost


def genai_bench(a, url, n, c, chat, scratch):
    """It speaks chat only. Its output time per token is the mean of each request: there is no percentile of single gaps."""
    text, cost = measured(
        [os.path.join(a.venvs, "genai-bench/bin/genai-bench"), "benchmark", "--api-backend", "vllm", "--api-base", url,
         "--api-key", "none", "--task", "text-to-text", "--api-model-name", "paced", "--model-tokenizer", a.tokenizer,
         "--num-concurrency", str(c), "--traffic-scenario", f"D(128,{TOKENS})", "--max-time-per-run", "10",
         "--max-requests-per-run", str(n), "--additional-request-params", '{"ignore_eos": true}',
         "--log-dir", scratch, "--experiment-base-dir", scratch, "--experiment-folder-name", "out"], a.timeout, {"HF_HUB_OFFLINE": "1"})
    found = glob.glob(os.path.join(scratch, "out", "D*_time_*.json"))
    r = loaded(found[0] if found else "", text)["aggregated_metrics"]
    ms = lambda key, stat: r["stats"][key][stat] * 1e3
    return {"completed": r["num_completed_requests"], "failed": r["num_error_requests"], "mean_ttft_ms": ms("ttft", "mean"),
            "p99_ttft_ms": ms("ttft", "p99"), "mean_itl_ms": ms("tpot", "mean"), "mean_tpot_ms": ms("tpot", "mean"),
            "output_tokens": r["stats"]["num_output_tokens"]["sum"],
            "output_throughput": r["mean_output_throughput_tokens_per_s"]}, cost


def loaded(path, text):
    try:
        return json.load(open(path))
    except OSError:
        raise RuntimeError(text[-1500:]) from None


CLIENTS = {f.__name__.replace("_", "-"): f for f in (bare, dyno, sglang, vllm, guidellm, aiperf, inference_perf, genai_bench)}

if __name__ == "__main__":
    sglang_bench(sys.argv[1], sys.argv[2:])
