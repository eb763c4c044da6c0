//! Compilers and toolkits that engines call while they start, compiled parts that are missing, packages that do not
//! go together.

use super::Rank::{Opener, Symptom};
use super::{Cause, Class, cause};

pub(super) const CAUSES: &[Cause] = &[
    cause(
        "python-headers",
        Class::CompileFailed,
        &[r"(?:Python|pyconfig)\.h: No such file"],
    )
    .next("the headers of Python are missing: install python3-dev of the Python that runs the engine (apt-get install python3.12-dev); --enforce-eager only hides it where nothing else is compiled"
    )
    .sglang("the headers of Python are missing: install python3-dev of the Python that runs the engine (apt-get install python3.12-dev)")
    .trtllm("the headers of Python are missing: install python3-dev of the Python that runs the engine (apt-get install python3.12-dev)"),
    cause(
        "cuda-headers",
        Class::CompileFailed,
        &[
            r"(?:cuda\w*|cudnn\w*|cublas\w*|curand\w*|cusparse\w*|nv\w+|cuda/\S+|cub/\S+|thrust/\S+|cutlass/\S+|nvtx\w*/\S+)\.(?:h|hpp|cuh)[xp]*: No such file",
            r"fatal error: (?:cuda|cub|thrust|nv|cutlass)\S*: No such file",
        ],
    )
    .next("a header of CUDA is missing or the toolkit is too old: put a CUDA toolkit of PyTorch's own version first (CUDA_HOME and its bin on PATH; nvcc --version), with its dev packages, and clear the compile caches (~/.cache/flashinfer, ~/.cache/torch_extensions)"),
    cause(
        "headers",
        Class::CompileFailed,
        &[r"fatal error: \S+: No such file or directory"],
    )
    .next("a header is missing for the run-time compilation: install the dev package that brings it, then clear the compile caches"),
    cause(
        "nvcc",
        Class::CompileFailed,
        &[
            r"nvcc['\x22]?: (?:not found|No such file|command not found)|[Cc]ould not find (?:the )?[`'\x22]?nvcc|No such file or directory: '[^']*nvcc'|nvcc .*(?:is not|isn't) (?:found|available|installed)",
            r"(?i)CUDA_HOME (?:environment variable )?is not set|could not find (?:CUDA_HOME|CUDA toolkit)|default cuda_home=|cicc: not found|ptxas: not found|cuobjdump.*(?:not found|No such file)",
        ],
    )
    .next("nvcc is not where it is looked for: correct CUDA_HOME (the directory that holds bin/nvcc; the line shows the path that was tried), or install the CUDA toolkit of PyTorch's version")
    .vllm("nvcc is not where it is looked for: correct CUDA_HOME (the directory that holds bin/nvcc; the line shows the path that was tried), or install the CUDA toolkit of PyTorch's version; without one VLLM_USE_FLASHINFER_SAMPLER=0 and another attention backend avoid the compilation"),
    cause(
        "ptxas-architecture",
        Class::CompileFailed,
        &[r"ptxas fatal\s*: ?\s*Value 'sm_\w+' is not defined|is not defined for option 'gpu-name'|--gpu-name=sm_\w+ .*returned non-zero exit status"],
    )
    .next("the ptxas that is used does not know this GPU: upgrade Triton and PyTorch (or the engine) to releases for it, or point TRITON_PTXAS_PATH at the ptxas of a newer CUDA toolkit"),
    cause(
        "nvcc-version",
        Class::CompileFailed,
        &[
            r"nvcc fatal\s*: ?\s*(?:Unsupported gpu architecture|Value|Unknown option|Unsupported)",
            r"(?i)detected CUDA version .* mismatches|CUDA version .* (?:is not supported|must be|too old)|unsupported GNU version|unsupported Microsoft",
        ],
    )
    .next("the CUDA toolkit on PATH does not fit the GPU or PyTorch: use a toolkit that knows this architecture (nvcc --version; CUDA_HOME), or set TORCH_CUDA_ARCH_LIST"),
    cause(
        "gpu-runtime",
        Class::CompileFailed,
        &[r"(?i)\b(?:cuda|hip|rocm) runtime failed to load|please provide architecture for which code"],
    )
    .next("the run-time compiler of the GPU does not know what to compile for: install the whole CUDA or ROCm toolkit, check that the GPU is visible (nvidia-smi, rocminfo), and name its architecture (PYTORCH_ROCM_ARCH, TORCH_CUDA_ARCH_LIST)"),
    cause(
        "ninja",
        Class::CompileFailed,
        &[r"No such file or directory: '[^']*ninja'|ninja['\x22]?: (?:not found|command not found)|Ninja is required to load"],
    )
    .next("ninja is missing: pip install ninja in the engine's environment and keep its bin directory on PATH"),
    cause(
        "c-compiler",
        Class::CompileFailed,
        &[
            r"Failed to find C compiler|No such file or directory: '[^']*(?:gcc|g\+\+|cc|c\+\+|clang)'|(?:gcc|g\+\+|cc|c\+\+|clang\+*)['\x22]?: (?:not found|command not found|No such file)|InvalidCxxCompiler|No working C\+\+ compiler",
        ],
    )
    .next("there is no C compiler: install gcc and g++ (build-essential) or name one in CC and CXX; only without compilation (--enforce-eager) can it be missing")
    .sglang("there is no C compiler: install gcc and g++ (build-essential) or name one in CC and CXX")
    .trtllm("there is no C compiler: install gcc and g++ (build-essential) or name one in CC and CXX"),
    cause(
        "libcuda",
        Class::CompileFailed,
        &[r"cannot find -lcuda\w*|libcuda\.so(?:\.1)? (?:cannot|not) (?:be )?found|libcuda\.so cannot found|assert .*libcuda"],
    )
    .next("the linker finds no libcuda.so: make it known (ldconfig, or LIBRARY_PATH=/usr/local/cuda/lib64/stubs), TRITON_LIBCUDA_PATH for Triton; in a container start with --gpus all"),
    cause(
        "compiler-error",
        Class::CompileFailed,
        &[r"\.(?:cu|cuh|cpp|cc|c|h|hpp)(?:\(\d+\)|:\d+(?::\d+)?): (?:fatal |catastrophic )?error: |\d+ errors? detected in the compilation of"],
    )
    .next("the compiler rejects a kernel of the library: the CUDA toolkit on PATH and the library's release do not go together (nvcc --version; CUDA_HOME); take the toolkit of PyTorch's version, clear the compile caches (~/.cache/flashinfer, ~/.deep_gemm), or choose another backend")
    .vllm("the compiler rejects a kernel of the library: the CUDA toolkit on PATH and the library's release do not go together (nvcc --version; CUDA_HOME); take the toolkit of PyTorch's version, clear ~/.cache/flashinfer and ~/.deep_gemm, or go round the kernel: another attention backend or --kv-cache-dtype for FlashInfer, VLLM_USE_DEEP_GEMM=0 for DeepGEMM")
    .sglang("the compiler rejects a kernel of the library: the CUDA toolkit on PATH and the library's release do not go together (nvcc --version; CUDA_HOME); take the toolkit of PyTorch's version, clear ~/.cache/flashinfer and ~/.cache/deep_gemm, or choose another --attention-backend"),
    cause(
        "deep-gemm",
        Class::CompileFailed,
        &[r"(?:deep_gemm|jit_kernels|jit/(?:compiler|kernel_runtime|handle))\S*.*(?:Assertion|[Ff]ailed|exit_code)|Assertion error \(\S*(?:jit|deep_gemm)|NVCC compilation failed"],
    )
    .next("DeepGEMM's run-time compilation fails (a tool of the CUDA toolkit is missing or too old)")
    .vllm("DeepGEMM's run-time compilation fails (a tool of the CUDA toolkit such as nvcc or cuobjdump is missing or too old): set VLLM_USE_DEEP_GEMM=0, or install the CUDA toolkit (CUDA_HOME)")
    .sglang("DeepGEMM's run-time compilation fails (a tool of the CUDA toolkit is missing or too old): set SGLANG_ENABLE_JIT_DEEPGEMM=0 (SGL_ENABLE_JIT_DEEPGEMM before), or install the CUDA toolkit (CUDA_HOME)")
    .trtllm("DeepGEMM's run-time compilation fails: choose moe_config.backend: CUTLASS in the YAML, or install the CUDA toolkit (CUDA_HOME)"),
    cause(
        "jit-build",
        Class::CompileFailed,
        &[r"Ninja build failed|Error building extension|Error compiling objects for extension|Command '\[?'?(?:ninja|nvcc|[\w/]*gcc|[\w/]*g\+\+)'?.*(?:non-zero|exit)"],
    )
    .rank(Symptom)
    .next("a run-time build of a kernel failed: look at the compiler's lines below it, check nvcc (CUDA_HOME) and ninja, and clear the compile caches (~/.cache/flashinfer, ~/.cache/torch_extensions)"),
    cause(
        "compile",
        Class::CompileFailed,
        &[r"InductorError|^(?:\w+\.)*torch\._(?:dynamo|inductor)\.exc|^torch\._dynamo\.exc|BackendCompilerFailed|CppCompileError|ptxas (?:fatal|error)|nvcc (?:fatal|error)|LLVM ERROR|PassManager::run failed|PTXASError"],
    )
    .rank(Symptom)
    .next("compilation failed: clear the compile caches, check the C compiler")
    .vllm("compilation failed: clear the compile caches (~/.cache/vllm, ~/.triton), check the C compiler, or run with --enforce-eager")
    .sglang("compilation failed: clear the compile caches (~/.cache/flashinfer, ~/.triton), check the C compiler, or run without --enable-torch-compile or with --disable-cuda-graph")
    .trtllm("compilation failed: clear the compile caches (~/.triton), check the C compiler, or leave torch_compile_config out of the YAML"),
    cause("triton-compile", Class::CompileFailed, &[r"CompilationError: at"]).rank(Opener),
    // Compiled parts.
    cause(
        "missing-kernel",
        Class::MissingKernel,
        &[
            r"undefined symbol|has no attribute '_C|No module named '[\w.]*(?:_C(?:_\w+)?|vllm_flash_attn[\w.]*|sgl_kernel[\w.]*|flash_attn\w*|deep_gemm[\w.]*|deep_ep[\w.]*|flashinfer[\w.]*|bindings)'",
            r"cannot open shared object file.*(?:cuda|torch|flash|sgl|nccl|cudart)|lib(?:cuda|torch|flash|sgl|nccl|nvrtc|cublas|cudnn|c10)\w*\.so[.\d]*: cannot open|Could not load any common_ops",
            r"[Oo]perator .* does not exist|Could not run '.*' with arguments from the|flash.?attn.* is not (?:installed|available)|is less than the minimum required version|'_OpNamespace' .* object has no attribute",
        ],
    )
    .next("a compiled part of the engine is missing or was built for another PyTorch, CUDA or Python: reinstall the engine for this CUDA and PyTorch in a fresh environment (the architecture itself is supported)"),
    cause(
        "package-mismatch",
        Class::MissingLibrary,
        &[
            r"ImportError: cannot import name|(?:huggingface[-_]hub|transformers|tokenizers|torch|numpy|pydantic|flashinfer\S*|xgrammar|triton|outlines\S*|mistral\S*)[<>=!~]=?\S* is required|VersionConflict|DistributionNotFound|ContextualVersionConflict",
            r"(?:Tokenizer|TokenizersBackend|PreTrained\w+|Processor|Fast|Config)\w* has no attribute|has no attribute '(?:all_special_tokens\w*|vocab_size|_?special_tokens\w*|get_vocab|encode|chat_template)'",
            r"Tokenizer class \S+ does not exist or is not currently imported|data did not match any variant of untagged enum|extra_special_tokens|'list' object has no attribute 'keys'",
            r"numpy\.dtype size changed|A module that was compiled using NumPy|module '(?:torch|transformers|numpy|triton|flashinfer|huggingface_hub)[\w.]*' has no attribute",
            r"rope_scaling.*(?:must|should|KeyError)|^KeyError: '(?:rope_theta|rope_scaling|rope_parameters|type)'",
        ],
    )
    .next("two Python packages do not go together (often transformers, tokenizers or huggingface_hub against the engine): install the library versions that the engine pins (pip install 'transformers<5' where the engine predates it; pip check), or use the engine's image"),
    cause("glibc", Class::MissingLibrary, &[r"GLIBC_[\d.]+' not found"]).next(
        "the system's C library (glibc) is older than the one the wheel was built for, and cannot be changed by pip: use the engine's \
         image, a newer distribution, or build the engine on this system",
    ),
    cause("libstdcxx", Class::MissingLibrary, &[r"GLIBCXX_[\d.]+' not found|CXXABI_[\d.]+' not found"]).next(
        "the libstdc++ that is found first is older than the one the engine was built with: install a newer one (conda install \
         -c conda-forge libstdcxx-ng, or the system's libstdc++6) and put its directory first in LD_LIBRARY_PATH, or use the \
         engine's image",
    ),
    cause(
        "missing-library",
        Class::MissingLibrary,
        &[r"ModuleNotFoundError|No module named '|ImportError(?::|$)|PackageNotFoundError|cannot open shared object file|GLIBC_[\d.]+' not found|requires the following packages|[Pp]lease (?:pip )?install |file too short"],
    )
    .next("install the library named, or repair the engine's environment"),
];
