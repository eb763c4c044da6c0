//! Several processes and GPUs: NCCL, Gloo, MPI, launchers.

use super::Rank::{Echo, Symptom};
use super::{Cause, Class, cause};

pub(super) const CAUSES: &[Cause] = &[
    cause(
        "launcher",
        Class::Communication,
        &[
            r"(?i:cannot find mpi plugin|specified plugin name for mpi|Invalid MPI type)|PMI2?_Init|not enough slots available|mpi(?:run|exec) (?:was unable|could not)|ORTE (?:does not know|was unable)|prterun|PMI\w*_Init failed|PMIX ERROR|pmix\w* .*(?:fail|error)|PMIx? (?:server|client)?.*(?:fail|error|not (?:found|supported))|was not built with (?:SLURM|SLURM's) (?:PMI|support)|OPAL ERROR|MPI_ERR_SPAWN|MPI_Comm_spawn",
            r"orte_init failed|MPI_INIT has failed|MPI_Init\w* (?:failed|error)|There are not enough slots|requested number of (?:processes|slots)|allocated to this job|running as root",
            r"mpi4py|MPI\.Exception|MPIError|MPI error|MPI_ERR_\w+|ompi_mpi_init|UCX +ERROR|libfabric:.*error",
        ],
    )
    .next("the launcher could not start or join the MPI ranks: give enough slots (mpirun -n, --oversubscribe), use the launcher's own PMI (srun --mpi=pmix), allow root (--allow-run-as-root), and the same MPI on every node")
    .trtllm("the launcher could not start or join the MPI ranks: start with `trtllm-llmapi-launch` under srun --mpi=pmix, give enough slots (mpirun -n = tp x pp, --oversubscribe), allow root (--allow-run-as-root; OMPI_ALLOW_RUN_AS_ROOT=1), and use the same MPI on every node"),
    cause(
        "duplicate-gpu",
        Class::Communication,
        &[r"Duplicate GPU detected"],
    )
    .next("two ranks were put on one GPU: give each rank its own (CUDA_VISIBLE_DEVICES, one process a GPU)"),
    cause(
        "socket-interface",
        Class::Communication,
        &[r"Bootstrap : no socket interface found|Unable to find address for|no interface found|NCCL_SOCKET_IFNAME|GLOO_SOCKET_IFNAME|ifa != nullptr|No route to host|Network is unreachable"],
    )
    .next("the ranks find no network between them: name the interface (NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME, and the host's own address), and open the ports between the nodes")
    .vllm("the ranks find no network between them: name the interface (NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME) and the host's own address (VLLM_HOST_IP), and open the ports between the nodes"),
    cause(
        "nccl-heartbeat",
        Class::Communication,
        &[
            r"watchdog got stuck for|without making progress in monitoring enqueued collectives|HeartbeatMonitor|heartbeat monitor",
            r"Watchdog caught collective operation timeout|collective operation timeout: WorkNCCL|Some NCCL operations have failed or timed out|WorkNCCL\(.*Timeout",
        ],
    )
    .rank(Symptom)
    .next("a collective between the GPUs hangs: look at the ranks' stacks (py-spy dump) for the one that is missing, try NCCL_P2P_DISABLE=1 or NCCL_IB_DISABLE=1, and NCCL_DEBUG=INFO for the transport")
    .vllm("a collective between the GPUs hangs: try --disable-custom-all-reduce, NCCL_P2P_DISABLE=1 or NCCL_IB_DISABLE=1, NCCL_DEBUG=INFO for the transport, and look at the ranks' stacks (py-spy dump)")
    .sglang("a collective between the GPUs hangs: try --disable-custom-all-reduce, NCCL_P2P_DISABLE=1 or NCCL_IB_DISABLE=1, NCCL_DEBUG=INFO for the transport, and look at the ranks' stacks (py-spy dump)"),
    cause(
        "peer-gone",
        Class::Communication,
        &[
            r"(?i)Connection closed by peer|Connection reset by peer|Socket Timeout|remote process exited|ncclRemoteError|Broken pipe",
            r"(?i)gloo.*(?:timed? ?out|connect\w* (?:failed|refused)|Read error)|Timed out waiting \d+ms for (?:recv|send)|Gloo connectFullMesh failed|connectFullMesh",
        ],
    )
    .rank(Echo)
    .unquoted()
    .common()
    .next("another rank went away or does not answer: its own log (or its lines above) holds the cause; check that all ranks run, and GLOO_SOCKET_IFNAME where there are several networks; this is no lack of memory"),
    cause(
        "prefill-bootstrap",
        Class::Communication,
        &[r"bootstrap_addr|in KVPoll\.Bootstrapping"],
    )
    .rank(Echo)
    .next("the prefill and the decode server do not find each other: check that both are up, the bootstrap address and port that the decode side is given, and the network between them")
    .sglang("the prefill and the decode server do not find each other: check that both are up, --disaggregation-bootstrap-port and the prefill server's address as the decode side sees it, the network between them, and SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT for slow ones"),
    cause(
        "rendezvous",
        Class::Communication,
        &[
            r"(?:client socket|TCPStore|rendezvous|c10d).*(?:timed? ?out|Connection refused|wait timeout)|Timed out (?:after|waiting).*(?:clients|ranks|store|rendezvous)|wait timeout after \d+ms|DistStoreError|DistNetworkError",
            r"(?i)(?:torch\.distributed|init_process_group|init_method).*(?:timeout|timed out|failed)",
        ],
    )
    .rank(Echo)
    .next("the ranks did not find each other: check the master address and port, the firewall, and that every rank was started")
    .vllm("the ranks did not find each other: check --master-addr and --master-port (or VLLM_HOST_IP under Ray), the firewall, and that every node was started")
    .sglang("the ranks did not find each other: check --dist-init-addr, --nnodes and --node-rank, the firewall, and that every node was started (--dist-timeout for slow ones)"),
    cause(
        "kv-transfer",
        Class::Communication,
        &[
            r"(?i)\bNIXL\b.*(?:mismatch|handshake|fail|NIXL_ERR)|NIXL_ERR_\w+|KVTransferError|\bKV[_ ]?(?:cache[_ ])?transfer\b.*(?:fail|timed? ?out|error)",
            r"(?i)(?:mooncake|transfer ?engine|LMCache)\b.*\b(?:fail(?:ed|s|ure)?|error)\b|failed to submit (?:all )?transfers",
            r"(?i)(?:prefill|decode) transfer failed|failed to (?:get|receive|send|pull) kv ?cache|(?:prefill|decode) (?:instance|server|worker).*(?:dead|unreachable|not registered)",
        ],
    )
    .rank(Symptom)
    .next("the prefill and the decode server do not exchange their KV caches: check that the peer lives, that both have the same model, block size, cache type and fitting parallel sizes, the address of the side channel, and the transport (RDMA devices, UCX_TLS)")
    .vllm("the prefill and the decode server do not exchange their KV caches: set VLLM_NIXL_SIDE_CHANNEL_HOST (and _PORT) of each to an address that the other reaches; check that the peer lives, that both have the same model, --block-size and fitting parallel sizes, and the transport (UCX_TLS, UCX_NET_DEVICES)")
    .sglang("the prefill and the decode server do not exchange their KV caches: check that the peer lives, --disaggregation-bootstrap-port, --disaggregation-ib-device, and that both have the same model and --page-size; --disaggregation-transfer-backend names another transport"),
    cause(
        "ranks",
        Class::Communication,
        &[r"(?i)nvshmem\S*.*(?:non-zero status|initialization)|ibv_modify_qp failed|ep_connect failed|DeepEP (?:error: )?timeout|Failed to connect to GCS|gcs_client.*(?:TimedOut|Failed)"],
    )
    .rank(Symptom)
    .next("the processes or nodes do not reach each other: check that every rank and the head are up under the address given, the network between them (interfaces, firewall, RDMA devices), and NCCL_DEBUG=INFO for the transport")
    .vllm("the processes or nodes do not reach each other: check that every rank and the Ray head are up under the address given (VLLM_HOST_IP, ray status), the network between them (NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME, NCCL_IB_HCA), and NCCL_DEBUG=INFO for the transport")
    .sglang("the processes or nodes do not reach each other: check --dist-init-addr on every node, the network between them (NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME, NVSHMEM_IB_GID_INDEX and the RDMA devices for DeepEP), and NCCL_DEBUG=INFO for the transport"),
    cause(
        "nccl-system",
        Class::Communication,
        &[r"ncclSystemError|ncclInvalidUsage|invalid usage \(run with NCCL|unhandled system error|Call to (?:ibv_\w+|connect|bind|socket) failed|ibv_\w+ failed|NCCL WARN"],
    )
    .rank(Symptom)
    .next("NCCL could not set up the transport between the GPUs: NCCL_DEBUG=INFO shows what; check NCCL settings; often /dev/shm is too small (--ipc=host or --shm-size), an interface is wrong (NCCL_SOCKET_IFNAME), or InfiniBand is half there (NCCL_IB_DISABLE=1)"),
    cause(
        "nccl",
        Class::Communication,
        &[r"NCCL error|NCCL failure|Failed, NCCL|ncclInternalError|ncclUnhandledCudaError|DistBackendError|nvshmem\w*.*(?:fail|error|abort)|DeepEP error|NIXL\w*.*(?:ERROR|NIXL_ERR)"],
    )
    .rank(Symptom)
    .next("the GPUs could not talk to each other: NCCL_DEBUG=INFO shows where; check NCCL settings, topology (nvidia-smi topo -m), P2P (NCCL_P2P_DISABLE=1 to try without) and /dev/shm")
    .vllm("the GPUs could not talk to each other: NCCL_DEBUG=INFO shows where; check NCCL settings, topology (nvidia-smi topo -m), /dev/shm, P2P (NCCL_P2P_DISABLE=1, --disable-custom-all-reduce to try without)")
    .sglang("the GPUs could not talk to each other: NCCL_DEBUG=INFO shows where; check NCCL settings, topology (nvidia-smi topo -m), /dev/shm, P2P (NCCL_P2P_DISABLE=1, --disable-custom-all-reduce to try without)"),
    cause(
        "mpi-abort",
        Class::Communication,
        &[r"MPI_ABORT|MPI_Abort|mpi(?:run|exec) (?:noticed|detected) that|ORTE has lost"],
    )
    .rank(Echo)
    .next("one MPI rank ended all: the first error above, or in that rank's own output, holds the cause; check topology and that each rank sees its GPU"),
];
