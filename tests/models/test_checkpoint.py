"""Names, files and what is wrong with them."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest
import torch

from insitu import models
from insitu.errors import CommandError, InputError, InsituError
from insitu.models.checkpoint import build, load_network, read_tensors, save_network, unpacked


@pytest.fixture
def saved(tmp_path):
    file = tmp_path / "mine.safetensors"
    save_network(build("resunet"), file, {"architecture": "resunet", "name": "mine", "threshold": 0.4})
    return file


def two_lines(error):
    text = str(error)
    assert text.count("\n") == 1
    assert text.startswith("error: ")
    return text


def test_a_saved_network_loads_with_the_same_output(saved):
    model = load_network(saved)
    assert (model.name, model.threshold, model.side_multiple) == ("mine", 0.4, 16)
    again = models.load(str(saved))
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 48, 64)).astype(np.float32))
    assert torch.equal(model.probabilities(image), again.probabilities(image))


def test_weights_to_go_on_training_with_keep_their_norms(saved, tmp_path):
    names = build("resunet").state_dict().keys()
    assert load_network(saved).module.state_dict().keys() != names  # folded
    whole = load_network(saved, fold=False)
    assert whole.module.state_dict().keys() == names
    save_network(whole.module, tmp_path / "again.safetensors", {"architecture": "resunet"})
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 48, 64)).astype(np.float32))
    again, first = load_network(tmp_path / "again.safetensors"), load_network(saved)
    assert torch.equal(again.probabilities(image), first.probabilities(image))


def test_files_are_safetensors_and_the_numpy_reader_agrees(saved):
    from safetensors.numpy import load_file

    theirs, ours = load_file(saved), unpacked(saved.read_bytes(), saved)
    assert theirs.keys() == ours.keys()
    for key, value in theirs.items():
        assert value.dtype == ours[key].dtype
        np.testing.assert_array_equal(value, ours[key])


def test_files_of_the_safetensors_package_are_read_without_it(tmp_path, monkeypatch):
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    arrays = {"a": rng.standard_normal((2, 3, 4)).astype(np.float32), "b": np.arange(5), "c": np.float16([[1.5]])}
    arrays["scalar"] = np.array(7, np.int64)
    save_file(arrays, tmp_path / "x.safetensors", metadata={"made": "here"})
    monkeypatch.setitem(sys.modules, "safetensors", None)
    found = read_tensors(tmp_path / "x.safetensors")
    assert found.keys() == arrays.keys()
    for key, value in arrays.items():
        np.testing.assert_array_equal(found[key], value)
        assert found[key].shape == value.shape


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("keep", [0, 4, 8, 60, 300, -1])
def test_truncated_files_are_named(saved, monkeypatch, installed, keep):
    if not installed:
        monkeypatch.setitem(sys.modules, "safetensors", None)
    card = json.loads(saved.with_suffix(".json").read_text())
    saved.with_suffix(".json").write_text(json.dumps({"architecture": card["architecture"]}))
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(InputError, match="damaged") as caught:
        load_network(saved)
    assert "mine.safetensors" in two_lines(caught.value)


def test_hostile_headers_are_refused(tmp_path):
    def file(header, body=b"\0" * 16):
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + body

    for header in (
        [],
        {"a": 3},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 99]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [8, 0]}},
        {"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 16]}},
        {"a": {"dtype": "OBJ", "shape": [4], "data_offsets": [0, 16]}},
    ):
        with pytest.raises(InputError, match="damaged"):
            unpacked(file(header), tmp_path / "x")
    with pytest.raises(InputError, match="damaged"):
        unpacked((2**62).to_bytes(8, "little") + b"{}", tmp_path / "x")


def test_another_architecture_is_refused(saved):
    card = json.loads(saved.with_suffix(".json").read_text())
    saved.with_suffix(".json").write_text(json.dumps({**card, "architecture": "unet"}))
    with pytest.raises(InputError, match="do not fit the architecture 'unet'") as caught:
        load_network(saved)
    two_lines(caught.value)
    saved.with_suffix(".json").write_text(json.dumps({**card, "architecture": "vit"}))
    with pytest.raises(InputError, match="no architecture 'vit'"):
        load_network(saved)


def test_changed_weights_do_not_match_their_card(saved):
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(bytes(data))
    with pytest.raises(InputError, match="not the file its model card describes") as caught:
        load_network(saved)
    two_lines(caught.value)


@pytest.mark.parametrize("protocol", [2, 4, "zip"])
def test_a_pickle_is_refused_unopened(tmp_path, protocol):
    file = tmp_path / "evil.safetensors"
    if protocol == "zip":
        torch.save({"a": torch.zeros(2)}, file)
    else:
        file.write_bytes(pickle.dumps({"a": 1}, protocol=protocol))
    with pytest.raises(InputError, match="pickle") as caught:
        models.load(str(file))
    two_lines(caught.value)


def test_a_missing_file_card_or_key_is_named(saved, tmp_path):
    with pytest.raises(InputError, match="cannot read the weights"):
        models.load(str(tmp_path / "none.safetensors"))
    saved.with_suffix(".json").write_text("{}")
    with pytest.raises(InputError, match="not valid"):
        load_network(saved)
    saved.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match="not valid"):
        load_network(saved)
    saved.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="no model card"):
        load_network(saved)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("clasical", "classical"), ("defalt", "default"), ("CLASSICAL", "classical")]
)
def test_a_mistyped_name_is_answered_with_the_right_one(wrong, meant):
    with pytest.raises(CommandError, match="no model") as caught:
        models.load(wrong)
    assert f"did you mean '{meant}'?" in two_lines(caught.value)


def test_a_model_of_another_package_is_found_by_its_name(monkeypatch):
    from insitu import registry
    from insitu.registry import Entry

    extra = Entry("threshold", "insitu.models.classical:Classical", "from elsewhere")
    monkeypatch.setattr(registry, "entries", lambda group: (*registry.MODELS, extra))
    assert "threshold" in models.names()
    assert models.load("threshold").threshold == 0.5


def test_names_lead_to_models():
    assert models.load("default").name == models.DEFAULT
    for name in models.names():
        assert isinstance(models.load(name).threshold, float)
    for weights in models.weights():
        architecture = weights.partition("-")[0]
        assert models.load(architecture).name.startswith(architecture)


def test_errors_are_user_errors():
    assert issubclass(InputError, InsituError)
    assert InputError.exit_code == 3
