"""The kinds of files that strangers hand over: small good examples of each, and how the project reads them."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

import main
from anal_tools import ledger
from datasets.lists import records
from datasets.lists.class_names import read_class_file
from datasets.lists.manifest import MANIFEST
from datasets.lists.parser import OFFSET_COLUMNS
from datasets.lists.tables import read_videos
from datasets.places.files import member_extent, read_bytes
from datasets.places.place import place
from datasets.spans.files import read_labels
from datasets.stores.disk import DiskStore
from datasets.stores.pack_writer import verify
from datasets.stores.packed import PackedStore
from datasets.stores.spans import find_frames
from datasets.videos.reader import read_pyav
from datasets.videos.scan import scan
from datasets.videos.tar_times import Member, times_beside, write_times
from methods import METHODS
from networks.checkpoints.layouts import LAYOUTS
from tests.datasets.spans.examples import EXAMPLES
from tests.fuzz.tokens import HTTP, MEDIA, PICKLE, PYTHON, SHAPES, SPANS, YAML
from tests.helpers import archives
from tests.helpers.experiment import make_experiment, write_frames
from tests.helpers.make_video import make_video, picture
from tests.helpers.results import make_config, make_history, make_results
from tests.helpers.tars import write_tar
from tests.helpers.trained import CLASSES, TSN, write_checkpoint
from tests.networks.checkpoints.layouts.official_names_2d import mmaction2
from tests.networks.checkpoints.layouts.test_mmaction2_config import TSM
from tools import convert_checkpoint, fuse, pack_frames, prepare
from tools.inference import Recognizer, load
from tools.inference.inputs import VideoInput
from tools.serving.answers import check_upload
from tools.serving.server import PageServer
from utils.files import sha256
from utils.transforms.image import decode_frame


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    make: fills a folder with a good example.
    targets: patterns of the files in it that a stranger made; one of them is damaged each time.
    read: reads the example in a folder as a command does.
    tokens: what is worth writing into it.
    """

    name: str
    make: Callable[[Path], object]
    targets: tuple[str, ...]
    read: Callable[[Path], object]
    tokens: tuple[bytes, ...] = ()


def _ours(folder: Path) -> None:
    write_checkpoint(folder, class_names=CLASSES)


def _read_ours(folder: Path) -> None:
    recognizer = load(folder / "ckpt.pth.tar", device="cpu")
    found = recognizer.top(np.full(recognizer.num_class, 1 / recognizer.num_class, np.float32), 5)
    print("\n".join(one.name for one in found))  # noqa: T201


def _state() -> dict[str, Any]:
    """A ResNet-18 of tsn-pytorch's names with few channels."""
    from torchvision.models import ResNet
    from torchvision.models.resnet import BasicBlock

    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4)
    small = {
        key: value[:8, :8].clone() if value.ndim > 1 else value[:8].clone()
        for key, value in network.state_dict().items()
        if value.ndim
    }
    state = {f"module.base_model.{key}": value for key, value in small.items() if not key.startswith("fc.")}
    return state | {"module.new_fc.weight": torch.zeros(4, 8), "module.new_fc.bias": torch.zeros(4)}


def _torch_zip(folder: Path) -> None:
    torch.save(
        {"epoch": 3, "arch": "resnet18", "state_dict": OrderedDict(_state()), "best_prec1": 1.0}, folder / "x.pth"
    )


def _torch_old(folder: Path) -> None:
    torch.save({"epoch": 3, "state_dict": _state()}, folder / "x.pth", _use_new_zipfile_serialization=False)


def _plain_pickle(folder: Path) -> None:
    blobs = {name: np.ones((3, 2), np.float32) for name in ("conv1_w", "comp_0_conv_1_w", "last_out_L400_w")}
    (folder / "x.pth").write_bytes(pickle.dumps({"blobs": blobs, "epoch": np.int64(3)}, protocol=2))


def _safetensors(folder: Path) -> None:
    save_file(_state(), folder / "x.safetensors", {"format": "pt", "config": json.dumps({"a": 1})})


def _convert(folder: Path) -> None:
    (file,) = (path for path in folder.iterdir() if path.suffix in (".pth", ".safetensors"))
    convert_checkpoint.main([str(file), str(folder / "converted"), "common.model.backbone=resnet18"])


def _results(folder: Path) -> None:
    make_results(folder, ["a", "b, c", "d"], videos=12)


def _experiment_folder(folder: Path) -> None:
    make_config(folder, folder, 3)
    make_history(folder, best=80.0)
    make_results(folder, ["a", "b", "c"], videos=9)


def _pack(folder: Path) -> None:
    lines = []
    for number in range(3):
        write_frames(folder / "frames" / f"v {number}", number % 2, number)
        lines.append(f"v {number} 8 {number % 2}\n")
    (folder / "list.txt").write_text("".join(lines))
    pack_frames.main(
        [str(folder / "pack"), str(folder / "list.txt"), "--root", str(folder / "frames"), "--workers", "1"]
    )
    shutil.rmtree(folder / "frames")


