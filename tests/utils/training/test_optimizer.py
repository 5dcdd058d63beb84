from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from networks import CLIP_NETWORKS
from networks.clip.vit_layers import Block
from tests.helpers.grey import config
from utils.clip_spec import ClipSpec
from utils.errors import CheckpointError, ConfigError
from utils.training.optimizer import optimizer_for, parameter_groups, restore_state


class Net(nn.Module):
    clip: ClipSpec

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)


def stepped(model: nn.Module, **keys: object) -> torch.optim.Optimizer:
    """An optimizer that has made one step, in which the gradient of the parameter number i was i + 1 everywhere."""
    optimizer = optimizer_for(model, config(**{"momentum": 0.9, **keys}))
    for number, parameter in enumerate(model.parameters(), 1):
        parameter.grad = torch.full_like(parameter, number) if parameter.requires_grad else None
    optimizer.step()
    return optimizer


def memory(optimizer: torch.optim.Optimizer, key: str = "momentum_buffer") -> dict[str, float]:
    """What the optimizer remembers, by the parameter's name."""
    return {
        name: float(optimizer.state[parameter][key].flatten()[0])
        for group in optimizer.param_groups
        for name, parameter in zip(group["param_names"], group["params"], strict=True)
        if optimizer.state[parameter].get(key) is not None
    }


def by_name(model: nn.Module, **options: bool) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group.lr_mult, group.decay_mult)
        for group in parameter_groups(model, **{"no_wd": False, **options})
        for parameter in group.params
    }


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    model = Net()
    model.conv.weight.requires_grad_(False)
    params = [id(p) for group in parameter_groups(model, no_wd=True, policy=True, fc_lr5=True) for p in group.params]
    assert sorted(params) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_no_wd_frees_biases_and_both_parameters_of_batch_norm() -> None:
    assert by_name(Net(), no_wd=True) == {
        "conv.weight": (1, 1), "conv.bias": (1, 0), "norm.weight": (1, 0), "norm.bias": (1, 0),
        "head.weight": (1, 1), "head.bias": (1, 0),
    }  # fmt: skip


def test_without_options_everything_decays() -> None:
    assert set(by_name(Net()).values()) == {(1, 1)}


def test_policy_doubles_the_rate_of_biases_and_fc_lr5_speeds_up_the_head() -> None:
    expected = {
        "conv.weight": (1, 1), "conv.bias": (2, 0), "norm.weight": (1, 0), "norm.bias": (1, 0),
        "head.weight": (1, 1), "head.bias": (2, 0),
    }  # fmt: skip
    assert by_name(Net(), policy=True) == expected
    assert by_name(Net(), policy=True, fc_lr5=True) == expected | {"head.weight": (5, 1), "head.bias": (10, 0)}


def test_policy_speeds_up_the_first_convolution_on_flow_alone() -> None:
    for modality, expected in (("flow", ((5, 1), (10, 0))), ("rgbdiff", ((1, 1), (2, 0))), ("rgb", ((1, 1), (2, 0)))):
        model = Net()
        model.clip = ClipSpec(3, modality=modality)
        found = by_name(model, policy=True)
        assert (found["conv.weight"], found["conv.bias"]) == expected
        assert found | {"conv.weight": (1, 1), "conv.bias": (2, 0)} == by_name(Net(), policy=True)
        assert by_name(model) == by_name(Net())


def test_no_wd_wins_over_policy() -> None:
    assert by_name(Net(), no_wd=True, policy=True, fc_lr5=True) == by_name(Net(), no_wd=True)


def test_a_layer_of_a_kind_not_known_is_refused() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    with pytest.raises(TypeError, match="Odd has parameters of its own"):
        parameter_groups(nn.Sequential(Odd()), no_wd=False)


NAMES = ["conv.weight", "conv.bias", "norm.weight", "norm.bias", "head.weight", "head.bias"]


