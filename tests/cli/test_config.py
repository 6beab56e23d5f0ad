"""Configurations refuse what cannot work, in the user's words, and document every field."""

import dataclasses
import inspect
import re

import pytest

from gta import config
from gta.errors import OptionError

CLASSES = [
    value
    for value in vars(config).values()
    if inspect.isclass(value) and dataclasses.is_dataclass(value) and value.__module__ == "gta.config"
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_field_has_a_meaning_and_a_default(kind):
    source = inspect.getsource(kind)
    for field in dataclasses.fields(kind):
        assert re.search(rf'^    {field.name}: .*?\n    """[^"]+"""', source, re.M | re.S), field.name
    kind()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_frozen(kind):
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kind(), name, None)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: config.ModelConfig(num_frames=0), "model.num_frames is 0"),
        (lambda: config.ModelConfig(dropout=1.0), "model.dropout is 1.0"),
        (lambda: config.DataConfig(batch_size=0), "data.batch_size is 0"),
        (lambda: config.ClipConfig(test_crops=2), "data.clip.test_crops is 2"),
        (lambda: config.ClipConfig(frame_stride=0), "data.clip.frame_stride is 0"),
        (lambda: config.ClipConfig(crop_size=0), "data.clip.crop_size is 0"),
        (lambda: config.ClipConfig(resize=0), "data.clip.resize is 0"),
        (lambda: config.ClipConfig(test_resize=(256, 0)), "data.clip.test_resize is (256, 0)"),
        (lambda: config.ClipConfig(train_short_side=(9, 8)), "data.clip.train_short_side is (9, 8)"),
        (lambda: config.ClipConfig(std=(0.2, 0.0, 0.2)), "data.clip.std is (0.2, 0.0, 0.2)"),
        (lambda: config.OptimConfig(lr=0.0), "optim.lr is 0"),
        (lambda: config.RunConfig(max_epochs=0), "run.max_epochs is 0"),
        (lambda: config.TrainConfig(model=config.ModelConfig(num_frames=16)), "model.num_frames is 16"),
    ],
)
def test_values_that_cannot_work_name_their_field(make, words):
    with pytest.raises(OptionError, match=re.escape(words)):
        make()