def _read_pack(folder: Path) -> None:
    list(verify(folder / "pack"))
    store = PackedStore("", folder=folder / "pack")
    for number in range(3):
        count = store.num_frames(f"v {number}")
        store.get_many(f"v {number}", [0, max(0, min(count, 100) - 1)])


def _lists(folder: Path) -> None:
    (folder / "a.txt").write_text("".join(f"class {n % 3}/video {n} {30 + n} {n % 3}\n" for n in range(40)))
    (folder / "b.csv").write_text(
        "path,label,start,end\n" + "".join(f'"v {n}.mp4",name {n % 3},{n}.5,{n + 2}\n' for n in range(20))
    )
    (folder / "c.txt").write_text("".join(f"video{n} {30 + n} {n % 3};{n % 2 + 3}\n" for n in range(20)))
    (folder / "d.txt").write_text("".join(f"video{n} {n} {30 + n} {n % 3}\n" for n in range(20)))
    (folder / "e.csv").write_text(
        "path,label,start_frame,end_frame\n" + "".join(f"v{n},name {n % 3},{n},{n + 2}\n" for n in range(20))
    )
    dumped = {"kind": "video", "frames": 900, "source_fps": 25, "settings": {"fps": 0, "every": 2}}
    lines = [{"kind": "header", "format": 1}, *(dumped | {"video": f"v {n}.mp4"} for n in range(20))]
    (folder / MANIFEST).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "classInd.txt").write_text("".join(f"{n} name {n}\n" for n in range(5)))
    for number in range(20):
        (folder / f"v {number}.mp4").touch()


def _read_lists(folder: Path) -> None:
    read_class_file(folder / "classInd.txt")
    records.read_list(folder / "a.txt", num_class=3)
    records.read_list(folder / "c.txt", num_class=5, columns=("num_frames", "labels"))
    records.read_list(folder / "d.txt", num_class=3, columns=OFFSET_COLUMNS)
    read_videos(folder / "e.csv", root=folder, encoded=False)
    spans, _ = read_videos(folder / "b.csv", root=folder)
    find_frames(spans, DiskStore(folder), context=0.1)


@contextmanager
def _always_cached() -> Iterator[None]:
    before, records._CACHE_ABOVE = records._CACHE_ABOVE, 0
    yield
    records._CACHE_ABOVE = before


def _list_cache(folder: Path) -> None:
    _lists(folder)
    _read_list_cache(folder)


def _read_list_cache(folder: Path) -> None:
    with _always_cached():
        found = records.read_list(folder / "a.txt", num_class=3, cache_folder=folder / "cache")
    [(found.path(index), int(found.labels[index]), found.where(index)) for index in range(len(found))]


def _tar(folder: Path) -> None:
    video = make_video(folder / "video.mp4", frames=3).read_bytes()
    picture_of = cv2.imencode(".jpg", picture(0))[1].tobytes()
    write_tar(folder / "t.tar", {"a/0": {"mp4": video, "json": b'{"label": 2}'}, "b": {"jpg": picture_of, "cls": b"1"}})
    extent = member_extent(folder / "t.tar/a/0.mp4")
    assert extent is not None
    member = Member(extent[2], extent[3] - extent[2], scan(folder / "video.mp4"))
    write_times(folder / "t.tar", sha256(folder / "t.tar"), [member])
    (folder / "video.mp4").unlink()


def _read_tar(folder: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    for encoded in (True, False):
        found, _ = read_videos(folder / "t.tar", num_class=3, encoded=encoded)
        for index in range(len(found)):
            read_bytes(found.full_path(index))
            if encoded:
                times_beside(place(found.full_path(index)))
                scan(found.full_path(index))


def _config(folder: Path) -> None:
    make_experiment(folder, train=2, val=2)


def _dry_run(folder: Path) -> None:
    main.main(["--config", str(folder / "exp" / "config.yaml"), "--dry-run"])


def _mmaction2(folder: Path) -> None:
    (folder / "config.py").write_text(TSM.format(more=", norm_cfg=dict(type='BN', requires_grad=True)"))


@cache
def _mmaction2_state() -> dict[str, torch.Tensor]:
    arguments = {"num_segments": 8, "shift_div": 8}
    with torch.device("meta"):
        made = METHODS["tsm"](backbone="resnet34", num_class=7, **arguments)
    return mmaction2(made.state_dict(), arguments, shifted=True)


def _read_mmaction2(folder: Path) -> None:
    state = dict(_mmaction2_state())
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    layout.convert(state, {"meta": {"cfg": (folder / "config.py").read_text(encoding="utf-8", errors="replace")}})


def _images(folder: Path) -> None:
    frame = cv2.resize(picture(0), (640, 480))
    cv2.imwrite(str(folder / "a.jpg"), frame)
    cv2.imwrite(str(folder / "b.jpg"), frame, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4])
    cv2.imwrite(str(folder / "c.png"), frame)
    cv2.imwrite(str(folder / "d.jpg"), frame[..., 0])


