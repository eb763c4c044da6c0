//! Devices, drivers and hardware faults.

use super::Rank::Symptom;
use super::{Cause, Class, cause};

pub(super) const CAUSES: &[Cause] = &[
    cause(
        "hardware-fault",
        Class::CudaError,
        &[
            r"(?i)uncorrectable (?:NVLink|ECC)|ECC error|double[- ]bit|row remap",
            r"\bXid\b.*\b(?:48|62|63|64|74|79|92|94|95|119|120|140|154)\b|NVRM: Xid",
            r"(?i)GPU has fallen off the bus|GPU is lost|cudaErrorECCUncorrectable|CUDA_ERROR_ECC_UNCORRECTABLE|cudaErrorHardwareStackError|hardware exception",
            r"(?i)nvlink.*(?:fatal|error|down)|GPU requires reset",
        ],
    )
    .next("the hardware failed (see dmesg for the Xid, `nvidia-smi -q -d ECC`): drain and reset the GPU (nvidia-smi --gpu-reset) or the machine, and keep it out of service if it comes back; no flag helps"),
    cause(
        "fabric-manager",
        Class::NoDevice,
        &[r"Error 802|system not yet initialized|cudaErrorSystemNotReady|CUDA_ERROR_SYSTEM_NOT_READY|fabric ?manager .*(?:not running|not ready|fail|mismatch)"],
    )
    .next("CUDA cannot initialise on an NVSwitch machine: start nvidia-fabricmanager of the driver's very version (systemctl status nvidia-fabricmanager), or update the driver"),
    cause(
        "driver-mismatch",
        Class::DriverTooOld,
        &[
            r"Error 803|Error 804|unsupported display driver|forward compatibility was attempted|cudaErrorSystemDriverMismatch|cudaErrorCompatNotSupportedOnDevice",
            r"Driver/library version mismatch|NVML.*(?:version )?mismatch",
        ],
    )
    .next("the driver's user-space library and its kernel module differ: reload the driver or reboot after an update; in a container do not shadow libcuda (take /usr/local/cuda/compat out of LD_LIBRARY_PATH), or use an image for this driver's CUDA"),
    cause(
        "ptx-toolchain",
        Class::DriverTooOld,
        &[r"(?i)PTX was compiled with an unsupported toolchain|cudaErrorUnsupportedPtxVersion|CUDA_ERROR_UNSUPPORTED_PTX_VERSION|Unsupported \.version"],
    )
    .next("the kernels were compiled by a newer CUDA than the driver knows: update the GPU driver, or install an engine (and PyTorch) built for the driver's CUDA (nvidia-smi shows it)"),
    cause(
        "driver-too-old",
        Class::DriverTooOld,
        &[
            r"container was built for NVIDIA Driver Release .* or later, but|compatibility mode is UNAVAILABLE",
            r"NVIDIA driver on your system is too old|CUDA driver version is insufficient|cudaErrorInsufficientDriver",
            r"unsatisfied condition: (?:cuda|driver)[<>=]|nvidia-container-cli: requirement error",
        ],
    )
    .next("update the GPU driver, or install an engine built for an older CUDA"),
    cause(
        "cluster-resources",
        Class::NoDevice,
        &[
            r"Cannot provide a placement group|placement group .*(?:cannot|could not|infeasible|timed? ?out|not ready)",
            r"No available node types can fulfill resource request|(?:Error|Warning).*: The following resource request cannot be scheduled",
            r"number of required GPUs exceeds the total number of available GPUs",
            r"current node has (?:no|not enough) GPUs?|Insufficient nvidia\.com/gpu|Could not find any running Ray instance|Ray does not allocate any GPUs",
        ],
    )
    .next("the cluster has fewer free GPUs than the parallel sizes ask for: look at `ray status` (or the scheduler's events), end what holds them, add nodes, or lower the parallel sizes")
    .vllm("the cluster has fewer free GPUs than the parallel sizes ask for: look at `ray status`, end what holds them, add nodes, or lower --tensor-parallel-size / --pipeline-parallel-size; on several nodes set VLLM_HOST_IP on each"),
    cause(
        "too-few-gpus",
        Class::NoDevice,
        &[
            r"(?i)local[ _]rank \d+ (?:is )?(?:out of bounds|exceeds)",
            r"World size \(\d+\) is larger than the number of available GPUs|invalid device ordinal|not enough GPUs|No GPU devices found on the node",
            r"(?i)(?:tensor|pipeline|data)[ _-]parallel[ _-]size.*(?:larger|greater|more) than.*(?:gpus?|devices?)",
        ],
    )
    .next("fewer GPUs are visible than the parallel sizes ask for: check CUDA_VISIBLE_DEVICES and the container's GPUs (--gpus all), check the driver, or lower the parallel size"),
    cause(
        "container-gpus",
        Class::NoDevice,
        &[
            r"could not select device driver|nvidia-container-cli: (?:initialization|mount|device) error|unknown or invalid runtime name: nvidia|unresolvable CDI devices",
            r"libnvidia-ml\.so\.1: cannot open|load library failed: libnvidia-ml",
        ],
    )
    .next("the container gets no GPU: install and configure the NVIDIA container toolkit (nvidia-ctk runtime configure), restart the container runtime, and start with --gpus all"),
    cause(
        "no-device",
        Class::NoDevice,
        &[
            r"No supported GPU\(s\) detected to run this container",
            r"Failed to infer device type|No CUDA GPUs are available|no CUDA-capable device|[Ff]ound no NVIDIA driver|Can't initialize NVML|NVML Shared Library Not Found",
            r"CUDA-capable device\(?s\)? (?:is|are) busy or unavailable|CUDA_ERROR_NO_DEVICE|NVMLError_\w+|Torch not compiled with CUDA enabled|CUDA unknown error|Device string must not be empty",
        ],
    )
    .next("no usable GPU is visible: check the driver (nvidia-smi), CUDA_VISIBLE_DEVICES and, in a container, --gpus all"),
    cause(
        "peer-access",
        Class::Communication,
        &[
            r"(?i)peer access is not supported|cudaDeviceEnablePeerAccess|cudaIpc(?:Open|Get)\w+|IPC.*invalid (?:device|resource|argument)|invalid device context",
            r"(?i)custom_all_?reduce.*(?:error|'invalid|failed)|mapping of buffer object failed",
        ],
    )
    .next("the GPUs cannot map each other's memory: share the IPC namespace (--ipc=host), make all GPUs visible to each process, check P2P (nvidia-smi topo -p2p r) and the IOMMU, or turn the custom all-reduce off")
    .vllm("the GPUs cannot map each other's memory: --disable-custom-all-reduce or NCCL_P2P_DISABLE=1; share the IPC namespace (--ipc=host), check P2P (nvidia-smi topo -p2p r) and the IOMMU")
    .sglang("the GPUs cannot map each other's memory: --disable-custom-all-reduce or NCCL_P2P_DISABLE=1; share the IPC namespace (--ipc=host), check P2P (nvidia-smi topo -p2p r) and the IOMMU")
    .trtllm("the GPUs cannot map each other's memory: allreduce_strategy: NCCL in the YAML or NCCL_P2P_DISABLE=1; share the IPC namespace (--ipc=host), make all GPUs visible to each rank, check P2P (nvidia-smi topo -p2p r)"),
    cause(
        "memory-pools",
        Class::UnsupportedGpu,
        &[r"cudaDeviceGetDefaultMemPool.*operation not supported|cudaMallocAsync.*not supported"],
    )
    .next("this (virtual) GPU has no memory pools: enable unified memory for the vGPU, or use a GPU passed through whole"),
    cause(
        "gpu-access-fault",
        Class::CudaError,
        &[r"Memory access fault by GPU node|HSA_STATUS_ERROR_\w+|Device-side assertion .*\bhip|rocdevice.*(?:aborting|fault)"],
    )
    .next("a kernel read or wrote where it may not (ROCm): run with AMD_SERIALIZE_KERNEL=3 to locate it; another attention or MoE backend, no captured graphs, or another version may avoid it")
    .vllm("a kernel read or wrote where it may not (ROCm): run with AMD_SERIALIZE_KERNEL=3 to locate it; another attention backend, VLLM_ROCM_USE_AITER=0, --enforce-eager, or another version may avoid it")
    .sglang("a kernel read or wrote where it may not (ROCm): run with AMD_SERIALIZE_KERNEL=3 to locate it; another --attention-backend, SGLANG_USE_AITER=0, --disable-cuda-graph, or another version may avoid it"),
    cause(
        "illegal-access",
        Class::CudaError,
        &[r"an illegal memory access|CUDA_ERROR_ILLEGAL_ADDRESS|misaligned address|an illegal instruction was encountered"],
    )
    .rank(Symptom)
    .next("a kernel read or wrote where it may not: run with CUDA_LAUNCH_BLOCKING=1 to locate it; another attention or MoE backend, no compiled graphs, or another version may avoid it")
    .vllm("a kernel read or wrote where it may not: run with CUDA_LAUNCH_BLOCKING=1 to locate it; another attention or MoE backend, --enforce-eager, or another version may avoid it")
    .sglang("a kernel read or wrote where it may not: run with CUDA_LAUNCH_BLOCKING=1 to locate it; another --attention-backend, --disable-cuda-graph, --disable-overlap-schedule, or another version may avoid it")
    .trtllm("a kernel read or wrote where it may not: run with CUDA_LAUNCH_BLOCKING=1 to locate it; another attn_backend or moe_config.backend, disable_overlap_scheduler: true, cuda_graph_config: null, or another version may avoid it"),
    cause(
        "index-on-device",
        Class::CudaError,
        &[r"(?:Indexing|ScatterGather|index)\S*\.cu:\d+: .*Assertion|Assertion `(?:src|ind|idx|cur_target|0 <=|-)\S*.*` failed|vectorized_gather_kernel: block|device-side assert triggered"],
    )
    .rank(Symptom)
    .next("a kernel met an index out of range: token ids beyond the embedding (a tokenizer, draft model or adapter of another vocabulary), or positions beyond the model length; run with CUDA_LAUNCH_BLOCKING=1 to locate it"),
    cause(
        "launch-failure",
        Class::CudaError,
        &[r"unspecified launch failure|cudaErrorLaunchFailure|the launch timed out and was terminated|CUDA_ERROR_LAUNCH_FAILED"],
    )
    .rank(Symptom)
    .next("a kernel died on the device: look for an Xid in dmesg and for ECC errors (nvidia-smi -q -d ECC), reset the GPU (nvidia-smi --gpu-reset) or reboot, and repeat; only if the hardware is clean may other flags or another backend help (CUDA_LAUNCH_BLOCKING=1 locates the kernel)"),
    cause(
        "forked-cuda",
        Class::CudaError,
        &[r"Cannot re-initialize CUDA in forked subprocess"],
    )
    .next("CUDA was used before the workers were forked: start them by spawn")
    .vllm("CUDA was used before the workers were forked: set VLLM_WORKER_MULTIPROC_METHOD=spawn"),
    cause(
        "cuda-error",
        Class::CudaError,
        &[
            r"CUDA error: |CUDA error \S+\.cuh?:\d+|CUBLAS_STATUS|CUDNN_STATUS|cudaError[A-Z]\w+|CUDA driver error",
            r"(?i)CUDA runtime error in|Cuda(?:Runtime)?Error|Triton Error \[CUDA\]|hipError\w+",
        ],
    )
    .rank(Symptom)
    .next("the device reported an error: run with CUDA_LAUNCH_BLOCKING=1 to locate it; other flags or another backend may avoid it")
    .vllm("the device reported an error: run with CUDA_LAUNCH_BLOCKING=1 to locate it; --enforce-eager or another attention backend may avoid it")
    .sglang("the device reported an error: run with CUDA_LAUNCH_BLOCKING=1 to locate it; --disable-cuda-graph or another --attention-backend may avoid it")
    .trtllm("the device reported an error: run with CUDA_LAUNCH_BLOCKING=1 to locate it; cuda_graph_config: null or another attn_backend in the YAML may avoid it"),
];
