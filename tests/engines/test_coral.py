"""The way to a Coral Edge TPU, with a stand-in for its library: no real one ever took part."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeseg.engines import open_engine
from edgeseg.engines.hardware import absence, edge_tpus
from edgeseg.errors import EngineError
from edgeseg.models import registry
from edgeseg.models.model import Model
from tests.support.engine_cases import real
from tests.support.tiny_models import Convention, write_model

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (extra litert)")

# What libedgetpu does as far as TensorFlow Lite's C interface is concerned (core/c/common.h): its delegate
# takes over each `edgetpu-custom-op`. This one leaves the operator's outputs as they are.
STAND_IN = r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int size; int data[]; } IntArray;
typedef struct Context Context;
typedef struct { IntArray *inputs, *outputs, *intermediates, *temporaries; void *user, *builtin; } Node;
typedef struct {
  void* (*init)(Context*, const char*, size_t);
  void (*free)(Context*, void*);
  int (*prepare)(Context*, Node*);
  int (*invoke)(Context*, Node*);
  const char* (*profiling_string)(const Context*, const Node*);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* rest[8];
} Registration;
typedef struct Delegate {
  void* data;
  int (*prepare)(Context*, struct Delegate*);
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
  void* builder;
} Delegate;
struct Context {
  size_t tensors_size;
  int (*execution_plan)(Context*, IntArray**);
  void *tensors, *impl, *resize, *report, *add;
  int (*node)(Context*, int, Node**, Registration**);
  int (*replace)(Context*, Registration, const IntArray*, Delegate*);
};

static int fine(Context* context, Node* node) { return 0; }

static int take_over(Context* context, Delegate* delegate) {
  IntArray* plan;
  if (context->execution_plan(context, &plan)) return 1;
  IntArray* ours = malloc(sizeof(int) * (plan->size + 1));
  ours->size = 0;
  for (int i = 0; i < plan->size; i++) {
    Node* node;
    Registration* registration;
    if (context->node(context, plan->data[i], &node, &registration)) return 1;
    if (registration->custom_name && !strcmp(registration->custom_name, "edgetpu-custom-op"))
      ours->data[ours->size++] = plan->data[i];
  }
  Registration kernel = {.prepare = fine, .invoke = fine, .custom_name = "stand-in", .version = 1};
  int status = ours->size ? context->replace(context, kernel, ours, delegate) : 0;
  free(ours);
  return status;
}

typedef void (*Report)(const char*);

Delegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count, Report report) {
#ifdef REFUSES
  report("no device");
  return NULL;
#else
  Delegate* delegate = calloc(1, sizeof(Delegate));
  delegate->prepare = take_over;
  // Allows dynamic tensors: else all operators are prepared first, and nobody but us knows ours.
  delegate->flags = 1;
  return delegate;
#endif
}

void tflite_plugin_destroy_delegate(Delegate* delegate) { free(delegate); }
"""

Library = Callable[..., None]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Compiles the stand-in and makes it the Edge TPU's library."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) for the stand-in")

    def compiled(*flags: str) -> None:
        source, made = tmp_path / "standin.c", tmp_path / "libedgetpu.so.1"
        source.write_text(STAND_IN)
        command = [compiler, "-shared", "-fPIC", "-O1", *flags, str(source), "-o", str(made)]
        subprocess.run(command, check=True, timeout=280)
        monkeypatch.setenv("EDGESEG_EDGETPU_LIBRARY", str(made))

    return compiled


@pytest.fixture
def compiled_model(data_dir: Path, tmp_path: Path) -> Model:
    """Coral's own half-width Pascal network, as edgetpu_compiler left it."""
    import hashlib

    model = real("deeplabv3-mnv2-dm05-pascal", tmp_path / "models", data_dir)
    path = data_dir / "models" / "deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite"
    (model.folder / path.name).symlink_to(path)
    raw = path.read_bytes()
    blob = replace(
        model.artefacts[0].blob, file=path.name, bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest()
    )
    return replace(model, artefacts=(replace(model.artefacts[0], blob=blob),))


def test_a_compiled_network_runs_through_the_delegate(library: Library, compiled_model: Model) -> None:
    library()
    engine = open_engine(compiled_model, "coral")
    assert engine.name == "coral"
    views = np.zeros((1, 513, 513, 3), np.uint8)
    # Callers wait for the one device.
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: engine.run(views)["labels"], range(3)))
    # The stand-in computes nothing, so only the operators after it, on the CPU, say what the labels are.
    assert {answer.shape for answer in answers} == {(1, 513, 513)}
    assert min(answer.min() for answer in answers) >= 0
    assert max(answer.max() for answer in answers) < 21
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run(views)


def test_a_delegate_that_refuses(library: Library, compiled_model: Model) -> None:
    library("-DREFUSES")
    with pytest.raises(EngineError, match=r"engine coral: .*found no Edge TPU .* is it plugged in") as caught:
        open_engine(compiled_model, "coral")
    assert "\n" not in str(caught.value)


def test_a_library_that_is_missing(compiled_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESEG_EDGETPU_LIBRARY", "libedgetpu-that-is-not-here.so.1")
    with pytest.raises(EngineError, match=r"cannot be loaded .* libedgetpu1-std of") as caught:
        open_engine(compiled_model, "coral")
    assert "\n" not in str(caught.value)


def test_a_network_that_was_not_compiled_is_refused(library: Library, tmp_path: Path) -> None:
    """It would run on the CPU, all of it, and nobody would know."""
    library()
    folder = write_model(tmp_path / "tiny", Convention(layout="nhwc", dtype="int8"), "tflite", "int8")
    with pytest.raises(EngineError, match="is not compiled for the Edge TPU"):
        open_engine(registry.find(str(folder)), "coral")


def test_edge_tpus_are_found_where_the_kernel_shows_them(tmp_path: Path) -> None:
    assert edge_tpus(tmp_path) == ()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "apex_0").touch()
    for bus, vendor, product in (("1-1", "18d1", "9302"), ("1-2", "18d1", "4ee7"), ("2-1", "1a6e", "089a")):
        device = tmp_path / "sys/bus/usb/devices" / bus
        device.mkdir(parents=True)
        (device / "idVendor").write_text(f"{vendor}\n")
        (device / "idProduct").write_text(f"{product}\n")
    assert edge_tpus(tmp_path) == ("Edge TPU apex_0", "Edge TPU on USB", "Edge TPU on USB")


def test_a_machine_without_one_says_so() -> None:
    if edge_tpus():
        pytest.skip("this machine has an Edge TPU")
    assert absence("coral") == "no Edge TPU on USB or PCIe"
