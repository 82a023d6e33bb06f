"""std.transformer against PyTorch's layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")


def randomised(layer: Any) -> Any:
    """The layer with all parameters random, norms included, and its dropout off."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return layer.eval()


def norm(layer: Any, path: str) -> dict[str, Any]:
    return {f"{path}.weight": layer.weight, f"{path}.bias": layer.bias}


def linear(layer: Any, path: str) -> dict[str, Any]:
    return {f"{path}.weight": layer.weight.T, f"{path}.bias": layer.bias}


def own_attention(layer: Any, path: str) -> dict[str, Any]:
    return {
        f"{path}.in_proj_weight": layer.in_proj_weight.T,
        f"{path}.in_proj_bias": layer.in_proj_bias,
        **linear(layer.out_proj, f"{path}.out_proj"),
    }


def cross_attention(layer: Any, path: str) -> dict[str, Any]:
    width = layer.embed_dim
    return {
        f"{path}.q_proj_weight": layer.in_proj_weight[:width].T,
        f"{path}.q_proj_bias": layer.in_proj_bias[:width],
        f"{path}.kv_proj_weight": layer.in_proj_weight[width:].T,
        f"{path}.kv_proj_bias": layer.in_proj_bias[width:],
        **linear(layer.out_proj, f"{path}.out_proj"),
    }


def feed_forward(layer: Any, path: str) -> dict[str, Any]:
    return {**linear(layer.linear1, f"{path}.dense"), **linear(layer.linear2, f"{path}.dense_2")}


def arrays(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: np.ascontiguousarray(tensor.detach().numpy()) for name, tensor in tensors.items()}


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_encoder_block(net: Callable[..., Any], random: Callable[..., Any], norm_first: bool, causal: bool) -> None:
    layer = randomised(torch.nn.TransformerEncoderLayer(8, 2, 20, batch_first=True, norm_first=norm_first))
    flags = f"activation=relu, causal={str(causal).lower()}, norm_first={str(norm_first).lower()}"
    ours = net("x: f32[N, T, 8], there: bool[N, T]", f"EncoderBlock(2, 20, {flags}, mask=there)")
    weights = arrays(
        {
            **norm(layer.norm1, "EncoderBlock.attend.layer_norm"),
            **own_attention(layer.self_attn, "EncoderBlock.attend.attention"),
            **norm(layer.norm2, "EncoderBlock.feed.layer_norm"),
            **feed_forward(layer, "EncoderBlock.feed.FeedForward"),
        }
    )
    x = random(3, 5, 8)
    there = np.array([[True] * 5, [True] * 3 + [False] * 2, [True] * 4 + [False]])
    hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None
    expected = layer(torch.tensor(x), src_mask=hidden, src_key_padding_mask=torch.tensor(~there)).detach().numpy()
    given = ours.run({"x": x, "there": there}, weights)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm_first", [True, False])
def test_decoder_block(net: Callable[..., Any], random: Callable[..., Any], norm_first: bool) -> None:
    layer = randomised(torch.nn.TransformerDecoderLayer(8, 2, 20, batch_first=True, norm_first=norm_first))
    flags = f"activation=relu, norm_first={str(norm_first).lower()}"
    ours = net(
        "x: f32[N, T, 8], y: f32[N, S, 8], there: bool[N, S]", f"DecoderBlock(y, 2, 20, {flags}, context_mask=there)"
    )
    weights = arrays(
        {
            **norm(layer.norm1, "DecoderBlock.attend.layer_norm"),
            **own_attention(layer.self_attn, "DecoderBlock.attend.attention"),
            **norm(layer.norm2, "DecoderBlock.look.layer_norm"),
            **cross_attention(layer.multihead_attn, "DecoderBlock.look.attention"),
            **norm(layer.norm3, "DecoderBlock.feed.layer_norm"),
            **feed_forward(layer, "DecoderBlock.feed.FeedForward"),
        }
    )
    x, y = random(2, 5, 8), random(2, 3, 8)
    there = np.array([[True] * 3, [True, False, False]])
    expected = layer(
        torch.tensor(x),
        torch.tensor(y),
        tgt_mask=torch.triu(torch.ones(5, 5, dtype=torch.bool), 1),
        memory_key_padding_mask=torch.tensor(~there),
    )
    given = ours.run({"x": x, "y": y, "there": there}, weights)
    np.testing.assert_allclose(given, expected.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_sizes_are_those_of_the_base_model(net: Callable[..., Any]) -> None:
    encoder = torch.nn.TransformerEncoderLayer(512, 8, 2048)
    decoder = torch.nn.TransformerDecoderLayer(512, 8, 2048)
    counts = [sum(p.numel() for p in layer.parameters()) for layer in (encoder, decoder)]
    assert counts == [
        net("x: f32[N, T, 512]", "EncoderBlock(8)").parameters,
        net("x: f32[N, T, 512], y: f32[N, S, 512]", "DecoderBlock(y, 8)").parameters,
    ]
