"""onnxruntime execution providers: their names, options and requirements."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path

from edgeseg.engines.hardware import nvidia_gpus
from edgeseg.errors import EdgesegError
from edgeseg.models.model import Artefact
from edgeseg.system.cpu_quota import whole_cpus
from edgeseg.system.paths import cache_dir

NAMES = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
NEEDS = {
    "onnxruntime": "onnxruntime",
    "onnxruntime-openvino": "OpenVINO",
    "cuda": "CUDA or cuDNN",
    "tensorrt": "TensorRT, CUDA or cuDNN",
}
# The newest first; a machine has one.
_TENSORRT_LIBRARIES = ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8", "libnvinfer.so")

Options = dict[str, str]


def options(name: str, artefact: Artefact, size_px: tuple[int, int], threads: int) -> Options:
    """Options of the provider of engine ``name`` on this machine; makes the cache folder it names."""
    if name == "cuda":
        return cuda_options()
    if name == "onnxruntime-openvino":
        return openvino_options(threads, max(1, whole_cpus() // threads))
    if name == "tensorrt":
        version, gpus = tensorrt_version(), nvidia_gpus()
        folder = None
        if version is not None and gpus:
            folder = _made(tensorrt_folder(artefact.blob.sha256, version, gpus[0]))
        return tensorrt_options(artefact, size_px, folder)
    return {}


def cuda_options() -> Options:
    """For onnxruntime's CUDA provider. Pictures of one size, for weeks: the fastest convolutions are worth
    the seconds of search at the start, and memory need not grow in powers of two."""
    return {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "do_copy_in_default_stream": "1",
    }


def tensorrt_options(artefact: Artefact, size_px: tuple[int, int], folder: Path | None) -> Options:
    """For onnxruntime's TensorRT provider.

    One profile of exactly the size that will come, so that nothing is built again while frames wait.
    folder: where built engines are kept, None to build at every start (minutes).
    """
    width, height = size_px
    shape = f"1x{height}x{width}x3" if artefact.input.layout == "nhwc" else f"1x3x{height}x{width}"
    chosen = {
        "device_id": "0",
        "trt_fp16_enable": "1",
        # The scales are those of the file's QuantizeLinear nodes.
        "trt_int8_enable": "1" if artefact.precision == "int8" else "0",
    }
    if artefact.input.name is not None and artefact.input.multiple_of is not None:
        profile = f"{artefact.input.name}:{shape}"
        chosen |= {f"trt_profile_{end}_shapes": profile for end in ("min", "opt", "max")}
    if folder is not None:
        chosen |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
        }
    return chosen


def openvino_options(threads: int, streams: int) -> Options:
    """For onnxruntime's OpenVINO provider, on the CPU: ``streams`` runs at once of ``threads`` each.

    Precision is said aloud: left to itself it takes bf16.
    """
    return {
        "device_type": "CPU",
        "precision": "FP32",
        "num_of_threads": str(threads * streams),
        "num_streams": str(streams),
    }


def tensorrt_folder(sha256: str, version: str, gpu: str) -> Path:
    """A built engine serves one network, one TensorRT and one kind of GPU alone. Raises EdgesegError."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", gpu).strip("-").lower()
    return cache_dir() / "tensorrt" / f"{sha256[:16]}-trt{version}-{words}"


def tensorrt_version(libraries: Sequence[str] = _TENSORRT_LIBRARIES) -> str | None:
    """``10.3.0``, from the library that onnxruntime would load; None where there is none.

    ``getInferLibVersion`` gives major * 10000 + minor * 100 + patch from TensorRT 10 on, and
    major * 1000 + minor * 100 + patch before (NvInferRuntimeBase.h).
    """
    for name in libraries:
        try:
            number = int(ctypes.CDLL(name).getInferLibVersion())
        except (OSError, AttributeError):
            continue
        step = 10000 if number >= 100000 else 1000
        return f"{number // step}.{number % step // 100}.{number % 100}"
    return None


def _made(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (EdgesegError, OSError):
        return None
    return folder
