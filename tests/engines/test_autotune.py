"""``engine: auto``: the candidates, the choice, the measurement cache, and the log of failed candidates."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from edgeseg.clock import ManualClock, SystemClock
from edgeseg.engines import autotune, open_engine
from edgeseg.engines.autotune.benchmark import agreement, least_agreement
from edgeseg.engines.measurement_cache import Result, Table, load, save
from edgeseg.engines.select import EngineCandidate, candidates, choose
from edgeseg.models import registry
from edgeseg.models.model import Figures, Model
from edgeseg.models.runtimes import ENGINES
from tests.support.tiny_models import Convention, write_model

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (extra litert)")

SIZE = (64, 48)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def two_formats(folder: Path, tflite: Convention | None = None) -> Model:
    """A tiny network as float ONNX and float TFLite: onnxruntime and LiteRT run it, and OpenVINO both."""
    write_model(folder, tflite or Convention(layout="nhwc"), "tflite")
    entry = yaml.safe_load((folder / "model.yaml").read_text())
    other = entry["artefacts"][0] | {"input": entry["input"], "output": entry["output"]}
    write_model(folder, Convention())
    document = yaml.safe_load((folder / "model.yaml").read_text())
    document["artefacts"].append(other)
    (folder / "model.yaml").write_text(yaml.safe_dump(document))
    return registry.find(str(folder))


def on_cpu(model: Model) -> tuple[EngineCandidate, ...]:
    """Only what every test machine has."""
    wanted = {("onnxruntime", "tiny.onnx"), ("litert", "tiny.tflite")}
    return tuple(
        option for option in candidates(model, SIZE) if (option.engine, option.artefact.blob.file) in wanted
    )


def measured(model: Model, options: tuple[EngineCandidate, ...], limit_s: float = 60.0) -> Table:
    return autotune.measure(model, options, SIZE, 1, limit_s, SystemClock(), threading.Event())


def by_engine(table: Table) -> dict[str, Result]:
    return {result.engine: result for result in table.results}


def test_candidates_are_what_could_run(tmp_path: Path) -> None:
    model = two_formats(tmp_path / "tiny")
    found = candidates(model, SIZE)
    assert {option.engine for option in on_cpu(model)} == {"onnxruntime", "litert"}
    assert "coral" not in {option.engine for option in found}
    assert candidates(model, (640, 480)) == ()
    (tmp_path / "tiny" / "tiny.tflite").unlink()
    assert {option.artefact.blob.file for option in candidates(model, SIZE)} == {"tiny.onnx"}


def test_int8_files_go_to_whom_they_were_quantized_for(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny", Convention(layout="nhwc", dtype="uint8"), "onnx", "int8")
    model = registry.find(str(tmp_path / "tiny"))
    assert "onnxruntime" in {option.engine for option in candidates(model, SIZE)}
    symmetric = replace(model.artefacts[0], flavour="tensorrt")
    assert {option.engine for option in candidates(replace(model, artefacts=(symmetric,)), SIZE)} <= {
        "tensorrt"
    }
    # Where nothing was measured, the one for CPUs comes first whatever the manifest's order.
    both = replace(model, artefacts=(symmetric, model.artefacts[0]))
    assert choose(both) == ("onnxruntime", model.artefacts[0])


def test_all_are_measured_and_one_is_chosen(tmp_path: Path) -> None:
    model = two_formats(tmp_path / "tiny")
    table = measured(model, on_cpu(model))
    results = by_engine(table)
    assert {result.state for result in results.values()} == {"chosen", "slower"}
    assert table.best is not None
    assert table.best.times == 1.0
    for result in results.values():
        assert result.cpu_ms is not None
        assert result.cpu_ms > 0
        assert result.agreement == 1.0
        assert (result.times or 0) >= 0.98
    assert table.ranking()[0].times == min(result.times or 0 for result in results.values())


def test_wrong_labels_lose(tmp_path: Path) -> None:
    """The same network with blue and red mixed up, which a pipeline would never notice."""
    wrong = Convention(layout="nhwc", colour="bgr")
    model = two_formats(tmp_path / "tiny", wrong)
    artefacts = (
        model.artefacts[0],
        replace(model.artefacts[1], input=replace(model.artefacts[1].input, colour="rgb")),
    )
    model = replace(model, artefacts=artefacts)
    results = by_engine(measured(model, on_cpu(model)))
    assert results["onnxruntime"].state == "chosen"
    assert results["litert"].state == "failed"
    assert results["litert"].verdict.startswith("other labels than the reference: ")
    assert (results["litert"].agreement or 1.0) < autotune.LEAST_AGREEMENT


def test_a_file_that_cannot_be_loaded_loses(tmp_path: Path) -> None:
    model = two_formats(tmp_path / "tiny")
    damaged = b"\0" * 64
    (tmp_path / "tiny" / "tiny.tflite").write_bytes(damaged)
    blob = replace(model.artefacts[1].blob, bytes=len(damaged), sha256=hashlib.sha256(damaged).hexdigest())
    model = replace(model, artefacts=(model.artefacts[0], replace(model.artefacts[1], blob=blob)))
    results = by_engine(measured(model, on_cpu(model)))
    assert results["litert"].verdict.endswith("tiny.tflite: is not a TFLite file")
    assert results["onnxruntime"].state == "chosen"


def test_a_crash_takes_nobody_else_along(tmp_path: Path) -> None:
    """What a runtime may do with a file that its verifier lets through: the process is gone."""
    model = two_formats(tmp_path / "tiny")
    # A class list that pickles, and ends the process that unpickles it.
    options = on_cpu(model)
    fatal = tuple(
        replace(option, artefact=Fatal.of(option.artefact)) if option.engine == "litert" else option
        for option in options
    )
    table = autotune.measure(model, fatal, SIZE, 1, 60.0, SystemClock(), threading.Event())
    assert [result.verdict for result in table.results if result.engine == "litert"] == [
        "its process died (exit code 3)"
    ]
    assert by_engine(table)["onnxruntime"].state == "chosen"


class Fatal:
    """Reads like the artefact it stands for; whoever unpickles it exits with 3."""

    def __init__(self, artefact: object) -> None:
        self.artefact = artefact

    @classmethod
    def of(cls, artefact: object) -> Fatal:
        return cls(artefact)

    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["artefact"], name)

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


def test_time_is_bounded(tmp_path: Path) -> None:
    model = two_formats(tmp_path / "tiny")
    table = measured(model, on_cpu(model), limit_s=0.0)
    assert table.best is None
    assert all("the time was up" in result.verdict for result in table.results)


def test_a_stop_ends_it(tmp_path: Path) -> None:
    model = two_formats(tmp_path / "tiny")
    stop = threading.Event()
    stop.set()
    table = autotune.measure(model, on_cpu(model), SIZE, 1, 60.0, ManualClock(), stop)
    assert table.best is None


def test_agreement_counts_where_the_reference_is_sure() -> None:
    labels = np.zeros((10, 10), np.uint8)
    sure = np.zeros((10, 10), np.bool_)
    sure[:5] = True
    other = labels.copy()
    other[5:] = 1
    assert agreement([(other, sure)], [(labels, sure)]) == 1.0
    other[0] = 1
    assert agreement([(other, sure)], [(labels, sure)]) == 0.8
    # Sure of nothing: then everything counts.
    assert agreement([(other, sure)], [(labels, np.zeros_like(sure))]) == 0.4
    # Another grid is read at the nearest cell.
    assert agreement([(np.repeat(np.repeat(labels, 2, 0), 2, 1), sure)], [(labels, sure)]) == 1.0


def test_what_passed_the_gate_has_more_room(tmp_path: Path) -> None:
    model = two_formats(tmp_path / "tiny")
    option = candidates(model, SIZE)[0]
    assert least_agreement(option) == autotune.LEAST_AGREEMENT
    figures = Figures(8, 8, 0.99, (), 0.1, 0.2, (0.0, 0.0), False)
    gated = replace(option, artefact=replace(option.artefact, precision="int8", figures=figures))
    assert least_agreement(gated) == autotune.LEAST_AGREEMENT_GATED
    forced = replace(option, artefact=replace(gated.artefact, figures=replace(figures, forced=True)))
    assert least_agreement(forced) == autotune.LEAST_AGREEMENT


def table_for(options: tuple[EngineCandidate, ...], best: int) -> Table:
    return Table(
        tuple(
            Result(
                option.engine,
                option.artefact.blob.file,
                "CPU",
                1.0,
                1.0,
                1.0 if number == best else 2.0,
                1.0,
                "chosen" if number == best else "slower",
                "",
            )
            for number, option in enumerate(options)
        ),
        best,
    )


def test_what_was_measured_is_remembered(tmp_path: Path) -> None:
    model = two_formats(tmp_path / "tiny")
    options = candidates(model, SIZE)
    engine = open_engine(model)
    assert engine.name == "onnxruntime"
    engine.close()
    litert = next(number for number, option in enumerate(options) if option.engine == "litert")
    save(model, SIZE, 1, options, table_for(options, litert))
    assert load(model, SIZE, 1, options) == table_for(options, litert)
    assert load(model, SIZE, 2, options, exactly=True) is None
    assert load(model, SIZE, 2, options) == table_for(options, litert)
    engine = open_engine(model)
    assert engine.name == "litert"
    engine.close()
    # Who names an engine gets it.
    engine = open_engine(model, "onnxruntime")
    assert engine.name == "onnxruntime"
    engine.close()


def test_two_numbers_of_threads_are_remembered_beside_each_other(tmp_path: Path) -> None:
    model = two_formats(tmp_path / "tiny")
    options = candidates(model, SIZE)
    save(model, SIZE, 1, options, table_for(options, 0))
    save(model, SIZE, 2, options, table_for(options, 1))
    assert load(model, SIZE, 1, options, exactly=True) == table_for(options, 0)
    assert load(model, SIZE, 2, options, exactly=True) == table_for(options, 1)


def test_it_is_forgotten_when_something_changed(tmp_path: Path, cache: Path) -> None:
    model = two_formats(tmp_path / "tiny")
    options = candidates(model, SIZE)
    save(model, SIZE, 1, options, table_for(options, 0))
    assert load(model, SIZE, 1, options[:-1]) is None
    (kept,) = (cache / "engines").iterdir()
    document = json.loads(kept.read_text())
    for key, value in (
        ("cpu", "another"),
        ("versions", {"onnxruntime": "onnxruntime 0.1"}),
        ("devices", ["x"]),
    ):
        kept.write_text(json.dumps(document | {"key": document["key"] | {key: value}}))
        assert load(model, SIZE, 1, options) is None
    for damaged in ("", "[]", "{}", "{", '{"key": {}, "threads": []}', "\0"):
        kept.write_text(damaged)
        assert load(model, SIZE, 1, options) is None
    save(model, SIZE, 1, options, table_for(options, 1))
    assert load(model, SIZE, 1, options) == table_for(options, 1)


def test_run_measures_once_and_says_who_is_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = two_formats(tmp_path / "tiny", Convention(layout="nhwc", colour="bgr"))
    right = replace(model.artefacts[1], input=replace(model.artefacts[1].input, colour="rgb"))
    model = replace(model, artefacts=(model.artefacts[0], right))
    caplog.set_level(logging.INFO)
    engine = autotune.open_best_engine(model, "auto", SIZE, 1)
    assert ENGINES[engine.name].formats[0] == "onnx"
    engine.close()
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert any(
        "litert with tiny.tflite cannot run tiny: other labels than the reference" in line for line in warned
    )
    assert any(record.message.startswith("engine auto: tiny at 64x48 runs in ") for record in caplog.records)
    caplog.clear()
    autotune.open_best_engine(model, "auto", SIZE, 1).close()
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_what_fails_after_all_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Measured best last week; this week its file was replaced by one that says otherwise."""
    model = two_formats(tmp_path / "tiny")
    damaged = b"\0" * 64
    (tmp_path / "tiny" / "tiny.tflite").write_bytes(damaged)
    blob = replace(model.artefacts[1].blob, bytes=len(damaged), sha256=hashlib.sha256(damaged).hexdigest())
    model = replace(model, artefacts=(model.artefacts[0], replace(model.artefacts[1], blob=blob)))
    options = candidates(model, SIZE)
    litert = next(number for number, option in enumerate(options) if option.engine == "litert")
    save(model, SIZE, 1, options, table_for(options, litert))
    engine = autotune.open_best_engine(model, "auto", SIZE, 1)
    assert engine.name != "litert"
    engine.close()
    assert any("the next best is used" in record.message for record in caplog.records)


def test_a_cache_that_cannot_be_written_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cache: Path
) -> None:
    model = two_formats(tmp_path / "tiny")
    cache.write_text("")
    options = candidates(model, SIZE)
    autotune.save_measurements(model, SIZE, 1, options, table_for(options, 0))
    assert any("the next start measures again" in record.message for record in caplog.records)


def test_one_candidate_needs_no_measuring(tmp_path: Path, cache: Path) -> None:
    write_model(tmp_path / "tiny", Convention(layout="nhwc", dtype="int8"), "tflite", "int8")
    engine = autotune.open_best_engine(registry.find(str(tmp_path / "tiny")), "auto", SIZE, 1)
    assert engine.name == "litert"
    engine.close()
    assert not (cache / "engines").exists()
