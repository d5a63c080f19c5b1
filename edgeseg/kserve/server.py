"""KServe server: the v2 protocol over gRPC, with the servicer that tritonclient carries."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from edgeseg import __version__
from edgeseg.errors import EdgesegError, EngineError
from edgeseg.frames import U8
from edgeseg.kserve.served_model import BadRequestError, FullError, ServedModel
from edgeseg.kserve.server_memory import RegionTable

log = logging.getLogger(__name__)

_INPUT, _JPEG_INPUT = "pictures", "jpeg"
# Beside the requests that run or wait: questions after health and metadata, and refusals.
_SPARE_THREADS = 4
# Of a picture, its framing and nothing else.
_MARGIN_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM: the server's certificate with its chain, and its key."""

    certificate: bytes
    key: bytes


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """What is asked and answered. memory: shared with clients on this machine; None where others may ask.

    Method names and messages are the protocol's.
    """

    def __init__(self, models: Iterable[ServedModel], memory: RegionTable | None) -> None:
        self._memory = memory
        self._models: dict[str, tuple[ServedModel, bool]] = {}
        for one in models:
            for name, jpeg in zip(one.names, (False, True), strict=True):
                self._models[name] = (one, jpeg)

    def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=request.name in self._models)

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        extensions = ["model_configuration"] + (["system_shared_memory"] if self._memory is not None else [])
        return service_pb2.ServerMetadataResponse(name="edgeseg", version=__version__, extensions=extensions)

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        served, jpeg = self._model(request, context)
        width, height = served.engine.input_size_px
        tensor = service_pb2.ModelMetadataResponse.TensorMetadata
        entry = (
            tensor(name=_JPEG_INPUT, datatype="BYTES", shape=[1])
            if jpeg
            else tensor(name=_INPUT, datatype="UINT8", shape=[1, height, width, 3])
        )
        exits = [tensor(name=name, datatype="UINT8", shape=[1, *served.grid]) for name in _outputs(served)]
        return service_pb2.ModelMetadataResponse(
            name=request.name, versions=["1"], platform="edgeseg", inputs=[entry], outputs=exits
        )

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        served, _ = self._model(request, context)
        config = model_config_pb2.ModelConfig(name=request.name, backend="edgeseg")
        config.parameters["classes"].string_value = ",".join(served.model.classes)
        config.parameters["digest"].string_value = served.model.digest
        return service_pb2.ModelConfigResponse(config=config)

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        served, jpeg = self._model(request, context)
        try:
            picture = self._picture(served, jpeg, request)
            labels, confidence = served.answer(picture, context.time_remaining())
        except FullError as error:
            return context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except BadRequestError as error:
            return context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except EngineError as error:
            log.error("model %s: %s", request.model_name, error)
            return context.abort(grpc.StatusCode.INTERNAL, "the engine failed; its log says why")
        return _response(request, labels, confidence)

    def SystemSharedMemoryRegister(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self._memory is None:
            return context.abort(grpc.StatusCode.UNIMPLEMENTED, "only where this machine alone may ask")
        try:
            self._memory.register(request.name, request.key, request.offset, request.byte_size)
        except BadRequestError as error:
            return context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return service_pb2.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self._memory is not None:
            self._memory.unregister(request.name)
        return service_pb2.SystemSharedMemoryUnregisterResponse()

    def SystemSharedMemoryStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = service_pb2.SystemSharedMemoryStatusResponse()
        for name, key, offset, size in self._memory.listed() if self._memory is not None else ():
            if request.name in ("", name):
                region = answer.regions[name]
                region.name, region.key, region.offset, region.byte_size = name, key, offset, size
        return answer

    def _model(self, request: Any, context: Any) -> tuple[ServedModel, bool]:
        name = getattr(request, "model_name", "") or getattr(request, "name", "")
        found = self._models.get(name)
        if found is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {name[:100]!r} is served here")
            raise AssertionError("abort raises")
        return found

    def _picture(self, served: ServedModel, jpeg: bool, request: Any) -> Callable[[], U8]:
        wanted = _JPEG_INPUT if jpeg else _INPUT
        if len(request.inputs) != 1 or request.inputs[0].name != wanted:
            raise BadRequestError(f"expected one input '{wanted}'")
        entry = request.inputs[0]
        raw = self._bytes(entry, request)
        if not jpeg:
            return lambda: served.picture(raw)
        # A BYTES tensor of one element: its length in four bytes, little-endian, then it.
        if len(raw) < 4 or int.from_bytes(raw[:4], "little") != len(raw) - 4:
            raise BadRequestError("expected one JPEG as BYTES")
        return lambda: served.jpeg(bytes(raw[4:]))

    def _bytes(self, entry: Any, request: Any) -> memoryview | bytes:
        region = entry.parameters["shared_memory_region"].string_param if entry.parameters else ""
        if region and self._memory is not None:
            offset = entry.parameters["shared_memory_offset"].int64_param
            size = entry.parameters["shared_memory_byte_size"].int64_param
            return self._memory.read(region, offset, size)
        if len(request.raw_input_contents) == 1:
            raw: bytes = request.raw_input_contents[0]
            return raw
        contents = entry.contents
        if contents.bytes_contents:
            first: bytes = contents.bytes_contents[0]
            return len(first).to_bytes(4, "little") + first
        if contents.uint_contents:
            return bytes(contents.uint_contents)
        raise BadRequestError("expected its bytes in raw_input_contents")


class _Gate(grpc.ServerInterceptor):  # type: ignore[misc]
    """Lets in who has the token; everyone else learns nothing, not even what is served."""

    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode()

        def refuse(request: Any, context: Any) -> Any:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "a token is needed here, and it was not right")

        self._refusal = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        given = dict(details.invocation_metadata or ()).get("authorization", "")
        given = given if isinstance(given, bytes) else str(given).encode()
        return continuation(details) if hmac.compare_digest(given, self._wanted) else self._refusal


