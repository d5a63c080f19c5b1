"""Recipe files: every mistake at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgeseg.zoo
from edgeseg.errors import ConfigError
from edgeseg.zoo.recipe import load_recipe

RECIPES = sorted((Path(edgeseg.zoo.__file__).parent / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_load(path: Path) -> None:
    recipe = load_recipe(path)
    assert len(recipe.classes) == (11 if "camvid" in path.stem else 20 if "scenes" in path.stem else 2)
    assert all(recipe.classes[index] for index in recipe.augmentation.rare)
    assert all(side % 32 == 0 for side in recipe.augmentation.crop_px)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "classes: [road, car]\nsteps: many\nbatchsize: 4\nloss: {dices: 1}\naugmentation: {rare: [tram]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    said = str(caught.value)
    for part in ("network: missing", "steps: 'many'", "batchsize: unknown", "loss.dices: unknown", "'tram'"):
        assert part in said


def test_a_file_that_is_not_yaml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: [")
    with pytest.raises(ConfigError, match=r"recipe\.yaml: not a readable YAML file"):
        load_recipe(path)
