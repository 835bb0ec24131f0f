"""Networks of the literature: every preset builds, predicts, is written and read again."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
import torch

from insitu.errors import CommandError
from insitu.models.architectures import anatomy, build, names
from insitu.models.checkpoint import load_network, save_network
from insitu.models.heads import particle_logit
from insitu.models.inputs import Conditioning
from insitu.models.network import Network
from insitu.models.presets import folder, preset, presets, read

ALL = presets()
SMALL = [name for name, p in ALL.items() if p.architecture != "fcn8s"]


def test_every_architecture_has_a_preset_and_every_preset_an_architecture():
    assert {p.architecture for p in ALL.values()} == set(names())


@pytest.mark.parametrize("path", sorted(folder().glob("*.toml")), ids=lambda p: p.stem)
def test_a_preset_says_where_it_comes_from_and_what_it_reached(path):
    first, *_ = read(path)
    for word in ("Recipe as published", "Scores"):
        assert word in first.header
    assert first.source.startswith(("doi:", "arXiv:"))
    assert first.source.partition(":")[2] in first.header
    assert {"loss", "optimiser", "rate", "batch", "epochs", "threshold"} <= first.recipe.keys()
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    assert all(v["about"] for v in table.get("variants", {}).values())
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 120


@pytest.mark.parametrize("name", SMALL)
def test_a_preset_builds_predicts_and_comes_back_from_its_file(tmp_path, name):
    chosen = ALL[name]
    torch.manual_seed(0)
    module = build(chosen.architecture, chosen.parameters)
    card = {"architecture": chosen.architecture, "parameters": chosen.parameters, "input": chosen.input.as_card()}
    image = torch.from_numpy(np.random.default_rng(0).uniform(10, 200, (1, 70, 90)).astype(np.float32))
    before = Network(module, name, card).probabilities(image)
    assert before.shape == image.shape
    assert 0.0 <= float(before.min()) < float(before.max()) <= 1.0
    file = tmp_path / "saved.safetensors"
    save_network(module, file, card)
    again = load_network(file)
    assert again.conditioning == chosen.input
    # norms are folded into convolutions when weights are loaded, which rounds them anew
    torch.testing.assert_close(again.probabilities(image), before, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("name", SMALL)
def test_a_preset_learns_in_a_few_steps(name):
    """No layer is dead at its beginning: every tensor has a gradient, and the loss on one image falls."""
    chosen = ALL[name]
    torch.manual_seed(0)
    module = build(chosen.architecture, chosen.parameters).train()
    truth = torch.zeros(2, 64, 64)
    truth[:, 16:40, 20:50] = 1.0
    image = (2.0 * truth + torch.randn(2, 64, 64))[:, None]
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        logit = particle_logit(module(image), module.activation)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, truth)
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in module.parameters())
        losses.append(float(loss.detach()))
        optimiser.step()
    assert losses[-1] < losses[0]
    assert sum(float(p.grad.abs().sum()) > 0.0 for p in module.parameters()) > 0.8 * len(list(module.parameters()))


@pytest.mark.parametrize("name", sorted(set(ALL) - set(SMALL)))
def test_a_large_preset_is_consistent(name):
    """Shapes alone, on torch's meta device; a narrow one of the same form predicts and comes back (above all)."""
    chosen = ALL[name]
    assert anatomy(chosen.architecture, chosen.parameters).parameters > 14_000_000
    with torch.device("meta"):
        module = build(chosen.architecture, chosen.parameters).eval()
        assert module(torch.empty(2, 1, 64, 96)).shape == (2, 2, 64, 96)


@pytest.mark.parametrize("parameters", [{"fully": 8}, {"fully": 0}, {"fully": 8, "dilated": True}])
def test_a_narrow_fcn_comes_back_from_its_file(tmp_path, parameters):
    card = {"architecture": "fcn8s", "parameters": {"base": 4, **parameters}, "input": "standard"}
    module = build("fcn8s", card["parameters"])
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 50, 70)).astype(np.float32))
    before = Network(module, "n", card).probabilities(image)
    save_network(module, tmp_path / "n.safetensors", card)
    assert torch.equal(load_network(tmp_path / "n.safetensors").probabilities(image), before)


def test_the_table_of_the_page_is_true():
    page = (folder().parent.parent / "docs" / "explanation" / "architectures.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")]
    told = {row[0].strip("`"): [int(cell.replace(" ", "")) for cell in row[1:5]] for row in rows if len(row) == 6}
    assert told.keys() == ALL.keys()
    for name, numbers in told.items():
        found = anatomy(ALL[name].architecture, ALL[name].parameters)
        true = [found.parameters, found.mac_per_px, found.receptive_field_px, found.widest_field_px]
        assert numbers == true, name


def test_a_variant_says_only_what_differs():
    whole, blurred = preset("horwath-unet"), preset("horwath-unet:blur-2")
    assert blurred.input == Conditioning("minmax", blur_px=2.0)
    assert (whole.architecture, whole.parameters, whole.recipe) == ("unet", {}, blurred.recipe)
    assert preset("sytwu-resunet:m28").parameters == {"pools": [2, 8], "base": 4}
    assert preset("groschner-unet").input == Conditioning("maximum", "counts", median=True)


@pytest.mark.parametrize(
    ("name", "pixels"), [("m22", 44), ("m24", 64), ("m28", 104), ("m44", 120), ("m88", 392), ("dilated", 60)]
)
def test_the_line_of_a_variant_tells_its_true_field(name, pixels):
    chosen = preset(f"sytwu-resunet:{name}")
    assert anatomy(chosen.architecture, chosen.parameters).receptive_field_px == pixels
    assert f"field {pixels} px" in chosen.about


def test_a_name_that_is_none_is_answered():
    with pytest.raises(CommandError, match="no preset 'horwat-unet'") as caught:
        preset("horwat-unet")
    assert "did you mean 'horwath-unet'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("about = 1\n", "names no architecture"), ("x = 1\n", "unknown entry 'x'"), ("a b\n", "is not TOML")],
)
def test_a_wrong_file_is_answered(tmp_path, text, said):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(CommandError, match=said):
        read(tmp_path / "mine.toml")
