# shellcheck shell=bash
# videos/ with two classes, shards/, data/away, and $SERVER, the address of a server on this machine that has both folders
python - <<'PYTHON'
from pathlib import Path

from tests.helpers.make_video import make_video
from tests.helpers.tars import write_tar

for name in ("clap", "jump"):
    for number in (1, 2):
        make_video(Path(f"videos/{name}/000{number}.mp4"), frames=20 + number)
files = sorted(Path("videos").rglob("*.mp4"))
Path("videos/list.txt").write_text(
    "".join(f"{file.parent.name}/{file.name} {int(file.parent.name == 'jump')}\n" for file in files)
)
Path("videos/classInd.txt").write_text("0 clap\n1 jump\n")
write_tar(
    Path("shards/val-0.tar"),
    {f"{number}": {"mp4": file.read_bytes(), "cls": file.parent.name.encode()} for number, file in enumerate(files)},
)
Path("data/away").mkdir(parents=True)
Path("data/away/config.yaml").write_text("""\
common:
    model: {type: tsm, backbone: mobilenetv2, kwargs: {scale: 0.25}, num_segments: 2, num_class: 2}
    augmentation: {input_size: 32, test_resize: 36}
    batch_size: 2
    workers: 1
    device: cpu
    lr_scheduler: {type: COSINE, base_lr: 0.01, max_iter: 3}
    val_freq: 2
    watch: {clips: 0, confusion: False}
    train_root: videos
    train_source: videos/list.txt
    val_root: videos
    val_source: videos/list.txt
    data: {class_names: videos/classInd.txt, store: {type: video}}
""")
PYTHON
python - >server_address <<'PYTHON' &
import threading
from pathlib import Path

from tests.helpers.file_server import FileServer

server = FileServer()
for folder in ("videos", "shards"):
    server.files |= {f"/{file}": file.read_bytes() for file in Path(folder).rglob("*.*")}
server.start()
print(server.address, flush=True)
threading.Event().wait()
PYTHON
server=$!
trap 'kill $server; wait $server || true' EXIT
until [ -s server_address ]; do
    kill -0 $server  # fails here when it could not start
    sleep 0.1
done
SERVER=$(cat server_address)
export SERVER DATA_CACHE=$PWD/blocks
