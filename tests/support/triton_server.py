"""NVIDIA's Triton with a network in onnxruntime, run by an interpreter that has nvidia-pytriton.

Arguments: gRPC port, HTTP port, the model's name, its ONNX file (uint8 pictures to labels and confidence),
and its width and height.
"""

from __future__ import annotations

import sys
import threading

import numpy as np
import onnxruntime
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main() -> None:
    grpc_port, http_port, name, path, width, height = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name

    def infer(requests):  # type: ignore[no-untyped-def]
        answers = []
        for request in requests:
            labels, confidence = session.run(["labels", "confidence"], {entry: request["pictures"]})
            answers.append({"labels": labels, "confidence": confidence})
        return answers

    grid = (1, -1, -1)
    config = TritonConfig(grpc_port=int(grpc_port), http_port=int(http_port), allow_metrics=False)
    with Triton(config=config) as triton:
        triton.bind(
            model_name=name,
            infer_func=infer,
            inputs=[Tensor(name="pictures", dtype=np.uint8, shape=(1, int(height), int(width), 3))],
            outputs=[Tensor(name=each, dtype=np.uint8, shape=grid) for each in ("labels", "confidence")],
            config=ModelConfig(batching=False),
        )
        triton.run()
        print("\nready", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
