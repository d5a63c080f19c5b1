"""A network in onnxruntime for MLServer, whose interpreter imports it."""

from __future__ import annotations

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Network(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = self.settings.parameters.uri
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._entry = self._session.get_inputs()[0].name
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        picture = NumpyCodec.decode_input(payload.inputs[0])
        arrays = self._session.run(["labels", "confidence"], {self._entry: picture})
        outputs = [
            NumpyCodec.encode_output(name, array)
            for name, array in zip(("labels", "confidence"), arrays, strict=True)
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
