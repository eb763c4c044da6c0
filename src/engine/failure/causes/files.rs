//! Models, weights, the hub, files, ports, the program itself.

use super::Rank::Echo;
use super::{Cause, Class, cause};

pub(super) const CAUSES: &[Cause] = &[
    cause(
        "own-port",
        Class::PortInUse,
        &[r"zmq\.error\.ZMQError: Address already in use|ZMQError.*Address already in use"],
    )
    .next("one of the engine's own internal sockets collides with another of its processes or a server beside it: start again with other ports")
    .vllm("one of the engine's own sockets collides with another process: start again, set VLLM_PORT to a free range, or lower --api-server-count / --data-parallel-size")
    .sglang("the server's own processes collide on an internal socket (no other server need hold it): --tokenizer-worker-num 1, another --port or --nccl-port, or another version"),
    cause(
        "dist-port",
        Class::PortInUse,
        &[r"(?:DistNetworkError|TCPStore|server socket has failed to (?:listen|bind)).*(?:EADDRINUSE|already in use|failed to bind|-98)|EADDRINUSE"],
    )
    .next("the port of the distributed group is taken by a server or by one that did not end: end it, or choose another")
    .vllm("the port of the distributed group is taken by another engine or by one that did not end: end it, or set VLLM_PORT / MASTER_PORT (--master-port) to a free one")
    .sglang("the port of the distributed group is taken by another engine or by one that did not end: end it, or choose another --nccl-port / --dist-init-addr")
    .trtllm("the port of the distributed group is taken by another engine or by one that did not end: end it, or set MASTER_PORT to a free one"),
    cause(
        "port",
        Class::PortInUse,
        &[r"[Aa]ddress already in use|\[Errno 98\]|Failed to bind socket to|port \d+ is (?:already )?(?:in use|not available|taken|allocated)|Bind for \S+ failed: port is already allocated"],
    )
    .next("end the server that holds the port (ss -ltnp shows it), or choose another --port")
    .common(),
    cause(
        "remote-code",
        Class::RemoteCode,
        &[r"contains custom code which must be executed|trust_remote_code=True"],
    )
    .next("the model brings code of its own: read it, then allow it with --trust-remote-code")
    .trtllm("the model brings code of its own: read it, then allow it with --trust_remote_code"),
    cause(
        "damaged-weights",
        Class::ModelNotFound,
        &[
            r"SafetensorError|Error while deserializing header|safetensors_rust|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeader\w*|incomplete metadata, file not fully covered",
            r"invalid load key, |PytorchStreamReader failed|failed finding central directory|unexpected EOF, expected \d+ more bytes|UnpicklingError|Consistency check failed|Unable to load weights from (?:\w+ )?checkpoint file",
            r"(?i)(?:checksum|sha256|size) mismatch.*(?:weights?|file|shard|download)|corrupt(?:ed)? (?:file|weights|checkpoint|safetensors)|git-lfs pointer",
        ],
    )
    .next("a weight file is damaged or incomplete (a broken download, or a git-lfs pointer instead of the file): delete it and download the model again (hf download MODEL --force-download; git lfs pull), and compare sizes with the hub"),
    cause(
        "missing-shards",
        Class::ModelNotFound,
        &[
            r"No such file or directory: '?[^']*\.(?:safetensors|bin|pt|gguf)|(?:shard|weight|checkpoint)s? (?:files? )?(?:are |is )?(?:missing|not found|incomplete)|missing (?:shard|weight file)",
            r"[Ff]ollowing weights were not initialized from checkpoint|[Mm]issing (?:key|weight|tensor)s?\b.*(?:checkpoint|state_dict|safetensors|index)|not found in (?:the )?(?:checkpoint|index|weight map)|weights? .* (?:is|are) missing|Required but not provided tensors",
        ],
    )
    .next("weights are missing from the checkpoint (an interrupted download, or files of another model): download it again (hf download MODEL), and check that every file of model.safetensors.index.json is there"),
    cause(
        "weights-do-not-fit",
        Class::ModelNotFound,
        &[
            r"[Aa]ttempted to load weight .* into parameter|size mismatch for \S+: copying a param|^KeyError: '[\w.]+\.(?:weight|bias|qweight|qzeros|scales|weight_\w+)'|param(?:\.data)?\.(?:size|shape)\(?\)? ?== ?loaded_weight|There is no module or parameter named|Unexpected key\(s\) in state_dict",
            r"(?i)(?:shape|size) of (?:the )?(?:loaded (?:weight|tensor)|weight|checkpoint).*(?:match|mismatch|expected)",
        ],
    )
    .next("the weights do not fit the model's code or config.json: the checkpoint is of another revision, quantisation or kind: take matching files of one revision, or another engine version"),
    cause(
        "lora-not-found",
        Class::ModelNotFound,
        &[
            r"(?i)no adapter found for|adapter_config\.json|LoRAAdapterNotFound|lora (?:path|adapter) .*(?:not found|does not exist)|unable to load (?:lora|adapter)",
        ],
    )
    .next("the LoRA adapter is not there: give a directory with adapter_config.json and its weights (or a hub name that the server can reach)")
    .vllm("the LoRA adapter is not there: give --lora-modules NAME=PATH with a directory (mounted in the container) that holds adapter_config.json, or a hub name that the server can reach"),
    cause(
        "object-storage",
        Class::HubAccess,
        &[r"libstreamer|[Rr]unai_?(?:request|streamer)\w*.*(?i:error|fail)|NoCredentialsError|InvalidAccessKeyId|SignatureDoesNotMatch|NoSuchBucket|botocore\.exceptions|google\.auth\.exceptions"],
    )
    .next("the weights in object storage (S3, GCS) cannot be read: check the bucket's name and region, the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or the instance's role) and the endpoint (AWS_ENDPOINT_URL; RUNAI_STREAMER_S3_ENDPOINT for the streamer)"),
    cause(
        "model-repository",
        Class::BadValue,
        &[
            r"Error parsing text-format inference\.ModelConfig|failed to read text proto|Poll failed for model directory|failed to load '\S+' version \d+: Invalid argument",
        ],
    )
    .next("a config.pbtxt of the model repository does not parse or does not fit: fill in every ${variable} of the template (tools/fill_template.py), and correct the line named"),
    cause(
        "model-path",
        Class::BadValue,
        &[r"model paths? (?:is|are) empty|gpt_model_path .*(?:empty|not set|missing)"],
    )
    .next("no engine directory is named: set gpt_model_path (or encoder_model_path) in tensorrt_llm/config.pbtxt to the directory with config.json and rank0.engine"),
    cause(
        "missing-file",
        Class::ModelNotFound,
        &[r"filesystem error: .*No such file or directory"],
    )
    .next("a file or directory is not where it is looked for: correct the path that the line names (in a container: the mount), and see that the model's directory is whole")
    .trtllm("a file or directory is not where it is looked for: correct the path that the line names (the engine directory of config.pbtxt or of the command, with config.json and rank0.engine; in a container: the mount)"),
    cause(
        "tokenizer",
        Class::ModelNotFound,
        &[r"(?i)(?:failed|unable|cannot|could not) to (?:load|read|parse|instantiate) (?:the )?tokenizer|error (?:while )?(?:loading|parsing) (?:the )?tokenizer"],
    )
    .next("the tokenizer cannot be read: its files (tokenizer.json, tokenizer.model, tokenizer_config.json) are damaged, missing or of a newer kind than the installed packages: download the model again (hf download MODEL --force-download), give another --tokenizer, or install the transformers and tokenizers that the engine pins"),
    cause(
        "warm-up-limit",
        Class::HangAtStart,
        &[r"(?:0\.0\.0\.0|127\.0\.0\.1|localhost|host='(?:10|192\.168)\.[\d.]+)\b.*Read timed out"],
    )
    .next("the server's own first request did not come back in time: the GPUs hang or compile in their first step; look at the ranks' stacks (py-spy dump --pid PID) and at nvidia-smi")
    .sglang("the server's own warm-up request did not come back in time: the GPUs hang or compile in their first step; look at the ranks' stacks (py-spy dump --pid PID) and at nvidia-smi, try another --attention-backend, --disable-cuda-graph or NCCL_P2P_DISABLE=1; in disaggregated serving add --skip-server-warmup"),
    cause(
        "hub-access",
        Class::HubAccess,
        &[
            r"GatedRepoError|gated repo|40[13] Client Error|Access to model .* is restricted|Invalid (?:user )?token|Token is required|429 Client Error|Too Many Requests for url",
            r"ConnectionError.*huggingface|(?:host='[\w.-]*[a-z][\w.-]*'.*)Max retries exceeded with url|couldn't connect to|LocalEntryNotFoundError|Cannot find an appropriate cached snapshot|offline mode is enabled|OfflineModeIsEnabled",
            r"(?:ProxyError|SSLError|CERTIFICATE_VERIFY_FAILED|ReadTimeout\w*|ConnectTimeout|NameResolutionError|Temporary failure in name resolution).*|HfHubHTTPError",
        ],
    )
    .common()
    .next("give access to the hub: accept the model's licence, set HF_TOKEN, check the network (or HF_HUB_OFFLINE=1 with a complete cache)"),
    cause(
        "model-not-found",
        Class::ModelNotFound,
        &[
            r"RepositoryNotFoundError|is not a local folder and is not a valid model identifier|404 Client Error|HFValidationError|Repo id must|Invalid repository ID|RevisionNotFoundError|EntryNotFoundError",
            r"does not appear to have a file named|can't find.*config\.json|No such file or directory: '[^']*(?:config|tokenizer\w*|index)\.json|not found in (?:data|models)|unknown model",
            r"Cannot find any model weights|No safetensors|Can't load (?:the )?(?:tokenizer|configuration|image processor|processor)|Couldn't instantiate the backend tokenizer|(?:model|checkpoint|tokenizer)[ _](?:path|dir\w*)\b.*(?:does not exist|not found|is not a directory)",
        ],
    )
    .next("give the hub name or directory of a model that is there, or allow access to the hub"),
    cause(
        "shared-memory",
        Class::SharedMemory,
        &[
            r"(?i:insufficient space in /dev/shm)|insufficient shared memory|Error while creating shared memory|No space left on device: '?/dev/shm|shm_open|/dev/shm.*(?:No space|too small|full)|SharedMemory.*No space left",
            r"(?i)Bus error|SIGBUS",
        ],
    )
    .next("give the container more /dev/shm (--ipc=host or --shm-size=16g; an emptyDir of medium Memory in Kubernetes)")
    .common(),
    cause(
        "disk-full",
        Class::DiskFull,
        &[r"No space left on device|\[Errno 28\]|os error 28\b|Disk quota exceeded|\[Errno 122\]|low on resource: ephemeral-storage"],
    )
    .next("free disk space (hub and compile caches: HF_HOME, ~/.cache), or move the caches to a larger disk")
    .common(),
    cause("too-many-files", Class::TooManyFiles, &[r"Too many open files|\[Errno 24\]|os error 24\b"])
        .next("raise the limit on open files (ulimit -n 65535; LimitNOFILE of the service)")
        .common(),
    cause(
        "not-installed",
        Class::NotInstalled,
        &[
            r"(?:vllm|sglang|trtllm-serve|trtllm-llmapi-launch|python3?|mpirun|mpiexec|tritonserver)['\x22]?: (?:command not found|not found|No such file)|No module named ['\x22]?(?:vllm|sglang|tensorrt_llm)(?:\.[\w.]+)?['\x22]?$",
        ],
    )
    .next("install the engine or name its program with --engine-command"),
    cause(
        "container-entry",
        Class::NotInstalled,
        &[
            r"(?:OCI runtime|runc) (?:create|exec)\w* failed|executable file not found in \$PATH|unable to start container process|failed to create (?:shim )?task|exec format error|exec /\S+: no such file",
        ],
    )
    .next("the container starts something that is not in the image: check the image's entry point against the command (the vLLM image already runs `vllm serve`; give only its arguments, or --entrypoint), the program's name, and the image's CPU architecture"),
    cause(
        "image-pull",
        Class::NotInstalled,
        &[r"ErrImagePull|ImagePullBackOff|manifest (?:for \S+ not found|unknown)|pull access denied"],
    )
    .next("the image is not there or may not be pulled: check its name, tag and the registry's credentials"),
    cause(
        "shell-not-found",
        Class::NotInstalled,
        &[r"(?:/bin/(?:ba)?sh|sh|bash|\S*entrypoint\S*|env|tini|dumb-init): .*(?:: not found|command not found|[Nn]o such file or directory|exec .* failed)$|/usr/bin/env: .*No such file"],
    )
    .rank(Echo)
    .next("the shell found no such program: check the command, the PATH of the container or service, and the image's entry point"),
    cause(
        "not-executable",
        Class::Unwritable,
        &[r"(?:^|[ /])(?:vllm|sglang|trtllm-serve|tritonserver|python3?): (?:cannot execute: )?[Pp]ermission denied"],
    )
    .next("this user may not run the program: give it execute permission for the user of the container or service (an arbitrary user id needs a world-readable installation, not one under /root), or run as its owner"),
    cause(
        "user-without-name",
        Class::Unwritable,
        &[r"getpwuid\(\): uid not found|No such user with uid|cannot find name for user ID"],
    )
    .next("the container runs as a user id that has no entry in /etc/passwd, and its caches cannot be named: set USER and HOME (and TORCHINDUCTOR_CACHE_DIR to a directory that can be written), or run as a user that the image knows"),
    cause(
        "unwritable",
        Class::Unwritable,
        &[r"PermissionError|[Pp]ermission denied|Read-only file system|\[Errno 13\]|\[Errno 30\]"],
    )
    .next("the engine may not write or read there: choose a directory that it can (HOME=/tmp for all caches at once, or HF_HOME, VLLM_CACHE_ROOT, TRITON_CACHE_DIR, FLASHINFER_WORKSPACE_BASE), or run as its owner")
    .common(),
];