@pytest.mark.parametrize("change", [{"no_wd": True}, {"policy": True}, {"lr_by_name": {"norm": 0.1}}])
def test_memory_is_found_by_name_whatever_the_groups_are(change: dict[str, object]) -> None:
    saved = stepped(Net()).state_dict()
    resumed = optimizer_for(Net(), config(momentum=0.9, **change))
    assert restore_state(resumed, saved) == []
    assert memory(resumed) == {name: number for number, name in enumerate(NAMES, 1)}


def test_what_the_config_sets_stays_as_it_is_now() -> None:
    saved = stepped(Net(), weight_decay=0.1, nesterov=True).state_dict()
    resumed = optimizer_for(Net(), config(momentum=0.5, weight_decay=0.2, lr_by_name={"head": 3.0}))
    restore_state(resumed, saved)
    found = {(g["momentum"], g["nesterov"], g["weight_decay"], g["lr_mult"]) for g in resumed.param_groups}
    assert found == {(0.5, False, 0.2, 1.0), (0.5, False, 0.2, 3.0)}


def test_another_part_that_is_frozen_does_not_move_the_memory() -> None:
    one, other = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    one[0].requires_grad_(False)
    other[1].requires_grad_(False)
    resumed = optimizer_for(other, config(momentum=0.9))
    (said,) = restore_state(resumed, stepped(one).state_dict())
    assert memory(resumed) == {}
    assert said.startswith("SGD begins without a memory for 2 of 2 parameters") and "0.weight" in said
    both = optimizer_for(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), config(momentum=0.9))
    (said,) = restore_state(both, stepped(one).state_dict())
    assert memory(both) == {"1.weight": 3.0, "1.bias": 4.0} and "for 2 of 4 parameters" in said


@pytest.mark.parametrize(("before", "after"), [("SGD", "ADAMW"), ("ADAMW", "SGD")])
def test_another_optimizer_begins_anew_and_says_so(before: str, after: str) -> None:
    resumed = optimizer_for(Net(), config(momentum=0.9, optimizer=after))
    (said,) = restore_state(resumed, stepped(Net(), optimizer=before).state_dict())
    assert "begins without a memory for 6 of 6 parameters" in said
    assert not any(resumed.state.values())


def test_adamw_goes_on_to_the_bit() -> None:
    torch.manual_seed(0)
    one, other = Net(), Net()
    first = stepped(one, optimizer="ADAMW")
    other.load_state_dict(one.state_dict())
    second = optimizer_for(other, config(optimizer="ADAMW"))
    assert restore_state(second, copy.deepcopy(first.state_dict())) == []
    for model, optimizer in ((one, first), (other, second)):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_a_memory_without_names_is_taken_by_place_if_the_parameters_are_as_many_and_of_the_same_shapes() -> None:
    saved = stepped(Net()).state_dict()
    for group in saved["param_groups"]:
        del group["param_names"]
    resumed = optimizer_for(Net(), config(momentum=0.9))
    restore_state(resumed, saved)
    assert memory(resumed) == {name: number for number, name in enumerate(NAMES, 1)}
    fewer = Net()
    fewer.conv.requires_grad_(False)
    with pytest.raises(CheckpointError, match="--fresh --load-path FILE takes the weights alone"):
        restore_state(optimizer_for(fewer, config(momentum=0.9)), saved)


@pytest.mark.parametrize("optimizer", ["SGD", "ADAMW"])
def test_a_memory_that_is_no_tensor_is_an_error(optimizer: str) -> None:
    saved = copy.deepcopy(stepped(Net(), optimizer=optimizer).state_dict())
    for key in saved["state"][0].keys() - {"step"}:
        saved["state"][0][key] = "x"
    with pytest.raises(CheckpointError, match=r"state of conv\.weight is not what a run writes: \w+ is no tensor"):
        restore_state(optimizer_for(Net(), config(momentum=0.9, optimizer=optimizer)), saved)


@pytest.mark.parametrize("saved", [None, {}, {"state": 1, "param_groups": [{"params": [0]}]}, {"param_groups": 3}])
def test_a_memory_that_cannot_be_read_is_an_error(saved: object) -> None:
    with pytest.raises(CheckpointError, match="does not belong to this network"):
        restore_state(optimizer_for(Net(), config(momentum=0.9)), saved)


