"""The systemd unit: valid, hardened, and possible for what edgeseg does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing

FOLDER = ROOT / "systemd"
UNIT = FOLDER / "edgeseg@.service"
EXAMPLES = sorted((FOLDER / "examples").glob("*.conf"))


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze (package systemd)")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=280, check=False
    )


def runnable(folder: Path, *drop_ins: Path) -> Path:
    """The unit with a program that exists: verify looks for it, and edgeseg is not in /opt here."""
    text = UNIT.read_text()
    assert "ExecStart=/opt/edgeseg/bin/edgeseg run /etc/edgeseg/%i.yaml\n" in text
    unit = folder / UNIT.name
    unit.write_text(text.replace("ExecStart=/opt/edgeseg/bin/edgeseg", f"ExecStart={sys.executable}"))
    for drop_in in drop_ins:
        (folder / f"{UNIT.name}.d").mkdir(exist_ok=True)
        shutil.copy(drop_in, folder / f"{UNIT.name}.d")
    return unit


@pytest.mark.parametrize("drop_in", [None, *EXAMPLES], ids=lambda path: path.stem if path else "alone")
def test_verify_is_silent(tmp_path: Path, drop_in: Path | None) -> None:
    answer = analyze("verify", str(runnable(tmp_path, *([drop_in] if drop_in else []))))
    # A misspelt key is only a warning, with exit code 0.
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_verify_would_notice_a_misspelt_key(tmp_path: Path) -> None:
    unit = runnable(tmp_path)
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHom="))
    assert "ProtectHom" in analyze("verify", str(unit)).stderr


def test_exposure_is_at_most_2_5(tmp_path: Path) -> None:
    answer = analyze("security", "--offline=true", "--threshold=25", "--no-pager", str(UNIT))
    assert answer.returncode == 0, answer.stdout
    assert answer.stderr == ""


def test_the_unit_does_what_the_daemon_expects() -> None:
    lines = UNIT.read_text().splitlines()
    for wanted in (
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "DynamicUser=yes",
        # Two instances that shared an outbox would send each other's alerts.
        "StateDirectory=edgeseg/%i",
        "RestartPreventExitStatus=2",
        "KillMode=mixed",
    ):
        assert wanted in lines
    assert any(line.startswith("WatchdogSec=") for line in lines)


UNDER_THE_SAME_RULE = """\
import ctypes, sys
from pathlib import Path
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # linux/prctl.h, Linux 6.3
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
import mmap
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    pass
else:
    sys.exit("the rule does not hold")
import av, cv2
import numpy as np
with av.open(sys.argv[1]) as container:
    frame = next(container.decode(video=0))
    rgb = frame.reformat(width=32, height=32, format="rgb24").to_ndarray()
    cv2.resize(rgb, (16, 16))
if sys.argv[2:]:
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(sys.argv[2], num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.zeros((1, 513, 513, 3), np.uint8))
    interpreter.invoke()
import onnx, onnxruntime
from onnx import TensorProto, helper
weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], [0.1] * 108)
graph = helper.make_graph(
    [helper.make_node("Conv", ["x", "w"], ["y"])], "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 14, 14])], [weights],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
session.run(None, {"x": np.ones((1, 3, 16, 16), np.float32)})
"""


def test_nothing_needs_writable_code(tiny_clip: Path, data_dir: Path) -> None:
    """``MemoryDenyWriteExecute=yes`` holds for the decoder and both runtimes."""
    network = data_dir / "models" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    answer = subprocess.run(
        [sys.executable, "-c", UNDER_THE_SAME_RULE, str(tiny_clip), str(network)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if answer.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    assert answer.returncode == 0, answer.stderr
