"""KServe client: runs a network on one server of the KServe v2 protocol over gRPC.

Servers: Triton, OpenVINO Model Server, MLServer, ``edgeseg serve``. ``RemoteEngine`` chooses one.
"""

from __future__ import annotations

import threading
from typing import Any

import cv2
import grpc
import numpy as np
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from edgeseg.engines import tensors
from edgeseg.engines.base import Outputs
from edgeseg.engines.tensors import PictureTable
from edgeseg.errors import EngineAwayError, EngineError
from edgeseg.frames import U8
from edgeseg.kserve.client_memory import RegionPool
from edgeseg.kserve.contract import Contract, agree
from edgeseg.models.model import Model, Role
from edgeseg.models.runtimes import JPEG_SUFFIX
from edgeseg.settings import RemoteServer, RemoteSettings

# What passes by itself, or with another server: the request changes nothing there and may be repeated.
_PASSES = (
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
    "CANCELLED",
    "INTERNAL",
    "UNKNOWN",
)
_SHARED_MEMORY = "system_shared_memory"
# For the requests that check a server; a model's first run may have to load it.
_CHECK_WITHIN_S = 5.0
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A new session tries at once, whatever pause an earlier one had come to.
    ("grpc.use_local_subchannel_pool", 1),
]


class KServeSession:
    """A connection to a server whose model fits; ``connect`` makes one. For any number of threads.

    regions: shared memory for pictures where the server is on this machine and accepts it; else None.

    Args:
        server: its address.
        settings: token, certificates, transport.
        model: the network to run there.
        input_size_px: (width, height).
    """

    def __init__(
        self, server: RemoteServer, settings: RemoteSettings, model: Model, input_size_px: tuple[int, int]
    ) -> None:
        self.server = server
        self.regions: RegionPool | None = None
        self._settings = settings
        self._model = model
        self._name = model_name(settings, model)
        self._input_size_px = input_size_px
        self._client: Any = None
        self._contract: Contract | None = None
        self._pictures: PictureTable | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Connect, and compare the server's model with the manifest, with one run.

        Raises EngineAwayError where the server cannot be reached or is not ready, EngineError where its
        model is another one, or it refuses us.
        """
        ca = self._settings.ca_file
        try:
            self._client = triton.InferenceServerClient(
                self.server.address,
                ssl=self.server.tls,
                root_certificates=ca if self.server.tls else None,
                channel_args=_CHANNEL,
            )
        except OSError as error:
            raise EngineError(f"{self.server}: ca_file {ca} cannot be read: {error.strerror}") from None
        if not self._call("is_server_ready"):
            raise EngineAwayError(f"{self.server} is not ready")
        if not self._call("is_model_ready", self._name):
            raise EngineAwayError(
                f"{self.server}: model {self._name} is not ready there, or there is none of that name"
            )
        self._contract = agree(
            self._model, self._where(), self._call("get_model_metadata", self._name), self._size
        )
        self._check_classes()
        if self._settings.transport == "raw":
            self._pictures = PictureTable(self._contract.artefact.input, self._contract.entry)
            self._share_memory()
        self.check(_CHECK_WITHIN_S)

    def check(self, deadline_s: float) -> None:
        """Check with one run that the server answers. Raises as ``run`` does."""
        width, height = self._input_size_px
        self.run(np.zeros((1, height, width, 3), np.uint8), deadline_s)

    def run(self, batch: U8, deadline_s: float) -> Outputs:
        """See ``Engine.run``; each picture is answered within ``deadline_s``.

        Raises EngineAwayError where another server may be asked, EngineError where that would not help.
        """
        return tensors.each_view(batch, self._input_size_px, lambda view: self._infer(view, deadline_s))

    def close(self, *, lost: bool = False) -> None:
        """Close the connection; a ``lost`` server gets no more requests, since it may hang. Idempotent."""
        with self._lock:
            client, self._client = self._client, None
            regions, self.regions = self.regions, None
        if regions is not None:
            regions.close(None if lost else client)
        if client is not None:
            client.close()

    @property
    def _size(self) -> tuple[int, int] | None:
        """None where the picture is measured by its own header."""
        return self._input_size_px if self._settings.transport == "raw" else None

    def _where(self) -> str:
        return f"{self.server}: model {self._name}"

    def _headers(self) -> dict[str, str] | None:
        token = self._settings.token
        return None if token is None else {"authorization": f"Bearer {token.reveal()}"}

    def _call(self, what: str, *arguments: object) -> Any:
        try:
            call = getattr(self._client, what)
            return call(*arguments, headers=self._headers(), client_timeout=_CHECK_WITHIN_S)
        except (InferenceServerException, grpc.RpcError) as error:
            raise self._error(error) from None

    def _check_classes(self) -> None:
        """Compare the classes, where the server reports them: `edgeseg serve` and exported ones do."""
        try:
            config = self._call("get_model_config", self._name).config
        except EngineError:
            # No part of the protocol: MLServer has none.
            return
        classes = config.parameters["classes"].string_value if "classes" in config.parameters else ""
        if classes and tuple(classes.split(",")) != self._model.classes:
            raise EngineError(
                f"{self._where()} has the classes {classes}; model {self._model.name} here has "
                f"{','.join(self._model.classes)}: serve the same model there, or correct remote.model"
            )

    def _share_memory(self) -> None:
        if not (self._settings.shared_memory and self.server.local):
            return
        extensions = self._call("get_server_metadata").extensions
        if _SHARED_MEMORY in extensions:
            assert self._contract is not None
            self.regions = RegionPool(self._client, self._headers(), _CHECK_WITHIN_S)

    def _infer(self, view: U8, deadline_s: float) -> Outputs:
        client, contract = self._client, self._contract
        if client is None or contract is None:
            raise EngineAwayError(f"{self.server}: the connection was closed")
        entry = triton.InferInput(contract.entry.name, contract.shape, contract.datatype)
        names = {role: info.name for role, info in contract.exits.items()}
        wanted = [triton.InferRequestedOutput(name) for name in names.values()]
        try:
            if self._pictures is None:
                entry.set_data_from_numpy(_jpeg(view, self._settings.jpeg_quality, contract.shape))
                answer = self._request(client, entry, wanted, deadline_s)
            else:
                answer = self._request_picture(client, entry, self._pictures.tensor(view), wanted, deadline_s)
        except (InferenceServerException, grpc.RpcError) as error:
            raise self._error(error) from None
        arrays: dict[Role, Any] = {role: answer.as_numpy(name) for role, name in names.items()}
        for role, array in arrays.items():
            if array is None:
                raise EngineError(f"{self._where()} left out its output '{names[role]}'")
        return tensors.by_role(contract.artefact, len(self._model.classes), contract.exits, arrays)

    def _request_picture(
        self, client: Any, entry: Any, tensor: tensors.Tensor, wanted: list[Any], deadline_s: float
    ) -> Any:
        regions = self.regions
        if regions is not None:
            with regions.lend(tensor, deadline_s) as region:
                if region is not None:
                    entry.set_shared_memory(region, tensor.nbytes)
                    try:
                        return self._request(client, entry, wanted, deadline_s)
                    except InferenceServerException as error:
                        regions.discard(region)
                        # A restarted server does not know the region.
                        if _code(error) in _PASSES:
                            raise
        entry.set_data_from_numpy(tensor)
        return self._request(client, entry, wanted, deadline_s)

    def _request(self, client: Any, entry: Any, wanted: list[Any], deadline_s: float) -> Any:
        return client.infer(
            self._name, [entry], outputs=wanted, headers=self._headers(), client_timeout=deadline_s
        )

    def _error(self, error: Any) -> EngineError:
        """Return our error for a server's; its text never has what we sent."""
        if isinstance(error, grpc.RpcError):
            code, text = error.code().name, str(error.details())
        else:
            code, text = _code(error), str(error.message())
        text = text.strip().splitlines()[0][:200] if text.strip() else "no reason given"
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            return EngineError(f"{self.server} refuses us ({text}); give its token in remote.token_file")
        if code in _PASSES:
            words = {"UNAVAILABLE": "cannot be reached", "DEADLINE_EXCEEDED": "did not answer in time"}
            late = code != "UNAVAILABLE"
            return EngineAwayError(f"{self.server} {words.get(code, f'failed ({code})')}: {text}", late=late)
        return EngineError(f"{self._where()}: {text} ({code})")


def _code(error: Any) -> str:
    return str(error.status()).rpartition(".")[2]


def model_name(settings: RemoteSettings, model: Model) -> str:
    """Return the name of the model on the server."""
    if settings.model is not None:
        return settings.model
    return model.name + (JPEG_SUFFIX if settings.transport == "jpeg" else "")


def connect(
    server: RemoteServer, settings: RemoteSettings, model: Model, input_size_px: tuple[int, int]
) -> KServeSession:
    """Return a session that is ready to run. Raises as ``KServeSession.open`` does."""
    session = KServeSession(server, settings, model, input_size_px)
    try:
        session.open()
    except EngineError:
        session.close()
        raise
    return session


def _jpeg(view: U8, quality: int, shape: tuple[int, ...]) -> Any:
    done, coded = cv2.imencode(
        ".jpg", cv2.cvtColor(view, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert done, "uint8 pictures of three channels can always be coded"
    return np.array([coded.tobytes()], dtype=np.object_).reshape(shape)