def _read_images(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        decode_frame([data], 0)
        decode_frame([data], 0, reduce=2, rows=100)
        decode_frame([data], 0, grey=True)


def _videos(folder: Path) -> None:
    for name, codec in (
        ("a.mp4", "libx264"),
        ("b.avi", "mpeg4"),
        ("c.webm", "libvpx-vp9"),
        ("d.mkv", "libx264"),
        ("e.ts", "mpeg2video"),
    ):
        make_video(folder / name, codec, frames=12)


def _label_files(folder: Path) -> None:
    for name, example in EXAMPLES.items():
        (folder / name).mkdir()
        example.write(folder / name)


def _read_label_files(folder: Path) -> None:
    for name, example in EXAMPLES.items():
        read_labels([folder / name / example.name], fps=25)


def _read_videos(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        for _ in zip(range(40), VideoInput(path).frames(), strict=False):
            pass
        times = scan(path)
        read_pyav(path, times, np.arange(min(len(times), 3)))


@cache
def _recognizer(folder: Path) -> Recognizer:
    return load(write_checkpoint(folder, TSN, class_names=CLASSES), device="cpu")


def _upload(folder: Path) -> None:
    video = make_video(folder / "v.mp4", frames=12)
    head = "POST /predict?window=0.2 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: video/mp4\r\n"
    (folder / "request").write_bytes(
        f"{head}Content-Length: {video.stat().st_size}\r\n\r\n".encode() + video.read_bytes()
    )
    _recognizer(folder.parent / "network")


def _send(folder: Path) -> None:
    """Hands the request to a server whose only connection is a pair of sockets."""
    uploads = folder / "uploads"
    uploads.mkdir()
    server = PageServer("127.0.0.1", 0, _recognizer(folder.parent / "network"), limit=1 << 20, folder=uploads)
    server.local = False  # its port is not that of the request
    ours, theirs = socket.socketpair()
    theirs.settimeout(60)
    threading.Thread(target=_sent, args=(theirs, (folder / "request").read_bytes())).start()
    server.process_request(ours, ("127.0.0.1", 1))
    with contextlib.suppress(ConnectionResetError):  # an answer before the end of the request, and then goodbye
        while theirs.recv(1 << 16):
            pass
    server.server_close()
    assert not list(uploads.iterdir()), "an upload was left behind"


def _sent(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _check_uploads(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        check_upload(path)


def _archive(name: str) -> Callable[[Path], None]:
    return lambda folder: archives.MAKERS[name](folder / "archive")


def _prepare(name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        prepare.check_data = SimpleNamespace(main=lambda _: 0, __name__="check_data")  # type: ignore[assignment]
        code = prepare.main([name, str(folder / "archive"), str(folder / "data"), "--unlabelled", "--videos"])
        assert code in (0, 1)

    return read


WHOLE = ("**/*",)
KINDS = {
    kind.name: kind
    for kind in (
        Kind("archive, split files", _archive("ucf101"), ("archive/ucf*/*",), _prepare("ucf101")),
        Kind("archive, CSV", _archive("kinetics400"), ("archive/annotations/*",), _prepare("kinetics400")),
        Kind("archive, JSON", _archive("activitynet"), ("archive/*.json",), _prepare("activitynet")),
        Kind("archive, JSON and classes", _archive("something_v2"), ("archive/labels/*",), _prepare("something_v2")),
        Kind("request to the page", _upload, ("request",), _send, (*HTTP, *MEDIA)),
        Kind("upload to the page", _videos, WHOLE, _check_uploads, MEDIA),
        Kind(
            "results (npz, txt, jsonl)", _results, WHOLE, lambda folder: fuse.main([str(folder), str(folder)]), SHAPES
        ),
        Kind(
            "experiment folder", _experiment_folder, WHOLE, lambda folder: ledger.main([str(folder)]), (*YAML, *SHAPES)
        ),
        Kind("config, YAML", _config, ("exp/config.yaml",), _dry_run, YAML),
        Kind("pack and its indexes", _pack, ("pack/*",), _read_pack, SHAPES),
        Kind("list, CSV, class file", _lists, ("*.txt", "*.csv", "*.jsonl"), _read_lists),
        Kind("tar of samples", _tar, ("*.tar", "*.times"), _read_tar, MEDIA),
        Kind("labels of spans", _label_files, ("*/*",), _read_label_files, SPANS),
        Kind("cache of a list", _list_cache, ("cache/**/*",), _read_list_cache, SHAPES),
        Kind("config of mmaction2", _mmaction2, WHOLE, _read_mmaction2, PYTHON),
        Kind("JPEG and PNG", _images, WHOLE, _read_images, MEDIA),
        Kind("video", _videos, WHOLE, _read_videos, MEDIA),
        Kind("checkpoint of ours", _ours, ("ckpt.pth.tar",), _read_ours, PICKLE),
        Kind("checkpoint, torch's zip", _torch_zip, WHOLE, _convert, PICKLE),
        Kind("checkpoint, torch's old format", _torch_old, WHOLE, _convert, PICKLE),
        Kind("checkpoint, plain pickle", _plain_pickle, WHOLE, _convert, PICKLE),
        Kind("checkpoint, safetensors", _safetensors, WHOLE, _convert, SHAPES),
    )
}