def test_freezing_everything_leaves_nothing_to_train() -> None:
    with pytest.raises(ConfigError, match=r"^common.freeze: \['conv', 'head'\] leaves nothing to train"):
        optimizer_for(Net().requires_grad_(False), config(freeze=["conv", "head"]))


def _rates(model: nn.Module, **keys: object) -> dict[str, float]:
    optimizer = optimizer_for(model, config(optimizer="ADAMW", **keys))
    return {name: group["lr_mult"] for group in optimizer.param_groups for name in group["param_names"]}


def test_layer_decay_gives_each_block_a_share_of_the_rate_of_the_next_one() -> None:
    net = CLIP_NETWORKS["timesformer_b"](
        num_class=3, embed_dim=8, depth=3, num_heads=2, temporal_size=2, spatial_size=16
    )
    rates = _rates(net, layer_decay=0.5, no_wd=True)
    assert rates.keys() == dict(net.named_parameters()).keys()
    for start, share in (
        *(("cls_token", 1 / 16), ("pos_embed", 1 / 16), ("time_embed", 1 / 16), ("patch_embed", 1 / 16)),
        *(("blocks.0", 1 / 8), ("blocks.1", 1 / 4), ("blocks.2", 1 / 2), ("norm.", 1), ("head.", 1)),
    ):
        found = {rate for name, rate in rates.items() if name.startswith(start)}
        assert found == {share}, start


def test_layer_decay_goes_with_factors_by_name_and_needs_blocks() -> None:
    net = nn.ModuleDict({"blocks": nn.Sequential(Block(8, 2), Block(8, 2)), "head": nn.Linear(8, 2)})
    rates = _rates(net, layer_decay=0.5, lr_by_name={"head": 10.0, "blocks.1": 3.0})
    assert rates["blocks.0.norm1.bias"] == 0.25 and rates["blocks.1.norm1.bias"] == 1.5 and rates["head.bias"] == 10
    with pytest.raises(ConfigError, match=r"^common\.layer_decay: this network has no repeated blocks; set it to 1$"):
        _rates(nn.Linear(2, 2), layer_decay=0.5)


def test_adamw_has_the_betas_of_the_config_and_sgd_has_none() -> None:
    model = nn.Linear(2, 2)
    assert optimizer_for(model, config(optimizer="ADAMW", betas=[0.9, 0.95])).defaults["betas"] == (0.9, 0.95)
    assert optimizer_for(model, config(optimizer="ADAMW")).defaults["betas"] == (0.9, 0.999)
    with pytest.raises(ValueError, match=r"betas are those of optimizer: ADAMW, and it is SGD"):
        config(betas=[0.9, 0.95])


@pytest.mark.parametrize(
    ("name", "kwargs", "blocks", "behind"),
    [
        ("vjepa2_l", {"num_heads": 2, "embed_dim": 8, "pool_depth": 3, "pool_heads": 2}, "blocks.", "pooler."),
        ("uniformerv2_b", {"embed_dim": 64, "spatial_size": 32}, "transformer.resblocks.", "transformer.dec."),
    ],
)
def test_blocks_of_a_pooler_or_of_readers_are_no_depth_of_the_network(
    name: str, kwargs: dict[str, object], blocks: str, behind: str
) -> None:
    with torch.device("meta"):
        net = CLIP_NETWORKS[name](num_class=3, depth=4, **kwargs)
    rates = _rates(net, layer_decay=0.5, no_wd=True)
    for number in range(4):
        assert {rate for key, rate in rates.items() if key.startswith(f"{blocks}{number}.")} == {0.5 ** (4 - number)}
    assert {rate for key, rate in rates.items() if key.startswith(behind)} == {1.0}


def test_blocks_of_all_stages_are_depths() -> None:
    with torch.device("meta"):
        net = CLIP_NETWORKS["uniformer_s"](num_class=3, widths=[32, 64, 128, 192], depths=[1, 2, 2, 1])
    rates = _rates(net, layer_decay=0.5, no_wd=True)
    assert len(set(rates.values())) == 1 + 6 + 1
