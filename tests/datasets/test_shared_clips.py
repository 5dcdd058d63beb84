import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.frame_dataset import empty_clips
from datasets.loader import EvalShard, TrainStream, make_loader
from datasets.shared_clips import ClipPool
from tests.datasets.test_datasets import make
from utils.errors import UserError

Frames = Callable[..., Path]
SHAPE, UINT8 = (3, 1, 2, 4, 5, 3), np.dtype(np.uint8)


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The places that batches arrived in, in their order."""
    places: list[int] = []
    lend = ClipPool.lend

    def recorded(self: ClipPool, place: int, num_records: int) -> torch.Tensor:
        places.append(place)
        return lend(self, place, num_records)

    monkeypatch.setattr(ClipPool, "lend", recorded)
    return places


@pytest.mark.whole
def test_a_place_is_free_again_when_nothing_that_lies_in_it_is_left() -> None:
    pool = ClipPool(SHAPE, UINT8, ahead=0)
    first, second = pool.take(), pool.take()
    assert first is not None and second is not None and first != second and pool.take() is None
    pool.at(first, 3).fill_(7)
    lent = pool.lend(first, 2)
    assert lent.shape == (2, *SHAPE[1:]) and lent.data_ptr() == pool.at(first, 3).data_ptr()
    view = lent.permute(0, 1, 5, 2, 3, 4)[1, ..., 1]
    del lent
    gc.collect()
    assert pool.take() is None and (view == 7).all()
    del view
    gc.collect()
    assert pool.take() == first and pool.take() is None


def test_too_little_shared_memory_is_told_before_training_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(size: int) -> None:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", full)
    with pytest.raises(UserError, match=r"the workers need 800 MB of shared memory for 8 batches: .*left.*--shm-size"):
        ClipPool((100, 2**20), UINT8, ahead=6)


@pytest.mark.whole
@pytest.mark.parametrize(
    "start_method", ["fork", *(pytest.param(name, marks=pytest.mark.long) for name in ("spawn", "forkserver"))]
)
def test_batches_that_are_let_go_share_a_few_places_and_kept_ones_stay_as_they_are(
    tiny_frames: Frames, start_method: str, lent: list[int]
) -> None:
    dataset = make("tsn", tiny_frames(5, 9, 2, 7), seed=4)
    alone = [batch.clips for batch in make_loader(dataset, TrainStream(4, 3, seed=4, stop_step=24))]
    stream = TrainStream(4, 3, seed=4, stop_step=24)
    for step, batch in enumerate(make_loader(dataset, stream, workers=2, start_method=start_method)):
        assert torch.equal(batch.clips, alone[step])
    assert len(lent) == 24 and len(set(lent)) <= 2 * 2 + 2, "all lie in the pool"
    kept = [batch.clips for batch in make_loader(dataset, stream, workers=2, start_method=start_method)]
    assert len({clips.data_ptr() for clips in kept}) == 24
    assert all(torch.equal(one, two) for one, two in zip(alone, kept, strict=True))


def test_a_pass_that_is_broken_off_takes_no_places_with_it(tiny_frames: Frames, lent: list[int]) -> None:
    dataset = make("tsn", tiny_frames(5, 9, 2, 3, 4, 8, 6), train=False)
    loader = make_loader(dataset, EvalShard(7, 2), workers=2)
    whole = [batch.clips.clone() for batch in make_loader(dataset, EvalShard(7, 2))]
    for passes in range(6):
        for step, batch in enumerate(loader):
            assert torch.equal(batch.clips, whole[step])
            if passes % 2 == 0 and step == 1:
                break
    assert len(lent) == 6 * len(whole), "those that nobody took arrived as well"


def test_a_batch_arrives_with_all_that_was_drawn_and_found(tiny_frames: Frames) -> None:
    source = tiny_frames(5, 9, 2)
    next((source.parent.parent / "frames/v1").iterdir()).unlink()
    dataset = make("tsn", source, train=False)
    (here,), (there,) = (list(make_loader(dataset, EvalShard(3, 3), workers=workers)) for workers in (0, 1))
    assert type(there) is type(here) and there.faults == here.faults and there.labels.dtype == here.labels.dtype
    assert torch.equal(there.indices, here.indices) and there.clips.shape == here.clips.shape
    there.clips.add_(1), there.labels.add_(1)  # both may be written


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_worker_makes_clips_where_the_training_process_reads_them(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not empty_clips((2, 3), np.dtype(dtype)).is_shared()
    monkeypatch.setattr(torch.utils.data, "get_worker_info", object)
    clips = empty_clips((2, 3), np.dtype(dtype))
    assert clips.is_shared() and clips.shape == (2, 3) and clips.is_contiguous()
    clips.numpy()[...] = 7
    assert clips.sum() == 42 and clips.numpy().dtype == dtype
