"""Foreign weights: Keras files of the light UNet, residual UNets saved as whole modules, and what is refused."""

from __future__ import annotations

import json
import os
import pickle

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from insitu import models
from insitu.errors import InputError
from insitu.models.architectures import build
from insitu.models.importing import import_weights, save_imported
from insitu.models.pickles import read_pickle

# (in, out) of each convolution of the published 4-8-16-32 files
CHANNELS = [
    *[(1, 4), (4, 8), (8, 16), (16, 32), (32, 32), (32, 32), (64, 32), (32, 32)],
    *[(48, 16), (16, 16), (24, 8), (8, 8), (12, 4), (4, 4)],
]


def keras_file(path, *, first=1, channels=CHANNELS, classes=2, root="", seed=0, without=()):
    """Write random weights as Keras lays them out; return them by name."""
    rng = np.random.default_rng(seed)
    table = {}

    def layer(name, **arrays):
        for part, values in arrays.items():
            table[f"{name}/{name}/{part}:0"] = values.astype(np.float32)

    for k, (a, b) in enumerate(channels, start=first):
        tail = f"_{k}" if k else ""
        layer(f"conv2d{tail}", kernel=rng.normal(0, 1 / np.sqrt(9 * a), (3, 3, a, b)), bias=rng.normal(0, 0.1, b))
        layer(
            f"batch_normalization{tail}",
            gamma=rng.uniform(0.5, 1.5, b),
            beta=rng.normal(0, 0.3, b),
            moving_mean=rng.normal(0, 0.3, b),
            moving_variance=rng.uniform(1e-5, 2.0, b),  # small ones tell 1e-4 from 1e-3 and 1e-5
        )
    layer("final_layer", kernel=rng.normal(0, 1, (1, 1, channels[-1][1], classes)), bias=rng.normal(0, 1, classes))
    with h5py.File(path, "w") as file:
        for name in reversed(list(table)):  # the order in the file says nothing
            if name not in without:
                file[root + name] = table[name]
    return table


def forward(table, image, first=1):
    """The published network in plain numpy and float64; image (H, W) in 0…1 → logits (H, W, classes)."""

    def convolution(x, name):
        kernel, bias = (table[f"{name}/{name}/{part}:0"].astype(np.float64) for part in ("kernel", "bias"))
        side = kernel.shape[0]
        wide = np.pad(x, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)))
        out = np.zeros((*x.shape[:2], kernel.shape[3])) + bias
        for i in range(side):
            for j in range(side):
                out += wide[i : i + x.shape[0], j : j + x.shape[1]] @ kernel[i, j]
        return out

    def block(x, k):
        name = f"batch_normalization_{k}"
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        gamma, beta, mean, variance = (table[f"{name}/{name}/{part}:0"].astype(np.float64) for part in parts)
        return (convolution(x, f"conv2d_{k}") - mean) / np.sqrt(variance + 1e-4) * gamma + beta

    def relu(x):
        return np.maximum(x, 0)

    x, skips, k = image[:, :, None].astype(np.float64), [], first
    for _ in range(4):
        x = block(x, k)
        skips.append(relu(x))
        x = x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max(axis=(1, 3))  # before the ReLU
        k += 1
    for _ in range(2):
        x, k = relu(block(x, k)), k + 1
    for skip in reversed(skips):
        x = np.concatenate([skip, x.repeat(2, axis=0).repeat(2, axis=1)], axis=2)
        for _ in range(2):
            x, k = relu(block(x, k)), k + 1
    return convolution(x, "final_layer")


