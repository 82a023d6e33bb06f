"""Sums of products as one operation."""

from __future__ import annotations

import pytest

from compiler.passes.fuse_sums import FuseSums


@pytest.mark.parametrize(
    ("product", "fused"), [("mul(%x, %y)", "sum_product(%x, %y)"), ("square(%x)", "sum_product(%x, %x)")]
)
def test_text_before_and_after(product: str, fused: str, graphs) -> None:
    before = f"""
        data %x: f32[N, 4, 5]
        data %y: f32[N, 4, 5]
        %product: f32[N, 4, 5] = {product}
        %z: f32[4] = sum(%product) {{axes=[-1, 0], keepdims=false}}
        return z=%z
    """
    after = f"""
        data %x: f32[N, 4, 5]
        data %y: f32[N, 4, 5]
        %z: f32[4] = {fused} {{axes=[0, 2], keepdims=false}}
        return z=%z
    """
    assert graphs.same_text(graphs.applied(FuseSums(), graphs.read(before)), after)


@pytest.mark.parametrize(
    ("shape", "axes", "more"),
    [
        ("5", "0", ""),  # the operands are broadcast
        ("N, 4, 5", "1", ""),  # no quick way over the middle axis
        ("N, 4, 5", "0", "return p=%p"),  # the product is read by something else as well
    ],
)
def test_what_is_left_alone(shape: str, axes: str, more: str, graphs) -> None:
    result = "N, 5" if axes == "1" else "4, 5"
    text = f"""
        data %x: f32[N, 4, 5]
        data %y: f32[{shape}]
        %p: f32[N, 4, 5] = mul(%x, %y)
        %z: f32[{result}] = sum(%p) {{axes=[{axes}], keepdims=false}}
        return z=%z
        {more}
    """
    assert graphs.same_text(graphs.applied(FuseSums(), graphs.read(text)), text)
