"""A network of one's own is built, tried and loaded; what is none is refused in one sentence."""

from __future__ import annotations

import random
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from harness.errors import HarnessError
from harness.registry.own_networks import find_network
from harness.train import own, seeded

CLASSES, SIZE = 4, (16, 20)
MODULE = """
import random

import numpy as np
import torch
from torch import nn

drawn = torch.rand(3), random.random(), np.random.rand()


def small(classes, size):
    assert size == (16, 20)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, classes))


def by_all_generators(classes, size):
    network = small(classes, size)
    with torch.no_grad():
        network[-1].bias[0] = random.random()
        network[-1].bias[1] = np.random.rand()
    return network


class Lazy(nn.Sequential):
    def __init__(self, classes, size):
        super().__init__(nn.Flatten(), nn.LazyLinear(classes))


def frozen_in_part(classes, size):
    network = small(classes, size)
    network[1].eval()
    network[0].requires_grad_(False)
    return network


value = 3


def other(classes, size):
    return "a network"


def wide(classes, size):
    return small(classes + 1, size)


def table(classes, size):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = small(classes, size)

        def forward(self, images):
            return {"logits": self.inner(images)}

    return Both()


def frozen(classes, size):
    return small(classes, size).requires_grad_(False)


def bare(classes, size):
    class None_(nn.Module):
        def forward(self, images):
            return images.mean((2, 3)).repeat(1, 2)[:, :classes]

    return None_()


def half(classes, size):
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = small(classes, size).bfloat16()

        def forward(self, images):
            return self.inner(images.bfloat16()).float()

    return Half()


def infinite(classes, size):
    network = small(classes, size)
    nn.init.constant_(network[-1].bias, torch.inf)
    return network


def raises(classes, size):
    raise RuntimeError("two\\nlines")


def leaves(classes, size):
    raise SystemExit(3)


def alone(classes):
    return small(classes, (16, 20))


def on_small_images(classes, size):
    return nn.Sequential(nn.Flatten(), nn.Linear(12, classes))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def built(function: str, checkpoint: Path | None = None) -> nn.Module:
    network = find_network(f"nets:{function}", checkpoint, ())
    assert network is not None
    return own.build(network, CLASSES, SIZE)


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def refusal(function: str, checkpoint: Path | None = None) -> str:
    with pytest.raises(HarnessError) as error:
        built(function, checkpoint)
    said = str(error.value)
    assert "\n" not in said
    return said


# The network


@pytest.mark.parametrize("function", ["small", "by_all_generators", "Lazy"])
def test_weights_follow_from_the_key_alone(folder, function):
    """Not from what the import of the module draws, the first time, nor from the generators of Python and NumPy."""
    made = []
    for drawn in range(3):
        random.seed(drawn)
        np.random.seed(drawn)
        with seeded(b"key" * 8, "cpu"):
            made.append(weights(built(function)))
    with seeded(b"yek" * 8, "cpu"):
        made.append(weights(built(function)))

    assert same(made[0], made[1]) and same(made[0], made[2]) and not same(made[0], made[3])


def test_generators_of_the_caller_are_as_before_but_for_torch(folder):
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.rand()
    random.seed(1)
    np.random.seed(1)
    built("by_all_generators")

    assert (random.random(), np.random.rand()) == expected


def test_modes_and_frozen_layers_stay_and_the_trial_moves_no_statistics(folder):
    network = built("frozen_in_part")

    assert network.training and not network[1].training and network[2].training
    assert [each.requires_grad for each in network[0].parameters()] == [False, False]
    assert network[1].num_batches_tracked == 0 and network[1].running_mean.abs().max() == 0


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("value", "nets:value is int, not a function"),
        ("other", "returns str; expected a torch.nn.Module"),
        ("wide", "gives float32 of shape (2, 5) for 2 images; expected float32 logits of shape (2, 4)"),
        ("table", "gives dict; expected logits, a tensor of shape (N, 4)"),
        ("frozen", "has no parameters to train"),
        ("bare", "has no parameters to train"),
        ("half", "inner.0.weight is bfloat16 of shape (4, 3, 3, 3) on cpu; expected float32"),
        ("infinite", "gives NaN or infinity for grey images"),
        ("raises", "fails when it is called with (4, (16, 20)): RuntimeError: two lines (nets.py, line "),
        ("leaves", "fails when it is called with (4, (16, 20)): ended with sys.exit(3) (nets.py, line "),
        ("alone", "fails when it is called with (4, (16, 20)): TypeError: alone() takes 1 positional argument"),
        ("on_small_images", "fails on float images of shape (2, 3, 16, 20): RuntimeError: "),
        ("absent", "is unavailable: no function 'absent' in "),
    ],
)
def test_what_is_no_network_is_refused(folder, function, said):
    refused = refusal(function)

    assert refused.startswith(f"model 'nets:{function}'") and said in refused


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18", "nets:", ":small", "nets:small:", "./nets:small", "nets.:x"])
def test_other_forms_of_a_name_are_refused(folder, name):
    with pytest.raises(HarnessError, match=r"is no name of a function; write package\.module:function"):
        find_network(name, None, ())


def test_a_missing_module_and_a_broken_one_are_refused_without_being_imported(folder):
    (folder / "broken.py").write_text("def small(classes, size)\n")
    (folder / "asks.py").write_text("import no_such_library\ndef small(classes, size): ...\n")
    said = []
    for name in ("nowhere:small", "broken:small", "asks:small"):
        with pytest.raises(HarnessError) as error:
            find_network(name, None, ())
        said.append(str(error.value))

    assert "No module named 'nowhere'; put its module into the current folder" in said[0]
    assert "syntax error" in said[1] and "No module named 'no_such_library'" in said[2]


def test_a_module_beside_a_registry_file_comes_first_and_one_here_hides_no_library(folder):
    beside = folder / "theirs"
    beside.mkdir()
    (beside / "nets.py").write_text("def small(classes, size): ...\n")
    (folder / "random.py").write_text("def small(classes, size): ...\n")

    theirs, mine = find_network("nets:small", None, (beside / "registry.yaml",)), find_network("nets:small", None, ())

    assert theirs.folder == beside and mine.folder == folder
    assert find_network("random:small", None, ()).folder == folder
    assert random.random() < 1


def test_known_networks_from_scratch_are_none_of_ones_own():
    assert find_network("resnet10t", None, ()) is None


# Its checkpoint


@pytest.fixture
def state(folder):
    return built("small").state_dict()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "no_suffix"])
def test_a_checkpoint_gives_the_weights(folder, state, name):
    file = folder / name
    safetensors.torch.save_file(state, str(file)) if name.endswith("safetensors") else torch.save(state, file)

    assert same(weights(built("small", file)), list(state.values()))


def test_a_known_network_begins_with_a_checkpoint_too(folder):
    kept = find_network("mcpherson_face", None, ())
    assert kept is None
    from harness.train import networks

    state = networks.build("mcpherson_face", CLASSES, SIZE).state_dict()
    torch.save(state, folder / "face.pt")
    network = find_network("mcpherson_face", folder / "face.pt", ())

    assert not network.is_foreign and same(weights(own.build(network, CLASSES, SIZE)), list(state.values()))


def change(state, **values):
    return {**state, **values}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "0.bias"}, "expected 9 tensors, got 8 (missing: 0.bias; not"),
        (lambda s: change(s, more=torch.zeros(1)), "(missing: none; not expected: more)"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "missing: 0.weight, 0.bias, 1.weight and 6 more"),
        (lambda s: change(s, **{"4.weight": torch.zeros(9, 4)}), "4.weight is float32 of shape (9, 4), expected"),
        (lambda s: change(s, **{"4.bias": torch.zeros(4).half()}), "4.bias is float16 of shape (4,), expected float32"),
        (lambda s: change(s, **{"4.bias": torch.full((4,), torch.nan)}), "4.bias holds NaN or infinity"),
        (lambda s: change(s, **{"4.bias": torch.zeros(4).to_sparse()}), "no table of tensors"),
        (lambda s: {"state_dict": s}, "holds a table with state_dict, no table of tensors"),
        (lambda s: list(s.values()), "holds list, no table of tensors"),
        (lambda s: nn.Linear(1, 1), "cannot be read as weights (UnpicklingError)"),
    ],
    ids=["missing", "more", "prefix", "head", "half", "nan", "sparse", "wrapped", "list", "pickled"],
)
def test_another_checkpoint_is_refused(folder, state, made, said):
    torch.save(made(state), folder / "w.pt")

    assert said in refusal("small", folder / "w.pt")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("kept", [0, 100, -50])
def test_a_checkpoint_that_is_cut_is_refused(folder, state, suffix, kept):
    file = folder / f"w.{suffix}"
    safetensors.torch.save_file(state, str(file)) if suffix == "safetensors" else torch.save(state, file)
    file.write_bytes(file.read_bytes()[:kept])

    assert "cannot be read as weights" in refusal("small", file)


@pytest.mark.parametrize(
    ("name", "said"), [("absent.pt", "does not exist"), (".", "is a folder"), ("pipe", "is no file")]
)
def test_what_is_no_file_is_refused(folder, name, said):
    import os

    os.mkfifo(folder / "pipe")

    assert f"{said}; name a file of weights" in refusal("small", folder / name)


def test_a_checkpoint_that_changes_after_the_run_began_is_refused(folder, state):
    torch.save(state, folder / "w.pt")
    network = find_network("nets:small", folder / "w.pt", ())
    torch.save(change(state, **{"4.bias": torch.ones(4)}), folder / "w.pt")

    with pytest.raises(HarnessError, match="has changed since the run began; run again"):
        own.build(network, CLASSES, SIZE)
    (folder / "w.pt").unlink()
    with pytest.raises(HarnessError, match=r"w\.pt cannot be read \(No such file or directory\)"):
        own.build(replace(network, digest="0" * 64), CLASSES, SIZE)
