"""Images and labels of one's own: what is taken, and one sentence for each thing that is not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from harness.api.tensors import as_bytes, as_floats, check_same_device, checked_images, checked_labels
from harness.errors import HarnessError
from tests.helpers.pretend_cuda import PretendCuda

FLOATS = torch.rand(4, 3, 8, 8)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # both are said to be experimental
    QUANTIZED = torch.quantize_per_tensor(FLOATS, 0.1, 0, torch.quint8)
    NESTED = torch.nested.nested_tensor(list(FLOATS))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1, 2], "f: images are list; expected a tensor or array: uint8, or floats in [0, 1], of shape (N, 3, H, W)"),
        (FLOATS[0], "f: images have shape (3, 8, 8); expected (N, 3, H, W): use images[None]"),
        (FLOATS[:, None], "f: images have shape (4, 1, 3, 8, 8); expected (N, 3, H, W)"),
        (FLOATS.permute(0, 2, 3, 1), "channels before height and width"),
        (FLOATS[:, :1], "use images.expand(-1, 3, -1, -1)"),
        (torch.rand(4, 4, 8, 8), "use images[:, :3], without transparency"),
        (FLOATS[:0], "f: images are empty, (0, 3, 8, 8); give one image or more"),
        (FLOATS.long(), "f: images are torch.int64; expected uint8, or float32 in [0, 1]: use images.to(torch.uint8)"),
        (FLOATS.half(), "f: images are torch.float16; expected uint8, or float32 in [0, 1]: use images.float()"),
        (FLOATS * 255, "expected floats in [0, 1]: divide them by 255"),
        (FLOATS * 4 - 2, "expected floats in [0, 1]: give them as they are before normalisation"),
        (FLOATS * 0 + 1.05, "f: images go from 1.05 to 1.05; expected floats in [0, 1]: use images.clamp(0, 1)"),
        (FLOATS / 0, "f: images hold NaN or infinity; expected floats in [0, 1]"),
        (np.array([["a"]]), "f: images are an array of <U1"),
        (
            np.ma.masked_array(FLOATS.numpy(), FLOATS.numpy() > 0.5),
            "f: images are a masked array; expected every value",
        ),
        (FLOATS.to("meta"), 'f: images are a tensor without data, on the device "meta"'),
        (FLOATS.to_sparse(), "layout torch.sparse_coo; expected a dense one: use images.to_dense()"),
        (FLOATS.to_mkldnn(), "layout torch._mkldnn; expected a dense one: use images.to_dense()"),
        (NESTED, "f: images are a nested tensor; expected a dense one: use torch.stack(images.unbind())"),
        (QUANTIZED, "f: images are a quantized tensor; expected a dense one: use images.dequantize()"),
    ],
)
def test_other_images_are_refused_with_the_fix(given, said):
    with pytest.raises(HarnessError) as refused:
        checked_images("f", given)

    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert isinstance(refused.value, ValueError)


def test_the_fixes_in_the_messages_are_taken():
    for fixed in (FLOATS[0][None], FLOATS[:, :1].expand(-1, 3, -1, -1), FLOATS.half().float(), FLOATS.clamp(0, 1)):
        assert checked_images("f", fixed).ndim == 4


def test_arrays_and_tensors_of_bytes_and_floats_are_taken_as_they_are():
    stored = (FLOATS * 255).round().to(torch.uint8)
    read_only = stored.numpy().copy()
    read_only.flags.writeable = False

    assert torch.equal(checked_images("f", read_only), stored)
    assert torch.equal(as_floats(stored), stored.float() / 255)
    assert torch.equal(as_bytes(stored.float() / 255), stored)
    assert torch.equal(checked_images("f", FLOATS.numpy().astype(">f4")), FLOATS)
    assert torch.equal(checked_images("f", FLOATS.numpy().astype(">f8")).float(), FLOATS)
    assert checked_images("f", FLOATS).data_ptr() == FLOATS.data_ptr()


@pytest.mark.parametrize(
    ("given", "classes", "said"),
    [
        (torch.zeros(3), None, "f: labels have shape (3,); expected (4,), one for each image"),
        (torch.zeros(4), None, "f: labels are float32; expected class numbers: use labels.long()"),
        (torch.zeros(4, 10), None, "f: labels are soft, (4, 10); expected (4,) class numbers: use labels.argmax(1)"),
        (torch.tensor([0, 1, -1, 0]), None, "f: a label is -1; expected class numbers from 0 on"),
        (torch.tensor([0, 1, 10, 0]), 10, "f: a label is 10, and there are 10 classes; give 11 or more"),
        ("0123", None, "f: labels are str; expected a tensor of (4,) class numbers"),
        ([[1], [1, 2]] * 2, None, "f: labels are a list of unequal parts; expected a tensor of (4,) class numbers"),
        (torch.zeros(4).bfloat16(), None, "f: labels are torch.bfloat16; expected a tensor of (4,) class numbers"),
        (
            np.ma.masked_array([0, 1, 2, 3], [0, 0, 0, 1]),
            None,
            "f: labels are a masked array; expected every value: use labels.filled(0)",
        ),
        (
            torch.zeros(4).long().to("meta"),
            None,
            'f: labels are a tensor without data, on the device "meta"; expected a dense one: use one on '
            '"cpu" or "cuda"',
        ),
        (
            torch.eye(4)[0].long().to_sparse(),
            None,
            "f: labels are a tensor of layout torch.sparse_coo; expected a dense one: use labels.to_dense()",
        ),
        (
            np.full(4, 2**63, np.uint64),
            None,
            "f: a label is 9223372036854775808; expected class numbers below 1,000,000: number the classes from 0 on, "
            "such as np.unique(labels, return_inverse=True)[1]",
        ),
    ],
)
def test_other_labels_are_refused_with_the_fix(given, classes, said):
    with pytest.raises(HarnessError) as refused:
        checked_labels("f", given, 4, classes)

    assert str(refused.value) == said


def test_labels_are_class_numbers_of_any_whole_type():
    for given in (
        [0, 1, 2, 1],
        np.array([0, 1, 2, 1], ">i4"),
        np.array([0, 1, 2, 1], np.uint8),
        torch.tensor([0, 1, 2, 1], dtype=torch.int32),
    ):
        labels, classes = checked_labels("f", given, 4)
        assert labels.dtype == np.int64 and labels.tolist() == [0, 1, 2, 1] and classes == 3


def test_two_devices_are_refused():
    with PretendCuda(), pytest.raises(HarnessError, match=r'originals on cpu; move one: originals.to\("cuda'):
        check_same_device("f", FLOATS.to("cuda"), FLOATS, "originals")