def softmax(logits):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("root", ["", "model_weights/"])
def test_keras_weights_give_what_the_published_network_gives(tmp_path, root):
    table = keras_file(tmp_path / "k.h5", root=root)
    found = import_weights(tmp_path / "k.h5")
    assert (found.architecture, found.parameters) == ("light_unet", {"levels": [4, 8, 16, 32], "classes": 2})
    image = np.random.default_rng(1).uniform(0, 1, (48, 64))
    wanted = forward(table, image)
    with torch.inference_mode():
        exact = found.module.double()(torch.from_numpy(image)[None, None])[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(exact, wanted, atol=1e-10)
        single = found.module.float()(torch.from_numpy(image.astype(np.float32))[None, None])[0]
    probability = torch.softmax(single, 0).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(probability, softmax(wanted), atol=1e-5)


def test_an_imported_network_segments_counts_as_it_was_trained(tmp_path):
    """From camera counts to probabilities, file to file: median, maximum, padding to 16 px, softmax."""
    from scipy import ndimage

    from insitu.options import PrepareOptions
    from insitu.prepare import prepare, reference
    from insitu.segment import probabilities

    table = keras_file(tmp_path / "k.h5")
    save_imported(import_weights(tmp_path / "k.h5"), tmp_path / "k.h5", tmp_path / "mine.safetensors", threshold=0.7)
    model = models.load(str(tmp_path / "mine.safetensors"))
    assert (model.threshold, model.sees, model.name) == (0.7, "counts", "mine")
    counts = np.random.default_rng(2).integers(100, 60_000, (1, 48, 64)).astype(np.uint16)
    taken = reference([(0, counts[0])], PrepareOptions(), "dark")
    from insitu.models.inputs import seen

    given = seen(prepare(counts, PrepareOptions(), taken), model.sees)
    with torch.inference_mode():
        found = probabilities(model, given)[0].numpy()
    smoothed = ndimage.median_filter(counts[0].astype(np.float64), 3, mode="nearest")
    np.testing.assert_allclose(found, softmax(forward(table, smoothed / smoothed.max()))[..., 1], atol=1e-5)


def test_every_array_is_named_with_the_place_it_went_to(tmp_path):
    table = keras_file(tmp_path / "k.h5")
    found = import_weights(tmp_path / "k.h5")
    assert sorted(found.source.values()) == sorted(table)
    state = found.module.state_dict()
    assert set(found.source) == {name for name in state if not name.endswith("num_batches_tracked")}
    assert found.source["down.0.convolution.weight"] == "conv2d_1/conv2d_1/kernel:0"
    assert found.source["centre.1.norm.running_var"] == "batch_normalization_6/batch_normalization_6/moving_variance:0"
    assert found.source["up.0.0.convolution.bias"] == "conv2d_7/conv2d_7/bias:0"
    assert found.source["up.3.1.norm.weight"] == "batch_normalization_14/batch_normalization_14/gamma:0"
    kernel = table["conv2d_9/conv2d_9/kernel:0"]
    np.testing.assert_array_equal(state["up.1.0.convolution.weight"].numpy(), kernel.transpose(3, 2, 0, 1))


@pytest.mark.parametrize("first", [0, 15])
def test_layers_may_be_counted_from_any_number(tmp_path, first):
    """Keras numbers on within a session, and leaves the number of the very first away."""
    keras_file(tmp_path / "a.h5")
    keras_file(tmp_path / "b.h5", first=first)
    a, b = (import_weights(tmp_path / name).module.state_dict() for name in ("a.h5", "b.h5"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_other_widths_depths_and_heads_are_read_off_the_file(tmp_path):
    five = [(1, 4), (4, 8), (8, 16), (16, 32), (32, 32), (32, 32), (32, 32), (64, 32), (32, 32), (64, 32), (32, 32)]
    five += CHANNELS[8:]
    keras_file(tmp_path / "five.h5", channels=five)
    assert import_weights(tmp_path / "five.h5").parameters["levels"] == [4, 8, 16, 32, 32]
    keras_file(tmp_path / "one.h5", classes=1)
    assert import_weights(tmp_path / "one.h5").parameters["head"] == "sigmoid"
    keras_file(tmp_path / "two.h5")
    assert import_weights(tmp_path / "two.h5", parameters={"head": "sigmoid"}).module.activation == "sigmoid"


def two_lines(caught):
    text = str(caught.value)
    assert text.count("\n") == 1
    return text


def test_keras_files_of_another_network_are_refused(tmp_path):
    keras_file(tmp_path / "short.h5", channels=CHANNELS[:-1])
    with pytest.raises(InputError, match="is no light UNet: 13 convolutions") as caught:
        import_weights(tmp_path / "short.h5")
    two_lines(caught)
    keras_file(tmp_path / "wrong.h5", channels=[*CHANNELS[:6], (32, 32), *CHANNELS[7:]])
    with pytest.raises(InputError, match=r"'up\.0\.0\.convolution\.weight' should hold \(32, 64, 3, 3\)") as caught:
        import_weights(tmp_path / "wrong.h5")
    two_lines(caught)
    keras_file(tmp_path / "gap.h5", without=["conv2d_3/conv2d_3/bias:0"])
    with pytest.raises(InputError, match="lacks conv2d_3/bias") as caught:
        import_weights(tmp_path / "gap.h5")
    two_lines(caught)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros((3, 3, 1, 4))
    with pytest.raises(InputError, match="no weights as Keras names them"):
        import_weights(tmp_path / "other.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "short.h5").read_bytes()[:3000])
    with pytest.raises(InputError, match="damaged"):
        import_weights(tmp_path / "cut.h5")
    keras_file(tmp_path / "k.h5")
    with pytest.raises(InputError, match="holds a 'light_unet', not a 'unet'"):
        import_weights(tmp_path / "k.h5", "unet")
    with pytest.raises(InputError, match="Keras weights") as caught:
        models.load(str(tmp_path / "k.h5"))
    assert "insitu models import" in two_lines(caught)


class ResidualBlock(nn.Module):
    """The published block, with the names it has in the published files."""

    def __init__(self, arriving, leaving, dilation):
        super().__init__()
        self.conv1 = nn.Conv2d(arriving, leaving, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(leaving, leaving, 3, padding=dilation, dilation=dilation)
        self.bn1, self.bn2 = nn.BatchNorm2d(leaving), nn.BatchNorm2d(leaving)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.conv_add = nn.Conv2d(arriving, leaving, 1)

    def forward(self, x):
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.conv_add(x))


class PublishedUNet(nn.Module):
    """The published residual UNet, with the names it has in the published files."""

    def __init__(self, pools, base=4, dilations=None):
        super().__init__()
        n = len(pools)
        widths = [base * 2**i for i in range(n + 1)]
        dilations = dilations or [1] * (n + 1)
        self.downs, self.ups, self.pools, self.upsamples = (nn.ModuleList() for _ in range(4))
        for i in range(n):
            self.downs.append(ResidualBlock(1 if i == 0 else widths[i - 1], widths[i], dilations[i]))
            self.pools.append(nn.MaxPool2d(kernel_size=pools[i], stride=pools[i]))
        for i in reversed(range(n)):
            self.ups.append(ResidualBlock(widths[i] + widths[i + 1], widths[i], dilations[i]))
            self.upsamples.append(nn.Upsample(scale_factor=pools[i]))
        self.bottleneck = ResidualBlock(widths[n - 1], widths[n], dilations[n])
        self.final_conv = nn.Conv2d(base, 2, kernel_size=1)
        self.num_blocks = n
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):
                for values in (m.weight.data, m.running_var):
                    values.uniform_(0.5, 1.5)
                for values in (m.bias.data, m.running_mean):
                    values.normal_(0, 0.3)

    def forward(self, x):
        skips = []
        for down, pool in zip(self.downs, self.pools, strict=True):
            x = down(x)
            skips.append(x)
            x = pool(x)
        x = self.bottleneck(x)
        for up, upsample, skip in zip(self.ups, self.upsamples, reversed(skips), strict=True):
            x = up(torch.cat((skip, upsample(x)), dim=1))
        return self.final_conv(x)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("pools", "base", "dilations"),
    [((2, 2), 4, None), ((4, 8), 4, None), ((2, 2, 2, 2), 4, None), ((2, 2), 4, [1, 1, 2]), ((2, 4), 6, None)],
)
def test_residual_unets_are_converted_from_whole_modules(tmp_path, zipped, pools, base, dilations):
    torch.manual_seed(0)
    published = PublishedUNet(pools, base, dilations).eval()
    file = tmp_path / "UNet_model.h5"  # as the published files are called
    torch.save(published, file, _use_new_zipfile_serialization=zipped)
    found = import_weights(file)
    assert found.architecture == "resunet"
    assert found.parameters["pools"] == list(pools)
    assert (found.parameters["base"], found.parameters.get("dilations")) == (base, dilations)
    image = torch.randn(1, 1, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(found.module.double()(image), published.double()(image), atol=1e-12, rtol=1e-12)
    assert found.source["bridge.path.3.weight"] == "bottleneck.conv2.weight"


def test_a_state_dict_of_a_residual_unet_needs_its_pools(tmp_path):
    published = nn.DataParallel(PublishedUNet((2, 4)))
    torch.save({"epoch": 3, "model_state_dict": published.state_dict()}, tmp_path / "c.pt")
    with pytest.raises(InputError, match="pooling sizes are not among them") as caught:
        import_weights(tmp_path / "c.pt")
    two_lines(caught)
    found = import_weights(tmp_path / "c.pt", "resunet", {"pools": [2, 4]})
    state = published.module.state_dict()
    assert torch.equal(found.module.state_dict()["head.weight"], state["final_conv.weight"])


def test_our_own_networks_come_from_pt_files_too(tmp_path):
    module = build("resunet", {"pools": [2, 2]})
    torch.save(module.state_dict(), tmp_path / "mine.pt")
    with pytest.raises(InputError, match="does not say which architecture") as caught:
        import_weights(tmp_path / "mine.pt")
    assert "--architecture resunet" in two_lines(caught)
    found = import_weights(tmp_path / "mine.pt", "resunet", {"pools": [2, 2]})
    image = torch.randn(1, 1, 16, 16)
    assert torch.equal(found.module(image), module.eval()(image))
    with pytest.raises(InputError, match="is no 'unet'") as caught:
        import_weights(tmp_path / "mine.pt", "unet")
    assert "they fit: --architecture resunet" in two_lines(caught).replace("its tensors", "they")
    torch.save({**module.state_dict(), "more": torch.zeros(2)}, tmp_path / "more.pt")
    with pytest.raises(InputError, match="'more'"):
        import_weights(tmp_path / "more.pt", "resunet")
    bad = module.state_dict()
    bad["head.bias"] = torch.tensor([0.0, torch.nan])
    torch.save(bad, tmp_path / "nan.pt")
    with pytest.raises(InputError, match=r"head\.bias.*not finite"):
        import_weights(tmp_path / "nan.pt", "resunet")


def test_a_vgg_begins_an_fcn(tmp_path):
    torch.manual_seed(0)
    net = build("fcn8s", {"base": 2, "fully": 4})
    state, index = {}, 0
    for block in net.blocks:
        for layer in block:
            if isinstance(layer, nn.Conv2d):
                state |= {f"features.{index}.{k}": torch.randn_like(v) for k, v in layer.named_parameters()}
            index += 1
        index += 1
    torch.save({**state, "classifier.0.weight": torch.zeros(8, 8)}, tmp_path / "vgg.pth")
    found = import_weights(tmp_path / "vgg.pth", "fcn8s", {"base": 2, "fully": 4})
    assert torch.equal(found.module.blocks[0][0].weight, state["features.0.weight"])
    assert list(found.source.values()) == list(state)
    assert "untrained" in found.notes[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.bool])
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_type_and_layout_come_out_as_they_are(tmp_path, dtype, zipped):
    whole = (torch.randn(6, 8) * 3).to(dtype)
    held = {
        "a": whole,
        "t": whole.T,
        "part": whole[1:4, ::2],
        "scalar": whole[2, 3],
        "none": whole[:0],
        "list": [1, "x"],
    }
    torch.save(held, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    found = read_pickle(tmp_path / "x.pt").tensors
    assert list(found) == ["a", "t", "part", "scalar", "none"]
    for name, values in found.items():
        expected = held[name].float() if dtype == torch.bfloat16 else held[name]
        np.testing.assert_array_equal(values, expected.numpy())


class Evil:
    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        return self.what


class Sly:
    """Hides the call behind a state that is set on a function."""

    def __reduce__(self):
        return (eval, ("__import__('os').makedirs('pwned')",))


class Holder(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 1, 1)
        self.inside = inside


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (Evil((os.makedirs, ("pwned",))), "os.makedirs"),
        (Sly(), "builtins.eval"),
        (Evil((getattr, (nn.Module, "forward"))), "builtins.getattr"),
        (Evil((torch.load, ("x.pt",))), "torch.serialization.load"),
        (Evil((nn.Conv2d, (1, 1, 1))), "torch.nn.modules.conv.Conv2d"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("wrapped", ["alone", "dict", "module"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_something_is_refused_with_its_name(  # noqa: PLR0917 - its cases
    tmp_path, monkeypatch, harm, named, wrapped, zipped
):
    monkeypatch.chdir(tmp_path)
    held = {"alone": harm, "dict": {"a": torch.zeros(2), "b": harm}, "module": Holder(harm)}[wrapped]
    torch.save(held, tmp_path / "evil.pt", _use_new_zipfile_serialization=zipped)
    for action in (import_weights, read_pickle):
        with pytest.raises(InputError, match=f"it would run {named}") as caught:
            action(tmp_path / "evil.pt")
        two_lines(caught)
    (tmp_path / "evil.json").write_text('{"architecture": "unet"}')
    with pytest.raises(InputError, match=r"evil\.pt"):
        models.load(str(tmp_path / "evil.pt"))
    assert not (tmp_path / "pwned").exists()


def test_pickles_that_lie_about_their_tensors_are_refused(tmp_path):
    def saved(pid=("storage", torch.FloatStorage, "0", "cpu", 4), size=(2, 2), stride=(2, 1), offset=0):
        class Lying(pickle.Pickler):
            def persistent_id(self, thing):
                return pid if thing == "storage here" else None

        class Tensor:
            def __reduce__(self):
                return torch._utils._rebuild_tensor_v2, ("storage here", offset, size, stride, False, {})

        import io
        import zipfile

        stream = io.BytesIO()
        Lying(stream, 2).dump({"a": Tensor()})
        with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
            archive.writestr("x/data.pkl", stream.getvalue())
            archive.writestr("x/data/0", np.arange(4, dtype="<f4").tobytes())
        return tmp_path / "x.pt"

    np.testing.assert_array_equal(read_pickle(saved()).tensors["a"], [[0, 1], [2, 3]])
    for wrong in (
        {"size": (3, 2)},
        {"offset": 1},
        {"offset": -1},
        {"stride": (2, 2)},
        {"stride": (-1, 1)},
        {"size": (10**6, 10**6), "stride": (0, 0)},
        {"size": (2,)},
        {"pid": ("storage", torch.FloatStorage, "0", "cpu", 10**15)},
        {"pid": ("elsewhere", 1)},
    ):
        with pytest.raises(InputError) as caught:
            read_pickle(saved(**wrong))
        two_lines(caught)


@pytest.mark.parametrize("zipped", [True, False])
def test_cut_and_changed_files_are_answered_in_two_lines(tmp_path, zipped):
    torch.save(PublishedUNet((2, 2)), tmp_path / "whole.pt", _use_new_zipfile_serialization=zipped)
    data = (tmp_path / "whole.pt").read_bytes()
    rng = np.random.default_rng(0)
    for k in range(60):
        broken = bytearray(data if k % 2 else data[: rng.integers(1, len(data))])
        for place in rng.integers(0, min(len(broken), 6000), 3):
            broken[place] = rng.integers(256)
        (tmp_path / "broken.pt").write_bytes(bytes(broken))
        try:
            read_pickle(tmp_path / "broken.pt")
        except InputError as error:
            assert str(error).count("\n") == 1  # noqa: PT017 - many files are still whole where it matters


def test_a_card_makes_a_state_dict_a_model(tmp_path):
    module = build("light_unet")
    torch.save(module.state_dict(), tmp_path / "mine.pt")
    with pytest.raises(InputError, match="no model card") as caught:
        models.load(str(tmp_path / "mine.pt"))
    assert "--architecture" in two_lines(caught)
    (tmp_path / "mine.json").write_text(json.dumps({"architecture": "light_unet", "input": "standard"}))
    model = models.load(str(tmp_path / "mine.pt"))
    image = torch.randn(1, 32, 32)
    shifted = (image - image.mean()) / image.std(correction=0)
    with torch.inference_mode():
        maps = module.eval()(shifted[:, None])
        torch.testing.assert_close(model.probabilities(image), torch.softmax(maps, 1)[:, 1])
    torch.save(module, tmp_path / "mine.pt")
    with pytest.raises(InputError, match="is a pickle, which could run any program") as caught:
        models.load(str(tmp_path / "mine.pt"))
    assert "insitu models import" in two_lines(caught)
    torch.save({"state": module.state_dict()}, tmp_path / "mine.pt")
    with pytest.raises(InputError, match="more than a state dict"):
        models.load(str(tmp_path / "mine.pt"))
    (tmp_path / "mine.pt").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(InputError, match="damaged") as caught:
        models.load(str(tmp_path / "mine.pt"))
    two_lines(caught)


def test_a_header_that_begins_as_a_pickle_does_is_none(tmp_path):
    """A safetensors header of 640 bytes begins with the two bytes of a pickle of protocol 2."""
    from insitu.models.checkpoint import packed, read_tensors

    for n in range(1, 400):
        arrays = {"x" * n: np.zeros(1, np.float32)} | {str(k): np.zeros(1, np.float32) for k in range(4)}
        data = packed(arrays)
        if data[:2] == b"\x80\x02":
            (tmp_path / "a.safetensors").write_bytes(data)
            assert read_tensors(tmp_path / "a.safetensors").keys() == arrays.keys()
            return
    pytest.fail("no such header was made")


def test_frames_smaller_than_the_receptive_field_are_told(tmp_path):
    save_imported(import_weights_of(tmp_path), tmp_path / "k.h5", tmp_path / "m.safetensors")
    model = models.load(str(tmp_path / "m.safetensors"))
    assert model.receptive_field_px == 170
    assert models.remarks(model, (170, 400)) == []
    [said] = models.remarks(model, (400, 169))
    assert "400×169 px" in said
    assert "170 px" in said
    assert models.remarks(models.load("classical"), (5, 5)) == []


def import_weights_of(folder):
    keras_file(folder / "k.h5")
    return import_weights(folder / "k.h5")
