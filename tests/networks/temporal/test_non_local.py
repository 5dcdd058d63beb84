"""The non-local block against its formula, written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from networks.temporal.non_local import NonLocal


@pytest.mark.parametrize("instantiation", ["softmax", "dot_product"])
def test_a_fresh_non_local_block_is_the_identity(instantiation: str) -> None:
    block = NonLocal(8, instantiation=instantiation)
    block.reset_parameters()
    x = torch.randn(2, 8, 2, 4, 4)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("pool_after", [False, True])
@pytest.mark.parametrize("instantiation", ["softmax", "dot_product"])
def test_a_non_local_block_is_the_weighted_sum_over_all_positions(instantiation: str, pool_after: bool) -> None:
    block = NonLocal(4, instantiation=instantiation, pool_after=pool_after).eval()
    x = torch.randn(1, 4, 2, 4, 4)
    pool = nn.functional.max_pool3d
    keys, values = (
        conv(pool(x, (1, 2, 2))) if not pool_after else pool(conv(x), (1, 2, 2)) for conv in (block.phi, block.g)
    )
    queries, keys, values = (value.flatten(2)[0].T for value in (block.theta(x), keys, values))  # positions, 2
    rows = []
    for query in queries:
        weights = keys @ query
        weights = torch.softmax(weights / 2**0.5, 0) if instantiation == "softmax" else weights / len(keys)
        rows.append(weights @ values)
    attended = torch.stack(rows).T.reshape(1, 2, 2, 4, 4)
    assert torch.allclose(block(x), x + block.bn(block.out(attended)), atol=1e-5)
