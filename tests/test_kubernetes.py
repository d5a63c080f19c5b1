"""The Kubernetes examples: valid to the letter, confined, and their pipeline file is right."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeseg import config
from edgeseg.web.routes import ROUTES
from tests.conftest import ROOT

EXAMPLES = ROOT / "docs" / "examples" / "kubernetes"


def documents(name: str) -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((EXAMPLES / name).read_text())}


@pytest.fixture
def daemon_set() -> Any:
    return documents("edgeseg.yaml")["DaemonSet"]


def test_strictly_valid() -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="make test-kubernetes installs kubernetes-validate"
    )
    version = kubernetes_validate.latest_version()
    for document in documents("edgeseg.yaml").values():
        kubernetes_validate.validate(document, version, strict=True)
    # It would notice a typo.
    wrong = documents("edgeseg.yaml")["DaemonSet"]
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_the_pipeline_file_is_right(tmp_path: Path, daemon_set: Any) -> None:
    text = documents("edgeseg.yaml")["ConfigMap"]["data"]["pipeline.yaml"]
    (init,) = daemon_set["spec"]["template"]["spec"]["initContainers"]
    (tmp_path / "given").write_text(text)
    script = init["command"][2].replace("/given/pipeline.yaml", "given").replace("/etc/edgeseg/", "")
    named = {**os.environ, "NODE_NAME": "gate-7.example.org"}
    subprocess.run(["sh", "-c", script], cwd=tmp_path, env=named, check=True)
    settings = config.load(tmp_path / "pipeline.yaml")
    assert settings.node == "gate-7-example-org"
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    assert settings.web is not None
    assert container["ports"][0]["containerPort"] == settings.web.port
    known = {route.path for route in ROUTES}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in known


def test_it_is_confined(daemon_set: Any) -> None:
    pod = daemon_set["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert not any("hostPath" in volume for volume in pod["volumes"])
    for container in (*pod["initContainers"], *pod["containers"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in pod["volumes"]}


def test_no_secret_is_in_the_manifests() -> None:
    assert all(
        one["kind"] != "Secret"
        for name in ("edgeseg.yaml", "kserve.yaml")
        for one in documents(name).values()
    )


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "coral.ai/edgetpu"])
def test_the_variants_in_comments_fit(resource: str) -> None:
    text = (EXAMPLES / "edgeseg.yaml").read_text()
    (line,) = [line for line in text.splitlines() if resource in line]
    limits = yaml.safe_load(line.strip().removeprefix("# "))["limits"]
    assert limits[resource] == 1
    assert "memory" in limits


def test_the_inference_service_has_the_shape_of_kserve() -> None:
    service = documents("kserve.yaml")["InferenceService"]
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["spec"].keys() == {"predictor"}
    model = service["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "triton"}
    assert model["protocolVersion"] == "v2"
    assert re.match(r"(pvc|s3|gs|https)://", model["storageUri"])
