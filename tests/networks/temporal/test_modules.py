"""Every temporal module of the table, in an image network: what it keeps, what it sees, and where it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from methods.tsn import TSN
from networks.checkpoints.load import fetch_image_weights, load_into
from networks.prepare import to_channels_last
from networks.temporal import TEMPORAL_MODULES
from networks.temporal.module import TemporalModule, _weigh, correlate_in_time, excite
from networks.temporal.relation import MOST, Relations
from networks.temporal.tam import TAM
from networks.temporal.tea import TEA
from networks.temporal.tin import TIN
from tests.helpers.randomise import randomise, wake
from tests.helpers.requirements import needs_new_tracing, needs_package
from utils.config.build import ArgumentError, parameters_of

FRAMES, CHANNELS = 4, 32
MODULES = [name for name, kind in TEMPORAL_MODULES.items() if kind.spot != "transformer"]  # test_adapters.py has these
# what a module may need besides its name to be looked at: GSM's gate is closed at first
CONSENSUS = ["trn", "trn_multiscale"]
RES2NET: dict = {"backbone": "timm/res2net50_26w_4s", "kwargs": {"layers": [1, 1, 1, 1]}}
HOSTS: dict[str, dict] = {"tea": RES2NET}  # of modules that need a network of their own
MARKS = {"tea": needs_package("timm")}


def made(name: str, *, frames: int = FRAMES) -> TemporalModule:
    """A module whose weights and norms are away from where they start."""
    torch.manual_seed(0)
    module = TEMPORAL_MODULES[name](CHANNELS, num_frames=frames)  # type: ignore[call-arg]
    randomise(module)
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return module.eval()


def in_networks(*, also: Sequence[str] = ()) -> list:
    """One row for each module, and for each consensus in `also`: arguments of a network with it."""
    rows = [
        pytest.param({"temporal": {"name": name}, **HOSTS.get(name, {})}, id=name, marks=MARKS.get(name, ()))
        for name in MODULES
    ]
    return rows + [pytest.param({"consensus": name}, id=name) for name in also]


def network(**arguments: object) -> TSN:
    torch.manual_seed(0)
    net = TSN(**{"backbone": "resnet18", "num_class": 5, "num_segments": FRAMES, **arguments})  # type: ignore[arg-type]
    wake(net)
    return net.eval()


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("name", MODULES)
def test_a_module_keeps_shape_and_memory_format(name: str) -> None:
    module = made(name)
    x = torch.randn(2 * FRAMES, CHANNELS, 5, 6)
    expected = module(x)
    assert expected.shape == x.shape and not torch.equal(expected, x)
    to_channels_last(module)
    found = module(x.contiguous(memory_format=torch.channels_last))
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        *((name, {}) for name in MODULES),
        *((name, {"shift": "uni"}) for name in MODULES if "shift" in parameters_of(TEMPORAL_MODULES[name])),
    ],
)
def test_mixed_precision_leaves_features_as_narrow_as_they_come(name: str, more: dict[str, str]) -> None:
    module = TEMPORAL_MODULES[name](CHANNELS, num_frames=FRAMES, **more)  # type: ignore[call-arg]
    x = torch.randn(2 * FRAMES, CHANNELS, 5, 6)
    with torch.enable_grad():
        narrow = x.bfloat16().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            found = module(narrow)
        assert found.dtype == torch.bfloat16  # float32 would go on through the whole network
        found.float().square().sum().backward()
    assert narrow.grad is not None and narrow.grad.dtype == torch.bfloat16 and narrow.grad.isfinite().all()
    assert all(one.grad is None or one.grad.dtype == torch.float32 for one in module.parameters())


@pytest.mark.parametrize("name", MODULES)
def test_clips_of_a_batch_never_mix(name: str) -> None:
    module, x = made(name), torch.randn(3 * FRAMES, CHANNELS, 5, 6)
    apart = torch.cat([module(clip) for clip in x.split(FRAMES)])
    torch.testing.assert_close(module(x), apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in MODULES if TEMPORAL_MODULES[name].takes_tokens])
def test_tokens_are_treated_as_the_positions_of_maps(name: str) -> None:
    module, maps = made(name), torch.randn(2 * FRAMES, CHANNELS, 5, 6)
    expected = module(maps)
    module.channel_dim = -1
    torch.testing.assert_close(module(maps.flatten(2).mT), expected.flatten(2).mT)
    torch.testing.assert_close(module(maps.permute(0, 2, 3, 1)), expected.permute(0, 2, 3, 1))


@pytest.mark.parametrize("name", [name for name in MODULES if TEMPORAL_MODULES[name].any_length])
def test_a_module_without_a_length_takes_any_clip(name: str) -> None:
    module = made(name)
    module.num_frames = 7
    assert module(torch.randn(7, CHANNELS, 4, 4)).shape == (7, CHANNELS, 4, 4)
    module.num_frames = 1
    assert torch.isfinite(module(torch.randn(3, CHANNELS, 4, 4))).all()


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("arguments", in_networks())
def test_a_network_with_a_module_sees_the_order_of_frames_and_tsn_does_not(arguments: dict) -> None:
    host = {key: value for key, value in arguments.items() if key != "temporal"}
    plain, ordered = network(**host).double(), network(**arguments).double()
    clips = torch.randn(1, ordered.clip.in_channels, FRAMES, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(plain(clips[:, :3]), plain(clips[:, :3].flip(2)), rtol=1e-12, atol=1e-12)
    spread = float(ordered(clips).std())
    assert float((ordered(clips) - ordered(clips.flip(2))).abs().max()) > 1e-4 * spread


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("arguments", in_networks(also=CONSENSUS))
def test_a_network_with_a_module_starts_from_image_weights_and_the_module_from_random_ones(
    arguments: dict, tmp_path: Path
) -> None:
    host = {key: value for key, value in arguments.items() if key not in ("temporal", "consensus")}
    image = network(**host).backbone.state_dict()
    name = host.get("backbone", "resnet18").removeprefix("timm/")
    torch.save({**image, "fc.weight": torch.ones(9, 512), "fc.bias": torch.ones(9)}, tmp_path / f"{name}-mine.pth")
    net = network(**arguments)
    nn.init.zeros_(net.backbone.get_parameter("layer4.0.conv1.weight"))
    report = load_into(net, fetch_image_weights(net.arch, tmp_path))
    assert not report.missing and not report.unexpected
    assert torch.equal(net.backbone.get_parameter("layer4.0.conv1.weight"), image["layer4.0.conv1.weight"])


@pytest.mark.parametrize("consensus", CONSENSUS)
def test_relations_see_the_order_of_frames_and_an_evaluation_draws_nothing(consensus: str) -> None:
    relations = Relations(6, num_frames=FRAMES, multiscale=consensus == "trn_multiscale").double()
    frames = torch.randn(2, FRAMES, 6, dtype=torch.float64)
    relations.eval()
    assert torch.equal(relations(frames), relations(frames))
    assert float((relations(frames) - relations(frames.flip(1))).abs().max()) > 1e-3
    assert relations(frames).shape == (2, relations.out_features)


@pytest.mark.whole
def test_an_evaluation_of_relations_is_the_mean_of_what_training_draws() -> None:
    relations = Relations(3, num_frames=4, multiscale=True).double()
    frames = torch.randn(2, 4, 3, dtype=torch.float64)
    torch.manual_seed(0)
    drawn = torch.stack([relations.train()(frames) for _ in range(600)])
    error = (drawn.mean(0) - relations.eval()(frames)).abs()
    assert bool((error < 5 * drawn.std(0) / 600**0.5 + 1e-9).all())


def test_of_very_many_relations_an_evaluation_takes_some_evenly() -> None:
    relations = Relations(3, num_frames=12, multiscale=True).eval()
    many = relations.relations[5]
    chosen = relations._choose(many, 3)
    assert len(many) > 700 and len(chosen) == len(set(chosen)) == MOST and chosen[0] == many[0]


def test_the_taps_read_the_frame_before_itself_and_the_next_one() -> None:
    clips = torch.arange(1.0, 4.0).view(1, 3, 1)
    before, here, after = (torch.tensor(value) for value in (100.0, 10.0, 1.0))
    assert correlate_in_time(clips, before, here, after).flatten().tolist() == [12.0, 123.0, 230.0]


@pytest.mark.parametrize("num_frames", [1, 4])
@pytest.mark.parametrize("shape", [(3, 1, 1), (2, 1, 3, 1, 1), (2, 4, 3, 1, 1), (2, 4, 1, 2, 2)])
def test_weighed_frames_have_the_gradients_that_autograd_finds(shape: tuple[int, ...], num_frames: int) -> None:
    shape = tuple(min(size, num_frames) if len(shape) == 5 and axis == 1 else size for axis, size in enumerate(shape))
    clips = torch.randn(2, num_frames, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    weights = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    with torch.enable_grad():
        assert torch.autograd.gradcheck(correlate_in_time, (clips, *weights))
        assert torch.autograd.gradcheck(
            lambda x, here, after: correlate_in_time(x, None, here, after), (clips, *weights[1:])
        )
    for given in ((clips, *weights), (clips, weights[0], weights[1], None)):
        torch.testing.assert_close(correlate_in_time(*given), _weigh(*given))  # type: ignore[arg-type]


def test_an_excitation_is_a_product_with_the_sum_of_both_factors_and_so_are_its_gradients() -> None:
    shapes = [(4, 3, 2, 5), (4, 3, 1, 1), (4, 1, 2, 5)]
    x, channels, places = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    with torch.enable_grad():
        assert torch.autograd.gradcheck(excite, (x, channels, places))
    torch.testing.assert_close(excite(x, channels, places), x * (channels + places))


def test_a_neighbours_weight_belongs_to_the_frame_that_is_weighed() -> None:
    clips, zero = torch.ones(1, 3, 1), torch.zeros(1, 3, 1)
    weights = torch.tensor([1.0, 10.0, 100.0]).view(1, 3, 1)
    assert correlate_in_time(clips, weights, zero, None).flatten().tolist() == [0.0, 1.0, 10.0]
    assert correlate_in_time(clips, None, zero, weights).flatten().tolist() == [10.0, 100.0, 0.0]


def test_tin_moves_its_groups_against_each_other_by_fractions_of_a_frame() -> None:
    module = TIN(16, num_frames=3).eval()
    for part in (module.squeeze, module.mix, module.offset, module.weigh):
        nn.init.zeros_(part.weight)
        nn.init.zeros_(part.bias)  # type: ignore[arg-type]
    module.offset.bias.copy_(torch.logit(torch.tensor([0.5 + 1 / 4, 0.5 + 0.5 / 4])))  # 1 frame, and half of one
    x = torch.tensor([1.0, 2.0, 4.0])[:, None, None, None].expand(3, 16, 1, 1)
    moved = module(x)[..., 0, 0].T
    assert torch.equal(moved[4:], x[..., 0, 0].T[4:])
    expected = [[0.0, 1.0, 2.0], [0.5, 1.5, 3.0], [2.0, 4.0, 0.0], [1.5, 3.0, 2.0]]
    torch.testing.assert_close(moved[:4], torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_gsm_starts_as_the_network_without_it_but_for_the_order_of_channels() -> None:
    x = torch.randn(FRAMES, CHANNELS, 4, 4)
    found = TEMPORAL_MODULES["gsm"](CHANNELS, num_frames=FRAMES).eval()(x)  # type: ignore[call-arg]
    order = torch.arange(CHANNELS).view(2, 2, -1).transpose(1, 2).flatten()
    assert torch.equal(found, x[:, order])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "tann"}, r"temporal\.name: 'tann' is unknown.*tam"),
        ({}, r"temporal\.name: missing; one of tsm, tam"),
        ({"name": "tam", "squeezed": 2}, r"temporal\.squeezed: this module \(TAM\) does not take it.*squeeze"),
        ({"name": "tam", "squeeze": 0}, r"temporal\.squeeze: .*greater than 0"),
        ({"name": "tam", "squeeze": 100}, r"temporal\.squeeze: 100 is more than the 64 channels"),
        ({"name": "tsm", "shift_div": 1}, r"temporal\.shift_div: should be at least 2"),
        ({"name": "mvf", "stages": ["layer9"]}, r"temporal\.stages: no residual branch of resnet18 begins with layer9"),
        ({"name": "tin", "div": 32}, r"temporal\.div: 1/32 of the 64 channels"),
        ({"name": "gsf", "share": 1.5}, r"temporal\.share: .*less than or equal to 1"),
        ({"name": "tdn", "mix": 2}, r"temporal\.mix: .*less than or equal to 1"),
    ],
)
def test_impossible_arguments_are_one_line_that_names_the_argument(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TSN(backbone="resnet18", num_class=5, temporal=arguments)


@pytest.mark.parametrize(
    ("backbone", "name", "message"),
    [
        ("vgg11", "gsf", "sits between a convolution and its norm, which vgg11 does not have"),
        ("resnet18", "tea", "sits between the four scales of timm's Res2Net, which resnet18 does not have"),
        ("mobilenetv2", "tdn", "needs a ResNet of torchvision beside its own stem, not mobilenetv2"),
        pytest.param(
            *("timm/vit_tiny_patch16_224", "mvf", r"needs maps of features, and blocks\.0\.norm1 .* gets tokens"),
            marks=[needs_package("timm"), needs_new_tracing],
        ),
    ],
)
def test_a_network_that_cannot_take_a_module_is_refused_with_both_names(backbone: str, name: str, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=rf"temporal\.name: this module {message}"):
        TSN(backbone=backbone, num_class=5, temporal={"name": name})


@pytest.mark.parametrize("arguments", [{"temporal": {"name": "tam"}}, {"consensus": "trn"}])
def test_a_module_that_mixes_all_frames_refuses_clips_of_another_length(arguments: dict) -> None:
    with torch.device("meta"):
        net = TSN(backbone="resnet18", num_class=5, num_segments=8, **arguments)
        with pytest.raises(ValueError, match="mixes all 8 frames of a clip, and takes no clip of 16"):
            net(torch.empty(1, 3, 16, 32, 32))


def test_modules_go_where_their_papers_put_them() -> None:
    def places(name: str, **more: object) -> list[str]:
        with torch.device("meta"):
            net = TSN(backbone="resnet50", num_class=5, temporal={"name": name, **more})
        found = [path for path, module in net.backbone.named_modules() if isinstance(module, TemporalModule)]
        return [path.removesuffix(".temporal") for path in found]

    blocks = [
        f"layer{stage}.{block}" for stage, n in zip((1, 2, 3, 4), (3, 4, 6, 3), strict=True) for block in range(n)
    ]
    assert places("tam") == [f"{block}.conv2" for block in blocks]
    assert places("gsf") == [f"{block}.conv3" for block in blocks]
    assert places("action") == places("tin") == [f"{block}.conv1" for block in blocks]
    assert places("tdn") == [f"{block}.conv2" for block in blocks[3:]]
    assert places("mvf") == [f"{block}.conv1" for block in blocks[7:]]
    assert places("mvf", stages=["layer4.2"]) == ["layer4.2.conv1"]


def test_gsm_gates_the_first_convolution_of_one_path_in_the_blocks_of_bn_inception() -> None:
    with torch.device("meta"):
        net = TSN(backbone="bn_inception", num_class=5, temporal={"name": "gsm"})
        shifted = TSN(backbone="bn_inception", num_class=5, temporal={"name": "tsm"})
    found = [
        [path for path, part in one.backbone.named_modules() if hasattr(part, "temporal")] for one in (net, shifted)
    ]
    blocks = ["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
    ends = ["3x3_reduce" if block in ("3c", "4e") else "1x1" for block in blocks]
    assert found[0] == [f"inception_{block}_{end}" for block, end in zip(blocks, ends, strict=True)]
    assert found[1] == [f"inception_{block}_double_3x3_reduce" for block in blocks]


@pytest.mark.whole
def test_gsm_and_gsf_gate_the_convolutions_of_inception_v3_that_their_authors_chose() -> None:
    def places(name: str, **kwargs: str) -> list[str]:
        with torch.device("meta"):
            net = TSN(backbone="inception_v3_tsn", kwargs=kwargs, num_class=5, temporal={"name": name})
        return [path for path, part in net.backbone.named_modules() if hasattr(part, "temporal")]

    blocks = ["mixed", *(f"mixed_{number}" for number in range(1, 11))]
    towers = {"gsf": {"mixed_8"}, "gsm": {"mixed_3", "mixed_8"}}
    for name, other in towers.items():
        gated = [f"{block}.{'tower_conv' if block in other else 'conv'}.conv" for block in blocks]
        assert places(name, gates=name) == gated
    assert places("tsm")[3:5] == ["mixed_3.tower_conv.conv", "mixed_4.tower_1_conv.conv"]


@pytest.mark.whole
def test_tdn_sees_five_frames_at_each_place_and_without_their_differences_only_the_third() -> None:
    def changed_by(mix: float) -> list[bool]:
        net = network(temporal={"name": "tdn", "mix": mix})
        nn.init.normal_(net.backbone.get_parameter("motion.conv1.weight"))  # at first it adds differences up
        clips = torch.randn(1, 5, 3, FRAMES, 32, 32)
        found = []
        for frame in range(5):
            other = clips.clone()
            other[:, frame] += 1
            found.append(bool((net(other.flatten(1, 2)) - net(clips.flatten(1, 2))).abs().max() > 1e-4))
        return found

    assert changed_by(0.5) == [True] * 5
    assert changed_by(0.0) == [False, False, True, False, False]


def test_tdn_begins_its_second_stem_and_stage_with_the_image_weights_of_the_first(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "resnet18-mine.pth")
    net = network(temporal={"name": "tdn"})
    load_into(net, fetch_image_weights(net.arch, tmp_path))
    weights = net.backbone.state_dict()
    assert torch.equal(weights["motion.layer1.1.conv2.weight"], weights["layer1.1.conv2.weight"])
    torch.testing.assert_close(weights["motion.conv1.weight"][:, 7], weights["conv1.weight"].mean(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modality": "flow"}, "^modality: this network takes differences of rgb frames itself, so not flow$"),
        ({"stack": 3}, "^stack: this network takes 5 frames at each place of a clip, not 3$"),
    ],
)
def test_a_network_that_takes_differences_itself_takes_no_other_pictures(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TSN(backbone="resnet18", num_class=5, temporal={"name": "tdn"}, **arguments)


def test_tea_begins_with_a_shift_of_the_last_scale_and_leaves_the_others_alone() -> None:
    module = TEA(16, num_frames=3)
    x = torch.randn(3, 4, 2, 2)
    for scale in range(3):
        assert torch.equal(module.over_time(scale, x), x)
    none = torch.zeros_like(x[:1])
    moved = module.over_time(3, x)
    assert torch.equal(moved[:, :2], torch.cat([x[1:, :2], none[:, :2]]))
    assert torch.equal(moved[:, 2:], torch.cat([none[:, 2:], x[:-1, 2:]]))


@needs_package("timm")
def test_tea_changes_the_blocks_of_its_own_network_alone() -> None:
    with torch.device("meta"):
        ours = TSN(num_class=5, temporal={"name": "tea"}, **RES2NET)
        theirs = TSN(num_class=5, **RES2NET)
    kinds = [type(net.backbone.get_submodule("layer1.0")) for net in (ours, theirs)]
    assert kinds[0] is not kinds[1] and issubclass(*kinds)


def test_settings_hold_the_modules_arguments_with_their_defaults() -> None:
    net = TSN(backbone="resnet18", num_class=5, temporal={"name": "tam", "squeeze": 8})
    assert net.settings["temporal"] == {"name": "tam", "widen": 2, "squeeze": 8, "shift": "bi"}
    assert TSN(backbone="resnet18", num_class=5).settings["temporal"] is None


def test_a_module_takes_its_arguments_by_name_when_it_is_called_from_python() -> None:
    module = TAM(8, num_frames=3, widen=4)
    assert module.kernel[0].out_features == 12  # type: ignore[union-attr]
    with pytest.raises(ArgumentError):
        TSN(backbone="resnet18", num_class=5, temporal=["tam"])  # type: ignore[arg-type]