def start(
    models: Iterable[ServedModel],
    address: str,
    *,
    most_at_once: int,
    token: str | None,
    tls: Tls | None,
    memory: RegionTable | None,
) -> tuple[Any, int]:
    """A server that listens, and its port (``address`` may have port 0). most_at_once: requests that run or
    wait. Raises EdgesegError where it cannot listen there."""
    offered = tuple(models)
    largest = max(one.engine.input_size_px[0] * one.engine.input_size_px[1] * 3 for one in offered)
    threads = most_at_once + _SPARE_THREADS
    server = grpc.server(
        ThreadPoolExecutor(threads, thread_name_prefix="serve"),
        interceptors=[_Gate(token)] if token is not None else [],
        # More requests are refused at once instead of waiting uncounted.
        maximum_concurrent_rpcs=threads,
        options=[("grpc.max_receive_message_length", largest + _MARGIN_BYTES), ("grpc.so_reuseport", 0)],
    )
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(offered, memory), server)
    try:
        if tls is None:
            port = server.add_insecure_port(address)
        else:
            credentials = grpc.ssl_server_credentials([(tls.key, tls.certificate)])
            port = server.add_secure_port(address, credentials)
    except (RuntimeError, ValueError):
        port = 0
    if not port:
        raise EdgesegError(
            f"--listen {address}: cannot listen there; is the port taken, or no address of ours?"
        )
    server.start()
    return server, port


def _outputs(served: ServedModel) -> Iterator[str]:
    yield "labels"
    if served.certain:
        yield "confidence"


def _response(request: Any, labels: U8, confidence: U8 | None) -> Any:
    arrays: Mapping[str, U8 | None] = {"labels": labels, "confidence": confidence}
    wanted = [one.name for one in request.outputs] or list(arrays)
    answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
    for name in wanted:
        array = arrays.get(name)
        if array is not None:
            answer.outputs.add(name=name, datatype="UINT8", shape=array.shape)
            answer.raw_output_contents.append(array.tobytes())
    return answer
